"""Was each order shipped by the time it was due."""

from __future__ import annotations

import datetime as dt
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import instant, moment_of, require
from trackstar_frames.measures._judging import (
    OUTCOMES,
    due_times,
    lateness,
    needed,
    outcomes,
    reasons,
    words,
)
from trackstar_frames.measures._partitions import Partitioned, empty_of, is_partitioned
from trackstar_frames.measures._provenance import tell, told_of
from trackstar_frames.measures._time import TzLike, instants, utc
from trackstar_frames.measures.policy import DueDay, Length, ShipEvent, SlaPolicy

__all__ = ["OUTCOMES", "judged_by", "one_policy", "ship_date_compliance"]


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
