"""Work on the partitions of Dask frames where they lie, without importing Dask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeGuard, TypeVar

import pandas as pd

from trackstar_frames.schema import LIFECYCLE

T = TypeVar("T")

_RESULT = "result"


class Partitioned(Protocol):
    """The part of a Dask DataFrame that measures use."""

    @property
    def columns(self) -> Any:
        """The names of the columns."""

    @property
    def npartitions(self) -> int:
        """The number of partitions."""

    def map_partitions(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return a lazy frame of what a function returns for each partition."""

    def __getitem__(self, names: Any) -> Any:
        """Return some of the columns."""


def is_partitioned(frame: object) -> TypeGuard[Partitioned]:
    """Return whether a thing is a Dask DataFrame, which Dask's series and bags are not."""
    return hasattr(type(frame), "map_partitions") and isinstance(
        getattr(frame, "_meta", None), pd.DataFrame
    )


def meta_of(frame: Partitioned) -> pd.DataFrame:
    """Return a frame of no rows with the columns and types of each partition."""
    meta: pd.DataFrame = frame._meta  # type: ignore[attr-defined]  # noqa: SLF001  (Dask's name)
    return meta


def compute_each(frames: Sequence[Partitioned], function: Callable[..., T]) -> list[T]:
    """Compute a function of each partition, on Dask's workers, and return the results in order.

    With several frames, the function gets the partitions that have the same number in all.
    """
    first, *others = frames
    boxed = first.map_partitions(
        partial(_boxed, function), *others, meta={_RESULT: object}, align_dataframes=False
    )
    results: list[T] = boxed.compute()[_RESULT].tolist()
    return results


def _boxed(function: Callable[..., T], *parts: pd.DataFrame) -> pd.DataFrame:
    """Return a result as a frame of one cell, as Dask's partitions are frames."""
    return pd.DataFrame({_RESULT: pd.Series([function(*parts)], dtype=object)})


def concat_parts(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate the parts of one frame, and keep the attrs on which all of them agree.

    A part may lack a category that another has: the result has those of all, with the statuses
    that this package does not know after the known ones, by name.
    """
    filled = [part for part in parts if len(part)] or parts[:1]
    types = {
        name: _all_categories([part[name].dtype for part in filled])
        for name, dtype in filled[0].dtypes.items()
        if isinstance(dtype, pd.CategoricalDtype)
    }
    whole = pd.concat([part.astype(types) for part in filled], ignore_index=True)
    info = _agreed([part.attrs.get("trackstar", {}) for part in filled])
    whole.attrs = {"trackstar": info} if info else {}
    return whole


def _all_categories(dtypes: Sequence[Any]) -> pd.CategoricalDtype:
    first: pd.CategoricalDtype = dtypes[0]
    if all(dtype == first for dtype in dtypes):
        return first
    values = dict.fromkeys(chain.from_iterable(dtype.categories for dtype in dtypes))
    if set(LIFECYCLE) <= set(values):
        values = dict.fromkeys([*LIFECYCLE, *sorted(set(values).difference(LIFECYCLE))])
    categories = pd.Index(list(values), dtype=first.categories.dtype)
    return pd.CategoricalDtype(categories, ordered=all(dtype.ordered for dtype in dtypes))


def _agreed(infos: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the items that all of the mappings have."""
    first, *others = infos
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }
