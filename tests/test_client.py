import logging
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from helpers import reference
from helpers.servers import reply
from helpers.traffic import count_requests, most_within
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

import trackstar_frames as tf
from trackstar_frames.http import retry
from trackstar_frames.http.retry import RetryPolicy, requested_wait, retry_after
from trackstar_frames.sandbox import Fault

GOOD = b'{"data": [{"id": "a"}], "next_token": null, "total_count": 1}'


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=429, retry_after=0),
        Fault("status", status=429),
        Fault("status", status=408),
        Fault("status", status=425),
        Fault("status", status=500),
        Fault("status", status=502),
        Fault("status", status=503, retry_after=0.1),
        Fault("status", status=504),
        Fault("html", status=502),
        Fault("html", status=200),
        Fault("not_json"),
        Fault("cut"),
        Fault("reset"),
        Fault("hang", seconds=1.5),
    ],
    ids=lambda fault: f"{fault.kind} {fault.status or ''} {fault.retry_after}",
)
def test_temporary_errors_are_retried(serve_with_client, fault):
    fault = Fault(**{**vars(fault), "nth": 3})
    sandbox, client = serve_with_client(fault, client={"timeout": 0.5, "cache": False})
    frames = tf.fetch_orders(client=client, page_size=20)
    reference.assert_frames_hold(frames, sandbox.orders)
    assert count_requests(sandbox.requests) == (4, 2)
    assert frames.info["requests"] == 4 + 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, tf.ApiError),
        (401, tf.AuthError),
        (403, tf.AuthError),
        (404, tf.ApiError),
        (410, tf.ApiError),
        (422, tf.ApiError),
        (501, tf.NotSupportedError),
    ],
)
def test_permanent_errors_are_not_retried(serve_with_client, status, kind):
    sandbox, client = serve_with_client(
        Fault("status", status=status, error="no", origin="integration")
    )
    with pytest.raises(kind) as caught:
        tf.fetch_orders(client=client)
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.error, error.origin) == (status, "no", "integration")
    assert error.request_id == "req_00000001"
    assert error.request_id in str(error)
    assert (error.retryable, error.retry_after) == (False, None)
    assert len(sandbox.requests) == 1


def test_wrong_credentials_are_refused(serve):
    sandbox = serve()
    with pytest.raises(tf.AuthError, match="check the API key"):
        tf.fetch_orders(client=sandbox.client(access_token="wrong"))
    assert len(sandbox.requests) == 1


def test_a_filter_that_the_server_refuses_is_named(raw_server):
    body = b'{"error": "Validation error", "detail": {"query": {"status": ["Unknown \\ud83d"]}}}'
    server = raw_server(lambda handler: reply(handler, body, 422))
    with pytest.raises(tf.ApiError, match=r"status.*Unknown") as caught:
        tf.fetch_orders(client=tf.TrackstarClient("key-1", "token-1", base_url=server.base_url))
    assert (caught.value.error, caught.value.origin) == ("Validation error", None)


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_retries_do_not_include_the_first_attempt(serve_with_client, retries):
    sandbox, client = serve_with_client(Fault("status", status=503), client={"retries": retries})
    with pytest.raises(tf.ServerError) as caught:
        tf.fetch_orders(client=client)
    assert caught.value.retryable
    assert len(sandbox.requests) == retries + 1


def test_max_wait_bounds_the_waiting_for_one_page(serve_with_client, monkeypatch):
    monkeypatch.setattr(retry, "_FIRST_PAUSE", 0.25)
    sandbox, client = serve_with_client(
        Fault("status", status=503), client={"retries": 99, "max_wait": 1}
    )
    with pytest.raises(tf.ServerError):
        tf.fetch_orders(client=client)
    assert 2 <= len(sandbox.requests) <= 4


def test_no_waiting_at_all(serve_with_client):
    sandbox, client = serve_with_client(Fault("status", status=503), client={"max_wait": 0})
    with pytest.raises(tf.ServerError):
        tf.fetch_orders(client=client)
    assert len(sandbox.requests) == 1


def test_a_wait_that_is_too_long_raises_at_once(serve_with_client):
    sandbox, client = serve_with_client(Fault("status", status=429, retry_after=3600))
    with pytest.raises(tf.RateLimitError) as caught:
        tf.fetch_orders(client=client)
    assert (caught.value.retry_after, caught.value.retryable) == (3600, True)
    assert len(sandbox.requests) == 1


def test_a_retry_after_of_zero_still_waits(serve_with_client, monkeypatch):
    monkeypatch.setattr(retry, "_FIRST_PAUSE", 0.25)
    sandbox, client = serve_with_client(
        Fault("status", status=429, retry_after=0), client={"retries": 2}
    )
    with pytest.raises(tf.RateLimitError) as caught:
        tf.fetch_orders(client=client)
    times = [request.time for request in sandbox.requests]
    assert len(times) == 3
    assert times[1] - times[0] >= 0.2
    assert times[2] - times[1] >= 0.4
    assert caught.value.retry_after == 0


@pytest.mark.parametrize("form", [pytest.param("seconds", marks=pytest.mark.slow), "date"])
def test_the_requested_wait_is_kept(serve_with_client, form):
    moment = datetime.now(UTC) + timedelta(seconds=3)
    wait = 2 if form == "seconds" else format_datetime(moment, usegmt=True)
    sandbox, client = serve_with_client(Fault("status", status=429, retry_after=wait, nth=1))
    tf.fetch_orders(client=client)
    first, second = (request.time for request in sandbox.requests)
    assert second - first >= (2 if form == "seconds" else 1)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", None),
        ("0", 0),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("soon", None),
        ("-3", None),
        ("1, 2", None),
        ("nan", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("1e999", None),
        ("inf", None),
        ("٣", None),
        ("9" * 400, None),
        ("1767225600000", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
    ],
)
def test_retry_after_is_read(header, seconds):
    assert retry_after(header) == seconds


@given(st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [+-]?\w+"))
def test_any_retry_after_is_read_or_left(header):
    found = retry_after(header)
    assert found is None or found >= 0


@pytest.mark.parametrize(
    "date", ["Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 0001 00:00:00 +2359"]
)
def test_an_impossible_date_header_is_ignored(raw_server, date):
    def respond(handler):
        body = b'{"data": [{"id": "a"}], "next_token": null}'
        head = f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: {len(body)}\r\n\r\n"
        handler.wfile.write(head.encode() + body)

    client = tf.TrackstarClient("key", "token", base_url=raw_server(respond).base_url, cache=False)
    assert tf.fetch_orders_df(client=client)["id"].tolist() == ["a"]


NOW = "Wed, 21 Oct 2015 07:28:00 GMT"  # far from this machine's


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2),
        ({"x-rate-limit-retry-after": "9"}, 9),
        ({"x-ratelimit-retry-after": "9"}, 9),
        ({"retry-after": "2", "x-rate-limit-retry-after": "9"}, 9),
        ({"retry-after": "9", "x-rate-limit-retry-after": "2"}, 9),
        ({"retry-after": "2, 9"}, 9),  # as of a header that is there twice
        ({"retry-after": "9,2, soon"}, 9),
        ({"retry-after": "soon", "x-rate-limit-retry-after": "2"}, 2),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:05 GMT", "date": NOW}, 5),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:00 GMT", "date": NOW}, 0),
        ({"x-ratelimit-reset": "1445412485", "date": NOW}, 5),
        ({"x-rate-limit-reset": "1445412485", "date": NOW}, 5),
        ({"x-ratelimit-reset": "1445412485", "retry-after": "1", "date": NOW}, 1),
        ({"x-ratelimit-reset": "1445412485"}, None),
        ({"x-ratelimit-reset": "1445412485", "date": "today"}, None),
        ({"x-ratelimit-reset": "1445412485000", "date": NOW}, None),
        ({"x-ratelimit-reset": "1445412479", "date": NOW}, None),
        ({"x-ratelimit-reset": "5", "date": NOW}, None),
        ({"x-ratelimit-reset": "-5", "date": NOW}, None),
    ],
    ids=str,
)
def test_a_wait_is_read_in_every_spelling_by_the_servers_clock(headers, seconds):
    assert requested_wait(CaseInsensitiveDict(headers)) == seconds


def test_the_older_spelling_of_a_wait_is_read(serve):
    sandbox = serve(orders=30, rate_limit=1, rate_headers="x-rate-limit")
    client = sandbox.client(cache=False, rate_limit=None)
    assert len(tf.fetch_orders(client=client, page_size=15, limit=30).orders) == 30
    refused = sum(request.status == 429 for request in sandbox.requests)
    assert (refused, len(sandbox.requests)) == (1, 3)


def test_jitter_does_not_change_the_programs_random_state(serve_with_client):
    pauses = []
    for _ in range(3):
        _, client = serve_with_client(Fault("status", status=503, nth=1))
        random.seed(7)
        state = random.getstate()
        tf.fetch_orders(client=client)
        assert random.getstate() == state
        RetryPolicy(1, 30).run(fail_once(), lambda _error, _try, seconds: pauses.append(seconds))
    assert len({*pauses}) == 3


def fail_once():
    """Make a task that fails and then is done."""
    errors = iter([tf.ServerError("no", retryable=True)])

    def task():
        for error in errors:
            raise error

    return task


def test_the_user_agent_names_the_package(raw_server):
    server = raw_server(reply)
    tf.fetch_orders(client=tf.TrackstarClient("key", "token", base_url=server.base_url))
    agent = server.seen[0][1]["User-Agent"]
    assert agent == f"trackstar_frames/{tf.__version__} {requests.utils.default_user_agent()}"


@pytest.mark.parametrize("interim", [[100], [102], [103], [103, 100, 102, 103, 199]], ids=str)
def test_interim_responses_are_skipped(raw_server, interim):
    def respond(handler):
        for status in interim:
            hints = b"Link: </a>; rel=preload\r\nContent-Length: 7\r\n"
            handler.wfile.write(b"HTTP/1.1 %d Wait\r\n%b\r\n" % (status, hints))
        reply(handler, GOOD)

    server = raw_server(respond)
    client = tf.TrackstarClient("key", "token", base_url=server.base_url, cache=False, retries=0)
    for count in (1, 2):  # the connection is as good as before
        assert tf.fetch_orders_df(client=client, limit=1)["id"].tolist() == ["a"]
        assert len(server.seen) == count


def test_a_switch_of_protocol_is_an_error(raw_server):
    def respond(handler):
        handler.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n")
        reply(handler, GOOD)

    client = tf.TrackstarClient("key", "token", base_url=raw_server(respond).base_url, retries=0)
    with pytest.raises(tf.ApiError, match="101"):
        tf.fetch_orders_df(client=client)


def test_an_invalid_retry_after_is_ignored(serve_with_client):
    sandbox, client = serve_with_client(Fault("status", status=429, retry_after="soon", nth=1))
    assert len(tf.fetch_orders_df(client=client)) == 60
    assert len(sandbox.requests) == 2


def test_the_rate_is_kept_at_the_server(serve):
    sandbox = serve(orders=45, rate_limit=None)
    client = sandbox.client(rate_limit=10, cache=False)
    tf.fetch_orders(client=client, page_size=2)
    assert {request.status for request in sandbox.requests} == {200}
    assert count_requests(sandbox.requests) == (23, 2)
    assert most_within(request.time for request in sandbox.requests) <= 10


def test_the_rate_is_one_over_all_threads(serve):
    sandbox = serve(orders=45, rate_limit=None)
    client = sandbox.client(rate_limit=10, cache=False)
    threads = [
        threading.Thread(target=lambda: tf.fetch_orders(client=client, page_size=9))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {request.status for request in sandbox.requests} == {200}
    assert count_requests(sandbox.requests) == (25, 10)
    assert most_within(request.time for request in sandbox.requests) <= 10


def test_what_comes_from_disk_costs_no_budget(serve):
    sandbox = serve()
    client = sandbox.client(rate_limit=1)
    tf.fetch_orders(client=client)
    client.session._limiter.pause(3600)  # whoever waits for it does not end
    for _ in range(20):
        tf.fetch_orders(client=client)
    assert len(sandbox.requests) == 1


def test_retries_and_redirects_cost_budget(raw_server):
    times = []

    def respond(handler):
        times.append(time.monotonic())
        if len(times) in (1, 2, 4):
            query = urlsplit(handler.path).query
            return reply(handler, b"", 302, Location=f"/elsewhere?{query}")
        return reply(handler, GOOD, 503 if len(times) == 3 else 200)

    server = raw_server(respond)
    client = tf.TrackstarClient("key", "token", base_url=server.base_url, rate_limit=2)
    frames = tf.fetch_orders(client=client)
    assert len(times) == frames.info["requests"] == 5
    assert most_within(times) <= 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_leaves_the_origin(serve, serve_with_client, status):
    elsewhere = serve()
    port = elsewhere.base_url.rpartition(":")[2]
    for to in (
        f"{elsewhere.base_url}/wms/orders",
        f"http://localhost:{port}/wms/orders",
        f"//127.0.0.1:{port}/wms/orders",
    ):
        sandbox, client = serve_with_client(Fault("redirect", status=status, to=to))
        with pytest.raises(tf.ApiError, match=str(status)):
            tf.fetch_orders(client=client)
        assert len(sandbox.requests) == 1
    assert not elsewhere.requests


@pytest.mark.parametrize("kind", ["scheme", "host", "bad port", "not a url", "odd bytes"])
def test_odd_redirects_are_an_error(raw_server, kind):
    def respond(handler):
        port = handler.server.server_port
        to = {
            "scheme": f"https://127.0.0.1:{port}/wms/orders",
            "host": f"http://localhost:{port}/wms/orders",
            "bad port": "http://127.0.0.1:99999999/",
            "not a url": "http://[::1/",
            "odd bytes": "/\xff\xfe",
        }[kind]
        reply(handler, b"", 302, Location=to)

    server = raw_server(respond)
    client = tf.TrackstarClient("key", "token", base_url=server.base_url, retries=0)
    with pytest.raises(tf.TrackstarError):
        tf.fetch_orders(client=client)
    assert len(server.seen) == 1


def test_a_redirect_within_the_origin_is_followed(serve_with_client):
    sandbox, client = serve_with_client(Fault("redirect", to="/wms/orders?limit=1000", nth=1))
    reference.assert_frames_hold(tf.fetch_orders(client=client), sandbox.orders)
    assert len(sandbox.requests) == 2


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("/v2/orders", "repeat the query"),
        ("/v2/orders?", "repeat the query"),
        ("/v2/orders?limit=1000", "repeat the query"),
        ("/v2/orders?status=open", "repeat the query"),
        ("/v2/orders?status=packed&limit=1000", "repeat the query"),
        ("/v2/orders?status=open&status=open&limit=1000", "repeat the query"),
        ("/v2/orders?status=open&limit=1000&type=b2b", "repeat the query"),
        ("/v2/orders?status%3Dopen%26limit=1000", "repeat the query"),
        ("http://127.0.0.1:1/v2/orders?status=open&limit=1000", "another server"),
        ("http://[::1/?status=open&limit=1000", "cannot be read"),
        ("/\xff?status=open&limit=1000", "cannot be read"),
    ],
)
@pytest.mark.parametrize("nth", [1, 2])
def test_a_redirect_to_another_query_is_an_error(raw_server, to, why, nth):
    def respond(handler):
        if len(server.seen) == nth:
            return reply(handler, b"", 307, Location=to)
        if len(server.seen) > nth:
            return reply(handler, GOOD)
        return reply(handler, b'{"data": [], "next_token": "next"}')

    server = raw_server(respond)
    client = tf.TrackstarClient("key-1", "secret-1", base_url=server.base_url)
    with pytest.raises(tf.TrackstarError, match=f"307, a redirect that .*{why}") as caught:
        tf.fetch_orders(client=client, status="open")
    assert caught.value.status == 307
    assert not caught.value.retryable
    assert len(server.seen) == nth


@pytest.mark.parametrize(
    "to",
    ["/v2/orders?{query}", "http://127.0.0.1:{port}/v2/orders?{query}", "?{turned}", "{path}#top"],
)
def test_a_redirect_that_keeps_every_parameter_is_followed(raw_server, to):
    def respond(handler):
        if len(server.seen) % 2 == 0:
            return reply(handler)
        query = urlsplit(handler.path).query
        turned = "&".join(reversed(query.replace("%5B", "[").split("&")))
        port = handler.server.server_port
        given = {"query": query, "turned": turned, "port": port, "path": handler.path}
        return reply(handler, b"", 308, Location=to.format(**given))

    server = raw_server(respond)
    client = tf.TrackstarClient("key-1", "secret-1", base_url=server.base_url)
    filters = {"order_number__in": ["a b", "\u00e9+&="], "created_date__gte": "2026-01-01"}
    assert tf.fetch_orders_df(client=client, limit=1, **filters).empty
    first, second = (parse_qs(urlsplit(path).query) for path, _ in server.seen)
    assert first == second
    assert first["order_number[in]"] == ["a b,\u00e9+&="]


def test_redirects_without_end_are_an_error(serve_with_client):
    sandbox, client = serve_with_client(
        Fault("redirect", to="/wms/orders?limit=1000"), client={"retries": 1}
    )
    with pytest.raises(tf.NetworkError, match="TooManyRedirects"):
        tf.fetch_orders(client=client)
    assert len(sandbox.requests) == 31


def test_netrc_and_cookies_are_left_alone(raw_server, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    pages = iter([b'{"data": [], "next_token": "t"}', GOOD])

    def respond(handler):
        headers = {"Set_Cookie": "session=hunter2; Path=/"}
        if len(server.seen) == 1:
            query = urlsplit(handler.path).query
            return reply(handler, b"", 307, Location=f"/moved?{query}", **headers)
        return reply(handler, next(pages), **headers)

    server = raw_server(respond)
    client = tf.TrackstarClient("key", "token", base_url=server.base_url)
    tf.fetch_orders(client=client)
    assert [path.partition("?")[0] for path, _ in server.seen] == [
        "/wms/orders",
        "/moved",
        "/wms/orders",
    ]
    for _, headers in server.seen:
        assert headers["x-trackstar-api-key"] == "key"
        assert headers["x-trackstar-access-token"] == "token"
        assert not {"authorization", "cookie"} & {name.lower() for name in headers}


def test_no_proxy_reads_what_is_sent_in_clear(raw_server, serve, monkeypatch):
    proxy = raw_server(lambda handler: reply(handler, GOOD))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.base_url)
    sandbox = serve()
    assert len(tf.fetch_orders_df(client=sandbox.client())) == 60
    assert not proxy.seen


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"data": [{"id": "a"}], "next_token": null}',
        b'\n{\n "data" : [\n  {\n "id" : "a" }\n ,{"id":"b"} ] ,\r\n "next_token":null }\n\n',
        b'{"next_token": null, "brand_new": [1, {"x": 2}], "data": [{"id": "a"}]}',
        b'{"data": [{"id": "a", "total_price": NaN, "tags": ["\\ud800"]}], "next_token": null}',
        b'{"data": [{"id": "a"}], "next_token": null, "total_count": "many"}',
    ],
)
def test_bodies_with_unusual_json_are_read(raw_server, body):
    server = raw_server(lambda handler: reply(handler, body))
    client = tf.TrackstarClient("key", "token", base_url=server.base_url)
    assert tf.fetch_orders_df(client=client)["id"][0] == "a"
    assert next(client.iter_pages()).orders[0]["id"] == "a"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"", tf.ResponseError),
        (200, b"null", tf.ResponseError),
        (200, b"[]", tf.ResponseError),
        (200, b'{"error": "sorry"}', tf.ResponseError),
        (200, b'{"data": null, "next_token": null}', tf.ResponseError),
        (200, b'{"data": [null], "next_token": null}', tf.ResponseError),
        (200, b'{"data": [[]], "next_token": null}', tf.ResponseError),
        (200, b'{"data": [1], "next_token": null}', tf.ResponseError),
        (200, b'{"data": [], "next_token": {}}', tf.ResponseError),
        (200, b'{"data": [], "next_token": false}', tf.ResponseError),
        (200, b'{"data": [{"id": "\xff"}], "next_token": null}', tf.ResponseError),
        (200, GOOD.decode().encode("utf-16"), tf.ResponseError),
        (200, GOOD + GOOD, tf.ResponseError),
        (200, b"[" * 200_000, tf.ResponseError),
        (201, GOOD, tf.ApiError),
        (206, GOOD, tf.ApiError),
        (304, b"", tf.ApiError),
        (500, b"[" * 200_000, tf.ServerError),
        (500, b"\xff\xfe", tf.ServerError),
        (500, b'{"error": {"no": "text"}, "origin": 5, "detail": "none"}', tf.ServerError),
        (999, b"", tf.ServerError),
    ],
)
def test_no_invalid_response_is_taken_for_an_empty_page(raw_server, status, body, kind):
    server = raw_server(lambda handler: reply(handler, body, status))
    client = tf.TrackstarClient("key", "token", base_url=server.base_url, retries=0)
    with pytest.raises(kind) as caught:
        tf.fetch_orders_df(client=client)
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert len(str(caught.value)) < 2000


def test_a_refused_connection_is_a_network_error(closed_url, caplog):
    caplog.set_level(logging.INFO, "trackstar_frames")
    client = tf.TrackstarClient("key", "token", base_url=closed_url, retries=1, max_wait=2)
    with pytest.raises(tf.NetworkError, match="no complete response") as caught:
        tf.fetch_orders_df(client=client)
    assert caught.value.retryable
    assert [r.msg for r in caplog.records] == ["waiting %.1f s before another attempt: %s"]


@pytest.mark.parametrize("way", ["closed", "no status", "chunks"])
def test_responses_that_are_cut_short(raw_server, way):
    def respond(handler):
        handler.close_connection = True
        if way == "closed":  # a body without a length ends with the connection
            handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + GOOD[:-9])
        elif way == "no status":
            handler.wfile.write(b"hello\r\n\r\n")
        else:
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            handler.wfile.write(head + b"%x\r\n%b\r\n" % (len(GOOD), GOOD))

    server = raw_server(respond)
    client = tf.TrackstarClient("key", "token", base_url=server.base_url, retries=1)
    with pytest.raises((tf.NetworkError, tf.ResponseError)) as caught:
        tf.fetch_orders_df(client=client)
    assert caught.value.retryable
    assert len(server.seen) == 2


def test_the_repr_shows_the_server_and_the_connection(serve, tmp_path):
    sandbox = serve()
    assert repr(sandbox.client(cache=False, connection="acme")) == (
        f"TrackstarClient('{sandbox.base_url}', connection='acme', cache=False)"
    )
    assert str(tmp_path) in repr(sandbox.client())
    assert sandbox.client(connection="acme").connection == "acme"


def test_a_slow_response_times_out(serve_with_client):
    sandbox, client = serve_with_client(
        Fault("slow", seconds=20, pieces=200), client={"timeout": 0.5, "retries": 0}
    )
    with pytest.raises(tf.NetworkError, match=r"not complete after 0\.5 s"):
        tf.fetch_orders(client=client)
    assert len(sandbox.requests) == 1
