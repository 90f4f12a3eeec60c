"""Disks that know less than others: no modes, no links, no locks, no flushing of folders."""

import errno
import os
from pathlib import Path

import pytest
from helpers.marks import sample

import trackstar_frames as tf
from trackstar_frames import OrderFrames
from trackstar_frames.snapshots import reader
from trackstar_frames.storage import local

fcntl = pytest.importorskip("fcntl", reason="POSIX locks")

ORDERS = [{"id": f"o{n}", "line_items": [{"sku": "X"}]} for n in range(5)]


@pytest.fixture
def shop(serve):
    return serve(orders=30).client(rate_limit=None, cache=False)


def refuse(error):
    def raise_it(*_, **__):
        raise error

    return raise_it


def os_error(code):
    return OSError(code, os.strerror(code))


def only_folders(real, error):
    """Refuse to flush folders, as FAT and FUSE do."""

    def fsync(handle):
        if Path(f"/proc/self/fd/{handle}").is_dir():
            raise error
        real(handle)

    return fsync


MODES = [PermissionError(errno.EPERM, "no"), NotImplementedError("no"), os_error(errno.ENOTSUP)]
LINKS = [*MODES, os_error(errno.EXDEV), os_error(errno.EMLINK)]
LOCKS = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL]
FLUSHES = [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EPERM]
ODD = [
    *(("chmod", each) for each in MODES),
    *(("link", each) for each in LINKS),
    *(("flock", os_error(each)) for each in LOCKS),
    *(("fsync", os_error(each)) for each in FLUSHES),
]


def make_odd(monkeypatch, what, error):
    if what == "chmod":
        for name in ("chmod", "fchmod"):
            monkeypatch.setattr(os, name, refuse(error))
    elif what == "link":
        monkeypatch.setattr(os, "link", refuse(error))
    elif what == "flock":
        monkeypatch.setattr(fcntl, "flock", refuse(error))
    else:
        monkeypatch.setattr(os, "fsync", only_folders(os.fsync, error))


def hidden(root):
    return sorted(each.name for each in root.iterdir() if each.name.startswith("."))


@pytest.mark.one_of(4)
@pytest.mark.parametrize(("what", "error"), sample(ODD, 3), ids=repr)
def test_all_is_written_and_read_and_removed(shop, tmp_path, monkeypatch, what, error):
    make_odd(monkeypatch, what, error)
    root = tmp_path / "root"
    for _ in range(2):
        snapshot = tf.sync_orders(root, client=shop)
    assert len(snapshot.read().orders) == 30
    tf.write_snapshot(OrderFrames.from_json(ORDERS), root)
    for _ in range(2):
        OrderFrames.from_json(ORDERS).to_parquet(tmp_path / "out")
    assert len(OrderFrames.from_parquet(tmp_path / "out").line_items) == 5
    tf.prune_snapshots(root, keep_last=1, keep_daily=0, keep_weekly=0, keep_monthly=0)
    assert len(tf.list_snapshots(root)) == 1
    assert hidden(root) == []


def test_without_locks_no_writer_is_taken_for_dead(tmp_path, monkeypatch):
    make_odd(monkeypatch, "flock", os_error(errno.ENOLCK))
    with local.partial_folder(tmp_path / "out") as folder:
        tf.write_snapshot(OrderFrames.from_json(ORDERS), tmp_path)
        assert folder.is_dir()
    assert hidden(tmp_path) == []


@pytest.mark.parametrize(("what", "code"), [("fsync", errno.EIO), ("flock", errno.EIO)])
def test_a_disk_that_is_broken_is_an_error(tmp_path, monkeypatch, what, code):
    make_odd(monkeypatch, what, os_error(code))
    with pytest.raises(tf.SnapshotError, match="cannot write"):
        tf.write_snapshot(OrderFrames.from_json(ORDERS), tmp_path)
    assert tf.list_snapshots(tmp_path).empty


def test_waiting_for_a_lock_ends_in_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "_LOCK_TIMEOUT", 0.05)
    with (
        local.lock(tmp_path / "snapshot"),
        pytest.raises(tf.SnapshotError, match=r"cannot write.*snapshot\.lock"),
    ):
        tf.write_snapshot(OrderFrames.from_json(ORDERS), tmp_path)
    assert tf.list_snapshots(tmp_path).empty


# --- Removed meanwhile


def write(root, orders=ORDERS):
    return tf.write_snapshot(OrderFrames.from_json(orders), root)


def test_what_somebody_else_has_removed_is_removed(tmp_path, monkeypatch):
    for _ in range(3):
        write(tmp_path)
    listed = tf.list_snapshots(tmp_path)["name"].tolist()
    real, rule = (
        local.delete,
        {"keep_last": 1, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0},
    )

    def after_another(target):
        real(target)
        real(target)

    monkeypatch.setattr("trackstar_frames.storage.delete", after_another)
    assert tf.prune_snapshots(tmp_path, **rule)["kept_by"].isna().sum() == 2
    assert tf.list_snapshots(tmp_path)["name"].tolist() == listed[-1:]
    assert hidden(tmp_path) == []


def test_a_folder_that_cannot_be_removed_now_is_removed_later(tmp_path, monkeypatch):
    snapshot = write(tmp_path)
    with monkeypatch.context() as busy:  # as NFS does while a reader has a file of it open
        busy.setattr("shutil.rmtree", lambda *_, **__: None)
        local.delete(snapshot.path)
    assert len(hidden(tmp_path)) == 1
    last = write(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [last.name]


READS = {
    "read": lambda _, snapshot: snapshot.read(),
    "read_snapshot": lambda root, snapshot: tf.read_snapshot(root, snapshot.name),
    "history": lambda root, _: tf.order_history(root, "o1"),
    "diff": lambda _, snapshot: tf.diff_snapshots(snapshot, snapshot.path),
    "transitions": lambda _, snapshot: tf.status_transitions(snapshot, snapshot),
    "changes": lambda _, snapshot: tf.due_date_changes(snapshot, snapshot),
}


@pytest.mark.parametrize("read", READS)
def test_a_reader_of_a_removed_snapshot_gets_an_error(tmp_path, monkeypatch, read):
    snapshot = write(tmp_path)
    real_read, real_open = Path.read_bytes, reader.table_for

    def goes(work):
        def done(*given, **options):
            if snapshot.path.is_dir() and given[0] != snapshot.path / "_trackstar_frames.json":
                local.delete(snapshot.path)
            return work(*given, **options)

        return done

    monkeypatch.setattr(Path, "read_bytes", goes(real_read))
    monkeypatch.setattr(reader, "table_for", goes(real_open))
    with pytest.raises(tf.SnapshotError, match="was removed") as caught:
        READS[read](tmp_path, snapshot)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("read", ["read", "diff", "transitions", "changes"])
def test_a_snapshot_removed_before_is_an_error_too(tmp_path, read):
    snapshot = write(tmp_path)
    write(tmp_path)
    local.delete(snapshot.path)
    with pytest.raises(tf.SnapshotError, match="was removed"):
        READS[read](tmp_path, snapshot)


def test_a_sync_reports_that_its_base_was_removed_and_continues(shop, tmp_path, monkeypatch):
    base = tf.sync_orders(tmp_path, client=shop)
    real = tf.sync.Upsert.write

    def after_a_prune(upsert, writer):
        local.delete(base.path)
        return real(upsert, writer)

    with monkeypatch.context() as pruned:
        pruned.setattr(tf.sync.Upsert, "write", after_a_prune)
        with pytest.raises(tf.SnapshotError, match="was removed while it was read"):
            tf.sync_orders(tmp_path, client=shop)
    assert len(tf.sync_orders(tmp_path, client=shop).read().orders) == 30


def test_what_was_replaced_meanwhile_is_reported(tmp_path, monkeypatch):
    path = tmp_path / "out"
    OrderFrames.from_json(ORDERS).to_parquet(path)
    real = Path.read_bytes

    def after_a_write(file):
        if file.suffix == ".parquet":
            monkeypatch.setattr(Path, "read_bytes", real)
            OrderFrames.from_json(ORDERS[1:]).to_parquet(path)
        return real(file)

    monkeypatch.setattr(Path, "read_bytes", after_a_write)
    with pytest.raises(tf.SnapshotError, match="was replaced while it was read"):
        OrderFrames.from_parquet(path)
