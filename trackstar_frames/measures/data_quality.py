"""What is missing in orders, contradicts itself or is odd."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.measures import _checks, _grouping, _partitions, _time, completeness
from trackstar_frames.measures._labels import parse_labels, relabel
from trackstar_frames.measures._time import Array, TzLike
from trackstar_frames.measures.completeness import Tables
from trackstar_frames.measures.ship_date_compliance import required_times
from trackstar_frames.schema import LIFECYCLE, OPEN_STATUSES, TABLES

#: The checks of each table: what is wrong with the rows affected, and what follows from it.
CHECKS = {
    "orders": {
        "no_created_date": "Without a created_date: of unknown age, and in no cycle time.",
        "after_as_of": "Created, changed or shipped after as_of: a stamp is wrong.",
        "no_due_date": "Not cancelled, without a required_ship_date: cannot be judged.",
        "due_at_midnight": "Due at midnight UTC: read as a day in the warehouse's zone.",
        "due_at_local_midnight": "Due at midnight where the warehouse is, as most are: "
        "probably a day, to be judged with due_day='end' and tz.",
        "due_before_created": "Due before it was created: it can only be late.",
        "shipped_before_created": "First shipped before it was created: a stamp is wrong.",
        "fulfilled_without_shipment": "Fulfilled without any shipment: ship date unknown.",
        "fulfilled_without_ship_date": "Fulfilled, but all its shipments are cancelled or "
        "without a shipped_date.",
        "fulfilled_short": "Fulfilled, but not all that was ordered has shipped.",
        "complete_but_open": "All that was ordered has shipped, but its status is still open.",
        "overshipped": "More has shipped of a sku than was ordered of it.",
        "overshipped_but_open": "More has shipped of a sku than was ordered, but its status is "
        "still open.",
        "cancelled_but_shipped": "Cancelled, but something has shipped.",
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
        "line_without_sku": "Without a sku: covered by the number of units that ship.",
        "line_without_quantity": "Without a whole quantity: unknown when its order is complete.",
        "line_of_no_units": "Of zero units or fewer: in no fill rate.",
    },
    "shipments": {
        "shipped_without_date": "Shipped, without a shipped_date: does not count as shipped.",
        "open_with_date": "Open, with a shipped_date: counts as shipped.",
        "contents_in_packages": "Without lines of its own: those of its packages count instead.",
    },
    "shipment_line_items": {
        "shipped_line_without_sku": "Without a sku: covers whatever else is missing.",
        "shipped_line_without_quantity": "Shipped without a quantity: counts as no units.",
        "shipped_line_not_ordered": "No line of the order has its sku, or is the kit that it is "
        "a part of: it is perhaps a substitute, but covers no other sku.",
    },
}
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
    *("shipment_count", "line_item_count", "units_ordered", "units_overshipped"),
)
#: How the message of a problem begins if a key is kept in ``extra``.
_UNKNOWN_KEY = "unknown key"
#: Where due dates may be days that begin at midnight there: of those with the same midnights, one.
_ZONES = (
    *("America/New_York", "America/Chicago", "America/Denver", "America/Phoenix"),
    *("America/Los_Angeles", "America/Anchorage", "Pacific/Honolulu"),
    *("Europe/London", "Europe/Berlin", "Europe/Athens"),
)
#: Statuses that say that something is still to ship.
_OPEN = [status for status in OPEN_STATUSES if status != "other"]
_COLUMN_COUNT = 7
_MOST_WORDS = 10


def data_quality(
    frames: Tables | pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    labels: Mapping[Any, str] | None = None,
    tz: TzLike = "UTC",
    examples: int = 3,
) -> pd.DataFrame:
    """Report what is missing, contradicts itself or is odd, before any figure is trusted.

    Parameters
    ----------
    frames
        The `OrderFrames` of `fetch_orders`, `read_snapshot` or ``Snapshot.read()``, or any
        object with such tables; or the frame of `fetch_orders_df`, without lines, shipments and
        problems. Of these, only those of ``orders`` are read, which may be some rows of all.
    by
        A column of ``orders``, or several, to group by. Nulls are a group of their own.
    as_of
        The moment after which a stamp has not happened yet; naive means UTC, and a bare day its
        end in `tz` (UTC where there are several zones). By default when the data were fetched,
        from ``orders.attrs``.
    labels
        Names to show in the index instead of values of `by`, such as ``{"wh_1": "Newark"}``.
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
        - ``table`` (str): the table that these rows are in: ``orders``, ``line_items``,
          ``shipments`` or ``shipment_line_items``.
        - ``detail`` (str): columns, statuses or paths found, and how often; the ten most
          frequent. Null where there is nothing to list.
        - ``examples`` (lists of str): ids of orders affected, the first ones of ``orders``; of
          several connections, ``connection/id``.
        - ``meaning`` (str): what is wrong, and what follows from it.

        ``attrs["trackstar"]["data_quality"]`` holds as_of, the zones, ``zone_data`` (the version
        of their data), ``not_looked_for`` (the checks without their tables), and
        ``orders_without_id``: the number of orders without an id, which only ``problems`` has;
        null without that table.

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
    others ``due_at_midnight`` and ``due_at_local_midnight``: where more than half of the due
    times of a warehouse, but for those at midnight UTC, are midnight in one zone of `tz`, the
    United States or Europe, which the detail names; of zones alike, one. Of those with both
    stamps: ``due_before_created`` (a bare day is due at its end, in `tz`),
    ``shipped_before_created``. Of fulfilled ones, each in at most one:
    ``fulfilled_without_shipment``, ``fulfilled_without_ship_date``, ``fulfilled_short``. Of
    those of which every quantity is known: ``overshipped``, and in a status from open to
    partially_fulfilled, backordered or exception, ``complete_but_open`` and
    ``overshipped_but_open``. Of cancelled ones: ``cancelled_but_shipped``. What ships after
    `as_of` has not shipped yet. Of those with an order_number: ``order_number_twice``, within a
    customer. Of those with both warehouses known: ``shipped_elsewhere``.

    Of shipments in the status shipped: ``shipped_without_date``; in the status open:
    ``open_with_date``; of those with any lines: ``contents_in_packages``. Of ordered lines:
    ``line_without_sku``, ``line_without_quantity``, ``line_of_no_units``. Of shipped lines (those
    of packages where a shipment has none of its own): ``shipped_line_without_sku``,
    ``shipped_line_without_quantity`` and, of those with a sku, ``shipped_line_not_ordered``, which
    excludes parts of a kit that was ordered.
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
    names, named = _checks.by_columns(orders, by, reserved=["check"]), parse_labels(labels)
    most, zones = _check_examples(examples), _time.parse_zones(tz)
    zone = zones if isinstance(zones, str) else "UTC"
    moment = _time.resolve_as_of(orders, as_of, zone=zone)
    ids, problems = _checks.order_keys(orders, "id"), getattr(tables, "problems", None)
    found = _check_orders(orders, _time.now_of(moment), zones)
    found |= _check_dates_in_extra(orders, tables, ids)
    if tables is not None:
        found |= _check_lines_and_shipments(tables, ids)
    orders_without_id = None
    if problems is not None:
        found |= _check_problems(problems, ids)
        # Problems without an order are also of keys next to the orders: those have a path.
        is_order = problems["order_id"].isna() & _checks.column(problems, "path").isin([""])
        orders_without_id = int(is_order.sum())

    groups, keys = _grouping.group_numbers(orders, names)
    checks = pd.CategoricalIndex([*_TABLE_OF], [*_TABLE_OF], ordered=True, name="check")
    index = _grouping.row_labels(keys, names, checks, _COLUMN_COUNT)
    columns = [
        _columns(found.get(check), groups, len(keys), ids.to_numpy(object), most)
        for check in _TABLE_OF
    ]
    # Of each column, the cells of a group's checks follow each other.
    n, of, detail, first = (
        [*itertools.chain.from_iterable(zip(*lists, strict=True))]
        for lists in zip(*columns, strict=True)
    )
    table = pd.DataFrame({"n": pd.array(n, "Int64"), "of": pd.array(of, "Int64")}, index=index)
    share = table["n"] / table["of"].replace(0, pd.NA)
    table["share"] = share.to_numpy(dtype=np.float64, na_value=np.nan)
    table["table"] = _checks.string_series([*_TABLE_OF.values()] * len(keys)).array
    table["detail"] = _checks.string_series(detail).array
    table["examples"] = pd.Series(first, dtype=object).array
    table["meaning"] = _checks.string_series(_MEANINGS * len(keys)).array
    info = {
        "as_of": moment.isoformat(),
        **_time.by_warehouse_to_json("tz", zones),
        "zone_data": _time.zone_data(),
        "not_looked_for": [check for check in _TABLE_OF if check not in found],
        "orders_without_id": orders_without_id,
    }
    _checks.add_measure_info(table, orders, "data_quality", info)
    return table.set_axis(relabel(table.index, names, named))


def _check_frames(frames: Any) -> tuple[pd.DataFrame, Tables | None]:
    """Return the orders and, of whole frames, all tables."""
    if isinstance(frames, pd.DataFrame) or _partitions.is_partitioned(frames):
        _checks.require(frames, _COLUMNS_READ, source="fetch_orders_df")
        orders = cast("pd.DataFrame", frames)
        _checks.require_unique_orders(orders, "orders")
        return orders, None
    completeness.check_tables(frames)
    tables = cast("Tables", frames)
    _checks.require_unique_orders(tables.orders, "frames.orders")
    needed = {"frames.orders": _COLUMNS_READ, "frames.shipments": ("warehouse_id",)}
    if getattr(tables, "problems", None) is not None:
        needed["frames.problems"] = ("order_id", "path", "message")
    given = {name: getattr(tables, name.removeprefix("frames.")) for name in needed}
    for name, columns in needed.items():
        _checks.require(given[name], columns, source="an OrderFrames", name=name)
    _checks.require_connections_alike(given)
    return tables.orders, tables


def _check_examples(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"examples={value!r} is not a whole number")
    if value < 0:
        raise ValueError(f"examples={value!r} is not allowed; use zero or more")
    return value


class _Finding(NamedTuple):
    """The rows that a check looked at, and those that are affected."""

    order: Array  # the position of each row's order
    hit: Array  # whether the row is affected
    listed: tuple[Array, Array] | None = None  # words for the detail, with their orders' positions


def _check_orders(orders: pd.DataFrame, now: np.datetime64, tz: TzLike) -> dict[str, _Finding]:
    """Return what each check finds that needs the columns of orders only."""
    everyone = np.ones(len(orders), dtype=bool)
    status = _checks.column(orders, "status")
    fulfilled, cancelled = (_checks.has_status(orders, word) for word in ("fulfilled", "cancelled"))
    other = _checks.has_status(orders, "other")
    unknown = (status.notna() & ~status.isin(LIFECYCLE)).to_numpy(dtype=bool)
    words = ("created", "required_ship", "first_shipped", "last_shipped", "complete_shipped")
    stamps = [_time.instants(orders, f"{word}_date") for word in words]
    created, required, first, last, complete = stamps
    due = required_times(orders, "auto", tz)
    is_open = status.isin(_OPEN).to_numpy(dtype=bool)
    is_known = _checks.column(orders, "units_ordered").notna().to_numpy(dtype=bool)
    has_surplus = _checks.float_column(orders, "units_overshipped") > 0
    has_surplus &= ~(first > now)
    has_created, has_due = ~np.isnat(created), ~np.isnat(required)
    no_shipment = _checks.float_column(orders, "shipment_count") == 0
    customer = (*_checks.connection_columns(orders), "warehouse_customer_id", "order_number")
    numbers = pd.DataFrame({name: _checks.column(orders, name).array for name in customer})
    is_twice = numbers.duplicated(keep=False).to_numpy()
    may_lack = ("created_date", "status", "warehouse_id", "warehouse_customer_id", "order_number")
    blank = {name: _checks.is_blank(_checks.column(orders, name)) for name in may_lack}
    is_midnight = required == required.astype("M8[D]")
    late = [_time.instants(orders, name) > now for name in _STAMPS]
    order = np.concatenate([np.flatnonzero(each) for each in late])
    names = np.repeat(np.array(_STAMPS, dtype=object), [each.sum() for each in late])
    return {
        "no_created_date": _among(everyone, blank["created_date"]),
        "after_as_of": _Finding(np.arange(len(orders)), np.any(late, axis=0), (order, names)),
        "no_due_date": _among(~cancelled, ~has_due),
        "due_at_midnight": _among(has_due & ~cancelled, is_midnight),
        "due_at_local_midnight": _at_local_midnight(orders, required, has_due & ~cancelled, tz),
        "due_before_created": _among(~np.isnat(due) & has_created, due < created),
        "shipped_before_created": _among(~np.isnat(first) & has_created, first < created),
        "fulfilled_without_shipment": _among(fulfilled, no_shipment),
        "fulfilled_without_ship_date": _among(fulfilled, np.isnat(last) & ~no_shipment),
        "fulfilled_short": _among(fulfilled, ~np.isnat(last) & np.isnat(complete) & is_known),
        "complete_but_open": _among(is_open & is_known, complete <= now),
        "overshipped": _among(is_known, has_surplus),
        "overshipped_but_open": _among(is_open & is_known, has_surplus),
        "cancelled_but_shipped": _among(cancelled, first <= now),
        "status_other": _among(everyone, other, _checks.column(orders, "raw_status")),
        "status_unknown": _among(everyone, unknown, status),
        "no_status": _among(everyone, blank["status"]),
        "no_warehouse": _among(everyone, blank["warehouse_id"]),
        "no_customer": _among(everyone, blank["warehouse_customer_id"]),
        "order_number_twice": _among(~blank["order_number"], is_twice),
        "no_lines": _among(everyone, _checks.float_column(orders, "line_item_count") == 0),
    }


def _at_local_midnight(
    orders: pd.DataFrame, required: Array, checked: Array, tz: TzLike
) -> _Finding:
    """Find the due times that are midnight in the zone in which most of their warehouse are."""
    warehouse = pd.factorize(_checks.column(orders, "warehouse_id"), use_na_sentinel=False)[0]
    rows = np.flatnonzero(checked & (required != required.astype("M8[D]")))
    code, stamps = pd.factorize(required[rows])
    given = tz.values() if isinstance(tz, Mapping) else [tz]
    zones = [*dict.fromkeys([*map(str, given), *_ZONES])]
    count = warehouse.max(initial=-1) + 1
    is_midnight = np.zeros((len(zones), len(rows)), dtype=bool)
    for each, zone in zip(is_midnight, zones, strict=True):
        walls = _time.local(np.asarray(stamps), zone)
        each[:] = (walls == walls.astype("M8[D]"))[code]
    of_zone = np.array(
        [np.bincount(warehouse[rows[each]], minlength=count) for each in is_midnight]
    )
    best = of_zone.argmax(axis=0)
    is_most = of_zone.max(axis=0, initial=0) * 2 > np.bincount(warehouse[rows], minlength=count)
    affected = rows[is_midnight[best[warehouse[rows]], np.arange(len(rows))]]
    affected = affected[is_most[warehouse[affected]]]
    hit = np.isin(np.arange(len(orders)), affected)
    return _among(checked, hit, pd.Series(np.array(zones, object)[best[warehouse]], dtype=object))


def _among(checked: Array, hit: Array, words: pd.Series[Any] | None = None) -> _Finding:
    """Find orders affected among those checked; the words, one for each order, are listed."""
    affected = np.flatnonzero(checked & hit)
    listed = None if words is None else (affected, words.astype(object).to_numpy()[affected])
    return _Finding(np.flatnonzero(checked), hit[checked], listed)


def _check_lines_and_shipments(tables: Tables, ids: pd.Index) -> dict[str, _Finding]:
    """Return what each check finds that needs the tables of lines and shipments."""
    ordered = tables.line_items
    product = _checks.text_column(ordered, "product_id").array
    lines = _rows_of(ids, ordered, **_goods(ordered), product=product)
    shipments = _read_shipments(tables, ids)
    contents, is_packed = _read_contents(tables, ids)
    shipped = contents[_are_in(contents, shipments)].reset_index(drop=True)
    is_ordered = [_are_ordered(shipped, lines, name) for name in ("sku", "product")]
    shipped = shipped.assign(not_ordered=~np.any(is_ordered, axis=0))
    is_known, elsewhere = (
        np.isin(np.arange(len(ids)), shipments["order"][shipments[name]])
        for name in ("is_known", "elsewhere")
    )
    sent = _rows_of(ids, tables.shipments, **_stamped(tables.shipments))
    hits = {
        "shipped_without_date": (sent[sent["shipped"]], "undated"),
        "open_with_date": (sent[sent["open"]], "dated"),
        "contents_in_packages": (is_packed, "packed"),
        "line_without_sku": (lines, "no_sku"),
        "line_without_quantity": (lines, "no_quantity"),
        "line_of_no_units": (lines, "no_units"),
        "shipped_line_without_sku": (shipped, "no_sku"),
        "shipped_line_without_quantity": (shipped, "no_quantity"),
        "shipped_line_not_ordered": (shipped[~shipped["no_sku"]], "not_ordered"),
    }
    found = {
        check: _Finding(rows["order"].to_numpy(), rows[name].to_numpy(dtype=bool))
        for check, (rows, name) in hits.items()
    }
    return {"shipped_elsewhere": _among(is_known, elsewhere), **found}


def _read_contents(tables: Tables, ids: pd.Index) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the shipped lines that count, and whether each shipment has them in packages only."""
    parts = []
    for name in ("shipment_line_items", "package_line_items"):
        lines = getattr(tables, name)
        kit = _checks.text_column(lines, "parent_product_id").array
        index = _checks.index_column(lines, "shipment_index")
        parts.append(_rows_of(ids, lines, **_goods(lines), product=kit, index=index, name=name))
    own, packed = parts
    packed = packed[~_are_in(packed, own)]
    contents = pd.concat([own, packed], ignore_index=True)
    shipments = contents.drop_duplicates(["order", "index"])
    return contents, shipments.assign(packed=shipments["name"] == "package_line_items")


def _goods(items: pd.DataFrame) -> dict[str, Any]:
    """Return the sku of each line, null if it is empty, and what the line lacks."""
    sku, units = _checks.text_column(items, "sku"), _checks.float_column(items, "quantity")
    return {
        "sku": sku.array,
        "no_sku": sku.isna().to_numpy(),
        "no_quantity": np.isnan(units),
        "no_units": units <= 0,
    }


def _stamped(shipments: pd.DataFrame) -> dict[str, Any]:
    """Return the statuses of shipments that contradict a date, or the lack of one."""
    undated = np.isnat(_time.instants(shipments, "shipped_date"))
    statuses = {word: _checks.has_status(shipments, word) for word in ("shipped", "open")}
    return {"undated": undated, "dated": ~undated, **statuses}


def _read_shipments(tables: Tables, ids: pd.Index) -> pd.DataFrame:
    """Return the shipments that are not cancelled, and whether they left from elsewhere."""
    given = tables.shipments
    rows = _rows_of(
        ids,
        given,
        index=_checks.index_column(given, "shipment_index"),
        cancelled=_checks.has_status(given, "cancelled"),
        actual=_checks.column(given, "warehouse_id").array,
    )
    expected = _checks.column(tables.orders, "warehouse_id").iloc[rows["order"].to_numpy()]
    is_known = ~_checks.is_blank(expected) & ~_checks.is_blank(rows["actual"])
    # Their types may differ.
    both = [each.astype(object).to_numpy() for each in (expected, rows["actual"])]
    left, right = np.split(pd.factorize(np.concatenate(both))[0], 2)
    rows = rows.assign(is_known=is_known, elsewhere=is_known & (left != right))
    return rows[~rows["cancelled"]]


def _are_ordered(rows: pd.DataFrame, lines: pd.DataFrame, name: str) -> Array:
    """Return which rows have the value of a line of their order in a column."""
    values = pd.Index(lines[name].dropna().unique())
    wanted, known = (_within_order(each, name, values) for each in (rows, lines))
    return (wanted >= 0) & pd.Series(wanted).isin(known).to_numpy()


def _rows_of(ids: pd.Index, frame: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """Return columns of a table's rows that belong to orders, and the position of each's order."""
    order = completeness.find_orders(frame, ids)
    rows = pd.DataFrame({"order": order, **columns})
    return rows[order >= 0].reset_index(drop=True)


def _are_in(lines: pd.DataFrame, shipments: pd.DataFrame) -> Array:
    """Return which shipped lines are in one of these shipments."""
    width = 2 + max((each["index"].max() for each in (lines, shipments) if len(each)), default=0)
    keys, known = (each["order"] * width + each["index"] for each in (lines, shipments))
    return keys.isin(known).to_numpy()


def _within_order(rows: pd.DataFrame, name: str, values: pd.Index) -> Array:
    """Return a number for each row's order and its value among `values`; -1 for no such value."""
    codes = values.get_indexer(pd.Index(rows[name]))
    return np.where(codes >= 0, rows["order"] * len(values) + codes, -1)


def _check_dates_in_extra(
    orders: pd.DataFrame, tables: Tables | None, ids: pd.Index
) -> dict[str, _Finding]:
    """Return what each check of the texts of dates in `extra` finds; nothing without it."""
    info = orders.attrs.get("trackstar", {})
    if "extra" not in orders or info.get("pii", "keep") != "keep":
        return {}
    found = [*_dates_in_extra("orders", orders, np.arange(len(orders)))]
    for name in ("shipments", "package_line_items"):
        rows = getattr(tables, name, None)
        if rows is not None and "extra" in rows:
            order = completeness.find_orders(rows, ids)
            found += _dates_in_extra(name, rows, order)
    dates = pd.DataFrame(found, columns=["order", "path", "null"])
    dates = dates.astype({"order": np.int64, "null": bool})
    dates = dates[dates["order"] >= 0]
    return {
        "placeholder_date": _orders_with(dates[dates["null"]], len(ids)),
        "date_without_zone": _orders_with(dates[~dates["null"]], len(ids)),
    }


_decode_extra = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _dates_in_extra(
    table: str, rows: pd.DataFrame, order: Array
) -> Iterator[tuple[int, str, bool]]:
    """Yield the order and path of each date in `extra`, and whether its column is null."""
    extra = _checks.text_array(rows, "extra")
    for each in TABLES[table].columns:
        if each.kind != "timestamp" or not each.path or each.name not in rows:
            continue
        quoted, (name,) = f'"{each.path[0]}"', each.path
        path = ".".join(filter(None, (TABLES[table].path, name)))
        null = _checks.column(rows, each.name).isna().to_numpy()
        has_name = pc.match_substring(extra, quoted).fill_null(False)
        found = np.flatnonzero(has_name.to_numpy(zero_copy_only=False))
        for row, text in zip(found, extra.take(pa.array(found)).to_pylist(), strict=True):
            if name in _decode_extra(text):
                yield order[row], path, null[row]


def _check_problems(problems: pd.DataFrame, ids: pd.Index) -> dict[str, _Finding]:
    """Return what each check finds that needs the problems of orders with an id."""
    message = _checks.column(problems, "message").astype(object)
    path = _checks.column(problems, "path").astype(object).str.replace(r"\[\d+\]", "[]", regex=True)
    unknown = message.str.startswith(_UNKNOWN_KEY).to_numpy(dtype=bool, na_value=False)
    rows = _rows_of(ids, problems, path=path.array, unknown=unknown)
    return {
        "value_not_kept": _orders_with(rows[~rows["unknown"]], len(ids)),
        "unknown_key": _orders_with(rows[rows["unknown"]], len(ids)),
    }


def _orders_with(rows: pd.DataFrame, count: int) -> _Finding:
    """Find orders with a row of another table; its paths are listed."""
    everyone, order = np.arange(count), rows["order"].to_numpy()
    return _Finding(everyone, np.isin(everyone, order), (order, rows["path"].to_numpy()))


def _columns(
    finding: _Finding | None, groups: Array, count: int, ids: Array, most: int
) -> tuple[list[int | None], list[int | None], list[str | None], list[list[str]]]:
    """Return n, of, the detail and the examples of each group; without a finding, nulls."""
    if finding is None:
        return [None] * count, [None] * count, [None] * count, [[] for _ in range(count)]
    n, of = (
        np.bincount(groups[order], minlength=count).tolist()
        for order in (finding.order[finding.hit], finding.order)
    )
    return n, of, _details(finding, groups, count), _first_ids(finding, groups, count, ids, most)


def _details(finding: _Finding, groups: Array, count: int) -> list[str | None]:
    """Return what is listed for each group, the most frequent first."""
    details: list[str | None] = [None] * count
    if finding.listed is None or not len(finding.listed[0]):
        return details
    order, words = finding.listed
    words = np.where(_checks.is_blank(pd.Series(words, dtype=object)), "(none)", words)
    sizes = pd.DataFrame({"group": groups[order], "word": words}).value_counts()
    table = sizes.reset_index(name="n")
    table = table.sort_values(["group", "n", "word"], ascending=[True, False, True])
    for group, own in table.groupby("group"):
        named = [f"{word} ({n:,})" for word, n in zip(own["word"], own["n"], strict=True)]
        more = [f"{len(named) - _MOST_WORDS:,} more"] if len(named) > _MOST_WORDS else []
        details[int(str(group))] = ", ".join([*named[:_MOST_WORDS], *more])
    return details


def _first_ids(
    finding: _Finding, groups: Array, count: int, ids: Array, most: int
) -> list[list[str]]:
    """Return the ids of the first orders affected in each group, each once."""
    lists: list[list[str]] = [[] for _ in range(count)]
    order = pd.Series(np.unique(finding.order[finding.hit]))
    for position in order.groupby(groups[order]).head(most):
        lists[groups[position]].append(str(ids[position]))
    return lists
