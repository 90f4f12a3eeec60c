"""The tables and their columns, as data.

`TABLES` is the one declaration of what the package makes of an order. Arrow schemas, pandas types,
flattening, personal data, snapshots and the data dictionary derive from it: to add a column or a
table, add it here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd

#: Written into every Parquet footer; raise it when tables, columns, their meaning or files change.
SCHEMA_VERSION = 4

#: The statuses of an order: seven on the way to the customer, then four that are off it.
LIFECYCLE = (
    *("open", "confirmed", "processing", "picked", "packed", "partially_fulfilled", "fulfilled"),
    *("backordered", "exception", "cancelled", "other"),
)
#: Those in which an order is open, in the same sequence.
OPEN_STATUSES = tuple(each for each in LIFECYCLE if each not in ("fulfilled", "cancelled"))

#: Arrow's and pandas' type of each kind of column; ``json`` is free-form JSON kept as text.
_TYPES: MappingProxyType[str, tuple[pa.DataType, str]] = MappingProxyType(
    {
        "string": (pa.string(), "str"),
        "status": (pa.string(), "category"),
        "json": (pa.string(), "str"),
        "int": (pa.int64(), "Int64"),
        "float": (pa.float64(), "float64"),
        "bool": (pa.bool_(), "boolean"),
        "timestamp": (pa.timestamp("us", tz="UTC"), "datetime64[us, UTC]"),
        "strings": (pa.list_(pa.string()), "object"),
    }
)
ARROW_TYPES = MappingProxyType({kind: arrow for kind, (arrow, _) in _TYPES.items()})
PANDAS_TYPES = MappingProxyType({kind: name for kind, (_, name) in _TYPES.items()})


@dataclass(frozen=True, slots=True)
class Column:
    """One column of one table."""

    name: str  # in pandas and Parquet
    kind: str  # a key of `ARROW_TYPES`
    description: str  # one sentence for the data dictionary
    #: The keys from the JSON object of a row to the value; ``()`` if the rows are plain values,
    #: and the value is the row itself; None if it is not read from there (keys, counts, `extra`).
    path: tuple[str, ...] | None = None
    personal: bool = False  # whether it identifies or locates a person
    deprecated: bool = False  # whether the API keeps it only for older clients
    free_form: bool = False  # whether it may hold anything, personal data too: tags, URLs, JSON
    computed: bool = False  # whether it is computed when tables are assembled, and not flattened

    @property
    def field(self) -> pa.Field:
        """The column as an Arrow field."""
        return pa.field(self.name, ARROW_TYPES[self.kind])


@dataclass(frozen=True, slots=True)
class Table:
    """One table: one kind of row."""

    name: str  # the attribute of `OrderFrames`, and the folder of a snapshot
    grain: str  # what one row is
    #: The columns that together are unique. A child table's are ``order_id``, then the position in
    #: each list from the order down to the row.
    key: tuple[str, ...]
    path: str  # the list of the rows in the JSON of an order, such as ``shipments[].packages[]``
    #: Those of the key first. The last one is `extra`, which takes unknown keys. Rows of plain
    #: values have none; their one column with the path ``()`` is of kind string, int, float or
    #: bool. If a list is also a column of the parent, that is of kind strings, and the value a
    #: string.
    columns: tuple[Column, ...]
    older_key: str = ""  # of the list in older responses, if it had another

    @property
    def schema(self) -> pa.Schema:
        """The table as an Arrow schema."""
        return pa.schema([column.field for column in self.columns])

    @property
    def labelled(self) -> Table:
        """The same table of several connections, whose ids are unique within each of them only."""
        key = (CONNECTION.name, *self.key) if self.key else ()
        return replace(self, key=key, columns=(CONNECTION, *self.columns))

    @property
    def stored(self) -> tuple[Column, ...]:
        """The columns that flattening fills."""
        return tuple(column for column in self.columns if not column.computed)

    @property
    def value(self) -> Column | None:
        """The column of the rows' values, if the rows are plain values and not objects."""
        return next((column for column in self.columns if column.path == ()), None)


#: The first column of every table of several connections.
CONNECTION = Column("connection", "string", "The label of the connection that the row is of.")


def table_for(name: str, columns: Iterable[str] | None = None, *, labelled: object) -> Table:
    """Return a table of one connection or, labelled, of several; or only these columns of it."""
    table = TABLES[name].labelled if labelled else TABLES[name]
    if columns is None:
        return table
    by_name = {column.name: column for column in table.columns}
    return replace(table, columns=tuple(by_name[name] for name in columns))


def data_dictionary() -> pd.DataFrame:
    """Describe every column of every table.

    Returns
    -------
    pandas.DataFrame
        One row per column, keyed by (table, column), in the order of the tables and of their
        columns; with a RangeIndex.

        - ``table`` (str): the attribute of `OrderFrames`, and the folder of a snapshot.
        - ``column`` (str).
        - ``type`` (str): its pandas type, as without ``dtype_backend``.
        - ``path`` (str): where the value stands in the JSON of an order; null for keys and for
          what this package computes.
        - ``description`` (str).
        - ``personal`` (bool): whether it identifies or locates a person.
        - ``deprecated`` (bool): whether the API has deprecated it.
        - ``free_form`` (bool): whether it may hold anything, personal data included. ``pii="drop"``
          empties the columns that are personal or free-form; ``pii="hash"`` empties the free-form
          ones, and replaces the texts of the others.

    See Also
    --------
    OrderFrames : The tables themselves.

    Examples
    --------
    >>> columns = data_dictionary().set_index(["table", "column"])
    >>> columns.loc[("orders", "ship_to_address_city"), "path"]
    'ship_to_address.city'
    >>> columns.loc["orders"].query("personal").index[:2].tolist()
    ['ship_to_address_full_name', 'ship_to_address_company']
    """
    import pandas as pd  # noqa: PLC0415  (a schema alone does not need pandas)

    return pd.DataFrame(
        [
            {
                "table": table.name,
                "column": column.name,
                "type": PANDAS_TYPES[column.kind],
                "path": _full_path(table, column),
                "description": column.description,
                "personal": column.personal,
                "deprecated": column.deprecated,
                "free_form": column.free_form,
            }
            for table in TABLES.values()
            for column in table.columns
        ]
    )


def _full_path(table: Table, column: Column) -> str | None:
    return None if column.path is None else ".".join(filter(None, (table.path, *column.path)))


def _child(
    name: str, grain: str, path: str, key: tuple[Column, ...], *columns: Column, older_key: str = ""
) -> Table:
    """Declare a table of the objects in a list below an order."""
    names = tuple(column.name for column in key)
    return Table(name, grain, names, path, (*key, *columns, _EXTRA), older_key)


def _column(path: str, kind: str, description: str, *marks: str) -> Column:
    """Declare a column named after its JSON path; the marks are the attributes that are true."""
    parts = tuple(path.split("."))
    return Column("_".join(parts), kind, description, parts, **dict.fromkeys(marks, True))


def _ship_to(goods: str) -> tuple[Column, ...]:
    return (
        _column("ship_to_address.full_name", "string", f"The receiver of {goods}.", "personal"),
        _column("ship_to_address.company", "string", "The receiver's company.", "personal"),
        *_address("ship_to_address", "receiver", "personal"),
        _column("ship_to_address.phone_number", "string", "The receiver's phone.", "personal"),
        _column("ship_to_address.email_address", "string", "The receiver's email.", "personal"),
    )


def _address(prefix: str, party: str, *marks: str) -> tuple[Column, ...]:
    return (
        _column(f"{prefix}.address1", "string", f"The {party}'s street, first line.", *marks),
        _column(f"{prefix}.address2", "string", f"The {party}'s street, second line.", *marks),
        _column(f"{prefix}.address3", "string", f"The {party}'s street, third line.", *marks),
        _column(f"{prefix}.city", "string", f"The {party}'s city.", *marks),
        # A state or a country has too many people to identify one of them.
        _column(f"{prefix}.state", "string", f"The {party}'s state or region."),
        _column(f"{prefix}.postal_code", "string", f"The {party}'s postal code.", *marks),
        _column(f"{prefix}.country", "string", f"The {party}'s country."),
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


_computed = partial(Column, computed=True)
_ORDER_ID = _computed("order_id", "string", "The order: `orders.id`.")
_SHIPMENT_INDEX = Column("shipment_index", "int", "The shipment's position in its order, from 0.")
_PACKAGE_INDEX = Column("package_index", "int", "The package's position in its shipment, from 0.")
_LINE_INDEX = Column("line_index", "int", "The line's position in its list, from 0.")
_EXTRA = Column(
    "extra",
    "json",
    "Keys that this schema does not know, and the texts of dates that are placeholders or name "
    "no time zone, as one JSON object.",
    free_form=True,
)

_COMPUTED = (
    _computed("line_item_count", "int", "The number of ordered lines."),
    _computed(
        "units_ordered",
        "int",
        "Units ordered, netted by sku (lines of 2 and -1 are 1); null if a line's quantity is "
        "unknown, 0 without lines.",
    ),
    _computed("shipment_count", "int", "The number of shipments, cancelled ones included."),
    _computed("package_count", "int", "The number of packages, over all shipments."),
    _computed(
        "units_shipped",
        "int",
        "Ordered units that have shipped, of each sku at most what was ordered (all, if a line's "
        "quantity is unknown): those in shipments that are not cancelled and have a shipped_date.",
    ),
    _computed(
        "units_overshipped",
        "int",
        "Units in those shipments beyond what was ordered of their sku; null as units_ordered.",
    ),
    _computed("first_shipped_date", "timestamp", "The first shipped_date of those shipments."),
    _computed("last_shipped_date", "timestamp", "The last shipped_date of those shipments."),
    _computed(
        "complete_shipped_date",
        "timestamp",
        "The earliest moment by which all that was ordered has shipped, sku by sku.",
    ),
    _computed(
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
        _column("warehouse_customer_id", "string", "The warehouse's customer, who owns the goods."),
        _column("warehouse_id", "string", "The warehouse that is expected to ship."),
        _column("created_date", "timestamp", "When the order was created; never changes."),
        _column("updated_date", "timestamp", "When the source system last changed it."),
        _column("trackstar_created_date", "timestamp", "When Trackstar first saw it."),
        _column("trackstar_updated_date", "timestamp", "When Trackstar's copy last changed."),
        _column("reference_id", "string", "The caller's own reference."),
        _column("order_number", "string", "The order number that people use."),
        _column("status", "status", "Trackstar's status; ordered by lifecycle."),
        _column("raw_status", "string", "The WMS's own status."),
        _column("channel", "string", "The sales channel's name.", "deprecated"),
        _column("channel_object.channel_id", "string", "The sales channel's id."),
        _column("channel_object.channel_name", "string", "The sales channel's name."),
        _column("type", "string", "d2c, b2b, dropship or transfer."),
        _column("trading_partner", "string", "The retailer behind a b2b order."),
        _column("service_level", "string", "The promised delivery speed."),
        *_method(old=("shipping_method",)),
        _column("is_third_party_freight", "bool", "Whether a third party pays the freight."),
        _column(
            "third_party_freight_account_number", "string", "The third party's freight account."
        ),
        _column("first_party_freight_account_number", "string", "The shipper's freight account."),
        _column("invoice_currency_code", "string", "ISO 4217 code of all amounts."),
        _column("total_price", "float", "The amount charged, in the order's currency."),
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
        _column("saturday_delivery", "bool", "Whether Saturday delivery is requested."),
        _column("signature_required", "bool", "Whether the receiver must sign."),
        _column("international_duty_paid_by", "string", "sender, recipient or third_party."),
        _column("external_system_url", "string", "Its page in the source system.", "free_form"),
        _column(
            "trackstar_tags",
            "json",
            "Tags set through Trackstar: texts, or keys and values.",
            "free_form",
        ),
        _column("additional_fields", "json", "Other fields of this WMS; free-form.", "free_form"),
        *_COMPUTED,
        _EXTRA,
    ),
)

_LINE_ITEMS = _child(
    "line_items",
    "one ordered line",
    "line_items[]",
    (_ORDER_ID, _LINE_INDEX),
    _column("product_id", "string", "The product's id."),
    _column("sku", "string", "The product's stock keeping unit."),
    _column("quantity", "int", "Units ordered."),
    _column("unit_price", "float", "Price of one unit, in the order's currency."),
    _column("is_picked", "bool", "Whether the line has been picked."),
    _column("discount_amount", "float", "Discount, in the order's currency."),
)

_SHIPMENTS = _child(
    "shipments",
    "one shipment of an order",
    "shipments[]",
    (_ORDER_ID, _SHIPMENT_INDEX),
    _column("shipment_id", "string", "The shipment's id; not trusted to be unique."),
    _column("warehouse_id", "string", "The warehouse that actually ships."),
    _column("status", "string", "open, shipped, cancelled or other."),
    _column("raw_status", "string", "The WMS's own status."),
    _column(
        "shipped_date",
        "timestamp",
        "The WMS's one timestamp: label printed or left the dock, it does not say which.",
    ),
    _column("shipping_method", "string", "The older, plain name.", "deprecated"),
    *_ship_to("the shipment"),
    *_address("ship_from_address", "sender"),
)

_SHIPMENT_LINE_ITEMS = _child(
    "shipment_line_items",
    "one line of a shipment",
    "shipments[].line_items[]",
    (_ORDER_ID, _SHIPMENT_INDEX, _LINE_INDEX),
    _column("inventory_item_id", "string", "The stock item's id."),
    _column("sku", "string", "The stock item's stock keeping unit."),
    _column("quantity", "int", "Units in the shipment."),
    _column("parent_product_id", "string", "The kit that the item is part of."),
)

_PACKAGES = _child(
    "packages",
    "one package of a shipment",
    "shipments[].packages[]",
    (_ORDER_ID, _SHIPMENT_INDEX, _PACKAGE_INDEX),
    _column("package_id", "string", "The package's id; not trusted to be unique."),
    _column("package_name", "string", "The kind of package."),
    _column("tracking_number", "string", "The carrier's tracking number.", "personal"),
    _column("tracking_url", "string", "The carrier's tracking page.", "personal", "free_form"),
    *_method(old=("shipping_method", "carrier")),
    _column("shipping_cost", "float", "The carrier's charge, in the order's currency."),
    _column("measurements.length", "float", "In `measurements_unit`."),
    _column("measurements.width", "float", "In `measurements_unit`."),
    _column("measurements.height", "float", "In `measurements_unit`."),
    _column("measurements.unit", "string", "cm or in."),
    _column("measurements.weight", "float", "In `measurements_weight_unit`."),
    _column("measurements.weight_unit", "string", "kg, oz or lb."),
    older_key="boxes",
)

_PACKAGE_LINE_ITEMS = _child(
    "package_line_items",
    "one line of a package",
    "shipments[].packages[].line_items[]",
    (_ORDER_ID, _SHIPMENT_INDEX, _PACKAGE_INDEX, _LINE_INDEX),
    _column("inventory_item_id", "string", "The stock item's id."),
    _column("sku", "string", "The stock item's stock keeping unit."),
    _column("quantity", "int", "Units in the package."),
    _column("lot_id", "string", "The lot that the units come from."),
    _column("expiration_date", "timestamp", "When the lot expires."),
    _column("parent_product_id", "string", "The kit that the item is part of."),
)

_PROBLEMS = Table(
    "problems",
    "one value that could not be kept as its column's type, or one unknown key",
    (),
    "",
    (
        Column("table", "string", "The table that the value belongs to."),
        Column("order_id", "string", "The order, or null where it has no id."),
        Column("path", "string", "Its path in the order's JSON."),
        Column("value", "string", "The raw JSON; null where `extra` keeps it.", free_form=True),
        Column("message", "string", "What is wrong with it."),
    ),
)

#: Parents before children; `problems` last.
_DECLARED = (
    *(_ORDERS, _LINE_ITEMS, _SHIPMENTS, _SHIPMENT_LINE_ITEMS, _PACKAGES, _PACKAGE_LINE_ITEMS),
    _PROBLEMS,
)
#: All tables by name, in this order.
TABLES = MappingProxyType({table.name: table for table in _DECLARED})

#: The tables whose rows are in a list below an order.
CHILD_TABLES = tuple(name for name, table in TABLES.items() if table.path)


def _lists_in(parent: Table) -> MappingProxyType[str, str]:
    paths = {name: TABLES[name].path.rpartition(".") for name in CHILD_TABLES}
    children = {key: name for name, (outer, _, key) in paths.items() if outer == parent.path}
    return MappingProxyType({key.removesuffix("[]"): name for key, name in children.items()})


#: For `orders` and each child table, the table of each list in its rows, by the list's JSON key.
LISTS = MappingProxyType({name: _lists_in(TABLES[name]) for name in ("orders", *CHILD_TABLES)})
