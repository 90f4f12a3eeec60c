"""No error shows a credential, however it is spelt, nor a name where personal data are hidden."""

import base64
import gzip
import html
import http.client
import json
import logging
import pickle
import re
import traceback
import zlib
from urllib.parse import quote, unquote, urlsplit

import pytest
from helpers.marks import sample, slow
from helpers.servers import reply
from hypothesis import given
from hypothesis import strategies as st

import trackstar_frames as tf
from trackstar_frames.settings import Credentials, Masked

KEY = "<key>&amp;\\'%41/+=Lantern-0123456789"
TOKEN = 'quo"te\\\\n<b>%22+/=~#;,:@Harbour-9876543210'
MARKS = ("Lantern-0123456789", "Harbour-9876543210")
NAME = "Jane Q. Roe-Marker"


def in_json(text):
    return json.dumps(text)[1:-1]


def percent(text):
    return "".join(f"%{byte:02x}" for byte in text.encode())


def split_up(text):
    return "\t".join(text[at : at + 7] for at in range(0, len(text), 7))


#: How a server may spell what it was sent. None of them ends a line of HTTP.
SPELLINGS = {
    "as it is": str,
    "JSON": in_json,
    "JSON in JSON": lambda text: in_json(in_json(text)),
    "JSON of other escapes": lambda text: in_json(text).replace("/", "\\/").replace("+", "\\u002B"),
    "all escaped": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "HTML": html.escape,
    "HTML twice": lambda text: html.escape(html.escape(text)),
    "HTML of JSON": lambda text: html.escape(in_json(text)),
    "HTML by numbers": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "HTML in hexadecimals": lambda text: "".join(f"&#X{ord(char):X};" for char in text),
    "URL": quote,
    "URL, all of it": lambda text: quote(text, safe=""),
    "URL twice": lambda text: quote(quote(text, safe=""), safe=""),
    "URL in small letters": percent,
    "repr": repr,
    "repr of bytes": lambda text: repr(text.encode()),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of a pair": lambda text: base64.b64encode(f"user:{text}:x".encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(f"u:{text}".encode()).decode(),
    "hexadecimals": lambda text: text.encode().hex(),
    "capitals": str.upper,
    "JSON of HTML, as Go writes it": lambda t: in_json(html.escape(t)).replace("&", "\\u0026"),
    "URL of HTML": lambda text: quote(html.escape(text), safe=""),
    "split": split_up,
    "split by tags": lambda text: split_up(text).replace("\t", "<br/>"),
    "split by what is not seen": lambda text: split_up(text).replace("\t", "\u200b"),
}


def reads_as(text):
    """Give all that a text may be read as."""
    plain = re.sub(r"\\t|[\t \u200b]|<br/>", "", text)
    yield from (text, plain, plain.lower())
    for read in (html.unescape, unquote, lambda t: t.replace("\\", "")):
        once = read(plain)
        yield from (once, read(once), unquote(html.unescape(once)))


def leaks(text, spell=str):
    """Name the credentials that a text shows, in this spelling or in one that anybody reads."""
    readings = list(reads_as(text))
    return [
        mark
        for mark, secret in zip(MARKS, (KEY, TOKEN), strict=True)
        if any(mark in reading or mark.lower() in reading for reading in readings)
        or spell(secret)[3:-3] in text
        or spell(mark)[4:-4] in text
    ]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_credential_is_found_in_every_spelling(spelling):
    credentials = Credentials(Masked(KEY), Masked(TOKEN))
    spell = SPELLINGS[spelling]
    text = f"before {spell(KEY)} between {spell(TOKEN)} after"
    scrubbed = credentials.scrub(text)
    assert leaks(text, spell) == [*MARKS]
    assert leaks(scrubbed, spell) == []
    if " of HTML" not in spelling:
        assert scrubbed.startswith("before ")
        assert scrubbed.endswith(" after")
        assert " between " in scrubbed


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("per%2Fcent+plus-0123", "per/cent plus-0123"),
        ("per%2Fcent+plus-0123", "per%2Fcent plus-0123"),
        ("amp&amp;lt-0123", "amp&lt-0123"),
        ("sl\\x41sh-0123", "slAsh-0123"),
        ("key-0123456", "=6B=65=79=2D=30=31=32=33=34=35=36"),
        ("key-0123456", "key-01=\r\n23456"),
        ("key-0123456", "".join(f"\\U{ord(char):08x}" for char in "key-0123456")),
        ("key-0123456", "".join(f"\\u{{{ord(char):x}}}" for char in "key-0123456")),
        ("key-0123456", "".join(f"\\{ord(char):03o}" for char in "key-0123456")),
    ],
)
def test_a_credential_is_found_as_a_server_reads_it(secret, text):
    assert Credentials(Masked("k" * 30), Masked(secret)).scrub(f"no {text}") in {"no ***", "***"}


LOOSELY = {
    "quoted letters": lambda text: json.dumps(list(text)),
    "two texts": lambda text: f"{text[:8]!r} + {text[8:]!r}",
    "dashes": "-".join,
    "accents": lambda text: f"{text[:5]}\u0301{text[5:]}",
    "wide letters": lambda text: "".join(chr(0xFEE0 + ord(char)) for char in text),
    "colours": "\x1b[31m".join,
    "escaped colours": "\\u001b[0m".join,
    "tags with attributes": lambda text: "".join(f'<b class="x">{char}</b>' for char in text),
    "a comment": lambda text: f"{text[:5]}<!-- -->{text[5:]}",
    "a space of no width, escaped": lambda text: f"{text[:5]}\\u200b{text[5:]}",
    "doubled quotes": lambda text: text.replace('"', '""').replace("'", "''"),
    "a part, hidden": lambda text: f"{text[:6]}###{text[6:]}",
    "cut short": lambda text: f"{text[:-1]}...",
    "its end": lambda text: f"...{text[1:]}",
    "hexadecimals with colons": lambda text: text.encode().hex(":"),
    "bytes of Go": lambda text: "[" + " ".join(map(str, text.encode())) + "]",
    "bytes of C": lambda text: ", ".join(f"0x{code:02x}" for code in text.encode()),
    "escape() of JavaScript": lambda text: "".join(f"%u{ord(char):04x}" for char in text),
    "Perl": lambda text: "".join(f"\\x{{{ord(char):x}}}" for char in text),
    "base64 of JSON": lambda text: base64.b64encode(in_json(text).encode()).decode(),
    "base64 of base64": lambda t: base64.b64encode(base64.b64encode(t.encode())).decode(),
    "a JSON web token": lambda text: (
        "eyJhbGciOiJub25lIn0."
        + base64.urlsafe_b64encode(json.dumps({"t": text}).encode()).decode().rstrip("=")
        + ".x"
    ),
}


@pytest.mark.parametrize("spelling", LOOSELY)
@pytest.mark.parametrize("secret", ["TOK-0987654321", "kEy\"-Se\\cret+41-123'x", "a1b2" * 8])
def test_a_credential_that_is_cut_up_or_coded_loosely_is_found(spelling, secret):
    text = LOOSELY[spelling](secret)
    assert "***" in Credentials(Masked("k" * 30), Masked(secret)).scrub(f"bad token {text} given")


def test_numbers_that_are_no_letters_are_no_fault():
    text = "counts: 12, 0x4b, 17, 99, 100, 75, 69, 89, 007, 999 1 2"
    assert Credentials(Masked(KEY), Masked(TOKEN)).scrub(text) == text


@pytest.mark.parametrize("digits", ["0" * 5000 + "65", "9" * 5000, "x" + "f" * 5000])
def test_a_number_of_thousands_of_digits_is_no_fault(digits):
    text = f"no &#{digits}; to be read"
    assert Credentials(Masked(KEY), Masked(TOKEN)).scrub(text) == text


PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60)


@given(PRINTABLE, st.lists(st.sampled_from(sorted(SPELLINGS)), max_size=2), st.text(max_size=20))
def test_any_credential_is_found_in_mixed_spellings(secret, spellings, around):
    credentials = Credentials(Masked("k" * 30), Masked(secret))
    text = secret
    for name in [each for each in spellings if each not in _LOSING]:
        text = SPELLINGS[name](text)
    assert secret.lower() not in credentials.scrub(f"{around} {text} {around}").lower()
    if not set(spellings) & _LOSING:
        assert text not in credentials.scrub(f"<{text}>")


@pytest.mark.one_of(2)
@pytest.mark.parametrize("outer", SPELLINGS)
def test_every_spelling_of_every_spelling_is_found(outer):
    for secret in ("00000000", "kEy\"-Se\\cret+41-123'x", "A%2Fb+cde"):
        credentials = Credentials(Masked("k" * 30), Masked(secret))
        for inner, spell in SPELLINGS.items():
            text = SPELLINGS[outer](spell(secret))
            if not {outer, inner} & _LOSING:
                assert text not in credentials.scrub(f"<{text}>"), (secret, inner)


#: What cannot be read back once it was spelt in another way.
_LOSING = {name for name in SPELLINGS if "base64" in name or name in ("hexadecimals", "capitals")}


@given(st.text(max_size=200))
def test_other_texts_stay_as_they_are(text):
    assert Credentials(Masked(KEY), Masked(TOKEN)).scrub(text) == text


def raw(handler, data):
    handler.close_connection = True
    handler.wfile.write(data)


def head(*lines):
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode("latin-1", "replace")


def refuse(status, *, shape=None):
    def answer(handler, echo):
        message = {"error": echo, "origin": echo, "detail": {"query": {echo: [echo]}}}
        body = (shape or json.dumps(message)).replace("ECHO", echo).encode()
        reply(handler, body, status, X_Request_Id=echo, Retry_After="99", Server=echo)

    return answer


def redirect(to):
    def answer(handler, echo):
        own = f"http://127.0.0.1:{handler.server.server_port}"
        query = urlsplit(handler.path).query
        location = to.replace("OWN", own).replace("QUERY", query).replace("ECHO", echo)
        reply(handler, echo.encode(), 302, Location=location, X_Request_Id=echo)

    return answer


def page(text):
    def answer(handler, echo):
        body = text.replace("ECHO", echo).replace("JSON", in_json(echo)).encode()
        reply(handler, body, X_Request_Id=echo)

    return answer


def wire(*lines, body="ECHO"):
    def answer(handler, echo):
        data = "\r\n".join(lines) + "\r\n\r\n" + body
        raw(handler, data.replace("ECHO", echo).encode("latin-1", "replace"))

    return answer


def interim(handler, echo):
    raw(handler, f"HTTP/1.1 103 Early\r\nLink: {echo}\r\n\r\n".encode())
    refuse(401)(handler, echo)


def garbled_header(handler, echo):
    lines = "HTTP/1.1 401 No", f"no colon {echo}", "Content-Length: 0", f"X-Request-Id: {echo}"
    raw(handler, ("\r\n".join(lines) + "\r\n\r\n").encode())


def cut(handler, echo):
    raw(handler, head("Content-Length: 99999") + f'{{"data": [{{"id": "{echo}'.encode())


def drip(handler, echo):
    raw(handler, head("Content-Length: 99999", f"X-Request-Id: {echo}") + echo.encode())
    handler.rfile.read(1)  # until the client gives up


def packed(encoding, body):
    def answer(handler, echo):
        reply(handler, body(echo.encode()), Content_Encoding=encoding.replace("ECHO", echo))

    return answer


FAULTS = {
    **{f"{status}": refuse(status) for status in (400, 401, 403, 404, 408, 410, 422, 425, 429)},
    **{f"{status}": refuse(status) for status in (500, 501, 503, 999)},
    "500 in HTML": refuse(500, shape="<html><body><pre>ECHO</pre></body></html>"),
    "500 in text": refuse(500, shape="ECHO"),
    "204 and a body": refuse(206, shape='{"data": [{"id": "ECHO"}], "next_token": null}'),
    "to another server": redirect("http://ECHO.example/ECHO?ECHO#ECHO"),
    "to another query": redirect("OWN/wms/orders?ECHO"),
    "to a path": redirect("OWN/ECHO?QUERY"),
    "to a fragment": redirect("OWN/wms/orders?QUERY#ECHO"),
    "to a broken host": redirect("http://[ECHO/"),
    "to a broken port": redirect("http://127.0.0.1:ECHO/"),
    "not JSON": page("ECHO"),
    "JSON that ends early": page('{"data": [{"id": "JSON'),
    "no data": page('{"JSON": "JSON"}'),
    "data of another kind": page('{"data": "JSON", "next_token": null}'),
    "orders of another kind": page('{"data": ["JSON"], "next_token": null}'),
    "a token of another kind": page('{"data": [], "next_token": {"JSON": 1}}'),
    "data given twice": page('{"data": [], "JSON": 1, "data": [], "next_token": "JSON"}'),
    "the same token": page('{"data": [{"id": "JSON"}], "next_token": "next"}'),
    "no status line": wire("ECHO"),
    "no number": wire("HTTP/1.1 ECHO"),
    "no version": wire("HTTP/9.ECHO 200 OK"),
    "an older version": wire("HTTP/ECHO 401 OK"),
    "two lengths": wire("HTTP/1.1 200 OK", "Content-Length: 1ECHO", "Content-Length: 2ECHO"),
    "a length that is none": wire("HTTP/1.1 200 OK", "Content-Length: ECHO"),
    "chunks": wire("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"),
    "chunks that end": wire("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body="ff\r\nECHO"),
    "a long line": wire("HTTP/1.1 200 OK", "X-Long: " + "ECHO" * 9000),
    "many lines": wire("HTTP/1.1 200 OK", *(f"X-{n}: ECHO" for n in range(200))),
    "101": wire("HTTP/1.1 101 ECHO", "Upgrade: ECHO"),
    "an interim answer": interim,
    "a garbled header": garbled_header,
    "a cut body": cut,
    "a body that drips": drip,
    "gzip": packed("gzip", bytes),
    "cut gzip": packed("gzip", lambda echo: gzip.compress(echo)[:-9]),
    "deflate": packed("deflate", lambda echo: zlib.compress(echo)[3:]),
    "an unknown packing": packed("ECHO", bytes),
}


def shown(error, seen=None):
    """Give all that can be shown of an error: along the chain, with frames and their locals."""
    seen = set() if seen is None else seen
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield from (str(error), repr(error), repr(vars(error)), repr(error.args))
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename != __file__:
            yield from (f"{name}={value!r}" for name, value in frame.f_locals.items())
    for inner in (error.__cause__, error.__context__):
        yield from shown(inner, seen)


@pytest.fixture
def tell(raw_server, caplog, capfd, monkeypatch):
    """Break a fetch at its first or second page; give the error, and all that was shown."""
    caplog.set_level(logging.DEBUG)
    # Whoever looks for a fault turns this on.
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    monkeypatch.setenv("TRACKSTAR_PII_KEY", "the-key-of-these-tests-0123456789")

    def run(fault, echo, pii, first):
        def answer(handler):
            if "page_token" in handler.path or first:
                return fault(handler, echo)
            order = {"id": "a", "ship_to_address": {"full_name": NAME}}
            return reply(handler, json.dumps({"data": [order], "next_token": "next"}).encode())

        server = raw_server(answer)
        caplog.clear()
        client = tf.TrackstarClient(KEY, TOKEN, base_url=server.base_url, retries=0, timeout=0.4)
        with client, pytest.raises(tf.TrackstarError) as caught:
            tf.fetch_orders(client=client, pii=pii, page_size=1)
        texts = [*shown(caught.value), pickle.dumps(caught.value).decode("latin-1")]
        for record in caplog.records:
            reported = logging.Formatter().format(record)
            texts += [reported, repr({k: v for k, v in vars(record).items() if k != "exc_info"})]
        texts += capfd.readouterr()
        return server, caught.value, texts

    return run


@pytest.mark.one_of(2)
@pytest.mark.parametrize("step", [13, slow(4)])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_error_shows_a_credential(tell, fault, step):
    # Some at each fault, all of them over the faults; at once, and at a later page.
    spellings = sorted(SPELLINGS)
    for number, name in enumerate(spellings[sorted(FAULTS).index(fault) % step :: step]):
        spell = SPELLINGS[name]
        echo = f"{spell(KEY)} {spell(TOKEN)}"
        server, _, texts = tell(FAULTS[fault], echo, "keep", number % 2 == 0)
        assert server.seen[-1][1]["x-trackstar-access-token"] == TOKEN
        for text in texts:
            assert leaks(text, spell) == [], (name, text[:1000])


@pytest.mark.one_of(6)
@pytest.mark.parametrize("fault", sorted(FAULTS))
@pytest.mark.parametrize(("pii", "first"), sample([("drop", False), ("hash", True)], 2))
def test_no_error_shows_a_name_with_pii_redacted(tell, fault, pii, first):
    _, error, texts = tell(FAULTS[fault], NAME, pii, first)
    if not first:
        assert isinstance(error, tf.IncompleteFetchError)
    for text in texts:
        for part in ("Jane", "Roe-Marker"):
            assert part not in unquote(text), text[:1000]


def test_redacted_errors_say_so_and_keep_helpful_facts(raw_server):
    body = json.dumps({"error": f"no {NAME}", "origin": "integration"}).encode()
    server = raw_server(lambda handler: reply(handler, body, 422, X_Request_Id="req_1"))
    client = tf.TrackstarClient(KEY, TOKEN, base_url=server.base_url)
    with pytest.raises(tf.ApiError, match="422; its message is not shown") as hidden:
        tf.fetch_orders(client=client, pii="drop")
    with pytest.raises(tf.ApiError, match=NAME) as kept:
        tf.fetch_orders(client=client)
    for error in (hidden.value, kept.value):
        assert (error.status, error.origin, error.request_id) == (422, "integration", "req_1")
        assert "(request id req_1)" in str(error)
    assert (hidden.value.error, kept.value.error) == (None, f"no {NAME}")


@pytest.mark.parametrize("pii", ["keep", "drop"])
def test_filters_are_sent_and_not_logged(raw_server, caplog, pii):
    caplog.set_level(logging.DEBUG)
    server = raw_server(lambda handler: reply(handler, b"{}", 401))
    client = tf.TrackstarClient(KEY, TOKEN, base_url=server.base_url)
    with pytest.raises(tf.AuthError):
        tf.fetch_orders(client=client, pii=pii, trackstar_tags__contains=NAME)
    assert NAME.replace(" ", "+") in server.seen[0][0]
    assert "GET /wms/orders HTTP" in caplog.text
    assert "Jane" not in caplog.text


def test_a_cursor_that_repeats_a_credential_is_sent_and_not_shown(raw_server):
    def answer(handler):
        if "page_token" in handler.path:
            return reply(handler, b"{}", 400)
        return reply(handler, json.dumps({"data": [{"id": "a"}], "next_token": TOKEN}).encode())

    server = raw_server(answer)
    client = tf.TrackstarClient(KEY, TOKEN, base_url=server.base_url, retries=0, cache=False)
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.fetch_orders(client=client)
    assert server.seen[1][0].endswith("page_token=" + quote(TOKEN, safe="~"))
    assert not [text for text in shown(caught.value) if leaks(text)]


@pytest.mark.parametrize("secret", ["a b", "a\tb", "a\nb", "a\rb", "a\0b", "pä", "\N{SNOWMAN}"])
@pytest.mark.parametrize("name", ["api_key", "access_token"])
def test_what_a_header_cannot_carry_is_refused_unseen(name, secret):
    given_ones = {"api_key": KEY, "access_token": TOKEN, name: secret}
    with pytest.raises(tf.CredentialsError, match=name) as caught:
        tf.TrackstarClient(**given_ones)
    assert all(secret not in text for text in shown(caught.value) if name in text)


def test_blanks_around_a_credential_are_no_part_of_it(raw_server):
    server = raw_server(lambda handler: refuse(401)(handler, f"{TOKEN} {KEY}"))
    client = tf.TrackstarClient(f"\n{KEY} ", f" {TOKEN}\r\n", base_url=server.base_url)
    with pytest.raises(tf.AuthError) as caught:
        tf.fetch_orders(client=client)
    assert server.seen[0][1]["x-trackstar-access-token"] == TOKEN
    assert not [text for text in shown(caught.value) if leaks(text)]


def test_a_header_that_cannot_be_read_is_reported_without_its_text(raw_server, caplog):
    def answer(handler):
        body = b'{"data": [{"id": "a"}], "next_token": null}'
        raw(handler, b"HTTP/1.1 200 OK\r\n%b\r\nX-More: 1\r\n\r\n%b" % (NAME.encode(), body))

    caplog.set_level(logging.DEBUG)
    client = tf.TrackstarClient(KEY, TOKEN, base_url=raw_server(answer).base_url)
    assert tf.fetch_orders_df(client=client, pii="drop")["id"].tolist() == ["a"]
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == ["the header of a response cannot be read to its end"]
    assert "Jane" not in caplog.text
