"""The sdist and the wheel carry the built front end, so that a wheel's user needs no Node.js."""

import importlib.util
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.house.paths import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel out of the sdist, with no npm in reach; return the folder of both."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    environment = {**os.environ, "PATH": "/nowhere"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name == "nbkit-0.1.0-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"nbkit", "nbkit-0.1.0.dist-info"}
    assert "nbkit/py.typed" in names
    assert "nbkit-0.1.0.dist-info/licenses/LICENSE" in names
    bundles = sorted(path.name for path in (ROOT / "nbkit/widgets/static").glob("*"))
    assert bundles
    assert sorted(Path(n).name for n in names if n.startswith("nbkit/widgets/static/")) == bundles


def test_the_sdist_can_be_built_on(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "hatch_build.py", "widgets/package-lock.json", "nbkit/py.typed"} <= names
    assert any(name.startswith("nbkit/widgets/static/") for name in names)
    assert not any("node_modules" in name for name in names)


def test_the_wheel_works_outside_the_tree(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path)  # noqa: S202  (our own wheel)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import nbkit, nbkit.widgets, pathlib\n"
        "static = pathlib.Path(nbkit.widgets.__file__).parent / 'static'\n"
        "print(nbkit.__file__, len(list(static.glob('*.js'))))"
    )
    output = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout
    where, bundles = output.split()
    assert Path(where).is_relative_to(tmp_path)
    assert int(bundles) > 0


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """Return hatch_build.py as a module."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_front_end_is_built_again_when_a_source_is_newer(hook: ModuleType, tmp_path: Path) -> None:
    source, bundle = tmp_path / "widgets/src/deep/a.ts", tmp_path / "nbkit/widgets/static/a.js"
    for path in (source, bundle):
        path.parent.mkdir(parents=True)
    source.touch()
    assert hook.front_end_state(tmp_path) == "missing"
    bundle.touch()
    os.utime(source, (100, 100))
    os.utime(bundle, (200, 200))
    assert hook.front_end_state(tmp_path) == "current"
    os.utime(source, (300, 300))
    assert hook.front_end_state(tmp_path) == "outdated"


def test_building_a_wheel_without_front_end_and_npm_says_what_to_do(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    builder = hook.FrontEndHook(str(tmp_path), {}, None, None, "", "wheel")
    with pytest.raises(RuntimeError) as failure:
        builder.initialize("standard", {})
    assert str(failure.value) == (
        "nbkit's front end is not built (nbkit/widgets/static is missing) and npm is not on PATH: "
        "install Node.js 20 or newer and build again, "
        "or install a released wheel, which carries the front end."
    )
