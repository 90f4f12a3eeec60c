"""What a manager asks for, in plain SQL over the orders as the API gives them.

Beside `sql_reference`, whose database it extends by packages; imports nothing of the package.
"""

from helpers import sql_reference
from helpers.sql_reference import DAY, micros, text, whole

HOUR = DAY // 24
_WEIGHTS = {"kg": 1.0, "lb": 0.45359237, "oz": 0.028349523125}


def load(orders):
    """Lay orders out in a database, with their packages."""
    connection = sql_reference.load(orders)
    connection.execute(
        "create table packages (order_id varchar, shipment bigint, package bigint, "
        "carrier_name varchar, cost double, kg double, tracked boolean);"
        "create table packed_lines (order_id varchar, shipment bigint, package bigint, "
        "units bigint);"
        "create table more (order_id varchar, currency varchar, state varchar)"
    )
    packages, packed, more = [], [], []
    for order in orders:
        state = (order["ship_to_address"] or {}).get("state")
        more.append([order["id"], text(order["invoice_currency_code"]), state])
        for place, sent in enumerate(order["shipments"] or []):
            for number, each in enumerate(sent.get("packages", sent.get("boxes")) or []):
                key = [order["id"], place, number]
                packages.append([*key, *_package(each)])
                lines = each.get("line_items") or []
                packed += [[*key, whole(line["quantity"])] for line in lines]
    for name, rows in (("packages", packages), ("packed_lines", packed), ("more", more)):
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"insert into {name} values ({marks})", rows)
    return connection


def _package(package):
    measured = package.get("measurements") or {}
    factor = _WEIGHTS.get(measured.get("weight_unit") or measured.get("unit_of_weight"))
    weight = measured.get("weight")
    kg = weight * factor if weight and factor else None
    tracked = bool(package.get("tracking_number"))
    return [package.get("carrier_name"), package.get("shipping_cost"), kg, tracked]


def clock(stamp, zone):
    """Spell microseconds of UTC as a time on the clock of a zone."""
    return f"timezone('{zone}', make_timestamptz({stamp}))"


__all__ = ["DAY", "HOUR", "clock", "load", "micros"]
