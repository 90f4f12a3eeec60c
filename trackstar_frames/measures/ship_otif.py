"""How often orders are shipped on time and in full: by orders, by lines and by units."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _filters, _grouping, _time, completeness
from trackstar_frames.measures._labels import parse_labels, relabel
from trackstar_frames.measures._policies import (
    JUDGED_BY,
    Policies,
    PolicyLike,
    resolve_moment,
    resolve_policies,
    zones_of,
)
from trackstar_frames.measures._time import TzLike
from trackstar_frames.measures.completeness import Tables
from trackstar_frames.measures.compliance_rate import local_due_times, outcome_rates
from trackstar_frames.measures.policy import DueDay, Length, ShipEvent, SlaPolicy
from trackstar_frames.measures.ship_date_compliance import judge, judge_each, judged_orders, limits

_AMOUNTS = ("lines", "lines_filled", "units", "units_filled")


def ship_otif(
    frames: Tables,
    *,
    by: str | Sequence[str] | None = None,
    freq: str | None = None,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    labels: Mapping[Any, str] | None = None,
    due_day: DueDay | None = None,
    tz: TzLike | None = None,
    ship_event: ShipEvent | None = None,
    grace: Length | None = None,
) -> pd.DataFrame:
    """Compute the shares of due orders, lines and units shipped on time and in full.

    This is not OTIF at the customer's door: orders carry no delivery time, so that cannot be
    computed from them. It is what can: shipped, in full, by the time that the policy says.

    Parameters
    ----------
    frames
        The `OrderFrames` of `fetch_orders`, `read_snapshot` or ``Snapshot.read()``, or any
        object with such ``orders``, ``line_items``, ``shipments``, ``shipment_line_items`` and
        ``package_line_items``. All may be Dask
        DataFrames, as for `fill_rates`.
    by
        A column of ``orders``, or several, to group by. Nulls are a group of their own.
    freq
        ``D``, ``W``, ``MS``, ``QS`` or ``YS``: also group by when orders were due, on the
        warehouses' own calendars, as `compliance_rate` does.
    policy, policy_by, as_of
        As for `ship_date_compliance`.
    labels
        Names to show in the index instead of values of `by`, such as ``{"wh_1": "Newark"}``.
    due_day, tz, ship_event, grace
        Fields of a policy, where no `policy` is given.

    Returns
    -------
    pandas.DataFrame
        One row per group and period, with the index of `compliance_rate`. Counts are int64,
        rates float64 shares of 1, null where nothing was due. Without `freq`, ``n + early +
        pending + not_evaluable`` sums to the orders given.

        - ``n``: orders due by `as_of`, grace included; that of `compliance_rate`.
        - ``on_time``: those shipped in time, by the policy; ``in_full``: those of which all that
          was ordered had shipped by `as_of`, whenever that was; ``otif``: those that are both.
          One shipped whole, six days late, is in_full and not on_time.
        - ``short``: those closed with less than was ordered, as `ship_date_compliance` says.
        - ``early``: orders decided before they are due; ``pending``: neither shipped nor due;
          ``not_evaluable``: as there.
        - ``rate``: otif / n; ``rate_low``, ``rate_high``: its 95 % interval, as in
          `compliance_rate`; ``on_time_rate``, ``in_full_rate``: the others' shares of n.
        - ``small`` (bool): as in `compliance_rate`.
        - ``lines``: ordered lines of the n orders; ``lines_filled``: those of which the full
          quantity shipped by the due time, grace included; ``line_rate``.
        - ``units``: units ordered in the n orders; ``units_filled``: those of them that shipped
          by the due time, grace included, sku by sku; ``unit_rate``. Lines and units have no
          interval, as those of an order are not independent.
        - With `freq`, ``final`` and ``covered`` (bool), as in `compliance_rate`. In a final period
          on_time, lines_filled and units_filled stay; in_full may rise yet, as overdue orders are
          shipped, and with ``ship_event="first"`` otif with it.

        ``attrs["trackstar"]["compliance"]`` is that of `compliance_rate`.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong type or value, missing columns, an order with more than one
        row, quantities too large to be added up, warehouses that the policy does not know, and a
        `freq` so short that the table would not fit into memory.

    Warns
    -----
    FilteredOrdersWarning
        If the frames were fetched with a limit, or with filters of status, ids, order numbers or
        update dates: they leave out orders that count here.
    UserWarning
        If `as_of` is not given and the frames do not say when they were fetched: orders are
        judged as of now.

    Notes
    -----
    McKinsey ("Defining on-time, in-full in the consumer sector", 2019) found that no two
    companies define OTIF alike. With ``ship_event="complete"``, the default, an order is on time
    only if it is in full by its due time, so that on_time and otif are the same; with
    ``"first"``, on_time asks for the first shipment in time, and otif for the rest as well, by
    `as_of`. Lines and units always go by what had shipped by the due time.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> line = [{"sku": "A", "quantity": 2}]
    >>> due = {"required_ship_date": "2026-03-02T00:00:00Z", "line_items": line}
    >>> sent = {"shipped_date": "2026-03-02T17:00:00Z", "line_items": line}
    >>> late = {"shipped_date": "2026-03-08T17:00:00Z", "line_items": line}
    >>> orders = [{"id": "a1", "shipments": [sent], **due}, {"id": "a2", **due},
    ...           {"id": "a3", "shipments": [late], **due}]
    >>> table = ship_otif(OrderFrames.from_json(orders), as_of="2026-03-10")
    >>> table[["n", "otif", "on_time", "in_full", "lines_filled", "units_filled"]]
       n  otif  on_time  in_full  lines_filled  units_filled
    0  3     1        1        2             1             2
    """
    tables = completeness.check_tables(frames, lazy=True)
    orders = tables["orders"]
    shown, groups = parse_labels(labels), _checks.by_columns(orders, by, reserved=["period"])
    span = None if freq is None else _time.period(freq)
    fields = {"due_day": due_day, "tz": tz, "ship_event": ship_event, "grace": grace}
    policies = resolve_policies(policy, policy_by, **fields)
    is_given = policy is not None or policies.of[None] != SlaPolicy()
    if "outcome" in orders.columns:  # raise if it was judged by others
        given = (policy or policies.of[None]) if is_given else None
        judged_orders(orders, given, as_of, policy_by=policy_by)
    if not is_given:
        policies = zones_of(orders, None, None)
    needed = [*policies.columns_needed(), "complete_shipped_date"]
    _checks.require(orders, needed, source="an OrderFrames", name="frames.orders", lazy=True)
    moment = resolve_moment(orders, as_of, policies)
    read = partial(_read, names=groups, policies=policies, moment=moment)
    columns = [*needed, *groups, *_checks.present(orders, ["warehouse_id", JUDGED_BY])]
    tables["orders"] = _checks.select(orders, ["id", *columns])
    found = _grouping.sum_days(tables, read, groups, span)
    rates = outcome_rates(judge_each(orders, policies, moment), groups, freq)
    table = found.table(_columns(found, rates), groups)
    _checks.copy_attrs(table, rates)
    _filters.warn_if_biased(found.keys, "ship_otif")
    return table.set_axis(relabel(table.index, groups, shown))


def _read(
    tables: Any, *, names: Sequence[str], policies: Policies, moment: pd.Timestamp
) -> _grouping.Rows:
    """Return each order's group and due day, and what it adds to the sums if it was due."""
    orders, now = tables.orders, _time.now_of(moment)
    _checks.require_unique_orders(orders, "frames.orders")
    judged = judge(orders, policies, moment)
    limit, _ = limits(orders, policies)
    filled = completeness.fill_by_order(tables, np.minimum(limit, now))
    on_time = (judged["outcome"] == "on_time").to_numpy()
    in_full = _time.instants(judged, "complete_shipped_date") <= now
    counts = filled[[*_AMOUNTS]].assign(
        n=1, otif=on_time & in_full, on_time=on_time, in_full=in_full
    )
    rows = _grouping.keys_of(judged, names, period=_grouping.days_of(local_due_times(judged)))
    is_due = judged["is_due"].to_numpy(dtype=bool)
    return rows, counts.mul(is_due, axis=0).astype(np.int64)


def _columns(found: _grouping.ByDay, rates: pd.DataFrame) -> dict[str, Any]:
    sums = found.sums
    columns: dict[str, Any] = {name: sums[name] for name in ("n", "otif", "on_time", "in_full")}
    columns |= {name: rates[name] for name in ("short", "early", "pending", "not_evaluable")}
    columns |= {word: rate for word, rate in found.rates("otif", "n").items() if word != "small"}
    for name in ("on_time", "in_full"):
        columns[f"{name}_rate"] = _grouping.ratio(sums[name], sums["n"])
    columns["small"] = found.are_small("n")
    for name in ("line", "unit"):
        part, whole = f"{name}s_filled", f"{name}s"
        columns |= {whole: sums[whole], part: sums[part]}
        columns[f"{name}_rate"] = _grouping.ratio(sums[part], sums[whole])
    return columns | {name: rates[name] for name in ("final", "covered") if name in rates}
