"""The story of one order, over all snapshots under a root."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from trackstar_frames.compare import COMPARED
from trackstar_frames.differences import differences
from trackstar_frames.errors import SnapshotError, one_of
from trackstar_frames.scan import scan
from trackstar_frames.snapshots import Snapshot, list_snapshots

__all__ = ["order_history"]

_KINDS = ("first_seen", "changed", "vanished", "seen_again")
_SCHEMA = pa.schema(
    [
        ("as_of", pa.timestamp("us", tz="UTC")),
        *((name, pa.string()) for name in ("snapshot", "kind", "column", "old", "new")),
    ]
)


def order_history(
    root: str | os.PathLike[str], order_id: str, *, connection: str | None = None
) -> pd.DataFrame:
    """Tell what became of one order, from snapshot to snapshot.

    Only this order's rows are read, and only those parts of the Parquet files that may hold
    them.

    Parameters
    ----------
    root
        The folder of all snapshots.
    order_id
        Trackstar's id of the order: ``orders.id``.
    connection
        Only snapshots of this connection. By default those of every connection of which one
        has the order, so that it does not vanish in another customer's.

    Returns
    -------
    pandas.DataFrame
        One row per event, in the order of time; fields as `diff_snapshots` sorts them.

        - ``as_of`` (datetime64[us, UTC]), ``snapshot`` (str): where it shows; it happened
          between that and the snapshot before.
        - ``kind`` (categorical): ``first_seen``; ``changed``, for each field that differs from
          the last snapshot that had the order; ``vanished``, where one does not have it, and
          the one before it has; ``seen_again``, where it is back, followed by its changes.
        - ``column``, ``old``, ``new`` (str): as in `diff_snapshots`; null unless changed.

    Raises
    ------
    SnapshotError
        If there are no snapshots, the order is in none of them, no snapshot is of the
        connection, or one is damaged.
    TypeError
        If `order_id` is not a string.

    Notes
    -----
    An order is also not in a snapshot whose filters it does not meet.

    Examples
    --------
    >>> import tempfile
    >>> from trackstar_frames.frames import OrderFrames
    >>> from trackstar_frames.snapshots import write_snapshot
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for status in ("open", "packed"):
    ...         frames = OrderFrames.from_json({"id": "a1", "status": status})
    ...         snapshot = write_snapshot(frames, root)
    ...     story = order_history(root, "a1")
    >>> story["kind"].tolist()
    ['first_seen', 'changed']
    >>> story.loc[1, ["column", "old", "new"]].tolist()
    ['status', 'open', 'packed']
    """
    if not isinstance(order_id, str):
        raise TypeError(f"order_id={order_id!r} is a {type(order_id).__name__}; pass a string")
    found = _chosen(root, connection)
    seen = [_Sight.of(row, order_id) for row in found.itertuples()]
    mine = {sight.connection for sight in seen if sight.there}
    if not mine:
        raise SnapshotError(
            f"the order {order_id!r} is in none of the {len(found):,} snapshots under {root}; "
            f"pass Trackstar's id, as in orders.id: neither order_number nor reference_id"
        )
    events = list(_events([sight for sight in seen if sight.connection in mine]))
    frame: pd.DataFrame = pa.Table.from_pylist(events, schema=_SCHEMA).to_pandas()
    frame["kind"] = pd.Categorical(frame["kind"], categories=list(_KINDS))
    return frame


@dataclass(frozen=True, slots=True)
class _Sight:
    """One snapshot's word on the order."""

    as_of: pd.Timestamp
    snapshot: str
    connection: str | None
    tables: dict[str, pa.Table]

    @classmethod
    def of(cls, row: Any, order_id: str) -> _Sight:
        """Read the order's rows from a snapshot, as it is listed."""
        files = Snapshot(row.name, Path(row.path), {}).files
        label = None if pd.isna(row.connection) else row.connection
        tables = {"orders": scan(files["orders"], "orders", order_id=order_id)}
        if len(tables["orders"]):
            tables |= {name: scan(files[name], name, order_id=order_id) for name in COMPARED[1:]}
        return cls(row.as_of, row.name, label, tables)

    @property
    def there(self) -> bool:
        """Whether the snapshot has the order."""
        return len(self.tables["orders"]) > 0

    def event(self, kind: str, **told: str) -> dict[str, Any]:
        """Write one row of the story."""
        return {"as_of": self.as_of, "snapshot": self.snapshot, "kind": kind, **told}


def _chosen(root: str | os.PathLike[str], connection: str | None) -> pd.DataFrame:
    """List the snapshots to look into."""
    found = list_snapshots(root)
    if found.empty:
        raise SnapshotError(f"there are no snapshots under {root}")
    if connection is None:
        return found
    mine = found[found["connection"] == connection]
    if mine.empty:
        labels = sorted(found["connection"].dropna().unique())
        raise SnapshotError(f"{one_of('connection', connection, labels)} under {root}")
    return mine


def _events(seen: Sequence[_Sight]) -> Iterator[dict[str, Any]]:
    """Tell the story of what snapshots saw, oldest first."""
    last: _Sight | None = None  # that had the order
    gone = False
    for sight in seen:
        if not sight.there:
            if last and not gone:
                yield sight.event("vanished")
            gone = True
            continue
        if last is None:
            yield sight.event("first_seen")
        else:
            if gone:
                yield sight.event("seen_again")
            yield from _changes(last, sight)
        last, gone = sight, False


def _changes(last: _Sight, sight: _Sight) -> Iterator[dict[str, Any]]:
    for row in differences(last.tables, sight.tables).to_pylist():
        yield sight.event("changed", column=row["column"], old=row["old"], new=row["new"])
