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
create table lives as
with packed as (
    select order_id, shipped, sum(coalesce(units, 0)) as units
    from live left join shipped_lines using (order_id, shipment)
    where shipped is not null group by all
), running as (
    select *, sum(units) over (partition by order_id order by shipped) as so_far from packed
), asked as (
    select id as order_id, coalesce(sum(units), 0) as units_ordered, count(line) as lines
    from orders left join line_items on id = order_id group by all
), events as (
    select order_id, any_value(units_ordered) as units_ordered, any_value(lines) as lines,
        coalesce(sum(units), 0) as units_shipped, min(shipped) as first_shipped_date,
        max(shipped) as last_shipped_date,
        min(shipped) filter (so_far >= units_ordered) as complete_shipped_date
    from asked left join running using (order_id) group by order_id
)
select orders.*, events.* exclude (order_id) replace (
        units_ordered::bigint as units_ordered, units_shipped::bigint as units_shipped),
    (select count(*) from shipments where order_id = id) as shipment_count
from orders join events on id = order_id;
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
