"""`sync_orders`: ask only for what has changed, and write the whole as it is now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from trackstar_frames.calls.bases import Base, find_base, find_bases
from trackstar_frames.calls.connections import Connections, Source, check_connections
from trackstar_frames.calls.question import Question
from trackstar_frames.calls.spilling import Again, Job, spilling
from trackstar_frames.calls.upsert import Upsert
from trackstar_frames.client import TrackstarClient, identify
from trackstar_frames.disk import parquet
from trackstar_frames.disk.writer import Written
from trackstar_frames.errors import FilterError, TrackstarError
from trackstar_frames.export import export
from trackstar_frames.filters import split
from trackstar_frames.listing.pages import MAX_PAGE
from trackstar_frames.moments import duration
from trackstar_frames.shares import Shares, check_cluster
from trackstar_frames.snapshots import Place, Snapshot, T, place_one
from trackstar_frames.typed import OrderFilters

__all__ = ["sync_orders"]

#: What an order keeps for life, so that an order never leaves the question.
LASTING = ("created_date", "warehouse_customer_id", "type", "order_number", "reference_id")

_OURS, _THEIRS = "trackstar_updated_date", "updated_date"
_INVALID = 422


def sync_orders(
    root: str | os.PathLike[str],
    *,
    overlap: str | float | timedelta = "2h",
    client: TrackstarClient | None = None,
    connections: Connections | None = None,
    cluster: Any = None,
    page_size: int = MAX_PAGE,
    workers: int = 8,
    refresh: bool = False,
    offline: bool = False,
    verify: bool = False,
    progress: bool | None = None,
    pii: str = "keep",
    extra_params: Mapping[str, Any] | None = None,
    **filters: Unpack[OrderFilters],
) -> Snapshot:
    """Ask for the orders that changed since the last sync, and write the whole as it is now.

    The first call is an export. Each later one goes on from the newest snapshot under `root`
    that has the same connection and the same question, whether an export, a fetch or a sync
    has made it: it asks for what has changed since that one was begun, puts it in the place
    of what was there by `id`, with all line items, shipments and packages, and writes one
    more snapshot. Parts without a change are shared with the earlier one, not written again.

    What has changed is told by ``trackstar_updated_date`` where all orders have it and the
    server can be asked for it, so that an order that arrives late, with an old stamp of its
    source, is not missed. Else ``updated_date`` is taken as well or instead; where some
    orders have neither, all orders are asked for. The first order that comes with neither, where
    all others have one, is seen by the next export.

    Parameters
    ----------
    root
        The folder of all snapshots; made if it is missing.
    overlap
        How far to look back beyond the last sync: seconds, a timedelta or text as pandas
        reads it. Trackstar's copy is hourly, so it should be longer than an hour; where only
        ``updated_date`` is known, an order that arrives later than that is missed.
    client
        Whom to ask, as for `export_orders`.
    connections, cluster
        As for `export_orders`. Each connection goes on from the newest snapshot of several that
        has it; one that is new is loaded whole, and one that is not named any more is not in
        the new snapshot.
    page_size, workers
        As for `export_orders`.
    refresh
        Begin anew, though a sync that broke could be resumed.
    offline, verify, progress, pii, extra_params
        As for `export_orders`; `pii` and `extra_params` the same on every call.
    **filters
        Only on what never changes: created_date, warehouse_customer_id, type, order_number,
        reference_id; the same on every call. A window that moves is another question.

    Returns
    -------
    Snapshot
        The whole. ``info["sync"]`` tells what was done: by which stamps, since when, from
        which snapshot (`base`), and how many of the orders that the server gave were `new`,
        `changed` and `unchanged`; ``info["requests"]`` how many requests that took. Of several
        connections, ``info["connections"]`` tells that of each. Orders deleted at the source
        stay; an export shows them gone.

    Raises
    ------
    FilterError
        Before any request, for a filter on what may change.
    SnapshotError
        If the snapshots under `root` answer another question, or are damaged, or the disk
        refuses; what was there before is untouched.
    TrackstarError
        Whatever `export_orders` raises; nothing has moved then, and the same call goes on. Of
        several connections, those that fail stay in the snapshot as they were before.

    Examples
    --------
    >>> import tempfile
    >>> from trackstar_frames.sandbox import Sandbox
    >>> with Sandbox(orders=50) as sandbox, tempfile.TemporaryDirectory() as root:
    ...     client = sandbox.client()
    ...     first = sync_orders(root, client=client)
    ...     again = sync_orders(root, client=client)
    >>> first.info["sync"]["new"], again.info["sync"]["new"], again.info["sync"]["changed"]
    (50, 0, 0)
    """
    for name in filters:
        _check_filter(name)
    question = Question.of(
        filters,
        client=client,
        connections=connections,
        page_size=page_size,
        limit=None,
        workers=workers,
        refresh=refresh,
        offline=offline,
        verify=verify,
        progress=progress,
        pii=pii,
        extra_params=extra_params,
    )
    seconds = duration("overlap", overlap)
    check_cluster(cluster, connections)
    folder = parquet.locate(root)
    if connections is not None:
        return _sync_several(folder, question, seconds, check_connections(connections), cluster)
    with TrackstarClient() if client is None else nullcontext(client) as chosen:
        return _sync(folder, question, seconds, chosen)


def _check_filter(name: str) -> None:
    field, _ = split(name)
    if field not in LASTING:
        raise FilterError(
            f"{name} cannot be kept in sync: an order's {field} may change, and then the order "
            f"would be missing or stale; sync by {', '.join(LASTING)}, and filter the frame"
        )


def _sync(root: Path, question: Question, overlap: float, client: TrackstarClient) -> Snapshot:
    identity = client.identify(question.told["question"])
    base = find_base(root, question, client.connection, identity)
    again = Again(partial(_sync, root, replace(question, refresh=False), overlap), client)
    return _sync_one(Job(root, question, again, partial(place_one, root)), overlap, base)


def _sync_several(
    root: Path,
    question: Question,
    overlap: float,
    connections: dict[str, Source],
    cluster: Any,
) -> Snapshot:
    asked = question.told["question"]
    bases = find_bases(root, question, {label: identify(label, asked) for label in connections})
    work = partial(_share, root, overlap=overlap)
    return Shares(root, question, connections, work, bases).run(cluster=cluster)


def _share(
    root: Path,
    question: Question,
    base: Base | None,
    place: Place[Written],
    client: TrackstarClient,
    *,
    overlap: float,
) -> Written:
    return _sync_one(Job(root, question, Again.together(client), place), overlap, base)


def _sync_one(job: Job[T], overlap: float, base: Base | None) -> T:
    """Do what `sync_orders` does, of one connection, once the call is checked."""
    if base is None:
        return export(job, begins=_told((), None, overlap, None))
    *others, last = _ways(base)
    for stamps in others:
        try:
            return _go_on(job, overlap, base, stamps)
        except TrackstarError as error:
            if error.status != _INVALID:
                raise
    return _go_on(job, overlap, base, last)


def _go_on(job: Job[T], overlap: float, base: Base, stamps: tuple[str, ...]) -> T:
    """Ask for what has changed by some stamps (by none, for all), and write the whole."""
    since = {stamp: _before(base.watermark(stamp), overlap) for stamp in stamps}
    queries = [
        query | {f"{stamp}[gte]": _write(moment)}
        for query in job.question.queries
        for stamp, moment in since.items()
    ]
    changes = replace(job.question, queries=queries or job.question.queries)
    with spilling(replace(job, question=changes), f"sync of {base.name}") as (reading, spill):
        info = reading.info(duplicates=spill.settle(reading.ranks(), reading.repeats()))
        told = _told(stamps, min(since.values(), default=None), overlap, base.name)
        return job.place(info, Upsert(base, spill, told).fill)


def _before(moment: datetime, seconds: float) -> datetime:
    """Go back, as far as there are dates: some systems put the first one where they have none."""
    first = datetime.min.replace(tzinfo=UTC)
    return first + max(moment - first - timedelta(seconds=seconds), timedelta(0))


def _write(moment: datetime) -> str:
    # Not by strftime, which writes the year 1 as "1".
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _told(
    stamps: tuple[str, ...], since: datetime | None, overlap: float, base: str | None
) -> dict[str, Any]:
    return {
        "by": list(stamps),
        "since": since and since.isoformat(),
        "overlap": overlap,
        "base": base,
    }


def _ways(base: Base) -> list[tuple[str, ...]]:
    """List by which stamps to ask, the best first; the server may not know the first one."""
    if not base.orders:
        return [(_OURS,), (_THEIRS,)]
    ours, theirs = base.missing(_OURS), base.missing(_THEIRS)
    fallback = () if theirs else (_THEIRS,)
    if not ours:
        return [(_OURS,), fallback]
    if ours < base.orders and fallback:
        return [(_OURS, _THEIRS), fallback]
    return [fallback]
