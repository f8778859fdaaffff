"""Generated source: the keys, outputs and gradients of the built module, clean under ruff, safe to open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import nn

from nbkit import (
    Diagram,
    block,
    box,
    diagram,
    from_torch,
    linear,
    scan,
    tanh,
)
from nbkit.build.source import source_lines
from nbkit.components import catalogue, gpt
from nbkit.language.functions import Apply
from nbkit.language.ops import Torch
from nbkit.language.trace import Traced
from tests.build import random_diagrams
from tests.build.sources import RULES, assert_same, bound, model, namespace, ruff
from tests.strategies import diagrams

EXAMPLES = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_the_source_is_the_module(name: str) -> None:
    assert_same(bound(name))


def test_ruff_finds_nothing_to_say(tmp_path: Path) -> None:
    for name in catalogue():
        (tmp_path / f"{name.replace('-', '_')}.py").write_text(bound(name).source(), encoding="utf-8")
    assert ruff(tmp_path, "check", "--select", RULES, "--no-cache") == ""
    assert ruff(tmp_path, "format", "--diff", "--no-cache") == ""


def test_ruff_finds_nothing_to_say_about_random_diagrams(tmp_path: Path) -> None:
    texts: dict[str, None] = {}
    some = settings(EXAMPLES, max_examples=60)

    @some
    @given(diagrams(concrete=True, new=True))
    def collect(diagram: Diagram) -> None:
        texts[diagram.source()] = None

    @some
    @given(random_diagrams.diagrams())
    def collect_chains(diagram: Diagram) -> None:
        texts[diagram.source()] = None

    collect()
    collect_chains()
    assert len(texts) > 80
    for number, text in enumerate(texts):
        (tmp_path / f"random_{number}.py").write_text(text, encoding="utf-8")
    assert ruff(tmp_path, "check", "--select", RULES, "--no-cache") == ""
    assert ruff(tmp_path, "format", "--diff", "--no-cache") == ""


@EXAMPLES
@given(diagrams(concrete=True))
def test_source_of_random_diagrams(diagram: Diagram) -> None:
    assert_same(diagram)


@EXAMPLES
@given(diagrams(concrete=True, new=True))
def test_source_of_random_diagrams_of_all_ops(diagram: Diagram) -> None:
    assert_same(diagram)


@EXAMPLES
@given(random_diagrams.diagrams())
def test_source_of_random_chains(diagram: Diagram) -> None:
    assert_same(diagram)


# -- recurrences, boxes, frozen weights --------------------------------------------------------------------


@diagram("h, m -> h, h")
def cell(state: Traced, x: Traced) -> Any:
    new = tanh(linear("h -> h", "W")(state) + linear("m -> h", "U")(x))
    return new, new


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_is_a_loop(reverse: bool) -> None:
    rnn = scan(cell, "t", reverse=reverse).on("h=3, t=5 m=2")
    assert_same(rnn)
    text = rnn.source()
    assert f"for x_2_t in {'reversed(' * reverse}x_2.unbind(-2){')' * reverse}:" in text
    assert "torch.stack(" in text
    assert "def pile" not in text


def test_a_state_that_waits_for_a_batch() -> None:
    @diagram("h, m -> h, h")
    def late(state: Traced, x: Traced) -> Any:
        return linear("m -> h", "U")(x) + state, tanh(state)

    whole = scan(late, "t").on("h=3, t=5 m=2")
    mine, net = model(whole), whole.torch(seed=0)
    mine.load_state_dict(net.state_dict())
    state, x = torch.randn(3), torch.randn(4, 5, 2)
    for found, expected in zip(mine(state, x), net(state, x), strict=True):
        torch.testing.assert_close(found, expected)


def test_frozen_weights_stay_frozen() -> None:
    frozen = linear("m -> m", "a", frozen=True) >> tanh >> linear("m -> n=3", "b")
    assert_same(frozen.on("x=2 m=4"))
    assert "self.a = nn.Linear(m, m).requires_grad_(False)" in frozen.on("x=2 m=4").source()


def test_a_box_of_torch_is_called_by_its_name() -> None:
    whole = (box(nn.Hardtanh, "-> ", settings="-0.5, max_val=0.25") >> linear("m -> n=2")).on("x=3 m=4")
    assert "self.Hardtanh = nn.Hardtanh(-0.5, max_val=0.25)" in whole.source()
    assert_same(whole)


class Mixer(nn.Module):
    """What the text cannot know."""

    def __init__(self, m: int) -> None:
        super().__init__()
        self.inner = nn.Linear(m, m)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.sin(self.inner(x))
        return out


def test_a_box_that_can_be_imported_is_imported() -> None:
    whole = block("twice", box(Mixer, "m -> m", settings="4") >> box(Mixer, "m -> m", settings="4")).on("m=4")
    assert "\nfrom tests.build.test_source import Mixer\n" in whole.source()
    assert_same(whole)


def test_a_box_that_cannot_be_imported_is_given() -> None:
    local = type("Local", (Mixer,), {})
    whole = (block("inner", box(local, "m -> m", "local_mixer", settings="4")) >> tanh).on("x=3 m=4")
    program = source_lines(whole)
    assert "# Model takes local_mixer: what makes a module that this text does not know." in str(program)
    mine, net = namespace(str(program))[program.name](local), whole.torch(seed=0)
    mine.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(mine(x), net(x))


def test_an_operation_of_torch_is_called() -> None:
    whole = Apply(Torch("aten.cumsum.default", "x -> x", "-1"), "cumsum").on("b=2 x=5")
    assert "torch.ops.aten.cumsum.default(x, -1)" in whole.source()
    assert_same(whole)


# -- lines and paths ---------------------------------------------------------------------------------------


def test_every_line_knows_its_part() -> None:
    diagram = gpt(2, heads=2).on("N(11)[x=4]", m=8)
    known = {path for path, _ in diagram.walk()} | {""}
    paths = {path for line in source_lines(diagram).lines for path in line.paths}
    assert paths <= known
    learned = {p for p, n in diagram.walk() if not n.op.insides() and n.op.kind != "rename"}
    assert learned <= paths
    (up,) = (line for line in source_lines(diagram).lines if "self.up = " in line.text)
    assert up.paths == ("transformer_block.*.mlp.up",)
    forward = [line for line in source_lines(diagram).lines if "self.up(" in line.text]
    assert [line.paths for line in forward] == [
        ("transformer_block.*.mlp.up", "transformer_block.*.mlp.gelu")
    ]


def test_an_imported_module_is_a_program_with_its_weights() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = torch.randn(2, 5, 16)
    imported = from_torch(theirs, x)
    mine = model(imported.diagram)
    mine.load_state_dict(imported.torch().state_dict())
    assert len(imported.diagram.source().splitlines()) < 90
    torch.testing.assert_close(mine.eval()(x), theirs(x))
