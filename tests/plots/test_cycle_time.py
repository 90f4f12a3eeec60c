import numpy as np
import pandas as pd
import pytest
from helpers.pictures import legend_entries, make_orders, text_of
from matplotlib import pyplot as plt
from matplotlib.colors import same_color

from trackstar_frames import SlaPolicy, cycle_time, cycle_time_curve, plot_cycle_time

DAY = pd.Timedelta(days=1)
START = pd.Timestamp("2026-01-01", tz="UTC")


def lives(shipped, open_for=()):
    """Make orders shipped after so many days, and others that are open for so many."""
    as_of = START + 400 * DAY
    created = [START] * len(shipped) + [as_of - day * DAY for day in open_for]
    done = [START + day * DAY for day in shipped] + [pd.NaT] * len(open_for)
    frame = pd.DataFrame(
        {
            "status": ["fulfilled"] * len(shipped) + ["open"] * len(open_for),
            "created_date": pd.to_datetime(created, utc=True),
            "complete_shipped_date": pd.to_datetime(pd.Series(done), utc=True),
            "last_shipped_date": pd.NaT,
            "updated_date": pd.NaT,
        }
    )
    frame.attrs["trackstar"] = {"fetched_at": as_of.isoformat()}
    return frame


def curves(axes):
    return [line for line in axes.lines if line.get_drawstyle() == "steps-post"]


def at_risk(axes):
    """Read the rows of numbers under the axis."""
    rows = {}
    for text in axes.texts:
        if text.get_text().replace(",", "").isdigit():
            rows.setdefault(text.get_position()[1], []).append(
                int(text.get_text().replace(",", ""))
            )
    return [rows[y] for y in sorted(rows, reverse=True)]


def test_the_curve_is_that_of_the_figures():
    frame = lives([1, 2, 2, 5, 8], [3, 30])
    (line,) = curves(plot_cycle_time(frame))
    curve = cycle_time_curve(frame)
    assert line.get_xdata().tolist()[:-1] == [0, *(curve["time"] / DAY)]
    assert line.get_ydata().tolist() == pytest.approx(
        [1, *curve["open_share"], curve["open_share"].iloc[-1]]
    )


def test_the_curve_ends_where_nothing_more_is_known():
    (line,) = curves(plot_cycle_time(lives([1, 20], [4, 10])))
    assert line.get_xdata()[-1] == 20
    (short,) = curves(plot_cycle_time(lives([6, 7], [30, 40])))
    assert short.get_xdata()[-1] == pytest.approx(short.axes.get_xlim()[1])


def test_median_and_p90_are_marked_and_those_of_shipped_orders_hollow():
    frame = lives(range(1, 20), [30] * 5)
    row = cycle_time(frame).iloc[0]
    axes = plot_cycle_time(frame)
    marks = [line for line in axes.lines if line.get_marker() not in ("None", None)]
    found = [(line.get_xdata()[0], line.get_ydata()[0]) for line in marks]
    assert found[0] == (row["median"] / DAY, 0.5)
    assert np.isnan(found[1][0])
    assert pd.isna(row["p90"])
    assert found[2:] == [(row["shipped_median"] / DAY, 0.5), (row["shipped_p90"] / DAY, 0.1)]
    assert all(same_color(mark.get_markerfacecolor(), "white") for mark in marks[2:])
    every, shipped = legend_entries(axes)
    assert every == "all orders (n = 24)\nmedian 12.0 days, p90 not reached"
    assert shipped.startswith("shipped only (n = 19)\nmedian 10.0 days, p90 18.0 days\n")


def test_shipped_orders_are_all_orders_if_none_is_open():
    assert len(legend_entries(plot_cycle_time(lives([1, 2, 3])))) == 1


def test_orders_at_risk_are_counted_at_each_tick():
    shipped, still = list(range(1, 60)), [2.5] * 10 + [50] * 3
    axes = plot_cycle_time(lives(shipped, still))
    lengths = np.array([*shipped, *still])
    assert at_risk(axes) == [[int((lengths >= tick).sum()) for tick in axes.get_xticks()]]


def test_each_group_has_its_curve_and_its_row():
    frame = make_orders(400, ["a", "b", "c"])
    axes = plot_cycle_time(frame, by="warehouse_id")
    table = cycle_time(frame, by="warehouse_id").sort_values("n", ascending=False, kind="stable")
    assert [entry.split(" (")[0] for entry in legend_entries(axes)] == table.index.tolist()
    rows = at_risk(axes)
    assert [row[0] for row in rows] == table["n"].tolist()
    for line, name in zip(curves(axes), table.index, strict=True):
        own = cycle_time_curve(frame[frame["warehouse_id"] == name], as_of="2026-03-04T12:00Z")
        drawn = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
        for time, share in zip(own["time"] / DAY, own["open_share"], strict=True):
            assert time not in drawn or drawn[time] == pytest.approx(share)


def test_the_slowest_lie_outside_and_are_noted():
    axes = plot_cycle_time(lives([*np.linspace(1, 9, 300), 380], [390, 395]))
    assert axes.get_xlim()[1] < 30
    assert "open for longer than shown: 3" in text_of(axes)


def test_a_wrong_date_does_not_take_the_space_of_a_few():
    frame = lives([1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 6, 395])
    assert plot_cycle_time(frame).axes.get_xlim()[1] < 40


def test_thousands_of_steps_are_thinned_without_a_difference_to_see():
    (line,) = curves(plot_cycle_time(lives(np.linspace(0.001, 60, 9000))))
    assert len(line.get_xdata()) < 2100
    x = np.array(line.get_xdata()[1:-1])
    assert np.abs(np.array(line.get_ydata()[1:-1]) - (1 - x / 60)).max() < 0.001


def test_nothing_shipped_is_a_level_curve():
    axes = plot_cycle_time(lives([], [2, 9]))
    (line,) = curves(axes)
    assert line.get_ydata().tolist() == [1, 1]
    assert legend_entries(axes) == ["all orders (n = 2)\nmedian not reached, p90 not reached"]


def test_more_groups_than_lines_have_a_small_plot_each():
    frame = make_orders(900, [f"w{n}" for n in range(9)])
    axes = plot_cycle_time(frame, by="warehouse_id")
    n = cycle_time(frame, by="warehouse_id")["n"]
    titles = [panel.get_title(loc="left") for panel in axes.child_axes]
    assert sorted(titles) == sorted(f"{name}\nn = {count}" for name, count in n.items())
    for panel in axes.child_axes:
        name = panel.get_title(loc="left").split("\n")[0]
        own = cycle_time_curve(frame[frame["warehouse_id"] == name], as_of="2026-03-04T12:00Z")
        line = panel.lines[1]  # before it, that of all orders
        shares = set(np.round([1, *own["open_share"]], 9))
        assert set(np.round(line.get_ydata(), 9)) <= shares
    _, ax = plt.subplots()
    assert len(curves(plot_cycle_time(frame, by="warehouse_id", ax=ax))) == 6


def test_a_bare_day_ends_in_the_zone_of_the_policy():
    new_york = {"web": SlaPolicy(tz="America/New_York"), None: SlaPolicy(tz="America/New_York")}
    axes = plot_cycle_time(
        make_orders(60), policy=new_york, policy_by="channel", as_of="2026-03-02"
    )
    assert "as of 2026-03-03 04:59 UTC" in text_of(axes)
