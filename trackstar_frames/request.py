"""`FetchRequest`: a call of a fetch function, checked before any work."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trackstar_frames.client import Connections, TrackstarClient, check_connections
from trackstar_frames.errors import SettingsError
from trackstar_frames.filters import MAX_LIST, encode, is_list
from trackstar_frames.pagination.pages import MAX_PAGE
from trackstar_frames.settings import Masked, check_bool, check_int, check_source, pii_key
from trackstar_frames.tables.mismatches import combine_queries

#: More chains than this wait for one another, at any rate that the API allows.
MAX_WORKERS = 32


@dataclass(frozen=True, kw_only=True)
class FetchRequest:
    """What to fetch from a connection, and how; options are as for `fetch_orders`."""

    queries: list[dict[str, str]]  # the filters as parameters; long lists need several
    #: The query parameters of each listing that is read. A sync reads several for each of
    #: `queries`, one after the other; all others read the queries themselves.
    listings: list[dict[str, str]]
    expected: dict[str, list[str]]  # the filters as parameters, which the orders have to match
    filters: dict[str, Any]  # what the caller wrote, as JSON values; see `FetchInfo`
    extra_params: dict[str, Any]
    limit: int | None
    pii: str
    hash: str  # of all that decides which orders come, and how they look
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
        client: TrackstarClient | None = None,
        connections: Connections | None = None,
        page_size: int,
        limit: int | None = None,
        max_workers: int,
        refresh: bool,
        offline: bool,
        verify: bool,
        progress: bool | None,
        pii: str,
        extra_params: Mapping[str, Any] | None,
    ) -> FetchRequest:
        """Check a call; raise FilterError or SettingsError if it is invalid."""
        page_size = check_int("page_size", page_size, low=1, high=MAX_PAGE)
        limit = None if limit is None else check_int("limit", limit, low=1)
        max_workers = check_int("max_workers", max_workers, low=1, high=MAX_WORKERS)
        if client is not None and not isinstance(client, TrackstarClient):
            # Only its type: its repr may hold a key.
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
            check_bool("progress", progress)
        has_cache = client is None or client.settings.cache
        check_source(refresh=refresh, offline=offline, cache=has_cache)
        if check_bool("verify", verify) and offline:
            raise SettingsError(
                "verify=True reads from the server until two readings agree, and offline=True "
                "reads from disk only; leave one out"
            )
        if verify and limit is not None:
            raise SettingsError(
                "verify=True makes sure that no order is missing, and limit=... leaves orders out; "
                "leave one out"
            )
        key = pii_key(pii)
        listed = {name: list(each) if is_list(each) else each for name, each in filters.items()}
        queries = encode(listed, extra_params)
        redacts = pii != "keep"  # tags and unknown parameters are free-form
        return cls(
            queries=queries,
            listings=queries,
            expected=combine_queries(queries),
            filters={
                name: "*" if redacts and name.startswith("trackstar_tags") else _as_json(value)
                for name, value in listed.items()
            },
            extra_params={
                name: "*" if redacts else _as_json(value)
                for name, value in (extra_params or {}).items()
            },
            limit=limit,
            pii=pii,
            hash=_hash([queries, limit, pii], key),
            page_size=page_size,
            max_workers=max_workers,
            refresh=refresh,
            offline=offline,
            verify=verify,
            progress=progress,
        )

    def with_queries(self, queries: list[dict[str, str]]) -> FetchRequest:
        """Return a request for a part of the orders, with these queries."""
        return replace(self, queries=queries, listings=queries, expected=combine_queries(queries))

    def after(self, orders: int) -> FetchRequest:
        """Return a request for what is left of the limit after so many orders."""
        return self if self.limit is None else replace(self, limit=self.limit - orders)

    def metadata(self) -> dict[str, Any]:
        """Return what `FetchInfo` shows of the request."""
        return {name: getattr(self, name) for name in ("filters", "extra_params", "limit", "pii")}

    @property
    def redacts(self) -> bool:
        """Whether personal data are removed, so that no response may be kept on disk."""
        return self.pii != "keep"


def _hash(values: list[Any], key: Masked | None) -> str:
    """Hash a request and its key: another key gives other hashed texts."""
    text = json.dumps(values, sort_keys=True).encode()
    secret = b"trackstar_frames" if key is None else key.encode()
    return hmac.new(secret, text, hashlib.sha256).hexdigest()


def _as_json(value: Any) -> Any:
    """Return a filter's value as JSON, shortened, as every frame has it in its attrs."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if not isinstance(value, list):
        return str(value)
    first = [_as_json(each) for each in value[:MAX_LIST]]
    more = len(value) - len(first)
    return [*first, f"... and {more:,} more"] if more else first
