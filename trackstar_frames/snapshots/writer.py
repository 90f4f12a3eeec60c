"""Write tables as the parts of a snapshot, or of another folder."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from trackstar_frames import storage
from trackstar_frames.errors import SettingsError, SnapshotError
from trackstar_frames.info import FetchInfo, of_connection
from trackstar_frames.schema import SCHEMA_VERSION, TABLES
from trackstar_frames.snapshots import manifest
from trackstar_frames.tables.assemble import are_labelled, label_rows, split, split_by_connection

_Tables: TypeAlias = Mapping[str, pa.Table]

#: Orders of one part; each of its files is one row group.
PART_SIZE = 64_000

_OTHER_FORMATS = frozenset(
    {".csv", ".tsv", ".txt", ".xlsx", ".xls", ".json", ".jsonl", ".ndjson", ".html"}
    | {".feather", ".arrow", ".ipc", ".pkl", ".db", ".sqlite", ".zip", ".gz"}
)


def write_folder(path: str | os.PathLike[str], tables: _Tables, info: FetchInfo) -> None:
    """Write sorted tables to a folder, in place of an empty or an earlier one of this package."""
    target = check_target(path)
    with partial_folder(target) as folder:
        finish(folder, write_tables(folder, tables, info))
        with storage.lock(target):
            _refuse_foreign(target)
            storage.replace(folder, target)


def check_target(path: str | os.PathLike[str], name: str = "path") -> Path:
    """Check, before any work, that a folder can be written to a path."""
    target = storage.locate(path, name)
    if target.suffix.lower() in _OTHER_FORMATS:
        raise SettingsError(
            f"{name}={str(path)!r}: what is written is a folder of Parquet files, one folder a "
            f"table, and no {target.suffix} file; name a folder, such as {target.stem!r}, or write "
            f"one table with pandas, such as frames.orders.to_csv(...)"
        )
    if storage.exists(target):
        with manifest.snapshot_errors(f"cannot write {target}"), storage.lock(target):
            _refuse_foreign(target)
    return target


@contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
    """Yield a private folder to write parts in; errors of the disk are a SnapshotError."""
    with (
        manifest.snapshot_errors(f"cannot write {target}"),
        storage.partial_folder(target) as folder,
    ):
        yield folder


def write_tables(folder: Path, tables: _Tables, info: FetchInfo) -> WriteResult:
    """Write sorted tables in parts, each of one connection."""
    of_each: Iterable[tuple[str | None, _Tables]] = [(None, tables)]
    if are_labelled(tables):
        of_each = split_by_connection(tables, info.connections).items()
    parts = []
    for connection, own in of_each:
        own_info = info if connection is None else of_connection(info, connection)
        writer = PartWriter(folder, own_info, connection=connection)
        for part in split(own, PART_SIZE):
            writer.add(part)
        parts += writer.result().parts
    return WriteResult(parts, info)


@dataclass(frozen=True)
class SharedPart:
    """A part of another folder, whose files a new part can share."""

    folder: Path
    position: int
    part: manifest.Part

    def share(self, table: str, target: Path) -> manifest.File:
        """Copy one of its files to another path, and describe it."""
        file = self.part.files[table]
        source = self.folder / table / manifest.file_name(self.position)
        with manifest.reading(self.folder, f"{source} is damaged"):
            if storage.size(source) != file.bytes:
                raise SnapshotError(f"{source} is damaged: it is not what was written")
        with manifest.reading(self.folder, f"cannot share {source}"):
            storage.copy(source, target)
        return file


class PartFile(NamedTuple):
    """A part that was written: its sort key among the others, and the name of its files so far."""

    sort_key: tuple[str, tuple[int, ...]]
    name: str
    part: manifest.Part


class WriteResult(NamedTuple):
    """The parts that were written to a folder, and their info."""

    parts: list[PartFile]
    info: FetchInfo

    @property
    def orders(self) -> int:
        """How many orders it has."""
        return sum(each.part.rows("orders") for each in self.parts)


class PartWriter:
    """Writes parts of one connection to a private folder, beside others that do; thread-safe.

    `info` is in the footer of every file; `connection` labels every row, unless it is None.
    """

    def __init__(self, folder: Path, info: FetchInfo, *, connection: str | None = None) -> None:
        self.part_size = PART_SIZE
        self._folder = folder
        self._info = info
        self._connection = connection
        self._parts: list[PartFile] = []
        footer = {"schema_version": SCHEMA_VERSION, "info": self._info}
        self._metadata = {manifest.FOOTER_KEY: json.dumps(footer)}
        # A worker that was given up may still write the same connection to this folder.
        self._prefix = uuid.uuid4().hex
        self._numbers = itertools.count()
        for name in TABLES:
            storage.make_folder(folder / name)

    def add(
        self,
        tables: _Tables,
        shared: SharedPart | None = None,
        sort_key: tuple[int, ...] | None = None,
    ) -> None:
        """Write one more part, after those before it unless it has a `sort_key`.

        Tables that are not among `tables` share the files of a part of the same orders, `shared`.
        """
        number = next(self._numbers)
        name = f".{self._prefix}-{number}"
        if shared is not None:  # the schema may have more tables than when it was written
            new = [table for table in TABLES if table not in shared.part.files]
            tables = {**{table: TABLES[table].schema.empty_table() for table in new}, **tables}
        files = manifest.for_each_table(
            tables, lambda table: self._write_file(self._folder / table / name, tables[table])
        )
        if shared is None:
            first = _first_key(tables["orders"])
        else:
            first = shared.part.first
            for table in TABLES:
                if table not in tables:
                    files[table] = shared.share(table, self._folder / table / name)
        part = manifest.Part(first, files, self._connection)
        self._parts.append(PartFile((self._connection or "", sort_key or (number,)), name, part))

    def result(self, **more_info: Any) -> WriteResult:
        """Return what was written, with more info; one empty part if there is none."""
        if not self._parts:
            self.add({name: table.schema.empty_table() for name, table in TABLES.items()})
        return WriteResult(self._parts, self._info.replace(**more_info))

    def _write_file(self, path: Path, table: pa.Table) -> manifest.File:
        if self._connection is not None:
            table = label_rows(table, self._connection)
        table = table.replace_schema_metadata(self._metadata)
        # Only of columns that sort the rows, or follow their order as moments do, can an engine
        # skip a row group by its statistics; of others, each group has all values.
        with_statistics = [
            field.name
            for field in table.schema
            if field.name in ("id", "order_id") or pa.types.is_timestamp(field.type)
        ]
        sink = pa.BufferOutputStream()
        pq.write_table(
            table,
            sink,
            compression="zstd",
            row_group_size=max(1, len(table)),
            write_page_checksum=True,
            write_statistics=with_statistics,
            # Ids and addresses, nearly all different, are smaller and faster without one.
            dictionary_pagesize_limit=128 * 1024,
        )
        body = sink.getvalue()
        storage.write(path, body)
        return manifest.File(len(table), body.size, hashlib.sha256(body).hexdigest())


def finish(folder: Path, result: WriteResult, *, sequence: int | None = None) -> None:
    """Give the files of all parts their final names, delete others, and write the manifest."""
    parts = sorted(result.parts, key=lambda each: each.sort_key)
    names = {each.name: manifest.file_name(position) for position, each in enumerate(parts)}
    for table in TABLES:  # others are those of workers that were given up
        storage.rename_files(folder / table, names)
    manifest.Manifest.new([each.part for each in parts], result.info, sequence).write(folder)


def _refuse_foreign(target: Path) -> None:
    """Refuse to replace what is there, unless it is an empty folder or one of this package."""
    is_empty = storage.is_folder(target) and not storage.list_folder(target)
    if storage.exists(target) and not is_empty:
        manifest.read_manifest(target)


def _first_key(orders: pa.Table) -> manifest.Key | None:
    if not len(orders):
        return None
    created = orders["created_date"][0].cast(pa.int64()).as_py()
    return created, orders["id"][0].as_py()
