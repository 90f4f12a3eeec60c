"""Pages on disk, signed, and stored under keyed hashes: the cache holds no credential.

The storage is that of requests-cache (see `page_store`), without its session, which would store
each request with its headers. A row is msgpack and zstd: reading it runs no code. Threads use the
file one at a time; they compress and sign, which takes most of the time, in parallel.
"""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakValueDictionary

import msgspec
import pyarrow as pa

if TYPE_CHECKING:
    from trackstar_frames.http.page_store import PageStore

_FILE = "pages.sqlite"
_FAULTS = (sqlite3.Error, OSError, MemoryError)
_SEAL_SIZE = 32  # bytes
# Pages of 1,000 orders shrink to a tenth. Level 1 makes 8 % more of them and saves less than a
# millisecond of each page's five, which is little beside the second that a server takes.
_LEVEL = 3
_FORK_WAIT = 5.0  # seconds that a fork waits for a thread that uses the file


class StoredPage(msgspec.Struct, frozen=True):
    """One page as it is stored; times in Unix seconds."""

    key: str  # the keyed hash of its request
    body: bytes
    fetched: float
    expires: float
    server_time: float | None = None  # when the server sent it, by the header ``Date``

    def __repr__(self) -> str:
        size = len(self.body)  # the body itself may be personal data
        return f"StoredPage({size:,} bytes, fetched={self.fetched}, expires={self.expires})"


class PageCache:
    """Pages by key, in a private folder, until they expire; `secret` (up to 64 bytes) signs them.

    A file that is locked, damaged, full or read-only causes a warning, and is not used further.
    """

    def __init__(
        self, folder: Path, secret: bytes = b"", clock: Callable[[], float] = time.time
    ) -> None:
        self.path = folder / "http" / _FILE
        self._secret = secret
        self._is_broken = False
        self._store = ForkSafe(partial(_open, self.path, clock))

    def read(self, key: str) -> StoredPage | None:
        """Return the page of a key; None if there is none, or none that can be read."""
        row = self._try(lambda store: store.find(key))
        page = _unpack(self._secret, row) if isinstance(row, bytes) else None
        return page if page is not None and page.key == key else None

    def write(self, page: StoredPage) -> None:
        """Store a page, and delete those that have expired."""
        if self._is_broken:
            return
        try:
            row = _pack(self._secret, page)
        except MemoryError:  # not a fault of the file
            return
        self._try(lambda store: store.put(page.key, row, page.expires))

    def delete(self, key: str) -> None:
        """Delete the page of a key, if there is one."""
        self._try(lambda store: store.delete(key))

    def clear(self) -> int:
        """Delete every page, of all connections, and return how many there were."""
        if not self.path.exists():
            return 0
        try:
            with self._store.lock:
                return self._store.get().delete_all()
        except sqlite3.OperationalError:  # locked, for example: the file is good, and in use
            raise
        except sqlite3.DatabaseError:  # damaged: there is nothing to count
            self.close()
            for file in self._files():
                file.unlink(missing_ok=True)
            return 0

    def info(self) -> dict[str, object]:
        """Return path, number of pages, bytes on disk, first and last expiry (UTC)."""
        info: dict[str, object] = {"path": str(self.path), "pages": 0, "bytes": 0}
        if not self.path.exists():
            return info
        with self._store.lock:
            count, first, last = self._store.get().expiries()
        info |= {"pages": count, "bytes": self.size()}
        if count:
            info |= {"first_expires": _iso(first), "last_expires": _iso(last)}
        return info

    def size(self) -> int:
        """Return the bytes on disk, without opening the file; 0 if there is none."""
        size = 0
        for file in self._files():
            with suppress(OSError):  # there is none, or no longer
                size += file.stat().st_size
        return size

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._store.close()

    def __repr__(self) -> str:
        return f"PageCache({str(self.path)!r}{', switched off' if self._is_broken else ''})"

    def _files(self) -> list[Path]:
        return [self.path, *self.path.parent.glob(f"{_FILE}-*")]

    def _try(self, use: Callable[[PageStore], object]) -> object:
        """Use the store; after a fault, warn once, and return None from then on."""
        with self._store.lock:
            if self._is_broken:
                return None
            try:
                return use(self._store.get())
            except _FAULTS as error:
                self._is_broken = True
                fault = error
        warnings.warn(
            f"the cache at {self.path} is switched off for this client: {fault}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def _open(path: Path, clock: Callable[[], float]) -> PageStore:
    from trackstar_frames.http.page_store import open_store  # noqa: PLC0415  (slow to import)

    return open_store(path, clock)


_ROW = msgspec.msgpack.Decoder(tuple[str, memoryview, int, float, float, float | None])


def _pack(secret: bytes, page: StoredPage) -> bytes:
    compressed = pa.Codec("zstd", compression_level=_LEVEL).compress(page.body, asbytes=True)
    times = (page.fetched, page.expires, page.server_time)
    packed = msgspec.msgpack.encode((page.key, compressed, len(page.body), *times))
    return _seal(secret, packed) + packed


def _unpack(secret: bytes, row: bytes) -> StoredPage | None:
    seal, packed = row[:_SEAL_SIZE], memoryview(row)[_SEAL_SIZE:]
    if not hmac.compare_digest(seal, _seal(secret, packed)):
        return None
    try:
        key, compressed, size, fetched, expires, server_time = _ROW.decode(packed)
        body = pa.Codec("zstd").decompress(compressed, decompressed_size=size, asbytes=True)
    except (ValueError, OSError, MemoryError):
        return None
    return StoredPage(key, body, fetched, expires, server_time)


def _seal(secret: bytes, packed: bytes | memoryview) -> bytes:
    return hashlib.blake2b(packed, key=secret, digest_size=_SEAL_SIZE).digest()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


class ForkSafe:
    """A page store that is closed before a fork; a thread holds `lock` while it uses the store."""

    #: Whether this process was forked while a thread of its parent used a store.
    is_torn: ClassVar[bool] = False

    def __init__(self, open_store: Callable[[], PageStore]) -> None:
        self.lock = threading.Lock()
        self._open = open_store
        self._store: PageStore | None = None
        _LIVE[id(self)] = self

    def get(self) -> PageStore:
        """Return the open store; OSError if the process was forked while a thread used it."""
        if ForkSafe.is_torn:
            raise OSError("this process was forked while a thread of its parent used a cache")
        if self._store is None:
            self._store = self._open()
        return self._store

    def close(self) -> None:
        """Close the store; the next use opens it again."""
        with self.lock:
            self._close()

    def before_fork(self) -> bool:
        """Close the store and keep its lock; return False if a thread does not release it."""
        if not self.lock.acquire(timeout=_FORK_WAIT):
            return False
        try:
            with suppress(Exception):  # the store is dropped all the same, and the fork goes on
                self._close()
        except BaseException:
            self.lock.release()
            raise
        return True

    def after_fork_in_child(self, *, was_locked: bool) -> None:
        """Start without a store; `was_locked` is what `before_fork` returned."""
        if self._store is not None:
            # Closing it could wait for a thread that this process does not have. An additional
            # reference keeps even the end of the interpreter from closing it.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._store))
        ForkSafe.is_torn |= not was_locked and (self._store is not None or self.lock.locked())
        self._store = None
        self.lock = threading.Lock()

    def _close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()  # type: ignore[no-untyped-call]


#: All stores of this process, and by forking thread those that it has locked.
_LIVE: WeakValueDictionary[int, ForkSafe] = WeakValueDictionary()
_LOCKED: dict[int, list[ForkSafe]] = {}


def _live() -> list[ForkSafe]:
    # `valuerefs` copies at once; to iterate would fail where another thread adds one.
    return [store for ref in _LIVE.valuerefs() if (store := ref()) is not None]


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
