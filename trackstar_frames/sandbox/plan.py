"""What is decided of a made-up order before it is written down."""

import random
from typing import NamedTuple

from trackstar_frames.sandbox.chance import chance, pick
from trackstar_frames.sandbox.clock import slump
from trackstar_frames.sandbox.merchant import Customer, Merchant, Service, Warehouse
from trackstar_frames.sandbox.shipments import Line, Parcel, split
from trackstar_frames.sandbox.state import State, make_state
from trackstar_frames.sandbox.timeline import Timeline, make_timeline


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
