"""One Arrow table of the schema as a dataframe, of types that never depend on the data."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.errors import SettingsError, one_of
from trackstar_frames.schema import ARROW_TYPES, LIFECYCLE, Table

__all__ = ["DtypeBackend", "check_backend", "to_frame", "to_pandas_types"]

DtypeBackend = Literal["pyarrow"] | None


def check_backend(value: object) -> DtypeBackend:
    """Check what a user passes as `dtype_backend`.

    Raises
    ------
    SettingsError
        If it is neither None nor ``"pyarrow"``.

    Examples
    --------
    >>> check_backend("pyarrow")
    'pyarrow'
    """
    if value is None:
        return None
    if isinstance(value, str) and value == "pyarrow":
        return "pyarrow"
    raise SettingsError(
        f"{one_of('dtype_backend', value, ['pyarrow'])}, or None, which already gives nullable "
        f"Int64 and boolean"
    )


def to_frame(table: pa.Table, described: Table, dtype_backend: DtypeBackend = None) -> pd.DataFrame:
    """Turn one Arrow table into a dataframe that can be changed without changing the table.

    Parameters
    ----------
    table
        With the columns and types of `described`.
    described
        The schema's word on it.
    dtype_backend
        None for pandas' own types, ``"pyarrow"`` for Arrow's, which share the table's memory.

    Returns
    -------
    pandas.DataFrame
        With a RangeIndex. A status is an ordered categorical with both backends.
    """
    makers = _ARROW if dtype_backend == "pyarrow" else _OWN
    made = [
        (place, column.name, makers[column.kind])
        for place, column in enumerate(described.columns)
        if column.kind in makers
    ]
    # Not with split_blocks: a block that shares the table's memory cannot be written to.
    frame: pd.DataFrame = table.drop_columns([name for _, name, _ in made]).to_pandas(
        types_mapper=pd.ArrowDtype if dtype_backend == "pyarrow" else _nullable,
        ignore_metadata=True,
    )
    for place, name, make in made:
        frame.insert(place, name, make(table[name]))
    return frame


def to_pandas_types(column: pd.Series[Any]) -> pd.Series[Any]:
    """Give a column of Arrow types in those that `to_frame` would give it; any other as it is.

    So it does with nullable strings, which Dask makes of texts.

    Examples
    --------
    >>> to_pandas_types(pd.Series([1, None], dtype="int64[pyarrow]")).dtype
    Int64Dtype()
    """
    if isinstance(column.dtype, pd.StringDtype) and column.dtype.na_value is pd.NA:
        return column.astype(pd.Series(["x"]).dtype).where(column.notna(), None)
    if not isinstance(column.dtype, pd.ArrowDtype):
        return column
    # By way of a table: from a bare array, pandas guesses the type of texts from the data.
    table = pa.table({"own": pa.array(column.array)})
    own: pd.Series[Any] = (
        _tuples(table["own"])
        if table["own"].type == ARROW_TYPES["strings"]
        else table.to_pandas(types_mapper=_nullable)["own"]
    )
    own.index, own.name = column.index, column.name
    return own


def _nullable(kind: pa.DataType) -> pd.Int64Dtype | pd.BooleanDtype | None:
    if pa.types.is_integer(kind):
        return pd.Int64Dtype()
    return pd.BooleanDtype() if pa.types.is_boolean(kind) else None


def _categorical(statuses: pa.ChunkedArray) -> pd.Categorical:
    unknown = set(pc.unique(statuses).drop_null().to_pylist()) - set(LIFECYCLE)
    dtype = pd.CategoricalDtype([*LIFECYCLE, *sorted(unknown)], ordered=True)
    places = pc.index_in(statuses, value_set=pa.array(dtype.categories, pa.string()))
    return pd.Categorical.from_codes(places.fill_null(-1).to_numpy(), dtype=dtype)


def _tuples(column: pa.ChunkedArray) -> pd.Series[Any]:
    """Make a tuple of each row, as a list has no hash, and None of null; equal texts are one."""
    lists = column.combine_chunks()
    encoded = lists.values.dictionary_encode()  # noqa: PD011 (an Arrow array)
    words = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    flat = words[encoded.indices.fill_null(len(words) - 1).to_numpy()].tolist()
    ends = pairwise(lists.offsets.to_numpy().tolist())
    cells = np.fromiter((tuple(flat[start:end]) for start, end in ends), object, len(lists))
    cells[lists.is_null().to_numpy(zero_copy_only=False)] = None
    return pd.Series(cells, dtype=object, copy=False)


_Maker = Callable[[pa.ChunkedArray], Any]

#: Kinds of columns that Arrow's own conversion does not make as they should be.
_ARROW: MappingProxyType[str, _Maker] = MappingProxyType({"status": _categorical})
_OWN: MappingProxyType[str, _Maker] = MappingProxyType({**_ARROW, "strings": _tuples})
