"""Two snapshots of a server whose orders changed in between, against plain Python and SQL."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd
import pytest
from helpers.changed_orders import changed_orders

import trackstar_frames as tf
from trackstar_frames import OrderFrames, SnapshotError
from trackstar_frames.sandbox import Sandbox
from trackstar_frames.schema import LIFECYCLE

NOW = datetime(2026, 3, 1, tzinfo=UTC)
GONE, ADDED, CHANGED = 7, 5, 60
SHIPPED_DATES = [f"{which}_shipped_date" for which in ("first", "last", "complete")]


def moved(order, number):
    """Change an order in one of several ways, by its number."""
    position = LIFECYCLE.index(order["status"])
    changes = [
        {"status": LIFECYCLE[(position + 1 + number) % 11]},
        {"status": "awaiting_customs"},
        {"status": None},
        {"tags": [*(order["tags"] or []), "ä,b"], "total_price": 12.5 + number},
        {"line_items": [*order["line_items"], {"sku": "NEW", "quantity": number}]},
        {"required_ship_date": shifted(order["required_ship_date"], number)},
        {"saturday_delivery": not order["saturday_delivery"], "trading_partner": f"T{number}"},
    ]
    return {**order, **changes[number % len(changes)]}


def shifted(text, number):
    if text is None:
        return "2026-03-02T12:00:00.000001Z"
    days = timedelta(days=(-1) ** number * number)
    return None if number % 4 == 0 else (datetime.fromisoformat(text) + days).isoformat()


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Write the orders as they are, and as they are after changes; with the orders."""
    root = tmp_path_factory.mktemp("root")
    with Sandbox(orders=300, seed=5, rate_limit=None, days=20, now=NOW) as sandbox:
        client = sandbox.client(cache=False)
        before = sandbox.orders
        old = tf.write_snapshot(tf.fetch_orders(client=client), root)
        sandbox.delete(order["id"] for order in before[:GONE])
        sandbox.upsert({**order, "id": f"new-{order['id']}"} for order in before[:ADDED])
        some = before[GONE : GONE + CHANGED]
        sandbox.upsert(moved(order, number) for number, order in enumerate(some))
        after = sandbox.orders
        new = tf.write_snapshot(tf.fetch_orders(client=client), root)
    return old, new, by_id(before), by_id(after)


def by_id(orders):
    return {order["id"]: order for order in orders}


def status_of(orders, key):
    return (orders[key]["status"] or "(none)") if key in orders else None


def plain(frame):
    """Give the rows as tuples, with None for all that is null."""
    return list(frame.astype(object).where(frame.notna(), None).itertuples(index=False, name=None))


def sql(query, old, new):
    paths = {name: f"'{side.path}/orders/*.parquet'" for name, side in [("old", old), ("new", new)]}
    return duckdb.sql(query.format(**paths)).fetchall()


def test_the_diff_lists_what_was_changed_and_nothing_else(sides):
    old, new, before, after = sides
    diff = tf.diff_snapshots(old, new)
    kinds = diff.groupby("kind", observed=False)["order_id"].agg(set)
    assert kinds["new"] == after.keys() - before.keys()
    assert kinds["vanished"] == before.keys() - after.keys()
    assert len(kinds["new"]) == ADDED
    assert kinds["changed"] == {key for key in before if key in after and before[key] != after[key]}
    by_table = changed_orders(old.read().to_arrow(), new.read().to_arrow())
    assert kinds["changed"] == set().union(*by_table.values())
    on_one_side = diff[diff["kind"] != "changed"]
    assert on_one_side[["column", "old", "new"]].isna().all(axis=None)
    assert not diff.duplicated(["order_id", "column"]).any()


@pytest.mark.parametrize("column", ["status", "trading_partner"])
def test_text_fields_of_the_diff_are_those_of_sql(sides, column):
    old, new, *_ = sides
    diff = tf.diff_snapshots(old, new)
    query = f"""
        select id, old.{column}, new.{column} from {{old}} old join {{new}} new using (id)
        where old.{column} is distinct from new.{column} order by id
    """
    expected = sql(query, old, new)
    assert expected
    assert plain(diff.loc[diff["column"] == column, ["order_id", "old", "new"]]) == expected


def test_values_of_other_kinds_are_json_and_iso(sides):
    old, new, before, after = sides
    diff = tf.diff_snapshots(old, new)
    for name, read in [
        ("tags", json.loads),
        ("total_price", json.loads),
        ("saturday_delivery", json.loads),
        ("line_item_count", json.loads),
        ("required_ship_date", datetime.fromisoformat),
    ]:
        rows = diff[diff["column"] == name]
        assert len(rows) > 3
        for key, was, now in plain(rows[["order_id", "old", "new"]]):
            for text, order in ((was, before[key]), (now, after[key])):
                held = len(order["line_items"]) if name == "line_item_count" else order[name]
                held = datetime.fromisoformat(held) if held and name.endswith("date") else held
                assert (text if text is None else read(text)) == held
    due = diff[diff["column"] == "required_ship_date"]
    assert (
        pd.concat([due["old"], due["new"]])
        .dropna()
        .str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")
        .all()
    )


def test_rows_of_child_tables_are_json_lists(sides):
    old, new, before, after = sides
    diff = tf.diff_snapshots(old, new)
    lines = diff[diff["column"] == "line_items"]
    assert len(lines) == len(
        [
            key
            for key in before
            if key in after and before[key]["line_items"] != after[key]["line_items"]
        ]
    )
    for key, was, now in plain(lines[["order_id", "old", "new"]]):
        for text, order in ((was, before[key]), (now, after[key])):
            rows = json.loads(text)
            assert [row["line_index"] for row in rows] == list(range(len(order["line_items"])))
            for row, line in zip(rows, order["line_items"], strict=True):
                held = {name: value for name, value in line.items() if value is not None}
                assert row == held | {"line_index": row["line_index"]}


def test_rows_are_sorted_by_order_and_column():
    was = OrderFrames.from_json([{"id": "b"}, {"id": "a", "status": "open"}, {"id": "Z"}])
    now = {
        "id": "a",
        "status": "odd",
        "type": "b2b",
        "line_items": [{"sku": "x"}],
        "warehouse_id": "w",
        "shipments": [{"shipped_date": "2026-01-02T03:04:05Z"}],
    }
    diff = tf.diff_snapshots(was, OrderFrames.from_json([now, {"id": "c"}]))
    # The line has no quantity: how much was ordered is unknown, and no shipment completes that.
    computed = ["line_item_count", "units_ordered", "shipment_count", "units_overshipped"]
    computed += ["first_shipped_date", "last_shipped_date"]
    changed = ["warehouse_id", "status", "type", *computed]
    assert plain(diff[["order_id", "column", "kind"]]) == [
        ("Z", None, "vanished"),
        *(("a", name, "changed") for name in [*changed, "line_items", "shipments"]),
        ("b", None, "vanished"),
        ("c", None, "new"),
    ]
    assert plain(diff.loc[diff["column"] == "shipments", ["old", "new"]]) == [
        ("[]", '[{"shipment_index": 0, "shipped_date": "2026-01-02T03:04:05Z"}]')
    ]


def test_transitions_count_as_plain_python_does(sides):
    old, new, before, after = sides
    table = tf.status_transitions(old, new)
    pairs = Counter((status_of(before, key), status_of(after, key)) for key in before | after)
    rows = plain(table[["from_status", "to_status", "orders"]])
    assert {row[:2]: row[2] for row in rows} == pairs
    assert len(rows) == len(pairs)
    n = Counter(was for was, _ in pairs.elements())
    for was, _, orders, share in plain(table[["from_status", "to_status", "orders", "share"]]):
        assert share == (None if was is None else pytest.approx(orders / n[was]))
    assert table.groupby("from_status", observed=True)["share"].sum().to_numpy() == pytest.approx(1)


def test_ages_are_those_of_sql(sides):
    old, new, *_ = sides
    as_of = new.info["fetched_at"]
    query = f"""
        select coalesce(old.status, '(none)'), coalesce(new.status, '(none)'),
            max(age_us), median(age_us)
        from {{old}} old join {{new}} new using (id),
        lateral (select epoch_us(timestamptz '{as_of}') - epoch_us(new.created_date) as age_us)
        group by all
    """
    expected = {row[:2]: row[2:] for row in sql(query, old, new)}
    table = tf.status_transitions(old, new)
    found = {
        (row.from_status, row.to_status): (
            row.max_age // pd.Timedelta("1us"),
            row.median_age // pd.Timedelta("1us"),
        )
        for row in table.dropna(subset=["from_status", "to_status"]).itertuples()
    }
    assert found.keys() == expected.keys()
    for pair, ages in found.items():
        assert ages == pytest.approx(expected[pair], abs=1)


def test_due_dates_that_moved_are_those_of_sql(sides):
    old, new, *_ = sides
    query = """
        select id, new.status, epoch_us(new.required_ship_date - old.required_ship_date),
            case when old.required_ship_date is null then 'set'
                 when new.required_ship_date is null then 'removed'
                 when new.required_ship_date < old.required_ship_date then 'earlier'
                 else 'later' end
        from {old} old join {new} new using (id)
        where old.required_ship_date is distinct from new.required_ship_date order by id
    """
    changes = tf.due_date_changes(old, new)
    changes["moved"] = [
        None if pd.isna(each) else each // pd.Timedelta("1us") for each in changes["moved"]
    ]
    expected = sql(query, old, new)
    assert {row[3] for row in expected} >= {"removed", "earlier", "later"}
    rows = plain(changes[["order_id", "status", "moved", "kind"]])
    assert rows == expected


@pytest.mark.parametrize("compare", [tf.diff_snapshots, tf.status_transitions, tf.due_date_changes])
def test_every_kind_of_side_gives_the_same(sides, compare):
    old, new, *_ = sides
    expected = compare(old, new)
    assert expected.attrs["trackstar"] == {
        f"{name}_as_of": side.info["fetched_at"] for name, side in [("old", old), ("new", new)]
    }
    for was, now in [
        (old.read(), new.read(dtype_backend="pyarrow")),
        (str(old.path), new.path),
        (old.path, new),
    ]:
        found = compare(was, now)
        pd.testing.assert_frame_equal(found, expected)
        assert found.attrs == expected.attrs


@pytest.mark.parametrize("backend", [None, "pyarrow"])
@pytest.mark.parametrize("compare", [tf.status_transitions, tf.due_date_changes])
def test_plain_frames_of_orders_do_as_well(sides, compare, backend):
    old, new, *_ = sides
    frames = [side.read(dtype_backend=backend).orders for side in (old, new)]
    pd.testing.assert_frame_equal(compare(*frames), compare(old, new))


@pytest.mark.parametrize("compare", [tf.diff_snapshots, tf.status_transitions, tf.due_date_changes])
def test_nothing_is_an_empty_frame_of_the_same_types(sides, compare):
    old, new, *_ = sides
    full = compare(old, new)
    nothing = OrderFrames.from_json([])
    empty = compare(nothing, nothing)
    assert len(full)
    assert len(empty) == 0
    for name in empty.columns:
        if name not in {"status", "from_status", "to_status"}:  # unknown ones are categories more
            assert empty[name].dtype == full[name].dtype
    assert empty.columns.tolist() == full.columns.tolist()
    assert isinstance(empty.index, pd.RangeIndex)
    assert compare is tf.status_transitions or compare(old, old).empty


@pytest.mark.parametrize("compare", [tf.diff_snapshots, tf.status_transitions, tf.due_date_changes])
def test_invalid_sides_are_refused(sides, compare):
    old, new, *_ = sides
    with pytest.raises(ValueError, match="pass the older one first"):
        compare(new, old)
    with pytest.raises(TypeError, match="new is a int; pass a Snapshot"):
        compare(old, 7)
    with pytest.raises(SnapshotError, match="no snapshot at"):
        compare(old.path / "nowhere", new)
    with pytest.raises(SnapshotError, match=f"a folder of snapshots.*{new.name}"):
        compare(old, new.path.parent)


def test_a_snapshot_with_a_damaged_or_missing_file_is_reported(sides, tmp_path):
    old, *_ = sides
    copy = tf.write_snapshot(old.read(), tmp_path)
    file = copy.files["orders"][0]
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SnapshotError, match="orders is damaged"):
        tf.status_transitions(copy, copy)


def test_frames_are_checked():
    orders = OrderFrames.from_json([{"id": "a"}, {"id": "b"}]).orders
    twice = pd.concat([orders, orders.iloc[:1]])
    with pytest.raises(ValueError, match="new has more than one row of the order 'a'"):
        tf.status_transitions(orders, twice)
    with pytest.raises(ValueError, match="old lacks 'required_ship_date'"):
        tf.due_date_changes(orders.drop(columns="required_ship_date"), orders)


def test_moments_of_any_year_are_written():
    was, now = (
        OrderFrames.from_json({"id": "a", "required_ship_date": moment})
        for moment in ("1990-01-01T00:00:00Z", "9999-12-31T23:59:59.5+00:00")
    )
    diff = tf.diff_snapshots(was, now)
    assert plain(diff[["old", "new"]]) == [("1990-01-01T00:00:00Z", "9999-12-31T23:59:59.500000Z")]
