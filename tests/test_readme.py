"""The README, tried as a reader would: its code runs and prints what is shown."""

import os
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

import trackstar_frames as tf
from trackstar_frames.cli import main
from trackstar_frames.filters import FIELDS
from trackstar_frames.schema import TABLES
from trackstar_frames.snapshots.writer import PART_SIZE

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Be in an empty folder, and leave the environment as it was."""
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("outside")
def test_the_code_runs_and_prints_what_is_shown():
    names, printed, shown = {}, StringIO(), []
    for kind, code in BLOCKS:
        if kind == "python":
            with redirect_stdout(printed):
                exec(code, names)
        elif kind == "text":
            shown.append(code)
    assert printed.getvalue().splitlines() == "".join(shown).splitlines()


def commands():
    """Return the commands in the table of the command line."""
    section = README.partition("## Command line")[2].partition("\n## ")[0]
    return re.findall(r"`(trackstar-frames [a-z][^`]*)`", section)


@pytest.mark.usefixtures("outside")
def test_the_command_lines_work(serve_connections, monkeypatch, capsys):
    sandbox = serve_connections(tokens=2, orders=50)
    for name, token in zip(("ACME_TOKEN", "BETA_TOKEN"), sandbox.access_tokens, strict=True):
        monkeypatch.setenv(name, token)
    lines = [line for line in commands() if line.split()[1] not in ("sandbox", "demo")]
    assert len(lines) >= 6
    for line in lines:
        assert main(line.split()[1:]) == 0, line
        assert capsys.readouterr().err == "", line


def test_every_command_is_in_the_table():
    listed = {line.split()[1] for line in commands()}
    assert listed == {"fetch", "export", "sync", "snapshots", "cache", "sandbox", "demo"}


def test_the_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_it_is_short():
    assert len(README.splitlines()) <= 195


def test_it_names_every_filter():
    section = README.partition("## Filters")[2].partition("\n## ")[0]
    assert {name for name in FIELDS if f"`{name}`" not in section} == set()


def test_it_lists_every_table_with_its_grain_and_key():
    for table in TABLES.values():
        key = ", ".join(f"`{name}`" for name in table.key)
        assert f"| `.{table.name}` | {table.grain} | {key}".rstrip() in README


def test_it_knows_how_long_a_part_is():
    assert f"parts of about {PART_SIZE:,} orders" in " ".join(README.split())


@pytest.mark.parametrize("error", [name for name in tf.__all__ if name.endswith("Error")])
def test_it_says_what_to_do_about_every_error(error):
    assert f"`{error}`" in README or error in ("ApiError", "TrackstarError")
