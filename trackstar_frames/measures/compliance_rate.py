"""How often orders are shipped by the time they are due."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _grouping, _time
from trackstar_frames.measures._partitions import Partitioned, is_partitioned
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.policy import SlaPolicy
from trackstar_frames.measures.ship_date_compliance import OUTCOMES, columns_needed, judged_orders


def compliance_rate(
    compliance: pd.DataFrame | Partitioned,
    by: str | Sequence[str] | None = None,
    freq: str | None = None,
    *,
    policy: SlaPolicy | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
) -> pd.DataFrame:
    """Count outcomes, and compute the on-time shipment rate with its n and interval.

    The rate is on_time / (on_time + late_shipped + late_open): orders shipped by their due
    time, of those due. An overdue order that has not shipped counts as late; one that is not
    due yet is not counted in the rate. The late shipment rate is ``1 - rate``.

    Parameters
    ----------
    compliance
        The frame of `ship_date_compliance`, or some of its rows; with a `policy`, plain orders
        will do. A Dask DataFrame of either is counted partition by partition.
    by
        A column, or several, to group by. Nulls are a group of their own.
    freq
        ``D``, ``W`` (Monday to Sunday; ``W-SAT`` ends on Saturdays), ``MS``, ``QS`` or ``YS``:
        also group by when orders were due, on the warehouses' own calendars. ``M``, ``ME`` and
        the like mean the same as ``MS``.
    policy, as_of
        Judge plain orders by this policy, as of this moment, as `ship_date_compliance` does. A
        frame that has been judged must have been judged by the same ones.

    Returns
    -------
    pandas.DataFrame
        One row per group and period; one row in all without both. The index holds the groups,
        then the first moment of the ``period``, as wall-clock time (without a zone) in the
        policy's time zones. Every group has every period from the first to the last, and one
        more, NaT, for rows without a due date (or, with a map of zones, without a warehouse).
        The counts sum to the orders given.

        - ``n`` (int64): on_time + late_shipped + late_open.
        - ``on_time``, ``late_shipped``, ``late_open``, ``pending``, ``not_evaluable`` (int64):
          orders of each outcome, as `ship_date_compliance` defines them.
        - ``rate`` (float64): on_time / n, a share of 1; ``rate_low``, ``rate_high`` (float64):
          its 95 % Wilson interval. Null where n is 0.
        - ``small`` (bool): whether n is below 30. There, one order moves the rate by more than
          3 points, and the interval of a rate of 90 % is more than 20 points wide.

        ``attrs["trackstar"]["compliance"]`` holds the policy, its ``text``, ``as_of``, and the
        ``n`` of all rows together.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong type or value, missing columns, unknown outcomes, a frame
        judged by another policy than `policy` (or one that has lost its own), and a `freq` so
        short that the table would not fit into memory.

    Warns
    -----
    UserWarning
        If the frame has lost its policy (``attrs``, which `pandas.concat` and `merge` may
        drop): then it is unknown what the figures mean, and periods are in UTC. Also the
        warning of `ship_date_compliance`, where orders are judged here.

    Examples
    --------
    >>> import pandas as pd
    >>> day = pd.Timestamp("2026-03-02", tz="UTC")
    >>> orders = pd.DataFrame({"channel": ["web", "web", "edi"], "status": "fulfilled",
    ...     "created_date": day, "required_ship_date": day,
    ...     "first_shipped_date": day + pd.to_timedelta(["9h", "30h", "9h"])})
    >>> policy = SlaPolicy.late_shipment_rate()
    >>> table = compliance_rate(orders, by="channel", policy=policy, as_of="2026-03-04")
    >>> table.reset_index()[["channel", "n", "on_time", "late_shipped", "rate", "small"]]
      channel  n  on_time  late_shipped  rate  small
    0     edi  1        1             0   1.0   True
    1     web  2        1             1   0.5   True
    """
    if policy is None:
        _checks.require(
            compliance, ["outcome"], source="ship_date_compliance", name="compliance", lazy=True
        )
    judged = judged_orders(compliance, policy, as_of)
    if is_partitioned(compliance) and policy is not None:
        # Dask then reads no other columns from disk.
        names = {"warehouse_id", "outcome", "due_at", *columns_needed(policy)}
        names.update(_checks.by_columns(judged, by))
        narrow = compliance[[name for name in compliance.columns if name in names]]
        judged = judged_orders(narrow, policy, as_of)
    return outcome_rates(judged, by, freq, warn=True)


def outcome_rates(
    judged: pd.DataFrame | Partitioned,
    by: str | Sequence[str] | None,
    freq: str | None,
    *,
    warn: bool = False,
) -> pd.DataFrame:
    """Return the table of `compliance_rate` for judged orders."""
    groups, span = _checks.by_columns(judged, by), None if freq is None else _time.period(freq)
    warehouses = [name for name in ("warehouse_id",) if name in judged.columns]
    columns = ["outcome"] if span is None else ["outcome", "due_at", *warehouses]
    read = partial(_read_outcomes, dated=span is not None)
    parts = _grouping.read_rows(judged, read, columns=columns, by=groups, period=span)
    infos = [_checks.measure_info(part.frame, "compliance") for part in parts if len(part.frame)]
    if any(info != infos[0] for info in infos):
        raise ValueError(
            "the partitions of compliance have been judged by different policies, or as of "
            "different moments; judge all of them anew with ship_date_compliance"
        )
    rows = _grouping.concat_rows(parts).recode(list(OUTCOMES))
    if warn:
        warn_if_policy_lost(rows.frame, stacklevel=4)
    counts, labels = _grouping.count_codes(rows, groups, span)
    table = pd.DataFrame(counts, columns=rows.words, index=labels)
    n = counts[:, : OUTCOMES.index("pending")].sum(axis=1)
    table.insert(0, "n", n)
    table = table.assign(**_grouping.rate_columns(counts[:, 0], n))
    info = _checks.measure_info(rows.frame, "compliance") or {"as_of": None, "text": None}
    _checks.add_measure_info(table, rows.frame, "compliance", {**info, "n": int(n.sum())})
    return table


def warn_if_policy_lost(judged: pd.DataFrame, *, stacklevel: int) -> None:
    """Warn if the attrs of a judged frame do not hold its policy and as-of."""
    if _checks.measure_info(judged, "compliance") is None:
        warnings.warn(
            "compliance has lost its policy (attrs['trackstar']['compliance']): by which policy, "
            "and as of when, it was judged is unknown, and due times are read in UTC; copy attrs "
            "over from the frame of ship_date_compliance",
            stacklevel=stacklevel,
        )


def local_due_times(judged: pd.DataFrame) -> Array:
    """Return when orders were due, on the clocks of their warehouses."""
    _checks.require(judged, ["due_at"], source="ship_date_compliance", name="compliance")
    info = _checks.measure_info(judged, "compliance") or {"tz": "UTC"}
    tz = _time.by_warehouse_from_json("tz", info)
    return _time.convert_by_zone(judged, _time.instants(judged, "due_at"), tz, _time.local)


def _read_outcomes(judged: pd.DataFrame, *, dated: bool) -> _grouping.CodedRows:
    codes, words = _grouping.factorize(judged, "outcome")
    for word in words:
        _checks.choice("outcome", word, OUTCOMES)
    if (codes < 0).any():
        raise ValueError("outcome holds nulls; pass the frame of ship_date_compliance as it is")
    return _grouping.CodedRows(judged, codes, words, local_due_times(judged) if dated else None)
