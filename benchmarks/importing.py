"""What an import costs, beside that of pandas, pyarrow and requests; each in a new process."""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from functools import partial

import _measure
import _options
import _report

import trackstar_frames as tf

PEER = "pandas, pyarrow and requests"
_OURS = ", ".join(
    name for name in tf.__all__ if not name.startswith("plot_") and "dask" not in name
)
#: What each process runs.
CODE: Mapping[str, str] = {
    "Python itself": "pass",
    PEER: "import pandas, pyarrow, requests",
    "trackstar_frames": "import trackstar_frames",
    "its fetch_orders_df": "from trackstar_frames import fetch_orders_df",
    "all its names, without extras": f"from trackstar_frames import {_OURS}",
}


def main() -> None:
    """Run the benchmark and print it."""
    given = _parser().parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    contenders = [_contender(name, code) for name, code in CODE.items()]
    timings = _measure.time_rounds(contenders, given.rounds, collect=True)
    _measure.tell("")
    print(f"Imports, each in a new process.\nLoad of the machine before: {load:.2f}.\n")
    print(_table(timings), _legend(given.rounds), sep="\n\n")
    print("\n" + _report.machine_facts("trackstar_frames", "pandas", "pyarrow", "requests"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=_options.count, default=15, help="how often each is timed (15)"
    )
    return parser


def start(code: str) -> None:
    """Run some code in a new process of the same Python."""
    subprocess.run([sys.executable, "-c", code], check=True)


def modules(code: str) -> int:
    """Count the modules that a new process has loaded after some code."""
    outcome = [sys.executable, "-c", f"import sys; {code}; print(len(sys.modules))"]
    return int(subprocess.run(outcome, check=True, capture_output=True, text=True).stdout)


def _contender(name: str, code: str) -> _measure.Contender:
    # The first start after a change compiles.
    rehearse = partial(start, code)
    return _measure.Contender(name, start, lambda: code, rehearse, orders=1, size=0)


def _table(timings: _measure.Timings) -> str:
    def cells(name: str) -> list[str]:
        seconds = timings.seconds[name]
        return [
            name,
            f"{min(seconds):.3f}",
            f"{statistics.median(seconds):.3f}",
            f"{min(seconds) / min(timings.seconds[PEER]):.2f}",
            f"{modules(CODE[name]):,}",
        ]

    header = ["import", "seconds", "median", "of three", "modules"]
    return _report.format_table(header, [cells(name) for name in timings.seconds])


def _legend(rounds: int) -> str:
    return (
        "seconds   the least of all rounds; all take turns in each\n"
        "of three  the seconds, of those of pandas, pyarrow and requests together\n"
        "modules   how many are loaded then\n"
        f"Rounds: {rounds:,}."
    )


if __name__ == "__main__":
    main()
