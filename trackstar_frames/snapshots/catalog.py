"""The snapshots under a root: list them, remove old ones, and find one by name, time or number."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from numbers import Integral
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from trackstar_frames import storage
from trackstar_frames.dates import end_of_day, is_day, is_iso8601, parse_time
from trackstar_frames.errors import SnapshotError
from trackstar_frames.info import FetchInfo, as_of_each
from trackstar_frames.schema import TABLES
from trackstar_frames.settings import check_bool, check_int
from trackstar_frames.snapshots.manifest import Manifest, file_name, read_manifest, snapshot_errors

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


class Entry(NamedTuple):
    """A snapshot, and its manifest."""

    path: Path
    manifest: Manifest

    @classmethod
    def at(cls, path: Path) -> Entry:
        """Read the manifest of a snapshot."""
        return cls(path, read_manifest(path))

    @property
    def name(self) -> str:
        """Its name, unique under its root."""
        return self.path.name

    @property
    def info(self) -> FetchInfo:
        """Metadata of the fetch."""
        return self.manifest.info

    @property
    def as_of(self) -> datetime:
        """As of when its orders are; of several connections, the oldest."""
        return parse_time(self.info.fetched_at or self.manifest.written_at).astimezone(UTC)

    @property
    def as_of_each(self) -> dict[str | None, datetime]:
        """As of when the orders of each connection are."""
        return as_of_each(self.info, self.manifest.written_at)

    def files(self, table: str, labels: Container[str | None] | None = None) -> list[Path]:
        """List the files of a table, or of some of its connections, in the order of their rows."""
        return [
            self.path / table / file_name(position)
            for position, part in enumerate(self.manifest.parts)
            if table in part.files
            and (labels is None or part.connection is None or part.connection in labels)
        ]


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
        Folders that are not snapshots, and half-written ones, are left out. The last row need
        not be the snapshot that was written last, as a clock may have been ahead: see
        `read_snapshot`.

    Raises
    ------
    TypeError
        If `root` is not a path.
    SettingsError
        If it is a URL, or no folder can have that name.
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
    return _tabulate(find_snapshots(root))


def prune_snapshots(
    root: str | os.PathLike[str],
    *,
    keep_last: int = 3,
    keep_daily: int = 14,
    keep_weekly: int = 8,
    keep_monthly: int = 24,
    dry_run: bool = False,
) -> pd.DataFrame:
    """Remove the snapshots that no rule keeps.

    Rules apply to each connection by itself. A snapshot of several connections stays while a rule
    keeps it for one of them: the last one that has a connection is not removed for newer ones
    without it.

    No snapshot needs another: files that several share stay until the last one is removed.
    Periods are of UTC, weeks begin on Monday; a period without a snapshot does not count. Which
    snapshots are the newest depends on the sequence in which they were written, not on a clock.

    Parameters
    ----------
    root
        The folder of all snapshots.
    keep_last
        Keep the newest so many, 1 at least.
    keep_daily, keep_weekly, keep_monthly
        Keep the last one of each of the newest so many days, weeks and months.
    dry_run
        Return what would be done, and do nothing.

    Returns
    -------
    pandas.DataFrame
        One row per snapshot that there was, oldest first: the columns of `list_snapshots`,
        and kept_by: ``"last"``, ``"daily"``, ``"weekly"`` or ``"monthly"``, the first that
        keeps it for any connection; null for one that was removed.

    Raises
    ------
    SettingsError
        If a number is invalid, before anything is removed.
    SnapshotError
        If the disk refuses.

    Examples
    --------
    >>> import tempfile
    >>> from trackstar_frames import OrderFrames, write_snapshot
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for _ in range(3):
    ...         _ = write_snapshot(OrderFrames.from_json({"id": "a1"}), root)
    ...     prune_snapshots(root, keep_last=1)["kept_by"].fillna("removed").tolist()
    ['removed', 'removed', 'last']
    """
    rules = {
        "last": check_int("keep_last", keep_last, low=1),
        "daily": check_int("keep_daily", keep_daily, low=0),
        "weekly": check_int("keep_weekly", keep_weekly, low=0),
        "monthly": check_int("keep_monthly", keep_monthly, low=0),
    }
    check_bool("dry_run", dry_run)
    entries = find_snapshots(root)
    table = _tabulate(entries)
    table["kept_by"] = pd.Series(None, table.index, dtype="str")
    connections = [
        pd.Series({str(path): pd.Timestamp(as_of) for path, as_of in own})
        for own in _by_connection(entries).values()
    ]
    for reason, number in rules.items():
        kept = {path for as_of in connections for path in _kept(as_of, reason, number)}
        table.loc[table["path"].isin(kept) & table["kept_by"].isna(), "kept_by"] = reason
    if not dry_run:
        kept = set(table.loc[table["kept_by"].notna(), "path"])
        for path in (entry.path for entry in entries if str(entry.path) not in kept):
            with snapshot_errors(f"cannot remove {path}"):
                storage.delete(path)
    return table


def find_snapshots(root: str | os.PathLike[str]) -> list[Entry]:
    """Find the snapshots under a root, in the order in which they were written."""
    folder = storage.locate(root)
    entries = []
    with snapshot_errors(f"cannot list {folder}"):
        for path in storage.list_folder(folder):
            if storage.is_folder(path) and not path.name.startswith("."):
                with suppress(SnapshotError):
                    entries.append(Entry.at(path))
    for entry in entries:
        _check_name(entry.path)
    # Those of older versions, which have no sequence number, come first, by what they are as of.
    # They are listed by name, and stay so where all else is equal.
    entries.sort(
        key=lambda each: (each.manifest.sequence or 0, each.as_of, each.manifest.written_at)
    )
    return entries


def find_snapshot(root: str | os.PathLike[str], version: str | datetime | int) -> Path:
    """Find a snapshot by its name, a time, its number from the newest, or as the latest."""
    entries = find_snapshots(root)
    if not entries:
        raise SnapshotError(_explain_nothing(storage.locate(root)))
    if isinstance(version, Integral) and not isinstance(version, bool):
        return _counted_back(int(version), entries)
    named = [entry.path for entry in entries if entry.name == version]
    if not named and version != "latest":
        return _not_after(_parse_time(version, entries), entries, root)
    return named[0] if named else entries[-1].path


def next_sequence(root: Path) -> int:
    """Return the sequence number of the next snapshot under a root, which must be locked."""
    return 1 + max((entry.manifest.sequence or 0 for entry in find_snapshots(root)), default=0)


def corrected_times(entries: Sequence[Entry]) -> dict[str, datetime]:
    """Return, by name, as of when the snapshots of a clock that was ahead can be at the latest."""
    # A clock was ahead if a snapshot says that it was written after one that came after it.
    corrected = {}
    earliest_written: datetime | None = None
    following: datetime | None = None
    for entry in reversed(entries):
        as_of = entry.as_of
        if entry.manifest.sequence is not None:
            written_at = parse_time(entry.manifest.written_at)
            if earliest_written is not None and written_at > earliest_written:
                as_of = corrected[entry.name] = min(filter(None, (as_of, following)))
            earliest_written = min(filter(None, (written_at, earliest_written)))
        following = as_of
    return corrected


def connection_label(info: FetchInfo) -> str | None:
    """Return the label of the connection; of several, their labels with commas between them."""
    return ", ".join(info.connections) if info.connections else info.connection


def _tabulate(entries: Iterable[Entry]) -> pd.DataFrame:
    rows = [
        {
            "name": entry.name,
            "path": str(entry.path),
            "as_of": entry.as_of,
            "written_at": entry.manifest.written_at,
            "connection": connection_label(entry.info),
            "orders": entry.manifest.rows("orders"),
            "bytes": sum(map(entry.manifest.size, TABLES)),
            "schema_version": entry.manifest.schema_version,
        }
        for entry in entries
    ]
    rows.sort(key=itemgetter("as_of", "written_at", "name"))
    table = pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)
    # pandas before 3 makes "None" of None.
    table.loc[[row["connection"] is None for row in rows], "connection"] = None
    return table


def _by_connection(entries: Iterable[Entry]) -> dict[str | None, list[tuple[Path, datetime]]]:
    """Return, for each connection, the snapshots that have it, and as of when, in sequence."""
    # What a snapshot has of a connection that had failed is from an earlier one, and sorted as it.
    found: dict[str | None, list[tuple[int, Path, datetime]]] = defaultdict(list)
    first_positions: dict[tuple[str | None, datetime], int] = {}
    for position, entry in enumerate(entries):
        for connection, as_of in entry.as_of_each.items():
            first = first_positions.setdefault((connection, as_of), position)
            failed = connection in entry.info.failed
            found[connection].append((first if failed else position, entry.path, as_of))
    return {
        connection: [each[1:] for each in sorted(own, key=itemgetter(0))]
        for connection, own in found.items()
    }


def _kept(as_of: pd.Series[pd.Timestamp], reason: str, number: int) -> pd.Index[str]:
    """Return the paths that a rule keeps, of as-ofs by path; the newest is last."""
    if reason != "last":
        period = {"daily": "D", "weekly": "W-SUN", "monthly": "M"}[reason]
        periods = as_of.dt.tz_localize(None).dt.to_period(period)
        as_of = as_of[~periods.duplicated(keep="last")]
    return as_of.tail(number).index


def _counted_back(version: int, entries: Sequence[Entry]) -> Path:
    if not -len(entries) <= version < 0:
        oldest = f"and {-len(entries)} the oldest of the {len(entries):,} there are"
        raise SnapshotError(
            f"version={version}: an integer counts back from the newest snapshot: -1 is "
            f"{entries[-1].name}, {oldest if len(entries) > 1 else 'the only one'}"
        )
    return entries[version].path


def _not_after(
    moment: pd.Timestamp, entries: Sequence[Entry], root: str | os.PathLike[str]
) -> Path:
    """Find the newest snapshot that is not as of later than a moment."""
    corrected = corrected_times(entries)
    times = [corrected.get(entry.name, entry.as_of) for entry in entries]
    old_enough = [(as_of, position) for position, as_of in enumerate(times) if as_of <= moment]
    if not old_enough:
        raise SnapshotError(
            f"no snapshot under {root} is as old as {moment}: the first is of {min(times)}; ask "
            f"for a later time, or for 'latest'"
        )
    _, position = max(old_enough)
    return entries[position].path


def _parse_time(version: object, entries: Sequence[Entry]) -> pd.Timestamp:
    """Parse the time that a snapshot must not be after; a bare day is the whole day."""
    if is_day(version):
        return pd.Timestamp(end_of_day(version))
    # A float would be nanoseconds since 1970, and pandas guesses what other texts mean.
    is_guess = isinstance(version, str) and not is_iso8601(version)
    is_guess |= isinstance(version, (int, float))
    try:
        moment = pd.NaT if is_guess else pd.Timestamp(version)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        moment = pd.NaT
    if pd.isna(moment):
        names = ", ".join(entry.name for entry in entries[-5:])
        raise SnapshotError(
            f"version={version!r} is neither a snapshot's name, 'latest', a time, nor an integer; "
            f"the newest are {names}"
        )
    return moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")


def _explain_nothing(root: Path) -> str:
    with suppress(SnapshotError):
        read_manifest(root)
        return (
            f"there are no snapshots under {root}, which is one itself; pass the folder above it, "
            f"{root.parent}, or read it with OrderFrames.from_parquet"
        )
    return (
        f"there are no snapshots under {root}; write_snapshot, export_orders and sync_orders "
        f"make them there"
    )


def _check_name(path: Path) -> None:
    """Refuse a snapshot whose name no table can hold, as somebody has renamed it."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise SnapshotError(
            f"the name of the snapshot {path.name!r} under {path.parent} is not UTF-8; rename it"
        ) from None
