"""What Arrow read of a page, as the rows of the tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.flatten._shape import BATCH, BOXES, batch_schema, put, stored_columns
from trackstar_frames.schema import TABLES

__all__ = ["Extra", "Rows"]

_Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Extra:
    """The values under one path that has no column: where in the text, of which rows, and what."""

    path: tuple[str, ...]
    starts: _Numbers
    rows: _Numbers
    texts: list[bytes]


class Rows:
    """The rows of one table: what Arrow read, by path, and the numbers that place them."""

    def __init__(self, table: str, rows: pa.StructArray, **places: _Numbers) -> None:
        self.table = table
        self.places = places or {BATCH: np.arange(len(rows))}
        self.values = dict(_leaves(rows))
        self.extra: list[Extra] = []

    def children(self, table: str, key: str) -> Rows:
        """Open a list of rows; a shipment's packages may be its older boxes."""
        lists = self.values[key,]
        if table == "packages":
            lists = _packages_or_boxes(lists, self.values[BOXES,])
        lengths = pc.list_value_length(lists).fill_null(0).to_numpy()
        parent = np.repeat(np.arange(len(lists)), lengths)
        index = np.arange(len(parent)) - (np.cumsum(lengths) - lengths)[parent]
        places = {name: place[parent] for name, place in self.places.items()}
        name = TABLES[table].key[-1]
        return Rows(table, lists.flatten(), **places, **{name: index})

    def as_table(self) -> pa.Table:
        """Give the rows as a table of a batch."""
        values = {
            column.name: self.values.get(column.path)
            for column in stored_columns(TABLES[self.table])
        }
        values |= {name: pa.array(place) for name, place in self.places.items()}
        values["extra"] = self._extra_column()
        schema = batch_schema(self.table)
        return pa.Table.from_arrays([values[name] for name in schema.names], schema=schema)

    def paths(self, rows: _Numbers) -> list[str]:
        """Tell where rows stand in their orders, as the beginnings of paths."""
        keys = TABLES[self.table].path.removesuffix("[]").split("[].")
        places = [place[rows].tolist() for name, place in self.places.items() if name != BATCH]
        if not places:
            return [""] * len(rows)
        return list(map("".join(f"{key}[{{}}]." for key in keys).format, *places))

    def _extra_column(self) -> pa.Array:
        texts: list[bytes | None] = [None] * len(self.places[BATCH])
        for row, text in _as_objects(self.extra):
            texts[row] = text
        return pa.array(texts, pa.string())


def _as_objects(found: list[Extra]) -> Iterator[tuple[int, bytes]]:
    """Put the values of each row into one JSON object."""
    if len(found) == 1:  # as a rule, and much faster
        (only,) = found
        before = b"".join(b"{%b:" % msgspec.json.encode(key) for key in only.path)
        after = b"}" * len(only.path)
        for row, text in zip(only.rows.tolist(), only.texts, strict=True):
            yield row, b"%b%b%b" % (before, text, after)
        return
    rows: dict[int, dict[str, Any]] = {}
    for _, row, path, text in sorted(
        (start, row, each.path, text)
        for each in found
        for start, row, text in zip(each.starts, each.rows, each.texts, strict=True)
    ):
        put(rows.setdefault(row, {}), path, msgspec.Raw(text))
    for row, members in rows.items():
        yield row, msgspec.json.encode(members)


def _leaves(rows: pa.StructArray, path: tuple[str, ...] = ()) -> Iterator[tuple[Any, pa.Array]]:
    for member, values in zip(rows.type, rows.flatten(), strict=True):
        here = (*path, member.name)
        if pa.types.is_struct(member.type):
            yield from _leaves(values, here)
        else:
            yield here, values


def _packages_or_boxes(packages: pa.ListArray, boxes: pa.ListArray) -> pa.ListArray:
    full = [
        pc.greater(pc.list_value_length(each), 0).fill_null(False) for each in (packages, boxes)
    ]
    if pc.any(pc.and_(*full)).as_py():
        raise pa.ArrowInvalid("a shipment with packages and boxes")
    return pc.if_else(full[1], boxes, packages) if pc.any(full[1]).as_py() else packages
