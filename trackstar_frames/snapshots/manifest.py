"""What a folder of tables says of itself: its parts, their files, and where it comes from."""

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

from trackstar_frames.errors import SnapshotError, TrackstarError
from trackstar_frames.info import FetchInfo, rename_keys
from trackstar_frames.pagination.threads import ThreadPool
from trackstar_frames.schema import SCHEMA_VERSION, TABLES
from trackstar_frames.storage.local import create

__all__ = [
    "FILE",
    "File",
    "Key",
    "Manifest",
    "Part",
    "disk_faults",
    "file_name",
    "for_each",
    "read_older",
    "reading",
    "refuse_newer",
]


#: Engines pass over names that begin so.
FILE = "_trackstar_frames.json"

#: Where an order stands among others: its created_date in microseconds (None: it has none,
#: and comes last), and its id.
Key = tuple[int | None, str]

_T = TypeVar("_T")

# Sums of them are whole numbers of every engine.
_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]


class File(msgspec.Struct, frozen=True):
    """One Parquet file: what it must hold to be whole."""

    rows: _Count
    bytes: _Count
    sha256: str


class Part(msgspec.Struct, frozen=True):
    """A run of orders that follow one another, with all that is below them.

    Attributes
    ----------
    first : tuple or None
        The key of its first order; None if it has none.
    files : dict of str to File
        One for each table, named after the part's place; see `file_name`.
    connection : str or None
        The label of all its rows; None in a folder of one connection.
    """

    first: Key | None
    files: dict[str, File]
    connection: str | None = None


class Manifest(msgspec.Struct, frozen=True):
    """A whole folder of tables.

    Attributes
    ----------
    schema_version : int
        Of the newest of its files.
    written_at : str
        When, ISO 8601, UTC.
    info : FetchInfo
        Metadata of the fetch: filters, connection, fetched_at and more.
    parts : list of Part
        In the sequence of their orders; of several connections, one after the other.
    sequence : int or None
        Which one it is of the snapshots under its root, in the order in which they were put
        there: clocks may be wrong. None outside of a root, and in those of older versions,
        which are before all others.
    """

    schema_version: Annotated[int, msgspec.Meta(ge=1)]
    written_at: str
    info: FetchInfo
    parts: list[Part]
    sequence: _Count | None = None

    def __post_init__(self) -> None:
        """Make sure that others find what they look for: anybody may have written it."""
        datetime.fromisoformat(self.written_at)
        labels = self.info.connections.keys() or {None}
        if not self.parts:
            raise ValueError("it has no parts")
        for part in self.parts:
            if part.connection not in labels or not TABLES.keys() <= part.files.keys():
                raise ValueError("a part is of another connection, or lacks a table")

    @classmethod
    def of(cls, parts: list[Part], info: FetchInfo, sequence: int | None = None) -> Manifest:
        """Describe what is being written now."""
        now = datetime.fromtimestamp(time.time(), UTC)
        return cls(SCHEMA_VERSION, now.isoformat(), info, parts, sequence)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read what a folder says of itself.

        Raises
        ------
        OSError, msgspec.DecodeError, RecursionError
            If it does not say so.
        SnapshotError
            If it speaks of a newer schema.
        """
        said = (folder / FILE).read_bytes()
        refuse_newer(folder, msgspec.json.decode(said, type=_Version).schema_version)
        return msgspec.json.decode(said, type=cls, dec_hook=_check_info)

    def write(self, folder: Path) -> Path:
        """Write it into its folder."""
        path = folder / FILE
        with create(path) as file:
            file.write(msgspec.json.format(msgspec.json.encode(self)))
        return path

    def rows(self, table: str) -> int:
        """Count the rows of a table."""
        return sum(part.files[table].rows for part in self.parts)

    @property
    def bytes(self) -> int:
        """How long its Parquet files are, those shared with other folders included."""
        return sum(file.bytes for part in self.parts for file in part.files.values())


def file_name(place: int) -> str:
    """Name the files of a part, so that they sort by their orders."""
    return f"part-{place:05}.parquet"


def refuse_newer(folder: Path, version: int) -> None:
    """Refuse a folder that a newer package has written."""
    if version > SCHEMA_VERSION:
        raise SnapshotError(
            f"{folder} has schema {version}, and this package knows up to {SCHEMA_VERSION}; "
            f"update trackstar_frames"
        )


@contextmanager
def disk_faults(what: str) -> Iterator[None]:
    """Make what disks and files may raise a SnapshotError."""
    try:
        yield
    except _FAULTS as error:
        if isinstance(error, TrackstarError):
            raise
        raise SnapshotError(f"{what}: {type(error).__name__}: {error}") from error


@contextmanager
def reading(folder: Path, what: str) -> Iterator[None]:
    """Make what may go wrong in a folder a SnapshotError, and tell if it was removed meanwhile.

    Somebody may prune it while it is read; that is no damage.
    """
    try:
        with disk_faults(what):
            yield
    except SnapshotError as error:
        if folder.exists():
            raise
        raise SnapshotError(
            f"{folder} was removed while it was read, as prune_snapshots does with those that no "
            f"rule keeps; read another: list_snapshots(root) tells of those that are left"
        ) from error


def for_each(tables: Iterable[str], work: Callable[[str], _T]) -> dict[str, _T]:
    """Do some work for each table, on as many threads as Arrow has."""
    with ThreadPool(pa.cpu_count()) as threads:
        return dict(zip(tables, threads.map(work, tables), strict=True))


_FAULTS = (
    *(OSError, ValueError, KeyError, RecursionError),
    *(pa.ArrowException, msgspec.MsgspecError),
)


class _Version(msgspec.Struct):
    schema_version: int


class _Nested(msgspec.Struct, frozen=True):
    connections: dict[str, dict[str, Any]] = {}


class _Each(msgspec.Struct, frozen=True):
    """What an info tells of each fetch; there may be more."""

    fetched_at: datetime | None
    pages: int
    requests: int
    from_cache: int
    duplicates: int
    complete: bool
    started_at: datetime | None = None


class _Info(_Each, frozen=True, kw_only=True):
    """The metadata of one fetch, or of those of several connections."""

    filters: dict[str, Any]
    limit: int | None
    connection: str | None
    connections: dict[str, _Each] = {}
    failed: dict[str, str] = {}


def _check_info(_: type, value: Any) -> FetchInfo:
    """Check the metadata of a manifest: anybody may have written it."""
    msgspec.convert(value, _Nested)
    values = rename_keys(value)
    msgspec.convert(values, _Info)
    return FetchInfo(values)


def read_older(folder: Path, key: bytes) -> Manifest:
    """Read a folder of schema 1: one part, and no manifest; each footer tells the whole.

    Raises
    ------
    OSError, ValueError, KeyError
        If it is none.
    SnapshotError
        If a footer speaks of a newer schema.
    """
    paths = {name: folder / name / file_name(0) for name in TABLES}
    footer = json.loads((pq.read_schema(paths["orders"]).metadata or {})[key])
    refuse_newer(folder, footer["schema_version"])
    files = {
        name: File(footer["rows"][name], path.stat().st_size, "") for name, path in paths.items()
    }
    return Manifest(
        footer["schema_version"],
        footer["written_at"],
        FetchInfo(footer["info"]),
        [Part(None, files)],
    )
