"""What a manager asks for next, once more in plain SQL, written from the definitions.

Nothing of the package makes the rows, the ship events, the due times or the sums of that side.
"""

import datetime as dt
import random

import numpy as np
import pandas as pd
import pytest
from helpers import manager_reference as reference
from helpers import sql_reference
from helpers.manager_reference import DAY, HOUR, clock
from helpers.marks import sample
from helpers.sql_reference import ask, keys

import trackstar_frames as tf
from trackstar_frames.sandbox import Sandbox

NOW = dt.datetime(2026, 3, 11, 15, tzinfo=dt.UTC)
ZONE = "America/New_York"  # its clocks go forward on 8 March
POLICY = tf.SlaPolicy(tz=ZONE, grace="2h")
BY = [(), ("warehouse_id",), ("channel",), ("type", "warehouse_id")]
SEEDS = sample(range(4), 2)
MICROS = int(NOW.timestamp()) * 1_000_000

#: The end of the time in which an order is in time: a day ends with the next local midnight.
DUE = f"""
create or replace table due as
select lives.*, required_ship_date % {DAY} = 0 as is_day, 2 * {HOUR} + case
    when required_ship_date % {DAY} = 0 then epoch_us(timezone('{ZONE}',
        make_timestamp(required_ship_date + {DAY})))
    else required_ship_date end as ends
from lives;
create or replace table states as
select due.*, case
    when created_date > {MICROS} then 'later'
    when status = 'cancelled' then 'cancelled'
    when complete_shipped_date <= {MICROS} then 'closed'
    when status = 'fulfilled' and complete_shipped_date is null and last_shipped_date is null
        then 'undated'
    when status = 'fulfilled' and complete_shipped_date is null and last_shipped_date <= {MICROS}
        then case when units_ordered is null then 'unknown' else 'short' end
    else 'open' end as state
from due;
create or replace view gone as select shipments.* exclude (warehouse_id) from shipments
where status is distinct from 'cancelled' and shipped <= {MICROS};
"""


def made_up(seed):
    """Make orders, and spoil some."""
    with Sandbox(orders=400, seed=seed, now=NOW, days=40, rate_limit=None) as sandbox:
        orders = [dict(order) for order in sandbox.orders]
    rng = random.Random(seed)
    for order in orders:
        for name in ("warehouse_id", "required_ship_date", "created_date", "channel"):
            if rng.random() < 0.03:
                order[name] = None
        if rng.random() < 0.15:
            statuses = ["backordered", "exception", "cancelled", "fulfilled", "other"]
            order["status"] = rng.choice(statuses)
        if rng.random() < 0.1:
            order["shipments"] = []
    return orders


@pytest.fixture(scope="module", params=SEEDS)
def case(request):
    orders = made_up(request.param)
    database = reference.load(orders)
    database.execute(DUE)
    return tf.OrderFrames.from_json(orders), database


def assert_same(table, expected, columns, *, empty=False):
    """Compare rows; with `empty`, those that SQL does not list are zeros."""
    found = dict(zip(keys(table.index), table[columns].itertuples(index=False), strict=True))
    assert set(expected) <= set(found)
    for key, row in found.items():
        if key not in expected:
            assert empty, key
            assert not any(each for each in row if not pd.isna(each)), key
            continue
        for name, ours, theirs in zip(columns, row, expected[key], strict=True):
            expected_value = theirs if theirs is None else pytest.approx(theirs)
            assert (None if pd.isna(ours) else ours) == expected_value, (key, name)


@pytest.mark.one_of(3)
@pytest.mark.parametrize("by", BY)
def test_due_next(case, by):
    frames, database = case
    table = tf.due_next(frames.orders, by=list(by) or None, policy=POLICY, as_of=NOW)
    query = f"""
    with timed as (select *, (ends - {MICROS}) / {HOUR}.0 as hours,
        (ends < {MICROS} or (is_day and ends <= {MICROS})) as overdue from states
        where state = 'open')
    select {{by}} case when hours is null then 'unknown'
        when overdue then case when hours < -168 then '> 7 d overdue'
            when hours <= -72 then '3-7 d overdue' when hours <= -24 then '1-3 d overdue'
            else '< 1 d overdue' end
        when hours < 4 then '0-4 h' when hours < 12 then '4-12 h' when hours < 24 then '12-24 h'
        when hours < 48 then '24-48 h' else 'later' end as due,
        count(*), count(*) filter (status = 'open'), count(*) filter (status = 'backordered'),
        count(*) filter (status is null)
    from timed group by all"""
    table["(none)"] = table.get("(none)", 0)
    columns = ["n", "open", "backordered", "(none)"]
    assert_same(table, ask(database, query, by, more=1), columns, empty=True)


@pytest.mark.parametrize("by", BY)
def test_what_is_due_next_is_the_backlog_and_what_is_overdue_is_late(case, by):
    frames, _ = case
    names = list(by) or None
    table = tf.due_next(frames.orders, by=names, policy=POLICY, as_of=NOW)
    backlog = tf.backlog(frames.orders, by=names, as_of=NOW)
    assert table[["n", "units_left", "units_unknown"]].sum().tolist() == (
        backlog[["n", "units", "units_unknown"]].sum().tolist()
    )
    overdue = table[table.index.get_level_values("due").str.contains("overdue")]
    judged = tf.ship_date_compliance(frames.orders, POLICY, as_of=NOW)
    known = judged["reason"] == "quantity unknown"
    assert overdue["n"].sum() >= (judged["outcome"] == "late_open").sum()
    assert overdue["n"].sum() <= ((judged["outcome"] == "late_open") | known).sum()


def rates_of(database, source, n, good, *, by, freq):
    """Give a rate, its interval over local days of creation, and whether n is small, by SQL."""
    wall = clock("created_date", ZONE)
    period = f"epoch_us(date_trunc('week', {wall})) as period," if freq else ""
    query = f"""with given as ({source}) select {{by}} {period} {wall}::date as day, {n}, {good}
    from given {"where created_date is not null" if freq else ""} group by all"""
    rows = sql_reference.rows(database, query, by)
    return sql_reference.rates_by_day(rows, len(by) + bool(freq))


def assert_rates(table, database, source, rates, *, by, freq):
    """Compare the rates, given by their n and what of it is good, and which rows are small."""
    of_all = rates_of(database, source, "count(*)", "count(*)", by=by, freq=freq)
    small = [of_all.get(key, (None, None, None, True))[3] for key in keys(table.index)]
    assert table["small"].tolist() == small
    for name, (n, good) in rates.items():
        expected = rates_of(database, source, n, good, by=by, freq=freq)
        ours = table[[f"{name}_{word}" for word in ("rate", "rate_low", "rate_high")]].to_numpy()
        theirs = [expected.get(key, [np.nan] * 4)[:3] for key in keys(table.index)]
        np.testing.assert_allclose(ours, theirs, atol=1e-9, err_msg=name)


def assert_final(table, database, may_change, by):
    """Compare which weeks are over, and without an order that may change their figures."""
    wall = clock("created_date", ZONE)
    query = f"""select {{by}} epoch_us(date_trunc('week', {wall})) as period,
        count(*) filter ({may_change}) from states
    where state <> 'later' and created_date is not null group by all"""
    pending = ask(database, query, by, more=1)
    for key, final in zip(keys(table.index), table["final"], strict=True):
        end = pd.Timestamp(key[-1] * 1000) + pd.DateOffset(weeks=1)
        is_over = end.tz_localize(ZONE) <= pd.Timestamp(NOW)
        assert final == (is_over and pending.get(key, (0,))[0] == 0), key
    assert table["covered"].all()
    assert set(table["final"]) == {True, False}


@pytest.mark.one_of(4)
@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("freq", [None, "W"])
def test_failure_rates(case, by, freq):
    frames, database = case
    table = tf.failure_rates(
        frames.orders, by=list(by) or None, freq=freq, policy=POLICY, as_of=NOW
    )
    wall = clock("created_date", ZONE)
    period = f"epoch_us(date_trunc('week', {wall})) as period," if freq else ""
    query = f"""
    with counted as (select {{by}} {period} count(*) as created,
        count(*) filter (state = 'cancelled') as cancelled,
        count(*) filter (state = 'cancelled' and least(updated_date, {MICROS}) >= ends) as late,
        count(*) filter (state in ('closed', 'short')) as closed,
        count(*) filter (state = 'short') as short,
        count(*) filter (state = 'open') as open,
        count(*) filter (state = 'open' and status = 'backordered') as backordered,
        count(*) filter (state = 'open' and status = 'exception') as exception,
        count(*) filter (state in ('undated', 'unknown')) as unknown
        from states where state <> 'later' {"and created_date is not null" if freq else ""}
        group by all)
    select *, cancelled / nullif(created, 0), late / nullif(created, 0),
        short / nullif(closed, 0), backordered / nullif(open, 0), exception / nullif(open, 0)
    from counted"""
    columns = [
        *("created", "cancelled", "cancelled_after_due", "closed", "short_closed", "open"),
        *("backordered", "exception", "unknown", "cancelled_rate", "cancelled_after_due_rate"),
        *("short_closed_rate", "backordered_rate", "exception_rate"),
    ]
    expected = ask(database, query, by, more=1 if freq else 0)
    assert_same(table, expected, columns, empty=bool(freq))
    counts = {
        name: f"count(*) filter ({condition})"
        for name, condition in {
            "cancelled": "state = 'cancelled'",
            "cancelled_after_due": f"state = 'cancelled' and least(updated_date, {MICROS}) >= ends",
            "closed": "state in ('closed', 'short')",
            "short_closed": "state = 'short'",
            "open": "state = 'open'",
            "backordered": "state = 'open' and status = 'backordered'",
            "exception": "state = 'open' and status = 'exception'",
        }.items()
    }
    rates = {
        name: (counts.get(whole, "count(*)"), counts[name])
        for name, whole in (
            *(("cancelled", "created"), ("cancelled_after_due", "created")),
            *(("short_closed", "closed"), ("backordered", "open"), ("exception", "open")),
        )
    }
    source = "select * from states where state <> 'later'"
    assert_rates(table, database, source, rates, by=by, freq=freq)
    if freq:
        assert_final(table, database, "state = 'open'", by)
    where = "and created_date is not null" if freq else ""
    query = f"""select count(*) filter (units_ordered is null),
        count(*) filter (units_ordered is not null) from states
        where state in ('undated', 'unknown') {where}"""
    units, stamps = database.execute(query).fetchone()
    assert table.attrs["trackstar"]["failure_rates"]["unknown"] == {
        "quantity unknown": units,
        "shipped without a usable stamp": stamps,
    }
    assert table["unknown"].sum() == units + stamps > 0


@pytest.mark.one_of(4)
@pytest.mark.parametrize("by", BY[:3])
@pytest.mark.parametrize("freq", ["D", "MS"])
def test_throughput(case, by, freq):
    frames, database = case
    table = tf.throughput(frames, by=list(by) or None, freq=freq, policy=POLICY, as_of=NOW)
    unit = {"D": "day", "MS": "month"}[freq]
    grouped = "".join(f"{name}, " for name in by)
    events = f"""
    select {grouped} created_date as moment, 'received' as what, 1 as amount from states
        where state <> 'later'
    union all select {grouped} complete_shipped_date, 'orders', 1 from lives
    union all select {grouped} shipped, 'lines', 1 from gone join shipped_lines l
        using (order_id, shipment) join lives on id = order_id
    union all select {grouped} shipped, 'units', coalesce(units, 0) from gone
        join shipped_lines l using (order_id, shipment) join lives on id = order_id
    union all select {grouped} shipped, 'packages', 1 from gone join packages p
        using (order_id, shipment) join lives on id = order_id"""
    sums = ", ".join(
        f"coalesce(sum(amount) filter (what = '{name}'), 0)"
        for name in ("orders", "lines", "units", "packages", "received")
    )
    start = f"epoch_us(date_trunc('{unit}', {clock('moment', ZONE)}))"
    query = f"""select {{by}} {start} as period, {sums}
    from ({events}) where moment <= {MICROS} group by all"""
    columns = ["orders", "lines", "units", "packages", "received"]
    assert_same(table, ask(database, query, by, more=1), columns, empty=True)


@pytest.mark.one_of(3)
@pytest.mark.parametrize("by", BY[:3])
def test_open_at_the_end_of_each_day(case, by):
    frames, database = case
    table = tf.throughput(frames, by=list(by) or None, policy=POLICY, as_of=NOW)
    days = sorted(set(table.index.get_level_values("period")))
    ends = [min(MICROS, _end(day)) for day in days]
    rows = ", ".join(f"({each.value // 1000}, {end})" for each, end in zip(days, ends, strict=True))
    query = f"""select {{by}} period, count(*) from (values {rows}) as days(period, ending),
    (select *, case when complete_shipped_date is not null then complete_shipped_date
        when state = 'short' or state = 'unknown' then last_shipped_date end as closed from states)
    where state not in ('later', 'cancelled', 'undated')
        and (created_date is null or created_date <= ending - (ending < {MICROS})::int)
        and (closed is null or closed >= ending + (ending = {MICROS})::int)
        and (created_date is null or closed is null or closed > created_date)
    group by all"""
    assert_same(table, ask(database, query, by, more=1), ["open"], empty=True)
    assert table.groupby(level="period")["open"].sum().iloc[-1] == (
        tf.backlog(frames.orders, as_of=NOW)["n"].sum()
    )


def _end(day):
    following = (day + pd.Timedelta(days=1)).tz_localize(ZONE)
    return following.value // 1000


@pytest.mark.parametrize("profile", ["hour", "weekday"])
def test_a_profile_adds_up_the_periods(case, profile):
    frames, database = case
    table = tf.throughput(frames, freq=profile, policy=POLICY, as_of=NOW)
    part = {"hour": "hour", "weekday": "isodow"}[profile]
    wall = clock("shipped", ZONE)
    query = f"""select {part}({wall}) as place, count(*) from gone join packages
    using (order_id, shipment) group by all"""
    found = dict(database.execute(query).fetchall())
    first = 0 if profile == "hour" else 1
    assert table["packages"].tolist() == [found.get(first + n, 0) for n in range(len(table))]
    assert len(table) == {"hour": 24, "weekday": 7}[profile]
    days = tf.throughput(frames, policy=POLICY, as_of=NOW)
    flows = ["orders", "lines", "units", "packages", "received"]
    assert table[flows].sum().tolist() == days[flows].sum().tolist()
    if profile == "weekday":
        assert table["days"].sum() == len(days)
        means = days["open"].groupby(days.index.day_of_week).mean()
        np.testing.assert_allclose(table["open"], means)


@pytest.mark.one_of(8)
@pytest.mark.parametrize(("event", "freq"), [("first", None), ("complete", None), ("first", "W")])
@pytest.mark.parametrize("by", BY)
def test_service_profile(case, by, event, freq):
    frames, database = case
    policy = tf.SlaPolicy(tz=ZONE, ship_event=event)
    table = tf.service_profile(frames, by=list(by) or None, freq=freq, policy=policy, as_of=NOW)
    received = clock("created_date", ZONE)
    shipped, now = clock("event", ZONE), clock(MICROS, ZONE)
    done = "('fulfilled', 'partially_fulfilled')" if event == "first" else "('fulfilled')"
    short = "and (last_shipped_date is null or units_ordered is null)" if event != "first" else ""
    morning = f"""usable and {received}::time < time '12:00'
            and {received}::date < {now}::date"""
    days = {
        "same_day": (
            f"count(*) filter ({morning})",
            f"count(*) filter ({morning} and {shipped}::date <= {received}::date)",
        )
    }
    for hours in (24, 48):
        is_over = f"created_date + {hours} * {HOUR} <= {MICROS} and usable"
        within = f"{is_over} and event <= created_date + {hours} * {HOUR}"
        days[f"within_{hours}h"] = (
            f"count(*) filter ({is_over})",
            f"count(*) filter ({within})",
        )
    speeds = "".join(f"{n}, {good}, " for n, good in days.values())
    period = f"epoch_us(date_trunc('week', {received})) as period," if freq else ""
    source = f"""
    with pieces as (select order_id, count(*) as sent from gone group by all),
    boxes as (select order_id, count(*) as boxes, count(*) filter (tracked) as tracked
        from gone join packages using (order_id, shipment) group by all),
    timed as (select states.*, sent, coalesce(boxes, 0) as boxes, coalesce(tracked, 0) as tracked,
        (select count(*) from line_items l where l.order_id = id) as ordered_lines,
        case when {event}_shipped_date <= {MICROS} then {event}_shipped_date end as event,
        coalesce(not (event is null and status in {done} {short}), true) as usable
        from states left join pieces on pieces.order_id = id left join boxes
            on boxes.order_id = id
        where state not in ('later', 'cancelled')
            {"and created_date is not null" if freq else ""})"""
    query = f"""{source}
    select {{by}} {period} count(*), {speeds} count(sent), count(*) filter (sent > 1),
        sum(boxes), sum(tracked), count(*) filter (sent > 1) / nullif(count(sent), 0),
        sum(boxes) / nullif(count(sent), 0), sum(ordered_lines) / count(*),
        sum(units_ordered) / nullif(count(units_ordered), 0)
    from timed group by all"""
    columns = [
        *("n", "same_day_n", "same_day", "within_24h_n", "within_24h", "within_48h_n"),
        *("within_48h", "shipped", "split", "packages", "tracked", "split_rate"),
        *("packages_per_order", "lines_per_order", "units_per_order"),
    ]
    assert_same(table, ask(database, query, by, more=int(bool(freq))), columns, empty=True)
    rates = {
        **days,
        "split": ("count(sent)", "count(*) filter (sent > 1)"),
        "tracked": ("sum(boxes)", "sum(tracked)"),
    }
    assert_rates(table, database, f"{source} select * from timed", rates, by=by, freq=freq)
    if freq:
        young = (
            f"state <> 'cancelled' and (state = 'open' or created_date + 48 * {HOUR} > {MICROS})"
        )
        assert_final(table, database, young, by)


COSTS = """
with inside as (select order_id, shipment, package, sum(coalesce(units, 0)) as units
    from packed_lines group by all),
only_one as (select order_id, shipment from packages group by all having count(*) = 1),
whole as (select order_id, shipment, sum(coalesce(units, 0)) as units
    from shipped_lines group by all),
each as (select p.*, m.currency, m.state, o.warehouse_id, shipped, coalesce(i.units,
        case when one.order_id is not null then coalesce(w.units, 0) end) as units
    from packages p join gone using (order_id, shipment) join more m using (order_id)
    join orders o on o.id = p.order_id
    left join inside i using (order_id, shipment, package)
    left join only_one one using (order_id, shipment)
    left join whole w using (order_id, shipment))
select {by} currency, count(*), count(cost), count(cost) / count(*),
    count(distinct order_id) filter (cost is not null), coalesce(sum(cost), 0),
    sum(cost) / nullif(count(distinct order_id) filter (cost is not null), 0), avg(cost),
    sum(cost) filter (units > 0) / sum(units) filter (cost is not null and units > 0),
    sum(cost) filter (kg > 0) / sum(kg) filter (cost is not null and kg > 0)
from each group by all
"""


@pytest.mark.one_of(3)
@pytest.mark.parametrize("by", [(), ("carrier_name",), ("state",), ("warehouse_id",)])
def test_shipping_costs(case, by):
    frames, database = case
    names = ["ship_to_address_state" if name == "state" else name for name in by]
    table = tf.shipping_costs(frames, by=names or None, as_of=NOW)
    columns = [
        *("packages", "packages_with_cost", "share_with_cost", "orders", "cost", "per_order"),
        *("per_package", "per_unit", "per_kg"),
    ]
    assert_same(table, ask(database, COSTS, by, more=1), columns)


def test_scorecard(case):
    frames, _ = case
    policy = tf.SlaPolicy(tz=ZONE, target=0.9)
    card = tf.sla_scorecard(frames.orders, by="channel", policy=policy, as_of=NOW)
    rates = tf.compliance_rate(frames.orders, by="channel", freq="MS", policy=policy, as_of=NOW)
    assert card[["n", "rate", "rate_low"]].equals(rates[["n", "rate", "rate_low"]])
    last = {}
    for (key, row), of in zip(card.iterrows(), rates.to_dict("records"), strict=True):
        channel = None if pd.isna(key[0]) else key[0]
        late, low, high = of["n"] - of["on_time"], of["rate_low"], of["rate_high"]
        assert row["target"] == pytest.approx(0.9)
        assert row["over_allowance"] == max(0, late - of["n"] // 10)
        if of["n"]:
            expected = "met" if low >= 0.9 else "missed" if high < 0.9 else "undecided"
            assert row["verdict"] == expected
        else:
            assert pd.isna(row["verdict"])
        change = of["rate"] - last.get(channel, np.nan)
        assert row["change"] == pytest.approx(change, nan_ok=True)
        last[channel] = of["rate"]
