"""One JSON value to its column's type, where that loses nothing; else a ValueError.

Real integrations send prices as text, quantities as ``1.0`` and postal codes as numbers.
Each converter takes the raw JSON text of a value that is not null and returns what the
column holds, or None for an empty string in a column that is not text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec

__all__ = ["CONVERTERS", "EXACT", "is_plain"]

_read = msgspec.json.Decoder().decode
_read_text = msgspec.json.Decoder(str).decode
_read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode

_INT64 = range(-(2**63), 2**63)
#: Up to here a float64 tells all whole numbers apart.
EXACT = 2**53
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
#: No number that a column holds has more digits, and Python refuses to read many more.
_MOST_DIGITS = 400
# Narrower than what `datetime` takes: it reads 12.5 hours as 12:00:00.5, skips the fraction
# of an offset and digits without end, and takes 24:00 from Python 3.14 on.
_DATE = re.compile(
    r"\d{4}-\d\d-\d\d([T ]([01]\d|2[0-3])(:?\d\d(:?\d\d([.,]\d+)?)?)?"
    r"(Z|[+-]\d\d(:?\d\d(:?\d\d)?)?)?)?",
    re.ASCII,
)
_FINER_THAN_MICROSECONDS = re.compile(r"[.,]\d{6}\d*[1-9]")


def _text(raw: bytes) -> str:
    if raw.startswith(b'"'):
        return _read_text(raw)
    if raw[:1] in b"-0123456789":
        return raw.decode()
    raise ValueError("not text")


def _float(raw: bytes) -> float | None:
    value = _numeral(raw)
    if value is None:
        return None
    try:
        number = float(value if isinstance(value, float) or raw.startswith(b'"') else raw)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or (isinstance(value, int) and int(number) != value):
        raise ValueError("a number that float64 cannot hold")
    return number


def _int(raw: bytes) -> int | None:
    value = _numeral(raw)
    if isinstance(value, float):
        if not value.is_integer() or abs(value) > EXACT:
            raise ValueError("not a whole number")
        value = int(value)
    if value is not None and value not in _INT64:
        raise ValueError("a number that int64 cannot hold")
    return value


def _numeral(raw: bytes) -> float | None:
    """Read a number, or a text that spells one: int where it is whole by its spelling."""
    if raw[:1] in b"[{":
        raise ValueError("not a number")
    value = _read(raw)
    if value == "":
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = _whole(value) if value.lstrip("+-").isdecimal() else float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("not a number")  # noqa: TRY004  (of the data, not of an argument)
    return value


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of more than {_MOST_DIGITS} digits")
    return int(text)


_BOOLEANS = MappingProxyType(
    {b"true": True, b"false": False, b"1": True, b"0": False, b'"true"': True, b'"false"': False}
)


def _bool(raw: bytes) -> bool | None:
    if raw == b'""':
        return None
    if raw.lower() not in _BOOLEANS:
        raise ValueError("neither true nor false")
    return _BOOLEANS[raw.lower()]


def _timestamp(raw: bytes) -> datetime | None:
    """Read a date; a naive one is UTC, an offset is converted."""
    if raw == b'""':
        return None
    if not raw.startswith(b'"') or not _DATE.fullmatch(value := _read_text(raw)):
        raise ValueError("not a date")
    if _FINER_THAN_MICROSECONDS.search(value):
        raise ValueError("a date finer than microseconds")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("not a date") from None  # its own words repeat the value
    try:
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except OverflowError:
        raise ValueError("a date outside the years 1 to 9999") from None


def _strings(raw: bytes) -> list[str | None] | None:
    if raw == b'""':
        return None
    return [None if bytes(item) == b"null" else _text(bytes(item)) for item in _read_list(raw)]


def _json(raw: bytes) -> str:
    return raw.decode()


#: By the kind of a column.
CONVERTERS: Mapping[str, Callable[[bytes], Any]] = MappingProxyType(
    {
        "string": _text,
        "status": _text,
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
        "timestamp": re.compile(rb'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"$'),
        "strings": re.compile(rb'\[\s*+((null|"[^"\\]*+(\\.[^"\\]*+)*+")\s*+(,\s*+|(?=\])))*+\]$'),
        "json": re.compile(b""),
    }
)


def is_plain(kind: str, raw: bytes) -> bool:
    """Tell whether a value that is not null is spelt as documented for its kind."""
    return _PLAIN[kind].match(raw) is not None
