"""Batches to whole tables: joined, freed of duplicates, sorted, and with what is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.convert import EXACT
from trackstar_frames.flatten import BATCH, Batch, batch_schema
from trackstar_frames.schema import TABLES

__all__ = ["assemble"]

_Numbers = npt.NDArray[np.int64]
_Sums = npt.NDArray[np.float64]
_DROPPED = -1
_NONE = -1  # the number of no order, and the last place
_NEVER = np.iinfo(np.int64).min


def assemble(batches: Sequence[Batch]) -> tuple[dict[str, pa.Table], int]:
    """Join batches into the tables of the schema.

    Of an order that is there more than once, the newest `updated_date` is kept with its
    children; of equals, the last. Orders are sorted by `created_date`, then `id`, nulls
    last; children as their orders, then by their places.

    Parameters
    ----------
    batches
        What `Flattener` gave, in the order in which the server gave the pages. They are
        emptied: their memory is given back as the tables are made.

    Returns
    -------
    dict of str to pyarrow.Table, int
        The tables by name, with exactly the columns of the schema; and how many orders
        were dropped as duplicates.
    """
    batches = batches or [{name: batch_schema(name).empty_table() for name in TABLES}]
    starts = np.cumsum([0, *(len(batch["orders"]) for batch in batches)])
    place, kept = _places(batches)
    rows = {}
    with ThreadPoolExecutor(pa.cpu_count()) as threads:
        for name in TABLES:
            parts = [batch.pop(name) for batch in batches]
            rows[name] = _follow(parts, starts, place, threads.map)
            del parts
            pa.system_memory_pool().release_unused()
    orders = rows["orders"].table
    for name, column in _computed(rows).items():
        orders = orders.append_column(name, column)
    rows["orders"].table = orders
    tables = {name: _finish(name, rows[name], orders["id"]) for name in TABLES}
    return tables, int(starts[-1]) - kept


def _places(batches: Sequence[Batch]) -> tuple[_Numbers, int]:
    """Tell for the number of each order its place in the result, and how many there are."""
    met = pa.concat_tables(
        batch["orders"].select(["id", "created_date", "updated_date"]) for batch in batches
    )
    kept = _sorted(met, _newest(met))
    place = np.full(len(met) + 1, _DROPPED)
    place[kept] = np.arange(len(kept))
    place[_NONE] = len(kept)  # behind all orders
    return place, len(kept)


def _newest(orders: pa.Table) -> _Numbers:
    """Choose the orders to keep, one for each id, by number."""
    everything = np.arange(len(orders))
    if pc.count_distinct(orders["id"]).as_py() == len(orders):
        return everything
    keys = orders.select(["id", "updated_date"]).append_column("met", pa.array(everything))
    ranked = keys.sort_by([("updated_date", "ascending"), ("met", "ascending")])
    oldest_first = _nulls_first(ranked, "updated_date")
    best = dict(zip(oldest_first["id"].to_pylist(), oldest_first["met"].to_pylist(), strict=True))
    return np.sort(np.fromiter(best.values(), np.int64, len(best)))


def _nulls_first(table: pa.Table, column: str) -> pa.Table:
    null = pc.is_null(table[column])
    return pa.concat_tables([table.filter(null), table.filter(pc.invert(null))])


def _sorted(orders: pa.Table, kept: _Numbers) -> _Numbers:
    keys = orders.select(["created_date", "id"]).take(pa.array(kept))
    by = [("created_date", "ascending"), ("id", "ascending")]
    sequence: _Numbers = pc.sort_indices(keys, sort_keys=by).to_numpy()
    return kept[sequence]


@dataclass(slots=True)
class _Rows:
    """The rows of a table in their orders' sequence, and the number of each row's order."""

    table: pa.Table
    order: _Numbers
    orders: int

    def count(self, column: str | None = None) -> _Numbers:
        """Count the rows of each order, or those whose column is not null."""
        order = self.order if column is None else self.order[_valid(self.table[column])]
        return np.bincount(order, minlength=self.orders)

    def total(self, column: str) -> _Sums:
        """Sum a column over each order; null counts as nothing."""
        values = self.table[column].fill_null(0).to_numpy()
        return _sums(self.order, values, self.orders)


def _follow(
    parts: Sequence[pa.Table],
    starts: _Numbers,
    place: _Numbers,
    over: Callable[..., Iterable[pa.Array]],
) -> _Rows:
    """Join a table's parts in their orders' sequence; rows of dropped orders go."""
    moved = place[_numbers(parts, starts)]
    sequence = np.argsort(moved, kind="stable")[np.count_nonzero(moved == _DROPPED) :]
    joined = pa.concat_tables(part.drop_columns(BATCH) for part in parts)
    rows = pa.array(sequence)
    columns = over(lambda column: _take(column, rows), joined.columns)
    table = pa.Table.from_arrays(list(columns), schema=joined.schema)
    return _Rows(table, moved[sequence], place[_NONE])


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


def _numbers(parts: Sequence[pa.Table], starts: _Numbers) -> _Numbers:
    """Tell the number, over all parts, of the order that each row belongs to."""
    found = []
    for part, start in zip(parts, starts, strict=False):
        number = part[BATCH].fill_null(_NONE).to_numpy()
        found.append(np.where(number == _NONE, _NONE, number + start))
    return np.concatenate(found)


def _finish(name: str, rows: _Rows, ids: pa.ChunkedArray) -> pa.Table:
    """Name each row's order, and give exactly the columns of the schema."""
    table, schema = rows.table, TABLES[name].schema
    if "order_id" in schema.names and "order_id" not in table.column_names:
        table = table.append_column("order_id", ids.take(pa.array(rows.order)))
    return table.select(schema.names)


def _computed(rows: Mapping[str, _Rows]) -> dict[str, pa.Array]:
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


def _units(lines: _Rows, shipments: _Rows) -> _Sums:
    """Sum the units of each shipment."""
    first = np.concatenate(([0], np.cumsum(shipments.count())))
    shipment = first[lines.order] + lines.table["shipment_index"].to_numpy()
    units = lines.table["quantity"].fill_null(0).to_numpy()
    return _sums(shipment, units, len(shipments.table))


def _ship_events(
    shipments: _Rows, units: npt.NDArray[np.float64], ordered: _Sums
) -> dict[str, pa.Array]:
    """Tell how much was shipped, and when first, last and completely."""
    cancelled = pc.equal(shipments.table["status"], "cancelled").fill_null(False)
    shipped = _valid(shipments.table["shipped_date"]) & ~cancelled.to_numpy()
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
        "units_shipped": _whole(_sums(events["order"], events["units"], shipments.orders)),
        "first_shipped_date": _moments(by_order.min(), everyone),
        "last_shipped_date": _moments(by_order.max(), everyone),
        "complete_shipped_date": _moments(complete.groupby("order")["date"].min(), everyone),
    }


def _moments(microseconds: pd.Series[int], everyone: range) -> pa.Array:
    whole = microseconds.reindex(everyone, fill_value=_NEVER).to_numpy(np.int64)
    return pa.array(whole, mask=whole == _NEVER).cast(pa.timestamp("us", tz="UTC"))


def _sums(groups: npt.ArrayLike, values: npt.ArrayLike, size: int) -> _Sums:
    return np.bincount(groups, weights=values, minlength=size).astype(np.float64)


def _whole(sums: _Sums) -> pa.Array:
    """Whole numbers, null where a sum is too large to be exact."""
    inexact = np.abs(sums) >= EXACT
    return pa.array(np.where(inexact, 0, sums).astype(np.int64), mask=inexact)


def _valid(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    valid: npt.NDArray[np.bool_] = pc.is_valid(column).to_numpy()
    return valid
