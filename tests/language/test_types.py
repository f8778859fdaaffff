"""What each op makes of its inputs: a table of function, inputs, outputs."""

import pytest

from nbkit import (
    Fn,
    add,
    batch_norm,
    cast,
    concat,
    constant,
    dropout,
    einsum,
    elementwise,
    embed,
    expand,
    fold,
    gather,
    gelu,
    index,
    indices,
    linear,
    mask,
    maximum,
    mean,
    merge,
    multiply,
    norm,
    one_hot,
    parameter,
    positions,
    reduce,
    relu,
    rename,
    rms_norm,
    scale,
    scan,
    scatter,
    skip,
    slice,  # noqa: A004  (the public name)
    softmax,
    split,
    stages,
    stop_gradient,
    tanh,
    topk,
    total,
    transpose,
    window,
)

TABLE = [
    # einsum: contracts, keeps, multiplies; woven axes of one name are diagonalised and stand in front
    (einsum("y k, x k -> y x"), "y k, x k", "y x"),
    (einsum("y k, x k -> y x"), "y h k, h x k", "h y x"),
    (einsum("y k, x k -> y x"), "b y k, x k h", "b h y x"),
    (einsum("x -> x"), "a x b", "a b x"),
    (einsum("x, x ->"), "x=3, x=3", ""),
    (einsum("a, b -> b a"), "a=2, b=3", "b=3 a=2"),
    (einsum("x:2 c, c d -> x:2 d"), "c x:2, c d=4", "x:2 d=4"),
    (einsum("a k, b k, c k -> a b c"), "a k, b k, c k", "a b c"),
    # linear: what is produced stands where what is consumed stood
    (linear("m -> f"), "x m", "x f"),
    (linear("m -> f=4*m"), "x m=8", "x f=32"),
    (linear("m -> f=4*m"), "x m", "x f=4*m"),
    (linear("m -> h k=4"), "b m x", "b h k=4 x"),
    (linear("h k -> m=8"), "x h k", "x m=8"),
    (linear("h k -> m=8"), "h x k", "x m=8"),
    (linear("w c -> c=64"), "c=3 x:2 w:2=3", "c=64 x:2"),
    (linear("x -> x=5"), "x:2 c", "x:2=5 c"),
    (linear("c -> w:2=2 c=8"), "c=16 x:2", "c=8 w:2=2 x:2"),
    (linear("-> m=4"), "x", "x m=4"),
    (linear("-> m=4"), "", "m=4"),
    (linear("x ->"), "x", ""),
    (linear("m -> m"), "x m=7", "x m=7"),
    (linear("w ->", per="c"), "c x w", "c x"),
    (linear("c -> d=2", per="g"), "g=4 c x", "g=4 d=2 x"),
    # embeddings
    (embed("v -> m"), "N(97)[x=3]", "x=3 m"),
    (embed("v -> h=2 k=4"), "N(v)[b x]", "b x h=2 k=4"),
    (embed("v -> m"), "N(v)[]", "m"),
    (positions("x -> m=4"), "N(9)[b x=3]", "x=3 m=4"),
    (positions("i j -> m"), "c i j", "i j m"),
    (embed("v -> m=4") >> linear("m -> v"), "N(97)[x]", "x v=97"),
    (embed("v -> m=4") + positions("x -> m=4"), "N(97)[b x]", "b x m=4"),
    # pointwise
    (gelu, "x m", "x m"),
    (elementwise("abs"), "", ""),
    (scale("k**(-1/2)"), "y x k=4", "y x k=4"),
    (dropout(0.5), "x", "x"),
    (mask("x <= y"), "h y x", "h y x"),
    (mask("x <= y and y - x < 4", fill="0"), "y x", "y x"),
    (add, "x m, x m", "x m"),
    (add, "m, b x m", "b x m"),
    (add, "x m, m x", "x m"),
    (multiply, "x, x, x", "x"),
    # whole axes
    (softmax("x"), "h y x", "h y x"),
    (softmax("y x"), "h y x", "h y x"),
    (norm("m"), "x m", "x m"),
    (rms_norm("h k"), "x h k", "x h k"),
    (batch_norm("c", over="b"), "b c x:2", "b c x:2"),
    (mean("x"), "c x:2", "c"),
    (maximum("w"), "c x w:2=2", "c x"),
    (total("x y"), "x y", ""),
    (reduce("max", "x"), "x z", "z"),
    # layout
    (merge("x y -> f"), "x=3 y=4 c", "f=12 c"),
    (merge("x y -> f"), "x y", "f=x*y"),
    (merge("y x -> f"), "x y c", "f=x*y c"),
    (merge("x", "w"), "c x:2=8 w:2=2", "c x:2=16"),
    (merge("x w -> x"), "x=2+a w", "x=a*w+2*w"),
    (split("f -> h k=4"), "f=12 x", "h=3 k=4 x"),
    (split("f -> h=3 k"), "f", "h=3 k=f/3"),
    (split("f -> f k"), "f=x*k", "f=x k"),
    (split("f -> h=3 k=4"), "f=12", "h=3 k=4"),
    (split("c -> g=4 c"), "c=32 x", "g=4 c=8 x"),
    (concat("c"), "c=3 x, c=5 x", "c=8 x"),
    (concat("c"), "c x, x c=2, x c", "c=2*c+2 x"),
    (slice("x", 1, 4), "x=9 m", "x=3 m"),
    (slice("x", 1), "x m", "x=x-1 m"),
    (slice("x", -2), "x", "x=2"),
    (slice("x", 0, -1), "x:2=5", "x:2=4"),
    (slice("x", 2, -1), "N(7)[x=5]", "N(7)[x=2]"),
    (index("x", -1), "b x m", "b m"),
    (index("x", 0), "N(v)[x]", "N(v)[]"),
    (rename(x="y"), "b x", "b y=x"),
    (rename("x y -> y x"), "x=2 y=3", "y=2 x=3"),
    (rename(x="y"), "N(9)[x:2=4]", "N(9)[y:2=4]"),
    (transpose("m x"), "x m", "m x"),
    (transpose("m x"), "x b m", "m b x"),
    (window("x", 3), "c x", "c x w=3"),
    (window("x", 3, 2), "c x:2=32", "c x:2=16 w:2=3"),
    (window("x", 3, 2), "x", "x=x/2 w=3"),
    (window("x", 3, padding=0), "x=8", "x=6 w=3"),
    (window("x", 3, 2, padding=1), "x=7", "x=4 w=3"),
    (window("x", 3, padding=0), "x", "x=x-2 w=3"),
    (window("x", 3, 2, dilation=2, padding=0), "x", "x=floor(x/2-5/2)+1 w=3"),
    (window("i", 2, 2, name="p"), "i=8 j", "i=4 p=2 j"),
    # combinators
    (skip, "x, y", "x, y"),
    (relu >> relu, "x", "x"),
    (skip >> linear("m -> f"), "x m", "x f"),
    (relu * linear("m -> f"), "x, m", "x, f"),
    (skip * softmax("m") * skip, "x, m, y", "x, m, y"),
    (einsum("a, b -> a b") * relu, "a, b, c", "a b, c"),
    ((skip, relu) >> add, "x", "x"),
    ((linear("m -> h"), linear("m -> f")) >> einsum("h, f -> h f"), "m", "h f"),
    (relu >> (skip, (skip, relu) >> add), "x", "x, x"),
    (skip + linear("m -> m"), "x m", "x m"),
    ((linear("m -> f") >> relu >> linear("f -> m")) ** 3, "x m", "x m"),
    ((relu * relu) ** 2, "x, y", "x, y"),
    (add * add, "a, b", "a, b"),
    # fold is window turned round; same gives stride·x, a number crops
    (linear("c -> w=2 c=8") >> fold("x", "w", 2), "c=4 x", "c=8 x=2*x"),
    (fold("x", "w", 2, padding=1, extra=1), "x=10 w=3 c", "x=20 c"),
    (fold("x", "w", 1, padding="2,0", dilation=2), "x:2=5 w:2=3", "x:2=7"),
    (window("x", 4, padding="3,0"), "c x", "c x w=4"),
    (window("x", 3, 2, padding="0,1"), "x=10", "x=5 w=3"),
    # expand: new axes last; with merge it is up-sampling
    (expand("w=2 v"), "x m", "x m w=2 v"),
    (expand("w:2=2") >> merge("x w -> x"), "c x:2=8", "c x:2=16"),
    # by index: the index's axes stand where the axis stood, common ones are diagonal
    (gather("n"), "n m, N(n)[e]", "e m"),
    (gather("n"), "h n m, N(n)[a b]", "h a b m"),
    (gather("n"), "b n m, N(n)[b e]", "b e m"),
    (gather("n"), "n m, N(n)[n]", "n m"),
    (gather("v"), "N(9)[v=5], N(5)[x]", "N(9)[x]"),
    (scatter("n", "e"), "e m, N(n)[e]", "n m"),
    (scatter("e", "e"), "h e m, N(5)[e]", "h e=5 m"),
    (scatter("n", "e", "max"), "b e, N(n)[b e]", "b n"),
    (topk("e", 2), "x e=8", "x j=2, N(8)[x j=2]"),
    (topk("e", 3, "e"), "e=8 x", "e=3 x, N(8)[e=3 x]"),
    (one_hot("v"), "N(v)[x]", "x v"),
    (indices("x"), "b x", "N(x)[x]"),
    # arrays from nowhere look up their sizes by name
    (parameter("q m"), "x m=3", "q m=3"),
    (constant(0, "h"), "h=7 x", "h=7"),
    (constant(1), "x", ""),
    (cast("R"), "N(v)[x]", "x"),
    (cast("N(x+1)"), "x=4", "N(5)[x=4]"),
    (stop_gradient, "x m", "x m"),
    (norm("c x", per="g c"), "g=2 c x:2", "g=2 c x:2"),
    (embed("v=10 -> m"), "N(7)[x]", "x m"),
    (reduce("logsumexp", "x"), "b x", "b"),
    # recurrences and stages
    (scan(add, "t"), "h, t h", "h"),
    (scan(add >> (skip, tanh), "t"), "h, h t=4", "h, t=4 h"),
    (stages(linear("c -> c=2*c"), 3), "x c=8", "x c=64"),
    (stages(window("x", 2, 2) >> maximum("w") >> (skip, skip), 2), "x=8 c", "x=2 c, x=4 c, x=2 c"),
    (stages(concat("c"), 2), "c=1, c=2, c=3", "c=6"),
]  # fmt: skip


@pytest.mark.parametrize(("fn", "inputs", "outputs"), TABLE, ids=[f"{fn} on {ins}" for fn, ins, _ in TABLE])
def test_types(fn: Fn, inputs: str, outputs: str) -> None:
    from nbkit.language.axes import parse_arrays

    diagram = fn.on(inputs)
    assert ", ".join(map(str, diagram.inputs)) == ", ".join(map(str, parse_arrays(inputs)))
    assert ", ".join(map(str, diagram.outputs)) == ", ".join(map(str, parse_arrays(outputs)))


@pytest.mark.parametrize(
    ("size", "stride", "dilation", "padding", "pads"),
    [
        (3, 1, 1, "same", (1, 1)),
        (1, 2, 1, "same", (0, 0)),
        (3, 2, 1, "same", (1, 1)),
        (3, 1, 2, "same", (2, 2)),
        (2, 1, 1, "same", (0, 1)),
        (2, 2, 1, "same", (0, 0)),
        (4, 2, 1, "same", (1, 1)),
        (7, 1, 1, "3", (3, 3)),
    ],
)
def test_padding_gives_as_many_positions_as_the_type_says(
    size: int, stride: int, dilation: int, padding: str, pads: tuple[int, int]
) -> None:
    fn = window("x", size, stride, dilation=dilation, padding=padding)
    assert fn.op.pads() == pads  # type: ignore[attr-defined]
    for length in (12, 24):
        room = length + sum(pads) - dilation * (size - 1) - 1
        assert fn.on(f"x={length}").outputs[0]["x"].size == room // stride + 1
