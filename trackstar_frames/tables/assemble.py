"""Batches to finished tables, and finished tables joined and split: by connection, by orders."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.flatten.layout import ORDER_INDEX, Batch, batch_schema, empty_batch
from trackstar_frames.flatten.values import MAX_EXACT_INT
from trackstar_frames.pagination.threads import ThreadPool
from trackstar_frames.schema import CONNECTION, TABLES
from trackstar_frames.tables.completeness import (
    CONTENT_COLUMNS,
    END,
    NEVER,
    Contents,
    Packed,
    Rows,
    shipped_at,
)

#: Numbers of rows or orders.
Numbers = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
_Mask = npt.NDArray[np.bool_]
_Tables = Mapping[str, pa.Table]

_DROPPED = -1
_NO_ORDER = -1  # as a row's number; and so, as an index, the last position
_STAMP = pa.timestamp("us", tz="UTC")
_NO_DATE = np.iinfo(np.int64).min
_FEW_ORDERS = 500  # starting threads for them takes longer than joining them


def assemble(
    batches: Sequence[Batch],  # as the server sent the pages; emptied, to free their memory
    kept: Numbers | None = None,  # the orders to keep, numbered over all batches, if known
    *,
    repeats: Sequence[bool] = (),  # of each batch, whether its orders are expected in others, too
) -> tuple[dict[str, pa.Table], int]:
    """Join batches into the tables of the schema, and count the orders dropped as duplicates."""
    batches = batches or [empty_batch()]
    orders = _concat_orders(batches, "id", "created_date", "updated_date")
    kept = _sorted(orders, _newest(orders) if kept is None else kept)
    duplicates, is_repeat = len(orders) - len(kept), []
    if any(repeats):
        duplicates = _count_duplicates(batches, repeats)
        without_order = [batch["problems"][ORDER_INDEX].null_count for batch in batches]
        is_repeat = np.repeat(repeats, without_order).tolist()
    rows = _join(batches, kept)
    for name, column in _computed(rows).items():
        rows["orders"].table = rows["orders"].table.append_column(name, column)
    ids = rows["orders"].table["id"]
    tables = {name: _finish(name, each, ids) for name, each in rows.items()}
    if is_repeat:
        problems = tables["problems"]
        first = len(problems) - len(is_repeat)
        new = drop_repeats(problems[first:], is_repeat)
        tables["problems"] = pa.concat_tables([problems[:first], new])
    return tables, duplicates


def drop_repeats(problems: pa.Table, repeats: Sequence[bool]) -> pa.Table:
    """Drop the problems of no order that are expected in other batches, too, and are there."""
    names = TABLES["problems"].schema.names
    values = list(zip(*(problems[name].to_pylist() for name in names), strict=True))
    known = {value for value, repeat in zip(values, repeats, strict=True) if not repeat}
    keep = []
    for value, repeat in zip(values, repeats, strict=True):
        keep.append(not repeat or value not in known)
        known.add(value)
    return problems.filter(pa.array(keep, pa.bool_()))


def sort(batches: Sequence[Batch]) -> Batch:
    """Join batches into one, its orders by `created_date`, then `id`; duplicates stay."""
    orders = _concat_orders(batches, "id", "created_date")
    rows = _join(batches, _sorted(orders, np.arange(len(orders))))
    return {name: each.as_batch() for name, each in rows.items()}


def select(batch: Batch, kept: Numbers) -> Batch:
    """Select orders of a batch by their numbers, in ascending order, with all rows below them."""
    if len(kept) == len(batch["orders"]):
        return batch
    return {name: each.as_batch() for name, each in _join([batch], kept).items()}


#: What is read of the tables below the orders for their completeness.
COMPLETENESS_INPUTS = {
    "line_items": ("order_id", "product_id", "sku", "quantity"),
    "shipments": ("order_id", "shipment_index", "status", "shipped_date"),
    **dict.fromkeys(
        ("shipment_line_items", "package_line_items"),
        ("order_id", "shipment_index", *CONTENT_COLUMNS),
    ),
}


def completeness(ids: pa.ChunkedArray, tables: _Tables) -> dict[str, pa.Array]:
    """Compute the columns of orders, in this sequence, that say how far they have shipped."""
    known, rows = ids.combine_chunks(), {}
    for name in COMPLETENESS_INPUTS:
        order = pc.index_in(tables[name]["order_id"], value_set=known).cast(pa.int64())
        rows[name] = _JoinedRows(tables[name], order.to_numpy(), len(known))
    return _units_and_dates(rows)


def take(table: pa.Table, rows: Numbers) -> pa.Table:
    """Take rows of a table by their numbers, in this sequence."""
    columns = [_take(column, pa.array(rows)) for column in table.columns]
    return pa.Table.from_arrays(columns, schema=table.schema)


def as_batch(tables: Mapping[str, pa.Table]) -> Batch:
    """Turn finished tables into a batch again."""
    ids = tables["orders"]["id"].combine_chunks()
    batch = {}
    for name, table in tables.items():
        number = pa.array(np.arange(len(ids)))
        if name != "orders":
            number = pc.index_in(table["order_id"], value_set=ids).cast(pa.int64())
        batch[name] = table.append_column(ORDER_INDEX, number).select(batch_schema(name).names)
    return batch


def split(tables: Mapping[str, pa.Table], size: int) -> Iterator[dict[str, pa.Table]]:
    """Split finished tables into runs of so many orders, at least one, with all rows below them."""
    orders = len(tables["orders"])
    if orders <= size:
        yield dict(tables)
        return
    numbers = {
        name: table[ORDER_INDEX].fill_null(orders).to_numpy()
        for name, table in as_batch(tables).items()
    }
    for start in range(0, orders, size):
        # Rows of no order come with the last run.
        end = start + size if start + size < orders else orders + 1
        spans = {name: np.searchsorted(number, [start, end]) for name, number in numbers.items()}
        yield {name: tables[name][first:last] for name, (first, last) in spans.items()}


def are_labelled(tables: _Tables) -> bool:
    """Return whether tables are of several connections."""
    return CONNECTION.name in tables["orders"].column_names


def label_rows(table: pa.Table, connection: str) -> pa.Table:
    """Add a connection's label to every row of a table."""
    labels = pa.repeat(pa.scalar(connection, pa.string()), len(table))
    return table.add_column(0, CONNECTION.field, labels)


def concat(parts: Mapping[str, _Tables]) -> dict[str, pa.Table]:
    """Concatenate the tables of several connections, in this order, with labels."""
    return {
        name: pa.concat_tables(
            [
                table.labelled.schema.empty_table(),
                *(label_rows(tables[name], connection) for connection, tables in parts.items()),
            ]
        )
        for name, table in TABLES.items()
    }


def split_by_connection(
    tables: _Tables, labels: Iterable[str] = ()
) -> dict[str, dict[str, pa.Table]]:
    """Split tables by the label of their rows, and drop it; the inverse of `concat`.

    Connections have a table even where they have no row, and so has each of `labels`.
    """
    runs = {name: dict(_runs(table)) for name, table in tables.items()}
    labels = sorted({*labels, *(connection for each in runs.values() for connection in each)})
    nothing = {name: TABLES[name].schema.empty_table() for name in tables}
    return {
        connection: {name: own.get(connection, nothing[name]) for name, own in runs.items()}
        for connection in labels
    }


def _concat_orders(batches: Sequence[Batch], *columns: str) -> pa.Table:
    return pa.concat_tables(batch["orders"].select(columns) for batch in batches)


def _newest(orders: pa.Table) -> Numbers:
    """Return the numbers of the newest order of each id by `updated_date`; of equals, the last."""
    ids = orders["id"].combine_chunks().dictionary_encode()
    codes, newest = ids.indices.to_numpy(), np.empty(len(ids.dictionary), np.int64)
    if len(newest) == len(orders):
        return np.arange(len(orders))
    updated = orders["updated_date"].cast(pa.int64()).fill_null(_NO_DATE).to_numpy()
    oldest_first = np.argsort(updated, kind="stable")
    newest[codes[oldest_first]] = oldest_first  # of several of one id, the last one stays
    return np.sort(newest)


def _sorted(orders: pa.Table, kept: Numbers) -> Numbers:
    """Sort numbers of orders by `created_date`, then `id`, nulls last."""
    chosen = orders.select(["created_date", "id"]).take(pa.array(kept))
    by = [("created_date", "ascending"), ("id", "ascending")]
    sequence: Numbers = pc.sort_indices(chosen, sort_keys=by).to_numpy()
    return kept[sequence]


def _count_duplicates(batches: Sequence[Batch], repeats: Sequence[bool]) -> int:
    """Count the duplicates in the batches that do not repeat others."""
    firsts = [batch for batch, repeat in zip(batches, repeats, strict=True) if not repeat]
    if not firsts:
        return 0
    ids = _concat_orders(firsts, "id")["id"]
    return len(ids) - int(pc.count_distinct(ids).as_py())


def _finish(name: str, rows: _JoinedRows, ids: pa.ChunkedArray) -> pa.Table:
    """Return exactly the columns of the schema, the id of each row's order among them."""
    table, schema = rows.table, TABLES[name].schema
    if "order_id" in schema.names and "order_id" not in table.column_names:
        table = table.append_column("order_id", ids.take(pa.array(rows.order)))
    return table.select(schema.names)


def _runs(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Split a table into the rows of each connection, in their order, without its label."""
    labels = table[CONNECTION.name].combine_chunks().dictionary_encode()
    table = table.drop_columns(CONNECTION.name)
    codes = labels.indices.to_numpy(zero_copy_only=False)
    if np.any(np.diff(codes) < 0):
        sequence = np.argsort(codes, kind="stable")
        table, codes = table.take(pa.array(sequence)), codes[sequence]
    # Codes are given in the order of first appearance: those of contiguous rows only rise.
    bounds = np.searchsorted(codes, np.arange(len(labels.dictionary) + 1))
    for code, connection in enumerate(labels.dictionary.to_pylist()):
        yield connection, table[bounds[code] : bounds[code + 1]]


# The rows of several batches, table by table.


@dataclass(slots=True)
class _JoinedRows:
    """The rows of one table, in the sequence of their orders."""

    table: pa.Table
    order: Numbers  # of each row; `orders` for rows of none, which come last
    orders: int  # how many there are

    def as_batch(self) -> pa.Table:
        """Return the rows as a table of a batch."""
        number = pa.array(self.order, mask=self.order == self.orders)
        return self.table.add_column(0, ORDER_INDEX, number)

    def count(self, column: str | None = None) -> Numbers:
        """Count the rows of each order, or those whose column is not null."""
        order = self.order
        if column is not None:
            order = order[pc.is_valid(self.table[column]).to_numpy()]
        return np.bincount(order, minlength=self.orders)

    def total(self, column: str) -> _Floats:
        """Sum a column over the rows of each order; nulls count as 0."""
        values = self.table[column].fill_null(0).to_numpy()
        return _sum_by(self.order, values, self.orders)


def _join(batches: Sequence[Batch], kept: Numbers) -> dict[str, _JoinedRows]:
    """Join the rows of the kept orders, in this sequence; the batches are emptied."""
    starts = np.cumsum([0, *(len(batch["orders"]) for batch in batches)])
    position = np.full(starts[-1] + 1, _DROPPED)
    position[kept] = np.arange(len(kept))
    position[_NO_ORDER] = len(kept)  # after all orders
    rows = {}
    with nullcontext() if len(kept) <= _FEW_ORDERS else ThreadPool(pa.cpu_count()) as threads:
        for name in TABLES:
            parts = [batch.pop(name) for batch in batches]
            rows[name] = _join_table(parts, starts, position, threads.map if threads else map)
            if threads:
                release_memory()
    return rows


def _join_table(
    parts: list[pa.Table],
    starts: Numbers,
    position: Numbers,
    map_columns: Callable[..., Iterator[pa.Array]],
) -> _JoinedRows:
    """Join the parts of a table in the sequence of their orders, without those of dropped ones."""
    numbers = [
        pc.add(part[ORDER_INDEX], start).fill_null(_NO_ORDER).to_numpy()
        for part, start in zip(parts, starts, strict=False)
    ]
    moved = position[np.concatenate(numbers)]
    sequence = np.argsort(moved, kind="stable")[np.count_nonzero(moved == _DROPPED) :]
    joined = pa.concat_tables(part.drop_columns(ORDER_INDEX) for part in parts)
    rows, schema, columns = pa.array(sequence), joined.schema, joined.columns
    # From here on, the memory of each column is free once it was taken.
    del joined
    parts.clear()

    def take_column(number: int) -> pa.Array | pa.ChunkedArray:
        column, columns[number] = columns[number], None
        return _take(column, rows)

    taken = list(map_columns(take_column, range(len(columns))))
    table = pa.Table.from_arrays(taken, schema=schema)
    return _JoinedRows(table, moved[sequence], position[_NO_ORDER])


def _take(column: pa.ChunkedArray, rows: pa.Array) -> pa.Array | pa.ChunkedArray:
    # Arrow's default pool keeps what its threads have freed: half as much memory again.
    pool = pa.system_memory_pool()
    try:
        whole = column.combine_chunks(memory_pool=pool)
    except pa.ArrowInvalid:  # 2 GiB of text or more, which 32 bits cannot count
        wide = pa.large_list(pa.large_string()) if pa.types.is_list(column.type) else None
        whole = column.cast(wide or pa.large_string()).combine_chunks(memory_pool=pool)
        return pa.chunked_array(_take_in_parts(whole, rows, column.type))
    return pc.take(whole, rows, memory_pool=pool)


def _take_in_parts(values: pa.Array, rows: pa.Array, kind: pa.DataType) -> list[pa.Array]:
    """Take rows in as many parts as needed for each to be of the narrower type."""
    try:
        return [pc.take(values, rows, memory_pool=pa.system_memory_pool()).cast(kind)]
    except pa.ArrowInvalid:
        halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        return [part for half in halves for part in _take_in_parts(values, half, kind)]


# The columns of the orders that are computed from the rows below them.


def _computed(rows: Mapping[str, _JoinedRows]) -> dict[str, pa.Array]:
    lines, shipments, packages = (rows[name] for name in ("line_items", "shipments", "packages"))
    without_cost = packages.count("shipping_cost") == 0
    return {
        "line_item_count": pa.array(lines.count()),
        "shipment_count": pa.array(shipments.count()),
        "package_count": pa.array(packages.count()),
        **_units_and_dates(rows),
        "shipping_cost": pa.array(packages.total("shipping_cost"), mask=without_cost),
    }


def _units_and_dates(rows: Mapping[str, _JoinedRows]) -> dict[str, pa.Array]:
    """Compute how much was ordered and shipped, and when first, last and completely."""
    lines, shipments = rows["line_items"], rows["shipments"]
    orders = shipments.orders
    first = np.concatenate(([0], np.cumsum(shipments.count())))

    def contents_of(name: str) -> Packed:
        table, order = rows[name].table, rows[name].order
        return Packed(table, order, first[order] + table["shipment_index"].to_numpy())

    contents = Contents.of_tables(
        orders,
        Rows(lines.table, lines.order),
        Rows(shipments.table, shipments.order),
        contents_of("shipment_line_items"),
        contents_of("package_line_items"),
    )
    coverage = contents.shipped_by(np.full(orders, END))
    date = shipped_at(shipments.table)
    order, date = shipments.order[date != NEVER], date[date != NEVER]
    dates = pd.Series(date).groupby(order)
    complete = contents.complete_dates(order, date, coverage)
    # All that has shipped, where it is unknown what was ordered.
    shipped = coverage.units + np.where(contents.is_unknown, coverage.surplus, 0)
    return {
        "units_ordered": _as_ints(contents.net, contents.is_unknown),
        "units_shipped": _as_ints(shipped),
        "units_overshipped": _as_ints(coverage.surplus, contents.is_unknown),
        "first_shipped_date": _as_dates(dates.min(), orders),
        "last_shipped_date": _as_dates(dates.max(), orders),
        "complete_shipped_date": pa.array(complete, mask=complete == NEVER).cast(_STAMP),
    }


def _as_dates(microseconds: pd.Series[int], orders: int) -> pa.Array:
    whole = microseconds.reindex(range(orders), fill_value=_NO_DATE).to_numpy(np.int64)
    return pa.array(whole, mask=whole == _NO_DATE).cast(_STAMP)


def _as_ints(sums: _Floats, is_unknown: _Mask | None = None) -> pa.Array:
    """Return sums as integers, null where one is unknown, or too large to be exact."""
    is_null = np.abs(sums) >= MAX_EXACT_INT
    if is_unknown is not None:
        is_null |= is_unknown
    return pa.array(np.where(is_null, 0, sums).astype(np.int64), mask=is_null)


def _sum_by(groups: npt.ArrayLike, values: npt.ArrayLike, size: int) -> _Floats:
    return np.bincount(groups, weights=values, minlength=size).astype(np.float64)


# Memory.

# Only glibc has it. Arrow calls it too, but not for all that its threads have freed.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def release_memory() -> None:
    """Return freed memory to the system; worth its milliseconds after hundreds of megabytes."""
    for pool in (pa.default_memory_pool(), pa.system_memory_pool()):
        pool.release_unused()
    if _trim is not None:
        _trim(0)


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Have Arrow keep freed memory for what comes next, where tables come and go by the dozen."""
    # Its usual pool returns all to the system at once, and requests as much again: a tenth of the
    # time. The pool is the whole process's, so this is for work that takes seconds.
    with _pool_lock:
        _former_pools.append(pa.default_memory_pool())
        if "jemalloc" in pa.supported_memory_backends():
            pa.set_memory_pool(pa.jemalloc_memory_pool())
    try:
        yield
    finally:
        with _pool_lock:
            pa.set_memory_pool(_former_pools.pop())


#: One for each use of `keep_freed_memory`: the last one to end, whichever it is, restores the
#: usual pool, which is the first.
_former_pools: list[pa.MemoryPool] = []
_pool_lock = threading.Lock()
