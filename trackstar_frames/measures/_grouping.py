"""Counts, sums and rates by groups and periods, over whole frames and over partitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import column
from trackstar_frames.measures._partitions import Partitioned, compute_each, concat_parts
from trackstar_frames.measures._time import Array, Period

#: How many standard deviations a 95 % interval reaches to each side.
Z95 = 1.959963984540054

#: Rates of fewer orders are not to be trusted: one order moves them by more than 3 points, and
#: the interval of a rate of 90 % is more than 20 points wide.
SMALL = 30

_MOST_CELLS = 20_000_000


def factorize(frame: pd.DataFrame, name: str) -> tuple[Array, list[str]]:
    """Return the index of each row's value in a list of values, -1 for null, and the list."""
    codes, values = pd.factorize(column(frame, name))
    return codes, [str(value) for value in values]


def group_numbers(frame: pd.DataFrame, by: Sequence[str]) -> tuple[Array, pd.DataFrame]:
    """Return the number of each row's group, and one row of keys for each group."""
    if not by:
        return np.zeros(len(frame), dtype=np.int64), pd.DataFrame(index=range(1))
    keys = frame[list(by)].reset_index(drop=True)
    keys = keys.assign(**{name: column(keys, name) for name in by})
    groups = keys.groupby(list(by), dropna=False, observed=True).ngroup().to_numpy()
    first = np.unique(groups, return_index=True)[1]
    return groups, keys.iloc[first]


class CodedRows(NamedTuple):
    """Rows to count by a value of theirs, which is one of a list of words."""

    frame: pd.DataFrame  # with the columns to group by, and the attrs of its source
    codes: Array  # each row's index in `words`, -1 for null
    words: list[str]
    stamps: Array | None  # when each row was; None without periods
    weights: Array | None = None  # how many rows of the data each stands for; None for one

    def recode(self, words: list[str]) -> CodedRows:
        """Return the rows with codes into another list, which holds all words; null is its last."""
        return self._replace(codes=recode(self.codes, self.words, words), words=words)


def recode(codes: Array, words: Sequence[str], into: Sequence[str]) -> Array:
    """Return the codes of words in another list, which holds all of them; null is its last."""
    # A null has the code -1, which picks the last of these.
    return np.array([*map(into.index, words), len(into) - 1], dtype=np.int64)[codes]


def read_rows(
    frame: pd.DataFrame | Partitioned,
    read: Callable[[pd.DataFrame], CodedRows],
    *,
    columns: Sequence[str],
    by: Sequence[str],
    period: Period | None,
) -> list[CodedRows]:
    """Read the rows of a frame; of a Dask frame, the distinct ones of each partition."""
    if isinstance(frame, pd.DataFrame):
        return [read(frame)]
    wanted = frame[list(dict.fromkeys([*columns, *by]))]
    return compute_each([wanted], partial(_distinct_rows, read, list(by), period))


def _distinct_rows(
    read: Callable[[pd.DataFrame], CodedRows],
    by: list[str],
    period: Period | None,
    part: pd.DataFrame,
) -> CodedRows:
    """Return one row, with a weight, for each group, code and period of a partition."""
    rows = read(part)
    groups, keys = group_numbers(rows.frame, by)
    starts = rows.stamps if rows.stamps is None or period is None else period.floor(rows.stamps)
    cells = pd.DataFrame({"group": groups, "code": rows.codes})
    cells = cells if starts is None else cells.assign(start=starts)
    cells = cells.groupby([*cells.columns], dropna=False).size().reset_index(name="n")
    frame = keys.iloc[cells["group"].to_numpy()]
    frame.attrs = dict(rows.frame.attrs)
    stamps = None if starts is None else cells["start"].to_numpy()
    return CodedRows(frame, cells["code"].to_numpy(), rows.words, stamps, cells["n"].to_numpy())


def concat_rows(parts: Sequence[CodedRows]) -> CodedRows:
    """Return the rows of all parts, with codes into one list of words."""
    if len(parts) == 1:
        return parts[0]
    words = list(dict.fromkeys(chain.from_iterable(part.words for part in parts)))
    # A null has the code -1, which picks the last of these.
    codes = [np.array([*map(words.index, part.words), -1])[part.codes] for part in parts]
    frame = concat_parts([part.frame for part in parts])
    stamps = [part.stamps for part in parts if part.stamps is not None]
    weights = [part.weights for part in parts if part.weights is not None]
    arrays = (np.concatenate(each) if each else None for each in (stamps, weights))
    return CodedRows(frame, np.concatenate(codes), words, *arrays)


def count_codes(
    rows: CodedRows, by: Sequence[str], period: Period | None
) -> tuple[Array, pd.Index]:
    """Return the counts of each word, none of which may be null, and the labels of their rows."""
    # Every group gets every period from the first to the last, so that a gap shows as zeros, and
    # one more, NaT, if any of its rows has no stamp: the counts sum to the rows.
    groups, keys = group_numbers(rows.frame, by)
    numbers, starts = _period_numbers(rows.stamps, period)
    height, width, depth = len(keys), len(starts), len(rows.words)
    if period and height * width * depth > _MOST_CELLS:
        raise ValueError(
            f"{height:,} groups over {width:,} periods are more than a table can hold; take a "
            f"longer freq or fewer groups, or look for a stray date: {starts[0]} to {starts[-2]}"
        )
    cells = (groups * width + numbers) * depth + rows.codes
    counts = np.bincount(cells, rows.weights, minlength=height * width * depth)
    counts = counts.astype(np.int64, copy=False).reshape(-1, depth)
    if period is None:
        return counts, _labels(keys, by)
    kept = np.tile(~np.isnat(starts), height) | (counts.sum(axis=1) > 0)
    labels = keys.iloc[np.repeat(np.arange(height), width)[kept]]
    labels = labels.assign(period=np.tile(starts, height)[kept])
    return counts[kept], _labels(labels, [*by, "period"])


def _period_numbers(stamps: Array | None, period: Period | None) -> tuple[Array, Array]:
    """Return the number of each row's period, from 0, and the periods' starts; the last is NaT."""
    none = np.array(["NaT"], dtype="M8[us]")
    if stamps is None or period is None:
        return np.zeros(1, dtype=np.int64), none
    known = ~np.isnat(stamps)
    numbers = period.number(stamps[known])
    first, last = (numbers.min(), numbers.max()) if numbers.size else (0, -1)
    result = np.full(len(stamps), last - first + 1)
    result[known] = numbers - first
    return result, np.append(period.start(np.arange(first, last + 1)), none)


def sum_by_group(
    frame: pd.DataFrame, amounts: pd.DataFrame, by: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the keys of each group, and the sums of `amounts`, a row for each row of `frame`."""
    groups, keys = group_numbers(frame, by)
    sums = amounts.groupby(groups).sum().reindex(range(len(keys)), fill_value=0)
    return keys, sums.set_axis(_labels(keys, by))


def row_labels(keys: pd.DataFrame, by: Sequence[str], last: pd.Index, width: int) -> pd.Index:
    """Return the labels of a table with `width` columns and a row for each group and `last`."""
    if len(keys) * len(last) * width > _MOST_CELLS:
        raise ValueError(
            f"{len(keys):,} groups are more than a table can hold; take a by with fewer values"
        )
    if not by:
        return last
    groups, values = np.indices((len(keys), len(last))).reshape(2, -1)
    name = str(last.name)
    return _labels(keys.iloc[groups].assign(**{name: last[values]}), [*by, name])


def _labels(keys: pd.DataFrame, by: Sequence[str]) -> pd.Index:
    if not by:
        return pd.RangeIndex(len(keys))
    return pd.Index(keys[by[0]]) if len(by) == 1 else pd.MultiIndex.from_frame(keys)


def wilson(successes: Array, n: Array) -> tuple[Array, Array, Array]:
    """Return the rate and its 95 % interval by Wilson's score; NaN where n is 0."""
    trials = np.where(n > 0, n, np.nan)
    rate = successes / trials
    spread = Z95**2 / trials
    centre = rate + spread / 2
    half = np.sqrt(spread * (rate * (1 - rate) + spread / 4))
    low, high = (centre - half) / (1 + spread), (centre + half) / (1 + spread)
    return rate, np.clip(low, 0, rate), np.clip(high, rate, 1)


def rate_columns(successes: Array, n: Array) -> dict[str, Array]:
    """Return the columns of a table that has one rate."""
    rate, low, high = wilson(successes, n)
    return {"rate": rate, "rate_low": low, "rate_high": high, "small": n < SMALL}
