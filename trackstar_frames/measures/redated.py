"""Due dates that moved between two moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import column
from trackstar_frames.measures._keys import key, whose
from trackstar_frames.measures._provenance import fetched_at
from trackstar_frames.measures._sides import as_ofs, check_sides
from trackstar_frames.measures._time import Array, instants, utc

__all__ = ["MOVES", "redated"]

#: What can become of a due date.
MOVES = ("later", "earlier", "set", "removed")


def redated(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """List the orders of which the due date moved; see `tf.due_date_changes`.

    Parameters
    ----------
    old, new
        Frames of `fetch_orders_df`, or rows of them, each order once. Read are ``id``,
        ``connection`` (if there), ``status`` and ``required_ship_date``, and ``fetched_at``
        from their ``attrs``.

    Examples
    --------
    >>> due = pd.to_datetime(["2026-03-02", "2026-03-05"], utc=True)
    >>> old = pd.DataFrame({"id": "a", "status": "open", "required_ship_date": due[:1]})
    >>> redated(old, old.assign(required_ship_date=due[1:]))[["order_id", "moved", "kind"]]
      order_id  moved   kind
    0        a 3 days  later
    """
    check_sides(old, new, ["status", "required_ship_date"])
    told = as_ofs(fetched_at(old), fetched_at(new))
    in_old = key(old, "id").get_indexer(key(new, "id"))
    common = in_old >= 0
    was = instants(old, "required_ship_date")[in_old[common]]
    now = instants(new, "required_ship_date")[common]
    moved = (was != now) & ~(np.isnat(was) & np.isnat(now))
    orders = new.loc[common].loc[moved]
    of = whose(new)
    table = pd.DataFrame(
        {
            **{name: column(orders, name).array for name in of},
            "order_id": column(orders, "id").array,
            "status": column(orders, "status").array,
            "old_due": utc(was[moved]),
            "new_due": utc(now[moved]),
            "moved": (now - was)[moved],
            "kind": _kinds(was[moved], now[moved]),
        }
    ).sort_values([*of, "order_id"], ignore_index=True)
    table.attrs["trackstar"] = told
    return table


def _kinds(was: Array, now: Array) -> pd.Categorical[Any]:
    none = [np.isnat(was), np.isnat(now), now < was]
    codes = np.select(none, [MOVES.index(kind) for kind in ("set", "removed", "earlier")], 0)
    return pd.Categorical.from_codes(codes, pd.Index(MOVES))
