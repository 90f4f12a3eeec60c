"""What lies ahead of orders that are under way.

An order's fate is drawn as the generator draws it, from a stream of chance of the order's own,
until a draw agrees with what has happened so far. So it is the same whether a day passes at once or
hour by hour, and orders leave as punctually as those that were made in one go.
"""

import math
import random

from trackstar_frames.sandbox.candidates import Row
from trackstar_frames.sandbox.chance import chance
from trackstar_frames.sandbox.clock import DAY, Span
from trackstar_frames.sandbox.timeline import SPLIT, Timeline, make_course, make_timeline


def fate(rng: random.Random, row: Row, span: Span, story: str) -> Timeline | None:
    """Return what becomes of an order that waits; None if nothing does in `span`.

    Parameters
    ----------
    rng
        What chance decides.
    row
        The order.
    span
        The time that passes; what the order's timeline says lies after its beginning.
    story
        The same story gives the same order the same fate.
    """
    if row.status == "partially_fulfilled":
        rest = _rest(rng, row, span)
        return rest if first_event(rest) <= span.now else None
    timeline = _ahead(random.Random(f"{story}/{row.id}"), row, span.before)
    if timeline.stuck and span.sees(rng, 180 * DAY):
        timeline = _freed(rng, timeline, span)
    moves = span.sees(rng, 20 * DAY if timeline.stuck else 3 * DAY)
    if moves and chance(rng, REGRETTED):
        timeline = timeline._replace(cancelled=span.moment(rng))
    return timeline if moves or first_event(timeline) <= span.now else None


def first_event(timeline: Timeline) -> float:
    """Return when the order first leaves or is cancelled."""
    cancelled = math.inf if timeline.cancelled is None else timeline.cancelled
    return min((cancelled, *timeline.shipped))


TRIES = 40
PUNCTUALITY = 0.95
REGRETTED = 0.08


def _ahead(stream: random.Random, row: Row, before: int) -> Timeline:
    # What is this old and under way is hardly ever merely late.
    tries = TRIES if before - row.created < 30 * DAY else 0
    for _ in range(tries):
        timeline = _timeline(stream, row)
        if first_event(timeline) > before:
            return timeline
    return Timeline(row.created, row.due, before, (), None, stuck=True)


def _timeline(stream: random.Random, row: Row) -> Timeline:
    kind = row.kind if row.kind in SPLIT else "d2c"
    if row.due is None:
        return make_timeline(stream, row.created, kind, "none", PUNCTUALITY)
    due_by = row.due + DAY - 1 if row.due % DAY == 0 else row.due
    return make_course(stream, row.created, kind, (row.due, due_by), PUNCTUALITY)


def _rest(rng: random.Random, row: Row, span: Span) -> Timeline:
    # Waits of this kind have no memory: whatever has passed, the mean of what is left is the same.
    leaves = span.before + 1 + int(rng.expovariate(1 / (8 * DAY)))
    return Timeline(row.created, row.due, span.before, (leaves,), None, stuck=False)


def _freed(rng: random.Random, timeline: Timeline, span: Span) -> Timeline:
    moment = span.moment(rng)
    if chance(rng, 0.4):
        return timeline._replace(cancelled=moment, stuck=False)
    return timeline._replace(shipped=(moment,), stuck=False)
