"""The 95 % interval of a rate, and when a rate stands on too few orders."""

from __future__ import annotations

import numpy as np

from trackstar_frames.measures._time import Array

#: How many standard deviations a 95 % interval reaches to each side.
Z95 = 1.959963984540054

#: With fewer orders, one moves a rate by more than 3 points, and the interval of a rate of 90 %
#: is more than 20 points wide.
SMALL = 30


def wilson(successes: Array, n: Array) -> tuple[Array, Array, Array]:
    """Return the rate and its 95 % interval by Wilson's score; NaN where n is 0."""
    trials = np.where(n > 0, n, np.nan)
    rate = successes / trials
    spread = Z95**2 / trials
    centre = rate + spread / 2
    half = np.sqrt(spread * (rate * (1 - rate) + spread / 4))
    low, high = (centre - half) / (1 + spread), (centre + half) / (1 + spread)
    return rate, np.clip(low, 0, rate), np.clip(high, rate, 1)


def is_small(n: Array) -> Array:
    """Return which rates stand on too few orders to be trusted."""
    return n < SMALL
