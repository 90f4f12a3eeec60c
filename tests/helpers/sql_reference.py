"""The figures once more, in plain SQL over the orders as the API gives them.

Imports nothing of the package, and none of its tables: orders come as dicts, are laid out as
plain rows, and DuckDB answers. Moments are whole microseconds. What is null or an empty text is
null from here on.
"""

from datetime import UTC, datetime, timedelta

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
    },
    "problems": {"order_id": "varchar", "path": "varchar", "lost": "boolean"},
}

#: Of each order, what follows from its lines and shipments.
VIEWS = """
create view live as select * from shipments where status is distinct from 'cancelled';
create view live_lines as select * from shipped_lines semi join live using (order_id, shipment);
create view sent as select order_id, status as sent_as, shipped from shipments;
create view contents as
select order_id, shipped, sku, item, coalesce(units, 0) as units,
    case when exists (from line_items l where l.order_id = s.order_id and l.product_id = s.kit)
        then kit end as kit
from live_lines s join live using (order_id, shipment);
create view kit_lines as
select l.*, c.kit from line_items l
    left join (select distinct order_id, kit from contents where kit is not null) c
    on c.order_id = l.order_id and c.kit = product_id;
create view slots as
select *, case when kit is not null then 'kit ' || kit when sku is not null then 'sku ' || sku
    else 'none' end as slot
from kit_lines;
-- Of each order, what is netted: the lines of one sku, of one kit, and those of neither.
create view asked as
select order_id, slot, greatest(sum(coalesce(units, 0)), 0) as net,
    bool_or(units is null) as unknown, any_value(kit) as kit
from slots group by order_id, slot;
-- A sku covers its own lines, or else the first kit that has it.
create view covers as
select order_id, sku, coalesce(min(slot) filter (kit is null), arg_min(slot, line)) as slot
from slots where sku is not null group by order_id, sku;
create view moments as
select distinct order_id, shipped as moment from live where shipped is not null
union all select id, 9223372036854775807 from orders;
create view supply as
select order_id, moment,
    case when c.kit is not null then 'part' when c.sku is null then 'nameless'
        when v.slot is null then 'foreign' else v.slot end as slot,
    sum(c.units) filter (c.shipped <= moment) as units
from moments join contents c using (order_id) left join covers v using (order_id, sku)
group by all;
create view kits as
select order_id, moment, slot, min((gone * net) // whole) as kits from (
    select order_id, moment, kit, coalesce(sku, item) as part, sum(units) as whole,
        coalesce(sum(units) filter (shipped <= moment), 0) as gone
    from moments join contents using (order_id) where kit is not null group by all
) join asked using (order_id, kit) where whole > 0 group by all;
create view covered as
select order_id, moment, sum(net) as ordered, bool_or(unknown) as unknown,
    coalesce(sum(net) filter (slot = 'none'), 0) as loose,
    sum(least(net, coalesce(s.units, 0) + coalesce(k.kits, 0))) filter (slot <> 'none') as named,
    sum(greatest(coalesce(s.units, 0) - net, 0)) filter (slot <> 'none') as surplus
from moments left join asked using (order_id)
    left join supply s using (order_id, moment, slot)
    left join kits k using (order_id, moment, slot)
group by order_id, moment;
create view totals as
select order_id, moment, coalesce(ordered, 0) as ordered, coalesce(unknown, false) as unknown,
    coalesce(named, 0) as named, coalesce(f.units, 0) as foreign_units, loose,
    coalesce(surplus, 0) + coalesce(f.units, 0) as over, coalesce(n.units, 0) as nameless
from covered
    left join (from supply where slot = 'foreign') f using (order_id, moment)
    left join (from supply where slot = 'nameless') n using (order_id, moment);
create table states as
select *, named + extra + least(nameless, ordered - named - extra) as units,
    over - extra + nameless - least(nameless, ordered - named - extra) as beyond
from (select *, least(over, loose) as extra from totals);
create table lives as
with events as (
    select order_id, min(shipped) as first_shipped_date, max(shipped) as last_shipped_date
    from live where shipped is not null group by order_id
), complete as (
    select order_id, min(moment) as complete_shipped_date
    from states semi join (from live where shipped is not null) using (order_id)
    where not unknown and units = ordered group by order_id
), ends as (from states where moment = 9223372036854775807)
select orders.*, first_shipped_date, last_shipped_date, complete_shipped_date,
    (case when not unknown then ordered end)::bigint as units_ordered,
    (units + case when unknown then beyond else 0 end)::bigint as units_shipped,
    (case when not unknown then beyond end)::bigint as units_overshipped,
    (select count(*) from line_items where order_id = id) as lines,
    (select count(*) from shipments where order_id = id) as shipment_count
from orders join ends on ends.order_id = id left join events on events.order_id = id
    left join complete on complete.order_id = id;
"""


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
    return connection


def lives(connection):
    """Give the orders with what follows from their shipments, for another database."""
    columns = connection.execute("select * from lives").fetchnumpy()
    return pa.table({name: pa.array(values.tolist()) for name, values in columns.items()})


def wilson(part, n):
    """Spell a rate and Wilson's interval, as its roots are usually written; z is that of 95 %."""
    root = f"sqrt({part} * ({n} - {part}) / nullif({n}, 0) + 3.841458820694124 / 4)"
    ends = [
        f"({part} + 3.841458820694124 / 2 {sign} 1.959963984540054 * {root})"
        f" / (nullif({n}, 0) + 3.841458820694124)"
        for sign in "-+"
    ]
    return f"{part} / nullif({n}, 0)", *ends


def _lay_out(order, rows):
    key = order["id"]
    rows["problems"] += [[key, *problem] for problem in _problems(order)]
    for place, line in enumerate(order["line_items"] or []):
        names = [text(line[name]) for name in ("product_id", "sku")]
        rows["line_items"].append([key, place, *names, whole(line["quantity"])])
    for place, sent in enumerate(order["shipments"] or []):
        names = [text(sent[name]) for name in ("status", "warehouse_id")]
        rows["shipments"].append([key, place, *names, micros(sent["shipped_date"])])
        for line in sent["line_items"]:
            names = [text(line[name]) for name in ("inventory_item_id", "parent_product_id", "sku")]
            rows["shipped_lines"].append([key, place, *names, whole(line["quantity"])])


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
    return None if value is None else int(value)


def micros(value):
    if not value or value < "1990":  # what is older stands for none
        return None
    moment = datetime.fromisoformat(value)
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return (moment - EPOCH) // timedelta(microseconds=1)


def ask(connection, query, by=(), more=0, **values):
    """Answer for each group; keys are its first columns, and so many more."""
    groups = "".join(f"{name}, " for name in by)
    used = {name: value for name, value in values.items() if f"${name}" in query}
    rows = connection.execute(query.replace("{by}", groups), used).fetchall()
    width = len(by) + more
    found = {row[:width]: row[width:] for row in rows}
    assert len(found) == len(rows)
    return found


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
