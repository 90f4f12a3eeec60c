"""Threads that are started while Python runs, or an error that says why they cannot be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from trackstar_frames.errors import TrackstarError

__all__ = ["ThreadPool", "starting"]

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
