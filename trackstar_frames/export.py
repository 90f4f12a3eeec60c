"""`export_orders`: from filters to a snapshot, however many orders there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeAlias, Unpack

from trackstar_frames._text import counted
from trackstar_frames.client import TrackstarClient
from trackstar_frames.connections import Connections, Source, check_connections
from trackstar_frames.errors import (
    IncompleteFetchError,
    SettingsError,
    SnapshotError,
    TrackstarError,
)
from trackstar_frames.fetch import (
    FetchJob,
    Outcomes,
    ask_each,
    broken,
    incomplete,
    named_only,
    refuse,
)
from trackstar_frames.filter_types import OrderFilters
from trackstar_frames.flatten import Batch
from trackstar_frames.pagination.pages import MAX_PAGE
from trackstar_frames.progress import Progress
from trackstar_frames.request import FetchRequest
from trackstar_frames.snapshots import parquet
from trackstar_frames.snapshots.manifest import disk_faults
from trackstar_frames.snapshots.parquet import Writer, WriteResult, read_manifest, write_file
from trackstar_frames.snapshots.snapshot import Place, Snapshot, T, place_one, place_snapshot
from trackstar_frames.snapshots.spill import Spill
from trackstar_frames.snapshots.upsert import Base, bases_of
from trackstar_frames.storage.local import partial_folder
from trackstar_frames.tables.assemble import assemble
from trackstar_frames.tables.connections import join_infos

__all__ = [
    "Again",
    "Job",
    "MultiExport",
    "SpilledFetch",
    "Work",
    "check_dask_client",
    "export",
    "export_orders",
    "spilling",
]


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
    """Fetch orders straight to one more snapshot: complete, or an error.

    Memory does not grow with the orders: they wait on disk, in a hidden folder under `root`
    (about 0.5 kB each), until all are there. The server is always asked; but if the same
    export broke or was killed, and the client has a cache, the pages that are on disk from
    it are not asked for again (unless `refresh`, or with `pii`, which keeps none on disk).

    Parameters
    ----------
    root
        The folder of all snapshots; made if it is missing.
    client
        Whom to ask, as for `fetch_orders_df`.
    connections
        Several in one call, as for `fetch_orders_df`: eight at a time, each at its own rate.
        They write one snapshot, whose every part is of one of them.
    dask_client
        A `distributed.Client`: its workers write the shares of `connections`, each token used by
        one worker at a time. All of them must see `root` at the same path. A token is named by
        a variable of the workers' environment, or by a function that they can import; key, base
        URL and cache are those of the workers. A share whose worker is lost is written anew by
        another. Without `limit`.
    page_size, limit, max_workers
        As for `fetch_orders_df`.
    refresh
        Begin anew, though an export that broke could be resumed.
    offline, verify, progress, pii, extra_params, **filters
        As for `fetch_orders_df`.

    Returns
    -------
    Snapshot
        Whole; what the same call to `fetch_orders` would have given, with the same `info`; of
        several connections, ``info["connections"]`` tells of each.

    Raises
    ------
    FilterError, SettingsError, CredentialsError
        Before any request, if the call cannot be meant.
    ApiError, NetworkError, ResponseError, OfflineMissError
        If the first page cannot be had.
    IncompleteFetchError
        If a later page cannot. Its `frames` is None: nothing is kept in memory; `resume`
        does the same export again. Of several connections, if any page of one cannot: the
        others are written nonetheless, to its `snapshot`, which tells what is missing; `resume`
        asks for that, and writes one more of all.
    SnapshotError
        If the disk refuses; what was there before is untouched.

    See Also
    --------
    sync_orders : Only what has changed since the last one.

    Examples
    --------
    >>> import tempfile
    >>> from trackstar_frames.sandbox import Sandbox
    >>> with Sandbox(orders=50) as sandbox, tempfile.TemporaryDirectory() as root:
    ...     snapshot = export_orders(root, client=sandbox.client(cache=False))
    ...     len(snapshot.read().orders)
    50
    """
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
    check_dask_client(dask_client, connections, limit)
    folder = parquet.locate(root)
    if connections is not None:
        named = check_connections(connections)
        return MultiExport(folder, question, named, partial(_share, folder), {}).run(
            dask_client=dask_client
        )
    with TrackstarClient() if client is None else nullcontext(client) as chosen:
        return _export(folder, question, chosen)


def export(job: Job[T], *, begins: Mapping[str, Any] | None = None) -> T:
    """Do what `export_orders` does, of one connection, once the call is checked.

    Parameters
    ----------
    job
        Whom to ask what.
    begins
        What the snapshot tells of the sync that it begins, but for its counts.
    """
    with spilling(job, "export") as (reading, spill):
        info = reading.info(duplicates=reading.settle())
        if begins is not None:
            counts = {"new": spill.orders, "changed": 0, "unchanged": 0, "gone": 0}
            info["sync"] = {**begins, "full_at": info["began"], **counts}
        return job.place(info, partial(_fill, spill))


def _export(root: Path, question: FetchRequest, client: TrackstarClient) -> Snapshot:
    again = Again(partial(_export, root, replace(question, refresh=False)), client)
    return export(Job(root, question, again, partial(place_one, root)))


def _share(
    root: Path,
    question: FetchRequest,
    _: Base | None,
    place: Place[WriteResult],
    client: TrackstarClient,
) -> WriteResult:
    return export(Job(root, question, Again.together(client), place))


def _fill(spill: Spill, writer: Writer) -> dict[str, Any]:
    for batches, kept in spill.between(spill.firsts(parquet.PART)):
        writer.add(assemble(batches, kept)[0])
    return {}


#: Writes one connection's share: what is asked, over what base, where to, and by whom.
Work: TypeAlias = Callable[
    [FetchRequest, Base | None, Place[WriteResult], TrackstarClient], WriteResult
]

_ORDERS = attrgetter("orders")
_COUNTS = ("new", "changed", "unchanged", "gone")


def check_dask_client(
    dask_client: Any, connections: Mapping[str, Source] | None, limit: int | None = None
) -> None:
    """Check what a user passes as `dask_client`.

    Raises
    ------
    SettingsError
        If it is no client of a cluster, or there is nothing to spread over its workers.
    """
    if dask_client is None:
        return
    if not (hasattr(dask_client, "submit") and hasattr(dask_client, "scheduler_info")):
        raise SettingsError(
            f"dask_client is a {type(dask_client).__name__}; pass a distributed.Client, or None"
        )
    if dask_client.asynchronous:
        raise SettingsError("dask_client is an asynchronous client; pass one that is not")
    if connections is None:
        raise SettingsError(
            "dask_client=... spreads several connections over its workers; pass connections=..."
        )
    if limit is not None:
        raise SettingsError(
            "limit=... asks one connection after the other, which needs no cluster; leave one out"
        )


class MultiExport:
    """One export or sync of several connections; can be run again for those that failed.

    Parameters
    ----------
    root
        The folder of all snapshots.
    question
        What is asked of each.
    connections
        A label for each, and where its token comes from; checked.
    work
        Writes a share; can be pickled.
    bases
        What snapshots have of connections already. A share may go on from it, one that fails
        keeps it, and what nobody was asked for is taken over as it is.
    """

    def __init__(
        self,
        root: Path,
        question: FetchRequest,
        connections: Mapping[str, Source],
        work: Work,
        bases: Mapping[str, Base],
    ) -> None:
        self._root = root
        self._question = question
        self._connections = connections
        self._work = work
        self._bases = bases
        self._answers: Outcomes[WriteResult] = Outcomes({}, {})

    def __reduce__(self) -> tuple[Any, ...]:
        named = named_only(self._connections)
        return MultiExport, (self._root, self._question, named, self._work, self._bases)

    def run(self, client: TrackstarClient | None = None, *, dask_client: Any = None) -> Snapshot:
        """Write a snapshot of all that is whole, and raise if that is not everything.

        Raises
        ------
        IncompleteFetchError
            If a connection failed; with the snapshot of the others, if there is one.
        """
        refuse(client, self._connections)
        snapshot = place_snapshot(self._root, partial(self._write, dask_client))
        if self._answers.failures:
            raise self._incomplete(snapshot)
        return snapshot

    def _write(self, dask_client: Any, folder: Path) -> WriteResult:
        answers = self._answers = self._ask(dask_client, folder)
        if not answers.done:
            raise self._incomplete(None)
        others = self._bases.keys() - answers.done.keys()
        shares = answers.done | {label: self._bases[label].take_over(folder) for label in others}
        infos = {label: shares[label].info for label in sorted(shares)}
        failed = {label: _describe(error) for label, error in answers.failures.items()}
        info = join_infos(infos, asked=answers.done, failed=failed)
        if syncs := [share.info["sync"] for share in answers.done.values() if "sync" in share.info]:
            info["sync"] = {name: sum(each[name] for each in syncs) for name in _COUNTS}
        return WriteResult([part for share in shares.values() for part in share.parts], info)

    def _ask(self, dask_client: Any, folder: Path) -> Outcomes[WriteResult]:
        if dask_client is None:
            return ask_each(
                self._connections, self._question, partial(self._share, folder), _ORDERS
            )
        from trackstar_frames.distributed import ask_workers  # noqa: PLC0415  (an extra, and slow)

        calm = replace(self._question, progress=False)
        works = {label: self._task(folder, label, calm) for label in self._connections}
        with Progress(shown=self._question.progress) as bar:
            answers = ask_workers(dask_client, self._connections, works, bar)
        _check_there(folder, answers.done)
        return answers

    def _share(
        self, folder: Path, label: str, client: TrackstarClient, question: FetchRequest
    ) -> WriteResult:
        return self._task(folder, label, question)(client)

    def _task(
        self, folder: Path, label: str, question: FetchRequest
    ) -> Callable[[TrackstarClient], WriteResult]:
        place = partial(write_file, folder, connection=label)
        return partial(self._work, question, self._bases.get(label), place)

    def _incomplete(self, snapshot: Snapshot | None) -> IncompleteFetchError:
        """Tell what failed, and how to go on: over what the snapshot has of the others."""
        done, failures = self._answers
        bases = bases_of(snapshot.path, read_manifest(snapshot.path)) if snapshot else self._bases
        left = self._question.after(sum(share.orders for share in done.values()))
        again = MultiExport(
            self._root,
            replace(left, refresh=False),
            {label: each for label, each in self._connections.items() if label not in done},
            self._work,
            bases,
        )
        rest = ".snapshot the others" if snapshot else "and no snapshot was written"
        return incomplete(
            failures,
            f"{rest}; .resume() asks those that failed again, and writes a snapshot of all",
            frames=None,
            pages=sum(share.info["pages"] for share in done.values()),
            resume=again.run,
            snapshot=snapshot,
        )


def _check_there(folder: Path, shares: Mapping[str, WriteResult]) -> None:
    """Make sure that the workers have written to this disk, and not each to its own."""
    for label, share in shares.items():
        if not all((folder / "orders" / each.name).exists() for each in share.parts):
            raise SnapshotError(
                f"a worker has written the share of {label!r} to {folder.parent}, and it is not "
                f"there on this machine; choose a folder that all of them see"
            )


def _describe(error: TrackstarError) -> str:
    """Say on disk what an error was, without the words of a server: those may hold anything."""
    status = "" if error.status is None else f" ({error.status})"
    return type(error).__name__ + status


@dataclass(frozen=True)
class Job(Generic[T]):
    """What is asked of one connection, and what is to become of it.

    Attributes
    ----------
    root : pathlib.Path
        The folder of all snapshots.
    question : Question
        What is asked.
    again : Again
        Whom; does the whole work again, where it broke.
    place : callable
        Has the parts written.
    """

    root: Path
    question: FetchRequest
    again: Again
    place: Place[T]

    @property
    def client(self) -> TrackstarClient:
        """Whom to ask."""
        return self.again.client_or_raise()


@contextmanager
def spilling(job: Job[Any], work: str) -> Iterator[tuple[SpilledFetch, Spill]]:
    """Read what a question asks to a hidden folder under its root, which is gone afterwards.

    What the client's cache has of the same work, if that broke or was killed, is not asked
    for again; once the block has ended well, it is forgotten that the work was begun.

    Parameters
    ----------
    job
        Whom to ask what.
    work
        One word for it.
    """
    root, question, session = job.root, job.question, job.client.session
    name = f"{work} {root} {question.page_size} {question.limit} {question.queries}"
    since = 0.0 if question.offline else session.mark_started(name, restart=question.refresh)
    with disk_faults(f"cannot write under {root}"), partial_folder(root / work) as folder:
        spill = Spill(folder)
        reading = SpilledFetch(question, since, spill)
        error = reading.read(job.client)
        if error is not None:
            if question.redacts:
                error.__traceback__ = None  # its frames hold the page that was read last
            if not reading.pages:
                raise error
            raise broken(
                error,
                f"the {work} broke after {counted(reading.pages, 'page')} "
                f"({counted(reading.orders, 'order')}); "
                f".resume(), or the same call, goes on from those that are on disk",
                frames=None,
                pages=reading.pages,
                resume=job.again,
            ) from error
        yield reading, spill
    if not question.offline:
        session.mark_finished(name)


class SpilledFetch(FetchJob):
    """A fetch that keeps its orders on disk."""

    def __init__(self, question: FetchRequest, since: float, spill: Spill) -> None:
        super().__init__(question, since=since)
        self._spill = spill

    def settle(self) -> int:
        """Choose which orders to keep, and tell how many were dropped as duplicates."""
        is_limited = self._question.limit is not None
        return self._spill.settle(self.ranks(), self.repeats(), leaves_out=is_limited)

    def _keep(self, batch: Batch, number: int) -> None:
        self._spill.add(super()._keep(batch, number), number)


class Again:
    """A work that can be done again, also in another process by another client.

    Parameters
    ----------
    work
        Takes a client; can be pickled.
    client
        Whom to ask; a pickle loses it.
    """

    def __init__(
        self, work: Callable[[TrackstarClient], Any], client: TrackstarClient | None = None
    ) -> None:
        self._work = work
        self.client = client

    @classmethod
    def together(cls, client: TrackstarClient) -> Again:
        """Have the work done again by whoever asked several connections, not for one alone."""
        return cls(_together, client)

    def __call__(self, client: TrackstarClient | None = None) -> Any:
        """Do it."""
        return self._work(client or self.client_or_raise())

    def client_or_raise(self) -> TrackstarClient:
        """Give the client, or say how to give one."""
        if self.client is None:
            raise SettingsError("an error that was pickled has no client; call resume(client=...)")
        return self.client

    def __reduce__(self) -> tuple[Any, ...]:
        return Again, (self._work,)


def _together(_: TrackstarClient) -> NoReturn:
    raise SettingsError("this is one of several connections; resume the error of all of them")
