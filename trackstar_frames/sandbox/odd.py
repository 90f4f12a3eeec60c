"""Orders as integrations send them that keep less to the documentation."""

import random
from collections.abc import Callable
from typing import Any

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
