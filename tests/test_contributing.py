"""What CONTRIBUTING.md says is done to a copy of this repository, and works."""

import ast
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
from test_architecture import files, imports

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(title):
    """Return the text under a title."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE).group(1)


def codes(text):
    """Return the code blocks of a section, without their indentation."""
    return [
        textwrap.dedent(code)
        for code in re.findall(r" *```(?:python|text)\n(.*?) *```", text, re.DOTALL)
    ]


def targets(text):
    """Return the files that a section names, each with the list or class to add to."""
    return re.findall(r"`([\w/]+\.py)`,\s+in\s+`(\w+)`", text)


@pytest.fixture
def copy(tmp_path):
    """Copy what the instructions change or run."""
    for name in ("trackstar_frames", "docs", "tests"):
        bulky = shutil.ignore_patterns(
            "__pycache__", "*.png", "benchmarks", "plots" if name == "tests" else ""
        )
        shutil.copytree(ROOT / name, tmp_path / name, ignore=bulky)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def insert(path, name, code, *, above=None):
    """Insert code at the end of the list or class of this name, or above a line of it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    (node,) = (each for each in ast.parse("\n".join(lines)).body if name in defined_names(each))
    start, end = body(node)
    if above is not None:
        end = next(n for n in range(start, end) if lines[n].strip() == f"{above},")
    indent = re.match(" *", lines[end - 1]).group()
    lines[end:end] = textwrap.indent(code.rstrip("\n"), indent).splitlines()
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def defined_names(node):
    """Return the names that a statement of a module defines."""
    assigned = getattr(node, "targets", [getattr(node, "target", node)])
    return {getattr(target, "id", getattr(target, "name", None)) for target in assigned}


def body(node):
    """Return the first and the last line of a class, or of the longest list that is assigned."""
    if isinstance(node, ast.ClassDef):
        return node.lineno, node.end_lineno
    lists = [each for each in ast.walk(node) if isinstance(each, (ast.Dict, ast.Tuple, ast.List))]
    longest = max(lists, key=lambda each: each.end_lineno - each.lineno)
    return longest.lineno, longest.end_lineno - 1


def run(copy, *command):
    """Run Python in the copy, with its package."""
    environment = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=copy,
        env=environment,
    )
    return done.returncode, done.stdout + done.stderr


def check(copy, *command):
    code, output = run(copy, *command)
    assert code == 0, output
    return output


def run_tests(copy, *tests):
    return run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", *tests)


@pytest.mark.slow
def test_a_filter_is_added_as_it_says(copy):
    text = section("How to add a filter")
    grammar = "tests/test_filters.py::test_the_grammar_is_that_of_the_documentation"
    types = "tests/test_filter_types.py::test_they_are_those_of_the_grammar"
    found = targets(text)
    assert [(Path(path).name, name) for path, name in found] == [
        ("filters.py", "FIELDS"),
        ("filter_types.py", "OrderFilters"),
        ("database.py", "FIELDS"),
        ("test_filters.py", "GRAMMAR"),
    ]
    for number, ((path, name), code) in enumerate(zip(found, codes(text), strict=True)):
        if number == 1:
            assert run_tests(copy, types)[0] == 1  # it finds that the next step is missing
        insert(copy / path, name, code)
    encoding = (
        'from trackstar_frames.filters import encode; print(encode({"warehouse_id": ["b", "a"]}))'
    )
    assert check(copy, "-c", encoding) == "[{'warehouse_id[in]': 'a,b'}]\n"
    check(copy, "docs/make.py")
    assert "| `warehouse_id` | text |" in (copy / "docs" / "filters.md").read_text(encoding="utf-8")
    operators = ("eq", "neq", "in", "nin", "contains", "not_contains")
    each = [f"tests/test_filters.py::test_one_filter[warehouse_id-{name}]" for name in operators]
    code, out = run_tests(copy, types, grammar, *each)
    assert code == 0, out


COLUMN = """
import tempfile
import trackstar_frames as tf
from trackstar_frames.schema import SCHEMA_VERSION

orders = [
    {"id": "a", "gift": {"message": "hello", "wrapped": True}},
    {"id": "b", "gift": {"message": 5}},
    {"id": "c"},
]
frames = tf.OrderFrames.from_json(orders)
found = frames.orders["gift_message"]
assert found.isna().tolist() == [False, False, True], found
assert found.tolist()[:2] == ["hello", "5"], found
assert frames.orders["extra"][0] == '{"gift":{"wrapped":true}}', frames.orders["extra"][0]
arrow = tf.OrderFrames.from_json(orders, dtype_backend="pyarrow").orders["gift_message"]
assert arrow[0] == "hello" and str(arrow.dtype).startswith("string"), arrow.dtype
words = tf.data_dictionary().set_index(["table", "column"]).loc[("orders", "gift_message")]
assert (words["path"], words["personal"], words["type"]) == ("gift.message", True, "str")
assert tf.OrderFrames.from_json(orders, pii="drop").orders["gift_message"].isna().all()
with tempfile.TemporaryDirectory() as root:
    tf.write_snapshot(frames, root)
    assert tf.read_snapshot(root).orders["gift_message"][0] == "hello"
    assert tf.list_snapshots(root)["schema_version"][0] == SCHEMA_VERSION
print(SCHEMA_VERSION)
"""


@pytest.mark.slow
def test_a_column_is_added_as_it_says(copy):
    text = section("How to add a column")
    ((path, name),) = targets(text)
    (code,) = codes(text)
    schema = copy / path
    above = re.search(r"above `([^`]+)`", text).group(1)
    insert(schema, name, code, above=above)
    before = re.search(r"^SCHEMA_VERSION = (\d+)", schema.read_text(encoding="utf-8"), re.MULTILINE)
    version = int(before.group(1)) + 1
    schema.write_text(
        schema.read_text(encoding="utf-8").replace(before.group(), f"SCHEMA_VERSION = {version}"),
        encoding="utf-8",
    )
    assert check(copy, "-c", COLUMN) == f"{version}\n"
    check(copy, "docs/make.py")
    page = (copy / "docs" / "data_dictionary.md").read_text(encoding="utf-8")
    assert "| `gift_message` | str | `gift.message` | What the card says. | personal |" in page
    code, out = run_tests(
        copy,
        "tests/flatten/test_laws.py",
        "tests/flatten/test_fast_and_careful.py",
        "tests/snapshots/test_older_versions.py",
    )
    assert code == 0, out


@pytest.mark.slow
def test_a_metric_is_added_as_it_says(copy):
    (code,) = codes(section("How to add a metric"))
    package = copy / "trackstar_frames"
    (package / "measures" / "channels.py").write_text(code, encoding="utf-8")
    for path in (package / "measures" / "__init__.py", package / "__init__.py"):
        add_beside(path, "status_mix", "channel_counts")
    measures = package / "measures" / "__init__.py"
    line = "from trackstar_frames.measures.channels import channel_counts\n"
    text = measures.read_text(encoding="utf-8")
    measures.write_text(text.replace("from trackstar_frames", line + "from trackstar_frames", 1))
    call = "import trackstar_frames as tf; tf.channel_counts(tf.OrderFrames.from_json({'id': 'a'}))"
    code, out = run(copy, "-c", call)
    assert code == 1
    assert out.endswith("such as its .orders\n")
    with (copy / "CHANGELOG.md").open("a", encoding="utf-8") as changelog:
        changelog.write("- `channel_counts`: how many orders each channel has.\n")
    docs, architecture = "tests/test_docs.py::test_", "tests/test_architecture.py::test_"
    code, out = run_tests(
        copy,
        f"{docs}every_public_name_is_documented_by_numpydoc_rules[trackstar_frames.channel_counts]",
        f"{docs}all_examples_run[trackstar_frames.measures.channels]",
        f"{docs}the_changelog_names_every_public_name[channel_counts]",
        f"{architecture}measures_plots_and_sandbox_keep_to_themselves",
    )
    assert code == 0, out


def add_beside(path, name, other):
    """Add a name to each list of names or strings that has another."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [line for line in lines if line.strip() in (f"{name},", f'"{name}",')]
    assert found
    for line in set(found):
        lines = [
            each
            for old in lines
            for each in ((old.replace(name, other), old) if old == line else (old,))
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_its_commands_exist():
    commands = [
        line.split("`")[1] for line in section("Set up").splitlines() if line.startswith("| `")
    ]
    assert len(commands) == 6
    for word in re.findall(r"[\w./]+/[\w./]+", " ".join(commands)):
        assert (ROOT / word).exists(), word
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "test" in project["project"]["optional-dependencies"]


def layers():
    """Return the modules and packages of each line of the section."""
    lines = re.findall(r"^\d+\. .*", section("Layers"), re.MULTILINE)
    return [re.findall(r"`(\w+)`", line) for line in lines]


def test_its_layers_exist():
    found = [name for line in layers() for name in line]
    assert len(found) > 20
    assert all(files(name)[0].exists() for name in found)


def test_its_order_of_layers_is_that_of_the_imports():
    later = set()
    for line in reversed(layers()[:-1]):
        for path in (path for name in line for path in files(name)):
            assert not imports(path) & later, path
        later |= {*line}


def test_each_change_needs_at_most_three_files_which_exist():
    rows = [line for line in section("Where to look").splitlines() if line.startswith("| ")]
    assert len(rows) == 7
    for row in rows[1:]:
        paths = re.findall(r"`([\w/]+\.py)`", row)
        assert 1 <= len(paths) <= 3, row
        assert all((ROOT / path).exists() for path in paths), row
