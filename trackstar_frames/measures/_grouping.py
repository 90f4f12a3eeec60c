"""Counts, sums and rates by groups and periods, over whole tables and over partitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import chain
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import column, present
from trackstar_frames.measures._partitions import (
    Partitioned,
    compute_each,
    concat_parts,
    is_partitioned,
)
from trackstar_frames.measures._time import Array, Period

#: How many standard deviations a 95 % interval reaches to each side.
Z95 = 1.959963984540054

#: Rates of fewer orders are not to be trusted: one order moves them by more than 3 points, and
#: the interval of a rate of 90 % is more than 20 points wide.
SMALL = 30
#: Nor are those over fewer days: the spread between days is hardly seen.
FEW_DAYS = 4

_MOST_CELLS = 20_000_000
_DAY = Period("D", 1, 0)
_SHARE = 0.95
_MANY_DEGREES = 200


def factorize(frame: pd.DataFrame, name: str) -> tuple[Array, list[str]]:
    """Return the index of each row's value in a list of values, -1 for null, and the list."""
    codes, values = pd.factorize(column(frame, name))
    return codes, [str(value) for value in values]


def group_numbers(frame: pd.DataFrame, by: Sequence[str]) -> tuple[Array, pd.DataFrame]:
    """Return the number of each row's group, and one row of keys for each group.

    The keys have the attrs of the frame.
    """
    if by:
        keys = frame[list(by)].reset_index(drop=True)
        keys = keys.assign(**{name: column(keys, name) for name in by})
        groups = keys.groupby(list(by), dropna=False, observed=True).ngroup().to_numpy()
        keys = keys.iloc[np.unique(groups, return_index=True)[1]]
    else:
        groups, keys = np.zeros(len(frame), dtype=np.int64), pd.DataFrame(index=range(1))
    keys.attrs = dict(frame.attrs)
    return groups, keys


class CodedRows(NamedTuple):
    """Rows to count by a value of theirs, which is one of a list of words."""

    frame: pd.DataFrame  # with the columns to group by, and the attrs of its source
    codes: Array  # each row's index in `words`, -1 for null
    words: list[str]
    stamps: Array | None  # when each row was; None without periods
    weights: Array | None = None  # how many rows of the data each stands for; None for one
    leads: pd.Series[int] | None = None  # how many orders were due how long after their creation

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
    stamps = None if starts is None else cells["start"].to_numpy()
    weights = cells["n"].to_numpy()
    return CodedRows(frame, cells["code"].to_numpy(), rows.words, stamps, weights, rows.leads)


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
    when, many = (np.concatenate(each) if each else None for each in (stamps, weights))
    leads = [part.leads for part in parts if part.leads is not None]
    total = pd.concat(leads).groupby(level=0).sum() if leads else None
    return CodedRows(frame, np.concatenate(codes), words, when, many, total)


class Counts(NamedTuple):
    """How many rows of each word are in each cell of a table: a group, or its period."""

    counts: Array  # a row for each label, a column for each word
    labels: pd.Index
    cells: Array  # the position in `labels` of each of the rows; -1 for one without a period
    left_out: Array  # by word, the rows without a period


def count_codes(rows: CodedRows, by: Sequence[str], period: Period | None) -> Counts:
    """Count each word, none of which may be null, in each group and period."""
    cells = cells_of(rows.frame, by, rows.stamps, period, len(rows.words))
    size, depth = len(cells.keys), len(rows.words)
    # Cell -1, of those without a period, is counted first.
    counts = np.bincount((cells.of_rows + 1) * depth + rows.codes, rows.weights, (size + 1) * depth)
    counts = counts.astype(np.int64, copy=False).reshape(-1, depth)
    names = [*by, *(["period"] if period else [])]
    return Counts(counts[1:], key_labels(cells.keys, names), cells.of_rows, counts[0])


class Cells(NamedTuple):
    """The rows of a table: one for each group, or for each of its periods."""

    keys: pd.DataFrame  # of each, in the sequence of groups, then periods, with the frame's attrs
    of_rows: Array  # the cell of each row of the data; -1 for one without a period


def cells_of(
    frame: pd.DataFrame,
    by: Sequence[str],
    stamps: Array | None,
    period: Period | None,
    width: int,
) -> Cells:
    """Return the cells that rows are in; raise if a table of `width` columns is too large."""
    groups, keys = group_numbers(frame, by)
    if period is None:
        return Cells(keys.reset_index(drop=True), groups)
    if stamps is None:
        raise ValueError("rows have no stamps to count by period")
    # Every group gets every period from the first to the last, so that a gap shows as zeros. Rows
    # without a stamp are in no period, as a label NaT would keep a table from being sliced by date.
    known = ~np.isnat(stamps)
    numbers = period.number(stamps[known])
    first, last = (numbers.min(), numbers.max()) if numbers.size else (0, -1)
    starts = period.start(np.arange(first, last + 1))
    height, length = len(keys), len(starts)
    if height * length * width > _MOST_CELLS:
        raise ValueError(
            f"{height:,} groups over {length:,} periods are more than a table can hold; take a "
            f"longer freq or fewer groups, or look for a stray date: {starts[0]} to {starts[-1]}"
        )
    of_rows = np.full(len(frame), -1)
    of_rows[known] = groups[known] * length + numbers - first
    keys = keys.iloc[np.repeat(np.arange(height), length)].reset_index(drop=True)
    return Cells(keys.assign(period=np.tile(starts, height)), of_rows)


def sum_cells(amounts: pd.DataFrame, cells: Cells) -> pd.DataFrame:
    """Return the sums of each cell of `amounts`, a row for each row of the data."""
    kept = cells.of_rows >= 0
    sums = amounts[kept].groupby(cells.of_rows[kept]).sum()
    return sums.reindex(range(len(cells.keys)), fill_value=0)


def row_labels(keys: pd.DataFrame, by: Sequence[str], last: pd.Index, width: int) -> pd.Index:
    """Return the labels of a table with `width` columns and a row for each group and `last`."""
    if len(keys) * len(last) * width > _MOST_CELLS:
        raise ValueError(
            f"{len(keys):,} groups are more than a table can hold; group by columns of fewer values"
        )
    if not by:
        return last
    groups, values = np.indices((len(keys), len(last))).reshape(2, -1)
    name = str(last.name)
    return key_labels(keys.iloc[groups].assign(**{name: last[values]}), [*by, name])


def key_labels(keys: pd.DataFrame, by: Sequence[str]) -> pd.Index:
    """Return the labels of a table from the keys of its rows."""
    if not by:
        return pd.RangeIndex(len(keys))
    return pd.Index(keys[by[0]]) if len(by) == 1 else pd.MultiIndex.from_frame(keys)


def rate_columns_by_day(
    rows: CodedRows, found: Counts, successes: Sequence[str], of: Sequence[str]
) -> dict[str, Array]:
    """Return the columns of a rate of some words among others, with an interval by days.

    Orders of one day share its luck. The interval is Wilson's for as many independent orders as
    tell as much (n over the design effect: the variance of the rate over days, of that of
    independent orders, at least 1), with Student's t of (days - 1) for z. A single day says nothing
    of others: its interval is that of independent orders, and describes that day.
    """
    is_counted = np.isin(rows.codes, [*map(rows.words.index, of)]) & (found.cells >= 0)
    is_success = np.isin(rows.codes[is_counted], [*map(rows.words.index, successes)])
    weights = np.ones(len(rows.codes)) if rows.weights is None else rows.weights
    weights = weights[is_counted]
    cells = found.cells[is_counted]
    days = _day_numbers(rows.stamps, is_counted)
    width = int(days.max(initial=0)) + 1
    codes, distinct = pd.factorize(cells * width + days, sort=True)
    n_of_day = np.bincount(codes, weights, len(distinct))
    successes_of_day = np.bincount(codes, weights * is_success, len(distinct))
    return rate_over_days(distinct // width, successes_of_day, n_of_day, len(found.labels))


def _day_numbers(stamps: Array | None, chosen: Array) -> Array:
    """Return a number from 0 for the day of each chosen row; those without a stamp share one."""
    if stamps is None:
        return np.zeros(int(chosen.sum()), dtype=np.int64)
    days = stamps[chosen].astype("M8[D]")
    unknown = np.isnat(days)
    numbers = days.astype(np.int64)
    first = numbers[~unknown].min(initial=np.iinfo(np.int64).max)
    return np.where(unknown, 0, numbers - first + 1)


def rate_over_days(cells: Array, successes: Array, n: Array, size: int) -> dict[str, Array]:
    """Return the columns of the rates of `size` cells, from the counts of each of their days."""
    days = np.bincount(cells, minlength=size)
    total = np.bincount(cells, n, size)
    good = np.bincount(cells, successes, size)
    rate = np.divide(good, total, out=np.zeros(size), where=total > 0)
    squares = np.bincount(cells, (successes - rate[cells] * n) ** 2, size)
    between = np.divide(days * squares, days - 1, out=np.zeros(size), where=days > 1)
    within = total * rate * (1 - rate)
    effect = np.divide(between, within, out=np.ones(size), where=within > 0)
    z = t_quantiles(days - 1)
    rate, low, high = _wilson(good, total, total / np.maximum(effect, 1), z)
    small = (total < SMALL) | (days < FEW_DAYS)
    return {"rate": rate, "rate_low": low, "rate_high": high, "small": small}


def _wilson(successes: Array, n: Array, effective: Array, z: Array) -> tuple[Array, Array, Array]:
    """Return the rate and its interval by Wilson's score; NaN where n is 0.

    The interval is as wide as that of `effective` independent trials.
    """
    rate = successes / np.where(n > 0, n, np.nan)
    spread = z**2 / np.where(n > 0, effective, np.nan)
    centre = rate + spread / 2
    half = np.sqrt(spread * (rate * (1 - rate) + spread / 4))
    low, high = (centre - half) / (1 + spread), (centre + half) / (1 + spread)
    return rate, np.clip(low, 0, rate), np.clip(high, rate, 1)


def t_quantiles(degrees: Array) -> Array:
    """Return how far a 95 % interval reaches by Student's t; Z95 for no degree of freedom."""
    distinct, codes = np.unique(degrees, return_inverse=True)
    values = [_t_quantile(int(each)) if each > 0 else Z95 for each in distinct]
    return np.array(values)[codes] if values else np.full(len(degrees), Z95)


@cache
def _t_quantile(degrees: int) -> float:
    if degrees > _MANY_DEGREES:
        # Abramowitz and Stegun, 26.7.5.
        z, v = Z95, degrees
        first, second = (z**3 + z) / (4 * v), (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        return z + first + second + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_share(middle, degrees) < _SHARE else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _t_share(angle: float, degrees: int) -> float:
    """Return the share of Student's t within sqrt(degrees) * tan(angle) on either side."""
    # Abramowitz and Stegun, 26.7.3 and 26.7.4.
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine, cosine) if odd else (1.0, 1.0)
    for k in range(2 + odd, degrees - 1, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    if not odd:
        return sine * total
    return 2 / math.pi * (angle + (sine * total if degrees > 1 else 0))


# Sums of many columns by groups and periods.

#: Rows with the columns to group by and the attrs of their source, and what each adds to sums.
Rows = tuple[pd.DataFrame, pd.DataFrame]


def keys_of(frame: pd.DataFrame, by: Sequence[str], **more: Any) -> pd.DataFrame:
    """Return the columns to group by, those of `by` and more, with the attrs of their frame."""
    keys = frame[list(by)].assign(**more)
    keys.attrs = dict(frame.attrs)
    return keys


def days_of(stamps: Array) -> Array:
    """Return the first moments of days, as `sum_days` reads them."""
    return _DAY.floor(stamps)


def sum_tables(tables: Mapping[str, Any], read: Callable[[Any], Rows], by: Sequence[str]) -> Rows:
    """Return the keys of each group, and the sums of what `read` makes of the tables."""
    # Tables of Dask are read partition by partition, and only sums leave a partition.
    sum_each = partial(_sum_part, read, [*tables], by)
    first = next(iter(tables.values()))
    if not is_partitioned(first):
        return sum_each(*tables.values())
    parts = compute_each([*tables.values()], sum_each)
    keys = concat_parts([keys for keys, _ in parts])
    return _sum(keys, pd.concat([sums for _, sums in parts]), by)


def _sum_part(
    read: Callable[[Any], Rows], names: Sequence[str], by: Sequence[str], *parts: pd.DataFrame
) -> Rows:
    return _sum(*read(SimpleNamespace(**dict(zip(names, parts, strict=True)))), by)


def _sum(rows: pd.DataFrame, amounts: pd.DataFrame, by: Sequence[str]) -> Rows:
    groups, keys = group_numbers(rows, by)
    return keys, amounts.groupby(groups).sum().reindex(range(len(keys)), fill_value=0)


def labelled(keys: pd.DataFrame, sums: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return sums by group, with the groups as the index."""
    keys, sums = _sum(keys, sums, by)
    return sums.set_axis(key_labels(keys, by))


def every_period(keys: pd.DataFrame, sums: pd.DataFrame, by: Sequence[str], period: Period) -> Rows:
    """Give every group every period from the first to the last; drop rows without a period."""
    cells = cells_of(keys, by, keys["period"].to_numpy(dtype="M8[us]"), period, sums.shape[1])
    return cells.keys, sum_cells(sums, cells)


class ByDay(NamedTuple):
    """Sums of groups and periods, and of the days in them, over which rates vary."""

    keys: pd.DataFrame  # of each row of the table, with the attrs of its source
    sums: pd.DataFrame  # of each row
    days: pd.DataFrame  # of each group and day
    cells: Array  # the row that each day is in; -1 for days in no period

    def add_rate(self, columns: dict[str, Any], name: str, part: str, n: str) -> None:
        """Add a rate, with its interval, to the columns of a table."""
        rates = self.rates(part, n)
        columns |= {f"{name}_{word}": rates[word] for word in ("rate", "rate_low", "rate_high")}

    def table(self, columns: Mapping[str, Any], by: Sequence[str]) -> pd.DataFrame:
        """Return a table of these columns with groups, and periods if there are any, as index."""
        names = [*by, *present(self.keys, ["period"])]
        index = key_labels(self.keys, names)
        return pd.DataFrame({name: np.asarray(each) for name, each in columns.items()}, index=index)

    def are_small(self, n: str) -> Array:
        """Return which rows are of few orders or few days."""
        return self.rates(n, n)["small"]

    def rates(self, part: str, n: str) -> dict[str, Array]:
        """Return the columns of a rate with its interval over days."""
        whole = self.days[n].to_numpy()
        used = (self.cells >= 0) & (whole > 0)
        return rate_over_days(
            self.cells[used], self.days[part].to_numpy()[used], whole[used], len(self.keys)
        )


def sum_days(
    tables: Mapping[str, Any], read: Callable[[Any], Rows], by: Sequence[str], span: Period | None
) -> ByDay:
    """Sum by group and period what `read` makes of the tables, with the day of each row."""
    keys, days = sum_tables(tables, read, [*by, "period"])
    cells = cells_of(keys, by, keys["period"].to_numpy(dtype="M8[us]"), span, days.shape[1])
    return ByDay(cells.keys, sum_cells(days, cells), days, cells.of_rows)


def ratio(part: Any, n: Any) -> Array:
    """Return a part of n; NaN where n is 0."""
    whole = np.asarray(n, dtype=np.float64)
    result: Array = np.asarray(part, dtype=np.float64) / np.where(whole != 0, whole, np.nan)
    return result
