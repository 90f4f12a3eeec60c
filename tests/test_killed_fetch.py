"""A fetch that is killed: the same call goes on from the pages that are on disk."""

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from functools import cache
from urllib.parse import parse_qsl, urlsplit

import pytest
from helpers import reference
from helpers.marks import sample
from helpers.traffic import normalized_path
from helpers.waiting import wait_until

import trackstar_frames as tf
from trackstar_frames.sandbox import Sandbox

LATENCY = 0.02
DRAWS = 50

#: How many requests can be under way: those of eight workers, or of one chain.
QUESTIONS = {"bounded": 8, "unbounded": 1}

FETCH = """
import json, sys
import trackstar_frames as tf

key, token, url, asked = sys.argv[1:]
sys.stdin.readline()
with tf.TrackstarClient(key, token, base_url=url, rate_limit=None) as client:
    tf.fetch_orders(client=client, **json.loads(asked))
"""


@pytest.fixture(scope="module")
def server(some_orders):
    with Sandbox(orders=some_orders, rate_limit=None, latency=LATENCY) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def queries(some_orders):
    """All orders, in windows or as one chain."""
    created = sorted(order["created_date"] for order in some_orders)
    bounds = {"created_date__gte": created[0], "created_date__lte": created[-1]}
    every = {"page_size": 10, "max_workers": 8}
    return {"bounded": every | bounds, "unbounded": every}


@pytest.fixture(scope="module")
def clean(server, queries):
    """Ask without kills, once for each question: which paths that takes."""

    @cache
    def run(name):
        started = len(server.requests)
        client = server.client(cache=False, rate_limit=None)
        frames = tf.fetch_orders(client=client, **queries[name])
        reference.assert_frames_hold(frames, server.orders)
        paths = list(map(normalized_path, server.requests[started:]))
        assert len(set(paths)) == len(paths) == frames.info["requests"] > 30
        return set(paths)

    return run


def start(filters, server):
    """Start a process that is ready to fetch, and waits for a line."""
    given = (server.api_key, server.access_token, server.base_url)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", FETCH, *given, json.dumps(filters)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill(process, server, requests, *, pause):
    """Let it fetch until so many requests have arrived, and a little longer."""
    enough = len(server.requests) + requests
    try:
        process.stdin.write("\n")
        process.stdin.flush()
        wait_until(lambda: len(server.requests) >= enough or process.poll() is not None)
        time.sleep(pause)
    finally:
        process.kill()
        reported, _ = process.communicate(timeout=60)
    assert reported == ""
    assert process.returncode in (0, -signal.SIGKILL)


def keys_on_disk(folder, scratch):
    """Look at a copy, so that the next process meets the files as the kill has left them."""
    shutil.rmtree(scratch, ignore_errors=True)
    if not any(folder.rglob("*.sqlite")):
        return []
    shutil.copytree(folder, scratch)
    (file,) = scratch.rglob("*.sqlite")
    with closing(sqlite3.connect(file)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'pages'").fetchone():
            return []
        return [key for (key,) in db.execute("SELECT key FROM pages")]


def key_of(path, client):
    parts = urlsplit(path)
    return client.session._key(parts.path, dict(parse_qsl(parts.query)))


@pytest.fixture
def kill_once(server, queries, clean, tmp_path):
    """Kill a fetch, go on in this process, and tell how many pages were on disk in between."""
    folder, scratch = tmp_path / "cache", tmp_path / "copy"

    def kill_once(name, draw, process=None):
        rng, paths = random.Random(f"{name} {draw}"), clean(name)
        shutil.rmtree(folder, ignore_errors=True)
        requests = int(len(paths) * (draw + rng.random()) / DRAWS)
        process, before = process or start(queries[name], server), len(server.requests)
        kill(process, server, requests, pause=rng.uniform(0, 2 * LATENCY))
        keys = keys_on_disk(folder, scratch)
        with server.client(rate_limit=None) as client:
            started = len(server.requests)
            sent = {normalized_path(each): each.path for each in server.requests[before:started]}
            on_disk = {path for path, as_sent in sent.items() if key_of(as_sent, client) in keys}
            closing = sum(path != as_sent for path, as_sent in sent.items())
            under_way = max(QUESTIONS[name], closing)  # what closes is asked for side by side
            assert started - before - under_way <= len(on_disk) == len(keys)
            assert on_disk <= paths
            frames = tf.fetch_orders(client=client, **queries[name])
        # What the killed process sent may arrive as late as now; it is not on disk either.
        assert set(map(normalized_path, server.requests[started:])) == paths - on_disk
        assert frames.info["requests"] == len(paths) - len(on_disk)
        reference.assert_frames_hold(frames, server.orders)
        return len(on_disk)

    return kill_once


@pytest.mark.one_of(2)
@pytest.mark.parametrize("name", sample(QUESTIONS, 2))
def test_a_killed_fetch_continues_from_what_is_on_disk(kill_once, name):
    kill_once(name, DRAWS // 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_it_may_be_killed_at_any_moment(kill_once, server, queries, clean, name):
    pages, found = len(clean(name)), []
    ready = start(queries[name], server)
    try:
        for draw in range(DRAWS):
            # The next one begins while this one is at work: most of its time are imports.
            process, ready = ready, start(queries[name], server)
            found.append(kill_once(name, draw, process))
    finally:
        ready.kill()
        ready.communicate()
    # The moments were all over the fetch, its ends included.
    assert len(set(found)) > DRAWS / 4
    assert min(found) < pages / 4 < pages * 3 / 4 < max(found)
