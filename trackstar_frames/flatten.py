"""Orders' JSON to Arrow tables, one batch at a time; pure, no I/O.

Driven by the schema: every value of an order is found in exactly one place, as its
column's type where that loses nothing, else as a row of `problems`; a key that the schema
does not know is kept in `extra`. Free-form values keep the very text that was received.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec
import pyarrow as pa

from trackstar_frames.convert import CONVERTERS
from trackstar_frames.schema import TABLES, Column, Table

__all__ = ["BATCH", "flatten", "stored_columns"]

#: The column that ties the rows of a batch to its orders until they are put together.
BATCH = "_order"

_read_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def flatten(orders: Iterable[msgspec.Raw | bytes]) -> dict[str, pa.Table]:
    """Flatten orders into the tables of the schema.

    Parameters
    ----------
    orders
        The JSON text of each order, an object.

    Returns
    -------
    dict of str to pyarrow.Table
        Each table's rows in the order in which they were met, without the computed
        columns, led by `BATCH`: the number of the order that the row belongs to (null in
        `problems` for an order without an id, which is kept there whole).
    """
    batch = _Batch()
    for order in orders:
        batch.add(bytes(order))
    return {name: batch.table(name) for name in TABLES}


@dataclass(slots=True)
class _Node:
    """What may stand in one JSON object: columns, nested objects, and lists of rows, by key."""

    leaves: dict[str, tuple[int, Callable[[bytes], Any]]] = field(default_factory=dict)
    objects: dict[str, _Node] = field(default_factory=dict)
    lists: dict[str, str] = field(default_factory=dict)


#: The lists that hold rows of their own, by the table that holds them.
_LISTS = {
    "orders": {"line_items": "line_items", "shipments": "shipments"},
    "shipments": {"line_items": "shipment_line_items", "packages": "packages"},
    "packages": {"line_items": "package_line_items"},
}


def stored_columns(table: Table) -> list[Column]:
    """List the columns that come from the JSON: all but what is computed from the tables."""
    if table.name != "orders":
        return list(table.columns)
    return [column for column in table.columns if column.path or column.kind == "json"]


@cache
def _layout(name: str) -> tuple[_Node, int]:
    """Arrange a table's columns by their JSON paths, and tell how wide a row is."""
    root = _Node(lists=_LISTS.get(name, {}))
    columns = stored_columns(TABLES[name])
    for place, column in enumerate(columns, start=1):
        if column.path:
            node = root
            for key in column.path[:-1]:
                node = node.objects.setdefault(key, _Node())
            node.leaves[column.path[-1]] = (place, CONVERTERS[column.kind])
    return root, len(columns) + 1


class _Batch:
    """The rows met so far, each led by its order's number."""

    def __init__(self) -> None:
        self.rows: dict[str, list[list[Any]]] = {name: [] for name in TABLES}
        self.number = -1
        self.order_id: str | None = None

    def add(self, order: bytes) -> None:
        members = _read_object(order)
        self.order_id = _identity(members)
        if self.order_id is None:
            row = [None, "orders", None, "", order.decode(), "an order without an id"]
            self.rows["problems"].append(row)
            return
        self.number += 1
        self._row("orders", members, (), "")

    def table(self, name: str) -> pa.Table:
        columns = stored_columns(TABLES[name])
        schema = pa.schema([pa.field(BATCH, pa.int64()), *(column.field for column in columns)])
        rows = self.rows[name]
        values = zip(*rows, strict=True) if rows else ([] for _ in schema)
        arrays = [pa.array(each, kind) for each, kind in zip(values, schema.types, strict=True)]
        return pa.Table.from_arrays(arrays, schema=schema)

    def _row(
        self, table: str, members: dict[str, msgspec.Raw], key: tuple[int, ...], path: str
    ) -> None:
        """Add one row, and the rows of the lists inside."""
        root, width = _layout(table)
        row: list[Any] = [None] * width
        row[0] = self.number
        if key:
            row[1 : len(key) + 2] = (self.order_id, *key)
        unknown = self._object(_Place(table, row, key), root, members, path)
        if unknown:
            row[-1] = msgspec.json.encode(unknown).decode()
        self.rows[table].append(row)

    def _object(
        self, place: _Place, node: _Node, members: dict[str, msgspec.Raw], path: str
    ) -> dict[str, Any]:
        """Put the members of one object where they belong, and return those left over."""
        unknown: dict[str, Any] = {}
        leaves, row = node.leaves, place.row
        for name, raw in members.items():
            text = bytes(raw)
            if name in leaves:
                if text != b"null":
                    column, convert = leaves[name]
                    try:
                        row[column] = convert(text)
                    except ValueError as error:
                        self._problem(place, path + name, text.decode(), str(error))
            elif name in node.objects:
                inner = self._parse(place, _read_object, text, path + name)
                rest = self._object(place, node.objects[name], inner or {}, f"{path}{name}.")
                if rest:
                    unknown[name] = rest
            elif name in node.lists:
                items = self._parse(place, _read_list, text, path + name)
                self._children(place, node.lists[name], items or [], path + name)
            else:
                unknown[name] = raw
                self._problem(place, path + name, None, "unknown key, kept in extra")
        return unknown

    def _children(self, place: _Place, table: str, items: list[msgspec.Raw], path: str) -> None:
        for index, item in enumerate(items):
            here = f"{path}[{index}]"
            members = self._parse(place, _read_object, bytes(item), here) or {}
            if table == "shipments":
                _take_boxes(members)
            self._row(table, members, (*place.key, index), f"{here}.")

    def _parse(self, place: _Place, read: Callable[[bytes], Any], text: bytes, path: str) -> Any:
        """Open an object or a list; None where it is neither, which is told."""
        if text in (b"null", b'""'):
            return None
        try:
            return read(text)
        except msgspec.ValidationError:
            expected = "an object" if read is _read_object else "a list"
            self._problem(place, path, text.decode(), f"not {expected}")
            return None

    def _problem(self, place: _Place, path: str, value: str | None, message: str) -> None:
        row = [self.number, place.table, self.order_id, path, value, message]
        self.rows["problems"].append(row)


@dataclass(slots=True, frozen=True)
class _Place:
    """The row that values go to."""

    table: str
    row: list[Any]
    key: tuple[int, ...]


def _identity(members: dict[str, msgspec.Raw]) -> str | None:
    try:
        found: str = CONVERTERS["string"](bytes(members["id"]))
    except (KeyError, ValueError):
        return None
    return found or None


def _take_boxes(shipment: dict[str, msgspec.Raw]) -> None:
    """Read the older ``boxes`` as packages, unless there are packages too."""
    if "boxes" in shipment and bytes(shipment.get("packages", b"null")) in (b"null", b"[]"):
        shipment["packages"] = shipment.pop("boxes")
