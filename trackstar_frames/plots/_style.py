"""What the pictures share: axes, words and legends."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import dates
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from trackstar_frames.measures._checks import fetched_at, measure_info, require
from trackstar_frames.measures._time import Array, period
from trackstar_frames.measures.backlog import SHIPPED_SINCE
from trackstar_frames.measures.compliance_rate import warn_if_policy_lost
from trackstar_frames.measures.policy import SlaPolicy
from trackstar_frames.measures.ship_date_compliance import judged_orders
from trackstar_frames.measures.status_mix import NO_STATUS
from trackstar_frames.schema import LIFECYCLE

__all__ = [
    "DAY",
    "GROUPS",
    "HOUR",
    "OTHERS",
    "STATUSES",
    "Look",
    "as_of_day",
    "axis_unit",
    "basis",
    "judged",
    "lasting",
    "look_of",
    "policy_of",
    "policy_words",
    "reach",
    "why_empty",
    "zone_of",
]


MOST_ROWS = 20
_SPELT = {"D": "day", "W": "week", "M": "month", "Q": "quarter", "Y": "year"}
_CAPTION = "caption"
_LINE = 11.3  # points from one line of a caption to the next
_DOT = "\u00a0· "  # the no-break space keeps the dot at the end of a line
# matplotlib gives its dates no types.
_dates: Any = dates


def get_axes(ax: Axes | None, height: float, *, width: float = 8) -> Axes:
    """Return `ax`, or the axes of a new figure."""
    if ax is None:
        return plt.subplots(figsize=(width, height), layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(f"ax is a {type(ax).__name__}; pass matplotlib Axes, or None")
    return ax


def largest(n: pd.Series[int], most: int) -> tuple[Array, list[str]]:
    """Return the places of the largest groups, and a note of what that leaves out."""
    places = np.argsort(-n.to_numpy(), kind="stable")
    if len(places) <= most:
        return places, []
    rest = n.iloc[places[most:]].sum()
    return places[:most], [
        f"the {most} largest of {len(places):,} groups; n of the rest = {rest:,}"
    ]


def days(stamps: Array) -> Array:
    """Turn wall clock times into matplotlib's days."""
    numbers: Array = _dates.date2num(stamps)
    return numbers


def spans(labels: pd.Index, freq: str) -> tuple[Array, Array]:
    """Return where periods start and end, in matplotlib's days."""
    span, starts = period(freq), labels.to_numpy(dtype="M8[us]")
    return days(starts), days(span.start(span.number(starts) + 1))


def spelt(freq: str) -> str:
    """Spell an alias out."""
    return f"week to {freq[2:].title()}" if freq.startswith("W-") else _SPELT[freq[0]]


def date_axis(axes: Axes, starts: Array, ends: Array, label: str) -> None:
    """Make the lower axis one of dates; without any it bears no ticks."""
    axes.set_xlabel(label)
    if not len(starts):
        axes.set_xticks([])
        return
    # Years before 1, which a margin could reach, cannot be drawn; systems do write 0001-01-01.
    earliest, latest = days(np.array(["0001-01-01", "9999-12-31"], dtype="M8[us]"))
    margin = 0.02 * (ends[-1] - starts[0])
    axes.set_xlim(max(starts[0] - margin, earliest), min(ends[-1] + margin, latest))
    # A day at the least from one tick to the next; the days are wall clock time already, and
    # rcParams["timezone"] has no part in them.
    fewest = min(max(int(ends[-1] - starts[0]), 1), 3)
    locator = _dates.AutoDateLocator(tz=UTC, minticks=fewest, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(_dates.ConciseDateFormatter(locator, tz=UTC))


def group_axis(axes: Axes, labels: pd.Index, n: pd.Series[int], names: list[str]) -> None:
    """Name the rows, each with its n, from the top down."""
    words = [named(label) if names else "all orders" for label in labels]
    ticks = [f"{word} (n = {count:,})" for word, count in zip(words, n, strict=True)]
    axes.set_yticks(range(len(ticks)), ticks)
    axes.set_ylim(max(len(ticks), 1) - 0.4, -0.6)
    axes.set_ylabel(named(tuple(names)) if names else "")


def count_axis(axis: Any, *, normalize: bool) -> None:
    """Make an axis one of orders, or of their shares."""
    if normalize:
        percent_axis(axis, "share of orders (%)")
        return
    axis.set_label_text("orders (n)")
    axis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def percent_axis(axis: Any, label: str) -> None:
    """Make an axis one of shares, from none to all whatever the data."""
    axis.set_label_text(label)
    axis.set_major_formatter(PercentFormatter(1))
    limits = axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim
    limits(-0.03, 1.03)
    axis.grid(color="0.9")
    axis.axes.set_axisbelow(True)


def legend(
    axes: Axes, handles: Sequence[Any], labels: Sequence[str], title: str, *, beside: float = 1.01
) -> None:
    """Explain the colours to the right of the axes."""
    if handles and labels:
        axes.legend(
            handles,
            labels,
            title=title,
            loc="upper left",
            bbox_to_anchor=(beside, 1),
            frameon=False,
            fontsize="small",
            alignment="left",
        )


def headline(axes: Axes, title: str, names: list[str], note: list[str]) -> None:
    """Put the title over the axes, and between the two what the picture stands on."""
    by = f" by {named(tuple(names))}" if names else ""
    lines = textwrap.wrap(_DOT.join(note), _letters(axes), break_on_hyphens=False)
    axes.set_title(title + by, loc="left", pad=8 + _LINE * len(lines))
    text = axes.annotate(
        "\n".join(lines),
        (0, 1),
        xytext=(0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        va="bottom",
        fontsize="small",
        color="0.35",
        gid=_CAPTION,
    )
    text.set_in_layout(False)


def recaption(axes: Axes, known: Sequence[str]) -> None:
    """Leave out of a caption what the page says already, and fit it to the drawn axes."""
    text = next(text for text in axes.texts if text.get_gid() == _CAPTION)
    parts = text.get_text().replace("\n", " ").split(_DOT)
    kept = [part for part in parts if part.startswith("n =") or part not in known]
    points = axes.get_window_extent().width / axes.figure.dpi * 72
    letters = max(int(points / 4.5), 30)
    lines = textwrap.wrap(_DOT.join(kept), letters, break_on_hyphens=False)
    text.set_text("\n".join(lines))
    axes.set_title(axes.get_title(loc="left"), loc="left", pad=8 + _LINE * len(lines))


def legend_inside(axes: Axes, columns: int, *, above: bool) -> None:
    """Move a legend into narrow axes, and (or) what is drawn down from under it."""
    if not (old := axes.get_legend()):
        return
    labels = [text.get_text() for text in old.get_texts()]
    handles: list[Any] = old.legend_handles
    style: dict[str, Any] = {"loc": "upper right", "fontsize": "x-small", "ncols": columns}
    style |= {"framealpha": 0.85, "edgecolor": "none", "columnspacing": 1.0}
    axes.legend(handles, labels, **style).set_in_layout(False)
    if above:
        lines = -(-len(labels) // columns)
        height = axes.get_window_extent().height / axes.figure.dpi * 72
        axes.set_ylim(0, axes.get_ylim()[1] / max(1 - (8 + 13 * lines) / height, 0.3))


def _letters(axes: Axes) -> int:
    """Guess how many small letters fit over the axes, beside the labels at their left."""
    # The layout is not made before the figure is drawn; until then axes fill 4/5 of their place.
    points = axes.get_window_extent().width / axes.figure.dpi * 72 * 1.25
    ticks = max((len(tick.get_text()) for tick in axes.get_yticklabels()), default=0)
    return max(int((points - 5.8 * ticks - 50) / 4.5), 30)


def say(axes: Axes, words: str) -> None:
    """Write into the middle of empty axes."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color="0.35")


def stamped(moment: str | None) -> str:
    """Spell a moment of ISO 8601, to the minute."""
    if moment is None:
        return "an unknown time"
    stamp = pd.Timestamp(moment)
    stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
    return f"{stamp:%Y-%m-%d %H:%M} UTC"


def share(part: float) -> str:
    """Write a share so that some are never none, and most never all."""
    words = f"{part:.1%}".replace("%", " %")
    return {"0.0 %": "<0.1 %", "100.0 %": ">99.9 %"}.get(words, words) if 0 < part < 1 else words


def named(label: object) -> str:
    """Name a group, or the columns that make groups."""
    parts = label if isinstance(label, tuple) else (label,)
    most = 32 // len(parts)
    return " / ".join("(none)" if pd.isna(part) else printable(part, most) for part in parts)


def printable(value: object, most: int = 32) -> str:
    """Make anything fit to be printed: one line, not too long, and no mathematics."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split()) or '""'
    if len(text) > most:
        tail = max(most // 3, 1)
        text = f"{text[: max(most - tail - 1, 1)]}…{text[-tail:]}"
    # matplotlib leaves labels with a leading underscore out of legends.
    return (" " + text if text.startswith("_") else text).replace("$", r"\$")


class Look(NamedTuple):
    """How bars and lines of one thing are drawn."""

    colour: str
    hatch: str
    marker: str = "o"
    stroke: str = "-"

    def of_bars(self) -> dict[str, Any]:
        """Return the arguments of `Axes.bar`; the hatch has the colour of the edge."""
        return {"color": self.colour, "hatch": self.hatch, "edgecolor": "white", "linewidth": 0.5}


# The path goes from light to dark, so that its order survives; what is off it has hues of its own.
_PATH = ("#f7f09a", "#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#0c2c84")
_OFF_PATH = (("#e69f00", "///"), ("#d55e00", "xxx"), ("#8c8c8c", ""), ("#cc79a7", "..."))
_UNKNOWN = Look("#5d3a1a", "+++")

#: The known statuses.
STATUSES: Mapping[str, Look] = {
    **{
        status: Look(colour, hatch)
        for status, (colour, hatch) in zip(
            LIFECYCLE, [*((colour, "") for colour in _PATH), *_OFF_PATH], strict=True
        )
    },
    NO_STATUS: Look("#dcdcdc", "|||"),
    SHIPPED_SINCE: Look("#ffffff", "---"),
}

#: Groups of no order, the largest first.
GROUPS = (
    Look("#0072b2", "", "o", "-"),
    Look("#e69f00", "///", "s", "--"),
    Look("#009e73", "...", "^", "-."),
    Look("#cc79a7", "xxx", "D", ":"),
    Look("#000000", "", "v", "-"),
    Look("#d55e00", "\\\\\\", "P", "--"),
)
OTHERS = Look("#c8c8c8", "ooo")


def look_of(status: str) -> Look:
    """Return how a status is drawn, known or not."""
    return STATUSES.get(status, _UNKNOWN)


HOUR = np.timedelta64(1, "h")
DAY = 24.0  # hours

_DAYS_FROM = 96.0  # hours; shorter axes are ones of hours
_HOURS_UP_TO, _ROUND_DAYS = 48, 100


def axis_unit(hours: float) -> tuple[float, str]:
    """Choose the unit of an axis that shows so many hours: how many it has, and its name."""
    return (DAY, "days") if hours >= _DAYS_FROM else (1.0, "hours")


def reach(low: float, high: float) -> float:
    """Tell how far from these quartiles (hours) a time may lie; beyond is a stray date.

    Of few orders, one of those is more than a hundredth.
    """
    return 5 * (high - low + DAY)


def lasting(length: Any) -> str:
    """Spell a length of time, or so many hours, in the unit that suits it; null is unknown."""
    # Not as a Timedelta, which may end before the 292nd year.
    hours = float(length if isinstance(length, float) else length / HOUR)
    if np.isnan(hours):
        return "unknown"
    if abs(hours) >= _HOURS_UP_TO:
        days = hours / 24
        return f"{days:,.0f} days" if abs(days) >= _ROUND_DAYS else f"{days:.1f} days"
    return f"{hours:.0f} h" if abs(hours) >= 1 else f"{hours * 60:.0f} min"


def judged(
    orders: pd.DataFrame, policy: SlaPolicy | None, as_of: str | dt.date | np.datetime64 | None
) -> pd.DataFrame:
    """Judge orders, unless they have been judged so; the warnings point at the picture's caller."""
    require(orders, [], source="fetch_orders_df")
    compliance = judged_orders(orders, policy, as_of, stacklevel=4)
    warn_if_policy_lost(compliance, stacklevel=4)
    return compliance


def policy_of(compliance: pd.DataFrame) -> dict[str, Any]:
    """Return the policy that a frame was judged by, if it says."""
    return measure_info(compliance, "compliance") or {}


def as_of_day(compliance: pd.DataFrame) -> float:
    """Return as_of on the axis of days: in the policy's zone, in UTC if there are several."""
    policy = policy_of(compliance)
    if policy.get("as_of") is None:
        return np.inf
    zone = policy["tz"] if isinstance(policy["tz"], str) else "UTC"
    moment = pd.Timestamp(policy["as_of"]).tz_convert(zone).tz_localize(None)
    return float(days(np.array([moment.to_datetime64()]))[0])


def zone_of(compliance: pd.DataFrame) -> str:
    """Name the zone that due times are drawn in."""
    tz = policy_of(compliance).get("tz", "UTC")
    return printable(tz) if isinstance(tz, str) else "warehouses' own time"


def basis(
    compliance: pd.DataFrame, totals: pd.DataFrame, *, has_intervals: bool = False
) -> list[str]:
    """Say what the rates stand on: n, what is left out, and as-of."""
    sums, policy = totals.sum(), policy_of(compliance)
    words = [
        f"n = {sums['n']:,.0f} orders due",
        f"{sums['pending']:,.0f} pending",
        f"{sums['not_evaluable']:,.0f} not evaluable",
        f"as of {stamped(policy.get('as_of') or fetched_at(compliance))}",
    ]
    return [*words, "95 % Wilson intervals"] if has_intervals else words


def policy_words(compliance: pd.DataFrame) -> str:
    """Say by what orders were judged."""
    text = policy_of(compliance).get("text") or "The policy is not known."
    return printable(text, len(text))


def why_empty(totals: pd.DataFrame) -> str:
    """Say why there is no rate to draw."""
    if totals["pending"].sum():
        return "no orders due yet"
    return "no orders that can be judged" if totals["not_evaluable"].sum() else "no orders"
