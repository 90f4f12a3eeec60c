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


@pytest.mark.one_of(4)
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


@pytest.mark.each_value
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


@pytest.mark.one_of(4)
@pytest.mark.parametrize("place", PLACES)
def test_a_value_of_any_shape_is_kept_at_any_place(place):
    counter = itertools.count()
    texts = [
        re.sub(r"<\d>", lambda _: f"<{next(counter)}>", place.replace("%s", value))
        for value in VALUES
    ]
    assert_each_mark_is_found_once(*(f'{{"id":"a{i}",{text}}}' for i, text in enumerate(texts)))


@pytest.mark.one_of(4)
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


def kept_of(value, column="created_date"):
    """Read a value beside plain orders: what its column and `extra` have, and the problems."""
    order = f'{{"id":"a","{column}":{json.dumps(value)}}}'
    found = []
    for orders in ([order], [*PLAIN, order], [order] * 20):
        frames = OrderFrames.from_json(body(*orders))
        (kept,) = (row for row in rows(frames, "orders") if row["id"] == "a")
        extra = json.loads(kept["extra"]).get(column) if kept["extra"] else None
        found.append((kept[column], extra, [value for _, value, _ in problems(frames)]))
    assert found[1:] == found[:-1]
    return found[0]


NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.one_of(6)
@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("2026-01-01", timedelta()),
        ("2026-01-01T00:00:00+23:59", -timedelta(hours=23, minutes=59)),
        ("2026-01-01T00:00:00-23:59", timedelta(hours=23, minutes=59)),
        ("2026-01-01T00:00:00+0130", -timedelta(minutes=90)),
        ("2026-01-01T00:00:00+0000", timedelta()),
        ("2026-01-01 00:00:00 +0100", -timedelta(hours=1)),
        ("2026-01-01T12Z", timedelta(hours=12)),
        ("2026-01-01T12:30Z", timedelta(hours=12.5)),
        ("2026-01-01 00:00:00,5Z", timedelta(seconds=0.5)),
        ("2026-01-01T00:00:00.1Z", timedelta(microseconds=100_000)),
        ("2026-01-01T00:00:00.12Z", timedelta(microseconds=120_000)),
        ("2026-01-01T00:00:00.12345Z", timedelta(microseconds=123_450)),
        ("2026-01-01T00:00:00.123456Z", timedelta(microseconds=123_456)),
        ("2026-01-01T00:00:00.123456000Z", timedelta(microseconds=123456)),
        ("2026-01-01T00:00:00.1234567Z", timedelta(microseconds=123_456)),
        ("2026-01-01T00:00:00.999999999999Z", timedelta(microseconds=999_999)),
        ("2026-01-01t00:00:00z", timedelta()),
        ("2026-01-01 12:00:00 UTC", timedelta(hours=12)),
        ("2026-01-01T12:00:00utc", timedelta(hours=12)),
        ("2026-01-01 12:00:00 GMT", timedelta(hours=12)),
        ("20260101", timedelta()),
        (20260101, timedelta()),
        ("20260101T123000Z", timedelta(hours=12.5)),
        ("20260101T1230+0100", timedelta(hours=11.5)),
        ("  2026-01-01T00:00:00Z\r\n\t", timedelta()),
        (" 2026-01-01", timedelta()),
        (1767225600, timedelta()),
        ("1767225600", timedelta()),
        (1767225600.25, timedelta(seconds=0.25)),
        ("1767225600.1234567", timedelta(microseconds=123_456)),
        (1767225600123, timedelta(milliseconds=123)),
        ("1767225600123", timedelta(milliseconds=123)),
        ("1767225600123.4567", timedelta(microseconds=123_456)),
        ("/Date(1767225600123)/", timedelta(milliseconds=123)),
        ("/Date(1767225600000+0200)/", timedelta()),
        ("Thu, 01 Jan 2026 01:00:00 GMT", timedelta(hours=1)),
        ("Thu, 1 Jan 2026 01:00 +0200", -timedelta(hours=1)),
        ("01 Jan 2026 01:00:00 UTC", timedelta(hours=1)),
    ],
)  # fmt: skip
def test_a_date_that_is_one_moment_is_kept(text, after):
    assert kept_of(text) == (NEW_YEAR + after, None, [])


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("2026-01-01T00:00:00", 0), ("2026-01-01 06:00:00.0", 6), ("2026-01-01T06", 6),
        ("20260101T060000", 6), ("20260101 0600", 6), ("Thu, 01 Jan 2026 06:00:00 -0000", 6),
        (" 2026-01-01T06:00 ", 6),
    ],
)  # fmt: skip
def test_a_stamp_without_a_zone_is_utc_and_its_text_is_kept(text, after):
    assert kept_of(text) == (NEW_YEAR + timedelta(hours=after), text, [])


@pytest.mark.one_of(6)
@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01", "0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59",
        "1753-01-01T00:00:00.000", "1899-12-30", "1900-01-01", "1970-01-01T00:00:00Z",
        "1989-12-31T23:59:59.999999Z", "1990-01-01T00:00:00+01:00", "19000101", "0000-00-00",
        "0000-00-00 00:00:00", "0000-01-01T00:00:00Z", "0000-02-29", "/Date(-62135596800000)/",
        "/Date(-99999999999999)/", "/Date(0)/", "Thu, 01 Jan 1970 00:00:00 GMT", " 1900-01-01 ",
    ],
)  # fmt: skip
def test_a_date_that_stands_for_none_is_null_and_its_text_is_kept(text):
    assert kept_of(text) == (None, text, [])


def test_the_first_date_that_is_one_and_the_last():
    first, last = "1990-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"
    assert [kept_of(each)[0] for each in (first, last)] == [
        datetime(1990, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)
    ]  # fmt: skip


@pytest.mark.one_of(6)
@pytest.mark.parametrize(
    "text",
    [
        "10000-01-01T00:00:00Z", "-2026-01-01", "9999-12-31T23:59:59-23:59", "2026-01-01T23:59:60Z",
        "2026-01-01T24:00:00Z", "2026-01-01T00:00:00+24:00", "2026-W01-1", "2026-001",
        "2026-01-01T", "2026-01-01TZ", "2026-01-01T12.5", "2026-01-01T12:30.5",
        "2026-01-01T" + "1" * 30, "2026-01-01T00:00:00+00:00:00.5", "\uff12026-01-01",
        "\uff12\uff10\uff12\uff16-01-01T00:00:00Z", "\uff11767225600", "2026-02-30", "20260230",
        "0000-13-01", "0000-02-30", "06/14/2023", "14/06/2023", "6/1/26", "2026/01/01",
        "2026-01-01T00:00:00 EST", "01.02.2026", "Jan 1, 2026", "176722560", "17672256000",
        "1767225600e0", "/Date(x)/", "/Date(999999999999999)/", "Date(1767225600000)",
        "Fri, 01 Jan 2026 01:00:00 GMT", "Thu, 32 Jan 2026 01:00:00 GMT", "now", " ", 0, 1, 2026,
        True, 1.5, -1767225600,
    ],
)  # fmt: skip
def test_a_date_that_is_none_or_not_one_moment_is_reported(text):
    assert kept_of(text) == (None, None, [json.dumps(text)])


# Numbers and truth values.


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("1,234.50", 1234.5), ("-1,234,567.5", -1234567.5), ("+5", 5), ("007.50", 7.5), (" 5 ", 5),
        ("1e3", 1000), (".5", 0.5), ("5.", 5), ("-0", 0), ("\t5\n", 5),
    ],
)  # fmt: skip
def test_a_text_that_is_one_number_is_read(value, kept):
    assert kept_of(value, "total_price") == (kept, None, [])


@pytest.mark.one_of(6)
@pytest.mark.parametrize(
    "value",
    [
        "12,50", "1,000", "1,23.50", "1234,567.50", "1,2345.60", ",123.50", "1,234.", "$7.00",
        "7.00 USD", "0.300 kg", "\uff17", "1\uff10.5", "\u0661\u0662", "1 234.50", "1_000",
        "0x10", "--5", "5-", " ", "NaN", "inf", "1e999", "1.2.3", "+", ".", "e5", "\xa05",
    ],
)  # fmt: skip
def test_a_text_that_is_no_number_or_two_is_reported(value):
    kept, _, reported = kept_of(value, "total_price")
    assert (kept, [json.loads(each) for each in reported]) == (None, [value])


ROUNDED = [
    "0.1234567890123456789012", "12345678901234567890.12", "1.00000000000000000001",
    "-19.990000000000000001", "9007199254740993.5", "123456789012345.67891",
    "1.00000000000000001e5",
    "1.0000000000000000e-400", "1e-400", "-1.5E-330", "4e-324", "90071992547409931e-4",
    "9007199254740993e-3", "123456789012345678e-1", "9007199254740993E1",
    f"0.{'1' * 3000}", f"{'7' * 17}.5",
]  # fmt: skip


@pytest.mark.each_value
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("number", ROUNDED, ids=lambda text: text[:25])
def test_a_decimal_that_float64_rounds_is_kept_rounded_and_reported(number, quote):
    order = f'{{"id":"a","total_price":{quote}{number}{quote}}}'
    for orders in ([order], [order, *PLAIN], [order] * 20):
        frames = OrderFrames.from_json(body(*orders))
        (kept,) = (row["total_price"] for row in rows(frames, "orders") if row["id"] == "a")
        assert kept == float(number)
        assert [value for _, value, _ in problems(frames)] == [f"{quote}{number}{quote}"]


@pytest.mark.one_of(4)
@pytest.mark.parametrize(
    "number",
    [
        "0.1", "19.99", "19.990000000000000000", "0.30000000000000004", "1234567890.123456",
        "0.1000000000000000055511151231257827021181583404541015625", "2.5e-10", "1e22",
        "3.141592653589793", "123456789012345.6", "5e-324", "1e-05", "0e-999", "12345e-3",
        "0.00000000000000000001",
    ],
)  # fmt: skip
def test_a_decimal_that_comes_back_is_not_reported(number):
    for text in (number, f"-{number}", f'"{number}"'):
        frames = OrderFrames.from_json(body(f'{{"id":"a","total_price":{text}}}', *PLAIN))
        assert float(text.strip('"')) in [row["total_price"] for row in rows(frames, "orders")]
        assert problems(frames) == []


def test_digits_in_texts_are_no_decimals():
    texts = ["9400111899223197428490.5", "v 0.1234567890123456789012", ":0.12345678901234567890"]
    frames = OrderFrames.from_json([{"id": "a", "tags": texts, "reference_id": texts[1]}] * 20)
    assert rows(frames, "orders")[0]["tags"] == texts
    assert problems(frames) == []


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("1.0", 1), ("1e3", 1000), ("-0.0", 0), ('"1,234.00"', 1234), ('" 5 "', 5), ('"+5"', 5),
        ('"007"', 7), ("9007199254740993.0", 9007199254740993), ("1.5", None),
        ("3.0000000000000000001", None), ("9223372036854775808", None), ("1e19", None),
        ("1e999999999", None), ("1e99999999999999999999", None), ('"1,000"', None),
        ('"\uff15"', None), ('"5 pcs"', None), ("1e-400", None),
    ],
)  # fmt: skip
def test_a_quantity_is_whole_exactly_or_reported(text, kept):
    frames = OrderFrames.from_json(f'{{"id":"a","line_items":[{{"quantity":{text}}}]}}')
    assert rows(frames, "line_items")[0]["quantity"] == kept
    assert [value for _, value, _ in problems(frames)] == [text] * (kept is None)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("kept", [True, False])
def test_truth_is_spelt_in_many_ways(kept):
    words = [kept, int(kept), float(kept), str(int(kept)), str(float(kept))]
    words += ["true", "Yes", "y", "TRUE", "YES", " Y "] if kept else ["false", "No", "n", "FALSE"]
    for word in words:
        assert kept_of(word, "saturday_delivery") == (kept, None, [])


@pytest.mark.one_of(4)
@pytest.mark.parametrize(
    "word", ["t", "f", "on", "off", "2", 2, -1, 0.5, "ja", "\uff11", " ", [], {}]
)
def test_what_is_neither_true_nor_false_is_reported(word):
    kept, _, reported = kept_of(word, "saturday_delivery")
    assert (kept, [json.loads(each) for each in reported]) == (None, [word])
