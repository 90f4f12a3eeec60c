"""The snapshots that syncs go on from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.calls.question import Question
from trackstar_frames.disk import parquet
from trackstar_frames.disk.catalogue import find_snapshots
from trackstar_frames.disk.manifest import Manifest
from trackstar_frames.disk.writer import Like, Writer, Written, write
from trackstar_frames.errors import SnapshotError
from trackstar_frames.tables.labels import info_of

__all__ = ["Base", "bases_of", "find_base", "find_bases"]


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

    def missing(self, stamp: str) -> int:
        """How many of its orders do not have a stamp."""
        return sum(stamps.null_count for stamps in self._stamps[stamp])

    def watermark(self, stamp: str) -> datetime:
        """Give a time up to which all changes are in it, by the clock of that stamp.

        Not after the begin of its fetch, nor after the first page that it took from disk, as
        what was read first may have changed before the end; nor after any stamp that was seen,
        as the server's clock may be behind ours.
        """
        began = min(datetime.fromisoformat(self.info[name]) for name in ("began", "fetched_at"))
        greatest = (pc.max(stamps).as_py() for stamps in self._stamps[stamp])
        seen = [each for each in greatest if each is not None]
        return min(began, max(seen, default=began)).astimezone(UTC)

    @cached_property
    def _stamps(self) -> dict[str, list[pa.ChunkedArray]]:
        places = [each.place for each in self.parts]
        return {
            stamp: [parquet.read_column(self.path, place, stamp) for place in places]
            for stamp in ("trackstar_updated_date", "updated_date")
        }

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
