"""A group looks the same in all pictures of a frame."""

import pandas as pd
import pytest
from helpers.pictures import legend_entries, make_orders
from matplotlib.colors import to_hex

from trackstar_frames import (
    plot_backlog,
    plot_cycle_time,
    plot_due_next,
    plot_lateness,
    plot_ship_date_compliance,
)
from trackstar_frames.plots._groups import Groups
from trackstar_frames.plots._style import GROUPS, NO_GROUP

WAREHOUSES = ["north"] * 5 + ["south"] * 3 + ["east"] * 2


def colours(axes):
    """Read the colour of each group from the legend."""
    handles = axes.get_legend().legend_handles
    return {
        entry.split(" (")[0]: to_hex(
            handle.get_color() if hasattr(handle, "get_color") else handle.get_facecolor()
        )
        for entry, handle in zip(legend_entries(axes), handles, strict=True)
    }


@pytest.mark.parametrize("plot", [plot_backlog, plot_cycle_time, plot_due_next])
def test_a_group_keeps_its_colour_whatever_its_rank_in_a_picture(plot):
    frame = make_orders(900, WAREHOUSES)
    # In the order of the values, not of the sizes.
    expected = {name: GROUPS[n].colour for n, name in enumerate(["east", "north", "south"])}
    assert colours(plot_ship_date_compliance(frame, by="warehouse_id")) == expected
    assert colours(plot(frame, by="warehouse_id")) == expected
    bars = plot_lateness(frame, by="warehouse_id").patches
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [
        expected[name] for name in ("north", "south", "east")
    ]


def test_a_frame_with_the_same_groups_in_other_sizes_has_the_same_colours():
    one, other = make_orders(900, WAREHOUSES), make_orders(900, WAREHOUSES[::-1] + ["east"] * 9)
    assert colours(plot_backlog(one, by="warehouse_id")) == colours(
        plot_backlog(other, by="warehouse_id")
    )


def looks(frame, most, n):
    groups = Groups(frame, "g", pd.Series(n, index=sorted(frame["g"].dropna().unique())), most)
    return dict(zip(groups.names, groups.looks, strict=True))


def test_the_six_largest_have_a_look_and_another_takes_one_that_is_free():
    frame = pd.DataFrame({"g": [name for n, name in enumerate("abcdefgh") for _ in range(9 - n)]})
    own = dict(zip("abcdef", GROUPS, strict=True))
    assert looks(frame, 6, [9, 8, 7, 6, 5, 4, 3, 2]) == own
    # By another figure, g is drawn and a is not.
    drawn = looks(frame, 6, [0, 8, 7, 6, 5, 4, 30, 2])
    assert drawn == {**{name: own[name] for name in "bcdef"}, "g": own["a"]}


def test_orders_without_a_group_are_light_however_many_they_are():
    frame = make_orders(300, [None, None, None, "a", "b"])
    found = colours(plot_cycle_time(frame, by="warehouse_id"))
    assert next(iter(found)) == "(none)"
    assert found == {
        "(none)": NO_GROUP.colour,
        "a": GROUPS[0].colour,
        "b": GROUPS[1].colour,
    }
    axes = plot_ship_date_compliance(frame, by="warehouse_id")
    widths = {
        to_hex(line.get_color()): line.get_linewidth()
        for line in axes.lines
        if line.get_linestyle() != "None"
    }
    assert widths[NO_GROUP.colour] < widths[GROUPS[0].colour]
