"""One token, one worker at a time: the API counts the requests of a token, whoever sends them.

Within a process, the limiter keeps to the budget. The workers of a cluster are processes, often on
several machines; so they take turns, by a semaphore of the scheduler for each token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Semaphore, Worker, get_worker

from trackstar_frames.client import TrackstarClient

__all__ = ["turn"]

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
        worker.loop.add_callback(_hand_over, semaphore, client.session.rest())


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
