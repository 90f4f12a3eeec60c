"""Which module may import which, and what an import may cost."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import trackstar_frames as tf

PACKAGE = Path(tf.__file__).parent

#: Layers of modules and packages, lowest first: each imports only from those below, or its own.
LAYERS = (
    ("_text",),
    ("errors",),
    ("settings", "schema", "dates", "info"),
    ("filters", "filter_types"),
    ("http",),
    ("pagination",),
    ("client", "flatten"),
    ("tables", "progress"),
    ("request", "measures"),
    ("storage",),
    ("frames", "snapshots"),
    ("fetch",),
    ("distributed",),
    ("export",),
    ("sync",),
)
#: They use all of these, and are used by none.
ON_TOP = {"__init__", "__main__", "cli", "plots", "sandbox"}


def modules(path):
    """List what a file imports from this package, but for what only type checkers see."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("trackstar_frames."):
            for name in node.names:
                inside = PACKAGE.parent.joinpath(*node.module.split("."), name.name)
                is_module = inside.is_dir() or inside.with_suffix(".py").exists()
                yield f"{node.module}.{name.name}" if is_module else node.module


def imports(path):
    """List the top-level modules from which a file imports."""
    return {module.split(".")[1] for module in modules(path)}


def files(name):
    """List the files of a module: one, or those of a folder."""
    folder = PACKAGE / name
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{name}.py"]


@pytest.mark.parametrize("index", range(len(LAYERS)))
def test_a_layer_imports_only_from_below(index):
    below = {name for layer in LAYERS[: index + 1] for name in layer}
    for name in LAYERS[index]:
        for path in files(name):
            assert imports(path) <= below, path.name


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("measures", {"measures", "errors", "dates", "schema", "tables", "filters", "_text"}),
        ("plots", {"plots", "measures", "errors", "schema"}),
        ("sandbox", {"sandbox", "client"}),
    ],
)
def test_measures_plots_and_sandbox_keep_to_themselves(name, allowed):
    for path in files(name):
        assert imports(path) <= allowed, path.name


def test_every_module_has_its_layer():
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert modules | packages == {*(name for layer in LAYERS for name in layer), *ON_TOP}


def test_no_two_files_need_each_other():
    sorter = graphlib.TopologicalSorter()
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        sorter.add(module.removesuffix(".__init__"), *modules(path))
    sorter.prepare()  # raises for a circle, and names it


def test_only_sandbox_py_imports_the_client():
    users = [path.name for path in files("sandbox") if "client" in imports(path)]
    assert users == ["sandbox.py"]


#: What only a storage does to files, and the cache to its own.
STORAGE_MODULES = {"shutil", "fcntl", "filelock", "msvcrt"}
STORAGE_CALLS = {"rename", "renames", "replace", "link", "symlink", "unlink", "remove", "rmdir"}
STORAGE_CALLS |= {"removedirs", "fsync", "fdatasync", "open", "listdir", "scandir", "walk"}
STORAGE_CALLS |= {"mkdir", "makedirs"}
STORAGE_METHODS = {"rename", "unlink", "rmdir", "iterdir", "glob", "rglob", "hardlink_to", "touch"}
STORAGE_METHODS |= {"symlink_to", "read_bytes", "write_bytes", "write_text", "chmod", "samefile"}
STORAGE_METHODS |= {"exists", "is_dir", "is_file", "is_symlink", "stat", "mkdir", "OSFile"}
STORAGE_METHODS |= {"memory_map", "create_memory_map", "new_file", "new_stream", "LocalFileSystem"}
STORAGE_METHODS |= {"ParquetWriter", "write_dataset", "write_to_dataset", "to_parquet"}


def storage_calls(path):
    """List the calls of a file that rename, link, flush, lock, list, read or write files."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from STORAGE_MODULES & {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            yield from STORAGE_MODULES & {(node.module or "").partition(".")[0]}
            if node.module == "os":
                yield from STORAGE_CALLS & {name.name for name in node.names}
        elif isinstance(node, ast.Name) and node.id == "open":
            yield "open"
        elif isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            names = {"os": STORAGE_CALLS, "storage": set()}.get(owner, STORAGE_METHODS)
            if node.attr in names:
                yield ast.unparse(node)


#: Who works with other files than snapshots: the cache, the shell's output, a file of JSON, and
#: the spill of an export, in a scratch folder, which is always local.
OTHER_FILES = ("storage/", "http/", "cli/", "flatten/sources.py", "snapshots/spill.py")


def test_only_a_storage_touches_the_paths_of_snapshots():
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith(OTHER_FILES):
            found[name] = list(storage_calls(path))
    assert {name: calls for name, calls in found.items() if calls} == {}
    own = {*storage_calls(PACKAGE / "storage" / "local.py")}
    assert {"filelock", "shutil", "os.fsync", "os.link", "open", "pa.OSFile"} <= own
    spilled = {*storage_calls(PACKAGE / "snapshots" / "spill.py")}
    assert spilled == {"self._folder.mkdir", "pa.ipc.new_file", "pa.OSFile"}


#: What extras bring, and what only some calls need.
HEAVY = {"matplotlib", "cheroot", "mimesis", "holidays", "dask", "distributed", "IPython"}
LATE = {"requests_cache", "cattrs", "asyncio", "filelock", "pyarrow.dataset"}
LATE |= {"platformdirs", "tqdm", "argparse"}


def loaded_by(code):
    """List the modules of a new process that has run some code."""
    code = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_an_import_loads_only_the_init_module():
    loaded = loaded_by("import trackstar_frames")
    assert {each for each in loaded if each.startswith("trackstar_frames.")} == set()
    assert not loaded & {"pandas", "numpy", "pyarrow", "requests", "msgspec", *HEAVY, *LATE}


def test_what_only_some_calls_need_is_loaded_by_none_of_the_names():
    names = ", ".join(name for name in tf.__all__ if tf._MODULE_OF[name] not in tf._EXTRAS)
    loaded = loaded_by(f"from trackstar_frames import {names}")
    assert "trackstar_frames.sync" in loaded
    assert not loaded & (HEAVY | LATE)


def test_the_init_module_declares_its_names_to_type_checkers():
    seen = {}
    face = ast.parse((PACKAGE / "__init__.py").read_text())
    for block in (node for node in face.body if isinstance(node, ast.If)):
        for node in block.body:
            _, _, module = node.module.partition(".")
            seen |= {name.name: module for name in node.names}
    assert sorted(seen) == sorted(tf._MODULE_OF) == tf.__all__
    assert all(f"{seen[name]}.".startswith(f"{module}.") for name, module in tf._MODULE_OF.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missing", "gone"), [("matplotlib", "plot_status_mix"), ("distributed", "fetch_orders_dask")]
)
def test_help_and_completion_do_without_an_extra(missing, gone):
    code = f"import sys; sys.modules[{missing!r}] = None; import trackstar_frames as tf; help(tf)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "\n    fetch_orders(" in done.stdout
    assert f"\n    {gone}(" not in done.stdout


@pytest.mark.one_of(6)
@pytest.mark.parametrize(
    ("missing", "asked", "extra"),
    [
        ("matplotlib", "import trackstar_frames as tf; tf.plot_status_mix", "plots"),
        ("dask", "import trackstar_frames as tf; tf.fetch_orders_dask", "dask"),
        ("distributed", "import trackstar_frames as tf; tf.read_snapshot_dask", "dask"),
        ("holidays", "import trackstar_frames as tf; tf.SlaPolicy(holidays='US')", "calendars"),
        ("cheroot", "from trackstar_frames.sandbox import Sandbox", "sandbox"),
        ("mimesis", "from trackstar_frames.sandbox import Sandbox", "sandbox"),
    ],
)
def test_a_missing_extra_is_named(missing, asked, extra):
    code = f"import sys; sys.modules[{missing!r}] = None; {asked}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert f"the extra {extra!r}" in message
    assert f"install trackstar_frames[{extra}]" in message
