"""What is open, by age, as stacked bars."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from trackstar_frames.measures._checks import by_columns, require
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.backlog import AGE_BUCKETS, backlog
from trackstar_frames.plots._style import (
    GROUPS,
    OTHERS,
    Look,
    count_axis,
    get_axes,
    headline,
    largest,
    lasting,
    legend,
    look_of,
    named,
    printable,
    say,
    stamped,
)

__all__ = ["plot_backlog"]


class _Layer(NamedTuple):
    """Open orders of one status or group, by age."""

    name: str
    look: Look
    n: Array


def plot_backlog(
    orders: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    ax: Axes | None = None,
    **bar_kws: Any,
) -> Axes:
    """Draw how many orders are open, by age and status, and for how many days they are work.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or rows of it: those shipped in the last 28 days too, if
        the days of work are to mean anything.
    by
        A column, or several: bars are piled up from these groups instead of statuses, the six
        with most open orders and all others together.
    as_of
        As in `backlog`.
    ax
        Where to draw; a new figure by default. The legend stands to its right.
    **bar_kws
        Passed to `Axes.bar`.

    Returns
    -------
    matplotlib.axes.Axes
        A bar for each age in whole days, as high as the counts of `backlog`, with its n.

    Raises
    ------
    TypeError, ValueError
        As `backlog`, and if `ax` is not Axes.

    Examples
    --------
    >>> import pandas as pd
    >>> orders = pd.DataFrame({
    ...     "status": ["open", "open"], "created_date": pd.to_datetime(
    ...         ["2026-03-01", "2026-03-09"], utc=True),
    ...     "complete_shipped_date": pd.NaT, "first_shipped_date": pd.NaT,
    ...     "last_shipped_date": pd.NaT, "units_ordered": 1, "units_shipped": 0})
    >>> ax = plot_backlog(orders, as_of="2026-03-10")
    >>> [int(bar.get_height()) for bar in ax.patches]
    [1, 1]
    """
    require(orders, [], source="fetch_orders_df")
    table = backlog(orders, by=by, as_of=as_of)
    names = by_columns(orders, by)
    layers = _groups(table) if names else _statuses(table)
    axes = get_axes(ax, 4.5)
    ages = table[list(AGE_BUCKETS)].sum().to_numpy()
    shown = len(AGE_BUCKETS) if ages[-1] else len(AGE_BUCKETS) - 1
    drawn = _pile(axes, layers, shown, bar_kws)
    _axis(axes, shown, ages.max())
    labels = [f"{layer.name} ({layer.n.sum():,})" for layer in layers]
    legend(axes, drawn, labels, named(tuple(names)) if names else "status")
    headline(axes, "Backlog ageing", names, _basis(table))
    if not table["n"].sum():
        say(axes, "no open orders" if len(orders) else "no orders")
    return axes


def _statuses(table: pd.DataFrame) -> list[_Layer]:
    counts = table[list(AGE_BUCKETS)].to_numpy()
    every = zip(table.index, counts, strict=True)
    return [_Layer(printable(status), look_of(status), n) for status, n in every if n.any()]


def _groups(table: pd.DataFrame) -> list[_Layer]:
    """Return the groups with most open orders, and all others as one."""
    # Every group has the same statuses.
    statuses = max(table.index.get_level_values("status").nunique(), 1)
    counts = table[list(AGE_BUCKETS)].to_numpy().reshape(-1, statuses, len(AGE_BUCKETS)).sum(axis=1)
    labels = table.index[::statuses].to_frame().drop(columns="status")
    n = pd.Series(counts.sum(axis=1))
    places = [place for place in largest(n, len(GROUPS))[0] if n[place]]
    layers = [
        _Layer(named(tuple(labels.iloc[place])), look, counts[place])
        for place, look in zip(places, GROUPS, strict=False)
    ]
    if others := int((n > 0).sum()) - len(layers):
        rest = counts.sum(axis=0) - counts[places].sum(axis=0)
        layers.append(_Layer(f"{others:,} other group{'s' if others > 1 else ''}", OTHERS, rest))
    return layers


def _pile(axes: Axes, layers: list[_Layer], shown: int, bar_kws: dict[str, Any]) -> list[Any]:
    """Pile the layers up; return a bar of each."""
    done = np.zeros(shown)
    drawn = []
    for layer in layers:
        n = layer.n[:shown]
        some = np.flatnonzero(n)
        style = {**layer.look.of_bars(), "bottom": done[some], **bar_kws}
        drawn.append(axes.bar(some, n[some], 0.86, **style)[0])
        done = done + n
    if drawn:
        _count(axes, done)
    return drawn


def _count(axes: Axes, tops: Array) -> None:
    """Write over each pile how high it is."""
    style: dict[str, Any] = {"ha": "center", "fontsize": "small", "color": "0.35"}
    for place, top in enumerate(tops):
        axes.annotate(f"{top:,.0f}", (place, top), (0, 2), textcoords="offset points", **style)


def _axis(axes: Axes, shown: int, most: int) -> None:
    axes.set_xticks(range(shown), AGE_BUCKETS[:shown])
    axes.set_xlim(-0.6, shown - 0.4)
    axes.set_ylim(0, max(most, 1) * 1.08)
    axes.set_xlabel("age in whole days since the order was created")
    count_axis(axes.yaxis, normalize=False)


def _basis(table: pd.DataFrame) -> list[str]:
    """Say what the picture stands on: n, as-of, and how much work that is."""
    told = table.attrs["trackstar"]["backlog"]
    n, pace = int(table["n"].sum()), told["pace"]
    units, unknown = int(table["units"].sum()), int(table["units_unknown"].sum())
    words = [f"n = {n:,} open orders", f"as of {stamped(told['as_of'])}"]
    if n:
        words.append(f"{units:,} units" + (f" (unknown of {unknown:,} orders)" if unknown else ""))
        words.append(f"oldest {lasting(table['oldest'].max())}")
    if not pace:
        return [*words, f"days of work unknown: none shipped in {told['pace_days']} days"]
    work = f"{n / pace:,.1f} days of work at {pace:,.1f} orders shipped a day"
    return [*words, f"{work} (in the last {told['pace_days']} days)"]
