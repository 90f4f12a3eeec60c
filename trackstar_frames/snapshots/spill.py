"""More orders than memory holds: batches in sorted runs on disk, and read back by their keys.

Orders that were met twice are found by their ids over all runs.
"""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from trackstar_frames.flatten import BATCH, Batch, batch_schema
from trackstar_frames.schema import TABLES
from trackstar_frames.snapshots.manifest import Key
from trackstar_frames.tables.assemble import Numbers, new_strays, release_memory, select, sort

__all__ = ["LAST", "MET", "Run", "Spill", "microseconds"]


_RUN = 16_000  # orders; twice as many are in memory at times
_FIRST = np.iinfo(np.int64).min  # the updated_date of orders that have none


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
        self._runs: list[Run] = []
        self._numbers = itertools.count()
        self._arrivals = _Arrivals()

    def add(self, batch: Batch, page: int) -> None:
        """Keep a batch of a page; those of one page come one after the other.

        The number of the page tells it from others in `settle`.
        """
        with self._lock:
            self._arrivals.mark(batch, page)
            self._held.append(batch)
            if sum(len(each["orders"]) for each in self._held) < _RUN:
                return
            full, self._held = self._held, []
        self._write(full)

    def settle(
        self, ranks: Sequence[int], repeats: Sequence[bool], *, leaves_out: bool = False
    ) -> int:
        """Choose which orders to keep, once all are there.

        Of an order that is there more than once, the newest `updated_date` is kept; of equals,
        that of the page with the higher rank, and the last on it.

        Parameters
        ----------
        ranks
            The rank of each page.
        repeats
            Tells of each page whether its orders are expected on others, too: those are no
            duplicates, and its rows of no order are kept only if no other page has them.
        leaves_out
            Whether the orders of those pages are left out, as only so many are wanted.

        Returns
        -------
        int
            How many orders were dropped as duplicates.
        """
        with self._lock:
            rest, self._held = self._held, []
        if rest:
            self._write(rest)
        self._arrivals.ranks, self._arrivals.repeats = ranks, repeats
        hashes = []
        for run in self._runs:
            met = run.columns("id", "created_date", MET)
            run.kept = ~np.array(self._arrivals.repeats_of(met), bool) | (not leaves_out)
            run.created = microseconds(met["created_date"], LAST)
            hashes.append(pd.util.hash_array(met["id"].to_numpy()))
        return self._drop_duplicates(hashes)

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
            release_memory()
            batches, orders = [], 0
            for run, places in zip(self._runs, cuts, strict=True):
                first, end = places[span], places[span + 1]
                chosen = np.flatnonzero(run.kept[first:end])
                if len(chosen):
                    batches.append(select(run.read(first, end), chosen))
                    orders += len(chosen)
            if span == len(firsts):
                batches.append(self._strays())
            yield batches, np.arange(orders)

    def _write(self, batches: list[Batch]) -> None:
        run = Run(self._folder / f"{next(self._numbers):05}")
        run.write(sort(batches))
        with self._lock:
            self._runs.append(run)

    def _drop_duplicates(self, hashes: list[npt.NDArray[np.uint64]]) -> int:
        _, group, counts = np.unique(
            np.concatenate([np.array([], np.uint64), *hashes]),
            return_inverse=True,
            return_counts=True,
        )
        again, end = counts[group] > 1, 0
        best: dict[str, _Met] = {}
        expected: set[str] = set()
        duplicates = 0
        for run in self._runs:
            first, end = end, end + len(run.kept)
            for met in self._describe(run, np.flatnonzero(again[first:end] & run.kept)):
                other = best.setdefault(met.id, met)
                if other is not met:
                    best[met.id], worse = (met, other) if other.value < met.value else (other, met)
                    worse.run.kept[worse.row] = False
                if not met.is_repeat:
                    duplicates += met.id in expected
                    expected.add(met.id)
        return duplicates

    def _describe(self, run: Run, rows: Numbers) -> Iterator[_Met]:
        """Give what makes one of several orders of an id better than the others."""
        met = run.columns("id", "updated_date", MET).take(pa.array(rows))
        updated = microseconds(met["updated_date"], _FIRST)
        ranks, repeats = self._arrivals.ranks_of(met), self._arrivals.repeats_of(met)
        values = zip(updated.tolist(), ranks.tolist(), met[MET].to_pylist(), strict=True)
        ids = met["id"].to_pylist()
        for key, value, row, again in zip(ids, values, rows.tolist(), repeats, strict=True):
            yield _Met(key, value, run, row, again)

    def _strays(self) -> Batch:
        """Give the rows of no order as a batch, in the sequence of their pages."""
        batch = {name: batch_schema(name).empty_table() for name in TABLES}
        if self._runs:
            rows = pa.concat_tables(run.strays() for run in self._runs)
            sequence = np.lexsort([rows[MET].to_numpy(), self._arrivals.ranks_of(rows)])
            rows = rows.take(pa.array(sequence))
            keep = new_strays(rows, self._arrivals.repeats_of(rows))
            batch["problems"] = rows.filter(keep).select(batch["problems"].column_names)
        return batch

    def _key_at(self, place: int, created: Numbers) -> Key:
        moment = created[place]
        known = None if moment == LAST else int(moment)
        if created[place - 1] != moment:
            return known, ""
        equals = sorted(each for run in self._runs for each in run.ids_at(moment))
        return known, equals[place - int(np.searchsorted(created, moment))]


class _Met(NamedTuple):
    """One of several orders of an id; of the best one, the value is the greatest."""

    id: str
    value: tuple[int, int, int]
    run: Run
    row: int
    is_repeat: bool


class _Arrivals:
    """Numbers what comes, and knows of which page it was."""

    def __init__(self) -> None:
        self.ranks: Sequence[int] = []
        self.repeats: Sequence[bool] = []
        self._pages: list[int] = []
        self._starts: list[int] = []
        self._next = 0

    def mark(self, batch: Batch, page: int) -> None:
        """Give the orders of a batch numbers; its problems have that of the first one."""
        first, orders = self._next, len(batch["orders"])
        self._pages.append(page)
        self._starts.append(first)
        self._next += max(1, orders)
        for name, numbers in {
            "orders": np.arange(first, first + orders),
            "problems": np.full(len(batch["problems"]), first),
        }.items():
            batch[name] = batch[name].append_column(MET, pa.array(numbers))

    def ranks_of(self, rows: pa.Table) -> Numbers:
        """Tell the rank of the page of each row."""
        ranks: Numbers = np.array(self.ranks, np.int64)[self._page_of(rows)]
        return ranks

    def repeats_of(self, rows: pa.Table) -> list[bool]:
        """Tell of each row whether its page repeats others."""
        repeats: list[bool] = np.array(self.repeats, bool)[self._page_of(rows)].tolist()
        return repeats

    def _page_of(self, rows: pa.Table) -> Numbers:
        batch = np.searchsorted(self._starts, rows[MET].to_numpy(), "right") - 1
        pages: Numbers = np.array(self._pages, np.int64)[batch]
        return pages


#: The column that tells orders, and the rows of none, by when they came.
MET = "_met"

#: The created_date of orders that have none.
LAST = np.iinfo(np.int64).max

_BLOCK = 500  # orders
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class Run:
    """A file for each table, in blocks of the same orders; the last block is of no order.

    Parameters
    ----------
    folder
        Where; made by `write`.

    Attributes
    ----------
    created : numpy.ndarray
        When its orders were created, in microseconds, once it is known that this matters.
    kept : numpy.ndarray
        Which of its orders are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.created: Numbers = np.array([], np.int64)
        self.kept: npt.NDArray[np.bool_] = np.array([], bool)

    def write(self, batch: Batch) -> None:
        """Write the rows of sorted orders."""
        orders = len(batch["orders"])
        self._folder.mkdir(mode=0o700)
        starts = [*range(0, orders, _BLOCK), orders]
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

    def read(self, first: int, end: int) -> Batch:
        """Read the rows of some orders."""
        blocks = range(first // _BLOCK, -(-end // _BLOCK))
        batch = {}
        for name in TABLES:
            with pa.OSFile(str(self._path(name))) as source:
                file = pa.ipc.open_file(source, memory_pool=pa.system_memory_pool())
                found = [file.get_batch(each) for each in blocks]
                table = pa.Table.from_batches(found, file.schema)
            start, stop = np.searchsorted(table[BATCH].to_numpy(), [first, end])
            wanted = table[start:stop].select(batch_schema(name).names)
            # A copy, so that the rest of the outer blocks does not stay: with many runs, that
            # would be half as much again.
            rows = wanted.combine_chunks(memory_pool=pa.system_memory_pool())
            batch[name] = rows.set_column(0, BATCH, pa.compute.subtract(rows[BATCH], first))
        return batch

    def strays(self) -> pa.Table:
        """Read the problems of no order, with `MET`."""
        with pa.OSFile(str(self._path("problems"))) as source:
            file = pa.ipc.open_file(source)
            return pa.Table.from_batches([file.get_batch(file.num_record_batches - 1)])

    def _place(self, key: Key) -> int:
        moment = LAST if key[0] is None else key[0]
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
        return self._folder / f"{table}.arrow"


def microseconds(column: pa.ChunkedArray, missing: int) -> Numbers:
    """Give moments as whole numbers."""
    whole: Numbers = column.cast(pa.int64()).fill_null(missing).to_numpy()
    return whole


def _as_one(table: pa.Table) -> pa.RecordBatch:
    arrays = [column.combine_chunks() for column in table.columns]
    return pa.record_batch(arrays, schema=table.schema)
