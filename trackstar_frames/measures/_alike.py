"""Rows to count, of one frame or of many partitions, where those that are alike become one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
import pandas as pd

from trackstar_frames.measures._partitions import Partitioned, from_each, stacked
from trackstar_frames.measures._tally import grouped
from trackstar_frames.measures._time import Array, Period

__all__ = ["Rows", "joined", "rows_in"]


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
