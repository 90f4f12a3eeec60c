"""What is looked for in the data, as data: the lines of the report, in their order."""

from __future__ import annotations

from dataclasses import dataclass

from trackstar_frames.measures import _findings as found

__all__ = ["CHECKS", "READ", "Check"]

#: The columns of orders that are read.
READ = (
    *("id", "status", "raw_status", "order_number", "warehouse_id", "warehouse_customer_id"),
    *("required_ship_date", "first_shipped_date", "complete_shipped_date", *found.STAMPS),
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
    find: found.Find


_OF_ORDERS: tuple[tuple[str, found.Find, str], ...] = (
    (
        "no_created_date",
        found.lacking("created_date"),
        "Without a created_date: of unknown age, and in no cycle time.",
    ),
    (
        "after_as_of",
        found.after_as_of,
        "Created, changed or shipped after as_of: a clock is wrong, or a plan stands as a fact.",
    ),
    (
        "no_due_date",
        found.no_due_date,
        "Not cancelled, without a required_ship_date: on time or late cannot be told.",
    ),
    (
        "due_at_midnight",
        found.due_at_midnight,
        "Due at exactly midnight UTC: taken for the whole day in the warehouse's zone.",
    ),
    (
        "due_before_created",
        found.due_before_created,
        "Due before it was created: it could only be late.",
    ),
    (
        "shipped_before_created",
        found.shipped_before_created,
        "First shipped before it was created: one of the stamps is wrong.",
    ),
    (
        "fulfilled_without_shipment",
        found.fulfilled_without_shipment,
        "Fulfilled without any shipment: when it shipped cannot be told.",
    ),
    (
        "fulfilled_without_ship_date",
        found.fulfilled_without_ship_date,
        "Fulfilled, but all its shipments are cancelled or without a shipped_date.",
    ),
    (
        "fulfilled_short",
        found.fulfilled_short,
        "Fulfilled, but fewer units have shipped than were ordered.",
    ),
    (
        "status_other",
        found.status_other,
        "In a status of the warehouse's own, which Trackstar calls other.",
    ),
    (
        "status_unknown",
        found.status_unknown,
        "In a status that is new to this package: taken for open until it ships.",
    ),
    ("no_status", found.lacking("status"), "Without a status: taken for open until it ships."),
    (
        "no_warehouse",
        found.lacking("warehouse_id"),
        "Without a warehouse_id: a group of its own, in the zone for all others.",
    ),
    (
        "no_customer",
        found.lacking("warehouse_customer_id"),
        "Without a warehouse_customer_id: a group of its own, whosever goods they are.",
    ),
    (
        "order_number_twice",
        found.order_number_twice,
        "Has the order_number of another order of the same customer: one may be a copy.",
    ),
    ("no_lines", found.no_lines, "Without a line: nothing was ordered."),
    (
        "shipped_elsewhere",
        found.shipped_elsewhere,
        "A shipment's warehouse_id, which is the actual one, is not the order's expected one.",
    ),
    (
        "placeholder_date",
        found.date_in_extra(null=True),
        "A date before 1990, such as 0001-01-01, stands for none: null, its text in extra.",
    ),
    (
        "date_without_zone",
        found.date_in_extra(null=False),
        "A stamp tells no zone: read as UTC, it may be hours off; extra has its text.",
    ),
    (
        "value_not_kept",
        found.problem(unknown=False),
        "A value could not be kept as its column's type: problems has what came.",
    ),
    (
        "unknown_key",
        found.problem(unknown=True),
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
        Check(name, "line_items", meaning, found.row_with("lines", hit))
        for name, hit, meaning in _OF_LINES
    ),
    *(
        Check(name, "shipment_line_items", meaning, found.row_with("shipped_lines", hit, of))
        for name, hit, of, meaning in _OF_SHIPPED_LINES
    ),
)
