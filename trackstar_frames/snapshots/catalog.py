"""What lies under a root: its snapshots, each with what it says of itself, and the one meant."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from trackstar_frames.dates import end_of_day, is_day, is_iso8601, parse_time
from trackstar_frames.errors import SnapshotError
from trackstar_frames.snapshots import parquet
from trackstar_frames.snapshots.manifest import Manifest, disk_faults
from trackstar_frames.tables.connections import as_of_each

__all__ = [
    "choose",
    "find_snapshots",
    "label_of",
    "list_snapshots",
    "next_sequence",
    "of_each_connection",
    "tabulate",
    "written_ahead",
]


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
    """List the snapshots under a root, oldest first by what they are as of.

    Parameters
    ----------
    root
        The folder of all snapshots.

    Returns
    -------
    pandas.DataFrame
        One row per snapshot, keyed by name: name, path, as_of and written_at (UTC),
        connection (of several, all labels), orders (rows), bytes on disk, schema_version.
        Folders that are not snapshots, and half-written ones, are passed over. Which one is
        the latest is not told by the last row but by their manifests: a clock may have been
        ahead; see `read_snapshot`.

    Raises
    ------
    TypeError
        If `root` is no path.
    SettingsError
        If it is a URL, or no folder can be named so.
    SnapshotError
        If it is a file, the name of a snapshot is not UTF-8, or the disk refuses.

    Examples
    --------
    >>> import tempfile
    >>> from trackstar_frames import OrderFrames, write_snapshot
    >>> with tempfile.TemporaryDirectory() as root:
    ...     snapshot = write_snapshot(OrderFrames.from_json([{"id": "a1"}, {"id": "a2"}]), root)
    ...     list_snapshots(root)["orders"].tolist()
    [2]
    """
    return tabulate(find_snapshots(root))


def tabulate(found: Iterable[tuple[Path, Manifest]]) -> pd.DataFrame:
    """Lay out what `find_snapshots` has found as `list_snapshots` gives it."""
    rows = [_describe(*each) for each in found]
    rows.sort(key=lambda row: (row["as_of"], row["written_at"], row["name"]))
    table = pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)
    # pandas before 3 writes "None" for what is not there.
    table.loc[[row["connection"] is None for row in rows], "connection"] = None
    return table


def find_snapshots(root: str | os.PathLike[str]) -> list[tuple[Path, Manifest]]:
    """Find the snapshots under a root, each with what it says of itself.

    They come in the sequence in which they were put there, the latest last; those of older
    versions, which do not tell, come first, by what they are as of.
    """
    folder = parquet.locate(root)
    found = []
    with disk_faults(f"cannot list {folder}"):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_dir() and not path.name.startswith("."):
                with suppress(SnapshotError):
                    found.append((path, parquet.read_manifest(path)))
    for path, _ in found:
        _check_name(path)
    return sorted(found, key=_place)


def next_sequence(root: Path) -> int:
    """Give the sequence number of the next snapshot under a root; to be asked `alone`."""
    return 1 + max((said.sequence or 0 for _, said in find_snapshots(root)), default=0)


def written_ahead(found: Sequence[tuple[Path, Manifest]]) -> Iterator[Path]:
    """Give the snapshots that by their clock were written after one that came after them."""
    least: datetime | None = None
    for path, said in reversed(found):
        written = parse_time(said.written_at)
        if said.sequence is not None:
            if least is not None and written > least:
                yield path
            least = written if least is None else min(least, written)


def of_each_connection(
    found: Iterable[tuple[Path, Manifest]],
) -> dict[str | None, list[tuple[Path, datetime]]]:
    """Tell of each connection which snapshots have it, and as of when, in their sequence.

    What a snapshot has of a connection that had failed is that of an earlier one, and stands
    where that one does.
    """
    held: dict[str | None, list[tuple[int, Path, datetime]]] = defaultdict(list)
    firsts: dict[tuple[str | None, datetime], int] = {}
    for place, (path, said) in enumerate(found):
        for connection, as_of in as_of_each(said.info, said.written_at).items():
            first = firsts.setdefault((connection, as_of), place)
            failed = connection in said.info.get("failed", ())
            held[connection].append((first if failed else place, path, as_of))
    return {
        connection: [each[1:] for each in sorted(own, key=itemgetter(0))]
        for connection, own in held.items()
    }


def choose(root: str | os.PathLike[str], version: str | datetime) -> Path:
    """Find the folder of a snapshot by its name, a time, or as the latest.

    Raises
    ------
    SnapshotError
        If there is no such snapshot, naming those there are.
    """
    found = find_snapshots(root)
    if not found:
        raise SnapshotError(_nothing(parquet.locate(root)))
    named = [path for path, _ in found if path.name == version]
    if not named and version != "latest":
        return _not_after(_moment(version, found), found, root)
    return named[0] if named else found[-1][0]


def _not_after(
    moment: pd.Timestamp, found: list[tuple[Path, Manifest]], root: str | os.PathLike[str]
) -> Path:
    """Find the newest snapshot that is not as of later than a moment."""
    old_enough = [(as_of, n) for n, as_of in enumerate(_in_time(found)) if as_of <= moment]
    if not old_enough:
        raise SnapshotError(
            f"no snapshot under {root} is as old as {moment}: the first is of "
            f"{min(_in_time(found))}; ask for a later time, or for 'latest'"
        )
    _, number = max(old_enough)
    return found[number][0]


def _in_time(found: Sequence[tuple[Path, Manifest]]) -> list[datetime]:
    """Tell as of when snapshots are: of a clock that was ahead, not later than the one after."""
    ahead = set(written_ahead(found))
    moments: list[datetime] = []
    for path, said in reversed(found):
        moments.append(min([_as_of(said), *moments[-1:]]) if path in ahead else _as_of(said))
    return moments[::-1]


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


def _place(found: tuple[Path, Manifest]) -> tuple[int, datetime, str, str]:
    path, said = found
    return said.sequence or 0, _as_of(said), said.written_at, path.name


def _as_of(said: Manifest) -> datetime:
    return parse_time(said.info["fetched_at"] or said.written_at)


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
        parquet.read_manifest(root)
        return (
            f"there are no snapshots under {root}, which is one itself; pass the folder above it, "
            f"{root.parent}, or read it with OrderFrames.from_parquet"
        )
    return (
        f"there are no snapshots under {root}; write_snapshot, export_orders and sync_orders "
        f"make them there"
    )


def _moment(version: object, found: list[tuple[Path, Manifest]]) -> pd.Timestamp:
    """Read the moment that a snapshot must not be after; a bare day is all of it."""
    if is_day(version):
        return pd.Timestamp(end_of_day(version))
    # A number would be nanoseconds since 1970, and of another text pandas would make a guess.
    is_guess = isinstance(version, str) and not is_iso8601(version)
    is_guess |= isinstance(version, (int, float))
    try:
        moment = pd.NaT if is_guess else pd.Timestamp(version)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        moment = pd.NaT
    if pd.isna(moment):
        names = ", ".join(path.name for path, _ in found[-5:])
        raise SnapshotError(
            f"version={version!r} is neither a snapshot's name, 'latest', nor a time; the newest "
            f"are {names}"
        )
    return moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")
