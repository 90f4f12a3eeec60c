"""Every way out of a lock or a wait of `http`, and clocks that are set while it works."""

import sqlite3
import threading
import time
from contextlib import suppress

import pytest

import trackstar_frames as tf
from trackstar_frames.http import cache as cache_module
from trackstar_frames.http.cache import ForkSafe, PageCache, StoredPage
from trackstar_frames.http.rate_limit import Limiter
from trackstar_frames.http.transport import SessionPool

FAULTS = [KeyboardInterrupt, MemoryError, RuntimeError, OSError(28, "disk full"), sqlite3.Error]


def kind(fault):
    return fault if isinstance(fault, type) else type(fault)


def raiser(fault):
    def fail(*_, **__):
        raise fault

    return fail


@pytest.fixture
def is_free():
    """Do something in another thread; False if it waits for ever."""

    def run(task):
        def quietly():
            with suppress(BaseException):
                task()

        thread = threading.Thread(target=quietly, daemon=True)
        thread.start()
        thread.join(30)
        return not thread.is_alive()

    return run


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_a_fault_leaves_the_limiter_free(is_free, fault):
    clocks = [raiser(fault), time.monotonic]
    limiter = Limiter(lambda: clocks[0]())  # noqa: PLW0108 -- another one later
    for call in (
        lambda: limiter.acquire(1, time.sleep),
        lambda: limiter.pause(1),
        limiter.cooldown,
    ):
        with pytest.raises(kind(fault)):
            call()
    del clocks[0]
    assert is_free(lambda: limiter.acquire(1, time.sleep))
    with pytest.raises(kind(fault)):
        limiter.acquire(1, raiser(fault))
    assert is_free(limiter.cooldown)


class Resource:
    """Can be opened and closed, and may fail at either."""

    def __init__(self, fault=None):
        self.fault = fault

    def close(self):
        if self.fault is not None:
            raise self.fault


def use_and_fail(shared, fault):
    shared.get()
    raise fault


@pytest.mark.parametrize("fault", [each for each in FAULTS if each is not KeyboardInterrupt])
def test_a_fault_leaves_a_shared_resource_free(is_free, fault):
    shared = ForkSafe(lambda: Resource(fault))
    with pytest.raises(kind(fault)), shared.lock:
        use_and_fail(shared, fault)

    def use():
        with shared.lock:
            shared.get()

    assert is_free(use)
    with pytest.raises(kind(fault)):
        shared.close()
    assert is_free(use)


def test_a_fork_beside_a_resource_that_cannot_be_closed_leaves_all_free(is_free):
    both = [ForkSafe(lambda: Resource(RuntimeError("stuck"))), ForkSafe(Resource)]
    for shared in both:
        with shared.lock:
            shared.get()
    cache_module._before_fork()
    cache_module._after_fork_in_parent()
    for shared in both:

        def use(shared=shared):
            with shared.lock:
                shared.get()

        assert is_free(use)


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_a_fault_leaves_the_cache_free(is_free, tmp_path, fault):
    cache = PageCache(tmp_path)
    cache.write(StoredPage("a", b"body", time.time(), time.time() + 60))
    with cache._store.lock:
        store = cache._store.get()
    store.find = store.put = raiser(fault)
    for use in (lambda: cache.read("a"), lambda: cache.write(StoredPage("a", b"", 0.0, 1.0))):
        with suppress(KeyboardInterrupt, RuntimeError, RuntimeWarning):
            use()
    assert is_free(lambda: cache.read("b"))
    assert is_free(cache.close)


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_what_is_lent_comes_back_whatever_happens(fault):
    class Lent:
        def close(self):
            pass

    made = []
    browsers = SessionPool(lambda: made.append(Lent()) or made[-1])
    for _ in range(3):
        with (
            pytest.raises(kind(fault)),
            browsers.lend(),
        ):
            raise fault
    assert len(made) == 1
    opening = [raiser(fault)]
    browsers = SessionPool(lambda: opening[-1]())  # noqa: PLW0108 -- another one later
    with pytest.raises(kind(fault)):
        browsers.lend().__enter__()
    opening.append(Lent)
    with browsers.lend() as lent:
        assert isinstance(lent, Lent)


# Clocks that are set.


@pytest.fixture
def clock(monkeypatch):
    """Set the clock of this machine; what measures lengths of time goes on as before."""
    now, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: now() + ahead[0])

    def move(seconds):
        ahead[0] = seconds

    return move


@pytest.mark.parametrize("ahead", [60, 86_400, 40 * 365 * 86_400])
def test_what_is_dated_after_now_is_not_taken_from_disk(serve, clock, ahead):
    sandbox = serve()
    client = sandbox.client()
    clock(ahead)
    tf.fetch_orders(client=client, page_size=20, limit=60)
    assert tf.fetch_orders(client=client, page_size=20, limit=60).info["requests"] == 0
    clock(0)
    with pytest.raises(tf.OfflineMissError):
        tf.fetch_orders(client=client, page_size=20, limit=60, offline=True)
    sandbox.upsert([{**sandbox.orders[0], "status": "cancelled"}])
    frames = tf.fetch_orders(client=client, page_size=20, limit=60)
    assert (frames.info["requests"], frames.info["from_cache"]) == (3, 0)
    assert "cancelled" in set(frames.orders["status"])
    assert tf.fetch_orders(client=client, page_size=20, limit=60).info["requests"] == 0


@pytest.mark.parametrize(("then", "anew"), [(0, False), (1800, False), (-60, True), (3601, True)])
def test_work_was_not_begun_after_now(serve, clock, then, anew):
    client = serve().client()
    clock(0)
    started_at = client.session.mark_started("the work")
    clock(then)
    assert (client.session.mark_started("the work") != started_at) == anew
    again = client.session.mark_started("the work")
    assert again == client.session.mark_started("the work") <= time.time()


class Waited(Exception):  # noqa: N818 -- no error
    """How long somebody was to wait."""


def tell(_why, seconds):
    raise Waited(seconds)


def test_waits_are_as_long_as_they_are_whatever_the_clock_does(clock):
    limiter = Limiter()
    limiter.acquire(1, time.sleep)
    limiter.pause(0.5)
    for ahead in (86_400, -86_400):
        clock(ahead)
        assert 0 < limiter.cooldown() <= 1.2
        with pytest.raises(Waited) as caught:
            limiter.acquire(1, tell)
        assert 0 < caught.value.args[0] <= 0.5
