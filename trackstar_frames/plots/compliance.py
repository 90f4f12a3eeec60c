"""The on-time shipment rate over time or by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from trackstar_frames.measures._policies import PolicyLike, resolve_policies
from trackstar_frames.measures._time import Array, TzLike
from trackstar_frames.measures.compliance_rate import outcome_rates
from trackstar_frames.measures.policy import DueDay, Length, ShipEvent
from trackstar_frames.plots import _layout as layout
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._groups import MOST_LINES, MOST_PANELS, MOST_ROWS, Groups
from trackstar_frames.plots._judged import AsOf, JudgedOrders, draw_targets
from trackstar_frames.plots._panels import LETTERS, Panels

_RATE = "on-time shipment rate (%)"
_MOST_COUNTS = 16
_MOST_MARKERS = 60


def plot_ship_date_compliance(
    orders: pd.DataFrame,
    *,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: AsOf = None,
    by: str | Sequence[str] | None = None,
    freq: str | None = "W",
    labels: Mapping[Any, str] | None = None,
    title: str | None = None,
    note: bool = True,
    ax: Axes | None = None,
    due_day: DueDay | None = None,
    tz: TzLike | None = None,
    ship_event: ShipEvent | None = None,
    grace: Length | None = None,
    **line_kws: Any,
) -> Axes:
    """Draw the on-time shipment rate with its 95 % interval, its n and the target.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or that of `ship_date_compliance`, whose policy is used.
    policy, policy_by, as_of
        As in `ship_date_compliance`. The policies are written under the title, and the target of
        each is a line.
    by
        A column, or several: a line for each of up to six groups. Of more groups, each of the 20
        with most orders due gets a small plot of its own, or, on a given `ax`, the six with most
        have a line.
    freq
        As in `compliance_rate`: the periods in which orders were due, on the warehouses' own
        calendars, up to as_of. None draws a point for each group, up to 20.
    labels
        Names to show instead of values of `by`, such as ``{"wh_1": "Newark"}``.
    title
        What to write over the plot instead of its own title.
    note
        Whether to write n, as_of, the policy and how to read the plot under the title.
    ax
        The axes to draw on; a new figure by default. A second y axis counts the orders due.
    due_day, tz, ship_event, grace
        Fields of a policy, as `SlaPolicy` describes them, where no `policy` is given.
    **line_kws
        Passed to `Axes.plot`, for lines and markers.

    Returns
    -------
    matplotlib.axes.Axes
        The rates, as shares of 1, over grey bars that count the orders due. A hollow point is of a
        period that is not ``final`` or not ``covered``, as `compliance_rate` says: no line joins
        it to the others. What is of fewer than 30 orders, or of less than 4 due days, is pale. A
        group keeps its colour in all pictures of a frame.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance` and `compliance_rate`, if `ax` is not Axes, and for a frame that
        has been judged by another policy.

    Warns
    -----
    FilteredOrdersWarning, UserWarning
        As `ship_date_compliance` and `compliance_rate`.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> order = {"id": "a1", "status": "open", "required_ship_date": "2026-03-02T12:00:00Z"}
    >>> orders = OrderFrames.from_json([order]).orders
    >>> ax = plot_ship_date_compliance(orders, as_of="2026-03-09", ship_event="first")
    >>> ax.get_ylabel()
    'on-time shipment rate (%)'
    """
    parts: dict[str, Any] = {"due_day": due_day, "tz": tz, "ship_event": ship_event, "grace": grace}
    chosen = policy
    if any(value is not None for value in parts.values()):
        chosen = resolve_policies(policy, policy_by, **parts).of[None]
    judged = JudgedOrders(orders, by, chosen, policy_by, as_of, plot="plot_ship_date_compliance")
    most = MOST_ROWS if freq is None else MOST_LINES
    groups = Groups(judged.frame, by, judged.totals["n"], most, labels=labels)
    in_panels = freq is not None and ax is None and groups.count > MOST_LINES
    if in_panels:
        groups = Groups(judged.frame, by, judged.totals["n"], MOST_PANELS, labels=labels)
    picture = _Picture(judged, groups, labels, line_kws)
    behind = None
    if freq is None:
        axes, more = picture.draw_points(ax), [picture.pale(judged.totals.iloc[groups.positions])]
    elif in_panels:
        axes, more = picture.draw_panels(freq)
    else:
        axes, behind, more = picture.draw_lines(ax, freq)
    words = [*groups.note, "95 % intervals, over due days", *filter(None, more)]
    judged.add_title(
        axes, "Ship-date compliance", groups, words, title=title, note=note, behind=behind
    )
    return axes


class _Periods(NamedTuple):
    """The periods that are drawn: their places in those of the table, and on the x axis."""

    drawn: slice
    starts: Array
    ends: Array  # the last one ends at as_of

    @classmethod
    def of(cls, every: pd.DataFrame, freq: str, until: float) -> _Periods:
        """Return those from the first to the last in which orders were due."""
        starts, ends = style.period_bounds(every.index, freq)
        due = np.flatnonzero((every["n"].to_numpy() > 0) & (starts < until))
        drawn = slice(due[0], due[-1] + 1) if due.size else slice(0, 0)
        return cls(drawn, starts[drawn], np.minimum(ends[drawn], until))

    def at(self, share: float) -> Array:
        """Return the place in each period that is so far from its start, as a share of it."""
        places: Array = self.starts + share * (self.ends - self.starts)
        return places


class _Picture(NamedTuple):
    """The rates of judged orders, drawn in one of three ways."""

    judged: JudgedOrders
    groups: Groups
    names: Mapping[Any, str] | None
    line_kws: dict[str, Any]

    def draw_points(self, ax: Axes | None) -> Axes:
        """Draw a rate for each group."""
        table = self.judged.totals.iloc[self.groups.positions]
        axes = style.get_axes(ax, 2.1 + 0.3 * max(len(table), 2))
        places = np.arange(len(table))
        for row, look in enumerate(self.groups.looks):
            kws = {"color": look.colour, "marker": look.marker, **self.line_kws}
            _draw_rates(axes, places[[row]], table.iloc[[row]], np.array([True]), kws, across=True)
        lines = draw_targets(axes, self.judged.targets(self.names), upright=True)
        words = [str(line.get_label()) for line in lines]
        layout.add_legend(axes, lines, words, "", stays=True)
        self.groups.row_axis(axes)
        style.percent_axis(axes.xaxis, _RATE)
        return axes

    def draw_lines(self, ax: Axes | None, freq: str) -> tuple[Axes, Axes, list[str]]:
        """Draw a line of rates over periods for each group, and bars of n behind them."""
        groups, judged = self.groups, self.judged
        every = rates_of_periods(judged.frame, [], freq)
        periods = _Periods.of(every, freq, judged.as_of_day)
        shown = every.iloc[periods.drawn]
        axes = style.get_axes(ax, 4.5)
        behind = _count_bars(axes, periods, shown["n"].to_numpy())
        table = rates_of_periods(judged.frame, groups.columns, freq) if groups.columns else every
        lines: list[Any] = []
        for index, (position, look) in enumerate(zip(groups.positions, groups.looks, strict=True)):
            # Every group has the same periods.
            rows = table.iloc[position * len(every) : (position + 1) * len(every)]
            shift = 0.5 + (index - (len(groups.looks) - 1) / 2) * 0.09
            kws = _line_kws(look) | self.line_kws
            lines.append(_draw_line(axes, periods.at(shift), rows.iloc[periods.drawn], kws))
        targets = draw_targets(axes, judged.targets(self.names))
        words = [str(line.get_label()) for line in targets]
        if groups.columns or len(targets) > 1:
            entries = groups.labels if groups.columns else []
            drawn = lines[: len(entries)]
            layout.add_legend(
                axes, [*drawn, *targets], [*entries, *words], groups.title, second_scale=True
            )
        elif targets:
            _label_target(axes, targets[0], words[0])
        label = f"due, by {style.freq_words(freq)} ({judged.zone_name})"
        style.date_axis(axes, periods.starts, periods.ends, label)
        style.percent_axis(axes.yaxis, _RATE)
        rows = _rows_of(table, groups, every, periods)
        return axes, behind, [*_readings(rows), self.pale(rows)]

    def draw_panels(self, freq: str) -> tuple[Axes, list[str]]:
        """Draw the line of each group in a small plot, before that of all orders."""
        groups, judged = self.groups, self.judged
        every = rates_of_periods(judged.frame, [], freq)
        periods = _Periods.of(every, freq, judged.as_of_day)
        table = rates_of_periods(judged.frame, groups.columns, freq)
        panels, names = Panels(len(groups.names)), groups.short_names(LETTERS)
        targets = judged.targets(self.names)
        at = periods.at(0.5)
        for index, (position, look) in enumerate(zip(groups.positions, groups.looks, strict=True)):
            axes = panels.add(names[index], groups.sizes[index])
            _draw_all(axes, at, every.iloc[periods.drawn])
            rows = table.iloc[position * len(every) : (position + 1) * len(every)]
            kws = _line_kws(look) | {"markersize": 3.5} | self.line_kws
            _draw_line(axes, at, rows.iloc[periods.drawn], kws)
            lines = draw_targets(axes, targets)
            style.date_axis(axes, periods.starts, periods.ends, "", most=4)
            style.percent_axis(axes.yaxis, "")
        if len(targets) > 1:
            layout.add_legend(panels.axes, lines, [target.words for target in targets], "")
        more = [f"dashed: {targets[0].words}"] if len(targets) == 1 else []
        words = f"due, by {style.freq_words(freq)} ({judged.zone_name})"
        panels.finish(words, _RATE)
        rows = _rows_of(table, groups, every, periods)
        return panels.axes, ["thin grey: all orders", *more, *_readings(rows), self.pale(rows)]

    def pale(self, rates: pd.DataFrame) -> str:
        """Return what it means that something is pale, if it is."""
        is_small = rates["small"] & (rates["n"] > 0)
        return "pale: n below 30, or fewer than 4 due days" if is_small.any() else ""


def _draw_all(axes: Axes, at: Array, rates: pd.DataFrame) -> None:
    """Draw a thin line of all orders, behind those of a group."""
    rate = np.where(_is_solid(rates), rates["rate"], np.nan)
    axes.plot(at, rate, color=style.MUTED, linewidth=0.8, zorder=1.5)


def _line_kws(look: style.Look) -> dict[str, Any]:
    is_light = look is style.NO_GROUP
    kws: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linestyle": look.stroke}
    return kws | {"linewidth": 0.9 if is_light else 1.6, "zorder": 1.95 if is_light else 2}


def _rows_of(
    table: pd.DataFrame, groups: Groups, every: pd.DataFrame, periods: _Periods
) -> pd.DataFrame:
    """Return the rows of a table of rates that are drawn."""
    places = np.arange(len(every))[periods.drawn]
    return table.iloc[(groups.positions[:, None] * len(every) + places).ravel()]


def rates_of_periods(judged: pd.DataFrame, columns: Sequence[str], freq: str) -> pd.DataFrame:
    """Return the rates by group and period."""
    return outcome_rates(judged, columns, freq)


def _is_solid(rates: pd.DataFrame) -> Array:
    """Return which rates are known, and will stay."""
    solid: Array = (rates["final"] & rates["covered"] & rates["rate"].notna()).to_numpy()
    return solid


def _label_target(axes: Axes, line: Line2D, words: str) -> None:
    """Name the one target beside its line."""
    level = float(np.asarray(line.get_ydata())[0])
    kws: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    kws |= {"va": "center", "fontsize": "small"}
    axes.annotate(words.replace(" ", "\n", 1), (1, level), (4, 0), **kws)


def _readings(rates: pd.DataFrame) -> list[str]:
    """Return what hollow points mean, if there are any."""
    some = rates[rates["n"] > 0]
    reasons = []
    if not some["final"].all():
        reasons.append("it is not over, or has orders that are pending or early")
    if not some["covered"].all():
        reasons.append("the fetch does not have all of its orders")
    return (
        [f"hollow, not joined: a period whose rate may change: {'; or '.join(reasons)}"]
        if (reasons)
        else []
    )


def _draw_line(axes: Axes, at: Array, rows: pd.DataFrame, kws: dict[str, Any]) -> Line2D:
    """Draw the rates of a group, joined where they will stay; return a line for the legend."""
    solid = _is_solid(rows)
    known = rows["rate"].notna().to_numpy()
    # One period without a rate breaks the line as well as a thousand of them.
    kept = known | np.append(np.zeros(1, dtype=bool), known)[: len(known)]
    at, rows, solid = at[kept], rows[kept], solid[kept]
    kws = {"markersize": 5 if len(at) <= _MOST_MARKERS else 2.5, **kws}
    rate, is_small = rows["rate"].to_numpy(), rows["small"].to_numpy(dtype=bool)
    bare = {name: value for name, value in kws.items() if not name.startswith("marker")}
    # The whole line is pale, but for what joins rates of enough orders.
    axes.plot(at, np.where(solid, rate, np.nan), **{**bare, "alpha": style.FADED * 0.8})
    axes.plot(at, np.where(solid & ~is_small, rate, np.nan), **bare)
    _draw_rates(axes, at, rows, solid, kws)
    return Line2D([], [], **kws)


def _draw_rates(
    axes: Axes,
    at: Array,
    rows: pd.DataFrame,
    solid: Array,
    kws: dict[str, Any],
    *,
    across: bool = False,
) -> None:
    """Draw points with their intervals: hollow if they may change, and pale if n is small."""
    known, is_small = rows["rate"].notna().to_numpy(), rows["small"].to_numpy(dtype=bool)
    kws = {"markersize": 6, **kws, "linestyle": "none"}
    colour, zorder = kws["color"], kws.get("zorder", 2)
    for pale in (True, False):
        chosen = known & (is_small == pale)
        if not chosen.any():
            continue
        some, places = rows[chosen], at[chosen]
        x, y, bars = places, some["rate"].to_numpy(), "yerr"
        if across:
            x, y, bars = y, places, "xerr"
        faint = 0.22 if pale else (1.0 if across else 0.5)
        look: dict[str, Any] = {"ecolor": colour, "elinewidth": 1.1, "alpha": faint}
        look[bars] = _interval(some)
        axes.errorbar(x, y, fmt="none", zorder=zorder, **look)
        alpha = kws.get("alpha", 1) * (style.FADED if pale else 1)
        for hollow in (False, True):
            here = solid[chosen] != hollow
            face = axes.get_facecolor() if hollow else colour
            mark = {**kws, "markerfacecolor": face, "markeredgecolor": colour, "alpha": alpha}
            if here.any():
                axes.plot(x[here], y[here], **{**mark, "zorder": zorder + 0.1})


def _interval(rates: pd.DataFrame) -> Array:
    return np.array([rates["rate"] - rates["rate_low"], rates["rate_high"] - rates["rate"]])


def _count_bars(axes: Axes, periods: _Periods, n: Array) -> Axes:
    """Draw how many orders each rate is of, along the lower edge; return the axes of the bars."""
    behind = axes.twinx()
    behind.grid(visible=False)
    some = n > 0
    width = (periods.ends - periods.starts)[some] * 0.9
    bars = behind.bar(periods.starts[some], n[some], width, align="edge", **style.GREY_BARS)
    points = axes.get_window_extent().width / axes.figure.dpi * 72
    if some.sum() * 15 * style.font_scale() <= min(points, _MOST_COUNTS * 15 * style.font_scale()):
        counts = [f"{count:,}" for count in n[some]]
        behind.bar_label(bars, counts, fontsize="x-small", color=style.MUTED)
    top = max(n, default=0)
    behind.set_ylim(0, (top or 1) * 6)
    behind.set_yticks([0, top] if top else [], ["0", f"{top:,}"] if top else [])
    behind.tick_params(colors=style.MUTED, labelsize="small")
    behind.set_ylabel("due (n)", color=style.MUTED, loc="bottom", fontsize="small")
    # The lines belong in front of the bars, though their axes came first.
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)
    return behind
