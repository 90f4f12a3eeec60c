"""Several connections in one call: each is asked for itself, and what fails is told at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from trackstar_frames.calls.connections import Source, open_clients
from trackstar_frames.calls.progress import Progress
from trackstar_frames.calls.question import Question
from trackstar_frames.calls.reading import Reading
from trackstar_frames.client import TrackstarClient
from trackstar_frames.errors import IncompleteFetchError, SettingsError, TrackstarError
from trackstar_frames.frames import OrderFrames
from trackstar_frames.listing.crew import Crew
from trackstar_frames.plain import counted
from trackstar_frames.tables.dtypes import DtypeBackend
from trackstar_frames.tables.labels import join_infos, stack

__all__ = ["Answers", "Gathering", "ask_each", "cause", "incomplete", "named_only", "refuse"]

_T = TypeVar("_T")

#: Connections that are asked side by side. At ten requests a second each, more would wait for
#: the cores that flatten their answers; each holds some thousands of orders in memory.
_AT_ONCE = 8

_TOLD = 3  # failures in a message


class Answers(NamedTuple, Generic[_T]):
    """What became of each connection: the one or the other."""

    done: dict[str, _T]
    failures: dict[str, TrackstarError]


def ask_each(
    connections: Mapping[str, Source],
    question: Question,
    work: Callable[[str, TrackstarClient, Question], _T],
    count: Callable[[_T], int],
) -> Answers[_T]:
    """Ask each connection, side by side, under one bar.

    With a limit, one is asked after the other until there are enough, or one fails.

    Parameters
    ----------
    connections
        A label for each, and where its token comes from.
    question
        What to ask of each.
    work
        Takes a label, a client and what to ask.
    count
        Tells how many orders a work has given.

    Raises
    ------
    SettingsError, CredentialsError
        If a token cannot be had; before any work.
    """
    clients = open_clients(connections)
    done: dict[str, _T] = {}
    failures: dict[str, TrackstarError] = {}

    def do(label: str) -> None:
        asked = question
        if question.limit is not None:  # else others are adding to what is done meanwhile
            asked = question.after(sum(map(count, done.values())))
            if failures or asked.limit == 0:
                return
        with clients[label] as client:
            try:
                done[label] = work(label, client, asked)
            except TrackstarError as error:
                failures[label] = cause(error)

    with Progress(shown=question.progress):
        Crew(_AT_ONCE if question.limit is None else 1).do(do, clients)
    return Answers(done, failures)


class Gathering:
    """One fetch of several connections; can be run again for those that failed.

    Parameters
    ----------
    question
        What is asked of each.
    connections
        A label for each, and where its token comes from; checked.
    dtype_backend
        As for `fetch_orders`.
    """

    def __init__(
        self,
        question: Question,
        connections: Mapping[str, Source],
        *,
        dtype_backend: DtypeBackend = None,
    ) -> None:
        self._question = question
        self._connections = connections
        self._dtype_backend = dtype_backend
        self._readings: dict[str, Reading] = {}
        self._frames: dict[str, OrderFrames] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # As of a reading: what was read stays in this process.
        again = replace(self._question, refresh=self._question.refresh and self._question.hides)
        make = partial(Gathering, dtype_backend=self._dtype_backend)
        return make, (again, named_only(self._connections))

    def run(self, client: TrackstarClient | None = None) -> OrderFrames:
        """Read all to the end, or raise with what was read of the others."""
        refuse(client, self._connections)
        left = {
            label: each for label, each in self._connections.items() if label not in self._frames
        }
        failures = self._ask(left)
        if failures:
            raise incomplete(
                failures,
                ".frames all orders of the other connections; .resume() asks for the rest",
                frames=self._join(complete=False) if self._frames else None,
                pages=sum(reading.pages for reading in self._readings.values()),
                resume=self.run,
            )
        return self._join(complete=True)

    def _ask(self, connections: Mapping[str, Source]) -> dict[str, TrackstarError]:
        """Read what is left of some connections, and tell which of them failed."""
        left = self._question.after(sum(map(_count, self._frames.values())))
        done, failures = ask_each(connections, left, self._read, _count)
        self._frames |= done
        return dict(sorted(failures.items()))

    def _read(self, label: str, client: TrackstarClient, question: Question) -> OrderFrames:
        return self._readings.setdefault(label, Reading(question)).run(client)

    def _join(self, *, complete: bool) -> OrderFrames:
        frames = dict(sorted(self._frames.items()))
        info = join_infos({label: each.info for label, each in frames.items()})
        info |= {"complete": complete, "limit": self._question.limit}
        tables = stack({label: each.to_arrow() for label, each in frames.items()})
        return OrderFrames(tables, info, dtype_backend=self._dtype_backend)


def _count(frames: OrderFrames) -> int:
    return len(frames.to_arrow()["orders"])


def cause(error: TrackstarError) -> TrackstarError:
    """Give what broke a connection's fetch: alone, it cannot be resumed from."""
    below = error.__cause__
    if isinstance(error, IncompleteFetchError) and isinstance(below, TrackstarError):
        return below
    return error


def incomplete(
    failures: Mapping[str, TrackstarError], rest: str, **told: Any
) -> IncompleteFetchError:
    """Word what became of some connections."""
    words = [f"{label!r}: {error}" for label, error in failures.items()]
    more = f"; and {len(words) - _TOLD:,} more" if len(words) > _TOLD else ""
    return IncompleteFetchError(
        f"{counted(len(words), 'connection')} failed ({'; '.join(words[:_TOLD])}{more}); "
        f".failures holds the errors, {rest}",
        retryable=all(error.retryable for error in failures.values()),
        retry_after=max((each.retry_after or 0 for each in failures.values()), default=0) or None,
        failures=dict(failures),
        **told,
    )


def named_only(connections: Mapping[str, Source]) -> dict[str, Source]:
    """Give what may be pickled: the names of variables; nothing, if there are functions."""
    are_named = all(isinstance(each, str) for each in connections.values())
    return dict(connections) if are_named else {}


def refuse(client: TrackstarClient | None, connections: Mapping[str, Source]) -> None:
    """Refuse to resume several connections with one client, or without their tokens."""
    if client is not None:
        raise SettingsError("several connections failed; call resume() without a client")
    if not connections:
        raise SettingsError(
            "an error that was pickled has lost the functions that give the tokens; make the "
            "same call again"
        )
