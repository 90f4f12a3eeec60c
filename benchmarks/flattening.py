"""Orders' JSON to tables: this package beside other ways, on the same pages in one run."""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from copy import copy
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import _measure
import _options
import _pages
import _peers
import _report
import _server
import pandas as pd
import pyarrow as pa

import trackstar_frames as tf
from trackstar_frames.schema import TABLES

ORJSON = "orjson.loads, nothing built"
NORMALIZE = "json_normalize, record_path"
BY_HAND = "orjson and pandas, by hand"
DLT = "dlt, HTTP to Parquet"


def main() -> None:
    """Run the benchmark and print it."""
    given = _parser().parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="trackstar-benchmark-") as folder,
        _server.serve(min(given.pages, _pages.MADE_UP) * _pages.PAGE) as serving,
    ):
        if given.threads:
            _measure.limit_threads(given.threads)
        report = _run(given, serving.server, Path(folder))
    _measure.tell("")
    print("\n\n".join(report))


def to_arrow(bodies: Sequence[bytes]) -> dict[str, pa.Table]:
    """Our six tables and the problems, as Arrow tables."""
    return tf.OrderFrames.from_json(bodies).to_arrow()


def to_pandas(bodies: Sequence[bytes]) -> dict[str, pd.DataFrame]:
    """Our six tables and the problems, as pandas frames."""
    frames = tf.OrderFrames.from_json(bodies)
    return {name: getattr(frames, name) for name in TABLES}


#: Who works on which pages, without a network.
IN_MEMORY = {
    "ours, to Arrow": (to_arrow, "plain"),
    "ours, to pandas": (to_pandas, "plain"),
    "ours, to Arrow, odd pages": (to_arrow, "odd"),
    "ours, to pandas, odd pages": (to_pandas, "odd"),
    ORJSON: (_peers.orjson_loads, "plain"),
    NORMALIZE: (_peers.normalize, "plain"),
    BY_HAND: (_peers.by_hand, "plain"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--pages", type=_options.count, default=20, help="pages of 1,000 orders (20)")
    add("--rounds", type=_options.count, default=5, help="how often each is timed (5)")
    add("--threads", type=_options.count, help="keep to so many threads and CPUs (all)")
    share = "share of the odd pages with a mistyped price, one page at least (0.01)"
    add("--odd-pages", type=_options.share, default=0.01, metavar="SHARE", help=share)
    add("--dlt-pages", type=_options.count, default=2, metavar="PAGES", help="pages for dlt (2)")
    add("--no-dlt", dest="dlt", action="store_false", help="leave dlt out")
    add("--no-gc", dest="gc", action="store_false", help="turn the garbage collector off")
    add("--no-memory", dest="memory", action="store_false", help="leave peak memory out")
    return parser


def _run(given: argparse.Namespace, server: _server.Server, folder: Path) -> list[str]:
    """Make the pages, compare the rows, measure, and give the parts of the report."""
    _measure.tell("making up orders")
    plain = _pages.write(folder / "plain", _pages.fetch(server, given.pages))
    bodies = _pages.read(plain)
    odd = _pages.write(folder / "odd", _pages.make_odd(bodies, given.odd_pages))
    _measure.tell("comparing the rows")
    rows = _rows(to_arrow(bodies))
    _check_rows(rows, bodies, _pages.read(odd))
    contenders = _in_memory({"plain": plain, "odd": odd})
    if given.dlt and find_spec("dlt"):
        contenders.append(
            _over_http(server, folder, bodies[: min(given.dlt_pages, _pages.MADE_UP)])
        )
    timings = _measure.time_rounds(contenders, given.rounds, collect=given.gc)
    peaks = {
        each.name: _measure.peak_growth(each, collect=given.gc) if given.memory else None
        for each in contenders
    }
    beside = {"x orjson": ORJSON, "x normalize": NORMALIZE}
    return [
        _heading(given, rows, bodies),
        _report.speed_table(contenders, timings, peaks, beside),
        _notes(given),
        _sizes(bodies, folder),
        _report.machine_facts("trackstar_frames", "pandas", "pyarrow", "orjson"),
    ]


def _in_memory(folders: Mapping[str, Path]) -> list[_measure.Contender]:
    return [
        _measure.Contender(
            name,
            work=work,
            prepare=partial(_pages.read, folders[kind]),
            rehearse=partial(work, [_start(bodies[0])]),
            orders=len(bodies) * _pages.PAGE,
            size=sum(map(len, bodies)),
        )
        for name, (work, kind) in IN_MEMORY.items()
        for bodies in [_pages.read(folders[kind])]
    ]


def _over_http(server: _server.Server, folder: Path, bodies: Sequence[bytes]) -> _measure.Contender:
    listing = _peers.Listing(server, len(bodies), _pages.PAGE, folder)
    few = _peers.Listing(server, 1, 100, folder)
    _check(DLT, _measure.in_new_process(_peers.dlt_to_parquet, listing), _rows(to_arrow(bodies)))
    return _measure.Contender(
        DLT,
        work=_peers.dlt_to_parquet,
        prepare=partial(copy, listing),
        rehearse=partial(_peers.dlt_to_parquet, few),
        orders=len(bodies) * _pages.PAGE,
        size=sum(map(len, bodies)),
        apart=True,
    )


def _start(body: bytes) -> bytes:
    """Cut a page down to orders enough for every table to have rows."""
    return json.dumps({"data": json.loads(body)["data"][:100], "next_token": None}).encode()


def _rows(tables: Mapping[str, Any]) -> dict[str, int]:
    return {name: len(table) for name, table in tables.items() if name != "problems"}


def _check_rows(ours: Mapping[str, int], bodies: Sequence[bytes], odd: Sequence[bytes]) -> None:
    """Compare the rows before anything is timed: who does less work is no peer."""
    _check("ours, odd pages", _rows(to_arrow(odd)), ours)
    _check(NORMALIZE, _rows(_peers.normalize(bodies)), ours)
    _check(BY_HAND, _rows(_peers.by_hand(bodies)), ours)


def _check(name: str, theirs: Mapping[str, int], ours: Mapping[str, int]) -> None:
    if theirs != ours:
        sys.exit(f"{name}: other rows than ours, so no time compares:\n{theirs}\nours: {ours}")


def _heading(given: argparse.Namespace, rows: Mapping[str, int], bodies: Sequence[bytes]) -> str:
    size, orders = sum(map(len, bodies)), rows["orders"]
    below = [f"{count:,} {name.replace('_', ' ')}" for name, count in rows.items()]
    mistyped = _pages.count_mistyped(bodies, given.odd_pages)
    return (
        f"Flattening {size / 1e6:,.1f} MB of JSON, {size / orders / 1e3:.1f} kB an order.\n"
        f"Rows:  {', '.join(below[:3])},\n       {', '.join(below[3:])}; the same for all.\n"
        f"Odd:   an unknown field on every order; a mistyped price on {mistyped:,} of "
        f"{len(bodies):,} pages."
    )


def _notes(given: argparse.Namespace) -> str:
    lines = [
        _report.legend(),
        f"Rounds: {given.rounds:,}. Garbage collector: {'on' if given.gc else 'off'}.",
    ]
    if not find_spec("dlt"):
        lines.append("Without dlt, which is not installed: python -m pip install 'dlt[parquet]'.")
    return "\n".join(lines)


def _sizes(bodies: Sequence[bytes], folder: Path) -> str:
    """Count the bytes of the same orders, form by form."""
    _measure.tell("counting bytes")
    frames = tf.OrderFrames.from_json(bodies)
    files = tf.write_snapshot(frames, folder / "snapshots").files
    sizes = {
        "JSON": sum(map(len, bodies)),
        "Arrow tables, ours": sum(table.nbytes for table in frames.to_arrow().values()),
        "pandas frames, ours": _deep(to_pandas(bodies)),
        "pandas frames, json_normalize": _deep(_peers.normalize(bodies)),
        "Parquet snapshot, ours": sum(
            path.stat().st_size for paths in files.values() for path in paths
        ),
    }
    cells = [
        [name, f"{size / len(frames.orders):,.0f}", f"{size / sizes['JSON']:.2f}"]
        for name, size in sizes.items()
    ]
    return _report.format_table(["the same orders as", "bytes/order", "x JSON"], cells)


def _deep(frames: Mapping[str, pd.DataFrame]) -> int:
    return sum(int(frame.memory_usage(deep=True).sum()) for frame in frames.values())


if __name__ == "__main__":
    main()
