"""Counting codes by groups and periods, sums by groups, and the interval of a share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import column
from trackstar_frames.measures._partitions import Partitioned, from_each, stacked
from trackstar_frames.measures._time import Array, Period
from trackstar_frames.schema import CONNECTION

__all__ = [
    "SMALL",
    "Z95",
    "Rows",
    "coded",
    "grid",
    "grouped",
    "is_small",
    "joined",
    "key",
    "regrouped",
    "require_alike",
    "require_once",
    "rows_in",
    "summed",
    "tally",
    "totals",
    "whose",
    "wilson",
]


#: How many standard deviations a 95 % interval reaches to each side.
Z95 = 1.959963984540054

#: Of fewer orders than this, one moves a rate by more than 3 points, and its interval (around
#: 90 %) is more than 20 points wide: such a rate is to be read with care.
SMALL = 30

_MOST_CELLS = 20_000_000


def coded(frame: pd.DataFrame, name: str) -> tuple[Array, list[str]]:
    """Return each row's place in the list of values, -1 for null, and the list."""
    codes, values = pd.factorize(column(frame, name))
    return codes, [str(value) for value in values]


def tally(
    frame: pd.DataFrame,
    codes: Array,
    width: int,
    *,
    by: Sequence[str] = (),
    stamps: Array | None = None,
    period: Period | None = None,
    weights: Array | None = None,
) -> tuple[Array, pd.Index]:
    """Count each code in each group and period; a row as often as its weight says.

    Every group gets every period from the first to the last, so that a gap shows as zeros, and
    one more, NaT, if any of its rows has no stamp. Nothing is left out: the counts sum to the rows.

    Returns
    -------
    numpy.ndarray, pandas.Index
        The counts, a row for each label and a column for each of the `width` codes; the labels:
        the groups, then the starts of the periods, named ``period``.
    """
    groups, keys = grouped(frame, by)
    places, starts = _places(stamps, period)
    rows, columns = len(keys), len(starts)
    if period and rows * columns * width > _MOST_CELLS:
        raise ValueError(
            f"{rows:,} groups over {columns:,} periods are more than a table can hold; take a "
            f"longer freq or fewer groups, or look for a stray date: {starts[0]} to {starts[-2]}"
        )
    cells = (groups * columns + places) * width + codes
    counts = np.bincount(cells, weights, minlength=rows * columns * width)
    counts = counts.astype(np.int64, copy=False).reshape(-1, width)
    if period is None:
        return counts, _labels(keys, by)
    kept = np.tile(~np.isnat(starts), rows) | (counts.sum(axis=1) > 0)
    labels = keys.iloc[np.repeat(np.arange(rows), columns)[kept]]
    labels = labels.assign(period=np.tile(starts, rows)[kept])
    return counts[kept], _labels(labels, [*by, "period"])


def totals(frame: pd.DataFrame, amounts: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Sum whole numbers, a row of `amounts` for each of the frame, in each group."""
    keys, sums = summed(frame, amounts, by)
    return sums.set_axis(_labels(keys, by))


def summed(
    frame: pd.DataFrame, amounts: pd.DataFrame, by: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a row of keys for each group, and the sums as `totals` gives them."""
    groups, keys = grouped(frame, by)
    return keys, amounts.groupby(groups).sum().reindex(range(len(keys)), fill_value=0)


def grouped(frame: pd.DataFrame, by: Sequence[str]) -> tuple[Array, pd.DataFrame]:
    """Return each row's group, and one row of keys for each group."""
    if not by:
        return np.zeros(len(frame), dtype=np.int64), pd.DataFrame(index=range(1))
    keys = frame[list(by)].reset_index(drop=True)
    keys = keys.assign(**{name: column(keys, name) for name in by})
    groups = keys.groupby(list(by), dropna=False, observed=True).ngroup().to_numpy()
    first = np.unique(groups, return_index=True)[1]
    return groups, keys.iloc[first]


def regrouped(parts: Sequence[pd.DataFrame], by: Sequence[str]) -> tuple[list[Array], pd.DataFrame]:
    """Return, for the groups of each part, their numbers among the groups of all, and the keys."""
    whole = stacked(parts)
    groups, keys = grouped(whole, by)
    keys.attrs = dict(whole.attrs)
    return np.split(groups, np.cumsum([len(part) for part in parts])[:-1]), keys


def grid(keys: pd.DataFrame, by: Sequence[str], last: pd.Index, width: int) -> pd.Index:
    """Return labels for a row of `width` counts for each group and each value of `last`."""
    if len(keys) * len(last) * width > _MOST_CELLS:
        raise ValueError(
            f"{len(keys):,} groups are more than a table can hold; take a by with fewer values"
        )
    if not by:
        return last
    groups, places = np.indices((len(keys), len(last))).reshape(2, -1)
    name = str(last.name)
    return _labels(keys.iloc[groups].assign(**{name: last[places]}), [*by, name])


def wilson(successes: Array, n: Array) -> tuple[Array, Array, Array]:
    """Return the rate and its 95 % interval by Wilson's score; null where n is 0."""
    trials = np.where(n > 0, n, np.nan)
    rate = successes / trials
    spread = Z95**2 / trials
    centre = rate + spread / 2
    half = np.sqrt(spread * (rate * (1 - rate) + spread / 4))
    low, high = (centre - half) / (1 + spread), (centre + half) / (1 + spread)
    return rate, np.clip(low, 0, rate), np.clip(high, rate, 1)


def is_small(n: Array) -> Array:
    """Mark the rates that stand on too few orders to be trusted."""
    return n < SMALL


def _places(stamps: Array | None, period: Period | None) -> tuple[Array, Array]:
    """Return each row's place among the periods, and their starts; the last is NaT."""
    none = np.array(["NaT"], dtype="M8[us]")
    if stamps is None or period is None:
        return np.zeros(1, dtype=np.int64), none
    known = ~np.isnat(stamps)
    numbers = period.number(stamps[known])
    first, last = (numbers.min(), numbers.max()) if numbers.size else (0, -1)
    places = np.full(len(stamps), last - first + 1)
    places[known] = numbers - first
    return places, np.append(period.start(np.arange(first, last + 1)), none)


def _labels(keys: pd.DataFrame, by: Sequence[str]) -> pd.Index:
    if not by:
        return pd.RangeIndex(len(keys))
    labels: pd.Index = pd.Index(keys[by[0]]) if len(by) == 1 else pd.MultiIndex.from_frame(keys)
    return labels


class Rows(NamedTuple):
    """What is counted.

    Attributes
    ----------
    frame
        The columns to group by, perhaps among others; in its ``attrs``, where it is from.
    codes, words
        Each row's place in a list of words, -1 for null, and the list.
    stamps
        When each row was, to count by periods.
    weights
        How many rows of the data each stands for; None for one.
    """

    frame: pd.DataFrame
    codes: Array
    words: list[str]
    stamps: Array | None
    weights: Array | None = None


def rows_in(
    frame: pd.DataFrame | Partitioned,
    read: Callable[[pd.DataFrame], Rows],
    *,
    columns: Sequence[str],
    by: Sequence[str],
    period: Period | None,
) -> list[Rows]:
    """Read the rows of a frame, or of each partition those that differ in what is counted.

    Parameters
    ----------
    frame
        Of pandas or Dask.
    read
        Reads the rows of a frame of pandas.
    columns
        Those that it reads; of a Dask frame no others are looked at.
    by, period
        By what the rows are to be counted.
    """
    if isinstance(frame, pd.DataFrame):
        return [read(frame)]
    wanted = frame[list(dict.fromkeys([*columns, *by]))]
    return from_each([wanted], partial(_distinct, read, list(by), period))


def joined(parts: Sequence[Rows]) -> Rows:
    """Make the rows of all partitions one."""
    if len(parts) == 1:
        return parts[0]
    words = list(dict.fromkeys(chain.from_iterable(part.words for part in parts)))
    # One more place, at the end, is what a null's code of -1 picks.
    places = [np.array([*map(words.index, part.words), -1]) for part in parts]
    return Rows(
        stacked([part.frame for part in parts]),
        np.concatenate([known[part.codes] for known, part in zip(places, parts, strict=True)]),
        words,
        _end_to_end([part.stamps for part in parts]),
        _end_to_end([part.weights for part in parts]),
    )


def _distinct(
    read: Callable[[pd.DataFrame], Rows], by: list[str], period: Period | None, part: pd.DataFrame
) -> Rows:
    rows = read(part)
    groups, keys = grouped(rows.frame, by)
    starts = rows.stamps if rows.stamps is None or period is None else period.floor(rows.stamps)
    alike = pd.DataFrame({"group": groups, "code": rows.codes})
    alike = alike if starts is None else alike.assign(start=starts)
    cells = alike.groupby([*alike.columns], dropna=False).size().reset_index(name="n")
    frame = keys.iloc[cells["group"].to_numpy()]
    frame.attrs = dict(rows.frame.attrs)
    stamps = None if starts is None else cells["start"].to_numpy()
    return Rows(frame, cells["code"].to_numpy(), rows.words, stamps, cells["n"].to_numpy())


def _end_to_end(arrays: Sequence[Array | None]) -> Array | None:
    known = [each for each in arrays if each is not None]
    return np.concatenate(known) if known else None


def whose(frame: pd.DataFrame | Partitioned) -> list[str]:
    """Name the column that tells of which connection rows are, if there is one."""
    return [CONNECTION.name] if CONNECTION.name in frame.columns else []


def key(frame: pd.DataFrame, name: str) -> pd.Index:
    """Read what names each row's order: the id alone, or ``connection/id``; null without an id.

    Parameters
    ----------
    frame
        Orders, or rows below them.
    name
        Its column of order ids.

    Raises
    ------
    ValueError
        If some rows do not tell their connection, and others do.
    """
    ids = column(frame, name)
    if not whose(frame):
        return _index(ids)
    labels = column(frame, CONNECTION.name)
    if labels.isna().any():
        raise ValueError(
            f"the column {CONNECTION.name!r} has nulls, and the same order id may be in two "
            f"connections; fill it for all rows"
        )
    # A label may hold what parts it from the id; no two pairs may come to the same text.
    labels = labels.astype(str).str.replace("%", "%25", regex=False)
    labels = labels.str.replace("/", "%2F", regex=False) + "/"
    return _index(labels + ids.astype(str).where(ids.notna()))


def _index(values: pd.Series[Any]) -> pd.Index:
    index: pd.Index = pd.Index(values)
    return index


def require_once(frame: pd.DataFrame, name: str) -> None:
    """Raise unless each order stands in `frame` once."""
    keys = key(frame, "id")
    if not keys.is_unique:
        raise ValueError(
            f"{name} has more than one row of the order {keys[keys.duplicated()][0]!r}; pass one "
            f"row per order, and of several connections the column {CONNECTION.name!r} too"
        )


def require_alike(frames: Mapping[str, pd.DataFrame]) -> None:
    """Raise if some of the frames, given by name, tell rows' connections, and others do not."""
    told = [name for name, frame in frames.items() if whose(frame)]
    others = [name for name in frames if name not in told]
    if told and others:
        raise ValueError(
            f"{told[0]} has the column {CONNECTION.name!r}, and {others[0]} has not, but the same "
            f"order id may be in two connections; give it to all of them, or to none"
        )
