"""Every filter and operator, against a filter of its own over the ground truth."""

import operator
from operator import add

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackstar_frames.sandbox.server.database import Position

DATES = ("created_date", "updated_date", "trackstar_created_date", "trackstar_updated_date")
COMPARE = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
CATEGORY = ("eq", "neq", "in", "nin", "contains", "not_contains")
INSENSITIVE = ("eq-insensitive", "in-insensitive", "contains-insensitive")
NUMBER = ("eq", "in", "nin", "contains", "not_contains", *INSENSITIVE)
CASES = [
    *((field, op) for field in DATES for op in (*COMPARE, "in", "nin")),
    *(("required_ship_date", op) for op in COMPARE),
    *(
        (field, op)
        for field in ("status", "type", "channel", "warehouse_customer_id")
        for op in CATEGORY
    ),
    *((field, op) for field in ("order_number", "reference_id") for op in NUMBER),
]


def matches(value, op, wanted):
    """Whether an order with this value passes; a null only passes what says "not"."""
    negative = op in ("neq", "nin", "not_contains")
    if value is None:
        return negative
    if op.endswith("-insensitive"):
        op, value, wanted = op.removesuffix("-insensitive"), value.casefold(), wanted.casefold()
    if op in COMPARE:
        return COMPARE[op](value, wanted)
    if op.endswith("contains"):
        return (wanted in value) != negative
    return (value in wanted.split(",")) != negative


def wanted_of(truth, field, op):
    values = sorted({order[field] for order in truth if order.get(field)})
    if op.startswith(("in", "nin")):
        wanted = ",".join(values[: -1 : max(1, len(values) // 5)][:100])
    else:
        wanted = values[len(values) // 2]
        if "contains" in op and field not in ("status", "type"):
            wanted = wanted[1:-1]
    return wanted.swapcase() if op.endswith("-insensitive") else wanted


@pytest.mark.each_value
@pytest.mark.parametrize(("field", "op"), CASES)
def test_every_operator_against_plain_python(sandbox, truth, listing, field, op):
    wanted = wanted_of(truth, field, op)
    expected = [order for order in truth if matches(order.get(field), op, wanted)]
    assert 0 < len(expected) < len(truth)
    assert listing(sandbox, {f"{field}[{op}]": wanted}) == expected


@pytest.mark.parametrize("field", sorted({field for field, _ in CASES}))
def test_a_plain_field_means_equal(sandbox, truth, get, field):
    wanted = wanted_of(truth, field, "eq")
    plain, texts_of = get(sandbox, {field: wanted}), get(sandbox, {f"{field}[eq]": wanted})
    assert plain.json() == texts_of.json() != []


@pytest.mark.parametrize("tag", ["vip", "wave:am"])
def test_tags_are_found_as_strings_and_as_pairs(sandbox, truth, listing, tag):
    def texts_of(tags):
        pairs = [tag for tag in tags or [] if isinstance(tag, dict)]
        return [*(tags or []), *(f"{key}:{value}" for pair in pairs for key, value in pair.items())]

    found = [order for order in truth if tag in texts_of(order.get("trackstar_tags"))]
    others = [order for order in truth if tag not in texts_of(order.get("trackstar_tags"))]
    assert found
    assert listing(sandbox, {"trackstar_tags[contains]": tag}) == found
    assert listing(sandbox, {"trackstar_tags[not_contains]": tag}) == others


def test_of_several_tags_an_order_has_any(sandbox, truth, listing):
    tagged = {
        tag: listing(sandbox, {"trackstar_tags[contains]": tag}) for tag in ("vip", "wave:am")
    }
    expected = [order for order in truth if any(order in found for found in tagged.values())]
    assert listing(sandbox, {"trackstar_tags[contains]": "vip,wave:am,no such"}) == expected
    assert all(len(found) < len(expected) for found in tagged.values())


def test_filters_are_joined_by_and(sandbox, truth, listing):
    query = {"status[neq]": "fulfilled", "type": "d2c", "created_date[gte]": "2026-05-20T00:00:00Z"}
    expected = [
        order
        for order in truth
        if order["status"] != "fulfilled"
        and order["type"] == "d2c"
        and order["created_date"] >= "2026-05-20T00:00:00Z"
    ]
    assert expected
    assert listing(sandbox, query) == expected


@pytest.mark.parametrize("name", ["ids", "ids[in]"])
def test_ids_override_every_other_parameter(sandbox, truth, get, name):
    ids = [order["id"] for order in truth[5:100:10]]
    query = {"status": "no such", "limit": "3", "page_token": "?", "what": "?"}
    body = get(sandbox, query | {name: ",".join([*ids, "unknown"])}).json()
    assert [order["id"] for order in body["data"]] == ids
    assert body["next_token"] is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page", "2"),
        ("offset", "10"),
        ("created_date[between]", "2026-01-01T00:00:00Z"),
        ("created_date[]", "2026-01-01T00:00:00Z"),
        ("created_date", "2026-01-01"),
        ("created_date", "2026-01-01T00:00:00"),
        ("created_date", "2026-01-01T00:00:00.5Z"),
        ("created_date", "2026-01-01T00:00:00+00:00"),
        ("created_date[gte]", "2026-13-01T00:00:00Z"),
        ("created_date[in]", "2026-01-01T00:00:00Z,"),
        ("required_ship_date[in]", "2026-01-01T00:00:00Z"),
        ("required_ship_date[nin]", "2026-01-01T00:00:00Z"),
        ("order_number[neq]", "#1"),
        ("reference_id[neq]", "#1"),
        ("channel[eq-insensitive]", "shopify"),
        ("status[gt]", "open"),
        ("status", "opne"),
        ("status", "Open"),
        ("status[in]", "open,opne"),
        ("type", "b2d"),
        ("status[contains]", "ope"),
        ("status[not_contains]", "open,packed"),
        ("type[contains]", "b2"),
        ("type[not_contains]", ""),
        ("trackstar_tags[contains]", ",".join(map(str, range(101)))),
        ("trackstar_tags", "vip"),
        ("ids[nin]", "1"),
        ("id", "1"),
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "-1"),
        ("limit", "ten"),
        ("limit", "1.0"),
        ("limit", ""),
        ("limit[eq]", "1"),
        ("page_token", ""),
        ("page_token", "bm90IGEgdG9rZW4="),
        ("page_token", "€"),
        ("page_token", Position(0, 2**63).to_token()),
        ("page_token", Position(None, 1).to_token()),
        ("order_number[in]", ",".join(map(str, range(101)))),
        ("order_number[nin]", ",".join(map(str, range(101)))),
        ("order_number[in-insensitive]", ",".join(map(str, range(101)))),
        ("ids", ",".join(map(str, range(101)))),
    ],
)
def test_an_invalid_parameter_is_a_422_that_names_it(sandbox, get, name, value):
    response = get(sandbox, {name: value})
    assert response.status_code == 422
    body = response.json()
    assert body["error"]
    assert body["origin"] == "trackstar"
    assert list(body["detail"]) == ["query"]
    assert list(body["detail"]["query"]) == [name]
    assert all(isinstance(message, str) for message in body["detail"]["query"][name])


NAMES = st.sampled_from(
    ["limit", "page_token", "ids", "status", "created_date", "order_number", "trackstar_tags"]
)
OPERATORS = st.sampled_from(["", "[eq]", "[in]", "[contains]", "[eq-insensitive]", "[gte]", "["])


@settings(max_examples=100)
@given(query=st.dictionaries(st.builds(add, NAMES | st.text(), OPERATORS), st.text(), max_size=4))
def test_any_query_gets_a_response(sandbox, get, query):
    assert get(sandbox, query | {"limit": query.get("limit", "1")}).status_code in (200, 422)


def test_a_parameter_given_twice_is_a_422(sandbox, get):
    assert get(sandbox, [("status", "open"), ("status", "other")]).status_code == 422


def test_a_list_of_a_hundred_is_not_too_long(sandbox, truth, get):
    numbers = [order["order_number"] for order in truth[:100]]
    body = get(sandbox, {"order_number[in]": ",".join(numbers)}).json()
    assert body["data"] == truth[:100]
