"""What is shipped and received over time, as lines, or by hour or weekday, as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from trackstar_frames.measures import _checks, _grouping
from trackstar_frames.measures._policies import PolicyLike, judgement_of
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.throughput import throughput
from trackstar_frames.plots import _layout as layout
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._groups import MOST_LINES, MOST_PANELS, Groups
from trackstar_frames.plots._judged import AsOf, day_number, zone_name
from trackstar_frames.plots._panels import LETTERS, Panels

_PROFILES = ("hour", "weekday")
_SHIPPED, _RECEIVED = style.GROUPS[0], style.GROUPS[1]
_FLOWS = {"orders": _SHIPPED, "received": _RECEIVED}
_NAMES = {"orders": "shipped", "received": "received"}
_MOST_MARKERS = 60
_TICK_DAYS = 2e-6 / 86400  # a bare day as as_of is its last microsecond


def plot_throughput(
    frames: Any,
    *,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: AsOf = None,
    by: str | Sequence[str] | None = None,
    freq: str = "D",
    labels: Mapping[Any, str] | None = None,
    title: str | None = None,
    note: bool = True,
    ax: Axes | None = None,
    **line_kws: Any,
) -> Axes:
    """Draw how many orders are shipped, received and open, over time or by hour or weekday.

    Parameters
    ----------
    frames
        As in `throughput`: the `OrderFrames` of `fetch_orders` or `read_snapshot`.
    policy, policy_by, as_of
        As in `throughput`: by their zones days are local, and their ship event says when an order
        has shipped. The policies are written under the title.
    by
        A column of ``orders``, or several: a line of the orders shipped for each of up to six
        groups, those that shipped most. Of more groups, each of the 20 with most gets a small plot
        of its own, or, on a given `ax`, the six with most have a line. Not with a profile.
    freq
        As in `throughput`: ``D``, ``W``, ``MS`` and so on are lines over time; ``"hour"`` and
        ``"weekday"`` are bars of the mean over all days.
    labels
        Names to show instead of values of `by`, such as ``{"wh_1": "Newark"}``.
    title
        What to write over the plot instead of its own title.
    note
        Whether to write n, as_of and the policy under the title.
    ax
        The axes to draw on; a new figure by default. The legend is to their right.
    **line_kws
        Passed to `Axes.plot`, or to `Axes.bar` for a profile.

    Returns
    -------
    matplotlib.axes.Axes
        Lines of the orders shipped and received in each period, before a grey area, on a scale of
        its own, of those open at its end. The last period is not over at as_of: its points are
        hollow, and not joined to the others. A group keeps its colour in all pictures of a frame.

    Raises
    ------
    TypeError, ValueError
        As `throughput`, for `by` with a profile, and if `ax` is not Axes.

    Warns
    -----
    FilteredOrdersWarning, UserWarning
        As `throughput`.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> days = {"a": "2026-03-02T08:00:00Z", "b": "2026-03-03T08:00:00Z"}
    >>> orders = [{"id": id_, "created_date": day} for id_, day in days.items()]
    >>> ax = plot_throughput(OrderFrames.from_json(orders), as_of="2026-03-04 12:00")
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['shipped (0)', 'received (2)', 'open at the end (2)']
    """
    if freq in _PROFILES and by is not None:
        raise ValueError(f"by and freq={freq!r} are drawn one at a time; draw each group's frames")
    orders: Any = getattr(frames, "orders", None)
    given: dict[str, Any] = {"policy": policy, "policy_by": policy_by, "as_of": as_of}
    table = throughput(frames, by=by, freq=freq, **given)
    info = table.attrs["trackstar"]["compliance"]
    behind = None
    if freq in _PROFILES:
        axes, groups = style.get_axes(ax, 4.5), Groups(orders, None, pd.Series([0]), 1)
        _draw_profile(axes, table, freq, line_kws)
        words = [f"mean of {int(table['days'].max()):,} days" if len(table) else "no days"]
    else:
        picture = _Lines(table, orders, by, freq, labels)
        axes, behind, words = picture.draw(ax, line_kws)
        groups = picture.groups
    sums = table[list(_FLOWS)].sum()
    undated = table.attrs["trackstar"]["throughput"]["undated"]
    words = [
        f"n = {sums['orders']:,} orders shipped, {sums['received']:,} received",
        f"as of {style.moment_words(info['as_of'])}",
        *words,
        *groups.note,
        *([f"without a created date: {undated:,}"] if undated else []),
        style.printable(info["text"], len(info["text"])),
    ]
    layout.add_title(
        axes, "Throughput", groups.columns, words, given=title, note=note, behind=behind
    )
    if not sums.any():
        style.write_in_middle(axes, "no orders")
    return axes


class _Lines:
    """What is shipped and received over time."""

    def __init__(
        self, table: pd.DataFrame, orders: pd.DataFrame, by: Any, freq: str, labels: Any
    ) -> None:
        self._table, self._freq, self._orders = table, freq, orders
        self._labels, self._by = labels, by
        info = table.attrs["trackstar"]["compliance"]
        judgement = judgement_of(table)
        self._zone = judgement.policies.zone if judgement else "UTC"
        self._zone_name = zone_name(judgement.policies if judgement else None)
        self._periods = table.index.get_level_values("period").unique()
        until = day_number(info["as_of"], self._zone)
        self._starts, whole = style.period_bounds(self._periods, freq)
        self._ends = np.clip(whole, None, np.maximum(until, self._starts))
        self._is_over = whole <= until + _TICK_DAYS
        self.groups = self._grouped(MOST_LINES)

    def _grouped(self, most: int) -> Groups:
        names = _checks.by_columns(self._orders, self._by)
        width = max(len(self._periods), 1)
        shipped = self._table["orders"].to_numpy()
        sizes = shipped.reshape(-1, width).sum(axis=1) if len(self._table) else np.zeros(0, int)
        index: Any = self._table.index[::width]
        index = index.droplevel("period") if names else index
        return Groups(
            self._orders, self._by, pd.Series(sizes, index=index), most, labels=self._labels
        )

    def draw(
        self, ax: Axes | None, line_kws: dict[str, Any]
    ) -> tuple[Axes, Axes | None, list[str]]:
        """Draw the lines; return the axes, those behind, and what to say of them."""
        more = [] if self._is_over.all() else ["hollow, not joined: not over"]
        label = f"by {style.freq_words(self._freq)} ({self._zone_name})"
        if not self.groups.columns:
            axes, behind = self._draw_flows(style.get_axes(ax, 4.5), line_kws)
            style.date_axis(axes, self._starts, self._ends, label)
            return axes, behind, more
        if ax is None and self.groups.count > MOST_LINES:
            self.groups = self._grouped(MOST_PANELS)
            panels, names = Panels(len(self.groups.names)), self.groups.short_names(LETTERS)
            top = max(self._values(position).max() for position in self.groups.positions)
            for index, position in enumerate(self.groups.positions):
                axes = panels.add(names[index], self.groups.sizes[index])
                kws = {"markersize": 2.5, **line_kws}
                self._draw_line(axes, self._values(position), self.groups.looks[index], kws)
                style.date_axis(axes, self._starts, self._ends, "", most=4)
                style.count_axis(axes.yaxis)
                axes.set_ylim(0, max(top, 1) * 1.1)
            panels.finish(label, "orders shipped (n)")
            return panels.axes, None, more
        axes = style.get_axes(ax, 4.5)
        lines = [
            self._draw_line(axes, self._values(position), look, line_kws)
            for position, look in zip(self.groups.positions, self.groups.looks, strict=True)
        ]
        axes.set_ylim(bottom=0)
        layout.add_legend(axes, lines, self.groups.labels, self.groups.title)
        style.count_axis(axes.yaxis, label="orders shipped (n)")
        style.date_axis(axes, self._starts, self._ends, label)
        return axes, None, more

    def _values(self, position: int) -> Array:
        width = len(self._periods)
        values: Array = self._table["orders"].to_numpy()[position * width : (position + 1) * width]
        return values

    def _draw_flows(self, axes: Axes, line_kws: dict[str, Any]) -> tuple[Axes, Axes]:
        """Draw what is shipped and received, before what is open."""
        behind = axes.twinx()
        behind.grid(visible=False)
        edges, open_ = np.append(self._starts, self._ends[-1:]), self._table["open"].to_numpy()
        area = behind.stairs(open_, edges, fill=True, **style.GREY_BARS) if len(open_) else None
        behind.set_ylim(0, max(open_.max(initial=0), 1) * 2.2)
        behind.tick_params(colors=style.MUTED, labelsize="small")
        style.count_axis(behind.yaxis, label="open (n)")
        behind.yaxis.label.set(color=style.MUTED, fontsize="small")
        axes.set_zorder(behind.get_zorder() + 1)
        axes.patch.set_visible(False)
        lines: list[Any] = [
            self._draw_line(axes, self._table[name].to_numpy(), look, line_kws)
            for name, look in _FLOWS.items()
        ]
        names = [f"{_NAMES[name]} ({self._table[name].sum():,})" for name in _FLOWS]
        if area is not None:
            lines.append(area)
            names.append(f"open at the end ({open_[-1]:,})")
        axes.set_ylim(bottom=0)
        layout.add_legend(axes, lines, names, "orders", second_scale=True)
        style.count_axis(axes.yaxis, label="orders (n)")
        return axes, behind

    def _draw_line(
        self, axes: Axes, values: Array, look: style.Look, line_kws: dict[str, Any]
    ) -> Line2D:
        kws: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linewidth": 1.5}
        kws |= {"linestyle": look.stroke, "markersize": 4 if len(values) <= _MOST_MARKERS else 0}
        kws |= line_kws
        at = (self._starts + self._ends) / 2
        axes.plot(at, np.where(self._is_over, values, np.nan), **kws)
        hollow = {**kws, "linestyle": "none", "markerfacecolor": axes.get_facecolor()}
        hollow["markersize"] = max(kws["markersize"], 3)
        axes.plot(at[~self._is_over], values[~self._is_over], **hollow)
        return Line2D([], [], **kws)


def _draw_profile(axes: Axes, table: pd.DataFrame, freq: str, bar_kws: dict[str, Any]) -> None:
    """Draw bars of the mean over all days."""
    days = table["days"].to_numpy()
    at = np.arange(len(table))
    bars = []
    for index, (name, look) in enumerate(_FLOWS.items()):
        mean = _grouping.ratio(table[name], days)
        place = at + (index - 0.5) * 0.42
        bars.append(axes.bar(place, np.nan_to_num(mean), 0.4, **{**look.bar_style(), **bar_kws})[0])
    axes.set_xticks(at, [str(each) for each in table.index])
    axes.set_xlabel("hour of the day" if freq == "hour" else "day of the week")
    axes.yaxis.set_label_text("orders (mean per day)")
    axes.set_axisbelow(True)
    layout.add_legend(axes, bars, [_NAMES[name] for name in _FLOWS], "orders")
