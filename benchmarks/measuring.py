"""Every measure of a million orders and their parts, beside the reading of the orders."""

import argparse
import functools
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import _copies
import _measure
import _options
import _report
import pandas as pd
import pyarrow.compute as pc

import trackstar_frames as tf

READ = "pandas.read_parquet, all orders"
POLICY = tf.SlaPolicy.on_time_shipment(tz="America/New_York", target=0.95)
MEASURES: Mapping[str, Callable[[tf.OrderFrames], Any]] = {
    "ship_date_compliance": lambda frames: tf.ship_date_compliance(frames.orders, POLICY),
    "compliance_rate, by week": lambda frames: tf.compliance_rate(
        frames.orders, freq="W", policy=POLICY
    ),
    "sla_scorecard": lambda frames: tf.sla_scorecard(frames.orders, policy=POLICY),
    "fill_rates": tf.fill_rates,
    "fill_rates, due, by week": lambda frames: tf.fill_rates(
        frames, of="due", freq="W", policy=POLICY
    ),
    "ship_otif": lambda frames: tf.ship_otif(frames, policy=POLICY),
    "ship_otif, by week": lambda frames: tf.ship_otif(frames, freq="W", policy=POLICY),
    "late_orders": lambda frames: tf.late_orders(frames.orders, policy=POLICY),
    "backlog": lambda frames: tf.backlog(frames.orders),
    "due_next": lambda frames: tf.due_next(frames.orders, policy=POLICY),
    "failure_rates": lambda frames: tf.failure_rates(frames.orders, policy=POLICY),
    "failure_rates, by week": lambda frames: tf.failure_rates(
        frames.orders, freq="W", policy=POLICY
    ),
    "throughput, by day": lambda frames: tf.throughput(frames, policy=POLICY),
    "throughput, by hour": lambda frames: tf.throughput(frames, freq="hour", policy=POLICY),
    "service_profile": lambda frames: tf.service_profile(frames, policy=POLICY),
    "shipping_costs": lambda frames: tf.shipping_costs(frames, by="carrier_name", policy=POLICY),
    "cycle_time": lambda frames: tf.cycle_time(frames.orders),
    "cycle_time, by week": lambda frames: tf.cycle_time(frames.orders, freq="W", policy=POLICY),
    "status_mix, by week": lambda frames: tf.status_mix(frames.orders, freq="W", policy=POLICY),
    "data_quality": tf.data_quality,
}
FIRST = "first_promises"


def main() -> None:
    """Run the benchmark and print it."""
    given = _parser().parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    with tempfile.TemporaryDirectory(prefix="trackstar-benchmark-") as folder:
        _measure.tell("making up orders")
        snapshot = _copies.write(given.orders, Path(folder))
        contenders = _contenders(snapshot, given.only)
        timings = _measure.time_rounds(contenders, given.rounds, collect=True)
        size = sum(path.stat().st_size for path in snapshot.files["orders"])
    _measure.tell("")
    print(
        f"Measures of {given.orders:,} orders; the table of orders takes {size / 1e6:,.0f} MB on "
        f"disk.\nLoad of the machine before: {load:.2f}.\n"
    )
    print(_table(timings, given.orders), _legend(given.rounds), sep="\n\n")
    print("\n" + _report.machine_facts("trackstar_frames", "pandas", "pyarrow", "numpy"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--orders", type=_options.count, default=200_000, help="all orders (200,000)")
    add("--rounds", type=_options.count, default=3, help="how often each is timed (3)")
    add("--only", default="", help="only measures with this in their name")
    return parser


def _contenders(snapshot: tf.Snapshot, only: str) -> list[_measure.Contender]:
    frames, path = snapshot.read(), snapshot.path / "orders"
    few = _few(frames)
    count = len(frames.orders)

    def contender(
        name: str, work: Callable[[Any], Any], given: object, little: object
    ) -> _measure.Contender:
        return _measure.Contender(
            name, work, lambda: given, functools.partial(work, little), orders=count, size=0
        )

    found = [contender(READ, pd.read_parquet, path, path)]
    for name, work in MEASURES.items():
        if only in name:
            found.append(contender(name, work, frames, few))
    if only in FIRST:
        root = snapshot.path.parent
        found.append(contender(FIRST, tf.first_promises, root, root))
    return found


def _few(frames: tf.OrderFrames) -> tf.OrderFrames:
    """Return the first orders, with what is in them."""
    tables = frames.to_arrow()
    ids = tables["orders"]["id"].slice(0, 100)
    keys = {name: "id" if name == "orders" else "order_id" for name in tables}
    kept = {name: table.filter(pc.is_in(table[keys[name]], ids)) for name, table in tables.items()}
    return tf.OrderFrames(kept, frames.info)


def _table(timings: _measure.Timings, orders: int) -> str:
    million = 1_000_000 / orders

    def cells(name: str) -> list[str]:
        seconds, cpu = timings.seconds[name], timings.cpu[name]
        return [
            name,
            f"{min(seconds):.2f}",
            f"{statistics.median(seconds):.2f}",
            f"{min(cpu):.2f}",
            f"{min(cpu) * million:.2f}",
            f"{timings.ratio(READ, name):.2f}",
        ]

    header = ["work", "seconds", "median", "CPU s", "CPU s, million", "of reading"]
    return _report.format_table(header, [cells(name) for name in timings.seconds])


def _legend(rounds: int) -> str:
    return (
        "seconds     the best of all rounds; all take turns in each\n"
        "CPU s       of all CPUs, the least of all rounds; of a million orders: times as many\n"
        "of reading  the seconds, of those of reading the orders in the same round; the median\n"
        f"Rounds: {rounds:,}."
    )


if __name__ == "__main__":
    main()
