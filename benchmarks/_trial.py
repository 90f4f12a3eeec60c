"""The model beside real exports and a sync: figures of a small one foretell a larger one."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import _server
from _capacity import Fleet, full_load, hourly_sync
from _figures import Connection, Figures

import trackstar_frames as tf

#: How far the model may be off: others may take the cores meanwhile.
FACTOR = 5

_DAYS = 180
_FEW = 3  # times fewer orders in the small export


@dataclass(frozen=True)
class Row:
    """One thing that the model foretold."""

    name: str
    model: float
    measured: float

    @property
    def ratio(self) -> float:
        """How many times as much was measured."""
        return self.measured / self.model

    @property
    def is_near(self) -> bool:
        """Whether the model is not far off."""
        return 1 / FACTOR <= self.ratio <= FACTOR


@dataclass(frozen=True)
class Done:
    """What a snapshot is, and what it took.

    Attributes
    ----------
    asked
        How many orders the server gave.
    written_bytes
        Of its files, but for those that an earlier snapshot has too.
    """

    snapshot: tf.Snapshot
    orders: int
    asked: int
    written_bytes: int
    seconds: float
    cpu_seconds: float

    @property
    def requests(self) -> int:
        """How many requests it took."""
        return int(self.snapshot.info["requests"])


def run(orders: int, figures: Figures) -> list[Row]:
    """Export some of the orders, then all; let an hour pass, and sync.

    Parameters
    ----------
    orders
        How many.
    figures
        How quick the server is, and its limit; what a machine does is measured anew.
    """
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    limit, latency = int(figures.requests_per_second), figures.answer_seconds
    with (
        tempfile.TemporaryDirectory(prefix="trackstar-benchmark-") as folder,
        _server.serve(orders, now=now, days=_DAYS, rate_limit=limit, latency=latency) as serving,
    ):
        ask = partial(_ask, serving.server, limit, Path(folder))
        recent, always = (now - timedelta(days=each) for each in (_DAYS / _FEW, 2 * _DAYS))
        ask(tf.export_orders, "rehearsal", since=recent)
        few, everything = (
            ask(tf.export_orders, name, since=since)
            for name, since in (("few", recent), ("all", always))
        )
        serving.advance(1)
        synced = ask(tf.sync_orders, "all", since=always)
    return list(_rows(everything, synced, _measured(few, figures)))


def _ask(
    server: _server.Server,
    limit: int,
    folder: Path,
    work: Callable[..., tf.Snapshot],
    root: str,
    *,
    since: datetime,
) -> Done:
    with tf.TrackstarClient(
        server.api_key,
        server.access_token,
        base_url=server.base_url,
        rate_limit=limit,
        cache_dir=folder / "cache",
    ) as client:
        start, start_cpu = time.perf_counter(), time.process_time()
        snapshot = work(folder / root, client=client, progress=False, created_date__gte=since)
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    orders = int(tf.list_snapshots(folder / root)["orders"].iloc[-1])
    told = snapshot.info.get("sync")
    asked = sum(told[each] for each in ("new", "changed", "unchanged")) if told else orders
    return Done(snapshot, orders, asked, _own_bytes(snapshot), seconds, cpu)


def _own_bytes(snapshot: tf.Snapshot) -> int:
    stats = [path.stat() for paths in snapshot.files.values() for path in paths]
    return sum(each.st_size for each in stats if each.st_nlink == 1)


def _measured(few: Done, figures: Figures) -> Figures:
    """Put what this machine did with few orders in the place of what another one did."""
    cpu = few.cpu_seconds / few.orders
    speed = cpu / figures.export_cpu_seconds
    allowed = few.requests / figures.requests_per_second
    return replace(
        figures,
        rate_share=min(1.0, allowed / few.seconds),
        export_cpu_seconds=cpu,
        sync_cpu_seconds=figures.sync_cpu_seconds * speed,
        rewrite_cpu_seconds=figures.rewrite_cpu_seconds * speed,
        parquet_bytes=few.written_bytes / few.orders,
    )


def _rows(everything: Done, synced: Done, figures: Figures) -> Iterator[Row]:
    connection = Connection(everything.orders, synced.asked / everything.orders, overlap_hours=0)
    fleet = Fleet("this machine", cores=os.cpu_count() or 1, at_once=1)
    snapshot_bytes = everything.orders * figures.parquet_bytes
    load, sync = full_load(connection, figures), hourly_sync(connection, figures)
    for done, work, written in (
        (everything, load, snapshot_bytes),
        (synced, sync, sync.written_bytes),
    ):
        yield Row(f"{work.name}, requests", work.requests, done.requests)
        yield Row(f"{work.name}, snapshot's bytes", written, done.written_bytes)
        yield Row(f"{work.name}, CPU seconds", work.cpu_seconds, done.cpu_seconds)
        seconds = max(fleet.seconds(work, 1, figures).values())
        yield Row(f"{work.name}, seconds", seconds, done.seconds)
