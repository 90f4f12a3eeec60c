"""The cache's file: how big it is, and what becomes of it where it cannot be used."""

import ctypes
import os
import random
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from contextlib import closing

import pyarrow as pa
import pytest
from helpers import reference
from helpers.marks import sample

import trackstar_frames as tf
from trackstar_frames.http.cache import PageCache, StoredPage

FETCH = """
import sys, warnings
import trackstar_frames as tf
key, token, url, *calls = sys.argv[1:]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    client = tf.TrackstarClient(key, token, base_url=url, rate_limit=None)
    for call in calls:
        status = {} if call == "all" else {"status": call}
        frames = tf.fetch_orders(client=client, page_size=20, **status)
        print(len(frames.orders), frames.info["requests"])
for each in caught:
    print(each.category.__name__, each.message)
"""


def keep(cache, key, body, seconds=3600):
    cache.write(StoredPage(key, body, time.time(), time.time() + seconds))


def found(cache, key):
    stored = cache.read(key)
    return None if stored is None else stored.body


def run(code, *args, **options):
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def fetched(serve):
    """Start a server, and fetch in another process; tells rows and requests, then warnings."""
    sandbox = serve(orders=200)

    def fetch(*calls, **options):
        return run(
            FETCH, sandbox.api_key, sandbox.access_token, sandbox.base_url, *calls, **options
        )

    return sandbox, fetch


def test_the_file_is_hardly_larger_than_its_bodies_squeezed(shared_sandbox, tmp_path):
    with shared_sandbox.client(cache=False) as client:
        (page,) = client.iter_pages()
    bodies = [page.body.replace(b'"id":"', b'"id":"%d-' % number) for number in range(10)]
    squeeze = pa.Codec("zstd", compression_level=3).compress
    bound = 1.1 * sum(len(squeeze(body, asbytes=True)) for body in bodies)
    cache = PageCache(tmp_path)
    for _ in range(2):  # the second time in place of the first
        for number, body in enumerate(bodies):
            keep(cache, f"{number:064x}", body)
        assert [found(cache, f"{number:064x}") for number in range(10)] == bodies
        cache.close()
        assert [path.name for path in cache.path.parent.iterdir()] == [cache.path.name]
        assert cache.path.stat().st_size <= bound


def test_bodies_of_all_kinds_come_back(tmp_path):
    cache = PageCache(tmp_path, b"seal")
    bodies = [b"", b"\0", b"text", random.Random(1).randbytes(100_000), bytes(10_000_000)]
    for number, body in enumerate(bodies):
        keep(cache, f"it's {number}", body)
    for reader in (cache, PageCache(tmp_path, b"seal")):
        assert [found(reader, f"it's {number}") for number in range(5)] == bodies
    assert [found(PageCache(tmp_path), f"it's {number}") for number in range(5)] == [None] * 5


def drop_the_privilege():
    """Let permissions bind root, too: from the next program on, it may not pass over them."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE


@pytest.fixture
def read_only():
    """Forbid to write a folder and its files; in the end, allow it again."""
    changed = []

    def forbid(folder):
        for path in [*folder.iterdir(), folder]:
            changed.append((path, path.stat().st_mode))
            path.chmod(0o500 if path.is_dir() else 0o400)
        ask = "import os, sys; print(os.access(sys.argv[1], os.W_OK))"
        if run(ask, str(folder), preexec_fn=drop_the_privilege) != ["False"]:
            pytest.skip("this user may write everything")

    yield forbid
    for path, mode in reversed(changed):
        if path.exists():  # the last to close it takes its log away
            path.chmod(mode)


@pytest.mark.parametrize("open_elsewhere", sample([False, True], 2))
def test_a_good_file_that_is_read_only_serves(fetched, read_only, tmp_path, open_elsewhere):
    sandbox, fetch = fetched
    client = sandbox.client()
    tf.fetch_orders(client=client, page_size=20)
    if not open_elsewhere:
        client.close()
    before = len(sandbox.requests)
    read_only(tmp_path / "cache" / "http")
    assert fetch("all", "all", preexec_fn=drop_the_privilege) == ["200 0", "200 0"]
    assert len(sandbox.requests) == before


@pytest.mark.slow
def test_to_write_to_a_read_only_file_costs_a_warning(fetched, read_only, tmp_path):
    sandbox, fetch = fetched
    with sandbox.client() as client:
        tf.fetch_orders(client=client, page_size=20)
    read_only(tmp_path / "cache" / "http")
    wanted = sum(order["status"] == "open" for order in sandbox.orders)
    *lines, warned = fetch("all", "open", "all", preexec_fn=drop_the_privilege)
    assert [int(line.split()[0]) for line in lines] == [200, wanted, 200]
    assert lines[0] == "200 0"
    assert re.match("RuntimeWarning .* switched off .*: attempt to write a readonly", warned)


@pytest.mark.slow
@pytest.mark.parametrize("holds", sample(["nothing", "something else"], 2))
def test_a_read_only_folder_without_a_cache_costs_a_warning(fetched, read_only, tmp_path, holds):
    _, fetch = fetched
    folder = tmp_path / "cache" / "http"
    folder.mkdir(parents=True)
    if holds == "something else":
        (folder / "pages.sqlite").write_bytes(b"no database at all" * 1000)
    read_only(folder)
    *lines, warned = fetch("all", "all", preexec_fn=drop_the_privilege)
    assert [line.split()[0] for line in lines] == ["200", "200"]
    assert re.match("RuntimeWarning .* switched off", warned)


def zero(path):
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(path.stat().st_size - 4096))


def cut(path):
    os.truncate(path, 8192)


@pytest.mark.parametrize("damage", [zero, cut])
def test_a_file_damaged_while_it_is_open_costs_a_warning(tmp_path, damage):
    cache = PageCache(tmp_path)
    bodies = {f"{number:064x}": random.Random(number).randbytes(500_000) for number in range(20)}
    for key, body in bodies.items():
        keep(cache, key, body)
    with closing(sqlite3.connect(cache.path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        damage(cache.path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for key, body in bodies.items():
            assert found(cache, key) in {None, body}
            keep(cache, "another", body)
    assert [w.category for w in caught] == [RuntimeWarning]
    assert "switched off" in repr(cache)


@pytest.mark.parametrize("what", ["the file", "the folder"])
def test_a_cache_deleted_while_it_is_open_costs_no_result(serve, tmp_path, what):
    sandbox = serve()
    client = sandbox.client()
    tf.fetch_orders(client=client, page_size=20)
    folder = tmp_path / "cache" / "http"
    (folder / "pages.sqlite").unlink() if what == "the file" else shutil.rmtree(folder)
    for refresh in (False, True):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* switched off", RuntimeWarning)
            frames = tf.fetch_orders(client=client, page_size=20, refresh=refresh)
        reference.assert_frames_hold(frames, sandbox.orders)
    client.close()


@pytest.mark.parametrize("since", ["before", "underway"])
def test_a_file_locked_for_a_while_costs_only_time(serve, tmp_path, since):
    sandbox = serve()
    client = sandbox.client()
    next(sandbox.client().iter_pages(page_size=60))
    if since == "underway":
        next(client.iter_pages(page_size=60))
    file = tmp_path / "cache" / "http" / "pages.sqlite"
    with closing(sqlite3.connect(file, check_same_thread=False)) as db:
        db.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.5, db.rollback)
        timer.start()
        frames = tf.fetch_orders(client=client, page_size=20)
        timer.join()
    reference.assert_frames_hold(frames, sandbox.orders)
    assert tf.fetch_orders(client=client, page_size=20).info["from_cache"] == 3


def test_without_memory_it_neither_keeps_nor_finds(tmp_path):
    code = """
import resource, sys, time
from pathlib import Path
from trackstar_frames.http.cache import PageCache, StoredPage
cache, body, now = PageCache(Path(sys.argv[1])), bytes(2**28), time.time()
cache.write(StoredPage("before", body, now, now + 60))
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
_, most = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, most))
cache.write(StoredPage("after", body, now, now + 60))
print(cache.read("before"), cache.info()["pages"])
resource.setrlimit(resource.RLIMIT_AS, (most, most))
print(cache.read("before").body == body, cache.read("after"))
"""
    assert run(code, str(tmp_path)) == ["None 1", "True None"]


def test_a_disk_that_fills_while_threads_write_costs_one_warning(tmp_path):
    code = """
import os, sys, threading, time, warnings
from pathlib import Path
from trackstar_frames.http.cache import PageCache, StoredPage
cache, now = PageCache(Path(sys.argv[1])), time.time()
def work(index):
    for number in range(10):
        key, body = f"{index} {number}", os.urandom(20_000)
        cache.write(StoredPage(key, body, now, now + 60))
        stored = cache.read(key)
        assert stored is None or stored.body == body
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(cache, *(w.message for w in caught), sep="\\n")
"""
    small = (300_000, 300_000)
    lines, *warned = run(
        code, str(tmp_path), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, small)
    )
    assert "switched off" in lines
    assert len(warned) == 1
