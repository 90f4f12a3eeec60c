"""`sync_orders`: ask only for what has changed, and write the whole as it is now."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from trackstar_frames._text import counted
from trackstar_frames.client import TrackstarClient, identify
from trackstar_frames.connections import Connections, Source, check_connections
from trackstar_frames.dates import api_time, duration
from trackstar_frames.errors import FilterError, TrackstarError
from trackstar_frames.export import Again, Job, MultiExport, check_dask_client, export, spilling
from trackstar_frames.filter_types import OrderFilters
from trackstar_frames.filters import parse_name
from trackstar_frames.pagination.pages import MAX_PAGE
from trackstar_frames.request import FetchRequest
from trackstar_frames.snapshots import parquet
from trackstar_frames.snapshots.parquet import WriteResult
from trackstar_frames.snapshots.snapshot import Place, Snapshot, T, place_one
from trackstar_frames.snapshots.upsert import (
    CREATED,
    OURS,
    THEIRS,
    Base,
    Stamps,
    Upsert,
    find_base,
    find_bases,
)

__all__ = ["sync_orders"]


#: What an order keeps for life, so that an order never leaves the question.
LASTING = ("created_date", "warehouse_customer_id", "type", "order_number", "reference_id")

_INVALID = 422

#: Before all stamps but those that stand for none.
_ALL = "1970-01-01T00:00:00Z"


def sync_orders(
    root: str | os.PathLike[str],
    *,
    overlap: str | float | timedelta = "2h",
    full_every: str | float | timedelta | None = None,
    client: TrackstarClient | None = None,
    connections: Connections | None = None,
    dask_client: Any = None,
    page_size: int = MAX_PAGE,
    max_workers: int = 8,
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

    What has changed is told by ``trackstar_updated_date``, which an order that arrives late,
    with an old stamp of its source, has of now; by ``updated_date``, as an order may have that
    one alone; and by ``created_date``, as a new order may have neither: one request each, where
    nothing has changed. A stamp that the server cannot be asked for is left out. Where that
    would miss orders, or some of the snapshot have neither stamp of their changes, or it has no
    orders at all, all orders are asked for. What no stamp shows is seen by the next of those,
    see `full_every`: an order that was there already and changes without a new stamp, or loses
    its stamps, or gets one of the past.

    No clock has to be right: it goes on from the newest stamp that the server gave, but for
    those that are later than the last fetch began, and for that of one order alone.

    Parameters
    ----------
    root
        The folder of all snapshots; made if it is missing.
    overlap
        How far to look back beyond the last sync: seconds, a timedelta or text as pandas
        reads it. Trackstar's copy is hourly, so it should be longer than an hour; where only
        ``updated_date`` is known, an order that arrives later than that is missed.
    full_every
        Ask for all orders if they were last asked for at once so long ago, seconds, a timedelta
        or text as pandas reads it, such as ``"7D"``; and leave out those that are gone. None:
        only where it must be, and what was deleted at the source stays.
    client
        Whom to ask, as for `export_orders`.
    connections, dask_client
        As for `export_orders`. Each connection goes on from the newest snapshot of several that
        has it; one that is new is loaded whole, and one that is not named any more is not in
        the new snapshot.
    page_size, max_workers
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
        The whole. ``info["sync"]`` tells what was done: by which stamps (none: all orders were
        asked for, and `full` says why), since when, from which snapshot (`base`), when all orders
        were last asked for (`full_at`), how many of the orders that the server gave were `new`,
        `changed` and `unchanged`, and how many are `gone`; ``info["requests"]`` how many
        requests that took. Of several connections, ``info["connections"]`` tells that of each.
        Without `full_every`, orders deleted at the source stay; an export shows them gone.

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
    question = FetchRequest.of(
        filters,
        client=client,
        connections=connections,
        page_size=page_size,
        limit=None,
        max_workers=max_workers,
        refresh=refresh,
        offline=offline,
        verify=verify,
        progress=progress,
        pii=pii,
        extra_params=extra_params,
    )
    pace = _Pace(
        _seconds("overlap", overlap),
        None if full_every is None else _seconds("full_every", full_every),
    )
    check_dask_client(dask_client, connections)
    folder = parquet.locate(root)
    if connections is not None:
        return _sync_several(folder, question, pace, check_connections(connections), dask_client)
    with TrackstarClient() if client is None else nullcontext(client) as chosen:
        return _sync(folder, question, pace, chosen)


def _check_filter(name: str) -> None:
    field, _ = parse_name(name)
    if field not in LASTING:
        raise FilterError(
            f"{name} cannot be kept in sync: an order's {field} may change, and then the order "
            f"would be missing or stale; sync by {', '.join(LASTING)}, and filter the frame"
        )


class _Pace(NamedTuple):
    """How far a sync looks back, and how often it asks for everything, in seconds."""

    overlap: float
    full_every: float | None


def _sync(root: Path, question: FetchRequest, pace: _Pace, client: TrackstarClient) -> Snapshot:
    identity = client.identify(question.told["question"])
    base = find_base(root, question, client.connection, identity)
    again = Again(partial(_sync, root, replace(question, refresh=False), pace), client)
    return _sync_one(Job(root, question, again, partial(place_one, root)), pace, base)


def _sync_several(
    root: Path,
    question: FetchRequest,
    pace: _Pace,
    connections: dict[str, Source],
    dask_client: Any,
) -> Snapshot:
    asked = question.told["question"]
    bases = find_bases(root, question, {label: identify(label, asked) for label in connections})
    work = partial(_share, root, pace=pace)
    return MultiExport(root, question, connections, work, bases).run(dask_client=dask_client)


def _share(
    root: Path,
    question: FetchRequest,
    base: Base | None,
    place: Place[WriteResult],
    client: TrackstarClient,
    *,
    pace: _Pace,
) -> WriteResult:
    return _sync_one(Job(root, question, Again.together(client), place), pace, base)


def _sync_one(job: Job[T], pace: _Pace, base: Base | None) -> T:
    """Do what `sync_orders` does, of one connection, once the call is checked."""
    if base is None:
        return export(job, begins=_told({}, pace, None, "it is the first of these orders"))
    now = datetime.fromtimestamp(time.time(), UTC)
    if reason := _full_is_due(base, pace, now):
        return _go_on(job, pace, base, {}, reason)
    stamps = base.stamps(now)
    if stamps.lacking:
        return _go_on(job, pace, base, {}, _lack(stamps.lacking))
    for way in _ways(stamps):
        since = {stamp: stamps.until.get(stamp) for stamp in way}
        try:
            return _go_on(job, pace, base, since)
        except TrackstarError as error:
            if error.status != _INVALID:
                raise
    return _go_on(job, pace, base, {}, "the server cannot be asked for the stamps of all orders")


def _lack(orders: int) -> str:
    return f"{counted(orders, 'order')} had neither {OURS} nor {THEIRS}"


def _full_is_due(base: Base, pace: _Pace, now: datetime) -> str | None:
    """Say why all orders must be asked for, whatever stamps they have; None if they need not."""
    if not base.orders:
        return "there were no orders"
    if pace.full_every is None:
        return None
    if base.full_at is None or base.full_at > now:
        return "it is not known when all orders were last asked for"
    if (now - base.full_at).total_seconds() >= pace.full_every:
        return f"all orders were last asked for at {base.full_at.isoformat()}"
    return None


def _ways(stamps: Stamps) -> Iterator[tuple[str, ...]]:
    """Give by which stamps to ask, the best first; the server may refuse any of them.

    All orders must have one that is asked for, or their changes would be missed.
    """
    yield OURS, THEIRS, CREATED
    if not stamps.missing[THEIRS]:
        yield THEIRS, CREATED
    if not stamps.missing[OURS]:
        yield OURS, CREATED


def _go_on(
    job: Job[T],
    pace: _Pace,
    base: Base,
    since: dict[str, datetime | None],
    full: str | None = None,
) -> T:
    """Ask for what has changed by some stamps (by none, for all), and write the whole."""
    since = {stamp: moment and _before(moment, pace.overlap) for stamp, moment in since.items()}
    queries = [
        _bounded(query, f"{stamp}[gte]", moment)
        for query in job.question.queries
        for stamp, moment in since.items()
    ]
    changes = replace(job.question, queries=queries or job.question.queries)
    with spilling(replace(job, question=changes), f"sync of {base.name}") as (reading, spill):
        info = reading.info(duplicates=reading.settle())
        told = _told(since, pace, base, full)
        told["full_at"] = info["began"] if full else base.full_at and base.full_at.isoformat()
        removes = full is not None and pace.full_every is not None
        return job.place(info, Upsert(base, spill, told, removes=removes).fill)


def _bounded(query: dict[str, str], name: str, moment: datetime | None) -> dict[str, str]:
    """Ask for what is not before a moment, nor before what the caller asked for.

    Of a stamp that no order was seen with, all that have one now are asked for.
    """
    since = _ALL if moment is None else api_time(moment)
    return query | {name: max(since, query.get(name, since))}


def _seconds(name: str, value: object) -> float:
    return duration(name, value, allow_seconds=True).total_seconds()


def _before(moment: datetime, seconds: float) -> datetime:
    """Go back, as far as there are dates: some systems put the first one where they have none."""
    first = datetime.min.replace(tzinfo=UTC)
    return first + max(moment - first - timedelta(seconds=seconds), timedelta(0))


def _told(
    since: dict[str, datetime | None], pace: _Pace, base: Base | None, full: str | None
) -> dict[str, Any]:
    moments = [since[stamp] for stamp in (OURS, THEIRS) if stamp in since]
    earliest = min(filter(None, moments), default=None)
    return {
        "by": list(since),
        "since": earliest and earliest.isoformat(),
        "overlap": pace.overlap,
        "base": base and base.name,
        "full": full,
    }
