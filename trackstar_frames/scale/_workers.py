"""Several connections on a cluster: each one's work is done by one of its workers, whole."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

from distributed import Client, KilledWorker, as_completed

from trackstar_frames.calls.connections import Source, open_client
from trackstar_frames.calls.gathering import Answers, cause
from trackstar_frames.calls.progress import Progress
from trackstar_frames.client import TrackstarClient
from trackstar_frames.disk.writer import Written
from trackstar_frames.errors import TrackstarError
from trackstar_frames.scale._sources import importable_sources
from trackstar_frames.scale._turns import turn

__all__ = ["ask_workers"]

_Work = Callable[[TrackstarClient], Written]


def ask_workers(
    cluster: Client,
    connections: Mapping[str, Source],
    works: Mapping[str, _Work],
    bar: Progress,
) -> Answers[Written]:
    """Have workers do some work for each connection.

    Parameters
    ----------
    cluster
        Of the workers.
    connections
        A label for each, and where a worker finds its token.
    works
        What to do for each, with its client; can be pickled.
    bar
        Where to count what is done.

    Raises
    ------
    SettingsError
        If a worker could not import a function that gives a token.
    """
    importable_sources(connections)
    answers: Answers[Written] = Answers({}, {})
    # Never the key of an earlier call: what was asked before is no answer.
    call = uuid.uuid4().hex
    futures = {
        cluster.submit(_do, label, source, works[label], key=f"trackstar-{label}-{call}"): label
        for label, source in connections.items()
    }
    try:
        for future in as_completed(futures, loop=cluster.loop):
            label = futures[future]
            try:
                answer = future.result()
            except KilledWorker as error:
                answer = TrackstarError(f"one worker after the other died of it: {error}")
            if isinstance(answer, TrackstarError):
                answers.failures[label] = answer
            else:
                answers.done[label] = answer
                bar.add(answer.orders, answer.info["pages"])
    finally:
        cluster.cancel(list(futures), force=True)
    return answers


def _do(label: str, source: Source, work: _Work) -> Written | TrackstarError:
    """Do it, on a worker. What fails is an answer too: nobody is to try it again unasked."""
    try:
        with open_client(label, source) as client, turn(client):
            return work(client)
    except TrackstarError as error:
        return cause(error)
