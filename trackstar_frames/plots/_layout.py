"""Titles, captions and legends that fit: into a figure of one plot, and into a grid of plots."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import numpy as np
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine, LayoutEngine, PlaceHolderLayoutEngine
from matplotlib.ticker import FixedLocator
from matplotlib.transforms import Bbox, offset_copy

from trackstar_frames.measures._time import Array
from trackstar_frames.plots._style import MUTED, OWN_FIGURE, Layer, font_scale, group_name

#: What is done to axes when their width and height are known, in points.
Resize = Callable[[Axes, float, float], None]

_DOT = "\u00a0· "  # the no-break space keeps the dot at the end of a line
_FEWEST_LETTERS = 8
_CAPTION = "caption"
# Of the cell of a grid of plots: at most for the caption, and at least for what is drawn.
_CAPTION_SHARE, _LEAST_WIDTH, _LEAST_HEIGHT = 0.28, 0.42, 0.35
_WIDE_LABELS = 0.22  # of the width: title and caption begin over them
_SMALL_CELL = 320  # points, at matplotlib's default size of text
_MANY, _SHORT = 4, 18  # entries of a legend, and letters, from which it has two columns
_UNDER_TICKS = 0.6  # lines of text
_SECOND_SCALE = 46.0  # points, at matplotlib's default size of text
_LEAST_GAP = 2.0  # pixels, between the names of ticks
# Of a caption, in points at matplotlib's default size of text; and how many lines a figure has
# room for without becoming higher.
_LETTER, _LINE, _LINES_INCLUDED = 4.5, 11.3, 3
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
    behind: Axes | None = None,
    resize: Resize | None = None,
) -> None:
    """Set the title over the axes, and under it, as a caption, what the plot is based on.

    `given` is a title instead of its own; without `note` there is no caption. What `resize` does
    is done whenever the size of the axes is known.
    """
    by = f" by {group_name(tuple(columns))}" if columns else ""
    words = title + by if given is None else given.replace("$", r"\$")
    fit = Fit(axes, words, parts if note else [], behind, resize)
    place: Any = fit
    axes.set_axes_locator(place)
    if behind is not None:
        place = _Follower(fit)
        behind.set_axes_locator(place)
    fit.make_room()


def drop_from_caption(axes: Axes, known: Sequence[str]) -> None:
    """Leave out of a caption what the page says already, but never n."""
    fit: Any = axes.get_axes_locator()
    if isinstance(fit, Fit):
        fit.keep([part for part in fit.parts if part.startswith("n =") or part not in known])


class Fit:
    """Fits title, caption, legend and labels to the place of axes whenever they are drawn.

    Where a layout engine places the axes, their width decides where lines are broken. Where none
    does, as after a plain `plt.subplots`, the axes become smaller until all that belongs to them
    is in their cell of the grid: a legend that leaves no room for that is moved inside, and a
    caption is cut. `parts` are those of the caption, the most important first.
    """

    def __init__(
        self,
        axes: Axes,
        title: str,
        parts: Sequence[str],
        behind: Axes | None = None,
        resize: Resize | None = None,
    ) -> None:
        self.parts = list(parts)
        self._axes, self._title, self._behind, self._resize = axes, title, behind, resize
        self._is_busy = self._is_turned = self._is_small = False
        self._shifted = 0.0
        self._label_words = {"x": axes.get_xlabel(), "y": axes.get_ylabel()}
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
        look: dict[str, Any] = {"va": "bottom", "fontsize": "small", "color": MUTED}
        words = _DOT.join(self.parts)
        self._caption: Any = axes.annotate(words, (0, 1), (0, 4), gid=_CAPTION, **place, **look)
        self._caption.set_in_layout(False)
        self._title_text: Any = axes.set_title(title, loc="left")

    def keep(self, parts: Sequence[str]) -> None:
        """Write these parts of the caption only."""
        self.parts = list(parts)
        self._caption.set_text(_DOT.join(self.parts))

    def make_room(self) -> None:
        """Make a figure of ours higher, if its caption has many lines."""
        figure: Any = self._axes.figure
        if figure.get_gid() != OWN_FIGURE:
            return
        width, height = figure.get_size_inches()
        letters = 0.86 * width * 72 / (_LETTER * font_scale())
        more = len(_DOT.join(self.parts)) / letters - _LINES_INCLUDED
        if more > 0:
            figure.set_size_inches(width, height + more * _LINE * font_scale() / 72)

    def get_subplotspec(self) -> Any:
        """Return the place of the axes in a grid, which `tight_layout` asks for."""
        return self._axes.get_subplotspec()

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
                others = [each for each in figure.axes if each not in (axes, self._behind)]
                right = box.x1 if others else 1 - _EDGE
                shift = self._shift(renderer, 1.0 if not others else box.width)
                self._wrap(renderer, right - box.x0, shift)
            elif (cell := _cell(axes)) is not None:
                box = self._into(cell, renderer)
                if self._turn_ticks(renderer, box.width * figure.bbox.width):
                    box = self._into(cell, renderer)
            else:
                self._wrap(renderer, 1 - box.x0, 0)
            self._title_text.set_x(-self._shifted / box.width)
            self._turn_ticks(renderer, box.width * figure.bbox.width)
            if self._resize is not None:
                scale = 72 / figure.dpi
                self._resize(
                    axes,
                    box.width * figure.bbox.width * scale,
                    box.height * figure.bbox.height * scale,
                )
            return box
        finally:
            self._is_busy = False

    def _into(self, cell: Bbox, renderer: Any) -> Bbox:
        """Return the axes' box, made so small that they are in a cell with all that is theirs."""
        box = self._axes.get_position(original=True)
        self._make_small(cell)
        self._title_text.set_x(0)  # for its place is measured, too
        self._wrap_labels(renderer, cell)
        self._shrink_legend(renderer, cell)
        left = max(box.x0, cell.x0 + box.x0 - self._extent(renderer).x0)
        most = _CAPTION_SHARE
        while True:
            shift = self._shift(renderer, cell.width)
            self._wrap(renderer, cell.x1 - left, shift, height=cell.height, most=most)
            tight = self._extent(renderer)
            right = min(box.x1, cell.x1 - (tight.x1 - box.x1))
            low = max(box.y0, cell.y0 + box.y0 - tight.y0)
            high = min(box.y1, cell.y1 - (tight.y1 - box.y1))
            if high - low >= _LEAST_HEIGHT * cell.height or not most:
                break
            most = most / 2 if most > _CAPTION_SHARE / 4 else 0
        right = max(right, left + 0.2 * cell.width)
        high = max(high, low + 0.2 * cell.height)
        return Bbox.from_extents(left, low, right, high)

    def _extent(self, renderer: Any) -> Bbox:
        """Return the box of all that belongs to the axes, in the figure's fractions."""
        figure: Any = self._axes.figure
        every = [each for each in (self._axes, self._behind) if each is not None]
        boxes = [
            each.get_tightbbox(renderer, call_axes_locator=False, for_layout_only=True)
            for each in every
        ]
        whole = Bbox.union([each for each in boxes if each is not None])
        box: Bbox = whole.transformed(figure.transSubfigure.inverted())
        return box

    def _shift(self, renderer: Any, width: float) -> float:
        """Return how far to the left of the axes title and caption begin, of the figure's width."""
        figure: Any = self._axes.figure
        labels = self._axes.yaxis.get_tightbbox(renderer)
        if labels is None:
            return 0.0
        reach = float((self._axes.bbox.x0 - labels.x0) / figure.bbox.width)
        return reach if reach > _WIDE_LABELS * width else 0.0

    def _wrap(
        self,
        renderer: Any,
        width: float,
        shift: float,
        *,
        height: float | None = None,
        most: float = 0.6,
    ) -> None:
        """Break title and caption into lines; cut the caption that takes too much of a height."""
        axes, figure = self._axes, cast("Any", self._axes.figure)
        whole = figure.bbox.width
        pixels = max(width + shift - _EDGE / 2, 0) * whole
        lines = _wrapped(self._caption, _DOT.join(self.parts), pixels, renderer)
        line = 1.36 * self._caption.get_fontsize()  # points
        points = (height or 1) * figure.bbox.height / figure.dpi * 72
        fit = int(most * points / line) if most else 0
        if len(lines) > fit:
            lines = [*lines[: fit - 1], lines[fit - 1].rstrip(" ·\u00a0") + "…"] if fit else []
            self._caption.set_text("\n".join(lines))
        pad = _TITLE_PAD * (1 if lines else 0.6) + line * len(lines)
        title = axes.set_title(self._title, loc="left", pad=pad)
        if self._is_small:
            title.set_fontsize("medium")
        _wrapped(title, self._title, pixels, renderer)
        self._title_text, self._shifted = title, shift
        self._caption.xyann = (-shift * whole / figure.dpi * 72, 4)

    def _make_small(self, cell: Bbox) -> None:
        """Give the labels of axes in a small cell small letters; they stay so."""
        figure: Any = self._axes.figure
        points = cell.width * figure.bbox.width / figure.dpi * 72
        if self._is_small or points > _SMALL_CELL * font_scale():
            return
        self._is_small = True
        for each in (self._axes, self._behind):
            if each is not None:
                each.tick_params(labelsize="x-small")
                for label in (each.xaxis.label, each.yaxis.label):
                    label.set_fontsize("small")

    def _wrap_labels(self, renderer: Any, cell: Bbox) -> None:
        """Break the labels of the axes into lines that fit into a cell."""
        figure: Any = self._axes.figure
        for name, axis in (("x", self._axes.xaxis), ("y", self._axes.yaxis)):
            length = cell.width * 0.72 if name == "x" else cell.height * 0.5
            pixels = length * (figure.bbox.width if name == "x" else figure.bbox.height)
            words = self._label_words[name].replace("\n", " ")
            _wrapped(axis.label, words, pixels, renderer, upright=name == "y")

    def _shrink_legend(self, renderer: Any, cell: Bbox) -> None:
        """Make a legend small, and move it inside, where it takes too much of a cell's width."""
        for inside in (False, True):
            legend, box = self._axes.get_legend(), self._axes.get_position(original=True)
            stays = inside and _PLACES.get(self._axes, _LegendPosition()).stays
            if not legend or not legend.get_in_layout() or stays:
                return
            over = self._extent(renderer).width - box.width
            is_wide = over > (1 - _LEAST_WIDTH) * cell.width
            if is_wide or (self._is_small and not inside):
                _small_legend(self._axes, inside=inside)

    def _turn_ticks(self, renderer: Any, width: float) -> bool:
        """Turn named ticks that would touch each other; return whether that was so."""
        axes = self._axes
        # A figure of ours has room, though not before its layout is made.
        root: Any = cast("Any", axes.figure).figure
        is_named = isinstance(axes.xaxis.get_major_locator(), FixedLocator)
        if self._is_turned or not is_named or root.get_gid() == OWN_FIGURE:
            return False
        low, high = axes.get_xlim()
        ticks = axes.get_xticklabels()
        at = (np.array(axes.get_xticks()) - low) / (high - low) * width
        sizes = np.array([tick.get_window_extent(renderer).width for tick in ticks])
        gaps = np.diff(at) - (sizes[1:] + sizes[:-1]) / 2
        if len(gaps) and gaps.min() < _LEAST_GAP:
            self._is_turned = True
            names = [tick.get_text().replace("\n", " ") for tick in ticks]
            look: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
            axes.set_xticks(axes.get_xticks(), names, fontsize="x-small", **look)
            self._lower_legend(renderer)
        return self._is_turned

    def _lower_legend(self, renderer: Any) -> None:
        """Put a legend below the axes under all of the names of their ticks."""
        axes, place = self._axes, _PLACES.get(self._axes, _LegendPosition())
        labels = axes.xaxis.get_tightbbox(renderer)
        if not place.under or labels is None:
            return
        figure: Any = axes.figure
        depth = float(axes.bbox.y0 - labels.y0) / figure.dpi * 72
        _PLACES[axes] = place._replace(depth=depth)  # for when it is made anew, small
        legend: Any = axes.get_legend()
        legend.set_bbox_to_anchor((0, 0), _below(axes, depth))
        legend.borderaxespad = _UNDER_TICKS


class _Follower:
    """The place of axes that share that of others."""

    def __init__(self, fit: Fit) -> None:
        self._fit = fit

    def get_subplotspec(self) -> Any:
        """Return the place of the axes in a grid, which `tight_layout` asks for."""
        return self._fit.get_subplotspec()

    def __call__(self, _: Axes, renderer: Any) -> Bbox:
        return self._fit(self._fit._axes, renderer)  # noqa: SLF001  (one of this file)


def _wrapped(
    text: Any, words: str, most: float, renderer: Any, *, upright: bool = False
) -> list[str]:
    """Break words into lines no longer than so many pixels, and write them; return the lines."""

    def length() -> float:
        box = text.get_window_extent(renderer)
        return float(box.height if upright else box.width)

    text.set_text(words)
    whole = length() if words else 0.0
    if whole <= most:
        return [words] if words else []
    letters = max(int(len(words) * most / whole * 1.03), _FEWEST_LETTERS)
    while True:
        lines = textwrap.wrap(words, letters, break_long_words=False, break_on_hyphens=False)
        text.set_text("\n".join(lines))
        if letters == _FEWEST_LETTERS or length() <= most:
            return lines
        letters = max(min(int(letters * 0.96), letters - 1), _FEWEST_LETTERS)


def _places_axes(engine: LayoutEngine | None) -> bool:
    """Return whether a layout engine makes room for all that belongs to axes.

    That of `tight_layout` does not know how captions are broken into lines.
    """
    # When a figure is saved, an engine that has done its work is replaced by one that does none.
    if isinstance(engine, PlaceHolderLayoutEngine):
        return not engine.colorbar_gridspec
    return isinstance(engine, ConstrainedLayoutEngine)


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


class _LegendPosition(NamedTuple):
    """Where a legend is beside, or below, axes, and what it was made from."""

    right: float = 4.0  # points from the right edge
    stays: bool = False  # whether it is never moved inside
    under: float = 0.0  # lines of text below the axes; 0 for beside
    handles: Sequence[Any] = ()
    words: Sequence[str] = ()
    depth: float = 0.0  # points that the names of ticks reach below the axes, once that is known


#: Of the axes that have a legend.
_PLACES: WeakKeyDictionary[Axes, _LegendPosition] = WeakKeyDictionary()


def add_legend(
    axes: Axes,
    handles: Sequence[Any],
    labels: Sequence[str],
    title: str,
    *,
    second_scale: bool = False,
    stays: bool = False,
) -> None:
    """Explain the colours to the right of the axes, and of a second scale that is there.

    One that `stays` is not moved inside where there is little room.
    """
    if handles and labels:
        right = _SECOND_SCALE * font_scale() if second_scale else 4.0
        _PLACES[axes] = _LegendPosition(right, stays, handles=handles, words=labels)
        look = {"fontsize": "small", "title_fontsize": "small", "title": title}
        _put_legend(axes, handles, labels, **look)


def stacked_bars(
    axis: Any,
    layers: list[Layer],
    at: Array,
    width: Any,
    bar_kws: dict[str, Any],
    *,
    title: str,
    stays: bool = False,
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
    words = [f"{layer.name} ({layer.orders:,})" for layer in layers]
    add_legend(axes, handles, words, title, stays=stays)


def add_legend_under(
    axes: Axes, handles: Sequence[Any], labels: Sequence[str], *, lines: float
) -> None:
    """Explain marks below the axes, under so many lines of text that are there."""
    if handles and labels:
        _PLACES[axes] = _LegendPosition(stays=True, under=lines, handles=handles, words=labels)
        _put_legend(axes, handles, labels, fontsize="small")


def _below(axes: Axes, points: float) -> Any:
    return offset_copy(axes.transAxes, cast("Any", axes.figure), y=-points, units="points")


def _put_legend(axes: Axes, handles: Sequence[Any], labels: Sequence[str], **look: Any) -> None:
    place, figure = _PLACES.get(axes, _LegendPosition()), cast("Any", axes.figure)
    where: dict[str, Any] = {"loc": "upper left", "frameon": False, "alignment": "left"}
    if place.under:
        pad = _UNDER_TICKS if place.depth else place.under
        where |= {"bbox_to_anchor": (0, 0), "borderaxespad": pad}
        where["bbox_transform"] = _below(axes, place.depth)
    else:
        at = offset_copy(axes.transAxes, figure, x=place.right, units="points")
        where |= {"bbox_to_anchor": (1, 1), "bbox_transform": at, "borderaxespad": 0.2}
    axes.legend(handles, labels, **where, **look)


def _entries(axes: Axes, legend: Any) -> tuple[Sequence[Any], list[str]]:
    """Return what a legend was made from: its own marks are scaled, and of several only one."""
    labels = [text.get_text() for text in legend.get_texts()]
    place = _PLACES.get(axes, _LegendPosition())
    return (place.handles if [*place.words] == labels else legend.legend_handles), labels


def _small_legend(axes: Axes, *, inside: bool) -> None:
    """Make a legend beside axes small, or move it to where they have most room for it."""
    handles, labels = _entries(axes, axes.get_legend())
    look: dict[str, Any] = {"fontsize": "xx-small", "markerscale": 0.7, "handlelength": 1.4}
    look |= {"labelspacing": 0.25, "borderpad": 0.2, "handletextpad": 0.5}
    if not inside:
        _put_legend(axes, handles, labels, **look)
        return
    short = len(labels) > _MANY and max(map(len, labels)) <= _SHORT
    look |= {"framealpha": 0.7, "edgecolor": "none", "columnspacing": 0.8}
    axes.legend(handles, labels, loc="best", ncols=2 if short else 1, **look)
    cast("Any", axes.get_legend()).set_in_layout(False)


def legend_inside(axes: Axes, columns: int, *, clear_bars: bool) -> None:
    """Move a legend into narrow axes; `clear_bars` makes the y axis longer, to keep it free."""
    if not (old := axes.get_legend()):
        return
    handles, labels = _entries(axes, old)
    style: dict[str, Any] = {"loc": "upper right", "fontsize": "x-small", "ncols": columns}
    style |= {"framealpha": 0.85, "edgecolor": "none", "columnspacing": 1.0}
    axes.legend(handles, labels, **style).set_in_layout(False)
    if clear_bars:
        height = 8 + 13 * -(-len(labels) // columns) * font_scale()
        free = height / (axes.get_window_extent().height / axes.figure.dpi * 72)
        axes.set_ylim(0, axes.get_ylim()[1] / max(1 - free, 0.3))
