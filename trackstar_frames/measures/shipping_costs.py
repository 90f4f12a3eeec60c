"""What shipping costs: per order, package, unit and kilogram."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _filters, _grouping, _policies, _time, completeness
from trackstar_frames.measures._labels import parse_labels, relabel
from trackstar_frames.measures._policies import PolicyLike
from trackstar_frames.measures._time import Array, Period
from trackstar_frames.measures.ship_date_compliance import judged_orders, moment_to_judge_at

_COLUMNS_READ = {
    "orders": ("id", "invoice_currency_code"),
    "shipments": ("order_id", "shipment_index", "status", "shipped_date"),
    "shipment_line_items": ("order_id", "shipment_index", "quantity"),
    "packages": (
        *("order_id", "shipment_index", "package_index", "shipping_cost"),
        *("measurements_weight", "measurements_weight_unit"),
    ),
    "package_line_items": ("order_id", "shipment_index", "package_index", "quantity"),
}
#: Kilograms in a unit of weight.
_KILOGRAMS = {"kg": 1.0, "lb": 0.45359237, "oz": 0.028349523125}
_CURRENCY = "currency"


def shipping_costs(
    frames: Any,
    *,
    by: str | Sequence[str] | None = None,
    freq: str | None = None,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    labels: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Sum what the packages shipped have cost, per order, package, unit and kilogram.

    Parameters
    ----------
    frames
        The `OrderFrames` of `fetch_orders`, `read_snapshot` or ``Snapshot.read()``, or any
        object with such ``orders``, ``shipments``, ``shipment_line_items``, ``packages`` and
        ``package_line_items``. Only what belongs to ``orders`` is read, which may be some rows
        of all. All may be Dask DataFrames, as for `fill_rates`.
    by
        A column of ``packages`` or of ``orders``, or several, to group by, such as
        ``carrier_name``, ``shipping_method_name`` or ``ship_to_address_state``. Where both have
        it, that of the package is taken: what was shipped, not what was asked for. Nulls are a
        group of their own.
    freq
        ``D``, ``W``, ``MS``, ``QS`` or ``YS``: also group by when packages were shipped, on the
        calendars of the policy's zones.
    policy, policy_by
        Only its zones are used. By default UTC.
    as_of
        The moment to look at: nothing shipped later counts. By default when the data were
        fetched, as for `ship_date_compliance`.
    labels
        Names to show for values of `by`, such as ``{carrier_id: name}``.

    Returns
    -------
    pandas.DataFrame
        One row per group, period and currency, as amounts of several currencies have no sum.
        The index holds the groups, then the ``period`` (its first moment, wall-clock time without
        a zone), then the ``currency`` (str): the order's ``invoice_currency_code``, null if it
        has none. Rows are only of what was shipped.

        - ``packages`` (int64): packages shipped; ``packages_with_cost`` (int64), those of them
          that state a cost; ``share_with_cost`` (float64), their share.
        - ``orders`` (int64): orders with a package that states a cost.
        - ``cost`` (float64): the sum of these costs.
        - ``per_order``, ``per_package`` (float64): cost / orders, cost / packages_with_cost.
        - ``per_unit`` (float64): the cost of packages of known contents / their units.
        - ``per_kg`` (float64): the cost of packages of known weight / their kilograms.
        - ``units`` (int64), ``kg`` (float64): of the packages that ``per_unit`` and ``per_kg``
          are of.

        All amounts are in the currency of the row, and null where they are of nothing.
        ``attrs["trackstar"]["compliance"]`` holds the zones and ``as_of``.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong type or value, missing columns, an order with more than one
        row, and labels that give two groups one name.

    Warns
    -----
    FilteredOrdersWarning
        If the frames were fetched with a limit, or with filters of status, ids, order numbers,
        update dates or, with `freq`, bounds of dates: they leave out orders that count here.
    UserWarning
        If `as_of` is not given and the frames do not say when they were fetched: now is taken.

    Notes
    -----
    Packages of cancelled shipments, and of those without a shipped_date, are left out, with
    whatever they cost. An order with packages of several groups is one order in each. Where some
    packages of an order state no cost, ``per_order`` is too low: look at ``share_with_cost``.

    The units of a package are those of its lines; of the only package of a shipment, if it has
    no lines, those of the shipment. A weight counts if it is more than zero, in kg, lb or oz.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> def package(carrier, cost, kg):
    ...     return {"carrier_name": carrier, "shipping_cost": cost,
    ...             "measurements": {"weight": kg, "weight_unit": "kg"}}
    >>> sent = {"shipped_date": "2026-03-02T09:00:00Z", "packages": [
    ...     package("UPS", 8.0, 2.0), package("UPS", 4.0, 2.0), package("DHL", None, 1.0)]}
    >>> order = {"id": "a", "invoice_currency_code": "USD", "shipments": [sent]}
    >>> table = shipping_costs(OrderFrames.from_json(order), by="carrier_name", as_of="2026-03-03")
    >>> table[["packages", "share_with_cost", "per_order", "per_kg"]]
    ... # doctest: +NORMALIZE_WHITESPACE
                           packages  share_with_cost  per_order  per_kg
    carrier_name currency
    DHL          USD              1              0.0        NaN     NaN
    UPS          USD              2              1.0       12.0     3.0
    """
    names = [] if by is None else _names(frames, by)
    shown = parse_labels(labels)
    tables = _checks.require_tables(frames, _with_groups(frames, names), lazy=True)
    span = None if freq is None else _time.period(freq)
    moment = moment_to_judge_at(tables["orders"], policy, policy_by, as_of)
    groups = [*names, *(["period"] if span else []), _CURRENCY]
    read = partial(_read, names=names, span=span, policy=policy, policy_by=policy_by, as_of=moment)
    keys, sums = _grouping.sum_tables(tables, read, groups)
    sums = _grouping.labelled(keys, sums, groups)
    counts = ["packages", "packages_with_cost", "orders", "units"]
    sums[counts] = sums[counts].astype(np.int64)
    table = sums[["packages", "packages_with_cost"]].copy()
    table["share_with_cost"] = _grouping.ratio(sums["packages_with_cost"], sums["packages"])
    table[["orders", "cost"]] = sums[["orders", "cost"]]
    table["per_order"] = _grouping.ratio(sums["cost"], sums["orders"])
    table["per_package"] = _grouping.ratio(sums["cost"], sums["packages_with_cost"])
    table["per_unit"] = _grouping.ratio(sums["unit_cost"], sums["units"])
    table["per_kg"] = _grouping.ratio(sums["kg_cost"], sums["kg"])
    table[["units", "kg"]] = sums[["units", "kg"]]
    _checks.copy_attrs(table, keys)
    bounds = _filters.OF_FLOW if span else _filters.OF_COHORT
    _filters.warn_if_biased(
        keys, "shipping_costs", _filters.EVERY, bounds=bounds, as_of=_policies.judged_as_of(keys)
    )
    return table.set_axis(relabel(table.index, names, shown))


def _names(frames: Any, by: str | Sequence[str]) -> list[str]:
    """Return the columns to group by; each is one of packages or of orders."""
    _checks.require_tables(frames, dict.fromkeys(("orders", "packages"), ()), lazy=True)
    columns = dict.fromkeys([*frames.packages.columns, *frames.orders.columns])
    empty = pd.DataFrame(columns=list(columns))
    return _checks.by_columns(empty, by, reserved=["period", _CURRENCY])


def _with_groups(frames: Any, names: Sequence[str]) -> dict[str, Sequence[str]]:
    """Return the columns to read, with those of packages to group by."""
    own = [name for name in names if name in frames.packages.columns]
    return {**_COLUMNS_READ, "packages": list(dict.fromkeys([*_COLUMNS_READ["packages"], *own]))}


def _read(
    tables: Any,
    *,
    names: Sequence[str],
    span: Period | None,
    policy: PolicyLike | None,
    policy_by: str | None,
    as_of: Any,
) -> _grouping.Rows:
    """Return each package's group, period and currency, and what it adds to the sums."""
    judged = judged_orders(tables.orders, policy, as_of, policy_by=policy_by)
    judgement = _policies.require_judgement(judged)
    shipped = completeness.Shipped(judged, tables.shipments, judgement.now)
    shipment = shipped.find(tables.packages)
    packages = tables.packages[shipment >= 0].reset_index(drop=True)
    shipment = shipment[shipment >= 0]
    order = shipped.order[shipment]
    rows = pd.DataFrame(index=packages.index)
    for name in names:
        source = packages[name] if name in packages.columns else judged[name].iloc[order]
        rows[name] = source.array
    if span:
        starts = _policies.local_times(judged, judgement, shipped.stamps[shipment], order)
        rows["period"] = span.floor(starts)
    rows[_CURRENCY] = _checks.text_column(judged, "invoice_currency_code").iloc[order].array
    cost = _checks.number_column(packages, "shipping_cost")
    units, kg = _units(packages, tables, shipped, shipment), _kilograms(packages)
    knows = {"cost": ~np.isnan(cost)}
    knows |= {"units": knows["cost"] & (units > 0), "kg": knows["cost"] & (kg > 0)}
    amounts = {
        "packages": np.ones(len(packages)),
        "packages_with_cost": knows["cost"],
        "orders": _first_of_each_order(rows, order, knows["cost"]),
        "cost": np.nan_to_num(cost),
        "units": np.where(knows["units"], units, 0),
        "unit_cost": np.where(knows["units"], cost, 0),
        "kg": np.where(knows["kg"], kg, 0),
        "kg_cost": np.where(knows["kg"], cost, 0),
    }
    rows.attrs = dict(judged.attrs)
    return rows, pd.DataFrame(amounts).astype(np.float64)


def _first_of_each_order(rows: pd.DataFrame, order: Array, has_cost: Array) -> Array:
    """Return which packages are the first with a cost of their order and group."""
    cells = rows.assign(order=order)[has_cost]
    first = np.zeros(len(rows), dtype=bool)
    first[np.flatnonzero(has_cost)] = ~cells.duplicated().to_numpy()
    return first


def _units(
    packages: pd.DataFrame, tables: Any, shipped: completeness.Shipped, shipment: Array
) -> Array:
    """Return the units in each package; NaN where nothing tells."""
    index = _checks.index_column(packages, "package_index")
    width = index.max(initial=0) + 1
    lines = tables.package_line_items
    inside, of_line = shipped.find(lines), _checks.index_column(lines, "package_index")
    keys = pd.Index(shipment * width + index)
    found = keys.get_indexer(pd.Index(inside * width + of_line))
    found = np.where((inside >= 0) & (of_line < width), found, -1)
    quantity = np.nan_to_num(_checks.float_column(lines, "quantity"))
    units = np.bincount(found[found >= 0], quantity[found >= 0], minlength=len(packages))
    has_lines = np.bincount(found[found >= 0], minlength=len(packages)) > 0
    of_shipment = shipped.count(
        shipped.find(tables.shipment_line_items),
        np.nan_to_num(_checks.float_column(tables.shipment_line_items, "quantity")),
    )
    is_only = (shipped.count(shipment) == 1)[shipment]
    return np.where(has_lines, units, np.where(is_only, of_shipment[shipment], np.nan))


def _kilograms(packages: pd.DataFrame) -> Array:
    """Return the weight of each package; NaN where it is not known."""
    weight = _checks.number_column(packages, "measurements_weight")
    unit = _checks.column(packages, "measurements_weight_unit").map(_KILOGRAMS)
    kilograms: Array = weight * unit.to_numpy(dtype=np.float64, na_value=np.nan)
    return kilograms
