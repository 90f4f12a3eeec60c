"""The steps from an order's stamps to its outcome, each on whole columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import column
from trackstar_frames.measures._time import Array, Zones, day_ends, instants, local

__all__ = ["OUTCOMES", "SHORT", "due_times", "lateness", "outcomes", "reasons", "words"]

OUTCOMES = ("on_time", "late_shipped", "late_open", "pending", "not_evaluable")

SHORT = "fulfilled short: the units shipped never reach the units ordered"
# Why an order cannot be judged; where several hold, the first is given.
_REASONS = (
    "created after as_of",
    "cancelled",
    "no due date",
    "no time zone for warehouse",
    SHORT,
    "shipped without a usable stamp",
)
_NAT = np.datetime64("NaT", "us")


def due_times(orders: pd.DataFrame, due_day: str, zones: Zones) -> Array:
    """Read the required ship dates as moments; NaT where a day has no zone to end in."""
    stamps = instants(orders, "required_ship_date")
    bare = (stamps == stamps.astype("M8[D]")) & (due_day != "instant")
    ends = zones.convert(orders, np.where(bare, stamps, _NAT), day_ends)
    if due_day != "end":
        return np.where(bare, ends, stamps)
    timed = np.where(bare, _NAT, stamps)
    timed_ends = zones.convert(orders, timed, lambda some, zone: day_ends(local(some, zone), zone))
    return np.where(bare, ends, timed_ends)


def reasons(
    orders: pd.DataFrame, due: Array, stamped: Array, now: np.datetime64, ship_event: str
) -> Array:
    """Return each order's place in `_REASONS`, -1 for one that can be judged."""
    status = column(orders, "status")
    done = ["fulfilled"] if ship_event == "complete" else ["fulfilled", "partially_fulfilled"]
    unstamped = status.isin(done).to_numpy(dtype=bool) & np.isnat(stamped)
    last = instants(orders, "last_shipped_date") if ship_event == "complete" else stamped
    holds = [
        instants(orders, "created_date") > now,
        status.isin(["cancelled"]).to_numpy(dtype=bool),
        np.isnat(instants(orders, "required_ship_date")),
        np.isnat(due),
        unstamped & (last <= now),
        unstamped & np.isnat(last),
    ]
    return np.select(holds, range(len(_REASONS)), default=-1)


def outcomes(limit: Array, shipped: Array, now: np.datetime64, unknown: Array) -> Array:
    """Return each order's place in `OUTCOMES`."""
    happened = ~np.isnat(shipped)
    return np.select(
        [unknown, happened & (shipped <= limit), happened, now > limit], [4, 0, 1, 2], default=3
    )


def lateness(due: Array, shipped: Array, now: np.datetime64, outcome: Array) -> Array:
    """Return how long after due an order shipped, or has been open; NaT where not judged."""
    until = np.where(outcome == OUTCOMES.index("late_open"), now, shipped)
    judged = outcome <= OUTCOMES.index("late_open")
    return np.where(judged, until - due, np.timedelta64("NaT", "us")).astype("m8[us]")


def words(reasons: Array) -> pd.Series[str]:
    """Spell reasons in this pandas' own type of strings: str, or object before pandas 3."""
    spelt = np.array([*_REASONS, None], dtype=object)[reasons]
    return pd.Series(spelt, dtype=object).astype(pd.Series(["x"]).dtype)
