"""Answers on disk: one SQLite file, private to its user, that holds no credential.

It builds on the storage of requests-cache rather than on its session. The session keeps
the request, headers and all, beside the answer and has to redact it; here only the body
is kept, under a name that is a keyed hash (see `session`). What is stored is msgpack and
zstd: nothing that could run code when it is read.

Threads take turns at the file only. Most of the time goes into zstd and the seal, which
each does for itself.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pyarrow as pa

from trackstar_frames.net.forks import Shared

if TYPE_CHECKING:
    from trackstar_frames.net.rows import Rows

__all__ = ["PageCache", "Stored"]

_FILE = "pages.sqlite"
_FAULTS = (sqlite3.Error, OSError, MemoryError)
_MARK = 32  # bytes
# Pages of 1,000 orders shrink to a tenth. Level 1 makes 8 % more of them and saves less than a
# millisecond of each page's five, which is little beside the second that a server takes.
_LEVEL = 3
_T = TypeVar("_T")


class Stored(msgspec.Struct, frozen=True):
    """One answer as it is kept: its body, and when it was given and expires (Unix seconds).

    Beside our clock's time there is the server's, by the header ``Date``; None without one.
    """

    key: str
    body: bytes
    fetched: float
    expires: float
    server_time: float | None = None

    def __repr__(self) -> str:
        size = len(self.body)  # all that is told of what may be personal data
        return f"Stored({size:,} bytes, fetched={self.fetched}, expires={self.expires})"


class PageCache:
    """Answers by key, with an end: expired rows are deleted, faults switch the cache off.

    A cache is a convenience: a file that is locked, damaged, full or read-only costs one
    warning and the speed, never the result.

    Parameters
    ----------
    folder
        Where to keep it; the file goes to a private folder inside.
    seal
        A secret that rows are sealed with, at most 64 bytes: a row that was not written
        with it, or not under its key, is as good as none.
    """

    def __init__(self, folder: Path, seal: bytes = b"") -> None:
        self.path = folder / "http" / _FILE
        self._seal = seal
        self._broken = False
        self._file = Shared(partial(_open, self.path))

    def read(self, key: str) -> Stored | None:
        """Look an answer up; None where it is not there or cannot be read."""
        row = self._try(lambda rows: rows.find(key))
        found = _unpack(self._seal, row) if isinstance(row, bytes) else None
        return found if found is not None and found.key == key else None

    def write(
        self,
        key: str,
        body: bytes,
        fetched: float,
        expires: float,
        server_time: float | None = None,
    ) -> None:
        """Keep an answer, and delete what has expired."""
        if self._broken:
            return
        try:
            row = _pack(self._seal, Stored(key, body, fetched, expires, server_time))
        except MemoryError:  # which is no fault of the file
            return
        self._try(lambda rows: rows.keep(key, row, expires))

    def delete(self, key: str) -> None:
        """Delete an answer, if it is there."""
        self._try(lambda rows: rows.drop(key))

    def clear(self) -> int:
        """Delete every answer, of all connections, and tell how many there were."""
        if not self.path.exists():
            return 0
        try:
            with self._file.turn() as get:
                rows = get()
                count = len(rows)
                rows.wipe()
        except sqlite3.OperationalError:  # locked, say: whole, and in use
            raise
        except sqlite3.DatabaseError:  # damaged: there is nothing to count
            count = 0
            self.close()
            for file in self._files():
                file.unlink(missing_ok=True)
        return count

    def info(self) -> dict[str, object]:
        """Tell what is there: path, pages, bytes on disk, oldest and newest expiry (UTC)."""
        found: dict[str, object] = {"path": str(self.path), "pages": 0, "bytes": 0}
        if not self.path.exists():
            return found
        with self._file.turn() as get:
            count, oldest, newest = get().span()
        found |= {"pages": count, "bytes": self.size()}
        if count:
            found |= {"first_expires": _utc(oldest), "last_expires": _utc(newest)}
        return found

    def size(self) -> int:
        """Tell how many bytes it takes on disk, without opening it; 0 where there is none."""
        size = 0
        for file in self._files():
            with suppress(OSError):  # not there, or just gone
                size += file.stat().st_size
        return size

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __repr__(self) -> str:
        return f"PageCache({str(self.path)!r}{', switched off' if self._broken else ''})"

    def _files(self) -> list[Path]:
        return [self.path, *self.path.parent.glob(f"{_FILE}-*")]

    def _try(self, use: Callable[[Rows], _T]) -> _T | None:
        """Use the rows, one thread at a time; None once there was a fault."""
        with self._file.turn() as get:
            if self._broken:
                return None
            try:
                return use(get())
            except _FAULTS as error:
                self._broken = True
                fault = error
        warnings.warn(
            f"the cache at {self.path} is switched off for this client: {fault}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def _open(path: Path) -> Rows:
    from trackstar_frames.net.rows import open_rows  # noqa: PLC0415  (requests-cache brings a lot)

    return open_rows(path)


def _pack(seal: bytes, stored: Stored) -> bytes:
    squeezed = pa.Codec("zstd", compression_level=_LEVEL).compress(stored.body, asbytes=True)
    size, times = len(stored.body), (stored.fetched, stored.expires, stored.server_time)
    packed = msgspec.msgpack.encode((stored.key, squeezed, size, *times))
    return _mark(seal, packed) + packed


def _unpack(seal: bytes, row: bytes) -> Stored | None:
    mark, packed = row[:_MARK], memoryview(row)[_MARK:]
    if not hmac.compare_digest(mark, _mark(seal, packed)):
        return None
    try:
        key, squeezed, size, fetched, expires, server_time = _ROW.decode(packed)
        body = pa.Codec("zstd").decompress(squeezed, decompressed_size=size, asbytes=True)
    except (ValueError, OSError, MemoryError):
        return None
    return Stored(key, body, fetched, expires, server_time)


def _mark(seal: bytes, packed: bytes | memoryview) -> bytes:
    return hashlib.blake2b(packed, key=seal, digest_size=_MARK).digest()


_ROW = msgspec.msgpack.Decoder(tuple[str, memoryview, int, float, float, float | None])


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
