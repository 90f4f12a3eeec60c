"""What chance decides."""

import math
import random
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

from mimesis import Address, Finance, Person
from mimesis.locales import Locale

T = TypeVar("T")


def chance(rng: random.Random, share: float) -> bool:
    """Return True in a `share` of all draws."""
    return rng.random() < share


def or_null(rng: random.Random, value: T, share: float) -> T | None:
    """Return `value`, or None in a `share` of all draws."""
    return None if rng.random() < share else value


def pick(rng: random.Random, choices: Sequence[T]) -> T:
    """Return one of `choices`; quicker than the library's, and fair enough."""
    return choices[int(rng.random() * len(choices))]


def draw(rng: random.Random, stop: int) -> int:
    """Return a whole number from 0 up to and without `stop`."""
    return int(rng.random() * stop)


MINUTE, HOUR, DAY = 60, 3600, 86400


class Span(NamedTuple):
    """The time from one look at the orders to the next: after `before`, up to `now`."""

    before: int
    now: int

    def moment(self, rng: random.Random) -> int:
        """Return any second of it."""
        return self.before + 1 + draw(rng, self.now - self.before)

    def sees(self, rng: random.Random, mean: float) -> bool:
        """Return whether it sees what happens once in `mean` seconds, as chance will have it."""
        return rng.random() < -math.expm1((self.before - self.now) / mean)


def stamp(seconds: int) -> str:
    """Return seconds since the epoch as the API writes a time."""
    day, rest = divmod(seconds, DAY)
    return f"{_date(day)}T{rest // HOUR:02d}:{rest % HOUR // MINUTE:02d}:{rest % MINUTE:02d}Z"


def weekday(seconds: int) -> int:
    """Return the day of the week, Monday being 0."""
    return (seconds // DAY + 3) % 7


def after_workdays(seconds: int, days: int) -> int:
    """Return the midnight that begins the workday `days` workdays later."""
    day = seconds // DAY * DAY
    while days > 0 or weekday(day) >= SATURDAY:
        day += DAY
        days -= weekday(day) < SATURDAY
    return day


def placed(rng: random.Random, count: int, since: int, now: int) -> list[int]:
    """Return `count` times from `since` up to and without `now`, in no order.

    Most fall in the mornings and evenings of workdays, more in the last week of November.
    """
    hours, weights = _hours(since, now)
    drawn = rng.choices(hours, cum_weights=weights, k=count)
    return [start + draw(rng, end - start) for start, end in drawn]


@lru_cache(maxsize=16)
def _hours(since: int, now: int) -> tuple[list[tuple[int, int]], list[float]]:
    """Return the hours between two times, the last one first, and their cumulative weights."""
    ends = [now - HOUR * back for back in range(math.ceil((now - since) / HOUR))]
    hours = [(max(since, end - HOUR), end) for end in ends]
    return hours, [*accumulate(_busy(end - HOUR) * (end - start) for start, end in hours)]


def slump(created: int, now: int) -> float:
    """Return by how much fewer orders left in time: two weeks went badly, two months ago."""
    return 0.8 if 56 * DAY < now - created < 70 * DAY else 1.0


SATURDAY = 5
WEEK = (1.2, 1.1, 1.05, 1.0, 1.05, 0.6, 0.5)
DAY_HOURS = (5, 4, 4, 3, 2, 1, 1, 1, 1, 1, 2, 3, 5, 7, 9, 10, 11, 10, 9, 8, 8, 9, 9, 7)


def _busy(hour: int) -> float:
    date = _date(hour // DAY)
    season = 2.0 if "11-23" <= date[5:] <= "11-30" else 1.0
    return WEEK[weekday(hour)] * DAY_HOURS[hour % DAY // HOUR] * season


@lru_cache(maxsize=4096)
def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY, UTC).date().isoformat()


POOL = 400


class Country(NamedTuple):
    """How addresses of one country look.

    Attributes
    ----------
    code, locale
        The country's code, and where its words come from.
    share
        How many of a thousand orders go there.
    postal, phone
        Patterns: ``#`` is a digit, ``@`` a letter.
    number_first
        Whether the house number comes before the street.
    """

    code: str
    locale: Locale
    share: int
    postal: str
    phone: str
    number_first: bool


@dataclass(frozen=True)
class Words:
    """The words of one country: as many of each as are drawn from."""

    country: Country
    given: tuple[str, ...]
    family: tuple[str, ...]
    streets: tuple[str, ...]
    cities: tuple[str, ...]
    states: tuple[str, ...]


COUNTRIES = (
    Country("US", Locale.EN, 720, "#####", "+1##########", number_first=True),
    Country("CA", Locale.EN_CA, 90, "@#@ #@#", "+1 ### ### ####", number_first=True),
    Country("GB", Locale.EN_GB, 60, "@@## #@@", "+44 #### ######", number_first=True),
    Country("DE", Locale.DE, 45, "#####", "+49 ### #######", number_first=False),
    Country("FR", Locale.FR, 30, "#####", "+33 # ## ## ## ##", number_first=True),
    Country("ES", Locale.ES, 20, "#####", "+34 ### ## ## ##", number_first=False),
    Country("PL", Locale.PL, 15, "##-###", "+48 ### ### ###", number_first=False),
    Country("SE", Locale.SV, 10, "### ##", "+46 ## ### ## ##", number_first=False),
    Country("JP", Locale.JA, 10, "###-####", "+81 ## #### ####", number_first=False),
)


@cache
def words_of(country: Country) -> Words:
    """Return the words of `country`, the same ones every time."""
    person, address = Person(country.locale, seed=1), Address(country.locale, seed=1)
    return Words(
        country,
        tuple(person.first_name() for _ in range(POOL)),
        tuple(person.last_name() for _ in range(POOL)),
        tuple(f"{address.street_name()} {address.street_suffix()}" for _ in range(POOL)),
        tuple(address.city() for _ in range(POOL)),
        tuple(address.state(abbr=True) for _ in range(POOL)),
    )


@cache
def companies() -> tuple[str, ...]:
    """Return names of companies, the same ones every time."""
    finance = Finance(seed=1)
    return tuple(finance.company() for _ in range(POOL))


@cache
def ascii_of(name: str) -> str:
    """Return `name` as it may stand in an e-mail address, or ``""`` if nothing of it may."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "".join(filter(str.isalnum, plain)).lower()


def fill(pattern: str, rng: random.Random) -> str:
    """Return `pattern` with a digit for each ``#`` and a letter for each ``@``."""
    template, marks = _template(pattern)
    digits = f"{rng.getrandbits(64):020d}"[-len(marks) :]
    if "@" not in marks:
        return template % tuple(digits)
    drawn = zip(marks, digits, strict=True)
    return template % tuple(LETTERS[int(d)] if mark == "@" else d for mark, d in drawn)


LETTERS = "ABCEHKLMRT"


@cache
def _template(pattern: str) -> tuple[str, str]:
    marks = "".join(mark for mark in pattern if mark in "#@")
    return pattern.replace("#", "%s").replace("@", "%s"), marks


def make_address(rng: random.Random, *, business: bool) -> dict[str, Any]:
    """Return an address to ship to; a business has a company more often than not."""
    words = words_of(pick(rng, EVERYWHERE))
    given, family = pick(rng, words.given), pick(rng, words.family)
    return {
        "full_name": or_null(rng, f"{given} {family}", 0.01),
        "company": _company(rng, business=business),
        "address1": _street(rng, words),
        "address2": pick(rng, SECOND_LINES).format(draw(rng, 40)) or pick(rng, ("", None)),
        "address3": or_null(rng, "c/o Reception", 0.99),
        "city": pick(rng, words.cities),
        "state": or_null(rng, pick(rng, words.states), 0.03),
        "postal_code": or_null(rng, fill(words.country.postal, rng), 0.005),
        "country": words.country.code,
        "phone_number": pick(rng, (None, "", *[fill(words.country.phone, rng)] * 8)),
        "email_address": _email(rng, given, family),
    }


EVERYWHERE = tuple(country for country in COUNTRIES for _ in range(country.share))
SECOND_LINES = ("", "", "", "", "", "", "Apt {}", "Unit {}B", "Suite {}00", "Floor {}")
# Names that are reserved, so that no made-up order names a real mailbox.
MAILS = ("mail.example", "post.example", "example.com", "example.net", "example.org")


def _company(rng: random.Random, *, business: bool) -> str | None:
    if chance(rng, 0.9 if business else 0.06):
        return pick(rng, companies())
    return "" if chance(rng, 0.3) else None


def _street(rng: random.Random, words: Words) -> str:
    street, number = pick(rng, words.streets), draw(rng, 400) + 1
    return f"{number} {street}" if words.country.number_first else f"{street} {number}"


def _email(rng: random.Random, given: str, family: str) -> str | None:
    if chance(rng, 0.04):
        return None
    name = ".".join(filter(None, (ascii_of(given), ascii_of(family)))) or "customer"
    return f"{name}{draw(rng, 99)}@{pick(rng, MAILS)}"


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
