"""The merchant that made-up orders belong to, and the random values of which they consist."""

import math
import random
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

from mimesis import Address, Finance, Person
from mimesis.locales import Locale

T = TypeVar("T")

MINUTE, HOUR, DAY = 60, 3600, 86400
SATURDAY = 5


class Random(random.Random):
    """A random stream, with what made-up orders are drawn by."""

    def chance(self, share: float) -> bool:
        """Return True in a `share` of all draws."""
        return self.random() < share

    def or_null(self, value: T, share: float) -> T | None:
        """Return `value`, or None in a `share` of all draws."""
        return None if self.random() < share else value

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of `choices`; faster than `choice`, and even enough."""
        return choices[int(self.random() * len(choices))]

    def draw(self, stop: int) -> int:
        """Return an integer from 0 up to, but not including, `stop`."""
        return int(self.random() * stop)

    def make_id(self) -> str:
        """Return an id as the API has them: 24 hexadecimal digits."""
        return f"{self.getrandbits(96):024x}"

    def fill_pattern(self, pattern: str) -> str:
        """Return `pattern` with a digit for each ``#`` and a letter for each ``@``."""
        template, marks = _template(pattern)
        digits = f"{self.getrandbits(64):020d}"[-len(marks) :]
        if "@" not in marks:
            return template % tuple(digits)
        drawn = zip(marks, digits, strict=True)
        return template % tuple(_LETTERS[int(d)] if mark == "@" else d for mark, d in drawn)


_LETTERS = "ABCEHKLMRT"


@cache
def _template(pattern: str) -> tuple[str, str]:
    marks = "".join(mark for mark in pattern if mark in "#@")
    return pattern.replace("#", "%s").replace("@", "%s"), marks


# Times, in seconds since the epoch


def format_time(seconds: int) -> str:
    """Return a time as the API writes it."""
    day, second = divmod(seconds, DAY)
    return f"{_date(day)}T{second // HOUR:02d}:{second % HOUR // MINUTE:02d}:{second % MINUTE:02d}Z"


def weekday(seconds: int) -> int:
    """Return the day of the week, Monday being 0."""
    return (seconds // DAY + 3) % 7


def after_workdays(seconds: int, days: int) -> int:
    """Return the midnight at which the workday `days` workdays later begins."""
    day = seconds // DAY * DAY
    while days > 0 or weekday(day) >= SATURDAY:
        day += DAY
        days -= weekday(day) < SATURDAY
    return day


def creation_times(rng: Random, count: int, since: int, now: int) -> list[int]:
    """Return `count` times from `since` up to, but not including, `now`, in no order.

    Most are in the mornings and evenings of workdays, more of them in the last week of November.
    """
    hours, weights = _hours(since, now)
    drawn = rng.choices(hours, cum_weights=weights, k=count)
    return [start + rng.draw(end - start) for start, end in drawn]


@lru_cache(maxsize=16)
def _hours(since: int, now: int) -> tuple[list[tuple[int, int]], list[float]]:
    """Return the hours between two times, the last one first, and their cumulative weights."""
    ends = [now - HOUR * back for back in range(math.ceil((now - since) / HOUR))]
    hours = [(max(since, end - HOUR), end) for end in ends]
    return hours, [*accumulate(_busyness(end - HOUR) * (end - start) for start, end in hours)]


_BY_WEEKDAY = (1.2, 1.1, 1.05, 1.0, 1.05, 0.6, 0.5)
_BY_HOUR = (5, 4, 4, 3, 2, 1, 1, 1, 1, 1, 2, 3, 5, 7, 9, 10, 11, 10, 9, 8, 8, 9, 9, 7)


def _busyness(hour: int) -> float:
    season = 2.0 if "11-23" <= _date(hour // DAY)[5:] <= "11-30" else 1.0
    return _BY_WEEKDAY[weekday(hour)] * _BY_HOUR[hour % DAY // HOUR] * season


@lru_cache(maxsize=4096)
def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY, UTC).date().isoformat()


# Addresses


class Country(NamedTuple):
    """How the addresses of one country look.

    Of 1000 orders, `share` go there. `postal` and `phone` are patterns of `fill_pattern`, `street`
    is one of `str.format`.
    """

    code: str
    locale: Locale
    share: int
    postal: str
    phone: str
    street: str


_COUNTRIES = (
    Country("US", Locale.EN, 720, "#####", "+1##########", "{number} {street}"),
    Country("CA", Locale.EN_CA, 90, "@#@ #@#", "+1 ### ### ####", "{number} {street}"),
    Country("GB", Locale.EN_GB, 60, "@@## #@@", "+44 #### ######", "{number} {street}"),
    Country("DE", Locale.DE, 45, "#####", "+49 ### #######", "{street} {number}"),
    Country("FR", Locale.FR, 30, "#####", "+33 # ## ## ## ##", "{number} {street}"),
    Country("ES", Locale.ES, 20, "#####", "+34 ### ## ## ##", "{street} {number}"),
    Country("PL", Locale.PL, 15, "##-###", "+48 ### ### ###", "{street} {number}"),
    Country("SE", Locale.SV, 10, "### ##", "+46 ## ### ## ##", "{street} {number}"),
    Country("JP", Locale.JA, 10, "###-####", "+81 ## #### ####", "{street} {number}"),
)
_COUNTRY_OF_ORDERS = tuple(country for country in _COUNTRIES for _ in range(country.share))
_SECOND_LINES = ("", "", "", "", "", "", "Apt {}", "Unit {}B", "Suite {}00", "Floor {}")
# Reserved domains, so that no made-up order names a real mailbox.
_MAIL_DOMAINS = ("mail.example", "post.example", "example.com", "example.net", "example.org")


def make_address(rng: Random, *, business: bool) -> dict[str, Any]:
    """Return an address to ship to; that of a business usually has a company."""
    country = rng.pick(_COUNTRY_OF_ORDERS)
    given_names, family_names, streets, cities, states = _words(country)
    given, family = rng.pick(given_names), rng.pick(family_names)
    return {
        "full_name": rng.or_null(f"{given} {family}", 0.01),
        "company": _company(rng, business=business),
        "address1": country.street.format(street=rng.pick(streets), number=rng.draw(400) + 1),
        "address2": rng.pick(_SECOND_LINES).format(rng.draw(40)) or rng.pick(("", None)),
        "address3": rng.or_null("c/o Reception", 0.99),
        "city": rng.pick(cities),
        "state": rng.or_null(rng.pick(states), 0.03),
        "postal_code": rng.or_null(rng.fill_pattern(country.postal), 0.005),
        "country": country.code,
        "phone_number": rng.pick((None, "", *[rng.fill_pattern(country.phone)] * 8)),
        "email_address": _email(rng, given, family),
    }


_WORDS_OF_EACH_KIND = 400


@cache
def _words(country: Country) -> tuple[tuple[str, ...], ...]:
    """Return given names, family names, streets, cities and states, always the same ones."""
    person, address = Person(country.locale, seed=1), Address(country.locale, seed=1)
    makers: tuple[Callable[[], str], ...] = (
        person.first_name,
        person.last_name,
        lambda: f"{address.street_name()} {address.street_suffix()}",
        address.city,
        lambda: address.state(abbr=True),
    )
    return tuple(tuple(make() for _ in range(_WORDS_OF_EACH_KIND)) for make in makers)


@cache
def _companies() -> tuple[str, ...]:
    finance = Finance(seed=1)
    return tuple(finance.company() for _ in range(_WORDS_OF_EACH_KIND))


def _company(rng: Random, *, business: bool) -> str | None:
    if rng.chance(0.9 if business else 0.06):
        return rng.pick(_companies())
    return "" if rng.chance(0.3) else None


def _email(rng: Random, given: str, family: str) -> str | None:
    if rng.chance(0.04):
        return None
    name = ".".join(filter(None, (_ascii(given), _ascii(family)))) or "customer"
    return f"{name}{rng.draw(99)}@{rng.pick(_MAIL_DOMAINS)}"


@cache
def _ascii(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "".join(filter(str.isalnum, plain)).lower()


# The merchant


class Warehouse(NamedTuple):
    """A warehouse, and the probability that it ships in time."""

    id: str
    address: dict[str, str | None]
    punctuality: float


class Customer(NamedTuple):
    """A customer of the warehouse; `due` is ``"day"`` (a bare day), ``"time"`` or ``"none"``."""

    id: str
    name: str
    channel: str | None
    channel_id: str
    prefix: str
    due: str
    currency: str


class Service(NamedTuple):
    """A carrier's shipping method; `tracking` is a pattern of `fill_pattern`."""

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
    """What the orders of one connection have in common.

    Values that are picked more often are repeated in their tuple.
    """

    integration: str
    sync_second: int
    warehouses: tuple[Warehouse, ...]
    customers: tuple[Customer, ...]
    parcels: tuple[Service, ...]
    freight: tuple[Service, ...]
    products: tuple[Product, ...]


def make_merchant(rng: Random) -> Merchant:
    """Return a merchant."""
    plain = [_product(rng) for _ in range(110)]
    kits = [_kit(rng, plain) for _ in range(5)]
    popular = plain[:15] * 6 + plain[15:50] * 2
    return Merchant(
        integration=rng.choice(("shipwise", "depotly", "stockline")),
        sync_second=rng.randrange(3600),
        warehouses=tuple(_warehouses(rng)),
        customers=tuple(_customers(rng)),
        parcels=tuple(_services(_PARCELS)),
        freight=tuple(_services(_FREIGHT)),
        products=(*plain, *popular, *kits),
    )


_SKU_PARTS = (
    ("TEE", "MUG", "LAMP", "BAG", "SOAP", "TEA", "SOCK", "BOOK", "JAR", "CAP", "OIL", "TOY"),
    ("BLK", "WHT", "NVY", "RED", "GRN", "OAK", "CLR"),
    ("S", "M", "L", "XL", "250G", "1L", "A5"),
)
# Share, punctuality, and the second and third lines of the address.
_WAREHOUSES: tuple[tuple[int, float, str | None, str | None], ...] = (
    (5, 0.975, "Building B", None),
    (3, 0.955, "", None),
    (1, 0.88, "Dock 4", "Gate 2"),
    (1, 0.96, None, None),
)
# Share, channel, prefix of order numbers, form of the due date, currency.
_CUSTOMERS = (
    (10, "shopify", "#", "day", "USD"),
    (6, "amazon", "AMZ-", "time", "USD"),
    (4, "shopify", "WEB-", "day", "CAD"),
    (3, "woocommerce", "WC", "time", "EUR"),
    (2, "edi", "PO-", "day", "USD"),
    (1, None, "MAN-", "none", "GBP"),
)
# Name, tracking number, tracking page.
_CARRIERS = {
    "UPSN": ("UPS", "1Z@##@##0########", "https://www.ups.com/track?tracknum={}"),
    "FDEG": ("FedEx", "############", "https://www.fedex.com/fedextrack/?trknbr={}"),
    "USPS": ("USPS", "94################", "https://tools.usps.com/go/TrackConfirm?tLabels={}"),
    "DHLC": ("DHL", "##########", None),
    "CNWY": ("XPO", "###-######", None),
    "ODFL": ("Old Dominion", "###########", None),
    "EXLA": ("Estes", "###-#######", None),
}
# Carrier, code, method, service level, share.
_PARCELS = (
    ("UPSN", "GND", "UPS Ground", "ground", 5),
    ("UPSN", "2DA", "UPS 2nd Day Air", "2-day", 2),
    ("FDEG", "HD", "FedEx Home Delivery", "ground", 4),
    ("FDEG", "ON", "FedEx Standard Overnight", "overnight", 1),
    ("USPS", "PM", "Priority Mail", None, 4),
    ("DHLC", "EXP", "DHL Express Worldwide", "express", 2),
)
_FREIGHT = (
    ("CNWY", "LTL", "LTL Standard", "freight", 2),
    ("ODFL", "LTL", "LTL Standard", "freight", 2),
    ("EXLA", "GTD", "Guaranteed LTL", None, 1),
)


def _product(rng: Random) -> Product:
    sku = "-".join(rng.choice(part) for part in _SKU_PARTS) + f"-{rng.randrange(100, 999)}"
    price = rng.choice((4, 9, 12, 18, 24, 35, 49, 79, 120)) + rng.choice((0.0, 0.5, 0.95, 0.99))
    return Product(rng.make_id(), rng.make_id(), sku, price, rng.randrange(40, 4000, 5))


def _kit(rng: Random, products: list[Product]) -> Product:
    parts = tuple(rng.sample(products, 2))
    price = round(sum(part.price for part in parts) * 0.9, 2)
    grams = sum(part.grams for part in parts)
    return Product(rng.make_id(), "", f"KIT-{rng.randrange(1000, 9999)}", price, grams, parts)


def _warehouses(rng: Random) -> list[Warehouse]:
    _, _, streets, cities, states = _words(_COUNTRIES[0])
    warehouses = []
    for share, punctuality, second, third in _WAREHOUSES:
        key = rng.make_id()
        address = {
            "address1": f"{rng.randrange(1, 9900)} {rng.choice(streets)}",
            "address2": second,
            "address3": third,
            "city": rng.choice(cities),
            "state": rng.choice(states),
            "postal_code": rng.fill_pattern("#####"),
            "country": "US",
        }
        warehouses += [Warehouse(key, address, punctuality)] * share
    return warehouses


def _customers(rng: Random) -> list[Customer]:
    names = rng.sample(_companies(), len(_CUSTOMERS))
    customers = []
    for name, (share, channel, *others) in zip(names, _CUSTOMERS, strict=True):
        customers += [Customer(rng.make_id(), name, channel, rng.make_id(), *others)] * share
    return customers


def _services(services: tuple[tuple[str, str, str, str | None, int], ...]) -> list[Service]:
    result = []
    for scac, code, method, level, share in services:
        name, tracking, url = _CARRIERS[scac]
        carrier = (f"car_{scac.lower()}", name, scac)
        result += [Service(*carrier, f"{scac}-{code}", method, level, tracking, url)] * share
    return result
