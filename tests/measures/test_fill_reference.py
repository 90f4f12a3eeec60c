"""The same fill rates in plain Python, one order at a time, without pandas."""

import datetime as dt
import itertools
from types import SimpleNamespace

import pandas as pd
import pytest
from helpers import fill_reference
from helpers.marks import slow
from hypothesis import given
from hypothesis import strategies as st

from trackstar_frames import OrderFrames, fill_rates
from trackstar_frames.sandbox import Sandbox

DAY = "2026-03-02T12:00:00Z"
AS_OF = "2026-03-03"
LATER = "2026-03-05T12:00:00Z"
COUNTS = [
    *("orders", "orders_filled", "lines", "lines_filled", "units", "units_filled"),
    *("units_overshipped", "kit_units", "unmatched_units", "left_out"),
]


def assert_counts(table, orders, by, as_of):
    groups = {}
    for each in orders:
        groups.setdefault(tuple(each.get(name) for name in by), []).append(each)
    assert len(table) == len(groups)
    found = table.reset_index()
    for _, row in found.iterrows():
        key = tuple(None if pd.isna(row[name]) else row[name] for name in by)
        expected = fill_reference.count_orders(groups[key], as_of)
        assert {name: row[name] for name in COUNTS} == {name: expected[name] for name in COUNTS}
    for name in ("order", "line", "unit"):
        part, whole = table[f"{name}s_filled"], table[f"{name}s"]
        assert table[f"{name}_rate"].equals(part / whole.where(whole > 0))
    known = table[table["orders"] > 0]
    for name in ("order_rate", "line_rate"):
        assert (known[f"{name}_low"] <= known[name]).all()
        assert (known[name] <= known[f"{name}_high"]).all()


@pytest.mark.parametrize(("seed", "backend"), [(1, None), (2, "pyarrow"), slow(3, None)])
def test_counts_are_those_of_plain_python(seed, backend):
    with Sandbox(orders=700, seed=seed, rate_limit=None) as sandbox:
        orders = sandbox.orders
    frames = OrderFrames.from_json(orders, dtype_backend=backend)
    created = sorted(fill_reference.moment(each["created_date"]) for each in orders)
    for by, when in itertools.product(
        ([], ["channel"], ["warehouse_id", "type"]), (created[200], created[-1])
    ):
        table = fill_rates(frames, by=by or None, as_of=when)
        assert_counts(table, orders, by, when)
    assert table["kit_units"].sum() > 0
    assert table["unmatched_units"].sum() > 0
    assert 0 < table["lines_filled"].sum() < table["lines"].sum()


quantities = st.sampled_from([None, -1, 0, 1, 1, 2, 3, 5])
skus = st.sampled_from(["A", "B", "C", None, ""])
products = st.sampled_from(["k", "l", None, ""])
ordered_lines = st.fixed_dictionaries({"sku": skus, "quantity": quantities, "product_id": products})
shipped_lines = st.fixed_dictionaries(
    {
        "sku": skus,
        "quantity": st.sampled_from([None, 0, 1, 1, 2, 3, 5]),
        "parent_product_id": st.none() | products,
        "inventory_item_id": st.sampled_from(["A", "p", None, ""]),
    }
)
shipments = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["shipped", "open", "cancelled", None]),
        "shipped_date": st.sampled_from([DAY, DAY, LATER, None]),
        "line_items": st.lists(shipped_lines, max_size=4),
        "packages": st.lists(
            st.fixed_dictionaries({"line_items": st.lists(shipped_lines, max_size=2)}), max_size=2
        ),
    }
)
some_orders_of_all_kinds = st.lists(
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(["open", "fulfilled", "cancelled", None]),
            "created_date": st.sampled_from([DAY, LATER, None]),
            "channel": st.sampled_from(["web", "edi", None]),
            "line_items": st.lists(ordered_lines, max_size=4),
            "shipments": st.lists(shipments, max_size=3),
        }
    ),
    max_size=6,
)


@given(some_orders_of_all_kinds, st.sampled_from([DAY, AS_OF, LATER]), st.booleans())
def test_columns_at_once_equal_orders_one_by_one(orders, as_of, grouped):
    named = [each | {"id": str(number)} for number, each in enumerate(orders)]
    frames = OrderFrames.from_json(named)
    when = pd.Timestamp(as_of).tz_localize(None).tz_localize("UTC")
    table = fill_rates(frames, by="channel" if grouped else None, as_of=as_of)
    if named or grouped:
        by = ["channel"] if grouped else []
        assert_counts(table, named, by, when.to_pydatetime())
    assert (table["orders"] + table["left_out"]).sum() == len(named)


def test_rows_of_the_orders_are_judged_alone(some_orders):
    frames = OrderFrames.from_json(some_orders)
    few = SimpleNamespace(
        orders=frames.orders[frames.orders["type"] == "b2b"],
        line_items=frames.line_items,
        shipments=frames.shipments,
        shipment_line_items=frames.shipment_line_items,
        package_line_items=frames.package_line_items,
    )
    when = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
    kept = [each for each in some_orders if each["type"] == "b2b"]
    assert_counts(fill_rates(few, as_of=when), kept, [], when)
