"""What the documentation says of orders, and how they agree with themselves."""

from collections import Counter

TEXT, NUMBER, WHOLE, FLAG, LIST, MAP = str, (int, float), int, bool, list, dict
ADDRESS = dict.fromkeys(
    ("address1", "address2", "address3", "city", "state", "postal_code", "country"), (TEXT, True)
)
SHIP_TO = ADDRESS | dict.fromkeys(
    ("full_name", "company", "phone_number", "email_address"), (TEXT, True)
)
ORDER = {
    "id": (TEXT, False),
    "warehouse_customer_id": (TEXT, True),
    "warehouse_id": (TEXT, True),
    "created_date": (TEXT, False),
    "updated_date": (TEXT, False),
    "reference_id": (TEXT, False),
    "order_number": (TEXT, False),
    "status": (TEXT, False),
    "raw_status": (TEXT, True),
    "channel": (TEXT, True),
    "channel_object": (MAP, False),
    "type": (TEXT, True),
    "trading_partner": (TEXT, True),
    "shipping_method": (TEXT, True),
    "service_level": (TEXT, True),
    "shipping_method_id": (TEXT, True),
    "shipping_method_name": (TEXT, True),
    "carrier_id": (TEXT, True),
    "carrier_name": (TEXT, True),
    "scac": (TEXT, True),
    "is_third_party_freight": (FLAG, True),
    "third_party_freight_account_number": (TEXT, True),
    "first_party_freight_account_number": (TEXT, True),
    "invoice_currency_code": (TEXT, False),
    "total_price": (NUMBER, True),
    "total_tax": (NUMBER, True),
    "total_discount": (NUMBER, True),
    "total_shipping": (NUMBER, True),
    "ship_to_address": (MAP, False),
    "line_items": (LIST, False),
    "tags": (LIST, False),
    "required_ship_date": (TEXT, True),
    "saturday_delivery": (FLAG, True),
    "signature_required": (FLAG, True),
    "international_duty_paid_by": (TEXT, True),
    "shipments": (LIST, False),
    "external_system_url": (TEXT, True),
    "trackstar_tags": (LIST, True),
    "additional_fields": (MAP, False),
    "trackstar_created_date": (TEXT, False),
    "trackstar_updated_date": (TEXT, False),
}
LINE = {
    "product_id": (TEXT, False),
    "sku": (TEXT, True),
    "quantity": (WHOLE, False),
    "unit_price": (NUMBER, True),
    "is_picked": (FLAG, False),
    "discount_amount": (NUMBER, True),
}
SHIPMENT = {
    "shipment_id": (TEXT, False),
    "warehouse_id": (TEXT, False),
    "raw_status": (TEXT, True),
    "status": (TEXT, False),
    "shipped_date": (TEXT, True),
    "shipping_method": (TEXT, True),
    "line_items": (LIST, False),
    "ship_to_address": (MAP, False),
    "ship_from_address": (MAP, False),
    "packages": (LIST, False),
}
SHIPPED = {
    "inventory_item_id": (TEXT, False),
    "sku": (TEXT, True),
    "quantity": (WHOLE, False),
    "parent_product_id": (TEXT, True),
}
PACKAGE = {
    "package_id": (TEXT, False),
    "measurements": (MAP, False),
    "line_items": (LIST, False),
    "shipping_cost": (NUMBER, True),
} | dict.fromkeys(
    (
        "package_name",
        "tracking_number",
        "tracking_url",
        "shipping_method",
        "carrier",
        "shipping_method_id",
        "shipping_method_name",
        "carrier_id",
        "carrier_name",
        "scac",
    ),
    (TEXT, True),
)
MEASUREMENTS = dict.fromkeys(("length", "width", "height", "weight"), (NUMBER, True)) | {
    "unit": (TEXT, True),
    "weight_unit": (TEXT, True),
}
PACKED = SHIPPED | {"lot_id": (TEXT, True), "expiration_date": (TEXT, True)}
MAY_BE_ABSENT = {
    "order": {
        "channel",
        "shipping_method",
        "trackstar_tags",
        "first_party_freight_account_number",
        "international_duty_paid_by",
    },
    "package": {"shipping_method", "carrier"},
}


def check(orders, now):
    """Assert that orders are as documented and do not contradict themselves."""
    check_fields(orders)
    check_times(orders, now)
    check_quantities(orders)
    check_statuses(orders)


def check_fields(orders):
    for name, (fields, rows) in tables_of(orders).items():
        for row in rows:
            assert fields.keys() - MAY_BE_ABSENT.get(name, set()) <= row.keys() <= fields.keys()
            for field, value in row.items():
                kind, nullable = fields[field]
                kinds = kind if isinstance(kind, tuple) else (kind,)
                assert type(value) in kinds or (value is None and nullable), (name, field, value)


def check_times(orders, now):
    now = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    for order in orders:
        assert order["created_date"] <= order["updated_date"] <= now
        assert order["created_date"] <= order["trackstar_created_date"]
        assert order["updated_date"] <= order["trackstar_updated_date"] <= now
        assert order["trackstar_created_date"] <= order["trackstar_updated_date"]
        for shipment in order["shipments"]:
            shipped = shipment["shipped_date"]
            assert shipped is None or order["created_date"] < shipped <= order["updated_date"]


def check_quantities(orders):
    for order in orders:
        ordered = sum(line["quantity"] for line in order["line_items"])
        shipped = sum(
            line["quantity"]
            for shipment in order["shipments"]
            for line in shipment["line_items"]
            if not line["parent_product_id"]
        )
        assert shipped <= ordered
        for shipment in order["shipments"]:
            assert shipment["line_items"]
            if shipment["packages"]:
                packed = Counter()
                for line in each(shipment["packages"], "line_items"):
                    packed[line["inventory_item_id"]] += line["quantity"]
                sent = Counter()
                for line in shipment["line_items"]:
                    sent[line["inventory_item_id"]] += line["quantity"]
                assert packed == sent


def check_statuses(orders):
    for order in orders:
        shipped = [each for each in order["shipments"] if each["shipped_date"]]
        assert all(each["status"] in ("shipped", "other") for each in shipped)
        if order["status"] in ("fulfilled", "partially_fulfilled"):
            assert shipped
        else:
            assert not shipped
        if order["status"] == "cancelled":
            assert {each["status"] for each in order["shipments"]} <= {"cancelled"}


def tables_of(orders):
    """Return what each grain's fields are, and its rows."""
    shipments = each(orders, "shipments")
    packages = each(shipments, "packages")
    return {
        "order": (ORDER, orders),
        "ship_to": (SHIP_TO, [order["ship_to_address"] for order in orders]),
        "line": (LINE, each(orders, "line_items")),
        "shipment": (SHIPMENT, shipments),
        "shipment to": (SHIP_TO, [shipment["ship_to_address"] for shipment in shipments]),
        "shipment from": (ADDRESS, [shipment["ship_from_address"] for shipment in shipments]),
        "shipped": (SHIPPED, each(shipments, "line_items")),
        "package": (PACKAGE, packages),
        "measurements": (MEASUREMENTS, [package["measurements"] for package in packages]),
        "packed": (PACKED, each(packages, "line_items")),
    }


def each(rows, key):
    return [child for row in rows for child in row[key]]
