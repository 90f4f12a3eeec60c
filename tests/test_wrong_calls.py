"""Calls that newcomers get wrong: each error says what is wrong, what is allowed, what to do."""

import re
from types import SimpleNamespace

import pytest

import trackstar_frames as tf
from trackstar_frames.sandbox import Fault, Sandbox


@pytest.fixture(scope="module")
def at_hand(tmp_path_factory):
    """What a newcomer has: a client, frames, a snapshot under a root, and a server that listens."""
    root = tmp_path_factory.mktemp("root")
    with Sandbox(orders=30, rate_limit=None) as sandbox:
        client = sandbox.client(cache_dir=root.parent / "cache")
        frames = tf.fetch_orders(client=client)
        judged = tf.ship_date_compliance(frames.orders)
        snapshot = tf.write_snapshot(frames, root)
        yield SimpleNamespace(
            sandbox=sandbox,
            client=client,
            frames=frames,
            judged=judged,
            snapshot=snapshot,
            root=root,
        )


def fetch(**call):
    return lambda has: tf.fetch_orders_df(client=has.client, **call)


def client(**options):
    return lambda _: tf.TrackstarClient(**{"api_key": "k", "access_token": "t", **options})


FILTERS = {
    "field typo": (fetch(statsu="open"), "no filter 'statsu'", "one of the fields", "'status'?"),
    "one underscore": (
        fetch(created_date_gte="2026-01-01"),
        "no filter 'created_date_gte'",
        "field__op=value",
        "did you mean 'created_date__gte'?",
    ),
    "open bracket": (
        fetch(**{"created_date[gte": "2026-01-01"}),
        "no filter 'created_date[gte'",
        "field__op=value",
        "did you mean 'created_date__gte'?",
    ),
    "sign for operator": (
        fetch(**{"created_date[>=]": "2026-01-01"}),
        "no filter 'created_date[>=]'",
        "field__op=value",
        "did you mean 'created_date'?",
    ),
    "operator typo": (
        fetch(order_number__contain="10"),
        "order_number has no such operator",
        "'eq', 'in', 'nin'",
        "did you mean 'contains'?",
    ),
    "option typo": (fetch(pagesize=10), "no filter 'pagesize'", "the options are", "'page_size'?"),
    "unknown option": (fetch(top=10), "no filter 'top'. Write", "limit", "Write"),
    "status typo": (fetch(status="opne"), "status='opne'", "use one of", "did you mean 'open'?"),
    "status in capitals": (fetch(status="Open"), "status='Open'", "use one of", "'open'?"),
    "list as text": (
        fetch(status__in="open,packed"),
        "status__in='open,packed'",
        "use one of",
        "for several values pass a list",
    ),
    "list for one": (
        fetch(status__neq=["open", "packed"]),
        "['open', 'packed']",
        "takes one value",
        "for several use status__in",
    ),
    "empty list": (fetch(ids=[]), "ids is an empty list", "ask for all", "leave the filter out"),
    "nothing": (fetch(status=None), "not None", "takes text", "leave it out to ask for all"),
    "number for text": (
        fetch(order_number=1001),
        "not 1001 (int)",
        "order_number takes text",
        "write it as a string",
    ),
    "no such day": (
        fetch(created_date__gte="2026-02-30"),
        "created_date__gte='2026-02-30' is not a date",
        "a datetime, a Timestamp",
        "give '2026-01-31'",
    ),
    "date as in America": (
        fetch(created_date="01/31/2026"),
        "'01/31/2026' is not a date",
        "a datetime, a Timestamp",
        "give '2026-01-31'",
    ),
    "day where a moment is due": (
        fetch(created_date__in=["2026-01-01"]),
        "is a whole day, which 'in' cannot compare with",
        "a moment ('2026-01-31T00:00:00Z')",
        "or use gte and lte",
    ),
    "ids and more": (
        fetch(ids=["a"], status="open"),
        "status would have no effect",
        "ask for the ids alone",
        "filter the frame",
    ),
    "tags": (
        fetch(trackstar_tags="vip"),
        "trackstar_tags needs an operator",
        "trackstar_tags__not_contains",
        "write trackstar_tags__contains",
    ),
    "known as unknown": (
        fetch(extra_params={"status": "open"}),
        "extra_params holds 'status'",
        "is not an extra parameter",
        "pass it as a filter",
    ),
    "sync by what changes": (
        lambda has: tf.sync_orders(has.root, client=has.client, status="open"),
        "an order's status may change",
        "sync by created_date,",
        "filter the frame",
    ),
}

SETTINGS = {
    "no orders": (fetch(limit=0), "limit=0", "whole number of at least 1", "must be"),
    "large page": (fetch(page_size=5000), "page_size=5000", "from 1 to 1000", "must be"),
    "pii typo": (fetch(pii="droop"), "pii='droop'", "'keep', 'drop', 'hash'", "mean 'drop'?"),
    "hash without key": (
        fetch(pii="hash"),
        "TRACKSTAR_PII_KEY, which is missing",
        "at least 16 characters",
        "secrets.token_hex",
    ),
    "backend typo": (
        fetch(dtype_backend="arrow"),
        "dtype_backend='arrow'",
        "or None",
        "did you mean 'pyarrow'?",
    ),
    "connections as list": (
        lambda _: tf.fetch_orders_df(connections=["ACME_TOKEN"]),
        "it is list",
        "must map labels",
        "such as {'acme': 'ACME_TOKEN'}",
    ),
    "both": (
        fetch(connections={"acme": "ACME_TOKEN"}),
        "client=... is one connection",
        "connections=... names several",
        "pass one of the two",
    ),
    "key for client": (
        lambda _: tf.fetch_orders_df(client={"api_key": "my-secret"}),
        "client is a dict",
        "or None",
        "pass a TrackstarClient",
    ),
    "offline without cache": (
        lambda has: tf.fetch_orders_df(client=has.sandbox.client(cache=False), offline=True),
        "this client has cache=False",
        "reads from disk",
        "offline=True",
    ),
    "offline and refresh": (
        fetch(offline=True, refresh=True),
        "refresh=True requests every page again",
        "offline=True forbids it",
        "choose one",
    ),
    "plain http": (
        client(base_url="http://api.example.com"),
        "would send the credentials in clear",
        "plain http is for loopback only",
        "use https",
    ),
    "no scheme": (
        client(base_url="production.trackstarhq.com"),
        "base_url='production.trackstarhq.com'",
        "'https://host/path'",
        "must look like 'https://host'",
    ),
    "no cluster": (
        lambda has: tf.export_orders(has.root, client=has.client, dask_client="local"),
        "dask_client is a str",
        "or None",
        "pass a distributed.Client",
    ),
    "frequency of a cluster": (
        lambda _: tf.fetch_orders_dask({"acme": "ACME_TOKEN"}, freq="weekly"),
        "freq='weekly'",
        "of a second at least",
        "such as 'D', 'W', 'MS'",
    ),
}

CREDENTIALS = {
    "no key": (
        client(api_key=None),
        "api_key is missing",
        "TRACKSTAR_API_KEY",
        "pass api_key=... or set",
    ),
    "key with a space": (
        client(api_key="my-secret key"),
        "api_key holds a space",
        "a header cannot carry",
        "copy it again",
    ),
    "no such variable": (
        lambda _: tf.fetch_orders_df(connections={"acme": "my-secret"}),
        "connections['acme'] names an environment variable that is not set",
        "it must be the variable's name",
        "not the token itself",
    ),
}

SNAPSHOTS = {
    "no such name": (
        lambda has: tf.read_snapshot(has.root, "newest"),
        "version='newest'",
        "a snapshot's name, 'latest', a time, nor an integer",
        "the newest are 2",
    ),
    "place in a list": (
        lambda has: tf.read_snapshot(has.root, 0),
        "version=0",
        "an integer counts back from the newest",
        "-1 is 2",
    ),
    "before the first": (
        lambda has: tf.read_snapshot(has.root, "2020-01-01"),
        "is as old as 2020-01-01",
        "the first is of 2",
        "ask for a later time, or for 'latest'",
    ),
    "no such root": (
        lambda has: tf.read_snapshot(has.root / "elsewhere"),
        "there are no snapshots under",
        "write_snapshot, export_orders and sync_orders",
        "make them there",
    ),
    "snapshot for root": (
        lambda has: tf.read_snapshot(has.snapshot.path),
        "which is one itself",
        "OrderFrames.from_parquet",
        "pass the folder above it",
    ),
    "root for snapshot": (
        lambda has: tf.OrderFrames.from_parquet(has.root),
        "it has no tables in it",
        "the snapshots under a folder",
        "are read with read_snapshot",
    ),
    "order number for id": (
        lambda has: tf.order_history(has.root, "#10000"),
        "the order '#10000' is in none",
        "neither order_number nor reference_id",
        "pass Trackstar's id",
    ),
}

VALUES = {
    "frame that is not judged": (
        lambda has: tf.compliance_rate(has.frames.orders.assign(outcome="on_time")),
        "compliance lacks 'is_due', 'due_at'",
        "with these columns",
        "pass the frame of ship_date_compliance",
    ),
    "frame without columns": (
        lambda has: tf.ship_date_compliance(has.frames.line_items),
        "orders lacks 'status'",
        "with these columns",
        "pass the frame of fetch_orders_df",
    ),
    "unknown freq": (
        lambda has: tf.compliance_rate(has.judged, freq="weekly"),
        "freq='weekly'",
        "is not allowed",
        "use one of 'D', 'W'",
    ),
    "unknown by": (
        lambda has: tf.status_mix(has.frames.orders, by="warehouse"),
        "by='warehouse'",
        "use one of",
        "did you mean 'warehouse_id'?",
    ),
    "moment in words": (
        lambda has: tf.backlog(has.frames.orders, as_of="yesterday"),
        "as_of='yesterday'",
        "is not a moment",
        "write it like 2026-01-31T12:00:00Z",
    ),
    "zone typo": (
        lambda _: tf.SlaPolicy(tz="EST5"),
        "tz='EST5' is not a time zone",
        "use a name such as",
        "did you mean 'EST'?",
    ),
    "zone by its city": (
        lambda _: tf.SlaPolicy(tz="New York"),
        "tz='New York' is not a time zone",
        "use a name such as",
        "did you mean 'America/New_York'?",
    ),
    "time in words": (
        lambda _: tf.SlaPolicy(cut_off="noon"),
        "cut_off='noon'",
        "is not a time of day",
        "write it like '12:00'",
    ),
    "days without a clock": (
        lambda _: tf.SlaPolicy(business_days=2),
        "business_days",
        "without a cut_off",
        "add cut_off='12:00'",
    ),
    "status of a policy": (
        lambda _: tf.SlaPolicy(exclude_statuses="canceled"),
        "exclude_statuses='canceled'",
        "use one of",
        "did you mean 'cancelled'?",
    ),
    "policy twice": (
        lambda has: tf.ship_date_compliance(has.frames.orders, tf.SlaPolicy(), tz="Asia/Tokyo"),
        "tz given with a policy",
        "dataclasses.replace",
        "change the policy with",
    ),
    "unknown fault": (
        lambda _: Fault("restet"),
        "unknown kind of fault 'restet'",
        "the kinds are",
        "did you mean 'reset'?",
    ),
    "token that is not there": (
        lambda has: has.sandbox.client(token=3),
        "token=3",
        "between 0 and 0",
        "is not between",
    ),
}

TYPES = {
    "frames for orders": (
        lambda has: tf.ship_date_compliance(has.frames),
        "orders is a OrderFrames",
        "the DataFrame of fetch_orders_df",
        "such as its .orders",
    ),
    "frames for a picture": (
        lambda has: tf.plot_status_mix(has.frames),
        "orders is a OrderFrames",
        "the DataFrame of fetch_orders_df",
        "such as its .orders",
    ),
    "orders for frames": (
        lambda has: tf.fill_rates(has.frames.orders),
        "frames is a DataFrame",
        "lacks orders, line_items, shipments, shipment_line_items",
        "pass the OrderFrames of fetch_orders",
    ),
    "orders for a snapshot": (
        lambda has: tf.write_snapshot(has.frames.orders, has.root),
        "frames is a DataFrame",
        "its own to_parquet",
        "pass the OrderFrames of fetch_orders",
    ),
    "the wrong way round": (
        lambda has: tf.write_snapshot(has.root, has.frames),
        "frames is a ",
        "and root after it",
        "pass the OrderFrames of fetch_orders",
    ),
    "no root": (
        lambda _: tf.list_snapshots(None),
        "None is not the path of a folder",
        "a string or a Path",
        "pass a string",
    ),
    "name for a policy": (
        lambda has: tf.ship_date_compliance(has.frames.orders, "on time"),
        "policy is a str",
        "such as SlaPolicy.on_time_shipment()",
        "pass an SlaPolicy",
    ),
    "orders to compare": (
        lambda has: tf.diff_snapshots(has.frames.orders, has.frames.orders),
        "old is a DataFrame",
        "or the path of a snapshot",
        "pass a Snapshot",
    ),
    "no axes": (
        lambda has: tf.plot_backlog(has.frames.orders, ax=1),
        "ax is a int",
        "or None",
        "pass matplotlib Axes",
    ),
}

NAMES = {
    "singular": (
        lambda _: tf.fetch_order_df,
        "no attribute 'fetch_order_df'",
        "did you mean",
        "'fetch_orders_df'?",
    ),
    "half a picture": (
        lambda _: tf.plot_status,
        "no attribute 'plot_status'",
        "did you mean",
        "'plot_status_mix'?",
    ),
    "unlike any": (
        lambda _: tf.warehouses,
        "no attribute 'warehouses'",
        "lists what it has",
        "dir(trackstar_frames)",
    ),
}

OTHERS = {
    "name for its file": (
        tf.ResponseError,
        lambda _: tf.OrderFrames.from_json("orders.json"),
        "is not JSON",
        "a str is JSON itself",
        "pass a pathlib.Path",
    ),
    "JSON of another kind": (
        tf.ResponseError,
        lambda _: tf.OrderFrames.from_json({"orders": []}),
        "only 'orders'",
        "allowed are a response's body",
        "an order, a list of orders",
    ),
    "never fetched": (
        tf.OfflineMissError,
        fetch(offline=True, status="packed"),
        "is not on disk",
        "never read with this connection and these filters, or expired",
        "fetch it once with offline=False",
    ),
    "sandbox that does not run": (
        RuntimeError,
        lambda _: Sandbox(orders=5).client(),
        "the sandbox is not running",
        "use it in a with block",
        "start() it",
    ),
}

CALLS = OTHERS | {
    name: (error, *reported)
    for error, calls in (
        (tf.FilterError, FILTERS),
        (tf.SettingsError, SETTINGS),
        (tf.CredentialsError, CREDENTIALS),
        (tf.SnapshotError, SNAPSHOTS),
        (ValueError, VALUES),
        (TypeError, TYPES),
        (AttributeError, NAMES),
    )
    for name, reported in calls.items()
}


def test_no_call_hides_another():
    kinds = (FILTERS, SETTINGS, CREDENTIALS, SNAPSHOTS, VALUES, TYPES, NAMES, OTHERS)
    assert len(CALLS) == sum(map(len, kinds)) >= 60


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_says_what_is_wrong_what_is_allowed_and_what_to_do(at_hand, name):
    error, call, wrong, allowed, to_do = CALLS[name]
    asked = len(at_hand.sandbox.requests)
    with pytest.raises(error) as caught:
        call(at_hand)
    message = str(caught.value)
    for part in (wrong, allowed, to_do):
        assert re.search(re.escape(part), message, re.IGNORECASE), message
    assert "\n" not in message
    assert "my-secret" not in message
    assert len(at_hand.sandbox.requests) == asked
