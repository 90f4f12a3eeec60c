"""The work that is open: how much, how old, and for how many days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import by_columns, moment_of, require
from trackstar_frames.measures._grouping import coded, grid, grouped, regrouped
from trackstar_frames.measures._partitions import Partitioned, from_each, tell
from trackstar_frames.measures._time import Array, instants
from trackstar_frames.measures.completeness import (
    FATES,
    LIFE,
    OPEN,
    SHIPPED,
    closings,
    fates,
    units_left,
)
from trackstar_frames.measures.status import NO_STATUS
from trackstar_frames.schema import LIFECYCLE

__all__ = ["AGES", "NEEDED", "PACE_DAYS", "SHIPPED_SINCE", "Waiting", "backlog", "read_open"]


#: The buckets of ages, in whole days passed; ``unknown`` without a created_date.
AGES = ("0-3", "4-7", "8-14", "15-21", "22-30", "31-45", "46+", "unknown")

_DAY = np.timedelta64(1, "D")
_FLOORS = np.array([0, 4, 8, 15, 22, 31, 46]) * _DAY
_OPEN_STATUSES = tuple(each for each in LIFECYCLE if each not in ("fulfilled", "cancelled"))


def backlog(
    orders: pd.DataFrame | Partitioned,
    *,
    by: str | Sequence[str] | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
) -> pd.DataFrame:
    """Count the orders that were open at one moment, by status and age.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or rows of it: those shipped in the last 28 days before
        `as_of` too, if the days of work are to mean anything. Read are ``status``,
        ``created_date``, ``first_shipped_date``, ``last_shipped_date``,
        ``complete_shipped_date``, ``units_ordered`` and ``units_shipped``. Of a Dask DataFrame,
        each partition is read where it lies, and only ages and units of open orders are kept.
    by
        A column, or several, to group by. Nulls are a group of their own.
    as_of
        The moment to look at; naive means UTC. By default when the data were fetched, from
        ``orders.attrs``.

    Returns
    -------
    pandas.DataFrame
        One row per group and status. The index holds the groups, then the ``status``: every
        group of `orders` has the nine known statuses in which an order is open, in lifecycle
        order; then those unknown to this package, by name; then ``(none)`` for orders without
        a status, and ``(shipped since)``, if there are any in any group.

        - ``n`` (int64): open orders.
        - ``units`` (int64): their units ordered that had not shipped; never below 0 for an order.
        - ``units_unknown`` (int64): those of the n orders that are not in ``units``: units
          are missing, or some shipped before `as_of` and some after.
        - ``0-3``, ``4-7``, ``8-14``, ``15-21``, ``22-30``, ``31-45``, ``46+``, ``unknown``
          (int64): orders by whole days passed since their created_date. They sum to n.
        - ``median_age``, ``oldest`` (timedelta64[us]): of known ages; null where there is none.
        - ``pace`` (float64): orders of the group completely shipped per day, over the 28 days
          up to `as_of`.
        - ``days_of_work`` (float64): n / pace; null where the pace is 0. The sum over
          the statuses of a group is that of the group.

        ``attrs["trackstar"]["backlog"]`` tells as_of, pace_days (28), the shipped orders in
        these days and the pace of all groups together, and ``left_out``: how many orders are
        in no row, and why. With the n, they sum to the orders given.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong kind or value, missing columns, columns that hold no
        moments or numbers, and more groups than a table can hold.

    Warns
    -----
    UserWarning
        If `as_of` is not given and the frame does not say when it was fetched: now is taken.

    Notes
    -----
    Any earlier moment than the data's can be asked about, as far as stamps tell. Orders created
    later are left out. Those completely shipped later were still open; in which status is
    unknown, so that they are ``(shipped since)``, and so are those fulfilled short whose last
    shipment came later. All others stand in the status that the data give, which may be newer
    than `as_of`. Cancelled orders are left out for any moment: nothing says when that was. So
    are those fulfilled without any shipped date. An order that had completely shipped is not
    open, whatever its status.

    Examples
    --------
    >>> import pandas as pd
    >>> orders = pd.DataFrame({
    ...     "status": ["open", "picked", "fulfilled"],
    ...     "created_date": pd.to_datetime(["2026-03-01", "2026-03-09", "2026-03-08"], utc=True),
    ...     "complete_shipped_date": pd.to_datetime([None, None, "2026-03-09"], utc=True),
    ...     "first_shipped_date": pd.NaT, "last_shipped_date": pd.NaT,
    ...     "units_ordered": [5, 2, 1], "units_shipped": [0, 0, 1],
    ... })
    >>> table = backlog(orders, as_of="2026-03-10")
    >>> table.loc[["open", "picked"], ["n", "units", "0-3", "8-14", "oldest", "days_of_work"]]
            n  units  0-3  8-14 oldest  days_of_work
    status
    open    1      5    0     1 9 days          28.0
    picked  1      2    1     0 1 days          28.0
    """
    require(orders, NEEDED, source="fetch_orders_df", lazy=True)
    names = _by(orders, by)
    moment = moment_of(orders, as_of)
    now = np.datetime64(moment.tz_localize(None), "us")
    found = read_open(orders, names, now)
    codes, statuses = _placed(found)
    rows = pd.CategoricalIndex(statuses, statuses, ordered=True, name="status")
    labels = grid(found.keys, names, rows, len(AGES))
    cells = found.opened["group"].to_numpy() * len(statuses) + codes
    table = _counts(found.opened, cells, labels)
    table["pace"] = np.repeat(found.shipped / PACE_DAYS, len(statuses))
    table["days_of_work"] = table["n"] / table["pace"].where(table["pace"] > 0)
    told = {
        "as_of": moment.isoformat(),
        "pace_days": PACE_DAYS,
        "shipped": int(found.shipped.sum()),
        "pace": float(found.shipped.sum() / PACE_DAYS),
        "left_out": {name: int(found.fates[place]) for place, name in enumerate(FATES[:OPEN])},
    }
    tell(table, found.keys, "backlog", told)
    return table


def _by(orders: pd.DataFrame | Partitioned, by: str | Sequence[str] | None) -> list[str]:
    names = by_columns(orders, by)
    if "status" in names:
        raise ValueError(f"by={by!r} names 'status', by which the rows are already; leave it out")
    return names


def _placed(found: Waiting) -> tuple[Array, list[str]]:
    """Return each open order's place among the statuses, and these in the order of rows."""
    names, codes = found.statuses, found.opened["status"].to_numpy()
    held = {names[code] for code in np.unique(codes)}
    last = [name for name in (NO_STATUS, SHIPPED_SINCE) if name in held]
    statuses = [*_OPEN_STATUSES, *sorted(held.difference(_OPEN_STATUSES, last)), *last]
    # A status that only orders shipped since have is never picked, and has no place.
    places = [statuses.index(name) if name in held else -1 for name in names]
    return np.array(places)[codes], statuses


def _counts(opened: pd.DataFrame, cells: Array, labels: pd.Index) -> pd.DataFrame:
    """Count and measure the open orders of each cell."""
    rows = len(labels)
    units, ages = opened["units"].to_numpy(), opened["age"].to_numpy()
    known = ~np.isnan(units)
    sums = np.bincount(cells[known], weights=units[known], minlength=rows)
    table = pd.DataFrame({"n": np.bincount(cells, minlength=rows)}, index=labels)
    table["units"] = sums.astype(np.int64)
    table["units_unknown"] = np.bincount(cells[~known], minlength=rows)
    buckets = np.bincount(cells * len(AGES) + _buckets(ages), minlength=rows * len(AGES))
    table[list(AGES)] = buckets.reshape(rows, len(AGES))
    dated = ~np.isnat(ages)
    median, oldest = _median_and_most(cells[dated], ages[dated], rows)
    return table.assign(median_age=median, oldest=oldest)


def _buckets(ages: Array) -> Array:
    """Return each age's place in `AGES`."""
    places = np.searchsorted(_FLOORS, ages, side="right") - 1
    return np.where(np.isnat(ages), AGES.index("unknown"), places)


def _median_and_most(cells: Array, ages: Array, rows: int) -> tuple[Array, Array]:
    """Return the median and the largest age of each row; null for one without any."""
    ordered = ages[np.lexsort((ages, cells))]
    sizes = np.bincount(cells, minlength=rows)
    ends = np.cumsum(sizes)
    median, most = (np.full(rows, np.timedelta64("NaT", "us")) for _ in range(2))
    some = sizes > 0
    starts, last = (ends - sizes)[some], ends[some] - 1
    low, high = ordered[starts + (sizes[some] - 1) // 2], ordered[starts + sizes[some] // 2]
    median[some], most[some] = low + (high - low) // 2, ordered[last]
    return median, most


#: The columns that are read.
NEEDED = (*LIFE, "first_shipped_date", "units_ordered", "units_shipped")

#: Over how many days it is counted what was shipped lately.
PACE_DAYS = 28

#: Instead of a status: open at an earlier moment than the data's, and shipped since.
SHIPPED_SINCE = "(shipped since)"

_PACE = np.timedelta64(PACE_DAYS, "D")


class Waiting(NamedTuple):
    """What is told of orders, in one frame or one partition.

    Attributes
    ----------
    keys
        The groups of all orders; in its ``attrs``, where they are from.
    shipped
        How many orders of each group were shipped lately.
    fates
        How many orders have each of `FATES`.
    opened
        Of each open order, and nothing more: its group, the place of its status, the units that
        are left, and its age.
    statuses
        Their names, `NO_STATUS` and `SHIPPED_SINCE` last.
    """

    keys: pd.DataFrame
    shipped: Array
    fates: Array
    opened: pd.DataFrame
    statuses: list[str]


def read_open(orders: pd.DataFrame | Partitioned, names: list[str], now: np.datetime64) -> Waiting:
    """Read what a backlog needs; of a Dask frame, where each partition lies."""
    if isinstance(orders, pd.DataFrame):
        return _find(names, now, orders)
    wanted = orders[list(dict.fromkeys([*NEEDED, *names]))]
    return _joined(from_each([wanted], partial(_find, names, now)), names)


def _find(names: list[str], now: np.datetime64, orders: pd.DataFrame) -> Waiting:
    fate = fates(orders, now)
    groups, keys = grouped(orders, names)
    keys.attrs = dict(orders.attrs)
    still = fate == OPEN
    since = instants(orders, "complete_shipped_date") > now - _PACE
    lately = groups[(fate == SHIPPED) & since]
    read = orders[list(NEEDED)][still]
    codes, statuses = _statuses(read, now)
    ages = now - instants(read, "created_date")
    units = units_left(read, now)
    opened = pd.DataFrame({"group": groups[still], "status": codes, "units": units, "age": ages})
    return Waiting(
        keys,
        np.bincount(lately, minlength=len(keys)),
        np.bincount(fate, minlength=len(FATES)),
        opened,
        statuses,
    )


def _joined(parts: Sequence[Waiting], names: list[str]) -> Waiting:
    """Make what is told of all partitions one."""
    groups, keys = regrouped([part.keys for part in parts], names)
    statuses = list(dict.fromkeys(chain.from_iterable(part.statuses for part in parts)))
    shipped = np.zeros(len(keys), dtype=np.int64)
    opened = []
    for part, numbers in zip(parts, groups, strict=True):
        np.add.at(shipped, numbers, part.shipped)
        codes = np.array([*map(statuses.index, part.statuses)])[part.opened["status"]]
        opened.append(part.opened.assign(group=numbers[part.opened["group"]], status=codes))
    fates = np.sum([part.fates for part in parts], axis=0)
    return Waiting(keys, shipped, fates, pd.concat(opened, ignore_index=True), statuses)


def _statuses(orders: pd.DataFrame, now: np.datetime64) -> tuple[Array, list[str]]:
    """Return each open order's place among the statuses, and these."""
    codes, values = coded(orders, "status")
    codes = np.where(codes < 0, len(values), codes)
    codes = np.where(closings(orders) > now, len(values) + 1, codes)
    return codes, [*values, NO_STATUS, SHIPPED_SINCE]
