import pytest

from trackstar_frames.sandbox import Sandbox
from trackstar_frames.sandbox.server.database import LISTING_ORDERS


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages_hold_every_order_once(sandbox, truth, listing, limit):
    some = {"created_date[gte]": "2026-05-31T00:00:00Z"} if limit == 1 else {}
    expected = [order for order in truth if order["created_date"] >= min(some.values(), default="")]
    assert listing(sandbox, {"limit": limit} | some) == expected


def test_a_page_holds_a_thousand_by_default(sandbox, get):
    body = get(sandbox).json()
    assert list(body) == ["data", "next_token", "total_count"]
    assert len(body["data"]) == body["total_count"] == 1000
    assert isinstance(body["next_token"], str)


def test_a_full_last_page_ends_the_listing(get):
    with Sandbox(10, rate_limit=None) as sandbox:
        assert get(sandbox, {"limit": 10}).json()["next_token"] is None
        assert get(sandbox, {"limit": 9}).json()["next_token"] is not None


def test_no_orders_are_an_empty_page(get):
    with Sandbox(0) as sandbox:
        assert get(sandbox).json() == {"data": [], "next_token": None, "total_count": 0}


def test_a_token_forgets_the_filters_and_the_limit(sandbox, truth, get):
    query = {"status": "cancelled", "limit": 2}
    first = get(sandbox, query).json()
    second = get(sandbox, {"page_token": first["next_token"]}).json()
    assert {order["status"] for order in first["data"]} == {"cancelled"}
    after = truth.index(first["data"][-1]) + 1
    assert second["data"] == truth[after : after + 1000]


def test_total_count_may_count_all_pages(get):
    with Sandbox(20, total_count="total") as sandbox:
        first = get(sandbox, {"limit": 3}).json()
        second = get(sandbox, {"limit": 3, "page_token": first["next_token"]}).json()
        assert first["total_count"] == second["total_count"] == 20


def test_the_default_order_has_no_meaning(truth):
    for key in ("id", "created_date", "updated_date", "order_number"):
        keys = [order[key] for order in truth]
        assert keys not in (sorted(keys), sorted(keys, reverse=True))


@pytest.mark.parametrize("order", LISTING_ORDERS)
def test_every_order_of_a_listing_is_complete(listing, order):
    with Sandbox(60, order=order, rate_limit=None) as sandbox:
        orders = listing(sandbox, {"limit": 7})
        assert sorted(orders, key=str) == sorted(sandbox.orders, key=str)
        key = order.removesuffix("_desc")
        if key not in ("inserted", "reversed"):
            keys = [each[key] for each in orders]
            assert keys == sorted(keys, reverse=order.endswith("_desc"))


def test_a_listing_by_date_holds_orders_without_one(listing):
    orders = [{"id": str(number), "created_date": None} for number in range(5)]
    with Sandbox(orders, order="created_date", rate_limit=None) as sandbox:
        assert listing(sandbox, {"limit": 2}) == orders
