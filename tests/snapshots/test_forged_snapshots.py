"""Snapshots that mean harm: forged manifests, forged Parquet, links in place of folders."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.snapshots import edit_manifest

import trackstar_frames as tf
from trackstar_frames.storage.local import _sweep

MANIFEST = "_trackstar_frames.json"


@pytest.fixture
def forge():
    """Replace a file of a snapshot, and have the manifest vouch for it."""

    def forge(snapshot, table, body):
        (snapshot.path / table / "part-00000.parquet").write_bytes(body)
        rows = pq.read_metadata(pa.BufferReader(body)).num_rows
        known = {"rows": rows, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        edit_manifest(
            snapshot, lambda manifest: manifest["parts"][0]["files"].update({table: known})
        )

    return forge


ODD = {
    "no info": lambda manifest: manifest["info"].clear(),
    "an info without filters": lambda manifest: manifest["info"].pop("filters"),
    "no moment": lambda manifest: manifest["info"].update(fetched_at="\x1b[2J"),
    "a number for a moment": lambda manifest: manifest["info"].update(fetched_at=5),
    "never written": lambda manifest: manifest.update(written_at="never"),
    "a list of labels": lambda manifest: manifest["info"].update(connections=["acme"]),
    "a list for a label": lambda manifest: manifest["info"].update(connection=["acme"]),
    "labels that tell nothing": lambda manifest: manifest["info"].update(connections={"acme": {}}),
    "failures without a reason": lambda manifest: manifest["info"].update(failed=["acme"]),
    "parts of others": lambda manifest: manifest["parts"][0].update(connection="acme"),
    "no parts": lambda manifest: manifest["parts"].clear(),
    "no orders": lambda manifest: manifest["parts"][0]["files"].pop("orders"),
    "fewer than no rows": lambda manifest: manifest["parts"][0]["files"]["orders"].update(rows=-1),
    "more rows than there can be": lambda s: s["parts"][0]["files"]["orders"].update(rows=2**70),
    "a schema before the first": lambda manifest: manifest.update(schema_version=-1),
}


@pytest.mark.one_of(3)
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_manifest_is_an_error_and_affects_no_other(snapshot, odd):
    other = tf.write_snapshot(snapshot.read(), snapshot.path.parent)
    edit_manifest(snapshot, ODD[odd])
    with pytest.raises(tf.SnapshotError):
        snapshot.read()
    assert tf.list_snapshots(snapshot.path.parent)["name"].tolist() == [other.name]
    assert len(tf.order_history(snapshot.path.parent, "a1")) == 1


def test_a_manifest_that_is_nested_too_deeply_is_an_error(snapshot):
    deep = "[" * 100_000 + "]" * 100_000
    nested = (
        f'{{"schema_version": 2, "written_at": "2026-01-01", "parts": [], "info": {{"a": {deep}}}}}'
    )
    (snapshot.path / MANIFEST).write_text(nested)
    with pytest.raises(tf.SnapshotError):
        snapshot.read()
    assert tf.list_snapshots(snapshot.path.parent).empty


def test_a_manifest_names_no_file_elsewhere(snapshot, tmp_path):
    stranger = tmp_path / "stranger" / "part-00000.parquet"
    stranger.parent.mkdir()
    stranger.write_bytes(b"no Parquet")
    known = {"rows": 1, "bytes": 10, "sha256": ""}
    names = {"../../stranger": known, str(stranger.parent): known}
    edit_manifest(snapshot, lambda manifest: manifest["parts"][0]["files"].update(names))
    assert len(snapshot.read().orders) == 2


class Pickled(pa.ExtensionType):
    """What pyarrow before 14.0.1 unpickled as it read it."""

    def __init__(self):
        super().__init__(pa.string(), "arrow.py_extension_type")

    def __arrow_ext_serialize__(self):
        return b"cos\n_exit\n(I3\ntR."  # ends the process

    @classmethod
    def __arrow_ext_deserialize__(cls, storage, serialized):
        return cls()


def packed(table):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.filterwarnings("ignore:pickle-based deserialization")  # older Arrow says so
def test_a_forged_file_runs_no_code(snapshot, forge):
    orders = pq.read_table(snapshot.files["orders"])
    index = orders.schema.get_field_index("order_number")
    hostile = pa.ExtensionArray.from_storage(Pickled(), pa.array(["#1", "#2"]))
    forge(snapshot, "orders", packed(orders.set_column(index, "order_number", hostile)))
    assert snapshot.read().orders["order_number"].tolist() == ["#1", "#2"]


@pytest.mark.parametrize("trick", ["struct", "text", "twice", "not Parquet", "another length"])
def test_a_forged_file_of_another_shape_is_an_error(snapshot, forge, trick):
    orders = pq.read_table(snapshot.files["orders"])
    index = orders.schema.get_field_index("created_date")
    forged = {
        "struct": orders.set_column(index, "created_date", pa.array([{"a": 1}, None])),
        "text": orders.set_column(index, "created_date", pa.array(["soon", "later"])),
        "twice": orders.append_column("id", pa.array(["b1", "b2"])),
    }
    if trick in forged:
        forge(snapshot, "orders", packed(forged[trick]))
    else:
        body = b"PAR1 and so on" if trick == "not Parquet" else packed(orders.slice(1))
        known = {"rows": 2, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        (snapshot.path / "orders" / "part-00000.parquet").write_bytes(body)
        edit_manifest(snapshot, lambda manifest: manifest["parts"][0]["files"].update(orders=known))
    with pytest.raises(tf.SnapshotError, match="damaged"):
        snapshot.read()


def test_nothing_behind_a_link_is_removed(snapshot, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "2020").symlink_to(snapshot.path)
    (root / f".2021.{'a' * 32}.partial").symlink_to(snapshot.path)
    _sweep(root)
    tf.write_snapshot(snapshot.read(), root)
    with pytest.raises(tf.SnapshotError, match="cannot remove"):
        tf.prune_snapshots(root, keep_last=1, keep_daily=0, keep_weekly=0, keep_monthly=0)
    assert len(snapshot.read().orders) == 2
