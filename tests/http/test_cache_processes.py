"""One cache for many: threads, processes, and processes that fork."""

import hashlib
import os
import subprocess
import sys
import threading
import time

import pytest

from trackstar_frames.http.cache import PageCache, StoredPage

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")

#: Warnings are errors, but for the one that newer Pythons give where threads run at a fork.
STRICT = ["-W", "error", "-W", "ignore:This process:DeprecationWarning"]

HEAD = """
import os, sys, threading, time, warnings
from pathlib import Path
from trackstar_frames.http import cache as cache_module
from trackstar_frames.http.cache import PageCache, StoredPage

folder = Path(sys.argv[1])
cache = PageCache(folder, b"seal")

def keep(key, cache=cache):
    cache.write(StoredPage(key, key.encode() * 10_000, time.time(), time.time() + 60))

def holds(key, cache=cache):
    stored = cache.read(key)
    return stored is not None and stored.body == key.encode() * 10_000

def fork(work):
    sys.stdout.flush()  # else the child has it too
    pid = os.fork()
    if pid == 0:
        work()
        sys.exit(0)
    return pid

def wait(pid):
    assert os.waitpid(pid, 0)[1] == 0
"""


def start(code, *args):
    return subprocess.Popen(
        [sys.executable, *STRICT, "-c", code, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process):
    try:
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, output
    return output.splitlines()


def test_eight_threads_read_and_write_at_once(tmp_path):
    cache = PageCache(tmp_path, b"seal")
    faults, barrier = [], threading.Barrier(8)

    def work(index):
        barrier.wait()
        for number in range(12):
            key, now = f"{index} {number}", time.time()
            body = key.encode() * 50_000
            cache.write(StoredPage(key, body, now, now + 60))
            cache.write(StoredPage("all write this", b"the same" * 10_000, now, now + 60))
            for wanted, text in ((key, body), ("all write this", b"the same" * 10_000)):
                stored = cache.read(wanted)
                if stored is None or stored.body != text:
                    faults.append(wanted)
            if number == index:
                cache.close()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not faults
    assert cache.info()["pages"] == 8 * 12 + 1


@forks
def test_a_child_has_a_connection_of_its_own(tmp_path):
    """What the child writes stays, though the parent closes before it."""
    code = """
to_child, to_parent = os.pipe(), os.pipe()

def child():
    assert holds("of the parent")
    keep("early")
    os.write(to_parent[1], b".")
    os.read(to_child[0], 1)
    keep("late")
    assert all(map(holds, ["of the parent", "early", "late"]))

keep("of the parent")
pid = fork(child)
os.read(to_parent[0], 1)
assert holds("early")
cache.close()
os.write(to_child[1], b".")
wait(pid)
print(holds("early"), holds("late"), cache.info()["pages"])
"""
    assert end(start(HEAD + code, tmp_path)) == ["True True 3"]


@pytest.mark.slow
@forks
def test_a_fork_among_busy_threads_loses_nothing(tmp_path):
    code = """
stop = threading.Event()
caches = [cache, PageCache(folder, b"seal")]

def work(index):
    number = 0
    while not stop.is_set():
        keep(f"{index} {number % 5}", caches[index % 2])
        assert holds(f"{index} {number % 5}", caches[index % 2])
        number += 1

def child(index):
    grandchild = fork(lambda: keep(f"grandchild {index}"))
    for each in caches:
        keep(f"child {index}", each)
        assert holds(f"child {index}", each)
    wait(grandchild)

threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
for thread in threads:
    thread.start()
for pid in [fork(lambda: child(index)) for index in range(8)]:
    wait(pid)
stop.set()
for thread in threads:
    thread.join()
print(sum(holds(f"{who} {index}") for who in ("child", "grandchild") for index in range(8)))
"""
    assert end(start(HEAD + code, tmp_path)) == ["16"]


@forks
def test_a_child_forked_in_the_middle_of_work_warns_once_and_ends(tmp_path):
    code = """
cache_module._FORK_WAIT = 0.05
at_work, go_on = threading.Event(), threading.Event()

def work():
    with cache._store.lock:
        cache._store.get().find("anything")
        at_work.set()
        go_on.wait()

def child():
    other = PageCache(folder, b"seal")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            keep("of the child")
            assert not holds("of the parent")
            assert not holds("of the parent", other)
    for each in caught:
        print(each.category.__name__, "this process was forked" in str(each.message))
    cache.close()

keep("of the parent")
thread = threading.Thread(target=work)
thread.start()
at_work.wait()
pid = fork(child)
go_on.set()
thread.join()
wait(pid)
print(holds("of the parent"), holds("of the child"))
wait(fork(lambda: print(holds("of the parent"))))
"""
    output = ["RuntimeWarning True"] * 2 + ["True False", "True"]
    assert end(start(HEAD + code, tmp_path)) == output


@forks
def test_a_forked_pool_shares_the_cache(tmp_path):
    code = """
import multiprocessing

def work(index):
    keep(f"page {index}")
    return holds("of the parent") and holds(f"page {index}")

keep("of the parent")
with multiprocessing.get_context("fork").Pool(3) as pool:
    print(all(pool.map(work, range(30))))
print(all(holds(f"page {index}") for index in range(30)))
"""
    assert end(start(HEAD + code, tmp_path)) == ["True", "True"]


@pytest.mark.slow
def test_processes_that_begin_a_cache_together_do_not_get_in_each_others_way(tmp_path):
    code = """
name, begin = sys.argv[2], float(sys.argv[3])
while time.time() < begin:
    pass
for index in range(40):
    cache = PageCache(folder / str(index), b"seal")
    keep(name, cache)
    keep("of all", cache)
    assert holds(name, cache)
    cache.close()
"""
    begin = time.time() + 2
    for process in [start(HEAD + code, tmp_path, name, begin) for name in "abc"]:
        assert end(process) == []
    for index in range(40):
        assert PageCache(tmp_path / str(index), b"seal").info()["pages"] == 4


@pytest.mark.slow
def test_two_processes_fetch_through_one_cache(shared_sandbox):
    """The same listing and others, kept, found, asked anew and expired."""
    code = """
import hashlib, sys
import trackstar_frames as tf

key, token, url, *statuses = sys.argv[1:]
listings = [{}, {"status": "open"}, *({"status": status} for status in statuses)]
for index in range(4):
    with tf.TrackstarClient(
        key, token, base_url=url, rate_limit=None, expire_after=0.1 if index % 3 == 2 else 60
    ) as client:
        for filters in listings:
            frames = tf.fetch_orders(
                client=client, page_size=25, refresh=index % 3 == 1, **filters
            )
            ids = ",".join(sorted(frames.orders["id"]))
            print(hashlib.sha256(ids.encode()).hexdigest())
"""

    def wanted(*statuses):
        ids = sorted(
            o["id"] for o in shared_sandbox.orders if o["status"] in statuses or not statuses
        )
        return hashlib.sha256(",".join(ids).encode()).hexdigest()

    given = (shared_sandbox.api_key, shared_sandbox.access_token, shared_sandbox.base_url)
    others = (["fulfilled", "packed"], ["cancelled", "picked"])
    processes = [start(code, *given, *statuses) for statuses in others]
    for process, statuses in zip(processes, others, strict=True):
        listings = [wanted(), wanted("open"), *(wanted(status) for status in statuses)]
        assert end(process) == listings * 4
