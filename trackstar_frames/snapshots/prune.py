"""`prune_snapshots`: keep the snapshots that a rule asks for, and remove the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trackstar_frames.settings import flag, whole
from trackstar_frames.snapshots.catalog import find_snapshots, of_each_connection, tabulate
from trackstar_frames.snapshots.manifest import Manifest, disk_faults
from trackstar_frames.storage.local import remove

__all__ = ["prune_snapshots"]


def prune_snapshots(
    root: str | os.PathLike[str],
    *,
    keep_last: int = 3,
    keep_daily: int = 14,
    keep_weekly: int = 8,
    keep_monthly: int = 24,
    dry_run: bool = False,
) -> pd.DataFrame:
    """Remove old snapshots, but for those that a rule keeps, of each connection apart.

    A snapshot of several connections stays while a rule keeps it for one of them: the last that
    had a connection is not removed for newer ones that came to be without it.

    No snapshot needs another: what two of them share is there until the last one is removed.
    Periods are of UTC, weeks begin on Monday; a period without a snapshot does not count. Which
    snapshots are the newest is told by the sequence in which they were written, not by a clock.

    Parameters
    ----------
    root
        The folder of all snapshots.
    keep_last
        Keep the newest so many, 1 at least.
    keep_daily, keep_weekly, keep_monthly
        Keep the last one of each of the newest so many days, weeks and months.
    dry_run
        Tell what would be done, and do nothing.

    Returns
    -------
    pandas.DataFrame
        One row per snapshot that there was, oldest first: the columns of `list_snapshots`,
        and kept_by: ``"last"``, ``"daily"``, ``"weekly"`` or ``"monthly"``, the first that
        keeps it for any connection; null for one that was removed.

    Raises
    ------
    SettingsError
        If a number is none, before anything is removed.
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
    rule = {
        "last": whole("keep_last", keep_last, low=1),
        "daily": whole("keep_daily", keep_daily, low=0),
        "weekly": whole("keep_weekly", keep_weekly, low=0),
        "monthly": whole("keep_monthly", keep_monthly, low=0),
    }
    flag("dry_run", dry_run)
    there = find_snapshots(root)
    found = tabulate(there)
    found["kept_by"] = pd.Series(None, found.index, dtype="str")
    held = _held(there)
    for reason, number in rule.items():
        kept = {path for as_of in held for path in _kept(as_of, reason, number)}
        found.loc[found["path"].isin(kept) & found["kept_by"].isna(), "kept_by"] = reason
    if not dry_run:
        for path in found.loc[found["kept_by"].isna(), "path"]:
            with disk_faults(f"cannot remove {path}"):
                remove(Path(path))
    return found


def _held(found: list[tuple[Path, Manifest]]) -> list[pd.Series[pd.Timestamp]]:
    """Tell of each connection as of when the snapshots have it, by path; the newest is last."""
    return [
        pd.Series({str(path): pd.Timestamp(as_of) for path, as_of in own})
        for own in of_each_connection(found).values()
    ]


def _kept(as_of: pd.Series[pd.Timestamp], reason: str, number: int) -> Iterator[str]:
    """Give the snapshots that one rule keeps; the newest is last."""
    period = {"last": None, "daily": "D", "weekly": "W-SUN", "monthly": "M"}[reason]
    last = as_of
    if period is not None:
        periods = as_of.dt.tz_localize(None).dt.to_period(period)
        last = as_of[~periods.duplicated(keep="last")]
    yield from last.index[max(0, len(last) - number) :]
