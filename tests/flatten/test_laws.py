"""Laws of the flattening, over orders of any shape."""

import itertools
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from trackstar_frames import OrderFrames
from trackstar_frames.schema import TABLES

# Orders of any shape. Each text in them is unique, so that it can be looked for.

SCALARS = st.sampled_from(["text", "text", None, True, 7, 1.5, ""])
VALUES = (
    SCALARS | st.lists(SCALARS, max_size=2) | st.fixed_dictionaries({"a": SCALARS, "ä b": SCALARS})
)


def objects(table, **lists):
    known = {column.path[0] for column in TABLES[table].stored if column.path} - {"id"}
    keys = st.sampled_from(["new", "", "line_items", *sorted(known)])
    optional = {key: st.lists(of, max_size=2) for key, of in lists.items()}
    members = st.dictionaries(keys, VALUES, max_size=6)
    return st.tuples(members, st.fixed_dictionaries({}, optional=optional)).map(
        lambda parts: {**parts[0], **parts[1]}
    )


PACKAGES = objects("packages", line_items=objects("package_line_items"))
SHIPMENTS = objects("shipments", line_items=objects("shipment_line_items"), packages=PACKAGES)
ORDERS = st.lists(
    objects("orders", line_items=objects("line_items"), shipments=SHIPMENTS), max_size=3
)


def numbered(value, counter):
    """Make each text of a JSON value unique."""
    if isinstance(value, dict):
        return {key: numbered(inner, counter) for key, inner in value.items()}
    if isinstance(value, list):
        return [numbered(inner, counter) for inner in value]
    return f"<{next(counter)}>" if value == "text" else value


def with_ids(orders):
    counter = itertools.count()
    return [{**numbered(order, counter), "id": f"id-{i}"} for i, order in enumerate(orders)]


def items(value):
    return value if isinstance(value, list) else []


def members(value):
    return value if isinstance(value, dict) else {}


@given(ORDERS)
def test_every_text_of_every_order_is_found_exactly_once(orders):
    orders = with_ids(orders)
    frames = OrderFrames.from_json(orders)
    found = json.dumps([table.to_pylist() for table in frames.to_arrow().values()], default=str)
    for text in re.findall(r"<\d+>", json.dumps(orders)):
        assert found.count(text) == 1


def written(value, counter, random):
    """Write JSON in which a key may be given twice, and each text is unique."""
    if isinstance(value, dict):
        pairs = (
            f"{json.dumps(key)}:{written(inner, counter, random)}"
            for key, inner in value.items()
            for _ in range(random.choice([1, 1, 2]))
        )
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{','.join(written(inner, counter, random) for inner in value)}]"
    return json.dumps(f"<{next(counter)}>" if value == "text" else value)


@given(ORDERS, st.randoms(use_true_random=False))
def test_where_keys_are_given_twice_every_text_is_found_too(orders, random):
    counter = itertools.count()
    orders = [{**order, "id": f"id-{number}"} for number, order in enumerate(orders)]
    text = f"[{','.join(written(order, counter, random) for order in orders)}]"
    tables = OrderFrames.from_json(text).to_arrow()
    found = json.dumps([table.to_pylist() for table in tables.values()], default=str)
    assert [found.count(f"<{number}>") for number in range(next(counter))].count(1) == text.count(
        "<"
    )


@given(ORDERS)
def test_every_list_has_as_many_rows_as_items(orders):
    orders = with_ids(orders)
    shipments = [each for order in orders for each in items(order.get("shipments"))]
    packages = [each for shipment in shipments for each in items(members(shipment).get("packages"))]
    lists = {
        "line_items": orders,
        "shipment_line_items": shipments,
        "package_line_items": packages,
    }
    expected = {
        name: sum(len(items(members(parent).get("line_items"))) for parent in parents)
        for name, parents in lists.items()
    }
    expected |= {"orders": len(orders), "shipments": len(shipments), "packages": len(packages)}
    tables = OrderFrames.from_json(orders).to_arrow()
    assert {name: len(tables[name]) for name in expected} == expected


@given(ORDERS)
def test_types_never_depend_on_the_data_and_keys_are_unique(orders):
    tables = OrderFrames.from_json(with_ids(orders)).to_arrow()
    for name, table in TABLES.items():
        assert tables[name].schema.equals(table.schema)
        keys = tables[name].select(list(table.key)).to_pylist()
        assert not table.key or len({tuple(key.values()) for key in keys}) == len(keys)


@given(ORDERS, st.integers(1, 3))
def test_how_orders_are_cut_into_pages_changes_nothing(orders, size):
    orders = with_ids(orders)
    pages = [{"data": orders[i : i + size]} for i in range(0, len(orders), size)]
    whole, cut = OrderFrames.from_json(orders), OrderFrames.from_json(pages)
    assert all(table.equals(cut.to_arrow()[name]) for name, table in whole.to_arrow().items())


@given(ORDERS, st.sampled_from(["\n", "\r\n", "\r"]))
def test_line_ends_are_but_spaces_outside_of_texts(orders, end):
    orders = with_ids(orders)
    texts = [json.dumps(order, indent=2, ensure_ascii=False) for order in orders]
    pretty = f"[{','.join(texts)}]".replace("\n", end)
    expected = OrderFrames.from_json(orders).to_arrow()
    for name, table in OrderFrames.from_json(pretty).to_arrow().items():
        assert compact(table) == compact(expected[name])


def compact(table):
    """Give rows without the spaces between the parts of JSON text."""
    return re.sub(r"\\+[rn]|\s", "", repr(table.to_pylist()))


WHEN = st.sampled_from([None, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])


@given(st.lists(st.tuples(ORDERS, st.integers(0, 2), WHEN), max_size=4))
def test_of_orders_with_one_id_the_newest_is_kept_with_all_that_is_its(drawn):
    warned = [
        {**order, "id": f"id-{number}", "updated_date": when}
        for orders, number, when in drawn
        for order in with_ids(orders)
    ]
    newest = {}
    for order in warned:
        rival = newest.get(order["id"])
        if rival is None or (order["updated_date"] or "") >= (rival["updated_date"] or ""):
            newest[order["id"]] = order
    kept = [order for order in warned if newest[order["id"]] is order]
    frames, expected = OrderFrames.from_json(warned), OrderFrames.from_json(kept)
    assert frames.to_arrow() == expected.to_arrow()
    assert frames.info["duplicates"] == len(warned) - len(kept)


@given(ORDERS)
def test_parquet_gives_back_what_it_was_given(tmp_path_factory, orders):
    frames = OrderFrames.from_json(with_ids(orders))
    folder = tmp_path_factory.mktemp("frames") / "parquet"
    frames.to_parquet(folder)
    again = OrderFrames.from_parquet(folder)
    assert again.to_arrow() == frames.to_arrow()
    assert again.info == frames.info
