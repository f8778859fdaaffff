"""What goes wrong in a step stops the session in a state that can be looked at and left again."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn

from nbkit.train import Session, TrainingFailedError
from tests.train.helpers import small_session, wait_until


class Breaks(nn.Linear):
    """Gives `value` times its output, or raises, at the step whose number it is told."""

    def __init__(self, at: int, value: float | None) -> None:
        super().__init__(2, 2)
        self.at, self.value, self.calls = at, value, 0

    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        if self.training:
            self.calls += 1
            if self.calls == self.at + 1:
                if self.value is None:
                    raise RuntimeError("the wires crossed")
                return output * self.value
        return output


@pytest.mark.parametrize(("value", "found"), [(float("nan"), "nan"), (float("inf"), "nan")])
def test_a_loss_that_is_not_finite_stops_before_it_changes_a_weight(value: float, found: str) -> None:
    model = Breaks(at=7, value=value)
    session = small_session(model=model, eval_every=5)
    weights: list[Tensor] = []
    session.step(7)
    weights = [p.detach().clone() for p in model.parameters()]
    moments = [s["exp_avg"].clone() for s in session._stepper.optimizer.state.values()]
    session.play()
    wait_until(session, lambda s: s.state == "failed")
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    now = [s["exp_avg"] for s in session._stepper.optimizer.state.values()]
    assert all(torch.equal(a, b) for a, b in zip(moments, now, strict=True))
    failure = session.failure
    assert failure is not None
    assert (failure.step, failure.message) == (7, f"the loss is {found}.")
    assert failure.remedy == (
        "This step changed no weight. Lower the learning rate, session.set(lr=…), and play(). "
        "If that fails, too: session.recover() goes back to the weights of step 5."
    )
    assert "NonFiniteLossError" in failure.traceback
    assert session.events[-1].kind == "failed"
    assert session.history["train/loss"][0].tolist() == list(range(7))
    session.set(lr=1e-4).play()
    wait_until(session, lambda s: s.step_count >= 20)
    assert session.failure is None
    session.close()


def test_an_exception_in_the_model_stops_with_its_traceback(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    session = small_session(model=Breaks(at=2, value=None)).play()
    wait_until(session, lambda s: s.state == "failed")
    failure = session.failure
    assert failure is not None
    assert (failure.step, session.step_count) == (2, 2)
    assert failure.message == "RuntimeError: the wires crossed"
    assert failure.remedy == (
        "Correct the model or the task and make a new Session; play() tries the same step again."
    )
    assert 'raise RuntimeError("the wires crossed")' in failure.traceback
    assert "test_failures.py" in failure.traceback
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert session.step(4).step_count == 6  # the model works again, and so does the session
    session.close()


def test_those_who_wait_are_told() -> None:
    session = small_session(model=Breaks(at=2, value=None))
    with pytest.raises(TrainingFailedError) as caught:
        session.step(5)
    assert str(caught.value) == (
        "test: training stopped at step 2: RuntimeError: the wires crossed "
        "Correct the model or the task and make a new Session; play() tries the same step again."
    )
    assert caught.value.failure is session.failure
    other = small_session(model=Breaks(at=2, value=None))
    with pytest.raises(TrainingFailedError):
        other.run(seconds=1000)
    assert other.state == "failed"
    session.close()
    other.close()
    assert session.failure is not None  # can still be read


def test_a_learning_rate_that_blows_up_can_be_taken_back() -> None:
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    session = small_session(model=model, optimizer="sgd", lr=0.1, eval_every=2).step(20)
    session.set(lr=1e12)
    with pytest.raises(TrainingFailedError):
        session.run(steps=50)
    session.set(lr=0.1)
    with pytest.raises(TrainingFailedError):  # the weights of the huge step are beyond help
        session.step()
    session.recover()
    assert session.events[-1].detail == {"weights_of": 20}  # not the finite, absurd ones just after
    assert (session.state, session.failure) == ("paused", None)
    assert session.run(steps=50).state == "paused"
    assert session.metrics["train/loss"] < 1
    session.close()


def test_a_subscriber_that_raises_is_dropped_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    session, calls = small_session(), []

    def broken(_: Session) -> None:
        calls.append(1)
        raise ValueError("no canvas")

    session.subscribe(broken)
    with caplog.at_level(logging.ERROR, "nbkit"):
        session.play()
        wait_until(session, lambda s: s.step_count > 30)
        session.close()
    assert calls == [1]
    assert [record.message for record in caplog.records] == [
        "nbkit: a subscriber of test failed and is dropped"
    ]
    assert "no canvas" in (caplog.text)
