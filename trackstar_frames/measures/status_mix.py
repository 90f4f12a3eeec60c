"""How many orders are in each status."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from trackstar_frames.measures import _checks, _grouping, _time
from trackstar_frames.measures._partitions import Partitioned
from trackstar_frames.schema import LIFECYCLE

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
        The frame of `fetch_orders_df`, or some of its rows, with the columns ``status`` and,
        for `freq`, ``created_date``. A Dask DataFrame is counted partition by partition.
    by
        A column, or several, to group by. Nulls are a group of their own.
    freq
        ``D``, ``W`` (Monday to Sunday; ``W-SAT`` ends on Saturdays), ``MS``, ``QS`` or ``YS``:
        also group by when orders were created, in UTC. ``M``, ``ME`` and the like mean the same
        as ``MS``.
    normalize
        Return shares of each row instead of counts, with the number of orders in the row as
        the last column, ``n``.

    Returns
    -------
    pandas.DataFrame
        One row per group and period; one row in all without both. The index holds the groups,
        then the first moment of the ``period`` (UTC, without a zone). Every group has every
        period from the first to the last. Rows without a created_date are in no period;
        ``attrs["trackstar"]["status_mix"]["without_period"]`` counts them.
        The columns are the eleven known statuses in lifecycle order, always; then statuses
        unknown to this package, by name; then ``(none)`` for orders without a status, if
        there are any. The values are counts (int64), which sum to the orders in periods, or shares
        of 1 (float64, null for a row without orders). ``attrs`` are those of `orders`.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong type or value, missing columns, and a `freq` so short that
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
    _checks.require(orders, columns, source="fetch_orders_df", lazy=True)
    groups = _checks.by_columns(orders, by)
    span = None if freq is None else _time.period(freq)
    read = partial(_read_statuses, dated=freq is not None)
    parts = _grouping.read_rows(orders, read, columns=columns, by=groups, period=span)
    rows = _grouping.concat_rows(parts)
    statuses = [*LIFECYCLE, *sorted(set(rows.words) - set(LIFECYCLE))]
    statuses += [NO_STATUS] if (rows.codes < 0).any() else []
    found = _grouping.count_codes(rows.recode(statuses), groups, span)
    table = pd.DataFrame(
        found.counts, index=found.labels, columns=pd.Index(statuses, name="status")
    )
    if normalize:
        n = table.sum(axis=1)
        table = table.div(n.where(n > 0), axis=0).assign(n=n)
    _checks.copy_attrs(table, rows.frame)
    if span is not None:
        info = {"without_period": int(found.left_out.sum())}
        _checks.add_measure_info(table, rows.frame, "status_mix", info)
    return table


def _read_statuses(orders: pd.DataFrame, *, dated: bool) -> _grouping.CodedRows:
    stamps = _time.instants(orders, "created_date") if dated else None
    return _grouping.CodedRows(orders, *_grouping.factorize(orders, "status"), stamps)
