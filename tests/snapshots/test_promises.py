"""The due dates that orders had first, over all snapshots under a root."""

import random

import pandas as pd
import pytest

import trackstar_frames as tf
from trackstar_frames import OrderFrames


def frames(dues, **more):
    return OrderFrames.from_json(
        [
            {"id": name, "required_ship_date": due and f"{due}T00:00:00Z", **more}
            for name, due in dues.items()
        ]
    )


def write(root, *each):
    return [tf.write_snapshot(frames(dues), root) for dues in each]


def plain(values):
    return [None if pd.isna(each) else str(each.date()) for each in values]


def test_the_first_due_date_that_was_seen(tmp_path):
    first, second, third = write(
        tmp_path,
        {"a": "2026-03-02", "b": None, "c": "2026-03-04"},
        {"a": "2026-03-05", "b": "2026-03-03", "c": "2026-03-04"},
        {"a": "2026-03-02", "b": None, "d": None},
    )
    table = tf.first_promises(tmp_path)
    assert table["id"].tolist() == ["a", "b", "c", "d"]
    assert plain(table["required_ship_date"]) == ["2026-03-02", "2026-03-03", "2026-03-04", None]
    latest = plain(table["latest_required_ship_date"])
    assert latest == ["2026-03-02", None, "2026-03-04", None]
    assert table["times_moved"].tolist() == [2, 0, 0, 0]
    names = [first.name, second.name, first.name, None]
    assert [None if pd.isna(each) else each for each in table["snapshot"]] == names
    assert (table["promised_as_of"].isna() == table["snapshot"].isna()).all()
    assert third.name not in names


@pytest.mark.parametrize("seed", range(3))
def test_plain_python_finds_the_same(tmp_path, seed):
    rng = random.Random(seed)
    days = [None, "2026-03-02", "2026-03-03", "2026-03-04"]
    listings = [
        {f"o{number}": rng.choice(days) for number in rng.sample(range(20), 14)} for _ in range(6)
    ]
    write(tmp_path, *listings)
    first, latest, moved, known = {}, {}, {}, {}
    for listing in listings:
        for name, due in sorted(listing.items()):
            latest[name] = due
            first.setdefault(name, None)
            moved.setdefault(name, 0)
            if due is not None:
                first[name] = first[name] or due
                moved[name] += known.get(name, due) != due
                known[name] = due
    table = tf.first_promises(tmp_path).set_index("id")
    assert set(table.index) == set(first)
    names = list(table.index)
    assert plain(table["required_ship_date"]) == [first[name] for name in names]
    assert plain(table["latest_required_ship_date"]) == [latest[name] for name in names]
    assert table["times_moved"].tolist() == [moved[name] for name in names]


def test_orders_are_judged_by_what_was_promised_first(tmp_path):
    sent = [{"shipped_date": "2026-03-04T12:00:00Z"}]
    for day in ("2026-03-02", "2026-03-05"):
        tf.write_snapshot(frames({"a": day}, shipments=sent), tmp_path)
    orders = tf.read_snapshot(tmp_path).orders
    promises = tf.first_promises(tmp_path)
    merged = orders.drop(columns="required_ship_date").merge(
        promises[["id", "required_ship_date"]], how="left"
    )
    outcomes = [
        tf.ship_date_compliance(each, as_of="2026-03-08")["outcome"].tolist()
        for each in (orders, merged)
    ]
    assert outcomes == [["on_time"], ["late_shipped"]]


def test_connections_do_not_share_ids(tmp_path, serve_connections):
    sandbox = serve_connections(tokens=2)
    both = tf.fetch_orders(connections=sandbox.connections)
    tf.write_snapshot(both, tmp_path)
    table = tf.first_promises(tmp_path)
    assert table.columns[:2].tolist() == ["connection", "id"]
    keys = ["connection", "id"]
    expected = both.orders[[*keys, "required_ship_date"]].sort_values(keys, ignore_index=True)
    found = table[[*keys, "required_ship_date"]].sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(found, expected)


def test_no_snapshots_are_an_error(tmp_path):
    with pytest.raises(tf.SnapshotError, match="there are no snapshots under"):
        tf.first_promises(tmp_path)


def test_snapshots_without_orders(tmp_path):
    tf.write_snapshot(OrderFrames.from_json([]), tmp_path)
    table = tf.first_promises(tmp_path)
    assert (len(table), table.columns[0]) == (0, "id")
