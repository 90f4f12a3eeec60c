"""The public face: names, docstrings, and the words of the README."""

import doctest
import importlib
import inspect
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

import trackstar_frames as tf

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


def test_environment_and_package_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environment = (ROOT / "environment.yml").read_text()
    assert f"python{project['requires-python']}" in environment
    extras = re.search(r"-e \.\[([\w,]+)\]", environment).group(1).split(",")
    assert set(extras) <= set(project["optional-dependencies"])
