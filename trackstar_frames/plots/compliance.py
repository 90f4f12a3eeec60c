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

from trackstar_frames.measures._checks import fetched_at, measure_info, require
from trackstar_frames.measures._time import Array, TzLike
from trackstar_frames.measures.compliance_rate import outcome_rates, warn_if_policy_lost
from trackstar_frames.measures.policy import DueDay, Length, ShipEvent, SlaPolicy
from trackstar_frames.measures.ship_date_compliance import judged_orders, resolve_policy
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._grouping import MOST_LINES, MOST_ROWS, Groups

__all__ = [
    "as_of_day",
    "compliance_note",
    "judge",
    "plot_ship_date_compliance",
    "policy_of",
    "policy_words",
    "why_empty",
    "zone_name",
]

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
        A column, or several: a line for each group, the six with most orders due at most.
    freq
        As in `compliance_rate`: the periods in which orders were due, on the warehouses' own
        calendars. None draws a point for each group, the 20 with most orders due at most.
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
        As `ship_date_compliance` and `compliance_rate`, if `ax` is not Axes, and for a
        frame that has been judged by another policy.

    Warns
    -----
    UserWarning
        As `ship_date_compliance` and `compliance_rate`.

    Examples
    --------
    >>> import pandas as pd
    >>> due = pd.Timestamp("2026-03-02T12:00Z")
    >>> orders = pd.DataFrame({"status": ["open"], "created_date": [due],
    ...     "required_ship_date": [due], "first_shipped_date": [due]})
    >>> ax = plot_ship_date_compliance(orders, as_of="2026-03-09", ship_event="first")
    >>> ax.get_ylabel()
    'on-time shipment rate (%)'
    """
    parts = {"due_day": due_day, "tz": tz, "ship_event": ship_event, "grace": grace}
    given = any(value is not None for value in (policy, *parts.values()))
    compliance = judge(orders, resolve_policy(policy, **parts) if given else None, as_of)
    totals = outcome_rates(compliance, by, None)
    groups = Groups(compliance, by, totals["n"], MOST_ROWS if freq is None else MOST_LINES)
    if freq is None:
        axes, note = _draw_points(ax, totals, groups, line_kws)
    else:
        axes, note = _draw_lines(ax, compliance, groups, freq, line_kws)
    basis = [*compliance_note(compliance, totals), "95 % Wilson intervals", *groups.note, *note]
    title = "Ship-date compliance"
    style.add_title(axes, title, groups.columns, [*basis, policy_words(compliance)])
    if not totals["n"].sum():
        style.write_in_middle(axes, why_empty(totals))
    return axes


def _draw_points(
    ax: Axes | None, totals: pd.DataFrame, groups: Groups, line_kws: dict[str, Any]
) -> tuple[Axes, list[str]]:
    """Draw a rate for each group."""
    table = totals.iloc[groups.positions]
    axes = style.get_axes(ax, 2.1 + 0.3 * max(len(table), 2))
    kws = {"color": style.GROUPS[0].colour, "marker": "o", "linestyle": "none", "elinewidth": 1.5}
    rows = np.arange(len(table))
    axes.errorbar(table["rate"], rows, xerr=_interval(table), **{**kws, **line_kws})
    groups.row_axis(axes)
    style.percent_axis(axes.xaxis, _RATE)
    return axes, []


def _draw_lines(
    ax: Axes | None,
    compliance: pd.DataFrame,
    groups: Groups,
    freq: str,
    line_kws: dict[str, Any],
) -> tuple[Axes, list[str]]:
    """Draw a line of rates over periods for each group, and bars of n behind them."""
    every = _dated(outcome_rates(compliance, None, freq))
    due = np.flatnonzero(every["n"])
    drawn = slice(due[0], due[-1] + 1) if due.size else slice(0, 0)
    shown = every.iloc[drawn]
    starts, ends = style.period_bounds(shown.index, freq)
    ended = ends <= as_of_day(compliance)

    axes = style.get_axes(ax, 4.5)
    _count_bars(axes, starts, ends, shown["n"].to_numpy())
    table = _dated(outcome_rates(compliance, groups.columns, freq)) if groups.columns else every
    lines = []
    for index, (position, look) in enumerate(zip(groups.positions, groups.looks, strict=True)):
        # Every group has the same periods.
        rows = table.iloc[position * len(every) : (position + 1) * len(every)].iloc[drawn]
        shift = 0.5 + (index - (len(groups.looks) - 1) / 2) * 0.09
        at = starts + shift * (ends - starts)
        kws = {**_line_style(look, single=len(groups.looks) == 1), **line_kws}
        lines.append(_line(axes, at, rows, ended, kws))
    if groups.columns:
        style.add_legend(axes, lines, groups.labels, groups.title, beside=1.12)
    style.date_axis(
        axes, starts, ends, f"due, by {style.freq_words(freq)} ({zone_name(compliance)})"
    )
    style.percent_axis(axes.yaxis, _RATE)
    note = []
    if not (ended & (shown["pending"] == 0)).all():
        note.append("hollow: orders of the period can still change it")
    later = every["pending"].sum() - shown["pending"].sum()
    if later and due.size:
        note.append(f"{later:,} of the pending are due after the last period drawn")
    return axes, note


def _dated(rates: pd.DataFrame) -> pd.DataFrame:
    return rates[np.asarray(rates.index.get_level_values("period").notna())]


def _line_style(look: style.Look, *, single: bool) -> dict[str, Any]:
    faint = to_rgba(look.colour, 1 if single else 0.35)
    return {"color": look.colour, "marker": look.marker, "ecolor": faint, "elinewidth": 1.2}


def _line(axes: Axes, at: Array, rows: pd.DataFrame, ended: Array, kws: dict[str, Any]) -> Any:
    known = rows["rate"].notna().to_numpy()
    # One empty period breaks the line as well as a thousand of them.
    kept = known | np.append(np.zeros(1, dtype=bool), known)[: len(known)]
    at, rows, known, ended = at[kept], rows[kept], known[kept], ended[kept]
    size = {"markersize": 5 if len(at) <= _MOST_MARKERS else 2.5}
    line = axes.errorbar(at, rows["rate"], yerr=_interval(rows), **{**size, **kws}).lines[0]
    hollow = known & (~ended | (rows["pending"].to_numpy() > 0))
    axes.plot(
        at[hollow],
        rows["rate"].to_numpy()[hollow],
        linestyle="none",
        marker=line.get_marker(),
        markersize=line.get_markersize(),
        markeredgecolor=line.get_color(),
        markerfacecolor=axes.get_facecolor(),
        zorder=line.get_zorder() + 1,
    )
    return line


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


def _interval(rates: pd.DataFrame) -> Array:
    return np.array([rates["rate"] - rates["rate_low"], rates["rate_high"] - rates["rate"]])


def judge(
    orders: pd.DataFrame, policy: SlaPolicy | None, as_of: str | dt.date | np.datetime64 | None
) -> pd.DataFrame:
    """Judge orders, unless they have been judged so; warnings point at the picture's caller."""
    require(orders, [], source="fetch_orders_df")
    compliance = judged_orders(orders, policy, as_of, stacklevel=4)
    warn_if_policy_lost(compliance, stacklevel=4)
    return compliance


def policy_of(compliance: pd.DataFrame) -> dict[str, Any]:
    """Return the policy that a frame was judged by; empty if it is not known."""
    return measure_info(compliance, "compliance") or {}


def as_of_day(compliance: pd.DataFrame) -> float:
    """Return as_of in matplotlib's days: in the policy's zone, in UTC if there are several."""
    policy = policy_of(compliance)
    if policy.get("as_of") is None:
        return np.inf
    zone = policy["tz"] if isinstance(policy["tz"], str) else "UTC"
    moment = pd.Timestamp(policy["as_of"]).tz_convert(zone).tz_localize(None)
    return float(dates.date2num(moment.to_datetime64()))  # type: ignore[no-untyped-call]


def zone_name(compliance: pd.DataFrame) -> str:
    """Return the name of the zone that due times are drawn in."""
    tz = policy_of(compliance).get("tz", "UTC")
    return style.printable(tz) if isinstance(tz, str) else "warehouses' own time"


def compliance_note(compliance: pd.DataFrame, totals: pd.DataFrame) -> list[str]:
    """Say what rates are based on: n, what is left out, and as-of."""
    sums = totals.sum()
    return [
        f"n = {sums['n']:,.0f} orders due",
        f"{sums['pending']:,.0f} pending",
        f"{sums['not_evaluable']:,.0f} not evaluable",
        f"as of {style.moment_words(policy_of(compliance).get('as_of') or fetched_at(compliance))}",
    ]


def policy_words(compliance: pd.DataFrame) -> str:
    """Say by which policy orders were judged."""
    text = policy_of(compliance).get("text") or "The policy is not known."
    return style.printable(text, len(text))


def why_empty(totals: pd.DataFrame) -> str:
    """Say why there is no rate to draw."""
    if totals["pending"].sum():
        return "no orders due yet"
    return "no orders that can be judged" if totals["not_evaluable"].sum() else "no orders"
