"""`sync_orders`: request only what has changed, and write a snapshot of all orders."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from trackstar_frames import storage
from trackstar_frames._text import counted
from trackstar_frames.client import Connections, TrackstarClient
from trackstar_frames.dates import api_time, duration
from trackstar_frames.errors import FilterError, TrackstarError
from trackstar_frames.export import Exporter, SpilledOrders, check_dask_client
from trackstar_frames.filter_types import OrderFilters
from trackstar_frames.filters import parse_name
from trackstar_frames.pagination.pages import MAX_PAGE
from trackstar_frames.request import FetchRequest
from trackstar_frames.snapshots import upsert
from trackstar_frames.snapshots.snapshot import Snapshot
from trackstar_frames.snapshots.upsert import CREATED, TRACKSTAR_UPDATED, UPDATED, Base, Upsert
from trackstar_frames.snapshots.writer import PartWriter, WriteResult

#: Fields that an order keeps for life, so that it never stops matching the filters.
CONSTANT_FIELDS = ("created_date", "warehouse_customer_id", "type", "order_number", "reference_id")

_UNPROCESSABLE = 422

#: Before all stamps but those that stand for none.
_EARLIEST = "1970-01-01T00:00:00Z"


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
    """Fetch the orders that changed since the last sync, and write a snapshot of all orders.

    The first call is an export. Each later one continues from the newest snapshot under `root` with
    the same connection and the same filters, whether an export, a fetch or a sync wrote it: it
    requests what has changed since that snapshot was started, replaces orders by `id`, with all
    line items, shipments and packages, and writes a new snapshot. Unchanged parts are shared with
    the earlier one, not written again.

    Changes are found by ``trackstar_updated_date``, which is current even if an order arrives late
    with an old stamp of its source; by ``updated_date``, as an order may have only that one; and by
    ``created_date``, as a new order may have neither. If nothing has changed, this is one request
    each. A stamp that the server cannot filter by is left out. If orders could then be missed, or
    some in the snapshot have neither update stamp, or it has no orders, all orders are requested. A
    change that no stamp shows is found the next time that all are requested, see `full_every`: an
    existing order changes without a new stamp, loses its stamps, or gets one in the past.

    No clock has to be right: a sync continues from the newest stamp that the server sent, except
    stamps later than the start of the last fetch, and one that only a single order has.

    Parameters
    ----------
    root
        The folder of all snapshots; created if it is missing.
    overlap
        How far to look back before the last sync: seconds, a timedelta or text as pandas reads it.
        Trackstar's copy is hourly, so it should be longer than an hour; if only ``updated_date`` is
        known, an order that arrives later than this is missed.
    full_every
        Request all orders if they were last requested so long ago (seconds, a timedelta or text as
        pandas reads it, such as ``"7D"``), and remove deleted ones. None: only if it is necessary,
        and orders that were deleted at the source stay.
    client
        Client to use; by default one with the credentials of the environment.
    connections
        Several connections instead of `client`: for each label, the environment variable that holds
        its token, or a function that returns it; other options come from the environment. Each
        token has its own rate limit; eight connections are fetched at a time. They write one
        snapshot, each part of it from one connection. Each continues from the newest snapshot of
        several connections that has it; a new one is fetched whole, and one that is no longer named
        is left out.
    dask_client
        A `distributed.Client`: its workers write the parts of the `connections`, each token used by
        one worker at a time. Every worker must see `root` at the same path, and have the
        environment variables of the tokens or be able to import their functions; other options come
        from its environment. Another worker rewrites the parts of a lost one.
    page_size
        Orders per request, 1 to 1000.
    max_workers
        How many chains of pages to read in parallel, 1 to 32, under one rate limit. If the filters
        bound ``created_date``, the time is divided into windows, each a chain of its own; this
        number does not change them.
    refresh
        Start over, even if an interrupted sync could be resumed.
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
        Responses are cached on disk only with ``"keep"``. It must be the same on every call.
    extra_params
        Query parameters that are not filters; they must be the same on every call.
    **filters
        ``field=value``, ``field__operator=value``, or ``**{"field[operator]": value}``; the same on
        every call. Only on what never changes: created_date, warehouse_customer_id, type,
        order_number, reference_id. Operators as for `fetch_orders_df`. Changed filters, such as a
        moving window, need another root.

    Returns
    -------
    Snapshot
        All orders. ``info.sync`` describes the sync: by which stamps changes were requested (none:
        all orders were, and `full` says why), since when, from which snapshot (`base`), when all
        orders were last requested (`full_at`), how many of the orders that the server sent were
        `new`, `changed` and `unchanged`, and how many are `gone`; ``info.requests`` counts the
        requests. With several connections, ``info.connections`` has that of each. Without
        `full_every`, orders deleted at the source stay; an export leaves them out.

    Raises
    ------
    FilterError
        Before any request, for a filter on a field that may change.
    SnapshotError
        If the snapshots under `root` are of other filters, or are damaged, or the disk fails;
        earlier snapshots are not changed.
    TrackstarError
        As `export_orders`; earlier snapshots are not changed, and the same call continues. With
        several connections, those that fail keep their earlier orders in the snapshot.

    Examples
    --------
    >>> import tempfile
    >>> from trackstar_frames.sandbox import Sandbox
    >>> with Sandbox(orders=50) as sandbox, tempfile.TemporaryDirectory() as root:
    ...     client = sandbox.client()
    ...     first = sync_orders(root, client=client)
    ...     second = sync_orders(root, client=client)
    >>> first.info.sync["new"], second.info.sync["new"], second.info.sync["changed"]
    (50, 0, 0)
    """
    for name in filters:
        field, _ = parse_name(name)
        if field not in CONSTANT_FIELDS:
            raise FilterError(
                f"{name} cannot be kept in sync: an order's {field} may change, and then the order "
                f"would be missing or stale; sync by {', '.join(CONSTANT_FIELDS)}, and filter the "
                f"frame"
            )
    request = FetchRequest.of(
        filters,
        client=client,
        connections=connections,
        page_size=page_size,
        max_workers=max_workers,
        refresh=refresh,
        offline=offline,
        verify=verify,
        progress=progress,
        pii=pii,
        extra_params=extra_params,
    )
    back = _timedelta("overlap", overlap)
    interval = None if full_every is None else _timedelta("full_every", full_every)
    check_dask_client(dask_client, connections)
    exporter = _SyncExporter(storage.locate(root), back, interval)
    return exporter.run(request, client, connections, dask_client)


def _timedelta(name: str, value: object) -> timedelta:
    return duration(name, value, allow_seconds=True).to_pytimedelta()


@dataclass(frozen=True)
class _SyncExporter(Exporter):
    """Fetches what has changed since a snapshot, or all orders if that is not enough."""

    overlap: timedelta
    full_every: timedelta | None

    def find_base(self, request: FetchRequest, client: TrackstarClient) -> Base | None:
        """Return the newest snapshot of the same connection and request."""
        return upsert.find_base(self.root, request, client)

    def find_bases(self, request: FetchRequest, connections: Connections) -> dict[str, Base]:
        """Return the base of each connection in the newest snapshots of several connections."""
        return upsert.find_bases(self.root, request, connections)

    @contextmanager
    def fetch(
        self,
        request: FetchRequest,
        client: TrackstarClient,
        base: Base | None = None,
        *,
        resume: Callable[..., Snapshot] | None = None,
    ) -> Iterator[SpilledOrders]:
        """Fetch changes to disk, by the first choice of stamps that the server supports."""
        if base is None:
            with super().fetch(request, client, resume=resume) as orders:
                sync = {
                    **self._metadata(_Plan({}, "it is the first of these orders"), None, orders),
                    "new": orders.spill.orders,
                    **dict.fromkeys(("changed", "unchanged", "gone"), 0),
                }
                yield replace(orders, info=orders.info.replace(sync=sync))
            return
        with ExitStack() as contexts:
            for plan in self._plans(base):
                fetching = self._fetch_changes(request, client, base, plan, resume)
                try:
                    changed = contexts.enter_context(fetching)
                    break
                except TrackstarError as error:
                    if plan.full or error.status != _UNPROCESSABLE:
                        raise
            yield changed

    def _plans(self, base: Base) -> Iterator[_Plan]:
        """Return by which stamps to request changes, the best first; at last, all orders."""
        now = datetime.fromtimestamp(time.time(), UTC)
        if reason := self._full_is_due(base, now):
            yield _Plan({}, reason)
            return
        stamps = base.stamps(now)
        if stamps.lacking:
            orders = counted(stamps.lacking, "order")
            yield _Plan({}, f"{orders} had neither {TRACKSTAR_UPDATED} nor {UPDATED}")
            return
        # All orders must have a stamp that is requested, or their changes would be missed.
        single = [(each,) for each in (UPDATED, TRACKSTAR_UPDATED) if not stamps.missing[each]]
        for choice in [(TRACKSTAR_UPDATED, UPDATED), *single]:
            yield _Plan({each: self._lower_bound(stamps, each) for each in (*choice, CREATED)})
        yield _Plan({}, "changes cannot be requested by stamps that all orders have")

    def _full_is_due(self, base: Base, now: datetime) -> str | None:
        """Return why all orders must be requested, whatever stamps they have, if they must."""
        if not base.orders:
            return "there were no orders"
        if self.full_every is None:
            return None
        if base.full_at is None or base.full_at > now:
            return "it is not known when all orders were last requested"
        if now - base.full_at >= self.full_every:
            return f"all orders were last requested at {base.full_at.isoformat()}"
        return None

    def _lower_bound(self, stamps: upsert.Stamps, stamp: str) -> datetime | None:
        """Return since when to request changes; None of a stamp that no order was seen with."""
        if stamp not in stamps.until:
            return None
        # Some systems write the earliest possible moment if they have none.
        first = datetime.min.replace(tzinfo=UTC)
        length = stamps.until[stamp] - first - self.overlap
        return first + max(length, timedelta(0))

    @contextmanager
    def _fetch_changes(
        self,
        request: FetchRequest,
        client: TrackstarClient,
        base: Base,
        plan: _Plan,
        resume: Callable[..., Snapshot] | None,
    ) -> Iterator[_ChangedOrders]:
        listings = [
            _bounded(query, f"{stamp}[gte]", moment)
            for query in request.queries
            for stamp, moment in plan.since.items()
        ]
        changes = replace(request, listings=listings or request.queries)
        task = f"sync of {base.name}"
        with self.fetch_to_disk(task, changes, client, resume) as orders:
            removes = plan.full is not None and self.full_every is not None
            several = len(plan.since) > 1
            merge = Upsert(base, orders.spill, several_listings=several, removes=removes)
            sync = self._metadata(plan, base, orders)
            yield _ChangedOrders(orders.spill, orders.info, merge, sync)

    def _metadata(self, plan: _Plan, base: Base | None, orders: SpilledOrders) -> dict[str, Any]:
        since = [moment for stamp, moment in plan.since.items() if stamp != CREATED]
        earliest = min(filter(None, since), default=None)
        full_at = base and base.full_at and base.full_at.isoformat()
        return {
            "by": list(plan.since),
            "since": earliest and earliest.isoformat(),
            "overlap": self.overlap.total_seconds(),
            "base": base and base.name,
            "full": plan.full,
            "full_at": orders.info.started_at if plan.full else full_at,
        }


class _Plan(NamedTuple):
    """What to request: changes since a moment by each stamp; without stamps, all orders."""

    since: dict[str, datetime | None]
    full: str | None = None


@dataclass(frozen=True)
class _ChangedOrders(SpilledOrders):
    """Orders that may have changed since a snapshot."""

    merge: Upsert
    sync: dict[str, Any]

    def write(self, folder: Path, connection: str | None = None) -> WriteResult:
        """Write the parts of a snapshot of all orders as they are now."""
        writer = PartWriter(folder, self.info, connection=connection)
        return writer.result(sync={**self.sync, **self.merge.write(writer)})


def _bounded(query: dict[str, str], name: str, moment: datetime | None) -> dict[str, str]:
    """Narrow a query to what is not before a moment, nor before the caller's own bound."""
    # Of a stamp that no order was seen with, all that have one now are requested.
    since = _EARLIEST if moment is None else api_time(moment)
    return query | {name: max(since, query.get(name, since))}
