"""Generated source: the keys, outputs and gradients of the built module, clean under ruff, safe to open."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import nn

from nbkit import (
    BindingError,
    Diagram,
    DiagramError,
    Fn,
    ParseError,
    batch_norm,
    block,
    box,
    diagram,
    einsum,
    linear,
    mask,
    rename,
    repeat,
    scan,
    skip,
    softmax,
    split,
    tanh,
)
from nbkit.build.source import source_lines
from nbkit.components import catalogue, gpt, multi_head_attention, resnet
from nbkit.language import Array
from nbkit.language.diagram import Wire
from nbkit.language.functions import Apply
from nbkit.language.ops import Torch
from nbkit.language.trace import Traced
from tests.build import random_diagrams
from tests.build.sources import assert_same, model, namespace
from tests.strategies import diagrams

SIZES = {"b": 2, "c": 4, "f": 6, "h": 2, "k": 4, "m": 8, "v": 11, "x": 8, "y": 5}
IMAGES = {"x": 8}
RULES = "E,F,I,UP,B,SIM,N"
EXAMPLES = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def bound(name: str) -> Diagram:
    diagram = catalogue()[name]()
    return diagram.at(**{size: SIZES.get(size, 6) for size in diagram.free()})


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_the_source_is_the_module(name: str) -> None:
    assert_same(bound(name))


def ruff(folder: Path, *command: str) -> str:
    program = Path(sys.executable).parent / "ruff"
    done = subprocess.run(
        [program, *command, "--isolated", "--line-length", "100", "--target-version", "py311", str(folder)],
        capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr


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


# -- what the text says ------------------------------------------------------------------------------------


def test_multi_head_attention_reads_like_a_textbook() -> None:
    text = multi_head_attention(8).on("y m=512, x m=512").source()
    assert (
        text
        == '''\
"""multi_head_attention in plain PyTorch, written by nbkit: `MultiHeadAttention()` is the module."""

from torch import nn
from torch.nn import functional as F  # noqa: N812


class Attention(nn.Module):
    """R[y h k], R[x h k], R[x h k] -> R[h y k]."""

    def forward(self, q, k, v):
        # h y k
        return F.scaled_dot_product_attention(
            q.transpose(-3, -2), k.transpose(-3, -2), v.transpose(-3, -2)
        )


class MultiHeadAttention(nn.Module):
    """R[y m], R[x m] -> R[y m].

    Any number of batch dimensions may stand in front of the axes.
    """

    def __init__(self, m=512, h=8, k=64):
        super().__init__()
        self.h, self.k = h, k
        self.Q = nn.Linear(m, h * k)
        self.K = nn.Linear(m, h * k)
        self.V = nn.Linear(m, h * k)
        self.attention = Attention()
        self.O = nn.Linear(h * k, m)

    def forward(self, y, x):
        q = self.Q(y).unflatten(-1, (self.h, self.k))  # y h k
        k = self.K(x).unflatten(-1, (self.h, self.k))  # x h k
        v = self.V(x).unflatten(-1, (self.h, self.k))  # x h k
        attention = self.attention(q, k, v)  # h y k
        return self.O(attention.transpose(-3, -2).flatten(-2))  # y m
'''
    )


def test_a_block_that_differs_only_in_sizes_is_one_class() -> None:
    text = resnet((2, 2), width=16).on("c=3 x:2=16").source()
    assert text.count("class Conv(nn.Module):") == 1
    assert "class Conv2" not in text
    assert "self.basic_block_3 = BasicBlock2(c_in=c_1, c_out=c_2)" in text
    assert "self.conv = Conv(c_in, c_out=c_1, kernel=3, stride=1)" in text


def test_other_sizes_may_be_given_to_the_class() -> None:
    program = source_lines(multi_head_attention(8).on("y m=512, x m=512"))
    net = namespace(str(program))[program.name](m=24, h=3, k=5)
    assert net.Q.weight.shape == (15, 24)
    assert net(torch.randn(2, 7, 24), torch.randn(2, 9, 24)).shape == (2, 7, 24)


def test_a_shared_table_is_one_parameter() -> None:
    diagram = gpt(2, heads=2).on("N(11)[x=4]", m=8)
    assert "        self.logits.weight = self.embedding.tokens.weight\n" in diagram.source()
    net = model(diagram)
    assert net.logits.weight is net.embedding.tokens.weight
    assert_same(diagram)


@pytest.mark.parametrize(
    "function",
    [
        block("twice", linear("m -> m", "a", key="k") >> linear("m -> m", "b", key="k")),
        block("one", linear("m -> m", "a", key="k")) >> block("two", linear("m -> m", "b", key="k")),
        block("each", linear("m -> m", "a", key="k") >> tanh) ** 3,
        block("each", linear("m -> m", "a", key="k") >> tanh) ** 2 >> linear("m -> m", "b", key="k"),
        linear("m -> m", "b", key="k")
        >> (block("inner", linear("m -> m", "a", key="k")) ** 2).named("outer") ** 2,
        linear("m -> n=3", "down", key="k") >> tanh >> linear("n -> m=8", "up", key="k"),
        repeat(block("same", linear("m -> m", "a", key="k")), 2, tied=True) >> linear("m -> m", key="k"),
    ],
)
def test_tied_weights(function: Fn) -> None:
    assert_same(function.on("x=3 m=8"))


def test_one_seed_gives_one_initialisation() -> None:
    for name in ("multi-head-attention", "resnet", "perceptron", "transformer-block"):
        diagram = bound(name)
        torch.manual_seed(5)
        mine = model(diagram).state_dict()
        for key, value in diagram.torch(seed=5).state_dict().items():
            assert torch.equal(mine[key], value), (name, key)


def test_masks_are_written_out() -> None:
    local = (rename(x="y"), skip) >> einsum("y m, x m -> y x") >> mask("x <= y and y - x < 2") >> softmax("x")
    diagram = local.on("x=6 m=4")
    assert_same(diagram)
    assert "einsum.masked_fill(~((x_ <= y) & (y - x_ < 2)), -torch.inf)  # y x" in diagram.source()


def test_a_causal_mask_is_the_kernels_own_for_any_number_of_keys() -> None:
    diagram = catalogue()["causal-attention"]().at(k=4)
    assert "F.scaled_dot_product_attention(q, k, v, is_causal=True)" in diagram.source()
    mine, net = model(diagram), diagram.torch()
    for y, x in ((5, 5), (3, 7), (7, 3)):
        q, k, v = (torch.randn(2, n, 4, dtype=torch.float64) for n in (y, x, x))
        torch.testing.assert_close(mine(q, k, v), net(q, k, v))


def test_images_one_pixel_wide_have_right_gradients() -> None:
    diagram = (batch_norm("c") >> tanh).on("c=4 x:2=1")
    assert "BatchNormFlat(c, 2)" in diagram.source()
    assert_same(diagram)


def test_open_sizes_that_weights_need_are_asked_for() -> None:
    with pytest.raises(BindingError) as caught:
        catalogue()["mlp"]().source(f=3)
    assert str(caught.value) == "m is unbound, and weights need it; give it: d.source(m=…)"


def test_open_sizes_that_only_numbers_could_tell_are_asked_for() -> None:
    whole = split("x -> a b").on("x")
    with pytest.raises(BindingError) as caught:
        whole.source()
    assert str(caught.value).endswith("give it: d.source(b=…)")


def test_backward_passes_have_no_plain_text_yet() -> None:
    backward = (linear("m -> n=3") >> tanh).on("x m=4").reverse().backward
    with pytest.raises(DiagramError) as caught:
        backward.source()
    assert str(caught.value) == "source() has no plain text for slope; torch() can build diagram"


def test_it_needs_torch_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "alone.py").write_text(bound("gpt").source(), encoding="utf-8")
    code = (
        "import sys; sys.modules['nbkit'] = None; import alone, torch; "
        "print(alone.Gpt()(torch.zeros(2, 8, dtype=torch.long)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "torch.Size([2, 8, 11])\n", done.stderr


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


# -- strangers' diagrams -----------------------------------------------------------------------------------


def rewritten(diagram: Diagram, old: str, new: str) -> Diagram:
    """The diagram with a name changed behind the back of every check."""
    return replace(
        diagram,
        name=new if diagram.name == old else diagram.name,
        wires=tuple(
            Wire(
                Array(tuple(replace(a, name=new if a.name == old else a.name) for a in w.type), w.type.bound),
                new if w.name == old else w.name,
            )
            for w in diagram.wires
        ),
        nodes=tuple(replace(n, id=new if n.id == old else n.id) for n in diagram.nodes),
    )


HOSTILE = ['x"""\nimport os', "x; import os", "x\u2028y", "a b", "__import__", "x.y", "lambda", "é", "x)"]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("old", ["victim", "up", "q"])
def test_hostile_names_do_not_reach_the_text(name: str, old: str) -> None:
    diagram = block("victim", linear("m -> f=3", "up")).on("q m=2")
    diagram = replace(diagram, wires=(Wire(diagram.wires[0].type, "q"), *diagram.wires[1:]))
    with pytest.raises(ParseError):
        rewritten(diagram, old, name).source()


@pytest.mark.parametrize(
    "name", ["forward", "torch", "nn", "F", "self", "math", "spatial", "l", "print", "type", "layer", "join"]
)
def test_names_that_python_or_torch_have_taken(name: str) -> None:
    diagram = block(name, linear(f"{name} -> f=3", name) >> tanh >> linear(f"f -> {name}=2 o=3", "b"))
    found = diagram.on(f"x=3 {name}=2")
    found = replace(found, wires=(Wire(found.wires[0].type, name), *found.wires[1:]))
    assert_same(found)


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
