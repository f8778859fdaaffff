"""The backward pass as a diagram: what it says and refuses. Its numbers: tests/build/test_reverse.py."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from nbkit import (
    Diagram,
    DiagramError,
    block,
    concat,
    embed,
    linear,
    norm,
    parse,
    rename,
    skip,
    softmax,
    tanh,
    window,
)
from nbkit.components import attention, catalogue
from nbkit.language.functions import Apply
from nbkit.language.ops import Torch


def test_linear_becomes_its_transpose_with_the_same_weight() -> None:
    r = linear("m -> f", "up").on("x m").reverse()
    assert r.backward.listing() == (
        'def up(w2: "R[x m]", w0: "R[x f]"):\n'
        '    w1: "R[x m]" = up_T(linear(spec="f -> m", bias=False, key="up"), w0)\n'
        '    w3: "R[f m]" = up_weight(einsum(spec="x f, x m -> f m"), w0, w2)\n'
        '    w4: "R[f]" = sum(reduce(axes="x"), w0)\n'
        "    return w1, w3, w4\n"
    )
    assert r.outputs == ("input 1", "up.weight", "up.bias")
    assert r.forward.nodes[0].op.key == "up"


def test_copies_become_sums_and_sums_copies() -> None:
    r = (skip + tanh).on("x m").reverse()
    assert [node.op.kind for node in r.backward.nodes] == ["pullback", "add"]
    assert len(r.tape) == 1


def test_both_passes_are_diagrams_like_any_other() -> None:
    r = attention.on("y k, x k, x k").reverse()
    assert str(r.diagram) == ("attention_reverse: R[y k], R[x k], R[x k], R[y k] -> R[y k], R[x k], R[x k]")
    for d in (r.forward, r.backward, r.diagram):
        assert parse(d.listing()) == d
        assert Diagram.from_json(d.json()) == d
    assert len(r.tape) == 4  # q, k, v and the weights after the softmax
    assert r.diagram.at(x=5, y=3, k=2).free() == ()
    assert str(r.diagram.cost().flops.expand()) == "12*k*x*y"  # 4 forward, twice as much backward


def test_softmax_is_one_step() -> None:
    r = softmax("x").on("y x").reverse()
    assert [str(node.op) for node in r.backward.nodes] == ["pullback[softmax x]"]


@pytest.mark.parametrize("name", catalogue())
def test_every_component_has_one_at_any_size(name: str) -> None:
    if name == "sinusoidal-positions":
        pytest.skip("nothing in it has a gradient")
    d = catalogue()[name]()
    r = d.reverse()
    assert r.diagram.inputs[: len(d.ins)] == d.inputs
    real = [array for array in d.inputs if array.bound is None]
    assert list(r.diagram.outputs) == [*real, *(grad.array for grad in r.grads)]


REFUSED = {
    "secret at torch cannot be reversed: there is no rule for its gradient\n"
    "  write it in other operations, or keep it out of what is reversed": (
        Apply(Torch("secret", "x m -> x m")).on("x m")
    ),
    "concat[m] at concat cannot be reversed while the size m of axis 'm' is open: it says where the joined "
    "parts begin\n  give it first: d.at(m=64).reverse()": concat("m").on("x m, x m=2*n"),
    "window[x] at window cannot be reversed while the size x of axis 'x' is open: it says how many elements "
    "the last window leaves over\n  give it first: d.at(x=64).reverse()": window("x", 3, 2, padding=1).on(
        "x"
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals(message: str) -> None:
    with pytest.raises(DiagramError) as caught:
        REFUSED[message].reverse()
    assert str(caught.value) == message


def test_nothing_to_reverse() -> None:
    with pytest.raises(DiagramError) as caught:
        rename(x="y").on("N(5)[x]").reverse()
    assert str(caught.value) == "diagram gives no real numbers, so nothing has a gradient"


def test_needs_no_torch() -> None:
    code = (
        "import sys\nfrom nbkit import linear, relu\n"
        "r = (linear('m -> f') >> relu).on('x m').reverse()\n"
        "assert len(r.tape) == 2\nassert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_no_gradient_to_compute() -> None:
    with pytest.raises(DiagramError) as caught:
        embed("v -> m=4", "table", frozen=True).on("N(5)[x]").reverse()
    assert str(caught.value) == (
        "table has neither inputs of real numbers nor weights that are trained, so there is no gradient to "
        "compute"
    )


def test_a_flat_diagram_keeps_its_paths() -> None:
    d = (block("outer", block("inner", linear("m -> m", "up") >> tanh)) ** 2).on("x m")
    r = d.expanded().reverse()
    assert {grad.name for grad in r.grads} == {
        f"outer.{i}.inner.up.{name}" for i in (0, 1) for name in ("weight", "bias")
    }
    assert "outer.1.inner.up_T" in {node.id for node in r.backward.nodes}


def test_a_long_flat_diagram_takes_linear_time() -> None:
    """Four times the nodes take at most about four times as long (16 times, if something were quadratic)."""

    def seconds(copies: int) -> float:
        flat = (block("part", norm("m") >> linear("m -> m") >> tanh) ** copies).on("x=2 m=3").expanded()
        start = time.process_time()
        flat.reverse()
        return time.process_time() - start

    seconds(10)
    assert min(seconds(800) for _ in range(2)) < 8 * min(seconds(200) for _ in range(3))
