"""How many orders end badly: cancelled, closed short, or stuck."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _events, _filters, _grouping, _time
from trackstar_frames.measures._labels import parse_labels, relabel
from trackstar_frames.measures._partitions import Partitioned
from trackstar_frames.measures._policies import PolicyLike
from trackstar_frames.measures._time import Period, instants
from trackstar_frames.measures.ship_date_compliance import judged_orders, limits

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
        of 1, null where they are of nothing, each with its 95 % Wilson interval ``_low`` and
        ``_high``.

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
        - ``small`` (bool): whether ``created`` is below 30, as in `compliance_rate`.

        ``attrs["trackstar"]["compliance"]`` holds the policy, its ``text`` and ``as_of``;
        ``attrs["trackstar"]["failure_rates"]`` holds ``left_out``: how many orders are in no
        row, as they were created after as_of, or, with `freq`, have no created_date.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance`; also for labels that give two groups one name, and a `freq`
        so short that the table would not fit into memory.

    Warns
    -----
    UserWarning
        If `as_of` is not given and the frame does not say when it was fetched: now is taken.

    Notes
    -----
    Statuses are those of the data: for an `as_of` before the fetch, an order cancelled or
    fulfilled since is cancelled or closed already, unless a later shipment shows that it was open.
    The newest orders of a period may still fail: compare periods of which few orders are open.

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
    moment = _events.judge_at(orders, policy, policy_by, as_of)
    read = partial(_read, names=names, span=span, policy=policy, policy_by=policy_by, as_of=moment)
    groups = [*names, "period"] if span else names
    keys, sums = _events.sum_tables({"orders": orders}, read, groups)
    given = int(sums["given"].sum())
    if span:
        keys, sums = _events.every_period(keys, sums, names, span)
    table = _rates(_events.labelled(keys, sums, groups))
    info = {"left_out": given - int(table["created"].sum())}
    _checks.add_measure_info(table, keys, "failure_rates", info)
    # Without periods, what is open is so whenever it was created.
    bounds = _filters.OF_COHORT if span else _filters.OF_OPEN
    _filters.warn_if_biased(
        keys, "failure_rates", _filters.EVERY, bounds=bounds, as_of=_events.as_of(keys)
    )
    return table.set_axis(relabel(table.index, names, shown))


def _read(
    tables: Any,
    *,
    names: Sequence[str],
    span: Period | None,
    policy: PolicyLike | None,
    policy_by: str | None,
    as_of: Any,
) -> _events.Rows:
    """Return each order's group and period, and what it adds to the counts."""
    judged = judged_orders(tables.orders, policy, as_of, policy_by=policy_by)
    now = _events.now_of(judged)
    rows = judged[list(names)]
    created = instants(judged, "created_date")
    is_there = ~(created > now)
    if span:
        # A later order must not make a period.
        start = span.floor(_events.local_times(judged, np.where(is_there, created, _time.NAT)))
        rows = rows.assign(period=start)
    rows.attrs = dict(judged.attrs)
    amounts = pd.DataFrame(_counts(judged, now)).astype(bool).mul(is_there, axis=0)
    return rows, amounts.assign(given=True).astype(np.int64)


def _counts(judged: pd.DataFrame, now: np.datetime64) -> dict[str, Any]:
    """Return, for each column of the result that counts orders, whether an order is one."""
    complete = instants(judged, "complete_shipped_date")
    last = instants(judged, "last_shipped_date")
    cancelled = _checks.has_status(judged, "cancelled")
    is_complete = ~cancelled & (complete <= now)
    # Fulfilled, and never complete; if its last shipment is to come, it is open yet.
    ended = ~cancelled & np.isnat(complete) & _checks.has_status(judged, "fulfilled")
    ended &= ~(last > now)
    knows = ~np.isnat(last) & ~np.isnan(_checks.number_column(judged, "units_ordered"))
    is_open = ~cancelled & ~is_complete & ~ended
    updated = instants(judged, "updated_date")
    ceased = np.where(updated < now, updated, now)
    limit = limits(judged, _events.judgement_of(judged).policies)
    return {
        "created": np.ones(len(judged), dtype=bool),
        "cancelled": cancelled,
        "cancelled_after_due": cancelled & (ceased > limit),
        "closed": is_complete | (ended & knows),
        "short_closed": ended & knows,
        "open": is_open,
        "backordered": is_open & _checks.has_status(judged, "backordered"),
        "exception": is_open & _checks.has_status(judged, "exception"),
        "unknown": ended & ~knows,
    }


def _rates(sums: pd.DataFrame) -> pd.DataFrame:
    """Return the counts with each rate after what it is computed from."""
    columns: dict[str, Any] = {"created": sums["created"]}
    for name, whole in _RATES:
        if whole not in columns:
            columns[whole] = sums[whole]
        columns[name] = sums[name]
        _events.with_rates(columns, name, sums[name], sums[whole])
    columns |= {"unknown": sums["unknown"], "small": sums["created"] < _grouping.SMALL}
    return pd.DataFrame(columns, index=sums.index)
