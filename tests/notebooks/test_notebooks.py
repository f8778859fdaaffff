"""Every notebook is stored without output and runs top to bottom, with the small budget, in a real kernel."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(path.relative_to(FOLDER) for path in FOLDER.rglob("*.ipynb") if ".ipynb_" not in str(path))
PLUMBING = re.compile(r"\b(threading|Lock\(|traitlets|asyncio|subprocess|sys\.path)\b")

every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=str)


def read(notebook: Path) -> nbformat.NotebookNode:
    """Return a notebook, checked against the format's schema."""
    document = nbformat.read(FOLDER / notebook, as_version=4)
    nbformat.validate(document)
    return document


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS, f"no notebook lies under {FOLDER}"


@every_notebook
def test_it_is_stored_without_output_or_widget_state(notebook: Path) -> None:
    document = read(notebook)
    for number, cell in enumerate(document.cells):
        if cell.cell_type == "code":
            assert not cell.outputs, f"{notebook}: cell {number} is stored with its output"
            assert cell.execution_count is None, f"{notebook}: cell {number} is stored with its number"
    assert "widgets" not in document.metadata
    assert document.metadata.kernelspec.name == "python3", "any other kernel is missing elsewhere"


@every_notebook
def test_it_is_story_and_calls_not_plumbing(notebook: Path) -> None:
    document = read(notebook)
    assert document.cells[0].cell_type == "markdown"
    assert document.cells[0].source.startswith("# "), "a notebook opens with its title"
    code = "\n".join(cell.source for cell in document.cells if cell.cell_type == "code")
    assert not PLUMBING.findall(code)


@pytest.mark.slow
@every_notebook
def test_it_runs_top_to_bottom(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBKIT_BUDGET", "quick")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    document = read(notebook)
    client = NotebookClient(
        document,
        timeout=240,
        store_widget_state=False,
        resources={"metadata": {"path": str((FOLDER / notebook).parent)}},
    )
    client.execute()
    complaints = [
        output.text
        for cell in document.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stderr"
    ]
    assert not complaints, f"{notebook} writes to stderr: {complaints}"
    size = len(json.dumps(document))
    assert size < 1_000_000, f"{notebook} with its outputs is {size / 1e6:.1f} MB; readable is at most 1 MB"
