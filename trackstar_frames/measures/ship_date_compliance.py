"""Whether each order was shipped by the time it was due."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd

from trackstar_frames._text import warn
from trackstar_frames.measures import _checks, _time
from trackstar_frames.measures._partitions import Partitioned, is_partitioned, meta_of
from trackstar_frames.measures._policies import (
    JUDGED_BY,
    Policies,
    PolicyLike,
    codes_of,
    columns_needed,
    fetch_of,
    judgement_of,
    resolve_policies,
    with_attrs,
)
from trackstar_frames.measures._time import Array, TzLike
from trackstar_frames.measures.policy import DueDay, Length, ShipEvent, SlaPolicy, clock_ends

OUTCOMES = ("on_time", "late_shipped", "late_open", "short", "pending", "not_evaluable")

# Why an order is not evaluable; where several reasons hold, the first counts.
_REASONS = (
    "created after as_of",
    "cancelled",
    "status left out by the policy",
    "no due date",
    "backordered: nothing tells when its clock starts",
    "no created_date for a clock to start at",
    "no time zone for warehouse",
    "no calendar for warehouse",
    "due before the window",
    "quantity unknown",
    "shipped without a usable stamp",
)

# Of how many orders due times are looked at, and of how few they tell nothing.
_MOST_LOOKED_AT = 1_000
_FEWEST_LOOKED_AT = 10

# A due day is shown as 23:59:59, as spreadsheets round what is closer to midnight to the next day.
_TO_WHOLE_SECOND = np.timedelta64(999_999, "us")

#: A frame of pandas or of Dask; the result is one of the same.
Frame = TypeVar("Frame", bound=pd.DataFrame | Partitioned)


def ship_date_compliance(
    orders: Frame,
    policy: PolicyLike | None = None,
    *,
    policy_by: str | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    due_day: DueDay | None = None,
    tz: TzLike | None = None,
    ship_event: ShipEvent | None = None,
    grace: Length | None = None,
) -> Frame:
    """Judge whether each order was shipped by the time it was due, as of one moment.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or some of its rows, with the columns ``status``,
        ``created_date``, ``required_ship_date`` (unless the policy has a cut-off), the shipped
        date of the policy's ship event, such as ``complete_shipped_date`` (for ``"complete"``,
        ``last_shipped_date`` and ``units_ordered`` too), the policy's ``clock_start`` and, for a
        map of zones or holidays, ``warehouse_id``. A Dask DataFrame of these is judged lazily,
        partition by partition.
    policy
        When orders are due, and what counts as shipped: an `SlaPolicy`. With `policy_by`, a map
        from the values of that column to policies, in which None stands for null and all others.
    policy_by
        The column by whose values orders are held to different policies, such as ``"type"``,
        ``"warehouse_customer_id"`` or ``"connection"``.
    as_of
        The moment to judge at; naive means UTC. A bare day (a date, or text without a time) is
        its end in the policy's zone, in UTC where there are several zones, but not after the data
        were fetched. By default that very moment, from ``orders.attrs``, which Dask does not keep:
        give it there. Shipments after it have not happened yet; statuses are those of the data, as
        nothing says when an order was cancelled or closed.
    due_day, tz, ship_event, grace
        Fields of a policy, as `SlaPolicy` describes them, where no `policy` is given. By
        default ``"auto"``, ``"UTC"``, ``"complete"`` and ``"0s"``.

    Returns
    -------
    pandas.DataFrame, or dask.dataframe.DataFrame of one
        One row per order, with the columns and index of `orders`, and these, which replace
        columns of the same name:

        - ``due_at`` (datetime64[us, UTC]): without the grace; null where it is unknown. What is
          due on a day is judged against the next midnight at the warehouse, and shown as 23:59:59.
        - ``shipped_at`` (datetime64[us, UTC]): the ship event, and the last shipment of an order
          that was closed short; null if there was none by `as_of`.
        - ``outcome`` (ordered categorical): ``on_time`` (shipped, and by due_at + grace),
          ``late_shipped`` (shipped after that), ``late_open`` (not shipped, and as_of is after
          that), ``short`` (closed with less than was ordered, the last shipment in time; only for
          ``"complete"``), ``pending`` (not shipped, and not yet late) or ``not_evaluable``.
        - ``is_due`` (bool): whether due_at + grace has come at `as_of`, of orders that are
          evaluable. Rates are of these. One that is on time or short before it is due counts when
          its time has come, as its peers that have not shipped do.
        - ``lateness`` (timedelta64[us]): ``shipped_at - due_at``, negative when early;
          ``as_of - due_at`` for late_open; null for short, pending and not_evaluable.
        - ``reason`` (str): why an order is not evaluable; null for all others.
        - ``judged_by`` (categorical of str): as_of, and what differs from ``SlaPolicy()`` in the
          order's policy, in JSON; and the filters and limit of the fetch, if any. Measures and
          pictures find these by it where ``attrs`` are lost, as in `pandas.concat`, `merge` and
          ``groupby(...).apply``.

        ``attrs["trackstar"]["compliance"]`` holds the policy (`SlaPolicy.from_json` reads it), its
        ``text``, ``as_of`` and ``zone_data``, the version of the data of time zones (null if
        unknown); of several policies ``policy_by``, and ``policies``, a list of them, each with
        its ``value`` and ``text``. It holds no counts, which would be wrong for some of the rows.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong type or value, fields given with a policy, a
        column that is missing or holds no moments, warehouses that the policy does not know,
        and values of `policy_by` without a policy. With Dask, what depends on the values is
        raised when the frame is computed.

    Warns
    -----
    UserWarning
        If `as_of` is not given and the frame does not say when it was fetched: orders are
        judged as of now. If most required ship dates are midnight in the policy's zone, but not
        in UTC, and read as moments: they are probably days (not with Dask).

    Notes
    -----
    These orders are not evaluable, each for the first ``reason`` that holds:

    - created after as_of;
    - cancelled, even if shipped;
    - excluded by the policy's ``exclude_statuses``;
    - without a due date;
    - with a cut-off, backordered and without a time in ``clock_start``: the clock starts when
      stock arrives, which the data do not say. An order that is no longer backordered goes by
      its creation, as nothing says that it was;
    - with a cut-off, without a ``created_date``;
    - of a warehouse without a time zone or calendar;
    - due before the policy's ``window``;
    - for ``"complete"``, with a line whose quantity is unknown (``units_ordered`` is null);
    - in a status that says that the ship event happened, but without a stamp of it.

    An order is closed short if it is fulfilled without being complete: it will never be. If its
    last shipment was late, it is late_shipped. One that is partially fulfilled is not complete yet.

    Examples
    --------
    >>> import pandas as pd
    >>> day = pd.Timestamp("2026-03-02", tz="UTC")
    >>> orders = pd.DataFrame({
    ...     "status": ["fulfilled", "fulfilled", "picked", "open"],
    ...     "created_date": day,
    ...     "required_ship_date": day,
    ...     "complete_shipped_date": pd.to_datetime(
    ...         ["2026-03-02T22:00Z", "2026-03-03T06:00Z", None, None]),
    ...     "last_shipped_date": pd.NaT, "units_ordered": 1,
    ... })
    >>> policy = SlaPolicy(tz="America/New_York")
    >>> judged = ship_date_compliance(orders, policy, as_of="2026-03-03")
    >>> judged["outcome"].tolist()
    ['on_time', 'late_shipped', 'late_open', 'late_open']
    >>> str(judged["due_at"][0])
    '2026-03-03 04:59:59+00:00'
    """
    policies = resolve_policies(
        policy, policy_by, due_day=due_day, tz=tz, ship_event=ship_event, grace=grace
    )
    _checks.require(orders, policies.columns_needed(), source="fetch_orders_df", lazy=True)
    moment = _time.resolve_as_of(orders, as_of, zone=policies.zone)
    return judge_each(orders, policies, moment)


def judged_orders(
    orders: Frame,
    policy: PolicyLike | None,
    as_of: object,
    *,
    policy_by: str | None = None,
) -> Frame:
    """Judge orders, of pandas or Dask; return a frame that was judged by this policy as it is."""
    _checks.require(orders, [], source="fetch_orders_df", lazy=True)
    given = None if policy is None and policy_by is None else resolve_policies(policy, policy_by)
    if "outcome" not in orders.columns:
        policies = given or resolve_policies(None)
        _checks.require(orders, policies.columns_needed(), source="fetch_orders_df", lazy=True)
        moment = _time.resolve_as_of(orders, as_of, zone=policies.zone)
        return judge_each(orders, policies, moment)
    if isinstance(orders, pd.DataFrame):
        _check_whole(orders)
        orders = cast("Frame", with_attrs(orders))
    if given is None and as_of is None:
        return orders
    if is_partitioned(orders):
        lazy = orders.map_partitions(_check_judged, given, as_of, meta=meta_of(orders))
        return cast("Frame", lazy)
    return cast("Frame", _check_judged(cast("pd.DataFrame", orders), given, as_of))


def moment_to_judge_at(
    orders: Any, policy: PolicyLike | None, policy_by: str | None, as_of: object
) -> Any:
    """Check what orders are to be judged by, before any work; return the moment to judge at.

    For orders that have been judged, it is `as_of` as it is.
    """
    if "outcome" not in orders.columns:
        policies = resolve_policies(policy, policy_by)
        _checks.require(orders, policies.columns_needed(), source="fetch_orders_df", lazy=True)
        as_of = _time.resolve_as_of(orders, as_of, zone=policies.zone)
    if is_partitioned(orders):
        judged_orders(orders, policy, as_of, policy_by=policy_by)
    return as_of


def _check_whole(orders: pd.DataFrame) -> None:
    missing = int(orders["outcome"].isna().sum())
    if missing:
        raise ValueError(
            f"{missing:,} of these orders have not been judged: outcome holds nulls, as in a "
            f"frame joined from judged and plain orders; judge all of them anew, together, with "
            f"ship_date_compliance"
        )


def _check_judged(orders: pd.DataFrame, given: Policies | None, as_of: object) -> pd.DataFrame:
    judgement = judgement_of(orders)
    if judgement is None:
        known = "an unknown policy"
    elif given and not given.cover(judgement.policies):
        known = f"another policy: {judgement.policies.text!r}"
    elif as_of is not None and judgement.as_of != _time.resolve_as_of(
        orders, as_of, zone=judgement.policies.zone
    ):
        known = f"this policy, but as of {judgement.info['as_of']}"
    else:
        return orders
    raise ValueError(
        f"this frame has been judged already, by {known}; judge it anew with "
        f"ship_date_compliance, or pass plain orders"
    )


def judge_each(orders: Frame, policies: Policies, moment: pd.Timestamp) -> Frame:
    """Judge orders, of pandas or Dask."""
    if is_partitioned(orders):
        meta = judge(meta_of(orders), policies, moment)
        return cast("Frame", orders.map_partitions(judge, policies, moment, meta=meta))
    judged = judge(cast("pd.DataFrame", orders), policies, moment)
    _warn_if_due_at_local_midnight(judged, policies)
    return cast("Frame", judged)


def _warn_if_due_at_local_midnight(orders: pd.DataFrame, policies: Policies) -> None:
    """Warn if most required ship dates that are read as moments begin a day at the warehouse."""
    names = ["warehouse_id", "required_ship_date", JUDGED_BY, *filter(None, [policies.by])]
    narrow = orders[_checks.present(orders, names)]
    some = narrow.iloc[:: max(1, len(orders) // _MOST_LOOKED_AT)]
    codes = codes_of(some, policies)
    for code, policy in enumerate(policies.of.values()):
        if policy.cut_off is not None or policy.due_day != "auto":
            continue
        part = some.iloc[np.flatnonzero(codes == code)]
        stamps = _time.instants(part, "required_ship_date")
        walls = _time.convert_by_zone(part, stamps, policy.tz, _time.local)
        known = int((~np.isnat(stamps)).sum())
        # Where it is midnight UTC too, they are read as days.
        begin = (walls == walls.astype("M8[D]")) & (stamps != stamps.astype("M8[D]"))
        share = begin.sum() / max(known, 1)
        if known >= _FEWEST_LOOKED_AT and share > 1 / 2:
            warn(
                f"{share:.0%} of the required ship dates are midnight where the warehouse is, and "
                f"are read as these moments, so that what ships during that day is late; if they "
                f"are days, pass due_day='end' and tz, or dataclasses.replace(policy, "
                f"due_day='end')"
            )
            return


def judge(orders: pd.DataFrame, policies: Policies, moment: pd.Timestamp) -> pd.DataFrame:
    """Return the orders with the columns of `ship_date_compliance`."""
    codes, now = policies.codes(orders), _time.now_of(moment)
    verdicts = _verdicts(orders, codes, policies, now)
    outcome = verdicts["outcome"]
    due, shipped = verdicts["due"], verdicts["shipped"]
    lateness = np.where(outcome == OUTCOMES.index("late_open"), now, shipped) - due
    has_lateness = outcome <= OUTCOMES.index("late_open")
    texts = pd.Index(policies.to_judged_by(moment.isoformat(), fetch_of(orders)))
    columns: dict[str, Any] = {
        "due_at": _time.utc(due),
        "shipped_at": _time.utc(shipped),
        "outcome": pd.Categorical.from_codes(outcome, pd.Index(OUTCOMES), ordered=True),
        "is_due": verdicts["is_due"],
        "lateness": np.where(has_lateness, lateness, np.timedelta64("NaT", "us")).astype("m8[us]"),
        "reason": _checks.string_series(_REASONS).array.take(verdicts["reason"], allow_fill=True),
        JUDGED_BY: pd.Categorical.from_codes(codes, texts),
    }
    judged = orders.assign(**columns)
    _checks.add_measure_info(judged, orders, "compliance", policies.to_info(moment))
    return judged


def _verdicts(
    orders: pd.DataFrame, codes: Array, policies: Policies, now: np.datetime64
) -> dict[str, Array]:
    """Judge the rows of each policy by it, and put them together again."""
    each = list(policies.of.values())
    if len(each) == 1:
        return _verdict(orders, each[0], now)
    whole: dict[str, Array] = {}
    for code, policy in enumerate(each):
        rows = np.flatnonzero(codes == code)
        names = _checks.present(orders, ["warehouse_id", *columns_needed(policy)])
        for name, values in _verdict(orders[names].iloc[rows], policy, now).items():
            whole.setdefault(name, np.empty(len(orders), dtype=values.dtype))[rows] = values
    return whole


def _verdict(orders: pd.DataFrame, policy: SlaPolicy, now: np.datetime64) -> dict[str, Array]:
    """Return due time, ship event, outcome, reason, and whether it was due, of each order."""
    last, is_day = due_ends(orders, policy)
    stamped = _time.instants(orders, f"{policy.ship_event}_shipped_date")
    reason = _reasons(orders, last, stamped, now, policy)
    is_short = np.zeros(len(orders), dtype=bool)
    shipped = np.where(stamped <= now, stamped, _time.NAT)
    if policy.ship_event == "complete":
        # Closed with less than was ordered, at its last shipment: it will never be complete.
        closed = _time.instants(orders, "last_shipped_date")
        is_short = _checks.has_status(orders, "fulfilled") & np.isnat(stamped) & (closed <= now)
        is_short &= ~_are_units_unknown(orders)
        shipped = np.where(is_short, closed, shipped)
    limit = _with_grace(last, policy)
    is_over = _are_over(limit, is_day, now)
    has_shipped, in_time = ~np.isnat(shipped), shipped <= limit
    conditions = [reason >= 0, in_time & ~is_short, has_shipped & ~in_time, is_short, is_over]
    names = ["not_evaluable", "on_time", "late_shipped", "short", "late_open"]
    outcome = np.select(conditions, [*map(OUTCOMES.index, names)], OUTCOMES.index("pending"))
    due = np.where(is_day, last - _TO_WHOLE_SECOND, last)
    is_due = is_over & (reason < 0)
    return {"due": due, "shipped": shipped, "outcome": outcome, "reason": reason, "is_due": is_due}


def due_ends(orders: pd.DataFrame, policy: SlaPolicy) -> tuple[Array, Array]:
    """Return the last moment in time of each order, without grace, and whether it ends a day.

    Of a day it is the last microsecond, one before the next midnight. NaT where there is none.
    """
    if policy.cut_off is not None:
        return clock_ends(orders, policy), np.ones(len(orders), dtype=bool)
    ends = required_times(orders, policy.due_day, policy.tz)
    if policy.due_day == "end":
        return ends, np.ones(len(orders), dtype=bool)
    stamps = _time.instants(orders, "required_ship_date")
    return ends, (stamps == stamps.astype("M8[D]")) & (policy.due_day != "instant")


def _with_grace(ends: Array, policy: SlaPolicy) -> Array:
    limit: Array = ends + _in_micros(policy.grace)
    return limit


def _are_units_unknown(orders: pd.DataFrame) -> Array:
    return _checks.column(orders, "units_ordered").isna().to_numpy(dtype=bool)


def _in_micros(length: Any) -> Any:
    """Return a length of time in microseconds: nanoseconds would end moments in the year 2262."""
    return pd.Timedelta(length).to_timedelta64().astype("m8[us]")


def _are_over(limit: Array, is_day: Array, now: np.datetime64 | Array) -> Array:
    # At the last microsecond of a due day, nothing more can be in time: as_of may be a bare day.
    over: Array = (now > limit) | (is_day & (now == limit))
    return over


def are_over(orders: pd.DataFrame, policies: Policies, now: np.datetime64 | Array) -> Array:
    """Return which orders can no longer be in time, grace included, evaluable or not."""
    return _are_over(*limits(orders, policies), now)


def limits(orders: pd.DataFrame, policies: Policies) -> tuple[Array, Array]:
    """Return the last moment in time of each order, as `due_ends` does, but with grace."""
    codes, limit = codes_of(orders, policies), np.full(len(orders), _time.NAT)
    is_day = np.zeros(len(orders), dtype=bool)
    for code, policy in enumerate(policies.of.values()):
        rows = np.flatnonzero(codes == code)
        ends, is_day[rows] = due_ends(orders.iloc[rows], policy)
        limit[rows] = _with_grace(ends, policy)
    return limit, is_day


def required_times(orders: pd.DataFrame, due_day: str, tz: TzLike) -> Array:
    """Return the required ship dates as moments; NaT where a day has no zone to end in."""
    stamps = _time.instants(orders, "required_ship_date")
    is_day = (stamps == stamps.astype("M8[D]")) & (due_day != "instant")
    if due_day == "end":
        # A stamp with a time is due at the end of the local day in which it falls.
        days = np.where(is_day, stamps, _time.convert_by_zone(orders, stamps, tz, _time.local))
        return _time.convert_by_zone(orders, days, tz, _time.day_ends)
    ends = _time.convert_by_zone(orders, np.where(is_day, stamps, _time.NAT), tz, _time.day_ends)
    return np.where(is_day, ends, stamps)


def _reasons(
    orders: pd.DataFrame, due: Array, stamped: Array, now: np.datetime64, policy: SlaPolicy
) -> Array:
    """Return the index of each order's reason in `_REASONS`; -1 for one that is evaluable."""
    by_clock, complete = policy.cut_off is not None, policy.ship_event == "complete"
    dated = _time.instants(orders, "created_date" if by_clock else "required_ship_date")
    start = policy.clock_start
    given = _time.instants(orders, start) if start else np.full_like(dated, _time.NAT)
    undated = np.isnat(dated) & np.isnat(given)
    done = ["fulfilled"] if complete else ["fulfilled", "partially_fulfilled"]
    unstamped = _checks.has_status(orders, *done) & np.isnat(stamped)
    unknown = np.zeros(len(orders), dtype=bool)
    if complete:
        unstamped &= np.isnat(_time.instants(orders, "last_shipped_date"))
        unknown = _are_units_unknown(orders)
    window = policy.window
    since = _time.NAT if window is None else now - _in_micros(window)
    conditions = [
        _time.instants(orders, "created_date") > now,
        _checks.has_status(orders, "cancelled"),
        _checks.has_status(orders, *policy.exclude_statuses),
        undated & (not by_clock),
        _checks.has_status(orders, "backordered") & np.isnat(given) & by_clock,
        undated & by_clock,
        np.isnat(due) & (isinstance(policy.tz, Mapping) and None not in policy.tz),
        np.isnat(due),
        due < since,
        unknown,
        unstamped,
    ]
    return np.select(conditions, range(len(_REASONS)), default=-1)
