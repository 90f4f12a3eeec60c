"""Where made-up orders go."""

import random
from typing import Any

from trackstar_frames.sandbox.chance import chance, draw, or_null, pick
from trackstar_frames.sandbox.words import COUNTRIES, Words, ascii_of, companies, fill, words_of


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
