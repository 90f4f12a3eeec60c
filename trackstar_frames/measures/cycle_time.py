"""How long orders take from receipt to complete shipment, with the open ones."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _filters, _grouping, _policies, completeness
from trackstar_frames.measures._labels import named, parse_labels, relabel
from trackstar_frames.measures._policies import PolicyLike
from trackstar_frames.measures._time import NAT, Array, instants, now_of, period

Cancelled = Literal["censored", "competing"]

_CURVE_COLUMNS = ("time", "at_risk", "shipped", "open_share", "low", "high")
_INCIDENCE_COLUMNS = (
    *("time", "at_risk", "shipped", "cancelled", "shipped_share", "cancelled_share"),
    *("open_share", "low", "high"),
)
_COLUMNS_READ = (*completeness.LIFECYCLE_COLUMNS, "updated_date")
_READING = "if none were cancelled"
_CANCELLED = completeness.STATES.index("cancelled")
_NOT_EVALUABLE = -1
_EVALUATED = ("shipped", "open", "cancelled")
_COUNTED = (*_EVALUATED, "not_evaluable")
_ZERO = np.timedelta64(0, "us")
_NAT = np.timedelta64("NaT", "us")
# The rounding error of a product of a million factors is less than this, and the curve must not
# miss 0.5 for it.
_TOLERANCE = 1e-9


def cycle_time(
    orders: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    freq: str | None = None,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    labels: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Compute the internal order cycle time: from receipt to shipment of all that was ordered.

    Open orders are included. A median over shipped orders only is too low while slow orders are
    open; the product-limit estimator of Kaplan and Meier uses what each open order shows: that
    it takes longer than until `as_of`. A cancelled one shows that it would have taken longer
    than until it was cancelled: the times are those if none were cancelled.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or some of its rows, of any status, with the columns
        ``status``, ``created_date``, ``complete_shipped_date``, ``last_shipped_date`` and
        ``updated_date``.
    by
        A column, or several, to group by. Nulls are a group of their own.
    freq
        ``D``, ``W``, ``MS``, ``QS`` or ``YS``: also group by when orders were created, on the
        calendars of the policy's zones.
    policy, policy_by
        Only its zones are used, as in `status_mix`: an order has shipped when all of it has,
        whatever the policy's ship event. By default those of a judged frame, and of plain orders
        UTC.
    as_of
        The moment to look at; naive means UTC, and a bare day its end in the policy's zone. By
        default that of a judged frame, else when the data were fetched, from ``orders.attrs``.
        Orders shipped later were still open.
    labels
        Names to show in the index instead of values of `by`, such as ``{"wh_1": "Newark"}``.

    Returns
    -------
    pandas.DataFrame
        One row per group and period; one row in all without both. The index holds the groups,
        then the first moment of the ``period`` (wall-clock time, without a zone). Every group
        has every period from the first to the last. Counts are int64, times timedelta64[us] of
        elapsed time, nights and weekends included.

        - ``n``: orders evaluated, shipped + open + cancelled.
        - ``shipped``: completely, by `as_of`; ``open``: not so, and censored at `as_of`.
        - ``cancelled``: orders of that status, censored at their updated_date or, if that is
          later, at `as_of`: nothing nearer to the time of cancelling is known.
        - ``not_evaluable``: orders created after `as_of`; those without a created_date,
          shipped or cancelled before it, or cancelled without an updated_date; fulfilled ones
          that were never completely shipped. With n, they sum to the orders given; with `freq`,
          to those in periods.
        - ``median``, ``p90``: the time by which half, and 90 %, of all n ship: the first at
          which the curve of `cycle_time_curve` is at or below that share, or null.
        - ``shipped_median``, ``shipped_p90``: of shipped orders only, biased low while others
          are open; null where there are none.
        - With `freq`, ``final`` (bool): whether the period was over at as_of, and none of its
          orders is open, so that its figures stay; ``covered`` (bool): whether the fetch has the
          orders created in the period: it is between the fetch's bounds of created_date (of which
          an upper one counts if it was past at as_of), and there is none of required_ship_date.

        ``attrs["trackstar"]["cycle_time"]`` holds as_of, how median and p90 are to be read
        (``reading``: "if none were cancelled") and, for all groups together, why orders are
        ``not_evaluable``; with `freq` also ``without_period``, the number of orders in no period:
        created after as_of, or without a created_date (and, with a map of zones, without a zone).

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong type or value, missing columns, columns without moments, and
        a `freq` so short that the table would not fit into memory.

    Warns
    -----
    FilteredOrdersWarning
        If the frame was fetched with a limit, or with filters of status, ids, order numbers or
        update dates: they leave out orders that count here.
    UserWarning
        If `as_of` is not given and the frame does not say when it was fetched: now is taken.

    Notes
    -----
    Nothing is interpolated. An order fulfilled short counts as open until its last shipment, and
    is not evaluable from then on. To leave cancelled orders out would condition on the future:
    it is the slow ones that are cancelled, and without them the median is too low.

    Kaplan and Meier assume that an order is not cancelled for the same reason that makes it slow.
    Where that is doubtful, `cycle_time_curve` with ``cancelled="competing"`` shows what share has
    shipped, and what was cancelled, without that assumption.

    Examples
    --------
    >>> import pandas as pd
    >>> orders = pd.DataFrame({
    ...     "status": ["fulfilled", "open", "fulfilled", "open"],
    ...     "created_date": pd.Timestamp("2026-03-01", tz="UTC"),
    ...     "complete_shipped_date": pd.to_datetime(
    ...         ["2026-03-02", None, "2026-03-04", None], utc=True),
    ...     "last_shipped_date": pd.NaT,
    ...     "updated_date": pd.NaT,
    ... })
    >>> cycle_time(orders, as_of="2026-03-09")[["n", "shipped", "open", "median",
    ...                                         "p90", "shipped_median"]]
       n  shipped  open median p90 shipped_median
    0  4        2     2 3 days NaT         1 days
    """
    _checks.require(orders, _COLUMNS_READ, source="fetch_orders_df")
    names, shown = _checks.by_columns(orders, by, reserved=["period"]), parse_labels(labels)
    span = None if freq is None else period(freq)
    policies = _policies.zones_of(orders, policy, policy_by)
    orders = orders if policy else _policies.with_attrs(orders)
    _checks.require(orders, filter(None, [policies.by]), source="fetch_orders_df")
    moment = _policies.resolve_moment(orders, as_of, policies)
    durations, stamps = _durations(orders, moment), None
    if span:
        # A later order must not make a period.
        is_later = instants(orders, "created_date") > now_of(moment)
        stamps = np.where(is_later, NAT, _policies.created_times(orders, policies))
    rows = _grouping.CodedRows(orders, _codes(durations), list(_COUNTED), stamps)
    found = _grouping.count_codes(rows, names, span)
    table = pd.DataFrame(found.counts, columns=rows.words, index=found.labels)
    table.insert(0, "n", table[[*_EVALUATED]].sum(axis=1))
    is_in_period, size = found.cells >= 0, len(table)
    durations, cells = durations.rows(is_in_period), found.cells[is_in_period]
    shipped, curve = durations.state == completeness.SHIPPED, _curve(cells, durations)
    for name, percent in (("median", 50), ("p90", 90)):
        table[name] = curve_percentile(curve, percent, size)
    for name, percent in (("shipped_median", 50), ("shipped_p90", 90)):
        table[name] = nearest_rank(cells[shipped], durations.length[shipped], percent, size)
    info = durations.info
    if span:
        keys = table.index.to_frame(index=False)
        keys.attrs = dict(orders.attrs)
        states = _filters.created_periods(keys, span, table["open"], policies, moment)
        table = table.assign(**states)
        info = {**info, "without_period": int(found.left_out.sum())}
    _checks.add_measure_info(table, orders, "cycle_time", info)
    _filters.warn_if_biased(orders, "cycle_time", _filters.EVERY)
    return table.set_axis(relabel(table.index, names, shown))


def cycle_time_curve(
    orders: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    labels: Mapping[Any, str] | None = None,
    cancelled: Cancelled = "censored",
) -> pd.DataFrame:
    """Compute the share of orders that is still open after each length of time.

    Parameters
    ----------
    orders, by, policy, policy_by, as_of
        As for `cycle_time`, which has the medians of these curves.
    labels
        Names to show instead of values of `by`, such as ``{"wh_1": "Newark"}``.
    cancelled
        ``"censored"``, the default: the share that would be open if none were cancelled, by
        Kaplan and Meier. ``"competing"``: the shares that have shipped, and that were cancelled,
        as they are: the cumulative incidence by Aalen and Johansen.

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

        With ``cancelled="competing"``, there is a row for each length after which an order
        shipped or was cancelled, and instead of these columns:

        - ``time``, ``at_risk``, ``shipped``; ``cancelled`` (int64): those cancelled at this time.
        - ``shipped_share``, ``cancelled_share`` (float64): the shares that have shipped, and that
          were cancelled, by this time; ``open_share``: the rest. They sum to 1.
        - ``low``, ``high`` (float64): the 95 % interval of shipped_share, log-log with the
          variance of the delta method, null where it is unknown.

        ``attrs["trackstar"]["cycle_time"]`` is that of `cycle_time`, with its ``reading``, which
        is "as cancelled" for competing ones.

    Raises
    ------
    TypeError, ValueError
        As `cycle_time`; also for a `by` that has the name of a column of the curve.

    Warns
    -----
    FilteredOrdersWarning
        If the frame was fetched with a limit, or with filters of status, ids, order numbers or
        update dates: they leave out orders that count here.
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
    ...     "updated_date": pd.NaT,
    ... })
    >>> curve = cycle_time_curve(orders, as_of="2026-03-09")
    >>> curve[["time", "at_risk", "shipped", "open_share"]]
        time  at_risk  shipped  open_share
    0 1 days        4        1        0.75
    1 3 days        3        1        0.50
    >>> curve[["low", "high"]].round(2).loc[0].tolist()
    [0.13, 0.96]
    """
    competing = _checks.choice("cancelled", cancelled, get_args(Cancelled)) == "competing"
    _checks.require(orders, _COLUMNS_READ, source="fetch_orders_df")
    reserved = _INCIDENCE_COLUMNS if competing else _CURVE_COLUMNS
    names, shown = _checks.by_columns(orders, by, reserved=reserved), parse_labels(labels)
    policies = _policies.zones_of(orders, policy, policy_by)
    orders = orders if policy else _policies.with_attrs(orders)
    durations = _durations(orders, _policies.resolve_moment(orders, as_of, policies))
    groups, keys = _grouping.group_numbers(orders, names)
    if competing:
        rows, columns = _incidence_columns(groups, durations)
    else:
        curve = _curve(groups, durations)
        rows, values = curve.group, (*curve[1:], *log_log_interval(curve))
        columns = dict(zip(_CURVE_COLUMNS, values, strict=True))
    table = keys.iloc[rows].reset_index(drop=True)
    table = table.assign(**{name: named(table[name], shown) for name in names}, **columns)
    info = {**durations.info, "reading": "as cancelled"} if competing else durations.info
    _checks.add_measure_info(table, orders, "cycle_time", info)
    _filters.warn_if_biased(orders, "cycle_time_curve", _filters.EVERY)
    return table


def _incidence_columns(groups: Array, durations: _Durations) -> tuple[Array, dict[str, Array]]:
    """Return the group of each row, and the columns, of the cumulative incidence."""
    used = durations.is_evaluated
    state, lengths = durations.state[used], durations.length[used]
    curve = cumulative_incidence(
        groups[used], lengths, state == completeness.SHIPPED, state == _CANCELLED
    )
    both = curve.share + curve.other_share
    values = (*curve[1:6], curve.other_share, 1 - both, *incidence_interval(curve))
    return curve.group, dict(zip(_INCIDENCE_COLUMNS, values, strict=True))


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

    def rows(self, kept: Array) -> _Durations:
        """Return those of some of the orders."""
        return _Durations(self.state[kept], self.is_evaluated[kept], self.length[kept], self.info)


def _durations(orders: pd.DataFrame, as_of: pd.Timestamp) -> _Durations:
    now = now_of(as_of)
    state = completeness.order_states(orders, now)
    is_shipped, is_cancelled = state == completeness.SHIPPED, state == _CANCELLED
    until = np.where(is_shipped, instants(orders, "complete_shipped_date"), now)
    cancelled = np.minimum(instants(orders, "updated_date"), now)
    until = np.where(is_cancelled, cancelled, until)
    created = instants(orders, "created_date")
    length = until - created
    has_length = is_shipped | is_cancelled | (state == completeness.OPEN)
    others = ("created_after", "closed_short", "undated")
    reasons = {name: state == completeness.STATES.index(name) for name in others}
    reasons["no_created_date"] = has_length & np.isnat(created)
    reasons["no_updated_date"] = is_cancelled & np.isnat(length) & ~np.isnat(created)
    reasons["shipped_before_created"] = is_shipped & (length < _ZERO)
    reasons["cancelled_before_created"] = is_cancelled & (length < _ZERO)
    counts = {name: int(holds.sum()) for name, holds in reasons.items()}
    fails = np.any([*reasons.values()], axis=0)
    info = {"as_of": as_of.isoformat(), "reading": _READING, "not_evaluable": counts}
    state = np.where(fails, _NOT_EVALUABLE, state)
    return _Durations(state, has_length & ~fails, length, info)


def _codes(durations: _Durations) -> Array:
    """Return the index of each order's count in `_COUNTED`."""
    states = [completeness.SHIPPED, completeness.OPEN, _CANCELLED]
    is_state = [durations.state == state for state in states]
    return np.select(is_state, range(len(states)), default=_COUNTED.index("not_evaluable"))


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


class Incidence(NamedTuple):
    """One row for each group and length at which something ended in one way or the other."""

    group: Array
    time: Array
    at_risk: Array
    ended: Array
    ended_otherwise: Array
    share: Array  # that has ended in the one way
    other_share: Array
    before: Array  # the share that had not ended before


def cumulative_incidence(
    groups: Array, lengths: Array, ended: Array, ended_otherwise: Array
) -> Incidence:
    """Estimate the shares that end in either of two ways by each length (Aalen and Johansen)."""
    curve = product_limit(groups, lengths, ended | ended_otherwise)
    # The rows of the curve are those at which anything ended.
    rows = pd.MultiIndex.from_arrays([curve.group, curve.time])
    places = rows.get_indexer(pd.MultiIndex.from_arrays([groups[ended], lengths[ended]]))
    one_way = np.bincount(places, minlength=len(rows)).astype(np.int64)
    other_way = curve.ended - one_way
    before = pd.Series(curve.share).groupby(curve.group).shift(fill_value=1.0).to_numpy()
    shares = [
        pd.Series(before * ends / curve.at_risk).groupby(curve.group).cumsum().to_numpy()
        for ends in (one_way, other_way)
    ]
    share, other = shares
    return Incidence(
        curve.group, curve.time, curve.at_risk, one_way, other_way, share, other, before
    )


def incidence_interval(curve: Incidence) -> tuple[Array, Array]:
    """Return the 95 % interval of the share, by the delta method and log(-log(share))."""

    def running(values: Array) -> Array:
        return pd.Series(values).groupby(curve.group).cumsum().to_numpy()

    n, share = curve.at_risk, curve.share
    all_ended = curve.ended + curve.ended_otherwise
    left = np.where(n > all_ended, n - all_ended, np.nan)
    rate, step = all_ended / (n * left), curve.before / n
    # Marubini and Valsecchi (1995), 10.2: of (share at the end - share at each step).
    variance = share**2 * running(rate) - 2 * share * running(share * rate)
    variance += running(share**2 * rate)
    variance += running(step**2 * (n - curve.ended) * curve.ended / n)
    cross = step * curve.ended / n
    variance += 2 * (running(share * cross) - share * running(cross))
    inside = np.where((share > 0) & (share < 1), share, np.nan)
    spread = np.sqrt(np.maximum(variance, 0)) / (inside * np.log(inside))
    return inside ** np.exp(-_grouping.Z95 * spread), inside ** np.exp(_grouping.Z95 * spread)


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
