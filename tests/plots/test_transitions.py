import numpy as np
import pandas as pd
import pytest
from helpers.marks import slow
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from trackstar_frames.measures import TRANSITIONS, transitions
from trackstar_frames.plots import plot_status_transitions
from trackstar_frames.plots.transitions import _MARKERS, _SHARES
from trackstar_frames.schema import LIFECYCLE

OLD, NEW = "2026-03-01T06:00:00+00:00", "2026-03-02T06:30:00+00:00"
HOSTILE = ["$x^", "_private", "two\nlines\x00", "<b>", "$a$ and $b$", "", "l" * 99, None]


def orders(statuses, fetched_at):
    statuses = list(statuses)
    frame = pd.DataFrame({"id": range(len(statuses)), "status": pd.Series(statuses, dtype=object)})
    frame["id"] = frame["id"].astype(str)
    frame["created_date"] = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]")
    frame.attrs["trackstar"] = {"fetched_at": fetched_at}
    return frame


def moved(olds, news):
    return transitions(orders(olds, OLD), orders(news, NEW))


def words(axes):
    texts = [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
    return " ".join(" ".join([*texts, *(text.get_text() for text in axes.texts)]).split())


def names(axes):
    return [
        [tick.get_text() for tick in ticks]
        for ticks in (axes.get_yticklabels(), axes.get_xticklabels())
    ]


def cells(axes):
    """Read the picture: what is written where."""
    rows, columns = (
        dict(zip(np.round(ticks, 6), labels, strict=True))
        for ticks, labels in zip((axes.get_yticks(), axes.get_xticks()), names(axes), strict=True)
    )
    found = {}
    for text in axes.texts:
        x, y = text.get_position()
        if (column := columns.get(round(x, 6))) and (row := rows.get(round(y - 0.1, 6))):
            found[row.split(" (n")[0], column] = text.get_text()
    return found


def test_the_cells_hold_counts_and_shares():
    table = moved(["open"] * 3 + ["packed", "zz"], ["open", "picked", "picked", "open"])
    fresh = moved([], ["open"] * 1234)
    axes = plot_status_transitions(table)
    assert cells(axes) == {
        ("open", "open"): "1\n33%",
        ("open", "picked"): "2\n67%",
        ("packed", "open"): "1\n100%",
        ("zz", "vanished"): "1\n100%",
    }
    rows = ["open (n = 3)", "picked (n = 0)", "packed (n = 1)", "zz (n = 1)", "new (n = 0)"]
    assert names(axes) == [rows, ["open", "picked", "packed", "zz", "vanished"]]
    assert cells(plot_status_transitions(fresh)) == {("new", "open"): "1,234"}


@pytest.mark.parametrize("rows", [0, 3, slow(3000)])
def test_every_size_says_n_and_both_as_ofs(rows):
    random = np.random.default_rng(0)
    axes = plot_status_transitions(moved(*random.choice(LIFECYCLE, (2, rows))))
    text = words(axes)
    assert "from 2026-03-01 06:00 UTC to 2026-03-02 06:30 UTC" in text
    assert f"n = {rows:,} orders, {rows:,} before and {rows:,} after" in text
    assert axes.get_ylabel() == "from (2026-03-01 06:00 UTC)"
    assert axes.get_xlabel() == "to (2026-03-02 06:30 UTC)"
    assert ("no orders" in text) == (rows == 0)
    assert bool(axes.patches) == (rows > 0)


def test_unknown_moments_are_noted():
    table = transitions(orders(["open"], None), orders(["open"], None))
    assert "from an unknown time to an unknown time" in words(plot_status_transitions(table))


def test_small_and_large_shares_are_not_rounded_away():
    table = moved(["open"] * 1000, ["open"] * 999 + ["packed"])
    assert cells(plot_status_transitions(table)) == {
        ("open", "open"): "999\n>99%",
        ("open", "packed"): "1\n<1%",
    }


def test_shares_are_colours_that_go_from_light_to_dark_under_legible_ink():
    def light(colour):
        linear = [((c + 0.055) / 1.055) ** 2.4 if c > 0.04 else c / 12.92 for c in to_rgb(colour)]
        return np.dot(linear, (0.2126, 0.7152, 0.0722))

    shades = [light(_SHARES(share)) for share in np.linspace(0, 1, 21)]
    assert (np.diff(shades) < 0).all()
    for share in (1, 40, *range(68, 79), 99):
        axes = plot_status_transitions(moved(["open"] * 100, ["open"] * share))
        text = next(text for text in axes.texts if text.get_text() == f"{share}\n{share}%")
        box = next(
            p for p in axes.patches if to_rgb(p.get_facecolor()) == to_rgb(_SHARES(share / 100))
        )
        pair = sorted([light(text.get_color()), light(box.get_facecolor())])
        assert (pair[1] + 0.05) / (pair[0] + 0.05) > 4.5
        plt.close(axes.figure)


def test_kinds_differ_by_shape():
    assert list(_MARKERS) == list(TRANSITIONS)
    assert len(set(_MARKERS.values())) == len(TRANSITIONS)
    table = moved(["open", "packed", "open"], ["packed", "open", "other"])
    axes = plot_status_transitions(table)
    assert [line.get_marker() for line in axes.lines] == [
        _MARKERS[kind] for kind in ("forward", "left_path", "backward")
    ]
    legend = axes.get_legend()
    explained = ["forward (1)", "backward (1)", "left_path (1)"]
    assert [text.get_text() for text in legend.get_texts()] == explained
    shapes = [handle.get_marker() for handle in legend.legend_handles]
    assert shapes == [_MARKERS[words.split()[0]] for words in explained]


def test_hostile_names_are_printed_as_they_are():
    axes = plot_status_transitions(moved(HOSTILE, HOSTILE[::-1]))
    rows, columns = names(axes)
    assert len(rows) == len(columns) == len(HOSTILE) + 1
    assert all(len(name) < 24 for name in columns)
    axes.figure.canvas.draw()


def test_given_axes_are_drawn_on_and_no_figure_is_made():
    table = moved(["open"], ["packed"])
    _, (left, right) = plt.subplots(1, 2)
    assert plot_status_transitions(table, ax=right) is right
    assert len(plt.get_fignums()) == 1
    assert not left.has_data()
    with pytest.raises(TypeError, match="pass matplotlib Axes"):
        plot_status_transitions(table, ax="right")


def test_other_frames_are_refused():
    with pytest.raises(ValueError, match="lacks 'from_status'"):
        plot_status_transitions(orders(["open"], OLD))
    with pytest.raises(TypeError, match="pass the DataFrame of status_transitions"):
        plot_status_transitions("transitions")


def test_some_rows_of_the_table_can_be_drawn():
    table = moved(LIFECYCLE[:7], LIFECYCLE[6::-1])
    backward = table[table["kind"] == "backward"]
    assert len(cells(plot_status_transitions(backward))) == len(backward) == 3
    text = backward.astype({"from_status": str, "to_status": str, "kind": str})
    assert cells(plot_status_transitions(text)) == cells(plot_status_transitions(backward))
