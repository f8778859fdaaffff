"""A restored run goes on bit by bit as the one that was never stopped; a foreign state is refused whole."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nbkit.components import conv, norm_activate, transformer_block
from nbkit.language.palette import embed, linear, mean, merge, positions
from nbkit.tasks import Task, digits, modular_arithmetic, spirals
from nbkit.train import Recipe, SnapshotError
from nbkit.train.history import History
from nbkit.train.state import capture, restore
from nbkit.train.stepper import Stepper


def mlp() -> tuple[nn.Module, Task]:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2)), spirals(n=200)


def transformer() -> tuple[nn.Module, Task]:
    model = (
        embed("v -> m=16") + positions("x -> m=16")
        >> transformer_block(4, dropout=0.2) ** 2
        >> mean("x")
        >> linear("m -> o=7")
    )
    task = modular_arithmetic(p=7)
    return model.on(task.inputs).torch(seed=2), task


def convnet() -> tuple[nn.Module, Task]:
    task = digits()
    net = (
        merge("i j -> x")
        >> linear("-> c=1")
        >> conv(4)
        >> norm_activate()
        >> mean("x")
        >> linear("c -> o=10")
    )
    return net.on(task.inputs).torch(seed=3), task


class Noisy(nn.Module):
    """Draws from all three generators, from buffers that are not saved with it, and has tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, 2), nn.Linear(2, 2)
        self.last.weight = self.first.weight
        self.register_buffer("seen", torch.zeros(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            noise = torch.rand(()) + float(np.random.rand()) + random.random()  # noqa: NPY002
            self.seen += noise
            x = x * noise
        return self.last(torch.tanh(self.first(x)) + self.seen)


def noisy() -> tuple[nn.Module, Task]:
    torch.manual_seed(4)
    return Noisy(), spirals(n=200)


RECIPES = {
    "adamw, batches, cosine": Recipe(
        lr=0.01, weight_decay=0.1, batch_size=32, schedule="cosine", warmup=5, horizon=60, eval_every=7
    ),
    "adam, whole set": Recipe(optimizer="adam", lr=0.01, betas=(0.8, 0.95), eval_every=10),
    "sgd with momentum, batches, linear": Recipe(
        optimizer="sgd", lr=0.05, momentum=0.9, batch_size=24, schedule="linear", horizon=80, eval_every=4
    ),
}
MODELS = {"mlp": mlp, "transformer with dropout": transformer, "batch norm": convnet, "noise": noisy}


def make(model: str, recipe: str) -> Stepper:
    module, task = MODELS[model]()
    return Stepper(module, task, RECIPES[recipe], 5, History())


def everything(stepper: Stepper) -> dict[str, Tensor]:
    """All tensors of a run."""
    state = stepper.optimizer.state_dict()["state"]
    found = {f"{i}.{k}": torch.as_tensor(v) for i, s in state.items() for k, v in s.items() if v is not None}
    return {**found, **dict(stepper.model.named_parameters()), **dict(stepper.model.named_buffers())}


def steps(stepper: Stepper, n: int) -> None:
    for _ in range(n):
        stepper.step()


@pytest.mark.parametrize(("model", "recipe"), list(itertools.product(MODELS, RECIPES)))
def test_what_is_restored_goes_on_bit_by_bit(model: str, recipe: str) -> None:
    whole = make(model, recipe)
    states = {}
    for step in range(40):
        if step in (0, 1, 17):
            states[step] = capture(whole)
        whole.step()
        if step == 8:
            whole.set("lr", 0.003)
    for step, state in states.items():
        again = make(model, recipe)
        steps(again, 3)  # into another state first, which must leave nothing behind
        again.set("weight_decay", 0.5)
        lengths = restore(again, state)
        assert again.count == step
        again.history = whole.history.cut(lengths)
        for count in range(step, 40):
            again.step()
            if count == 8:
                again.set("lr", 0.003)
        mine, theirs = everything(again), everything(whole)
        assert mine.keys() == theirs.keys()
        assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
        assert list(again.history) == list(whole.history)
        for name in whole.history:
            for a, b in zip(again.history[name], whole.history[name], strict=True):
                np.testing.assert_array_equal(a, b, err_msg=name)
        assert again.latest == whole.latest
        assert capture(again) == capture(whole)


def test_the_global_generators_are_left_alone() -> None:
    stepper = make("noise", "adam, whole set")
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002
    random.seed(11)
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    steps(stepper, 5)
    restore(stepper, capture(stepper))
    assert torch.equal(before[0], torch.get_rng_state())
    assert all(np.array_equal(a, b) for a, b in zip(before[1], np.random.get_state(), strict=True))  # noqa: NPY002
    assert before[2] == random.getstate()


def test_a_state_without_dropout_is_small() -> None:
    stepper = make("mlp", "adam, whole set")
    steps(stepper, 20)
    numbers = sum(tensor.numel() for tensor in everything(stepper).values())
    assert len(capture(stepper)) < 4 * numbers + 4000


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (nn.Linear(2, 2), "of another model: without bias, weight; with 0.bias"),
        (nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)), "with other shapes of 0.weight, 0.bias"),
        (nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2)).double(), "other shapes of 0.weight"),
    ],
)  # fmt: skip
def test_the_state_of_another_model_is_refused_and_nothing_changes(other: nn.Module, text: str) -> None:
    state = capture(make("mlp", "adam, whole set"))
    task = spirals(n=200)
    stepper = Stepper(other, task, RECIPES["adam, whole set"], 0, History())
    before = {name: tensor.clone() for name, tensor in everything(stepper).items()}
    with pytest.raises(SnapshotError) as caught:
        restore(stepper, state)
    assert text in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in everything(stepper).items())


def test_the_state_of_another_optimizer_or_a_damaged_one_is_refused() -> None:
    state = capture(make("mlp", "adam, whole set"))
    stepper = make("mlp", "sgd with momentum, batches, linear")
    with pytest.raises(
        SnapshotError, match="the snapshot is of another optimizer; take the recipe that the run had"
    ):
        restore(stepper, state)
    for damaged in (b"", state[:100], state[:-10], b"\x80\x04pickle", bytes(1000)):
        with pytest.raises(SnapshotError, match="the snapshot is damaged"):
            restore(stepper, damaged)


def test_a_schedule_is_that_of_torch() -> None:
    recipe = Recipe(optimizer="sgd", lr=0.1, schedule="cosine", horizon=50)
    weight = nn.Parameter(torch.zeros(1))
    reference = torch.optim.SGD([weight], lr=0.1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(reference, T_max=50)
    for step in range(50):
        assert recipe.factor(step) * 0.1 == pytest.approx(reference.param_groups[0]["lr"], abs=1e-9)
        reference.step()
        cosine.step()
