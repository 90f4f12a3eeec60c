"""How often orders are shipped by the time they are due."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames import _text
from trackstar_frames.measures import _checks, _filters, _grouping, _policies, _time
from trackstar_frames.measures._labels import parse_labels, relabel
from trackstar_frames.measures._partitions import Partitioned, is_partitioned
from trackstar_frames.measures._policies import JUDGED_BY, Judgement, PolicyLike
from trackstar_frames.measures._time import Array, Periods
from trackstar_frames.measures.ship_date_compliance import OUTCOMES, judged_orders

# Orders of the first four are in n; those decided before they are due are early.
_DUE = OUTCOMES[:4]
_COUNTED = (*_DUE, "early", "pending", "not_evaluable")

# Most orders are due within this lead of their creation.
_MOST_OF_LEADS = 0.99


def compliance_rate(
    compliance: pd.DataFrame | Partitioned,
    *,
    by: str | Sequence[str] | None = None,
    freq: str | None = None,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    labels: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Count outcomes, and compute the on-time shipment rate with its n and interval.

    The rate is on_time / (on_time + late_shipped + late_open + short), over the orders that were
    due, grace included, at as_of (WERC, DC Measures: orders shipped by their due time, of those
    due). An overdue order that has not shipped counts as late, and one that was closed short is no
    success. One that is decided before it is due is early until then, and not in the rate: its
    peers that have not shipped are not either. The late shipment rate is ``1 - rate``.

    Parameters
    ----------
    compliance
        The frame of `ship_date_compliance`, or some of its rows; or plain orders, which are judged
        first. A Dask DataFrame of either is counted partition by partition.
    by
        A column, or several, to group by. Nulls are a group of their own.
    freq
        ``D``, ``W`` (Monday to Sunday; ``W-SAT`` ends on Saturdays), ``MS``, ``QS`` or ``YS``:
        also group by when orders were due, on the warehouses' own calendars. ``M``, ``ME`` and
        the like mean the same as ``MS``.
    policy, policy_by, as_of
        Judge plain orders by this policy, or by one for each value of a column, as of this moment,
        as `ship_date_compliance` does; by default by ``SlaPolicy()``. A frame that has been judged
        must have been judged by the same ones.
    labels
        Names to show in the index instead of values of `by`, such as ``{"wh_1": "Newark"}``; the
        key None names nulls.

    Returns
    -------
    pandas.DataFrame
        One row per group and period; one row in all without both. The index holds the groups,
        then the first moment of the ``period``, as wall-clock time (without a zone) in the
        policy's time zones. Every group has every period from the first to the last. In no period
        are orders without a due date, which are not evaluable, those due on 9999-12-31, which means
        never, and, with a map of zones, those without a warehouse. Every other order, and without
        `freq` every order given, is in one of ``n``, ``early``, ``pending`` and ``not_evaluable``.

        - ``n`` (int64): on_time + late_shipped + late_open + short.
        - ``on_time``, ``late_shipped``, ``late_open``, ``short`` (int64): orders of each outcome
          that were due at as_of, as `ship_date_compliance` defines them.
        - ``early`` (int64): orders that are on time or short, but not due yet.
        - ``pending``, ``not_evaluable`` (int64): orders of these outcomes.
        - ``rate`` (float64): on_time / n, a share of 1; ``rate_low``, ``rate_high`` (float64):
          its 95 % interval. Null where n is 0.
        - ``small`` (bool): whether n is below 30 or the orders were due on fewer than 4 days. One
          of 29 orders moves the rate by more than 3 points, and over 3 days the spread between
          days is hardly seen.
        - With `freq`, ``final`` (bool): whether the period was over at as_of, and none of its
          orders is pending or early, so that the rate stays.
        - With `freq`, ``covered`` (bool): whether the fetch has the orders due in the period.
          False where it begins before the fetch's lower bound of created_date plus the lead (how
          long after their creation 99 % of the orders are due at most), where it ends after an
          upper bound that was past at as_of, and where it is not between the fetch's bounds of
          required_ship_date. True without such bounds.

        ``attrs["trackstar"]["compliance"]`` holds the policy, its ``text``, ``as_of``, and the
        ``n`` of all rows together; with `freq` also ``without_period``, the number of orders that
        are in no period, and ``lead`` (a length of time as text; None where no bound needs one).

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong type or value, missing columns, unknown outcomes, a frame
        judged by another policy than `policy` (or one that has lost its own) or by several that
        were not given together, and a `freq` so short that the table would not fit into memory.

    Warns
    -----
    FilteredOrdersWarning
        If the frame was fetched with a limit, or with filters of status, ids, order numbers or
        update dates: they leave out orders that are due.
    UserWarning
        If the frame has lost its policy (the column ``judged_by`` and its ``attrs``): then it is
        unknown what the figures mean, and periods are in UTC. If orders that have been judged are
        in no period. Also the warning of `ship_date_compliance`, where orders are judged here.

    Notes
    -----
    Wilson's interval assumes that orders are independent, and a warehouse has bad days. So it is
    computed for an effective n, which is n over the design effect (the variance of the rate over
    due days, of that of independent orders; at least 1), with Student's t of (due days - 1) for z.
    A single due day says nothing of others: its interval, of independent orders, is of that day.

    Examples
    --------
    >>> import pandas as pd
    >>> from trackstar_frames import SlaPolicy
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
    judged = judged_orders(compliance, policy, as_of, policy_by=policy_by)
    if is_partitioned(compliance) and "outcome" not in compliance.columns:
        # Dask then reads no other columns from disk.
        policies = _policies.resolve_policies(policy, policy_by)
        needed = {"warehouse_id", *policies.columns_needed(), *_checks.by_columns(judged, by)}
        narrow = compliance[[name for name in compliance.columns if name in needed]]
        judged = judged_orders(narrow, policy, as_of, policy_by=policy_by)
    names = parse_labels(labels)
    table = outcome_rates(judged, by, freq, warn=True)
    _filters.warn_if_biased(table, "compliance_rate")
    return table.set_axis(relabel(table.index, _checks.by_columns(judged, by), names))


def outcome_rates(
    judged: pd.DataFrame | Partitioned,
    by: str | Sequence[str] | None,
    freq: str | None,
    *,
    warn: bool = False,
) -> pd.DataFrame:
    """Return the table of `compliance_rate` for judged orders."""
    columns = ["outcome", "is_due", "due_at"]
    _checks.require(judged, columns, source="ship_date_compliance", name="compliance", lazy=True)
    span = None if freq is None else _time.period(freq)
    groups = _checks.by_columns(judged, by, reserved=["period"] if span else [])
    more = ["warehouse_id", "created_date", JUDGED_BY]
    if JUDGED_BY not in judged.columns:  # a policy may then go by any column
        more = list(judged.columns)
    columns += _checks.present(judged, more)
    read = partial(_read_outcomes, dated=span is not None)
    by_day = _time.period("D")
    parts = _grouping.read_rows(judged, read, columns=columns, by=groups, period=by_day)
    # Parts without rows need not know how all others were judged.
    filled = [part.frame for part in parts if len(part.frame)]
    judgement = _joint_judgement(filled or [parts[0].frame])
    rows = _grouping.concat_rows(parts)
    if judgement is None and warn:
        warn_if_policy_lost(rows.frame)
    found = _grouping.count_codes(rows, groups, span)
    table = pd.DataFrame(found.counts, columns=rows.words, index=found.labels)
    table.insert(0, "n", table[list(_DUE)].sum(axis=1))
    table = table.assign(**_grouping.rate_columns_by_day(rows, found, ["on_time"], _DUE))
    known = judgement.info if judgement else {"as_of": None, "text": None}
    info: dict[str, Any] = {**known, "n": int(table["n"].sum())}
    if span is not None:
        lead = None if rows.leads is None else _lead(rows.leads)
        as_of = None if judgement is None else judgement.as_of
        starts = found.labels.get_level_values("period").to_numpy(dtype="M8[us]")
        periods = Periods(starts, span, judgement.policies.zones if judgement else ["UTC"])
        is_decided = table[["early", "pending"]].sum(axis=1) == 0
        table["final"] = is_decided & periods.are_over(as_of)
        table["covered"] = _are_covered(periods, as_of, rows, lead)
        info["without_period"] = int(found.left_out.sum())
        info["lead"] = None if lead is None else str(lead)
        if warn:
            _warn_if_judged_are_left_out(found, rows.words)
    _checks.add_measure_info(table, rows.frame, "compliance", info)
    return table


def _joint_judgement(parts: Sequence[pd.DataFrame]) -> Judgement | None:
    """Return how all parts were judged; None if one has lost it."""
    each = [_policies.judgement_of(part) for part in parts]
    known = [judgement for judgement in each if judgement is not None]
    if not known or len(known) < len(each):
        return None
    if all(judgement.info == known[0].info for judgement in known):
        return known[0]
    texts = [text for judgement in known for text in judgement.judged_by]
    return _policies.read_judged_by(texts)


def _warn_if_judged_are_left_out(found: _grouping.Counts, words: Sequence[str]) -> None:
    # Those that are not due yet may be due on no day.
    judged = int(sum(found.left_out[words.index(word)] for word in _DUE))
    if judged:
        _text.warn(
            f"{judged:,} orders that have been judged are in no period, as nothing tells the time "
            f"zone of their warehouse; add a zone under the key None to the policy's tz"
        )


def _are_covered(
    periods: Periods,
    as_of: pd.Timestamp | None,
    rows: _grouping.CodedRows,
    lead: pd.Timedelta | None,
) -> Array:
    """Return which periods lie where the fetch has all orders that are due."""
    filters = _filters.filters_of(rows.frame)
    created, due = (_filters.bounds_of(filters, date) for date in ("created", "due"))
    start = created.start
    if start is not None and lead is not None:
        start += lead
    covered = periods.lie_within(start, created.end, as_of)
    if due.start is not None:
        covered &= periods.begin_from(_due_bound(due.start, periods, rows))
    if due.end is not None:
        covered &= periods.end_by(_due_bound(due.end, periods, rows))
    return covered


def _due_bound(bound: pd.Timestamp, periods: Periods, rows: _grouping.CodedRows) -> Array:
    """Return what a bound of required_ship_date is on the calendars of the warehouses."""
    day = np.array([_time.now_of(bound)])
    stamps = rows.stamps if rows.stamps is not None else day
    # A due day, which is shown as its last second, has no zone.
    ends = stamps[~np.isnat(stamps)] + np.timedelta64(1, "s")
    if (ends == ends.astype("M8[D]")).all():
        return day
    return np.concatenate([day, periods.walls(bound)])


def _lead(leads: pd.Series[int]) -> pd.Timedelta:
    """Return how long after their creation most orders are due at most."""
    if leads.empty:
        return pd.Timedelta(0)
    leads = leads.sort_index()
    most = leads.cumsum().to_numpy() >= _MOST_OF_LEADS * leads.sum()
    return max(pd.Timedelta(leads.index[int(most.argmax())]), pd.Timedelta(0))


def warn_if_policy_lost(judged: pd.DataFrame) -> None:
    """Warn if nothing in a judged frame tells its policy and as-of."""
    if _policies.judgement_of(judged) is None:
        _text.warn(
            f"compliance has lost its policy (the column {JUDGED_BY!r} and attrs['trackstar']"
            f"['compliance']): by which policy, and as of when, it was judged is unknown, and due "
            f"times are read in UTC; judge it anew with ship_date_compliance(orders, "
            f"policy=policy), and keep that column"
        )


def local_due_times(judged: pd.DataFrame) -> Array:
    """Return when orders were due, on the clocks of their warehouses; NaT for never."""
    _checks.require(judged, ["due_at"], source="ship_date_compliance", name="compliance")
    due = _time.unless_never(_time.instants(judged, "due_at"))
    return _policies.local_times(judged, _policies.judgement_of(judged), due)


def _read_outcomes(judged: pd.DataFrame, *, dated: bool) -> _grouping.CodedRows:
    codes, words = _grouping.factorize(judged, "outcome")
    for word in words:
        _checks.choice("outcome", word, OUTCOMES)
    if (codes < 0).any():
        raise ValueError("outcome holds nulls; pass the frame of ship_date_compliance as it is")
    codes = _grouping.recode(codes, words, _COUNTED)
    is_early = (codes < len(_DUE)) & ~_checks.column(judged, "is_due").to_numpy(dtype=bool)
    codes = np.where(is_early, _COUNTED.index("early"), codes)
    judgement = _policies.judgement_of(judged)
    due = _time.unless_never(_time.instants(judged, "due_at"))
    walls = _policies.local_times(judged, judgement, due)
    leads = None
    bound = _filters.bounds_of(_filters.filters_of(judged), "created").start
    if dated and "created_date" in judged.columns and bound is not None:
        after = due - _time.instants(judged, "created_date")
        leads = pd.Series(after[~np.isnat(after)]).value_counts()
    frame = judged
    if judgement is not None and judgement.info != _checks.measure_info(judged, "compliance"):
        frame = judged.copy(deep=False)
        _checks.add_measure_info(frame, judged, "compliance", judgement.info)
    return _grouping.CodedRows(frame, codes, list(_COUNTED), walls, leads=leads)
