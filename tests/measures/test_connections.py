"""Orders of two connections that share ids: figures keep an order of each apart."""

from collections import Counter
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import trackstar_frames as tf
from trackstar_frames import OrderFrames
from trackstar_frames.info import join_infos
from trackstar_frames.measures import moved_due_dates, transitions
from trackstar_frames.measures._checks import order_keys
from trackstar_frames.measures.backlog import AGE_BUCKETS
from trackstar_frames.schema import TABLES
from trackstar_frames.tables.assemble import concat

LABELS = ["acme", "be/ta"]
OUTCOMES = ["n", "on_time", "late_shipped", "late_open", "pending", "not_evaluable"]
FILLS = [
    *("orders", "orders_filled", "lines", "lines_filled", "units", "units_filled"),
    *("units_overshipped", "kit_units", "unmatched_units", "left_out"),
]

#: Each measure that counts, the columns that add up, and those that do not.
COUNTED = {
    "status_mix": (lambda frames, **by: tf.status_mix(frames.orders, **by), None),
    "compliance_rate": (
        lambda frames, **by: tf.compliance_rate(
            frames.orders, policy=tf.SlaPolicy(), as_of=frames.now, **by
        ),
        OUTCOMES,
    ),
    "backlog": (
        lambda frames, **by: tf.backlog(frames.orders, as_of=frames.now, **by),
        ["n", "units", "units_unknown", *AGE_BUCKETS],
    ),
    "cycle_time": (
        lambda frames, **by: tf.cycle_time(frames.orders, as_of=frames.now, **by),
        ["n", "shipped", "open", "cancelled", "not_evaluable"],
    ),
    "fill_rates": (lambda frames, **by: tf.fill_rates(frames, as_of=frames.now, **by), FILLS),
    "ship_otif": (
        lambda frames, **by: tf.ship_otif(frames, as_of=frames.now, **by),
        ["n", "otif", "on_time", "in_full", "short", "pending", "not_evaluable"],
    ),
    "data_quality": (
        lambda frames, **by: tf.data_quality(frames, as_of=frames.now, **by),
        ["n", "of"],
    ),
}


@pytest.fixture(scope="module")
def world(spoilt):
    """Orders of two seeds under the same ids: each alone, both, and both a day before."""
    single = {label: renamed(spoilt(seed)) for seed, label in enumerate(LABELS, 1)}
    return SimpleNamespace(single=single, both=together(single), now=spoilt(1).now)


def renamed(fetched):
    """Return the frames with the order ids o0, o1 and so on, in all tables."""
    tables = fetched.frames.to_arrow()
    names = {each: f"o{number}" for number, each in enumerate(tables["orders"]["id"].to_pylist())}
    for name, table in tables.items():
        index = table.column_names.index("id" if name == "orders" else "order_id")
        ids = pa.array([names.get(each) for each in table[index].to_pylist()], pa.string())
        tables[name] = table.set_column(index, table.field(index), ids)
    return read(OrderFrames(tables, fetched.frames.info), fetched.now)


def together(single):
    tables = concat({label: each.frames.to_arrow() for label, each in single.items()})
    infos = {label: each.frames.info for label, each in single.items()}
    return read(OrderFrames(tables, join_infos(infos)), single[LABELS[0]].now)


def read(frames, now):
    return SimpleNamespace(
        frames=frames, now=now, **{name: getattr(frames, name) for name in TABLES}
    )


def test_the_two_share_their_ids(world):
    ids = [set(each.orders["id"]) for each in world.single.values()]
    assert ids[0] == ids[1]
    assert not world.both.orders["id"].is_unique
    assert world.both.orders.columns[0] == "connection"


@pytest.mark.parametrize("name", COUNTED)
def test_counts_of_both_are_the_sums_of_each_alone(world, name):
    measure, columns = COUNTED[name]
    found = measure(world.both)
    each = [measure(single) for single in world.single.values()]
    chosen = found.columns if columns is None else columns
    first, second = (
        table[[*table.columns.intersection(chosen)]]
        .reindex(index=found.index, columns=chosen, fill_value=0)
        .astype("Int64")
        for table in each
    )
    assert_frame_equal(found[chosen].astype("Int64"), first + second, check_names=False)
    assert (first != second).any(axis=None)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("name", COUNTED)
def test_by_connection_each_has_its_own_rows(world, name):
    measure, _ = COUNTED[name]
    table = measure(world.both, by="connection")
    for label, single in world.single.items():
        expected = measure(single)
        if name == "data_quality":
            expected["examples"] = [[spelt(label, i) for i in ids] for ids in expected["examples"]]
        # A backlog of both may have a row more: a status that only the other has.
        deep = table.index.nlevels > 1
        found = table.xs(label).reindex(expected.index) if deep else table.loc[[label]]
        mine = found[expected.columns].reset_index(drop=True)
        assert_frame_equal(mine, expected.reset_index(drop=True))


def spelt(label, order_id):
    return f"{label.replace('/', '%2F')}/{order_id}"


def test_late_orders_have_their_connection(world):
    found = tf.late_orders(world.both.orders, as_of=world.now, shipped=True)
    assert found.columns[0] == "connection"
    for label, single in world.single.items():
        expected = tf.late_orders(single.orders, as_of=world.now, shipped=True)
        mine = found[found["connection"] == label].drop(columns="connection")
        by = ["outcome", "lateness", "id"]
        assert_frame_equal(
            mine.sort_values(by, ignore_index=True),
            expected.sort_values(by, ignore_index=True),
            check_categorical=False,
        )


def test_judged_orders_keep_their_rows_and_labels(world):
    judged = tf.ship_date_compliance(world.both.orders, as_of=world.now)
    each = [tf.ship_date_compliance(one.orders, as_of=world.now) for one in world.single.values()]
    names = ["id", "due_at", "shipped_at", "outcome", "lateness", "reason"]
    assert_frame_equal(judged[names], pd.concat(each, ignore_index=True)[names])
    assert judged["connection"].equals(world.both.orders["connection"])


def test_rows_of_lines_may_stand_anywhere(world):
    mixed = SimpleNamespace(
        **{name: getattr(world.both, name).sample(frac=1, random_state=1) for name in TABLES}
    )
    found = tf.fill_rates(mixed, by="connection", as_of=world.now)
    assert_frame_equal(found, tf.fill_rates(world.both, by="connection", as_of=world.now))


def test_labels_may_be_of_any_type_of_text(world):
    expected = tf.fill_rates(world.both, as_of=world.now)
    arrow = OrderFrames(world.both.frames.to_arrow(), {}, dtype_backend="pyarrow")
    assert_frame_equal(tf.fill_rates(arrow, as_of=world.now), expected)
    few = SimpleNamespace(
        **{name: getattr(world.both, name).astype({"connection": "category"}) for name in TABLES}
    )
    assert_frame_equal(tf.fill_rates(few, as_of=world.now), expected)


def sides(days):
    """Return two connections with the same ids, with different due dates and statuses."""
    parts = {}
    for label, statuses in (("acme", ["open", "picked"]), ("beta", ["packed", "open"])):
        orders = [
            {
                "id": name,
                "status": status,
                "created_date": "2026-03-01T00:00:00Z",
                "required_ship_date": f"2026-03-0{day}T00:00:00Z",
            }
            for name, status, day in zip("ab", statuses, days[label], strict=True)
        ]
        parts[label] = OrderFrames.from_json(orders)
    tables = concat({label: each.to_arrow() for label, each in parts.items()})
    return OrderFrames(tables, join_infos({label: each.info for label, each in parts.items()}))


OLD = {"acme": (2, 3), "beta": (2, 3)}
NEW = {"acme": (2, 5), "beta": (1, 3)}


def test_due_dates_that_moved_are_listed_by_connection_and_order():
    old, new = sides(OLD), sides(NEW)
    moved = tf.due_date_changes(new, old), tf.due_date_changes(old, new)
    assert moved[1].columns[:2].tolist() == ["connection", "order_id"]
    assert moved[1][["connection", "order_id", "kind"]].to_numpy().tolist() == [
        ["acme", "b", "later"],
        ["beta", "a", "earlier"],
    ]
    assert moved[0]["moved"].tolist() == [-each for each in moved[1]["moved"]]
    backwards = moved_due_dates(old.orders[::-1], new.orders.sample(frac=1, random_state=3))
    assert_frame_equal(backwards, moved[1])


def test_due_dates_are_sorted_by_connection_first():
    old, new = sides(OLD), sides({"acme": (3, 4), "beta": (3, 4)})
    table = tf.due_date_changes(old, new)
    keys = table[["connection", "order_id"]].to_numpy().tolist()
    assert keys == [["acme", "a"], ["acme", "b"], ["beta", "a"], ["beta", "b"]]


def test_snapshots_of_several_connections_are_compared_like_frames(tmp_path):
    old, new = sides(OLD), sides(NEW)
    kept = [tf.write_snapshot(each, tmp_path) for each in (old, new)]
    for snapshots in (kept, [str(each.path) for each in kept], [each.read() for each in kept]):
        assert_frame_equal(tf.due_date_changes(*snapshots), tf.due_date_changes(old, new))
        assert_frame_equal(tf.status_transitions(*snapshots), tf.status_transitions(old, new))


def test_transitions_of_both_are_the_sums_of_each_alone(world):
    def later(orders):
        moved = orders.assign(status=orders["status"].array[::-1])
        return moved.iloc[len(moved) // 10 :]

    orders = world.both.orders
    newer = pd.concat(later(orders[orders["connection"] == label]) for label in LABELS)
    each = [pairs(one.orders, later(one.orders)) for one in world.single.values()]
    assert pairs(orders, newer) == each[0] + each[1]


def pairs(old, new):
    """Count orders by status, old and new."""
    table = transitions(old, new)
    names = table[["from_status", "to_status"]].astype(object).fillna("nowhere")
    return Counter(dict(zip(map(tuple, names.to_numpy()), table["orders"], strict=True)))


def without(frames, name):
    """Return the tables, one of them without the labels."""
    given = {each: getattr(frames, each) for each in TABLES}
    return SimpleNamespace(**given | {name: given[name].drop(columns="connection")})


@pytest.mark.parametrize("measure", [tf.fill_rates, tf.ship_otif, tf.data_quality])
@pytest.mark.parametrize("name", ["line_items", "shipments", "shipment_line_items"])
def test_tables_with_labels_and_without_cannot_be_joined(world, measure, name):
    with pytest.raises(
        ValueError, match=f"frames.orders has .*'connection', and frames.{name} has not"
    ):
        measure(without(world.both, name), as_of=world.now)


def test_problems_need_their_labels_too(world):
    with pytest.raises(ValueError, match=r"and frames\.problems has not"):
        tf.data_quality(without(world.both, "problems"), as_of=world.now)


@pytest.mark.parametrize("measure", [moved_due_dates, transitions])
def test_sides_with_labels_and_without_cannot_be_compared(world, measure):
    orders = world.both.orders
    mine = orders[orders["connection"] == LABELS[0]].drop(columns="connection")
    with pytest.raises(ValueError, match="new has the column 'connection', and old has not"):
        measure(mine, orders)
    with pytest.raises(ValueError, match="give it to all of them, or to none"):
        measure(orders, mine)


def test_an_order_twice_is_named_with_its_connection(world):
    orders = world.both.orders
    twice = pd.concat([orders, orders.tail(1)])
    wanted = f"more than one row of the order 'be%2Fta/{orders['id'].iloc[-1]}'"
    with pytest.raises(ValueError, match=wanted):
        tf.data_quality(twice, as_of=world.now)
    with pytest.raises(ValueError, match="of several connections the column 'connection' too"):
        tf.data_quality(orders.drop(columns="connection"), as_of=world.now)


def test_a_row_of_no_connection_is_an_error(world):
    orders = world.both.orders.copy()
    orders.loc[3, "connection"] = None
    with pytest.raises(ValueError, match="'connection' has nulls"):
        tf.data_quality(orders, as_of=world.now)


def test_keys_of_labels_that_hold_what_parts_them_differ():
    frame = pd.DataFrame(
        [("a", "b/c"), ("a/b", "c"), ("a%2Fb", "c"), ("a", "c"), ("a", None)],
        columns=["connection", "id"],
    )
    keys = order_keys(frame, "id")
    assert keys.is_unique
    assert keys.tolist()[:4] == ["a/b/c", "a%2Fb/c", "a%252Fb/c", "a/c"]
    assert keys.isna().tolist() == [False] * 4 + [True]
