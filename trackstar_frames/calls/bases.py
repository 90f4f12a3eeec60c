"""The snapshots that syncs go on from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import nlargest
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.calls.question import Question
from trackstar_frames.disk import parquet
from trackstar_frames.disk.catalogue import find_snapshots
from trackstar_frames.disk.manifest import Manifest
from trackstar_frames.disk.writer import Like, Writer, Written, write
from trackstar_frames.errors import SnapshotError
from trackstar_frames.tables.labels import info_of

__all__ = [
    "CREATED",
    "OURS",
    "STAMPS",
    "THEIRS",
    "Base",
    "Stamps",
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
    parts: list[Like]

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
        return [_moment(each) for each in told if each]

    def take_over(self, folder: Path) -> Written:
        """Have all its parts in another folder too, as they are."""
        return write(folder, self.info, self._share, connection=self.info["connection"])

    def _share(self, writer: Writer) -> dict[str, Any]:
        for part in self.parts:
            writer.add({}, part)
        return {}


def find_base(root: Path, question: Question, connection: str | None, identity: str) -> Base | None:
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
        Base(path, said.info, [Like(path, place, part) for place, part in enumerate(said.parts)])
        for path, said in find_snapshots(root)
        if "connections" not in said.info and said.info["connection"] == connection
    ]
    return _newest(ours[::-1], root, question, identity)


def find_bases(root: Path, question: Question, identities: Mapping[str, str]) -> dict[str, Base]:
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
        parts[part.connection].append(Like(path, place, part))
    return {
        connection: Base(path, info_of(said.info, connection), parts[connection])
        for connection in said.info.get("connections", ())
    }


def _count_nulls(left: pa.ChunkedArray, right: pa.ChunkedArray) -> int:
    """Count the rows in which both are null."""
    both = pc.and_(pc.is_null(left), pc.is_null(right))
    return int(pc.sum(both, min_count=0).as_py())


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _newest(ours: list[Base], root: Path, question: Question, identity: str) -> Base | None:
    same = [base for base in ours if base.info.get("question") == identity]
    if ours and not same:
        raise SnapshotError(_mismatch(root, ours[0], question))
    return same[0] if same else None


def _mismatch(root: Path, newest: Base, question: Question) -> str:
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
