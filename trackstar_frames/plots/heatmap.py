"""The on-time shipment rate by group and period, as a map."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from trackstar_frames.measures._grouping import SMALL
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.policy import SlaPolicy
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._groups import MOST_ROWS, Groups
from trackstar_frames.plots.compliance import JudgedOrders, rates_of_periods

_MOST_PERIODS = 26
# Bounds of the classes of rates in percent; classes are narrow where most rates are.
_BOUNDS = (0, 50, 70, 80, 90, 95, 98, 100)
_LOWER_BOUNDS = np.array(_BOUNDS[:-1]) / 100
_CLASS_NAMES = ("below 50 %", *(f"{low} to {high} %" for low, high in pairwise(_BOUNDS[1:])))
_CLASS_COLOURS = tuple(map(to_rgb, colormaps["cividis"](np.linspace(0, 1, len(_LOWER_BOUNDS)))))
_NOTHING_DUE = "0.93"
_LIGHT = 0.45  # from this lightness on, black text is read better than white
_SMALLEST_FONT = 5.5  # points; below, cells have no text


class _Cells(NamedTuple):
    """The figures of the map: a row for each group, a column for each period."""

    n: Array
    on_time: Array
    pending: Array
    starts: Array
    ends: Array


def plot_compliance_heatmap(
    orders: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = "warehouse_id",
    freq: str = "W",
    policy: SlaPolicy | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the on-time shipment rate of each group in each period as a map.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or that of `ship_date_compliance`, whose policy is used.
    by
        A column, or several: a row for each of up to 20 groups, those with most orders due. None
        draws one row of all orders.
    freq
        As in `compliance_rate`: a column for each period in which orders were due, on the
        warehouses' own calendars; at most the last 26 that have started at as_of.
    policy, as_of
        As in `ship_date_compliance`.
    ax
        The axes to draw on; a new figure by default. The legend is to their right.

    Returns
    -------
    matplotlib.axes.Axes
        A cell for each group and period, lighter for higher rates: if there is room, with the rate
        in percent over n, the orders due. Unreliable rates, of fewer than 30 orders, are hatched.
        Grey with a dot: no orders due. Asterisk: pending orders can still change the rate.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance` and `compliance_rate`, if `ax` is not Axes, and for a
        frame that has been judged by another policy or as of another time.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> order = {"id": "a1", "status": "open", "required_ship_date": "2026-03-02T12:00:00Z"}
    >>> ax = plot_compliance_heatmap(OrderFrames.from_json([order]).orders, as_of="2026-03-09")
    >>> [tick.get_text() for tick in ax.get_yticklabels()]
    ['(none) (n = 1)']
    """
    judged = JudgedOrders(orders, by, policy, as_of)
    groups = Groups(judged.frame, by, judged.totals["n"], MOST_ROWS)
    cells, note = _cells(judged, groups, freq)
    height, width = 2.3 + 0.42 * max(len(groups.names), 2), 4.2 + 0.34 * len(cells.starts)
    axes = style.get_axes(ax, height, width=max(8, width))
    groups.row_axis(axes)
    label = f"due, by {style.freq_words(freq)} ({judged.zone_name})"
    style.date_axis(axes, cells.starts, cells.ends, label)
    if cells.n.size:
        axes.set_xlim(cells.starts[0], cells.ends[-1])
        note = [*_draw_cells(axes, cells), *note]
    judged.add_title(axes, "On-time shipment rate", groups, [*groups.note, *note])
    return axes


def _cells(judged: JudgedOrders, groups: Groups, freq: str) -> tuple[_Cells, list[str]]:
    """Return the cells of the drawn groups, and a note of the periods that are left out."""
    table = rates_of_periods(judged.frame, groups.columns, freq)
    # Every group has the same periods.
    periods = table.index.get_level_values("period").unique()
    starts, ends = style.period_bounds(periods, freq)
    shape = (-1 if len(periods) else 0, len(periods))
    counts = [table[name].to_numpy().reshape(shape) for name in ("n", "on_time", "pending")]
    every = counts[0].sum(axis=0)
    due = np.flatnonzero(every)
    started = due[starts[due] <= judged.as_of_day]
    first, end = (started[0], started[-1] + 1) if started.size else (0, 0)
    start = max(first, end - _MOST_PERIODS)
    note = [f"the last {end - start} of {end - first:,} periods"] if start > first else []
    later = table[["n", "early", "pending"]].to_numpy().sum(axis=1).reshape(shape).sum(axis=0)
    if later := later[end:].sum():
        note.append(f"due in later periods: {later:,}")
    rows = groups.positions[: len(counts[0])]
    n, on_time, pending = (each[rows, start:end] for each in counts)
    return _Cells(n, on_time, pending, starts[start:end], ends[start:end]), note


def _draw_cells(axes: Axes, cells: _Cells) -> list[str]:
    """Draw the cells; return a note of how to read them."""
    size, small = _font_size(axes, cells), (cells.n > 0) & (cells.n < SMALL)
    for row, column in np.ndindex(cells.n.shape):
        n, on_time, pending = (int(table[row, column]) for table in cells[:3])
        start, end = float(cells.starts[column]), float(cells.ends[column])
        colour = _colour(on_time / n) if n else _NOTHING_DUE
        box = ((start, row - 0.5), end - start, 1)
        axes.add_patch(Rectangle(*box, facecolor=colour, edgecolor="white"))
        hatched = small[row, column]
        if hatched:
            axes.add_patch(Rectangle(*box, **_hatch(colour)))
        if size:
            # Rounded down, so that only all is 100.
            words = f"{100 * on_time // n}\n{n:,}{'*' if pending else ''}" if n else "·"
            text = axes.text((start + end) / 2, row, words)
            text.set(ha="center", va="center", fontsize=size, color=_text_on(colour))
            text.set_path_effects([withStroke(linewidth=2.5, foreground=colour)] if hatched else [])
    _legend(axes, cells, has_small=bool(small.any()))
    if not size:
        return ["cells too small for numbers"]
    starred = (cells.n > 0) & (cells.pending > 0)
    stars = ["*: pending orders can still change it"] if starred.any() else []
    return ["in each cell: % on time over n", *stars]


def _font_size(axes: Axes, cells: _Cells) -> float:
    """Return the size of text that fits into the cells; 0 if it would be too small to be read."""
    box, points = axes.get_window_extent(), 72 / axes.figure.dpi
    rows, columns = cells.n.shape
    most = max(len(f"{cells.n.max():,}*"), 3)
    # Axes get smaller when the layout is made; a letter is about two thirds as wide as high.
    wide = 0.85 * box.width * points / columns / most / 0.68
    size = min(wide, box.height * points / rows / 2.6, 8)
    return float(size) if size >= _SMALLEST_FONT else 0.0


def _colour(rate: float) -> Any:
    return _CLASS_COLOURS[int(_classes(np.array(rate)))]


def _classes(rates: Array) -> Array:
    return np.searchsorted(_LOWER_BOUNDS, rates, side="right") - 1


def _text_on(colour: Any) -> str:
    """Return the colour of text that can be read on a background."""
    return "black" if np.dot(to_rgb(colour), (0.299, 0.587, 0.114)) > _LIGHT else "white"


def _hatch(colour: Any) -> dict[str, Any]:
    edge = (*to_rgb(_text_on(colour)), 0.4)
    return {"fill": False, "hatch": "///", "edgecolor": edge, "linewidth": 0}


def _legend(axes: Axes, cells: _Cells, *, has_small: bool) -> None:
    """Explain the classes in use, the best first, and the other kinds of cells."""
    some = cells.n > 0
    used = np.unique(_classes(cells.on_time[some] / cells.n[some]))
    looks = {
        _CLASS_NAMES[each]: Patch(facecolor=_CLASS_COLOURS[each], edgecolor="white")
        for each in used[::-1]
    }
    if has_small:
        looks[f"n below {SMALL}"] = Patch(**{**_hatch("white"), "linewidth": 0.5})
    if not some.all():
        looks["nothing due"] = Patch(facecolor=_NOTHING_DUE, edgecolor="0.6")
    style.add_legend(axes, list(looks.values()), list(looks), "on time")
