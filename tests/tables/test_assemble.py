"""Joined, freed of duplicates, sorted; and what is computed for each order."""

from datetime import UTC, datetime

import pytest

from trackstar_frames import OrderFrames

COMPUTED = [
    "units_ordered",
    "units_shipped",
    "units_overshipped",
    "first_shipped_date",
    "last_shipped_date",
    "complete_shipped_date",
]


NUMBER = int | float | None


def day(number):
    return datetime(2026, 1, number, tzinfo=UTC)


def shipment(units, shipped=None, status="shipped", **more):
    date = None if shipped is None else f"2026-01-{shipped:02}T00:00:00Z"
    lines = [{"sku": "A", "quantity": each} for each in units]
    return {"status": status, "shipped_date": date, "line_items": lines, **more}


def computed(lines, shipments):
    lines = [{"sku": "A", "quantity": each} if isinstance(each, NUMBER) else each for each in lines]
    order = {"id": "a", "line_items": lines, "shipments": shipments}
    row = OrderFrames.from_json(order).to_arrow()["orders"].to_pylist()[0]
    return [row[name] for name in COMPUTED]


@pytest.mark.parametrize(
    ("lines", "shipments", "expected"),
    [
        # Nothing shipped yet.
        ([2, 3], [], [5, 0, 0, None, None, None]),
        ([2, 3], [shipment([5], None, "open")], [5, 0, 0, None, None, None]),
        # All at once; in parts; in parts that come out of order.
        ([2, 3], [shipment([2, 3], 4)], [5, 5, 0, day(4), day(4), day(4)]),
        ([2, 3], [shipment([2], 4), shipment([3], 6)], [5, 5, 0, day(4), day(6), day(6)]),
        ([2, 3], [shipment([3], 6), shipment([2], 4)], [5, 5, 0, day(4), day(6), day(6)]),
        # Partly shipped.
        ([2, 3], [shipment([2], 4)], [5, 2, 0, day(4), day(4), None]),
        # What ships beyond the order moves the last date, and counts apart.
        ([5], [shipment([5], 4), shipment([5], 9)], [5, 5, 5, day(4), day(9), day(4)]),
        # A cancelled shipment did not happen, whatever its stamp says.
        ([5], [shipment([5], 4, "cancelled"), shipment([5], 8)], [5, 5, 0, *[day(8)] * 3]),
        # An unknown or missing status counts, as long as there is a stamp.
        ([5], [shipment([5], 4, None)], [5, 5, 0, day(4), day(4), day(4)]),
        # Shipments that do not say what is in them.
        ([5], [{"shipped_date": "2026-01-04T00:00:00Z"}], [5, 0, 0, day(4), day(4), None]),
        # Nothing was ordered: the first shipment completes it.
        ([], [shipment([1], 4)], [0, 0, 1, day(4), day(4), day(4)]),
        ([], [], [0, 0, 0, None, None, None]),
        # With a quantity that is missing or not whole, it is unknown what was ordered.
        ([None, 2], [shipment([2, None], 4)], [None, 2, None, day(4), day(4), None]),
        ([1.5, 1], [shipment([1], 4)], [None, 1, None, day(4), day(4), None]),
        # Two parts at the same moment.
        ([5], [shipment([2], 4), shipment([3], 4)], [5, 5, 0, day(4), day(4), day(4)]),
        # What was taken off the order again is not waited for.
        ([2, -1], [shipment([1], 4)], [1, 1, 0, day(4), day(4), day(4)]),
        ([1, -2], [shipment([1], 4)], [0, 0, 1, day(4), day(4), day(4)]),
    ],
)
def test_units_and_ship_events(lines, shipments, expected):
    assert computed(lines, shipments) == expected


def goods(sku, units, **more):
    return {"sku": sku, "quantity": units, **more}


def sent(*lines, shipped=2, status="shipped", **more):
    return shipment([], shipped, status) | {"line_items": list(lines), **more}


A, B, C = (goods(sku, 1) for sku in "ABC")
KIT = goods("K", 1, product_id="k")
PARTS = [goods(sku, 1, parent_product_id="k") for sku in ("x", "y", "z")]


@pytest.mark.parametrize(
    ("lines", "shipments", "expected"),
    [
        # Two of A are not A and B.
        ([A, B], [sent(A), sent(A, shipped=3)], [2, 1, 1, day(2), day(3), None]),
        ([A, B], [sent(A), sent(B, shipped=3)], [2, 2, 0, day(2), day(3), day(3)]),
        ([goods("A", 5), goods("B", 5)], [sent(goods("A", 8))], [10, 5, 3, day(2), day(2), None]),
        # A substitute covers nothing.
        ([A, B], [sent(A, C)], [2, 1, 1, day(2), day(2), None]),
        # A kit with one of its parts shipped, the others in shipments that are still open.
        (
            [KIT],
            [sent(PARTS[0]), *(sent(part, shipped=None, status="open") for part in PARTS[1:])],
            [1, 0, 0, day(2), day(2), None],
        ),
        ([KIT], [sent(*PARTS[:2]), sent(PARTS[2], shipped=5)], [1, 1, 0, day(2), day(5), day(5)]),
        # What stands in packages alone has shipped, and what stands in both counts once.
        ([A], [sent(packages=[{"line_items": [A]}])], [1, 1, 0, *[day(2)] * 3]),
        ([A], [sent(A, packages=[{"line_items": [A]}])], [1, 1, 0, *[day(2)] * 3]),
        ([A], [sent(shipped=None, packages=[{"line_items": [A]}])], [1, 0, 0, *[None] * 3]),
        # Units without a sku, on either side, are covered by number.
        (
            [goods("", 2), A],
            [sent(A), sent(goods(None, 2), shipped=4)],
            [3, 3, 0, day(2), *[day(4)] * 2],
        ),
        ([goods(None, 2)], [sent(B), sent(C, shipped=4)], [2, 2, 0, day(2), day(4), day(4)]),
        # A placeholder is no date.
        ([A], [sent(A) | {"shipped_date": "1970-01-01T00:00:00Z"}], [1, 0, 0, None, None, None]),
        ([A], [sent(A) | {"shipped_date": "0001-01-01"}], [1, 0, 0, None, None, None]),
    ],
)
def test_units_are_matched_sku_by_sku(lines, shipments, expected):
    assert computed(lines, shipments) == expected


def test_an_absurd_quantity_blurs_no_other_order():
    absurd = {"id": "a", "line_items": [{"quantity": 2**62}, {"quantity": 2**62}]}
    plain = {
        "id": "b",
        "line_items": [{"quantity": 3}],
        "shipments": [shipment([3, 1], 4)],
    }
    absurd["shipments"] = [shipment([2**62, 2**62], 2)]
    first, second = OrderFrames.from_json([absurd, plain]).to_arrow()["orders"].to_pylist()
    assert [first[name] for name in COMPUTED[:3]] == [None] * 3
    assert first["complete_shipped_date"] is None
    assert [second[name] for name in COMPUTED] == [3, 3, 1, day(4), day(4), day(4)]


def test_dates_at_the_ends_of_the_calendar_stay_exact():
    order = {"id": "a", "shipments": [{"shipped_date": "9999-12-31T23:59:59.999999Z"}]}
    row = OrderFrames.from_json(order).to_arrow()["orders"].to_pylist()[0]
    assert row["first_shipped_date"] == datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def test_counts_and_shipping_cost():
    packages = [{"shipping_cost": 1.25}, {"shipping_cost": None}, {"shipping_cost": "2.50"}]
    orders = [
        {"id": "a", "line_items": [{}, {}], "shipments": [{"packages": packages}, {}]},
        {"id": "b", "shipments": [{"packages": [{}]}]},
        {"id": "c"},
    ]
    names = ["line_item_count", "shipment_count", "package_count", "shipping_cost"]
    rows = OrderFrames.from_json(orders).to_arrow()["orders"].select(names).to_pylist()
    assert [list(row.values()) for row in rows] == [
        [2, 2, 3, 3.75],
        [0, 1, 1, None],
        [0, 0, 0, None],
    ]


def test_orders_are_sorted_by_creation_then_id_and_nulls_come_last():
    dates = {"b": "2026-01-02", "a": "2026-01-02", "z": "2026-01-01", "n": None, "m": None}
    orders = [
        {"id": key, "created_date": date, "line_items": [{"sku": key}, {"sku": key}]}
        for key, date in dates.items()
    ]
    tables = OrderFrames.from_json(orders).to_arrow()
    assert tables["orders"]["id"].to_pylist() == ["z", "a", "b", "m", "n"]
    assert tables["line_items"]["order_id"].to_pylist() == list("zzaabbmmnn")
    assert tables["line_items"]["line_index"].to_pylist() == [0, 1] * 5


def version(sku, updated, **more):
    return {"id": "a", "updated_date": updated, "line_items": [{"sku": sku}], **more}


@pytest.mark.parametrize(
    ("versions", "kept"),
    [
        ([version("old", "2026-01-01"), version("new", "2026-01-02")], "new"),
        ([version("new", "2026-01-02"), version("old", "2026-01-01")], "new"),
        ([version("first", "2026-01-02"), version("second", "2026-01-02")], "second"),
        ([version("dated", "2026-01-02"), version("undated", None)], "dated"),
        ([version("undated", None), version("dated", "2026-01-02")], "dated"),
        ([version("first", None), version("second", None)], "second"),
    ],
)
def test_of_an_order_met_twice_the_newest_is_kept_with_its_children(versions, kept):
    other = {"id": "b", "line_items": [{"sku": "B"}]}
    frames = OrderFrames.from_json([versions[0], other, versions[1]])
    tables = frames.to_arrow()
    assert frames.info["duplicates"] == 1
    assert sorted(tables["orders"]["id"].to_pylist()) == ["a", "b"]
    assert sorted(tables["line_items"]["sku"].to_pylist()) == sorted(["B", kept])


def test_problems_of_a_dropped_duplicate_go_with_it():
    old = version("A", "2026-01-01", total_price="old")
    new = version("A", "2026-01-02", total_price="new")
    frames = OrderFrames.from_json([old, {"order_number": "no id"}, new])
    assert frames.problems["value"].tolist() == ['"new"', '{"order_number": "no id"}']


def test_nothing_at_all_has_all_tables_with_all_columns():
    tables = OrderFrames.from_json([]).to_arrow()
    filled = OrderFrames.from_json(version("A", "2026-01-01")).to_arrow()
    assert {name: table.schema for name, table in tables.items()} == {
        name: table.schema for name, table in filled.items()
    }
    assert all(len(table) == 0 for table in tables.values())
