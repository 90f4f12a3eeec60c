"""Moments, lengths of time, time zones and periods, for whole columns."""

from __future__ import annotations

import datetime as dt
import difflib
import warnings
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from trackstar_frames.dates import is_iso8601
from trackstar_frames.measures._checks import choice, column, fetched_at, require
from trackstar_frames.measures._partitions import is_partitioned

Array = npt.NDArray[Any]
TzLike = str | dt.tzinfo | Mapping[str | None, str | dt.tzinfo]
Value = TypeVar("Value")

NAT = np.datetime64("NaT", "us")
_DAY = np.timedelta64(1, "D")
_TICK = np.timedelta64(1, "us")
# Python has no clock before the year 1 or after 9999, which systems write for "never": moments
# beyond are as far from UTC as the nearest day that has one.
_CLOCKS = (np.datetime64("0001-01-02", "us"), np.datetime64("9999-12-30", "us"))


def instant(name: str, value: object) -> pd.Timestamp:
    """Return one moment in UTC; a naive one is UTC already."""
    if not isinstance(value, str | dt.date | np.datetime64):
        raise TypeError(f"{name}={value!r} is not a moment; pass a string, datetime or Timestamp")
    stamp: pd.Timestamp | None
    # pandas guesses at other texts: 03/04/2026 is the fourth of March, 10:00 an hour of today.
    is_ambiguous = isinstance(value, str) and not is_iso8601(value)
    try:
        stamp = None if is_ambiguous else pd.Timestamp(value)
    except ValueError:
        stamp = None
    if stamp is None or pd.isna(stamp):
        raise ValueError(f"{name}={value!r} is not a moment; write it like 2026-01-31T12:00:00Z")
    stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
    return stamp.as_unit("us")


def resolve_as_of(orders: Any, as_of: object, *, stacklevel: int = 3) -> pd.Timestamp:
    """Return `as_of`, or when the orders were fetched, or else now, with a warning."""
    if as_of is not None:
        return instant("as_of", as_of)
    if is_partitioned(orders):
        raise ValueError(
            "as_of has no default here, as a Dask frame does not say when it was fetched; pass "
            "as_of, such as the fetched_at of the snapshot's info"
        )
    if (known := fetched_at(orders)) is not None:
        return instant("fetched_at", known)
    warnings.warn(
        "orders do not say when they were fetched (attrs['trackstar']['fetched_at']), so they "
        "are judged as of now; pass as_of",
        stacklevel=stacklevel,
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
    """Return the last microsecond of calendar days in a zone.

    That is one tick before the next day begins there, so that days of 23 and 25 hours come out
    right. A midnight that a change of clocks skips begins where the clock goes on; one that
    comes twice begins the first time.
    """
    starts = (days.astype("M8[D]") + _DAY).astype("M8[us]")
    clipped = np.clip(starts, *_CLOCKS)
    first = np.ones(len(starts), dtype=bool)
    aware = pd.DatetimeIndex(clipped).tz_localize(
        zone, ambiguous=first, nonexistent="shift_forward"
    )
    ends: Array = aware.tz_convert(None).to_numpy() + (starts - clipped) - _TICK
    return ends


@dataclass(frozen=True)
class ByWarehouse(Generic[Value]):
    """One value for all warehouses, or one for each and perhaps a default for all others."""

    by_warehouse: dict[str, Value] | None
    default: Value | None

    parameter: ClassVar[str]
    noun: ClassVar[str]

    @classmethod
    def parse(cls, given: object, parse_value: Callable[[Any], Value]) -> Self:
        """Check a value, or a map from warehouse ids in which None stands for all others."""
        if not isinstance(given, Mapping):
            return cls(None, parse_value(given))
        if wrong := [key for key in given if not isinstance(key, str | None)]:
            raise TypeError(
                f"{cls.parameter} has the key {wrong[0]!r}; use warehouse ids, and None for others"
            )
        values = {key: parse_value(value) for key, value in given.items()}
        default = values.pop(None, None)
        return cls(values, default)

    @classmethod
    def from_json(cls, info: Mapping[str, Any]) -> Self:
        """Return what `to_json` wrote."""
        value, default = info[cls.parameter], info.get(f"{cls.parameter}_default")
        return cls(dict(value), default) if isinstance(value, Mapping) else cls(None, value)

    def to_json(self) -> dict[str, Any]:
        """Return items for JSON, in which the default is apart, as None cannot be a key."""
        if self.by_warehouse is None:
            return {self.parameter: self.default}
        return {self.parameter: self.by_warehouse, f"{self.parameter}_default": self.default}

    def plain(self) -> Value | dict[str | None, Value] | None:
        """Return the one value, or one map with the default under None."""
        if self.by_warehouse is None:
            return self.default
        values: dict[str | None, Value] = dict(self.by_warehouse.items())
        return values if self.default is None else {**values, None: self.default}

    def codes(self, frame: pd.DataFrame) -> tuple[Array, list[Value]]:
        """Return each row's index in a list of values, -1 for one without, and the list.

        A null is no warehouse: it has the default, or no value.
        """
        if self.by_warehouse is None:
            return np.zeros(len(frame), dtype=np.int64), [cast("Value", self.default)]
        require(frame, ["warehouse_id"], source="fetch_orders_df")
        rows, ids = pd.factorize(column(frame, "warehouse_id"))
        known = [self.by_warehouse.get(str(each), self.default) for each in ids]
        if missing := [str(each) for each, value in zip(ids, known, strict=True) if value is None]:
            listed = ", ".join(map(repr, sorted(missing)[:10]))
            raise ValueError(
                f"{self.parameter} has no {self.noun} for {len(missing)} of the warehouses: "
                f"{listed}; add them, or a {self.noun} for all others under the key None"
            )
        values = list(dict.fromkeys(value for value in [*known, self.default] if value is not None))
        # A null warehouse has the code -1, which picks the last index: that of the default.
        indexes = [-1 if value is None else values.index(value) for value in [*known, self.default]]
        return np.array(indexes)[rows], values


class Zones(ByWarehouse[str]):
    """The time zones of warehouses, by name."""

    parameter = "tz"
    noun = "zone"

    @classmethod
    def of(cls, tz: TzLike) -> Zones:
        """Check the argument `tz`."""
        return cls.parse(tz, _zone_name)

    def convert(
        self, frame: pd.DataFrame, stamps: Array, function: Callable[[Array, str], Array]
    ) -> Array:
        """Return ``function(stamps, zone)`` of each zone's rows; NaT where there is no zone."""
        codes, zones = self.codes(frame)
        result = np.full(len(stamps), NAT)
        for code, zone in enumerate(zones):
            rows = codes == code
            result[rows] = function(stamps[rows], zone)
        return result


def _zone_name(zone: object) -> str:
    if not isinstance(zone, str | dt.tzinfo):
        raise TypeError(f"tz={zone!r} is not a time zone; pass a name such as 'America/New_York'")
    name = str(zone)
    try:
        pd.DatetimeTZDtype("us", name)
    except (KeyError, ValueError, OSError, TypeError) as error:
        raise ValueError(
            f"tz={name!r} is not a time zone{_nearest_zone(name)} Use a name such as "
            f"'America/New_York'"
        ) from error
    return name


def _nearest_zone(name: str) -> str:
    """Name the zone that was probably meant, by its whole name or by its city."""
    zones = sorted(zoneinfo.available_timezones())
    spelt = {zone.rpartition("/")[2]: zone for zone in zones} | {zone: zone for zone in zones}
    near = difflib.get_close_matches(name.replace(" ", "_"), spelt, n=1)
    return f"; did you mean {spelt[near[0]]!r}?" if near else "."


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


@dataclass(frozen=True)
class Period:
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
