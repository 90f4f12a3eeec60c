"""The rows of the page cache: one SQLite file, private to its user.

It is a storage of requests-cache, used by public names only, but without its transactions: they
wait for ever on a locked file, and drop a write that fails. Imported when a file is opened, as
requests-cache takes long to import.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from requests_cache.backends.sqlite import SQLiteDict

from trackstar_frames.http.retry import JITTER

_LOCK_WAIT = 5.0  # seconds


def open_store(path: Path, clock: Callable[[], float]) -> PageStore:
    """Open the file, which is created; read-only, if it may not be written."""
    if path.is_file() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return _ReadOnlyPageStore(path, clock)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _make_private(path.parent)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    _make_private(path)
    return PageStore(path, clock)


class PageStore(SQLiteDict):
    """Rows by key, each with an expiry; what has expired is deleted at the start and each write."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        super().__init__(path, table_name="pages", serializer=None, wal=True, timeout=_LOCK_WAIT)

    def init_db(self) -> None:
        """Create the table where there is none, and delete expired rows."""
        # SQLite refuses at once, without its timeout, while another process creates the log.
        deadline = time.monotonic() + _LOCK_WAIT
        while True:
            try:
                return self._create()
            except sqlite3.OperationalError as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the higher bits are its kind
                if code != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
            time.sleep(JITTER.uniform(0, 0.05))

    def find(self, key: str) -> object:
        """Return the value of a key, or None."""
        with self.connection() as connection:
            row = connection.execute("SELECT value FROM pages WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def put(self, key: str, value: bytes, expires: float) -> None:
        """Write a row, and delete expired ones."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO pages VALUES (?, ?, ?)", (key, value, expires)
            )
            deleted = self._delete_expired(connection)
        self._checkpoint(deleted)

    def delete(self, key: str) -> None:
        """Delete a row, if there is one."""
        with self._transaction() as connection:
            deleted = connection.execute("DELETE FROM pages WHERE key = ?", (key,)).rowcount
        self._checkpoint(deleted)

    def delete_all(self) -> int:
        """Delete every row, shrink the file, and return how many rows there were."""
        with self._transaction() as connection:
            deleted = connection.execute("DELETE FROM pages").rowcount
        self.vacuum()
        self._checkpoint(1)
        return deleted

    def expiries(self) -> tuple[int, float, float]:
        """Return the number of rows, and the first and last expiry."""
        with self.connection() as connection:
            row: tuple[int, float, float] = connection.execute(
                "SELECT count(*), min(expires), max(expires) FROM pages"
            ).fetchone()
        return row

    def _create(self) -> None:
        self.close()
        with self.connection() as connection:
            connection.execute("PRAGMA secure_delete=ON")
        with self._transaction() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS pages (key TEXT PRIMARY KEY, value BLOB, "
                "expires INTEGER)"
            )
            connection.execute("CREATE INDEX IF NOT EXISTS expires_idx ON pages(expires)")
            deleted = self._delete_expired(connection)
        self._checkpoint(deleted)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:  # commits, or rolls back what raises
                yield connection

    def _delete_expired(self, connection: sqlite3.Connection) -> int:
        now = self._clock()
        return connection.execute("DELETE FROM pages WHERE expires <= ?", (now,)).rowcount

    def _checkpoint(self, deleted: int) -> None:
        # Until a checkpoint, the log still holds what was deleted.
        if deleted:
            with self.connection() as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


class _ReadOnlyPageStore(PageStore):
    """A page store whose file may not be written: writing raises."""

    def init_db(self) -> None:
        # A log holds rows, too; where there is none, SQLite would create one, unless immutable.
        has_log = Path(f"{self.db_path}-wal").exists()
        self.db_path = f"{Path(self.db_path).as_uri()}?mode=ro{'' if has_log else '&immutable=1'}"
        self.connection_kwargs["uri"] = True
        self.wal = False


def _make_private(path: Path) -> None:
    path.chmod(path.stat().st_mode & stat.S_IRWXU)
