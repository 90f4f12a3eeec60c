"""CONTRIBUTING.md keeps its word: what it says is done to a copy of this repository, and works."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(title):
    """Give what stands under a title."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE).group(1)


def codes(text):
    """List the code of a section, as it would stand in a file."""
    return [
        textwrap.dedent(code)
        for code in re.findall(r" *```(?:python|text)\n(.*?) *```", text, re.DOTALL)
    ]


def places(text):
    """List the places that a section names: a file, and what in it."""
    return re.findall(r"`([\w/]+\.py)`,\s+in\s+`(\w+)`", text)


@pytest.fixture
def copy(tmp_path):
    """Copy what the recipes touch."""
    for name in ("trackstar_frames", "docs", "tests"):
        bulky = shutil.ignore_patterns(
            "__pycache__", "*.png", "benchmarks", "plots" if name == "tests" else ""
        )
        shutil.copytree(ROOT / name, tmp_path / name, ignore=bulky)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def insert(path, name, code, *, above=None):
    """Write code at the end of what has this name, or above a line of it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    (node,) = (each for each in ast.parse("\n".join(lines)).body if name in names(each))
    start, end = body(node)
    if above is not None:
        end = next(n for n in range(start, end) if lines[n].strip() == f"{above},")
    indent = re.match(" *", lines[end - 1]).group()
    lines[end:end] = textwrap.indent(code.rstrip("\n"), indent).splitlines()
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def names(node):
    """Name what a statement of a module makes."""
    targets = getattr(node, "targets", [getattr(node, "target", node)])
    return {getattr(target, "id", getattr(target, "name", None)) for target in targets}


def body(node):
    """Tell where the lines of a class, or of the longest list that is assigned, begin and end."""
    if isinstance(node, ast.ClassDef):
        return node.lineno, node.end_lineno
    lists = [each for each in ast.walk(node) if isinstance(each, (ast.Dict, ast.Tuple, ast.List))]
    longest = max(lists, key=lambda each: each.end_lineno - each.lineno)
    return longest.lineno, longest.end_lineno - 1


def run(copy, *command):
    """Run Python in the copy, and on it."""
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


def good(copy, *command):
    code, said = run(copy, *command)
    assert code == 0, said
    return said


def try_tests(copy, *chosen):
    return run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", *chosen)


@pytest.mark.slow
def test_a_filter_is_added_as_it_says(copy):
    said = section("How to add a filter")
    grammar = "tests/test_filters.py::test_the_grammar_is_that_of_the_documentation"
    typed = "tests/test_filter_types.py::test_they_are_those_of_the_grammar"
    named = places(said)
    assert [Path(path).name for path, _ in named] == [
        "filters.py",
        "typed.py",
        "columns.py",
        "query.py",
        "test_filters.py",
    ]
    for number, ((path, name), code) in enumerate(zip(named, codes(said), strict=True)):
        if number == 1:
            assert try_tests(copy, typed)[0] == 1  # which tells whoever forgets the next step
        insert(copy / path, name, code)
    asked = (
        'from trackstar_frames.filters import encode; print(encode({"warehouse_id": ["b", "a"]}))'
    )
    assert good(copy, "-c", asked) == "[{'warehouse_id[in]': 'a,b'}]\n"
    good(copy, "docs/make.py")
    assert "| `warehouse_id` | text |" in (copy / "docs" / "filters.md").read_text(encoding="utf-8")
    operators = ("eq", "neq", "in", "nin", "contains", "not_contains")
    each = [f"tests/test_filters.py::test_one_filter[warehouse_id-{name}]" for name in operators]
    code, out = try_tests(copy, typed, grammar, *each)
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
    said = section("How to add a column")
    ((path, name),) = [place for place in places(said) if place[1] == "_ORDERS"]
    (code,) = codes(said)
    schema = copy / path
    above = re.search(r"above `([^`]+)`", said).group(1)
    insert(schema, name, code, above=above)
    before = re.search(r"^SCHEMA_VERSION = (\d+)", schema.read_text(encoding="utf-8"), re.MULTILINE)
    raised = int(before.group(1)) + 1
    schema.write_text(
        schema.read_text(encoding="utf-8").replace(before.group(), f"SCHEMA_VERSION = {raised}"),
        encoding="utf-8",
    )
    assert good(copy, "-c", COLUMN) == f"{raised}\n"
    good(copy, "docs/make.py")
    page = (copy / "docs" / "data_dictionary.md").read_text(encoding="utf-8")
    assert "| `gift_message` | str | `gift.message` | What the card says. | personal |" in page
    code, out = try_tests(
        copy,
        "tests/flatten/test_laws.py",
        "tests/flatten/test_fast_and_careful.py",
        "tests/snapshots/test_older_versions.py",
    )
    assert code == 0, out


@pytest.mark.slow
def test_a_metric_is_added_as_it_says(copy):
    said = section("How to add a metric")
    (code,) = codes(said)
    package = copy / "trackstar_frames"
    (package / "measures" / "channels.py").write_text(code, encoding="utf-8")
    for path in (package / "measures" / "__init__.py", package / "__init__.py"):
        add_beside(path, "status_mix", "channel_counts")
    room = package / "measures" / "__init__.py"
    line = "from trackstar_frames.measures.channels import channel_counts\n"
    text = room.read_text(encoding="utf-8")
    room.write_text(text.replace("from trackstar_frames", line + "from trackstar_frames", 1))
    call = "import trackstar_frames as tf; tf.channel_counts(tf.OrderFrames.from_json({'id': 'a'}))"
    code, out = run(copy, "-c", call)
    assert code == 1
    assert out.endswith("such as its .orders\n")
    with (copy / "CHANGELOG.md").open("a", encoding="utf-8") as changelog:
        changelog.write("- `channel_counts`: how many orders each channel has.\n")
    docs, house = "tests/test_docs.py::test_", "tests/test_architecture.py::test_"
    code, out = try_tests(
        copy,
        f"{docs}every_public_name_is_documented_as_numpydoc_asks[trackstar_frames.channel_counts]",
        f"{docs}all_examples_run[trackstar_frames.measures.channels]",
        f"{docs}the_changelog_tells_of_every_public_name[channel_counts]",
        f"{house}measures_plots_and_sandbox_keep_to_themselves",
    )
    assert code == 0, out


def add_beside(path, name, other):
    """Add a name to each list, of names or of texts, that has another."""
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


def test_its_commands_are_there():
    commands = [
        line.split("`")[1] for line in section("Set up").splitlines() if line.startswith("| `")
    ]
    assert len(commands) == 6
    for word in re.findall(r"[\w./]+/[\w./]+", " ".join(commands)):
        assert (ROOT / word).exists(), word
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "test" in project["project"]["optional-dependencies"]


def test_its_rooms_are_there():
    rooms = [
        room
        for line in re.findall(r"^\d+\. .*", section("The house"), re.MULTILINE)
        for room in re.findall(r"`(\w+)`", line)
    ]
    assert len(rooms) > 20
    for room in rooms:
        place = ROOT / "trackstar_frames" / room
        assert place.is_dir() or place.with_suffix(".py").exists(), room


def test_its_order_of_rooms_is_that_of_the_imports():
    spec = importlib.util.spec_from_file_location(
        "architecture", ROOT / "tests" / "test_architecture.py"
    )
    architecture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(architecture)
    lines = re.findall(r"^\d+\. (.*)", section("The house"), re.MULTILINE)
    later = set()
    for line in reversed(lines[:-1]):
        own = set(re.findall(r"`(\w+)`", line)) - {"cli"}
        for path in (path for room in own for path in architecture.files(room)):
            assert not architecture.imports(path) & later, path
        later |= own
