"""The open orders by age, as stacked bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from trackstar_frames.measures._checks import require
from trackstar_frames.measures._policies import PolicyLike
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.backlog import AGE_BUCKETS, backlog
from trackstar_frames.plots import _layout as layout
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._groups import MOST_LINES, Groups
from trackstar_frames.plots._judged import AsOf


def plot_backlog(
    orders: pd.DataFrame,
    *,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: AsOf = None,
    by: str | Sequence[str] | None = None,
    labels: Mapping[Any, str] | None = None,
    title: str | None = None,
    note: bool = True,
    ax: Axes | None = None,
    **bar_kws: Any,
) -> Axes:
    """Draw the number of open orders by age and status, and the days of work that they take.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or rows of it. The days of work need those shipped in the
        last 28 days too.
    policy, policy_by, as_of
        As in `backlog`: of a policy, only the zone is used, in which a bare day ends.
    by
        A column, or several: stack the bars by these groups instead of by status: the six with
        most open orders, and all others together.
    labels
        Names to show instead of values of `by`, such as ``{"wh_1": "Newark"}``.
    title
        What to write over the plot instead of its own title.
    note
        Whether to write n, as_of and the days of work under the title.
    ax
        The axes to draw on; a new figure by default. The legend is to their right.
    **bar_kws
        Passed to `Axes.bar`.

    Returns
    -------
    matplotlib.axes.Axes
        A bar for each age in whole days, with the counts of `backlog` as its height, and its n. A
        group keeps its colour in all pictures of a frame.

    Raises
    ------
    TypeError, ValueError
        As `backlog`, and if `ax` is not Axes.

    Warns
    -----
    FilteredOrdersWarning, UserWarning
        As `backlog`.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> days = {"a1": "2026-03-01T00:00:00Z", "b2": "2026-03-09T00:00:00Z"}
    >>> orders = [{"id": id_, "status": "open", "created_date": day} for id_, day in days.items()]
    >>> ax = plot_backlog(OrderFrames.from_json(orders).orders, as_of="2026-03-10")
    >>> [int(bar.get_height()) for bar in ax.patches]
    [1, 1]
    """
    require(orders, [], source="fetch_orders_df")
    table = backlog(orders, by=by, policy=policy, policy_by=policy_by, as_of=as_of)
    counts, n = _by_group(table)
    groups = Groups(orders, by, n, MOST_LINES, labels=labels, skip_empty=True)
    ages = counts.sum(axis=0)
    shown = len(AGE_BUCKETS) if ages[-1] else len(AGE_BUCKETS) - 1
    if groups.columns:
        layers = groups.layers(counts[:, :shown])
    else:
        layers = style.status_layers(table[list(AGE_BUCKETS[:shown])].T, table["n"])
    axes = style.get_axes(ax, 4.5)
    of = groups.title or "status"
    layout.stacked_bars(axes.yaxis, layers, np.arange(shown), 0.86, bar_kws, title=of)
    _axis(axes, ages[:shown])
    words = _note(table)
    layout.add_title(axes, "Backlog ageing", groups.columns, words, given=title, note=note)
    if not ages.any():
        style.write_in_middle(axes, "no open orders" if len(orders) else "no orders")
    return axes


def _by_group(table: pd.DataFrame) -> tuple[Array, pd.Series[int]]:
    """Return a row of counts by age for each group, and the orders of each."""
    # Every group has the same statuses.
    statuses = max(table.index.get_level_values("status").nunique(), 1)
    counts = table[list(AGE_BUCKETS)].to_numpy().reshape(-1, statuses, len(AGE_BUCKETS)).sum(axis=1)
    labels = table.index[::statuses]
    if isinstance(labels, pd.MultiIndex):
        labels = labels.droplevel("status")
    return counts, pd.Series(counts.sum(axis=1), index=labels)


def _axis(axes: Axes, ages: Array) -> None:
    axes.set_xticks(range(len(ages)), AGE_BUCKETS[: len(ages)])
    axes.set_xlim(-0.6, len(ages) - 0.4)
    axes.set_ylim(0, max(ages.max(), 1) * style.head_room(axes, lines=1.5))
    axes.set_xlabel("age in whole days since the order was created")
    style.count_axis(axes.yaxis)
    if ages.any():
        kws: dict[str, Any] = {"ha": "center", "fontsize": "small", "color": style.MUTED}
        for position, n in enumerate(ages):
            axes.annotate(f"{n:,}", (position, n), (0, 2), textcoords="offset points", **kws)


def _note(table: pd.DataFrame) -> list[str]:
    info = table.attrs["trackstar"]["backlog"]
    n, pace = int(table["n"].sum()), info["pace"]
    units, unknown = int(table["units"].sum()), int(table["units_unknown"].sum())
    words = [f"n = {n:,} open orders", f"as of {style.moment_words(info['as_of'])}"]
    if n:
        words.append(f"{units:,} units" + (f" (unknown of {unknown:,} orders)" if unknown else ""))
        words.append(f"oldest {style.duration_words(table['oldest'].max())}")
    if not pace:
        return [*words, f"days of work unknown: none shipped in {info['pace_days']} days"]
    work = f"{n / pace:,.1f} days of work at {pace:,.1f} orders shipped a day"
    return [*words, f"{work} (in the last {info['pace_days']} days)"]
