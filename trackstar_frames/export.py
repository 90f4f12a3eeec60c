"""`export_orders`: fetch orders to a snapshot, with constant memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from trackstar_frames import errors, storage
from trackstar_frames.client import Connections, TrackstarClient, check_connections
from trackstar_frames.fetch import FetchJob, connections_failed, interrupted, run_each
from trackstar_frames.filter_types import OrderFilters
from trackstar_frames.flatten.layout import Batch
from trackstar_frames.info import FetchInfo, join_infos
from trackstar_frames.pagination.pages import MAX_PAGE
from trackstar_frames.progress import Progress
from trackstar_frames.request import FetchRequest
from trackstar_frames.snapshots.catalog import Entry
from trackstar_frames.snapshots.manifest import snapshot_errors
from trackstar_frames.snapshots.snapshot import Snapshot, new_snapshot
from trackstar_frames.snapshots.spill import Spill
from trackstar_frames.snapshots.upsert import Base, bases_in
from trackstar_frames.snapshots.writer import PartWriter, WriteResult
from trackstar_frames.tables.assemble import assemble


def export_orders(
    root: str | os.PathLike[str],
    *,
    client: TrackstarClient | None = None,
    connections: Connections | None = None,
    dask_client: Any = None,
    page_size: int = MAX_PAGE,
    limit: int | None = None,
    max_workers: int = 8,
    refresh: bool = False,
    offline: bool = False,
    verify: bool = False,
    progress: bool | None = None,
    pii: str = "keep",
    extra_params: Mapping[str, Any] | None = None,
    **filters: Unpack[OrderFilters],
) -> Snapshot:
    """Fetch orders directly to a new snapshot: complete, or an error.

    Memory does not grow with the number of orders: until all are fetched, they are kept on disk, in
    a hidden folder under `root` (about 0.5 kB each). All pages are requested from the server,
    except those that the same export left in the client's cache when it failed or was killed (not
    with `refresh`, nor with `pii`, which stores none).

    Parameters
    ----------
    root
        The folder of all snapshots; created if it is missing.
    client
        Client to use; by default one with the credentials of the environment.
    connections
        Several connections instead of `client`: for each label, the environment variable that holds
        its token, or a function that returns it; other options come from the environment. Each
        token has its own rate limit; eight connections are fetched at a time. They write one
        snapshot, each part of it from one connection.
    dask_client
        A `distributed.Client`: its workers write the parts of the `connections`, each token used by
        one worker at a time. Every worker must see `root` at the same path, and have the
        environment variables of the tokens or be able to import their functions; other options come
        from its environment. Another worker rewrites the parts of a lost one. Not with `limit`.
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
        Start over, even if an interrupted export could be resumed.
    offline
        Read from disk only.
    verify
        Read each chain of several pages until two readings in a row agree, page by page, or raise.
        Use it if cursors are positions, which shift when orders are added or removed.
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
    Snapshot
        All orders that the same call to `fetch_orders` would return, with the same `info`. With
        several connections, ``info.connections`` has the metadata of each.

    Raises
    ------
    FilterError, SettingsError, CredentialsError
        Before any request, if the call is invalid.
    ApiError, NetworkError, ResponseError, OfflineMissError
        If the first page cannot be read.
    IncompleteFetchError
        If a later page cannot be read. Its `frames` is None, as nothing is kept in memory; `resume`
        repeats the export. With several connections, if any page of one cannot be read: the others
        are still written, to its `snapshot`, and the metadata name those that are missing; `resume`
        fetches these, and writes a new snapshot of all.
    SnapshotError
        If the disk fails; earlier snapshots are not changed.

    See Also
    --------
    sync_orders : Fetch only what has changed since the last snapshot.

    Examples
    --------
    >>> import tempfile
    >>> from trackstar_frames.sandbox import Sandbox
    >>> with Sandbox(orders=50) as sandbox, tempfile.TemporaryDirectory() as root:
    ...     snapshot = export_orders(root, client=sandbox.client(cache=False))
    ...     len(snapshot.read().orders)
    50
    """
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
    check_dask_client(dask_client, connections, limit)
    return Exporter(storage.locate(root)).run(request, client, connections, dask_client)


def check_dask_client(
    dask_client: Any, connections: Connections | None, limit: int | None = None
) -> None:
    """Raise SettingsError if `dask_client` is invalid, or has nothing to distribute."""
    if dask_client is None:
        return
    if not (hasattr(dask_client, "submit") and hasattr(dask_client, "scheduler_info")):
        raise errors.SettingsError(
            f"dask_client is a {type(dask_client).__name__}; pass a distributed.Client, or None"
        )
    if dask_client.asynchronous:
        raise errors.SettingsError("dask_client is an asynchronous client; pass one that is not")
    if connections is None:
        raise errors.SettingsError(
            "dask_client=... spreads several connections over its workers; pass connections=..."
        )
    if limit is not None:
        raise errors.SettingsError(
            "limit=... fetches one connection after the other, which needs no cluster; leave one "
            "out"
        )


@dataclass(frozen=True)
class SpilledOrders:
    """Orders of one connection that were fetched to disk, and their metadata."""

    spill: Spill
    info: FetchInfo

    def write(self, folder: Path, connection: str | None = None) -> WriteResult:
        """Write the parts of a snapshot; `connection` labels every row."""
        writer = PartWriter(folder, self.info, connection=connection)
        for batches, kept in self.spill.spans(self.spill.cuts(writer.part_size)):
            writer.add(assemble(batches, kept)[0])
        return writer.result()


@dataclass(frozen=True)
class Exporter:
    """Fetches all orders of a connection to disk, under the root of all snapshots."""

    # It can be pickled, and sent to a worker.
    root: Path

    def run(
        self,
        request: FetchRequest,
        client: TrackstarClient | None,
        connections: Connections | None,
        dask_client: Any,
    ) -> Snapshot:
        """Write a new snapshot, of one connection or of several."""
        if connections is not None:
            named = check_connections(connections)
            bases = self.find_bases(request, named)
            return MultiExport(self, request, named, bases, dask_client).run()
        with TrackstarClient() if client is None else nullcontext(client) as chosen:
            return self.export(request, chosen)

    def export(self, request: FetchRequest, client: TrackstarClient) -> Snapshot:
        """Write a new snapshot of one connection; its error can be resumed."""

        def resume(other: TrackstarClient | None = None) -> Snapshot:
            # Pages that are in the cache are not requested again.
            return self.export(replace(request, refresh=False), other or client)

        fetching = self.fetch(request, client, self.find_base(request, client), resume=resume)
        with fetching as orders, new_snapshot(self.root) as new:
            return new.commit(orders.write(new.folder))

    def find_base(self, request: FetchRequest, client: TrackstarClient) -> Base | None:  # noqa: ARG002
        """Return the snapshot to continue from: none, as all orders are fetched."""
        return None

    def find_bases(self, request: FetchRequest, connections: Connections) -> dict[str, Base]:  # noqa: ARG002
        """Return what to continue from, by connection: nothing, as all orders are fetched."""
        return {}

    def fetch(
        self,
        request: FetchRequest,
        client: TrackstarClient,
        base: Base | None = None,  # noqa: ARG002
        *,
        resume: Callable[..., Snapshot] | None = None,
    ) -> AbstractContextManager[SpilledOrders]:
        """Fetch orders to disk; they are deleted when the context ends."""
        return self.fetch_to_disk("export", request, client, resume)

    @contextmanager
    def fetch_to_disk(
        self,
        task: str,
        request: FetchRequest,
        client: TrackstarClient,
        resume: Callable[..., Snapshot] | None,
    ) -> Iterator[SpilledOrders]:
        """Fetch orders to a hidden folder under the root, which is removed at the end."""
        # Pages that an interrupted run of the same task left in the cache are not requested again.
        session = client.session
        name = f"{task} {self.root} {request.page_size} {request.limit} {request.listings}"
        since = 0.0 if request.offline else session.mark_started(name, restart=request.refresh)
        wrong = snapshot_errors(f"cannot write under {self.root}")
        with wrong, storage.scratch_folder(self.root / task) as folder:
            sink = _SpillSink(Spill(folder), task, resume)
            yield FetchJob(request, sink, client, since=since).run()
        if not request.offline:
            session.mark_finished(name)

    def write_connection(
        self,
        request: FetchRequest,
        base: Base | None,
        folder: Path,
        label: str,
        client: TrackstarClient,
    ) -> WriteResult:
        """Fetch one of several connections, and write its parts to the folder of the snapshot."""
        with self.fetch(request, client, base) as orders:
            return orders.write(folder, label)


@dataclass
class _SpillSink:
    """Stores a fetch on disk."""

    spill: Spill
    task: str
    resume: Callable[..., Snapshot] | None

    def add(self, batch: Batch, page: int) -> None:
        self.spill.add(batch, page)

    def finish(self, job: FetchJob[Any]) -> SpilledOrders:
        ranks = {key: rank for rank, key in enumerate(sorted(page.key for page in job.pages))}
        duplicates = self.spill.deduplicate(
            [ranks[page.key] for page in job.pages],
            [job.is_repeat(page.key) for page in job.pages],
            drop_repeats=job.request.limit is not None,
        )
        return SpilledOrders(self.spill, job.info(duplicates=duplicates))

    def interrupted(self, job: FetchJob[Any], fault: Exception) -> errors.IncompleteFetchError:
        return interrupted(
            fault,
            f"the {self.task} failed after {job.extent()}; .resume(), or the same call, continues "
            f"from those that are on disk",
            frames=None,
            pages=len(job.pages),
            resume=self.resume,
        )


@dataclass
class MultiExport:
    """One export or sync of several connections.

    `bases` are the orders that earlier snapshots have, by connection: a sync continues from them, a
    connection that fails keeps them, and those of one not among `connections` are kept unchanged.
    """

    exporter: Exporter
    request: FetchRequest
    connections: Connections
    bases: Mapping[str, Base]
    dask_client: Any = None
    results: dict[str, WriteResult] = field(default_factory=dict, init=False)
    failures: dict[str, errors.TrackstarError] = field(default_factory=dict, init=False)

    def run(self) -> Snapshot:
        """Write a snapshot of the connections that are complete; raise if one is missing."""
        with new_snapshot(self.exporter.root) as new:
            snapshot = new.commit(self._write(new.folder))
        if self.failures:
            raise self._incomplete(snapshot)
        return snapshot

    def _write(self, folder: Path) -> WriteResult:
        self.results, self.failures = {}, {}
        if self.dask_client is None:
            export = partial(self._export, folder)
            self.failures = run_each(self.connections, self.request, export)
        else:
            self._export_on_workers(folder)
        if not self.results:
            raise self._incomplete(None)
        others = self.bases.keys() - self.results.keys()
        results = self.results | {each: self.bases[each].share(folder) for each in others}
        parts = [part for result in results.values() for part in result.parts]
        return WriteResult(parts, self._info(results))

    def _export(
        self, folder: Path, label: str, client: TrackstarClient, request: FetchRequest
    ) -> int:
        self.results[label] = self._task(folder, label, request)(client)
        return self.results[label].orders

    def _export_on_workers(self, folder: Path) -> None:
        from trackstar_frames.distributed import run_on_workers  # noqa: PLC0415  (an extra, slow)

        request = replace(self.request, progress=False)
        tasks = {label: self._task(folder, label, request) for label in self.connections}
        with Progress(shown=self.request.progress) as bar:
            self.results, self.failures = run_on_workers(
                self.dask_client, self.connections, tasks, bar
            )
        _check_written(folder, self.results)

    def _task(
        self, folder: Path, label: str, request: FetchRequest
    ) -> Callable[[TrackstarClient], WriteResult]:
        """Return a function that writes one connection; it can be sent to a worker."""
        base = self.bases.get(label)
        return partial(self.exporter.write_connection, request, base, folder, label)

    def _info(self, results: Mapping[str, WriteResult]) -> FetchInfo:
        info = join_infos(
            {label: results[label].info for label in sorted(results)},
            requested=self.results,
            failed={label: _describe(error) for label, error in self.failures.items()},
        )
        syncs = [each.info.sync for each in self.results.values() if each.info.sync is not None]
        if not syncs:
            return info
        counts = ("new", "changed", "unchanged", "gone")
        return info.replace(sync={name: sum(each[name] for each in syncs) for name in counts})

    def _incomplete(self, snapshot: Snapshot | None) -> errors.IncompleteFetchError:
        """Return an error that can be resumed; `snapshot` has the other connections."""
        done = self.results
        request = self.request.after(sum(result.orders for result in done.values()))
        missing = MultiExport(
            self.exporter,
            replace(request, refresh=False),
            {label: each for label, each in self.connections.items() if label not in done},
            bases_in(Entry.at(snapshot.path)) if snapshot else self.bases,
        )
        written = ".snapshot the others" if snapshot else "and no snapshot was written"
        return connections_failed(
            self.failures,
            f"{written}; .resume() requests those that failed again, and writes a snapshot of all",
            frames=None,
            pages=sum(result.info.pages for result in done.values()),
            again=missing.run,
            snapshot=snapshot,
        )


def _check_written(folder: Path, results: Mapping[str, WriteResult]) -> None:
    """Make sure that the workers have written to this disk, and not each to its own."""
    for label, result in results.items():
        if not all(storage.exists(folder / "orders" / part.name) for part in result.parts):
            raise errors.SnapshotError(
                f"a worker has written the orders of {label!r} to {folder.parent}, and they are "
                f"not there on this machine; choose a folder that all of them see"
            )


def _describe(error: errors.TrackstarError) -> str:
    """Describe an error without quoting the server, whose text may contain anything."""
    status = "" if error.status is None else f" ({error.status})"
    return type(error).__name__ + status
