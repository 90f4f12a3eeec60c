import gc
import threading
import warnings
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest
import requests

from trackstar_frames.sandbox import Sandbox


def test_tokens_open_different_orders(get):
    with Sandbox(20, tokens=3) as sandbox:
        pages = [get(sandbox, token=token).json()["data"] for token in range(3)]
        assert pages == [sandbox.orders_of(token) for token in range(3)]
        assert len({order["id"] for page in pages for order in page}) == 60
        assert sandbox.access_token == sandbox.access_tokens[0]
        assert len({sandbox.api_key, *sandbox.access_tokens}) == 4


def test_the_same_seed_and_time_give_the_same_orders(now):
    def made(**options):
        with Sandbox(50, **options) as sandbox:
            return sandbox.orders

    assert made(seed=1, now=now) == made(seed=1, now=now)
    assert made(seed=1, now=now) != made(seed=2, now=now)
    assert made(seed=1, now=now) != made(seed=1)


def test_given_orders_are_served_as_they_are(listing):
    orders = [
        {"id": "1", "total_price": "12.50", "what": {"ever": [1, 2.0, None]}},
        {"id": "1", "status": "none of these", "created_date": "last week"},
        {"status": "open", "line_items": None, "trackstar_tags": "vip"},
        {"id": 4, "created_date": "2026-01-01T00:00:00.500+00:00", "order_number": 12},
        {},
    ]
    with Sandbox(orders) as sandbox:
        assert sandbox.orders == orders
        assert listing(sandbox) == orders
        assert listing(sandbox, {"ids": "1"}) == orders[:2]
        assert listing(sandbox, {"created_date[gt]": "2026-01-01T00:00:00Z"}) == [orders[3]]
        assert listing(sandbox, {"order_number": "12"}) == [orders[3]]
        assert listing(sandbox, {"status[neq]": "open"}) == [*orders[:2], *orders[3:]]


def test_data_change_between_calls(listing, now):
    with Sandbox(5, now=now) as sandbox:
        first, second, third, *others = sandbox.orders
        changed = second | {"status": "cancelled", "order_number": "changed"}
        sandbox.upsert([changed, first | {"id": "new"}])
        sandbox.delete([third["id"], "unknown"])
        expected = [first, changed, *others, first | {"id": "new"}]
        assert sandbox.orders == listing(sandbox) == expected
        assert listing(sandbox, {"order_number": "changed"}) == [changed]
        assert listing(sandbox, {"order_number": second["order_number"]}) == []


def test_a_change_between_pages_is_seen(get):
    with Sandbox([{"id": str(number)} for number in range(4)]) as sandbox:
        token = get(sandbox, {"limit": 2}).json()["next_token"]
        sandbox.delete(["0", "2"])
        sandbox.upsert([{"id": "late"}])
        page = get(sandbox, {"limit": 2, "page_token": token}).json()
        assert [order["id"] for order in page["data"]] == ["3", "late"]


def test_changes_are_of_one_token():
    with Sandbox(2, tokens=2) as sandbox:
        before = sandbox.orders
        sandbox.upsert([{"id": "new"}], token=1)
        assert sandbox.orders == before
        assert len(sandbox.orders_of(1)) == 3


def test_requests_are_logged_in_order(get, http):
    with Sandbox(1, rate_limit=2) as sandbox:
        get(sandbox, {"limit": "1"})
        get(sandbox, {"limit": "?"})
        get(sandbox)
        http.get(sandbox.base_url + "/other", timeout=5)
        logged = sandbox.requests
        assert [request[1:] for request in logged] == [
            (sandbox.access_token, "/wms/orders?limit=1", 200),
            (sandbox.access_token, "/wms/orders?limit=%3F", 422),
            (sandbox.access_token, "/wms/orders", 429),
            (None, "/other", 404),
        ]
        assert [request.time for request in logged] == sorted(request.time for request in logged)
    assert sandbox.requests == logged


def test_it_starts_and_stops_and_starts(get):
    sandbox = Sandbox(3, now=datetime.fromisoformat("2026-01-01T00:00:00Z"))
    with sandbox:
        before = sandbox.orders
        sandbox.delete([before[0]["id"]])
        get(sandbox)
    sandbox.start()
    assert sandbox.orders == before
    assert sandbox.requests == []
    with pytest.raises(RuntimeError, match="is running already"):
        sandbox.start()
    sandbox.stop()
    sandbox.stop()
    for attribute in ("orders", "base_url"):
        with pytest.raises(RuntimeError, match="not running"):
            getattr(sandbox, attribute)


def test_it_leaves_nothing_behind():
    threads = set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Sandbox(5) as sandbox, requests.Session() as http:
            url, folder = sandbox.base_url, Path(sandbox._folder)
            http.get(url, timeout=5)
            assert folder.exists()
        gc.collect()
    assert set(threading.enumerate()) <= threads
    assert not folder.exists()
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_a_client_in_the_middle_of_a_request_does_not_keep_it_from_stopping(get):
    def get_in_vain():
        with suppress(requests.ConnectionError):
            get(sandbox)

    with Sandbox(1, latency=60) as sandbox:
        thread = threading.Thread(target=get_in_vain)
        thread.start()
        while not sandbox.requests:
            pass
        assert sandbox.requests[0].status is None
    thread.join(timeout=5)
    assert not thread.is_alive()


def test_a_port_can_be_chosen_and_taken():
    with Sandbox(1) as sandbox:
        port = int(sandbox.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            Sandbox(1, port=port).start()
    with Sandbox(1, port=port) as sandbox:
        assert sandbox.base_url == f"http://127.0.0.1:{port}"


def test_its_client_reads_the_orders_of_its_token():
    with Sandbox(12, tokens=2) as sandbox:
        for token in range(2):
            client = sandbox.client(token=token, connection="shop", cache=False)
            found = {order["id"] for page in client.iter_pages() for order in page.orders}
            assert found == {order["id"] for order in sandbox.orders_of(token)}


def test_its_repr_shows_no_credential():
    sandbox = Sandbox(1000, tokens=2)
    assert repr(sandbox) == "<Sandbox stopped: 1,000 orders, tokens: 2>"
    with sandbox:
        assert repr(sandbox) == f"<Sandbox {sandbox.base_url}: 1,000 orders, tokens: 2>"
    for secret in (sandbox.api_key, *sandbox.access_tokens):
        assert secret not in repr(sandbox)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "random"}, "order='random' is not one of inserted"),
        ({"total_count": "all"}, "total_count='all' is not one of page, total"),
        ({"rate_headers": "ratelimit"}, "rate_headers='ratelimit' is not one of"),
        ({"now": datetime(2026, 1, 1)}, "now=.* has no time zone"),  # noqa: DTZ001
        ({"tokens": 0}, "tokens=0"),
        ({"rate_limit": 0}, "rate_limit=0"),
        ({"orders": -1}, "orders=-1"),
        ({"days": 0}, "days=0"),
        ({"odd": 2}, "odd=2"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Sandbox(**options)
