import pickle

import pytest
from helpers import reference
from helpers.traffic import count_requests
from hypothesis import given
from hypothesis import strategies as st

import trackstar_frames as tf
from trackstar_frames import errors
from trackstar_frames.http.responses import error_for
from trackstar_frames.sandbox import Fault

ALL = [
    tf.TrackstarError,
    tf.SettingsError,
    tf.CredentialsError,
    tf.FilterError,
    tf.ApiError,
    tf.AuthError,
    tf.RateLimitError,
    tf.NotSupportedError,
    tf.ServerError,
    tf.NetworkError,
    tf.ResponseError,
    tf.OfflineMissError,
    tf.SnapshotError,
]
FIELDS = {"status": 418, "request_id": "req_1", "retryable": True, "retry_after": 2.5}


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_are_pickled_with_their_fields(kind, protocol):
    fields = FIELDS | (
        {"error": "no", "origin": "trackstar"} if issubclass(kind, tf.ApiError) else {}
    )
    again = pickle.loads(pickle.dumps(kind("what is wrong", **fields), protocol))
    assert type(again) is kind
    assert str(again) == "what is wrong"
    assert {name: getattr(again, name) for name in fields} == fields


def test_the_tree():
    assert all(issubclass(kind, tf.TrackstarError) for kind in ALL)
    for kind in (tf.SettingsError, tf.CredentialsError, tf.FilterError):
        assert issubclass(kind, ValueError)
    for kind in (tf.AuthError, tf.RateLimitError, tf.NotSupportedError, tf.ServerError):
        assert issubclass(kind, tf.ApiError)
    assert not issubclass(tf.NetworkError, tf.ApiError)
    drawn = errors.__doc__
    assert all(kind.__name__ in drawn for kind in [*ALL, tf.IncompleteFetchError])


@given(st.integers(300, 999), st.binary(max_size=60), st.none() | st.text(max_size=5))
def test_any_refusal_becomes_an_error(status, body, request_id):
    error = error_for(status, body, request_id=request_id)
    assert isinstance(error, tf.ApiError)
    assert error.status == status
    assert str(status) in str(error)
    passing = status in (408, 425, 429) or (status >= 500 and status != 501)
    assert error.retryable == passing


def test_the_servers_message_is_shown_but_shortened():
    body = b'{"error": "%b", "origin": "trackstar", "detail": {"%b": 1}}' % (
        b"a" * 9999,
        b"b" * 9999,
    )
    error = error_for(422, body)
    assert len(error.error) == 9999
    assert len(str(error)) < 1500


def test_the_nearest_is_named():
    assert "did you mean 'open'?" in errors.one_of("status", "opn", ["open", "packed"])
    assert "did you mean" not in errors.one_of("status", "xyz", ["open", "packed"])


@pytest.fixture
def broken(serve_with_client):
    """Break a fetch on its third page of four."""

    def make(*faults, **options):
        fault = Fault("status", status=503, retry_after=99, nth=3, origin="integration")
        sandbox, client = serve_with_client(fault, *faults, client={"connection": "acme"})
        with pytest.raises(tf.IncompleteFetchError) as caught:
            tf.fetch_orders(client=client, page_size=15, **options)
        return sandbox, client, caught.value

    return make


def test_a_broken_fetch_carries_what_was_read(broken):
    sandbox, _, error = broken()
    assert isinstance(error.__cause__, tf.ServerError)
    assert (error.status, error.retryable, error.retry_after) == (503, True, 99)
    assert error.request_id == error.__cause__.request_id == "req_00000003"
    assert (error.pages, len(error.frames.orders)) == (2, 30)
    assert "2 pages" in str(error)
    assert "30 orders" in str(error)
    assert error.frames.info["complete"] is False
    assert error.frames.info["connection"] == "acme"
    reference.assert_frames_hold(error.frames, sandbox.orders[:30])


@pytest.mark.parametrize("refresh", [True, False])
def test_resume_requests_only_what_is_missing(broken, refresh):
    sandbox, _, error = broken(refresh=refresh)
    frames = error.resume()
    reference.assert_frames_hold(frames, sandbox.orders)
    assert count_requests(sandbox.requests) == (5, 2)
    assert frames.info["pages"] == 4
    assert (frames.info["requests"], frames.info["complete"]) == (5 + 2, True)


def test_resume_breaks_and_resumes_again(broken):
    again = Fault("status", status=401, where=lambda query: "page_token" in query, nth=4)
    sandbox, _, first = broken(again)
    with pytest.raises(tf.IncompleteFetchError) as caught:
        first.resume()
    second = caught.value
    assert isinstance(second.__cause__, tf.AuthError)
    assert second.pages > first.pages
    assert len(first.frames.orders) == 30
    reference.assert_frames_hold(second.frames, sandbox.orders[:45])
    reference.assert_frames_hold(second.resume(), sandbox.orders)
    assert count_requests(sandbox.requests) == (6, 2)


def test_resume_keeps_the_limit_and_the_filters(broken):
    sandbox, _, error = broken(limit=50, created_date__gte="2000-01-01")
    frames = error.resume()
    reference.assert_frames_hold(frames, sandbox.orders[:50])
    assert frames.info["filters"] == {"created_date__gte": "2000-01-01"}
    assert all("created_date%5Bgte%5D" in request.path for request in sandbox.requests)


def test_resume_without_a_cache(serve_with_client):
    sandbox, client = serve_with_client(Fault("status", status=403, nth=3), client={"cache": False})
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.fetch_orders(client=client, page_size=15)
    reference.assert_frames_hold(caught.value.resume(), sandbox.orders)
    assert count_requests(sandbox.requests) == (5, 2)


def test_resume_with_a_client_of_its_own(serve_with_client):
    sandbox, client = serve_with_client(Fault("status", status=401, nth=3), client={"cache": False})
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.fetch_orders(client=client, page_size=15)
    frames = caught.value.resume(client=sandbox.client())
    reference.assert_frames_hold(frames, sandbox.orders)


@pytest.mark.parametrize("refresh", [True, False])
def test_a_pickled_error_keeps_its_counts_and_the_same_call_reads_on_from_disk(broken, refresh):
    sandbox, client, error = broken(refresh=refresh)
    dump = pickle.dumps(error)
    for secret in (sandbox.api_key, sandbox.orders[0]["ship_to_address"]["full_name"]):
        assert secret.encode() not in dump
    again = pickle.loads(dump)
    assert again.frames is None
    assert (again.pages, again.status, again.retry_after) == (2, 503, 99)
    assert str(again) == str(error)
    with pytest.raises(tf.SettingsError, match="make the same call again"):
        again.resume(client=client)
    frames = tf.fetch_orders(client=client, page_size=15)
    reference.assert_frames_hold(frames, sandbox.orders)
    assert count_requests(sandbox.requests) == (5, 2)
    assert frames.info["from_cache"] == 2


def test_a_long_list_resumes_in_its_second_listing(serve_with_client, some_orders):
    fault = Fault("status", status=404, nth=3)
    sandbox, client = serve_with_client(fault, orders=some_orders)
    ids = [order["id"] for order in some_orders]
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.fetch_orders(client=client, ids=ids)
    reference.assert_frames_are_part(caught.value.frames, some_orders)
    frames = caught.value.resume()
    reference.assert_frames_hold(frames, some_orders)
    assert (len(sandbox.requests), frames.info["pages"]) == (5, 4)


def test_before_the_first_page_it_is_the_cause_itself(serve_with_client):
    _, client = serve_with_client(Fault("status", status=401))
    with pytest.raises(tf.AuthError) as caught:
        tf.fetch_orders(client=client)
    assert not isinstance(caught.value, tf.IncompleteFetchError)
