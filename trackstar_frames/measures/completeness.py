"""How much of each order's lines has shipped, by sku within the order, on whole columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, TypeGuard, TypeVar, cast

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import column, has_status, require, texts
from trackstar_frames.measures._grouping import key, require_alike, require_once, whose
from trackstar_frames.measures._partitions import Partitioned, is_partitioned
from trackstar_frames.measures._time import Array, instants

__all__ = [
    "FATES",
    "LIFE",
    "OPEN",
    "SHIPPED",
    "Tables",
    "TablesOf",
    "are_partitioned",
    "check_columns",
    "check_tables",
    "closings",
    "columns_of",
    "fates",
    "fill",
    "numbers",
    "units_left",
    "within_order",
]


# From here on, float64 no longer holds every whole number.
_EXACT = 2**53


def fill(frames: Tables, until: Array) -> pd.DataFrame:
    """Match what has shipped with what was ordered.

    Parameters
    ----------
    frames
        As `check_tables` gives them; lines and shipments of other orders are not looked at.
    until
        A moment for each order (UTC): what shipped later has not shipped. NaT: nothing has.

    Returns
    -------
    pandas.DataFrame
        One row per order, in their order, of whole numbers: lines, lines_filled, lines_unknown
        (without a quantity), lines_void (of no units, and in no other count), units,
        units_filled, units_shipped, kit_units, unmatched_units, and undated (shipments, not
        cancelled, without a shipped_date).
    """
    ids = key(frames.orders, "id")
    lines, shipments = _lines(frames.line_items, ids), _shipments(frames.shipments, ids)
    shipped = _shipped(frames.shipment_line_items, ids, shipments, until)
    _match(lines, shipped)
    _fill(lines, shipped)
    sums = [
        _sums(lines[~lines["void"]], "line", ["unknown", "units", "filled", "full", "unmatched"]),
        _sums(lines, "void", ["void"]),
        _sums(shipped, "shipped", ["units", "kit_units", "unmatched"]),
        _sums(shipments, "shipment", ["undated"]),
    ]
    by_order = pd.concat(sums, axis=1).reindex(range(len(ids))).fillna(0).astype(np.int64)
    return pd.DataFrame(
        {
            "lines": by_order["line_rows"],
            "lines_filled": by_order["line_full"],
            "lines_unknown": by_order["line_unknown"],
            "lines_void": by_order["void_void"],
            "units": by_order["line_units"],
            "units_filled": by_order["line_filled"],
            "units_shipped": by_order["shipped_units"],
            "kit_units": by_order["shipped_kit_units"],
            "unmatched_units": by_order["line_unmatched"] + by_order["shipped_unmatched"],
            "undated": by_order["shipment_undated"],
        }
    )


def _lines(items: pd.DataFrame, ids: pd.Index) -> pd.DataFrame:
    """Read the ordered lines, in their order: the first in line is the first to be filled."""
    units = _quantities(items, "line_items")
    lines = pd.DataFrame(
        {
            "order": ids.get_indexer(key(items, "order_id")),
            "place": _whole(items, "line_index"),
            "sku": texts(items, "sku").array,
            "product": texts(items, "product_id").array,
            "unknown": np.isnan(units),
            "void": units <= 0,
            "units": np.nan_to_num(np.maximum(units, 0)),
        }
    )
    return lines[lines["order"] >= 0].sort_values(["order", "place"], ignore_index=True)


def _shipments(shipments: pd.DataFrame, ids: pd.Index) -> pd.DataFrame:
    """Read the shipments that are not cancelled."""
    stamps = instants(shipments, "shipped_date")
    read = pd.DataFrame(
        {
            "order": ids.get_indexer(key(shipments, "order_id")),
            "place": _whole(shipments, "shipment_index"),
            "shipped": stamps,
            "undated": np.isnat(stamps),
        }
    )
    cancelled = column(shipments, "status").isin(["cancelled"]).to_numpy(dtype=bool)
    return read[(read["order"] >= 0) & ~cancelled]


def _shipped(
    items: pd.DataFrame, ids: pd.Index, shipments: pd.DataFrame, until: Array
) -> pd.DataFrame:
    """Read the lines of these shipments, with no units where they have not shipped in time.

    Those are kept because they tell what a kit is made of.
    """
    order = ids.get_indexer(key(items, "order_id"))
    place = _whole(items, "shipment_index")
    width = max(place.max(initial=0), shipments["place"].max() if len(shipments) else 0) + 1
    held = (shipments["order"] * width + shipments["place"]).to_numpy()
    in_time = shipments["shipped"].to_numpy() <= until[shipments["order"]]
    keys = pd.Series(np.where(order >= 0, order * width + place, -1))
    units = np.nan_to_num(_quantities(items, "shipment_line_items"))
    sku = texts(items, "sku")
    lines = pd.DataFrame(
        {
            "order": order,
            "sku": sku.array,
            "kit": texts(items, "parent_product_id").array,
            "part": pd.factorize(sku.where(sku.notna(), texts(items, "inventory_item_id")))[0],
            "units": np.where(keys.isin(held[in_time]), units, 0.0),
        }
    )
    return lines[keys.isin(held)].reset_index(drop=True)


def _match(lines: pd.DataFrame, shipped: pd.DataFrame) -> None:
    """Turn skus and products into numbers that both tables share within an order, -1 for none.

    A part of a kit that is on a line of the order belongs to the kit, not to a line that its
    own sku may have; any other shipped line goes by its sku.
    """
    is_part = shipped["kit"].notna()
    for name, other in (("sku", "sku"), ("product", "kit")):
        names = pd.Index(lines[name].dropna().unique())
        lines[name] = within_order(lines, name, names)
        numbers = within_order(shipped, other, names)
        shipped[other] = np.where(pd.Series(numbers).isin(lines[name]), numbers, -1)
    shipped["sku"] = shipped["sku"].where(shipped["kit"] < 0, -1)
    shipped["kit_units"] = shipped["units"].where(is_part, 0)
    unmatched = (shipped["kit"] < 0) & (shipped["sku"] < 0)
    shipped["unmatched"] = shipped["units"].where(unmatched, 0)


def within_order(rows: pd.DataFrame, name: str, names: pd.Index) -> Array:
    """Return a number for each row's order and one of these names in it; -1 for no such name."""
    places = names.get_indexer(pd.Index(rows[name]))
    return np.where(places >= 0, rows["order"] * len(names) + places, -1)


def _fill(lines: pd.DataFrame, shipped: pd.DataFrame) -> None:
    """Give each line the units of its sku, and what it then lacks from the kits of its product.

    What a kit is made of is not told: there are as many as there are of the part that has
    shipped least.
    """
    by_sku = shipped[shipped["sku"] >= 0].groupby("sku")["units"].sum()
    parts = shipped[shipped["kit"] >= 0].groupby(["kit", "part"])["units"].sum()
    kits = parts.groupby(level="kit").min()
    filled = _allot(lines["sku"], lines["units"], by_sku)
    filled += _allot(lines["product"], lines["units"] - filled, kits)
    lines["filled"] = filled
    lines["full"] = ~lines["unknown"] & (filled == lines["units"])
    nameless = (lines["sku"] < 0) & ~lines["product"].isin(kits.index)
    lines["unmatched"] = lines["units"].where(nameless, 0)


def _allot(keys: pd.Series[int], wanted: pd.Series[float], supply: pd.Series[float]) -> Array:
    """Give rows of one key what they want, one after the other, while its supply lasts."""
    before = wanted.groupby(keys).cumsum() - wanted
    left = supply.reindex(keys, fill_value=0).to_numpy() - before.to_numpy()
    return np.clip(left, 0, wanted.to_numpy())


def _sums(rows: pd.DataFrame, name: str, columns: list[str]) -> pd.DataFrame:
    by_order = rows.groupby("order")
    sums = by_order[columns].sum().astype(np.int64)
    return sums.assign(rows=by_order.size()).add_prefix(f"{name}_")


def _whole(frame: pd.DataFrame, name: str) -> Array:
    return column(frame, name).to_numpy(dtype=np.int64, na_value=-1)


def _quantities(frame: pd.DataFrame, table: str) -> Array:
    """Read quantities as float64, which holds them exactly; null is NaN."""
    units = column(frame, "quantity").to_numpy(dtype=np.float64, na_value=np.nan)
    if np.nansum(np.abs(units)) >= _EXACT:
        raise ValueError(
            f"the quantities of frames.{table} are too large to be added up; look for a stray "
            f"one: {np.nanmax(np.abs(units)):,.0f}"
        )
    return units


#: The columns that are read.
LIFE = ("status", "created_date", "complete_shipped_date", "last_shipped_date")

#: What can be said of an order at a moment; where several hold, the first is meant.
FATES = ("created_after", "cancelled", "shipped", "closed_short", "undated", "open")
SHIPPED, OPEN = FATES.index("shipped"), FATES.index("open")


def closings(orders: pd.DataFrame) -> Array:
    """Return when each order was closed: complete or, if fulfilled short, shipped last."""
    complete = instants(orders, "complete_shipped_date")
    short = np.isnat(complete) & has_status(orders, "fulfilled")
    return np.where(short, instants(orders, "last_shipped_date"), complete)


def fates(orders: pd.DataFrame, now: np.datetime64) -> Array:
    """Return each order's place in `FATES`."""
    closed = closings(orders)
    holds = [
        instants(orders, "created_date") > now,
        has_status(orders, "cancelled"),
        instants(orders, "complete_shipped_date") <= now,
        closed <= now,
        np.isnat(closed) & has_status(orders, "fulfilled"),
    ]
    return np.select(holds, range(len(holds)), default=OPEN)


def units_left(orders: pd.DataFrame, now: np.datetime64) -> Array:
    """Return the units that had not shipped at a moment; NaN where that is not known."""
    ordered, shipped = (numbers(orders, f"units_{word}") for word in ("ordered", "shipped"))
    untouched = instants(orders, "first_shipped_date") > now
    moved = (instants(orders, "last_shipped_date") > now) | (closings(orders) > now)
    left = np.where(moved, np.nan, np.maximum(ordered - shipped, 0))
    return np.where(untouched, ordered, left)


def numbers(frame: pd.DataFrame, name: str) -> Array:
    """Read a column of numbers as float64; null is NaN."""
    values = column(frame, name)
    if values.isna().all():
        return np.full(len(values), np.nan)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"column {name!r} is {frame[name].dtype}, not numbers; convert it first")
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


_READ = {
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

Frame_co = TypeVar("Frame_co", covariant=True)


class TablesOf(Protocol[Frame_co]):
    """What is read of an `OrderFrames`, in frames of pandas or of Dask."""

    @property
    def orders(self) -> Frame_co:
        """One row per order."""

    @property
    def line_items(self) -> Frame_co:
        """One row per ordered line."""

    @property
    def shipments(self) -> Frame_co:
        """One row per shipment."""

    @property
    def shipment_line_items(self) -> Frame_co:
        """One row per shipped line."""


Tables: TypeAlias = TablesOf[pd.DataFrame]


def check_tables(frames: object) -> Tables:
    """Raise unless `frames` has the tables and columns to match by, and each order once."""
    tables = cast("Tables", check_columns(frames))
    require_once(tables.orders, "frames.orders")
    return tables


def are_partitioned(frames: TablesOf[Any]) -> TypeGuard[TablesOf[Partitioned]]:
    """Tell whether the tables are of Dask.

    Raises
    ------
    TypeError, ValueError
        If some are and some are not, or the partitions of one cannot be those of another.
    """
    tables = {f"frames.{name}": getattr(frames, name) for name in _READ}
    lazy = [name for name, table in tables.items() if is_partitioned(table)]
    if lazy and len(lazy) < len(tables):
        eager = next(name for name in tables if name not in lazy)
        raise TypeError(f"{lazy[0]} is a Dask frame, and {eager} is not; pass all as one or other")
    sizes = {name: tables[name].npartitions for name in lazy}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"the tables have different numbers of partitions, {sizes}; pass tables of which the "
            f"partitions at one place are of the same orders"
        )
    return bool(lazy)


def columns_of(frames: TablesOf[Any], more: Sequence[str] = ()) -> dict[str, list[str]]:
    """Name the columns of each table to match by, and `more` of the orders."""
    wanted = {**_READ, "orders": (*_READ["orders"], *more)}
    return {
        name: list(dict.fromkeys([*whose(getattr(frames, name)), *columns]))
        for name, columns in wanted.items()
    }


def check_columns(frames: object, *, lazy: bool = False) -> TablesOf[Any]:
    """Raise unless `frames` has the tables and columns to match by; of Dask too, if `lazy`."""
    if not all(hasattr(frames, name) for name in _READ):
        raise TypeError(
            f"frames is a {type(frames).__name__}; pass the OrderFrames of fetch_orders or "
            f"read_snapshot (of a Snapshot, what its .read() gives): orders alone have no lines"
        )
    named = {f"frames.{name}": getattr(frames, name) for name in _READ}
    for (name, table), columns in zip(named.items(), _READ.values(), strict=True):
        require(table, columns, source="an OrderFrames", name=name, lazy=lazy)
    require_alike(named)
    return cast("TablesOf[Any]", frames)
