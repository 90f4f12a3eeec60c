"""Orders by status, as stacked bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from trackstar_frames.measures import completeness
from trackstar_frames.measures._checks import column, fetched_at, measure_info, require
from trackstar_frames.measures._policies import Policies, PolicyLike, resolve_moment, zones_of
from trackstar_frames.measures._time import Array, now_of
from trackstar_frames.measures.backlog import SHIPPED_SINCE
from trackstar_frames.measures.status_mix import status_mix
from trackstar_frames.plots import _layout as layout
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._groups import MOST_ROWS, Groups
from trackstar_frames.plots._judged import AsOf, day_number, zone_name

# More bars are drawn without gaps and edges, which would be all there is to see.
_MOST_GAPS = 60
_SLIVER = 0.02  # days: no bar is narrower


def plot_status_mix(
    orders: pd.DataFrame,
    *,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: AsOf = None,
    by: str | Sequence[str] | None = None,
    freq: str | None = None,
    labels: Mapping[Any, str] | None = None,
    title: str | None = None,
    note: bool = True,
    ax: Axes | None = None,
    normalize: bool = False,
    **bar_kws: Any,
) -> Axes:
    """Draw the number of orders by status, as stacked bars.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or rows of it.
    policy, policy_by
        As in `status_mix`: only the time zones are used.
    as_of
        The moment to look at, as in `backlog`: orders created later are left out, and those that
        were open at it and have shipped since are ``(shipped since)``, as the data only have the
        statuses of their own time. By default that time.
    by
        A column, or several: a horizontal bar for each of up to 20 groups, the largest.
    freq
        As in `status_mix`: a vertical bar for each period in which orders were created, on the
        calendars of the policy's time zones. Not together with `by`.
    labels
        Names to show instead of values of `by`, such as ``{"wh_1": "Newark"}``.
    title
        What to write over the plot instead of its own title.
    note
        Whether to write n and as_of under the title.
    ax
        The axes to draw on; a new figure by default. The legend is to their right.
    normalize
        Draw shares of each bar's orders instead of counts.
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

    Warns
    -----
    FilteredOrdersWarning
        As `status_mix`.

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
    policies = zones_of(orders, policy, policy_by)
    orders, moment = _seen_at(orders, as_of, policies)
    counts = status_mix(orders, by=by, freq=freq, policy=policy, policy_by=policy_by)
    n = counts.sum(axis=1)
    table = counts.div(n.where(n > 0), axis=0).fillna(0.0) if normalize else counts
    groups = Groups(orders, by, n, MOST_ROWS, labels=labels)
    undated = (measure_info(counts, "status_mix") or {}).get("without_period", 0)
    words = [f"n = {n.sum() + undated:,} orders", f"as of {style.moment_words(moment)}"]
    if freq is None:
        bars = table.iloc[groups.positions]
        axes = style.get_axes(ax, 2.1 + 0.34 * max(len(bars), 2))
        at: Array = np.arange(len(bars))
        width: Array = np.full(len(bars), 0.8)
        groups.row_axis(axes)
        words += groups.note
    else:
        axes, bars = style.get_axes(ax, 4.5), table
        starts, ends = style.period_bounds(table.index, freq)
        if moment is not None:
            ends = np.clip(
                ends, None, np.maximum(day_number(moment, policies.zone), starts + _SLIVER)
            )
        width = ends - starts
        at = starts + width / 2
        label = f"created, by {style.freq_words(freq)} ({zone_name(policies)})"
        style.date_axis(axes, starts, ends, label)
        words += [f"n per bar {n.min():,} to {n.max():,}"] if len(n) > 1 else []
        words += [f"not drawn: {undated:,} without a created date"] if undated else []
    if len(bars) > _MOST_GAPS:
        bar_kws = {"hatch": "", "linewidth": 0, **bar_kws}
    else:
        width = width * 0.94
    length = axes.xaxis if freq is None else axes.yaxis
    layers = style.status_layers(bars, counts.sum())
    rows: dict[str, Any] = {"title": "status", "stays": freq is None}
    layout.stacked_bars(length, layers, at, width, bar_kws, **rows)
    style.count_axis(length, normalize=normalize)
    layout.add_title(axes, "Orders by status", groups.columns, words, given=title, note=note)
    if not n.sum():
        style.write_in_middle(axes, "no orders")
    return axes


def _seen_at(orders: pd.DataFrame, as_of: AsOf, policies: Policies) -> tuple[pd.DataFrame, Any]:
    """Return the orders that were there at a moment, with their status then, and the moment."""
    if as_of is None:
        return orders, fetched_at(orders)
    require(orders, completeness.LIFECYCLE_COLUMNS, source="fetch_orders_df")
    moment = resolve_moment(orders, as_of, policies)
    states = completeness.order_states(orders, now_of(moment))
    since = (states == completeness.OPEN) & (completeness.closed_at(orders) > now_of(moment))
    if since.any():
        status = column(orders, "status").astype(object).mask(since, SHIPPED_SINCE)
        orders = orders.assign(status=status)
    return orders[states != completeness.STATES.index("created_after")], moment.isoformat()
