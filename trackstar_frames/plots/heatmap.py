"""The on-time shipment rate by group and period, as a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch, Rectangle

from trackstar_frames.measures._policies import PolicyLike
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.compliance_rate import outcome_rates
from trackstar_frames.plots import _layout as layout
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._groups import MOST_ROWS, Groups
from trackstar_frames.plots._judged import AsOf, JudgedOrders

_MOST_PERIODS = 26
# Bounds of the classes of rates in percent; classes are narrow where most rates are.
_BOUNDS = (0, 50, 70, 80, 90, 95, 98, 100)
_LOWER_BOUNDS = np.array(_BOUNDS[:-1]) / 100
_CLASS_NAMES = ("below 50 %", *(f"{low} to {high} %" for low, high in pairwise(_BOUNDS[1:])))
_CLASS_COLOURS = tuple(map(to_rgb, colormaps["cividis"](np.linspace(0, 1, len(_LOWER_BOUNDS)))))
_SMALLEST_FONT = 5.5  # points; below, cells have no text


class _Cells(NamedTuple):
    """The figures of the map: a row for each group, a column for each period."""

    n: Array
    rate: Array
    is_small: Array
    stays: Array  # whether the rate is final and covered
    starts: Array
    ends: Array


def plot_compliance_heatmap(
    orders: pd.DataFrame,
    *,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: AsOf = None,
    by: str | Sequence[str] | None = "warehouse_id",
    freq: str = "W",
    labels: Mapping[Any, str] | None = None,
    title: str | None = None,
    note: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw the on-time shipment rate of each group in each period as a map.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or that of `ship_date_compliance`, whose policy is used.
    policy, policy_by, as_of
        As in `ship_date_compliance`. The policies are written under the title.
    by
        A column, or several: a row for each of up to 20 groups, those with most orders due. None
        draws one row of all orders.
    freq
        As in `compliance_rate`: a column for each period in which orders were due, on the
        warehouses' own calendars; at most the last 26 that have started at as_of.
    labels
        Names to show instead of values of `by`, such as ``{"wh_1": "Newark"}``.
    title
        What to write over the plot instead of its own title.
    note
        Whether to write n, as_of, the policy and how to read the plot under the title.
    ax
        The axes to draw on; a new figure by default. The legend is to their right.

    Returns
    -------
    matplotlib.axes.Axes
        A cell for each group and period, lighter for higher rates: if there is room, with the rate
        in percent, rounded, over n, the orders due. Pale: fewer than 30 orders, or less than 4 due
        days. Grey with a dot: no orders due. Asterisk: the period is not ``final``, or not
        ``covered``, as `compliance_rate` says, and its rate may change.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance` and `compliance_rate`, if `ax` is not Axes, and for a
        frame that has been judged by another policy or as of another time.

    Warns
    -----
    FilteredOrdersWarning, UserWarning
        As `ship_date_compliance` and `compliance_rate`.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> order = {"id": "a1", "status": "open", "required_ship_date": "2026-03-02T12:00:00Z"}
    >>> ax = plot_compliance_heatmap(OrderFrames.from_json([order]).orders, as_of="2026-03-09")
    >>> [tick.get_text() for tick in ax.get_yticklabels()]
    ['(none) (n = 1)']
    """
    judged = JudgedOrders(orders, by, policy, policy_by, as_of, plot="plot_compliance_heatmap")
    groups = Groups(judged.frame, by, judged.totals["n"], MOST_ROWS, labels=labels)
    cells, more = _cells(judged, groups, freq)
    height, width = 2.3 + 0.42 * max(len(groups.names), 2), 4.2 + 0.34 * len(cells.starts)
    axes = style.get_axes(ax, height, width=max(8, width))
    axes.grid(visible=False)
    groups.row_axis(axes)
    letters = None
    label = f"due, by {style.freq_words(freq)} ({judged.zone_name})"
    style.date_axis(axes, cells.starts, cells.ends, label)
    if cells.n.size:
        axes.set_xlim(cells.starts[0], cells.ends[-1])
        letters = _Letters(cells, _draw_cells(axes, cells))
        more = [*_reading(axes, cells, letters), *more]
    words = [*groups.note, *more]
    judged.add_title(
        axes, "On-time shipment rate", groups, words, title=title, note=note, resize=letters
    )
    return axes


def _cells(judged: JudgedOrders, groups: Groups, freq: str) -> tuple[_Cells, list[str]]:
    """Return the cells of the drawn groups, and a note of the periods that are left out."""
    table = outcome_rates(judged.frame, groups.columns, freq)
    # Every group has the same periods.
    periods = table.index.get_level_values("period").unique()
    starts, ends = style.period_bounds(periods, freq)
    shape = (-1 if len(periods) else 0, len(periods))
    table = table.assign(stays=table["final"] & table["covered"])
    figures = [table[name].to_numpy().reshape(shape) for name in ("n", "rate", "small", "stays")]
    every = figures[0].sum(axis=0)
    due = np.flatnonzero(every)
    started = due[starts[due] <= judged.as_of_day]
    first, end = (started[0], started[-1] + 1) if started.size else (0, 0)
    start = max(first, end - _MOST_PERIODS)
    note = [f"the last {end - start} of {end - first:,} periods"] if start > first else []
    later = table[["n", "early", "pending"]].to_numpy().sum(axis=1).reshape(shape).sum(axis=0)
    if later := later[end:].sum():
        note.append(f"due in later periods: {later:,}")
    rows = groups.positions[: len(figures[0])]
    n, rate, small, stays = (each[rows, start:end] for each in figures)
    return _Cells(n, rate, small & (n > 0), stays, starts[start:end], ends[start:end]), note


def _draw_cells(axes: Axes, cells: _Cells) -> list[Any]:
    """Draw the cells; return their texts."""
    back, texts = axes.get_facecolor(), []
    for row, column in np.ndindex(cells.n.shape):
        figures: Any = (table[row, column] for table in cells[:4])
        n, rate, is_small, stays = figures
        start, end = float(cells.starts[column]), float(cells.ends[column])
        colour = _colour(rate) if n else style.nothing(axes)
        colour = style.faded(colour, back) if is_small else colour
        box = ((start, row - 0.5), end - start, 1)
        axes.add_patch(Rectangle(*box, facecolor=colour, edgecolor=back, linewidth=1.2))
        text = axes.text((start + end) / 2, row, _words(n, rate, stays=bool(stays)))
        text.set(ha="center", va="center", color=style.text_on(colour), in_layout=False)
        texts.append(text)
    _legend(axes, cells)
    return texts


def _reading(axes: Axes, cells: _Cells, letters: _Letters) -> list[str]:
    """Return how to read the cells."""
    box, points = axes.get_window_extent(), 72 / axes.figure.dpi
    # Axes get smaller when the layout is made.
    if not letters.size(0.9 * box.width * points, 0.9 * box.height * points):
        return ["cells too small for numbers"]
    starred = (cells.n > 0) & ~cells.stays
    stars = ["*: the rate may change, or the fetch has not all orders"] if starred.any() else []
    return ["in each cell: % on time over n", *stars]


def _words(n: int, rate: float, *, stays: bool) -> str:
    if not n:
        return "·"
    return f"{style.share_words(rate, 0, '')}\n{n:,}{'' if stays else '*'}"


class _Letters:
    """The text of the cells, in the size that fits; invisible if it would be too small."""

    def __init__(self, cells: _Cells, texts: Sequence[Any]) -> None:
        self._rows, self._columns = cells.n.shape
        self._most = max(len(f"{cells.n.max(initial=0):,}*"), 3)
        self._texts = texts

    def size(self, width: float, height: float) -> float:
        """Return the size for axes of so many points; 0 if it would be too small to be read."""
        # A letter is about two thirds as wide as high.
        wide = 0.95 * width / self._columns / self._most / 0.66
        size = min(wide, height / self._rows / 2.6, 8 * max(style.font_scale(), 1))
        return float(size) if size >= _SMALLEST_FONT else 0.0

    def __call__(self, _: Axes, width: float, height: float) -> None:
        size = self.size(width, height)
        for text in self._texts:
            text.set(visible=size > 0, fontsize=max(size, 1))


def _colour(rate: float) -> Any:
    return _CLASS_COLOURS[int(_classes(np.array(rate)))]


def _classes(rates: Array) -> Array:
    return np.searchsorted(_LOWER_BOUNDS, rates, side="right") - 1


def _legend(axes: Axes, cells: _Cells) -> None:
    """Explain the classes in use, the best first, and the other kinds of cells."""
    some, back = cells.n > 0, axes.get_facecolor()
    used = np.unique(_classes(cells.rate[some]))
    looks = {
        _CLASS_NAMES[each]: Patch(facecolor=_CLASS_COLOURS[each], edgecolor=back)
        for each in used[::-1]
    }
    if cells.is_small.any():
        paled = style.faded(_CLASS_COLOURS[used[-1]], back)
        looks["pale: small n"] = Patch(facecolor=paled, edgecolor=style.MUTED)
    if not some.all():
        looks["nothing due"] = Patch(facecolor=style.nothing(axes), edgecolor="0.6")
    layout.add_legend(axes, list(looks.values()), list(looks), "on time", stays=True)
