"""What names an order: its id or, in tables of several connections, whose it is and its id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from trackstar_frames.measures._checks import column
from trackstar_frames.measures._partitions import Partitioned
from trackstar_frames.schema import CONNECTION

__all__ = ["key", "require_alike", "require_once", "whose"]


def whose(frame: pd.DataFrame | Partitioned) -> list[str]:
    """Name the column that tells of which connection rows are, if there is one."""
    return [CONNECTION.name] if CONNECTION.name in frame.columns else []


def key(frame: pd.DataFrame, name: str) -> pd.Index:
    """Read what names each row's order: the id alone, or ``connection/id``; null without an id.

    Parameters
    ----------
    frame
        Orders, or rows below them.
    name
        Its column of order ids.

    Raises
    ------
    ValueError
        If some rows do not tell their connection, and others do.
    """
    ids = column(frame, name)
    if not whose(frame):
        return _index(ids)
    labels = column(frame, CONNECTION.name)
    if labels.isna().any():
        raise ValueError(
            f"the column {CONNECTION.name!r} has nulls, and the same order id may be in two "
            f"connections; fill it for all rows"
        )
    # A label may hold what parts it from the id; no two pairs may come to the same text.
    labels = labels.astype(str).str.replace("%", "%25", regex=False)
    labels = labels.str.replace("/", "%2F", regex=False) + "/"
    return _index(labels + ids.astype(str).where(ids.notna()))


def _index(values: pd.Series[Any]) -> pd.Index:
    index: pd.Index = pd.Index(values)
    return index


def require_once(frame: pd.DataFrame, name: str) -> None:
    """Raise unless each order stands in `frame` once."""
    keys = key(frame, "id")
    if not keys.is_unique:
        raise ValueError(
            f"{name} has more than one row of the order {keys[keys.duplicated()][0]!r}; pass one "
            f"row per order, and of several connections the column {CONNECTION.name!r} too"
        )


def require_alike(frames: Mapping[str, pd.DataFrame]) -> None:
    """Raise if some of the frames, given by name, tell rows' connections, and others do not."""
    told = [name for name, frame in frames.items() if whose(frame)]
    others = [name for name in frames if name not in told]
    if told and others:
        raise ValueError(
            f"{told[0]} has the column {CONNECTION.name!r}, and {others[0]} has not, but the same "
            f"order id may be in two connections; give it to all of them, or to none"
        )
