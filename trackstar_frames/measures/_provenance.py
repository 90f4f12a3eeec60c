"""What frames tell of where they come from, and by what they were measured: JSON, in attrs."""

from __future__ import annotations

import copy
from typing import Any

import pandas as pd

__all__ = ["fetched_at", "hand_on", "tell", "told_of"]


def fetched_at(frame: pd.DataFrame) -> Any:
    """Tell what a frame says of when it was fetched; None if nothing."""
    return frame.attrs.get("trackstar", {}).get("fetched_at")


def told_of(frame: pd.DataFrame, measure: str) -> dict[str, Any] | None:
    """Return what a measure told of itself; None if that got lost."""
    told: dict[str, Any] | None = frame.attrs.get("trackstar", {}).get(measure)
    return told


def tell(table: pd.DataFrame, source: pd.DataFrame, measure: str, told: dict[str, Any]) -> None:
    """Have a table tell what its source does, and of its own measure."""
    hand_on(table, source)
    table.attrs["trackstar"] = {**table.attrs.get("trackstar", {}), measure: told}


def hand_on(table: pd.DataFrame, source: pd.DataFrame) -> None:
    """Have a table tell what its source does, in attrs of its own."""
    table.attrs = copy.deepcopy(source.attrs)
