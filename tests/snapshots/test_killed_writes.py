"""Writes that are killed: what is listed is whole, and the next write goes on and tidies up."""

import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from helpers.marks import slow
from helpers.traffic import split_requests

import trackstar_frames as tf
from trackstar_frames.sandbox import Sandbox

DRAWS = 30
ORDERS, PAGE = 150, 10
THEN = datetime(2020, 1, 1, tzinfo=UTC)

WORK = """
import sys
import trackstar_frames as tf
from trackstar_frames.snapshots import writer
from trackstar_frames.snapshots import spill

work, root, key, token, url, cache, page = sys.argv[1:]
writer.PART_SIZE, spill._RUN_SIZE, spill._BLOCK_SIZE = 40, 60, 16
client = tf.TrackstarClient(key, token, base_url=url, cache_dir=cache, rate_limit=None)
frames = tf.fetch_orders(client=client) if work == "write" else None
print("ready", flush=True)
sys.stdin.readline()
if work == "write":
    tf.write_snapshot(frames, root)
elif work == "export":
    tf.export_orders(root, client=client, page_size=int(page))
else:
    tf.sync_orders(root, client=client, page_size=int(page), overlap=0)
"""


@pytest.fixture(scope="module")
def server():
    with Sandbox(orders=ORDERS, seed=7, now=THEN, rate_limit=None, latency=0.005) as sandbox:
        yield sandbox


class Scene:
    """One kind of work under one root, killed again and again."""

    def __init__(self, work, server, folder):
        self.work, self.server, self.folder, self.root = work, server, folder, folder / "root"
        self.rng = random.Random(work)
        self.changes = 0
        self.finished, self.left = [], []
        if work == "sync":
            with self.client("first") as client:
                tf.sync_orders(self.root, client=client)

    def client(self, name):
        # By the clock of this machine, as that of the process that is killed.
        return tf.TrackstarClient(
            self.server.api_key,
            self.server.access_token,
            base_url=self.server.base_url,
            cache_dir=self.folder / f"cache-{name}",
            rate_limit=None,
        )

    def start(self, draw):
        """Start a process that is ready to work, and waits for a line."""
        server, cache = self.server, self.folder / f"cache-{draw}"
        given = (self.work, self.root, server.api_key, server.access_token, server.base_url, cache)
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WORK, *map(str, given), str(PAGE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def change(self):
        """Change orders of the server, at a later time each time."""
        self.changes += 1
        stamp = (THEN + timedelta(hours=self.changes)).isoformat()
        chosen = self.rng.sample(self.server.orders, 40)
        stamps = {"updated_date": stamp, "trackstar_updated_date": stamp}
        self.server.upsert(each | stamps | {"reference_id": stamp} for each in chosen)

    def names(self):
        return set(tf.list_snapshots(self.root)["name"])

    def hidden(self):
        found = self.root.iterdir() if self.root.is_dir() else ()
        return [each.name for each in found if each.name.startswith(".")]

    def kill_once(self, draw, process=None, seconds=60.0):
        """Kill it after so long, look at what is there, do it again; tell how long it took."""
        if self.work == "sync":
            self.change()
        before = self.names()
        process = process or self.start(draw)
        assert process.stdout.readline() == "ready\n"
        took = kill(process, seconds)
        new = self.names() - before
        self.finished.append(len(new))
        self.left.append(bool(self.hidden()))
        assert len(new) <= 1
        with self.client(draw) as client:
            again = self.do_again(client, bool(new))
        assert self.hidden() == []
        page = msgspec.json.encode({"data": self.server.orders, "next_token": None})
        truth = tf.OrderFrames.from_json(page).to_arrow()
        for name in {*new, again.name}:
            held = tf.read_snapshot(self.root, name).to_arrow()
            for table, rows in truth.items():
                assert held[table].equals(rows), table
        for path in tf.list_snapshots(self.root)["path"][:-2]:
            shutil.rmtree(path)  # they were looked at, and make each listing longer
        return took

    def do_again(self, client, was_finished):
        started, of_before = len(self.server.requests), self.names()
        if self.work == "write":
            return tf.write_snapshot(tf.fetch_orders(client=client), self.root)
        if self.work == "sync":
            return tf.sync_orders(self.root, client=client, page_size=PAGE, overlap=0)
        paths = self.paths()
        on_disk = {path for path in paths if is_stored(path, client)}
        snapshot = tf.export_orders(self.root, client=client, page_size=PAGE)
        asked, _ = split_requests(self.server.requests[started:])
        assert snapshot.name not in of_before
        assert snapshot.info["from_cache"] in ({len(on_disk)} | ({0} if was_finished else set()))
        assert paths - on_disk <= set(asked)
        return snapshot

    def paths(self):
        """List the requests of a whole export, but for those that close it."""
        if not hasattr(self, "_paths"):
            started = len(self.server.requests)
            with self.client("paths") as client:
                tf.fetch_orders(client=client, page_size=PAGE)
            listing, _ = split_requests(self.server.requests[started:])
            self._paths = set(listing)
        return self._paths


def kill(process, seconds):
    """Let it work so long at most; tell how long it did."""
    started = time.monotonic()
    try:
        process.stdin.write("\n")
        process.stdin.flush()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        took = time.monotonic() - started
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGKILL)
    return took


def is_stored(path, client):
    parts = urlsplit(path)
    key = client.session._key(parts.path, dict(parse_qsl(parts.query)))
    return client.session._cache.read(key) is not None


@pytest.mark.parametrize("work", [slow("write"), slow("export"), "sync"])
def test_a_work_that_was_killed_is_done_again(server, tmp_path, work):
    Scene(work, server, tmp_path).kill_once(0, seconds=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("work", ["write", "export", "sync"])
def test_a_work_may_be_killed_at_any_moment(server, tmp_path, work):
    scene = Scene(work, server, tmp_path)
    usual, ready = scene.kill_once(0), scene.start(1)
    try:
        for draw in range(1, DRAWS):
            # The next one begins while this one is at work: most of its time are imports.
            process, ready = ready, scene.start(draw + 1)
            took = scene.kill_once(draw, process, scene.rng.uniform(0, 1.5 * usual))
            # What it takes changes with the machine's load: the last one that ended tells.
            usual = took if scene.finished[-1] else max(usual, took)
    finally:
        ready.kill()
        ready.communicate()
    # The moments were all over the work: in the midst of it, and after its end.
    assert sum(scene.finished) > DRAWS / 10
    assert sum(scene.left) > DRAWS / 10
