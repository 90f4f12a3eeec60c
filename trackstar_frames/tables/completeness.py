"""When an order is complete: what was ordered, and what of it has shipped, sku by sku."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.flatten.values import MAX_EXACT_INT

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: The date of a shipment that has not shipped.
NEVER = np.iinfo(np.int64).max
#: The moment by which every shipment has shipped that ever has.
END = NEVER - 1

#: What is read of the contents of shipments.
CONTENT_COLUMNS = ("sku", "parent_product_id", "inventory_item_id", "quantity")

_NONE = -1


class Rows(NamedTuple):
    """Rows of a table of the schema, as far as they belong to orders."""

    table: pa.Table
    order: Numbers  # the position of each row's order


class Packed(NamedTuple):
    """Rows of what is in shipments."""

    table: pa.Table
    order: Numbers  # the position of each row's order
    shipment: Numbers  # the position of its shipment's row


class Goods(NamedTuple):
    """Rows of goods: ordered lines in the sequence of `line_index`, or contents of shipments."""

    order: Numbers  # the position of each row's order
    quantity: Floats  # NaN where unknown
    sku: pa.Array
    product: pa.Array  # of an ordered line; of a shipped one, the kit that it is a part of


class Coverage(NamedTuple):
    """How much of what was ordered has shipped by a moment, in units."""

    is_complete: Mask  # by order; False where it is unknown what was ordered
    units: Floats  # by order: ordered units that have shipped
    surplus: Floats  # by order: shipped units beyond those
    of_slot: Floats  # by slot: what of `units` is known to be of it
    without_sku: Floats  # by order: what of `units` shipped without a sku


class Contents:
    """What was ordered, and what is in shipments; leave out those that are cancelled.

    Quantities are netted by order and sku: lines of 2 and -1 are 1, and less than 0 is 0. A unit
    of one sku never covers one of another. Units without a sku cover, and are covered, by number.
    There is no bill of materials: the parts of a kit are all its units in shipments, and of the
    kits ordered, as large a share has shipped, in whole kits, as of the part that is shipped least.

    Attributes
    ----------
    net : numpy.ndarray
        By order, the units ordered, without lines of unknown quantity.
    is_unknown : numpy.ndarray
        By order, whether the quantity of a line is unknown, or too large to be exact.
    line_units : numpy.ndarray
        By ordered line, its units of the net quantity.
    is_nameless : numpy.ndarray
        By ordered line, whether it has neither a sku nor parts in shipments.
    is_part, is_unmatched : numpy.ndarray
        By shipped line, whether it is a part of an ordered kit; and whether it is neither that nor
        of the sku of an ordered line.
    """

    @classmethod
    def of_tables(
        cls, orders: int, lines: Rows, shipments: Rows, shipped: Packed, packed: Packed
    ) -> Self:
        """Read the contents of shipments from their lines or, where there are none, packages."""
        is_live = ~_is_cancelled(shipments.table)
        dates = shipped_at(shipments.table)
        kept = np.flatnonzero(is_live[shipped.shipment])
        has_lines = np.zeros(len(is_live), np.bool_)
        has_lines[shipped.shipment] = True
        unpacked = np.flatnonzero((is_live & ~has_lines)[packed.shipment])
        parts = [(shipped, kept), (packed, unpacked)] if len(unpacked) else [(shipped, kept)]
        taken = [rows.table.select(CONTENT_COLUMNS).take(pa.array(those)) for rows, those in parts]
        table = pa.concat_tables(taken)
        goods = Goods(
            np.concatenate([rows.order[those] for rows, those in parts]),
            _quantity(table),
            _text(table["sku"]),
            _text(table["parent_product_id"]),
        )
        shipment = np.concatenate([rows.shipment[those] for rows, those in parts])
        ordered = Goods(
            lines.order,
            _quantity(lines.table),
            _text(lines.table["sku"]),
            _text(lines.table["product_id"]),
        )
        items = _text(table["inventory_item_id"])
        return cls(orders, ordered, goods, dates[shipment], items)

    def __init__(
        self,
        orders: int,
        lines: Goods,
        shipped: Goods,
        dates: Numbers,  # of shipped lines, in microseconds; NEVER if not shipped
        items: pa.Array,  # of shipped lines: which part of a kit, for one without a sku
    ) -> None:
        self._size, self._order, self._dates = orders, shipped.order, dates
        self._line_order = lines.order
        skus = pc.drop_null(lines.sku.unique())
        sku, shipped_sku = _codes(lines.sku, skus), _codes(shipped.sku, skus)
        kit, shipped_kit, kits = _match_kits(lines, shipped)
        # Each order has a number for every sku, for every kit, and for what is neither.
        width = len(skus) + kits + 1
        code = np.where(kit >= 0, len(skus) + kit, np.where(sku >= 0, sku, width - 1))
        # Lines of one slot are netted: those of one sku, of one kit, or of neither.
        self._slot, keys = pd.factorize(lines.order * width + code)
        self._slot_order, self._is_named = keys // width, keys % width != width - 1
        self.is_nameless = ~self._is_named[self._slot]
        slots = pd.Index(keys)
        self._supplied = _look_up(slots, shipped.order * width + shipped_sku, shipped_sku >= 0)
        kit_keys = shipped.order * width + len(skus) + shipped_kit
        self._kit = _look_up(slots, kit_keys, shipped_kit >= 0)
        if kits:  # they may also ship under a sku of their own
            of_kit = (kit >= 0) & (sku >= 0)
            own = pd.Series(self._slot[of_kit], lines.order[of_kit] * width + sku[of_kit])
            own = own[~own.index.duplicated()]
            found = _look_up(own.index, shipped.order * width + shipped_sku, shipped_sku >= 0)
            is_own = (self._supplied < 0) & (found >= 0)
            self._supplied[is_own] = own.to_numpy()[found[is_own]]
        self._read_lines(lines.quantity)
        self._read_shipped(shipped, items)

    def _read_lines(self, quantity: Floats) -> None:
        unknown = np.isnan(quantity) | (np.abs(quantity) >= MAX_EXACT_INT)
        self.is_unknown = np.bincount(self._line_order[unknown], minlength=self._size) > 0
        known = np.where(unknown, 0, quantity)
        self._net = np.maximum(np.bincount(self._slot, known, len(self._slot_order)), 0)
        self.net = _sum_by(self._slot_order, self._net, self._size)
        self.is_unknown |= self.net >= MAX_EXACT_INT
        self.line_units = np.maximum(known, 0)
        if (known < 0).any():
            self.line_units = _allot(self._slot, self.line_units, self._net)

    def _read_shipped(self, shipped: Goods, items: pa.Array) -> None:
        has_sku = pc.is_valid(shipped.sku).to_numpy(zero_copy_only=False)
        self.is_part = self._kit >= 0
        self.is_unmatched = ~self.is_part & (self._supplied < 0)
        self._direct = np.flatnonzero(~self.is_part & ~self.is_unmatched)
        self._foreign = np.flatnonzero(self.is_unmatched & has_sku)
        self._without_sku = np.flatnonzero(self.is_unmatched & ~has_sku)
        self._units = np.nan_to_num(shipped.quantity)
        if (self._units < 0).any():
            self._units = self._without_returns(shipped)
        self._parts = np.flatnonzero(self.is_part)
        if len(self._parts):
            self._read_parts(shipped.sku, items)

    def _read_parts(self, sku: pa.Array, items: pa.Array) -> None:
        rows = pa.array(self._parts)
        names = pc.coalesce(sku.take(rows), items.take(rows)).to_pandas()
        parts = pd.DataFrame(
            {
                "slot": self._kit[self._parts],
                "name": pd.factorize(names, use_na_sentinel=False)[0],
                "units": self._units[self._parts],
            }
        )
        groups = parts.groupby(["slot", "name"], sort=False)
        self._part = groups.ngroup().to_numpy()
        totals = groups["units"].sum()
        self._part_slot = totals.index.get_level_values("slot").to_numpy()
        self._part_total = totals.to_numpy()

    def _without_returns(self, shipped: Goods) -> Floats:
        """Return the quantities with each negative one taken from the last units before it."""
        units = self._units.copy()
        affected = np.isin(shipped.order, shipped.order[units < 0])
        rows = np.flatnonzero(affected & (self._dates != NEVER))
        units[affected & (self._dates == NEVER)] = np.maximum(
            units[affected & (self._dates == NEVER)], 0
        )
        frame = pd.DataFrame(
            {
                "order": shipped.order[rows],
                "sku": shipped.sku.take(pa.array(rows)).to_numpy(zero_copy_only=False),
                "kit": self._kit[rows],
                "date": self._dates[rows],
                "units": units[rows],
            },
            index=rows,
        ).sort_values("date", kind="stable")
        frame["goods"] = frame.groupby(["order", "sku", "kit"], dropna=False).ngroup()
        frame["total"] = frame.groupby("goods")["units"].cumsum()
        # What stays from each moment on: the least total from there to the end.
        lasting = frame[::-1].groupby("goods")["total"].cummin()[::-1].clip(lower=0)
        before = lasting.groupby(frame["goods"]).shift(fill_value=0)
        units[frame.index] = lasting - before
        return units

    def shipped_by(self, until: Numbers) -> Coverage:
        """Match with the lines what has shipped by a moment of each order, in microseconds."""
        units = np.where(self._dates <= until[self._order], self._units, 0)
        supply = _sum_by(self._supplied[self._direct], units[self._direct], len(self._net))
        of_slot = np.minimum(supply, self._net)
        surplus = _sum_by(self._slot_order, supply - of_slot, self._size)
        surplus += self._shipped(units, self._foreign)
        if len(self._parts):
            of_slot += np.minimum(self._kits(units), self._net - of_slot)
        # Lines without a sku take what is left of all others; what ships without one covers
        # whatever is missing.
        nameless = _sum_by(self._slot_order, np.where(self._is_named, 0, self._net), self._size)
        from_surplus = np.minimum(surplus, nameless)
        of_slot = np.where(self._is_named, of_slot, from_surplus[self._slot_order])
        missing = self.net - _sum_by(self._slot_order, of_slot, self._size)
        nameless_shipped = self._shipped(units, self._without_sku)
        without_sku = np.minimum(nameless_shipped, missing)
        return Coverage(
            is_complete=(missing == without_sku) & ~self.is_unknown,
            units=self.net - missing + without_sku,
            surplus=surplus - from_surplus + nameless_shipped - without_sku,
            of_slot=of_slot,
            without_sku=without_sku,
        )

    def filled(self, coverage: Coverage) -> Floats:
        """Return the units of each ordered line that have shipped; of a slot, in sequence."""
        filled = _allot(self._slot, self.line_units, coverage.of_slot)
        return filled + _allot(self._line_order, self.line_units - filled, coverage.without_sku)

    def units_shipped(self, until: Numbers, lines: Mask) -> Floats:
        """Return, by order, the units that have shipped by a moment, of some shipped lines."""
        is_counted = lines & (self._dates <= until[self._order])
        return _sum_by(self._order, np.where(is_counted, self._units, 0), self._size)

    def complete_dates(self, order: Numbers, date: Numbers, coverage: Coverage) -> Numbers:
        """Return when each order was complete, NEVER if not, from the dates of its shipments.

        `coverage` is that at the END.
        """
        by_date = np.lexsort((date, order))
        order, date = order[by_date], date[by_date]
        first, end = (
            np.searchsorted(order, np.arange(self._size), side) for side in ("left", "right")
        )
        is_complete = coverage.is_complete & (first < end)
        low, high = first, np.where(is_complete, end - 1, first)
        # Bisection: what is complete once stays so.
        while (is_open := low < high).any():
            middle = (low + high) // 2
            until = np.full(self._size, END)
            until[is_open] = date[middle[is_open]]
            was_complete = self.shipped_by(until).is_complete
            high = np.where(is_open & was_complete, middle, high)
            low = np.where(is_open & ~was_complete, middle + 1, low)
        dates = np.full(self._size, NEVER)
        dates[is_complete] = date[low[is_complete]]
        return dates

    def _kits(self, units: Floats) -> Floats:
        """Return how many whole kits of each slot have shipped."""
        shipped = _sum_by(self._part, units[self._parts], len(self._part_total))
        ordered, total = self._net[self._part_slot], self._part_total
        kits = np.floor(
            np.divide(shipped * ordered, total, where=total > 0, out=np.full(len(total), np.inf))
        )
        least = np.full(len(self._net), np.inf)
        np.minimum.at(least, self._part_slot, kits)
        return np.where(np.isinf(least), 0, least)

    def _shipped(self, units: Floats, rows: Numbers) -> Floats:
        return _sum_by(self._order[rows], units[rows], self._size)


def shipped_at(shipments: pa.Table) -> Numbers:
    """Return when shipments were shipped, in microseconds; NEVER for those that were not."""
    dates = shipments["shipped_date"].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    found: Numbers = dates.fill_null(NEVER).to_numpy().copy()
    found[_is_cancelled(shipments)] = NEVER
    return found


def _is_cancelled(shipments: pa.Table) -> Mask:
    mask: Mask = pc.equal(shipments["status"], "cancelled").fill_null(False).to_numpy()
    return mask


def _quantity(table: pa.Table) -> Floats:
    """Return quantities, NaN where there is none; those beyond what a float counts are rounded."""
    quantity = table["quantity"].cast(pa.float64(), safe=False)
    found: Floats = quantity.fill_null(np.nan).to_numpy()
    return found


def _text(values: pa.Array) -> pa.Array:
    """Return texts with null for empty ones."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_null(values.type):
        values = values.cast(pa.string())
    is_empty = pc.equal(values, "")
    return pc.if_else(is_empty, None, values) if pc.any(is_empty).as_py() else values


def _codes(values: pa.Array, distinct: pa.Array) -> Numbers:
    """Return the position of each value in `distinct`, -1 for others and null."""
    found = pc.index_in(values, value_set=distinct, skip_nulls=True).cast(pa.int64())
    codes: Numbers = found.fill_null(_NONE).to_numpy(zero_copy_only=False)
    return codes


def _match_kits(lines: Goods, shipped: Goods) -> tuple[Numbers, Numbers, int]:
    """Return numbers of the kits on a line and in a shipment of one order, and how many."""
    parents = shipped.product
    if parents.null_count == len(parents):
        return np.full(len(lines.order), _NONE), np.full(len(parents), _NONE), 0
    kits = pc.drop_null(parents.unique())
    line, part = _codes(lines.product, kits), _codes(parents, kits)
    keys = lines.order * len(kits) + line, shipped.order * len(kits) + part
    line = np.where((line >= 0) & np.isin(keys[0], keys[1][part >= 0]), line, _NONE)
    part = np.where((part >= 0) & np.isin(keys[1], keys[0][line >= 0]), part, _NONE)
    return line, part, len(kits)


def _look_up(slots: pd.Index, keys: Numbers, are_valid: Mask) -> Numbers:
    """Return the position of each valid key, -1 for others."""
    found: Numbers = np.where(are_valid, slots.get_indexer(pd.Index(keys)), _NONE)
    return found


def _allot(groups: Numbers, wanted: Floats, supply: Floats) -> Floats:
    """Give each row what it wants, in sequence, as long as the supply of its group lasts."""
    before = pd.Series(wanted).groupby(groups).cumsum().to_numpy() - wanted
    return np.clip(supply[groups] - before, 0, wanted)


def _sum_by(groups: npt.NDArray[np.integer], values: Floats, size: int) -> Floats:
    return np.bincount(groups, weights=values, minlength=size).astype(np.float64)
