"""The story of an order where several connections are, in one snapshot or in many."""

from datetime import UTC, datetime

import pandas as pd
import pytest

import trackstar_frames as tf
from trackstar_frames import OrderFrames, SnapshotError
from trackstar_frames.info import FetchInfo, as_of_each, join_infos
from trackstar_frames.schema import TABLES
from trackstar_frames.snapshots.reader import scan
from trackstar_frames.tables.assemble import concat

OPEN, PICKED, PACKED = ({"id": "a", "status": each} for each in ("open", "picked", "packed"))


def moment(day):
    return f"2026-03-{day:02}T06:00:00+00:00"


def one(root, day, orders, connection=None):
    """Write a snapshot of one connection."""
    frames = OrderFrames.from_json(orders)
    info = {**frames.info, "fetched_at": moment(day), "connection": connection}
    return tf.write_snapshot(OrderFrames(frames.to_arrow(), info), root)


def several(root, day, older=(), **listings):
    """Write a snapshot of several connections; some of them may be of an older day."""
    each = {label: OrderFrames.from_json(orders) for label, orders in listings.items()}
    days = dict.fromkeys(each, day) | dict(older)
    infos = {label: each[label].info | {"fetched_at": moment(days[label])} for label in each}
    tables = {label: frames.to_arrow() for label, frames in each.items()}
    return tf.write_snapshot(OrderFrames(concat(tables), join_infos(infos)), root)


def events(story):
    held = story[["connection", "kind", "old", "new"]].astype(object)
    return list(held.where(held.notna(), None).itertuples(index=False, name=None))


def test_each_connection_has_its_own_history(tmp_path):
    several(tmp_path, 1, acme=OPEN, beta=PACKED, zen={"id": "z"})
    several(tmp_path, 2, acme=PICKED, beta=PACKED, zen={"id": "z"})
    several(tmp_path, 3, acme=PACKED, beta=[], zen={"id": "z"})
    story = tf.order_history(tmp_path, "a")
    assert events(story) == [
        ("acme", "first_seen", None, None),
        ("acme", "changed", "open", "picked"),
        ("acme", "changed", "picked", "packed"),
        ("beta", "first_seen", None, None),
        ("beta", "vanished", None, None),
    ]
    single = [tf.order_history(tmp_path, "a", connection=label) for label in ("acme", "beta")]
    pd.testing.assert_frame_equal(story, pd.concat(single, ignore_index=True))
    assert story["as_of"].dt.day.tolist() == [1, 2, 3, 1, 3]


def test_a_connection_is_followed_from_its_own_snapshots_into_those_of_several(tmp_path):
    one(tmp_path, 1, OPEN, "acme")
    one(tmp_path, 2, PACKED, "beta")
    both = several(tmp_path, 3, acme=PICKED, beta=OPEN)
    last = one(tmp_path, 4, PACKED, "acme")
    story = tf.order_history(tmp_path, "a", connection="acme")
    assert [row[1:] for row in events(story)] == [
        ("first_seen", None, None),
        ("changed", "open", "picked"),
        ("changed", "picked", "packed"),
    ]
    assert story["snapshot"].tolist()[1:] == [both.name, last.name]
    assert len(tf.order_history(tmp_path, "a")) == 5


@pytest.mark.slow
def test_fields_and_child_rows_are_those_of_the_diff(shared_sandbox, tmp_path):
    orders = shared_sandbox.orders[:20]
    later = [{**order, "shipments": [], "tags": ["late"]} for order in orders]
    old = several(tmp_path, 1, acme=orders, beta=later)
    new = several(tmp_path, 2, acme=later, beta=orders)
    diff = tf.diff_snapshots(old, new)
    columns = ["connection", "column", "old", "new"]
    for order in orders[:5]:
        story = tf.order_history(tmp_path, order["id"])
        found = story.loc[story["kind"] == "changed", columns].reset_index(drop=True)
        expected = diff.loc[diff["order_id"] == order["id"], columns].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected)
        assert set(found["connection"]) == {"acme", "beta"}


def test_a_label_that_came_later_continues_the_history(tmp_path):
    one(tmp_path, 1, OPEN)
    several(tmp_path, 2, acme=PICKED, beta=[])
    assert events(tf.order_history(tmp_path, "a")) == [
        ("acme", "first_seen", None, None),
        ("acme", "changed", "open", "picked"),
    ]


def test_what_has_no_label_is_nobodys_where_two_could_be_meant(tmp_path):
    one(tmp_path, 1, OPEN)
    several(tmp_path, 2, acme=PICKED, beta=PACKED)
    firsts = events(tf.order_history(tmp_path, "a"))
    assert [row[:2] for row in firsts] == [
        ("acme", "first_seen"),
        ("beta", "first_seen"),
        (None, "first_seen"),
    ]


def test_a_connection_that_failed_does_not_make_its_orders_vanish(tmp_path):
    several(tmp_path, 1, acme=[], beta=OPEN)
    several(tmp_path, 2, acme=[])
    several(tmp_path, 3, acme=[], beta=PICKED)
    kinds = [row[1] for row in events(tf.order_history(tmp_path, "a"))]
    assert kinds == ["first_seen", "changed"]


def test_a_connection_is_as_of_its_own_fetch(tmp_path):
    several(tmp_path, 1, acme=OPEN, beta=OPEN)
    # beta fails from here on, so that the whole is as of the first day
    names = [
        several(tmp_path, day, older={"beta": 1}, acme=order, beta=OPEN).name
        for day, order in ((2, PICKED), (4, PACKED))
    ]
    one(tmp_path, 3, OPEN, "acme")
    story = tf.order_history(tmp_path, "a", connection="acme")
    assert story["new"].fillna("").tolist() == ["", "picked", "open", "packed"]
    assert story["as_of"].dt.day.tolist() == [1, 2, 3, 4]
    assert story["snapshot"].tolist()[1::2] == names
    assert len(tf.order_history(tmp_path, "a", connection="beta")) == 1


@pytest.mark.parametrize("text", ["2026-03-01T06:00:00", "2026-03-01T07:00:00+01:00"])
def test_moments_without_a_zone_are_utc_and_of_any_other_become_it(text):
    each = {"acme": {"fetched_at": text}, "beta": {"fetched_at": None}}
    expected = {
        "acme": datetime(2026, 3, 1, 6, tzinfo=UTC),
        "beta": datetime(2026, 3, 2, tzinfo=UTC),
    }
    found = as_of_each(FetchInfo(connections=each), "2026-03-02T00:00:00Z")
    assert found == expected
    assert {moment.tzinfo for moment in found.values()} == {UTC}


def test_only_what_is_of_the_connection_is_read(tmp_path):
    snapshot = several(tmp_path, 1, acme=OPEN, beta=OPEN)
    for files in snapshot.files.values():
        files[0].unlink()  # acme's
    assert len(tf.order_history(tmp_path, "a", connection="beta")) == 1
    with pytest.raises(SnapshotError, match="orders is damaged"):
        tf.order_history(tmp_path, "a", connection="acme")
    with pytest.raises(SnapshotError, match="orders is damaged"):
        tf.order_history(tmp_path, "a")


def test_types_are_those_of_one_connection(tmp_path):
    one(tmp_path / "one", 1, OPEN)
    several(tmp_path / "several", 1, acme=OPEN, beta=OPEN)
    single, story = (tf.order_history(tmp_path / name, "a") for name in ("one", "several"))
    assert story.dtypes.equals(single.dtypes)
    assert single["connection"].isna().all()


def test_an_unknown_connection_is_reported_with_the_known_ones(tmp_path):
    one(tmp_path, 1, OPEN)
    with pytest.raises(SnapshotError, match=r"no snapshot under .* has a label.*; leave it out"):
        tf.order_history(tmp_path, "a", connection="acme")
    several(tmp_path, 2, acme=OPEN, beta=OPEN)
    one(tmp_path, 3, OPEN, "acme, beta")
    with pytest.raises(SnapshotError, match="use one of 'acme', 'acme, beta', 'beta'"):
        tf.order_history(tmp_path, "a", connection="?")
    story = tf.order_history(tmp_path, "a", connection="acme, beta")
    assert story["as_of"].dt.day.tolist() == [3]


def test_an_order_that_only_others_have_is_reported(tmp_path):
    several(tmp_path, 1, acme=OPEN, beta=[])
    several(tmp_path, 2, acme=OPEN, beta=[])
    with pytest.raises(SnapshotError, match="'a' is in none of the 2 snapshots"):
        tf.order_history(tmp_path, "a", connection="beta")
    with pytest.raises(SnapshotError, match="'b' is in none of the 2 snapshots"):
        tf.order_history(tmp_path, "b")


def test_a_scan_gives_the_labels_where_they_are_requested(shared_sandbox, tmp_path):
    orders = shared_sandbox.orders[:9]
    snapshot = several(tmp_path, 1, acme=orders, beta=orders[:4])
    whole = snapshot.read().to_arrow()
    for name, files in snapshot.files.items():
        columns = TABLES[name].labelled.schema.names
        assert scan(files, name, columns=columns).equals(whole[name])
        assert scan(files, name).equals(whole[name].drop_columns("connection"))
    found = scan(
        snapshot.files["orders"], "orders", columns=["connection"], order_id=orders[0]["id"]
    )
    assert found["connection"].to_pylist() == ["acme", "beta"]
