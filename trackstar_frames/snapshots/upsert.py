"""The snapshots that syncs go on from."""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import nlargest
from math import ceil
from operator import add
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.dates import parse_time
from trackstar_frames.errors import SnapshotError
from trackstar_frames.pagination.threads import ThreadPool
from trackstar_frames.request import FetchRequest
from trackstar_frames.schema import TABLES
from trackstar_frames.snapshots import parquet
from trackstar_frames.snapshots.catalog import find_snapshots
from trackstar_frames.snapshots.manifest import Key, Manifest
from trackstar_frames.snapshots.parquet import SharedPart, Writer, WriteResult, write_file
from trackstar_frames.snapshots.spill import Spill
from trackstar_frames.tables.assemble import as_batch, assemble, keep_freed_memory, split, take
from trackstar_frames.tables.compare import (
    COMPARED,
    changed_in,
    common_ids,
    rows_of_orders,
    unequal,
)
from trackstar_frames.tables.connections import info_of, unlabel

__all__ = [
    "CREATED",
    "OURS",
    "STAMPS",
    "THEIRS",
    "Base",
    "Stamps",
    "Upsert",
    "bases_of",
    "find_base",
    "find_bases",
]


#: The stamp of Trackstar's copy, that of the source, and the one that an order keeps for life.
OURS, THEIRS, CREATED = STAMPS = ("trackstar_updated_date", "updated_date", "created_date")


#: How many orders must have a stamp so late before changes up to it are believed to be there.
_BELIEVED = 2


class Stamps(NamedTuple):
    """What a snapshot has of the stamps that tell of changes.

    Attributes
    ----------
    missing : dict of str to int
        How many of its orders do not have each of them.
    lacking : int
        How many have neither stamp of their changes.
    until : dict of str to datetime
        Up to when it has all changes, by the clock of each stamp: the second greatest that was
        seen, as one alone may be anything, but for those that are later than its fetch has
        begun. Without two that can be believed, a stamp is not here.
    """

    missing: dict[str, int]
    lacking: int
    until: dict[str, datetime]


@dataclass(frozen=True)
class Base:
    """What a snapshot has of one connection.

    Attributes
    ----------
    path : pathlib.Path
        The snapshot.
    info : dict
        What it tells of the connection's fetch.
    parts : list of Like
        The connection's parts, in the sequence of their orders.
    """

    path: Path
    info: Mapping[str, Any]
    parts: list[SharedPart]

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
        return sum(each.part.files["orders"].rows for each in self.parts)

    @property
    def full_at(self) -> datetime | None:
        """Since when all orders that it has were asked for at once; None if that is not known."""
        if "sync" in self.info:
            known = self.info["sync"].get("full_at")
            return known and datetime.fromisoformat(known)
        return min(self._began(), default=None)

    def stamps(self, now: datetime) -> Stamps:
        """Tell what it has of each stamp.

        Parameters
        ----------
        now
            By our clock.
        """
        # All of these are clocks, and any of them may be wrong: the earliest is believed.
        latest = min(now, *self._began())
        missing, lacking = dict.fromkeys(STAMPS, 0), 0
        seen: dict[str, list[datetime]] = {stamp: [] for stamp in STAMPS}
        for each in self.parts:
            columns = {stamp: parquet.read_column(self.path, each.place, stamp) for stamp in STAMPS}
            for stamp, column in columns.items():
                missing[stamp] += column.null_count
                believed = column.filter(pc.less_equal(column, latest))
                if len(believed):  # of none, older versions of Arrow know no greatest
                    greatest = believed.take(pc.top_k_unstable(believed, _BELIEVED)).to_pylist()
                    seen[stamp] = nlargest(_BELIEVED, seen[stamp] + greatest)
            lacking += _count_nulls(columns[OURS], columns[THEIRS])
        until = {
            stamp: moments[-1].astimezone(UTC)
            for stamp, moments in seen.items()
            if len(moments) == _BELIEVED
        }
        return Stamps(missing, lacking, until)

    def _began(self) -> list[datetime]:
        """Tell when its fetch had begun at the latest, by each clock that has told it.

        What was read first may have changed before the end, and a page from disk is older than
        the begin.
        """
        told = [self.info.get(name) for name in ("began", "fetched_at", "server_time")]
        return [parse_time(each) for each in told if each]

    def take_over(self, folder: Path) -> WriteResult:
        """Have all its parts in another folder too, as they are."""
        return write_file(folder, self.info, self._share, connection=self.info["connection"])

    def _share(self, writer: Writer) -> dict[str, Any]:
        for part in self.parts:
            writer.add({}, part)
        return {}


def find_base(
    root: Path, question: FetchRequest, connection: str | None, identity: str
) -> Base | None:
    """Choose the newest snapshot of one connection and question; None if there is none at all.

    Parameters
    ----------
    root, question, connection
        Of the sync.
    identity
        What the question is called where it is asked of this connection.

    Raises
    ------
    SnapshotError
        If those of this connection answer other questions.
    """
    ours = [
        Base(
            path,
            said.info,
            [SharedPart(path, place, part) for place, part in enumerate(said.parts)],
        )
        for path, said in find_snapshots(root)
        if "connections" not in said.info and said.info["connection"] == connection
    ]
    return _newest(ours[::-1], root, question, identity)


def find_bases(
    root: Path, question: FetchRequest, identities: Mapping[str, str]
) -> dict[str, Base]:
    """Choose the newest of the snapshots of several for each connection that is in any of them.

    Parameters
    ----------
    root, question
        Of the sync.
    identities
        For each connection, what the question is called where it is asked of it.

    Raises
    ------
    SnapshotError
        If those of a connection answer other questions.
    """
    newest_first = [bases_of(path, said) for path, said in reversed(find_snapshots(root))]
    found = {}
    for connection, identity in identities.items():
        ours = [bases[connection] for bases in newest_first if connection in bases]
        base = _newest(ours, root, question, identity)
        if base is not None:
            found[connection] = base
    return found


def bases_of(path: Path, said: Manifest) -> dict[str, Base]:
    """Give what a snapshot of several connections has of each; nothing if it is of one."""
    parts = defaultdict(list)
    for place, part in enumerate(said.parts):
        parts[part.connection].append(SharedPart(path, place, part))
    return {
        connection: Base(path, info_of(said.info, connection), parts[connection])
        for connection in said.info.get("connections", ())
    }


def _count_nulls(left: pa.ChunkedArray, right: pa.ChunkedArray) -> int:
    """Count the rows in which both are null."""
    both = pc.and_(pc.is_null(left), pc.is_null(right))
    return int(pc.sum(both, min_count=0).as_py())


def _newest(ours: list[Base], root: Path, question: FetchRequest, identity: str) -> Base | None:
    same = [base for base in ours if base.info.get("question") == identity]
    if ours and not same:
        raise SnapshotError(_mismatch(root, ours[0], question))
    return same[0] if same else None


def _mismatch(root: Path, newest: Base, question: FetchRequest) -> str:
    info = newest.info
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


_Tables = Mapping[str, pa.Table]

_END: Key = (None, chr(sys.maxunicode))  # after all orders

_AT_ONCE = 1  # parts

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
    removes
        Whether what the server did not give is gone; it was asked for everything then.
    """

    def __init__(
        self, base: Base, spill: Spill, told: Mapping[str, Any], *, removes: bool = False
    ) -> None:
        self._base = base
        self._spill = spill
        self._told = told
        self._removes = removes
        self._ids = spill.ids()

    def fill(self, writer: Writer) -> dict[str, Any]:
        """Write all parts: those without a change are taken over as they are."""
        counts = sum(self._write_all(writer), _Counts())
        new = self._spill.orders - counts.met
        counted = {"new": new, "changed": counts.changed, "unchanged": counts.unchanged}
        return {"sync": {**self._told, **counted, "gone": counts.gone}}

    def _write_all(self, writer: Writer) -> Iterator[_Counts]:
        """Write some parts at a time: each, and what becomes of it, is in memory meanwhile."""
        parts = self._base.parts
        spans = self._spill.between([each.part.first or _END for each in parts[1:]])
        begun: deque[Future[_Counts]] = deque()
        with keep_freed_memory(), ThreadPool(_AT_ONCE) as threads:
            for number, (like, (batches, kept)) in enumerate(zip(parts, spans, strict=True)):
                if len(begun) == _AT_ONCE:
                    yield begun.popleft().result()
                fresh = assemble(batches, kept)[0]
                begun.append(threads.submit(self._write, writer, number, like, fresh))
            yield from (each.result() for each in begun)

    def _write(
        self, writer: Writer, number: int, like: SharedPart, fresh: dict[str, pa.Table]
    ) -> _Counts:
        """Write one part with what has come for it, or as much of it as that changes.

        What has come is emptied: its memory is given back as it is written.
        """
        given = pc.is_in(parquet.read_column(like.folder, like.place, "id"), value_set=self._ids)
        met = _count(given)
        gone = len(given) - met if self._removes else 0
        had_problems = like.part.files["problems"].rows > 0
        comes = met or len(fresh["orders"]) or len(fresh["problems"])
        if not (comes or gone or (self._removes and had_problems)):
            writer.add({}, like, (number,))
            return _Counts()
        old = {name: _read(like, name) for name in ("orders", "problems")}
        has_strays = self._settle_strays(old, fresh)
        ids = common_ids(old["orders"], fresh["orders"])
        known = len(ids)
        all_known = known == met == len(fresh["orders"]) and not gone and not has_strays
        if all_known and _keep_their_places(old, fresh):
            tables, changed = _replace(like, old, fresh, ids)
            writer.add(tables, like, (number,))
        else:
            old |= {name: _read(like, name) for name in COMPARED[1:]}
            changed = len(set().union(*(_differ(name, old, fresh, ids) for name in TABLES)))
            merged = fresh if self._removes else _merge(old, fresh, given)
            for piece_number, piece in enumerate(_divide(merged)):
                writer.add(piece, place=(number, piece_number))
        return _Counts(met, changed + met - known, known - changed, gone)

    def _settle_strays(self, old: dict[str, pa.Table], fresh: dict[str, pa.Table]) -> bool:
        """Leave out the orders without an id that have come before, or are gone; tell if any."""
        if len(self._told["by"]) > 1:
            fresh["problems"] = _without_twins(fresh["problems"])
        is_stray = pc.is_null(old["problems"]["order_id"])
        if self._removes:
            old["problems"] = old["problems"].filter(pc.invert(is_stray))
            had = bool(pc.any(is_stray).as_py())
        else:
            fresh["problems"] = _without_known(fresh["problems"], old["problems"])
            had = False
        return had or bool(pc.any(pc.is_null(fresh["problems"]["order_id"])).as_py())


class _Counts(NamedTuple):
    """What has become of the orders of a part, or of several.

    Attributes
    ----------
    met : int
        How many of them the server gave.
    changed : int
        How many of those have changed; those that have moved to another part too.
    unchanged : int
        How many have not.
    gone : int
        How many were removed.
    """

    met: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0

    # Of counts, and not of tuples that follow one another.
    def __add__(self, other: tuple[Any, ...]) -> _Counts:
        return _Counts(*map(add, self, other))


def _merge(
    old: dict[str, pa.Table], fresh: dict[str, pa.Table], given: pa.ChunkedArray
) -> dict[str, pa.Table]:
    """Put together what stays of a part and what has come; both are emptied."""
    stays = np.flatnonzero(~np.asarray(given))
    comes = np.arange(len(fresh["orders"])) + len(given)
    batches = [as_batch(old), as_batch(fresh)]
    old.clear()
    fresh.clear()
    return assemble(batches, np.concatenate([stays, comes]))[0]


def _keep_their_places(old: _Tables, fresh: _Tables) -> bool:
    """Tell whether orders that are all known stand where they stood."""
    was, now = old["orders"], fresh["orders"]
    rows = pc.index_in(now["id"], value_set=was["id"].combine_chunks())
    return not unequal(was["created_date"].take(rows), now["created_date"]).any()


def _replace(
    like: SharedPart, old: dict[str, pa.Table], fresh: dict[str, pa.Table], ids: pa.ChunkedArray
) -> tuple[dict[str, pa.Table], int]:
    """Put what orders are now in the place of what they were, in the tables where they differ.

    Both sides are emptied, and read where they were not, one table after the other: a part is
    in memory about twice, and not three times.

    Returns
    -------
    dict of str to pyarrow.Table, int
        These tables, and how many orders differ.
    """
    orders = old["orders"]["id"].combine_chunks()
    tables, changed = {}, set()
    for name in TABLES:
        if name not in old:
            old[name] = _read(like, name)
        differ = _differ(name, old, fresh, ids)
        changed |= differ
        was, now = old.pop(name), fresh.pop(name)
        if differ:
            tables[name] = _replace_rows(was, now, orders, differ)
    return tables, len(changed)


def _read(like: SharedPart, name: str) -> pa.Table:
    table = parquet.read_table(like.folder, like.place, name, like.part.files[name])
    return unlabel({name: table})[name]


def _differ(name: str, old: _Tables, fresh: _Tables, ids: pa.ChunkedArray) -> set[str]:
    """Tell which of the orders on both sides differ in a table."""
    if name == "problems":
        return _with_other_problems(old[name], fresh[name], ids)
    return changed_in(name, old[name], fresh[name], ids)


def _replace_rows(was: pa.Table, now: pa.Table, orders: pa.Array, ids: set[str]) -> pa.Table:
    key = "id" if "id" in was.column_names else "order_id"
    there, here = _places(was[key], orders), _places(now[key], orders)
    changes = np.zeros(len(orders) + 1, bool)  # the last one is of no order
    changes[pc.index_in(pa.array(sorted(ids)), value_set=orders).to_numpy()] = True
    stays, comes = np.flatnonzero(~changes[there]), np.flatnonzero(changes[here])
    sequence = np.argsort(np.concatenate([there[stays], here[comes]]), kind="stable")
    rows = np.concatenate([stays, comes + len(was)])[sequence]
    return take(pa.concat_tables([was, now]), rows)


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


def _with_other_problems(old: pa.Table, fresh: pa.Table, ids: pa.ChunkedArray) -> set[str]:
    """Tell which of the orders on both sides were read with other problems: other raw values."""
    sides = []
    for number, side in enumerate((old, fresh)):
        known = rows_of_orders(ids, side, "order_id")
        sides.append(known.append_column("side", pa.repeat(number, len(known))))
    columns = TABLES["problems"].schema.names
    rows = pa.concat_tables(sides).group_by(columns).aggregate([("side", "count_distinct")])
    alone = rows.filter(pc.equal(rows["side_count_distinct"], 1))
    return set(alone["order_id"].to_pylist())


def _without_known(problems: pa.Table, there: pa.Table) -> pa.Table:
    """Leave out the orders without an id that were there before: nothing else tells them."""
    there = there.filter(pc.is_null(there["order_id"]))
    again = pc.and_(
        pc.is_null(problems["order_id"]), pc.is_in(problems["value"], value_set=there["value"])
    )
    return problems.filter(pc.invert(again))


def _without_twins(problems: pa.Table) -> pa.Table:
    """Leave out what two listings have both given of orders without an id, by their text."""
    told = pc.and_(pc.is_null(problems["order_id"]), pc.is_valid(problems["value"]))
    strays = problems.filter(told)
    firsts = pa.array(~strays["value"].to_pandas().duplicated())
    return pa.concat_tables([problems.filter(pc.invert(told)), strays.filter(firsts)])


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask, min_count=0).as_py())
