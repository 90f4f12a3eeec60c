"""Personal data on the way: disk, errors, the key, the shell."""

import gc
import hmac
import json
import logging
import pickle
import sqlite3
import traceback
import types
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from helpers import marked_orders
from helpers.marks import sample
from helpers.servers import reply

import trackstar_frames as tf
from trackstar_frames.cli import main

KEY = "the-key-of-these-tests-0123456789"
HIDDEN = pytest.mark.parametrize("pii", ["drop", "hash"])


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("TRACKSTAR_PII_KEY", KEY)


@pytest.fixture
def shop(raw_server):
    """Serve orders in pages of one; the page `.refuse` is refused."""

    def start(orders, *, refuse=None, ascii_only=False):
        state = types.SimpleNamespace(refuse=refuse)

        def answer(handler):
            place = int(urlsplit(handler.path).query.partition("page_token=")[2] or 0)
            if place == state.refuse:
                return reply(handler, b'{"error": "not this one"}', 403)
            token = str(place + 1) if place + 1 < len(orders) else None
            page = {"data": orders[place : place + 1], "next_token": token}
            return reply(handler, json.dumps(page, ensure_ascii=ascii_only).encode())

        server = raw_server(answer)
        state.seen, state.base_url = server.seen, server.base_url
        state.client = lambda: tf.TrackstarClient(
            "key", "token", base_url=server.base_url, rate_limit=None
        )
        return state

    return start


@pytest.fixture
def stored(tmp_path):
    """Tell the bytes in the cache's folder, and how many pages are in it."""

    def look():
        files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        with closing(sqlite3.connect(tmp_path / "cache" / "http" / "pages.sqlite")) as db:
            (pages,) = db.execute("SELECT count(*) FROM pages").fetchone()
        return b"".join(path.read_bytes() for path in files), pages

    return look


@pytest.mark.parametrize("ascii_only", sample([False, True], 2))
@HIDDEN
def test_a_fetch_leaves_no_personal_data_anywhere(  # noqa: PLR0917 -- fixtures
    shop, stored, tmp_path, caplog, pii, ascii_only
):
    caplog.set_level(logging.DEBUG)
    client = shop(marked_orders.ORDERS, ascii_only=ascii_only).client()
    frames = tf.fetch_orders(client=client, pii=pii, snapshot=tmp_path / "root")
    assert len(frames.orders) == len(marked_orders.ORDERS) - 3
    assert frames.info["pii"] == tf.read_snapshot(tmp_path / "root").info["pii"] == pii
    assert pii in frames._repr_html_()
    assert marked_orders.marks(marked_orders.shown(frames)) == []
    assert marked_orders.marks(marked_orders.written(frames, tmp_path / "again")) == []
    assert caplog.records
    assert marked_orders.marks(str(vars(record)) for record in caplog.records) == []
    for _ in ("with its log beside it", "closed"):
        raw, pages = stored()
        assert (pages, marked_orders.ZSTD in raw, marked_orders.marks([raw])) == (0, False, [])
        client.close()


def test_all_personal_data_is_found_without_redaction(shop, stored, tmp_path):
    frames = tf.fetch_orders(client=shop(marked_orders.ORDERS).client(), pii="keep")
    texts = "".join(text for text in marked_orders.shown(frames) if isinstance(text, str))
    assert marked_orders.PLANT.planted > 300
    for number in range(marked_orders.PLANT.planted):
        assert f"{marked_orders.MARK}{number:04}" in texts
    assert marked_orders.marks(marked_orders.written(frames, tmp_path / "root"))
    raw, pages = stored()
    assert (pages, marked_orders.ZSTD in raw) == (len(marked_orders.ORDERS), True)


@HIDDEN
def test_what_an_earlier_fetch_stored_is_read_and_not_added_to(shop, stored, pii):
    server = shop(marked_orders.ORDERS)
    client = server.client()
    with pytest.raises(tf.OfflineMissError):
        tf.fetch_orders(client=client, pii=pii, page_size=1, limit=2, offline=True)
    tf.fetch_orders(client=client, page_size=1, limit=2)
    offline = tf.fetch_orders(client=client, pii=pii, page_size=1, limit=2, offline=True)
    assert offline.info["from_cache"] == len(server.seen) == 2
    assert marked_orders.marks(marked_orders.shown(offline)) == []
    longer = tf.fetch_orders(client=client, pii=pii, page_size=1, limit=4)
    assert longer.info["from_cache"] == 2
    fresh = tf.fetch_orders(client=client, pii=pii, page_size=1, limit=2, refresh=True)
    assert fresh.info["from_cache"] == 0
    assert stored()[1] == 2


def test_requested_tags_and_parameters_are_not_shown(shop):
    asked = {
        "trackstar_tags__contains": marked_orders.MARK,
        "extra_params": {"who": marked_orders.MARK},
    }
    order = {"id": "a", "status": "open", "trackstar_tags": [marked_orders.MARK]}
    client = shop([order]).client()
    hidden = tf.fetch_orders(client=client, pii="drop", status="open", **asked).info
    assert hidden["filters"] == {"trackstar_tags__contains": "*", "status": "open"}
    assert hidden["extra_params"] == {"who": "*"}
    kept = tf.fetch_orders(client=client, **asked).info
    assert kept["extra_params"] == {"who": marked_orders.MARK}


# The option and the key, before any work.


def unread():
    pytest.fail("something was read")
    yield


@pytest.mark.parametrize(
    "pii", [None, True, 1, "", "KEEP", "hsh", b"drop", ["drop"], {"pii": "drop"}], ids=str
)
def test_an_invalid_pii_option_is_refused_before_any_request(shop, pii):
    server = shop([])
    for use in (
        lambda: tf.fetch_orders(client=server.client(), pii=pii),
        lambda: tf.fetch_orders_df(client=server.client(), pii=pii),
        lambda: tf.OrderFrames.from_json(unread(), pii=pii),
    ):
        with pytest.raises(tf.SettingsError, match=r"(?i)pii=.*use one of 'keep', 'drop', 'hash'"):
            use()
    assert not server.seen


@pytest.mark.parametrize(
    "key",
    [None, "", "  \n", "fifteen letters", "\x1b and sixteen letters", "\udcff" * 40],
    ids=repr,
)
def test_an_unusable_key_is_refused_before_any_request(shop, monkeypatch, key):
    server = shop([])
    if key is None:
        monkeypatch.delenv("TRACKSTAR_PII_KEY")
    else:
        monkeypatch.setenv("TRACKSTAR_PII_KEY", key)
    for use in (
        lambda: tf.fetch_orders(client=server.client(), pii="hash"),
        lambda: tf.fetch_orders_df(pii="hash"),
        lambda: tf.OrderFrames.from_json(unread(), pii="hash"),
    ):
        with pytest.raises(tf.SettingsError, match="TRACKSTAR_PII_KEY") as caught:
            use()
        assert 'python -c "import secrets; print(secrets.token_hex(32))"' in str(caught.value)
        assert not (key or "").strip() or key not in "".join(rendered(caught.value))
    assert not server.seen
    assert len(tf.fetch_orders_df(client=server.client(), pii="drop")) == 0


# A fetch that breaks.


def rendered(error):
    """All that could be shown of an error and its causes, with the locals of every frame."""
    while error is not None:
        yield from (str(error), repr(error), repr(vars(error)), repr(error.args))
        reported = traceback.TracebackException.from_exception(error, capture_locals=True)
        frames = [frame for frame in reported.stack if frame.filename != __file__]
        yield from traceback.StackSummary.from_list(frames).format()
        error = error.__cause__ or error.__context__


def held(error):
    """All texts and bytes that an error keeps in memory, through its frames' locals too."""
    found, left = {}, [error]
    while left:
        each = left.pop()
        if id(each) in found or isinstance(each, (type, types.ModuleType, types.FunctionType)):
            continue
        found[id(each)] = each
        if isinstance(each, types.TracebackType):
            left.append(each.tb_next)
            if each.tb_frame.f_code.co_filename != __file__:
                left += each.tb_frame.f_locals.values()
        elif not isinstance(each, types.FrameType):
            left += gc.get_referents(each)
    return [each for each in found.values() if isinstance(each, (str, bytes))]


@pytest.fixture
def broken(shop):
    """Break a fetch of four pages at the third."""
    orders = [
        {"id": f"o{number}", "tags": [text], "ship_to_address": {"full_name": text}}
        for number, text in enumerate(map(f"{marked_orders.MARK} {{}}".format, range(4)))
    ]

    def start(pii):
        server = shop(orders, refuse=2)
        with pytest.raises(tf.IncompleteFetchError) as caught:
            tf.fetch_orders(client=server.client(), pii=pii)
        server.refuse = None
        return server, caught.value

    return start


def names(frames):
    return frames.orders["ship_to_address_full_name"].tolist()


def hashes(key):
    texts = [f"{marked_orders.MARK} {number}".encode() for number in range(4)]
    return [hmac.new(key.encode(), text, "sha256").hexdigest() for text in texts]


@HIDDEN
def test_a_broken_fetch_holds_nothing_longer_than_its_page(broken, pii):
    _, error = broken(pii)
    assert len(error.frames.orders) == error.pages == 2
    assert error.frames.info["pii"] == pii
    assert marked_orders.marks([*rendered(error), pickle.dumps(error), *held(error)]) == []
    assert marked_orders.marks(marked_orders.shown(error.frames)) == []
    whole = error.resume()
    assert len(whole.orders) == 4
    assert marked_orders.marks(marked_orders.shown(whole)) == []


def test_a_page_that_is_held_would_be_found(broken):
    _, error = broken("keep")
    assert marked_orders.marks(each for each in held(error) if isinstance(each, bytes))


def test_the_key_is_shown_nowhere(broken, caplog):
    caplog.set_level(logging.DEBUG)
    _, error = broken("hash")
    fetch = error._resume.__self__
    texts = [*rendered(error), repr(vars(fetch)), pickle.dumps(error).decode("latin-1")]
    texts += [str(vars(record)) for record in caplog.records]
    texts += [json.dumps(frames.info) for frames in (error.frames, error.resume())]
    assert "'_key': '***'" in repr(vars(fetch))
    assert not [text for text in texts if KEY in text or KEY.encode().hex() in text]
    with pytest.raises(tf.CredentialsError):
        pickle.dumps(vars(fetch)["_key"])


def test_a_fetch_that_continues_here_keeps_its_key(broken, monkeypatch):
    _, error = broken("hash")
    monkeypatch.setenv("TRACKSTAR_PII_KEY", KEY[::-1])
    assert names(error.resume()) == hashes(KEY)


# The shell.


def test_the_command_line_redacts_and_never_takes_the_key(shop, monkeypatch, tmp_path, capsys):
    server = shop(marked_orders.ORDERS[:3])
    monkeypatch.setenv("TRACKSTAR_BASE_URL", server.base_url)
    monkeypatch.setenv("TRACKSTAR_API_KEY", "key")
    monkeypatch.setenv("TRACKSTAR_ACCESS_TOKEN", "token")
    for pii in ("drop", "hash"):
        assert main(["fetch", "--pii", pii, "--output", str(tmp_path / pii)]) == 0
        frames = tf.OrderFrames.from_parquet(tmp_path / pii)
        assert frames.info["pii"] == pii
        assert main(["fetch", "--pii", pii]) == 0
        assert marked_orders.marks([*marked_orders.shown(frames), capsys.readouterr().out]) == []
    monkeypatch.delenv("TRACKSTAR_PII_KEY")
    asked = len(server.seen)
    assert main(["fetch", "--pii", "hash"]) == 2
    assert "TRACKSTAR_PII_KEY" in capsys.readouterr().err
    for wrong in (["--pii", "hsh"], ["--pii-key", KEY], ["--pii", "hash", f"--pii-key={KEY}"]):
        with pytest.raises(SystemExit) as stop:
            main(["fetch", *wrong])
        assert stop.value.code == 2
    assert len(server.seen) == asked
