"""Tables on disk: a folder of plain Parquet files for each table, whole or not at all.

The orders stand in one sequence, cut into parts; a part has a file in each table's folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trackstar_frames.disk.aside import alone, aside, put
from trackstar_frames.disk.manifest import (
    FILE,
    File,
    Manifest,
    Part,
    disk_faults,
    file_name,
    for_each,
    reading,
)
from trackstar_frames.disk.older import read_older
from trackstar_frames.disk.writer import KEY, Writer, Written, finish
from trackstar_frames.disk.writer import write as write_one
from trackstar_frames.errors import SettingsError, SnapshotError
from trackstar_frames.schema import TABLES, described
from trackstar_frames.settings import local_folder
from trackstar_frames.tables.joining import split
from trackstar_frames.tables.labels import apart, are_labelled, info_of

__all__ = [
    "PART",
    "check_target",
    "files",
    "locate",
    "manifest",
    "read",
    "read_column",
    "read_part",
    "read_table",
    "write",
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
        with alone(target):
            _refuse_foreign(target)
            put(folder, target)


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
        with disk_faults(f"cannot write {target}"), alone(target):
            _refuse_foreign(target)
    return target


def write_parts(folder: Path, tables: Mapping[str, pa.Table], info: dict[str, Any]) -> Written:
    """Write tables in parts, each of one connection; to be finished."""
    parts = []
    for connection, own, told in _of_each(tables, info):
        parts += write_one(folder, told, partial(_fill, own), connection=connection).parts
    return Written(parts, info)


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
    for connection, own in apart(tables, info["connections"]).items():
        yield connection, own, info_of(info, connection)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Read the tables and the info of a folder that `write` made.

    Raises
    ------
    SnapshotError
        If it is missing, damaged, of another origin, or of a newer schema.
    """
    folder = locate(path, "path")
    said = manifest(folder)
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
        if not folder.is_dir() or manifest(folder) == said:
            raise
        raise SnapshotError(f"{folder} was replaced while it was read; read it again") from error


def manifest(folder: Path) -> Manifest:
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
    with disk_faults(f"cannot write {target}"), aside(target) as folder:
        yield folder


def _refuse_foreign(target: Path) -> None:
    """Refuse to replace what is there, unless it is empty or of this package."""
    is_empty = target.is_dir() and not any(target.iterdir())
    if target.exists() and not is_empty:
        manifest(target)


def _as_now(file: pq.ParquetFile, name: str, columns: Sequence[str] | None) -> pa.Table:
    """Give the columns of today's schema; those that an older one did not have are null."""
    there = file.schema_arrow.names
    schema = described(name, there).schema
    if columns is not None:
        schema = pa.schema([schema.field(column) for column in columns])
    table = file.read([column for column in schema.names if column in there])
    for field in schema:
        if field.name not in there:
            table = table.append_column(field, pa.nulls(file.metadata.num_rows, field.type))
    return table.select(schema.names).cast(schema)
