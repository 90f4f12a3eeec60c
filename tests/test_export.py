"""Exports: what a fetch would have given, straight to disk; complete, or an error that goes on."""

import os
import pickle
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from itertools import pairwise

import dask.dataframe as dd
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from helpers import marked_orders, reference
from helpers.marks import sample
from helpers.traffic import count_requests, split_requests

import trackstar_frames as tf
from trackstar_frames.sandbox import Fault
from trackstar_frames.schema import TABLES
from trackstar_frames.snapshots import spill, writer

PAGE, PART = 7, 23
ASKED = {
    "all": {},
    "bounded": {"created_date__gte": "2000-01-01"},
    "one status": {"status": "fulfilled"},
    "one page": {"page_size": 1000},
    "limit": {"limit": 37},
    "limit of a page": {"limit": 14},
    "nothing": {"order_number": "no such number"},
}
#: What tells of the way, and not of what was asked and found.
OF_THE_WAY = ("started_at", "fetched_at", "server_time", "requests", "from_cache")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Make runs, blocks and parts so small that 60 orders fill several."""
    monkeypatch.setattr(spill, "_RUN_SIZE", 25)
    monkeypatch.setattr(spill, "_BLOCK_SIZE", 7)
    monkeypatch.setattr(writer, "PART_SIZE", PART)


def export(root, client, **asked):
    return tf.export_orders(root, client=client, **({"page_size": PAGE} | asked))


def assert_same(snapshot, frames):
    for name, table in snapshot.read().to_arrow().items():
        assert table.equals(frames.to_arrow()[name]), name
    reported, known = (
        {name: value for name, value in info.items() if name not in OF_THE_WAY}
        for info in (snapshot.info, frames.info)
    )
    assert reported == known
    assert snapshot.read().info == snapshot.info


@pytest.mark.one_of(6)
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_it_is_what_a_fetch_gives(serve_with_client, root, asked):
    sandbox, client = serve_with_client()
    snapshot = export(root, client, **asked)
    frames = tf.fetch_orders(client=client, refresh=True, **({"page_size": PAGE} | asked))
    assert_same(snapshot, frames)
    reference.assert_frames_are_part(snapshot.read(), sandbox.orders)
    assert len(frames.orders) == 60 or asked.keys() - {"created_date__gte", "page_size"}
    assert [each.name for each in root.iterdir()] == [snapshot.name]
    parts = [pq.read_metadata(file).num_rows for file in snapshot.files["orders"]]
    assert parts[:-1] == [PART] * (len(parts) - 1)
    assert len(parts) == max(1, -(-len(frames.orders) // PART))


@pytest.mark.slow
@pytest.mark.parametrize("odd", [0.0, 1.0])
def test_odd_orders_and_those_without_an_id_are_kept(serve, root, some_orders, odd):
    strays = [{"name": "no id", "number": number} for number in range(5)]
    undated = [each | {"created_date": None} for each in some_orders[50:60]]
    orders = [*some_orders[:50], *undated]
    for place in (0, 20, 21, 40, 59):
        orders.insert(place, strays.pop())
    sandbox = serve(orders=orders) if not odd else serve(orders=60, odd=odd)
    client = sandbox.client(rate_limit=None)
    snapshot = export(root, client)
    assert_same(snapshot, tf.fetch_orders(client=client, page_size=PAGE, refresh=True))
    assert len(snapshot.read().problems) == (0 if odd else 5)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("pii", ["drop", "hash"])
def test_personal_data_are_redacted_and_no_body_is_kept(serve_with_client, root, monkeypatch, pii):
    monkeypatch.setenv("TRACKSTAR_PII_KEY", "the-key-of-these-tests-0123456789")
    _, client = serve_with_client(Fault("status", status=403, nth=3), orders=marked_orders.ORDERS)
    with pytest.raises(tf.IncompleteFetchError) as caught:
        export(root, client, pii=pii)
    assert list(root.iterdir()) == []
    assert not any(bodies_on_disk(client))
    snapshot = caught.value.resume()
    assert_same(snapshot, tf.fetch_orders(client=client, page_size=PAGE, pii=pii))
    assert not any(bodies_on_disk(client))
    files = [path for path in root.rglob("*") if path.is_file()]
    assert marked_orders.marks(path.read_bytes() for path in files) == []
    assert (
        marked_orders.marks(pd.read_parquet(path).to_csv() for path in root.rglob("*.parquet"))
        == []
    )


def bodies_on_disk(client):
    """Tell of each answer in the cache whether there is anything in it."""
    with closing(sqlite3.connect(client.settings.cache_dir / "http" / "pages.sqlite")) as db:
        keys = [key for (key,) in db.execute("SELECT key FROM pages")]
    return [bool(client.session._cache.read(key).body) for key in keys]


@pytest.mark.each_value
@pytest.mark.parametrize("kind", ["duplicate", "new_order", "gone_order"])
@pytest.mark.parametrize("asked", ["all", "bounded"])
def test_orders_that_come_twice_come_or_go_are_there_once(serve_with_client, root, kind, asked):
    sandbox, client = serve_with_client(Fault(kind, every=3))
    before = sandbox.orders
    snapshot = export(root, client, **ASKED[asked])
    frames = snapshot.read()
    received = reference.received(frames, before, sandbox.orders)
    assert not received or (kind, asked) == ("gone_order", "bounded")
    reference.assert_frames_hold(frames, sandbox.orders + received)
    assert snapshot.info["duplicates"] > 0 or kind != "duplicate" or asked != "all"


def test_an_order_that_changes_meanwhile_is_taken_as_it_is_at_last(serve_with_client, root):
    fault = Fault("changed_order", change={"status": "other"})
    sandbox, client = serve_with_client(fault, order="updated_date")
    snapshot = export(root, client)
    assert snapshot.info["duplicates"] > 0
    reference.assert_frames_hold(snapshot.read(), sandbox.orders)


@pytest.mark.slow
def test_the_newest_of_an_order_is_kept_with_its_children(serve_with_client, root, some_orders):
    old = some_orders[3] | {"updated_date": "2001-01-01T00:00:00Z", "line_items": []}
    undated = some_orders[3] | {"updated_date": None, "shipments": []}
    orders = [old, *some_orders[:60], undated]
    _, client = serve_with_client(orders=orders)
    snapshot = export(root, client)
    assert snapshot.info["duplicates"] == 2
    kept = snapshot.read().to_arrow()
    expected = tf.OrderFrames.from_json(some_orders[:60]).to_arrow()
    assert kept["line_items"].equals(expected["line_items"])
    assert kept["shipments"].equals(expected["shipments"])


@pytest.mark.slow
def test_a_server_that_ignores_the_dates_gives_every_order_once(serve_with_client, root):
    sandbox, client = serve_with_client(Fault("ignores_dates"))
    snapshot = export(root, client, created_date__gte="2000-01-01")
    reference.assert_frames_hold(snapshot.read(), sandbox.orders)


def test_its_files_are_small_typed_and_can_be_skipped(serve_with_client, root):
    _, client = serve_with_client()
    snapshot = export(root, client)
    for name, files in snapshot.files.items():
        for file in files:
            meta = pq.read_metadata(file)
            assert meta.num_row_groups <= 1
            columns = [meta.row_group(0).column(n) for n in range(meta.num_columns)]
            assert {column.compression for column in columns} == {"ZSTD"}
            assert pq.read_schema(file).remove_metadata() == TABLES[name].schema
            words = [each for each in columns if each.physical_type == "BYTE_ARRAY"]
            assert all("RLE_DICTIONARY" in each.encodings for each in words if each.num_values)
    spans = [created_span(file) for file in snapshot.files["orders"]]
    assert spans == sorted(spans)
    assert all(end <= first for (_, end), (first, _) in pairwise(spans))


def created_span(file):
    meta = pq.read_metadata(file)
    place = pq.read_schema(file).get_field_index("created_date")
    found = meta.row_group(0).column(place).statistics
    assert (found.has_min_max, found.null_count) == (True, 0)
    return found.min, found.max


def test_engines_skip_parts_outside_the_requested_time(serve_with_client, root):
    _, client = serve_with_client()
    snapshot = export(root, client)
    moment = snapshot.read().orders["created_date"][50]
    wanted = pc.field("created_date") >= pa.scalar(moment)
    folder = ds.dataset(snapshot.path / "orders", format="parquet")
    groups = [fragment.subset(wanted).num_row_groups for fragment in folder.get_fragments()]
    assert groups == [0, 0, 1]
    found = duckdb.sql(
        f"select count(*) from parquet_metadata('{snapshot.path}/orders/*.parquet') "
        f"where path_in_schema = 'created_date' and stats_max_value::timestamptz >= '{moment}'"
    )
    assert found.fetchall() == [(1,)]


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # dask's, of pandas
def test_engines_read_it_without_this_package(serve_with_client, root):
    _, client = serve_with_client()
    path = export(root, client).path
    whole = tf.OrderFrames.from_parquet(path).orders
    ids, units = whole["id"].tolist(), int(whole["units_ordered"].sum())
    assert pd.read_parquet(path / "orders")["id"].tolist() == ids
    assert pl.read_parquet(path / "orders")["id"].to_list() == ids
    assert pl.scan_parquet(path / "orders/*.parquet").collect()["units_ordered"].sum() == units
    rows = duckdb.sql(f"select id, units_ordered from '{path}/orders/*.parquet'").fetchall()
    assert ([row[0] for row in rows], sum(row[1] for row in rows)) == (ids, units)
    lazy = dd.read_parquet(path / "orders")
    assert lazy.compute()["id"].tolist() == ids
    assert lazy["units_ordered"].sum().compute() == units
    for name in TABLES:
        rows = len(tf.OrderFrames.from_parquet(path).to_arrow()[name])
        assert len(pd.read_parquet(path / name)) == len(dd.read_parquet(path / name)) == rows


BREAKS = [
    Fault("reset_mid", nth=4),
    Fault("no_data", first_page=False, nth={2, 3}),
]
DENIED = Fault("status", status=403, nth=3)
CASES = [(fault, "all", "resume") for fault in BREAKS]
CASES += [(DENIED, asked, "resume") for asked in ("all", "bounded", "limit")]
CASES += [(DENIED, "all", "call"), (DENIED, "bounded", "call")]


@pytest.mark.one_of(4)
@pytest.mark.parametrize(
    "case",
    sample([(case,) for case in CASES], 2),
    ids=lambda case: f"{case[0].kind} {case[1]} {case[2]}",
)
def test_a_failed_export_continues_from_what_is_on_disk(serve_with_client, root, case):
    fault, name, again = case
    sandbox, client = serve_with_client(fault, client={"retries": 0})
    run = partial(export, root, client, max_workers=1, **ASKED[name])
    found, broken = attempt(run), 0
    while isinstance(found, tf.IncompleteFetchError):
        broken += 1
        assert found.frames is None
        assert found.pages > 0
        assert list(root.iterdir()) == []
        found = attempt(run if again == "call" else found.resume)
    # But for those that broke, no page was asked for twice.
    paths, closing = split_requests(sandbox.requests)
    assert len(paths) == len(set(paths)) + broken > len(set(paths))
    assert len(closing) == len(set(closing)) == (0 if name == "limit" else 2)
    reference.assert_frames_are_part(found.read(), sandbox.orders)
    assert len(found.read().orders) == ASKED[name].get("limit", 60)
    # What is finished is asked for anew.
    started = len(sandbox.requests)
    assert_same(run(), found.read())
    again, closing_again = split_requests(sandbox.requests[started:])
    assert sorted(again) == sorted(set(paths))
    assert len(closing_again) == len(closing)


def attempt(run):
    """Give what it gives, or the error that it breaks with."""
    try:
        return run()
    except tf.IncompleteFetchError as error:
        return error


def test_an_error_that_was_pickled_holds_no_credential(serve_with_client, root):
    _, client = serve_with_client(Fault("status", status=403, nth=3))
    with pytest.raises(tf.IncompleteFetchError) as caught:
        export(root, client)
    known = pickle.dumps(caught.value)
    assert client.session._credentials.api_key.encode() not in known
    with pytest.raises(tf.SettingsError, match="make the same call again"):
        pickle.loads(known).resume()


@pytest.mark.slow
def test_an_export_with_another_limit_does_not_resume(serve_with_client, root):
    sandbox, client = serve_with_client(Fault("status", status=403, nth=3))
    with pytest.raises(tf.IncompleteFetchError):
        export(root, client, limit=37)
    started = len(sandbox.requests)
    export(root, client)
    assert count_requests(sandbox.requests[started:]) == (9, 2)


def test_refresh_starts_an_export_again(serve_with_client, root):
    sandbox, client = serve_with_client(
        Fault("status", status=403, nth=3), Fault("status", status=403, nth=3 + 3)
    )
    with pytest.raises(tf.IncompleteFetchError):
        export(root, client)
    with pytest.raises(tf.IncompleteFetchError) as caught:
        export(root, client, refresh=True)
    assert len(sandbox.requests) == 6
    snapshot = caught.value.resume()  # goes on from what the new beginning has brought
    assert count_requests(sandbox.requests) == (6 + 7, 2)
    reference.assert_frames_hold(snapshot.read(), sandbox.orders)


@pytest.mark.slow
def test_it_works_without_a_cache(serve_with_client, root):
    fault = Fault("status", status=403, nth=3)
    sandbox, client = serve_with_client(fault, client={"cache": False})
    with pytest.raises(tf.IncompleteFetchError) as caught:
        export(root, client)
    reference.assert_frames_hold(caught.value.resume().read(), sandbox.orders)
    assert count_requests(sandbox.requests) == (3 + 9, 2)
    reference.assert_frames_hold(export(root, client, refresh=True).read(), sandbox.orders)


@pytest.mark.slow
def test_pages_of_a_fetch_are_requested_again_but_offline(serve_with_client, root):
    sandbox, client = serve_with_client()
    with pytest.raises(tf.OfflineMissError):
        export(root, client, offline=True)
    assert list(root.iterdir()) == []
    frames = tf.fetch_orders(client=client, page_size=PAGE)
    assert count_requests(sandbox.requests) == (9, 2)
    offline = export(root, client, offline=True)
    assert count_requests(sandbox.requests) == (9, 2)
    assert (offline.info["requests"], offline.info["from_cache"]) == (0, 9)
    assert offline.info["fetched_at"] == frames.info["fetched_at"]
    assert_same(offline, frames)
    assert export(root, client).info["requests"] == 9 + 2
    reference.assert_frames_hold(tf.read_snapshot(root), sandbox.orders)


def test_offline_ends_no_export_that_broke(serve_with_client, root):
    sandbox, client = serve_with_client(Fault("status", status=403, nth=3))
    with pytest.raises(tf.IncompleteFetchError):
        export(root, client)
    with pytest.raises(tf.IncompleteFetchError) as caught:
        export(root, client, offline=True)
    assert type(caught.value.__cause__) is tf.OfflineMissError
    export(root, client)
    assert count_requests(sandbox.requests) == (3 + 7, 2)


def test_on_the_first_page_it_is_the_cause_itself(serve_with_client, root):
    _, client = serve_with_client(Fault("status", status=403, nth=1))
    with pytest.raises(tf.AuthError):
        export(root, client)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [{"stauts": "open"}, {"limit": 0}, {"pii": "no"}, {"max_workers": 99}, {"client": "c"}]
)
def test_an_invalid_call_does_nothing(serve_with_client, root, wrong):
    sandbox, client = serve_with_client()
    with pytest.raises((tf.FilterError, tf.SettingsError)):
        tf.export_orders(root, **({"client": client} | wrong))
    assert (sandbox.requests, root.exists()) == ([], False)


def test_an_unusable_root_is_a_snapshot_error(serve_with_client, tmp_path):
    sandbox, client = serve_with_client()
    (tmp_path / "file").write_text("in the way")
    for root in (tmp_path / "file", tmp_path / "file" / "root"):
        with pytest.raises(tf.SnapshotError, match="cannot write under"):
            export(root, client)
    assert sandbox.requests == []
    assert (tmp_path / "file").read_text() == "in the way"


def test_what_else_is_under_the_root_stays(serve_with_client, root):
    (root / "notes" / "orders").mkdir(parents=True)
    (root / "notes" / "orders" / "x.parquet").write_text("mine")
    (root / "readme.txt").write_text("mine")
    (root / ".git").mkdir()
    sandbox, client = serve_with_client()
    snapshot = export(root, client)
    reference.assert_frames_hold(tf.read_snapshot(root), sandbox.orders)
    assert {each.name for each in root.iterdir()} == {
        ".git", "notes", "readme.txt", snapshot.name
    }  # fmt: skip


FULL_DISK = """
import resource, signal, sys
import trackstar_frames as tf
from trackstar_frames.snapshots import spill

root, key, token, url, run, size = sys.argv[1:]
spill._RUN_SIZE = int(run)
client = tf.TrackstarClient(key, token, base_url=url, cache=False, rate_limit=None)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))
try:
    tf.export_orders(root, client=client, page_size=50)
except tf.SnapshotError as error:
    print("SnapshotError")
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX resource limits")
@pytest.mark.parametrize(
    ("run", "size"), sample([(100, 4096), (3, 32768)], 2), ids=["spill", "parquet"]
)
def test_a_full_disk_spoils_no_earlier_snapshot(shared_sandbox, root, run, size):
    before = tf.export_orders(root, client=shared_sandbox.client(cache=False, rate_limit=None))
    given = (
        root,
        shared_sandbox.api_key,
        shared_sandbox.access_token,
        shared_sandbox.base_url,
        run,
        size,
    )
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *map(str, given)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("SnapshotError\n", "")
    assert [each.name for each in root.iterdir()] == [before.name]
    reference.assert_frames_hold(tf.read_snapshot(root), shared_sandbox.orders)
