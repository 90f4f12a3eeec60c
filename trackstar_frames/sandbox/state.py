"""What has become of an order by now."""

import math
import random
from typing import NamedTuple

from trackstar_frames.sandbox.chance import chance, draw, pick
from trackstar_frames.sandbox.clock import DAY, HOUR, MINUTE
from trackstar_frames.sandbox.timeline import Timeline


class State(NamedTuple):
    """An order's status, when it last changed, and which of its shipments have left, and when."""

    status: str
    raw_status: str | None
    updated: int
    shipped: tuple[int, ...]


def make_state(rng: random.Random, timeline: Timeline, now: int) -> State:
    """Return what `timeline` has come to by `now`."""
    shipped = tuple(moment for moment in timeline.shipped if moment <= now)
    cancelled = timeline.cancelled
    if cancelled is not None and cancelled <= now and cancelled < min((*timeline.shipped, now + 1)):
        return _state(rng, "cancelled", cancelled, ())
    if shipped:
        whole = len(shipped) == len(timeline.shipped)
        updated = min(now, shipped[-1] + draw(rng, 20 * MINUTE))
        return _state(rng, "fulfilled" if whole else "partially_fulfilled", updated, shipped)
    return _open(rng, timeline, now)


def make_move(rng: random.Random, status: str, left: int, updated: int) -> State | None:
    """Return where an order that waits goes next, or None: as far as it can before it leaves.

    Parameters
    ----------
    rng
        What chance decides.
    status
        Where it is: a stage, or a trouble.
    left
        The seconds until it leaves.
    updated
        When it goes.
    """
    if status in TROUBLES:
        others = [trouble for trouble in TROUBLES if trouble != status]
        following = _stage(rng, left) if chance(rng, 0.75) else pick(rng, others)
    elif status in TROUBLED and chance(rng, 0.15):
        following = pick(rng, TROUBLES)
    elif status == LIFECYCLE[-1]:
        return None
    else:
        stage = max(LIFECYCLE.index(_stage(rng, left)), LIFECYCLE.index(status) + 1)
        following = LIFECYCLE[stage]
    return _state(rng, following, updated, ())


RAW_STATUSES: dict[str, tuple[str | None, ...]] = {
    "open": ("NEW", "Awaiting fulfillment", None),
    "confirmed": ("ACCEPTED", "Allocated"),
    "processing": ("IN_WAVE", "Picking", None),
    "picked": ("PICKED",),
    "packed": ("PACKED", "Awaiting carrier"),
    "partially_fulfilled": ("PARTIAL", "Partially shipped"),
    "fulfilled": ("SHIPPED", "SHIPPED", "Complete", None, ""),
    "backordered": ("BACKORDER", "Out of stock"),
    "exception": ("ADDRESS_ERROR", "Exception"),
    "cancelled": ("CANCELLED", "Canceled", None),
    "other": ("ON_HOLD_FRAUD", "Awaiting payment", "PENDING_PICKUP"),
}
# How long before it leaves an order enters each stage, give or take.
STAGES = (
    (2 * HOUR, "packed"),
    (4 * HOUR, "picked"),
    (9 * HOUR, "processing"),
    (20 * HOUR, "confirmed"),
    (math.inf, "open"),
)
LIFECYCLE = tuple(stage for _, stage in reversed(STAGES))
TROUBLED = LIFECYCLE[:3]  # later on, the goods are at hand
TROUBLES = ("backordered", "backordered", "exception", "other", "other")


def _state(rng: random.Random, status: str, updated: int, shipped: tuple[int, ...]) -> State:
    return State(status, pick(rng, RAW_STATUSES[status]), updated, shipped)


def _open(rng: random.Random, timeline: Timeline, now: int) -> State:
    end = min(now, timeline.created + 30 * HOUR) if timeline.stuck else now
    updated = timeline.created + int((end - timeline.created) * rng.random())
    if chance(rng, 0.7 if timeline.stuck else 0.2):
        return _state(rng, pick(rng, TROUBLES), updated, ())
    return _state(rng, _stage(rng, min(timeline.shipped, default=now + DAY) - now), updated, ())


def _stage(rng: random.Random, left: int) -> str:
    if chance(rng, 0.8):
        # Waves, shifts and weekends decide more than the hours that are left.
        return pick(rng, STAGES)[1]
    about = left * rng.uniform(0.3, 1.5)
    return next(stage for limit, stage in STAGES if about < limit)
