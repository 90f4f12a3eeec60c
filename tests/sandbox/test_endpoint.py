"""Credentials, paths, headers and the rate limit."""

import gzip
import json
import threading
import time
from http.client import HTTPConnection

import pytest
import requests

from trackstar_frames.sandbox import Sandbox


@pytest.mark.parametrize("missing", ["x-trackstar-api-key", "x-trackstar-access-token"])
@pytest.mark.parametrize("wrong", [None, "", "wrong"])
def test_both_credentials_are_needed(sandbox, http, missing, wrong):
    headers = {
        "x-trackstar-api-key": sandbox.api_key,
        "x-trackstar-access-token": sandbox.access_token,
    }
    headers[missing] = wrong
    response = http.get(f"{sandbox.base_url}/wms/orders", headers=headers, timeout=5)
    assert response.status_code == 401
    assert response.json()["origin"] == "trackstar"
    assert response.json()["error"]


@pytest.mark.parametrize("path", ["/", "/wms", "/wms/orders/", "/wms/orders/1", "/wms/products"])
def test_other_paths_are_not_found(sandbox, get, path):
    response = get(sandbox, path=path)
    assert response.status_code == 404
    assert response.json()["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_not_allowed(sandbox, http, method):
    response = http.request(method, f"{sandbox.base_url}/wms/orders", json={"a": 1}, timeout=5)
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET"
    assert response.json()["error"]


def test_every_response_has_a_request_id_of_its_own(sandbox, get, http):
    responses = [
        get(sandbox, {"limit": 1}),
        get(sandbox, {"limit": "?"}),
        get(sandbox, path="/"),
        http.get(sandbox.base_url + "/wms/orders", timeout=5),
    ]
    assert len({response.headers["X-Request-Id"] for response in responses}) == 4


def test_a_connection_stays_open(sandbox):
    connection = HTTPConnection(sandbox.base_url.removeprefix("http://"))
    sockets = []
    for _ in range(3):
        connection.request("GET", "/wms/orders")
        sockets.append(connection.sock)
        assert connection.getresponse().read()
    assert sockets[0] is sockets[1] is sockets[2]
    connection.close()


def test_bodies_are_compressed_if_both_sides_want_it(get):
    with Sandbox(50, gzip=True) as compressed, Sandbox(50) as plain:
        response = get(compressed, stream=True)
        assert response.headers["Content-Encoding"] == "gzip"
        assert json.loads(gzip.decompress(response.raw.read()))["data"] == compressed.orders
        assert "Content-Encoding" not in get(plain).headers


@pytest.mark.parametrize("spelling", ["x-ratelimit", "x-rate-limit"])
def test_the_eleventh_request_of_a_second_is_refused(get, spelling):
    with Sandbox(1, rate_headers=spelling) as sandbox:
        started_at = time.time()
        responses = [get(sandbox, {"limit": 1}) for _ in range(11)]
        assert [response.status_code for response in responses] == [200] * 10 + [429]
        for count, response in enumerate(responses[:10], 1):
            assert response.headers[f"{spelling}-limit"] == "10"
            assert response.headers[f"{spelling}-remaining"] == str(10 - count)
            assert "retry-after" not in response.headers
        refused = responses[-1]
        assert refused.headers[f"{spelling}-remaining"] == "0"
        assert started_at <= int(refused.headers[f"{spelling}-reset"]) <= time.time() + 2
        waits = {"x-ratelimit": "retry-after", "x-rate-limit": "x-rate-limit-retry-after"}
        assert refused.headers[waits[spelling]] == "1"
        assert refused.json() == {"error": "Rate limit exceeded", "origin": "trackstar"}


def test_a_server_may_send_no_headers_of_its_limit(get):
    with Sandbox(1, rate_limit=1, rate_headers=None) as sandbox:
        responses = [get(sandbox) for _ in range(2)]
        assert [response.status_code for response in responses] == [200, 429]
        for response in responses:
            assert not [name for name in response.headers if "rate" in name.lower()]
            assert "retry-after" not in response.headers
        assert responses[1].json() == {"error": "Rate limit exceeded", "origin": "trackstar"}


def test_waiting_for_retry_after_is_enough(get):
    now = 1_000_000.0
    with Sandbox(1, rate_limit=2, clock=lambda: now) as sandbox:
        responses = [get(sandbox) for _ in range(3)]
        assert responses[-1].status_code == 429
        assert responses[-1].headers["x-ratelimit-reset"] == "1000001"
        now += float(responses[-1].headers["retry-after"])
        assert get(sandbox).status_code == 200
        assert [request.time for request in sandbox.requests] == [1_000_000.0] * 3 + [now]


def test_every_token_has_a_limit_of_its_own(get):
    with Sandbox(1, tokens=2, rate_limit=1) as sandbox:
        statuses = [get(sandbox, token=token).status_code for token in (0, 0, 1, 1)]
        assert statuses == [200, 429, 200, 429]


def test_no_limit_sends_no_headers_of_it(sandbox, get):
    responses = [get(sandbox, {"limit": 1}) for _ in range(15)]
    assert {response.status_code for response in responses} == {200}
    assert not [name for name in responses[0].headers if "rate" in name.lower()]


def test_latency_delays_every_response(get):
    with Sandbox(1, latency=0.1) as sandbox:
        started_at = time.monotonic()
        get(sandbox)
        assert time.monotonic() - started_at >= 0.1


def test_many_threads_are_served_at_once(sandbox, truth):
    headers = {
        "x-trackstar-api-key": sandbox.api_key,
        "x-trackstar-access-token": sandbox.access_token,
    }
    found = {}

    def fetch(number):
        query = {"ids": truth[number]["id"]}
        url = f"{sandbox.base_url}/wms/orders"
        found[number] = requests.get(url, params=query, headers=headers, timeout=10).json()["data"]

    threads = [threading.Thread(target=fetch, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [truth[number]] for number in range(16)}
