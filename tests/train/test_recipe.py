"""Recipes and conditions: what is refused, in full text, and what the optimizers are."""

from __future__ import annotations

import math

import pytest
import torch

from nbkit.train import Recipe, RecipeError, condition
from nbkit.train.recipe import evaluation_period, make_optimizer

NAN, INF = math.nan, math.inf
LR = "lr must be a finite number > 0, but is {}. Usual are 1e-4 … 1e-2."
BATCH = "batch_size must be an integer ≥ 1, or None, but is {}. None takes the whole training set."
SPEED = "speed must be a finite number of steps per second > 0, or None, but is {}. None is full speed."
BETAS = "betas must be two numbers in [0, 1), but is {}. Usual is (0.9, 0.999)."
KINDS = "optimizer must be one of 'adamw' 'adam' 'sgd', but is {}. {}"
REFUSED = [
    *(({"lr": value}, LR.format(value)) for value in (-0.1, 0, 0.0, NAN, INF, -INF, None, True)),
    ({"lr": "fast"}, LR.format("'fast'")),
    *(
        ({"weight_decay": v}, f"weight_decay must be a finite number ≥ 0, but is {v}. 0 switches it off.")
        for v in (-1, NAN, INF)
    ),
    *(
        ({"betas": value}, BETAS.format(value))
        for value in ((0.9, 1.0), (0.9,), (NAN, 0.9), (-0.1, 0.9), 0.9)
    ),
    ({"momentum": 1}, "momentum must be a number in [0, 1), but is 1. Usual are 0 and 0.9."),
    *(({"batch_size": value}, BATCH.format(value)) for value in (0, -1, 1.5, True)),
    (
        {"eval_every": 0},
        "eval_every must be an integer ≥ 1, or None, but is 0. None chooses by the sizes of the data.",
    ),
    (
        {"max_steps": 0},
        "max_steps must be an integer ≥ 1, or None, but is 0. None trains until it is stopped.",
    ),
    *(({"speed": value}, SPEED.format(value)) for value in (0, -1, NAN, INF)),
    (
        {"threads": 0},
        "threads must be an integer ≥ 1, or None, but is 0. None chooses by the size of a step.",
    ),
    ({"optimizer": "adamW"}, KINDS.format("'adamW'", "Did you mean 'adamw'?")),
    ({"optimizer": "lbfgs"}, KINDS.format("'lbfgs'", "Take one of these names.")),
]


@pytest.mark.parametrize(("arguments", "text"), REFUSED)
def test_recipe_refuses(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe(**arguments)
    assert str(caught.value) == f"Recipe: {text}"
    assert caught.value.knob in arguments


@pytest.mark.parametrize(
    ("name", "kind", "own"),
    [
        ("adamw", torch.optim.AdamW, {"betas": (0.8, 0.9)}),
        ("adam", torch.optim.Adam, {"betas": (0.8, 0.9)}),
        ("sgd", torch.optim.SGD, {"momentum": 0.5}),
    ],
)
def test_optimizer_has_the_recipes_values(name: str, kind: type, own: dict[str, object]) -> None:
    recipe = Recipe(optimizer=name, lr=0.5, weight_decay=0.25, betas=[0.8, 0.9], momentum=0.5)
    optimizer = make_optimizer(recipe, [torch.zeros(1, requires_grad=True)])
    group = optimizer.param_groups[0]
    assert type(optimizer) is kind
    assert {"lr": 0.5, "weight_decay": 0.25, **own}.items() <= group.items()
    assert set(own) <= set(recipe.knobs())
    assert len(recipe.knobs()) == 7


def test_evaluation_costs_at_most_a_tenth() -> None:
    for batch in (1, 32, 1000, 5000):
        for test in (1, 100, 450, 9000):
            period = evaluation_period(batch, test)
            assert test / (3 * batch * period) <= 0.1
            assert period == 10 or test / (3 * batch * period) > 0.1 / 2.5  # and no rarer than needed
            assert str(period).rstrip("0") in ("1", "2", "5")


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("test/accuracy > 0.99", 0.99, False),
        ("test/accuracy>.99", 0.995, True),
        ("test/accuracy >= 9.9e-1", 0.99, True),
        ("  test/accuracy<1 ", 0.5, True),
        ("test/accuracy <= -1", 0.5, False),
    ],
)
def test_condition_reads_text(text: str, value: float, holds: bool) -> None:
    assert condition(text)({"test/accuracy": value}) is holds


@pytest.mark.parametrize(
    "text",
    ["", "test/accuracy", "> 0.9", "a > b", "a == 1", "a > 1 or True", "__import__('os').system('true') > 0"],
)
def test_condition_refuses_anything_else(text: str) -> None:
    with pytest.raises(ValueError, match="until: a condition must") as caught:
        condition(text)
    assert str(caught.value) == (
        "until: a condition must read like 'test/accuracy > 0.99' (a metric, one of > >= < <=, a number), "
        f"but is {text!r}. For anything else give a function of the metrics."
    )
