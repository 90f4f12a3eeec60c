"""What the fast way takes out of the JSON as text: found, cut out, and put where it belongs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trackstar_frames.flatten._careful import UNKNOWN
from trackstar_frames.flatten._layout import Layout, attribute
from trackstar_frames.flatten._rows import Extra, Rows
from trackstar_frames.flatten._shape import BATCH, Path, batch_schema
from trackstar_frames.flatten.convert import Kept, convert
from trackstar_frames.net.constants import has_constant
from trackstar_frames.schema import ARROW_TYPES, TABLES

__all__ = ["Taken"]

#: Which kind of column a path leads to.
_KINDS = {
    (table.name, column.path): column.kind for table in TABLES.values() for column in table.columns
}

_Spans = npt.NDArray[np.int64]  # of each value: where it starts and ends in the text, its row
_NULL = Kept()
_NO_SPANS = np.empty((0, 3), np.int64)


@dataclass(frozen=True, slots=True)
class _Problems:
    """What is told of the values under one path."""

    table: str
    path: tuple[str, ...]
    starts: Sequence[int]
    rows: Sequence[int]
    values: Sequence[str | None]
    messages: Sequence[str]


class Taken:
    """The values of a page that are read as text.

    Parameters
    ----------
    received
        The orders as they were received, each followed by a line's end.
    lines
        The same, byte by byte, but each order on one line.
    layout
        Says which values.
    """

    def __init__(self, received: bytes, lines: bytes, layout: Layout) -> None:
        self._text = received
        self._lines = lines
        rows = layout.rows(layout.read_lines(lines))
        base = pa.py_buffer(lines).address
        self._spans: dict[Path, _Spans] = {
            (table, path): _spans(rows[table], path, base) for table, path in layout.taken
        }
        self._problems: list[_Problems] = []

    def rest(self) -> bytes:
        """Give the lines with a null in the place of each value."""
        # Bytes rather than views: thousands of those would keep the garbage collector busy.
        text, behind, pieces = self._lines, 0, []
        spans = np.concatenate([_NO_SPANS, *self._spans.values()])
        for start, end, _ in _each(spans[np.argsort(spans[:, 0])]):
            pieces.append(text[behind:start])
            behind = end
        return b"null".join([*pieces, text[behind:]])

    def put_back(self, tables: Mapping[str, Rows]) -> None:
        """Fill columns with their values, and `extra` with what has no column."""
        for (table, path), spans in self._spans.items():
            rows = tables[table]
            if (table, path) in _KINDS:
                rows.values[path] = self._column(table, path, rows)
            elif len(spans):
                starts, _, places = spans.T
                rows.extra.append(Extra(path, starts, places, self._texts(spans)))
                kept, told = [None] * len(spans), [UNKNOWN] * len(spans)
                self._problems.append(_Problems(table, path, starts, places, kept, told))

    def problems(self, tables: Mapping[str, Rows]) -> pa.Table:
        """Tell what could not be kept in its column, in the order of the text."""
        schema = batch_schema("problems")
        if not self._problems:
            return schema.empty_table()
        parts = [_as_table(each, tables[each.table]) for each in self._problems]
        found = pa.concat_tables(parts).sort_by("start")
        ids = tables["orders"].values["id",].take(found[BATCH].combine_chunks())
        return found.append_column("order_id", ids).select(schema.names).cast(schema)

    def _column(self, table: str, path: tuple[str, ...], rows: Rows) -> pa.Array:
        kind, spans = _KINDS[table, path], self._spans[table, path]
        values: list[Any] = [None] * len(rows.values[path])
        texts = self._texts(spans)
        if kind == "json":
            for row, text in zip(spans[:, 2].tolist(), texts, strict=True):
                values[row] = None if text == b"null" else text  # as it is, and much faster
            return pa.array(values, ARROW_TYPES[kind])
        kept = [_NULL if text == b"null" else convert(kind, text) for text in texts]
        for row, each in zip(spans[:, 2].tolist(), kept, strict=True):
            values[row] = each.value
        self._tell(table, path, kept)
        in_extra = spans[[each.in_extra for each in kept]]
        if len(in_extra):
            starts, _, places = in_extra.T
            rows.extra.append(Extra(path, starts, places, self._texts(in_extra)))
        return pa.array(values, ARROW_TYPES[kind])

    def _tell(self, table: str, path: tuple[str, ...], kept: Sequence[Kept]) -> None:
        """Tell what was wrong with values under one path."""
        spans = self._spans[table, path][[each.message is not None for each in kept]]
        if len(spans):
            starts, _, rows = spans.T
            values = [text.decode() for text in self._texts(spans)]
            messages = [each.message for each in kept if each.message is not None]
            self._problems.append(_Problems(table, path, starts, rows, values, messages))

    def _texts(self, spans: _Spans) -> list[bytes]:
        """Cut the values out of the text; those that are no JSON are for the careful way."""
        texts = [self._text[start:end] for start, end, _ in _each(spans)]
        if has_constant(b" ".join(texts)):
            raise pa.ArrowInvalid("NaN or Infinity")
        return texts


def _as_table(problems: _Problems, rows: Rows) -> pa.Table:
    met = np.asarray(problems.rows)
    last = ".".join(problems.path)
    return pa.table(
        {
            "start": pa.array(problems.starts, pa.int64()),
            BATCH: rows.places[BATCH][met],
            "table": pa.repeat(problems.table, len(met)),
            "path": [f"{path}{last}" for path in rows.paths(met)],
            "value": pa.array(problems.values, pa.string()),
            "message": problems.messages,
        }
    )


def _each(spans: _Spans) -> Iterator[tuple[int, int, int]]:
    return zip(*spans.T.tolist(), strict=True)


def _spans(rows: list[Any], path: tuple[str, ...], base: int) -> _Spans:
    values = rows
    for key in path:
        name = attribute(key)
        values = [getattr(value, name, None) for value in values]
    buffers = [pa.py_buffer(b"" if value is None else value) for value in values]
    sizes = np.fromiter((buffer.size for buffer in buffers), np.int64, len(rows))
    starts = np.fromiter((buffer.address for buffer in buffers), np.int64, len(rows)) - base
    found = np.flatnonzero(sizes)
    return np.column_stack((starts[found], starts[found] + sizes[found], found))
