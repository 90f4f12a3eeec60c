"""No token and no key is anywhere in a cluster but in the environments of its workers."""

import json
import pickle
import urllib.request

import cloudpickle
import pytest
from helpers.servers import connection_variables

import trackstar_frames as tf
from trackstar_frames.sandbox import Fault, Sandbox

TWO = {"acme": "ACME_TOKEN", "beta": "BETA_SECRET"}


@pytest.fixture(scope="module")
def sandbox(now):
    faults = [Fault("echo_secret", status=401, first_page=False, every=1)]
    options = {"tokens": 2, "seed": 5, "now": now, "days": 80, "faults": faults}
    with Sandbox(orders=20, rate_limit=None, **options) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def lazy(vault):
    return tf.fetch_orders_dask({**TWO, "beta": vault.beta})


@pytest.fixture(scope="module")
def running(use_cluster, sandbox, lazy):
    """A cluster that has fetched, keeps what it fetched, and has failed too."""
    with use_cluster(sandbox) as running:
        running.kept = running.client.persist(lazy)
        assert len(running.kept.compute(scheduler=running.client)) == 40
        running.failed = running.client.compute(tf.fetch_orders_dask(TWO, page_size=5))
        running.error = running.failed.exception()
        yield running


@pytest.fixture(scope="module")
def absent(sandbox):
    """Look for the secrets in what was told, and make sure that it is what tells much."""

    def absent(reported, must_tell):
        assert must_tell.encode() in reported
        for secret in (sandbox.api_key, *sandbox.access_tokens):
            assert secret.encode() not in reported

    return absent


def test_not_in_the_graph_nor_in_its_keys(sandbox, lazy, absent, monkeypatch):
    for name, value in connection_variables(sandbox).items():
        monkeypatch.setenv(name, value)
    graph = lazy.__dask_graph__()
    absent(pickle.dumps(graph), "ACME_TOKEN")
    absent(cloudpickle.dumps(lazy), "trackstar_test_vault")
    absent(repr(dict(graph)).encode() + repr(lazy.expr).encode(), "fetch-orders")


@pytest.mark.slow
def test_not_in_the_state_of_the_scheduler(running, absent):
    scheduler = running.cluster.scheduler
    tasks = list(scheduler.tasks.values())
    absent(cloudpickle.dumps([(task.key, task.run_spec) for task in tasks]), "ACME_TOKEN")
    reported = [(task.annotations, task.metadata, task.exception, task.traceback) for task in tasks]
    absent(cloudpickle.dumps(reported), "AuthError")
    texts = [(task.exception_text, task.traceback_text) for task in tasks]
    absent(repr(texts).encode(), "the API returned 401")
    absent(repr(dict(scheduler.extensions["semaphores"].max_leases)).encode(), "trackstar_frames-")
    absent(repr(running.client.get_events()).encode() + repr(scheduler.identity()).encode(), "tcp")


@pytest.mark.slow
def test_not_in_the_error_that_arrives(running, absent):
    assert isinstance(running.error, tf.IncompleteFetchError)
    absent(cloudpickle.dumps(running.error), "in connection")


@pytest.mark.slow
def test_not_in_the_logs(running, absent):
    absent(repr(running.client.get_worker_logs()).encode(), "the API returned 401")
    absent(repr(running.client.get_scheduler_logs()).encode(), "Receive client connection")


@pytest.mark.slow
def test_not_on_the_pages_of_the_dashboard(running, absent):
    address = running.cluster.dashboard_link.removesuffix("/status")
    scheduler = running.cluster.scheduler
    paths = json.loads(read(f"{address}/sitemap.json"))["paths"]
    paths += [f"/info/worker/{quote(worker)}.html" for worker in scheduler.workers]
    paths += [f"/info/task/{quote(str(key))}.html" for key in scheduler.tasks]
    pages = [read(f"{address}{path}") for path in paths if "{" not in path]
    absent(b"".join(pages), "fetch-orders")


def quote(text):
    return urllib.request.quote(text, safe="")


def read(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:  # some pages need more than a cluster does
        with error:
            return error.read()
