"""Lazy frames of declared types: those of pandas, whatever an engine would make of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask
import dask.dataframe as dd
import pandas as pd
import pyarrow as pa

from trackstar_frames.schema import Table
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
    declared = to_partition(described.schema.empty_table(), described, dtype_backend)
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
