"""What changes in a connection's orders while time passes, and when it is seen."""

import random
from typing import Any, NamedTuple

from trackstar_frames.sandbox.aging import fitted, follow
from trackstar_frames.sandbox.amend import amend, redate, tag
from trackstar_frames.sandbox.candidates import Row
from trackstar_frames.sandbox.chance import chance, draw
from trackstar_frames.sandbox.clock import DAY, HOUR, Span, placed, stamp
from trackstar_frames.sandbox.fates import first_event
from trackstar_frames.sandbox.orders import make_order, numbered, synced
from trackstar_frames.sandbox.plan import Draft, Plan
from trackstar_frames.sandbox.recall import Directory
from trackstar_frames.sandbox.state import State, make_move, make_state
from trackstar_frames.sandbox.timeline import Timeline

Order = dict[str, Any]


class Changes(NamedTuple):
    """What a sandbox's `advance` did: lists of ids.

    Attributes
    ----------
    new
        The orders that were added.
    changed
        The old orders that changed, whatever of them did.
    cancelled, redated
        Those of `changed` that were cancelled, and whose required ship date was moved.
    late
        Those of `changed` and `new` that arrived late: the source's dates of them lie before the
        time at which the orders stood until then.

    Examples
    --------
    >>> from trackstar_frames.sandbox import Sandbox
    >>> with Sandbox(orders=200, seed=1) as sandbox:
    ...     changes = sandbox.advance(hours=24, new=5)
    >>> len(changes.new), set(changes.cancelled) <= set(changes.changed)
    (5, True)
    """

    new: list[str]
    changed: list[str]
    cancelled: list[str]
    redated: list[str]
    late: list[str]


class Passage:
    """The passing of time over the orders of one connection.

    Parameters
    ----------
    rng
        What chance decides.
    span
        The time that passes.
    directory
        The world of the connection.
    late
        The share of what changes that arrives late.
    """

    def __init__(self, rng: random.Random, span: Span, directory: Directory, late: float) -> None:
        self._rng = rng
        self._span = span
        self._directory = directory
        self._late = late
        self.changes = Changes([], [], [], [], [])

    def go_on(self, row: Row, order: Order, timeline: Timeline) -> None:
        """Change an order that is under way to what `timeline` has come to."""
        plan = fitted(self._directory.plan(self._rng, order, timeline), order)
        late = self._late_after(row)
        state = self._next(plan)
        if state is not None:
            plan = plan._replace(state=state if late is None else _as_late(state, late))
            follow(self._rng, order, plan, self._directory.merchant)
            moment = plan.state.updated
        else:
            self._detail(row, order)
            moment = self._span.moment(self._rng) if late is None else late
        self._changed(row, order, moment)

    def amend(self, row: Row, order: Order) -> None:
        """Change an order that was done with."""
        late = self._late_after(row)
        amend(self._rng, order)
        self._changed(row, order, self._span.moment(self._rng) if late is None else late)

    def fresh(self, count: int, number: int, odd: float) -> list[Order]:
        """Return `count` new orders; their numbers begin with `number`."""
        rng, (before, now) = self._rng, self._span
        created = placed(rng, count, before + 1, now + 1)
        seen = [self._late_moment() if chance(rng, self._late) else now for _ in created]
        created = [
            moment if until == now else until - draw(rng, 12 * HOUR)
            for moment, until in zip(created, seen, strict=True)
        ]
        stories = zip(numbered(created, number), created, seen, strict=True)
        return [self._fresh(*story, odd) for story in stories]

    def _fresh(self, number: int, created: int, until: int, odd: float) -> Order:
        draft = Draft(self._directory.merchant, number, created, until, self._span.before + 1)
        order = make_order(self._rng, draft, odd)
        if until <= self._span.before:
            arrived = self._arrival(until)
            order |= {"trackstar_created_date": arrived, "trackstar_updated_date": arrived}
            self.changes.late.append(order["id"])
        self.changes.new.append(order["id"])
        return order

    def _next(self, plan: Plan) -> State | None:
        rng, now = self._rng, self._span.now
        if first_event(plan.timeline) <= now:
            return make_state(rng, plan.timeline, now)
        if chance(rng, DETAILS):
            return None
        left = min(plan.timeline.shipped, default=now + DAY) - now
        return make_move(rng, plan.state.status, left, self._span.moment(rng))

    def _detail(self, row: Row, order: Order) -> None:
        if row.due is not None and chance(self._rng, 0.7):
            redate(self._rng, order, row.due)
            self.changes.redated.append(row.id)
        else:
            tag(self._rng, order)

    def _changed(self, row: Row, order: Order, moment: int) -> None:
        order["updated_date"] = stamp(moment)
        order["trackstar_updated_date"] = self._arrival(moment)
        self.changes.changed.append(row.id)
        if order["status"] == "cancelled" != row.status:
            self.changes.cancelled.append(row.id)
        if moment <= self._span.before:
            self.changes.late.append(row.id)

    def _late_after(self, row: Row) -> int | None:
        if not chance(self._rng, self._late):
            return None
        moment = max(self._late_moment(), row.created + 1, row.updated + 1)
        # What has just changed cannot have changed again hours ago.
        return moment if moment <= self._span.before - HOUR else None

    def _late_moment(self) -> int:
        late = HOUR + int(self._rng.expovariate(1 / DAY))
        return self._span.before - min(late, 7 * DAY)

    def _arrival(self, moment: int) -> str:
        if moment <= self._span.before:
            moment = self._span.moment(self._rng)
        return stamp(min(synced(self._rng, self._directory.merchant, moment), self._span.now))


DETAILS = 0.12


def _as_late(state: State, late: int) -> State:
    return state._replace(updated=late, shipped=tuple(min(each, late) for each in state.shipped))
