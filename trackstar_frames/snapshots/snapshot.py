"""Snapshots: what the orders were at one moment, kept under a root folder."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trackstar_frames._text import card, counted, lines, megabytes, table
from trackstar_frames.errors import SnapshotError
from trackstar_frames.frames import OrderFrames
from trackstar_frames.info import FetchInfo
from trackstar_frames.schema import TABLES
from trackstar_frames.snapshots import parquet
from trackstar_frames.snapshots.catalog import choose, label_of, next_sequence
from trackstar_frames.snapshots.manifest import Manifest, disk_faults
from trackstar_frames.snapshots.parquet import WriteResult, finish
from trackstar_frames.storage.local import commit, locked
from trackstar_frames.tables.dtypes import DtypeBackend, check_backend

__all__ = [
    "Snapshot",
    "place_snapshot",
    "read_snapshot",
    "snapshot_card",
    "write_snapshot",
]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot on disk.

    Attributes
    ----------
    name : str
        Its as-of in UTC and its connection, if it has one (of many, their number); unique under
        its root.
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
        return {name: parquet.files(self.path / name) for name in TABLES}

    def read(self, *, dtype_backend: DtypeBackend = None) -> OrderFrames:
        """Read all its tables.

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
        return snapshot_card(self.name, self.path)


def write_snapshot(frames: OrderFrames, root: str | os.PathLike[str]) -> Snapshot:
    """Write one more snapshot under a root; it appears whole or not at all.

    Parameters
    ----------
    frames
        What to keep.
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
            "these frames are the part of a fetch that broke; resume it, and write the whole"
        )
    tables, info = frames.to_arrow(), frames.info
    return place_snapshot(root, lambda folder: parquet.write_parts(folder, tables, info))


def place_snapshot(root: str | os.PathLike[str], work: Callable[[Path], WriteResult]) -> Snapshot:
    """Have somebody write the parts of one more snapshot, and put it in place when it is whole.

    Parameters
    ----------
    root
        The folder of all snapshots; made if it is missing.
    work
        Writes them into a folder.
    """
    folder = parquet.locate(root)
    with parquet.writing(folder / "snapshot") as hidden:
        written = work(hidden)
        stem = _stem(written.info)
        names = (stem if tail == 1 else f"{stem}_{tail}" for tail in itertools.count(1))
        with locked(folder / "snapshot"):
            finish(hidden, written, sequence=next_sequence(folder))
            path = commit(hidden, (folder / name for name in names))
    return Snapshot(path.name, path, written.info)


def read_snapshot(
    root: str | os.PathLike[str],
    version: str | datetime = "latest",
    *,
    dtype_backend: DtypeBackend = None,
) -> OrderFrames:
    """Read one snapshot under a root.

    Parameters
    ----------
    root
        The folder of all snapshots.
    version
        A name, ``"latest"`` (the one that was written last, whatever the clocks were), or a time
        (naive means UTC, a bare day all of it): the newest that is not as of later.
    dtype_backend
        None for pandas' own types, ``"pyarrow"`` for Arrow's.

    Returns
    -------
    OrderFrames
        All tables, as they were written, and their `info`.

    Raises
    ------
    SnapshotError
        If there is no such snapshot, naming those there are, or it is damaged.
    SettingsError
        If `dtype_backend` is neither.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     snapshot = write_snapshot(OrderFrames.from_json({"id": "a1"}), root)
    ...     [len(read_snapshot(root, which).orders) for which in ("latest", snapshot.name)]
    [1, 1]
    """
    check_backend(dtype_backend)
    return OrderFrames.from_parquet(choose(root, version), dtype_backend=dtype_backend)


_LABEL = 120  # bytes of a label in a name
_NAMED = 3  # labels in a name; more are counted


def _stem(info: FetchInfo) -> str:
    """Compose a name that sorts by time, and is good on every file system."""
    as_of = info["fetched_at"] or datetime.fromtimestamp(time.time(), UTC).isoformat()
    stem = datetime.fromisoformat(as_of).astimezone(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ")
    labels = info.connections
    label = counted(len(labels), "connection") if len(labels) > _NAMED else label_of(info)
    if label:
        # In bytes: file systems count those, and a hidden name is longer by fifty.
        named = re.sub(r"[^\w-]+", "-", label).encode()[:_LABEL].decode(errors="ignore")
        stem += "_" + named.rstrip("-")
    return stem


_MOMENT = "%Y-%m-%d %H:%M:%S UTC"


def snapshot_card(name: str, path: Path) -> str:
    """Describe a snapshot by its manifest alone; one that is gone or damaged says so."""
    title = f"Snapshot {name}"
    heads = ("table", "one row is", "rows", "files", "MB")
    try:
        said = parquet.read_manifest(path)
        with disk_faults(f"{path} is damaged"):
            return card(title, table(heads, _rows(said)), lines(_words(path, said)))
    except SnapshotError as error:
        return card(title, lines([str(error)]))


def _rows(said: Manifest) -> Iterator[tuple[str, str, int, int, float]]:
    for name, described in TABLES.items():
        size = sum(part.files[name].bytes for part in said.parts)
        yield name, described.grain, said.rows(name), len(said.parts), megabytes(size)


def _words(path: Path, said: Manifest) -> Iterator[str]:
    yield f"in {path}"
    as_of = said.info["fetched_at"] or said.written_at
    yield f"as of {_moment(as_of)}, written {_moment(said.written_at)}"
    yield from said.info.lines()
    if said.info.sync is not None:
        yield _synced(said.info.sync)


def _moment(text: str) -> str:
    """Spell a moment as people read it."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo is None else moment.astimezone(UTC)).strftime(_MOMENT)


def _synced(sync: dict[str, Any]) -> str:
    counts = ", ".join(f"{sync[name]:,} {name}" for name in ("new", "changed", "unchanged"))
    if sync.get("gone"):
        counts += f", {sync['gone']:,} gone"
    base = sync.get("base")  # of several connections, each has its own
    return f"synced{f' from {base}' if base else ''}: {counts}"
