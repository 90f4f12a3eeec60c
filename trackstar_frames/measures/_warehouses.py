"""What holds for all warehouses, or for each one: looked up for whole columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from trackstar_frames.measures._checks import column, require

__all__ = ["codes_by_warehouse", "read_by_warehouse"]

Value = TypeVar("Value")


def read_by_warehouse(
    name: str, given: Mapping[Any, Any], read: Callable[[Any], Value]
) -> tuple[dict[str, Value], Value | None]:
    """Check a map from warehouse ids; what stands under None is for all others."""
    if wrong := [key for key in given if not isinstance(key, str | None)]:
        raise TypeError(f"{name} has the key {wrong[0]!r}; use warehouse ids, and None for others")
    values = {key: read(value) for key, value in given.items()}
    default = values.pop(None, None)
    return values, default


def codes_by_warehouse(
    frame: pd.DataFrame,
    by_warehouse: Mapping[str, Value] | None,
    default: Value | None,
    *,
    name: str,
    thing: str,
) -> tuple[npt.NDArray[Any], list[Value]]:
    """Return each row's place in a list of values, -1 where it has none, and the list.

    Raises
    ------
    ValueError
        If a warehouse has no value, and there is none for all others. A null is no warehouse.
    """
    if by_warehouse is None:
        return np.zeros(len(frame), dtype=np.int64), [] if default is None else [default]
    require(frame, ["warehouse_id"], source="fetch_orders_df")
    rows, ids = pd.factorize(column(frame, "warehouse_id"))
    known = [by_warehouse.get(str(key), default) for key in ids]
    if missing := [str(key) for key, value in zip(ids, known, strict=True) if value is None]:
        listed = ", ".join(map(repr, sorted(missing)[:10]))
        raise ValueError(
            f"{name} has no {thing} for {len(missing)} of the warehouses: {listed}; "
            f"add them, or a {thing} for all others under the key None"
        )
    values = list(dict.fromkeys(value for value in [*known, default] if value is not None))
    # One more place, at the end, is what a null warehouse's code of -1 picks.
    places = [-1 if value is None else values.index(value) for value in [*known, default]]
    return np.array(places)[rows], values
