"""Syncs: ask for what has changed, write the whole as it is now, and miss nothing."""

import json
import os
import re
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers.marks import sample, slow

import trackstar_frames as tf
from trackstar_frames.sandbox import Fault, Sandbox
from trackstar_frames.schema import TABLES
from trackstar_frames.snapshots import spill, writer
from trackstar_frames.snapshots.manifest import MANIFEST_NAME

PART = 20
NOW = "2026-09-01T12:00:00Z"
TRACKSTAR_UPDATED, UPDATED, CREATED = "trackstar_updated_date", "updated_date", "created_date"


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(spill, "_RUN_SIZE", 25)
    monkeypatch.setattr(spill, "_BLOCK_SIZE", 15)
    monkeypatch.setattr(writer, "PART_SIZE", PART)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def made(number, at="2026-08-01T00:00:00Z", **more):
    """Make an order that a few bytes tell."""
    return {
        "id": f"o{number:03}",
        "created_date": f"2026-07-{1 + number % 28:02}T00:00:{number % 60:02}Z",
        UPDATED: at,
        TRACKSTAR_UPDATED: at,
        "status": "open",
        "line_items": [{"sku": f"s{number}", "quantity": 1}],
        "shipments": [],
        **more,
    }


MADE = [made(number) for number in range(60)]
# What one order alone has tells of nothing.
STAMP, NEWEST = MADE[0][TRACKSTAR_UPDATED], sorted(each[CREATED] for each in MADE)[-2]


@pytest.fixture
def shop(serve):
    """Serve orders with all stamps alike; give the server and a client of it."""

    def start(*faults, orders=MADE, client=None, **options):
        sandbox = serve(*faults, orders=orders, **options)
        return sandbox, sandbox.client(**({"rate_limit": None, "retries": 0} | (client or {})))

    return start


def sync(root, client, **options):
    return tf.sync_orders(root, client=client, **({"overlap": 0} | options))


def assert_true(snapshot, sandbox):
    """It holds what the server holds, to the letter."""
    page = msgspec.json.encode({"data": sandbox.orders, "next_token": None})
    held = snapshot.read().to_arrow()
    for name, table in tf.OrderFrames.from_json(page).to_arrow().items():
        assert held[name].equals(table), name


def counts(snapshot):
    return tuple(snapshot.info["sync"][name] for name in ("new", "changed", "unchanged"))


def bounds_since(sandbox, first_request):
    """Give the filters of the requests after the first so many."""
    found = [
        re.findall(r"(\w+)%5Bgte%5D=([^&]+)", each.path)
        for each in sandbox.requests[first_request:]
    ]
    return [{name: value.replace("%3A", ":") for name, value in pairs} for pairs in found]


def stamps_since(sandbox, first_request):
    """Give by which stamps the requests after the first so many have asked, one each."""
    found = bounds_since(sandbox, first_request)
    assert sum(map(len, found)) == len(found) == len({name for each in found for name in each})
    return {name: moment for each in found for name, moment in each.items()}


def inodes(snapshot):
    return {name: [file.stat().st_ino for file in files] for name, files in snapshot.files.items()}


def test_the_first_is_an_export(shop, root):
    sandbox, client = shop()
    snapshot = sync(root, client)
    assert_true(snapshot, sandbox)
    assert counts(snapshot) == (60, 0, 0)
    assert snapshot.info["sync"]["base"] is None
    assert len(snapshot.files["orders"]) == 3


def test_new_and_changed_orders_are_counted_and_put_in_place(shop, root):
    sandbox, client = shop()
    first = sync(root, client)
    sandbox.upsert(
        [
            made(3, NOW, status="fulfilled"),
            made(4, NOW, line_items=[{"sku": "other"}]),
            made(5, NOW, shipments=[{"packages": [{"tracking_number": "1Z"}]}]),
            made(6, NOW),
            made(70, NOW),
            made(71, NOW, created_date=None),
        ]
    )
    first_request = len(sandbox.requests)
    snapshot = sync(root, client)
    assert_true(snapshot, sandbox)
    # The stamps of o006 have changed, and a stamp is a value of an order as any other.
    assert counts(snapshot) == (2, 4, 60 - 4)
    assert snapshot.info["sync"]["base"] == first.name
    assert stamps_since(sandbox, first_request) == {
        TRACKSTAR_UPDATED: STAMP,
        UPDATED: STAMP,
        CREATED: NEWEST,
    }
    # The six, and the two that were created last.
    assert counts(sync(root, client)) == (0, 0, 8)


def test_it_requests_nothing_twice_and_is_idempotent(shop, root):
    sandbox, client = shop()
    first = sync(root, client)
    sandbox.upsert([made(n, NOW, status="fulfilled") for n in (3, 4)])
    second = sync(root, client)
    for _ in range(2):
        third = sync(root, client)
        assert counts(third) == (0, 0, 4)  # those that changed last, and were created last
        assert third.info["requests"] == 3
        assert inodes(third) == inodes(second)
    assert_true(third, sandbox)
    assert first.read().orders["status"].eq("open").all()


def shared(first, second):
    """Tell of each table which parts two snapshots share."""
    was, now = inodes(first), inodes(second)
    return {name: [a == b for a, b in zip(was[name], now[name], strict=True)] for name in TABLES}


@pytest.mark.one_of(4)
@pytest.mark.parametrize(
    ("change", "written"),
    [
        ({"status": "fulfilled"}, {"orders"}),
        ({"line_items": [{"sku": "other", "quantity": 9}]}, {"orders", "line_items"}),
        ({"total_price": "dear"}, {"orders", "problems"}),
    ],
)
def test_only_the_files_that_have_changed_are_written(shop, root, change, written):
    sandbox, client = shop()
    first = sync(root, client)
    changed = first.read().orders["id"][PART + 3]
    sandbox.upsert([made(int(changed[1:]), NOW, **change)])
    second = sync(root, client)
    assert_true(second, sandbox)
    assert shared(first, second) == {name: [True, name not in written, True] for name in TABLES}
    assert tf.list_snapshots(root)["orders"].tolist() == [60, 60]


@pytest.mark.slow
def test_of_a_part_with_a_new_order_every_file_is_written(shop, root):
    sandbox, client = shop()
    first = sync(root, client)
    changed = first.read().orders[["id", "created_date"]].iloc[PART + 3]
    created = f"{changed['created_date']:%Y-%m-%dT%H:%M:%SZ}"
    sandbox.upsert([made(80, NOW, created_date=created)])
    second = sync(root, client)
    assert_true(second, sandbox)
    assert shared(first, second) == {name: [True, False, True] for name in TABLES}


def test_where_links_cannot_be_parts_are_copied(shop, root, monkeypatch):
    sandbox, client = shop()
    first = sync(root, client)

    def refuse(*_):
        raise OSError("this disk knows no links")

    monkeypatch.setattr(os, "link", refuse)
    second = sync(root, client)
    assert_true(second, sandbox)
    for name, files in second.files.items():
        for file, other in zip(files, first.files[name], strict=True):
            assert file.read_bytes() == other.read_bytes()
            assert file.stat().st_ino != other.stat().st_ino
            assert os.name == "nt" or file.stat().st_mode & 0o777 == 0o600


def test_parts_that_grow_are_divided_and_those_that_are_empty_go(shop, root):
    sandbox, client = shop()
    sync(root, client)
    sandbox.upsert([made(100 + n, NOW, created_date="2026-07-15T00:00:00Z") for n in range(50)])
    grown = sync(root, client)
    assert_true(grown, sandbox)
    sizes = [pq.read_metadata(file).num_rows for file in grown.files["orders"]]
    assert max(sizes) <= PART * 1.2
    late = "2026-09-01T13:00:00Z"
    moved = grown.read().orders["id"][: sizes[0]]
    sandbox.upsert([made(int(key[1:]), late, created_date=None) for key in moved])
    shrunk = sync(root, client)
    assert_true(shrunk, sandbox)
    assert counts(shrunk)[0:2] == (0, sizes[0])


@pytest.mark.slow
def test_an_order_whose_creation_changed_moves(shop, root):
    sandbox, client = shop()
    sync(root, client)
    dates = ("2001-01-01T00:00:00Z", "2026-07-20T00:00:00Z", "2030-01-01T00:00:00Z", None)
    for number, date in enumerate(dates):
        sandbox.upsert([made(20, f"2026-09-01T12:00:{number:02}Z", created_date=date)])
        snapshot = sync(root, client)
        assert_true(snapshot, sandbox)
        assert counts(snapshot)[:2] == (0, 1)


def test_orders_deleted_at_the_source_stay(shop, root):
    sandbox, client = shop()
    sync(root, client)
    sandbox.delete(["o003"])
    assert len(sync(root, client).read().orders) == 60
    assert len(tf.export_orders(root, client=client).read().orders) == 59
    assert len(sync(root, client).read().orders) == 59


@pytest.mark.slow
def test_orders_without_an_id_are_not_multiplied(shop, root):
    strays = [{"name": "n", TRACKSTAR_UPDATED: NOW}, {"name": "m", TRACKSTAR_UPDATED: NOW}]
    sandbox, client = shop(orders=[*MADE, *strays])
    assert len(sync(root, client).read().problems) == 2
    for _ in range(2):
        snapshot = sync(root, client)
        assert len(snapshot.read().problems) == 2
        assert snapshot.info["requests"] == 3
    sandbox.upsert([{"name": "k", TRACKSTAR_UPDATED: NOW}])
    assert_true(sync(root, client), sandbox)
    assert_true(sync(root, client), sandbox)


@pytest.mark.slow
def test_orders_without_an_id_that_two_listings_give_come_once(shop, root):
    mixed = [without(each, TRACKSTAR_UPDATED) if n % 2 else each for n, each in enumerate(MADE)]
    sandbox, client = shop(orders=[*mixed, {"name": "n", TRACKSTAR_UPDATED: NOW, UPDATED: NOW}])
    sync(root, client)
    sandbox.upsert([{"name": name, TRACKSTAR_UPDATED: NOW, UPDATED: NOW} for name in ("m", "k")])
    for _ in range(2):
        snapshot = sync(root, client)
        assert snapshot.info["sync"]["by"] == [TRACKSTAR_UPDATED, UPDATED, CREATED]
        assert_true(snapshot, sandbox)


@pytest.mark.slow
def test_values_that_cannot_be_read_are_those_of_now(shop, root):
    sandbox, client = shop(orders=[made(n, total_price=f"odd {n}") for n in range(60)])
    sync(root, client)
    sandbox.upsert([made(9, total_price="odder"), made(10), made(11, total_price=2)])
    snapshot = sync(root, client)
    assert_true(snapshot, sandbox)
    assert counts(snapshot) == (0, 3, 57)


def test_an_empty_connection_is_synced_too(shop, root):
    sandbox, client = shop(orders=[])
    assert counts(sync(root, client)) == (0, 0, 0)
    assert counts(sync(root, client)) == (0, 0, 0)
    sandbox.upsert([made(1, "2099-01-01T00:00:00Z")])
    assert_true(sync(root, client), sandbox)


# --- Since when


def test_it_looks_back_from_the_newest_stamp_that_was_seen(shop, root):
    sandbox, client = shop(orders=[*MADE, made(60, NOW), made(61, NOW)])
    sync(root, client)
    for overlap, since in (
        ("2h", "2026-09-01T10:00:00Z"),
        (90, "2026-09-01T11:58:30Z"),
        (timedelta(days=1), "2026-08-31T12:00:00Z"),
    ):
        first_request = len(sandbox.requests)
        snapshot = sync(root, client, overlap=overlap)
        options = stamps_since(sandbox, first_request)
        assert (options[TRACKSTAR_UPDATED], options[UPDATED]) == (since, since)
        sync_info = datetime.fromisoformat(snapshot.info["sync"]["since"])
        assert sync_info == datetime.fromisoformat(since)
    assert snapshot.info["sync"]["overlap"] == 86400


@pytest.mark.slow
def test_stamps_in_the_future_are_ignored(shop, root):
    far = "2999-01-01T00:00:00Z"
    sandbox, client = shop(orders=[*MADE, made(60, far, created_date=far)])
    sync(root, client)
    first_request = len(sandbox.requests)
    snapshot = sync(root, client)
    assert stamps_since(sandbox, first_request) == {
        TRACKSTAR_UPDATED: STAMP,
        UPDATED: STAMP,
        CREATED: NEWEST,
    }
    assert snapshot.info["sync"]["since"] == "2026-08-01T00:00:00+00:00"


@pytest.mark.slow
def test_a_stamp_that_one_order_alone_has_moves_nothing(shop, root, monkeypatch):
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() + 86_400)  # ours, and the server's
    odd = datetime.now(UTC) + timedelta(hours=12)
    sandbox, client = shop(orders=[*MADE, made(60, f"{odd:%Y-%m-%dT%H:%M:%SZ}")])
    sync(root, client)
    sandbox.upsert([made(3, NOW, status="fulfilled")])
    first_request = len(sandbox.requests)
    assert_true(sync(root, client), sandbox)
    assert stamps_since(sandbox, first_request) == {
        TRACKSTAR_UPDATED: STAMP,
        UPDATED: STAMP,
        CREATED: NEWEST,
    }


def rewritten(snapshot, root, **info):
    """Write a snapshot's orders once more, as though the fetch had told something else."""
    frames = snapshot.read()
    return tf.write_snapshot(tf.OrderFrames(frames.to_arrow(), {**frames.info, **info}), root)


@pytest.mark.slow
def test_a_clock_that_is_ahead_moves_nothing(shop, root, tmp_path):
    sandbox, client = shop()
    ahead = (datetime.now(UTC) + timedelta(days=9)).isoformat()
    rewritten(sync(tmp_path / "other", client), root, first_request=ahead, fetched_at=ahead)
    first_request = len(sandbox.requests)
    sandbox.upsert([made(3, NOW, status="fulfilled")])
    assert_true(sync(root, client), sandbox)
    assert stamps_since(sandbox, first_request) == {
        TRACKSTAR_UPDATED: STAMP,
        UPDATED: STAMP,
        CREATED: NEWEST,
    }


AGO = {
    minutes: (datetime.now(UTC) - timedelta(minutes=minutes)).replace(microsecond=0)
    for minutes in (20, 50, 80)
}


@pytest.mark.slow
@pytest.mark.parametrize("clock", ["started_at", "fetched_at", "server_time"])
def test_stamps_from_after_the_begin_by_any_clock_move_nothing(shop, root, tmp_path, clock):
    stamps = [f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in AGO.values() for _ in range(2)]
    orders = MADE + [made(60 + n, at) for n, at in enumerate(stamps)]
    sandbox, client = shop(orders=orders)
    rewritten(sync(tmp_path / "other", client), root, **{clock: AGO[50].isoformat()})
    sandbox.upsert([made(3, f"{AGO[20]:%Y-%m-%dT%H:%M:%SZ}", status="fulfilled")])
    first_request = len(sandbox.requests)
    assert_true(sync(root, client), sandbox)
    assert (
        stamps_since(sandbox, first_request)[TRACKSTAR_UPDATED] == f"{AGO[50]:%Y-%m-%dT%H:%M:%SZ}"
    )


@pytest.mark.slow
def test_a_clock_that_is_behind_only_requests_more(shop, root, monkeypatch):
    sandbox, client = shop(orders=[*MADE, made(60, NOW)])
    sync(root, client)
    sandbox.upsert([made(3, "2026-09-02T00:00:00Z", status="fulfilled")])
    behind = datetime(2026, 8, 15, tzinfo=UTC).timestamp()
    monkeypatch.setattr(time, "time", lambda: behind)
    first_request = len(sandbox.requests)
    assert_true(sync(root, client), sandbox)
    assert stamps_since(sandbox, first_request)[TRACKSTAR_UPDATED] == STAMP


def test_the_earliest_possible_date_is_no_stamp(shop, root):
    first = "0001-01-01T00:00:00Z"
    sandbox, client = shop(orders=[made(n, first) for n in range(3)])
    sync(root, client)
    sandbox.upsert([made(1, first, status="fulfilled")])
    snapshot = sync(root, client, overlap="2h")
    assert_true(snapshot, sandbox)
    assert bounds_since(sandbox, 1) == [{}]  # some systems put it where they have no stamp
    assert (
        snapshot.info["sync"]["full"]
        == "3 orders had neither trackstar_updated_date nor updated_date"
    )


@pytest.mark.slow
def test_an_order_that_arrives_late_is_not_missed(shop, root):
    sandbox, client = shop()
    sync(root, client)
    sandbox.upsert([made(90) | {UPDATED: "2019-01-01T00:00:00Z", TRACKSTAR_UPDATED: NOW}])
    assert_true(sync(root, client), sandbox)


# --- By which stamps


def without(order, *stamps):
    return {name: value for name, value in order.items() if name not in stamps}


def test_without_trackstars_stamp_the_sources_is_requested(shop, root):
    sandbox, client = shop(orders=[without(each, TRACKSTAR_UPDATED) for each in MADE])
    sync(root, client)
    sandbox.upsert([without(made(3, NOW, status="fulfilled"), TRACKSTAR_UPDATED)])
    first_request = len(sandbox.requests)
    snapshot = sync(root, client, overlap="1h")
    options = stamps_since(sandbox, first_request)
    # Orders that come to have our stamp are all that have it.
    assert (options[TRACKSTAR_UPDATED], options[UPDATED]) == (
        "1970-01-01T00:00:00Z",
        "2026-07-31T23:00:00Z",
    )
    assert snapshot.info["sync"]["since"] == "2026-07-31T23:00:00+00:00"
    assert_true(snapshot, sandbox)


@pytest.mark.slow
def test_if_some_have_only_the_sources_stamp_both_are_requested(shop, root):
    mixed = [without(each, TRACKSTAR_UPDATED) if n % 2 else each for n, each in enumerate(MADE)]
    sandbox, client = shop(orders=mixed)
    sync(root, client)
    sandbox.upsert([made(2, NOW) | {UPDATED: "2019-01-01T00:00:00Z"}])
    sandbox.upsert([without(made(3, NOW, status="fulfilled"), TRACKSTAR_UPDATED), made(4, NOW)])
    first_request = len(sandbox.requests)
    snapshot = sync(root, client)
    assert stamps_since(sandbox, first_request) == {
        TRACKSTAR_UPDATED: STAMP,
        UPDATED: STAMP,
        CREATED: NEWEST,
    }
    assert snapshot.info["sync"]["by"] == [TRACKSTAR_UPDATED, UPDATED, CREATED]
    assert_true(snapshot, sandbox)
    assert counts(snapshot)[:2] == (0, 3)


@pytest.mark.slow
def test_if_some_have_neither_stamp_all_orders_are_requested(shop, root):
    sandbox, client = shop(orders=[*MADE, without(made(60), TRACKSTAR_UPDATED, UPDATED)])
    sync(root, client)
    sandbox.upsert([without(made(60, status="fulfilled"), TRACKSTAR_UPDATED, UPDATED)])
    first_request = len(sandbox.requests)
    snapshot = sync(root, client)
    assert bounds_since(sandbox, first_request) == [{}]
    assert (snapshot.info["sync"]["by"], snapshot.info["sync"]["since"]) == ([], None)
    assert snapshot.info["sync"]["full"] == f"1 order had neither {TRACKSTAR_UPDATED} nor {UPDATED}"
    assert_true(snapshot, sandbox)
    assert counts(snapshot) == (0, 1, 60)


REFUSED = Fault("status", status=422, where=lambda query: f"{TRACKSTAR_UPDATED}[gte]" in query)


@pytest.mark.slow
def test_if_trackstars_stamp_is_refused_the_sources_is_requested(shop, root):
    sandbox, client = shop(REFUSED)
    sync(root, client)
    sandbox.upsert([made(3, NOW, status="fulfilled")])
    first_request = len(sandbox.requests)
    snapshot = sync(root, client)
    assert bounds_since(sandbox, first_request)[0] == {TRACKSTAR_UPDATED: STAMP}
    assert stamps_since(sandbox, first_request + 1) == {UPDATED: STAMP, CREATED: NEWEST}
    assert snapshot.info["sync"]["by"] == [UPDATED, CREATED]
    assert_true(snapshot, sandbox)


def test_a_sync_continues_from_an_empty_base_by_the_sources_stamp_too(shop, root):
    sandbox, client = shop(REFUSED, orders=[])
    sync(root, client)
    sandbox.upsert([made(1, "2099-01-01T00:00:00Z")])
    assert_true(sync(root, client), sandbox)


def test_if_all_stamps_are_refused_all_orders_are_requested(shop, root):
    fault = Fault("status", status=422, where=lambda query: "updated" in "".join(query))
    sandbox, client = shop(fault)
    sync(root, client)
    sandbox.upsert([made(3, NOW, status="fulfilled")])
    first_request = len(sandbox.requests)
    snapshot = sync(root, client)
    assert_true(snapshot, sandbox)
    assert bounds_since(sandbox, first_request) == [
        {TRACKSTAR_UPDATED: STAMP},
        {UPDATED: STAMP},
        {TRACKSTAR_UPDATED: STAMP},
        {},
    ]
    assert snapshot.info["sync"]["by"] == []
    assert "cannot be requested by stamps" in snapshot.info["sync"]["full"]


@pytest.mark.slow
def test_if_the_sources_stamp_is_refused_trackstars_is_requested(shop, root):
    fault = Fault("status", status=422, where=lambda query: f"{UPDATED}[gte]" in query)
    sandbox, client = shop(fault)
    sync(root, client)
    sandbox.upsert([made(3, NOW, status="fulfilled")])
    snapshot = sync(root, client)
    assert_true(snapshot, sandbox)
    assert snapshot.info["sync"]["by"] == [TRACKSTAR_UPDATED, CREATED]


@pytest.mark.slow
def test_if_some_need_a_refused_stamp_all_orders_are_requested(shop, root):
    mixed = [without(each, UPDATED) if n % 2 else each for n, each in enumerate(MADE)]
    sandbox, client = shop(REFUSED, orders=mixed)
    sync(root, client)
    sandbox.upsert([without(made(3, NOW, status="fulfilled"), UPDATED)])
    snapshot = sync(root, client)
    assert_true(snapshot, sandbox)
    assert snapshot.info["sync"]["by"] == []


def test_a_refusal_of_all_requests_is_an_error(shop, root):
    sandbox, client = shop()
    first = sync(root, client)
    sandbox.stop()
    sandbox, client = shop(Fault("status", status=422))
    with pytest.raises(tf.ApiError) as caught:
        sync(root, client)
    assert caught.value.status == 422
    assert [each.name for each in root.iterdir()] == [first.name]


# --- Orders that come to have stamps, lose them, or never had any


def test_without_orders_all_are_requested(shop, root):
    sandbox, client = shop(orders=[])
    first = sync(root, client)
    sandbox.upsert([without(each, TRACKSTAR_UPDATED) for each in MADE])
    first_request = len(sandbox.requests)
    snapshot = sync(root, client)
    assert_true(snapshot, sandbox)
    assert bounds_since(sandbox, first_request) == [{}]
    assert snapshot.info["sync"]["full"] == "there were no orders"
    assert first.info["sync"]["full"] == "it is the first of these orders"


@pytest.mark.one_of(3)
@pytest.mark.parametrize(
    ("had", "has"),
    [
        ((), (TRACKSTAR_UPDATED,)),
        ((TRACKSTAR_UPDATED,), (UPDATED,)),
        ((UPDATED,), (TRACKSTAR_UPDATED, UPDATED)),
        slow((), ()),
        slow((), (UPDATED,)),
        slow((), (TRACKSTAR_UPDATED, UPDATED)),
        slow((TRACKSTAR_UPDATED,), ()),
        slow((TRACKSTAR_UPDATED,), (TRACKSTAR_UPDATED,)),
        slow((TRACKSTAR_UPDATED,), (TRACKSTAR_UPDATED, UPDATED)),
        slow((UPDATED,), ()),
        slow((UPDATED,), (TRACKSTAR_UPDATED,)),
        slow((UPDATED,), (UPDATED,)),
    ],
)
def test_a_new_order_is_seen_whatever_stamps_it_lacks(shop, root, had, has):
    sandbox, client = shop(orders=[without(each, *had) for each in MADE])
    sync(root, client)
    sandbox.upsert([without(made(70, NOW, created_date=NOW), *has)])
    assert_true(sync(root, client), sandbox)
    sandbox.upsert([without(made(70, NOW, status="fulfilled", created_date=NOW), *has)])
    assert_true(sync(root, client), sandbox)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [TRACKSTAR_UPDATED, UPDATED])
def test_an_order_that_loses_a_stamp_is_seen_by_the_other(shop, root, lost):
    sandbox, client = shop()
    sync(root, client)
    sandbox.upsert([without(made(3, NOW, status="fulfilled"), lost)])
    assert_true(sync(root, client), sandbox)


@pytest.mark.slow
def test_stamps_of_the_past_that_all_orders_come_to_have_are_seen(shop, root):
    sandbox, client = shop(orders=[without(each, TRACKSTAR_UPDATED) for each in MADE])
    sync(root, client)
    sandbox.upsert([{**each, TRACKSTAR_UPDATED: "2026-01-01T00:00:00Z"} for each in MADE])
    assert_true(sync(root, client), sandbox)


# --- Everything, now and then


def test_what_no_stamp_shows_is_seen_by_the_next_full_listing(shop, root, monkeypatch):
    sandbox, client = shop()
    first = sync(root, client, full_every="7D")
    assert (first.info["sync"]["full_at"], first.info["sync"]["gone"]) == (
        first.info["started_at"],
        0,
    )
    unseen = made(4, "2026-07-09T00:00:00Z", status="packed")
    sandbox.upsert([without(made(3, status="fulfilled"), TRACKSTAR_UPDATED, UPDATED), unseen])
    sandbox.delete(["o005", "o050"])
    second = sync(root, client, full_every="7D")
    assert second.read().orders["status"].eq("open").all()
    assert second.info["sync"]["full_at"] == first.info["started_at"]
    later = time.time() + 7 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    # By that clock the server ends connections as idle, maybe in the midst of a request.
    client = sandbox.client(rate_limit=None, retries=0)
    third = sync(root, client, full_every="7D")
    assert_true(third, sandbox)
    assert counts(third) == (0, 2, 56)
    sync_info = third.info["sync"]
    assert (sync_info["gone"], sync_info["by"], sync_info["full_at"]) == (
        2,
        [],
        third.info["started_at"],
    )
    assert sync_info["full"] == f"all orders were last requested at {first.info['started_at']}"
    assert "2 gone" in third._repr_html_()
    assert len(second.read().orders) == 60


@pytest.mark.one_of(2)
@pytest.mark.parametrize("gone", [range(60), [0, 30, 59], slow(range(20)), slow(range(40, 60))])
def test_what_is_gone_from_any_part_goes(shop, root, gone):
    strays = [{"name": name, TRACKSTAR_UPDATED: NOW} for name in ("n", "m")]
    sandbox, client = shop(orders=[*MADE, *strays])
    ids = sync(root, client).read().orders["id"]
    sandbox.delete([ids[n] for n in gone])
    snapshot = sync(root, client, full_every=0)
    assert_true(snapshot, sandbox)
    assert snapshot.info["sync"]["gone"] == len(gone)
    again = sync(root, client, full_every=0)
    assert_true(again, sandbox)
    assert again.info["sync"]["gone"] == 0


@pytest.mark.slow
def test_orders_without_an_id_go_too(shop, root):
    sandbox, client = shop(
        orders=[*MADE, {"name": "n", TRACKSTAR_UPDATED: NOW}, {"name": "m", TRACKSTAR_UPDATED: NOW}]
    )
    sync(root, client)
    sandbox.stop()
    sandbox, client = shop(
        orders=[*MADE, {"name": "m", TRACKSTAR_UPDATED: NOW}], client={"connection": "a"}
    )
    tf.export_orders(root, client=client)
    sync(root, client, full_every=0)
    assert_true(sync(root, client, full_every=0), sandbox)


@pytest.mark.slow
def test_a_full_listing_that_must_be_removes_only_where_that_is_requested(shop, root):
    sandbox, client = shop(orders=[*MADE, without(made(60), TRACKSTAR_UPDATED, UPDATED)])
    sync(root, client)
    sandbox.delete(["o003"])
    kept = sync(root, client)
    assert (kept.info["sync"]["by"], kept.info["sync"]["gone"]) == ([], 0)
    assert len(kept.read().orders) == 61
    snapshot = sync(root, client, full_every="7D")
    assert_true(snapshot, sandbox)
    assert snapshot.info["sync"]["gone"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "sync_info", sample([{}, {"full_at": None}, {"full_at": "2999-01-01T00:00:00+00:00"}], 3)
)
def test_a_full_listing_with_an_implausible_time_is_repeated(shop, root, tmp_path, sync_info):
    _, client = shop()
    first = sync(tmp_path / "other", client)
    rewritten(first, root, sync={"new": 60, "changed": 0, "unchanged": 0} | sync_info)
    snapshot = sync(root, client, full_every="7D")
    assert snapshot.info["sync"]["by"] == []
    assert "not known" in snapshot.info["sync"]["full"]
    assert sync(root, client, full_every="7D").info["sync"]["full"] is None


@pytest.mark.parametrize("wrong", [-1, "soon", float("nan"), True, []])
def test_an_invalid_full_every_is_refused(shop, root, wrong):
    sandbox, client = shop()
    with pytest.raises(tf.SettingsError, match="full_every="):
        sync(root, client, full_every=wrong)
    assert (sandbox.requests, root.exists()) == ([], False)


# --- What may be asked, and by whom


@pytest.mark.parametrize(
    "filters",
    [
        {"status": "open"},
        {"updated_date__gte": "2026-01-01"},
        {"trackstar_updated_date__gte": "2026-01-01"},
        {"trackstar_created_date__gte": "2026-01-01"},
        {"required_ship_date__gte": "2026-01-01"},
        {"trackstar_tags__contains": "x"},
        {"channel": "shopify"},
        {"ids": ["a"]},
        {"limit": 5},
        {"order_number": "1", "stauts": "open"},
    ],
)
def test_filters_on_what_may_change_are_refused(shop, root, filters):
    sandbox, client = shop()
    with pytest.raises(tf.FilterError):
        sync(root, client, **filters)
    assert (sandbox.requests, root.exists()) == ([], False)


@pytest.mark.parametrize(
    "overlap", [*(-1, "soon", None, float("nan"), True, "400 years", "3600"), np.timedelta64(60)]
)
def test_an_invalid_overlap_is_refused(shop, root, overlap):
    sandbox, client = shop()
    with pytest.raises(tf.SettingsError, match="overlap="):
        sync(root, client, overlap=overlap)
    assert (sandbox.requests, root.exists()) == ([], False)


def test_filters_on_what_lasts_are_kept(shop, root):
    sandbox, client = shop()
    options = {"created_date__gte": "2026-07-10", "warehouse_customer_id__neq": "w"}
    sync(root, client, **options)
    sandbox.upsert([made(n, NOW, status="fulfilled") for n in (1, 20)])
    snapshot = sync(root, client, **options)
    frames = tf.fetch_orders(client=client, refresh=True, **options)
    for name, table in frames.to_arrow().items():
        assert snapshot.read().to_arrow()[name].equals(table)
    assert counts(snapshot)[:2] == (0, 1)


@pytest.mark.one_of(2)
@pytest.mark.parametrize(
    "other",
    [
        {"created_date__gte": "2026-07-02"},
        {"pii": "drop"},
        {"pii": "hash"},
        {"extra_params": {"x": 1}},
    ],
)
def test_other_filters_under_the_same_root_are_refused(shop, root, monkeypatch, other):
    monkeypatch.setenv("TRACKSTAR_PII_KEY", "the-key-of-these-tests-0123456789")
    sandbox, client = shop()
    sync(root, client, created_date__gte="2026-07-01")
    first_request = len(sandbox.requests)
    with pytest.raises(
        tf.SnapshotError, match="pass the same on every call, or sync under another"
    ):
        sync(root, client, **({"created_date__gte": "2026-07-01"} | other))
    assert len(sandbox.requests) == first_request
    assert len(list(root.iterdir())) == 1


@pytest.mark.slow
def test_another_pii_key_under_the_same_root_is_refused(shop, root, monkeypatch):
    monkeypatch.setenv("TRACKSTAR_PII_KEY", "the-key-of-these-tests-0123456789")
    _, client = shop()
    sync(root, client, pii="hash")
    assert counts(sync(root, client, pii="hash"))[:2] == (0, 0)
    monkeypatch.setenv("TRACKSTAR_PII_KEY", "another-key-of-these-tests-012345")
    with pytest.raises(tf.SnapshotError, match="under another key of pii"):
        sync(root, client, pii="hash")


@pytest.mark.one_of(2)
@pytest.mark.parametrize("pii", ["drop", "hash"])
def test_redacted_data_stay_redacted(shop, root, monkeypatch, pii):
    monkeypatch.setenv("TRACKSTAR_PII_KEY", "the-key-of-these-tests-0123456789")
    sandbox, client = shop()
    sync(root, client, pii=pii)
    sandbox.upsert([made(3, NOW, ship_to_address={"full_name": "Ada", "state": "NY"})])
    snapshot = sync(root, client, pii=pii)
    frames = tf.fetch_orders(client=client, pii=pii)
    for name, table in frames.to_arrow().items():
        assert snapshot.read().to_arrow()[name].equals(table)
    assert "Ada" not in snapshot.read().orders.to_csv()


@pytest.mark.slow
def test_connections_under_one_root_do_not_mix(root):
    with Sandbox(orders=30, tokens=2, rate_limit=None) as sandbox:
        clients = [
            sandbox.client(token, connection=label, rate_limit=None)
            for token, label in enumerate(["acme", "emca"])
        ]
        for _ in range(2):
            for token, client in enumerate(clients):
                snapshot = sync(root, client)
                ids = {order["id"] for order in sandbox.orders_of(token)}
                assert set(snapshot.read().orders["id"]) == ids
                assert snapshot.info["connection"] == client.connection
    assert tf.list_snapshots(root)["connection"].value_counts().to_dict() == {"acme": 2, "emca": 2}


def test_other_credentials_without_a_label_are_reported(root):
    with Sandbox(orders=30, tokens=2, rate_limit=None) as sandbox:
        sync(root, sandbox.client(0, rate_limit=None))
        with pytest.raises(tf.SnapshotError, match="give the client a connection label"):
            sync(root, sandbox.client(1, rate_limit=None))
        first_request = len(sandbox.requests)
        assert counts(sync(root, sandbox.client(0, rate_limit=None)))[:2] == (0, 0)
        assert len(sandbox.requests) == first_request + 3


@pytest.mark.slow
def test_a_label_outlives_its_token(root):
    with Sandbox(orders=20, tokens=2, rate_limit=None) as sandbox:
        sync(root, sandbox.client(0, connection="acme", rate_limit=None))
        snapshot = sync(root, sandbox.client(1, connection="acme", rate_limit=None), overlap="900D")
        ids = [order["id"] for token in (0, 1) for order in sandbox.orders_of(token)]
        assert sorted(snapshot.read().orders["id"]) == sorted(ids)


def test_frames_that_were_not_fetched_are_no_base(shop, root):
    _, client = shop()
    tf.write_snapshot(tf.OrderFrames.from_json(MADE), root)
    with pytest.raises(tf.SnapshotError, match="does not say which request it is of"):
        sync(root, client)


# --- What it goes on from


def test_it_continues_from_a_fetch_and_from_an_export(shop, root):
    sandbox, client = shop()
    options = {"created_date__gte": "2026-07-01"}
    base = tf.write_snapshot(tf.fetch_orders(client=client, **options), root)
    sandbox.upsert([made(n, NOW, status="fulfilled") for n in (3, 4)])
    snapshot = sync(root, client, **options)
    assert snapshot.info["sync"]["base"] == base.name
    assert_true(snapshot, sandbox)
    base = tf.export_orders(root, client=client, **options)
    sandbox.upsert([made(3, "2026-09-02T00:00:00Z", status="cancelled")])
    snapshot = sync(root, client, **options)
    assert snapshot.info["sync"]["base"] == base.name
    assert_true(snapshot, sandbox)
    assert counts(snapshot) == (0, 1, 3)  # and what changed and was created last


def _is_later_page(armed, query):
    return bool(armed) and "page_token" in query


@pytest.mark.one_of(2)
@pytest.mark.parametrize("breaks", ["first", "later"])
def test_a_sync_that_broke_continues(shop, root, breaks):
    armed = [] if breaks == "later" else [True]
    where = partial(_is_later_page, armed)
    sandbox, client = shop(Fault("status", status=403, times=1, where=where))
    if breaks == "later":
        sync(root, client, page_size=10)
        armed.append(True)
    before = len(sandbox.requests)
    sandbox.upsert([made(n, NOW, status="packed") for n in range(50)])
    with pytest.raises(tf.IncompleteFetchError) as caught:
        sync(root, client, page_size=10)
    assert caught.value.frames is None
    assert len(list(root.iterdir())) == (breaks == "later")
    snapshot = caught.value.resume()
    assert_true(snapshot, sandbox)
    paths = [request.path for request in sandbox.requests[before:]]
    assert len(paths) == len(set(paths)) + 1
    assert snapshot.info["sync"]["overlap"] == 0


@pytest.mark.slow
def test_the_same_call_continues_and_what_has_changed_since_is_not_lost(shop, root):
    sandbox, client = shop(Fault("status", status=403, nth=3))
    with pytest.raises(tf.IncompleteFetchError):
        sync(root, client, page_size=10)
    # The first page is on disk, as it was before this.
    first = json.loads(next(client.iter_pages(page_size=10, offline=True)).body)["data"][0]
    sandbox.upsert([first | {"status": "fulfilled", UPDATED: NOW, TRACKSTAR_UPDATED: NOW}])
    snapshot = sync(root, client, page_size=10)
    assert snapshot.info["from_cache"] == 2
    assert_true(sync(root, client, page_size=10), sandbox)


@pytest.mark.one_of(3)
@pytest.mark.parametrize(
    ("table", "damage"),
    [
        ("orders", "byte"),
        ("line_items", "cut"),
        ("line_items", "gone"),
        slow("orders", "cut"),
        slow("orders", "gone"),
        slow("line_items", "byte"),
    ],
)
def test_a_damaged_base_is_named_and_nothing_is_written(shop, root, table, damage):
    sandbox, client = shop()
    base = sync(root, client)
    sandbox.upsert([each | {"status": "fulfilled", TRACKSTAR_UPDATED: NOW} for each in MADE])
    file = base.files[table][1]
    body = bytearray(file.read_bytes())
    body[len(body) // 8] ^= 0xFF
    file.unlink() if damage == "gone" else file.write_bytes(
        bytes(body) if damage == "byte" else body[: len(body) // 2]
    )
    with pytest.raises(tf.SnapshotError, match=f"{table}.part-00001"):
        sync(root, client)
    assert [each.name for each in root.iterdir()] == [base.name]


@pytest.mark.one_of(2)
@pytest.mark.parametrize("table", ["orders", "line_items"])
def test_a_part_that_is_cut_is_not_taken_over(shop, root, table):
    _, client = shop()
    base = sync(root, client)
    file = base.files[table][1]
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(tf.SnapshotError, match=f"{table}.part-00001.parquet is damaged"):
        sync(root, client)
    assert [each.name for each in root.iterdir()] == [base.name]


def test_a_base_without_its_manifest_is_none(shop, root):
    sandbox, client = shop()
    base = sync(root, client)
    (base.path / MANIFEST_NAME).unlink()
    snapshot = sync(root, client)
    assert snapshot.info["sync"]["base"] is None
    assert_true(snapshot, sandbox)


def test_offline_it_sends_no_request(shop, root):
    sandbox, client = shop()
    sync(root, client)
    with pytest.raises(tf.OfflineMissError):
        sync(root, client, offline=True)
    assert len(sandbox.requests) == 1
    assert len(list(root.iterdir())) == 1


@pytest.mark.slow
def test_the_info_in_the_snapshot_is_the_returned_one(shop, root):
    _, client = shop()
    sync(root, client)
    snapshot = sync(root, client)
    assert tf.read_snapshot(root).info == snapshot.info
