"""A fault in any function of the package, on any thread: an error or the right result, no hang.

Whatever is waited for, the runner's timeout is the bound.
"""

import errno
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import changing_server
from helpers.marks import slow

import trackstar_frames as tf
from trackstar_frames.snapshots import spill

PACKAGE = str(Path(tf.__file__).parent)
FAULTS = (lambda: MemoryError("injected"), lambda: OSError(errno.ENOSPC, "injected"))


class Watcher:
    """Notes which functions of the package are called, or has one of them fail."""

    def __init__(self, target=None, nth=1, fault=None):
        self.target, self.left, self.fault = target, nth, fault
        self.called = {}
        self._lock = threading.Lock()

    def __call__(self, frame, event, _):
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(PACKAGE):
            return
        if "/sandbox/" in code.co_filename or code.co_name.startswith("<"):
            return
        with self._lock:
            self.called[code] = self.called.get(code, 0) + 1
            if code is not self.target:
                return
            self.left -= 1
            if self.left != 0:
                return
        raise self.fault()

    @contextmanager
    def at_work(self):
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            yield self
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


def fetch(root, **ask):  # noqa: ARG001
    return tf.fetch_orders(**ask)


def export(root, **ask):
    return tf.export_orders(root, **ask).read()


def sync(root, **ask):
    return tf.sync_orders(root, **ask).read()


CALLS = {"fetch": (fetch, {}), "export": (export, {}), "sync": (sync, {"page_size": 1000})}


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder of the test's own, where what is spilled to disk comes in small runs."""
    monkeypatch.setattr(spill, "_RUN_SIZE", 15)
    monkeypatch.setattr(spill, "_BLOCK_SIZE", 5)
    return tmp_path


@pytest.mark.filterwarnings("ignore:the cache at:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("every", [80, slow(2)])
@pytest.mark.parametrize(
    ("name", "cache"),
    [
        *((name, number % 2 == 0) for number, name in enumerate(CALLS)),
        *(slow(name, number % 2 == 1) for number, name in enumerate(CALLS)),
    ],
)
def test_any_fault_ends_in_an_error_or_changes_nothing(folder, name, cache, every):
    call, first = CALLS[name]
    shop = changing_server.Shop(
        [
            changing_server.order(number, changing_server.START + number * 40_000)
            for number in range(60)
        ],
        "updated_date",
        descending=True,
    )
    runs_so_far = iter(range(1_000_000))

    def run(watcher):
        here = folder / str(next(runs_so_far))
        with tf.TrackstarClient(
            "key",
            "token",
            base_url=url,
            rate_limit=None,
            cache=cache,
            retries=0,
            cache_dir=here / "cache",
        ) as client:
            ask = {"client": client, "page_size": 25, "progress": False}
            if first:  # a sync over what is there already
                call(here / "root", **ask | first)
                shop.touch(5)
            with watcher.at_work():
                return call(here / "root", **ask).to_arrow()

    with changing_server.serve(shop) as url:
        clean = Watcher()
        expected = set(run(clean)["orders"]["id"].to_pylist())
        assert len(expected) == 60
        assert len(clean.called) > 150
        for number, (target, times) in enumerate(clean.called.items()):
            if (number + cache) % every:  # with a cache the one half, without it the other
                continue
            fault = FAULTS[number // 2 % 2]
            try:
                tables = run(Watcher(target, nth=1 + number % times, fault=fault))
            except Exception:  # noqa: BLE001  (an error is what it is to be)
                continue
            assert set(tables["orders"]["id"].to_pylist()) == expected, target
    assert number > 100
