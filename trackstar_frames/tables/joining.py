"""Batches joined: the rows of every table, in one sequence of their orders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.flatten import BATCH, Batch, batch_schema
from trackstar_frames.schema import TABLES
from trackstar_frames.tables.memory import give_back
from trackstar_frames.threads import ThreadPool

__all__ = ["Numbers", "Rows", "Sums", "as_batch", "join", "keys", "split", "sums", "take", "valid"]

Numbers = npt.NDArray[np.int64]
Sums = npt.NDArray[np.float64]

_DROPPED = -1
_NONE = -1  # the number of no order, and the last place


def keys(batches: Sequence[Batch], *columns: str) -> pa.Table:
    """Join some columns of the orders, in the order of their numbers."""
    return pa.concat_tables(batch["orders"].select(columns) for batch in batches)


def join(batches: Sequence[Batch], kept: Numbers) -> dict[str, Rows]:
    """Join batches, table by table.

    Parameters
    ----------
    batches
        What `Flattener` gave. They are emptied: their memory is given back as the tables are
        made.
    kept
        The numbers of the orders to keep, over all batches, in the sequence to keep them in.
        Rows of no order come last.
    """
    starts = np.cumsum([0, *(len(batch["orders"]) for batch in batches)])
    place = np.full(starts[-1] + 1, _DROPPED)
    place[kept] = np.arange(len(kept))
    place[_NONE] = len(kept)  # behind all orders
    rows = {}
    with ThreadPool(pa.cpu_count()) as threads:
        for name in TABLES:
            parts = [batch.pop(name) for batch in batches]
            rows[name] = _follow(parts, starts, place, threads.map)
            give_back()
    return rows


def as_batch(tables: Mapping[str, pa.Table]) -> Batch:
    """Turn finished tables into a batch again; the inverse of what makes them."""
    ids = tables["orders"]["id"].combine_chunks()
    batch = {}
    for name, table in tables.items():
        schema = batch_schema(name)
        number = (
            pa.array(np.arange(len(ids)))
            if name == "orders"
            else pc.index_in(table["order_id"], value_set=ids).cast(pa.int64())
        )
        batch[name] = table.append_column(BATCH, number).select(schema.names)
    return batch


def split(tables: Mapping[str, pa.Table], size: int) -> Iterator[dict[str, pa.Table]]:
    """Cut finished tables into runs of so many orders, each with all that is below them.

    Rows of no order come with the last run; of no orders at all there is one run.
    """
    orders = len(tables["orders"])
    if orders <= size:
        yield dict(tables)
        return
    numbers = {name: table[BATCH].fill_null(orders) for name, table in as_batch(tables).items()}
    for start in range(0, orders, size):
        end = start + size if start + size < orders else orders + 1
        spans = {
            name: np.searchsorted(number.to_numpy(), [start, end])
            for name, number in numbers.items()
        }
        yield {name: tables[name][first:last] for name, (first, last) in spans.items()}


@dataclass(slots=True)
class Rows:
    """The rows of a table in their orders' sequence, and the number of each row's order."""

    table: pa.Table
    order: Numbers
    orders: int

    def batch(self) -> pa.Table:
        """Give the rows as those of a batch."""
        number = pa.array(self.order, mask=self.order == self.orders)
        return self.table.add_column(0, BATCH, number)

    def count(self, column: str | None = None) -> Numbers:
        """Count the rows of each order, or those whose column is not null."""
        order = self.order if column is None else self.order[valid(self.table[column])]
        return np.bincount(order, minlength=self.orders)

    def total(self, column: str) -> Sums:
        """Sum a column over each order; null counts as nothing."""
        values = self.table[column].fill_null(0).to_numpy()
        return sums(self.order, values, self.orders)


def _follow(
    parts: list[pa.Table],
    starts: Numbers,
    place: Numbers,
    over: Callable[..., Iterable[pa.Array]],
) -> Rows:
    """Join a table's parts in their orders' sequence; rows of dropped orders go."""
    moved = place[_numbers(parts, starts)]
    sequence = np.argsort(moved, kind="stable")[np.count_nonzero(moved == _DROPPED) :]
    joined = pa.concat_tables(part.drop_columns(BATCH) for part in parts)
    rows, schema, columns = pa.array(sequence), joined.schema, joined.columns
    # From here on, each column's memory is free again once it was taken.
    del joined
    parts.clear()

    def take(number: int) -> pa.Array | pa.ChunkedArray:
        column, columns[number] = columns[number], None
        return _take(column, rows)

    table = pa.Table.from_arrays(list(over(take, range(len(columns)))), schema=schema)
    return Rows(table, moved[sequence], place[_NONE])


def take(table: pa.Table, rows: Numbers) -> pa.Table:
    """Take rows of a table by their numbers, in this sequence."""
    taken = [_take(column, pa.array(rows)) for column in table.columns]
    return pa.Table.from_arrays(taken, schema=table.schema)


def _take(column: pa.ChunkedArray, rows: pa.Array) -> pa.Array | pa.ChunkedArray:
    # Arrow's default pool keeps what its threads have freed: half as much memory again.
    pool = pa.system_memory_pool()
    try:
        whole = column.combine_chunks(memory_pool=pool)
    except pa.ArrowInvalid:  # 2 GiB of text or more, which 32 bits cannot count
        wide = pa.large_list(pa.large_string()) if pa.types.is_list(column.type) else None
        whole = column.cast(wide or pa.large_string()).combine_chunks(memory_pool=pool)
        return pa.chunked_array(_take_parts(whole, rows, column.type))
    return pc.take(whole, rows, memory_pool=pool)


def _take_parts(values: pa.Array, rows: pa.Array, kind: pa.DataType) -> list[pa.Array]:
    """Take rows in as many parts as it needs for each to be of the narrower type."""
    try:
        return [pc.take(values, rows, memory_pool=pa.system_memory_pool()).cast(kind)]
    except pa.ArrowInvalid:
        parts = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        return [taken for part in parts for taken in _take_parts(values, part, kind)]


def _numbers(parts: Sequence[pa.Table], starts: Numbers) -> Numbers:
    """Tell the number, over all parts, of the order that each row belongs to."""
    found = []
    for part, start in zip(parts, starts, strict=False):
        number = part[BATCH].fill_null(_NONE).to_numpy()
        found.append(np.where(number == _NONE, _NONE, number + start))
    return np.concatenate(found)


def sums(groups: npt.ArrayLike, values: npt.ArrayLike, size: int) -> Sums:
    """Sum the values of each group."""
    return np.bincount(groups, weights=values, minlength=size).astype(np.float64)


def valid(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Tell which values are not null."""
    found: npt.NDArray[np.bool_] = pc.is_valid(column).to_numpy()
    return found
