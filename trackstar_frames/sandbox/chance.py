"""What chance decides."""

import random
from typing import TypeVar

T = TypeVar("T")


def chance(rng: random.Random, share: float) -> bool:
    """Return True in a `share` of all draws."""
    return rng.random() < share


def or_null(rng: random.Random, value: T, share: float) -> T | None:
    """Return `value`, or None in a `share` of all draws."""
    return None if rng.random() < share else value
