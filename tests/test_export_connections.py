"""Exports and syncs of several connections: one snapshot, of shares that know nothing of others."""

import json
import re

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

import trackstar_frames as tf
from trackstar_frames.sandbox import Fault
from trackstar_frames.schema import TABLES
from trackstar_frames.snapshots import spill, writer
from trackstar_frames.snapshots.manifest import MANIFEST_NAME

FAIL = Fault("status", status=403, token=1)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(spill, "_RUN_SIZE", 25)
    monkeypatch.setattr(spill, "_BLOCK_SIZE", 15)
    monkeypatch.setattr(writer, "PART_SIZE", 20)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def assert_same(got, expected):
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(got, name), getattr(expected, name))


def fetch(sandbox, *labels):
    """Fetch the orders of some connections, by default all, as they are now."""
    chosen = {label: sandbox.connections[label] for label in labels or sandbox.connections}
    return tf.fetch_orders(connections=chosen, refresh=True)


def hidden(root):
    return [path.name for path in root.iterdir() if path.name.startswith(".")]


def test_an_export_is_what_a_fetch_gives(serve_connections, root):
    sandbox = serve_connections(odd=0.1)
    snapshot = tf.export_orders(root, connections=sandbox.connections, page_size=15)
    frames = snapshot.read()
    assert_same(frames, fetch(sandbox))
    assert frames.info == snapshot.info == tf.read_snapshot(root).info
    assert not hidden(root)
    assert re.fullmatch(r"20.*Z_customer-0-customer-1-customer-2", snapshot.name)
    assert tf.list_snapshots(root)["connection"].tolist() == ["customer-0, customer-1, customer-2"]


def test_a_snapshot_of_many_has_their_number_in_its_name(serve_connections, root):
    snapshot = tf.export_orders(root, connections=serve_connections(tokens=4, orders=2).connections)
    assert re.fullmatch(r"20.*Z_4-connections", snapshot.name)


@pytest.mark.slow
def test_a_part_is_of_one_connection_and_other_engines_see_which(serve_connections, root):
    sandbox = serve_connections()
    snapshot = tf.export_orders(root, connections=sandbox.connections)
    message = json.loads((snapshot.path / MANIFEST_NAME).read_text())
    for name, files in snapshot.files.items():
        for part, file in zip(message["parts"], files, strict=True):
            labels = set(pq.read_table(file, columns=["connection"])["connection"].to_pylist())
            assert labels <= {part["connection"]}, name
    query = f"select connection, count(*) from '{snapshot.path}/orders/*.parquet' group by all"
    assert sorted(duckdb.sql(query).fetchall()) == [(label, 60) for label in sandbox.connections]
    assert len(pd.read_parquet(snapshot.path / "line_items")) == len(snapshot.read().line_items)


def test_a_connection_without_orders_is_there(serve_connections, root):
    sandbox = serve_connections(orders=0, tokens=2)
    snapshot = tf.export_orders(root, connections=sandbox.connections)
    again = tf.sync_orders(root, connections=sandbox.connections)
    assert list(again.info["connections"]) == list(snapshot.info["connections"])
    assert_same(again.read(), fetch(sandbox))


@pytest.mark.slow
def test_frames_of_several_are_written_and_read(serve_connections, root):
    sandbox = serve_connections(odd=0.1)
    frames = tf.fetch_orders(connections=sandbox.connections, snapshot=root)
    assert_same(tf.read_snapshot(root), frames)
    assert tf.read_snapshot(root).info == frames.info
    frames.to_parquet(root / "out")
    assert_same(tf.OrderFrames.from_parquet(root / "out"), frames)


@pytest.mark.parametrize(
    "begin", ["fetch", *(pytest.param(each, marks=pytest.mark.slow) for each in ("sync", "export"))]
)
def test_a_sync_gives_the_whole_as_it_is_now(serve_connections, root, begin):
    sandbox = serve_connections()
    if begin == "fetch":
        tf.fetch_orders(connections=sandbox.connections, snapshot=root)
    else:
        make = {"export": tf.export_orders, "sync": tf.sync_orders}[begin]
        make(root, connections=sandbox.connections)
    changes = [sandbox.advance(hours=6, token=token) for token in (0, 2)]
    before = len(sandbox.requests)
    snapshot = tf.sync_orders(root, connections=sandbox.connections)
    assert snapshot.info["requests"] == len(sandbox.requests) - before
    assert_same(snapshot.read(), fetch(sandbox))
    new = [snapshot.info["connections"][f"customer-{n}"]["sync"]["new"] for n in range(3)]
    assert new == [len(changes[0].new), 0, len(changes[1].new)]
    assert snapshot.info["sync"]["new"] == sum(new)


@pytest.mark.slow
def test_equal_ids_of_two_connections_are_kept_apart_in_syncs(serve_connections, root, some_orders):
    sandbox = serve_connections(orders=some_orders[:50], tokens=2)
    tf.sync_orders(root, connections=sandbox.connections)
    changed = {**some_orders[3], "status": "cancelled", "trackstar_updated_date": "2099-01-01"}
    sandbox.upsert([changed], token=1)
    orders = tf.sync_orders(root, connections=sandbox.connections).read().orders
    found = orders[orders["id"] == changed["id"]]
    assert found["status"].tolist() == [some_orders[3]["status"], "cancelled"]
    assert len(orders) == 100


@pytest.mark.slow
def test_a_sync_shares_what_has_not_changed(serve_connections, root):
    sandbox = serve_connections()
    first = tf.sync_orders(root, connections=sandbox.connections)
    sandbox.advance(hours=1, token=0)
    second = tf.sync_orders(root, connections=sandbox.connections)
    were = {path.stat().st_ino for files in first.files.values() for path in files}
    for path in second.files["orders"]:
        label = pq.read_table(path, columns=["connection"])["connection"][0].as_py()
        assert label == "customer-0" or path.stat().st_ino in were


@pytest.mark.slow
def test_a_new_connection_is_loaded_and_one_left_out_goes(serve_connections, root):
    sandbox = serve_connections()
    named = sandbox.connections
    tf.sync_orders(
        root, connections={label: named[label] for label in ("customer-0", "customer-1")}
    )
    rest = {label: named[label] for label in ("customer-1", "customer-2")}
    second = tf.sync_orders(root, connections=rest)
    assert_same(second.read(), fetch(sandbox, *rest))
    each = second.info["connections"]
    assert (each["customer-1"]["sync"]["new"], each["customer-2"]["sync"]["new"]) == (0, 60)
    third = tf.sync_orders(root, connections=named)
    assert third.info["sync"]["new"] == 0  # customer-0 goes on from where it was
    assert_same(third.read(), fetch(sandbox))


@pytest.mark.slow
def test_other_filters_fail_before_any_request(serve_connections, root):
    sandbox = serve_connections()
    tf.sync_orders(root, connections=sandbox.connections)
    before = len(sandbox.requests)
    with pytest.raises(tf.SnapshotError, match="are of another request"):
        tf.sync_orders(root, connections=sandbox.connections, type="d2c")
    assert len(sandbox.requests) == before


@pytest.mark.slow
def test_snapshots_of_one_connection_are_separate(serve_connections, root):
    sandbox = serve_connections()
    label = "customer-0"
    tf.sync_orders(root, client=sandbox.client(0, connection=label))
    both = tf.sync_orders(root, connections=sandbox.connections)
    assert both.info["sync"]["new"] == 180
    again = tf.sync_orders(root, client=sandbox.client(0, connection=label))
    assert (again.info["connection"], again.info["sync"]["new"]) == (label, 0)


@pytest.mark.one_of(2)
@pytest.mark.filterwarnings("ignore:.* connections failed when:UserWarning")
@pytest.mark.parametrize("make", [tf.export_orders, tf.sync_orders])
def test_what_is_whole_is_written_though_a_connection_fails(serve_connections, root, make):
    sandbox = serve_connections(Fault("status", status=403, token=1, times=1))
    with pytest.raises(tf.IncompleteFetchError) as caught:
        make(root, connections=sandbox.connections)
    error = caught.value
    assert isinstance(error.failures["customer-1"], tf.AuthError)
    assert error.frames is None
    assert error.snapshot.info["failed"] == {"customer-1": "AuthError (403)"}
    assert error.snapshot.info["complete"] is False
    assert_same(error.snapshot.read(), fetch(sandbox, "customer-0", "customer-2"))
    before = len(sandbox.requests)
    whole = error.resume()
    assert {request.token for request in sandbox.requests[before:]} == {sandbox.access_tokens[1]}
    assert whole.info["complete"] is True
    assert "failed" not in whole.info
    assert_same(whole.read(), fetch(sandbox))
    assert not hidden(root)


@pytest.mark.filterwarnings("ignore:.* connections failed when:UserWarning")
def test_a_sync_keeps_what_there_was_of_a_connection_that_fails(serve_connections, root):
    sandbox = serve_connections(Fault("status", status=401, token=1, nth=2))
    tf.export_orders(root, connections=sandbox.connections)
    was = tf.read_snapshot(root)
    for token in range(3):
        sandbox.advance(hours=3, token=token)
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.sync_orders(root, connections=sandbox.connections)
    orders = caught.value.snapshot.read().orders
    kept = orders[orders["connection"] == "customer-1"].reset_index(drop=True)
    had = was.orders[was.orders["connection"] == "customer-1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, had)
    assert caught.value.snapshot.info["fetched_at"] > was.info["fetched_at"]
    each = caught.value.snapshot.info["connections"]
    assert each["customer-1"] == was.info["connections"]["customer-1"]
    assert_same(tf.sync_orders(root, connections=sandbox.connections).read(), fetch(sandbox))


def test_nothing_is_written_if_all_fail(serve_connections, root):
    sandbox = serve_connections(Fault("status", status=401))
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.export_orders(root, connections=sandbox.connections)
    assert caught.value.snapshot is None
    assert list(root.iterdir()) == []


@pytest.mark.slow
def test_an_export_that_was_killed_continues_from_the_pages_on_disk(serve_connections, root):
    sandbox = serve_connections(Fault("status", status=403, token=2, nth=3))
    with pytest.raises(tf.IncompleteFetchError):
        tf.export_orders(root, connections=sandbox.connections, page_size=20)
    before = len(sandbox.requests)
    whole = tf.export_orders(root, connections=sandbox.connections, page_size=20)
    asked = [request.token for request in sandbox.requests[before:]]
    assert asked.count(sandbox.access_tokens[2]) < asked.count(sandbox.access_tokens[0])
    assert_same(whole.read(), fetch(sandbox))


@pytest.mark.one_of(2)
@pytest.mark.parametrize(("limit", "counts"), [(50, [50]), (150, [60, 60, 30])])
def test_a_limit_is_one_for_all(serve_connections, root, limit, counts):
    sandbox = serve_connections()
    snapshot = tf.export_orders(root, connections=sandbox.connections, limit=limit)
    found = snapshot.read().orders["connection"].value_counts().sort_index()
    assert found.tolist() == counts
    assert snapshot.info["limit"] == limit


@pytest.mark.slow
def test_a_limit_that_broke_continues_from_there(serve_connections, root):
    sandbox = serve_connections(Fault("status", status=403, token=1, times=1))
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.export_orders(root, connections=sandbox.connections, limit=150)
    whole = caught.value.resume()
    found = whole.read().orders["connection"].value_counts().sort_index()
    assert found.tolist() == [60, 60, 30]
    assert whole.info["limit"] == 150


def test_no_token_is_in_a_snapshot(serve_connections, root):
    sandbox = serve_connections()
    snapshot = tf.export_orders(root, connections=sandbox.connections)
    secrets = [each.encode() for each in (sandbox.api_key, *sandbox.access_tokens)]
    for path in snapshot.path.rglob("*"):
        held = path.read_bytes() if path.is_file() else b""
        assert not any(secret in held for secret in secrets)
