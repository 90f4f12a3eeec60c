"""The due date that each order had first, over all snapshots under a root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime

import pandas as pd
import pyarrow as pa

from trackstar_frames.errors import SnapshotError
from trackstar_frames.schema import CONNECTION, TABLES
from trackstar_frames.snapshots.catalog import Entry, corrected_times, find_snapshots
from trackstar_frames.snapshots.reader import scan, table_files

_DUE = "required_ship_date"


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
    several = _have_several_connections(entries)
    found: pd.DataFrame | None = None
    for as_of, name, seen in _sightings(entries):
        keyed = seen.set_index([*([CONNECTION.name] if several else []), "id"])[_DUE]
        found = _add(found, keyed, as_of, name)
    assert found is not None  # noqa: S101  (there are snapshots)
    return found.reset_index()


def _have_several_connections(entries: list[Entry]) -> bool:
    labels = {label for entry in entries for label in entry.as_of_each}
    return any(entry.info.connections for entry in entries) or len(labels - {None}) > 1
