"""The flattening and the filters once more, in plain Python: what the package is judged by.

Imports nothing of the package. It covers orders that keep to the documentation.
"""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

FREE_FORM = ("trackstar_tags", "additional_fields", "extra")
FAR = datetime(9999, 1, 1, tzinfo=UTC)


def tables(orders):
    """Flatten orders into lists of dicts, sorted as the package sorts."""
    found = {
        "orders": [],
        "line_items": [],
        "shipments": [],
        "shipment_line_items": [],
        "packages": [],
        "package_line_items": [],
    }
    for order in sorted(orders, key=_place):
        found["orders"].append(_flat(order, {"line_items", "shipments"}) | _computed(order))
        key = {"order_id": order["id"]}
        _lines(found["line_items"], order, key)
        for number, shipment in enumerate(order["shipments"]):
            key = {"order_id": order["id"], "shipment_index": number}
            found["shipments"].append(key | _flat(shipment, {"line_items", "packages"}))
            _lines(found["shipment_line_items"], shipment, key)
            for place, package in enumerate(shipment["packages"]):
                inner = key | {"package_index": place}
                found["packages"].append(inner | _flat(package, {"line_items"}))
                _lines(found["package_line_items"], package, inner)
    return found


def assert_dataframes_hold(frames, orders):
    """Every field of every order is in the dataframes, and nothing else."""
    for name, rows in tables(orders).items():
        assert_frame_holds(getattr(frames, name), rows, name)
    assert len(frames.problems) == 0


def assert_frames_hold(frames, orders):
    """The same of the Arrow tables behind the dataframes, which is much faster."""
    held = frames.to_arrow()
    for name, rows in tables(orders).items():
        table = held[name]
        assert len(table) == len(rows), name
        unheard = {key for row in rows for key in row} - set(table.column_names)
        assert not unheard, f"{name} has no column for {unheard}"
        for column, values in zip(table.column_names, table.columns, strict=True):
            kind = _KINDS.get(str(values.type), "")
            write = _writer(column, kind)
            expected = [None if row.get(column) is None else write(row[column]) for row in rows]
            plain = values.cast("int64") if kind == "datetime64" else values
            found = [
                each if each is None or kind == "datetime64" else _read(column, kind, each)
                for each in plain.to_pylist()
            ]
            assert found == expected, f"{name}.{column}"
    assert len(held["problems"]) == 0


_KINDS = {"timestamp[us, tz=UTC]": "datetime64", "double": "float64"}


def _read(column, kind, value):
    if column in FREE_FORM:
        return json.dumps(json.loads(value), sort_keys=True)
    return round(value, 6) if kind == "float64" else value


def assert_frame_holds(frame, rows, name="orders"):
    assert len(frame) == len(rows), name
    assert list(frame.index) == list(range(len(rows))), name
    unheard = {key for row in rows for key in row} - set(frame.columns)
    assert not unheard, f"{name} has no column for {unheard}"
    for column in frame.columns:
        write = _writer(column, str(frame[column].dtype))
        expected = [None if row.get(column) is None else write(row[column]) for row in rows]
        assert _plain(frame[column], column) == expected, f"{name}.{column}"


def assert_frames_are_part(frames, orders):
    """Every order in the frames is one of these orders, whole."""
    ids = frames.to_arrow()["orders"]["id"].to_pylist()
    held = set(ids)
    assert len(held) == len(ids)
    assert held <= {order["id"] for order in orders}
    assert_frames_hold(frames, [order for order in orders if order["id"] in held])


def received(frames, before, after):
    """List the orders of before that are in the frames though they have gone meanwhile."""
    held = set(frames.to_arrow()["orders"]["id"].to_pylist())
    there = {order["id"] for order in after}
    return [order for order in before if order["id"] in held - there]


def matches(order, field, operator, value):
    """Tell whether an order passes a filter; a null passes only what says 'not'."""
    if field == "trackstar_tags":
        texts = [text for tag in order.get(field) or [] for text in _tag(tag)]
        return (value in texts) == (operator == "contains")
    held = order.get("id" if field == "ids" else field)
    if held is None:
        return operator in ("neq", "nin", "not_contains")
    if field.endswith("_date"):
        held = moment(held)
    if operator.endswith("-insensitive"):
        operator = operator.removesuffix("-insensitive")
        held = held.casefold()
        value = [v.casefold() for v in value] if isinstance(value, list) else value.casefold()
    return _OPERATORS[operator](held, value)


_OPERATORS = {
    "eq": lambda held, value: held == value,
    "neq": lambda held, value: held != value,
    "gt": lambda held, value: held > value,
    "gte": lambda held, value: held >= value,
    "lt": lambda held, value: held < value,
    "lte": lambda held, value: held <= value,
    "in": lambda held, value: held in value,
    "nin": lambda held, value: held not in value,
    "contains": lambda held, value: value in held,
    "not_contains": lambda held, value: value not in held,
}


def matches_day(order, field, operator, day):
    """Tell whether an order passes a date filter by a whole day."""
    if order.get(field) is None:
        return False
    held = moment(order[field]).date()
    return _OPERATORS[operator](held, day)


def moment(text):
    return datetime.fromisoformat(text).astimezone(UTC)


def _tag(tag):
    return [f"{key}:{value}" for key, value in tag.items()] if isinstance(tag, dict) else [tag]


def _place(order):
    created = order.get("created_date")
    return (moment(created) if created else FAR, order["id"])


def _flat(value, without, prefix=""):
    row = {}
    for key, held in value.items():
        if prefix + key in without:
            continue
        if isinstance(held, dict) and key not in FREE_FORM:
            row |= _flat(held, set(), f"{prefix}{key}_")
        else:
            row[prefix + key] = held
    return row


def _lines(rows, holder, key):
    for number, line in enumerate(holder["line_items"]):
        rows.append(key | {"line_index": number} | line)


def _computed(order):
    left = [each for each in order["shipments"] if each["status"] != "cancelled"]
    dates = sorted(moment(each["shipped_date"]) for each in left if each["shipped_date"])
    ordered = sum(line["quantity"] for line in order["line_items"])
    units, beyond = _shipped(order, left, dates[-1] if dates else None)
    packages = [package for shipment in order["shipments"] for package in shipment["packages"]]
    costs = [p["shipping_cost"] for p in packages if p["shipping_cost"] is not None]
    return {
        "line_item_count": len(order["line_items"]),
        "units_ordered": ordered,
        "shipment_count": len(order["shipments"]),
        "package_count": len(packages),
        "units_shipped": units,
        "units_overshipped": beyond,
        "first_shipped_date": dates[0] if dates else None,
        "last_shipped_date": dates[-1] if dates else None,
        "complete_shipped_date": next(
            (date for date in dates if _shipped(order, left, date)[0] == ordered), None
        ),
        "shipping_cost": sum(costs) if costs else None,
    }


def _shipped(order, shipments, until):
    """Count the ordered units that had shipped by a moment, of each sku, and those beyond them."""
    gone, totals = Counter(), Counter()
    kits = {line["product_id"] for line in order["line_items"]}
    for sent in shipments:
        date = sent["shipped_date"]
        for line in sent["line_items"] or [x for p in sent["packages"] for x in p["line_items"]]:
            parent = line["parent_product_id"]
            key = (parent if parent in kits else None, line["sku"])
            totals[key] += line["quantity"]
            gone[key] += line["quantity"] if date and moment(date) <= until else 0
    ordered = Counter()
    for line in order["line_items"]:
        is_kit = any(kit == line["product_id"] for kit, _ in totals)
        ordered[(line["product_id"], None) if is_kit else (None, line["sku"])] += line["quantity"]
    nameless, used = ordered.pop((None, None), 0), 0
    covered, missing = 0, nameless
    for (kit, sku), units in ordered.items():
        parts = [gone[key] * units // totals[key] for key in totals if kit and key[0] == kit]
        filled = min(parts) if kit else min(units, gone[None, sku])
        covered, missing = covered + filled, missing + units - filled
        used += 0 if kit else filled
    # What is left of the other skus covers lines without one; what has none, anything.
    loose = sum(units for (kit, _), units in gone.items() if kit is None)
    unnamed = gone[None, None]
    extra = min(loose - used - unnamed, nameless)
    extra += min(unnamed, missing - extra)
    return covered + extra, loose - used - extra


def _writer(column, dtype):
    """Choose how an expected value is written, to be compared with what `_plain` gives."""
    if column in FREE_FORM:
        return partial(json.dumps, sort_keys=True)
    if dtype.startswith("datetime64"):
        return _microseconds
    return (lambda value: round(float(value), 6)) if dtype == "float64" else lambda value: value


def _microseconds(value):
    when = value if isinstance(value, datetime) else moment(value)
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _plain(series, column):
    null = series.isna().tolist()
    if str(series.dtype).startswith("datetime64"):
        held = series.dt.tz_convert("UTC").astype("int64").tolist()
    elif str(series.dtype) == "float64":
        held = [round(value, 6) for value in series.tolist()]
    elif column in FREE_FORM:
        held = [
            None if empty else json.dumps(json.loads(text), sort_keys=True)
            for text, empty in zip(series.tolist(), null, strict=True)
        ]
    else:  # tags are tuples, and lists in JSON
        held = [list(each) if isinstance(each, tuple) else each for each in series.tolist()]
    return [None if empty else value for value, empty in zip(held, null, strict=True)]
