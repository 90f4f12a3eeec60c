"""How long orders take from receipt to complete shipment, the open ones included."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import by_columns, moment_of, require
from trackstar_frames.measures._grouping import Z95, grouped, totals
from trackstar_frames.measures._partitions import tell
from trackstar_frames.measures._time import Array, instants
from trackstar_frames.measures.completeness import FATES, LIFE, OPEN, SHIPPED, fates

__all__ = [
    "Curve",
    "cycle_time",
    "cycle_time_curve",
    "log_log",
    "percentile",
    "product_limit",
    "ranked",
]


_CURVE = ("time", "at_risk", "shipped", "open_share", "low", "high")
# Why an order is not evaluable, but for cancelled ones, beside what its fate says.
_NO_START, _BACKWARD = "no_created_date", "shipped_before_created"
_NOT_EVALUABLE = -1
_NOTHING = np.timedelta64(0, "us")


class _Lives(NamedTuple):
    """What became of each order, and for how long each that can be evaluated was open."""

    state: Array
    length: Array
    told: dict[str, Any]


def cycle_time(
    orders: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
) -> pd.DataFrame:
    """Give the internal order cycle time: from receipt to shipment of all that was ordered.

    Open orders are in it. A median over shipped orders only is too low for as long as slow
    orders are open; the product-limit estimator of Kaplan and Meier takes from each open order
    what it tells: that it takes longer than until `as_of`.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or rows of it, whatever their status. Read are
        ``status``, ``created_date``, ``complete_shipped_date`` and ``last_shipped_date``.
    by
        A column, or several, to group by. Nulls are a group of their own.
    as_of
        The moment to look at; naive means UTC. By default when the data were fetched, from
        ``orders.attrs``. What shipped later was still open; cancellations hold for any moment.

    Returns
    -------
    pandas.DataFrame
        One row per group, which is the index; one row in all without `by`. Counts are int64,
        times timedelta64[us] that pass in UTC, nights and weekends included.

        - ``n``: orders evaluated, shipped + open.
        - ``shipped``: completely, by `as_of`; ``open``: not so, and censored at `as_of`.
        - ``cancelled``: orders in no time here, as they will never ship.
        - ``not_evaluable``: orders created after `as_of`; those without a created_date or
          shipped before it; fulfilled ones that were never completely shipped. With n and
          cancelled, they sum to the orders given.
        - ``median``, ``p90``: the time by which half, and 90 %, of all n ship; null where the
          curve of `cycle_time_curve` does not come down that far.
        - ``shipped_median``, ``shipped_p90``: of shipped orders only, biased low while others
          are open; null where there are none.

        ``attrs["trackstar"]["cycle_time"]`` tells as_of and, for all groups together, why
        orders are ``not_evaluable``.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong kind or value, missing columns, and ones without moments.

    Warns
    -----
    UserWarning
        If `as_of` is not given and the frame does not say when it was fetched: now is taken.

    Notes
    -----
    A quantile is the first time at which the curve is at or below it, as in an ordered list;
    nothing is interpolated. An order fulfilled short counts as open until its last shipment,
    and is not evaluable from then on.

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
    require(orders, LIFE, source="fetch_orders_df")
    names = by_columns(orders, by)
    lives = _lives(orders, moment_of(orders, as_of))
    groups, keys = grouped(orders, names)
    table = totals(orders, _flags(lives.state), names)
    done, curve = lives.state == SHIPPED, _curve(groups, lives)
    for name, percent in (("median", 50), ("p90", 90)):
        table[name] = percentile(curve, percent, len(keys))
    for name, percent in (("shipped_median", 50), ("shipped_p90", 90)):
        table[name] = ranked(groups[done], lives.length[done], percent, len(keys))
    tell(table, orders, "cycle_time", lives.told)
    return table


def cycle_time_curve(
    orders: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
) -> pd.DataFrame:
    """Give the share of orders that is still open after each length of time.

    Parameters
    ----------
    orders, by, as_of
        As for `cycle_time`, which has the medians of these curves.

    Returns
    -------
    pandas.DataFrame
        One row per group and length of time after which an order shipped, in this order; a
        RangeIndex. Between rows a curve is level, and it starts from 1. A group of which nothing
        has shipped has no row.

        - The columns of `by`.
        - ``time`` (timedelta64[us]): since order receipt.
        - ``at_risk`` (int64): orders open for at least so long, as far as is known.
        - ``shipped`` (int64): those of them that shipped just then.
        - ``open_share`` (float64): the share of 1 that takes longer, by Kaplan and Meier.
        - ``low``, ``high`` (float64): its 95 % interval at this time, log-log with Greenwood's
          variance; null where the share is 0.

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
    require(orders, LIFE, source="fetch_orders_df")
    names = by_columns(orders, by)
    if taken := [name for name in names if name in _CURVE]:
        raise ValueError(f"by={by!r}: the curve has a {taken[0]!r} of its own; rename the column")
    lives = _lives(orders, moment_of(orders, as_of))
    groups, keys = grouped(orders, names)
    curve = _curve(groups, lives)
    columns = zip(_CURVE, (*curve[1:], *log_log(curve)), strict=True)
    table = keys.iloc[curve.group].reset_index(drop=True).assign(**dict(columns))
    tell(table, orders, "cycle_time", lives.told)
    return table


def followed(orders: pd.DataFrame, moment: pd.Timestamp) -> Array:
    """Return for how long each order in the curve was open, as far as is known, shortest first."""
    lives = _lives(orders, moment)
    lengths: Array = np.sort(lives.length[_used(lives)])
    return lengths


def _lives(orders: pd.DataFrame, moment: pd.Timestamp) -> _Lives:
    now = np.datetime64(moment.tz_localize(None), "us")
    created, complete = (
        instants(orders, f"{name}_date") for name in ("created", "complete_shipped")
    )
    state = fates(orders, now)
    length = np.where(state == SHIPPED, complete, now) - created
    going = (state == SHIPPED) | (state == OPEN)
    reasons = {
        name: state == FATES.index(name) for name in ("created_after", "closed_short", "undated")
    }
    reasons |= {_NO_START: going & np.isnat(length), _BACKWARD: going & (length < _NOTHING)}
    counts = {name: int(holds.sum()) for name, holds in reasons.items()}
    state = np.where(np.any([*reasons.values()], axis=0), _NOT_EVALUABLE, state)
    return _Lives(state, length, {"as_of": moment.isoformat(), "not_evaluable": counts})


def _flags(state: Array) -> pd.DataFrame:
    """Mark each order's place among the counts."""
    states = {"shipped": SHIPPED, "open": OPEN, "cancelled": FATES.index("cancelled")}
    flags = {name: state == place for name, place in states.items()}
    flags = {"n": flags["shipped"] | flags["open"], **flags}
    return pd.DataFrame({**flags, "not_evaluable": state == _NOT_EVALUABLE}).astype(np.int64)


def _used(lives: _Lives) -> Array:
    used: Array = (lives.state == SHIPPED) | (lives.state == OPEN)
    return used


def _curve(groups: Array, lives: _Lives) -> Curve:
    used = _used(lives)
    return product_limit(groups[used], lives.length[used], lives.state[used] == SHIPPED)


# A product of a million factors is off by less than this; 0.5 must not be missed for it.
_SLACK = 1e-9
_NAT = np.timedelta64("NaT", "us")


class Curve(NamedTuple):
    """One row for each length in each group at which something ended, in this order."""

    group: Array
    time: Array
    at_risk: Array
    ended: Array
    share: Array


def product_limit(groups: Array, lengths: Array, ended: Array) -> Curve:
    """Estimate the share that lasts longer than each length.

    What has not `ended` counts as going on until its length, and at that length still: of
    equal lengths, ends come first.
    """
    order = np.lexsort((lengths, groups))
    groups, lengths, ended = groups[order], lengths[order], ended[order].astype(np.int64)
    steps = (np.diff(groups) != 0) | (np.diff(lengths) != np.timedelta64(0, "us"))
    starts = np.flatnonzero(np.append(np.ones(min(len(groups), 1), dtype=bool), steps))
    ends = np.add.reduceat(ended, starts) if starts.size else ended
    starts, ends = starts[ends > 0], ends[ends > 0]
    group = groups[starts]
    at_risk = np.searchsorted(groups, group, side="right") - starts
    share = pd.Series(1 - ends / at_risk).groupby(group).cumprod().to_numpy()
    return Curve(group, lengths[starts], at_risk, ends, share)


def log_log(curve: Curve) -> tuple[Array, Array]:
    """Return the 95 % interval by Greenwood's variance of log(-log(share)); null at a share of 0.

    Unlike that of the share itself, it stays between 0 and 1.
    """
    left = curve.at_risk - curve.ended
    terms = curve.ended / (curve.at_risk * np.where(left > 0, left, np.nan))
    spread = np.sqrt(pd.Series(terms).groupby(curve.group).cumsum().to_numpy())
    share = np.where(left > 0, curve.share, np.nan)
    power = np.exp(-Z95 * spread / np.log(share))
    return share**power, share ** (1 / power)


def percentile(curve: Curve, percent: int, count: int) -> Array:
    """Return, for each of `count` groups, the first length that this many have ended by.

    It is null where the curve does not come down that far.
    """
    down = curve.share <= 1 - percent / 100 + _SLACK
    groups, first = np.unique(curve.group[down], return_index=True)
    result = np.full(count, _NAT)
    result[groups] = curve.time[down][first]
    return result


def ranked(groups: Array, lengths: Array, percent: int, count: int) -> Array:
    """Return, for each of `count` groups, the first length that this many do not exceed."""
    ordered = lengths[np.lexsort((lengths, groups))]
    sizes = np.bincount(groups, minlength=count)
    some = sizes > 0
    # In whole numbers: 0.9 * n may come out just above the rank that it is.
    ranks = (sizes * percent + 99) // 100 - 1
    result = np.full(count, _NAT)
    result[some] = ordered[(np.cumsum(sizes) - sizes + ranks)[some]]
    return result
