"""`export_orders`: from filters to a snapshot, however many orders there are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from trackstar_frames import parquet
from trackstar_frames.client import TrackstarClient
from trackstar_frames.pages import MAX_PAGE
from trackstar_frames.question import Question
from trackstar_frames.snapshots import Place, Snapshot, T, place_one
from trackstar_frames.spill import Spill
from trackstar_frames.spilling import Again, spilling
from trackstar_frames.tables import assemble
from trackstar_frames.writer import Writer

__all__ = ["export", "export_orders"]


def export_orders(
    root: str | os.PathLike[str],
    *,
    client: TrackstarClient | None = None,
    page_size: int = MAX_PAGE,
    limit: int | None = None,
    workers: int = 8,
    refresh: bool = False,
    offline: bool = False,
    progress: bool | None = None,
    pii: str = "keep",
    extra_params: Mapping[str, Any] | None = None,
    **filters: Any,
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
    client, page_size, limit, workers, offline, progress, pii, extra_params, **filters
        As for `fetch_orders_df`.
    refresh
        Begin anew, though an export that broke could be resumed.

    Returns
    -------
    Snapshot
        Whole; what the same call to `fetch_orders` would have given, with the same `info`.

    Raises
    ------
    FilterError, SettingsError, CredentialsError
        Before any request, if the call cannot be meant.
    ApiError, NetworkError, ResponseError, OfflineMissError
        If the first page cannot be had.
    IncompleteFetchError
        If a later page cannot. Its `frames` is None: nothing is kept in memory; `resume`
        does the same export again.
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
        page_size=page_size,
        limit=limit,
        workers=workers,
        refresh=refresh,
        offline=offline,
        progress=progress,
        pii=pii,
        extra_params=extra_params,
    )
    with TrackstarClient() if client is None else nullcontext(client) as chosen:
        folder = parquet.locate(root)
        return export(folder, question, chosen, partial(place_one, folder))


def export(
    root: Path,
    question: Question,
    client: TrackstarClient,
    place: Place[T],
    *,
    begins: Mapping[str, Any] | None = None,
) -> T:
    """Do what `export_orders` does, once the call is checked.

    Parameters
    ----------
    root, question, client
        The same, checked.
    place
        Has the parts written; can be pickled.
    begins
        What the snapshot tells of the sync that it begins, but for its counts.
    """
    again = Again(partial(_again, root, question, place, begins), client)
    with spilling(root, "export", question, again) as (reading, spill):
        info = reading.info(duplicates=spill.settle(reading.ranks()))
        if begins is not None:
            info["sync"] = {**begins, "new": spill.orders, "changed": 0, "unchanged": 0}
        return place(info, partial(_fill, spill))


def _again(
    root: Path,
    question: Question,
    place: Place[T],
    begins: Mapping[str, Any] | None,
    client: TrackstarClient,
) -> T:
    return export(root, replace(question, refresh=False), client, place, begins=begins)


def _fill(spill: Spill, writer: Writer) -> dict[str, Any]:
    for batches, kept in spill.between(spill.firsts(parquet.PART)):
        writer.add(assemble(batches, kept)[0])
    return {}
