"""Orders by status, as stacked bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from trackstar_frames.measures._checks import fetched_at, measure_info, require
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.status_mix import status_mix
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._groups import MOST_ROWS, Groups

# More bars are drawn without gaps and edges, which would be all there is to see.
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
    """Draw the number of orders by status, as stacked bars.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or rows of it.
    by
        A column, or several: a horizontal bar for each of up to 20 groups, the largest.
    freq
        As in `status_mix`: a vertical bar for each period in which orders were created (UTC).
        Not together with `by`.
    normalize
        Draw shares of each bar's orders instead of counts.
    ax
        The axes to draw on; a new figure by default. The legend is to their right.
    **bar_kws
        Passed to `Axes.bar` or `Axes.barh`.

    Returns
    -------
    matplotlib.axes.Axes
        Bars with the figures of `status_mix` as their length, in orders or as shares of 1.

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
    counts = status_mix(orders, by=by, freq=freq)
    n = counts.sum(axis=1)
    table = counts.div(n.where(n > 0), axis=0).fillna(0.0) if normalize else counts
    groups = Groups(orders, by, n, MOST_ROWS)
    # The status is that of the data, also in a frame that was judged as of another moment.
    undated = (measure_info(counts, "status_mix") or {}).get("without_period", 0)
    note = [f"n = {n.sum() + undated:,} orders", f"as of {style.moment_words(fetched_at(orders))}"]
    if freq is None:
        bars = table.iloc[groups.positions]
        axes = style.get_axes(ax, 2.1 + 0.34 * max(len(bars), 2))
        at: Array = np.arange(len(bars))
        width: Array = np.full(len(bars), 0.8)
        groups.row_axis(axes)
        note += groups.note
    else:
        axes = style.get_axes(ax, 4.5)
        bars = table
        starts, ends = style.period_bounds(table.index, freq)
        width = ends - starts
        at = starts + width / 2
        style.date_axis(axes, starts, ends, f"created, by {style.freq_words(freq)} (UTC)")
        note += [f"n per bar {n.min():,} to {n.max():,}"] if len(n) > 1 else []
        note += [f"not drawn: {undated:,} without a created date"] if undated else []
    if len(bars) > _MOST_GAPS:
        bar_kws = {"hatch": "", "linewidth": 0, **bar_kws}
    else:
        width = width * 0.94
    length = axes.xaxis if freq is None else axes.yaxis
    layers = style.status_layers(bars, counts.sum())
    style.stacked_bars(length, layers, at, width, bar_kws, title="status")
    style.count_axis(length, normalize=normalize)
    style.add_title(axes, "Orders by status", groups.columns, note)
    if not n.sum():
        style.write_in_middle(axes, "no orders")
    return axes
