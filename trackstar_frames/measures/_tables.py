"""The tables that are matched: which they are, and what must be in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, TypeGuard, TypeVar, cast

import pandas as pd

from trackstar_frames.measures._checks import require
from trackstar_frames.measures._keys import require_alike, require_once, whose
from trackstar_frames.measures._partitions import Partitioned, is_partitioned

__all__ = ["Tables", "TablesOf", "are_partitioned", "check_columns", "check_tables", "columns_of"]

_READ = {
    "orders": ("id",),
    "line_items": ("order_id", "line_index", "product_id", "sku", "quantity"),
    "shipments": ("order_id", "shipment_index", "status", "shipped_date"),
    "shipment_line_items": (
        "order_id",
        "shipment_index",
        "inventory_item_id",
        "sku",
        "quantity",
        "parent_product_id",
    ),
}

Frame_co = TypeVar("Frame_co", covariant=True)


class TablesOf(Protocol[Frame_co]):
    """What is read of an `OrderFrames`, in frames of pandas or of Dask."""

    @property
    def orders(self) -> Frame_co:
        """One row per order."""

    @property
    def line_items(self) -> Frame_co:
        """One row per ordered line."""

    @property
    def shipments(self) -> Frame_co:
        """One row per shipment."""

    @property
    def shipment_line_items(self) -> Frame_co:
        """One row per shipped line."""


Tables: TypeAlias = TablesOf[pd.DataFrame]


def check_tables(frames: object) -> Tables:
    """Raise unless `frames` has the tables and columns to match by, and each order once."""
    tables = cast("Tables", check_columns(frames))
    require_once(tables.orders, "frames.orders")
    return tables


def are_partitioned(frames: TablesOf[Any]) -> TypeGuard[TablesOf[Partitioned]]:
    """Tell whether the tables are of Dask.

    Raises
    ------
    TypeError, ValueError
        If some are and some are not, or the partitions of one cannot be those of another.
    """
    tables = {f"frames.{name}": getattr(frames, name) for name in _READ}
    lazy = [name for name, table in tables.items() if is_partitioned(table)]
    if lazy and len(lazy) < len(tables):
        eager = next(name for name in tables if name not in lazy)
        raise TypeError(f"{lazy[0]} is a Dask frame, and {eager} is not; pass all as one or other")
    sizes = {name: tables[name].npartitions for name in lazy}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"the tables have different numbers of partitions, {sizes}; pass tables of which the "
            f"partitions at one place are of the same orders"
        )
    return bool(lazy)


def columns_of(frames: TablesOf[Any], more: Sequence[str] = ()) -> dict[str, list[str]]:
    """Name the columns of each table to match by, and `more` of the orders."""
    wanted = {**_READ, "orders": (*_READ["orders"], *more)}
    return {
        name: list(dict.fromkeys([*whose(getattr(frames, name)), *columns]))
        for name, columns in wanted.items()
    }


def check_columns(frames: object, *, lazy: bool = False) -> TablesOf[Any]:
    """Raise unless `frames` has the tables and columns to match by; of Dask too, if `lazy`."""
    if not all(hasattr(frames, name) for name in _READ):
        raise TypeError(
            f"frames is a {type(frames).__name__}; pass the OrderFrames of fetch_orders or "
            f"read_snapshot (of a Snapshot, what its .read() gives): orders alone have no lines"
        )
    named = {f"frames.{name}": getattr(frames, name) for name in _READ}
    for (name, table), columns in zip(named.items(), _READ.values(), strict=True):
        require(table, columns, source="an OrderFrames", name=name, lazy=lazy)
    require_alike(named)
    return cast("TablesOf[Any]", frames)
