"""Every count and rate of the policies once more, in plain SQL over the orders' own JSON.

Nothing of the package makes the rows, the ship events, the due times or the rates of that side;
its clocks are DuckDB's, which are those of ICU.
"""

import datetime as dt
import random
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from helpers import sql_reference
from helpers.marks import sample
from holidays import country_holidays

from trackstar_frames import OrderFrames, SlaPolicy, compliance_rate, ship_date_compliance
from trackstar_frames.measures import OUTCOMES
from trackstar_frames.sandbox import Sandbox

JUDGED = (Path(__file__).parent.parent / "helpers" / "compliance.sql").read_text()
BY = ["warehouse_id", "warehouse_customer_id", "carrier_name", "channel", "type", "status"]
FREQ = {"D": "day", "W": "week", "MS": "month"}
PRESETS = [
    SlaPolicy.on_time_shipment(),
    SlaPolicy.on_time_shipment(grace="3h", exclude_statuses=["exception", "other"]),
    SlaPolicy.late_shipment_rate(),
    SlaPolicy.late_shipment_rate(window="10D", tz="America/Los_Angeles"),
    SlaPolicy.d2c_noon_cut_off(),
    SlaPolicy.b2b_four_business_days(),
]
FEDERAL = country_holidays("US", years=range(2024, 2030), observed=True)
SIX = ("New Year's", "Memorial", "Independence", "Labor", "Thanksgiving", "Christmas")
#: Carriers observe a Sunday's holiday on the Monday, and a Saturday's on no Friday.
CALENDARS = {
    "carriers-US": [
        day
        for day, name in FEDERAL.items()
        if name.startswith(SIX) and not ("observed" in name and day.isoweekday() == 5)
    ],
}
#: Ends of the years' halves in which clocks go on and back.
NOWS = [dt.datetime(2026, 5, 20, 15, tzinfo=dt.UTC), dt.datetime(2026, 12, 28, 15, tzinfo=dt.UTC)]
RATED = """
with counted as (
    select
        {keys}
        count(*) filter (is_due) as n,
        count(distinct cast(due_wall as date)) filter (is_due) as days,
        count(*) filter (outcome in ('on_time', 'short') and not is_due) as early,
        {counts}
    from judged
    {where}
    group by all
)
select *, on_time / nullif(n, 0) as rate, n < 30 or days < 4 as small from counted
"""
COUNTS = ["n", *OUTCOMES[:4], "early", *OUTCOMES[4:]]
FIGURES = [*COUNTS, "rate", "small"]


def made_up(seed):
    """Make orders, and spoil some, so that every outcome and reason occurs."""
    now = NOWS[seed % 2]
    with Sandbox(orders=450, seed=seed, now=now, days=170, rate_limit=None) as sandbox:
        orders = [dict(order) for order in sandbox.orders]
    rng = random.Random(seed)
    for order in orders:
        for name in ("warehouse_id", "required_ship_date", "created_date", "channel"):
            if rng.random() < 0.03:
                order[name] = None
        if rng.random() < 0.1:
            statuses = ["backordered", "exception", "fulfilled", "partially_fulfilled", "other"]
            order["status"] = rng.choice(statuses)
        elif order["status"] == "fulfilled" and order["shipments"] and rng.random() < 0.1:
            first, *rest = order["shipments"]
            order["shipments"] = [first | {"line_items": first["line_items"][1:]}, *rest]
    return orders, now


def judge(database, policy, as_of):
    """Judge in SQL, with the policy in tables."""
    maps = isinstance(policy.tz, dict)
    ids = [
        row[0] for row in database.execute("select distinct warehouse_id from orders").fetchall()
    ]
    zones = [(key, policy.tz.get(key, policy.tz.get(None)) if maps else policy.tz) for key in ids]
    off = [day for code in policy.holidays for day in CALENDARS[code]]
    window = None if policy.window is None else pd.Timedelta(policy.window).to_pytimedelta()
    database.execute("create or replace table zones (warehouse_id text, zone text)")
    database.executemany("insert into zones values (?, ?)", zones)
    database.execute("create or replace table holidays (day date)")
    for day in off:
        database.execute("insert into holidays values (?)", [day])
    database.execute(
        "create or replace table policy as select ?::timestamp as as_of, ?::timestamp as since, "
        "?::time as cut_off, ?::int as business_days, ?::text as ship_event, "
        "?::interval as grace, ?::text[] as exclude_statuses",
        [
            as_of,
            window and as_of - window,
            policy.cut_off,
            policy.business_days,
            policy.ship_event,
            pd.Timedelta(policy.grace).to_pytimedelta(),
            list(policy.exclude_statuses),
        ],
    )
    database.execute(f"create or replace table judged as {JUDGED}")


def figures(database, by, freq):
    """Count and divide in SQL: the figures of each group and period that has an order."""
    period = [f"date_trunc('{FREQ[freq]}', due_wall) as period"] if freq else []
    keys = "".join(f"{key}, " for key in [*by, *period])
    # An outcome is counted once the order is due; early ones are apart.
    decided = dict.fromkeys(OUTCOMES[:4], " and is_due")
    counts = ", ".join(
        f"count(*) filter (outcome = '{name}'{decided.get(name, '')}) as {name}"
        for name in OUTCOMES
    )
    where = "where due_wall is not null" if freq else ""
    query = RATED.format(keys=keys, counts=counts, where=where)
    table = database.execute(query).fetchall()
    names = [column[0] for column in database.description]
    width = len(by) + len(period)
    return {tuple(row[:width]): [row[names.index(figure)] for figure in FIGURES] for row in table}


def assert_equal(table, expected, keys):
    """Compare rows, except those of periods in which nothing was due, which SQL does not list."""
    found = {}
    for labels, row in zip(table.index, table[FIGURES].itertuples(index=False), strict=True):
        key = () if not keys else labels if isinstance(labels, tuple) else (labels,)
        found[tuple(_plain(each) for each in key)] = row
    assert set(expected) <= set(found)
    for key, row in found.items():
        if key not in expected:
            assert key[-1] is not None
            assert sum(row[: len(COUNTS)]) == 0
            continue
        for name, ours, theirs in zip(FIGURES, row, expected[key], strict=True):
            close = pytest.approx(theirs, abs=1e-12) if name.startswith("rate_") else theirs
            assert (None if pd.isna(ours) else ours) == close, (key, name)


def _plain(label):
    if pd.isna(label):
        return None
    return label.to_pydatetime() if isinstance(label, pd.Timestamp) else label


def assert_sql_agrees(orders, policy, as_of):
    judged = ship_date_compliance(OrderFrames.from_json(orders).orders, policy, as_of=as_of)
    ours = judged[["id", "outcome", "reason", "due_at", "shipped_at"]].itertuples(index=False)
    with sql_reference.load(orders) as database:
        judge(database, policy, as_of.replace(tzinfo=None))
        rows = database.execute(
            "select id, outcome, reason, due_shown, shipped from judged"
        ).fetchall()
        aware = (
            (*row[:3], *(each and each.replace(tzinfo=dt.UTC) for each in row[3:])) for row in rows
        )
        assert sorted(tuple(map(_plain, row)) for row in ours) == sorted(aware)
        for by in [[], *([name] for name in BY), ["warehouse_id", "type"]]:
            for freq in (None, *FREQ):
                table = compliance_rate(judged, by=by or None, freq=freq)
                assert_equal(table, figures(database, by, freq), [*by, *([freq] if freq else [])])
    return judged


def by_warehouse(orders):
    """Return a zone for each warehouse."""
    ids = sorted({order["warehouse_id"] for order in orders if order["warehouse_id"]})
    zones = ["Australia/Lord_Howe", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]
    return {key: zones[number % len(zones)] for number, key in enumerate(ids)}


@pytest.mark.one_of(4)
@pytest.mark.parametrize(
    ("seed", "number"), sample([(number % 2, number) for number in range(len(PRESETS))], 2)
)
def test_sql_counts_the_same(seed, number):
    orders, now = made_up(seed)
    judged = assert_sql_agrees(orders, PRESETS[number], now)
    assert {"on_time", "not_evaluable"} < set(judged["outcome"])


# Orders without a warehouse that are due at a moment.
@pytest.mark.filterwarnings("ignore:[0-9]+ orders that have been judged are in no period")
@pytest.mark.one_of(2)
@pytest.mark.parametrize("preset", [PRESETS[0], PRESETS[4]], ids=["due date", "clock"])
def test_sql_counts_the_same_on_the_clocks_of_many_warehouses(preset):
    orders, now = made_up(3)
    policy = replace(preset, tz=by_warehouse(orders))
    judged = assert_sql_agrees(orders, policy, now - dt.timedelta(days=40))
    assert {"created after as_of", "no time zone for warehouse"} <= set(judged["reason"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 14))
def test_sql_counts_the_same_for_all_policies_and_many_orders(seed):
    orders, now = made_up(seed)
    zones, found = by_warehouse(orders), set()
    for policy in PRESETS:
        for as_of in (now, now - dt.timedelta(days=7 * (seed - 9), seconds=1)):
            judged = assert_sql_agrees(orders, policy, as_of)
            found |= set(judged["outcome"])
        assert_sql_agrees(orders, replace(policy, tz={**zones, None: "Australia/Sydney"}), now)
    assert found == set(OUTCOMES)
