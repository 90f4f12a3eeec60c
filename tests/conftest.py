"""What every test has: a clean environment, a cache of its own, and no window that opens.

Slow is what repeats for certainty: all products of parameters, many draws of each law, processes
killed at any moment, and notebooks; every function and every kind of fault has its everyday case.
"""

import gc
import os
import signal
import socket
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from types import SimpleNamespace

import pytest
from helpers import marks, odd_orders, sql_reference
from helpers.waiting import wait_until
from hypothesis import HealthCheck, settings

import trackstar_frames as tf
from trackstar_frames import fetch_orders
from trackstar_frames.http import retry
from trackstar_frames.sandbox import Sandbox

os.environ["MPLBACKEND"] = "Agg"

#: What the images in plots/baseline were made by; see plots/test_images.py.
MATPLOTLIB = "3.11."

#: When the orders of shared servers are as of: what a test counts must not depend on the hour.
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)

_SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
settings.register_profile("everyday", max_examples=6, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("slow", max_examples=100, deadline=None, suppress_health_check=_SLOW)

_FOREIGN = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "netrc", "ci")
_FOREIGN += ("requests_ca_bundle", "curl_ca_bundle", "pythonunbuffered")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    # Each matplotlib draws letters a little differently: images are compared by the one that
    # made them, and only drawn by all others.
    if version("matplotlib").startswith(MATPLOTLIB):
        config.option.mpl = True
    settings.load_profile("slow" if is_slow(config) else "everyday")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Choose the everyday cases; let the slow run draw more for every law, and take longer."""
    marks.mark_slow(items)
    if not is_slow(config):
        return
    for item in items:
        item.add_marker(pytest.mark.timeout(1200))
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("slow")


def pytest_collection_finish():
    """Spare the garbage collector thousands of tests; it takes a tenth of the time else."""
    gc.collect()
    gc.freeze()


def is_slow(config):
    chosen = config.getoption("-m")
    return "slow" in chosen and "not slow" not in chosen


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("TRACKSTAR_") or name.lower() in _FOREIGN:
            monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKSTAR_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    """Let the pauses before retries begin at a hundredth of a second."""
    monkeypatch.setattr(retry, "_FIRST_PAUSE", 0.01)


@pytest.fixture(autouse=True)
def _no_figure_stays():
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")


@pytest.fixture(scope="session")
def spoilt():
    """Serve orders of a seed with some of each thing broken: fetched, and laid out for SQL."""
    now = datetime(2026, 3, 11, 12, tzinfo=UTC)

    @cache
    def make(seed):
        with Sandbox(orders=500, seed=seed, odd=0.1, now=now, rate_limit=None) as sandbox:
            sandbox.upsert(odd_orders.spoil_json(sandbox.orders, seed, now))
            frames = fetch_orders(client=sandbox.client(cache=False))
            return SimpleNamespace(frames=frames, sql=sql_reference.load(sandbox.orders), now=now)

    return make


@pytest.fixture(scope="session")
def shared_sandbox():
    """A server of 350 orders without faults; its log grows over the session."""
    with Sandbox(orders=350, seed=7, rate_limit=None, now=NOW) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def some_orders(shared_sandbox):
    """The orders of `shared_sandbox`, to start servers from at no cost."""
    return shared_sandbox.orders


@pytest.fixture
def serve(some_orders):
    """Start a server of 60 orders (or others) with faults."""
    running = []

    def start(*faults, orders=60, **options):
        given = some_orders[:orders] if isinstance(orders, int) else orders
        options = {"rate_limit": None} | options
        sandbox = Sandbox(orders=given, faults=faults, **options).start()
        running.append(sandbox)
        return sandbox

    yield start
    for sandbox in running:
        sandbox.stop()


@pytest.fixture
def serve_with_client(serve):
    """Start a server with faults and a client of it that is quick to give up."""

    def start(*faults, orders=60, client=None, **options):
        sandbox = serve(*faults, orders=orders, **options)
        quick = {"rate_limit": None, "retries": 2, "max_wait": 5, "timeout": 5}
        return sandbox, sandbox.client(**quick | (client or {}))

    return start


@pytest.fixture
def serve_connections(monkeypatch):
    """Serve several connections with faults, named in the environment."""
    running = []

    def start(*faults, tokens=3, orders=60, **options):
        sandbox = Sandbox(
            orders=orders,
            tokens=tokens,
            faults=faults,
            **{"rate_limit": None, "now": NOW} | options,
        ).start()
        running.append(sandbox)
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        return sandbox

    yield start
    for sandbox in running:
        sandbox.stop()


@pytest.fixture
def interrupt():
    """Raise KeyboardInterrupt in the main thread, half a second after requests have come."""

    def after(sandbox, requests):
        def wait():
            wait_until(lambda: len(sandbox.requests) >= requests)
            signal.setitimer(signal.ITIMER_REAL, 0.5)

        threading.Thread(target=wait, daemon=True).start()

    def raise_it(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, raise_it)
    yield after
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def raw_server():
    """Start a server that answers each request with whatever a function writes.

    The function gets the request's handler; `.seen` lists path and headers of each request.
    """
    running = []

    def start(answer):
        seen = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                seen.append((self.path, dict(self.headers)))
                answer(self)

            def log_message(self, *_):
                pass

            def handle(self):
                try:
                    super().handle()
                except OSError:
                    self.close_connection = True

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        running.append((server, thread))
        url = f"http://127.0.0.1:{server.server_port}"
        return SimpleNamespace(base_url=url, seen=seen)

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def closed_url():
    """The address of a port where nobody listens."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def snapshot(tmp_path):
    """One of two orders."""
    orders = [{"id": "a1", "line_items": [{"sku": "x", "quantity": 2}]}, {"id": "a2"}]
    return tf.write_snapshot(tf.OrderFrames.from_json(orders), tmp_path / "snapshots")
