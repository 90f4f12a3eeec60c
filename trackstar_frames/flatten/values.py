"""One JSON value to its column's type, where that loses nothing.

Real integrations send prices as text, quantities as ``1.0`` and postal codes as numbers; they
write dates in a dozen ways, and ``0001-01-01`` where there is none. What has one sensible reading
is read; what has none or two, such as ``"12,50"`` or ``"06/14/2023"``, is told.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

__all__ = [
    "EXACT",
    "FIRST_DATE",
    "MANY_DIGITS",
    "Kept",
    "as_text",
    "convert",
    "is_plain",
    "is_rounded",
]


_read_text = msgspec.json.Decoder(str).decode
_read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode

_INT64 = range(-(2**63), 2**63)
#: Up to here a float64 tells all whole numbers apart.
EXACT = 2**53
#: Fewer digits than these make it through a float64 unchanged.
MANY_DIGITS = 16
#: Dates before this one stand for none: 0001-01-01, 1900-01-01, 1970-01-01.
FIRST_DATE = datetime(1990, 1, 1, tzinfo=UTC)

_BLANKS = " \t\r\n"
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# With a decimal point, a comma can only separate thousands; "1,000" may be one or a thousand.
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+\.\d+", re.ASCII)
#: No number that a column holds has more digits, and Python refuses to read many more.
_MOST_DIGITS = 400


class Kept(NamedTuple):
    """What becomes of a value.

    Attributes
    ----------
    value
        What its column holds; None is null.
    message
        What is wrong with it, for `problems`; None if nothing is.
    in_extra
        Whether its text is kept in `extra`: nothing is wrong, but it says more than the column.
    """

    value: Any = None
    message: str | None = None
    in_extra: bool = False


class _RemarkableError(ValueError):
    """A value of which more is kept than what its column holds."""

    def __init__(self, kept: Kept) -> None:
        super().__init__(kept.message)
        self.kept = kept


def convert(kind: str, raw: bytes) -> Kept:
    """Convert the JSON text of a value that is not null to a kind of column.

    An empty string is null in a column that is not text.

    Examples
    --------
    >>> convert("float", b'"1,234.50"')
    Kept(value=1234.5, message=None, in_extra=False)
    >>> convert("float", b'"12,50"').message
    'not a number'
    >>> convert("timestamp", b'"0001-01-01T00:00:00"')
    Kept(value=None, message=None, in_extra=True)
    """
    try:
        return Kept(_CONVERTERS[kind](raw))
    except _RemarkableError as remarkable:
        return remarkable.kept
    except ValueError as error:
        return Kept(message=str(error))


def as_text(raw: bytes) -> str:
    """Read a text, or a number as it is spelt.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if raw.startswith(b'"'):
        return _read_text(raw)
    if raw[:1] in b"-0123456789":
        return raw.decode()
    raise ValueError("not text")


def _float(raw: bytes) -> float | None:
    text = _numeral(raw)
    if text is None:
        return None
    number, whole = float(text), _whole(text)
    if not math.isfinite(number) or (whole is not None and int(number) != whole):
        raise ValueError("a number that float64 cannot hold")
    if is_rounded(text, number):
        raise _RemarkableError(Kept(number, "a decimal that float64 rounds"))
    return number


def is_rounded(text: str, number: float) -> bool:
    """Tell whether a decimal has lost some of its digits, or all, as a float64.

    Nothing is lost where the digits come back: spelt out in full, or in as few as tell the
    number from its neighbours.

    Examples
    --------
    >>> is_rounded("0.1", 0.1), is_rounded("0.1234567890123456789012", 0.12345678901234568)
    (False, True)
    >>> is_rounded("1e-400", 0.0)
    True
    """
    has_exponent = "e" in text.lower()
    if not has_exponent and ("." not in text or len(text.lstrip("+-")) <= MANY_DIGITS):
        return False
    try:
        return Decimal(text) not in (Decimal(repr(number)), Decimal(number))
    except ArithmeticError:  # an exponent of twenty digits
        return True


def _int(raw: bytes) -> int | None:
    text = _numeral(raw)
    if text is None:
        return None
    value = _whole(text)
    if value is None:
        value = _whole_decimal(text)
    if value not in _INT64:
        raise ValueError("a number that int64 cannot hold")
    return value


def _numeral(raw: bytes) -> str | None:
    """Spell a number, or a text that spells one, so that Python can read it."""
    text = raw.decode()
    if raw.startswith(b'"'):
        text = _read_text(raw)
        if not text:
            return None
        text = text.strip(_BLANKS)
        if _GROUPED.fullmatch(text):
            text = text.replace(",", "")
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return text


def _whole(text: str) -> int | None:
    """Read a number that is whole by its spelling; None if it is not."""
    if not text.lstrip("+-").isdecimal():
        return None
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of more than {_MOST_DIGITS} digits")
    return int(text)


def _whole_decimal(text: str) -> int:
    """Read a number such as ``1.0`` or ``2e3``."""
    try:
        number = Decimal(text)
    except ArithmeticError:
        raise ValueError("not a whole number") from None
    if number.adjusted() > len(str(_INT64.stop)):
        raise ValueError("a number that int64 cannot hold")
    if number != number.to_integral_value():
        raise ValueError("not a whole number")
    return int(number)


_BOOLEANS = MappingProxyType(
    dict.fromkeys(("true", "1", "1.0", "yes", "y"), True)
    | dict.fromkeys(("false", "0", "0.0", "no", "n"), False)
)


def _bool(raw: bytes) -> bool | None:
    text = _unquoted(raw)
    if not text:
        return None
    word = text.strip(_BLANKS).lower()
    if word not in _BOOLEANS:
        raise ValueError("neither true nor false")
    return _BOOLEANS[word]


def _unquoted(raw: bytes) -> str:
    return _read_text(raw) if raw.startswith(b'"') else raw.decode()


def _timestamp(raw: bytes) -> datetime | None:
    """Read a date: one without a zone is UTC, an offset is converted, what is finer is cut off."""
    text = _unquoted(raw)
    if not text:
        return None
    try:
        moment = _moment(text.strip(_BLANKS))
    except ValueError:
        raise ValueError("not a date") from None  # Python's own words repeat the value
    naive = moment is not None and moment.tzinfo is None
    moment = _in_utc(moment)
    if moment is None or naive:
        raise _RemarkableError(Kept(moment, in_extra=True))
    return moment


def _in_utc(moment: datetime | None) -> datetime | None:
    """Convert a moment; None if it is a placeholder."""
    if moment is None or moment.year < FIRST_DATE.year - 1:
        return None
    try:
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except OverflowError:
        raise ValueError("a date outside the years 1 to 9999") from None
    return moment if moment >= FIRST_DATE else None


def _moment(text: str) -> datetime | None:
    """Read a moment, naive if it tells no zone; None if it is before the year 1."""
    for pattern, read in _SPELLINGS:
        found = pattern.fullmatch(text)
        if found:
            return read(found)
    raise ValueError(text)


def _iso(found: re.Match[str]) -> datetime | None:
    day = found["day"].replace("-", "")
    year, rest = day[:4], f"-{day[4:6]}-{day[6:]}"
    if year == "0000":
        if rest != "-00-00":
            date.fromisoformat(f"0004{rest}")  # as long as the year 0; refuses what is no day
        return None
    if found["clock"] is None:  # a day has no zone to tell
        return datetime.fromisoformat(year + rest).replace(tzinfo=UTC)
    clock, point, fraction = found["clock"].replace(",", ".").partition(".")
    zone = "+00:00" if (found["zone"] or "").upper() in _UTC else found["zone"] or ""
    return datetime.fromisoformat(f"{year}{rest}T{clock}{point}{fraction[:6]}{zone}")


def _epoch(found: re.Match[str]) -> datetime:
    """Count from 1970: ten digits are seconds until 2286, thirteen are milliseconds."""
    decimals = 6 if len(found["whole"]) == _SECONDS else 3
    part = (found["part"] or "")[:decimals].ljust(decimals, "0")
    return _EPOCH + timedelta(microseconds=int(found["whole"] + part))


def _dot_net(found: re.Match[str]) -> datetime | None:
    """Count milliseconds from 1970; the offset beside them changes nothing."""
    try:
        return _EPOCH + timedelta(milliseconds=int(found["milliseconds"]))
    except OverflowError:
        if found["milliseconds"].startswith("-"):
            return None
        raise ValueError("beyond the year 9999") from None


def _rfc_2822(found: re.Match[str]) -> datetime:
    moment = parsedate_to_datetime(found[0])
    if found["weekday"] and found["weekday"].title() != _WEEKDAYS[moment.weekday()]:
        raise ValueError("of another day of the week")
    return moment


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = len("1767225600")
_UTC = frozenset({"Z", "UTC", "GMT"})
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"


def _spelling(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII | re.IGNORECASE)


# The first is narrower than what `datetime` takes: it reads 12.5 hours as 12:00:00.5, skips the
# fraction of an offset and digits without end, and takes 24:00 from Python 3.14 on.
_SPELLINGS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], datetime | None]], ...] = (
    (
        _spelling(
            r"(?P<day>\d{4}-\d\d-\d\d|\d{8})"
            r"([T ](?P<clock>([01]\d|2[0-3])(:?\d\d(:?\d\d([.,]\d+)?)?)?)"
            r"( ?(?P<zone>Z|UTC|GMT|[+-]\d\d(:?\d\d(:?\d\d)?)?))?)?"
        ),
        _iso,
    ),
    (_spelling(r"(?P<whole>\d{10}|\d{13})(\.(?P<part>\d+))?"), _epoch),
    (_spelling(r"/Date\((?P<milliseconds>-?\d{1,15})([+-]\d{4})?\)/"), _dot_net),
    (
        _spelling(
            rf"((?P<weekday>{'|'.join(_WEEKDAYS)}), *)?\d\d? ({_MONTHS}) \d{{4}} "
            r"\d\d:\d\d(:\d\d)? (GMT|UTC|UT|Z|[+-]\d{4})"
        ),
        _rfc_2822,
    ),
)


def _strings(raw: bytes) -> list[str | None] | None:
    if raw == b'""':
        return None
    return [None if bytes(item) == b"null" else as_text(bytes(item)) for item in _read_list(raw)]


def _json(raw: bytes) -> str:
    return raw.decode()


#: By the kind of a column.
_CONVERTERS: Mapping[str, Callable[[bytes], Any]] = MappingProxyType(
    {
        "string": as_text,
        "status": as_text,
        "int": _int,
        "float": _float,
        "bool": _bool,
        "timestamp": _timestamp,
        "strings": _strings,
        "json": _json,
    }
)


_PLAIN = MappingProxyType(
    {
        "string": re.compile(rb'"'),
        "status": re.compile(rb'"'),
        "int": re.compile(rb"-?\d+$"),
        "float": re.compile(rb"[-\d]"),
        "bool": re.compile(rb"true|false"),
        "timestamp": re.compile(rb'"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?"$'),
        "strings": re.compile(rb'\[\s*+((null|"[^"\\]*+(\\.[^"\\]*+)*+")\s*+(,\s*+|(?=\])))*+\]$'),
        "json": re.compile(b""),
    }
)


def is_plain(kind: str, raw: bytes) -> bool:
    """Tell whether a value that is not null is spelt as documented for its kind."""
    return _PLAIN[kind].match(raw) is not None
