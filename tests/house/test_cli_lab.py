"""`nbkit lab` starts a real JupyterLab on the notebook it is given, and `nbkit doctor` tells the truth."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest

from tests.house.paths import ROOT

NBKIT = Path(sys.executable).parent / "nbkit"


@contextmanager
def lab(folder: Path, *arguments: str) -> Iterator[str]:
    """Start `nbkit lab` in `folder`, give the address that it prints, and stop it."""
    home = folder / ".home"
    home.mkdir()
    environment = {
        k: v for k, v in os.environ.items() if k not in ("DISPLAY", "BROWSER") and "JUPYTER" not in k
    }
    environment |= {"HOME": str(home), "JUPYTER_PREFER_ENV_PATH": "1"}
    log = folder / ".log"
    with log.open("wb") as sink:
        server = subprocess.Popen(
            [NBKIT, "lab", "--port", "0", *arguments], cwd=folder, env=environment, stdout=sink, stderr=sink
        )
    try:
        for _ in range(600):
            address = re.search(r"http://127\.0\.0\.1:\d+/\S+", log.read_text())
            if address or server.poll() is not None:
                break
            try:
                server.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        assert address, log.read_text()
        yield address[0]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def test_lab_opens_the_notebook_and_its_token_lets_one_in(tmp_path: Path) -> None:
    folder = tmp_path / "a course"
    folder.mkdir()
    nbformat.write(nbformat.v4.new_notebook(), folder / "1 first.ipynb")
    with lab(tmp_path, "a course/1 first.ipynb") as address:
        page, _, token = address.partition("?")
        assert page.endswith("/lab/tree/a%20course/1%20first.ipynb")
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert answer.status == 200
            assert b"jupyter-config-data" in answer.read()
        contents = page.replace("/lab/tree/", "/api/contents/") + "?" + token
        with urllib.request.urlopen(contents, timeout=30) as answer:
            assert json.load(answer)["type"] == "notebook"


def test_lab_without_a_course_opens_the_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with lab(tmp_path) as address:
        page, _, token = address.partition("?")
        assert page.endswith("/lab")
        with urllib.request.urlopen(page[: -len("lab")] + "api/contents?" + token, timeout=30) as answer:
            assert "mine.txt" in [entry["name"] for entry in json.load(answer)["content"]]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run nbkit and return what came of it."""
    return subprocess.run(
        [NBKIT, *arguments], capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_lab_refuses_a_notebook_that_is_not_there() -> None:
    result = run("lab", "nowhere.ipynb")
    assert result.returncode == 2
    assert result.stderr.endswith(
        "Error: Invalid value for '[NOTEBOOK]': Path 'nowhere.ipynb' does not exist.\n"
    )


def test_doctor_finds_what_is_here() -> None:
    result = run("doctor", "--json")
    assert result.returncode == 0, result.stdout
    found = {check["name"]: check for check in json.loads(result.stdout)}
    assert {"python", "nbkit", "torch", "numpy", "sympy", "anywidget", "jupyterlab", "scikit-learn"} <= set(
        found
    )
    assert (
        found["torch"]["found"]
        == subprocess.run(
            [sys.executable, "-c", "import torch; print(torch.__version__)"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    )
    assert found["front end"]["required"]
    assert "session.js" in found["front end"]["found"]
    assert int(found["torch threads"]["found"]) >= 1


def test_doctor_says_what_is_missing_and_how_to_get_it() -> None:
    result = run("doctor", PATH="/nowhere", COLUMNS="200")
    assert result.returncode == 0, "neither a browser nor dot is required"
    lines = [re.sub(r"\s+", " ", line).strip() for line in result.stdout.splitlines()]
    assert "– dot missing. sudo apt-get install graphviz overview graphs" in lines
    assert "– browser missing. sudo apt-get install chromium the browser tests" in lines


def test_doctor_fails_where_something_required_is_missing(tmp_path: Path) -> None:
    # The package without its built front end, as a clone is before `make setup`.
    elsewhere = f"import nbkit._doctor as d; d.BUNDLE = d.Path({str(tmp_path)!r})"
    code = f"{elsewhere}; from nbkit.cli import main; main(['doctor'])"
    environment = {**os.environ, "COLUMNS": "200"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert result.returncode == 1
    remedy = "missing. install a released wheel, or type `make setup` in nbkit's folder"
    assert "✗  front end" in result.stdout
    assert remedy in result.stdout


@pytest.mark.parametrize(
    "arguments", [["--help"], ["lab", "--help"], ["show", "-h"], ["train", "--help"], ["doctor", "-h"]]
)
def test_help(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: nbkit")
