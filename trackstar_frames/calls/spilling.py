"""A fetch whose orders wait on disk: for what takes more of them than memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn

from trackstar_frames.calls.question import Question
from trackstar_frames.calls.reading import Reading, broken
from trackstar_frames.client import TrackstarClient
from trackstar_frames.disk.aside import aside
from trackstar_frames.disk.manifest import disk_faults
from trackstar_frames.disk.spill import Spill
from trackstar_frames.errors import SettingsError
from trackstar_frames.flatten import Batch
from trackstar_frames.plain import counted
from trackstar_frames.snapshots import Place, T

__all__ = ["Again", "Job", "Spilled", "spilling"]


@dataclass(frozen=True)
class Job(Generic[T]):
    """What is asked of one connection, and what is to become of it.

    Attributes
    ----------
    root : pathlib.Path
        The folder of all snapshots.
    question : Question
        What is asked.
    again : Again
        Whom; does the whole work again, where it broke.
    place : callable
        Has the parts written.
    """

    root: Path
    question: Question
    again: Again
    place: Place[T]

    @property
    def client(self) -> TrackstarClient:
        """Whom to ask."""
        return self.again.client_or_raise()


@contextmanager
def spilling(job: Job[Any], work: str) -> Iterator[tuple[Spilled, Spill]]:
    """Read what a question asks to a hidden folder under its root, which is gone afterwards.

    What the client's cache has of the same work, if that broke or was killed, is not asked
    for again; once the block has ended well, it is forgotten that the work was begun.

    Parameters
    ----------
    job
        Whom to ask what.
    work
        One word for it.
    """
    root, question, session = job.root, job.question, job.client.session
    name = f"{work} {root} {question.page_size} {question.limit} {question.queries}"
    since = 0.0 if question.offline else session.began(name, anew=question.refresh)
    with disk_faults(f"cannot write under {root}"), aside(root / work) as folder:
        spill = Spill(folder)
        reading = Spilled(question, since, spill)
        error = reading.read(job.client)
        if error is not None:
            if question.hides:
                error.__traceback__ = None  # its frames hold the page that was read last
            if not reading.pages:
                raise error
            raise broken(
                error,
                f"the {work} broke after {counted(reading.pages, 'page')} "
                f"({counted(reading.orders, 'order')}); "
                f".resume(), or the same call, goes on from those that are on disk",
                frames=None,
                pages=reading.pages,
                resume=job.again,
            ) from error
        yield reading, spill
    if not question.offline:
        session.ended(name)


class Spilled(Reading):
    """A fetch that keeps its orders on disk."""

    def __init__(self, question: Question, since: float, spill: Spill) -> None:
        super().__init__(question, since=since)
        self._spill = spill

    def settle(self) -> int:
        """Choose which orders to keep, and tell how many were dropped as duplicates."""
        is_limited = self._question.limit is not None
        return self._spill.settle(self.ranks(), self.repeats(), leaves_out=is_limited)

    def _keep(self, batch: Batch, number: int) -> None:
        self._spill.add(super()._keep(batch, number), number)


class Again:
    """A work that can be done again, also in another process by another client.

    Parameters
    ----------
    work
        Takes a client; can be pickled.
    client
        Whom to ask; a pickle loses it.
    """

    def __init__(
        self, work: Callable[[TrackstarClient], Any], client: TrackstarClient | None = None
    ) -> None:
        self._work = work
        self.client = client

    @classmethod
    def together(cls, client: TrackstarClient) -> Again:
        """Have the work done again by whoever asked several connections, not for one alone."""
        return cls(_together, client)

    def __call__(self, client: TrackstarClient | None = None) -> Any:
        """Do it."""
        return self._work(client or self.client_or_raise())

    def client_or_raise(self) -> TrackstarClient:
        """Give the client, or say how to give one."""
        if self.client is None:
            raise SettingsError("an error that was pickled has no client; call resume(client=...)")
        return self.client

    def __reduce__(self) -> tuple[Any, ...]:
        return Again, (self._work,)


def _together(_: TrackstarClient) -> NoReturn:
    raise SettingsError("this is one of several connections; resume the error of all of them")
