"""Our own ways to fetch the same orders: picklable requests, and what makes them."""

import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from _server import Server

import trackstar_frames as tf

_DAY = 86_400  # seconds


@dataclass(frozen=True)
class FetchRequest:
    """What to ask, of whom, and how.

    Attributes
    ----------
    server
        Whom.
    rate
        Requests a second.
    created
        Between which times the orders were created, the first one included; None is no bound.
    limit
        At most so many orders, by one cursor; None is all.
    cache
        The folder of the cache; None is no cache.
    """

    server: Server
    rate: int
    created: tuple[datetime, datetime] | None = None
    limit: int | None = None
    cache: Path | None = None

    @property
    def filters(self) -> dict[str, Any]:
        """The same as `fetch_orders` takes it."""
        if self.created is None:
            return {}
        return dict(zip(("created_date__gte", "created_date__lt"), self.created, strict=True))

    def client(self) -> tf.TrackstarClient:
        """Open a client for it."""
        return tf.TrackstarClient(
            self.server.api_key,
            self.server.access_token,
            base_url=self.server.base_url,
            rate_limit=self.rate,
            cache=self.cache is not None,
            cache_dir=self.cache,
            expire_after=_DAY,
        )


def fetch(request: FetchRequest) -> tf.OrderFrames:
    """Fetch all tables."""
    with request.client() as client:
        return tf.fetch_orders(
            client=client, limit=request.limit, progress=False, **request.filters
        )


def fetch_and_look(request: FetchRequest) -> tf.OrderFrames:
    """Fetch all tables, and make a dataframe of the orders, as other ways do."""
    frames = fetch(request)
    assert frames.orders is not None  # made when it is first looked at
    return frames


def replay(request: FetchRequest) -> tf.OrderFrames:
    """Fetch all tables, without a request."""
    with request.client() as client:
        return tf.fetch_orders(
            client=client, limit=request.limit, progress=False, offline=True, **request.filters
        )


def bodies(request: FetchRequest) -> list[bytes]:
    """Ask by one cursor, and give the bodies."""
    with request.client() as client:
        return [page.body for page in client.iter_pages(**request.filters)]


def rehearse(request: FetchRequest) -> tf.OrderFrames:
    """Ask the same way for an hour's orders, or for a few."""
    if request.created is None:
        return fetch_and_look(replace(request, limit=5))
    start, _ = request.created
    return fetch_and_look(replace(request, created=(start, start + timedelta(hours=1))))


def rest(given: Any) -> Any:
    """Wait until the server has forgotten the rehearsal, and hand on what is given."""
    time.sleep(1.2)
    return given
