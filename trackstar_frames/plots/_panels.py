"""Small multiples: a plot for each of many groups, side by side on common scales."""

from __future__ import annotations

import math

from matplotlib.axes import Axes

from trackstar_frames.plots import _style as style

_COLUMNS = 4
_GAP = 0.025  # between two plots, as a share of the whole width
_HEIGHT, _TITLE = 1.5, 0.42  # inches, of a row, and of the title in it
#: In the name of a group.
LETTERS = 24


class Panels:
    """A grid of plots within axes that have no scales of their own, but title, caption and labels.

    `axes` are these; `add` makes one plot after the other, row by row.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._columns = min(_COLUMNS, count)
        self._rows = math.ceil(count / self._columns)
        self.axes = style.get_axes(None, 1.4 + _HEIGHT * self._rows, width=10)
        self.axes.set(xticks=[], yticks=[])
        self.axes.grid(visible=False)
        self.axes.patch.set_visible(False)
        self.axes.spines[:].set_visible(False)
        self._panels: list[Axes] = []

    def add(self, name: str, n: int) -> Axes:
        """Return the axes of the next plot, of a group and its n."""
        row, column = divmod(len(self._panels), self._columns)
        scale = max(style.font_scale(), 1)
        width = (1 - _GAP * (self._columns - 1)) / self._columns
        gap = _TITLE * scale / (_HEIGHT * self._rows * scale)
        height = 1 / self._rows - gap
        low = 1 - (row + 1) * (height + gap)
        panel = self.axes.inset_axes((column * (width + _GAP), low, width, height))
        words = f"{name}\nn = {n:,}"
        panel.set_title(words, loc="left", fontsize="x-small", pad=2)
        panel.tick_params(labelsize="x-small")
        self._panels.append(panel)
        return panel

    def finish(self, across: str, up: str) -> None:
        """Label the scales, each once."""
        for index, panel in enumerate(self._panels):
            panel.set(xlabel="", ylabel="")
            is_left, is_lowest = index % self._columns == 0, index + self._columns >= self._count
            panel.tick_params(labelleft=is_left, labelbottom=is_lowest)
            panel.xaxis.get_offset_text().set(visible=is_lowest, fontsize="x-small")
        self.axes.set_xlabel(across, labelpad=26 * style.font_scale())
        self.axes.set_ylabel(up, labelpad=34 * style.font_scale())
