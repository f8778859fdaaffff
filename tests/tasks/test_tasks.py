"""The data of every task against plain Python, and every refusal with its full text."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from nbkit.tasks import OPERATIONS, OutputError, Task, TaskError, digits, modular_arithmetic, spirals

ROOT = Path(__file__).parents[2]
PYTHON = {
    "+": lambda a, b, p: (a + b) % p,
    "-": lambda a, b, p: (a - b) % p,
    "*": lambda a, b, p: (a * b) % p,
    "x^2+xy+y^2": lambda a, b, p: (a**2 + a * b + b**2) % p,
}


def equal(one: Task, other: Task) -> bool:
    pairs = zip((*one.train, *one.test), (*other.train, *other.test), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("p", [2, 5, 97, 113])
def test_modular_table_is_complete_disjoint_and_right(operation: str, p: int) -> None:
    task = modular_arithmetic(p, operation, fraction=0.4, seed=3)
    rows = [row for x, _ in (task.train, task.test) for row in x.tolist()]
    answers = [y for _, t in (task.train, task.test) for y in t.tolist()]
    assert sorted((a, b) for a, b, _ in rows) == [(a, b) for a in range(p) for b in range(p)]
    assert {sign for _, _, sign in rows} == {p}
    assert answers == [PYTHON[operation](a, b, p) for a, b, _ in rows]
    assert len(task.train[1]) == round(0.4 * p * p)
    assert (task.inputs, task.classes) == (f"N({p + 1})[x=3]", p)
    assert task.train[0].dtype == task.train[1].dtype == torch.int64


def test_modular_without_equals_has_two_tokens() -> None:
    task = modular_arithmetic(7, equals=False)
    assert task.inputs == "N(7)[x=2]"
    assert task.train[0].shape == (24, 2)
    assert int(task.train[0].max()) <= 6


def test_modular_split_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = modular_arithmetic(11, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert equal(one, modular_arithmetic(11, seed=5))
    assert not equal(one, modular_arithmetic(11, seed=6))


@pytest.mark.parametrize(("typed", "meant"), [("×", "*"), ("x² + xy + y²", "x^2+xy+y^2"), (" X + Y ", "+")])
def test_modular_operation_can_be_spelled(typed: str, meant: str) -> None:
    assert equal(modular_arithmetic(5, typed), modular_arithmetic(5, meant))


PRIME = "modular_arithmetic: p must be a prime of at most 113, but is "
SHARE = "modular_arithmetic: fraction must be "
NAME = "modular_arithmetic: operation must be one of '+' '-' '*' 'x^2+xy+y^2', but is "
TABLE = "The table has p² entries, all of them in every step; the largest p is 113."
HALF = "It is the share of the table to train on; 0.5 is half of it."
FEW = "Of the 4 entries it leaves 0 to train on; take a share nearer to 0.5."
NO_SHARES = (0, 1, 0.0, 1.0, -0.5, 1.5, math.nan, math.inf, "half", None, True)
MODULAR_ERRORS = [
    ({"p": 98}, PRIME + "98. 98 = 2 × 49; the nearest prime is p=97."),
    ({"p": 91}, PRIME + "91. 91 = 7 × 13; the nearest prime is p=89."),
    ({"p": 127}, PRIME + "127. " + TABLE),
    *(({"p": p}, PRIME + f"{p!r}. Power et al. use p=97.") for p in (1, 0, -7, 97.0, True, "97")),
    *(
        ({"fraction": v}, SHARE + f"a number strictly between 0 and 1, but is {v!r}. " + HALF)
        for v in NO_SHARES
    ),
    ({"p": 2, "fraction": 0.1}, SHARE + "a share that leaves both sides an entry, but is 0.1. " + FEW),
    ({"operation": "x^2+xy"}, NAME + "'x^2+xy'. Did you mean 'x^2+xy+y^2'?"),
    ({"operation": "minu"}, NAME + "'minu'. Did you mean '-'?"),
    ({"operation": "/"}, NAME + "'/'. Take one of these names."),
    ({"operation": 3}, NAME + "3. Give its name as text."),
    (
        {"seed": -1},
        "modular_arithmetic: seed must be an integer from 0 to 4294967295, but is -1. Usual is seed=0.",
    ),
]


@pytest.mark.parametrize(("arguments", "text"), MODULAR_ERRORS)
def test_modular_refuses(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(TaskError) as caught:
        modular_arithmetic(**arguments)
    assert str(caught.value) == text
    assert caught.value.argument in arguments


def test_digits_are_the_real_ones_split_by_class() -> None:
    task, bunch = digits(seed=1), load_digits()
    held = len(task.test[1])
    assert (len(task.train[1]), held) == (1347, 450)
    stored = {(image.tobytes(), int(label)) for image, label in zip(bunch.images, bunch.target, strict=True)}
    both = torch.cat([task.train[0], task.test[0]]), torch.cat([task.train[1], task.test[1]])
    found = {(x.double().mul(16).numpy().tobytes(), int(y)) for x, y in zip(*both, strict=True)}
    assert found == stored
    assert len(found) == 1797  # no image occurs twice, so train and test are disjoint, and nothing is missing
    for digit in range(10):
        share = (task.test[1] == digit).sum() / (both[1] == digit).sum()
        assert abs(float(share) - 0.25) < 0.01
    assert (float(both[0].min()), float(both[0].max())) == (0.0, 1.0)
    assert equal(task, digits(seed=1))
    assert not equal(task, digits(seed=2))


@pytest.mark.parametrize("value", [0, 1, -0.1, math.nan])
def test_digits_refuses_a_share_that_is_none(value: float) -> None:
    with pytest.raises(TaskError) as caught:
        digits(test=value)
    assert str(caught.value) == (
        f"digits: test must be a number strictly between 0 and 1, but is {value!r}. "
        "It is the share of images held out; 0.25 is usual."
    )


def test_digits_refuses_too_small_a_share() -> None:
    with pytest.raises(TaskError) as caught:
        digits(test=0.001)
    assert str(caught.value) == (
        "digits: test must be a share that leaves every digit on both sides, but is 0.001. "
        "There are 1797 images; take a share nearer to 0.25."
    )


def test_spirals_lie_on_their_curves() -> None:
    task = spirals(n=101, turns=2.0, noise=0.0, seed=4)
    for points, labels in (task.train, task.test):
        for (x, y), label in zip(points.tolist(), labels.tolist(), strict=True):
            radius = math.hypot(x, y)
            angle = 2 * math.pi * 2.0 * radius + math.pi * label
            assert (x, y) == pytest.approx((radius * math.cos(angle), radius * math.sin(angle)), abs=1e-5)
    labels = torch.cat([task.train[1], task.test[1]])
    assert torch.bincount(labels).tolist() == [51, 50]
    assert set(task.test[1].tolist()) == {0, 1}


def test_spirals_noise_has_the_given_deviation() -> None:
    quiet, loud = spirals(n=20000, noise=0.0, seed=1, test=0.5), spirals(n=20000, noise=0.3, seed=1, test=0.5)
    radius = loud.train[0].square().sum(1).mean() - quiet.train[0].square().sum(1).mean()
    assert float(radius) == pytest.approx(2 * 0.3**2, rel=0.1)
    assert equal(loud, spirals(n=20000, noise=0.3, seed=1, test=0.5))


NOISE = "spirals: noise must be a finite number ≥ 0, but is "
DEVIATION = "It is a standard deviation; 0 means none."
TURNS = "Three turns are the classic task, 1.75 the default."
POINTS = "It counts the points of both spirals; 400 is enough to see them."
HELD = "It is the share of points held out; 0.25 is usual."
SPIRAL_ERRORS = [
    ({"noise": -0.1}, NOISE + "-0.1. " + DEVIATION),
    ({"noise": math.nan}, NOISE + "nan. " + DEVIATION),
    ({"turns": 0}, "spirals: turns must be a finite number > 0, but is 0. " + TURNS),
    ({"n": 3}, "spirals: n must be an integer of at least 4, but is 3. " + POINTS),
    ({"test": 1}, "spirals: test must be a number strictly between 0 and 1, but is 1. " + HELD),
]


@pytest.mark.parametrize(("arguments", "text"), SPIRAL_ERRORS)
def test_spirals_refuses(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(TaskError) as caught:
        spirals(**arguments)
    assert str(caught.value) == text


def test_loss_and_accuracy_are_means() -> None:
    task = modular_arithmetic(5)
    logits = torch.tensor([[0.0, 0, 0, 0, 0], [9.0, 0, 0, 0, 0]])
    target = torch.tensor([3, 0])
    expected = (math.log(5) + math.log(1 + 4 * math.exp(-9))) / 2
    assert task.loss(logits, target).item() == pytest.approx(expected, rel=1e-5)
    assert task.metrics(logits, target)["accuracy"].item() == 0.5


def test_loss_refuses_other_shapes() -> None:
    task = modular_arithmetic(5)
    with pytest.raises(OutputError) as caught:
        task.loss(torch.zeros(2, 3, 5), torch.zeros(2, dtype=torch.int64))
    assert str(caught.value) == (
        "loss: the model must give one row of logits per example, shape (2, classes), but gave (2, 3, 5). "
        "Reduce or slice away the other axes first, e.g. keep only the last position."
    )
    with pytest.raises(OutputError) as caught:
        task.loss(torch.zeros(5), torch.zeros(2, dtype=torch.int64))
    assert str(caught.value) == (
        "loss: the model must give one row of logits per example, shape (2, classes), but gave (5,). "
        "Keep the batch axis first and end with a linear map onto the classes."
    )


def test_task_refuses_parts_of_different_length() -> None:
    x, y = torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="train must hold") as caught:
        Task("mine", "d=2", 2, (x, y), (x, y))
    assert str(caught.value) == (
        "Task('mine'): train must hold as many inputs as targets, and at least one, but holds 3 inputs and "
        "2 targets. Check how the examples were split."
    )


def test_importing_the_tasks_imports_neither_torch_nor_sklearn() -> None:
    code = "import sys, nbkit.tasks; print([m for m in ('torch', 'sklearn', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("[]\n", "")
