"""One snapshot of several connections: each writes its own share of it, apart from the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias

from trackstar_frames.calls.bases import Base, bases_of
from trackstar_frames.calls.connections import Source
from trackstar_frames.calls.gathering import Answers, ask_each, incomplete, named_only, refuse
from trackstar_frames.calls.progress import Progress
from trackstar_frames.calls.question import Question
from trackstar_frames.client import TrackstarClient
from trackstar_frames.disk.parquet import manifest
from trackstar_frames.disk.writer import Written, write
from trackstar_frames.errors import (
    IncompleteFetchError,
    SettingsError,
    SnapshotError,
    TrackstarError,
)
from trackstar_frames.snapshots import Place, Snapshot, place_snapshot
from trackstar_frames.tables.labels import join_infos

__all__ = ["Shares", "Work", "check_cluster"]

#: Writes one connection's share: what is asked, over what base, where to, and by whom.
Work: TypeAlias = Callable[[Question, Base | None, Place[Written], TrackstarClient], Written]

_ORDERS = attrgetter("orders")
_COUNTS = ("new", "changed", "unchanged", "gone")


def check_cluster(
    cluster: Any, connections: Mapping[str, Source] | None, limit: int | None = None
) -> None:
    """Check what a user passes as `cluster`.

    Raises
    ------
    SettingsError
        If it is no client of a cluster, or there is nothing to spread over its workers.
    """
    if cluster is None:
        return
    if not (hasattr(cluster, "submit") and hasattr(cluster, "scheduler_info")):
        raise SettingsError(
            f"cluster is a {type(cluster).__name__}; pass a distributed.Client, or None"
        )
    if cluster.asynchronous:
        raise SettingsError("cluster is an asynchronous client; pass one that is not")
    if connections is None:
        raise SettingsError(
            "cluster=... spreads several connections over its workers; pass connections=..."
        )
    if limit is not None:
        raise SettingsError(
            "limit=... asks one connection after the other, which needs no cluster; leave one out"
        )


class Shares:
    """One export or sync of several connections; can be run again for those that failed.

    Parameters
    ----------
    root
        The folder of all snapshots.
    question
        What is asked of each.
    connections
        A label for each, and where its token comes from; checked.
    work
        Writes a share; can be pickled.
    bases
        What snapshots have of connections already. A share may go on from it, one that fails
        keeps it, and what nobody was asked for is taken over as it is.
    """

    def __init__(
        self,
        root: Path,
        question: Question,
        connections: Mapping[str, Source],
        work: Work,
        bases: Mapping[str, Base],
    ) -> None:
        self._root = root
        self._question = question
        self._connections = connections
        self._work = work
        self._bases = bases
        self._answers: Answers[Written] = Answers({}, {})

    def __reduce__(self) -> tuple[Any, ...]:
        named = named_only(self._connections)
        return Shares, (self._root, self._question, named, self._work, self._bases)

    def run(self, client: TrackstarClient | None = None, *, cluster: Any = None) -> Snapshot:
        """Write a snapshot of all that is whole, and raise if that is not everything.

        Raises
        ------
        IncompleteFetchError
            If a connection failed; with the snapshot of the others, if there is one.
        """
        refuse(client, self._connections)
        snapshot = place_snapshot(self._root, partial(self._write, cluster))
        if self._answers.failures:
            raise self._incomplete(snapshot)
        return snapshot

    def _write(self, cluster: Any, folder: Path) -> Written:
        answers = self._answers = self._ask(cluster, folder)
        if not answers.done:
            raise self._incomplete(None)
        others = self._bases.keys() - answers.done.keys()
        shares = answers.done | {label: self._bases[label].take_over(folder) for label in others}
        infos = {label: shares[label].info for label in sorted(shares)}
        failed = {label: _describe(error) for label, error in answers.failures.items()}
        info = join_infos(infos, asked=answers.done, failed=failed)
        if syncs := [share.info["sync"] for share in answers.done.values() if "sync" in share.info]:
            info["sync"] = {name: sum(each[name] for each in syncs) for name in _COUNTS}
        return Written([part for share in shares.values() for part in share.parts], info)

    def _ask(self, cluster: Any, folder: Path) -> Answers[Written]:
        if cluster is None:
            return ask_each(
                self._connections, self._question, partial(self._share, folder), _ORDERS
            )
        from trackstar_frames.scale import ask_workers  # noqa: PLC0415  (an extra, and slow)

        calm = replace(self._question, progress=False)
        works = {label: self._task(folder, label, calm) for label in self._connections}
        with Progress(shown=self._question.progress) as bar:
            answers = ask_workers(cluster, self._connections, works, bar)
        _check_there(folder, answers.done)
        return answers

    def _share(
        self, folder: Path, label: str, client: TrackstarClient, question: Question
    ) -> Written:
        return self._task(folder, label, question)(client)

    def _task(
        self, folder: Path, label: str, question: Question
    ) -> Callable[[TrackstarClient], Written]:
        place = partial(write, folder, connection=label)
        return partial(self._work, question, self._bases.get(label), place)

    def _incomplete(self, snapshot: Snapshot | None) -> IncompleteFetchError:
        """Tell what failed, and how to go on: over what the snapshot has of the others."""
        done, failures = self._answers
        bases = bases_of(snapshot.path, manifest(snapshot.path)) if snapshot else self._bases
        left = self._question.after(sum(share.orders for share in done.values()))
        again = Shares(
            self._root,
            replace(left, refresh=False),
            {label: each for label, each in self._connections.items() if label not in done},
            self._work,
            bases,
        )
        rest = ".snapshot the others" if snapshot else "and no snapshot was written"
        return incomplete(
            failures,
            f"{rest}; .resume() asks those that failed again, and writes a snapshot of all",
            frames=None,
            pages=sum(share.info["pages"] for share in done.values()),
            resume=again.run,
            snapshot=snapshot,
        )


def _check_there(folder: Path, shares: Mapping[str, Written]) -> None:
    """Make sure that the workers have written to this disk, and not each to its own."""
    for label, share in shares.items():
        if not all((folder / "orders" / each.name).exists() for each in share.parts):
            raise SnapshotError(
                f"a worker has written the share of {label!r} to {folder.parent}, and it is not "
                f"there on this machine; choose a folder that all of them see"
            )


def _describe(error: TrackstarError) -> str:
    """Say on disk what an error was, without the words of a server: those may hold anything."""
    status = "" if error.status is None else f" ({error.status})"
    return type(error).__name__ + status
