"""Docs that cannot drift: docstrings are whole, examples run, pages are as the code has them."""

import ast
import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import validate

import trackstar_frames as tf
from trackstar_frames import sandbox
from trackstar_frames.distributed import DaskFrames
from trackstar_frames.filters import FIELDS
from trackstar_frames.schema import TABLES

ROOT = Path(__file__).parent.parent
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
MODULES = ["trackstar_frames"] + [
    module.name
    for module in pkgutil.walk_packages(tf.__path__, "trackstar_frames.")
    if not module.name.endswith("__main__")
]

#: Checks of numpydoc that are left out, and why.
LEFT_OUT = {
    "PR04": "types stand in the annotations, which are checked",
    "SA01": "where nothing is near, there is nothing to see",
    "ES01": "one sentence is enough where it says all",
}
#: What this package makes and hands out: nobody passes its parameters, which are attributes.
HANDED_OUT = {tf.OrderFrames, tf.Page, tf.Snapshot, DaskFrames, sandbox.Changes, sandbox.Request}


def public():
    """Return each public name, and each method and property that a public class defines."""
    names = {f"trackstar_frames.{name}": getattr(tf, name) for name in tf.__all__}
    names |= {
        f"trackstar_frames.sandbox.{name}": getattr(sandbox, name) for name in sandbox.__all__
    }
    names["trackstar_frames.distributed.DaskFrames"] = DaskFrames
    members = {
        f"{name}.{member}": inspect.getattr_static(thing, member)
        for name, thing in names.items()
        if inspect.isclass(thing)
        for member in vars(thing)
        if not member.startswith("_") and is_described(thing, member)
    }
    return names | members


def is_described(owner, member):
    """Return whether a member is a method or property; fields are described by their class."""
    own = inspect.getattr_static(owner, member)
    return callable(getattr(owner, member)) or isinstance(own, property) or hasattr(own, "func")


def is_error(thing):
    return inspect.isclass(thing) and issubclass(thing, Exception)


def is_looked_at(thing):
    """Return whether a member is a value, and not called."""
    return isinstance(thing, property) or hasattr(thing, "func")


PUBLIC = public()


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented_by_numpydoc_rules(name):
    thing, left_out = PUBLIC[name], set(LEFT_OUT)
    if is_looked_at(thing) or is_error(thing):
        left_out.add("EX01")  # it is looked at, or caught
    if is_error(thing) or (inspect.isclass(thing) and thing in HANDED_OUT):
        left_out.add("PR01")
    errors = [error for error in validate(name)["errors"] if error[0] not in left_out]
    assert errors == []


@pytest.mark.parametrize("made", sorted(HANDED_OUT, key=lambda made: made.__name__))
def test_returned_objects_document_their_attributes(made):
    documented = {
        name.strip()
        for entry in get_doc_object(made)["Attributes"]
        for name in entry.name.split(",")
    }
    fields = getattr(made, "__dataclass_fields__", getattr(made, "_fields", (*TABLES, "info")))
    assert set(fields) <= documented


@pytest.mark.parametrize("module", MODULES)
def test_all_examples_run(module, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = importlib.import_module(module)
    result = doctest.testmod(found, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
    assert result.attempted == len(examples(Path(found.__file__).read_text(encoding="utf-8")))


def test_no_example_is_skipped():
    for path in (ROOT / "trackstar_frames").rglob("*.py"):
        assert "doctest: +SKIP" not in path.read_text(encoding="utf-8"), path


def examples(source):
    """List the examples of a source's docstrings, however deep they stand."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = [ast.get_docstring(n) for n in ast.walk(ast.parse(source)) if isinstance(n, documented)]
    parser = doctest.DocTestParser()
    return [example for doc in docs if doc for example in parser.get_examples(doc)]


@pytest.fixture(scope="module")
def make():
    """Load the script that makes pages."""
    spec = importlib.util.spec_from_file_location("make", ROOT / "docs" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["data_dictionary.md", "filters.md"])
def test_a_page_is_as_the_code_has_it(make, page):
    assert page in make.PAGES
    kept = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert kept == make.PAGES[page](), f"docs/{page} is out of date; run: python docs/make.py"


def test_every_page_that_is_made_is_tested_and_kept(make):
    kept = {
        path.name for path in (ROOT / "docs").glob("*.md") if "docs/make.py" in path.read_text()
    }
    assert kept == set(make.PAGES)


def test_the_pages_list_every_column_and_every_filter(make):
    columns, filters = (make.PAGES[page]() for page in ("data_dictionary.md", "filters.md"))
    for row in tf.data_dictionary().itertuples():
        assert re.search(
            rf"^\| `{row.column}` .*{re.escape(row.description)}", columns, re.MULTILINE
        )
    personal = columns.count("personal |") + columns.count("| personal,")
    assert personal == tf.data_dictionary()["personal"].sum()
    for name, field in FIELDS.items():
        (line,) = re.findall(rf"^\| `{name}` .*", filters, re.MULTILINE)
        assert all(f"`{each.replace('-', '_')}`" in line for each in field.operators)


def test_the_docstring_of_a_fetch_names_every_filter():
    text = inspect.getdoc(tf.fetch_orders_df).partition("**filters")[2]
    assert {name for name in FIELDS if not re.search(rf"\b{name}\b", text)} == set()


@pytest.mark.parametrize("name", [name for name in tf.__all__ if not name.endswith("Error")])
def test_the_changelog_names_every_public_name(name):
    assert re.search(rf"`{name}\b", CHANGELOG)


def test_the_changelog_has_a_line_for_each_change():
    text = CHANGELOG.replace("\n  ", " ")
    changes = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert {line[:2] for line in changes} == {"- "}
    assert len(set(changes)) == len(changes)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert f"\n## {version['project']['version']} " in CHANGELOG
