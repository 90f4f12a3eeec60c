"""Orders as they should not be: what a measure must count, and not stumble over."""

import copy
import random
from datetime import timedelta

import numpy as np
import pandas as pd

STAMPS = ("created_date", "first_shipped_date", "last_shipped_date", "complete_shipped_date")


def spoil(orders, seed):
    """Break some of each thing: statuses, stamps, units, groups."""
    rng = np.random.default_rng(seed)
    odd = orders.copy()
    odd["status"] = odd["status"].astype(object)
    for status in ("customs", "fulfilled", "packed", "cancelled", None):
        odd.loc[rng.random(len(odd)) < 0.04, "status"] = status
    for name in (*STAMPS, "units_ordered", "units_shipped", "channel"):
        odd.loc[rng.random(len(odd)) < 0.04, name] = None
    late = rng.random(len(odd)) < 0.04
    odd.loc[late, "created_date"] = odd.loc[late, "created_date"] + pd.Timedelta("9D")
    return odd


def table(orders, *names):
    """Give DuckDB plain columns: moments as microseconds, the rest as pandas reads them."""
    plain = orders[["status", "units_ordered", "units_shipped", *names]].astype(object)
    plain = plain.where(plain.notna(), None)
    for name in (*STAMPS, "updated_date"):
        known = orders[name].notna()
        micros = orders[name].dt.tz_localize(None).to_numpy("M8[us]").astype(np.int64)
        plain[name] = pd.Series(micros, index=orders.index).astype("Int64").where(known)
    return plain.astype({"units_ordered": "Int64", "units_shipped": "Int64"})


def spoil_json(orders, seed, now):
    """Break some of each thing, in orders as the API gives them."""
    rng, arrivals, statuses = random.Random(seed), random.Random(-seed), random.Random(f"{seed}")
    packing = random.Random(f"packing {seed}")
    odd = copy.deepcopy(orders)
    for order in odd:
        _spoil_order(rng, order, now)
        never, local = "0001-01-01T00:00:00Z", "2026-03-01T10:00:00"
        _change(arrivals, order, trackstar_created_date=(never, local))
        for line in order["line_items"]:
            _change(rng, line, sku=(None, ""), quantity=(None, 0, -1), product_id=("", None))
        if rng.random() < 0.05:
            order["line_items"] *= 2
        for sent in order["shipments"] or []:
            _order_parts(rng, order, sent)
            _spoil_shipment(rng, sent, now)
            _change(packing, sent, line_items=([],))
        for sent in [each for each in order["shipments"] or [] if each["shipped_date"]]:
            _change(statuses, order, status=("packed", "partially_fulfilled"))
            _change(statuses, sent, status=("open",))
        if len(order["shipments"] or []) > 1 and rng.random() < 0.5:
            order["shipments"][1]["shipped_date"] = None
    return odd


def _order_parts(rng, order, sent):
    """Order what is a part of a kit alone, too."""
    parts = [line for line in sent["line_items"] if line["parent_product_id"]]
    for line in parts:
        if rng.random() < 0.3:
            loose = {"product_id": line["inventory_item_id"], "sku": line["sku"], "quantity": 1}
            order["line_items"].append(loose)


def _spoil_order(rng, order, now):
    ahead = now + timedelta(days=rng.choice((1, 2, 30)))
    _change(
        rng,
        order,
        created_date=(None, write(ahead)),
        updated_date=(write(ahead),),
        required_ship_date=(None, "", write(now - timedelta(days=190))),
        status=("customs", "moon", None, "other", "fulfilled", "cancelled"),
        raw_status=("ON_HOLD", "", None),
        warehouse_id=(None,),
        warehouse_customer_id=(None,),
        order_number=("#10000", "#10001", "", None),
        shipments=([],),
        line_items=([],),
        total_price=("n/a",),
    )


def _spoil_shipment(rng, sent, now):
    before, after = (write(now + timedelta(days=days)) for days in (-185, 3))
    _change(
        rng,
        sent,
        status=("cancelled", None),
        shipped_date=(None, before, after),
        warehouse_id=("elsewhere", None),
    )
    for line in sent["line_items"]:
        _change(rng, line, sku=(None, "", "X"), quantity=(None, 0, 9), parent_product_id=("", None))


def _change(rng, holder, **values):
    for name, others in values.items():
        if rng.random() < 0.05:
            holder[name] = rng.choice(others)


def write(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
