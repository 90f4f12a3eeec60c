"""The open orders: how many, how old, and how many days of work."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _filters, _grouping, completeness
from trackstar_frames.measures._labels import parse_labels, relabel
from trackstar_frames.measures._partitions import Partitioned, compute_each, concat_parts
from trackstar_frames.measures._policies import PolicyLike, resolve_moment, with_attrs, zones_of
from trackstar_frames.measures._time import NAT, Array, instants, now_of
from trackstar_frames.measures.status_mix import NO_STATUS
from trackstar_frames.schema import OPEN_STATUSES

#: Ages in whole days; ``unknown`` is without a created_date.
AGE_BUCKETS = ("0-3", "4-7", "8-14", "15-21", "22-30", "31-45", "46+", "unknown")

#: Instead of a status: open at an earlier moment than the data's, and shipped since.
SHIPPED_SINCE = "(shipped since)"

_DAY = np.timedelta64(1, "D")
_FLOORS = np.array([0, 4, 8, 15, 22, 31, 46]) * _DAY
_PACE_DAYS = 28
_COLUMNS_READ = (*completeness.LIFECYCLE_COLUMNS, *completeness.UNIT_COLUMNS)


def backlog(
    orders: pd.DataFrame | Partitioned,
    *,
    by: str | Sequence[str] | None = None,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    labels: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Count the orders that were open at one moment, by status and age.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or some of its rows, with the columns ``status``,
        ``created_date``, ``first_shipped_date``, ``last_shipped_date``,
        ``complete_shipped_date``, ``units_ordered`` and ``units_shipped``. The days of work need
        the orders shipped in the 28 days before `as_of` too. Of a Dask DataFrame, which is read
        partition by partition, only ages and units of open orders are kept.
    by
        A column, or several, to group by. Nulls are a group of their own.
    policy, policy_by
        Only its time zone is used: a bare day as `as_of` ends in it, as for `late_orders`. By
        default that of a judged frame, and of plain orders UTC.
    as_of
        The moment to look at, as for `ship_date_compliance`. By default that of a judged frame,
        or else when the data were fetched, from ``orders.attrs``.
    labels
        Names to show in the index instead of values of `by`, such as ``{"wh_1": "Newark"}``.

    Returns
    -------
    pandas.DataFrame
        One row per group and status. The index holds the groups, then the ``status``: every
        group of `orders` has the nine known statuses in which an order is open, in lifecycle
        order; then those unknown to this package, by name; then ``(none)`` for orders without
        a status, and ``(shipped since)``, if there are any in any group.

        - ``n`` (int64): open orders.
        - ``units`` (int64): their units ordered that had not shipped; never below 0 for an order.
        - ``units_unknown`` (int64): those of the n orders that are not in ``units``, as units
          are missing, or some shipped before `as_of` and some after.
        - ``0-3``, ``4-7``, ``8-14``, ``15-21``, ``22-30``, ``31-45``, ``46+``, ``unknown``
          (int64): orders by whole days passed since their created_date. They sum to n.
        - ``median_age``, ``oldest`` (timedelta64[us]): of known ages; null where there is none.
        - ``pace`` (float64): orders of the group completely shipped per day, over the days of
          these 28 that the frame covers: at most 28, and no more than have begun since the fetch's
          lower bound of created_date or, without one, since the first created_date in the frame,
          of any group. With 7 days of history and 10 shipped on each, it is 10.
        - ``days_of_work`` (float64): n / pace; null where the pace is 0. Those of a group's
          statuses sum to that of the group.

        ``attrs["trackstar"]["backlog"]`` holds as_of, pace_days (the days covered, at most 28),
        the number of orders shipped in these days and the pace of all groups together, and
        ``left_out``: how many orders are in no row, and why. With the n, they sum to the orders
        given.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong type or value, missing columns, columns that hold no
        moments or numbers, and more groups than a table can hold.

    Warns
    -----
    FilteredOrdersWarning
        If the frame was fetched with a limit, or with filters of ids, order numbers, update dates,
        bounds of dates, or statuses in which an order may have been open: they leave out orders
        that count here.
    UserWarning
        If `as_of` is not given and the frame does not say when it was fetched: now is taken.

    Notes
    -----
    `as_of` may be earlier than the data, as far as stamps allow. Orders created later are left
    out. Those completely shipped later were still open, in an unknown status: they are
    ``(shipped since)``, as are those fulfilled short whose last shipment came later. All others
    are in the status of the data. Cancelled orders are left out for any moment, as nothing says
    when they were cancelled; so are those fulfilled without any shipped date. An order that had
    completely shipped is not open, whatever its status. One with a line of unknown quantity is
    never known to be complete: it is open while its status is.

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
    >>> table = backlog(orders, as_of="2026-03-10T00:00")
    >>> table.loc[["open", "picked"], ["n", "units", "0-3", "8-14", "oldest", "days_of_work"]]
            n  units  0-3  8-14 oldest  days_of_work
    status
    open    1      5    0     1 9 days           9.0
    picked  1      2    1     0 1 days           9.0
    """
    _checks.require(orders, _COLUMNS_READ, source="fetch_orders_df", lazy=True)
    names = _checks.by_columns(orders, by, reserved=["status"])
    policies, shown = zones_of(orders, policy, policy_by), parse_labels(labels)
    moment = resolve_moment(orders, as_of, policies)
    find = partial(_find_open_orders, names, now_of(moment))
    if isinstance(orders, pd.DataFrame):
        found = find(with_attrs(orders))
    else:
        wanted = orders[list(dict.fromkeys([*_COLUMNS_READ, *names]))]
        found = _concat(compute_each([wanted], find), names)
    codes, statuses = _status_rows(found)
    rows = pd.CategoricalIndex(statuses, statuses, ordered=True, name="status")
    index = _grouping.row_labels(found.keys, names, rows, len(AGE_BUCKETS))
    cells = found.orders["group"].to_numpy() * len(statuses) + codes
    table = _counts(found.orders, cells, index)
    bound = _filters.bounds_of(_filters.filters_of(found.keys), "created").start
    since = found.since if bound is None else now_of(bound)
    days = _days_covered(since, now_of(moment))
    table["pace"] = np.repeat(found.shipped / days, len(statuses))
    table["days_of_work"] = table["n"] / table["pace"].where(table["pace"] > 0)
    info = {
        "as_of": moment.isoformat(),
        "pace_days": days,
        "shipped": int(found.shipped.sum()),
        "pace": float(found.shipped.sum() / days),
        "left_out": dict(zip(completeness.STATES[:-1], found.states[:-1].tolist(), strict=True)),
    }
    _checks.add_measure_info(table, found.keys, "backlog", info)
    _filters.warn_if_biased(found.keys, "backlog", bounds=_filters.OF_OPEN, as_of=moment)
    return table.set_axis(relabel(table.index, names, shown))


class _OpenOrders(NamedTuple):
    """The open orders of a frame or a partition, and counts of the others."""

    keys: pd.DataFrame  # the groups of all orders, with the attrs of their frame
    shipped: Array  # how many orders of each group were shipped in the days of the pace
    states: Array  # how many orders are in each of STATES
    orders: pd.DataFrame  # each open order's group, units left, age, and index in `statuses`
    statuses: list[str]  # NO_STATUS and SHIPPED_SINCE are last
    since: np.datetime64  # the first created_date of all orders; NaT without any


def _find_open_orders(names: list[str], now: np.datetime64, orders: pd.DataFrame) -> _OpenOrders:
    states = completeness.order_states(orders, now)
    groups, keys = _grouping.group_numbers(orders, names)
    is_recent = instants(orders, "complete_shipped_date") > now - _PACE_DAYS * _DAY
    shipped = groups[(states == completeness.SHIPPED) & is_recent]
    read = orders[list(_COLUMNS_READ)][states == completeness.OPEN]
    codes, values = _grouping.factorize(read, "status")
    codes = np.where(codes < 0, len(values), codes)
    codes = np.where(completeness.closed_at(read) > now, len(values) + 1, codes)
    found = {
        "group": groups[states == completeness.OPEN],
        "status": codes,
        "units": completeness.units_left(read, now),
        "age": now - instants(read, "created_date"),
    }
    return _OpenOrders(
        keys,
        np.bincount(shipped, minlength=len(keys)),
        np.bincount(states, minlength=len(completeness.STATES)),
        pd.DataFrame(found),
        [*values, NO_STATUS, SHIPPED_SINCE],
        _first(instants(orders, "created_date")),
    )


def _first(stamps: Array) -> np.datetime64:
    """Return the first of some moments; NaT if there is none."""
    known = stamps[~np.isnat(stamps)]
    first: np.datetime64 = known.min() if known.size else NAT
    return first


def _days_covered(since: np.datetime64, now: np.datetime64) -> int:
    """Return on how many of the days of the pace there could be orders, the first one whole."""
    if np.isnat(since):
        return _PACE_DAYS
    return int(np.clip(-((since - now) // _DAY), 1, _PACE_DAYS))


def _concat(parts: Sequence[_OpenOrders], names: list[str]) -> _OpenOrders:
    whole = concat_parts([part.keys for part in parts])
    groups, keys = _grouping.group_numbers(whole, names)
    ends = np.cumsum([len(part.keys) for part in parts])
    statuses = list(dict.fromkeys(chain.from_iterable(part.statuses for part in parts)))
    shipped = np.zeros(len(keys), dtype=np.int64)
    orders = []
    for part, numbers in zip(parts, np.split(groups, ends[:-1]), strict=True):
        np.add.at(shipped, numbers, part.shipped)
        codes = np.array([*map(statuses.index, part.statuses)])[part.orders["status"]]
        orders.append(part.orders.assign(group=numbers[part.orders["group"]], status=codes))
    since = _first(np.array([part.since for part in parts], dtype="M8[us]"))
    states = np.sum([part.states for part in parts], axis=0)
    return _OpenOrders(keys, shipped, states, pd.concat(orders, ignore_index=True), statuses, since)


def sorted_statuses(present: Iterable[str]) -> list[str]:
    """Return the statuses in which orders are open: all known ones, then others present by name."""
    found = set(present)
    last = [name for name in (NO_STATUS, SHIPPED_SINCE) if name in found]
    return [*OPEN_STATUSES, *sorted(found.difference(OPEN_STATUSES, last)), *last]


def _status_rows(found: _OpenOrders) -> tuple[Array, list[str]]:
    """Return the index of each open order's status among the rows, and the statuses of these."""
    names, codes = found.statuses, found.orders["status"].to_numpy()
    present = {names[code] for code in np.unique(codes)}
    statuses = sorted_statuses(present)
    # A status of orders that have all shipped since is not among the rows, and has no order here.
    indexes = [statuses.index(name) if name in present else -1 for name in names]
    return np.array(indexes)[codes], statuses


def _counts(orders: pd.DataFrame, cells: Array, labels: pd.Index) -> pd.DataFrame:
    """Return the counts, units and ages of the open orders in each row."""
    rows = len(labels)
    units, ages = orders["units"].to_numpy(), orders["age"].to_numpy()
    known = ~np.isnan(units)
    sums = np.bincount(cells[known], weights=units[known], minlength=rows)
    table = pd.DataFrame({"n": np.bincount(cells, minlength=rows)}, index=labels)
    table["units"] = sums.astype(np.int64)
    table["units_unknown"] = np.bincount(cells[~known], minlength=rows)
    dated, width = ~np.isnat(ages), len(AGE_BUCKETS)
    known_buckets = np.searchsorted(_FLOORS, ages, side="right") - 1
    buckets = np.where(dated, known_buckets, AGE_BUCKETS.index("unknown"))
    counts = np.bincount(cells * width + buckets, minlength=rows * width)
    table[list(AGE_BUCKETS)] = counts.reshape(rows, width)
    known_ages = pd.Series(ages[dated]).groupby(cells[dated]).agg(["median", "max"])
    known_ages = known_ages.reindex(range(rows)).astype("m8[us]")
    return table.assign(
        median_age=known_ages["median"].to_numpy(), oldest=known_ages["max"].to_numpy()
    )
