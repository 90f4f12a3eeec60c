"""What frames tell of where they come from, and by what they were measured: JSON, in attrs."""

from __future__ import annotations

from typing import Any

import pandas as pd

__all__ = ["fetched_at", "tell", "told_of"]


def fetched_at(frame: pd.DataFrame) -> Any:
    """Tell what a frame says of when it was fetched; None if nothing."""
    return frame.attrs.get("trackstar", {}).get("fetched_at")


def told_of(frame: pd.DataFrame, measure: str) -> dict[str, Any] | None:
    """Return what a measure told of itself; None if that got lost."""
    told: dict[str, Any] | None = frame.attrs.get("trackstar", {}).get(measure)
    return told


def tell(table: pd.DataFrame, source: pd.DataFrame, measure: str, told: dict[str, Any]) -> None:
    """Have a table tell what its source does, and of its own measure."""
    provenance = {**source.attrs.get("trackstar", {}), measure: told}
    table.attrs = {**source.attrs, "trackstar": provenance}
