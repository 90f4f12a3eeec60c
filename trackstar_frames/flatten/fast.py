"""The fast way: Arrow reads a page as it stands, and its columns are cut into tables.

No Python object per value, but for what the layout takes out as text. What is not as the
layout expects is refused as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from trackstar_frames.flatten.careful import UNKNOWN
from trackstar_frames.flatten.layout import (
    BATCH,
    BOXES,
    LISTS,
    LONGEST_ID,
    Batch,
    Layout,
    Path,
    attribute,
    batch_schema,
    put,
    stored_columns,
)
from trackstar_frames.flatten.values import (
    EXACT,
    FIRST_DATE,
    MANY_DIGITS,
    Kept,
    convert,
    is_rounded,
)
from trackstar_frames.http.responses import has_constant
from trackstar_frames.schema import ARROW_TYPES, TABLES

__all__ = ["REFUSALS", "Extra", "Rows", "Taken", "flatten_fast"]


_Numbers = npt.NDArray[np.int64]

#: What `flatten_fast` raises for orders that it does not take.
REFUSALS = (pa.ArrowInvalid, msgspec.DecodeError, RecursionError)


def flatten_fast(orders: Sequence[msgspec.Raw], layout: Layout) -> Batch:
    """Flatten orders all at once.

    Raises
    ------
    pyarrow.ArrowInvalid, msgspec.DecodeError, RecursionError
        If a value or a key is not as the layout expects.
    """
    received = b"\n".join(orders)
    taken = Taken(received, _as_lines(orders, received), layout)
    rest = taken.rest()
    tables = {"orders": Rows("orders", _read(rest, layout))}
    for table, lists in LISTS.items():
        for key, child in lists.items():
            tables[child] = tables[table].children(child, key)
    for rows in tables.values():
        _read_dates(rows)
    _refuse_doubtful(tables.values())
    _refuse_rounded(rest)
    taken.put_back(tables)
    _refuse_anonymous(tables["orders"])
    batch = {name: rows.as_table() for name, rows in tables.items()}
    return batch | {"problems": taken.problems(tables)}


def _as_lines(orders: Sequence[msgspec.Raw], received: bytes) -> bytes:
    """Put each order on one line; no byte changes its place."""
    if len(received) >= _TOO_LONG:
        raise pa.ArrowInvalid(f"{len(received):,} bytes at once")
    if not orders or b"\n" not in bytes(orders[0]):
        return received  # if another order is printed on several lines, reading refuses it
    # Outside of strings, a line's end is but a space.
    return b"\n".join(bytes(order).translate(_ON_ONE_LINE) for order in orders)


#: Arrow counts a block's bytes in 32 bits.
_TOO_LONG = 2**31 - 1


_ON_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def _read(text: bytes, layout: Layout) -> pa.StructArray:
    table = pyarrow.json.read_json(
        pa.BufferReader(text),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=layout.schema, unexpected_field_behavior="error"
        ),
        # Arrow's default pool keeps what its threads have freed: half as much memory again.
        memory_pool=pa.system_memory_pool(),
    )
    (batch,) = table.combine_chunks().to_batches()
    return batch.to_struct_array()


def _read_dates(rows: Rows) -> None:
    """Read texts as moments; what names no zone is refused, but for whole days."""
    for column in stored_columns(TABLES[rows.table]):
        if column.kind == "timestamp":
            texts = rows.values[column.path]
            if pa.types.is_string(texts.type):  # not taken out
                rows.values[column.path] = _midnights(texts).cast(column.field.type)


def _midnights(texts: pa.Array) -> pa.Array:
    """Write days as their first instants."""
    lengths = pc.binary_length(texts)
    if pc.min(lengths).as_py() != _DAY:
        return texts
    midnights = pc.binary_join_element_wise(texts, "T00:00:00Z", "")
    return pc.if_else(pc.equal(lengths, _DAY), midnights, texts)


_DAY = len("2026-01-31")


def _refuse_doubtful(tables: Iterable[Rows]) -> None:
    """Refuse numbers that were perhaps whole but for float64, and dates that stand for none."""
    for rows in tables:
        for values in rows.values.values():
            if pa.types.is_floating(values.type):
                _refuse_beyond(values, -EXACT + 1, EXACT - 1)
            elif pa.types.is_timestamp(values.type):
                _refuse_beyond(values.view(pa.int64()), *_CALENDAR)


def _refuse_beyond(values: pa.Array, lowest: int, highest: int) -> None:
    found = pc.min_max(values).as_py()
    if found["min"] is not None and not lowest <= found["min"] <= found["max"] <= highest:
        raise pa.ArrowInvalid(f"values from {found['min']} to {found['max']}")


#: The dates that stand for one, up to the year 9999, in microseconds since 1970.
_CALENDAR = (int(FIRST_DATE.timestamp()) * 1_000_000, 253_402_300_799_999_999)


def _refuse_rounded(text: bytes) -> None:
    """Refuse decimals that a float64 rounds: of many digits, or far below one."""
    letters = np.frombuffer(text, np.uint8)
    # In pieces that stay in the processor's cache: three times as fast.
    pieces = [(at, letters[at : at + _PIECE]) for at in range(0, len(letters), _PIECE)]
    points, dashes = (
        np.concatenate([np.flatnonzero(piece == letter) + at for at, piece in pieces])
        for letter in (_POINT, _DASH)
    )
    for place in [*_of_many_digits(letters, points), *_of_exponents(letters, dashes)]:
        head = text[max(place - _LONGEST, 0) : place]
        start = place - len(head) + len(head.rstrip(b"0123456789.eE").rstrip(b"-"))
        found = _DECIMAL.match(text, start - 1)
        if found and is_rounded(number := found["number"].decode(), float(number)):
            raise pa.ArrowInvalid("a decimal that float64 rounds")


def _of_many_digits(letters: npt.NDArray[np.uint8], points: _Numbers) -> list[int]:
    """Choose the points that have many digits beside them."""
    # Most points are of prices: so many digits reach so far, one way or the other.
    far = letters.take([points - _HALF, points + _HALF], mode="clip") - _ZERO < _DIGITS
    points = points[far.any(axis=0)]
    before, after = (_count_digits(letters, points, step) for step in (-1, 1))
    chosen: list[int] = points[
        (before > 0) & (after > 0) & (before + after >= MANY_DIGITS)
    ].tolist()
    return chosen


def _of_exponents(letters: npt.NDArray[np.uint8], dashes: _Numbers) -> list[int]:
    """Choose the dashes that can be of exponents; those of dates and most ids are not."""
    dashes = dashes[letters[dashes - 1] | _LOWER == _E]
    is_between = (letters[dashes - 2] - _ZERO < _DIGITS) & (letters[dashes + 1] - _ZERO < _DIGITS)
    chosen: list[int] = dashes[is_between].tolist()
    return chosen


#: As it can stand in JSON, and not at the beginning of a text.
_DECIMAL = re.compile(rb"[:,\[\s](?P<number>-?\d+(\.\d+)?([eE][+-]?\d+)?)")

#: What is longer before its point is too large to be exact.
_LONGEST = 400


def _count_digits(letters: npt.NDArray[np.uint8], points: _Numbers, step: int) -> _Numbers:
    """Count the digits beside each point, one way, as far as that matters.

    There is no end to run over: each point is inside an object.
    """
    counts = np.zeros(len(points), np.int64)
    left, place = np.arange(len(points)), points
    for _ in range(MANY_DIGITS):
        place = place + step
        digits = letters[place] - _ZERO < _DIGITS
        left, place = left[digits], place[digits]
        counts[left] += 1
    return counts


_PIECE = 2**18
_POINT, _DASH, _ZERO, _E = np.frombuffer(b".-0e", np.uint8)
_LOWER = 0x20  # the bit that a letter in lower case has more
_DIGITS = 10  # below it, a letter's distance from zero, as bytes have no sign
_HALF = MANY_DIGITS // 2


def _refuse_anonymous(orders: Rows) -> None:
    ids = orders.values["id",]
    lengths = pc.min_max(pc.binary_length(ids)).as_py()
    if ids.null_count or not 1 <= lengths["min"] <= lengths["max"] <= LONGEST_ID:
        raise pa.ArrowInvalid("an order without an id")


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


_RowNumbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Extra:
    """The values under one path that has no column: where in the text, of which rows, and what."""

    path: tuple[str, ...]
    starts: _RowNumbers
    rows: _RowNumbers
    texts: list[bytes]


class Rows:
    """The rows of one table: what Arrow read, by path, and the numbers that place them."""

    def __init__(self, table: str, rows: pa.StructArray, **places: _RowNumbers) -> None:
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

    def paths(self, rows: _RowNumbers) -> list[str]:
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
