"""Equations against torch: an interpreter of index notation computes every diagram from its lines alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings

import nbkit as nk
from nbkit import Diagram, einsum, linear, relu, skip, softmax
from nbkit.components import attention
from nbkit.components.gallery import catalogue
from nbkit.draw import equations
from nbkit.language import ops
from nbkit.language.functions import Apply
from nbkit.language.ops import make_op
from nbkit.language.ops.base import Op
from nbkit.language.ops.reductions import REDUCTIONS
from tests.draw.latex import compiled, needs_latex
from tests.draw.loops import FUNCTIONS, Interpreter, sizes
from tests.strategies import diagrams


def arrays(diagram: Diagram, seed: int = 0) -> list[np.ndarray]:
    """Random arrays for the inputs, positive (so that logarithms and roots exist)."""
    random = np.random.default_rng(seed)
    made = []
    for array in diagram.inputs:
        shape = [n for axis in array for n in sizes(axis)]
        whole = array.bound is not None
        made.append(random.integers(0, int(array.bound), shape) if whole else random.random(shape) + 0.1)
    return made


def computed(
    diagram: Diagram, net: torch.nn.Module, inputs: list[np.ndarray], *, fused: bool
) -> list[np.ndarray]:
    """The outputs, from the equations."""
    told = equations(diagram, fused=fused)
    machine = Interpreter(diagram, net, inputs)
    machine.run(told.lines, {})
    return [machine.arrays[view.symbol.source, machine.step(view.step, {})] for view in told.outs]


def check(diagram: Diagram, *, training: bool = False) -> None:
    """Fused or not, the equations compute what the module computes."""
    net = diagram.torch(seed=0).double().train(training)
    torch.manual_seed(0)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    inputs = arrays(diagram)
    with torch.no_grad():
        expected = net(*(torch.from_numpy(array) for array in inputs))
    expected = expected if isinstance(expected, tuple) else (expected,)
    for fused in (True, False):
        for mine, theirs in zip(computed(diagram, net, inputs, fused=fused), expected, strict=True):
            np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=1e-9, atol=1e-9)


CASES = {
    "einsum": einsum("y k, x k -> y x").on("h=2 y=2 k=3, h=2 x=4 k=3"),
    "three operands": einsum("a k, b k, c k -> a b c").on("a=2 k=3, b=2 k=3, c=3 k=3"),
    "trace": einsum("x k -> x").on("x=2 k=3"),
    "outer product": einsum("a, b -> a b").on("a=2, b=3"),
    "linear": linear("m -> h=2 k=3").on("x=2 m=4"),
    "linear to the same name": linear("c y -> c=5").on("c=3 x=2 y=2"),
    "grouped linear": linear("c -> c=2", per="g").on("g=2 c=3 x=2"),
    "linear to a number": linear("m -> ", bias=False).on("x=2 m=3"),
    "embed": nk.embed("v -> m=3").on("N(5)[x=4]"),
    "embed with spare rows": nk.embed("v=7 -> m=3").on("N(5)[x=4]"),
    "positions": nk.positions("x -> m=3").on("b=2 x=3"),
    "tied": (nk.embed("v -> m=4", key="E") >> linear("m -> v", key="E")).on("N(5)[x=3]"),
    "tied and turned": (
        linear("m -> n=3", key="W", bias=False) >> linear("n -> m=4", key="W", bias=False)
    ).on("x=2 m=4"),
    "scale": nk.scale("2*m**(-1/2)").on("x=2 m=3"),
    "add": (nk.linear("m -> m=3") * skip >> nk.add).on("x=2 m=3, m=3"),
    "multiply": ((skip * nk.rename("n -> m")) >> nk.multiply).on("x=2 m=3, x=2 n=3"),
    "causal mask": (nk.mask("x <= y and y - x < 2") >> softmax("x")).on("h=2 y=3 x=3"),
    "mask by 0": nk.mask("abs(x - 2*y) != 1", fill="0").on("y=3 x=4"),
    "dropout": nk.dropout(0.5).on("x=3"),
    "stop-gradient": nk.stop_gradient.on("x=3"),
    "cast": (nk.cast("R") >> nk.scale("5/2") >> nk.cast("N(9)") >> nk.cast("R")).on("N(4)[x=5]"),
    "softmax over two axes": softmax("x m").on("b=2 x=2 m=3"),
    "layer norm": nk.norm("m").on("x=2 m=4"),
    "layer norm of an image": nk.norm("c x", affine=False, eps=0.1).on("b=2 c=2 x:2=2"),
    "group norm": nk.norm("c x", per="g c").on("g=2 c=2 x=3"),
    "rms norm": nk.rms_norm("m").on("x=2 m=4"),
    "merge": nk.merge("x y -> f").on("b=2 x=2 y=3"),
    "merge images": nk.merge("x w -> x").on("x:2=2 w:2=3"),
    "split": nk.split("f -> h k=3").on("x=2 f=6"),
    "split images": nk.split("x -> x w:2=2").on("x:2=4"),
    "concat": nk.concat("c").on("x=2 c=2, c=3 x=2"),
    "concat of three": (skip * skip * skip >> nk.concat("c")).on("c=1 x=2, c=3 x=2, c=2 x=2"),
    "slice": nk.slice("x", 1, -1).on("x=5 m=2"),
    "index": nk.index("x", -1).on("x=5 m=2"),
    "index of an image": nk.index("x", 1).on("c=2 x:2=3"),
    "rename": nk.rename(x="y").on("x=2 m=3"),
    "transpose": nk.transpose("m x").on("b=2 x=2 m=3"),
    "expand": nk.expand("w=2 v=3").on("x=2"),
    "up-sampling": (nk.expand("w:2=2") >> nk.merge("x w -> x")).on("c=2 x:2=2"),
    "window": nk.window("x", 3, 2, dilation=2, padding=1).on("x=9 c=2"),
    "window of -inf": (nk.window("x", 3, fill="-inf") >> nk.maximum("w")).on("x=4 c=2"),
    "convolution": (nk.window("x", 3, 2) >> linear("c w -> c=3")).on("c=2 x:2=4"),
    "convolution along two axes": (
        nk.window("x", 3) >> nk.window("y", 2, name="v") >> linear("v c w -> c=2")
    ).on("c=2 x=4 y=4"),
    "grouped convolution": nk.components.conv(4, 3, groups=2).on("c=4 x=4"),
    "depthwise convolution": nk.components.depthwise_conv(3).on("c=3 x:2=3"),
    "pooling": nk.components.avg_pool(2).on("c=2 x:2=4"),
    "fold": nk.fold("x", "w", 2).on("x=3 w=3 c=2"),
    "fold, cropped": nk.fold("x", "w", 2, padding="1,0", extra=1).on("x:2=2 w:2=3"),
    "transposed convolution": (linear("c -> w=3 c=2") >> nk.fold("x", "w", 2)).on("c=2 x=3"),
    "gather": nk.gather("n").on("n=4 m=2, N(4)[e=5]"),
    "gather, woven": nk.gather("n").on("b=2 n=4 m=2, N(4)[b=2 e=3]"),
    "scatter": nk.scatter("n", "e").on("e=5 m=2, N(3)[e=5]"),
    "scatter of means": nk.scatter("n", "e", "mean").on("e=5 m=2, N(7)[e=5]"),
    "scatter of maxima": nk.scatter("n", "e", "max").on("e=5 m=2, N(3)[e=5]"),
    "top-k": nk.topk("e", 2, "j").on("x=3 e=5"),
    "one-hot": nk.one_hot("v").on("N(5)[x=4]"),
    "indices": (nk.indices("x") >> nk.cast("R")).on("b=2 x=4"),
    "parameter": (skip + nk.parameter("m=3")).on("x=2 m=3"),
    "constant": (skip + nk.constant(0.5, "m=3")).on("x=2 m=3"),
    "block in block": nk.block("outer", nk.block("inner", linear("m -> m=3") >> relu) >> nk.norm("m")).on(
        "x=2 m=3"
    ),
    "attention": attention.on("h=2 y=2 k=3, h=2 x=3 k=3, h=2 x=3 k=3"),
    "repeat": ((linear("m -> f=3") >> nk.tanh >> linear("f -> m=2")) ** 3).on("x=2 m=2"),
    "tied repeat": nk.repeat(linear("m -> m=2") >> nk.tanh, 3, tied=True).on("x=2 m=2"),
    "nested repeats": (
        (nk.repeat(linear("m -> m=2") >> nk.tanh, 2, tied=True) >> linear("m -> m=2")) ** 2
    ).on("m=2"),
    "pass through": nk.repeat((skip * relu) >> (skip * skip), 2).on("x=2, y=2"),
    "scan": nk.scan(
        (linear("m -> m=2", "U") * linear("n -> m=2", "V")) >> nk.add >> nk.tanh >> (skip, nk.square), "t"
    ).on("b=2 m=2, b=2 t=3 n=3"),
    "scan, reversed": nk.scan(nk.add >> (skip, skip), "t", reverse=True).on("m=2, t=4 m=2"),
    "stages": nk.stages(relu >> (nk.window("x", 2, 2) >> nk.maximum("w"), skip), 2).on("c=2 x=8"),
    "stages down": nk.stages(
        (nk.expand("w=2") >> nk.merge("x w -> x")) * skip >> nk.add, 2, first=2, down=True
    ).on("x=2, x=4, x=8"),
    "unused and copied": ((skip, linear("m -> n=2")) >> (relu * skip)).on("x=2 m=2"),
}


@pytest.mark.parametrize("name", CASES)
def test_equations_compute_what_the_module_computes(name: str) -> None:
    check(CASES[name])


@pytest.mark.parametrize("function", ops.FUNCTIONS)
def test_scalar_functions(function: str) -> None:
    check(nk.elementwise(function).on("x=4"))


def pulled(of: str, **settings: str) -> nk.Fn:
    return Apply(make_op("pullback", {"of": of, **settings}))


def test_gradients_of_functions() -> None:
    check(pulled("softmax", axes="x").on("b=2 x=3, b=2 x=3"))
    for how in ("relu", "tanh", "square"):
        check(pulled("elementwise", how=how).on("x=3, x=3"))
    text = pulled("softmax", axes="x").on("b x, b x").equations()
    assert r"B_{b x} &= X_{b x} \, \left(A_{b x} - \sum_{x} X_{b x} \, A_{b x}\right)" in text


@pytest.mark.parametrize("how", ["sum", "mean", "max", "min", "prod", "logsumexp"])
def test_reductions(how: str) -> None:
    check(nk.reduce(how, "x m").on("b=2 x:2=2 m=3"))


def test_batch_norm_in_training() -> None:
    check(nk.batch_norm("c").on("b=3 c=2 x:2=2"), training=True)


@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
@given(diagrams(concrete=True))
def test_random_diagrams(diagram: Diagram) -> None:
    flat = diagram.expanded()
    work = sum(int(flat.wires[w].type.numel) for node in flat.nodes for w in (*node.ins, *node.outs))
    assume(work < 1500)
    norms = [(node.op, flat.wires[node.ins[0]].type) for node in flat.nodes if isinstance(node.op, ops.Norm)]
    batch = [array.numel / array[op.per].numel for op, array in norms if op.how == "batch"]
    everywhere = [op for _, n in diagram.walk() if isinstance(op := n.op, ops.Norm) and op.how == "batch"]
    assume(bool(batch) == bool(everywhere))  # statistics inside of a scan would be those of each step
    assume(not any(isinstance(n.op, ops.TopK) for _, n in diagram.walk()))  # of equals, either may be first
    dropped = any(isinstance(n.op, ops.Dropout) and n.op.p for _, n in diagram.walk())
    assume(not (batch and dropped) and all(count > 1 for count in batch))
    check(diagram, training=bool(batch))


SMALL = (
    "causal-attention", "multi-head-attention", "cross-attention", "encoder-decoder", "last-position-block",
    "gpt", "grouped-conv", "transposed-conv", "upsample", "rnn", "gru", "lstm", "selective-scan",
    "mamba-block", "mixture-of-experts", "mixture-of-chosen-experts", "gcn", "message-passing",
    "graph-attention", "lora", "group-norm", "time-embedding",
)  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_components(name: str) -> None:
    diagram = catalogue()[name]()
    check(diagram.at(**dict.fromkeys(diagram.free(), 2)))


@pytest.mark.parametrize(
    "name", ["attention", "transformer-block", "conv", "depthwise-conv", "transposed-conv", "lstm", "lora"]
)
def test_backward_passes(name: str) -> None:
    diagram = nk.components.depthwise_conv(3).on("c=2 x:2=2") if "depth" in name else catalogue()[name]()
    check(diagram.at(**dict.fromkeys(diagram.free(), 2)).reverse().diagram)


def test_the_gradient_of_a_norm() -> None:
    for how in ("layer", "rms"):
        check(pulled("norm", how=how, axes="m").on("x=2 m=3, x=2 m=3"))
    check(pulled("norm", how="batch", per="c").on("b=3 c=2, b=3 c=2"))


@nk.diagram("h, g=3 h -> h")
def forgetful(memory, gates):
    def gate(i):
        return nk.index("g", i)(gates)

    return (gate(0) >> nk.sigmoid) * memory + (gate(1) >> nk.sigmoid) * (gate(2) >> nk.tanh)


def test_gates_read_as_in_the_papers() -> None:
    line = forgetful.diagram().equations().splitlines()[-2]
    assert line == (
        r"A_{h} &= \sigma\left(\mathit{gates}_{0,\,h}\right) \, \mathit{memory}_{h} + "
        r"\sigma\left(\mathit{gates}_{1,\,h}\right) \, \tanh\left(\mathit{gates}_{2,\,h}\right)"
    )


def test_every_op_has_a_formula_of_its_own() -> None:
    from nbkit.draw.notation.formulas import formula
    from nbkit.language.ops.base import Composite

    for kind, op in ops.KINDS.items():
        if not issubclass(op, Composite):
            assert formula.dispatch(op) is not formula.dispatch(Op), kind
    assert set(FUNCTIONS) >= set(ops.FUNCTIONS)


def test_attention_reads_as_in_the_paper() -> None:
    assert attention.diagram().equations() == (
        r"""\begin{align*}
(Q_{y k}) &\in \mathbb{R}^{y \times k} \\
(K_{x k}) &\in \mathbb{R}^{x \times k} \\
(V_{x k}) &\in \mathbb{R}^{x \times k} \\
S_{y x} &= \frac{1}{\sqrt{k}} \, \sum_{k} Q_{y k} \, K_{x k} \\
P_{y x} &= \operatorname*{softmax}_{x} S_{y x} \\
M_{y k} &= \sum_{x} P_{y x} \, V_{x k}
\end{align*}
"""
    )


def row(fn: nk.Fn, *types: str, **options: bool) -> str:
    """The last line of a function's equations."""
    return fn.on(*types).equations(**options).splitlines()[-2]


def test_woven_axes_are_indices_too() -> None:
    assert row(einsum("y k, x k -> y x"), "h y k, h x k") == r"S_{h y x} &= \sum_{k} X_{h y k} \, A_{h x k}"


def test_a_convolution_is_one_line() -> None:
    conv = nk.window("x", 3, 2, padding=1) >> linear("c w -> c=8")
    assert row(conv, "c=4 x") == (
        r"A_{c x} &= \sum_{c' w} \mathbf{W}_{c c' w} \, X_{c',\,2 x + w - 1} + \mathbf{b}_{c} "
        r"\quad \text{(0 outside)}"
    )
    assert row(conv, "c=4 x", fused=False) == (
        r"B_{c x} &= \sum_{c' w} \mathbf{W}_{c c' w} \, A_{c' x w} + \mathbf{b}_{c}"
    )


def test_masks_are_cases_and_views_are_pairs() -> None:
    assert row(nk.mask("x <= y"), "y x") == (
        r"A_{y x} &= \begin{cases} X_{y x} & x \le y \\ -\infty & \text{otherwise} \end{cases}"
    )
    assert row(nk.merge("h k -> m"), "h=2 k=3") == r"A_{(h k)} &= X_{h k}"
    assert row(nk.split("m -> h k=3"), "m=6") == r"A_{h k} &= X_{(h k)}"


def test_repetitions_count_in_braces() -> None:
    text = ((linear("m -> m", "up", bias=False) >> relu) ** 3).on("m").equations()
    assert r"{\scriptstyle \lambda = 1, \dots, 3} & \left\{" in text
    assert (
        r"H^{(\lambda)}_{m} &= \operatorname{relu}\left(\sum_{m'} "
        r"\mathbf{W}^{\mathrm{up},\,\lambda}_{m m'} \, H^{(\lambda - 1)}_{m'}\right)"
    ) in text


def test_a_notebook_shows_mathematics() -> None:
    told = attention.diagram().equations()
    assert isinstance(told, str)
    assert told._repr_latex_().startswith("$$\\begin{aligned}\n(Q_{y k}) &")
    assert told._repr_latex_().endswith("\\end{aligned}$$")


def test_closed_blocks_are_functions() -> None:
    d = (relu >> nk.block("part", linear("m -> m") >> relu)).on("x m")
    assert r"P_{x m} &= \operatorname{part}\left(A\right)_{x m}" in d.equations(depth=0)


def test_the_same_diagram_gives_the_same_text() -> None:
    assert attention.diagram().equations() == attention.diagram().equations()


@needs_latex
def test_every_equation_compiles(tmp_path: Path) -> None:
    told = [d.equations() for d in CASES.values()]
    told += [entry().equations(fused=fused) for entry in catalogue().values() for fused in (True, False)]
    told += [nk.reduce(how, "x").on("x").equations() for how in REDUCTIONS]
    told += [nk.elementwise(f).on("pos d_model αβ").equations() for f in ops.FUNCTIONS]
    preamble = r"\documentclass{article}\usepackage{amsmath,amssymb}\allowdisplaybreaks"
    compiled(f"{preamble}\\begin{{document}}\n{''.join(told)}\n\\end{{document}}", tmp_path)
