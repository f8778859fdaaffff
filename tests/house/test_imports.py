"""`import nbkit` is fast and loads nothing heavy; so does asking the command line for help."""

import subprocess
import sys

import pytest

HEAVY = [
    "torch",
    "sympy",
    "plotly",
    "panel",
    "bokeh",
    "sklearn",
    "pandas",
    "anywidget",
    "ipywidgets",
    "IPython",
]


def run(code: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("statement", ["import nbkit", "import nbkit.cli"])
def test_nothing_heavy_is_imported(statement: str) -> None:
    loaded = run(f"import sys\n{statement}\nprint(*sorted(set(sys.modules) & set({HEAVY})))").split()
    assert loaded == [], f"{statement} also imports {loaded}"


def test_importing_costs_less_than_300_ms_of_cpu() -> None:
    # CPU time and the best of three: other work on the machine does not count. It is a few milliseconds.
    code = "import time\nstart = time.process_time()\nimport nbkit\nprint(time.process_time() - start)"
    assert min(float(run(code)) for _ in range(3)) < 0.3


def test_every_public_name_can_be_had() -> None:
    missing = "[name for name in dir(nbkit) if getattr(nbkit, name, None) is None]"
    assert run(f"import nbkit\nprint(*{missing}, len(dir(nbkit)) > 20)").split() == ["True"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"nbkit.*no_such_name"):
        __import__("nbkit").no_such_name  # noqa: B018
