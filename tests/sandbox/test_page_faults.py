"""Faults of the orders on a page, and of orders that change while a listing is read."""

import pytest

from trackstar_frames.sandbox import Fault
from trackstar_frames.sandbox.server.database import LISTING_ORDERS


def orders_of(bodies):
    return [order for body in bodies for order in body["data"]]


def test_repeat_token(start_faulty, pages):
    sandbox = start_faulty(Fault("repeat_token"))
    bodies = pages(sandbox, 3, most=4)
    assert len({body["next_token"] for body in bodies}) == 1
    assert bodies[1]["data"] == bodies[3]["data"] == sandbox.orders[3:6]


@pytest.mark.parametrize("order", ["inserted", "reversed", "id"])
def test_loop_token(start_faulty, pages, order):
    bodies = pages(start_faulty(Fault("loop_token"), order=order), 3)
    tokens = [body["next_token"] for body in bodies]
    assert tokens[0] != tokens[1]
    assert tokens == tokens[:2] * 3
    assert all(body["data"] == bodies[0]["data"] != [] for body in bodies)


@pytest.mark.parametrize("order", ["inserted", "reversed", "id", "created_date_desc"])
def test_empty_page(start_faulty, pages, order):
    sandbox = start_faulty(Fault("empty_page", nth=(1, 2, 4)), order=order)
    bodies = pages(sandbox, 4)
    assert [len(body["data"]) for body in bodies] == [0, 0, 4, 0, 3]
    assert len({body["next_token"] for body in bodies}) == 5
    assert {order["id"] for body in bodies for order in body["data"]} == {
        order["id"] for order in sandbox.orders
    }


def test_short_page(start_faulty, pages):
    sandbox = start_faulty(Fault("short_page"))
    bodies = pages(sandbox, 4)
    assert [len(body["data"]) for body in bodies] == [2, 2, 2, 1]
    assert [order for body in bodies for order in body["data"]] == sandbox.orders


def test_duplicate(start_faulty, pages):
    sandbox = start_faulty(Fault("duplicate", nth=2))
    bodies = pages(sandbox, 3)
    assert [len(body["data"]) for body in bodies] == [3, 3, 2]
    assert bodies[1]["data"][0] == bodies[0]["data"][-1]
    listed = [order for body in bodies for order in body["data"]]
    assert [*listed[:3], *listed[4:]] == sandbox.orders


def test_duplicate_that_has_changed(start_faulty, pages):
    change = {"status": "cancelled", "updated_date": "2030-01-01T00:00:00Z"}
    sandbox = start_faulty(Fault("duplicate", times=1, first_page=False, change=change))
    bodies = pages(sandbox, 1, most=20)
    assert bodies[1]["data"] == [sandbox.orders[0] | change]
    assert [order for body in bodies[2:] for order in body["data"]] == sandbox.orders[1:]


@pytest.mark.parametrize("order", LISTING_ORDERS)
def test_same_orders(start_faulty, get, pages, order):
    sandbox = start_faulty(Fault("same_orders"), order=order)
    bodies = pages(sandbox, 3, most=8)
    healthy = pages(start_faulty(orders=sandbox.orders, order=order), 3)
    assert all(body["data"] == healthy[0]["data"] for body in bodies)
    again = [get(sandbox, {"limit": 3}).json() for _ in range(2)]
    assert len({body["next_token"] for body in [*bodies, *again]} - {None}) == 10


def test_same_orders_on_a_later_page(start_faulty, pages):
    sandbox = start_faulty(Fault("same_orders", nth=2))
    first, second, *others = pages(sandbox, 3)
    assert first["data"] == second["data"] == sandbox.orders[:3]
    assert orders_of(others) == sandbox.orders


def test_same_orders_keeps_the_filters(start_faulty, get):
    sandbox = start_faulty(Fault("same_orders"))
    query = {"order_number": sandbox.orders[5]["order_number"]}
    for _ in range(3):
        body = get(sandbox, query).json()
        assert body["data"] == [sandbox.orders[5]]
        query["page_token"] = body["next_token"]


def test_a_listing_ends_once_the_same_orders_do(start_faulty, pages):
    sandbox = start_faulty(Fault("same_orders", times=2))
    bodies = pages(sandbox, 4)
    assert orders_of(bodies) == sandbox.orders[:4] * 2 + sandbox.orders


@pytest.mark.parametrize("name", ["created_date", *(f"created_date[{op}]" for op in ("lt", "?"))])
def test_ignores_dates(start_faulty, get, name):
    sandbox, healthy = start_faulty(Fault("ignores_dates")), start_faulty()
    date = "2000-01-01T00:00:00Z"
    assert get(healthy, {name: date}).json().get("data", []) == []
    token = get(sandbox, {name: date, "limit": 4}).json()["next_token"]
    page = get(sandbox, {name: date, "limit": 2, "page_token": token}).json()
    assert page["data"] == sandbox.orders[4:6]


@pytest.mark.parametrize("name", ["updated_date[lt]", "trackstar_created_date[lt]"])
def test_ignores_dates_ignores_no_other(start_faulty, get, name):
    sandbox = start_faulty(Fault("ignores_dates"))
    assert get(sandbox, {name: "2000-01-01T00:00:00Z"}).json()["data"] == []
    assert get(sandbox, {"what": "?", "created_date": "?"}).status_code == 422


# By "id" or in the reverse order, an order that comes late may stand where nobody looks again.
@pytest.mark.parametrize("order", sorted(LISTING_ORDERS.keys() - {"id", "reversed"}))
def test_new_order(start_faulty, pages, order):
    fault = Fault("new_order", nth=2, change={"order_number": "late"})
    sandbox = start_faulty(fault, order=order)
    before = sandbox.orders
    bodies = pages(sandbox, 3)
    late = sandbox.orders[-1]
    assert sandbox.orders == [*before, late]
    assert sorted(orders_of(bodies), key=str) == sorted(sandbox.orders, key=str)
    assert late["order_number"] == "late"
    alike = [each for each in before if each["created_date"] == late["created_date"]]
    assert [each | {"id": late["id"], "order_number": "late"} for each in alike] == [late]
    assert late["id"] not in {each["id"] for each in before}


def test_new_orders_all_have_ids_of_their_own(start_faulty, pages):
    sandbox = start_faulty(Fault("new_order", first_page=True), orders=1)
    for number in range(1, 4):
        assert len(orders_of(pages(sandbox, 9))) == len(sandbox.orders) == number + 1
    assert len({order["id"] for order in sandbox.orders}) == 4


def test_new_orders_are_like_those_requested(start_faulty, get):
    sandbox = start_faulty(Fault("new_order"))
    number = sandbox.orders[5]["order_number"]
    assert len(get(sandbox, {"order_number": number}).json()["data"]) == 2
    assert get(sandbox, {"order_number": "none of these"}).json()["data"] == []
    assert len(sandbox.orders) == 8


def test_changed_order(start_faulty, pages):
    sandbox = start_faulty(Fault("changed_order", change={"status": "other"}), order="updated_date")
    before = {order["id"]: order for order in sandbox.orders}
    bodies = pages(sandbox, 4, most=2)
    last, again = bodies[0]["data"][-1], bodies[1]["data"][0]
    assert last == before[last["id"]]
    assert again == last | {"status": "other", "updated_date": again["updated_date"]}
    assert again["updated_date"] > last["updated_date"]
    after = before | {last["id"]: again}
    assert sandbox.orders == list(after.values())


@pytest.mark.parametrize(
    ("date", "later"),
    [
        ("2026-01-31T23:59:59Z", "2026-02-01T00:00:00Z"),
        ("2026-01-01T00:00:00.500+02:00", "2026-01-01T00:00:01.500000+02:00"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ("last week", "last week"),
        (None, None),
        (7, 7),
    ],
)
def test_a_changed_order_is_a_second_newer(start_faulty, pages, date, later):
    orders = [{"id": "1", "updated_date": date}, {"id": "2", "updated_date": date}]
    sandbox = start_faulty(Fault("changed_order"), orders=orders)
    assert orders_of(pages(sandbox, 1)) == orders
    assert sandbox.orders == [{"id": "1", "updated_date": later}, orders[1]]


@pytest.mark.parametrize("ids", [["1", "2", "3", "4"], [1, 2, 3, 4]])
def test_gone_order(start_faulty, pages, ids):
    orders = [{"id": each} for each in ids]
    sandbox = start_faulty(Fault("gone_order", nth=2), orders=orders)
    bodies = pages(sandbox, 2)
    assert [body["data"] for body in bodies] == [orders[:2], orders[3:]]
    assert sandbox.orders == [*orders[:2], orders[3]]


def test_the_last_order_may_be_deleted(start_faulty, pages):
    sandbox = start_faulty(Fault("gone_order", first_page=False), orders=3)
    bodies = pages(sandbox, 2)
    assert [len(body["data"]) for body in bodies] == [2, 0]
    assert orders_of(bodies) == sandbox.orders


@pytest.mark.parametrize("kind", ["changed_order", "gone_order"])
def test_orders_without_an_id_are_neither_changed_nor_deleted(start_faulty, pages, kind):
    orders = [{"order_number": str(number)} for number in range(5)]
    sandbox = start_faulty(Fault(kind), orders=orders)
    assert orders_of(pages(sandbox, 2)) == sandbox.orders == orders
