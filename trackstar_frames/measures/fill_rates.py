"""How much of what was ordered has shipped: lines, whole orders, units."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _filters, _grouping, _policies, _time, completeness
from trackstar_frames.measures._labels import parse_labels, relabel
from trackstar_frames.measures._partitions import is_partitioned
from trackstar_frames.measures._policies import Policies, PolicyLike, resolve_moment, zones_of
from trackstar_frames.measures.completeness import Tables
from trackstar_frames.measures.compliance_rate import local_due_times, outcome_rates
from trackstar_frames.measures.ship_date_compliance import judge, judge_each, judged_orders

Of = Literal["all", "due", "shipped"]
_OF = get_args(Of)

# Why an order is in no rate; where several reasons hold, the first counts.
_LEFT_OUT = ("created after as_of", "cancelled", "not due", "not shipped", "nothing ordered")


def fill_rates(
    frames: Tables,
    *,
    by: str | Sequence[str] | None = None,
    freq: str | None = None,
    of: Of = "all",
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    labels: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Compute the line, order and unit fill rates as of one moment.

    What has shipped is matched with what was ordered by the rule that the columns of ``orders``
    follow: sku by sku within each order, and never more than was ordered. Shipments count if they
    are not cancelled and were shipped by `as_of`. Orders count if they were created by then, are
    not cancelled and order anything.

    Parameters
    ----------
    frames
        The `OrderFrames` of `fetch_orders`, `read_snapshot` or ``Snapshot.read()``, or any
        object with such ``orders``, ``line_items``, ``shipments``, ``shipment_line_items`` and
        ``package_line_items``. Only lines
        and shipments of ``orders`` are read, which may be some rows of all. All of them may be
        Dask DataFrames, if partitions of the same number hold the same orders, and each order
        is in one partition only: they are matched partition by partition.
    by
        A column of ``orders``, or several, to group by. Nulls are a group of their own.
    freq
        ``D``, ``W``, ``MS``, ``QS`` or ``YS``: also group by when orders were created or, with
        ``of="due"``, by when they were due, as `compliance_rate` does; on the calendars of the
        policy's zones.
    of
        The rates of which orders. ``"all"``, the default: however recent, so that an order of
        an hour ago counts as not filled. ``"due"``: those due by `as_of`, grace included, that
        `compliance_rate` counts in its n. ``"shipped"``: those of which something has shipped.
    policy, policy_by
        With ``of="due"``, when orders are due, as for `ship_date_compliance`. Otherwise only its
        zones are used, as in `status_mix`: they say which day an order was created on. By default
        ``SlaPolicy()``: UTC.
    as_of
        The moment to look at; naive means UTC. By default when the data were fetched, from
        ``orders.attrs``. Cancelled orders are left out for any moment, as nothing says when they
        were cancelled.
    labels
        Names to show in the index instead of values of `by`, such as ``{"wh_1": "Newark"}``.

    Returns
    -------
    pandas.DataFrame
        One row per group and period; one row in all without both. The index holds the groups,
        then the first moment of the ``period`` (wall-clock time, without a zone). Every group
        has every period from the first to the last. Counts are int64, rates float64 shares of 1,
        null where nothing was ordered.

        - ``orders``, ``orders_filled``: orders, and those of which every line is filled;
          ``order_rate``, their share, with its 95 % interval ``order_rate_low``,
          ``order_rate_high``.
        - ``lines``, ``lines_filled``: ordered lines, and those of which all units have shipped
          (a line that others of a quantity below 0 take back is none);
          ``line_rate``, ``line_rate_low``, ``line_rate_high``.
        - ``units``, ``units_filled``, ``unit_rate``: units ordered, and those of them that have
          shipped; without an interval, as one line may hold most of the units of a day.
        - ``units_overshipped``: units shipped beyond those ordered, sku by sku.
        - ``kit_units``: units shipped as parts of an ordered kit.
        - ``unmatched_units``: units of ordered lines without a sku, and units shipped whose sku
          is null or on no line of their order; ``unmatched_share``: their share of all units
          ordered and all units shipped.
        - ``small`` (bool): whether ``orders`` is below 30, or they are of fewer than 4 days, as
          in `compliance_rate`.
        - ``left_out``: orders in none of these counts. ``orders + left_out`` sums to the orders
          given; with `freq`, to those in periods.
        - With `freq`, ``final`` (bool): whether the period was over at as_of, and none of its
          orders is open, so that its figures stay; ``covered`` (bool): whether the fetch has the
          orders created in the period: it is between the fetch's bounds of created_date (of which
          an upper one counts if it was past at as_of), and there is none of required_ship_date.
          With ``of="due"``, both are those of `compliance_rate`, but final only if none of its
          orders is open.

        ``attrs["trackstar"]["fill_rates"]`` holds as_of, ``of``, why orders were left out and,
        of the other orders, how many lines were (``lines_left_out``: nothing of them is ordered,
        net), and how many have no known quantity (``lines_unknown``); with `freq` also
        ``without_period``, the number of orders that are in no period: those without a due date
        or, unless ``of="due"``, created after as_of or without a created_date (and, with a map of
        zones, without a zone). With ``of="due"``, ``attrs["trackstar"]["compliance"]`` holds the
        policy.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong type or value, missing columns, an order with more than one
        row, quantities too large to be added up, and a `freq` so short that the table would not
        fit into memory.

    Warns
    -----
    FilteredOrdersWarning
        If the frames were fetched with a limit, or with filters of status, ids, order numbers or
        update dates: they leave out orders that count here.
    UserWarning
        If `as_of` is not given and the frames do not say when they were fetched: now is taken.

    Notes
    -----
    ``units - units_filled`` is what `late_orders` calls ``units_left``, and ``orders_filled``
    are the orders with a ``complete_shipped_date`` by `as_of`.

    Intervals are those of `compliance_rate`, over the local days on which orders were created or,
    with ``of="due"``, due: orders of one day share its luck, as the lines of one order do.

    Lines of one sku are netted within an order (2 and -1 are 1), and filled in the sequence of
    their ``line_index``. Units without a sku, on either side, are covered by number: a line
    without one takes what has shipped beyond all others, and what shipped without one covers
    what is missing. ``unmatched_share`` shows how much rests on this. A line without a whole
    quantity stays in the rates as not filled (``lines_unknown``). An empty text counts as null.

    Kits: a shipped line with a ``parent_product_id`` is a part. If an ordered line of the order
    has that ``product_id``, the part belongs to this kit, and not to a line of its own sku.
    There is no bill of materials; the parts of the kits ordered are all that stand in the
    order's shipments that are not cancelled, shipped or not, and as large a share of the kits
    has shipped, in whole kits, as of the part that has shipped least.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> lines = [{"sku": sku, "quantity": n} for sku, n in {"A": 5, "B": 5, "C": 10}.items()]
    >>> sent = [{"sku": sku, "quantity": n} for sku, n in {"A": 5, "B": 5, "C": 7}.items()]
    >>> shipment = {"shipped_date": "2026-03-02T12:00:00Z", "line_items": sent}
    >>> order = {"id": "a1", "line_items": lines, "shipments": [shipment]}
    >>> table = fill_rates(OrderFrames.from_json(order), as_of="2026-03-03")
    >>> table[["lines", "line_rate", "order_rate", "unit_rate"]].round(2)
       lines  line_rate  order_rate  unit_rate
    0      3       0.67         0.0       0.85
    """
    tables = completeness.check_tables(frames, lazy=True)
    orders = tables["orders"]
    _checks.choice("of", of, _OF)
    policies, shown = zones_of(orders, policy, policy_by), parse_labels(labels)
    span = None if freq is None else _time.period(freq)
    columns = _columns_read(of, policies, dated=span is not None)
    _checks.require(orders, columns, source="an OrderFrames", name="frames.orders", lazy=True)
    names = _checks.by_columns(orders, by, reserved=["period"])
    if "outcome" in orders.columns and not is_partitioned(orders):
        judged_orders(orders, policy, as_of, policy_by=policy_by)
    moment = resolve_moment(orders, as_of, policies)
    columns += [*names, *_checks.present(orders, ["warehouse_id"])]
    tables["orders"] = _checks.select(orders, ["id", *columns])
    dated = span is not None
    read = partial(_read, names=names, dated=dated, of=of, policies=policies, moment=moment)
    found = _grouping.sum_days(tables, read, names, span)
    rates = _rates(found)
    if span is not None:
        pending = found.sums["pending"]
        rates |= _filters.created_periods(found.keys, span, pending, policies, moment)
    if freq is not None and of == "due":
        judged = judge_each(orders, policies, moment)
        rates["covered"] = outcome_rates(judged, names, freq)["covered"]
    table = found.table(rates, names)
    days = found.days
    info = {
        "as_of": moment.isoformat(),
        "of": of,
        "left_out": {reason: int(days[reason].sum()) for reason in _LEFT_OUT},
        "lines_left_out": int(days["lines_void"].sum()),
        "lines_unknown": int(days["lines_unknown"].sum()),
    }
    if span is not None:
        info["without_period"] = int(days["given"].sum() - found.sums["given"].sum())
    _checks.add_measure_info(table, found.keys, "fill_rates", info)
    _filters.warn_if_biased(found.keys, "fill_rates")
    return table.set_axis(relabel(table.index, names, shown))


def _columns_read(of: Of, policies: Policies, *, dated: bool) -> list[str]:
    """Return what is read of the orders."""
    names = ["status", "created_date", *filter(None, [policies.by])]
    if of == "due":
        names += policies.columns_needed()
    if of == "shipped":
        names += ["first_shipped_date"]
    return list(dict.fromkeys([*names, *(completeness.LIFECYCLE_COLUMNS if dated else [])]))


def _read(
    tables: Any,
    *,
    names: Sequence[str],
    dated: bool,
    of: Of,
    policies: Policies,
    moment: pd.Timestamp,
) -> _grouping.Rows:
    """Return each order's group and day, and its counts; of one left out, only the reason."""
    orders, now = tables.orders, _time.now_of(moment)
    _checks.require_unique_orders(orders, "frames.orders")
    filled = completeness.fill_by_order(tables, np.full(len(orders), now))
    created = _time.instants(orders, "created_date")
    is_later = created > now
    not_due = not_shipped = np.zeros(len(orders), dtype=bool)
    if of == "due":
        orders = judge(orders, policies, moment)
        not_due = ~orders["is_due"].to_numpy(dtype=bool)
        stamps = local_due_times(orders)
    else:
        # A later order must not make a period.
        stamps = np.where(is_later, _time.NAT, _policies.created_times(orders, policies))
    if of == "shipped":
        not_shipped = ~(_time.instants(orders, "first_shipped_date") <= now)
    conditions = [
        is_later,
        _checks.has_status(orders, "cancelled"),
        not_due,
        not_shipped,
        filled["lines"].to_numpy() == 0,
    ]
    codes = np.select(conditions, range(len(_LEFT_OUT)), default=-1)
    is_counted = codes < 0
    is_filled = filled["lines"] == filled["lines_filled"]
    counts = filled.assign(orders=1, orders_filled=is_filled).mul(is_counted, axis=0)
    reasons = {reason: codes == code for code, reason in enumerate(_LEFT_OUT)}
    counts = counts.assign(left_out=~is_counted, given=1, **reasons)
    if dated:
        is_pending = completeness.are_open(orders, now)
        if of == "due":
            is_pending = (is_pending | not_due) & (orders["outcome"] != "not_evaluable").to_numpy()
        counts["pending"] = is_pending
    rows = _grouping.keys_of(orders, names, period=_grouping.days_of(stamps))
    return rows, counts.astype(np.int64)


def _rates(found: _grouping.ByDay) -> dict[str, Any]:
    """Return the sums with each rate after what it is computed from."""
    sums = found.sums
    columns: dict[str, Any] = {}
    for name in ("order", "line"):
        part, whole = f"{name}s_filled", f"{name}s"
        columns |= {whole: sums[whole], part: sums[part]}
        found.add_rate(columns, name, part, whole)
    columns |= {name: sums[name] for name in ("units", "units_filled")}
    columns["unit_rate"] = _grouping.ratio(sums["units_filled"], sums["units"])
    columns |= {name: sums[name] for name in ("units_overshipped", "kit_units", "unmatched_units")}
    both = sums["units"] + sums["units_shipped"]
    columns["unmatched_share"] = _grouping.ratio(sums["unmatched_units"], both)
    return {**columns, "small": found.are_small("orders"), "left_out": sums["left_out"]}
