"""What may change on an order without a step ahead: its due date, a tag, a price, a return."""

import random
from collections.abc import Callable
from typing import Any

from trackstar_frames.sandbox.chance import draw, pick
from trackstar_frames.sandbox.clock import DAY, after_workdays, stamp
from trackstar_frames.sandbox.recall import dicts
from trackstar_frames.sandbox.shipments import RAW_STATUSES

Order = dict[str, Any]


def redate(rng: random.Random, order: Order, due: int) -> None:
    """Give `order` a few workdays more than its due date, at the same time of day."""
    later = after_workdays(due, 1 + draw(rng, 4)) + due % DAY
    order["required_ship_date"] = stamp(later)


def amend(rng: random.Random, order: Order) -> None:
    """Change `order` as may happen long after it left."""
    if not pick(rng, AMENDMENTS)(rng, order):
        tag(rng, order)


def tag(rng: random.Random, order: Order) -> bool:
    """Give `order` one more tag."""
    tags = order.get("tags")
    order["tags"] = [*(tags if isinstance(tags, list) else []), f"audit-{draw(rng, 10_000)}"]
    return True


def _trackstar_tag(rng: random.Random, order: Order) -> bool:
    tags = order.get("trackstar_tags")
    if not isinstance(tags, list):
        return False
    order["trackstar_tags"] = [*tags, {"claim": f"C-{draw(rng, 10_000)}"}]
    return True


def _refund(_rng: random.Random, order: Order) -> bool:
    price, discount = order.get("total_price"), order.get("total_discount") or 0.0
    if not (isinstance(price, float) and price > 1 and isinstance(discount, float)):
        return False
    refund = round(price * 0.1, 2)
    order["total_price"] = round(price - refund, 2)
    order["total_discount"] = round(discount + refund, 2)
    return True


def _return(rng: random.Random, order: Order) -> bool:
    gone = [each for each in dicts(order.get("shipments")) if each.get("status") == "shipped"]
    for shipment in gone[-1:]:
        shipment |= {"status": "other", "raw_status": pick(rng, RAW_STATUSES["other"])}
    return bool(gone)


AMENDMENTS: tuple[Callable[[random.Random, Order], bool], ...] = (
    tag,
    _trackstar_tag,
    _refund,
    _refund,
    _return,
)
