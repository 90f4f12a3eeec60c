"""The moves of orders from status to status, as a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import pandas as pd
from matplotlib import colormaps, rcParams
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from trackstar_frames.measures._checks import require
from trackstar_frames.measures.status_mix import NO_STATUS
from trackstar_frames.measures.transitions import TRANSITIONS
from trackstar_frames.plots import _layout as layout
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._groups import refuse_by
from trackstar_frames.schema import LIFECYCLE

# Colour shows the shares; shapes differ in print and for every kind of colour vision.
_MARKERS = dict(zip(TRANSITIONS, (">", "<", "s", "o", "v", "^", "d", "+", "x"), strict=True))
_SHARES = colormaps["Blues"]
_EMPTY, _NO_SHARE = "0.97", "0.88"
_DARK = 0.715  # from this share on, white text is read better than black
_GAP = 0.25  # between the matrix and its margins, in cells
_MOST_LETTERS = 20


def plot_status_transitions(
    transitions: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    title: str | None = None,
    note: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw the moves of orders from status to status between two snapshots, as a matrix.

    Parameters
    ----------
    transitions
        The frame of `status_transitions`, or rows of it.
    by
        Must be None: the frame has no groups. Pass the transitions of one group's orders.
    title
        What to write over the plot instead of its own title.
    note
        Whether to write n, both moments and how to read the plot under the title.
    ax
        The axes to draw on; a new figure by default. The legend is to their right.

    Returns
    -------
    matplotlib.axes.Axes
        A cell for each pair of statuses, in lifecycle order: rows are the earlier statuses,
        columns the later ones. It has the number of orders, their share of the row, which is also
        its colour, and a mark for the meaning of the move. New orders are below the matrix,
        vanished ones to its right.

    Raises
    ------
    TypeError, ValueError
        If `transitions` is not such a frame, `by` is given, or `ax` is not Axes.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames, status_transitions
    >>> was = OrderFrames.from_json([{"id": "a1", "status": "open"}, {"id": "b2"}])
    >>> now = OrderFrames.from_json([{"id": "a1", "status": "packed"}, {"id": "c3"}])
    >>> ax = plot_status_transitions(status_transitions(was, now))
    >>> [tick.get_text() for tick in ax.get_xticklabels()]
    ['open', 'packed', '(none)', 'vanished']
    """
    instead = "draw status_transitions of each group's orders, old and new, on its own ax"
    refuse_by(by, "plot_status_transitions", instead)
    columns = ["from_status", "to_status", "kind", "orders", "share"]
    require(transitions, columns, source="status_transitions", name="transitions")
    statuses = _statuses(transitions)
    n = len(statuses)
    axes = style.get_axes(ax, 3.0 + 0.42 * max(n, 2), width=max(8, 3.6 + 0.62 * n))
    if n:
        _draw_matrix(axes, transitions, statuses)
    else:
        axes.set(xticks=[], yticks=[])
        style.write_in_middle(axes, "no orders")
    info = transitions.attrs.get("trackstar", {})
    old, new = (style.moment_words(info.get(f"{side}_as_of")) for side in ("old", "new"))
    axes.set_xlabel(f"to ({new})")
    axes.set_ylabel(f"from ({old})")
    orders = transitions["orders"]
    before, after = (orders[transitions[side].notna()].sum() for side in columns[:2])
    words = [
        f"n = {orders.sum():,} orders, {before:,} before and {after:,} after",
        f"from {old} to {new}",
        "colour and %: share of the row",
        "states passed in between are not seen",
    ]
    layout.add_title(axes, "Status transitions", [], words, given=title, note=note)
    return axes


def _statuses(transitions: pd.DataFrame) -> list[str]:
    """Return the statuses in use, in lifecycle order."""
    sides = pd.concat([transitions[name].astype(object) for name in ("from_status", "to_status")])
    found = set(sides.dropna())
    ranked = [*LIFECYCLE, *sorted(found - {*LIFECYCLE, NO_STATUS}), NO_STATUS]
    return [status for status in ranked if status in found]


def _draw_matrix(axes: Axes, transitions: pd.DataFrame, statuses: list[str]) -> None:
    positions = {status: float(position) for position, status in enumerate(statuses)}
    margin = len(statuses) + _GAP
    lines = [*positions.values(), margin]
    for x, y in product(lines, lines):
        _draw_box(axes, x, y, _EMPTY)
    # Seven letters fit into a cell.
    points = axes.get_window_extent().width / axes.figure.dpi * 72
    size = float(min(max(points / len(lines) / 5, 4), 8.5))
    rows: Any = transitions.itertuples()
    for row in rows:
        x, y = positions.get(row.to_status, margin), positions.get(row.from_status, margin)
        _draw_cell(axes, x, y, row, size)
    _label(axes, transitions, statuses, lines)
    _legend(axes, transitions)


def _draw_cell(axes: Axes, x: float, y: float, row: Any, size: float) -> None:
    """Draw one pair of statuses."""
    known = not pd.isna(row.share)
    _draw_box(axes, x, y, _SHARES(row.share) if known else _NO_SHARE)
    colour = "white" if known and row.share > _DARK else "black"
    words = f"{row.orders:,}" + (f"\n{style.share_words(row.share, 0, '%')}" if known else "")
    axes.text(x, y + 0.1, words, ha="center", va="center", color=colour, fontsize=size)
    axes.plot(x - 0.39, y - 0.34, _MARKERS[row.kind], color=colour, markersize=size * 0.55)


def _draw_box(axes: Axes, x: float, y: float, colour: Any) -> None:
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white"))


def _label(axes: Axes, transitions: pd.DataFrame, statuses: list[str], lines: list[float]) -> None:
    """Label rows and columns, the rows with their n."""
    names = [style.printable(status, _MOST_LETTERS) for status in statuses]
    sources, orders = transitions["from_status"], transitions["orders"]
    n = [orders[sources == status].sum() for status in statuses]
    counts = [*n, orders[sources.isna()].sum()]
    rows = [f"{name} (n = {count:,})" for name, count in zip([*names, "new"], counts, strict=True)]
    axes.set_yticks(lines, rows)
    axes.set_xticks(lines, [*names, "vanished"], rotation=35, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.55, lines[-1] + 0.55)
    axes.set_ylim(lines[-1] + 0.55, -0.55)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _legend(axes: Axes, transitions: pd.DataFrame) -> None:
    n = {kind: transitions.loc[transitions["kind"] == kind, "orders"].sum() for kind in TRANSITIONS}
    drawn = [kind for kind in TRANSITIONS if n[kind]]
    look: dict[str, Any] = {"color": rcParams["text.color"], "linestyle": "none"}
    marks = [Line2D([], [], marker=_MARKERS[kind], **look) for kind in drawn]
    layout.add_legend(axes, marks, [f"{kind} ({n[kind]:,})" for kind in drawn], "move")
