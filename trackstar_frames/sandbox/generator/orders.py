"""Orders as integrations send them that keep less to the documentation."""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from trackstar_frames.sandbox.generator.lifecycle import (
    Draft,
    Plan,
    make_parcels,
    make_plan,
    make_shipment,
)
from trackstar_frames.sandbox.generator.merchant import (
    DAY,
    HOUR,
    Merchant,
    Product,
    chance,
    draw,
    make_address,
    make_id,
    make_merchant,
    or_null,
    pick,
    placed,
    stamp,
)

Order = dict[str, Any]


def make_odd(rng: random.Random, order: Order) -> Order:
    """Return `order` with one oddity."""
    rng.choice(ODDITIES)(order)
    return order


def _whole_price(order: Order) -> None:
    order["total_price"] = int(order["total_price"] or 0)


def _price_as_text(order: Order) -> None:
    order["total_price"] = f"{order['total_price'] or 0:.2f}"


def _numeric_postal_code(order: Order) -> None:
    order["ship_to_address"]["postal_code"] = 94107


def _quantity_as_float(order: Order) -> None:
    for line in order["line_items"]:
        line["quantity"] = float(line["quantity"])


def _empty_due_date(order: Order) -> None:
    order["required_ship_date"] = ""


def _empty_price(order: Order) -> None:
    order["total_tax"] = ""


def _flag_as_text(order: Order) -> None:
    order["saturday_delivery"] = "false"


def _other_address_keys(order: Order) -> None:
    address = order["ship_to_address"]
    address["name"] = address.pop("full_name")
    address["zip_code"] = address.pop("postal_code")


def _new_field(order: Order) -> None:
    order["fulfillment_priority"] = {"level": 2, "reason": "vip"}


def _boxes(order: Order) -> None:
    for shipment in order["shipments"]:
        shipment["boxes"] = [
            {"box_id": package.pop("package_id"), **package} for package in shipment.pop("packages")
        ]


def _fraction_of_a_second(order: Order) -> None:
    order["updated_date"] = order["updated_date"].replace("Z", ".250Z")


def _nothing_inside(order: Order) -> None:
    order["shipments"] = order["tags"] = None


ODDITIES: tuple[Callable[[Order], None], ...] = (
    _whole_price,
    _price_as_text,
    _numeric_postal_code,
    _quantity_as_float,
    _empty_due_date,
    _empty_price,
    _flag_as_text,
    _other_address_keys,
    _new_field,
    _boxes,
    _fraction_of_a_second,
    _nothing_inside,
)


def make_orders(
    count: int, seed: str, now: datetime, *, days: int, odd: float
) -> Iterator[dict[str, Any]]:
    """Yield made-up orders, in no meaningful order.

    Parameters
    ----------
    count
        How many.
    seed
        The same seed and the same `now` give the same orders.
    now
        The time up to which they have happened.
    days
        How many days before `now` the first were created.
    odd
        The share of orders that are odd, as some integrations are.
    """
    rng = _rng(seed)
    merchant = make_merchant(rng)
    today = int(now.timestamp())
    created = placed(rng, count, today - days * DAY, today)
    since = today - max(days - 30, 0) * DAY
    for moment, number in zip(created, numbered(created, FIRST_NUMBER), strict=True):
        yield make_order(rng, Draft(merchant, number, moment, today, since), odd)


def merchant_of(seed: str) -> Merchant:
    """Return the merchant whose orders `make_orders` makes of `seed`."""
    return make_merchant(_rng(seed))


def numbered(created: Sequence[int], first: int) -> list[int]:
    """Return a number for each of the times, from `first` on, the earliest first."""
    ranks = sorted(range(len(created)), key=created.__getitem__)
    numbers = dict(zip(ranks, range(first, first + len(created)), strict=True))
    return [numbers[place] for place in range(len(created))]


def make_order(rng: random.Random, draft: Draft, odd: float) -> dict[str, Any]:
    """Return what becomes of `draft`, written down; odd in a share of all draws."""
    order = _order(rng, draft)
    return make_odd(rng, order) if rng.random() < odd else order


def synced(rng: random.Random, merchant: Merchant, moment: int) -> int:
    """Return when an hourly look at the merchant's orders sees what happened at `moment`."""
    return moment + (merchant.sync_second - moment) % HOUR + draw(rng, 90)


def _rng(seed: str) -> random.Random:
    return random.Random(f"orders/{seed}")


def _order(rng: random.Random, draft: Draft) -> dict[str, Any]:
    plan = make_plan(rng, draft)
    ship_to = make_address(rng, business=plan.wholesale)
    order = {
        **_head(rng, draft, plan),
        **_shipping(rng, plan),
        **_money(rng, plan),
        "ship_to_address": ship_to,
        "line_items": [_line(rng, plan, *line) for line in plan.lines],
        "tags": rng.sample(TAGS, pick(rng, (0, 0, 0, 1, 2))),
        **_demands(rng, plan),
        "shipments": _shipments(rng, draft, plan, ship_to),
        **_tail(rng, draft, plan),
    }
    return _omit(rng, order)


def _head(rng: random.Random, draft: Draft, plan: Plan) -> dict[str, Any]:
    customer, number = plan.customer, draft.number
    channel = {"channel_id": customer.channel_id, "channel_name": customer.channel}
    return {
        "id": make_id(rng),
        "warehouse_customer_id": or_null(rng, customer.id, 0.01),
        "warehouse_id": or_null(rng, plan.warehouse.id, 0.03),
        "created_date": stamp(plan.timeline.created),
        "updated_date": stamp(plan.state.updated),
        "reference_id": pick(rng, (f"{rng.getrandbits(40)}", f"{customer.prefix}{number}", "")),
        "order_number": f"{customer.prefix}{number}",
        "status": plan.state.status,
        "raw_status": plan.state.raw_status,
        "channel": customer.channel,
        "channel_object": channel if customer.channel else pick(rng, ({}, channel)),
        "type": or_null(rng, plan.kind, 0.01),
        "trading_partner": customer.name if plan.kind == "b2b" else None,
    }


def _shipping(rng: random.Random, plan: Plan) -> dict[str, Any]:
    service = plan.service
    third_party = plan.kind == "b2b" and chance(rng, 0.3)
    account = f"{draw(rng, 10**7):07d}"
    return {
        "shipping_method": service.method_name,
        "service_level": service.level,
        "shipping_method_id": or_null(rng, service.method_id, 0.03),
        "shipping_method_name": or_null(rng, service.method_name, 0.03),
        "carrier_id": or_null(rng, service.carrier_id, 0.03),
        "carrier_name": or_null(rng, service.carrier_name, 0.03),
        "scac": pick(rng, (service.scac, service.scac, service.scac, None, "")),
        "is_third_party_freight": or_null(rng, third_party, 0.1),
        "third_party_freight_account_number": account if third_party else None,
        "first_party_freight_account_number": account if chance(rng, 0.03) else None,
    }


def _money(rng: random.Random, plan: Plan) -> dict[str, Any]:
    goods = sum(product.price * quantity for product, quantity in plan.lines)
    discount = pick(rng, (0.0, 0.0, 0.0, round(goods * 0.1, 2), None))
    shipping = pick(rng, (0.0, 4.95, 7.5, 12.0, None))
    tax = round(goods * pick(rng, (0.0, 0.0625, 0.0825, 0.19)), 2)
    total = round(goods + tax + (shipping or 0) - (discount or 0), 2)
    return {
        "invoice_currency_code": plan.customer.currency,
        "total_price": or_null(rng, total, 0.01),
        "total_tax": or_null(rng, tax, 0.04),
        "total_discount": discount,
        "total_shipping": shipping,
    }


def _line(rng: random.Random, plan: Plan, product: Product, quantity: int) -> dict[str, Any]:
    return {
        "product_id": product.id,
        "sku": or_null(rng, product.sku, 0.01),
        "quantity": quantity,
        "unit_price": or_null(rng, product.price, 0.02),
        "is_picked": plan.picked,
        "discount_amount": pick(rng, (None, 0.0, 0.0, 0.0, round(product.price * 0.1, 2))),
    }


def _demands(rng: random.Random, plan: Plan) -> dict[str, Any]:
    due = plan.timeline.due
    abroad = chance(rng, 0.15)
    return {
        "required_ship_date": None if due is None else stamp(due),
        "saturday_delivery": pick(rng, (False, False, False, False, True, None)),
        "signature_required": pick(rng, (False, False, False, True, None)),
        "international_duty_paid_by": pick(rng, DUTY_PAYERS) if abroad else None,
    }


def _shipments(
    rng: random.Random, draft: Draft, plan: Plan, ship_to: dict[str, Any]
) -> list[dict[str, Any]]:
    return [make_shipment(rng, parcel, ship_to) for parcel in make_parcels(rng, draft, plan)]


def _tail(rng: random.Random, draft: Draft, plan: Plan) -> dict[str, Any]:
    arrived, changed = _arrivals(rng, draft, plan)
    url = f"https://{draft.merchant.integration}.example/orders/{draft.number}"
    return {
        "external_system_url": or_null(rng, url, 0.15),
        "trackstar_tags": _trackstar_tags(rng),
        "additional_fields": _additional_fields(rng, draft),
        "trackstar_created_date": stamp(arrived),
        "trackstar_updated_date": stamp(changed),
    }


def _arrivals(rng: random.Random, draft: Draft, plan: Plan) -> tuple[int, int]:
    late = rng.randrange(2 * HOUR, 30 * HOUR) if chance(rng, 0.02) else 0
    arrived = max(synced(rng, draft.merchant, plan.timeline.created), draft.since)
    changed = max(synced(rng, draft.merchant, plan.state.updated) + late, arrived)
    return min(arrived, draft.now), min(changed, draft.now)


def _trackstar_tags(rng: random.Random) -> list[Any] | None:
    if chance(rng, 0.3):
        return None
    mixed = ["vip", "priority", "gift", {"batch": f"B-{draw(rng, 1000)}"}, {"wave": "am"}]
    return rng.sample(mixed, pick(rng, (0, 1, 1, 2, 3)))


def _additional_fields(rng: random.Random, draft: Draft) -> dict[str, Any]:
    if chance(rng, 0.1):
        return {}
    if draft.merchant.integration == "shipwise":
        return {"profile": "default", "holds": {"fraud": chance(rng, 0.02), "address": False}}
    if draft.merchant.integration == "depotly":
        wave = {"id": draw(rng, 9000), "picker": pick(rng, ("ana", "józef", "li", None))}
        return {"wave": wave, "printed": pick(rng, (0, 1, 2))}
    return {"custom": [{"name": "gift_note", "value": pick(rng, ("", "Happy birthday! 🎉"))}]}


def _omit(rng: random.Random, order: dict[str, Any]) -> dict[str, Any]:
    for name, share in OMITTED:
        if rng.random() < share:
            del order[name]
    return order


FIRST_NUMBER = 10_000
TAGS = ("wholesale", "fragile", "gift-wrap", "subscription", "first-order", "hazmat", "préçieux")
DUTY_PAYERS = ("sender", "recipient", "third_party")
# Keys that some integrations leave out.
OMITTED = (
    ("channel", 0.03),
    ("shipping_method", 0.03),
    ("trackstar_tags", 0.05),
    ("first_party_freight_account_number", 0.05),
    ("international_duty_paid_by", 0.05),
)
