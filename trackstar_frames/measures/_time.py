"""Moments, time zones and periods, for whole columns."""

from __future__ import annotations

import datetime as dt
import difflib
import importlib
import re
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from trackstar_frames._text import warn
from trackstar_frames.dates import is_day
from trackstar_frames.measures._checks import choice, column, fetched_at, require
from trackstar_frames.measures._partitions import is_partitioned

Array = npt.NDArray[Any]
TzLike = str | dt.tzinfo | Mapping[str | None, str | dt.tzinfo]
Value = TypeVar("Value")

NAT = np.datetime64("NaT", "us")
_DAY = np.timedelta64(1, "D")
_TICK = np.timedelta64(1, "us")
_YEAR_FIRST = re.compile(r"(\d{4}-\d\d-\d\d|\d{8})([Tt ]\d.*)?", re.ASCII)
# Python has no clock before the year 1 or after 9999, which systems write for "never": moments
# beyond are as far from UTC as the nearest day that has one.
_CLOCKS = (np.datetime64("0001-01-02", "us"), np.datetime64("9999-12-30", "us"))
_LAST = np.datetime64("9999-12-31T23:59:59.999999", "us")


def instant(name: str, value: object) -> pd.Timestamp:
    """Return one moment in UTC; a naive one is UTC already."""
    if not isinstance(value, str | dt.date | np.datetime64):
        raise TypeError(f"{name}={value!r} is not a moment; pass a string, datetime or Timestamp")
    stamp = parse_stamp(value)
    if stamp is None:
        raise ValueError(f"{name}={value!r} is not a moment; write it like 2026-01-31T12:00:00Z")
    stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
    return stamp.as_unit("us")


def parse_stamp(value: Any) -> pd.Timestamp | None:
    """Return the day or moment that pandas reads; None where there is none, or pandas guesses."""
    # It takes 03/04/2026 for the fourth of March, 10:00 for an hour of today, and numbers for
    # nanoseconds since 1970. Whatever follows a day that begins with the year is clear.
    if isinstance(value, int | float) or (
        isinstance(value, str) and not _YEAR_FIRST.fullmatch(value)
    ):
        return None
    try:
        stamp = pd.Timestamp(value)
    except (TypeError, ValueError):
        return None
    return None if pd.isna(stamp) else stamp


def resolve_as_of(orders: Any, as_of: object, *, zone: str = "UTC") -> pd.Timestamp:
    """Return `as_of`, or when the orders were fetched, or else now, with a warning.

    A bare day is its last microsecond in the zone, but not after the orders were fetched.
    """
    if is_day(as_of):
        day = np.array([instant("as_of", as_of).tz_localize(None).to_datetime64()])
        end = utc(day_ends(day, zone))[0]
        known = None if is_partitioned(orders) else fetched_at(orders)
        return end if known is None else min(end, instant("fetched_at", known))
    if as_of is not None:
        return instant("as_of", as_of)
    if is_partitioned(orders):
        raise ValueError(
            "as_of has no default here, as a Dask frame does not say when it was fetched; pass "
            "as_of, such as the fetched_at of the snapshot's info"
        )
    if (known := fetched_at(orders)) is not None:
        return instant("fetched_at", known)
    warn(
        "orders do not say when they were fetched (attrs['trackstar']['fetched_at']), so they "
        "are judged as of now; pass as_of"
    )
    return pd.Timestamp.now(tz="UTC").as_unit("us")


def now_of(as_of: pd.Timestamp) -> np.datetime64:
    """Return a moment as NumPy has it, to compare with `instants`."""
    return np.datetime64(as_of.tz_localize(None), "us")


def instants(frame: pd.DataFrame, name: str) -> Array:
    """Return a column of moments in UTC; naive ones are UTC already."""
    stamps = column(frame, name)
    if stamps.isna().all():
        return np.full(len(stamps), NAT)
    if stamps.dtype.kind != "M":
        raise TypeError(
            f"column {name!r} is {frame[name].dtype}, not moments; "
            f"convert it with pd.to_datetime(..., utc=True, format='ISO8601')"
        )
    return stamps.to_numpy(dtype="M8[us]")


def utc(stamps: Array) -> pd.DatetimeIndex:
    """Return moments as ``datetime64[us, UTC]``."""
    return pd.DatetimeIndex(stamps).tz_localize("UTC")


def local(stamps: Array, zone: str) -> Array:
    """Return the wall-clock times of a zone at these moments."""
    clipped = np.clip(stamps, *_CLOCKS)
    walls: Array = utc(clipped).tz_convert(zone).tz_localize(None).to_numpy() + (stamps - clipped)
    return walls


def day_ends(days: Array, zone: str) -> Array:
    """Return the last microsecond of calendar days in a zone: one before the next day begins.

    None is after the year 9999, which cannot be written: to Parquet, for one.
    """
    starts = (days.astype("M8[D]") + _DAY).astype("M8[us]")
    clipped = np.clip(starts, *_CLOCKS)
    # A midnight that a change of clocks skips begins where the clock goes on; one that comes
    # twice begins the first time.
    first = np.ones(len(starts), dtype=bool)
    walls = pd.DatetimeIndex(clipped)
    aware = walls.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    ends: Array = aware.tz_convert(None).to_numpy() + (starts - clipped) - _TICK
    return np.minimum(ends, _LAST)


def unless_never(stamps: Array) -> Array:
    """Return moments with NaT for those of the last days that can be written, which mean never."""
    return np.where(stamps < _CLOCKS[1], stamps, NAT)


# One value for all warehouses, or a map from warehouse ids in which None stands for all others.


def parse_by_warehouse(
    name: str, given: object, parse: Callable[[Any], Value]
) -> Value | dict[str | None, Value]:
    """Check the value, or each value of a map from warehouse ids."""
    if not isinstance(given, Mapping):
        return parse(given)
    if wrong := [key for key in given if not isinstance(key, str | None)]:
        raise TypeError(f"{name} has the key {wrong[0]!r}; use warehouse ids, and None for others")
    return {key: parse(given[key]) for key in sorted(given, key=lambda key: key is None)}


def by_warehouse_to_json(name: str, values: object) -> dict[str, Any]:
    """Return items for JSON, in which the default has a name of its own: no key can be None."""
    if not isinstance(values, Mapping):
        return {name: values}
    own = {key: value for key, value in values.items() if key is not None}
    return {name: own, f"{name}_default": values.get(None)}


def by_warehouse_from_json(name: str, items: Mapping[str, Any]) -> Any:
    """Return what `by_warehouse_to_json` made items of."""
    values, default = items[name], items.get(f"{name}_default")
    is_map = isinstance(values, Mapping) and default is not None
    return {**values, None: default} if is_map else values


def codes_by_warehouse(frame: pd.DataFrame, name: str, values: Any) -> tuple[Array, list[Any]]:
    """Return each row's index in a list of values, -1 for one without, and the list."""
    if not isinstance(values, Mapping):
        return np.zeros(len(frame), dtype=np.int64), [values]
    require(frame, ["warehouse_id"], source="fetch_orders_df")
    rows, ids = pd.factorize(column(frame, "warehouse_id"))
    default = values.get(None)
    known = [values.get(str(each), default) for each in ids]
    if missing := [str(each) for each, value in zip(ids, known, strict=True) if value is None]:
        listed = ", ".join(map(repr, sorted(missing)[:10]))
        noun = {"tz": "zone", "holidays": "calendar"}[name]
        raise ValueError(
            f"{name} has no {noun} for {len(missing)} of the warehouses: "
            f"{listed}; add them, or a {noun} for all others under the key None"
        )
    # A null is no warehouse: its code -1 picks the last of these, the default or no value.
    known.append(default)
    distinct = list(dict.fromkeys(value for value in known if value is not None))
    codes = np.array([-1 if each is None else distinct.index(each) for each in known])
    return codes[rows], distinct


def parse_zones(tz: object) -> str | dict[str | None, str]:
    """Return the names of the time zones of an argument `tz`."""
    return parse_by_warehouse("tz", tz, _zone_name)


def convert_by_zone(
    frame: pd.DataFrame, stamps: Array, tz: object, convert: Callable[[Array, str], Array]
) -> Array:
    """Return ``convert(stamps, zone)`` of each zone's rows; NaT where there is no zone."""
    codes, zones = codes_by_warehouse(frame, "tz", tz)
    result = np.full(len(stamps), NAT)
    for code, zone in enumerate(zones):
        rows = codes == code
        result[rows] = convert(stamps[rows], zone)
    return result


@cache
def zone_data() -> str | None:
    """Return the version of the zone data that pandas converts by, such as ``2026a``, if known."""
    source = type(pd.DatetimeTZDtype("us", "America/New_York").tz).__module__
    if source.startswith("pytz"):  # pandas 2
        return str(importlib.import_module("pytz").OLSON_VERSION)
    for folder in map(Path, zoneinfo.TZPATH):
        with suppress(OSError):
            (folder / "UTC").read_text(errors="replace")
            return _version_in(folder)
    with suppress(ImportError):  # a system without zones
        return str(importlib.import_module("tzdata").IANA_VERSION)
    return None


def _version_in(folder: Path) -> str | None:
    for name in ("+VERSION", "tzdata.zi"):
        with suppress(OSError, UnicodeDecodeError):
            line = (folder / name).read_text().partition("\n")[0]
            return line.removeprefix("# version ").strip()
    return None


def _zone_name(zone: object) -> str:
    if not isinstance(zone, str | dt.tzinfo):
        raise TypeError(f"tz={zone!r} is not a time zone; pass a name such as 'America/New_York'")
    name = str(zone)
    try:
        pd.DatetimeTZDtype("us", name)
    except (KeyError, ValueError, OSError, TypeError) as error:
        # The zone that is probably meant is found by its whole name, or by its city.
        zones = sorted(zoneinfo.available_timezones())
        spelt = {each.rpartition("/")[2]: each for each in zones} | {each: each for each in zones}
        near = difflib.get_close_matches(name.replace(" ", "_"), spelt, n=1)
        hint = f"; did you mean {spelt[near[0]]!r}?" if near else "."
        raise ValueError(
            f"tz={name!r} is not a time zone{hint} Use a name such as 'America/New_York'"
        ) from error
    return name


_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
# NumPy counts from 1970-01-01, a Thursday: a week that ends on a Sunday starts on its Monday,
# four days later.
_WEEKS = {f"W-{day}": ("D", 7, 4 + (number + 1) % 7) for number, day in enumerate(_DAYS)}
# pandas has changed these names over its versions; all spellings mean the same here.
_PERIODS = {
    "D": ("D", 1, 0),
    "W": _WEEKS["W-SUN"],
    **dict.fromkeys(("M", "MS", "ME"), ("M", 1, 0)),
    **dict.fromkeys(("Q", "QS", "QE"), ("M", 3, 0)),
    **dict.fromkeys(("Y", "YS", "YE"), ("Y", 1, 0)),
    **_WEEKS,
}


class Period(NamedTuple):
    """A regular division of the calendar: `step` units, counted from `origin`."""

    unit: str
    step: int
    origin: int

    def number(self, stamps: Array) -> Array:
        """Return the number of the period that holds each moment, none of which may be NaT."""
        units = stamps.astype(f"M8[{self.unit}]").astype(np.int64)
        return (units - self.origin) // self.step

    def start(self, numbers: Array) -> Array:
        """Return the first moment of each period."""
        units = numbers * self.step + self.origin
        return units.astype(f"M8[{self.unit}]").astype("M8[us]")

    def floor(self, stamps: Array) -> Array:
        """Return the first moment of the period that holds each moment; NaT for NaT."""
        known = ~np.isnat(stamps)
        starts = stamps.copy()
        starts[known] = self.start(self.number(stamps[known]))
        return starts


def period(freq: str) -> Period:
    """Return the period of a pandas alias of days, weeks, months, quarters or years."""
    return Period(*_PERIODS[choice("freq", freq, _PERIODS)])


class Periods(NamedTuple):
    """The periods of a table, which begin and end on the clocks of some zones."""

    starts: Array
    length: Period
    zones: Sequence[str]

    def are_over(self, as_of: pd.Timestamp | None) -> Array:
        """Return which periods have ended in all zones; none if the moment is unknown."""
        if as_of is None:
            return np.zeros(len(self.starts), dtype=bool)
        # A bare day as as_of is the last microsecond of a day, which is then over.
        return self.end_by(self.walls(as_of) + _TICK)

    def lie_within(
        self, start: pd.Timestamp | None, end: pd.Timestamp | None, as_of: pd.Timestamp | None
    ) -> Array:
        """Return which periods lie between two moments; None is no bound.

        Nor is an end that had not come by `as_of`: nothing later is in the table.
        """
        within = np.ones(len(self.starts), dtype=bool)
        if start is not None:
            within &= self.begin_from(self.walls(start))
        if end is not None and (as_of is None or end < as_of):
            within &= self.end_by(self.walls(end))
        return within

    def begin_from(self, walls: Array) -> Array:
        """Return which periods begin no earlier than any of these wall-clock times."""
        begin: Array = self.starts >= walls.max()
        return begin

    def end_by(self, walls: Array) -> Array:
        """Return which periods end no later than any of these wall-clock times."""
        end: Array = self.length.start(self.length.number(self.starts) + 1) <= walls.min()
        return end

    def walls(self, moment: pd.Timestamp) -> Array:
        """Return a moment on the clock of each zone."""
        stamp = np.array([now_of(moment)])
        return np.concatenate([local(stamp, zone) for zone in self.zones])
