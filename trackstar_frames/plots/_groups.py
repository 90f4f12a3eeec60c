"""The groups of a plot: which are drawn, in which order, and their names and looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from trackstar_frames.measures._checks import by_columns
from trackstar_frames.measures._grouping import group_numbers
from trackstar_frames.measures._labels import parse_labels, relabel
from trackstar_frames.measures._time import Array
from trackstar_frames.plots._style import (
    GROUPS,
    NO_GROUP,
    OTHERS,
    PLAIN,
    Layer,
    Look,
    font_scale,
    group_name,
    points_wide,
)

MOST_LINES = len(GROUPS)
MOST_ROWS = 20
MOST_PANELS = 20
_NARROW = 330  # points, at matplotlib's default size of text


class Groups:
    """The groups of a frame that are drawn: at most `most`, the largest first.

    `n` is the number of orders of every group, in the rows of the measure's table, which must be
    those of `group_numbers`: sorted by `by`, null included. `positions` are the rows of the groups
    that are drawn, the largest first; `sizes`, `names` and `looks` are theirs. `columns` are those
    of `by`; `note` counts the others.

    A group has one look in all pictures of a frame: the six groups with most rows in it, in the
    order of their values, have one each. Another that is drawn gets a look that is free in that
    picture, or is grey. Orders without a group have a light look of their own.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        by: str | Sequence[str] | None,
        n: pd.Series[int],
        most: int,
        *,
        labels: Mapping[Any, str] | None = None,
        skip_empty: bool = False,
    ) -> None:
        sizes = n.to_numpy()
        order = np.argsort(-sizes, kind="stable")
        if skip_empty:
            order = order[sizes[order] > 0]
        self.columns = by_columns(frame, by)
        self.positions, self._others = order[:most], order[most:]
        self.sizes = sizes[self.positions]
        index = relabel(n.index, self.columns, parse_labels(labels))[self.positions]
        self._keys = list(index)
        self.names = self.short_names(32)
        self.looks = _looks(frame, self.columns, self.positions)
        self.count = len(order)
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

    def short_names(self, most: int) -> list[str]:
        """Return the names in at most about so many letters."""
        return [group_name(key, most) if self.columns else "all orders" for key in self._keys]

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
        """Make the y axis one of groups, from the top down; of narrow axes, with short names."""
        labels, size = self.labels, "medium"
        if points_wide(axes) < _NARROW * font_scale():
            short = zip(self.short_names(14), self.sizes, strict=True)
            labels = [f"{name} ({n:,})" for name, n in short]
            size = "x-small"
        axes.set_yticks(range(len(self.names)), labels, fontsize=size)
        axes.set_ylim(max(len(self.names), 1) - 0.4, -0.6)
        axes.set_ylabel(self.title)


def _looks(frame: pd.DataFrame, columns: Sequence[str], positions: Array) -> list[Look]:
    """Return the look of each drawn group."""
    if not columns:
        return [GROUPS[0]] * len(positions)
    members, keys = group_numbers(frame, columns)
    is_null = keys.isna().all(axis=1).to_numpy()
    rows = np.bincount(members, minlength=len(keys))
    named = np.flatnonzero(~is_null)
    home = np.sort(named[np.argsort(-rows[named], kind="stable")[:MOST_LINES]])
    own = dict(zip(home.tolist(), GROUPS, strict=False))
    drawn = set(positions.tolist())
    free: Iterator[Look] = iter([look for group, look in own.items() if group not in drawn])
    looks = []
    for position in positions.tolist():
        if is_null[position]:
            looks.append(NO_GROUP)
        else:
            looks.append(own.get(position) or next(free, PLAIN))
    return looks


def refuse_by(by: object, plot: str, instead: str) -> None:
    """Raise if `by` is given to a plot that cannot show groups."""
    if by is not None:
        raise ValueError(f"by={by!r}: {plot} draws all orders together; {instead}")
