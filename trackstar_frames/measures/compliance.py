"""Was each order shipped by the time it was due."""

from __future__ import annotations

import datetime as dt
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import has_status, instant, moment_of, own_texts, require
from trackstar_frames.measures._partitions import (
    Partitioned,
    empty_of,
    is_partitioned,
    tell,
    told_of,
)
from trackstar_frames.measures._time import Array, TzLike, Zones, day_ends, instants, local, utc
from trackstar_frames.measures.policy import DueDay, Length, ShipEvent, SlaPolicy, clock_end

__all__ = [
    "OUTCOMES",
    "SHORT",
    "due_times",
    "judged_by",
    "lateness",
    "needed",
    "one_policy",
    "outcomes",
    "reasons",
    "required_times",
    "ship_date_compliance",
    "words",
]


#: A frame of pandas or of Dask; what is made of it is of the same.
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
    """Judge each order by when it was due, as things stood at one moment.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or rows of it. Read are ``status``, ``created_date``,
        ``required_ship_date`` (unless the policy has a cut-off), the shipped date that the
        ship event names (``last_shipped_date`` too for ``"complete"``), the policy's
        ``clock_start`` and, for a map of zones or holidays, ``warehouse_id``. Or a Dask
        DataFrame of these: each partition is judged where it lies, when that is asked for.
    policy
        When orders are due, and what counts as shipped: an `SlaPolicy`.
    as_of
        The moment to judge at; naive means UTC. By default when the data were fetched, from
        ``orders.attrs``, which Dask does not have: give it there. What happened later has not
        happened yet, but for cancellations and other statuses: nothing says when those were.
    due_day, tz, ship_event, grace
        Without a `policy`: make one of these, as `SlaPolicy` describes them. Where not given,
        ``"auto"``, ``"UTC"``, ``"complete"`` and ``"0s"``.

    Returns
    -------
    pandas.DataFrame, or dask.dataframe.DataFrame of one
        One row per order, with the columns and index of `orders`, and (anew, if there):

        - ``due_at`` (datetime64[us, UTC]): without the grace; null where it cannot be told.
        - ``shipped_at`` (datetime64[us, UTC]): the ship event; null if not until `as_of`.
        - ``outcome`` (ordered categorical): ``on_time`` (shipped, and by due_at + grace),
          ``late_shipped`` (shipped after that), ``late_open`` (not shipped, and as_of is after
          that), ``pending`` (not shipped, and not yet late) or ``not_evaluable``.
        - ``lateness`` (timedelta64[us]): ``shipped_at - due_at``, negative when early;
          ``as_of - due_at`` for late_open; null for pending and not_evaluable.
        - ``reason`` (str): why an order is not evaluable; null for all others.

        ``attrs["trackstar"]["compliance"]`` tells the policy (`SlaPolicy.from_json` reads it), its
        ``text``, and ``as_of``. No count of orders is there: rows are soon filtered.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong kind or value, a field of a policy beside a policy, a
        column that is missing or holds no moments, and warehouses that the policy does not
        know; before any work, or of what only the values tell, when Dask comes to them.

    Warns
    -----
    UserWarning
        If `as_of` is not given and the frame does not say when it was fetched: now is taken.

    Notes
    -----
    Not evaluable are orders created after as_of, cancelled ones (even if they shipped), ones
    without a due date, and ones whose status says that the event happened, but for which there
    is no stamp. An order that was fulfilled although its units never reach the units ordered is
    one of these for ``"complete"``: it will never be complete, and is not late for ever either.
    One partially fulfilled is simply not complete yet. So are those that the policy leaves out
    by status or window, and, with a cut-off, backordered ones for which ``clock_start`` gives
    no time: their clock starts when the stock comes, and nothing tells when that is. One that
    is no longer backordered goes by its creation, for nothing tells that it was.

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
    held_to = one_policy(policy, due_day=due_day, tz=tz, ship_event=ship_event, grace=grace)
    require(orders, needed(held_to), source="fetch_orders_df", lazy=True)
    moment = moment_of(orders, as_of)
    if is_partitioned(orders):
        empty = _judge(empty_of(orders), held_to, moment)
        return cast("Frame", orders.map_partitions(_judge, held_to, moment, meta=empty))
    return cast("Frame", _judge(cast("pd.DataFrame", orders), held_to, moment))


def _judge(orders: pd.DataFrame, held_to: SlaPolicy, moment: pd.Timestamp) -> pd.DataFrame:
    now = np.datetime64(moment.tz_localize(None), "us")

    due = due_times(orders, held_to)
    stamped = instants(orders, f"{held_to.ship_event}_shipped_date")
    shipped = np.where(stamped <= now, stamped, np.datetime64("NaT", "us"))
    why = reasons(orders, due, stamped, now, held_to)
    spare = pd.Timedelta(held_to.grace).to_timedelta64()
    outcome = outcomes(due + spare, shipped, now, why >= 0)
    judged = orders.assign(
        due_at=utc(due),
        shipped_at=utc(shipped),
        outcome=pd.Categorical.from_codes(outcome, pd.Index(OUTCOMES), ordered=True),
        lateness=lateness(due, shipped, now, outcome),
        reason=words(why).array,
    )
    told = {"as_of": moment.isoformat(), "text": held_to.text, **held_to.to_json()}
    tell(judged, orders, "compliance", told)
    return judged


def one_policy(policy: SlaPolicy | None, **loose: Any) -> SlaPolicy:
    """Return the policy, or the one that single fields make; never both."""
    given = {name: value for name, value in loose.items() if value is not None}
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
            f"{', '.join(given)} beside a policy; change that with "
            f"dataclasses.replace(policy, {fields})"
        )
    return policy


def judged_by(
    orders: Frame, policy: SlaPolicy | None, as_of: object, *, stacklevel: int = 3
) -> Frame:
    """Judge orders; a frame that has been judged is taken if that was by the same policy.

    Raises
    ------
    ValueError
        If it was not, or as of another moment, or if that is not known.
    """
    require(orders, [], source="fetch_orders_df", lazy=True)
    if "outcome" not in orders.columns:
        moment = moment_of(orders, as_of, stacklevel=stacklevel + 1)
        return ship_date_compliance(orders, policy, as_of=moment)
    if policy is None and as_of is None:
        return orders
    held_to = one_policy(policy) if policy else None
    when = None if as_of is None else instant("as_of", as_of)
    if is_partitioned(orders):
        checked = orders.map_partitions(_checked, held_to, when, meta=empty_of(orders))
        return cast("Frame", checked)
    return cast("Frame", _checked(cast("pd.DataFrame", orders), held_to, when))


def _checked(
    orders: pd.DataFrame, held_to: SlaPolicy | None, when: pd.Timestamp | None
) -> pd.DataFrame:
    told = told_of(orders, "compliance")
    if told is None or (held_to and SlaPolicy.from_json(told) != held_to):
        known = "an unknown policy" if told is None else f"another policy: {told.get('text')!r}"
    elif when is not None and when != instant("as_of", told["as_of"]):
        known = f"this policy, but as of {told['as_of']}"
    else:
        return orders
    raise ValueError(
        f"this frame has been judged already, by {known}; judge it anew with "
        f"ship_date_compliance, or pass plain orders"
    )


OUTCOMES = ("on_time", "late_shipped", "late_open", "pending", "not_evaluable")

SHORT = "fulfilled short: the units shipped never reach the units ordered"
# Why an order cannot be judged; where several hold, the first is given.
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
_NAT = np.datetime64("NaT", "us")


def needed(policy: SlaPolicy) -> list[str]:
    """List the columns that are read, but for the warehouses."""
    names = ["status", "created_date", f"{policy.ship_event}_shipped_date"]
    names += ["last_shipped_date"] if policy.ship_event == "complete" else []
    if policy.cut_off is None:
        return [*names, "required_ship_date"]
    return names if policy.clock_start is None else [*names, policy.clock_start]


def due_times(orders: pd.DataFrame, policy: SlaPolicy) -> Array:
    """Return when orders are due; NaT where that cannot be told."""
    if policy.cut_off is None:
        return required_times(orders, policy.due_day, policy.zones)
    return _clocked(orders, policy, str(policy.cut_off))


def required_times(orders: pd.DataFrame, due_day: str, zones: Zones) -> Array:
    """Read the required ship dates as moments; NaT where a day has no zone to end in."""
    stamps = instants(orders, "required_ship_date")
    bare = (stamps == stamps.astype("M8[D]")) & (due_day != "instant")
    ends = zones.convert(orders, np.where(bare, stamps, _NAT), day_ends)
    if due_day != "end":
        return np.where(bare, ends, stamps)
    timed = np.where(bare, _NAT, stamps)
    timed_ends = zones.convert(orders, timed, lambda some, zone: day_ends(local(some, zone), zone))
    return np.where(bare, ends, timed_ends)


def _clocked(orders: pd.DataFrame, policy: SlaPolicy, cut_off: str) -> Array:
    """Let a clock run for each order, on the calendar of its warehouse."""
    starts = _starts(orders, policy)
    in_zone, zones = policy.zones.codes(orders)
    in_calendar, calendars = policy.calendars.codes(orders)
    due = np.full(len(orders), _NAT)
    for place, zone in enumerate(zones):
        for number, holidays in enumerate(calendars):
            rows = (in_zone == place) & (in_calendar == number)
            due[rows] = clock_end(
                starts[rows],
                zone,
                holidays,
                cut_off=cut_off,
                days=policy.business_days,
                workdays=policy.workdays,
            )
    return due


def _starts(orders: pd.DataFrame, policy: SlaPolicy) -> Array:
    created = instants(orders, "created_date")
    if policy.clock_start is None:
        return created
    given = instants(orders, policy.clock_start)
    return np.where(np.isnat(given), created, given)


def reasons(
    orders: pd.DataFrame, due: Array, stamped: Array, now: np.datetime64, policy: SlaPolicy
) -> Array:
    """Return each order's place in `_REASONS`, -1 for one that can be judged."""
    complete = policy.ship_event == "complete"
    done = ["fulfilled"] if complete else ["fulfilled", "partially_fulfilled"]
    unstamped = has_status(orders, *done) & np.isnat(stamped)
    last = instants(orders, "last_shipped_date") if complete else stamped
    window = policy.window
    since = _NAT if window is None else now - pd.Timedelta(window).to_timedelta64()
    holds = [
        instants(orders, "created_date") > now,
        has_status(orders, "cancelled"),
        has_status(orders, *policy.exclude_statuses),
        *_not_due(orders, policy),
        np.isnat(due) & (policy.zones.default is None),
        np.isnat(due),
        due < since,
        unstamped & (last <= now),
        unstamped & np.isnat(last),
    ]
    return np.select(holds, range(len(_REASONS)), default=-1)


def _not_due(orders: pd.DataFrame, policy: SlaPolicy) -> list[Array]:
    """Tell which orders have no due date, which may start their clock, which have none."""
    none = np.zeros(len(orders), dtype=bool)
    if policy.cut_off is None:
        return [np.isnat(instants(orders, "required_ship_date")), none, none]
    unstarted = np.isnat(_starts(orders, policy))
    untold = has_status(orders, "backordered")
    if policy.clock_start is not None:
        untold = untold & np.isnat(instants(orders, policy.clock_start))
    return [none, untold, unstarted]


def outcomes(limit: Array, shipped: Array, now: np.datetime64, unknown: Array) -> Array:
    """Return each order's place in `OUTCOMES`."""
    happened = ~np.isnat(shipped)
    return np.select(
        [unknown, happened & (shipped <= limit), happened, now > limit], [4, 0, 1, 2], default=3
    )


def lateness(due: Array, shipped: Array, now: np.datetime64, outcome: Array) -> Array:
    """Return how long after due an order shipped, or has been open; NaT where not judged."""
    until = np.where(outcome == OUTCOMES.index("late_open"), now, shipped)
    judged = outcome <= OUTCOMES.index("late_open")
    return np.where(judged, until - due, np.timedelta64("NaT", "us")).astype("m8[us]")


def words(reasons: Array) -> pd.Series[str]:
    """Spell reasons; null for an order that can be judged."""
    spelt = np.array([*_REASONS, None], dtype=object)[reasons]
    return own_texts(spelt)
