"""How often orders are shipped on time and in full."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import pandas as pd

from trackstar_frames.dates import duration
from trackstar_frames.measures import _checks, _time
from trackstar_frames.measures._grouping import CodedRows, count_codes, rate_columns
from trackstar_frames.measures._time import Array, TzLike
from trackstar_frames.measures.completeness import Tables, check_tables, fill_by_order
from trackstar_frames.measures.policy import DueDay
from trackstar_frames.measures.ship_date_compliance import ship_date_compliance

# All but the last two are in n.
_STATES = ("both", "on_time_only", "in_full_only", "neither", "short", "pending", "not_evaluable")


def ship_otif(
    frames: Tables,
    by: str | Sequence[str] | None = None,
    freq: str | None = None,
    *,
    as_of: str | dt.date | np.datetime64 | None = None,
    due_day: DueDay = "auto",
    tz: TzLike = "UTC",
    grace: str | dt.timedelta | np.timedelta64 = "0s",
) -> pd.DataFrame:
    """Compute the share of due orders shipped on time and in full, with its n and interval.

    This is not OTIF at the customer's door: orders carry no delivery time, so that cannot be
    computed from them. It is what can: shipped in full by the required ship date.

    Parameters
    ----------
    frames
        The `OrderFrames` of `fetch_orders`, `read_snapshot` or ``Snapshot.read()``, or any
        object with such ``orders``, ``line_items``, ``shipments`` and ``shipment_line_items``.
    by
        A column of ``orders``, or several, to group by. Nulls are a group of their own.
    freq
        ``D``, ``W``, ``MS``, ``QS`` or ``YS``: also group by when orders were due, on the
        warehouses' own calendars, as `compliance_rate` does.
    as_of, due_day, tz, grace
        As for `ship_date_compliance`.

    Returns
    -------
    pandas.DataFrame
        One row per group and period, with the index of `compliance_rate`. Counts are int64;
        ``n + pending + not_evaluable`` sums to the orders given.

        - ``n``: orders due: on_time, late_shipped and late_open of `ship_date_compliance` with
          ``ship_event="complete"``, and short ones, among those due at as_of.
        - ``otif``: those that are on_time and in_full.
        - ``on_time``: those of which as many units as were ordered, of whatever goods and parts
          of kits, shipped by due_at + grace.
        - ``in_full``: those of which every line was filled by then, matched by sku as
          `fill_rates` does.
        - ``short``: those closed with less than was ordered, the last shipment in time.
        - ``pending``: orders that are not due yet, whether they have shipped or not.
        - ``not_evaluable``: as there; also orders without a line of one unit or more.
        - ``rate`` (float64): otif / n, a share of 1; null where n is 0.
        - ``rate_low``, ``rate_high`` (float64): the 95 % Wilson interval; null where n is 0.
        - ``small`` (bool): whether n is below 30, as in `compliance_rate`.

        ``attrs["trackstar"]["compliance"]`` holds the policy, with ``as_of``.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong type or value, missing columns, an order with more than one
        row, quantities too large to be added up, warehouses that `tz` does not know, and a
        `freq` so short that the table would not fit into memory.

    Warns
    -----
    UserWarning
        If `as_of` is not given and the frames do not say when they were fetched: orders are
        judged as of now.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> line = [{"sku": "A", "quantity": 2}]
    >>> due = {"required_ship_date": "2026-03-02T00:00:00Z", "line_items": line}
    >>> sent = {"shipped_date": "2026-03-02T17:00:00Z", "line_items": line}
    >>> orders = [{"id": "a1", "shipments": [sent], **due}, {"id": "a2", **due}]
    >>> table = ship_otif(OrderFrames.from_json(orders), as_of="2026-03-04")
    >>> table[["n", "otif", "on_time", "in_full", "rate"]]
       n  otif  on_time  in_full  rate
    0  2     1        1        1   0.5
    """
    tables = check_tables(frames)
    orders, zones = tables.orders, _time.parse_zones(tz)
    groups = _checks.by_columns(orders, by)
    span = None if freq is None else _time.period(freq)
    moment = _time.resolve_as_of(orders, as_of)
    judged = ship_date_compliance(orders, as_of=moment, due_day=due_day, tz=tz, grace=grace)
    due = _time.instants(judged, "due_at")
    limit = np.minimum(due + duration("grace", grace).to_timedelta64(), moment.to_datetime64())
    states = _states(judged, fill_by_order(tables, limit))
    stamps = None if span is None else _time.convert_by_zone(orders, due, zones, _time.local)
    counts, labels, *_ = count_codes(CodedRows(orders, states, list(_STATES), stamps), groups, span)
    of = dict(zip(_STATES, counts.T, strict=True))
    n = counts[:, : _STATES.index("pending")].sum(axis=1)
    columns = {
        "n": n,
        "otif": of["both"],
        "on_time": of["both"] + of["on_time_only"],
        "in_full": of["both"] + of["in_full_only"],
        **{state: of[state] for state in ("short", "pending", "not_evaluable")},
        **rate_columns(of["both"], n),
    }
    table = pd.DataFrame(columns, index=labels)
    _checks.copy_attrs(table, judged)
    return table


def _states(judged: pd.DataFrame, filled: pd.DataFrame) -> Array:
    """Return the index of each order's state in `_STATES`."""
    outcome = judged["outcome"].to_numpy()
    full = (filled["lines"] == filled["lines_filled"]).to_numpy()
    on_time = outcome == "on_time"
    conditions = {
        "not_evaluable": (filled["lines"] == 0).to_numpy(),
        "pending": ~judged["is_due"].to_numpy() & (outcome != "not_evaluable"),
        "short": outcome == "short",
        "both": on_time & full,
        "on_time_only": on_time,
        "in_full_only": full & (outcome != "not_evaluable"),
        "neither": outcome != "not_evaluable",
    }
    codes = [_STATES.index(state) for state in conditions]
    return np.select(list(conditions.values()), codes, default=_STATES.index("not_evaluable"))
