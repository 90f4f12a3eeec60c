import numpy as np
import pandas as pd
import pytest
from helpers import sql_reference
from hypothesis import given, settings
from hypothesis import strategies as st

from trackstar_frames import OrderFrames
from trackstar_frames.measures import (
    backlog,
    cycle_time,
    data_quality,
    ship_date_compliance,
    status_mix,
)
from trackstar_frames.schema import LIFECYCLE

FREQ = {None: None, "D": "day", "W": "week", "MS": "month"}


def orders(statuses, created=None, **columns):
    table = pd.DataFrame({"status": pd.Series(statuses, dtype=object), **columns})
    stamps = pd.to_datetime(
        pd.Series(created or [None] * len(statuses)), utc=True, format="ISO8601"
    )
    table["created_date"] = stamps.astype("datetime64[us, UTC]").array
    table.attrs["trackstar"] = {"fetched_at": "2026-03-04T12:00:00Z"}
    return table


def test_one_row_of_all_statuses_in_lifecycle_order():
    table = status_mix(orders(["open", "open", "cancelled"]))
    assert list(table.columns) == list(LIFECYCLE)
    assert len(table) == 1
    assert table.loc[0, ["open", "cancelled", "packed"]].tolist() == [2, 1, 0]
    assert (table.dtypes == "int64").all()
    assert table.attrs == {"trackstar": {"fetched_at": "2026-03-04T12:00:00Z"}}


def test_unknown_statuses_come_last_by_name_and_missing_ones_after_them():
    table = status_mix(orders(["zz", None, "open", "aa"]))
    assert list(table.columns) == [*LIFECYCLE, "aa", "zz", "(none)"]
    assert table.sum(axis=1)[0] == 4


def test_categories_and_arrow_strings_count_alike():
    plain = orders(["open", "zz", None])
    category = pd.CategoricalDtype([*LIFECYCLE, "never", "zz"], ordered=True)
    for dtype in (category, "string[pyarrow]"):
        table = status_mix(plain.astype({"status": dtype}))
        pd.testing.assert_frame_equal(table, status_mix(plain))


def test_groups_and_months():
    created = ["2026-01-31T23:59:59Z", "2026-03-01T00:00:00Z", None, "2026-01-01T00:00:00Z"]
    table = status_mix(
        orders(["open"] * 4, created, channel=["a", "b", "a", "a"]), by="channel", freq="MS"
    )
    assert table["open"].tolist() == [2, 0, 0, 0, 0, 1]
    assert table.reset_index()["period"].dt.month.tolist() == [1, 2, 3, 1, 2, 3]
    assert table.attrs["trackstar"]["status_mix"] == {"without_period": 1}


def test_shares_are_of_the_row_and_come_with_its_n():
    table = status_mix(orders(["open", "fulfilled", "open", "open"]), normalize=True)
    assert table.loc[0, ["open", "fulfilled", "n"]].tolist() == [0.75, 0.25, 4]
    empty = status_mix(orders([]), normalize=True)
    assert empty["n"][0] == 0
    assert empty[list(LIFECYCLE)].isna().all(axis=None)
    assert (empty.dtypes.iloc[:-1] == "float64").all()


@pytest.mark.parametrize("by", [None, "channel"])
@pytest.mark.parametrize("freq", [None, "D"])
@pytest.mark.parametrize("normalize", [False, True])
def test_empty_frames_keep_columns_and_types(by, freq, normalize):
    table = status_mix(orders([], channel=[]), by=by, freq=freq, normalize=normalize)
    assert list(table.columns) == [*LIFECYCLE, *(["n"] if normalize else [])]
    assert (table[list(LIFECYCLE)].dtypes == ("float64" if normalize else "int64")).all()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*LIFECYCLE, "new", None]),
            st.sampled_from(["x", None]),
            st.none() | st.datetimes(pd.Timestamp("2026-01-01"), pd.Timestamp("2026-02-01")),
        ),
        max_size=30,
    ),
    st.sampled_from([None, "channel"]),
    st.sampled_from([None, "D", "W"]),
)
@settings(max_examples=60, deadline=None)
def test_nothing_is_lost(rows, by, freq):
    statuses, channels, created = zip(*rows, strict=True) if rows else ((), (), ())
    table = orders(
        list(statuses),
        [None if stamp is None else stamp.isoformat() for stamp in created],
        channel=np.array(channels, dtype=object),
    )
    counts = status_mix(table, by=by, freq=freq)
    left_out = 0 if freq is None else counts.attrs["trackstar"]["status_mix"]["without_period"]
    assert counts.to_numpy().sum() + left_out == len(rows)
    shares = status_mix(table, by=by, freq=freq, normalize=True)
    assert shares["n"].tolist() == counts.sum(axis=1).tolist()
    filled = shares[shares["n"] > 0].drop(columns="n")
    assert filled.sum(axis=1).to_numpy() == pytest.approx(np.ones(len(filled)))


MIX = """
with dated as (
    select *, epoch_us(date_trunc('{unit}', make_timestamp(created_date))) as period from lives
), counted as (
    select {by} {period} coalesce(status, '(none)') as held, count(*) as n from dated group by all
)
select {by} {period} held, n, n / sum(n) over (partition by {by} {period} 1) from counted
"""


@pytest.mark.one_of(2)
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 15))]
)
@pytest.mark.parametrize("freq", FREQ)
def test_counts_are_those_of_sql_over_the_orders_as_they_came(seed, freq, spoilt):
    given = spoilt(seed)
    period = "period, " if freq else ""
    query = MIX.replace("{period}", period).replace("{unit}", FREQ[freq] or "day")
    for by in sql_reference.BY:
        expected = sql_reference.ask(given.sql, query, by, more=1 + bool(freq))
        if freq:  # what has no created_date is in no period
            expected = {key: pair for key, pair in expected.items() if key[-2] is not None}
        counts, shares = (
            status_mix(given.frames.orders, by=by, freq=freq, normalize=normalize)
            for normalize in (False, True)
        )
        found = {}
        for status in counts.columns:
            rows = zip(
                sql_reference.keys(counts.index), counts[status], shares[status], strict=True
            )
            found |= {(*key, status): (n, share) for key, n, share in rows if n}
        assert {key: pair[0] for key, pair in found.items()} == {
            key: pair[0] for key, pair in expected.items()
        }
        for key, pair in found.items():
            assert pair[1] == pytest.approx(expected[key][1])


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"lacks 'status'.*fetch_orders_df"):
        status_mix(pd.DataFrame({"id": ["1"]}))
    with pytest.raises(ValueError, match="lacks 'created_date'"):
        status_mix(pd.DataFrame({"status": ["open"]}), freq="D")
    with pytest.raises(ValueError, match="freq='2W' is not allowed"):
        status_mix(orders(["open"]), freq="2W")
    with pytest.raises(ValueError, match="by='x' is not allowed"):
        status_mix(orders(["open"]), by="x")
    with pytest.raises(TypeError, match="fetch_orders_df"):
        status_mix(None)


@pytest.mark.parametrize(
    "measure", [status_mix, ship_date_compliance, backlog, cycle_time, data_quality]
)
def test_the_attrs_of_a_measure_are_its_own(measure):
    orders = OrderFrames.from_json({"id": "a", "created_date": "2026-03-01T00:00:00Z"}).orders
    orders.attrs["trackstar"] |= {"fetched_at": "2026-03-04T12:00:00Z"}
    measure(orders).attrs["trackstar"]["filters"]["mine"] = 1
    assert orders.attrs["trackstar"]["filters"] == {}
