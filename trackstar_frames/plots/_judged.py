"""What the pictures of due dates share: judged orders, and what is said of them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.measures import ship_date_compliance
from trackstar_frames.plots.compliance import _as_of_day, _basis, _why_empty, _zone

__all__ = ["as_of_day", "basis", "judged", "why_empty", "zone_of"]

as_of_day, why_empty, zone_of = _as_of_day, _why_empty, _zone


def judged(
    orders: pd.DataFrame, policy: Any, as_of: str | dt.date | np.datetime64 | None
) -> pd.DataFrame:
    """Judge orders by their required ship dates, unless they have been judged already."""
    if not isinstance(orders, pd.DataFrame) or not {"outcome", "due_at"} <= set(orders.columns):
        rule = () if policy is None else (policy,)
        return ship_date_compliance(orders, *rule, as_of=as_of)
    given = {"policy": policy, "as_of": as_of}
    if told := [name for name, value in given.items() if value is not None]:
        raise ValueError(
            f"this frame has been judged already; pass {', '.join(told)} to "
            f"ship_date_compliance, or plain orders here"
        )
    return orders


def basis(compliance: pd.DataFrame, totals: pd.DataFrame) -> list[str]:
    """Say what rates without intervals stand on: n, what is left out, as-of and policy."""
    return [words for words in _basis(compliance, totals) if "interval" not in words]
