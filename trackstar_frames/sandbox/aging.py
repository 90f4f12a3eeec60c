"""How an order's JSON follows its plan: statuses, lines, and shipments that leave."""

import random
from typing import Any, NamedTuple

from trackstar_frames.sandbox.chance import pick
from trackstar_frames.sandbox.merchant import Merchant
from trackstar_frames.sandbox.plan import Draft, Plan, make_parcels, parcel_status
from trackstar_frames.sandbox.recall import contents, dicts, left_of, packed, units
from trackstar_frames.sandbox.shipments import RAW_STATUSES, Line, Parcel, make_shipment

Order = dict[str, Any]


class Part(NamedTuple):
    """What is to leave together, and the shipment that waits for it (None: not yet made)."""

    lines: list[Line]
    shipment: dict[str, Any] | None


def fitted(plan: Plan, order: Order) -> Plan:
    """Return `plan` with no more shipments ahead than there are parts of the order left."""
    shipments = dicts(order.get("shipments"))
    most = len(_parts(order, plan)) if shipments else units(plan.lines)
    timeline = plan.timeline
    shipped = timeline.shipped if most > 1 else timeline.shipped[-1:]
    return plan._replace(timeline=timeline._replace(shipped=shipped))


def follow(rng: random.Random, order: Order, plan: Plan, merchant: Merchant) -> None:
    """Change `order` to what `plan` says of it."""
    order |= {"status": plan.state.status, "raw_status": plan.state.raw_status}
    for line in dicts(order.get("line_items")):
        if "is_picked" in line:
            line["is_picked"] = plan.picked
    shipments = _shipments(rng, order, plan, merchant)
    if shipments:
        order["shipments"] = shipments


SMALL = 1
LEAVING = ("raw_status", "status", "shipped_date", "packages")


def _parts(order: Order, plan: Plan) -> list[Part]:
    known = [Part(packed(each, plan.lines), each) for each in dicts(order.get("shipments"))]
    waits = [part for part in known if part.shipment and part.shipment.get("status") == "open"]
    rest = left_of(plan.lines, [line for part in known for line in part.lines])
    # A unit may be missing from a shipment that is otherwise whole; it does not follow alone.
    if not rest or (waits and units(rest) <= SMALL):
        return waits
    return [*waits, Part(rest, None)]


def _shipments(
    rng: random.Random, order: Order, plan: Plan, merchant: Merchant
) -> list[dict[str, Any]]:
    shipments = dicts(order.get("shipments"))
    if plan.state.status == "cancelled" and shipments:
        return [_void(rng, each) for each in shipments]
    if shipments:
        return _sent(rng, order, plan)
    ship_to = _ship_to(order)
    draft = Draft(merchant, 0, plan.timeline.created, plan.state.updated, 0)
    parcels = make_parcels(rng, draft, plan) if plan.lines else []
    return [make_shipment(rng, parcel, ship_to) for parcel in parcels]


def _void(rng: random.Random, shipment: dict[str, Any]) -> dict[str, Any]:
    if shipment.get("status") != "open":
        return shipment
    return shipment | {"status": "cancelled", "raw_status": pick(rng, RAW_STATUSES["cancelled"])}


def _sent(rng: random.Random, order: Order, plan: Plan) -> list[dict[str, Any]]:
    shipments, moments = dicts(order.get("shipments")), list(plan.state.shipped)
    parts = _parts(order, plan)
    if plan.state.status == "fulfilled":
        moments += moments[-1:] * len(parts)
    for part, moment in zip(parts, moments, strict=False):
        status = parcel_status(rng, moment)
        goods = contents(part.shipment, plan.lines) if part.shipment else part.lines
        parcel = Parcel(goods, plan.warehouse, plan.service, status, moment)
        made = make_shipment(rng, parcel, _ship_to(order))
        if part.shipment is None:
            shipments.append(made)
        else:
            part.shipment.pop("boxes", None)
            part.shipment.update({name: made[name] for name in LEAVING})
    return shipments


def _ship_to(order: Order) -> dict[str, Any]:
    address = order.get("ship_to_address")
    return address if isinstance(address, dict) else {}
