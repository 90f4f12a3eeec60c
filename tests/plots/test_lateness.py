import numpy as np
import pandas as pd
import pytest
from helpers.pictures import legend_entries, make_orders, text_of

from trackstar_frames import plot_lateness, ship_date_compliance
from trackstar_frames.plots._style import OUTCOMES

DUE = np.datetime64("2026-02-10T12:00", "us")


def shipped(days, **policy):
    """Judge orders shipped so many days after they are due."""
    after = (np.array(days, dtype=float) * 86400e6).astype("m8[us]")
    stamps = pd.DatetimeIndex(DUE + after).tz_localize("UTC")
    orders = pd.DataFrame({"status": "fulfilled", "complete_shipped_date": stamps})
    orders["last_shipped_date"] = stamps
    orders["units_ordered"] = 1
    orders["required_ship_date"] = pd.Timestamp(DUE, tz="UTC")
    orders["created_date"] = pd.Timestamp("2000-01-01", tz="UTC")
    return ship_date_compliance(orders, as_of="9999-01-01", **policy)


def test_each_order_is_in_one_bar_of_its_kind():
    judged = ship_date_compliance(make_orders(500))
    axes = plot_lateness(judged)
    # Those decided before they are due wait for their peers.
    judged = judged[judged["is_due"]]
    counts = judged["outcome"].value_counts()
    early = (judged["outcome"] == "on_time") & (judged["lateness"] <= -pd.Timedelta(days=1))
    expected = [
        early.sum(),
        counts["on_time"] - early.sum(),
        counts["late_shipped"],
        counts["late_open"],
    ]
    assert legend_entries(axes) == [
        f"{kind} ({n})" for kind, n in zip(OUTCOMES, expected, strict=True)
    ]
    assert [sum(bar.get_height() for bar in pile) for pile in axes.containers] == expected


def test_bars_hold_the_orders_of_their_days():
    days = pd.Series([-9, -2.5, -2.5, -1, -0.25, 0, 0.5, 1, 3, 6.5])
    axes = plot_lateness(shipped(days))
    (width,) = {round(bar.get_width(), 6) for bar in axes.patches}
    assert width == 0.5
    found = {}
    for bar in axes.patches:
        end = round(bar.get_x() + width, 6)
        found[end] = found.get(end, 0) + bar.get_height()
    # A bar ends with its right edge, as what is on time ends with the moment that is due.
    assert found == (np.ceil(days / width) * width).value_counts().to_dict()


def test_early_is_a_day_or_more_and_on_time_up_to_the_moment():
    axes = plot_lateness(shipped([-1.5, -1, -0.9, 0, 0.001]))
    assert legend_entries(axes) == [
        "early, by a day or more (2)",
        "on time (2)",
        "late, shipped (1)",
    ]


def test_what_lies_far_out_is_counted_at_the_ends_and_noted():
    days = [*np.tile([-1.5, 1.5], 200), -5000, 700.2, 900]
    axes = plot_lateness(shipped(days))
    text = text_of(axes)
    assert "1 earlier (up to 5,000 days) and 2 later (up to 900 days)" in text
    low, high = axes.get_xlim()
    assert -60 < low < high < 60  # hours
    assert sum(bar.get_height() for bar in axes.patches) == len(days)
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    assert labels[-2].startswith("< \u2212")
    assert labels[-1].startswith("> ")
    assert "due" in labels


def test_a_wrong_date_does_not_take_the_space_of_a_few():
    axes = plot_lateness(shipped([-1, -1, 0.5, 1, 1, 2, 700_000 / 300]))
    low, high = axes.get_xlim()
    assert high - low < 60


def test_all_may_lie_far_out():
    axes = plot_lateness(shipped([600_000, 600_010, 600_020]))
    assert "half are late by 600,010 days or more" in text_of(axes)
    assert len(axes.get_xticks()) < 12
    assert sum(bar.get_height() for bar in axes.patches) == 3


def test_a_grace_is_marked():
    axes = plot_lateness(shipped([-1, 1, 5], grace="36h"))
    due, grace = (line.get_xdata()[0] for line in axes.lines)
    assert (due, grace) == (0, 1.5)
    assert len(plot_lateness(shipped([-1, 1, 5])).lines) == 1


@pytest.mark.parametrize(
    ("days", "text"), [([-2, -2, 1], "early by 2.0 days"), ([1, 1.5, 3], "late by 36 h")]
)
def test_the_median_is_noted(days, text):
    assert f"half are {text} or more" in text_of(plot_lateness(shipped(days)))


def test_short_spans_are_hours():
    assert "hours from due" in text_of(plot_lateness(shipped([0.1, 0.2, -0.3])))


def test_of_each_group_the_quantiles_are_drawn():
    frame = shipped([-2, -1, 0, 1, 2, 3, 4, 5, 7, 10]).assign(channel=["a"] * 4 + ["b"] * 6)
    axes = plot_lateness(frame, by="channel")
    (marks,) = (line for line in axes.lines if line.get_marker() == "o")
    assert (marks.get_xdata().tolist(), marks.get_ydata().tolist()) == ([4.5, -0.5], [0, 1])
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
    assert bars == [(3.25, 6.5), (-1.25, 0.25)]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["b (n = 6)", "a (n = 4)"]
    assert legend_entries(axes) == ["median", "middle half", "5 to 95 %"]


def test_quantiles_outside_the_axis_are_drawn_at_its_ends():
    frame = shipped([0, 1, 2, 3] * 9 + [4000])
    frame = frame.assign(channel=np.append(np.repeat([*"abcdefghi"], 4), "z"))
    axes = plot_lateness(frame, by="channel")
    (marks,) = (line for line in axes.lines if line.get_marker() == "o")
    assert marks.get_xdata()[-1] < axes.get_xlim()[1] < 100
    assert "> " in text_of(axes)
