"""A session's numbers are those of a plain torch loop, to the last bit, and depend on its seed alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nbkit.tasks import Task
from tests.train.helpers import TASK, small_model, small_session


def bare_loop(
    model: nn.Module, task: Task, steps: int, every: int, batch: int | None, seed: int
) -> dict[str, list]:
    """What a reader would write by hand."""
    (inputs, targets), (test_inputs, test_targets) = task.train, task.test
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1, fused=True)
    generator = torch.Generator().manual_seed(seed)
    seen: dict[str, list] = {"train/loss": [], "train/accuracy": [], "test/loss": [], "test/accuracy": []}

    def evaluate() -> None:
        with torch.no_grad():
            output = model(test_inputs)
        seen["test/loss"].append(F.cross_entropy(output, test_targets).item())
        seen["test/accuracy"].append((output.argmax(1) == test_targets).float().mean().item())

    evaluate()
    order: list[Tensor] = []
    for step in range(steps):
        if batch is None:
            x, y = inputs, targets
        else:
            if not order:
                order = [
                    c
                    for c in torch.randperm(len(targets), generator=generator).split(batch)
                    if len(c) == batch
                ]
            chosen = order.pop(0)
            x, y = inputs[chosen], targets[chosen]
        output = model(x)
        loss = F.cross_entropy(output, y)
        seen["train/loss"].append(loss.item())
        if step % every == 0:
            seen["train/accuracy"].append((output.argmax(1) == y).float().mean().item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % every == 0:
            evaluate()
    return seen


@pytest.mark.parametrize("batch", [None, 7])
def test_equals_a_bare_loop(batch: int | None) -> None:
    model = small_model()
    expected = bare_loop(reference := copy.deepcopy(model), TASK, 53, 5, batch, seed=3)
    session = small_session(
        model=model, batch_size=batch, eval_every=5, weight_decay=0.1, threads=1, seed=3
    ).step(53)
    for name, values in expected.items():
        assert np.array_equal(session.history[name][1], np.float32(values)), name
    assert np.array_equal(session.history["train/loss"][0], np.arange(53))
    assert np.array_equal(session.history["train/accuracy"][0], np.arange(0, 53, 5))
    assert np.array_equal(session.history["test/loss"][0], np.arange(0, 54, 5))
    for name, tensor in reference.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    session.close()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_equal_seeds_give_equal_histories(dropout: float) -> None:
    def run(seed: int) -> np.ndarray:
        with small_session(model=small_model(dropout=dropout), batch_size=10, seed=seed) as session:
            torch.rand(seed + 7)  # the global generator is in another state each time
            return session.step(40).history["train/loss"][1]

    assert np.array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_torchs_global_generator_is_left_alone(dropout: float) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    with small_session(model=small_model(dropout=dropout), batch_size=10) as session:
        session.step(30)
    assert torch.equal(torch.get_rng_state(), before)


class Spy(nn.Module):
    """Notes what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(2, 2), nn.BatchNorm1d(2)
        self.frozen = nn.Dropout(0.5).eval()
        self.calls: list[tuple[bool, bool, bool, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append((self.training, self.norm.training, torch.is_grad_enabled(), x))
        return self.norm(self.frozen(self.linear(x)))


def test_evaluation_is_in_eval_mode_and_leaves_modes_as_they_were() -> None:
    model = Spy()
    with small_session(model=model, eval_every=2) as session:
        session.step(5)
    tests = [call for call in model.calls if not call[0]]
    trains = [call for call in model.calls if call[0]]
    assert len(trains) == 5  # one forward pass a step: training metrics come from the step's own output
    assert len(tests) == 3  # at 0, 2 and 4 updates
    assert all(not norm and not grad for _, norm, grad, _ in tests)
    assert all(norm and grad for _, norm, grad, _ in trains)
    assert [m.training for m in model.modules()] == [True, True, True, False]
    assert all(x is TASK.train[0] for *_, x in trains)  # a full batch is no copy


def test_a_large_test_set_is_evaluated_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    whole = small_session(model=copy.deepcopy(model)).step(1).metrics
    monkeypatch.setattr("nbkit.train.stepper.CHUNK", 7)
    parts = small_session(model=model).step(1).metrics
    assert parts == pytest.approx(whole, rel=1e-6)


def test_recover_brings_weights_and_optimizer_back() -> None:
    model = small_model()
    session = small_session(model=model, eval_every=10, weight_decay=0.1).step(20)
    kept = copy.deepcopy(model.state_dict())
    straight = session.step(5).history["train/loss"][1][-5:]
    session.recover()
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in kept.items())
    assert session.events[-1].kind == "recover"
    assert session.events[-1].detail == {"weights_of": 20}
    assert session.step_count == 25
    assert np.array_equal(
        session.step(5).history["train/loss"][1][-5:], straight
    )  # Adam's means are back, too
    session.close()


def test_recover_to_the_start_forgets_the_optimizers_state() -> None:
    model = small_model()
    session = small_session(model=model, eval_every=100).step(5)
    first = session.history["train/loss"][1]
    session.recover().step(5)
    assert np.array_equal(session.history["train/loss"][1][5:], first)
    session.close()
