"""Faults: rules of what goes wrong, and what each kind does to a request and its response."""

import json
import secrets
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any

import msgspec

from trackstar_frames.sandbox.server.database import Database, Page, Query


@dataclass(frozen=True)
class Fault:
    """A rule of what goes wrong, and when.

    Each rule counts, from 1, the requests that match `first_page`, `token` and `where`; `nth`,
    `every` and `times` choose among them. Only requests with valid credentials and within the rate
    limit are counted. If several rules choose the same request, the first one of the list acts.

    Parameters
    ----------
    kind
        What happens: a name of the tables below.
    nth
        Act on the request with this number, or with any of these numbers.
    every
        Act on every request whose number is a multiple of this.
    times
        Act at most this many times; None is without limit.
    first_page
        True: count only requests without a page token; False: only those with one.
    token
        Count only requests with the access token of this index.
    where
        Count only requests for which this function, called with the query as a dict of strings,
        returns true.
    status, retry_after, origin, error, seconds, pieces, to, change
        Parameters of the kind; see the tables.

    Raises
    ------
    ValueError
        If the kind is unknown, or does not take a parameter that is given.

    Notes
    -----
    Instead of a page, the response is:

    ============  ================================================================================
    kind          what happens
    ============  ================================================================================
    status        an error `status` (500) with the API's JSON body: `error` (the API's own words),
                  `origin` (``"trackstar"``; ``""`` omits it); with a header ``retry-after`` if
                  `retry_after` is given: seconds, 0 included, or any text
    error_in_200  the same body, `error` and `origin`, with status 200
    html          a proxy's error page in HTML, with `status` (502)
    not_json      200 with a body of truncated JSON
    not_object    200 with a JSON list in place of the envelope
    echo_secret   an error `status` (500) whose body repeats the credentials that were sent
    redirect      a redirect, `status` (302), to the URL `to`
    reset         none: the connection is reset before the first byte
    ============  ================================================================================

    The page is sent late or damaged:

    ============  ================================================================================
    hang          nothing is sent for `seconds` (5), then the page
    slow          the body is sent in `pieces` (10) over `seconds` (1)
    cut           the connection is closed in the middle of the body, before ``Content-Length``
    reset_mid     the connection is reset in the middle of the body
    bad_gzip      ``Content-Encoding: gzip``, but the body is not compressed
    cut_gzip      ``Content-Encoding: gzip``, but only the first half of the compressed body
    ============  ================================================================================

    The page is not as documented, or tests an assumption of the client (a response that is no
    page, such as a 422, is sent unchanged):

    =================  ===========================================================================
    no_data            ``data`` is missing
    null_data          ``data`` is null
    data_not_list      ``data`` is an object
    item_not_object    the first item of ``data`` is a string
    wrong_count        ``total_count`` is 0
    no_token           ``next_token`` is missing, on every page
    absent_token_mid   ``next_token`` is missing on a page that is not the last one
    absent_token_end   ``next_token`` is missing, not null, on a last page that is not full: a
                       valid end
    empty_token        ``next_token`` is ``""``
    bad_token_type     ``next_token`` is an integer
    repeat_token       ``next_token`` is the token that was sent; no effect on a first page
    loop_token         ``next_token`` leads back to the first page, by two tokens in turn
    empty_page         no orders, and a token of the page that should have been sent
    short_page         half of `limit` orders, and a token of the page with the others
    duplicate          the page begins with the last order of the previous page, with the fields of
                       `change` (none) replaced; no effect on a first page
    same_orders        the orders of the first page, and a new token, without end
    ignores_dates      the page as if no parameter ``created_date`` had been sent
    =================  ===========================================================================

    The orders themselves change before the page is read, so that later pages and `Sandbox.orders`
    show it too (orders without an id are neither changed nor deleted):

    =============  ===============================================================================
    new_order      an order is added: the first one of this page with a new id, and with the fields
                   of `change` (none) replaced; no effect if the page is empty
    changed_order  the last order of the previous page changes: ``updated_date`` is a second later,
                   and the fields of `change` (none) are replaced; no effect on a first page
    gone_order     the first order of this page is deleted
    =============  ===============================================================================

    Examples
    --------
    Two errors in a row, then a page:

    >>> from trackstar_frames.sandbox import Sandbox
    >>> burst = Fault("status", status=503, nth=range(2, 4))
    >>> with Sandbox(orders=20, faults=[burst], rate_limit=None) as sandbox:
    ...     with sandbox.client(cache=False) as client:
    ...         pages = list(client.iter_pages(page_size=10))
    ...     [request.status for request in sandbox.requests]
    [200, 503, 503, 200]
    """

    kind: str
    _: KW_ONLY
    nth: int | Collection[int] | None = None
    every: int | None = None
    times: int | None = None
    first_page: bool | None = None
    token: int | None = None
    where: Callable[[Mapping[str, str]], bool] | None = None
    status: int | None = None
    retry_after: float | str | None = None
    origin: str | None = None
    error: str | None = None
    seconds: float | None = None
    pieces: int | None = None
    to: str | None = None
    change: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            nearest = get_close_matches(str(self.kind), KINDS, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
            kinds = ", ".join(KINDS)
            raise ValueError(f"unknown kind of fault {self.kind!r}{hint} The kinds are: {kinds}")
        allowed = PARAMETERS_OF.get(self.kind, ())
        for name in sorted({name for names in PARAMETERS_OF.values() for name in names}):
            if getattr(self, name) is not None and name not in allowed:
                takes = f"it takes {', '.join(allowed) or 'nothing'} beside the choice of requests"
                raise ValueError(f"a fault {self.kind!r} takes no {name}: {takes}")
        if self.kind == "redirect" and self.to is None:
            raise ValueError("a fault 'redirect' needs to")
        for name in ("every", "times", "pieces", "nth"):
            value = getattr(self, name)
            if value is not None and min(_numbers(value), default=1) < 1:
                raise ValueError(f"{name}={value!r}: numbers begin with 1")
        if self.status is not None and self.status not in {*HTTPStatus}:
            raise ValueError(f"status={self.status!r} is not an HTTP status")


def _numbers(nth: int | Collection[int]) -> Collection[int]:
    return (nth,) if isinstance(nth, int) else nth


class FaultPlan:
    """The faults of one sandbox, and how many requests each has counted and acted on."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._rules = [_Rule(fault) for fault in faults]
        self._lock = threading.Lock()

    def next(self, token: int, query: Mapping[str, str]) -> Fault:
        """Count a request with the token of this index, and return the fault that acts on it."""
        with self._lock:
            due = [rule for rule in self._rules if rule.count(token, query)]
            for rule in due[:1]:
                rule.acted += 1
                return rule.fault
        return NO_FAULT


@dataclass
class _Rule:
    fault: Fault
    counted: int = 0
    acted: int = 0

    def count(self, token: int, query: Mapping[str, str]) -> bool:
        """Count a request if it matches, and return whether the fault is to act on it."""
        fault, first = self.fault, "page_token" not in query
        if fault.first_page not in (None, first) or fault.token not in (None, token):
            return False
        if fault.where is not None and not fault.where(query):
            return False
        self.counted += 1
        return (
            (fault.times is None or self.acted < fault.times)
            and (fault.nth is None or self.counted in _numbers(fault.nth))
            and (fault.every is None or self.counted % fault.every == 0)
        )


@dataclass
class Response:
    """A response, and the fault that may change how it is sent."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    fault: Fault | None = None


def error_response(
    status: int,
    error: str | None = None,
    origin: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Response:
    """Return an error as the API words it; an `origin` of ``""`` is omitted."""
    body: dict[str, Any] = {"error": error or _ERRORS.get(status) or HTTPStatus(status).phrase}
    if origin != "":
        body["origin"] = origin or "trackstar"
    if detail is not None:
        body["detail"] = detail
    return Response(status, json.dumps(body).encode())


_ERRORS = {
    401: "Invalid API key or access token",
    403: "This connection is disabled by policy",
    404: "Resource not found",
    405: "Method not allowed",
    422: "Validation error",
    429: "Rate limit exceeded",
    500: "Internal server error",
    501: "Endpoint get_orders is not implemented for sandbox",
}


# Responses that are sent instead of a page; the headers are those of the request.


def _status(fault: Fault, _headers: Mapping[str, str]) -> Response:
    response = error_response(fault.status or 500, fault.error, fault.origin)
    if fault.retry_after is not None:
        response.headers["retry-after"] = str(fault.retry_after)
    return response


def _html(fault: Fault, _headers: Mapping[str, str]) -> Response:
    body = b"<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"
    return Response(fault.status or 502, body, {"Content-Type": "text/html; charset=utf-8"})


def _echo_secret(fault: Fault, headers: Mapping[str, str]) -> Response:
    secret = f"{headers['x-trackstar-api-key']} / {headers['x-trackstar-access-token']}"
    return error_response(fault.status or 500, f"Cannot serve {secret}")


INSTEAD: dict[str, Callable[[Fault, Mapping[str, str]], Response]] = {
    "status": _status,
    "html": _html,
    "error_in_200": lambda fault, _: replace(_status(fault, _), status=200),
    "not_json": lambda _fault, _: Response(200, b'{"data": [{"id": "6'),
    "not_object": lambda _fault, _: Response(200, b"[]"),
    "echo_secret": _echo_secret,
    "redirect": lambda fault, _: Response(fault.status or 302, b"", {"Location": fault.to or ""}),
    "reset": lambda _fault, _: Response(0, b""),
}


# Changes of the JSON object that contains a page.


def _absent_token_mid(envelope: dict[str, Any], _query: Query) -> None:
    if envelope["next_token"] is not None:
        del envelope["next_token"]


def _absent_token_end(envelope: dict[str, Any], query: Query) -> None:
    if envelope["next_token"] is None and len(envelope["data"]) < query.limit:
        del envelope["next_token"]


def _repeat_token(envelope: dict[str, Any], query: Query) -> None:
    if query.position is not None:
        envelope["next_token"] = query.position.to_token()


ENVELOPES: dict[str, Callable[[dict[str, Any], Query], object]] = {
    "no_data": lambda envelope, _: envelope.pop("data"),
    "null_data": lambda envelope, _: envelope.update(data=None),
    "data_not_list": lambda envelope, _: envelope.update(data={"orders": envelope["data"]}),
    "item_not_object": lambda envelope, _: envelope.update(data=["order", *envelope["data"][1:]]),
    "wrong_count": lambda envelope, _: envelope.update(total_count=0),
    "no_token": lambda envelope, _: envelope.pop("next_token"),
    "absent_token_mid": _absent_token_mid,
    "absent_token_end": _absent_token_end,
    "empty_token": lambda envelope, _: envelope.update(next_token=""),
    "bad_token_type": lambda envelope, _: envelope.update(next_token=12345),
    "repeat_token": _repeat_token,
}


# Pages other than the one that was requested.


def _loop_token(_fault: Fault, query: Query, database: Database) -> Page:
    sent = query.position or database.start
    return database.page(query)._replace(end=database.start._replace(nonce=1 - sent.nonce))


def _empty_page(_fault: Fault, query: Query, database: Database) -> Page:
    position = query.position or database.start
    return Page([], position._replace(nonce=position.nonce + 1))


def _short_page(_fault: Fault, query: Query, database: Database) -> Page:
    return database.page(replace(query, limit=max(1, query.limit // 2)))


def _same_orders(_fault: Fault, query: Query, database: Database) -> Page:
    first = database.page(replace(query, position=None))
    return first._replace(end=database.start._replace(nonce=secrets.randbits(62)))


def _duplicate(fault: Fault, query: Query, database: Database) -> Page:
    previous = _last_of_previous_page(query, database)
    if previous is None:
        return database.page(query)
    order = msgspec.json.encode(previous | dict(fault.change or {}))
    if query.limit == 1:
        return _empty_page(fault, query, database)._replace(orders=[order])
    page = database.page(replace(query, limit=query.limit - 1))
    return page._replace(orders=[order, *page.orders])


def _new_order(fault: Fault, query: Query, database: Database) -> Page:
    for first in _first_of_page(query, database):
        database.upsert([first | {"id": secrets.token_hex(12)} | dict(fault.change or {})])
    return database.page(query)


def _changed_order(fault: Fault, query: Query, database: Database) -> Page:
    previous = _last_of_previous_page(query, database)
    if previous is not None and previous.get("id") is not None:
        database.upsert([previous | _a_second_later(previous) | dict(fault.change or {})])
    return database.page(query)


def _gone_order(_fault: Fault, query: Query, database: Database) -> Page:
    ids = [first.get("id") for first in _first_of_page(query, database)]
    database.delete(key for key in ids if key is not None)
    return database.page(query)


PAGES: dict[str, Callable[[Fault, Query, Database], Page]] = {
    "loop_token": _loop_token,
    "empty_page": _empty_page,
    "short_page": _short_page,
    "duplicate": _duplicate,
    "same_orders": _same_orders,
    "new_order": _new_order,
    "changed_order": _changed_order,
    "gone_order": _gone_order,
}


def _last_of_previous_page(query: Query, database: Database) -> dict[str, Any] | None:
    return None if query.position is None else database.order(query.position.seq)


def _first_of_page(query: Query, database: Database) -> list[dict[str, Any]]:
    return [msgspec.json.decode(body) for body in database.page(replace(query, limit=1)).orders]


def _a_second_later(order: Mapping[str, Any]) -> dict[str, str]:
    """Return the order's time of change, one second later; nothing if it is no time."""
    try:
        moment = datetime.fromisoformat(order["updated_date"]) + timedelta(seconds=1)
    except (KeyError, TypeError, ValueError, OverflowError):
        return {}
    return {"updated_date": moment.isoformat().replace("+00:00", "Z")}


_TRANSPORT = ("hang", "slow", "cut", "reset_mid", "bad_gzip", "cut_gzip")
KINDS = (*INSTEAD, *_TRANSPORT, *ENVELOPES, *PAGES, "ignores_dates")
# The parameters that a kind takes, if any.
PARAMETERS_OF = {
    "status": ("status", "retry_after", "origin", "error"),
    "html": ("status",),
    "error_in_200": ("origin", "error"),
    "echo_secret": ("status",),
    "redirect": ("status", "to"),
    "hang": ("seconds",),
    "slow": ("seconds", "pieces"),
    "duplicate": ("change",),
    "new_order": ("change",),
    "changed_order": ("change",),
}
NO_FAULT = Fault("hang", seconds=0)
