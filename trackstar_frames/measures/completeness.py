"""When an order is complete: how much of its lines has shipped, and its state at a moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _partitions
from trackstar_frames.measures._time import Array, instants

#: The columns from which the state of an order is read.
LIFECYCLE_COLUMNS = ("status", "created_date", "complete_shipped_date", "last_shipped_date")

#: What else is needed for the units left.
UNIT_COLUMNS = ("first_shipped_date", "units_ordered", "units_shipped")

#: The state of an order at a moment; where several hold, the first counts.
STATES = ("created_after", "cancelled", "shipped", "closed_short", "undated", "open")
SHIPPED, OPEN = STATES.index("shipped"), STATES.index("open")

_COLUMNS_READ = {
    "orders": ("id",),
    "line_items": ("order_id", "line_index", "product_id", "sku", "quantity"),
    "shipments": ("order_id", "shipment_index", "status", "shipped_date"),
    "shipment_line_items": (
        "order_id",
        "shipment_index",
        "inventory_item_id",
        "sku",
        "quantity",
        "parent_product_id",
    ),
}


class Tables(Protocol):
    """The tables of an `OrderFrames` that are read: all of pandas, or all of Dask."""

    orders: Any
    line_items: Any
    shipments: Any
    shipment_line_items: Any


def check_tables(frames: object, *, lazy: bool = False) -> Tables:
    """Raise unless `frames` has the tables to match by; with `lazy`, all of Dask will do too."""
    if not all(hasattr(frames, name) for name in _COLUMNS_READ):
        raise TypeError(
            f"frames is a {type(frames).__name__}; pass the OrderFrames of fetch_orders or "
            f"read_snapshot (of a Snapshot, what its .read() returns): orders alone have no lines"
        )
    tables = {f"frames.{name}": getattr(frames, name) for name in _COLUMNS_READ}
    for (name, table), columns in zip(tables.items(), _COLUMNS_READ.values(), strict=True):
        _checks.require(table, columns, source="an OrderFrames", name=name, lazy=lazy)
    _checks.require_connections_alike(tables)
    if not lazy:
        _checks.require_unique_orders(tables["frames.orders"], "frames.orders")
    partitioned = [name for name, table in tables.items() if _partitions.is_partitioned(table)]
    if partitioned and len(partitioned) < len(tables):
        eager = next(name for name in tables if name not in partitioned)
        raise TypeError(
            f"{partitioned[0]} is a Dask frame, and {eager} is not; pass all as one or other"
        )
    sizes = {name: tables[name].npartitions for name in partitioned}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"the tables have different numbers of partitions, {sizes}; pass tables whose "
            f"partitions of the same number hold the same orders"
        )
    return cast("Tables", frames)


def narrow_tables(frames: Tables, more: Sequence[str]) -> dict[str, Any]:
    """Return only the columns of each table to match by, and `more` of the orders."""
    wanted = {**_COLUMNS_READ, "orders": (*_COLUMNS_READ["orders"], *more)}
    tables = {name: getattr(frames, name) for name in wanted}
    return {
        name: table[list(dict.fromkeys([*_checks.connection_columns(table), *wanted[name]]))]
        for name, table in tables.items()
    }


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


def fill_by_order(tables: Tables, until: Array) -> pd.DataFrame:
    """Count, for each order, what was ordered and what of it had shipped by a moment of its own."""
    # What has shipped is matched with what was ordered by sku, within each order. Lines of no
    # units are in no count but lines_void.
    ids = _checks.order_keys(tables.orders, "id")
    shipments = _read_shipments(tables.shipments, ids)
    lines = _read_lines(tables.line_items, ids)
    shipped = _read_shipped(tables.shipment_line_items, ids, shipments, until)
    _match(lines, shipped)
    _fill(lines, shipped)

    def total(rows: pd.DataFrame, name: str) -> Array:
        # float64 holds the sums exactly: see _quantities.
        return np.bincount(rows["order"], rows[name], minlength=len(ids)).astype(np.int64)

    of_lines = ("lines", "lines_filled", "lines_unknown", "lines_void", "units", "units_filled")
    counts = {
        **{name: total(lines, name) for name in of_lines},
        **{name: total(shipped, name) for name in ("units_shipped", "kit_units")},
        "unmatched_units": total(lines, "unmatched") + total(shipped, "unmatched"),
        "undated": total(shipments, "undated"),
    }
    return pd.DataFrame(counts)


def rows_of(ids: pd.Index, frame: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """Return columns of a table's rows that belong to orders, and the position of each's order."""
    order = ids.get_indexer(_checks.order_keys(frame, "order_id"))
    rows = pd.DataFrame({"order": order, **columns})
    return rows[order >= 0].reset_index(drop=True)


def are_in(lines: pd.DataFrame, shipments: pd.DataFrame) -> Array:
    """Return which shipped lines are in one of these shipments."""
    width = 2 + max((each["index"].max() for each in (lines, shipments) if len(each)), default=0)
    keys, known = (each["order"] * width + each["index"] for each in (lines, shipments))
    return keys.isin(known).to_numpy()


def _read_lines(items: pd.DataFrame, ids: pd.Index) -> pd.DataFrame:
    """Return the ordered lines, in the order in which they are filled."""
    units = _quantities(items, "line_items")
    lines = rows_of(
        ids,
        items,
        index=_checks.index_column(items, "line_index"),
        sku=_checks.text_column(items, "sku").array,
        product=_checks.text_column(items, "product_id").array,
        lines=~(units <= 0),  # a line without a quantity counts
        lines_unknown=np.isnan(units),
        lines_void=units <= 0,
        units=np.nan_to_num(np.maximum(units, 0)),
    )
    return lines.sort_values(["order", "index"], ignore_index=True)


def _read_shipments(shipments: pd.DataFrame, ids: pd.Index) -> pd.DataFrame:
    """Return the shipments that are not cancelled."""
    stamps = instants(shipments, "shipped_date")
    rows = rows_of(
        ids,
        shipments,
        index=_checks.index_column(shipments, "shipment_index"),
        cancelled=_checks.has_status(shipments, "cancelled"),
        shipped=stamps,
        undated=np.isnat(stamps),
    )
    return rows[~rows["cancelled"]]


def _read_shipped(
    items: pd.DataFrame, ids: pd.Index, shipments: pd.DataFrame, until: Array
) -> pd.DataFrame:
    """Return the lines of these shipments, with no units where they have not shipped in time."""
    # Those are kept because they show what a kit is made of.
    sku = _checks.text_column(items, "sku")
    part = sku.where(sku.notna(), _checks.text_column(items, "inventory_item_id"))
    lines = rows_of(
        ids,
        items,
        index=_checks.index_column(items, "shipment_index"),
        sku=sku.array,
        kit=_checks.text_column(items, "parent_product_id").array,
        part=pd.factorize(part)[0],
        units_shipped=np.nan_to_num(_quantities(items, "shipment_line_items")),
    )
    in_time = shipments["shipped"].to_numpy() <= until[shipments["order"]]
    units = lines["units_shipped"].where(are_in(lines, shipments[in_time]), 0.0)
    lines["units_shipped"] = units
    return lines[are_in(lines, shipments)].reset_index(drop=True)


def _match(lines: pd.DataFrame, shipped: pd.DataFrame) -> None:
    """Replace skus and products by numbers that both tables share within an order, -1 for none."""
    # A part of a kit that is on a line of the order belongs to the kit, not to a line that its
    # own sku may have; any other shipped line goes by its sku.
    is_part = shipped["kit"].notna()
    for name, other in (("sku", "sku"), ("product", "kit")):
        values = pd.Index(lines[name].dropna().unique())
        lines[name] = within_order(lines, name, values)
        numbers = within_order(shipped, other, values)
        shipped[other] = np.where(pd.Series(numbers).isin(lines[name]), numbers, -1)
    shipped["sku"] = shipped["sku"].where(shipped["kit"] < 0, -1)
    shipped["kit_units"] = shipped["units_shipped"].where(is_part, 0)
    unmatched = (shipped["kit"] < 0) & (shipped["sku"] < 0)
    shipped["unmatched"] = shipped["units_shipped"].where(unmatched, 0)


def within_order(rows: pd.DataFrame, name: str, values: pd.Index) -> Array:
    """Return a number for each row's order and its value among `values`; -1 for no such value."""
    codes = values.get_indexer(pd.Index(rows[name]))
    return np.where(codes >= 0, rows["order"] * len(values) + codes, -1)


def _fill(lines: pd.DataFrame, shipped: pd.DataFrame) -> None:
    """Fill each line with the units of its sku, and then with the kits of its product."""
    # There is no bill of materials: there are as many kits as units of the part that has shipped
    # least.
    by_sku = shipped[shipped["sku"] >= 0].groupby("sku")["units_shipped"].sum()
    parts = shipped[shipped["kit"] >= 0].groupby(["kit", "part"])["units_shipped"].sum()
    kits = parts.groupby(level="kit").min()
    filled = _allot(lines["sku"], lines["units"], by_sku)
    filled += _allot(lines["product"], lines["units"] - filled, kits)
    lines["units_filled"] = filled
    is_full = ~lines["lines_unknown"] & (filled == lines["units"])
    lines["lines_filled"] = lines["lines"] & is_full
    unmatched = (lines["sku"] < 0) & ~lines["product"].isin(kits.index)
    lines["unmatched"] = lines["units"].where(unmatched, 0)


def _allot(keys: pd.Series[int], wanted: pd.Series[float], supply: pd.Series[float]) -> Array:
    """Return what each row gets if the rows of one key are served in turn from its supply."""
    before = wanted.groupby(keys).cumsum() - wanted
    left = supply.reindex(keys, fill_value=0).to_numpy() - before.to_numpy()
    return np.clip(left, 0, wanted.to_numpy())


def _quantities(frame: pd.DataFrame, table: str) -> Array:
    """Return quantities as float64, which holds them exactly; NaN for null."""
    units = _checks.float_column(frame, "quantity")
    if np.nansum(np.abs(units)) >= _INEXACT:
        raise ValueError(
            f"the quantities of frames.{table} are too large to be added up; look for a stray "
            f"one: {np.nanmax(np.abs(units)):,.0f}"
        )
    return units
