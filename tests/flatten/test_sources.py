"""JSON at hand, wherever it is and whatever it looks like: orders, or an error that says why."""

import gzip
import io
import json
import math
from collections.abc import Mapping

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

import trackstar_frames as tf
from trackstar_frames import OrderFrames, ResponseError
from trackstar_frames.schema import TABLES

A, B = (
    {
        "id": name,
        "status": "open",
        "created_date": "2026-03-01T08:00:00Z",
        "line_items": [{"sku": "X", "quantity": 2}],
    }
    for name in "ab"
)
MORE = "the listing continues, and the rest is missing"
BESIDE = "beside the orders, and in no table"


def hook(order, connection="c1", **more):
    return {
        "event_type": "order.updated",
        "connection_id": connection,
        "integration_name": "ShipHero",
        "integration_type": "wms",
        "data": order,
        "previous_attributes": {"status": "packed"},
        **more,
    }


def lines(*values, end="\n"):
    return end.join(map(json.dumps, values))


def problems(frames):
    table = frames.to_arrow()["problems"].drop_columns(["table"])
    return [tuple(row.values())[-4:] for row in table.to_pylist()]


# Orders.

GIVEN = {
    "a list of dicts": [A, B],
    "a tuple": (A, B),
    "an iterator": iter([A, B]),
    "a body": {"data": [A, B], "next_token": None, "total_count": 2},
    "bodies": [{"data": [A], "next_token": "x"}, {"data": [B], "next_token": None}],
    "a list of bodies as text": json.dumps([{"data": [A]}, {"data": [B], "next_token": ""}]),
    "single bodies": [{"data": A}, json.dumps({"data": B})],
    "single bodies as text": json.dumps([{"data": A}, {"data": B}]),
    "text": json.dumps([A, B]),
    "bytes of lines": lines(A, B).encode(),
    "lines": lines(A, B) + "\n",
    "lines with blank ones": f"\n\n{lines(A)}\n\n \t\n{lines(B)}\n\n",
    "lines that end as on Windows": lines(A, B, end="\r\n\r\n") + "\r\n",
    "lines behind a mark": b"\xef\xbb\xbf" + lines(A, B).encode(),
    "files with marks, one after the other": f"\ufeff{lines(A)}\n\ufeff{lines(B)}",
    "lines of all kinds": lines({"data": [A]}, [], B, {"data": []}),
    "a view": memoryview(lines(A, B).encode()),
    "lines of a list": [f"{lines(A)}\n", "\n", "\r\n", f"{lines(B)}\n"],
    "an open text": io.StringIO(lines(A, B, end="\n\n")),
    "an open file": io.BytesIO(lines(A, B, end="\n\n").encode()),
    "an open file, printed": io.StringIO(json.dumps([A, B], indent=2)),
    "printed": json.dumps({"data": [A, B]}, indent=2),
    "gzip": gzip.compress(lines(A, B).encode()),
    "an open file of gzip": io.BytesIO(gzip.compress(json.dumps([A, B]).encode())),
}


@pytest.mark.parametrize("name", GIVEN)
def test_however_two_orders_are_given_the_frames_are_the_same(name):
    frames = OrderFrames.from_json(GIVEN[name])
    assert frames.to_arrow() == OrderFrames.from_json([A, B]).to_arrow()
    assert problems(frames) == []
    assert frames.info["complete"]
    assert "connections" not in frames.info


@pytest.mark.parametrize("name", ["orders.json", "orders.jsonl.gz", "no ending"])
def test_paths_and_files_of_any_name_are_read(name, tmp_path):
    path = tmp_path / name
    text = lines(A, B, end="\n\n").encode()
    path.write_bytes(gzip.compress(text, mtime=0) if name.endswith("gz") else text)
    expected = OrderFrames.from_json([A, B]).to_arrow()
    with path.open("rb") as file:
        assert OrderFrames.from_json(file).to_arrow() == expected
    assert OrderFrames.from_json(path).to_arrow() == expected
    assert OrderFrames.from_json([path, path]).info["duplicates"] == 2
    with pytest.raises(FileNotFoundError):
        OrderFrames.from_json(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    "given",
    [[], "[]", {"data": []}, [{"data": []}, []][:1], iter(()), {"data": [], "next_token": None}],
)
def test_no_orders_are_no_error(given):
    frames = OrderFrames.from_json(given)
    assert {name: len(table) for name, table in frames.to_arrow().items()} == dict.fromkeys(
        TABLES, 0
    )
    assert frames.info["complete"]


# What is no order.

WRONG = [
    ({"orders": [A]}, "only 'orders'"),
    ({"data": 3}, "`data` holds neither"),
    ({"data": None}, "`data` holds neither"),
    ({"data": {}}, "`data` holds neither"),
    ({"data": "a"}, "`data` holds neither"),
    ({"data": [A, 3]}, "`data` holds neither"),
    ({"data": {"orders": [A]}}, "`data` holds neither"),
    ({"error": "Unauthorized"}, "only 'error'"),
    ({"error": "Unauthorized", "status": 401, "type": "x"}, "only 'error', 'status', 'type'"),
    ({"error": "not found", "id": "req_1"}, "only 'error', 'id'"),
    ({"data": {"errors": ["not found"], "id": "req_1"}}, "`data` holds neither"),
    (hook({"error": "not found", "id": "a"}), "an event whose `data` is no order"),
    ({"status": "error", "message": "x"}, "only 'message', 'status'"),
    ({"status": 404, "type": "about:blank", "title": "x"}, "only 'status', 'title', 'type'"),
    ({"data": {"status": "pending"}}, "`data` holds neither"),
    ({"data": [hook(A)]}, "`data` holds no orders, but objects around them"),
    ([{"data": [{"data": A}], "next_token": None}], "`data` holds no orders, but objects around"),
    ({}, "an object without any key of an order"),
    ([{}], "an object without any key of an order"),
    ([A, {"x": 1}], "only 'x'"),
    (dict.fromkeys("stuvwxyz", 1), r"only 's', 't', 'u', 'v', 'w'\)"),
    ("3", "neither an object nor a list"),
    ("null", "neither an object nor a list"),
    ('"a"', "neither an object nor a list"),
    ("NaN", "neither an object nor a list"),
    ("[3]", r"\[0\] of a list is no object"),
    ("[null]", r"\[0\] of a list is no object"),
    (json.dumps([[A]]), r"\[0\] of a list is no object"),
    ("orders.json", "a str is JSON itself: of a file, pass a pathlib.Path"),
    (lines(A) + "],[" + lines(B), "is not JSON"),
    (lines(A) + "]," + '"x":[' + lines(B), "is not JSON"),
    (lines(A) + lines(B), "is not JSON"),
    (f"{lines(A)}\n{lines(B)[:-1]}", "^line 2: .* is not JSON"),
    (f'{lines(A)}\n\n{{"x":1}}\n', "^line 3: .*only 'x'"),
    (gzip.compress(b"{}" * 99, mtime=0)[:-9], "gzip that cannot be unpacked"),
    (b"\x1f\x8b", "gzip that cannot be unpacked"),
    (["", lines(A)], "is not JSON"),
    (io.StringIO(""), "is not JSON"),
    ({**A, "data": [B]}, "both the keys of an order and orders in `data`"),
    ({**A, "data": B}, "both the keys of an order and orders in `data`"),
    ([hook(A), B], "mixed with orders that name none"),
    ([{"data": [B]}, hook(A)], "mixed with orders that name none"),
    (hook(A, event_type="inventory.updated"), "allowed are order.created, order.updated, order.sh"),
    (hook(A, event_type=None), "allowed are order.created"),
    (hook(A, connection=None), "without a connection_id"),
    (hook(A, connection=""), "without a connection_id"),
    (hook([A]), "an event whose `data` is no order"),
    (hook({}), "an event whose `data` is no order"),
    (hook(None), "an event whose `data` is no order"),
    ({"event_type": "order.created", "connection_id": "c"}, "an event whose `data` is no order"),
    ('{"event_type":"order.created","connection_id":"c","data":{"id":"a"},"data":{"id":"b"}}',
     "`data` is given 2 times"),
    ('{"data":{"id":"a"},"data":{"id":"b"}}', "`data` is given 2 times"),
    (3, "expected a response's body or an order, not int"),
    ([[A]], "expected a response's body or an order, not list"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "reported"), WRONG)
def test_any_other_shape_is_an_error_that_describes_it(given, reported):
    with pytest.raises(ResponseError, match=reported):
        OrderFrames.from_json(given)


def test_unknown_keys_are_not_named_with_pii_redacted():
    with pytest.raises(ResponseError, match="without any key of an order") as caught:
        OrderFrames.from_json({"Jane Roe": 1}, pii="drop")
    assert "Jane" not in str(caught.value)


def test_an_order_may_have_a_key_named_data():
    for value in (3, "x", [], {}, [1], {"x": 1}):
        frames = OrderFrames.from_json({**A, "data": value})
        assert json.loads(frames.orders["extra"][0]) == {"data": value}


# What stands beside the orders.


def test_a_last_cursor_and_a_larger_count_say_that_there_is_more():
    first, last = {"data": [A], "next_token": "x"}, {"data": [B], "next_token": None}
    assert OrderFrames.from_json([first, last]).info["complete"]
    frames = OrderFrames.from_json([last, first])
    assert not frames.info["complete"]
    assert problems(frames) == [(None, "next_token", '"x"', MORE)]
    frames = OrderFrames.from_json({**last, "total_count": 7})
    assert not frames.info["complete"]
    assert problems(frames) == [(None, "total_count", "7", MORE)]
    with pytest.raises(tf.SnapshotError):
        tf.write_snapshot(frames, "nowhere")


@pytest.mark.parametrize("whole", [True, False])
def test_other_members_are_reported_unless_empty(whole):
    beside = {"errors": ["late"], "unused_filters": {"x": 1}, "page": 0, "has_more": True}
    nothing = {"error": None, "detail": "", "warnings": [], "meta": {}}
    body = {"data": [A] if whole else A, **beside, **nothing}
    frames = OrderFrames.from_json(body)
    reported = {path: json.loads(value) for _, path, value, _ in problems(frames)}
    assert reported == beside
    assert not frames.info["complete"]
    assert OrderFrames.from_json({"data": [A], "has_more": False, "page": 1}).info["complete"]


def test_a_text_file_opened_in_the_wrong_encoding_is_an_error_that_shows_none_of_it(tmp_path):
    path = tmp_path / "orders.json"
    path.write_bytes('{"id": "a", "channel": "Zoë"}'.encode("latin-1"))
    message = r"not text in utf-8: .* at byte 26"
    with path.open(encoding="utf-8") as file, pytest.raises(ResponseError, match=message) as caught:
        OrderFrames.from_json(file)
    assert "Zo" not in repr(caught.value)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("member", "complete"),
    [
        ({"hasMore": True}, False),
        ({"has_next_page": "true"}, False),
        ({"partial": True}, False),
        ({"timed_out": 1}, False),
        ({"success": False}, False),
        ({"error": False}, True),
        ({"success": True}, True),
        ({"has_more": "false"}, True),
        ({"has_more": 0}, True),
    ],
)
def test_members_that_say_that_orders_are_missing_are_read_in_any_spelling(whole, member, complete):
    frames = OrderFrames.from_json({"data": [A] if whole else A, **member})
    assert frames.info["complete"] is complete


@pytest.mark.parametrize(
    ("count", "message", "complete"),
    [("7", MORE, False), (7.0, MORE, False), ("many", BESIDE, True), (-1, BESIDE, True)],
)
def test_a_count_in_another_spelling_is_read_and_what_is_none_is_reported(count, message, complete):
    frames = OrderFrames.from_json({"data": [A], "total_count": count})
    assert problems(frames)[0][1::2] == ("total_count", message)
    assert frames.info["complete"] is complete


# Events.


def test_orders_of_events_are_of_their_connections():
    given = [hook(B, "c2"), hook(A), hook({**A, "status": "packed"}, "c2"), hook(A, 7)]
    for each in (given, json.dumps(given), lines(*given, end="\n\n"), map(json.dumps, given)):
        frames = OrderFrames.from_json(each)
        orders = frames.orders
        assert orders["connection"].tolist() == ["7", "c1", "c2", "c2"]
        assert orders["id"].tolist() == ["a", "a", "a", "b"]
        assert orders["status"].tolist() == ["open", "open", "packed", "open"]
        assert all(next(iter(getattr(frames, name))) == "connection" for name in TABLES)
        assert set(frames.info["connections"]) == {"7", "c1", "c2"}
        assert problems(frames) == []


def test_one_event_alone_has_its_connection_and_the_newest_of_an_order_is_kept(tmp_path):
    stamps = ["2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z", "2026-03-01T00:00:00Z"]
    given = [hook({**A, "updated_date": each, "reference_id": each}) for each in stamps]
    frames = OrderFrames.from_json(given)
    assert frames.orders[["connection", "reference_id"]].values.tolist() == [["c1", stamps[1]]]
    assert frames.info["duplicates"] == 2
    assert OrderFrames.from_json(given[0]).orders["connection"].tolist() == ["c1"]
    frames.to_parquet(tmp_path / "frames")
    assert OrderFrames.from_parquet(tmp_path / "frames").to_arrow() == frames.to_arrow()
    assert len(tf.diff_snapshots(frames, OrderFrames.from_json(given[:1]))) == 2


@pytest.mark.parametrize("pii", ["keep", "drop"])
def test_an_event_without_its_order_is_a_problem(pii):
    large = hook({"id": "b"}, data_truncated=True, data_url="https://x.example/1")
    frames = OrderFrames.from_json([large, hook(A, data_truncated=False)], pii=pii)
    assert frames.orders["id"].tolist() == ["a"]
    (problem,) = problems(frames)
    assert problem[0] == "b"
    assert "data_url" in problem[3]
    assert problem[2] is None if pii == "drop" else json.loads(problem[2]) == large
    single = OrderFrames.from_json(large)
    assert list(single.orders)[:2] == ["connection", "id"]
    assert single.problems["connection"].tolist() == ["c1"]


def test_unknown_members_of_an_event_are_reported():
    assert problems(OrderFrames.from_json(hook(A, attempt=3, note=None))) == [
        (None, "attempt", "3", "beside the orders, and in no table")
    ]


# The law: whatever it is, it is found, told, or refused.

TEXTS = st.integers(0, 10**6).map("<{}>".format)
SCALARS = (
    TEXTS
    | st.sampled_from([None, True, False, "", math.nan, math.inf, "0001-01-01", "1,234.50", "Y"])
    | st.sampled_from(["2026-03-01 08:00:00", "20260301", 1772352000, "NaN", "12,50", -0.0, 1e22])
    | st.integers()
    | st.floats(allow_nan=False)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
KEYS = {
    name: sorted({column.path[0] for column in table.columns if column.path})
    for name, table in TABLES.items()
}


def objects(table, **lists):
    keys = st.sampled_from([*KEYS[table], "data", "new"])
    rows = {key: st.lists(each | JSON, max_size=2) for key, each in lists.items()}
    return st.builds(
        lambda known, below: known | below,
        st.dictionaries(keys, JSON, max_size=5),
        st.fixed_dictionaries({}, optional=rows),
    )


PACKAGES = objects("packages", line_items=objects("package_line_items"))
SHIPMENTS = objects("shipments", line_items=objects("shipment_line_items"), packages=PACKAGES)
ORDERS = objects("orders", line_items=objects("line_items"), shipments=SHIPMENTS)
IDENTIFIED = st.builds(lambda order, name: {**order, "id": name}, ORDERS, TEXTS)
EVENTS = st.builds(
    lambda order, connection, kind, more: {
        **more, "event_type": kind, "connection_id": connection, "data": order
    },
    IDENTIFIED | ORDERS,
    TEXTS,
    st.sampled_from(["order.created", "order.updated", "order.shipment.created", "other"]),
    st.dictionaries(st.sampled_from(["new", "data_truncated"]), JSON, max_size=2),
)  # fmt: skip
BODIES = st.builds(
    lambda orders, more: {**more, "data": orders},
    st.lists(IDENTIFIED | ORDERS, max_size=2) | IDENTIFIED | JSON,
    st.dictionaries(st.sampled_from(["has_more", "errors", "new", "id"]), JSON, max_size=2),
)
ANY = st.lists(IDENTIFIED, max_size=3) | IDENTIFIED | ORDERS | EVENTS | BODIES | JSON
ANY = ANY | st.lists(EVENTS, max_size=2) | st.lists(BODIES, max_size=2)


@given(ANY, st.booleans())
def test_every_scalar_of_any_json_is_found_or_reported_or_all_is_refused(given, as_text):
    source = json.dumps(given) if as_text or not isinstance(given, Mapping | list) else given
    try:
        frames = OrderFrames.from_json(source)
    except ResponseError:
        event("refused")
        return
    event("read")
    if frames.info["duplicates"]:
        return  # an older state of an order is not kept
    found = set(held(frames))
    for leaf in leaves(without_kinds(given)):
        assert any(spelt in found for spelt in spellings(leaf)), leaf


def without_kinds(given):
    """Leave out what tells an event from an order, and that it is whole."""
    if isinstance(given, list):
        return [without_kinds(each) for each in given]
    if isinstance(given, dict):
        known = ("event_type", "data_truncated", "has_more")
        return {
            k: v for k, v in given.items() if not (k in known and (v is False or k == known[0]))
        }
    return given


def leaves(value):
    """List what says something: all but null and the empty text."""
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in leaves(each)]
    return [] if value is None or value == "" else [value]


def spellings(leaf):
    """Write a scalar as columns may have it."""
    yield repr(leaf)
    if isinstance(leaf, bool):
        return
    if isinstance(leaf, int | float) and math.isfinite(leaf):
        yield from (repr(float(leaf)), repr(json.dumps(leaf)))
        if leaf == int(leaf):
            yield repr(int(leaf))
        if leaf in (0, 1):
            yield repr(bool(leaf))
    yield from (f"'{text}'" for text in OTHERWISE.get(leaf, ()))
    yield from map(repr, VALUES.get(leaf, ()))


VALUES = {"1,234.50": [1234.5, 1234], "Y": [True]}
OTHERWISE = {
    "20260301": ["2026-03-01T00:00:00+00:00"],
    1772352000: ["2026-03-01T08:00:00+00:00"],
}


def held(frames):
    """List every scalar of every table, opened where it is JSON text."""
    for name, table in frames.to_arrow().items():
        free = {column.name for column in TABLES[name].columns if column.kind == "json"}
        for row in table.to_pylist():
            for column, cell in row.items():
                yield from opened(
                    cell, as_json=column in free or (name, column) == ("problems", "value")
                )


def opened(cell, *, as_json):
    if as_json and cell is not None:
        cell = json.loads(cell)
    elif hasattr(cell, "isoformat"):
        cell = cell.isoformat()
    yield from map(repr, leaves(cell))
