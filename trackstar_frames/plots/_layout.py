"""Titles, captions and legends that fit: into a figure of one plot, and into a grid of plots."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.layout_engine import (
    ConstrainedLayoutEngine,
    LayoutEngine,
    PlaceHolderLayoutEngine,
    TightLayoutEngine,
)
from matplotlib.transforms import Bbox

from trackstar_frames.plots._style import MUTED, font_scale, group_name

_DOT = "\u00a0· "  # the no-break space keeps the dot at the end of a line
_FEWEST_LETTERS = 8
_CAPTION = "caption"
# Of the cell of a grid of plots: at most for the caption, and at least for what is drawn.
_CAPTION_SHARE, _LEAST_WIDTH, _LEAST_HEIGHT = 0.28, 0.42, 0.3
_TITLE_PAD = 8.0  # points
_EDGE = 0.01  # of the figure, kept free


def add_title(
    axes: Axes,
    title: str,
    columns: Sequence[str],
    parts: Sequence[str],
    *,
    given: str | None = None,
    note: bool = True,
    twin: Axes | None = None,
) -> None:
    """Set the title over the axes, and under it, as a caption, what the plot is based on.

    `given` is a title instead of its own; without `note` there is no caption.
    """
    by = f" by {group_name(tuple(columns))}" if columns else ""
    words = title + by if given is None else given.replace("$", r"\$")
    fit = Fit(axes, words, parts if note else [], twin)
    axes.set_axes_locator(fit)
    if twin is not None:
        twin.set_axes_locator(_Follower(axes, fit))


def drop_from_caption(axes: Axes, known: Sequence[str]) -> None:
    """Leave out of a caption what the page says already, but never n."""
    fit = axes.get_axes_locator()
    if isinstance(fit, Fit):
        fit.keep([part for part in fit.parts if part.startswith("n =") or part not in known])


class Fit:
    """Fits title, caption and legend to the place of axes whenever they are drawn.

    Where a layout engine places the axes, their width decides where lines are broken. Where none
    does, as after a plain `plt.subplots`, the axes become smaller until all that belongs to them
    is in their cell of the grid: a legend that leaves no room for that is moved inside, and a
    caption is cut. `parts` are those of the caption, the most important first.
    """

    def __init__(
        self, axes: Axes, title: str, parts: Sequence[str], twin: Axes | None = None
    ) -> None:
        self.parts = list(parts)
        self._title, self._twin, self._is_busy = title, twin, False
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
        look: dict[str, Any] = {"va": "bottom", "fontsize": "small", "color": MUTED}
        words = _DOT.join(self.parts)
        self._caption = axes.annotate(words, (0, 1), (0, 4), gid=_CAPTION, **place, **look)
        self._caption.set_in_layout(False)
        axes.set_title(title, loc="left")

    def keep(self, parts: Sequence[str]) -> None:
        """Write these parts of the caption only."""
        self.parts = list(parts)
        self._caption.set_text(_DOT.join(self.parts))

    def __call__(self, axes: Axes, renderer: Any) -> Bbox:
        """Fit all to the axes; return where these are to be drawn, as matplotlib asks for."""
        box = axes.get_position(original=True)
        if self._is_busy:
            return box
        figure: Any = axes.figure
        if renderer is None:
            renderer = figure.canvas.get_renderer()
        self._is_busy = True
        try:
            if _places_axes(figure.get_layout_engine()):
                others = [each for each in figure.axes if each not in (axes, self._twin)]
                right = box.x1 if others else 1 - _EDGE
                self._wrap(axes, renderer, right - box.x0)
                return box
            cell = _cell(axes)
            return box if cell is None else self._into(cell, axes, renderer)
        finally:
            self._is_busy = False

    def _into(self, cell: Bbox, axes: Axes, renderer: Any) -> Bbox:
        """Return the axes' box, made so small that they are in a cell with all that is theirs."""
        box = axes.get_position(original=True)
        self._wrap(axes, renderer, cell.x1 - box.x0, height=cell.height)
        tight = self._extent(axes, renderer)
        legend = axes.get_legend()
        over = (box.x0 - tight.x0) + (tight.x1 - box.x1)
        if legend and legend.get_in_layout() and over > (1 - _LEAST_WIDTH) * cell.width:
            legend_within(axes)
            tight = self._extent(axes, renderer)
        left = max(box.x0, cell.x0 + box.x0 - tight.x0)
        self._wrap(axes, renderer, cell.x1 - left, height=cell.height)
        tight = self._extent(axes, renderer)
        right = min(box.x1, cell.x1 - (tight.x1 - box.x1))
        low = max(box.y0, cell.y0 + box.y0 - tight.y0)
        high = min(box.y1, cell.y1 - (tight.y1 - box.y1))
        right = max(right, left + 0.3 * cell.width)
        high = max(high, low + _LEAST_HEIGHT * cell.height)
        return Bbox.from_extents(left, low, right, high)

    def _extent(self, axes: Axes, renderer: Any) -> Bbox:
        """Return the box of all that belongs to the axes, in the figure's fractions."""
        figure: Any = axes.figure
        every = [each for each in (axes, self._twin) if each is not None]
        boxes = [
            each.get_tightbbox(renderer, call_axes_locator=False, for_layout_only=True)
            for each in every
        ]
        whole = Bbox.union([each for each in boxes if each is not None])
        box: Bbox = whole.transformed(figure.transSubfigure.inverted())
        return box

    def _wrap(
        self, axes: Axes, renderer: Any, width: float, *, height: float | None = None
    ) -> None:
        """Break title and caption into lines; cut the caption that takes too much of a height."""
        figure: Any = axes.figure
        pixels = max(width - _EDGE / 2, 0) * figure.bbox.width
        lines = _wrapped(self._caption, _DOT.join(self.parts), pixels, renderer)
        line = 1.36 * self._caption.get_fontsize()  # points
        points = (height or 1) * figure.bbox.height / figure.dpi * 72
        most = max(int(_CAPTION_SHARE * (1 if height else 1.6) * points / line), 1)
        if len(lines) > most:
            lines = [*lines[: most - 1], lines[most - 1].rstrip(" ·\u00a0") + "…"]
            self._caption.set_text("\n".join(lines))
        title = axes.set_title(self._title, loc="left", pad=_TITLE_PAD + line * len(lines))
        _wrapped(title, self._title, pixels, renderer)


class _Follower:
    """The place of axes that share that of others."""

    def __init__(self, axes: Axes, fit: Fit) -> None:
        self._axes, self._fit = axes, fit

    def __call__(self, _: Axes, renderer: Any) -> Bbox:
        return self._fit(self._axes, renderer)


def _wrapped(text: Any, words: str, width: float, renderer: Any) -> list[str]:
    """Break words into lines no wider than so many pixels, and write them; return the lines."""
    text.set_text(words)
    whole = text.get_window_extent(renderer).width if words else 0.0
    if whole <= width:
        return [words] if words else []
    letters = max(int(len(words) * width / whole * 1.03), _FEWEST_LETTERS)
    while True:
        lines = textwrap.wrap(words, letters, break_long_words=False, break_on_hyphens=False)
        text.set_text("\n".join(lines))
        if letters == _FEWEST_LETTERS or text.get_window_extent(renderer).width <= width:
            return lines
        letters = max(min(int(letters * 0.96), letters - 1), _FEWEST_LETTERS)


def _places_axes(engine: LayoutEngine | None) -> bool:
    """Return whether a layout engine has made room for all that belongs to axes."""
    # When a figure is saved, an engine that has done its work is replaced by one that does none,
    # as it is after tight_layout(), which does not know how captions are broken into lines.
    if isinstance(engine, PlaceHolderLayoutEngine):
        return not engine.colorbar_gridspec
    return isinstance(engine, ConstrainedLayoutEngine | TightLayoutEngine)


def _cell(axes: Axes) -> Bbox | None:
    """Return the axes' cell of a grid, with half of the gaps; None if they are in none."""
    spec = axes.get_subplotspec()
    if spec is None:
        return None
    figure: Any = axes.figure
    grid = spec.get_gridspec()
    bottoms, tops, lefts, rights = grid.get_grid_positions(figure)
    rows, columns = spec.rowspan, spec.colspan
    first, last = columns.start, columns.stop - 1
    left = (rights[first - 1] + lefts[first]) / 2 if first else 0.0
    right = (rights[last] + lefts[last + 1]) / 2 if last + 1 < len(lefts) else 1.0
    upper, lower = rows.start, rows.stop - 1
    top = (bottoms[upper - 1] + tops[upper]) / 2 if upper else 1.0
    bottom = (bottoms[lower] + tops[lower + 1]) / 2 if lower + 1 < len(tops) else 0.0
    return Bbox.from_extents(left + _EDGE, bottom + _EDGE, right - _EDGE, top - _EDGE)


def add_legend(
    axes: Axes, handles: Sequence[Any], labels: Sequence[str], title: str, *, left: float = 1.01
) -> None:
    """Explain the colours to the right of the axes, which are 1 wide."""
    if handles and labels:
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (left, 1)}
        look: dict[str, Any] = {"frameon": False, "fontsize": "small", "alignment": "left"}
        look |= {"title_fontsize": "small", "borderaxespad": 0.2}
        axes.legend(handles, labels, title=title, **place, **look)


def legend_within(axes: Axes) -> None:
    """Move a legend from beside the axes into their upper right corner."""
    legend: Any = axes.get_legend()
    legend.set_loc("upper right")
    legend.set_bbox_to_anchor(None)
    legend.set_in_layout(False)
    legend.set_frame_on(True)
    legend.get_frame().set(alpha=0.8, edgecolor="none")
    for text in (legend.get_title(), *legend.get_texts()):
        text.set_fontsize("xx-small")


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
