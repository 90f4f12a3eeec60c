"""What is missing in orders, contradicts itself or is odd."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import (
    add_measure_info,
    by_columns,
    column,
    connection_columns,
    is_blank,
    order_keys,
    require,
    require_connections_alike,
    require_unique_orders,
    string_series,
    text_column,
)
from trackstar_frames.measures._grouping import group_numbers, row_labels
from trackstar_frames.measures._partitions import is_partitioned
from trackstar_frames.measures._time import Array, TzLike, Zones, instants, now_of, resolve_as_of
from trackstar_frames.measures.completeness import Tables, check_tables, within_order
from trackstar_frames.measures.ship_date_compliance import required_times
from trackstar_frames.schema import LIFECYCLE, TABLES

__all__ = ["data_quality"]

#: The checks of each table: what is wrong with the rows affected, and what follows from it.
CHECKS = MappingProxyType(
    {
        "orders": {
            "no_created_date": "Without a created_date: of unknown age, and in no cycle time.",
            "after_as_of": "Created, changed or shipped after as_of: a stamp is wrong.",
            "no_due_date": "Not cancelled, without a required_ship_date: cannot be judged.",
            "due_at_midnight": "Due at midnight UTC: read as a day in the warehouse's zone.",
            "due_before_created": "Due before it was created: it can only be late.",
            "shipped_before_created": "First shipped before it was created: a stamp is wrong.",
            "fulfilled_without_shipment": "Fulfilled without any shipment: ship date unknown.",
            "fulfilled_without_ship_date": "Fulfilled, but all its shipments are cancelled or "
            "without a shipped_date.",
            "fulfilled_short": "Fulfilled, but fewer units have shipped than were ordered.",
            "status_other": "In a custom status of the warehouse, which Trackstar calls other.",
            "status_unknown": "In a status unknown to this package: open until it ships.",
            "no_status": "Without a status: open until it ships.",
            "no_warehouse": "Without a warehouse_id: a group of its own, in the default zone.",
            "no_customer": "Without a warehouse_customer_id: a group of its own.",
            "order_number_twice": "Has the order_number of another order of the same customer: "
            "one may be a copy.",
            "no_lines": "Without a line: nothing was ordered.",
            "shipped_elsewhere": "A shipment left from another warehouse than the order expects.",
            "placeholder_date": "A date before 1990, such as 0001-01-01, is a placeholder: null, "
            "with its text in extra.",
            "date_without_zone": "A stamp without a zone: read as UTC, it may be hours off; its "
            "text is in extra.",
            "value_not_kept": "A value could not be converted to its column's type: see problems.",
            "unknown_key": "A key unknown to this package: its value is in extra.",
        },
        "line_items": {
            "line_without_sku": "Without a sku: not matched with what has shipped.",
            "line_without_quantity": "Without a quantity: never filled.",
            "line_of_no_units": "Of zero units or fewer: in no fill rate.",
        },
        "shipment_line_items": {
            "shipped_line_without_sku": "Shipped without a sku: fills no line by sku.",
            "shipped_line_without_quantity": "Shipped without a quantity: counts as no units.",
            "shipped_line_not_ordered": "Shipped, but no line of the order has its sku, or is the "
            "kit that it is a part of.",
        },
    }
)
_TABLE_OF = {check: table for table, checks in CHECKS.items() for check in checks}
_MEANINGS = [meaning for checks in CHECKS.values() for meaning in checks.values()]

#: When something happened to an order, or should have; the due date is not among these.
_STAMPS = (
    "created_date",
    "updated_date",
    "trackstar_created_date",
    "trackstar_updated_date",
    "last_shipped_date",
)
_COLUMNS_READ = (
    *("id", "status", "raw_status", "order_number", "warehouse_id", "warehouse_customer_id"),
    *("required_ship_date", "first_shipped_date", "complete_shipped_date", *_STAMPS),
    *("shipment_count", "line_item_count"),
)
#: How the message of a problem begins if a key is kept in ``extra``.
_UNKNOWN_KEY = "unknown key"
_COLUMN_COUNT = 7
_MOST_WORDS = 10


def data_quality(
    frames: Tables | pd.DataFrame,
    by: str | Sequence[str] | None = None,
    *,
    as_of: str | dt.date | np.datetime64 | None = None,
    tz: TzLike = "UTC",
    examples: int = 3,
) -> pd.DataFrame:
    """Report what is missing, contradicts itself or is odd, before any figure is trusted.

    Parameters
    ----------
    frames
        The `OrderFrames` of `fetch_orders`, `read_snapshot` or ``Snapshot.read()``, or any
        object with such tables; or the frame of `fetch_orders_df` alone, which says nothing of
        lines, shipments and problems. Of lines, shipments and problems, only those of ``orders``
        are read, which may be some rows of all.
    by
        A column of ``orders``, or several, to group by. Nulls are a group of their own.
    as_of
        The moment after which a stamp has not happened yet; naive means UTC. By default when
        the data were fetched, from ``orders.attrs``.
    tz
        The warehouses' time zone or zones, in which due dates end, as in `SlaPolicy`.
    examples
        How many order ids to list at most in each row; 0 for none.

    Returns
    -------
    pandas.DataFrame
        One row per group and check. The index holds the groups, then the ``check``: always all
        of them, in the order of the notes below.

        - ``n`` (Int64): rows affected; ``of`` (Int64): rows that were checked. Both are null
          where the tables to check were not given.
        - ``share`` (float64): n / of, a share of 1; null where nothing was checked.
        - ``table`` (str): the table that these rows are in: ``orders``, ``line_items`` or
          ``shipment_line_items``.
        - ``detail`` (str): columns, statuses or paths found, and how often; the ten most
          frequent. Null where there is nothing to list.
        - ``examples`` (lists of str): ids of orders affected, the first ones of ``orders``; of
          several connections, ``connection/id``.
        - ``meaning`` (str): what is wrong, and what follows from it.

        ``attrs["trackstar"]["data_quality"]`` holds as_of, the zones, ``not_looked_for`` (the
        checks without their tables), and ``orders_without_id``: the number of orders without an
        id, which only ``problems`` has; null without that table.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong type or value, missing columns, an order with more than one
        row, warehouses that `tz` does not know, and more groups than a table can hold.

    Warns
    -----
    UserWarning
        If `as_of` is not given and the frames do not say when they were fetched: now is taken.

    Notes
    -----
    Of all orders: ``no_created_date``, ``after_as_of`` (any stamp but the due date),
    ``status_other`` (the detail has the ``raw_status``), ``status_unknown``, ``no_status``,
    ``no_warehouse``, ``no_customer``, ``no_lines``, ``placeholder_date``, ``date_without_zone``,
    ``value_not_kept``, ``unknown_key``. Of those not cancelled: ``no_due_date``, and of the
    others ``due_at_midnight``. Of those with both stamps: ``due_before_created`` (a bare day is
    due at its end, in `tz`), ``shipped_before_created``. Of fulfilled ones, each in at most one:
    ``fulfilled_without_shipment``, ``fulfilled_without_ship_date``, ``fulfilled_short``. Of those
    with an order_number: ``order_number_twice``, within a customer. Of those with both
    warehouses known: ``shipped_elsewhere``.

    Of ordered lines: ``line_without_sku``, ``line_without_quantity``, ``line_of_no_units``. Of
    shipped lines: ``shipped_line_without_sku``, ``shipped_line_without_quantity`` and, of those
    with a sku, ``shipped_line_not_ordered``, which excludes parts of a kit that was ordered.
    Cancelled shipments are ignored, except that ``fulfilled_without_shipment`` means that there
    are none at all.

    Dates are those of orders and, of whole frames, of shipments and packed lines. They are read
    from ``extra``: without it, or with ``pii`` other than ``"keep"``, which empties it, they are
    not checked. A day without a time of day does not lack a zone.

    An empty text counts as null. The paths of unknown keys are those of ``problems``: with
    ``pii`` other than ``"keep"``, without the keys' names. A long fetch takes its as_of from its
    oldest page, so that orders that change meanwhile may be ``after_as_of``.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> orders = [
    ...     {"id": "a1", "status": "other", "raw_status": "ON_HOLD", "order_number": "7"},
    ...     {"id": "a2", "status": "fulfilled", "order_number": "7"},
    ... ]
    >>> report = data_quality(OrderFrames.from_json(orders), as_of="2026-03-04")
    >>> report.loc[["status_other", "order_number_twice"], ["n", "of", "examples"]]
                        n  of  examples
    check
    status_other        1   2      [a1]
    order_number_twice  2   2  [a1, a2]
    """
    orders, tables = _check_frames(frames)
    names = by_columns(orders, by, reserved=["check"])
    most, zones = _check_examples(examples), Zones.of(tz)
    moment = resolve_as_of(orders, as_of)
    data = _JoinedTables(orders, tables)
    found = {**_check_orders(data, now_of(moment), zones), **_check_lines(data)}
    findings = [found[check] for check in _TABLE_OF]

    groups, keys = group_numbers(orders, names)
    checks = pd.CategoricalIndex([*_TABLE_OF], [*_TABLE_OF], ordered=True, name="check")
    labels = row_labels(keys, names, checks, _COLUMN_COUNT)
    table = _counts(findings, groups, len(keys)).set_axis(labels)
    ids = data.ids.to_numpy(dtype=object)
    details = [_details(finding, groups, len(keys)) for finding in findings]
    first = [_first_ids(finding, groups, len(keys), ids, most) for finding in findings]
    table["table"] = string_series([*_TABLE_OF.values()] * len(keys)).array
    table["detail"] = string_series(_interleaved(details)).array
    table["examples"] = pd.Series(_interleaved(first), dtype=object).array
    table["meaning"] = string_series(_MEANINGS * len(keys)).array
    info = {
        "as_of": moment.isoformat(),
        **zones.to_json(),
        "not_looked_for": [check for check in _TABLE_OF if found[check] is None],
        "orders_without_id": data.orders_without_id,
    }
    add_measure_info(table, orders, "data_quality", info)
    return table


def _check_frames(frames: Any) -> tuple[pd.DataFrame, Tables | None]:
    """Return the orders and, of whole frames, all tables."""
    if isinstance(frames, pd.DataFrame) or is_partitioned(frames):
        require(frames, _COLUMNS_READ, source="fetch_orders_df")
        orders = cast("pd.DataFrame", frames)
        require_unique_orders(orders, "orders")
        return orders, None
    tables = check_tables(frames)
    needed: dict[str, Sequence[str]] = {"orders": _COLUMNS_READ, "shipments": ["warehouse_id"]}
    if getattr(tables, "problems", None) is not None:
        needed["problems"] = ["order_id", "path", "message"]
    for name, columns in needed.items():
        require(getattr(tables, name), columns, source="an OrderFrames", name=f"frames.{name}")
    require_connections_alike({f"frames.{name}": getattr(tables, name) for name in needed})
    return tables.orders, tables


def _check_examples(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"examples={value!r} is not a whole number")
    if value < 0:
        raise ValueError(f"examples={value!r} is not allowed; use zero or more")
    return value


class _Finding(NamedTuple):
    """The rows that a check looked at, and those that are affected.

    Attributes
    ----------
    order
        The position of each row's order.
    hit
        Whether the row is affected.
    listed
        Words for the detail: the position of each one's order, and the words.
    """

    order: Array
    hit: Array
    listed: tuple[Array, Array] | None = None


class _JoinedTables:
    """Orders and, if `tables` is given, the rows of other tables that belong to them.

    In those, ``order`` is the position of a row's order.
    """

    def __init__(self, orders: pd.DataFrame, tables: Tables | None) -> None:
        self.orders = orders
        self._tables = tables
        self.ids = order_keys(orders, "id")

    @cached_property
    def lines(self) -> pd.DataFrame | None:
        """The ordered lines."""
        if self._tables is None:
            return None
        items = self._tables.line_items
        return self._join(items, **_goods(items), product=text_column(items, "product_id").array)

    @cached_property
    def shipments(self) -> pd.DataFrame | None:
        """The shipments that are not cancelled, and whether they left from another warehouse."""
        if self._tables is None:
            return None
        given = self._tables.shipments
        rows = self._join(
            given,
            index=column(given, "shipment_index").to_numpy(dtype=np.int64, na_value=-1),
            cancelled=column(given, "status").isin(["cancelled"]).to_numpy(dtype=bool),
            actual=column(given, "warehouse_id").array,
        )
        expected = column(self.orders, "warehouse_id").iloc[rows["order"].to_numpy()]
        is_known = ~is_blank(expected) & ~is_blank(rows["actual"])
        elsewhere = is_known & _differ(expected, rows["actual"])
        return rows.assign(is_known=is_known, elsewhere=elsewhere)[~rows["cancelled"]]

    @cached_property
    def shipped_lines(self) -> pd.DataFrame | None:
        """The lines of these shipments, and whether they were ordered, singly or as a kit."""
        if self._tables is None or self.lines is None or self.shipments is None:
            return None
        items = self._tables.shipment_line_items
        rows = self._join(
            items,
            **_goods(items),
            index=column(items, "shipment_index").to_numpy(dtype=np.int64, na_value=-1),
            product=text_column(items, "parent_product_id").array,
        )
        rows = rows[_are_of(rows, self.shipments)].reset_index(drop=True)
        ordered = [_are_ordered(rows, self.lines, name) for name in ("sku", "product")]
        return rows.assign(not_ordered=~np.any(ordered, axis=0))

    @cached_property
    def problems(self) -> pd.DataFrame | None:
        """The problems of orders with an id, and whether each is only an unknown key."""
        rows = getattr(self._tables, "problems", None)
        if rows is None:
            return None
        message = column(rows, "message").astype(object)
        path = column(rows, "path").astype(object).str.replace(r"\[\d+\]", "[]", regex=True)
        unknown = message.str.startswith(_UNKNOWN_KEY).to_numpy(dtype=bool, na_value=False)
        return self._join(rows, path=path.array, unknown=unknown)

    @property
    def orders_without_id(self) -> int | None:
        """The number of orders without an id, which are in no other table."""
        rows = getattr(self._tables, "problems", None)
        if rows is None:
            return None
        is_order = column(rows, "path").isin([""])  # other paths are of what stood beside orders
        return int((rows["order_id"].isna() & is_order).sum())

    @cached_property
    def dates_in_extra(self) -> pd.DataFrame | None:
        """The dates whose texts `extra` keeps: the path, and whether the column is null."""
        info = self.orders.attrs.get("trackstar", {})
        if "extra" not in self.orders or info.get("pii", "keep") != "keep":
            return None
        found = [_dates_in_extra("orders", self.orders, np.arange(len(self.orders)))]
        for name in ("shipments", "package_line_items"):
            rows = getattr(self._tables, name, None)
            if rows is not None and "extra" in rows:
                order = self.ids.get_indexer(order_keys(rows, "order_id"))
                found.append(_dates_in_extra(name, rows, order))
        dates = pd.concat(found, ignore_index=True)
        return dates[dates["order"] >= 0]

    def _join(self, rows: pd.DataFrame, **columns: Any) -> pd.DataFrame:
        order = self.ids.get_indexer(order_keys(rows, "order_id"))
        joined = pd.DataFrame({"order": order, **columns})
        return joined[order >= 0].reset_index(drop=True)


def _goods(items: pd.DataFrame) -> dict[str, Any]:
    """Return the sku of each line, null if it is empty, and what the line lacks."""
    sku, units = text_column(items, "sku"), _numbers(items, "quantity")
    return {
        "sku": sku.array,
        "has_sku": sku.notna().to_numpy(),
        "no_sku": sku.isna().to_numpy(),
        "no_quantity": np.isnan(units),
        "no_units": units <= 0,
    }


def _numbers(frame: pd.DataFrame, name: str) -> Array:
    return column(frame, name).to_numpy(dtype=np.float64, na_value=np.nan)


def _differ(one: pd.Series[Any], other: pd.Series[Any]) -> Array:
    """Return where two columns differ, whatever their types; nulls are equal."""
    values = [each.astype(object).to_numpy() for each in (one, other)]
    left, right = np.split(pd.factorize(np.concatenate(values))[0], 2)
    differ: Array = left != right
    return differ


def _are_of(rows: pd.DataFrame, shipments: pd.DataFrame) -> Array:
    """Return which lines are of one of these shipments."""
    width = max((int(each["index"].max()) for each in (rows, shipments) if len(each)), default=0)
    lines, known = (each["order"] * (width + 1) + each["index"] for each in (rows, shipments))
    return lines.isin(known).to_numpy()


def _are_ordered(rows: pd.DataFrame, lines: pd.DataFrame, name: str) -> Array:
    """Return which rows have the value of a line of their order in a column."""
    values = pd.Index(lines[name].dropna().unique())
    wanted, known = (pd.Series(within_order(each, name, values)) for each in (rows, lines))
    return ((wanted >= 0) & wanted.isin(known)).to_numpy()


_decode_extra = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _dates_in_extra(table: str, rows: pd.DataFrame, order: Array) -> pd.DataFrame:
    """Return the dates of a table's rows that are in `extra`, where a column's text is kept."""
    extra = column(rows, "extra").astype(object).to_numpy()
    found: dict[str, list[Any]] = {"order": [], "path": [], "null": []}
    for each in TABLES[table].columns:
        if each.kind != "timestamp" or not each.path or each.name not in rows:
            continue
        quoted, (name,) = f'"{each.path[0]}"', each.path
        null = column(rows, each.name).isna().to_numpy()
        for row, text in enumerate(extra):
            if isinstance(text, str) and quoted in text and name in _decode_extra(text):
                found["order"].append(order[row])
                found["path"].append(".".join(filter(None, (TABLES[table].path, name))))
                found["null"].append(null[row])
    return pd.DataFrame(found).astype({"order": np.int64, "path": object, "null": bool})


def _check_orders(
    data: _JoinedTables, now: np.datetime64, zones: Zones
) -> dict[str, _Finding | None]:
    """Return what each check of orders finds; None where its tables were not given."""
    orders = data.orders
    everyone = np.ones(len(orders), dtype=bool)
    status = column(orders, "status")
    fulfilled, cancelled, other = (
        status.isin([word]).to_numpy(dtype=bool) for word in ("fulfilled", "cancelled", "other")
    )
    unknown = (status.notna() & ~status.isin(LIFECYCLE)).to_numpy(dtype=bool)
    created, required, first, last, complete = (
        instants(orders, f"{name}_date")
        for name in (
            "created",
            "required_ship",
            "first_shipped",
            "last_shipped",
            "complete_shipped",
        )
    )
    due = required_times(orders, "auto", zones)
    has_created, has_due = ~np.isnat(created), ~np.isnat(required)
    no_shipment = _numbers(orders, "shipment_count") == 0
    customer = (*connection_columns(orders), "warehouse_customer_id", "order_number")
    numbers = pd.DataFrame({name: column(orders, name).array for name in customer})
    is_midnight = required == required.astype("M8[D]")
    return {
        "no_created_date": _among(everyone, is_blank(column(orders, "created_date"))),
        "after_as_of": _after(orders, now),
        "no_due_date": _among(~cancelled, ~has_due),
        "due_at_midnight": _among(has_due & ~cancelled, is_midnight),
        "due_before_created": _among(~np.isnat(due) & has_created, due < created),
        "shipped_before_created": _among(~np.isnat(first) & has_created, first < created),
        "fulfilled_without_shipment": _among(fulfilled, no_shipment),
        "fulfilled_without_ship_date": _among(fulfilled, np.isnat(last) & ~no_shipment),
        "fulfilled_short": _among(fulfilled, ~np.isnat(last) & np.isnat(complete)),
        "status_other": _among(everyone, other, column(orders, "raw_status")),
        "status_unknown": _among(everyone, unknown, status),
        "no_status": _among(everyone, is_blank(status)),
        "no_warehouse": _among(everyone, is_blank(column(orders, "warehouse_id"))),
        "no_customer": _among(everyone, is_blank(column(orders, "warehouse_customer_id"))),
        "order_number_twice": _among(
            ~is_blank(numbers["order_number"]), numbers.duplicated(keep=False).to_numpy()
        ),
        "no_lines": _among(everyone, _numbers(orders, "line_item_count") == 0),
        "shipped_elsewhere": _shipped_elsewhere(data),
        "placeholder_date": _orders_with(data, data.dates_in_extra, "null", value=True),
        "date_without_zone": _orders_with(data, data.dates_in_extra, "null", value=False),
        "value_not_kept": _orders_with(data, data.problems, "unknown", value=False),
        "unknown_key": _orders_with(data, data.problems, "unknown", value=True),
    }


def _check_lines(data: _JoinedTables) -> dict[str, _Finding | None]:
    """Return what each check of lines finds; None where its tables were not given."""
    lines, shipped = data.lines, data.shipped_lines
    with_sku = None if shipped is None else shipped[shipped["has_sku"]]
    return {
        "line_without_sku": _rows_where(lines, "no_sku"),
        "line_without_quantity": _rows_where(lines, "no_quantity"),
        "line_of_no_units": _rows_where(lines, "no_units"),
        "shipped_line_without_sku": _rows_where(shipped, "no_sku"),
        "shipped_line_without_quantity": _rows_where(shipped, "no_quantity"),
        "shipped_line_not_ordered": _rows_where(with_sku, "not_ordered"),
    }


def _among(checked: Array, hit: Array, words: pd.Series[Any] | None = None) -> _Finding:
    """Find orders affected among those checked; the words, one for each order, are listed."""
    affected = np.flatnonzero(checked & hit)
    listed = None if words is None else (affected, words.astype(object).to_numpy()[affected])
    return _Finding(np.flatnonzero(checked), hit[checked], listed)


def _after(orders: pd.DataFrame, now: np.datetime64) -> _Finding:
    """Find orders with a stamp after as_of; the columns are listed."""
    late = [instants(orders, name) > now for name in _STAMPS]
    order = np.concatenate([np.flatnonzero(each) for each in late])
    words = np.repeat(np.array(_STAMPS, dtype=object), [each.sum() for each in late])
    return _Finding(np.arange(len(orders)), np.any(late, axis=0), (order, words))


def _shipped_elsewhere(data: _JoinedTables) -> _Finding | None:
    rows = data.shipments
    if rows is None:
        return None
    is_known, elsewhere = (
        _positions(rows["order"][rows[name]], len(data.orders))
        for name in ("is_known", "elsewhere")
    )
    return _among(is_known, elsewhere)


def _orders_with(
    data: _JoinedTables, rows: pd.DataFrame | None, name: str, *, value: bool
) -> _Finding | None:
    """Find orders with a row of another table that has this value; its paths are listed."""
    if rows is None:
        return None
    rows = rows[rows[name] == value]
    order, count = rows["order"].to_numpy(), len(data.orders)
    return _Finding(np.arange(count), _positions(order, count), (order, rows["path"].to_numpy()))


def _rows_where(rows: pd.DataFrame | None, name: str) -> _Finding | None:
    """Find the rows of another table for which a column is true."""
    if rows is None:
        return None
    return _Finding(rows["order"].to_numpy(), rows[name].to_numpy(dtype=bool))


def _positions(positions: Any, count: int) -> Array:
    """Return which of so many orders are at these positions."""
    mask = np.zeros(count, dtype=bool)
    mask[np.asarray(positions, dtype=np.int64)] = True
    return mask


def _counts(findings: Sequence[_Finding | None], groups: Array, count: int) -> pd.DataFrame:
    """Count for each group and check; null where it was not checked."""
    shape = (count, len(findings))
    hits, checked = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for number, finding in enumerate(findings):
        if finding is not None:
            of_hits = groups[finding.order[finding.hit]]
            checked[:, number] = np.bincount(groups[finding.order], minlength=count)
            hits[:, number] = np.bincount(of_hits, minlength=count)
    unknown = np.tile([finding is None for finding in findings], count)
    n, of = (pd.array(each.ravel(), dtype="Int64") for each in (hits, checked))
    n[unknown], of[unknown] = pd.NA, pd.NA
    share = hits.ravel() / np.where(checked.ravel() > 0, checked.ravel(), np.nan)
    return pd.DataFrame({"n": n, "of": of, "share": share})


def _details(finding: _Finding | None, groups: Array, count: int) -> list[str | None]:
    """Return what is listed for each group, the most frequent first."""
    details: list[str | None] = [None] * count
    if finding is None or finding.listed is None or not len(finding.listed[0]):
        return details
    order, words = finding.listed
    words = np.where(is_blank(pd.Series(words, dtype=object)), "(none)", words)
    sizes = pd.DataFrame({"group": groups[order], "word": words}).value_counts()
    table = sizes.reset_index(name="n")
    table = table.sort_values(["group", "n", "word"], ascending=[True, False, True])
    for group, own in table.groupby("group"):
        named = [f"{word} ({n:,})" for word, n in zip(own["word"], own["n"], strict=True)]
        more = [f"{len(named) - _MOST_WORDS:,} more"] if len(named) > _MOST_WORDS else []
        details[int(str(group))] = ", ".join([*named[:_MOST_WORDS], *more])
    return details


def _first_ids(
    finding: _Finding | None, groups: Array, count: int, ids: Array, most: int
) -> list[list[str]]:
    """Return the ids of the first orders affected in each group, each once."""
    lists: list[list[str]] = [[] for _ in range(count)]
    if finding is None:
        return lists
    order = pd.unique(finding.order[finding.hit])
    order = order[np.lexsort((order, groups[order]))]
    own = groups[order]
    rank = np.arange(len(order)) - np.searchsorted(own, own)
    for position in order[rank < most]:
        lists[groups[position]].append(str(ids[position]))
    return lists


def _interleaved(by_check: Sequence[list[Any]]) -> list[Any]:
    """Return cells, which are given for each check and group, in the order of the rows."""
    return [*itertools.chain.from_iterable(zip(*by_check, strict=True))]
