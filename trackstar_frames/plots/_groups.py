"""The groups of a plot: which are drawn, in which order, and their names and looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from trackstar_frames.measures._checks import by_columns
from trackstar_frames.measures._grouping import group_numbers
from trackstar_frames.measures._time import Array
from trackstar_frames.plots._style import GROUPS, OTHERS, Layer, group_name

MOST_LINES = len(GROUPS)
MOST_ROWS = 20


class Groups:
    """The groups of a frame that are drawn: at most `most`, the largest first.

    `n` is the number of orders of every group, in the rows of the measure's table, which must be
    those of `group_numbers`: sorted by `by`, null included. `positions` are the rows of the groups
    that are drawn, the largest first; `sizes` and `names` are theirs, `looks` those of the first
    `MOST_LINES`. `columns` are those of `by`; `note` counts the others.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        by: str | Sequence[str] | None,
        n: pd.Series[int],
        most: int,
        *,
        skip_empty: bool = False,
    ) -> None:
        sizes = n.to_numpy()
        order = np.argsort(-sizes, kind="stable")
        if skip_empty:
            order = order[sizes[order] > 0]
        self.columns = by_columns(frame, by)
        self.positions, self._others = order[:most], order[most:]
        self.sizes = sizes[self.positions]
        labels = n.index[self.positions]
        self.names = [group_name(each) if self.columns else "all orders" for each in labels]
        self.looks = GROUPS[: len(labels)]
        self.note = []
        if len(self._others):
            left = f"n of the rest = {sizes[self._others].sum():,}"
            self.note = [f"the {most} largest of {len(order):,} groups; {left}"]

    @property
    def title(self) -> str:
        """The columns, as the title of an axis or a legend; empty without any."""
        return group_name(tuple(self.columns)) if self.columns else ""

    @property
    def labels(self) -> list[str]:
        """The names with the sizes."""
        return [f"{name} (n = {n:,})" for name, n in zip(self.names, self.sizes, strict=True)]

    def split(self, frame: pd.DataFrame) -> list[pd.DataFrame]:
        """Return the rows of each drawn group."""
        members, _ = group_numbers(frame, self.columns)
        return [frame[members == position] for position in self.positions]

    def layers(self, counts: Array) -> list[Layer]:
        """Return a layer of bars for each drawn group, and one more for all others together."""
        drawn = zip(self.names, self.looks, counts[self.positions], strict=True)
        layers = [Layer(name, look, n, n.sum()) for name, look, n in drawn]
        if others := len(self._others):
            name = f"{others:,} other group{'s' if others > 1 else ''}"
            left = counts[self._others]
            layers.append(Layer(name, OTHERS, left.sum(axis=0), left.sum()))
        return layers

    def row_axis(self, axes: Axes) -> None:
        """Make the y axis one of groups, from the top down."""
        axes.set_yticks(range(len(self.names)), self.labels)
        axes.set_ylim(max(len(self.names), 1) - 0.4, -0.6)
        axes.set_ylabel(self.title)


def refuse_by(by: object, plot: str, instead: str) -> None:
    """Raise if `by` is given to a plot that cannot show groups."""
    if by is not None:
        raise ValueError(f"by={by!r}: {plot} draws all orders together; {instead}")
