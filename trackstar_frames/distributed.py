"""Many connections on many machines, with Dask. The only module that imports Dask.

`fetch_orders_dask` fetches lazily, a task for each connection and window of time;
`read_snapshot_dask` reads a snapshot lazily, a task for each part; `run_on_workers` runs an export
or sync on a cluster. A task contains no token, but the name of an environment variable or of a
function; the worker opens the client. One token is used by one worker at a time, see `token_lock`.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import math
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Any, Unpack

import pandas as pd
import pyarrow as pa
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import BaseOffset

from trackstar_frames._text import card, counted, lines, plain, table
from trackstar_frames.client import (
    Connections,
    Source,
    TrackstarClient,
    check_connections,
    open_client,
)
from trackstar_frames.errors import ResponseError, SettingsError, TrackstarError
from trackstar_frames.fetch import FetchJob, MemorySink, root_cause
from trackstar_frames.filter_types import OrderFilters
from trackstar_frames.info import FetchInfo, brief, describe, warn_of_failed
from trackstar_frames.pagination.pages import MAX_PAGE
from trackstar_frames.pagination.windows import Window
from trackstar_frames.progress import Progress
from trackstar_frames.request import FetchRequest
from trackstar_frames.schema import TABLES, Table, table_for
from trackstar_frames.snapshots.catalog import find_snapshot
from trackstar_frames.snapshots.manifest import Part, read_manifest
from trackstar_frames.snapshots.reader import read_table
from trackstar_frames.snapshots.writer import WriteResult
from trackstar_frames.tables.assemble import label_rows
from trackstar_frames.tables.dtypes import DtypeBackend, check_backend, to_frame
from trackstar_frames.tables.mismatches import count_mismatches

try:
    import dask
    import dask.dataframe as dd
    from dask.dataframe.dispatch import meta_nonempty
    from dask.dataframe.utils import UNKNOWN_CATEGORIES
    from distributed import Client, KilledWorker, Semaphore, Worker, as_completed, get_worker
except ModuleNotFoundError as error:
    raise ImportError(
        f"{error}; Dask needs the extra 'dask': install trackstar_frames[dask]", name=error.name
    ) from error

_ORDERS = TABLES["orders"].labelled

#: Options of `fetch_orders_df` that a lazy fetch does not have, and what to do instead.
_ELSEWHERE = {
    "client": "each worker opens its own; name the tokens in connections",
    "limit": "take .head(n), which reads as few partitions as it needs",
    "progress": "Dask has bars of its own: distributed.progress, dask.diagnostics.ProgressBar",
    "snapshot": "write one with export_orders, and read it with read_snapshot_dask",
}


def fetch_orders_dask(
    connections: Connections,
    *,
    freq: str = "MS",
    page_size: int = MAX_PAGE,
    max_workers: int = 8,
    refresh: bool = False,
    offline: bool = False,
    verify: bool = False,
    pii: str = "keep",
    extra_params: Mapping[str, Any] | None = None,
    dtype_backend: DtypeBackend = None,
    **filters: Unpack[OrderFilters],
) -> dd.DataFrame:
    """Fetch the orders of several connections as one lazy Dask dataframe.

    Nothing is requested until the result is computed. Then a task fetches each partition, with a
    client that its worker opens; it is complete or an error. Every computation reads again, if
    possible from the worker's disk cache; ``persist()`` what is used more than once.

    Parameters
    ----------
    connections
        For each label, the name of the environment variable of the workers that holds its token,
        or a function at the top of an importable module that returns the token. Neither the tokens
        nor the API key (``TRACKSTAR_API_KEY`` of the workers) are in the graph.
    freq
        The calendar that divides ``created_date`` into partitions, from the filters' lower bound to
        now or their upper bound: ``"D"``, ``"W"``, ``"MS"`` or another frequency of pandas; in
        UTC. Without a lower bound, each connection is one partition.
    page_size
        Orders per request, 1 to 1000.
    max_workers
        How many chains of pages one task reads in parallel, 1 to 32. The cluster decides how many
        tasks run at a time.
    refresh
        Request every page from the server at every computation, even if it is on disk.
    offline
        Read from the disks of the workers only.
    verify
        Read each chain of several pages until two readings in a row agree, page by page, or raise.
        Use it if cursors are positions, which shift when orders are added or removed.
    pii
        How to treat personal data. ``"drop"`` sets the columns that `data_dictionary` marks as
        personal or free-form, and the values of `problems`, to null, and names no unknown keys.
        ``"hash"`` does the same, but replaces personal text by its HMAC-SHA-256 under the key in
        ``TRACKSTAR_PII_KEY``, so that equal texts stay equal. Columns and types do not change.
        Responses are cached on disk only with ``"keep"``.
    extra_params
        Query parameters that are not filters; they are sent unchanged.
    dtype_backend
        None for pandas' own types, ``"pyarrow"`` for Arrow's.
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
    dask.dataframe.DataFrame
        One row per order, keyed by ``connection`` and ``id``. Partitions go by window, then by
        connection, and rows within them by ``created_date`` and ``id``. The columns and types of
        `fetch_orders_df`, after ``connection``; but ``status`` is an unordered categorical, as
        pandas cannot join ordered ones where a status is unknown to this package. Its categories
        are in lifecycle order, so ``orders["status"].cat.as_ordered() < "fulfilled"`` compares;
        ``.cat.known`` is False, as there may be others: ``.cat.as_known()`` finds them.
        The index counts within each partition; ``attrs`` are those of each partition's fetch.

    Raises
    ------
    FilterError, SettingsError
        Before any work, if the call is invalid.
    ResponseError
        If a server ignores the windows: orders would be in several partitions.
    TrackstarError
        From ``compute()``, if a partition cannot be fetched; its notes name the connection. The
        pages that were read are on the disks of the workers: the same call continues from them.

    Notes
    -----
    One worker of a cluster (`distributed`) at a time uses a token, so that there are no more than
    ten requests a second; the next one gets it after a pause of a second. At most as many workers
    are busy as there are connections. The token of a worker that died is free again after 30
    seconds (``distributed.scheduler.locks.lease-timeout``); another worker runs its tasks. The
    scheduler ``"threads"`` shares one budget within its process; ``"processes"`` keeps to no rate
    limit: do not use it.

    On Python 3.11, Dask's profiler can freeze a worker for ever (CPython's issue 106883, not seen
    from 3.12 on); ``distributed.worker.profile.enabled: False`` prevents this.

    Examples
    --------
    >>> orders = fetch_orders_dask(
    ...     {"acme": "ACME_TOKEN", "beta": "BETA_TOKEN"},
    ...     created_date__gte="2026-01-01",
    ...     created_date__lt="2026-04-01",
    ... )
    >>> orders.npartitions
    6
    >>> units = orders.groupby("connection")["units_ordered"].sum()  # .compute() fetches
    """
    for name, value in filters.items():
        if name in _ELSEWHERE:
            raise SettingsError(f"{name}={value!r} is not for a lazy fetch: {_ELSEWHERE[name]}")
    check_backend(dtype_backend)
    sources = importable_sources(connections)
    request = FetchRequest.of(
        filters,
        page_size=page_size,
        max_workers=max_workers,
        refresh=refresh,
        offline=offline,
        verify=verify,
        progress=False,
        pii=pii,
        extra_params=extra_params,
    )
    return _lazy_frame(
        "fetch-orders",
        _fetch,
        divide(request, sources, freq),
        _ORDERS,
        dtype_backend,
        # Orders change from call to call: each call has keys of its own.
        nonce=uuid.uuid4().hex,
    )


@dataclass(frozen=True)
class Partition:
    """What one task fetches: a connection, within a window; contains no secret."""

    label: str  # of the connection
    source: Source  # where the worker finds its token
    request: FetchRequest

    def bounds(self) -> dict[str, list[str]]:
        """Return the bounds of the window, as parameters."""
        names = ("created_date[gt", "created_date[lt")
        expected = self.request.expected.items()
        return {name: values for name, values in expected if name.startswith(names)}

    def describe(self) -> str:
        """Describe the partition without other filters, which may be personal data."""
        bounds = [f"{name}={value}" for name, values in self.bounds().items() for value in values]
        return f"in connection {self.label!r}, {', '.join(sorted(bounds)) or 'all its orders'}"


def _fetch(
    partition: Partition,
    *,
    dtype_backend: DtypeBackend,
    nonce: str,  # noqa: ARG001  (makes the key unique)
) -> pd.DataFrame:
    """Fetch one partition; on a worker."""
    request = partition.request
    try:
        with (
            open_client(partition.label, partition.source) as client,
            nullcontext() if request.offline else token_lock(client),
        ):
            frames = FetchJob(request, MemorySink(), client).run()
        orders = frames.to_arrow()["orders"]
        others = count_mismatches(partition.bounds(), orders)
        if others:
            raise ResponseError(
                f"the server ignores created_date: it sent {counted(others, 'order')} of other "
                f"partitions, which would be duplicated; use fetch_orders instead"
            )
    except TrackstarError as error:
        error.add_note(partition.describe())
        raise
    frame = _to_partition(label_rows(orders, partition.label), _ORDERS, dtype_backend)
    frame.attrs["trackstar"] = brief(frames.info)
    return frame


#: More tasks than this are a mistake in `freq`; schedulers take minutes for as many.
_MAX_PARTITIONS = 100_000

# The year 1700; pandas 2 cannot represent times long before it.
_EARLIEST = -8_520_336_000
_EPOCH = pd.Timestamp(0, tz="UTC")


def divide(request: FetchRequest, connections: Connections, freq: object) -> list[Partition]:
    """Divide a request into partitions, window by window: neighbours have different tokens."""
    most = max(1, _MAX_PARTITIONS // len(connections))
    windows = _windows(request, _offset(freq), most)
    if len(windows) > most:
        raise SettingsError(
            f"freq={freq!r} makes more than {_MAX_PARTITIONS:,} partitions of "
            f"{len(connections):,} connections; use a longer one, such as 'MS', or a later "
            f"created_date__gte"
        )
    pairs = itertools.product(windows, connections.items())
    return [Partition(label, source, window) for window, (label, source) in pairs]


def _windows(request: FetchRequest, offset: BaseOffset, most: int) -> list[FetchRequest]:
    """Cut each query at the same seconds, into at most one window more than is allowed."""
    queries = [Window.of(query) for query in request.queries]
    cuts = list(itertools.islice(_cuts(queries[0], offset), most))
    return [
        request.with_queries([window.params for window in windows])
        for windows in zip(*(query.cut(cuts) for query in queries), strict=True)
    ]


def _cuts(window: Window, offset: BaseOffset) -> Iterator[int]:
    """Return the seconds at which a calendar cuts a window, up to now."""
    if window.start == -math.inf:  # an order need not have a `created_date`
        return
    start = pd.Timestamp(max(window.start, _EARLIEST), unit="s", tz="UTC")
    end = min(time.time(), window.end)
    moment = offset.rollforward(start.normalize())
    while (second := int(moment.timestamp())) < end:
        if second > window.start:
            yield second
        moment += offset


def _offset(freq: object) -> BaseOffset:
    try:
        offset = to_offset(freq) if isinstance(freq, str) else None
    except ValueError:
        offset = None
    # The API knows whole seconds.
    if offset is None or _EPOCH + offset < _EPOCH + pd.Timedelta(1, "s"):
        raise SettingsError(
            f"freq={freq!r} must be a frequency of pandas, of a second at least, such as 'D', 'W', "
            f"'MS' or 'QS'"
        )
    return offset


class DaskFrames:
    """The tables of a snapshot as lazy Dask dataframes.

    Partition i of every table has the same orders, those of the snapshot's part i, so tables can be
    joined partition by partition, without a shuffle. Columns and types are those of `OrderFrames`,
    but ``status`` is an unordered categorical, as in `fetch_orders_dask`.

    Attributes
    ----------
    orders, line_items, shipments, shipment_line_items : dask.dataframe.DataFrame
        As in `OrderFrames`; with several connections, ``connection`` is the first column.
    packages, package_line_items, problems : dask.dataframe.DataFrame
        Likewise.
    info : FetchInfo
        Metadata of the fetch: filters, connection, fetched_at and more.

    Examples
    --------
    >>> import tempfile
    >>> from trackstar_frames import OrderFrames, write_snapshot
    >>> with tempfile.TemporaryDirectory() as root:
    ...     _ = write_snapshot(OrderFrames.from_json({"id": "a1"}), root)
    ...     read_snapshot_dask(root).orders["id"].compute().tolist()
    ['a1']
    """

    orders: dd.DataFrame
    line_items: dd.DataFrame
    shipments: dd.DataFrame
    shipment_line_items: dd.DataFrame
    packages: dd.DataFrame
    package_line_items: dd.DataFrame
    problems: dd.DataFrame
    info: FetchInfo

    def __init__(self, tables: Mapping[str, dd.DataFrame], info: FetchInfo) -> None:
        vars(self).update(tables, info=info)

    def __repr__(self) -> str:
        fetched_at = plain(f"{self.info.fetched_at}")
        return f"DaskFrames({self.orders.npartitions:,} partitions; fetched_at={fetched_at})"

    def _repr_html_(self) -> str:
        frames = {name: getattr(self, name) for name in TABLES}
        rows = (
            (name, TABLES[name].grain, frame.npartitions, len(frame.columns))
            for name, frame in frames.items()
        )
        body = table(("table", "one row is", "partitions", "columns"), rows)
        return card("DaskFrames, read when computed", body, lines(describe(self.info)))


def read_snapshot_dask(
    root: str | os.PathLike[str],
    version: str | datetime | int = "latest",
    *,
    dtype_backend: DtypeBackend = None,
) -> DaskFrames:
    """Read one snapshot under a root as lazy Dask dataframes.

    Only the columns that are computed are read, and only then; each file is checked against the
    snapshot's checksums.

    Parameters
    ----------
    root
        The folder of all snapshots; the workers must see it under the same path.
    version
        A name; ``"latest"``; a time (naive means UTC, a bare day all of it): the newest that is
        not as of later; or an integer: -1 the one that was written last, -2 the one before it.
    dtype_backend
        None for pandas' own types, ``"pyarrow"`` for Arrow's.

    Returns
    -------
    DaskFrames
        All tables, and their `info`.

    Raises
    ------
    SnapshotError
        If there is no such snapshot; the message names the existing ones. From ``compute()``, if it
        is damaged, or was removed.
    SettingsError
        If `dtype_backend` is invalid.

    Examples
    --------
    >>> import tempfile
    >>> from trackstar_frames import OrderFrames, write_snapshot
    >>> frames = OrderFrames.from_json({"id": "a1", "line_items": [{"sku": "X", "quantity": 2}]})
    >>> with tempfile.TemporaryDirectory() as root:
    ...     _ = write_snapshot(frames, root)
    ...     lazy = read_snapshot_dask(root)
    ...     int(lazy.line_items["quantity"].sum().compute())
    2
    """
    check_backend(dtype_backend)
    folder = find_snapshot(root, version)
    manifest = read_manifest(folder)
    warn_of_failed(manifest.info)
    is_labelled = manifest.parts[0].connection is not None
    tables = {
        name: _lazy_frame(
            f"read-{name.replace('_', '-')}",
            _read_part,
            list(enumerate(manifest.parts)),
            table_for(name, labelled=is_labelled),
            dtype_backend,
            name=name,
            folder=folder,
            metadata=brief(manifest.info),
        )
        for name in TABLES
    }
    return DaskFrames(tables, manifest.info)


def _read_part(
    numbered_part: tuple[int, Part],
    *,
    name: str,
    folder: Path,
    metadata: dict[str, Any],
    dtype_backend: DtypeBackend,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Read one partition; on a worker. Dask names the columns that it needs."""
    position, part = numbered_part
    described = table_for(name, columns, labelled=part.connection is not None)
    rows = read_table(folder, position, part, name, columns)
    partition = _to_partition(rows, described, dtype_backend)
    partition.attrs["trackstar"] = copy.deepcopy(metadata)
    return partition


def _lazy_frame(
    label: str,
    make: Callable[..., pd.DataFrame],
    inputs: Sequence[Any],
    described: Table,
    dtype_backend: DtypeBackend,
    **options: Any,
) -> dd.DataFrame:
    """Return a lazy frame, whose partitions `make` makes of each input and the options."""
    declared = _Declared(_to_partition(described.schema.empty_table(), described, dtype_backend))
    for column in described.columns:
        if column.kind == "status":  # there may be others than the usual ones
            known = declared[column.name].cat
            declared[column.name] = known.add_categories(UNKNOWN_CATEGORIES)
    # Otherwise Dask makes text of every column of objects, and tags are tuples.
    with dask.config.set({"dataframe.convert-string": False}):
        frame: dd.DataFrame = dd.from_map(
            make, inputs, meta=declared, label=label, dtype_backend=dtype_backend, **options
        )
    return frame


def _to_partition(rows: pa.Table, described: Table, dtype_backend: DtypeBackend) -> pd.DataFrame:
    """Return the frame of a partition, as `to_frame` makes it, but with an unordered status."""
    # Statuses unknown to this package are further categories, and not the same ones in each
    # partition: pandas joins such categoricals only if they are unordered.
    frame = to_frame(rows, described, dtype_backend)
    for column in described.columns:
        if column.kind == "status":
            frame[column.name] = frame[column.name].cat.as_unordered()
    return frame


class _Declared(pd.DataFrame):
    """The frame of no rows by which Dask knows columns and types of a lazy one."""

    # Where Dask needs values, to infer the schema of a Parquet file, it makes them up by
    # `meta_nonempty`; in a column of lists it would put what no file can hold.

    @property
    def _constructor(self) -> type[_Declared]:
        return _Declared


_OBJECTS: dict[str, Any] = {
    column.name: ["x"] if column.kind == "strings" else "x"
    for table in TABLES.values()
    for column in table.labelled.columns
}


@meta_nonempty.register(_Declared)  # type: ignore[untyped-decorator]
def _with_rows(declared: _Declared, index: Any = None) -> pd.DataFrame:  # noqa: ARG001  (as Dask's)
    """Make up two rows."""
    rows: pd.DataFrame = meta_nonempty(pd.DataFrame(declared))
    for name, kind in declared.dtypes.items():
        if kind == "object" and name in _OBJECTS:
            rows[name] = pd.Series([_OBJECTS[name]] * len(rows), rows.index, dtype=object)
    return rows


_Run = Callable[[TrackstarClient], WriteResult]


def run_on_workers(
    dask_client: Client, connections: Connections, tasks: Mapping[str, _Run], bar: Progress
) -> tuple[dict[str, WriteResult], dict[str, TrackstarError]]:
    """Run a task for each connection, on one worker each; return results and failures by label."""
    importable_sources(connections)
    results: dict[str, WriteResult] = {}
    failures: dict[str, TrackstarError] = {}
    # A key of an earlier call would bring its result.
    call = uuid.uuid4().hex
    futures = {
        dask_client.submit(
            _run, label, source, tasks[label], key=f"trackstar-{label}-{call}"
        ): label
        for label, source in connections.items()
    }
    try:
        for future in as_completed(futures, loop=dask_client.loop):
            label = futures[future]
            try:
                outcome = future.result()
            except KilledWorker as error:
                outcome = TrackstarError(f"several workers died while running it: {error}")
            if isinstance(outcome, TrackstarError):
                failures[label] = outcome
            else:
                results[label] = outcome
                bar.add(outcome.orders, outcome.info.pages)
    finally:
        dask_client.cancel(list(futures), force=True)
    return results, failures


def _run(label: str, source: Source, run: _Run) -> WriteResult | TrackstarError:
    """Run a task, on a worker. A failure is returned, as Dask would retry a task that raises."""
    try:
        with open_client(label, source) as client, token_lock(client):
            return run(client)
    except TrackstarError as error:
        return root_cause(error)


@contextmanager
def token_lock(client: TrackstarClient) -> Iterator[None]:
    """Keep the other workers of a cluster from using a client's token; send requests only within.

    The next worker gets the token when every request of this one is out of the second that the API
    counts; this one does not wait, but goes on with its next task. Outside of a worker of
    `distributed` there is nothing to do.
    """
    worker: Worker | None = None
    with suppress(ValueError):  # there is none
        worker = get_worker()
    if worker is None:
        yield
        return
    # The name of a budget is a hash of the token, and reveals none.
    name = f"trackstar_frames-{client.session.budget}"
    semaphore = Semaphore(1, name, scheduler_rpc=worker.scheduler, loop=worker.loop)
    semaphore.acquire()
    try:
        yield
    finally:
        worker.loop.add_callback(_release, semaphore, client.session.cooldown())


async def _release(semaphore: Semaphore, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await semaphore.release()
    # The callback that renews the lease keeps the semaphore, which would exist for ever.
    if hasattr(semaphore, "refresh_callback"):  # there are none if leases never end
        semaphore.refresh_callback.stop()


def importable_sources(connections: object) -> dict[str, Source]:
    """Check connections whose tokens are read on workers: functions must be importable there."""
    sources = check_connections(connections)
    for label, source in sources.items():
        if not isinstance(source, str) and not _is_importable(source):
            raise SettingsError(
                f"connections[{label!r}]: its function must be importable on the workers, as it is "
                f"sent by name; define it at the top of a module other than __main__, and not as "
                f"a lambda, nested function, method or partial; or give the name of an "
                f"environment variable of the workers"
            )
    return sources


def _is_importable(source: object) -> bool:
    """Return whether a function is pickled by name, and not together with its content."""
    module, name = (getattr(source, each, None) for each in ("__module__", "__qualname__"))
    if module == "__main__" or not (isinstance(module, str) and isinstance(name, str)):
        return False
    try:
        found = reduce(getattr, name.split("."), sys.modules[module])
    except (KeyError, AttributeError):
        return False
    return found is source
