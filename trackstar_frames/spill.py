"""More orders than memory holds: batches in sorted runs on disk, and read back by their keys.

A run is some thousands of orders, sorted, in blocks; so a span of keys is read from every
run without the rest of it. Orders that were met twice are found by their ids over all runs.
"""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from trackstar_frames.flatten import BATCH, Batch
from trackstar_frames.joining import Numbers
from trackstar_frames.manifest import Key
from trackstar_frames.schema import TABLES
from trackstar_frames.tables import sort

__all__ = ["Spill"]

_RUN = 16_000  # orders; twice as many are in memory at times
_BLOCK = 1_000  # orders
_PAGE = "_page"
_LAST = np.iinfo(np.int64).max  # the created_date of orders that have none
_FIRST = np.iinfo(np.int64).min  # the updated_date of orders that have none
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class Spill:
    """Batches on disk; may be added from several threads, then settled, then read by keys.

    Parameters
    ----------
    folder
        A private one; whoever made it removes it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._held: list[Batch] = []
        self._runs: list[_Run] = []
        self._numbers = itertools.count()

    def add(self, batch: Batch, page: int) -> None:
        """Keep a batch of a page; the number of the page tells it from others in `settle`."""
        orders = batch["orders"]
        batch["orders"] = orders.append_column(_PAGE, pa.array(np.full(len(orders), page)))
        with self._lock:
            self._held.append(batch)
            if sum(len(each["orders"]) for each in self._held) < _RUN:
                return
            full, self._held = self._held, []
        self._write(full)

    def settle(self, ranks: Sequence[int]) -> int:
        """Choose which orders to keep, once all are there.

        Of an order that is there more than once, the newest `updated_date` is kept; of equals,
        that of the page with the higher rank, and the last on it.

        Parameters
        ----------
        ranks
            The rank of each page; less than 0 leaves all its orders out.

        Returns
        -------
        int
            How many orders were dropped as duplicates.
        """
        with self._lock:
            rest, self._held = self._held, []
        if rest:
            self._write(rest)
        rank_of = np.asarray([*ranks, -1])
        hashes = []
        for run in self._runs:
            met = run.columns("id", "created_date", _PAGE)
            run.kept = rank_of[met[_PAGE].to_numpy()] >= 0
            run.created = _microseconds(met["created_date"], _LAST)
            hashes.append(pd.util.hash_array(met["id"].to_numpy()))
        return self._drop_duplicates(hashes, rank_of)

    @property
    def orders(self) -> int:
        """How many orders are kept."""
        return sum(int(run.kept.sum()) for run in self._runs)

    def ids(self) -> pa.Array:
        """Give the ids of the orders that are kept, in no order."""
        kept = [run.columns("id")["id"].filter(pa.array(run.kept)) for run in self._runs]
        return (
            pa.chunked_array(kept, pa.string()).combine_chunks() if kept else pa.array([], "string")
        )

    def firsts(self, size: int) -> list[Key]:
        """Give the keys that cut the orders into runs of so many; the first run has none."""
        if not self._runs:
            return []
        created = np.sort(np.concatenate([run.created[run.kept] for run in self._runs]))
        return [self._key_at(place, created) for place in range(size, len(created), size)]

    def between(self, firsts: Sequence[Key]) -> Iterator[tuple[list[Batch], Numbers]]:
        """Read the orders, cut at some keys.

        Yields
        ------
        list of Batch, numpy.ndarray
            For each span, and the numbers of the orders to keep over these batches. The last
            span has the rows of no order too.
        """
        cuts = [run.cut(firsts) for run in self._runs]
        for span in range(len(firsts) + 1):
            is_last = span == len(firsts)
            batches, kept, start = [], [np.array([], np.int64)], 0
            for run, places in zip(self._runs, cuts, strict=True):
                first, end = places[span], places[span + 1]
                if first < end or is_last:
                    batches.append(run.read(first, end, is_last=is_last))
                    kept.append(np.flatnonzero(run.kept[first:end]) + start)
                    start += end - first
            yield batches, np.concatenate(kept)

    def _write(self, batches: list[Batch]) -> None:
        run = _Run(self._folder / f"{next(self._numbers):05}")
        run.write(sort(batches))
        with self._lock:
            self._runs.append(run)

    def _drop_duplicates(self, hashes: list[npt.NDArray[np.uint64]], rank_of: Numbers) -> int:
        _, group, counts = np.unique(
            np.concatenate([np.array([], np.uint64), *hashes]),
            return_inverse=True,
            return_counts=True,
        )
        again = counts[group] > 1
        ends = np.cumsum([len(each) for each in hashes])
        best: dict[str, _Met] = {}
        dropped = 0
        for run, suspects in zip(self._runs, np.split(again, ends[:-1]), strict=True):
            for met in run.describe(np.flatnonzero(suspects & run.kept), rank_of):
                other = best.setdefault(met.id, met)
                if other is not met:
                    best[met.id], worse = (met, other) if other.value <= met.value else (other, met)
                    worse.run.kept[worse.row] = False
                    dropped += 1
        return dropped

    def _key_at(self, place: int, created: Numbers) -> Key:
        moment = created[place]
        known = None if moment == _LAST else int(moment)
        if created[place - 1] != moment:
            return known, ""
        equals = sorted(each for run in self._runs for each in run.ids_at(moment))
        return known, equals[place - int(np.searchsorted(created, moment))]


class _Met(NamedTuple):
    """One of several orders of an id; of the best one, the value is the greatest."""

    id: str
    value: tuple[int, int, int]
    run: _Run
    row: int


@dataclass
class _Run:
    """One sorted run: a file for each table, in blocks of the same orders."""

    folder: Path
    created: Numbers = field(default_factory=lambda: np.array([], np.int64))
    kept: npt.NDArray[np.bool_] = field(default_factory=lambda: np.array([], bool))

    def write(self, batch: Batch) -> None:
        orders = len(batch["orders"])
        self.folder.mkdir(mode=0o700)
        starts = np.arange(0, max(orders, 1), _BLOCK)
        for name, table in batch.items():
            numbers = table[BATCH].fill_null(orders).to_numpy()
            places = [*np.searchsorted(numbers, starts), len(table)]
            with pa.ipc.new_file(self._path(name), table.schema, options=_OPTIONS) as file:
                for first, end in itertools.pairwise(places):
                    file.write_batch(_as_one(table[first:end]))

    def columns(self, *names: str) -> pa.Table:
        """Read some columns of all its orders."""
        with pa.OSFile(str(self._path("orders"))) as source:
            whole = pa.ipc.open_file(source).schema
            wanted = [whole.get_field_index(name) for name in names]
            options = pa.ipc.IpcReadOptions(included_fields=wanted)
            return pa.ipc.open_file(source, options=options).read_all().combine_chunks()

    def describe(self, rows: Numbers, rank_of: Numbers) -> Iterator[_Met]:
        """Give what makes one of several orders of an id better than the others."""
        met = self.columns("id", "updated_date", _PAGE).take(pa.array(rows))
        updated = _microseconds(met["updated_date"], _FIRST).tolist()
        ranks = rank_of[met[_PAGE].to_numpy()].tolist()
        values = zip(updated, ranks, rows.tolist(), strict=True)
        for key, value in zip(met["id"].to_pylist(), values, strict=True):
            yield _Met(key, value, self, value[-1])

    def cut(self, firsts: Sequence[Key]) -> list[int]:
        """Tell from which row on the orders of each span are, and where the last one ends."""
        return [0, *(self._place(key) for key in firsts), len(self.created)]

    def ids_at(self, moment: int) -> list[str]:
        """Give the ids of the orders of a moment that are kept."""
        first, end = self._equals(moment)
        if first == end:
            return []
        ids = self.columns("id")["id"][first:end]
        found: list[str] = ids.filter(pa.array(self.kept[first:end])).to_pylist()
        return found

    def read(self, first: int, end: int, *, is_last: bool) -> Batch:
        """Read the rows of some orders, and those of none with the last ones."""
        blocks = range(first // _BLOCK, -(-end // _BLOCK))
        batch = {}
        for name in TABLES:
            with pa.OSFile(str(self._path(name))) as source:
                file = pa.ipc.open_file(source)
                chosen = range(blocks.start, file.num_record_batches) if is_last else blocks
                table = pa.Table.from_batches(
                    [file.get_batch(each) for each in chosen], file.schema
                )
            numbers = table[BATCH].fill_null(_LAST).to_numpy()
            start, stop = np.searchsorted(numbers, [first, end])
            rows = table[start : len(table) if is_last else stop]
            shifted = pa.compute.subtract(rows[BATCH], first)
            batch[name] = rows.set_column(0, BATCH, shifted)
        batch["orders"] = batch["orders"].drop_columns(_PAGE)
        return batch

    def _place(self, key: Key) -> int:
        moment = _LAST if key[0] is None else key[0]
        first, end = self._equals(moment)
        if first == end or not key[1]:
            return first
        ids = self.columns("id")["id"]
        return bisect_left(range(len(ids)), key[1], first, end, key=lambda row: ids[row].as_py())

    def _equals(self, moment: int) -> tuple[int, int]:
        first, end = (
            int(np.searchsorted(self.created, moment, side)) for side in ("left", "right")
        )
        return first, end

    def _path(self, table: str) -> Path:
        return self.folder / f"{table}.arrow"


def _as_one(table: pa.Table) -> pa.RecordBatch:
    arrays = [column.combine_chunks() for column in table.columns]
    return pa.record_batch(arrays, schema=table.schema)


def _microseconds(column: pa.ChunkedArray, missing: int) -> Numbers:
    whole: Numbers = column.cast(pa.int64()).fill_null(missing).to_numpy()
    return whole
