"""From an order's JSON back to the plan that it was written from, as far as it can be told."""

import random
from collections.abc import Iterable
from typing import Any, cast

from trackstar_frames.sandbox.chance import pick
from trackstar_frames.sandbox.merchant import Customer, Merchant, Product, Service, Warehouse
from trackstar_frames.sandbox.plan import BULK, Plan
from trackstar_frames.sandbox.shipments import Line
from trackstar_frames.sandbox.state import State
from trackstar_frames.sandbox.timeline import Timeline

Order = dict[str, Any]


class Directory:
    """A merchant's world, found by what its orders say.

    Orders that are not the merchant's own are read as well: a product, a warehouse or a carrier
    that it does not know is taken for what the order says.

    Parameters
    ----------
    merchant
        Whose world it is.
    """

    def __init__(self, merchant: Merchant) -> None:
        self.merchant = merchant
        self._products = {product.id: product for product in merchant.products}
        self._warehouses = {warehouse.id: warehouse for warehouse in merchant.warehouses}
        self._customers = {customer.id: customer for customer in merchant.customers}

    def plan(self, rng: random.Random, order: Order, timeline: Timeline) -> Plan:
        """Return the plan of an order as it stands; `timeline` is what becomes of it."""
        kind = str(order.get("type") or "d2c")
        return Plan(
            self._customer(order),
            kind,
            self._warehouse(rng, order),
            self._service(rng, order, kind),
            self._lines(order),
            timeline,
            State(order["status"], order.get("raw_status"), timeline.created, ()),
        )

    def _customer(self, order: Order) -> Customer:
        known = self._customers.get(str(order.get("warehouse_customer_id")))
        return known or self.merchant.customers[0]

    def _warehouse(self, rng: random.Random, order: Order) -> Warehouse:
        ids = [each.get("warehouse_id") for each in [order, *dicts(order.get("shipments"))]]
        named = next((key for key in ids if isinstance(key, str)), None)
        if named is None:
            return pick(rng, self.merchant.warehouses)
        return self._warehouses.get(named) or self.merchant.warehouses[0]._replace(id=named)

    def _service(self, rng: random.Random, order: Order, kind: str) -> Service:
        stated = {
            name: value for name in SERVICE if isinstance(value := order.get(KEYS[name]), str)
        }
        usual = self.merchant.freight if kind in BULK else self.merchant.parcels
        for service in (*usual, *self.merchant.parcels, *self.merchant.freight):
            if all(getattr(service, name) == value for name, value in stated.items()):
                return service if stated else pick(rng, usual)
        # Its numbers and pages are not for a carrier that the merchant does not know.
        return usual[0]._replace(tracking="############", url=None, **stated)

    def _lines(self, order: Order) -> list[Line]:
        lines = dicts(order.get("line_items"))
        pairs = [(self._product(line), quantity_of(line)) for line in lines]
        return [(product, quantity) for product, quantity in pairs if quantity > 0]

    def _product(self, line: dict[str, Any]) -> Product:
        key, sku = str(line.get("product_id") or ""), str(line.get("sku") or "")
        return self._products.get(key) or Product(key, key, sku, 0.0, GRAMS)


def packed(shipment: dict[str, Any], lines: list[Line]) -> list[Line]:
    """Return which of an order's products are in a shipment, and how many of each."""
    known = {name: product for product, _ in lines for name in _names(product)}
    found: dict[Product, int] = {}
    for line in dicts(shipment.get("line_items")):
        kit, item, sku = (line.get(name) for name in ITEM)
        product = known.get(str(kit or item)) or known.get(str(sku))
        if product is not None:
            # A kit is as many as each of its parts.
            found[product] = quantity_of(line) + (0 if kit else found.get(product, 0))
    return list(found.items())


def contents(shipment: dict[str, Any], lines: list[Line]) -> list[Line]:
    """Return what is in a shipment by its own account; what it weighs, by the order's products."""
    known = {each.sku: each for product, _ in lines for each in (product, *product.parts)}
    return [
        (_item(line, known.get(str(line.get("sku")))), quantity_of(line))
        for line in dicts(shipment.get("line_items"))
    ]


def _item(line: dict[str, Any], known: Product | None) -> Product:
    # What a line leaves out stays out.
    kit, item, sku = (cast(str, line.get(name)) for name in ITEM)
    single = Product("", item, sku, 0.0, known.grams if known else GRAMS)
    return Product(kit, "", sku, 0.0, single.grams, (single,)) if kit else single


def _names(product: Product) -> list[str]:
    return [name for name in (product.sku, product.item_id, product.id) if name]


def left_of(lines: Iterable[Line], taken: Iterable[Line]) -> list[Line]:
    """Return what is left of `lines` without those `taken`."""
    left: dict[Product, int] = {}
    for product, quantity in lines:
        left[product] = left.get(product, 0) + quantity
    for product, quantity in taken:
        left[product] = left.get(product, 0) - quantity
    return [(product, quantity) for product, quantity in left.items() if quantity > 0]


def units(lines: Iterable[Line]) -> int:
    """Return how many units there are in all."""
    return sum(quantity for _, quantity in lines)


def dicts(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; of what is no list, none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def quantity_of(line: dict[str, Any]) -> int:
    """Return the quantity of a line, 0 if it states none."""
    quantity = line.get("quantity")
    return int(quantity) if isinstance(quantity, int | float) else 0


GRAMS = 500
# What a service says of itself, and where an order repeats it.
KEYS = {
    "carrier_id": "carrier_id",
    "carrier_name": "carrier_name",
    "method_id": "shipping_method_id",
    "method_name": "shipping_method",
}
SERVICE = tuple(KEYS)
ITEM = ("parent_product_id", "inventory_item_id", "sku")
