import copy
import logging
import pickle
import traceback

import pytest
from helpers import reference
from helpers.marks import sample, slow
from helpers.servers import reply
from helpers.traffic import count_requests

import trackstar_frames as tf
from trackstar_frames.sandbox import Fault

KEY, TOKEN = "organisation-key-0123456789", "connection/token+=9876543210"


@pytest.fixture
def shows_none():
    """Fail if a text shows a secret, or one spelt for a URL."""

    def check(text):
        for part in ("0123456789", "9876543210"):
            assert part not in text, text[:2000]

    return check


@pytest.fixture
def a_client():
    """Make a client with credentials that are easily seen."""

    def make(base_url, **options):
        quick = {"rate_limit": None, "retries": 1, "max_wait": 1, "timeout": 5}
        return tf.TrackstarClient(KEY, TOKEN, base_url=base_url, **quick | options)

    return make


def reachable(thing, seen=None, depth=0):
    """Walk what an object holds, as a debugger's tree of variables does."""
    seen = {} if seen is None else seen
    if id(thing) in seen or depth > 8:
        return seen
    seen[id(thing)] = thing
    inner = []
    if isinstance(thing, dict):
        inner += [*thing.keys(), *thing.values()]
    elif isinstance(thing, (list, tuple, set, frozenset)):
        inner += thing
    inner += vars(thing).values() if hasattr(thing, "__dict__") else ()
    for each in inner:
        if not isinstance(each, type) and not callable(each):
            reachable(each, seen, depth + 1)
    return seen


def rendered(error):
    """All that could be shown of an error: messages, frames, locals, along the whole chain."""
    chain, done = [error], set()
    while chain:
        each = chain.pop()
        if each is None or id(each) in done:
            continue
        done.add(id(each))
        yield from (str(each), repr(each), repr(vars(each)), repr(each.args))
        summary = traceback.TracebackException.from_exception(each, capture_locals=True)
        frames = [frame for frame in summary.stack if frame.filename != __file__]
        yield "".join(traceback.StackSummary.from_list(frames).format())
        chain += [each.__cause__, each.__context__]
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if frame.f_code.co_filename != __file__:
                for name, held in frame.f_locals.items():
                    yield f"{frame.f_code.co_qualname} {name}={held!r}"


def test_a_client_shows_none(a_client, raw_server, shows_none):
    server = raw_server(reply)
    client = a_client(server.base_url)
    tf.fetch_orders(client=client)
    assert server.seen[0][1]["x-trackstar-access-token"] == TOKEN
    for text in (repr(client), str(client), f"{client}", repr(vars(client))):
        shows_none(text)
    held = reachable(client).values()
    assert len(held) > 30
    for each in held:
        shows_none(repr(each))
        shows_none(f"{each}")


@pytest.mark.parametrize("spill", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_is_not_pickled(a_client, shows_none, spill):
    client = a_client("https://host")
    with pytest.raises(tf.CredentialsError, match="build the client where it is used") as caught:
        spill(client)
    for text in rendered(caught.value):
        shows_none(text)
    with pytest.raises(tf.CredentialsError):
        spill(client.session._credentials.access_token)


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "http://example.com"},
        {"timeout": -1},
        {"access_token": TOKEN + " x"},
        {"api_key": KEY + "\n\x00"},
        {"cache_dir": 5},
    ],
    ids=str,
)
def test_an_invalid_client_shows_none(shows_none, options, monkeypatch):
    monkeypatch.setenv("TRACKSTAR_ACCESS_TOKEN", TOKEN)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- of two kinds
        tf.TrackstarClient(**{"api_key": KEY} | options)
    texts = list(rendered(caught.value))
    assert any("TrackstarClient.__init__" in text for text in texts)
    for text in texts:
        shows_none(text)


def echo(handler, status=401):
    sent = f"{handler.headers['x-trackstar-api-key']} {handler.headers['x-trackstar-access-token']}"
    slashed = sent.replace("/", "\\/").replace("+", "\\u002b")
    body = f'{{"error": "{slashed}", "origin": "{sent}", "detail": {{"a": {{"{sent}": ["x"]}}}}}}'
    reply(handler, body.encode(), status, X_Request_Id=sent)


def refuse(handler):
    echo(handler)


def fail(handler):
    echo(handler, 500)


def not_a_page(handler):
    sent = handler.headers["x-trackstar-access-token"]
    reply(handler, f'{{"data": "{sent}", "{sent}": 1}}'.encode(), X_Request_Id=sent)


def redirect(handler):
    reply(handler, b"", 302, Location=f"http://[{handler.headers['x-trackstar-access-token']}/")


def circle(handler):
    sent = handler.headers["x-trackstar-access-token"].replace("+", "%2B")
    reply(handler, b"", 302, Location=f"/{sent}")


def no_status(handler, _):
    handler.close_connection = True
    handler.wfile.write(handler.headers["x-trackstar-access-token"].encode() + b"\r\n\r\n")


def bad_chunks(handler, _):
    handler.close_connection = True
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    handler.wfile.write(head + handler.headers["x-trackstar-access-token"].encode() + b"\r\n")


def bad_gzip(handler):
    token = handler.headers["x-trackstar-access-token"]
    reply(handler, token.encode(), Content_Encoding="gzip")


@pytest.mark.parametrize(
    "respond",
    [refuse, fail, not_a_page, redirect, circle, no_status, bad_chunks, bad_gzip],
    ids=lambda respond: respond.__name__,
)
def test_an_echoing_server_shows_none(a_client, raw_server, shows_none, caplog, respond):
    caplog.set_level(logging.DEBUG)
    server = raw_server(respond)
    with pytest.raises(tf.TrackstarError) as caught:
        tf.fetch_orders(client=a_client(server.base_url))
    assert server.seen
    for text in (*rendered(caught.value), pickle.dumps(caught.value).decode("latin-1")):
        shows_none(text)
    for record in caplog.records:
        if respond is not circle:  # the server's own URL is logged by who asks for it
            shows_none(record.getMessage() + repr(vars(record)))


@pytest.mark.parametrize(
    "fault",
    [
        Fault("reset"),
        Fault("cut"),
        Fault("status", status=500),
        Fault("status", status=401),
        Fault("echo_secret", status=401),
        Fault("echo_secret", status=500),
        Fault("not_json"),
        Fault("hang", seconds=3),
        Fault("absent_token_mid"),
    ],
    ids=lambda fault: f"{fault.kind} {fault.status or ''}",
)
@pytest.mark.parametrize("nth", [(1, 2), slow((2, 3))])
def test_a_broken_fetch_shows_none(serve_with_client, caplog, fault, nth):
    caplog.set_level(logging.DEBUG)
    fault = Fault(**{**vars(fault), "nth": nth})
    sandbox, client = serve_with_client(fault, client={"timeout": 0.4, "retries": 1})
    with pytest.raises(tf.TrackstarError) as caught:
        tf.fetch_orders(client=client, page_size=20)
    logged = [record.getMessage() + repr(vars(record)) for record in caplog.records]
    assert any("starting new http" in text.lower() for text in logged)
    for text in (*rendered(caught.value), *logged):
        assert sandbox.api_key not in text
        assert sandbox.access_token not in text


def test_a_refused_connection_shows_none(a_client, closed_url, shows_none, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(tf.NetworkError) as caught:
        tf.fetch_orders(client=a_client(closed_url))
    for text in (*rendered(caught.value), caplog.text):
        shows_none(text)


@pytest.mark.parametrize("where", sample(["head", "body", "pause", "turn"], 2))
def test_an_interrupt_passes_at_once_and_shows_none(serve_with_client, interrupt, where):
    fault = {
        "head": Fault("hang", seconds=30, nth=3),
        "body": Fault("slow", seconds=30, nth=3),
        "pause": Fault("status", status=503, retry_after=25, nth=3),
        "turn": Fault("wrong_count"),
    }[where]
    options = {"rate_limit": 2 if where == "turn" else None, "max_wait": 30, "timeout": 60}
    sandbox, client = serve_with_client(fault, client=options)
    interrupt(sandbox, 2)
    with pytest.raises(KeyboardInterrupt) as caught:
        tf.fetch_orders(client=client, page_size=20)
    texts = list(rendered(caught.value))
    assert any("Session" in text for text in texts)
    for text in texts:
        assert sandbox.api_key not in text
        assert sandbox.access_token not in text
    before = len(sandbox.requests)
    frames = tf.fetch_orders(client=client, page_size=20)
    reference.assert_frames_hold(frames, sandbox.orders)
    assert (frames.info["from_cache"], count_requests(sandbox.requests[before:])) == (2, (1, 2))


def test_the_frames_and_their_info_hold_none(a_client, raw_server, shows_none, tmp_path):
    server = raw_server(lambda handler: reply(handler, b'{"data": [{"id": "a"}]}'))
    frames = tf.fetch_orders(client=a_client(server.base_url, connection="acme"))
    frames.to_parquet(tmp_path / "kept")
    shows_none(repr(frames) + frames._repr_html_() + repr(frames.info))
    for path in (tmp_path / "kept").rglob("*.parquet"):
        shows_none(path.read_bytes().decode("latin-1"))
