"""How a lazy fetch is checked and cut, before any work."""

import functools
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trackstar_frames as tf
from trackstar_frames.distributed import divide
from trackstar_frames.pagination.windows import Window
from trackstar_frames.request import FetchRequest

TWO = {"beta": "BETA_SECRET", "acme": "ACME_TOKEN"}
BOUNDED = {"created_date__gte": "2026-01-15", "created_date__lt": "2026-03-10"}


def ask(**filters):
    options = {
        "page_size": 1000,
        "limit": None,
        "max_workers": 8,
        "refresh": False,
        "offline": False,
    }
    options |= {"verify": False, "progress": False, "pii": "keep"}
    options |= {"extra_params": None, "client": None}
    return FetchRequest.of(filters, **options)


def bounds(partitions):
    return [
        (partition.label, *(query.get(f"created_date[{each}]") for each in ("gte", "lt")))
        for partition in partitions
        for query in partition.request.queries
    ]


def test_windows_are_those_of_the_calendar_and_neighbours_have_different_tokens():
    partitions = divide(ask(**BOUNDED), {"acme": "A", "beta": "B"}, "MS")
    january = ("2026-01-15T00:00:00Z", "2026-02-01T00:00:00Z")
    february = ("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z")
    march = ("2026-03-01T00:00:00Z", "2026-03-10T00:00:00Z")
    expected = [(label, *each) for each in (january, february, march) for label in ("acme", "beta")]
    assert bounds(partitions) == expected


def test_the_last_window_is_open_as_the_filters_are():
    start = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0) - timedelta(days=1)
    found = bounds(divide(ask(created_date__gte=start), {"acme": "A"}, "MS"))
    assert len(found) == 2
    assert found[-1] == ("acme", found[0][2], None)


def test_what_is_to_come_is_one_window():
    soon = datetime.now(UTC) + timedelta(days=400)
    request = ask(created_date__gte=soon, created_date__lt=soon + timedelta(days=90))
    assert len(divide(request, {"acme": "A"}, "D")) == 1


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"status": "open"},
        {"created_date__lt": "2026-01-01"},
        {"ids": ["a", "b"]},
        {"created_date__gte": "2026-03-01", "created_date__lt": "2026-01-01"},
    ],
)
def test_without_a_lower_bound_a_connection_is_one_partition(filters):
    partitions = divide(ask(**filters), {"acme": "A", "beta": "B"}, "D")
    assert [partition.label for partition in partitions] == ["acme", "beta"]
    assert partitions[0].request.queries == ask(**filters).queries


def test_every_part_of_a_long_list_is_cut_alike():
    numbers = [f"n{number}" for number in range(150)]
    partitions = divide(ask(**BOUNDED, order_number__in=numbers), {"acme": "A"}, "MS")
    assert [len(partition.request.queries) for partition in partitions] == [2, 2, 2]
    for partition in partitions:
        one, two = partition.request.queries
        assert one["order_number[in]"] != two["order_number[in]"]
        assert {**one, "order_number[in]": ""} == {**two, "order_number[in]": ""}


@given(
    start=st.datetimes(datetime(1, 1, 1), datetime(2026, 6, 1)),  # noqa: DTZ001
    days=st.floats(0, 4000),
    freq=st.sampled_from(["W", "MS", "2MS", "QS", "YS", "ME", "B", "17D"]),
)
def test_windows_tile_the_time(start, days, freq):
    if start.year < 2000:
        freq = "YS"
    request = ask(created_date__gte=start, created_date__lt=start + timedelta(days=days))
    partitions = divide(request, {"acme": "A"}, freq)
    windows = [Window.of(partition.request.queries[0]) for partition in partitions]
    whole = Window.of(request.queries[0])
    edges = [windows[0].start, *(window.end for window in windows)]
    assert (edges[0], edges[-1]) == (whole.start, whole.end)
    assert edges[:-1] == [window.start for window in windows]
    assert edges == sorted(edges)
    assert all(edge <= time.time() for edge in edges[1:-1])


@pytest.mark.parametrize(
    ("freq", "message"),
    [
        ("fortnight", "freq='fortnight' must be a frequency of pandas"),
        ("-1D", "freq='-1D' must be a frequency of pandas, of a second at least"),
        ("0D", "of a second at least"),
        ("1ns", "of a second at least"),
        (7, "freq=7 must be"),
        (None, "freq=None must be"),
        ("s", "more than 100,000 partitions of 2 connections; use a longer one, such as 'MS'"),
    ],
)
def test_an_invalid_frequency_is_refused(freq, message):
    with pytest.raises(tf.SettingsError, match=message):
        tf.fetch_orders_dask(TWO, freq=freq, **BOUNDED)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"limit": 5}, tf.SettingsError, r"limit=5 is not for a lazy fetch: take .head\(n\)"),
        ({"client": None}, tf.SettingsError, "name the tokens in connections"),
        ({"progress": True}, tf.SettingsError, "Dask has bars of its own"),
        ({"snapshot": "s"}, tf.SettingsError, "export_orders, and read it with read_snapshot_dask"),
        ({"statsu": "open"}, tf.FilterError, "did you mean"),
        ({"page_size": 0}, tf.SettingsError, "page_size=0"),
        ({"max_workers": 99}, tf.SettingsError, "max_workers=99"),
        ({"pii": "hash"}, tf.SettingsError, "TRACKSTAR_PII_KEY"),
        ({"refresh": True, "offline": True}, tf.SettingsError, "choose one"),
        ({"dtype_backend": "numpy"}, tf.SettingsError, "dtype_backend='numpy'"),
    ],
)
def test_an_invalid_call_is_refused_before_any_work(given, error, message):
    with pytest.raises(error, match=message):
        tf.fetch_orders_dask(TWO, **given)


@pytest.mark.parametrize("connections", [{}, None, {"acme": 3}, {"": "ACME_TOKEN"}])
def test_invalid_connections_are_refused(connections):
    with pytest.raises(tf.SettingsError, match="connections"):
        tf.fetch_orders_dask(connections)


def of_main():
    return "a token"


of_main.__module__ = "__main__"


@pytest.mark.parametrize(
    "function",
    [
        lambda: "a token",
        functools.partial(str, "a token"),
        "a token".strip,
        of_main,
        pytest.param(type("Held", (), {"__call__": lambda _: "a token"})(), id="instance"),
    ],
)
def test_a_function_that_workers_cannot_import_is_refused(function):
    with pytest.raises(tf.SettingsError, match=r"connections\['acme'\].*must be importable") as got:
        tf.fetch_orders_dask({"acme": function})
    assert "a token" not in str(got.value)


def test_a_function_within_another_is_refused():
    def token():
        return "a token"

    with pytest.raises(tf.SettingsError, match="nested function"):
        tf.fetch_orders_dask({"acme": token})


def test_different_calls_have_different_keys():
    one, two = (tf.fetch_orders_dask(TWO, **BOUNDED) for _ in range(2))
    assert set(one.__dask_keys__()).isdisjoint(two.__dask_keys__())
    assert all(key[0].startswith("fetch-orders-") for key in one.__dask_keys__())
