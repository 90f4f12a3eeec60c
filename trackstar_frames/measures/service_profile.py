"""How fast orders leave, in how many pieces, and whether they can be tracked."""

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
from trackstar_frames.measures._time import Array, instants
from trackstar_frames.measures.policy import SlaPolicy
from trackstar_frames.measures.ship_date_compliance import judged_orders, moment_to_judge_at

_COLUMNS_READ = {
    "orders": (
        "id",
        "status",
        "created_date",
        "line_item_count",
        "units_ordered",
        "last_shipped_date",
        "complete_shipped_date",
    ),
    "shipments": ("order_id", "shipment_index", "status", "shipped_date"),
    "packages": ("order_id", "shipment_index", "tracking_number"),
}
_DAY, _HOUR = np.timedelta64(1, "D"), np.timedelta64(1, "h")
_NOON = "12:00"
#: Each rate: what is counted, and of what it is a share.
_RATES = {
    "same_day": "same_day_n",
    "within_24h": "within_24h_n",
    "within_48h": "within_48h_n",
    "split": "shipped",
    "tracked": "packages",
}


def service_profile(
    frames: Any,
    *,
    by: str | Sequence[str] | None = None,
    freq: str | None = None,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    labels: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Compute how fast orders were shipped, in how many pieces, and how large they are.

    Parameters
    ----------
    frames
        The `OrderFrames` of `fetch_orders`, `read_snapshot` or ``Snapshot.read()``, or any
        object with such ``orders``, ``shipments`` and ``packages``. Only what belongs to
        ``orders`` is read, which may be some rows of all. All may be Dask DataFrames, as for
        `fill_rates`.
    by
        A column of ``orders``, or several, to group by. Nulls are a group of their own.
    freq
        ``D``, ``W``, ``MS``, ``QS`` or ``YS``: also group by when orders were created, on the
        calendars of the policy's zones.
    policy, policy_by
        Its ship event says when an order has shipped, its zones which day that was, and its
        cut-off, by default noon, which orders may leave on the same day. By default
        ``SlaPolicy()``: complete, UTC.
    as_of
        The moment to look at; nothing later counts. By default when the data were fetched, as
        for `ship_date_compliance`.
    labels
        Names to show for values of `by`, such as ``{warehouse_id: name}``.

    Returns
    -------
    pandas.DataFrame
        One row per group and period; one row in all without both. The index holds the groups,
        then the first moment of the ``period`` (wall-clock time, without a zone). Every group
        has every period from the first to the last. Counts are int64; rates are float64 shares
        of 1 with a 95 % interval ``_low`` and ``_high``; null where they are of nothing.

        - ``n``: orders created by as_of, but for cancelled ones.
        - ``same_day_n``: those of them created before the cut-off of a local day that is over at
          as_of; ``same_day``, those of these that shipped by the end of that day;
          ``same_day_rate``, ``same_day_rate_low``, ``same_day_rate_high``.
        - ``within_24h_n``, ``within_24h``, ``within_24h_rate``, and its interval; the same for
          ``within_48h``: orders so old at as_of, and those of them that shipped within so many
          hours of their creation.
        - ``shipped``: orders with a shipment by as_of; ``split``, those of them with more than
          one; ``split_rate``, and its interval.
        - ``packages``: those of these shipments; ``tracked``, those of them with a tracking
          number; ``tracked_rate``, and its interval.
        - ``packages_per_order`` (float64): packages / shipped.
        - ``lines_per_order``, ``units_per_order`` (float64): ordered lines of the n orders, and
          units ordered of those of known quantity, on average.
        - ``small`` (bool): whether n is below 30, or the orders were created on fewer than 4
          days, as in `compliance_rate`.
        - With `freq`, ``final`` (bool): whether the period was over at as_of, and all its orders
          are closed and 48 hours old, so that its figures stay.
        - With `freq`, ``covered`` (bool): whether the fetch has the orders created in the period:
          it is between the fetch's bounds of created_date (of which an upper one counts if it was
          past at as_of), and there is none of required_ship_date.

        ``attrs["trackstar"]["compliance"]`` holds the policy, its ``text`` and ``as_of``;
        ``attrs["trackstar"]["service_profile"]`` holds ``left_out``: how many orders are in no
        row, as they are cancelled, were created after as_of, or, with `freq`, have no
        created_date.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance`; also for labels that give two groups one name, an order with
        more than one row, and a `freq` so short that the table would not fit into memory.

    Warns
    -----
    FilteredOrdersWarning
        If the frames were fetched with a limit, or with filters of status, ids, order numbers or
        update dates: they leave out orders that count here.
    UserWarning
        If `as_of` is not given and the frames do not say when they were fetched: now is taken.

    Notes
    -----
    An order counts for a speed once its time has run out, and not before, even if it has shipped
    by then: else the quick ones would count first. Orders that have shipped, but nothing tells
    when, and those without a created_date, are in n, and in no speed. Days without work count as
    any other: an order of a Saturday morning that leaves on Monday is not of the same day.

    Intervals are those of `compliance_rate`, over the local days on which orders were created:
    those of one day share its luck, as the packages of an order do.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> def order(name, *stamps):
    ...     sent = [{"shipped_date": each, "line_items": [{"sku": "A", "quantity": 1}],
    ...              "packages": [{"tracking_number": "1Z"}]} for each in stamps]
    ...     lines = [{"sku": "A", "quantity": len(stamps)}]
    ...     return {"id": name, "created_date": "2026-03-02T09:00:00Z", "line_items": lines,
    ...             "shipments": sent}
    >>> frames = OrderFrames.from_json([
    ...     order("a", "2026-03-02T15:00:00Z"),
    ...     order("b", "2026-03-02T15:00:00Z", "2026-03-03T15:00:00Z")])
    >>> table = service_profile(frames, as_of="2026-03-06")
    >>> table[["same_day_rate", "within_48h_rate", "split_rate", "packages_per_order"]]
       same_day_rate  within_48h_rate  split_rate  packages_per_order
    0            0.5              1.0         0.5                 1.5
    """
    tables = _checks.require_tables(frames, _COLUMNS_READ, lazy=True)
    names = _checks.by_columns(tables["orders"], by, reserved=["period"])
    shown = parse_labels(labels)
    span = None if freq is None else _time.period(freq)
    moment = moment_to_judge_at(tables["orders"], policy, policy_by, as_of)
    read = partial(_read, names=names, policy=policy, policy_by=policy_by, as_of=moment)
    found = _grouping.sum_days(tables, read, names, span)
    keys, columns = found.keys, _rates(found)
    if span:
        judgement = _policies.require_judgement(keys)
        columns |= _filters.created_periods(
            keys, span, found.sums["pending"], judgement.policies, judgement.as_of
        )
    table = found.table(columns, names)
    info = {"left_out": int(found.days["given"].sum() - found.sums["n"].sum())}
    _checks.add_measure_info(table, keys, "service_profile", info)
    _filters.warn_if_biased(keys, "service_profile")
    return table.set_axis(relabel(table.index, names, shown))


def _cut_off(policy: SlaPolicy) -> np.timedelta64:
    return np.datetime64(f"1970-01-01T{policy.cut_off or _NOON}", "us") - np.datetime64(0, "us")


def _read(
    tables: Any,
    *,
    names: Sequence[str],
    policy: PolicyLike | None,
    policy_by: str | None,
    as_of: Any,
) -> _grouping.Rows:
    """Return each order's group and day, and what it adds to the sums."""
    judged = judged_orders(tables.orders, policy, as_of, policy_by=policy_by)
    judgement = _policies.require_judgement(judged)
    now = judgement.now
    created = instants(judged, "created_date")
    counted = ~(created > now) & ~_checks.has_status(judged, "cancelled")
    received = _policies.local_times(judged, judgement, np.where(counted, created, _time.NAT))
    rows = _grouping.keys_of(judged, names, period=_grouping.days_of(received))
    units = _checks.number_column(judged, "units_ordered")
    counts = {
        "n": True,
        **_speeds(judged, received, judgement),
        **_pieces(judged, tables, now),
        "lines": np.nan_to_num(_checks.number_column(judged, "line_item_count")),
        "units": np.nan_to_num(units),
        "of_known_units": ~np.isnan(units),
        "pending": completeness.are_open(judged, now) | (created + 48 * _HOUR > now),
    }
    amounts = pd.DataFrame(counts, index=range(len(judged))).astype(np.float64)
    return rows, amounts.mul(counted, axis=0).assign(given=1.0)


def _speeds(judged: pd.DataFrame, received: Array, judgement: Judgement) -> dict[str, Array]:
    """Return, for each speed, whether an order's time has run out, and whether it has kept it."""
    now, created = judgement.now, instants(judged, "created_date")
    shipped = _policies.ship_events(judged, judgement)
    # Shipped, but at an unknown time. One closed short is not: it has never been complete.
    by_complete = _policies.of_policies(
        judged, judgement, lambda policy: policy.ship_event == "complete"
    )
    is_short = ~np.isnat(instants(judged, "last_shipped_date")) & by_complete
    is_short &= ~np.isnan(_checks.number_column(judged, "units_ordered"))
    done = _checks.has_status(judged, "fulfilled")
    done = done | _checks.has_status(judged, "partially_fulfilled") & ~by_complete
    undated = np.isnat(shipped) & done & ~is_short
    days = received.astype("M8[D]")
    limit = _policies.of_policies(judged, judgement, _cut_off)
    today, shipped_on = (
        _policies.local_times(judged, judgement, stamps).astype("M8[D]")
        for stamps in (np.full(len(judged), now), shipped)
    )
    before = (received - days < limit) & (days < today) & ~undated
    found = {"same_day_n": before}
    found["same_day"] = before & (shipped_on <= days)
    for name, hours in (("within_24h", 24), ("within_48h", 48)):
        is_over = (created + hours * _HOUR <= now) & ~undated
        found |= {f"{name}_n": is_over, name: is_over & (shipped <= created + hours * _HOUR)}
    return found


def _pieces(judged: pd.DataFrame, tables: Any, now: np.datetime64) -> dict[str, Array]:
    """Return whether an order has shipped, and in several shipments, and its packages."""
    shipped = completeness.Shipped(judged, tables.shipments, now)
    shipments = np.bincount(shipped.order, minlength=len(judged))
    position = shipped.find(tables.packages)
    tracked = ~_checks.is_blank(_checks.column(tables.packages, "tracking_number"))

    def per_order(kept: Array) -> Array:
        return np.bincount(shipped.order[position[kept]], minlength=len(judged))

    return {
        "shipped": shipments > 0,
        "split": shipments > 1,
        "packages": per_order(position >= 0),
        "tracked": per_order((position >= 0) & tracked),
    }


def _rates(found: _grouping.ByDay) -> dict[str, Any]:
    """Return the counts with each rate after what it is computed from."""
    of = found.sums.astype(np.int64)
    columns: dict[str, Any] = {"n": of["n"]}
    for name, whole in _RATES.items():
        columns |= {whole: of[whole], name: of[name]}
        found.add_rate(columns, name, name, whole)
    columns["packages_per_order"] = _grouping.ratio(of["packages"], of["shipped"])
    columns["lines_per_order"] = _grouping.ratio(of["lines"], of["n"])
    columns["units_per_order"] = _grouping.ratio(of["units"], of["of_known_units"])
    return {**columns, "small": found.are_small("n")}
