"""The fields of a policy, each checked and spelt as JSON holds it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.measures._calendar import Calendars, read_workdays
from trackstar_frames.measures._checks import choice, duration
from trackstar_frames.measures._time import Zones
from trackstar_frames.schema import LIFECYCLE

__all__ = ["READERS"]

_MOST_DAYS = 1000


def _name(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(f"name={given!r} is a {type(given).__name__}; pass a string")
    return " ".join(given.split())


def _cut_off(given: object) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str | dt.time):
        raise TypeError(f"cut_off={given!r} is no time of day; pass a string such as '12:00'")
    try:
        time = given if isinstance(given, dt.time) else dt.time.fromisoformat(given)
    except ValueError as error:
        raise ValueError(f"cut_off={given!r} is no time of day; write it like '12:00'") from error
    if time.tzinfo is not None:
        raise ValueError(f"cut_off={given!r} has a zone of its own; name that in tz")
    exact = time.second or time.microsecond
    return time.isoformat() if exact else time.isoformat("minutes")


def _business_days(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int | np.integer):
        raise TypeError(f"business_days={given!r} is not a whole number")
    if not 0 <= given <= _MOST_DAYS:
        raise ValueError(f"business_days={given!r} is not allowed; use 0 to {_MOST_DAYS:,}")
    return int(given)


def _holidays(given: object) -> Any:
    return _joined(Calendars.read(given))


def _clock_start(given: object) -> str | None:
    if given is not None and not isinstance(given, str):
        raise TypeError(f"clock_start={given!r} is no column's name")
    return given


def _tz(given: Any) -> Any:
    return _joined(Zones.read(given))


def _joined(read: Calendars | Zones) -> Any:
    """Give what holds for all warehouses, or one map of what holds for each."""
    if read.by_warehouse is None:
        return read.default
    both = [*read.by_warehouse.items(), (None, read.default)]
    return {key: value for key, value in both if value is not None}


def _grace(given: object) -> str:
    return str(duration("grace", given)).removeprefix("0 days ")


def _leave_out(given: object) -> tuple[str, ...]:
    statuses = [given] if isinstance(given, str) else given
    if not isinstance(statuses, Iterable):
        raise TypeError(f"leave_out={given!r} is no list of statuses")
    chosen = {choice("leave_out", status, LIFECYCLE) for status in statuses}
    return tuple(status for status in LIFECYCLE if status in chosen)


def _window(given: object) -> str | None:
    if given is None:
        return None
    length = duration("window", given)
    if length == pd.Timedelta(0):
        raise ValueError(f"window={given!r} holds nothing; use a length such as '30D'")
    return str(length).removesuffix(" 00:00:00")


def _late_below(given: object) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float | np.number):
        raise TypeError(f"late_below={given!r} is not a number")
    if not 0 < given <= 1:
        raise ValueError(f"late_below={given!r} is not allowed; use a share of 1, such as 0.04")
    return float(given)


#: What reads each field.
READERS = MappingProxyType(
    {
        "name": _name,
        "cut_off": _cut_off,
        "business_days": _business_days,
        "workdays": read_workdays,
        "holidays": _holidays,
        "clock_start": _clock_start,
        "due_day": lambda given: choice("due_day", given, ("auto", "instant", "end")),
        "tz": _tz,
        "ship_event": lambda given: choice("ship_event", given, ("first", "last", "complete")),
        "grace": _grace,
        "leave_out": _leave_out,
        "window": _window,
        "late_below": _late_below,
    }
)
