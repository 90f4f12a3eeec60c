"""A resource that survives a fork: closed before it, opened anew in parent and child."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

__all__ = ["ForkSafe"]


_FORK_WAIT = 5.0  # seconds that a fork waits for a thread that uses a resource


class _Closable(Protocol):
    def close(self) -> object: ...


_R = TypeVar("_R", bound=_Closable)


class ForkSafe(Generic[_R]):
    """A resource for one thread at a time, opened when it is first needed.

    Attributes
    ----------
    lock : threading.Lock
        To be held while the resource is used.
    """

    #: Whether this process was forked while a thread of its parent used a resource.
    is_torn: ClassVar[bool] = False

    def __init__(self, open_resource: Callable[[], _R]) -> None:
        self.lock = threading.Lock()
        self._open = open_resource
        self._resource: _R | None = None
        _LIVE[id(self)] = self

    def get(self) -> _R:
        """Return the open resource; OSError if a fork has torn it from a thread at work."""
        if ForkSafe.is_torn:
            raise OSError("this process was forked while a thread of its parent used a cache")
        if self._resource is None:
            self._resource = self._open()
        return self._resource

    def close(self) -> None:
        """Close the resource; the next use opens it again."""
        with self.lock:
            self._close()

    def before_fork(self) -> bool:
        """Close the resource and keep its lock; return False if a thread does not release it."""
        if not self.lock.acquire(timeout=_FORK_WAIT):
            return False
        try:
            with suppress(Exception):  # the resource is dropped all the same, and the fork goes on
                self._close()
        except BaseException:
            self.lock.release()
            raise
        return True

    def after_fork_in_child(self, *, was_locked: bool) -> None:
        """Start without a resource; `was_locked` is what `before_fork` returned."""
        if self._resource is not None:
            # Closing it could wait for a thread that this process does not have. With one
            # reference too many, even the end of the interpreter does not close it.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._resource))
        ForkSafe.is_torn |= not was_locked and (self._resource is not None or self.lock.locked())
        self._resource = None
        self.lock = threading.Lock()

    def _close(self) -> None:
        resource, self._resource = self._resource, None
        if resource is not None:
            resource.close()


#: All resources of this process, and by forking thread those that it has locked.
_LIVE: WeakValueDictionary[int, ForkSafe[Any]] = WeakValueDictionary()
_LOCKED: dict[int, list[ForkSafe[Any]]] = {}


def _live() -> list[ForkSafe[Any]]:
    # `valuerefs` copies at once; to iterate would fail where another thread adds one.
    return [resource for ref in _LIVE.valuerefs() if (resource := ref()) is not None]


def _before_fork() -> None:
    locked = _LOCKED[threading.get_ident()] = []
    locked.extend(each for each in _live() if each.before_fork())  # one by one: each may raise


def _after_fork_in_parent() -> None:
    for each in _LOCKED.pop(threading.get_ident()):
        each.lock.release()


def _after_fork_in_child() -> None:
    locked = _LOCKED.pop(threading.get_ident())
    _LOCKED.clear()
    for each in _live():
        each.after_fork_in_child(was_locked=each in locked)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
