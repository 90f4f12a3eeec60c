"""Tables on disk: a folder of plain Parquet files for each table, whole or not at all.

The orders stand in one sequence, cut into parts; a part has a file in each table's folder.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from trackstar_frames.errors import SettingsError, SnapshotError
from trackstar_frames.schema import SCHEMA_VERSION, TABLES, table_for
from trackstar_frames.settings import local_folder
from trackstar_frames.snapshots.manifest import (
    FILE,
    File,
    Key,
    Manifest,
    Part,
    disk_faults,
    file_name,
    for_each,
    read_older,
    reading,
)
from trackstar_frames.storage.local import create, fsync, locked, partial_folder, replace
from trackstar_frames.tables.assemble import split
from trackstar_frames.tables.connections import are_labelled, info_of, label, split_by_connection

__all__ = [
    "KEY",
    "PART",
    "Fill",
    "PartFile",
    "SharedPart",
    "WriteResult",
    "Writer",
    "check_target",
    "files",
    "finish",
    "locate",
    "read",
    "read_column",
    "read_manifest",
    "read_part",
    "read_table",
    "write",
    "write_file",
    "write_parts",
    "writing",
]


#: Orders of one part; each of its files is one row group.
PART = 64_000

_OTHER_KINDS = frozenset(
    {".csv", ".tsv", ".txt", ".xlsx", ".xls", ".json", ".jsonl", ".ndjson", ".html"}
    | {".feather", ".arrow", ".ipc", ".pkl", ".db", ".sqlite", ".zip", ".gz"}
)


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
    SettingsError
        If it is a URL, or no folder can be named so.
    """
    target = check_target(path)
    with writing(target) as folder:
        finish(folder, write_parts(folder, tables, info))
        with locked(target):
            _refuse_foreign(target)
            replace(folder, target)


def check_target(path: str | os.PathLike[str], name: str = "path") -> Path:
    """Check, before any work, that a folder can be written to a path.

    Raises
    ------
    TypeError, SettingsError, SnapshotError
        As `locate`, if its name is that of a file of another kind, and if something else is
        there.
    """
    target = locate(path, name)
    if target.suffix.lower() in _OTHER_KINDS:
        raise SettingsError(
            f"{name}={str(path)!r}: what is written is a folder of Parquet files, one folder a "
            f"table, and no {target.suffix} file; name a folder, such as {target.stem!r}, or write "
            f"one table with pandas, such as frames.orders.to_csv(...)"
        )
    if target.exists():
        with disk_faults(f"cannot write {target}"), locked(target):
            _refuse_foreign(target)
    return target


def write_parts(folder: Path, tables: Mapping[str, pa.Table], info: dict[str, Any]) -> WriteResult:
    """Write tables in parts, each of one connection; to be finished."""
    parts = []
    for connection, own, told in _of_each(tables, info):
        parts += write_file(folder, told, partial(_fill, own), connection=connection).parts
    return WriteResult(parts, info)


def _fill(tables: Mapping[str, pa.Table], writer: Writer) -> dict[str, Any]:
    for part in split(tables, PART):
        writer.add(part)
    return {}


def _of_each(
    tables: Mapping[str, pa.Table], info: dict[str, Any]
) -> Iterator[tuple[str | None, Mapping[str, pa.Table], dict[str, Any]]]:
    """Give the tables and the info of each connection; of one, they are as they are."""
    if not are_labelled(tables):
        yield None, tables, info
        return
    for connection, own in split_by_connection(tables, info["connections"]).items():
        yield connection, own, info_of(info, connection)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Read the tables and the info of a folder that `write` made.

    Raises
    ------
    SnapshotError
        If it is missing, damaged, of another origin, or of a newer schema.
    """
    folder = locate(path, "path")
    said = read_manifest(folder)
    with _replaced(folder, said):
        parts = [read_part(folder, place, part) for place, part in enumerate(said.parts)]
    tables = {
        name: pa.concat_tables(part[name] for part in parts).combine_chunks() for name in TABLES
    }
    return tables, said.info


@contextmanager
def _replaced(folder: Path, said: Manifest) -> Iterator[None]:
    """Tell if a folder was replaced while it was read: that is no damage."""
    try:
        yield
    except SnapshotError as error:
        if not folder.is_dir() or read_manifest(folder) == said:
            raise
        raise SnapshotError(f"{folder} was replaced while it was read; read it again") from error


def read_manifest(folder: Path) -> Manifest:
    """Read what a folder says of itself.

    Raises
    ------
    SnapshotError
        If it does not say so, or speaks of a newer schema.
    """
    if not folder.is_dir():
        raise SnapshotError(
            f"there is no snapshot at {folder}: it was removed, or never there; "
            f"list_snapshots(root) tells of all"
        )
    with reading(folder, f"{folder} is not a snapshot of this package, or is damaged"):
        if not (folder / FILE).exists() and not (folder / "orders").is_dir():
            raise SnapshotError(
                f"{folder} is not a snapshot of this package: it has no tables in it; the "
                f"snapshots under a folder are read with read_snapshot"
            )
        return Manifest.read(folder) if (folder / FILE).exists() else read_older(folder, KEY)


def read_column(folder: Path, place: int, column: str) -> pa.ChunkedArray:
    """Read one column of the orders of one part; null where an older schema did not have it."""
    path = folder / "orders" / file_name(place)
    with (
        reading(folder, f"{path} is damaged"),
        pq.ParquetFile(path, page_checksum_verification=True) as file,
    ):
        if column in file.schema_arrow.names:
            return file.read([column])[column]
        missing = pa.nulls(file.metadata.num_rows, TABLES["orders"].schema.field(column).type)
        return pa.chunked_array([missing])


def read_part(folder: Path, place: int, part: Part) -> dict[str, pa.Table]:
    """Read one part, and make sure that it is whole."""
    return for_each(TABLES, lambda name: read_table(folder, place, name, part.files[name]))


def read_table(
    folder: Path, place: int, name: str, known: File, columns: Sequence[str] | None = None
) -> pa.Table:
    """Read one table of one part, or some of its columns, and make sure that its file is whole."""
    path = folder / name / file_name(place)
    with reading(folder, f"{path} is damaged"):
        body = path.read_bytes()
        if known.sha256 and hashlib.sha256(body).hexdigest() != known.sha256:
            raise SnapshotError(f"{path} is damaged: it is not what was written")
        file = pq.ParquetFile(pa.BufferReader(body), page_checksum_verification=True)
        table = _as_now(file, name, columns)
    if len(table) != known.rows:
        raise SnapshotError(f"{path} is damaged: it holds {len(table):,} rows, not {known.rows:,}")
    return table


def locate(path: str | os.PathLike[str], name: str = "root") -> Path:
    """Make a path absolute, and ``~`` the user's home.

    Parameters
    ----------
    path
        Of a folder, which need not be there.
    name
        What the user calls it.

    Raises
    ------
    TypeError
        If it is no path.
    SettingsError
        If it is a URL, or no folder can be named so.
    SnapshotError
        If it is a file, or below one.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{path!r} is not the path of a folder; pass a string or a Path")
    folder = local_folder(path, name)
    with disk_faults(f"cannot look for {folder}"):
        paths = (folder, *folder.parents)
        there = next((each for each in paths if each.exists() or each.is_symlink()), None)
        is_file = there is not None and not there.is_dir()  # there may be no such drive
    if is_file:
        is_broken = there is not None and not there.exists()
        raise SnapshotError(
            f"cannot write under {name}={str(folder)!r}, or read from it: {there} is a "
            f"{'link that leads nowhere' if is_broken else 'file'}"
        )
    return folder


def files(folder: Path) -> list[Path]:
    """List a table's files, in the order of their rows."""
    return sorted(folder.glob("*.parquet"))


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """Give a folder aside to write parts into, to be put in place when it is finished."""
    with disk_faults(f"cannot write {target}"), partial_folder(target) as folder:
        yield folder


def _refuse_foreign(target: Path) -> None:
    """Refuse to replace what is there, unless it is empty or of this package."""
    is_empty = target.is_dir() and not any(target.iterdir())
    if target.exists() and not is_empty:
        read_manifest(target)


def _as_now(file: pq.ParquetFile, name: str, columns: Sequence[str] | None) -> pa.Table:
    """Give the columns of today's schema; those that an older one did not have are null."""
    there = file.schema_arrow.names
    schema = table_for(name, there).schema
    if columns is not None:
        schema = pa.schema([schema.field(column) for column in columns])
    table = file.read([column for column in schema.names if column in there])
    for field in schema:
        if field.name not in there:
            table = table.append_column(field, pa.nulls(file.metadata.num_rows, field.type))
    return table.select(schema.names).cast(schema)


#: Of what each file tells of itself, in its footer.
KEY = b"trackstar_frames"


@dataclass(frozen=True)
class SharedPart:
    """A part of another folder, to share files with."""

    folder: Path
    place: int
    part: Part

    def share(self, table: str, target: Path) -> File:
        """Have one of its files at another place too, and tell what it holds."""
        source, known = self.folder / table / file_name(self.place), self.part.files[table]
        with reading(self.folder, f"{source} is damaged"):
            if source.stat().st_size != known.bytes:
                raise SnapshotError(f"{source} is damaged: it is not what was written")
        with reading(self.folder, f"cannot share {source}"):
            _link(source, target)
        return known


class PartFile(NamedTuple):
    """A part that was written: where it is to stand, and how its files are named until then."""

    place: tuple[str | int, ...]
    name: str
    part: Part


class WriteResult(NamedTuple):
    """What was written to a folder, and what is to be told of it."""

    parts: list[PartFile]
    info: dict[str, Any]

    @property
    def orders(self) -> int:
        """How many orders it has."""
        return sum(each.part.files["orders"].rows for each in self.parts)


#: Writes the parts of some orders, and tells what there is to add to their info.
Fill: TypeAlias = Callable[["Writer"], Mapping[str, Any]]


def write_file(
    folder: Path, info: Mapping[str, Any], fill: Fill, *, connection: str | None = None
) -> WriteResult:
    """Have somebody write the parts of some orders: one at least, were it empty.

    Parameters
    ----------
    folder, info, connection
        As for `Writer`.
    fill
        Writes them.
    """
    writer = Writer(folder, info, connection=connection)
    told = {**info, **fill(writer)}
    if not writer.parts:
        writer.add({name: table.schema.empty_table() for name, table in TABLES.items()})
    return WriteResult(writer.parts, told)


class Writer:
    """Writes parts into a folder; several threads may add some, and several writers.

    Parameters
    ----------
    folder
        Where; a private one.
    info
        What the fetch told.
    connection
        The label that every row is to have; None for a folder of one connection.
    """

    def __init__(
        self, folder: Path, info: Mapping[str, Any], *, connection: str | None = None
    ) -> None:
        self.parts: list[PartFile] = []
        self._folder = folder
        self._connection = connection
        footer = {"schema_version": SCHEMA_VERSION, "info": dict(info)}
        self._metadata = {KEY: json.dumps(footer)}
        # Another writer may be at the same connection, in vain: a worker that was given up.
        self._try = uuid.uuid4().hex
        self._numbers = itertools.count()
        for name in TABLES:
            (folder / name).mkdir(mode=0o700, exist_ok=True)

    def add(
        self,
        tables: Mapping[str, pa.Table],
        like: SharedPart | None = None,
        place: tuple[int, ...] | None = None,
    ) -> None:
        """Write one more part.

        Parameters
        ----------
        tables
            By name, without labels; all of them, or those that differ from `like`.
        like
            A part of another folder with the same orders. What it has of the other tables is
            shared with it, and not written again.
        place
            Where the part stands among the others; by default behind those before it.
        """
        number = next(self._numbers)
        name = f".{self._try}-{number}"
        given = tables if self._connection is None else label(tables, self._connection)
        files = for_each(
            tables,
            lambda table: _write_file(
                self._folder / table / name, given[table].replace_schema_metadata(self._metadata)
            ),
        )
        if like is None:
            first = _first(tables["orders"])
        else:
            first = like.part.first
            for table in TABLES.keys() - tables.keys():
                files[table] = like.share(table, self._folder / table / name)
        part = Part(first, files, self._connection)
        self.parts.append(PartFile((self._connection or "", *(place or (number,))), name, part))


def finish(folder: Path, written: WriteResult, *, sequence: int | None = None) -> None:
    """Name the files of parts by their places, and write what the folder says; it is whole then.

    Parameters
    ----------
    folder
        Where they were written; what is there beside them is removed.
    written
        All parts, at least one.
    sequence
        Which one it is of the snapshots under its root.
    """
    in_place = sorted(written.parts, key=lambda each: each.place)
    for name in TABLES:
        for place, each in enumerate(in_place):
            (folder / name / each.name).rename(folder / name / file_name(place))
        for left in (folder / name).glob(".*"):
            left.unlink()
        fsync(folder / name)
    parts = [each.part for each in in_place]
    fsync(Manifest.of(parts, written.info, sequence).write(folder))
    fsync(folder)


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
    with create(path) as file:
        file.write(written)
    fsync(path)
    return File(len(table), written.size, hashlib.sha256(written).hexdigest())


def _is_sorted_by(field: pa.Field) -> bool:
    """Tell whether a column is of the sequence of rows, or follows it as moments do."""
    return field.name in ("id", "order_id") or pa.types.is_timestamp(field.type)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except (OSError, NotImplementedError):  # another disk, or one that knows no links
        with source.open("rb") as there, create(target) as copy:
            shutil.copyfileobj(there, copy)
        fsync(target)
