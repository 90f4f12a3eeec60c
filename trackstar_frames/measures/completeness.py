"""How much of each order has shipped by a moment, and the state that it is in."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.api.types import infer_dtype

from trackstar_frames.measures import _checks
from trackstar_frames.measures._time import Array, instants
from trackstar_frames.tables.completeness import Contents, Packed, Rows

#: The columns from which the state of an order is read.
LIFECYCLE_COLUMNS = ("status", "created_date", "complete_shipped_date", "last_shipped_date")

#: What else is needed for the units left.
UNIT_COLUMNS = ("first_shipped_date", "units_ordered", "units_shipped")

#: The state of an order at a moment; where several hold, the first counts.
STATES = ("created_after", "cancelled", "shipped", "closed_short", "undated", "open")
SHIPPED, OPEN = STATES.index("shipped"), STATES.index("open")

_GOODS = ("inventory_item_id", "sku", "quantity", "parent_product_id")
_COLUMNS_READ = {
    "orders": ("id",),
    "line_items": ("order_id", "line_index", "product_id", "sku", "quantity"),
    "shipments": ("order_id", "shipment_index", "status", "shipped_date"),
    "shipment_line_items": ("order_id", "shipment_index", *_GOODS),
    "package_line_items": ("order_id", "shipment_index", *_GOODS),
}


class Tables(Protocol):
    """The tables of an `OrderFrames` that are read: all of pandas, or all of Dask."""

    orders: Any
    line_items: Any
    shipments: Any
    shipment_line_items: Any
    package_line_items: Any


def check_tables(frames: object, *, lazy: bool = False) -> dict[str, Any]:
    """Return the tables to match by, as `require_tables` does; with `lazy`, Dask's will do too."""
    return _checks.require_tables(frames, _COLUMNS_READ, lazy=lazy)


def order_states(orders: pd.DataFrame, now: np.datetime64) -> Array:
    """Return the index of each order's state in `STATES`."""
    closed = closed_at(orders)
    conditions = [
        instants(orders, "created_date") > now,
        _checks.has_status(orders, "cancelled"),
        instants(orders, "complete_shipped_date") <= now,
        closed <= now,
        np.isnat(closed) & _checks.has_status(orders, "fulfilled"),
    ]
    return np.select(conditions, range(len(conditions)), default=OPEN)


def are_open(orders: pd.DataFrame, now: np.datetime64) -> Array:
    """Return which orders are open at a moment."""
    is_open: Array = order_states(orders, now) == OPEN
    return is_open


def closed_at(orders: pd.DataFrame) -> Array:
    """Return when each order was closed: complete or, if fulfilled short, last shipped."""
    complete = instants(orders, "complete_shipped_date")
    short = np.isnat(complete) & _checks.has_status(orders, "fulfilled")
    return np.where(short, instants(orders, "last_shipped_date"), complete)


def units_left(orders: pd.DataFrame, now: np.datetime64) -> Array:
    """Return the units that had not shipped at a moment; NaN where that is unknown."""
    ordered = _checks.number_column(orders, "units_ordered")
    shipped = _checks.number_column(orders, "units_shipped")
    untouched = instants(orders, "first_shipped_date") > now
    changed = (instants(orders, "last_shipped_date") > now) | (closed_at(orders) > now)
    left = np.where(changed, np.nan, np.maximum(ordered - shipped, 0))
    return np.where(untouched, ordered, left)


# From here on, float64 does not hold every whole number.
_INEXACT = 2**53
# No order has so many shipments.
_WIDTH = 2**31


def fill_by_order(tables: Tables, until: Array) -> pd.DataFrame:
    """Count, for each order, what was ordered and what of it had shipped by a moment of its own."""
    ids = _checks.order_keys(tables.orders, "id")
    lines = _read_lines(tables.line_items, ids)
    contents = _read_contents(tables, ids, lines)
    moments = until.astype("M8[us]").astype(np.int64)  # NaT is before all others
    coverage, wanted = contents.shipped_by(moments), contents.line_units
    is_unknown = np.isnan(lines.table["quantity"].to_numpy())
    is_full = (wanted > 0) & (contents.filled(coverage) == wanted) & ~is_unknown

    def total(of_lines: Array) -> Array:
        # float64 holds the sums exactly: see _quantities.
        return np.bincount(lines.order, of_lines, len(ids)).astype(np.int64)

    def shipped(of_lines: Array) -> Array:
        return contents.units_shipped(moments, of_lines).astype(np.int64)

    nameless = total(np.where(contents.is_nameless, wanted, 0))
    counts = {
        "lines": total((wanted > 0) | is_unknown),
        "lines_filled": total(is_full),
        "lines_unknown": total(is_unknown),
        "lines_void": total((wanted == 0) & ~is_unknown),
        "units": contents.net.astype(np.int64),
        "units_filled": coverage.units.astype(np.int64),
        "units_overshipped": coverage.surplus.astype(np.int64),
        "units_shipped": shipped(np.ones_like(contents.is_part)),
        "kit_units": shipped(contents.is_part),
        "unmatched_units": nameless + shipped(contents.is_unmatched),
    }
    return pd.DataFrame(counts)


def find_orders(frame: pd.DataFrame, ids: pd.Index) -> Array:
    """Return the position of each row's order; -1 for none."""
    keys = _checks.order_keys(frame, "order_id")
    if not all(infer_dtype(each, skipna=True) in ("string", "empty") for each in (keys, ids)):
        found: Array = ids.get_indexer(keys)
        return found
    # Arrow is quick with texts, and rows of one order follow each other: only the first of each
    # run is looked up.
    texts, known = (
        pa.array(each, type=pa.large_string(), from_pandas=True) for each in (keys, ids)
    )
    is_first = np.ones(len(texts), dtype=bool)
    if len(texts):
        differ = pc.not_equal(texts[1:], texts[:-1]).fill_null(True)
        is_first[1:] = differ.to_numpy(zero_copy_only=False)
    first = texts.filter(pa.array(is_first))
    places = pc.index_in(first, value_set=known, skip_nulls=True).fill_null(-1)
    of_run = places.to_numpy(zero_copy_only=False).astype(np.int64)
    order: Array = of_run[np.cumsum(is_first) - 1]
    return order


def find_keys(keys: Array, known: Array) -> Array:
    """Return the position of each key among known ones, of which each is there once; else -1."""
    if not len(known) or not (known[1:] > known[:-1]).all():
        found: Array = pd.Index(known).get_indexer(pd.Index(keys))
        return found
    # In sequence, as those of the rows of a fetch are, they need no table to be looked up in.
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[place] == keys, place, -1)


def _read_lines(items: pd.DataFrame, ids: pd.Index) -> Rows:
    """Return the ordered lines of orders, in the sequence in which they are filled."""
    order = find_orders(items, ids)
    sequence = _in_sequence(order, _checks.index_column(items, "line_index"))
    sequence = sequence[np.count_nonzero(order < 0) :]
    return Rows(_to_arrow("line_items", items, sequence), order[sequence])


def _in_sequence(order: Array, index: Array) -> Array:
    """Return the rows by order and index; as they are, if they are so already."""
    same = order[1:] == order[:-1]
    if ((order[1:] > order[:-1]) | (same & (index[1:] >= index[:-1]))).all():
        return np.arange(len(order))
    return np.lexsort((index, order))


def _read_contents(tables: Tables, ids: pd.Index, lines: Rows) -> Contents:
    """Return what was ordered, on these lines, and what is in shipments."""
    numbers = _shipment_keys(tables.shipments, ids)
    rows = np.flatnonzero((numbers >= 0) & _are_first(numbers))
    keys = numbers[rows]
    shipments = Rows(_to_arrow("shipments", tables.shipments, rows), numbers[rows] // _WIDTH)

    def contents_of(name: str) -> Packed:
        frame = getattr(tables, name)
        place = find_keys(_shipment_keys(frame, ids), keys)
        rows = np.flatnonzero(place >= 0)
        place = place[rows]
        return Packed(_to_arrow(name, frame, rows), shipments.order[place], place)

    parts = [contents_of(name) for name in ("shipment_line_items", "package_line_items")]
    return Contents.of_tables(len(ids), lines, shipments, *parts)


def _shipment_keys(frame: pd.DataFrame, ids: pd.Index) -> Array:
    """Return a number for the order and shipment of each row; below 0 for one of no order."""
    order = find_orders(frame, ids)
    return order * _WIDTH + _checks.index_column(frame, "shipment_index")


def _are_first(keys: Array) -> Array:
    """Return which rows are the first with their key."""
    if (keys[1:] > keys[:-1]).all():
        return np.ones(len(keys), dtype=bool)
    first: Array = ~pd.Index(keys).duplicated()
    return first


def _to_arrow(name: str, frame: pd.DataFrame, rows: Array) -> pa.Table:
    """Return rows of a table as Arrow's, with the columns by which contents are matched."""
    columns = {}
    for each in _COLUMNS_READ[name]:
        if each == "quantity":
            columns[each] = pa.array(_quantities(frame, name))
        elif each == "shipped_date":
            columns[each] = pa.array(instants(frame, each))
        elif each not in ("order_id", "line_index", "shipment_index"):
            columns[each] = _checks.text_array(frame, each)
    table = pa.table(columns)
    is_all = len(rows) == len(table) and (rows == np.arange(len(rows))).all()
    return table if is_all else table.take(pa.array(rows))


def _quantities(frame: pd.DataFrame, table: str) -> Array:
    """Return quantities as float64, which holds them exactly; NaN for null, and parts of units."""
    units = _checks.float_column(frame, "quantity")
    if np.nansum(np.abs(units)) >= _INEXACT:
        raise ValueError(
            f"the quantities of frames.{table} are too large to be added up; look for a stray "
            f"one: {np.nanmax(np.abs(units)):,.0f}"
        )
    return np.where(units == np.floor(units), units, np.nan)


class Shipped:
    """The shipments of some orders that are not cancelled and have shipped by a moment.

    Attributes
    ----------
    order, stamps : numpy.ndarray
        Of each, the position of its order, and when it shipped.
    """

    def __init__(self, orders: pd.DataFrame, shipments: pd.DataFrame, now: np.datetime64) -> None:
        _checks.require_unique_orders(orders, "frames.orders")
        self._ids = _checks.order_keys(orders, "id")
        keys = _shipment_keys(shipments, self._ids)
        stamps = instants(shipments, "shipped_date")
        cancelled = _checks.has_status(shipments, "cancelled")
        rows = np.flatnonzero((keys >= 0) & (stamps <= now) & ~cancelled)
        self._keys, self.stamps = keys[rows], stamps[rows]
        self.order = self._keys // _WIDTH

    def find(self, table: pd.DataFrame) -> Array:
        """Return the position of the shipment that each row of a table is in; -1 for none."""
        return find_keys(_shipment_keys(table, self._ids), self._keys)

    def count(self, shipment: Array, weights: Array | None = None) -> Array:
        """Return how much of something is in each shipment; -1 is in none."""
        known = shipment >= 0
        given = None if weights is None else weights[known]
        counts: Array = np.bincount(shipment[known], given, minlength=len(self.order))
        return counts
