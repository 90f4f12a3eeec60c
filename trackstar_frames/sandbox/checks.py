"""Checks of the sandbox's options."""

from datetime import datetime
from typing import Any


def check_choice(name: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    """Raise ValueError if `value` is none of those `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not one of {', '.join(map(str, allowed))}")


def check_numbers(**numbers: Any) -> None:
    """Raise ValueError if a number is out of its bounds; what is no number passes."""
    for name, value in numbers.items():
        low, high = BOUNDS[name]
        if isinstance(value, int | float) and not low <= value <= high:
            raise ValueError(f"{name}={value!r} is not between {low} and {high}")


def check_whole(**numbers: Any) -> None:
    """Raise ValueError if a number is not whole; None passes."""
    for name, value in numbers.items():
        if value is not None and type(value) is not int:
            raise ValueError(f"{name}={value!r} is not a whole number")


def check_index(name: str, value: int, count: int) -> None:
    """Raise ValueError if `value` is none of the places of `count` things."""
    if type(value) is not int or not 0 <= value < count:
        raise ValueError(f"{name}={value!r} is not between 0 and {count - 1}")


def check_time(now: datetime | None) -> None:
    """Raise ValueError if a time has no time zone."""
    if now is not None and now.tzinfo is None:
        raise ValueError(f"now={now!r} has no time zone; say which, for instance UTC")


BOUNDS = {
    "orders": (0, 10**8),
    "tokens": (1, 1000),
    "rate_limit": (1, 10**6),
    "latency": (0, 3600),
    "port": (0, 65_535),
    "days": (1, 10_000),
    "odd": (0, 1),
    "hours": (0.01, 10_000),
    "new": (0, 10**6),
    "late": (0, 1),
}
