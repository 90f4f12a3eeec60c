"""Tables on disk: a folder of plain Parquet files for each table, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trackstar_frames.errors import SnapshotError
from trackstar_frames.schema import SCHEMA_VERSION, TABLES

__all__ = ["aside", "files", "locate", "read", "read_footer", "write"]

_KEY = b"trackstar_frames"
_ROW_GROUP = 100_000


def write(path: str | os.PathLike[str], tables: Mapping[str, pa.Table], info: Any) -> None:
    """Write tables aside, flush them, and put them in place by one rename.

    Parameters
    ----------
    path
        The folder to make. An empty one, or an earlier one of this package, is replaced.
    tables
        By name.
    info
        What each footer tells of the fetch.

    Raises
    ------
    SnapshotError
        If the disk refuses, or something else is at `path`.
    """
    target = locate(path)
    if target.exists() and not _is_empty(target):
        read_footer(target)  # or refuse to touch it
    footer = {
        "schema_version": SCHEMA_VERSION,
        "written_at": datetime.now(UTC).isoformat(),
        "rows": {name: len(table) for name, table in tables.items()},
        "info": info,
    }
    with _disk_faults(f"cannot write {target}"), aside(target) as folder:
        for name, table in tables.items():
            _write_table(folder / name, table, footer)
        _replace(folder, target)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Read the tables and the info of a folder that `write` made.

    Raises
    ------
    SnapshotError
        If it is missing, damaged, of another origin, or of a newer schema.
    """
    folder = locate(path)
    footer = read_footer(folder)
    tables = {name: _read_table(folder / name, footer["rows"][name]) for name in TABLES}
    return tables, footer["info"]


def read_footer(folder: Path) -> dict[str, Any]:
    """Read what a folder says of itself: schema_version, written_at, rows, info.

    Raises
    ------
    SnapshotError
        If it does not say so, or speaks of a newer schema.
    """
    if not folder.is_dir():
        raise SnapshotError(f"there is no snapshot at {folder}")
    with _disk_faults(f"{folder} is not a snapshot of this package, or is damaged"):
        file, *_ = files(folder / "orders")
        metadata = pq.read_schema(file).metadata or {}
        footer: dict[str, Any] = json.loads(metadata[_KEY])
    if footer["schema_version"] > SCHEMA_VERSION:
        raise SnapshotError(
            f"{folder} has schema {footer['schema_version']}, and this package knows up to "
            f"{SCHEMA_VERSION}; update trackstar_frames"
        )
    return footer


def locate(path: str | os.PathLike[str]) -> Path:
    """Make a path absolute, and ``~`` the user's home."""
    return Path(path).expanduser().absolute()


def files(folder: Path) -> list[Path]:
    """List a table's files, in the order of their rows."""
    return sorted(folder.glob("*.parquet"))


@contextmanager
def aside(target: Path) -> Iterator[Path]:
    """Give a private folder beside `target` to write in; it is gone afterwards if unused."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent / f".{target.name}.{uuid.uuid4().hex}.partial"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _write_table(folder: Path, table: pa.Table, footer: Mapping[str, Any]) -> None:
    folder.mkdir(mode=0o700)
    path = folder / "part-00000.parquet"
    pq.write_table(
        table.replace_schema_metadata({_KEY: json.dumps(footer)}),
        path,
        compression="zstd",
        row_group_size=_ROW_GROUP,
        write_page_checksum=True,
    )
    path.chmod(0o600)
    _flush(path)
    _flush(folder)


def _read_table(folder: Path, rows: int) -> pa.Table:
    schema = TABLES[folder.name].schema
    with _disk_faults(f"{folder} is damaged"):
        parts = [
            pq.ParquetFile(file, page_checksum_verification=True).read() for file in files(folder)
        ]
        table = pa.concat_tables(parts).select(schema.names).cast(schema).combine_chunks()
    if len(table) != rows:
        raise SnapshotError(f"{folder} is damaged: it holds {len(table):,} rows, not {rows:,}")
    return table


def _replace(folder: Path, target: Path) -> None:
    """Rename a finished folder into place, over an earlier one."""
    earlier = folder.with_suffix(".earlier")
    if target.exists():
        target.rename(earlier)
    try:
        folder.rename(target)
    except OSError:
        if earlier.exists():
            earlier.rename(target)
        raise
    _flush(target.parent)
    shutil.rmtree(earlier, ignore_errors=True)


def _flush(path: Path) -> None:
    """Have the disk hold it before it is named; folders cannot be flushed on Windows."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _disk_faults(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise SnapshotError(f"{what}: {type(error).__name__}: {error}") from error
