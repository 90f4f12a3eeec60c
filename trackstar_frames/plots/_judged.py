"""What the pictures of due dates share: judged orders, and what is said of them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import require
from trackstar_frames.measures._provenance import fetched_at, told_of
from trackstar_frames.measures.compliance import judged_by
from trackstar_frames.measures.policy import SlaPolicy
from trackstar_frames.measures.rates import warn_if_lost
from trackstar_frames.plots._canvas import days, printable, stamped

__all__ = ["as_of_day", "basis", "judged", "policy_of", "policy_words", "why_empty", "zone_of"]


def judged(
    orders: pd.DataFrame, policy: SlaPolicy | None, as_of: str | dt.date | np.datetime64 | None
) -> pd.DataFrame:
    """Judge orders, unless they have been judged so; the warnings point at the picture's caller."""
    require(orders, [], source="fetch_orders_df")
    compliance = judged_by(orders, policy, as_of, stacklevel=4)
    warn_if_lost(compliance, stacklevel=4)
    return compliance


def policy_of(compliance: pd.DataFrame) -> dict[str, Any]:
    """Return the policy that a frame was judged by, if it says."""
    return told_of(compliance, "compliance") or {}


def as_of_day(compliance: pd.DataFrame) -> float:
    """Return as_of on the axis of days: in the policy's zone, in UTC if there are several."""
    policy = policy_of(compliance)
    if policy.get("as_of") is None:
        return np.inf
    zone = policy["tz"] if isinstance(policy["tz"], str) else "UTC"
    moment = pd.Timestamp(policy["as_of"]).tz_convert(zone).tz_localize(None)
    return float(days(np.array([moment.to_datetime64()]))[0])


def zone_of(compliance: pd.DataFrame) -> str:
    """Name the zone that due times are drawn in."""
    tz = policy_of(compliance).get("tz", "UTC")
    return printable(tz) if isinstance(tz, str) else "warehouses' own time"


def basis(
    compliance: pd.DataFrame, totals: pd.DataFrame, *, has_intervals: bool = False
) -> list[str]:
    """Say what the rates stand on: n, what is left out, and as-of."""
    sums, policy = totals.sum(), policy_of(compliance)
    words = [
        f"n = {sums['n']:,.0f} orders due",
        f"{sums['pending']:,.0f} pending",
        f"{sums['not_evaluable']:,.0f} not evaluable",
        f"as of {stamped(policy.get('as_of') or fetched_at(compliance))}",
    ]
    return [*words, "95 % Wilson intervals"] if has_intervals else words


def policy_words(compliance: pd.DataFrame) -> str:
    """Say by what orders were judged."""
    text = policy_of(compliance).get("text") or "The policy is not known."
    return printable(text, len(text))


def why_empty(totals: pd.DataFrame) -> str:
    """Say why there is no rate to draw."""
    if totals["pending"].sum():
        return "no orders due yet"
    return "no orders that can be judged" if totals["not_evaluable"].sum() else "no orders"
