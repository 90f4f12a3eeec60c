"""Changed orders put in the place of what a snapshot has of them, part by part."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames import parquet
from trackstar_frames.client import TrackstarClient
from trackstar_frames.compare import changed_orders, common_ids
from trackstar_frames.errors import SnapshotError
from trackstar_frames.joining import as_batch, split
from trackstar_frames.manifest import Key, Manifest
from trackstar_frames.question import Question
from trackstar_frames.schema import TABLES
from trackstar_frames.snapshots import find_snapshots
from trackstar_frames.spill import Spill
from trackstar_frames.tables import assemble

__all__ = ["Base", "Upsert"]

_Tables = Mapping[str, pa.Table]

_END: Key = (None, chr(sys.maxunicode))  # after all orders

#: How much longer than usual a part may grow before it is divided.
_ROOM = 1.2


@dataclass(frozen=True)
class Base:
    """The snapshot that a sync goes on from."""

    path: Path
    manifest: Manifest

    @classmethod
    def find(cls, root: Path, question: Question, client: TrackstarClient) -> Base | None:
        """Choose the newest one of this connection and question; None if there is none at all.

        Raises
        ------
        SnapshotError
            If those of this connection answer other questions.
        """
        ours = [
            cls(path, manifest)
            for path, manifest in find_snapshots(root)
            if manifest.info["connection"] == client.connection
        ]
        named = client.identify(question.told["question"])
        same = [base for base in ours if base.manifest.info.get("question") == named]
        if ours and not same:
            raise SnapshotError(_mismatch(root, ours[-1], question))
        return same[-1] if same else None

    @property
    def root(self) -> Path:
        """The folder of all snapshots."""
        return self.path.parent

    @property
    def name(self) -> str:
        """The snapshot's name."""
        return self.path.name

    @property
    def orders(self) -> int:
        """How many orders it has."""
        return self.manifest.rows("orders")

    def missing(self, stamp: str) -> int:
        """How many of its orders do not have a stamp."""
        return sum(missing for missing, _ in self._spans[stamp])

    def watermark(self, stamp: str) -> datetime:
        """Give a time up to which all changes are in it, by the clock of that stamp.

        Not after the begin of its fetch, nor after the first page that it took from disk, as
        what was read first may have changed before the end; nor after any stamp that was seen,
        as the server's clock may be behind ours.
        """
        info = self.manifest.info
        began = min(datetime.fromisoformat(info[name]) for name in ("began", "fetched_at"))
        seen = [greatest for _, greatest in self._spans[stamp] if greatest is not None]
        return min(began, max(seen, default=began)).astimezone(UTC)

    @cached_property
    def _spans(self) -> dict[str, list[tuple[int, datetime | None]]]:
        places = range(len(self.manifest.parts))
        return {
            stamp: [parquet.read_span(self.path, place, stamp) for place in places]
            for stamp in ("trackstar_updated_date", "updated_date")
        }


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
        self._counts = {"new": spill.orders, "changed": 0, "unchanged": 0}

    def fill(self, writer: parquet.Writer) -> dict[str, Any]:
        """Write all parts: those without a change are taken over as they are."""
        parts = self._base.manifest.parts
        firsts = [part.first or _END for part in parts[1:]]
        spans = self._spill.between(firsts)
        for place, (part, (batches, kept)) in enumerate(zip(parts, spans, strict=True)):
            fresh, _ = assemble(batches, kept)
            merged = self._merge(place, fresh)
            if merged is None:
                writer.link(self._base.path, place, part)
            for piece in merged or ():
                writer.add(piece)
        return {"sync": {**self._told, **self._counts}}

    def _merge(self, place: int, fresh: _Tables) -> Iterator[_Tables] | None:
        """Put orders into a part; None if that changes nothing."""
        met = pc.is_in(parquet.read_ids(self._base.path, place), value_set=self._ids)
        if not (pc.any(met).as_py() or len(fresh["orders"]) or len(fresh["problems"])):
            return None
        part = self._base.manifest.parts[place]
        old = parquet.read_part(self._base.path, place, part)
        fresh = _without_known(fresh, old)
        known = pc.is_in(fresh["orders"]["id"], value_set=old["orders"]["id"])
        changed = len(changed_orders(old, fresh) | _with_other_problems(old, fresh))
        moved = _count(met) - _count(known)
        self._counts["new"] -= _count(met)
        self._counts["changed"] += changed + moved
        self._counts["unchanged"] += _count(known) - changed
        is_known = (
            _count(known) == len(fresh["orders"])
            and not pc.any(pc.is_null(fresh["problems"]["order_id"])).as_py()
        )
        if is_known and not changed and not moved:
            return None
        stays = np.flatnonzero(~np.asarray(met))
        comes = np.arange(len(fresh["orders"])) + len(met)
        merged, _ = assemble([as_batch(old), as_batch(fresh)], np.concatenate([stays, comes]))
        return _divide(merged)


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


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask, min_count=0).as_py())


def _mismatch(root: Path, newest: Base, question: Question) -> str:
    info = newest.manifest.info
    if info.get("question") is None:
        return (
            f"{newest.path} does not tell which question it answers (an older version of this "
            f"package wrote it, or its frames were not fetched); sync under another root"
        )
    was, now = (
        {name: told.get(name) for name in ("filters", "extra_params", "limit", "pii")}
        for told in (info, question.told)
    )
    if was == now:
        return (
            f"{newest.path} was fetched with other credentials, or under another key of pii; if "
            f"it is the same connection, begin anew under another root, and give the client a "
            f"connection label, which outlives its token"
        )
    return (
        f"the snapshots of this connection under {root} answer another question: the newest "
        f"{was}, and not {now}; ask the same on every call, or sync under another root"
    )
