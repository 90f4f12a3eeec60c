"""The world of one connection: its warehouses, customers, channels, carriers and products."""

import random
from typing import NamedTuple

from trackstar_frames.sandbox.words import COUNTRIES, companies, fill, words_of


class Warehouse(NamedTuple):
    """A warehouse: its id, its address, and the chance that it ships in time."""

    id: str
    address: dict[str, str | None]
    punctuality: float


class Customer(NamedTuple):
    """A customer of the warehouse: who, through which channel, and how due dates are given.

    `due` is ``"day"`` (a bare day), ``"time"`` or ``"none"``.
    """

    id: str
    name: str
    channel: str | None
    channel_id: str
    prefix: str
    due: str
    currency: str


class Service(NamedTuple):
    """A carrier's way of shipping."""

    carrier_id: str
    carrier_name: str
    scac: str
    method_id: str
    method_name: str
    level: str | None
    tracking: str
    url: str | None


class Product(NamedTuple):
    """A product; `parts` are the products that a kit is packed from."""

    id: str
    item_id: str
    sku: str
    price: float
    grams: int
    parts: tuple["Product", ...] = ()


class Merchant(NamedTuple):
    """All that the orders of one connection have in common.

    The likelier ones of a tuple stand in it more often.
    """

    integration: str
    sync_second: int
    warehouses: tuple[Warehouse, ...]
    customers: tuple[Customer, ...]
    parcels: tuple[Service, ...]
    freight: tuple[Service, ...]
    products: tuple[Product, ...]


def make_merchant(rng: random.Random) -> Merchant:
    """Return a merchant."""
    plain = [_product(rng) for _ in range(110)]
    kits = [_kit(rng, plain) for _ in range(5)]
    popular = plain[:15] * 6 + plain[15:50] * 2
    return Merchant(
        integration=rng.choice(("shipwise", "depotly", "stockline")),
        sync_second=rng.randrange(3600),
        warehouses=tuple(_warehouses(rng)),
        customers=tuple(_customers(rng)),
        parcels=tuple(_services(PARCELS)),
        freight=tuple(_services(FREIGHT)),
        products=(*plain, *popular, *kits),
    )


def make_id(rng: random.Random) -> str:
    """Return an id as the API gives them: 24 hexadecimal digits."""
    return f"{rng.getrandbits(96):024x}"


def _warehouses(rng: random.Random) -> list[Warehouse]:
    return [
        warehouse
        for share, punctuality, *lines in WAREHOUSES
        for warehouse in [Warehouse(make_id(rng), _site(rng, *lines), punctuality)] * share
    ]


def _site(rng: random.Random, second: str | None, third: str | None) -> dict[str, str | None]:
    words = words_of(COUNTRIES[0])
    return {
        "address1": f"{rng.randrange(1, 9900)} {rng.choice(words.streets)}",
        "address2": second,
        "address3": third,
        "city": rng.choice(words.cities),
        "state": rng.choice(words.states),
        "postal_code": fill("#####", rng),
        "country": "US",
    }


def _customers(rng: random.Random) -> list[Customer]:
    names = rng.sample(companies(), len(CUSTOMERS))
    return [
        customer
        for name, (share, channel, prefix, due, currency) in zip(names, CUSTOMERS, strict=True)
        for customer in [Customer(make_id(rng), name, channel, make_id(rng), prefix, due, currency)]
        * share
    ]


def _product(rng: random.Random) -> Product:
    sku = "-".join(rng.choice(part) for part in SKU_PARTS) + f"-{rng.randrange(100, 999)}"
    price = rng.choice((4, 9, 12, 18, 24, 35, 49, 79, 120)) + rng.choice((0.0, 0.5, 0.95, 0.99))
    return Product(make_id(rng), make_id(rng), sku, price, rng.randrange(40, 4000, 5))


def _kit(rng: random.Random, products: list[Product]) -> Product:
    parts = tuple(rng.sample(products, 2))
    price = round(sum(part.price for part in parts) * 0.9, 2)
    grams = sum(part.grams for part in parts)
    return Product(make_id(rng), "", f"KIT-{rng.randrange(1000, 9999)}", price, grams, parts)


def _services(services: tuple[tuple[str, str, str, str | None, int], ...]) -> list[Service]:
    return [
        Service(f"car_{scac.lower()}", name, scac, f"{scac}-{code}", method, level, number, url)
        for scac, code, method, level, share in services
        for name, number, url in [CARRIERS[scac]] * share
    ]


# Share, punctuality, and the second and third lines of the address.
WAREHOUSES: tuple[tuple[int, float, str | None, str | None], ...] = (
    (5, 0.975, "Building B", None),
    (3, 0.955, "", None),
    (1, 0.88, "Dock 4", "Gate 2"),
    (1, 0.96, None, None),
)
CUSTOMERS = (
    (10, "shopify", "#", "day", "USD"),
    (6, "amazon", "AMZ-", "time", "USD"),
    (4, "shopify", "WEB-", "day", "CAD"),
    (3, "woocommerce", "WC", "time", "EUR"),
    (2, "edi", "PO-", "day", "USD"),
    (1, None, "MAN-", "none", "GBP"),
)
SKU_PARTS = (
    ("TEE", "MUG", "LAMP", "BAG", "SOAP", "TEA", "SOCK", "BOOK", "JAR", "CAP", "OIL", "TOY"),
    ("BLK", "WHT", "NVY", "RED", "GRN", "OAK", "CLR"),
    ("S", "M", "L", "XL", "250G", "1L", "A5"),
)
# Name, tracking number, tracking page.
CARRIERS = {
    "UPSN": ("UPS", "1Z@##@##0########", "https://www.ups.com/track?tracknum={}"),
    "FDEG": ("FedEx", "############", "https://www.fedex.com/fedextrack/?trknbr={}"),
    "USPS": ("USPS", "94################", "https://tools.usps.com/go/TrackConfirm?tLabels={}"),
    "DHLC": ("DHL", "##########", None),
    "CNWY": ("XPO", "###-######", None),
    "ODFL": ("Old Dominion", "###########", None),
    "EXLA": ("Estes", "###-#######", None),
}
# Carrier, code, method, service level, share.
PARCELS = (
    ("UPSN", "GND", "UPS Ground", "ground", 5),
    ("UPSN", "2DA", "UPS 2nd Day Air", "2-day", 2),
    ("FDEG", "HD", "FedEx Home Delivery", "ground", 4),
    ("FDEG", "ON", "FedEx Standard Overnight", "overnight", 1),
    ("USPS", "PM", "Priority Mail", None, 4),
    ("DHLC", "EXP", "DHL Express Worldwide", "express", 2),
)
FREIGHT = (
    ("CNWY", "LTL", "LTL Standard", "freight", 2),
    ("ODFL", "LTL", "LTL Standard", "freight", 2),
    ("EXLA", "GTD", "Guaranteed LTL", None, 1),
)
