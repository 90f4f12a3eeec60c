"""The numbers under curves of survival."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy

from trackstar_frames.measures._time import Array
from trackstar_frames.plots._looks import Look

__all__ = ["at_risk"]

# Points under the axis, and between the rows there.
_FIRST_ROW, _ROW = -38.0, 11.0


def at_risk(axes: Axes, curves: Sequence[tuple[Array, Look]]) -> None:
    """Count under the axis what is at risk: of each curve, the lengths that reach a tick.

    Lengths are in the unit of the axis, the shortest first.
    """
    right = axes.get_xlim()[1]
    ticks = np.array(MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(0, right))
    ticks = ticks[(ticks >= 0) & (ticks <= right)]
    axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
    _below(axes, 0, _FIRST_ROW, "orders at risk (n)", ha="left", color="0.35")
    for row, (lengths, look) in enumerate(curves):
        y = _FIRST_ROW - _ROW * (row + 1)
        if len(curves) > 1:
            _key(axes, look, y)
        counts = len(lengths) - np.searchsorted(lengths, ticks, side="left")
        for tick, n in zip(ticks, counts, strict=True):
            _below(axes, 0, y, f"{n:,}", at=tick, ha="center")


def _key(axes: Axes, look: Look, y: float) -> None:
    """Mark which curve a row under the axis belongs to."""
    figure: Any = axes.figure
    place = offset_copy(axes.transAxes, figure, x=-26, y=y, units="points")
    mark = Line2D([0], [0], marker=look.marker, color=look.colour, markersize=5, clip_on=False)
    mark.set_transform(place)
    axes.add_artist(mark)


def _below(axes: Axes, x: float, y: float, words: str, *, at: float = 0, **style: Any) -> None:
    """Write so many points to the right of and above a place on the axis."""
    axes.annotate(
        words,
        (at, 0),
        (x, y),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="center",
        fontsize="x-small",
        **style,
    )
