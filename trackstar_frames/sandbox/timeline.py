"""What happens to an order, and what of it has happened by now."""

import random
from typing import NamedTuple

from trackstar_frames.sandbox.chance import chance, draw, or_null, pick
from trackstar_frames.sandbox.clock import DAY, HOUR, SATURDAY, after_workdays, weekday

Due = tuple[int | None, int]


class Timeline(NamedTuple):
    """The times of one order, in seconds since the epoch.

    Attributes
    ----------
    created
        When it was placed.
    due, due_by
        The due date as the order states it (None: it states none), and the last second of it.
    shipped
        When each of its shipments leaves, the first one first; empty if none ever does.
    cancelled
        When it is cancelled; None if it is not.
    stuck
        Whether it waits without end.
    """

    created: int
    due: int | None
    due_by: int
    shipped: tuple[int, ...]
    cancelled: int | None
    stuck: bool


def make_timeline(
    rng: random.Random, created: int, kind: str, due: str, punctuality: float
) -> Timeline:
    """Return the whole story of an order.

    Parameters
    ----------
    rng
        What chance decides.
    created
        When the order was placed.
    kind
        Its type; wholesale has more time.
    due
        How its due date is given: ``"day"``, ``"time"`` or ``"none"``.
    punctuality
        The chance that it leaves in time.
    """
    return make_course(rng, created, kind, _due(rng, created, kind, due), punctuality)


def make_course(
    rng: random.Random, created: int, kind: str, due: Due, punctuality: float
) -> Timeline:
    """Return the story of an order whose due date is known: as stated, and its last second."""
    stated, due_by = due
    regret = created + 120 + int(rng.expovariate(1 / (8 * HOUR)))
    cancelled = or_null(rng, regret, 1 - CANCELLED)
    stuck = cancelled is None and chance(rng, STUCK)
    shipped = () if stuck else _shipped(rng, created, due_by, kind, punctuality)
    return Timeline(created, stated, due_by, shipped, cancelled, stuck)


CANCELLED, STUCK, NO_DUE_DATE = 0.03, 0.005, 0.03
SPLIT = {"d2c": 0.06, "b2b": 0.12, "dropship": 0.03, "transfer": 0.1}
WORKDAYS = {
    "d2c": (0, 1, 1, 1, 2, 2),
    "b2b": (3, 4, 5, 7, 10),
    "dropship": (1, 2),
    "transfer": (4, 7),
}
CLOSING = (17 * HOUR, 20 * HOUR + HOUR // 2, 22 * HOUR + 59 * 60 + 59)


def _due(rng: random.Random, created: int, kind: str, due: str) -> Due:
    late_in_day = created % DAY > 14 * HOUR
    day = after_workdays(created, max(pick(rng, WORKDAYS[kind]), int(late_in_day)))
    time = pick(rng, CLOSING)
    if due == "time":
        while day + time < created + 2 * HOUR:
            day = after_workdays(day, 1)
        stated, due_by = day + time, day + time
    else:
        stated, due_by = day, day + DAY - 1
    unknown = due == "none" or rng.random() < NO_DUE_DATE
    return None if unknown else stated, due_by


def _shipped(
    rng: random.Random, created: int, due_by: int, kind: str, punctuality: float
) -> tuple[int, ...]:
    if chance(rng, punctuality):
        last = _in_time(rng, created, due_by)
    else:
        last = due_by + HOUR + int(rng.expovariate(1 / (1.5 * DAY)))
    if not chance(rng, SPLIT[kind]):
        return (last,)
    if chance(rng, 0.5):
        return (created + int((last - created) * rng.uniform(0.3, 0.9)), last)
    return (last, last + HOUR + int(rng.expovariate(1 / (8 * DAY))))


def _in_time(rng: random.Random, created: int, due_by: int) -> int:
    earliest = min(created + HOUR // 2, due_by)
    moment = earliest + int((due_by - earliest) * rng.random() ** 0.7)
    for preferred in (_on_workday(moment), moment):
        working = preferred // DAY * DAY + 8 * HOUR + draw(rng, 10 * HOUR)
        if earliest <= working <= due_by:
            return working
    return moment


def _on_workday(moment: int) -> int:
    return moment if weekday(moment) < SATURDAY else after_workdays(moment, 0)
