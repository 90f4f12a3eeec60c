"""What changes while a listing is read: nothing that was there all the time is missing."""

import itertools
import sqlite3
import time
import warnings
from contextlib import closing
from functools import partial

import pytest
from helpers import changing_server
from helpers.marks import sample
from helpers.servers import client_of
from hypothesis import example, given
from hypothesis import strategies as st

import trackstar_frames as tf

DAY = 86_400
BOUND = {"created_date__gte": "2025-12-01"}


@pytest.fixture
def open_client(tmp_path):
    return partial(client_of, retries=0, cache_dir=tmp_path, cache=False)


def days(count, **more):
    return [
        changing_server.order(number, changing_server.START + number * DAY // 4, **more)
        for number in range(count)
    ]


def ids(frames):
    return set(frames.orders["id"])


def once(number, change):
    """Do something before the request of this number."""
    return lambda at: change() if at == number else None


# One order that moves ------------------------------------------------------------------------


@pytest.mark.parametrize("stamps", [["trackstar_updated_date"], ["updated_date"], None])
def test_an_order_that_moves_to_a_page_that_was_read_is_found(open_client, stamps):
    more = {} if stamps is None else {"stamps": stamps}
    sort = "updated_date" if stamps is None else stamps[0]
    shop = changing_server.Shop(days(100, **more), sort, descending=True)
    shop.before = once(2, lambda: shop.touch(0, **more))
    with open_client(shop) as client:
        frames = tf.fetch_orders(client=client, page_size=20)
    assert len(frames.orders) == 100
    assert frames.info["complete"]
    assert frames.info["pages"] == 5
    assert frames.info["duplicates"] == 0
    assert len(shop.asked) == 6 + (stamps is None)


def test_of_two_versions_the_later_is_kept(open_client):
    shop = changing_server.Shop(days(30), "updated_date", descending=True)
    shop.before = once(3, lambda: shop.touch(29, status="packed"))
    with open_client(shop) as client:
        orders = tf.fetch_orders_df(client=client, page_size=10)
    assert orders.set_index("id").loc["o00029", "status"] == "packed"
    assert len(orders) == 30


def test_orders_of_either_stamp_are_requested_by_both(open_client):
    made = days(40)
    made[0] = changing_server.order(0, changing_server.START, stamps=["updated_date"])
    shop = changing_server.Shop(made, "updated_date", descending=True)
    shop.before = once(2, lambda: shop.touch(0, stamps=["updated_date"]))
    with open_client(shop) as client:
        assert len(tf.fetch_orders(client=client, page_size=10).orders) == 40


@pytest.mark.parametrize(
    "unknown", [["trackstar_updated_date"], [*("trackstar_updated_date", "updated_date")]]
)
def test_a_server_may_not_know_a_stamp_as_a_filter(open_client, unknown):
    shop = changing_server.Shop(days(40), "updated_date", descending=True, unknown=unknown)
    shop.before = once(2, lambda: shop.touch(0))
    with open_client(shop) as client:
        if len(unknown) == 1:
            assert len(tf.fetch_orders(client=client, page_size=10).orders) == 40
        else:
            with pytest.warns(UserWarning, match="may be missing; verify=True"):
                tf.fetch_orders(client=client, page_size=10)


@pytest.mark.parametrize("stamp", ["trackstar_updated_date", "updated_date"])
def test_orders_that_have_no_stamp_before_their_first_change_are_requested(open_client, stamp):
    made = days(40, stamps=(), **dict.fromkeys(changing_server.STAMPS))
    listed = changing_server.Shop(made, stamp, descending=True)
    listed.before = once(2, lambda: listed.touch(0, [stamp]))
    with open_client(listed) as client:
        assert len(tf.fetch_orders(client=client, page_size=10).orders) == 40


def test_orders_without_a_stamp_show_that_a_filter_is_ignored(open_client):
    made = days(40, stamps=(), **dict.fromkeys(changing_server.STAMPS))
    listed = changing_server.Shop(made, ignored=changing_server.STAMPS)
    with open_client(listed) as client, pytest.warns(UserWarning, match="cannot be requested"):
        assert len(tf.fetch_orders(client=client, page_size=10).orders) == 40
    assert len(listed.asked) == 4 + len(changing_server.STAMPS)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("number", sample(range(4), 3))
def test_changes_that_broke_off_are_read_to_their_end(open_client, number):
    shop = changing_server.Shop(days(60), "updated_date", descending=True)
    windows = itertools.count()

    def before(at):
        if at == 2:
            for place in range(40):
                shop.touch(place)
        in_a_window = any("updated_date" in name for name in shop.asked[-1]) and any(
            "created_date" in name for name in shop.asked[-1]
        )
        return (500, {}) if in_a_window and next(windows) == number else None

    shop.before = before
    with open_client(shop, cache=True) as client:
        ask = {"client": client, "page_size": 10}
        with pytest.raises(tf.IncompleteFetchError) as caught:
            tf.fetch_orders(**ask)
        assert len(caught.value.resume().orders) == 60
        assert len(tf.fetch_orders(**ask, offline=True).orders) == 60


def test_a_server_may_ignore_the_filter(open_client):
    shop = changing_server.Shop(days(40), ignored=["trackstar_updated_date", "updated_date"])
    with open_client(shop) as client, pytest.warns(UserWarning, match="cannot be requested"):
        assert len(tf.fetch_orders(client=client, page_size=10).orders) == 40
    assert len(shop.asked) == 6


def test_one_page_is_of_one_moment(open_client):
    shop = changing_server.Shop(days(40))
    with open_client(shop) as client:
        tf.fetch_orders(client=client, page_size=50)
        assert len(shop.asked) == 1
        tf.fetch_orders(client=client, page_size=10, limit=25)
        assert not any("updated" in name for query in shop.asked for name in query)


def test_windows_of_one_page_need_no_request_for_changes(open_client):
    shop = changing_server.Shop(days(40))
    with open_client(shop) as client:
        assert len(tf.fetch_orders(client=client, page_size=30, **BOUND).orders) == 40
    assert not any("updated" in name for query in shop.asked for name in query)


def test_the_request_for_changes_is_part_of_the_cached_listing(open_client):
    shop = changing_server.Shop(days(40), "updated_date", descending=True)
    shop.before = once(2, lambda: shop.touch(0))
    with open_client(shop, cache=True) as client:
        first = tf.fetch_orders(client=client, page_size=10)
        asked = len(shop.asked)
        for options in ({}, {"offline": True}):
            again = tf.fetch_orders(client=client, page_size=10, **options)
            assert again.orders.equals(first.orders)
            assert again.info["from_cache"] == again.info["pages"] == 4
        assert len(shop.asked) == asked


def test_cached_changes_are_not_used_for_new_pages(open_client, tmp_path):
    shop = changing_server.Shop(days(40), "updated_date", descending=True)
    with open_client(shop, cache=True) as client:
        tf.fetch_orders(client=client, page_size=10)
        key = client.session._key("/wms/orders", shop.asked[3])
        client.close()
        (file,) = tmp_path.rglob("pages.sqlite")
        with closing(sqlite3.connect(file)) as db, db:
            assert db.execute("DELETE FROM pages WHERE key = ?", (key,)).rowcount == 1
        shop.touch(0)
        assert len(tf.fetch_orders(client=client, page_size=10).orders) == 40
    assert shop.asked[6] == shop.asked[3]
    assert sorted(map(str, shop.asked[7:])) == sorted(map(str, shop.asked[4:6]))


@pytest.mark.parametrize("bounds", sample([{}, BOUND], 2))
@pytest.mark.parametrize("lost", [False, True])
def test_the_total_is_compared_after_the_changes_are_read(open_client, bounds, lost):
    shop = changing_server.Shop(days(60), "updated_date", descending=True, total=True)

    def before(at):
        shop.touch(at % 60)
        if lost and at % 3 == 0:  # a server that counts what it never gives
            return 200, {"data": [], "next_token": None, "total_count": 61}
        return None

    shop.before = before
    with open_client(shop) as client:
        if lost:
            with pytest.raises(tf.IncompleteFetchError, match=r"counts 6. orders"):
                tf.fetch_orders(client=client, page_size=10, **bounds)
        else:
            assert len(tf.fetch_orders(client=client, page_size=10, **bounds).orders) == 60


def test_an_expired_cursor_ends_no_listing_with_a_larger_total(open_client):
    nothing = {"data": [], "next_token": None, "total_count": 0}
    shop = changing_server.Shop(days(50), descending=True, total=True)
    shop.before = lambda _: (200, nothing) if "page_token" in shop.asked[-1] else None
    with open_client(shop) as client:
        with pytest.raises(tf.IncompleteFetchError, match="counts 50 orders"):
            tf.fetch_orders(client=client, page_size=10, limit=45)
        with pytest.raises(tf.ResponseError, match="counts 50 orders"):
            list(client.iter_pages(page_size=10))


@pytest.mark.parametrize("is_known", [True, False])
def test_what_is_new_in_a_window_that_was_read_is_not_missing(open_client, is_known):
    unknown = [] if is_known else changing_server.STAMPS
    shop = changing_server.Shop(days(13), total=True, unknown=unknown)

    def before(at):
        if at == 2:
            del shop.orders[0]
        if at > 2 and len(shop.orders) == 12 and "created_date[lt]" not in shop.asked[-2]:
            shop.orders.append(changing_server.order(99, int(time.time())))

    shop.before = before
    with open_client(shop) as client, warnings.catch_warnings():
        warnings.simplefilter("error" if is_known else "ignore")
        found = ids(tf.fetch_orders(client=client, page_size=12, max_workers=1, **BOUND))
    assert len(shop.orders) == 13
    assert found == {"o00000", *(each["id"] for each in shop.orders)}


# Any changes ---------------------------------------------------------------------------------

CHANGES = st.lists(
    st.tuples(
        st.integers(2, 14),
        st.sampled_from(["touch", "touch", "touch", "new", "gone"]),
        st.integers(0, 59),
    ),
    max_size=12,
)
LISTINGS = st.fixed_dictionaries(
    {
        "sort": st.sampled_from(["created_date", "updated_date", "trackstar_updated_date", "id"]),
        "descending": st.booleans(),
        "total": st.booleans(),
    }
)


class Changing:
    """A shop whose orders change as drawn; knows what was there all the time."""

    def __init__(self, count, changes, stamps, fails=(), **listing):
        self.shop = changing_server.Shop(days(count, stamps=stamps), **listing)
        self.throughout = {each["id"] for each in self.shop.orders}
        self.shop.before = self.change
        self._shops, self._changes, self._stamps = changing_server, changes, stamps
        self._fails = set(fails)
        self._numbers = itertools.count(10_000)

    def change(self, at):
        for number, what, place in self._changes:
            if number == at and self.shop.orders:
                getattr(self, what)(place % len(self.shop.orders))
        return (500, {"error": "down"}) if at in self._fails else None

    def touch(self, place):
        self.shop.touch(place, self._stamps)

    def new(self, place):
        now = int(time.time())
        new = self._shops.order(next(self._numbers), now, self._stamps)
        self.shop.orders.insert(place, new)

    def gone(self, place):
        self.throughout.discard(self.shop.orders.pop(place)["id"])


STAMPS = st.sampled_from(
    [["trackstar_updated_date", "updated_date"], ["trackstar_updated_date"], ["updated_date"]]
)
DRAWN = {
    "count": st.integers(1, 60),
    "size": st.integers(3, 25),
    "changes": CHANGES,
    "stamps": STAMPS,
    "listing": LISTINGS,
    "bounds": st.sampled_from([{}, BOUND]),
}


def until_it_is_whole(call, tries=20):
    for _ in range(tries):
        try:
            return call()
        except tf.IncompleteFetchError as error:
            call = error.resume
        except tf.ServerError:
            pass
    raise AssertionError("it never ends")


FULL_SECOND = {  # more new orders in one second than a page holds: no window divides them
    "fails": set(),
    "count": 1,
    "size": 3,
    "changes": [(2, "new", 0)] * 4,
    "bounds": {},
    "stamps": ["trackstar_updated_date", "updated_date"],
    "listing": {"sort": "created_date", "descending": False, "total": False},
}


@example(**FULL_SECOND)
@given(fails=st.sets(st.integers(1, 14), max_size=3), **DRAWN)
def test_with_key_cursors_nothing_is_lost(tmp_path_factory, **drawn):
    fails, size = drawn.pop("fails"), drawn.pop("size")
    listing, bounds = drawn.pop("listing"), drawn.pop("bounds")
    changing = Changing(fails=fails, keyset=True, **drawn, **listing | {"total": False})
    folder = tmp_path_factory.mktemp("cache")
    with client_of(changing.shop, retries=0, cache_dir=folder) as client:
        ask = {"client": client, "page_size": size, **bounds}
        frames = until_it_is_whole(lambda: tf.fetch_orders(**ask))
        assert ids(frames) >= changing.throughout
        assert frames.orders["id"].is_unique
        assert ids(tf.fetch_orders(**ask, offline=True)) == ids(frames)


@pytest.mark.slow
@given(**DRAWN)
def test_a_server_that_counts_loses_nothing_either(**drawn):
    size, listing, bounds = (drawn.pop(name) for name in ("size", "listing", "bounds"))
    changing = Changing(keyset=True, **drawn, **listing | {"total": True})
    with client_of(changing.shop, retries=0) as client:
        frames = until_it_is_whole(
            lambda: tf.fetch_orders(client=client, page_size=size, **bounds), tries=2
        )
    assert ids(frames) >= changing.throughout


@pytest.mark.slow
@given(**DRAWN)
def test_exports_and_syncs_lose_nothing_either(tmp_path_factory, **drawn):
    size, listing, bounds = (drawn.pop(name) for name in ("size", "listing", "bounds"))
    changing = Changing(keyset=True, **drawn, **listing | {"total": False})
    root = tmp_path_factory.mktemp("root")
    with client_of(changing.shop, retries=0) as client:
        ask = {"client": client, "page_size": size, "progress": False, **bounds}
        assert ids(tf.export_orders(root / "export", **ask).read()) >= changing.throughout
        changing.shop.asked.clear()
        tf.sync_orders(root / "sync", **ask)
        changing.shop.asked.clear()
        assert ids(tf.sync_orders(root / "sync", **ask).read()) >= changing.throughout


@given(**DRAWN)
def test_with_positions_verified_nothing_is_lost_or_it_raises(**drawn):
    size, listing, bounds = (drawn.pop(name) for name in ("size", "listing", "bounds"))
    changing = Changing(keyset=False, **drawn, **listing)
    with client_of(changing.shop, retries=0) as client:
        try:
            frames = tf.fetch_orders(client=client, page_size=size, verify=True, **bounds)
        except tf.TrackstarError as error:
            assert error.retryable  # noqa: PT017  (it may raise, or not)
        else:
            assert ids(frames) >= changing.throughout
            assert frames.info["verified"]


def test_clocks_that_are_ahead_of_the_stamps_lose_nothing(open_client, monkeypatch):
    real = time.time
    shop = changing_server.Shop(days(40), "updated_date", descending=True)
    shop.before = once(2, lambda: shop.touch(0, now=real()))
    monkeypatch.setattr("time.time", lambda: real() + DAY)  # ours, and the header Date
    with open_client(shop) as client:
        assert len(tf.fetch_orders(client=client, page_size=10).orders) == 40
