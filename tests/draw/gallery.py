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
from nbkit.language import ops
from nbkit.language.functions import Apply


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


@nk.diagram("n m, e, e -> n m")
def message_passing(nodes, sources, targets):
    sent = nk.gather("n")(nodes, sources) >> linear("m -> m") >> relu
    return nk.scatter("n", "e")(sent, targets)


@nk.diagram("h, t m -> t h")
def recurrent(state, sequence):
    @nk.diagram("h, m -> h, h")
    def cell(state, x):
        new = nk.tanh(linear("h -> h", "U")(state) + linear("m -> h", "W")(x))
        return new, new

    return nk.scan(cell, "t")(state, sequence)[1]


def two_loops(depth: int, *, mirrored: bool = True) -> Fn:
    """Down and up again with a memory at each level; unless `mirrored` the memories are taken in order."""

    @nk.diagram("c x -> c x, c x")
    def down(z):
        saved = z >> conv(2 * int(z.type["c"].size)) >> relu
        return saved >> window("x", 2, 2, fill="-inf") >> nk.maximum("w"), saved

    @nk.diagram("c x, c x -> c x")
    def up(z, saved):
        n = int(saved.type["c"].size)
        grown = z >> linear(f"c -> w:2=2 c={n}") >> nk.fold("x", "w", 2)
        return nk.concat("c")(grown, saved) >> conv(n)

    @nk.diagram("c x -> c x")
    def net(image):
        z, *memory = nk.stages(down, depth)(image)
        return nk.stages(up, depth, first=depth if mirrored else 1, down=mirrored)(z, *reversed(memory))

    return net


@nk.diagram("c x -> c x")
def halve(z):
    return z >> conv(2 * int(z.type["c"].size)) >> window("x", 2, 2) >> nk.maximum("w")


@nk.diagram("c x -> c x")
def quarter(z):
    return relu(nk.stages(halve, 2)(z))


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
    "transposed convolution": lambda: (linear("c -> w:2=2 c=8") >> nk.fold("x", "w", 2)).on("c=4 x:2"),
    "up-sampling": lambda: (nk.expand("w:2=2") >> merge("x w -> x") >> conv(8)).on("c=4 x:2"),
    "gather": lambda: nk.gather("n").on("b n m, N(n)[b e]"),
    "scatter": lambda: nk.scatter("n", "e", "mean").on("b e m, N(n)[e]"),
    "message passing": lambda: message_passing.on("n m, N(n)[e], N(n)[e]"),
    "top-k": lambda: (nk.topk("e", 2, "j") >> (softmax("j") * nk.one_hot("e"))).on("x e=8"),
    "indices": lambda: (nk.indices("x") >> nk.cast("R") >> nk.elementwise("sin")).on("x m"),
    "casts": lambda: (nk.cast("N(9)") >> nk.cast("R")).on("x m"),
    "parameter": lambda: (skip + nk.parameter("m", "W", trainable=False)).on("x m"),
    "constant": lambda: ((skip, nk.constant(0.5, "m")) >> nk.multiply >> nk.stop_gradient).on("x m"),
    "group norm": lambda: (nk.split("c -> g=4 c") >> nk.norm("c x", per="g c") >> merge("g c -> c")).on(
        "c=32 x:2"
    ),
    "grouped convolution": lambda: (
        nk.split("c -> g=4 c")
        >> window("x", 3, 2, padding=1)
        >> linear("c w -> c=8", per="g")
        >> merge("g c -> c")
    ).on("c=32 x:2=8"),
    "depthwise": lambda: (window("x", 3, dilation=2) >> linear("w ->", per="c")).on("b c=8 x:2"),
    "recurrent": recurrent.diagram,
    "loops in loops": lambda: nk.stages(quarter, 2).on("c=2 x:2=64"),
    "loops in repetitions": lambda: nk.repeat(nk.block("net", two_loops(2) >> linear("c -> c=8")), 3).on(
        "c=8 x:2=32"
    ),
    "recurrences in repetitions": lambda: nk.repeat(
        nk.block("layer", (nk.constant(0.0, "h=4"), skip) >> recurrent >> rename(h="m")), 3
    ).on("t m=4"),
    "opaque": lambda: Apply(ops.Torch("my.mixer", "x m -> x n=8")).on("b x m"),
    "opaque, several": lambda: Apply(ops.Torch("join", "x m, y m -> x m, y")).on("b x m, b y m"),
    "loops with memory": lambda: two_loops(3).on("c=8 x:2=32"),
    "loops that count up": lambda: two_loops(3, mirrored=False).on("c=8 x:2=32"),
    "shared, frozen": lambda: (
        linear("m -> f", frozen=True) >> linear("f -> f", key="A") >> linear("f -> f", key="A")
    ).on("x m"),
}
