"""When orders are placed: the rhythm of the day and the week, and how times are written."""

import math
import random
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from trackstar_frames.sandbox.chance import draw

MINUTE, HOUR, DAY = 60, 3600, 86400


class Span(NamedTuple):
    """The time from one look at the orders to the next: after `before`, up to `now`."""

    before: int
    now: int

    def moment(self, rng: random.Random) -> int:
        """Return any second of it."""
        return self.before + 1 + draw(rng, self.now - self.before)

    def sees(self, rng: random.Random, mean: float) -> bool:
        """Return whether it sees what happens once in `mean` seconds, as chance will have it."""
        return rng.random() < -math.expm1((self.before - self.now) / mean)


def stamp(seconds: int) -> str:
    """Return seconds since the epoch as the API writes a time."""
    day, rest = divmod(seconds, DAY)
    return f"{_date(day)}T{rest // HOUR:02d}:{rest % HOUR // MINUTE:02d}:{rest % MINUTE:02d}Z"


def weekday(seconds: int) -> int:
    """Return the day of the week, Monday being 0."""
    return (seconds // DAY + 3) % 7


def after_workdays(seconds: int, days: int) -> int:
    """Return the midnight that begins the workday `days` workdays later."""
    day = seconds // DAY * DAY
    while days > 0 or weekday(day) >= SATURDAY:
        day += DAY
        days -= weekday(day) < SATURDAY
    return day


def placed(rng: random.Random, count: int, since: int, now: int) -> list[int]:
    """Return `count` times from `since` up to and without `now`, in no order.

    Most fall in the mornings and evenings of workdays, more in the last week of November.
    """
    ends = [now - HOUR * back for back in range(math.ceil((now - since) / HOUR))]
    slots = [(max(since, end - HOUR), end) for end in ends]
    weights = [_busy(end - HOUR) * (end - start) for start, end in slots]
    return [start + draw(rng, end - start) for start, end in rng.choices(slots, weights, k=count)]


def slump(created: int, now: int) -> float:
    """Return by how much fewer orders left in time: two weeks went badly, two months ago."""
    return 0.8 if 56 * DAY < now - created < 70 * DAY else 1.0


SATURDAY = 5
WEEK = (1.2, 1.1, 1.05, 1.0, 1.05, 0.6, 0.5)
DAY_HOURS = (5, 4, 4, 3, 2, 1, 1, 1, 1, 1, 2, 3, 5, 7, 9, 10, 11, 10, 9, 8, 8, 9, 9, 7)


def _busy(hour: int) -> float:
    date = _date(hour // DAY)
    season = 2.0 if "11-23" <= date[5:] <= "11-30" else 1.0
    return WEEK[weekday(hour)] * DAY_HOURS[hour % DAY // HOUR] * season


@lru_cache(maxsize=4096)
def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY, UTC).date().isoformat()
