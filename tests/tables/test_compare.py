"""What differs between two sets of tables: all that does, and nothing else."""

import copy
import json
import math
import random
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from helpers.changed_orders import COMPARED, changed_orders
from hypothesis import given
from hypothesis import strategies as st

import trackstar_frames as tf
from trackstar_frames import OrderFrames
from trackstar_frames.schema import ARROW_TYPES, TABLES
from trackstar_frames.tables.compare import unequal, unequal_in

WORDS = st.none() | st.sampled_from(["", "a", "b", "ä", "null"])
VALUES = {
    pa.string(): WORDS,
    pa.int64(): st.none() | st.sampled_from([0, 1, -(2**63), 2**53, 2**53 + 1]),
    pa.float64(): st.none() | st.sampled_from([0.0, -0.0, 1.5, math.nan, math.inf]),
    pa.bool_(): st.none() | st.booleans(),
    pa.timestamp("us", tz="UTC"): st.none()
    | st.sampled_from(
        [datetime(2026, 1, 1, tzinfo=UTC), datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]
    ),
    pa.list_(pa.string()): st.none() | st.lists(WORDS, max_size=3),
}
PAIRS = st.sampled_from(list(VALUES)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(st.tuples(VALUES[kind], VALUES[kind])))
)


def changed(old, new):
    """Tell which orders differ in any table."""
    return set().union(*changed_orders(old, new).values())


def differ(left, right):
    """Tell it in plain Python."""
    nan = [isinstance(each, float) and math.isnan(each) for each in (left, right)]
    return nan != [True, True] and left != right


def test_every_type_of_the_schema_is_tried():
    assert set(ARROW_TYPES.values()) == set(VALUES)


@given(PAIRS, st.integers(0, 3))
def test_values_differ_as_they_do_in_python(pairs, cut):
    kind, values = pairs
    left, right = (pa.array([each[side] for each in values], kind) for side in (0, 1))
    expected = [differ(*each) for each in values]
    assert unequal(left, right).tolist() == expected
    # Slices and chunks hold what is before and after them.
    assert unequal(left[cut:], right[cut:]).tolist() == expected[cut:]
    chunks = pa.chunked_array([left[:cut], left[cut:]], kind)
    whole = pa.chunked_array([right], kind)
    assert unequal(chunks, whole).tolist() == expected
    assert unequal(whole, chunks).dtype == bool


@pytest.mark.parametrize("right", [pa.array([1, 2]), pa.array(["1"])])
def test_columns_that_do_not_fit_are_refused(right):
    with pytest.raises(ValueError, match="cannot be compared"):
        unequal(pa.array([1]), right)


def leaves(value, path=()):
    """List the paths to all values of an order that can be changed to others, but its id."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from leaves(inner, (*path, key))
    elif value is not None and path != ("id",):
        yield path


def other(value):
    """Give another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    try:
        return (datetime.fromisoformat(value) + timedelta(seconds=1)).isoformat()
    except ValueError:
        return value + "x"


def with_another(order, path):
    order = copy.deepcopy(order)
    holder = order
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = other(holder[path[-1]])
    return order


@pytest.fixture(scope="module")
def sixty(some_orders):
    """Sixty orders, and their tables."""
    return some_orders[:60], OrderFrames.from_json(some_orders[:60]).to_arrow()


def test_the_order_of_rows_is_no_difference(sixty):
    orders, old = sixty
    assert changed(old, OrderFrames.from_json(orders[::-1]).to_arrow()) == set()


@given(data=st.data())
def test_a_changed_leaf_changes_its_order_and_no_other(sixty, data):
    first, old = sixty
    place = data.draw(st.integers(0, 59))
    path = data.draw(st.sampled_from(list(leaves(first[place]))))
    orders = copy.copy(first)
    orders[place] = with_another(orders[place], path)
    new = OrderFrames.from_json(orders).to_arrow()
    assert changed(old, new) == {orders[place]["id"]}
    assert changed(new, old) == {orders[place]["id"]}


FREE = {"x": [1, {"a": "ä", "b": None}], "y": True, "z": 1.5}
SAME = [
    '{"x":[1,{"a":"ä","b":null}],"y":true,"z":1.5}',
    '{ "z" : 1.50,\n"y": true, "x": [1.0, {"b": null, "a": "\\u00e4"}] }',
    '{"y":true,"x":[10e-1,{"a":"ä","b":null}],"z":15e-1}',
]
OTHERS = [
    '{"x":[{"a":"ä","b":null},1],"y":true,"z":1.5}',
    '{"x":[1,{"a":"ä","b":null}],"y":1,"z":1.5}',
    '{"x":[1,{"a":"ä","b":null}],"y":true,"z":"1.5"}',
    '{"x":[1,{"a":"ä"}],"y":true,"z":1.5}',
    '{"x":[1,{"a":"ä","b":null}],"y":true,"z":1.5000000000000000001}',
    '{"x":[1,{"a":"ä","b":null}],"y":false,"y":true,"z":1.5}',
    '{"x":[1,["a","ä"]],"y":true,"z":1.5}',
    "null",
]
PLACES = {
    "orders": '{"id":"a","additional_fields":%s}',
    "orders, tags": '{"id":"a","trackstar_tags":%s}',
    "orders, a new key": '{"id":"a","zz":%s}',
    "line_items": '{"id":"a","line_items":[{"zz":%s}]}',
    "packages": '{"id":"a","shipments":[{"packages":[{"zz":%s}]}]}',
}


@pytest.mark.each_value
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", SAME)
def test_the_spelling_of_json_is_no_difference(place, text):
    assert json.loads(text) == FREE
    old, new = (OrderFrames.from_json(PLACES[place].replace("%s", t)) for t in (SAME[0], text))
    assert set().union(*changed_orders(old.to_arrow(), new.to_arrow()).values()) == set()
    assert len(tf.diff_snapshots(old, new)) == 0


@pytest.mark.each_value
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", OTHERS)
def test_any_other_json_is_one(place, text):
    old, new = (OrderFrames.from_json(PLACES[place].replace("%s", t)) for t in (SAME[1], text))
    table = place.partition(",")[0]
    assert changed_orders(old.to_arrow(), new.to_arrow())[table] == {"a"}
    (row,) = tf.diff_snapshots(old, new).to_dict("records")
    assert row["kind"] == "changed"


def test_json_that_cannot_be_read_is_compared_as_text():
    deep = "[" * 100_000
    texts = pa.array([deep, "[1", "1e99999999999999999999", "1e99999999999999999999"])
    spaced = pa.array([deep + " ", "[1", " 1e99999999999999999999", "1e99999999999999999999"])
    extra = TABLES["orders"].columns[-1]
    assert unequal_in(extra, texts, spaced).tolist() == [True, False, True, False]


def test_a_history_ignores_the_spelling_of_json(tmp_path):
    for text in (*SAME, OTHERS[0]):
        frames = OrderFrames.from_json(PLACES["orders"].replace("%s", text))
        tf.write_snapshot(frames, tmp_path)
    story = tf.order_history(tmp_path, "a")
    assert story["kind"].tolist() == ["first_seen", "changed"]


LINES = st.lists(
    st.fixed_dictionaries({"sku": WORDS, "quantity": st.none() | st.integers(0, 2)}), max_size=2
)
PACKAGES = st.lists(st.fixed_dictionaries({"line_items": LINES}), max_size=2)
SHIPMENTS = st.fixed_dictionaries({"line_items": LINES, "packages": PACKAGES})
ORDER = st.fixed_dictionaries(
    {
        "id": st.sampled_from("abcd"),
        "status": st.sampled_from(["open", "odd", None]),
        "tags": st.none() | st.lists(WORDS, max_size=2),
        "line_items": LINES,
        "shipments": st.lists(SHIPMENTS, max_size=2),
    }
)
ORDERS = st.lists(ORDER, max_size=4, unique_by=lambda order: order["id"])


def by_order(tables):
    """Collect for each order its rows of all tables."""
    rows = {order["id"]: [] for order in tables["orders"].to_pylist()}
    for name in COMPARED:
        for row in tables[name].to_pylist():
            rows[row[TABLES[name].key[0]]].append((name, row))
    return rows


@given(ORDERS, ORDERS, st.integers())
def test_small_orders_differ_as_their_rows_do_in_python(olds, news, seed):
    old, new = (OrderFrames.from_json(orders).to_arrow() for orders in (olds, news))
    was, now = by_order(old), by_order(new)
    expected = {key for key in was.keys() & now.keys() if was[key] != now[key]}
    assert changed(old, new) == expected
    assert changed(old, shuffled(new, seed)) == expected


def shuffled(tables, seed):
    places = {name: list(range(len(table))) for name, table in tables.items()}
    for each in places.values():
        random.Random(seed).shuffle(each)
    return {name: table.take(pa.array(places[name], pa.int64())) for name, table in tables.items()}


def test_problems_alone_are_no_change():
    old, new = (OrderFrames.from_json({"id": "a", "total_tax": tax}) for tax in ("x", "y"))
    assert len(new.problems) == 1
    assert changed(old.to_arrow(), new.to_arrow()) == set()
    assert "problems" not in COMPARED
    assert set(COMPARED) == set(TABLES) - {"problems"}
