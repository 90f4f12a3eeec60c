"""Windows tile a question exactly, and a page tells where to cut it."""

import math
import random
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackstar_frames.pagination.windows import Sample, Window

FIRST, LAST = -62_135_596_800, 253_402_300_799  # the years 1 to 9999
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LOWER, UPPER = {"created_date[gt]", "created_date[gte]"}, {"created_date[lt]", "created_date[lte]"}
COMPARE = {
    "created_date[gt]": lambda moment, bound: moment > bound,
    "created_date[gte]": lambda moment, bound: moment >= bound,
    "created_date[lt]": lambda moment, bound: moment < bound,
    "created_date[lte]": lambda moment, bound: moment <= bound,
}
BESIDE = {
    "status[in]": "open,packed",
    "created_date[neq]": "2026-01-01T00:00:00Z",
    "created_date[nin]": "2026-01-01T00:00:00Z,2026-01-02T00:00:00Z",
    "updated_date[gte]": "2025-01-01T00:00:00Z",
    "limit": "7",
}


def write(seconds):
    return (EPOCH + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def read(stamp):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stamp), stamp
    return (datetime.fromisoformat(stamp) - EPOCH) // timedelta(seconds=1)


def holds(window, moment):
    """Whether the server would give an order of this moment, by the parameters alone."""
    bounds = window.params.keys() & COMPARE.keys()
    return all(COMPARE[name](moment, read(window.params[name])) for name in bounds)


def bounds_of(window, names):
    return {name: value for name, value in window.params.items() if name in names}


def assert_tiles(parts, whole, moments):
    for moment in moments:
        assert sum(holds(part, moment) for part in parts) == holds(whole, moment), moment
    for part in parts:
        rest = part.params.keys() - COMPARE.keys()
        assert {name: part.params[name] for name in rest} == bounds_of(
            whole, whole.params.keys() - COMPARE.keys()
        )
    assert bounds_of(parts[0], LOWER) == bounds_of(whole, LOWER)
    assert bounds_of(parts[-1], UPPER) == bounds_of(whole, UPPER)
    assert (parts[0].start, parts[-1].end) == (whole.start, whole.end)
    inner = [part.start for part in parts[1:]]
    assert inner == [part.end for part in parts[:-1]] == sorted(set(inner))


#: Close together, so that bounds and cuts meet; and at both ends of the calendar.
SECONDS = st.builds(
    lambda base, more: max(FIRST, min(LAST, base + more)),
    st.sampled_from([FIRST, -1, 0, 1_780_000_000, LAST]),
    st.integers(-6, 6),
) | st.integers(FIRST, LAST)
CUTS = st.lists(SECONDS | st.integers(FIRST - 9, LAST + 9) | st.sampled_from([-(10**15), 10**15]))
QUESTIONS = st.builds(
    lambda bounds, beside: {name: write(each) for name, each in bounds.items()} | beside,
    st.fixed_dictionaries({}, optional=dict.fromkeys(COMPARE, SECONDS)),
    st.sampled_from([{}, BESIDE]),
)


def around(*seconds):
    """Each second, and the halves before and after."""
    return [each + step for each in seconds for step in (-0.5, 0, 0.5)]


@given(params=QUESTIONS, cuts=CUTS, again=CUTS, moments=st.lists(SECONDS))
def test_each_moment_belongs_to_exactly_one_part(params, cuts, again, moments):
    given = dict(params)
    whole = Window.of(params)
    bounds = [read(params[each]) for each in params.keys() & COMPARE.keys()]
    moments = around(*moments, *cuts, *again, *bounds)
    parts = whole.cut(cuts)
    assert_tiles(parts, whole, moments)
    for part in parts:
        assert_tiles(part.cut(again), part, moments)
    assert params == given


@given(params=QUESTIONS, cuts=CUTS)
def test_a_cut_that_is_within_is_made_once(params, cuts):
    whole = Window.of(params)
    parts = whole.cut([*cuts, *cuts])
    made = [part.start for part in parts[1:]]
    assert made == sorted(
        cut
        for cut in set(cuts)
        if FIRST < cut <= LAST and holds(whole, cut) and holds(whole, cut - 0.5)
    )
    assert len(parts) == len(made) + 1


@pytest.mark.parametrize(
    ("bounds", "start", "end"),
    [
        ({"gt": 5}, 5, math.inf),  # an order of 5.5 is within
        ({"gte": 5}, 5, math.inf),
        ({"gt": 5, "gte": 7}, 7, math.inf),
        ({"lt": 5}, -math.inf, 5),
        ({"lte": 5}, -math.inf, 6),
        ({"lte": 5, "lt": 7}, -math.inf, 6),
        ({"gte": 9, "lt": 5}, 9, 5),
        ({"gte": FIRST, "lte": LAST}, FIRST, LAST + 1),
        ({}, -math.inf, math.inf),
    ],
)
def test_the_seconds_of_a_query(bounds, start, end):
    window = Window.of({f"created_date[{name}]": write(each) for name, each in bounds.items()})
    assert (window.start, window.end) == (start, end)
    assert window.is_bounded == bool(bounds)


@pytest.mark.parametrize("operator", ["", "[eq]", "[neq]", "[in]", "[nin]"])
def test_other_filters_are_no_bounds(operator):
    params = {f"created_date{operator}": write(5), "updated_date[gte]": write(5)}
    assert not Window.of(params).is_bounded


def test_what_can_hold_nothing_is_not_cut():
    for bounds in ({"gt": 9, "lt": 5}, {"gte": 5, "lt": 5}, {"gt": 5, "lte": 5}, {"lt": FIRST}):
        window = Window.of({f"created_date[{name}]": write(each) for name, each in bounds.items()})
        assert window.cut(range(12)) == [window]


@pytest.mark.parametrize("bound", ["gte", "lte"])
def test_nothing_is_cut_beyond_the_calendar(bound):
    window = Window.of({f"created_date[{bound}]": write(0)})
    assert window.cut([FIRST - 1, FIRST, LAST + 1, 10**15, -(10**15)]) == [window]


STAMPS = (
    st.builds(write, SECONDS)
    | st.builds(lambda each: write(each).replace("Z", ".5Z"), SECONDS)
    | st.datetimes(timezones=st.timezones()).map(datetime.isoformat)
    | st.sampled_from(["", "0000-01-01T00:00:00Z", "-0001-01-01", "10000-01-01T00:00:00Z", "2026"])
    | st.text(max_size=12)
)


@given(
    params=QUESTIONS,
    created=st.lists(STAMPS, max_size=40),
    crowd=st.integers(0, 40),
    parts=st.integers(1, 40),
    answered=st.datetimes(timezones=st.just(UTC)),
)
def test_whatever_a_page_holds_its_window_is_tiled(params, created, crowd, parts, answered):
    window = Window.of(params)
    created = created + created[:1] * crowd
    sample = Sample(window, created, answered)
    divided = sample.divide(parts)
    cuts = [part.start for part, _ in divided[1:]]
    assert_tiles([part for part, _ in divided], window, around(0, *cuts))
    assert len(divided) <= parts + 2
    assert sample.size >= 0
    shares = [share for _, share in divided]
    assert min(shares) >= 0
    assert sum(shares) == pytest.approx(1)
    assert Sample(window, created[::-1], answered).divide(parts) == divided


YEAR = {"created_date[gte]": "2025-06-01T00:00:00Z", "created_date[lt]": "2026-06-01T00:00:00Z"}
START, DAY = read(YEAR["created_date[gte]"]), 86_400


def sample_of(times, *, shuffled=True):
    times = [START + int(each) for each in times]
    if shuffled:
        random.Random(1).shuffle(times)
    return Sample(Window.of(YEAR), map(write, times), NOW)


def test_orders_all_over_a_window_give_parts_of_about_as_many():
    sample = sample_of(range(0, 365 * DAY, DAY // 3))
    shares = [share for _, share in sample.divide(8)]
    assert len(shares) == 8
    assert max(shares) < 1.2 / 8
    assert sample.size == pytest.approx(365 * 3, rel=0.01)


def test_where_more_orders_are_the_parts_are_shorter():
    sample = sample_of([*range(0, 365 * DAY, DAY), *range(300 * DAY, 310 * DAY, DAY // 36)])
    divided = sample.divide(8)
    shortest = min(divided, key=lambda each: (each[0].end or 0) - (each[0].start or 0))[0]
    assert START + 300 * DAY <= shortest.start < shortest.end <= START + 310 * DAY
    assert max(share for _, share in divided) < 0.3


@pytest.mark.parametrize("strays", [[], [0.0], [0.0, 364.0 * DAY]])
def test_a_crowd_is_cut_off_and_strays_do_not_count(strays):
    hour = range(100 * DAY, 100 * DAY + 3600, 60)
    sample = sample_of([*hour, *strays])
    crowd, share = max(sample.divide(4), key=lambda each: each[1])
    assert share >= 0.85
    assert START + 100 * DAY <= crowd.start < crowd.end <= START + 100 * DAY + 3600
    assert sample.size > 60 * 24 * 300  # were it as crowded all over


@pytest.mark.parametrize("is_newest", [True, False])
def test_the_head_of_a_sorted_listing_is_cut_off_and_the_rest_is_cut_evenly(is_newest):
    hours = sorted(range(0, DAY, 3600), reverse=is_newest)
    offset = 364 * DAY if is_newest else 0
    sample = sample_of([offset + each for each in hours], shuffled=False)
    assert sample.is_sorted
    divided = sample.divide(5)
    assert sum(share > 0.8 for _, share in divided) == 1
    lengths = sorted((part.end - part.start) / DAY for part, _ in divided)
    assert lengths[0] <= 1
    assert 70 <= lengths[1] <= lengths[-1] <= 74


def test_what_counts_as_sorted():
    steps = list(range(100))
    assert sample_of(steps, shuffled=False).is_sorted
    assert sample_of(steps[::-1], shuffled=False).is_sorted
    assert sample_of([7] * 100, shuffled=False).is_sorted
    assert sample_of([*steps[:50], 3, *steps[50:]], shuffled=False).is_sorted
    assert not sample_of(steps).is_sorted
    assert not sample_of([7]).is_sorted
    assert not sample_of([]).is_sorted


def test_a_few_orders_are_no_measure_of_density():
    assert sample_of(range(7)).size == 7


def test_an_open_side_is_thought_to_end_today_or_three_years_ago():
    week = [write(START + each) for each in range(0, 7 * DAY, DAY // 4)]
    for name, bound in (("gte", "2000-01-01T00:00:00Z"), ("lte", write(LAST))):
        window = Window.of({f"created_date[{name}]": bound})
        cuts = [part.start for part, _ in Sample(window, week, NOW).divide(16)[1:]]
        assert len(cuts) >= 16
        assert read("2023-06-01T00:00:00Z") <= cuts[0]
        assert cuts[-1] <= read("2026-06-02T00:00:00Z")
    older = Sample(window, ["2011-01-01T00:00:00Z", *week], NOW).divide(16)
    assert older[1][0].start < read("2013-01-01T00:00:00Z")


def test_a_window_of_which_nothing_is_known_is_not_cut():
    for created in ([], ["no date"], ["2031-01-01T00:00:00Z"] * 20):
        assert Sample(Window.of(YEAR), created, NOW).divide(8) == [(Window.of(YEAR), 1.0)]


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("crowd", [1, 20])
def test_a_placeholder_date_is_ignored(created, crowd):
    page = [created] * crowd + [write(START + each * DAY) for each in range(20)]
    for params in ({"created_date[gte]": write(FIRST)}, {"created_date[lte]": write(LAST)}):
        window = Window.of(params)
        parts = [part for part, _ in Sample(window, page, NOW).divide(8)]
        assert len(parts) > 4
        assert_tiles(parts, window, around(*map(read, page)))
