"""Parquet: whole or not at all, for every reader, private, and never trusted blindly."""

import json
import os
import re
import stat
import subprocess
import sys
import time
from datetime import date
from hashlib import sha256

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

import trackstar_frames as tf
from trackstar_frames import OrderFrames, SnapshotError
from trackstar_frames.sandbox import Sandbox
from trackstar_frames.schema import SCHEMA_VERSION, TABLES
from trackstar_frames.snapshots import writer
from trackstar_frames.snapshots.manifest import MANIFEST_NAME


@pytest.fixture(scope="module")
def frames():
    with Sandbox(orders=300, rate_limit=None, odd=0.2) as sandbox:
        return tf.fetch_orders(
            client=sandbox.client(cache=False, connection="acme / eu"), type__neq="transfer"
        )


def at(frames, moment, **more):
    return OrderFrames(frames.to_arrow(), {**frames.info, "fetched_at": moment, **more})


def assert_same(left, right):
    assert left.info == right.info
    for name, table in left.to_arrow().items():
        assert table.equals(right.to_arrow()[name])
        pd.testing.assert_frame_equal(getattr(left, name), getattr(right, name))


def test_what_is_read_is_what_was_written(frames, tmp_path):
    frames.to_parquet(tmp_path / "out")
    assert_same(frames, OrderFrames.from_parquet(tmp_path / "out"))


@pytest.mark.parametrize("given", [[], [{"id": "a"}], [{"id": "a", "tags": []}, {"tags": 3}]])
def test_empty_and_null_tables_come_back_with_their_types(given, tmp_path):
    frames = OrderFrames.from_json(given)
    frames.to_parquet(tmp_path / "out")
    assert_same(frames, OrderFrames.from_parquet(tmp_path / "out"))


def test_every_footer_shows_where_the_rows_come_from(frames, tmp_path):
    snapshot = tf.write_snapshot(frames, tmp_path)
    assert sorted(snapshot.files) == sorted(TABLES)
    for files in snapshot.files.values():
        footer = json.loads(pq.read_schema(files[0]).metadata[b"trackstar_frames"])
        assert footer["schema_version"] == SCHEMA_VERSION
        assert footer["info"]["filters"] == {"type__neq": "transfer"}
        assert footer["info"]["connection"] == "acme / eu"
        assert footer["info"]["fetched_at"] == frames.info["fetched_at"]


def test_the_manifest_shows_what_the_folder_holds(frames, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "PART_SIZE", 70)
    snapshot = tf.write_snapshot(frames, tmp_path)
    manifest = json.loads((snapshot.path / MANIFEST_NAME).read_text())
    assert manifest["schema_version"] == SCHEMA_VERSION
    assert manifest["info"] == frames.info
    assert len(manifest["parts"]) == len(snapshot.files["orders"]) == -(-len(frames.orders) // 70)
    for name, files in snapshot.files.items():
        for part, file in zip(manifest["parts"], files, strict=True):
            assert part["files"][name]["rows"] == pq.read_metadata(file).num_rows
            assert part["files"][name]["bytes"] == file.stat().st_size
            assert part["files"][name]["sha256"] == sha256(file.read_bytes()).hexdigest()
    assert tf.list_snapshots(tmp_path)["bytes"][0] == sum(
        file.stat().st_size for files in snapshot.files.values() for file in files
    )


@pytest.mark.one_of(2)
@pytest.mark.parametrize("fewer", [-1, 0, 1, 250])
def test_parts_of_any_size_are_read_as_one(frames, tmp_path, monkeypatch, fewer):
    monkeypatch.setattr(writer, "PART_SIZE", len(frames.orders) - fewer)
    assert_same(frames, tf.write_snapshot(frames, tmp_path).read())


def test_no_credential_is_in_a_snapshot(tmp_path):
    with Sandbox(orders=20) as sandbox:
        secrets = [sandbox.api_key.encode(), sandbox.access_token.encode()]
        tf.fetch_orders(client=sandbox.client(cache=False), snapshot=tmp_path)
    for file in tmp_path.rglob("*.parquet"):
        cells = json.dumps(pq.read_table(file).to_pylist(), default=str).encode()
        for secret in secrets:
            assert secret not in file.read_bytes()
            assert secret not in cells


def test_others_read_it_without_this_package(frames, tmp_path):
    path = tf.write_snapshot(frames, tmp_path).path
    expected = frames.orders["id"].tolist()
    assert pd.read_parquet(path / "orders")["id"].tolist() == expected
    assert pl.read_parquet(path / "orders/*.parquet")["id"].to_list() == expected
    query = f"select id, epoch_us(created_date) from '{path}/orders/*.parquet'"
    rows = duckdb.sql(query).fetchall()
    assert [row[0] for row in rows] == expected
    assert rows[0][1] == frames.orders["created_date"][0].value // 1000


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_it_is_readable_by_its_owner_only(frames, tmp_path):
    path = tf.write_snapshot(frames, tmp_path / "root").path
    for each in [path, *path.rglob("*")]:
        assert stat.S_IMODE(each.stat().st_mode) == (0o700 if each.is_dir() else 0o600)


def test_snapshots_are_listed_oldest_first(frames, tmp_path):
    for moment in ("2026-03-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00"):
        tf.write_snapshot(at(frames, moment), tmp_path)
    found = tf.list_snapshots(tmp_path)
    assert found["as_of"].dt.month.tolist() == [1, 3]
    assert found["orders"].tolist() == [len(frames.orders)] * 2
    assert found["connection"].tolist() == ["acme / eu"] * 2
    assert (found["bytes"] > 0).all()
    assert found["name"].tolist() == [
        "2026-01-01T000000.000000Z_acme-eu",
        "2026-03-01T000000.000000Z_acme-eu",
    ]


def test_no_snapshots_are_an_empty_list_with_its_types(frames, tmp_path):
    empty = tf.list_snapshots(tmp_path / "nowhere")
    tf.write_snapshot(frames, tmp_path)
    assert empty.dtypes.equals(tf.list_snapshots(tmp_path).dtypes)
    assert len(empty) == 0


@pytest.mark.one_of(2)
@pytest.mark.parametrize(
    ("version", "month"),
    [
        ("latest", 3),
        ("2026-02-01T235959.500000Z", 2),
        ("2026-02-15", 2),
        ("2026-02-01", 2),
        (date(2026, 2, 1), 2),
        (np.datetime64("2026-02-01"), 2),
        ("2026-01-31", 1),
        ("2026-02-01T23:59:59.5Z", 2),
        ("2026-02-02T01:00:00+02:00", 1),
        (pd.Timestamp("2026-01-31"), 1),
        (pd.Timestamp("2030-01-01", tz="Asia/Tokyo"), 3),
    ],
)
def test_a_snapshot_is_found_by_name_or_time(frames, tmp_path, version, month):
    for number in (1, 2, 3):
        moment = f"2026-0{number}-01T23:59:59.500000+00:00"
        tf.write_snapshot(at(frames, moment, connection=None), tmp_path)
    found = tf.read_snapshot(tmp_path, version).info["fetched_at"]
    assert found == f"2026-0{month}-01T23:59:59.500000+00:00"


@pytest.mark.parametrize(("version", "month"), [(-1, 1), (-2, 3), (np.int64(-3), 2)])
def test_a_snapshot_is_found_by_its_number_from_the_newest(frames, tmp_path, version, month):
    for number in (2, 3, 1):  # the one that was written last is the newest
        tf.write_snapshot(at(frames, f"2026-0{number}-01T00:00:00+00:00"), tmp_path)
    found = tf.read_snapshot(tmp_path, version)
    assert found.info["fetched_at"] == f"2026-0{month}-01T00:00:00+00:00"
    assert tf.read_snapshot_dask(tmp_path, version).info == found.info


@pytest.mark.parametrize("version", [0, 1, 2, -3, 10**30, -(10**30), np.int64(0)])
def test_a_number_that_is_not_there_is_an_error(frames, tmp_path, version):
    for _ in range(2):
        snapshot = tf.write_snapshot(frames, tmp_path)
    message = rf"version={version}: .*-1 is {re.escape(snapshot.name)}, and -2 the oldest of the 2"
    for read in (tf.read_snapshot, tf.read_snapshot_dask):
        with pytest.raises(SnapshotError, match=message):
            read(tmp_path, version)


def test_a_number_beside_the_only_snapshot_is_an_error(frames, tmp_path):
    snapshot = tf.write_snapshot(frames, tmp_path)
    with pytest.raises(SnapshotError, match=rf"-1 is {re.escape(snapshot.name)}, the only one$"):
        tf.read_snapshot(tmp_path, 0)


def test_two_snapshots_of_one_moment_have_two_names(frames, tmp_path):
    names = [tf.write_snapshot(frames, tmp_path).name for _ in range(3)]
    assert len(set(names)) == 3


def test_frames_without_a_moment_are_named_after_now(tmp_path):
    tf.write_snapshot(OrderFrames.from_json({"id": "a"}), tmp_path)
    age = pd.Timestamp.now("UTC") - tf.list_snapshots(tmp_path)["as_of"][0]
    assert age < pd.Timedelta(minutes=5)


@pytest.mark.parametrize(
    "version",
    [
        *("2025-01-01", "no-such-name", None, True, -1.0, 5.5, []),
        pd.NaT,
        "03/04/2026",
        "10:00",
        "2026",
    ],
)
def test_a_snapshot_that_is_not_there_is_an_error(frames, tmp_path, version):
    tf.write_snapshot(at(frames, "2026-01-01T00:00:00+00:00"), tmp_path)
    with pytest.raises(SnapshotError, match="2026-01-01"):
        tf.read_snapshot(tmp_path, version)


def test_the_users_home_can_be_written_as_a_tilde(frames, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert tf.write_snapshot(frames, "~/kept").path.parent == tmp_path / "kept"
    assert len(tf.list_snapshots("~/kept")) == 1
    frames.to_parquet("~/out")
    assert_same(frames, OrderFrames.from_parquet("~/out"))


def test_an_empty_root_is_an_error(tmp_path):
    with pytest.raises(SnapshotError, match="no snapshots under"):
        tf.read_snapshot(tmp_path)


def test_a_part_of_a_fetch_is_no_snapshot(frames, tmp_path):
    with pytest.raises(SnapshotError, match="resume"):
        tf.write_snapshot(at(frames, None, complete=False), tmp_path)


@pytest.mark.parametrize("table", ["orders", "packages"])
def test_a_damaged_file_is_named(frames, tmp_path, table):
    snapshot = tf.write_snapshot(frames, tmp_path)
    file = snapshot.files[table][0]
    body = bytearray(file.read_bytes())
    body[len(body) // 8] ^= 0xFF
    file.write_bytes(bytes(body))
    with pytest.raises(SnapshotError, match=table):
        snapshot.read()


def test_a_missing_table_and_a_missing_row_are_damage(frames, tmp_path):
    snapshot = tf.write_snapshot(frames, tmp_path)
    file = snapshot.files["line_items"][0]
    whole = pq.read_table(file)
    pq.write_table(whole.slice(1), file)
    with pytest.raises(SnapshotError, match=r"line_items.*is damaged: it is not what was written"):
        snapshot.read()
    change_manifest(snapshot.path, lambda files: files["line_items"].update(sha256=""))
    with pytest.raises(SnapshotError, match=r"line_items.*is damaged: it holds .* rows, not"):
        snapshot.read()
    file.unlink()
    with pytest.raises(SnapshotError, match="line_items"):
        snapshot.read()


def change_manifest(folder, change):
    """Change what a folder says of the files of its first part."""
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    change(manifest["parts"][0]["files"])
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))


def test_a_missing_or_cut_manifest_is_damage(frames, tmp_path):
    snapshot = tf.write_snapshot(frames, tmp_path)
    read_manifest = snapshot.path / MANIFEST_NAME
    body = read_manifest.read_bytes()
    for left in (b"", b"{}", b"null", body[: len(body) // 2], body[:-3], b"\xff" + body):
        read_manifest.write_bytes(left)
        with pytest.raises(SnapshotError, match=f"{snapshot.name} is not a snapshot.*or is damag"):
            snapshot.read()
        assert tf.list_snapshots(tmp_path).empty
    read_manifest.unlink()
    with pytest.raises(SnapshotError, match=f"{snapshot.name} is not a snapshot.*or is damaged"):
        snapshot.read()
    read_manifest.write_bytes(body)
    assert_same(snapshot.read(), frames)


def test_a_newer_schema_is_reported(frames, tmp_path):
    snapshot = tf.write_snapshot(frames, tmp_path)
    newer = {"schema_version": SCHEMA_VERSION + 1, "layout": "another"}
    (snapshot.path / MANIFEST_NAME).write_text(json.dumps(newer))
    with pytest.raises(SnapshotError, match="update trackstar_frames"):
        snapshot.read()


def test_a_newer_schema_is_reported_by_a_footer_too(frames, tmp_path):
    snapshot = tf.write_snapshot(frames, tmp_path)
    (snapshot.path / MANIFEST_NAME).unlink()
    file = snapshot.files["orders"][0]
    footer = json.dumps({"schema_version": SCHEMA_VERSION + 1})
    pq.write_table(pq.read_table(file).replace_schema_metadata({"trackstar_frames": footer}), file)
    with pytest.raises(SnapshotError, match="update trackstar_frames"):
        snapshot.read()


def test_foreign_and_half_written_folders_are_skipped(frames, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "readme.txt").write_text("mine")
    half = tmp_path / ".2026.partial" / "orders"
    half.mkdir(parents=True)
    (tmp_path / "other" / "orders").mkdir(parents=True)
    frames.orders[["id"]].to_parquet(tmp_path / "other" / "orders" / "x.parquet")
    snapshot = tf.write_snapshot(frames, tmp_path)
    assert tf.list_snapshots(tmp_path)["name"].tolist() == [snapshot.name]


def test_an_earlier_folder_of_ours_is_replaced_and_a_foreign_one_is_not(frames, tmp_path):
    path = tmp_path / "out"
    path.mkdir()
    OrderFrames.from_json({"id": "a"}).to_parquet(path)
    frames.to_parquet(path)
    assert_same(frames, OrderFrames.from_parquet(path))
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    with pytest.raises(SnapshotError, match="foreign"):
        frames.to_parquet(foreign)
    assert (foreign / "thesis.txt").read_text() == "years of work"


def test_a_disk_that_refuses_leaves_nothing_behind(frames, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(SnapshotError, match="cannot write"):
        tf.write_snapshot(frames, blocked / "root")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


FULL_DISK = """
import resource, signal, sys
import trackstar_frames as tf
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
frames = tf.OrderFrames.from_json([{"id": str(i)} for i in range(1000)])
tf.write_snapshot(frames, sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    tf.write_snapshot(frames, sys.argv[1])
except tf.SnapshotError as error:
    print("SnapshotError")
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX resource limits")
def test_a_full_disk_spoils_no_earlier_snapshot(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "SnapshotError\n"
    assert len(list(tmp_path.iterdir())) == 1
    assert len(tf.read_snapshot(tmp_path).orders) == 1000


ENDLESS_WRITER = """
import sys
import time
import trackstar_frames as tf
frames = tf.OrderFrames.from_json([{"id": str(i), "line_items": [{}]} for i in range(3000)])
tf.write_snapshot(frames, sys.argv[1])
print("written", flush=True)
while True:
    tf.write_snapshot(frames, sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", range(0, 300, 25))
def test_a_killed_writer_leaves_only_whole_snapshots(milliseconds, tmp_path):
    command = [sys.executable, "-c", ENDLESS_WRITER, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "written\n"
        time.sleep(milliseconds / 1000)
        writer.kill()
    names = tf.list_snapshots(tmp_path)["name"]
    assert len(names) > 0
    for name in names.tail(3):  # the others were done with before
        assert len(tf.read_snapshot(tmp_path, name).line_items) == 3000
