import os
import subprocess
import sys
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
from helpers import reference
from helpers.servers import reply
from helpers.traffic import count_requests

import trackstar_frames as tf
from trackstar_frames.sandbox import Fault, Sandbox


def queries(paths):
    return [parse_qs(urlsplit(path).query) for path in paths]


@pytest.mark.slow
def test_it_holds_every_field_of_25000_orders():
    with Sandbox(orders=25_000, seed=3, rate_limit=None) as sandbox:
        client = sandbox.client(rate_limit=None, cache=False)
        frames = tf.fetch_orders(client=client)
        reference.assert_dataframes_hold(frames, sandbox.orders)
        assert count_requests(sandbox.requests) == (25, 2)
    assert (frames.info["pages"], frames.info["requests"]) == (25, 25 + 2)
    assert frames.info["duplicates"] == frames.info["from_cache"] == 0


@pytest.mark.one_of(2)
@pytest.mark.parametrize("order", ["reversed", "id", "created_date_desc", "updated_date"])
def test_the_order_of_the_listing_makes_no_difference(serve, order):
    sandbox = serve(order=order)
    client = sandbox.client(rate_limit=None, cache=False)
    frame = tf.fetch_orders_df(client=client, page_size=7)
    reference.assert_frame_holds(frame, reference.tables(sandbox.orders)["orders"])


def test_nulls_of_created_date_are_last(serve, some_orders):
    orders = [some_orders[0] | {"id": "z", "created_date": None}]
    orders += [some_orders[1] | {"id": "y", "created_date": None}, *some_orders[2:9]]
    sandbox = serve(orders=orders)
    frame = tf.fetch_orders_df(client=sandbox.client())
    assert frame["id"].tolist()[-2:] == ["y", "z"]
    assert frame["created_date"][:-2].is_monotonic_increasing


@pytest.mark.one_of(2)
@pytest.mark.parametrize(
    ("page_size", "total_count"),
    [(1, "page"), (7, "total"), (7, "page"), (60, "page"), (61, "total"), (1000, "page")],
)
def test_any_page_size_gives_the_same(serve, page_size, total_count):
    sandbox = serve(total_count=total_count, gzip=page_size == 61)
    client = sandbox.client(rate_limit=None, cache=False)
    frames = tf.fetch_orders(client=client, page_size=page_size)
    reference.assert_dataframes_hold(frames, sandbox.orders)
    pages = -(-60 // page_size)
    assert count_requests(sandbox.requests) == (pages, 2 * (pages > 1))
    asked = queries(request.path for request in sandbox.requests)
    assert all(query["limit"] == [str(page_size)] for query in asked)


@pytest.mark.parametrize("limit", [1, 6, 7, 8, 14, 59, 60, 61, 1000])
def test_limit_is_of_all_orders_and_not_of_a_page(serve, limit):
    sandbox = serve()
    frames = tf.fetch_orders(
        client=sandbox.client(rate_limit=None, cache=False), page_size=7, limit=limit
    )
    reference.assert_frames_hold(frames, sandbox.orders[:limit])
    assert len(sandbox.requests) == -(-min(limit, 60) // min(limit, 7))
    assert frames.info["limit"] == limit


def test_every_filter_goes_with_every_page(serve):
    sandbox = serve(orders=200)
    filters = {
        "updated_date__gte": "2020-01-01",
        "updated_date__lt": "2099-01-01",
        "status__in": ["open", "fulfilled", "packed"],
        "order_number__not_contains": "zzz",
    }
    frame = tf.fetch_orders_df(
        client=sandbox.client(rate_limit=None, cache=False), page_size=7, **filters
    )
    # By the first of these, and by ``updated_date[gt]``, the listing is closed.
    stamps = "trackstar_updated_date", "updated_date%5Bgt%5D"
    paths = [request.path for request in sandbox.requests]
    listing = [path for path in paths if not any(stamp in path for stamp in stamps)]
    closing = [path for path in paths if path not in listing]
    assert (len(listing) > 5, len(closing)) == (True, 2)
    assert len(frame) == sum(o["status"] in filters["status__in"] for o in sandbox.orders)
    for number, query in enumerate(queries(listing + closing)):
        assert ("page_token" in query) == (0 < number < len(listing))
        assert query["status[in]"] == ["fulfilled,open,packed"]
        assert query["updated_date[gte]"] == ["2020-01-01T00:00:00Z"]
        assert query["updated_date[lt]"] == ["2099-01-01T00:00:00Z"]
        assert query["order_number[not_contains]"] == ["zzz"]
        assert query["limit"] == ["7"]


def test_extra_params_go_with_every_page(raw_server):
    bodies = iter([b'{"data": [{"id": "a"}], "next_token": "t"}', b'{"data": []}'])
    server = raw_server(lambda handler: reply(handler, next(bodies)))
    client = tf.TrackstarClient("key", "token", base_url=server.base_url)
    assert len(tf.fetch_orders_df(client=client, extra_params={"brand_new": True, "n": 2})) == 1
    first, second = (parse_qs(urlsplit(path).query) for path, _ in server.seen)
    assert first == {"brand_new": ["true"], "n": ["2"], "limit": ["1000"]}
    assert second == first | {"page_token": ["t"]}


def test_no_orders_give_no_rows_with_all_columns(serve):
    sandbox = serve()
    client = sandbox.client(rate_limit=None)
    empty = tf.fetch_orders(client=client, order_number="there is none")
    full = tf.fetch_orders(client=client)
    for name in full.to_arrow():
        assert len(getattr(empty, name)) == 0
        assert getattr(empty, name).dtypes.equals(getattr(full, name).dtypes), name


def test_an_empty_page_with_a_token_continues(serve_with_client):
    sandbox, client = serve_with_client(Fault("empty_page", nth={1, 3, 4}))
    frames = tf.fetch_orders(client=client, page_size=20)
    reference.assert_frames_hold(frames, sandbox.orders)
    assert frames.info["pages"] == 6


def test_a_short_page_with_a_token_continues(serve_with_client):
    sandbox, client = serve_with_client(Fault("short_page", every=2), Fault("wrong_count"))
    frames = tf.fetch_orders(client=client, page_size=7)
    reference.assert_frames_hold(frames, sandbox.orders)


def test_an_absent_token_ends_a_page_that_is_not_full(serve_with_client):
    sandbox, client = serve_with_client(Fault("absent_token_end"))
    reference.assert_frames_hold(tf.fetch_orders(client=client, page_size=7), sandbox.orders)
    reference.assert_frames_hold(tf.fetch_orders(client=client), sandbox.orders)


def test_an_absent_token_ends_a_listing_of_ids(serve_with_client):
    sandbox, client = serve_with_client(Fault("no_token"))
    ids = [order["id"] for order in sandbox.orders]
    for options in ({"page_size": 7}, {"limit": 60}, {"page_size": 60}):
        frames = tf.fetch_orders(client=client, ids=ids, **options)
        reference.assert_frames_hold(frames, sandbox.orders)


def test_ids_with_a_limit(serve_with_client):
    sandbox, client = serve_with_client()
    ids = [order["id"] for order in sandbox.orders]
    assert len(tf.fetch_orders_df(client=client, ids=ids, limit=7)) == 7
    assert len(tf.fetch_orders_df(client=client, ids=ids[:3], limit=7)) == 3


def test_a_duplicate_is_dropped_and_counted(serve_with_client):
    sandbox, client = serve_with_client(Fault("duplicate", nth={2, 4}))
    frames = tf.fetch_orders(client=client, page_size=7)
    reference.assert_frames_hold(frames, sandbox.orders)
    assert frames.info["duplicates"] == 2


@pytest.mark.parametrize(("stamp", "newer"), [("2099", True), ("1999", False)])
def test_of_duplicates_the_newest_is_kept_with_its_children(serve_with_client, stamp, newer):
    change = {
        "updated_date": f"{stamp}-01-01T00:00:00Z",
        "line_items": [
            {
                "product_id": "p",
                "sku": "changed",
                "quantity": 9,
                "unit_price": 1.0,
                "is_picked": False,
                "discount_amount": None,
            }
        ],
        "shipments": [],
    }
    sandbox, client = serve_with_client(Fault("duplicate", nth=2, change=change))
    frames = tf.fetch_orders(client=client, page_size=7)
    expected = sandbox.orders
    if newer:
        expected[6] = expected[6] | change
    reference.assert_dataframes_hold(frames, expected)
    assert frames.info["duplicates"] == 1


def test_of_equals_the_later_is_kept(serve_with_client):
    sandbox, client = serve_with_client(Fault("duplicate", nth=3, change={"raw_status": "later"}))
    frames = tf.fetch_orders(client=client, page_size=7)
    expected = sandbox.orders
    expected[13]["raw_status"] = "later"
    reference.assert_frames_hold(frames, expected)


@pytest.mark.slow
def test_thousands_of_ids(shared_sandbox):
    known = [order["id"] for order in shared_sandbox.orders]
    strangers = [f"{number:024x}" for number in range(2000)]
    before = len(shared_sandbox.requests)
    client = shared_sandbox.client(rate_limit=None, cache=False)
    frames = tf.fetch_orders(client=client, ids=[*strangers, *known, *known[:50]])
    reference.assert_dataframes_hold(frames, shared_sandbox.orders)
    assert frames.info["duplicates"] == 0
    assert len(shared_sandbox.requests) - before == 24


def test_long_lists_are_split_and_joined(shared_sandbox):
    held = [order["order_number"] for order in shared_sandbox.orders][:150]
    asked = [*held, *(f"stranger {number}" for number in range(150))]
    client = shared_sandbox.client(rate_limit=None, cache=False)
    frame = tf.fetch_orders_df(client=client, order_number=asked)
    assert set(frame["id"]) == {o["id"] for o in shared_sandbox.orders if o["order_number"] in held}
    one = tf.fetch_orders_df(
        client=client, order_number__in_insensitive=[n.upper() for n in held], limit=20
    )
    assert len(one) == 20


def test_a_list_without_regard_to_case_sends_one_request_for_each_word(shared_sandbox):
    held = sorted({order["order_number"] for order in shared_sandbox.orders})[:90]
    asked = [spelt for number in held for spelt in (number.lower(), number.upper())]
    client = shared_sandbox.client(rate_limit=None, cache=False)
    frames = tf.fetch_orders(client=client, order_number__in_insensitive=asked)
    assert set(frames.orders["order_number"]) == set(held)
    assert frames.info["duplicates"] == 0


def test_the_info_is_small_json(shared_sandbox):
    client = shared_sandbox.client(rate_limit=None, connection="acme")
    frame = tf.fetch_orders_df(
        client=client,
        created_date__gte="2020-01-01",
        status=(each for each in ("open", "packed")),
        limit=5,
    )
    info = frame.attrs["trackstar"]
    assert info["filters"] == {"created_date__gte": "2020-01-01", "status": ["open", "packed"]}
    assert (info["connection"], info["limit"], info["complete"]) == ("acme", 5, True)


def test_the_environment_is_read_when_no_client_is_given(shared_sandbox, monkeypatch):
    with pytest.raises(tf.CredentialsError, match="TRACKSTAR_API_KEY"):
        tf.fetch_orders_df()
    monkeypatch.setenv("TRACKSTAR_API_KEY", shared_sandbox.api_key)
    with pytest.raises(tf.CredentialsError, match="TRACKSTAR_ACCESS_TOKEN"):
        tf.fetch_orders_df()
    monkeypatch.setenv("TRACKSTAR_ACCESS_TOKEN", shared_sandbox.access_token)
    monkeypatch.setenv("TRACKSTAR_BASE_URL", shared_sandbox.base_url)
    assert len(tf.fetch_orders_df(limit=3)) == 3


def test_one_client_serves_several_threads(shared_sandbox):
    client = shared_sandbox.client(rate_limit=None)
    expected = dict.fromkeys(("open", "fulfilled", "cancelled", "packed"), 0)
    for order in shared_sandbox.orders:
        if order["status"] in expected:
            expected[order["status"]] += 1
    found, faults = {}, []

    def fetch(status, turn):
        try:
            frame = tf.fetch_orders_df(client=client, status=status, page_size=11)
        except Exception as error:  # noqa: BLE001 -- shown below
            faults.append(error)
        else:
            found[status, turn] = len(frame)

    threads = [threading.Thread(target=fetch, args=(s, t)) for s in expected for t in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not faults
    assert found == {(status, t): n for status, n in expected.items() for t in range(2)}


def test_a_snapshot_is_written_as_well(shared_sandbox, tmp_path):
    client = shared_sandbox.client(rate_limit=None)
    frames = tf.fetch_orders(client=client, snapshot=tmp_path / "root")
    reference.assert_frames_hold(tf.read_snapshot(tmp_path / "root"), shared_sandbox.orders)
    reference.assert_frames_hold(frames, shared_sandbox.orders)


def test_the_bar_is_drawn_only_when_requested(shared_sandbox, capfd):
    client = shared_sandbox.client(rate_limit=None)
    tf.fetch_orders_df(client=client)
    tf.fetch_orders_df(client=client, progress=False)
    assert capfd.readouterr() == ("", "")
    tf.fetch_orders_df(client=client, progress=True)
    assert "350" in capfd.readouterr().err


def test_iter_pages_is_lazy(serve):
    sandbox = serve()
    client = sandbox.client(rate_limit=None)
    pages = client.iter_pages(page_size=7)
    assert not sandbox.requests
    first = next(pages)
    assert len(sandbox.requests) == 1
    assert first.orders == sandbox.orders[:7]
    assert not first.from_cache
    assert first.fetched_at.utcoffset().total_seconds() == 0
    second = next(client.iter_pages(first.next_token, page_size=7))
    assert second.orders == sandbox.orders[7:14]
    rest = list(pages)
    assert len(rest) == 8
    assert rest[-1].next_token is None
    assert b'"next_token":null' in rest[-1].body
    again = list(client.iter_pages(page_size=7))
    assert all(page.from_cache for page in again)
    assert [page.orders for page in again[1:]] == [page.orders for page in rest]
    assert "orders" in repr(first)


def test_iter_pages_over_a_split_list(shared_sandbox):
    ids = [order["id"] for order in shared_sandbox.orders]
    client = shared_sandbox.client(rate_limit=None)
    pages = list(client.iter_pages(ids=ids))
    assert len(pages) == 4
    assert sorted(o["id"] for page in pages for o in page.orders) == sorted(ids)
    with pytest.raises(tf.FilterError, match="page_token"):
        client.iter_pages("token", ids=ids)


def test_it_imports_without_matplotlib():
    code = "import sys, trackstar_frames; print('matplotlib' in sys.modules, 'tqdm' in sys.modules)"
    run = [sys.executable, "-c", code]
    reported = subprocess.run(run, capture_output=True, text=True, check=True, env=os.environ)
    assert reported.stdout == "False False\n"
