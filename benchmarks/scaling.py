"""Many connections replayed from disk on Dask: two workers beside one, each with one CPU."""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

import _measure
import _options
import _report
import dask
import dask.dataframe as dd
import pyarrow as pa
from distributed import Client, LocalCluster, wait

import trackstar_frames as tf
from trackstar_frames.sandbox import Sandbox

ONE, TWO = "one worker", "two workers"
WORKERS: Mapping[str, int] = {ONE: 1, TWO: 2}


def main() -> None:
    """Run the benchmark and print it."""
    given = _parser().parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    with tempfile.TemporaryDirectory(prefix="trackstar-benchmark-") as folder, ExitStack() as stack:
        os.environ["TRACKSTAR_CACHE_DIR"] = folder
        connections = _fill(given.connections, given.orders)
        clients = {name: stack.enter_context(_cluster(count)) for name, count in WORKERS.items()}
        contenders = [
            _contender(name, client, connections, given.orders) for name, client in clients.items()
        ]
        timings = _measure.time_rounds(contenders, given.rounds, collect=True)
        cpu = {name: _weigh(client, _ask(connections)) for name, client in clients.items()}
    _measure.tell("")
    print(
        f"{given.connections:,} connections of {given.orders:,} orders, from the disk cache to "
        f"frames on the workers.\nLoad of the machine before: {load:.2f}.\n"
    )
    print(_table(timings, cpu), _legend(given.rounds), sep="\n\n")
    facts = ("trackstar_frames", "dask", "distributed", "pandas", "pyarrow")
    print("\n" + _report.machine_facts(*facts))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--connections", type=_options.count, default=40, help="how many (40)")
    add("--orders", type=_options.count, default=5000, help="orders of each (5,000)")
    add("--rounds", type=_options.count, default=5, help="how often each is timed (5)")
    return parser


def _fill(count: int, orders: int) -> dict[str, str]:
    """Fetch all connections to the disk, and name the variables of their tokens."""
    _measure.tell("making up orders, and filling the cache")
    with Sandbox(orders) as sandbox:
        made = sandbox.orders
    connections = {f"connection {number:03}": f"TOKEN_{number:03}" for number in range(count)}
    with Sandbox(made, tokens=count, rate_limit=None) as sandbox:
        os.environ["TRACKSTAR_BASE_URL"] = sandbox.base_url
        os.environ["TRACKSTAR_API_KEY"] = sandbox.api_key
        os.environ.update(zip(connections.values(), sandbox.access_tokens, strict=True))
        with dask.config.set(scheduler="threads"):
            if len(_ask(connections, offline=False)) != count * orders:
                sys.exit("the server gave other orders than it has, so no time compares")
    return connections


def _ask(connections: Mapping[str, str], *, offline: bool = True) -> dd.DataFrame:
    return tf.fetch_orders_dask(connections, max_workers=1, offline=offline)


@contextmanager
def _cluster(workers: int) -> Iterator[Client]:
    """Run a cluster of processes with a thread and a CPU each."""
    with (
        dask.config.set({"distributed.worker.profile.enabled": False}),  # 3.11 can freeze in it
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        for place, address in enumerate(client.run(os.getpid)):
            client.run(_limit, place, workers=[address])
        yield client


def _limit(place: int) -> None:
    """Keep a worker to one thread of Arrow, and to the CPU of its place."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    if hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpus[place % len(cpus)]})


def _contender(
    name: str, client: Client, connections: Mapping[str, str], orders: int
) -> _measure.Contender:
    few = dict(itertools.islice(connections.items(), 2 * WORKERS[name]))
    return _measure.Contender(
        name,
        work=partial(_fetch, client),
        prepare=partial(_ask, connections),
        rehearse=lambda: _fetch(client, _ask(few)),
        orders=len(connections) * orders,
        size=0,
    )


def _fetch(client: Client, lazy: dd.DataFrame) -> dd.DataFrame:
    """Have all partitions in the memory of the workers."""
    fetched = client.persist(lazy)
    with client.as_current():
        wait(fetched)
    return fetched


def _weigh(client: Client, lazy: dd.DataFrame) -> float:
    """Tell the CPU seconds of the busiest worker: what others do on its CPU does not count."""
    before = client.run(time.process_time)
    fetched = _fetch(client, lazy)
    after = client.run(time.process_time)
    del fetched
    return max(after[address] - before[address] for address in before)


def _table(timings: _measure.Timings, cpu: Mapping[str, float]) -> str:
    def cells(name: str) -> list[str]:
        seconds = timings.seconds[name]
        return [
            name,
            f"{min(seconds):.2f}",
            f"{statistics.median(seconds):.2f}",
            f"{max(timings.rates(name)):,.0f}",
            f"{timings.ratio(name, ONE):.2f}",
            f"{cpu[name]:.2f}",
            f"{cpu[ONE] / cpu[name]:.2f}",
        ]

    header = ["cluster", "seconds", "median", "orders/s", "x one", "CPU s", "x one"]
    return _report.format_table(header, [cells(name) for name in timings.seconds])


def _legend(rounds: int) -> str:
    return (
        "seconds, orders/s  the best of all rounds; both take turns in each\n"
        "x one              orders/s over those of one worker in the same round; the median\n"
        "CPU s              of the busiest worker, in one more round; then the one's over it:\n"
        "                   the ratio of times, if CPUs were all that is waited for\n"
        f"Rounds: {rounds:,}."
    )


if __name__ == "__main__":
    main()
