"""Several connections in one call: nothing merged, nothing lost, and a failure spoils no other."""

import pickle
import time
import traceback

import pandas as pd
import pytest
from helpers.marks import slow
from helpers.traffic import count_requests, most_within

import trackstar_frames as tf
from trackstar_frames.sandbox import Fault
from trackstar_frames.schema import TABLES

FAIL = Fault("status", status=403, token=1)


def single(sandbox, token, name="orders", **options):
    """Fetch one connection's table, and label it."""
    label = list(sandbox.connections)[token]
    with sandbox.client(token, connection=label, cache=False) as client:
        frame = getattr(tf.fetch_orders(client=client, **options), name)
    frame.insert(0, "connection", pd.Series([label] * len(frame), dtype="str"))
    return frame


def stacked(sandbox, tokens, name="orders", **options):
    frames = [single(sandbox, token, name, **options) for token in tokens]
    whole = pd.concat(frames, ignore_index=True)
    if name == "orders":
        whole["status"] = whole["status"].astype(frames[0]["status"].dtype)
    return whole


def assert_same(got, expected):
    pd.testing.assert_frame_equal(got, expected, check_column_type=False)


def test_each_table_is_that_of_each_connection_one_after_the_other(serve_connections):
    sandbox = serve_connections(odd=0.1)
    frames = tf.fetch_orders(connections=sandbox.connections)
    for name in TABLES:
        assert_same(getattr(frames, name), stacked(sandbox, range(3), name))


@pytest.mark.parametrize("backend", [None, "pyarrow"])
def test_equal_ids_of_two_connections_stay_two_orders(serve_connections, some_orders, backend):
    sandbox = serve_connections(orders=some_orders[:30], tokens=2)
    frames = tf.fetch_orders(connections=sandbox.connections, dtype_backend=backend)
    assert len(frames.orders) == 60
    assert frames.orders["id"].nunique() == 30
    assert not frames.orders.duplicated(["connection", "id"]).any()
    assert len(frames.line_items) == 2 * sum(len(o["line_items"]) for o in some_orders[:30])
    assert frames.info["duplicates"] == 0


def test_types_do_not_depend_on_the_data(serve_connections):
    sandbox = serve_connections(orders=0, tokens=2)
    orders = tf.fetch_orders_df(connections=sandbox.connections)
    assert orders.columns[0] == "connection"
    assert orders.dtypes["connection"] == pd.Series(["x"], dtype="str").dtype
    assert len(orders) == 0


def test_the_info_has_metadata_of_all_and_of_each(serve_connections):
    sandbox = serve_connections()
    info = tf.fetch_orders(connections=sandbox.connections, status="open").info
    each = info["connections"]
    assert list(each) == list(sandbox.connections)
    assert info["requests"] == sum(one["requests"] for one in each.values()) == 3
    assert info["fetched_at"] == min(one["fetched_at"] for one in each.values())
    assert (info["filters"], info["complete"], info["connection"]) == (
        {"status": "open"},
        True,
        None,
    )


def test_functions_give_tokens_too(serve_connections):
    sandbox = serve_connections(tokens=2)
    first, second = sandbox.access_tokens
    orders = tf.fetch_orders_df(connections={"b": lambda: second, "a": lambda: first})
    assert orders["connection"].unique().tolist() == ["a", "b"]
    assert (
        orders.loc[orders["connection"] == "a", "id"].tolist() == single(sandbox, 0)["id"].tolist()
    )


@pytest.mark.slow
def test_the_rate_is_that_of_each_token(serve_connections):
    sandbox = serve_connections(tokens=3, orders=3000, rate_limit=10)
    frames = tf.fetch_orders(connections=sandbox.connections, page_size=100, max_workers=12)
    assert len(frames.orders) == 9000
    for token in {request.token for request in sandbox.requests}:
        assert most_within(r.time for r in sandbox.requests if r.token == token) <= 10
    assert most_within(request.time for request in sandbox.requests) > 10


@pytest.mark.one_of(2)
@pytest.mark.parametrize(
    ("limit", "counts"), [(1, [1]), (60, [60]), (61, [60, 1]), (150, [60, 60, 30]), (999, [60] * 3)]
)
def test_a_limit_is_one_for_all(serve_connections, limit, counts):
    sandbox = serve_connections()
    frames = tf.fetch_orders(connections=sandbox.connections, limit=limit, page_size=40)
    found = frames.orders["connection"].value_counts().sort_index()
    assert found.tolist() == counts
    assert (frames.info["limit"], frames.info["complete"]) == (limit, True)
    asked = {request.token for request in sandbox.requests}
    assert len(asked) == len(counts)


def test_a_failure_is_reported_and_affects_no_other(serve_connections):
    sandbox = serve_connections(FAIL, odd=0.1)
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.fetch_orders(connections=sandbox.connections)
    error = caught.value
    assert list(error.failures) == ["customer-1"]
    assert isinstance(error.failures["customer-1"], tf.AuthError)
    assert "'customer-1': the API returned 403" in str(error)
    assert error.frames.info["complete"] is False
    for name in TABLES:
        assert_same(getattr(error.frames, name), stacked(sandbox, [0, 2], name))


def test_resuming_requests_only_what_failed_for_what_is_left(serve_connections):
    sandbox = serve_connections(Fault("status", status=403, nth=3, token=1))
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.fetch_orders(connections=sandbox.connections, page_size=10)
    before = len(sandbox.requests)
    frames = caught.value.resume()
    assert_same(frames.orders, stacked(sandbox, range(3)))
    later = sandbox.requests[before:-3]  # without those that made the expected frame
    assert {request.token for request in later} == {sandbox.access_tokens[1]}
    assert count_requests(later) == (4, 2)


def test_all_may_fail(serve_connections):
    sandbox = serve_connections(Fault("status", status=401))
    with pytest.raises(tf.IncompleteFetchError, match="3 connections failed") as caught:
        tf.fetch_orders(connections=sandbox.connections)
    assert caught.value.frames is None
    assert len(caught.value.failures) == 3


def test_a_limit_stops_at_a_failure_and_continues_from_there(serve_connections):
    sandbox = serve_connections(Fault("status", status=403, token=1, times=1))
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.fetch_orders(connections=sandbox.connections, limit=150)
    assert len(caught.value.frames.orders) == 60
    counts = caught.value.resume().orders["connection"].value_counts().sort_index()
    assert counts.tolist() == [60, 60, 30]


def test_a_pickled_error_keeps_its_failures_and_cannot_be_resumed(serve_connections):
    sandbox = serve_connections(Fault("status", status=403, token=1, times=1))
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.fetch_orders(connections=sandbox.connections)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.frames, list(again.failures)) == (None, ["customer-1"])
    with pytest.raises(tf.SettingsError, match="make the same call again"):
        again.resume()
    with pytest.raises(tf.SettingsError, match="without a client"):
        caught.value.resume(sandbox.client())


@pytest.mark.parametrize(
    ("connections", "words"),
    [
        ({}, "it is empty"),
        ("ACME_TOKEN", "must map labels"),
        ({"": "ACME_TOKEN"}, "the label '' must be a str"),
        ({" a": "ACME_TOKEN"}, "must be a str"),
        ({1: "ACME_TOKEN"}, "the label 1 must be a str"),
        ({"a": None}, "must be the name of an environment variable"),
        ({"a": ""}, "must be the name of an environment variable"),
        ({"a": "NOT_SET"}, "is not set or empty"),
        ({"a": lambda: ""}, "returned an empty text"),
        ({"a": lambda: 3}, "returned int"),
        ({"a": lambda: 1 / 0}, "its function raised ZeroDivisionError"),
        ({"a": "TRACKSTAR_ACCESS_TOKEN", "b": "SANDBOX_TOKEN_0"}, "'a' and 'b' have the same"),
    ],
)
@pytest.mark.parametrize("call", ["fetch", slow("export"), slow("sync")])
def test_invalid_arguments_fail_before_any_request(
    serve_connections, tmp_path, connections, words, call
):
    sandbox = serve_connections()
    with pytest.raises((tf.SettingsError, tf.CredentialsError), match=words):
        ask(call, tmp_path, connections=connections)
    assert not sandbox.requests
    assert not list(tmp_path.glob("2*"))


def ask(call, root, **options):
    """Make one of the three calls."""
    if call == "fetch":
        return tf.fetch_orders(**options)
    return {"export": tf.export_orders, "sync": tf.sync_orders}[call](root / "root", **options)


@pytest.mark.parametrize("call", ["fetch", "export", "sync"])
def test_a_client_and_connections_exclude_each_other(serve_connections, tmp_path, call):
    sandbox = serve_connections()
    with pytest.raises(tf.SettingsError, match="pass one of the two"):
        ask(call, tmp_path, client=sandbox.client(), connections=sandbox.connections)


def test_a_token_given_for_a_name_is_not_shown(serve_connections):
    sandbox = serve_connections()
    with pytest.raises(tf.CredentialsError) as caught:
        tf.fetch_orders(connections={"a": sandbox.access_token})
    assert sandbox.access_token not in "".join(traceback.format_exception(caught.value))


@pytest.mark.slow
def test_hundreds_of_connections_need_few_files(serve_connections):
    sandbox = serve_connections(tokens=150, orders=2)
    assert len(tf.fetch_orders_df(connections=sandbox.connections)) == 300


@pytest.mark.parametrize("call", ["fetch", pytest.param("export", marks=pytest.mark.slow)])
def test_an_interrupt_stops_them_all(serve_connections, tmp_path, interrupt, call):
    sandbox = serve_connections(tokens=12, orders=300, latency=0.05)
    interrupt(sandbox, 12)
    with pytest.raises(KeyboardInterrupt):
        ask(call, tmp_path, connections=sandbox.connections, page_size=2, max_workers=2)
    counts = [0, len(sandbox.requests)]
    while counts[-1] > counts[-2]:  # what is on its way comes to its end
        time.sleep(0.5)
        counts.append(len(sandbox.requests))
    assert 0 < counts[-1] < 900, "half of all"
    assert not list(tmp_path.glob("root/2*"))


def test_they_share_one_bar(serve_connections, capfd):
    sandbox = serve_connections(tokens=5)
    tf.fetch_orders(connections=sandbox.connections, progress=True)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "300 orders" in lines[0]
    assert "5 requests" in lines[0]
