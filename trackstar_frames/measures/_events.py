"""Sums of many columns by groups and periods, over whole tables and over partitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _filters, _grouping, _policies, _time, completeness
from trackstar_frames.measures._partitions import compute_each, concat_parts, is_partitioned
from trackstar_frames.measures._policies import JUDGED_BY, Judgement, Policies, PolicyLike
from trackstar_frames.measures._time import Array, Period
from trackstar_frames.measures.policy import SlaPolicy
from trackstar_frames.measures.ship_date_compliance import judged_orders

#: The positions of orders, moments, and what each adds to sums.
Event = tuple[Array, Array, Mapping[str, Any]]
#: Rows with the columns to group by and the attrs of their source, and what each adds to sums.
Rows = tuple[pd.DataFrame, pd.DataFrame]

_MOST_SHIPMENTS = 2**31  # of one order


def sum_tables(tables: Mapping[str, Any], read: Callable[[Any], Rows], by: Sequence[str]) -> Rows:
    """Return the keys of each group, and the sums of what `read` makes of the tables."""
    # Tables of Dask are read partition by partition, and only sums leave a partition.
    sum_each = partial(_sum_part, read, [*tables], by)
    first = next(iter(tables.values()))
    if not is_partitioned(first):
        return sum_each(*tables.values())
    parts = compute_each([*tables.values()], sum_each)
    keys = concat_parts([keys for keys, _ in parts])
    return _sum(keys, pd.concat([sums for _, sums in parts]), by)


def _sum_part(
    read: Callable[[Any], Rows], names: Sequence[str], by: Sequence[str], *parts: pd.DataFrame
) -> Rows:
    return _sum(*read(SimpleNamespace(**dict(zip(names, parts, strict=True)))), by)


def _sum(rows: pd.DataFrame, amounts: pd.DataFrame, by: Sequence[str]) -> Rows:
    keys, sums = _grouping.sum_by_group(rows, amounts, by)
    keys.attrs = dict(rows.attrs)
    return keys, sums.reset_index(drop=True)


def labelled(keys: pd.DataFrame, sums: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return sums with their groups as the index."""
    return _grouping.sum_by_group(keys, sums, by)[1]


def every_period(keys: pd.DataFrame, sums: pd.DataFrame, by: Sequence[str], period: Period) -> Rows:
    """Give every group every period from the first to the last; drop rows without a period."""
    cells = _cells(keys, by, period, sums.shape[1])
    return cells.keys, _grouping.sum_cells(sums, cells)


def _cells(
    keys: pd.DataFrame, by: Sequence[str], period: Period | None, width: int
) -> _grouping.Cells:
    """Return the cells that rows with these keys are in, with the attrs of their source."""
    stamps = keys["period"].to_numpy(dtype="M8[us]")
    cells = _grouping.cells_of(keys, by, stamps, period, width)
    cells.keys.attrs = dict(keys.attrs)
    return cells


class ByDay(NamedTuple):
    """Sums of groups and periods, and of the days in them, over which rates vary."""

    keys: pd.DataFrame  # of each row of the table, with the attrs of its source
    sums: pd.DataFrame  # of each row
    days: pd.DataFrame  # of each group and day
    cells: Array  # the row that each day is in; -1 for days in no period

    def add_rate(self, columns: dict[str, Any], name: str, part: str, n: str) -> None:
        """Add a rate, with its interval, to the columns of a table."""
        rates = self.rates(part, n)
        columns |= {f"{name}_{word}": rates[word] for word in ("rate", "rate_low", "rate_high")}

    def table(self, columns: Mapping[str, Any], by: Sequence[str]) -> pd.DataFrame:
        """Return a table of these columns with groups, and periods if there are any, as index."""
        names = [*by, *_checks.present(self.keys, ["period"])]
        index = _grouping.key_labels(self.keys, names)
        return pd.DataFrame({name: np.asarray(each) for name, each in columns.items()}, index=index)

    def are_small(self, n: str) -> Array:
        """Return which rows are of few orders or few days."""
        return self.rates(n, n)["small"]

    def rates(self, part: str, n: str) -> dict[str, Array]:
        """Return the columns of a rate with its interval over days."""
        whole = self.days[n].to_numpy()
        used = (self.cells >= 0) & (whole > 0)
        return _grouping.rate_over_days(
            self.cells[used], self.days[part].to_numpy()[used], whole[used], len(self.keys)
        )


def sum_days(
    tables: Mapping[str, Any], read: Callable[[Any], Rows], by: Sequence[str], span: Period | None
) -> ByDay:
    """Sum by group and period what `read` makes of the tables, with the day of each row."""
    keys, days = sum_tables(tables, read, [*by, "period"])
    cells = _cells(keys, by, span, days.shape[1])
    return ByDay(cells.keys, _grouping.sum_cells(days, cells), days, cells.of_rows)


def days_of(stamps: Array) -> Array:
    """Return the first moments of days, as `sum_days` reads them."""
    return _time.period("D").floor(stamps)


def created_times(orders: pd.DataFrame, policies: Policies) -> Array:
    """Return when orders were created, on the clocks of the policies' zones."""
    names = _checks.present(orders, ["warehouse_id", *filter(None, [policies.by])])
    created = _time.instants(orders, "created_date")
    return _policies.local_times(orders[names], Judgement({}, policies), created)


def created_periods(
    keys: pd.DataFrame,
    span: Period,
    pending: Any,
    policies: Policies | None = None,
    moment: pd.Timestamp | None = None,
) -> dict[str, Array]:
    """Return which periods of creation are final, and which are covered by the fetch.

    `pending` is how many orders of each period may still change its figures. Without policies
    and a moment, they are those that the keys come from.
    """
    if policies is None or moment is None:
        policies = judgement_of(keys).policies
        moment = pd.Timestamp(now_of(keys), tz="UTC")
    periods = _time.Periods(keys["period"].to_numpy(dtype="M8[us]"), span, policies.zones)
    filters = _filters.filters_of(keys)
    created, due = (_filters.bounds_of(filters, date) for date in ("created", "due"))
    # Of the orders of one day, some are due within a bound of due dates, and some are not.
    is_bare = due.start is None and due.end is None
    return {
        "final": periods.are_over(moment) & (np.asarray(pending) == 0),
        "covered": periods.lie_within(*created, moment) & is_bare,
    }


def ratio(part: Any, n: Any) -> Array:
    """Return a part of n; NaN where n is 0."""
    whole = np.asarray(n, dtype=np.float64)
    result: Array = np.asarray(part, dtype=np.float64) / np.where(whole != 0, whole, np.nan)
    return result


def judge_at(
    orders: Any,
    policy: PolicyLike | None,
    policy_by: str | None,
    as_of: object,
) -> Any:
    """Check what orders are to be judged by, before any work; return the moment to judge at.

    It is `as_of` as it is for orders that have been judged already.
    """
    if "outcome" not in orders.columns:
        policies = _policies.resolve_policies(policy, policy_by)
        _checks.require(orders, policies.columns_needed(), source="fetch_orders_df", lazy=True)
        as_of = _time.resolve_as_of(orders, as_of, zone=policies.zone)
    if is_partitioned(orders):
        judged_orders(orders, policy, as_of, policy_by=policy_by)
    return as_of


def judgement_of(judged: pd.DataFrame) -> Judgement:
    """Return how a frame has been judged."""
    judgement = _policies.judgement_of(judged)
    if judgement is None:
        raise ValueError(
            f"this frame has lost its policy (the column {JUDGED_BY!r} and attrs['trackstar']"
            f"['compliance']), so that it is unknown by which policy, and as of when, it was "
            f"judged; judge it anew with ship_date_compliance"
        )
    return judgement


def now_of(judged: pd.DataFrame) -> np.datetime64:
    """Return as of when a frame was judged."""
    moment = judgement_of(judged).as_of
    if moment is None:
        raise ValueError("it is unknown as of when this frame was judged; judge it anew")
    return _time.now_of(moment)


def as_of(judged: pd.DataFrame) -> pd.Timestamp | None:
    """Return as of when a frame was judged, if that is known."""
    judgement = _policies.judgement_of(judged)
    return None if judgement is None else judgement.as_of


def local_times(judged: pd.DataFrame, stamps: Array, rows: Array | slice = slice(None)) -> Array:
    """Return moments of judged orders, or of these rows, on the clocks of their warehouses."""
    judgement = judgement_of(judged)
    names = [JUDGED_BY, "warehouse_id", *filter(None, [judgement.policies.by])]
    narrow = judged[_checks.present(judged, names)].iloc[rows]
    return _policies.local_times(narrow, judgement, stamps)


def of_policies(judged: pd.DataFrame, read: Callable[[SlaPolicy], Any]) -> Array:
    """Return what `read` gives for the policy of each row."""
    judgement = judgement_of(judged)
    values: Array = np.array([read(policy) for policy in judgement.policies.of.values()])
    return values[_policies.policy_codes(judged, judgement)]


def ship_events(judged: pd.DataFrame, now: np.datetime64) -> Array:
    """Return when the ship event of each order's policy happened; NaT if not by now."""
    events = of_policies(judged, lambda policy: policy.ship_event)
    stamps = np.full(len(judged), _time.NAT)
    for event in np.unique(events):
        of_event = _time.instants(judged, f"{event}_shipped_date")
        stamps = np.where(events == event, of_event, stamps)
    return np.where(stamps <= now, stamps, _time.NAT)


def sum_events(
    judged: pd.DataFrame,
    by: Sequence[str],
    span: Period,
    events: Sequence[Event],
    *,
    until: np.datetime64,
) -> Rows:
    """Sum events by group and local period; one after `until` has no period, as one without."""
    groups, keys = _grouping.group_numbers(judged, by)
    sums = []
    for order, stamps, amounts in events:
        cells = pd.DataFrame({"group": groups[order], **amounts})
        past = np.where(stamps > until, _time.NAT, stamps)
        cells["period"] = span.floor(local_times(judged, past, order))
        sums.append(cells.groupby(["group", "period"], dropna=False).sum())
    total = pd.concat(sums).groupby(["group", "period"], dropna=False).sum()
    rows = keys.iloc[total.index.get_level_values("group")]
    rows = rows.assign(period=total.index.get_level_values("period"))
    rows.attrs = dict(judged.attrs)
    return rows, total


# What is in the shipments of orders.


class Shipped:
    """The shipments of some orders that are not cancelled and have shipped by a moment.

    Attributes
    ----------
    order, stamps : numpy.ndarray
        Of each, the position of its order, and when it shipped.
    """

    def __init__(self, orders: pd.DataFrame, shipments: pd.DataFrame, now: np.datetime64) -> None:
        _checks.require_unique_orders(orders, "frames.orders")
        self._ids = _checks.order_keys(orders, "id")
        order = completeness.find_orders(shipments, self._ids)
        stamps = _time.instants(shipments, "shipped_date")
        cancelled = _checks.has_status(shipments, "cancelled")
        rows = np.flatnonzero((order >= 0) & (stamps <= now) & ~cancelled)
        self.order, self.stamps = order[rows], stamps[rows]
        index = _checks.index_column(shipments, "shipment_index")
        self._keys = self._key(self.order, index[rows])

    def find(self, table: pd.DataFrame) -> Array:
        """Return the position of the shipment that each row of a table is in; -1 for none."""
        order = completeness.find_orders(table, self._ids)
        index = _checks.index_column(table, "shipment_index")
        found = completeness.find_keys(self._key(order, index), self._keys)
        return np.where(order >= 0, found, -1)

    def count(self, shipment: Array, weights: Array | None = None) -> Array:
        """Return how much of something is in each shipment; -1 is in none."""
        known = shipment >= 0
        given = None if weights is None else weights[known]
        counts: Array = np.bincount(shipment[known], given, minlength=len(self.order))
        return counts

    def events(self, shipment: Array, amounts: Mapping[str, Any]) -> Event:
        """Return what is in shipments as events; -1 is in none."""
        known = shipment >= 0
        kept = {
            name: each[known] if isinstance(each, np.ndarray) else each
            for name, each in amounts.items()
        }
        return self.order[shipment[known]], self.stamps[shipment[known]], kept

    @staticmethod
    def _key(order: Array, index: Array) -> Array:
        return order.astype(np.int64) * _MOST_SHIPMENTS + index
