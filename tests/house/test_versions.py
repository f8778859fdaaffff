"""What is said in two places is the same in both."""

import json
import re

import nbkit
from tests.house.paths import ROOT, project


def lines(path: str) -> list[str]:
    """Return the lines of a file that say something."""
    text = (ROOT / path).read_text().splitlines()
    return [line for line in text if line.strip() and not line.startswith("#")]


def test_the_front_end_has_the_packages_version() -> None:
    version = nbkit.__version__
    assert json.loads((ROOT / "widgets/package.json").read_text())["version"] == version
    assert json.loads((ROOT / "widgets/package-lock.json").read_text())["version"] == version


def test_set_up_and_binder_install_the_same_torch() -> None:
    pinned = re.search(r'torch="torch==([\d.]+)"', (ROOT / "scripts/setup.sh").read_text())
    assert pinned
    assert f"torch=={pinned[1]}+cpu" in lines("binder/requirements.txt")
    assert f"torch>={pinned[1].rpartition('.')[0]},<3" in project()["project"]["dependencies"]


def test_binder_installs_what_the_project_names() -> None:
    named = project()["project"]
    wanted = {*named["dependencies"], *named["optional-dependencies"]["lab"]}
    found = {line for line in lines("binder/requirements.txt") if not line.startswith("--")}
    assert {r for r in found if not r.startswith("torch")} == {r for r in wanted if not r.startswith("torch")}


def test_binder_and_the_project_agree_on_python() -> None:
    assert (ROOT / "binder/runtime.txt").read_text().strip() == "python-3.11"
    assert project()["project"]["requires-python"] == ">=3.11"
