"""A worker that is killed: another one does its work, and gets its token."""

import os
import random
import signal
import time

import pandas as pd
import pytest
from helpers.traffic import most_within
from helpers.waiting import wait_until

import trackstar_frames as tf
from trackstar_frames.sandbox import Sandbox

TWO = {"acme": "ACME_TOKEN", "beta": "BETA_SECRET"}
ASKED = {"created_date__gte": "2025-12-12", "created_date__lt": "2026-03-05", "page_size": 20}
DRAWS = 6


@pytest.fixture(scope="module")
def running(start_cluster, now):
    options = {"tokens": 2, "seed": 5, "now": now, "days": 80, "latency": 0.05}
    with (
        Sandbox(orders=300, rate_limit=None, **options) as sandbox,
        start_cluster(sandbox) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def clean(running):
    """Fetch without kills: what comes, and with how many requests."""
    lazy = tf.fetch_orders_dask(TWO, refresh=True, **ASKED)
    frame = lazy.compute(scheduler=running.client)
    return frame, len(running.sandbox.requests)


@pytest.fixture
def kill_once(running, clean, monkeypatch):
    """Kill a worker when so many requests have arrived, or a little later."""
    expected, requests = clean
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)  # a worker that is started again inherits it

    def two_workers():
        answers = running.client.run(os.getpid, on_error="ignore")  # who was killed gives none
        return sorted(answers.values()) if len(answers) == 2 else None

    def kill_once(draw):
        rng = random.Random(draw)
        victim = rng.choice(wait_until(two_workers))
        before = len(running.sandbox.requests)
        future = running.client.compute(tf.fetch_orders_dask(TWO, refresh=True, **ASKED))
        enough = before + int(requests * (draw + rng.random()) / DRAWS)
        wait_until(lambda: len(running.sandbox.requests) >= enough)
        time.sleep(rng.uniform(0, 0.1))
        os.kill(victim, signal.SIGKILL)
        pd.testing.assert_frame_equal(future.result(timeout=100), expected)
        seen = running.sandbox.requests[before:]
        for token in running.sandbox.access_tokens:
            assert most_within(each.time for each in seen if each.token == token) <= 10
        return len(seen)

    return kill_once


@pytest.mark.slow
def test_it_may_be_killed_at_any_moment(kill_once, clean):
    _, requests = clean
    assert max(kill_once(draw) for draw in range(DRAWS)) > requests
