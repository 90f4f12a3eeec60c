"""Business days: which days are worked on, and when a clock that starts on one runs out."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import is_year_first
from trackstar_frames.measures._time import Array, day_ends, local
from trackstar_frames.measures._warehouses import codes_by_warehouse, read_by_warehouse

__all__ = ["Calendars", "Dates", "HolidaysLike", "clock_end", "read_workdays"]

#: A country and perhaps a part of it, or the dates themselves, in ISO 8601.
Dates = str | tuple[str, ...]
HolidaysLike = (
    str | Iterable[str | dt.date] | Mapping[str | None, str | Iterable[str | dt.date] | None] | None
)

_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_YEARS = (1, 9999)
# On how many of a year's Mondays, or other days, a warehouse works at the least.
_WORKED_WEEKS = 40


@dataclass(frozen=True)
class Calendars:
    """The holidays of all warehouses, or of each: as codes or dates, so that JSON can hold it."""

    by_warehouse: dict[str, Dates] | None
    default: Dates | None

    @classmethod
    def read(cls, given: object) -> Calendars:
        """Check what a user passes as `holidays`."""
        if not isinstance(given, Mapping):
            return cls(None, _read_dates(given))
        if not given or isinstance(next(iter(given)), dt.date):
            raise TypeError(
                f"holidays={given!r} is not a map from warehouse ids; pass a code such as 'US', "
                f"or a list of dates"
            )
        return cls(*read_by_warehouse("holidays", given, _read_dates))

    def codes(self, frame: pd.DataFrame) -> tuple[Array, list[Dates]]:
        """Return each row's place in a list of calendars, -1 where it has none, and the list."""
        return codes_by_warehouse(
            frame, self.by_warehouse, self.default, name="holidays", thing="calendar"
        )


def read_workdays(given: object) -> str:
    """Spell a week's workdays in NumPy's way: ``Mon Tue Wed Thu Fri``."""
    try:
        mask = np.busdaycalendar(weekmask=given).weekmask  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"workdays={given!r} are no days of a week; write them like 'Mon Tue Wed Thu Fri', "
            f"one at least"
        ) from error
    return " ".join(name for name, worked in zip(_NAMES, mask, strict=True) if worked)


def clock_end(
    starts: Array,
    zone: str,
    holidays: Dates,
    *,
    cut_off: str,
    days: int,
    workdays: str,
) -> Array:
    """Return when clocks that start at these moments run out; NaT where there is no start.

    That is the last microsecond, in `zone`, of the business day that lies `days` after the one
    on which the order counts as received: its own, if it is one and the clock on the wall has
    not reached the cut-off, else the next one.
    """
    walls = local(starts, zone)
    came = walls.astype("M8[D]")
    years = 2 + days // (_WORKED_WEEKS * len(workdays.split()))
    closed = np.array(_holidays_from(holidays, came, years), dtype="M8[D]")
    calendar = np.busdaycalendar(weekmask=workdays, holidays=closed)
    too_late = (walls - came >= _since_midnight(cut_off)) & np.is_busday(came, busdaycal=calendar)
    due = np.busday_offset(came, days + too_late, roll="forward", busdaycal=calendar)
    return day_ends(due, zone)


def _since_midnight(time: str) -> np.timedelta64:
    return np.datetime64(f"1970-01-01T{time}", "us") - np.datetime64("1970-01-01", "us")


def _holidays_from(holidays: Dates, days: Array, years: int) -> Iterable[str]:
    """List the holidays of the years of these days and the next ones, so many in all."""
    if not isinstance(holidays, str):
        return holidays
    starts = np.unique(days[~np.isnat(days)].astype("M8[Y]")).astype(np.int64) + 1970
    wanted = {int(year) + more for year in starts for more in range(years)}
    known = [year for year in sorted(wanted) if _YEARS[0] <= year <= _YEARS[1]]
    return [day.isoformat() for day in _look_up(holidays, known)]


def _look_up(code: str, years: list[int]) -> list[dt.date]:
    country, _, part = code.partition("-")
    found = _library().country_holidays(country, subdiv=part or None, years=years)
    return sorted(found)


def _read_dates(given: object) -> Dates:
    if given is None:
        return ()
    if isinstance(given, str):
        return _read_code(given)
    if not isinstance(given, Iterable):
        raise TypeError(f"holidays={given!r} are no dates; pass a code such as 'US', or a list")
    return tuple(sorted({_read_date(day) for day in given}))


def _read_code(code: str) -> str:
    country, _, part = code.partition("-")
    parts = _library().list_supported_countries(include_aliases=False)
    if country not in parts:
        raise ValueError(
            f"holidays={code!r} is no country that the package holidays knows; write it like "
            f"'US' or 'US-CA', or pass a list of dates"
        )
    if part and part not in parts[country]:
        near = difflib.get_close_matches(part, parts[country], n=1, cutoff=0.5)
        hint = f"did you mean '{country}-{near[0]}'? " if near else ""
        raise ValueError(
            f"holidays={code!r} is no part of {country} that the package holidays knows; {hint}"
            f"Use {country!r} for the whole, or one of {', '.join(parts[country]) or 'none'}"
        )
    return code


def _read_date(day: Any) -> str:
    stamp: pd.Timestamp | None
    is_doubtful = isinstance(day, str) and not is_year_first(day)
    try:
        stamp = None if is_doubtful or isinstance(day, int | float) else pd.Timestamp(day)
    except (TypeError, ValueError):
        stamp = None
    if stamp is None or pd.isna(stamp) or stamp != stamp.normalize():
        raise ValueError(f"holidays holds {day!r}, not a date; write it like '2026-12-25'")
    return stamp.date().isoformat()  # strftime writes the year 99 as "99"


def _library() -> ModuleType:
    try:
        import holidays  # noqa: PLC0415  (an extra, and of use for codes only)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{error}; holidays by country need the extra 'calendars': install "
            f"trackstar_frames[calendars]; lists of dates do not",
            name=error.name,
        ) from error
    return holidays
