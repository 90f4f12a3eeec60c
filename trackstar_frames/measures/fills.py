"""How much of what was ordered has shipped: lines, whole orders, units."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import by_columns, has_status, moment_of, require
from trackstar_frames.measures._grouping import is_small, require_once, summed, totals, wilson
from trackstar_frames.measures._partitions import Partitioned, from_each, stacked, tell
from trackstar_frames.measures._time import Array, instants
from trackstar_frames.measures.completeness import (
    Tables,
    TablesOf,
    are_partitioned,
    check_columns,
    columns_of,
    fill,
)

__all__ = ["fill_rates"]

_NEEDED = ("status", "created_date")
# Why an order is in no rate; where several hold, the first is given.
_LEFT_OUT = ("created after as_of", "cancelled", "nothing ordered")


def fill_rates(
    frames: Tables | TablesOf[Partitioned],
    by: str | Sequence[str] | None = None,
    *,
    as_of: str | dt.date | np.datetime64 | None = None,
) -> pd.DataFrame:
    """Give the line, order and unit fill rate, as things stood at one moment.

    What has shipped is matched with what was ordered by sku, within each order: units of one
    sku fill its lines in their order, and never more than was ordered. Shipments count that are
    not cancelled and were shipped by `as_of`. Orders count that were created by then, are not
    cancelled and ask for something, however young: no due date is looked at (for that, see
    `ship_otif`).

    Parameters
    ----------
    frames
        The `OrderFrames` of `fetch_orders`, `read_snapshot` or ``Snapshot.read()``, or any
        object with such ``orders``, ``line_items``, ``shipments`` and ``shipment_line_items``.
        Of the lines, those of ``orders`` are read, which may be some rows of all. The four may
        be Dask DataFrames, if partitions at one place are of the same orders, each of which is
        in one partition only: they are matched where they lie.
    by
        A column of ``orders``, or several, to group by. Nulls are a group of their own.
    as_of
        The moment to look at; naive means UTC. By default when the data were fetched, from
        ``orders.attrs``. Cancellations hold for any moment: nothing says when those were.

    Returns
    -------
    pandas.DataFrame
        One row per group, which is the index; one row in all without `by`. Counts are int64,
        rates float64 shares of 1, null where they are over nothing.

        - ``orders``, ``orders_filled``: orders, and those of which every line is filled;
          ``order_rate`` of them with its 95 % Wilson interval ``order_rate_low``,
          ``order_rate_high``.
        - ``lines``, ``lines_filled``: ordered lines, and those of which all units have shipped;
          ``line_rate``, ``line_rate_low``, ``line_rate_high``. The interval takes lines for
          independent: where those of an order ship together, it is too narrow.
        - ``units``, ``units_filled``, ``unit_rate``: units ordered, and those of them that have
          shipped; without an interval, as units of a line are anything but independent.
        - ``units_shipped``: all units of shipped lines, surplus and parts of kits included.
        - ``kit_units``: those of ``units_shipped`` that are parts of a kit.
        - ``unmatched_units``: units of ordered lines without a sku, and units shipped whose sku
          is null or on no line of their order; ``unmatched_share`` of units + units_shipped.
        - ``small`` (bool): whether ``orders`` is below 30, as of `compliance_rate`.
        - ``left_out``: orders that are in none of these counts. ``orders + left_out`` sums to
          the orders given.

        ``attrs["trackstar"]["fill_rates"]`` tells as_of, why orders were left out, and of the
        other orders, how many lines were (``lines_left_out``: a quantity of zero or less), and
        how many have no quantity (``lines_unknown``).

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong kind or value, missing columns, an order with more than one
        row, and quantities too large to be added up.

    Warns
    -----
    UserWarning
        If `as_of` is not given and the frames do not say when they were fetched: now is taken.

    Notes
    -----
    An ordered line without a sku or without a quantity stays in the rates, and is not filled:
    that it was is not known. ``unmatched_share`` and ``lines_unknown`` tell how much that is. An
    empty text is as good as none.

    Kits: a shipped line with a ``parent_product_id`` is a part. If an ordered line of the order
    has that ``product_id``, the part belongs to this kit, and not to a line of its own sku.
    What a kit is made of is not told; as many kits count as shipped as there are units of the
    part that has shipped least, among all parts in the order's shipments that are not
    cancelled, also those that have not shipped. That is exact for one unit of each part in a
    kit, and for what has shipped whole. A part of any other product goes by its sku.

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
    orders = check_columns(frames, lazy=True).orders
    require(orders, _NEEDED, source="an OrderFrames", name="frames.orders", lazy=True)
    groups = by_columns(orders, by)
    moment = moment_of(orders, as_of)
    now = np.datetime64(moment.tz_localize(None), "us")
    if are_partitioned(frames):
        columns = columns_of(frames, [*_NEEDED, *groups])
        tables = [getattr(frames, name)[names] for name, names in columns.items()]
        parts = from_each(tables, partial(_in_partition, [*columns], groups, now))
        rows, counts = stacked([keys for keys, _ in parts]), pd.concat([sums for _, sums in parts])
    else:
        rows, counts = _counts(cast("Tables", frames), now)
    sums = totals(rows, counts, groups)
    table = _rates(sums)
    words = [*_LEFT_OUT, "lines_void", "lines_unknown"]
    found = {word: int(sums[word].sum()) for word in words}
    told = {
        "as_of": moment.isoformat(),
        "left_out": {word: found[word] for word in _LEFT_OUT},
        "lines_left_out": found["lines_void"],
        "lines_unknown": found["lines_unknown"],
    }
    tell(table, rows, "fill_rates", told)
    return table


def _counts(tables: Tables, now: np.datetime64) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the orders, and what is counted of each: nothing, if it is left out, but why."""
    orders = tables.orders
    require_once(orders, "frames.orders")
    filled = fill(tables, np.full(len(orders), now))
    why = _left_out(orders, filled, now)
    counted = (why < 0).astype(np.int64)
    whole = (filled["lines"] == filled["lines_filled"]).astype(np.int64)
    counts = filled.assign(orders=1, orders_filled=whole).mul(counted, axis=0)
    reasons = {word: (why == code).astype(np.int64) for code, word in enumerate(_LEFT_OUT)}
    return orders, counts.assign(left_out=1 - counted, **reasons)


def _in_partition(
    names: Sequence[str], groups: Sequence[str], now: np.datetime64, *parts: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the groups of a partition's orders, and the sums of each."""
    tables = SimpleNamespace(**dict(zip(names, parts, strict=True)))
    orders, counts = _counts(tables, now)
    keys, sums = summed(orders, counts, groups)
    keys.attrs = dict(orders.attrs)
    return keys, sums


def _left_out(orders: pd.DataFrame, filled: pd.DataFrame, now: np.datetime64) -> Array:
    """Return each order's place in `_LEFT_OUT`, -1 for one that counts."""
    holds = [
        instants(orders, "created_date") > now,
        has_status(orders, "cancelled"),
        filled["lines"].to_numpy() == 0,
    ]
    return np.select(holds, range(len(_LEFT_OUT)), default=-1)


def _rates(sums: pd.DataFrame) -> pd.DataFrame:
    """Lay out the sums, each rate after what it is of."""
    columns: dict[str, pd.Series[float] | Array] = {}
    for name in ("order", "line"):
        whole, part = sums[f"{name}s"], sums[f"{name}s_filled"]
        rate, low, high = wilson(part.to_numpy(), whole.to_numpy())
        columns |= {f"{name}s": whole, f"{name}s_filled": part, f"{name}_rate": rate}
        columns |= {f"{name}_rate_low": low, f"{name}_rate_high": high}
    columns |= {name: sums[name] for name in ("units", "units_filled")}
    columns["unit_rate"] = _share(sums["units_filled"], sums["units"])
    columns |= {name: sums[name] for name in ("units_shipped", "kit_units", "unmatched_units")}
    both = sums["units"] + sums["units_shipped"]
    columns["unmatched_share"] = _share(sums["unmatched_units"], both)
    columns |= {"small": is_small(sums["orders"].to_numpy()), "left_out": sums["left_out"]}
    return pd.DataFrame(columns, index=sums.index)


def _share(part: pd.Series[float], whole: pd.Series[float]) -> pd.Series[float]:
    return part / whole.where(whole > 0)
