"""`fetch_orders` and `fetch_orders_df`: from filters to frames."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar, Unpack

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames._text import counted, warn
from trackstar_frames.client import TrackstarClient
from trackstar_frames.connections import Connections, Source, check_connections, open_clients
from trackstar_frames.errors import IncompleteFetchError, SettingsError, TrackstarError
from trackstar_frames.filter_types import OrderFilters
from trackstar_frames.flatten import BATCH, Batch, Flattener, batch_schema
from trackstar_frames.frames import OrderFrames, make_info
from trackstar_frames.http.session import Observer
from trackstar_frames.pagination.listing import Listing, Place, Reader
from trackstar_frames.pagination.pages import MAX_PAGE, Page, walk
from trackstar_frames.pagination.threads import ThreadGroup
from trackstar_frames.progress import ConnectionProgress, Progress, start_progress
from trackstar_frames.request import FetchRequest
from trackstar_frames.settings import Masked, pii_key
from trackstar_frames.snapshots import parquet
from trackstar_frames.snapshots.snapshot import write_snapshot
from trackstar_frames.tables.assemble import assemble
from trackstar_frames.tables.connections import concat, join_infos
from trackstar_frames.tables.contradictions import contradictions
from trackstar_frames.tables.dtypes import DtypeBackend, check_backend
from trackstar_frames.tables.pii import redact

__all__ = [
    "FetchJob",
    "MultiFetch",
    "Outcomes",
    "ask_each",
    "broken",
    "cause",
    "fetch_orders",
    "fetch_orders_df",
    "incomplete",
    "named_only",
    "refuse",
]


def fetch_orders_df(
    *,
    client: TrackstarClient | None = None,
    connections: Connections | None = None,
    page_size: int = MAX_PAGE,
    limit: int | None = None,
    max_workers: int = 8,
    refresh: bool = False,
    offline: bool = False,
    verify: bool = False,
    progress: bool | None = None,
    pii: str = "keep",
    extra_params: Mapping[str, Any] | None = None,
    snapshot: str | os.PathLike[str] | None = None,
    dtype_backend: DtypeBackend = None,
    **filters: Unpack[OrderFilters],
) -> pd.DataFrame:
    """Fetch orders as one dataframe: complete, or an error.

    Parameters
    ----------
    client
        Whom to ask; by default a client with the credentials of the environment.
    connections
        Several in one call, instead of `client`: for each a label, and the name of the
        environment variable that holds its token, or a function that returns it. Key, base
        URL and cache are those of the environment; each token has its own rate. Every table
        then begins with the column ``connection``.
    page_size
        Orders of one request, 1 to 1000.
    limit
        At most this many orders in all: the server's first ones, in its own order; of
        several connections, of one after the other by their labels.
    max_workers
        Cursor chains that are read side by side, 1 to 32; together they keep to the rate of
        the client. Where the filters bound ``created_date`` on one side at least, the time
        is cut into windows, each a chain of its own; long lists are chains too. Which
        requests are made does not depend on it. With `limit`, there is one chain.
    refresh
        Ask the server again, whatever is on disk.
    offline
        Read from disk only.
    verify
        Read every part of several pages until two readings in a row are the same, page by page,
        or raise. It makes sure of servers whose cursors are positions, where what comes or goes
        during the fetch shifts what follows; see Notes.
    progress
        Show a bar; None shows it in terminals and notebooks only.
    pii
        What becomes of personal data. ``"keep"``: nothing. ``"drop"``: null wherever
        `data_dictionary` marks a column as personal or free-form, and in the values of
        `problems`; an unknown key is not named. ``"hash"``: the same, but a personal text
        becomes its HMAC-SHA-256 under the key in ``TRACKSTAR_PII_KEY``, so that equal texts
        stay equal. Columns and types stay. But for ``"keep"``, no answer is kept on disk.
    extra_params
        Query parameters that the filters do not know; passed on as they are.
    snapshot
        A root folder to write a snapshot of all tables under as well.
    dtype_backend
        None for pandas' own types, ``"pyarrow"`` for Arrow's; as in `OrderFrames`.
    **filters
        ``field=value``, ``field__op=value``, or ``**{"field[op]": value}``. Fields:
        ids, status, type, channel, warehouse_customer_id, order_number, reference_id,
        trackstar_tags, and the dates created_date, updated_date, required_ship_date,
        trackstar_created_date and trackstar_updated_date. Operators: eq, neq, in, nin,
        gt, gte, lt, lte, contains, not_contains and the ``_insensitive`` ones, as far as
        the API has them for a field. A list means ``in``. A date without a time means the
        whole day; without a zone it is UTC. The ``_insensitive`` operators are in beta: the
        API finds only orders by them that were updated after 1 July 2025.

    Returns
    -------
    pandas.DataFrame
        One row per order, keyed by ``id``, sorted by ``created_date`` and ``id``, nulls
        last; the columns and types of `data_dictionary` whatever the data, moments in
        UTC. ``df.attrs["trackstar"]`` tells filters, connection, and when the server
        answered. No orders give no rows, with all columns. Of several connections the key is
        (``connection``, ``id``), and the rows are sorted by ``connection`` first.

    Raises
    ------
    FilterError, SettingsError, CredentialsError
        Before any request, if the call cannot be meant.
    ApiError, NetworkError, ResponseError, OfflineMissError
        If the first page cannot be had.
    IncompleteFetchError
        If a later page cannot: with what was read, and `resume`. Of several connections, if
        any page of one cannot: with all orders of the others, and the errors by label in
        `failures`.
    SnapshotError
        If the snapshot cannot be written; before any request, if its root is a file.

    Warns
    -----
    UserWarning
        If orders do not match the filters, or the server cannot be asked for what has changed
        while it was read.

    See Also
    --------
    fetch_orders : The same with line items, shipments and packages.

    Notes
    -----
    An order that exists, and matches the filters, from the first request to the last one is in
    the result, if the server's cursors are keys, such as the id of the last order: a last request
    asks for what has changed meanwhile, by ``trackstar_updated_date`` or ``updated_date``, and an
    order that moved in the listing is found there. A fetch of one page, or in windows of
    ``created_date`` of one page each, needs no such request. With `limit` or ``ids`` there is none.
    Where cursors are positions, an order may be missed if others come or go during the fetch,
    unless `verify`. If the server counts more orders than it gave, it is asked once more, and
    then the fetch raises.

    Examples
    --------
    >>> from trackstar_frames.sandbox import Sandbox
    >>> with Sandbox(orders=50) as sandbox:
    ...     orders = fetch_orders_df(client=sandbox.client(cache=False), limit=20)
    >>> len(orders), orders["status"].cat.ordered
    (20, True)
    """
    return fetch_orders(
        client=client,
        connections=connections,
        page_size=page_size,
        limit=limit,
        max_workers=max_workers,
        refresh=refresh,
        offline=offline,
        verify=verify,
        progress=progress,
        pii=pii,
        extra_params=extra_params,
        snapshot=snapshot,
        dtype_backend=dtype_backend,
        **filters,
    ).orders


def fetch_orders(
    *,
    client: TrackstarClient | None = None,
    connections: Connections | None = None,
    page_size: int = MAX_PAGE,
    limit: int | None = None,
    max_workers: int = 8,
    refresh: bool = False,
    offline: bool = False,
    verify: bool = False,
    progress: bool | None = None,
    pii: str = "keep",
    extra_params: Mapping[str, Any] | None = None,
    snapshot: str | os.PathLike[str] | None = None,
    dtype_backend: DtypeBackend = None,
    **filters: Unpack[OrderFilters],
) -> OrderFrames:
    """Fetch orders as six tables: complete, or an error.

    Parameters
    ----------
    client, connections
        Whom to ask: one, or several. This and all below is as for `fetch_orders_df`.
    page_size, limit, max_workers
        Orders of one request, orders in all, and cursor chains side by side.
    refresh, offline, verify
        Ask the server again, or the disk only; or read until two readings agree.
    progress
        Show a bar; None shows it in terminals and notebooks only.
    pii
        What becomes of personal data: ``"keep"``, ``"drop"`` or ``"hash"``.
    extra_params
        Query parameters that the filters do not know.
    snapshot
        A root folder to write a snapshot under as well.
    dtype_backend
        None for pandas' own types, ``"pyarrow"`` for Arrow's.
    **filters
        ``field=value``, ``field__op=value``, or ``**{"field[op]": value}``.

    Returns
    -------
    OrderFrames
        `orders`, `line_items`, `shipments`, `shipment_line_items`, `packages`,
        `package_line_items`, `problems`, and `info`.

    Raises
    ------
    TrackstarError
        What `fetch_orders_df` raises.

    See Also
    --------
    fetch_orders_df : The orders alone; tells of every parameter.

    Examples
    --------
    >>> from trackstar_frames.sandbox import Sandbox
    >>> with Sandbox(orders=50) as sandbox:
    ...     frames = fetch_orders(client=sandbox.client(cache=False))
    >>> len(frames.orders), frames.info["duplicates"]
    (50, 0)
    """
    if snapshot is not None and not isinstance(snapshot, (str, os.PathLike)):
        raise SettingsError(f"snapshot={snapshot!r} must be the path of a folder, or None")
    if snapshot is not None:
        parquet.locate(snapshot, "snapshot")
    check_backend(dtype_backend)
    question = FetchRequest.of(
        filters,
        client=client,
        connections=connections,
        page_size=page_size,
        limit=limit,
        max_workers=max_workers,
        refresh=refresh,
        offline=offline,
        verify=verify,
        progress=progress,
        pii=pii,
        extra_params=extra_params,
    )
    frames = (
        _fetch(question, client, dtype_backend)
        if connections is None
        else MultiFetch(question, check_connections(connections), dtype_backend=dtype_backend).run()
    )
    if snapshot is not None:
        write_snapshot(frames, snapshot)
    return frames


def _fetch(
    question: FetchRequest, client: TrackstarClient | None, dtype_backend: DtypeBackend
) -> OrderFrames:
    reading = FetchJob(question, dtype_backend=dtype_backend)
    with TrackstarClient() if client is None else nullcontext(client) as chosen:
        return reading.run(chosen)


_T = TypeVar("_T")

#: Connections that are asked side by side. At ten requests a second each, more would wait for
#: the cores that flatten their answers; each holds some thousands of orders in memory.
_AT_ONCE = 8

_TOLD = 3  # failures in a message


class Outcomes(NamedTuple, Generic[_T]):
    """What became of each connection: the one or the other."""

    done: dict[str, _T]
    failures: dict[str, TrackstarError]


def ask_each(
    connections: Mapping[str, Source],
    question: FetchRequest,
    work: Callable[[str, TrackstarClient, FetchRequest], _T],
    count: Callable[[_T], int],
) -> Outcomes[_T]:
    """Ask each connection, side by side, under one bar.

    With a limit, one is asked after the other until there are enough, or one fails.

    Parameters
    ----------
    connections
        A label for each, and where its token comes from.
    question
        What to ask of each.
    work
        Takes a label, a client and what to ask.
    count
        Tells how many orders a work has given.

    Raises
    ------
    SettingsError, CredentialsError
        If a token cannot be had; before any work.
    """
    clients = open_clients(connections)
    done: dict[str, _T] = {}
    failures: dict[str, TrackstarError] = {}

    def do(label: str) -> None:
        asked = question
        if question.limit is not None:  # else others are adding to what is done meanwhile
            asked = question.after(sum(map(count, done.values())))
            if failures or asked.limit == 0:
                return
        with clients[label] as client:
            try:
                done[label] = work(label, client, asked)
            except TrackstarError as error:
                failures[label] = cause(error)

    with Progress(shown=question.progress):
        ThreadGroup(_AT_ONCE if question.limit is None else 1).do(do, clients)
    return Outcomes(done, failures)


class MultiFetch:
    """One fetch of several connections; can be run again for those that failed.

    Parameters
    ----------
    question
        What is asked of each.
    connections
        A label for each, and where its token comes from; checked.
    dtype_backend
        As for `fetch_orders`.
    """

    def __init__(
        self,
        question: FetchRequest,
        connections: Mapping[str, Source],
        *,
        dtype_backend: DtypeBackend = None,
    ) -> None:
        self._question = question
        self._connections = connections
        self._dtype_backend = dtype_backend
        self._readings: dict[str, FetchJob] = {}
        self._frames: dict[str, OrderFrames] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # As of a reading: what was read stays in this process.
        again = replace(self._question, refresh=self._question.refresh and self._question.redacts)
        make = partial(MultiFetch, dtype_backend=self._dtype_backend)
        return make, (again, named_only(self._connections))

    def run(self, client: TrackstarClient | None = None) -> OrderFrames:
        """Read all to the end, or raise with what was read of the others."""
        refuse(client, self._connections)
        left = {
            label: each for label, each in self._connections.items() if label not in self._frames
        }
        failures = self._ask(left)
        if failures:
            raise incomplete(
                failures,
                ".frames all orders of the other connections; .resume() asks for the rest",
                frames=self._join(complete=False) if self._frames else None,
                pages=sum(reading.pages for reading in self._readings.values()),
                resume=self.run,
            )
        return self._join(complete=True)

    def _ask(self, connections: Mapping[str, Source]) -> dict[str, TrackstarError]:
        """Read what is left of some connections, and tell which of them failed."""
        left = self._question.after(sum(map(_count, self._frames.values())))
        done, failures = ask_each(connections, left, self._read, _count)
        self._frames |= done
        return dict(sorted(failures.items()))

    def _read(self, label: str, client: TrackstarClient, question: FetchRequest) -> OrderFrames:
        return self._readings.setdefault(label, FetchJob(question)).run(client)

    def _join(self, *, complete: bool) -> OrderFrames:
        frames = dict(sorted(self._frames.items()))
        info = join_infos({label: each.info for label, each in frames.items()})
        info |= {"complete": complete, "limit": self._question.limit}
        tables = concat({label: each.to_arrow() for label, each in frames.items()})
        return OrderFrames(tables, info, dtype_backend=self._dtype_backend)


def _count(frames: OrderFrames) -> int:
    return len(frames.to_arrow()["orders"])


def cause(error: TrackstarError) -> TrackstarError:
    """Give what broke a connection's fetch: alone, it cannot be resumed from."""
    below = error.__cause__
    if isinstance(error, IncompleteFetchError) and isinstance(below, TrackstarError):
        return below
    return error


def incomplete(
    failures: Mapping[str, TrackstarError], rest: str, **told: Any
) -> IncompleteFetchError:
    """Word what became of some connections."""
    words = [f"{label!r}: {error}" for label, error in failures.items()]
    more = f"; and {len(words) - _TOLD:,} more" if len(words) > _TOLD else ""
    return IncompleteFetchError(
        f"{counted(len(words), 'connection')} failed ({'; '.join(words[:_TOLD])}{more}); "
        f".failures holds the errors, {rest}",
        retryable=all(error.retryable for error in failures.values()),
        retry_after=max((each.retry_after or 0 for each in failures.values()), default=0) or None,
        failures=dict(failures),
        **told,
    )


def named_only(connections: Mapping[str, Source]) -> dict[str, Source]:
    """Give what may be pickled: the names of variables; nothing, if there are functions."""
    are_named = all(isinstance(each, str) for each in connections.values())
    return dict(connections) if are_named else {}


def refuse(client: TrackstarClient | None, connections: Mapping[str, Source]) -> None:
    """Refuse to resume several connections with one client, or without their tokens."""
    if client is not None:
        raise SettingsError("several connections failed; call resume() without a client")
    if not connections:
        raise SettingsError(
            "an error that was pickled has lost the functions that give the tokens; make the "
            "same call again"
        )


#: Orders that do not match, beyond which they are not counted any more.
_MANY = 1000

_STAMPS = "trackstar_updated_date", "updated_date"


class FetchJob:
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
        self, question: FetchRequest, *, since: float = 0.0, dtype_backend: DtypeBackend = None
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
        again = replace(question, refresh=question.refresh and question.redacts)
        return partial(FetchJob, dtype_backend=self._dtype_backend), (again,)

    def run(self, client: TrackstarClient | None) -> OrderFrames:
        """Read to the end, or raise with what was read."""
        error = self.read(client)
        if error is None:
            return self._frames(complete=True)
        if self._question.redacts:
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
        with (
            start_progress(shown=self._question.progress) as bar,
            Flattener(self._keep) as flattener,
        ):
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

    def _read(
        self, client: TrackstarClient, bar: Progress | ConnectionProgress, flattener: Flattener
    ) -> None:
        question = self._question
        threads = ThreadGroup(question.max_workers if question.limit is None else 1)
        walk_one = partial(
            walk,
            client.session,
            page_size=min(question.page_size, question.limit or question.page_size),
            since=self._since,
            offline=question.offline,
            store=not question.redacts,
            observer=_FetchObserver(bar, threads),
        )
        reader = Reader(walk_one, partial(self._take, bar, flattener), threads)
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

    def _take(
        self, bar: Progress | ConnectionProgress, flattener: Flattener, place: Place, page: Page
    ) -> bool:
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
        return redact(batch, self._question.pii, self._key)

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


class _FetchObserver(Observer):
    """Show what the session does, and leave it as soon as the work is to be left."""

    def __init__(self, bar: Progress | ConnectionProgress, threads: ThreadGroup) -> None:
        self._bar = bar
        self._crew = threads

    def on_request(self, left: int | None) -> None:
        self._bar.sent(left)

    def wait(self, why: str, seconds: float) -> None:
        self._bar.waiting(why, seconds)
        self._crew.wait(seconds)
