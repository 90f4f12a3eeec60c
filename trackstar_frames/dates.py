"""Times and durations: as users and servers write them, and as the API does.

The API's times are UTC in whole seconds: ``2026-01-31T13:45:00Z``.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.errors import FilterError, SettingsError

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


def api_time(moment: datetime) -> str:
    """Write a moment in UTC as the API does, without its fraction of a second."""
    # Not by strftime: it writes the year 1, which some systems use for missing dates, as "1".
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def parse_time(text: str) -> datetime:
    """Parse a moment in ISO 8601; naive means UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def encode_time(name: str, operator: str, value: Any) -> str:
    """Write a filter's moment as the API does, rounded to keep the operator's meaning."""
    if is_day(value):
        raise FilterError(_day_refused(name, operator, value))
    moment, has_fraction = _whole_second(name, value)
    if has_fraction:
        if operator not in _ROUND_UP:
            raise FilterError(
                f"{name}={value!r} has a fraction of a second, and the API knows whole seconds; "
                f"round it, or use gte and lt"
            )
        try:
            moment += timedelta(seconds=_ROUND_UP[operator])
        except OverflowError:
            raise FilterError(f"{moment} cannot be rounded up: the calendar ends there") from None
    return api_time(moment)


def is_day(value: Any) -> bool:
    """Return whether a value is a bare day rather than a moment."""
    if isinstance(value, str):  # in any spelling that `datetime` takes for midnight
        with suppress(ValueError):
            return _BARE_DAY.fullmatch(value) is not None and bool(date.fromisoformat(value))
        return False
    if isinstance(value, np.datetime64):
        return np.datetime_data(value)[0] == "D" and not np.isnat(value)
    return isinstance(value, date) and not isinstance(value, datetime)


def is_iso8601(text: str) -> bool:
    """Return whether a text is a day or a moment in ISO 8601, and unambiguous."""
    return _ISO.fullmatch(text) is not None


def day_bounds(operator: str, value: Any) -> dict[str, str]:
    """Write a bare day as bounds by operator, so that eq, gt, gte, lt or lte means all of it."""
    # The upper bound is the next midnight, not the last second: servers may keep fractions.
    start = datetime.combine(_day(value), time.min, UTC)
    try:
        end, after, until = start + _DAY, "gte", "lt"
    except OverflowError:  # the calendar's last day has a last second only
        end, after, until = start + _LAST_SECOND, "gt", "lte"
    first, last = api_time(start), api_time(end)
    return {
        "eq": {"gte": first, until: last},
        "gt": {after: last},
        "gte": {"gte": first},
        "lt": {"lt": first},
        "lte": {until: last},
    }[operator]


def end_of_day(value: Any) -> datetime:
    """Return the last moment, in UTC, of a value for which `is_day` is true."""
    return datetime.combine(_day(value), time.max, UTC)


def duration(name: str, value: object, *, allow_seconds: bool = False) -> pd.Timedelta:
    """Read a length of time that is not negative, in whole microseconds.

    A number is a TypeError, unless numbers of seconds are allowed.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool | np.timedelta64)
    if not (isinstance(value, str | timedelta | np.timedelta64) or (allow_seconds and is_number)):
        kind = SettingsError if allow_seconds else TypeError
        raise kind(f"{name}={value!r} is not a length of time; pass a string such as '2h'")
    if _lacks_unit(value):  # pandas would take it for nanoseconds
        raise SettingsError(f"{name}={value!r} has no unit; write it like '2h'")
    try:
        length = pd.Timedelta(value, unit="s" if is_number else None)  # type: ignore[arg-type]
    except (ValueError, OverflowError) as error:
        raise SettingsError(
            f"{name}={value!r} is not a length of time; write it like '2h'"
        ) from error
    if not length >= timedelta(0):  # nor is NaT
        raise SettingsError(
            f"{name}={value!r} is not allowed; use a length of time of zero or more"
        )
    return length.as_unit("us")


def _lacks_unit(value: object) -> bool:
    if isinstance(value, np.timedelta64):
        return np.datetime_data(value)[0] == "generic"
    return isinstance(value, str) and re.fullmatch(r"\s*[+-]?0*[1-9]\d*\s*", value) is not None


def _day_refused(name: str, operator: str, value: Any) -> str:
    """Return the message for a bare day with an operator that needs a moment."""
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
        f"{name}={value!r} is a whole day, which {operator!r} cannot compare with; give a moment "
        f"('2026-01-31T00:00:00Z'), or {instead}"
    )


def _day(value: Any) -> date:
    return value if isinstance(value, date) else date.fromisoformat(str(value))


def _whole_second(name: str, value: Any) -> tuple[datetime, bool]:
    """Read a moment as UTC, and whether it has a fraction of a second, which is cut off."""
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
        if not is_iso8601(value):
            raise ValueError("not ISO 8601")
        finer = re.search(r"[.,]\d{6}\d*[1-9]", value) is not None
        return datetime.fromisoformat(value.upper()), finer
    if isinstance(value, np.datetime64) and np.datetime_data(value)[0] in ("Y", "M", "W"):
        raise ValueError("a month or a year is not a moment")
    if isinstance(value, (np.datetime64, pd.Timestamp)):
        moment = pd.Timestamp(value)
        if pd.isna(moment):
            raise ValueError("not a date")
        return moment.to_pydatetime(warn=False), bool(moment.nanosecond)
    if isinstance(value, datetime) and value is not pd.NaT:
        return value, False
    raise ValueError("not a date")
