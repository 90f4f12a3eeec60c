"""What faults do to a page's orders: to what was asked for, or to the orders themselves."""

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from trackstar_frames.sandbox.database import Database, Page
from trackstar_frames.sandbox.faults import Fault
from trackstar_frames.sandbox.query import Query

Pairs = Sequence[tuple[str, str]]


def ignores_dates(pairs: Pairs) -> Pairs:
    """Forget the parameters of the date that listings are split by."""
    return [pair for pair in pairs if pair[0].partition("[")[0] != "created_date"]


def empty_page(_fault: Fault, query: Query, database: Database) -> Page:
    """Return no orders, and the place where the page itself begins."""
    place = query.position or database.start
    return Page([], place._replace(turn=place.turn + 1))


def short_page(_fault: Fault, query: Query, database: Database) -> Page:
    """Return half of what was asked for."""
    return database.page(replace(query, limit=max(1, query.limit // 2)))


def loop_token(_fault: Fault, query: Query, database: Database) -> Page:
    """Lead back to the first page, by two tokens in turn."""
    sent = query.position or database.start
    return database.page(query)._replace(end=database.start._replace(turn=1 - sent.turn))


def same_orders(_fault: Fault, query: Query, database: Database) -> Page:
    """Return the first page, and lead back to it by a token that nobody has seen."""
    first = database.page(replace(query, position=None))
    return first._replace(end=database.start._replace(turn=secrets.randbits(62)))


def duplicate(fault: Fault, query: Query, database: Database) -> Page:
    """Return the last order of the page before, then this page's."""
    before = _last_before(query, database)
    if before is None or query.position is None:
        return database.page(query)
    text = json.dumps(before | dict(fault.change or {})).encode()
    if query.limit == 1:
        return Page([text], query.position._replace(turn=query.position.turn + 1))
    page = database.page(replace(query, limit=query.limit - 1))
    return page._replace(orders=[text, *page.orders])


def new_order(fault: Fault, query: Query, database: Database) -> Page:
    """Add an order like the first of this page."""
    first = _first(query, database)
    if first is not None:
        fresh = {"id": secrets.token_hex(12)}  # of the length that the made-up ones have
        database.upsert([first | fresh | dict(fault.change or {})])
    return database.page(query)


def changed_order(fault: Fault, query: Query, database: Database) -> Page:
    """Change the last order of the page before."""
    before = _last_before(query, database)
    if before is not None and before.get("id") is not None:
        database.upsert([before | _later(before) | dict(fault.change or {})])
    return database.page(query)


def gone_order(_fault: Fault, query: Query, database: Database) -> Page:
    """Delete the first order of this page."""
    first = _first(query, database)
    if first is not None and first.get("id") is not None:
        database.delete([first["id"]])
    return database.page(query)


ON_QUERY: dict[str, Callable[[Pairs], Pairs]] = {ignores_dates.__name__: ignores_dates}
ON_ORDERS: dict[str, Callable[[Fault, Query, Database], Page]] = {
    function.__name__: function
    for function in (
        empty_page,
        short_page,
        loop_token,
        duplicate,
        same_orders,
        new_order,
        changed_order,
        gone_order,
    )
}


def _last_before(query: Query, database: Database) -> dict[str, Any] | None:
    """Return the last order of the page before; None on a first page, or if it is gone."""
    text = None if query.position is None else database.body(query.position.seq)
    return None if text is None else dict(json.loads(text))


def _first(query: Query, database: Database) -> dict[str, Any] | None:
    """Return the first order of the page asked for; None if it holds none."""
    texts = database.page(replace(query, limit=1)).orders
    return dict(json.loads(texts[0])) if texts else None


def _later(order: dict[str, Any]) -> dict[str, str]:
    """Return a time of change one second later; none for what is no time."""
    try:
        moment = datetime.fromisoformat(order["updated_date"]) + timedelta(seconds=1)
    except (KeyError, TypeError, ValueError, OverflowError):
        return {}
    return {"updated_date": moment.isoformat().replace("+00:00", "Z")}
