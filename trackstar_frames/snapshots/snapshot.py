"""Write, read and show one snapshot."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trackstar_frames import storage
from trackstar_frames._text import card, counted, lines, table
from trackstar_frames.dates import parse_time
from trackstar_frames.errors import SnapshotError
from trackstar_frames.frames import OrderFrames
from trackstar_frames.info import FetchInfo, describe
from trackstar_frames.schema import TABLES
from trackstar_frames.snapshots.catalog import Entry, connection_label, find_snapshot, next_sequence
from trackstar_frames.snapshots.manifest import Manifest, snapshot_errors
from trackstar_frames.snapshots.writer import WriteResult, finish, partial_folder, write_tables
from trackstar_frames.tables.dtypes import DtypeBackend, check_backend


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot on disk.

    Attributes
    ----------
    name : str
        As of when it is, in UTC, and the label of its connection (of many, their number); unique
        under its root.
    path : pathlib.Path
        Its folder, with a folder of Parquet files for each table.
    info : FetchInfo
        Metadata of the fetch: filters, connection, fetched_at and more.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> with tempfile.TemporaryDirectory() as root:
    ...     snapshot = write_snapshot(OrderFrames.from_json({"id": "a1"}), root)
    ...     pd.read_parquet(snapshot.path / "orders")["id"].tolist()
    ['a1']
    """

    name: str
    path: Path
    info: FetchInfo

    @property
    def files(self) -> dict[str, list[Path]]:
        """The Parquet files of each table, for any reader."""
        return {
            name: [each for each in storage.list_folder(self.path / name) if each.suffix == _SUFFIX]
            for name in TABLES
        }

    def read(self, *, dtype_backend: DtypeBackend = None) -> OrderFrames:
        """Read all tables.

        Parameters
        ----------
        dtype_backend
            None for pandas' own types, ``"pyarrow"`` for Arrow's.

        Returns
        -------
        OrderFrames
            All tables, as they were written, and their `info`.

        Raises
        ------
        SnapshotError
            If it is damaged.
        SettingsError
            If `dtype_backend` is neither.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     snapshot = write_snapshot(OrderFrames.from_json({"id": "a1"}), root)
        ...     len(snapshot.read().orders)
        1
        """
        return OrderFrames.from_parquet(self.path, dtype_backend=dtype_backend)

    def _repr_html_(self) -> str:
        """Describe it by its manifest alone, or say that it is gone or damaged."""
        title = f"Snapshot {self.name}"
        heads = ("table", "one row is", "rows", "files", "MB")
        try:
            entry = Entry.at(self.path)
            with snapshot_errors(f"{self.path} is damaged"):
                rows = [_table_row(name, entry.manifest) for name in TABLES]
                return card(title, table(heads, rows), lines(_facts(entry)))
        except SnapshotError as error:
            return card(title, lines([str(error)]))


def write_snapshot(frames: OrderFrames, root: str | os.PathLike[str]) -> Snapshot:
    """Write one more snapshot under a root; it appears whole or not at all.

    Parameters
    ----------
    frames
        The orders to write.
    root
        The folder of all snapshots; made if it is missing.

    Returns
    -------
    Snapshot
        Named after the frames' `fetched_at` (else after now) and their connection.

    Raises
    ------
    SnapshotError
        If it cannot be written; nothing is left behind.
    TypeError
        If `frames` is something else.

    Examples
    --------
    >>> import tempfile
    >>> frames = OrderFrames.from_json({"id": "a1"})
    >>> with tempfile.TemporaryDirectory() as root:
    ...     written = write_snapshot(frames, root)
    ...     len(read_snapshot(root).orders)
    1
    """
    if not isinstance(frames, OrderFrames):
        raise TypeError(
            f"frames is a {type(frames).__name__}; pass the OrderFrames of fetch_orders (a "
            f"DataFrame alone is written by its own to_parquet), and root after it"
        )
    if not frames.info.complete:
        raise SnapshotError(
            "these frames are incomplete, as their fetch broke; resume it, and write the whole"
        )
    with new_snapshot(root) as new:
        return new.commit(write_tables(new.folder, frames.to_arrow(), frames.info))


@dataclass(frozen=True, slots=True)
class NewSnapshot:
    """A snapshot that is being written to a private folder; nobody sees it before `commit`."""

    root: Path
    folder: Path

    def commit(self, result: WriteResult) -> Snapshot:
        """Put the snapshot in place, named after its info."""
        stem = _stem(result.info)
        names = (stem if number == 1 else f"{stem}_{number}" for number in itertools.count(1))
        with storage.lock(self.root / "snapshot"):
            finish(self.folder, result, sequence=next_sequence(self.root))
            path = storage.commit(self.folder, (self.root / name for name in names))
        return Snapshot(path.name, path, result.info)


@contextmanager
def new_snapshot(root: str | os.PathLike[str]) -> Iterator[NewSnapshot]:
    """Begin one more snapshot under a root; what was written is deleted if it is not committed."""
    folder = storage.locate(root)
    with partial_folder(folder / "snapshot") as partial:
        yield NewSnapshot(folder, partial)


def read_snapshot(
    root: str | os.PathLike[str],
    version: str | datetime | int = "latest",
    *,
    dtype_backend: DtypeBackend = None,
) -> OrderFrames:
    """Read one snapshot under a root.

    Parameters
    ----------
    root
        The folder of all snapshots.
    version
        A name; ``"latest"``, the one that was written last, whatever the clocks were; a time
        (naive means UTC, a bare day all of it): the newest that is not as of later; or an
        integer: -1 the one that was written last, -2 the one before it.
    dtype_backend
        None for pandas' own types, ``"pyarrow"`` for Arrow's.

    Returns
    -------
    OrderFrames
        All tables, as they were written, and their `info`.

    Raises
    ------
    SnapshotError
        If there is no such snapshot, with the names of those there are, or it is damaged.
    SettingsError
        If `dtype_backend` is neither.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     snapshot = write_snapshot(OrderFrames.from_json({"id": "a1"}), root)
    ...     [len(read_snapshot(root, version).orders) for version in (-1, snapshot.name)]
    [1, 1]
    """
    check_backend(dtype_backend)
    return OrderFrames.from_parquet(find_snapshot(root, version), dtype_backend=dtype_backend)


_SUFFIX = ".parquet"
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S UTC"
_MAX_LABEL = 120  # bytes of a label in a name
_MAX_LABELS = 3  # in a name; more are counted


def _stem(info: FetchInfo) -> str:
    """Compose a name that sorts by time, and is valid on every file system."""
    as_of = info.fetched_at or datetime.fromtimestamp(time.time(), UTC).isoformat()
    stem = parse_time(as_of).astimezone(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ")
    labels = info.connections
    label = (
        counted(len(labels), "connection") if len(labels) > _MAX_LABELS else connection_label(info)
    )
    if label:
        # In bytes, as file systems count them; a hidden name is longer by fifty.
        short = re.sub(r"[^\w-]+", "-", label).encode()[:_MAX_LABEL].decode(errors="ignore")
        stem += "_" + short.rstrip("-")
    return stem


def _table_row(name: str, manifest: Manifest) -> tuple[str, str, int, int, float]:
    files = sum(name in part.files for part in manifest.parts)
    return name, TABLES[name].grain, manifest.rows(name), files, manifest.size(name) / 1e6


def _facts(entry: Entry) -> Iterator[str]:
    info = entry.info
    yield f"in {entry.path}"
    written_at = parse_time(entry.manifest.written_at).astimezone(UTC)
    yield f"as of {entry.as_of:{_TIME_FORMAT}}, written {written_at:{_TIME_FORMAT}}"
    yield from describe(info)
    if info.sync is not None:
        yield _describe_sync(info.sync)


def _describe_sync(sync: dict[str, Any]) -> str:
    counts = ", ".join(f"{sync[name]:,} {name}" for name in ("new", "changed", "unchanged"))
    if sync.get("gone"):
        counts += f", {sync['gone']:,} gone"
    base = sync.get("base")  # of several connections, each has its own
    return f"synced{f' from {base}' if base else ''}: {counts}"
