"""Changed orders put in the place of what a snapshot has of them, part by part."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.calls.bases import Base
from trackstar_frames.disk import parquet
from trackstar_frames.disk.manifest import Key
from trackstar_frames.disk.spill import Spill
from trackstar_frames.disk.writer import Like, Writer
from trackstar_frames.schema import TABLES
from trackstar_frames.tables.assemble import assemble
from trackstar_frames.tables.compare import changed_orders, common_ids, unequal
from trackstar_frames.tables.joining import as_batch, split
from trackstar_frames.tables.labels import unlabel
from trackstar_frames.tables.memory import keeping_pages
from trackstar_frames.threads import ThreadPool

__all__ = ["Upsert"]

_Tables = Mapping[str, pa.Table]

_END: Key = (None, chr(sys.maxunicode))  # after all orders

_AT_ONCE = 2  # parts

#: How much longer than usual a part may grow before it is divided.
_ROOM = 1.2


class Upsert:
    """One sync's changes over its base.

    Parameters
    ----------
    base
        What was there.
    spill
        What the server gave; settled.
    told
        What the snapshot tells of the sync, beside its counts.
    """

    def __init__(self, base: Base, spill: Spill, told: Mapping[str, Any]) -> None:
        self._base = base
        self._spill = spill
        self._told = told
        self._ids = spill.ids()

    def fill(self, writer: Writer) -> dict[str, Any]:
        """Write all parts: those without a change are taken over as they are."""
        parts = self._base.parts
        spans = self._spill.between([each.part.first or _END for each in parts[1:]])
        room = threading.Semaphore(_AT_ONCE + 1)  # a part and what becomes of it are in memory
        counts = []
        with keeping_pages(), ThreadPool(_AT_ONCE) as threads:
            for number, (like, (batches, kept)) in enumerate(zip(parts, spans, strict=True)):
                room.acquire()
                fresh = assemble(batches, kept)[0]
                counts.append(threads.submit(self._write, writer, number, like, fresh))
                counts[-1].add_done_callback(lambda _: room.release())
        met, changed, unchanged = map(sum, zip(*(each.result() for each in counts), strict=True))
        new = self._spill.orders - met
        counted = {"new": new, "changed": changed, "unchanged": unchanged}
        return {"sync": {**self._told, **counted}}

    def _write(
        self, writer: Writer, number: int, like: Like, fresh: _Tables
    ) -> tuple[int, int, int]:
        """Write one part with what has come for it, or as much of it as that changes.

        Returns
        -------
        int, int, int
            How many of its orders the server gave; how many of them have changed, those that
            have moved to another part too; and how many have not.
        """
        given = pc.is_in(parquet.read_column(like.folder, like.place, "id"), value_set=self._ids)
        met = _count(given)
        if not (met or len(fresh["orders"]) or len(fresh["problems"])):
            writer.add({}, like, (number,))
            return 0, 0, 0
        old = unlabel(parquet.read_part(like.folder, like.place, like.part))
        if len(self._told["by"]) > 1:
            fresh = _without_twins(fresh)
        fresh = _without_known(fresh, old)
        differs = changed_orders(old, fresh) | {"problems": _with_other_problems(old, fresh)}
        changed = len(set().union(*differs.values()))
        known = _count(pc.is_in(fresh["orders"]["id"], value_set=old["orders"]["id"]))
        if known == met == len(fresh["orders"]) and _keep_their_places(old, fresh):
            touched = {name: ids for name, ids in differs.items() if ids}
            tables = {name: _replace(old, fresh, name, ids) for name, ids in touched.items()}
            writer.add(tables, like, (number,))
        else:
            stays = np.flatnonzero(~np.asarray(given))
            comes = np.arange(len(fresh["orders"])) + len(given)
            merged, _ = assemble([as_batch(old), as_batch(fresh)], np.concatenate([stays, comes]))
            for piece_number, piece in enumerate(_divide(merged)):
                writer.add(piece, place=(number, piece_number))
        return met, changed + met - known, known - changed


def _keep_their_places(old: _Tables, fresh: _Tables) -> bool:
    """Tell whether orders that are all known stand where they stood, and nothing else came."""
    was, now = old["orders"], fresh["orders"]
    rows = pc.index_in(now["id"], value_set=was["id"].combine_chunks())
    moved = unequal(was["created_date"].take(rows), now["created_date"]).any()
    return not moved and not pc.any(pc.is_null(fresh["problems"]["order_id"])).as_py()


def _replace(old: _Tables, fresh: _Tables, name: str, ids: set[str]) -> pa.Table:
    """Put the rows that some orders have in a table now in the place of those that they had.

    Without a copy: both sides are in the sequence of their orders, and are taken in slices.
    """
    orders = old["orders"]["id"].combine_chunks()
    places = np.sort(pc.index_in(pa.array(sorted(ids)), value_set=orders).to_numpy())
    (was, starts, ends), (now, firsts, lasts) = (
        (
            side[name],
            *np.searchsorted(_places(side[name][_key(name)], orders), [places, places + 1]),
        )
        for side in (old, fresh)
    )
    slices, end = [], 0
    for start, next_end, first, last in zip(starts, ends, firsts, lasts, strict=True):
        slices += [was[end:start], now[first:last]]
        end = next_end
    return pa.concat_tables([*slices, was[end:]])


def _key(table: str) -> str:
    return "id" if table == "orders" else "order_id"


def _places(rows: pa.ChunkedArray, orders: pa.Array) -> npt.NDArray[np.int64]:
    """Tell of the order that each row names its place; rows of none come last."""
    places: npt.NDArray[np.int64] = (
        pc.index_in(rows, value_set=orders).fill_null(len(orders)).to_numpy()
    )
    return places


def _divide(tables: _Tables) -> Iterator[_Tables]:
    """Divide what has become too long, evenly; what has become empty is left out."""
    orders = len(tables["orders"])
    if orders or len(tables["problems"]):
        pieces = max(1, ceil(orders / (parquet.PART * _ROOM)))
        yield from split(tables, max(1, ceil(orders / pieces)))


def _with_other_problems(old: _Tables, fresh: _Tables) -> set[str]:
    """Tell which of the orders on both sides were read with other problems: other raw values."""
    ids = common_ids(old["orders"], fresh["orders"])
    problems = [tables["problems"] for tables in (old, fresh)]
    known = [each.filter(pc.is_in(each["order_id"], value_set=ids)) for each in problems]
    was, now = ({tuple(row.values()) for row in each.to_pylist()} for each in known)
    place = TABLES["problems"].schema.get_field_index("order_id")
    return {row[place] for row in was ^ now}


def _without_known(fresh: _Tables, old: _Tables) -> dict[str, pa.Table]:
    """Leave out the orders without an id that were there before: nothing else tells them."""
    problems, there = fresh["problems"], old["problems"]
    there = there.filter(pc.is_null(there["order_id"]))
    again = pc.and_(
        pc.is_null(problems["order_id"]), pc.is_in(problems["value"], value_set=there["value"])
    )
    return {**fresh, "problems": problems.filter(pc.invert(again))}


def _without_twins(fresh: _Tables) -> dict[str, pa.Table]:
    """Leave out what two listings have both given of orders without an id, by their text."""
    problems = fresh["problems"]
    told = pc.and_(pc.is_null(problems["order_id"]), pc.is_valid(problems["value"]))
    strays = problems.filter(told)
    firsts = pa.array(~strays["value"].to_pandas().duplicated())
    rest = problems.filter(pc.invert(told))
    return {**fresh, "problems": pa.concat_tables([rest, strays.filter(firsts)])}


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask, min_count=0).as_py())
