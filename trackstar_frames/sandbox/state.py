"""What has become of an order by now."""

import random
from typing import NamedTuple

from trackstar_frames.sandbox.chance import chance, draw, pick
from trackstar_frames.sandbox.clock import HOUR, MINUTE
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
# The part of the way to the first shipment at which each stage ends.
STAGES = ((0.3, "open"), (0.45, "confirmed"), (0.7, "processing"), (0.85, "picked"), (1, "packed"))
TROUBLES = ("backordered", "backordered", "exception", "other")


def _state(rng: random.Random, status: str, updated: int, shipped: tuple[int, ...]) -> State:
    return State(status, pick(rng, RAW_STATUSES[status]), updated, shipped)


def _open(rng: random.Random, timeline: Timeline, now: int) -> State:
    end = min(now, timeline.created + 30 * HOUR) if timeline.stuck else now
    updated = timeline.created + int((end - timeline.created) * rng.random())
    if chance(rng, 0.7 if timeline.stuck else 0.15):
        return _state(rng, pick(rng, TROUBLES), updated, ())
    leaves = timeline.shipped[0] if timeline.shipped else now + HOUR
    way = (now - timeline.created) / (leaves - timeline.created)
    status = next(stage for end, stage in STAGES if way < end or end == 1)
    return _state(rng, "open" if timeline.stuck else status, updated, ())
