"""Orders' JSON to tables: every value in exactly one place."""

import json
import math
from datetime import UTC, datetime

import pytest

from trackstar_frames import OrderFrames
from trackstar_frames.schema import TABLES


def rows(frames, table):
    return frames.to_arrow()[table].to_pylist()


def one(order, table="orders"):
    (row,) = rows(OrderFrames.from_json(order), table)
    return row


def problems(order):
    return [
        (row["table"], row["path"], row["value"])
        for row in rows(OrderFrames.from_json(order), "problems")
    ]


@pytest.mark.parametrize(
    ("column", "raw", "kept"),
    [
        ("total_price", "12.5", 12.5),
        ("total_price", '"12.50"', 12.5),
        ("total_price", "12", 12.0),
        ("total_price", "-0.0", -0.0),
        ("total_price", '""', None),
        ("total_price", "9223372036854775808", 2.0**63),
        ("reference_id", "10001", "10001"),
        ("reference_id", "1.50", "1.50"),
        ("reference_id", '""', ""),
        ("reference_id", '"a\\u0000b"', "a\x00b"),
        ("reference_id", '"\\ud83d\\ude00 Zoë"', "😀 Zoë"),
        ("saturday_delivery", "true", True),
        ("saturday_delivery", '"False"', False),
        ("saturday_delivery", "1", True),
        ("saturday_delivery", '""', None),
        ("tags", '["a", null, 7]', ["a", None, "7"]),
        ("tags", "[]", []),
        ("tags", "null", None),
        ("additional_fields", '{"x": 1.50 , "y": [1e400]}', '{"x": 1.50 , "y": [1e400]}'),
        ("trackstar_tags", '["a", {"b": "c"}]', '["a", {"b": "c"}]'),
        ("created_date", '"2026-01-31T13:45:00Z"', datetime(2026, 1, 31, 13, 45, tzinfo=UTC)),
        ("created_date", '"2026-01-31"', datetime(2026, 1, 31, tzinfo=UTC)),
        ("created_date", '"2026-01-31T13:45:00.25+02:00"',
         datetime(2026, 1, 31, 11, 45, 0, 250000, tzinfo=UTC)),
        ("created_date", '"2026-01-31 13:45:00"', datetime(2026, 1, 31, 13, 45, tzinfo=UTC)),
        ("created_date", '"1990-01-01T00:00:00Z"', datetime(1990, 1, 1, tzinfo=UTC)),
        ("created_date", '"9999-12-31T23:59:59Z"', datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("created_date", '""', None),
    ],
)  # fmt: skip
def test_a_value_is_converted_where_that_loses_nothing(column, raw, kept):
    body = f'{{"id": "a", "{column}": {raw}}}'
    assert one(body)[column] == kept
    assert problems(body) == []


@pytest.mark.parametrize(
    ("column", "raw"),
    [
        ("total_price", '"12,50"'),
        ("total_price", "true"),
        ("total_price", "[1]"),
        ("total_price", "1e999"),
        ("total_price", "9007199254740993"),
        ("total_price", "9" * 400),
        ("total_price", f'"{"9" * 400}"'),
        ("reference_id", "true"),
        ("reference_id", '{"a":1}'),
        ("saturday_delivery", "2"),
        ("tags", '"a"'),
        ("tags", '["a",{"b":1}]'),
        ("created_date", '"yesterday"'),
        ("created_date", '"2026-01-31Tnoon"'),
        ("created_date", '"2026-02-30T00:00:00Z"'),
        ("ship_to_address", '["12 Main St"]'),
        ("line_items", '{"sku":"A"}'),
        ("shipments", "3"),
    ],
)
def test_any_other_value_is_null_and_reported(column, raw):
    body = f'{{"id": "a", "{column}": {raw}}}'
    assert one(body).get(column) is None
    assert problems(body) == [("orders", column, raw)]


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("3", 3),
        ("1.0", 1),
        ('"2"', 2),
        ("-1", -1),
        ('""', None),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_a_quantity_is_a_whole_number_however_it_is_spelt(raw, kept):
    body = f'{{"id": "a", "line_items": [{{"quantity": {raw}}}]}}'
    assert one(body, "line_items")["quantity"] == kept
    assert problems(body) == []


@pytest.mark.parametrize("raw", ["1.5", '"two"', "9223372036854775808", "1e300", "true"])
def test_any_other_quantity_is_reported_with_its_path(raw):
    body = f'{{"id": "a", "line_items": [{{}}, {{"quantity": {raw}}}]}}'
    assert problems(body) == [("line_items", "line_items[1].quantity", raw)]


def test_unknown_keys_are_kept_in_the_row_of_their_table():
    order = {
        "id": "a",
        "new": {"deep": [1, {"x": None}]},
        "ship_to_address": {"zip_code": "10001", "city": "Bonn"},
        "line_items": [{"sku": "A", "colour": "red"}],
        "shipments": [
            {
                "ship_from_address": {"dock": 4},
                "line_items": [{"bin": "B7"}],
                "packages": [{"measurements": {"girth": 3}, "line_items": [{"serial": "S1"}]}],
            }
        ],
    }
    frames = OrderFrames.from_json(order)
    extra = {
        name: [row["extra"] for row in rows(frames, name)] for name in TABLES if name != "problems"
    }
    assert {name: [json.loads(text) for text in texts] for name, texts in extra.items()} == {
        "orders": [{"new": {"deep": [1, {"x": None}]}, "ship_to_address": {"zip_code": "10001"}}],
        "line_items": [{"colour": "red"}],
        "shipments": [{"ship_from_address": {"dock": 4}}],
        "shipment_line_items": [{"bin": "B7"}],
        "packages": [{"measurements": {"girth": 3}}],
        "package_line_items": [{"serial": "S1"}],
    }
    assert rows(frames, "orders")[0]["ship_to_address_city"] == "Bonn"
    assert [row["path"] for row in rows(frames, "problems")] == [
        "new",
        "ship_to_address.zip_code",
        "line_items[0].colour",
        "shipments[0].ship_from_address.dock",
        "shipments[0].line_items[0].bin",
        "shipments[0].packages[0].measurements.girth",
        "shipments[0].packages[0].line_items[0].serial",
    ]


@pytest.mark.parametrize("order", [{}, {"id": None}, {"id": ""}, {"id": ["a"]}, {"id": True}])
def test_an_order_without_an_id_goes_whole_to_problems(order):
    order = {**order, "status": "open", "line_items": [{"sku": "A"}]}
    frames = OrderFrames.from_json([order, {"id": "b"}])
    assert [row["id"] for row in rows(frames, "orders")] == ["b"]
    assert rows(frames, "line_items") == []
    (problem,) = rows(frames, "problems")
    assert json.loads(problem["value"]) == order
    assert problem["order_id"] is None


def test_a_number_for_an_id_is_an_id():
    assert one({"id": 17, "line_items": [{}]}, "line_items")["order_id"] == "17"


def test_items_that_are_no_objects_keep_their_places():
    frames = OrderFrames.from_json({"id": "a", "line_items": [{"sku": "A"}, 5, None, {"sku": "D"}]})
    assert [row["sku"] for row in rows(frames, "line_items")] == ["A", None, None, "D"]
    assert [row["line_index"] for row in rows(frames, "line_items")] == [0, 1, 2, 3]
    assert [row["path"] for row in rows(frames, "problems")] == ["line_items[1]"]


def test_older_boxes_become_packages():
    shipment = {"boxes": [{"package_id": "b0", "line_items": [{"sku": "A"}]}]}
    frames = OrderFrames.from_json({"id": "a", "shipments": [shipment]})
    assert rows(frames, "packages")[0]["package_id"] == "b0"
    assert rows(frames, "package_line_items")[0]["sku"] == "A"
    assert rows(frames, "problems") == []


def test_boxes_beside_packages_are_kept_but_not_counted_twice():
    shipment = {"packages": [{"package_id": "p0"}], "boxes": [{"package_id": "p0"}]}
    frames = OrderFrames.from_json({"id": "a", "shipments": [shipment]})
    assert len(rows(frames, "packages")) == 1
    assert json.loads(rows(frames, "shipments")[0]["extra"]) == {"boxes": [{"package_id": "p0"}]}


def test_what_only_lenient_parsers_take_is_not_lost():
    body = (
        rb'{"id": "a", "total_price": NaN, "reference_id": "x\ud800y", '
        rb'"additional_fields": {"i": -Infinity}}'
    )
    row = one(body)
    assert row["reference_id"] == r"x\ud800y"
    assert json.loads(row["additional_fields"]) == {"i": None}
    assert problems(body) == [
        ("orders", "total_price", "NaN"),
        ("orders", "additional_fields", '{"i": -Infinity}'),
    ]


def test_text_of_ten_megabytes_is_text():
    assert len(one({"id": "a", "reference_id": "é" * 10_000_000})["reference_id"]) == 10_000_000


def test_a_float_is_never_changed_by_a_round_trip():
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -math.pi]
    frames = OrderFrames.from_json([{"id": str(i), "total_price": v} for i, v in enumerate(values)])
    assert sorted(frames.orders["total_price"]) == sorted(values)
