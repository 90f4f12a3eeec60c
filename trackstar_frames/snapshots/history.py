"""What happened to one order, over all snapshots under a root."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import pandas as pd
import pyarrow as pa

from trackstar_frames.errors import SnapshotError, one_of
from trackstar_frames.schema import CHILD_TABLES, CONNECTION, table_for
from trackstar_frames.snapshots.catalog import Entry, corrected_times, find_snapshots
from trackstar_frames.snapshots.reader import scan
from trackstar_frames.tables.assemble import split_by_connection
from trackstar_frames.tables.compare import differences

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
    """List what happened to one order, from snapshot to snapshot.

    Only this order's rows are read, and only those row groups of the Parquet files that may have
    them.

    Parameters
    ----------
    root
        The folder of all snapshots.
    order_id
        Trackstar's id of the order: ``orders.id``.
    connection
        Only this connection, whether a snapshot is of it alone or of several. By default every
        connection that has an order of this id; the order does not vanish in the others.

    Returns
    -------
    pandas.DataFrame
        One row per event: the events of each connection that has the order, one connection after
        the other by label, each in the order of time; fields as `diff_snapshots` sorts them.

        - ``connection`` (str): the connection that has the order. Null if its snapshots have no
          label; if those with a label are all of one connection, they continue the events of
          those without.
        - ``as_of`` (datetime64[us, UTC]), ``snapshot`` (str): the snapshot that shows the event,
          and as of when it has the connection; it happened between that and the snapshot before.
        - ``kind`` (categorical): ``first_seen``; ``changed``, for each field that differs from
          the last snapshot that had the order; ``vanished``, in a snapshot without the order
          after one that has it; ``seen_again``, where it is back, followed by its changes.
        - ``column``, ``old``, ``new`` (str): as in `diff_snapshots`; null unless changed.

    Raises
    ------
    SnapshotError
        If there are no snapshots, none has the order or the connection, or one is damaged.
    TypeError
        If `order_id` is not a string.

    Notes
    -----
    An order is also missing in a snapshot whose filters it does not match. A snapshot without a
    connection, such as one that had failed, says nothing about its orders.

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
    seen = _sightings(root, order_id, connection)
    if not any(each.has_order for each in seen):
        raise SnapshotError(
            f"the order {order_id!r} is in none of the {len({each.snapshot for each in seen}):,} "
            f"snapshots under {root}; pass Trackstar's id, as in orders.id: neither order_number "
            f"nor reference_id"
        )
    events = [
        {**event, CONNECTION.name: label}
        for label, sightings in _by_label(seen)
        for event in _events(sightings)
    ]
    frame: pd.DataFrame = pa.Table.from_pylist(events, schema=_SCHEMA).to_pandas()
    frame["kind"] = pd.Categorical(frame["kind"], categories=list(_KINDS))
    return frame


@dataclass(frozen=True, slots=True)
class _Sighting:
    """The rows of the order in one snapshot, of one connection; none if it is not there."""

    as_of: datetime
    snapshot: str
    connection: str | None
    tables: dict[str, pa.Table]

    @property
    def has_order(self) -> bool:
        """Whether the snapshot has the order."""
        return len(self.tables["orders"]) > 0

    def event(self, kind: str, **more: str) -> dict[str, Any]:
        """Return one row of the result."""
        return {"as_of": self.as_of, "snapshot": self.snapshot, "kind": kind, **more}


def _sightings(
    root: str | os.PathLike[str], order_id: str, connection: str | None
) -> list[_Sighting]:
    """Look for the order in all snapshots that have the connection, in the order of time."""
    entries = find_snapshots(root)
    if not entries:
        raise SnapshotError(f"there are no snapshots under {root}")
    seen = [each for entry in entries for each in _look(entry, order_id, connection)]
    if not seen:
        labels = {label for entry in entries for label in entry.as_of_each if label}
        if labels:
            raise SnapshotError(f"{one_of('connection', connection, sorted(labels))} under {root}")
        raise SnapshotError(
            f"connection={connection!r}: no snapshot under {root} has a label of its connection; "
            f"leave it out"
        )
    return in_order_of_time(seen, corrected_times(entries))


class Seen(Protocol):
    """What a snapshot shows of one connection."""

    @property
    def as_of(self) -> datetime:
        """As of when it has the connection."""

    @property
    def snapshot(self) -> str:
        """Its name."""

    @property
    def connection(self) -> str | None:
        """The label of the connection."""


AnySeen = TypeVar("AnySeen", bound=Seen)


def in_order_of_time(seen: Sequence[AnySeen], ahead: Container[str]) -> list[AnySeen]:
    """Sort by time; where a clock was ahead, by that of the connection's snapshot before."""
    last: dict[str | None, datetime] = {}
    times = []
    for each in seen:
        known = last.get(each.connection, datetime.min.replace(tzinfo=UTC))
        last[each.connection] = known if each.snapshot in ahead else each.as_of
        times.append(last[each.connection])
    return [seen[number] for number in sorted(range(len(seen)), key=times.__getitem__)]


def _look(entry: Entry, order_id: str, connection: str | None) -> Iterator[_Sighting]:
    """Read the order's rows from one snapshot, of each of its connections."""
    as_of = entry.as_of_each
    labels = [label for label in as_of if connection in (None, label)]
    for label, tables in _find_orders(entry, order_id, labels):
        if len(tables["orders"]):
            for name in CHILD_TABLES:
                tables[name] = scan(entry.files(name, [label]), name, order_id=order_id)
        yield _Sighting(as_of[label], entry.name, label, tables)


def _find_orders(
    entry: Entry, order_id: str, labels: Sequence[str | None]
) -> Iterable[tuple[str | None, dict[str, pa.Table]]]:
    """Look for the order in all these connections at once, as most do not have it."""
    if not labels:
        return []
    files = entry.files("orders", labels)
    names = table_for("orders", labelled=entry.info.connections).schema.names
    tables = {"orders": scan(files, "orders", columns=names, order_id=order_id)}
    if not entry.info.connections:
        return [(labels[0], tables)]
    return split_by_connection(tables, filter(None, labels)).items()


def _by_label(seen: Sequence[_Sighting]) -> Iterator[tuple[str | None, list[_Sighting]]]:
    """Group by the connections that have the order; the one without a label is last."""
    with_order = {each.connection for each in seen if each.has_order}
    labels = sorted(filter(None, with_order))
    if len(labels) == 1:
        # The connection may have got its label later.
        yield labels[0], [each for each in seen if each.connection in with_order]
        return
    for label in (*labels, *({None} & with_order)):
        yield label, [each for each in seen if each.connection == label]


def _events(sightings: Sequence[_Sighting]) -> Iterator[dict[str, Any]]:
    last: _Sighting | None = None  # that had the order
    is_gone = False
    for each in sightings:
        if not each.has_order:
            if last and not is_gone:
                yield each.event("vanished")
            is_gone = True
            continue
        if last is None:
            yield each.event("first_seen")
        else:
            if is_gone:
                yield each.event("seen_again")
            for row in differences(last.tables, each.tables).to_pylist():
                yield each.event("changed", column=row["column"], old=row["old"], new=row["new"])
        last, is_gone = each, False
