"""The on-time shipment rate over time or by group."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from trackstar_frames.measures._checks import by_columns
from trackstar_frames.measures._time import Array, TzLike
from trackstar_frames.measures.compliance_rate import outcome_rates
from trackstar_frames.measures.policy import DueDay, Length, ShipEvent, SlaPolicy
from trackstar_frames.measures.ship_date_compliance import resolve_policy
from trackstar_frames.plots._style import (
    MOST_ROWS,
    as_of_day,
    basis,
    date_axis,
    get_axes,
    group_axis,
    headline,
    judged,
    largest,
    legend,
    named,
    percent_axis,
    policy_words,
    say,
    spans,
    spelt,
    why_empty,
    zone_of,
)

__all__ = ["plot_ship_date_compliance"]

_LINES = (
    ("#0072b2", "o"),
    ("#d55e00", "s"),
    ("#009e73", "^"),
    ("#cc79a7", "D"),
    ("#000000", "v"),
    ("#e69f00", "P"),
)
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
        The frame of `fetch_orders_df`, or that of `ship_date_compliance`, whose policy then
        holds.
    by
        A column, or several: a line for each group, the six with most orders due at most.
    freq
        As in `compliance_rate`: by when orders were due, on the warehouses' own calendars. None:
        a point for each group, the 20 with most orders due at most.
    ax
        Where to draw; a new figure by default. Counts of orders due stand on a second axis.
    policy, as_of, due_day, tz, ship_event, grace
        As in `ship_date_compliance`. The policy stands under the title, in words.
    **line_kws
        Passed to `Axes.errorbar`.

    Returns
    -------
    matplotlib.axes.Axes
        The rates, in shares of 1. Grey bars count the orders due. Where a point is hollow, its
        period is still open at as_of, or some of its orders are pending: it may change.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance` and `compliance_rate`, if `ax` is not Axes, and for another
        policy beside a frame that has one.

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
    loose = {"due_day": due_day, "tz": tz, "ship_event": ship_event, "grace": grace}
    given = any(value is not None for value in (policy, *loose.values()))
    held_to = resolve_policy(policy, **loose) if given else None
    compliance = judged(orders, held_to, as_of)
    names = by_columns(compliance, by)
    totals = outcome_rates(compliance, by, None)
    if freq is None:
        axes, note = _points(ax, totals, names, line_kws)
    else:
        axes, note = _lines(ax, compliance, totals, names=names, freq=freq, line_kws=line_kws)
    told = [*basis(compliance, totals, has_intervals=True), *note, policy_words(compliance)]
    headline(axes, "Ship-date compliance", names, told)
    if not totals["n"].sum():
        say(axes, why_empty(totals))
    return axes


def _points(
    ax: Axes | None, totals: pd.DataFrame, names: list[str], line_kws: dict[str, Any]
) -> tuple[Axes, list[str]]:
    """Draw a rate for each group."""
    rows, note = largest(totals["n"], MOST_ROWS)
    axes = get_axes(ax, 2.1 + 0.3 * max(len(rows), 2))
    table = totals.iloc[rows]
    style = {"color": _LINES[0][0], "marker": "o", "linestyle": "none", "elinewidth": 1.5}
    axes.errorbar(table["rate"], np.arange(len(rows)), xerr=_reach(table), **{**style, **line_kws})
    group_axis(axes, totals.index[rows], table["n"], names)
    percent_axis(axes.xaxis, _RATE)
    return axes, note


def _lines(
    ax: Axes | None,
    compliance: pd.DataFrame,
    totals: pd.DataFrame,
    *,
    names: list[str],
    freq: str,
    line_kws: dict[str, Any],
) -> tuple[Axes, list[str]]:
    """Draw a line of rates over periods for each group, and bars of n behind them."""
    every = _dated(outcome_rates(compliance, None, freq))
    due = np.flatnonzero(every["n"])
    drawn = slice(due[0], due[-1] + 1) if due.size else slice(0, 0)
    shown = every.iloc[drawn]
    starts, ends = spans(shown.index, freq)
    ended = ends <= as_of_day(compliance)

    axes = get_axes(ax, 4.5)
    _backdrop(axes, starts, ends, shown["n"].to_numpy())
    groups, note = largest(totals["n"], len(_LINES))
    split = _dated(outcome_rates(compliance, names, freq)) if names else every
    lines = []
    for place, group in enumerate(groups):
        # Every group has the same periods, and `totals` has the same order of groups.
        rows = split.iloc[group * len(every) : (group + 1) * len(every)].iloc[drawn]
        shift = 0.5 + (place - (len(groups) - 1) / 2) * 0.09
        at = starts + shift * (ends - starts)
        lines.append(_line(axes, at, rows, ended, {**_style(place, len(groups)), **line_kws}))
    if names:
        labels = [
            f"{named(totals.index[group])} (n = {totals['n'].iloc[group]:,})" for group in groups
        ]
        legend(axes, lines, labels, named(tuple(names)), beside=1.12)
    date_axis(axes, starts, ends, f"due, by {spelt(freq)} ({zone_of(compliance)})")
    percent_axis(axes.yaxis, _RATE)
    if not (ended & (shown["pending"] == 0)).all():
        note.append("hollow: orders of the period can still change it")
    later = every["pending"].sum() - shown["pending"].sum()
    if later and due.size:
        note.append(f"{later:,} of the pending are due after the last period drawn")
    return axes, note


def _dated(rates: pd.DataFrame) -> pd.DataFrame:
    return rates[np.asarray(rates.index.get_level_values("period").notna())]


def _style(place: int, groups: int) -> dict[str, Any]:
    colour, marker = _LINES[place]
    faint = to_rgba(colour, 0.35 if groups > 1 else 1)
    return {"color": colour, "marker": marker, "ecolor": faint, "elinewidth": 1.2}


def _line(axes: Axes, at: Array, rows: pd.DataFrame, ended: Array, style: dict[str, Any]) -> Any:
    known = rows["rate"].notna().to_numpy()
    # One empty period breaks the line as well as a thousand of them.
    kept = known | np.append(np.zeros(1, dtype=bool), known)[: len(known)]
    at, rows, known, ended = at[kept], rows[kept], known[kept], ended[kept]
    size = {"markersize": 5 if len(at) <= _MOST_MARKERS else 2.5}
    line = axes.errorbar(at, rows["rate"], yerr=_reach(rows), **{**size, **style}).lines[0]
    hollow = known & (~ended | (rows["pending"].to_numpy() > 0))
    axes.plot(
        at[hollow],
        rows["rate"].to_numpy()[hollow],
        linestyle="none",
        marker=line.get_marker(),
        markersize=line.get_markersize(),
        markeredgecolor=line.get_color(),
        markerfacecolor="white",
        zorder=line.get_zorder() + 1,
    )
    return line


def _backdrop(axes: Axes, starts: Array, ends: Array, n: Array) -> None:
    """Count what each point stands on, along the lower edge."""
    behind = axes.twinx()
    some = n > 0
    width = (ends - starts)[some] * 0.9
    bars = behind.bar(starts[some], n[some], width, align="edge", color="0.87")
    if some.sum() <= _MOST_COUNTS:
        counts = [f"{count:,}" for count in n[some]]
        behind.bar_label(bars, counts, fontsize="x-small", color="0.35")
    top = max(n, default=0)
    behind.set_ylim(0, (top or 1) * 6)
    behind.set_yticks([0, top] if top else [], ["0", f"{top:,}"] if top else [])
    behind.tick_params(colors="0.35", labelsize="small")
    behind.set_ylabel("orders due (n)", color="0.35", loc="bottom", fontsize="small")
    # The lines belong in front of the bars, though their axes came first.
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)


def _reach(rates: pd.DataFrame) -> Array:
    return np.array([rates["rate"] - rates["rate_low"], rates["rate_high"] - rates["rate"]])
