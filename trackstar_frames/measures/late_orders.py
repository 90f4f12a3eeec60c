"""The orders that are late: a list to act on."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _time
from trackstar_frames.measures.completeness import LIFECYCLE_COLUMNS, UNIT_COLUMNS, units_left
from trackstar_frames.measures.compliance_rate import local_due_times
from trackstar_frames.measures.policy import SlaPolicy
from trackstar_frames.measures.ship_date_compliance import judged_orders

# What identifies an order for people.
_NAMES = ("id", "order_number", "warehouse_id", "warehouse_customer_id", "channel", "status")
_COLUMNS_READ = (*_NAMES, *LIFECYCLE_COLUMNS, *UNIT_COLUMNS)


def late_orders(
    orders: pd.DataFrame,
    policy: SlaPolicy | None = None,
    *,
    as_of: str | dt.date | np.datetime64 | None = None,
    shipped: bool = False,
) -> pd.DataFrame:
    """List the orders that are overdue and have not shipped, the longest overdue first.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df` or of `ship_date_compliance`, or some of its rows, with
        the columns that `ship_date_compliance` and the result need.
    policy
        As for `ship_date_compliance`; by default ``SlaPolicy()``, which goes by the required
        ship dates. A frame that has been judged must have been judged by the same policy.
    as_of
        As for `ship_date_compliance`.
    shipped
        Also list, below the others, orders that shipped late, the latest first.

    Returns
    -------
    pandas.DataFrame
        One row per late order, with a RangeIndex; ties keep the order of `orders`.

        - ``connection`` (str), where `orders` have it.
        - ``id``, ``order_number``, ``warehouse_id``, ``warehouse_customer_id``, ``channel``
          (str), ``status`` (as in `orders`): those of the order.
        - ``outcome`` (ordered categorical): ``late_open`` or ``late_shipped``.
        - ``due_at`` (datetime64[us, UTC]), ``due_local`` (datetime64[us], without a zone): when
          the order was due, in UTC and in wall-clock time at the warehouse.
        - ``lateness`` (timedelta64[us]): how long it has been overdue, or how late it shipped.
        - ``units_ordered``, ``units_shipped``, ``units_left`` (Int64): units ordered, and those
          of them that have shipped and have not; null where the orders do not say, and where
          only some had shipped by an earlier `as_of`.
        - ``shipped_share`` (float64): units_shipped / units_ordered, a share of 1.

        ``attrs["trackstar"]["compliance"]`` holds the policy, its ``text``, ``as_of``, and
        ``n``: the number of orders listed.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance`; also for a frame judged by another policy than `policy`, and
        one that has lost its policy (its ``attrs``), without which as_of is unknown.

    Warns
    -----
    UserWarning
        If `as_of` is not given and plain orders do not say when they were fetched: orders are
        judged as of now.

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
    judged = judged_orders(orders, policy, as_of)
    info = _checks.measure_info(judged, "compliance")
    if info is None:
        raise ValueError(
            "this frame has lost its policy (attrs['trackstar']['compliance']), so that it is "
            "unknown as of when its orders are late; judge it anew with ship_date_compliance"
        )
    outcomes = ["late_open", "late_shipped"] if shipped else ["late_open"]
    late = judged[judged["outcome"].isin(outcomes)]
    lateness = late["lateness"].to_numpy(dtype="m8[us]").astype(np.int64)
    longest_first = np.lexsort((-lateness, (late["outcome"] == "late_shipped").to_numpy()))
    late = late.iloc[longest_first]
    now = _time.now_of(_time.instant("as_of", info["as_of"]))
    ordered, left = _checks.number_column(late, "units_ordered"), units_left(late, now)
    units = {"units_ordered": ordered, "units_shipped": ordered - left, "units_left": left}
    names = (*_checks.connection_columns(late), *_NAMES)
    table = pd.DataFrame(
        {
            **{name: _checks.column(late, name).array for name in names},
            **{name: late[name].array for name in ("outcome", "due_at")},
            "due_local": local_due_times(late),
            "lateness": late["lateness"].array,
            **{name: pd.Series(values).astype("Int64") for name, values in units.items()},
            "shipped_share": (ordered - left) / np.where(ordered > 0, ordered, np.nan),
        }
    )
    _checks.add_measure_info(table, judged, "compliance", {**info, "n": len(table)})
    return table
