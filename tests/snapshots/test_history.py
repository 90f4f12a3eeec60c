"""The story of one order over snapshots of a server that changes."""

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

import trackstar_frames as tf
from trackstar_frames import OrderFrames, SnapshotError
from trackstar_frames.sandbox import Sandbox
from trackstar_frames.schema import TABLES
from trackstar_frames.snapshots.reader import scan

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def write(frames, root, moment, connection=None):
    info = {**frames.info, "fetched_at": moment, "connection": connection}
    return tf.write_snapshot(OrderFrames(frames.to_arrow(), info), root)


def written(root, *listings, connection=None, first=1):
    """Write a snapshot of each listing, one a day."""
    return [
        write(OrderFrames.from_json(orders), root, f"2026-03-{day:02}T06:00:00+00:00", connection)
        for day, orders in enumerate(listings, first)
    ]


def events(story):
    columns = ["kind", "column", "old", "new"]
    held = story[columns].astype(object)
    return list(held.where(held.notna(), None).itertuples(index=False, name=None))


def test_the_history_of_an_order_is_what_was_done_to_it(tmp_path):
    with Sandbox(orders=40, seed=2, rate_limit=None, now=NOW) as sandbox:
        client = sandbox.client(cache=False, connection="acme")
        order = next(each for each in sandbox.orders if each["line_items"] and not each["tags"])
        states = [
            {**order, "status": "open"},
            {**order, "status": "picked", "total_tax": 1.25},
            {**order, "status": "picked", "total_tax": 1.25},
            None,
            {**order, "status": "picked", "total_tax": None, "line_items": []},
            {**order, "status": "open", "total_tax": None, "line_items": []},
        ]
        snapshots = []
        for state in states:
            if state:
                sandbox.upsert([state])
            else:
                sandbox.delete([order["id"]])
            snapshots.append(tf.write_snapshot(tf.fetch_orders(client=client), tmp_path))
    story = tf.order_history(tmp_path, order["id"])
    assert events(
        story[story["column"].isin(["status", "total_tax"]) | story["column"].isna()]
    ) == [
        ("first_seen", None, None, None),
        ("changed", "status", "open", "picked"),
        ("changed", "total_tax", told_tax(order), "1.25"),
        ("vanished", None, None, None),
        ("seen_again", None, None, None),
        ("changed", "total_tax", "1.25", None),
        ("changed", "status", "picked", "open"),
    ]
    names = [each.name for each in snapshots]
    assert story["snapshot"].drop_duplicates().tolist() == [*names[:2], *names[3:]]
    assert story["as_of"].is_monotonic_increasing
    as_of = dict(zip(story["snapshot"], story["as_of"], strict=True))
    for each in [*snapshots[:2], *snapshots[3:]]:
        assert as_of[each.name] == pd.Timestamp(each.info["fetched_at"])
    lines = story[story["column"] == "line_items"]
    assert lines["snapshot"].tolist() == [names[4]]
    assert lines["new"].tolist() == ["[]"]


def told_tax(order):
    return None if order["total_tax"] is None else str(order["total_tax"])


@pytest.mark.slow
def test_each_step_is_the_diff_of_the_two_snapshots(shared_sandbox, tmp_path):
    orders = shared_sandbox.orders[:30]
    later = [{**order, "status": "odd", "shipments": []} for order in orders[:20]]
    old, new = written(tmp_path, orders, [*later, *orders[20:]])
    diff = tf.diff_snapshots(old, new)
    for order in orders:
        story = tf.order_history(tmp_path, order["id"])
        expected = diff.loc[diff["order_id"] == order["id"], ["column", "old", "new"]]
        found = story.loc[story["kind"] == "changed", ["column", "old", "new"]]
        pd.testing.assert_frame_equal(found.reset_index(drop=True), expected.reset_index(drop=True))


def test_other_connections_do_not_make_an_order_vanish(tmp_path):
    written(tmp_path, {"id": "a"}, {"id": "a"}, connection="acme")
    written(tmp_path, {"id": "b"}, {"id": "b"}, connection="bolt", first=2)
    assert events(tf.order_history(tmp_path, "a")) == [("first_seen", None, None, None)]
    assert len(tf.order_history(tmp_path, "b", connection="bolt")) == 1
    with pytest.raises(SnapshotError, match="'a' is in none of the 2 snapshots"):
        tf.order_history(tmp_path, "a", connection="bolt")
    with pytest.raises(SnapshotError, match="did you mean 'acme'"):
        tf.order_history(tmp_path, "a", connection="acne")


def test_a_connection_that_got_its_label_later_is_one_history(tmp_path):
    written(tmp_path, {"id": "a", "status": "open"}, [])
    written(tmp_path, {"id": "a", "status": "odd"}, connection="acme", first=3)
    kinds = [kind for kind, *_ in events(tf.order_history(tmp_path, "a"))]
    assert kinds == ["first_seen", "vanished", "seen_again", "changed"]


def test_an_order_that_comes_late_or_stays_away_is_reported_once(tmp_path):
    written(tmp_path, [], {"id": "a"}, [], [], {"id": "a"})
    story = tf.order_history(tmp_path, "a")
    assert [kind for kind, *_ in events(story)] == ["first_seen", "vanished", "seen_again"]
    assert story["as_of"].dt.day.tolist() == [2, 3, 5]


def test_types_do_not_depend_on_the_history(tmp_path):
    written(tmp_path / "short", {"id": "a"})
    written(tmp_path / "long", {"id": "a"}, {"id": "a", "status": "open"}, [])
    short, long = (tf.order_history(tmp_path / name, "a") for name in ("short", "long"))
    assert short.dtypes.equals(long.dtypes)
    assert str(short["as_of"].dtype) == "datetime64[us, UTC]"
    assert len(long) == 3


def test_a_missing_order_or_root_is_reported(tmp_path):
    with pytest.raises(SnapshotError, match="no snapshots under"):
        tf.order_history(tmp_path, "a")
    written(tmp_path, {"id": "a", "order_number": "#1"})
    with pytest.raises(SnapshotError, match="pass Trackstar's id"):
        tf.order_history(tmp_path, "#1")
    with pytest.raises(TypeError, match="order_id=1 is a int; pass a string"):
        tf.order_history(tmp_path, 1)


def test_a_damaged_table_is_reported(tmp_path):
    (snapshot,) = written(tmp_path, {"id": "a"})
    snapshot.files["packages"][0].unlink()
    with pytest.raises(SnapshotError, match="packages"):
        tf.order_history(tmp_path, "a")


@pytest.fixture(scope="module")
def parts(shared_sandbox, tmp_path_factory):
    """Write the tables of some orders as several files each, as other writers may."""
    tables = OrderFrames.from_json(shared_sandbox.orders).to_arrow()
    folder = tmp_path_factory.mktemp("parts")
    files = {}
    for name, table in tables.items():
        files[name] = [folder / f"{name}-{number}.parquet" for number in range(3)]
        for number, file in enumerate(files[name]):
            part = table.slice(number * 100, 100 if number < 2 else None)
            pq.write_table(part, file, row_group_size=30)
    return tables, files


def test_a_scan_is_the_table(parts):
    tables, files = parts
    for name, table in tables.items():
        assert scan(files[name], name).equals(table)
    some = ["status", "id"]
    assert scan(files["orders"], "orders", columns=some).equals(tables["orders"].select(some))


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", ["orders", "shipments", "package_line_items"])
def test_a_scan_for_one_order_gives_its_rows_as_sql_does(parts, name):
    tables, files = parts
    key = TABLES[name].key[0]
    for order_id in [*tables["orders"]["id"].to_pylist()[::40], "it's none", ""]:
        listed = [str(file) for file in files[name]]
        relation = duckdb.read_parquet(listed).filter(
            duckdb.ColumnExpression(key) == duckdb.ConstantExpression(order_id)
        )
        found = scan(files[name], name, order_id=order_id)
        assert len(found) == len(relation.fetchall())
        assert found[key].to_pylist() == [order_id] * len(found)
        assert found.schema == TABLES[name].schema


def test_a_column_that_older_files_lack_is_null(parts, tmp_path):
    tables, _ = parts
    file = tmp_path / "old.parquet"
    pq.write_table(tables["orders"].drop_columns(["trading_partner"]), file)
    read = scan([file], "orders")
    assert read["trading_partner"].null_count == len(read) == len(tables["orders"])
    assert read.schema == TABLES["orders"].schema


def test_a_scan_of_no_files_is_an_empty_table():
    assert scan([], "packages").schema == TABLES["packages"].schema
    labelled = TABLES["packages"].labelled.schema
    assert scan([], "packages", columns=labelled.names).schema == labelled


def test_synced_snapshots_have_a_history_too(tmp_path):
    with Sandbox(orders=30, seed=4, rate_limit=None, now=NOW) as sandbox:
        client = sandbox.client(cache=False)
        tf.sync_orders(tmp_path, client=client)
        order = next(each for each in sandbox.orders if each["status"] == "fulfilled")
        now = pd.Timestamp.now("UTC").isoformat()
        stamps = dict.fromkeys(["updated_date", "trackstar_updated_date"], now)
        sandbox.upsert([{**order, **stamps, "status": "awaiting_customs"}])
        tf.sync_orders(tmp_path, client=client)
    story = events(tf.order_history(tmp_path, order["id"]))
    assert story[0] == ("first_seen", None, None, None)
    assert ("changed", "status", order["status"], "awaiting_customs") in story
    assert {column for _, column, *_ in story[1:]} == {"status", *stamps}
    first, second = (Path(each) for each in tf.list_snapshots(tmp_path)["path"])
    assert tf.status_transitions(first, second)["kind"].tolist().count("left_path") == 1
    assert set(tf.diff_snapshots(first, second)["order_id"]) == {order["id"]}
