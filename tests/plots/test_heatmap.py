import numpy as np
import pandas as pd
import pytest
from helpers.pictures import legend_entries, make_orders, text_of
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from trackstar_frames import compliance_rate, plot_compliance_heatmap, ship_date_compliance
from trackstar_frames.plots._style import faded, nothing, text_on
from trackstar_frames.plots.heatmap import _CLASS_COLOURS, _LOWER_BOUNDS, _colour


def cells(axes):
    """Read the map: what is written where, by row and day."""
    found = {}
    for text in axes.texts:
        x, y = text.get_position()
        if text.get_text() == "·" or text.get_text().split("\n")[0].lstrip("<>").isdigit():
            found[round(y), x] = text.get_text()
    return found


def boxes(axes):
    """Read the colours of the cells, by row and middle."""
    return {
        (round(box.get_y() + 0.5), box.get_x() + box.get_width() / 2): to_rgb(box.get_facecolor())
        for box in axes.patches
    }


def test_the_cells_are_those_of_the_figures():
    frame = make_orders(900, ["a", "b", "c", "c", "c"])
    judged = ship_date_compliance(frame)
    axes = plot_compliance_heatmap(judged)
    totals = compliance_rate(judged, by="warehouse_id").sort_values("n", ascending=False)
    rates = compliance_rate(judged, by="warehouse_id", freq="W")
    found, filled = cells(axes), boxes(axes)
    columns = sorted({x for _, x in filled})
    small = 0
    for row, name in enumerate(totals.index):
        weeks = rates.loc[name]
        weeks = weeks[weeks.index.notna() & (weeks.index <= pd.Timestamp("2026-03-04"))]
        for x, week in zip(columns, weeks.itertuples(), strict=True):
            star = "" if week.final and week.covered else "*"
            text = f"{rounded(week.on_time, week.n)}\n{week.n}{star}" if week.n else "·"
            assert found[row, x] == text
            colour = _colour(week.rate) if week.n else nothing(axes)
            is_pale = week.small and week.n > 0
            assert filled[row, x] == to_rgb(faded(colour, "white") if is_pale else colour)
            small += is_pale
    assert 0 < small < len(found)


def rounded(part, n):
    """Round a share to whole percents, of which only all are 100 and only none are 0."""
    whole = round(100 * part / n)
    if 0 < part < n and whole in (0, 100):
        return "<1" if whole == 0 else ">99"
    return str(whole)


@pytest.mark.parametrize(
    ("on_time", "n", "text"), [(24, 27, "89"), (2, 3, "67"), (199, 200, ">99")]
)
def test_percentages_are_rounded(on_time, n, text):
    frame = make_orders(n, ["a"]).assign(required_ship_date=pd.Timestamp("2026-02-03T10:00Z"))
    early = pd.Timestamp("2026-02-02", tz="UTC")
    frame = frame.assign(status="fulfilled", created_date=early - pd.Timedelta(days=9))
    frame["complete_shipped_date"] = frame["last_shipped_date"] = early
    late = frame.index[on_time:]
    frame.loc[late, ["complete_shipped_date", "last_shipped_date"]] += pd.Timedelta(days=9)
    assert set(cells(plot_compliance_heatmap(frame)).values()) == {f"{text}\n{n}"}


def test_nothing_due_is_not_nought_percent():
    frame = make_orders(2, ["a", "b"]).assign(status="open")
    due = pd.to_datetime(["2026-02-03T10:00Z", "2026-02-17T10:00Z"])
    frame["required_ship_date"] = due.astype("datetime64[us, UTC]")
    frame["created_date"] = pd.Timestamp("2026-01-01", tz="UTC")
    frame["complete_shipped_date"] = frame["last_shipped_date"] = pd.Series([pd.NaT] * 2)
    axes = plot_compliance_heatmap(frame)
    assert sorted(cells(axes).values()) == ["0\n1"] * 2 + ["·"] * 4
    colours = set(boxes(axes).values())
    assert colours == {to_rgb(nothing(axes)), to_rgb(faded(_CLASS_COLOURS[0], "white"))}
    assert legend_entries(axes) == ["below 50 %", "pale: small n", "nothing due"]


def test_only_all_is_a_hundred():
    frame = make_orders(1000, ["a"]).assign(required_ship_date=pd.Timestamp("2026-02-03T10:00Z"))
    early = pd.Timestamp("2026-02-02", tz="UTC")
    frame = frame.assign(status="fulfilled", created_date=early - pd.Timedelta(days=9))
    frame["complete_shipped_date"] = frame["last_shipped_date"] = early
    assert set(cells(plot_compliance_heatmap(frame)).values()) == {"100\n1,000"}
    frame.loc[0, ["complete_shipped_date", "last_shipped_date"]] += pd.Timedelta(days=9)
    assert set(cells(plot_compliance_heatmap(frame)).values()) == {">99\n1,000"}


def test_the_last_periods_are_drawn_and_later_ones_are_noted():
    frame = make_orders(300)
    frame.loc[0, "required_ship_date"] = pd.Timestamp("1999-01-04T10:00Z")
    frame.loc[1, "required_ship_date"] = pd.Timestamp("2999-01-04T10:00Z")
    frame.loc[1, "status"] = "fulfilled"
    frame.loc[1, ["complete_shipped_date", "last_shipped_date"]] = frame.loc[1, "created_date"]
    axes = plot_compliance_heatmap(frame)
    assert len({x for _, x in cells(axes)}) == 26
    assert "the last 26 of 1,418 periods" in text_of(axes)
    assert "due in later periods: " in text_of(axes)


def test_cells_too_small_for_words_have_none():
    frame = make_orders(200, list("abcdefgh"))
    assert cells(plot_compliance_heatmap(frame))
    _, grid = plt.subplots(3, 3)
    small = plot_compliance_heatmap(frame, ax=grid[0, 0])
    assert "cells too small for numbers" in text_of(small)
    small.figure.draw_without_rendering()
    assert not any(text.get_visible() for text in small.texts if "\n" in text.get_text()[:4])


def test_one_row_of_all_orders():
    axes = plot_compliance_heatmap(make_orders(200), by=None, freq="MS")
    assert axes.get_yticklabels()[0].get_text().startswith("all orders (n = ")
    assert 3 <= len(cells(axes)) <= 5


def test_classes_go_from_dark_to_light_under_legible_ink():
    def light(colour):
        linear = [((c + 0.055) / 1.055) ** 2.4 if c > 0.04 else c / 12.92 for c in to_rgb(colour)]
        return np.dot(linear, (0.2126, 0.7152, 0.0722))

    shades = [light(colour) for colour in _CLASS_COLOURS]
    assert (np.diff(shades) > 0).all()
    pale = [faded(each, back) for each in _CLASS_COLOURS for back in ("white", "black")]
    for colour in (*_CLASS_COLOURS, *pale):
        pair = sorted([light(colour), light(text_on(colour))])
        assert (pair[1] + 0.05) / (pair[0] + 0.05) > 4.5


@pytest.mark.parametrize(("rate", "index"), [(0, 0), (0.499, 0), (0.5, 1), (0.98, 6), (1, 6)])
def test_a_class_begins_with_its_floor(rate, index):
    assert len(_LOWER_BOUNDS) == len(_CLASS_COLOURS) == 7
    assert _colour(rate) == _CLASS_COLOURS[index]
