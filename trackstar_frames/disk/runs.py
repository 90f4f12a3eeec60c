"""One sorted run of orders on disk, in blocks: a span of its orders is read without the rest."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trackstar_frames.disk.manifest import Key
from trackstar_frames.flatten import BATCH, Batch, batch_schema
from trackstar_frames.schema import TABLES
from trackstar_frames.tables.joining import Numbers

__all__ = ["LAST", "MET", "Run", "microseconds"]

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
