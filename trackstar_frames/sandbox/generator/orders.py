"""Made-up orders, as the API gives them."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from trackstar_frames.sandbox.generator.lifecycle import (
    BULK_TYPES,
    Plan,
    make_parcels,
    make_plan,
    make_shipment,
)
from trackstar_frames.sandbox.generator.merchant import (
    DAY,
    HOUR,
    Customer,
    Merchant,
    Product,
    Random,
    creation_times,
    format_time,
    make_address,
    make_merchant,
)

Order = dict[str, Any]

FIRST_NUMBER = 10_000


def make_orders(count: int, seed: str, now: datetime, *, days: int, odd: float) -> Iterator[Order]:
    """Yield orders of the `days` before `now`, in no meaningful order; a share `odd` is odd.

    The same seed and the same `now` give the same orders.
    """
    rng = _rng(seed)
    merchant = make_merchant(rng)
    today = int(now.timestamp())
    created = creation_times(rng, count, today - days * DAY, today)
    connected = today - max(days - 30, 0) * DAY
    for moment, number in zip(created, order_numbers(created, FIRST_NUMBER), strict=True):
        yield make_order(rng, Draft(merchant, number, moment, today, connected), odd)


def merchant_of(seed: str) -> Merchant:
    """Return the merchant whose orders `make_orders` makes from `seed`."""
    return make_merchant(_rng(seed))


def _rng(seed: str) -> Random:
    return Random(f"orders/{seed}")


def order_numbers(created: Sequence[int], first: int) -> list[int]:
    """Return a number for each of the creation times, counted from `first`, the earliest first."""
    by_time = sorted(range(len(created)), key=created.__getitem__)
    numbers = dict(zip(by_time, range(first, first + len(created)), strict=True))
    return [numbers[index] for index in range(len(created))]


class Draft(NamedTuple):
    """What is known of an order before it is drawn: `connected` is when Trackstar first saw it."""

    merchant: Merchant
    number: int
    created: int
    now: int
    connected: int


def make_order(rng: Random, draft: Draft, odd: float) -> Order:
    """Return the order of `draft`; in a share `odd` of all calls, an odd one."""
    order = _order(rng, draft)
    if rng.chance(odd):
        rng.choice(_ODDITIES)(order)
    return order


def seen_at(rng: Random, merchant: Merchant, moment: int) -> int:
    """Return when Trackstar's hourly sync sees what happened at `moment`."""
    return moment + (merchant.sync_second - moment) % HOUR + rng.draw(90)


_TAGS = ("wholesale", "fragile", "gift-wrap", "subscription", "first-order", "hazmat", "préçieux")
_DUTY_PAYERS = ("sender", "recipient", "third_party")
# Keys that some integrations leave out, and how often.
_OMITTED = (
    ("channel", 0.03),
    ("shipping_method", 0.03),
    ("trackstar_tags", 0.05),
    ("first_party_freight_account_number", 0.05),
    ("international_duty_paid_by", 0.05),
)


def _order(rng: Random, draft: Draft) -> Order:
    customer = rng.pick(draft.merchant.customers)
    plan = make_plan(rng, draft.merchant, customer, draft.created, draft.now)
    ship_to = make_address(rng, business=plan.kind in BULK_TYPES)
    order = {
        **_identity(rng, draft, customer, plan),
        **_shipping(rng, plan),
        **_money(rng, customer, plan),
        "ship_to_address": ship_to,
        "line_items": [_line(rng, plan, *line) for line in plan.lines],
        "tags": rng.sample(_TAGS, rng.pick((0, 0, 0, 1, 2))),
        **_requirements(rng, plan),
        "shipments": [
            make_shipment(rng, parcel, ship_to)
            for parcel in make_parcels(rng, draft.merchant, plan)
        ],
        **_of_trackstar(rng, draft, plan),
    }
    for name, share in _OMITTED:
        if rng.chance(share):
            del order[name]
    return order


def _identity(rng: Random, draft: Draft, customer: Customer, plan: Plan) -> Order:
    number = draft.number
    channel = {"channel_id": customer.channel_id, "channel_name": customer.channel}
    return {
        "id": rng.make_id(),
        "warehouse_customer_id": rng.or_null(customer.id, 0.01),
        "warehouse_id": rng.or_null(plan.warehouse.id, 0.03),
        "created_date": format_time(plan.timeline.created),
        "updated_date": format_time(plan.state.updated),
        "reference_id": rng.pick((f"{rng.getrandbits(40)}", f"{customer.prefix}{number}", "")),
        "order_number": f"{customer.prefix}{number}",
        "status": plan.state.status,
        "raw_status": plan.state.raw_status,
        "channel": customer.channel,
        "channel_object": channel if customer.channel else rng.pick(({}, channel)),
        "type": rng.or_null(plan.kind, 0.01),
        "trading_partner": customer.name if plan.kind == "b2b" else None,
    }


def _shipping(rng: Random, plan: Plan) -> Order:
    service = plan.service
    third_party = plan.kind == "b2b" and rng.chance(0.3)
    account = f"{rng.draw(10**7):07d}"
    return {
        "shipping_method": service.method_name,
        "service_level": service.level,
        "shipping_method_id": rng.or_null(service.method_id, 0.03),
        "shipping_method_name": rng.or_null(service.method_name, 0.03),
        "carrier_id": rng.or_null(service.carrier_id, 0.03),
        "carrier_name": rng.or_null(service.carrier_name, 0.03),
        "scac": rng.pick((service.scac, service.scac, service.scac, None, "")),
        "is_third_party_freight": rng.or_null(third_party, 0.1),
        "third_party_freight_account_number": account if third_party else None,
        "first_party_freight_account_number": account if rng.chance(0.03) else None,
    }


def _money(rng: Random, customer: Customer, plan: Plan) -> Order:
    goods = sum(product.price * quantity for product, quantity in plan.lines)
    discount = rng.pick((0.0, 0.0, 0.0, round(goods * 0.1, 2), None))
    shipping = rng.pick((0.0, 4.95, 7.5, 12.0, None))
    tax = round(goods * rng.pick((0.0, 0.0625, 0.0825, 0.19)), 2)
    total = round(goods + tax + (shipping or 0) - (discount or 0), 2)
    return {
        "invoice_currency_code": customer.currency,
        "total_price": rng.or_null(total, 0.01),
        "total_tax": rng.or_null(tax, 0.04),
        "total_discount": discount,
        "total_shipping": shipping,
    }


def _line(rng: Random, plan: Plan, product: Product, quantity: int) -> Order:
    return {
        "product_id": product.id,
        "sku": rng.or_null(product.sku, 0.01),
        "quantity": quantity,
        "unit_price": rng.or_null(product.price, 0.02),
        "is_picked": plan.state.picked,
        "discount_amount": rng.pick((None, 0.0, 0.0, 0.0, round(product.price * 0.1, 2))),
    }


def _requirements(rng: Random, plan: Plan) -> Order:
    due = plan.timeline.due
    abroad = rng.chance(0.15)
    return {
        "required_ship_date": None if due is None else format_time(due),
        "saturday_delivery": rng.pick((False, False, False, False, True, None)),
        "signature_required": rng.pick((False, False, False, True, None)),
        "international_duty_paid_by": rng.pick(_DUTY_PAYERS) if abroad else None,
    }


def _of_trackstar(rng: Random, draft: Draft, plan: Plan) -> Order:
    delay = rng.randrange(2 * HOUR, 30 * HOUR) if rng.chance(0.02) else 0
    created = max(seen_at(rng, draft.merchant, plan.timeline.created), draft.connected)
    updated = max(seen_at(rng, draft.merchant, plan.state.updated) + delay, created)
    url = f"https://{draft.merchant.integration}.example/orders/{draft.number}"
    return {
        "external_system_url": rng.or_null(url, 0.15),
        "trackstar_tags": _trackstar_tags(rng),
        "additional_fields": _additional_fields(rng, draft.merchant),
        "trackstar_created_date": format_time(min(created, draft.now)),
        "trackstar_updated_date": format_time(min(updated, draft.now)),
    }


def _trackstar_tags(rng: Random) -> list[Any] | None:
    if rng.chance(0.3):
        return None
    mixed = ["vip", "priority", "gift", {"batch": f"B-{rng.draw(1000)}"}, {"wave": "am"}]
    return rng.sample(mixed, rng.pick((0, 1, 1, 2, 3)))


def _additional_fields(rng: Random, merchant: Merchant) -> dict[str, Any]:
    if rng.chance(0.1):
        return {}
    if merchant.integration == "shipwise":
        return {"profile": "default", "holds": {"fraud": rng.chance(0.02), "address": False}}
    if merchant.integration == "depotly":
        wave = {"id": rng.draw(9000), "picker": rng.pick(("ana", "józef", "li", None))}
        return {"wave": wave, "printed": rng.pick((0, 1, 2))}
    return {"custom": [{"name": "gift_note", "value": rng.pick(("", "Happy birthday! 🎉"))}]}


# Oddities: what real integrations send, and the documentation does not promise


def _quantities_as_floats(order: Order) -> None:
    for line in order["line_items"]:
        line["quantity"] = float(line["quantity"])


def _other_address_keys(order: Order) -> None:
    address = order["ship_to_address"]
    address["name"] = address.pop("full_name")
    address["zip_code"] = address.pop("postal_code")


def _boxes(order: Order) -> None:
    for shipment in order["shipments"]:
        shipment["boxes"] = [
            {"box_id": package.pop("package_id"), **package} for package in shipment.pop("packages")
        ]


_ODDITIES: tuple[Callable[[Order], None], ...] = (
    lambda order: order.update(total_price=int(order["total_price"] or 0)),
    lambda order: order.update(total_price=f"{order['total_price'] or 0:.2f}"),
    lambda order: order["ship_to_address"].update(postal_code=94107),
    _quantities_as_floats,
    lambda order: order.update(required_ship_date=""),
    lambda order: order.update(total_tax=""),
    lambda order: order.update(saturday_delivery="false"),
    _other_address_keys,
    lambda order: order.update(fulfillment_priority={"level": 2, "reason": "vip"}),
    _boxes,
    lambda order: order.update(updated_date=order["updated_date"].replace("Z", ".250Z")),
    lambda order: order.update(shipments=None, tags=None),
)
