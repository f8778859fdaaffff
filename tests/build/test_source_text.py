"""Generated source: what it says, and what strangers cannot make it say."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nbkit import (
    BindingError,
    Diagram,
    Fn,
    ParseError,
    batch_norm,
    block,
    einsum,
    linear,
    mask,
    rename,
    repeat,
    skip,
    softmax,
    split,
    tanh,
)
from nbkit.build.names import WORDS
from nbkit.build.source import source_lines
from nbkit.build.source.helpers import HELPERS
from nbkit.components import catalogue, gpt, multi_head_attention, resnet
from nbkit.language import Array
from nbkit.language.diagram import Wire
from tests.build.sources import RULES, assert_same, bound, inputs, model, namespace, ruff

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


def test_every_word_of_the_compiled_forward_has_a_plain_text(tmp_path: Path) -> None:
    said_otherwise = {"F", "allowed", "boxed", "check_stride", "forbidden", "inf", "rows", "torch"}
    assert WORDS - said_otherwise <= set(HELPERS)
    for word, text in HELPERS.items():
        assert text.strip().startswith((f"def {word}(", f"class {word}("))
        head = '"""A helper."""\n\nimport math\n\nimport torch\nfrom torch import nn\n'
        head += "from torch.nn import functional as F\n\n\n"
        (tmp_path / f"{word}.py").write_text(f"{head}{text.strip()}\n", encoding="utf-8")
    assert ruff(tmp_path, "check", "--select", RULES, "--ignore", "F401,N812", "--no-cache") == ""
    assert ruff(tmp_path, "format", "--diff", "--no-cache") == ""


@pytest.mark.parametrize("name", ["transformer-block", "mlp", "resnet-block", "lstm", "perceptron"])
def test_a_backward_pass_is_a_program_too(name: str) -> None:
    backward = bound(name).reverse().backward
    net, mine = backward.torch(seed=0).double(), model(backward).double()
    mine.load_state_dict(net.state_dict())
    leaves = [x.detach() for x in inputs(backward, (3,))]
    for found, expected in zip(mine(*leaves), net(*leaves), strict=True):
        torch.testing.assert_close(found, expected)


def test_it_needs_torch_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "alone.py").write_text(bound("gpt").source(), encoding="utf-8")
    code = (
        "import sys; sys.modules['nbkit'] = None; import alone, torch; "
        "print(alone.Gpt()(torch.zeros(2, 8, dtype=torch.long)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "torch.Size([2, 8, 11])\n", done.stderr


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
