"""The orders that are late: a list to act on."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import column, instant, require
from trackstar_frames.measures._grouping import whose
from trackstar_frames.measures._partitions import tell, told_of
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.completeness import LIFE, numbers, units_left
from trackstar_frames.measures.compliance import judged_by
from trackstar_frames.measures.policy import SlaPolicy
from trackstar_frames.measures.rates import due_walls

__all__ = ["late_orders"]

# Who and where, as the orders have it.
_NAMES = ("id", "order_number", "warehouse_id", "warehouse_customer_id", "channel", "status")
_NEEDED = (*_NAMES, *LIFE, "first_shipped_date", "units_ordered", "units_shipped")


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
        The frame of `fetch_orders_df`, or that of `ship_date_compliance`, or rows of either.
    policy
        As for `ship_date_compliance`; by default ``SlaPolicy()``, which goes by the required
        ship dates. A frame that has been judged must have been so by the same one.
    as_of
        As for `ship_date_compliance`.
    shipped
        Also list, below the others, those that shipped late, the latest first.

    Returns
    -------
    pandas.DataFrame
        One row per late order, with a RangeIndex; ties keep the order of `orders`.

        - ``id``, ``order_number``, ``warehouse_id``, ``warehouse_customer_id``, ``channel``
          (str), ``status`` (as in `orders`): which order it is, and where it stands. Before
          them ``connection`` (str), where `orders` are of several.
        - ``outcome`` (ordered categorical): ``late_open`` or ``late_shipped``.
        - ``due_at`` (datetime64[us, UTC]), ``due_local`` (datetime64[us]): when it was due, the
          latter as the clock on the warehouse's wall showed it.
        - ``lateness`` (timedelta64[us]): for how long it has been due, or how late it shipped.
        - ``units_ordered``, ``units_shipped``, ``units_left`` (Int64): of the units ordered,
          what has shipped and what has not; null where the orders do not say, and where only
          some of it shipped before an earlier `as_of`.
        - ``shipped_share`` (float64): units_shipped / units_ordered, a share of 1.

        ``attrs["trackstar"]["compliance"]`` tells the policy, its ``text`` and ``as_of``, and
        ``n``: how many orders are on the list.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance`; for a frame judged by another policy than `policy`, and one
        that has lost its own (its ``attrs``), for then nothing tells as of when orders are late.

    Warns
    -----
    UserWarning
        If `as_of` is not given and plain orders do not say when they were fetched.

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
    require(orders, _NEEDED, source="fetch_orders_df")
    judged = judged_by(orders, policy, as_of)
    told = told_of(judged, "compliance")
    if told is None:
        raise ValueError(
            "this frame has lost its policy (attrs['trackstar']['compliance']), so that nothing "
            "tells as of when its orders are late; judge it anew with ship_date_compliance"
        )
    wanted = ["late_open", "late_shipped"] if shipped else ["late_open"]
    late = judged[judged["outcome"].isin(wanted)]
    late = late.iloc[_longest_first(late)]
    table = _table(late, np.datetime64(instant("as_of", told["as_of"]).tz_localize(None), "us"))
    tell(table, judged, "compliance", {**told, "n": len(table)})
    return table


def _longest_first(late: pd.DataFrame) -> Array:
    waits = late["lateness"].to_numpy(dtype="m8[us]").astype(np.int64)
    return np.lexsort((-waits, (late["outcome"] == "late_shipped").to_numpy()))


def _table(late: pd.DataFrame, now: np.datetime64) -> pd.DataFrame:
    ordered, left = numbers(late, "units_ordered"), units_left(late, now)
    whole = np.where(ordered > 0, ordered, np.nan)
    return pd.DataFrame(
        {
            **{name: column(late, name).array for name in (*whose(late), *_NAMES)},
            **{name: late[name].array for name in ("outcome", "due_at")},
            "due_local": due_walls(late),
            "lateness": late["lateness"].array,
            "units_ordered": _whole(ordered),
            "units_shipped": _whole(ordered - left),
            "units_left": _whole(left),
            "shipped_share": (ordered - left) / whole,
        }
    )


def _whole(units: Array) -> pd.Series[int]:
    return pd.Series(units).astype("Int64")
