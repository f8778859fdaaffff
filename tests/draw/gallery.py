"""Diagrams that stress the drawing: every op, every way to combine them, written with the language alone."""

from __future__ import annotations

from collections.abc import Callable

import nbkit as nk
from nbkit import (
    Diagram,
    Fn,
    einsum,
    embed,
    index,
    linear,
    merge,
    positions,
    relu,
    rename,
    scale,
    skip,
    softmax,
    window,
)


@nk.diagram("y k, x k, x k -> y k")
def attention(q, k, v):
    weights = einsum("y k, x k -> y x")(q, k) >> scale("k**(-1/2)") >> softmax("x")
    return einsum("y x, x k -> y k")(weights, v)


@nk.diagram("y m, x m -> y m")
def multi_head(y, x):
    q = linear("m -> h k", "Q", bias=False)(y)
    k = linear("m -> h k", "K", bias=False)(x)
    v = linear("m -> h k", "V", bias=False)(x)
    return linear("h k -> m", "O", bias=False)(attention(q, k, v))


@nk.diagram("y g k, x k, x k -> y g k")
def grouped(q, k, v):
    weights = (einsum("y k, x k -> y x") >> softmax("x"))(q, k)
    return einsum("y x, x k -> y k")(weights, v)


@nk.diagram("x a, x b -> x a")
def unused(a, b):
    return relu(a)


@nk.diagram("x a, x b, x a -> x a, x b")
def apart(a, b, c):
    return a + c, b


@nk.diagram("x a, z b -> z b, x a")
def swapped(a, b):
    return b, a


def conv(n: int, k: int = 3, stride: int = 1) -> Fn:
    return window("x", k, stride) >> linear(f"c w -> c={n}")


def double(n: int) -> Fn:
    return conv(n) >> relu >> conv(n) >> relu


def unet(n: int, depth: int) -> Fn:
    if depth == 0:
        return double(n)
    pool = window("x", 2, 2, fill="-inf") >> nk.maximum("w")
    up = linear(f"c -> w:2=2 c={n}") >> merge("x", "w")
    return double(n) >> (skip, pool >> unet(2 * n, depth - 1) >> up) >> nk.concat("c") >> double(n)


def bottleneck(n0: int, n1: int, stride: int) -> Fn:
    act = nk.block("norm_activate", nk.batch_norm("c", "b") >> relu)
    body = act >> conv(n1 // 4, 1, stride) >> act >> conv(n1 // 4) >> act >> conv(n1, 1)
    return body + (skip if (n0, stride) == (n1, 1) else conv(n1, 1, stride))


self_attention = (rename(x="y"), skip) >> multi_head >> rename(y="x")
mlp = linear("m -> f") >> nk.gelu >> linear("f -> m")
block = nk.block(
    "transformer_block", (skip + (nk.norm("m") >> self_attention)) >> (skip + (nk.norm("m") >> mlp))
)
embedding = embed("v -> m", key="E") + positions("x -> m")


def gpt(n: int) -> Diagram:
    return (embedding >> block**n >> nk.norm("m") >> linear("m -> v", key="E")).on("N(v)[x]")


GALLERY: dict[str, Callable[[], Diagram]] = {
    "attention": attention.diagram,
    "multi-head": multi_head.diagram,
    "multi-head with batch": lambda: multi_head.on("b y m, b x m"),
    "grouped query": grouped.diagram,
    "transformer block": lambda: block.on("x m"),
    "gpt": lambda: gpt(12),
    "resnet": lambda: bottleneck(64, 256, 2).on("b c=64 x:2"),
    "resnet, narrow": lambda: (bottleneck(64, 64, 1) ** 2).on("b c=64 x:2"),
    "u-net": lambda: (unet(64, 2) >> conv(2, 1)).on("c=1 x:2"),
    "digits mlp": lambda: (
        merge("i j -> p") >> linear("p -> f=128") >> relu >> linear("f -> c=10") >> softmax("c")
    ).on("i=8 j=8"),
    "causal": lambda: (
        einsum("y k, x k -> y x")
        >> scale("k**(-1/2)")
        >> nk.mask("x <= y")
        >> softmax("x")
        >> nk.dropout(0.1)
    ).on("b y k h, b x k h"),
    "swiglu": lambda: (
        nk.rms_norm("m")
        >> ((linear("m -> f") >> nk.silu, linear("m -> f")) >> nk.multiply >> linear("f -> m"))
    ).on("b x m"),
    "grokking": lambda: (embedding >> block >> index("x", -1) >> linear("m -> c=97")).on("N(98)[x=3]"),
    "outer product": einsum("a, b -> a b").diagram,
    "inner product": einsum("x, x -> ").diagram,
    "three operands": einsum("a k, b k, c k -> a b c").diagram,
    "two contractions": einsum("a i j, i j b -> a b").diagram,
    "matrix product": einsum("i j, j k -> i k").diagram,
    "side by side": lambda: (linear("a -> c") * linear("b -> d") >> einsum("c, d -> c d")).on("x a, x b"),
    "repeats": lambda: (
        (linear("m -> f") >> nk.tanh >> linear("f -> m")) ** 3
        >> nk.repeat(linear("m -> m") >> nk.tanh, 4, tied=True)
    ).on("x m"),
    "slices": lambda: (
        nk.split("m -> h k=4") >> nk.slice("h", 0, 2) >> nk.transpose("k h") >> nk.mean("x")
    ).on("x m=16"),
    "scalar": lambda: (linear("m -> o=1") >> nk.total("x o")).on("x m"),
    "concat": lambda: ((linear("a -> c"), skip) >> (skip * rename(a="c")) >> nk.concat("c")).on("x a"),
    "unused": lambda: unused.on("x a, x b"),
    "apart": lambda: apart.on("x a, x b, x a"),
    "swapped": lambda: swapped.on("x a, z b"),
}
