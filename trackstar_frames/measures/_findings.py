"""How each thing that may be wrong with the data is found, on whole columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import blank, column
from trackstar_frames.measures._evidence import Evidence
from trackstar_frames.measures._keys import whose
from trackstar_frames.measures._time import Array
from trackstar_frames.schema import LIFECYCLE

__all__ = [
    "STAMPS",
    "Find",
    "Finding",
    "after_as_of",
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
