"""The due date that each order had first, over all snapshots under a root."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.errors import SnapshotError
from trackstar_frames.measures._checks import string_series
from trackstar_frames.measures._time import Array
from trackstar_frames.schema import CONNECTION
from trackstar_frames.snapshots.catalog import Entry, corrected_times, find_snapshots
from trackstar_frames.snapshots.history import in_order_of_time
from trackstar_frames.snapshots.reader import scan

_DUE = "required_ship_date"
_COLUMNS = ("id", _DUE, "promised_as_of", "snapshot", f"latest_{_DUE}", "times_moved")


def first_promises(root: str | os.PathLike[str]) -> pd.DataFrame:
    """List the due date that each order had first, to judge it by what was promised at first.

    A due date that is moved once an order is late makes it punctual. Only ids and due dates are
    read, from every snapshot under the root; memory grows with the orders, and not with the
    snapshots.

    Parameters
    ----------
    root
        The folder of all snapshots.

    Returns
    -------
    pandas.DataFrame
        One row per order that any snapshot has, in the order in which they were seen, and keyed
        by id; where the snapshots are of several connections, by connection and id. The columns
        are named as those of ``orders``, so that they merge with them as they are.

        - ``connection`` (str): only where the snapshots are of several connections.
        - ``id`` (str): the order.
        - ``required_ship_date`` (datetime64[us, UTC]): the first due date that was seen; null if
          the order has never had one. Exactly midnight UTC stands for the whole day.
        - ``promised_as_of`` (datetime64[us, UTC]), ``snapshot`` (str): the snapshot in which it
          was seen first, and as of when that has the order; null without a due date.
        - ``latest_required_ship_date`` (datetime64[us, UTC]): that of the newest snapshot that
          has the order; null if it has none there.
        - ``times_moved`` (int64): how often it differed from the due date seen before, without
          the first. One that was removed and given again counts if it differs.

    Raises
    ------
    SnapshotError
        If there are no snapshots, or one is damaged.

    Notes
    -----
    What was promised before the first snapshot that has the order, or between two, is unknown:
    take snapshots often. The sequence of snapshots is that of `order_history`, whatever a clock
    said. Sync and export with ``pii="drop"`` keep due dates.

    Examples
    --------
    >>> import tempfile
    >>> from trackstar_frames.frames import OrderFrames
    >>> from trackstar_frames import ship_date_compliance, write_snapshot
    >>> shipments = [{"shipped_date": "2026-03-04T12:00:00Z"}]
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for day in ("2026-03-02", "2026-03-05"):
    ...         frames = OrderFrames.from_json({"id": "a1", "shipments": shipments,
    ...                                         "required_ship_date": f"{day}T00:00:00Z"})
    ...         snapshot = write_snapshot(frames, root)
    ...     promises = first_promises(root)
    >>> promises["times_moved"].tolist()
    [1]

    Judge by the latest due dates, and by the first:

    >>> orders, as_of = frames.orders, "2026-03-08"
    >>> ship_date_compliance(orders, as_of=as_of)["outcome"].tolist()
    ['on_time']
    >>> first = orders["id"].map(promises.set_index("id")["required_ship_date"])
    >>> ship_date_compliance(orders.assign(required_ship_date=first), as_of=as_of)[
    ...     "outcome"].tolist()
    ['late_shipped']
    """
    entries = find_snapshots(root)
    if not entries:
        raise SnapshotError(f"there are no snapshots under {root}")
    labels = sorted({label for entry in entries for label in entry.as_of_each if label})
    # Without any other, a label continues what the connection had before it got one.
    only = labels[0] if len(labels) == 1 else None
    seen = [
        _Sighting(as_of, entry.name, label or only, entry)
        for entry in entries
        for label, as_of in entry.as_of_each.items()
    ]
    promises: dict[str | None, _Promises] = defaultdict(_Promises)
    seen = in_order_of_time(seen, corrected_times(entries))
    for number, each in enumerate(seen):
        promises[each.connection].add(*_read(each), number)
    found = [
        promises[label].table(seen).assign(**{CONNECTION.name: label})
        for label in (*labels, None)
        if label in promises
    ]
    is_labelled = len(labels) > 1 or any(entry.info.connections for entry in entries)
    names = [*([CONNECTION.name] if is_labelled else []), *_COLUMNS]
    table = pd.concat(found, ignore_index=True)[names]
    if is_labelled:
        table[CONNECTION.name] = string_series(table[CONNECTION.name])
    return table


class _Sighting(NamedTuple):
    """What a snapshot has of one connection."""

    as_of: datetime
    snapshot: str
    connection: str | None
    entry: Entry


def _read(seen: _Sighting) -> tuple[pd.Index, Array]:
    """Read the ids of a connection's orders in a snapshot, and when these are due."""
    several = bool(seen.entry.info.connections)
    columns = ["id", _DUE, *([CONNECTION.name] if several else [])]
    files = seen.entry.files("orders", [seen.connection] if several else None)
    orders = scan(files, "orders", columns=columns)
    if several:
        orders = orders.filter(pc.equal(orders[CONNECTION.name], seen.connection))
    orders = orders.filter(orders["id"].is_valid())
    due = orders[_DUE].cast(pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us"))
    return pd.Index(orders["id"].to_pandas()), due.to_numpy()


class _Promises:
    """The due dates of one connection's orders, over its snapshots so far."""

    def __init__(self) -> None:
        self._ids: pd.Index = pd.Index([], dtype=object)
        self._first = self._known = self._latest = np.empty(0, dtype="M8[us]")
        self._moved = self._seen = np.empty(0, dtype=np.int64)

    def add(self, ids: pd.Index, due: Array, number: int) -> None:
        """Compare what the snapshot of this number has with the ones before."""
        self._extend(ids[self._ids.get_indexer(ids) < 0])
        rows = self._ids.get_indexer(ids)
        has_due, known = ~np.isnat(due), self._known[rows]
        is_first = has_due & np.isnat(known)
        self._first[rows[is_first]] = due[is_first]
        self._seen[rows[is_first]] = number
        self._moved[rows[has_due & ~is_first & (due != known)]] += 1
        self._known[rows[has_due]] = due[has_due]
        self._latest[rows] = due

    def _extend(self, ids: pd.Index) -> None:
        self._ids = self._ids.append(ids)
        never = np.full(len(ids), np.datetime64("NaT", "us"))
        self._first, self._known, self._latest = (
            np.append(each, never) for each in (self._first, self._known, self._latest)
        )
        self._moved = np.append(self._moved, np.zeros(len(ids), dtype=np.int64))
        self._seen = np.append(self._seen, np.full(len(ids), -1))

    def table(self, seen: Sequence[_Sighting]) -> pd.DataFrame:
        """Return one row per order."""
        # An order without any due date has the number -1, which picks the last of these.
        names = np.array([*(each.snapshot for each in seen), None], dtype=object)
        moments = [np.datetime64(each.as_of.replace(tzinfo=None), "us") for each in seen]
        as_of = np.array([*moments, "NaT"], dtype="M8[us]")
        columns = {
            "id": string_series(self._ids),
            _DUE: pd.DatetimeIndex(self._first).tz_localize("UTC"),
            "promised_as_of": pd.DatetimeIndex(as_of[self._seen]).tz_localize("UTC"),
            "snapshot": string_series(names[self._seen]),
            f"latest_{_DUE}": pd.DatetimeIndex(self._latest).tz_localize("UTC"),
            "times_moved": self._moved,
        }
        return pd.DataFrame(columns)
