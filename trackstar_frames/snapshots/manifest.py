"""The manifest of a snapshot: its parts, their files, and the info of the fetch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from trackstar_frames import storage
from trackstar_frames.errors import SnapshotError, TrackstarError
from trackstar_frames.info import FetchInfo, rename_keys
from trackstar_frames.pagination.threads import ThreadPool
from trackstar_frames.schema import SCHEMA_VERSION, TABLES

#: Engines ignore files whose names begin with an underscore.
MANIFEST_NAME = "_trackstar_frames.json"

#: Where the footer of each Parquet file has the schema version and the info.
FOOTER_KEY = b"trackstar_frames"

#: The place of an order in the sort order: its created_date in microseconds (None, if it has none,
#: is last) and its id.
Key = tuple[int | None, str]

_T = TypeVar("_T")

# Limited, so that every engine can hold sums of them.
_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]


class File(msgspec.Struct, frozen=True):
    """One Parquet file, and what a whole one has; an empty checksum is unknown."""

    rows: _Count
    bytes: _Count
    sha256: str


class Part(msgspec.Struct, frozen=True):
    """Some consecutive orders, with all their rows in the other tables."""

    #: The key of its first order; None if it has no orders.
    first: Key | None
    #: The file of each table that the schema had when the part was written.
    files: dict[str, File]
    #: The label of all its rows; None in a snapshot of one connection.
    connection: str | None = None

    def rows(self, table: str) -> int:
        """Count the rows of a table; a table that the part does not have is empty."""
        return self.files[table].rows if table in self.files else 0


class Manifest(msgspec.Struct, frozen=True):
    """What a snapshot, or another folder of tables, has in it."""

    #: Of the newest of its files.
    schema_version: Annotated[int, msgspec.Meta(ge=1)]
    #: ISO 8601, UTC.
    written_at: str
    info: FetchInfo
    #: In the sort order of their orders; of several connections, one connection after the other.
    parts: list[Part]
    #: Counts the snapshots under a root as they are written, as clocks may be wrong. None outside
    #: of a root, and in snapshots of older versions, which come before all others.
    sequence: _Count | None = None

    def __post_init__(self) -> None:
        """Check what other code relies on, as anybody may have written the file."""
        datetime.fromisoformat(self.written_at)
        labels = self.info.connections.keys() or {None}
        if not self.parts:
            raise ValueError("it has no parts")
        tables = self.parts[0].files.keys()
        for part in self.parts:
            if part.connection not in labels:
                raise ValueError("a part is of another connection")
            if "orders" not in tables or part.files.keys() != tables:
                raise ValueError("a part lacks a table")

    @classmethod
    def new(cls, parts: list[Part], info: FetchInfo, sequence: int | None = None) -> Manifest:
        """Make the manifest of a folder that is being written."""
        now = datetime.fromtimestamp(time.time(), UTC)
        return cls(SCHEMA_VERSION, now.isoformat(), info, parts, sequence)

    def rows(self, table: str) -> int:
        """Count the rows of a table."""
        return sum(part.rows(table) for part in self.parts)

    def size(self, table: str) -> int:
        """Return the bytes of a table's files, those shared with other snapshots included."""
        return sum(part.files[table].bytes for part in self.parts if table in part.files)

    def write(self, folder: Path) -> None:
        """Write it to its folder."""
        storage.write(folder / MANIFEST_NAME, msgspec.json.format(msgspec.json.encode(self)))


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder; SnapshotError if it has none, or one of a newer schema."""
    if not storage.is_folder(folder):
        raise SnapshotError(
            f"there is no snapshot at {folder}: it was removed, or never there; "
            f"list_snapshots(root) lists all"
        )
    path = folder / MANIFEST_NAME
    with reading(folder, f"{folder} is not a snapshot of this package, or is damaged"):
        if storage.exists(path):
            body = storage.read(path)
            _refuse_newer(folder, msgspec.json.decode(body, type=_Version).schema_version)
            return msgspec.json.decode(body, type=Manifest, dec_hook=_check_info)
        if storage.is_folder(folder / "orders"):
            return _read_schema_1(folder)
        raise SnapshotError(
            f"{folder} is not a snapshot of this package: it has no tables in it; the snapshots "
            f"under a folder are read with read_snapshot"
        )


def file_name(position: int) -> str:
    """Return the name of the files of a part, so that names sort as parts do."""
    return f"part-{position:05}.parquet"


@contextmanager
def snapshot_errors(what: str) -> Iterator[None]:
    """Turn the errors of disks and damaged files into a SnapshotError."""
    try:
        yield
    except _ERRORS as error:
        if isinstance(error, TrackstarError):
            raise
        raise SnapshotError(f"{what}: {type(error).__name__}: {error}") from error


@contextmanager
def reading(folder: Path, what: str) -> Iterator[None]:
    """Turn errors into a SnapshotError, which says so if the folder was removed meanwhile."""
    try:
        with snapshot_errors(what):
            yield
    except SnapshotError as error:
        if storage.exists(folder):
            raise
        raise SnapshotError(
            f"{folder} was removed while it was read, as prune_snapshots does with those that no "
            f"rule keeps; read another: list_snapshots(root) lists those that are left"
        ) from error


def for_each_table(tables: Iterable[str], work: Callable[[str], _T]) -> dict[str, _T]:
    """Call a function for each table, on as many threads as Arrow has."""
    with ThreadPool(pa.cpu_count()) as threads:
        return dict(zip(tables, threads.map(work, tables), strict=True))


_ERRORS = (
    *(OSError, ValueError, KeyError, RecursionError),
    *(pa.ArrowException, msgspec.MsgspecError),
)


class _Version(msgspec.Struct):
    schema_version: int


class _OneFetch(msgspec.Struct, frozen=True):
    """What every info has of one fetch; there may be more."""

    fetched_at: datetime | None
    pages: int
    requests: int
    from_cache: int
    duplicates: int
    complete: bool
    started_at: datetime | None = None


class _Info(_OneFetch, frozen=True, kw_only=True):
    """What every info has of a fetch of one connection, or of several."""

    filters: dict[str, Any]
    limit: int | None
    connection: str | None
    connections: dict[str, _OneFetch] = {}
    failed: dict[str, str] = {}


class _Connections(msgspec.Struct, frozen=True):
    connections: dict[str, dict[str, Any]] = {}


def _check_info(_: type, value: Any) -> FetchInfo:
    """Check the info of a manifest, and give keys of earlier versions their names of today."""
    msgspec.convert(value, _Connections)  # as the next call relies on it
    values = rename_keys(value)
    msgspec.convert(values, _Info)
    return FetchInfo(values)


def _refuse_newer(folder: Path, version: int) -> None:
    if version > SCHEMA_VERSION:
        raise SnapshotError(
            f"{folder} has schema {version}, and this package knows up to {SCHEMA_VERSION}; "
            f"update trackstar_frames"
        )


def _read_schema_1(folder: Path) -> Manifest:
    """Make the manifest of a folder of schema 1: one part, described by the footers."""
    with storage.open_file(folder / "orders" / file_name(0)) as file:
        footer = json.loads((pq.read_schema(file).metadata or {})[FOOTER_KEY])
    _refuse_newer(folder, footer["schema_version"])
    files = {
        table: File(footer["rows"][table], storage.size(folder / table / file_name(0)), "")
        for table in TABLES
        if table in footer["rows"]
    }
    info = _check_info(FetchInfo, footer["info"])
    return Manifest(footer["schema_version"], footer["written_at"], info, [Part(None, files)])
