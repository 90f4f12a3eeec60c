"""Dates as the API writes them: UTC, whole seconds, ``2026-01-31T13:45:00Z``."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, time, timedelta
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.errors import FilterError, SettingsError

__all__ = [
    "bounds_of_day",
    "duration",
    "end_of_day",
    "is_day",
    "is_spelt_plainly",
    "parse_utc",
    "stamp",
]


#: x > 1.5 means x > 1 for whole seconds, and x >= 1.5 means x >= 2.
_ROUND_UP = MappingProxyType({"gt": 0, "gte": 1, "lt": 1, "lte": 0})
# Both Python and pandas guess: Python takes any letter for the T, so that 2026-01-31-05:00 is five
# o'clock, and a week for its Monday; pandas takes 03/04/2026 for the fourth of March.
_ISO_DAY = r"(\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d-?\d)"
_BARE_DAY = re.compile(_ISO_DAY, re.ASCII)
_ISO = re.compile(
    rf"{_ISO_DAY}([Tt ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?( ?([Zz]|[+-]\d\d(:?\d\d(:?\d\d)?)?))?)?",
    re.ASCII,
)
_DAY = timedelta(days=1)
_LAST_SECOND = timedelta(hours=23, minutes=59, seconds=59)


def stamp(name: str, operator: str, value: Any) -> str:
    """Write a moment as the API does, rounded to the side that keeps the operator's meaning.

    Parameters
    ----------
    name
        The filter, for messages.
    operator
        What the moment is compared by.
    value
        A string, datetime, Timestamp or datetime64. Naive means UTC.

    Raises
    ------
    FilterError
        If it is no moment, or one that the operator cannot compare by.
    """
    if is_day(value):
        raise FilterError(_not_by_day(name, operator, value))
    moment, has_fraction = _whole_second(name, value)
    if has_fraction:
        if operator not in _ROUND_UP:
            raise FilterError(
                f"{name}={value!r} has a fraction of a second, and the API knows whole seconds; "
                f"round it, or use gte and lt"
            )
        moment = _later(moment, _ROUND_UP[operator])
    return _write(moment)


def parse_utc(text: str) -> datetime:
    """Parse a moment as this package writes it: ISO 8601, in UTC unless it has another offset."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def is_day(value: Any) -> bool:
    """Tell a bare day from a moment."""
    if isinstance(value, str):
        return _is_iso_day(value)
    if isinstance(value, np.datetime64):
        return np.datetime_data(value)[0] == "D" and not np.isnat(value)
    return isinstance(value, date) and not isinstance(value, datetime)


def is_spelt_plainly(text: str) -> bool:
    """Tell whether a text is spelt as ISO 8601 spells a day or a moment: not to be guessed at.

    Examples
    --------
    >>> is_spelt_plainly("2026-01-31 12:00"), is_spelt_plainly("2026-01-31-05:00")
    (True, False)
    """
    return _ISO.fullmatch(text) is not None


def _is_iso_day(text: str) -> bool:
    # Any spelling that `datetime` would take for midnight: 2026-01-31, 20260131, 2026-W05-6.
    if not _BARE_DAY.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def bounds_of_day(operator: str, value: Any) -> dict[str, str]:
    """Write a bare day as bounds, such that the operator means the whole of it.

    The upper bound is the next midnight, not the last second: servers may keep fractions.

    Parameters
    ----------
    operator
        One of eq, gt, gte, lt and lte.
    value
        What `is_day` takes for a day.

    Returns
    -------
    dict
        The moment to compare by, for each operator that is to be asked.

    Examples
    --------
    >>> bounds_of_day("lte", "2026-01-31")
    {'lt': '2026-02-01T00:00:00Z'}
    """
    start = datetime.combine(_day(value), datetime.min.time(), UTC)
    after, until = _next_midnight(start)
    return {
        "eq": {"gte": _write(start)} | until,
        "gt": after,
        "gte": {"gte": _write(start)},
        "lt": {"lt": _write(start)},
        "lte": until,
    }[operator]


def end_of_day(value: Any) -> datetime:
    """Give the last moment, in UTC, of what `is_day` takes for a day.

    Examples
    --------
    >>> end_of_day("2026-01-31").isoformat()
    '2026-01-31T23:59:59.999999+00:00'
    """
    return datetime.combine(_day(value), time.max, UTC)


def _next_midnight(start: datetime) -> tuple[dict[str, str], dict[str, str]]:
    """Bound what is after a day, and what is not."""
    try:
        midnight = _write(start + _DAY)
    except OverflowError:  # the calendar's last day has a last second only
        last = _write(start + _LAST_SECOND)
        return {"gt": last}, {"lte": last}
    return {"gte": midnight}, {"lt": midnight}


def _not_by_day(name: str, operator: str, value: Any) -> str:
    """Say what to write for a bare day that an operator cannot ask for."""
    day = str(value)
    field = re.split(r"__|\[", name)[0]
    instead = (
        f"use gte and lte, for each day in a call of its own ({field}__gte={day!r}, "
        f"{field}__lte={day!r})"
        if operator == "in"
        else f"use lt and gt, in two calls ({field}__lt={day!r} for what is before it, "
        f"{field}__gt={day!r} for what is after)"
    )
    return (
        f"{name}={value!r} is a whole day, which {operator!r} cannot ask for; give a moment "
        f"('2026-01-31T00:00:00Z'), or {instead}"
    )


def _day(value: Any) -> date:
    return value if isinstance(value, date) else date.fromisoformat(str(value))


def _whole_second(name: str, value: Any) -> tuple[datetime, bool]:
    """Read a moment as UTC; naive means UTC. Also tell whether a fraction was cut off."""
    try:
        moment, nanoseconds = _read(value)
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise FilterError(
            f"{name}={value!r} is not a date; give '2026-01-31', '2026-01-31T13:45:00Z', "
            f"a date, a datetime, a Timestamp or a datetime64"
        ) from None
    return moment.replace(microsecond=0), bool(moment.microsecond or nanoseconds)


def _read(value: Any) -> tuple[datetime, bool]:
    if isinstance(value, str):
        if not is_spelt_plainly(value):
            raise ValueError("not as ISO 8601 spells it")
        finer = re.search(r"[.,]\d{6}\d*[1-9]", value) is not None
        return datetime.fromisoformat(value.upper()), finer
    if isinstance(value, np.datetime64) and np.datetime_data(value)[0] in ("Y", "M", "W"):
        raise ValueError("a whole month or year is no moment")
    if isinstance(value, (np.datetime64, pd.Timestamp)):
        moment = pd.Timestamp(value)
        if pd.isna(moment):
            raise ValueError("no date at all")
        return moment.to_pydatetime(warn=False), bool(moment.nanosecond)
    if isinstance(value, datetime) and value is not pd.NaT:
        return value, False
    raise ValueError("no date at all")


def _later(moment: datetime, seconds: int) -> datetime:
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        raise FilterError(f"{moment} cannot be rounded up: the calendar ends there") from None


def _write(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat() + "Z"


def duration(name: str, value: object) -> float:
    """Read a length of time, in seconds: a number of them, a timedelta, or text as pandas has it.

    A text has to tell its unit: pandas would take a bare number for nanoseconds.

    Raises
    ------
    SettingsError
        If it is none, endless or negative.

    Examples
    --------
    >>> duration("overlap", "90min"), duration("overlap", 60)
    (5400.0, 60.0)
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool | np.timedelta64)
    try:
        length = pd.Timedelta(value, unit="s") if is_number else pd.Timedelta(value)  # type: ignore[arg-type]
        is_none = isinstance(value, bool) or _lacks_unit(value)
        seconds = math.nan if is_none else length.total_seconds()
    except (ValueError, TypeError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise SettingsError(
            f"{name}={value!r} must be a length of time of at least 0: seconds, a timedelta, or "
            f"text such as '2h'"
        )
    return float(seconds)


def _lacks_unit(value: object) -> bool:
    if isinstance(value, np.timedelta64):
        return np.datetime_data(value)[0] == "generic"
    return isinstance(value, str) and re.fullmatch(r"\s*[+-]?0*[1-9]\d*\s*", value) is not None
