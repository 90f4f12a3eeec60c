"""The cache's SQLite file: rows by key, each with an end; deleted means overwritten.

It builds on the storage of requests-cache, without its serializer: what a row holds is
the caller's business.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import tenacity
from requests_cache.backends.sqlite import SQLiteDict

from trackstar_frames.net.retries import JITTER

__all__ = ["Rows", "open_rows"]

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
