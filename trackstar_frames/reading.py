"""A fetch on its way: what was asked, what was read, and how to go on."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from trackstar_frames.chains import Listing, Place
from trackstar_frames.client import TrackstarClient
from trackstar_frames.crew import Crew
from trackstar_frames.errors import IncompleteFetchError, SettingsError, TrackstarError
from trackstar_frames.flatten import Batch, Flattener
from trackstar_frames.frames import OrderFrames, make_info
from trackstar_frames.pages import Page, walk
from trackstar_frames.personal import hide
from trackstar_frames.progress import Progress
from trackstar_frames.session import Watch
from trackstar_frames.settings import Masked, pii_key
from trackstar_frames.tables import assemble

__all__ = ["Reading"]


class Reading:
    """One fetch, from its first page to its frames; can be run again where it broke.

    Parameters
    ----------
    queries
        The parameters of each listing.
    asked
        What the frames tell of the question: filters, extra_params, limit, pii.
    page_size, workers, refresh, offline, progress, dtype_backend
        As for `fetch_orders`.
    key
        What personal data are hashed under.
    """

    def __init__(
        self,
        queries: list[dict[str, str]],
        asked: dict[str, Any],
        *,
        key: Masked | None = None,
        **options: Any,
    ) -> None:
        self._queries = queries
        self._asked = asked
        self._options = options
        self._key = key
        self._client: TrackstarClient | None = None
        # The server's first orders are those of one chain, read in its order.
        self._listing = Listing(queries, divides=self._limit is None)
        self._taken: list[_Taken] = []
        self._lock = threading.Lock()
        self._requests = 0
        self._broke = False

    def __reduce__(self) -> tuple[Any, ...]:
        # What was read, and whom to ask, stay in this process: orders are personal data.
        # The pages that a refresh has brought are on disk, and need not be asked again;
        # where none was stored, what is on disk is what the refresh was to replace.
        options = self._options | {"refresh": self._options["refresh"] and self._hides}
        return partial(Reading, **options), (self._queries, self._asked)

    def run(self, client: TrackstarClient | None) -> OrderFrames:
        """Read to the end, or raise with what was read."""
        self._client = client = client or self._client
        if client is None:
            raise SettingsError("an error that was pickled has no client; call resume(client=...)")
        self._key = self._key or pii_key(self._asked["pii"])  # a pickle has lost it
        error = self._try_to_read(client)
        if error is None:
            return self._frames(complete=True)
        if self._hides:
            error.__traceback__ = None  # its frames hold the page that was read last
        if not self._taken:
            raise error
        raise self._broken(error) from error

    @property
    def _limit(self) -> int | None:
        limit: int | None = self._asked["limit"]
        return limit

    @property
    def _hides(self) -> bool:
        hides: bool = self._asked["pii"] != "keep"
        return hides

    def _try_to_read(self, client: TrackstarClient) -> Exception | None:
        hides = partial(hide, how=self._asked["pii"], key=self._key)
        error = None
        with Progress(shown=self._options["progress"]) as bar, Flattener(hides) as flattener:
            try:
                self._read(client, bar, flattener)
            except Exception as fault:  # noqa: BLE001  (told with what was read before it)
                error = fault
            self._requests += bar.requests
            # Outside of the try: a fault of the flattening itself cannot be resumed from.
            for page in self._taken:
                page.batches.result()
        return error

    def _read(self, client: TrackstarClient, bar: Progress, flattener: Flattener) -> None:
        crew = Crew(self._options["workers"] if self._limit is None else 1)
        walk_one = partial(
            walk,
            client.session,
            page_size=min(self._options["page_size"], self._limit or self._options["page_size"]),
            refresh=self._options["refresh"],
            offline=self._options["offline"],
            store=not self._hides,
            watch=_Watch(bar, crew),
        )
        self._listing.read(walk_one, partial(self._take, bar, flattener), crew)

    def _take(self, bar: Progress, flattener: Flattener, place: Place, page: Page) -> bool:
        orders = page.raw_orders[: self._left]
        batches = flattener.add(orders)
        with self._lock:
            self._taken.append(
                _Taken(place, len(orders), page.from_cache, page.fetched_at, batches)
            )
        bar.add(len(orders))
        return self._left != 0

    @property
    def _left(self) -> int | None:
        """How many orders are still wanted; None is all."""
        return None if self._limit is None else self._limit - _orders(self._taken)

    def _frames(self, *, complete: bool) -> OrderFrames:
        taken = sorted(self._taken, key=lambda page: page.place)
        if complete:
            taken = [page for page in taken if not self._listing.comes_again(page.place)]
        # Once an error has been given out, it can be resumed more than once.
        batches = [batch for page in taken for batch in page.batches.result()]
        tables, duplicates = assemble([dict(each) for each in batches] if self._broke else batches)
        fetched_at = min((page.fetched_at for page in taken), default=None)
        info = make_info(
            **self._asked,
            connection=self._client.connection if self._client else None,
            fetched_at=fetched_at and fetched_at.isoformat(),
            pages=len(taken),
            requests=self._requests,
            from_cache=sum(page.from_cache for page in taken),
            duplicates=duplicates,
            complete=complete,
        )
        return OrderFrames(tables, info, dtype_backend=self._options["dtype_backend"])

    def _broken(self, error: Exception) -> IncompleteFetchError:
        self._broke = True
        known = error if isinstance(error, TrackstarError) else TrackstarError(str(error))
        pages, orders = len(self._taken), _orders(self._taken)
        return IncompleteFetchError(
            f"the fetch broke after {pages} pages ({orders:,} orders), which "
            f".frames holds; .resume() goes on from there: {error}",
            frames=self._frames(complete=False),
            pages=pages,
            resume=self.run,
            status=known.status,
            request_id=known.request_id,
            retryable=known.retryable,
            retry_after=known.retry_after,
        )


@dataclass(frozen=True)
class _Taken:
    """A page that was read."""

    place: Place
    orders: int
    from_cache: bool
    fetched_at: datetime
    batches: Future[list[Batch]]


class _Watch(Watch):
    """Show what the session does, and leave it as soon as the work is to be left."""

    def __init__(self, bar: Progress, crew: Crew) -> None:
        self._bar = bar
        self._crew = crew

    def sent(self, left: int | None) -> None:
        self._bar.sent(left)

    def wait(self, why: str, seconds: float) -> None:
        self._bar.waiting(why, seconds)
        self._crew.wait(seconds)


def _orders(taken: list[_Taken]) -> int:
    return sum(page.orders for page in taken)
