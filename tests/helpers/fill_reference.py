"""How much of an order has shipped, in plain Python, one unit's worth at a time.

Imports nothing of the package. It takes orders as the API gives them; a key that is not there
is null, and so is an empty text.
"""

from collections import Counter, defaultdict
from datetime import UTC, datetime


def moment(text):
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def text(line, key):
    return line.get(key) or None


def fill_order(order, until):
    """Count an order's lines and units by what was shipped until a moment (None: nothing)."""
    everything, lines = order.get("line_items", []), wanting(order)
    parts, loose, counts = defaultdict(Counter), Counter(), Counter(lines=len(lines))
    pools = {"kits": parts, "skus": loose}
    live = [each for each in order.get("shipments", []) if each.get("status") != "cancelled"]
    for shipment in live:
        stamp = moment(shipment.get("shipped_date"))
        counts["undated"] += stamp is None
        in_time = None not in (stamp, until) and stamp <= until
        for line in shipment.get("line_items", []):
            units = (line.get("quantity") or 0) * in_time
            take(line, units, everything, pools, counts)
    kits = {product: min(shipped.values()) for product, shipped in parts.items()}
    give(lines, loose, kits, parts, counts)
    return counts


def wanting(order):
    """List the lines that ask for something, or do not say how much."""
    lines = order.get("line_items", [])
    return [line for line in lines if line.get("quantity") is None or line["quantity"] > 0]


def take(line, units, lines, pools, counts):
    """Put shipped units where they may fill a line, be it one of nothing."""
    sku, parent = text(line, "sku"), text(line, "parent_product_id")
    counts["units_shipped"] += units
    counts["kit_units"] += units * (parent is not None)
    if parent is not None and parent in [text(each, "product_id") for each in lines]:
        pools["kits"][parent][sku or text(line, "inventory_item_id")] += units
    elif sku is not None and sku in [text(each, "sku") for each in lines]:
        pools["skus"][sku] += units
    else:
        counts["unmatched_units"] += units


def give(lines, loose, kits, parts, counts):
    """Fill the lines by sku first, and what is left of them by kits."""
    given = [0] * len(lines)
    for pool, key in ((loose, "sku"), (kits, "product_id")):
        for place, line in enumerate(lines):
            left = max(0, pool.get(text(line, key), 0))
            got = min((line.get("quantity") or 0) - given[place], left)
            given[place] += got
            if got:
                pool[line[key]] -= got
    for line, units in zip(lines, given, strict=True):
        wanted = line.get("quantity")
        counts["units"] += wanted or 0
        counts["units_filled"] += units
        counts["lines_filled"] += wanted == units
        if text(line, "sku") is None and text(line, "product_id") not in parts:
            counts["unmatched_units"] += wanted or 0


def left_out(order, as_of):
    """Tell why an order is in no fill rate; None for one that is."""
    created = moment(order.get("created_date"))
    if created is not None and created > as_of:
        return "created after as_of"
    if order.get("status") == "cancelled":
        return "cancelled"
    return None if wanting(order) else "nothing ordered"


def count_orders(orders, as_of):
    """Sum `fill_order` over the orders that are in the rates."""
    total = Counter()
    for order in orders:
        if left_out(order, as_of):
            total["left_out"] += 1
            continue
        counts = fill_order(order, as_of)
        total.update(counts, orders=1, orders_filled=counts["lines"] == counts["lines_filled"])
    return total
