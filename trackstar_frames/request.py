"""A call of a fetch function, checked before any work: what to ask, and how to read it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trackstar_frames.client import TrackstarClient
from trackstar_frames.connections import Connections, check_connections
from trackstar_frames.errors import SettingsError
from trackstar_frames.filters import MAX_LIST, encode, is_list
from trackstar_frames.pagination.pages import MAX_PAGE
from trackstar_frames.settings import Masked, check_source, flag, pii_key, whole
from trackstar_frames.tables.contradictions import combine_queries

__all__ = ["MAX_WORKERS", "FetchRequest"]


#: More chains than this wait for one another, at any rate that the API allows.
MAX_WORKERS = 32


@dataclass(frozen=True, kw_only=True)
class FetchRequest:
    """What is asked, and how it is read.

    Attributes
    ----------
    queries : list of dict
        The parameters of each listing.
    asked : list of dict
        The parameters that the caller's filters are; a sync makes several listings of each.
    expected : dict
        The filters as parameters, which the orders have to match.
    told : dict
        What the frames tell of it: filters, extra_params, limit, pii, question (a hash of
        all that decides which orders come, and how they look).
    page_size, max_workers, refresh, offline, verify, progress
        As for `fetch_orders`.
    """

    queries: list[dict[str, str]]
    asked: list[dict[str, str]]
    expected: dict[str, list[str]]
    told: dict[str, Any]
    page_size: int = MAX_PAGE
    max_workers: int = 8
    refresh: bool = False
    offline: bool = False
    verify: bool = False
    progress: bool | None = None

    @classmethod
    def of(
        cls,
        filters: Mapping[str, Any],
        *,
        client: TrackstarClient | None,
        connections: Connections | None = None,
        page_size: int,
        limit: int | None,
        max_workers: int,
        refresh: bool,
        offline: bool,
        verify: bool,
        progress: bool | None,
        pii: str,
        extra_params: Mapping[str, Any] | None,
    ) -> FetchRequest:
        """Check a call.

        Raises
        ------
        FilterError, SettingsError
            If it cannot be meant.
        """
        page_size = whole("page_size", page_size, low=1, high=MAX_PAGE)
        limit = None if limit is None else whole("limit", limit, low=1)
        max_workers = whole("max_workers", max_workers, low=1, high=MAX_WORKERS)
        if client is not None and not isinstance(client, TrackstarClient):
            # Never what it is: it may hold a key.
            raise SettingsError(
                f"client is a {type(client).__name__}; pass a TrackstarClient, or None for one "
                f"with the credentials of the environment"
            )
        if connections is not None:
            check_connections(connections)
            if client is not None:
                raise SettingsError(
                    "client=... is one connection, and connections=... names several; pass one of "
                    "the two"
                )
        if progress is not None:
            flag("progress", progress)
        check_source(
            refresh=refresh, offline=offline, cache=client is None or client.settings.cache
        )
        _check_verify(flag("verify", verify), limit=limit, offline=offline)
        key = pii_key(pii)
        asked = {name: list(each) if is_list(each) else each for name, each in filters.items()}
        queries = encode(asked, extra_params)
        told = _told(asked, extra_params or {}, pii)
        told |= {"limit": limit, "question": _hash([queries, limit, pii], key)}
        return cls(
            queries=queries,
            asked=queries,
            expected=combine_queries(queries),
            told=told,
            page_size=page_size,
            max_workers=max_workers,
            refresh=refresh,
            offline=offline,
            verify=verify,
            progress=progress,
        )

    def within(self, queries: list[dict[str, str]]) -> FetchRequest:
        """Ask for a part of it alone: also for what changes meanwhile, and for what must match."""
        return replace(self, queries=queries, asked=queries, expected=combine_queries(queries))

    def after(self, orders: int) -> FetchRequest:
        """Ask for what is left of the limit once so many orders are there."""
        if self.limit is None:
            return self
        return replace(self, told={**self.told, "limit": self.limit - orders})

    @property
    def limit(self) -> int | None:
        """At most this many orders in all."""
        limit: int | None = self.told["limit"]
        return limit

    @property
    def pii(self) -> str:
        """What becomes of personal data."""
        pii: str = self.told["pii"]
        return pii

    @property
    def redacts(self) -> bool:
        """Whether personal data are hidden, so that no answer may be kept on disk."""
        return self.pii != "keep"


def _check_verify(verify: bool, *, limit: int | None, offline: bool) -> None:  # noqa: FBT001
    if verify and offline:
        raise SettingsError(
            "verify=True reads from the server until two readings agree, and offline=True asks the "
            "disk only; leave one out"
        )
    if verify and limit is not None:
        raise SettingsError(
            "verify=True makes sure that no order is missing, and limit=... leaves orders out; "
            "leave one out"
        )


def _hash(asked: list[Any], key: Masked | None) -> str:
    """Name a question: under another key, hashed texts are others."""
    text = json.dumps(asked, sort_keys=True).encode()
    secret = b"trackstar_frames" if key is None else key.encode()
    return hmac.new(secret, text, hashlib.sha256).hexdigest()


def _told(filters: dict[str, Any], extra: Mapping[str, Any], pii: str) -> dict[str, Any]:
    """Tell what was asked; tags and unknown parameters are free-form, and hidden as those are."""
    told = {name: _as_json(value) for name, value in filters.items()}
    more = {name: _as_json(value) for name, value in extra.items()}
    if pii != "keep":
        told |= dict.fromkeys((name for name in told if name.startswith("trackstar_tags")), "*")
        more = dict.fromkeys(more, "*")
    return {"filters": told, "extra_params": more, "pii": pii}


def _as_json(value: Any) -> Any:
    """Write a filter's value as JSON, and small: it travels with every frame."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if not isinstance(value, list):
        return str(value)
    told = [_as_json(each) for each in value[:MAX_LIST]]
    left = len(value) - len(told)
    return [*told, f"... and {left:,} more"] if left else told
