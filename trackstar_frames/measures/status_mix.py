"""How many orders are in each status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from trackstar_frames.measures import _checks, _filters, _grouping, _policies, _time
from trackstar_frames.measures._labels import parse_labels, relabel
from trackstar_frames.measures._partitions import Partitioned
from trackstar_frames.measures._policies import JUDGED_BY, Policies, PolicyLike
from trackstar_frames.measures.ship_date_compliance import judged_orders
from trackstar_frames.schema import LIFECYCLE

NO_STATUS = "(none)"


def status_mix(
    orders: pd.DataFrame | Partitioned,
    *,
    by: str | Sequence[str] | None = None,
    freq: str | None = None,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    labels: Mapping[Any, str] | None = None,
    normalize: bool = False,
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
        also group by when orders were created, on the calendars of the policy's time zones.
        ``M``, ``ME`` and the like mean the same as ``MS``.
    policy, policy_by
        Only its time zones are used, so that periods are those of `compliance_rate` by the same
        policy. By default that of a judged frame, and of plain orders UTC.
    labels
        Names to show in the index instead of values of `by`, such as ``{"wh_1": "Newark"}``.
    normalize
        Return shares of each row instead of counts, with the number of orders in the row as
        the last column, ``n``.

    Returns
    -------
    pandas.DataFrame
        One row per group and period; one row in all without both. The index holds the groups,
        then the first moment of the ``period``, as wall-clock time (without a zone) in the
        policy's zones. Every group has every period from the first to the last. Rows without a
        created_date (and, with a map of zones, without a zone) are in no period;
        ``attrs["trackstar"]["status_mix"]["without_period"]`` counts them.
        The columns are the eleven known statuses in lifecycle order, always; then statuses
        unknown to this package, by name; then ``(none)`` for orders without a status, if
        there are any. The values are counts (int64), which sum to the orders in periods, or shares
        of 1 (float64, null for a row without orders). ``attrs`` are those of `orders`.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong type or value, missing columns, and a `freq` so short that
        the table would not fit into memory; for a judged frame, a policy by which it was not
        judged.

    Warns
    -----
    FilteredOrdersWarning
        If the frame was fetched with a limit, or with filters of status, ids, order numbers or
        update dates: they leave out orders that count here.

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
    span = None if freq is None else _time.period(freq)
    groups = _checks.by_columns(orders, by, reserved=["period"] if span else [])
    shown = parse_labels(labels)
    policies = None
    if "outcome" in orders.columns:
        orders = judged_orders(orders, policy, None, policy_by=policy_by)
    else:
        policies = _policies.resolve_policies(policy, policy_by)
        columns += [name for name in (policies.by,) if name is not None]
        _checks.require(orders, columns, source="fetch_orders_df", lazy=True)
    columns += _checks.present(orders, ["warehouse_id", JUDGED_BY])
    read = partial(_read_statuses, dated=freq is not None, policies=policies)
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
    _filters.warn_if_biased(rows.frame, "status_mix", _filters.EVERY)
    if span is not None:
        info = {"without_period": int(found.left_out.sum())}
        _checks.add_measure_info(table, rows.frame, "status_mix", info)
    return table.set_axis(relabel(table.index, groups, shown))


def _read_statuses(
    orders: pd.DataFrame, *, dated: bool, policies: Policies | None
) -> _grouping.CodedRows:
    stamps = None
    if dated and policies is not None:
        stamps = _policies.created_times(orders, policies)
    elif dated:
        created = _time.instants(orders, "created_date")
        stamps = _policies.local_times(orders, _policies.judgement_of(orders), created)
    return _grouping.CodedRows(orders, *_grouping.factorize(orders, "status"), stamps)
