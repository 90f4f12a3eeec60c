"""Compare two snapshots: their fields, statuses and due dates."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeAlias, cast

import pandas as pd
import pyarrow as pa

from trackstar_frames.errors import SnapshotError
from trackstar_frames.frames import OrderFrames
from trackstar_frames.info import brief, warn_of_failed
from trackstar_frames.measures import moved_due_dates, transitions
from trackstar_frames.measures._partitions import is_partitioned
from trackstar_frames.measures.transitions import as_of_pair
from trackstar_frames.schema import CONNECTION, table_for
from trackstar_frames.snapshots.catalog import Entry, list_snapshots
from trackstar_frames.snapshots.reader import scan
from trackstar_frames.snapshots.snapshot import Snapshot
from trackstar_frames.tables.assemble import are_labelled
from trackstar_frames.tables.compare import KINDS, differences, differences_by_connection
from trackstar_frames.tables.dtypes import to_frame

_Side: TypeAlias = Snapshot | OrderFrames | str | os.PathLike[str]


def diff_snapshots(old: _Side, new: _Side) -> pd.DataFrame:
    """List what differs between two snapshots, field by field.

    Parameters
    ----------
    old, new
        The older and the newer: each a `Snapshot`, an `OrderFrames`, or the path of a
        snapshot.

    Returns
    -------
    pandas.DataFrame
        One row per field that changed, keyed by (order_id, column), and one per order that
        only one side has. Sorted by ``order_id``, then by column as `data_dictionary` lists
        them, child tables last.

        - ``connection`` (str): only of sides of several connections, where it comes first, in
          the key and in sorting too: the same id in two connections is two orders.
        - ``order_id`` (str).
        - ``column`` (str): a column of `orders`; or the name of a child table, if the order's
          rows there differ in any value or in number; null if the order is new or has vanished.
        - ``old``, ``new`` (str): text as it is; moments in ISO 8601, UTC; numbers, booleans and
          lists as JSON; null as null. For a child table, all rows of the order as a JSON list
          of objects, sorted by key, without the order's id and without nulls. Both are null if
          the order is new or has vanished.
        - ``kind`` (categorical): ``new`` (only the newer has the order), ``vanished`` (only the
          older) or ``changed``.

        ``attrs["trackstar"]`` holds ``old_as_of`` and ``new_as_of``: ISO 8601, or None.

    Raises
    ------
    TypeError, ValueError
        If a side is invalid, only one is of several connections, or `old` is newer than `new`.
    SnapshotError
        If a snapshot cannot be read.

    Notes
    -----
    An order vanishes when the source deletes it, and also when it no longer matches the filters
    of the newer fetch: compare snapshots of the same filters. A synced snapshot keeps what the
    source deleted. If only one side has a connection, all its orders are new or vanished; if the
    connection is missing because it had failed, reading the snapshot warns about it.

    Examples
    --------
    >>> was = OrderFrames.from_json([{"id": "a1", "status": "open"}, {"id": "b2"}])
    >>> now = OrderFrames.from_json([{"id": "a1", "status": "packed", "total_price": 5}])
    >>> diff = diff_snapshots(was, now)
    >>> diff[["order_id", "kind"]]
      order_id      kind
    0       a1   changed
    1       a1   changed
    2       b2  vanished
    >>> diff.loc[diff["column"] == "status", ["old", "new"]]
        old     new
    0  open  packed
    """
    older, newer = _read_whole("old", old), _read_whole("new", new)
    times = as_of_pair(older.info.fetched_at, newer.info.fetched_at)
    frame: pd.DataFrame = _differences(older, newer).to_pandas()
    frame["kind"] = pd.Categorical(frame["kind"], categories=list(KINDS))
    frame.attrs["trackstar"] = times
    return frame


def status_transitions(old: _Side | pd.DataFrame, new: _Side | pd.DataFrame) -> pd.DataFrame:
    """Count orders by their status in an older snapshot and in a newer one.

    The statuses that an order had between the two snapshots are unknown: from open to fulfilled
    is one row, ``forward``. For more detail, write snapshots more often.

    Parameters
    ----------
    old, new
        The older and the newer: each a `Snapshot`, an `OrderFrames`, the path of a snapshot,
        or a frame of orders as `fetch_orders_df` gives it.

    Returns
    -------
    pandas.DataFrame
        One row per pair of statuses that any order has, keyed by (from_status, to_status);
        sorted by lifecycle, nulls last.

        - ``from_status``, ``to_status`` (ordered categorical): statuses unknown to this
          package come after the others, ``(none)`` for orders without a status last. Null
          if the snapshot does not have the order.
        - ``kind`` (categorical): ``forward`` and ``backward`` among the seven states from open
          to fulfilled; ``stuck`` in the same state; ``settled``, which is that for fulfilled
          and cancelled; ``left_path``, from one of the seven to another state (backordered,
          exception, cancelled, other, unknown ones); ``returned``, back from there; ``off_path``
          among those others; ``new``; ``vanished``.
        - ``orders`` (int64): how many.
        - ``share`` (float64): of the orders that were in from_status, vanished ones included;
          null for new ones.
        - ``median_age``, ``max_age`` (timedelta64[us]): of these orders, at the newer snapshot's
          as-of since their created_date; null where either is unknown.

        ``attrs["trackstar"]`` holds ``old_as_of`` and ``new_as_of``: ISO 8601, or None.

    Raises
    ------
    TypeError, ValueError
        If a side is invalid, lacks a column or has an order twice, or `old` is newer than `new`.
    SnapshotError
        If a snapshot cannot be read.

    Examples
    --------
    >>> was = OrderFrames.from_json([{"id": "a1", "status": "open"}, {"id": "b2"}])
    >>> now = OrderFrames.from_json([{"id": "a1", "status": "packed"}, {"id": "c3"}])
    >>> status_transitions(was, now)[["from_status", "to_status", "kind", "orders", "share"]]
      from_status to_status      kind  orders  share
    0        open    packed   forward       1    1.0
    1      (none)       NaN  vanished       1    1.0
    2         NaN    (none)       new       1    NaN
    """
    columns = ["id", "status", "created_date"]
    return transitions(_read_orders("old", old, columns), _read_orders("new", new, columns))


def due_date_changes(old: _Side | pd.DataFrame, new: _Side | pd.DataFrame) -> pd.DataFrame:
    """List the orders whose required ship date differs between two snapshots.

    Parameters
    ----------
    old, new
        As in `status_transitions`.

    Returns
    -------
    pandas.DataFrame
        One row per order that both have and whose ``required_ship_date`` differs, keyed and
        sorted by order_id; of several connections, by connection and order_id.

        - ``connection`` (str): only where the orders are of several.
        - ``order_id`` (str), and ``status`` (ordered categorical) in the newer.
        - ``old_due``, ``new_due`` (datetime64[us, UTC]): null without a due date. Exactly midnight
          UTC stands for the whole day.
        - ``moved`` (timedelta64[us]): new_due - old_due; null where either is.
        - ``kind`` (categorical): ``later``, ``earlier``, ``set`` or ``removed``.

        ``attrs["trackstar"]`` holds ``old_as_of`` and ``new_as_of``: ISO 8601, or None.

    Raises
    ------
    TypeError, ValueError
        If a side is invalid, lacks a column or has an order twice, or `old` is newer than `new`.
    SnapshotError
        If a snapshot cannot be read.

    Examples
    --------
    >>> was, now = (
    ...     OrderFrames.from_json({"id": "a1", "required_ship_date": f"2026-03-0{day}T00:00:00Z"})
    ...     for day in (2, 5)
    ... )
    >>> due_date_changes(was, now)[["order_id", "moved", "kind"]]
      order_id  moved   kind
    0       a1 3 days  later
    """
    columns = ["id", "status", "required_ship_date"]
    return moved_due_dates(_read_orders("old", old, columns), _read_orders("new", new, columns))


def _differences(older: OrderFrames, newer: OrderFrames) -> pa.Table:
    old, new = older.to_arrow(), newer.to_arrow()
    is_labelled = {"old": are_labelled(old), "new": are_labelled(new)}
    if all(is_labelled.values()):
        return differences_by_connection(old, new)
    if not any(is_labelled.values()):
        return differences(old, new)
    labelled, other = sorted(is_labelled, key=lambda name: not is_labelled[name])
    raise ValueError(
        f"{labelled} is of several connections, and {other} of one: an id means an order of its "
        f"connection only; pass two snapshots of several connections, or two of one"
    )


def _read_whole(name: str, side: object) -> OrderFrames:
    """Return a side, named `name` in the call, as frames."""
    if isinstance(side, OrderFrames):
        return side
    if isinstance(side, Snapshot):
        return side.read()
    if isinstance(side, str | os.PathLike):
        below = list_snapshots(side)
        if below.empty:
            return OrderFrames.from_parquet(side)
        raise SnapshotError(
            f"{name}={str(side)!r} is a folder of snapshots; pass the path of one of them, such as "
            f"{below['path'].iloc[-1]!r}"
        )
    raise TypeError(
        f"{name} is a {type(side).__name__}; pass a Snapshot, OrderFrames, or the path of a "
        f"snapshot"
    )


def _read_orders(name: str, side: object, columns: Sequence[str]) -> pd.DataFrame:
    """Read some columns of a side's orders; of a snapshot, no others are read from disk."""
    if isinstance(side, pd.DataFrame) or is_partitioned(side):
        return cast("pd.DataFrame", side)  # the measure refuses Dask's, and says what to do
    source = side if isinstance(side, Snapshot) else _read_whole(name, side)
    several = source.info.connections
    names = [CONNECTION.name, *columns] if several else columns
    if isinstance(source, Snapshot):
        warn_of_failed(source.info)
        orders = scan(Entry.at(source.path).files("orders"), "orders", columns=names)
    else:
        orders = source.to_arrow()["orders"].select(names)
    frame = to_frame(orders, table_for("orders", names, labelled=several))
    frame.attrs["trackstar"] = brief(source.info)
    return frame
