"""Snapshots that older versions of the package wrote are read as before."""

import json
import shutil
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

import trackstar_frames as tf
from trackstar_frames import OrderFrames, SnapshotError
from trackstar_frames.schema import SCHEMA_VERSION, TABLES

SCHEMA_1 = Path(__file__).parent.parent / "data" / "schema1"


@pytest.fixture
def older(tmp_path):
    """A root with one snapshot that the first schema's package wrote."""
    return shutil.copytree(SCHEMA_1, tmp_path / "root")


def test_a_snapshot_of_the_first_schema_is_read(older):
    orders = json.loads((older / "orders.json").read_text())
    found = tf.list_snapshots(older)
    assert found["orders"].tolist() == [len(orders)]
    assert found["schema_version"].tolist() == [1]
    assert found["connection"].tolist() == ["acme"]
    assert (found["as_of"] <= found["written_at"]).all()
    assert found["bytes"][0] == sum(file.stat().st_size for file in older.rglob("*.parquet"))
    frames = tf.read_snapshot(older)
    expected = OrderFrames.from_json(msgspec.json.encode({"data": orders, "next_token": None}))
    assert frames.info["fetched_at"].startswith(found["name"][0][:10])
    for name, table in frames.to_arrow().items():
        assert table.equals(expected.to_arrow()[name])


def test_columns_that_an_older_schema_did_not_have_are_null(older):
    removed = {"orders": "trackstar_updated_date", "packages": "tracking_number"}
    whole = tf.read_snapshot(older).to_arrow()
    for name, column in removed.items():
        (file,) = older.glob(f"*/{name}/*.parquet")
        pq.write_table(pq.read_table(file).drop_columns(column), file)
    for name, table in tf.read_snapshot(older).to_arrow().items():
        assert table.schema == TABLES[name].schema
        if name in removed:
            assert table[removed[name]].null_count == len(table)
            assert table.drop_columns(removed[name]).equals(whole[name].drop_columns(removed[name]))
        else:
            assert table.equals(whole[name])


def test_damage_of_a_snapshot_of_the_first_schema_is_told(older):
    (file,) = older.glob("*/shipments/*.parquet")
    pq.write_table(pq.read_table(file)[1:], file)
    with pytest.raises(SnapshotError, match=r"shipments.*is damaged: it holds 9 rows, not 10"):
        tf.read_snapshot(older)
    file.unlink()
    with pytest.raises(SnapshotError, match="no snapshots under"):
        tf.read_snapshot(older)


def test_a_snapshot_of_the_first_schema_is_replaced_by_one_of_this(older):
    frames = OrderFrames.from_json({"id": "a"})
    (path,) = (each.parent for each in older.glob("*/orders"))
    frames.to_parquet(path)
    assert OrderFrames.from_parquet(path).orders["id"].tolist() == ["a"]
    assert tf.list_snapshots(older)["schema_version"].tolist() == [SCHEMA_VERSION]
