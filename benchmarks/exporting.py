"""Export and sync at the rate ceiling: how they grow with the orders, and what a sync costs."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import _fetchers
import _measure
import _options
import _report
import _server
from _fetchers import FetchRequest
from _measure import Contender, Run

import trackstar_frames as tf

SMALL, LARGE = "export, few orders", "export, all orders"
MEMORY = "fetch_orders, then write_snapshot"
SYNC = "sync, hours later"

DAYS = 180


def main() -> None:
    """Run the benchmark and print it."""
    given = _parser().parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    _measure.tell("making up orders")
    with (
        tempfile.TemporaryDirectory(prefix="trackstar-benchmark-") as folder,
        _server.serve(
            given.orders, now=now, days=DAYS, rate_limit=given.rate, latency=given.latency
        ) as serving,
    ):
        works = _works(serving.server, given, now, Path(folder))
        runs = {name: _run(name, works[name]) for name in (SMALL, LARGE, MEMORY)}
        changes = serving.advance(given.hours)
        runs[SYNC] = _run(SYNC, works[SYNC])
    _measure.tell("")
    _check(runs, given.orders, len(changes.new))
    done = runs[SYNC].outcome
    print(
        f"Exports at {given.rate} requests a second, {given.latency:g} s for each answer; then "
        f"{given.hours:g} hours pass,\nand a sync: {done.new:,} new and {done.changed:,} changed "
        f"orders, {(done.new + done.changed) / given.orders:.1%} of all, and {done.unchanged:,} "
        f"that it asked for in vain.\nLoad of the machine before: {load:.2f}.\n"
    )
    print(_table(runs), _ratios(runs), _legend(), sep="\n\n")
    print("\n" + _report.machine_facts("trackstar_frames", "pandas", "pyarrow", "requests"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--orders", type=_options.count, default=1_000_000, help="all orders (1,000,000)")
    few = "the share of them that the small export asks for (0.1)"
    add("--few", type=_options.share, default=0.1, metavar="SHARE", help=few)
    add("--hours", type=_options.count, default=7, help="hours before the sync (7)")
    add("--latency", type=_options.seconds, default=0.3, help="seconds of each answer (0.3)")
    add("--rate", type=_options.count, default=10, help="requests a second (10)")
    return parser


@dataclass(frozen=True)
class Done:
    """What a snapshot tells of how it was made."""

    orders: int
    requests: int
    new: int = 0
    changed: int = 0
    unchanged: int = 0


@dataclass(frozen=True)
class Task:
    """One thing to time; picklable."""

    request: FetchRequest
    root: Path
    work: Callable[[FetchRequest, Path], tf.Snapshot]

    def __call__(self, _: object) -> tf.Snapshot:
        """Do it."""
        return self.work(self.request, self.root)


def _works(
    server: _server.Server, given: argparse.Namespace, now: datetime, folder: Path
) -> dict[str, Task]:
    start = now - timedelta(days=DAYS + 1)
    everything = FetchRequest(server, given.rate, (start, now + timedelta(days=DAYS)))
    few = replace(everything, created=(now - timedelta(days=DAYS) * given.few, now))
    return {
        SMALL: Task(few, folder / "few", _export),
        LARGE: Task(everything, folder / "all", _export),
        MEMORY: Task(everything, folder / "memory", _fetch_and_write),
        SYNC: Task(everything, folder / "all", _sync),
    }


def _export(request: FetchRequest, root: Path) -> tf.Snapshot:
    with request.client() as client:
        return tf.export_orders(root, client=client, progress=False, **request.filters)


def _fetch_and_write(request: FetchRequest, root: Path) -> tf.Snapshot:
    return tf.write_snapshot(_fetchers.fetch(request), root)


def _sync(request: FetchRequest, root: Path) -> tf.Snapshot:
    with request.client() as client:
        return tf.sync_orders(root, client=client, progress=False, **request.filters)


def _run(name: str, task: Task) -> Run:
    _measure.tell(name)
    contender = Contender(
        name,
        work=task,
        prepare=partial(_fetchers.rest, None),
        rehearse=partial(_rehearse, task),
        orders=0,
        size=0,
    )
    return _measure.run_apart(contender, _ask)


def _rehearse(task: Task) -> None:
    """Do the same with the orders of an hour, elsewhere."""
    start, _ = task.request.created
    hour = replace(task.request, created=(start, start + timedelta(hours=1)))
    with tempfile.TemporaryDirectory() as root:
        for _ in range(2):
            task.work(hour, Path(root))


def _ask(snapshot: tf.Snapshot) -> Done:
    listed = tf.list_snapshots(snapshot.path.parent).set_index("name")
    counts = {name: snapshot.info.get("sync", {}).get(name, 0) for name in _COUNTS}
    return Done(int(listed.loc[snapshot.name, "orders"]), snapshot.info["requests"], **counts)


_COUNTS = ("new", "changed", "unchanged")


def _check(runs: dict[str, Run], orders: int, new: int) -> None:
    """Who keeps less is no peer."""
    expected = {LARGE: orders, MEMORY: orders, SYNC: orders + new}
    for name, count in expected.items():
        if runs[name].outcome.orders != count:
            sys.exit(
                f"{name}: {runs[name].outcome.orders:,} orders of {count:,}, so no time compares"
            )


def _table(runs: dict[str, Run]) -> str:
    def cells(name: str) -> list[str]:
        run = runs[name]
        return [
            name,
            f"{run.outcome.orders:,}",
            f"{run.outcome.requests:,}",
            f"{run.seconds:.1f}",
            f"{run.seconds / run.outcome.orders * 1e6:,.0f}",
            f"{run.cpu:.1f}",
            f"{run.cpu / run.outcome.orders * 1e6:,.1f}",
            "-" if run.peak is None else f"{run.peak / 1e6:,.0f}",
        ]

    header = ["work", "orders", "requests", "seconds", "us each", "CPU s", "CPU us each", "peak MB"]
    return _report.format_table(header, [cells(name) for name in runs])


def _ratios(runs: dict[str, Run]) -> str:
    small, large, sync = runs[SMALL], runs[LARGE], runs[SYNC]
    ratios = {
        "seconds of each order": (large.seconds / large.outcome.orders)
        / (small.seconds / small.outcome.orders),
        "CPU of each order": (large.cpu / large.outcome.orders)
        / (small.cpu / small.outcome.orders),
    }
    if large.peak and small.peak:
        ratios["peak memory"] = large.peak / small.peak
    lines = [f"{name}, all orders to few: {ratio:.2f}" for name, ratio in ratios.items()]
    return "\n".join([*lines, f"seconds, sync to export: {sync.seconds / large.seconds:.3f}"])


def _legend() -> str:
    return (
        "us each      microseconds of the whole call for each order of the snapshot\n"
        "CPU          of all CPUs, without the server's\n"
        "peak MB      of the whole process, the interpreter and all libraries included"
    )


if __name__ == "__main__":
    main()
