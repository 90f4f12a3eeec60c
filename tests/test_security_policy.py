"""What SECURITY.md promises of files, notebooks and code; and that the tests it names exist."""

import ast
import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest

import trackstar_frames as tf
from trackstar_frames.sandbox import Fault

ROOT = Path(__file__).parent.parent
POLICY = (ROOT / "SECURITY.md").read_text()


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(tests/[^`]*)`", POLICY))))
def test_every_test_that_the_policy_names_exists(named):
    path, _, name = named.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_threat_of_the_policy_has_a_test():
    rows = [line for line in POLICY.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    for row in rows:
        cells = row.strip("|").split(" | ")
        assert len(cells) == 4, row
        assert "tests/" in cells[3], row


def test_the_recipe_of_the_policy_escapes_formulas(tmp_path):
    recipe = re.search(r"```python\n(.*?)```", POLICY, re.DOTALL)[1]
    names = {}
    exec(recipe, names)
    formula = '=HYPERLINK("http://evil")'
    hostile = [formula, "+1", "-1", "@x", "\t=1", "\r=1", "x\r=1", "\n=1", " =1", "plain", None]
    orders = [{"id": f"{n:02}", "order_number": each} for n, each in enumerate(hostile)]
    for backend in (None, "pyarrow"):
        frames = tf.OrderFrames.from_json(orders, dtype_backend=backend)
        names["escape_formulas"](frames.orders).to_csv(tmp_path / "orders.csv", index=False)
        read = pd.read_csv(tmp_path / "orders.csv", dtype=str, keep_default_na=False)
        starts = {text[:1] for column in read for text in read[column]}
        assert not starts & set("=+-@\t\r ")
        assert read["order_number"].tolist()[-2:] == ["plain", ""]
        assert frames.orders["order_number"][0] == hostile[0]


def test_order_text_is_escaped_where_notebooks_show_it():
    hostile = "<img src=x onerror=alert(1)>"
    frames = tf.OrderFrames.from_json({"id": hostile, "order_number": hostile})
    frames.info = frames.info.replace(filters={"order_number": hostile})
    for html in (frames._repr_html_(), frames.orders._repr_html_()):
        assert "<img" not in html


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.name)
def test_stored_notebooks_show_no_secret_and_no_home(path):
    text = path.read_text()
    assert '"outputs"' in text
    assert not re.search(r"sandbox[0-9a-f]{32}|/home/|/Users/|/root/", text)


def test_the_readme_installs_from_the_local_folder():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    needed = [*project["dependencies"], *(each for extra in extras for each in extra)]
    assert not [each for each in needed if "@" in each or "://" in each]
    installs = re.findall(
        r"pip install (.*?)(?: &&|`|$)", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert installs
    assert not [each for each in installs if re.search(r"(?i)trackstar[-_]frames", each)]


def test_nothing_here_unpickles_or_runs_text():
    for path in (ROOT / "trackstar_frames").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", "")}
                assert not names & {"pickle", "cloudpickle", "dill", "marshal", "shelve", "yaml"}
                assert "subprocess" not in names
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "__import__"}, path


def test_the_sandbox_is_on_loopback_only(serve):
    sandbox = serve(Fault("status", status=500, nth=1))
    assert sandbox._server.bind_addr[0] == "127.0.0.1"
    assert urlsplit(sandbox.base_url).hostname == "127.0.0.1"
    assert not {"host", "address", "bind"} & set(vars(sandbox))
