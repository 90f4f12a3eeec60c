"""`fetch_orders` and `fetch_orders_df`: from filters to frames."""

from __future__ import annotations

import math
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar, Unpack

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames import storage
from trackstar_frames._text import counted, warn
from trackstar_frames.client import Connections, TrackstarClient, check_connections, open_clients
from trackstar_frames.errors import IncompleteFetchError, SettingsError, TrackstarError
from trackstar_frames.filter_types import OrderFilters
from trackstar_frames.flatten import Flattener
from trackstar_frames.flatten.layout import ORDER_INDEX, Batch, batch_schema
from trackstar_frames.frames import OrderFrames
from trackstar_frames.http.session import Observer
from trackstar_frames.info import FetchInfo, join_infos
from trackstar_frames.pagination.listings import PageKey, RequestListings
from trackstar_frames.pagination.pages import MAX_PAGE, Page, PageReader
from trackstar_frames.pagination.threads import ThreadGroup
from trackstar_frames.progress import Progress, start_progress
from trackstar_frames.request import FetchRequest
from trackstar_frames.settings import pii_key
from trackstar_frames.snapshots.snapshot import write_snapshot
from trackstar_frames.tables.assemble import assemble, concat
from trackstar_frames.tables.dtypes import DtypeBackend, check_backend
from trackstar_frames.tables.mismatches import mismatches
from trackstar_frames.tables.pii import redact


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
        Client to use; by default one with the credentials of the environment.
    connections
        Several connections instead of `client`: for each label, the environment variable that holds
        its token, or a function that returns it; other options come from the environment. Each
        token has its own rate limit. Every table then starts with the column ``connection``.
    page_size
        Orders per request, 1 to 1000.
    limit
        Fetch at most this many orders: the server's first ones, in its own order. Several
        connections are fetched one after the other, by label.
    max_workers
        How many chains of pages to read in parallel, 1 to 32, under one rate limit. If the filters
        bound ``created_date``, the time is divided into windows, each a chain of its own; this
        number does not change them. With `limit`, there is one chain.
    refresh
        Request every page from the server, even if it is on disk.
    offline
        Read from disk only.
    verify
        Read each chain of several pages until two readings in a row agree, page by page, or raise.
        Use it if cursors are positions, which shift when orders are added or removed; see Notes.
    progress
        Show a progress bar; None shows it in terminals and notebooks only.
    pii
        How to treat personal data. ``"drop"`` sets the columns that `data_dictionary` marks as
        personal or free-form, and the values of `problems`, to null, and names no unknown keys.
        ``"hash"`` does the same, but replaces personal text by its HMAC-SHA-256 under the key in
        ``TRACKSTAR_PII_KEY``, so that equal texts stay equal. Columns and types do not change.
        Responses are cached on disk only with ``"keep"``.
    extra_params
        Query parameters that are not filters; they are sent unchanged.
    snapshot
        A root folder: also write a snapshot of all tables there.
    dtype_backend
        None for pandas' own types, ``"pyarrow"`` for Arrow's; as in `OrderFrames`.
    **filters
        ``field=value``, ``field__operator=value``, or ``**{"field[operator]": value}``. Fields:
        ids, status, type, channel, warehouse_customer_id, order_number, reference_id,
        trackstar_tags, and the dates created_date, updated_date, required_ship_date,
        trackstar_created_date and trackstar_updated_date. Operators: eq, neq, in, nin, gt, gte,
        lt, lte, contains, not_contains and the ``_insensitive`` ones (in beta: they find only
        orders updated after 1 July 2025), as far as the API has them for a field. A list means
        ``in``. A date without a time means the whole day; without a zone it is UTC.

    Returns
    -------
    pandas.DataFrame
        One row per order, keyed by ``id``, sorted by ``created_date`` and ``id``, nulls last; the
        columns and types of `data_dictionary` whatever the data, times in UTC.
        ``df.attrs["trackstar"]`` has the metadata of the fetch: filters, connection, fetched_at.
        No orders give no rows, with all columns. With `connections` the key is (``connection``,
        ``id``), and the rows are sorted by ``connection`` first.

    Raises
    ------
    FilterError, SettingsError, CredentialsError
        Before any request, if the call is invalid.
    ApiError, NetworkError, ResponseError, OfflineMissError
        If the first page cannot be read.
    IncompleteFetchError
        If a later page cannot be read. It has the orders read so far, and `resume`. With several
        connections, if any page of one cannot be read: it has all orders of the others, and in
        `failures` the errors by label.
    SnapshotError
        If the snapshot cannot be written; before any request, if its root is a file.

    Warns
    -----
    UserWarning
        If orders do not match the filters, or the server has no filter that finds changes.

    See Also
    --------
    fetch_orders : The same with line items, shipments and packages.

    Notes
    -----
    If the server's cursors are keys, such as the id of the last order, the result has every order
    that exists and matches the filters from the first request to the last one: a last request
    fetches what has changed meanwhile, by ``trackstar_updated_date`` or ``updated_date``, and finds
    an order that moved in the listing. A fetch of one page, or in windows of ``created_date`` of
    one page each, needs no such request; with `limit` or ``ids`` there is none. If cursors are
    positions, an order may be missed when others are added or removed, unless `verify` is True. If
    the server counts more orders than it sent, they are requested once more; then the fetch raises.

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
    client
        Client to use; by default one with the credentials of the environment.
    connections
        Several connections instead of `client`: for each label, the environment variable that holds
        its token, or a function that returns it; other options come from the environment. Each
        token has its own rate limit. Every table then starts with the column ``connection``.
    page_size
        Orders per request, 1 to 1000.
    limit
        Fetch at most this many orders: the server's first ones, in its own order. Several
        connections are fetched one after the other, by label.
    max_workers
        How many chains of pages to read in parallel, 1 to 32, under one rate limit. If the filters
        bound ``created_date``, the time is divided into windows, each a chain of its own; this
        number does not change them. With `limit`, there is one chain.
    refresh
        Request every page from the server, even if it is on disk.
    offline
        Read from disk only.
    verify
        Read each chain of several pages until two readings in a row agree, page by page, or raise.
        Use it if cursors are positions, which shift when orders are added or removed; see Notes.
    progress
        Show a progress bar; None shows it in terminals and notebooks only.
    pii
        How to treat personal data. ``"drop"`` sets the columns that `data_dictionary` marks as
        personal or free-form, and the values of `problems`, to null, and names no unknown keys.
        ``"hash"`` does the same, but replaces personal text by its HMAC-SHA-256 under the key in
        ``TRACKSTAR_PII_KEY``, so that equal texts stay equal. Columns and types do not change.
        Responses are cached on disk only with ``"keep"``.
    extra_params
        Query parameters that are not filters; they are sent unchanged.
    snapshot
        A root folder: also write a snapshot of all tables there.
    dtype_backend
        None for pandas' own types, ``"pyarrow"`` for Arrow's; as in `OrderFrames`.
    **filters
        ``field=value``, ``field__operator=value``, or ``**{"field[operator]": value}``. Fields:
        ids, status, type, channel, warehouse_customer_id, order_number, reference_id,
        trackstar_tags, and the dates created_date, updated_date, required_ship_date,
        trackstar_created_date and trackstar_updated_date. Operators: eq, neq, in, nin, gt, gte,
        lt, lte, contains, not_contains and the ``_insensitive`` ones (in beta: they find only
        orders updated after 1 July 2025), as far as the API has them for a field. A list means
        ``in``. A date without a time means the whole day; without a zone it is UTC.

    Returns
    -------
    OrderFrames
        The dataframes `orders`, `line_items`, `shipments`, `shipment_line_items`, `packages`,
        `package_line_items` and `problems`, and `info`, the metadata of the fetch.

    Raises
    ------
    FilterError, SettingsError, CredentialsError
        Before any request, if the call is invalid.
    ApiError, NetworkError, ResponseError, OfflineMissError
        If the first page cannot be read.
    IncompleteFetchError
        If a later page cannot be read. It has the orders read so far, and `resume`. With several
        connections, if any page of one cannot be read: it has all orders of the others, and in
        `failures` the errors by label.
    SnapshotError
        If the snapshot cannot be written; before any request, if its root is a file.

    Warns
    -----
    UserWarning
        If orders do not match the filters, or the server has no filter that finds changes.

    See Also
    --------
    fetch_orders_df : The orders as one dataframe; its notes say when it is complete.

    Examples
    --------
    >>> from trackstar_frames.sandbox import Sandbox
    >>> with Sandbox(orders=50) as sandbox:
    ...     frames = fetch_orders(client=sandbox.client(cache=False), status=["open", "packed"])
    >>> set(frames.orders["status"]) <= {"open", "packed"}, frames.info.duplicates
    (True, 0)
    """
    if snapshot is not None:
        if not isinstance(snapshot, (str, os.PathLike)):
            raise SettingsError(f"snapshot={snapshot!r} must be the path of a folder, or None")
        storage.locate(snapshot, "snapshot")
    check_backend(dtype_backend)
    request = FetchRequest.of(
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
    if connections is not None:
        frames = MultiFetch(request, check_connections(connections), dtype_backend).run()
    else:
        with TrackstarClient() if client is None else nullcontext(client) as chosen:
            frames = FetchJob(request, MemorySink(dtype_backend), chosen).run()
    if snapshot is not None:
        write_snapshot(frames, snapshot)
    return frames


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Sink(Protocol[T_co]):
    """Stores the batches of a fetch, in memory or on disk."""

    def add(self, batch: Batch, page: int) -> None:
        """Store a batch of a page; called on a flattening thread, in order within a page."""

    def finish(self, job: FetchJob[Any]) -> T_co:
        """Return the result of the fetch, after all pages."""

    def interrupted(self, job: FetchJob[Any], fault: Exception) -> IncompleteFetchError:
        """Return the error of a fetch that failed after its first page."""


@dataclass
class FetchedPage:
    """A page that was read; without its orders, which the sink has."""

    key: PageKey
    orders: int
    from_cache: bool
    fetched_at: datetime
    server_time: datetime | None
    flattened: Future[list[None]] | None = None


class FetchJob(Generic[T]):
    """One fetch of one connection; after a failure, `run` continues where it stopped.

    Pages that the server sent before `since` (Unix seconds) are requested again.
    """

    def __init__(
        self, request: FetchRequest, sink: Sink[T], client: TrackstarClient, *, since: float = 0.0
    ) -> None:
        self.request = request
        self.pages: list[FetchedPage] = []  # in the order in which they came
        self._sink = sink
        self._client = client
        self._since = math.inf if request.refresh else since
        self._key = pii_key(request.pii)
        self._listings = RequestListings(
            request.listings,
            queries=request.queries,
            page_size=request.page_size,
            limit=request.limit,
            verify=request.verify,
        )
        self._statistics = _Statistics()
        self._lock = threading.Lock()
        self._requests = 0
        self._started_at = math.inf

    def run(self, client: TrackstarClient | None = None) -> T:
        """Read all pages, and return the result of the sink."""
        self._client = client or self._client
        fault = self._read()
        if fault is None:
            self._warn_of_mismatches()
            return self._sink.finish(self)
        if self.request.redacts:
            fault.__traceback__ = None  # its frames hold the page that was read last
        if not self.pages:
            raise fault
        raise self._sink.interrupted(self, fault) from fault

    def is_repeat(self, key: PageKey) -> bool:
        """Return whether the orders of a page may be on other pages too."""
        return self._listings.is_repeat(key)

    def info(self, *, duplicates: int, complete: bool = True) -> FetchInfo:
        """Return the metadata of what was fetched."""
        counted_pages = [each for each in self.pages if not (complete and self.is_repeat(each.key))]
        return FetchInfo(
            self.request.metadata(),
            request_hash=self._client.identify(self.request.hash),
            connection=self._client.connection,
            started_at=datetime.fromtimestamp(self._started_at, UTC).isoformat(),
            fetched_at=_earliest(each.fetched_at for each in self.pages),
            server_time=_earliest(each.server_time for each in self.pages),
            pages=len(counted_pages),
            requests=self._requests,
            from_cache=sum(each.from_cache for each in counted_pages),
            duplicates=duplicates,
            complete=complete,
            verified=complete and self.request.verify,
        )

    def extent(self) -> str:
        """Return how many pages and orders were read, in words."""
        orders = sum(each.orders for each in self.pages)
        return f"{counted(len(self.pages), 'page')} ({counted(orders, 'order')})"

    def add_page(self, key: PageKey, page: Page, flattener: Flattener) -> None:
        """Record a page, and start to flatten it."""
        orders = page.raw_orders
        fetched = FetchedPage(key, len(orders), page.from_cache, page.fetched_at, page.server_time)
        with self._lock:
            number = len(self.pages)
            self.pages.append(fetched)
        self._statistics.add_page(number, page)
        fetched.flattened = flattener.add(orders, number)

    def _read(self) -> Exception | None:
        """Read all pages; return the error that ends this, if any."""
        self._started_at = min(self._started_at, self._client.session.clock())
        fault = None
        with (
            start_progress(shown=self.request.progress) as bar,
            Flattener(self._add_batch) as flattener,
        ):
            try:
                self._read_listings(bar, flattener)
            except Exception as error:  # noqa: BLE001  (raised with what was read before it)
                fault = error
            self._requests += bar.requests
            # Outside of the try: a fetch cannot be resumed after an error in flattening.
            self._wait_until_flattened()
        return fault

    def _read_listings(self, bar: Progress, flattener: Flattener) -> None:
        request = self.request
        # Up to a limit, the server's first orders are read in its order, one page after the other.
        threads = ThreadGroup(request.max_workers if request.limit is None else 1)
        observer = _RunObserver(self, bar, threads, flattener)
        reader = PageReader(
            self._client.session,
            page_size=min(request.page_size, request.limit or request.page_size),
            since=self._since,
            offline=request.offline,
            store=not request.redacts,
            observer=observer,
        )
        self._listings.open(reader, threads, observer)
        self._listings.read()
        self._wait_until_flattened()  # only then is it known which stamps the orders have
        stamps, latest = self._statistics.stamps(), self._statistics.latest
        if not self._listings.read_changes(stamps, latest) and not request.verify:
            warn(
                "changes cannot be requested from the server (it takes neither "
                "trackstar_updated_date nor updated_date as a filter), so an order that changed "
                "while the pages were read may be missing; verify=True makes sure"
            )

    def _add_batch(self, batch: Batch, number: int) -> None:
        """Check and redact a batch of the page of this number; on a thread that flattens."""
        mismatched = mismatches(self.request.expected, batch["orders"])
        page = self.pages[number]
        self._statistics.add_batch(batch["orders"], mismatched, page.server_time or page.fetched_at)
        unknown = self._statistics.unknown_members(number)
        if more := [each for each in (mismatched, unknown) if len(each)]:
            problems = pa.concat_tables([batch["problems"], *more]).sort_by(ORDER_INDEX)
            batch = {**batch, "problems": problems}
        self._sink.add(redact(batch, self.request.pii, self._key), number)

    def _wait_until_flattened(self) -> None:
        for page in self.pages:
            if page.flattened is not None:
                page.flattened.result()

    def _warn_of_mismatches(self) -> None:
        if count := len(self._statistics.mismatched):
            more = " or more" if count >= _MAX_MISMATCHES else ""
            warn(
                f"the server sent {counted(count, 'order')}{more} outside the filters; kept, and "
                f"listed in .problems"
            )


def _earliest(moments: Iterable[datetime | None]) -> str | None:
    earliest = min(filter(None, moments), default=None)
    return earliest.isoformat() if earliest else None


class MemorySink:
    """Stores a fetch in memory, as frames."""

    def __init__(self, dtype_backend: DtypeBackend = None) -> None:
        self._dtype_backend = dtype_backend
        self._batches: defaultdict[int, list[Batch]] = defaultdict(list)
        self._was_interrupted = False

    def add(self, batch: Batch, page: int) -> None:
        """Store a batch of a page."""
        self._batches[page].append(batch)

    def finish(self, job: FetchJob[Any]) -> OrderFrames:
        """Return the frames of all pages."""
        return self._frames(job, complete=True)

    def interrupted(self, job: FetchJob[Any], fault: Exception) -> IncompleteFetchError:
        """Return an error with the frames of the pages that were read."""
        self._was_interrupted = True
        return interrupted(
            fault,
            f"the fetch failed after {job.extent()}, which .frames holds; .resume() continues from "
            f"there",
            frames=self._frames(job, complete=False),
            pages=len(job.pages),
            resume=job.run,
        )

    def _frames(self, job: FetchJob[Any], *, complete: bool) -> OrderFrames:
        batches, repeats = [], []
        for number, page in sorted(enumerate(job.pages), key=lambda each: each[1].key):
            is_repeat = job.is_repeat(page.key)
            # With a limit, the first orders of two readings would be more than the limit.
            if job.request.limit is None or not is_repeat:
                batches += self._batches[number]
                repeats += [is_repeat] * len(self._batches[number])
        if self._was_interrupted:  # its error can be resumed again, and `assemble` empties batches
            batches = [dict(each) for each in batches]
        tables, duplicates = assemble(batches, repeats=repeats)
        info = job.info(duplicates=duplicates, complete=complete)
        return OrderFrames(tables, info, dtype_backend=self._dtype_backend)


@dataclass
class _RunObserver(Observer):
    """Forwards the events of one run of a fetch job."""

    job: FetchJob[Any]
    bar: Progress
    threads: ThreadGroup
    flattener: Flattener

    def on_request(self, left: int | None) -> None:
        self.bar.sent(left)

    def wait(self, why: str, seconds: float) -> None:
        self.bar.waiting(why, seconds)
        self.threads.wait(seconds)

    def on_page(self, key: PageKey, page: Page) -> None:
        self.job.add_page(key, page, self.flattener)
        self.bar.add(0 if self.job.is_repeat(key) else len(page.raw_orders))

    def expect(self, pages: int) -> None:
        self.bar.expect(pages)


#: Orders that do not match the filters are counted up to here.
_MAX_MISMATCHES = 1000

_STAMPS = "trackstar_updated_date", "updated_date"


class _Statistics:
    """Counts over the pages of a fetch, by the threads that read and flatten them."""

    def __init__(self) -> None:
        #: Ids of orders that do not match the filters.
        self.mismatched: set[str] = set()
        #: The latest of each stamp that is not later than its page.
        self.latest: dict[str, datetime] = {}
        self._with_stamp = dict.fromkeys(_STAMPS, 0)
        self._members: set[str] = set()
        self._unknown: set[str] = set()
        self._unknown_of_page: dict[int, dict[str, str]] = {}
        self._lock = threading.Lock()

    def add_page(self, number: int, page: Page) -> None:
        """Note the other members of a page, and which stamps its first order has as members."""
        first = [bytes(order) for order in page.raw_orders[:1]]
        named = {stamp for stamp in _STAMPS for order in first if f'"{stamp}"'.encode() in order}
        with self._lock:
            self._members |= named
            new = {
                name: text for name, text in page.other_members.items() if name not in self._unknown
            }
            self._unknown |= new.keys()
            self._unknown_of_page[number] = new

    def unknown_members(self, number: int) -> pa.Table:
        """Return as problems, once, the unknown members that no other page had before."""
        with self._lock:
            new = self._unknown_of_page.pop(number, {})
        rows = [
            {"path": name, "value": text, "message": "unknown, and beside the orders of a response"}
            for name, text in new.items()
        ]
        return pa.Table.from_pylist(rows, schema=batch_schema("problems"))

    def add_batch(self, orders: pa.Table, mismatched: pa.Table, sent_at: datetime) -> None:
        """Count the orders that have each stamp, and those that do not match the filters."""
        latest = {
            stamp: pc.max(orders[stamp].filter(pc.less_equal(orders[stamp], sent_at))).as_py()
            for stamp in _STAMPS
        }
        with self._lock:
            if len(self.mismatched) < _MAX_MISMATCHES:
                self.mismatched.update(mismatched["order_id"].to_pylist())
            for stamp, moment in latest.items():
                self._with_stamp[stamp] += len(orders) - orders[stamp].null_count
                if moment is not None:
                    self.latest[stamp] = max(moment, self.latest.get(stamp, moment))

    def stamps(self) -> list[tuple[str, ...]]:
        """Return by which stamps to request changes, the best choice first."""
        # By all that any order has: a missing order may have only one of them. Where they are null
        # in all orders, the first change may bring one. A server may not know each as a filter.
        known = tuple(stamp for stamp in _STAMPS if self._with_stamp[stamp])
        known = known or tuple(stamp for stamp in _STAMPS if stamp in self._members)
        return [known, *((stamp,) for stamp in known if len(known) > 1)] if known else []


#: Connections that are fetched in parallel. At ten requests a second each, more would wait for
#: the cores that flatten their pages; each holds some thousands of orders in memory.
_MAX_CONNECTIONS = 8

_MAX_SHOWN = 3  # failures in a message


@dataclass
class MultiFetch:
    """One fetch of several connections; after a failure, `run` fetches those that failed."""

    request: FetchRequest
    connections: Connections
    dtype_backend: DtypeBackend
    jobs: dict[str, FetchJob[OrderFrames]] = field(default_factory=dict, init=False)
    frames: dict[str, OrderFrames] = field(default_factory=dict, init=False)

    def run(self) -> OrderFrames:
        """Fetch all connections, or raise with the orders of those that are complete."""
        left = {label: each for label, each in self.connections.items() if label not in self.frames}
        request = self.request.after(sum(map(_count, self.frames.values())))
        if failures := run_each(left, request, self._fetch):
            raise connections_failed(
                failures,
                ".frames all orders of the other connections; .resume() fetches the missing ones",
                frames=self._join(complete=False) if self.frames else None,
                pages=sum(len(job.pages) for job in self.jobs.values()),
                again=self.run,
            )
        return self._join(complete=True)

    def _fetch(self, label: str, client: TrackstarClient, request: FetchRequest) -> int:
        if label not in self.jobs:
            self.jobs[label] = FetchJob(request, MemorySink(), client)
        self.frames[label] = self.jobs[label].run(client)
        return _count(self.frames[label])

    def _join(self, *, complete: bool) -> OrderFrames:
        frames = dict(sorted(self.frames.items()))
        infos = join_infos({label: each.info for label, each in frames.items()})
        info = infos.replace(complete=complete, limit=self.request.limit)
        tables = concat({label: each.to_arrow() for label, each in frames.items()})
        return OrderFrames(tables, info, dtype_backend=self.dtype_backend)


def _count(frames: OrderFrames) -> int:
    return len(frames.to_arrow()["orders"])


def run_each(
    connections: Connections,
    request: FetchRequest,
    run: Callable[[str, TrackstarClient, FetchRequest], int],
) -> dict[str, TrackstarError]:
    """Run a function for each connection, in parallel; return failures by label.

    `run` returns the number of orders. With a limit, connections run one after the other, until
    there are enough orders or one fails.
    """
    clients = open_clients(connections)
    failures: dict[str, TrackstarError] = {}

    def run_one(label: str) -> None:
        nonlocal request
        if request.limit is not None and (failures or request.limit == 0):
            return
        with clients[label] as client:
            try:
                orders = run(label, client, request)
            except TrackstarError as error:
                failures[label] = root_cause(error)
            else:
                request = request.after(orders)

    with Progress(shown=request.progress):
        ThreadGroup(_MAX_CONNECTIONS if request.limit is None else 1).do(run_one, clients)
    return dict(sorted(failures.items()))


def root_cause(error: TrackstarError) -> TrackstarError:
    """Return why one of several connections failed; it cannot be resumed by itself."""
    below = error.__cause__
    if isinstance(error, IncompleteFetchError) and isinstance(below, TrackstarError):
        return below
    return error


def interrupted(fault: Exception, message: str, **fields: Any) -> IncompleteFetchError:
    """Return the error of a fetch that failed after its first page."""
    known = fault if isinstance(fault, TrackstarError) else TrackstarError(str(fault))
    return IncompleteFetchError(
        f"{message}: {fault}",
        status=known.status,
        request_id=known.request_id,
        retryable=known.retryable,
        retry_after=known.retry_after,
        **fields,
    )


def connections_failed(
    failures: Mapping[str, TrackstarError], hint: str, *, again: Callable[[], Any], **fields: Any
) -> IncompleteFetchError:
    """Return the error for connections that failed; resuming it calls `again`."""

    def resume(client: TrackstarClient | None) -> Any:
        if client is not None:
            raise SettingsError("several connections failed; call resume() without a client")
        return again()

    words = [f"{label!r}: {error}" for label, error in failures.items()]
    more = f"; and {len(words) - _MAX_SHOWN:,} more" if len(words) > _MAX_SHOWN else ""
    return IncompleteFetchError(
        f"{counted(len(words), 'connection')} failed ({'; '.join(words[:_MAX_SHOWN])}{more}); "
        f".failures holds the errors, {hint}",
        retryable=all(error.retryable for error in failures.values()),
        retry_after=max((each.retry_after or 0 for each in failures.values()), default=0) or None,
        failures=dict(failures),
        resume=resume,
        **fields,
    )
