"""How many orders end badly: cancelled, closed short, or stuck."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _filters, _grouping, _policies, _time
from trackstar_frames.measures._labels import parse_labels, relabel
from trackstar_frames.measures._partitions import Partitioned
from trackstar_frames.measures._policies import Judgement, PolicyLike
from trackstar_frames.measures._time import instants
from trackstar_frames.measures.ship_date_compliance import (
    are_over,
    judged_orders,
    moment_to_judge_at,
)

_COLUMNS_READ = (
    *("status", "created_date", "updated_date", "complete_shipped_date", "last_shipped_date"),
    "units_ordered",
)
#: Each rate: its name, what is counted, and of what it is a share.
_RATES = (
    ("cancelled", "created"),
    ("cancelled_after_due", "created"),
    ("short_closed", "closed"),
    ("backordered", "open"),
    ("exception", "open"),
)
#: The reasons, as `ship_date_compliance` has them, for which it is unknown how an order ended.
_UNKNOWN = {
    "unknown_units": "quantity unknown",
    "unstamped": "shipped without a usable stamp",
}


def failure_rates(
    orders: pd.DataFrame | Partitioned,
    *,
    by: str | Sequence[str] | None = None,
    freq: str | None = None,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    labels: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Compute how many orders were cancelled, closed short, or are stuck, as of one moment.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df` or of `ship_date_compliance`, or some of its rows, with
        the columns that `ship_date_compliance` reads, ``updated_date`` and ``units_ordered``. A
        Dask DataFrame is counted partition by partition.
    by
        A column, or several, to group by. Nulls are a group of their own.
    freq
        ``D``, ``W``, ``MS``, ``QS`` or ``YS``: also group by when orders were created, on the
        calendars of the policy's zones.
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
        One row per group and period; one row in all without both. The index holds the groups,
        then the first moment of the ``period`` (wall-clock time, without a zone). Every group
        has every period from the first to the last. Counts are int64; rates are float64 shares
        of 1, null where they are of nothing, each with its 95 % interval ``_low`` and ``_high``.

        - ``created``: orders created by as_of: cancelled + closed + open + unknown.
        - ``cancelled``; ``cancelled_rate``, of those created.
        - ``cancelled_after_due``: those of them that were last updated (the nearest thing to the
          time of cancelling), or else looked at, after their due time and its grace;
          ``cancelled_after_due_rate``, of those created. No on-time rate counts these.
        - ``closed``: complete by as_of, or fulfilled with their last shipment by then.
        - ``short_closed``: fulfilled with less than was ordered; ``short_closed_rate``, of those
          closed.
        - ``open``: neither cancelled nor closed by as_of.
        - ``backordered``, ``exception``: open ones in that status; ``backordered_rate`` and
          ``exception_rate``, of those open.
        - ``unknown``: fulfilled, but without a date of any shipment or, where the quantity
          ordered is unknown, of a complete one: nothing tells whether they are short.
        - ``small`` (bool): whether ``created`` is below 30, or the orders were created on fewer
          than 4 days, as in `compliance_rate`.
        - With `freq`, ``final`` (bool): whether the period was over at as_of, and none of its
          orders is open, so that its figures stay.
        - With `freq`, ``covered`` (bool): whether the fetch has the orders created in the period:
          it is between the fetch's bounds of created_date (of which an upper one counts if it was
          past at as_of), and there is none of required_ship_date.

        ``attrs["trackstar"]["compliance"]`` holds the policy, its ``text`` and ``as_of``;
        ``attrs["trackstar"]["failure_rates"]`` holds ``left_out``: how many orders are in no
        row, as they were created after as_of, or, with `freq`, have no created_date (and, with a
        map of zones, no zone); and ``unknown``: how many orders of all rows are so for which
        reason, in the words of `ship_date_compliance`.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance`; also for labels that give two groups one name, and a `freq`
        so short that the table would not fit into memory.

    Warns
    -----
    FilteredOrdersWarning
        If the frame was fetched with a limit, or with filters of status, ids, order numbers, update
        dates or, without `freq`, bounds of dates: they leave out orders that count here.
    UserWarning
        If `as_of` is not given and the frame does not say when it was fetched: now is taken.

    Notes
    -----
    Statuses are those of the data: for an `as_of` before the fetch, an order cancelled or
    fulfilled since is cancelled or closed already, unless a later shipment shows that it was open.
    The newest orders of a period may still fail: compare periods that are final.

    Intervals are those of `compliance_rate`, over the local days on which orders were created: a
    day that goes wrong spoils many orders at once. A single day says nothing of others.

    Examples
    --------
    >>> import pandas as pd
    >>> day = pd.Timestamp("2026-03-02", tz="UTC")
    >>> orders = pd.DataFrame({
    ...     "status": ["fulfilled", "fulfilled", "cancelled", "backordered"],
    ...     "created_date": day, "updated_date": day + pd.Timedelta("3D"),
    ...     "required_ship_date": day, "last_shipped_date": [day, day, pd.NaT, pd.NaT],
    ...     "complete_shipped_date": [day, pd.NaT, pd.NaT, pd.NaT], "units_ordered": 2,
    ... })
    >>> table = failure_rates(orders, as_of="2026-03-08")
    >>> table[["created", "cancelled_after_due_rate", "short_closed_rate", "backordered_rate"]]
       created  cancelled_after_due_rate  short_closed_rate  backordered_rate
    0        4                      0.25                0.5               1.0
    """
    _checks.require(orders, _COLUMNS_READ, source="fetch_orders_df", lazy=True)
    names = _checks.by_columns(orders, by, reserved=["period"])
    shown = parse_labels(labels)
    span = None if freq is None else _time.period(freq)
    moment = moment_to_judge_at(orders, policy, policy_by, as_of)
    read = partial(_read, names=names, policy=policy, policy_by=policy_by, as_of=moment)
    found = _grouping.sum_days({"orders": orders}, read, names, span)
    keys, sums = found.keys, found.sums
    columns = _rates(found)
    if span:
        judgement = _policies.require_judgement(keys)
        columns |= _filters.created_periods(
            keys, span, sums["open"], judgement.policies, judgement.as_of
        )
    table = found.table(columns, names)
    unknown = {reason: int(sums[column].sum()) for column, reason in _UNKNOWN.items()}
    left_out = int(found.days["given"].sum() - sums["created"].sum())
    info = {"left_out": left_out, "unknown": unknown}
    _checks.add_measure_info(table, keys, "failure_rates", info)
    # Without periods, what is open is so whenever it was created.
    bounds = _filters.OF_COHORT if span else _filters.OF_OPEN
    _filters.warn_if_biased(
        keys, "failure_rates", _filters.EVERY, bounds=bounds, as_of=_policies.judged_as_of(keys)
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
    """Return each order's group and day, and what it adds to the counts."""
    judged = judged_orders(tables.orders, policy, as_of, policy_by=policy_by)
    judgement = _policies.require_judgement(judged)
    created = instants(judged, "created_date")
    is_there = ~(created > judgement.now)
    # A later order must not make a period.
    received = _policies.local_times(judged, judgement, np.where(is_there, created, _time.NAT))
    rows = _grouping.keys_of(judged, names, period=_grouping.days_of(received))
    amounts = pd.DataFrame(_counts(judged, judgement)).astype(bool).mul(is_there, axis=0)
    return rows, amounts.assign(given=True).astype(np.int64)


def _counts(judged: pd.DataFrame, judgement: Judgement) -> dict[str, Any]:
    """Return, for each column of the result that counts orders, whether an order is one."""
    now = judgement.now
    complete = instants(judged, "complete_shipped_date")
    last = instants(judged, "last_shipped_date")
    cancelled = _checks.has_status(judged, "cancelled")
    is_complete = ~cancelled & (complete <= now)
    # Fulfilled, and never complete; if its last shipment is to come, it is open yet.
    ended = ~cancelled & np.isnat(complete) & _checks.has_status(judged, "fulfilled")
    ended &= ~(last > now)
    knows_units = ~np.isnan(_checks.number_column(judged, "units_ordered"))
    knows = knows_units & ~np.isnat(last)
    is_open = ~cancelled & ~is_complete & ~ended
    updated = instants(judged, "updated_date")
    ceased = np.where(updated < now, updated, now)
    is_late = are_over(judged, judgement.policies, ceased)
    return {
        "created": np.ones(len(judged), dtype=bool),
        "cancelled": cancelled,
        "cancelled_after_due": cancelled & is_late,
        "closed": is_complete | (ended & knows),
        "short_closed": ended & knows,
        "open": is_open,
        "backordered": is_open & _checks.has_status(judged, "backordered"),
        "exception": is_open & _checks.has_status(judged, "exception"),
        "unknown": ended & ~knows,
        "unknown_units": ended & ~knows_units,
        "unstamped": ended & knows_units & np.isnat(last),
    }


def _rates(found: _grouping.ByDay) -> dict[str, Any]:
    """Return the counts with each rate after what it is computed from."""
    sums = found.sums
    columns: dict[str, Any] = {"created": sums["created"]}
    for name, whole in _RATES:
        if whole not in columns:
            columns[whole] = sums[whole]
        columns[name] = sums[name]
        found.add_rate(columns, name, name, whole)
    return {**columns, "unknown": sums["unknown"], "small": found.are_small("created")}
