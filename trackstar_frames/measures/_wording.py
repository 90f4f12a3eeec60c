"""A policy in plain English."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from trackstar_frames.measures.policy import SlaPolicy

__all__ = ["length_text", "policy_text"]

_WEEK = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MOST_ZONES = 3


def policy_text(policy: SlaPolicy) -> str:
    """Say when orders are due, what counts as shipped, and what is not judged."""
    parts = [_due_date(policy)] if policy.cut_off is None else [_clock(policy), _calendar(policy)]
    grace = f"grace {length_text(policy.grace)}" if pd.Timedelta(policy.grace) else "no grace"
    parts += [f"shipped = {policy.ship_event}", grace]
    if policy.leave_out:
        parts.append(f"not judged: {', '.join(policy.leave_out)}")
    if policy.window is not None:
        parts.append(f"not judged if due more than {length_text(policy.window)} before as-of")
    if policy.late_below is not None:
        parts.append(f"target: less than {100 * policy.late_below:g} % late")
    said = "; ".join(parts) + "."
    return f"{policy.name}: {said[0].lower()}{said[1:]}" if policy.name else said


def length_text(length: object) -> str:
    """Spell a length of time.

    Examples
    --------
    >>> length_text("1 days 02:30:00"), length_text("00:00:00")
    ('1 d 2 h 30 min', '0 s')
    """
    whole = pd.Timedelta(length)  # type: ignore[arg-type]
    rest = whole.components
    seconds = whole.seconds % 60 + whole.microseconds / 1e6
    named = {"d": rest.days, "h": rest.hours, "min": rest.minutes, "s": seconds}
    return " ".join(f"{count:g} {unit}" for unit, count in named.items() if count) or "0 s"


def _due_date(policy: SlaPolicy) -> str:
    due = {
        "auto": "by their required ship date, a bare day until its end",
        "instant": "by the moment of their required ship date",
        "end": "by the end of the day of their required ship date",
    }
    return f"Orders are due {due[policy.due_day]} ({_zone(policy)})"


def _clock(policy: SlaPolicy) -> str:
    start = f"received ({policy.clock_start}, else created)" if policy.clock_start else "created"
    days = policy.business_days
    due = {
        0: "the same business day, later ones the next",
        1: "the next business day, later ones in 2 business days",
    }
    said = due.get(days, f"in {days} business days, later ones in {days + 1}")
    return f"Orders {start} before {policy.cut_off} warehouse time ({_zone(policy)}) are due {said}"


def _calendar(policy: SlaPolicy) -> str:
    holidays = policy.calendars
    if holidays.by_warehouse is not None:
        off = "without each warehouse's holidays"
    elif isinstance(holidays.default, str):
        off = f"without {holidays.default} holidays"
    else:
        off = f"without {len(dates)} given holidays" if (dates := holidays.default) else "all year"
    return f"{_days(policy.workdays.split())} {off}"


def _days(worked: list[str]) -> str:
    first = _WEEK.index(worked[0])
    together = list(_WEEK[first : first + len(worked)]) == worked
    return f"{worked[0]}-{worked[-1]}" if together and len(worked) > 1 else ", ".join(worked)


def _zone(policy: SlaPolicy) -> str:
    zones = policy.zones
    if zones.by_warehouse is None:
        return str(zones.default)
    names = sorted({zone for zone in [*zones.by_warehouse.values(), zones.default] if zone})
    told = ", ".join(names) if len(names) <= _MOST_ZONES else f"{len(names)} zones"
    return f"warehouses' own time: {told}"
