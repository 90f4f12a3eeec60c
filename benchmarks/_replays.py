"""Pages on disk: how fast they become tables again, and what they weigh there."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import _fetchers
import _measure
import _pages
import _report
import pyarrow as pa
from _fetchers import FetchRequest
from _measure import Contender

import trackstar_frames as tf
from trackstar_frames.http.cache import PageCache

MEMORY = "from_json, bodies in memory"
CHAIN = "replay, one chain"
WINDOWS = "replay, in windows"

_ALL = 10**9  # as a limit: all, by one cursor


def report(request: FetchRequest, *, share: float, rounds: int, folder: Path) -> list[str]:
    """Measure, and give the parts of the report.

    Parameters
    ----------
    request
        All orders, through a cache that is empty.
    share
        The share of them to work on: the newest ones.
    rounds
        How often each is timed.
    folder
        A place for files.
    """
    start, end = request.created
    some = replace(request, created=(end - (end - start) * share, end))
    _measure.tell("filling the cache")
    bodies = _fetchers.bodies(some)
    sizes = _sizes(bodies, some.cache)
    contenders = _contenders(some, bodies, _pages.write(folder / "bodies", bodies))
    timings = _measure.time_rounds(contenders, rounds, collect=True)
    peaks = {each.name: _measure.peak_growth(each, collect=True) for each in contenders}
    return [
        f"Pages to Arrow tables: {len(bodies):,} pages, from memory and from disk.",
        _report.speed_table(contenders, timings, peaks, {"x memory": MEMORY}),
        _report.legend() + f"\nRounds: {rounds}.",
        sizes,
    ]


def _contenders(request: FetchRequest, bodies: Sequence[bytes], folder: Path) -> list[Contender]:
    chain = replace(request, limit=_ALL)
    orders = len(_fetchers.fetch(request).to_arrow()["orders"])
    about = {"orders": orders, "size": sum(map(len, bodies))}
    memory = Contender(
        MEMORY,
        work=tf.OrderFrames.from_json,
        prepare=partial(_pages.read, folder),
        rehearse=partial(tf.OrderFrames.from_json, bodies[-1]),
        **about,
    )
    disk = [
        Contender(
            name,
            work=_fetchers.replay,
            prepare=partial(replace, asked),
            rehearse=partial(tf.OrderFrames.from_json, bodies[-1]),
            **about,
        )
        for name, asked in {CHAIN: chain, WINDOWS: request}.items()
    ]
    return [memory, *disk]


def _sizes(bodies: Sequence[bytes], cache: Path) -> str:
    """Compare the cache's file with what its pages are squeezed to."""
    codec = pa.Codec("zstd", compression_level=3)
    sizes = {
        "JSON": sum(map(len, bodies)),
        "zstd 3, body by body": sum(len(codec.compress(body)) for body in bodies),
        "the cache's file": PageCache(cache).info()["bytes"],
    }
    squeezed = sizes["zstd 3, body by body"]
    cells = [[name, f"{size:,}", f"{size / squeezed:.3f}"] for name, size in sizes.items()]
    return _report.format_table(["the same pages as", "bytes", "x zstd 3"], cells)
