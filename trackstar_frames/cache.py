"""Answers on disk: one SQLite file, private to its user, that holds no credential.

It builds on the storage of requests-cache rather than on its session. The session keeps
the request, headers and all, beside the answer and has to redact it; here only the body
is kept, under a name that is a keyed hash (see `session`). What is stored is msgpack and
zstd: nothing that could run code when it is read.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import msgspec
import pyarrow as pa
from requests_cache.backends.sqlite import SQLiteDict
from requests_cache.serializers import SerializerPipeline, Stage

__all__ = ["PageCache", "Stored"]

_FILE = "pages.sqlite"
_LOCK_WAIT = 5.0
_FAULTS = (sqlite3.Error, OSError, MemoryError)
_T = TypeVar("_T")


class Stored(msgspec.Struct, frozen=True):
    """One answer as it is kept: its body, and when it was given and expires (Unix seconds)."""

    key: str
    body: bytes
    fetched: float
    expires: float

    @property
    def expires_unix(self) -> float:
        """What the storage files it under, to find expired rows."""
        return self.expires


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
        self._rows: _Rows | None = None
        self._broken = False
        self._lock = threading.Lock()

    def read(self, key: str) -> Stored | None:
        """Look an answer up; None where it is not there or cannot be read."""
        found = self._try(lambda rows: rows.get(key))
        return found if found is not None and found.key == key else None

    def write(self, key: str, body: bytes, fetched: float, expires: float) -> None:
        """Keep an answer, and delete what has expired."""
        self._try(lambda rows: rows.keep(Stored(key, body, fetched, expires)))

    def clear(self) -> int:
        """Delete every answer, of all connections, and tell how many there were."""
        if not self.path.exists():
            return 0
        try:
            rows = self._open()
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
        count, oldest, newest = self._open().span()
        found |= {"pages": count, "bytes": sum(file.stat().st_size for file in self._files())}
        if count:
            found |= {"first_expires": _utc(oldest), "last_expires": _utc(newest)}
        return found

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._rows is not None:
                self._rows.close()
                self._rows = None

    def __repr__(self) -> str:
        return f"PageCache({str(self.path)!r}{', switched off' if self._broken else ''})"

    def _files(self) -> list[Path]:
        return [self.path, *self.path.parent.glob(f"{_FILE}-*")]

    def _open(self) -> _Rows:
        if self._rows is None:
            _make_private(self.path)
            self._rows = _Rows(self.path, self._seal)
        return self._rows

    def _try(self, use: Callable[[_Rows], _T]) -> _T | None:
        """Use the rows, one thread at a time; None once there was a fault."""
        with self._lock:
            if self._broken:
                return None
            try:
                return use(self._open())
            except _FAULTS as error:
                self._broken = True
                fault = error
        warnings.warn(
            f"the cache at {self.path} is switched off for this client: {fault}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


class _Rows(SQLiteDict):
    """The storage of requests-cache, with waits that end and faults that are heard."""

    def __init__(self, path: Path, seal: bytes) -> None:
        stage = Stage(dumps=partial(_pack, seal), loads=partial(_unpack, seal))
        serializer = SerializerPipeline([stage], is_binary=True)
        super().__init__(
            path, table_name="pages", serializer=serializer, wal=True, timeout=_LOCK_WAIT
        )
        with self.connection() as connection:
            connection.execute("PRAGMA secure_delete=ON")
        self.purge()

    def keep(self, stored: Stored) -> None:
        self[stored.key] = stored
        self.purge()

    def purge(self) -> None:
        """Delete what has expired; the bytes are overwritten, not merely let go."""
        with self.connection(commit=True) as connection:
            expired = "DELETE FROM pages WHERE expires <= ?"
            deleted = connection.execute(expired, (time.time(),)).rowcount
        if deleted:
            self._checkpoint()

    def wipe(self) -> None:
        with self.connection(commit=True) as connection:
            connection.execute("DELETE FROM pages")
        with self.connection() as connection:
            connection.execute("VACUUM")
        self._checkpoint()

    def _checkpoint(self) -> None:
        # Until then, the log beside the file holds what was deleted.
        with self.connection() as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def span(self) -> tuple[int, float, float]:
        with self.connection() as connection:
            row: tuple[int, float, float] = connection.execute(
                "SELECT count(*), min(expires), max(expires) FROM pages"
            ).fetchone()
        return row

    @contextmanager
    def _acquire_sqlite_lock(self) -> Iterator[None]:
        # The inherited one spins for ever on a locked file and drops a failed write.
        with self._lock:
            connection = cast("sqlite3.Connection", self._connection)
            connection.execute("BEGIN IMMEDIATE")
            self._active_transaction = True
            try:
                yield
                connection.commit()
            except BaseException:
                connection.rollback()
                raise
            finally:
                self._active_transaction = False


def _pack(seal: bytes, stored: Stored) -> bytes:
    squeezed = pa.Codec("zstd", compression_level=1).compress(stored.body, asbytes=True)
    members = (stored.key, squeezed, len(stored.body), stored.fetched, stored.expires)
    packed = msgspec.msgpack.encode(members)
    return _mark(seal, packed) + packed


def _unpack(seal: bytes, row: bytes) -> Stored:
    mark, packed = row[:_MARK], row[_MARK:]
    if not hmac.compare_digest(mark, _mark(seal, packed)):
        raise ValueError("its seal is broken")  # which the storage takes for a miss
    key, squeezed, size, fetched, expires = _ROW.decode(packed)
    body = pa.Codec("zstd").decompress(squeezed, decompressed_size=size, asbytes=True)
    return Stored(key, body, fetched, expires)


def _mark(seal: bytes, packed: bytes) -> bytes:
    return hashlib.blake2b(packed, key=seal, digest_size=_MARK).digest()


_MARK = 32  # bytes
_ROW = msgspec.msgpack.Decoder(tuple[str, bytes, int, float, float])


def _make_private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
