"""Snapshots that older versions of the package wrote are read as before."""

import hashlib
import json
import shutil
from pathlib import Path

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import trackstar_frames as tf
from trackstar_frames import OrderFrames, SnapshotError
from trackstar_frames.schema import SCHEMA_VERSION, TABLES
from trackstar_frames.snapshots import reader, writer
from trackstar_frames.snapshots.manifest import MANIFEST_NAME

STAMPS = ("updated_date", "trackstar_updated_date", "created_date")

DATA = Path(__file__).parent.parent / "data"
SCHEMA_1 = DATA / "schema1"


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


def test_damage_of_a_snapshot_of_the_first_schema_is_reported(older):
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


# --- Snapshots of the version before keys of the info were renamed


@pytest.fixture
def former(tmp_path):
    """A copy of the roots that the former version wrote."""
    return shutil.copytree(DATA / "former", tmp_path / "former")


def tables_of(orders):
    return OrderFrames.from_json(msgspec.json.encode({"data": orders})).to_arrow()


def test_snapshots_of_the_former_version_are_listed(former):
    one = tf.list_snapshots(former / "one")
    assert one["name"].tolist() == sorted(each.name for each in (former / "one").iterdir())
    assert one["connection"].tolist() == ["acme", "acme"]
    assert one["orders"].tolist() == [40, 40]
    two = tf.list_snapshots(former / "two")
    assert two["connection"].tolist() == ["customer-0, customer-1"]
    assert two["orders"].tolist() == [20]


def test_a_snapshot_of_the_former_version_is_read(former):
    expected = tables_of(json.loads((former / "one.json").read_text()))
    frames = tf.read_snapshot(former / "one")
    for name, table in frames.to_arrow().items():
        assert table.equals(expected[name]), name
    assert frames.info["sync"]["changed"] == 2
    assert frames.info["filters"] == {"created_date__gte": "2020-01-01"}
    assert tf.read_snapshot_dask(former / "one").orders.compute().shape == frames.orders.shape


def test_a_snapshot_of_the_former_version_is_read_with_several_connections(former):
    frames = tf.read_snapshot(former / "two")
    assert set(frames.orders["connection"]) <= {"customer-0", "customer-1"}
    assert sorted(frames.info["connections"]) == ["customer-0", "customer-1"]
    assert frames.info["limit"] == len(frames.orders) == 20
    order = frames.orders["id"][0]
    assert tf.order_history(former / "two", order)["kind"].tolist() == ["first_seen"]


def test_snapshots_of_the_former_version_are_compared(former):
    first, second = (Path(each) for each in tf.list_snapshots(former / "one")["path"])
    assert tf.diff_snapshots(first, second)["order_id"].nunique() == 2
    assert tf.status_transitions(first, second)["orders"].sum() == 40


def test_a_sync_continues_from_a_snapshot_of_the_former_version(former, serve):
    orders = json.loads((former / "one.json").read_text())
    now = pd.Timestamp.now("UTC").isoformat()
    stamps = dict.fromkeys(STAMPS[:2], now)
    orders[3] |= {**stamps, "status": "cancelled"}
    sandbox = serve(orders=orders)
    base = tf.list_snapshots(former / "one")["name"].iloc[-1]
    snapshot = tf.sync_orders(
        former / "one",
        client=sandbox.client(rate_limit=None, cache=False, connection="acme"),
        created_date__gte="2020-01-01",
    )
    sync = snapshot.info["sync"]
    assert (sync["base"], sync["full"]) == (base, None)
    assert (sync["new"], sync["changed"], sync["gone"]) == (0, 1, 0)
    assert snapshot.info["requests"] == 3
    expected = tables_of(sandbox.orders)
    for name, table in snapshot.read().to_arrow().items():
        assert table.equals(expected[name]), name


# --- Snapshots of a schema that counted units whatever they were of

REDEFINED = {
    "units_ordered": pa.int64(),
    "units_shipped": pa.int64(),
    "complete_shipped_date": pa.timestamp("us", tz="UTC"),
}


def line(sku, units=1, **more):
    return {"sku": sku, "quantity": units, **more}


def dated(number, lines, *shipments):
    stamp = f"2026-06-{number:02}T08:00:00Z"
    sent = [
        {"status": "shipped", "shipped_date": stamp, "line_items": list(each)} for each in shipments
    ]
    order = {"id": f"{number:02}", "line_items": lines, "shipments": sent}
    return order | dict.fromkeys(STAMPS, stamp)


UNITS = [
    dated(1, [line("A"), line("B")], [line("A")], [line("A")]),
    dated(2, [line("A", 5), line("B", 5)], [line("A", 8)]),
    dated(3, [line("A", None), line("B")], [line("B")]),
    dated(4, [line("A", 2), line("A", -1)], [line("A")]),
    dated(5, [line("K", product_id="k")], [line("x", parent_product_id="k")]),
    *(dated(number, [line("A")], [line("A")]) for number in range(6, 29)),
]


def make_older(snapshot):
    """Make a snapshot one of schema 3: other values, a column fewer, and its footers."""
    manifest = json.loads((snapshot.path / MANIFEST_NAME).read_text())
    manifest["schema_version"] = 3
    for part, path in zip(manifest["parts"], snapshot.files["orders"], strict=True):
        table = pq.read_table(path).drop_columns("units_overshipped")
        for name, kind in REDEFINED.items():
            wrong = pa.array([99] * len(table)).cast(kind)
            table = table.set_column(table.column_names.index(name), name, wrong)
        footer = json.loads(table.schema.metadata[b"trackstar_frames"]) | {"schema_version": 3}
        path.unlink()  # and not what other snapshots share
        pq.write_table(
            table.replace_schema_metadata({"trackstar_frames": json.dumps(footer)}), path
        )
        body = path.read_bytes()
        part["files"]["orders"] |= {
            "bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
    (snapshot.path / MANIFEST_NAME).write_text(json.dumps(manifest))


@pytest.fixture
def redefined(tmp_path, monkeypatch):
    """A snapshot of several parts of schema 3."""
    monkeypatch.setattr(writer, "PART_SIZE", 10)
    snapshot = tf.write_snapshot(OrderFrames.from_json(UNITS), tmp_path / "root")
    make_older(snapshot)
    return snapshot


def test_units_of_an_older_schema_are_counted_anew(redefined):
    expected = tables_of(UNITS)
    assert tf.list_snapshots(redefined.path.parent)["schema_version"].tolist() == [3]
    for name, table in redefined.read().to_arrow().items():
        assert table.equals(expected[name]), name
    names = ["units_ordered", "units_shipped", "units_overshipped"]
    assert expected["orders"].select(names).slice(0, 5).to_pydict() == {
        "units_ordered": [2, 10, None, 1, 1],
        "units_shipped": [1, 5, 1, 1, 1],
        "units_overshipped": [1, 3, None, 0, 0],
    }
    assert expected["orders"]["complete_shipped_date"].is_null().to_pylist()[:5] == [
        *(True, True, True, False, False)
    ]


@pytest.mark.parametrize("column", [*REDEFINED, "units_overshipped", "first_shipped_date", "id"])
def test_units_of_an_older_schema_are_counted_anew_by_column(redefined, column):
    expected = tables_of(UNITS)["orders"][column].to_pylist()
    files = redefined.files["orders"]
    assert len(files) == 3
    assert reader.scan(files, "orders", columns=[column])[column].to_pylist() == expected
    parts = (reader.read_column(redefined.path, number, column) for number in range(3))
    assert [value for part in parts for value in part.to_pylist()] == expected
    lazy = tf.read_snapshot_dask(redefined.path.parent).orders[column].compute()
    whole = redefined.read().orders[column]
    pd.testing.assert_series_equal(lazy.reset_index(drop=True), whole)


def test_no_order_differs_from_itself_in_an_older_schema(redefined):
    root = redefined.path.parent
    now = tf.write_snapshot(OrderFrames.from_json(UNITS), root)
    assert tf.diff_snapshots(redefined, now).empty
    for order in UNITS[:5]:
        assert tf.order_history(root, order["id"])["kind"].tolist() == ["first_seen"]


def test_an_older_schema_may_lack_a_table_that_units_are_counted_from(redefined):
    remove_table(redefined.path, "package_line_items")
    assert redefined.read().to_arrow()["orders"].equals(tables_of(UNITS)["orders"])
    files = redefined.files["orders"]
    assert reader.scan(files, "orders").equals(tables_of(UNITS)["orders"])


@pytest.mark.parametrize("connections", [None, ("acme", "beta")])
@pytest.mark.parametrize("changed", [[], [0], [0, 15]])
def test_a_sync_from_an_older_schema_writes_one_meaning(
    serve_connections, tmp_path, monkeypatch, connections, changed
):
    monkeypatch.setattr(writer, "PART_SIZE", 10)
    sandbox = serve_connections(tokens=1 if connections is None else 2, orders=UNITS)
    given = (
        {"client": sandbox.client(rate_limit=None, cache=False)}
        if connections is None
        else {"connections": sandbox.connections}
    ) | {"overlap": 0}
    base = tf.sync_orders(tmp_path, **given)
    make_older(base)
    now = pd.Timestamp.now("UTC").isoformat()
    held = {order["id"]: order for order in sandbox.orders}
    sandbox.upsert(
        [
            held[UNITS[number]["id"]] | dict.fromkeys(STAMPS[:2], now) | {"status": "cancelled"}
            for number in changed
        ]
    )
    snapshot = tf.sync_orders(tmp_path, **given)
    infos = snapshot.info.get("connections", {None: snapshot.info}).values()
    assert {(info["sync"]["base"], info["sync"]["full"]) for info in infos} == {(base.name, None)}
    assert sum(info["sync"]["changed"] for info in infos) == len(changed)
    assert len(snapshot.files["orders"]) == len(base.files["orders"])
    for old, new in zip(base.files["orders"], snapshot.files["orders"], strict=True):
        assert not old.samefile(new)
        footer = json.loads(pq.read_schema(new).metadata[b"trackstar_frames"])
        assert footer["schema_version"] == SCHEMA_VERSION
    for old, new in zip(base.files["packages"], snapshot.files["packages"], strict=True):
        assert old.samefile(new)  # there is nothing to count anew
    whole = tables_of(sandbox.orders)["orders"]
    plain = pd.read_parquet(snapshot.path / "orders")
    names = [*REDEFINED, "units_overshipped"]
    expected = whole.to_pandas().set_index("id").sort_index()[names].convert_dtypes()
    assert len(plain) == len(UNITS) * len(infos)
    for _, own in plain.groupby("connection") if connections else [(None, plain)]:
        found = own.set_index("id").sort_index()[names].convert_dtypes()
        pd.testing.assert_frame_equal(found, expected)


# --- Snapshots of a schema with one table fewer


def remove_table(path, name):
    """Make a snapshot one of a schema that did not have a table."""
    manifest = json.loads((path / MANIFEST_NAME).read_text())
    for part in manifest["parts"]:
        del part["files"][name]
    (path / MANIFEST_NAME).write_text(json.dumps(manifest))
    shutil.rmtree(path / name)


NEW_TABLES = [name for name in TABLES if name != "orders"]


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", NEW_TABLES)
def test_a_table_that_a_snapshot_lacks_is_empty(some_orders, tmp_path, monkeypatch, name):
    monkeypatch.setattr(writer, "PART_SIZE", 20)
    whole = OrderFrames.from_json(some_orders[:60])
    snapshot = tf.write_snapshot(whole, tmp_path)
    remove_table(snapshot.path, name)
    found = tf.list_snapshots(tmp_path)
    assert found["orders"].tolist() == [60]
    assert found["bytes"][0] == sum(file.stat().st_size for file in tmp_path.rglob("*.parquet"))
    tables = snapshot.read().to_arrow()
    assert tables.pop(name).equals(TABLES[name].schema.empty_table())
    for other, table in tables.items():
        assert table.equals(whole.to_arrow()[other]), other
    lazy = getattr(tf.read_snapshot_dask(tmp_path), name)
    assert lazy.npartitions == 3
    pd.testing.assert_frame_equal(lazy.compute(), getattr(snapshot.read(), name))
    assert snapshot.files[name] == []
    assert f">{name}</th><td style='text-align:left'>" in snapshot._repr_html_()


@pytest.mark.one_of(2)
@pytest.mark.parametrize("name", NEW_TABLES)
def test_a_table_that_only_the_newer_snapshot_has_is_compared(tmp_path, name):
    shipped = {"id": "a", "odd": 1, "line_items": [{"sku": "X"}]}
    shipped["shipments"] = [
        {
            "line_items": [{"sku": "X", "quantity": 1}],
            "packages": [{"tracking_number": "1", "line_items": [{"sku": "X", "quantity": 1}]}],
        }
    ]
    frames = OrderFrames.from_json(shipped)
    old, new = (tf.write_snapshot(frames, tmp_path) for _ in range(2))
    remove_table(old.path, name)
    expected = [] if name == "problems" else [name]
    assert tf.diff_snapshots(old, new)["column"].tolist() == expected
    history = tf.order_history(tmp_path, "a")
    assert history["kind"].tolist() == ["first_seen", *["changed"] * len(expected)]


@pytest.mark.one_of(10)
@pytest.mark.parametrize("name", NEW_TABLES)
@pytest.mark.parametrize("connections", [None, ("acme", "beta")])
def test_a_sync_shares_the_parts_of_a_snapshot_that_lacks_a_table(
    serve_connections, tmp_path, monkeypatch, name, connections
):
    monkeypatch.setattr(writer, "PART_SIZE", 20)
    sandbox = serve_connections(tokens=1 if connections is None else 2, orders=60)
    given = (
        {"client": sandbox.client(rate_limit=None, cache=False)}
        if connections is None
        else {"connections": sandbox.connections}
    ) | {"overlap": 0}
    base = tf.sync_orders(tmp_path, **given)
    expected = base.read().to_arrow()
    remove_table(base.path, name)
    snapshot = tf.sync_orders(tmp_path, **given)
    infos = snapshot.info.get("connections", {None: snapshot.info}).values()
    assert {(info["sync"]["base"], info["sync"]["full"]) for info in infos} == {(base.name, None)}
    assert snapshot.info["sync"]["new"] == 0
    for other, files in base.files.items():
        assert len(snapshot.files[other]) == len(snapshot.files["orders"]) > 2
        if other != name:
            for old, new in zip(files, snapshot.files[other], strict=True):
                assert old.samefile(new)
    tables = snapshot.read().to_arrow()
    # Only of the newest orders, which a sync fetches again.
    assert len(tables.pop(name)) <= len(expected[name]) / 4
    assert all(table.equals(expected[other]) for other, table in tables.items())
    assert len(pd.read_parquet(snapshot.path / name)) <= len(expected[name]) / 4


def test_what_changes_after_a_table_was_added_has_its_rows(serve, tmp_path):
    orders = [
        {
            "id": f"{day:02}",
            "line_items": [{"sku": "X"}],
            **dict.fromkeys(STAMPS, f"2026-06-{day:02}T00:00:00Z"),
        }
        for day in range(1, 30)
    ]
    sandbox = serve(orders=orders)
    client = sandbox.client(rate_limit=None, cache=False)
    remove_table(tf.sync_orders(tmp_path, client=client).path, "line_items")
    now = pd.Timestamp.now("UTC").isoformat()
    sandbox.upsert([orders[4] | dict.fromkeys(STAMPS[:2], now)])
    snapshot = tf.sync_orders(tmp_path, client=client)
    # The second newest of each stamp, and what came after it, is fetched again.
    assert snapshot.read().line_items["order_id"].tolist() == ["05", "28", "29"]
    assert snapshot.info["sync"]["changed"] == 3


def test_a_table_that_only_some_parts_lack_is_damage(some_orders, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "PART_SIZE", 20)
    snapshot = tf.write_snapshot(OrderFrames.from_json(some_orders[:60]), tmp_path)
    manifest = json.loads((snapshot.path / MANIFEST_NAME).read_text())
    del manifest["parts"][1]["files"]["packages"]
    (snapshot.path / MANIFEST_NAME).write_text(json.dumps(manifest))
    with pytest.raises(SnapshotError, match="a part lacks a table"):
        snapshot.read()


def test_a_snapshot_of_the_first_schema_may_lack_a_table(older):
    (file,) = older.glob("*/packages/*.parquet")
    shutil.rmtree(file.parent)
    (orders,) = older.glob("*/orders/*.parquet")
    table = pq.read_table(orders)
    footer = json.loads(table.schema.metadata[b"trackstar_frames"])
    del footer["rows"]["packages"]
    pq.write_table(table.replace_schema_metadata({"trackstar_frames": json.dumps(footer)}), orders)
    assert len(tf.read_snapshot(older).packages) == 0
