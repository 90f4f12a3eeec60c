"""How early and how late orders are, as a histogram."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from trackstar_frames.measures._checks import column, require
from trackstar_frames.measures._grouping import factorize
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.compliance_rate import outcome_rates
from trackstar_frames.measures.policy import SlaPolicy
from trackstar_frames.plots._style import (
    DAY,
    HOUR,
    Look,
    axis_unit,
    basis,
    count_axis,
    get_axes,
    headline,
    judged,
    lasting,
    legend,
    policy_of,
    policy_words,
    reach,
    say,
    why_empty,
)

__all__ = ["plot_lateness"]

#: From early to late, as they lie from left to right and are piled up.
_KINDS = {
    "early, by a day or more": Look("#56b4e9", ""),
    "on time": Look("#0072b2", ""),
    "late, shipped": Look("#e69f00", "///"),
    "late, still open (so far)": Look("#d55e00", "xxx"),
}
_EARLY, _ON_TIME, _LATE, _OPEN = range(len(_KINDS))
# Hours, of which a bar is as wide as needed for so many bars at most.
_WIDTHS = np.array([1, 2, 3, 6, 12, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 91 * DAY])
_MOST_BARS = 40
_ROOM = 0.09  # of the axis, for the label of a bar at its end


def plot_lateness(
    orders: pd.DataFrame,
    *,
    policy: SlaPolicy | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    ax: Axes | None = None,
    **bar_kws: Any,
) -> Axes:
    """Draw by how much orders are shipped before or after they are due.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or that of `ship_date_compliance`, whose policy then
        holds.
    policy, as_of
        As in `ship_date_compliance`.
    ax
        Where to draw; a new figure by default. The legend stands to its right.
    **bar_kws
        Passed to `Axes.bar`.

    Returns
    -------
    matplotlib.axes.Axes
        Bars that count orders (n) over their lateness, in days or hours, in the colours of what
        became of them. Drawn are those that are on time or late; what is still open is late by
        so much at least. The few that lie far outside are put together in a bar at each end.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance`, if `ax` is not Axes, and for a policy or as_of beside a frame
        that has been judged already.

    Examples
    --------
    >>> import pandas as pd
    >>> due = pd.Timestamp("2026-03-02T12:00Z")
    >>> orders = pd.DataFrame({"status": ["open"], "created_date": [due],
    ...     "required_ship_date": [due], "complete_shipped_date": [pd.NaT],
    ...     "last_shipped_date": [pd.NaT]})
    >>> ax = plot_lateness(orders, as_of="2026-03-09")
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['late, still open (so far) (1)']
    """
    compliance = judged(orders, policy, as_of)
    totals = outcome_rates(compliance, None, None)
    hours, kinds = _read(compliance)
    axes = get_axes(ax, 4.5)
    note = basis(compliance, totals)
    if hours.size:
        note += _histogram(axes, hours, kinds, policy_of(compliance).get("grace"), bar_kws)
    else:
        axes.set_xticks([])
        say(axes, why_empty(totals))
    count_axis(axes.yaxis, normalize=False)
    headline(axes, "Lateness of orders", [], [*note, policy_words(compliance)])
    return axes


def _read(compliance: pd.DataFrame) -> tuple[Array, Array]:
    """Return the lateness in hours of each order that is on time or late, and its kind."""
    require(compliance, ["lateness"], source="ship_date_compliance", name="compliance")
    codes, outcomes = factorize(compliance, "outcome")
    outcome = np.array([*outcomes, ""])[codes]
    kinds = np.select(
        [outcome == "on_time", outcome == "late_shipped", outcome == "late_open"],
        [_ON_TIME, _LATE, _OPEN],
        -1,
    )
    some = kinds >= 0
    lateness = column(compliance, "lateness").to_numpy(dtype="m8[us]")[some]
    hours = lateness / HOUR
    return hours, np.where((kinds[some] == _ON_TIME) & (hours <= -DAY), _EARLY, kinds[some])


def _histogram(
    axes: Axes, hours: Array, kinds: Array, grace: str | None, bar_kws: dict[str, Any]
) -> list[str]:
    """Pile up the kinds of each bar; return a note of what the axis does not show."""
    edges = _edges(hours)
    per, unit = axis_unit(edges[-1] - edges[0])
    # Bars end with their right edge: an order shipped at the moment it is due is on time.
    places = np.searchsorted(edges, hours, side="left")
    size = (len(edges) + 1) * len(_KINDS)
    counts = np.bincount(places * len(_KINDS) + kinds, minlength=size).reshape(-1, len(_KINDS))
    _pile(axes, edges / per, counts, bar_kws)
    outside = counts[[0, -1]].sum(axis=1)
    _axis(axes, edges / per, outside, unit)
    if grace and (end := pd.Timedelta(grace) / pd.Timedelta(hours=per)):
        axes.axvline(end, color="black", linewidth=1, linestyle="--")
    extremes = (float(hours.min()), float(hours.max()))
    return [_middle(hours), *_ends(outside, extremes)]


def _edges(hours: Array) -> Array:
    """Choose the bars: most orders lie in them, and so does the moment when they are due."""
    low, high = np.quantile(hours, [0.25, 0.75])
    first = np.quantile(hours, 0.01, method="lower")
    last = np.quantile(hours, 0.99, method="higher")
    most = reach(low, high)
    low, high = min(max(first, low - most), 0), max(min(last, high + most), 0)
    enough = _WIDTHS[(high - low) / _WIDTHS <= _MOST_BARS]
    width = enough[0] if enough.size else np.ceil((high - low) / _MOST_BARS / DAY) * DAY
    start, stop = np.ceil(low / width) - 1, max(np.ceil(high / width), 1)
    edges: Array = np.arange(start, stop + 1) * width
    return edges


def _pile(axes: Axes, edges: Array, counts: Array, bar_kws: dict[str, Any]) -> None:
    width = edges[1] - edges[0]
    centres = np.array([edges[0] - width, *(edges[:-1] + width / 2), edges[-1] + width])
    done = np.zeros(len(counts))
    drawn = {}
    for (name, look), n in zip(_KINDS.items(), counts.T, strict=True):
        if not n.any():
            continue
        some = n > 0
        style = {**look.of_bars(), "bottom": done[some], **bar_kws}
        bars = axes.bar(centres[some], n[some], width, **style)
        drawn[f"{name} ({n.sum():,})"] = bars[0]
        done = done + n
    legend(axes, list(drawn.values()), list(drawn), "outcome")


def _axis(axes: Axes, edges: Array, outside: Array, unit: str) -> None:
    """Count the axis from when orders are due, and name the bars at its ends."""
    low, high, width = edges[0], edges[-1], edges[1] - edges[0]
    steps = [1, 2, 5, 10] if unit == "days" else [1.2, 2.4, 6, 10]
    ticks = MaxNLocator(8, integer=True, steps=steps).tick_values(low, high)
    ends = [(low - width, f"< {_number(low)}"), (high + width, f"> {_number(high)}")]
    ends = [end for end, n in zip(ends, outside, strict=True) if n]
    room = _ROOM * (high - low)
    kept = [t for t in ticks if low <= t <= high and all(abs(t - at) > room for at, _ in ends)]
    named = [(tick, _number(tick) if tick else "due") for tick in kept] + ends
    axes.set_xticks([at for at, _ in named], [word for _, word in named])
    margins = width * np.where(outside > 0, 2, 0.5)
    axes.set_xlim(low - margins[0], high + margins[1])
    axes.axvline(0, color="black", linewidth=1)
    axes.set_xlabel(f"{unit} from due to shipped, or to as-of if open")


def _number(value: float) -> str:
    return f"{value:,.0f}".replace("-", "\u2212")


def _middle(hours: Array) -> str:
    median = float(np.median(hours))
    word = "late" if median > 0 else "early"
    return f"half are {word} by {lasting(abs(median))} or more"


def _ends(outside: Array, extremes: tuple[float, float]) -> list[str]:
    """Say how much is put together at the ends of the axis, and how far out it lies."""
    said = [
        f"{n:,} {word} (up to {lasting(abs(extreme))})"
        for n, word, extreme in zip(outside, ("earlier", "later"), extremes, strict=True)
        if n
    ]
    return [f"at the ends: {' and '.join(said)}"] if said else []
