"""Made-up orders, as the API gives them.

An order is drawn as a plan: what is in it, when it is due, leaves or is cancelled, and what of that
has happened by now. The plan is then written as JSON.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from trackstar_frames.sandbox.generator import merchants
from trackstar_frames.sandbox.generator.merchants import DAY, HOUR, Merchant, Product, Random

Order = dict[str, Any]
Line = tuple[Product, int]

FIRST_NUMBER = 10_000
BULK_TYPES = ("b2b", "transfer")


class DueDate(NamedTuple):
    """The due date as an order states it (None: it does not), and the last second of it."""

    stated: int | None
    last: int


class Timeline(NamedTuple):
    """The times of one order, in seconds since the epoch."""

    created: int
    due: int | None  # as the order states it
    shipped: tuple[int, ...]  # when each shipment leaves, the first one first
    cancelled: int | None
    stuck: bool  # it waits without end

    @property
    def next_event(self) -> float:
        """When the order first leaves or is cancelled; infinite if neither happens."""
        cancelled = math.inf if self.cancelled is None else self.cancelled
        return min((cancelled, *self.shipped))


class State(NamedTuple):
    """An order's status, when it last changed, and which of its shipments have left, and when."""

    status: str
    raw_status: str | None
    updated: int
    shipped: tuple[int, ...]

    @property
    def picked(self) -> bool:
        """Whether the goods have been taken from the shelves."""
        return self.status in ("picked", "packed", "partially_fulfilled", "fulfilled")


class Plan(NamedTuple):
    """What is decided about an order before it is written as JSON."""

    kind: str
    warehouse: merchants.Warehouse
    service: merchants.Service
    lines: list[Line]
    timeline: Timeline
    state: State


class Parcel(NamedTuple):
    """A shipment before it is written as JSON; `shipped` is None until it has left."""

    lines: list[Line]
    warehouse: merchants.Warehouse
    service: merchants.Service
    status: str
    shipped: int | None


class Draft(NamedTuple):
    """What is known of an order before it is drawn: `connected` is when Trackstar first saw it."""

    merchant: Merchant
    number: int
    created: int
    now: int
    connected: int


def make_orders(count: int, seed: str, now: datetime, *, days: int, odd: float) -> Iterator[Order]:
    """Yield orders of the `days` before `now`, in no meaningful order; a share `odd` is odd."""
    rng = Random(f"orders/{seed}")
    merchant = merchants.make_merchant(rng)
    today = int(now.timestamp())
    created = merchants.creation_times(rng, count, today - days * DAY, today)
    connected = today - max(days - 30, 0) * DAY
    for moment, number in zip(created, order_numbers(created, FIRST_NUMBER), strict=True):
        yield make_order(rng, Draft(merchant, number, moment, today, connected), odd)


def merchant_of(seed: str) -> Merchant:
    """Return the merchant whose orders `make_orders` makes from `seed`."""
    return merchants.make_merchant(Random(f"orders/{seed}"))


def order_numbers(created: Sequence[int], first: int) -> list[int]:
    """Return a number for each of the creation times, counted from `first`, the earliest first."""
    by_time = sorted(range(len(created)), key=created.__getitem__)
    numbers = dict(zip(by_time, range(first, first + len(created)), strict=True))
    return [numbers[index] for index in range(len(created))]


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


def make_order(rng: Random, draft: Draft, odd: float) -> Order:
    """Return the order of `draft`; in a share `odd` of all calls, an odd one."""
    customer = rng.pick(draft.merchant.customers)
    plan = make_plan(rng, draft.merchant, customer, draft.created, draft.now)
    ship_to = merchants.make_address(rng, business=plan.kind in BULK_TYPES)
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
    if rng.chance(odd):
        rng.choice(_ODDITIES)(order)
    return order


def _identity(rng: Random, draft: Draft, customer: merchants.Customer, plan: Plan) -> Order:
    number = draft.number
    channel = {"channel_id": customer.channel_id, "channel_name": customer.channel}
    return {
        "id": rng.make_id(),
        "warehouse_customer_id": rng.or_null(customer.id, 0.01),
        "warehouse_id": rng.or_null(plan.warehouse.id, 0.03),
        "created_date": merchants.format_time(plan.timeline.created),
        "updated_date": merchants.format_time(plan.state.updated),
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


def _money(rng: Random, customer: merchants.Customer, plan: Plan) -> Order:
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
        "required_ship_date": None if due is None else merchants.format_time(due),
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
        "trackstar_created_date": merchants.format_time(min(created, draft.now)),
        "trackstar_updated_date": merchants.format_time(min(updated, draft.now)),
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


# Plans


def make_plan(
    rng: Random, merchant: Merchant, customer: merchants.Customer, created: int, now: int
) -> Plan:
    """Return the plan of an order of `customer` as it stands at `now`."""
    kind = "b2b" if customer.channel == "edi" else rng.pick(_TYPES)
    bulk = kind in BULK_TYPES
    warehouse = rng.pick(merchant.warehouses)
    service = rng.pick(merchant.freight if bulk else merchant.parcels)
    # Two weeks went badly, two months ago.
    bad_weeks = 56 * DAY < now - created < 70 * DAY
    punctuality = warehouse.punctuality * (0.8 if bad_weeks else 1.0)
    due = make_due_date(rng, created, kind, customer.due)
    timeline = make_timeline(rng, created, kind, due, punctuality)
    lines = _lines(rng, merchant, bulk=bulk)
    if units(lines) == 1:
        timeline = timeline._replace(shipped=timeline.shipped[-1:])
    return Plan(kind, warehouse, service, lines, timeline, state_at(rng, timeline, now))


_TYPES = ("d2c",) * 86 + ("b2b",) * 6 + ("dropship",) * 7 + ("transfer",)


def _lines(rng: Random, merchant: Merchant, *, bulk: bool) -> list[Line]:
    count = rng.pick((1, 2, 3, 4, 6) if bulk else (1, 1, 1, 1, 2, 2, 3, 4))
    sizes = (6, 12, 12, 24, 48) if bulk else (1, 1, 1, 1, 1, 2, 2, 3)
    products = {rng.pick(merchant.products) for _ in range(count)}
    # The order of a set varies between processes; the orders of a seed must not.
    return [(product, rng.pick(sizes)) for product in sorted(products)]


# Timelines

_CANCELLED, _STUCK, _NO_DUE_DATE = 0.03, 0.005, 0.03
_SPLIT = {"d2c": 0.06, "b2b": 0.12, "dropship": 0.03, "transfer": 0.1}
_WORKDAYS_TO_SHIP = {
    "d2c": (0, 1, 1, 1, 2, 2),
    "b2b": (3, 4, 5, 7, 10),
    "dropship": (1, 2),
    "transfer": (4, 7),
}
_CLOSING_TIMES = (17 * HOUR, 20 * HOUR + HOUR // 2, 22 * HOUR + 59 * 60 + 59)


def make_due_date(rng: Random, created: int, kind: str, form: str) -> DueDate:
    """Return the due date of an order, in a customer's form: ``"day"``, ``"time"``, ``"none"``."""
    late_in_day = created % DAY > 14 * HOUR
    workdays = max(rng.pick(_WORKDAYS_TO_SHIP[kind]), int(late_in_day))
    day = merchants.after_workdays(created, workdays)
    time = rng.pick(_CLOSING_TIMES)
    stated, last = day, day + DAY - 1
    if form == "time":
        while day + time < created + 2 * HOUR:
            day = merchants.after_workdays(day, 1)
        stated = last = day + time
    return DueDate(None if form == "none" or rng.chance(_NO_DUE_DATE) else stated, last)


def make_timeline(
    rng: Random, created: int, kind: str, due: DueDate, punctuality: float
) -> Timeline:
    """Return the whole life of an order; `punctuality` is the probability that it is in time."""
    regretted = created + 120 + int(rng.expovariate(1 / (8 * HOUR)))
    cancelled = rng.or_null(regretted, 1 - _CANCELLED)
    stuck = cancelled is None and rng.chance(_STUCK)
    shipped = () if stuck else _shipped(rng, created, due.last, kind, punctuality)
    return Timeline(created, due.stated, shipped, cancelled, stuck)


def _shipped(rng: Random, created: int, due: int, kind: str, punctuality: float) -> tuple[int, ...]:
    if rng.chance(punctuality):
        last = _in_time(rng, created, due)
    else:
        last = due + HOUR + int(rng.expovariate(1 / (1.5 * DAY)))
    if not rng.chance(_SPLIT[kind]):
        return (last,)
    if rng.chance(0.5):
        return (created + int((last - created) * rng.uniform(0.3, 0.9)), last)
    return (last, last + HOUR + int(rng.expovariate(1 / (8 * DAY))))


def _in_time(rng: Random, created: int, due: int) -> int:
    earliest = min(created + HOUR // 2, due)
    moment = earliest + int((due - earliest) * rng.random() ** 0.7)
    for day in (merchants.after_workdays(moment, 0), moment // DAY * DAY):
        working = day + 8 * HOUR + rng.draw(10 * HOUR)
        if earliest <= working <= due:
            return working
    return moment


# States

RAW_STATUSES: dict[str, tuple[str | None, ...]] = {
    "open": ("NEW", "Awaiting fulfillment", None),
    "confirmed": ("ACCEPTED", "Allocated"),
    "processing": ("IN_WAVE", "Picking", None),
    "picked": ("PICKED",),
    "packed": ("PACKED", "Awaiting carrier"),
    "partially_fulfilled": ("PARTIAL", "Partially shipped"),
    "fulfilled": ("SHIPPED", "SHIPPED", "Complete", None, ""),
    "backordered": ("BACKORDER", "Out of stock"),
    "exception": ("ADDRESS_ERROR", "Exception"),
    "cancelled": ("CANCELLED", "Canceled", None),
    "other": ("ON_HOLD_FRAUD", "Awaiting payment", "PENDING_PICKUP"),
}
# At most how long before it leaves an order is in each stage, roughly.
_STAGES = (
    (2 * HOUR, "packed"),
    (4 * HOUR, "picked"),
    (9 * HOUR, "processing"),
    (20 * HOUR, "confirmed"),
    (math.inf, "open"),
)
_STAGES_IN_ORDER = tuple(stage for _, stage in reversed(_STAGES))
_PROBLEMS = ("backordered", "backordered", "exception", "other", "other")
_BEFORE_PICKING = _STAGES_IN_ORDER[:3]


def state_at(rng: Random, timeline: Timeline, now: int) -> State:
    """Return the state that an order of `timeline` has at `now`."""
    shipped = tuple(moment for moment in timeline.shipped if moment <= now)
    cancelled = timeline.cancelled
    if cancelled is not None and cancelled <= now and cancelled < min((*timeline.shipped, now + 1)):
        return _state(rng, "cancelled", cancelled)
    if shipped:
        status = "fulfilled" if shipped == timeline.shipped else "partially_fulfilled"
        updated = min(now, shipped[-1] + rng.draw(HOUR // 3))
        return _state(rng, status, updated, shipped)
    return _waiting_state(rng, timeline, now)


def next_state(rng: Random, status: str, left: int, updated: int) -> State | None:
    """Return the state after `status` of an order that leaves in `left` seconds; None: no other."""
    if status in _PROBLEMS:
        others = [problem for problem in _PROBLEMS if problem != status]
        following = _stage(rng, left) if rng.chance(0.75) else rng.pick(others)
    elif status in _BEFORE_PICKING and rng.chance(0.15):
        following = rng.pick(_PROBLEMS)
    elif status == _STAGES_IN_ORDER[-1]:
        return None
    else:
        stages = _STAGES_IN_ORDER
        following = stages[max(stages.index(_stage(rng, left)), stages.index(status) + 1)]
    return _state(rng, following, updated)


def _state(rng: Random, status: str, updated: int, shipped: tuple[int, ...] = ()) -> State:
    return State(status, rng.pick(RAW_STATUSES[status]), updated, shipped)


def _waiting_state(rng: Random, timeline: Timeline, now: int) -> State:
    end = min(now, timeline.created + 30 * HOUR) if timeline.stuck else now
    updated = timeline.created + int((end - timeline.created) * rng.random())
    if rng.chance(0.7 if timeline.stuck else 0.2):
        return _state(rng, rng.pick(_PROBLEMS), updated)
    return _state(rng, _stage(rng, min(timeline.shipped, default=now + DAY) - now), updated)


def _stage(rng: Random, left: int) -> str:
    if rng.chance(0.8):
        # Waves, shifts and weekends decide more than the hours that are left.
        return rng.pick(_STAGES)[1]
    about = left * rng.uniform(0.3, 1.5)
    return next(stage for limit, stage in _STAGES if about < limit)


# Shipments

SHIPMENT_RAW_STATUSES = {
    "open": ("READY", "LABEL_PENDING", None),
    "shipped": ("SHIPPED", "SHIPPED", "Shipped", "COMPLETE", None),
    "cancelled": ("VOID", "CANCELLED"),
    "other": ("RETURN_TO_SENDER", "HELD_AT_CARRIER"),
}
_GRAMS_PER_UNIT = {"lb": 453.592, "oz": 28.3495, "kg": 1000.0}


def make_parcels(rng: Random, merchant: Merchant, plan: Plan) -> list[Parcel]:
    """Return the shipments that an order of `plan` has so far."""
    elsewhere = rng.pick(merchant.warehouses)
    warehouse = elsewhere if rng.chance(0.05) else plan.warehouse
    if plan.state.status == "cancelled":
        lines = [plan.lines] if rng.chance(0.25) else []
        return [Parcel(each, warehouse, plan.service, "cancelled", None) for each in lines]
    parts = [plan.lines]
    if len(plan.timeline.shipped) > 1:
        parts = _split(rng, plan.lines)
    elif rng.chance(0.012):  # a unit is missing
        (product, quantity), *others = plan.lines
        parts = [[(product, max(1, quantity - 1)), *others]]
    moments = (*plan.state.shipped, None, None)
    return [
        Parcel(part, warehouse, plan.service, parcel_status(rng, moment), moment)
        for part, moment in zip(parts, moments, strict=False)
        if moment is not None or (plan.state.picked and rng.chance(0.6))
    ]


def parcel_status(rng: Random, shipped: int | None) -> str:
    """Return the status of a shipment that left at `shipped`, or has not left (None)."""
    if shipped is None:
        return "open"
    return "other" if rng.chance(0.004) else "shipped"


def make_shipment(rng: Random, parcel: Parcel, ship_to: dict[str, Any]) -> dict[str, Any]:
    """Return the shipment that `parcel` describes, as the API gives it."""
    lines = [line for line in parcel.lines if line[1]]
    return {
        "shipment_id": rng.make_id(),
        "warehouse_id": parcel.warehouse.id,
        "raw_status": rng.pick(SHIPMENT_RAW_STATUSES[parcel.status]),
        "status": parcel.status,
        "shipped_date": None if parcel.shipped is None else merchants.format_time(parcel.shipped),
        "shipping_method": parcel.service.method_name,
        "line_items": [_shipped_line(*item) for line in lines for item in _items(*line)],
        "ship_to_address": ship_to,
        "ship_from_address": parcel.warehouse.address,
        "packages": _packages(rng, parcel, lines) if parcel.shipped and rng.chance(0.95) else [],
    }


def _split(rng: Random, lines: list[Line]) -> list[list[Line]]:
    """Split two or more units into two shipments of at least one unit each."""
    first, left = [], rng.randrange(1, units(lines))
    for product, quantity in lines:
        first.append((product, min(quantity, left)))
        left -= first[-1][1]
    pairs = zip(lines, first, strict=True)
    return [first, [(product, all_ - taken) for (product, all_), (_, taken) in pairs]]


def units(lines: list[Line]) -> int:
    """Return how many units `lines` contain."""
    return sum(quantity for _, quantity in lines)


def _items(product: Product, quantity: int) -> list[tuple[Product, int, str | None]]:
    if not product.parts:
        return [(product, quantity, None)]
    return [(part, quantity, product.id) for part in product.parts]


def _shipped_line(product: Product, quantity: int, parent: str | None) -> dict[str, Any]:
    return {
        "inventory_item_id": product.item_id,
        "sku": product.sku,
        "quantity": quantity,
        "parent_product_id": parent,
    }


def _packages(rng: Random, parcel: Parcel, lines: list[Line]) -> list[dict[str, Any]]:
    boxes = _distribute(lines, rng.pick((1, 1, 1, 1, 1, 1, 2, 3)))
    return [_package(rng, parcel, box, number) for number, box in enumerate(boxes, 1)]


def _distribute(lines: list[Line], count: int) -> list[list[Line]]:
    """Distribute `lines` over `count` boxes; empty ones are left out."""
    boxes: list[list[Line]] = [[] for _ in range(count)]
    for number, (product, quantity) in enumerate(lines):
        for index, box in enumerate(boxes):
            share = quantity // count + ((index - number) % count < quantity % count)
            if share:
                box.append((product, share))
    return [box for box in boxes if box]


def _package(rng: Random, parcel: Parcel, lines: list[Line], number: int) -> dict[str, Any]:
    service = parcel.service
    tracking = rng.or_null(rng.fill_pattern(service.tracking), 0.02)
    package = {
        "package_id": rng.make_id(),
        "package_name": rng.pick((None, "", f"Box {number}", "Poly mailer", "Carton M")),
        "tracking_number": tracking,
        "tracking_url": service.url.format(tracking) if service.url and tracking else None,
        "shipping_method": service.method_name,
        "shipping_method_id": service.method_id,
        "shipping_method_name": service.method_name,
        "carrier": service.carrier_name,
        "carrier_id": service.carrier_id,
        "carrier_name": service.carrier_name,
        "scac": service.scac,
        "shipping_cost": rng.or_null(round(rng.lognormvariate(2.1, 0.5), 2), 0.08),
        "measurements": _measurements(rng, lines),
        "line_items": [
            _packed_line(rng, parcel, *item) for line in lines for item in _items(*line)
        ],
    }
    if rng.chance(0.05):
        # Some integrations no longer send the deprecated keys.
        del package["shipping_method"], package["carrier"]
    return package


def _measurements(rng: Random, lines: list[Line]) -> dict[str, Any]:
    if rng.chance(0.08):
        return dict.fromkeys(("length", "width", "height", "unit", "weight", "weight_unit"))
    grams = sum(product.grams * quantity for product, quantity in lines) + 120
    weight_unit = rng.pick(("lb", "lb", "oz", "kg"))
    sizes = sorted((round(rng.uniform(4, 30), 1) for _ in range(3)), reverse=True)
    return {
        **dict(zip(("length", "width", "height"), sizes, strict=True)),
        "unit": "cm" if weight_unit == "kg" else "in",
        "weight": round(grams / _GRAMS_PER_UNIT[weight_unit], 2),
        "weight_unit": weight_unit,
    }


def _packed_line(
    rng: Random, parcel: Parcel, product: Product, quantity: int, parent: str | None
) -> dict[str, Any]:
    lot = rng.fill_pattern("L####@") if rng.chance(0.15) else None
    expiry = (parcel.shipped or 0) // DAY * DAY + (90 + rng.draw(800)) * DAY
    return _shipped_line(product, quantity, parent) | {
        "sku": rng.or_null(product.sku, 0.01),
        "lot_id": lot,
        "expiration_date": merchants.format_time(expiry) if lot else None,
    }


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
