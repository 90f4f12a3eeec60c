"""What the fast way reads by itself, and what it takes out as JSON text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any

import msgspec
import pyarrow as pa

from trackstar_frames.schema import ARROW_TYPES, TABLES, Column, Table

__all__ = [
    "BATCH",
    "BOXES",
    "LISTS",
    "LONGEST_ID",
    "Batch",
    "Layout",
    "Path",
    "attribute",
    "batch_schema",
    "put",
    "stored_columns",
]


_UNDECLARABLE = re.compile(r'["\\\x00-\x1f]')
_LONGEST_KEY = 200


@dataclass(frozen=True)
class Layout:
    """How the fast way reads an order.

    Attributes
    ----------
    taken : frozenset of Path
        The values that are taken out of the JSON as text before Arrow reads the rest:
        the free-form ones, and those under keys or of types that the schema does not know.
    """

    taken: frozenset[Path]

    @classmethod
    def of_schema(cls) -> Layout:
        """Take out what is free-form by the schema, and nothing else."""
        return cls(
            frozenset(
                (table.name, column.path)
                for table in TABLES.values()
                for column in table.columns
                if column.kind == "json" and column.path
            )
        )

    @staticmethod
    def can_take(path: Path) -> bool:
        """Tell whether a value can be taken out: neither rows, nor what msgspec cannot declare.

        Nor what is better not kept in mind: a key of megabytes.
        """
        table, keys = path
        rows = len(keys) == 1 and keys[0] in _lists(table)
        return not rows and not any(
            len(key) > _LONGEST_KEY or _UNDECLARABLE.search(key) for key in keys
        )

    def with_taken(self, paths: Iterable[Path]) -> Layout:
        """Take out more."""
        return Layout(self.taken.union(paths))

    @cached_property
    def schema(self) -> pa.Schema:
        """The types of an order's members in Arrow; what is taken out has left a null."""
        return pa.schema(self._fields("orders"))

    @cached_property
    def read_lines(self) -> Callable[[bytes], list[Any]]:
        """Read newline-separated orders, for what is taken out alone."""
        return msgspec.json.Decoder(self._readers["orders"]).decode_lines

    def rows(self, orders: list[Any]) -> dict[str, list[Any]]:
        """Arrange what `read_lines` gave as the rows of each table that something is taken from."""
        found = {"orders": orders}
        for table, lists in LISTS.items():
            for child in lists.values():
                if child in self._readers:
                    keys = [key for key, below in _lists(table).items() if below == child]
                    found[child] = list(_children(found[table], keys))
        return found

    def _fields(self, table: str) -> list[pa.Field]:
        # Dates come as texts: as moments, Arrow would not tell which of them name no zone.
        known = {
            column.path: pa.string() if column.kind == "timestamp" else ARROW_TYPES[column.kind]
            for column in stored_columns(TABLES[table])
        }
        known.update((path, pa.null()) for owner, path in self.taken if owner == table)
        known.pop((), None)
        known.update(
            ((key,), pa.list_(pa.struct(self._fields(child))))
            for key, child in _lists(table).items()
        )
        return _as_fields(_nested(known))

    @cached_property
    def _readers(self) -> dict[str, Any]:
        """For each table that something is taken from, or from below it, what reads its rows."""
        found: dict[str, Any] = {}
        for table in reversed(LISTS):
            known: dict[tuple[str, ...], Any] = {
                path: msgspec.Raw for owner, path in self.taken if owner == table
            }
            for key, child in _lists(table).items():
                if child in found:
                    known[key,] = _lists_of(found[child])
            if known:
                found[table] = _as_struct(_nested(known))
        return found


def _lists_of(row: Any) -> Any:
    return list[row | None] | None


def attribute(key: str) -> str:
    """Name the attribute that holds a key's value in what `Layout.read_lines` gave."""
    return "k" + key.encode().hex()


def _lists(table: str) -> dict[str, str]:
    lists = LISTS[table]
    return lists | {BOXES: lists["packages"]} if "packages" in lists else lists


def _children(parents: Iterable[Any], keys: Iterable[str]) -> Iterator[Any]:
    names = [attribute(key) for key in keys]
    for parent in parents:
        for name in names:
            yield from getattr(parent, name, None) or ()


def _nested(flat: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path, value in flat.items():
        put(root, path, value)
    return root


def _as_fields(tree: Mapping[str, Any]) -> list[pa.Field]:
    return [
        pa.field(key, pa.struct(_as_fields(kind)) if isinstance(kind, dict) else kind)
        for key, kind in tree.items()
    ]


def _as_struct(tree: Mapping[str, Any]) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for key, kind in tree.items():
        inner = _as_struct(kind) | None if isinstance(kind, dict) else kind
        default = msgspec.Raw() if kind is msgspec.Raw else None
        fields.append((attribute(key), inner, default))
    names = {attribute(key): key for key in tree}
    return msgspec.defstruct("Taken", fields, rename=names, gc=False)


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
