"""The style that all plots share: palette, axes, bars, legends, captions and wording."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import dates, rcParams
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from trackstar_frames.measures._time import Array, period
from trackstar_frames.measures.backlog import SHIPPED_SINCE
from trackstar_frames.measures.status_mix import NO_STATUS
from trackstar_frames.schema import LIFECYCLE


class Look(NamedTuple):
    """Colour, hatch, marker and line style of a status, an outcome or a group."""

    colour: str
    hatch: str
    marker: str = "o"
    stroke: Any = "-"

    def bar_style(self) -> dict[str, Any]:
        """Return the arguments of `Axes.bar`; the hatch has the colour of the edge."""
        return {"color": self.colour, "hatch": self.hatch, "edgecolor": "white", "linewidth": 0.5}


# The palette of Okabe and Ito, whose colours differ for every kind of colour vision, without its
# black, which is lost on a dark background.
_BLUE, _ORANGE, _GREEN, _PINK = "#0072b2", "#e69f00", "#009e73", "#cc79a7"
_SKY, _VERMILION, _BROWN = "#56b4e9", "#d55e00", "#5d3a1a"

#: Of captions and of lines that help to read: legible on white and on black.
MUTED = "#757575"
GREY_BARS: Mapping[str, Any] = {"color": MUTED, "alpha": 0.27, "linewidth": 0}
_GRID: Mapping[str, Any] = {"color": MUTED, "alpha": 0.25}

#: Marks a figure that a plot has made.
OWN_FIGURE = "trackstar_frames"

#: The looks of groups.
GROUPS = (
    Look(_BLUE, "", "o", "-"),
    Look(_ORANGE, "///", "s", "--"),
    Look(_GREEN, "...", "^", "-."),
    Look(_PINK, "xxx", "D", ":"),
    Look(_SKY, "++", "v", "-"),
    Look(_VERMILION, "\\\\\\", "P", "--"),
)
#: All groups that are not drawn one by one.
OTHERS = Look("#c8c8c8", "ooo")
#: The same, where one of them is a line.
PLAIN = Look("#666666", "", "o", "-")
#: The orders without a group: lighter than any group, however many they are.
NO_GROUP = Look("#9a9a9a", "", "x", (0, (1, 2)))
#: What is known of few orders only, or of few days.
FADED = 0.4

#: What became of orders, from early to late.
OUTCOMES: Mapping[str, Look] = {
    "early, by a day or more": Look(_SKY, ""),
    "on time": Look(_BLUE, ""),
    "late, shipped": Look(_ORANGE, "///"),
    "late, still open (so far)": Look(_VERMILION, "xxx"),
}

# The path to fulfilment goes from light to dark, which keeps its order for every kind of colour
# vision; statuses off the path have hues of their own.
_PATH = ("#f7f09a", "#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#0c2c84")
_OFF_PATH = (Look(_ORANGE, "///"), Look(_VERMILION, "xxx"), Look("#8c8c8c", ""), Look(_PINK, "..."))

STATUSES: Mapping[str, Look] = {
    **dict(zip(LIFECYCLE, (*(Look(each, "") for each in _PATH), *_OFF_PATH), strict=True)),
    NO_STATUS: Look("#dcdcdc", "|||"),
    SHIPPED_SINCE: Look("#d8c9a3", "---"),
}
_UNKNOWN_STATUS = Look(_BROWN, "+++")


def status_look(status: str) -> Look:
    """Return the look of a status, known or not."""
    return STATUSES.get(status, _UNKNOWN_STATUS)


def text_colour() -> Any:
    """Return the colour of text on the current background."""
    return rcParams["text.color"]


def font_scale() -> float:
    """Return the size of text, relative to matplotlib's default."""
    return float(rcParams["font.size"]) / 10


def get_axes(ax: Axes | None, height: float, *, width: float = 8) -> Axes:
    """Return `ax`, or the axes of a new figure, which is larger if the text is."""
    if ax is None:
        scale = max(font_scale(), 1)
        figure, axes = plt.subplots(figsize=(width * scale, height * scale), layout="constrained")
        figure.set_gid(OWN_FIGURE)
        return axes
    if not isinstance(ax, Axes):
        raise TypeError(f"ax is a {type(ax).__name__}; pass matplotlib Axes, or None")
    return ax


class Layer(NamedTuple):
    """One layer of stacked bars: its name, its look, its length in each bar, and its orders."""

    name: str
    look: Look
    lengths: Array
    orders: int


def status_layers(table: pd.DataFrame, orders: pd.Series[int]) -> list[Layer]:
    """Return a layer for each status, a column, that is in any bar, a row."""
    used = table.columns[(table != 0).any()]
    return [
        Layer(printable(each), status_look(each), table[each].to_numpy(), orders[each])
        for each in used
    ]


# matplotlib gives its dates no types.
_dates: Any = dates
_MOMENT = 1e-6  # days
_FREQ_WORDS = {"D": "day", "W": "week", "M": "month", "Q": "quarter", "Y": "year"}


def period_bounds(labels: pd.Index, freq: str) -> tuple[Array, Array]:
    """Return where periods start and end, in matplotlib's days."""
    span, starts = period(freq), labels.to_numpy(dtype="M8[us]")
    ends = span.start(span.number(starts) + 1)
    return _dates.date2num(starts), _dates.date2num(ends)


def points_wide(axes: Axes) -> float:
    """Return the width of axes in points."""
    return axes.get_window_extent().width / axes.figure.dpi * 72


def head_room(axes: Axes, *, lines: float) -> float:
    """Return how much longer than its bars a y axis must be for lines of text over them."""
    high = axes.get_window_extent().height / axes.figure.dpi * 72
    return 1 / (1 - min(lines * 12 * font_scale() / high, 0.4))


def freq_words(freq: str) -> str:
    """Spell out a frequency alias."""
    return f"week to {freq[2:].title()}" if freq.startswith("W-") else _FREQ_WORDS[freq[0]]


def date_axis(
    axes: Axes, starts: Array, ends: Array, label: str, *, most: int | None = None
) -> None:
    """Make the x axis one of dates, with at most so many ticks; without any it has no ticks."""
    axes.set_xlabel(label)
    if not len(starts):
        axes.set_xticks([])
        return
    # Years before 1, which a margin could reach, cannot be drawn; systems do write 0001-01-01.
    earliest, latest = _dates.date2num(np.array(["0001-01-01", "9999-12-31"], dtype="M8[us]"))
    margin = 0.02 * (ends[-1] - starts[0])
    axes.set_xlim(max(starts[0] - margin, earliest), min(ends[-1] + margin, latest))
    # Ticks are at least a day apart. The days are wall clock time already, so that
    # rcParams["timezone"] must not shift them.
    if most is None:
        most = int(np.clip(points_wide(axes) / (42 * font_scale()), 2, 9))
    fewest = min(max(int(ends[-1] - starts[0]), 1), 3, most)
    locator = _dates.AutoDateLocator(tz=UTC, minticks=fewest, maxticks=most)
    axes.xaxis.set_major_locator(locator)
    formatter = _dates.ConciseDateFormatter(locator, tz=UTC, show_offset=False)
    axes.xaxis.set_major_formatter(formatter)
    # The years, and of short spans the month, stand in the label, where they collide with nothing.
    first, last = (f"{_dates.num2date(day):%b %Y}" for day in (starts[0], ends[-1] - _MOMENT))
    if label:
        axes.set_xlabel(f"{label}, {first}" + (f" to {last}" if last != first else ""))


def count_axis(axis: Any, *, normalize: bool = False, label: str = "orders (n)") -> None:
    """Make an axis one of orders, or of their shares."""
    if normalize:
        percent_axis(axis, "share of orders (%)")
        return
    axis.set_label_text(label)
    axis.axes.set_axisbelow(True)
    box, dpi = axis.axes.get_window_extent(), axis.axes.figure.dpi
    points = (box.width if axis.axis_name == "x" else box.height) / dpi * 72
    ticks = int(np.clip(points / (44 * font_scale()), 2, 6))
    axis.set_major_locator(MaxNLocator(ticks, integer=True, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def percent_axis(axis: Any, label: str) -> None:
    """Make an axis one of shares, from 0 to 100 % whatever the data."""
    axis.set_label_text(label)
    axis.set_major_formatter(PercentFormatter(1))
    limits = axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim
    limits(-0.03, 1.03)
    axis.grid(visible=True, **_GRID)
    axis.axes.set_axisbelow(True)


_LIGHT = 0.45  # from this lightness on, black text is read better than white
HOUR = np.timedelta64(1, "h")
DAY = 24.0  # hours
_DAYS_FROM, _WHOLE_DAYS_FROM = 48, 100  # hours, days: of durations in words


def axis_unit(hours: float) -> tuple[float, str]:
    """Return the unit of an axis that shows so many hours: its length in hours, and its name."""
    return (DAY, "days") if hours >= 4 * DAY else (1.0, "hours")


def outlier_distance(low: float, high: float) -> float:
    """Return how many hours beyond these quartiles a time is taken for a wrong date."""
    # An extreme quantile does not find it: among few orders, one is more than a hundredth.
    return 5 * (high - low + DAY)


def faded(colour: Any, background: Any, share: float = FADED) -> Any:
    """Return a colour mixed with the one behind it."""
    front, back = (np.array(to_rgb(each)) for each in (colour, background))
    return tuple(map(float, share * front + (1 - share) * back))


def nothing(axes: Axes) -> Any:
    """Return the colour of a cell without orders."""
    return faded(MUTED, axes.get_facecolor(), 0.13)


def text_on(colour: Any) -> str:
    """Return the colour of text that can be read on a background."""
    return "black" if np.dot(to_rgb(colour), (0.299, 0.587, 0.114)) > _LIGHT else "white"


def write_in_middle(axes: Axes, words: str, *, x: float = 0.5) -> None:
    """Write into the middle of empty axes, or at another of their width."""
    axes.text(x, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=MUTED)


def moment_words(moment: str | None) -> str:
    """Spell an ISO 8601 moment, to the minute."""
    if moment is None:
        return "an unknown time"
    stamp = pd.Timestamp(moment)
    stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
    return f"{stamp:%Y-%m-%d %H:%M} UTC"


def duration_words(length: Any) -> str:
    """Spell a timedelta, or a float of hours, in the unit that suits it; null is unknown."""
    # Not by pandas.Timedelta, which ends before the 292nd year.
    hours = float(length if isinstance(length, float) else length / HOUR)
    if np.isnan(hours):
        return "unknown"
    if abs(hours) < 1:
        return f"{hours * 60:.0f} min"
    if abs(hours) < _DAYS_FROM:
        return f"{hours:.0f} h"
    days = hours / DAY
    return f"{days:,.0f} days" if abs(days) >= _WHOLE_DAYS_FROM else f"{days:.1f} days"


def share_words(share: float, decimals: int = 1, unit: str = " %") -> str:
    """Spell a share so that some are never 0 %, and most never 100 %."""
    words, least = f"{share:.{decimals}%}"[:-1], 10**-decimals
    if 0 < share < 1 and float(words) in (0, 100):
        words = f"<{least:g}" if share < 1 - share else f">{100 - least:g}"
    return words + unit


def group_name(label: object, most: int = 32) -> str:
    """Return the name of a group, or of the columns that make groups."""
    parts = label if isinstance(label, tuple) else (label,)
    most = most // len(parts)
    return " / ".join("(none)" if pd.isna(part) else printable(part, most) for part in parts)


def printable(value: object, most: int = 32) -> str:
    """Return a value as one short line, without mathematics."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split()) or '""'
    if len(text) > most:
        tail = max(most // 3, 1)
        text = f"{text[: max(most - tail - 1, 1)]}…{text[-tail:]}"
    # matplotlib leaves labels with a leading underscore out of legends.
    return (" " + text if text.startswith("_") else text).replace("$", r"\$")
