import itertools
import random
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
import requests
from helpers import reference
from hypothesis import given
from hypothesis import strategies as st

import trackstar_frames as tf
from trackstar_frames.filters import FIELDS, MAX_LIST, encode, parse_name
from trackstar_frames.sandbox import Sandbox

DATES = ("created_date", "updated_date", "trackstar_created_date", "trackstar_updated_date")
COMPARED = ("eq", "neq", "gt", "gte", "lt", "lte")
WORDS = ("eq", "neq", "in", "nin", "contains", "not_contains")
NUMBERS = (
    "eq",
    "in",
    "nin",
    "eq-insensitive",
    "in-insensitive",
    "contains",
    "contains-insensitive",
    "not_contains",
)

#: The documentation's table, written down once more.
GRAMMAR = {
    **dict.fromkeys(DATES, (*COMPARED, "in", "nin")),
    "required_ship_date": COMPARED,
    "ids": ("in",),
    "status": WORDS,
    "type": WORDS,
    "warehouse_customer_id": WORDS,
    "channel": WORDS,
    "order_number": NUMBERS,
    "reference_id": NUMBERS,
    "trackstar_tags": ("contains", "not_contains"),
}
#: Of these, ``contains`` takes whole values only.
WHOLE = ("trackstar_tags", "status", "type")
SINGLE = [(field, operator) for field, operators in GRAMMAR.items() for operator in operators]
COMBINED = [pair for pair in itertools.combinations(SINGLE, 2) if "ids" not in (p[0] for p in pair)]


def spelt(field, operator, spelling=0):
    """Spell a filter in one of the three spellings."""
    if spelling == 0:
        return f"{field}__{operator.replace('-', '_')}"
    return f"{field}[{operator}]" if spelling == 1 else f"{field}__{operator}"


def a_value(orders, field, operator, rng):
    """Choose what to ask for, such that some orders pass and some do not."""
    key = "id" if field == "ids" else field
    held = sorted({o[key] for o in orders if o.get(key)} if field != "trackstar_tags" else ["vip"])
    if operator in ("in", "nin", "in-insensitive"):
        chosen = rng.sample(held, min(len(held), rng.choice([1, 2, 5, 60])))
        return [value.swapcase() for value in chosen] if "insens" in operator else chosen
    value = rng.choice(held)
    if operator == "eq-insensitive":
        return value.swapcase()
    if "contains" in operator and field not in WHOLE:
        value = value[: max(1, len(value) // 2)]
        return value.swapcase() if "insens" in operator else value
    return value


def expected(orders, requested):
    def typed(field, value):
        if not field.endswith("_date"):
            return value
        return [reference.moment(v) for v in value] if isinstance(value, list) else moment(value)

    moment = reference.moment
    return {
        order["id"]
        for order in orders
        if all(reference.matches(order, f, op, typed(f, value)) for f, op, value in requested)
    }


@pytest.fixture(scope="module")
def tagged():
    """A server of 320 orders, some of which have a null where one may be."""
    with Sandbox(orders=320, seed=11, rate_limit=None) as first:
        orders = first.orders
    for number, order in enumerate(orders):
        for step, field in enumerate(("type", "channel", "warehouse_customer_id"), 17):
            if number % step == 0:
                order[field] = None
        if number % 23 == 0:
            order["order_number"] = f"Straße & Ünïcode = {number} 100% +1"
    with Sandbox(orders=orders, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def ids_of(tagged):
    """Ask the server, and return the ids of what came."""
    client = tagged.client(rate_limit=None, cache=False)

    def ask(**filters):
        ids = [o["id"] for page in client.iter_pages(**filters) for o in page.orders]
        assert len(ids) == len(set(ids))
        return set(ids)

    return ask


def test_the_grammar_is_that_of_the_documentation():
    assert {name: field.operators for name, field in FIELDS.items()} == GRAMMAR


@pytest.mark.each_value
@pytest.mark.parametrize(("field", "operator"), SINGLE)
def test_one_filter(tagged, ids_of, field, operator):
    rng = random.Random(f"{field} {operator}")
    orders = tagged.orders
    for turn in range(2):
        value = a_value(orders, field, operator, rng)
        asked = [(field, operator, value)]
        assert ids_of(**{spelt(field, operator, turn): value}) == expected(orders, asked), asked


def pair(tagged, ids_of, both):
    rng = random.Random(str(both))
    orders = tagged.orders
    requested = [(field, op, a_value(orders, field, op, rng)) for field, op in both]
    found = ids_of(**{spelt(f, op): value for f, op, value in requested})
    assert found == expected(orders, requested), requested


@pytest.mark.one_of(4)
@pytest.mark.parametrize("part", range(4))
def test_a_sample_of_pairs(tagged, ids_of, part):
    for both in random.Random(part).sample(COMBINED, 20):
        pair(tagged, ids_of, both)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(16))
def test_all_pairs(tagged, ids_of, part):
    for both in COMBINED[part::16]:
        pair(tagged, ids_of, both)


def test_a_plain_field_means_eq_and_a_list_means_in(tagged, ids_of):
    orders = tagged.orders
    assert ids_of(status="open") == {o["id"] for o in orders if o["status"] == "open"}
    for several in (["open", "packed"], ("open", "packed"), {"open", "packed"}):
        found = ids_of(status=several)
        assert found == {o["id"] for o in orders if o["status"] in ("open", "packed")}
    assert ids_of(status=pd.Series(["open"])) == ids_of(status=np.array(["open"]))
    first = orders[0]["id"]
    assert ids_of(ids=first) == ids_of(ids=[first]) == ids_of(ids__in=[first]) == {first}
    moments = [o["created_date"] for o in orders[:3]]
    assert len(ids_of(created_date=moments)) >= 3


@pytest.mark.each_value
@pytest.mark.parametrize("field", [*DATES, "required_ship_date"])
@pytest.mark.parametrize("operator", ["eq", "gt", "gte", "lt", "lte"])
def test_a_bare_day_is_the_whole_day(tagged, ids_of, field, operator):
    orders = tagged.orders
    days = sorted(reference.moment(o[field]).date() for o in orders if o.get(field))
    day = days[len(days) // 2]
    expected = {o["id"] for o in orders if reference.matches_day(o, field, operator, day)}
    assert expected
    spellings = [
        day,
        day.isoformat(),
        np.datetime64(day),
        day.strftime("%Y%m%d"),
        day.strftime("%G-W%V-%u"),
    ]
    for value in spellings:
        assert ids_of(**{f"{field}__{operator}": value}) == expected, value
    if operator == "eq":
        assert ids_of(**{field: day}) == expected


@pytest.mark.one_of(2)
@pytest.mark.parametrize("operator", COMPARED)
def test_a_moment_of_any_type(tagged, ids_of, operator):
    orders = tagged.orders
    chosen = reference.moment(orders[5]["created_date"])
    naive = chosen.replace(tzinfo=None)
    far = chosen.astimezone(timezone(timedelta(hours=-9, minutes=-30)))
    matching = {o["id"] for o in orders if reference.matches(o, "created_date", operator, chosen)}
    for value in (
        chosen,
        naive,
        far,
        naive.isoformat(),
        f"{naive.isoformat()}Z",
        far.isoformat(),
        pd.Timestamp(chosen),
        pd.Timestamp(naive),
        pd.Timestamp(far),
        np.datetime64(naive, "s"),
        np.datetime64(naive, "ns"),
    ):
        assert ids_of(**{f"created_date__{operator}": value}) == matching, repr(value)


@pytest.mark.each_value
@pytest.mark.parametrize("operator", ["gt", "gte", "lt", "lte"])
@pytest.mark.parametrize("fraction", ["0.25s", "-0.25s", "1ns", "-1ns", "0.999999s"])
def test_a_fraction_keeps_the_meaning(tagged, ids_of, operator, fraction):
    orders = tagged.orders
    requested = pd.Timestamp(orders[5]["created_date"]) + pd.Timedelta(fraction)
    compare = {"gt": "__gt__", "gte": "__ge__", "lt": "__lt__", "lte": "__le__"}[operator]
    matching = {
        o["id"] for o in orders if getattr(pd.Timestamp(o["created_date"]), compare)(requested)
    }
    for value in (requested, requested.isoformat()):
        assert ids_of(**{f"created_date__{operator}": value}) == matching


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)), st.sampled_from(COMPARED[2:]))  # noqa: DTZ001 -- naive means UTC
def test_rounding_keeps_the_meaning_for_whole_seconds(moment, operator):
    (sent,) = encode({f"created_date__{operator}": moment})[0].values()
    bound = datetime.fromisoformat(sent)
    assert bound.microsecond == 0
    exact = moment.replace(tzinfo=UTC)
    compare = {"gt": "__gt__", "gte": "__ge__", "lt": "__lt__", "lte": "__le__"}[operator]
    for seconds in (-1, 0, 1, 2):
        order = exact.replace(microsecond=0) + timedelta(seconds=seconds)
        assert getattr(order, compare)(bound) == getattr(order, compare)(exact)


@given(
    st.dictionaries(st.sampled_from(sorted(GRAMMAR)), st.text(max_size=5), max_size=3), st.data()
)
def test_any_text_is_encoded_or_refused(filters, data):
    operators = [data.draw(st.sampled_from(GRAMMAR[field])) for field in filters]
    requested = {
        spelt(f, op): value for (f, value), op in zip(filters.items(), operators, strict=True)
    }
    try:
        queries = encode(requested)
    except tf.FilterError:
        return
    assert all(isinstance(value, str) and value for query in queries for value in query.values())


@given(st.text(max_size=12))
def test_any_name_is_known_or_refused(name):
    try:
        field, _ = parse_name(name)
    except tf.FilterError:
        return
    assert field in GRAMMAR


def test_the_order_of_filters_and_lists_makes_no_difference():
    one = encode({"status__in": ["open", "packed", "open"], "type": "b2b"})
    other = encode({"type": "b2b", "status": ("packed", "open")})
    assert sorted(one[0].items()) == sorted(other[0].items())


INVALID = [
    ({"statsu": "open"}, "did you mean 'status'"),
    ({"pagesize": 5}, "did you mean 'page_size'"),
    ({"created_at": "2026-01-01"}, "created_date"),
    ({"status__inn": ["open"]}, "did you mean 'in'"),
    ({"order_number__neq": "1"}, "Use one of 'eq', 'in', 'nin'"),
    ({"required_ship_date__in": ["2026-01-01T00:00:00Z"]}, "eq"),
    ({"required_ship_date": ["2026-01-01T00:00:00Z"]}, "no 'in'"),
    ({"status": "opne"}, "did you mean 'open'"),
    ({"status__in": ["open", "pakced"]}, "did you mean 'packed'"),
    ({"type": "B2C"}, "use one of|did you mean"),
    ({"status": ""}, "empty"),
    ({"status": None}, "None"),
    ({"status": 1}, "int"),
    ({"status": b"open"}, "bytes"),
    ({"status": {"in": ["open"]}}, "dict"),
    ({"ids": [1, 2]}, "int"),
    ({"ids": [None]}, "NoneType"),
    ({"order_number": "a\x00b"}, "control"),
    ({"order_number": "a\nb"}, "control"),
    ({"order_number": "\ud800"}, "control"),
    ({"created_date": "yesterday"}, "yesterday"),
    ({"created_date": "2026-13-01"}, "2026-13-01"),
    ({"created_date": "2026-02-30"}, "2026-02-30"),
    ({"created_date": "01/02/2026"}, "01/02/2026"),
    ({"created_date": ""}, "not a date"),
    ({"created_date__gte": "2026-01-31-05:00"}, "not a date"),  # not five o'clock
    ({"created_date__lte": "20260131+02"}, "not a date"),
    ({"created_date__gte": "2026-01-31T12.5"}, "not a date"),  # not half a second after twelve
    ({"created_date__gte": "2026-01-31X10:00"}, "not a date"),
    ({"created_date__gte": "2026-W05"}, "not a date"),  # not its Monday
    ({"created_date__lte": "2026013112"}, "not a date"),  # not the whole day
    ({"created_date": 1767225600}, "1767225600"),
    ({"created_date": True}, "True"),
    ({"created_date": None}, "None"),
    ({"created_date": pd.NaT}, "NaT"),
    ({"created_date__gte": np.datetime64("NaT", "s")}, "NaT"),
    ({"created_date__gte": np.datetime64("2026-01")}, "2026-01"),
    ({"created_date__gte": pd.Period("2026-01")}, "2026-01"),
    ({"created_date__gte": timedelta(days=1)}, "timedelta"),
    ({"created_date__lte": "9999-12-31T23:59:59-01:00"}, "not a date"),
    ({"created_date__gte": "9999-12-31T23:59:59.5Z"}, "rounded up"),
    ({"created_date__neq": "2026-01-31"}, "whole day.*created_date__lt='2026-01-31' for what"),
    ({"created_date__in": ["2026-01-31"]}, "whole day.*each day .*created_date__gte='2026-01-31'"),
    ({"created_date[in]": ["2026-01-31"]}, "whole day.*created_date__lte='2026-01-31'"),
    ({"created_date__nin": [date(2026, 1, 31)]}, "whole day"),
    ({"created_date__neq": "20260131"}, "whole day"),
    ({"created_date__eq": "2026-01-31T00:00:00.5Z"}, "fraction"),
    ({"created_date__in": ["2026-01-31T00:00:00.5Z"]}, "fraction"),
    ({"created_date__eq": pd.Timestamp("2026-01-31 00:00:00.000000001")}, "fraction"),
    ({"order_number__in": ["a,b"]}, "comma"),
    ({"ids": "a,b"}, "comma"),
    ({"ids": ["a", "b"], "status": "open"}, "status"),
    ({"ids": "a", "created_date__gte": "2026-01-01"}, "created_date"),
    ({"order_number__nin": [str(n) for n in range(101)]}, "101"),
    ({"status__in": []}, "empty list"),
    ({"ids": []}, "empty list"),
    ({"status__neq": ["open", "packed"]}, "one value.*use status__in or status__nin"),
    ({"status__contains": ["open", "packed"]}, "one value.*use status__in"),
    ({"order_number__not_contains": ["1", "2"]}, "one value.*use order_number__in or"),
    ({"created_date__gte": ["2026-01-01"]}, "one value.*use created_date__in"),
    ({"required_ship_date__gte": ["2026-01-01"]}, "one value.*a call of its own"),
    ({"order_number__eq_insensitive": ["a"]}, "for several use order_number__in_insensitive"),
    ({"reference_id__contains": ["a"]}, "ask for each in a call of its own"),
    ({"order_number__contains_insensitive": ["a"]}, "ask for each in a call of its own"),
    ({"status__contains": ["open"]}, "for several use status__in"),
    ({"status": "OPEN"}, "did you mean 'open'"),
    ({"type": "B2B"}, "did you mean 'b2b'"),
    ({"created_date__GTE": "2026-01-01"}, "did you mean 'gte'"),
    ({"trackstar_tags__not_contains": ["vip"]}, "one value.*a call of its own"),
    ({"trackstar_tags__contains": ["vip", "a,b"]}, "comma"),
    ({"trackstar_tags__contains": []}, "empty list"),
    ({"trackstar_tags__contains": [str(n) for n in range(101)]}, "101"),
    ({"trackstar_tags__not_contains": "a,b"}, "comma.*one$"),
    ({"status__contains": "full"}, "status__contains='full' is not allowed"),
    ({"status__not_contains": "open,packed"}, "'packed', .*'other'$"),
    ({"type__contains": "d2"}, "did you mean 'd2c'"),
    ({"type__not_contains": "2"}, "use one of"),
    ({"order_number": "x" * 8000}, "order_number is too long"),
    ({"order_number__in": ["a", "x" * 8000]}, "order_number.*too long"),
    ({"ids": "\u00e9" * 1400}, "ids is too long"),
    ({"order_number__nin": [f"{n:0100}" for n in range(90)]}, "nin.*too long"),
    ({"extra_params": {"new": "x" * 8000}}, "new is too long"),
    ({"created_date__lte": "2026-01-01", "created_date[lte]": "2026-01-02"}, "second time"),
    ({"created_date": "2026-01-01", "created_date__lt": "2026-01-02"}, "second time"),
    ({"trackstar_tags": "vip"}, "trackstar_tags__contains"),
    ({"trackstar_tags": ["vip"]}, "no 'in'"),
    ({"status": "open", "status__eq": "packed"}, "second time"),
    ({"status__in": ["open"], "status[in]": ["packed"]}, "second time"),
    ({"created_date": "2026-01-01", "created_date__gte": "2026-01-01"}, "second time"),
    ({"limit__gte": 5}, "option"),
    ({"created_date[gte": "2026-01-01"}, "created_date"),
    ({"extra_params": {"status": "open"}}, "not an extra parameter"),
    ({"extra_params": {"status__in": "open"}}, "not an extra parameter"),
    ({"extra_params": {"created_date[gte]": "x"}}, "not an extra parameter"),
    ({"extra_params": {"limit": 5}}, "not an extra parameter"),
    ({"extra_params": {"page_token": "x"}}, "not an extra parameter"),
    ({"extra_params": {"new": None}}, "text or a finite number"),
    ({"extra_params": {"new": ""}}, "text or a finite number"),
    ({"extra_params": {"new": [1]}}, "text or a finite number"),
    ({"extra_params": {"new": float("nan")}}, "text or a finite number"),
    ({"extra_params": {"new": "\ud800"}}, "text or a finite number"),
    ({"extra_params": {1: "x"}}, "not a parameter.s name"),
    ({"extra_params": {"": "x"}}, "not a parameter.s name"),
    ({"extra_params": ["x"]}, "mapping"),
    ({"extra_params": {"new": "x"}, "ids": ["a"]}, "new"),
]


@pytest.fixture(scope="module")
def quiet():
    """A server that nothing may reach."""
    with Sandbox(orders=[], rate_limit=None) as sandbox:
        yield sandbox


@pytest.mark.parametrize(("call", "message"), INVALID, ids=[str(c)[:60] for c, _ in INVALID])
def test_invalid_filters_are_refused_before_any_request(quiet, call, message):
    client = quiet.client(cache=False)
    with pytest.raises(tf.FilterError, match=message) as caught:
        tf.fetch_orders_df(client=client, **call)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(tf.FilterError, match=message):
        client.iter_pages(**call)
    assert not quiet.requests


def test_options_of_the_fetch_functions_are_no_filters_of_iter_pages(quiet):
    for name in ("limit", "progress", "snapshot", "client"):
        with pytest.raises(tf.FilterError, match=f"'{name}' is an option"):
            quiet.client().iter_pages(**{name: 5})
    assert not quiet.requests


def test_101_values_of_nin_that_are_100_pass():
    (query,) = encode({"order_number__nin": [*map(str, range(100)), "5"]})
    assert query["order_number[nin]"].count(",") == 99


@pytest.fixture(scope="module")
def fractions(tagged):
    """A server of one order every half second around the midnights of three days."""
    (order,) = tagged.orders[:1]
    midnights = [datetime(2026, 1, day, tzinfo=UTC) for day in (30, 31)]
    moments = [
        midnight + timedelta(seconds=half / 2) for midnight in midnights for half in range(-4, 5)
    ]
    orders = [
        {**order, "id": str(number), **dict.fromkeys((*DATES, "required_ship_date"), stamp)}
        for number, stamp in enumerate(moment.isoformat() for moment in moments)
    ]
    with Sandbox(orders=orders, rate_limit=None) as sandbox:
        yield sandbox


@pytest.mark.each_value
@pytest.mark.parametrize("field", [*DATES, "required_ship_date"])
@pytest.mark.parametrize("operator", ["eq", "gt", "gte", "lt", "lte"])
def test_a_bare_day_knows_fractions_of_a_second(fractions, field, operator):
    with fractions.client(cache=False, rate_limit=None) as client:
        for day in (date(2026, 1, 29), date(2026, 1, 30), date(2026, 1, 31)):
            expected = {
                order["id"]
                for order in fractions.orders
                if reference.matches_day(order, field, operator, day)
            }
            for spelling, value in enumerate((day, day.isoformat(), np.datetime64(day))):
                pages = client.iter_pages(**{spelt(field, operator, spelling): value})
                assert {o["id"] for page in pages for o in page.orders} == expected


@pytest.mark.parametrize(
    ("requested", "sent"),
    [
        ({"gte": "2026-01-31"}, {"gte": "2026-01-31T00:00:00Z"}),
        ({"lte": "2026-01-31"}, {"lt": "2026-02-01T00:00:00Z"}),
        ({"gt": "2026-01-31"}, {"gte": "2026-02-01T00:00:00Z"}),
        ({"lt": "2026-01-31"}, {"lt": "2026-01-31T00:00:00Z"}),
        ({"eq": "2026-01-31"}, {"gte": "2026-01-31T00:00:00Z", "lt": "2026-02-01T00:00:00Z"}),
        ({"lte": "2026-01-31T23:59:59Z"}, {"lte": "2026-01-31T23:59:59Z"}),
        ({"lt": "2026-01-31t10:00:00+02:00"}, {"lt": "2026-01-31T08:00:00Z"}),
        ({"lt": "2026-01-31t10:00:00z"}, {"lt": "2026-01-31T10:00:00Z"}),
        ({"lte": "2026-01-31", "lt": "2026-01-15"}, {"lt": "2026-01-15T00:00:00Z"}),
        ({"lt": "2026-02-15", "lte": "2026-01-31"}, {"lt": "2026-02-01T00:00:00Z"}),
        ({"gte": "2026-01-31", "gt": "2026-01-31"}, {"gte": "2026-02-01T00:00:00Z"}),
        ({"gt": "2026-01-31", "gte": "2026-03-01"}, {"gte": "2026-03-01T00:00:00Z"}),
        (
            {"lte": "2026-01-31", "lt": "2026-01-31T12:00:00Z"},
            {"lt": "2026-01-31T12:00:00Z"},
        ),
        (
            {"gte": "2026-01-01", "gt": "2026-01-01T12:00:00Z"},
            {"gte": "2026-01-01T00:00:00Z", "gt": "2026-01-01T12:00:00Z"},
        ),
        ({"lte": "9999-12-31"}, {"lte": "9999-12-31T23:59:59Z"}),
        ({"gt": "9999-12-31"}, {"gt": "9999-12-31T23:59:59Z"}),
        ({"gte": "0001-01-01"}, {"gte": "0001-01-01T00:00:00Z"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("field", ["updated_date", "required_ship_date"])
def test_a_day_is_sent_as_bounds(field, requested, sent):
    filters = {f"{field}__{operator}": day for operator, day in requested.items()}
    expected = {f"{field}[{operator}]": moment for operator, moment in sent.items()}
    assert encode(filters) == [expected]


@given(
    st.dictionaries(
        st.sampled_from(["order_number__in", "reference_id__in_insensitive", "channel"]),
        st.sets(st.text("a\u00e9\u20ac &=%", min_size=1, max_size=400), min_size=1, max_size=300),
        min_size=1,
    ),
)
def test_lists_are_split_into_short_urls_and_no_value_is_requested_twice(lists):
    queries = encode({name: list(values) for name, values in lists.items()}, {"more": "x" * 90})
    sent = {}
    for query in queries:
        assert len(requests.Request("GET", "https://host", params=query).prepare().url) < 7100
        lengths = {name: text.count(",") + 1 for name, text in query.items()}
        assert max(lengths.values()) <= MAX_LIST
        for name, text in query.items():
            sent.setdefault(name, set()).update(text.split(","))
    assert len({str(query) for query in queries}) == len(queries)
    assert sent.pop("more") == {"x" * 90}
    for (name, values), found in zip(lists.items(), sent.values(), strict=True):
        fold = str.casefold if "insensitive" in name else str
        assert {*map(fold, found)} == {*map(fold, values)}


def test_long_ids_are_found_though_their_url_would_be_too_long(tagged):
    (order,) = tagged.orders[:1]
    orders = [{**order, "id": f"\u00e9 {number:0150}"} for number in range(100)]
    with Sandbox(orders=orders, rate_limit=None) as sandbox:
        client = sandbox.client(cache=False)
        frame = tf.fetch_orders_df(client=client, ids=[each["id"] for each in orders])
        assert sorted(frame["id"]) == [each["id"] for each in orders]
        assert 1 < len(sandbox.requests) < 8
        assert max(len(request.path) for request in sandbox.requests) < 8000


def test_a_list_of_tags_is_requested_at_once(tagged, ids_of):
    texts = {
        order["id"]: [
            text
            for tag in order.get("trackstar_tags") or []
            for text in ([f"{k}:{v}" for k, v in tag.items()] if isinstance(tag, dict) else [tag])
        ]
        for order in tagged.orders
    }
    for requested in (["vip", "wave:am"], ["wave:am"], "vip"):
        wanted = {requested} if isinstance(requested, str) else {*requested}
        expected = {each for each, held in texts.items() if wanted & {*held}}
        assert expected
        assert ids_of(trackstar_tags__contains=requested) == expected
    assert encode({"trackstar_tags__contains": ["vip", "wave:am"]}) == [
        {"trackstar_tags[contains]": "vip,wave:am"}
    ]
