"""Orders on disk, more than fit into memory, until all of a fetch are there.

Runs of some thousand sorted orders are written to a `storage.scratch_folder`, which is always
local. Duplicates are found by id over all runs; then orders are read in sort order, span by span.
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

from trackstar_frames.flatten.layout import ORDER_INDEX, Batch, batch_schema, empty_batch
from trackstar_frames.schema import TABLES
from trackstar_frames.snapshots.manifest import Key
from trackstar_frames.tables.assemble import Numbers, drop_repeats, release_memory, select, sort

_RUN_SIZE = 16_000  # orders; twice as many are in memory at times

#: Columns of orders and of problems: the number of their page, and one that rises as they arrive.
_PAGE, _ARRIVAL = "_page", "_arrival"

#: The updated_date and the created_date of orders that have none.
_NO_UPDATE, _NO_CREATION = np.iinfo(np.int64).min, np.iinfo(np.int64).max


class Spill:
    """Batches in a scratch folder: added by several threads, deduplicated, then read by keys."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._batches: list[Batch] = []
        self._runs: list[_Run] = []
        self._numbers = itertools.count()
        self._arrivals = 0
        self._ranks = np.array([], np.int64)
        self._repeats = np.array([], bool)

    def add(self, batch: Batch, page: int) -> None:
        """Add a batch of a page, which has a number; batches of one page are added in order."""
        orders, problems = batch["orders"], batch["problems"]
        with self._lock:
            first, end = self._arrivals, self._arrivals + len(orders)
            self._arrivals = max(end, first + 1)
            batch["orders"] = _mark(orders, page, np.arange(first, end))
            batch["problems"] = _mark(problems, page, np.full(len(problems), first))
            self._batches.append(batch)
            if sum(len(each["orders"]) for each in self._batches) < _RUN_SIZE:
                return
            full, self._batches = self._batches, []
        self._write_run(full)

    def deduplicate(
        self, ranks: Sequence[int], repeats: Sequence[bool], *, drop_repeats: bool = False
    ) -> int:
        """Choose which orders to keep, once all are there; return the number of duplicates.

        Of an id, the newest `updated_date` is kept; of equals, the last of the page with the
        highest rank. A page `repeats` if other pages are expected to have its orders, too: they
        are no duplicates (dropped if `drop_repeats`), and its rows of no order only count if new.
        """
        with self._lock:
            left, self._batches = self._batches, []
        if left:
            self._write_run(left)
        self._ranks, self._repeats = np.array(ranks, np.int64), np.array(repeats, bool)
        hashes = []
        for run in self._runs:
            orders = run.columns("id", "created_date", _PAGE)
            run.kept = ~self._repeats[orders[_PAGE].to_numpy()] | (not drop_repeats)
            run.created = _microseconds(orders["created_date"], _NO_CREATION)
            hashes.append(pd.util.hash_array(orders["id"].to_numpy()))
        return self._drop_duplicates(hashes)

    @property
    def orders(self) -> int:
        """How many orders are kept."""
        return sum(int(run.kept.sum()) for run in self._runs)

    def ids(self) -> pa.Array:
        """Return the ids of the orders that are kept, in no order."""
        kept = [run.columns("id")["id"].filter(pa.array(run.kept)) for run in self._runs]
        chunks = [chunk for ids in kept for chunk in ids.chunks]
        return pa.chunked_array(chunks, pa.string()).combine_chunks()

    def cuts(self, size: int) -> list[Key]:
        """Return the first key of each span of so many orders but the first, which needs none."""
        if not self._runs:
            return []
        created = np.sort(np.concatenate([run.created[run.kept] for run in self._runs]))
        return [self._key_at(position, created) for position in range(size, len(created), size)]

    def spans(self, cuts: Sequence[Key]) -> Iterator[tuple[list[Batch], Numbers]]:
        """Yield the batches of each span, and the numbers of its orders over these batches.

        The last span has the rows of no order too.
        """
        rows = [[0, *map(run.row, cuts), len(run.created)] for run in self._runs]
        for span in range(len(cuts) + 1):
            release_memory()
            batches, orders = [], 0
            for run, places in zip(self._runs, rows, strict=True):
                first, end = places[span], places[span + 1]
                chosen = np.flatnonzero(run.kept[first:end])
                if len(chosen):
                    batches.append(select(run.read(first, end), chosen))
                    orders += len(chosen)
            if span == len(cuts):
                batches.append(self._strays())
            yield batches, np.arange(orders)

    def _write_run(self, batches: list[Batch]) -> None:
        run = _Run(self._folder / f"{next(self._numbers):05}")
        run.write(sort(batches))
        with self._lock:
            self._runs.append(run)

    def _drop_duplicates(self, hashes: list[npt.NDArray[np.uint64]]) -> int:
        _, group, counts = np.unique(
            np.concatenate([np.array([], np.uint64), *hashes]),
            return_inverse=True,
            return_counts=True,
        )
        is_candidate, end = counts[group] > 1, 0
        best: dict[str, _Candidate] = {}
        expected: set[str] = set()
        duplicates = 0
        for run in self._runs:
            first, end = end, end + len(run.kept)
            rows = np.flatnonzero(is_candidate[first:end] & run.kept)
            for candidate in self._candidates(run, rows):
                key, other = candidate.id, best.setdefault(candidate.id, candidate)
                if other is not candidate:
                    worse = candidate
                    if other.value < candidate.value:
                        best[key], worse = candidate, other
                    worse.run.kept[worse.row] = False
                if not candidate.is_repeat:
                    duplicates += key in expected
                    expected.add(key)
        return duplicates

    def _candidates(self, run: _Run, rows: Numbers) -> Iterator[_Candidate]:
        orders = run.columns("id", "updated_date", _PAGE, _ARRIVAL).take(pa.array(rows))
        updated = _microseconds(orders["updated_date"], _NO_UPDATE).tolist()
        pages = orders[_PAGE].to_numpy()
        ranks, repeats = self._ranks[pages].tolist(), self._repeats[pages].tolist()
        values = zip(updated, ranks, orders[_ARRIVAL].to_pylist(), strict=True)
        ids = orders["id"].to_pylist()
        for key, value, row, is_repeat in zip(ids, values, rows.tolist(), repeats, strict=True):
            yield _Candidate(key, value, run, row, is_repeat)

    def _strays(self) -> Batch:
        """Return the rows of no order as a batch, in the order of their pages."""
        batch = empty_batch()
        if self._runs:
            rows = pa.concat_tables(run.strays() for run in self._runs)
            ranks = self._ranks[rows[_PAGE].to_numpy()]
            rows = rows.take(pa.array(np.lexsort([rows[_ARRIVAL].to_numpy(), ranks])))
            rows = drop_repeats(rows, self._repeats[rows[_PAGE].to_numpy()].tolist())
            batch["problems"] = rows.select(batch["problems"].column_names)
        return batch

    def _key_at(self, position: int, created: Numbers) -> Key:
        moment = created[position]
        known = None if moment == _NO_CREATION else int(moment)
        if created[position - 1] != moment:
            return known, ""
        ids = sorted(each for run in self._runs for each in run.ids_at(moment))
        return known, ids[position - int(np.searchsorted(created, moment))]


class _Candidate(NamedTuple):
    """One of several orders of an id; the one of the greatest value is kept."""

    id: str
    value: tuple[int, int, int]
    run: _Run
    row: int
    is_repeat: bool


_BLOCK_SIZE = 500  # orders
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class _Run:
    """Sorted orders: a file for each table in blocks of the same orders, at last rows of none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # When its orders were created, in microseconds, and which are kept: see deduplicate().
        self.created: Numbers = np.array([], np.int64)
        self.kept: npt.NDArray[np.bool_] = np.array([], bool)

    def write(self, batch: Batch) -> None:
        """Write the rows of sorted orders."""
        orders = len(batch["orders"])
        self._folder.mkdir(mode=0o700)
        starts = [*range(0, orders, _BLOCK_SIZE), orders]
        for name, table in batch.items():
            numbers = table[ORDER_INDEX].fill_null(orders).to_numpy()
            ends = [*np.searchsorted(numbers, starts), len(table)]
            with pa.ipc.new_file(self._path(name), table.schema, options=_OPTIONS) as file:
                for first, end in itertools.pairwise(ends):
                    arrays = [column.combine_chunks() for column in table[first:end].columns]
                    file.write_batch(pa.record_batch(arrays, schema=table.schema))

    def columns(self, *names: str) -> pa.Table:
        """Read some columns of all its orders."""
        with pa.OSFile(str(self._path("orders"))) as source:
            schema = pa.ipc.open_file(source).schema
            wanted = [schema.get_field_index(name) for name in names]
            options = pa.ipc.IpcReadOptions(included_fields=wanted)
            return pa.ipc.open_file(source, options=options).read_all().combine_chunks()

    def ids_at(self, moment: int) -> list[str]:
        """Return the ids of the orders created at a moment that are kept."""
        first, end = self._rows_at(moment)
        if first == end:
            return []
        ids = self.columns("id")["id"][first:end]
        found: list[str] = ids.filter(pa.array(self.kept[first:end])).to_pylist()
        return found

    def row(self, key: Key) -> int:
        """Return the first row that does not come before a key."""
        moment = _NO_CREATION if key[0] is None else key[0]
        first, end = self._rows_at(moment)
        if first == end or not key[1]:
            return first
        ids = self.columns("id")["id"]
        return bisect_left(range(len(ids)), key[1], first, end, key=lambda row: ids[row].as_py())

    def read(self, first: int, end: int) -> Batch:
        """Read the rows of some orders."""
        blocks = range(first // _BLOCK_SIZE, -(-end // _BLOCK_SIZE))
        batch = {}
        for name in TABLES:
            with pa.OSFile(str(self._path(name))) as source:
                file = pa.ipc.open_file(source, memory_pool=pa.system_memory_pool())
                found = [file.get_batch(each) for each in blocks]
                table = pa.Table.from_batches(found, file.schema)
            start, stop = np.searchsorted(table[ORDER_INDEX].to_numpy(), [first, end])
            wanted = table[start:stop].select(batch_schema(name).names)
            # A copy, so that the other rows of the outer blocks are freed: with many runs, they
            # would be half as much again.
            rows = wanted.combine_chunks(memory_pool=pa.system_memory_pool())
            batch[name] = rows.set_column(
                0, ORDER_INDEX, pa.compute.subtract(rows[ORDER_INDEX], first)
            )
        return batch

    def strays(self) -> pa.Table:
        """Read the problems of no order, with their page and arrival."""
        with pa.OSFile(str(self._path("problems"))) as source:
            file = pa.ipc.open_file(source)
            return pa.Table.from_batches([file.get_batch(file.num_record_batches - 1)])

    def _rows_at(self, moment: int) -> tuple[int, int]:
        first, end = (np.searchsorted(self.created, moment, side) for side in ("left", "right"))
        return int(first), int(end)

    def _path(self, table: str) -> Path:
        return self._folder / f"{table}.arrow"


def _mark(table: pa.Table, page: int, arrivals: Numbers) -> pa.Table:
    pages = pa.repeat(pa.scalar(page, pa.int64()), len(table))
    return table.append_column(_PAGE, pages).append_column(_ARRIVAL, pa.array(arrivals))


def _microseconds(column: pa.ChunkedArray, missing: int) -> Numbers:
    """Return timestamps as integers."""
    whole: Numbers = column.cast(pa.int64()).fill_null(missing).to_numpy()
    return whole
