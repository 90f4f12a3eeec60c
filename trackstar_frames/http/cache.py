"""Pages on disk, under keyed hashes and sealed: the cache holds no credential.

It uses the storage of requests-cache (see `page_store`), not its session: a session would
store each request with its headers. A row is msgpack and zstd: reading it runs no code.
Threads use the file one at a time; compressing and sealing, which take most of the time, they
do in parallel.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pyarrow as pa

from trackstar_frames.http.forks import ForkSafe

if TYPE_CHECKING:
    from trackstar_frames.http.page_store import PageStore

__all__ = ["PageCache", "StoredPage"]


_FILE = "pages.sqlite"
_FAULTS = (sqlite3.Error, OSError, MemoryError)
_SEAL_SIZE = 32  # bytes
# Pages of 1,000 orders shrink to a tenth. Level 1 makes 8 % more of them and saves less than a
# millisecond of each page's five, which is little beside the second that a server takes.
_LEVEL = 3
_T = TypeVar("_T")


class StoredPage(msgspec.Struct, frozen=True):
    """One page as it is stored; times in Unix seconds.

    Attributes
    ----------
    key : str
        The keyed hash of its request.
    body : bytes
        The body of the response.
    fetched : float
        When it was fetched.
    expires : float
        When it expires.
    server_time : float or None
        When the server sent it, by the header ``Date``.
    """

    key: str
    body: bytes
    fetched: float
    expires: float
    server_time: float | None = None

    def __repr__(self) -> str:
        size = len(self.body)  # the body itself may be personal data
        return f"StoredPage({size:,} bytes, fetched={self.fetched}, expires={self.expires})"


class PageCache:
    """Pages by key, until they expire; after a fault of the file, the cache is switched off.

    A cache is a convenience: a file that is locked, damaged, full or read-only costs one
    warning and the speed, never the result.

    Parameters
    ----------
    folder
        Where to keep it; the file goes to a private folder inside.
    secret
        Seals the rows, at most 64 bytes: a row that was written with another secret, or under
        another key, is not returned.
    clock
        Returns the time by which pages expire, in Unix seconds.
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

    def _try(self, use: Callable[[PageStore], _T]) -> _T | None:
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
