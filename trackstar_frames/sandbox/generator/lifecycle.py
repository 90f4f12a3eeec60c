"""What happens to an order, and what of it has happened by now."""

import math
import random
from typing import Any, NamedTuple

from trackstar_frames.sandbox.generator.merchant import (
    DAY,
    HOUR,
    MINUTE,
    SATURDAY,
    Customer,
    Merchant,
    Product,
    Service,
    Warehouse,
    after_workdays,
    chance,
    draw,
    fill,
    make_id,
    or_null,
    pick,
    slump,
    stamp,
    weekday,
)

Due = tuple[int | None, int]


class Timeline(NamedTuple):
    """The times of one order, in seconds since the epoch.

    Attributes
    ----------
    created
        When it was placed.
    due, due_by
        The due date as the order states it (None: it states none), and the last second of it.
    shipped
        When each of its shipments leaves, the first one first; empty if none ever does.
    cancelled
        When it is cancelled; None if it is not.
    stuck
        Whether it waits without end.
    """

    created: int
    due: int | None
    due_by: int
    shipped: tuple[int, ...]
    cancelled: int | None
    stuck: bool


def make_timeline(
    rng: random.Random, created: int, kind: str, due: str, punctuality: float
) -> Timeline:
    """Return the whole story of an order.

    Parameters
    ----------
    rng
        What chance decides.
    created
        When the order was placed.
    kind
        Its type; wholesale has more time.
    due
        How its due date is given: ``"day"``, ``"time"`` or ``"none"``.
    punctuality
        The chance that it leaves in time.
    """
    return make_course(rng, created, kind, _due(rng, created, kind, due), punctuality)


def make_course(
    rng: random.Random, created: int, kind: str, due: Due, punctuality: float
) -> Timeline:
    """Return the story of an order whose due date is known: as stated, and its last second."""
    stated, due_by = due
    regret = created + 120 + int(rng.expovariate(1 / (8 * HOUR)))
    cancelled = or_null(rng, regret, 1 - CANCELLED)
    stuck = cancelled is None and chance(rng, STUCK)
    shipped = () if stuck else _shipped(rng, created, due_by, kind, punctuality)
    return Timeline(created, stated, due_by, shipped, cancelled, stuck)


CANCELLED, STUCK, NO_DUE_DATE = 0.03, 0.005, 0.03
SPLIT = {"d2c": 0.06, "b2b": 0.12, "dropship": 0.03, "transfer": 0.1}
WORKDAYS = {
    "d2c": (0, 1, 1, 1, 2, 2),
    "b2b": (3, 4, 5, 7, 10),
    "dropship": (1, 2),
    "transfer": (4, 7),
}
CLOSING = (17 * HOUR, 20 * HOUR + HOUR // 2, 22 * HOUR + 59 * 60 + 59)


def _due(rng: random.Random, created: int, kind: str, due: str) -> Due:
    late_in_day = created % DAY > 14 * HOUR
    day = after_workdays(created, max(pick(rng, WORKDAYS[kind]), int(late_in_day)))
    time = pick(rng, CLOSING)
    if due == "time":
        while day + time < created + 2 * HOUR:
            day = after_workdays(day, 1)
        stated, due_by = day + time, day + time
    else:
        stated, due_by = day, day + DAY - 1
    unknown = due == "none" or rng.random() < NO_DUE_DATE
    return None if unknown else stated, due_by


def _shipped(
    rng: random.Random, created: int, due_by: int, kind: str, punctuality: float
) -> tuple[int, ...]:
    if chance(rng, punctuality):
        last = _in_time(rng, created, due_by)
    else:
        last = due_by + HOUR + int(rng.expovariate(1 / (1.5 * DAY)))
    if not chance(rng, SPLIT[kind]):
        return (last,)
    if chance(rng, 0.5):
        return (created + int((last - created) * rng.uniform(0.3, 0.9)), last)
    return (last, last + HOUR + int(rng.expovariate(1 / (8 * DAY))))


def _in_time(rng: random.Random, created: int, due_by: int) -> int:
    earliest = min(created + HOUR // 2, due_by)
    moment = earliest + int((due_by - earliest) * rng.random() ** 0.7)
    for preferred in (_on_workday(moment), moment):
        working = preferred // DAY * DAY + 8 * HOUR + draw(rng, 10 * HOUR)
        if earliest <= working <= due_by:
            return working
    return moment


def _on_workday(moment: int) -> int:
    return moment if weekday(moment) < SATURDAY else after_workdays(moment, 0)


class State(NamedTuple):
    """An order's status, when it last changed, and which of its shipments have left, and when."""

    status: str
    raw_status: str | None
    updated: int
    shipped: tuple[int, ...]


def make_state(rng: random.Random, timeline: Timeline, now: int) -> State:
    """Return what `timeline` has come to by `now`."""
    shipped = tuple(moment for moment in timeline.shipped if moment <= now)
    cancelled = timeline.cancelled
    if cancelled is not None and cancelled <= now and cancelled < min((*timeline.shipped, now + 1)):
        return _state(rng, "cancelled", cancelled, ())
    if shipped:
        whole = len(shipped) == len(timeline.shipped)
        updated = min(now, shipped[-1] + draw(rng, 20 * MINUTE))
        return _state(rng, "fulfilled" if whole else "partially_fulfilled", updated, shipped)
    return _open(rng, timeline, now)


def make_move(rng: random.Random, status: str, left: int, updated: int) -> State | None:
    """Return where an order that waits goes next, or None: as far as it can before it leaves.

    Parameters
    ----------
    rng
        What chance decides.
    status
        Where it is: a stage, or a trouble.
    left
        The seconds until it leaves.
    updated
        When it goes.
    """
    if status in TROUBLES:
        others = [trouble for trouble in TROUBLES if trouble != status]
        following = _stage(rng, left) if chance(rng, 0.75) else pick(rng, others)
    elif status in TROUBLED and chance(rng, 0.15):
        following = pick(rng, TROUBLES)
    elif status == LIFECYCLE[-1]:
        return None
    else:
        stage = max(LIFECYCLE.index(_stage(rng, left)), LIFECYCLE.index(status) + 1)
        following = LIFECYCLE[stage]
    return _state(rng, following, updated, ())


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
# How long before it leaves an order enters each stage, give or take.
STAGES = (
    (2 * HOUR, "packed"),
    (4 * HOUR, "picked"),
    (9 * HOUR, "processing"),
    (20 * HOUR, "confirmed"),
    (math.inf, "open"),
)
LIFECYCLE = tuple(stage for _, stage in reversed(STAGES))
TROUBLED = LIFECYCLE[:3]  # later on, the goods are at hand
TROUBLES = ("backordered", "backordered", "exception", "other", "other")


def _state(rng: random.Random, status: str, updated: int, shipped: tuple[int, ...]) -> State:
    return State(status, pick(rng, RAW_STATUSES[status]), updated, shipped)


def _open(rng: random.Random, timeline: Timeline, now: int) -> State:
    end = min(now, timeline.created + 30 * HOUR) if timeline.stuck else now
    updated = timeline.created + int((end - timeline.created) * rng.random())
    if chance(rng, 0.7 if timeline.stuck else 0.2):
        return _state(rng, pick(rng, TROUBLES), updated, ())
    return _state(rng, _stage(rng, min(timeline.shipped, default=now + DAY) - now), updated, ())


def _stage(rng: random.Random, left: int) -> str:
    if chance(rng, 0.8):
        # Waves, shifts and weekends decide more than the hours that are left.
        return pick(rng, STAGES)[1]
    about = left * rng.uniform(0.3, 1.5)
    return next(stage for limit, stage in STAGES if about < limit)


Line = tuple[Product, int]


class Parcel(NamedTuple):
    """One shipment to be: what, from where, how, and when (None: not yet)."""

    lines: list[Line]
    warehouse: Warehouse
    service: Service
    status: str
    shipped: int | None


def make_shipment(rng: random.Random, parcel: Parcel, ship_to: dict[str, Any]) -> dict[str, Any]:
    """Return the shipment that `parcel` describes, as the API gives it."""
    lines = [line for line in parcel.lines if line[1]]
    return {
        "shipment_id": make_id(rng),
        "warehouse_id": parcel.warehouse.id,
        "raw_status": pick(rng, SHIPMENT_STATUSES[parcel.status]),
        "status": parcel.status,
        "shipped_date": None if parcel.shipped is None else stamp(parcel.shipped),
        "shipping_method": parcel.service.method_name,
        "line_items": [_shipped_line(*item) for line in lines for item in _items(*line)],
        "ship_to_address": ship_to,
        "ship_from_address": parcel.warehouse.address,
        "packages": _packages(rng, parcel, lines) if parcel.shipped and chance(rng, 0.95) else [],
    }


def split(rng: random.Random, lines: list[Line]) -> list[list[Line]]:
    """Return `lines` as two shipments of at least one unit each, or as one if there is but one."""
    units = sum(quantity for _, quantity in lines)
    if units == 1:
        return [lines]
    first, left = [], rng.randrange(1, units)
    for product, quantity in lines:
        first.append((product, min(quantity, left)))
        left -= first[-1][1]
    pairs = zip(lines, first, strict=True)
    return [first, [(product, all_ - taken) for (product, all_), (_, taken) in pairs]]


SHIPMENT_STATUSES = {
    "open": ("READY", "LABEL_PENDING", None),
    "shipped": ("SHIPPED", "SHIPPED", "Shipped", "COMPLETE", None),
    "cancelled": ("VOID", "CANCELLED"),
    "other": ("RETURN_TO_SENDER", "HELD_AT_CARRIER"),
}


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


def _packages(rng: random.Random, parcel: Parcel, lines: list[Line]) -> list[dict[str, Any]]:
    boxes = _pack(lines, pick(rng, (1, 1, 1, 1, 1, 1, 2, 3)))
    return [_package(rng, parcel, box, number) for number, box in enumerate(boxes, 1)]


def _pack(lines: list[Line], count: int) -> list[list[Line]]:
    boxes: list[list[Line]] = [[] for _ in range(count)]
    for number, (product, quantity) in enumerate(lines):
        for place in range(count):
            share = quantity // count + ((place - number) % count < quantity % count)
            if share:
                boxes[place].append((product, share))
    return [box for box in boxes if box]


def _package(rng: random.Random, parcel: Parcel, lines: list[Line], number: int) -> dict[str, Any]:
    service = parcel.service
    tracking = or_null(rng, fill(service.tracking, rng), 0.02)
    package = {
        "package_id": make_id(rng),
        "package_name": pick(rng, (None, "", f"Box {number}", "Poly mailer", "Carton M")),
        "tracking_number": tracking,
        "tracking_url": service.url.format(tracking) if service.url and tracking else None,
        "shipping_method": service.method_name,
        "shipping_method_id": service.method_id,
        "shipping_method_name": service.method_name,
        "carrier": service.carrier_name,
        "carrier_id": service.carrier_id,
        "carrier_name": service.carrier_name,
        "scac": service.scac,
        "shipping_cost": or_null(rng, round(rng.lognormvariate(2.1, 0.5), 2), 0.08),
        "measurements": _measurements(rng, lines),
        "line_items": [_packed(rng, parcel, *item) for line in lines for item in _items(*line)],
    }
    if chance(rng, 0.05):
        # Deprecated keys are the first to go.
        del package["shipping_method"], package["carrier"]
    return package


def _measurements(rng: random.Random, lines: list[Line]) -> dict[str, Any]:
    if chance(rng, 0.08):
        return dict.fromkeys(("length", "width", "height", "unit", "weight", "weight_unit"))
    grams = sum(product.grams * quantity for product, quantity in lines) + 120
    weight_unit = pick(rng, ("lb", "lb", "oz", "kg"))
    sizes = sorted((round(rng.uniform(4, 30), 1) for _ in range(3)), reverse=True)
    return {
        **dict(zip(("length", "width", "height"), sizes, strict=True)),
        "unit": "cm" if weight_unit == "kg" else "in",
        "weight": round(grams / GRAMS[weight_unit], 2),
        "weight_unit": weight_unit,
    }


GRAMS = {"lb": 453.592, "oz": 28.3495, "kg": 1000.0}


def _packed(
    rng: random.Random, parcel: Parcel, product: Product, quantity: int, parent: str | None
) -> dict[str, Any]:
    lot = fill("L####@", rng) if chance(rng, 0.15) else None
    expiry = (parcel.shipped or 0) // DAY * DAY + (90 + draw(rng, 800)) * DAY
    return _shipped_line(product, quantity, parent) | {
        "sku": or_null(rng, product.sku, 0.01),
        "lot_id": lot,
        "expiration_date": stamp(expiry) if lot else None,
    }


class Draft(NamedTuple):
    """What is known of an order before it is drawn: `since` is when its connection began."""

    merchant: Merchant
    number: int
    created: int
    now: int
    since: int


class Plan(NamedTuple):
    """What is decided of an order before it is written down."""

    customer: Customer
    kind: str
    warehouse: Warehouse
    service: Service
    lines: list[Line]
    timeline: Timeline
    state: State

    @property
    def wholesale(self) -> bool:
        """Whether it goes to a business, in bulk."""
        return self.kind in BULK

    @property
    def picked(self) -> bool:
        """Whether its goods have been taken from the shelves."""
        return self.state.status in PICKED


def make_plan(rng: random.Random, draft: Draft) -> Plan:
    """Return what becomes of `draft`."""
    merchant = draft.merchant
    customer = pick(rng, merchant.customers)
    kind = _kind(rng, customer)
    warehouse = pick(rng, merchant.warehouses)
    bulk = kind in BULK
    service = pick(rng, merchant.freight if bulk else merchant.parcels)
    punctuality = warehouse.punctuality * slump(draft.created, draft.now)
    timeline = make_timeline(rng, draft.created, kind, customer.due, punctuality)
    lines = _lines(rng, merchant, bulk=bulk)
    if sum(quantity for _, quantity in lines) == 1:
        timeline = timeline._replace(shipped=timeline.shipped[-1:])
    state = make_state(rng, timeline, draft.now)
    return Plan(customer, kind, warehouse, service, lines, timeline, state)


def make_parcels(rng: random.Random, draft: Draft, plan: Plan) -> list[Parcel]:
    """Return the shipments that `plan` has come to."""
    elsewhere = pick(rng, draft.merchant.warehouses)
    warehouse = elsewhere if chance(rng, 0.05) else plan.warehouse
    if plan.state.status == "cancelled":
        lines = [plan.lines] if chance(rng, 0.25) else []
        return [Parcel(each, warehouse, plan.service, "cancelled", None) for each in lines]
    parts = split(rng, plan.lines) if len(plan.timeline.shipped) > 1 else [_short(rng, plan.lines)]
    moments = [*plan.state.shipped, None, None][: len(parts)]
    return [
        Parcel(part, warehouse, plan.service, parcel_status(rng, moment), moment)
        for part, moment in zip(parts, moments, strict=True)
        if moment is not None or (plan.picked and chance(rng, 0.6))
    ]


def parcel_status(rng: random.Random, shipped: int | None) -> str:
    """Return the status of a shipment that left then, or (None) has not left."""
    if shipped is None:
        return "open"
    return "other" if chance(rng, 0.004) else "shipped"


KINDS = ("d2c",) * 86 + ("b2b",) * 6 + ("dropship",) * 7 + ("transfer",)
BULK = ("b2b", "transfer")
PICKED = ("picked", "packed", "partially_fulfilled", "fulfilled")


def _kind(rng: random.Random, customer: Customer) -> str:
    if customer.channel == "edi":
        return "b2b"
    return pick(rng, KINDS)


def _lines(rng: random.Random, merchant: Merchant, *, bulk: bool) -> list[Line]:
    count = pick(rng, (1, 2, 3, 4, 6) if bulk else (1, 1, 1, 1, 2, 2, 3, 4))
    sizes = (6, 12, 12, 24, 48) if bulk else (1, 1, 1, 1, 1, 2, 2, 3)
    products = {pick(rng, merchant.products) for _ in range(count)}
    # Sets have an order of their own; a seed must not depend on it.
    return [(product, pick(rng, sizes)) for product in sorted(products)]


def _short(rng: random.Random, lines: list[Line]) -> list[Line]:
    if not chance(rng, 0.012):
        return lines
    (product, quantity), *others = lines
    return [(product, max(1, quantity - 1)), *others]
