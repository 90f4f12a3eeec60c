"""Which colours, hatches, marks and strokes stand for what.

Print without colours and every kind of eye can tell them apart: what is ordered goes from light
to dark, what is not differs in more than hue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from trackstar_frames.measures.backlog import SHIPPED_SINCE
from trackstar_frames.measures.status import NO_STATUS
from trackstar_frames.schema import LIFECYCLE

__all__ = ["GROUPS", "OTHERS", "STATUSES", "Look", "look_of"]


class Look(NamedTuple):
    """How bars and lines of one thing are drawn."""

    colour: str
    hatch: str
    marker: str = "o"
    stroke: str = "-"

    def of_bars(self) -> dict[str, Any]:
        """Return the arguments of `Axes.bar`; the hatch has the colour of the edge."""
        return {"color": self.colour, "hatch": self.hatch, "edgecolor": "white", "linewidth": 0.5}


# The path goes from light to dark, so that its order survives; what is off it has hues of its own.
_PATH = ("#f7f09a", "#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#0c2c84")
_OFF_PATH = (("#e69f00", "///"), ("#d55e00", "xxx"), ("#8c8c8c", ""), ("#cc79a7", "..."))
_UNKNOWN = Look("#5d3a1a", "+++")

#: The known statuses.
STATUSES: Mapping[str, Look] = {
    **{
        status: Look(colour, hatch)
        for status, (colour, hatch) in zip(
            LIFECYCLE, [*((colour, "") for colour in _PATH), *_OFF_PATH], strict=True
        )
    },
    NO_STATUS: Look("#dcdcdc", "|||"),
    SHIPPED_SINCE: Look("#ffffff", "---"),
}

#: Groups of no order, the largest first.
GROUPS = (
    Look("#0072b2", "", "o", "-"),
    Look("#e69f00", "///", "s", "--"),
    Look("#009e73", "...", "^", "-."),
    Look("#cc79a7", "xxx", "D", ":"),
    Look("#000000", "", "v", "-"),
    Look("#d55e00", "\\\\\\", "P", "--"),
)
OTHERS = Look("#c8c8c8", "ooo")


def look_of(status: str) -> Look:
    """Return how a status is drawn, known or not."""
    return STATUSES.get(status, _UNKNOWN)
