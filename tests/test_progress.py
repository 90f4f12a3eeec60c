"""What a fetch counts from its threads, and the lines it writes without a terminal."""

import logging
import threading
from contextlib import suppress

import pytest

import trackstar_frames as tf
from trackstar_frames.progress import Progress, start_progress


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 5000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def logged(caplog):
    """What the package has logged so far."""
    caplog.set_level(logging.INFO, "trackstar_frames")
    return lambda: [record.getMessage() for record in caplog.records]


def test_it_counts_from_several_threads(clock):
    progress = Progress(shown=False, clock=clock)

    def work():
        for _ in range(2000):
            progress.sent(None)
            progress.waiting("rate limit", 0.1)
            progress.add(3)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.now += 10
    assert progress.requests == 8000
    assert "8,000 pages, 24,000 orders, 2,400 orders/s" in progress._counters.line(clock.now)


def test_without_a_terminal_a_line_is_logged_every_ten_seconds(clock, logged):
    with Progress(clock=clock) as progress:
        for tenth in range(250):
            clock.now = 5000 + tenth / 10
            progress.sent(2)
            progress.add(100)
            assert len(logged()) == tenth // 100
        assert logged() == [
            "fetching: 100 pages, 10,000 orders, 1,000 orders/s, 2 requests left",
            "fetching: 200 pages, 20,000 orders, 1,000 orders/s, 2 requests left",
        ]
        clock.now = 5025
    end = "fetching ended after 00:25: 250 pages, 25,000 orders, 1,000 orders/s, 250 requests"
    assert logged()[2:] == [end]


def test_a_fetch_of_less_than_ten_seconds_logs_nothing(clock, logged, capfd):
    with Progress(clock=clock) as progress:
        for _ in range(9):
            clock.now += 1
            progress.sent(9)
            progress.add(1000)
            progress.waiting("rate limit", 0.8)
        clock.now += 5
    assert logged() == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("call", "given"), [("add", (1,)), ("sent", (3,)), ("waiting", ("before attempt 3", 0.5))]
)
def test_any_call_brings_the_line_that_is_due(clock, logged, call, given):
    with Progress(clock=clock) as progress:
        clock.now += 10
        assert logged() == []
        getattr(progress, call)(*given)
        assert len(logged()) == 1


def test_a_long_wait_is_logged_when_it_starts(clock, logged):
    with Progress(clock=clock) as progress:
        clock.now += 1
        progress.waiting("rate limit", 10.0)
        assert logged() == []
        progress.waiting("server asked to wait", 20.0)
        progress.waiting("server asked to wait", 25.0)  # another thread, right after
        line = "fetching: 0 pages, 0 orders, 0 orders/s, waiting 20 s (server asked to wait)"
        assert logged() == [line]
        clock.now += 10
        progress.waiting("server asked to wait", 12.0)
        assert "waiting 15 s (server asked to wait)" in logged()[1]


def test_no_line_follows_the_last(clock, logged):
    with Progress(clock=clock) as progress:
        clock.now += 10
        progress.add(1)
    clock.now += 100
    progress.add(1)
    progress.waiting("server asked to wait", 100)
    assert len(logged()) == 2
    assert logged()[1].startswith("fetching ended after 00:10: 1 page, 1 order, 0 orders/s")


def test_threads_write_each_line_once(clock, logged):
    with Progress(clock=clock) as progress:
        clock.now += 10
        threads = [threading.Thread(target=progress.add, args=(1,)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(logged()) == 1


@pytest.mark.parametrize(("shown", "ci"), [(None, "true"), (False, ""), (False, "true")])
def test_nothing_is_shown_in_ci_or_if_unwanted(logged, capfd, monkeypatch, shown, ci):
    monkeypatch.setenv("CI", ci)
    clock = Clock()
    with Progress(shown=shown, clock=clock) as progress:
        for _ in range(30):
            clock.now += 5
            progress.add(1000)
            progress.waiting("server asked to wait", 30)
    assert logged() == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("ci", ["", "true"])
def test_requested_lines_go_to_stderr_without_a_terminal(clock, capfd, monkeypatch, ci):
    monkeypatch.setenv("CI", ci)
    with Progress(shown=True, clock=clock) as progress:
        clock.now += 10
        progress.add(1000)
    with Progress(shown=True, clock=clock):
        clock.now += 3661
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "fetching: 1 page, 1,000 orders, 100 orders/s",
        "fetching ended after 00:10: 1 page, 1,000 orders, 100 orders/s, 0 requests",
        "fetching ended after 1:01:01: 0 pages, 0 orders, 0 orders/s, 0 requests",
    ]


def test_a_broken_fetch_closes_its_lines_too(clock, capfd):
    with suppress(KeyboardInterrupt), Progress(shown=True, clock=clock):
        raise KeyboardInterrupt
    assert capfd.readouterr().err.startswith("fetching ended after 00:00: 0 pages")


def test_many_requests_are_announced_before_they_are_sent(shared_sandbox, logged):
    ids = [f"id{number}" for number in range(2500)]
    tf.fetch_orders(client=shared_sandbox.client(cache=False), ids=ids)
    assert logged()[0] == "about 25 pages to come, a request each"


def test_the_expectations_of_several_fetches_are_added_up(clock):
    with Progress(shown=False, clock=clock) as whole:
        first, second = start_progress(), start_progress()
        first.add(10)
        first.expect(4)
        second.expect(7)
        second.add(10)
    assert "2 of about 12 pages" in whole._counters.bar(clock.now, None)
