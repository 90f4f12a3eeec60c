"""The tables of a batch, and what Arrow reads of the JSON of an order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import msgspec
import pyarrow as pa

from trackstar_frames.schema import ARROW_TYPES, LISTS, TABLES, Column

#: The tables of a page by name: `ORDER_INDEX`, then the columns of `Table.stored`. An order without
#: an id is no row of `orders`, but kept whole in `problems`.
Batch = dict[str, pa.Table]

#: A table, and the keys from the JSON object of one of its rows to a value.
Path = tuple[str, tuple[str, ...]]

#: The column with the position of each row's order in its batch; null for rows of no order.
ORDER_INDEX = "_order"

#: Every row below an order repeats its id, so a longer text is not taken for one.
MAX_ID_LENGTH = 1000

#: The message in `problems` of a key that the schema does not know.
UNKNOWN_KEY = "unknown key, kept in extra"

#: msgspec cannot declare a field with these characters in its name.
_UNDECLARABLE = re.compile(r'["\\\x00-\x1f]')
_MAX_KEY_LENGTH = 200


@cache
def batch_schema(name: str) -> pa.Schema:
    """Return the Arrow schema of a table of a batch."""
    fields = [column.field for column in TABLES[name].stored]
    return pa.schema([pa.field(ORDER_INDEX, pa.int64()), *fields])


def empty_batch() -> Batch:
    """Return a batch of no orders."""
    return {name: batch_schema(name).empty_table() for name in TABLES}


@dataclass(frozen=True)
class Layout:
    """What Arrow reads of an order, and what is extracted before."""

    #: The values that are cut out of the JSON as text: the free-form ones, and those whose keys or
    #: types are not the schema's.
    extracted: frozenset[Path]

    @classmethod
    def of_schema(cls) -> Layout:
        """Return the layout that extracts free-form values only."""
        free_form = frozenset(
            (table.name, column.path)
            for table in TABLES.values()
            for column in table.columns
            if column.kind == "json" and column.path
        )
        return cls(free_form)

    @staticmethod
    def can_extract(path: Path) -> bool:
        """Return whether a value can be extracted: no list of rows, no key that is too odd."""
        table, keys = path
        if not keys or (len(keys) == 1 and keys[0] in _lists(table)):
            return False
        return not any(len(key) > _MAX_KEY_LENGTH or _UNDECLARABLE.search(key) for key in keys)

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow types of an order's members; of an extracted value, a null is left."""
        return pa.schema(self._fields("orders"))

    def read_values(self, lines: bytes) -> Iterator[tuple[Path, list[Any]]]:
        """Read only the extracted values of newline-separated orders; yield those of each path."""
        rows: dict[str, list[Any]] = {"orders": self._decoder.decode_lines(lines)}
        for table, lists in LISTS.items():
            keys = _lists(table).items()
            for child in lists.values():
                if child in self._structs:
                    names = [_attribute(key) for key, each in keys if each == child]
                    rows[child] = [
                        row
                        for parent in rows[table]
                        for name in names
                        for row in getattr(parent, name, None) or ()
                    ]
        for table, path in self.extracted:
            values = rows[table]
            for name in map(_attribute, path):
                values = [getattr(value, name, None) for value in values]
            yield (table, path), values

    def _fields(self, table: str) -> list[pa.Field]:
        known: dict[Any, pa.DataType] = {
            column.path: _type_to_read(column)
            for column in TABLES[table].stored
            if column.path is not None
        }
        known |= {path: pa.null() for owner, path in self.extracted if owner == table}
        for key, child in _lists(table).items():
            value = TABLES[child].value
            item = _type_to_read(value) if value else pa.struct(self._fields(child))
            known[key,] = pa.list_(item)
        return _as_fields(_nested(known))

    @cached_property
    def _decoder(self) -> msgspec.json.Decoder[Any]:
        return msgspec.json.Decoder(self._structs["orders"])

    @cached_property
    def _structs(self) -> dict[str, Any]:
        """The struct of each table's rows that anything is extracted from, or from below them."""
        structs: dict[str, Any] = {}
        for table in reversed(LISTS):
            known: dict[tuple[str, ...], Any] = {
                path: msgspec.Raw for owner, path in self.extracted if owner == table
            }
            for key, child in _lists(table).items():
                if row := structs.get(child):
                    known[key,] = list[row | None] | None  # type: ignore[valid-type]
            if known:
                structs[table] = _as_struct(_nested(known))
        return structs


def set_nested(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a value in nested dicts, and make those that are missing."""
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


@cache
def _lists(table: str) -> dict[str, str]:
    """Return the lists of rows below a table's rows, those under older keys too."""
    older = {TABLES[child].older_key: child for child in LISTS[table].values()}
    return {**LISTS[table], **{key: child for key, child in older.items() if key}}


def _type_to_read(column: Column) -> pa.DataType:
    # Dates are read as text: from timestamps, one could not see which of them name no time zone.
    return pa.string() if column.kind == "timestamp" else ARROW_TYPES[column.kind]


def _nested(flat: Mapping[Any, Any]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path, value in flat.items():
        set_nested(root, path, value)
    return root


def _as_fields(tree: Mapping[str, Any]) -> list[pa.Field]:
    return [
        pa.field(key, pa.struct(_as_fields(kind)) if isinstance(kind, dict) else kind)
        for key, kind in tree.items()
    ]


def _attribute(key: str) -> str:
    """Return the attribute that has a key's value in a struct."""
    return "k" + key.encode().hex()


def _as_struct(tree: Mapping[str, Any]) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for key, kind in tree.items():
        inner = _as_struct(kind) | None if isinstance(kind, dict) else kind
        default = msgspec.Raw() if kind is msgspec.Raw else None
        fields.append((_attribute(key), inner, default))
    names = {_attribute(key): key for key in tree}
    return msgspec.defstruct("Extracted", fields, rename=names, gc=False)
