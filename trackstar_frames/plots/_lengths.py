"""Lengths of time on axes and in words."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["DAY", "HOUR", "axis_unit", "lasting", "reach"]

HOUR = np.timedelta64(1, "h")
DAY = 24.0  # hours

_DAYS_FROM = 96.0  # hours; shorter axes are ones of hours
_HOURS_UP_TO, _ROUND_DAYS = 48, 100


def axis_unit(hours: float) -> tuple[float, str]:
    """Choose the unit of an axis that shows so many hours: how many it has, and its name."""
    return (DAY, "days") if hours >= _DAYS_FROM else (1.0, "hours")


def reach(low: float, high: float) -> float:
    """Tell how far from these quartiles (hours) a time may lie; beyond is a stray date.

    Of few orders, one of those is more than a hundredth.
    """
    return 5 * (high - low + DAY)


def lasting(length: Any) -> str:
    """Spell a length of time, or so many hours, in the unit that suits it; null is unknown."""
    # Not as a Timedelta, which may end before the 292nd year.
    hours = float(length if isinstance(length, float) else length / HOUR)
    if np.isnan(hours):
        return "unknown"
    if abs(hours) >= _HOURS_UP_TO:
        days = hours / 24
        return f"{days:,.0f} days" if abs(days) >= _ROUND_DAYS else f"{days:.1f} days"
    return f"{hours:.0f} h" if abs(hours) >= 1 else f"{hours * 60:.0f} min"
