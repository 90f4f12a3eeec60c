"""Whole fetches in parts: the truth, by the same requests, whoever is faster."""

import itertools
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from helpers import reference
from helpers.marks import sample, slow
from helpers.servers import reply
from helpers.traffic import normalized_path
from hypothesis import given
from hypothesis import strategies as st

import trackstar_frames as tf
from trackstar_frames.sandbox import Fault, Sandbox

LISTINGS = [
    *("inserted", "reversed", "id", "created_date", "created_date_desc"),
    *("updated_date", "updated_date_desc"),
]
#: Older than what an open side is thought to begin with: the parts do not depend on the day.
YEAR = {"created_date__gte": "2019-01-01", "created_date__lt": "2020-01-01"}
START, DAY = datetime(2019, 1, 1, tzinfo=UTC), 86_400


def dated(orders, seconds):
    """The orders, created so many seconds after START."""
    return [
        order | {"created_date": stamp(START + timedelta(seconds=each))}
        for order, each in zip(orders, itertools.cycle(seconds), strict=False)
    ]


def stamp(moment):
    return moment.isoformat().replace("+00:00", "Z")


def chains(sandbox):
    queries = [dict(parse_qsl(urlsplit(request.path).query)) for request in sandbox.requests]
    outer = ("limit", "page_token")
    return Counter(
        tuple(sorted((name, each) for name, each in query.items() if name not in outer))
        for query in queries
    )


MOMENTS = st.one_of(
    st.just([5]),
    st.just([5, 5.5]),
    st.lists(st.integers(0, 3 * DAY), min_size=5, max_size=60),
    st.lists(st.integers(0, 3 * 365 * DAY), min_size=5, max_size=60),
    st.lists(st.integers(0, DAY) | st.integers(800 * DAY, 801 * DAY), min_size=5, max_size=60),
    st.lists(st.sampled_from([0, 9, 9.5, 10, DAY, 365 * DAY]), min_size=5, max_size=60),
)


@given(
    listing=st.sampled_from(LISTINGS),
    moments=MOMENTS,
    bounds=st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), st.integers(0, 59)),
    page_size=st.sampled_from([1, 2, 7, 30, 1000]),
    total_count=st.sampled_from(["page", "total"]),
)
def test_all_windows_together_are_all_orders(some_orders, moments, bounds, page_size, **listing):
    orders = dated(some_orders[: 20 if page_size == 1 else 60], moments)
    # The bounds are the whole seconds of some orders: those are the hard ones.
    bounds = {
        name: reference.moment(orders[each % len(orders)]["created_date"]).replace(microsecond=0)
        for name, each in bounds.items()
    }
    filters = {f"created_date__{name}": each for name, each in bounds.items()}
    truth = [
        order
        for order in orders
        if all(reference.matches(order, "created_date", *each) for each in bounds.items())
    ]
    with Sandbox(
        orders=orders, rate_limit=None, order=listing.pop("listing"), **listing
    ) as sandbox:
        client = sandbox.client(rate_limit=None, cache=False)
        fetched = [
            tf.fetch_orders(client=client, page_size=page_size, max_workers=workers, **filters)
            for workers in (8, 1)
        ]
    for frames in fetched:
        reference.assert_frames_hold(frames, truth)
        assert frames.info["duplicates"] == 0


@pytest.fixture(scope="module")
def year(some_orders):
    """A server of orders of one year and one crowded day."""
    seconds = [*range(0, 365 * DAY, 5 * DAY), *range(200 * DAY, 201 * DAY, DAY // 127)]
    with Sandbox(
        orders=dated(some_orders[:200], seconds), rate_limit=None, latency=0.002
    ) as sandbox:
        yield sandbox


@pytest.fixture
def fetch():
    """Fetch, and count the paths that were asked for."""

    def run(sandbox, *, cache=False, **options):
        client = sandbox.client(rate_limit=None, cache=cache)
        start = len(sandbox.requests)
        frames = tf.fetch_orders(client=client, **{"page_size": 10} | YEAR | options)
        return frames, Counter(map(normalized_path, sandbox.requests[start:]))

    return run


def closes(path):
    return "lately" in path


@pytest.mark.slow
def test_the_requests_do_not_depend_on_the_workers(year, fetch):
    frames, asked = fetch(year, max_workers=1)
    reference.assert_frames_hold(frames, year.orders)
    assert max(asked.values()) == 1
    assert sum(map(closes, asked)) == 2
    assert frames.info["requests"] == asked.total() > 20
    assert frames.info["pages"] < asked.total()  # what is divided comes again
    tables = frames.to_arrow()
    for workers in (2, 8, 8, 32):
        again, same = fetch(year, max_workers=workers)
        assert same == asked
        assert all(again.to_arrow()[name].equals(table) for name, table in tables.items())


@pytest.mark.slow
@pytest.mark.parametrize("workers", [slow(1), 8])
def test_from_disk_no_request_is_made(year, fetch, workers):
    frames, asked = fetch(year, cache=True)
    for options in ({}, {"offline": True}):
        again, none = fetch(year, cache=True, max_workers=workers, **options)
        assert not none
        assert again.info["from_cache"] == again.info["pages"] == frames.info["pages"]
        assert again.orders.equals(frames.orders)
    assert fetch(year, cache=True, refresh=True)[1] == asked


@pytest.mark.parametrize("workers", [slow(1), 8])
def test_only_what_is_missing_on_disk_is_requested_again(year, fetch, tmp_path, workers):
    _, asked = fetch(year, cache=True)
    head = next(path for path in asked if is_whole(path))
    closing = set(filter(closes, asked))
    lost = sorted(asked.keys() - closing - {head})[::3]
    delete(year, tmp_path, lost)
    with pytest.raises(tf.TrackstarError, match="not on disk"):
        fetch(year, cache=True, offline=True, max_workers=workers)
    frames, again = fetch(year, cache=True, max_workers=workers)
    assert again == Counter([*lost, *closing])  # what the server gives now is closed now
    reference.assert_frames_hold(frames, year.orders)
    assert not fetch(year, cache=True, offline=True)[1]
    # The age of all pages is that of the head: what is older does not belong to a new one.
    delete(year, tmp_path, [head])
    assert fetch(year, cache=True, max_workers=workers)[1] == asked


def is_whole(path):
    """Whether it asks for the first page of the whole question."""
    query = parse_qs(urlsplit(path).query)
    bounds = ("2019-01-01T00:00:00Z", "2020-01-01T00:00:00Z")
    asked = tuple(query.get(f"created_date[{name}]", [""])[0] for name in ("gte", "lt"))
    return asked == bounds and "page_token" not in query


def delete(sandbox, folder, lost):
    """Delete the answers to some paths from the file."""
    with sandbox.client() as client:
        keys = [
            client.session._key(parts.path, dict(parse_qsl(parts.query)))
            for parts in map(urlsplit, lost)
        ]
    (file,) = folder.rglob("pages.sqlite")
    with closing(sqlite3.connect(file)) as db, db:
        for key in keys:
            assert db.execute("DELETE FROM pages WHERE key = ?", (key,)).rowcount == 1


@pytest.mark.one_of(3)
@pytest.mark.parametrize("listing", sample(LISTINGS, 3))
def test_a_crowded_day_is_divided(serve, fetch, some_orders, listing):
    seconds = range(100 * DAY, 101 * DAY, DAY // 350)
    sandbox = serve(orders=dated(some_orders, seconds), order=listing)
    frames, asked = fetch(sandbox)
    assert len(frames.orders) == 350
    assert sum(count >= 3 for count in chains(sandbox).values()) >= 3
    assert max(chains(sandbox).values()) <= 35 * 0.4
    assert asked.total() <= 35 * 2


@pytest.mark.slow
def test_an_empty_year_takes_a_few_requests(serve, fetch, some_orders):
    sandbox = serve(orders=dated(some_orders, range(0, 7 * DAY, DAY // 50)))
    three = {"created_date__gte": "2018-06-01", "created_date__lt": "2021-06-01"}
    assert fetch(sandbox, page_size=10, **three)[1].total() <= 35 + 25
    empty = {"created_date__gte": "2016-01-01", "created_date__lt": "2019-01-01"}
    assert fetch(sandbox, page_size=10, **empty)[1].total() == 1
    assert fetch(sandbox, page_size=350)[1].total() == 1


def test_a_limit_is_one_chain_in_the_order_of_the_server(year, fetch):
    start = len(year.requests)
    frames, asked = fetch(year, limit=95, max_workers=32)
    assert asked.total() == 10
    queries = [parse_qs(urlsplit(request.path).query) for request in year.requests[start:]]
    for number, query in enumerate(queries):
        assert query.pop("limit") == ["10"]
        assert ("page_token" in query) == (number > 0)
        query.pop("page_token", None)
        assert query == {
            "created_date[gte]": ["2019-01-01T00:00:00Z"],
            "created_date[lt]": ["2020-01-01T00:00:00Z"],
        }
    reference.assert_frames_hold(frames, year.orders[:95])


@pytest.mark.slow
def test_lists_in_parts_and_in_windows(year, fetch):
    held = sorted({order["order_number"] for order in year.orders})[:150]
    filters = {"order_number": held, "status__neq": "open"} | YEAR
    frames, asked = fetch(year, page_size=7, **filters)
    orders = [order for order in year.orders if order["order_number"] in held]
    reference.assert_frames_hold(frames, [each for each in orders if each["status"] != "open"])
    assert frames.info["duplicates"] == 0
    queries = [parse_qs(urlsplit(path).query) for path in asked]
    lists = Counter(query["order_number[in]"][0] for query in queries)
    assert len(lists) == 2
    assert all(query["status[neq]"] == ["open"] for query in queries)
    assert any(query["created_date[gte]"] != ["2019-01-01T00:00:00Z"] for query in queries)
    assert fetch(year, page_size=7, max_workers=1, **filters)[1] == asked


def test_lists_of_ids_are_requested_in_parallel(raw_server):
    both = threading.Barrier(2)
    known = {}

    def answer(handler):
        ids = parse_qs(urlsplit(handler.path).query)["ids"][0].split(",")
        if known.setdefault("first", ids) is not ids:
            both.wait(30)  # the first one goes alone; the others come two at a time
        data = ",".join(f'{{"id": "{each}"}}' for each in ids)
        reply(handler, f'{{"data": [{data}], "next_token": null}}'.encode())

    server = raw_server(answer)
    ids = [f"{number:04}" for number in range(450)]
    client = tf.TrackstarClient("key", "token", base_url=server.base_url, cache=False)
    frame = tf.fetch_orders_df(client=client, ids=ids, max_workers=2)
    assert sorted(frame["id"]) == ids
    assert len(server.seen) == 5


@pytest.mark.slow
@pytest.mark.parametrize("listing", ["inserted", "created_date", "updated_date_desc"])
@pytest.mark.parametrize("first_page", [None, slow(True), slow(False)])
def test_a_server_that_ignores_the_dates_still_ends(
    serve, some_orders, listing, first_page, *, fetch
):
    orders = dated(some_orders[:100], range(0, 365 * DAY, 3 * DAY))
    sandbox = serve(Fault("ignores_dates", first_page=first_page), orders=orders, order=listing)
    frames, asked = fetch(sandbox, page_size=10)
    reference.assert_frames_hold(frames, orders)
    assert asked.total() <= 12 * 10
