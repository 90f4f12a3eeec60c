"""How many orders stand where, as stacked bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from trackstar_frames.measures._checks import by_columns, fetched_at, require
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.status_mix import status_mix
from trackstar_frames.plots._style import (
    MOST_ROWS,
    count_axis,
    date_axis,
    get_axes,
    group_axis,
    headline,
    largest,
    legend,
    look_of,
    printable,
    say,
    spans,
    spelt,
    stamped,
)

__all__ = ["plot_status_mix"]

# More bars than this stand without gaps: the white between them would be all there is to see.
_MOST_GAPS = 60


def plot_status_mix(
    orders: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    freq: str | None = None,
    normalize: bool = False,
    ax: Axes | None = None,
    **bar_kws: Any,
) -> Axes:
    """Draw how many orders stand where, as stacked bars.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or rows of it.
    by
        A column, or several: a lying bar for each group, the 20 largest at most.
    freq
        As in `status_mix`: a standing bar for each period in which orders were created (UTC).
        Not together with `by`.
    normalize
        Draw shares of each bar's orders instead of counts.
    ax
        Where to draw; a new figure by default. The legend stands to its right.
    **bar_kws
        Passed to `Axes.bar` or `Axes.barh`.

    Returns
    -------
    matplotlib.axes.Axes
        Bars that are as long as the figures of `status_mix`, in orders or shares of 1.

    Raises
    ------
    TypeError, ValueError
        As `status_mix`, for `by` together with `freq`, and if `ax` is not Axes.

    Examples
    --------
    >>> import pandas as pd
    >>> orders = pd.DataFrame({"status": ["open", "open", "fulfilled"]})
    >>> ax = plot_status_mix(orders)
    >>> [int(bar.get_width()) for bar in ax.patches]
    [2, 1]
    """
    if by is not None and freq is not None:
        raise ValueError("by and freq are drawn one at a time; draw each group on its own ax")
    require(orders, [], source="fetch_orders_df")
    counts = status_mix(orders, by, freq)
    n = counts.sum(axis=1)
    table = counts.div(n.where(n > 0), axis=0).fillna(0.0) if normalize else counts
    names = by_columns(orders, by)
    if freq is None:
        axes, bars, note = _groups(ax, table, n, names, bar_kws)
    else:
        axes, bars, note = _periods(ax, table, n, freq, bar_kws)
    count_axis(axes.xaxis if freq is None else axes.yaxis, normalize=normalize)
    labels = [f"{printable(status)} ({counts[status].sum():,})" for status in bars]
    legend(axes, list(bars.values()), labels, "status")
    # Not as of the moment that orders were judged at: their status is that of the data.
    basis = [f"n = {n.sum():,} orders", f"as of {stamped(fetched_at(orders))}"]
    headline(axes, "Orders by status", names, [*basis, *note])
    if not n.sum():
        say(axes, "no orders")
    return axes


def _periods(
    ax: Axes | None, table: pd.DataFrame, n: pd.Series[int], freq: str, bar_kws: dict[str, Any]
) -> tuple[Axes, dict[str, Any], list[str]]:
    axes = get_axes(ax, 4.5)
    dated = np.asarray(table.index.notna())
    starts, ends = spans(table.index[dated], freq)
    widths = ends - starts
    drawn = _stack(axes, table[dated], starts + widths / 2, widths, bar_kws)
    date_axis(axes, starts, ends, f"created, by {spelt(freq)} (UTC)")
    bars = n[dated]
    note = [f"n per bar {bars.min():,} to {bars.max():,}"] if len(bars) > 1 else []
    if undated := n[~dated].sum():
        note.append(f"not drawn: {undated:,} without a created date")
    return axes, drawn, note


def _groups(
    ax: Axes | None,
    table: pd.DataFrame,
    n: pd.Series[int],
    names: list[str],
    bar_kws: dict[str, Any],
) -> tuple[Axes, dict[str, Any], list[str]]:
    rows, note = largest(n, MOST_ROWS)
    axes = get_axes(ax, 2.1 + 0.34 * max(len(rows), 2))
    places = np.arange(len(rows), dtype=float)
    drawn = _stack(axes, table.iloc[rows], places, np.full(len(rows), 0.8), bar_kws, lying=True)
    group_axis(axes, table.index[rows], n.iloc[rows], names)
    return axes, drawn, note


def _stack(
    axes: Axes,
    table: pd.DataFrame,
    at: Array,
    size: Array,
    bar_kws: dict[str, Any],
    *,
    lying: bool = False,
) -> dict[str, Any]:
    """Pile the columns of a table up, one bar for each row; return a bar of each status drawn."""
    draw, base = (axes.barh, "left") if lying else (axes.bar, "bottom")
    dense = len(table) > _MOST_GAPS
    edges = {"edgecolor": "white", "linewidth": 0 if dense else 0.5}
    done = np.zeros(len(table))
    drawn = {}
    for status in table.columns[(table != 0).any()]:
        look = look_of(status)
        values = table[status].to_numpy()
        some = values > 0
        style = {
            "color": look.colour,
            "hatch": "" if dense else look.hatch,
            **edges,
            base: done[some],
        }
        width = size if dense else size * 0.94
        drawn[status] = draw(at[some], values[some], width[some], **{**style, **bar_kws})[0]
        done = done + values
    return drawn
