import datetime as dt
import itertools
import json

import duckdb
import numpy as np
import pandas as pd
import pytest
from helpers import odd_orders, sql_reference
from statsmodels.duration.survfunc import CumIncidenceRight, SurvfuncRight

import trackstar_frames as tf
from trackstar_frames import OrderFrames
from trackstar_frames.sandbox import Sandbox

NOON = "2026-03-11T12:00:00+00:00"
COUNTS = ["n", "shipped", "open", "cancelled", "not_evaluable"]
TIMES = ["median", "p90", "shipped_median", "shipped_p90"]
ZONE = "America/New_York"
CURVE = ["time", "at_risk", "shipped", "open_share", "low", "high"]
INCIDENCE = [
    *("time", "at_risk", "shipped", "cancelled", "shipped_share", "cancelled_share"),
    *("open_share", "low", "high"),
]
STAMPS = ("created_date", "complete_shipped_date", "last_shipped_date", "updated_date")


def frame(*orders, fetched_at=NOON):
    """Build the frame of some orders, created at noon of 2026-03-01; `days` until shipped."""
    rows = []
    for given in orders:
        order = dict(given)
        row = {"status": "open", "channel": "web", "created_date": "2026-03-01T12:00:00Z"}
        if (days := order.pop("days", None)) is not None:
            shipped = (pd.Timestamp("2026-03-01T12:00Z") + pd.Timedelta(days=days)).isoformat()
            row |= {"status": "fulfilled"} | dict.fromkeys(STAMPS[1:3], shipped)
        rows.append(row | order)
    table = pd.DataFrame(rows, columns=["status", "channel", *STAMPS])
    for name in STAMPS:
        stamps = pd.to_datetime(table[name], utc=True, format="ISO8601")
        table[name] = stamps.astype("datetime64[us, UTC]")
    if fetched_at:
        table.attrs["trackstar"] = {"fetched_at": fetched_at, "connection": "a"}
    return table


def row_of(*orders, **options):
    return tf.cycle_time(frame(*orders), **options).loc[0]


def days(values):
    return [None if pd.isna(each) else each / pd.Timedelta("1D") for each in values]


def test_open_orders_move_the_median():
    shipped = [{"days": each} for each in (1, 2, 3, 4)]
    row = row_of(*shipped)
    assert days(row[TIMES]) == [2, 4, 2, 4]
    row = row_of(*shipped, {}, {})
    assert row[COUNTS].tolist() == [6, 4, 2, 0, 0]
    assert days(row[TIMES]) == [3, None, 2, 4]
    row = row_of(*shipped, *[{}] * 5)
    assert days(row[TIMES]) == [None, None, 2, 4]


def test_a_case_by_hand():
    # At the 11th: shipped after 1, 2 and 5 days, open for 3, 10 and 10.
    orders = frame(
        *({"days": each} for each in (1, 2, 5)),
        {"created_date": "2026-03-08T12:00:00Z"},
        {},
        {"status": "backordered"},
    )
    curve = tf.cycle_time_curve(orders)
    assert days(curve["time"]) == [1, 2, 5]
    assert curve["at_risk"].tolist() == [6, 5, 3]
    assert curve["shipped"].tolist() == [1, 1, 1]
    assert curve["open_share"].tolist() == pytest.approx([5 / 6, 4 / 6, 4 / 6 * 2 / 3])
    spread = np.sqrt(1 / (6 * 5) + 1 / (5 * 4) + 1 / (3 * 2))
    power = np.exp(1.959963984540054 * spread / -np.log(4 / 9))
    ends = [(4 / 9) ** power, (4 / 9) ** (1 / power)]
    assert curve.loc[2, ["low", "high"]].tolist() == pytest.approx(ends)
    assert days(tf.cycle_time(orders).loc[0, ["median", "p90"]]) == [5, None]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"created_date": "2026-03-11T12:00:01Z"}, "created_after"),
        ({"created_date": None}, "no_created_date"),
        ({"days": 3, "created_date": None}, "no_created_date"),
        ({"days": -1}, "shipped_before_created"),
        ({"status": "cancelled"}, "no_updated_date"),
        (
            {"status": "cancelled", "updated_date": "2026-02-28T12:00:00Z"},
            "cancelled_before_created",
        ),
        ({"status": "fulfilled"}, "undated"),
        ({"days": 3, "complete_shipped_date": None}, "closed_short"),
    ],
)
def test_what_cannot_be_evaluated_is_counted_and_says_why(order, reason):
    table = tf.cycle_time(frame(order))
    assert table.loc[0, COUNTS].tolist() == [0, 0, 0, 0, 1]
    assert table.loc[0, TIMES].isna().all()
    counts = table.attrs["trackstar"]["cycle_time"]["not_evaluable"]
    assert {name: n for name, n in counts.items() if n} == {reason: 1}
    assert tf.cycle_time_curve(frame(order)).empty


def cancelled(day, **more):
    return {"status": "cancelled", "updated_date": f"2026-03-{day:02}T12:00:00Z", **more}


def test_cancelled_orders_take_longer_than_until_they_were_cancelled():
    shipped = [{"days": each} for each in (1, 3, 5)]
    row = row_of(*shipped, cancelled(3))
    assert row[COUNTS].tolist() == [4, 3, 0, 1, 0]
    # By hand: 3/4, then, of the two left, 1/2 and 0; without the cancelled one, 3 and 5.
    assert days(row[TIMES]) == [3, 5, 3, 5]
    curve = tf.cycle_time_curve(frame(*shipped, cancelled(3)))
    assert curve["at_risk"].tolist() == [4, 2, 1]
    assert curve["open_share"].tolist() == [3 / 4, 3 / 8, 0]
    # Changed after as_of, it is censored there; even one that had shipped is cancelled.
    later = tf.cycle_time_curve(frame({"days": 1}, cancelled(9)), as_of="2026-03-02T12:00:00Z")
    assert later["at_risk"].tolist() == [2]
    assert row_of(cancelled(4, days=1) | {"status": "cancelled"})[COUNTS].tolist() == [
        *(1, 0, 0, 1, 0)
    ]


def test_the_reading_is_told():
    orders = frame({"days": 1}, cancelled(3))
    readings = [
        tf.cycle_time(orders),
        tf.cycle_time_curve(orders),
        tf.cycle_time_curve(orders, cancelled="competing"),
    ]
    found = [each.attrs["trackstar"]["cycle_time"]["reading"] for each in readings]
    assert found == ["if none were cancelled", "if none were cancelled", "as cancelled"]


def test_cancelling_competes_with_shipping_by_hand():
    orders = frame(*({"days": each} for each in (1, 3, 5)), cancelled(3), {})
    curve = tf.cycle_time_curve(orders, cancelled="competing")
    assert list(curve.columns) == INCIDENCE
    assert days(curve["time"]) == [1, 2, 3, 5]
    assert curve["at_risk"].tolist() == [5, 4, 3, 2]
    assert curve["shipped"].tolist() == [1, 0, 1, 1]
    assert curve["cancelled"].tolist() == [0, 1, 0, 0]
    assert curve["shipped_share"].tolist() == pytest.approx([1 / 5, 1 / 5, 2 / 5, 3 / 5])
    assert curve["cancelled_share"].tolist() == pytest.approx([0, 1 / 5, 1 / 5, 1 / 5])
    assert curve["open_share"].tolist() == pytest.approx([4 / 5, 3 / 5, 2 / 5, 1 / 5])
    assert (curve["low"] < curve["shipped_share"]).all()
    assert tf.cycle_time_curve(frame({}), cancelled="competing").empty
    with pytest.raises(ValueError, match="cancelled='dropped' is not allowed"):
        tf.cycle_time_curve(orders, cancelled="dropped")


def test_labels_name_the_groups():
    orders = frame({"days": 1}, {"days": 3, "channel": "edi"})
    names = {"web": "Shop", "fax": "Fax"}
    assert tf.cycle_time(orders, by="channel", labels=names).index.tolist() == ["edi", "Shop"]
    curve = tf.cycle_time_curve(orders, by="channel", labels=names)
    assert curve["channel"].tolist() == ["edi", "Shop"]
    with pytest.raises(ValueError, match="name that a group without a name already has: 'edi'"):
        tf.cycle_time(orders, by="channel", labels={"web": "edi"})
    with pytest.raises(ValueError, match="'Shop' for 'a' and 'b', whose rows could not be told"):
        tf.cycle_time(orders, by="channel", labels={"a": "Shop", "b": "Shop"})
    with pytest.raises(TypeError, match="is not a map from ids to names"):
        tf.cycle_time(orders, by="channel", labels=["Shop"])


def test_a_status_that_lags_behind_the_stamps_has_shipped():
    assert row_of({"days": 2, "status": "packed"})[COUNTS].tolist() == [1, 1, 0, 0, 0]
    assert row_of({"days": 0})["median"] == pd.Timedelta(0)


def test_a_past_moment_has_its_own_open_orders():
    orders = [{"days": 2}, {"days": 5}, {"days": 5, "complete_shipped_date": None}]
    row = row_of(*orders, as_of="2026-03-04T12:00:00Z")
    assert row[COUNTS].tolist() == [3, 1, 2, 0, 0]
    assert days(row[TIMES]) == [None, None, 2, 2]
    at = row_of(*orders, as_of="2026-03-06T12:00:00Z")
    assert at[COUNTS].tolist() == [2, 2, 0, 0, 1]
    before = row_of(*orders, as_of="2026-02-01")
    assert before[COUNTS].tolist() == [0, 0, 0, 0, 3]


def test_days_with_a_change_of_the_clocks_are_as_long_as_they_are():
    order = {
        "created_date": "2026-03-07T12:00:00Z",
        "complete_shipped_date": "2026-03-09T12:00:00Z",
    }
    assert row_of(order)["median"] == pd.Timedelta("48h")


def test_null_is_a_group_and_groups_without_shipped_orders_have_no_curve():
    orders = frame({"days": 1}, {"days": 3, "channel": None}, {"channel": "edi"})
    table = tf.cycle_time(orders, by="channel")
    assert table.index.name == "channel"
    assert table["n"].tolist() == [1, 1, 1]
    assert days(table["median"]) == [None, 1, 3]
    curve = tf.cycle_time_curve(orders, by=["channel", "status"])
    assert list(curve.columns) == ["channel", "status", *CURVE]
    assert curve["channel"].fillna("null").tolist() == ["web", "null"]
    assert curve["open_share"].tolist() == [0, 0]
    assert curve[["low", "high"]].isna().all(axis=None)


@pytest.mark.parametrize("backend", [None, "pyarrow"])
@pytest.mark.parametrize("by", [None, "channel", ["channel", "type"]])
def test_empty_frames_keep_columns_and_types(by, backend):
    empty = OrderFrames.from_json([], dtype_backend=backend).orders
    table, curve = (
        measure(empty, by=by, as_of=NOON) for measure in (tf.cycle_time, tf.cycle_time_curve)
    )
    assert len(table) == (0 if by else 1)
    assert list(table.columns) == [*COUNTS, *TIMES]
    assert (table[COUNTS].dtypes == "int64").all()
    assert (table[TIMES].dtypes == "timedelta64[us]").all()
    names = [by] if isinstance(by, str) else by or []
    assert list(curve.columns) == [*names, *CURVE]
    assert len(curve) == 0
    types = ["timedelta64[us]", "int64", "int64", *["float64"] * 3]
    assert curve[CURVE].dtypes.astype(str).tolist() == types


@pytest.fixture(scope="module", params=[4, 5, 6])
def seeded(request):
    with Sandbox(orders=700, seed=request.param, rate_limit=None) as sandbox:
        return tf.fetch_orders_df(client=sandbox.client(cache=False)), request.param


SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 15))]
LIVES = """
with states as (
    select *, complete_shipped_date - created_date as took, $now - created_date as age,
        case when updated_date <= $now then updated_date
            when updated_date > $now then $now end - created_date as until_cancelled,
        case when status = 'fulfilled' then coalesce(complete_shipped_date, last_shipped_date)
            else complete_shipped_date end as closed
    from data
), lives as (
    select {groups} {period} took, age, until_cancelled, case
        when created_date > $now then 'not_evaluable'
        when status = 'cancelled' then
            case when until_cancelled >= 0 then 'cancelled' else 'not_evaluable' end
        when created_date is null or took < 0 and complete_shipped_date <= $now then 'not_evaluable'
        when complete_shipped_date <= $now then 'shipped'
        when closed <= $now or (closed is null and status = 'fulfilled') then 'not_evaluable'
        else 'open' end as state
    from states
)
"""
TABLE = """
select {groups} {dated} count(*) filter (state <> 'not_evaluable'),
    count(*) filter (state = 'shipped'), count(*) filter (state = 'open'),
    count(*) filter (state = 'cancelled'), count(*) filter (state = 'not_evaluable'),
    quantile_disc(took, 0.5) filter (state = 'shipped'),
    quantile_disc(took, 0.9) filter (state = 'shipped')
from lives {where} group by all
"""
ROWS = """
select {groups} case state when 'shipped' then took when 'open' then age else until_cancelled end,
    case state when 'shipped' then 1 when 'cancelled' then 2 else 0 end
from lives where state <> 'not_evaluable'
"""


def asked(query, data, by, now, unit=None):
    """Answer for each group and, with a unit of time, each period on New York's calendar."""
    start = f"date_trunc('{unit}', timezone('{ZONE}', make_timestamptz(created_date)))"
    is_there = "created_date <= $now"
    parts = {
        "groups": "".join(f"{name}, " for name in by),
        "period": f"case when {is_there} then epoch_us({start}) end as period," if unit else "",
        "dated": "period," if unit else "",
        "where": "where period is not null" if unit else "",
    }
    connection = duckdb.connect().register("data", data)
    rows = connection.execute((LIVES + query).format(**parts), {"now": now}).fetchall()
    width = len(by) + bool(unit)
    return [(row[:width], row[width:]) for row in rows]


def micros(times):
    pairs = times.to_numpy("m8[us]").tolist()
    unit = dt.timedelta(microseconds=1)
    return [[None if each is None else each // unit for each in pair] for pair in pairs]


def keys_of(index, by):
    if not by:
        return [()] * len(index)
    keys = [key if isinstance(key, tuple) else (key,) for key in index]
    return [tuple(None if pd.isna(each) else each for each in key) for key in keys]


@pytest.mark.one_of(20)
@pytest.mark.parametrize("by", [[], ["channel"], ["warehouse_id", "type"]])
@pytest.mark.parametrize("back", [0, 3, 40])
@pytest.mark.parametrize("spoilt", [False, True])
def test_counts_are_those_of_duckdb_and_curves_those_of_statsmodels(seeded, by, back, spoilt):
    orders, seed = seeded
    orders = odd_orders.spoil(orders, seed) if spoilt else orders
    moment = pd.Timestamp(orders.attrs["trackstar"]["fetched_at"]) - pd.Timedelta(days=back)
    now = int(moment.tz_localize(None).to_datetime64().astype("M8[us]").astype(np.int64))
    data = odd_orders.table(orders, *by)

    table = tf.cycle_time(orders, by=by, as_of=moment)
    assert shown(table, by) == {key: list(row) for key, row in asked(TABLE, data, by, now)}
    assert table[["n", "not_evaluable"]].to_numpy().sum() == len(orders)
    reasons = table.attrs["trackstar"]["cycle_time"]["not_evaluable"]
    assert sum(reasons.values()) == table["not_evaluable"].sum()
    left = tf.backlog(orders, by=by, as_of=moment)
    assert table["open"].sum() == (left["n"] - left["unknown"]).sum()

    by_group = {}
    for key, life in asked(ROWS, data, by, now):
        by_group.setdefault(key, []).append(life)
    curve = tf.cycle_time_curve(orders, by=by, as_of=moment)
    groups = keys_of(curve[by].itertuples(index=False, name=None), by) if by else [()] * len(curve)
    for key, rows in by_group.items():
        mine = curve[[each == key for each in groups]]
        assert_is(mine, np.array(rows))
    assert set(groups) <= by_group.keys()

    incidence = tf.cycle_time_curve(orders, by=by, as_of=moment, cancelled="competing")
    columns = incidence[by].itertuples(index=False, name=None)
    groups = keys_of(columns, by) if by else [()] * len(incidence)
    for key, rows in by_group.items():
        mine = incidence[[each == key for each in groups]]
        assert_incidence_is(mine, np.array(rows))


def shown(table, by):
    counts, times = table[COUNTS].to_numpy().tolist(), micros(table[TIMES[2:]])
    return dict(zip(keys_of(table.index, by), map(list.__add__, counts, times), strict=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_are_those_of_sql_over_the_orders_as_they_came(seed, spoilt):
    given = spoilt(seed)
    for by, back in zip(sql_reference.BY, itertools.cycle([0, 4, 30]), strict=False):
        moment = given.now - dt.timedelta(days=back)
        expected = asked(
            TABLE, sql_reference.lives(given.sql), by, sql_reference.micros(moment.isoformat())
        )
        table = tf.cycle_time(given.frames.orders, by=by, as_of=moment)
        assert shown(table, by) == {key: list(row) for key, row in expected}
        assert (table[COUNTS].sum() > 0).all()


@pytest.mark.one_of(3)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("freq", "unit"), [("D", "day"), ("W", "week"), ("MS", "month")])
def test_periods_are_those_of_sql(seed, freq, unit, spoilt):
    given = spoilt(seed)
    orders = given.frames.orders
    policy = tf.SlaPolicy(tz=ZONE)
    for by, back in zip(sql_reference.BY, itertools.cycle([0, 4, 30]), strict=False):
        moment = given.now - dt.timedelta(days=back)
        now = sql_reference.micros(moment.isoformat())
        expected = dict(asked(TABLE, sql_reference.lives(given.sql), by, now, unit))
        table = tf.cycle_time(orders, by=by, freq=freq, policy=policy, as_of=moment)
        lengths = {"D": {"days": 1}, "W": {"weeks": 1}, "MS": {"months": 1}}[freq]
        times = micros(table[TIMES[2:]])
        counts = table[COUNTS].to_numpy().tolist()
        for key, row, final in zip(
            sql_reference.keys(table.index),
            map(list.__add__, counts, times),
            table["final"],
            strict=True,
        ):
            assert row == list(expected.pop(key, (0, 0, 0, 0, 0, None, None))), key
            end = pd.Timestamp(key[-1] * 1000) + pd.DateOffset(**lengths)
            assert final == (end.tz_localize(ZONE) <= moment and row[COUNTS.index("open")] == 0)
        assert not expected
        out = table.attrs["trackstar"]["cycle_time"]["without_period"]
        assert table[["n", "not_evaluable"]].sum().sum() + out == len(orders)
    one_week = orders[orders["created_date"] >= "2026-03-02T05:00Z"]
    one_week = one_week[one_week["created_date"] < "2026-03-09T04:00Z"]
    week = tf.cycle_time(one_week, as_of=given.now)
    weeks = tf.cycle_time(orders, freq="W", policy=policy, as_of=given.now)
    names = [*COUNTS, *TIMES]
    assert weeks.loc[["2026-03-02"], names].reset_index(drop=True).equals(week[names])


def test_periods_are_in_the_zone_of_the_policy_that_judged():
    orders = frame({"created_date": "2026-03-02T03:00:00Z"})
    orders = orders.assign(required_ship_date=orders["created_date"], units_ordered=1)
    judged = tf.ship_date_compliance(orders, tz=ZONE)
    for given, day in ((orders, "2026-03-02"), (judged, "2026-03-01")):
        assert tf.cycle_time(given, freq="D").index.tolist() == [pd.Timestamp(day)]
    table = tf.cycle_time(judged, freq="D", policy=tf.SlaPolicy(tz="UTC"))
    assert table.index.tolist() == [pd.Timestamp("2026-03-02")]


def assert_incidence_is(curve, rows):
    """Compare with statsmodels, which lists every length, and not only those of an end."""
    if not rows[:, 1].any():
        assert curve.empty
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        other = CumIncidenceRight(rows[:, 0], rows[:, 1])
    at = np.searchsorted(other.times, curve["time"].to_numpy().astype(np.int64))
    for name, share in zip(("shipped_share", "cancelled_share"), other.cinc, strict=False):
        assert curve[name].to_numpy() == pytest.approx(share[at], abs=1e-9)
    assert curve[["shipped_share", "cancelled_share", "open_share"]].sum(axis=1).to_numpy() == (
        pytest.approx(np.ones(len(curve)))
    )
    share, error = other.cinc[0][at], other.cinc_se[0][at]
    known = (share > 0) & (share < 1) & curve["low"].notna().to_numpy()
    power = np.exp(1.959963984540054 * error[known] / (share[known] * -np.log(share[known])))
    assert curve["low"].to_numpy()[known] == pytest.approx(share[known] ** power, abs=1e-7)
    assert curve["high"].to_numpy()[known] == pytest.approx(share[known] ** (1 / power), abs=1e-7)


def assert_is(curve, rows):
    rows = np.column_stack([rows[:, 0], rows[:, 1] == 1])
    if not rows[:, 1].any():
        assert curve.empty
        return
    other = SurvfuncRight(rows[:, 0], rows[:, 1])
    assert curve["time"].to_numpy().astype(np.int64).tolist() == other.surv_times.tolist()
    assert curve["at_risk"].tolist() == other.n_risk.tolist()
    assert curve["shipped"].tolist() == other.n_events.tolist()
    assert curve["open_share"].to_numpy() == pytest.approx(other.surv_prob, abs=1e-9)


def test_attrs_go_through_json_and_keep_the_provenance():
    orders = frame({"days": 1}, {})
    for measure in (tf.cycle_time, tf.cycle_time_curve):
        attrs = measure(orders).attrs
        assert json.loads(json.dumps(attrs)) == attrs
        assert attrs["trackstar"]["connection"] == "a"
        assert attrs["trackstar"]["cycle_time"]["as_of"] == NOON
    assert "cycle_time" not in orders.attrs["trackstar"]


def test_any_index_does_and_orders_stay_as_they_are():
    orders = frame({"days": 1}, {"channel": "edi"}, {"days": 2})
    before = orders.copy()
    odd = orders.set_axis([1, 1, 1])
    for measure in (tf.cycle_time, tf.cycle_time_curve):
        expected = measure(orders, by="channel")
        pd.testing.assert_frame_equal(measure(odd, by="channel"), expected)
    pd.testing.assert_frame_equal(orders, before)


@pytest.mark.parametrize("measure", [tf.cycle_time, tf.cycle_time_curve])
def test_an_unknown_as_of_is_now_with_a_warning(measure):
    with pytest.warns(UserWarning, match="do not say when they were fetched") as caught:
        measure(frame({"days": 1}, fetched_at=None))
    assert caught[0].filename == __file__


@pytest.mark.parametrize("measure", [tf.cycle_time, tf.cycle_time_curve])
def test_bad_arguments_are_refused(measure):
    orders = frame({"days": 1})
    with pytest.raises(TypeError, match="orders is a NoneType; pass the DataFrame"):
        measure(None)
    with pytest.raises(ValueError, match="lacks 'last_shipped_date'"):
        measure(orders.drop(columns="last_shipped_date"))
    with pytest.raises(ValueError, match="by='x' is not allowed"):
        measure(orders, by="x")
    with pytest.raises(TypeError, match="as_of=3 is not a moment"):
        measure(orders, as_of=3)
    with pytest.raises(TypeError, match="'created_date' is int64, not moments"):
        measure(orders.assign(created_date=1))


def test_a_group_named_as_the_curve_has_it_is_refused():
    orders = frame({"days": 1}).assign(time="noon")
    with pytest.raises(ValueError, match=r"by='time': the result has a 'time' of its own"):
        tf.cycle_time_curve(orders, by="time")
    assert tf.cycle_time(orders, by="time")["n"].tolist() == [1]
