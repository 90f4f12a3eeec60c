import os
import random
import resource
import sqlite3
import stat
import subprocess
import sys
import threading
import warnings
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pyarrow as pa
import pytest
from helpers import reference
from helpers.clock import Clock
from helpers.marks import slow
from helpers.traffic import count_requests, split_requests

import trackstar_frames as tf
from trackstar_frames.http.cache import PageCache
from trackstar_frames.sandbox import Fault, Sandbox

MINE = {"full_name": "Ada Lovelace"}


@contextmanager
def one_warning():
    """Exactly one warning, and it says that the cache is off."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert [w.category for w in caught] == [RuntimeWarning], [str(w.message) for w in caught]
    assert "switched off" in str(caught[0].message)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "http"


@pytest.fixture
def file(folder):
    return folder / "pages.sqlite"


def rows(file):
    with closing(sqlite3.connect(file)) as db:
        return db.execute("SELECT key, value, expires FROM pages ORDER BY key").fetchall()


def everything(folder):
    """All bytes in a folder: raw, and what is packed in cells, unpacked."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.read_bytes()
    for path in folder.rglob("*.sqlite"):
        with closing(sqlite3.connect(path)) as db:
            tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                for row in db.execute(f"SELECT * FROM {table}"):
                    for cell in row:
                        yield from unpacked(cell)


def unpacked(cell):
    yield cell if isinstance(cell, bytes) else str(cell).encode()
    if isinstance(cell, bytes):
        for member in msgspec.msgpack.decode(cell[32:]):
            yield member if isinstance(member, bytes) else str(member).encode()
        _, squeezed, size, *_ = msgspec.msgpack.decode(cell[32:])
        yield pa.Codec("zstd").decompress(squeezed, decompressed_size=size, asbytes=True)


def test_a_second_call_makes_no_request(serve):
    sandbox = serve()
    first = tf.fetch_orders(client=sandbox.client(), page_size=20)
    assert count_requests(sandbox.requests) == (3, 2)
    again = tf.fetch_orders(client=sandbox.client(), page_size=20)
    assert count_requests(sandbox.requests) == (3, 2)
    reference.assert_frames_hold(again, sandbox.orders)
    assert (again.info["from_cache"], again.info["requests"]) == (3, 0)
    assert again.info["fetched_at"] == first.info["fetched_at"]
    other = tf.fetch_orders(client=sandbox.client(), page_size=30)
    assert (other.info["from_cache"], other.info["requests"]) == (0, 2 + 2)


def test_refresh_requests_pages_again(serve):
    sandbox = serve()
    client = sandbox.client(rate_limit=None)
    tf.fetch_orders(client=client, page_size=20)
    changed = sandbox.orders[59] | {"raw_status": "changed"}
    sandbox.upsert([changed])
    stale = tf.fetch_orders(client=client, page_size=20)
    assert "changed" not in set(stale.orders["raw_status"])
    fresh = tf.fetch_orders(client=client, page_size=20, refresh=True)
    assert fresh.info["from_cache"] == 0
    kept = tf.fetch_orders(client=client, page_size=20)
    assert kept.info["from_cache"] == 3
    assert "changed" in set(fresh.orders["raw_status"]) & set(kept.orders["raw_status"])


def test_after_expiry_pages_are_requested_again(serve):
    clock = Clock()
    sandbox = serve()
    client = clock.set_for(sandbox.client(expire_after=60))
    tf.fetch_orders(client=client, page_size=20)
    assert tf.fetch_orders(client=client, page_size=20).info["requests"] == 0
    clock.ahead = 61
    assert tf.fetch_orders(client=client, page_size=20).info["from_cache"] == 0
    clock.ahead = 122
    with pytest.raises(tf.OfflineMissError):
        tf.fetch_orders(client=client, page_size=20, offline=True)


def test_a_shorter_expiry_does_not_take_what_a_longer_one_kept(serve):
    clock = Clock()
    sandbox = serve()
    tf.fetch_orders(client=sandbox.client(), page_size=20)
    clock.ahead = 61
    client = clock.set_for(sandbox.client(expire_after=60))
    frames = tf.fetch_orders(client=client, page_size=20)
    assert frames.info["from_cache"] == 0


def test_the_order_of_filters_and_lists_makes_no_difference(serve):
    sandbox = serve()
    client = sandbox.client()
    tf.fetch_orders(client=client, status=["open", "packed"], type="d2c")
    again = tf.fetch_orders(client=client, type__eq="d2c", **{"status[in]": ["packed", "open"]})
    assert len(sandbox.requests) == again.info["from_cache"] == 1


def test_offline_replays(serve):
    sandbox = serve()
    truth = sandbox.orders
    client = sandbox.client()
    tf.fetch_orders(client=client, page_size=20)
    sandbox.stop()
    frames = tf.fetch_orders(client=client, page_size=20, offline=True)
    reference.assert_frames_hold(frames, truth)
    assert len(list(client.iter_pages(page_size=20, offline=True))) == 3


def test_offline_misses_are_reported(serve):
    sandbox = serve()
    client = sandbox.client()
    with pytest.raises(tf.OfflineMissError, match="not on disk") as caught:
        tf.fetch_orders_df(client=client, offline=True)
    assert caught.value.status is None
    pages = client.iter_pages(page_size=20)
    next(pages)
    with pytest.raises(tf.IncompleteFetchError) as broken:
        tf.fetch_orders_df(client=client, page_size=20, offline=True)
    assert isinstance(broken.value.__cause__, tf.OfflineMissError)
    reference.assert_frames_are_part(broken.value.frames, sandbox.orders)
    assert len(sandbox.requests) == 1


def test_two_tokens_share_a_folder_and_no_row(file):
    with Sandbox(orders=40, tokens=2, rate_limit=None) as sandbox:
        for token in (0, 1):
            for _ in range(2):
                frame = tf.fetch_orders_df(client=sandbox.client(token), page_size=20)
                assert set(frame["id"]) == {o["id"] for o in sandbox.orders_of(token)}
        assert count_requests(sandbox.requests) == (4, 4)
        for other in ({"api_key": "another"}, {"base_url": "http://127.0.0.1:9"}):
            with pytest.raises(tf.OfflineMissError):
                tf.fetch_orders_df(client=sandbox.client(**other), page_size=20, offline=True)
    assert len(rows(file)) == 8


def test_the_files_hold_no_credential_and_no_pickle(serve, folder, file):
    sandbox = serve()
    client = sandbox.client()
    tf.fetch_orders(client=client, page_size=20)
    texts = list(everything(folder))
    client.close()
    texts += everything(folder)
    names = [order["ship_to_address"]["full_name"].encode() for order in sandbox.orders]
    assert any(name in text for text in texts for name in names)  # we do look where it is
    for secret in (sandbox.api_key.encode(), sandbox.access_token.encode()):
        assert not any(secret in text or secret.hex().encode() in text for text in texts)
    for _, value, _ in rows(file):
        assert b"\x80\x04\x95" not in value[:64]
        assert msgspec.msgpack.decode(value[32:])


def test_only_its_user_can_read_it(serve, folder):
    mask = os.umask(0)
    try:
        client = serve().client()
        tf.fetch_orders(client=client, page_size=20)
        files = sorted(folder.iterdir())
        assert len(files) == 3
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    finally:
        os.umask(mask)


@pytest.mark.parametrize("by", ["the next client", "the next page"])
def test_what_has_expired_is_wiped_from_the_files(serve, folder, file, by):
    clock = Clock()
    sandbox = serve()
    client = clock.set_for(sandbox.client(expire_after=60))
    tf.fetch_orders(client=client, page_size=20)
    pieces = [value[at : at + 48] for _, value, _ in rows(file) for at in range(0, 2000, 400)]
    pieces = [piece for piece in pieces if len(piece) == 48]  # an empty page is short
    pieces += [key.encode() for key, _, _ in rows(file)]
    raw = b"".join(path.read_bytes() for path in folder.iterdir())
    assert all(piece in raw for piece in pieces)
    clock.ahead = 61
    if by == "the next client":
        client = clock.set_for(sandbox.client())
    tf.fetch_orders(client=client, order_number="there is none")
    raw = b"".join(path.read_bytes() for path in folder.iterdir())
    assert len(rows(file)) == 1
    assert not any(piece in raw for piece in pieces)


def test_clear_deletes_all(serve, tmp_path, folder, file):
    sandbox = serve()
    tf.fetch_orders(client=sandbox.client(), page_size=20)
    pieces = [value[40:80] for _, value, _ in rows(file)]
    cache = PageCache(tmp_path / "cache")
    assert cache.info()["pages"] == 3 + 2  # and those that close the listing
    assert cache.clear() == 3 + 2
    assert cache.info()["pages"] == 0
    raw = b"".join(path.read_bytes() for path in folder.iterdir())
    assert not any(piece in raw for piece in pieces)
    assert PageCache(tmp_path / "none").clear() == 0
    assert PageCache(tmp_path / "none").info()["pages"] == 0


def change_all(sandbox):
    sandbox.upsert([order | {"raw_status": "of today"} for order in sandbox.orders])


def test_a_broken_refresh_leaves_no_mixture(serve_with_client):
    sandbox, client = serve_with_client(Fault("status", status=403, nth=4 + 2 + 2))
    tf.fetch_orders(client=client, page_size=15)
    change_all(sandbox)
    with pytest.raises(tf.IncompleteFetchError) as broken:
        tf.fetch_orders(client=client, page_size=15, refresh=True)
    assert set(broken.value.frames.orders["raw_status"]) == {"of today"}
    frames = tf.fetch_orders(client=client, page_size=15)
    reference.assert_frames_hold(frames, sandbox.orders)
    assert (frames.info["from_cache"], frames.info["requests"]) == (1, 3 + 2)


def test_a_fresh_head_brings_a_fresh_tail(serve, file):
    sandbox = serve()
    client = sandbox.client(rate_limit=None)
    tf.fetch_orders(client=client, page_size=15)
    change_all(sandbox)
    head = next(client.iter_pages(page_size=15, refresh=True))
    assert head.orders[0]["raw_status"] == "of today"
    frames = tf.fetch_orders(client=client, page_size=15)
    reference.assert_frames_hold(frames, sandbox.orders)
    assert (frames.info["from_cache"], frames.info["requests"]) == (1, 3 + 2)
    # What closed the first listing may be on disk too, until it expires: nothing asks for it.
    listing, closing = split_requests(sandbox.requests)
    keys = {key_of(path, client) for path in {*listing, *closing[-2:]}}
    expiries = [expires for key, _, expires in rows(file) if key in keys]
    assert (len(expiries), len(set(expiries))) == (4 + 2, 1)


def key_of(path, client):
    parts = urlsplit(path)
    return client.session._key(parts.path, dict(parse_qsl(parts.query)))


def test_a_missing_tail_is_requested_and_joins_the_head(serve, file):
    sandbox = serve()
    client = sandbox.client(rate_limit=None)
    pages = list(client.iter_pages(page_size=15))
    expiry = {expires for _, _, expires in rows(file)}
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("DELETE FROM pages WHERE rowid IN (2, 4)")
    again = list(client.iter_pages(page_size=15))
    assert [page.from_cache for page in again] == [True, False, True, False]
    assert [page.body for page in again] == [page.body for page in pages]
    assert {expires for _, _, expires in rows(file)} == expiry


@pytest.mark.one_of(3)
@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=403),
        Fault("status", status=500),
        Fault("html", status=200),
        Fault("not_json"),
        Fault("not_object"),
        Fault("no_data"),
        Fault("data_not_list"),
        Fault("item_not_object"),
        Fault("bad_token_type"),
        Fault("empty_token"),
        Fault("cut"),
        Fault("reset"),
    ],
    ids=lambda fault: fault.kind + str(fault.status or ""),
)
@pytest.mark.parametrize("nth", [slow(1), 3])
def test_what_is_bad_is_not_kept(serve_with_client, file, fault, nth):
    fault = Fault(**{**vars(fault), "nth": nth})
    sandbox, client = serve_with_client(fault, client={"retries": 0})
    with pytest.raises(tf.TrackstarError):
        tf.fetch_orders(client=client, page_size=20)
    assert len(rows(file)) == nth - 1 if file.exists() else nth == 1
    frames = tf.fetch_orders(client=client, page_size=20)
    reference.assert_frames_hold(frames, sandbox.orders)
    assert frames.info["from_cache"] == nth - 1


@pytest.mark.parametrize(("nth", "kind"), [(1, tf.ResponseError), (2, tf.IncompleteFetchError)])
def test_an_end_that_was_not_proved_is_requested_again(serve_with_client, nth, kind):
    sandbox, client = serve_with_client(Fault("no_token", nth=nth))
    with pytest.raises(kind, match="absent on a full page"):
        tf.fetch_orders(client=client, page_size=20)
    assert count_requests(sandbox.requests) == (nth + 1, 0)  # the last one was to prove it
    frames = tf.fetch_orders(client=client, page_size=20)
    reference.assert_frames_hold(frames, sandbox.orders)
    assert (frames.info["from_cache"], frames.info["requests"]) == (nth - 1, 3 - nth + 1 + 2)


def test_an_end_that_was_proved_is_kept_with_its_proof(serve_with_client):
    sandbox, client = serve_with_client(Fault("no_token", nth=3))
    for options in ({}, {}, {"offline": True}):
        frames = tf.fetch_orders(client=client, page_size=20, **options)
        reference.assert_frames_hold(frames, sandbox.orders)
        assert count_requests(sandbox.requests) == (3 + 1, 2)


def test_a_repeated_token_is_not_kept(serve_with_client, file):
    sandbox, client = serve_with_client(Fault("repeat_token", nth=2))
    with pytest.raises(tf.IncompleteFetchError, match="twice") as broken:
        tf.fetch_orders(client=client, page_size=20)
    assert len(rows(file)) == broken.value.pages == 1
    frames = broken.value.resume()
    reference.assert_frames_hold(frames, sandbox.orders)
    assert frames.info["duplicates"] == 0


def tamper(file, change):
    with closing(sqlite3.connect(file)) as db, db:
        for key, value in db.execute("SELECT key, value FROM pages ORDER BY key").fetchall():
            db.execute("UPDATE pages SET value = ? WHERE key = ?", (change(value), key))


@pytest.mark.one_of(2)
@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[:-1],
        lambda value: value[:100] + bytes([value[100] ^ 1]) + value[101:],
        lambda value: bytes([value[0] ^ 1]) + value[1:],
        lambda value: value[:-1] + bytes([value[-1] ^ 1]),
        lambda _: b"",
        lambda _: None,
        lambda _: "text",
        lambda _: 5,
        lambda _: b"cos\nsystem\n(S'false'\ntR.",
        lambda value: value[:32] + msgspec.msgpack.encode(("k", b"", 2**62, 1.0, 9e9)),
    ],
)
def test_a_tampered_row_is_a_miss(serve, file, change):
    sandbox = serve()
    tf.fetch_orders(client=sandbox.client(), page_size=20)
    tamper(file, change)
    frames = tf.fetch_orders(client=sandbox.client(), page_size=20)
    reference.assert_frames_hold(frames, sandbox.orders)
    assert frames.info["from_cache"] == 0
    assert tf.fetch_orders(client=sandbox.client(), page_size=20).info["from_cache"] == 3


def test_a_row_under_another_name_is_a_miss(serve, file):
    sandbox = serve()
    tf.fetch_orders(client=sandbox.client(rate_limit=None), page_size=20)
    first, *others = [value for _, value, _ in rows(file)]
    values = iter([*others, first])
    tamper(file, lambda _: next(values))
    frames = tf.fetch_orders(client=sandbox.client(rate_limit=None), page_size=20)
    reference.assert_frames_hold(frames, sandbox.orders)
    assert frames.info["from_cache"] == 0


def test_a_damaged_file_costs_a_warning(serve, file):
    sandbox = serve()
    file.parent.mkdir(parents=True)
    file.write_bytes(b"this is no database, but long enough to look like a header" * 40)
    client = sandbox.client(rate_limit=None)
    with one_warning():
        for _ in range(2):
            frames = tf.fetch_orders(client=client, page_size=20)
            reference.assert_frames_hold(frames, sandbox.orders)
    assert frames.info["from_cache"] == 0
    assert "switched off" in repr(client.session._cache)


def test_a_file_damaged_underway_costs_a_warning(serve, file):
    sandbox = serve(orders=200)
    client = sandbox.client(rate_limit=None)
    tf.fetch_orders(client=client, page_size=20)
    client.close()
    raw = bytearray(file.read_bytes())
    raw[4096 : len(raw) // 2] = random.Random(0).randbytes(len(raw) // 2 - 4096)
    file.write_bytes(raw)
    with one_warning():
        frames = tf.fetch_orders(client=client, page_size=20)
    reference.assert_frames_hold(frames, sandbox.orders)


def directory_in_place(file):
    file.mkdir(parents=True)


def file_in_place_of_the_folder(file):
    file.parent.parent.mkdir(parents=True)
    file.parent.write_text("in the way")


def not_ours(file):
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("CREATE TABLE pages (something TEXT)")


@pytest.mark.parametrize("obstacle", [directory_in_place, file_in_place_of_the_folder, not_ours])
def test_a_file_that_cannot_be_written_costs_a_warning(serve, file, obstacle):
    sandbox = serve()
    obstacle(file)
    with one_warning():
        frames = tf.fetch_orders(client=sandbox.client(), page_size=20)
    reference.assert_frames_hold(frames, sandbox.orders)
    with one_warning(), pytest.raises(tf.OfflineMissError):
        tf.fetch_orders(client=sandbox.client(), page_size=20, offline=True)


def test_a_path_under_a_device_costs_a_warning(serve):
    sandbox = serve()
    with one_warning():
        frame = tf.fetch_orders_df(client=sandbox.client(cache_dir="/proc/1/none"))
    assert len(frame) == 60


@pytest.mark.slow
@pytest.mark.parametrize("since", ["before", "underway"])
def test_a_locked_file_costs_a_warning_and_a_wait_that_ends(serve, file, since):
    sandbox = serve()
    client = sandbox.client(rate_limit=None)
    if since == "underway":
        next(client.iter_pages(page_size=20))
    else:
        next(sandbox.client().iter_pages(page_size=60))
    results = []
    with closing(sqlite3.connect(file)) as db:
        db.execute("BEGIN IMMEDIATE" if since == "underway" else "BEGIN EXCLUSIVE")
        with one_warning():
            threads = [
                threading.Thread(
                    target=lambda: results.append(tf.fetch_orders(client=client, page_size=20))
                )
                for _ in range(3)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
    assert len(results) == 3
    for frames in results:
        reference.assert_frames_hold(frames, sandbox.orders)


@pytest.mark.slow
def test_a_full_disk_costs_a_warning(serve):
    sandbox = serve(orders=350)
    code = """
import sys, warnings
import trackstar_frames as tf
key, token, url = sys.argv[1:]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    client = tf.TrackstarClient(key, token, base_url=url, rate_limit=None)
    counts = [len(tf.fetch_orders_df(client=client, page_size=50)) for _ in range(2)]
print(counts, [str(w.message) for w in caught])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, sandbox.api_key, sandbox.access_token, sandbox.base_url],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert done.stdout.startswith("[350, 350] ['the cache at "), done.stdout + done.stderr
    assert done.stdout.count("switched off") == 1


def test_without_a_cache_nothing_is_written(serve, tmp_path):
    sandbox = serve()
    client = sandbox.client(cache=False)
    tf.fetch_orders(client=client)
    tf.fetch_orders(client=client)
    assert len(sandbox.requests) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_closed_client_opens_again(serve):
    sandbox = serve()
    with sandbox.client() as client:
        tf.fetch_orders(client=client)
    assert tf.fetch_orders(client=client).info["from_cache"] == 1
    assert Path(client.settings.cache_dir).name == "cache"


@pytest.mark.slow
def test_several_threads_use_one_file(serve):
    sandbox = serve(orders=200)
    client = sandbox.client(rate_limit=None)
    found, faults = [], []

    def fetch(index):
        try:
            found.append(tf.fetch_orders(client=client, page_size=20, refresh=index % 2 == 1))
        except BaseException as error:  # noqa: BLE001 -- shown below
            faults.append(error)

    threads = [threading.Thread(target=fetch, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not faults
    assert len(found) == 8
    for frames in found:
        reference.assert_frames_hold(frames, sandbox.orders)
