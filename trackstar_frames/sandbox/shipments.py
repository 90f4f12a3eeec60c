"""The shipments of a made-up order: what was in which package, when, and by whom."""

import random
from typing import Any, NamedTuple

from trackstar_frames.sandbox.chance import chance, draw, or_null, pick
from trackstar_frames.sandbox.clock import DAY, stamp
from trackstar_frames.sandbox.merchant import Product, Service, Warehouse, make_id
from trackstar_frames.sandbox.words import fill

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
        "raw_status": pick(rng, RAW_STATUSES[parcel.status]),
        "status": parcel.status,
        "shipped_date": None if parcel.shipped is None else stamp(parcel.shipped),
        "shipping_method": parcel.service.method_name,
        "line_items": [_line(*item) for line in lines for item in _items(*line)],
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


RAW_STATUSES = {
    "open": ("READY", "LABEL_PENDING", None),
    "shipped": ("SHIPPED", "SHIPPED", "Shipped", "COMPLETE", None),
    "cancelled": ("VOID", "CANCELLED"),
    "other": ("RETURN_TO_SENDER", "HELD_AT_CARRIER"),
}


def _items(product: Product, quantity: int) -> list[tuple[Product, int, str | None]]:
    if not product.parts:
        return [(product, quantity, None)]
    return [(part, quantity, product.id) for part in product.parts]


def _line(product: Product, quantity: int, parent: str | None) -> dict[str, Any]:
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
    return _line(product, quantity, parent) | {
        "sku": or_null(rng, product.sku, 0.01),
        "lot_id": lot,
        "expiration_date": stamp(expiry) if lot else None,
    }
