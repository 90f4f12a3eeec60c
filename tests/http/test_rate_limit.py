import gc
import itertools
import os
import subprocess
import sys
import threading
import time

import pytest
from helpers.traffic import count_requests, most_within

import trackstar_frames as tf
from trackstar_frames.http.rate_limit import Limiter, limiter_of
from trackstar_frames.sandbox import Fault, Sandbox


class Clock:
    """Notes the requested waits, and lets their time pass."""

    def __init__(self):
        self.waits = []
        self.now = 1000.0

    def __call__(self, why, seconds):
        self.waits.append((why, seconds))
        self.now += seconds


@pytest.fixture
def wait():
    return Clock()


@pytest.fixture
def limiter(wait):
    return Limiter(lambda: wait.now)


def refused(sandbox):
    return sum(request.status == 429 for request in sandbox.requests)


def test_a_slot_is_free_again_after_a_second(limiter, wait):
    lefts = [limiter.acquire(3, wait).left for _ in range(3)]
    assert (lefts, wait.waits) == ([2, 1, 0], [])
    limiter.acquire(3, wait)
    assert [why for why, _ in wait.waits] == ["rate limit"]
    assert sum(seconds for _, seconds in wait.waits) == pytest.approx(1.01)


class Noted(Limiter):
    """Notes when each slot was taken."""

    def __init__(self):
        super().__init__()
        self.times = []

    def _take(self, now, rate):
        self.times.append(now)
        return super()._take(now, rate)


def test_no_second_has_more_requests_than_slots_over_all_threads():
    limiter = Noted()

    def send():
        for _ in range(5):
            limiter.acquire(10, lambda _why, seconds: time.sleep(seconds))

    threads = [threading.Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(limiter.times) == 25
    assert most_within(limiter.times, seconds=1) <= 10


def test_no_limit_is_no_wait(limiter, wait):
    assert [limiter.acquire(None, wait).left for _ in range(1000)] == [None] * 1000
    assert wait.waits == []


def test_an_interrupted_wait_takes_no_slot(limiter, wait):
    limiter.acquire(1, wait)

    def leave(_why, _seconds):
        raise KeyError

    for _ in range(3):
        with pytest.raises(KeyError):
            limiter.acquire(1, leave)
    limiter.acquire(1, wait)
    assert sum(seconds for _, seconds in wait.waits) == pytest.approx(1.01)


def test_a_refusal_pauses_all_threads(limiter, wait):
    limiter.pause(0.3)
    limiter.acquire(None, wait)
    assert [why for why, _ in wait.waits] == ["asked to wait"]
    assert wait.waits[0][1] == pytest.approx(0.3)


def test_after_a_refusal_requests_are_spread(limiter, wait):
    limiter.pause(0)
    for _ in range(4):
        limiter.acquire(10, wait)
    assert [why for why, _ in wait.waits] == ["rate limit"] * 3
    assert all(0.1 < seconds < 0.11 for _, seconds in wait.waits)


@pytest.mark.parametrize("spelling", ["x-ratelimit", "x-rate-limit"])
def test_requests_of_other_processes_reduce_the_slots(spelling, limiter, wait):
    slot = limiter.acquire(10, wait)
    # The server has counted seven, one of which was ours.
    limiter.observe({f"{spelling}-limit": "10", f"{spelling}-remaining": "3"}, slot)
    assert [limiter.acquire(10, wait).left for _ in range(3)] == [2, 1, 0]
    assert wait.waits == []


def test_of_two_spellings_the_stricter_holds(limiter, wait):
    counts = {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "9"}
    counts |= {"x-rate-limit-limit": "5", "x-rate-limit-remaining": "4"}
    limiter.observe(counts, limiter.acquire(10, wait))
    assert [limiter.acquire(10, wait).left for _ in range(4)] == [3, 2, 1, 0]
    assert wait.waits == []


def test_requests_may_arrive_in_another_order(limiter, wait):
    slot = limiter.acquire(10, wait)
    for _ in range(6):
        limiter.acquire(10, wait)
    limiter.observe({"x-ratelimit-limit": "10", "x-ratelimit-remaining": "3"}, slot)
    assert limiter.acquire(10, wait).left == 2


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-limit": "10"},
        {"x-ratelimit-remaining": "0"},
        {"x-ratelimit-limit": "0", "x-ratelimit-remaining": "0"},
        {"x-ratelimit-limit": "ten", "x-ratelimit-remaining": "-1"},
        {"x-ratelimit-limit": "²", "x-ratelimit-remaining": "1e3"},
        {"x-ratelimit-limit": "600", "x-ratelimit-remaining": "599"},
    ],
)
def test_headers_without_a_count_change_nothing(headers, limiter, wait):
    limiter.observe(headers, limiter.acquire(10, wait))
    assert limiter.acquire(10, wait).left == 8


def test_one_request_may_always_be_sent(limiter, wait):
    limiter.observe(
        {"x-ratelimit-limit": "5", "x-ratelimit-remaining": "0"}, limiter.acquire(10, wait)
    )
    limiter.acquire(10, wait)
    assert sum(seconds for _, seconds in wait.waits) == pytest.approx(1.01)


def test_a_budget_has_one_limiter():
    limiter = limiter_of("a")
    assert limiter_of("a") is limiter
    assert limiter_of("b") is not limiter


@pytest.mark.slow
def test_requests_of_a_closed_client_are_counted(some_orders):
    with Sandbox(orders=some_orders[:70], rate_limit=None) as sandbox:
        for _ in range(2):
            with sandbox.client(cache=False) as client:
                tf.fetch_orders(client=client, page_size=10)
            del client
            gc.collect()
        assert count_requests(sandbox.requests) == (14, 4)
        assert most_within(request.time for request in sandbox.requests) <= 10


def test_the_cooldown_ends_when_every_slot_is_free(limiter, wait):
    assert limiter.cooldown() == 0
    limiter.acquire(10, wait)
    wait.now += 0.4
    limiter.acquire(10, wait)
    assert limiter.cooldown() == pytest.approx(1.01)
    wait.now += 0.6
    assert limiter.cooldown() == pytest.approx(0.41)
    wait.now += 0.5
    assert limiter.cooldown() == 0


def test_the_cooldown_includes_a_requested_wait(limiter, wait):
    limiter.acquire(10, wait)
    limiter.pause(5)
    assert limiter.cooldown() == 5
    wait.now += 5
    assert limiter.cooldown() == 0


def test_a_session_has_a_cooldown_after_requests_and_not_after_pages_from_disk(serve):
    sandbox = serve()
    with sandbox.client() as client:
        assert client.session.cooldown() == 0
        tf.fetch_orders(client=client)
        assert 0 < client.session.cooldown() <= 1.01
        time.sleep(client.session.cooldown())
        assert tf.fetch_orders(client=client).info["requests"] == 0
        assert client.session.cooldown() == 0


@pytest.mark.slow
@pytest.mark.parametrize("spelling", ["x-ratelimit", "x-rate-limit"])
def test_a_stricter_limit_is_kept_before_a_refusal(some_orders, spelling):
    with Sandbox(orders=some_orders, rate_limit=4, rate_headers=spelling, latency=0.1) as sandbox:
        client = sandbox.client(cache=False, rate_limit=10)
        frame = tf.fetch_orders_df(client=client, page_size=25, created_date__gte="2020-01-01")
        assert len(frame) == len(some_orders)
        assert len(sandbox.requests) > 12
        assert refused(sandbox) <= 1
        assert most_within(request.time for request in sandbox.requests) <= 5


def test_clients_of_one_token_share_its_budget(some_orders):
    with Sandbox(orders=some_orders[:150], rate_limit=None) as sandbox:
        clients = [sandbox.client(cache=False) for _ in range(3)]
        threads = [
            threading.Thread(target=tf.fetch_orders, kwargs={"client": each, "page_size": 15})
            for each in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert count_requests(sandbox.requests) == (30, 6)
        assert most_within(request.time for request in sandbox.requests) <= 10


def test_tokens_have_budgets_of_their_own(some_orders):
    with Sandbox(orders=some_orders[:10], tokens=2) as sandbox:
        keys = [sandbox.access_tokens[0], sandbox.access_tokens[1]]
        clients = [
            tf.TrackstarClient(sandbox.api_key, key, base_url=sandbox.base_url, cache=False)
            for key in keys
        ]
        assert clients[0].session._limiter is not clients[1].session._limiter
        again = tf.TrackstarClient(sandbox.api_key, keys[0], base_url=sandbox.base_url)
        assert again.session._limiter is clients[0].session._limiter


def test_after_a_refusal_all_chains_wait(some_orders):
    fault = Fault("status", status=429, retry_after=1, nth=5)
    with Sandbox(orders=some_orders, rate_limit=None, faults=[fault]) as sandbox:
        client = sandbox.client(cache=False, rate_limit=None)
        frame = tf.fetch_orders_df(client=client, page_size=25, created_date__gte="2020-01-01")
        assert len(frame) == len(some_orders)
        times = sorted(request.time for request in sandbox.requests)
        pauses = [later - sooner for sooner, later in itertools.pairwise(times)]
        assert sum(pause > 0.9 for pause in pauses) == 1


@pytest.mark.slow
def test_another_process_on_the_same_token_gets_its_share(some_orders):
    code = (
        "import sys, trackstar_frames as tf\n"
        "url, key, token = sys.argv[1:]\n"
        "client = tf.TrackstarClient(key, token, base_url=url, cache=False)\n"
        "frames = tf.fetch_orders(client=client, page_size=15, created_date__gte='2020-01-01')\n"
        "print(len(frames.orders))"
    )
    with Sandbox(orders=some_orders, rate_limit=10) as sandbox:
        command = [sys.executable, "-c", code]
        command += [sandbox.base_url, sandbox.api_key, sandbox.access_token]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
        assert [int(each.communicate()[0]) for each in running] == [len(some_orders)] * 2
        assert refused(sandbox) < len(sandbox.requests) / 4


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_is_not_stopped_by_what_its_parent_did():
    code = (
        "import os, threading, time\n"
        "import trackstar_frames as tf\n"
        "from trackstar_frames.http.rate_limit import _LOCK\n"
        "from trackstar_frames.sandbox import Sandbox\n"
        "with Sandbox(orders=30, rate_limit=None) as sandbox:\n"
        "    client = sandbox.client()\n"
        "    tf.fetch_orders(client=client, page_size=10)\n"
        "    with _LOCK:\n"
        "        child = os.fork()\n"
        "    if child == 0:\n"
        "        frames = tf.fetch_orders(client=client, page_size=10, refresh=True)\n"
        "        os._exit(len(frames.orders))\n"
        "    tf.fetch_orders(client=client, page_size=10, refresh=True)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("30\n", "")
