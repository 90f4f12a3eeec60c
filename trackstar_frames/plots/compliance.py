"""The on-time shipment rate over time or by group, and what pictures of judged orders share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from trackstar_frames.measures._checks import fetched_at, require
from trackstar_frames.measures._policies import judgement_of, resolve_policies
from trackstar_frames.measures._time import Array, TzLike
from trackstar_frames.measures.compliance_rate import outcome_rates, warn_if_policy_lost
from trackstar_frames.measures.policy import DueDay, Length, ShipEvent, SlaPolicy
from trackstar_frames.measures.ship_date_compliance import judged_orders
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._grouping import MOST_LINES, MOST_ROWS, Groups

_RATE = "on-time shipment rate (%)"
_MOST_COUNTS = 16
_MOST_MARKERS = 60


def plot_ship_date_compliance(
    orders: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    freq: str | None = "W",
    ax: Axes | None = None,
    policy: SlaPolicy | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    due_day: DueDay | None = None,
    tz: TzLike | None = None,
    ship_event: ShipEvent | None = None,
    grace: Length | None = None,
    **line_kws: Any,
) -> Axes:
    """Draw the on-time shipment rate with its 95 % Wilson interval and its n.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or that of `ship_date_compliance`, whose policy is used.
    by
        A column, or several: a line for each of up to six groups, those with most orders due.
    freq
        As in `compliance_rate`: the periods in which orders were due, on the warehouses' own
        calendars. None draws a point for each group, up to 20.
    ax
        The axes to draw on; a new figure by default. A second y axis counts the orders due.
    policy, as_of, due_day, tz, ship_event, grace
        As in `ship_date_compliance`. The policy is written under the title.
    **line_kws
        Passed to `Axes.errorbar`.

    Returns
    -------
    matplotlib.axes.Axes
        The rates, as shares of 1, over grey bars that count the orders due. A hollow point may
        still change: its period has not ended at as_of, or some of its orders are pending.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance` and `compliance_rate`, if `ax` is not Axes, and for a frame that
        has been judged by another policy.

    Warns
    -----
    UserWarning
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
    given = any(value is not None for value in (policy, *parts.values()))
    chosen = resolve_policies(policy, None, **parts).of[None] if given else None
    judged = JudgedOrders(orders, by, chosen, as_of)
    groups = Groups(judged.frame, by, judged.totals["n"], MOST_ROWS if freq is None else MOST_LINES)
    note = ["95 % Wilson intervals", *groups.note]
    if freq is None:
        axes = _draw_points(ax, judged.totals, groups, **line_kws)
    else:
        axes, more = _draw_lines(ax, judged, groups, freq, line_kws)
        note += more
    judged.add_title(axes, "Ship-date compliance", groups, note)
    return axes


def _draw_points(ax: Axes | None, totals: pd.DataFrame, groups: Groups, **line_kws: Any) -> Axes:
    """Draw a rate for each group."""
    table = totals.iloc[groups.positions]
    axes = style.get_axes(ax, 2.1 + 0.3 * max(len(table), 2))
    kws = {"color": style.GROUPS[0].colour, "marker": "o", "linestyle": "none", "elinewidth": 1.5}
    axes.errorbar(table["rate"], range(len(table)), xerr=_interval(table), **{**kws, **line_kws})
    groups.row_axis(axes)
    style.percent_axis(axes.xaxis, _RATE)
    return axes


def _draw_lines(
    ax: Axes | None, judged: JudgedOrders, groups: Groups, freq: str, line_kws: dict[str, Any]
) -> tuple[Axes, list[str]]:
    """Draw a line of rates over periods for each group, and bars of n behind them."""
    every = rates_of_periods(judged.frame, [], freq)
    due = np.flatnonzero(every["n"])
    drawn = slice(due[0], due[-1] + 1) if due.size else slice(0, 0)
    shown = every.iloc[drawn]
    starts, ends = style.period_bounds(shown.index, freq)
    ended = ends <= judged.as_of_day

    axes = style.get_axes(ax, 4.5)
    _count_bars(axes, starts, ends, shown["n"].to_numpy())
    table = rates_of_periods(judged.frame, groups.columns, freq) if groups.columns else every
    lines, single = [], len(groups.looks) == 1
    for index, (position, look) in enumerate(zip(groups.positions, groups.looks, strict=True)):
        # Every group has the same periods.
        rows = table.iloc[position * len(every) : (position + 1) * len(every)].iloc[drawn]
        shift = 0.5 + (index - (len(groups.looks) - 1) / 2) * 0.09
        faint = to_rgba(look.colour, 1 if single else 0.35)
        kws = {"color": look.colour, "marker": look.marker, "ecolor": faint, "elinewidth": 1.2}
        at = starts + shift * (ends - starts)
        lines.append(_draw_line(axes, at, rows, ended, {**kws, **line_kws}))
    if groups.columns:
        style.add_legend(axes, lines, groups.labels, groups.title, left=1.12)
    style.date_axis(axes, starts, ends, f"due, by {style.freq_words(freq)} ({judged.zone_name})")
    style.percent_axis(axes.yaxis, _RATE)
    note = []
    if not (ended & (shown["pending"] == 0)).all():
        note.append("hollow: orders of the period can still change it")
    later = every["pending"].sum() - shown["pending"].sum()
    if later and due.size:
        note.append(f"{later:,} of the pending are due after the last period drawn")
    return axes, note


def rates_of_periods(judged: pd.DataFrame, columns: Sequence[str], freq: str) -> pd.DataFrame:
    """Return the rates by group and period, without those of orders that have no due date."""
    rates = outcome_rates(judged, columns, freq)
    return rates[np.asarray(rates.index.get_level_values("period").notna())]


def _draw_line(axes: Axes, at: Array, rows: pd.DataFrame, ended: Array, kws: dict[str, Any]) -> Any:
    known = rows["rate"].notna().to_numpy()
    # One empty period breaks the line as well as a thousand of them.
    kept = known | np.append(np.zeros(1, dtype=bool), known)[: len(known)]
    at, rows, known, ended = at[kept], rows[kept], known[kept], ended[kept]
    size = {"markersize": 5 if len(at) <= _MOST_MARKERS else 2.5}
    line = axes.errorbar(at, rows["rate"], yerr=_interval(rows), **{**size, **kws}).lines[0]
    hollow = known & (~ended | (rows["pending"].to_numpy() > 0))
    mark: dict[str, Any] = {"marker": line.get_marker(), "markersize": line.get_markersize()}
    mark |= {"markeredgecolor": line.get_color(), "markerfacecolor": axes.get_facecolor()}
    mark |= {"linestyle": "none", "zorder": line.get_zorder() + 1}
    axes.plot(at[hollow], rows["rate"].to_numpy()[hollow], **mark)
    return line


def _interval(rates: pd.DataFrame) -> Array:
    return np.array([rates["rate"] - rates["rate_low"], rates["rate_high"] - rates["rate"]])


def _count_bars(axes: Axes, starts: Array, ends: Array, n: Array) -> None:
    """Draw how many orders each rate is of, along the lower edge."""
    behind = axes.twinx()
    some = n > 0
    width = (ends - starts)[some] * 0.9
    bars = behind.bar(starts[some], n[some], width, align="edge", **style.GREY_BARS)
    if some.sum() <= _MOST_COUNTS:
        counts = [f"{count:,}" for count in n[some]]
        behind.bar_label(bars, counts, fontsize="x-small", color=style.MUTED)
    top = max(n, default=0)
    behind.set_ylim(0, (top or 1) * 6)
    behind.set_yticks([0, top] if top else [], ["0", f"{top:,}"] if top else [])
    behind.tick_params(colors=style.MUTED, labelsize="small")
    behind.set_ylabel("orders due (n)", color=style.MUTED, loc="bottom", fontsize="small")
    # The lines belong in front of the bars, though their axes came first.
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)


class JudgedOrders:
    """Judged orders, their rates by group, and what all pictures of them write."""

    def __init__(
        self,
        orders: pd.DataFrame,
        by: str | Sequence[str] | None,
        policy: SlaPolicy | None,
        as_of: str | dt.date | np.datetime64 | None,
    ) -> None:
        require(orders, [], source="fetch_orders_df")
        # Warnings point at the caller of the picture.
        self.frame = judged_orders(orders, policy, as_of, stacklevel=4)
        warn_if_policy_lost(self.frame, stacklevel=4)
        judgement = judgement_of(self.frame)
        self.policy = judgement.info if judgement else {}  # empty if it is not known
        self.zone = judgement.policies.zone if judgement else "UTC"
        self.totals = outcome_rates(self.frame, by, None)

    @property
    def as_of_day(self) -> float:
        """as_of in matplotlib's days: in the policy's zone, in UTC if there are several."""
        if self.policy.get("as_of") is None:
            return np.inf
        moment = pd.Timestamp(self.policy["as_of"]).tz_convert(self.zone).tz_localize(None)
        return float(dates.date2num(moment.to_datetime64()))  # type: ignore[no-untyped-call]

    @property
    def zone_name(self) -> str:
        """The zone that due times are drawn in."""
        tz = self.policy.get("tz", self.zone if "policies" in self.policy else "UTC")
        return style.printable(tz) if isinstance(tz, str) else "warehouses' own time"

    @property
    def basis(self) -> list[str]:
        """What the rates are based on: n, what is left out, and as-of."""
        sums = self.totals.sum()
        as_of = self.policy.get("as_of") or fetched_at(self.frame)
        return [
            f"n = {sums['n']:,.0f} orders due",
            f"{sums['pending']:,.0f} pending",
            f"{sums['not_evaluable']:,.0f} not evaluable",
            f"as of {style.moment_words(as_of)}",
        ]

    @property
    def policy_words(self) -> str:
        """The policy in a sentence."""
        text = self.policy.get("text") or "The policy is not known."
        return style.printable(text, len(text))

    def add_title(self, axes: Axes, title: str, groups: Groups, note: Sequence[str]) -> None:
        """Set title and caption, and write into a picture without a rate why it has none."""
        note = [*self.basis, *note, self.policy_words]
        style.add_title(axes, title, groups.columns, note)
        sums = self.totals.sum()
        if not sums["n"]:
            why = "no orders that can be judged" if sums["not_evaluable"] else "no orders"
            style.write_in_middle(axes, "no orders due yet" if sums["pending"] else why)
