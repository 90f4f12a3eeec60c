"""Frames that lie in partitions, as Dask's do: worked on where they lie, and Dask not imported."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeGuard, TypeVar

import pandas as pd

from trackstar_frames.schema import LIFECYCLE

__all__ = [
    "Partitioned",
    "empty_of",
    "fetched_at",
    "from_each",
    "hand_on",
    "is_partitioned",
    "stacked",
    "tell",
    "told_of",
]


T = TypeVar("T")

_MADE = "made"


class Partitioned(Protocol):
    """What is used of a Dask DataFrame."""

    @property
    def columns(self) -> Any:
        """The names of its columns."""

    @property
    def npartitions(self) -> int:
        """How many partitions there are."""

    def map_partitions(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make a frame of what a function gives for each partition, when that is asked for."""

    def __getitem__(self, names: Any) -> Any:
        """Take some columns."""


def is_partitioned(frame: object) -> TypeGuard[Partitioned]:
    """Tell a Dask DataFrame from all else: pandas' own, and Dask's columns and bags."""
    return hasattr(type(frame), "map_partitions") and isinstance(
        getattr(frame, "_meta", None), pd.DataFrame
    )


def empty_of(frame: Partitioned) -> pd.DataFrame:
    """Give a frame of no rows that has the columns and types of each partition."""
    empty: pd.DataFrame = frame._meta  # type: ignore[attr-defined]  # noqa: SLF001  (Dask's name)
    return empty


def from_each(frames: Sequence[Partitioned], work: Callable[..., T]) -> list[T]:
    """Do a work on each partition, where it lies, and bring home what it makes, in sequence.

    With several frames, the work is given the partitions of one place in all of them.
    """
    first, *others = frames
    made = first.map_partitions(
        partial(_boxed, work), *others, meta={_MADE: object}, align_dataframes=False
    )
    things: list[T] = made.compute()[_MADE].tolist()
    return things


def _boxed(work: Callable[..., T], *parts: pd.DataFrame) -> pd.DataFrame:
    """Put what is made into a cell, as only frames come out of Dask's partitions."""
    return pd.DataFrame({_MADE: pd.Series([work(*parts)], dtype=object)})


def stacked(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put frames of the same columns below one another, as if they had never been apart.

    ``attrs["trackstar"]`` is what all of them tell. A partition may lack a category that another
    has; statuses unknown to this package come after the known ones, by name.
    """
    some = [part for part in parts if len(part)] or parts[:1]
    types = {
        name: _all_categories([part[name].dtype for part in some])
        for name, kind in some[0].dtypes.items()
        if isinstance(kind, pd.CategoricalDtype)
    }
    whole = pd.concat([part.astype(types) for part in some], ignore_index=True)
    told = _agreed([part.attrs.get("trackstar", {}) for part in some])
    whole.attrs = {"trackstar": told} if told else {}
    return whole


def _all_categories(kinds: Sequence[Any]) -> pd.CategoricalDtype:
    first: pd.CategoricalDtype = kinds[0]
    if all(kind == first for kind in kinds):
        return first
    seen = dict.fromkeys(chain.from_iterable(kind.categories for kind in kinds))
    if set(LIFECYCLE) <= set(seen):
        seen = dict.fromkeys([*LIFECYCLE, *sorted(set(seen).difference(LIFECYCLE))])
    categories = pd.Index(list(seen), dtype=first.categories.dtype)
    return pd.CategoricalDtype(categories, ordered=all(kind.ordered for kind in kinds))


def _agreed(told: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Keep what is told in the same way everywhere."""
    first, *others = told
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }


def fetched_at(frame: pd.DataFrame) -> Any:
    """Tell what a frame says of when it was fetched; None if nothing."""
    return frame.attrs.get("trackstar", {}).get("fetched_at")


def told_of(frame: pd.DataFrame, measure: str) -> dict[str, Any] | None:
    """Return what a measure told of itself; None if that got lost."""
    told: dict[str, Any] | None = frame.attrs.get("trackstar", {}).get(measure)
    return told


def tell(table: pd.DataFrame, source: pd.DataFrame, measure: str, told: dict[str, Any]) -> None:
    """Have a table tell what its source does, and of its own measure."""
    hand_on(table, source)
    table.attrs["trackstar"] = {**table.attrs.get("trackstar", {}), measure: told}


def hand_on(table: pd.DataFrame, source: pd.DataFrame) -> None:
    """Have a table tell what its source does, in attrs of its own."""
    table.attrs = copy.deepcopy(source.attrs)
