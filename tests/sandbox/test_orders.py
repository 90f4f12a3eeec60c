"""Made-up orders: as documented, true to themselves, and varied."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from helpers import documented_orders

from trackstar_frames.filter_types import Status
from trackstar_frames.sandbox import Sandbox
from trackstar_frames.sandbox.generator.orders import make_orders
from trackstar_frames.sandbox.server.database import STATUSES, TYPES

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def made(count=5000, seed="0", odd=0.0, days=180):
    return list(make_orders(count, seed, NOW, days=days, odd=odd))


@pytest.fixture(scope="module")
def orders():
    return made()


def each(rows, key):
    return [child for row in rows for child in row[key]]


@pytest.fixture(scope="module")
def tables(orders):
    return documented_orders.tables_of(orders)


# What this server fills always, though the documentation would allow a null.
NEVER_NULL = {
    "order": {"shipping_method"},
    "ship_to": {"address1", "city", "country"},
    "shipment": {"shipping_method"},
    "shipment to": {"address1", "city", "country"},
    "shipment from": {"address1", "city", "state", "postal_code", "country"},
    "shipped": {"sku"},
    "package": {
        "shipping_method",
        "carrier",
        "shipping_method_id",
        "shipping_method_name",
        "carrier_id",
        "carrier_name",
        "scac",
    },
}


@pytest.mark.parametrize(
    "name",
    [
        "order",
        "ship_to",
        "line",
        "shipment",
        "shipment to",
        "shipment from",
        "shipped",
        "package",
        "measurements",
        "packed",
    ],
)
def test_fields_are_as_documented_with_their_nulls(tables, name):
    fields, rows = tables[name]
    for field, (kind, nullable) in fields.items():
        values = [row[field] for row in rows if field in row]
        assert (len(values) < len(rows)) == (
            field in documented_orders.MAY_BE_ABSENT.get(name, ())
        ), field
        some = [value for value in values if value is not None]
        assert some, field
        assert all(type(value) in (kind if isinstance(kind, tuple) else (kind,)) for value in some)
        nulls = nullable and field not in NEVER_NULL.get(name, ())
        assert (len(some) < len(values)) == nulls, field
    assert {field for row in rows for field in row} == set(fields)


def test_the_statuses_are_those_of_the_client():
    assert get_args(Status) == STATUSES


def test_every_value_of_an_enum_occurs(orders):
    shipments = each(orders, "shipments")
    measurements = [package["measurements"] for package in each(shipments, "packages")]
    assert {order["status"] for order in orders} == {*STATUSES}
    assert {order["type"] for order in orders} == {*TYPES, None}
    assert {each["status"] for each in shipments} == {"open", "shipped", "cancelled", "other"}
    assert {each["unit"] for each in measurements} == {"cm", "in", None}
    assert {each["weight_unit"] for each in measurements} == {"kg", "oz", "lb", None}
    payers = {order.get("international_duty_paid_by") for order in orders}
    assert payers == {"sender", "recipient", "third_party", None}
    assert all(order["raw_status"] for order in orders if order["status"] == "other")


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["1", "2"])
def test_every_status_occurs_whatever_the_seed(seed):
    assert {order["status"] for order in made(seed=seed)} == {*STATUSES}


def test_shapes_vary(orders):
    tags = each([order for order in orders if order.get("trackstar_tags")], "trackstar_tags")
    assert {type(tag) for tag in tags} == {str, dict}
    assert all(len(tag) == 1 for tag in tags if isinstance(tag, dict))
    assert {bool(order["channel_object"]) for order in orders} == {True, False}
    assert {len(order["shipments"]) for order in orders} == {0, 1, 2}
    assert {len(shipment["packages"]) for shipment in each(orders, "shipments")} == {0, 1, 2, 3}
    assert any(
        isinstance(value, dict | list)
        for order in orders
        for value in order["additional_fields"].values()
    )
    texts = [value for order in orders for value in order["ship_to_address"].values()]
    assert "" in texts
    assert any(not text.isascii() for text in texts if text)
    assert len({order["warehouse_id"] for order in orders}) > 3
    assert len({order["invoice_currency_code"] for order in orders}) > 3
    assert len({order["ship_to_address"]["full_name"] for order in orders}) > 4000


def test_identifiers_are_unique_and_fit_into_lists(orders):
    for rows, key in (
        (orders, "id"),
        (orders, "order_number"),
        (each(orders, "shipments"), "shipment_id"),
    ):
        values = [row[key] for row in rows]
        assert len(set(values)) == len(values)
    for order in orders:
        assert "," not in order["id"] + order["order_number"] + order["reference_id"]


def test_numbers_grow_with_time(orders):
    numbers = {
        int("".join(filter(str.isdigit, order["order_number"]))): order["created_date"]
        for order in orders
    }
    dates = [numbers[number] for number in sorted(numbers)]
    assert dates == sorted(dates)


def test_times_follow_one_another(orders):
    documented_orders.check_times(orders, NOW)


def test_some_orders_arrive_late(orders):
    def delay(order):
        stamps = order["updated_date"], order["trackstar_updated_date"]
        updated, arrived = map(datetime.fromisoformat, stamps)
        return arrived - updated

    synced = [order for order in orders if order["created_date"] > "2026-01-10"]
    late = [order for order in synced if delay(order) > timedelta(hours=1, minutes=2)]
    assert 0.01 < len(late) / len(synced) < 0.03


def test_what_is_shipped_was_ordered(orders):
    documented_orders.check_quantities(orders)


def test_statuses_agree_with_shipments(orders):
    documented_orders.check_statuses(orders)


def outcome(order):
    if not order["required_ship_date"] or order["status"] == "cancelled":
        return "none"
    due = datetime.fromisoformat(order["required_ship_date"])
    bare = order["required_ship_date"].endswith("T00:00:00Z")
    due_by = due + timedelta(days=1, seconds=-1) if bare else due
    dates = [
        datetime.fromisoformat(each["shipped_date"])
        for each in order["shipments"]
        if each["shipped_date"]
    ]
    if order["status"] == "fulfilled":
        return "on time" if max(dates) <= due_by else "late"
    return "open, late" if due_by < NOW else "open, not due"


def test_most_orders_leave_in_time(orders):
    outcomes = Counter(map(outcome, orders))
    assert set(outcomes) == {"none", "on time", "late", "open, late", "open, not due"}
    due = outcomes["on time"] + outcomes["late"] + outcomes["open, late"]
    assert 0.88 < outcomes["on time"] / due < 0.96


def test_due_dates_are_bare_days_and_times(orders):
    dates = [order["required_ship_date"] for order in orders if order["required_ship_date"]]
    bare = sum(date.endswith("T00:00:00Z") for date in dates)
    assert 0.3 < bare / len(dates) < 0.9
    assert 0.02 < 1 - len(dates) / len(orders) < 0.12


def test_the_backlog_is_recent_but_for_a_few(orders):
    waiting = [order for order in orders if order["status"] not in ("fulfilled", "cancelled")]
    recent = [order for order in waiting if order["created_date"] > "2026-05-20"]
    assert 40 < len(waiting) < 250
    assert 0.5 < len(recent) / len(waiting) < 0.95
    assert min(order["created_date"] for order in waiting) < "2026-03-01"


def test_orders_have_a_rhythm(orders):
    created = [datetime.fromisoformat(order["created_date"]) for order in orders]
    weekdays = Counter(moment.weekday() for moment in created)
    assert max(weekdays[5], weekdays[6]) < 0.75 * min(weekdays[day] for day in range(5))
    hours = Counter(moment.hour for moment in created)
    assert min(hours[hour] for hour in range(14, 20)) > 3 * max(hours[hour] for hour in range(5, 9))
    assert min(created) > NOW - timedelta(days=180)
    assert max(created) < NOW


def test_orders_are_as_large_as_real_ones(orders):
    sizes = [len(json.dumps(order, separators=(",", ":"), ensure_ascii=False)) for order in orders]
    assert 2500 < sum(sizes) / len(sizes) < 4000


def test_data_are_as_documented_unless_odd_ones_are_wanted():
    plain, odd = made(400), made(400, odd=1.0)
    assert all(type(order["total_price"]) in (float, type(None)) for order in plain)
    prices = {type(order["total_price"]) for order in odd}
    assert {int, str, float} <= prices
    codes = {type(order["ship_to_address"].get("postal_code")) for order in odd}
    assert codes == {str, int, type(None)}
    assert any("zip_code" in order["ship_to_address"] for order in odd)
    assert any("fulfillment_priority" in order for order in odd)
    assert any("boxes" in each for order in odd for each in order["shipments"] or [])
    assert any(order["required_ship_date"] == "" for order in odd)
    assert any(type(line["quantity"]) is float for line in each(odd, "line_items"))


def test_odd_orders_are_served(listing):
    with Sandbox(200, odd=1.0, rate_limit=None) as sandbox:
        assert listing(sandbox, {"limit": 33}) == sandbox.orders


@pytest.mark.parametrize("days", [1, 40])
def test_the_first_orders_are_as_old_as_requested(days):
    oldest = min(order["created_date"] for order in made(500, days=days))
    age = NOW - datetime.fromisoformat(oldest)
    assert timedelta(days=days - 1) < age < timedelta(days=days) or days == 1
