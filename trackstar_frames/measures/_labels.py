"""Names for people instead of ids: `labels=` of the measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from trackstar_frames.measures._checks import string_series


def parse_labels(labels: object) -> dict[Any, str]:
    """Return the names by id, that of null under None; two ids cannot have one name."""
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise TypeError(
            f"labels={labels!r} is not a map from ids to names; pass one such as "
            f"{{'wh_1': 'Newark'}}"
        )
    seen: dict[str, Any] = {}
    for key, name in labels.items():
        if not isinstance(name, str):
            raise TypeError(f"labels has {name!r} for {key!r}; pass a name")
        if name in seen:
            raise ValueError(
                f"labels has the name {name!r} for {seen[name]!r} and {key!r}, whose rows could "
                f"not be told apart; give each its own, or group by a column of the names"
            )
        seen[name] = key
    is_null = {key: pd.api.types.is_scalar(key) and pd.isna(key) for key in labels}
    return {None if is_null[key] else key: name for key, name in labels.items()}


def relabel(index: pd.Index, by: Sequence[str], labels: Mapping[Any, str]) -> pd.Index:
    """Return the index of a table with names for the values of its groups."""
    if not by or not labels:
        return index
    if not isinstance(index, pd.MultiIndex):
        renamed: pd.Index = pd.Index(named(index.to_series(), labels).array, name=index.name)
    else:
        levels = {str(name): index.get_level_values(str(name)) for name in index.names}
        for name in by:
            levels[name] = pd.Index(named(levels[name].to_series(), labels).array)
        renamed = pd.MultiIndex.from_arrays(list(levels.values()), names=index.names)
    if index.is_unique and not renamed.is_unique:
        twice = renamed[renamed.duplicated()][0]
        raise ValueError(
            f"labels has a name that a group without a name already has: {twice!r}; give it another"
        )
    return renamed


def named(values: pd.Series[Any], labels: Mapping[Any, str]) -> pd.Series[Any]:
    """Return values with names instead of those that have one."""
    has_nulls = None in labels and values.isna().any()
    if not has_nulls and not values.isin([key for key in labels if key is not None]).any():
        return values
    cells = values.astype(object).map(lambda value: labels.get(value, value), na_action="ignore")
    if has_nulls:
        cells = cells.mask(values.isna(), labels[None])
    is_text = cells.dropna().map(lambda value: isinstance(value, str)).all()
    return string_series(cells) if is_text else cells
