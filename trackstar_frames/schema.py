"""The tables and their columns, as data.

Arrow schemas, pandas types, the flattening and the data dictionary all derive
from `TABLES`; to add a column, add a line here, above `extra`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CONNECTION",
    "LIFECYCLE",
    "SCHEMA_VERSION",
    "TABLES",
    "Column",
    "Table",
    "data_dictionary",
    "table_for",
]

#: Written into every Parquet footer; raised when columns, their meaning or the files change.
SCHEMA_VERSION = 3

#: The statuses of an order: seven on the path, then four off it.
LIFECYCLE = (
    "open",
    "confirmed",
    "processing",
    "picked",
    "packed",
    "partially_fulfilled",
    "fulfilled",
    "backordered",
    "exception",
    "cancelled",
    "other",
)

ARROW_TYPES: MappingProxyType[str, pa.DataType] = MappingProxyType(
    {
        "string": pa.string(),
        "status": pa.string(),
        "json": pa.string(),
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "strings": pa.list_(pa.string()),
    }
)

PANDAS_TYPES: MappingProxyType[str, str] = MappingProxyType(
    {
        "string": "str",
        "status": "category",
        "json": "str",
        "int": "Int64",
        "float": "float64",
        "bool": "boolean",
        "timestamp": "datetime64[us, UTC]",
        "strings": "object",
    }
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of one table.

    Attributes
    ----------
    name : str
        What pandas and Parquet call it.
    kind : str
        A key of `ARROW_TYPES`; ``json`` is free-form JSON kept as text.
    meaning : str
        One sentence for the data dictionary.
    path : tuple of str
        Where the value stands in the JSON object of one row; empty where it is not read
        from there (keys, counts, `extra`).
    personal : bool
        Whether it tells who or where a person is.
    deprecated : bool
        Whether the API keeps it for older readers only.
    free_form : bool
        Whether anything may stand in it, personal data included: tags, URLs, free-form and
        unknown JSON.
    """

    name: str
    kind: str
    meaning: str
    path: tuple[str, ...] = ()
    personal: bool = False
    deprecated: bool = False
    free_form: bool = False

    @property
    def field(self) -> pa.Field:
        """The column as Arrow declares it."""
        return pa.field(self.name, ARROW_TYPES[self.kind])


@dataclass(frozen=True, slots=True)
class Table:
    """One table: one kind of row.

    Attributes
    ----------
    name : str
        The attribute of `OrderFrames`, and the folder of a snapshot.
    grain : str
        What one row is.
    key : tuple of str
        The columns that together are unique.
    path : str
        Where the rows stand in an order.
    columns : tuple of Column
        In their order.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    path: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        """The table as Arrow declares it."""
        return pa.schema([column.field for column in self.columns])

    @property
    def labelled(self) -> Table:
        """The same table of several connections: ids are unique within each of them only."""
        key = (CONNECTION.name, *self.key) if self.key else ()
        return replace(self, key=key, columns=(CONNECTION, *self.columns))


#: The first column of every table of several connections.
CONNECTION = Column("connection", "string", "The label of the connection that the row is of.")


def table_for(name: str, columns: Iterable[str]) -> Table:
    """Give the schema's word on a table that has these columns: of one connection, or several."""
    table = TABLES[name]
    return table.labelled if CONNECTION.name in columns else table


def data_dictionary() -> pd.DataFrame:
    """Describe every column of every table.

    Returns
    -------
    pandas.DataFrame
        One row per column, keyed by (table, column): its pandas type, where it stands in
        an order's JSON (null for what this package computes), what it means, whether it
        is personal data, whether the API has deprecated it, and whether it is free-form,
        so that anything may stand in it. ``pii`` hides what is personal or free-form.

    Examples
    --------
    >>> words = data_dictionary().set_index(["table", "column"])
    >>> words.loc[("orders", "ship_to_address_city"), "path"]
    'ship_to_address.city'
    """
    import pandas as pd  # noqa: PLC0415  (a schema alone does not need pandas)

    return pd.DataFrame(
        [
            {
                "table": table.name,
                "column": column.name,
                "type": PANDAS_TYPES[column.kind],
                "path": _full_path(table, column),
                "description": column.meaning,
                "personal": column.personal,
                "deprecated": column.deprecated,
                "free_form": column.free_form,
            }
            for table in TABLES.values()
            for column in table.columns
        ]
    )


def _full_path(table: Table, column: Column) -> str | None:
    return ".".join(filter(None, (table.path, *column.path))) if column.path else None


def _column(path: str, kind: str, meaning: str, *marks: str) -> Column:
    """Name a column after its JSON path; the marks are those of `Column` that are true."""
    parts = tuple(path.split("."))
    return Column("_".join(parts), kind, meaning, parts, **dict.fromkeys(marks, True))


def _ship_to(whose: str) -> tuple[Column, ...]:
    return (
        _column("ship_to_address.full_name", "string", f"Who receives {whose}.", "personal"),
        _column("ship_to_address.company", "string", "The receiver's company.", "personal"),
        *_places("ship_to_address", "receiver", "personal"),
        _column("ship_to_address.phone_number", "string", "The receiver's phone.", "personal"),
        _column("ship_to_address.email_address", "string", "The receiver's email.", "personal"),
    )


def _places(prefix: str, whose: str, *marks: str) -> tuple[Column, ...]:
    return (
        _column(f"{prefix}.address1", "string", f"The {whose}'s street, first line.", *marks),
        _column(f"{prefix}.address2", "string", f"The {whose}'s street, second line.", *marks),
        _column(f"{prefix}.address3", "string", f"The {whose}'s street, third line.", *marks),
        _column(f"{prefix}.city", "string", f"The {whose}'s city.", *marks),
        # A state or a country holds too many people to tell one of them.
        _column(f"{prefix}.state", "string", f"The {whose}'s state or region."),
        _column(f"{prefix}.postal_code", "string", f"The {whose}'s postal code.", *marks),
        _column(f"{prefix}.country", "string", f"The {whose}'s country."),
    )


def _method(*, old: tuple[str, ...]) -> tuple[Column, ...]:
    return (
        *(_column(name, "string", "The older, plain name.", "deprecated") for name in old),
        _column("shipping_method_id", "string", "The shipping method's id in the WMS."),
        _column("shipping_method_name", "string", "The shipping method's name."),
        _column("carrier_id", "string", "The carrier's id in the WMS."),
        _column("carrier_name", "string", "The carrier's name."),
        _column("scac", "string", "The carrier's Standard Carrier Alpha Code."),
    )


_ORDER_ID = Column("order_id", "string", "The order: `orders.id`.")
_SHIPMENT_INDEX = Column("shipment_index", "int", "The shipment's place in its order, from 0.")
_PACKAGE_INDEX = Column("package_index", "int", "The package's place in its shipment, from 0.")
_LINE_INDEX = Column("line_index", "int", "The line's place in its list, from 0.")
_EXTRA = Column(
    "extra",
    "json",
    "Keys that this schema does not know, and the texts of dates that stand for none or tell no "
    "zone, as one JSON object.",
    free_form=True,
)

_COMPUTED = (
    Column("line_item_count", "int", "How many lines were ordered."),
    Column("units_ordered", "int", "Units over all ordered lines; 0 without lines."),
    Column("shipment_count", "int", "How many shipments there are, cancelled ones included."),
    Column("package_count", "int", "How many packages there are, over all shipments."),
    Column(
        "units_shipped",
        "int",
        "Units in shipments that are not cancelled and have a shipped_date.",
    ),
    Column("first_shipped_date", "timestamp", "The first shipped_date of those shipments."),
    Column("last_shipped_date", "timestamp", "The last shipped_date of those shipments."),
    Column(
        "complete_shipped_date",
        "timestamp",
        "The earliest moment at which the units shipped reach the units ordered.",
    ),
    Column(
        "shipping_cost",
        "float",
        "Sum over all packages that state a cost, in the order's currency; null if none does.",
    ),
)

_ORDERS = Table(
    "orders",
    "one order",
    ("id",),
    "",
    (
        _column("id", "string", "Trackstar's id of the order."),
        _column("warehouse_customer_id", "string", "Whose goods: the warehouse's customer."),
        _column("warehouse_id", "string", "The warehouse that is expected to ship."),
        _column("created_date", "timestamp", "When the order was created; never changes."),
        _column("updated_date", "timestamp", "When the source system last changed it."),
        _column("trackstar_created_date", "timestamp", "When Trackstar first saw it."),
        _column("trackstar_updated_date", "timestamp", "When Trackstar's copy last changed."),
        _column("reference_id", "string", "The caller's own reference."),
        _column("order_number", "string", "The number that people use."),
        _column("status", "status", "The state in Trackstar's words, in lifecycle order."),
        _column("raw_status", "string", "The state in the WMS's own words."),
        _column("channel", "string", "The sales channel's name.", "deprecated"),
        _column("channel_object.channel_id", "string", "The sales channel's id."),
        _column("channel_object.channel_name", "string", "The sales channel's name."),
        _column("type", "string", "d2c, b2b, dropship or transfer."),
        _column("trading_partner", "string", "The retailer behind a b2b order."),
        _column("service_level", "string", "The promised speed."),
        *_method(old=("shipping_method",)),
        _column("is_third_party_freight", "bool", "Whether a third party pays the freight."),
        _column("third_party_freight_account_number", "string", "That party's account."),
        _column("first_party_freight_account_number", "string", "The shipper's account."),
        _column("invoice_currency_code", "string", "ISO 4217 code of all amounts."),
        _column("total_price", "float", "What was charged, in the order's currency."),
        _column("total_tax", "float", "Tax, in the order's currency."),
        _column("total_discount", "float", "Discount, in the order's currency."),
        _column("total_shipping", "float", "Shipping charged, in the order's currency."),
        *_ship_to("the order"),
        _column("tags", "strings", "The order's tags.", "free_form"),
        _column(
            "required_ship_date",
            "timestamp",
            "When it must have shipped; exactly midnight UTC stands for the whole day.",
        ),
        _column("saturday_delivery", "bool", "Whether Saturday delivery is asked for."),
        _column("signature_required", "bool", "Whether the receiver must sign."),
        _column("international_duty_paid_by", "string", "sender, recipient or third_party."),
        _column(
            "external_system_url", "string", "The order's page in the source system.", "free_form"
        ),
        _column(
            "trackstar_tags",
            "json",
            "Tags set through Trackstar: text or key and value.",
            "free_form",
        ),
        _column("additional_fields", "json", "What else this WMS says; free form.", "free_form"),
        *_COMPUTED,
        _EXTRA,
    ),
)

_LINE_ITEMS = Table(
    "line_items",
    "one ordered line",
    ("order_id", "line_index"),
    "line_items[]",
    (
        _ORDER_ID,
        _LINE_INDEX,
        _column("product_id", "string", "The product's id."),
        _column("sku", "string", "The product's stock keeping unit."),
        _column("quantity", "int", "Units ordered."),
        _column("unit_price", "float", "Price of one unit, in the order's currency."),
        _column("is_picked", "bool", "Whether the line has been picked."),
        _column("discount_amount", "float", "Discount, in the order's currency."),
        _EXTRA,
    ),
)

_SHIPMENTS = Table(
    "shipments",
    "one shipment of an order",
    ("order_id", "shipment_index"),
    "shipments[]",
    (
        _ORDER_ID,
        _SHIPMENT_INDEX,
        _column("shipment_id", "string", "The shipment's id; not trusted to be unique."),
        _column("warehouse_id", "string", "The warehouse that in fact ships."),
        _column("status", "string", "open, shipped, cancelled or other."),
        _column("raw_status", "string", "The state in the WMS's own words."),
        _column(
            "shipped_date",
            "timestamp",
            "The WMS's one stamp: label printed or off the dock, it does not say which.",
        ),
        _column("shipping_method", "string", "The older, plain name.", "deprecated"),
        *_ship_to("the shipment"),
        *_places("ship_from_address", "sender"),
        _EXTRA,
    ),
)

_SHIPMENT_LINE_ITEMS = Table(
    "shipment_line_items",
    "one line of a shipment",
    ("order_id", "shipment_index", "line_index"),
    "shipments[].line_items[]",
    (
        _ORDER_ID,
        _SHIPMENT_INDEX,
        _LINE_INDEX,
        _column("inventory_item_id", "string", "The stock item's id."),
        _column("sku", "string", "The stock item's stock keeping unit."),
        _column("quantity", "int", "Units in the shipment."),
        _column("parent_product_id", "string", "The kit that the item is a part of."),
        _EXTRA,
    ),
)

_PACKAGES = Table(
    "packages",
    "one package of a shipment",
    ("order_id", "shipment_index", "package_index"),
    "shipments[].packages[]",
    (
        _ORDER_ID,
        _SHIPMENT_INDEX,
        _PACKAGE_INDEX,
        _column("package_id", "string", "The package's id; not trusted to be unique."),
        _column("package_name", "string", "The kind of box."),
        _column("tracking_number", "string", "The carrier's tracking number.", "personal"),
        _column("tracking_url", "string", "The carrier's tracking page.", "personal", "free_form"),
        *_method(old=("shipping_method", "carrier")),
        _column("shipping_cost", "float", "What the carrier charged, in the order's currency."),
        _column("measurements.length", "float", "In `measurements_unit`."),
        _column("measurements.width", "float", "In `measurements_unit`."),
        _column("measurements.height", "float", "In `measurements_unit`."),
        _column("measurements.unit", "string", "cm or in."),
        _column("measurements.weight", "float", "In `measurements_weight_unit`."),
        _column("measurements.weight_unit", "string", "kg, oz or lb."),
        _EXTRA,
    ),
)

_PACKAGE_LINE_ITEMS = Table(
    "package_line_items",
    "one line of a package",
    ("order_id", "shipment_index", "package_index", "line_index"),
    "shipments[].packages[].line_items[]",
    (
        _ORDER_ID,
        _SHIPMENT_INDEX,
        _PACKAGE_INDEX,
        _LINE_INDEX,
        _column("inventory_item_id", "string", "The stock item's id."),
        _column("sku", "string", "The stock item's stock keeping unit."),
        _column("quantity", "int", "Units in the package."),
        _column("lot_id", "string", "The lot the units came from."),
        _column("expiration_date", "timestamp", "When the lot expires."),
        _column("parent_product_id", "string", "The kit that the item is a part of."),
        _EXTRA,
    ),
)

_PROBLEMS = Table(
    "problems",
    "one value that could not be kept as its column's type, or one unknown key",
    (),
    "",
    (
        Column("table", "string", "The table that the value belongs to."),
        Column("order_id", "string", "The order, or null where it has no id."),
        Column("path", "string", "Where it stands in the order."),
        Column("value", "string", "The raw JSON; null where `extra` keeps it.", free_form=True),
        Column("message", "string", "What is wrong with it."),
    ),
)

#: All tables by name, parents before children; `problems` last.
TABLES: MappingProxyType[str, Table] = MappingProxyType(
    {
        table.name: table
        for table in (
            _ORDERS,
            _LINE_ITEMS,
            _SHIPMENTS,
            _SHIPMENT_LINE_ITEMS,
            _PACKAGES,
            _PACKAGE_LINE_ITEMS,
            _PROBLEMS,
        )
    }
)
