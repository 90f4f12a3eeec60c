"""What chance decides."""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def chance(rng: random.Random, share: float) -> bool:
    """Return True in a `share` of all draws."""
    return rng.random() < share


def or_null(rng: random.Random, value: T, share: float) -> T | None:
    """Return `value`, or None in a `share` of all draws."""
    return None if rng.random() < share else value


def pick(rng: random.Random, choices: Sequence[T]) -> T:
    """Return one of `choices`; quicker than the library's, and fair enough."""
    return choices[int(rng.random() * len(choices))]


def draw(rng: random.Random, stop: int) -> int:
    """Return a whole number from 0 up to and without `stop`."""
    return int(rng.random() * stop)
