"""Remove old snapshots."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trackstar_frames import storage
from trackstar_frames.settings import flag, whole
from trackstar_frames.snapshots.catalog import by_connection, find_snapshots, tabulate
from trackstar_frames.snapshots.manifest import snapshot_errors


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
        "last": whole("keep_last", keep_last, low=1),
        "daily": whole("keep_daily", keep_daily, low=0),
        "weekly": whole("keep_weekly", keep_weekly, low=0),
        "monthly": whole("keep_monthly", keep_monthly, low=0),
    }
    flag("dry_run", dry_run)
    entries = find_snapshots(root)
    table = tabulate(entries)
    table["kept_by"] = pd.Series(None, table.index, dtype="str")
    connections = [
        pd.Series({str(path): pd.Timestamp(as_of) for path, as_of in own})
        for own in by_connection(entries).values()
    ]
    for reason, number in rules.items():
        kept = {path for as_of in connections for path in _kept(as_of, reason, number)}
        table.loc[table["path"].isin(kept) & table["kept_by"].isna(), "kept_by"] = reason
    if not dry_run:
        for path in table.loc[table["kept_by"].isna(), "path"]:
            with snapshot_errors(f"cannot remove {path}"):
                storage.delete(Path(path))
    return table


def _kept(as_of: pd.Series[pd.Timestamp], reason: str, number: int) -> Iterator[str]:
    """Return the paths that a rule keeps, of as-ofs by path; the newest is last."""
    period = {"last": None, "daily": "D", "weekly": "W-SUN", "monthly": "M"}[reason]
    last = as_of
    if period is not None:
        periods = as_of.dt.tz_localize(None).dt.to_period(period)
        last = as_of[~periods.duplicated(keep="last")]
    yield from last.index[max(0, len(last) - number) :]
