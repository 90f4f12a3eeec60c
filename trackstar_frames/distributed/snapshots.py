"""`read_snapshot_dask`: a snapshot, lazily, a partition for each of its parts."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
from dask.dataframe.dispatch import meta_nonempty
from dask.dataframe.utils import UNKNOWN_CATEGORIES

from trackstar_frames._text import card, in_brief, lines, plain, table, told, warn_of_failed
from trackstar_frames.schema import TABLES, Table
from trackstar_frames.snapshots import parquet
from trackstar_frames.snapshots.catalog import choose
from trackstar_frames.snapshots.manifest import File, Manifest
from trackstar_frames.tables.dtypes import DtypeBackend, check_backend, to_frame

__all__ = ["DaskFrames", "lazy_frame", "read_snapshot_dask", "to_partition"]


class DaskFrames:
    """The tables of a snapshot as lazy Dask dataframes.

    Partition i of every table is of the same orders, those of the snapshot's part i, so what
    belongs together can be joined partition by partition, without a shuffle. Columns and types
    are those of `OrderFrames`, but ``status`` is an unordered categorical, as in
    `fetch_orders_dask`.

    Attributes
    ----------
    orders, line_items, shipments, shipment_line_items, packages, package_line_items, problems
        As in `OrderFrames`; of a snapshot of several connections, ``connection`` is the first
        column.
    info
        What the fetch told: filters, connection, fetched_at and more.

    Examples
    --------
    >>> import tempfile
    >>> from trackstar_frames import OrderFrames, write_snapshot
    >>> with tempfile.TemporaryDirectory() as root:
    ...     _ = write_snapshot(OrderFrames.from_json({"id": "a1"}), root)
    ...     read_snapshot_dask(root).orders["id"].compute().tolist()
    ['a1']
    """

    orders: dd.DataFrame
    line_items: dd.DataFrame
    shipments: dd.DataFrame
    shipment_line_items: dd.DataFrame
    packages: dd.DataFrame
    package_line_items: dd.DataFrame
    problems: dd.DataFrame
    info: dict[str, Any]

    def __init__(self, tables: Mapping[str, dd.DataFrame], info: dict[str, Any]) -> None:
        vars(self).update(tables, info=info)

    def __repr__(self) -> str:
        fetched_at = plain(f"{self.info.get('fetched_at')}")
        return f"DaskFrames({self.orders.npartitions:,} partitions; fetched_at={fetched_at})"

    def _repr_html_(self) -> str:
        heads = ("table", "one row is", "partitions", "columns")
        frames = {name: getattr(self, name) for name in TABLES}
        rows = (
            (name, TABLES[name].grain, frame.npartitions, len(frame.columns))
            for name, frame in frames.items()
        )
        return card("DaskFrames, read when computed", table(heads, rows), lines(told(self.info)))


def read_snapshot_dask(
    root: str | os.PathLike[str],
    version: str | datetime = "latest",
    *,
    dtype_backend: DtypeBackend = None,
) -> DaskFrames:
    """Read one snapshot under a root as lazy Dask dataframes.

    Only what is computed is read, column by column, and only when it is; each file is checked
    against the snapshot's checksums then.

    Parameters
    ----------
    root
        The folder of all snapshots; the workers must see it under the same path.
    version
        A name, ``"latest"``, or a time (naive means UTC, a bare day all of it): the newest not
        after it.
    dtype_backend
        None for pandas' own types, ``"pyarrow"`` for Arrow's.

    Returns
    -------
    DaskFrames
        All tables, and their `info`.

    Raises
    ------
    SnapshotError
        If there is no such snapshot, naming those there are; from ``compute()``, if it is damaged,
        or gone.
    SettingsError
        If `dtype_backend` is neither.

    Examples
    --------
    >>> import tempfile
    >>> from trackstar_frames import OrderFrames, write_snapshot
    >>> frames = OrderFrames.from_json({"id": "a1", "line_items": [{"sku": "X", "quantity": 2}]})
    >>> with tempfile.TemporaryDirectory() as root:
    ...     _ = write_snapshot(frames, root)
    ...     lazy = read_snapshot_dask(root)
    ...     int(lazy.line_items["quantity"].sum().compute())
    2
    """
    check_backend(dtype_backend)
    folder = choose(root, version)
    said = parquet.read_manifest(folder)
    warn_of_failed(said.info)
    tables = {name: _lazy_table(name, folder, said, dtype_backend) for name in TABLES}
    return DaskFrames(tables, said.info)


def _lazy_table(
    name: str, folder: Path, said: Manifest, dtype_backend: DtypeBackend
) -> dd.DataFrame:
    is_labelled = said.parts[0].connection is not None
    return lazy_frame(
        f"read-{name.replace('_', '-')}",
        _read,
        [(place, part.files[name]) for place, part in enumerate(said.parts)],
        _described(name, is_labelled=is_labelled),
        dtype_backend,
        name=name,
        folder=folder,
        brief=in_brief(said.info),
        is_labelled=is_labelled,
    )


def _read(
    piece: tuple[int, File],
    *,
    name: str,
    folder: Path,
    brief: dict[str, Any],
    is_labelled: bool,
    dtype_backend: DtypeBackend,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Read one partition; on a worker. The engine names the columns that it needs."""
    place, known = piece
    described = _described(name, is_labelled=is_labelled)
    if columns is not None:
        by_name = {column.name: column for column in described.columns}
        described = replace(described, columns=tuple(by_name[column] for column in columns))
    rows = parquet.read_table(folder, place, name, known, columns)
    partition = to_partition(rows, described, dtype_backend)
    partition.attrs["trackstar"] = copy.deepcopy(brief)
    return partition


def _described(name: str, *, is_labelled: bool) -> Table:
    return TABLES[name].labelled if is_labelled else TABLES[name]


def lazy_frame(
    label: str,
    make: Callable[..., pd.DataFrame],
    pieces: Sequence[Any],
    described: Table,
    dtype_backend: DtypeBackend,
    **given: Any,
) -> dd.DataFrame:
    """Declare a frame with a partition for each piece.

    Parameters
    ----------
    label
        What its tasks are called.
    make
        Makes a partition of a piece, `dtype_backend` and what else is given, by `to_partition`.
    pieces
        At least one.
    described
        The schema's word on the columns.
    dtype_backend
        None for pandas' own types, ``"pyarrow"`` for Arrow's.
    **given
        The same for each partition.
    """
    declared = Declared(to_partition(described.schema.empty_table(), described, dtype_backend))
    for column in described.columns:
        if column.kind == "status":  # nobody knows yet which there are beside the usual ones
            known = declared[column.name].cat
            declared[column.name] = known.add_categories(UNKNOWN_CATEGORIES)
    # Else Dask makes text of every column of objects, and tags are tuples.
    with dask.config.set({"dataframe.convert-string": False}):
        frame: dd.DataFrame = dd.from_map(
            make,
            pieces,
            meta=declared,
            label=label,
            dtype_backend=dtype_backend,
            **given,
        )
    return frame


def to_partition(rows: pa.Table, described: Table, dtype_backend: DtypeBackend) -> pd.DataFrame:
    """Make a partition: the frame that `to_frame` makes, but a status has no order.

    Statuses unknown to this package are further categories, and not the same ones in each
    partition. pandas joins these categoricals if they are unordered, and not if they are ordered.
    """
    frame = to_frame(rows, described, dtype_backend)
    for column in described.columns:
        if column.kind == "status":
            frame[column.name] = frame[column.name].cat.as_unordered()
    return frame


class Declared(pd.DataFrame):
    """A frame of no rows that Dask knows a lazy one by.

    Its statuses have the usual categories, and Dask's mark that there may be more:
    ``.cat.known`` is False, and a status compares with one of the usual nonetheless.

    Where Dask needs values (to infer the schema of a Parquet file, for example), it makes them up,
    by `meta_nonempty`; in a column of lists it would put what no file can hold.
    """

    @property
    def _constructor(self) -> type[Declared]:
        return Declared


_OBJECTS: dict[str, Any] = {
    column.name: ["x"] if column.kind == "strings" else "x"
    for table in TABLES.values()
    for column in table.labelled.columns
}


@meta_nonempty.register(Declared)  # type: ignore[untyped-decorator]
def _with_rows(declared: Declared, index: Any = None) -> pd.DataFrame:  # noqa: ARG001  (as Dask's)
    """Make up two rows."""
    rows: pd.DataFrame = meta_nonempty(pd.DataFrame(declared))
    for name, kind in declared.dtypes.items():
        if kind == "object" and name in _OBJECTS:
            rows[name] = pd.Series([_OBJECTS[name]] * len(rows), rows.index, dtype=object)
    return rows
