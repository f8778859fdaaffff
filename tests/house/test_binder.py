"""binder/ is what repo2docker understands, and its postBuild works in a clean clone."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.house.paths import ROOT


def test_repo2docker_takes_every_file_of_binder() -> None:
    program = Path(sys.executable).parent / "jupyter-repo2docker"
    options = ["--no-build", "--debug", "--user-id", "1000", "--user-name", "jovyan"]
    result = subprocess.run([program, *options, ROOT], capture_output=True, text=True)
    dockerfile = result.stdout + result.stderr
    assert result.returncode == 0, dockerfile
    assert "Building conda environment for python=3.11" in dockerfile
    files = ("binder/requirements.txt", "./binder/postBuild", "binder/start")
    for line in (*files, "--no-install-recommends graphviz"):
        assert line in dockerfile, f"{line} is not used"


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_scripts_can_be_run_and_read(name: str) -> None:
    script = ROOT / "binder" / name
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


def test_start_hands_over_to_the_server_it_is_given() -> None:
    code = "import os; print(os.environ['PANEL_INLINE'], os.environ['OMP_NUM_THREADS'])"
    command = [ROOT / "binder/start", sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["True", "1"]


@pytest.mark.slow
def test_post_build_makes_a_clean_clone_importable(tmp_path: Path) -> None:
    # Binder has by then installed requirements.txt. Here a fresh environment sees this one's packages through
    # a .pth file (--system-site-packages would not see those of a virtual environment), so that nothing is
    # downloaded twice while pip still installs nbkit for real, out of the clone.
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    packages = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    Path(packages, "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run([clone / "binder/postBuild"], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr

    assert list((clone / "nbkit/widgets/static").glob("*.js")), "the front end was not built"
    code = "import nbkit, nbkit.widgets; print(nbkit.__file__)"
    where = subprocess.run(
        [python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert Path(where.strip()).is_relative_to(clone)
