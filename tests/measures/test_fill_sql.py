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
        *("units_shipped", "kit_units", "unmatched_units", "left_out"),
    ],
    "ship_otif": ["n", "otif", "on_time", "in_full", "short", "pending", "not_evaluable"],
}
RATES = {
    "fill_rates": [
        *("order_rate", "order_rate_low", "order_rate_high"),
        *("line_rate", "line_rate_low", "line_rate_high", "unit_rate", "unmatched_share"),
    ],
    "ship_otif": ["rate", "rate_low", "rate_high"],
}

#: How much of each order of {source} had shipped by {until}, matched by sku, then by kit.
FILL = """
with judged as (select *, {until} as until from {source}), sent as (
    select p.*,
        case when s.shipped <= j.until then coalesce(p.units, 0) else 0 end as got,
        exists (from line_items l where l.order_id = p.order_id and l.product_id = p.kit) as of_kit,
        exists (from line_items l where l.order_id = p.order_id and l.sku = p.sku) as of_sku
    from shipped_lines p join live s using (order_id, shipment) join judged j on j.id = p.order_id
), parts as (
    select order_id, kit, coalesce(sku, item) as part, sum(got) as got
    from sent where of_kit group by all
), kits as (
    select order_id, kit as product_id, min(got) as made from parts group by all
), skus as (
    select order_id, sku, sum(got) as sent from sent where of_sku and not of_kit group by all
), wanting as (
    select *, coalesce(units, 0) as wanted from line_items where units is null or units > 0
), by_sku as (
    select wanting.*, greatest(0, least(wanted, coalesce(sent, 0) + wanted - sum(wanted) over (
        partition by order_id, sku order by line))) as first
    from wanting left join skus using (order_id, sku)
), by_kit as (
    select by_sku.*, made, greatest(0, least(wanted - first, coalesce(made, 0) + wanted - first
        - sum(wanted - first) over (partition by order_id, product_id order by line))) as second
    from by_sku left join kits using (order_id, product_id)
), filled as (
    select order_id, count(*) as lines, sum(wanted) as units, sum(first + second) as units_filled,
        count(*) filter (units = first + second) as lines_filled,
        sum(wanted) filter (sku is null and made is null) as nameless
    from by_kit group by all
), shipped as (
    select order_id, sum(got) as units_shipped, sum(got) filter (kit is not null) as kit_units,
        sum(got) filter (not of_kit and not of_sku) as strange
    from sent group by all
), undated as (
    select order_id, count(*) filter (shipped is null) as undated from live group by all
), whole as (
    select judged.* exclude (lines, units_shipped), coalesce(f.lines, 0) as lines,
        coalesce(lines_filled, 0) as lines_filled, coalesce(units, 0) as units,
        coalesce(units_filled, 0) as units_filled, coalesce(s.units_shipped, 0) as units_shipped,
        coalesce(kit_units, 0) as kit_units, coalesce(undated, 0) as undated,
        coalesce(nameless, 0) + coalesce(strange, 0) as unmatched_units
    from judged left join filled f on id = f.order_id left join shipped s on id = s.order_id
        left join undated u on id = u.order_id
)
"""
RATED = """
, counted as (
    select {by} created_date > $now is true or status is not distinct from 'cancelled'
        or lines = 0 as out, lines = lines_filled as all_filled, * exclude ({held}id) from whole
), summed as (
    select {by} count(*) filter (not out) as n, count(*) filter (all_filled and not out) as filled,
        coalesce(sum(lines) filter (not out), 0) as l,
        coalesce(sum(lines_filled) filter (not out), 0) as lf,
        coalesce(sum(units) filter (not out), 0) as u,
        coalesce(sum(units_filled) filter (not out), 0) as uf,
        coalesce(sum(units_shipped) filter (not out), 0) as us,
        coalesce(sum(kit_units) filter (not out), 0) as k,
        coalesce(sum(unmatched_units) filter (not out), 0) as m, count(*) filter (out) as o
    from counted group by all
)
select {by} n, filled, l, lf, u, uf, us, k, m, o, {orders}, {lines},
    uf / nullif(u, 0), m / nullif(u + us, 0)
from summed
"""
OTIF = """
, outcomes as (
    select {by} epoch_us(date_trunc('{unit}', make_timestamp(due_at - $behind)))
        as period, lines, undated,
        lines = lines_filled as all_filled, case
            when created_date > $now or status = 'cancelled' or due_at is null then 'none'
            when status = 'fulfilled' and complete_shipped_date is null
                and last_shipped_date <= $now then 'short'
            when status = 'fulfilled' and complete_shipped_date is null
                and last_shipped_date is null then 'none'
            when complete_shipped_date <= until then 'on_time'
            when complete_shipped_date <= $now then 'late'
            when $now > due_at + $grace then 'late' else 'pending' end as outcome
    from whole
), states as (
    select * replace (case when lines = 0 or (outcome = 'short' and undated > 0) then 'none'
        else outcome end as outcome)
    from outcomes
), summed as (
    select {by} {period} count(*) filter (outcome in ('on_time', 'late', 'short')) as n,
        count(*) filter (outcome = 'on_time' and all_filled) as otif,
        count(*) filter (outcome = 'on_time') as t,
        count(*) filter (outcome in ('on_time', 'late') and all_filled) as f,
        count(*) filter (outcome = 'short') as s, count(*) filter (outcome = 'pending') as p,
        count(*) filter (outcome = 'none') as o
    from states group by all
)
select {by} {period} n, otif, t, f, s, p, o, {rate} from summed
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


@pytest.mark.parametrize("seed", SEEDS)
def test_fill_rates_are_those_of_sql(seed, spoilt):
    given = spoilt(seed)
    wilson = {
        name: ", ".join(sql_reference.wilson(part, n))
        for name, part, n in (("orders", "filled", "n"), ("lines", "lf", "l"))
    }
    for by, back in zip(sql_reference.BY, itertools.cycle(BACK), strict=False):
        moment = given.now - back
        held = "".join(f"{name}, " for name in by)
        rated = RATED.format(by="{by}", held=held, **wilson)
        query = FILL.format(until="$now", source="lives") + rated
        expected = sql_reference.ask(
            given.sql, query, by, now=sql_reference.micros(moment.isoformat())
        )
        table = tf.fill_rates(given.frames, by, as_of=moment)
        assert_is(table, "fill_rates", expected)
        assert (table["orders"] + table["left_out"]).sum() == len(given.frames.orders)
    assert table["kit_units"].sum() > 0
    assert table["unmatched_units"].sum() > 0


@pytest.mark.one_of(4)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("freq", FREQ)
def test_otif_is_that_of_sql(seed, freq, spoilt):
    given = spoilt(seed)
    policies = itertools.cycle(itertools.product(BACK, ZONES, (0, 30)))
    for by, (back, behind, hours) in zip(
        sql_reference.BY, itertools.islice(policies, seed, None), strict=False
    ):
        moment, grace = given.now - back, f"{hours}h"
        query = query_of(freq)
        values = {
            "now": sql_reference.micros(moment.isoformat()),
            "grace": hours * sql_reference.DAY // 24,
            "behind": behind * sql_reference.DAY // 24,
        }
        expected = sql_reference.ask(given.sql, query, by, more=int(freq is not None), **values)
        table = tf.ship_otif(given.frames, by, freq, as_of=moment, tz=ZONES[behind], grace=grace)
        assert_is(table, "ship_otif", expected)
        assert table["short"].sum() > 0
        assert 0 < table["otif"].sum() < table["n"].sum()


def query_of(freq):
    """Return the SQL of when orders are due; a bare day is due at its end in its zone."""
    due = """(select *, case when required_ship_date % 86400000000 = 0
        then required_ship_date + 86400000000 + $behind - 1 else required_ship_date end as due_at
        from lives)"""
    until = "least(due_at + $grace, $now)"
    fill = FILL.format(until=until, source=due)
    rate = ", ".join(sql_reference.wilson("otif", "n"))
    period = "" if freq is None else "period, "
    return fill + OTIF.format(by="{by}", unit=FREQ[freq] or "day", period=period, rate=rate)
