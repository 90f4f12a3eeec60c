"""Threads that work in parallel, and stop together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar
from weakref import WeakSet

from trackstar_frames.errors import TrackstarError

_T = TypeVar("_T")


class ThreadPool(ThreadPoolExecutor):
    """A pool of threads that raises TrackstarError at once if no thread can be started."""

    def __init__(self, size: int, name: str = "") -> None:
        super().__init__(size, name)
        self.submit(bool)  # fails before anything is requested or read for the pool

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Start a task."""
        with starting():
            return super().submit(fn, *args, **kwargs)


@contextmanager
def starting() -> Iterator[None]:
    """Turn the error of a thread that cannot be started into a TrackstarError that says why."""
    try:
        yield
    except RuntimeError as error:
        if threading.main_thread().is_alive():
            raise TrackstarError(f"no thread can be started: {error}") from error
        raise TrackstarError(
            f"the program's main thread has ended, and Python starts no more work ({error}); have "
            f"the main thread wait for this one, by its join()"
        ) from error


_POLL_INTERVAL = 0.5  # seconds


class Cancelled(Exception):  # noqa: N818  (no error of its own: another thread has failed)
    """A task was stopped because another thread has failed, or nobody waits for it any more."""


class ThreadGroup:
    """At most `size` threads, which stop together when one of them fails.

    They have the context variables of the caller, and stop with the group of the task they are in.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._stop = threading.Event()
        self._children: WeakSet[ThreadGroup] = WeakSet()
        self._lock = threading.Lock()
        if (parent := _PARENT.get()) is not None:
            parent.adopt(self)

    def do(self, task: Callable[[_T], object], items: Iterable[_T]) -> None:
        """Do a task for each item, in order; then raise the first failure, an interrupt at once."""
        left = deque(items)
        outcomes: SimpleQueue[BaseException | None] = SimpleQueue()
        threads: list[threading.Thread] = []
        try:
            for _ in range(min(self._size, len(left))):
                run = partial(copy_context().run, self._work, task, left, outcomes)
                # As daemons, they do not keep a program alive that somebody has interrupted.
                with starting():
                    threads.append(threading.Thread(target=run, daemon=True))
                    threads[-1].start()
            failures = [each for each in _get_each(outcomes, threads) if each is not None]
        except BaseException:
            self.stop()
            raise
        if failures:
            raise min(failures, key=lambda each: isinstance(each, Cancelled))

    def wait(self, seconds: float) -> None:
        """Sleep, or raise `Cancelled` as soon as the group is to stop."""
        if self._stop.wait(seconds):
            raise Cancelled

    def stop(self) -> None:
        """Stop all threads, at their next wait at the latest."""
        self._stop.set()
        with self._lock:
            children = list(self._children)
        for child in children:
            child.stop()

    def adopt(self, child: ThreadGroup) -> None:
        """Have another group stop with this one."""
        with self._lock:
            self._children.add(child)
        if self._stop.is_set():
            child.stop()

    def _work(
        self,
        task: Callable[[_T], object],
        left: deque[_T],
        outcomes: SimpleQueue[BaseException | None],
    ) -> None:
        _PARENT.set(self)
        try:
            while left and not self._stop.is_set():
                try:
                    item = left.popleft()
                except IndexError:  # another thread was faster
                    break
                task(item)
        except BaseException as failure:  # noqa: BLE001  (raised again in `do`)
            self.stop()
            outcomes.put(failure)
        else:
            outcomes.put(None)


def _get_each(queue: SimpleQueue[_T], threads: list[threading.Thread]) -> Iterator[_T]:
    """Get what each thread puts into the queue."""
    left = len(threads)
    # On Windows, Ctrl-C is noticed only between waits.
    while left:
        # Looked at first: a thread puts its outcome before it ends.
        are_alive = any(each.is_alive() for each in threads)
        try:
            yield queue.get(timeout=_POLL_INTERVAL if are_alive else 0)
        except Empty:
            if not are_alive:
                raise RuntimeError(f"{left} threads ended without an outcome") from None
        else:
            left -= 1


_PARENT: ContextVar[ThreadGroup | None] = ContextVar("the group whose task this is", default=None)
