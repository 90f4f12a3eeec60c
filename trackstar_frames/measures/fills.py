"""How much of what was ordered has shipped: lines, whole orders, units."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import by_columns, has_status, moment_of, require
from trackstar_frames.measures._filling import Tables, check_tables, fill
from trackstar_frames.measures._provenance import tell
from trackstar_frames.measures._tally import is_small, totals, wilson
from trackstar_frames.measures._time import Array, instants

__all__ = ["fill_rates"]

# Why an order is in no rate; where several hold, the first is given.
_LEFT_OUT = ("created after as_of", "cancelled", "nothing ordered")


def fill_rates(
    frames: Tables,
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
        Of the lines, those of ``orders`` are read, which may be some rows of all.
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
    tables = check_tables(frames)
    orders = tables.orders
    require(orders, ["status", "created_date"], source="an OrderFrames", name="frames.orders")
    groups = by_columns(orders, by)
    moment = moment_of(orders, as_of)
    now = np.datetime64(moment.tz_localize(None), "us")
    filled = fill(tables, np.full(len(orders), now))
    why = _left_out(orders, filled, now)
    counted = (why < 0).astype(np.int64)
    whole = (filled["lines"] == filled["lines_filled"]).astype(np.int64)
    counts = filled.assign(orders=1, orders_filled=whole).mul(counted, axis=0)
    counts["left_out"] = 1 - counted
    table = _rates(totals(orders, counts, groups))
    told = {
        "as_of": moment.isoformat(),
        "left_out": {word: int((why == code).sum()) for code, word in enumerate(_LEFT_OUT)},
        "lines_left_out": int(counts["lines_void"].sum()),
        "lines_unknown": int(counts["lines_unknown"].sum()),
    }
    tell(table, orders, "fill_rates", told)
    return table


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
