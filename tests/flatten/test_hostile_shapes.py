"""Values where none or others are expected: each is found in one place, whatever page it is on."""

import itertools
import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from trackstar_frames import OrderFrames
from trackstar_frames.schema import TABLES

#: Beside so many plain orders, the fast way is tried on parts of a page.
PLAIN = [f'{{"id":"plain-{i}","line_items":[{{"sku":"S","quantity":2}}]}}' for i in range(40)]


def body(*orders):
    return f'{{"data":[{",".join(orders)}],"next_token":null}}'


def rows(frames, table):
    return frames.to_arrow()[table].to_pylist()


def problems(frames):
    return [(row["path"], row["value"], row["message"]) for row in rows(frames, "problems")]


def assert_each_mark_is_found_once(*texts):
    """Alone, and beside plain orders, before and behind; marks are texts like <7>."""
    marks = re.findall(r"<\d+>", "".join(texts))
    assert marks
    for orders in (texts, [*PLAIN, *texts], [*texts, *PLAIN]):
        tables = OrderFrames.from_json(body(*orders)).to_arrow()
        found = json.dumps([tables[name].to_pylist() for name in TABLES], default=str)
        assert [found.count(mark) for mark in marks] == [1] * len(marks)


# Keys.


@pytest.mark.parametrize(
    "members",
    [
        '"id":"<1>","id":"b"',
        '"id":"a","line_items":[{"sku":"<1>"}],"line_items":[{"sku":"<2>"}]',
        '"id":"a","line_items":[{"sku":"<1>","sku":"<2>","sku":null}]',
        '"id":"a","ship_to_address":{"city":"<1>","x":"<2>"},"ship_to_address":{"city":"<3>"}',
        '"id":"a","ship_to_address":{"city":"<1>","city":"<2>","x":"<3>","x":"<4>"}',
        '"id":"a","ship_to_address":{"city":"<1>"},"ship_to_address":null',
        '"id":"a","new":"<1>","new":{"x":"<2>","x":"<3>"},"new":["<4>"]',
        '"id":"a","additional_fields":{"x":"<1>","x":"<2>"},"additional_fields":"<3>"',
        '"id":"a","tags":["<1>"],"tags":["<2>"],"total_price":"<3>","total_price":2',
        '"id":"a","shipments":[{"boxes":[{"package_id":"<1>"}],"boxes":[{"package_id":"<2>"}]}]',
        '"id":"a","shipments":[{"packages":["<1>"],"packages":[],"boxes":[{"package_id":"<2>"}]}]',
        '"id":"a","shipments":[{"boxes":["<1>"],"boxes":[],"packages":[{"package_id":"<2>"}]}]',
        '"id":"a","shipments":[{"boxes":["<1>"],"boxes":["<2>"],"packages":[{"x":"<3>"}]}]',
        '"id":"a","shipments":[{"packages":[{"measurements":{"unit":"<1>","unit":"<2>"}}]}]',
        '"id":"a","created_date":"<1>","\\u0063reated_date":"2026-01-01"',
        '"id":"a","reference_id":"<1>","new":' + "7" * 5000 + ',"reference_id":"<2>"',
        '"reference_id":"<1>","id":"a","id":null',
    ],
)
def test_of_a_key_given_twice_both_values_are_kept(members):
    assert_each_mark_is_found_once(f"{{{members}}}")


NAMES = [
    "extra", "order_id", "_order", "ship_to_address_city", "line_index", "problems", "", ".",
    "a.b", "boxes[0]", "__class__", "__init__", 'q"q', "b\\b", "n\nn", "\x00", "\x7f", "\u2028",
    "😀", "é", "e\u0301", "k", "k6b", "ID", "id ", "boxes", "packages", "a" * 300, "*", "%s", "{}",
]  # fmt: skip


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("depth", ["orders", "address", "line_items", "packages"])
def test_keys_of_any_name_are_kept_apart_from_columns(depth, ascii_only):
    counter = itertools.count()

    def order(number):
        new = {name: f"<{next(counter)}>" for name in NAMES}
        place = {
            "orders": new,
            "address": {"ship_to_address": new},
            "line_items": {"line_items": [new, {}]},
            "packages": {"shipments": [{"packages": [None, new]}]},
        }
        return json.dumps({"id": f"a{number}", **place[depth]}, ensure_ascii=ascii_only)

    assert_each_mark_is_found_once(*(order(number) for number in range(20)))


# Shapes.

VALUES = ["null", "true", "7", '"<1>"', '""', "[]", "{}", '["<1>"]', '[["<1>"]]', '{"x":"<1>"}',
          '[{"x":["<1>"]},null,7,"<2>",["<3>"],{},{"sku":{"y":"<4>"}}]']  # fmt: skip
PLACES = [
    '"line_items":%s', '"shipments":%s', '"ship_to_address":%s', '"channel_object":%s',
    '"tags":%s', '"line_items":[%s]', '"shipments":[%s,{"line_items":%s}]',
    '"shipments":[{"packages":%s}]', '"shipments":[{"boxes":%s}]',
    '"shipments":[{"packages":[{"line_items":%s},{"measurements":%s}]}]',
    '"shipments":[{"boxes":[{"line_items":%s}],"packages":[]}]',
    '"shipments":[{"ship_from_address":%s,"ship_to_address":%s}]', '"status":%s', '"new":%s',
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_value_of_any_shape_is_kept_at_any_place(place):
    counter = itertools.count()
    texts = [
        re.sub(r"<\d>", lambda _: f"<{next(counter)}>", place.replace("%s", value))
        for value in VALUES
    ]
    assert_each_mark_is_found_once(*(f'{{"id":"a{i}",{text}}}' for i, text in enumerate(texts)))


@pytest.mark.parametrize("boxes", VALUES)
def test_boxes_beside_packages_are_kept_whatever_they_are(boxes):
    counter = itertools.count()
    texts = [
        re.sub(r"<\d>", lambda _: f"<{next(counter)}>", f'"boxes":{boxes},"packages":{packages}')
        for packages in VALUES
    ]
    shipments = ",".join(f'{{{text},"shipment_id":"<{next(counter)}>"}}' for text in texts)
    assert_each_mark_is_found_once(f'{{"id":"a","shipments":[{shipments}]}}')


@pytest.mark.parametrize("value", ["null", '""', "true", "[]", '{"a":"<2>"}', '["<2>"]', None])
def test_an_order_without_an_id_is_kept_whole(value):
    order = '{"id":%s,"new":"<1>"}' % value if value else '{"new":"<1>"}'  # noqa: UP031
    assert_each_mark_is_found_once(order)
    frames = OrderFrames.from_json(body(*PLAIN, order))
    assert problems(frames) == [("", order, "an order without an id of 1 to 1,000 characters")]
    assert len(frames.orders) == 40


def test_ids_that_only_look_alike_are_different_orders():
    ids = ["é", "e\u0301", "A", "a", "a ", "\uff41", "1", "1.0", "01"]
    frames = OrderFrames.from_json([{"id": each} for each in ids])
    assert sorted(row["id"] for row in rows(frames, "orders")) == sorted(ids)


# Dates.


def date_of(text):
    frames = OrderFrames.from_json(body(*PLAIN, f'{{"id":"a","created_date":{json.dumps(text)}}}'))
    (kept,) = (row["created_date"] for row in rows(frames, "orders") if row["id"] == "a")
    assert (kept is None) == (problems(frames) != [])
    assert all(json.loads(value) == text for _, value, _ in problems(frames))
    return kept


NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("2026-01-01T00:00:00+23:59", -timedelta(hours=23, minutes=59)),
        ("2026-01-01T00:00:00-23:59", timedelta(hours=23, minutes=59)),
        ("2026-01-01T00:00:00+0130", -timedelta(minutes=90)),
        ("2026-01-01T12", timedelta(hours=12)),
        ("2026-01-01T12:30", timedelta(hours=12.5)),
        ("2026-01-01 00:00:00,5Z", timedelta(seconds=0.5)),
        ("2026-01-01T00:00:00.1Z", timedelta(microseconds=100_000)),
        ("2026-01-01T00:00:00.12Z", timedelta(microseconds=120_000)),
        ("2026-01-01T00:00:00.12345Z", timedelta(microseconds=123_450)),
        ("2026-01-01T00:00:00.123456Z", timedelta(microseconds=123_456)),
        ("2026-01-01T00:00:00.123456000Z", timedelta(microseconds=123456)),
    ],
)  # fmt: skip
def test_a_date_that_is_one_moment_is_kept(text, after):
    assert date_of(text) == NEW_YEAR + after


@pytest.mark.parametrize(
    "text",
    [
        "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "-2026-01-01", "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59", "2026-01-01T23:59:60Z", "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00+24:00", "2026-01-01t00:00:00Z", "2026-01-01T00:00:00z", "2026-W01-1",
        "2026-001", "20260101", "2026-01-01T", "2026-01-01TZ", "2026-01-01T12.5",
        "2026-01-01T12:30.5", "2026-01-01T" + "1" * 30, "2026-01-01T00:00:00.1234567Z",
        "2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00+00:00:00.5", "\uff12026-01-01",
        "2026-01-01T00:00:00Z ", " 2026-01-01", "2026-01-01\n", "1767225600", "2026-02-30",
    ],
)  # fmt: skip
def test_a_date_that_is_none_or_not_one_moment_is_told(text):
    assert date_of(text) is None
