"""What the checks of data quality look at, each piece made when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import blank, column, texts
from trackstar_frames.measures._filling import within_order
from trackstar_frames.measures._judging import required_times
from trackstar_frames.measures._keys import key
from trackstar_frames.measures._tables import Tables
from trackstar_frames.measures._time import Array, Zones, instants
from trackstar_frames.schema import TABLES

__all__ = ["Evidence"]


class Evidence:
    """Orders and, if `frames` is given, their lines and shipments.

    Rows of other orders are left out. ``order`` is a row's order, as its place among `orders`.
    """

    def __init__(
        self, orders: pd.DataFrame, frames: Tables | None, now: np.datetime64, zones: Zones
    ) -> None:
        self.orders, self.now = orders, now
        self._frames, self._zones = frames, zones
        self._stamps: dict[str, Array] = {}

    @cached_property
    def ids(self) -> pd.Index:
        """What names each order."""
        return key(self.orders, "id")

    @cached_property
    def everyone(self) -> Array:
        """Every order."""
        return np.ones(len(self.orders), dtype=bool)

    @cached_property
    def status(self) -> pd.Series[Any]:
        """The orders' statuses."""
        return column(self.orders, "status")

    def has_status(self, *statuses: str) -> Array:
        """Tell which orders have one of these statuses."""
        return self.status.isin(statuses).to_numpy(dtype=bool)

    def marked(self, places: Any) -> Array:
        """Tell which orders are at these places."""
        marks = np.zeros(len(self.orders), dtype=bool)
        marks[np.asarray(places, dtype=np.int64)] = True
        return marks

    def stamps(self, name: str) -> Array:
        """Read one of the orders' columns of moments."""
        if name not in self._stamps:
            self._stamps[name] = instants(self.orders, name)
        return self._stamps[name]

    def dated(self, name: str) -> Array:
        """Tell which orders have a moment in this column."""
        return ~np.isnat(self.stamps(name))

    @cached_property
    def due(self) -> Array:
        """When orders are due; the ends of days that are due dates."""
        return required_times(self.orders, "auto", self._zones)

    @cached_property
    def lines(self) -> pd.DataFrame | None:
        """The ordered lines."""
        if self._frames is None:
            return None
        items = self._frames.line_items
        product = texts(items, "product_id").array
        return self._with_order(items, **_goods(items), product=product)

    @cached_property
    def shipments(self) -> pd.DataFrame | None:
        """The shipments that are not cancelled, and whether they leave from elsewhere."""
        if self._frames is None:
            return None
        given = self._frames.shipments
        rows = self._with_order(
            given,
            place=column(given, "shipment_index").to_numpy(dtype=np.int64, na_value=-1),
            cancelled=column(given, "status").isin(["cancelled"]).to_numpy(dtype=bool),
            actual=column(given, "warehouse_id").array,
        )
        expected = column(self.orders, "warehouse_id").iloc[rows["order"].to_numpy()]
        told = ~blank(expected) & ~blank(rows["actual"])
        elsewhere = told & _differ(expected, rows["actual"])
        return rows.assign(told=told, elsewhere=elsewhere)[~rows["cancelled"]]

    @cached_property
    def shipped_lines(self) -> pd.DataFrame | None:
        """The lines of these shipments, and whether they were ordered, alone or as a kit."""
        if self._frames is None or self.lines is None or self.shipments is None:
            return None
        items = self._frames.shipment_line_items
        rows = self._with_order(
            items,
            **_goods(items),
            place=column(items, "shipment_index").to_numpy(dtype=np.int64, na_value=-1),
            product=texts(items, "parent_product_id").array,
        )
        rows = rows[_same(rows, self.shipments)].reset_index(drop=True)
        ordered = [_in_order(rows, self.lines, name) for name in ("sku", "product")]
        return rows.assign(not_ordered=~np.any(ordered, axis=0))

    @cached_property
    def problems(self) -> pd.DataFrame | None:
        """The problems of orders with an id, and whether each is but an unknown key."""
        rows = getattr(self._frames, "problems", None)
        if rows is None:
            return None
        message = column(rows, "message").astype(object)
        path = column(rows, "path").astype(object).str.replace(r"\[\d+\]", "[]", regex=True)
        unknown = message.str.startswith(_UNKNOWN).to_numpy(dtype=bool, na_value=False)
        return self._with_order(rows, path=path.array, unknown=unknown)

    @property
    def nameless(self) -> int | None:
        """How many orders had no id, and are in none of the tables; None where not told."""
        rows = getattr(self._frames, "problems", None)
        if rows is None:
            return None
        whole = column(rows, "path").isin([""])  # others stood beside the orders
        return int((rows["order_id"].isna() & whole).sum())

    @cached_property
    def dates_in_extra(self) -> pd.DataFrame | None:
        """The dates whose texts `extra` keeps: whether each is null, and its path."""
        told = self.orders.attrs.get("trackstar", {})
        if "extra" not in self.orders or told.get("pii", "keep") != "keep":
            return None
        everyone = pd.Series(np.arange(len(self.orders)))
        found = [_dates_in_extra("orders", self.orders, everyone)]
        for name in ("shipments", "package_line_items"):
            rows = getattr(self._frames, name, None)
            if rows is not None and "extra" in rows:
                order = pd.Series(self.ids.get_indexer(key(rows, "order_id")))
                found.append(_dates_in_extra(name, rows, order))
        dates = pd.concat(found, ignore_index=True)
        return dates[dates["order"] >= 0]

    def _with_order(self, rows: pd.DataFrame, **columns: Any) -> pd.DataFrame:
        order = self.ids.get_indexer(key(rows, "order_id"))
        found = pd.DataFrame({"order": order, **columns})
        return found[order >= 0].reset_index(drop=True)


_read_extra = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _dates_in_extra(table: str, rows: pd.DataFrame, order: pd.Series[int]) -> pd.DataFrame:
    """Look for dates of a table's rows in their `extra`: nothing else of a column is there."""
    extra = column(rows, "extra").astype(object).to_numpy()
    found: dict[str, list[Any]] = {"order": [], "path": [], "null": []}
    for each in TABLES[table].columns:
        if each.kind != "timestamp" or not each.path or each.name not in rows:
            continue
        spelt, (name,) = f'"{each.path[0]}"', each.path
        null = column(rows, each.name).isna().to_numpy()
        for place, text in enumerate(extra):
            if isinstance(text, str) and spelt in text and name in _read_extra(text):
                found["order"].append(order.iloc[place])
                found["path"].append(".".join(filter(None, (TABLES[table].path, name))))
                found["null"].append(null[place])
    return pd.DataFrame(found).astype({"order": np.int64, "path": object, "null": bool})


#: How `problems` begins to tell of a key that is kept in ``extra``.
_UNKNOWN = "unknown key"


def _goods(items: pd.DataFrame) -> dict[str, Any]:
    """Read the sku of each line, null if it is empty, and tell what the line lacks."""
    sku = texts(items, "sku")
    units = column(items, "quantity").to_numpy(dtype=np.float64, na_value=np.nan)
    return {
        "sku": sku.array,
        "has_sku": sku.notna().to_numpy(),
        "no_sku": sku.isna().to_numpy(),
        "no_quantity": np.isnan(units),
        "no_units": units <= 0,
    }


def _differ(one: pd.Series[Any], other: pd.Series[Any]) -> Array:
    """Tell where two columns differ, whatever their types; null is as null."""
    values = [each.astype(object).to_numpy() for each in (one, other)]
    mine, its = np.split(pd.factorize(np.concatenate(values))[0], 2)
    differ: Array = mine != its
    return differ


def _same(rows: pd.DataFrame, shipments: pd.DataFrame) -> Array:
    """Tell which rows are of one of these shipments."""
    width = max((int(each["place"].max()) for each in (rows, shipments) if len(each)), default=0)
    mine, held = (each["order"] * (width + 1) + each["place"] for each in (rows, shipments))
    return mine.isin(held).to_numpy()


def _in_order(rows: pd.DataFrame, lines: pd.DataFrame, name: str) -> Array:
    """Tell which rows share this with a line of their order."""
    names = pd.Index(lines[name].dropna().unique())
    wanted, held = (pd.Series(within_order(each, name, names)) for each in (rows, lines))
    return ((wanted >= 0) & wanted.isin(held)).to_numpy()
