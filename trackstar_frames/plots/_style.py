"""The style that all plots share: palette, axes, bars, legends, captions and wording."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import dates, rcParams
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
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
    stroke: str = "-"

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

#: Groups, the largest first.
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
    SHIPPED_SINCE: Look("#ffffff", "---"),
}
_UNKNOWN_STATUS = Look(_BROWN, "+++")


def status_look(status: str) -> Look:
    """Return the look of a status, known or not."""
    return STATUSES.get(status, _UNKNOWN_STATUS)


def font_scale() -> float:
    """Return the size of text, relative to matplotlib's default."""
    return float(rcParams["font.size"]) / 10


def get_axes(ax: Axes | None, height: float, *, width: float = 8) -> Axes:
    """Return `ax`, or the axes of a new figure, which is higher if the text is larger."""
    if ax is None:
        size = (width, height * max(font_scale(), 1))
        return plt.subplots(figsize=size, layout="constrained")[1]
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


def stacked_bars(
    axis: Any, layers: list[Layer], at: Array, width: Any, bar_kws: dict[str, Any], *, title: str
) -> None:
    """Draw layers, none of them empty, one after another along an axis, and their legend."""
    axes, along_x = axis.axes, axis.axis_name == "x"
    draw, base = (axes.barh, "left") if along_x else (axes.bar, "bottom")
    widths, top = np.broadcast_to(width, at.shape), np.zeros(len(at))
    handles = []
    for layer in layers:
        some = layer.lengths > 0
        style = {**layer.look.bar_style(), base: top[some], **bar_kws}
        handles.append(draw(at[some], layer.lengths[some], widths[some], **style)[0])
        top = top + layer.lengths
    add_legend(axes, handles, [f"{layer.name} ({layer.orders:,})" for layer in layers], title)


# matplotlib gives its dates no types.
_dates: Any = dates
_FREQ_WORDS = {"D": "day", "W": "week", "M": "month", "Q": "quarter", "Y": "year"}


def period_bounds(labels: pd.Index, freq: str) -> tuple[Array, Array]:
    """Return where periods start and end, in matplotlib's days."""
    span, starts = period(freq), labels.to_numpy(dtype="M8[us]")
    ends = span.start(span.number(starts) + 1)
    return _dates.date2num(starts), _dates.date2num(ends)


def freq_words(freq: str) -> str:
    """Spell out a frequency alias."""
    return f"week to {freq[2:].title()}" if freq.startswith("W-") else _FREQ_WORDS[freq[0]]


def date_axis(axes: Axes, starts: Array, ends: Array, label: str) -> None:
    """Make the x axis one of dates; without any it has no ticks."""
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
    fewest = min(max(int(ends[-1] - starts[0]), 1), 3)
    locator = _dates.AutoDateLocator(tz=UTC, minticks=fewest, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(_dates.ConciseDateFormatter(locator, tz=UTC))


def count_axis(axis: Any, *, normalize: bool = False) -> None:
    """Make an axis one of orders, or of their shares."""
    if normalize:
        percent_axis(axis, "share of orders (%)")
        return
    axis.set_label_text("orders (n)")
    ticks = max(int(5 / font_scale()), 2)
    axis.set_major_locator(MaxNLocator(ticks, integer=True, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def percent_axis(axis: Any, label: str) -> None:
    """Make an axis one of shares, from 0 to 100 % whatever the data."""
    axis.set_label_text(label)
    axis.set_major_formatter(PercentFormatter(1))
    limits = axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim
    limits(-0.03, 1.03)
    axis.grid(color=MUTED, alpha=0.25)
    axis.axes.set_axisbelow(True)


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


def add_legend(
    axes: Axes, handles: Sequence[Any], labels: Sequence[str], title: str, *, left: float = 1.01
) -> None:
    """Explain the colours to the right of the axes, which are 1 wide."""
    if handles and labels:
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (left, 1)}
        look: dict[str, Any] = {"frameon": False, "fontsize": "small", "alignment": "left"}
        axes.legend(handles, labels, title=title, **place, **look)


def legend_inside(axes: Axes, columns: int, *, clear_bars: bool) -> None:
    """Move a legend into narrow axes; `clear_bars` makes the y axis longer, to keep it free."""
    if not (old := axes.get_legend()):
        return
    labels = [text.get_text() for text in old.get_texts()]
    handles: list[Any] = old.legend_handles
    style: dict[str, Any] = {"loc": "upper right", "fontsize": "x-small", "ncols": columns}
    style |= {"framealpha": 0.85, "edgecolor": "none", "columnspacing": 1.0}
    axes.legend(handles, labels, **style).set_in_layout(False)
    if clear_bars:
        height = 8 + 13 * -(-len(labels) // columns) * font_scale()
        free = height / (axes.get_window_extent().height / axes.figure.dpi * 72)
        axes.set_ylim(0, axes.get_ylim()[1] / max(1 - free, 0.3))


_CAPTION = "caption"
_DOT = "\u00a0· "  # the no-break space keeps the dot at the end of a line
# In points, at matplotlib's default size of text.
_CAPTION_LINE, _CAPTION_LETTER, _TITLE_LETTER, _TICK_LETTER = 11.3, 4.5, 7.0, 5.8
_FEWEST_LETTERS = 30


def add_title(axes: Axes, title: str, columns: Sequence[str], note: Sequence[str]) -> None:
    """Set the title over the axes, and under it, as a caption, what the plot is based on."""
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    look: dict[str, Any] = {"va": "bottom", "fontsize": "small", "color": MUTED, "gid": _CAPTION}
    axes.annotate(_DOT.join(note), (0, 1), (0, 4), **place, **look).set_in_layout(False)
    by = f" by {group_name(tuple(columns))}" if columns else ""
    axes.set_title(title + by, loc="left")
    # Before the figure is drawn there is no layout: axes fill 4/5 of the width, labels included.
    ticks = max((len(tick.get_text()) for tick in axes.get_yticklabels()), default=0)
    _fit_title(axes, _points(axes) * 1.25 - (_TICK_LETTER * ticks + 50) * font_scale())


def refit_title(axes: Axes, known: Sequence[str]) -> None:
    """Fit title and caption to the drawn axes, without what the page says already."""
    text = _caption(axes)
    parts = text.get_text().replace("\n", " ").split(_DOT)
    text.set_text(_DOT.join(part for part in parts if part.startswith("n =") or part not in known))
    _fit_title(axes, _points(axes))


def _fit_title(axes: Axes, points: float) -> None:
    """Wrap title and caption to a width."""
    letters = max(int(points / font_scale() / _CAPTION_LETTER), _FEWEST_LETTERS)
    text = _caption(axes)
    lines = textwrap.wrap(text.get_text(), letters, break_on_hyphens=False)
    text.set_text("\n".join(lines))
    wrap = textwrap.TextWrapper(break_long_words=False, break_on_hyphens=False)
    wrap.width = int(letters * _CAPTION_LETTER / _TITLE_LETTER)
    title = wrap.fill(axes.get_title(loc="left"))
    axes.set_title(title, loc="left", pad=8 + _CAPTION_LINE * font_scale() * len(lines))


def _caption(axes: Axes) -> Any:
    return next(text for text in axes.texts if text.get_gid() == _CAPTION)


def _points(axes: Axes) -> float:
    return axes.get_window_extent().width / axes.figure.dpi * 72


def write_in_middle(axes: Axes, words: str) -> None:
    """Write into the middle of empty axes."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=MUTED)


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


def group_name(label: object) -> str:
    """Return the name of a group, or of the columns that make groups."""
    parts = label if isinstance(label, tuple) else (label,)
    most = 32 // len(parts)
    return " / ".join("(none)" if pd.isna(part) else printable(part, most) for part in parts)


def printable(value: object, most: int = 32) -> str:
    """Return a value as one short line, without mathematics."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split()) or '""'
    if len(text) > most:
        tail = max(most // 3, 1)
        text = f"{text[: max(most - tail - 1, 1)]}…{text[-tail:]}"
    # matplotlib leaves labels with a leading underscore out of legends.
    return (" " + text if text.startswith("_") else text).replace("$", r"\$")
