"""Threads that work side by side, and stop together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import ParamSpec, TypeVar
from weakref import WeakSet

from trackstar_frames.errors import TrackstarError

__all__ = ["Cancelled", "ThreadGroup", "ThreadPool", "starting"]


_P = ParamSpec("_P")
_T = TypeVar("_T")


class ThreadPool(ThreadPoolExecutor):
    """A pool of threads that complains at once where Python takes no more work.

    So it is once the main thread has ended: other threads may go on, and start none.

    Raises
    ------
    TrackstarError
        If no thread can be started.
    """

    def __init__(self, size: int, name: str = "") -> None:
        super().__init__(size, name)
        self.submit(bool)  # before anything is asked or read for the pool, in vain

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Begin a piece of work."""
        with starting():
            return super().submit(fn, *args, **kwargs)


@contextmanager
def starting() -> Iterator[None]:
    """Say in plain words why a thread, or a piece of work for one, cannot be started.

    Raises
    ------
    TrackstarError
        If it cannot.
    """
    try:
        yield
    except RuntimeError as error:
        if threading.main_thread().is_alive():
            raise TrackstarError(f"no thread can be started: {error}") from error
        raise TrackstarError(
            f"the program's main thread has ended, and Python starts no more work ({error}); have "
            f"the main thread wait for this one, by its join()"
        ) from error


_GLANCE = 0.5  # seconds


class Cancelled(Exception):  # noqa: N818  (no error: somebody else has met one)
    """Work was left because another thread has failed, or nobody waits for it any more."""


class ThreadGroup:
    """So many threads at most, for one piece of work after the other.

    They see the context variables of whoever asked for the work. A crew that is made within
    the work of another one stops with it.

    Parameters
    ----------
    size
        How many.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._stop = threading.Event()
        self._within: WeakSet[ThreadGroup] = WeakSet()
        self._lock = threading.Lock()
        around = _AROUND.get()
        if around is not None:
            around.adopt(self)

    def do(self, task: Callable[[_T], object], things: Iterable[_T]) -> None:
        """Do a task for each thing, the first ones first, and wait for all.

        Raises
        ------
        Exception
            The first failure, once no thread works any more.
        KeyboardInterrupt
            At once; the threads stop by themselves, at their next wait at the latest.
        """
        left = deque(things)
        over: SimpleQueue[BaseException | None] = SimpleQueue()
        threads: list[threading.Thread] = []
        try:
            for _ in range(min(self._size, len(left))):
                run = partial(copy_context().run, self._work, task, left, over)
                # As daemons, they do not keep a program alive that somebody has interrupted.
                with starting():
                    threads.append(threading.Thread(target=run, daemon=True))
                    threads[-1].start()
            ends = list(_get_each(over, threads))
        except BaseException:
            self.stop()
            raise
        failures = [end for end in ends if end is not None]
        if failures:
            raise min(failures, key=lambda each: isinstance(each, Cancelled))

    def wait(self, seconds: float) -> None:
        """Sleep, or raise `Cancelled` as soon as the work is to be left."""
        if self._stop.wait(seconds):
            raise Cancelled

    def stop(self) -> None:
        """Have all leave their work, at their next wait at the latest."""
        self._stop.set()
        with self._lock:
            within = list(self._within)
        for crew in within:
            crew.stop()

    def adopt(self, crew: ThreadGroup) -> None:
        """Have another crew stop with this one."""
        with self._lock:
            self._within.add(crew)
        if self._stop.is_set():
            crew.stop()

    def _work(
        self,
        task: Callable[[_T], object],
        left: deque[_T],
        over: SimpleQueue[BaseException | None],
    ) -> None:
        _AROUND.set(self)
        try:
            while left and not self._stop.is_set():
                try:
                    thing = left.popleft()
                except IndexError:  # another thread was faster
                    break
                task(thing)
        except BaseException as failure:  # noqa: BLE001  (raised again where the work was asked)
            self.stop()
            over.put(failure)
        else:
            over.put(None)


def _get_each(queue: SimpleQueue[_T], threads: list[threading.Thread]) -> Iterator[_T]:
    """Get what each of some threads puts into a queue."""
    left = len(threads)
    # On Windows, Ctrl-C is heard only between waits.
    while left:
        # Asked for first: what a thread puts, it puts before it ends.
        are_alive = any(each.is_alive() for each in threads)
        try:
            yield queue.get(timeout=_GLANCE if are_alive else 0)
        except Empty:
            if not are_alive:
                raise RuntimeError(f"{left} threads ended without their result") from None
        else:
            left -= 1


_AROUND: ContextVar[ThreadGroup | None] = ContextVar(
    "the crew of whose work this is a part", default=None
)
