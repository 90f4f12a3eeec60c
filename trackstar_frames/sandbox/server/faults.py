"""The kinds of faults, and the parameters that mean something to each."""

import gzip
import json
import secrets
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any

from trackstar_frames.sandbox.server.database import Database, Page, Query, encode

KINDS: dict[str, tuple[str, ...]] = {
    "status": ("status", "retry_after", "origin", "error"),
    "html": ("status",),
    "error_in_200": ("origin", "error"),
    "not_json": (),
    "not_object": (),
    "echo_secret": ("status",),
    "redirect": ("status", "to"),
    "reset": (),
    "hang": ("seconds",),
    "slow": ("seconds", "pieces"),
    "cut": (),
    "reset_mid": (),
    "bad_gzip": (),
    "cut_gzip": (),
    "no_data": (),
    "null_data": (),
    "data_not_list": (),
    "item_not_object": (),
    "wrong_count": (),
    "no_token": (),
    "absent_token_mid": (),
    "absent_token_end": (),
    "empty_token": (),
    "bad_token_type": (),
    "repeat_token": (),
    "loop_token": (),
    "empty_page": (),
    "short_page": (),
    "duplicate": ("change",),
    "same_orders": (),
    "ignores_dates": (),
    "new_order": ("change",),
    "changed_order": ("change",),
    "gone_order": (),
}
REQUIRED = {"to"}
PARAMETERS = ("status", "retry_after", "origin", "error", "seconds", "pieces", "to", "change")


Where = Callable[[Mapping[str, str]], bool]


@dataclass(frozen=True)
class Fault:
    """One rule of what goes wrong, and when.

    The requests that `first_page`, `token` and `where` let through are counted from 1, for each
    rule by itself; `nth`, `every` and `times` choose among them. Only requests with valid
    credentials and within the rate limit are counted. Of several rules that are due, the first of
    the list acts.

    Parameters
    ----------
    kind
        What happens: a name of the table below.
    nth
        Act on the request of this number, or of these numbers.
    every
        Act on every request whose number is a multiple of this.
    times
        Act at most so often; None is without end.
    first_page
        True: count only requests without a page token; False: only those with one.
    token
        Count only requests of the access token of this index.
    where
        Count only requests of whose query, a dict of strings, this is true.
    status, retry_after, origin, error, seconds, pieces, to, change
        What the table says.

    Raises
    ------
    ValueError
        If the kind is unknown, or a parameter means nothing to it.

    Notes
    -----
    Instead of a page:

    ============  ================================================================================
    kind          what happens
    ============  ================================================================================
    status        an error `status` (500) with the API's JSON body: `error` (the API's own words),
                  `origin` (``"trackstar"``; ``""`` leaves it out), header ``retry-after`` if
                  `retry_after` is given: seconds, 0 too, or any text
    error_in_200  the same body, `error` and `origin`, in a 200
    html          a proxy's error page in HTML, with `status` (502)
    not_json      200 with a body that is cut short JSON
    not_object    200 with a JSON list in place of the envelope
    echo_secret   an error `status` (500) whose body repeats the credentials that were sent
    redirect      a redirect, `status` (302), to the URL `to`
    reset         the connection is reset before a byte of the answer
    ============  ================================================================================

    The page comes, but late or broken:

    ============  ================================================================================
    kind          what happens
    ============  ================================================================================
    hang          nothing for `seconds` (5), then the page
    slow          the body drips in `pieces` (10) during `seconds` (1)
    cut           the connection closes in the middle of the body that Content-Length announced
    reset_mid     the connection is reset in the middle of the body
    bad_gzip      ``Content-Encoding: gzip``, and a body that is none
    cut_gzip      ``Content-Encoding: gzip``, and the first half of such a body
    ============  ================================================================================

    The page comes, but is not as documented, or tests what a client assumes (an answer that is
    no page, as a 422, stays as it is):

    =================  ===========================================================================
    kind               what happens
    =================  ===========================================================================
    no_data            ``data`` is absent
    null_data          ``data`` is null
    data_not_list      ``data`` is an object
    item_not_object    the first item of ``data`` is a string
    wrong_count        ``total_count`` is 0
    no_token           ``next_token`` is absent, whatever the page
    absent_token_mid   ``next_token`` is absent on a page that another follows
    absent_token_end   ``next_token`` is absent, not null, on a last page that is not full: a
                       legal end
    empty_token        ``next_token`` is ``""``
    bad_token_type     ``next_token`` is an integer
    repeat_token       ``next_token`` is the token that was sent; nothing on a first page
    loop_token         ``next_token`` leads back to the first page, by two tokens in turn
    empty_page         no orders, and a token that the page itself follows
    short_page         half the orders asked for, and a token that the others follow
    duplicate          the page begins with the last order of the page before, with the fields of
                       `change` (none) replaced; nothing on a first page
    same_orders        the orders of the first page, and a token never given before: no end
    ignores_dates      the page as though no parameter ``created_date`` had been sent
    =================  ===========================================================================

    Before the page is made, the orders themselves change, for later pages and `Sandbox.orders`
    too (what has no id neither changes nor goes):

    =============  ===============================================================================
    kind           what happens
    =============  ===============================================================================
    new_order      one more order: the first of this page with a new id, and with the fields of
                   `change` (none) replaced; nothing if the page holds none
    changed_order  the last order of the page before changes: ``updated_date`` is a second later,
                   and the fields of `change` (none) are replaced; nothing on a first page
    gone_order     the first order of this page is deleted
    =============  ===============================================================================

    Examples
    --------
    A burst of two, then all is well:

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
    where: Where | None = None
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
            raise ValueError(_unknown(self.kind))
        given = {name for name in PARAMETERS if getattr(self, name) is not None}
        for name in sorted(given - {*KINDS[self.kind]}):
            raise ValueError(f"a fault {self.kind!r} takes no {name}: {_takes(self.kind)}")
        for name in sorted({*KINDS[self.kind]} & REQUIRED - given):
            raise ValueError(f"a fault {self.kind!r} needs {name}")
        self._check_numbers()

    def _check_numbers(self) -> None:
        numbers = {"every": self.every, "times": self.times, "pieces": self.pieces}
        for name, value in (numbers | {"nth": min(_numbers(self.nth), default=None)}).items():
            if value is not None and value < 1:
                raise ValueError(f"{name}={getattr(self, name)!r}: numbers begin with 1")
        if self.status is not None and self.status not in {*HTTPStatus}:
            raise ValueError(f"status={self.status!r} is no HTTP status")


class FaultPlan:
    """The rules of one sandbox, and how often each has counted and acted.

    Parameters
    ----------
    faults
        The rules, the first one first.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._faults = tuple(faults)
        self._lock = threading.Lock()
        self._counted = [0] * len(self._faults)
        self._acted = [0] * len(self._faults)

    def next(self, token: int, query: Mapping[str, str]) -> Fault | None:
        """Count a request with the token of this index, and return the fault that acts on it."""
        with self._lock:
            due = [number for number in self._count(token, query) if self._due(number)]
            for number in due[:1]:
                self._acted[number] += 1
                return self._faults[number]
        return None

    def _count(self, token: int, query: Mapping[str, str]) -> list[int]:
        matching = [n for n, fault in enumerate(self._faults) if _matches(fault, token, query)]
        for number in matching:
            self._counted[number] += 1
        return matching

    def _due(self, number: int) -> bool:
        fault, count = self._faults[number], self._counted[number]
        if fault.times is not None and self._acted[number] >= fault.times:
            return False
        if fault.nth is not None and count not in _numbers(fault.nth):
            return False
        return fault.every is None or count % fault.every == 0


def _matches(fault: Fault, token: int, query: Mapping[str, str]) -> bool:
    first = "page_token" not in query
    return (
        fault.first_page in (None, first)
        and fault.token in (None, token)
        and (fault.where is None or fault.where(query))
    )


def _numbers(nth: int | Collection[int] | None) -> Collection[int]:
    if nth is None:
        return ()
    return (nth,) if isinstance(nth, int) else nth


def _unknown(kind: str) -> str:
    nearest = get_close_matches(str(kind), KINDS, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return f"unknown kind of fault {kind!r}{hint} The kinds are: {', '.join(KINDS)}"


def _takes(kind: str) -> str:
    return f"it takes {', '.join(KINDS[kind]) or 'nothing'} beside the choice of requests"


@dataclass(frozen=True)
class Answer:
    """One HTTP answer.

    Attributes
    ----------
    status
        The HTTP status.
    body
        The bytes of the body.
    headers
        Headers beside those that every answer carries.
    delivery
        How it is sent: ``"whole"``, ``"late"``, ``"slow"``, ``"cut"``, ``"reset"`` or
        ``"reset_mid"``.
    seconds, pieces
        For ``"late"``: how long nothing comes. For ``"slow"``: how long the body takes, and in
        how many pieces.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: str = "whole"
    seconds: float = 0.0
    pieces: int = 1


def json_answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer whose body is JSON; bytes are JSON already."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return Answer(status, body, {"Content-Type": "application/json"} | dict(headers or {}))


def error_answer(
    status: int,
    error: str | None = None,
    *,
    origin: str | None = "trackstar",
    detail: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return an error as the API spells it: what, and whose fault it is."""
    body: dict[str, Any] = {"error": error or default_error(status)}
    if origin is not None:
        body["origin"] = origin
    if detail is not None:
        body["detail"] = detail
    return json_answer(status, body, headers)


def default_error(status: int) -> str:
    """Return what the API would say of `status`."""
    if status == HTTPStatus.NOT_IMPLEMENTED:
        return "Endpoint get_orders is not implemented for sandbox"
    return ERRORS.get(status) or HTTPStatus(status).phrase


ERRORS = {
    401: "Invalid API key or access token",
    403: "This connection is disabled by policy",
    404: "Resource not found",
    405: "Method not allowed",
    422: "Validation error",
    429: "Rate limit exceeded",
    500: "Internal server error",
}


Headers = Mapping[str, str]
Envelope = dict[str, bytes]


def status(fault: Fault, _headers: Headers) -> Answer:
    """Answer with an error as the API would spell it."""
    headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
    return error_answer(fault.status or 500, fault.error, origin=_origin(fault), headers=headers)


def html(fault: Fault, _headers: Headers) -> Answer:
    """Answer with the page of a proxy in between."""
    body = b"<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"
    return Answer(fault.status or 502, body, {"Content-Type": "text/html; charset=utf-8"})


def error_in_200(fault: Fault, _headers: Headers) -> Answer:
    """Answer with an error under the status of a success."""
    return error_answer(200, fault.error or default_error(500), origin=_origin(fault))


def not_json(_fault: Fault, _headers: Headers) -> Answer:
    """Answer with JSON that stops in the middle."""
    return json_answer(200, b'{"data": [{"id": "6')


def not_object(_fault: Fault, _headers: Headers) -> Answer:
    """Answer with a list where the envelope should be."""
    return json_answer(200, b"[]")


def echo_secret(fault: Fault, headers: Headers) -> Answer:
    """Answer with an error that repeats the credentials it was sent."""
    secrets = [headers["x-trackstar-api-key"], headers["x-trackstar-access-token"]]
    return error_answer(fault.status or 500, f"Cannot serve {' / '.join(secrets)}")


def redirect(fault: Fault, _headers: Headers) -> Answer:
    """Send the client elsewhere."""
    return Answer(fault.status or 302, b"", {"Location": fault.to or ""})


def reset(_fault: Fault, _headers: Headers) -> Answer:
    """Answer nothing at all."""
    return Answer(0, b"", delivery="reset")


def no_data(envelope: Envelope, _query: Query) -> None:
    """Leave the orders out."""
    del envelope["data"]


def null_data(envelope: Envelope, _query: Query) -> None:
    """Give a null for the orders."""
    envelope["data"] = b"null"


def data_not_list(envelope: Envelope, _query: Query) -> None:
    """Wrap the orders in an object."""
    envelope["data"] = b'{"orders":%b}' % envelope["data"]


def item_not_object(envelope: Envelope, _query: Query) -> None:
    """Put a string before the orders."""
    envelope["data"] = json.dumps(["order", *json.loads(envelope["data"])[1:]]).encode()


def wrong_count(envelope: Envelope, _query: Query) -> None:
    """Count nothing."""
    envelope["total_count"] = b"0"


def no_token(envelope: Envelope, _query: Query) -> None:
    """Leave the token out."""
    del envelope["next_token"]


def absent_token_mid(envelope: Envelope, _query: Query) -> None:
    """Leave the token out where a page follows."""
    if envelope["next_token"] != NO_TOKEN:
        del envelope["next_token"]


def absent_token_end(envelope: Envelope, query: Query) -> None:
    """Leave the token out where none follows, unless the page is full: that would be a fault."""
    if envelope["next_token"] == NO_TOKEN and len(json.loads(envelope["data"])) < query.limit:
        del envelope["next_token"]


def empty_token(envelope: Envelope, _query: Query) -> None:
    """Give a token without a character."""
    envelope["next_token"] = b'""'


def bad_token_type(envelope: Envelope, _query: Query) -> None:
    """Give a number for a token."""
    envelope["next_token"] = b"12345"


def repeat_token(envelope: Envelope, query: Query) -> None:
    """Give the token that was sent."""
    if query.position is not None:
        envelope["next_token"] = json.dumps(encode(query.position)).encode()


def hang(fault: Fault, answer: Answer) -> Answer:
    """Answer late."""
    seconds = 5.0 if fault.seconds is None else fault.seconds
    return replace(answer, delivery="late", seconds=seconds)


def slow(fault: Fault, answer: Answer) -> Answer:
    """Answer drop by drop."""
    seconds = 1.0 if fault.seconds is None else fault.seconds
    return replace(answer, delivery="slow", seconds=seconds, pieces=fault.pieces or 10)


def cut(_fault: Fault, answer: Answer) -> Answer:
    """Stop in the middle of the answer."""
    return replace(answer, delivery="cut")


def reset_mid(_fault: Fault, answer: Answer) -> Answer:
    """Reset the connection in the middle of the answer."""
    return replace(answer, delivery="reset_mid")


def bad_gzip(_fault: Fault, answer: Answer) -> Answer:
    """Call plain text compressed."""
    return _as_gzip(answer, answer.body)


def cut_gzip(_fault: Fault, answer: Answer) -> Answer:
    """Compress, and lose the second half; the length is that of the first."""
    body = gzip.compress(answer.body, compresslevel=1)
    return _as_gzip(answer, body[: len(body) // 2])


NO_TOKEN = b"null"
INSTEAD: dict[str, Callable[[Fault, Headers], Answer]] = {
    function.__name__: function
    for function in (
        status,
        html,
        error_in_200,
        not_json,
        not_object,
        echo_secret,
        redirect,
        reset,
    )
}
ON_ENVELOPE: dict[str, Callable[[Envelope, Query], None]] = {
    function.__name__: function
    for function in (
        no_data,
        null_data,
        data_not_list,
        item_not_object,
        wrong_count,
        no_token,
        absent_token_mid,
        absent_token_end,
        empty_token,
        bad_token_type,
        repeat_token,
    )
}
ON_THE_WAY: dict[str, Callable[[Fault, Answer], Answer]] = {
    function.__name__: function for function in (hang, slow, cut, reset_mid, bad_gzip, cut_gzip)
}


def _origin(fault: Fault) -> str | None:
    return "trackstar" if fault.origin is None else fault.origin or None


def _as_gzip(answer: Answer, body: bytes) -> Answer:
    return replace(answer, body=body, headers={**answer.headers, "Content-Encoding": "gzip"})


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
