"""What happened between two snapshots."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import pandas as pd
import pyarrow as pa

from trackstar_frames._text import in_brief, warn_of_failed
from trackstar_frames.errors import SnapshotError
from trackstar_frames.frames import OrderFrames
from trackstar_frames.measures import moved_due_dates, transitions
from trackstar_frames.measures._partitions import is_partitioned
from trackstar_frames.measures.transitions import as_of_pair
from trackstar_frames.schema import CONNECTION, TABLES, table_for
from trackstar_frames.snapshots.catalog import list_snapshots
from trackstar_frames.snapshots.manifest import reading
from trackstar_frames.snapshots.snapshot import Snapshot
from trackstar_frames.tables.compare import KINDS, differences, differences_by_connection
from trackstar_frames.tables.connections import are_labelled
from trackstar_frames.tables.dtypes import to_frame

__all__ = ["diff_snapshots", "due_date_changes", "scan", "status_transitions"]


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
        - ``column`` (str): a column of `orders`; or the name of a child table, where an
          order's rows there differ in any value or in number; null if the order is new or
          has vanished.
        - ``old``, ``new`` (str): text as it is; moments in ISO 8601, UTC; numbers, truth values
          and lists as JSON; null as null. Of a child table all rows of the order as a JSON
          list of objects, by key, without the order's id and what is null in them. Both are
          null if the order is new or has vanished.
        - ``kind`` (categorical): ``new`` (only the newer has the order), ``vanished`` (only the
          older) or ``changed``.

        ``attrs["trackstar"]`` holds ``old_as_of`` and ``new_as_of``: ISO 8601, or None.

    Raises
    ------
    TypeError, ValueError
        If a side is none of these, only one is of several connections, or the older is newer
        than the newer.
    SnapshotError
        If a snapshot cannot be read.

    Notes
    -----
    An order vanishes when the source deletes it, and also when it no longer meets the filters
    of the newer fetch: compare snapshots of the same filters. A synced snapshot keeps what the
    source deleted. Of a connection that only one side has, all orders are new or vanished; if it
    is missing because it had failed, reading the snapshot warns of it.

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
    was, now = _open("old", old), _open("new", new)
    told = as_of_pair(was.info["fetched_at"], now.info["fetched_at"])
    table = _differences(was, now)
    frame: pd.DataFrame = table.to_pandas()
    frame["kind"] = pd.Categorical(frame["kind"], categories=list(KINDS))
    frame.attrs["trackstar"] = told
    return frame


def status_transitions(old: _Side | pd.DataFrame, new: _Side | pd.DataFrame) -> pd.DataFrame:
    """Count orders by the status they had in one snapshot, and the one they have in a later.

    States that an order passed through between the two snapshots are unobservable: open in the
    one and fulfilled in the other is one row, ``forward``, whatever lies between. Take snapshots
    as often as the answer must be fine.

    Parameters
    ----------
    old, new
        The older and the newer: each a `Snapshot`, an `OrderFrames`, the path of a snapshot,
        or a frame of orders as `fetch_orders_df` gives it.

    Returns
    -------
    pandas.DataFrame
        One row per pair of statuses that any order has, keyed by (from_status, to_status); in
        lifecycle order, nulls last.

        - ``from_status``, ``to_status`` (ordered categorical): statuses unknown to this
          package stand behind the others, ``(none)`` for orders without a status last. Null
          where the order was not yet, or is no longer, in the snapshot.
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
        If a side is none of these, lacks a column, has an order twice, or the older is newer
        than the newer.
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
    return transitions(_orders("old", old, columns), _orders("new", new, columns))


def due_date_changes(old: _Side | pd.DataFrame, new: _Side | pd.DataFrame) -> pd.DataFrame:
    """List the orders of which the required ship date moved between two snapshots.

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
        If a side is none of these, lacks a column, has an order twice, or the older is newer
        than the newer.
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
    return moved_due_dates(_orders("old", old, columns), _orders("new", new, columns))


def _differences(was: OrderFrames, now: OrderFrames) -> pa.Table:
    """Compare two sides of one connection, or two of several."""
    old, new = was.to_arrow(), now.to_arrow()
    several = {name: are_labelled(side) for name, side in (("old", old), ("new", new))}
    if all(several.values()):
        return differences_by_connection(old, new)
    if not any(several.values()):
        return differences(old, new)
    labelled, other = sorted(several, key=lambda name: not several[name])
    raise ValueError(
        f"{labelled} is of several connections, and {other} of one: an id means an order of its "
        f"connection only; pass two snapshots of several connections, or two of one"
    )


def _open(name: str, side: object) -> OrderFrames:
    """Read a side as a whole."""
    if isinstance(side, OrderFrames):
        return side
    if isinstance(side, Snapshot):
        return side.read()
    if isinstance(side, str | os.PathLike):
        return _read(name, side)
    raise TypeError(
        f"{name} is a {type(side).__name__}; pass a Snapshot, OrderFrames, or the path of a "
        f"snapshot"
    )


def _read(name: str, path: str | os.PathLike[str]) -> OrderFrames:
    below = list_snapshots(path)
    if below.empty:
        return OrderFrames.from_parquet(path)
    raise SnapshotError(
        f"{name}={str(path)!r} is a folder of snapshots; pass the path of one of them, such as "
        f"{below['path'].iloc[-1]!r}"
    )


def _orders(name: str, side: object, columns: Sequence[str]) -> pd.DataFrame:
    """Read some columns of a side's orders; of a snapshot, no others are read from disk."""
    if isinstance(side, pd.DataFrame) or is_partitioned(side):
        return cast("pd.DataFrame", side)  # of Dask, the measure refuses it, and says what to do
    if isinstance(side, Snapshot):
        warn_of_failed(side.info)
        read = [*_label(side.info), *columns]
        with reading(side.path, f"{side.path} is damaged"):
            return _frame(scan(side.files["orders"], "orders", columns=read), side.info)
    frames = _open(name, side)
    read = [*_label(frames.info), *columns]
    return _frame(frames.to_arrow()["orders"].select(read), frames.info)


def _label(info: Mapping[str, Any]) -> list[str]:
    """Name the column that tells of which connection orders are, if they are of several."""
    return [CONNECTION.name] if "connections" in info else []


def _frame(orders: pa.Table, info: dict[str, Any]) -> pd.DataFrame:
    table = table_for("orders", orders.column_names)
    read = tuple(column for column in table.columns if column.name in orders.column_names)
    frame = to_frame(orders.select([column.name for column in read]), replace(table, columns=read))
    frame.attrs["trackstar"] = in_brief(info)
    return frame


def scan(
    files: Sequence[Path],
    name: str,
    *,
    columns: Sequence[str] | None = None,
    order_id: str | None = None,
) -> pa.Table:
    """Read a table, or a part of it.

    Parameters
    ----------
    files
        Its Parquet files, in the order of their rows.
    name
        What the schema calls it.
    columns
        Only these, the label of the connection among them if the files are of several; None
        for all but the label.
    order_id
        Only this order's rows; None for all. Parts of files whose statistics exclude it are
        not read.

    Returns
    -------
    pyarrow.Table
        With the types of the schema; a column that the files do not have is null.

    Raises
    ------
    SnapshotError
        If a file is missing or damaged, or the snapshot was removed meanwhile.
    """
    import pyarrow.dataset as ds  # noqa: PLC0415  (slow, and only few calls read so)

    mine = None if order_id is None else ds.field(TABLES[name].key[0]) == order_id
    if not files:
        raise SnapshotError(f"the snapshot is damaged: it has no files of {name}")
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    parquet = ds.ParquetFileFormat(default_fragment_scan_options=options)
    where = files[0].parent
    with reading(where.parent, f"{where} is damaged"):
        schema = table_for(name, columns or ()).schema
        dataset = ds.dataset([str(file) for file in files], schema=schema, format=parquet)
        return dataset.to_table(columns=None if columns is None else list(columns), filter=mine)
