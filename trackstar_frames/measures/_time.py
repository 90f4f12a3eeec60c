"""What holds for all warehouses, or for each one: looked up for whole columns."""

from __future__ import annotations

import datetime as dt
import difflib
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from trackstar_frames.measures._checks import choice, column, require

__all__ = [
    "Array",
    "Period",
    "Zones",
    "codes_by_warehouse",
    "day_ends",
    "instants",
    "local",
    "period",
    "read_by_warehouse",
    "utc",
]


Value = TypeVar("Value")


def read_by_warehouse(
    name: str, given: Mapping[Any, Any], read: Callable[[Any], Value]
) -> tuple[dict[str, Value], Value | None]:
    """Check a map from warehouse ids; what stands under None is for all others."""
    if wrong := [key for key in given if not isinstance(key, str | None)]:
        raise TypeError(f"{name} has the key {wrong[0]!r}; use warehouse ids, and None for others")
    values = {key: read(value) for key, value in given.items()}
    default = values.pop(None, None)
    return values, default


def codes_by_warehouse(
    frame: pd.DataFrame,
    by_warehouse: Mapping[str, Value] | None,
    default: Value | None,
    *,
    name: str,
    thing: str,
) -> tuple[npt.NDArray[Any], list[Value]]:
    """Return each row's place in a list of values, -1 where it has none, and the list.

    Raises
    ------
    ValueError
        If a warehouse has no value, and there is none for all others. A null is no warehouse.
    """
    if by_warehouse is None:
        return np.zeros(len(frame), dtype=np.int64), [] if default is None else [default]
    require(frame, ["warehouse_id"], source="fetch_orders_df")
    rows, ids = pd.factorize(column(frame, "warehouse_id"))
    known = [by_warehouse.get(str(key), default) for key in ids]
    if missing := [str(key) for key, value in zip(ids, known, strict=True) if value is None]:
        listed = ", ".join(map(repr, sorted(missing)[:10]))
        raise ValueError(
            f"{name} has no {thing} for {len(missing)} of the warehouses: {listed}; "
            f"add them, or a {thing} for all others under the key None"
        )
    values = list(dict.fromkeys(value for value in [*known, default] if value is not None))
    # One more place, at the end, is what a null warehouse's code of -1 picks.
    places = [-1 if value is None else values.index(value) for value in [*known, default]]
    return np.array(places)[rows], values


Array = npt.NDArray[Any]
TzLike = str | dt.tzinfo | Mapping[str | None, str | dt.tzinfo]

_DAY = np.timedelta64(1, "D")
_TICK = np.timedelta64(1, "us")
# Python has no clocks before the year 1 and after 9999, which systems write for "never": what
# lies beyond is as far from UTC as the last day that there is.
_CLOCKS = (np.datetime64("0001-01-02", "us"), np.datetime64("9999-12-30", "us"))


def instants(frame: pd.DataFrame, name: str) -> Array:
    """Read a column of moments as UTC; naive ones are UTC already."""
    stamps = column(frame, name)
    if stamps.isna().all():
        return np.full(len(stamps), "NaT", dtype="M8[us]")
    if stamps.dtype.kind != "M":
        raise TypeError(
            f"column {name!r} is {frame[name].dtype}, not moments; "
            f"convert it with pd.to_datetime(..., utc=True, format='ISO8601')"
        )
    return stamps.to_numpy(dtype="M8[us]")


def utc(stamps: Array) -> pd.DatetimeIndex:
    """Wrap moments as ``datetime64[us, UTC]``."""
    return pd.DatetimeIndex(stamps).tz_localize("UTC")


def local(stamps: Array, zone: str) -> Array:
    """Turn moments into the wall clock of a zone."""
    held = np.clip(stamps, *_CLOCKS)
    walls: Array = utc(held).tz_convert(zone).tz_localize(None).to_numpy() + (stamps - held)
    return walls


def day_ends(days: Array, zone: str) -> Array:
    """Return the last microsecond of calendar days in a zone.

    It is one tick before the next day begins there, so that days of 23 and 25 hours come out
    right; a midnight that is skipped begins where the clock goes on, one that comes twice
    begins the first time.
    """
    starts = (days.astype("M8[D]") + _DAY).astype("M8[us]")
    held = np.clip(starts, *_CLOCKS)
    first = np.ones(len(starts), dtype=bool)
    aware = pd.DatetimeIndex(held).tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    ends: Array = aware.tz_convert(None).to_numpy() + (starts - held) - _TICK
    return ends


@dataclass(frozen=True)
class Zones:
    """One zone for all warehouses, or a zone for each, by name: JSON can hold it."""

    by_warehouse: dict[str, str] | None
    default: str | None

    @classmethod
    def read(cls, tz: TzLike) -> Zones:
        """Check what a user passes as `tz`."""
        if not isinstance(tz, Mapping):
            return cls(None, _zone_name(tz))
        return cls(*read_by_warehouse("tz", tz, _zone_name))

    @classmethod
    def from_json(cls, policy: Mapping[str, Any]) -> Zones:
        """Read back what `to_json` wrote."""
        tz = policy["tz"]
        return cls(None, tz) if isinstance(tz, str) else cls(dict(tz), policy.get("tz_default"))

    def to_json(self) -> dict[str, Any]:
        """Spell the zones as part of a policy."""
        if self.by_warehouse is None:
            return {"tz": self.default}
        return {"tz": self.by_warehouse, "tz_default": self.default}

    def codes(self, frame: pd.DataFrame) -> tuple[Array, list[str]]:
        """Return each row's place in a list of zones, -1 where there is none, and the list."""
        return codes_by_warehouse(frame, self.by_warehouse, self.default, name="tz", thing="zone")

    def convert(
        self, frame: pd.DataFrame, stamps: Array, function: Callable[[Array, str], Array]
    ) -> Array:
        """Apply ``function(stamps, zone)`` to each zone's rows; NaT where there is no zone."""
        codes, zones = self.codes(frame)
        result = np.full(len(stamps), "NaT", dtype="M8[us]")
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
    """Name the zone that was meant, by its whole name or by its city alone."""
    zones = sorted(zoneinfo.available_timezones())
    spelt = {zone.rpartition("/")[2]: zone for zone in zones} | {zone: zone for zone in zones}
    near = difflib.get_close_matches(name.replace(" ", "_"), spelt, n=1)
    return f"; did you mean {spelt[near[0]]!r}?" if near else "."


_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
# 1970-01-01, from which NumPy counts, was a Thursday: a week that ends on a Sunday starts
# on its Monday, four days later.
_WEEKS = {f"W-{day}": ("D", 7, 4 + (place + 1) % 7) for place, day in enumerate(_DAYS)}
# pandas has named these differently over its versions; all spellings mean the same here.
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
        """Return the number of the period that holds each moment (none may be NaT)."""
        units = stamps.astype(f"M8[{self.unit}]").astype(np.int64)
        return (units - self.origin) // self.step

    def floor(self, stamps: Array) -> Array:
        """Return the first moment of the period that holds each moment; NaT of NaT."""
        known = ~np.isnat(stamps)
        starts = stamps.copy()
        starts[known] = self.start(self.number(stamps[known]))
        return starts

    def start(self, numbers: Array) -> Array:
        """Return the first moment of each period."""
        units = numbers * self.step + self.origin
        return units.astype(f"M8[{self.unit}]").astype("M8[us]")


def period(freq: str) -> Period:
    """Read a pandas alias of days, weeks, months, quarters or years."""
    return Period(*_PERIODS[choice("freq", freq, _PERIODS)])
