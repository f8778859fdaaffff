"""What a record says about a run, so that a reader can repeat it: plain values only."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from nbkit.language import Diagram
from nbkit.train.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from nbkit.tasks import Task

PACKAGES = ("nbkit", "torch", "numpy")
LONGEST = 20_000  # letters of a model's description


def describe(
    name: str, seed: int, diagram: object, module: nn.Module, task: Task, recipe: Recipe
) -> dict[str, Any]:
    """The facts of a run: names, seeds, sizes, diagram, recipe, versions, machine."""
    text = getattr(diagram, "json", None)
    return {
        "name": name,
        "seed": seed,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "diagram": json.loads(text()) if callable(text) else None,
        "model": repr(module)[:LONGEST],
        "parameters": sum(p.numel() for p in module.parameters()),
        "task": _task(task),
        "recipe": asdict(recipe),
        "versions": {package: _version(package) for package in PACKAGES},
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "python": platform.python_version(),
        },
    }


def _task(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "inputs": task.inputs,
        "train": [list(part.shape) for part in task.train],
        "test": [list(part.shape) for part in task.test],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_task(path: Path, facts: Mapping[str, Any], task: Task) -> None:
    """`ValueError` unless this is the task of the run that the facts are of."""
    mine, theirs = _task(task), facts.get("task", {})
    for what, found in mine.items():
        if theirs.get(what) != found:
            msg = (
                f"{path} is a run on a task with {what} {theirs.get(what)!r}, but this one has {found!r}. "
                "Give the task that the run had"
            )
            raise ValueError(msg)


def recipe_of(facts: Mapping[str, Any]) -> Recipe:
    """The recipe of a run, checked again."""
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in facts["recipe"].items()}
    return Recipe(**given)


def rebuilt(path: Path, facts: Mapping[str, Any]) -> object:
    """The diagram of a run; nothing that is stored is run."""
    if not facts.get("diagram"):
        msg = f"{path}: the run recorded no diagram; give the model: Session.resume(path, task, model=…)"
        raise ValueError(msg)
    return Diagram.from_json(json.dumps(facts["diagram"]))
