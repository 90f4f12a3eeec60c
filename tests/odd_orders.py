"""Orders as they should not be: what a measure must count, and not stumble over."""

import numpy as np
import pandas as pd

STAMPS = ("created_date", "first_shipped_date", "last_shipped_date", "complete_shipped_date")


def spoil(orders, seed):
    """Break some of each thing: statuses, stamps, units, groups."""
    rng = np.random.default_rng(seed)
    odd = orders.copy()
    odd["status"] = odd["status"].astype(object)
    for status in ("customs", "fulfilled", "packed", "cancelled", None):
        odd.loc[rng.random(len(odd)) < 0.04, "status"] = status
    for name in (*STAMPS, "units_ordered", "units_shipped", "channel"):
        odd.loc[rng.random(len(odd)) < 0.04, name] = None
    late = rng.random(len(odd)) < 0.04
    odd.loc[late, "created_date"] = odd.loc[late, "created_date"] + pd.Timedelta("9D")
    return odd


def table(orders, *names):
    """Give DuckDB plain columns: moments as microseconds, the rest as pandas reads them."""
    plain = orders[["status", "units_ordered", "units_shipped", *names]].astype(object)
    plain = plain.where(plain.notna(), None)
    for name in STAMPS:
        known = orders[name].notna()
        micros = orders[name].dt.tz_localize(None).to_numpy("M8[us]").astype(np.int64)
        plain[name] = pd.Series(micros, index=orders.index).astype("Int64").where(known)
    return plain.astype({"units_ordered": "Int64", "units_shipped": "Int64"})
