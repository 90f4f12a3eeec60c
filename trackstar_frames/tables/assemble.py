"""Batches to whole tables: joined, freed of duplicates, sorted, and with what is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.flatten import BATCH, Batch, batch_schema
from trackstar_frames.flatten.convert import EXACT
from trackstar_frames.schema import TABLES
from trackstar_frames.tables.joining import Numbers, Rows, Sums, join, keys, sums, valid

__all__ = ["assemble", "new_strays", "select", "sort"]

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
