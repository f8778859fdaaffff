"""The set-up script stops with one clear line, and make's targets are what the README says."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house.paths import ROOT


def setup(*arguments: str, path: Path | None = None, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run scripts/setup.sh with only `path` to find programs in."""
    environment = {**os.environ, **({"PATH": str(path)} if path else {})}
    command = [shutil.which("sh") or "/bin/sh", folder / "scripts/setup.sh", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return a copy of the script beside a PATH on which an ordinary user has hardly anything."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/setup.sh", tmp_path / "scripts")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("dirname", "uname", "sh"):
        (programs / name).symlink_to(shutil.which(name) or "")
    for name, script in {"id": "echo 1000", "apt-get": "exit 100"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    return tmp_path


def test_usage() -> None:
    result = setup("nonsense")
    assert result.returncode == 1
    assert result.stderr == (
        "\nnbkit set-up stopped: usage: scripts/setup.sh base, extra lab, extra test, or system\n"
    )


def test_without_python_it_names_what_it_looked_for_and_the_line_to_type(bare: Path) -> None:
    result = setup("base", path=bare / "bin", folder=bare)
    assert result.returncode == 1
    assert (
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends python3 python3-venv\n"
        in result.stderr
    )
    assert result.stderr.endswith(
        "nbkit set-up stopped: nbkit needs Python 3.11 or newer "
        "(looked for: python3.13, python3.12, python3.11, python3)\n"
    )


def test_an_old_python_is_refused(bare: Path) -> None:
    old = bare / "bin/python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # what `sys.exit(sys.version_info < (3, 11))` does on Python 3.10
    old.chmod(0o755)
    assert "nbkit needs Python 3.11 or newer" in setup("base", path=bare / "bin", folder=bare).stderr


def test_without_a_browser_it_says_so(bare: Path) -> None:
    result = setup("system", path=bare / "bin", folder=bare)
    assert result.returncode == 1
    assert "apt-get install -y --no-install-recommends chromium graphviz" in result.stderr
    assert result.stderr.endswith(
        "nbkit set-up stopped: the tests drive a real Chromium, and none was found\n"
    )


def test_make_ends_with_pytest_and_checks_everything_before() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "PYTEST"))}
    command = ["make", "--dry-run", "--always-make", "test"]
    plan = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    steps = plan.splitlines()
    assert steps[-1].strip() == ".venv/bin/pytest"
    for step in (
        "setup.sh base",
        "npm ci",
        "npm run build",
        "setup.sh system",
        "ruff",
        "mypy",
        "lint-imports",
        "npm test",
    ):
        assert step in plan


def test_ci_runs_make_test() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("exec make test")
