"""Controls, states and refusals of a session, with real threads and without sleeping."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from nbkit.train import Metrics, Recipe, RecipeError, Session, SessionClosedError, SessionError
from tests.train.helpers import LONG, TASK, Gate, small_model, small_session, wait_until


def kinds(session: Session) -> list[str]:
    return [event.kind for event in session.events]


def test_play_trains_in_the_background_until_pause() -> None:
    session = small_session()
    assert (session.state, session.step_count, session.metrics) == ("paused", 0, {})
    assert session.play() is session
    wait_until(session, lambda s: s.step_count >= 20)
    assert session.state == "running"
    session.pause()
    count = session.step_count
    assert (session.state, len(session.history["train/loss"][0])) == ("paused", count)
    assert kinds(session) == ["play", "pause"]
    session.play()
    wait_until(session, lambda s: s.step_count >= count + 20)
    session.close()
    assert np.array_equal(session.history["train/loss"][0], np.arange(session.step_count))


def test_pause_returns_only_when_the_step_under_way_has_ended() -> None:
    model = Gate()
    session = small_session(model=model).play()
    assert model.entered.wait(LONG)
    with pytest.raises(TimeoutError) as caught:
        session.pause(timeout=0.05)
    assert str(caught.value) == (
        "test: pause() waited 0.05 s for step 0 to end, and it has not. "
        "The session will pause when it does; pause(timeout=…) waits longer."
    )
    assert session.state == "running"
    paused = threading.Thread(target=session.pause)
    paused.start()
    assert session.step_count == 0
    model.open.set()
    paused.join(LONG)
    assert (session.state, session.step_count) == ("paused", 1)
    session.close()


def test_pause_from_inside_a_step_does_not_wait_for_itself() -> None:
    class Pauses(nn.Linear):
        session: Session

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training and self.session.step_count == 3:
                self.session.pause()
            return super().forward(x)

    model = Pauses(2, 2)
    model.session = small_session(model=model).play()
    wait_until(model.session, lambda s: s.state == "paused")
    assert model.session.step_count == 4  # the step that paused is finished
    model.session.close()


def test_step_makes_exactly_n() -> None:
    session = small_session()
    assert session.step().step_count == 1
    assert session.step(6).step_count == 7
    assert session.state == "paused"
    session.close()


def test_step_while_playing_makes_n_more_and_pauses() -> None:
    model = Gate()
    session = small_session(model=model).play()
    assert model.entered.wait(LONG)  # step 0 is under way
    session.step(3, wait=False)
    model.open.set()
    wait_until(session, lambda s: s.state == "paused")
    assert session.step_count == 4
    session.close()


def test_steps_asked_for_by_several_threads_add_up() -> None:
    session = small_session()
    threads = [threading.Thread(target=session.step, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert session.step_count == sum(range(1, 9))
    session.close()


def test_run_stops_at_the_step_at_which_the_condition_first_holds() -> None:
    session = small_session(lr=0.05)
    session.run(until=lambda m: m["train/loss"] < 0.6, steps=5000)
    losses = session.history["train/loss"][1]
    assert losses[-1] < 0.6
    assert (losses[:-1] >= 0.6).all()
    assert (session.state, kinds(session)) == ("paused", ["run"])
    count = session.step_count
    assert session.run(until="train/loss < 0.6").step_count == count  # holds already
    assert session.run(steps=12).step_count == count + 12
    session.close()


def test_run_stops_when_test_metrics_of_these_weights_hold() -> None:
    session = small_session(lr=0.05, eval_every=7).run(until="test/loss < 0.6", steps=5000)
    with torch.no_grad():
        loss = TASK.loss(session.model(TASK.test[0]), TASK.test[1]).item()
    assert loss == pytest.approx(session.metrics["test/loss"], rel=1e-6)
    assert loss < 0.6
    assert session.step_count % 7 == 0
    session.close()


def test_run_stops_after_seconds() -> None:
    session = small_session()
    start = time.monotonic()
    session.run(seconds=0.2)
    assert time.monotonic() - start >= 0.2
    assert (session.state, session.step_count > 0) == ("paused", True)
    session.close()


def test_run_raises_what_its_condition_raised_and_pauses() -> None:
    session = small_session()
    with pytest.raises(KeyError) as caught:
        session.run(until=lambda m: m["test/acuracy"] > 0.9)
    (text,) = caught.value.args
    assert text == (
        "metrics: 'test/acuracy' has not been measured; measured are: "
        "'test/loss', 'test/accuracy', 'train/loss', 'train/accuracy'."
    )
    assert (session.state, session.step_count, session.failure) == ("paused", 1, None)
    assert session.step(2).step_count == 3
    session.close()


def test_run_returns_when_another_thread_pauses() -> None:
    session = small_session()
    runner = threading.Thread(target=session.run)
    runner.start()
    wait_until(session, lambda s: s.step_count > 5)
    with pytest.raises(SessionError) as caught:
        session.run(steps=1)
    assert str(caught.value) == (
        "test: run() is already under way in another thread, and only one can decide when to stop. "
        "Wait for it, or pause the session first."
    )
    session.play()  # no news: it trains already, and the run goes on
    session.pause()
    runner.join(LONG)
    assert not runner.is_alive()
    session.close()


def test_finishes_at_max_steps_with_a_last_evaluation() -> None:
    session = small_session(max_steps=13, eval_every=10).play()
    wait_until(session, lambda s: s.state == "finished")
    assert session.step_count == 13
    assert session.history["test/loss"][0].tolist() == [0, 10, 13]
    for control in (session.play, session.step, session.run):
        with pytest.raises(SessionError) as caught:
            control()
        assert str(caught.value) == (
            f"test: {control.__name__}() finds training finished, since step 13 has reached max_steps=13. "
            "Raise the limit with session.set(max_steps=…), or None for no limit."
        )
    session.set(max_steps=20)
    assert session.state == "paused"
    assert session.run(steps=100).step_count == 20
    assert session.state == "finished"
    session.close()


def test_set_applies_between_steps_and_is_logged_with_its_step() -> None:
    model = small_model()
    session = small_session(model=model, optimizer="sgd", momentum=0.5, lr=0.1).step(4)
    before = [p.detach().clone() for p in model.parameters()]
    session.set(lr=1e-30, momentum=0.0).step(3)
    assert all(
        torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)
    )  # nothing moves any more
    event = next(e for e in session.events if e.kind == "set")
    assert (event.step, dict(event.detail)) == (4, {"lr": 1e-30, "momentum": 0.0})
    assert session.knobs == {
        "lr": 1e-30, "weight_decay": 0.0, "momentum": 0.0,
        "batch_size": None, "eval_every": None, "max_steps": None, "speed": None,
    }  # fmt: skip
    session.close()


def test_set_during_a_step_waits_for_its_end() -> None:
    model = Gate()
    session = small_session(model=model).play()
    assert model.entered.wait(LONG)
    session.set(lr=0.5)
    assert session.knobs["lr"] == 0.5
    assert session._stepper.optimizer.param_groups[0]["lr"] == 0.01  # the step under way keeps the old one
    model.open.set()
    wait_until(session, lambda s: "set" in kinds(s))
    assert session._stepper.optimizer.param_groups[0]["lr"] == 0.5
    session.close()


def test_batch_size_and_eval_every_can_change() -> None:
    sizes: list[int] = []

    class Counts(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                sizes.append(len(x))
            return super().forward(x)

    session = small_session(model=Counts(2, 2), eval_every=1).step(2)
    session.set(batch_size=4, eval_every=100).step(3).set(batch_size=None).step(1)
    assert sizes == [60, 60, 4, 4, 4, 60]
    assert session.history["test/loss"][0].tolist() == [0, 1, 2]  # the 100 outlives the change of batch size
    session.close()


KNOBS = "the knob must be one of lr weight_decay betas batch_size eval_every max_steps speed "
KNOBS += "(optimizer 'adamw'), but is "
LR = "lr must be a finite number > 0, but is "
SPEED = "speed must be a finite number of steps per second > 0, or None, but is 0. None is full speed."
REFUSED = [
    ({"lr": -1.0}, LR + "-1.0. Usual are 1e-4 … 1e-2."),
    ({"lr": float("nan")}, LR + "nan. Usual are 1e-4 … 1e-2."),
    ({"weight_decay": 0.5, "speed": 0}, SPEED),
    ({"learning_rate": 0.1}, KNOBS + "'learning_rate'. Take one of these."),
    ({"momentum": 0.1}, KNOBS + "'momentum'. Take one of these."),
    ({"weight_decy": 0.1}, KNOBS + "'weight_decy'. Did you mean 'weight_decay'?"),
]


@pytest.mark.parametrize(("knobs", "text"), REFUSED)
def test_set_refuses_and_changes_nothing(knobs: dict[str, object], text: str) -> None:
    session = small_session()
    before = session.knobs
    with pytest.raises(RecipeError) as caught:
        session.set(**knobs)
    assert str(caught.value) == f"Session.set: {text}"
    assert (session.knobs, session.events) == (before, ())


def test_speed_is_a_limit() -> None:
    session = small_session(speed=200.0)
    start = time.monotonic()
    session.run(steps=41)
    assert time.monotonic() - start >= 40 / 200
    session.close()


def test_a_slow_session_obeys_at_once() -> None:
    session = small_session(speed=1e-3).play()  # one step in a quarter of an hour
    wait_until(session, lambda s: s.step_count == 1)
    session.pause(LONG)
    assert session.state == "paused"
    assert session.step(2, wait=False) is session  # the first at once, the second in a quarter of an hour
    wait_until(session, lambda s: s.step_count == 2)
    session.set(speed=None)
    wait_until(session, lambda s: s.state == "paused")
    assert session.step_count == 3
    session.close()


def test_run_keeps_its_deadline_when_steps_are_rare() -> None:
    session = small_session(speed=1e-3)
    assert session.run(seconds=0.1).state == "paused"
    assert session.step_count == 1
    session.close()


def test_elapsed_counts_the_time_in_which_it_trained() -> None:
    session = small_session()
    assert session.elapsed == 0.0
    session.run(seconds=0.1)
    first = session.elapsed
    assert first >= 0.1
    time.sleep(0.05)  # paused time does not count
    assert session.elapsed == first
    session.step(5).close()
    assert first < session.elapsed == session.elapsed


def test_close_ends_the_thread_and_keeps_what_was_measured() -> None:
    session = small_session().step(3)
    thread = session._engine.thread
    session.close()
    session.close()
    assert thread is not None
    assert not thread.is_alive()
    assert (session.state, len(session.history["train/loss"][0])) == ("closed", 3)
    for control in (session.play, session.step, session.run, lambda: session.set(lr=1.0), session.recover):
        with pytest.raises(
            SessionClosedError, match=r"^test: \w+\(\) came after close\(\)\. Make a new Session"
        ):
            control()
    assert session.pause() is session
    unused = small_session()
    unused.close()
    assert unused.state == "closed"


def test_refuses_what_is_no_model_and_no_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unapplied:
        def on(self, spec: str) -> None:
            """Like a function of the diagram language."""

    with pytest.raises(TypeError) as caught:
        Session(Unapplied(), TASK)
    assert str(caught.value) == (
        "Session: model must be a diagram or a torch.nn.Module, but is of type Unapplied. "
        "Apply it to the task's inputs first: Session(model.on(task.inputs), task)."
    )
    with pytest.raises(TypeError) as caught:
        Session([1, 2], TASK)
    assert str(caught.value) == (
        "Session: model must be a diagram or a torch.nn.Module, but is of type list. "
        "Give a diagram, such as model.on(task.inputs), or a module."
    )
    with pytest.raises(ValueError, match="seed") as refused:
        Session(small_model(), TASK, seed=-1)
    assert (
        str(refused.value)
        == "Session: seed must be an integer from 0 to 4294967295, but is -1. Usual is seed=0."
    )
    with pytest.raises(ValueError, match="parameter") as refused:
        Session(nn.ReLU(), TASK)
    assert str(refused.value) == (
        "Session: the model must have at least one parameter that requires a gradient, but has none. "
        "Add a layer with weights, or unfreeze one with requires_grad_(True)."
    )
    session = small_session()
    with pytest.raises(RecipeError) as bad:
        session.step(0)
    assert str(bad.value) == "Session.step: n must be an integer ≥ 1, but is 0. It counts the steps to make."
    with pytest.raises(RecipeError) as bad:
        session.run(steps=-1)
    assert (
        str(bad.value) == "Session.run: steps must be an integer ≥ 1, or None, but is -1. None sets no limit."
    )
    with pytest.raises(RecipeError) as bad:
        session.run(seconds=float("nan"))
    assert (
        str(bad.value)
        == "Session.run: seconds must be a finite number > 0, or None, but is nan. None sets no limit."
    )
    monkeypatch.setattr(Session, "view_factory", None)  # as long as nobody has imported nbkit.widgets
    for early in (session.recover, session.show):
        with pytest.raises(SessionError, match=rf"^test: {early.__name__}\(\) has no "):
            early()


def test_builds_a_diagram_with_its_seed_and_leaves_the_global_generator_alone() -> None:
    class Diagram:
        def torch(self, *, seed: int) -> nn.Module:
            torch.manual_seed(seed)
            return nn.Linear(2, 2)

    torch.manual_seed(5)
    before = torch.get_rng_state()
    diagram = Diagram()
    one, other = Session(diagram, TASK, seed=3), Session(diagram, TASK, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert one.diagram is diagram
    assert torch.equal(one.model.weight, other.model.weight)
    assert not torch.equal(one.model.weight, Session(diagram, TASK, seed=4).model.weight)
    assert one.name != other.name


def test_shows_itself_as_a_line_or_by_the_registered_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "view_factory", None)  # as long as nobody has imported nbkit.widgets
    session = small_session(eval_every=1)
    assert session._repr_mimebundle_() == {"text/plain": "Session 'test': paused at step 0"}
    session.step()
    values = ", ".join(f"{name} {value:.4g}" for name, value in session.metrics.items())
    assert repr(session) == f"Session 'test': paused at step 1, {values}"
    assert isinstance(session.metrics, Metrics)

    class View:
        def __init__(self, session: Session) -> None:
            self.session = session

        def _repr_mimebundle_(self, **options: object) -> dict[str, object]:
            return {"text/plain": self.session.name, **options}

    monkeypatch.setattr(Session, "view_factory", View)
    assert session.show().session is session
    assert session._repr_mimebundle_(include=None) == {"text/plain": "test", "include": None}
    session.close()


def test_default_recipe_is_used_when_none_is_given() -> None:
    with Session(small_model(), TASK) as session:
        assert session.recipe == Recipe()
        assert session.step().step_count == 1
    assert session.state == "closed"
