"""Arguments of measures, checked before any work."""

from __future__ import annotations

import datetime as dt
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from trackstar_frames.errors import one_of
from trackstar_frames.measures._partitions import Partitioned, fetched_at, is_partitioned
from trackstar_frames.tables.dtypes import to_pandas_types

__all__ = [
    "blank",
    "by_columns",
    "choice",
    "column",
    "has_status",
    "instant",
    "is_year_first",
    "moment_of",
    "own_texts",
    "require",
    "texts",
]


def require(
    frame: object,
    columns: Iterable[str],
    *,
    source: str,
    name: str = "orders",
    lazy: bool = False,
) -> None:
    """Raise unless `frame` is a DataFrame, of Dask too if `lazy`, with these columns."""
    if is_partitioned(frame):
        if not lazy:
            raise TypeError(
                f"{name} is a Dask frame, and this needs all its rows at once; pass what "
                f".compute() makes of it, or of the rows and columns that you need"
            )
    elif not isinstance(frame, pd.DataFrame):
        hint = (
            ", such as its .orders"
            if isinstance(getattr(frame, "orders", None), pd.DataFrame)
            else ""
        )
        raise TypeError(f"{name} is a {type(frame).__name__}; pass the DataFrame of {source}{hint}")
    missing = [each for each in dict.fromkeys(columns) if each not in frame.columns]
    if missing:
        listed = ", ".join(map(repr, missing))
        raise ValueError(f"{name} lacks {listed}; pass the frame of {source} with these columns")


def column(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    """Read a column in pandas' own types, whatever the types of the frame."""
    return to_pandas_types(frame[name])


def blank(values: pd.Series[Any]) -> npt.NDArray[np.bool_]:
    """Tell where there is nothing: null or an empty text."""
    missing = values.isna()
    # pandas before 3 takes texts among moments for moments.
    nothing = missing if values.dtype.kind == "M" else missing | values.isin([""])
    return nothing.to_numpy(dtype=bool)


def has_status(orders: pd.DataFrame, *statuses: str) -> npt.NDArray[np.bool_]:
    """Tell which orders have one of these statuses."""
    return column(orders, "status").isin(statuses).to_numpy(dtype=bool)


def texts(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    """Read a column of texts; an empty one is as good as none."""
    values = column(frame, name)
    return values.mask(blank(values))


def own_texts(cells: object) -> pd.Series[str]:
    """Make a column of this pandas' own type of strings: str, or object before pandas 3."""
    return pd.Series(cells, dtype=object).astype(pd.Series(["x"]).dtype)


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of a closed list of words."""
    if not isinstance(value, str):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; pass a string")
    if value not in (words := list(allowed)):
        raise ValueError(one_of(name, value, words))
    return value


def by_columns(frame: pd.DataFrame | Partitioned, by: str | Sequence[str] | None) -> list[str]:
    """Return the columns to group by as a list; all of them are in `frame`."""
    if by is None:
        return []
    names = [by] if isinstance(by, str) else by
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"by={by!r} is not a column's name or a list of them")
    for name in names:
        if name not in frame.columns:
            raise ValueError(one_of("by", name, map(str, frame.columns)))
    if len(set(names)) < len(names):
        raise ValueError(f"by={by!r} names a column twice; name each once")
    return list(names)


def is_year_first(text: str) -> bool:
    """Tell whether a text begins as dates without two readings do.

    Of others pandas makes a guess: of 03/04/2026 the fourth of March, of 10:00 an hour of today.

    Examples
    --------
    >>> is_year_first("2026-03-04 12:00"), is_year_first("03/04/2026"), is_year_first("10:00")
    (True, False, False)
    """
    return re.fullmatch(r"(\d{4}-\d\d-\d\d|\d{8})([T ]\d.*)?", text, re.ASCII) is not None


def instant(name: str, value: object) -> pd.Timestamp:
    """Read one moment; naive means UTC."""
    if not isinstance(value, str | dt.date | np.datetime64):
        raise TypeError(f"{name}={value!r} is not a moment; pass a string, datetime or Timestamp")
    stamp: pd.Timestamp | None
    is_doubtful = isinstance(value, str) and not is_year_first(value)
    try:
        stamp = None if is_doubtful else pd.Timestamp(value)
    except ValueError:
        stamp = None
    if stamp is None or pd.isna(stamp):
        raise ValueError(f"{name}={value!r} is not a moment; write it like 2026-01-31T12:00:00Z")
    stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
    return stamp.as_unit("us")


def moment_of(
    orders: pd.DataFrame | Partitioned, as_of: object, *, stacklevel: int = 3
) -> pd.Timestamp:
    """Read `as_of`, by default when the orders were fetched; unknown: now, with a warning."""
    if as_of is not None:
        return instant("as_of", as_of)
    if is_partitioned(orders):
        raise ValueError(
            "as_of has no default here, as a Dask frame does not say when it was fetched; pass "
            "as_of, such as the fetched_at of the snapshot's info"
        )
    known = fetched_at(cast("pd.DataFrame", orders))
    if known is not None:
        return instant("fetched_at", known)
    warnings.warn(
        "orders do not say when they were fetched (attrs['trackstar']['fetched_at']), so they "
        "are judged as of now; pass as_of",
        stacklevel=stacklevel,
    )
    return pd.Timestamp.now(tz="UTC").as_unit("us")
