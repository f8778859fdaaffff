"""The front end: its own tests pass, and what travels with every widget is small and asks nothing from
outside."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nbkit.widgets.session import built

WIDGETS = Path(__file__).parents[2] / "widgets"
MOST_BYTES = 40_000  # code and style; budget B3 allows 60 kB per widget class


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not on PATH")
def test_the_typescript_checks_and_its_tests_pass() -> None:
    run = subprocess.run(["npm", "test"], cwd=WIDGETS, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^ℹ pass [1-9]", run.stdout, re.MULTILINE), run.stdout


def test_the_bundle_is_small() -> None:
    assert len(built("session.js").encode()) + len(built("session-style.css").encode()) <= MOST_BYTES


def test_the_bundle_names_no_address_but_that_of_a_namespace() -> None:
    text = built("session.js") + built("session-style.css")
    assert set(re.findall(r"(?:https?:)?//[\w.]+[^\s\"'`)]*", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bfetch\(|XMLHttpRequest|@import|\bimport\(|\burl\(|eval\(|innerHTML", text)
