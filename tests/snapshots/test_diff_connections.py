"""Two snapshots of several connections: each connection beside itself, and no other."""

import duckdb
import pandas as pd
import pytest

import trackstar_frames as tf
from trackstar_frames import OrderFrames
from trackstar_frames.info import join_infos
from trackstar_frames.snapshots.diff import _read_orders
from trackstar_frames.tables.assemble import concat

OLD, NEW = "2026-03-01T06:00:00+00:00", "2026-03-02T06:00:00+00:00"


def several(moment=None, **listings):
    """Make the frames of several connections, as of one moment."""
    each = {label: OrderFrames.from_json(orders) for label, orders in listings.items()}
    infos = {label: {**frames.info, "fetched_at": moment} for label, frames in each.items()}
    tables = {label: frames.to_arrow() for label, frames in each.items()}
    return OrderFrames(concat(tables), join_infos(infos))


def changed(orders, number):
    """Change some orders, drop one and add one."""
    odd = [{**order, "status": "odd", "tags": [str(number)]} for order in orders[:number]]
    return [*odd, *orders[number:-1], {"id": f"new-{number}"}]


@pytest.fixture(scope="module")
def listings(shared_sandbox):
    """List orders of two connections, before and after; both have the same ids."""
    acme = shared_sandbox.orders[:60]
    beta = [{**order, "channel": "beta", "line_items": []} for order in acme[10:50]]
    return {"acme": acme, "beta": beta}, {"acme": changed(acme, 15), "beta": changed(beta, 20)}


@pytest.fixture(scope="module")
def sides(listings, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    was, now = listings
    return tf.write_snapshot(several(OLD, **was), root), tf.write_snapshot(
        several(NEW, **now), root
    )


def test_each_connection_is_compared_with_itself(sides, listings):
    was, now = listings
    each_one = []
    for label in ("acme", "beta"):
        diff = tf.diff_snapshots(*(OrderFrames.from_json(side[label]) for side in (was, now)))
        diff.insert(0, "connection", label)
        each_one.append(diff)
    found = tf.diff_snapshots(*sides)
    pd.testing.assert_frame_equal(found, pd.concat(each_one, ignore_index=True))
    assert found.attrs["trackstar"] == {"old_as_of": OLD, "new_as_of": NEW}
    assert not found.duplicated(["connection", "order_id", "column"]).any()
    assert found.duplicated(["order_id", "column"]).any()


def test_the_statuses_that_changed_are_those_of_sql(sides):
    old, new = (f"'{side.path}/orders/*.parquet'" for side in sides)
    expected = duckdb.sql(f"""
        select connection, id, old.status, new.status
        from {old} old join {new} new using (connection, id)
        where old.status is distinct from new.status order by connection, id
    """).fetchall()
    diff = tf.diff_snapshots(*sides)
    rows = diff.loc[diff["column"] == "status", ["connection", "order_id", "old", "new"]]
    assert len(expected) > 20
    assert list(rows.itertuples(index=False, name=None)) == expected


def test_every_kind_of_side_gives_the_same(sides):
    old, new = sides
    expected = tf.diff_snapshots(old, new)
    for was, now in [(old.read(), new.read(dtype_backend="pyarrow")), (str(old.path), new)]:
        pd.testing.assert_frame_equal(tf.diff_snapshots(was, now), expected)


def test_the_same_id_in_two_connections_is_two_orders():
    was = several(acme={"id": "a1", "status": "open"}, beta={"id": "a1", "status": "packed"})
    now = several(acme={"id": "a1", "status": "packed"}, beta={"id": "b2"})
    diff = tf.diff_snapshots(was, now)
    columns = ["connection", "order_id", "column", "kind"]
    assert diff[columns].astype(object).fillna("").to_numpy().tolist() == [
        ["acme", "a1", "status", "changed"],
        ["beta", "a1", "", "vanished"],
        ["beta", "b2", "", "new"],
    ]


def test_of_a_connection_that_one_side_has_all_is_new_or_vanished():
    was = several(acme=[{"id": "a"}, {"id": "b"}], beta={"id": "a"})
    now = several(beta={"id": "a"}, zen=[{"id": "z"}, {"id": "a"}])
    diff = tf.diff_snapshots(was, now)
    assert diff[["connection", "order_id", "kind"]].to_numpy().tolist() == [
        ["acme", "a", "vanished"],
        ["acme", "b", "vanished"],
        ["zen", "a", "new"],
        ["zen", "z", "new"],
    ]
    assert len(tf.diff_snapshots(was, several(yak=[]))) == 3


def test_types_do_not_depend_on_the_connections(sides):
    full = tf.diff_snapshots(*sides)
    for side in (several(acme=[]), several(acme=[], beta={"id": "b"})):
        empty = tf.diff_snapshots(side, side)
        assert len(empty) == 0
        assert empty.dtypes.equals(full.dtypes)
        assert isinstance(empty.index, pd.RangeIndex)
    each_one = tf.diff_snapshots(OrderFrames.from_json([]), OrderFrames.from_json([]))
    assert ["connection", *each_one.columns] == list(full.columns)


def test_several_connections_beside_one_are_refused(sides):
    one = OrderFrames.from_json({"id": "a"})
    with pytest.raises(ValueError, match=r"old is of several connections, and new of one.* pass"):
        tf.diff_snapshots(sides[0], one)
    with pytest.raises(ValueError, match=r"new is of several connections, and old of one.* pass"):
        tf.diff_snapshots(one, sides[1])
    with pytest.raises(ValueError, match="pass the older one first"):
        tf.diff_snapshots(sides[1], sides[0])


@pytest.mark.parametrize("kind", ["snapshot", "frames", "path"])
def test_the_label_comes_with_the_columns_of_a_side(sides, kind):
    snapshot, _ = sides
    side = {"snapshot": snapshot, "frames": snapshot.read(), "path": snapshot.path}[kind]
    columns = ["id", "created_date", "status"]
    found = _read_orders("old", side, columns)
    expected = snapshot.read().orders[["connection", *columns]]
    pd.testing.assert_frame_equal(found, expected)
    assert found.groupby("connection").size().to_dict() == {"acme": 60, "beta": 40}
    assert found.attrs["trackstar"] == snapshot.info | {"connections": 2}


def test_a_side_of_one_connection_has_no_label():
    found = _read_orders("old", OrderFrames.from_json({"id": "a"}), ["id", "status"])
    assert list(found.columns) == ["id", "status"]
