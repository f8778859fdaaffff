"""What the README says is so: its example runs, its picture is what nbkit draws, its files are there."""

import re
import subprocess
import sys
from pathlib import Path

from tests.house.paths import ROOT

README = (ROOT / "README.md").read_text()


def test_the_example_is_fifteen_lines_and_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 15
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    first, last = result.stdout.splitlines()
    assert first == "diagram: R[i=8 j=8] -> R[c=10] with 4810 parameters"
    assert float(re.search(r"test/accuracy ([\d.]+)", last)[1]) > 0.9


def test_the_picture_is_the_one_that_nbkit_draws(tmp_path: Path) -> None:
    nbkit, name = Path(sys.executable).parent / "nbkit", "multi-head-attention"
    assert f"`nbkit show {name}`" in README
    subprocess.run([nbkit, "show", name, "-o", tmp_path / "again.svg"], check=True)
    drawn, stored = (tmp_path / "again.svg").read_bytes(), (ROOT / f"docs/{name}.svg").read_bytes()
    assert drawn == stored, f"draw it again: nbkit show {name} -o docs/{name}.svg"


def test_what_it_names_is_there() -> None:
    paths = re.findall(r"`([\w/.-]+/)`|\]\(([\w/.-]+)\)", README)
    assert len(paths) > 8
    for pair in paths:
        (path,) = filter(None, pair)
        assert (ROOT / path).exists() or (ROOT / "tests" / path).exists(), f"the README names {path}"


def test_its_commands_are_make_targets() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"lab", "test", "lint"} <= set(re.findall(r"\bmake (\w+)", README)) <= targets
