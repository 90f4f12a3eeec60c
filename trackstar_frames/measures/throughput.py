"""How much a warehouse ships and receives: per day, hour or weekday."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _filters, _grouping, _policies, _time, completeness
from trackstar_frames.measures._labels import parse_labels, relabel
from trackstar_frames.measures._policies import Judgement, PolicyLike
from trackstar_frames.measures._time import Array, Period, instants
from trackstar_frames.measures.ship_date_compliance import judged_orders, moment_to_judge_at

#: The profiles: what each is made of, and its values.
_PROFILES = {
    "hour": range(24),
    "weekday": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
}
_HOURLY = Period("h", 1, 0)
_COLUMNS_READ = {
    "orders": ("id", *completeness.LIFECYCLE_COLUMNS),
    "shipments": ("order_id", "shipment_index", "status", "shipped_date"),
    "shipment_line_items": ("order_id", "shipment_index", "quantity"),
    "packages": ("order_id", "shipment_index"),
    "package_line_items": ("order_id", "shipment_index", "quantity"),
}
#: The positions of orders, moments, and what each adds to sums.
_Event = tuple[Array, Array, Mapping[str, Any]]
_FLOWS = ("orders", "lines", "units", "packages", "received")
_EVER_OPEN = [completeness.STATES.index(name) for name in ("shipped", "closed_short", "open")]


def throughput(
    frames: Any,
    *,
    by: str | Sequence[str] | None = None,
    freq: str = "D",
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    labels: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Count what was shipped and received in each period, and what was open at its end.

    Parameters
    ----------
    frames
        The `OrderFrames` of `fetch_orders`, `read_snapshot` or ``Snapshot.read()``, or any
        object with such ``orders``, ``shipments``, ``shipment_line_items``, ``packages`` and
        ``package_line_items``. Only what belongs to ``orders`` is read, which may be some rows
        of all. All may be Dask DataFrames, as for `fill_rates`.
    by
        A column of ``orders``, or several, to group by. Nulls are a group of their own.
    freq
        ``D``, ``W``, ``MS``, ``QS`` or ``YS``: a row for each day, week and so on. ``"hour"``
        and ``"weekday"``: a profile, with a row for each hour of the day, 0 to 23, or for each
        day of the week, which adds up all days.
    policy, policy_by
        By its zones the days are local, and its ship event says when an order has shipped. By
        default ``SlaPolicy()``: UTC, complete.
    as_of
        The moment to look at: nothing later counts, and the last period is that of as_of. By
        default when the data were fetched, as for `ship_date_compliance`.
    labels
        Names to show for values of `by`, such as ``{warehouse_id: name}``.

    Returns
    -------
    pandas.DataFrame
        One row per group and period. The index holds the groups, then the first moment of the
        ``period`` (wall-clock time of the policy's zones, without a zone), or the ``hour``
        (int64) or ``weekday`` (ordered categorical) of a profile. Every group has every period
        from the first in which anything was shipped or received to that of as_of. Counts are
        int64.

        - ``orders``: orders shipped, by the policy's ship event.
        - ``lines``, ``units``: lines of shipments shipped, and their units, which are what was
          handled: units beyond those ordered and parts of kits count. Where a shipment has no
          lines, those of its packages.
        - ``packages``: packages of shipments shipped.
        - ``received``: orders created, cancelled ones included.
        - ``open``: orders open at the end of the period, or at as_of, as `backlog` counts them; in
          a profile its mean over the days (float64).
        - ``days`` (only in a profile): how many days the row adds up.

        ``attrs["trackstar"]["compliance"]`` holds the policy, its ``text`` and ``as_of``;
        ``attrs["trackstar"]["throughput"]`` holds ``freq``, and ``undated``: how many orders are
        in no ``received``, as they have no created_date or, with a map of zones, no zone.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance`; also for labels that give two groups one name, an order with
        more than one row, and more rows than a table can hold, as with a stray date.

    Warns
    -----
    FilteredOrdersWarning
        If the frames were fetched with a limit, or with filters of status, ids, order numbers,
        update dates or bounds of dates: they leave out orders that count here.
    UserWarning
        If `as_of` is not given and the frames do not say when they were fetched: now is taken.

    Notes
    -----
    What has left counts whatever became of its order, a cancelled one included; shipments that
    are cancelled or have no shipped_date do not. Trackstar has one stamp per shipment, that of
    the label or of the dock. Cancelled orders are open at no time, as nothing says when they
    were cancelled: in the past, more orders were open than are shown. The last period ends at
    as_of, and is shorter than the others.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> line = [{"sku": "A", "quantity": 2}]
    >>> sent = {"shipped_date": "2026-03-03T09:00:00Z", "line_items": line, "packages": [{}]}
    >>> orders = [
    ...     {"id": "a", "created_date": "2026-03-02T08:00:00Z", "line_items": line,
    ...      "shipments": [sent]},
    ...     {"id": "b", "created_date": "2026-03-03T08:00:00Z", "line_items": line}]
    >>> table = throughput(OrderFrames.from_json(orders), as_of="2026-03-03 12:00")
    >>> table[["orders", "lines", "units", "packages", "received", "open"]]
    ... # doctest: +NORMALIZE_WHITESPACE
                orders  lines  units  packages  received  open
    period
    2026-03-02       0      0      0         0         1     1
    2026-03-03       1      1      2         1         1     1
    """
    tables = _checks.require_tables(frames, _COLUMNS_READ, lazy=True)
    profile = freq if freq in _PROFILES else None
    names = _checks.by_columns(tables["orders"], by, reserved=["period", *_PROFILES])
    shown = parse_labels(labels)
    span = _HOURLY if profile == "hour" else _time.period("D" if profile else freq)
    moment = moment_to_judge_at(tables["orders"], policy, policy_by, as_of)
    read = partial(_read, names=names, span=span, policy=policy, policy_by=policy_by, as_of=moment)
    keys, sums = _grouping.sum_tables(tables, read, [*names, "period"])
    is_dated = keys["period"].notna().to_numpy()
    undated = int(sums["received"][~is_dated].sum())
    # What is open without a moment at which it came has been so all the time.
    opened = (sums["opened"] - sums["closed"]).to_numpy()
    always = _grouping.labelled(keys, pd.DataFrame({"n": np.where(is_dated, 0, opened)}), names)
    keys, sums = _grouping.every_period(keys, sums, names, span)
    groups, _ = _grouping.group_numbers(keys, names)
    since = (sums["opened"] - sums["closed"]).groupby(groups).cumsum()
    table = sums[list(_FLOWS)].assign(open=since + always["n"].to_numpy()[groups])
    table = table.astype(np.int64)
    if profile is None:
        table = _grouping.labelled(keys, table, [*names, "period"])
    else:
        table = _profile(keys, table, names, profile)
    _checks.add_measure_info(table, keys, "throughput", {"freq": freq, "undated": undated})
    _filters.warn_if_biased(
        keys,
        "throughput",
        _filters.EVERY,
        bounds=_filters.OF_FLOW,
        as_of=_policies.judged_as_of(keys),
    )
    return table.set_axis(relabel(table.index, names, shown))


def _read(
    tables: Any,
    *,
    names: Sequence[str],
    span: Period,
    policy: PolicyLike | None,
    policy_by: str | None,
    as_of: Any,
) -> _grouping.Rows:
    """Return the sums of each group and period."""
    judged = judged_orders(tables.orders, policy, as_of, policy_by=policy_by)
    judgement = _policies.require_judgement(judged)
    now = judgement.now
    created, closed = instants(judged, "created_date"), completeness.closed_at(judged)
    states = completeness.order_states(judged, now)
    # An order that was closed before it was created is open at no time.
    was_open = np.isin(states, _EVER_OPEN) & ~(closed <= created)
    event, everyone = _policies.ship_events(judged, judgement), np.arange(len(judged))
    # The last period is that of as_of, be there anything in it or not.
    latest = _policies.local_times(judged, judgement, np.full(len(judged), now)).astype(np.int64)
    last = everyone[[latest.argmax()]] if len(latest) else everyone
    events = [
        (everyone, created, {"received": ~(created > now), "opened": was_open}),
        (everyone, closed, {"closed": was_open & (closed <= now)}),
        (everyone, event, {"orders": ~np.isnat(event)}),
        (last, np.full(len(last), now), {}),
        *_contents(tables, completeness.Shipped(judged, tables.shipments, now)),
    ]
    return _sum_events(judged, judgement, names, span, events)


def _contents(tables: Any, shipped: completeness.Shipped) -> list[_Event]:
    """Return the lines of shipments, or of packages in those that have none, and the packages."""
    rows = tables.shipment_line_items
    of_lines = shipped.find(rows)
    of_packed = shipped.find(tables.package_line_items)
    # What is in no shipment has the position -1, which picks the last of these.
    lines_of_each = np.append(shipped.count(of_lines), 0)
    of_packed = np.where(lines_of_each[of_packed] > 0, -1, of_packed)
    goods = [(of_lines, rows), (of_packed, tables.package_line_items)]
    found: list[tuple[Array, dict[str, Any]]] = [
        (shipment, {"lines": 1, "units": np.nan_to_num(_checks.float_column(table, "quantity"))})
        for shipment, table in goods
    ]
    events: list[_Event] = []
    for shipment, amounts in [*found, (shipped.find(tables.packages), {"packages": 1})]:
        known = shipment >= 0
        kept = {
            name: each[known] if isinstance(each, np.ndarray) else each
            for name, each in amounts.items()
        }
        places = shipment[known]
        events.append((shipped.order[places], shipped.stamps[places], kept))
    return events


def _sum_events(
    judged: pd.DataFrame,
    judgement: Judgement,
    by: Sequence[str],
    span: Period,
    events: Sequence[_Event],
) -> _grouping.Rows:
    """Sum events by group and local period; one after as_of has none, as one without a date."""
    groups, keys = _grouping.group_numbers(judged, by)
    sums = []
    for order, stamps, amounts in events:
        cells = pd.DataFrame({"group": groups[order], **amounts})
        past = np.where(stamps > judgement.now, _time.NAT, stamps)
        cells["period"] = span.floor(_policies.local_times(judged, judgement, past, order))
        sums.append(cells.groupby(["group", "period"], dropna=False).sum())
    total = pd.concat(sums).groupby(["group", "period"], dropna=False).sum()
    rows = keys.iloc[total.index.get_level_values("group")]
    return rows.assign(period=total.index.get_level_values("period")), total


def _profile(
    keys: pd.DataFrame, table: pd.DataFrame, names: Sequence[str], profile: str
) -> pd.DataFrame:
    """Return the sums of each hour of the day or day of the week, and the mean of what is open."""
    values = pd.Index(_PROFILES[profile], name=profile)
    if profile == "weekday":
        values = pd.CategoricalIndex(values, values, ordered=True)
    groups, kept = _grouping.group_numbers(keys, names)
    starts = keys["period"].dt
    codes = (starts.hour if profile == "hour" else starts.day_of_week).to_numpy()
    index = _grouping.row_labels(kept, names, values, len(table.columns) + 1)
    sums = table.assign(days=1).groupby(groups * len(values) + codes).sum()
    sums = sums.reindex(range(len(index)), fill_value=0).set_axis(index)
    return sums.assign(open=_grouping.ratio(sums["open"], sums["days"]))
