"""A fetch on its way: what was asked, what was read, and how to go on."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from trackstar_frames.calls.progress import Progress, Share, progress
from trackstar_frames.calls.question import Question
from trackstar_frames.client import TrackstarClient
from trackstar_frames.credentials import Masked, pii_key
from trackstar_frames.errors import IncompleteFetchError, SettingsError, TrackstarError
from trackstar_frames.flatten import Batch, Flattener
from trackstar_frames.frames import OrderFrames, make_info
from trackstar_frames.listing.chains import Listing, Place
from trackstar_frames.listing.crew import Crew
from trackstar_frames.listing.pages import Page, walk
from trackstar_frames.net.session import Watch
from trackstar_frames.plain import counted
from trackstar_frames.tables.assemble import assemble
from trackstar_frames.tables.dtypes import DtypeBackend
from trackstar_frames.tables.personal import hide

__all__ = ["Reading", "broken"]


class Reading:
    """One fetch, from its first page to its frames; can be run again where it broke.

    Parameters
    ----------
    question
        What is asked.
    since
        Pages that the server gave before this time (Unix seconds) are asked for anew.
    dtype_backend
        As for `fetch_orders`.
    """

    def __init__(
        self, question: Question, *, since: float = 0.0, dtype_backend: DtypeBackend = None
    ) -> None:
        self._question = question
        self._since = math.inf if question.refresh else since
        self._dtype_backend = dtype_backend
        self._key: Masked | None = None
        self._client: TrackstarClient | None = None
        # The server's first orders are those of one chain, read in its order.
        self._listing = Listing(
            question.queries, divides=question.limit is None, page_size=question.page_size
        )
        self._taken: list[_Taken] = []
        self._lock = threading.Lock()
        self._requests = 0
        self._began = math.inf
        self._broke = False

    def __reduce__(self) -> tuple[Any, ...]:
        # What was read, and whom to ask, stay in this process: orders are personal data.
        # The pages that a refresh has brought are on disk, and need not be asked again;
        # where none was stored, what is on disk is what the refresh was to replace.
        question = self._question
        again = replace(question, refresh=question.refresh and question.hides)
        return partial(Reading, dtype_backend=self._dtype_backend), (again,)

    def run(self, client: TrackstarClient | None) -> OrderFrames:
        """Read to the end, or raise with what was read."""
        error = self.read(client)
        if error is None:
            return self._frames(complete=True)
        if self._question.hides:
            error.__traceback__ = None  # its frames hold the page that was read last
        if not self._taken:
            raise error
        raise self._broken(error) from error

    def read(self, client: TrackstarClient | None) -> Exception | None:
        """Read to the end, or to where it breaks, and give what broke it."""
        self._client = client = client or self._client
        if client is None:
            raise SettingsError("an error that was pickled has no client; call resume(client=...)")
        self._key = self._key or pii_key(self._question.pii)  # a pickle has lost it
        self._began = min(self._began, time.time())
        error = None
        with progress(shown=self._question.progress) as bar, Flattener(self._keep) as flattener:
            try:
                self._read(client, bar, flattener)
            except Exception as fault:  # noqa: BLE001  (told with what was read before it)
                error = fault
            self._requests += bar.requests
            # Outside of the try: a fault of the flattening itself cannot be resumed from.
            for page in self._taken:
                page.batches.result()
        return error

    @property
    def pages(self) -> int:
        """How many pages were read."""
        return len(self._taken)

    @property
    def orders(self) -> int:
        """How many orders were on them."""
        return sum(page.orders for page in self._taken)

    def ranks(self) -> list[int]:
        """Give the rank of each page by the server's sequence; -1 if its orders come again."""
        places = [page.place for page in self._taken]
        ranks = {place: rank for rank, place in enumerate(sorted(places))}
        comes_again = self._listing.comes_again
        return [-1 if comes_again(place) else ranks[place] for place in places]

    def info(self, *, duplicates: int, complete: bool = True) -> dict[str, Any]:
        """Tell where the orders come from."""
        taken = self._wanted() if complete else self._taken
        fetched_at = min((page.fetched_at for page in taken), default=None)
        told, client = self._question.told, self._client
        return make_info(
            **{**told, "question": client and client.identify(told["question"])},
            connection=client and client.connection,
            began=datetime.fromtimestamp(self._began, UTC).isoformat(),
            fetched_at=fetched_at and fetched_at.isoformat(),
            pages=len(taken),
            requests=self._requests,
            from_cache=sum(page.from_cache for page in taken),
            duplicates=duplicates,
            complete=complete,
        )

    def _read(self, client: TrackstarClient, bar: Progress | Share, flattener: Flattener) -> None:
        question = self._question
        crew = Crew(question.workers if question.limit is None else 1)
        walk_one = partial(
            walk,
            client.session,
            page_size=min(question.page_size, question.limit or question.page_size),
            since=self._since,
            offline=question.offline,
            store=not question.hides,
            watch=_Watch(bar, crew),
        )
        self._listing.read(walk_one, partial(self._take, bar, flattener), crew, bar.expect)

    def _take(self, bar: Progress | Share, flattener: Flattener, place: Place, page: Page) -> bool:
        orders = page.raw_orders[: self._left]
        with self._lock:
            number = len(self._taken)
            taken = _Taken(place, len(orders), page.from_cache, page.fetched_at)
            self._taken.append(taken)
        taken.batches = flattener.add(orders, number)
        bar.add(len(orders))
        return self._left != 0

    def _keep(self, batch: Batch, number: int) -> Any:  # noqa: ARG002  (others keep it elsewhere)
        """Keep a batch of the page of this number; on a thread that flattens."""
        return hide(batch, self._question.pii, self._key)

    @property
    def _left(self) -> int | None:
        """How many orders are still wanted; None is all."""
        return None if self._question.limit is None else self._question.limit - self.orders

    def _wanted(self) -> list[_Taken]:
        return [page for page in self._taken if not self._listing.comes_again(page.place)]

    def _frames(self, *, complete: bool) -> OrderFrames:
        wanted = self._wanted() if complete else self._taken
        taken = sorted(wanted, key=lambda page: page.place)
        # Once an error has been given out, it can be resumed more than once.
        batches = [batch for page in taken for batch in page.batches.result()]
        tables, duplicates = assemble([dict(each) for each in batches] if self._broke else batches)
        info = self.info(duplicates=duplicates, complete=complete)
        return OrderFrames(tables, info, dtype_backend=self._dtype_backend)

    def _broken(self, error: Exception) -> IncompleteFetchError:
        self._broke = True
        return broken(
            error,
            f"the fetch broke after {counted(self.pages, 'page')} "
            f"({counted(self.orders, 'order')}), which .frames holds; .resume() goes on from there",
            frames=self._frames(complete=False),
            pages=self.pages,
            resume=self.run,
        )


def broken(error: Exception, message: str, **told: Any) -> IncompleteFetchError:
    """Word what broke a fetch after its first page."""
    known = error if isinstance(error, TrackstarError) else TrackstarError(str(error))
    return IncompleteFetchError(
        f"{message}: {error}",
        status=known.status,
        request_id=known.request_id,
        retryable=known.retryable,
        retry_after=known.retry_after,
        **told,
    )


def _nothing() -> Future[list[Any]]:
    nothing: Future[list[Any]] = Future()
    nothing.set_result([])
    return nothing


@dataclass
class _Taken:
    """A page that was read."""

    place: Place
    orders: int
    from_cache: bool
    fetched_at: datetime
    batches: Future[list[Any]] = field(default_factory=_nothing)


class _Watch(Watch):
    """Show what the session does, and leave it as soon as the work is to be left."""

    def __init__(self, bar: Progress | Share, crew: Crew) -> None:
        self._bar = bar
        self._crew = crew

    def sent(self, left: int | None) -> None:
        self._bar.sent(left)

    def wait(self, why: str, seconds: float) -> None:
        self._bar.waiting(why, seconds)
        self._crew.wait(seconds)
