"""One JSON value to its column's type, where that loses nothing.

Real integrations send prices as text, quantities as ``1.0`` and postal codes as numbers; they
write dates in a dozen formats, and ``0001-01-01`` where there is none. A value with one sensible
interpretation is converted; one with none or two, such as ``"12,50"`` or ``"06/14/2023"``, is a
problem.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import msgspec

#: Up to here a float64 distinguishes all integers.
MAX_EXACT_INT = 2**53
#: A decimal of fewer digits than these comes through a float64 unchanged.
ROUNDED_DIGITS = 16
#: Dates before this one are placeholders: 0001-01-01, 1900-01-01, 1970-01-01.
EARLIEST_DATE = datetime(1990, 1, 1, tzinfo=UTC)

_INT64 = range(-(2**63), 2**63)
_BLANKS = " \t\r\n"
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# With a decimal point, a comma can only separate thousands; "1,000" may be one or a thousand.
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+\.\d+", re.ASCII)
#: No number that a column can hold has more digits, and Python refuses to read many more.
_MAX_DIGITS = 400

_read_text = msgspec.json.Decoder(str).decode
read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Converted(NamedTuple):
    """The result of converting a value."""

    value: Any = None  # of its column
    message: str | None = None  # what is wrong with it, for `problems`
    in_extra: bool = False  # whether `extra` keeps its text, which says more than the column


_NULL = Converted()
_EMPTY_IS_TEXT = ("string", "status", "json")


def convert(kind: str, raw: bytes) -> Converted:
    """Convert the JSON text of a value; an empty string is null where no text is expected."""
    if raw == b"null" or (raw == b'""' and kind not in _EMPTY_IS_TEXT):
        return _NULL
    try:
        value = _KINDS[kind].convert(raw)
    except ValueError as error:
        return Converted(message=str(error))
    return value if isinstance(value, Converted) else Converted(value)


def is_plain(kind: str, raw: bytes) -> bool:
    """Return whether a value that is not null is spelt as documented for its kind."""
    return _KINDS[kind].plain.match(raw) is not None


def as_text(raw: bytes) -> str:
    """Return a string, or a number as it is spelt; raise ValueError if it is neither."""
    if raw.startswith(b'"'):
        return _read_text(raw)
    if raw[:1] in b"-0123456789":
        return raw.decode()
    raise ValueError("not text")


def _float(raw: bytes) -> float | Converted:
    text = _numeral(raw)
    number, whole = float(text), _whole(text)
    if not math.isfinite(number) or (whole is not None and int(number) != whole):
        raise ValueError("a number that float64 cannot hold")
    if is_rounded(text, number):
        return Converted(number, "a decimal that float64 rounds")
    return number


def is_rounded(text: str, number: float) -> bool:
    """Return whether a decimal has lost some of its digits, or all, as a float64."""
    has_exponent = "e" in text.lower()
    if not has_exponent and ("." not in text or len(text.lstrip("+-")) <= ROUNDED_DIGITS):
        return False
    try:
        # Spelt with as few digits as distinguish it from its neighbours, or with all of them.
        return Decimal(text) not in (Decimal(repr(number)), Decimal(number))
    except ArithmeticError:  # an exponent of twenty digits
        return True


def _int(raw: bytes) -> int:
    text = _numeral(raw)
    value = _whole(text)
    if value is None:
        value = _whole_decimal(text)
    if value not in _INT64:
        raise ValueError("a number that int64 cannot hold")
    return value


def _numeral(raw: bytes) -> str:
    """Return a number, or a string that spells one, as Python can read it."""
    text = _unquoted(raw).strip(_BLANKS)
    if "," in text and _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return text


def _unquoted(raw: bytes) -> str:
    return _read_text(raw) if raw.startswith(b'"') else raw.decode()


def _whole(text: str) -> int | None:
    """Return a number that is spelt as an integer; None if it is not."""
    if not text.lstrip("+-").isdecimal():
        return None
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of more than {_MAX_DIGITS} digits")
    return int(text)


def _whole_decimal(text: str) -> int:
    """Return a number such as ``1.0`` or ``2e3``."""
    try:
        number = Decimal(text)
    except ArithmeticError:
        raise ValueError("not a whole number") from None
    if number.adjusted() > len(str(_INT64.stop)):
        raise ValueError("a number that int64 cannot hold")
    if number != number.to_integral_value():
        raise ValueError("not a whole number")
    return int(number)


_BOOLEANS = {
    **dict.fromkeys(("true", "1", "1.0", "yes", "y"), True),
    **dict.fromkeys(("false", "0", "0.0", "no", "n"), False),
}


def _bool(raw: bytes) -> bool:
    word = _unquoted(raw).strip(_BLANKS).lower()
    if word not in _BOOLEANS:
        raise ValueError("neither true nor false")
    return _BOOLEANS[word]


def _timestamp(raw: bytes) -> Converted:
    """Return a date in UTC, which is the default time zone; nanoseconds are cut off."""
    text = _unquoted(raw).strip(_BLANKS)
    try:
        moment = _parse_date(text)
    except ValueError:
        raise ValueError("not a date") from None  # Python's own message repeats the value
    utc = _in_utc(moment)
    return Converted(utc, in_extra=not (utc and moment and moment.tzinfo))


def _in_utc(moment: datetime | None) -> datetime | None:
    """Convert a date to UTC; None if it is a placeholder."""
    if moment is None or moment.year < EARLIEST_DATE.year - 1:
        return None
    try:
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except OverflowError:
        raise ValueError("a date outside the years 1 to 9999") from None
    return moment if moment >= EARLIEST_DATE else None


def _parse_date(text: str) -> datetime | None:
    """Return a date, naive if it names no time zone; None if it is before the year 1."""
    for pattern, read in _DATE_FORMATS:
        if found := pattern.fullmatch(text):
            return read(found)
    raise ValueError(text)


def _parse_iso(found: re.Match[str]) -> datetime | None:
    day = found["day"].replace("-", "")
    year, month_day = day[:4], f"-{day[4:6]}-{day[6:]}"
    if year == "0000":
        if month_day != "-00-00":
            date.fromisoformat(f"0004{month_day}")  # a leap year, too; raises if it is no day
        return None
    if found["clock"] is None:  # a whole day needs no time zone
        return datetime.fromisoformat(year + month_day).replace(tzinfo=UTC)
    clock, point, fraction = found["clock"].replace(",", ".").partition(".")
    zone = "+00:00" if (found["zone"] or "").upper() in _UTC else found["zone"] or ""
    return datetime.fromisoformat(f"{year}{month_day}T{clock}{point}{fraction[:6]}{zone}")


def _parse_unix_time(found: re.Match[str]) -> datetime:
    """Return a Unix time: ten digits are seconds until 2286, thirteen are milliseconds."""
    decimals = 6 if len(found["whole"]) == _SECONDS else 3
    part = (found["part"] or "")[:decimals].ljust(decimals, "0")
    return _EPOCH + timedelta(microseconds=int(found["whole"] + part))


def _parse_dot_net(found: re.Match[str]) -> datetime | None:
    """Return a Unix time in milliseconds; the offset after them changes nothing."""
    try:
        return _EPOCH + timedelta(milliseconds=int(found["milliseconds"]))
    except OverflowError:
        if found["milliseconds"].startswith("-"):
            return None
        raise ValueError("beyond the year 9999") from None


def _parse_rfc_2822(found: re.Match[str]) -> datetime:
    moment = parsedate_to_datetime(found[0])
    if found["weekday"] and found["weekday"].title() != _WEEKDAYS[moment.weekday()]:
        raise ValueError("of another day of the week")
    return moment


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = len("1767225600")
_UTC = frozenset({"Z", "UTC", "GMT"})
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"


def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII | re.IGNORECASE)


# The first is narrower than what `datetime` takes: it reads 12.5 hours as 12:00:00.5, skips the
# fraction of an offset and digits without end, and takes 24:00 from Python 3.14 on.
_DATE_FORMATS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], datetime | None]], ...] = (
    (
        _pattern(
            r"(?P<day>\d{4}-\d\d-\d\d|\d{8})"
            r"([T ](?P<clock>([01]\d|2[0-3])(:?\d\d(:?\d\d([.,]\d+)?)?)?)"
            r"( ?(?P<zone>Z|UTC|GMT|[+-]\d\d(:?\d\d(:?\d\d)?)?))?)?"
        ),
        _parse_iso,
    ),
    (_pattern(r"(?P<whole>\d{10}|\d{13})(\.(?P<part>\d+))?"), _parse_unix_time),
    (_pattern(r"/Date\((?P<milliseconds>-?\d{1,15})([+-]\d{4})?\)/"), _parse_dot_net),
    (
        _pattern(
            rf"((?P<weekday>{'|'.join(_WEEKDAYS)}), *)?\d\d? ({_MONTHS}) \d{{4}} "
            r"\d\d:\d\d(:\d\d)? (GMT|UTC|UT|Z|[+-]\d{4})"
        ),
        _parse_rfc_2822,
    ),
)


def _strings(raw: bytes) -> list[str | None]:
    return [None if bytes(item) == b"null" else as_text(bytes(item)) for item in read_list(raw)]


class _Kind(NamedTuple):
    """How a kind of column takes values, and how they are spelt as documented."""

    convert: Callable[[bytes], Any]
    plain: re.Pattern[bytes]


_PLAIN_DATE = re.compile(rb'"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?"$')
_PLAIN_STRINGS = re.compile(rb'\[\s*+((null|"[^"\\]*+(\\.[^"\\]*+)*+")\s*+(,\s*+|(?=\])))*+\]$')
_KINDS = {
    "string": _Kind(as_text, re.compile(rb'"')),
    "status": _Kind(as_text, re.compile(rb'"')),
    "int": _Kind(_int, re.compile(rb"-?\d+$")),
    "float": _Kind(_float, re.compile(rb"[-\d]")),
    "bool": _Kind(_bool, re.compile(rb"true|false")),
    "timestamp": _Kind(_timestamp, _PLAIN_DATE),
    "strings": _Kind(_strings, _PLAIN_STRINGS),
    "json": _Kind(bytes.decode, re.compile(b"")),
}
