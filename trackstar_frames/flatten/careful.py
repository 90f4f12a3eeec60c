"""The careful reader: every value by itself, from its own JSON text.

It reads any order, and is slow, as it creates Python objects for each value.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from trackstar_frames.flatten.layout import MAX_ID_LENGTH, UNKNOWN_KEY, Batch, Path, batch_schema
from trackstar_frames.flatten.values import as_text, convert, is_plain, read_list
from trackstar_frames.http.responses import as_received, has_constant, is_constant, with_nulls
from trackstar_frames.schema import LISTS, TABLES

_REPEATED = "given twice; the last is kept"
_CONSTANT = "NaN and Infinity are no JSON; null is kept in their place"
_ANONYMOUS = f"an order without an id of 1 to {MAX_ID_LENGTH:,} characters"

Members = Mapping[str, msgspec.Raw]

read_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def flatten_carefully(orders: Iterable[msgspec.Raw]) -> tuple[Batch, Counter[Path]]:
    """Return a batch, and how often each path was odd: an unknown key, or of another type."""
    rows = _BatchRows()
    for order in orders:
        rows.add(bytes(order))
    return {name: rows.table(name) for name in TABLES}, rows.odd


@dataclass(slots=True)
class _Node:
    """What the schema makes of one JSON value."""

    path: tuple[str, ...] = ()  # the keys from the row's object to the value
    column: tuple[int, str] | None = None  # its position in the row, and its kind
    table: str | None = None  # of its items, if it is a list of rows
    members: dict[str, _Node] = field(default_factory=dict)  # by key, if it is an object

    def below(self, path: tuple[str, ...]) -> _Node:
        """Return the node that a path leads to from here."""
        node = self
        for key in path:
            node = node.members.setdefault(key, _Node((*node.path, key)))
        return node


class _RowSpec(NamedTuple):
    """What the schema makes of a row."""

    root: _Node
    width: int  # the number of its cells
    older_keys: dict[str, str]  # to the current keys of the same lists


@cache
def _row_spec(table: str) -> _RowSpec:
    root, columns = _Node(), TABLES[table].stored
    for position, column in enumerate(columns, start=1):
        if column.path is not None:
            root.below(column.path).column = (position, column.kind)
    for key, child in LISTS[table].items():
        root.below((key,)).table = child
    older_keys = {
        older: key for key, child in LISTS[table].items() if (older := TABLES[child].older_key)
    }
    return _RowSpec(root, 1 + len(columns), older_keys)


class _RowRef(NamedTuple):
    """A row that values are put into."""

    table: str
    cells: list[Any]  # the number of its order, its position in each list, then its values
    key: tuple[int, ...]  # the positions


class _BatchRows:
    """The rows of a batch so far."""

    def __init__(self) -> None:
        self.odd: Counter[Path] = Counter()
        self._rows: dict[str, list[list[Any]]] = {name: [] for name in TABLES}
        self._number = -1
        self._order_id: str | None = None
        self._read_object: Callable[[bytes], dict[str, msgspec.Raw]] = read_object

    def add(self, order: bytes) -> None:
        """Flatten one order."""
        self._read_object = read_repeated if has_repeated(order) else read_object
        members = self._read_object(order)
        self._order_id = member_text(members, "id")
        if self._order_id is None or not 1 <= len(self._order_id) <= MAX_ID_LENGTH:
            row = [None, "orders", None, "", as_received(order).decode(), _ANONYMOUS]
            self._rows["problems"].append(row)
            return
        self._number += 1
        self._add_object("orders", (), members, "")

    def table(self, name: str) -> pa.Table:
        """Return one table of the batch."""
        schema, rows = batch_schema(name), self._rows[name]
        values = zip(*rows, strict=True) if rows else ([] for _ in schema)
        arrays = [pa.array(each, kind) for each, kind in zip(values, schema.types, strict=True)]
        return pa.Table.from_arrays(arrays, schema=schema)

    def _add_row(self, table: str, width: int, key: tuple[int, ...]) -> _RowRef:
        cells: list[Any] = [None] * width
        cells[: len(key) + 1] = (self._number, *key)
        self._rows[table].append(cells)
        return _RowRef(table, cells, key)

    def _add_object(self, table: str, key: tuple[int, ...], members: Members, path: str) -> None:
        """Add the row of an object, and those of the lists inside."""
        spec = _row_spec(table)
        for older_key, list_key in spec.older_keys.items():
            members = _with_current_key(members, list_key, older_key)
        row = self._add_row(table, spec.width, key)
        if extra := self._fill(row, spec.root, members, path):
            row.cells[-1] = msgspec.json.encode(extra).decode()

    def _fill(self, row: _RowRef, node: _Node, members: Members, path: str) -> dict[str, Any]:
        """Put the members of an object where they belong, and return what `extra` keeps."""
        extra: dict[str, Any] = {}
        for name, raw in members.items():
            text, known = bytes(raw), node.members.get(name)
            if known is None:
                if isinstance(name, _Overridden):
                    self._add_problem(row, path + name, text, _REPEATED)
                else:
                    extra[name] = msgspec.Raw(with_nulls(text))
                    self.odd[row.table, (*node.path, name)] += 1
                    self._add_problem(row, path + name, None, UNKNOWN_KEY)
                    if has_constant(text):
                        self._add_problem(row, path + name, text, _CONSTANT)
                continue
            if known.column is not None and self._fill_column(row, known, text, path, name):
                extra[name] = raw
            if known.table is not None:
                self._add_list(row, known, text, path + name)
            elif known.members:
                inner = self._parse(row, self._read_object, text, path + name)
                if kept := self._fill(row, known, inner or {}, f"{path}{name}."):
                    extra[name] = kept
        return extra

    def _fill_column(self, row: _RowRef, node: _Node, text: bytes, path: str, name: str) -> bool:
        """Put a value into its column, and return whether `extra` keeps its text, too."""
        if text == b"null" or node.column is None:
            return False
        position, kind = node.column
        plain = with_nulls(text)
        converted = convert(kind, plain)
        row.cells[position] = converted.value
        if converted.message is not None:
            self._add_problem(row, path + name, text, converted.message)
        elif plain is not text:  # some of it is a constant
            self._add_problem(row, path + name, text, _CONSTANT)
        if converted.message is not None or converted.in_extra or not is_plain(kind, text):
            self.odd[row.table, node.path] += 1
        return converted.in_extra

    def _add_list(self, row: _RowRef, node: _Node, text: bytes, path: str) -> None:
        """Add the rows of a list below a row."""
        if node.table is None or (node.column is not None and not text.startswith(b"[")):
            return  # the column has reported what is no list
        spec = _row_spec(node.table)
        for index, item in enumerate(self._parse(row, read_list, text, path) or []):
            key, here = (*row.key, index), f"{path}[{index}]"
            if spec.root.column is not None:
                value = self._add_row(node.table, spec.width, key)
                self._fill_column(value, spec.root, bytes(item), here, "")
            else:
                members = self._parse(row, self._read_object, bytes(item), here)
                self._add_object(node.table, key, members or {}, f"{here}.")

    def _parse(self, row: _RowRef, read: Callable[[bytes], Any], text: bytes, path: str) -> Any:
        """Read an object or a list; if it is neither, report that and return None."""
        if text in (b"null", b'""'):
            return None
        if is_constant(text):
            self._add_problem(row, path, text, _CONSTANT)
            return None
        try:
            return read(text)
        except msgspec.ValidationError:
            expected = "a list" if read is read_list else "an object"
            self._add_problem(row, path, text, f"not {expected}")
            return None

    def _add_problem(self, row: _RowRef, path: str, text: bytes | None, message: str) -> None:
        value = None if text is None else as_received(text).decode()
        problem = [self._number, row.table, self._order_id, path, value, message]
        self._rows["problems"].append(problem)


def member_text(members: Members, key: str) -> str | None:
    """Return a member of an object as text; None if it is missing or no text."""
    try:
        return as_text(bytes(members[key]))
    except (KeyError, ValueError):
        return None


def _with_current_key(members: Members, key: str, older_key: str) -> Members:
    """Rename a list's older key to the current one, unless both have items."""
    if older_key not in members:
        return members
    has_older, has_current = (_has_items(members.get(each)) for each in (older_key, key))
    if has_older and has_current:
        return members
    dropped = key if has_older else older_key
    return {
        key if name == older_key else name: raw for name, raw in members.items() if name != dropped
    }


def _has_items(items: msgspec.Raw | None) -> bool:
    return items is not None and bytes(items).translate(None, b" \t\r\n") not in (b"null", b"[]")


#: Python refuses to read integers of thousands of digits.
_NUMBERS_AS_TEXT: Mapping[str, Any] = {"parse_int": str, "parse_float": str}


class _Overridden(str):
    """A key that follows once more in the same object; equal to nothing but itself."""

    __slots__ = ()
    __hash__ = object.__hash__

    # Those of `object` would leave the decision to the other operand, which is a str.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other


def has_repeated(text: bytes) -> bool:
    """Return whether any object in a JSON text has a key twice."""
    found: list[bool] = []
    json.loads(
        text,
        object_pairs_hook=lambda pairs: found.append(len(dict(pairs)) < len(pairs)),
        **_NUMBERS_AS_TEXT,
    )
    return any(found)


def read_repeated(text: bytes) -> dict[str, msgspec.Raw]:
    """Read an object that may have a key twice; only the last of equal keys is a plain str."""
    msgspec.json.decode(text, type=dict[str, msgspec.Raw])  # raises if it is no object
    pairs = list(_iter_members(text.decode()))
    last = {key: position for position, (key, _) in enumerate(pairs)}
    return {
        key if last[key] == position else _Overridden(key): msgspec.Raw(value.encode())
        for position, (key, value) in enumerate(pairs)
    }


def _iter_members(text: str) -> Iterator[tuple[str, str]]:
    """Yield the keys of an object, and the JSON texts of their values."""
    scan = json.JSONDecoder(**_NUMBERS_AS_TEXT).raw_decode
    end = text.index("{")
    while text[start := _skip_blanks(text, end + 1)] != "}":
        key, end = scan(text, start)
        start = _skip_blanks(text, _skip_blanks(text, end) + len(":"))
        _, end = scan(text, start)
        yield key, text[start:end]
        end = _skip_blanks(text, end)
        if text[end] == "}":
            return


def _skip_blanks(text: str, start: int) -> int:
    while text[start] in " \t\r\n":
        start += 1
    return start
