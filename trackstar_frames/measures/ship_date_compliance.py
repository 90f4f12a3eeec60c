"""Whether each order was shipped by the time it was due."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _time
from trackstar_frames.measures._partitions import Partitioned, is_partitioned, meta_of
from trackstar_frames.measures._time import Array, TzLike
from trackstar_frames.measures.policy import DueDay, Length, ShipEvent, SlaPolicy, clock_ends

OUTCOMES = ("on_time", "late_shipped", "late_open", "pending", "not_evaluable")

SHORT = "fulfilled short: the units shipped never reach the units ordered"
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
    SHORT,
    "shipped without a usable stamp",
)

#: A frame of pandas or of Dask; the result is one of the same.
Frame = TypeVar("Frame", bound=pd.DataFrame | Partitioned)


def ship_date_compliance(
    orders: Frame,
    policy: SlaPolicy | None = None,
    *,
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
        ``last_shipped_date`` too), the policy's ``clock_start`` and, for a map of zones or
        holidays, ``warehouse_id``. A Dask DataFrame of these is judged lazily, partition by
        partition.
    policy
        When orders are due, and what counts as shipped: an `SlaPolicy`.
    as_of
        The moment to judge at; naive means UTC. By default when the data were fetched, from
        ``orders.attrs``, which Dask does not keep: give it there. Shipments after it have not
        happened yet; statuses are those of the data, as nothing says when an order was cancelled
        or closed.
    due_day, tz, ship_event, grace
        Fields of a policy, as `SlaPolicy` describes them, where no `policy` is given. By
        default ``"auto"``, ``"UTC"``, ``"complete"`` and ``"0s"``.

    Returns
    -------
    pandas.DataFrame, or dask.dataframe.DataFrame of one
        One row per order, with the columns and index of `orders`, and these, which replace
        columns of the same name:

        - ``due_at`` (datetime64[us, UTC]): without the grace; null where it is unknown.
        - ``shipped_at`` (datetime64[us, UTC]): the ship event; null if there was none by `as_of`.
        - ``outcome`` (ordered categorical): ``on_time`` (shipped, and by due_at + grace),
          ``late_shipped`` (shipped after that), ``late_open`` (not shipped, and as_of is after
          that), ``pending`` (not shipped, and not yet late) or ``not_evaluable``.
        - ``lateness`` (timedelta64[us]): ``shipped_at - due_at``, negative when early;
          ``as_of - due_at`` for late_open; null for pending and not_evaluable.
        - ``reason`` (str): why an order is not evaluable; null for all others.

        ``attrs["trackstar"]["compliance"]`` holds the policy (`SlaPolicy.from_json` reads it), its
        ``text``, ``as_of``, and ``zone_data``, the version of the data of time zones, null if
        unknown. It holds no counts, which would be wrong for some of the rows.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong type or value, fields given with a policy, a
        column that is missing or holds no moments, and warehouses that the policy does not
        know. With Dask, what depends on the values is raised when the frame is computed.

    Warns
    -----
    UserWarning
        If `as_of` is not given and the frame does not say when it was fetched: orders are
        judged as of now.

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
    - for ``"complete"``, fulfilled with fewer units shipped than ordered: it will never be
      complete. One that is partially fulfilled is simply not complete yet;
    - in a status that says that the ship event happened, but without a stamp of it.

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
    ...     "last_shipped_date": pd.NaT,
    ... })
    >>> policy = SlaPolicy(tz="America/New_York")
    >>> judged = ship_date_compliance(orders, policy, as_of="2026-03-04")
    >>> judged["outcome"].tolist()
    ['on_time', 'late_shipped', 'late_open', 'late_open']
    >>> str(judged["due_at"][0])
    '2026-03-03 04:59:59.999999+00:00'
    """
    policy = resolve_policy(policy, due_day=due_day, tz=tz, ship_event=ship_event, grace=grace)
    _checks.require(orders, columns_needed(policy), source="fetch_orders_df", lazy=True)
    moment = _time.resolve_as_of(orders, as_of)
    if is_partitioned(orders):
        meta = _judge(meta_of(orders), policy, moment)
        return cast("Frame", orders.map_partitions(_judge, policy, moment, meta=meta))
    return cast("Frame", _judge(cast("pd.DataFrame", orders), policy, moment))


def resolve_policy(policy: SlaPolicy | None, **given: Any) -> SlaPolicy:
    """Return the policy, or the one that single fields make; both at once is an error."""
    given = {name: value for name, value in given.items() if value is not None}
    if policy is None:
        return SlaPolicy(**given)
    if not isinstance(policy, SlaPolicy):
        raise TypeError(
            f"policy is a {type(policy).__name__}; pass an SlaPolicy, such as "
            f"SlaPolicy.on_time_shipment()"
        )
    if given:
        fields = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise ValueError(
            f"{', '.join(given)} given with a policy; change the policy with "
            f"dataclasses.replace(policy, {fields})"
        )
    return policy


def columns_needed(policy: SlaPolicy) -> list[str]:
    """Return the columns that are read, but for ``warehouse_id``."""
    names = ["status", "created_date", f"{policy.ship_event}_shipped_date"]
    names += ["last_shipped_date"] if policy.ship_event == "complete" else []
    if policy.cut_off is None:
        return [*names, "required_ship_date"]
    return names if policy.clock_start is None else [*names, policy.clock_start]


def judged_orders(
    orders: Frame, policy: SlaPolicy | None, as_of: object, *, stacklevel: int = 3
) -> Frame:
    """Judge orders, of pandas or Dask; return a frame that was judged by this policy as it is."""
    _checks.require(orders, [], source="fetch_orders_df", lazy=True)
    if "outcome" not in orders.columns:
        moment = _time.resolve_as_of(orders, as_of, stacklevel=stacklevel + 1)
        return ship_date_compliance(orders, policy, as_of=moment)
    if policy is None and as_of is None:
        return orders
    checked = resolve_policy(policy) if policy else None
    when = None if as_of is None else _time.instant("as_of", as_of)
    if is_partitioned(orders):
        lazy = orders.map_partitions(_check_judged, checked, when, meta=meta_of(orders))
        return cast("Frame", lazy)
    return cast("Frame", _check_judged(cast("pd.DataFrame", orders), checked, when))


def _check_judged(
    orders: pd.DataFrame, policy: SlaPolicy | None, when: pd.Timestamp | None
) -> pd.DataFrame:
    info = _checks.measure_info(orders, "compliance")
    if info is None:
        known = "an unknown policy"
    elif policy and SlaPolicy.from_json(info) != policy:
        known = f"another policy: {info.get('text')!r}"
    elif when is not None and when != _time.instant("as_of", info["as_of"]):
        known = f"this policy, but as of {info['as_of']}"
    else:
        return orders
    raise ValueError(
        f"this frame has been judged already, by {known}; judge it anew with "
        f"ship_date_compliance, or pass plain orders"
    )


def _judge(orders: pd.DataFrame, policy: SlaPolicy, moment: pd.Timestamp) -> pd.DataFrame:
    now = _time.now_of(moment)
    if policy.cut_off is None:
        due = required_times(orders, policy.due_day, policy.tz)
    else:
        due = clock_ends(orders, policy)
    stamped = _time.instants(orders, f"{policy.ship_event}_shipped_date")
    shipped = np.where(stamped <= now, stamped, _time.NAT)
    reasons = _reasons(orders, due, stamped, now, policy)
    limit = due + pd.Timedelta(policy.grace).to_timedelta64()
    outcomes = _outcomes(limit, shipped, now, reasons >= 0)
    lateness = np.where(outcomes == OUTCOMES.index("late_open"), now, shipped) - due
    is_judged = outcomes <= OUTCOMES.index("late_open")
    judged = orders.assign(
        due_at=_time.utc(due),
        shipped_at=_time.utc(shipped),
        outcome=pd.Categorical.from_codes(outcomes, pd.Index(OUTCOMES), ordered=True),
        lateness=np.where(is_judged, lateness, np.timedelta64("NaT", "us")).astype("m8[us]"),
        reason=_checks.string_series(np.array([*_REASONS, None], dtype=object)[reasons]).array,
    )
    info = {"as_of": moment.isoformat(), "text": policy.text, **policy.to_json()}
    info["zone_data"] = _time.zone_data()
    _checks.add_measure_info(judged, orders, "compliance", info)
    return judged


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
    last = _time.instants(orders, "last_shipped_date") if complete else stamped
    window = policy.window
    since = _time.NAT if window is None else now - pd.Timedelta(window).to_timedelta64()
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
        unstamped & (last <= now),
        unstamped & np.isnat(last),
    ]
    return np.select(conditions, range(len(_REASONS)), default=-1)


def _outcomes(limit: Array, shipped: Array, now: np.datetime64, not_evaluable: Array) -> Array:
    """Return the index of each order's outcome in `OUTCOMES`."""
    has_shipped = ~np.isnat(shipped)
    conditions = [not_evaluable, has_shipped & (shipped <= limit), has_shipped, now > limit]
    return np.select(conditions, [4, 0, 1, 2], default=3)
