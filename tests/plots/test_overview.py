import pandas as pd
import pytest
from helpers.marks import slow
from helpers.pictures import make_orders
from matplotlib import pyplot as plt

from trackstar_frames import (
    backlog,
    compliance_rate,
    cycle_time,
    plot_overview,
    ship_date_compliance,
)


def texts(page):
    """Read the head of the page, and the titles and captions of its pictures."""
    head = [text.get_text() for text in page.subfigs[0].texts]
    pictures = [axes for part in page.subfigs for axes in part.axes if axes.get_title(loc="left")]
    captions = {axes.get_title(loc="left"): axes.texts for axes in pictures}
    return head, {
        title: " ".join(" ".join(text.get_text() for text in found).split())
        for title, found in captions.items()
    }


@pytest.fixture(scope="module")
def page():
    return plot_overview(make_orders(500))


def test_the_headline_figures_are_those_of_the_measures(page):
    frame = make_orders(500)
    judged = ship_date_compliance(frame)
    rate = compliance_rate(judged).iloc[0]
    table, row = backlog(frame), cycle_time(frame).iloc[0]
    head, _ = texts(page)
    text = "\n".join(head)
    assert f"{rate['rate']:.1%}".replace("%", " %") in head
    assert f"n = {rate['n']:.0f} orders due, 95 % interval {100 * rate['rate_low']:.1f} to " in text
    assert str(table["n"].sum()) in head
    work = table["n"].sum() / table.attrs["trackstar"]["backlog"]["pace"]
    assert f"{work:.1f} days of work" in text
    assert f"{rate['late_open']:.0f}" in head
    assert f"{row['median'] / pd.Timedelta(hours=1):.0f} h" in head
    assert f"n = {row['n']}, open orders counted in" in text
    assert "as of 2026-03-04 12:00 UTC" in text
    assert "shipped = complete" in text


def test_every_plot_is_there_with_its_n_and_says_nothing_twice(page):
    _, pictures = texts(page)
    assert list(pictures) == [
        "Orders by status",
        "Ship-date compliance",
        "Backlog ageing",
        "Lateness of orders",
        "Cycle time",
    ]
    assert all("n = " in caption for caption in pictures.values())
    assert not any("as of" in caption for caption in pictures.values())
    assert "Kaplan-Meier" in pictures["Cycle time"]


def test_it_is_one_new_page_of_the_shape_of_a4():
    before = plt.figure()
    page = plot_overview(make_orders(50))
    width, height = page.get_size_inches()
    assert width / height == pytest.approx(297 / 210, abs=0.001)
    assert plt.get_fignums() == [before.number, page.number]


@pytest.mark.slow
@pytest.mark.parametrize("rows", [slow(0), 1])
def test_little_is_drawn_too(rows):
    head, pictures = texts(plot_overview(make_orders(rows)))
    assert len(pictures) == 5
    assert ("none due" in head) == (rows == 0)
    assert ("unknown" in head) == (rows == 0)


def test_a_judged_frame_brings_its_policy_and_moment():
    frame = make_orders(300)
    judged = ship_date_compliance(frame, as_of="2026-02-01T00:00", tz="America/New_York")
    head, pictures = texts(plot_overview(judged))
    text = "\n".join(head)
    assert "as of 2026-02-01 00:00 UTC" in text
    assert "America/New_York" in text
    assert str(backlog(frame, as_of="2026-02-01T00:00")["n"].sum()) in head
    # One moment on the page: the statuses are those of as_of, too.
    assert not any("as of" in caption for caption in pictures.values())
    created = (frame["created_date"] <= "2026-02-01").sum()
    assert f"n = {created:,} orders" in pictures["Orders by status"]
    assert "2026-03-04" not in text


@pytest.mark.slow
def test_an_unknown_moment_is_warned_of_once():
    frame = make_orders(30)
    frame.attrs = {}
    with pytest.warns(UserWarning, match="do not say when they were fetched") as warned:
        plot_overview(frame)
    assert len(warned) == 1


@pytest.mark.slow
def test_legends_stand_on_nothing(page):
    page.draw_without_rendering()
    for axes in page.subfigs[2].axes[:2]:
        low = axes.get_legend().get_window_extent().y0
        assert max(bar.get_window_extent().y1 for bar in axes.patches) < low


@pytest.mark.slow
def test_captions_stand_in_their_places(page):
    page.draw_without_rendering()
    for part in page.subfigs[1:]:
        pictures = [axes for axes in part.axes if axes.get_title(loc="left")]
        edges = [axes.get_tightbbox().x0 for axes in pictures[1:]] + [part.bbox.x1]
        for axes, edge in zip(pictures, edges, strict=True):
            caption = next(text for text in axes.texts if text.get_gid() == "caption")
            assert caption.get_window_extent().x1 < edge + 20
