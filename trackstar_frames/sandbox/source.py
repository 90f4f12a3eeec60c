"""What stands behind one access token: its orders, and the time up to which they have happened."""

import random
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from trackstar_frames.sandbox.candidates import Row, settled, waiting
from trackstar_frames.sandbox.changes import Changes, Passage
from trackstar_frames.sandbox.checks import check_numbers, check_whole
from trackstar_frames.sandbox.clock import DAY, HOUR, Span
from trackstar_frames.sandbox.database import Database
from trackstar_frames.sandbox.fates import fate
from trackstar_frames.sandbox.orders import FIRST_NUMBER, make_orders, merchant_of
from trackstar_frames.sandbox.recall import Directory

TRACKSTAR_DATES = ("trackstar_created_date", "trackstar_updated_date")


@dataclass(frozen=True)
class Recipe:
    """What orders to begin with: the options of a sandbox, which explains them."""

    orders: int | Sequence[Mapping[str, Any]]
    seed: int
    now: datetime
    days: int
    odd: float
    order: str
    trackstar_dates: bool

    @property
    def without(self) -> tuple[str, ...]:
        """The fields that its orders do not have."""
        return () if self.trackstar_dates else TRACKSTAR_DATES


class Source:
    """The orders of one access token, which change as time passes.

    Parameters
    ----------
    path
        Where to keep them.
    index
        The place of the token; each has other orders.
    recipe
        What orders to begin with.
    """

    def __init__(self, path: Path, index: int, recipe: Recipe) -> None:
        self._index = index
        self._recipe = recipe
        self._now = int(recipe.now.timestamp())
        self._number = _next_number(recipe.orders)
        self._lock = threading.Lock()
        self.database = Database(path, recipe.order, recipe.without)
        self.database.load(self._first_orders())

    @property
    def now(self) -> datetime:
        """The time up to which the orders have happened."""
        return datetime.fromtimestamp(self._now, UTC)

    def advance(self, hours: float, new: int | None, late: float, seed: int | None) -> Changes:
        """Let time pass; readers see the orders of before or those of after."""
        check_numbers(hours=hours, new=new, late=late)
        check_whole(new=new, seed=seed)
        with self._lock:
            span = Span(self._now, self._now + round(hours * HOUR))
            story = f"{self._recipe.seed if seed is None else seed}/{self._index}"
            rng = random.Random(f"changes/{story}/{span.before}")
            passage = Passage(rng, span, self._directory, late)
            usual = self._usual(span)
            changed = self._go_on(passage, rng, span, f"fate/{story}")
            changed |= self._amend(passage, rng, span, _whole(rng, usual * AMENDED))
            count = _whole(rng, usual) if new is None else new
            fresh = passage.fresh(count, self._number, self._recipe.odd)
            self.database.rewrite(changed, fresh)
            self._now, self._number = span.now, self._number + count
            return passage.changes

    def _go_on(
        self, passage: Passage, rng: random.Random, span: Span, story: str
    ) -> dict[int, dict[str, Any]]:
        rows = waiting(self.database, span.before)
        fates = {row: ahead for row in rows if (ahead := fate(rng, row, span, story))}
        orders = self._orders(fates)
        for row, order in orders:
            passage.go_on(row, order, fates[row])
        return {row.seq: order for row, order in orders}

    def _amend(
        self, passage: Passage, rng: random.Random, span: Span, count: int
    ) -> dict[int, dict[str, Any]]:
        orders = self._orders(settled(self.database, rng, count, span.before))
        for row, order in orders:
            passage.amend(row, order)
        return {row.seq: order for row, order in orders}

    def _orders(self, rows: Iterable[Row]) -> list[tuple[Row, dict[str, Any]]]:
        rows = list(rows)
        bodies = self.database.bodies(row.seq for row in rows)
        return [(row, bodies[row.seq]) for row in rows if row.seq in bodies]

    def _usual(self, span: Span) -> float:
        """How many orders come in `span` if they come as they came so far."""
        count, oldest = self.database.rows("SELECT count(*), min(created_date) FROM orders")[0]
        since = self._now if oldest is None else oldest / 1_000_000
        if isinstance(self._recipe.orders, int):
            since = self._recipe.now.timestamp() - self._recipe.days * DAY
        return float(count * (span.now - span.before) / max(span.before - since, DAY))

    @cached_property
    def _directory(self) -> Directory:
        return Directory(merchant_of(self._seed))

    @property
    def _seed(self) -> str:
        return f"{self._recipe.seed}/{self._index}"

    def _first_orders(self) -> Iterable[Mapping[str, Any]]:
        recipe = self._recipe
        if not isinstance(recipe.orders, int):
            return recipe.orders
        return make_orders(recipe.orders, self._seed, recipe.now, days=recipe.days, odd=recipe.odd)


# How many orders that are done with change, for each new one.
AMENDED = 0.08


def _whole(rng: random.Random, number: float) -> int:
    """Return `number` as one of its neighbours, so that many of them add up."""
    return int(number + rng.random())


def _next_number(orders: int | Sequence[Mapping[str, Any]]) -> int:
    if isinstance(orders, int):
        return FIRST_NUMBER + orders
    ends = [re.search(r"[0-9]+$", str(order.get("order_number"))) for order in orders]
    return max((int(end[0]) + 1 for end in ends if end), default=FIRST_NUMBER)
