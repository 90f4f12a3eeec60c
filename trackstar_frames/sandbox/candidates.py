"""Which orders of a connection may change: found in the narrow table, their JSON unread."""

import json
import random
from collections.abc import Iterable
from typing import Any, NamedTuple

from trackstar_frames.sandbox.chance import draw
from trackstar_frames.sandbox.clock import DAY
from trackstar_frames.sandbox.database import Database


class Row(NamedTuple):
    """What the narrow table says of one order, times in seconds since the epoch.

    An order without a created or an updated date counts as a day old. `due` is None without one.
    """

    seq: int
    id: str
    status: str
    kind: str | None
    created: int
    updated: int
    due: int | None


def waiting(database: Database, before: int) -> list[Row]:
    """Return the orders that are under way, and had their last change by `before`."""
    return _rows(database.rows(WAITING, before * SECOND), before)


def settled(database: Database, rng: random.Random, count: int, before: int) -> list[Row]:
    """Return up to `count` orders, of any age, that were done with by `before`."""
    low, high = database.rows("SELECT ifnull(min(seq), 0), ifnull(max(seq), 0) FROM orders")[0]
    seqs = [low + draw(rng, high - low + 1) for _ in range(count)]
    return _rows(database.rows(SETTLED, before * SECOND, json.dumps(seqs)), before)


SECOND = 1_000_000
COLUMNS = "seq, id, status, type, created_date, updated_date, required_ship_date"
# An order whose dates lie ahead of the connection's time has yet to happen; an id that none or
# several of them have names none.
FIT = """
    max(ifnull(created_date, 0), ifnull(updated_date, 0)) <= ?
    AND 1 = (SELECT count(*) FROM orders AS same WHERE same.id = orders.id)
"""
# By its statistics, SQLite takes those under way for most of the orders, and would read them all.
WAITING = f"""
    SELECT {COLUMNS} FROM orders INDEXED BY orders_status WHERE {FIT} AND status IN (
        'open', 'confirmed', 'processing', 'picked', 'packed', 'partially_fulfilled',
        'backordered', 'exception', 'other'
    ) ORDER BY seq
"""  # noqa: S608 -- ours
SETTLED = f"""
    SELECT {COLUMNS} FROM orders WHERE {FIT} AND status IN ('fulfilled', 'cancelled')
    AND seq IN (SELECT value FROM json_each(?)) ORDER BY seq
"""  # noqa: S608 -- ours


def _rows(found: Iterable[tuple[Any, ...]], before: int) -> list[Row]:
    rows = []
    for seq, key, status, kind, *times in found:
        created, updated, due = map(_seconds, times)
        dates = (_or(created, before - DAY), _or(updated, before - DAY), due)
        rows.append(Row(seq, key, status, kind, *dates))
    return rows


def _seconds(microseconds: int | None) -> int | None:
    # Upwards: what happens a second later must not come before it.
    return None if microseconds is None else -(-microseconds // SECOND)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
