"""Small multiples: a plot for each of many groups, side by side on common scales."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes

from trackstar_frames.plots import _style as style

_COLUMNS = 4
_GAP = 0.05  # between two plots, as a share of the whole width
_HEIGHT = 1.45  # inches, of a row


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

    def add(self, title: str) -> Axes:
        """Return the axes of the next plot."""
        row, column = divmod(len(self._panels), self._columns)
        width = (1 - _GAP * 0.4 * (self._columns - 1)) / self._columns
        gap = min(0.28 / self._rows, 0.12) * max(style.font_scale(), 1)
        height = (1 - gap * self._rows) / self._rows
        left = column * (width + _GAP * 0.4)
        low = 1 - (row + 1) * (height + gap)
        panel = self.axes.inset_axes((left, low, width, height))
        panel.set_title(title, loc="left", fontsize="small", pad=3)
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
        pad: dict[str, Any] = {"labelpad": 22 * style.font_scale()}
        self.axes.set_xlabel(across, **pad)
        self.axes.set_ylabel(up, labelpad=34 * style.font_scale())
