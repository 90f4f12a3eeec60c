"""Check the arguments of measures, read columns, and pass on a frame's attrs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from trackstar_frames.errors import one_of
from trackstar_frames.measures._partitions import Partitioned, is_partitioned
from trackstar_frames.schema import CONNECTION
from trackstar_frames.tables.dtypes import to_pandas_types


def require(
    frame: object,
    columns: Iterable[str],
    *,
    source: str,
    name: str = "orders",
    lazy: bool = False,
) -> None:
    """Raise unless `frame` is a DataFrame with these columns; with `lazy`, Dask's will do too."""
    if is_partitioned(frame):
        if not lazy:
            raise TypeError(
                f"{name} is a Dask frame, and this needs all its rows at once; pass the result of "
                f".compute() on it, or on the rows and columns that you need"
            )
    elif not isinstance(frame, pd.DataFrame):
        has_orders = isinstance(getattr(frame, "orders", None), pd.DataFrame)
        hint = ", such as its .orders" if has_orders else ""
        raise TypeError(f"{name} is a {type(frame).__name__}; pass the DataFrame of {source}{hint}")
    if missing := [each for each in dict.fromkeys(columns) if each not in frame.columns]:
        listed = ", ".join(map(repr, missing))
        hint = f"pass the frame of {source} with these columns"
        if isinstance(frame, pd.DataFrame) and any(each in frame.index.names for each in missing):
            hint = f"in its index there is one: pass {name}.reset_index()"
        raise ValueError(f"{name} lacks {listed}; {hint}")


def require_tables(
    frames: object, columns: Mapping[str, Sequence[str]], *, lazy: bool = False
) -> dict[str, Any]:
    """Return the tables of an `OrderFrames` with these columns, and the orders with all of theirs.

    With `lazy`, all of them may be Dask's.
    """
    if missing := [name for name in columns if not hasattr(frames, name)]:
        raise TypeError(
            f"frames is a {type(frames).__name__} that lacks {', '.join(missing)}; pass the "
            f"OrderFrames of fetch_orders or read_snapshot, or of a Snapshot what its .read() "
            f"returns"
        )
    tables = {f"frames.{name}": getattr(frames, name) for name in columns}
    for (name, table), wanted in zip(tables.items(), columns.values(), strict=True):
        require(table, wanted, source="an OrderFrames", name=name, lazy=lazy)
    require_connections_alike(tables)
    sizes = {name: table.npartitions for name, table in tables.items() if is_partitioned(table)}
    if sizes and len(sizes) < len(tables):
        eager = next(name for name in tables if name not in sizes)
        raise TypeError(
            f"{next(iter(sizes))} is a Dask frame, and {eager} is not; pass all tables as Dask "
            f"frames, or none"
        )
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"the tables have different numbers of partitions, {sizes}; pass tables whose "
            f"partitions of the same number hold the same orders"
        )
    narrow = {name: select(getattr(frames, name), wanted) for name, wanted in columns.items()}
    return {**narrow, "orders": tables["frames.orders"]}


def select(table: Any, columns: Iterable[str]) -> Any:
    """Return only these columns of a table, and that of its connections."""
    return table[list(dict.fromkeys([*connection_columns(table), *columns]))]


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of the allowed words."""
    if not isinstance(value, str):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; pass a string")
    if value not in (words := list(allowed)):
        raise ValueError(one_of(name, value, words))
    return value


def by_columns(
    frame: pd.DataFrame | Partitioned,
    by: str | Sequence[str] | None,
    *,
    reserved: Sequence[str] = (),
) -> list[str]:
    """Return the columns to group by as a list; all are in `frame`, and none is reserved."""
    if by is None:
        return []
    names = [by] if isinstance(by, str) else by
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"by={by!r} is not a column's name or a list of them")
    for name in names:
        if name not in frame.columns:
            raise ValueError(one_of("by", name, map(str, frame.columns)))
        if name in reserved:
            raise ValueError(
                f"by={by!r}: the result has a {name!r} of its own; leave it out, or rename the "
                f"column"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"by={by!r} names a column twice; name each once")
    return list(names)


def require_unique_orders(frame: pd.DataFrame, name: str) -> None:
    """Raise unless `frame` has one row per order."""
    keys = order_keys(frame, "id")
    if not keys.is_unique:
        raise ValueError(
            f"{name} has more than one row of the order {keys[keys.duplicated()][0]!r}; pass one "
            f"row per order, and of several connections the column {CONNECTION.name!r} too"
        )


def require_connections_alike(frames: Mapping[str, pd.DataFrame]) -> None:
    """Raise if some of the frames, given by name, have a column of connections and others not."""
    labelled = [name for name, frame in frames.items() if connection_columns(frame)]
    others = [name for name in frames if name not in labelled]
    if labelled and others:
        raise ValueError(
            f"{labelled[0]} has the column {CONNECTION.name!r}, and {others[0]} has not, but the "
            f"same order id may be in two connections; give it to all of them, or to none"
        )


def column(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    """Return a column in pandas' own types, whatever the types of the frame."""
    return to_pandas_types(frame[name])


def is_blank(values: pd.Series[Any]) -> npt.NDArray[np.bool_]:
    """Return where values are null or an empty text."""
    missing = values.isna()
    # pandas before 3 would read the "" as a moment where the values are moments.
    blank = missing if values.dtype.kind == "M" else missing | values.isin([""])
    return blank.to_numpy(dtype=bool)


def text_column(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    """Return a column of texts, with null for an empty one."""
    values = column(frame, name)
    return values.mask(is_blank(values))


def text_array(frame: pd.DataFrame, name: str) -> pa.Array:
    """Return a column of texts, of whatever type, as an Arrow array."""
    values = frame[name]
    if values.isna().all():
        return pa.nulls(len(values), pa.large_string())
    if not isinstance(values.dtype, pd.ArrowDtype | pd.StringDtype):
        values = values.astype(object).where(values.notna(), None)
    array = pa.array(values.array, from_pandas=True)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array.cast(pa.large_string())


def index_column(frame: pd.DataFrame, name: str) -> npt.NDArray[np.int64]:
    """Return a column of indexes as int64, with -1 for null."""
    return column(frame, name).to_numpy(dtype=np.int64, na_value=-1)


def number_column(frame: pd.DataFrame, name: str) -> npt.NDArray[Any]:
    """Return a column of numbers as float64, with NaN for null."""
    values = column(frame, name)
    if values.isna().all():
        return np.full(len(values), np.nan)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"column {name!r} is {frame[name].dtype}, not numbers; convert it first")
    return float_column(frame, name)


def float_column(frame: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """Return a column of whatever type as float64, with NaN for null."""
    return column(frame, name).to_numpy(dtype=np.float64, na_value=np.nan)


def has_status(frame: pd.DataFrame, *statuses: str) -> npt.NDArray[np.bool_]:
    """Return which orders or shipments have one of these statuses."""
    return column(frame, "status").isin(statuses).to_numpy(dtype=bool)


def string_series(cells: object) -> pd.Series[str]:
    """Return a series of this pandas' type of strings: str, or object before pandas 3."""
    return pd.Series(cells, dtype=object).astype(pd.Series(["x"]).dtype)


def present(frame: pd.DataFrame | Partitioned, names: Iterable[str]) -> list[str]:
    """Return those of the names that are columns of a frame, each once."""
    return [name for name in dict.fromkeys(names) if name in frame.columns]


def connection_columns(frame: pd.DataFrame | Partitioned) -> list[str]:
    """Return the name of the column of connections in a list, which is empty without one."""
    return [CONNECTION.name] if CONNECTION.name in frame.columns else []


def order_keys(frame: pd.DataFrame, name: str) -> pd.Index:
    """Return what identifies each row's order: ``id`` or ``connection/id``, null without an id."""
    ids: pd.Series[Any] = column(frame, name)
    if connection_columns(frame):
        labels = column(frame, CONNECTION.name)
        if labels.isna().any():
            raise ValueError(
                f"the column {CONNECTION.name!r} has nulls, and the same order id may be in two "
                f"connections; fill it for all rows"
            )
        # A slash within a label is escaped, so that no two pairs give the same text.
        labels = labels.astype(str).str.replace("%", "%25", regex=False)
        labels = labels.str.replace("/", "%2F", regex=False) + "/"
        ids = labels + ids.astype(str).where(ids.notna())
    keys: pd.Index = pd.Index(ids)
    return keys


def fetched_at(frame: pd.DataFrame) -> Any:
    """Return when a frame was fetched, from its attrs; None if that is unknown."""
    return frame.attrs.get("trackstar", {}).get("fetched_at")


def measure_info(frame: pd.DataFrame, measure: str) -> dict[str, Any] | None:
    """Return what a measure recorded in a frame's attrs; None if it is not there."""
    return cast("dict[str, Any] | None", frame.attrs.get("trackstar", {}).get(measure))


def add_measure_info(
    table: pd.DataFrame, source: pd.DataFrame, measure: str, info: dict[str, Any]
) -> None:
    """Copy the attrs of the source to a table, and add what a measure was made from."""
    copy_attrs(table, source)
    table.attrs["trackstar"] = {**table.attrs.get("trackstar", {}), measure: info}


def copy_attrs(table: pd.DataFrame, source: pd.DataFrame) -> None:
    """Copy the attrs of the source to a table, deep enough for each to change its own."""
    table.attrs = copy.deepcopy(source.attrs)
