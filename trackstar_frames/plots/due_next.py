"""The open orders by when they are due, as stacked bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from trackstar_frames.measures._checks import require
from trackstar_frames.measures._policies import PolicyLike
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.due_next import DUE_BUCKETS, due_next
from trackstar_frames.plots import _layout as layout
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._groups import MOST_LINES, Groups
from trackstar_frames.plots._judged import AsOf

_OVERDUE = sum(name.endswith("overdue") for name in DUE_BUCKETS)
_GAP = 0.6  # between what is overdue and what is not, in bars
_RIGHT_HALF = 0.75  # of the width, as the line at as_of is near the middle
_FIGURES = ("n", "units_left", "units_unknown")
_NAMES = {"unknown": "no due\ntime", "later": "later"}


def plot_due_next(
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
    """Draw the number of open orders by how long they have until they are due, and status.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or that of `ship_date_compliance`, whose policy is used.
    policy, policy_by, as_of
        As in `due_next`. The policies are written under the title.
    by
        A column, or several: stack the bars by these groups instead of by status: the six with
        most open orders, and all others together.
    labels
        Names to show instead of values of `by`, such as ``{"wh_1": "Newark"}``.
    title
        What to write over the plot instead of its own title.
    note
        Whether to write n, as_of, the units left and the policy under the title.
    ax
        The axes to draw on; a new figure by default. The legend is to their right.
    **bar_kws
        Passed to `Axes.bar`.

    Returns
    -------
    matplotlib.axes.Axes
        A bar for each of the times of `due_next`, with its n: overdue orders on a grey ground to
        the left of as_of, those that are due next to its right. A group keeps its colour in all
        pictures of a frame.

    Raises
    ------
    TypeError, ValueError
        As `due_next`, and if `ax` is not Axes.

    Warns
    -----
    FilteredOrdersWarning, UserWarning
        As `due_next`.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> days = {"a1": "2026-03-02T08:00:00Z", "b2": "2026-03-03T14:00:00Z"}
    >>> orders = [{"id": id_, "status": "open", "created_date": "2026-03-01T00:00:00Z",
    ...            "required_ship_date": day, "line_items": [{"sku": "A", "quantity": 1}]}
    ...           for id_, day in days.items()]
    >>> ax = plot_due_next(OrderFrames.from_json(orders).orders, as_of="2026-03-03T12:00")
    >>> [int(bar.get_height()) for bar in ax.containers[0]]
    [1, 1]
    """
    require(orders, [], source="fetch_orders_df")
    table = due_next(orders, by=by, policy=policy, policy_by=policy_by, as_of=as_of)
    n = table["n"].to_numpy().reshape(-1, len(DUE_BUCKETS))
    index = table.index[:: len(DUE_BUCKETS)]
    index = index.droplevel("due") if isinstance(index, pd.MultiIndex) else index
    sizes = pd.Series(n.sum(axis=1), index=index)
    groups = Groups(orders, by, sizes, MOST_LINES, labels=labels, skip_empty=True)
    counts = n.sum(axis=0)
    # Orders without a due time have a bar only if there are any.
    shown = len(DUE_BUCKETS) if counts[-1] else len(DUE_BUCKETS) - 1
    at = np.arange(shown) + np.where(np.arange(shown) >= _OVERDUE, _GAP, 0)
    if groups.columns:
        layers = groups.layers(n[:, :shown])
    else:
        statuses = table.drop(columns=list(_FIGURES))
        layers = style.status_layers(statuses.iloc[:shown], statuses.sum())
    axes = style.get_axes(ax, 4.5, width=9)
    of = groups.title or "status"
    layout.stacked_bars(axes.yaxis, layers, at, 0.86, bar_kws, title=of)
    _axis(axes, at, counts[:shown])
    words = _note(table)
    layout.add_title(axes, "Due next", groups.columns, words, given=title, note=note)
    if not counts.any():
        why = "no open orders" if len(orders) else "no orders"
        style.write_in_middle(axes, why, x=_RIGHT_HALF)
    return axes


def _axis(axes: Axes, at: Array, counts: Array) -> None:
    names = [_NAMES.get(name, name.replace(" overdue", "")) for name in DUE_BUCKETS[: len(at)]]
    # Over the highest bar there is room for its n, and for two words.
    top = max(counts.max(), 1) * style.head_room(axes, lines=3)
    axes.set_xticks(at, names, fontsize="small")
    axes.set_xlim(-0.7, at[-1] + 0.7)
    axes.set_ylim(0, top)
    axes.set_xlabel("overdue by, and due in")
    style.count_axis(axes.yaxis, label="open orders (n)")
    axes.grid(visible=False, axis="x")
    now = _OVERDUE - 0.5 + _GAP / 2
    axes.axvspan(-0.7, now, color=style.MUTED, alpha=0.13, linewidth=0, zorder=0)
    axes.axvline(now, color=style.text_colour(), linewidth=1)
    kws: dict[str, Any] = {"va": "top", "fontsize": "small", "textcoords": "offset points"}
    kws["xycoords"] = ("data", "axes fraction")
    for x, word, side in ((-5, "overdue", "right"), (5, "due next", "left")):
        axes.annotate(word, (now, 1), (x, -4), ha=side, **kws)
    look: dict[str, Any] = {"ha": "center", "fontsize": "small", "color": style.MUTED}
    for place, n in zip(at, counts, strict=True):
        axes.annotate(f"{n:,}", (place, n), (0, 2), textcoords="offset points", **look)


def _note(table: pd.DataFrame) -> list[str]:
    info = table.attrs["trackstar"]["compliance"]
    sums = table[list(_FIGURES)].sum()
    overdue = table["n"].to_numpy().reshape(-1, len(DUE_BUCKETS))[:, :_OVERDUE].sum()
    unknown = f" (unknown of {sums['units_unknown']:,} orders)" if sums["units_unknown"] else ""
    return [
        f"n = {sums['n']:,} open orders, {overdue:,} of them overdue",
        f"as of {style.moment_words(info['as_of'])}",
        f"{sums['units_left']:,} units left{unknown}",
        "what left in the hour before may still be here",
        style.printable(info["text"], len(info["text"])),
    ]
