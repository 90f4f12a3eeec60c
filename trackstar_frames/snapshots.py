"""Snapshots: what the orders were at one moment, kept under a root folder."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pandas as pd

from trackstar_frames import parquet
from trackstar_frames.aside import put_new
from trackstar_frames.cards import snapshot_card
from trackstar_frames.dtypes import DtypeBackend, check_backend
from trackstar_frames.errors import SnapshotError
from trackstar_frames.frames import OrderFrames
from trackstar_frames.manifest import Manifest
from trackstar_frames.schema import TABLES
from trackstar_frames.writer import Fill, Written, finish, write

__all__ = [
    "Place",
    "Snapshot",
    "T",
    "choose",
    "find_snapshots",
    "list_snapshots",
    "place_one",
    "place_snapshot",
    "read_snapshot",
    "write_snapshot",
]

T = TypeVar("T")

#: Takes an info, and what writes the parts that it tells of; has them written somewhere.
Place: TypeAlias = Callable[[Mapping[str, Any], Fill], T]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot on disk.

    Attributes
    ----------
    name : str
        Its as-of in UTC and its connection, if it has one; unique under its root.
    path : pathlib.Path
        Its folder, with a folder of Parquet files for each table.
    info : dict
        What the fetch told: filters, connection, fetched_at and more.

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
    info: dict[str, Any]

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
    if not frames.info["complete"]:
        raise SnapshotError(
            "these frames are the part of a fetch that broke; resume it, and write the whole"
        )
    tables, info = frames.to_arrow(), frames.info
    return place_snapshot(root, lambda folder: parquet.write_parts(folder, tables, dict(info)))


def place_snapshot(root: str | os.PathLike[str], work: Callable[[Path], Written]) -> Snapshot:
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
        finish(hidden, written)
        stem = _stem(written.info)
        names = (stem if tail == 1 else f"{stem}_{tail}" for tail in itertools.count(1))
        path = put_new(hidden, (folder / name for name in names))
    return Snapshot(path.name, path, written.info)


def place_one(root: Path, info: Mapping[str, Any], fill: Fill) -> Snapshot:
    """Place a snapshot of one connection."""
    return place_snapshot(root, lambda folder: write(folder, info, fill))


def list_snapshots(root: str | os.PathLike[str]) -> pd.DataFrame:
    """List the snapshots under a root, oldest first.

    Parameters
    ----------
    root
        The folder of all snapshots.

    Returns
    -------
    pandas.DataFrame
        One row per snapshot, keyed by name: name, path, as_of and written_at (UTC),
        connection (of several, all labels), orders (rows), bytes on disk, schema_version.
        Folders that are not snapshots, and half-written ones, are passed over.

    Raises
    ------
    TypeError
        If `root` is no path.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     snapshot = write_snapshot(OrderFrames.from_json([{"id": "a1"}, {"id": "a2"}]), root)
    ...     list_snapshots(root)["orders"].tolist()
    [2]
    """
    rows = [_describe(*found) for found in find_snapshots(root)]
    found = pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)
    # pandas before 3 writes "None" for what is not there.
    found.loc[[row["connection"] is None for row in rows], "connection"] = None
    return found


def find_snapshots(root: str | os.PathLike[str]) -> list[tuple[Path, Manifest]]:
    """Find the snapshots under a root, oldest first, each with what it says of itself."""
    folder = parquet.locate(root)
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.name.startswith("."):
            with suppress(SnapshotError):
                found.append((path, parquet.manifest(path)))
    return sorted(found, key=lambda each: (_as_of(each[1]), each[1].written_at, each[0].name))


def read_snapshot(
    root: str | os.PathLike[str],
    which: str | datetime = "latest",
    *,
    dtype_backend: DtypeBackend = None,
) -> OrderFrames:
    """Read one snapshot under a root.

    Parameters
    ----------
    root
        The folder of all snapshots.
    which
        A name, ``"latest"``, or a time (naive means UTC): the newest not after it.
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
    return OrderFrames.from_parquet(choose(root, which), dtype_backend=dtype_backend)


def choose(root: str | os.PathLike[str], which: str | datetime) -> Path:
    """Find the folder of a snapshot by its name, a time, or as the latest.

    Raises
    ------
    SnapshotError
        If there is no such snapshot, naming those there are.
    """
    found = list_snapshots(root)
    if found.empty:
        raise SnapshotError(_nothing(parquet.locate(root)))
    named = found[found["name"] == which] if isinstance(which, str) else found.iloc[:0]
    if named.empty and which != "latest":
        moment = _moment(which, found)
        named = found[found["as_of"] <= moment]
        if named.empty:
            raise SnapshotError(
                f"no snapshot under {root} is as old as {moment}: the first is of "
                f"{found['as_of'].iloc[0]}; ask for a later time, or for 'latest'"
            )
    chosen = found if which == "latest" else named
    return Path(chosen["path"].iloc[-1])


_LABEL = 120  # bytes of a label in a name

_TYPES = {
    "name": "str",
    "path": "str",
    "as_of": "datetime64[us, UTC]",
    "written_at": "datetime64[us, UTC]",
    "connection": "str",
    "orders": "int64",
    "bytes": "int64",
    "schema_version": "int64",
}


def _stem(info: Mapping[str, Any]) -> str:
    """Compose a name that sorts by time, and is good on every file system."""
    as_of = info["fetched_at"] or datetime.now(UTC).isoformat()
    stem = datetime.fromisoformat(as_of).astimezone(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ")
    if label := _label(info):
        # In bytes: file systems count those, and a hidden name is longer by fifty.
        named = re.sub(r"[^\w-]+", "-", label).encode()[:_LABEL].decode(errors="ignore")
        stem += "_" + named.rstrip("-")
    return stem


def _label(info: Mapping[str, Any]) -> str | None:
    """Tell whose orders they are: one label, or several with a comma between them."""
    several = info.get("connections")
    label: str | None = ", ".join(several) if several else info["connection"]
    return label


def _as_of(said: Manifest) -> datetime:
    moment = datetime.fromisoformat(said.info["fetched_at"] or said.written_at)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _describe(path: Path, said: Manifest) -> dict[str, Any]:
    return {
        "name": path.name,
        "path": str(path),
        "as_of": _as_of(said),
        "written_at": said.written_at,
        "connection": _label(said.info),
        "orders": said.rows("orders"),
        "bytes": said.bytes,
        "schema_version": said.schema_version,
    }


def _nothing(root: Path) -> str:
    """Say that there are no snapshots, and what to do about it."""
    with suppress(SnapshotError):
        parquet.manifest(root)
        return (
            f"there are no snapshots under {root}, which is one itself; pass the folder above it, "
            f"{root.parent}, or read it with OrderFrames.from_parquet"
        )
    return (
        f"there are no snapshots under {root}; write_snapshot, export_orders and sync_orders "
        f"make them there"
    )


def _moment(which: object, found: pd.DataFrame) -> pd.Timestamp:
    try:
        # A number would be nanoseconds since 1970.
        moment = pd.NaT if isinstance(which, (int, float)) else pd.Timestamp(which)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        moment = pd.NaT
    if pd.isna(moment):
        names = ", ".join(found["name"].iloc[-5:])
        raise SnapshotError(
            f"which={which!r} is neither a snapshot's name, 'latest', nor a time; the newest "
            f"are {names}"
        )
    return moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")
