"""The fast reader: Arrow reads a page as it is, and its columns are cut into tables.

There is no Python object per value, but for the values that the layout extracts as text. A page of
which anything is not as the layout expects is refused as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from trackstar_frames.flatten.layout import (
    MAX_ID_LENGTH,
    ORDER_INDEX,
    UNKNOWN_KEY,
    Batch,
    Layout,
    Path,
    batch_schema,
    set_nested,
)
from trackstar_frames.flatten.values import (
    EARLIEST_DATE,
    MAX_EXACT_INT,
    ROUNDED_DIGITS,
    convert,
    is_rounded,
)
from trackstar_frames.http.responses import has_constant
from trackstar_frames.schema import ARROW_TYPES, LISTS, TABLES

_Numbers = npt.NDArray[np.int64]
_Bytes = npt.NDArray[np.uint8]

#: For each of some values, where it starts and ends in the text, and the number of its row.
_Spans = npt.NDArray[np.int64]

#: What `flatten_fast` raises for orders that it refuses.
REFUSALS = (pa.ArrowInvalid, msgspec.DecodeError, RecursionError)


def flatten_fast(orders: Sequence[msgspec.Raw], layout: Layout) -> Batch:
    """Flatten orders all at once, or raise one of `REFUSALS`."""
    received = b"\n".join(orders)
    extraction = _Extraction(received, _as_lines(orders, received), layout)
    text = extraction.text_without_values()
    tables = {"orders": _TableColumns("orders", _read(text, layout))}
    for parent, lists in LISTS.items():
        for key, child in lists.items():
            tables[child] = tables[parent].children(key, child)
    for rows in tables.values():
        _read_dates(rows)
    _refuse_out_of_range(tables.values())
    _refuse_rounded(text)
    extraction.put_back(tables)
    _refuse_anonymous(tables["orders"])
    batch = {name: rows.as_table() for name, rows in tables.items()}
    return batch | {"problems": extraction.problems(tables["orders"])}


def _as_lines(orders: Sequence[msgspec.Raw], received: bytes) -> bytes:
    """Put each order on one line; no byte changes its position."""
    if len(received) >= _MAX_BLOCK:
        raise pa.ArrowInvalid(f"{len(received):,} bytes at once")
    if not orders or b"\n" not in bytes(orders[0]):
        return received  # if another order has several lines, reading refuses it
    # Outside of strings, where JSON allows none, the end of a line means as much as a space.
    return b"\n".join(bytes(order).translate(_LINE_ENDS_TO_SPACES) for order in orders)


_MAX_BLOCK = 2**31 - 1  # Arrow counts the bytes of a block in 32 bits
_LINE_ENDS_TO_SPACES = bytes.maketrans(b"\r\n", b"  ")


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


class _Extra(NamedTuple):
    """Values under one path that `extra` keeps, and their JSON texts."""

    path: tuple[str, ...]
    spans: _Spans
    texts: list[bytes]


class _TableColumns:
    """One table of a batch, column by column."""

    def __init__(self, table: str, rows: pa.Array, numbers: Mapping[str, _Numbers] = {}) -> None:
        self.table = table
        #: By key column, the position of each row's order, and the row's in each list below it.
        self.numbers = dict(numbers) or {ORDER_INDEX: np.arange(len(rows))}
        self.values = dict(_leaves(rows))  # by path
        self.extra: list[_Extra] = []

    def children(self, key: str, table: str) -> _TableColumns:
        """Return the rows of a list in each of these rows."""
        lists = self.values[key,]
        if older_key := TABLES[table].older_key:
            lists = _either(lists, self.values[older_key,])
        lengths = pc.list_value_length(lists).fill_null(0).to_numpy()
        parents = np.repeat(np.arange(len(lists)), lengths)
        numbers = {name: values[parents] for name, values in self.numbers.items()}
        index = np.arange(len(parents)) - (np.cumsum(lengths) - lengths)[parents]
        return _TableColumns(table, lists.flatten(), numbers | {TABLES[table].key[-1]: index})

    def as_table(self) -> pa.Table:
        """Return the rows as a table of a batch."""
        values = {column.name: self.values.get(column.path) for column in TABLES[self.table].stored}
        values |= {name: pa.array(numbers) for name, numbers in self.numbers.items()}
        schema = batch_schema(self.table)
        if "extra" in values:
            texts: list[bytes | None] = [None] * len(self.numbers[ORDER_INDEX])
            for row, text in _as_objects(self.extra):
                texts[row] = text
            values["extra"] = pa.array(texts, pa.string())
        return pa.Table.from_arrays([values[name] for name in schema.names], schema=schema)

    def path_prefixes(self, rows: _Numbers) -> list[str]:
        """Return how the paths in an order begin for these rows, such as ``shipments[0].``."""
        if self.table == "orders":
            return [""] * len(rows)
        keys = TABLES[self.table].key[1:]
        numbers = [self.numbers[name][rows].tolist() for name in keys]
        return list(map(f"{TABLES[self.table].path}.".replace("[]", "[{}]").format, *numbers))


def _leaves(rows: pa.Array, path: tuple[str, ...] = ()) -> Iterator[tuple[Any, pa.Array]]:
    """Yield the arrays inside of structs, and their paths."""
    if not pa.types.is_struct(rows.type):
        yield path, rows
        return
    for member, values in zip(rows.type, rows.flatten(), strict=True):
        yield from _leaves(values, (*path, member.name))


def _either(lists: pa.ListArray, older: pa.ListArray) -> pa.ListArray:
    """Return the lists under either key; a row must not have both."""
    filled = [pc.greater(pc.list_value_length(each), 0).fill_null(False) for each in (lists, older)]
    if pc.any(pc.and_(*filled)).as_py():
        raise pa.ArrowInvalid("a list under its key and under its older key")
    return pc.if_else(filled[1], older, lists) if pc.any(filled[1]).as_py() else lists


def _as_objects(extras: list[_Extra]) -> Iterator[tuple[int, bytes]]:
    """Yield the values of each row as one JSON object, with the number of the row."""
    if len(extras) == 1:  # as a rule, and much faster
        (only,) = extras
        before = b"".join(b"{%b:" % msgspec.json.encode(key) for key in only.path)
        after = b"}" * len(only.path)
        for row, text in zip(only.spans[:, 2].tolist(), only.texts, strict=True):
            yield row, b"%b%b%b" % (before, text, after)
        return
    objects: dict[int, dict[str, Any]] = {}
    for _, row, path, text in sorted(
        (start, row, each.path, text)
        for each in extras
        for (start, _, row), text in zip(_each(each.spans), each.texts, strict=True)
    ):
        set_nested(objects.setdefault(row, {}), path, msgspec.Raw(text))
    for row, members in objects.items():
        yield row, msgspec.json.encode(members)


# What Arrow reads, but not as the schema means it.


def _read_dates(rows: _TableColumns) -> None:
    """Read texts as timestamps; Arrow refuses those that name no time zone, but for whole days."""
    for column in TABLES[rows.table].stored:
        if column.kind == "timestamp":
            texts = rows.values[column.path]
            if pa.types.is_string(texts.type):  # not extracted
                rows.values[column.path] = _with_midnights(texts).cast(column.field.type)


def _with_midnights(texts: pa.Array) -> pa.Array:
    """Spell whole days as their first instants."""
    lengths = pc.binary_length(texts)
    if pc.min(lengths).as_py() != _DAY_LENGTH:
        return texts
    midnights = pc.binary_join_element_wise(texts, "T00:00:00Z", "")
    return pc.if_else(pc.equal(lengths, _DAY_LENGTH), midnights, texts)


_DAY_LENGTH = len("2026-01-31")


def _refuse_out_of_range(tables: Iterable[_TableColumns]) -> None:
    """Refuse floats that were perhaps larger integers, and dates that are placeholders."""
    for rows in tables:
        for values in rows.values.values():
            if pa.types.is_floating(values.type):
                _refuse_beyond(values, -MAX_EXACT_INT + 1, MAX_EXACT_INT - 1)
            elif pa.types.is_timestamp(values.type):
                _refuse_beyond(values.view(pa.int64()), *_DATES)


def _refuse_beyond(values: pa.Array, lowest: int, highest: int) -> None:
    found = pc.min_max(values).as_py()
    if found["min"] is not None and not lowest <= found["min"] <= found["max"] <= highest:
        raise pa.ArrowInvalid(f"values from {found['min']} to {found['max']}")


#: From the earliest date to the end of the year 9999, in microseconds since 1970.
_DATES = (int(EARLIEST_DATE.timestamp()) * 1_000_000, 253_402_300_799_999_999)


def _refuse_anonymous(orders: _TableColumns) -> None:
    ids = orders.values["id",]
    lengths = pc.min_max(pc.binary_length(ids)).as_py()
    if ids.null_count or not 1 <= lengths["min"] <= lengths["max"] <= MAX_ID_LENGTH:
        raise pa.ArrowInvalid("an order without an id")


def _refuse_rounded(text: bytes) -> None:
    """Refuse decimals that a float64 rounds: those of many digits, and those far below one."""
    letters = np.frombuffer(text, np.uint8)
    # In pieces that stay in the processor's cache: three times as fast.
    pieces = [(at, letters[at : at + _PIECE]) for at in range(0, len(letters), _PIECE)]
    points, dashes = (
        np.concatenate([np.flatnonzero(piece == letter) + at for at, piece in pieces])
        for letter in (_POINT, _DASH)
    )
    suspects = _with_many_digits(letters, points), _in_exponents(letters, dashes)
    for at in np.concatenate(suspects).tolist():
        head = text[max(at - _MAX_DIGITS, 0) : at]
        start = at - len(head) + len(head.rstrip(b"0123456789.eE").rstrip(b"-"))
        found = _DECIMAL.match(text, start - 1)
        if found and is_rounded(number := found["number"].decode(), float(number)):
            raise pa.ArrowInvalid("a decimal that float64 rounds")


def _with_many_digits(letters: _Bytes, points: _Numbers) -> _Numbers:
    """Choose the decimal points with many digits around them."""
    # Most points are in prices: so many digits reach half as far, on one side or the other.
    far = letters.take([points - _HALF, points + _HALF], mode="clip") - _ZERO < _DIGITS
    points = points[far.any(axis=0)]
    before, after = (_count_digits(letters, points, step) for step in (-1, 1))
    return points[(before > 0) & (after > 0) & (before + after >= ROUNDED_DIGITS)]


def _in_exponents(letters: _Bytes, dashes: _Numbers) -> _Numbers:
    """Choose the dashes that can be in exponents; those of dates and most ids cannot."""
    dashes = dashes[letters[dashes - 1] | _LOWER == _E]
    for side in (-2, 1):
        dashes = dashes[letters[dashes + side] - _ZERO < _DIGITS]
    return dashes


def _count_digits(letters: _Bytes, points: _Numbers, step: int) -> _Numbers:
    """Count the digits on one side of each point, as far as that matters."""
    counts = np.zeros(len(points), np.int64)
    counting, at = np.arange(len(points)), points
    # This cannot run over an end of the text: each point is inside an object.
    for _ in range(ROUNDED_DIGITS):
        at = at + step
        is_digit = letters[at] - _ZERO < _DIGITS
        counting, at = counting[is_digit], at[is_digit]
        counts[counting] += 1
    return counts


#: A number in JSON, outside of the beginning of a string.
_DECIMAL = re.compile(rb"[:,\[\s](?P<number>-?\d+(\.\d+)?([eE][+-]?\d+)?)")
_MAX_DIGITS = 400  # a number with more digits before its point is too large for a float64
_PIECE = 2**18
_POINT, _DASH, _ZERO, _E = b".-0e"
_LOWER = 0x20  # the bit that lower case adds to a letter
_DIGITS = 10  # a byte is a digit if its distance from zero, which has no sign, is less
_HALF = ROUNDED_DIGITS // 2

# The values that the layout extracts.

_KINDS = {
    (table.name, column.path): column.kind for table in TABLES.values() for column in table.columns
}


class _Extraction:
    """The values of a page that are read as text."""

    def __init__(self, received: bytes, lines: bytes, layout: Layout) -> None:
        # Both are the orders, byte by byte; but in `lines`, each order is on one line.
        self._text = received
        self._lines = lines
        base = pa.py_buffer(lines).address
        self._spans: dict[Path, _Spans] = {
            path: _find_spans(values, base) for path, values in layout.read_values(lines)
        }
        self._problems: list[pa.Table] = []

    def text_without_values(self) -> bytes:
        """Return the lines with a null in place of each value."""
        # Bytes rather than views: thousands of those would keep the garbage collector busy.
        text, behind, pieces = self._lines, 0, []
        spans = np.concatenate([np.empty((0, 3), np.int64), *self._spans.values()])
        for start, end, _ in _each(spans[np.argsort(spans[:, 0])]):
            pieces.append(text[behind:start])
            behind = end
        return b"null".join([*pieces, text[behind:]])

    def put_back(self, tables: Mapping[str, _TableColumns]) -> None:
        """Fill the columns of the values; what has no column goes to `extra`."""
        for (table, path), spans in self._spans.items():
            rows, texts = tables[table], self._texts(spans)
            if (table, path) in _KINDS:
                rows.values[path] = self._column(rows, path, spans, texts)
            elif len(spans):
                rows.extra.append(_Extra(path, spans, texts))
                nothing, unknown = [None] * len(spans), [UNKNOWN_KEY] * len(spans)
                self._add_problems(rows, path, spans, nothing, unknown)

    def problems(self, orders: _TableColumns) -> pa.Table:
        """Return the problems found by `put_back`, in the order of the text."""
        schema = batch_schema("problems")
        if not self._problems:
            return schema.empty_table()
        found = pa.concat_tables(self._problems).sort_by("start")
        ids = orders.values["id",].take(found[ORDER_INDEX].combine_chunks())
        return found.append_column("order_id", ids).select(schema.names).cast(schema)

    def _texts(self, spans: _Spans) -> list[bytes]:
        """Cut values out of the text; those that are no JSON are for the careful reader."""
        texts = [self._text[start:end] for start, end, _ in _each(spans)]
        if has_constant(b" ".join(texts)):
            raise pa.ArrowInvalid("NaN or Infinity")
        return texts

    def _column(
        self, rows: _TableColumns, path: tuple[str, ...], spans: _Spans, texts: list[bytes]
    ) -> pa.Array:
        kind, numbers = _KINDS[rows.table, path], spans[:, 2].tolist()
        values: list[Any] = [None] * len(rows.values[path])
        if kind == "json":
            for row, text in zip(numbers, texts, strict=True):
                values[row] = None if text == b"null" else text  # as it is, and much faster
            return pa.array(values, ARROW_TYPES[kind])
        converted = [convert(kind, text) for text in texts]
        for row, each in zip(numbers, converted, strict=True):
            values[row] = each.value
        if failed := [at for at, each in enumerate(converted) if each.message is not None]:
            messages = [converted[at].message for at in failed]
            received = [texts[at].decode() for at in failed]
            self._add_problems(rows, path, spans[failed], received, messages)
        if in_extra := [at for at, each in enumerate(converted) if each.in_extra]:
            rows.extra.append(_Extra(path, spans[in_extra], [texts[at] for at in in_extra]))
        return pa.array(values, ARROW_TYPES[kind])

    def _add_problems(
        self,
        rows: _TableColumns,
        path: tuple[str, ...],
        spans: _Spans,
        values: Sequence[str | None],
        messages: Sequence[str | None],
    ) -> None:
        starts, _, found = spans.T
        last = ".".join(path)
        problems = {
            "start": starts,
            ORDER_INDEX: rows.numbers[ORDER_INDEX][found],
            "table": pa.repeat(rows.table, len(found)),
            "path": [f"{prefix}{last}" for prefix in rows.path_prefixes(found)],
            "value": pa.array(values, pa.string()),
            "message": pa.array(messages, pa.string()),
        }
        self._problems.append(pa.table(problems))


def _find_spans(values: list[Any], base: int) -> _Spans:
    buffers = [pa.py_buffer(b"" if value is None else value) for value in values]
    sizes = np.fromiter((buffer.size for buffer in buffers), np.int64, len(values))
    starts = np.fromiter((buffer.address for buffer in buffers), np.int64, len(values)) - base
    found = np.flatnonzero(sizes)
    return np.column_stack((starts[found], starts[found] + sizes[found], found))


def _each(spans: _Spans) -> Iterator[tuple[int, int, int]]:
    return zip(*spans.T.tolist(), strict=True)
