"""The careful way: every value by itself, from its own JSON text.

Takes whatever an order may hold, at the price of Python objects for each value.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

import msgspec
import pyarrow as pa

from trackstar_frames.flatten.layout import (
    BOXES,
    LISTS,
    LONGEST_ID,
    Batch,
    Path,
    batch_schema,
    stored_columns,
)
from trackstar_frames.flatten.values import Kept, as_text, convert, is_plain
from trackstar_frames.http.responses import as_received, has_constant, is_constant, with_nulls
from trackstar_frames.schema import TABLES

__all__ = ["UNKNOWN", "Earlier", "flatten_carefully", "has_repeated", "read_repeated"]


#: What `problems` says of a key that the schema does not know.
UNKNOWN = "unknown key, kept in extra"

_TWICE = "given twice; the last is kept"
_CONSTANT = "NaN and Infinity are no JSON; null is kept in their place"
_ANONYMOUS = f"an order without an id of 1 to {LONGEST_ID:,} characters"

_read_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def flatten_carefully(orders: Iterable[msgspec.Raw]) -> tuple[Batch, Counter[Path]]:
    """Flatten orders value by value.

    Returns
    -------
    dict of str to pyarrow.Table, Counter
        The batch; and where values stood that are odd (of another JSON type than their
        column's, or under unknown keys), with how often.
    """
    rows = _Rows()
    for order in orders:
        rows.add(bytes(order))
    return {name: rows.table(name) for name in TABLES}, rows.odd


@dataclass(slots=True)
class _Node:
    """What may stand in one JSON object: columns, nested objects, and lists of rows, by key."""

    path: tuple[str, ...] = ()
    leaves: dict[str, tuple[int, str]] = field(default_factory=dict)
    objects: dict[str, _Node] = field(default_factory=dict)
    lists: dict[str, str] = field(default_factory=dict)

    def inner(self, key: str) -> _Node:
        return self.objects.setdefault(key, _Node((*self.path, key)))


@cache
def _layout(name: str) -> tuple[_Node, int]:
    """Arrange a table's columns by their JSON paths, and tell how wide a row is."""
    root = _Node(lists=LISTS[name])
    columns = stored_columns(TABLES[name])
    for place, column in enumerate(columns, start=1):
        if column.path:
            node = root
            for key in column.path[:-1]:
                node = node.inner(key)
            node.leaves[column.path[-1]] = (place, column.kind)
    return root, len(columns) + 1


class _Rows:
    """The rows met so far, each led by its order's number."""

    def __init__(self) -> None:
        self.rows: dict[str, list[list[Any]]] = {name: [] for name in TABLES}
        self.odd: Counter[Path] = Counter()
        self.number = -1
        self.order_id: str | None = None
        self.read_object: Callable[[bytes], dict[str, msgspec.Raw]] = _read_object

    def add(self, order: bytes) -> None:
        self.read_object = read_repeated if has_repeated(order) else _read_object
        members = self.read_object(order)
        self.order_id = _identity(members)
        if self.order_id is None:
            row = [None, "orders", None, "", as_received(order).decode(), _ANONYMOUS]
            self.rows["problems"].append(row)
            return
        self.number += 1
        self._row("orders", members, (), "")

    def table(self, name: str) -> pa.Table:
        schema = batch_schema(name)
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
        row[: len(key) + 1] = (self.number, *key)
        unknown = self._object(_Place(table, row, key), root, members, path)
        if unknown:
            row[-1] = msgspec.json.encode(unknown).decode()
        self.rows[table].append(row)

    def _object(
        self, place: _Place, node: _Node, members: dict[str, msgspec.Raw], path: str
    ) -> dict[str, Any]:
        """Put the members of one object where they belong, and return those left over."""
        unknown: dict[str, Any] = {}
        for name, raw in members.items():
            text = bytes(raw)
            if name in node.leaves:
                if self._leaf(place, node, name, text, path):
                    unknown[name] = raw
            elif name in node.objects:
                inner = self._parse(place, self.read_object, text, path + name)
                rest = self._object(place, node.objects[name], inner or {}, f"{path}{name}.")
                if rest:
                    unknown[name] = rest
            elif name in node.lists:
                items = self._parse(place, _read_list, text, path + name)
                self._children(place, node.lists[name], items or [], path + name)
            elif isinstance(name, Earlier):
                self._problem(place, path + name, text, _TWICE)
            else:
                unknown[name] = msgspec.Raw(with_nulls(text))
                self.odd[place.table, (*node.path, name)] += 1
                self._problem(place, path + name, None, UNKNOWN)
                self._look_for_constants(place, path + name, text)
        return unknown

    def _leaf(self, place: _Place, node: _Node, name: str, text: bytes, path: str) -> bool:
        """Put a value into its column, and tell whether `extra` is to keep its text, too."""
        if text == b"null":
            return False
        column, kind = node.leaves[name]
        plain = with_nulls(text)
        kept = Kept() if plain == b"null" else convert(kind, plain)
        place.row[column] = kept.value
        if kept.message is not None:
            self._problem(place, path + name, text, kept.message)
        else:
            self._look_for_constants(place, path + name, text)
        if kept.message is not None or kept.in_extra or not is_plain(kind, text):
            self.odd[place.table, (*node.path, name)] += 1
        return kept.in_extra

    def _look_for_constants(self, place: _Place, path: str, text: bytes) -> None:
        if has_constant(text):
            self._problem(place, path, text, _CONSTANT)

    def _children(self, place: _Place, table: str, items: list[msgspec.Raw], path: str) -> None:
        for index, item in enumerate(items):
            here = f"{path}[{index}]"
            members = self._parse(place, self.read_object, bytes(item), here) or {}
            if table == "shipments":
                members = _take_boxes(members)
            self._row(table, members, (*place.key, index), f"{here}.")

    def _parse(self, place: _Place, read: Callable[[bytes], Any], text: bytes, path: str) -> Any:
        """Open an object or a list; None where it is neither, which is told."""
        if text in (b"null", b'""'):
            return None
        if is_constant(text):
            self._problem(place, path, text, _CONSTANT)
            return None
        try:
            return read(text)
        except msgspec.ValidationError:
            expected = "a list" if read is _read_list else "an object"
            self._problem(place, path, text, f"not {expected}")
            return None

    def _problem(self, place: _Place, path: str, text: bytes | None, message: str) -> None:
        value = None if text is None else as_received(text).decode()
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
        found = as_text(bytes(members["id"]))
    except (KeyError, ValueError):
        return None
    return found if 1 <= len(found) <= LONGEST_ID else None


def _take_boxes(shipment: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """Read the older ``boxes`` as packages, unless there are both."""
    boxes, packages = (_is_full(shipment.get(key)) for key in (BOXES, "packages"))
    if BOXES not in shipment or (boxes and packages):
        return shipment
    empty = "packages" if boxes else BOXES
    return {
        "packages" if key == BOXES else key: raw for key, raw in shipment.items() if key != empty
    }


def _is_full(items: msgspec.Raw | None) -> bool:
    return items is not None and bytes(items).translate(None, b" \t\r\n") not in (b"null", b"[]")


#: Python refuses to read numbers of thousands of digits.
_NUMBERS_AS_TEXT: Mapping[str, Any] = MappingProxyType({"parse_int": str, "parse_float": str})


class Earlier(str):
    """A key that comes again in the same object; equal to nothing but itself."""

    __slots__ = ()
    __hash__ = object.__hash__

    # Those of `object` leave the answer to the other side, which is a str.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other


def has_repeated(text: bytes) -> bool:
    """Tell whether any object in a JSON text gives a key twice."""
    found = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        found.append(len(dict(pairs)) < len(pairs))

    json.loads(text, object_pairs_hook=look, **_NUMBERS_AS_TEXT)
    return any(found)


def read_repeated(text: bytes) -> dict[str, msgspec.Raw]:
    """Read an object whose keys may come twice; all but the last are `Earlier`."""
    msgspec.json.decode(text, type=dict[str, msgspec.Raw])  # or refuse what is none
    pairs = list(_cut(text.decode()))
    last = {key: place for place, (key, _) in enumerate(pairs)}
    return {
        key if last[key] == place else Earlier(key): msgspec.Raw(value.encode())
        for place, (key, value) in enumerate(pairs)
    }


def _cut(text: str) -> Iterator[tuple[str, str]]:
    """Cut an object into its keys and the JSON texts of their values."""
    scan = json.JSONDecoder(**_NUMBERS_AS_TEXT).raw_decode
    end = text.index("{")
    while text[start := _skip(text, end + 1)] != "}":
        key, end = scan(text, start)
        start = _skip(text, _skip(text, end) + len(":"))
        _, end = scan(text, start)
        yield key, text[start:end]
        end = _skip(text, end)
        if text[end] == "}":
            return


def _skip(text: str, start: int) -> int:
    while text[start] in " \t\r\n":
        start += 1
    return start
