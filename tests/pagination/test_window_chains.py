"""Many chains over parts of a question: what they read is the question, in few requests."""

from collections import Counter
from datetime import UTC, datetime

import msgspec
import pytest
from helpers import dated_orders
from helpers.marks import slow
from hypothesis import given
from hypothesis import strategies as st

from trackstar_frames.pagination.listings import RequestListings
from trackstar_frames.pagination.pages import Page
from trackstar_frames.pagination.threads import ThreadGroup

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
BOTH = {"created_date[gte]": "2023-06-01T00:00:00Z", "created_date[lt]": "2026-06-01T00:00:00Z"}
ONE = {"created_date[gte]": "2000-01-01T00:00:00Z"}
SORTS = ["inserted", "created_date", "created_date_desc"]


class Reader:
    """Reads a made-up listing in parts, again and again until it goes well.

    The asks whose numbers are in `fails` (from 1) break.
    """

    def __init__(self, server, queries, size, *, fails=(), threads=1):
        self.server, self.size, self.fails = server, size, set(fails)
        self.listing = RequestListings(queries, page_size=size)
        self.taken, self.expected, self.broke, self._numbers = [], [], 0, 0
        while True:
            self.listing.open(self, ThreadGroup(threads), self)  # a group that has stopped is over
            try:
                self.listing.read()
            except OSError:
                self.broke += 1
            else:
                break

    def read(self, params, *, page_token, orders_before, expires, refresh):
        assert not refresh
        assert (orders_before > 0) == (page_token is not None)
        assert expires == (1.0 if self.taken else None)
        while True:
            cursor = {} if page_token is None else {"page_token": page_token}
            query = params | {"limit": str(self.size)} | cursor
            self._numbers += 1
            if self._numbers in self.fails:
                raise OSError(self._numbers)
            orders, page_token = self.server.page(query)
            raw = [msgspec.Raw(msgspec.json.encode(order)) for order in orders]
            yield Page(b"", page_token, False, NOW, 1.0, raw)
            if page_token is None:
                return

    def expect(self, pages):
        self.expected.append((len(self.taken), pages))

    def on_page(self, key, page):
        self.taken.append((key, [msgspec.json.decode(order)["id"] for order in page.raw_orders]))

    @property
    def kept(self):
        is_repeat = self.listing.is_repeat
        return Counter(each for key, ids in self.taken if not is_repeat(key) for each in ids)


def ids(orders):
    return Counter(order["id"] for order in orders)


SECONDS = st.one_of(
    st.lists(st.integers(0, 2_000_000_000), max_size=60),
    st.lists(st.integers(1_780_000_000, 1_780_000_009), max_size=60),
    st.builds(lambda each, count: [each] * count, st.integers(0, 2**31), st.integers(0, 60)),
    st.lists(st.sampled_from([-62_135_596_800, 0, 1_780_000_000.5, 253_402_300_799]), max_size=60),
).flatmap(
    lambda some: st.just(some) | st.just(some + [each + 86_400 for each in some if each < 2e9])
)
BOUNDS = st.dictionaries(
    st.sampled_from([f"created_date[{each}]" for each in ("gt", "gte", "lt", "lte")]),
    st.sampled_from(
        [
            *("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2000-01-01T00:00:00Z"),
            *("2026-05-28T20:26:40Z", "2026-05-28T20:26:45Z", "9999-12-31T23:59:59Z"),
        ]
    ),
)
LISTINGS = st.fixed_dictionaries({"seconds": SECONDS, "order": st.sampled_from(SORTS)})
BREAKS = {
    "fails": st.sets(st.integers(1, 60), max_size=9),
    "threads": st.sampled_from([1, 3]),
}


@given(drawn=LISTINGS, bounds=BOUNDS, size=st.integers(1, 20), threads=st.sampled_from([1, 3]))
def test_every_order_is_read_in_one_part(drawn, bounds, size, threads):
    server, single = dated_orders.Made(**drawn), dated_orders.Made(**drawn)
    reader = Reader(server, [bounds], size, threads=threads)
    assert reader.kept == ids(server.within(bounds))
    Reader(single, [bounds], size)
    assert Counter(server.asked) == Counter(set(single.asked))


@given(drawn=LISTINGS, bounds=BOUNDS, size=st.integers(1, 20), **BREAKS)
def test_what_was_read_is_not_requested_again(drawn, bounds, size, **breaks):
    server, clean = dated_orders.Made(**drawn), dated_orders.Made(**drawn)
    reader = Reader(server, [bounds], size, **breaks)
    assert reader.kept == ids(server.within(bounds))
    assert reader.broke <= len(breaks["fails"])
    Reader(clean, [bounds], size)
    assert Counter(server.asked) == Counter(clean.asked)


@pytest.mark.parametrize("order", SORTS)
@pytest.mark.parametrize("later", [True, False])
def test_a_server_that_forgets_the_dates_comes_to_an_end(order, later):
    seconds = dated_orders.spread(300, "2024-01-01", "2026-01-01")
    bounds = {"created_date[gte]": "2025-01-01T00:00:00Z"}
    server = dated_orders.Made(seconds, order, lambda query: not later or "page_token" in query)
    reader = Reader(server, [bounds], 10)
    assert ids(server.within(bounds)).keys() <= reader.kept.keys() <= ids(server.orders).keys()
    assert later or reader.kept.keys() == ids(server.orders).keys()
    assert len(server.asked) <= 12 * 30


def test_several_queries_are_divided_separately():
    server = dated_orders.Made(dated_orders.spread(400, "2024-01-01", "2026-01-01"))
    years = [
        {
            "created_date[gte]": f"{year}-01-01T00:00:00Z",
            "created_date[lt]": f"{year + 1}-01-01T00:00:00Z",
        }
        for year in (2024, 2025)
    ]
    reader = Reader(server, years, 10)
    assert reader.kept == ids(server.orders)
    assert len({dated_orders.chain_of(query) for query in server.asked}) > 6


SHAPES = {
    "one week of three years": ("2024-05-01", "2024-05-08"),
    "one day of three years": ("2024-05-01", "2024-05-02"),
    "all of three years": ("2023-06-01", "2026-06-01"),
    "the last month": ("2026-05-01", "2026-06-01"),
}


@pytest.mark.each_value
@pytest.mark.parametrize("bounds", [BOTH, slow(ONE)], ids=["both", "one"])
@pytest.mark.parametrize("order", SORTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_parts_are_of_similar_size_and_cost_few_requests(shape, order, bounds):
    pages, extra, longest = [], [], []
    for count in (2_000, 6_000):
        server = dated_orders.Made(dated_orders.spread(count, *SHAPES[shape]), order)
        reader = Reader(server, [bounds], 40)
        assert reader.kept == ids(server.orders)
        chains = Counter(map(dated_orders.chain_of, server.asked))
        pages.append(count / 40)
        extra.append(len(server.asked) - count / 40)
        longest.append(max(chains.values()))
        # An empty window is one request, and a crowded one is many chains.
        assert sum(each >= count / 40 / 20 for each in chains.values()) >= 4
    assert max(extra) <= 45  # however many orders there are
    assert max(longest[n] / pages[n] for n in range(2)) <= 0.3


@pytest.mark.one_of(3)
@pytest.mark.parametrize("order", SORTS)
def test_two_crowds_with_years_between_are_both_divided(order):
    seconds = dated_orders.spread(2_500, "2024-01-05", "2024-01-09")
    seconds += dated_orders.spread(2_500, "2025-11-05", "2025-11-09")
    for bounds in (BOTH, ONE):
        server = dated_orders.Made(seconds, order)
        reader = Reader(server, [bounds], 50)
        assert reader.kept == ids(server.orders)
        chains = Counter(map(dated_orders.chain_of, server.asked))
        assert max(chains.values()) <= 33
        assert len(server.asked) <= 145


def test_orders_of_one_second_are_one_chain():
    server = dated_orders.Made([1_750_000_000] * 1000)
    reader = Reader(server, [ONE], 10)
    assert reader.kept == ids(server.orders)
    assert len(server.asked) <= 115


@pytest.mark.parametrize("bounds", [BOTH, ONE, {}], ids=["both", "one", "none"])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_a_listing_of_one_page_is_one_request(bounds, count):
    server = dated_orders.Made(dated_orders.spread(count, "2024-01-01", "2026-01-01"))
    Reader(server, [bounds], 50)
    assert len(server.asked) == 1


def test_a_listing_of_two_pages_takes_a_few_requests():
    server = dated_orders.Made(dated_orders.spread(60, "2024-01-01", "2026-01-01"))
    Reader(server, [BOTH], 50)
    assert len(server.asked) <= 9


def test_without_a_bound_it_is_one_chain():
    server = dated_orders.Made(dated_orders.spread(500, "2024-01-01", "2026-01-01"))
    Reader(server, [{"status": "open"}], 50)
    assert [dict(query).get("page_token") for query in server.asked] == [
        None,
        *(f"{number}" for number in range(50, 500, 50)),
    ]


@pytest.mark.parametrize("order", ["created_date", "created_date_desc"])
def test_about_how_many_pages_come_is_reported_once_that_is_known(order):
    server = dated_orders.Made(dated_orders.spread(3000, "2023-06-01", "2026-06-01"), order)
    reader = Reader(server, [BOTH], 50)
    ((read, reported),) = reader.expected
    assert read < 0.5 * len(reader.taken)
    assert reported == pytest.approx(len(reader.taken) - read, rel=0.5)


def test_the_listings_of_a_long_list_are_reported_before_the_first():
    server = dated_orders.Made(dated_orders.spread(50, "2023-06-01", "2026-06-01"))
    reader = Reader(server, [{"page": str(number)} for number in range(30)], 50)
    assert reader.expected[0] == (0, 30)


@pytest.mark.parametrize(("bounds", "order"), [({}, "created_date"), (BOTH, "inserted")])
def test_an_unknown_number_of_pages_is_not_reported(bounds, order):
    server = dated_orders.Made(dated_orders.spread(500, "2023-06-01", "2026-06-01"), order)
    assert Reader(server, [bounds], 50).expected == []
