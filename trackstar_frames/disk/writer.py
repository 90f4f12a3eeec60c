"""Parts of a folder of tables, written to disk: new ones, and those that are shared with another.

Until a folder is finished, its files have names that engines pass over; so those of a try that
has failed are in nobody's way.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from trackstar_frames.disk.aside import create, flush
from trackstar_frames.disk.manifest import File, Key, Manifest, Part, file_name, for_each, reading
from trackstar_frames.errors import SnapshotError
from trackstar_frames.schema import SCHEMA_VERSION, TABLES
from trackstar_frames.tables.labels import label

__all__ = ["KEY", "Fill", "Like", "Placed", "Writer", "Written", "finish", "write"]

#: Of what each file tells of itself, in its footer.
KEY = b"trackstar_frames"


@dataclass(frozen=True)
class Like:
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


class Placed(NamedTuple):
    """A part that was written: where it is to stand, and how its files are named until then."""

    place: tuple[str | int, ...]
    name: str
    part: Part


class Written(NamedTuple):
    """What was written to a folder, and what is to be told of it."""

    parts: list[Placed]
    info: dict[str, Any]

    @property
    def orders(self) -> int:
        """How many orders it has."""
        return sum(each.part.files["orders"].rows for each in self.parts)


#: Writes the parts of some orders, and tells what there is to add to their info.
Fill: TypeAlias = Callable[["Writer"], Mapping[str, Any]]


def write(
    folder: Path, info: Mapping[str, Any], fill: Fill, *, connection: str | None = None
) -> Written:
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
    return Written(writer.parts, told)


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
        self.parts: list[Placed] = []
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
        like: Like | None = None,
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
        self.parts.append(Placed((self._connection or "", *(place or (number,))), name, part))


def finish(folder: Path, written: Written, *, sequence: int | None = None) -> None:
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
        flush(folder / name)
    parts = [each.part for each in in_place]
    flush(Manifest.of(parts, written.info, sequence).write(folder))
    flush(folder)


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
    flush(path)
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
        flush(target)
