"""Dates as the API writes them: UTC, whole seconds, ``2026-01-31T13:45:00Z``."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.errors import FilterError, SettingsError

__all__ = ["duration", "is_day", "stamp"]

#: x > 1.5 means x > 1 for whole seconds, and x >= 1.5 means x >= 2.
_ROUND_UP = MappingProxyType({"gt": 0, "gte": 1, "lt": 1, "lte": 0})
_LAST_SECOND = timedelta(hours=23, minutes=59, seconds=59)


def stamp(name: str, operator: str, value: Any) -> str:
    """Write a date as the API does, rounded to the side that keeps the operator's meaning.

    Parameters
    ----------
    name
        The filter, for messages.
    operator
        What the date is compared by.
    value
        A string, date, datetime, Timestamp or datetime64. Naive means UTC. A bare day
        stands for the edge of that day which makes the operator mean the whole of it.

    Raises
    ------
    FilterError
        If it is no date, or one that the operator cannot compare by.
    """
    if is_day(value):
        return _edge_of_day(name, operator, value)
    moment, has_fraction = _whole_second(name, value)
    if has_fraction:
        if operator not in _ROUND_UP:
            raise FilterError(
                f"{name}={value!r} has a fraction of a second, and the API knows whole seconds; "
                f"round it, or use gte and lt"
            )
        moment = _later(moment, _ROUND_UP[operator])
    return _write(moment)


def is_day(value: Any) -> bool:
    """Tell a bare day from a moment."""
    if isinstance(value, str):
        return _is_iso_day(value)
    if isinstance(value, np.datetime64):
        return np.datetime_data(value)[0] == "D" and not np.isnat(value)
    return isinstance(value, date) and not isinstance(value, datetime)


def _is_iso_day(text: str) -> bool:
    # Any spelling that `datetime` would take for midnight: 2026-01-31, 20260131, 2026-W05-6.
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _edge_of_day(name: str, operator: str, value: Any) -> str:
    if operator not in _ROUND_UP:
        raise FilterError(
            f"{name}={value!r} is a whole day, which {operator!r} cannot ask for; "
            f"give a moment ('2026-01-31T00:00:00Z'), or use gte and lte"
        )
    day = datetime.combine(_day(value), datetime.min.time(), UTC)
    return _write(day + _LAST_SECOND if operator in ("gt", "lte") else day)


def _day(value: Any) -> date:
    try:
        return value if isinstance(value, date) else date.fromisoformat(str(value))
    except ValueError as error:
        raise FilterError(f"{value!r} is not a date: {error}") from None


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
        finer = re.search(r"[.,]\d{6}\d*[1-9]", value) is not None
        return datetime.fromisoformat(value), finer
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

    Raises
    ------
    SettingsError
        If it is none, endless or negative.

    Examples
    --------
    >>> duration("overlap", "90min"), duration("overlap", 60)
    (5400.0, 60.0)
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    try:
        length = pd.Timedelta(value, unit="s") if is_number else pd.Timedelta(value)  # type: ignore[arg-type]
        seconds = math.nan if isinstance(value, bool) else length.total_seconds()
    except (ValueError, TypeError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise SettingsError(
            f"{name}={value!r} must be a length of time of at least 0: seconds, a timedelta, or "
            f"text such as '2h'"
        )
    return float(seconds)
