"""What the fast way takes out of the JSON as text: found, cut out, and put where it belongs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trackstar_frames.convert import CONVERTERS
from trackstar_frames.flatten._careful import UNKNOWN
from trackstar_frames.flatten._layout import Layout, attribute
from trackstar_frames.flatten._rows import Rows
from trackstar_frames.flatten._shape import BATCH, Path, batch_schema
from trackstar_frames.schema import ARROW_TYPES, TABLES

__all__ = ["Taken"]

#: Which kind of column a path leads to.
_KINDS = {
    (table.name, column.path): column.kind for table in TABLES.values() for column in table.columns
}

_Spans = npt.NDArray[np.int64]  # of each value: where it starts and ends in the text, its row


class _Problem(NamedTuple):
    start: int
    table: str
    row: int
    path: tuple[str, ...]
    value: str | None
    message: str


class Taken:
    """The values of a page that are read as text.

    Parameters
    ----------
    text
        The orders, one on each line.
    layout
        Says which values.
    """

    def __init__(self, text: bytes, layout: Layout) -> None:
        self._text = text
        rows = layout.rows(layout.read_lines(text))
        base = pa.py_buffer(text).address
        self._spans: dict[Path, _Spans] = {
            (table, path): _spans(rows[table], path, base) for table, path in layout.taken
        }
        self._problems: list[_Problem] = []

    def rest(self) -> bytes:
        """Give the text with a null in the place of each value."""
        spans = np.concatenate([np.empty((0, 3), np.int64), *self._spans.values()])
        starts, ends, _ = spans[np.argsort(spans[:, 0])].T.tolist()
        view = memoryview(self._text)
        between = zip([0, *ends], [*starts, len(view)], strict=True)
        return b"null".join([view[start:end] for start, end in between])

    def put_back(self, tables: Mapping[str, Rows]) -> None:
        """Fill columns with their values, and `extra` with what has no column."""
        unknown = []
        for (table, path), spans in self._spans.items():
            if (table, path) in _KINDS:
                rows = tables[table]
                rows.values[path] = self._column(table, path, len(rows.values[path]))
            else:
                unknown += [(*span, table, path) for span in spans.tolist()]
        for start, end, row, table, path in sorted(unknown):
            tables[table].add_extra(row, path, msgspec.Raw(self._text[start:end]))
            self._problems.append(_Problem(start, table, row, path, None, UNKNOWN))

    def problems(self, tables: Mapping[str, Rows]) -> pa.Table:
        """Tell what could not be kept in its column, in the order of the text."""
        ids = tables["orders"].values["id",].to_pylist() if self._problems else []
        found = []
        for problem in sorted(self._problems):
            rows = tables[problem.table]
            number = int(rows.places[BATCH][problem.row])
            path = rows.path(problem.row) + ".".join(problem.path)
            found.append(
                (number, problem.table, ids[number], path, problem.value, problem.message)
            )
        schema = batch_schema("problems")
        values = zip(*found, strict=True) if found else ([] for _ in schema)
        arrays = [pa.array(each, kind) for each, kind in zip(values, schema.types, strict=True)]
        return pa.Table.from_arrays(arrays, schema=schema)

    def _column(self, table: str, path: tuple[str, ...], length: int) -> pa.Array:
        kind = _KINDS[table, path]
        values: list[Any] = [None] * length
        for start, end, row in self._spans[table, path].tolist():
            text = self._text[start:end]
            if text == b"null":
                continue
            if kind == "json":
                values[row] = text  # as it is, and much faster
                continue
            try:
                values[row] = CONVERTERS[kind](text)
            except ValueError as error:
                told = _Problem(start, table, row, path, text.decode(), str(error))
                self._problems.append(told)
        return pa.array(values, ARROW_TYPES[kind])


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
