"""How much of what was ordered has shipped: lines, whole orders, units."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _grouping, completeness
from trackstar_frames.measures._partitions import compute_each, concat_parts, is_partitioned
from trackstar_frames.measures._time import instants, now_of, resolve_as_of
from trackstar_frames.measures.completeness import Tables

_COLUMNS_READ = ("status", "created_date")
# Why an order is in no rate; where several reasons hold, the first counts.
_LEFT_OUT = ("created after as_of", "cancelled", "nothing ordered")


def fill_rates(
    frames: Tables,
    by: str | Sequence[str] | None = None,
    *,
    as_of: str | dt.date | np.datetime64 | None = None,
) -> pd.DataFrame:
    """Compute the line, order and unit fill rates as of one moment.

    What has shipped is matched with what was ordered by sku, within each order: units of one
    sku fill its lines in their order, and never more than was ordered. Shipments count if they
    are not cancelled and were shipped by `as_of`. Orders count if they were created by then, are
    not cancelled and order anything, however recent: due dates are ignored (see `ship_otif`).

    Parameters
    ----------
    frames
        The `OrderFrames` of `fetch_orders`, `read_snapshot` or ``Snapshot.read()``, or any
        object with such ``orders``, ``line_items``, ``shipments`` and ``shipment_line_items``.
        Only lines and shipments of ``orders`` are read, which may be some rows of all. The four
        may be Dask DataFrames, if partitions of the same number hold the same orders, and each
        order is in one partition only: they are matched partition by partition.
    by
        A column of ``orders``, or several, to group by. Nulls are a group of their own.
    as_of
        The moment to look at; naive means UTC. By default when the data were fetched, from
        ``orders.attrs``. Cancelled orders are left out for any moment, as nothing says when they
        were cancelled.

    Returns
    -------
    pandas.DataFrame
        One row per group, which is the index; one row in all without `by`. Counts are int64,
        rates float64 shares of 1, null where nothing was ordered.

        - ``orders``, ``orders_filled``: orders, and those of which every line is filled;
          ``order_rate``, their share, with its 95 % Wilson interval ``order_rate_low``,
          ``order_rate_high``.
        - ``lines``, ``lines_filled``: ordered lines, and those of which all units have shipped;
          ``line_rate``, ``line_rate_low``, ``line_rate_high``. The interval assumes independent
          lines: where those of an order ship together, it is too narrow.
        - ``units``, ``units_filled``, ``unit_rate``: units ordered, and those of them that have
          shipped; without an interval, as the units of a line are not independent.
        - ``units_shipped``: all units of shipped lines, with surplus and parts of kits.
        - ``kit_units``: those of ``units_shipped`` that are parts of a kit.
        - ``unmatched_units``: units of ordered lines without a sku, and units shipped whose sku
          is null or on no line of their order; ``unmatched_share`` of units + units_shipped.
        - ``small`` (bool): whether ``orders`` is below 30, as in `compliance_rate`.
        - ``left_out``: orders in none of these counts. ``orders + left_out`` sums to the orders
          given.

        ``attrs["trackstar"]["fill_rates"]`` holds as_of, why orders were left out and, of the
        other orders, how many lines were (``lines_left_out``: a quantity of zero or less), and
        how many have no quantity (``lines_unknown``).

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
    An ordered line without a sku or without a quantity stays in the rates as not filled, because
    it is unknown whether it was. ``unmatched_share`` and ``lines_unknown`` show how much that is.
    An empty text counts as null.

    Kits: a shipped line with a ``parent_product_id`` is a part. If an ordered line of the order
    has that ``product_id``, the part belongs to this kit, and not to a line of its own sku.
    There is no bill of materials; as many kits count as shipped as there are units of the
    part that has shipped least, among all parts in the order's shipments that are not
    cancelled, shipped or not. That is exact for kits with one unit of each part, and for what
    has shipped whole. A part of any other product goes by its sku.

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
    _checks.require(orders, _COLUMNS_READ, source="an OrderFrames", name="frames.orders", lazy=True)
    groups = _checks.by_columns(orders, by)
    moment = resolve_as_of(orders, as_of)
    now = now_of(moment)
    if is_partitioned(orders):
        tables = completeness.narrow_tables(frames, [*_COLUMNS_READ, *groups])
        sum_each = partial(_sum_partition, [*tables], groups, now)
        parts = compute_each([*tables.values()], sum_each)
        rows, counts = concat_parts([keys for keys, _ in parts]), pd.concat([n for _, n in parts])
    else:
        rows, counts = _count_orders(frames, now)
    _, sums = _grouping.sum_by_group(rows, counts, groups)
    table = _rates(sums)
    info = {
        "as_of": moment.isoformat(),
        "left_out": {reason: int(sums[reason].sum()) for reason in _LEFT_OUT},
        "lines_left_out": int(sums["lines_void"].sum()),
        "lines_unknown": int(sums["lines_unknown"].sum()),
    }
    _checks.add_measure_info(table, rows, "fill_rates", info)
    return table


def _sum_partition(
    names: Sequence[str], groups: Sequence[str], now: np.datetime64, *parts: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the keys of each group in a partition, and its sums."""
    tables = SimpleNamespace(**dict(zip(names, parts, strict=True)))
    orders, counts = _count_orders(tables, now)
    keys, sums = _grouping.sum_by_group(orders, counts, groups)
    keys.attrs = dict(orders.attrs)
    return keys, sums


def _count_orders(tables: Tables, now: np.datetime64) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the orders and the counts of each; of one that is left out, only the reason."""
    orders = tables.orders
    _checks.require_unique_orders(orders, "frames.orders")
    filled = completeness.fill_by_order(tables, np.full(len(orders), now))
    conditions = [
        instants(orders, "created_date") > now,
        _checks.has_status(orders, "cancelled"),
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
    columns |= {name: sums[name] for name in ("units_shipped", "kit_units", "unmatched_units")}
    both = sums["units"] + sums["units_shipped"]
    columns["unmatched_share"] = sums["unmatched_units"] / both.where(both > 0)
    columns |= {"small": sums["orders"] < _grouping.SMALL, "left_out": sums["left_out"]}
    return pd.DataFrame(columns, index=sums.index)
