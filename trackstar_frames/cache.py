"""Answers on disk: one SQLite file, private to its user, that holds no credential.

It builds on the storage of requests-cache rather than on its session. The session keeps
the request, headers and all, beside the answer and has to redact it; here only the body
is kept, under a name that is a keyed hash (see `session`). What is stored is msgpack and
zstd: nothing that could run code when it is read.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import msgspec
import pyarrow as pa
from requests_cache.backends.sqlite import SQLiteDict
from requests_cache.serializers import SerializerPipeline, Stage

__all__ = ["PageCache", "Stored"]

_FILE = "pages.sqlite"
_LOCK_WAIT = 5.0
_FAULTS = (sqlite3.Error, OSError, MemoryError)


class Stored(msgspec.Struct, frozen=True):
    """One answer as it is kept: its body, and when it was given and expires (Unix seconds)."""

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
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "http" / _FILE
        self._rows: _Rows | None = None
        self._broken = False
        self._lock = threading.Lock()

    def read(self, key: str) -> Stored | None:
        """Look an answer up; None where it is not there or cannot be read."""
        with self._tolerant():
            return self._open().get(key)
        return None

    def write(self, key: str, stored: Stored) -> None:
        """Keep an answer."""
        with self._tolerant():
            self._open()[key] = stored

    def purge(self) -> None:
        """Delete what has expired; deleted bytes are overwritten, not merely unlinked."""
        with self._tolerant():
            self._open().purge()

    def clear(self) -> int:
        """Delete every answer, of all connections, and tell how many there were."""
        if not self.path.exists():
            return 0
        rows = self._open()
        count = len(rows)
        rows.wipe()
        return count

    def info(self) -> dict[str, object]:
        """Tell what is there: path, pages, bytes on disk, oldest and newest expiry (UTC)."""
        found: dict[str, object] = {"path": str(self.path), "pages": 0, "bytes": 0}
        if not self.path.exists():
            return found
        count, oldest, newest = self._open().span()
        files = (self.path, *self.path.parent.glob(f"{_FILE}-*"))
        found |= {"pages": count, "bytes": sum(file.stat().st_size for file in files)}
        if count:
            found |= {"first_expires": _utc(oldest), "last_expires": _utc(newest)}
        return found

    def close(self) -> None:
        """Let go of the file."""
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def __repr__(self) -> str:
        return f"PageCache({str(self.path)!r}{', switched off' if self._broken else ''})"

    def _open(self) -> _Rows:
        with self._lock:
            if self._rows is None:
                _make_private(self.path)
                self._rows = _Rows(self.path)
            return self._rows

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        if self._broken:
            return
        try:
            yield
        except _FAULTS as error:
            self._broken = True
            warnings.warn(
                f"the cache at {self.path} is switched off for this client: {error}",
                RuntimeWarning,
                stacklevel=5,
            )


class _Rows(SQLiteDict):
    """The storage of requests-cache, with waits that end and faults that are heard."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, table_name="pages", serializer=_SERIALIZER, wal=True, timeout=_LOCK_WAIT
        )
        with self.connection() as connection:
            connection.execute("PRAGMA secure_delete=ON")
        self.purge()

    def purge(self) -> None:
        with self.connection(commit=True) as connection:
            connection.execute("DELETE FROM pages WHERE expires <= ?", (time.time(),))

    def wipe(self) -> None:
        with self.connection(commit=True) as connection:
            connection.execute("DELETE FROM pages")
        self.vacuum()
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


def _pack(stored: Stored) -> bytes:
    squeezed = pa.Codec("zstd", compression_level=1).compress(stored.body, asbytes=True)
    return msgspec.msgpack.encode((squeezed, len(stored.body), stored.fetched, stored.expires))


def _unpack(row: bytes) -> Stored:
    try:
        squeezed, size, fetched, expires = _ROW.decode(row)
        body = pa.Codec("zstd").decompress(squeezed, decompressed_size=size, asbytes=True)
    except (OSError, MemoryError, OverflowError) as error:
        raise ValueError(f"a damaged row: {error}") from None  # which the storage takes for a miss
    return Stored(body, fetched, expires)


_ROW = msgspec.msgpack.Decoder(tuple[bytes, int, float, float])
_SERIALIZER = SerializerPipeline([Stage(dumps=_pack, loads=_unpack)], is_binary=True)


def _make_private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
