"""How long orders take from receipt to complete shipment, with the open ones."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _grouping, completeness
from trackstar_frames.measures._time import Array, instants, now_of, resolve_as_of

_CURVE_COLUMNS = ("time", "at_risk", "shipped", "open_share", "low", "high")
_NOT_EVALUABLE = -1
_ZERO = np.timedelta64(0, "us")
_NAT = np.timedelta64("NaT", "us")
# The rounding error of a product of a million factors is less than this, and the curve must not
# miss 0.5 for it.
_TOLERANCE = 1e-9


def cycle_time(
    orders: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
) -> pd.DataFrame:
    """Compute the internal order cycle time: from receipt to shipment of all that was ordered.

    Open orders are included. A median over shipped orders only is too low while slow orders are
    open; the product-limit estimator of Kaplan and Meier uses what each open order shows: that
    it takes longer than until `as_of`.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or some of its rows, of any status, with the columns
        ``status``, ``created_date``, ``complete_shipped_date`` and ``last_shipped_date``.
    by
        A column, or several, to group by. Nulls are a group of their own.
    as_of
        The moment to look at; naive means UTC. By default when the data were fetched, from
        ``orders.attrs``. Orders shipped later were still open; cancelled ones are cancelled for
        any moment, as nothing says when they were.

    Returns
    -------
    pandas.DataFrame
        One row per group, which is the index; one row in all without `by`. Counts are int64,
        times timedelta64[us] of elapsed time, nights and weekends included.

        - ``n``: orders evaluated, shipped + open.
        - ``shipped``: completely, by `as_of`; ``open``: not so, and censored at `as_of`.
        - ``cancelled``: orders without a time here, as they will never ship.
        - ``not_evaluable``: orders created after `as_of`; those without a created_date or
          shipped before it; fulfilled ones that were never completely shipped. With n and
          cancelled, they sum to the orders given.
        - ``median``, ``p90``: the time by which half, and 90 %, of all n ship: the first at
          which the curve of `cycle_time_curve` is at or below that share, or null.
        - ``shipped_median``, ``shipped_p90``: of shipped orders only, biased low while others
          are open; null where there are none.

        ``attrs["trackstar"]["cycle_time"]`` holds as_of and, for all groups together, why
        orders are ``not_evaluable``.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong type or value, missing columns, and columns without moments.

    Warns
    -----
    UserWarning
        If `as_of` is not given and the frame does not say when it was fetched: now is taken.

    Notes
    -----
    Nothing is interpolated. An order fulfilled short counts as open until its last shipment, and
    is not evaluable from then on.

    Examples
    --------
    >>> import pandas as pd
    >>> orders = pd.DataFrame({
    ...     "status": ["fulfilled", "open", "fulfilled", "open"],
    ...     "created_date": pd.Timestamp("2026-03-01", tz="UTC"),
    ...     "complete_shipped_date": pd.to_datetime(
    ...         ["2026-03-02", None, "2026-03-04", None], utc=True),
    ...     "last_shipped_date": pd.NaT,
    ... })
    >>> cycle_time(orders, as_of="2026-03-09")[["n", "shipped", "open", "median",
    ...                                         "p90", "shipped_median"]]
       n  shipped  open median p90 shipped_median
    0  4        2     2 3 days NaT         1 days
    """
    _checks.require(orders, completeness.LIFECYCLE_COLUMNS, source="fetch_orders_df")
    names = _checks.by_columns(orders, by)
    durations = _durations(orders, resolve_as_of(orders, as_of))
    groups, keys = _grouping.group_numbers(orders, names)
    shipped, curve = durations.state == completeness.SHIPPED, _curve(groups, durations)
    counts = {
        "n": durations.is_evaluated,
        "shipped": shipped,
        "open": durations.state == completeness.OPEN,
        "cancelled": durations.state == completeness.STATES.index("cancelled"),
        "not_evaluable": durations.state == _NOT_EVALUABLE,
    }
    _, table = _grouping.sum_by_group(orders, pd.DataFrame(counts).astype(np.int64), names)
    for name, percent in (("median", 50), ("p90", 90)):
        table[name] = curve_percentile(curve, percent, len(keys))
    for name, percent in (("shipped_median", 50), ("shipped_p90", 90)):
        table[name] = nearest_rank(groups[shipped], durations.length[shipped], percent, len(keys))
    _checks.add_measure_info(table, orders, "cycle_time", durations.info)
    return table


def cycle_time_curve(
    orders: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
) -> pd.DataFrame:
    """Compute the share of orders that is still open after each length of time.

    Parameters
    ----------
    orders, by, as_of
        As for `cycle_time`, which has the medians of these curves.

    Returns
    -------
    pandas.DataFrame
        One row per group and length of time after which an order shipped, in this order, with a
        RangeIndex. A curve starts at 1 and is level between rows. A group of which nothing has
        shipped has no row.

        - The columns of `by`.
        - ``time`` (timedelta64[us]): since the receipt of the order.
        - ``at_risk`` (int64): orders known to be open for at least this long; ``shipped``
          (int64): those of them that shipped at this very time.
        - ``open_share`` (float64): the share of 1 that takes longer, by Kaplan and Meier;
          ``low``, ``high`` (float64): its 95 % interval at this time, log-log with Greenwood's
          variance, null where the share is 0.

        ``attrs["trackstar"]["cycle_time"]`` is that of `cycle_time`.

    Raises
    ------
    TypeError, ValueError
        As `cycle_time`; also for a `by` that has the name of a column of the curve.

    Warns
    -----
    UserWarning
        If `as_of` is not given and the frame does not say when it was fetched: now is taken.

    Examples
    --------
    >>> import pandas as pd
    >>> orders = pd.DataFrame({
    ...     "status": ["fulfilled", "open", "fulfilled", "open"],
    ...     "created_date": pd.Timestamp("2026-03-01", tz="UTC"),
    ...     "complete_shipped_date": pd.to_datetime(
    ...         ["2026-03-02", None, "2026-03-04", None], utc=True),
    ...     "last_shipped_date": pd.NaT,
    ... })
    >>> curve = cycle_time_curve(orders, as_of="2026-03-09")
    >>> curve[["time", "at_risk", "shipped", "open_share"]]
        time  at_risk  shipped  open_share
    0 1 days        4        1        0.75
    1 3 days        3        1        0.50
    >>> curve[["low", "high"]].round(2).loc[0].tolist()
    [0.13, 0.96]
    """
    _checks.require(orders, completeness.LIFECYCLE_COLUMNS, source="fetch_orders_df")
    names = _checks.by_columns(orders, by, reserved=_CURVE_COLUMNS)
    durations = _durations(orders, resolve_as_of(orders, as_of))
    groups, keys = _grouping.group_numbers(orders, names)
    curve = _curve(groups, durations)
    columns = zip(_CURVE_COLUMNS, (*curve[1:], *log_log_interval(curve)), strict=True)
    table = keys.iloc[curve.group].reset_index(drop=True).assign(**dict(columns))
    _checks.add_measure_info(table, orders, "cycle_time", durations.info)
    return table


def observed_times(orders: pd.DataFrame, as_of: pd.Timestamp) -> Array:
    """Return how long each order in the curve is known to have been open, shortest first."""
    durations = _durations(orders, as_of)
    return np.sort(durations.length[durations.is_evaluated])


class _Durations(NamedTuple):
    """How long orders were open."""

    state: Array  # the index of each order's state in STATES, or _NOT_EVALUABLE
    is_evaluated: Array
    length: Array
    info: dict[str, Any]  # for the attrs


def _durations(orders: pd.DataFrame, as_of: pd.Timestamp) -> _Durations:
    now = now_of(as_of)
    state = completeness.order_states(orders, now)
    until = np.where(state == completeness.SHIPPED, instants(orders, "complete_shipped_date"), now)
    length = until - instants(orders, "created_date")
    has_length = (state == completeness.SHIPPED) | (state == completeness.OPEN)
    others = ("created_after", "closed_short", "undated")
    reasons = {name: state == completeness.STATES.index(name) for name in others}
    reasons["no_created_date"] = has_length & np.isnat(length)
    reasons["shipped_before_created"] = has_length & (length < _ZERO)
    counts = {name: int(holds.sum()) for name, holds in reasons.items()}
    fails = np.any([*reasons.values()], axis=0)
    info = {"as_of": as_of.isoformat(), "not_evaluable": counts}
    state = np.where(fails, _NOT_EVALUABLE, state)
    return _Durations(state, has_length & ~fails, length, info)


def _curve(groups: Array, durations: _Durations) -> Curve:
    used = durations.is_evaluated
    shipped = durations.state[used] == completeness.SHIPPED
    return product_limit(groups[used], durations.length[used], shipped)


class Curve(NamedTuple):
    """One row for each group and length at which something ended, in this order."""

    group: Array
    time: Array
    at_risk: Array
    ended: Array
    share: Array


def product_limit(groups: Array, lengths: Array, ended: Array) -> Curve:
    """Estimate the share that lasts longer than each length at which something has ended."""
    # What has not ended counts as going on at its length: of equal lengths, ends come first.
    order = np.lexsort((lengths, groups))
    groups, lengths, ended = groups[order], lengths[order], ended[order].astype(np.int64)
    steps = (np.diff(groups) != 0) | (np.diff(lengths) != _ZERO)
    starts = np.flatnonzero(np.append(np.ones(min(len(groups), 1), dtype=bool), steps))
    ends = np.add.reduceat(ended, starts) if starts.size else ended
    starts, ends = starts[ends > 0], ends[ends > 0]
    group = groups[starts]
    at_risk = np.searchsorted(groups, group, side="right") - starts
    share = pd.Series(1 - ends / at_risk).groupby(group).cumprod().to_numpy()
    return Curve(group, lengths[starts], at_risk, ends, share)


def log_log_interval(curve: Curve) -> tuple[Array, Array]:
    """Return the 95 % interval by Greenwood's variance of log(-log(share)); NaN at a share of 0."""
    # Unlike that of the share itself, it stays between 0 and 1.
    left = curve.at_risk - curve.ended
    terms = curve.ended / (curve.at_risk * np.where(left > 0, left, np.nan))
    spread = np.sqrt(pd.Series(terms).groupby(curve.group).cumsum().to_numpy())
    share = np.where(left > 0, curve.share, np.nan)
    power = np.exp(-_grouping.Z95 * spread / np.log(share))
    return share**power, share ** (1 / power)


def curve_percentile(curve: Curve, percent: int, count: int) -> Array:
    """Return the first length by which so many of each group have ended; NaT where it has none."""
    reached = curve.share <= 1 - percent / 100 + _TOLERANCE
    groups, first = np.unique(curve.group[reached], return_index=True)
    result = np.full(count, _NAT)
    result[groups] = curve.time[reached][first]
    return result


def nearest_rank(groups: Array, lengths: Array, percent: int, count: int) -> Array:
    """Return the first length that so many of each group do not exceed; NaT for an empty one."""
    ordered = lengths[np.lexsort((lengths, groups))]
    sizes = np.bincount(groups, minlength=count)
    filled = sizes > 0
    # In whole numbers: 0.9 * n may come out just above the rank that it is.
    ranks = (sizes * percent + 99) // 100 - 1
    result = np.full(count, _NAT)
    result[filled] = ordered[(np.cumsum(sizes) - sizes + ranks)[filled]]
    return result
