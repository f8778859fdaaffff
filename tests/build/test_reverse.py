"""The backward pass as a diagram, against torch.autograd in float64: inputs and parameters."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nbkit import (
    Diagram,
    DiagramError,
    Fn,
    batch_norm,
    block,
    cast,
    concat,
    diagram,
    dropout,
    einsum,
    elementwise,
    embed,
    expand,
    fold,
    gather,
    index,
    linear,
    mask,
    multiply,
    norm,
    one_hot,
    parameter,
    positions,
    reduce,
    rename,
    repeat,
    rms_norm,
    scan,
    scatter,
    skip,
    softmax,
    stages,
    stop_gradient,
    tanh,
    topk,
    window,
)
from nbkit import slice as slice_
from nbkit.components import catalogue
from nbkit.language import ops
from nbkit.language.reverse import Reverse
from tests.build.random_diagrams import diagrams
from tests.build.test_agreement import EXAMPLES
from tests.strategies import diagrams as all_diagrams

SIZES = {"x": 16, "y": 5, "k": 4, "m": 8, "h": 2, "f": 12, "v": 11, "c": 4, "b": 6, "t": 5, "n": 7, "e": 9}


def arguments(diagram: Diagram, seed: int, batch: int | None) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = []
    for array in diagram.inputs:
        shape = [batch] * (batch is not None) + [int(axis.size) for axis in array for _ in range(axis.rank)]
        if array.bound is None:
            x = torch.randn(shape, generator=generator, dtype=torch.float64)
            found.append((x.abs() if diagram.name == "gcn" else x).requires_grad_())  # degrees are positive
        else:
            found.append(torch.randint(int(array.bound), shape, generator=generator))
    return found


def several(out: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return out if isinstance(out, tuple) else (out,)


def check(diagram: Diagram, seed: int = 0, batch: int | None = None) -> Reverse:
    """Compares every gradient with autograd's, to 1e-9; the weights are those of the module as it is trained.

    With an unnamed batch, gradients of weights come for each example.
    """
    r: Reverse = diagram.reverse()
    net = diagram.torch(seed=seed, peepholes=False).double()
    both = r.diagram.torch(seed=seed + 1, peepholes=False).double()
    loaded = both.load_state_dict({f"forward_pass.{k}": v for k, v in net.state_dict().items()}, strict=False)
    assert not loaded.unexpected_keys
    assert not [key for key in loaded.missing_keys if key.startswith("forward_pass")]
    inputs = arguments(diagram, seed, batch)
    torch.manual_seed(seed)
    outs = [out for out in several(net(*inputs)) if out.is_floating_point()]
    generator = torch.Generator().manual_seed(seed + 7)
    given_ = [torch.randn(out.shape, generator=generator, dtype=torch.float64) for out in outs]
    named = {name: p for name, p in net.named_parameters() if p.requires_grad}
    real = [x for x in inputs if x.is_floating_point()]
    scalar = sum((out * dy).sum() for out, dy in zip(outs, given_, strict=True))
    expected = torch.autograd.grad(
        scalar, [*real, *named.values()], allow_unused=True, materialize_grads=True
    )
    torch.manual_seed(seed)
    with torch.no_grad():
        found = several(both(*(x.detach() for x in inputs), *given_))
    assert len(found) == len(r.outputs) == len(real) + len(r.grads)
    for mine, right in zip(found, expected[: len(real)], strict=False):
        torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-9)
    mine = dict(zip((grad.name for grad in r.grads), found[len(real) :], strict=True))
    for name, right in zip(named, expected[len(real) :], strict=True):
        if name in mine:  # its axes stand in the order of the parameter's own dimensions
            found_here = mine.pop(name)
            if batch is not None and found_here.numel() > right.numel():
                found_here = found_here.sum(0)
            torch.testing.assert_close(found_here.reshape(right.shape), right, rtol=1e-9, atol=1e-9)
        else:
            assert not right.any(), name
    assert not mine
    return r


@pytest.mark.parametrize("name", catalogue())
def test_every_component(name: str) -> None:
    d = catalogue()[name]()
    d = d.at(**{size: SIZES.get(size, 4) for size in d.free()})
    if name == "sinusoidal-positions":
        pytest.skip("nothing in it has a gradient")
    check(d)


@EXAMPLES
@given(diagrams())
def test_random_diagrams(diagram: Diagram) -> None:
    check(diagram, batch=3)


@settings(EXAMPLES, max_examples=100)
@given(all_diagrams(concrete=True))
def test_random_diagrams_of_all_ops(diagram: Diagram) -> None:
    """Dropout draws in the order of memory, which is another where its ones are made apart."""
    assume(not any(node.op.kind == "dropout" and node.op.p for _, node in diagram.walk()))
    try:
        check(diagram)
    except (RuntimeError, ValueError) as error:  # where nothing has a gradient, or a statistic one value
        nothing = ("no gradient to compute", "does not require grad", "more than 1 value per channel")
        assert any(text in str(error) for text in nothing)  # noqa: PT017


def chosen(op: Fn, spec: str) -> Callable[[], Diagram]:
    return lambda: op.on(spec)


@diagram("h, m -> h, h")
def cell(state, x):  # type: ignore[no-untyped-def]  # traced
    new = tanh(linear("h -> h", "W")(state) + linear("m -> h", "U")(x))
    return new, new


@diagram("h,  -> h")
def chooser(state, i):  # type: ignore[no-untyped-def]  # traced
    return tanh(linear("h -> h")(state) + embed("v -> h")(i))


RULES: dict[str, Callable[[], Diagram]] = {
    **{
        f: chosen(elementwise("square") >> elementwise(f), "x=3 m=4")
        for f in ops.FUNCTIONS
        if f != "sign"
    },
    **{f"{f} of negatives": chosen(elementwise(f), "x=3 m=4") for f in ("elu", "relu6", "mish", "abs")},
    **{how: chosen(reduce(how, "x"), "x=5 m=4 y=2") for how in ops.reductions.REDUCTIONS},
    "two axes": chosen(reduce("max", "x y"), "x=5 m=4 y=2"),
    "softmax": chosen(softmax("x y"), "x=5 m=4 y=2"),
    "mask": chosen(mask("x <= y") >> softmax("x"), "y=4 x=4"),
    "dropout": chosen(linear("m -> m") >> dropout(0.4) >> linear("m -> m"), "x=3 m=4"),
    "norm": chosen(norm("x m"), "x=3 m=4 y=2"),
    "batch norm of a single image": chosen(  # where torch's own gradient is wrong (nbkit.build.holders)
        linear("m b x -> f=1") >> linear("f -> m=8 b=2 x=3") >> batch_norm("m"), "b=2 x=3 m=8"
    ),
    "group norm": chosen(norm("c x", per="g c"), "g=2 c=3 x:2=4"),
    "rms": chosen(rms_norm("m"), "x=3 m=4"),
    "square map": chosen(linear("m -> m") >> linear("m -> m"), "x=3 m=4"),
    "grouped square map": chosen(linear("m -> m", per="g"), "x=3 g=2 m=4"),
    "several axes": lambda: (linear("m -> h=2 k=3") >> linear("h k -> m=5")).on("x=3 m=4"),
    "to a scalar": chosen(linear("x m -> "), "x=3 m=4"),
    "frozen": chosen(linear("m -> m", frozen=True) >> tanh, "x=3 m=4"),
    "tied": lambda: (embed("v -> m=4", key="E") >> tanh >> linear("m -> v", key="E")).on("N(7)[x=3]"),
    "more rows than indices": chosen(embed("v=9 -> m=4"), "N(7)[x=3]"),
    "one index": chosen(embed("v -> m=4"), "N(7)[]"),
    "indices of two axes": chosen(embed("v -> m=4"), "N(7)[b=2 x=3]"),
    "positions": chosen((skip, positions("x -> m")) >> multiply, "b=2 x=3 m=4"),
    "parameter": chosen((skip, parameter("q=2 m")) >> einsum("x m, q m -> x q"), "x=3 m=4"),
    "stopped": chosen((skip, stop_gradient) >> multiply, "x=3 m=4"),
    "strided window": chosen(window("x", 3, 2, padding=1) >> linear("w c -> n=3"), "c=4 x:2=8"),
    "dilated window": chosen(window("x", 3, dilation=2) >> reduce("max", "w"), "c=4 x=8"),
    "uneven window": chosen(window("x", 3, 2, padding="2,0") >> linear("w c -> c=2"), "c=4 x=9"),
    "left over": chosen(window("x", 3, 3, padding=0) >> linear("w c -> c=2"), "c=4 x=11"),
    "window read twice": chosen(
        window("x", 3) >> ((linear("w c -> c=4") >> tanh) + reduce("max", "w")), "c=4 x=8"
    ),
    "depthwise": chosen(window("x", 3) >> linear("w -> ", per="c"), "c=4 x:2=5"),
    "grouped": chosen(window("x", 3) >> linear("w c -> n=2", per="g"), "g=2 c=4 x=5"),
    "two windows": chosen(
        window("i", 2, name="a") >> window("j", 3, name="b") >> linear("a c b -> n=3"), "c=2 i=4 j=6"
    ),
    "fold": lambda: (linear("c -> w=3 c=5") >> fold("x", "w", 2)).on("c=4 x=6"),
    "cropped fold": lambda: (linear("c -> w:2=3 c=2") >> fold("x", "w", 2, padding=1, extra=1)).on(
        "c=4 x:2=5"
    ),
    "two folds": lambda: (
        linear("c -> a=3 b=2 c=5", bias=False) >> fold("i", "a") >> fold("j", "b", 2)
    ).on("c=4 i=4 j=3"),
    "expand": chosen(expand("w=2") >> tanh, "x=3"),
    "einsum sums": chosen(einsum("x m, y -> m"), "x=3 m=4, y=5"),
    "three operands": chosen(einsum("a b, b c, c d -> a d"), "a=2 b=3, b=3 c=4, c=4 d=5"),
    "concat": chosen((skip, tanh, skip) >> concat("m"), "x=3 m=4"),
    "slice": chosen(slice_("x", 1, 3), "x=5 m=2"),
    "slice from the end": chosen(slice_("x", -3), "x=5 m=2"),
    "slice of an image": chosen(slice_("x", 1, 3), "x:2=5 m=2"),
    "index": chosen(index("x", -2), "x=5 m=2"),
    "rename": chosen(rename(x="y") >> tanh, "x=5 m=2"),
    "gather": chosen(gather("n"), "n=5 m=2, N(5)[e=7]"),
    "gather in batches": chosen(gather("n"), "b=3 n=5 m=2, N(5)[b=3 e=7]"),
    "gather by a matrix": chosen(gather("n"), "n=5 m=2, N(5)[p=3 e=4]"),
    "scatter": chosen(scatter("n", "e"), "e=7 m=2, N(5)[e=7]"),
    "scatter mean": chosen(scatter("n", "e", "mean"), "e=7 m=2, N(5)[e=7]"),
    "scatter max": chosen(scatter("n", "e", "max"), "e=7 m=2, N(5)[e=7]"),
    "scatter max of equals": chosen(
        (gather("n") * skip) >> scatter("n", "e", "max"), "n=3 m=2, N(3)[e=9], N(3)[e=9]"
    ),
    "a block without a gradient": chosen(
        block("table", embed("v -> m=4", frozen=True)) >> linear("m -> n=3"), "N(7)[x=3]"
    ),
    "top-k": chosen(topk("e", 2, "j"), "x=3 e=5"),
    "one-hot": chosen(one_hot("v") >> linear("v -> m=3"), "N(5)[x=4]"),
    "cast": chosen(cast("R") >> linear("x -> m=3"), "N(5)[x=4]"),
    "block": chosen(block("a", block("b", linear("m -> m") >> tanh) >> (skip, tanh) >> multiply), "x=3 m=4"),
    "copies": chosen(block("part", norm("m") >> linear("m -> m") >> tanh) ** 3, "x=3 m=4"),
    "copies of copies": chosen((block("part", linear("m -> m") >> tanh) ** 2 >> tanh) ** 2, "x=3 m=4"),
    "tied copies": chosen(repeat(norm("m") >> linear("m -> m") >> tanh, 3, tied=True), "x=3 m=4"),
    "scan": chosen(scan(cell, "t"), "h=8, t=5 m=3"),
    "scan from the end": chosen(scan(cell, "t", reverse=True), "h=8, t=5 m=3"),
    "scan of steps without a gradient": chosen(scan(chooser, "t"), "h=8, N(3)[t=5]"),
    "stages": chosen(stages(window("x", 3, 2) >> linear("w c -> c") >> tanh, 2), "x=8 c=3"),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_rules(name: str) -> None:
    check(RULES[name](), seed=3)


@pytest.mark.parametrize("name", ["gpt", "resnet-block", "unet", "lstm", "patches", "mixture-of-experts"])
def test_source_of_both_passes_is_plain_torch(name: str) -> None:
    d = catalogue()[name]()
    both = d.at(**{size: SIZES.get(size, 4) for size in d.free()}).reverse().diagram
    scope: dict[str, Any] = {}
    exec(compile(both.source(), name, "exec"), scope)  # noqa: S102  # our own text
    net = both.torch(seed=0).double()
    modules = [v for v in scope.values() if isinstance(v, type) and issubclass(v, torch.nn.Module)]
    plain = modules[-1]().double()
    plain.load_state_dict(net.state_dict())
    inputs = [x.detach() for x in arguments(both, 0, None)]
    with torch.no_grad():
        for mine, right in zip(several(plain(*inputs)), several(net(*inputs)), strict=True):
            torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-9)


def test_source_says_what_it_cannot_write() -> None:
    d = catalogue()["group-norm"]()
    both = d.at(**{size: SIZES.get(size, 4) for size in d.free()}).reverse().diagram
    with pytest.raises(DiagramError) as caught:
        both.source()
    assert str(caught.value) == (
        "source() cannot write that backward_pass.norm has the weight of forward_pass.norm in another shape; "
        "torch() can build group_norm_reverse"
    )


@pytest.mark.parametrize("name", ["attention", "transformer-block", "gpt", "resnet-block", "unet", "lora"])
def test_cost_of_both_passes(name: str) -> None:
    """Parameters are counted once; the FLOPs are those that torch counts in forward and autograd's backward
    pass, and those of the gradients of the norms' weights, which torch does not count.
    """
    d = catalogue()[name]()
    d = d.at(**{size: SIZES.get(size, 4) for size in d.free()})
    r = d.reverse()
    both = r.diagram.torch(seed=0, peepholes=False)
    cost = r.diagram.cost()
    assert cost.params == sum(p.numel() for p in both.parameters())
    net = d.torch(seed=0, peepholes=False)
    inputs = [x.detach() for x in arguments(d, 0, None)]
    inputs = [x.float().requires_grad_() if x.is_floating_point() else x for x in inputs]
    with FlopCounterMode(display=False) as counter:
        sum(out.sum() for out in several(net(*inputs))).backward()
    norms = [e.flops for e in cost.entries if re.search(r"norm(_\d+)?_weight$", e.path)]
    assert cost.flops - sum(norms) == counter.get_total_flops()
