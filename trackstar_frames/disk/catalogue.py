"""What lies under a root: its snapshots, each with what it says of itself, and the one meant."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from trackstar_frames.disk import parquet
from trackstar_frames.disk.manifest import Manifest
from trackstar_frames.errors import SnapshotError

__all__ = ["choose", "find_snapshots", "label_of", "list_snapshots"]

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
    SettingsError
        If it is a URL, or no folder can be named so.
    SnapshotError
        If it is a file, or the name of a snapshot is not UTF-8.

    Examples
    --------
    >>> import tempfile
    >>> from trackstar_frames import OrderFrames, write_snapshot
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
    for path, _ in found:
        _check_name(path)
    return sorted(found, key=lambda each: (_as_of(each[1]), each[1].written_at, each[0].name))


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


def label_of(info: Mapping[str, Any]) -> str | None:
    """Tell whose orders they are: one label, or several with a comma between them."""
    several = info.get("connections")
    label: str | None = ", ".join(several) if several else info["connection"]
    return label


def _check_name(path: Path) -> None:
    """Refuse a snapshot that somebody has given a name that no table can hold."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise SnapshotError(
            f"the name of the snapshot {path.name!r} under {path.parent} is not UTF-8; rename it"
        ) from None


def _as_of(said: Manifest) -> datetime:
    moment = datetime.fromisoformat(said.info["fetched_at"] or said.written_at)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _describe(path: Path, said: Manifest) -> dict[str, Any]:
    return {
        "name": path.name,
        "path": str(path),
        "as_of": _as_of(said),
        "written_at": said.written_at,
        "connection": label_of(said.info),
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
