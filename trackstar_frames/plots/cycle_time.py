"""How long orders take, the open ones included, as curves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy

from trackstar_frames.measures._checks import by_columns
from trackstar_frames.measures._grouping import group_numbers
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.cycle_time import cycle_time, cycle_time_curve, observed_times
from trackstar_frames.plots._style import (
    GROUPS,
    HOUR,
    Look,
    axis_unit,
    get_axes,
    headline,
    largest,
    lasting,
    legend,
    named,
    percent_axis,
    reach,
    say,
    stamped,
)

__all__ = ["at_risk", "plot_cycle_time"]


_TICKS = (0, 0.1, 0.25, 0.5, 0.75, 1)
_SHIPPED_SHOWN = 0.99  # of those shipped; the slowest would take all the room
_MOST_STEPS = 2000
_HOLLOW: Mapping[str, Any] = MappingProxyType(
    {
        "marker": "o",
        "color": GROUPS[0].colour,
        "markerfacecolor": "white",
        "markersize": 6,
        "linestyle": "none",
    }
)


class _Group(NamedTuple):
    """One curve: its figures, for how many hours its orders were open, and how it is drawn."""

    name: str
    figures: Any
    curve: pd.DataFrame
    hours: Array
    look: Look


def plot_cycle_time(
    orders: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    ax: Axes | None = None,
    **line_kws: Any,
) -> Axes:
    """Draw which share of orders is still open after how long, by Kaplan and Meier.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or rows of it, whatever their status.
    by
        A column, or several: a curve for each group, the six with most orders at most.
    as_of
        As in `cycle_time`.
    ax
        Where to draw; a new figure by default. The legend stands to its right, and the number of
        orders at risk (open for so long, as far as is known) under the axis.
    **line_kws
        Passed to `Axes.plot`, for the curves.

    Returns
    -------
    matplotlib.axes.Axes
        The curves of `cycle_time_curve`, in shares of 1 over days or hours, each with its 95 %
        interval, and marks where it comes down to a half (the median) and to a tenth (the 90th
        percentile). Hollow marks on the one curve of all orders are those of shipped orders
        only. The slowest hundredth of shipped orders may lie outside; how many is told.

    Raises
    ------
    TypeError, ValueError
        As `cycle_time_curve`, and if `ax` is not Axes.

    Examples
    --------
    >>> import pandas as pd
    >>> orders = pd.DataFrame({
    ...     "status": ["fulfilled", "open"], "created_date": pd.Timestamp("2026-03-01", tz="UTC"),
    ...     "complete_shipped_date": pd.to_datetime(["2026-03-02", None], utc=True),
    ...     "last_shipped_date": pd.NaT})
    >>> ax = plot_cycle_time(orders, as_of="2026-03-09")
    >>> ax.lines[0].get_ydata().tolist()
    [1.0, 0.5, 0.5]
    """
    table = cycle_time(orders, by=by, as_of=as_of)
    names = by_columns(orders, by)
    told = table.attrs["trackstar"]["cycle_time"]
    moment = pd.Timestamp(told["as_of"])
    groups, note = _groups(orders, table, names, moment)
    axes = get_axes(ax, 4.5 + 0.15 * len(groups))
    percent_axis(axes.yaxis, "share still open (%)")
    axes.set_yticks(_TICKS)
    if groups:
        note += _curves(axes, groups, line_kws)
        _legend(axes, groups, names)
    else:
        axes.set_xticks([])
        say(axes, "no orders that can be evaluated" if len(orders) else "no orders")
    headline(axes, "Cycle time", names, [*_basis(table), *note])
    return axes


def _groups(
    orders: pd.DataFrame, table: pd.DataFrame, names: list[str], moment: pd.Timestamp
) -> tuple[list[_Group], list[str]]:
    """Return the largest groups, and a note of what that leaves out."""
    some = table[table["n"] > 0]
    members, _ = group_numbers(orders, names)
    places, note = largest(some["n"], len(GROUPS))
    numbers = np.flatnonzero(table["n"])[places]
    found = []
    for number, look in zip(numbers, GROUPS, strict=False):
        own = orders[members == number]
        name = named(table.index[number]) if names else "all orders"
        curve = cycle_time_curve(own, as_of=moment)
        hours = observed_times(own, moment) / HOUR
        found.append(_Group(name, table.iloc[number], curve, hours, look))
    return found, note


def _curves(axes: Axes, groups: list[_Group], line_kws: dict[str, Any]) -> list[str]:
    """Draw the curves and what stands under them; return a note of what lies outside."""
    right = max(_right(group) for group in groups)
    per, unit = axis_unit(right)
    for group in groups:
        line = _curve(axes, group, right, per, line_kws)
        _marks(axes, group, per, line)
    for level in (0.5, 0.1):
        axes.axhline(level, color="0.6", linewidth=0.8, zorder=0.9)
    if len(groups) == 1 and groups[0].figures["open"]:
        _shipped_only(axes, groups[0], per)
    axes.set_xlim(0, right / per)
    axes.set_xlabel(f"{unit} since the order was created")
    at_risk(axes, [(group.hours / per, group.look) for group in groups])
    beyond = sum(int((group.hours > right).sum()) for group in groups)
    return [f"open for longer than shown: {beyond:,}"] if beyond else []


def _right(group: _Group) -> float:
    """Return how many hours the axis must show of a curve."""
    hours = group.curve["time"].to_numpy(dtype="m8[us]") / HOUR
    if not hours.size:
        return float(max(group.hours[-1], 1))
    done = group.curve["shipped"].to_numpy().cumsum()
    shares = np.array([0.25, 0.75, _SHIPPED_SHOWN])
    low, high, most = hours[np.searchsorted(done, shares * done[-1])]
    most = min(most, high + reach(low, high))
    quantiles = [group.figures[name] / HOUR for name in ("p90", "shipped_p90")]
    return float(np.nanmax([most, *quantiles, 1])) * 1.06


def _curve(axes: Axes, group: _Group, right: float, per: float, line_kws: dict[str, Any]) -> Line2D:
    """Draw one curve up to the longest time that is known of its orders, and its interval."""
    hours = group.curve["time"].to_numpy(dtype="m8[us]") / HOUR
    kept = _steps(hours, right)
    end = min(group.hours[-1], right)
    x = np.array([0, *hours[kept], end]) / per
    shares = group.curve[["open_share", "low", "high"]].to_numpy()[kept]
    shares = np.vstack([np.ones(3), shares])
    share, low, high = np.vstack([shares, shares[-1]]).T
    style: dict[str, Any] = {"color": group.look.colour, "linestyle": group.look.stroke}
    style |= {"linewidth": 1.8, "drawstyle": "steps-post", **line_kws}
    line = axes.plot(x, share, **style)[0]
    axes.fill_between(x, low, high, step="post", color=line.get_color(), alpha=0.18, linewidth=0)
    return line


def _steps(hours: Array, right: float) -> Array:
    """Choose the steps that can be told apart; the last of those that cannot."""
    inside = hours[hours <= right]
    return np.flatnonzero(np.diff(np.floor(inside / right * _MOST_STEPS), append=np.inf))


def _marks(axes: Axes, group: _Group, per: float, line: Line2D) -> None:
    for name, level in (("median", 0.5), ("p90", 0.1)):
        axes.plot(
            group.figures[name] / HOUR / per,
            level,
            marker=group.look.marker,
            color=line.get_color(),
            markeredgecolor="white",
            markersize=7,
            linestyle="none",
            clip_on=False,
            zorder=3,
        )


def _shipped_only(axes: Axes, group: _Group, per: float) -> None:
    for name, level in (("shipped_median", 0.5), ("shipped_p90", 0.1)):
        axes.plot(group.figures[name] / HOUR / per, level, zorder=2.9, **_HOLLOW)


def _legend(axes: Axes, groups: list[_Group], names: list[str]) -> None:
    looks: list[Any] = [
        {"color": look.colour, "linestyle": look.stroke, "marker": look.marker}
        for look in (group.look for group in groups)
    ]
    labels = [_figures(group) for group in groups]
    if len(groups) == 1 and groups[0].figures["open"] and groups[0].figures["shipped"]:
        of_shipped = groups[0].figures
        looks.append(_HOLLOW)
        labels.append(
            f"shipped only (n = {of_shipped['shipped']:,})\n"
            f"{_quantiles(of_shipped['shipped_median'], of_shipped['shipped_p90'])}\n"
            "too low while others are open"
        )
    handles = [Line2D([], [], **look) for look in looks]
    legend(axes, handles, labels, named(tuple(names)) if names else "orders")


def _figures(group: _Group) -> str:
    quantiles = _quantiles(group.figures["median"], group.figures["p90"])
    return f"{group.name} (n = {group.figures['n']:,})\n{quantiles}"


def _quantiles(median: Any, p90: Any) -> str:
    said = ("not reached" if pd.isna(time) else lasting(time) for time in (median, p90))
    return "median {}, p90 {}".format(*said)


def _basis(table: pd.DataFrame) -> list[str]:
    """Say what the curves stand on: n, as-of, what is left out, and how they are made."""
    sums = table[["n", "shipped", "open", "cancelled", "not_evaluable"]].sum()
    return [
        f"n = {sums['n']:,} orders, {sums['open']:,} of them open",
        f"left out: {sums['cancelled']:,} cancelled, {sums['not_evaluable']:,} not evaluable",
        "from receipt to complete shipment",
        f"as of {stamped(table.attrs['trackstar']['cycle_time']['as_of'])}",
        "Kaplan-Meier with 95 % intervals",
    ]


# Points under the axis, and between the rows there.
_FIRST_ROW, _ROW = -38.0, 11.0


def at_risk(axes: Axes, curves: Sequence[tuple[Array, Look]]) -> None:
    """Count under the axis what is at risk: of each curve, the lengths that reach a tick.

    Lengths are in the unit of the axis, the shortest first.
    """
    right = axes.get_xlim()[1]
    ticks = np.array(MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(0, right))
    ticks = ticks[(ticks >= 0) & (ticks <= right)]
    axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
    _below(axes, 0, _FIRST_ROW, "orders at risk (n)", ha="left", color="0.35")
    for row, (lengths, look) in enumerate(curves):
        y = _FIRST_ROW - _ROW * (row + 1)
        if len(curves) > 1:
            _key(axes, look, y)
        counts = len(lengths) - np.searchsorted(lengths, ticks, side="left")
        for tick, n in zip(ticks, counts, strict=True):
            _below(axes, 0, y, f"{n:,}", at=tick, ha="center")


def _key(axes: Axes, look: Look, y: float) -> None:
    """Mark which curve a row under the axis belongs to."""
    figure: Any = axes.figure
    place = offset_copy(axes.transAxes, figure, x=-26, y=y, units="points")
    mark = Line2D([0], [0], marker=look.marker, color=look.colour, markersize=5, clip_on=False)
    mark.set_transform(place)
    axes.add_artist(mark)


def _below(axes: Axes, x: float, y: float, words: str, *, at: float = 0, **style: Any) -> None:
    """Write so many points to the right of and above a place on the axis."""
    axes.annotate(
        words,
        (at, 0),
        (x, y),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="center",
        fontsize="x-small",
        **style,
    )
