"""Several connections on a cluster: each one's work is done by one of its workers, whole."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce

from distributed import Client, KilledWorker, Semaphore, Worker, as_completed, get_worker

from trackstar_frames.client import TrackstarClient
from trackstar_frames.connections import Source, check_connections, open_client
from trackstar_frames.errors import SettingsError, TrackstarError
from trackstar_frames.fetch import Outcomes, cause
from trackstar_frames.progress import Progress
from trackstar_frames.snapshots.writer import WriteResult

__all__ = ["ask_workers", "importable_sources", "turn"]


_Work = Callable[[TrackstarClient], WriteResult]


def ask_workers(
    cluster: Client,
    connections: Mapping[str, Source],
    works: Mapping[str, _Work],
    bar: Progress,
) -> Outcomes[WriteResult]:
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
    answers: Outcomes[WriteResult] = Outcomes({}, {})
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


def _do(label: str, source: Source, work: _Work) -> WriteResult | TrackstarError:
    """Do it, on a worker. What fails is an answer too: nobody is to try it again unasked."""
    try:
        with open_client(label, source) as client, turn(client):
            return work(client)
    except TrackstarError as error:
        return cause(error)


_PREFIX = "trackstar_frames-"


@contextmanager
def turn(client: TrackstarClient) -> Iterator[None]:
    """Have a client's token alone for a while, as far as the workers of a cluster go.

    The next worker gets the token when every request of this one is out of the second that the
    API counts; at once if all came from disk. This worker does not wait for that: it goes on with
    its next task. Outside of a worker of `distributed` there is nothing to do.

    Parameters
    ----------
    client
        Whose token; requests are to be sent within the block only.

    Notes
    -----
    The token of a worker that died is free again when the scheduler misses its signs of life:
    after 30 seconds, or what ``distributed.scheduler.locks.lease-timeout`` says.
    """
    worker = _worker()
    if worker is None:
        yield
        return
    # The budget's name is a hash: it tells tokens apart, and tells none.
    name = _PREFIX + client.session.budget
    semaphore = Semaphore(1, name, scheduler_rpc=worker.scheduler, loop=worker.loop)
    semaphore.acquire()
    try:
        yield
    finally:
        worker.loop.add_callback(_hand_over, semaphore, client.session.cooldown())


def _worker() -> Worker | None:
    try:
        return get_worker()
    except ValueError:  # on none
        return None


async def _hand_over(semaphore: Semaphore, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await semaphore.release()
    # The signs of life hold the semaphore, which would be there for ever.
    if hasattr(semaphore, "refresh_callback"):  # there are none if leases never end
        semaphore.refresh_callback.stop()


def importable_sources(connections: object) -> dict[str, Source]:
    """Check connections whose tokens are to be had elsewhere than here.

    Raises
    ------
    SettingsError
        If they are none, or a function cannot be imported by its name.
    """
    sources = check_connections(connections)
    for label, source in sources.items():
        if not isinstance(source, str) and not _is_importable(source):
            raise SettingsError(
                f"connections[{label!r}]: its function must be importable on the workers, as it is "
                f"sent by name; so it must stand at the top of a module, and be no lambda, no "
                f"function within another, no method or partial, and not of __main__. Move it to "
                f"a module, or give the name of an environment variable of the workers"
            )
    return sources


def _is_importable(source: object) -> bool:
    """Tell whether a name leads to it; anything else would travel with all that it holds."""
    module, name = (getattr(source, each, None) for each in ("__module__", "__qualname__"))
    if module == "__main__" or not (isinstance(module, str) and isinstance(name, str)):
        return False
    try:
        found = reduce(getattr, name.split("."), sys.modules[module])
    except (KeyError, AttributeError):
        return False
    return found is source
