"""How many orders stand where in their life."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import by_columns, require
from trackstar_frames.measures._tally import coded, tally
from trackstar_frames.measures._time import Array, instants, period
from trackstar_frames.schema import LIFECYCLE

__all__ = ["NO_STATUS", "status_mix"]

NO_STATUS = "(none)"


def status_mix(
    orders: pd.DataFrame,
    by: str | Sequence[str] | None = None,
    freq: str | None = None,
    normalize: bool = False,  # noqa: FBT001, FBT002 (spelt as pandas does)
) -> pd.DataFrame:
    """Count orders by status.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or rows of it. Read are ``status`` and, with `freq`,
        ``created_date``.
    by
        A column, or several, to group by. Nulls are a group of their own.
    freq
        ``D``, ``W`` (Monday to Sunday; ``W-SAT`` ends on Saturdays), ``MS``, ``QS`` or ``YS``:
        also group by when orders were created, in UTC. The spellings ``M``, ``ME`` and the
        like mean the same.
    normalize
        Give shares of each row instead of counts, and the row's orders as a last column, ``n``.

    Returns
    -------
    pandas.DataFrame
        One row per group and period; one row in all without both. The index holds the groups,
        then the first moment of the ``period`` (UTC, without a zone). Every group has every
        period from the first to the last, and one more, NaT, for rows without a created date.
        The columns are the eleven known statuses in lifecycle order, always; then those
        unknown to this package, by name; then ``(none)`` for orders without a status, if
        there are any. The values are counts (int64), which sum to the orders given, or shares
        of 1 (float64, null for a row without orders). ``attrs`` are those of `orders`.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong kind or value, missing columns, and a `freq` so short that
        the table would not fit into memory.

    Examples
    --------
    >>> import pandas as pd
    >>> orders = pd.DataFrame({"channel": ["web", "web", "edi"],
    ...                        "status": ["open", "fulfilled", "open"]})
    >>> status_mix(orders, by="channel").loc["web", ["open", "picked", "fulfilled"]].tolist()
    [1, 0, 1]
    """
    require(orders, ["status", *(["created_date"] if freq else [])], source="fetch_orders_df")
    groups = by_columns(orders, by)
    span = None if freq is None else period(freq)
    stamps = None if span is None else instants(orders, "created_date")
    codes, statuses = _codes(orders)
    counts, labels = tally(orders, codes, len(statuses), by=groups, stamps=stamps, period=span)
    table = pd.DataFrame(counts, index=labels, columns=pd.Index(statuses, name="status"))
    if normalize:
        n = table.sum(axis=1)
        table = table.div(n.where(n > 0), axis=0).assign(n=n)
    table.attrs = dict(orders.attrs)
    return table


def _codes(orders: pd.DataFrame) -> tuple[Array, list[str]]:
    """Return each row's place among the statuses, and these in the order of columns."""
    codes, values = coded(orders, "status")
    statuses = [*LIFECYCLE, *sorted(set(values) - set(LIFECYCLE))]
    if (codes < 0).any():
        statuses.append(NO_STATUS)
    # One more place, at the end, is what a null's code of -1 picks.
    places = [*(statuses.index(value) for value in values), len(statuses) - 1]
    return np.array(places, dtype=np.int64)[codes], statuses
