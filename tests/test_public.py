"""The public face: names, docstrings, and the words of the README."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import trackstar_frames as tf
from trackstar_frames.filters import FIELDS
from trackstar_frames.parquet import PART

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PUBLIC = [name for name in tf.__all__ if not name.endswith("Error")]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(tf.__path__, "trackstar_frames.")
    if not module.name.rpartition(".")[2].startswith("_")
]


def test_names_are_sorted_and_there():
    assert tf.__all__ == sorted(tf.__all__)
    assert set(tf.__all__) <= set(dir(tf))
    assert all(getattr(tf, name) is not None for name in tf.__all__)


def test_a_name_that_is_not_there_says_so():
    with pytest.raises(AttributeError, match="plot_everything"):
        _ = tf.plot_everything


def test_every_error_is_in_the_tree_and_public():
    tree = importlib.import_module("trackstar_frames.errors").__doc__
    errors = {name for name in tf.__all__ if name.endswith("Error")}
    assert set(re.findall(r"\w+Error(?=\s)", tree)) - {"ValueError"} == errors


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name):
    thing = getattr(tf, name)
    doc = inspect.getdoc(thing)
    assert doc
    if inspect.isfunction(thing):
        assert "Returns\n-------" in doc
        parameters = inspect.signature(thing).parameters
        if "Parameters\n" in doc:
            for parameter in parameters:
                assert re.search(rf"^(\*\*|.*\b){re.escape(parameter)}\b", doc, re.MULTILINE)


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_run(module, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(
        importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert result.failed == 0


def test_the_examples_of_the_package_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(tf)
    assert (result.failed, result.attempted > 3) == (0, True)


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # dask's, of pandas
def test_the_code_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(code, names)
    assert len(names["again"].orders) == 2000
    assert names["weekly"]["rate"].between(0, 1).any()
    assert names["tuesday"].info["requests"] == 1
    assert names["tuesday"].info["sync"]["base"] == names["monday"].name


def test_the_readme_lists_every_filter_and_its_operators():
    listed = {}
    for line in README.splitlines():
        cells = [re.findall(r"`(\w+)`", cell) for cell in line.strip("|").split("|")]
        if len(cells) == 2 and set(cells[0]) & set(FIELDS):
            listed |= dict.fromkeys(cells[0], cells[1])
    expected = {
        name: [operator.replace("-", "_") for operator in field.operators]
        for name, field in FIELDS.items()
    }
    assert listed.pop("ids") == []
    assert listed == {name: ops for name, ops in expected.items() if name != "ids"}


def test_the_readme_knows_how_long_a_part_is():
    assert f"parts of about {PART:,}\norders" in README


@pytest.mark.parametrize("error", [name for name in tf.__all__ if name.endswith("Error")])
def test_the_readme_says_what_to_do_about_every_error(error):
    assert f"`{error}`" in README or error == "ApiError"
