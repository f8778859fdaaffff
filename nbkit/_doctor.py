"""What this machine has of what nbkit needs, and how to get the rest: the facts behind `nbkit doctor`.

Packages are read from nbkit's own metadata, so this list cannot fall behind pyproject.toml. Nothing heavy is
imported but torch, whose thread count is asked. Meets issue 2, point 10.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BUNDLE = Path(__file__).parent / "widgets" / "static"
EXTRAS = {"": "nbkit", "lab": "nbkit[lab]"}  # what people need; `make test` sees to the rest


@dataclass(frozen=True)
class Check:
    """One thing that nbkit uses: what was found, what needs it, and what to type if it is not there."""

    name: str
    found: str | None
    needed_for: str
    required: bool = False
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether the thing is there."""
        return self.found is not None


def examine() -> list[Check]:
    """Look at this interpreter, its packages, the built front end and the programs on PATH."""
    return [*_interpreter(), *_packages(), _front_end(), *_programs()]


def find_browser() -> str | None:
    """Return the path of a Chromium or Chrome on PATH."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def _interpreter() -> Iterator[Check]:
    yield Check("python", f"{platform.python_version()} ({sys.executable})", "everything", required=True)
    yield Check("cpu cores", str(os.cpu_count()), "training")
    try:
        threads = str(importlib.import_module("torch").get_num_threads())
    except ImportError:
        threads = None
    yield Check("torch threads", threads, "training", remedy="pip install nbkit")


def _packages() -> Iterator[Check]:
    try:
        yield Check("nbkit", metadata.version("nbkit"), "everything", required=True)
        requirements = metadata.requires("nbkit") or []
    except metadata.PackageNotFoundError:
        yield Check("nbkit", None, "everything", required=True, remedy="pip install -e . in nbkit's folder")
        return
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"](\w+)", requirement)
        group = extra[1] if extra else ""
        if name is None or name[0] == "nbkit" or group not in EXTRAS:
            continue
        try:
            found = metadata.version(name[0])
        except metadata.PackageNotFoundError:
            found = None
        remedy = f"pip install '{EXTRAS[group]}'"
        yield Check(name[0], found, group or "everything", required=not group, remedy=remedy)


def _front_end() -> Check:
    bundles = sorted(BUNDLE.glob("*.js"))
    sizes = ", ".join(f"{path.name} {path.stat().st_size / 1000:.0f} kB" for path in bundles)
    remedy = "install a released wheel, or type `make setup` in nbkit's folder"
    return Check("front end", sizes or None, "widgets", required=True, remedy=remedy)


def _programs() -> Iterator[Check]:
    apt = "sudo apt-get install "
    yield _program("dot", "overview graphs", apt + "graphviz", "-V")
    yield _program("node", "building the front end", "make setup brings one of its own", "--version")
    browser = find_browser()
    yield _program(browser or "chromium", "the browser tests", apt + "chromium", "--version", label="browser")


def _program(command: str, needed_for: str, remedy: str, flag: str, *, label: str | None = None) -> Check:
    beside = str(Path(sys.executable).parent)  # where `make setup` puts a Node.js of our own
    path = shutil.which(command) or shutil.which(command, path=beside)
    found = None
    if path is not None:
        try:
            answer = subprocess.run([path, flag], capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
            first_line = (answer.stdout or answer.stderr).strip().partition("\n")[0]
            found = f"{first_line} ({path})"
        except (OSError, subprocess.SubprocessError) as error:
            remedy = f"{path} does not run ({error}); {remedy}"
    return Check(label or command, found, needed_for, remedy=remedy)
