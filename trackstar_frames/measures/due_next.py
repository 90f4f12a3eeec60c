"""The open orders by when they are due: what to ship next."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _filters, _grouping, _policies, _time, completeness
from trackstar_frames.measures._labels import parse_labels, relabel
from trackstar_frames.measures._partitions import Partitioned
from trackstar_frames.measures._policies import Judgement, PolicyLike
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.backlog import SHIPPED_SINCE, sorted_statuses
from trackstar_frames.measures.ship_date_compliance import judged_orders, limits, moment_to_judge_at
from trackstar_frames.measures.status_mix import NO_STATUS

#: The most urgent first; ``unknown`` is without a due time by the policy.
DUE_BUCKETS = (
    *("> 7 d overdue", "3-7 d overdue", "1-3 d overdue", "< 1 d overdue"),
    *("0-4 h", "4-12 h", "12-24 h", "24-48 h", "later", "unknown"),
)

_HOUR, _DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")
_TICK = np.timedelta64(1, "us")
#: Not evaluable, though the due time is known.
_WITH_DUE_TIME = ("due before the window", "quantity unknown")
_COLUMNS_READ = (*completeness.LIFECYCLE_COLUMNS, *completeness.UNIT_COLUMNS)


def due_next(
    orders: pd.DataFrame | Partitioned,
    *,
    by: str | Sequence[str] | None = None,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    labels: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Count the open orders by how long they have until they are due, or have been overdue.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df` or of `ship_date_compliance`, or some of its rows, with
        the columns that `ship_date_compliance` and `backlog` read. A Dask DataFrame is counted
        partition by partition.
    by
        A column, or several, to group by. Nulls are a group of their own.
    policy, policy_by
        When orders are due: as for `ship_date_compliance`. A frame that has been judged must
        have been judged by the same policy.
    as_of
        The moment to look at, as for `ship_date_compliance`.
    labels
        Names to show for values of `by`, such as ``{warehouse_id: name}``.

    Returns
    -------
    pandas.DataFrame
        One row per group and time to the due time, the most urgent first. The index holds the
        groups, then ``due`` (ordered categorical), the same ten for every group of `orders`:
        ``> 7 d overdue``, ``3-7 d overdue``, ``1-3 d overdue``, ``< 1 d overdue``, ``0-4 h``
        (from now to less than 4 hours), ``4-12 h``, ``12-24 h``, ``24-48 h``, ``later`` and
        ``unknown``. All columns are int64:

        - ``n``: open orders whose ship event has not happened.
        - ``units_left``: their units ordered that had not shipped.
        - ``units_unknown``: those of the n orders that are not in ``units_left``, as in `backlog`.
        - a column for each status in which an order is open, as the rows of `backlog` have
          them. They sum to n.

        ``attrs["trackstar"]["compliance"]`` holds the policy, its ``text``, ``as_of``, and
        ``n``: the orders in all rows.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance`; also for labels that give two groups one name, and more
        groups than a table can hold.

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
    An order is open if it is in `backlog`. With ``ship_event="complete"`` the rows are the whole
    backlog; with ``"first"`` or ``"last"``, orders that have shipped by that event are left out,
    as their promise has been kept or broken already.

    Times are to the end of the policy's grace, so that the overdue orders are those of
    `late_orders`, and those with a due time that cannot be judged: of unknown quantity, or due
    before the policy's window. ``unknown`` is the rest: without a due date, by a clock that has
    no start, or in a status that the policy leaves out. Trackstar's copy is hourly: an order
    that left in the hour before as_of may still be here.

    Examples
    --------
    >>> import pandas as pd
    >>> orders = pd.DataFrame({
    ...     "status": ["open", "picked", "packed"],
    ...     "created_date": pd.Timestamp("2026-03-01", tz="UTC"),
    ...     "required_ship_date": pd.to_datetime(
    ...         ["2026-03-03 15:00", "2026-03-03 13:00", "2026-03-01 12:00"], utc=True),
    ...     "first_shipped_date": pd.NaT, "last_shipped_date": pd.NaT,
    ...     "complete_shipped_date": pd.NaT, "units_ordered": [2, 1, 4], "units_shipped": 0,
    ... })
    >>> table = due_next(orders, as_of="2026-03-03 12:00")
    >>> table.loc[table["n"] > 0, ["n", "units_left", "open", "picked", "packed"]]
    ... # doctest: +NORMALIZE_WHITESPACE
                   n  units_left  open  picked  packed
    due
    1-3 d overdue  1           4     0       0       1
    0-4 h          2           3     1       1       0
    """
    _checks.require(orders, _COLUMNS_READ, source="fetch_orders_df", lazy=True)
    names = _checks.by_columns(orders, by, reserved=["due", "status"])
    shown = parse_labels(labels)
    moment = moment_to_judge_at(orders, policy, policy_by, as_of)
    read = partial(_read, names=names, policy=policy, policy_by=policy_by, as_of=moment)
    keys, sums = _grouping.sum_tables({"orders": orders}, read, [*names, "due", "status"])
    groups, kept = _grouping.group_numbers(keys, names)
    statuses = sorted_statuses(keys["status"][sums["n"].to_numpy() > 0])
    rows = pd.CategoricalIndex(DUE_BUCKETS, DUE_BUCKETS, ordered=True, name="due")
    index = _grouping.row_labels(kept, names, rows, len(statuses))
    cells = groups * len(DUE_BUCKETS) + keys["due"].to_numpy()
    table = sums.groupby(cells).sum().reindex(range(len(index)), fill_value=0).set_axis(index)
    for status in statuses:
        counts = np.where(keys["status"] == status, sums["n"], 0)
        table[status] = np.bincount(cells, counts, minlength=len(index)).astype(np.int64)
    info = _checks.measure_info(keys, "compliance") or {}
    _checks.add_measure_info(table, keys, "compliance", {**info, "n": int(table["n"].sum())})
    moment = _policies.judged_as_of(keys)
    statuses_needed = _filters.open_statuses(keys, moment)
    _filters.warn_if_biased(
        keys, "due_next", statuses_needed, bounds=_filters.OF_OPEN, as_of=moment
    )
    return table.set_axis(relabel(table.index, names, shown))


def _read(
    tables: Any,
    *,
    names: Sequence[str],
    policy: PolicyLike | None,
    policy_by: str | None,
    as_of: Any,
) -> _grouping.Rows:
    """Return when each order is due and its status, and what it adds to the counts."""
    judged = judged_orders(tables.orders, policy, as_of, policy_by=policy_by)
    judgement = _policies.require_judgement(judged)
    now = judgement.now
    is_open = completeness.are_open(judged, now)
    is_open &= np.isnat(_policies.ship_events(judged, judgement))
    left = completeness.units_left(judged, now)
    status = _checks.column(judged, "status").astype(object)
    status = status.where(status.notna(), NO_STATUS)
    status = status.mask(completeness.closed_at(judged) > now, SHIPPED_SINCE)
    due = _buckets(judged, judgement)
    rows = _grouping.keys_of(judged, names, due=due, status=status.to_numpy())
    amounts = {
        "n": is_open,
        "units_left": np.where(is_open & ~np.isnan(left), left, 0),
        "units_unknown": is_open & np.isnan(left),
    }
    return rows, pd.DataFrame(amounts).astype(np.int64)


def _buckets(judged: pd.DataFrame, judgement: Judgement) -> Array:
    """Return the index of each order's time to its due time in `DUE_BUCKETS`."""
    is_known = judged["outcome"].isin(["late_open", "pending"]) | judged["reason"].isin(
        _WITH_DUE_TIME
    )
    limit, is_day = limits(judged, judgement.policies)
    # A due day ends with the microsecond after its last, in which nothing more can be in time.
    limit = np.where(is_known.to_numpy(dtype=bool), limit + is_day * _TICK, _time.NAT)
    left: Array = limit - np.full(len(limit), judgement.now)
    conditions = [
        np.isnat(left),
        left < -7 * _DAY,
        left <= -3 * _DAY,
        left <= -_DAY,
        (left < 0 * _HOUR) | (is_day & (left <= _TICK)),
        left < 4 * _HOUR,
        left < 12 * _HOUR,
        left < 24 * _HOUR,
        left < 48 * _HOUR,
    ]
    last = len(DUE_BUCKETS) - 1
    return np.select(conditions, [last, *range(last - 1)], default=last - 1)
