"""Personal data: what `pii` hides, and that all else is as it was."""

import hmac
import json

import pyarrow as pa
import pytest
from helpers import marked_orders
from hypothesis import given
from hypothesis import strategies as st

import trackstar_frames as tf
from trackstar_frames.schema import TABLES
from trackstar_frames.settings import Masked
from trackstar_frames.tables.pii import redact

KEY = "the-key-of-these-tests-0123456789"
HIDDEN = pytest.mark.parametrize("pii", ["drop", "hash"])


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("TRACKSTAR_PII_KEY", KEY)


def by_hand(text):
    return hmac.new(KEY.encode(), text.encode(), "sha256").hexdigest()


def assert_hides(keep, hidden, pii):
    """The law: the same rows, columns and types; what is marked is hidden, and nothing else."""
    for name, described in TABLES.items():
        before, after = keep.to_arrow()[name], hidden.to_arrow()[name]
        assert after.schema.equals(before.schema, check_metadata=True)
        assert len(after) == len(before)
        for column in described.columns:
            old, new = before[column.name].to_pylist(), after[column.name].to_pylist()
            if column.free_form or (column.personal and pii == "drop"):
                assert new == [None] * len(old), column.name
            elif column.personal:
                assert new == [each and by_hand(each) for each in old], column.name
            elif (name, column.name) != ("problems", "path"):
                assert new == old, column.name


@HIDDEN
def test_all_else_is_as_it_was(pii):
    keep, hidden = (
        tf.OrderFrames.from_json({"data": marked_orders.ORDERS}, pii=each) for each in ("keep", pii)
    )
    assert_hides(keep, hidden, pii)
    known = keep.problems["value"].notna()
    assert (hidden.problems["path"][known] == keep.problems["path"][known]).all()
    assert hidden.problems["path"][~known].str.endswith("*").all()
    order = hidden.orders.set_index("id").loc["o1"]
    names = ["units_shipped", "units_overshipped", "package_count", "shipping_cost"]
    assert order[names].tolist() == [2, 2, 4, 5]


@HIDDEN
def test_pages_without_anything_odd_leave_no_personal_data(pii):
    plant = marked_orders.Planter(odd=False)
    page = json.dumps({"data": [plant.order(f"o{number}") for number in range(40)]})
    keep, hidden = (tf.OrderFrames.from_json([page], pii=each) for each in ("keep", pii))
    assert_hides(keep, hidden, pii)
    assert len(marked_orders.marks(marked_orders.shown(keep))) > 10
    assert marked_orders.marks(marked_orders.shown(hidden)) == []
    assert len(hidden.problems) == 0


@HIDDEN
def test_from_json_leaves_no_personal_data(pii):
    orders = marked_orders.ORDERS
    body = {"data": orders}
    for at_hand in (
        body,
        orders[:-3],
        json.dumps(orders[:-3]),
        [json.dumps(body), marked_orders.TWICE],
    ):
        frames = tf.OrderFrames.from_json(at_hand, pii=pii)
        assert len(frames.orders) >= len(orders) - 3
        assert frames.info["pii"] == pii
        assert marked_orders.marks(marked_orders.shown(frames)) == []


def test_an_unknown_key_is_reported_by_its_location_only():
    frames = tf.OrderFrames.from_json(marked_orders.Planter().order("a"), pii="drop")
    shipment = ["", "ship_to_address.", "ship_from_address.", "line_items[0].", "packages[0]."]
    shipment += ["packages[0].measurements.", "packages[0].line_items[0]."]
    places = ["", "channel_object.", "ship_to_address.", "line_items[0]."]
    places += [f"shipments[{number}].{each}" for number in (0, 1) for each in shipment]
    assert set(frames.problems["path"]) == {f"{place}*" for place in places}


@pytest.mark.parametrize(
    ("path", "value", "left"),
    [
        ("shipments[12].ship_to_address.city", "{}", "shipments[12].ship_to_address.city"),
        ("shipments[0].packages[1]", "5", "shipments[0].packages[1]"),
        ("shipments[0].packages", "5", "shipments[0].packages"),
        ("", "{}", ""),
        ("shipments[0].ship_to_address.city", None, "shipments[0].ship_to_address.*"),
        ("shipments[0].ship_to_address.Jane", "5", "shipments[0].ship_to_address.*"),
        ("shipments[0].ship_to_address", None, "shipments[0].*"),
        ("shipments[0].Jane\n", "5", "shipments[0].*"),
        ("shipments[Jane].status", "5", "*"),
        ("Jane.shipments[0].status", None, "*"),
        ("line_items[5551234].sku", None, "*"),
    ],
)
def test_a_path_keeps_only_keys_of_the_schema(path, value, left):
    row = {"table": "shipments", "order_id": "a", "path": path, "value": value, "message": "m"}
    problems = pa.Table.from_pylist([row], TABLES["problems"].schema)
    assert redact({"problems": problems}, "drop")["problems"].to_pylist() == [
        row | {"path": left, "value": None}
    ]


# Orders of any shape. Each column's values are apart: what stays must say nothing.

MARK, DIGITS = "pl4nted", 918273645
QUIET = st.sampled_from(["plain", "", None, 7, 1.5, True])
LOUD = st.sampled_from([MARK, f'{MARK} "ö', "", None, DIGITS, 1.5, True])
KEYS = (MARK, f"x.{MARK}", f"shipments[0].{MARK}", str(DIGITS))
NESTED = st.recursive(
    LOUD,
    lambda each: (
        st.lists(each, max_size=2) | st.dictionaries(st.sampled_from(KEYS), each, max_size=2)
    ),
    max_leaves=3,
)
WRAPPED = NESTED.filter(lambda each: isinstance(each, (dict, list)))


def values(column):
    if column.personal or column.free_form:
        return NESTED
    return (
        QUIET | WRAPPED | (st.nothing() if column.kind in ("string", "status") else st.just(MARK))
    )


def some_of(members):
    return st.lists(st.sampled_from(sorted(members)), max_size=6, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: members[name] for name in names})
    )


def objects(table, **lists):
    members, inner = dict.fromkeys(KEYS, NESTED), {}
    for column in TABLES[table].columns:
        if column.path and column.path != ("id",):
            *parents, name = column.path
            home = inner.setdefault(parents[0], dict.fromkeys(KEYS, LOUD)) if parents else members
            home[name] = values(column)
    members |= {name: some_of(each) | NESTED for name, each in inner.items()}
    members |= {name: st.lists(each | LOUD, max_size=2) | NESTED for name, each in lists.items()}
    return some_of(members)


PACKAGES = objects("packages", line_items=objects("package_line_items"))
SHIPMENTS = objects(
    "shipments", line_items=objects("shipment_line_items"), packages=PACKAGES, boxes=PACKAGES
)
ORDERS = st.lists(
    objects("orders", line_items=objects("line_items"), shipments=SHIPMENTS), max_size=4
)


@HIDDEN
@given(orders=ORDERS, named=st.sets(st.integers(0, 3)))
def test_orders_of_any_shape_are_redacted(pii, orders, named):
    orders = [
        order | ({"id": f"id-{number % 3}"} if number in named else {})
        for number, order in enumerate(orders)
    ]
    keep, hidden = (tf.OrderFrames.from_json({"data": orders}, pii=each) for each in ("keep", pii))
    assert_hides(keep, hidden, pii)
    reported = (json.dumps(table.to_pylist(), default=str) for table in hidden.to_arrow().values())
    assert marked_orders.marks(reported) == []


# Hashes.


def test_equal_texts_have_equal_hashes_in_all_tables_and_runs(monkeypatch):
    address = {"full_name": "Zoë O'Neil", "company": "", "city": None, "postal_code": 10001}
    order = {"id": "a", "ship_to_address": address, "shipments": [{"ship_to_address": address}]}
    other = {"id": "b", "ship_to_address": {"address1": "Zoë O'Neil", "full_name": "zoë o'neil"}}
    for at_hand in ([order, other], json.dumps([order, other]), json.dumps([other, order])):
        frames = tf.OrderFrames.from_json(at_hand, pii="hash")
        orders = frames.orders.set_index("id").filter(like="ship_to_address")
        (shipment,) = frames.shipments.filter(like="ship_to_address").to_dict("records")
        hashed = by_hand("Zoë O'Neil")
        assert orders["ship_to_address_full_name"].to_dict() == {
            "a": hashed,
            "b": by_hand("zoë o'neil"),
        }
        assert orders["ship_to_address_address1"]["b"] == hashed
        assert shipment["ship_to_address_full_name"] == hashed
        assert shipment["ship_to_address_postal_code"] == by_hand("10001")
        assert shipment["ship_to_address_company"] == ""
        assert orders["ship_to_address_city"].isna().all()
    monkeypatch.setenv("TRACKSTAR_PII_KEY", KEY + "x")
    again = tf.OrderFrames.from_json(order, pii="hash").orders["ship_to_address_full_name"]
    assert again[0] not in (hashed, "Zoë O'Neil")
    assert len(again[0]) == 64


@pytest.mark.parametrize("how", ["keep", "drop", "hash"])
def test_a_batch_of_any_size_and_cut_keeps_its_schema(how):
    names = pa.chunked_array([["a", None], [], ["a", ""]], pa.string())
    field = pa.field("ship_to_address_city", pa.string(), metadata={"kept": "yes"})
    table = pa.table([names], pa.schema([field], metadata={"this": "too"}))
    kept = {"keep": "a", "drop": None, "hash": by_hand("a")}[how]
    empty = None if how == "drop" else ""
    for batch in (table, table[:0], table[1:3]):
        hidden = redact({"orders": batch}, how, Masked(KEY))["orders"]
        hidden.validate(full=True)
        assert hidden.schema.equals(batch.schema, check_metadata=True)
        expected = [{"a": kept, "": empty}.get(each) for each in batch[0].to_pylist()]
        assert hidden[0].to_pylist() == expected


def test_hashes_need_a_key():
    with pytest.raises(tf.SettingsError, match="TRACKSTAR_PII_KEY"):
        redact({}, "hash")


# The schema.


def test_the_marks_of_the_schema_are_complete():
    words = tf.data_dictionary().set_index(["table", "column"])
    columns = words.index.get_level_values("column")
    person = [f"ship_to_address_{name}" for name in marked_orders.PERSON]
    expected = {(table, name) for table in ("orders", "shipments") for name in person}
    expected |= {("packages", "tracking_number"), ("packages", "tracking_url")}
    assert set(words.index[words["personal"]]) == expected
    free = {"tags", "trackstar_tags", "additional_fields", "extra", "external_system_url"}
    assert set(columns[words["free_form"]]) == free | {"tracking_url", "value"}
    anything = columns.isin(free) | columns.str.contains("url|tag|extra|note|comment")
    assert words["free_form"][anything].all()
