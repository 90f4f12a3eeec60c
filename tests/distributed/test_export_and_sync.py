"""Exports and syncs on a cluster: each worker writes its share of one snapshot."""

import os
import random
import signal
import threading

import pandas as pd
import pytest

import trackstar_frames as tf
from trackstar_frames.sandbox import Fault, Sandbox
from trackstar_frames.schema import TABLES


@pytest.fixture(scope="module")
def sandbox(now):
    fault = Fault("status", status=403, token=3, where=lambda query: query["limit"] == "33")
    with Sandbox(
        orders=150, tokens=4, seed=9, now=now, odd=0.05, rate_limit=None, faults=[fault]
    ) as it:
        yield it


@pytest.fixture(scope="module")
def running(use_cluster, sandbox):
    with use_cluster(sandbox) as running:
        yield running


@pytest.fixture
def here(sandbox, monkeypatch):
    """Be able to ask without the cluster, too."""
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    return sandbox.connections


def assert_same(got, expected):
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(got, name), getattr(expected, name))


def hidden(root):
    return [path.name for path in root.iterdir() if path.name.startswith(".")]


def test_an_export_is_that_without_dask(running, here, tmp_path):
    there = tf.export_orders(tmp_path / "a", connections=here, dask_client=running.client)
    plain = tf.export_orders(tmp_path / "b", connections=here)
    assert_same(there.read(), plain.read())
    assert [each["pages"] for each in there.info["connections"].values()] == [
        each["pages"] for each in plain.info["connections"].values()
    ]
    assert not hidden(tmp_path / "a")


def test_a_sync_continues_whoever_wrote_the_last_one(running, here, sandbox, tmp_path):
    cluster = running.client
    first = tf.sync_orders(tmp_path, connections=here, dask_client=cluster)
    sandbox.advance(hours=5, token=1)
    second = tf.sync_orders(tmp_path, connections=here)
    sandbox.advance(hours=5, token=2)
    third = tf.sync_orders(tmp_path, connections=here, dask_client=cluster)
    news = [snapshot.info["sync"]["new"] for snapshot in (first, second, third)]
    assert news[0] > 0
    assert sum(news) == len(third.read().orders)
    assert_same(third.read(), tf.fetch_orders(connections=here, refresh=True))


@pytest.mark.filterwarnings("ignore:.* connections failed when:UserWarning")
def test_a_failure_is_reported_and_can_be_resumed(running, here, tmp_path):
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.export_orders(tmp_path, connections=here, dask_client=running.client, page_size=33)
    assert isinstance(caught.value.failures["customer-3"], tf.AuthError)
    labels = caught.value.snapshot.read().orders["connection"].unique().tolist()
    assert labels == ["customer-0", "customer-1", "customer-2"]
    with pytest.raises(tf.IncompleteFetchError, match="customer-3"):
        caught.value.resume()


def test_a_token_that_a_worker_does_not_have_is_a_failure_of_its_connection(
    running, here, monkeypatch, tmp_path
):
    monkeypatch.setenv("ONLY_HERE", "token")
    given = {"customer-0": here["customer-0"], "x": "ONLY_HERE"}
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.export_orders(tmp_path, connections=given, dask_client=running.client)
    assert isinstance(caught.value.failures["x"], tf.CredentialsError)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"dask_client": "tcp://scheduler:8786"},
            "dask_client is a str; pass a distributed.Client",
        ),
        ({"limit": 10}, "which needs no cluster"),
        ({"connections": None}, "pass connections"),
        ({"connections": {"a": lambda: "x"}}, "must be importable"),
    ],
)
def test_invalid_arguments_fail_before_any_work(running, here, tmp_path, options, words):
    given = {"connections": here, "dask_client": running.client} | options
    with pytest.raises(tf.SettingsError, match=words):
        tf.export_orders(tmp_path / "root", **given)
    assert not list(tmp_path.glob("root/2*"))


MOMENTS = [0.5, *(pytest.param(None, marks=pytest.mark.slow, id=f"{n}") for n in range(4))]


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_worker_that_is_killed_leaves_no_gap_and_no_double(
    start_cluster, now, tmp_path, monkeypatch, moment
):
    with (
        Sandbox(orders=200, tokens=5, seed=4, now=now, rate_limit=None, latency=0.05) as sandbox,
        start_cluster(sandbox) as running,
    ):
        victim = next(iter(running.cluster.workers.values())).pid
        seconds = random.uniform(0.05, 2.5) if moment is None else moment
        timer = threading.Timer(seconds, os.kill, [victim, signal.SIGKILL])
        timer.start()
        snapshot = tf.export_orders(
            tmp_path / "root",
            connections=sandbox.connections,
            dask_client=running.client,
            page_size=20,
            max_workers=1,
        )
        timer.join()
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        assert_same(snapshot.read(), tf.fetch_orders(connections=sandbox.connections))
        assert [name for name in hidden(tmp_path / "root") if "snapshot" in name] == []
