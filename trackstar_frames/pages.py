"""Cursor chains: from the first page of a listing to its last, or a loud error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from trackstar_frames.envelope import Envelope
from trackstar_frames.errors import ResponseError
from trackstar_frames.session import Session

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
    refresh: bool = False,
    offline: bool = False,
    chain: float | None = None,
    store: bool = True,
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
    refresh, offline, chain, store
        As for `Session.get`; `chain` only where `page_token` continues a listing.

    Yields
    ------
    Page
        In the server's order.

    Raises
    ------
    ResponseError
        If a token comes back a second time, or is absent beside a full page.
    TrackstarError
        Whatever `Session.get` raises.
    """
    if "ids" in params:
        page_size = MAX_PAGE  # beside ids, the API ignores every other parameter
    seen = {page_token}

    def check(envelope: Envelope) -> None:
        if _next_token(envelope, page_size) in seen - {None}:
            raise ResponseError(
                "the server gave the same next_token twice, so the listing has no end; if that "
                "lasts, ask with refresh=True: one of the pages on disk may lead back"
            )

    while True:
        cursor = {} if page_token is None else {"page_token": page_token}
        answer = session.get(
            PATH,
            {**params, "limit": str(page_size), **cursor},
            refresh=refresh and chain is None,
            offline=offline,
            chain=chain,
            store=store,
            check=check,
        )
        chain = answer.expires
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


def _next_token(envelope: Envelope, page_size: int) -> str | None:
    if not isinstance(envelope.next_token, msgspec.UnsetType):
        return envelope.next_token
    if len(envelope.data) < page_size:
        return None
    raise ResponseError(
        f"next_token is absent beside a full page of {page_size} orders, so whether more follow "
        f"cannot be known"
    )
