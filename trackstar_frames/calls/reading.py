"""A fetch on its way: what was asked, what was read, and how to go on."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.calls.progress import Progress, Share, progress
from trackstar_frames.calls.question import Question
from trackstar_frames.client import TrackstarClient
from trackstar_frames.credentials import Masked, pii_key
from trackstar_frames.errors import IncompleteFetchError, SettingsError, TrackstarError
from trackstar_frames.flatten import BATCH, Batch, Flattener, batch_schema
from trackstar_frames.frames import OrderFrames, make_info
from trackstar_frames.listing.chains import Listing, Place, Reader
from trackstar_frames.listing.crew import Crew
from trackstar_frames.listing.pages import Page, walk
from trackstar_frames.net.session import Watch
from trackstar_frames.plain import counted
from trackstar_frames.provenance import warn
from trackstar_frames.tables.assemble import assemble
from trackstar_frames.tables.contradictions import contradictions
from trackstar_frames.tables.dtypes import DtypeBackend
from trackstar_frames.tables.personal import hide

__all__ = ["Reading", "broken"]

#: Orders that do not match, beyond which they are not counted any more.
_MANY = 1000

_STAMPS = "trackstar_updated_date", "updated_date"


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
            question.queries,
            asked=question.asked,
            divides=question.limit is None,
            page_size=question.page_size,
            is_whole=question.limit is None,
            verifies=question.verify,
        )
        self._taken: list[_Taken] = []
        self._seen = _Seen()
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
        if error is None and self._seen.contrary:
            count = len(self._seen.contrary)
            more = " or more" if count >= _MANY else ""
            warn(
                f"the server gave {counted(count, 'order')}{more} outside the filters; kept, and "
                f"named in .problems"
            )
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
        """Give the rank of each page by the server's sequence."""
        places = [page.place for page in self._taken]
        ranks = {place: rank for rank, place in enumerate(sorted(places))}
        return [ranks[place] for place in places]

    def repeats(self) -> list[bool]:
        """Tell of each page whether its orders are expected to be on others, too."""
        return [self._listing.comes_again(page.place) for page in self._taken]

    def info(self, *, duplicates: int, complete: bool = True) -> dict[str, Any]:
        """Tell where the orders come from."""
        taken = self._wanted() if complete else self._taken
        fetched_at = min((page.fetched_at for page in self._taken), default=None)
        server_times = [page.server_time for page in self._taken]
        server_time = min((each for each in server_times if each is not None), default=None)
        told, client = self._question.told, self._client
        return make_info(
            **{**told, "question": client and client.identify(told["question"])},
            connection=client and client.connection,
            began=datetime.fromtimestamp(self._began, UTC).isoformat(),
            fetched_at=fetched_at and fetched_at.isoformat(),
            server_time=server_time and server_time.isoformat(),
            pages=len(taken),
            requests=self._requests,
            from_cache=sum(page.from_cache for page in taken),
            duplicates=duplicates,
            complete=complete,
            verified=complete and self._question.verify,
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
        reader = Reader(walk_one, partial(self._take, bar, flattener), crew)
        self._listing.read(reader, bar.expect)
        for page in self._taken:
            page.batches.result()  # until all are flattened, it is not known which stamps they have
        if (
            not self._listing.close(reader, self._seen.ways(), self._seen.latest)
            and not question.verify
        ):
            warn(
                "the server cannot be asked for what has changed (it takes neither "
                "trackstar_updated_date nor updated_date as a filter), so an order that changed "
                "while the pages were read may be missing; verify=True makes sure"
            )

    def _take(self, bar: Progress | Share, flattener: Flattener, place: Place, page: Page) -> bool:
        orders = page.raw_orders[: self._left]
        with self._lock:
            number = len(self._taken)
            taken = _Taken(place, len(orders), page.from_cache, page.fetched_at, page.server_time)
            self._taken.append(taken)
        self._seen.meet(number, page.beside, orders[:1])
        taken.batches = flattener.add(orders, number)
        bar.add(0 if self._listing.comes_again(place) else len(orders))
        return self._left != 0

    def _keep(self, batch: Batch, number: int) -> Any:
        """Keep a batch of the page of this number; on a thread that flattens."""
        contrary = contradictions(self._question.expected, batch["orders"])
        page = self._taken[number]
        self._seen.count(batch["orders"], contrary, page.server_time or page.fetched_at)
        if more := [each for each in (contrary, self._seen.beside(number)) if len(each)]:
            problems = pa.concat_tables([batch["problems"], *more]).sort_by(BATCH)
            batch = {**batch, "problems": problems}
        return hide(batch, self._question.pii, self._key)

    @property
    def _left(self) -> int | None:
        """How many orders are still wanted; None is all."""
        if self._question.limit is None:
            return None
        return self._question.limit - sum(page.orders for page in self._wanted())

    def _wanted(self) -> list[_Taken]:
        return [page for page in self._taken if not self._listing.comes_again(page.place)]

    def _frames(self, *, complete: bool) -> OrderFrames:
        # Beside the first orders of one reading, those of another would be too many.
        taken = self._taken if self._question.limit is None else self._wanted()
        taken = sorted(taken, key=lambda page: page.place)
        batches, repeats = [], []
        for page in taken:
            batches += page.batches.result()
            repeats += [self._listing.comes_again(page.place)] * len(page.batches.result())
        if self._broke:  # once an error has been given out, it can be resumed more than once
            batches = [dict(each) for each in batches]
        tables, duplicates = assemble(batches, repeats=repeats)
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
    server_time: datetime | None
    batches: Future[list[Any]] = field(default_factory=_nothing)


class _Seen:
    """What the answers of a fetch hold, counted on the threads that read and flatten them."""

    def __init__(self) -> None:
        #: Some of the orders that do not match the filters.
        self.contrary: set[str] = set()
        #: The latest of each stamp that is not later than its page.
        self.latest: dict[str, datetime] = {}
        self._stamped = dict.fromkeys(_STAMPS, 0)
        self._named: set[str] = set()
        self._members: set[str] = set()
        self._beside: dict[int, dict[str, str]] = {}
        self._lock = threading.Lock()

    def meet(self, number: int, beside: Mapping[str, str], orders: Sequence[Any]) -> None:
        """Note what a page has beside its orders, the first time that a member is met.

        And of some of its orders, which stamps they have, if only as null.
        """
        named = {s for s in _STAMPS for order in orders if f'"{s}"'.encode() in bytes(order)}
        with self._lock:
            self._named |= named
            new = {name: text for name, text in beside.items() if name not in self._members}
            self._members |= new.keys()
            self._beside[number] = new

    def beside(self, number: int) -> pa.Table:
        """Give what was new beside the orders of a page, once, as problems of no order."""
        with self._lock:
            new = self._beside.pop(number, {})
        rows = [
            {"path": name, "value": text, "message": "unknown, and beside the orders of an answer"}
            for name, text in new.items()
        ]
        return pa.Table.from_pylist(rows, schema=batch_schema("problems"))

    def count(self, orders: pa.Table, contrary: pa.Table, given: datetime) -> None:
        """Count the orders of a batch that have each stamp, and note those that do not match."""
        latest = {
            stamp: pc.max(orders[stamp].filter(pc.less_equal(orders[stamp], given))).as_py()
            for stamp in _STAMPS
        }
        with self._lock:
            if len(self.contrary) < _MANY:
                self.contrary.update(contrary["order_id"].to_pylist())
            for stamp, moment in latest.items():
                self._stamped[stamp] += len(orders) - orders[stamp].null_count
                if moment is not None:
                    self.latest[stamp] = max(moment, self.latest.get(stamp, moment))

    def ways(self) -> list[tuple[str, ...]]:
        """List by which stamps to ask for what changes, the best way first.

        By all that any order has: the one that is missing may have only one of them. Where they
        are null in all orders, the first change may bring one. A server may not know each as a
        filter.
        """
        known = tuple(stamp for stamp in _STAMPS if self._stamped[stamp])
        known = known or tuple(stamp for stamp in _STAMPS if stamp in self._named)
        return [known, *((stamp,) for stamp in known if len(known) > 1)] if known else []


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
