"""When an order is complete, compared with a slow count of each order by itself."""

import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from trackstar_frames.tables.completeness import END, NEVER, Contents, Goods

SKU = st.sampled_from(["A", "B", "C", "", None])
KIT = st.sampled_from([None, None, None, "K", "L", ""])
LINES = st.lists(
    st.tuples(
        SKU,
        st.sampled_from(["K", "P", "L"]),
        st.sampled_from([*range(-2, 6), *range(1, 6), None]),
    ),
    max_size=5,
)
CONTENTS = st.lists(
    st.tuples(SKU, KIT, st.sampled_from(["i", "j", None]), st.integers(-2, 6)), max_size=4
)
SHIPMENTS = st.lists(st.tuples(st.sampled_from([1, 2, 2, 3, 9, None]), CONTENTS), max_size=4)
ORDERS = st.lists(st.tuples(LINES, SHIPMENTS), min_size=1, max_size=5)


class Counted:
    """One order counted unit by unit, without arrays."""

    def __init__(self, lines, shipments):
        parents = {kit for _, rows in shipments for _, kit, _, _ in rows if kit}
        self.unknown = any(quantity is None for *_, quantity in lines)
        self.kits = {product for _, product, _ in lines if product in parents}
        self.ordered = Counter()
        for sku, product, quantity in lines:
            self.ordered[self.slot(sku, product)] += quantity or 0
        self.ordered = {slot: max(units, 0) for slot, units in self.ordered.items()}
        self.of_sku = {}
        for sku, product, _ in lines:
            if sku and ("sku", sku) in self.ordered:
                self.of_sku[sku] = ("sku", sku)
            elif sku:
                self.of_sku.setdefault(sku, self.slot(sku, product))
        self.shipments = shipments

    def slot(self, sku, product):
        if product in self.kits:
            return "kit", product
        return ("sku", sku) if sku else "none"

    def streams(self):
        """Return the units of each sku, alone or as parts of a kit, by the date they shipped."""
        streams = defaultdict(list)
        for date, rows in self.shipments:
            for sku, kit, item, units in rows:
                kit_of = kit if kit in self.kits else None
                part = (sku or item) if kit_of else None
                streams[kit_of, sku or None].append(
                    (math.inf if date is None else date, part, units)
                )
        return streams

    def by(self, moment):
        """Return units shipped, those beyond the order, and whether it is complete."""
        shipped, foreign, nameless = Counter(), 0, 0
        for (kit, sku), rows in self.streams().items():
            added = sum(units for date, _, units in lasting(rows) if date <= moment)
            if kit:
                continue
            if sku is None:
                nameless += added
            elif sku in self.of_sku:
                shipped[self.of_sku[sku]] += added
            else:
                foreign += added
        shares = self.shares(moment)
        covered, surplus = Counter(), foreign
        for slot, units in self.ordered.items():
            covered[slot] = min(units, shipped[slot])
            surplus += shipped[slot] - covered[slot]
            kits = min((part * units // whole for part, whole in shares[slot]), default=0)
            covered[slot] += min(kits, units - covered[slot])
        extra = min(surplus, self.ordered.get("none", 0))
        units = sum(covered.values()) + extra
        used = min(nameless, sum(self.ordered.values()) - units)
        units += used
        complete = units == sum(self.ordered.values()) and not self.unknown
        return units, surplus - extra + nameless - used, complete

    def shares(self, moment):
        """Return for each kit, part by part, the units shipped and those in all shipments."""
        parts, totals = Counter(), Counter()
        for (kit, _), rows in self.streams().items():
            for date, part, units in lasting(rows) if kit else ():
                totals[kit, part] += units
                parts[kit, part] += units * (date <= moment)
        shares = defaultdict(list)
        for (kit, part), total in totals.items():
            if total > 0:
                shares["kit", kit].append((parts[kit, part], total))
        return shares

    def complete_at(self):
        dates = sorted(date for date, _ in self.shipments if date is not None)
        return next((date for date in dates if self.by(date)[2]), NEVER)


def lasting(rows):
    """Return what rows of one sku add for good: units come back from the last that shipped."""
    dated = sorted((row for row in rows if row[0] != math.inf), key=lambda row: row[0])
    totals = list(itertools.accumulate(units for _, _, units in dated))
    stays = [max(min(totals[number:]), 0) for number in range(len(totals))]
    for (date, part, _), before, now in zip(dated, [0, *stays], stays, strict=False):
        yield date, part, now - before
    yield from ((date, part, max(units, 0)) for date, part, units in rows if date == math.inf)


def contents(orders):
    lines, shipped, dates, stamps = [], [], [], []
    for number, (ordered, shipments) in enumerate(orders):
        lines += [(number, *line) for line in ordered]
        for date, rows in shipments:
            shipped += [(number, *row) for row in rows]
            dates += [NEVER if date is None else date] * len(rows)
            stamps += [] if date is None else [(number, date)]
    columns = list(zip(*lines, strict=True)) or [()] * 4
    order, sku, product, quantity = columns
    goods = Goods(_ints(order), np.array(quantity, float), _texts(sku), _texts(product))
    order, sku, kit, item, units = list(zip(*shipped, strict=True)) or [()] * 5
    sent = Goods(_ints(order), np.array(units, float), _texts(sku), _texts(kit))
    made = Contents(len(orders), goods, sent, _ints(dates), _texts(item))
    stamp_order, stamp = list(zip(*stamps, strict=True)) or [(), ()]
    return made, _ints(stamp_order), _ints(stamp)


def _ints(values):
    return np.array(values, np.int64)


def _texts(values):
    return pa.array([value or None for value in values], pa.string())


@given(orders=ORDERS, moment=st.sampled_from([0, 1, 2, 3, 8, 9, END]))
def test_what_has_shipped_is_counted_as_order_by_order(orders, moment):
    made, _, _ = contents(orders)
    coverage = made.shipped_by(np.full(len(orders), moment, np.int64))
    for number, (lines, shipments) in enumerate(orders):
        counted = Counted(lines, shipments)
        assert made.net[number] == sum(counted.ordered.values())
        assert made.is_unknown[number] == counted.unknown
        got = coverage.units[number], coverage.surplus[number], coverage.is_complete[number]
        assert got == counted.by(moment)


@given(orders=ORDERS)
def test_an_order_is_complete_from_the_moment_that_covers_it(orders):
    made, order, date = contents(orders)
    end = made.shipped_by(np.full(len(orders), END))
    dates = made.complete_dates(order, date, end)
    assert dates.tolist() == [Counted(*each).complete_at() for each in orders]


@given(orders=ORDERS, moment=st.sampled_from([0, 2, 9]))
def test_lines_are_filled_with_what_has_shipped(orders, moment):
    made, _, _ = contents(orders)
    coverage = made.shipped_by(np.full(len(orders), moment, np.int64))
    filled = made.filled(coverage)
    line_order = np.repeat(np.arange(len(orders)), [len(lines) for lines, _ in orders])
    assert (filled <= made.line_units).all()
    assert (filled >= 0).all()
    assert np.bincount(line_order, filled, len(orders)).tolist() == coverage.units.tolist()
    assert np.bincount(line_order, made.line_units, len(orders)).tolist() == made.net.tolist()
