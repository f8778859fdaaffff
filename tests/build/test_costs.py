"""Parameters against Σ numel, FLOPs against torch's own counter: random diagrams and known models."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import assume, given
from torch.utils.flop_counter import FlopCounterMode

from nbkit import BindingError, Diagram, block, linear, parse, relu, repeat
from nbkit.build import build_torch, cost
from nbkit.components import attention, conv, gpt, models, multi_head_attention, resnet, transformer_block
from nbkit.language import Node, ops
from nbkit.language.axes import parse_spec
from nbkit.language.sizes import parse_size
from tests.build.random_diagrams import diagrams
from tests.build.test_agreement import EXAMPLES


def counted(diagram: Diagram) -> int:
    """FLOPs of one example by torch's counter."""
    net = build_torch(diagram, peepholes=False).eval()
    inputs = [
        torch.zeros(
            1,
            *(int(a.size) for a in array for _ in range(a.rank)),
            dtype=torch.float if array.bound is None else torch.long,
        )
        for array in diagram.inputs
    ]
    with FlopCounterMode(display=False) as counter:
        net(*inputs)
    total: int = counter.get_total_flops()
    return total


@EXAMPLES
@given(diagrams())
def test_flops_are_those_of_torch(diagram: Diagram) -> None:
    assume(not any(_over_one_element(part, node) for part, node in _all(diagram)))
    assert diagram.cost().flops == counted(diagram)


def _all(diagram: Diagram) -> list[tuple[Diagram, Node]]:
    found = [(diagram, node) for node in diagram.nodes]
    return found + [pair for node in diagram.nodes if hasattr(node.op, "body") for pair in _all(node.op.body)]


def _over_one_element(diagram: Diagram, node: Node) -> bool:
    """A sum of products over a single element: torch.einsum multiplies instead, and counts nothing."""
    if isinstance(node.op, ops.Linear) and node.op.per:
        ins = diagram.wires[node.ins[0]].type
        return all(ins[t.name].size == 1 for t in parse_spec(node.op.spec).ins[0])
    if isinstance(node.op, ops.Einsum):
        axes = {a.name: a for w in node.ins for a in diagram.wires[w].type}
        kept = diagram.wires[node.outs[0]].type.names
        return any(axis.size == 1 for name, axis in axes.items() if name not in kept)
    return False


MODELS = {
    "attention": lambda: attention.on("h=2 y=3 k=4, h=2 x=5 k=4, h=2 x=5 k=4"),
    "multi-head": lambda: multi_head_attention(2).on("y=3 m=8, x=5 m=8"),
    "transformer": lambda: (transformer_block(heads=2) ** 3).on("x=5 m=8"),
    "gpt": lambda: gpt(2, heads=2).on("N(11)[x=5]", m=8),
    "conv": lambda: conv(6, 3, 2, groups=2).on("c=4 x:2=8"),
    "resnet": lambda: resnet((1, 1), width=4).on("c=3 x:2=16"),
    **models(),
}


@pytest.mark.parametrize("name", MODELS)
def test_known_models(name: str) -> None:
    d = MODELS[name]()
    assert d.cost().params == sum(p.numel() for p in build_torch(d).parameters())
    assert d.cost().flops == counted(d)


def test_multi_head_attention_by_formula() -> None:
    """4hkm(x + y) + 4hkxy, and 4·hkm parameters without bias."""
    c = multi_head_attention(bias=False).on("y m, x m").cost()
    h, k, m, x, y = (parse_size(name) for name in "hkmxy")
    assert (c.flops - (4 * h * k * m * (x + y) + 4 * h * k * x * y)).expand() == 0
    assert c.params == 4 * h * k * m
    assert c.at(h=2, k=4, m=8, x=5, y=3).flops == 4 * 2 * 4 * 8 * 8 + 4 * 2 * 4 * 15


def test_gpt2_small_has_124_million_parameters() -> None:
    """As many as Hugging Face's GPT2LMHeadModel."""
    d = gpt(12, heads=12).on("N(50257)[x=1024]", m=768)
    assert d.cost().params == 124_439_808


def test_cost_at_some_sizes_stays_symbolic() -> None:
    c = linear("m -> n").on("x m").cost()
    assert str(c.at(m=4).flops) == "8*n*x"
    assert c.at(m=4).at(n=2, x=3).flops == 48
    assert type(c.at(m=4, n=2).params) is int
    assert c.at(x=3).params == c.params


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ({"q": 3}, "there is no size q to set; the diagram has free sizes m, n, x. did you mean 'x'?"),
        ({"m": 0}, "m=0 is not a size; sizes are positive integers"),
        ({"m": 1.5}, "m=1.5 is not a size; sizes are positive integers"),
    ],
)
def test_bad_sizes(sizes: dict[str, int], text: str) -> None:
    with pytest.raises(BindingError) as caught:
        linear("m -> n").on("x m").cost().at(**sizes)
    assert str(caught.value) == text


def test_table() -> None:
    part = block("part", linear("m -> f", "up") >> linear("f -> m", "down", bias=False))
    d = (part**3 >> repeat(part, 2, tied=True)).on("x=2 m=4", f=8)
    assert d.cost().table() == (
        "path      operation         parameters  FLOPs  bytes moved  bytes kept\n"
        "──────────────────────────────────────────────────────────────────────\n"
        "part                               216    768        1,440         288\n"
        "  *                                216    768        1,440         288\n"
        "    up    linear[m -> f=8]         120    384          768          96\n"
        "    down  linear[f -> m=4]          96    384          672         192\n"
        "part_2                              72    512          960         192\n"
        "  *                                 72    512          960         192\n"
        "    up    linear[m -> f=8]          40    256          512          64\n"
        "    down  linear[f -> m=4]          32    256          448         128\n"
        "──────────────────────────────────────────────────────────────────────\n"
        "total                              288  1,280        2,400         480\n"
        "at most 64 bytes of arrays are alive together, after part.*.up"
    )
    assert str(d.cost()) == d.cost().table()
    assert d.cost().by_path()["part.*.up"].params == 120


def test_table_of_open_sizes() -> None:
    d = (linear("m -> f", bias=False) >> relu).on("x m")
    assert d.cost().table().splitlines()[-1] == (
        "at most max(4*f*x, 4*m*x) bytes of arrays are alive together"
    )
    assert d.cost().peak.subs({"f": 1}).is_number is False
    assert d.cost().at(f=3, m=2, x=5).peak == 60


def test_html_is_escaped() -> None:
    shown = linear("m -> f", "up").on("x m=2", f=3).cost()._repr_html_()
    assert '<td style="text-align:left">linear[m -&gt; f=3]</td>' in shown
    assert shown.count("<tr>") == 3
    assert shown.endswith("</p>")


def test_cost_needs_no_torch() -> None:
    code = (
        "import sys\nfrom nbkit import linear\n"
        "c = linear('m -> n').on('x m').cost()\n"
        "assert str(c.params) == 'm*n + n', c.params\nassert 'torch' not in sys.modules\n"
        "import nbkit.build\nassert 'torch' not in sys.modules\nassert callable(nbkit.build.build_torch)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_cost_survives_a_listing() -> None:
    d = transformer_block(heads=2, hidden="f").on("x m")
    assert cost(parse(d.listing())) == cost(d)
