"""How much of what was ordered has shipped: lines, whole orders, units."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _filters, _grouping, completeness
from trackstar_frames.measures._labels import parse_labels, relabel
from trackstar_frames.measures._partitions import compute_each, concat_parts, is_partitioned
from trackstar_frames.measures._policies import Policies, PolicyLike, resolve_policies
from trackstar_frames.measures._time import instants, now_of, resolve_as_of
from trackstar_frames.measures.completeness import Tables
from trackstar_frames.measures.ship_date_compliance import judge

Of = Literal["all", "due", "shipped"]
_OF = get_args(Of)

_COLUMNS_READ = ("status", "created_date")
# Why an order is in no rate; where several reasons hold, the first counts.
_LEFT_OUT = ("created after as_of", "cancelled", "not due", "not shipped", "nothing ordered")


def fill_rates(
    frames: Tables,
    *,
    by: str | Sequence[str] | None = None,
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
        object with such ``orders``, ``line_items``, ``shipments``, ``shipment_line_items`` and,
        for shipments that name their contents only there, ``package_line_items``. Only lines
        and shipments of ``orders`` are read, which may be some rows of all. All of them may be
        Dask DataFrames, if partitions of the same number hold the same orders, and each order
        is in one partition only: they are matched partition by partition.
    by
        A column of ``orders``, or several, to group by. Nulls are a group of their own.
    of
        The rates of which orders. ``"all"``, the default: however recent, so that an order of
        an hour ago counts as not filled. ``"due"``: those due by `as_of`, grace included, that
        `compliance_rate` counts in its n. ``"shipped"``: those of which something has shipped.
    policy, policy_by
        For ``of="due"``: when orders are due, as for `ship_date_compliance`.
    as_of
        The moment to look at; naive means UTC. By default when the data were fetched, from
        ``orders.attrs``. Cancelled orders are left out for any moment, as nothing says when they
        were cancelled.
    labels
        Names to show in the index instead of values of `by`, such as ``{"wh_1": "Newark"}``.

    Returns
    -------
    pandas.DataFrame
        One row per group, which is the index; one row in all without `by`. Counts are int64,
        rates float64 shares of 1, null where nothing was ordered.

        - ``orders``, ``orders_filled``: orders, and those of which every line is filled;
          ``order_rate``, their share, with its 95 % Wilson interval ``order_rate_low``,
          ``order_rate_high``.
        - ``lines``, ``lines_filled``: ordered lines, and those of which all units have shipped
          (a line that others of a quantity below 0 take back is none);
          ``line_rate``, ``line_rate_low``, ``line_rate_high``. The interval assumes independent
          lines: where those of an order ship together, it is too narrow.
        - ``units``, ``units_filled``, ``unit_rate``: units ordered, and those of them that have
          shipped; without an interval, as the units of a line are not independent.
        - ``units_overshipped``: units shipped beyond those ordered, sku by sku.
        - ``kit_units``: units shipped as parts of an ordered kit.
        - ``unmatched_units``: units of ordered lines without a sku, and units shipped whose sku
          is null or on no line of their order; ``unmatched_share``: their share of all units
          ordered and all units shipped.
        - ``small`` (bool): whether ``orders`` is below 30, as in `compliance_rate`.
        - ``left_out``: orders in none of these counts. ``orders + left_out`` sums to the orders
          given.

        ``attrs["trackstar"]["fill_rates"]`` holds as_of, ``of``, why orders were left out and,
        of the other orders, how many lines were (``lines_left_out``: nothing of them is ordered,
        net), and how many have no known quantity (``lines_unknown``). With ``of="due"``,
        ``attrs["trackstar"]["compliance"]`` holds the policy.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong type or value, missing columns, an order with more than one
        row, and quantities too large to be added up.

    Warns
    -----
    UserWarning
        If `as_of` is not given and the frames do not say when they were fetched: now is taken.

    Notes
    -----
    ``units - units_filled`` is what `late_orders` calls ``units_left``, and ``orders_filled``
    are the orders with a ``complete_shipped_date`` by `as_of`.

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
    orders = completeness.check_tables(frames, lazy=True).orders
    chosen, names = _check_of(of, policy, policy_by), parse_labels(labels)
    columns = [*_COLUMNS_READ, *_more_columns(of, chosen)]
    _checks.require(orders, columns, source="an OrderFrames", name="frames.orders", lazy=True)
    groups = _checks.by_columns(orders, by)
    moment = resolve_as_of(orders, as_of, zone="UTC" if chosen is None else chosen.zone)
    count = partial(_count_orders, of, chosen, moment)
    if is_partitioned(orders):
        more = [] if chosen is None else _checks.present(orders, ["warehouse_id"])
        tables = completeness.narrow_tables(frames, [*columns, *groups, *more])
        sum_each = partial(_sum_partition, [*tables], groups, count)
        parts = compute_each([*tables.values()], sum_each)
        rows, counts = concat_parts([keys for keys, _ in parts]), pd.concat([n for _, n in parts])
    else:
        rows, counts = count(frames)
    _, sums = _grouping.sum_by_group(rows, counts, groups)
    table = _rates(sums)
    info = {
        "as_of": moment.isoformat(),
        "of": of,
        "left_out": {reason: int(sums[reason].sum()) for reason in _LEFT_OUT},
        "lines_left_out": int(sums["lines_void"].sum()),
        "lines_unknown": int(sums["lines_unknown"].sum()),
    }
    _checks.add_measure_info(table, rows, "fill_rates", info)
    _filters.warn_if_biased(rows, "fill_rates")
    return table.set_axis(relabel(table.index, groups, names))


def _check_of(of: Of, policy: PolicyLike | None, policy_by: str | None) -> Policies | None:
    """Return the policies by which orders are due, if that matters."""
    if _checks.choice("of", of, _OF) == "due":
        return resolve_policies(policy, policy_by)
    if policy is not None or policy_by is not None:
        raise ValueError(
            f"policy says which orders are due, and of={of!r} does not ask for them; add of='due', "
            f"or leave out the policy"
        )
    return None


def _more_columns(of: Of, policies: Policies | None) -> list[str]:
    """Return what else is read of the orders."""
    if policies is not None:
        return policies.columns_needed()
    return ["first_shipped_date"] if of == "shipped" else []


def _sum_partition(
    names: Sequence[str],
    groups: Sequence[str],
    count: Callable[[Any], tuple[pd.DataFrame, pd.DataFrame]],
    *parts: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the keys of each group in a partition, and its sums."""
    orders, counts = count(SimpleNamespace(**dict(zip(names, parts, strict=True))))
    keys, sums = _grouping.sum_by_group(orders, counts, groups)
    keys.attrs = dict(orders.attrs)
    return keys, sums


def _count_orders(
    of: Of, policies: Policies | None, moment: pd.Timestamp, tables: Tables
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the orders and the counts of each; of one that is left out, only the reason."""
    orders, now = tables.orders, now_of(moment)
    _checks.require_unique_orders(orders, "frames.orders")
    filled = completeness.fill_by_order(tables, np.full(len(orders), now))
    not_due = not_shipped = np.zeros(len(orders), dtype=bool)
    if policies is not None:
        orders = judge(orders, policies, moment)
        not_due = ~orders["is_due"].to_numpy(dtype=bool)
    if of == "shipped":
        not_shipped = ~(instants(orders, "first_shipped_date") <= now)
    conditions = [
        instants(orders, "created_date") > now,
        _checks.has_status(orders, "cancelled"),
        not_due,
        not_shipped,
        filled["lines"].to_numpy() == 0,
    ]
    codes = np.select(conditions, range(len(_LEFT_OUT)), default=-1)
    counted = (codes < 0).astype(np.int64)
    is_filled = (filled["lines"] == filled["lines_filled"]).astype(np.int64)
    counts = filled.assign(orders=1, orders_filled=is_filled).mul(counted, axis=0)
    reasons = {reason: (codes == code).astype(np.int64) for code, reason in enumerate(_LEFT_OUT)}
    return orders, counts.assign(left_out=1 - counted, **reasons)


def _rates(sums: pd.DataFrame) -> pd.DataFrame:
    """Return the sums with each rate after what it is computed from."""
    columns: dict[str, Any] = {}
    for name in ("order", "line"):
        columns |= {column: sums[column] for column in (f"{name}s", f"{name}s_filled")}
        rates = _grouping.wilson(sums[f"{name}s_filled"].to_numpy(), sums[f"{name}s"].to_numpy())
        words = (f"{name}_rate", f"{name}_rate_low", f"{name}_rate_high")
        columns |= dict(zip(words, rates, strict=True))
    columns |= {name: sums[name] for name in ("units", "units_filled")}
    columns["unit_rate"] = sums["units_filled"] / sums["units"].where(sums["units"] > 0)
    columns |= {name: sums[name] for name in ("units_overshipped", "kit_units", "unmatched_units")}
    both = sums["units"] + sums["units_shipped"]
    columns["unmatched_share"] = sums["unmatched_units"] / both.where(both > 0)
    columns |= {"small": sums["orders"] < _grouping.SMALL, "left_out": sums["left_out"]}
    return pd.DataFrame(columns, index=sums.index)
