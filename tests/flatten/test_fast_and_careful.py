"""The fast way and the careful way give the same tables, whatever the orders are."""

import json
from datetime import datetime

import msgspec
from hypothesis import assume, event, given
from hypothesis import strategies as st

from trackstar_frames.flatten import Flattener
from trackstar_frames.flatten.careful import flatten_carefully
from trackstar_frames.flatten.fast import REFUSALS, flatten_fast
from trackstar_frames.flatten.layout import Layout
from trackstar_frames.schema import LISTS, TABLES
from trackstar_frames.tables.assemble import assemble

# Orders as JSON text, spelt as an integration may spell them.

TEXTS = st.text(max_size=8).map(lambda text: json.dumps(text, ensure_ascii=False)) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=4
).map(json.dumps)
FLOATS = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.sampled_from(
    ["0", "-0", "-0.0", "1E5", "5e-324", "12.50", "9007199254740991", "0.1e1"]
)
INTS = st.integers(-(2**63), 2**63 - 1).map(str) | st.sampled_from(["0", "-0", "7"])
MOMENTS = st.datetimes(min_value=datetime.fromisoformat("1990-01-01")).map(
    lambda when: f'"{when.isoformat(timespec="seconds")}Z"'
)
DATES = st.from_regex(
    r"\A[0-9]{4}-(0[0-9]|1[0-3])-([0-2][0-9]|3[0-2])([T ]?([01][0-9]|2[0-4])(:?[0-6][0-9]"
    r"(:?[0-6][0-9]([.,][0-9]{1,9})?)?)?)?(Z|z|[+-][0-9]{2}(:?[0-9]{2})?)?\Z"
).map('"{}"'.format)
LISTS_OF_TEXT = st.lists(TEXTS | st.just("null"), max_size=3).map(lambda t: f"[{' , '.join(t)}]")
ODD = (
    st.sampled_from(["null", "true", "false", '""', '"1.50"', '"7"', '"True"', "1.0", "2e0", "{}"])
    | st.sampled_from(
        [
            "9007199254740993",
            "1e999",
            "1e-400",
            "4.9e-324",
            "-9223372036854775809",
            '"NaN"',
            "[]",
            "[1]",
        ]
    )
    | st.sampled_from(['"Y"', '"0"', '"1,234.50"', '" 5 "', '"\uff11"', '{"\\u0000":"NaN"}', "0.0"])
    | st.sampled_from(["0.1234567890123456789012", "12345678901234567890.12", "-1.5e-400"])
    | st.sampled_from(["1.00000000000000000001", "0.30000000000000004", "123456789012345.6"])
    | st.sampled_from(["1769867100", "1769867100123", '"1769867100.5"', '"20260620"', "20260620"])
    | st.sampled_from(['"0001-01-01T00:00:00Z"', '"1900-01-01"', '"0000-00-00"', '"2026-01-31"'])
    | st.sampled_from(['"/Date(1473548400000)/"', '"Tue, 15 Nov 1994 08:12:31 GMT"'])
    | st.sampled_from(['{"a": 1 , "a":2}', '["x", {"y": [null]}]', r'"\ud83d\ude00"', "[[[]]]"])
    | TEXTS
    | FLOATS
    | INTS
    | DATES
)
PLAIN = {
    "string": TEXTS,
    "status": TEXTS,
    "int": INTS,
    "float": FLOATS.filter(lambda text: abs(float(text)) < 2**53),
    "bool": st.sampled_from(["true", "false"]),
    "timestamp": MOMENTS,
    "strings": LISTS_OF_TEXT,
    "json": ODD.filter(lambda text: "NaN" not in text),  # whose mark is for the careful way
}
NEW_KEYS = st.sampled_from(
    ["new", "é", "", "ship_to_address_city", 'a"b', "\n", "id", "boxes", "extra", "_order"]
)


def known(table):
    """Give any of the columns of a table, as pairs of path and JSON text."""
    columns = [column for column in TABLES[table].stored if column.path]
    return st.fixed_dictionaries(
        {}, optional={column.path: PLAIN[column.kind] | st.just("null") for column in columns}
    )


def odd(table):
    """Give some values of any kind, under known keys and new ones."""
    paths = [column.path for column in TABLES[table].stored if column.path]
    inside = st.sampled_from(sorted({path[:-1] for path in paths}))
    new = st.tuples(inside, NEW_KEYS).map(lambda parts: (*parts[0], parts[1]))
    places = st.sampled_from(paths) | new | st.just(tuple(LISTS[table])[:1] or ("sku",))
    return st.dictionaries(places, ODD, max_size=3)


def rows(table, *layers):
    """Give objects of a table: layers of values by path, lists of rows among them."""
    lists = {(key,): texts(child, *layers) for key, child in LISTS[table].items()}
    if "packages" in LISTS[table]:
        lists["boxes",] = texts("packages", *layers)
    values, *more = (layer(table) for layer in layers)
    return st.tuples(
        st.randoms(use_true_random=False),
        values,
        st.fixed_dictionaries({}, optional=lists),
        *more,
    )


def texts(table, *layers):
    value = TABLES[table].value
    items = PLAIN[value.kind] if value else rows(table, *layers).map(spell)
    if odd in layers:
        items = items | (ODD if value else st.just("null"))
    return st.lists(items, max_size=2).map(lambda each: f"[{','.join(each)}]")


def orders(*layers):
    return st.lists(rows("orders", *layers), max_size=4).map(
        lambda found: [
            msgspec.Raw(spell((*parts, {("id",): f'"{number}"'})).encode())
            for number, parts in enumerate(found)
        ]
    )


def spell(parts):
    """Write an object; later layers win."""
    random, *layers = parts
    tree = {}
    for layer in layers:
        for path, value in layer.items():
            node = tree
            for key in path[:-1]:
                if not isinstance(node.get(key), dict):
                    node[key] = {}
                node = node[key]
            node[path[-1]] = value
    return write(tree, random)


def write(tree, random):
    if isinstance(tree, str):
        return tree
    pairs = list(tree.items())
    random.shuffle(pairs)
    space = random.choice(["", "", " ", "\n"])
    written = [f"{json.dumps(key)}:{space}{write(value, random)}" for key, value in pairs]
    return f"{{{space}{f',{space}'.join(written)}}}"


def assert_same(batch, expected):
    for name, table in expected.items():
        assert batch[name].schema.equals(table.schema), name
        for column in table.column_names:
            found, held = batch[name][column].to_pylist(), table[column].to_pylist()
            assert list(map(repr, found)) == list(map(repr, held)), f"{name}.{column}"


@given(orders(known))
def test_what_is_as_documented_is_read_the_fast_way(given_orders):
    """And is as the careful way has it."""
    expected, found_odd = flatten_carefully(given_orders)
    assume(given_orders and not _boxes_beside_packages(expected))
    assert not found_odd
    assert_same(flatten_fast(given_orders, Layout.of_schema()), expected)


@given(orders(known, odd))
def test_what_is_odd_is_taken_out_or_refused(given_orders):
    expected, found_odd = flatten_carefully(given_orders)
    layout = Layout(Layout.of_schema().extracted.union(filter(Layout.can_extract, found_odd)))
    try:
        batch = flatten_fast(given_orders, layout)
    except REFUSALS as error:
        event(f"refused: {type(error).__name__}")
    else:
        event("read the fast way")
        assert_same(batch, expected)


@given(st.sampled_from([*PLAIN, "line"]), ODD)
def test_a_single_value_is_refused_or_the_same(kind, text):
    column = {
        "string": "reference_id",
        "float": "total_price",
        "bool": "saturday_delivery",
        "timestamp": "created_date",
        "strings": "tags",
        "json": "additional_fields",
        "line": "line_items",
    }.get(kind, kind)
    order = f'{{"id":"a","{column}":{text}}}'
    if kind == "int":
        order = f'{{"id":"a","line_items":[{{"quantity":{text}}}]}}'
    expected, _ = flatten_carefully([msgspec.Raw(order.encode())])
    try:
        batch = flatten_fast([msgspec.Raw(order.encode())], Layout.of_schema())
    except REFUSALS:
        event("refused")
    else:
        assert_same(batch, expected)


@given(orders(known, odd), st.integers(1, 3))
def test_the_flattener_gives_what_the_careful_way_gives(given_orders, size):
    pages = [given_orders[i : i + size] for i in range(0, len(given_orders), size)]
    with Flattener() as flattener:
        futures = [flattener.add(page) for page in pages]
        found, _ = assemble([batch for each in futures for batch in each.result()])
    expected, _ = assemble([flatten_carefully(given_orders)[0]])
    assert_same(found, expected)


def _boxes_beside_packages(batch):
    return any(path.endswith("boxes") for path in batch["problems"]["path"].to_pylist())
