"""Every position of every slider of the course shows a picture, and none an error."""

from __future__ import annotations

from typing import Any

import pytest

from nbkit.widgets import Explorer
from tests.notebooks.test_notebooks import NOTEBOOKS, read

EXPLORED = [
    notebook for notebook in NOTEBOOKS if any("nk.explore(" in cell.source for cell in read(notebook).cells)
]


def explorers(notebook: Any) -> dict[str, Explorer]:
    """What the notebook explores; cells that train or are wrong on purpose are left out."""
    scope: dict[str, Any] = {}
    for cell in read(notebook).cells:
        if (
            cell.cell_type != "code"
            or "live" in cell.source
            or "raises-exception" in cell.metadata.get("tags", ())
        ):
            continue
        exec(compile(cell.source, str(notebook), "exec"), scope)  # noqa: S102  # our own notebook
    return {name: value for name, value in scope.items() if isinstance(value, Explorer)}


def positions(control: Any) -> list[Any]:
    if hasattr(control, "options"):
        return list(control.options)
    return list(range(control.min, control.max + 1)) if hasattr(control, "max") else [False, True]


def test_there_is_something_to_move() -> None:
    assert EXPLORED


@pytest.mark.slow
@pytest.mark.parametrize("notebook", EXPLORED, ids=str)
def test_every_position_shows_a_picture(notebook: Any) -> None:
    found = explorers(notebook)
    assert found
    for name, explorer in found.items():
        for parameter, control in explorer.controls.items():
            start = control.value
            for value in positions(control):
                control.value = value
                shown = explorer.picture.value
                assert "<svg" in shown, f"{name}({parameter}={value}) shows no picture"
                assert "Error" not in shown, f"{name}({parameter}={value}): {shown[-400:]}"
                assert "<pre" not in shown, f"{name}({parameter}={value}): {shown[-400:]}"
            control.value = start
