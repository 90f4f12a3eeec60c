"""The story of one order, over all snapshots under a root."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from trackstar_frames.errors import SnapshotError, one_of
from trackstar_frames.schema import CHILD_TABLES, CONNECTION, TABLES
from trackstar_frames.snapshots.catalog import find_snapshots, written_ahead
from trackstar_frames.snapshots.diff import scan
from trackstar_frames.snapshots.manifest import Manifest, file_name
from trackstar_frames.tables.compare import differences
from trackstar_frames.tables.connections import as_of_each, split_by_connection

__all__ = ["order_history"]


_KINDS = ("first_seen", "changed", "vanished", "seen_again")
_SCHEMA = pa.schema(
    [
        CONNECTION.field,
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
        Only what is of this connection, alone in a snapshot or among several. By default every
        connection that has an order of this id; in others, it does not vanish.

    Returns
    -------
    pandas.DataFrame
        One row per event: the story of each connection that has the order, one after the other
        by label, each in the order of time; fields as `diff_snapshots` sorts them.

        - ``connection`` (str): whose order it is. Null if its snapshots have no label; if those
          with one are all of one connection, they go on the story of those without.
        - ``as_of`` (datetime64[us, UTC]), ``snapshot`` (str): where it shows, and as of when
          the connection is there; it happened between that and the snapshot before.
        - ``kind`` (categorical): ``first_seen``; ``changed``, for each field that differs from
          the last snapshot that had the order; ``vanished``, where one does not have it, and
          the one before it has; ``seen_again``, where it is back, followed by its changes.
        - ``column``, ``old``, ``new`` (str): as in `diff_snapshots`; null unless changed.

    Raises
    ------
    SnapshotError
        If there are no snapshots, the order is in none of them, none has the connection, or
        one is damaged.
    TypeError
        If `order_id` is not a string.

    Notes
    -----
    An order is also not in a snapshot whose filters it does not meet. A snapshot that lacks a
    connection, as one that had failed, tells nothing of its orders.

    Examples
    --------
    >>> import tempfile
    >>> from trackstar_frames.frames import OrderFrames
    >>> from trackstar_frames import write_snapshot
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
    seen = _sights(root, order_id, connection)
    if not any(sight.there for sight in seen):
        raise SnapshotError(
            f"the order {order_id!r} is in none of the {len({each.snapshot for each in seen}):,} "
            f"snapshots under {root}; pass Trackstar's id, as in orders.id: neither order_number "
            f"nor reference_id"
        )
    events = [
        {**event, CONNECTION.name: label}
        for label, story in _stories(seen)
        for event in _events(story)
    ]
    frame: pd.DataFrame = pa.Table.from_pylist(events, schema=_SCHEMA).to_pandas()
    frame["kind"] = pd.Categorical(frame["kind"], categories=list(_KINDS))
    return frame


@dataclass(frozen=True, slots=True)
class _Sight:
    """One snapshot's word on the order, as one connection has it."""

    as_of: datetime
    snapshot: str
    connection: str | None
    tables: dict[str, pa.Table]

    @property
    def there(self) -> bool:
        """Whether the snapshot has the order."""
        return len(self.tables["orders"]) > 0

    def event(self, kind: str, **told: str) -> dict[str, Any]:
        """Write one row of the story."""
        return {"as_of": self.as_of, "snapshot": self.snapshot, "kind": kind, **told}


def _sights(root: str | os.PathLike[str], order_id: str, connection: str | None) -> list[_Sight]:
    """Look for the order in the snapshots, in time: in each connection there, or in one."""
    found = find_snapshots(root)
    if not found:
        raise SnapshotError(f"there are no snapshots under {root}")
    seen = [each for path, said in found for each in _look(path, said, order_id, connection)]
    if not seen:
        labels = {each for _, said in found for each in as_of_each(said.info, said.written_at)}
        raise SnapshotError(_unknown(connection, sorted(filter(None, labels)), root))
    return _in_time(seen, {path.name for path in written_ahead(found)})


def _in_time(seen: Sequence[_Sight], ahead: Container[str]) -> list[_Sight]:
    """Sort by as of when they are; where a clock was ahead, what was there before tells it."""
    last: dict[str | None, datetime] = {}
    moments = []
    for sight in seen:
        known = last.get(sight.connection, datetime.min.replace(tzinfo=UTC))
        last[sight.connection] = known if sight.snapshot in ahead else sight.as_of
        moments.append(last[sight.connection])
    return [seen[n] for n in sorted(range(len(seen)), key=moments.__getitem__)]


def _unknown(connection: str | None, labels: Sequence[str], root: object) -> str:
    if labels:
        return f"{one_of('connection', connection, labels)} under {root}"
    return (
        f"connection={connection!r}: no snapshot under {root} has a label of its connection; "
        f"leave it out"
    )


def _look(path: Path, said: Manifest, order_id: str, connection: str | None) -> Iterator[_Sight]:
    """Read the order's rows from one snapshot, as each of its connections has them."""
    as_of = as_of_each(said.info, said.written_at)
    labels = [label for label in as_of if connection in (None, label)]
    for label, tables in _orders(path, said, order_id, labels):
        if len(tables["orders"]):
            for name in CHILD_TABLES:
                tables[name] = scan(_files(path, said, name, [label]), name, order_id=order_id)
        yield _Sight(as_of[label], path.name, label, tables)


def _orders(
    path: Path, said: Manifest, order_id: str, labels: Sequence[str | None]
) -> Iterable[tuple[str | None, dict[str, pa.Table]]]:
    """Look for the order in all these connections at once, as most do not have it."""
    if not labels:
        return []
    files = _files(path, said, "orders", labels)
    if "connections" not in said.info:
        return [(labels[0], {"orders": scan(files, "orders", order_id=order_id)})]
    columns = TABLES["orders"].labelled.schema.names
    rows = scan(files, "orders", columns=columns, order_id=order_id)
    return split_by_connection({"orders": rows}, filter(None, labels)).items()


def _files(path: Path, said: Manifest, name: str, labels: Container[str | None]) -> list[Path]:
    """List a table's files of some connections; in a snapshot of one, no part has a label."""
    return [
        path / name / file_name(place)
        for place, part in enumerate(said.parts)
        if part.connection is None or part.connection in labels
    ]


def _stories(seen: Sequence[_Sight]) -> Iterator[tuple[str | None, list[_Sight]]]:
    """Gather what was seen of each connection that has the order; without a label, last."""
    mine = {sight.connection for sight in seen if sight.there}
    labels = sorted(filter(None, mine))
    if len(labels) == 1:
        # A connection that got its label later: its story goes on.
        yield labels[0], [sight for sight in seen if sight.connection in mine]
        return
    for label in (*labels, *({None} & mine)):
        yield label, [sight for sight in seen if sight.connection == label]


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
