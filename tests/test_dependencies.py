"""What is imported is declared, in the right extra; what is declared is used; in one place."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PACKAGE, TESTS, BENCHMARKS = (ROOT / name for name in ("trackstar_frames", "tests", "benchmarks"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
OF = packages_distributions()

#: The extra that a room may import from; `demo` is for the shell, which loads it late.
EXTRA_OF = {
    "cli": "demo",
    "measures": "calendars",
    "plots": "plots",
    "sandbox": "sandbox",
    "distributed": "dask",
}
#: What is run, or read by what is run, rather than imported.
TOOLS = {
    "build",
    "jupyter",
    "mypy",
    "pandas-stubs",
    "pytest-mpl",
    "pytest-timeout",
    "pytest-xdist",
    "ruff",
    "types-requests",
    "types-tqdm",
}
#: What one benchmark compares with, if somebody has installed it.
PEERS = {"dlt"}


def names(requirements):
    """Tell the distributions of some requirements, this one's extras followed."""
    found = set()
    for requirement in map(Requirement, requirements):
        if requirement.name == PROJECT["name"]:
            found |= {name for extra in requirement.extras for name in names(EXTRAS[extra])}
        else:
            found.add(canonicalize_name(requirement.name))
    return found


def modules(path):
    """List the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def distributions(folder):
    """Tell the distributions that the files below a folder, or a file, import."""
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]
    ours = {path.stem for path in BENCHMARKS.glob("*.py")} | {
        PACKAGE.name,
        "helpers",
        "test_architecture",
    }
    tops = {module.partition(".")[0] for path in files for module in modules(path)}
    foreign = tops - set(sys.stdlib_module_names) - ours
    return {canonicalize_name(OF[top][0]) if top in OF else top for top in foreign}


CORE = names(PROJECT["dependencies"])
ROOMS = sorted([*PACKAGE.glob("*.py"), *(each.parent for each in PACKAGE.glob("*/__init__.py"))])


@pytest.mark.parametrize("part", ROOMS, ids=lambda path: path.name)
def test_a_package_imports_only_its_declared_dependencies(part):
    extra = EXTRA_OF.get(part.stem)
    assert distributions(part) <= CORE | (names(EXTRAS[extra]) if extra else set())


def test_what_is_declared_is_imported():
    of_extras = {name for extra in EXTRA_OF.values() for name in names(EXTRAS[extra])}
    assert distributions(PACKAGE) == CORE | of_extras


def test_what_the_tests_import_is_declared_and_the_rest_are_tools():
    declared = names(EXTRAS["test"]) | CORE
    imported = distributions(TESTS) | distributions(BENCHMARKS) | distributions(PACKAGE)
    assert imported - PEERS <= declared
    assert declared - imported == TOOLS


@pytest.mark.parametrize("requirement", [*PROJECT["dependencies"], *chain(*EXTRAS.values())])
def test_every_requirement_has_a_floor_and_nothing_else(requirement):
    parsed = Requirement(requirement)
    if parsed.name != PROJECT["name"]:
        assert [each.operator for each in parsed.specifier] == [">="]


def test_the_classifiers_are_of_pythons_that_may_be_used():
    reported = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert f">={reported[0]}" == PROJECT["requires-python"]
    assert all(version in SpecifierSet(PROJECT["requires-python"]) for version in reported)


def test_the_environment_is_the_package_with_all_its_extras_and_versions_of_python_alone():
    lines = (ROOT / "environment.yml").read_text().splitlines()
    reported = [line.split("#")[0].rstrip() for line in lines if line.split("#")[0].strip()]
    name = canonicalize_name(PROJECT["name"])
    assert reported[:3] == [f"name: {name}", "channels:", "  - conda-forge"]
    assert reported[3:6] == ["dependencies:", f"  - python{PROJECT['requires-python']}", "  - pip"]
    assert reported[6] == "  - pip:"
    (package,) = reported[7:]
    extras = re.fullmatch(r" {6}- -e \.\[([\w,]+)\]", package).group(1).split(",")
    everything = {name for extra in EXTRAS for name in names(EXTRAS[extra])}
    assert {name for extra in extras for name in names(EXTRAS[extra])} == everything
