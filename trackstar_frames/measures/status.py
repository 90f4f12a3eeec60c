"""How many orders stand where in their life."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import by_columns, require
from trackstar_frames.measures._grouping import Rows, coded, joined, rows_in, tally
from trackstar_frames.measures._partitions import Partitioned, hand_on
from trackstar_frames.measures._time import Array, instants, period
from trackstar_frames.schema import LIFECYCLE

__all__ = ["NO_STATUS", "status_mix"]

NO_STATUS = "(none)"


def status_mix(
    orders: pd.DataFrame | Partitioned,
    by: str | Sequence[str] | None = None,
    freq: str | None = None,
    normalize: bool = False,  # noqa: FBT001, FBT002 (spelt as pandas does)
) -> pd.DataFrame:
    """Count orders by status.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or rows of it. Read are ``status`` and, with `freq`,
        ``created_date``. Of a Dask DataFrame, each partition is counted where it lies.
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
    columns = ["status", *(["created_date"] if freq else [])]
    require(orders, columns, source="fetch_orders_df", lazy=True)
    groups = by_columns(orders, by)
    span = None if freq is None else period(freq)
    read = partial(_rows, dated=freq is not None)
    rows = joined(rows_in(orders, read, columns=columns, by=groups, period=span))
    codes, statuses = _places(rows)
    counts, labels = tally(
        rows.frame,
        codes,
        len(statuses),
        by=groups,
        stamps=rows.stamps,
        period=span,
        weights=rows.weights,
    )
    table = pd.DataFrame(counts, index=labels, columns=pd.Index(statuses, name="status"))
    if normalize:
        n = table.sum(axis=1)
        table = table.div(n.where(n > 0), axis=0).assign(n=n)
    hand_on(table, rows.frame)
    return table


def _rows(orders: pd.DataFrame, *, dated: bool) -> Rows:
    stamps = instants(orders, "created_date") if dated else None
    return Rows(orders, *coded(orders, "status"), stamps)


def _places(rows: Rows) -> tuple[Array, list[str]]:
    """Return each row's place among the statuses, and these in the order of columns."""
    statuses = [*LIFECYCLE, *sorted(set(rows.words) - set(LIFECYCLE))]
    if (rows.codes < 0).any():
        statuses.append(NO_STATUS)
    # One more place, at the end, is what a null's code of -1 picks.
    places = [*map(statuses.index, rows.words), len(statuses) - 1]
    return np.array(places, dtype=np.int64)[rows.codes], statuses
