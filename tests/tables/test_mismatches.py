"""What a server gives though it does not match the filters, or says beside its orders."""

import json
from contextlib import contextmanager

import pyarrow as pa
import pytest
from helpers import changing_server
from helpers.marks import sample, slow
from helpers.servers import client_of

import trackstar_frames as tf
from trackstar_frames.filters import encode
from trackstar_frames.flatten.layout import ORDER_INDEX
from trackstar_frames.settings import Credentials
from trackstar_frames.tables.mismatches import combine_queries, mismatches

ORDER = {
    "id": "a1",
    "status": "open",
    "type": "d2c",
    "channel": None,
    "order_number": "#10",
    "warehouse_customer_id": "Acme, Inc.",
    "created_date": "2026-03-01T10:00:00.500Z",
}

MATCHING = [
    {},
    {"status": "open"},
    {"status__in": ["open", "packed"]},
    {"status__neq": "packed"},
    {"status__nin": ["packed"]},
    {"status__contains": "open"},
    {"channel": "web"},  # a deprecated field may be null, and the filter hold nonetheless
    {"type": "d2c"},
    {"order_number__eq_insensitive": "#10"},
    {"order_number__contains": "1"},
    {"order_number__not_contains": "7"},
    {"ids": ["a1", "b"]},
    {"created_date__gte": "2026-03-01"},
    {"created_date__lte": "2026-03-01"},
    {"created_date__lte": "2026-03-01T10:00:00Z"},  # servers may leave fractions out
    {"created_date__gt": "2026-03-01T10:00:00Z"},
    {"created_date": "2026-03-01T10:00:00Z"},
    {"created_date__neq": "2026-03-01T10:00:00Z"},
    {"required_ship_date__gte": "2026-03-01"},
    {"trackstar_tags__contains": "vip"},
    {"warehouse_customer_id__eq": "Acme, Inc."},
]
CONTRARY = [
    {"status": "packed"},
    {"status__in": ["picked", "packed"]},
    {"status__neq": "open"},
    {"status__nin": ["open"]},
    {"type": "b2b"},
    {"order_number": "#11"},
    {"order_number__in": ["#11", "#12"]},
    {"order_number__contains": "7"},
    {"order_number__not_contains": "10"},
    {"ids": ["a2"]},
    {"created_date__gte": "2026-03-02"},
    {"created_date__gt": "2026-03-01"},
    {"created_date__lt": "2026-03-01"},
    {"created_date__lte": "2026-02-28"},
    {"created_date": "2026-03-01T11:00:00Z"},
]


def found(filters):
    frames = tf.OrderFrames.from_json([ORDER])
    orders = frames.to_arrow()["orders"].append_column(ORDER_INDEX, pa.array([0]))
    return mismatches(combine_queries(encode(filters)), orders).to_pylist()


@pytest.mark.parametrize("filters", MATCHING, ids=str)
def test_what_matches_or_may_match_is_not_reported(filters):
    assert found(filters) == []


@pytest.mark.parametrize("filters", CONTRARY, ids=str)
def test_what_does_not_match_is(filters):
    (problem,) = found(filters)
    (name,) = filters
    field = {"ids": "id"}.get(name, name.partition("__")[0])
    assert (problem["table"], problem["order_id"], problem["path"]) == ("orders", "a1", field)
    assert field == "created_date" or json.loads(problem["value"]) == ORDER[field]


def test_a_list_that_is_cut_is_expected_as_a_whole():
    numbers = [f"#{number}" for number in range(250)]
    assert found({"order_number__in": numbers}) == []
    assert len(found({"order_number__in": numbers[11:]})) == 1


@pytest.fixture
def listed():
    """Fetch from a server that answers this body, whatever is asked."""

    @contextmanager
    def start(body, **options):
        shop = changing_server.Shop([], before=lambda _: (200, body))
        with client_of(shop, retries=1, max_wait=1, **options) as client:
            yield shop, client

    return start


@pytest.mark.parametrize("pii", ["keep", "drop"])
def test_the_orders_are_kept_and_the_caller_is_warned(listed, tmp_path, pii):
    orders = [ORDER, ORDER | {"id": "a2", "status": "cancelled"}]
    with listed({"data": orders, "next_token": None}) as (_, client):
        with pytest.warns(UserWarning, match="sent 1 order outside the filters"):
            frames = tf.fetch_orders(client=client, status="open", pii=pii)
        assert frames.orders["id"].tolist() == ["a1", "a2"]
        assert frames.problems[["order_id", "path"]].to_numpy().tolist() == [["a2", "status"]]
        with pytest.warns(UserWarning, match="outside the filters"):
            snapshot = tf.export_orders(tmp_path, client=client, status="open", pii=pii)
        assert snapshot.read().problems.equals(frames.problems)


PARTIAL = [
    {"errors": ["timed out after 2 of 9 warehouses"]},
    {"errors": {"warehouse": "down"}},
    {"error": "partial result"},
    {"Error": "partial result"},
    {"partial": True},
    {"is_partial": True},
    {"incomplete": True},
    {"truncated": True},
    {"timed_out": True},
    {"success": False},
    {"has_more": True},
    {"hasMore": True},
    {"has_next_page": True},
    {"unused_filters": ["status"]},
    {"ignored_params": {"status": "open"}},
    {"unknownFilters": "status"},
    {"success": "false"},
    {"complete": "no"},
    {"has_more": "true"},
    {"is_last": False},
    {"next_cursor": "b2Zmc2V0OjE="},
    {"nextPage": 2},
    {"meta": {"has_more": True}},
    {"pagination": {"next": "/wms/orders?page_token=2"}},
    {"paging": {"is_last_page": "false"}},
    {"meta": {"errors": ["timed out after 2 of 9 warehouses"]}},
    {"result": {"success": False}},
    {"meta": {"ignored_filters": ["status"]}},
]
WHOLE = [
    {"errors": []},
    {"errors": None},
    {"error": ""},
    {"partial": False},
    {"success": True},
    {"has_more": False},
    {"unused_filters": []},
    {"previous_token": None},
    {"error": "false"},
    {"partial": "False"},
    {"has_more": "false"},
    {"total_count": "1"},
    {"total_count": 1.0},
    {"is_last": True},
    {"next": None},
]


@pytest.mark.parametrize("beside", sample(PARTIAL, 4), ids=str)
def test_a_response_that_says_it_is_incomplete_is_an_error(listed, beside):
    body = {"data": [ORDER], "next_token": None, **beside}
    with listed(body) as (_, client), pytest.raises(tf.ResponseError, match=r"`|follow"):
        tf.fetch_orders(client=client)


@pytest.mark.parametrize("beside", WHOLE, ids=str)
def test_a_response_that_says_it_is_complete_is_accepted(listed, beside):
    with listed({"data": [ORDER], "next_token": None, **beside}) as (_, client):
        frames = tf.fetch_orders(client=client)
    assert len(frames.orders) == 1
    assert len(frames.problems) == 0


def test_members_of_members_that_say_that_all_is_well_are_kept(listed):
    message = {"has_more": False, "errors": [], "next_cursor": None, "is_last": True}
    with listed({"data": [ORDER], "next_token": None, "meta": message}) as (_, client):
        frames = tf.fetch_orders(client=client)
    assert len(frames.orders) == 1
    assert json.loads(frames.problems["value"].item()) == message


def test_other_members_of_a_body_are_problems(listed, tmp_path):
    body = {"data": [ORDER], "next_token": None, "warnings": ["slow"], "page": 1}
    with listed(body) as (_, client):
        frames = tf.fetch_orders(client=client)
        assert dict(zip(frames.problems["path"], frames.problems["value"], strict=True)) == {
            "warnings": '["slow"]',
            "page": "1",
        }
        assert tf.export_orders(tmp_path, client=client).read().problems.equals(frames.problems)


@pytest.mark.parametrize("total", [3, 3.0, "3"])
def test_a_total_that_is_not_reached_is_requested_once_more_and_then_is_an_error(listed, total):
    with listed({"data": [ORDER], "next_token": None, "total_count": total}) as (shop, client):
        with pytest.raises(tf.IncompleteFetchError, match=r"counts 3 orders .* gave 1 of them"):
            tf.fetch_orders(client=client)
        assert len(shop.asked) == 2
        with pytest.raises(tf.IncompleteFetchError, match=r"counts 3 orders .* gave 1 of them"):
            tf.fetch_orders(client=client, limit=2)
        assert len(tf.fetch_orders(client=client, limit=1).orders) == 1


@pytest.mark.parametrize(("total", "text"), [("many", '"many"'), (float("nan"), "NaN")])
def test_a_total_that_is_no_count_is_a_problem(listed, total, text):
    with listed({"data": [ORDER], "next_token": None, "total_count": total}) as (_, client):
        frames = tf.fetch_orders(client=client)
    assert frames.problems[["path", "value"]].to_numpy().tolist() == [["total_count", text]]


# Ends ------------------------------------------------------------------------------------------


@pytest.fixture
def shop_of():
    @contextmanager
    def start(count, **options):
        made = [
            changing_server.order(number, changing_server.START + number * 9000)
            for number in range(count)
        ]
        shop = changing_server.Shop(made, absent_end=True, **options)
        with client_of(shop) as client:
            yield shop, client

    return start


@pytest.mark.each_value
@pytest.mark.parametrize("keyset", [True, False])
@pytest.mark.parametrize("total", [True, False])
@pytest.mark.parametrize(
    ("count", "size"), [(30, 10), (10, 10), (1000, 1000), (2000, 1000), (1, 1)]
)
def test_an_absent_token_is_the_end_of_a_full_page_if_that_is_proved(
    shop_of, count, size, total, keyset
):
    with shop_of(count, total=total, keyset=keyset) as (shop, client):
        frames = tf.fetch_orders(client=client, page_size=size)
        assert len(frames.orders) == count
        assert frames.info["duplicates"] == 0
        asked = [query for query in shop.asked if not any("updated" in name for name in query)]
    proofs = 0 if total and count > size else 1 if size < 1000 else 2
    assert len(asked) == count // size + proofs


@pytest.mark.parametrize("size", [10, 30, 1000])
def test_unproved_it_is_an_error(size):
    orders = [
        changing_server.order(number, changing_server.START + number) for number in range(3000)
    ]
    shop = changing_server.Shop([])
    shop.before = lambda _: (200, {"data": orders[: int(shop.asked[-1]["limit"])]})
    with (
        client_of(shop) as client,
        pytest.raises(tf.ResponseError, match="absent on a full page"),
    ):
        tf.fetch_orders(client=client, page_size=size)


# Cursors that die ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [410, slow(400), slow(404), slow(422)])
def test_an_expired_cursor_restarts_its_listing_once(tmp_path, caplog, status):
    made = [
        changing_server.order(number, changing_server.START + number * 9000) for number in range(50)
    ]
    shop, dead = changing_server.Shop(made, keyset=False), set()

    def before(_):
        token = shop.asked[-1].get("page_token")
        if token in dead:
            return status, {"error": "page_token has expired"}
        return (500, {"error": "down"}) if down and token == "30" else None

    shop.before, down = before, [True]
    with client_of(shop, retries=0, cache_dir=tmp_path) as client:
        with pytest.raises(tf.IncompleteFetchError) as caught:
            tf.fetch_orders(client=client, page_size=10)
        assert len(caught.value.frames.orders) == 30
        down.clear()
        dead |= {"30"}
        shop.orders.insert(0, changing_server.order(99, changing_server.START - 1))
        with pytest.raises(tf.IncompleteFetchError, match="page_token has expired"):
            tf.fetch_orders(client=client, page_size=10)  # it dies again
        assert "read again from its first page" in caplog.text
        shop.before = lambda at: (status, {"error": "expired"}) if at == again else None
        again = len(shop.asked) + 1
        frames = tf.fetch_orders(client=client, page_size=10)
        assert len(frames.orders) == 51
        assert frames.orders["id"].is_unique
        assert frames.info["complete"]
        asked = len(shop.asked)
        assert tf.fetch_orders(client=client, page_size=10).orders.equals(frames.orders)
        assert len(shop.asked) == asked


@pytest.mark.parametrize("status", [410, slow(400), slow(404), slow(422)])
@pytest.mark.parametrize(("dies", "options"), [(4, {"limit": 35}), (8, {"verify": True})])
def test_an_expired_cursor_loses_and_adds_nothing(tmp_path, status, dies, options):
    made = [
        changing_server.order(number, changing_server.START + number * 9000) for number in range(50)
    ]
    shop = changing_server.Shop(made, keyset=False)
    wanted = [each["id"] for each in made[: options.get("limit")]]
    shop.before = lambda at: (status, {"error": "expired"}) if at == dies else None
    with client_of(shop) as client:
        ask = {"client": client, "page_size": 10, **options}
        frames = tf.fetch_orders(**ask)
        assert frames.orders["id"].tolist() == wanted
        shop.asked.clear()
        assert tf.export_orders(tmp_path, **ask).read().orders.equals(frames.orders)


def test_a_cursor_may_have_expired_at_each_resume():
    made = [
        changing_server.order(number, changing_server.START + number * 9000) for number in range(50)
    ]
    shop = changing_server.Shop(made, keyset=False)
    answers = {4: 500, 5: 410, 9: 500, 10: 410}
    shop.before = lambda at: (answers[at], {"error": "?"}) if at in answers else None
    with client_of(shop, retries=0) as client:
        with pytest.raises(tf.IncompleteFetchError) as first:
            tf.fetch_orders(client=client, page_size=10)
        with pytest.raises(tf.IncompleteFetchError, match="returned 500") as second:
            first.value.resume()
        frames = second.value.resume()
    assert sorted(frames.orders["id"]) == [each["id"] for each in made]
    assert frames.info["duplicates"] == 0


def test_a_first_page_that_is_refused_is_no_cursor():
    shop = changing_server.Shop([], before=lambda _: (422, {"error": "unknown filter"}))
    with (
        client_of(shop) as client,
        pytest.raises(tf.ApiError, match="unknown filter"),
    ):
        tf.fetch_orders(client=client)
    assert len(shop.asked) == 1


def test_what_a_server_repeats_of_the_credentials_is_in_no_table_and_no_error(listed):
    body = {"data": [ORDER], "next_token": None, "request": {"headers": ["token-of-1"]}}
    with listed(body) as (_, client):
        frames = tf.fetch_orders(client=client)
    assert frames.problems["value"].tolist() == ['{"headers": ["***"]}']
    with (
        listed(body | {"errors": ["token-of-1 is not valid for Jane Roe"]}) as (_, client),
        pytest.raises(tf.ResponseError) as caught,
    ):
        tf.fetch_orders(client=client)
    assert "*** is not valid" in str(caught.value)
    with (
        listed(body | {"errors": ["token-of-1 is not valid for Jane Roe"]}) as (_, client),
        pytest.raises(tf.ResponseError) as caught,
    ):
        tf.fetch_orders(client=client, pii="drop")
    assert "Jane" not in str(caught.value)


@pytest.mark.one_of(3)
@pytest.mark.parametrize("key", ["a-key-of-20-letters-", 'a-key"of\\20-letters', "&" * 20])
def test_a_response_that_repeats_a_credential_is_not_kept_on_disk(tmp_path, key):
    body = {"data": [ORDER], "next_token": None, "request": {"key": key}}
    shop = changing_server.Shop([], before=lambda _: (200, body))
    with client_of(shop, api_key=key, cache_dir=tmp_path) as client:
        for _ in range(2):
            assert len(tf.fetch_orders(client=client).orders) == 1
    assert len(shop.asked) == 2
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"a-key-of" not in kept


@pytest.mark.slow
def test_a_long_text_of_a_server_is_cut_where_no_half_of_a_credential_shows():
    credentials = Credentials("a-key-of-20-letters-", "token-of-1")
    for before in range(19_960, 20_010):
        text = credentials.scrub("." * before + "a-key-of-20-letters-" * 1000)
        assert "key" not in text
        assert len(text) < 20_010


def test_pages_one_by_one_are_counted_through(listed):
    with listed({"data": [ORDER], "next_token": None, "total_count": 3}) as (_, client):
        pages = client.iter_pages()
        assert len(next(pages).orders) == 1
        with pytest.raises(tf.ResponseError, match="counts 3 orders"):
            next(pages)
        assert len(list(client.iter_pages("a token"))) == 1
