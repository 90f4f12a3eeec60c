"""How much of an order has shipped, in plain Python, one unit's worth at a time.

Imports nothing of the package. It takes orders as the API gives them; a key that is not there
is null, and so is an empty text.
"""

from collections import Counter
from datetime import UTC, datetime


def moment(text):
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def text(line, key):
    return line.get(key) or None


def fill_order(order, until):
    """Count an order's lines and units by what was shipped until a moment (None: nothing)."""
    contents, lines = in_shipments(order, until), order.get("line_items", [])
    parents = {text(line, "parent_product_id") for line, _ in contents} - {None}
    slots = [slot_of(line, parents) for line in lines]
    nets = Counter()
    for slot, line in zip(slots, lines, strict=True):
        nets[slot] += line.get("quantity") or 0
    nets = {slot: max(0, units) for slot, units in nets.items()}
    counts = Counter(undated=sum(not each.get("shipped_date") for each in live(order)))
    supply, surplus, nameless = sort_out(contents, lines, slots, counts)
    covered = {slot: min(nets[slot], supply[slot]) for slot in nets if slot}
    surplus += sum(supply[slot] - units for slot, units in covered.items())
    for slot, units in covered.items():
        covered[slot] += min(nets[slot] - units, kits_made(contents, slot, nets[slot]))
    covered[None] = min(surplus, nets.get(None, 0))
    by_count = min(nameless, sum(nets.values()) - sum(covered.values()))
    counts["units"] = sum(nets.values())
    counts["units_filled"] = sum(covered.values()) + by_count
    counts["units_overshipped"] = surplus - covered[None] + nameless - by_count
    counts["unmatched_units"] += nets.get(None, 0)
    give(lines, slots, [nets, covered], by_count, counts)
    return counts


def live(order):
    return [each for each in order.get("shipments", []) if each.get("status") != "cancelled"]


def in_shipments(order, until):
    """List each shipped line, and its units that left in time."""
    found = []
    for shipment in live(order):
        packages = shipment.get("packages") or []
        packed = [line for each in packages for line in each.get("line_items", [])]
        stamp = moment(shipment.get("shipped_date"))
        in_time = None not in (stamp, until) and stamp <= until
        lines = shipment.get("line_items") or packed
        found += [(line, (line.get("quantity") or 0) * in_time) for line in lines]
    return found


def slot_of(line, parents):
    """Name what a line's units are netted with: a kit, a sku, or all that has no name."""
    if text(line, "product_id") in parents:
        return "kit", line["product_id"]
    sku = text(line, "sku")
    return sku and ("sku", sku)


def sort_out(contents, lines, slots, counts):
    """Put shipped units where they belong: to a slot, to nothing ordered, or to no sku at all."""
    supply, foreign, nameless = Counter(), 0, 0
    for line, units in contents:
        sku = text(line, "sku")
        same = [s for s, each in zip(slots, lines, strict=True) if sku and text(each, "sku") == sku]
        if ("kit", text(line, "parent_product_id")) in slots:
            counts["kit_units"] += units
        elif same:
            supply[("sku", sku) if ("sku", sku) in slots else same[0]] += units
        else:
            counts["unmatched_units"] += units
            foreign += units * (sku is not None)
            nameless += units * (sku is None)
    return supply, foreign, nameless


def kits_made(contents, slot, ordered):
    """Count the whole kits of which as large a share has shipped as of the scarcest part."""
    sent, total = Counter(), Counter()
    for line, units in contents:
        if slot == ("kit", text(line, "parent_product_id")):
            part = text(line, "sku") or text(line, "inventory_item_id")
            sent[part] += units
            total[part] += line.get("quantity") or 0
    return min((sent[part] * ordered // total[part] for part in total if total[part]), default=0)


def give(lines, slots, pools, by_count, counts):
    """Fill the lines in turn: with what is of their slot, and then with units without a sku."""
    nets, covered = (dict(pool) for pool in pools)
    for line, slot in zip(lines, slots, strict=True):
        wanted = min(max(0, line.get("quantity") or 0), nets[slot])
        nets[slot] -= wanted
        filled = min(wanted, covered[slot])
        covered[slot] -= filled
        more = min(wanted - filled, by_count)
        by_count -= more
        unknown = line.get("quantity") is None
        counts["lines"] += unknown or wanted > 0
        counts["lines_filled"] += 0 < wanted == filled + more


def left_out(order, as_of):
    """Tell why an order is in no fill rate; None for one that is."""
    created = moment(order.get("created_date"))
    if created is not None and created > as_of:
        return "created after as_of"
    if order.get("status") == "cancelled":
        return "cancelled"
    return None if fill_order(order, None)["lines"] else "nothing ordered"


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
