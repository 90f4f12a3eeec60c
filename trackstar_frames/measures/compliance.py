"""Was each order shipped by the time it was due, and how often does that happen."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import by_columns, choice, duration, moment_of, require
from trackstar_frames.measures._judging import (
    OUTCOMES,
    due_times,
    lateness,
    outcomes,
    reasons,
    words,
)
from trackstar_frames.measures._tally import coded, tally, wilson
from trackstar_frames.measures._time import Array, TzLike, Zones, instants, local, period, utc

__all__ = ["OUTCOMES", "compliance_rate", "ship_date_compliance"]

DueDay = Literal["auto", "instant", "end"]
ShipEvent = Literal["first", "last", "complete"]


def ship_date_compliance(
    orders: pd.DataFrame,
    *,
    as_of: str | dt.date | np.datetime64 | None = None,
    due_day: DueDay = "auto",
    tz: TzLike = "UTC",
    ship_event: ShipEvent = "complete",
    grace: str | dt.timedelta | np.timedelta64 = "0s",
) -> pd.DataFrame:
    """Judge each order by its required ship date, as things stood at one moment.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or rows of it. Read are ``status``, ``created_date``,
        ``required_ship_date``, the shipped date that `ship_event` names
        (``last_shipped_date`` too for ``"complete"``) and, for a map of zones, ``warehouse_id``.
    as_of
        The moment to judge at; naive means UTC. By default when the data were fetched, from
        ``orders.attrs``. What happened later has not happened yet, but for cancellations:
        nothing says when those were.
    due_day
        How to read a due date. ``"auto"``: exactly midnight UTC is a bare day, good until the
        end of that calendar date in the warehouse's zone (the date itself is never moved across
        zones), anything else is a moment. ``"instant"``: always a moment. ``"end"``: always a
        day; a stamp with a time is due at the end of the warehouse-local day it falls on.
    tz
        The warehouses' time zone, or a map from warehouse_id to zones, where the key None
        stands for all others and for orders without a warehouse.
    ship_event
        Which stamp counts as shipped: when the units shipped reach the units ordered
        (``"complete"``), or the ``"first"`` or ``"last"`` shipment. Trackstar gives one stamp
        per shipment; whether that is the label or the dock is the warehouse's habit.
    grace
        How much later than due still counts as in time. Zero or more.

    Returns
    -------
    pandas.DataFrame
        One row per order, with the columns and index of `orders`, and (anew, if there):

        - ``due_at`` (datetime64[us, UTC]): without the grace; null without a due date.
        - ``shipped_at`` (datetime64[us, UTC]): the ship event; null if not until `as_of`.
        - ``outcome`` (ordered categorical): ``on_time`` (shipped, and by due_at + grace),
          ``late_shipped`` (shipped after that), ``late_open`` (not shipped, and as_of is after
          that), ``pending`` (not shipped, and not yet late) or ``not_evaluable``.
        - ``lateness`` (timedelta64[us]): ``shipped_at - due_at``, negative when early;
          ``as_of - due_at`` for late_open; null for pending and not_evaluable.
        - ``reason`` (str): why an order is not evaluable; null for all others.

        The policy is in ``attrs["trackstar"]["compliance"]``.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong kind or value, a column that is missing or holds no
        moments, and warehouses that `tz` does not know; before any work.

    Warns
    -----
    UserWarning
        If `as_of` is not given and the frame does not say when it was fetched: now is taken.

    Notes
    -----
    Not evaluable are orders created after as_of, cancelled ones, ones without a due date,
    and ones whose status says that the event happened, but for which there is no stamp. An
    order that was fulfilled although its units never reach the units ordered is one of
    these for ``"complete"``: it will never be complete, and is not late for ever either. One
    partially fulfilled is simply not complete yet.

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
    >>> judged = ship_date_compliance(orders, as_of="2026-03-04", tz="America/New_York")
    >>> judged["outcome"].tolist()
    ['on_time', 'late_shipped', 'late_open', 'late_open']
    >>> str(judged["due_at"][0])
    '2026-03-03 04:59:59.999999+00:00'
    """
    choice("due_day", due_day, ("auto", "instant", "end"))
    choice("ship_event", ship_event, ("first", "last", "complete"))
    zones, spare = Zones.read(tz), duration("grace", grace)
    require(orders, _needed(ship_event), source="fetch_orders_df")
    moment = moment_of(orders, as_of)
    now = np.datetime64(moment.tz_localize(None), "us")

    due = due_times(orders, due_day, zones)
    stamped = instants(orders, f"{ship_event}_shipped_date")
    shipped = np.where(stamped <= now, stamped, np.datetime64("NaT", "us"))
    why = reasons(orders, due, stamped, now, ship_event)
    outcome = outcomes(due + spare.to_timedelta64(), shipped, now, why >= 0)
    judged = orders.assign(
        due_at=utc(due),
        shipped_at=utc(shipped),
        outcome=pd.Categorical.from_codes(outcome, pd.Index(OUTCOMES), ordered=True),
        lateness=lateness(due, shipped, now, outcome),
        reason=words(why).array,
    )
    policy = {
        "as_of": moment.isoformat(),
        "due_day": due_day,
        **zones.to_json(),
        "ship_event": ship_event,
        "grace": str(spare).removeprefix("0 days "),
    }
    provenance = {**orders.attrs.get("trackstar", {}), "compliance": policy}
    judged.attrs = {**orders.attrs, "trackstar": provenance}
    return judged


def compliance_rate(
    compliance: pd.DataFrame, by: str | Sequence[str] | None = None, freq: str | None = None
) -> pd.DataFrame:
    """Count outcomes, and give the on-time shipment rate, with its n and interval.

    The rate is on_time / (on_time + late_shipped + late_open): orders shipped by their due
    time, of those due. An overdue order that has not shipped counts as late; one that is not
    due yet counts in neither.

    Parameters
    ----------
    compliance
        The frame of `ship_date_compliance`, or rows of it.
    by
        A column, or several, to group by. Nulls are a group of their own.
    freq
        ``D``, ``W`` (Monday to Sunday; ``W-SAT`` ends on Saturdays), ``MS``, ``QS`` or ``YS``:
        also group by when orders were due, on the warehouses' own calendars. The spellings
        ``M``, ``ME`` and the like mean the same.

    Returns
    -------
    pandas.DataFrame
        One row per group and period; one row in all without both. The index holds the groups,
        then the first moment of the ``period``, as wall clock time (without a zone) in the
        policy's time zones. Every group has every period from the first to the last, with
        n = 0 where nothing was due, and one more, NaT, for rows without a due date (or, with
        a map of zones, without a warehouse). The counts sum to the orders given.

        - ``n`` (int64): on_time + late_shipped + late_open.
        - ``on_time``, ``late_shipped``, ``late_open``, ``pending``, ``not_evaluable`` (int64).
        - ``rate`` (float64): a share of 1; null where n is 0.
        - ``rate_low``, ``rate_high`` (float64): the 95 % Wilson interval; null where n is 0.

        The policy is in ``attrs["trackstar"]["compliance"]``.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong kind or value, missing columns, outcomes of another
        making, and a `freq` so short that the table would not fit into memory.

    Warns
    -----
    UserWarning
        If `freq` is given and the frame has lost its policy: UTC is taken.

    Examples
    --------
    >>> import pandas as pd
    >>> judged = pd.DataFrame({"channel": ["web", "web", "edi", "edi"],
    ...     "outcome": ["on_time", "late_open", "on_time", "pending"]})
    >>> table = compliance_rate(judged, by="channel")
    >>> table.reset_index()[["channel", "n", "on_time", "pending", "rate"]]
      channel  n  on_time  pending  rate
    0     edi  1        1        1   1.0
    1     web  2        1        0   0.5
    """
    require(compliance, ["outcome"], source="ship_date_compliance", name="compliance")
    groups = by_columns(compliance, by)
    span = None if freq is None else period(freq)
    stamps = None if span is None else _local_due(compliance)
    counts, labels = tally(
        compliance, _codes(compliance), len(OUTCOMES), by=groups, stamps=stamps, period=span
    )
    table = pd.DataFrame(counts, columns=list(OUTCOMES), index=labels)
    table.insert(0, "n", counts[:, :3].sum(axis=1))
    rate, low, high = wilson(counts[:, 0], table["n"].to_numpy())
    table = table.assign(rate=rate, rate_low=low, rate_high=high)
    table.attrs = dict(compliance.attrs)
    return table


def _needed(ship_event: str) -> list[str]:
    needed = ["status", "created_date", "required_ship_date", f"{ship_event}_shipped_date"]
    return [*needed, "last_shipped_date"] if ship_event == "complete" else needed


def _local_due(compliance: pd.DataFrame) -> Array:
    require(compliance, ["due_at"], source="ship_date_compliance", name="compliance")
    policy: dict[str, Any] | None = compliance.attrs.get("trackstar", {}).get("compliance")
    if policy is None:
        warnings.warn(
            "compliance has lost its policy (attrs['trackstar']['compliance']), so due times "
            "are put into periods in UTC; copy attrs over from ship_date_compliance's frame",
            stacklevel=3,
        )
        policy = {"tz": "UTC"}
    return Zones.from_json(policy).convert(compliance, instants(compliance, "due_at"), local)


def _codes(compliance: pd.DataFrame) -> Array:
    codes, values = coded(compliance, "outcome")
    for value in values:
        choice("outcome", value, OUTCOMES)
    if (codes < 0).any():
        raise ValueError("outcome holds nulls; pass the frame of ship_date_compliance as it is")
    return np.array([OUTCOMES.index(value) for value in values], dtype=np.int64)[codes]
