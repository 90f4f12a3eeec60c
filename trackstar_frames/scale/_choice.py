"""Which of the snapshots under a root is meant."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pandas as pd

from trackstar_frames.errors import SnapshotError
from trackstar_frames.snapshots import list_snapshots

__all__ = ["choose"]


def choose(root: str | os.PathLike[str], which: str | datetime) -> Path:
    """Find the folder of a snapshot by its name, a time, or as the latest.

    Raises
    ------
    SnapshotError
        If there is no such snapshot, naming those there are.
    """
    found = list_snapshots(root)
    if found.empty:
        raise SnapshotError(f"there are no snapshots under {root}")
    if isinstance(which, str) and which in {"latest", *found["name"]}:
        chosen = found if which == "latest" else found[found["name"] == which]
    else:
        moment = _moment(which, found)
        chosen = found[found["as_of"] <= moment]
        if chosen.empty:
            raise SnapshotError(
                f"no snapshot under {root} is as old as {moment}; the first is of "
                f"{found['as_of'].iloc[0]}"
            )
    return Path(chosen["path"].iloc[-1])


def _moment(which: object, found: pd.DataFrame) -> pd.Timestamp:
    try:
        moment = pd.Timestamp(which)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        moment = pd.NaT  # type: ignore[assignment]
    if pd.isna(moment):
        names = ", ".join(found["name"].iloc[-5:])
        raise SnapshotError(
            f"which={which!r} is neither a snapshot's name, 'latest', nor a time; the newest "
            f"are {names}"
        )
    return moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")
