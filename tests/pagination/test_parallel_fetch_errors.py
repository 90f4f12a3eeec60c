"""Fetches in parts that break: what was read is kept, and not asked for again."""

from collections import Counter
from functools import partial

import pytest
from helpers import reference
from helpers.marks import slow
from helpers.traffic import normalized_path
from hypothesis import given
from hypothesis import strategies as st

import trackstar_frames as tf
from trackstar_frames.sandbox import Fault, Sandbox

YEAR = {"created_date__gte": "2019-01-01", "created_date__lt": "2020-01-01"}
DAYS = [f"2019-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)]
WORKERS = 4


@pytest.fixture(scope="module")
def orders(some_orders):
    """One order for each day, and 30 on one."""
    days = [*DAYS[:140:2], *DAYS[100:101] * 30]
    return [
        order | {"created_date": f"{day}T{number % 24:02}:00:00Z"}
        for number, (order, day) in enumerate(zip(some_orders, days, strict=False))
    ]


@pytest.fixture(scope="module")
def good():
    """Count the paths that a server has answered."""

    def count(sandbox, start=0):
        return Counter(
            normalized_path(each) for each in sandbox.requests[start:] if each.status == 200
        )

    return count


@pytest.fixture(scope="module")
def clean(orders, good):
    """The requests of a fetch that does not break."""
    with Sandbox(orders=orders, rate_limit=None) as sandbox:
        client = sandbox.client(rate_limit=None, cache=False)
        tf.fetch_orders(client=client, page_size=5, **YEAR)
        return good(sandbox)


def test_one_broken_chain_stops_the_others(serve, orders, good):
    sandbox = serve(Fault("status", status=403, nth=12), orders=orders, latency=0.02)
    client = sandbox.client(rate_limit=None, cache=False)
    ask = partial(tf.fetch_orders, client=client, page_size=2, max_workers=WORKERS, **YEAR)
    with pytest.raises(tf.IncompleteFetchError) as caught:
        ask()
    # Each of the others ends what it does, and may have begun one more.
    assert 12 <= len(sandbox.requests) <= 12 + 2 * WORKERS
    reference.assert_frames_are_part(caught.value.frames, orders)
    assert caught.value.pages == good(sandbox).total()
    reference.assert_frames_hold(caught.value.resume(), orders)
    asked, start = good(sandbox), len(sandbox.requests)
    ask()
    assert good(sandbox, start) == asked
    assert asked.total() > 50


FAULTS = st.lists(
    st.builds(
        partial(Fault, "status"),
        status=st.sampled_from([401, 403, 501, 503]),
        nth=st.sets(st.integers(1, 30), min_size=1, max_size=4),
        first_page=st.sampled_from([None, True, False]),
    ),
    min_size=1,
    max_size=2,
)


@pytest.mark.slow
@given(
    faults=FAULTS,
    max_workers=st.sampled_from([1, 3, 8]),
    cache=st.booleans(),
)
def test_every_page_is_requested_until_it_comes_and_never_again(
    orders, good, clean, tmp_path_factory, **drawn
):
    faults = drawn["faults"]
    with Sandbox(orders=orders, rate_limit=None, faults=faults) as sandbox:
        settings = {"cache": drawn["cache"], "cache_dir": tmp_path_factory.mktemp("cache")}
        client = sandbox.client(rate_limit=None, retries=0, **settings)
        again = partial(
            tf.fetch_orders, client=client, page_size=5, max_workers=drawn["max_workers"], **YEAR
        )
        for _ in range(20):
            try:
                frames = again()
            except tf.IncompleteFetchError as error:
                reference.assert_frames_are_part(error.frames, orders)
                again = error.resume
            except tf.TrackstarError:
                assert not good(sandbox)
            else:
                break
        client.close()
        assert good(sandbox) == clean
    reference.assert_frames_hold(frames, orders)
    assert frames.info["duplicates"] == 0


def test_an_error_can_be_resumed_twice(serve, orders, good, clean):
    sandbox = serve(Fault("status", status=403, nth={9, 20}), orders=orders)
    client = sandbox.client(rate_limit=None, cache=False)
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.fetch_orders(client=client, page_size=5, **YEAR)
    first = caught.value
    with pytest.raises(tf.IncompleteFetchError) as caught:
        first.resume()
    assert caught.value.pages > first.pages
    assert len(caught.value.frames.orders) >= len(first.frames.orders)
    for error in (first, caught.value, first):
        reference.assert_frames_hold(error.resume(), orders)
        assert good(sandbox) == clean


@pytest.mark.parametrize("workers", [slow(1), WORKERS])
def test_only_the_window_with_an_expired_cursor_restarts(serve, orders, good, clean, workers):
    sandbox = serve(Fault("status", status=422, first_page=False, nth=4), orders=orders)
    client = sandbox.client(rate_limit=None, cache=False)
    frames = tf.fetch_orders(client=client, page_size=5, max_workers=workers, **YEAR)
    reference.assert_frames_hold(frames, orders)
    assert frames.info["duplicates"] == 0
    assert not clean - good(sandbox)
    again = good(sandbox) - clean
    (dead,) = (each.path for each in sandbox.requests if each.status == 422)
    assert set(again.values()) == {1}
    assert {chain_of(path) for path in again} == {chain_of(dead)}
    assert frames.info["requests"] == clean.total() + again.total() + 1


def chain_of(path):
    return path.partition("&page_token=")[0]
