"""The arrows of the house hold, and import-linter would notice if they did not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.paths import ROOT, project


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package in `folder`."""
    program = Path(sys.executable).parent / "lint-imports"
    return subprocess.run([program, "--no-cache", "--no-logo"], cwd=folder, capture_output=True, text=True)


def test_arrows_point_down() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("path", "line", "finding"),
    [
        (
            "language/__init__.py",
            "def late():\n    import nbkit.tasks\n",
            "nbkit.language is not allowed to import nbkit.tasks",
        ),
        ("tasks/__init__.py", "from nbkit import cli\n", "nbkit.tasks is not allowed to import nbkit.cli"),
        (
            "language/__init__.py",
            "def late():\n    import torch\n",
            "nbkit.language is not allowed to import torch",
        ),
        ("attic.py", "", "attic"),
    ],
)
def test_a_wrong_arrow_is_found(tmp_path: Path, path: str, line: str, finding: str) -> None:
    shutil.copytree(
        ROOT / "nbkit", tmp_path / "nbkit", ignore=shutil.ignore_patterns("static", "__pycache__")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file = tmp_path / "nbkit" / path
    file.write_text((file.read_text() if file.exists() else "") + "\n" + line)
    result = lint(tmp_path)
    assert result.returncode == 1
    assert finding in result.stdout


def test_every_room_that_exists_is_named_in_the_contract() -> None:
    layers = next(c for c in project()["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    assert layers["exhaustive"], "a new room must get its place in the contract"
    named = {room.strip(" ()") for layer in layers["layers"] for room in layer.split("|")}
    rooms = {path.parent.name for path in (ROOT / "nbkit").glob("*/__init__.py")}
    assert rooms <= named
