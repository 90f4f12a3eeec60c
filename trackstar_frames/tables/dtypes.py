"""Arrow tables of the schema as dataframes, of types that never depend on the data."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.errors import SettingsError, one_of
from trackstar_frames.schema import ARROW_TYPES, LIFECYCLE, Table

DtypeBackend = Literal["pyarrow"] | None


def check_backend(value: object) -> DtypeBackend:
    """Check the option `dtype_backend`; raise SettingsError if it is invalid."""
    if value is None:
        return None
    if isinstance(value, str) and value == "pyarrow":
        return "pyarrow"
    raise SettingsError(
        f"{one_of('dtype_backend', value, ['pyarrow'])}, or None, which already gives nullable "
        f"Int64 and boolean"
    )


def to_frame(table: pa.Table, declared: Table, dtype_backend: DtypeBackend = None) -> pd.DataFrame:
    """Convert an Arrow table with exactly the declared columns to a frame that can be changed."""
    # What Arrow does not convert as needed.
    converters: dict[str, Callable[[pa.ChunkedArray], Any]] = {"status": _to_categorical}
    if dtype_backend != "pyarrow":
        converters["strings"] = _to_tuples
    converted = [column.name for column in declared.columns if column.kind in converters]
    # Not with split_blocks: a block that shares the table's memory cannot be written to.
    frame: pd.DataFrame = table.drop_columns(converted).to_pandas(
        types_mapper=pd.ArrowDtype if dtype_backend == "pyarrow" else _nullable,
        ignore_metadata=True,
    )
    for position, column in enumerate(declared.columns):
        if column.kind in converters:
            frame.insert(position, column.name, converters[column.kind](table[column.name]))
    return frame


def to_pandas_types(column: pd.Series[Any]) -> pd.Series[Any]:
    """Convert a column of Arrow's types, or Dask's nullable strings, to the types of `to_frame`."""
    if isinstance(column.dtype, pd.StringDtype) and column.dtype.na_value is pd.NA:
        return column.astype(pd.Series(["x"]).dtype).where(column.notna(), None)
    if not isinstance(column.dtype, pd.ArrowDtype):
        return column
    # By way of a table: from a bare array, pandas guesses the type of texts from the data.
    table = pa.table({"column": pa.array(column.array)})
    converted: pd.Series[Any] = (
        _to_tuples(table["column"])
        if table["column"].type == ARROW_TYPES["strings"]
        else table.to_pandas(types_mapper=_nullable)["column"]
    )
    converted.index, converted.name = column.index, column.name
    return converted


def _nullable(kind: pa.DataType) -> pd.Int64Dtype | pd.BooleanDtype | None:
    if pa.types.is_integer(kind):
        return pd.Int64Dtype()
    return pd.BooleanDtype() if pa.types.is_boolean(kind) else None


def _to_categorical(statuses: pa.ChunkedArray) -> pd.Categorical:
    unknown = set(pc.unique(statuses).drop_null().to_pylist()) - set(LIFECYCLE)
    dtype = pd.CategoricalDtype([*LIFECYCLE, *sorted(unknown)], ordered=True)
    codes = pc.index_in(statuses, value_set=pa.array(dtype.categories, pa.string()))
    return pd.Categorical.from_codes(codes.fill_null(-1).to_numpy(), dtype=dtype)


def _to_tuples(column: pa.ChunkedArray) -> pd.Series[Any]:
    """Return tuples, as a list has no hash, and None for null; equal texts are one object."""
    lists = column.combine_chunks()
    encoded = lists.values.dictionary_encode()  # noqa: PD011 (an Arrow array)
    words = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    flat = words[encoded.indices.fill_null(len(words) - 1).to_numpy()].tolist()
    ends = pairwise(lists.offsets.to_numpy().tolist())
    cells = np.fromiter((tuple(flat[start:end]) for start, end in ends), object, len(lists))
    cells[lists.is_null().to_numpy(zero_copy_only=False)] = None
    return pd.Series(cells, dtype=object, copy=False)
