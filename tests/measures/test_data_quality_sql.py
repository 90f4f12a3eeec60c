"""The same report in plain SQL over the orders as the API gives them."""

import datetime as dt
import itertools

import pandas as pd
import pytest
from helpers import sql_reference

import trackstar_frames as tf

SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 15))]
#: Zones without summer time, by how many hours they are behind UTC.
ZONES = {0: "UTC", 10: "Etc/GMT+10", -9: "Etc/GMT-9"}
#: The stamps that should not be after as_of.
AS_OF = (
    *("created_date", "updated_date", "trackstar_created_date", "trackstar_updated_date"),
    "last_shipped_date",
)
#: For each check: the table, the rows that are checked, and those that are affected.
ORDERS = "lives"
STILL_OPEN = """('open', 'confirmed', 'processing', 'picked', 'packed', 'partially_fulfilled',
    'backordered', 'exception')"""
OVER = "units_overshipped > 0 and first_shipped_date <= $now"
CHECKS = {
    "no_created_date": (ORDERS, "true", "created_date is null"),
    "after_as_of": (
        ORDERS,
        "true",
        """greatest(created_date, updated_date, trackstar_created_date, trackstar_updated_date,
            last_shipped_date) > $now""",
    ),
    "no_due_date": (ORDERS, "status is distinct from 'cancelled'", "required_ship_date is null"),
    "due_at_midnight": (
        ORDERS,
        "status is distinct from 'cancelled' and required_ship_date is not null",
        "required_ship_date % 86400000000 = 0",
    ),
    "due_at_local_midnight": (
        ORDERS,
        "status is distinct from 'cancelled' and required_ship_date is not null",
        "false",
    ),
    "due_before_created": (
        ORDERS,
        "required_ship_date is not null and created_date is not null",
        """case when required_ship_date % 86400000000 = 0
            then required_ship_date + 86400000000 + $behind <= created_date
            else required_ship_date < created_date end""",
    ),
    "shipped_before_created": (
        ORDERS,
        "first_shipped_date is not null and created_date is not null",
        "first_shipped_date < created_date",
    ),
    "fulfilled_without_shipment": (ORDERS, "status = 'fulfilled'", "shipment_count = 0"),
    "fulfilled_without_ship_date": (
        ORDERS,
        "status = 'fulfilled'",
        "shipment_count > 0 and first_shipped_date is null",
    ),
    "fulfilled_short": (
        ORDERS,
        "status = 'fulfilled'",
        "units_shipped < units_ordered and first_shipped_date is not null",
    ),
    "complete_but_open": (
        ORDERS,
        f"status in {STILL_OPEN} and units_ordered is not null",
        "complete_shipped_date <= $now",
    ),
    "overshipped": (ORDERS, "units_ordered is not null", OVER),
    "overshipped_but_open": (
        ORDERS,
        f"status in {STILL_OPEN} and units_ordered is not null",
        OVER,
    ),
    "cancelled_but_shipped": (ORDERS, "status = 'cancelled'", "first_shipped_date <= $now"),
    "status_other": (ORDERS, "true", "status = 'other'"),
    "status_unknown": (ORDERS, "true", "status in ('customs', 'moon')"),
    "no_status": (ORDERS, "true", "status is null"),
    "no_warehouse": (ORDERS, "true", "warehouse_id is null"),
    "no_customer": (ORDERS, "true", "warehouse_customer_id is null"),
    "order_number_twice": (
        ORDERS,
        "order_number is not null",
        """exists (from orders o where o.id <> lives.id and o.order_number = lives.order_number
            and o.warehouse_customer_id is not distinct from lives.warehouse_customer_id)""",
    ),
    "no_lines": (ORDERS, "true", "lines = 0"),
    "shipped_elsewhere": (
        ORDERS,
        """warehouse_id is not null
            and exists (from live l where l.order_id = id and l.warehouse_id is not null)""",
        "exists (from live l where l.order_id = id and l.warehouse_id <> lives.warehouse_id)",
    ),
    "placeholder_date": (ORDERS, "true", "arrived < '1990'"),
    "date_without_zone": (ORDERS, "true", "arrived not like '%Z'"),
    "value_not_kept": (ORDERS, "true", "exists (from problems p where p.order_id = id and lost)"),
    "unknown_key": (ORDERS, "true", "exists (from problems p where p.order_id = id and not lost)"),
    **{
        name: (f"lives join {table} on id = order_id", of, hit)
        for name, table, of, hit in (
            ("line_without_sku", "line_items", "true", "sku is null"),
            ("line_without_quantity", "line_items", "true", "units is null"),
            ("line_of_no_units", "line_items", "true", "units <= 0"),
            ("shipped_without_date", "sent", "sent_as = 'shipped'", "shipped is null"),
            ("open_with_date", "sent", "sent_as = 'open'", "shipped is not null"),
            ("contents_in_packages", "filled", "true", "is_packed"),
            ("shipped_line_without_sku", "live_lines", "true", "sku is null"),
            ("shipped_line_without_quantity", "live_lines", "true", "units is null"),
            (
                "shipped_line_not_ordered",
                "live_lines",
                "sku is not null",
                """not exists (from line_items l where l.order_id = id and
                    (l.sku = live_lines.sku or l.product_id = live_lines.kit))""",
            ),
        )
    },
}
#: The words that are listed for those affected.
DETAILS = {
    "status_other": "select {by} coalesce(raw_status, '(none)') as word from lives"
    " where status = 'other'",
    "status_unknown": "select {by} status as word from lives where status in ('customs', 'moon')",
    "after_as_of": "unpivot (select {by} "
    + ", ".join(f"case when {name} > $now then 1 end as {name}" for name in AS_OF)
    + " from lives) on "
    + ", ".join(AS_OF)
    + " into name word value late",
    "placeholder_date": "select {by} 'trackstar_created_date' as word from lives"
    " where arrived < '1990'",
    "date_without_zone": "select {by} 'trackstar_created_date' as word from lives"
    " where arrived not like '%Z'",
    "value_not_kept": "select {by} path as word from lives join problems on order_id = id"
    " where lost",
    "unknown_key": "select {by} path as word from lives join problems on order_id = id"
    " where not lost",
}


def reported(serve_with_client, connection, by, **values):
    """Return for each group and check: n, of, and the ids of the orders affected."""
    found = {}
    for name, (source, of, hit) in CHECKS.items():
        query = f"""select {{by}} count(*) filter ({hit}), count(*),
            list(distinct id) filter ({hit}) from {source} where {of} group by all"""
        answer = serve_with_client(connection, query, by, **values)
        found |= {(*key, name): row for key, row in answer.items()}
    return found


def listed_words(serve_with_client, connection, by, **values):
    """Return for each group and check the words listed, the most frequent first."""
    found = {}
    for name, words in DETAILS.items():
        query = f"""with met as ({words}), counted as (
            select {{by}} word, count(*) as n from met group by all
        ) select {{by}} string_agg(word || ' (' || n || ')', ', ' order by n desc, word)
        from counted group by all"""
        answer = serve_with_client(connection, query, by, **values)
        found |= {(*key, name): row[0] for key, row in answer.items()}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_report_is_that_of_sql(seed, spoilt):
    given = spoilt(seed)
    ids = given.frames.orders["id"].tolist()
    for by, behind in zip(sql_reference.BY, itertools.cycle(ZONES), strict=False):
        moment = given.now + dt.timedelta(days=behind)
        values = {
            "now": sql_reference.micros(moment.isoformat()),
            "behind": behind * sql_reference.DAY // 24,
        }
        report = tf.data_quality(given.frames, by=by, as_of=moment, tz=ZONES[behind])
        expected = reported(sql_reference.ask, given.sql, by, **values)
        listed = listed_words(sql_reference.ask, given.sql, by, **values)
        assert list(CHECKS) == list(report.index.unique("check"))
        for key, row in zip(sql_reference.keys(report.index), report.itertuples(), strict=True):
            n, of, affected = expected.pop(key, (0, 0, None))
            assert (row.n, row.of) == (n, of), key
            assert row.share == n / of if of else pd.isna(row.share)
            assert row.examples == sorted(affected or [], key=ids.index)[:3]
            detail = listed.pop(key, None)
            assert pd.isna(row.detail) if detail is None else row.detail == detail, key
        assert (expected, listed) == ({}, {})
    # Midnights where the warehouses are have tests of their own.
    counts = tf.data_quality(given.frames, as_of=given.now)["n"].drop("due_at_local_midnight")
    assert counts.index[counts == 0].tolist() == []
