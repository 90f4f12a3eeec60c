"""How the benchmarks print: plain text, aligned."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import pyarrow as pa
from _measure import Contender, Timings, reset_peak


def speed_table(
    contenders: Sequence[Contender],
    timings: Timings,
    peaks: Mapping[str, int | None],
    beside: Mapping[str, str],
) -> str:
    """Tell how fast each contender is, alone and beside others.

    Parameters
    ----------
    contenders, timings
        Who was timed.
    peaks
        The growth of the peak memory by name; None where it is not known.
    beside
        The contenders to compare with, by the headers of their columns.
    """

    def cells(each: Contender) -> list[str]:
        rates, peak = timings.rates(each.name), peaks[each.name]
        return [
            each.name,
            f"{each.orders:,}",
            f"{max(rates):,.0f}",
            f"{statistics.median(rates):,.0f}",
            f"{max(rates) * each.size / each.orders / 1e6:,.1f}",
            *(f"{timings.ratio(each.name, other):.2f}" for other in beside.values()),
            f"{min(timings.cpu[each.name]) / each.orders * 1e6:,.0f}",
            "-" if peak is None else f"{peak / 1e6:,.0f}",
        ]

    header = ["contender", "orders", "orders/s", "median", "MB/s", *beside, "CPU us", "peak MB"]
    return format_table(header, [cells(each) for each in contenders])


def legend() -> str:
    """Say what the columns of `speed_table` are."""
    lines = [
        "orders/s, MB/s  the best of all rounds; the contenders take turns in each",
        "median          of the orders/s of all rounds",
        "x ...           orders/s over those of another contender in the same round; the median",
        "CPU us          microseconds of all CPUs for one order, the least of all rounds",
        "peak MB         what the work adds to the memory of a new process that holds the pages",
    ]
    if not reset_peak():
        lines.append("                (too low where loading the pages took more: no reset here)")
    return "\n".join(lines)


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align cells: the first column to the left, numbers to the right; a line under the header."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    ruled = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in ruled
    )


def machine_facts(*packages: str) -> str:
    """Tell on what all this was measured."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = (
        f"{cpus} of {os.cpu_count()} CPUs, {pa.cpu_count()} Arrow threads, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    return machine + "\n" + ", ".join(f"{package} {version(package)}" for package in packages)
