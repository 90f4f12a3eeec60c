"""Orders that mean harm: each value is found in one place, or an error of the package says why."""

import json
import math
import re
import sys

import pytest

from trackstar_frames import OrderFrames, ResponseError
from trackstar_frames.schema import TABLES

#: Beside so many plain orders, the fast way is tried on parts of a page.
PLAIN = [f'{{"id":"plain-{i}","line_items":[{{"sku":"S","quantity":2}}]}}' for i in range(40)]


def body(*orders):
    return f'{{"data":[{",".join(orders)}],"next_token":null}}'


def rows(frames, table):
    return frames.to_arrow()[table].to_pylist()


def cells(frames):
    """Give every text of every table."""
    for name in TABLES:
        for row in rows(frames, name):
            for cell in row.values():
                yield from (each for each in (cell if isinstance(cell, list) else [cell]) if each)


def count(frames, text):
    return sum(cell.count(text) for cell in cells(frames) if isinstance(cell, str))


def problems(frames):
    return [(row["path"], row["value"], row["message"]) for row in rows(frames, "problems")]


# Length.

LONG = "x" * 10_000_000


@pytest.mark.one_of(3)
@pytest.mark.parametrize(
    "order",
    [
        f'"reference_id":"{LONG}"',
        f'"new":"{LONG}"',
        f'"additional_fields":{{"a":"{LONG}"}}',
        f'"tags":["{LONG}",7]',
        f'"total_price":"{LONG}"',
        f'"created_date":"2026-01-01T{LONG}"',
        f'"line_items":"{LONG}"',
        f'"line_items":[{{"quantity":"{LONG}"}}]',
        f'"ship_to_address":["{LONG}"]',
    ],
    ids=lambda text: text[:20],
)
def test_ten_megabytes_are_kept_wherever_they_stand(order):
    assert count(OrderFrames.from_json(f'{{"id":"a",{order}}}'), LONG) == 1


def test_a_key_of_ten_megabytes_is_kept():
    frames = OrderFrames.from_json(f'{{"id":"a","{LONG}":7}}')
    assert rows(frames, "orders")[0]["extra"] == f'{{"{LONG}":7}}'
    assert [path for path, *_ in problems(frames)] == [LONG]


@pytest.mark.parametrize("letter", ["x", "é", "\\n"])
def test_an_id_may_have_a_thousand_characters(letter):
    """Each line of an order repeats its id: one of megabytes would make gigabytes."""
    kept, whole = (f'{{"id":"{letter * n}","line_items":[{{}},{{}}]}}' for n in (1000, 1001))
    frames = OrderFrames.from_json(body(kept, whole, *PLAIN))
    assert json.loads(f'"{letter * 1000}"') in [row["id"] for row in rows(frames, "orders")]
    assert [row["value"] for row in rows(frames, "problems")] == [whole]
    assert len(frames.line_items) == 42


def test_an_id_of_ten_megabytes_is_kept_once():
    frames = OrderFrames.from_json(f'{{"id":"{LONG}","line_items":[{{}},{{}}]}}')
    assert count(frames, LONG) == 1


# Depth.


def read_or_refuse(text):
    try:
        return OrderFrames.from_json(text), None
    except ResponseError as error:
        return None, error


@pytest.mark.parametrize("depth", [100, 800, 900, 1000, 5000, 100_000])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("key", ["additional_fields", "new", "line_items", "total_price", "tags"])
def test_what_is_nested_deeply_is_kept_or_reported(depth, brackets, key):
    opening, closing = brackets
    order = f'{{"id":"a","{key}":{opening * depth}"<1>"{closing * depth}}}'
    frames, error = read_or_refuse(body(*PLAIN, order))
    if depth < 900 or error is None:
        assert count(frames, "<1>") == 1
    else:
        assert "nested too deeply to be read" in str(error)


@pytest.mark.slow
def test_a_valid_response_may_be_too_deep_for_the_orders():
    """A thread has frames of its own; no depth in between may crash."""
    for depth in range(sys.getrecursionlimit() - 150, sys.getrecursionlimit()):
        order = f'{{"id":"a","new":{"[" * depth}{"]" * depth},"total_price":""}}'
        frames, error = read_or_refuse(body(order))
        if error is None:
            assert len(frames.orders) == 1
        else:
            assert "nested too deeply to be read" in str(error)
            assert not error.retryable


def test_a_dict_that_is_too_deep_or_no_json_is_an_error_of_the_package():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    circle = {"id": "a"}
    circle["new"] = circle
    for order in ({"id": "a", "new": deep}, circle, {"id": "a", "new": {1}}, {("a",): 1}):
        with pytest.raises(ResponseError, match="cannot be written as JSON"):
            OrderFrames.from_json(order)


@pytest.mark.parametrize("given", [None, 5, [None], [[{"id": "a"}]], object()])
def test_what_is_neither_a_body_nor_an_order_is_an_error_of_the_package(given):
    with pytest.raises(ResponseError, match="expected a response's body or an order"):
        OrderFrames.from_json(given)


# Numbers.

NUMBERS = [
    "9007199254740991", "9007199254740993", "9223372036854775807", "9223372036854775808",
    "-9223372036854775809", "18446744073709551616", "1" * 400, "1" * 4300, "1" * 5000,
    "1e400", "-1e400", "1e-400", "-0", "-0.0", "1.50", "1E5",
]  # fmt: skip


@pytest.mark.each_value
@pytest.mark.parametrize("number", NUMBERS, ids=lambda text: text[:20])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_number_is_kept_exactly_or_reported(number, quote):
    text = f"{quote}{number}{quote}"
    name = number if len(number) <= 1000 else "7"
    order = (
        f'{{"id":{quote}{name}{quote},"total_price":{text},"reference_id":{text},"tags":[{text}],'
        f'"line_items":[{{"quantity":{text}}}],"additional_fields":{text},"new":{text}}}'
    )
    for orders in ([order], [order, *PLAIN]):
        frames = OrderFrames.from_json(body(*orders))
        (kept,) = (each for each in rows(frames, "orders") if each["id"] == name)
        (line,) = (each for each in rows(frames, "line_items") if each["order_id"] == name)
        reported = {path: value for path, value, _ in problems(frames)}
        assert kept["reference_id"] == number
        assert kept["tags"] == [number]
        assert kept["additional_fields"] == text
        assert kept["extra"] == f'{{"new":{text}}}'
        for path, value in (("total_price", kept["total_price"]),
                            ("line_items[0].quantity", line["quantity"])):  # fmt: skip
            if value is None:
                assert reported[path] == text
            elif "e-400" not in number:  # a float is the nearest one, here 0
                assert value == (float(number) if "." in number or "E" in number else int(number))


# What only lenient parsers take.

NO_JSON = "NaN and Infinity are no JSON; null is kept in their place"


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_constant_is_reported_and_all_around_it_keeps_its_spelling(constant):
    order = (
        f'{{"id":"a", "total_price":{constant}, "new":1e400, "twice":"<1>", "twice":2,'
        f' "reference_id":"a, {constant}", "additional_fields":[1.50, -0,\n{constant}, "\\"NaN"]}}'
    )
    frames = OrderFrames.from_json(body(order, *PLAIN))
    (kept,) = (each for each in rows(frames, "orders") if each["id"] == "a")
    assert kept["reference_id"] == f"a, {constant}"
    assert kept["additional_fields"] == '[1.50, -0,\nnull, "\\"NaN"]'
    assert kept["extra"] == '{"new":1e400,"twice":2}'
    assert problems(frames) == [
        ("total_price", constant, NO_JSON),
        ("new", None, "unknown key, kept in extra"),
        ("twice", '"<1>"', "given twice; the last is kept"),
        ("twice", None, "unknown key, kept in extra"),
        ("additional_fields", f'[1.50, -0,\n{constant}, "\\"NaN"]', NO_JSON),
    ]


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("others", [[], PLAIN])
def test_a_constant_is_null_wherever_it_stands_and_a_text_of_its_name_is_a_text(constant, others):
    values = {
        "channel": constant, "total_price": constant, "created_date": constant,
        "saturday_delivery": constant, "tags": f'["a",{constant}]', "ship_to_address": constant,
        "channel_object": f'{{"channel_id":{constant}}}', "trackstar_tags": constant,
        "line_items": f'[{constant},{{"quantity":{constant}}}]', "shipments": constant,
        "new": f'{{"x":[{constant}]}}',
    }  # fmt: skip
    members = ",".join(f'"{key}":{value}' for key, value in values.items())
    order = f'{{"id":"a",{members},"reference_id":"{constant}","\\u0000":"{constant}"}}'
    frames = OrderFrames.from_json(body(order, *others))
    (kept,) = (each for each in rows(frames, "orders") if each["id"] == "a")
    null = {"channel", "total_price", "created_date", "saturday_delivery", "trackstar_tags"}
    assert {kept[name] for name in null} == {None}
    assert kept["channel_object_channel_id"] is None
    assert kept["tags"] == ["a", None]
    assert kept["reference_id"] == constant
    assert json.loads(kept["extra"]) == {"new": {"x": [None]}, "\0": constant}
    reported = [(path, value) for path, value, message in problems(frames) if message == NO_JSON]
    assert sorted(reported) == sorted(
        [("line_items[0]", constant), ("line_items[1].quantity", constant)]
        + [("channel_object.channel_id", constant)]
        + [(key, values[key]) for key in values if key not in ("line_items", "channel_object")]
    )


def test_orders_whose_id_is_a_constant_are_kept_apart_and_whole():
    texts = ['{"id": NaN, "channel": "web"}', '{"id": NaN, "channel": "edi", "x": [Infinity]}']
    for given in (body(*texts, '{"id":"NaN"}'), [*texts, '{"id":"NaN"}']):
        frames = OrderFrames.from_json(given)
        assert [row["id"] for row in rows(frames, "orders")] == ["NaN"]
        assert [row["value"] for row in rows(frames, "problems")] == texts


def test_the_nan_of_a_dict_is_none_too():
    frames = OrderFrames.from_json([{"id": "a", "channel": math.nan, "total_price": math.inf}])
    assert rows(frames, "orders")[0]["channel"] is None
    assert [value for _, value, _ in problems(frames)] == ["NaN", "Infinity"]


@pytest.mark.parametrize("lone", [r"\ud800", r"\uDFFF", r"\ud83d\ud83d\ude00", r"\\\udc00"])
def test_a_lone_surrogate_is_spelt_out(lone):
    order = (
        f'{{"id":"a{lone}","reference_id":"{lone}","new":{{"{lone}":1}},"{lone}":2,'
        f'"additional_fields":"{lone}","tags":["{lone}"],"total_price":"{lone}"}}'
    )
    frames = OrderFrames.from_json(body(order))
    (kept,) = rows(frames, "orders")
    assert kept["id"] == f"a{kept['reference_id']}"
    assert kept["tags"] == [kept["reference_id"]]
    assert json.loads(kept["additional_fields"]) == kept["reference_id"]
    assert json.loads(kept["extra"]) == {
        "new": {kept["reference_id"]: 1},
        kept["reference_id"]: 2,
    }
    assert re.search(r"\\ud[89a-f]", kept["reference_id"], re.IGNORECASE)


def test_a_pair_of_surrogates_and_a_written_backslash_stay():
    order = r'{"id":"\ud83d\ude00\\ud800","new":NaN}'
    assert rows(OrderFrames.from_json(order), "orders")[0]["id"] == "\U0001f600\\ud800"


def test_keys_that_are_one_only_when_spelt_out_are_both_kept():
    frames = OrderFrames.from_json(r'{"id":"a","\udfff":"<1>","\\udfff":"<2>"}')
    assert [count(frames, mark) for mark in ("<1>", "<2>")] == [1, 1]


@pytest.mark.parametrize(
    "broken",
    [
        body(*PLAIN).encode("utf-16"), body(*PLAIN).encode("utf-16-le"),
        body(*PLAIN).encode("utf-32"), b'{"id":"\xff"}', b'{"id":"\xed\xa0\x80"}',
        b'{"id":"\xc0\x80"}', b'{"id":"a\x00"}', b'{"id":"a\n"}', b'{"id":"\\q"}', b'{"id":-NaN}',
        b'{"id":01}', b'{"data":[]}\x00', b'{"id":"a",}', b'{"id":"\\ud80"}', b"\xef\xbb\xbf", b"",
    ],
)  # fmt: skip
def test_invalid_json_is_a_retryable_error(broken):
    with pytest.raises(ResponseError, match="is not JSON") as caught:
        OrderFrames.from_json(broken)
    assert caught.value.retryable


@pytest.mark.parametrize("text", ['{"id":"a"}', '[{"id":"a"}]', body('{"id":"a"}')])
def test_a_mark_of_the_byte_order_is_no_harm(text):
    for given in ("\ufeff" + text, b"\xef\xbb\xbf" + text.encode()):
        assert [row["id"] for row in rows(OrderFrames.from_json(given), "orders")] == ["a"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_change_nothing_and_stay_in_free_form_text(end):
    texts = [json.dumps({**json.loads(order), "additional_fields": {"a": [1, "b\n"]}}, indent=2)
             for order in PLAIN]  # fmt: skip
    free = '{\n    "a": [\n      1,\n      "b\\n"\n    ]\n  }'.replace("\n", end)
    for some in (texts, [*PLAIN[:1], *texts[1:]], [*texts[:-1], texts[-1].replace("2", '"2"')]):
        frames = OrderFrames.from_json(body(*some).replace("\n", end))
        assert {row["additional_fields"] for row in rows(frames, "orders")} - {None} == {free}
        assert sum(row["quantity"] for row in rows(frames, "line_items")) == 80
        assert problems(frames) == []
