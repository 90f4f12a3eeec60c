"""`export_orders`: from filters to a snapshot, however many orders there are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from trackstar_frames.calls.bases import Base
from trackstar_frames.calls.connections import Connections, check_connections
from trackstar_frames.calls.question import Question
from trackstar_frames.calls.spilling import Again, Job, spilling
from trackstar_frames.client import TrackstarClient
from trackstar_frames.disk import parquet
from trackstar_frames.disk.spill import Spill
from trackstar_frames.disk.writer import Writer, Written
from trackstar_frames.listing.pages import MAX_PAGE
from trackstar_frames.shares import Shares, check_cluster
from trackstar_frames.snapshots import Place, Snapshot, T, place_one
from trackstar_frames.tables.assemble import assemble
from trackstar_frames.typed import OrderFilters

__all__ = ["export", "export_orders"]


def export_orders(
    root: str | os.PathLike[str],
    *,
    client: TrackstarClient | None = None,
    connections: Connections | None = None,
    cluster: Any = None,
    page_size: int = MAX_PAGE,
    limit: int | None = None,
    workers: int = 8,
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
    cluster
        A `distributed.Client`: its workers write the shares of `connections`, each token used by
        one worker at a time. All of them must see `root` at the same path. A token is named by
        a variable of the workers' environment, or by a function that they can import; key, base
        URL and cache are those of the workers. A share whose worker is lost is written anew by
        another. Without `limit`.
    page_size, limit, workers
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
    question = Question.of(
        filters,
        client=client,
        connections=connections,
        page_size=page_size,
        limit=limit,
        workers=workers,
        refresh=refresh,
        offline=offline,
        verify=verify,
        progress=progress,
        pii=pii,
        extra_params=extra_params,
    )
    check_cluster(cluster, connections, limit)
    folder = parquet.locate(root)
    if connections is not None:
        named = check_connections(connections)
        return Shares(folder, question, named, partial(_share, folder), {}).run(cluster=cluster)
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


def _export(root: Path, question: Question, client: TrackstarClient) -> Snapshot:
    again = Again(partial(_export, root, replace(question, refresh=False)), client)
    return export(Job(root, question, again, partial(place_one, root)))


def _share(
    root: Path,
    question: Question,
    _: Base | None,
    place: Place[Written],
    client: TrackstarClient,
) -> Written:
    return export(Job(root, question, Again.together(client), place))


def _fill(spill: Spill, writer: Writer) -> dict[str, Any]:
    for batches, kept in spill.between(spill.firsts(parquet.PART)):
        writer.add(assemble(batches, kept)[0])
    return {}
