"""Every table keeps the rules of its declaration, and a table that is declared is all there."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from trackstar_frames.schema import CHILD_TABLES, LISTS, TABLES

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", CHILD_TABLES)
def test_a_child_table_is_keyed_by_its_order_and_its_positions(name):
    table = TABLES[name]
    assert table.key[0] == "order_id"
    assert len(table.key) == 1 + table.path.count("[]")
    assert tuple(column.name for column in table.columns[: len(table.key)]) == table.key


@pytest.mark.parametrize("name", ["orders", *CHILD_TABLES])
def test_unknown_keys_have_a_column_unless_rows_are_plain_values(name):
    table = TABLES[name]
    if table.value is None:
        assert table.columns[-1].name == "extra"
    else:
        assert table.value.kind in ("string", "int", "float", "bool")
        assert "extra" not in table.schema.names
        assert len([column for column in table.columns if column.path is not None]) == 1


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_is_also_a_column_is_of_strings(name):
    paths = {column.path: column for column in TABLES[name].columns}
    for key, child in LISTS[name].items():
        if (key,) in paths:
            assert paths[key,].kind == "strings"
            assert TABLES[child].value.kind == "string"


def test_every_child_table_has_a_parent_that_comes_before_it():
    parents = {child: parent for parent, lists in LISTS.items() for child in lists.values()}
    assert set(parents) == set(CHILD_TABLES)
    names = list(TABLES)
    assert all(names.index(parents[child]) < names.index(child) for child in CHILD_TABLES)
    assert names[0] == "orders"
    assert names[-1] == "problems"


@pytest.fixture(scope="module")
def with_table(tmp_path_factory):
    """Follow CONTRIBUTING.md in a copy of the package, and return its folder."""
    root = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("trackstar_frames", "docs"):
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    recipe = text[text.index("## How to add a table") :]
    code = textwrap.dedent(re.search(r" *```text\n(.*?) *```", recipe, re.DOTALL)[1])
    name = code.partition(" ")[0]
    schema = root / "trackstar_frames" / "schema.py"
    declared = schema.read_text(encoding="utf-8")
    above = "#: Parents before children"
    last = "    _PROBLEMS,\n"
    assert declared.count(above) == declared.count(last) == 1
    declared = declared.replace(above, f"{code}\n\n{above}")
    declared = declared.replace(last, f"    {name},\n{last}")
    schema.write_text(declared, encoding="utf-8")

    return root


def run(root, *command):
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


READ = """
import msgspec
import pandas as pd

import trackstar_frames as tf
from trackstar_frames.flatten.careful import flatten_carefully
from trackstar_frames.flatten.fast import flatten_fast
from trackstar_frames.flatten.layout import Layout

PLAIN = [{"id": "a", "tags": ["red", "big"]}, {"id": "b", "tags": []}, {"id": "c"}]
ROWS = [("a", 0, "red"), ("a", 1, "big")]


def rows(table):
    return [tuple(row.values()) for row in table.to_pylist()]


# Both readers.
raw = [msgspec.Raw(msgspec.json.encode(order)) for order in PLAIN]
careful, odd = flatten_carefully(raw)
fast = flatten_fast(raw, Layout.of_schema())
assert not odd
for name, table in careful.items():
    assert fast[name].equals(table), name
assert rows(fast["order_tags"]) == [(0, 0, "red"), (0, 1, "big")]

# The frames.
frames = tf.OrderFrames.from_json(PLAIN)
assert list(frames.to_arrow())[-2:] == ["order_tags", "problems"]
assert rows(frames.to_arrow()["order_tags"]) == ROWS
assert frames.orders["tags"].tolist()[0] == ("red", "big")
assert list(frames.order_tags.itertuples(index=False, name=None)) == ROWS
assert frames.order_tags["tag_index"].dtype == "Int64"
assert "2 order_tags" in repr(frames)
assert "one tag of an order" in frames._repr_html_()
assert tf.OrderFrames.order_tags.__doc__ == "One row is one tag of an order."
arrow = tf.OrderFrames.from_json(PLAIN, dtype_backend="pyarrow").order_tags
assert isinstance(arrow["tag"].dtype, pd.ArrowDtype)
assert tf.OrderFrames.from_json(PLAIN, pii="drop").order_tags["tag"].isna().all()

# Values that are odd, and lists that are none.
ODD = [{"id": "d", "tags": ["x", None, 5, {"k": 1}]}, {"id": "e", "tags": 7}]
odd = tf.OrderFrames.from_json(ODD)
assert odd.order_tags["tag"].tolist()[:3:2] == ["x", "5"]
assert odd.order_tags["tag"].isna().tolist() == [False, True, False, True]
places = odd.problems[["table", "order_id", "path", "value"]]
found = list(places.itertuples(index=False, name=None))
assert ("order_tags", "d", "tags[3]", '{"k": 1}') in found
assert [each for each in found if each[1] == "e"] == [("orders", "e", "tags", "7")]

# The data dictionary.
columns = tf.data_dictionary().set_index(["table", "column"]).loc["order_tags"]
assert columns["path"].to_dict()["tag"] == "tags[]"
assert columns["type"].tolist() == ["str", "Int64", "str"]
assert columns["free_form"].tolist() == [False, False, True]
"""

STORE = """
import tempfile

import pandas as pd

import trackstar_frames as tf
from trackstar_frames.sandbox import Sandbox

NAMES = ["order_id", "tag_index", "tag"]

# A snapshot, whole and in part.
old = tf.OrderFrames.from_json([{"id": "a", "tags": ["red", "big"]}, {"id": "b", "tags": ["x"]}])
new = tf.OrderFrames.from_json([{"id": "a", "tags": ["red"]}, {"id": "b", "tags": ["x"]}])
with tempfile.TemporaryDirectory() as root:
    snapshot = tf.write_snapshot(old, root)
    pd.testing.assert_frame_equal(tf.read_snapshot(root).order_tags, old.order_tags)
    assert pd.read_parquet(f"{snapshot.path}/order_tags").columns.tolist() == NAMES
    assert "order_tags" in snapshot._repr_html_()
    lazy = tf.read_snapshot_dask(root)
    assert lazy.order_tags.compute()["tag"].tolist() == ["red", "big", "x"]
    assert "order_tags" in lazy._repr_html_()
diff = tf.diff_snapshots(old, new)
assert diff["column"].tolist() == ["tags", "order_tags"], diff

# An export, and a sync of what has changed.
with Sandbox(orders=60) as sandbox, tempfile.TemporaryDirectory() as root:
    client = sandbox.client(cache=False)
    expected = [
        (order["id"], index, tag)
        for order in sandbox.orders
        for index, tag in enumerate(order.get("tags") or [])
    ]
    assert expected

    def held(frames):
        return sorted(frames.order_tags[NAMES].itertuples(index=False, name=None))

    assert held(tf.export_orders(f"{root}/exports", client=client).read()) == sorted(expected)
    tf.sync_orders(f"{root}/syncs", client=client)
    sandbox.advance(24)
    synced = tf.sync_orders(f"{root}/syncs", client=client).read()
    expected = [
        (order["id"], index, tag)
        for order in sandbox.orders
        for index, tag in enumerate(order.get("tags") or [])
    ]
    assert held(synced) == sorted(expected)
"""


def test_a_declared_table_is_read_typed_and_documented(with_table):
    run(with_table, "-c", READ)


@pytest.mark.slow
def test_a_declared_table_is_stored_exported_synced_and_compared(with_table):
    run(with_table, "-c", STORE)


def test_a_declared_table_is_a_section_of_the_data_dictionary(with_table):
    run(with_table, "docs/make.py")
    page = run(with_table, "-c", "print(open('docs/data_dictionary.md').read())")
    assert "## order_tags\n\nOne row is one tag of an order." in page


@pytest.mark.slow
def test_both_readers_agree_on_a_declared_table(with_table):
    shutil.copytree(ROOT / "tests", with_table / "tests", ignore=shutil.ignore_patterns("*.png"))
    shutil.copy(ROOT / "pyproject.toml", with_table)
    laws = ("tests/flatten/test_fast_and_careful.py", "tests/flatten/test_laws.py")
    # A tag stands in the column of the order too, and so is not found exactly once.
    once = ("-k", "not every_text")
    run(with_table, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *once, *laws)
