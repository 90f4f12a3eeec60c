"""The fetch at the rate ceiling: this package beside a loop by hand, on one server in one run."""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import _fetchers
import _measure
import _options
import _pages
import _peers
import _replays
import _report
import _server
from _fetchers import FetchRequest
from _measure import Contender, Run

from trackstar_frames.sandbox import Request

WINDOWS = "ours, in windows"
COLD = "ours, in windows, cache cold"
WARM = "ours, in windows, cache warm"
CHAIN = "ours, one chain"
LOOP = "loop and json_normalize, by hand"

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
        created = now - timedelta(days=DAYS), now
        runs = _fetches(given, serving, created, Path(folder) / "cold")
        replays = _replays.report(
            FetchRequest(serving.server, given.rate, created, cache=Path(folder) / "replays"),
            share=min(1.0, given.replay_pages * _pages.PAGE / given.orders),
            rounds=given.replay_rounds,
            folder=Path(folder),
        )
    _measure.tell("")
    print("\n\n".join([_heading(given, load), _table(given, runs), _legend(given), *replays]))
    print("\n" + _report.machine_facts("trackstar_frames", "pandas", "pyarrow", "requests"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--orders", type=_options.count, default=200_000, help="orders to fetch (200,000)")
    add("--latency", type=_options.seconds, default=0.3, help="seconds of each answer (0.3)")
    add("--rate", type=_options.count, default=10, help="requests a second (10)")
    add("--rounds", type=_options.count, default=3, help="how often each fetches (3)")
    pages = "pages to replay from disk (50)"
    add("--replay-pages", type=_options.count, default=50, metavar="PAGES", help=pages)
    rounds = "how often they are replayed (9)"
    add("--replay-rounds", type=_options.count, default=9, metavar="ROUNDS", help=rounds)
    return parser


class _Fetch:
    """One run of a contender, and what the server saw of it.

    Parameters
    ----------
    run
        What it took.
    seen
        The requests that arrived meanwhile.
    latency
        How long the server takes for an answer.
    """

    def __init__(self, run: Run, seen: Sequence[Request], latency: float) -> None:
        self.run = run
        self.requests = len(seen)
        self.refused = sum(each.status == 429 for each in seen)
        times = [each.time for each in seen]
        lasted = max(times) + latency - min(times) if times else 0
        #: Requests a second, from the first arrival to the last answer.
        self.rate = (self.requests - self.refused) / lasted if lasted else 0.0


def _fetches(
    given: argparse.Namespace,
    serving: _server.Serving,
    created: tuple[datetime, datetime],
    cold: Path,
) -> dict[str, list[_Fetch]]:
    """Let each contender fetch once in each round, one after the other."""
    contenders = _contenders(given, serving.server, created, cold)
    fetches: dict[str, list[_Fetch]] = {each.name: [] for each in contenders}
    for number in range(given.rounds):
        shutil.rmtree(cold, ignore_errors=True)
        for each in contenders:
            _measure.tell(f"round {number + 1} of {given.rounds}: {each.name}")
            run = _measure.run_apart(each, _count)
            _check(each, run)
            seen = serving.requests(run.started_at, run.started_at + run.seconds)
            fetches[each.name].append(_Fetch(run, seen, given.latency))
    return fetches


def _contenders(
    given: argparse.Namespace,
    server: _server.Server,
    created: tuple[datetime, datetime],
    cold: Path,
) -> list[Contender]:
    bounded = FetchRequest(server, given.rate, created)
    cached = FetchRequest(server, given.rate, created, cache=cold)
    requests = {
        WINDOWS: bounded,
        COLD: cached,
        WARM: cached,
        CHAIN: FetchRequest(server, given.rate),
    }
    ours = [
        Contender(
            name,
            work=_fetchers.fetch_and_look,
            prepare=partial(_fetchers.rest, request),
            rehearse=partial(_fetchers.rehearse, request),
            orders=given.orders,
            size=0,
        )
        for name, request in requests.items()
    ]
    by_hand = Contender(
        LOOP,
        work=_peers.by_loop,
        prepare=partial(_fetchers.rest, server),
        rehearse=partial(_peers.by_loop, server, 5),
        orders=given.orders,
        size=0,
    )
    return [*ours, by_hand]


def _count(result: object) -> int:
    return len(getattr(result, "orders", result))


def _check(contender: Contender, run: Run) -> None:
    """Who fetches less is no peer."""
    if run.outcome != contender.orders:
        sys.exit(
            f"{contender.name}: {run.outcome:,} orders of {contender.orders:,}, so no time compares"
        )


def _heading(given: argparse.Namespace, load: float) -> str:
    return (
        f"Fetching {given.orders:,} orders, {given.orders / _pages.PAGE:g} full pages, at "
        f"{given.rate} requests a second, {given.latency:g} s for each answer.\n"
        f"Load of the machine before: {load:.2f}."
    )


def _table(given: argparse.Namespace, fetches: dict[str, list[_Fetch]]) -> str:
    pages = given.orders / _pages.PAGE

    def cells(name: str) -> list[str]:
        mine, chain = fetches[name], fetches[CHAIN]
        seconds = statistics.median(each.run.seconds for each in mine)
        rate = statistics.median(each.rate for each in mine)
        ratio = statistics.median(
            theirs.run.seconds / each.run.seconds for each, theirs in zip(mine, chain, strict=True)
        )
        growths = [each.run.growth for each in mine if each.run.growth is not None]
        return [
            name,
            f"{pages:g}",
            f"{statistics.median(each.requests for each in mine):g}",
            f"{max(each.refused for each in mine)}",
            f"{seconds:.1f}",
            f"{rate / given.rate:.1%}" if rate else "-",
            f"{pages / seconds / given.rate:.1%}",
            f"{ratio:.2f}",
            f"{statistics.median(each.run.cpu for each in mine):.1f}",
            f"{max(growths) / 1e6:,.0f}" if growths else "-",
        ]

    header = ["contender", "pages", "requests", "429", "seconds", "requests/s", "pages/s"]
    header += ["x chain", "CPU s", "peak MB"]
    return _report.format_table(header, [cells(name) for name in fetches])


def _legend(given: argparse.Namespace) -> str:
    lines = [
        "requests    that reached the server, those answered 429 too; the most 429 of any round",
        "requests/s  from the first arrival to the last answer, as a share of the ceiling",
        "pages/s     full pages of orders, over the whole call, as a share of the ceiling",
        f"x chain     times as fast as {CHAIN!r} in the same round",
        "CPU s       seconds of all CPUs, without the server's",
        "peak MB     what the call adds to the memory of a new process; the most of any round",
        f"Rounds: {given.rounds}; medians, but for the two that say otherwise.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
