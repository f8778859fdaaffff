"""A diagram that is changed while it is trained: what is the same goes on bit by bit, the rest is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nbkit import DiagramError, linear, norm, relu, tanh
from nbkit.components import mlp
from nbkit.record import Record
from nbkit.tasks import spirals
from nbkit.train import Recipe, Session, SessionError
from nbkit.train.edit import Edit
from nbkit.train.state import capture
from tests.train.helpers import small_session

TASK = spirals(n=100)
NET = (linear("d -> m=8", "first") >> tanh >> mlp(16) ** 2 >> linear("m -> c=2", "last")).on(TASK.inputs)
DEEPER = (linear("d -> m=8", "first") >> tanh >> mlp(16) ** 3 >> linear("m -> c=2", "last")).on(TASK.inputs)
WIDER = (linear("d -> m=8", "first") >> tanh >> mlp(24) ** 2 >> linear("m -> c=2", "last")).on(TASK.inputs)
OTHER = (linear("d -> m=8", "first") >> norm("m") >> relu >> linear("m -> c=2", "last")).on(TASK.inputs)


def session(**options: object) -> Session:
    return Session(NET, TASK, Recipe(lr=0.01, batch_size=16, eval_every=5), seed=4, name="edited", **options)


def test_an_unchanged_diagram_goes_on_bit_by_bit() -> None:
    run, whole = session().step(20), session().step(40)
    edit = run.edit(NET)
    assert str(edit) == "12 kept"
    assert capture(run.step(20)._stepper) == capture(whole._stepper)
    assert [(b.parent, b.step) for b in run.branches] == [(None, 0), (1, 20)]
    assert run.history["train/loss"][0].tolist() == list(range(40))


def test_a_deeper_network_keeps_what_it_has() -> None:
    run = session().step(20)
    before = {name: p.clone() for name, p in run.model.named_parameters()}
    state = {name: run._stepper.optimizer.state[p] for name, p in run.model.named_parameters()}
    edit = run.edit(DEEPER)
    names = ("mlp.2.up.weight", "mlp.2.up.bias", "mlp.2.down.weight", "mlp.2.down.bias")
    assert edit == Edit(tuple(n for n, _ in run.model.named_parameters() if n in before), (), names, ())
    assert str(edit) == f"12 kept; 4 new ({', '.join(names)})"
    for name, parameter in run.model.named_parameters():
        found = run._stepper.optimizer.state.get(parameter, {})
        if name in before:
            assert torch.equal(parameter, before[name])
            assert all(torch.equal(found[key], state[name][key]) for key in state[name])
        else:
            assert not found
    assert run.diagram == DEEPER
    assert run.step(30).step_count == 50


def test_a_wider_network_keeps_the_numbers_that_both_have() -> None:
    run = session().step(20)
    before = run.model.get_submodule("mlp.1.up").weight.clone()
    edit = run.edit(WIDER)
    assert "mlp.1.up.weight" in edit.resized
    assert {"mlp.0.down.bias", "first.weight", "last.bias"} <= {*edit.kept, *edit.resized}
    assert "first.weight" in edit.kept
    assert torch.equal(run.model.get_submodule("mlp.1.up").weight[:16], before)
    narrow = run.edit(NET)
    assert torch.equal(run.model.get_submodule("mlp.1.up").weight, before)
    assert "mlp.1.up.weight" in narrow.resized
    run.step(5)


def test_another_kind_of_operation_is_new() -> None:
    run = session().step(3)
    edit = run.edit(OTHER)
    assert edit.new == ("norm.weight", "norm.bias")
    assert all(name.startswith("mlp.") for name in edit.gone)
    assert "gone (mlp.0.up.weight, mlp.0.up.bias, mlp.0.down.weight, mlp.0.down.bias, …)" in str(edit)
    assert run.events[-1].kind == "edit"
    run.step(3)


def test_one_goes_back_before_the_edit_on_the_branch_that_had_it(tmp_path: Path) -> None:
    run = session(record=tmp_path / "r.nbkit").step(20)
    states = {step: capture(run.rewind(step)._stepper) for step in (10, 20)}
    run.edit(DEEPER)
    run.step(10)
    after = capture(run.rewind(25)._stepper)
    with pytest.raises(
        ValueError, match=r"cannot go to step 10, since the diagram was changed at step 20.*"
    ) as caught:
        run.rewind(10)
    assert str(caught.value).endswith("Before that it is another model: rewind(10, branch=1).")
    run.rewind(10, branch=1)
    assert run.diagram == NET
    assert capture(run._stepper) == states[10]
    run.rewind(25, branch=2)
    assert run.diagram == DEEPER
    assert capture(run._stepper) == after
    fork = run.fork(22)
    assert fork.diagram == DEEPER
    fork.step(3)
    assert capture(fork._stepper) == after
    fork.close()
    run.close()
    with Record.open(tmp_path / "r.nbkit") as record:
        assert record.branch(2).facts["edit"].startswith("12 kept; 4 new (mlp.2.up.weight, mlp.2.up.bias")
        assert record.series("train/loss", 2)[0].tolist() == list(range(30))


def test_what_cannot_be_edited() -> None:
    module = small_session()
    with pytest.raises(SessionError, match=r"test: edit\(\) changes diagrams, but this"):
        module.edit(NET)
    run = session().step(2)
    before = capture(run._stepper)
    with pytest.raises(DiagramError):
        run.edit(linear("i -> q").on(TASK.inputs))
    assert capture(run._stepper) == before
    assert run.diagram == NET
