"""What stands where in an order, for both ways of reading it."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from trackstar_frames.schema import TABLES, Column, Table

__all__ = [
    "BATCH",
    "BOXES",
    "LISTS",
    "LONGEST_ID",
    "Batch",
    "Path",
    "batch_schema",
    "put",
    "stored_columns",
]

#: Tables by name, each led by `BATCH`.
Batch = dict[str, pa.Table]

#: A table, and the keys from the object of one of its rows to a value.
Path = tuple[str, tuple[str, ...]]

#: The column that ties the rows of a batch to its orders until they are put together.
BATCH = "_order"

#: What older answers call the packages of a shipment.
BOXES = "boxes"

#: Every row below an order repeats its id: a longer one is none.
LONGEST_ID = 1000

#: The lists that hold rows of their own, by the table that holds them; parents first.
LISTS = MappingProxyType(
    {
        "orders": {"line_items": "line_items", "shipments": "shipments"},
        "line_items": {},
        "shipments": {"line_items": "shipment_line_items", "packages": "packages"},
        "shipment_line_items": {},
        "packages": {"line_items": "package_line_items"},
        "package_line_items": {},
    }
)


def stored_columns(table: Table) -> list[Column]:
    """List the columns that a batch holds: not those that follow from the orders' rows."""
    return [column for column in table.columns if column.path or _is_kept(table, column)]


def _is_kept(table: Table, column: Column) -> bool:
    if table.name == "orders":
        return column.kind == "json"
    return table.name == "problems" or column.name != "order_id"


@cache
def batch_schema(name: str) -> pa.Schema:
    """Declare a table of a batch."""
    columns = stored_columns(TABLES[name])
    return pa.schema([pa.field(BATCH, pa.int64()), *(column.field for column in columns)])


def put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Put a value into nested dicts, and make those that are not there yet."""
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value
