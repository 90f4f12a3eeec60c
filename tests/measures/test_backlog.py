import datetime as dt
import itertools
import json

import duckdb
import numpy as np
import pandas as pd
import pytest
from helpers import odd_orders, sql_reference

import trackstar_frames as tf
from trackstar_frames import OrderFrames
from trackstar_frames.measures.backlog import AGE_BUCKETS
from trackstar_frames.sandbox import Sandbox
from trackstar_frames.schema import LIFECYCLE

NOON = "2026-03-04T12:00:00+00:00"
STATUSES = [each for each in LIFECYCLE if each not in ("fulfilled", "cancelled")]
COUNTS = ["n", "units", "units_unknown", *AGE_BUCKETS]
COLUMNS = [*COUNTS, "median_age", "oldest", "pace", "days_of_work"]
STAMPS = ("created_date", "first_shipped_date", "last_shipped_date", "complete_shipped_date")


def frame(*orders, fetched_at=NOON):
    """Build the frame of some orders; `shipped` sets all three stamps."""
    rows = []
    for given in orders:
        shipped = given.get("shipped")
        row = dict.fromkeys(STAMPS) | dict.fromkeys(STAMPS[1:], shipped)
        row |= {"status": "open", "created_date": "2026-03-01", "channel": "web"}
        row |= {"units_ordered": 5, "units_shipped": 0}
        rows.append(row | given)
    columns = ["status", *STAMPS, "units_ordered", "units_shipped", "channel"]
    table = pd.DataFrame(rows, columns=columns)
    for name in STAMPS:
        stamps = pd.to_datetime(table[name], utc=True, format="ISO8601")
        table[name] = stamps.astype("datetime64[us, UTC]")
    units = {"units_ordered": "Int64", "units_shipped": "Int64"}
    table = table.astype(units).astype({"status": object, "channel": object})
    if fetched_at:
        table.attrs["trackstar"] = {"fetched_at": fetched_at, "connection": "a"}
    return table


def info_of(table):
    return table.attrs["trackstar"]["backlog"]


def test_statuses_stand_in_lifecycle_order_then_unknown_ones():
    statuses = [*reversed(LIFECYCLE), "zz", "customs", None]
    orders = frame(
        *({"status": each} for each in statuses), {"status": "fulfilled", "shipped": NOON}
    )
    table = tf.backlog(orders, as_of="2026-03-04T00:00")
    assert table.index.tolist() == [*STATUSES, "customs", "zz", "(none)", "(shipped since)"]
    assert table.index.name == "status"
    assert table.index.ordered
    assert (table["n"] == 1).all()
    assert list(table.columns) == COLUMNS
    assert info_of(table)["left_out"] == {
        "created_after": 0,
        "cancelled": 1,
        "shipped": 0,
        "closed_short": 0,
        "undated": 1,
    }


@pytest.mark.parametrize(
    ("days", "bucket"),
    [
        *((days, bucket) for bucket in AGE_BUCKETS[:-2] for days in map(int, bucket.split("-"))),
        (46, "46+"),
        (10_000, "46+"),
    ],
)
def test_ages_are_in_whole_days_passed(days, bucket):
    now = pd.Timestamp(NOON)
    for spare in (pd.Timedelta(0), pd.Timedelta("1D") - pd.Timedelta("1us")):
        created = (now - pd.Timedelta(days=days) - spare).isoformat()
        row = tf.backlog(frame({"created_date": created})).loc["open"]
        assert row[list(AGE_BUCKETS)].to_dict() == {
            each: int(each == bucket) for each in AGE_BUCKETS
        }


def test_an_age_that_is_not_known_counts_apart():
    orders = frame(
        {"created_date": None},
        {},
        {"created_date": "2026-03-02"},
        {"status": "other", "created_date": None},
    )
    table = tf.backlog(orders)
    assert table.loc["open", ["n", "0-3", "unknown"]].tolist() == [3, 2, 1]
    assert table.loc["open", "median_age"] == pd.Timedelta("3D")
    assert table.loc["open", "oldest"] == pd.Timedelta("3D12h")
    assert table.loc[["other", "packed"], ["median_age", "oldest"]].isna().all(axis=None)
    assert (table[["median_age", "oldest"]].dtypes == "timedelta64[us]").all()


def test_units_are_what_had_not_shipped_by_then():
    some = {"status": "partially_fulfilled", "units_shipped": 2, "complete_shipped_date": None}
    orders = frame(
        some | {"shipped": "2026-03-02", "complete_shipped_date": None},
        some | {"shipped": "2026-03-02", "complete_shipped_date": None, "units_shipped": 9},
        some | {"shipped": "2026-03-04", "complete_shipped_date": None},
        some | {"first_shipped_date": "2026-03-02", "last_shipped_date": "2026-03-04"},
        some | {"units_ordered": None},
        some | {"units_shipped": None},
    )
    # 3 left; 0, never less; all 5, shipped later; unknown, shipped in part; unknown, null.
    at = tf.backlog(orders, as_of="2026-03-03").loc["partially_fulfilled"]
    assert at[["n", "units", "units_unknown"]].tolist() == [6, 3 + 0 + 5, 3]
    later = tf.backlog(orders).loc["partially_fulfilled"]
    assert later[["n", "units", "units_unknown"]].tolist() == [6, 3 + 0 + 3 + 3, 2]


def test_a_past_moment_is_computed_from_stamps():
    orders = frame(
        {"status": "fulfilled", "shipped": "2026-03-03", "units_shipped": 5},
        {
            "status": "fulfilled",
            "last_shipped_date": "2026-03-03",
            "first_shipped_date": "2026-03-03",
        },
        {"status": "cancelled"},
        {"created_date": "2026-03-02T00:00:01Z"},
        {"status": "packed"},
        {"status": "packed", "shipped": "2026-03-03"},
    )
    then = tf.backlog(orders, as_of="2026-03-02T00:00")
    assert then["n"][then["n"] > 0].to_dict() == {"packed": 1, "(shipped since)": 3}
    assert then.loc["(shipped since)", ["units", "units_unknown"]].tolist() == [15, 0]
    assert info_of(then)["left_out"]["created_after"] == 1
    now = tf.backlog(orders)
    assert now["n"][now["n"] > 0].to_dict() == {"open": 1, "packed": 1}
    assert info_of(now)["left_out"]["shipped"] == 2
    assert info_of(now)["left_out"]["closed_short"] == 1
    at = tf.backlog(orders, as_of="2026-03-03T00:00")
    assert "(shipped since)" not in at.index


def test_shipped_since_without_other_stamps_has_all_or_unknown_units():
    orders = frame(
        {"status": "fulfilled", "complete_shipped_date": "2026-03-04", "units_shipped": 5}
    )
    row = tf.backlog(orders, as_of="2026-03-03").loc["(shipped since)"]
    assert row[["n", "units", "units_unknown"]].tolist() == [1, 0, 1]


def test_days_of_work_go_by_the_pace_of_the_last_28_days():
    done = {"status": "fulfilled", "created_date": "2026-01-01"}
    ages = ["2026-02-04T12:00:00Z", "2026-02-04T12:00:01Z", NOON, "2026-03-04T12:00:01Z"]
    orders = frame(
        *(done | {"shipped": each} for each in ages),
        done | {"shipped": "2026-03-01", "status": "cancelled"},
        {},
        {},
        {"status": "packed"},
        {"channel": "edi"},
        {"channel": None},
    )
    table = tf.backlog(orders, by="channel")
    assert (table.loc["web", "pace"] == 2 / 28).all()
    assert table.loc[("web", "open"), "days_of_work"] == 2 / (2 / 28)
    assert table.loc["web", "days_of_work"].sum() == pytest.approx(4 * 14)
    assert (table.loc["edi", "pace"] == 0).all()
    assert table.loc["edi", "days_of_work"].isna().all()
    assert info_of(table) == {
        "as_of": NOON,
        "pace_days": 28,
        "shipped": 2,
        "pace": 2 / 28,
        "left_out": {
            "created_after": 0,
            "cancelled": 1,
            "shipped": 3,
            "closed_short": 0,
            "undated": 0,
        },
    }
    assert tf.backlog(orders)["pace"].unique().tolist() == [2 / 28]


def test_a_pace_is_per_day_covered():
    hours = pd.date_range("2026-02-25T13:00Z", NOON, periods=70)
    done = [
        {"status": "fulfilled", "created_date": each.isoformat(), "shipped": each.isoformat()}
        for each in hours
    ]
    table = tf.backlog(frame(*done, *[{}] * 20, *[{"channel": "edi"}] * 5), by="channel")
    assert table.loc[("web", "open"), ["n", "pace", "days_of_work"]].tolist() == [20, 10, 2]
    assert (table.loc["edi", "pace"] == 0).all()
    assert [info_of(table)[name] for name in ("pace_days", "shipped", "pace")] == [7, 70, 10]
    assert (tf.backlog(frame({"created_date": NOON}))["pace"] == 0).all()
    named = tf.backlog(frame({}), by="channel", labels={"web": "Shop"})
    assert named.loc[("Shop", "open"), "n"] == 1


@pytest.mark.filterwarnings("ignore::trackstar_frames.FilteredOrdersWarning")
@pytest.mark.parametrize(("days", "covered"), [(5, 5), (10, 10), (90, 28)])
def test_days_without_an_order_since_the_bound_of_the_fetch_are_covered(days, covered):
    noon = pd.Timestamp(NOON)
    sent = (noon - pd.Timedelta("1D")).isoformat()
    orders = frame(*[{"status": "fulfilled", "created_date": sent, "shipped": sent}] * 20)
    orders.attrs["trackstar"]["filters"] = {
        "created_date__gte": (noon - pd.Timedelta(days=days)).isoformat()
    }
    assert info_of(tf.backlog(orders))["pace_days"] == covered
    assert tf.backlog(orders)["pace"].tolist() == [20 / covered] * 9


@pytest.mark.parametrize("quantity", [None, 1.5])
def test_an_order_of_unknown_quantity_is_open_while_its_status_is(quantity):
    sent = {"shipped_date": "2026-03-02T12:00:00Z", "line_items": [{"sku": "A", "quantity": 1}]}
    lines = [{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": quantity}]
    order = {"id": "a", "line_items": lines, "shipments": [sent]}
    found = {
        status: tf.backlog(
            OrderFrames.from_json(order | {"status": status}).orders, as_of="2026-03-04"
        )
        for status in ("partially_fulfilled", "fulfilled")
    }
    row = found["partially_fulfilled"].loc["partially_fulfilled"]
    assert row[["n", "units", "units_unknown"]].tolist() == [1, 0, 1]
    assert found["fulfilled"]["n"].sum() == 0


def test_every_group_has_every_status_and_null_is_a_group():
    orders = frame({"channel": None}, {"channel": "edi", "status": "zz"}, {"status": "cancelled"})
    table = tf.backlog(orders, by="channel")
    assert table.index.names == ["channel", "status"]
    assert len(table) == 3 * 10
    sums = table.groupby(level=0, dropna=False)["n"].sum()
    assert {None if pd.isna(key) else key: n for key, n in sums.items()} == {
        "edi": 1,
        "web": 0,
        None: 1,
    }
    both = tf.backlog(orders, by=["channel", "units_ordered"])
    assert both.index.names == ["channel", "units_ordered", "status"]
    assert both["n"].tolist() == table["n"].tolist()


@pytest.mark.parametrize("backend", [None, "pyarrow"])
@pytest.mark.parametrize("by", [None, "channel", ["channel", "type"]])
def test_empty_frames_keep_columns_and_types(by, backend):
    empty = OrderFrames.from_json([], dtype_backend=backend).orders
    table = tf.backlog(empty, by=by, as_of=NOON)
    filled = tf.backlog(
        OrderFrames.from_json([{"id": "a", "status": "open"}]).orders, by=by, as_of=NOON
    )
    assert list(table.columns) == COLUMNS
    assert len(table) == (0 if by else len(STATUSES))
    assert table.dtypes.equals(filled.dtypes)
    assert (table[COUNTS].dtypes == "int64").all()
    assert (table[["pace", "days_of_work"]].dtypes == "float64").all()
    assert table.index.names == filled.index.names


@pytest.fixture(scope="module", params=[1, 2, 3])
def seeded(request):
    with Sandbox(orders=700, seed=request.param, rate_limit=None) as sandbox:
        return tf.fetch_orders_df(client=sandbox.client(cache=False)), request.param


SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 15))]
QUERY = """
with lives as (
    select *, case when status = 'fulfilled' then
        coalesce(complete_shipped_date, last_shipped_date) else complete_shipped_date end as closed
    from data
    where (created_date is null or created_date <= $now) and status is distinct from 'cancelled'
), opened as (
    select {groups} $now - created_date as age, case
            when closed > $now then '(shipped since)' else coalesce(status, '(none)') end as row,
        case when first_shipped_date > $now then units_ordered
            when last_shipped_date > $now or closed > $now then null
            when units_ordered < units_shipped then 0
            else units_ordered - units_shipped end as units
    from lives
    where closed > $now or (closed is null and status is distinct from 'fulfilled')
)
select {groups} row, count(*), coalesce(sum(units), 0), count(*) - count(units),
    {ages}, count(*) - count(age), quantile_cont(age, 0.5), max(age)
from opened group by all
"""


def queried(data, by, now):
    """Return the same counts by DuckDB; ages in microseconds."""
    bounds = [0, 4, 8, 15, 22, 31, 46, 10**6]
    day = 86_400_000_000
    ages = ", ".join(
        f"count(*) filter (age >= {low * day} and age < {high * day})"
        for low, high in itertools.pairwise(bounds)
    )
    query = QUERY.format(groups="".join(f"{name}, " for name in by), ages=ages)
    connection = duckdb.connect().register("data", data)
    rows = connection.execute(query, {"now": now}).fetchall()
    return {row[: len(by) + 1]: row[len(by) + 1 :] for row in rows}


def shown(table):
    """Return the rows with orders as DuckDB does."""
    filled = table[table["n"] > 0]
    keys = [key if isinstance(key, tuple) else (key,) for key in filled.index]
    keys = [tuple(None if pd.isna(each) else each for each in key) for key in keys]
    values = filled[COUNTS].to_numpy().tolist()
    ages = filled[["median_age", "oldest"]].to_numpy("m8[us]").tolist()
    return {
        key: [*row, *(None if age is None else age // dt.timedelta(microseconds=1) for age in pair)]
        for key, row, pair in zip(keys, values, ages, strict=True)
    }


@pytest.mark.one_of(20)
@pytest.mark.parametrize("by", [[], ["channel"], ["warehouse_id", "type"]])
@pytest.mark.parametrize("back", [0, 3, 40])
@pytest.mark.parametrize("spoilt", [False, True])
def test_counts_are_those_of_duckdb(seeded, by, back, spoilt):
    orders, seed = seeded
    orders = odd_orders.spoil(orders, seed) if spoilt else orders
    moment = pd.Timestamp(orders.attrs["trackstar"]["fetched_at"]) - pd.Timedelta(days=back)
    table = tf.backlog(orders, by=by, as_of=moment)
    now = moment.tz_localize(None).to_datetime64().astype("M8[us]").astype(np.int64)
    assert_is(table, queried(odd_orders.table(orders, *by), by, int(now)))
    assert table["n"].sum() + sum(info_of(table)["left_out"].values()) == len(orders)
    assert (table[list(AGE_BUCKETS)].sum(axis=1) == table["n"]).all()


def assert_is(table, expected):
    found = shown(table)
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        assert found[key][:-2] == list(row[:-2])
        assert found[key][-1] == row[-1]
        assert found[key][-2] == pytest.approx(row[-2], abs=1)


PACE = """
select {by} count(*) filter (
    complete_shipped_date <= $now and complete_shipped_date > $now - 28 * 86400000000
    and status is distinct from 'cancelled' and (created_date <= $now) is not false) / (
        select least(28, greatest(1, ceil(($now - min(created_date)) / 86400000000))) from lives)
from lives group by all
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_counts_are_those_of_sql_over_the_orders_as_they_came(seed, spoilt):
    given = spoilt(seed)
    for by, back in zip(sql_reference.BY, itertools.cycle([0, 4, 30]), strict=False):
        moment = given.now - dt.timedelta(days=back)
        now = sql_reference.micros(moment.isoformat())
        table = tf.backlog(given.frames.orders, by=by, as_of=moment)
        assert_is(table, queried(sql_reference.lives(given.sql), by, now))
        paces = sql_reference.ask(given.sql, PACE, by, now=now)
        for key, row in zip(sql_reference.keys(table.index), table.itertuples(), strict=True):
            assert row.pace == paces[key[:-1]][0]
            assert row.days_of_work == row.n / row.pace if row.pace else pd.isna(row.days_of_work)


def test_attrs_go_through_json_and_keep_the_provenance(tmp_path):
    orders = frame({})
    table = tf.backlog(orders)
    assert json.loads(json.dumps(table.attrs)) == table.attrs
    assert table.attrs["trackstar"]["connection"] == "a"
    assert "backlog" not in orders.attrs["trackstar"]
    table.reset_index().astype({"status": str}).to_parquet(tmp_path / "backlog.parquet")


def test_any_index_does_and_orders_stay_as_they_are():
    orders = frame({}, {"status": "packed"}, {"status": "fulfilled", "shipped": NOON})
    before = orders.copy()
    expected = tf.backlog(orders, by="channel")
    pd.testing.assert_frame_equal(tf.backlog(orders.set_axis([1, 1, 1]), by="channel"), expected)
    pd.testing.assert_frame_equal(orders, before)


def test_an_unknown_as_of_is_now_with_a_warning():
    orders = frame({}, fetched_at=None)
    with pytest.warns(UserWarning, match="do not say when they were fetched") as caught:
        table = tf.backlog(orders)
    assert caught[0].filename == __file__
    assert table.loc["open", "n"] == 1


def test_bad_arguments_are_refused():
    orders = frame({})
    with pytest.raises(TypeError, match="orders is a list; pass the DataFrame of fetch_orders_df"):
        tf.backlog([])
    with pytest.raises(ValueError, match="lacks 'units_shipped'"):
        tf.backlog(orders.drop(columns="units_shipped"))
    with pytest.raises(
        ValueError, match=r"by='status': the result has a 'status' of its own; leave it out"
    ):
        tf.backlog(orders, by="status")
    with pytest.raises(ValueError, match="by='chanel' is not allowed"):
        tf.backlog(orders, by="chanel")
    with pytest.raises(TypeError, match="by=3 is not a column's name"):
        tf.backlog(orders, by=3)
    with pytest.raises(ValueError, match="as_of='soon' is not a moment"):
        tf.backlog(orders, as_of="soon")
    with pytest.raises(TypeError, match="'units_ordered' is object, not numbers"):
        tf.backlog(orders.assign(units_ordered=pd.Series(["5"], dtype=object)))
    with pytest.raises(TypeError, match="'created_date' is int64, not moments"):
        tf.backlog(orders.assign(created_date=1))


def test_more_groups_than_a_table_can_hold_are_refused():
    many = frame({}).iloc[np.zeros(300_000, dtype=int)].assign(number=range(300_000))
    with pytest.raises(ValueError, match="300,000 groups are more than a table can hold"):
        tf.backlog(many, by="number")
