"""The orders that are late: a list to act on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _filters, _time
from trackstar_frames.measures._labels import named, parse_labels
from trackstar_frames.measures._policies import Judgement, PolicyLike, require_judgement
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.completeness import LIFECYCLE_COLUMNS, UNIT_COLUMNS, units_left
from trackstar_frames.measures.compliance_rate import local_due_times
from trackstar_frames.measures.ship_date_compliance import are_over, judged_orders

# What identifies an order for people.
_NAMES = ("id", "order_number", "warehouse_id", "warehouse_customer_id", "channel", "status")
# How the reason of an order begins that is not evaluable for lack of a quantity.
_UNKNOWN = "quantity unknown"
_LABELLED = ("connection", "warehouse_id", "warehouse_customer_id", "channel")
_COLUMNS_READ = (*_NAMES, *LIFECYCLE_COLUMNS, *UNIT_COLUMNS)


def late_orders(
    orders: pd.DataFrame,
    *,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    labels: Mapping[Any, str] | None = None,
    shipped: bool = False,
) -> pd.DataFrame:
    """List the orders that are overdue and have not shipped, the longest overdue first.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df` or of `ship_date_compliance`, or some of its rows, with
        the columns that `ship_date_compliance` and the result need.
    policy, policy_by
        As for `ship_date_compliance`; by default ``SlaPolicy()``, which goes by the required
        ship dates. A frame that has been judged must have been judged by the same policy.
    as_of
        As for `ship_date_compliance`.
    labels
        Names to show instead of connections, warehouse_ids, warehouse_customer_ids and channels,
        such as ``{"wh_1": "Newark"}``.
    shipped
        Also list, below the others, orders that shipped late, the latest first.

    Returns
    -------
    pandas.DataFrame
        One row per late order, with a RangeIndex; ties keep the order of `orders`.

        - ``connection`` (str), where `orders` have it.
        - ``id``, ``order_number``, ``warehouse_id``, ``warehouse_customer_id``, ``channel``
          (str), ``status`` (as in `orders`): those of the order.
        - ``outcome`` (ordered categorical): ``late_open`` or ``late_shipped``; ``not_evaluable``
          for an open order that is overdue and of which the quantity of a line is unknown. It is
          in no rate, but it may need to be shipped.
        - ``due_at`` (datetime64[us, UTC]), ``due_local`` (datetime64[us], without a zone): when
          the order was due, in UTC and in wall-clock time at the warehouse.
        - ``lateness`` (timedelta64[us]): how long it has been overdue, or how late it shipped.
        - ``units_ordered``, ``units_shipped``, ``units_left`` (Int64): units ordered, and those
          of them that have shipped and have not, sku by sku: what shipped beyond an order's need
          of one sku leaves the need of another as it is. Null where a quantity is unknown, and
          where only some had shipped by an earlier `as_of`.
        - ``shipped_share`` (float64): units_shipped / units_ordered, a share of 1.

        ``attrs["trackstar"]["compliance"]`` holds the policy, its ``text``, ``as_of``, and
        ``n``: the number of orders listed.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance`; also for a frame judged by another policy than `policy`, and
        one that has lost its policy (the column ``judged_by`` and its ``attrs``) and its as_of.

    Warns
    -----
    FilteredOrdersWarning
        If the frame was fetched with a limit, or with filters of ids, order numbers, update dates,
        bounds of dates, or statuses in which an order may have been open: they leave out orders
        that may be late.
    UserWarning
        If `as_of` is not given and plain orders do not say when they were fetched: orders are
        judged as of now.

    Notes
    -----
    Trackstar's copy of a warehouse's data is up to an hour old: an order that left in the hour
    before `as_of` may still be listed.

    Examples
    --------
    >>> import pandas as pd
    >>> due = pd.to_datetime(["2026-03-02", "2026-03-01"], utc=True)
    >>> orders = pd.DataFrame({"id": ["a", "b"], "order_number": ["#1", "#2"],
    ...     "warehouse_id": "w", "warehouse_customer_id": "c", "channel": "web",
    ...     "status": ["picked", "partially_fulfilled"], "created_date": due,
    ...     "required_ship_date": due, "first_shipped_date": [pd.NaT, due[0]],
    ...     "last_shipped_date": [pd.NaT, due[0]], "complete_shipped_date": pd.NaT,
    ...     "units_ordered": [1, 4], "units_shipped": [0, 3]})
    >>> late = late_orders(orders, as_of="2026-03-03 12:00")
    >>> late[["order_number", "status", "units_left", "shipped_share"]]
      order_number               status  units_left  shipped_share
    0           #2  partially_fulfilled           1           0.75
    1           #1               picked           1           0.00
    """
    _checks.require(orders, _COLUMNS_READ, source="fetch_orders_df")
    judged = judged_orders(orders, policy, as_of, policy_by=policy_by)
    judgement, names = require_judgement(judged), parse_labels(labels)
    now = judgement.now
    late = judged.assign(lateness=_lateness(judged, now, judgement))
    late = late[late["lateness"].notna() & _are_listed(late, shipped=shipped)]
    lateness = late["lateness"].to_numpy(dtype="m8[us]").astype(np.int64)
    longest_first = np.lexsort((-lateness, (late["outcome"] == "late_shipped").to_numpy()))
    late = late.iloc[longest_first]
    ordered, left = _checks.number_column(late, "units_ordered"), units_left(late, now)
    units = {"units_ordered": ordered, "units_shipped": ordered - left, "units_left": left}
    keys = (*_checks.connection_columns(late), *_NAMES)
    table = pd.DataFrame(
        {
            **{name: _key_column(late, name, names).array for name in keys},
            **{name: late[name].array for name in ("outcome", "due_at")},
            "due_local": local_due_times(late),
            "lateness": late["lateness"].array,
            **{name: pd.Series(values).astype("Int64") for name, values in units.items()},
            "shipped_share": (ordered - left) / np.where(ordered > 0, ordered, np.nan),
        }
    )
    _checks.add_measure_info(table, judged, "compliance", {**judgement.info, "n": len(table)})
    _warn_if_biased(judged, judgement.as_of, shipped=shipped)
    return table


def _warn_if_biased(judged: pd.DataFrame, as_of: pd.Timestamp | None, *, shipped: bool) -> None:
    statuses = _filters.NOT_CANCELLED if shipped else _filters.open_statuses(judged, as_of)
    bounds = _filters.OF_OVERDUE
    _filters.warn_if_biased(judged, "late_orders", statuses, bounds=bounds, as_of=as_of)


def _lateness(judged: pd.DataFrame, now: np.datetime64, judgement: Judgement) -> pd.Series[Any]:
    """Return how late orders are, of those of unknown quantity too if they are open."""
    is_unknown = _are_unknown(judged)
    if not is_unknown.any():
        return judged["lateness"]
    is_open = ~_checks.has_status(judged, "fulfilled", "cancelled")
    is_overdue = is_open & are_over(judged, judgement.policies, now)
    overdue = np.where(is_overdue, now - _time.instants(judged, "due_at"), np.timedelta64("NaT"))
    return judged["lateness"].where(~is_unknown, pd.Series(overdue, judged.index))


def _are_listed(judged: pd.DataFrame, *, shipped: bool) -> Array:
    outcomes = ["late_open", "late_shipped"] if shipped else ["late_open"]
    return judged["outcome"].isin(outcomes).to_numpy() | _are_unknown(judged)


def _are_unknown(judged: pd.DataFrame) -> Array:
    """Return which orders are not evaluable only because the quantity of a line is unknown."""
    reasons = judged["reason"].astype(object)
    return reasons.str.startswith(_UNKNOWN, na=False).to_numpy(dtype=bool)


def _key_column(late: pd.DataFrame, name: str, names: Mapping[Any, str]) -> pd.Series[Any]:
    values = _checks.column(late, name)
    return named(values, names) if name in _LABELLED else values
