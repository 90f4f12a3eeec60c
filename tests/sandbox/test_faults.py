import re

import pytest
import requests

from trackstar_frames.sandbox import Fault, Sandbox
from trackstar_frames.sandbox.server.faults import KINDS, PARAMETERS_OF


def test_every_kind_is_documented():
    assert len(set(KINDS)) == len(KINDS)
    assert set(PARAMETERS_OF) < set(KINDS)
    for kind in KINDS:
        assert re.search(rf"(?m)^ *{kind}  ", Fault.__doc__)
    for parameters in PARAMETERS_OF.values():
        assert all(f"`{parameter}`" in Fault.__doc__ for parameter in parameters)


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429, 500, 501, 502, 503, 504])
def test_status(start_faulty, get, status):
    sandbox = start_faulty(Fault("status", status=status, times=1))
    response = get(sandbox)
    assert response.status_code == status
    assert set(response.json()) == {"error", "origin"}
    assert "X-Request-Id" in response.headers
    assert "retry-after" not in response.headers
    assert get(sandbox).status_code == 200
    assert [request.status for request in sandbox.requests] == [status, 200]


def test_status_with_an_error_text(start_faulty, get):
    fault = Fault("status", status=503, retry_after=7, origin="integration", error="Asleep")
    response = get(start_faulty(fault))
    assert response.json() == {"error": "Asleep", "origin": "integration"}
    assert response.headers["retry-after"] == "7"


def test_status_without_origin_and_with_a_date(start_faulty, get):
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    response = get(start_faulty(Fault("status", status=501, origin="", retry_after=date)))
    assert list(response.json()) == ["error"]
    assert response.json()["error"].startswith("Endpoint get_orders is not implemented for ")
    assert response.headers["retry-after"] == date


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [(None, None), (0, "0"), (0.5, "0.5"), (-1, "-1"), ("soon", "soon")],
)
def test_a_429_with_headers_and_without(start_faulty, get, retry_after, expected):
    fault = Fault("status", status=429, retry_after=retry_after)
    with_headers, without_headers = (
        get(start_faulty(fault, rate_limit=10, rate_headers=names))
        for names in ("x-ratelimit", None)
    )
    for response in (with_headers, without_headers):
        assert response.status_code == 429
        assert response.headers.get("retry-after") == expected
    assert with_headers.headers["x-ratelimit-limit"] == "10"
    assert not [name for name in without_headers.headers if "rate" in name.lower()]


@pytest.mark.parametrize("status", [None, 200, 502])
def test_html(start_faulty, get, status):
    response = get(start_faulty(Fault("html", status=status)))
    assert response.status_code == (status or 502)
    assert response.headers["Content-Type"].startswith("text/html")
    assert response.text.startswith("<html>")


def test_not_json(start_faulty, get):
    response = get(start_faulty(Fault("not_json")))
    assert response.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        response.json()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"error": "Internal server error", "origin": "trackstar"}),
        (
            {"error": "Asleep", "origin": "integration"},
            {"error": "Asleep", "origin": "integration"},
        ),
        ({"origin": ""}, {"error": "Internal server error"}),
    ],
)
def test_error_in_200(start_faulty, get, options, expected):
    response = get(start_faulty(Fault("error_in_200", **options)))
    assert (response.status_code, response.json()) == (200, expected)
    assert response.headers["Content-Type"] == "application/json"


def test_not_object(start_faulty, get):
    assert get(start_faulty(Fault("not_object"))).json() == []


def test_echo_secret(start_faulty, get):
    sandbox = start_faulty(Fault("echo_secret"))
    response = get(sandbox)
    assert response.status_code == 500
    assert sandbox.access_token in response.json()["error"]
    assert sandbox.api_key in response.json()["error"]


def test_redirect(start_faulty, get):
    sandbox = start_faulty(Fault("redirect", to="http://127.0.0.2:1/", status=307))
    response = get(sandbox, allow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (307, "http://127.0.0.2:1/")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("no_data", {"next_token": None, "total_count": 7}),
        ("wrong_count", {"total_count": 0}),
        ("empty_token", {"next_token": ""}),
        ("bad_token_type", {"next_token": 12345}),
    ],
)
def test_envelopes(start_faulty, get, kind, expected):
    sandbox = start_faulty(Fault(kind))
    body = get(sandbox).json()
    assert expected.items() <= body.items()
    assert body.get("data", sandbox.orders) == sandbox.orders
    assert ("data" in body) == (kind != "no_data")


def test_null_data(start_faulty, get):
    body = get(start_faulty(Fault("null_data"))).json()
    assert body == {"data": None, "next_token": None, "total_count": 7}


def test_data_not_list(start_faulty, get):
    sandbox = start_faulty(Fault("data_not_list"))
    assert get(sandbox).json()["data"] == {"orders": sandbox.orders}


def test_item_not_object(start_faulty, get):
    sandbox = start_faulty(Fault("item_not_object"))
    assert get(sandbox).json()["data"] == ["order", *sandbox.orders[1:]]


@pytest.mark.parametrize(
    ("kind", "absent"),
    [("no_token", [1, 2]), ("absent_token_mid", [1]), ("absent_token_end", [2])],
)
def test_absent_tokens(start_faulty, get, kind, absent):
    sandbox, healthy = start_faulty(Fault(kind)), start_faulty()
    token = get(healthy, {"limit": 4}).json()["next_token"]
    bodies = {1: get(sandbox, {"limit": 4}), 2: get(sandbox, {"limit": 4, "page_token": token})}
    assert [page for page, body in bodies.items() if "next_token" not in body.json()] == absent


def test_a_full_last_page_keeps_its_token(start_faulty, get):
    sandbox = start_faulty(Fault("absent_token_end"))
    assert get(sandbox, {"limit": 7}).json()["next_token"] is None
    assert "next_token" not in get(sandbox, {"limit": 8}).json()


def failures(get, sandbox, queries):
    return [get(sandbox, query).status_code == 500 for query in queries]


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
def test_which_requests(start_faulty, get, options, expected):
    sandbox = start_faulty(Fault("status", **options), tokens=2)
    failed = failures(get, sandbox, [{"limit": number} for number in range(1, 7)])
    assert [number for number, failure in enumerate(failed, 1) if failure] == expected


def test_continuations_are_counted_by_themselves(start_faulty, get):
    sandbox = start_faulty(Fault("status", first_page=False, nth=2))
    token = get(sandbox, {"limit": 2}).json()["next_token"]
    more = {"page_token": token}
    assert failures(get, sandbox, [{}, more, {}, more, more]) == [False, False, False, True, False]


def test_requests_that_are_refused_are_not_counted(get, http):
    with Sandbox(1, rate_limit=1, tokens=2, faults=[Fault("status", nth=2)]) as sandbox:
        http.get(sandbox.base_url + "/wms/orders", timeout=5)
        statuses = [get(sandbox, token=token).status_code for token in (0, 0, 1)]
        assert statuses == [200, 429, 500]


def test_the_first_rule_that_is_due_acts(start_faulty, get):
    faults = [Fault("status", nth=2), Fault("status", status=503, times=2)]
    sandbox = start_faulty(*faults)
    assert [get(sandbox).status_code for _ in range(4)] == [503, 500, 503, 200]


def test_a_fault_of_a_page_does_not_change_an_error(start_faulty, get):
    assert get(start_faulty(Fault("no_data")), {"what": "?"}).status_code == 422


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("error_in_200", {"status": 500}, "takes no status: it takes origin, error beside"),
        ("same_orders", {"change": {}}, "'same_orders' takes no change: it takes nothing"),
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
