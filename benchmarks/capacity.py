"""What many connections need, on one machine or many: tables of a model of measured figures."""

import argparse
import math
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import fields, replace

import _options
import _report
import _trial
from _capacity import (
    RESOURCES,
    Fleet,
    Work,
    full_load,
    hourly_sync,
    needed_cores,
    saturated,
    thinned_bytes,
    yearly_bytes,
)
from _figures import Connection, Figures

#: The call in one process, at as many connections as it asks side by side.
ONE = Fleet("one process", cores=16, at_once=8)
DASK_AT_ONCE = 2  # threads of a worker: one waits while the other works

CONNECTIONS = (10, 1_000, 10_000)
HOUR = 3600  # seconds
#: How soon an hourly sync should end: Trackstar's copy is an hour old as it is.
SOON = 600  # seconds

_TIMES = (("s", 1), ("min", 60), ("h", HOUR), ("days", 24 * HOUR))
_SIZES = (("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12), ("PB", 1e15))


def main() -> None:
    """Print the tables, or check the model by a small export."""
    given = _parser().parse_args()
    if given.check:
        sys.exit(_check(_trial.run(given.check, Figures())))
    figures, connection = Figures(), Connection(given.orders, given.hourly_share)
    one = replace(
        ONE,
        cores=given.cores,
        memory_bytes=given.memory * 1e9,
        network_megabits_per_second=given.network,
        disk_bytes_per_second=given.disk * 1e6,
    )
    ways = fleets(one, given.machines)
    print(_heading(connection, ways[1]), markdown(connection, figures, ways), sep="\n\n")
    print("\n" + _bounds(connection, figures, ways), _sizes(connection, figures, ways), sep="\n\n")
    print("\n" + _wrap(f"Mind the disk: {on_disk(connection, figures)}.") + "\n")
    print(_legend(figures))


def fleets(one: Fleet, machines: int = 4) -> tuple[Fleet, Fleet, Fleet]:
    """Put Dask on a machine of one process, and on many such machines.

    Those have a common disk of so many times the speed: else it would be all that counts.
    """
    dask = replace(
        one, name="Dask, one machine", processes=int(one.cores), cores=1, at_once=DASK_AT_ONCE
    )
    disk = machines * one.disk_bytes_per_second
    name = f"Dask, {machines} machines"
    return one, dask, replace(dask, name=name, machines=machines, disk_bytes_per_second=disk)


def markdown(connection: Connection, figures: Figures, ways: Sequence[Fleet]) -> str:
    """Write the table of the README: each way's times, and what saturates first."""
    header = ["connections", "work", *(way.name for way in ways), "take"]
    rows = []
    for connections in CONNECTIONS:
        chosen = choose(connections, connection, figures, ways)
        for work in (full_load(connection, figures), hourly_sync(connection, figures)):
            cells = [_cell(way.seconds(work, connections, figures)) for way in ways]
            take = "" if work.name == "full load" else chosen
            rows.append([f"{connections:,}", work.name, *cells, take])
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def on_disk(connection: Connection, figures: Figures) -> str:
    """Say what a year of hourly syncs leaves, as the README does."""
    most = CONNECTIONS[-1]
    year, thinned = (
        format_size(most * count(connection, figures)) for count in (yearly_bytes, thinned_bytes)
    )
    anew = figures.rewritten_orders(connection.orders) / connection.orders
    return (
        f"an hourly sync writes {anew:.0%} of a snapshot anew, {year} a year of {most:,} "
        f"connections; `prune_snapshots` leaves {thinned} of it"
    )


def choose(
    connections: int, connection: Connection, figures: Figures, ways: Sequence[Fleet]
) -> str:
    """Name the simplest way by which an hourly sync ends soon; else the quickest."""
    work = hourly_sync(connection, figures)
    took = {way.name: max(way.seconds(work, connections, figures).values()) for way in ways}
    soon = [name for name, seconds in took.items() if seconds <= SOON]
    return soon[0] if soon else min(took, key=took.__getitem__)


def format_time(seconds: float) -> str:
    """Round to two digits, in a unit that reads well."""
    return "never" if math.isinf(seconds) else _format(seconds, _TIMES)


def format_size(size: float) -> str:
    """Round to two digits, in a unit that reads well."""
    return _format(size, _SIZES)


def _format(number: float, units: Sequence[tuple[str, float]]) -> str:
    name, unit = [units[0], *(each for each in units if each[1] <= number)][-1]
    return f"{float(f'{number / unit:.2g}'):g} {name}"


def _cell(seconds: dict[str, float]) -> str:
    return f"{format_time(max(seconds.values()))}, {saturated(seconds)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--orders", type=_options.count, default=100_000, help="of a connection (100,000)")
    share = "share of them that an hour makes or changes (0.003)"
    add("--hourly-share", type=_options.share, default=0.003, metavar="SHARE", help=share)
    add("--cores", type=_options.count, default=16, help="of a machine (16)")
    add("--machines", type=_options.count, default=4, help="where there are many (4)")
    add("--memory", type=_options.count, default=64, metavar="GB", help="of a machine (64)")
    add("--network", type=_options.count, default=5000, metavar="MBIT", help="a second (5,000)")
    add("--disk", type=_options.count, default=250, metavar="MB", help="written a second (250)")
    check = "measure a small export and one of so many orders instead, and compare with the model"
    add("--check", type=_options.count, metavar="ORDERS", help=check)
    return parser


def _heading(connection: Connection, way: Fleet) -> str:
    return _wrap(
        f"Connections of {connection.orders:,} orders, of which an hour changes "
        f"{connection.hourly_share:.1%}; machines of {way.cores * way.processes:g} cores, "
        f"{format_size(way.memory_bytes)}, {way.network_megabits_per_second:,g} Mbit/s, and a "
        f"disk that writes {format_size(way.disk_bytes_per_second)} a second. How long all of it "
        f"takes at least, and what is used up first:"
    )


def _bounds(connection: Connection, figures: Figures, ways: Sequence[Fleet]) -> str:
    """Tell how long each resource alone would take."""

    def cells(work: Work, way: Fleet, connections: int) -> list[str]:
        seconds = way.seconds(work, connections, figures)
        return [
            f"{work.name}, {way.name}",
            f"{connections:,}",
            *(format_time(seconds[each]) if seconds[each] else "-" for each in RESOURCES),
        ]

    works = (full_load(connection, figures), hourly_sync(connection, figures))
    rows = [cells(work, way, count) for work in works for way in ways for count in CONNECTIONS]
    return _report.format_table(["each resource alone", "connections", *RESOURCES], rows)


def _sizes(connection: Connection, figures: Figures, ways: Sequence[Fleet]) -> str:
    """Tell what the hourly sync needs, and what it leaves on disk."""
    work = hourly_sync(connection, figures)
    one, dask, *_ = ways

    def cells(count: int) -> list[str]:
        return [
            f"{count:,}",
            f"{count * work.requests:,.0f}",
            *(f"{needed_cores(dask, work, count, each):,}" for each in (HOUR, SOON)),
            *(format_size(count * work.written_bytes / each) for each in (HOUR, SOON)),
            *(format_size(way.worker_bytes(work, figures)) for way in (one, dask)),
            format_size(count * yearly_bytes(connection, figures)),
            format_size(count * thinned_bytes(connection, figures)),
        ]

    header = ["hourly sync of", "requests", "cores, 1 h", "10 min", "disk/s, 1 h", "10 min"]
    header += ["process", "worker", "a year", "thinned"]
    return _report.format_table(header, [cells(count) for count in CONNECTIONS])


def _legend(figures: Figures) -> str:
    given = [f"{each.name} {getattr(figures, each.name):g}" for each in fields(figures)]
    lines = [
        "cores     workers of one core, two connections at once, by which it ends in that time",
        "disk/s    what the disk must write for it",
        "process   memory of the one process; worker: of each of Dask's",
        "a year    of hourly snapshots, all kept; thinned: what prune_snapshots leaves, at most",
        "",
        "Waiting, working and writing are taken to overlap wholly: these are lower bounds. All was",
        "measured on two cores; what one process does with more is reckoned.",
        _wrap("Figures: " + ", ".join(given)),
    ]
    return "\n".join(lines)


def _wrap(text: str) -> str:
    return textwrap.fill(text, 88, break_on_hyphens=False)


def _check(rows: Sequence[_trial.Row]) -> int:
    """Print a trial beside the model, and give the exit code."""
    cells = [
        [each.name, f"{each.model:,.4g}", f"{each.measured:,.4g}", f"{each.ratio:.2f}"]
        for each in rows
    ]
    print(_report.format_table(["what", "model", "measured", "ratio"], cells))
    far = [each.name for each in rows if not each.is_near]
    print(f"Further off than {_trial.FACTOR} times: {', '.join(far) if far else 'nothing'}.")
    return bool(far)


if __name__ == "__main__":
    main()
