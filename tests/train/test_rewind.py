"""Going back: exactly to the step, bit by bit the same from there, and nothing that was measured is lost."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nbkit.record import Policy, Record
from nbkit.train import Recipe, RecipeError, Session, SessionClosedError, TrainingFailedError
from nbkit.train.state import capture
from tests.train.helpers import TASK, small_model, small_session
from tests.train.test_state import MODELS, RECIPES

LAST = 60
ROOT = Path(__file__).parents[2]


def session(model: str, recipe: str, **options: object) -> Session:
    module, task = MODELS[model]()
    return Session(module, task, RECIPES[recipe], seed=5, name=model, **options)


def state(s: Session) -> bytes:
    return capture(s._stepper)


def same_curves(a: Session, b: Session) -> None:
    assert list(a.history) == list(b.history)
    for name in a.history:
        for left, right in zip(a.history[name], b.history[name], strict=True):
            np.testing.assert_array_equal(left, right, err_msg=name)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("model", MODELS)
def test_a_rewound_run_and_a_fork_go_on_bit_by_bit(model: str, recipe: str) -> None:
    whole = session(model, recipe).step(LAST)
    states = {}
    again = session(model, recipe)
    for step in (0, 7, 23, 24, LAST):
        again.step(step - again.step_count) if step > again.step_count else None
        states[step] = state(again)
    for step in (23, 7, 24, 0, LAST, 7):  # back and forth on the branch
        again.rewind(step)
        assert (again.step_count, again.state) == (step, "paused")
        assert state(again) == states[step], step
        assert again.branch == 1
    fork = again.fork()
    far = again.fork(24)
    assert state(fork) == states[7]
    assert state(far) == states[24]
    for s in (again.step(LAST - 7), fork.step(LAST - 7), far.step(LAST - 24)):
        assert state(s) == state(whole) == states[LAST]
        same_curves(s, whole)
    assert [(b.parent, b.step) for b in again.branches] == [(None, 0), (1, 7), (1, 24), (1, 7)]
    assert (again.branch, fork.branch, far.branch) == (4, 2, 3)
    for s in (whole, again, fork, far):
        s.close()


def test_a_fork_with_another_knob_leaves_the_run_alone() -> None:
    run = small_session(lr=0.01).step(40)
    before = state(run)
    fork = run.fork(20, lr=0.1, name="faster")
    assert (fork.name, fork.step_count, fork.knobs["lr"]) == ("faster", 20, 0.1)
    assert run.fork(20, lr=0.1, weight_decay=0.5).name == "test from 20, lr 0.1, weight_decay 0.5"
    fork.step(20)
    assert state(run) == before
    assert run.knobs["lr"] == 0.01
    reference = small_session(lr=0.01).step(20).set(lr=0.1).step(20)
    same_curves(fork, reference)
    assert fork.branches == run.branches
    assert fork.branches[1].facts["changed"] == {"lr": 0.1}
    assert run.events[-1].kind == "fork"
    for s in (run, fork, reference):
        s.close()


def test_knobs_that_were_turned_on_the_way_are_turned_again() -> None:
    """Also between two states that were kept, where the steps are made again."""
    rare = Policy(share=10.0, most=1.0)  # at steps 0, 1, 11, 121
    run = Session(small_model(), TASK, Recipe(lr=0.01, batch_size=16), snapshots=rare)
    reference = small_session(lr=0.01, batch_size=16)
    states = {}
    for s in (run, reference):
        s.step(20).set(lr=0.02, weight_decay=0.1).set(betas=(0.5, 0.9)).step(10).set(batch_size=24).step(30)
    for step in (15, 20, 25, 30, 45, 12):
        states[step] = (state(run.rewind(step)), dict(run.knobs))
    assert [states[step][1]["lr"] for step in (15, 20, 25)] == [0.01, 0.02, 0.02]
    assert [states[step][1]["batch_size"] for step in (25, 30, 45)] == [16, 24, 24]
    assert run._tree.steps(1) == [0, 1, 11]
    run.rewind(60)
    assert state(run) == state(reference)
    same_curves(run, reference)
    assert run.branches == run.branches[:1]
    for s in (run, reference):
        s.close()


def test_rewinding_cures_a_divergence() -> None:
    run = small_session(lr=0.01).step(30)
    before = state(run)
    run.rewind(10).set(lr=1e38)
    assert (run.branch, run.branches[1].step) == (2, 10)
    with pytest.raises(TrainingFailedError):
        run.step(50)
    assert run.state == "failed"
    run.rewind(10)
    assert (run.state, run.failure, run.knobs["lr"]) == ("paused", None, 1e38)  # of this branch
    run.rewind(10, branch=1)
    assert (run.branch, run.knobs["lr"]) == (1, 0.01)
    assert state(run.rewind(30)) == before
    with pytest.raises(ValueError, match=r"rewind\(\) knows the branches 1, 2, which this .* not 7"):
        run.rewind(3, branch=7)
    run.close()


def test_a_finished_run_can_be_rewound_and_goes_on() -> None:
    run = small_session(max_steps=30)
    run.run()
    assert run.state == "finished"
    assert run.rewind(10).state == "paused"
    assert run.run().step_count == 30
    run.close()


def test_where_one_cannot_go() -> None:
    run = small_session().step(5)
    for step in (6, -1, 2.0, True, "3"):
        with pytest.raises(
            ValueError, match=r"^test: rewind\(\) goes to a step from 0 to 5, where the run has been"
        ):
            run.rewind(step)
        with pytest.raises(
            ValueError, match=r"^test: fork\(\) goes to a step from 0 to 5, where the run has been"
        ):
            run.fork(step)
    with pytest.raises(RecipeError):
        run.fork(3, momentum=0.9)
    assert len(run.branches) == 1
    run.close()
    with pytest.raises(SessionClosedError):
        run.rewind(2)


def test_memory_of_states_is_bounded() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 100_000), torch.nn.Linear(100_000, 2))
    big = Session(model, TASK, Recipe(), snapshots=Policy(megabytes=40)).step(60)
    sizes = [len(data) for data in big._tree._states[1].values()]
    assert sum(sizes) <= 40e6
    assert 0 in big._tree.steps(1)
    assert big.rewind(30).step_count == 30
    big.close()


def test_a_forgotten_family_ends_its_threads_and_its_record(tmp_path: Path) -> None:
    run = Session(small_model(), TASK, record=tmp_path / "r.nbkit").step(3)
    fork = run.fork()
    tree = run._tree
    run.close()
    assert tree.recorder._thread.is_alive()
    fork.step(2)
    del run, fork
    gc.collect()
    tree.recorder._thread.join(10)
    assert not tree.recorder._thread.is_alive()
    with Record.open(tmp_path / "r.nbkit") as record:
        assert record.series("train/loss", 2)[0].tolist() == list(range(5))


def test_a_record_has_everything(tmp_path: Path) -> None:
    path = tmp_path / "r.nbkit"
    module, task = MODELS["transformer with dropout"]()
    run = Session(module, task, RECIPES["adamw, batches, cosine"], seed=5, name="all", record=path)
    run.step(20).set(lr=0.5).step(20)
    with Record.open(path) as live:  # everything that was asked for is there when the call returns
        assert live["train/loss"][0].tolist() == list(range(40))
    full = run.history["train/loss"]
    run.rewind(10).step(5)
    run.fork(12, lr=0.1).step(3).close()
    run.close()
    with Record.open(path) as record:
        assert record.facts["name"] == "all"
        assert record.facts["seed"] == 5
        assert record.facts["recipe"]["schedule"] == "cosine"
        assert record.facts["versions"]["torch"] == torch.__version__
        assert record.facts["parameters"] == sum(p.numel() for p in module.parameters())
        for a, b in zip(record["train/loss"], full, strict=True):
            np.testing.assert_array_equal(a, b)
        assert [(b.number, b.parent, b.step) for b in record.branches] == [
            (1, None, 0),
            (2, 1, 10),
            (3, 2, 12),
        ]
        assert record.series("train/loss", 2)[0].tolist() == list(range(15))
        np.testing.assert_array_equal(record.series("train/loss", 2)[1][:15], full[1][:15])
        assert record.series("train/loss", 3)[0].tolist() == list(range(15))
        for name in record.names():
            steps, _ = record.series(name, 2)
            assert (np.diff(steps) > 0).all(), name  # no point twice
        kinds = [event.kind for event in record.events(1)]
        assert kinds[:3] == ["step", "set", "step"] or kinds[:3] == ["step", "step", "set"]
        assert "rewind" in kinds
        assert record.snapshots()[0] == 0
        weights = record.snapshot(0)
        names = {f"model.{name}" for name, _ in module.named_parameters()}
        assert names <= set(weights)


KILLED = """
from tests.train.test_state import MODELS, RECIPES
from nbkit.train import Session
module, task = MODELS["mlp"]()
run = Session(module, task, RECIPES["adamw, batches, cosine"], seed=5, record={path!r})
while True:
    run.step(7)
    print(run.step_count, flush=True)
"""


def test_a_killed_run_resumes_from_its_record_bit_by_bit(tmp_path: Path) -> None:
    path = tmp_path / "r.nbkit"
    code = KILLED.format(path=str(path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    for _ in range(5):
        acknowledged = int(process.stdout.readline())
    process.kill()
    acknowledged = max([acknowledged, *map(int, process.stdout.read().split("\n")[:-1])])
    process.wait()
    process.stdout.close()
    with Record.open(path) as record:
        assert record["train/loss"][0].tolist()[:acknowledged] == list(range(acknowledged))
        kept = int(record.snapshots()[-1])
    module, task = MODELS["mlp"]()
    again = Session.resume(path, task, model=module)
    assert again.step_count == kept
    again.step(200 - kept)
    whole = session("mlp", "adamw, batches, cosine").step(200)
    assert state(again) == state(whole)
    same_curves(again, whole)
    again.close()
    whole.close()
    with Record.open(path) as record:
        assert record.series("train/loss", again.branch)[0].tolist() == list(range(200))


def test_a_diagram_is_resumed_from_its_record_alone(tmp_path: Path) -> None:
    from nbkit.components import spirals_mlp

    run = Session(spirals_mlp(), TASK, Recipe(lr=0.01), seed=3, record=tmp_path / "r.nbkit").step(12)
    run.close()
    again = Session.resume(tmp_path / "r.nbkit", TASK)
    assert again.diagram == run.diagram
    assert again.step_count <= 12
    again.step(20 - again.step_count)
    assert state(again) == state(run.__class__(spirals_mlp(), TASK, Recipe(lr=0.01), seed=3).step(20))
    again.close()


def test_a_model_that_is_no_diagram_must_be_given(tmp_path: Path) -> None:
    run = Session(small_model(), TASK, Recipe(), record=tmp_path / "r.nbkit").step(2)
    run.close()
    with pytest.raises(ValueError, match="recorded no diagram; give the model"):
        Session.resume(tmp_path / "r.nbkit", TASK)
