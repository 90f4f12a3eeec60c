"""The notebooks run from top to bottom, as a reader would run them."""

from pathlib import Path

import nbclient
import nbformat
import pytest

FIRST, *OTHERS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
NOTEBOOKS = [FIRST, *(pytest.param(path, marks=pytest.mark.slow) for path in OTHERS)]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the kernel's own affairs
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_its_stored_outputs_show(path, tmp_path, monkeypatch):
    monkeypatch.delenv("MPLBACKEND")  # in a notebook, pictures are drawn inline
    stored = nbformat.read(path, as_version=4)
    run = nbformat.from_dict(stored)
    client = nbclient.NotebookClient(
        run, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    assert [kinds(cell) for cell in run.cells] == [kinds(cell) for cell in stored.cells]
    assert any("image/png" in kind for cell in run.cells for kind in kinds(cell))


def kinds(cell):
    """List what a cell shows, by kind; the figures themselves are those of the made-up orders."""
    return [
        (each["output_type"], each.get("name"), *sorted(each.get("data", {})))
        for each in cell.get("outputs", [])
    ]
