"""Folders of tables that older versions of this package have written."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from trackstar_frames.disk.manifest import File, Manifest, Part, file_name, refuse_newer
from trackstar_frames.schema import TABLES

__all__ = ["read_older"]


def read_older(folder: Path, key: bytes) -> Manifest:
    """Read a folder of schema 1: one part, and no manifest; each footer tells the whole.

    Raises
    ------
    OSError, ValueError, KeyError
        If it is none.
    SnapshotError
        If a footer speaks of a newer schema.
    """
    paths = {name: folder / name / file_name(0) for name in TABLES}
    footer = json.loads((pq.read_schema(paths["orders"]).metadata or {})[key])
    refuse_newer(folder, footer["schema_version"])
    files = {
        name: File(footer["rows"][name], path.stat().st_size, "") for name, path in paths.items()
    }
    return Manifest(
        footer["schema_version"], footer["written_at"], footer["info"], [Part(None, files)]
    )
