"""What `nbkit train` can train by name: a task, a model that suits it, and a recipe that works.

The recipes for modular arithmetic make a model grok: it learns its part of the table by heart first and the
rule long after; `nbkit.train.recipes` says where they come from. Meets issue 2, point 10.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from nbkit.tasks import Task, digits, modular_arithmetic, spirals
from nbkit.train import Recipe
from nbkit.train.recipes import grokking_mlp, grokking_transformer

OPERATIONS = {"modular-addition": "+", "modular-subtraction": "-", "modular-multiplication": "*"}


@dataclass(frozen=True)
class Experiment:
    """A task as a model is given it, `data(seed=0)`, and how that model learns it."""

    data: Callable[..., Task]
    recipe: Recipe


def experiments() -> dict[str, dict[str, Experiment]]:
    """Return every experiment by the name of its task and of its model in `nbkit.components.models()`.

    Examples
    --------
    >>> sorted(experiments()["digits"])
    ['digits-convnet', 'digits-mlp']
    """
    table = partial(modular_arithmetic, 97)
    modular = {
        task: {
            "grokking-mlp": Experiment(partial(table, sign, 0.5, equals=False), grokking_mlp()),
            "grokking-transformer": Experiment(partial(table, sign, 0.4), grokking_transformer()),
        }
        for task, sign in OPERATIONS.items()
    }
    return modular | {
        "digits": {
            "digits-mlp": Experiment(digits, Recipe(lr=1e-2)),
            "digits-convnet": Experiment(digits, Recipe(lr=1e-2, batch_size=128)),
        },
        "spirals": {"spirals-mlp": Experiment(spirals, Recipe(lr=1e-2))},
    }
