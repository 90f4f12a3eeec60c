"""What a snapshot shows in a notebook: what it holds, how fresh it is, what was left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trackstar_frames.disk import parquet
from trackstar_frames.disk.manifest import Manifest, disk_faults
from trackstar_frames.errors import SnapshotError
from trackstar_frames.markup import card, lines, megabytes, table
from trackstar_frames.provenance import told
from trackstar_frames.schema import TABLES

__all__ = ["snapshot_card"]

_MOMENT = "%Y-%m-%d %H:%M:%S UTC"


def snapshot_card(name: str, path: Path) -> str:
    """Describe a snapshot by its manifest alone; one that is gone or damaged says so."""
    title = f"Snapshot {name}"
    heads = ("table", "one row is", "rows", "files", "MB")
    try:
        said = parquet.manifest(path)
        with disk_faults(f"{path} is damaged"):
            return card(title, table(heads, _rows(said)), lines(_words(path, said)))
    except SnapshotError as error:
        return card(title, lines([str(error)]))


def _rows(said: Manifest) -> Iterator[tuple[str, str, int, int, float]]:
    for name, described in TABLES.items():
        size = sum(part.files[name].bytes for part in said.parts)
        yield name, described.grain, said.rows(name), len(said.parts), megabytes(size)


def _words(path: Path, said: Manifest) -> Iterator[str]:
    yield f"in {path}"
    as_of = said.info["fetched_at"] or said.written_at
    yield f"as of {_moment(as_of)}, written {_moment(said.written_at)}"
    yield from told(said.info)
    if "sync" in said.info:
        yield _synced(said.info["sync"])


def _moment(text: str) -> str:
    """Spell a moment as people read it."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo is None else moment.astimezone(UTC)).strftime(_MOMENT)


def _synced(sync: dict[str, Any]) -> str:
    counts = ", ".join(f"{sync[name]:,} {name}" for name in ("new", "changed", "unchanged"))
    if sync.get("gone"):
        counts += f", {sync['gone']:,} gone"
    base = sync.get("base")  # of several connections, each has its own
    return f"synced{f' from {base}' if base else ''}: {counts}"
