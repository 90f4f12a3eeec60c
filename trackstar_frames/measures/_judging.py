"""The steps from an order's stamps to its outcome, each on whole columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trackstar_frames.measures._calendar import clock_end
from trackstar_frames.measures._checks import has_status, own_texts
from trackstar_frames.measures._time import Array, Zones, day_ends, instants, local
from trackstar_frames.measures.policy import SlaPolicy

__all__ = [
    "OUTCOMES",
    "SHORT",
    "due_times",
    "lateness",
    "needed",
    "outcomes",
    "reasons",
    "required_times",
    "words",
]

OUTCOMES = ("on_time", "late_shipped", "late_open", "pending", "not_evaluable")

SHORT = "fulfilled short: the units shipped never reach the units ordered"
# Why an order cannot be judged; where several hold, the first is given.
_REASONS = (
    "created after as_of",
    "cancelled",
    "status left out by the policy",
    "no due date",
    "backordered: nothing tells when its clock starts",
    "no created_date for a clock to start at",
    "no time zone for warehouse",
    "no calendar for warehouse",
    "due before the window",
    SHORT,
    "shipped without a usable stamp",
)
_NAT = np.datetime64("NaT", "us")


def needed(policy: SlaPolicy) -> list[str]:
    """List the columns that are read, but for the warehouses."""
    names = ["status", "created_date", f"{policy.ship_event}_shipped_date"]
    names += ["last_shipped_date"] if policy.ship_event == "complete" else []
    if policy.cut_off is None:
        return [*names, "required_ship_date"]
    return names if policy.clock_start is None else [*names, policy.clock_start]


def due_times(orders: pd.DataFrame, policy: SlaPolicy) -> Array:
    """Return when orders are due; NaT where that cannot be told."""
    if policy.cut_off is None:
        return required_times(orders, policy.due_day, policy.zones)
    return _clocked(orders, policy, str(policy.cut_off))


def required_times(orders: pd.DataFrame, due_day: str, zones: Zones) -> Array:
    """Read the required ship dates as moments; NaT where a day has no zone to end in."""
    stamps = instants(orders, "required_ship_date")
    bare = (stamps == stamps.astype("M8[D]")) & (due_day != "instant")
    ends = zones.convert(orders, np.where(bare, stamps, _NAT), day_ends)
    if due_day != "end":
        return np.where(bare, ends, stamps)
    timed = np.where(bare, _NAT, stamps)
    timed_ends = zones.convert(orders, timed, lambda some, zone: day_ends(local(some, zone), zone))
    return np.where(bare, ends, timed_ends)


def _clocked(orders: pd.DataFrame, policy: SlaPolicy, cut_off: str) -> Array:
    """Let a clock run for each order, on the calendar of its warehouse."""
    starts = _starts(orders, policy)
    in_zone, zones = policy.zones.codes(orders)
    in_calendar, calendars = policy.calendars.codes(orders)
    due = np.full(len(orders), _NAT)
    for place, zone in enumerate(zones):
        for number, holidays in enumerate(calendars):
            rows = (in_zone == place) & (in_calendar == number)
            due[rows] = clock_end(
                starts[rows],
                zone,
                holidays,
                cut_off=cut_off,
                days=policy.business_days,
                workdays=policy.workdays,
            )
    return due


def _starts(orders: pd.DataFrame, policy: SlaPolicy) -> Array:
    created = instants(orders, "created_date")
    if policy.clock_start is None:
        return created
    given = instants(orders, policy.clock_start)
    return np.where(np.isnat(given), created, given)


def reasons(
    orders: pd.DataFrame, due: Array, stamped: Array, now: np.datetime64, policy: SlaPolicy
) -> Array:
    """Return each order's place in `_REASONS`, -1 for one that can be judged."""
    complete = policy.ship_event == "complete"
    done = ["fulfilled"] if complete else ["fulfilled", "partially_fulfilled"]
    unstamped = has_status(orders, *done) & np.isnat(stamped)
    last = instants(orders, "last_shipped_date") if complete else stamped
    window = policy.window
    since = _NAT if window is None else now - pd.Timedelta(window).to_timedelta64()
    holds = [
        instants(orders, "created_date") > now,
        has_status(orders, "cancelled"),
        has_status(orders, *policy.leave_out),
        *_not_due(orders, policy),
        np.isnat(due) & (policy.zones.default is None),
        np.isnat(due),
        due < since,
        unstamped & (last <= now),
        unstamped & np.isnat(last),
    ]
    return np.select(holds, range(len(_REASONS)), default=-1)


def _not_due(orders: pd.DataFrame, policy: SlaPolicy) -> list[Array]:
    """Tell which orders have no due date, which may start their clock, which have none."""
    none = np.zeros(len(orders), dtype=bool)
    if policy.cut_off is None:
        return [np.isnat(instants(orders, "required_ship_date")), none, none]
    unstarted = np.isnat(_starts(orders, policy))
    untold = has_status(orders, "backordered")
    if policy.clock_start is not None:
        untold = untold & np.isnat(instants(orders, policy.clock_start))
    return [none, untold, unstarted]


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
    """Spell reasons; null for an order that can be judged."""
    spelt = np.array([*_REASONS, None], dtype=object)[reasons]
    return own_texts(spelt)
