"""Cursor chains: from the first page of a listing to its last, or a loud error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from trackstar_frames.errors import ResponseError
from trackstar_frames.net.envelope import Envelope
from trackstar_frames.net.session import Session, Watch

__all__ = ["MAX_PAGE", "PATH", "Page", "walk"]

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
        When the cache lets go of it, in Unix seconds; the same for all pages of a listing.
    raw_orders : list of msgspec.Raw
        The JSON text of each order.

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

    @property
    def orders(self) -> list[dict[str, Any]]:
        """The orders as dicts, parsed anew at each call."""
        found: list[dict[str, Any]] = json.loads(self.body)["data"]
        return found

    def __repr__(self) -> str:
        return f"Page({len(self.raw_orders)} orders, from_cache={self.from_cache})"


def walk(
    session: Session,
    params: dict[str, str],
    *,
    page_size: int = MAX_PAGE,
    page_token: str | None = None,
    since: float = 0.0,
    offline: bool = False,
    chain: float | None = None,
    store: bool = True,
    watch: Watch | None = None,
) -> Iterator[Page]:
    """Read one listing page by page.

    Every filter goes with every page: a token does not remember them. The end is a null
    token, or an absent one on a page that is not full; nothing else.

    Parameters
    ----------
    session
        Whom to ask.
    params
        The encoded filters.
    page_size
        Orders of one page.
    page_token
        Where to start; the first page by default.
    since, offline, chain, store, watch
        As for `Session.get`; with a `chain`, its age decides, not `since`.

    Yields
    ------
    Page
        In the server's order.

    Raises
    ------
    ResponseError
        If the listing has no end (a token or the same pages come back, or empty pages go on
        and on), or if a token is absent beside a full page.
    TrackstarError
        Whatever `Session.get` raises.
    """
    if "ids" in params:
        page_size = MAX_PAGE  # beside ids, the API ignores every other parameter
    seen = {page_token}
    repeats = _Repeats()

    def check(envelope: Envelope) -> None:
        if _next_token(envelope, page_size) in seen - {None}:
            raise _endless("the same next_token twice")
        repeats.refuse(envelope.data)

    while True:
        cursor = {} if page_token is None else {"page_token": page_token}
        answer = session.get(
            PATH,
            {**params, "limit": str(page_size), **cursor},
            since=since if chain is None else 0.0,
            offline=offline,
            chain=chain,
            store=store,
            check=check,
            watch=watch or Watch(),
        )
        chain = answer.expires
        repeats.add(answer.envelope.data)
        page_token = _next_token(answer.envelope, page_size)
        yield Page(
            body=answer.body,
            next_token=page_token,
            from_cache=answer.from_cache,
            fetched_at=answer.fetched_at,
            expires=chain,
            raw_orders=answer.envelope.data,
        )
        if page_token is None:
            return
        seen.add(page_token)


class _Repeats:
    """Know a listing that goes round in a circle, or on for ever, under ever new tokens.

    A page is known by the orders at its ends. One may come again where data change between
    the pages of a listing; several in a row do not. Pages may be empty, but not for ever.
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
        self._again = self._again + 1 if self._is_known(orders) else 0
        self._empty = 0 if orders else self._empty + 1
        self._seen |= _ends(orders)

    def _is_known(self, orders: list[msgspec.Raw]) -> bool:
        return bool(self._seen & _ends(orders))


class _Identified(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw()


_CIRCLE = 3  # pages
_DESERT = 1000  # pages
_IDENTIFIED = msgspec.json.Decoder(_Identified)


def _ends(orders: list[msgspec.Raw]) -> set[tuple[bytes, bytes]]:
    return {(_id(orders[0]), _id(orders[-1]))} if orders else set()


def _id(order: msgspec.Raw) -> bytes:
    return bytes(_IDENTIFIED.decode(order).id or order)


def _endless(given: str) -> ResponseError:
    return ResponseError(
        f"the server gave {given}, so the listing has no end; if that lasts, ask with "
        f"refresh=True: one of the pages on disk may lead back"
    )


def _next_token(envelope: Envelope, page_size: int) -> str | None:
    if not isinstance(envelope.next_token, msgspec.UnsetType):
        return envelope.next_token
    if len(envelope.data) < page_size:
        return None
    raise ResponseError(
        f"next_token is absent beside a full page of {page_size} orders, so whether more follow "
        f"cannot be known"
    )
