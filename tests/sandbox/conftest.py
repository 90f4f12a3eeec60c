from datetime import UTC, datetime

import pytest
import requests

from trackstar_frames.sandbox import Sandbox

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def now():
    return NOW


@pytest.fixture(scope="session")
def sandbox():
    with Sandbox(1100, seed=7, rate_limit=None, now=NOW) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def truth(sandbox):
    return sandbox.orders


@pytest.fixture(scope="session")
def http():
    with requests.Session() as http:
        yield http


@pytest.fixture(scope="session")
def get(http):
    def get(sandbox, query=None, *, token=0, path="/wms/orders", timeout=10, **options):
        headers = {
            "x-trackstar-api-key": sandbox.api_key,
            "x-trackstar-access-token": sandbox.access_tokens[token],
        }
        url = sandbox.base_url + path
        return http.get(url, params=query, headers=headers, timeout=timeout, **options)

    return get


@pytest.fixture
def start_faulty():
    """Start a server of 7 orders with faults."""
    sandboxes = []

    def faulty(*faults, orders=7, **options):
        options = {"rate_limit": None} | options
        sandboxes.append(Sandbox(orders, faults=faults, **options).start())
        return sandboxes[-1]

    yield faulty
    for sandbox in sandboxes:
        sandbox.stop()


@pytest.fixture(scope="session")
def pages(get):
    """Read the bodies of a listing, but at most so many: it may have no end."""

    def pages(sandbox, limit, most=6):
        query, bodies = {"limit": limit}, []
        while len(bodies) < most and (not bodies or bodies[-1]["next_token"]):
            bodies.append(get(sandbox, query).json())
            query["page_token"] = bodies[-1]["next_token"]
        return bodies

    return pages


@pytest.fixture(scope="session")
def listing(get):
    def listing(sandbox, query=None, *, token=0):
        query, orders = dict(query or {}), []
        while True:
            body = get(sandbox, query, token=token).json()
            orders += body["data"]
            if body.get("next_token") is None:
                return orders
            query["page_token"] = body["next_token"]

    return listing
