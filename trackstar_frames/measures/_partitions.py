"""Work on the partitions of Dask frames where they lie, without importing Dask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeGuard, TypeVar, cast

import pandas as pd

from trackstar_frames.schema import LIFECYCLE

T = TypeVar("T")

_RESULT = "result"


class Partitioned(Protocol):
    """The part of a Dask DataFrame that measures use."""

    columns: Any
    npartitions: int

    _meta: pd.DataFrame

    def map_partitions(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any: ...
    def __getitem__(self, names: Any) -> Any: ...


def is_partitioned(frame: object) -> TypeGuard[Partitioned]:
    """Return whether a thing is a Dask DataFrame, which Dask's series and bags are not."""
    return hasattr(type(frame), "map_partitions") and isinstance(
        getattr(frame, "_meta", None), pd.DataFrame
    )


def meta_of(frame: Partitioned) -> pd.DataFrame:
    """Return a frame of no rows with the columns and types of each partition."""
    return frame._meta  # noqa: SLF001  (Dask's name)


def compute_each(frames: Sequence[Partitioned], function: Callable[..., T]) -> list[T]:
    """Return a function's results for each partition, or for those of one number in all frames."""
    first, *others = frames
    boxed = first.map_partitions(
        partial(_boxed, function), *others, meta={_RESULT: object}, align_dataframes=False
    )
    return cast("list[T]", boxed.compute()[_RESULT].tolist())


def _boxed(function: Callable[..., T], *parts: pd.DataFrame) -> pd.DataFrame:
    """Return a result as a frame of one cell, as Dask's partitions are frames."""
    return pd.DataFrame({_RESULT: pd.Series([function(*parts)], dtype=object)})


def concat_parts(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate the parts of one frame, and keep the attrs on which all of them agree."""
    filled = [part for part in parts if len(part)] or parts[:1]
    types = {
        name: _all_categories([part[name].dtype for part in filled])
        for name, dtype in filled[0].dtypes.items()
        if isinstance(dtype, pd.CategoricalDtype)
    }
    whole = pd.concat([part.astype(types) for part in filled], ignore_index=True)
    first, *others = (part.attrs.get("trackstar", {}) for part in filled)
    info = dict(item for item in first.items() if all(item in each.items() for each in others))
    whole.attrs = {"trackstar": info} if info else {}
    return whole


def _all_categories(dtypes: Sequence[Any]) -> pd.CategoricalDtype:
    """Return the type with the categories of all parts, as a part may lack some."""
    first: pd.CategoricalDtype = dtypes[0]
    if all(dtype == first for dtype in dtypes):
        return first
    values = dict.fromkeys(chain.from_iterable(dtype.categories for dtype in dtypes))
    if set(LIFECYCLE) <= set(values):  # unknown statuses come after the known ones, by name
        values = dict.fromkeys([*LIFECYCLE, *sorted(set(values).difference(LIFECYCLE))])
    categories = pd.Index(list(values), dtype=first.categories.dtype)
    return pd.CategoricalDtype(categories, ordered=all(dtype.ordered for dtype in dtypes))
