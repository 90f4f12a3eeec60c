"""Snapshots follow one another as they were written, whatever the clocks were."""

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from helpers.marks import slow

import trackstar_frames as tf
from trackstar_frames import OrderFrames
from trackstar_frames.snapshots.manifest import MANIFEST_NAME, read_manifest

ONE = {"keep_last": 1, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}
STATUSES = ["open", "confirmed", "picked", "packed", "fulfilled"]


@pytest.fixture
def clock(monkeypatch):
    """Set this process's clock ahead by some hours, or back."""
    real = time.time

    def ahead(hours):
        monkeypatch.setattr(time, "time", lambda: real() + 3600 * hours)

    return ahead


def write(root, status, connection=None):
    """Write a snapshot as of now, by the clock there is."""
    now = datetime.fromtimestamp(time.time(), UTC).isoformat()
    frames = OrderFrames.from_json({"id": "a", "status": status})
    info = {**frames.info, "started_at": now, "fetched_at": now, "connection": connection}
    return tf.write_snapshot(OrderFrames(frames.to_arrow(), info), root)


def without_sequence(snapshot):
    """Make a snapshot one of an older version."""
    manifest = json.loads((snapshot.path / MANIFEST_NAME).read_text())
    del manifest["sequence"]
    (snapshot.path / MANIFEST_NAME).write_text(json.dumps(manifest))


def latest(root):
    return tf.read_snapshot(root).orders["status"][0]


@pytest.mark.one_of(3)
@pytest.mark.parametrize("hours", [[0, 24, 0, 1, 2], [0, -24, -48, 9, -1], [1e6, 0, -1e5, 0, 1]])
def test_the_latest_is_that_which_was_written_last(tmp_path, clock, hours):
    for status, ahead in zip(STATUSES, hours, strict=True):
        clock(ahead)
        snapshot = write(tmp_path, status)
        assert latest(tmp_path) == status
        found = tf.prune_snapshots(
            tmp_path, keep_last=3, keep_daily=0, keep_weekly=0, keep_monthly=0
        )
        assert found.set_index("name")["kept_by"][snapshot.name] == "last"
    tf.prune_snapshots(tmp_path, **ONE)
    assert tf.list_snapshots(tmp_path)["name"].tolist() == [snapshot.name]


@pytest.mark.parametrize("hours", [[0, 24, 0, 1, 2], [0, -24, -48, 9, -1]])
def test_the_history_of_an_order_is_as_it_happened(tmp_path, clock, hours):
    for status, ahead in zip(STATUSES, hours, strict=True):
        clock(ahead)
        write(tmp_path, status)
    assert tf.order_history(tmp_path, "a")["new"].dropna().tolist() == STATUSES[1:]


def test_a_time_is_looked_for_by_time(tmp_path, clock):
    for status, ahead in zip(STATUSES, [0, 24, 1, 2, 3], strict=True):
        clock(ahead)
        write(tmp_path, status)
    now = datetime.now(UTC)
    for hours, status in ((0.5, "open"), (1.5, "picked"), (20, "fulfilled"), (30, "fulfilled")):
        moment = now + timedelta(hours=hours)
        assert tf.read_snapshot(tmp_path, moment).orders["status"][0] == status
    with pytest.raises(tf.SnapshotError, match="the first is of"):
        tf.read_snapshot(tmp_path, now - timedelta(days=1))


def test_those_of_older_versions_come_first_by_time(tmp_path, clock):
    for status, ahead in zip(STATUSES[:3], [2, 48, 1], strict=True):
        clock(ahead)
        without_sequence(write(tmp_path, status))
    assert latest(tmp_path) == "confirmed"
    clock(0)
    write(tmp_path, "packed")
    assert latest(tmp_path) == "packed"
    tf.prune_snapshots(tmp_path, **ONE | {"keep_last": 2})
    assert latest(tmp_path) == "packed"
    assert len(tf.list_snapshots(tmp_path)) == 2


def test_numbers_rise_and_are_not_given_twice(tmp_path):
    frames = OrderFrames.from_json({"id": "a"})
    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(tf.write_snapshot, frames, tmp_path) for _ in range(12)]:
            each.result()
    folders = [each for each in tmp_path.iterdir() if not each.name.startswith(".")]
    assert sorted(read_manifest(each).sequence for each in folders) == list(range(1, 13))
    assert len(folders) == len(list(tmp_path.iterdir()))


def test_a_folder_of_its_own_has_no_number(tmp_path):
    OrderFrames.from_json({"id": "a"}).to_parquet(tmp_path / "out")
    assert read_manifest(tmp_path / "out").sequence is None


def test_a_damaged_latest_does_not_stop_the_next(tmp_path):
    write(tmp_path, "open")
    (write(tmp_path, "picked").path / MANIFEST_NAME).write_text("{}")
    write(tmp_path, "packed")
    assert latest(tmp_path) == "packed"


def test_the_number_continues_after_the_latest_was_removed(tmp_path):
    write(tmp_path, "open")
    shutil.rmtree(write(tmp_path, "picked").path)
    write(tmp_path, "packed")
    assert latest(tmp_path) == "packed"


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [slow(24), -24, slow(1e5)])
def test_a_sync_continues_from_what_was_written_last(serve, tmp_path, clock, ahead):
    sandbox = serve(orders=20)
    client = sandbox.client(rate_limit=None, cache=False, connection="acme")
    last = None
    for hours in (0, ahead, 0, 0, ahead, 0):
        clock(hours)
        order = dict(sandbox.orders[int(hours != 0)])
        stamp = datetime.now(UTC).isoformat()
        order |= {"updated_date": stamp, "trackstar_updated_date": stamp, "order_number": stamp}
        sandbox.upsert([order])
        snapshot = tf.sync_orders(tmp_path, client=client)
        assert snapshot.info["sync"]["base"] == last
        last = snapshot.name
        held = tf.read_snapshot(tmp_path).orders.set_index("id")["order_number"]
        assert held[order["id"]] == stamp
