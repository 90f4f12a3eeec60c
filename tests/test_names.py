"""Names that the field does not use, and the size of the package."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "trackstar_frames"
FILES = sorted(
    path for name in ("trackstar_frames", "tests") for path in (ROOT / name).rglob("*.py")
)

#: Whole identifiers of modules, classes, functions, attributes, parameters and variables.
BANNED = {
    *("Again", "Answers", "Browser", "Browsers", "Crew", "Fill", "Gathering", "Job", "Like"),
    *("Place", "Placed", "Question", "Reading", "Shares", "Spilled", "Taken", "Tally", "Watch"),
    *("Wires", "Written", "alone", "apart", "aside", "began", "comes_again", "crew", "doubt"),
    *("heed", "hide", "hides", "house", "leave_out", "lets_go", "met", "question", "questions"),
    *("room", "rooms", "said", "tally", "thin", "thin_snapshots", "told", "twin", "whom", "whose"),
}
#: Of functions of the package: their parameters have other names.
BANNED_PARAMETERS = {"cluster", "workers", "which"}
#: Of modules and functions; as variables these are plain words.
BANNED_DEFINITIONS = {"between", "meet", "stack", "stacked"}

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def parameters(function):
    """List the parameters of a function."""
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return [each.arg for each in every if each is not None]


def names(tree):
    """Give each name that is defined, assigned, imported or looked up, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        if isinstance(node, FUNCTIONS):
            yield from ((name, node.lineno) for name in parameters(node))
        elif isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg, node.lineno
        elif isinstance(node, ast.alias):
            yield from ((name, node.lineno) for name in (node.asname or node.name).split("."))
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name, node.lineno


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_name_is_one_that_the_field_uses(path):
    found = [(name.strip("_"), line) for name, line in names(tree_of(path))]
    assert [each for each in [(path.stem.strip("_"), 0), *found] if each[0] in BANNED] == []


def definitions(path):
    """Give the modules and functions of a file."""
    yield path.stem.strip("_")
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name.strip("_")


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_functions_and_parameters_of_the_package_have_plain_names(path):
    assert BANNED_DEFINITIONS.isdisjoint(definitions(path))
    functions = [node for node in ast.walk(tree_of(path)) if isinstance(node, FUNCTIONS)]
    assert BANNED_PARAMETERS.isdisjoint(name for each in functions for name in parameters(each))


def test_no_one_looks_for_connections_in_a_dict():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
                left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
                assert (left, right.rpartition(".")[2]) != ("'connections'", "info"), path
