"""Two frames of orders, an older and a newer one, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from trackstar_frames.measures._checks import instant, require
from trackstar_frames.measures._keys import require_alike, require_once

__all__ = ["as_ofs", "check_sides"]


def check_sides(old: pd.DataFrame, new: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise unless both frames have these columns, and each order once."""
    sides = {"old": old, "new": new}
    for name, frame in sides.items():
        require(frame, ["id", *columns], source="fetch_orders_df", name=name)
        require_once(frame, name)
    require_alike(sides)


def as_ofs(old: object, new: object) -> dict[str, str | None]:
    """Tell in ISO 8601 (UTC) when two sides are from; None where that is not known.

    Raises
    ------
    TypeError, ValueError
        If the old is newer than the new, or one of them is not a moment.
    """
    was, now = (None if each is None else instant("fetched_at", each) for each in (old, new))
    if was is not None and now is not None and was > now:
        raise ValueError(
            f"old is as of {was.isoformat()}, after new, which is as of {now.isoformat()}; pass "
            f"the older one first"
        )
    return {
        "old_as_of": None if was is None else was.isoformat(),
        "new_as_of": None if now is None else now.isoformat(),
    }
