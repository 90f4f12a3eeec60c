"""What the checks of data quality look at, each piece made when it is first asked for."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import (
    blank,
    by_columns,
    column,
    moment_of,
    own_texts,
    require,
    texts,
)
from trackstar_frames.measures._grouping import (
    grid,
    grouped,
    key,
    require_alike,
    require_once,
    whose,
)
from trackstar_frames.measures._partitions import is_partitioned, tell
from trackstar_frames.measures._time import Array, TzLike, Zones, instants
from trackstar_frames.measures.completeness import Tables, check_tables, within_order
from trackstar_frames.measures.compliance import required_times
from trackstar_frames.schema import LIFECYCLE, TABLES

__all__ = [
    "CHECKS",
    "READ",
    "STAMPS",
    "Check",
    "Evidence",
    "Find",
    "Finding",
    "after_as_of",
    "data_quality",
    "date_in_extra",
    "due_at_midnight",
    "due_before_created",
    "fulfilled_short",
    "fulfilled_without_ship_date",
    "fulfilled_without_shipment",
    "lacking",
    "no_due_date",
    "no_lines",
    "order_number_twice",
    "problem",
    "row_with",
    "shipped_before_created",
    "shipped_elsewhere",
    "status_other",
    "status_unknown",
]


class Evidence:
    """Orders and, if `frames` is given, their lines and shipments.

    Rows of other orders are left out. ``order`` is a row's order, as its place among `orders`.
    """

    def __init__(
        self, orders: pd.DataFrame, frames: Tables | None, now: np.datetime64, zones: Zones
    ) -> None:
        self.orders, self.now = orders, now
        self._frames, self._zones = frames, zones
        self._stamps: dict[str, Array] = {}

    @cached_property
    def ids(self) -> pd.Index:
        """What names each order."""
        return key(self.orders, "id")

    @cached_property
    def everyone(self) -> Array:
        """Every order."""
        return np.ones(len(self.orders), dtype=bool)

    @cached_property
    def status(self) -> pd.Series[Any]:
        """The orders' statuses."""
        return column(self.orders, "status")

    def has_status(self, *statuses: str) -> Array:
        """Tell which orders have one of these statuses."""
        return self.status.isin(statuses).to_numpy(dtype=bool)

    def marked(self, places: Any) -> Array:
        """Tell which orders are at these places."""
        marks = np.zeros(len(self.orders), dtype=bool)
        marks[np.asarray(places, dtype=np.int64)] = True
        return marks

    def stamps(self, name: str) -> Array:
        """Read one of the orders' columns of moments."""
        if name not in self._stamps:
            self._stamps[name] = instants(self.orders, name)
        return self._stamps[name]

    def dated(self, name: str) -> Array:
        """Tell which orders have a moment in this column."""
        return ~np.isnat(self.stamps(name))

    @cached_property
    def due(self) -> Array:
        """When orders are due; the ends of days that are due dates."""
        return required_times(self.orders, "auto", self._zones)

    @cached_property
    def lines(self) -> pd.DataFrame | None:
        """The ordered lines."""
        if self._frames is None:
            return None
        items = self._frames.line_items
        product = texts(items, "product_id").array
        return self._with_order(items, **_goods(items), product=product)

    @cached_property
    def shipments(self) -> pd.DataFrame | None:
        """The shipments that are not cancelled, and whether they leave from elsewhere."""
        if self._frames is None:
            return None
        given = self._frames.shipments
        rows = self._with_order(
            given,
            place=column(given, "shipment_index").to_numpy(dtype=np.int64, na_value=-1),
            cancelled=column(given, "status").isin(["cancelled"]).to_numpy(dtype=bool),
            actual=column(given, "warehouse_id").array,
        )
        expected = column(self.orders, "warehouse_id").iloc[rows["order"].to_numpy()]
        told = ~blank(expected) & ~blank(rows["actual"])
        elsewhere = told & _differ(expected, rows["actual"])
        return rows.assign(told=told, elsewhere=elsewhere)[~rows["cancelled"]]

    @cached_property
    def shipped_lines(self) -> pd.DataFrame | None:
        """The lines of these shipments, and whether they were ordered, alone or as a kit."""
        if self._frames is None or self.lines is None or self.shipments is None:
            return None
        items = self._frames.shipment_line_items
        rows = self._with_order(
            items,
            **_goods(items),
            place=column(items, "shipment_index").to_numpy(dtype=np.int64, na_value=-1),
            product=texts(items, "parent_product_id").array,
        )
        rows = rows[_same(rows, self.shipments)].reset_index(drop=True)
        ordered = [_in_order(rows, self.lines, name) for name in ("sku", "product")]
        return rows.assign(not_ordered=~np.any(ordered, axis=0))

    @cached_property
    def problems(self) -> pd.DataFrame | None:
        """The problems of orders with an id, and whether each is but an unknown key."""
        rows = getattr(self._frames, "problems", None)
        if rows is None:
            return None
        message = column(rows, "message").astype(object)
        path = column(rows, "path").astype(object).str.replace(r"\[\d+\]", "[]", regex=True)
        unknown = message.str.startswith(_UNKNOWN).to_numpy(dtype=bool, na_value=False)
        return self._with_order(rows, path=path.array, unknown=unknown)

    @property
    def nameless(self) -> int | None:
        """How many orders had no id, and are in none of the tables; None where not told."""
        rows = getattr(self._frames, "problems", None)
        if rows is None:
            return None
        whole = column(rows, "path").isin([""])  # others stood beside the orders
        return int((rows["order_id"].isna() & whole).sum())

    @cached_property
    def dates_in_extra(self) -> pd.DataFrame | None:
        """The dates whose texts `extra` keeps: whether each is null, and its path."""
        told = self.orders.attrs.get("trackstar", {})
        if "extra" not in self.orders or told.get("pii", "keep") != "keep":
            return None
        everyone = pd.Series(np.arange(len(self.orders)))
        found = [_dates_in_extra("orders", self.orders, everyone)]
        for name in ("shipments", "package_line_items"):
            rows = getattr(self._frames, name, None)
            if rows is not None and "extra" in rows:
                order = pd.Series(self.ids.get_indexer(key(rows, "order_id")))
                found.append(_dates_in_extra(name, rows, order))
        dates = pd.concat(found, ignore_index=True)
        return dates[dates["order"] >= 0]

    def _with_order(self, rows: pd.DataFrame, **columns: Any) -> pd.DataFrame:
        order = self.ids.get_indexer(key(rows, "order_id"))
        found = pd.DataFrame({"order": order, **columns})
        return found[order >= 0].reset_index(drop=True)


_read_extra = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _dates_in_extra(table: str, rows: pd.DataFrame, order: pd.Series[int]) -> pd.DataFrame:
    """Look for dates of a table's rows in their `extra`: nothing else of a column is there."""
    extra = column(rows, "extra").astype(object).to_numpy()
    found: dict[str, list[Any]] = {"order": [], "path": [], "null": []}
    for each in TABLES[table].columns:
        if each.kind != "timestamp" or not each.path or each.name not in rows:
            continue
        spelt, (name,) = f'"{each.path[0]}"', each.path
        null = column(rows, each.name).isna().to_numpy()
        for place, text in enumerate(extra):
            if isinstance(text, str) and spelt in text and name in _read_extra(text):
                found["order"].append(order.iloc[place])
                found["path"].append(".".join(filter(None, (TABLES[table].path, name))))
                found["null"].append(null[place])
    return pd.DataFrame(found).astype({"order": np.int64, "path": object, "null": bool})


#: How `problems` begins to tell of a key that is kept in ``extra``.
_UNKNOWN = "unknown key"


def _goods(items: pd.DataFrame) -> dict[str, Any]:
    """Read the sku of each line, null if it is empty, and tell what the line lacks."""
    sku = texts(items, "sku")
    units = column(items, "quantity").to_numpy(dtype=np.float64, na_value=np.nan)
    return {
        "sku": sku.array,
        "has_sku": sku.notna().to_numpy(),
        "no_sku": sku.isna().to_numpy(),
        "no_quantity": np.isnan(units),
        "no_units": units <= 0,
    }


def _differ(one: pd.Series[Any], other: pd.Series[Any]) -> Array:
    """Tell where two columns differ, whatever their types; null is as null."""
    values = [each.astype(object).to_numpy() for each in (one, other)]
    mine, its = np.split(pd.factorize(np.concatenate(values))[0], 2)
    differ: Array = mine != its
    return differ


def _same(rows: pd.DataFrame, shipments: pd.DataFrame) -> Array:
    """Tell which rows are of one of these shipments."""
    width = max((int(each["place"].max()) for each in (rows, shipments) if len(each)), default=0)
    mine, held = (each["order"] * (width + 1) + each["place"] for each in (rows, shipments))
    return mine.isin(held).to_numpy()


def _in_order(rows: pd.DataFrame, lines: pd.DataFrame, name: str) -> Array:
    """Tell which rows share this with a line of their order."""
    names = pd.Index(lines[name].dropna().unique())
    wanted, held = (pd.Series(within_order(each, name, names)) for each in (rows, lines))
    return ((wanted >= 0) & wanted.isin(held)).to_numpy()


#: The stamps of what has happened, or should have.
STAMPS = (
    "created_date",
    "updated_date",
    "trackstar_created_date",
    "trackstar_updated_date",
    "last_shipped_date",
)


class Finding(NamedTuple):
    """The rows in which a thing was looked for, and those that are affected.

    Attributes
    ----------
    order
        Each row's order, as its place.
    hit
        Whether the row is affected.
    listed
        Words that tell more, and the order of each.
    """

    order: Array
    hit: Array
    listed: tuple[Array, Array] | None = None


Find = Callable[[Evidence], Finding | None]


def lacking(name: str) -> Find:
    """Look for orders that have nothing in a column."""
    return lambda seen: _among(seen.everyone, blank(column(seen.orders, name)))


def row_with(rows: str, hit: str, of: str | None = None) -> Find:
    """Look for rows below the orders, by a column of theirs; `of` names those to look in."""

    def find(seen: Evidence) -> Finding | None:
        table: pd.DataFrame | None = getattr(seen, rows)
        if table is None:
            return None
        table = table if of is None else table[table[of]]
        return Finding(table["order"].to_numpy(), table[hit].to_numpy(dtype=bool))

    return find


def problem(*, unknown: bool) -> Find:
    """Look for orders with unknown keys, or with any other problem."""

    def find(seen: Evidence) -> Finding | None:
        if seen.problems is None:
            return None
        met = seen.problems[seen.problems["unknown"] == unknown]
        order = met["order"].to_numpy()
        listed = (order, met["path"].to_numpy())
        return _among(seen.everyone, seen.marked(order))._replace(listed=listed)

    return find


def date_in_extra(*, null: bool) -> Find:
    """Look for orders with dates that stand for none, or else with dates of no zone."""

    def find(seen: Evidence) -> Finding | None:
        dates = seen.dates_in_extra
        if dates is None:
            return None
        met = dates[dates["null"] == null]
        order = met["order"].to_numpy()
        return _among(seen.everyone, seen.marked(order))._replace(
            listed=(order, met["path"].to_numpy())
        )

    return find


def after_as_of(seen: Evidence) -> Finding:
    """Look for stamps after as_of; the columns are listed."""
    late = [seen.stamps(name) > seen.now for name in STAMPS]
    order = np.concatenate([np.flatnonzero(each) for each in late])
    words = np.repeat(np.array(STAMPS, dtype=object), [each.sum() for each in late])
    return _among(seen.everyone, np.any(late, axis=0))._replace(listed=(order, words))


def no_due_date(seen: Evidence) -> Finding:
    """Look for orders, not cancelled, without a due date."""
    return _among(~seen.has_status("cancelled"), ~seen.dated("required_ship_date"))


def due_at_midnight(seen: Evidence) -> Finding:
    """Look for due dates, not of cancelled orders, that are bare days."""
    stamps = seen.stamps("required_ship_date")
    due = seen.dated("required_ship_date") & ~seen.has_status("cancelled")
    return _among(due, stamps == stamps.astype("M8[D]"))


def due_before_created(seen: Evidence) -> Finding:
    """Look for orders that were due before they were created; days are due at their end."""
    both = ~np.isnat(seen.due) & seen.dated("created_date")
    return _among(both, seen.due < seen.stamps("created_date"))


def shipped_before_created(seen: Evidence) -> Finding:
    """Look for orders that shipped before they were created."""
    both = seen.dated("first_shipped_date") & seen.dated("created_date")
    return _among(both, seen.stamps("first_shipped_date") < seen.stamps("created_date"))


def fulfilled_without_shipment(seen: Evidence) -> Finding:
    """Look for fulfilled orders without any shipment."""
    return _among(seen.has_status("fulfilled"), _without(seen, "shipment_count"))


def fulfilled_without_ship_date(seen: Evidence) -> Finding:
    """Look for fulfilled orders with shipments, none of which tells when it left."""
    undated = ~seen.dated("last_shipped_date") & ~_without(seen, "shipment_count")
    return _among(seen.has_status("fulfilled"), undated)


def fulfilled_short(seen: Evidence) -> Finding:
    """Look for fulfilled orders that have shipped, and never completely."""
    short = seen.dated("last_shipped_date") & ~seen.dated("complete_shipped_date")
    return _among(seen.has_status("fulfilled"), short)


def status_other(seen: Evidence) -> Finding:
    """Look for custom statuses; the raw ones are listed."""
    raw = column(seen.orders, "raw_status").astype(object).to_numpy()
    return _among(seen.everyone, seen.has_status("other"), raw)


def status_unknown(seen: Evidence) -> Finding:
    """Look for statuses that the API did not have; they are listed."""
    unknown = seen.status.notna().to_numpy() & ~seen.has_status(*LIFECYCLE)
    return _among(seen.everyone, unknown, seen.status.astype(object).to_numpy())


def order_number_twice(seen: Evidence) -> Finding:
    """Look for numbers that several orders of a customer have."""
    names = (*whose(seen.orders), "warehouse_customer_id", "order_number")
    numbers = pd.DataFrame({name: column(seen.orders, name).array for name in names})
    return _among(~blank(numbers["order_number"]), numbers.duplicated(keep=False).to_numpy())


def no_lines(seen: Evidence) -> Finding:
    """Look for orders of nothing."""
    return _among(seen.everyone, _without(seen, "line_item_count"))


def shipped_elsewhere(seen: Evidence) -> Finding | None:
    """Look for orders of which some shipment leaves from another warehouse than expected."""
    rows = seen.shipments
    if rows is None:
        return None
    told, elsewhere = (seen.marked(rows["order"][rows[name]]) for name in ("told", "elsewhere"))
    return _among(told, elsewhere)


def _among(of: Array, hit: Array, words: Array | None = None) -> Finding:
    """Look for a thing in some of the orders; the words, if any, are of all orders."""
    affected = of & hit
    listed = None if words is None else (np.flatnonzero(affected), words[affected])
    return Finding(np.flatnonzero(of), hit[of], listed)


def _without(seen: Evidence, count: str) -> Array:
    counts = column(seen.orders, count).to_numpy(dtype=np.float64, na_value=np.nan)
    none: Array = counts == 0
    return none


#: The columns of orders that are read.
READ = (
    *("id", "status", "raw_status", "order_number", "warehouse_id", "warehouse_customer_id"),
    *("required_ship_date", "first_shipped_date", "complete_shipped_date", *STAMPS),
    *("shipment_count", "line_item_count"),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report.

    Attributes
    ----------
    name
        What the line is called.
    table
        Whose rows are counted.
    meaning
        What is wrong with the rows that are affected, and what comes of it.
    find
        How they are found; it gives None where the tables for it are not at hand.
    """

    name: str
    table: str
    meaning: str
    find: Find


_OF_ORDERS: tuple[tuple[str, Find, str], ...] = (
    (
        "no_created_date",
        lacking("created_date"),
        "Without a created_date: of unknown age, and in no cycle time.",
    ),
    (
        "after_as_of",
        after_as_of,
        "Created, changed or shipped after as_of: a clock is wrong, or a plan stands as a fact.",
    ),
    (
        "no_due_date",
        no_due_date,
        "Not cancelled, without a required_ship_date: on time or late cannot be told.",
    ),
    (
        "due_at_midnight",
        due_at_midnight,
        "Due at exactly midnight UTC: taken for the whole day in the warehouse's zone.",
    ),
    (
        "due_before_created",
        due_before_created,
        "Due before it was created: it could only be late.",
    ),
    (
        "shipped_before_created",
        shipped_before_created,
        "First shipped before it was created: one of the stamps is wrong.",
    ),
    (
        "fulfilled_without_shipment",
        fulfilled_without_shipment,
        "Fulfilled without any shipment: when it shipped cannot be told.",
    ),
    (
        "fulfilled_without_ship_date",
        fulfilled_without_ship_date,
        "Fulfilled, but all its shipments are cancelled or without a shipped_date.",
    ),
    (
        "fulfilled_short",
        fulfilled_short,
        "Fulfilled, but fewer units have shipped than were ordered.",
    ),
    (
        "status_other",
        status_other,
        "In a status of the warehouse's own, which Trackstar calls other.",
    ),
    (
        "status_unknown",
        status_unknown,
        "In a status that is new to this package: taken for open until it ships.",
    ),
    ("no_status", lacking("status"), "Without a status: taken for open until it ships."),
    (
        "no_warehouse",
        lacking("warehouse_id"),
        "Without a warehouse_id: a group of its own, in the zone for all others.",
    ),
    (
        "no_customer",
        lacking("warehouse_customer_id"),
        "Without a warehouse_customer_id: a group of its own, whosever goods they are.",
    ),
    (
        "order_number_twice",
        order_number_twice,
        "Has the order_number of another order of the same customer: one may be a copy.",
    ),
    ("no_lines", no_lines, "Without a line: nothing was ordered."),
    (
        "shipped_elsewhere",
        shipped_elsewhere,
        "A shipment's warehouse_id, which is the actual one, is not the order's expected one.",
    ),
    (
        "placeholder_date",
        date_in_extra(null=True),
        "A date before 1990, such as 0001-01-01, stands for none: null, its text in extra.",
    ),
    (
        "date_without_zone",
        date_in_extra(null=False),
        "A stamp tells no zone: read as UTC, it may be hours off; extra has its text.",
    ),
    (
        "value_not_kept",
        problem(unknown=False),
        "A value could not be kept as its column's type: problems has what came.",
    ),
    (
        "unknown_key",
        problem(unknown=True),
        "A key is new to this package: extra keeps its value.",
    ),
)
_OF_LINES = (
    ("line_without_sku", "no_sku", "Without a sku: not matched with what has shipped."),
    ("line_without_quantity", "no_quantity", "Without a quantity: never filled."),
    ("line_of_no_units", "no_units", "Of zero units or fewer: in no fill rate."),
)
_OF_SHIPPED_LINES = (
    ("shipped_line_without_sku", "no_sku", None, "Shipped without a sku: fills no line by it."),
    ("shipped_line_without_quantity", "no_quantity", None, "Shipped without a quantity: no units."),
    (
        "shipped_line_not_ordered",
        "not_ordered",
        "has_sku",
        "Shipped, but no line of the order has its sku, or is the kit that it is a part of.",
    ),
)

#: All checks.
CHECKS = (
    *(Check(name, "orders", meaning, find) for name, find, meaning in _OF_ORDERS),
    *(
        Check(name, "line_items", meaning, row_with("lines", hit))
        for name, hit, meaning in _OF_LINES
    ),
    *(
        Check(name, "shipment_line_items", meaning, row_with("shipped_lines", hit, of))
        for name, hit, of, meaning in _OF_SHIPPED_LINES
    ),
)


_CHECK = "check"
_COLUMNS = 7
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
        object with such tables; or the frame of `fetch_orders_df` alone, of which nothing can
        be told that stands in lines, shipments or problems. Of lines, shipments and problems,
        those of ``orders`` are read, which may be some rows of all.
    by
        A column of ``orders``, or several, to group by. Nulls are a group of their own.
    as_of
        The moment after which a stamp has not happened yet; naive means UTC. By default when
        the data were fetched, from ``orders.attrs``.
    tz
        The warehouses' zone or zones, in which due dates end, as for `ship_date_compliance`.
    examples
        How many order ids to give at most for each row. None with 0.

    Returns
    -------
    pandas.DataFrame
        One row per group and check. The index holds the groups, then the ``check``: always all
        of them, in the order below.

        - ``n`` (Int64): rows affected; ``of``: rows in which it was looked for. Both are null
          where the tables to look in were not given.
        - ``share`` (float64): n / of, a share of 1; null over nothing.
        - ``table`` (str): whose rows these are: ``orders``, ``line_items`` or
          ``shipment_line_items``.
        - ``detail`` (str): what was met, and how often: columns, statuses, paths; the ten most
          frequent. Null where there is nothing to list.
        - ``examples`` (lists of str): ids of orders affected, the first ones of ``orders``; of
          several connections, ``connection/id``.
        - ``meaning`` (str): what is wrong, and what comes of it.

        ``attrs["trackstar"]["data_quality"]`` tells as_of, the zones, ``not_looked_for`` (the
        checks without their tables), and ``orders_without_id``: how many orders had no id, so
        that ``problems`` alone has them; null without that table.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong kind or value, missing columns, an order with more than one
        row, warehouses that `tz` does not know, and more groups than a table can hold.

    Warns
    -----
    UserWarning
        If `as_of` is not given and the frames do not say when they were fetched: now is taken.

    Notes
    -----
    Of all orders: ``no_created_date``, ``after_as_of`` (by any stamp but the due date),
    ``status_other`` (``raw_status`` in the detail), ``status_unknown``, ``no_status``,
    ``no_warehouse``, ``no_customer``, ``no_lines``, ``placeholder_date``, ``date_without_zone``,
    ``value_not_kept``, ``unknown_key``. Of those not cancelled: ``no_due_date`` and, of the
    others of them, ``due_at_midnight``. Of those with both stamps: ``due_before_created`` (a bare
    day is due at its end, in `tz`), ``shipped_before_created``. Of fulfilled ones, each in one at
    most: ``fulfilled_without_shipment``, ``fulfilled_without_ship_date``, ``fulfilled_short``. Of
    those with an order_number: ``order_number_twice``, within a customer. Of those of which
    both warehouses are known: ``shipped_elsewhere``.

    Of ordered lines: ``line_without_sku``, ``line_without_quantity``, ``line_of_no_units``. Of
    shipped lines: ``shipped_line_without_sku``, ``shipped_line_without_quantity`` and, of those
    with a sku, ``shipped_line_not_ordered``, where a part of a kit that was ordered is not
    amiss. Shipments that are cancelled are not looked at, but for
    ``fulfilled_without_shipment``, which needs that there are none at all.

    The dates are those of orders and, of whole frames, of shipments and packed lines. ``extra``
    tells of them, so that they are not looked for without it, or with ``pii`` other than
    ``"keep"``, which empties it. A day without a time of day lacks no zone.

    An empty text is as good as none. The paths of unknown keys are those of ``problems``: with
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
    orders, tables = _given(frames)
    names = _by(orders, by)
    most, zones = _examples(examples), Zones.read(tz)
    moment = moment_of(orders, as_of)
    seen = Evidence(orders, tables, moment.tz_localize(None).to_datetime64(), zones)
    findings = [check.find(seen) for check in CHECKS]

    groups, keys = grouped(orders, names)
    checks = [check.name for check in CHECKS]
    rows = pd.CategoricalIndex(checks, checks, ordered=True, name=_CHECK)
    labels = grid(keys, names, rows, _COLUMNS)
    table = _counts(findings, groups, len(keys)).set_axis(labels)
    ids = seen.ids.to_numpy(dtype=object)
    details = [_details(each, groups, len(keys)) for each in findings]
    first = [_first(each, groups, len(keys), ids, most) for each in findings]
    table["table"] = own_texts([check.table for check in CHECKS] * len(keys)).array
    table["detail"] = own_texts(_by_group(details)).array
    table["examples"] = pd.Series(_by_group(first), dtype=object).array
    table["meaning"] = own_texts([check.meaning for check in CHECKS] * len(keys)).array
    blind = [each is None for each in findings]
    told = {
        "as_of": moment.isoformat(),
        **zones.to_json(),
        "not_looked_for": list(itertools.compress(checks, blind)),
        "orders_without_id": seen.nameless,
    }
    tell(table, orders, "data_quality", told)
    return table


def _given(frames: Any) -> tuple[pd.DataFrame, Tables | None]:
    """Tell orders from whole frames, and check what is there."""
    if isinstance(frames, pd.DataFrame) or is_partitioned(frames):
        require(frames, READ, source="fetch_orders_df")
        orders = cast("pd.DataFrame", frames)
        require_once(orders, "orders")
        return orders, None
    tables = check_tables(frames)
    needed: dict[str, Sequence[str]] = {"orders": READ, "shipments": ["warehouse_id"]}
    if getattr(tables, "problems", None) is not None:
        needed["problems"] = ["order_id", "path", "message"]
    for name, columns in needed.items():
        require(getattr(tables, name), columns, source="an OrderFrames", name=f"frames.{name}")
    require_alike({f"frames.{name}": getattr(tables, name) for name in needed})
    return tables.orders, tables


def _by(orders: pd.DataFrame, by: str | Sequence[str] | None) -> list[str]:
    names = by_columns(orders, by)
    if _CHECK in names:
        raise ValueError(f"by={by!r}: the report has a {_CHECK!r} of its own; rename the column")
    return names


def _examples(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"examples={value!r} is not a whole number")
    if value < 0:
        raise ValueError(f"examples={value!r} is not allowed; use zero or more")
    return value


def _counts(findings: Sequence[Finding | None], groups: Array, rows: int) -> pd.DataFrame:
    """Count for each group and check; null where it was not looked for."""
    shape = (rows, len(findings))
    hits, tried = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for place, found in enumerate(findings):
        if found is not None:
            tried[:, place] = np.bincount(groups[found.order], minlength=rows)
            hits[:, place] = np.bincount(groups[found.order[found.hit]], minlength=rows)
    blind = np.tile([found is None for found in findings], rows)
    n, of = (pd.array(each.ravel(), dtype="Int64") for each in (hits, tried))
    n[blind], of[blind] = pd.NA, pd.NA
    share = hits.ravel() / np.where(tried.ravel() > 0, tried.ravel(), np.nan)
    return pd.DataFrame({"n": n, "of": of, "share": share})


def _first(
    found: Finding | None, groups: Array, rows: int, ids: Array, most: int
) -> list[list[str]]:
    """List the first orders affected of each group, each once."""
    lists: list[list[str]] = [[] for _ in range(rows)]
    if found is None:
        return lists
    order = pd.unique(found.order[found.hit])
    order = order[np.lexsort((order, groups[order]))]
    held = groups[order]
    rank = np.arange(len(order)) - np.searchsorted(held, held)
    for place in order[rank < most]:
        lists[groups[place]].append(str(ids[place]))
    return lists


def _details(found: Finding | None, groups: Array, rows: int) -> list[str | None]:
    """Spell what is listed for each group, the most frequent first."""
    texts: list[str | None] = [None] * rows
    if found is None or found.listed is None or not len(found.listed[0]):
        return texts
    order, words = found.listed
    table = pd.DataFrame({"group": groups[order], "word": _spelt(words)})
    sizes = table.value_counts().reset_index(name="n")
    sizes = sizes.sort_values(["group", "n", "word"], ascending=[True, False, True])
    for group, held in sizes.groupby("group"):
        named = [f"{word} ({n:,})" for word, n in zip(held["word"], held["n"], strict=True)]
        more = [f"{len(named) - _MOST_WORDS:,} more"] if len(named) > _MOST_WORDS else []
        texts[int(str(group))] = ", ".join([*named[:_MOST_WORDS], *more])
    return texts


def _spelt(words: Array) -> Array:
    """Put a word where there is none."""
    return np.where(blank(pd.Series(words, dtype=object)), "(none)", words)


def _by_group(by_check: Sequence[list[Any]]) -> list[Any]:
    """Put cells, given for each check and group, in the order of the rows."""
    return [*itertools.chain.from_iterable(zip(*by_check, strict=True))]
