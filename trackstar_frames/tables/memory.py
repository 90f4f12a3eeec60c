"""Memory given back to the system, of which Arrow's pools and malloc keep much for later."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

__all__ = ["give_back", "keeping_pages"]

# Only glibc has it. Arrow calls it too, but not for all that its threads have freed.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def give_back() -> None:
    """Give back what is free; worth its milliseconds where hundreds of megabytes were used."""
    for pool in (pa.default_memory_pool(), pa.system_memory_pool()):
        pool.release_unused()
    if _trim is not None:
        _trim(0)


@contextmanager
def keeping_pages() -> Iterator[None]:
    """Have Arrow keep what is freed for what comes next, where tables come and go by the dozen.

    Its usual pool gives all back to the system at once, and asks for as much again: a tenth of
    the time. The pool is the whole process's, so this is for a work that takes seconds; of
    several works side by side, the last one to end gives the usual pool back.
    """
    _kept.begin()
    try:
        yield
    finally:
        _kept.end()


class _KeptPool:
    """Changes the process's pool for as long as somebody works with the other one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._works = 0
        self._usual: pa.MemoryPool | None = None

    def begin(self) -> None:
        with self._lock:
            if not self._works and "jemalloc" in pa.supported_memory_backends():
                self._usual = pa.default_memory_pool()
                pa.set_memory_pool(pa.jemalloc_memory_pool())
            self._works += 1

    def end(self) -> None:
        with self._lock:
            self._works -= 1
            if not self._works and self._usual is not None:
                pa.set_memory_pool(self._usual)
                self._usual = None


_kept = _KeptPool()
