"""How early and how late orders are, as a histogram, or as quartiles by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from trackstar_frames.measures._checks import column, require
from trackstar_frames.measures._grouping import SMALL, factorize
from trackstar_frames.measures._policies import PolicyLike
from trackstar_frames.measures._time import Array
from trackstar_frames.plots import _layout as layout
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._groups import MOST_ROWS, Groups
from trackstar_frames.plots._judged import AsOf, JudgedOrders

_EARLY, _ON_TIME, _LATE, _OPEN = range(len(style.OUTCOMES))
# In hours; a bar is as wide as needed for at most so many bars.
_WIDTHS = np.array([1, 2, 3, 6, 12, *(style.DAY * days for days in (1, 2, 7, 14, 28, 91))])
_MOST_BARS = 40
_END_LABEL_SHARE = 0.09  # of the axis, kept free of other ticks
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def plot_lateness(
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
    **bar_kws: Any,
) -> Axes:
    """Draw the time from when orders are due to when they are shipped.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or that of `ship_date_compliance`, whose policy is used.
    policy, policy_by, as_of
        As in `ship_date_compliance`. The policies are written under the title, and the grace of
        each is a dashed line.
    by
        A column, or several: instead of the histogram, a row of quartiles for each of up to 20
        groups, those with most orders due.
    labels
        Names to show instead of values of `by`, such as ``{"wh_1": "Newark"}``.
    title
        What to write over the plot instead of its own title.
    note
        Whether to write n, as_of, the policy and how to read the plot under the title.
    ax
        The axes to draw on; a new figure by default. The legend is to their right.
    **bar_kws
        Passed to `Axes.bar`, or `Axes.barh` with `by`.

    Returns
    -------
    matplotlib.axes.Axes
        Bars that count the orders (n) that were due and are on time or late, over their lateness
        in days or hours, coloured by outcome; open orders are late by at least that. Those that
        were closed short have no lateness, and are counted in the caption. With `by`, each row has
        a bar from the first to the third quartile, a line from the 5th to the 95th percentile, and
        a mark at the median, pale where n is below 30. What is far outside is counted, or drawn,
        at the ends of the axis.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance`, if `ax` is not Axes, and for a frame that has been judged by
        another policy or as of another time.

    Warns
    -----
    FilteredOrdersWarning, UserWarning
        As `ship_date_compliance` and `compliance_rate`.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> order = {"id": "a1", "status": "open", "required_ship_date": "2026-03-02T12:00:00Z"}
    >>> ax = plot_lateness(OrderFrames.from_json([order]).orders, as_of="2026-03-09")
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['late, still open (so far) (1)']
    """
    judged = JudgedOrders(orders, by, policy, policy_by, as_of, plot="plot_lateness")
    groups = Groups(judged.frame, by, judged.totals["n"], MOST_ROWS, labels=labels, skip_empty=True)
    hours, outcomes = _read(judged.frame)
    axes = style.get_axes(ax, 2.5 + 0.3 * max(len(groups.names), 2) if groups.columns else 4.5)
    words = []
    if not hours.size:
        axes.set_xticks([])
    elif groups.columns:
        rows = [_read(each)[0] for each in groups.split(judged.frame)]
        edges, outside = _quantile_rows(axes, rows, groups.looks, bar_kws)
        words = [_median_words(hours), *groups.note]
    else:
        edges, outside = _histogram(axes, hours, outcomes, **bar_kws)
        words = [_median_words(hours), *_outside_words(outside, hours)]
    if hours.size:
        _lateness_axis(axes, edges, outside, _graces(judged))
    if groups.columns:
        groups.row_axis(axes)
    else:
        style.count_axis(axes.yaxis)
    if short := int(judged.totals["short"].sum()):
        words.append(f"closed short, without a lateness: {short:,}")
    judged.add_title(axes, "Lateness of orders", groups, words, title=title, note=note)
    return axes


def _graces(judged: JudgedOrders) -> list[pd.Timedelta]:
    """Return the lengths of grace of the policies, without none."""
    policies = judged.policies.of.values() if judged.policies else []
    graces = {pd.Timedelta(policy.grace) for policy in policies}
    return sorted(graces - {pd.Timedelta(0)})


def _read(compliance: pd.DataFrame) -> tuple[Array, Array]:
    """Return the lateness in hours of each order that was due and is on time or late, and how."""
    columns = ["lateness", "is_due"]
    require(compliance, columns, source="ship_date_compliance", name="compliance")
    codes, values = factorize(compliance, "outcome")
    known = {"on_time": _ON_TIME, "late_shipped": _LATE, "late_open": _OPEN}
    # The code of a null, -1, picks the last.
    outcomes = np.array([*(known.get(value, -1) for value in values), -1])[codes]
    some = (outcomes >= 0) & column(compliance, "is_due").to_numpy(dtype=bool)
    hours = column(compliance, "lateness").to_numpy(dtype="m8[us]")[some] / style.HOUR
    outcomes = outcomes[some]
    return hours, np.where((outcomes == _ON_TIME) & (hours <= -style.DAY), _EARLY, outcomes)


def _histogram(axes: Axes, hours: Array, outcomes: Array, **bar_kws: Any) -> tuple[Array, Array]:
    """Draw bars of each outcome; return their edges, and how many orders lie beyond each end."""
    edges = _edges(hours)
    # Bars end with their right edge: an order shipped at the moment it is due is on time.
    bars = np.searchsorted(edges, hours, side="left")
    counts = np.zeros((len(edges) + 1, len(style.OUTCOMES)), dtype=np.int64)
    np.add.at(counts, (bars, outcomes), 1)
    pairs = zip(style.OUTCOMES.items(), counts.T, strict=True)
    layers = [style.Layer(name, look, n, n.sum()) for (name, look), n in pairs if n.any()]
    at = edges / style.axis_unit(edges[-1] - edges[0])[0]
    width = at[1] - at[0]
    centres = np.array([at[0] - width, *(at[:-1] + width / 2), at[-1] + width])
    layout.stacked_bars(axes.yaxis, layers, centres, width, bar_kws, title="outcome")
    return edges, counts[[0, -1]].sum(axis=1)


def _quantile_rows(
    axes: Axes, rows: list[Array], looks: Sequence[style.Look], bar_kws: dict[str, Any]
) -> tuple[Array, Array]:
    """Draw the quantiles of each group, from the top down; return as the histogram does."""
    quantiles = np.array([_quantiles(hours) for hours in rows])
    edges = _edges(quantiles[~np.isnan(quantiles)])
    width, before, after = edges[1] - edges[0], quantiles <= edges[0], quantiles > edges[-1]
    quantiles[before], quantiles[after] = edges[0] - width, edges[-1] + width
    low, first, median, third, high = quantiles.T / style.axis_unit(edges[-1] - edges[0])[0]
    y, back = np.arange(len(rows)), axes.get_facecolor()
    colours = [
        look.colour if len(hours) >= SMALL else style.faded(look.colour, back)
        for look, hours in zip(looks, rows, strict=True)
    ]
    axes.hlines(y, low, high, color=colours, linewidth=1.4)
    kws: dict[str, Any] = {"color": colours, "linewidth": 0, "left": first, **bar_kws}
    axes.barh(y, third - first, 0.6, **kws)
    mark_style: dict[str, Any] = {"color": style.text_colour(), "markerfacecolor": "white"}
    (mark,) = axes.plot(median, y, "o", zorder=3, markersize=5, **mark_style)
    bar = Patch(facecolor=style.MUTED)
    line = Line2D([], [], color=style.MUTED, linewidth=1.4)
    layout.add_legend(
        axes, [mark, bar, line], ["median", "middle half", "5 to 95 %"], "orders", stays=True
    )
    return edges, np.array([before.sum(), after.sum()])


def _quantiles(hours: Array) -> Array:
    return np.quantile(hours, _QUANTILES) if hours.size else np.full(len(_QUANTILES), np.nan)


def _edges(hours: Array) -> Array:
    """Choose the edges of bars that hold most orders, and the moment when they are due."""
    low, high = np.quantile(hours, [0.25, 0.75])
    first = np.quantile(hours, 0.01, method="lower")
    last = np.quantile(hours, 0.99, method="higher")
    most = style.outlier_distance(low, high)
    low, high = min(max(first, low - most), 0), max(min(last, high + most), 0)
    enough = _WIDTHS[(high - low) / _WIDTHS <= _MOST_BARS]
    width = enough[0] if enough.size else np.ceil((high - low) / _MOST_BARS / style.DAY) * style.DAY
    start, stop = np.ceil(low / width) - 1, max(np.ceil(high / width), 1)
    edges: Array = np.arange(start, stop + 1) * width
    return edges


def _lateness_axis(
    axes: Axes, edges: Array, outside: Array, graces: Sequence[pd.Timedelta]
) -> None:
    """Count the x axis from when orders are due, and label what lies outside at its ends."""
    per, unit = style.axis_unit(edges[-1] - edges[0])
    edges = edges / per
    low, high, width = edges[0], edges[-1], edges[1] - edges[0]
    steps = [1, 2, 5, 10] if unit == "days" else [1.2, 2.4, 6, 10]
    most = int(np.clip(style.points_wide(axes) / (40 * style.font_scale()), 2, 8))
    ticks = MaxNLocator(most, integer=True, steps=steps).tick_values(low, high)
    ends = [(low - width, f"< {_number(low)}"), (high + width, f"> {_number(high)}")]
    ends = [end for end, n in zip(ends, outside, strict=True) if n]
    share = max(_END_LABEL_SHARE, 34 * style.font_scale() / style.points_wide(axes))
    margin = share * (high - low)
    kept = [t for t in ticks if low <= t <= high and all(abs(t - at) > margin for at, _ in ends)]
    labels = [(tick, _number(tick) if tick else "due") for tick in kept] + ends
    axes.set_xticks([at for at, _ in labels], [word for _, word in labels])
    margins = width * np.where(outside > 0, 2, 0.5)
    axes.set_xlim(low - margins[0], high + margins[1])
    axes.axvline(0, color=style.text_colour(), linewidth=1)
    for grace in graces:
        end = grace / pd.Timedelta(hours=per)
        axes.axvline(end, color=style.text_colour(), linewidth=1, linestyle="--")
    axes.set_xlabel(f"{unit} from due to shipped, or to as-of if open")


def _number(value: float) -> str:
    return f"{value:,.0f}".replace("-", "\u2212")


def _median_words(hours: Array) -> str:
    median = float(np.median(hours))
    word = "late" if median > 0 else "early"
    return f"half are {word} by {style.duration_words(abs(median))} or more"


def _outside_words(outside: Array, hours: Array) -> list[str]:
    """Return how many orders are at the ends of the axis, and how far out they lie."""
    extremes = (float(hours.min()), float(hours.max()))
    words = [
        f"{n:,} {word} (up to {style.duration_words(abs(extreme))})"
        for n, word, extreme in zip(outside, ("earlier", "later"), extremes, strict=True)
        if n
    ]
    return [f"at the ends: {' and '.join(words)}"] if words else []
