"""The same fill rates and OTIF in plain SQL over the orders as the API gives them."""

import datetime as dt
import itertools

import pandas as pd
import pytest
from helpers import sql_reference

import trackstar_frames as tf

SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 15))]
BACK = [dt.timedelta(), dt.timedelta(days=30, hours=1)]
FREQ = {None: None, "D": "day", "W": "week", "MS": "month"}
#: Zones without summer time, by how many hours they are behind UTC.
ZONES = {0: "UTC", 5: "Etc/GMT+5", -9: "Etc/GMT-9"}
COUNTS = {
    "fill_rates": [
        *("orders", "orders_filled", "lines", "lines_filled", "units", "units_filled"),
        *("units_overshipped", "kit_units", "unmatched_units", "left_out"),
    ],
    "ship_otif": [
        *("n", "otif", "on_time", "in_full", "short", "early", "pending", "not_evaluable"),
        *("lines", "lines_filled", "units", "units_filled"),
    ],
}
RATES = {
    "fill_rates": ["unit_rate", "unmatched_share"],
    "ship_otif": ["rate", "on_time_rate", "in_full_rate", "line_rate", "unit_rate"],
}

#: How much of each order of {source}, which has a moment `until`, had shipped by then.
FILL = (
    "with judged as ({source}), "
    + sql_reference.COVERAGE.format(asked="(select id as order_id, until as moment from judged)")
    + """
, of_lines as (
    select order_id, moment, count(*) filter (wanted > 0 or units is null) as lines,
        count(*) filter (wanted > 0 and units is not null and filled = wanted) as lines_filled,
        sum(wanted) filter (slot = 'none') as nameless
    from filled_lines group by all
), of_shipped as (
    select order_id, moment, sum(got) as units_shipped,
        sum(got) filter (place = 'part') as kit_units,
        sum(got) filter (place in ('foreign', 'nameless')) as strange
    from arrived group by all
), whole as (
    select judged.* exclude (lines, units_shipped, units_overshipped),
        coalesce(l.lines, 0) as lines, coalesce(lines_filled, 0) as lines_filled, complete,
        coalesce(units, 0) as units, coalesce(units_filled, 0) as units_filled,
        coalesce(c.units_overshipped, 0) as units_overshipped,
        coalesce(s.units_shipped, 0) as units_shipped, coalesce(kit_units, 0) as kit_units,
        coalesce(nameless, 0) + coalesce(strange, 0) as unmatched_units
    from judged left join coverage c on id = c.order_id and until is not distinct from c.moment
        left join of_lines l on id = l.order_id and until is not distinct from l.moment
        left join of_shipped s on id = s.order_id and until is not distinct from s.moment
)
"""
)
#: Which orders are not asked about. Due are those that can be judged, by dates that are days in
#: UTC or moments.
NOT_ASKED = {
    "all": "false",
    "shipped": "(first_shipped_date <= $now) is not true",
    "due": """(required_ship_date is null or units_ordered is null
        or (status is not distinct from 'fulfilled' and last_shipped_date is null)
        or $now <= case when required_ship_date % 86400000000 = 0
            then required_ship_date + 86400000000 + $behind - 1 else required_ship_date end)""",
}
#: The moment of an order on the clock of its zone: an order of later makes no period.
CREATED = "case when created_date <= $now then created_date - $behind end"
WALL = {
    "all": CREATED,
    "shipped": CREATED,
    "due": """case when required_ship_date % 86400000000 = 0 then required_ship_date
        else required_ship_date - $behind end""",
}
#: Whether an order may still change the figures of its period.
IS_OPEN = """(created_date > $now is not true and status is distinct from 'cancelled'
    and complete_shipped_date <= $now is not true and not (status is not distinct from 'fulfilled'
        and complete_shipped_date is null and coalesce(last_shipped_date, 0) <= $now))"""
MAY_CHANGE = {
    "all": IS_OPEN,
    "shipped": IS_OPEN,
    "due": f"""(required_ship_date is not null and units_ordered is not null
        and status is distinct from 'cancelled' and created_date > $now is not true
        and not (status is not distinct from 'fulfilled' and last_shipped_date is null)
        and ({IS_OPEN} or {NOT_ASKED["due"]}))""",
}
RATED = """
, counted as (
    select {by} created_date > $now is true or status is not distinct from 'cancelled'
        or lines = 0 or {not_asked} as out, lines = lines_filled as all_filled,
        {may_change} as may_change, make_timestamp({wall}) as wall,
        epoch_us(date_trunc('{unit}', wall)) as period, * exclude ({held}id) from whole
), summed as (
    select {by} {period} count(*) filter (not out) as n,
        count(*) filter (all_filled and not out) as filled,
        coalesce(sum(lines) filter (not out), 0) as l,
        coalesce(sum(lines_filled) filter (not out), 0) as lf,
        coalesce(sum(units) filter (not out), 0) as u,
        coalesce(sum(units_filled) filter (not out), 0) as uf,
        coalesce(sum(units_shipped) filter (not out), 0) as us,
        coalesce(sum(units_overshipped) filter (not out), 0) as uo,
        coalesce(sum(kit_units) filter (not out), 0) as k,
        coalesce(sum(unmatched_units) filter (not out), 0) as m, count(*) filter (out) as o,
        not bool_or(may_change) as settled
    from counted {dated} group by all
)
select {by} {period} n, filled, l, lf, u, uf, uo, k, m, o, uf / nullif(u, 0), m / nullif(u + us, 0)
    {final}
from summed
"""
#: The period is over on the clock of the zone.
FINAL = """, settled and
    epoch_us(make_timestamp(period) + interval 1 {unit}) <= $now - $behind"""
#: The n of each day, and what of it is good.
BY_DAY = """
select {by} {period} wall::date as day, {n}, {good} from counted {dated} group by all
"""
OF_DAY = {
    "order": ("count(*) filter (not out)", "count(*) filter (not out and all_filled)"),
    "line": ("sum(lines) filter (not out)", "sum(lines_filled) filter (not out)"),
}
OTIF = """
, outcomes as (
    select {by} epoch_us(date_trunc('{unit}', make_timestamp(due_at - $behind))) as period,
        lines, lines_filled, units, units_filled, complete_shipped_date <= $now as is_full,
        $now > due_at + $grace
            or ($now = due_at + $grace and required_ship_date % 86400000000 = 0) as is_due, case
            when created_date > $now or status = 'cancelled' or due_at is null
                or ({short} and units_ordered is null)
                or (status = 'fulfilled' and last_shipped_date is null)
                or (not {short} and status = 'partially_fulfilled' and last_shipped_date is null)
                then 'none'
            when {event} <= due_at + $grace and {event} <= $now then 'on_time'
            when {event} <= $now then 'late'
            when {short} and status = 'fulfilled' and complete_shipped_date is null
                and last_shipped_date <= due_at + $grace and last_shipped_date <= $now then 'short'
            when {short} and status = 'fulfilled' and complete_shipped_date is null
                and last_shipped_date <= $now then 'late'
            when $now > due_at + $grace then 'late'
            when $now = due_at + $grace and required_ship_date % 86400000000 = 0 then 'late'
            else 'pending' end as outcome
    from whole
), states as (
    select * replace (case when outcome not in ('none', 'pending') and not is_due then 'early'
        else outcome end as outcome), outcome in ('on_time', 'late', 'short') and is_due as counts
    from outcomes
), summed as (
    select {by} {period} count(*) filter (counts) as n,
        count(*) filter (counts and outcome = 'on_time' and is_full) as otif,
        count(*) filter (counts and outcome = 'on_time') as t,
        count(*) filter (counts and is_full) as f,
        count(*) filter (counts and outcome = 'short') as s,
        count(*) filter (outcome = 'early') as e, count(*) filter (outcome = 'pending') as p,
        count(*) filter (outcome = 'none') as o,
        coalesce(sum(lines) filter (counts), 0)::bigint as l,
        coalesce(sum(lines_filled) filter (counts), 0)::bigint as lf,
        coalesce(sum(units) filter (counts), 0)::bigint as u,
        coalesce(sum(units_filled) filter (counts), 0)::bigint as uf
    from states {dated} group by all
)
select {by} {period} n, otif, t, f, s, e, p, o, l, lf, u, uf,
    otif / nullif(n, 0), t / nullif(n, 0), f / nullif(n, 0), lf / nullif(l, 0), uf / nullif(u, 0)
from summed
"""


def assert_is(table, measure, expected):
    """Compare the rows with orders to those of SQL; any others have n = 0."""
    counts, rates = COUNTS[measure], RATES[measure]
    known = sql_reference.keys(table.index)
    held = table[counts].sum(axis=1).to_numpy() > 0
    found = dict(zip(known, table[counts].to_numpy().tolist(), strict=True))
    found = {key: row for (key, row), some in zip(found.items(), held, strict=True) if some}
    assert found == {key: list(row[: len(counts)]) for key, row in expected.items()}
    for key, row in zip(known, table[rates].itertuples(index=False), strict=True):
        given = expected.get(key, [None] * len(counts + rates))[len(counts) :]
        assert [None if pd.isna(each) else each for each in row] == [
            None if each is None else pytest.approx(each, abs=1e-12) for each in given
        ]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_fill_rates_are_those_of_sql(seed, spoilt):
    given = spoilt(seed)
    calls = itertools.cycle(itertools.product(FREQ, NOT_ASKED, ZONES))
    calls = itertools.islice(calls, seed * 5, None)
    for (by, back), (freq, of, behind) in zip(
        itertools.product(sql_reference.BY, BACK), calls, strict=False
    ):
        moment = given.now - back
        values = {
            "now": sql_reference.micros(moment.isoformat()),
            "behind": behind * sql_reference.DAY // 24,
        }
        asked = fill_query(by, freq, of)
        more = int(freq is not None)
        table = tf.fill_rates(
            given.frames,
            by=by,
            freq=freq,
            of=of,
            policy=tf.SlaPolicy(tz=ZONES[behind]),
            as_of=moment,
        )
        expected = sql_reference.ask(given.sql, asked["sums"], by, more=more, **values)
        if freq:
            final = dict(zip(sql_reference.keys(table.index), table["final"], strict=True))
            for key, row in expected.items():
                assert final[key] == row[-1], key
            expected = {key: row[:-1] for key, row in expected.items()}
            assert table["covered"].all()
        assert_is(table, "fill_rates", expected)
        for name in OF_DAY:
            days = sql_reference.rows(given.sql, asked[name], by, **values)
            assert_rates(table, f"{name}_rate", days, len(by) + more)
        out = table.attrs["trackstar"]["fill_rates"].get("without_period", 0)
        assert (table["orders"] + table["left_out"]).sum() + out == len(given.frames.orders)
    assert table["kit_units"].sum() > 0
    assert table["unmatched_units"].sum() > 0


def fill_query(by, freq, of):
    """Return the SQL of the sums, and of the days of each rate."""
    parts = {
        "by": "{by}",
        "held": "".join(f"{name}, " for name in by),
        "not_asked": NOT_ASKED[of],
        "may_change": MAY_CHANGE[of],
        "wall": WALL[of],
        "unit": FREQ[freq] or "day",
        "period": "" if freq is None else "period, ",
        "dated": "" if freq is None else "where period is not null",
        "final": "" if freq is None else FINAL.format(unit=FREQ[freq]),
    }
    filled = FILL.format(source="select *, $now as until from lives")
    counted, rest = RATED.split(", summed as", 1)
    queries = {"sums": filled + f"{counted}, summed as{rest}".format(**parts)}
    for name, (n, good) in OF_DAY.items():
        days = BY_DAY.format(n=n, good=good, **parts)
        queries[name] = filled + counted.format(**parts) + days
    return queries


def assert_rates(table, name, days, width):
    """Compare a rate and its interval; one of nothing is null."""
    expected = sql_reference.rates_by_day(days, width)
    for key, row in zip(sql_reference.keys(table.index), table.to_dict("records"), strict=True):
        ours = [row[name], row[f"{name}_low"], row[f"{name}_high"]]
        if key not in expected:
            assert all(map(pd.isna, ours))
            continue
        assert ours == pytest.approx(expected[key][:3], abs=1e-9), key
        if name == "order_rate":
            assert row["small"] == expected[key][3]


@pytest.mark.one_of(4)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("freq", FREQ)
def test_otif_is_that_of_sql(seed, freq, spoilt):
    given = spoilt(seed)
    policies = itertools.cycle(itertools.product(BACK, ZONES, (0, 30), ("complete", "first")))
    for by, (back, behind, hours, event) in zip(
        sql_reference.BY, itertools.islice(policies, seed, None, 3), strict=False
    ):
        moment = given.now - back
        values = {
            "now": sql_reference.micros(moment.isoformat()),
            "grace": hours * sql_reference.DAY // 24,
            "behind": behind * sql_reference.DAY // 24,
        }
        query = query_of(freq, event)
        expected = sql_reference.ask(given.sql, query, by, more=int(freq is not None), **values)
        policy = tf.SlaPolicy(tz=ZONES[behind], grace=f"{hours}h", ship_event=event)
        frames = given.frames
        table = tf.ship_otif(frames, by=by, freq=freq, policy=policy, as_of=moment)
        assert_is(table, "ship_otif", expected)
        assert 0 < table["otif"].sum() < table["n"].sum()
        rates = tf.compliance_rate(frames.orders, by=by, freq=freq, policy=policy, as_of=moment)
        pd.testing.assert_index_equal(table.index, rates.index)
        shared = ["n", "on_time", "short", "early", "pending", "not_evaluable"]
        pd.testing.assert_frame_equal(table[shared], rates[shared])


def query_of(freq, event):
    """Return the SQL of when orders are due; a bare day is due at its end in its zone."""
    due = """select *, case when required_ship_date % 86400000000 = 0
        then required_ship_date + 86400000000 + $behind - 1 else required_ship_date end as due_at,
        least(due_at + $grace, $now) as until from lives"""
    short = str(event == "complete").lower()
    period, dated = ("", "") if freq is None else ("period, ", "where period is not null")
    query = OTIF.format(
        by="{by}",
        unit=FREQ[freq] or "day",
        period=period,
        dated=dated,
        event=f"{event}_shipped_date",
        short=short,
    )
    return FILL.format(source=due) + query
