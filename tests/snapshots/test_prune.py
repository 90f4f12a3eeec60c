"""Old snapshots thinned by a rule: what is kept stays whole, of each connection apart."""

import pandas as pd
import pytest

import trackstar_frames as tf
from trackstar_frames import OrderFrames
from trackstar_frames.info import FetchInfo, join_infos
from trackstar_frames.tables.assemble import concat

ONE = {"keep_last": 1, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}


def write(root, moment, connection=None):
    tables = OrderFrames.from_json({"id": "a1"}).to_arrow()
    info = FetchInfo(fetched_at=pd.Timestamp(moment, tz="UTC").isoformat(), connection=connection)
    return tf.write_snapshot(OrderFrames(tables, info), root).name


def write_several(root, day, **days):
    """Write a snapshot of several connections, each as of its own day, or the same one."""
    tables = OrderFrames.from_json({"id": "a1"}).to_arrow()
    infos = {
        label: FetchInfo(fetched_at=f"2026-01-0{own or day}T06:00:00+00:00")
        for label, own in days.items()
    }
    frames = OrderFrames(concat(dict.fromkeys(infos, tables)), join_infos(infos))
    return tf.write_snapshot(frames, root).name


def kept(table):
    return table.set_index("name")["kept_by"].dropna().to_dict()


def test_the_last_of_each_period_is_kept(tmp_path):
    names = {
        moment: write(tmp_path, moment)
        for moment in pd.date_range("2026-02-27 06:00", "2026-03-20 18:00", freq="12h")
    }
    table = tf.prune_snapshots(tmp_path, keep_last=2, keep_daily=3, keep_weekly=2, keep_monthly=2)
    assert len(table) == len(names)
    expected = {
        "2026-03-20 18:00": "last",
        "2026-03-20 06:00": "last",
        "2026-03-19 18:00": "daily",
        "2026-03-18 18:00": "daily",
        "2026-03-15 18:00": "weekly",
        "2026-02-28 18:00": "monthly",
    }
    by_name = {names[pd.Timestamp(moment)]: reason for moment, reason in expected.items()}
    assert kept(table) == by_name
    assert set(tf.list_snapshots(tmp_path)["name"]) == set(by_name)
    assert {each.name for each in tmp_path.iterdir()} == set(by_name)
    assert all(len(tf.read_snapshot(tmp_path, name).orders) == 1 for name in by_name)


def test_a_dry_run_shows_the_same_and_removes_nothing(tmp_path):
    for day in range(1, 6):
        write(tmp_path, f"2026-01-0{day}")
    rule = {"keep_last": 1, "keep_daily": 2, "keep_weekly": 0, "keep_monthly": 0}
    table = tf.prune_snapshots(tmp_path, **rule, dry_run=True)
    assert len(tf.list_snapshots(tmp_path)) == 5
    pd.testing.assert_frame_equal(tf.prune_snapshots(tmp_path, **rule), table)
    assert len(tf.list_snapshots(tmp_path)) == 2


def test_each_connection_is_thinned_apart(tmp_path):
    for connection in ("acme", "zen", None):
        for day in (1, 2):
            write(tmp_path, f"2026-01-0{day}", connection)
    tf.prune_snapshots(tmp_path, keep_last=1, keep_daily=0, keep_weekly=0, keep_monthly=0)
    left = tf.list_snapshots(tmp_path)
    assert left["as_of"].dt.day.tolist() == [2, 2, 2]
    assert set(left["connection"].fillna("-")) == {"acme", "zen", "-"}


def test_snapshots_of_the_same_connections_are_thinned_as_one(tmp_path):
    names = [write_several(tmp_path, day, acme=None, beta=None) for day in (1, 2, 3)]
    table = tf.prune_snapshots(tmp_path, **ONE | {"keep_daily": 2})
    assert kept(table) == {names[1]: "daily", names[2]: "last"}
    assert tf.list_snapshots(tmp_path)["name"].tolist() == names[1:]
    assert len(tf.read_snapshot(tmp_path).orders) == 2


def test_a_connection_more_does_not_keep_all_that_was_before_it(tmp_path):
    write_several(tmp_path, 1, acme=None, beta=None)
    write_several(tmp_path, 2, acme=None, beta=None, zen=None)
    last = write_several(tmp_path, 3, acme=None, beta=None, zen=None)
    assert kept(tf.prune_snapshots(tmp_path, **ONE)) == {last: "last"}


def test_the_last_that_had_a_connection_is_kept(tmp_path):
    write_several(tmp_path, 1, acme=None, beta=None)
    second = write_several(tmp_path, 2, acme=None, beta=None)
    write_several(tmp_path, 3, acme=None)
    last = write_several(tmp_path, 4, acme=None)
    assert kept(tf.prune_snapshots(tmp_path, **ONE)) == {second: "last", last: "last"}


def test_a_connection_that_stays_behind_does_not_thin_the_others(tmp_path):
    # beta is as of the first day in all of them, and so is each as a whole
    names = [write_several(tmp_path, day, acme=None, beta=1) for day in (1, 2, 3)]
    assert tf.list_snapshots(tmp_path)["as_of"].dt.day.tolist() == [1, 1, 1]
    table = tf.prune_snapshots(tmp_path, **ONE | {"keep_daily": 2})
    assert kept(table) == {names[1]: "daily", names[2]: "last"}


def test_a_connection_alone_and_among_several_is_one(tmp_path):
    write(tmp_path, "2026-01-01", "acme")
    odd = write(tmp_path, "2026-01-02", "acme, beta")  # one label, with a comma
    both = write_several(tmp_path, 3, acme=None, beta=None)
    last = write(tmp_path, "2026-01-04", "acme")
    assert set(kept(tf.prune_snapshots(tmp_path, **ONE))) == {odd, both, last}


def test_what_shares_files_with_a_removed_one_stays_whole(serve, tmp_path):
    client = serve(orders=40).client(rate_limit=None, cache=False)
    for _ in range(3):
        last = tf.sync_orders(tmp_path, client=client)
    assert last.files["orders"][0].stat().st_nlink == 3
    tf.prune_snapshots(tmp_path, keep_last=1, keep_daily=0, keep_weekly=0, keep_monthly=0)
    assert tf.list_snapshots(tmp_path)["name"].tolist() == [last.name]
    assert len(last.read().orders) == 40
    assert len(tf.sync_orders(tmp_path, client=client).read().orders) == 40


def test_foreign_folders_are_left_alone_and_no_snapshots_are_fine(tmp_path):
    (tmp_path / "notes").mkdir()
    assert len(tf.prune_snapshots(tmp_path)) == 0
    assert (tmp_path / "notes").is_dir()
    assert len(tf.prune_snapshots(tmp_path / "nowhere")) == 0


@pytest.mark.parametrize(
    "wrong", [{"keep_last": 0}, {"keep_daily": -1}, {"keep_weekly": 1.5}, {"dry_run": 1}]
)
def test_a_rule_that_is_none_removes_nothing(tmp_path, wrong):
    for day in (1, 2):
        write(tmp_path, f"2026-01-0{day}")
    with pytest.raises(tf.SettingsError, match=next(iter(wrong))):
        tf.prune_snapshots(tmp_path, **wrong)
    assert len(tf.list_snapshots(tmp_path)) == 2
