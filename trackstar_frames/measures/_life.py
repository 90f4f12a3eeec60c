"""Which orders were open at a moment, told from their stamps, and what of them was left."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import column, has_status
from trackstar_frames.measures._time import Array, instants

__all__ = ["FATES", "LIFE", "OPEN", "SHIPPED", "closings", "fates", "numbers", "units_left"]

#: The columns that are read.
LIFE = ("status", "created_date", "complete_shipped_date", "last_shipped_date")

#: What can be said of an order at a moment; where several hold, the first is meant.
FATES = ("created_after", "cancelled", "shipped", "closed_short", "undated", "open")
SHIPPED, OPEN = FATES.index("shipped"), FATES.index("open")


def closings(orders: pd.DataFrame) -> Array:
    """Return when each order was closed: complete or, if fulfilled short, shipped last."""
    complete = instants(orders, "complete_shipped_date")
    short = np.isnat(complete) & has_status(orders, "fulfilled")
    return np.where(short, instants(orders, "last_shipped_date"), complete)


def fates(orders: pd.DataFrame, now: np.datetime64) -> Array:
    """Return each order's place in `FATES`."""
    closed = closings(orders)
    holds = [
        instants(orders, "created_date") > now,
        has_status(orders, "cancelled"),
        instants(orders, "complete_shipped_date") <= now,
        closed <= now,
        np.isnat(closed) & has_status(orders, "fulfilled"),
    ]
    return np.select(holds, range(len(holds)), default=OPEN)


def units_left(orders: pd.DataFrame, now: np.datetime64) -> Array:
    """Return the units that had not shipped at a moment; NaN where that is not known."""
    ordered, shipped = (numbers(orders, f"units_{word}") for word in ("ordered", "shipped"))
    untouched = instants(orders, "first_shipped_date") > now
    moved = (instants(orders, "last_shipped_date") > now) | (closings(orders) > now)
    left = np.where(moved, np.nan, np.maximum(ordered - shipped, 0))
    return np.where(untouched, ordered, left)


def numbers(frame: pd.DataFrame, name: str) -> Array:
    """Read a column of numbers as float64; null is NaN."""
    values = column(frame, name)
    if values.isna().all():
        return np.full(len(values), np.nan)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"column {name!r} is {frame[name].dtype}, not numbers; convert it first")
    return values.to_numpy(dtype=np.float64, na_value=np.nan)
