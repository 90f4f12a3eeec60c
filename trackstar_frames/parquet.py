"""Tables on disk: a folder of plain Parquet files for each table, whole or not at all.

The orders stand in one sequence, cut into parts; a part has a file in each table's folder.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import operator
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from trackstar_frames.aside import alone, aside, flush, put
from trackstar_frames.errors import SnapshotError, TrackstarError
from trackstar_frames.joining import split
from trackstar_frames.manifest import FILE, File, Key, Manifest, Part, file_name
from trackstar_frames.older import read_older
from trackstar_frames.schema import SCHEMA_VERSION, TABLES

__all__ = [
    "PART",
    "Like",
    "Writer",
    "disk_faults",
    "files",
    "locate",
    "manifest",
    "read",
    "read_column",
    "read_part",
    "write",
    "writing",
]

#: Orders of one part; each of its files is one row group.
PART = 64_000

_KEY = b"trackstar_frames"
_T = TypeVar("_T")


def write(path: str | os.PathLike[str], tables: Mapping[str, pa.Table], info: Any) -> None:
    """Write tables as a folder.

    Parameters
    ----------
    path
        The folder to make. An empty one, or an earlier one of this package, is replaced.
    tables
        By name; sorted, as `assemble` makes them.
    info
        What the folder tells of the fetch.

    Raises
    ------
    SnapshotError
        If the disk refuses, or something else is at `path`.
    """
    target = locate(path)
    if target.exists():  # before any work
        with disk_faults(f"cannot write {target}"), alone(target):
            _refuse_foreign(target)
    with writing(target, info) as writer:
        for part in split(tables, PART):
            writer.add(part)
        folder = writer.finish(info)
        with alone(target):
            _refuse_foreign(target)
            put(folder, target)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Read the tables and the info of a folder that `write` made.

    Raises
    ------
    SnapshotError
        If it is missing, damaged, of another origin, or of a newer schema.
    """
    folder = locate(path)
    said = manifest(folder)
    parts = [read_part(folder, place, part) for place, part in enumerate(said.parts)]
    tables = {
        name: pa.concat_tables(
            [TABLES[name].schema.empty_table(), *(part[name] for part in parts)]
        ).combine_chunks()
        for name in TABLES
    }
    return tables, said.info


def manifest(folder: Path) -> Manifest:
    """Read what a folder says of itself.

    Raises
    ------
    SnapshotError
        If it does not say so, or speaks of a newer schema.
    """
    if not folder.is_dir():
        raise SnapshotError(f"there is no snapshot at {folder}")
    with disk_faults(f"{folder} is not a snapshot of this package, or is damaged"):
        return Manifest.read(folder) if (folder / FILE).exists() else read_older(folder, _KEY)


def read_column(folder: Path, place: int, column: str) -> pa.ChunkedArray:
    """Read one column of the orders of one part; null where an older schema did not have it."""
    path = folder / "orders" / file_name(place)
    with (
        disk_faults(f"{path} is damaged"),
        pq.ParquetFile(path, page_checksum_verification=True) as file,
    ):
        if column in file.schema_arrow.names:
            return file.read([column])[column]
        missing = pa.nulls(file.metadata.num_rows, TABLES["orders"].schema.field(column).type)
        return pa.chunked_array([missing])


def read_part(folder: Path, place: int, part: Part) -> dict[str, pa.Table]:
    """Read one part, and make sure that it is whole."""
    return _for_each(TABLES, lambda name: _read_file(folder / name / file_name(place), part, name))


def locate(path: str | os.PathLike[str]) -> Path:
    """Make a path absolute, and ``~`` the user's home."""
    return Path(path).expanduser().absolute()


def files(folder: Path) -> list[Path]:
    """List a table's files, in the order of their rows."""
    return sorted(folder.glob("*.parquet"))


@contextmanager
def writing(target: Path, info: Mapping[str, Any]) -> Iterator[Writer]:
    """Give what writes a folder aside, to be put at `target` when it is finished."""
    with disk_faults(f"cannot write {target}"), aside(target) as folder:
        yield Writer(folder, info)


@dataclass(frozen=True)
class Like:
    """A part of another folder, to share files with."""

    folder: Path
    place: int
    part: Part

    def share(self, table: str, target: Path) -> File:
        """Have one of its files at another place too, and tell what it holds."""
        source, known = self.folder / table / file_name(self.place), self.part.files[table]
        with disk_faults(f"{source} is damaged"):
            size = source.stat().st_size
        if size != known.bytes:
            raise SnapshotError(f"{source} is damaged: it is not what was written")
        _link(source, target)
        return known


class Writer:
    """Writes a folder of tables, part by part; several threads may add parts.

    Parameters
    ----------
    folder
        Where; empty.
    info
        What the fetch told.
    """

    def __init__(self, folder: Path, info: Mapping[str, Any]) -> None:
        self.folder = folder
        footer = {"schema_version": SCHEMA_VERSION, "info": dict(info)}
        self._metadata = {_KEY: json.dumps(footer)}
        self._numbers = itertools.count()
        self._parts: list[tuple[tuple[int, ...], int, Part]] = []
        for name in TABLES:
            (folder / name).mkdir(mode=0o700)

    def add(
        self,
        tables: Mapping[str, pa.Table],
        like: Like | None = None,
        place: tuple[int, ...] | None = None,
    ) -> None:
        """Write one more part.

        Parameters
        ----------
        tables
            By name; all of them, or those that differ from `like`.
        like
            A part of another folder with the same orders. What it has of the other tables is
            shared with it, and not written again.
        place
            Where the part stands among the others; by default behind those before it.
        """
        number = next(self._numbers)
        files = _for_each(
            tables,
            lambda name: _write_file(
                self._path(name, number), tables[name].replace_schema_metadata(self._metadata)
            ),
        )
        if like is None:
            first = _first(tables["orders"])
        else:
            first = like.part.first
            for name in TABLES.keys() - tables.keys():
                files[name] = like.share(name, self._path(name, number))
        self._parts.append((place or (number,), number, Part(first, files)))

    def finish(self, info: Mapping[str, Any]) -> Path:
        """Name the files by their places, and write what the folder says; then it is whole."""
        if not self._parts:
            self.add({name: table.schema.empty_table() for name, table in TABLES.items()})
        in_place = sorted(self._parts, key=operator.itemgetter(0))
        for name in TABLES:
            for place, (_, number, _) in enumerate(in_place):
                self._path(name, number).rename(self.folder / name / file_name(place))
            flush(self.folder / name)
        parts = [part for _, _, part in in_place]
        flush(Manifest.of(parts, dict(info)).write(self.folder))
        flush(self.folder)
        return self.folder

    def _path(self, table: str, number: int) -> Path:
        return self.folder / table / f"{number:05}.new"


@contextmanager
def disk_faults(what: str) -> Iterator[None]:
    """Make what disks and files may raise a SnapshotError."""
    try:
        yield
    except (OSError, ValueError, KeyError, pa.ArrowException, msgspec.MsgspecError) as error:
        if isinstance(error, TrackstarError):
            raise
        raise SnapshotError(f"{what}: {type(error).__name__}: {error}") from error


def _refuse_foreign(target: Path) -> None:
    """Refuse to replace what is there, unless it is empty or of this package."""
    is_empty = target.is_dir() and not any(target.iterdir())
    if target.exists() and not is_empty:
        manifest(target)


def _first(orders: pa.Table) -> Key | None:
    if not len(orders):
        return None
    created = orders["created_date"][0].cast(pa.int64()).as_py()
    return created, orders["id"][0].as_py()


def _write_file(path: Path, table: pa.Table) -> File:
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        row_group_size=max(1, len(table)),
        write_page_checksum=True,
        # By these an engine can pass over a row group; of others, each group has all values.
        write_statistics=[each.name for each in table.schema if _is_sorted_by(each)],
        # What is nearly all different, ids and addresses, is smaller and faster without one.
        dictionary_pagesize_limit=128 * 1024,
    )
    written = sink.getvalue()
    with path.open("xb") as file:
        path.chmod(0o600)
        file.write(written)
        file.flush()
        os.fsync(file.fileno())
    return File(len(table), written.size, hashlib.sha256(written).hexdigest())


def _is_sorted_by(field: pa.Field) -> bool:
    """Tell whether a column is of the sequence of rows, or follows it as moments do."""
    return field.name in ("id", "order_id") or pa.types.is_timestamp(field.type)


def _read_file(path: Path, part: Part, name: str) -> pa.Table:
    with disk_faults(f"{path} is damaged"):
        body, known = path.read_bytes(), part.files[name]
        if known.sha256 and hashlib.sha256(body).hexdigest() != known.sha256:
            raise SnapshotError(f"{path} is damaged: it is not what was written")
        file = pq.ParquetFile(pa.BufferReader(body), page_checksum_verification=True)
        table = _as_now(file.read(), name)
    if len(table) != known.rows:
        raise SnapshotError(f"{path} is damaged: it holds {len(table):,} rows, not {known.rows:,}")
    return table


def _as_now(table: pa.Table, name: str) -> pa.Table:
    """Give the columns of today's schema; those that an older one did not have are null."""
    schema = TABLES[name].schema
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(schema.names).cast(schema)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one that knows no links
        shutil.copyfile(source, target)
        target.chmod(0o600)
        flush(target)


def _for_each(tables: Iterable[str], work: Callable[[str], _T]) -> dict[str, _T]:
    with ThreadPoolExecutor(pa.cpu_count()) as threads:
        return dict(zip(tables, threads.map(work, tables), strict=True))
