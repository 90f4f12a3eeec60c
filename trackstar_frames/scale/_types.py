"""Lazy frames of declared types: those of pandas, whatever an engine would make of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask
import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
from dask.dataframe.dispatch import meta_nonempty
from dask.dataframe.utils import UNKNOWN_CATEGORIES

from trackstar_frames.schema import TABLES, Table
from trackstar_frames.tables.dtypes import DtypeBackend, to_frame

__all__ = ["lazy_frame", "to_partition"]


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
