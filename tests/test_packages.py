"""What strangers install: built, looked into, and used outside the checkout, on its own."""

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata

import trackstar_frames as tf
from trackstar_frames.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCRIPTS = "Scripts" if os.name == "nt" else "bin"

pytestmark = pytest.mark.slow


def run(*command, folder, check=True, **environment):
    """Run a command as somebody who knows of no checkout."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        command, cwd=folder, env=own | environment, capture_output=True, text=True, check=check
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the sdist, and the wheel out of it, and give both."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, folder=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def install(built, tmp_path_factory):
    """Install the wheel with some extras in a new environment, and give what runs things there."""

    def make(extras=""):
        folder = tmp_path_factory.mktemp("elsewhere")
        run(sys.executable, "-m", "venv", folder / "venv", folder=folder)
        scripts = folder / "venv" / SCRIPTS

        def call(name, *arguments, check=True, **environment):
            return run(scripts / name, *arguments, folder=folder, check=check, **environment)

        call("python", "-m", "pip", "install", "--quiet", f"{built[1]}{extras}")
        call("python", "-m", "pip", "check")
        call.folder = folder
        return call

    return make


@pytest.fixture(scope="module")
def bare(install):
    return install()


@pytest.fixture(scope="module")
def for_demo(install):
    return install("[demo]")


def files_of(sdist):
    """List the files of an sdist, below its folder."""
    with tarfile.open(sdist) as archive:
        return {each.name.partition("/")[2] for each in archive.getmembers() if each.isfile()}


def below(name):
    """List the files that the checkout has below a folder, but for what runs have left."""
    passing = {"__pycache__", ".ipynb_checkpoints"}
    found = (path for path in (ROOT / name).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if not passing & set(path.parts)}


def test_the_wheel_holds_the_package_and_nothing_else(built):
    info = f"{PROJECT['name']}-{PROJECT['version']}.dist-info/"
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
    own = {name.removeprefix(info) for name in names if name.startswith(info)}
    assert own == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    assert {name for name in names if not name.startswith(info)} == below(PROJECT["name"])
    assert "trackstar_frames/py.typed" in names


def test_an_index_would_take_what_the_wheel_says_of_itself(built):
    with zipfile.ZipFile(built[1]) as wheel:
        (path,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        reported = Metadata.from_email(wheel.read(path), validate=True)
    assert (reported.name, str(reported.version)) == (PROJECT["name"], PROJECT["version"])
    assert str(reported.requires_python) == PROJECT["requires-python"]
    assert (reported.license_expression, reported.license_files) == ("MIT", ["LICENSE"])
    assert reported.description_content_type == "text/markdown"
    assert reported.description == (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(reported.provides_extra) == set(PROJECT["optional-dependencies"])


def test_the_sdist_can_be_tested(built, tmp_path):
    held = files_of(built[0])
    for folder in ("trackstar_frames", "tests", "benchmarks", "notebooks"):
        assert below(folder) <= held
    assert {"LICENSE", "README.md", "pyproject.toml", "environment.yml", ".ci/run"} <= held
    with tarfile.open(built[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    some = (
        "tests/test_benchmarks.py",
        "tests/test_dependencies.py",
        "tests/test_public.py",
    )
    tests = (sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *some)
    done = run(*tests, folder=folder, check=False, PYTHONPATH=str(folder))
    assert done.returncode == 0, done.stdout


def test_it_is_used_without_an_extra(bare):
    where = bare("python", "-c", "import trackstar_frames as tf; print(tf.__file__)").stdout
    assert Path(where.strip()).is_relative_to(bare.folder)
    assert "fetch_orders_df" in bare("python", "-c", "import trackstar_frames as t; help(t)").stdout
    assert bare("trackstar-frames", "--version").stdout.strip() == PROJECT["version"]
    assert "snapshots" in bare("trackstar-frames", "--help").stdout
    with Sandbox(orders=120, seed=3) as sandbox:
        done = bare("trackstar-frames", "export", "root", **sandbox.environment)
        assert "exported to" in done.stdout
        done = bare("trackstar-frames", "fetch", **sandbox.environment)
        assert "... 120 orders" in done.stdout
        done = bare("trackstar-frames", "fetch", "--offline", **sandbox.environment)
        assert "... 120 orders" in done.stdout
    assert len(tf.read_snapshot(bare.folder / "root").orders) == 120


@pytest.mark.parametrize(
    ("asked", "extra"),
    [
        ("from trackstar_frames import plot_status_mix", "plots"),
        ("from trackstar_frames import fetch_orders_dask", "dask"),
        ("from trackstar_frames.sandbox import Sandbox", "sandbox"),
        ("import trackstar_frames as tf; tf.SlaPolicy(holidays='US')", "calendars"),
    ],
)
def test_without_an_extra_an_error_names_it(bare, asked, extra):
    done = bare("python", "-c", asked, check=False)
    assert done.returncode == 1
    assert f"the extra '{extra}'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(("command", "extra"), [("demo", "demo"), ("sandbox", "sandbox")])
def test_without_an_extra_the_shell_names_it_on_one_line(bare, command, extra):
    done = bare("trackstar-frames", command, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"the extra '{extra}'" in done.stderr


def test_with_the_extra_the_demo_shows_all(for_demo):
    message = for_demo("trackstar-frames", "demo").stdout
    assert "fetched 5,000 orders with 7 requests; the same call again took 0, from disk" in message
    drawn = {path.name for path in (for_demo.folder / "trackstar-demo").glob("*.png")}
    assert drawn == {"status_mix.png", "ship_date_compliance.png"}
