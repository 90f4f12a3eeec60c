"""How often orders are shipped by the time they are due."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import by_columns, choice, require
from trackstar_frames.measures._grouping import (
    Rows,
    coded,
    is_small,
    joined,
    rows_in,
    tally,
    wilson,
)
from trackstar_frames.measures._partitions import Partitioned, is_partitioned, tell, told_of
from trackstar_frames.measures._time import Array, Period, Zones, instants, local, period
from trackstar_frames.measures.compliance import OUTCOMES, judged_by, needed
from trackstar_frames.measures.policy import SlaPolicy

__all__ = ["compliance_rate", "due_walls", "rates", "warn_if_lost"]


def compliance_rate(
    compliance: pd.DataFrame | Partitioned,
    by: str | Sequence[str] | None = None,
    freq: str | None = None,
    *,
    policy: SlaPolicy | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
) -> pd.DataFrame:
    """Count outcomes, and give the on-time shipment rate, with its n and interval.

    The rate is on_time / (on_time + late_shipped + late_open): orders shipped by their due
    time, of those due. An overdue order that has not shipped counts as late; one that is not
    due yet counts in neither. The late rate is ``1 - rate``.

    Parameters
    ----------
    compliance
        The frame of `ship_date_compliance`, or rows of it; with a `policy`, plain orders too. Of
        a Dask DataFrame of either, each partition is counted where it lies.
    by
        A column, or several, to group by. Nulls are a group of their own.
    freq
        ``D``, ``W`` (Monday to Sunday; ``W-SAT`` ends on Saturdays), ``MS``, ``QS`` or ``YS``:
        also group by when orders were due, on the warehouses' own calendars. The spellings
        ``M``, ``ME`` and the like mean the same.
    policy, as_of
        Judge plain orders by this policy, as of this moment, as `ship_date_compliance` does. A
        frame that has been judged must have been so by the same ones.

    Returns
    -------
    pandas.DataFrame
        One row per group and period; one row in all without both. The index holds the groups,
        then the first moment of the ``period``, as wall clock time (without a zone) in the
        policy's time zones. Every group has every period from the first to the last, with
        n = 0 where nothing was due, and one more, NaT, for rows without a due date (or, with
        a map of zones, without a warehouse). The counts sum to the orders given.

        - ``n`` (int64): on_time + late_shipped + late_open.
        - ``on_time``, ``late_shipped``, ``late_open``, ``pending``, ``not_evaluable`` (int64).
        - ``rate`` (float64): a share of 1; null where n is 0.
        - ``rate_low``, ``rate_high`` (float64): the 95 % Wilson interval; null where n is 0.
        - ``small`` (bool): whether n is below 30. There, one order moves the rate by more than
          3 points, and the interval of a rate of 90 % is more than 20 points wide.

        ``attrs["trackstar"]["compliance"]`` tells the policy, its ``text``, ``as_of``, and ``n``,
        of all rows together.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong kind or value, missing columns, outcomes of another
        making, a frame judged by another policy than `policy` (or one that lost its own), and a
        `freq` so short that the table would not fit into memory.

    Warns
    -----
    UserWarning
        If the frame has lost its policy (``attrs``, which `pandas.concat` and `merge` may
        drop): then nothing tells what the figures mean, and periods are in UTC. And as
        `ship_date_compliance`, where orders are judged here.

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
        require(
            compliance, ["outcome"], source="ship_date_compliance", name="compliance", lazy=True
        )
    judged = judged_by(compliance, policy, as_of)
    groups, span = by_columns(judged, by), None if freq is None else period(freq)
    if is_partitioned(compliance) and policy is not None:
        judged = judged_by(_read_only(compliance, policy, groups), policy, as_of)
    rows = _rows(judged, groups, span)
    warn_if_lost(rows.frame)
    return _table(rows, groups, span)


def rates(judged: pd.DataFrame, by: str | Sequence[str] | None, freq: str | None) -> pd.DataFrame:
    """Count and divide, whatever is known of the policy."""
    groups, span = by_columns(judged, by), None if freq is None else period(freq)
    return _table(_rows(judged, groups, span), groups, span)


def _rows(judged: pd.DataFrame | Partitioned, groups: Sequence[str], span: Period | None) -> Rows:
    columns = ["outcome"] if span is None else ["outcome", "due_at", *_warehouses(judged)]
    read = partial(_outcomes, dated=span is not None)
    parts = rows_in(judged, read, columns=columns, by=groups, period=span)
    told = [told_of(part.frame, "compliance") for part in parts if len(part.frame)]
    if any(each != told[0] for each in told):
        raise ValueError(
            "the partitions of compliance have been judged by different policies, or as of "
            "different moments; judge all of them anew with ship_date_compliance"
        )
    return joined(parts)


def _outcomes(judged: pd.DataFrame, *, dated: bool) -> Rows:
    codes, values = coded(judged, "outcome")
    for value in values:
        choice("outcome", value, OUTCOMES)
    if (codes < 0).any():
        raise ValueError("outcome holds nulls; pass the frame of ship_date_compliance as it is")
    return Rows(judged, codes, values, due_walls(judged) if dated else None)


def _table(rows: Rows, groups: Sequence[str], span: Period | None) -> pd.DataFrame:
    """Count and divide, and tell of the policy."""
    judged = rows.frame
    places = np.array([*map(OUTCOMES.index, rows.words)], dtype=np.int64)
    counts, labels = tally(
        judged,
        places[rows.codes],
        len(OUTCOMES),
        by=groups,
        stamps=rows.stamps,
        period=span,
        weights=rows.weights,
    )
    table = pd.DataFrame(counts, columns=list(OUTCOMES), index=labels)
    table.insert(0, "n", counts[:, :3].sum(axis=1))
    n = table["n"].to_numpy()
    rate, low, high = wilson(counts[:, 0], n)
    table = table.assign(rate=rate, rate_low=low, rate_high=high, small=is_small(n))
    told = {**(told_of(judged, "compliance") or {"as_of": None, "text": None}), "n": int(n.sum())}
    tell(table, judged, "compliance", told)
    return table


def warn_if_lost(judged: pd.DataFrame, stacklevel: int = 3) -> None:
    """Warn if nothing tells by which policy, and as of when, a frame was judged."""
    if told_of(judged, "compliance") is None:
        warnings.warn(
            "compliance has lost its policy (attrs['trackstar']['compliance']): by what, and as "
            "of when, it was judged is not known, and due times are read in UTC; copy attrs "
            "over from ship_date_compliance's frame",
            stacklevel=stacklevel,
        )


def due_walls(judged: pd.DataFrame) -> Array:
    """Return when orders were due, on the clocks of their warehouses."""
    require(judged, ["due_at"], source="ship_date_compliance", name="compliance")
    zones = Zones.from_json(told_of(judged, "compliance") or {"tz": "UTC"})
    return zones.convert(judged, instants(judged, "due_at"), local)


def _warehouses(judged: pd.DataFrame | Partitioned) -> list[str]:
    return ["warehouse_id"] if "warehouse_id" in judged.columns else []


def _read_only(orders: Partitioned, policy: SlaPolicy, groups: Sequence[str]) -> Partitioned:
    """Take the columns that are read, so that no others are read from disk."""
    names = {"warehouse_id", "outcome", "due_at", *needed(policy), *groups}
    taken: Partitioned = orders[[name for name in orders.columns if name in names]]
    return taken
