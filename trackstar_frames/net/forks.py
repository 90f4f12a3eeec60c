"""One resource for all threads of a process, let go of before the process forks.

SQLite keeps the locks of a file in the memory of the process. A child of a fork inherits
that memory, but not the locks: even a connection of its own takes none as long as it
finds the parent's there, and what it writes can be lost when the parent closes. So the
parent closes the file before it forks, and both open it anew when they need it.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

__all__ = ["Shared"]

#: How long a fork waits for a thread that is at work, in seconds.
_FORK_WAIT = 5.0


class _Closable(Protocol):
    def close(self) -> object: ...


_R = TypeVar("_R", bound=_Closable)


class Shared(Generic[_R]):
    """A resource that one thread uses at a time, opened when it is first needed.

    Parameters
    ----------
    make
        Opens the resource.
    """

    #: Whether this process was forked while a thread of its parent was at work.
    torn: ClassVar[bool] = False

    def __init__(self, make: Callable[[], _R]) -> None:
        self._make = make
        self._made: _R | None = None
        self._lock = threading.Lock()
        _live[id(self)] = self

    @contextmanager
    def turn(self) -> Iterator[Callable[[], _R]]:
        """Let one thread at a time get the resource, and hand over what gets it.

        That raises OSError if this process was forked while a thread of its parent was at work.
        """
        with self._lock:
            yield self._get

    def close(self) -> None:
        """Let go of the resource; a later use opens it again."""
        with self._lock:
            self._let_go()

    def hold(self) -> bool:
        """Let go of the resource, and let no thread open it; False if one is long at work."""
        if not self._lock.acquire(timeout=_FORK_WAIT):
            return False
        try:
            with suppress(Exception):  # it is let go of all the same, and the fork goes on
                self._let_go()
        except BaseException:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        """Let threads open it again."""
        self._lock.release()

    def start_anew(self, *, held: bool) -> None:
        """Begin as the child of a fork."""
        if self._made is not None:
            # To close it could wait for a thread that is not in this process. One reference
            # too many keeps even the end of the interpreter from trying.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._made))
        Shared.torn |= not held and (self._made is not None or self._lock.locked())
        self._made = None
        self._lock = threading.Lock()

    def _get(self) -> _R:
        if Shared.torn:
            raise OSError("this process was forked while a thread of its parent used a cache")
        if self._made is None:
            self._made = self._make()
        return self._made

    def _let_go(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            made.close()


#: All of this process, and those that a thread holds while it forks.
_live: WeakValueDictionary[int, Shared[Any]] = WeakValueDictionary()
_held: dict[int, list[Shared[Any]]] = {}


def _all() -> list[Shared[Any]]:
    return [shared for ref in _live.valuerefs() if (shared := ref()) is not None]


def _before_fork() -> None:
    held = _held[threading.get_ident()] = []
    held.extend(shared for shared in _all() if shared.hold())  # one by one, as each may raise


def _after_in_parent() -> None:
    for shared in _held.pop(threading.get_ident()):
        shared.release()


def _after_in_child() -> None:
    held = _held.pop(threading.get_ident())
    _held.clear()
    for shared in _all():
        shared.start_anew(held=shared in held)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_in_parent,
        after_in_child=_after_in_child,
    )
