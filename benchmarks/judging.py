"""Ship-date compliance of a million orders, beside the reading of their table from Parquet."""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

import _copies
import _measure
import _options
import _report
import pandas as pd

import trackstar_frames as tf

READ = "pandas.read_parquet, all orders"
POLICIES: Mapping[str, Callable[[], tf.SlaPolicy]] = {
    "required ship date": partial(tf.SlaPolicy.on_time_shipment, tz="America/New_York"),
    "late shipment rate": partial(tf.SlaPolicy.late_shipment_rate, tz="America/New_York"),
    "noon cut-off": tf.SlaPolicy.d2c_noon_cut_off,
    "four business days": tf.SlaPolicy.b2b_four_business_days,
}


def main() -> None:
    """Run the benchmark and print it."""
    given = _parser().parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    with tempfile.TemporaryDirectory(prefix="trackstar-benchmark-") as folder:
        _measure.tell("making up orders")
        snapshot = _copies.write(given.orders, Path(folder), parts=False)
        timings = _measure.time_rounds(_contenders(snapshot), given.rounds, collect=True)
        size = sum(path.stat().st_size for path in snapshot.files["orders"])
    _measure.tell("")
    print(
        f"Judging {given.orders:,} orders, and their rate week by week; the table of orders takes "
        f"{size / 1e6:,.0f} MB on disk.\nLoad of the machine before: {load:.2f}.\n"
    )
    print(_table(timings), _legend(given.rounds), sep="\n\n")
    print(
        "\n" + _report.machine_facts("trackstar_frames", "pandas", "pyarrow", "numpy", "holidays")
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--orders", type=_options.count, default=1_000_000, help="all orders (1,000,000)")
    add("--rounds", type=_options.count, default=3, help="how often each is timed (3)")
    return parser


def judge(orders: pd.DataFrame, name: str) -> pd.DataFrame:
    """Judge all orders, and give the rate of each week."""
    compliance = tf.ship_date_compliance(orders, POLICIES[name]())
    return tf.compliance_rate(compliance, freq="W")


def _contenders(snapshot: tf.Snapshot) -> list[_measure.Contender]:
    path = snapshot.path / "orders"

    @cache
    def orders() -> pd.DataFrame:
        return snapshot.read().orders

    def contender(name: str, work: Callable, prepare: Callable) -> _measure.Contender:
        rehearse = partial(work, path if name == READ else orders()[:1000])
        count = len(orders())
        return _measure.Contender(name, work, prepare, rehearse, orders=count, size=0)

    judging = [contender(name, partial(judge, name=name), orders) for name in POLICIES]
    return [contender(READ, pd.read_parquet, lambda: path), *judging]


def _table(timings: _measure.Timings) -> str:
    def cells(name: str) -> list[str]:
        seconds = timings.seconds[name]
        return [
            name,
            f"{min(seconds):.2f}",
            f"{statistics.median(seconds):.2f}",
            f"{timings.ratio(READ, name):.3f}",
        ]

    header = ["work", "seconds", "median", "of reading"]
    return _report.format_table(header, [cells(name) for name in timings.seconds])


def _legend(rounds: int) -> str:
    return (
        "seconds     the best of all rounds; all take turns in each\n"
        "of reading  the seconds, of those of reading the table in the same round; the median:\n"
        "            below 1, judging costs less than having the orders at all\n"
        f"Rounds: {rounds:,}."
    )


if __name__ == "__main__":
    main()
