"""Cursor chains: from the first page of a listing to its last, or a loud error."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from trackstar_frames.errors import ResponseError
from trackstar_frames.http.responses import Envelope
from trackstar_frames.http.session import Check, Observer, PageResponse, Session

__all__ = ["MAX_PAGE", "PATH", "Page", "order_id", "walk"]


PATH = "/wms/orders"

#: How many orders the API gives in one answer at most.
MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing.

    Attributes
    ----------
    body : bytes
        The answer as the server gave it.
    next_token : str or None
        The cursor of the next page; None on the last.
    from_cache : bool
        Whether it came from disk.
    fetched_at : datetime.datetime
        When the server answered, UTC.
    expires : float
        When it expires in the cache, in Unix seconds; the same for all pages of a listing.
    raw_orders : list of msgspec.Raw
        The JSON text of each order.
    server_time : datetime.datetime or None
        When the server answered by its own clock, UTC; None if it did not say.
    total_count : int or None
        How many orders there are by the server's count, on this page or in the whole listing.
    beside : dict of str to str
        What else the server said in the body: JSON text by name.

    Examples
    --------
    >>> from trackstar_frames.sandbox import Sandbox
    >>> with Sandbox(orders=50) as sandbox, sandbox.client(cache=False) as client:
    ...     pages = list(client.iter_pages(page_size=20))
    >>> [len(page.orders) for page in pages], pages[-1].next_token is None
    ([20, 20, 10], True)
    """

    body: bytes
    next_token: str | None
    from_cache: bool
    fetched_at: datetime
    expires: float
    raw_orders: list[msgspec.Raw]
    server_time: datetime | None = None
    total_count: int | None = None
    beside: dict[str, str] = field(default_factory=dict)

    @property
    def orders(self) -> list[dict[str, Any]]:
        """The orders as dicts, parsed anew at each call."""
        return [json.loads(bytes(order)) for order in self.raw_orders]

    def __repr__(self) -> str:
        return f"Page({len(self.raw_orders)} orders, from_cache={self.from_cache})"


def walk(
    session: Session,
    params: dict[str, str],
    *,
    page_size: int = MAX_PAGE,
    page_token: str | None = None,
    before: int | None = 0,
    since: float = 0.0,
    offline: bool = False,
    chain: float | None = None,
    anew: bool = False,
    store: bool = True,
    observer: Observer | None = None,
) -> Iterator[Page]:
    """Read one listing page by page.

    Every filter goes with every page: a token does not remember them. The end is a null
    token, or an absent one on a page that is not full. A token that is absent beside a full page
    is the end if the listing has as many orders as the server's total, or if a request for the
    same page by another size shows that nothing follows; nothing else is.

    Parameters
    ----------
    session
        Client's session to use.
    params
        The encoded filters.
    page_size
        Orders of one page.
    page_token
        Where to start; the first page by default.
    before
        How many orders come before that page; None if that is not known.
    since, offline, chain, store, watch
        As for `Session.get`; with a `chain`, its age decides, not `since`.
    anew
        Ask the server for every page, whatever is on disk, though a `chain` is given.

    Yields
    ------
    Page
        In the server's order.

    Raises
    ------
    ResponseError
        If the listing has no end (a token or the same pages come back, or empty pages go on
        and on), if an answer says that it is not whole, or if a token is absent beside a full
        page and nothing proves that it is the last one.
    TrackstarError
        Whatever `Session.get` raises.
    """
    if "ids" in params:
        page_size = MAX_PAGE  # beside ids, the API ignores every other parameter
    seen = {page_token}
    repeats = _Repeats()

    def check(envelope: Envelope) -> None:
        if envelope.next_token in seen - {None}:
            raise _endless("the same next_token twice")
        repeats.refuse(envelope.data)

    def get(
        token: str | None,
        size: int,
        check: Check | None = None,
        since: float = math.inf if anew else since if chain is None else 0.0,
    ) -> PageResponse:
        nonlocal chain
        answer = session.get(
            PATH,
            {**params, "limit": str(size), **({} if token is None else {"page_token": token})},
            since=since,
            offline=offline,
            expires=chain,
            store=store,
            check=check,
            observer=observer or Observer(),
        )
        chain = answer.expires
        return answer

    while True:
        answer = get(page_token, page_size, check)
        if answer.from_cache and not offline and _is_open(answer.envelope, page_size, before):
            try:
                _prove_end(get, answer.envelope, page_token, page_size)
            except ResponseError:
                answer = get(page_token, page_size, check, math.inf)
        envelope, orders = answer.envelope, answer.envelope.data
        repeats.add(orders)
        if _is_open(envelope, page_size, before):
            orders = orders + _prove_end(get, envelope, page_token, page_size)
        before = None if before is None else before + len(envelope.data)
        # After other pages, an empty one that counts none may come of a cursor that has died.
        says_nothing = page_token is not None and not envelope.data and not envelope.total_count
        page_token = _token(envelope)
        yield Page(
            body=answer.body,
            next_token=page_token,
            from_cache=answer.from_cache,
            fetched_at=answer.fetched_at,
            expires=answer.expires,
            raw_orders=orders,
            server_time=answer.server_time,
            total_count=None if says_nothing else envelope.total_count,
            beside=envelope.beside,
        )
        if page_token is None:
            return
        seen.add(page_token)


def _token(envelope: Envelope) -> str | None:
    token = envelope.next_token
    return None if isinstance(token, msgspec.UnsetType) else token


def _is_open(envelope: Envelope, size: int, before: int | None = 0) -> bool:
    """Tell whether a token is absent where it is not sure that nothing follows.

    It is if the page is not full, if the server says so, or if the orders up to here are as many
    as it counts. A count of one page's orders may be that page's own.
    """
    is_absent = isinstance(envelope.next_token, msgspec.UnsetType)
    is_full = len(envelope.data) >= size
    is_all = bool(before) and envelope.total_count == (before or 0) + len(envelope.data)
    return is_absent and is_full and envelope.has_more is not False and not is_all


def _prove_end(
    get: Callable[..., PageResponse], last: Envelope, page_token: str | None, size: int
) -> list[msgspec.Raw]:
    """Prove that a full page without a token is the last one, by asking for other sizes of it.

    A larger page that is not full ends the listing. Where the page has the largest size already,
    a smaller one must give a token, and what this leads to must end.

    Returns
    -------
    list of msgspec.Raw
        Orders that have come to it meanwhile.

    Raises
    ------
    ResponseError
        If that does not prove it.
    """
    other = size + 1 if size < MAX_PAGE else size - 1
    found = [get(page_token, other).envelope]
    token = _token(found[0])
    if other < size and token is not None:
        found.append(get(token, other).envelope)
    if _token(found[-1]) is not None or _is_open(found[-1], other):
        raise ResponseError(
            f"next_token is absent beside a full page of {size} orders, and nothing proves that "
            f"no more follow: as many as the server counts in all have not come, and a page of "
            f"{other} does not end the listing either"
        )
    known = set(map(bytes, last.data))
    return [order for page in found for order in page.data if bytes(order) not in known]


class _Repeats:
    """Know a listing that goes round in a circle, or on for ever, under ever new tokens.

    A page is known by the orders at its ends. One may come again where data change between
    the pages of a listing; several in a row do not, whatever empty ones are between them. Pages
    may be empty, but not for ever.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[bytes, bytes]] = set()
        self._again = 0
        self._empty = 0

    def refuse(self, orders: list[msgspec.Raw]) -> None:
        if self._again + self._is_known(orders) >= _CIRCLE:
            raise _endless(f"{_CIRCLE} pages in a row that it had given before")
        if self._empty + (not orders) > _DESERT:
            raise _endless(f"more than {_DESERT} empty pages in a row")

    def add(self, orders: list[msgspec.Raw]) -> None:
        if not orders:
            self._empty += 1
            return
        self._again = self._again + 1 if self._is_known(orders) else 0
        self._empty = 0
        self._seen |= _ends(orders)

    def _is_known(self, orders: list[msgspec.Raw]) -> bool:
        return bool(self._seen & _ends(orders))


class _Identified(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw()


_CIRCLE = 3  # pages
_DESERT = 1000  # pages
_IDENTIFIED = msgspec.json.Decoder(_Identified)


def _ends(orders: list[msgspec.Raw]) -> set[tuple[bytes, bytes]]:
    return {(order_id(orders[0]), order_id(orders[-1]))} if orders else set()


def order_id(order: msgspec.Raw) -> bytes:
    """Give the JSON text of an order's id; of one without an id, its own."""
    return bytes(_IDENTIFIED.decode(order).id or order)


def _endless(given: str) -> ResponseError:
    return ResponseError(
        f"the server gave {given}, so the listing has no end; if that lasts, ask with "
        f"refresh=True: one of the pages on disk may lead back"
    )
