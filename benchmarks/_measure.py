"""How the benchmarks measure: interleaved rounds, and peak memory in processes of their own."""

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa

try:
    import resource
except ModuleNotFoundError:  # on Windows
    resource = None


@dataclass(frozen=True)
class Contender:
    """Something to measure; picklable, as its memory is measured in a process of its own.

    Attributes
    ----------
    name
        What the table calls it.
    work
        What is measured; its result is kept until the clock has stopped.
    prepare
        Gives what `work` takes; not measured.
    rehearse
        Does the work on very little, so that late imports are not measured.
    orders, size
        How many orders the work is about, and their bytes of JSON.
    apart
        Whether it is timed in a new process too, so that what it leaves behind slows nobody.
    """

    name: str
    work: Callable[[Any], Any]
    prepare: Callable[[], Any]
    rehearse: Callable[[], Any]
    orders: int
    size: int
    apart: bool = False


class Timings:
    """The seconds of some contenders, round by round: by the clock, and of all CPUs."""

    def __init__(self, contenders: Iterable[Contender]) -> None:
        self._contenders = {each.name: each for each in contenders}
        self.seconds: dict[str, list[float]] = {name: [] for name in self._contenders}
        self.cpu: dict[str, list[float]] = {name: [] for name in self._contenders}

    def rates(self, name: str) -> list[float]:
        """Orders per second, round by round."""
        return [self._contenders[name].orders / each for each in self.seconds[name]]

    def ratio(self, name: str, other: str) -> float:
        """How many times as fast as another, in the same round: the median of the rounds."""
        pairs = zip(self.rates(name), self.rates(other), strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)


@dataclass(frozen=True)
class Run:
    """What a contender's work took, once, in a process of its own.

    Attributes
    ----------
    began
        When, in Unix seconds.
    seconds, cpu
        By the clock, and of all CPUs.
    growth
        By how many bytes it raised the peak of memory; None where the system does not say.
    peak
        That peak itself.
    told
        What was asked of its result.
    """

    started_at: float
    seconds: float
    cpu: float
    growth: int | None
    outcome: Any
    peak: int | None = None


def time_rounds(contenders: Sequence[Contender], rounds: int, *, collect: bool) -> Timings:
    """Time every contender once in each round, each round led by another one.

    Parameters
    ----------
    contenders
        Whom to time.
    rounds
        How often.
    collect
        Whether the garbage collector runs while the clock does.
    """
    timings = Timings(contenders)
    for number in range(rounds):
        first = number % len(contenders)
        for each in [*contenders[first:], *contenders[:first]]:
            tell(f"round {number + 1} of {rounds}: {each.name}")
            took = in_new_process(_time, each, collect) if each.apart else _time(each, collect)
            timings.seconds[each.name].append(took[0])
            timings.cpu[each.name].append(took[1])
    return timings


def peak_growth(contender: Contender, *, collect: bool) -> int | None:
    """Tell by how many bytes a contender's work raises the peak of a new process.

    None where the system does not say.
    """
    tell(f"memory: {contender.name}")
    return in_new_process(_grow, contender, collect)


def run_apart(contender: Contender, ask: Callable[[Any], Any]) -> Run:
    """Time and weigh a contender's work in a new process, and ask something of its result."""
    return in_new_process(_run, contender, ask)


def in_new_process(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a new process, and give what it returns."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def reset_peak() -> bool:
    """Begin this process's peak of memory anew, and tell whether the system lets it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def limit_threads(count: int) -> None:
    """Keep this process, and those that it starts, to so many threads and CPUs."""
    os.environ["OMP_NUM_THREADS"] = str(count)  # read by the Arrow of new processes
    pa.set_cpu_count(count)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def tell(text: str) -> None:
    """Say what goes on, in a terminal only, on a line that the next one replaces."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _time(contender: Contender, collect: bool) -> tuple[float, float]:  # noqa: FBT001 -- as submitted
    contender.rehearse()
    given = contender.prepare()
    _settle(collect=collect)
    start, start_cpu = time.perf_counter(), time.process_time()
    result = contender.work(given)
    took = time.perf_counter() - start, time.process_time() - start_cpu
    del result
    gc.enable()
    return took


def _run(contender: Contender, ask: Callable[[Any], Any]) -> Run:
    contender.rehearse()
    given = contender.prepare()
    _settle(collect=True)
    reset_peak()
    before, started_at = _peak(), time.time()
    start, start_cpu = time.perf_counter(), time.process_time()
    result = contender.work(given)
    took = time.perf_counter() - start, time.process_time() - start_cpu
    return Run(started_at, *took, _growth(before), ask(result), _peak())


def _grow(contender: Contender, collect: bool) -> int | None:  # noqa: FBT001 -- as submitted
    contender.rehearse()
    given = contender.prepare()
    _settle(collect=collect)
    reset_peak()
    before = _peak()
    result = contender.work(given)
    growth = _growth(before)
    del result
    return growth


def _settle(*, collect: bool) -> None:
    gc.collect()
    if not collect:
        gc.disable()


def _growth(before: int | None) -> int | None:
    after = _peak()
    return None if before is None or after is None else after - before


def _peak() -> int | None:
    """The most bytes that this process ever held in memory, or since the peak was reset."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
