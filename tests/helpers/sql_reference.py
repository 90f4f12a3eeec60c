"""The figures once more, in plain SQL over the orders as the API gives them.

Imports nothing of the package, and none of its tables: orders come as dicts, are laid out as
plain rows, and DuckDB answers. Moments are whole microseconds. What is null or an empty text is
null from here on.
"""

import math
from datetime import UTC, datetime, timedelta
from functools import cache

import duckdb
import pandas as pd
import pyarrow as pa

DAY = 86_400_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GROUPS = ("warehouse_id", "warehouse_customer_id", "channel", "carrier_name", "type")
NAMES = ("id", *GROUPS, "status", "raw_status", "order_number")
STAMPS = (
    "created_date",
    "updated_date",
    "trackstar_created_date",
    "trackstar_updated_date",
    "required_ship_date",
)
#: What every breakdown is tried by.
BY = ((), *((name,) for name in GROUPS), ("warehouse_id", "type"))

TYPES = {
    "orders": dict.fromkeys(NAMES, "varchar")
    | dict.fromkeys(STAMPS, "bigint")
    | {"arrived": "varchar"},
    "line_items": {
        "order_id": "varchar",
        "line": "bigint",
        "product_id": "varchar",
        "sku": "varchar",
        "units": "bigint",
    },
    "shipments": {
        "order_id": "varchar",
        "shipment": "bigint",
        "status": "varchar",
        "warehouse_id": "varchar",
        "shipped": "bigint",
    },
    "shipped_lines": {
        "order_id": "varchar",
        "shipment": "bigint",
        "item": "varchar",
        "kit": "varchar",
        "sku": "varchar",
        "units": "bigint",
        "is_packed": "boolean",
    },
    "problems": {"order_id": "varchar", "path": "varchar", "lost": "boolean"},
}

#: What was ordered, netted, and where each shipped line belongs. A `slot` is a sku of an order, a
#: kit of it, or all that has no sku; `place` is a slot, or why a line belongs to none.
VIEWS = """
create view live as select * from shipments where status is distinct from 'cancelled';
create view live_lines as select * from shipped_lines semi join live using (order_id, shipment);
create view sent as select order_id, status as sent_as, shipped from shipments;
create view filled as select distinct order_id, shipment, is_packed from shipped_lines;
create table contents as select l.*, s.shipped
    from shipped_lines l join live s using (order_id, shipment);
create table slotted as select l.*, coalesce(units, 0) as amount, case
        when exists (from contents c where c.order_id = l.order_id and c.kit = l.product_id)
            then 'kit ' || product_id
        when sku is null then 'none' else 'sku ' || sku end as slot
    from line_items l;
create table slots as select order_id, slot, greatest(0, sum(amount))::bigint as net
    from slotted group by all;
create table placed as select c.*, coalesce(sku, item) as part, case
        when exists (from slots s where s.order_id = c.order_id and s.slot = 'kit ' || kit)
            then 'part'
        when exists (from slots s where s.order_id = c.order_id and s.slot = 'sku ' || c.sku)
            then 'sku ' || sku
        when exists (from slotted s where s.order_id = c.order_id and s.sku = c.sku)
            then (select min_by(slot, line) from slotted s
                where s.order_id = c.order_id and s.sku = c.sku)
        when sku is null then 'nameless' else 'foreign' end as place
    from contents c;
"""

#: How much of each order had shipped by a moment: of {asked}, which has `order_id` and `moment`.
COVERAGE = """
asked as (select distinct order_id, moment from {asked}),
arrived as (
    select moment, p.*,
        case when shipped <= moment then coalesce(units, 0) else 0 end as got
    from asked join placed p using (order_id)
), supplied as (
    select order_id, moment, place as slot, sum(got) as got from arrived group by all
), parts as (
    select order_id, moment, 'kit ' || kit as slot, part, sum(got) as got,
        sum(coalesce(units, 0)) as total
    from arrived where place = 'part' group by all
), made as (
    select order_id, moment, slot, min(got * net // total) as kits
    from parts join slots using (order_id, slot) where total > 0 group by all
), named as (
    select order_id, moment, slot, net, coalesce(got, 0) as got, least(net, coalesce(got, 0)
        + least(coalesce(kits, 0), net - least(net, coalesce(got, 0)))) as covered
    from asked join slots using (order_id)
        left join supplied using (order_id, moment, slot)
        left join made using (order_id, moment, slot)
    where slot <> 'none'
), spare as (
    select order_id, moment, coalesce((select sum(net) from slots s
            where s.order_id = a.order_id), 0) as net,
        coalesce((select sum(covered) from named n
            where n.order_id = a.order_id and n.moment = a.moment), 0) as covered,
        coalesce((select sum(greatest(0, got - net)) from named n
            where n.order_id = a.order_id and n.moment = a.moment), 0)
        + coalesce((select got from supplied s where s.order_id = a.order_id
            and s.moment = a.moment and slot = 'foreign'), 0) as surplus,
        coalesce((select got from supplied s where s.order_id = a.order_id
            and s.moment = a.moment and slot = 'nameless'), 0) as nameless,
        coalesce((select net from slots s where s.order_id = a.order_id and slot = 'none'), 0)
            as wanted,
        exists (from line_items l where l.order_id = a.order_id and units is null) as unknown
    from asked a
), settled as (
    select *, least(surplus, wanted) as lent,
        least(nameless, net - covered - least(surplus, wanted)) as by_count
    from spare
), coverage as (
    select order_id, moment, net as units, (covered + lent + by_count)::bigint as units_filled,
        (surplus - lent + nameless - by_count)::bigint as units_overshipped, unknown,
        net = covered + lent + by_count and not unknown as complete, lent, by_count
    from settled
), line_nets as (
    select s.* exclude (amount), greatest(0, least(greatest(amount, 0), net + greatest(amount, 0)
        - sum(greatest(amount, 0)) over (partition by order_id, slot order by line))) as wanted
    from slotted s join slots using (order_id, slot)
), of_slot as (
    select order_id, moment, slot, covered from named
    union all select order_id, moment, 'none', lent from coverage
), by_name as (
    select l.*, moment, greatest(0, least(wanted, covered + wanted
        - sum(wanted) over (partition by order_id, moment, slot order by line))) as first
    from line_nets l join of_slot using (order_id, slot)
), filled_lines as (
    select l.*, first + greatest(0, least(wanted - first, by_count + wanted - first
        - sum(wanted - first) over (partition by order_id, moment order by line))) as filled
    from by_name l join coverage using (order_id, moment)
)
"""

#: Of each order, what follows from its lines and shipments.
LIVES = """
create table lives as
with {coverage}, events as (
    select order_id, min(shipped) as first_shipped_date, max(shipped) as last_shipped_date
    from live group by all
), completed as (
    select order_id, min(moment) filter (complete) as complete_shipped_date
    from coverage join events using (order_id) where moment <= last_shipped_date group by all
)
select orders.*, case when not unknown then units::bigint end as units_ordered,
    units_filled + case when unknown then units_overshipped else 0 end as units_shipped,
    case when not unknown then units_overshipped end as units_overshipped,
    first_shipped_date, last_shipped_date, complete_shipped_date,
    (select count(*) from line_items l where l.order_id = id) as lines,
    (select count(*) from shipments s where s.order_id = id) as shipment_count
from orders join coverage c on id = c.order_id and moment = 9000000000000000000
    left join events e on e.order_id = id left join completed d on d.order_id = id;
"""
#: All moments at which something shipped, and the end of time.
_STEPS = """(select order_id, shipped as moment from live where shipped is not null
    union all select id, 9000000000000000000 from orders)"""


def load(orders):
    """Lay orders out in a database: plain tables, and `lives`, with a row for each order."""
    rows = {name: [] for name in TYPES}
    for order in orders:
        rows["orders"].append(
            [text(order.get(name)) for name in NAMES]
            + [micros(order.get(name)) for name in STAMPS]
            + [order.get("trackstar_created_date")]
        )
        _lay_out(order, rows)
    connection = duckdb.connect()
    for name, types in TYPES.items():
        listed = ", ".join(f"{column} {kind}" for column, kind in types.items())
        connection.execute(f"create table {name} ({listed})")
        given = pd.DataFrame(rows[name], columns=list(types), dtype=object)
        whole = {column: "Int64" for column, kind in types.items() if kind == "bigint"}
        connection.register("given", given.astype(whole))
        connection.execute(f"insert into {name} select * from given")
        connection.unregister("given")
    connection.execute(VIEWS)
    connection.execute(LIVES.format(coverage=COVERAGE.format(asked=_STEPS)))
    return connection


def lives(connection):
    """Give the orders with what follows from their shipments, for another database."""
    columns = connection.execute("select * from lives").fetchnumpy()
    return pa.table({name: pa.array(values.tolist()) for name, values in columns.items()})


def rates_by_day(rows, width):
    """Give the rate of each key, the ends of its interval, and whether it rests on little.

    A row is the key, of so many columns, a day, its n and how many of these are good. The interval
    is Wilson's for the effective n, with Student's t of (days - 1) for z.
    """
    cells = {}
    for row in rows:
        n, good = row[width + 1 :]
        if n:
            cells.setdefault(row[:width], []).append((n, good))
    return {key: _rate_over(days) for key, days in cells.items()}


def _rate_over(days):
    n, good = (sum(each) for each in zip(*days, strict=True))
    rate, effect = good / n, 1
    if len(days) > 1 and 0 < rate < 1:
        squares = sum((part - rate * whole) ** 2 for whole, part in days)
        variance = squares * len(days) / (len(days) - 1) / n**2
        effect = max(1, variance / (rate * (1 - rate) / n))
    z = student(len(days) - 1) if len(days) > 1 else 1.959963984540054
    # The ends are where (rate - end)^2 = z^2 * end * (1 - end) / effective n.
    spread = z**2 * effect / n
    root = math.sqrt((2 * rate + spread) ** 2 - 4 * (1 + spread) * rate**2)
    low, high = (((2 * rate + spread) + sign * root) / (2 * (1 + spread)) for sign in (-1, 1))
    return rate, low, high, n < 30 or len(days) < 4


@cache
def student(degrees):
    """Give how far 95 % of Student's t reach: its density over the angle, summed by Simpson."""
    steps = 2000
    low, high = 0.0, math.pi / 2

    def area(end):
        heights = [math.cos(end * step / steps) ** (degrees - 1) for step in range(steps + 1)]
        odd, even = sum(heights[1:-1:2]), sum(heights[2:-1:2])
        return (heights[0] + heights[-1] + 4 * odd + 2 * even) * end / steps / 3

    whole_area = area(high)
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if area(middle) < 0.95 * whole_area else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _lay_out(order, rows):
    key = order["id"]
    rows["problems"] += [[key, *problem] for problem in _problems(order)]
    for place, line in enumerate(order["line_items"] or []):
        names = [text(line[name]) for name in ("product_id", "sku")]
        rows["line_items"].append([key, place, *names, whole(line["quantity"])])
    for place, sent in enumerate(order["shipments"] or []):
        names = [text(sent[name]) for name in ("status", "warehouse_id")]
        rows["shipments"].append([key, place, *names, micros(sent["shipped_date"])])
        boxes = sent.get("packages") or sent.get("boxes") or []
        packed = [line for each in boxes for line in each["line_items"] or []]
        for line in sent["line_items"] or packed:
            names = [text(line[name]) for name in ("inventory_item_id", "parent_product_id", "sku")]
            units = whole(line["quantity"])
            rows["shipped_lines"].append([key, place, *names, units, not sent["line_items"]])


def _problems(order):
    """Name what the documentation does not promise, and whether it cannot be kept."""
    yield from ([key, False] for key in ("fulfillment_priority",) if key in order)
    if order["total_price"] == "n/a":
        yield ["total_price", True]
    shipments = order["shipments"] or []
    for prefix, holder in (("", order), *(("shipments[].", each) for each in shipments)):
        strange = {"name", "zip_code"} & holder["ship_to_address"].keys()
        yield from ([f"{prefix}ship_to_address.{key}", False] for key in strange)
    boxes = sum(len(each.get("boxes", [])) for each in shipments)
    yield from [["shipments[].packages[].box_id", False]] * boxes


def text(value):
    return value or None


def whole(value):
    return None if value is None or value != int(value) else int(value)


def micros(value):
    if not value or value < "1990":  # what is older stands for none
        return None
    moment = datetime.fromisoformat(value)
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return (moment - EPOCH) // timedelta(microseconds=1)


def ask(connection, query, by=(), more=0, **values):
    """Answer for each group; keys are its first columns, and so many more."""
    listed = rows(connection, query, by, **values)
    width = len(by) + more
    found = {row[:width]: row[width:] for row in listed}
    assert len(found) == len(listed)
    return found


def rows(connection, query, by=(), **values):
    """Answer with rows as they are, with the columns of `by` in place of ``{by}``."""
    groups = "".join(f"{name}, " for name in by)
    used = {name: value for name, value in values.items() if f"${name}" in query}
    return connection.execute(query.replace("{by}", groups), used).fetchall()


def keys(index):
    """Spell the labels of a table as `ask` does."""
    if index.names == [None]:
        return [()] * len(index)
    labels = [key if isinstance(key, tuple) else (key,) for key in index]
    return [tuple(map(_plain, label)) for label in labels]


def _plain(label):
    if pd.isna(label):
        return None
    return label.value // 1000 if isinstance(label, pd.Timestamp) else label
