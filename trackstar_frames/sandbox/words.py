"""Words that made-up orders are made of: names, streets, places, companies."""

import random
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from mimesis import Address, Finance, Person
from mimesis.locales import Locale

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
