"""How long orders take, open ones included, as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy

from trackstar_frames.measures._grouping import SMALL
from trackstar_frames.measures._policies import PolicyLike
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.cycle_time import cycle_time, cycle_time_curve, observed_times
from trackstar_frames.plots import _layout as layout
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._groups import MOST_LINES, MOST_PANELS, Groups
from trackstar_frames.plots._judged import AsOf, quiet
from trackstar_frames.plots._panels import LETTERS, Panels

_LEVELS = {"median": 0.5, "p90": 0.1}  # of the share that is still open
_OPEN = "share still open (%)"
_THIN = style.Look(style.MUTED, "")
_TICKS = (0, 0.1, 0.25, 0.5, 0.75, 1)
_SHIPPED_SHOWN = 0.99  # of those shipped; the slowest would take all the room
_MOST_STEPS = 2000
_LOW, _NARROW = 150, 200  # points: axes too low for the orders at risk, too narrow for quantiles
# Of the rows under the axis, in points, at matplotlib's default size of text.
_FIRST_ROW, _ROW, _KEY = -38.0, 11.0, -26.0


class _Group(NamedTuple):
    """One curve: its figures, for how many hours its orders were open, and its look."""

    label: str
    figures: Any
    curve: pd.DataFrame
    hours: Array
    look: style.Look

    @property
    def steps(self) -> Array:
        """The hours at which the curve goes down."""
        return self.curve["time"].to_numpy(dtype="m8[us]") / style.HOUR

    @property
    def right(self) -> float:
        """How many hours of the curve the axis must show."""
        hours = self.steps
        if not hours.size:
            return float(max(self.hours[-1], 1))
        done = self.curve["shipped"].to_numpy().cumsum()
        shares = np.array([0.25, 0.75, _SHIPPED_SHOWN])
        low, high, most = hours[np.searchsorted(done, shares * done[-1])]
        most = min(most, high + style.outlier_distance(low, high))
        quantiles = [self.figures[name] / style.HOUR for name in ("p90", "shipped_p90")]
        return float(np.nanmax([most, *quantiles, 1])) * 1.06


def plot_cycle_time(
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
    **line_kws: Any,
) -> Axes:
    """Draw the share of orders that are still open over time, by Kaplan and Meier.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or rows of it, whatever their status.
    policy, policy_by, as_of
        As in `cycle_time`: of a policy, only the zone is used, in which a bare day ends.
    by
        A column, or several: a curve for each of up to six groups. Of more groups, each of the 20
        with most orders gets a small plot of its own, or, on a given `ax`, the six with most have
        a curve.
    labels
        Names to show instead of values of `by`, such as ``{"wh_1": "Newark"}``.
    title
        What to write over the plot instead of its own title.
    note
        Whether to write n, as_of, what is left out and the method under the title.
    ax
        The axes to draw on; a new figure by default. The legend is to their right, and the number
        of orders at risk (known to be open for so long) under the x axis, if there is room.
    **line_kws
        Passed to `Axes.plot`, for the curves.

    Returns
    -------
    matplotlib.axes.Axes
        The curves of `cycle_time_curve`, as shares of 1 over days or hours, each with its 95 %
        interval, and marks at a half (the median) and at a tenth (the 90th percentile). A single
        curve also has hollow marks for those of shipped orders only. The slowest hundredth of
        shipped orders may lie outside the axis; the caption counts the orders open for longer. A
        curve of fewer than 30 orders is pale. A group keeps its colour in all pictures of a frame.

    Raises
    ------
    TypeError, ValueError
        As `cycle_time_curve`, and if `ax` is not Axes.

    Warns
    -----
    FilteredOrdersWarning, UserWarning
        As `cycle_time`.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> order = {"id": "a1", "status": "open", "created_date": "2026-03-01T00:00:00Z"}
    >>> ax = plot_cycle_time(OrderFrames.from_json([order]).orders, as_of="2026-03-09")
    >>> ax.lines[0].get_ydata().tolist()
    [1.0, 1.0]
    """
    table = cycle_time(orders, by=by, policy=policy, policy_by=policy_by, as_of=as_of)
    moment = table.attrs["trackstar"]["cycle_time"]["as_of"]
    found = Groups(orders, by, table["n"], MOST_LINES, labels=labels, skip_empty=True)
    in_panels = ax is None and found.count > MOST_LINES
    if in_panels:
        found = Groups(orders, by, table["n"], MOST_PANELS, labels=labels, skip_empty=True)
    known, now = quiet(orders), pd.Timestamp(moment)
    groups = _groups(known, table, found, now)
    words = [*_basis(table, moment), *found.note]
    if in_panels:
        everyone = cycle_time(known, as_of=now)
        of_all = _groups(known, everyone, Groups(orders, None, everyone["n"], 1), now)[0]
        axes = _draw_panels(groups, found.short_names(LETTERS), of_all, line_kws)
        words.append("thin grey: all orders")
    else:
        axes = style.get_axes(ax, 4.5 + 0.15 * len(groups))
        style.percent_axis(axes.yaxis, _OPEN)
        axes.set_yticks(_TICKS)
    if not groups:
        axes.set_xticks([])
        why = "no orders that can be evaluated" if len(orders) else "no orders"
        style.write_in_middle(axes, why)
    elif not in_panels:
        right = max(group.right for group in groups)
        _draw(axes, groups, right, line_kws)
        _legend(axes, groups, found.title or "orders")
        if beyond := sum(int((group.hours > right).sum()) for group in groups):
            words.append(f"open for longer than shown: {beyond:,}")
    layout.add_title(axes, "Cycle time", found.columns, words, given=title, note=note)
    return axes


def _groups(
    orders: pd.DataFrame, table: pd.DataFrame, groups: Groups, moment: pd.Timestamp
) -> list[_Group]:
    parts = zip(groups.labels, groups.positions, groups.split(orders), groups.looks, strict=True)
    return [
        _Group(
            label,
            table.iloc[position],
            cycle_time_curve(rows, as_of=moment),
            observed_times(rows, moment) / style.HOUR,
            look,
        )
        for label, position, rows, look in parts
    ]


def _draw_panels(
    groups: list[_Group], names: list[str], of_all: _Group, line_kws: dict[str, Any]
) -> Axes:
    """Draw each curve in a small plot, before that of all orders."""
    right = of_all.right
    per, unit = style.axis_unit(right)
    panels, grey = Panels(len(groups)), of_all._replace(look=_THIN)
    for group, name in zip(groups, names, strict=True):
        axes = panels.add(name, group.figures["n"])
        _draw_curve(axes, grey, right, per, linewidth=0.8, zorder=1.5)
        _draw_curve(axes, group, right, per, **line_kws)
        style.percent_axis(axes.yaxis, "")
        axes.set_yticks((0, 0.5, 1))
        axes.set_xlim(0, right / per)
    panels.finish(f"{unit} since the order was created", _OPEN)
    return panels.axes


def _draw(axes: Axes, groups: list[_Group], right: float, line_kws: dict[str, Any]) -> None:
    """Draw the curves up to so many hours, with their marks, and the orders at risk."""
    per, unit = style.axis_unit(right)
    for group in groups:
        colour = _draw_curve(axes, group, right, per, **line_kws).get_color()
        mark: dict[str, Any] = {"marker": group.look.marker, "color": colour, "markersize": 7}
        mark |= {"markeredgecolor": axes.get_facecolor(), "linestyle": "none"}
        for name, level in _LEVELS.items():
            at = group.figures[name] / style.HOUR / per
            axes.plot(at, level, clip_on=False, zorder=3, **mark)
    for level in _LEVELS.values():
        axes.axhline(level, color=style.MUTED, linewidth=0.8, zorder=0.9)
    if len(groups) == 1 and groups[0].figures["open"]:
        for name, level in _LEVELS.items():
            at = groups[0].figures[f"shipped_{name}"] / style.HOUR / per
            axes.plot(at, level, zorder=2.9, **_hollow(axes))
    axes.set_xlim(0, right / per)
    axes.set_xlabel(f"{unit} since the order was created")
    high = axes.get_window_extent().height / axes.figure.dpi * 72
    if high > _LOW * style.font_scale():
        _write_at_risk(axes, groups, right / per, per)


def _draw_curve(axes: Axes, group: _Group, right: float, per: float, **line_kws: Any) -> Line2D:
    """Draw one curve, up to the longest time known of its orders, and its interval."""
    hours = group.steps[group.steps <= right]
    # The steps that can be seen, and the last of those that fall together.
    kept = np.flatnonzero(np.diff(np.floor(hours / right * _MOST_STEPS), append=np.inf))
    x = np.array([0, *hours[kept], min(group.hours[-1], right)]) / per
    shares = group.curve[["open_share", "low", "high"]].to_numpy()[kept]
    shares = np.vstack([np.ones(3), shares])
    share, low, high = np.vstack([shares, shares[-1]]).T
    kws: dict[str, Any] = {"color": group.look.colour, "linestyle": group.look.stroke}
    if group.figures["n"] < SMALL:
        kws["alpha"] = style.FADED
    kws |= {"linewidth": 1.8, "drawstyle": "steps-post", **line_kws}
    line = axes.plot(x, share, **kws)[0]
    faint = 0.18 * (style.FADED if group.figures["n"] < SMALL else 1)
    axes.fill_between(x, low, high, step="post", color=line.get_color(), alpha=faint, linewidth=0)
    return line


def _hollow(axes: Axes) -> dict[str, Any]:
    kws = {"marker": "o", "color": style.GROUPS[0].colour, "markersize": 6, "linestyle": "none"}
    return {**kws, "markerfacecolor": axes.get_facecolor()}


def _write_at_risk(axes: Axes, groups: list[_Group], right: float, per: float) -> None:
    """Write under the axis how many orders of each curve are at risk at each tick."""
    scale = style.font_scale()
    ticks = np.array(MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(0, right))
    ticks = ticks[(ticks >= 0) & (ticks <= right)]
    axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
    kws: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    kws |= {"va": "center", "fontsize": "x-small"}
    title = "orders at risk (n)"
    axes.annotate(title, (0, 0), (0, _FIRST_ROW * scale), ha="left", color=style.MUTED, **kws)
    figure: Any = axes.figure
    for row, group in enumerate(groups, start=1):
        y = (_FIRST_ROW - _ROW * row) * scale
        if len(groups) > 1:
            left = offset_copy(axes.transAxes, figure, x=_KEY * scale, y=y, units="points")
            key: dict[str, Any] = {"marker": group.look.marker, "color": group.look.colour}
            mark = Line2D([0], [0], markersize=5, clip_on=False, transform=left, **key)
            axes.add_artist(mark)
        counts = len(group.hours) - np.searchsorted(group.hours / per, ticks, side="left")
        for tick, n in zip(ticks, counts, strict=True):
            axes.annotate(f"{n:,}", (tick, 0), (0, y), ha="center", **kws)


def _legend(axes: Axes, groups: list[_Group], title: str) -> None:
    looks: list[Any] = [
        {"color": look.colour, "linestyle": look.stroke, "marker": look.marker}
        for look in (group.look for group in groups)
    ]
    is_narrow = style.points_wide(axes) < _NARROW * style.font_scale()
    labels = [f"{group.label}\n{_quantiles(group.figures, *_LEVELS)}" for group in groups]
    labels = [group.label for group in groups] if is_narrow else labels
    figures = groups[0].figures
    if len(groups) == 1 and figures["open"] and figures["shipped"]:
        looks.append(_hollow(axes))
        labels.append(
            f"shipped only (n = {figures['shipped']:,})\n"
            f"{_quantiles(figures, 'shipped_median', 'shipped_p90')}\n"
            "too low while others are open"
        )
    layout.add_legend(axes, [Line2D([], [], **look) for look in looks], labels, title)


def _quantiles(figures: Any, median: str, p90: str) -> str:
    times = (figures[median], figures[p90])
    words = ("not reached" if pd.isna(time) else style.duration_words(time) for time in times)
    return "median {}, p90 {}".format(*words)


def _basis(table: pd.DataFrame, as_of: str) -> list[str]:
    """Return what the curves are based on: n, what is left out, as-of, and the method."""
    sums = table[["n", "shipped", "open", "cancelled", "not_evaluable"]].sum()
    return [
        f"n = {sums['n']:,} orders, {sums['open']:,} of them open, {sums['cancelled']:,} cancelled",
        f"left out: {sums['not_evaluable']:,} not evaluable",
        "from receipt to complete shipment",
        f"as of {style.moment_words(as_of)}",
        "Kaplan-Meier, if none were cancelled, with 95 % intervals",
    ]
