"""Answers on disk: one SQLite file, private to its user, that holds no credential.

It builds on the storage of requests-cache rather than on its session. The session keeps
the request, headers and all, beside the answer and has to redact it; here only the body
is kept, under a name that is a keyed hash (see `session`). What is stored is msgpack and
zstd: nothing that could run code when it is read.

Threads take turns at the file only. Most of the time goes into zstd and the seal, which
each does for itself.
"""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import os
import sqlite3
import stat
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast
from weakref import WeakValueDictionary

import msgspec
import pyarrow as pa
import tenacity
from requests_cache.backends.sqlite import SQLiteDict

from trackstar_frames.http.retry import JITTER

__all__ = ["PageCache", "Rows", "Shared", "Stored", "open_rows"]


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


_LOCK_WAIT = 5.0


def open_rows(path: Path) -> Rows:
    """Open the file, private to its user; one that may not be written is only read."""
    if path.is_file() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return _RowsToRead(path)
    _make_private(path)
    return Rows(path)


def _is_busy(error: BaseException) -> bool:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_BUSY  # the higher bits say of what kind


class Rows(SQLiteDict):
    """The storage of requests-cache, with waits that end and faults that are heard.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, table_name="pages", serializer=None, wal=True, timeout=_LOCK_WAIT)

    def init_db(self) -> None:
        """Make what is not there yet, and delete what has expired."""
        # While another process begins a file's log, SQLite refuses to do the same without a wait.
        tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_busy),
            stop=tenacity.stop_after_delay(_LOCK_WAIT),
            wait=lambda _: JITTER.uniform(0, 0.05),
            reraise=True,
        )(self._begin)

    def find(self, key: str) -> object:
        """Look a row up; None where there is none."""
        with self.connection() as connection:
            found = connection.execute("SELECT value FROM pages WHERE key = ?", (key,)).fetchone()
        return None if found is None else found[0]

    def keep(self, key: str, row: bytes, expires: float) -> None:
        """Write a row, and delete what has expired."""
        with self.connection(commit=True) as connection:
            connection.execute("INSERT OR REPLACE INTO pages VALUES (?, ?, ?)", (key, row, expires))
            deleted = self._purge()
        self._checkpoint(deleted)

    def drop(self, key: str) -> None:
        """Delete a row."""
        with self.connection(commit=True) as connection:
            deleted = connection.execute("DELETE FROM pages WHERE key = ?", (key,)).rowcount
        self._checkpoint(deleted)

    def wipe(self) -> None:
        """Delete every row, and give the space back."""
        with self.connection(commit=True) as connection:
            connection.execute("DELETE FROM pages")
        with self.connection() as connection:
            connection.execute("VACUUM")
        self._checkpoint(1)

    def span(self) -> tuple[int, float, float]:
        """Count the rows, and tell the first and the last end."""
        with self.connection() as connection:
            row: tuple[int, float, float] = connection.execute(
                "SELECT count(*), min(expires), max(expires) FROM pages"
            ).fetchone()
        return row

    def _begin(self) -> None:
        super().init_db()
        with self.connection() as connection:
            connection.execute("PRAGMA secure_delete=ON")
        with self.connection(commit=True):
            deleted = self._purge()
        self._checkpoint(deleted)

    def _purge(self) -> int:
        with self.connection() as connection:
            expired = "DELETE FROM pages WHERE expires <= ?"
            return connection.execute(expired, (time.time(),)).rowcount

    def _checkpoint(self, deleted: int) -> None:
        # Until then, the log beside the file holds what was deleted.
        if deleted:
            with self.connection() as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

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


class _RowsToRead(Rows):
    """The same of a file that may not be written: to write raises."""

    def init_db(self) -> None:
        # A log holds what the file does not have yet; without one, SQLite would make one to read.
        whole = "" if Path(f"{self.db_path}-wal").exists() else "&immutable=1"
        self._connection = sqlite3.connect(
            f"{Path(self.db_path).as_uri()}?mode=ro{whole}",
            uri=True,
            timeout=_LOCK_WAIT,
            isolation_level=None,
            check_same_thread=False,
        )


def _make_private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _close_to_others(path.parent)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    _close_to_others(path)


def _close_to_others(path: Path) -> None:
    path.chmod(path.stat().st_mode & stat.S_IRWXU)


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
