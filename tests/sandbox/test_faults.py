import json
import re
import time

import pytest
import requests

from trackstar_frames.sandbox import Fault, Sandbox
from trackstar_frames.sandbox.broken import INSTEAD, ON_ENVELOPE, ON_ORDERS, ON_THE_WAY
from trackstar_frames.sandbox.faults import KINDS


@pytest.fixture
def faulty():
    sandboxes = []

    def faulty(*faults, orders=7, **options):
        sandboxes.append(Sandbox(orders, faults=faults, rate_limit=None, **options).start())
        return sandboxes[-1]

    yield faulty
    for sandbox in sandboxes:
        sandbox.stop()


def test_every_kind_is_made_and_documented():
    assert [*INSTEAD, *ON_THE_WAY, *ON_ENVELOPE, *ON_ORDERS] == sorted(
        KINDS, key=[*INSTEAD, *ON_THE_WAY, *ON_ENVELOPE, *ON_ORDERS].index
    )
    for kind, parameters in KINDS.items():
        assert re.search(rf"(?m)^ *{kind} ", Fault.__doc__)
        assert all(f"`{parameter}`" in Fault.__doc__ for parameter in parameters)


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429, 500, 501, 502, 503, 504])
def test_status(faulty, ask, status):
    sandbox = faulty(Fault("status", status=status, times=1))
    response = ask(sandbox)
    assert response.status_code == status
    assert set(response.json()) == {"error", "origin"}
    assert "X-Request-Id" in response.headers
    assert "retry-after" not in response.headers
    assert ask(sandbox).status_code == 200
    assert [request.status for request in sandbox.requests] == [status, 200]


def test_status_with_words_of_its_own(faulty, ask):
    fault = Fault("status", status=503, retry_after=7, origin="integration", error="Asleep")
    response = ask(faulty(fault))
    assert response.json() == {"error": "Asleep", "origin": "integration"}
    assert response.headers["retry-after"] == "7"


def test_status_without_origin_and_with_a_date(faulty, ask):
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    response = ask(faulty(Fault("status", status=501, origin="", retry_after=date)))
    assert list(response.json()) == ["error"]
    assert response.json()["error"].startswith("Endpoint get_orders is not implemented for ")
    assert response.headers["retry-after"] == date


@pytest.mark.parametrize("status", [None, 200, 502])
def test_html(faulty, ask, status):
    response = ask(faulty(Fault("html", status=status)))
    assert response.status_code == (status or 502)
    assert response.headers["Content-Type"].startswith("text/html")
    assert response.text.startswith("<html>")


def test_not_json(faulty, ask):
    response = ask(faulty(Fault("not_json")))
    assert response.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        response.json()


def test_not_object(faulty, ask):
    assert ask(faulty(Fault("not_object"))).json() == []


def test_echo_secret(faulty, ask):
    sandbox = faulty(Fault("echo_secret"))
    response = ask(sandbox)
    assert response.status_code == 500
    assert sandbox.access_token in response.json()["error"]
    assert sandbox.api_key in response.json()["error"]


def test_redirect(faulty, ask):
    sandbox = faulty(Fault("redirect", to="http://127.0.0.2:1/", status=307))
    response = ask(sandbox, allow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (307, "http://127.0.0.2:1/")


def test_reset(faulty, ask):
    sandbox = faulty(Fault("reset", nth=1))
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        ask(sandbox)
    assert ask(sandbox).json()["data"] == sandbox.orders
    assert [request.status for request in sandbox.requests] == [None, 200]


def test_cut(faulty, ask):
    sandbox = faulty(Fault("cut", nth=1))
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        ask(sandbox)
    assert ask(sandbox).json()["data"] == sandbox.orders


def test_hang(faulty, ask):
    sandbox = faulty(Fault("hang", nth=1, seconds=60))
    with pytest.raises(requests.ReadTimeout):
        ask(sandbox, timeout=0.1)
    assert ask(sandbox).json()["data"] == sandbox.orders


def test_slow(faulty, ask):
    sandbox = faulty(Fault("slow", seconds=0.2, pieces=4))
    began = time.monotonic()
    response = ask(sandbox, stream=True)
    assert time.monotonic() - began < 0.15
    assert json.loads(response.content)["data"] == sandbox.orders
    assert time.monotonic() - began >= 0.15


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("no_data", {"next_token": None, "total_count": 7}),
        ("wrong_count", {"total_count": 0}),
        ("empty_token", {"next_token": ""}),
        ("bad_token_type", {"next_token": 12345}),
    ],
)
def test_envelopes(faulty, ask, kind, expected):
    sandbox = faulty(Fault(kind))
    body = ask(sandbox).json()
    assert expected.items() <= body.items()
    assert body.get("data", sandbox.orders) == sandbox.orders
    assert ("data" in body) == (kind != "no_data")


def test_data_not_list(faulty, ask):
    sandbox = faulty(Fault("data_not_list"))
    assert ask(sandbox).json()["data"] == {"orders": sandbox.orders}


def test_item_not_object(faulty, ask):
    sandbox = faulty(Fault("item_not_object"))
    assert ask(sandbox).json()["data"] == ["order", *sandbox.orders[1:]]


@pytest.mark.parametrize(
    ("kind", "absent"),
    [("no_token", [1, 2]), ("absent_token_mid", [1]), ("absent_token_end", [2])],
)
def test_absent_tokens(faulty, ask, kind, absent):
    sandbox, healthy = faulty(Fault(kind)), faulty()
    token = ask(healthy, {"limit": 4}).json()["next_token"]
    bodies = {1: ask(sandbox, {"limit": 4}), 2: ask(sandbox, {"limit": 4, "page_token": token})}
    assert [page for page, body in bodies.items() if "next_token" not in body.json()] == absent


def pages(ask, sandbox, limit, most=6):
    query, bodies = {"limit": limit}, []
    while len(bodies) < most and (not bodies or bodies[-1]["next_token"]):
        bodies.append(ask(sandbox, query).json())
        query["page_token"] = bodies[-1]["next_token"]
    return bodies


def test_repeat_token(faulty, ask):
    sandbox = faulty(Fault("repeat_token"))
    bodies = pages(ask, sandbox, 3, most=4)
    assert len({body["next_token"] for body in bodies}) == 1
    assert bodies[1]["data"] == bodies[3]["data"] == sandbox.orders[3:6]


@pytest.mark.parametrize("order", ["inserted", "reversed", "id"])
def test_loop_token(faulty, ask, order):
    bodies = pages(ask, faulty(Fault("loop_token"), order=order), 3)
    tokens = [body["next_token"] for body in bodies]
    assert tokens[0] != tokens[1]
    assert tokens == tokens[:2] * 3
    assert all(body["data"] == bodies[0]["data"] != [] for body in bodies)


@pytest.mark.parametrize("order", ["inserted", "reversed", "id", "created_date_desc"])
def test_empty_page(faulty, ask, order):
    sandbox = faulty(Fault("empty_page", nth=(1, 2, 4)), order=order)
    bodies = pages(ask, sandbox, 4)
    assert [len(body["data"]) for body in bodies] == [0, 0, 4, 0, 3]
    assert len({body["next_token"] for body in bodies}) == 5
    assert {order["id"] for body in bodies for order in body["data"]} == {
        order["id"] for order in sandbox.orders
    }


def test_short_page(faulty, ask):
    sandbox = faulty(Fault("short_page"))
    bodies = pages(ask, sandbox, 4)
    assert [len(body["data"]) for body in bodies] == [2, 2, 2, 1]
    assert [order for body in bodies for order in body["data"]] == sandbox.orders


def test_duplicate(faulty, ask):
    sandbox = faulty(Fault("duplicate", nth=2))
    bodies = pages(ask, sandbox, 3)
    assert [len(body["data"]) for body in bodies] == [3, 3, 2]
    assert bodies[1]["data"][0] == bodies[0]["data"][-1]
    listed = [order for body in bodies for order in body["data"]]
    assert [*listed[:3], *listed[4:]] == sandbox.orders


def test_duplicate_that_has_changed(faulty, ask):
    change = {"status": "cancelled", "updated_date": "2030-01-01T00:00:00Z"}
    sandbox = faulty(Fault("duplicate", times=1, first_page=False, change=change))
    bodies = pages(ask, sandbox, 1, most=20)
    assert bodies[1]["data"] == [sandbox.orders[0] | change]
    assert [order for body in bodies[2:] for order in body["data"]] == sandbox.orders[1:]


def struck(ask, sandbox, queries):
    return [ask(sandbox, query).status_code == 500 for query in queries]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"times": 2}, [1, 2]),
        ({"nth": 3}, [3]),
        ({"nth": (2, 5)}, [2, 5]),
        ({"nth": range(2, 5)}, [2, 3, 4]),
        ({"every": 2}, [2, 4, 6]),
        ({"every": 2, "times": 2}, [2, 4]),
        ({"token": 1}, []),
        ({"first_page": False}, []),
        ({"where": lambda query: query["limit"] in "345"}, [3, 4, 5]),
        ({"where": lambda query: query["limit"] in "345", "nth": 2}, [4]),
    ],
)
def test_which_requests(faulty, ask, options, expected):
    sandbox = faulty(Fault("status", **options), tokens=2)
    hits = struck(ask, sandbox, [{"limit": number} for number in range(1, 7)])
    assert [number for number, hit in enumerate(hits, 1) if hit] == expected


def test_continuations_are_counted_by_themselves(faulty, ask):
    sandbox = faulty(Fault("status", first_page=False, nth=2))
    token = ask(sandbox, {"limit": 2}).json()["next_token"]
    more = {"page_token": token}
    assert struck(ask, sandbox, [{}, more, {}, more, more]) == [False, False, False, True, False]


def test_requests_that_are_refused_are_not_counted(ask, http):
    with Sandbox(1, rate_limit=1, tokens=2, faults=[Fault("status", nth=2)]) as sandbox:
        http.get(sandbox.base_url + "/wms/orders", timeout=5)
        statuses = [ask(sandbox, token=token).status_code for token in (0, 0, 1)]
        assert statuses == [200, 429, 500]


def test_the_first_rule_that_is_due_acts(faulty, ask):
    faults = [Fault("status", nth=2), Fault("status", status=503, times=2)]
    sandbox = faulty(*faults)
    assert [ask(sandbox).status_code for _ in range(4)] == [503, 500, 503, 200]


def test_a_fault_of_a_page_leaves_an_error_as_it_is(faulty, ask):
    assert ask(faulty(Fault("no_data")), {"what": "?"}).status_code == 422


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("rest", {}, "unknown kind of fault 'rest'; did you mean 'reset'?.*The kinds are: status,"),
        (None, {}, "unknown kind of fault None"),
        ("reset", {"status": 500}, "'reset' takes no status: it takes nothing"),
        ("slow", {"to": "x"}, "'slow' takes no to: it takes seconds, pieces"),
        ("redirect", {}, "'redirect' needs to"),
        ("status", {"status": 99}, "status=99"),
        ("status", {"nth": 0}, "nth=0"),
        ("status", {"every": 0}, "every=0"),
    ],
)
def test_faults_are_checked(kind, options, message):
    with pytest.raises(ValueError, match=message):
        Fault(kind, **options)
