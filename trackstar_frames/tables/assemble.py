"""Batches to whole tables: joined, freed of duplicates, sorted, and with what is computed."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.flatten import BATCH, Batch, batch_schema
from trackstar_frames.flatten.values import EXACT
from trackstar_frames.pagination.threads import ThreadPool
from trackstar_frames.schema import TABLES

__all__ = [
    "Numbers",
    "Rows",
    "Sums",
    "as_batch",
    "assemble",
    "release_memory",
    "join",
    "keep_freed_memory",
    "keys",
    "new_strays",
    "select",
    "sort",
    "split",
    "sums",
    "take",
    "valid",
]


_NEVER = np.iinfo(np.int64).min


def assemble(
    batches: Sequence[Batch], kept: Numbers | None = None, *, repeats: Sequence[bool] = ()
) -> tuple[dict[str, pa.Table], int]:
    """Join batches into the tables of the schema.

    Of an order that is there more than once, the newest `updated_date` is kept with its
    children; of equals, the last. Orders are sorted by `created_date`, then `id`, nulls
    last; children as their orders, then by their places.

    Parameters
    ----------
    batches
        What `Flattener` gave, in the order in which the server gave the pages. They are
        emptied: their memory is given back as the tables are made.
    kept
        The numbers of the orders to keep, over all batches, where that is known.
    repeats
        Tells of each batch whether its orders are expected in others, too: those are no
        duplicates, and its rows of no order are kept only if no other batch has them.

    Returns
    -------
    dict of str to pyarrow.Table, int
        The tables by name, with exactly the columns of the schema; and how many orders
        were dropped as duplicates.
    """
    batches = batches or [{name: batch_schema(name).empty_table() for name in TABLES}]
    met = keys(batches, "id", "created_date", "updated_date")
    kept = _sorted(met, _newest(met) if kept is None else kept)
    duplicates = _count_duplicates(batches, repeats) if any(repeats) else len(met) - len(kept)
    again = _strays_of(batches, repeats) if any(repeats) else None
    rows = join(batches, kept)
    orders = rows["orders"].table
    for name, column in _computed(rows).items():
        orders = orders.append_column(name, column)
    rows["orders"].table = orders
    tables = {name: _finish(name, rows[name], orders["id"]) for name in TABLES}
    if again is not None:
        of_orders = len(tables["problems"]) - len(again)
        strays = tables["problems"][of_orders:]
        kept_strays = strays.filter(new_strays(strays, again))
        tables["problems"] = pa.concat_tables([tables["problems"][:of_orders], kept_strays])
    return tables, duplicates


def new_strays(strays: pa.Table, repeats: Sequence[bool]) -> pa.BooleanArray:
    """Choose which rows of no order to keep: of those that repeat others, what is new.

    Parameters
    ----------
    strays
        Rows of `problems`.
    repeats
        Tells of each row whether it is from where others are expected once more.
    """
    names = TABLES["problems"].schema.names
    values = list(zip(*(strays[name].to_pylist() for name in names), strict=True))
    known = {value for value, again in zip(values, repeats, strict=True) if not again}
    keep = []
    for value, again in zip(values, repeats, strict=True):
        keep.append(not again or value not in known)
        known.add(value)
    return pa.array(keep, pa.bool_())


def _count_duplicates(batches: Sequence[Batch], repeats: Sequence[bool]) -> int:
    """Count the orders that batches have twice, apart from those that repeat others."""
    firsts = [each for each, again in zip(batches, repeats, strict=True) if not again]
    if not firsts:
        return 0
    ids = keys(firsts, "id")["id"]
    return len(ids) - int(pc.count_distinct(ids).as_py())


def _strays_of(batches: Sequence[Batch], repeats: Sequence[bool]) -> list[bool]:
    """Tell of each row of no order whether its batch repeats others."""
    counts = [each["problems"][BATCH].null_count for each in batches]
    again: list[bool] = np.repeat(np.array(repeats, bool), counts).tolist()
    return again


def sort(batches: Sequence[Batch]) -> Batch:
    """Join batches into one, its orders by `created_date`, then `id`; duplicates stay."""
    met = keys(batches, "id", "created_date")
    rows = join(batches, _sorted(met, np.arange(len(met))))
    return {name: each.batch() for name, each in rows.items()}


def select(batch: Batch, kept: Numbers) -> Batch:
    """Choose orders of a batch by their numbers, which only rise, with all that is below them."""
    if len(kept) == len(batch["orders"]):
        return batch
    return {name: each.batch() for name, each in join([batch], kept).items()}


def _newest(orders: pa.Table) -> Numbers:
    """Choose the orders to keep, one for each id, by number."""
    codes = orders["id"].combine_chunks().dictionary_encode().indices.to_numpy()
    again = np.bincount(codes, minlength=1)[codes] > 1
    if not again.any():
        return np.arange(len(orders))
    numbers = pa.array(np.flatnonzero(again))
    dated = orders.select(["id", "updated_date"]).take(numbers).append_column("met", numbers)
    ranked = dated.sort_by([("updated_date", "ascending"), ("met", "ascending")])
    oldest_first = _nulls_first(ranked, "updated_date")
    best = dict(zip(oldest_first["id"].to_pylist(), oldest_first["met"].to_pylist(), strict=True))
    kept = np.concatenate([np.flatnonzero(~again), np.fromiter(best.values(), np.int64, len(best))])
    return np.sort(kept)


def _nulls_first(table: pa.Table, column: str) -> pa.Table:
    null = pc.is_null(table[column])
    return pa.concat_tables([table.filter(null), table.filter(pc.invert(null))])


def _sorted(orders: pa.Table, kept: Numbers) -> Numbers:
    chosen = orders.select(["created_date", "id"]).take(pa.array(kept))
    by = [("created_date", "ascending"), ("id", "ascending")]
    sequence: Numbers = pc.sort_indices(chosen, sort_keys=by).to_numpy()
    return kept[sequence]


def _finish(name: str, rows: Rows, ids: pa.ChunkedArray) -> pa.Table:
    """Name each row's order, and give exactly the columns of the schema."""
    table, schema = rows.table, TABLES[name].schema
    if "order_id" in schema.names and "order_id" not in table.column_names:
        table = table.append_column("order_id", ids.take(pa.array(rows.order)))
    return table.select(schema.names)


def _computed(rows: Mapping[str, Rows]) -> dict[str, pa.Array]:
    """Compute the columns of the orders that come from the rows below them."""
    lines, shipments, packages = (rows[name] for name in ("line_items", "shipments", "packages"))
    ordered = lines.total("quantity")
    return {
        "line_item_count": pa.array(lines.count()),
        "units_ordered": _whole(ordered),
        "shipment_count": pa.array(shipments.count()),
        "package_count": pa.array(packages.count()),
        **_ship_events(shipments, _units(rows["shipment_line_items"], shipments), ordered),
        "shipping_cost": pa.array(
            packages.total("shipping_cost"), mask=packages.count("shipping_cost") == 0
        ),
    }


def _units(lines: Rows, shipments: Rows) -> Sums:
    """Sum the units of each shipment."""
    first = np.concatenate(([0], np.cumsum(shipments.count())))
    shipment = first[lines.order] + lines.table["shipment_index"].to_numpy()
    units = lines.table["quantity"].fill_null(0).to_numpy()
    return sums(shipment, units, len(shipments.table))


def _ship_events(
    shipments: Rows, units: npt.NDArray[np.float64], ordered: Sums
) -> dict[str, pa.Array]:
    """Tell how much was shipped, and when first, last and completely."""
    cancelled = pc.equal(shipments.table["status"], "cancelled").fill_null(False)
    shipped = valid(shipments.table["shipped_date"]) & ~cancelled.to_numpy()
    events = pd.DataFrame(
        {
            "order": shipments.order[shipped],
            "date": shipments.table["shipped_date"].filter(pa.array(shipped)).cast(pa.int64()),
            "units": units[shipped],
        }
    ).sort_values(["order", "date"])
    # A running sum for each order apart: one absurd quantity must not blur the others.
    so_far = events.groupby("order")["units"].cumsum().to_numpy()
    complete = events[so_far >= ordered[events["order"]]]
    everyone = range(shipments.orders)
    by_order = events.groupby("order")["date"]
    return {
        "units_shipped": _whole(sums(events["order"], events["units"], shipments.orders)),
        "first_shipped_date": _moments(by_order.min(), everyone),
        "last_shipped_date": _moments(by_order.max(), everyone),
        "complete_shipped_date": _moments(complete.groupby("order")["date"].min(), everyone),
    }


def _moments(microseconds: pd.Series[int], everyone: range) -> pa.Array:
    whole = microseconds.reindex(everyone, fill_value=_NEVER).to_numpy(np.int64)
    return pa.array(whole, mask=whole == _NEVER).cast(pa.timestamp("us", tz="UTC"))


def _whole(sums: Sums) -> pa.Array:
    """Whole numbers, null where a sum is too large to be exact."""
    inexact = np.abs(sums) >= EXACT
    return pa.array(np.where(inexact, 0, sums).astype(np.int64), mask=inexact)


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
            release_memory()
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


# Only glibc has it. Arrow calls it too, but not for all that its threads have freed.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def release_memory() -> None:
    """Give back what is free; worth its milliseconds where hundreds of megabytes were used."""
    for pool in (pa.default_memory_pool(), pa.system_memory_pool()):
        pool.release_unused()
    if _trim is not None:
        _trim(0)


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Have Arrow keep what is freed for what comes next, where tables come and go by the dozen.

    Its usual pool gives all back to the system at once, and asks for as much again: a tenth of
    the time. The pool is the whole process's, so this is for a work that takes seconds; of
    several works side by side, the last one to end gives the usual pool back.
    """
    _kept.begin()
    try:
        yield
    finally:
        _kept.end()


class _KeptPool:
    """Changes the process's pool for as long as somebody works with the other one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._works = 0
        self._usual: pa.MemoryPool | None = None

    def begin(self) -> None:
        with self._lock:
            if not self._works and "jemalloc" in pa.supported_memory_backends():
                self._usual = pa.default_memory_pool()
                pa.set_memory_pool(pa.jemalloc_memory_pool())
            self._works += 1

    def end(self) -> None:
        with self._lock:
            self._works -= 1
            if not self._works and self._usual is not None:
                pa.set_memory_pool(self._usual)
                self._usual = None


_kept = _KeptPool()
