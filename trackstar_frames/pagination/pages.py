"""Pages of a listing, from cursor to cursor: complete, or an error."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from trackstar_frames.errors import ResponseError
from trackstar_frames.http.responses import Envelope
from trackstar_frames.http.session import Check, Observer, PageResponse, Session

PATH = "/wms/orders"

#: The most orders that the API gives in one response.
MAX_PAGE = 1000

_MAX_REPEATED = 3  # pages in a row
_MAX_EMPTY = 1000  # pages in a row


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing.

    Attributes
    ----------
    body : bytes
        The response as the server sent it.
    next_token : str or None
        The cursor of the next page; None on the last.
    from_cache : bool
        Whether it came from disk.
    fetched_at : datetime.datetime
        When the server sent it, UTC.
    expires : float
        Cache expiry, in Unix seconds; the same for all pages of a listing.
    raw_orders : list of msgspec.Raw
        The JSON text of each order.
    server_time : datetime.datetime or None
        When the server sent it by its own clock, UTC; None if it did not say.
    total_count : int or None
        How many orders there are by the server's count, on this page or in the whole listing.
    other_members : dict of str to str
        Other members of the body: JSON text by name.

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
    other_members: dict[str, str] = field(default_factory=dict)

    @property
    def orders(self) -> list[dict[str, Any]]:
        """The orders as dicts, parsed anew at each call."""
        return [json.loads(bytes(order)) for order in self.raw_orders]

    def __repr__(self) -> str:
        return f"Page({len(self.raw_orders)} orders, from_cache={self.from_cache})"


@dataclass(frozen=True)
class PageReader:
    """Reads listings page by page; all but the size of a page is as for `Session.get`."""

    session: Session
    page_size: int = MAX_PAGE
    since: float = 0.0
    offline: bool = False
    store: bool = True
    observer: Observer = field(default_factory=Observer)

    def read(
        self,
        params: dict[str, str],
        *,
        page_token: str | None = None,
        orders_before: int | None = 0,
        expires: float | None = None,
        refresh: bool = False,
    ) -> Iterator[Page]:
        """Read the listing of these parameters, from its first page or from a cursor on.

        Raises ResponseError if its end cannot be proved, if it has no end, or if a response says
        that it is incomplete. With `expires`, only pages that expire then are taken from disk,
        whatever `since` says; with `refresh`, none, unless offline.
        """
        # Offline, the last reading of each page is on disk.
        is_new = refresh and not self.offline
        since = math.inf if is_new else self.since if expires is None else 0.0
        return _Cursor(self, params, page_token, orders_before, expires, since).pages()


@dataclass
class _Cursor:
    """The position in a listing that is being read."""

    reader: PageReader
    params: dict[str, str]
    token: str | None
    orders_before: int | None  # None if that is not known
    expires: float | None
    since: float

    def __post_init__(self) -> None:
        # With ids, the API ignores every other parameter.
        self._size = MAX_PAGE if "ids" in self.params else self.reader.page_size
        self._seen_tokens = {self.token}
        self._repeats = _Repeats()

    def pages(self) -> Iterator[Page]:
        """Read to the end."""
        while True:
            yield self._read_page()
            if self.token is None:
                return

    def _read_page(self) -> Page:
        response, late = self._read_proven()
        envelope = response.envelope
        self._repeats.add(envelope.data)
        if self.orders_before is not None:
            self.orders_before += len(envelope.data)
        # After other pages, an empty one with a total_count of 0 may be due to an expired cursor.
        is_silent = self.token is not None and not envelope.data and not envelope.total_count
        self.token = _token(envelope)
        self._seen_tokens.add(self.token)
        stored = response.stored
        sent = stored.server_time
        return Page(
            body=stored.body,
            next_token=self.token,
            from_cache=response.from_cache,
            fetched_at=datetime.fromtimestamp(stored.fetched, UTC),
            expires=stored.expires,
            raw_orders=envelope.data + late,
            server_time=None if sent is None else datetime.fromtimestamp(sent, UTC),
            total_count=None if is_silent else envelope.total_count,
            other_members=envelope.other_members,
        )

    def _read_proven(self, since: float | None = None) -> tuple[PageResponse, list[msgspec.Raw]]:
        """Read a page that may be the last one, and the orders that came after it meanwhile."""
        response = self._get(self.token, self._size, self._check, since)
        try:
            return response, self._prove_end(response.envelope)
        except ResponseError:
            if self.reader.offline or not response.from_cache:
                raise
        # The listing may have grown since the page came to the disk.
        return self._read_proven(since=math.inf)

    def _get(
        self, token: str | None, size: int, check: Check | None = None, since: float | None = None
    ) -> PageResponse:
        reader = self.reader
        position = {} if token is None else {"page_token": token}
        response = reader.session.get(
            PATH,
            # All filters, as a token does not remember them. The API's `limit` is the size of a
            # page, not the caller's.
            {**self.params, "limit": str(size), **position},
            since=self.since if since is None else since,
            offline=reader.offline,
            expires=self.expires,
            store=reader.store,
            check=check,
            observer=reader.observer,
        )
        self.expires = response.stored.expires
        return response

    def _check(self, envelope: Envelope) -> None:
        """Refuse a page that shows that the listing has no end."""
        if envelope.next_token in self._seen_tokens - {None}:
            raise _endless("the same next_token twice")
        self._repeats.refuse(envelope.data)

    def _prove_end(self, last: Envelope) -> list[msgspec.Raw]:
        """Prove that an open page is the last one; return orders that have come to it meanwhile."""
        # A null token ends a listing, or an absent one if the page is not full, or the server's
        # total is reached. So does a larger page that is not full. Where the page has the largest
        # size already, a smaller one must give a token, and what this leads to must end.
        size = self._size
        if not _is_open(last, size, self.orders_before or 0):
            return []
        other = size + 1 if size < MAX_PAGE else size - 1
        found = [self._get(self.token, other).envelope]
        token = _token(found[0])
        if other < size and token is not None:
            found.append(self._get(token, other).envelope)
        if _token(found[-1]) is not None or _is_open(found[-1], other):
            raise ResponseError(
                f"next_token is absent on a full page of {size} orders, and nothing proves that "
                f"no more follow: the total_count of the server is not reached, and a page of "
                f"{other} does not end the listing either"
            )
        known = set(map(bytes, last.data))
        return [order for page in found for order in page.data if bytes(order) not in known]


def _token(envelope: Envelope) -> str | None:
    token = envelope.next_token
    return None if isinstance(token, msgspec.UnsetType) else token


def _is_open(envelope: Envelope, size: int, before: int = 0) -> bool:
    """Return whether a token is absent where something may follow."""
    # A count of one page's orders may be that page's own; so it proves nothing on the first page.
    is_absent = isinstance(envelope.next_token, msgspec.UnsetType)
    is_full = len(envelope.data) >= size
    is_all = before > 0 and envelope.total_count == before + len(envelope.data)
    return is_absent and is_full and envelope.has_more is not False and not is_all


class _Repeats:
    """Detects a listing that repeats, or is endless, under ever new tokens."""

    # A page is identified by its first and last order. One may repeat where data change between
    # the pages; several in a row do not, whatever empty ones are between them.

    def __init__(self) -> None:
        self._seen: set[tuple[bytes, bytes]] = set()
        self._repeated = 0
        self._empty = 0

    def refuse(self, orders: list[msgspec.Raw]) -> None:
        if self._repeated + (_ends(orders) in self._seen) >= _MAX_REPEATED:
            raise _endless(f"{_MAX_REPEATED} pages in a row that it had sent before")
        if self._empty + (not orders) > _MAX_EMPTY:
            raise _endless(f"more than {_MAX_EMPTY} empty pages in a row")

    def add(self, orders: list[msgspec.Raw]) -> None:
        ends = _ends(orders)
        if ends is None:
            self._empty += 1
            return
        self._repeated = self._repeated + 1 if ends in self._seen else 0
        self._empty = 0
        self._seen.add(ends)


_WITH_ID = msgspec.defstruct("WithId", [("id", msgspec.Raw, msgspec.Raw())])
_ID_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_WITH_ID)


def _ends(orders: list[msgspec.Raw]) -> tuple[bytes, bytes] | None:
    return (order_id(orders[0]), order_id(orders[-1])) if orders else None


def order_id(order: msgspec.Raw) -> bytes:
    """Return the JSON text of an order's id; of an order without an id, that of the order."""
    return bytes(_ID_DECODER.decode(order).id or order)


def _endless(given: str) -> ResponseError:
    return ResponseError(
        f"the server sent {given}, so the listing has no end; if this persists, fetch with "
        f"refresh=True, as a page on disk may lead back"
    )
