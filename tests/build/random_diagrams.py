"""Random typed diagrams for property tests: a chain of steps, each chosen among those that fit the wire."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from nbkit import (
    Diagram,
    Fn,
    add,
    batch_norm,
    block,
    concat,
    einsum,
    elementwise,
    index,
    linear,
    mask,
    merge,
    multiply,
    norm,
    positions,
    reduce,
    rename,
    repeat,
    rms_norm,
    scale,
    skip,
    softmax,
    split,
    transpose,
    window,
)
from nbkit import slice as slice_
from nbkit.language import Array

FUNCTIONS = ("relu", "gelu", "tanh", "sigmoid", "silu", "square", "abs", "neg")
INPUTS = (
    "a=3 b=2",
    "a=4 b=3 c=2",
    "c=2 i:2=4",
    "i:2=4 c=3",
    "a=6",
    "b=2 c=4 a=3 d=2",
    "c=4 i=5 j=4",
    "i:3=2 c=2",
)
LARGEST = 600


@st.composite
def diagrams(draw: st.DrawFn, steps: int = 5) -> Diagram:
    """A diagram of a few steps on one input, all sizes bound."""
    spec = draw(st.sampled_from(INPUTS))
    model: Fn = skip >> elementwise("neg")
    array = model.on(spec).outputs[0]
    for number in range(draw(st.integers(1, steps))):
        model = model >> draw(_steps(array, number))
        array = model.on(spec).outputs[0]
        if int(array.numel) > LARGEST or not array.axes:
            break
    return model.on(spec)


@st.composite
def _steps(draw: st.DrawFn, array: Array, number: int) -> Fn:
    kinds = [
        "linear", "pointwise", "scale", "norm", "softmax", "reduce", "residual", "product", "join",
        "transpose", "rename", "slice", "square", "positions", "block", "repeat",
    ]  # fmt: skip
    names = [axis.name for axis in array if not axis.name.startswith("w")]
    if not names:
        return elementwise("tanh")
    flat = [axis.name for axis in array if axis.rank == 1 and axis.name in names]
    even = [axis.name for axis in array if axis.rank == 1 and int(axis.size) % 2 == 0 and axis.name in names]
    long = [axis.name for axis in array if int(axis.size) >= 3 and axis.name in names]
    kinds += ["attention", "attention"] * (len(flat) >= 2)
    kinds += ["merge"] * (len(flat) >= 2) + ["split"] * bool(even) + ["mask"] * (len(flat) >= 2)
    kinds += ["window", "window", "pool", "windows"] * bool(long)
    kinds += ["join"] * bool(flat)
    kind = draw(st.sampled_from(kinds))
    some = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    one, text, fresh = some[0], " ".join(some), f"n{number}"
    rest = [name for name in names if name not in some]
    match kind:
        case "linear":
            per = draw(st.lists(st.sampled_from(rest), max_size=2, unique=True)) if rest else []
            outs = draw(
                st.sampled_from([f"{fresh}=3", f"{fresh}=2 {fresh}b=3", f"{fresh}:2=2", f"{one}", ""])
            )
            return linear(f"{text} -> {outs}", bias=draw(st.booleans()), per=" ".join(per))
        case "pointwise":
            return elementwise(draw(st.sampled_from(FUNCTIONS)))
        case "scale":
            return scale(draw(st.sampled_from(["2", "1/3", "7**(-1/2)", "-1"])))
        case "norm":
            affine = draw(st.booleans())
            which = draw(st.sampled_from(["layer", "rms", "batch"]))
            if which == "batch":
                return batch_norm(one, affine=affine)
            return (norm if which == "layer" else rms_norm)(text, affine=affine)
        case "softmax":
            return softmax(text)
        case "reduce":
            return reduce(draw(st.sampled_from(["sum", "mean", "max"])), text)
        case "residual":
            return skip + (linear(f"{one} -> {one}") >> elementwise("tanh"))
        case "product":
            return (elementwise("tanh"), reduce("mean", one)) >> draw(st.sampled_from([multiply, add]))
        case "join":
            axis = draw(st.sampled_from(flat)) if flat else None
            return (skip, elementwise("tanh")) >> concat(axis) if axis else skip >> elementwise("relu")
        case "transpose":
            return transpose(" ".join(draw(st.permutations([axis.name for axis in array])))) >> elementwise(
                "tanh"
            )
        case "rename":
            return rename(**{one: fresh})
        case "slice":
            size = int(array[one].size)
            start = draw(st.integers(-size, size - 1))
            if draw(st.booleans()):
                return index(one, start)
            return slice_(one, start % size, draw(st.sampled_from([None, size])))
        case "square":  # a product of two copies, over one axis
            other = rename(**{name: f"{fresh}{name}" for name in rest}) if rest else skip
            left, right = " ".join((*rest, one)), " ".join((*(f"{fresh}{n}" for n in rest), one))
            out = " ".join(rest + [f"{fresh}{name}" for name in rest])
            return (
                (skip, skip >> other) >> einsum(f"{left}, {right} -> {out}")
                if len(names) <= 2
                else scale("2")
            )
        case "positions":
            return (skip, positions(f"{one} -> {' '.join(str(array[n]) for n in rest) or fresh + '=2'}")) >> (
                add if rest else _first(one, fresh)
            )
        case "block":
            return block("part", elementwise("tanh") >> linear(f"{one} -> {one}"))
        case "repeat":
            return repeat(
                block("part", linear(f"{one} -> {one}") >> elementwise("tanh")), 2, tied=draw(st.booleans())
            )
        case "merge":
            both = draw(st.permutations(flat))[:2]
            return merge(f"{' '.join(both)} -> {fresh}")
        case "split":
            return split(f"{draw(st.sampled_from(even))} -> {fresh} {fresh}b=2")
        case "mask":
            return mask(f"{flat[0]} <= {flat[1]} + 1", fill=draw(st.sampled_from(["0"])))
        case "attention":
            return draw(_attention(array, flat, fresh))
    return draw(_window(array, long, kind, number))


def _first(one: str, fresh: str) -> Fn:
    return einsum(f"{one}, {one} {fresh} -> {one} {fresh}")


@st.composite
def _attention(draw: st.DrawFn, array: Array, flat: list[str], fresh: str) -> Fn:
    """Self-attention over one axis, another as features, the rest woven (or missing on keys and values)."""
    x, k = draw(st.permutations(flat))[:2]
    y = f"{fresh}y"
    weigh: Any = scale("1/2")
    if draw(st.booleans()):
        weigh = weigh >> mask(
            draw(st.sampled_from([f"{x} <= {y}", f"{y} >= {x}", f"{x} - {y} < 2", f"abs({x} - {y}) < 2"]))
        )
    if draw(st.booleans()):
        weigh = scale("3") >> weigh
    scores = einsum(draw(st.sampled_from([f"{y} {k}, {x} {k} -> {y} {x}", f"{x} {k}, {y} {k} -> {y} {x}"])))
    turned = scores.op.spec.startswith(x)
    woven = [axis.name for axis in array if axis.name not in (x, k)]
    shared: Fn = skip
    if woven and draw(st.booleans()):  # as in grouped queries: keys and values lack an axis
        shared = reduce("mean", woven[0])
    query = rename(**{x: y}) >> elementwise("tanh")
    keys, values = shared >> elementwise("neg"), shared >> elementwise("tanh")
    pair = (keys, query) if turned else (query, keys)
    mixed = einsum(f"{y} {x}, {x} {k} -> {y} {k}")
    return ((pair >> scores >> weigh >> softmax(x)), values) >> mixed


@st.composite
def _window(draw: st.DrawFn, array: Array, long: list[str], kind: str, number: int) -> Fn:
    axis = draw(st.sampled_from(long))
    size = int(array[axis].size)
    stride = draw(st.sampled_from([s for s in (1, 2, 3) if size % s == 0]))
    width = draw(st.integers(1, 3))
    padding = draw(
        st.sampled_from(["same", "same", 0, 1] if width > 1 else ["same", 0])
    )  # no window of −∞ only
    dilation = draw(st.sampled_from([1, 1, 2])) if padding == "same" or width == 1 else 1
    fill = draw(st.sampled_from(["0", "-inf"])) if kind == "pool" else "0"
    w = f"w{number}"
    how = draw(st.sampled_from(["max", "mean"])) if fill == "0" else "max"
    slide = window(axis, width, stride, dilation=dilation, padding=padding, name=w, fill=fill)
    if kind == "pool":
        return slide >> reduce(how, w)
    if kind == "windows":  # two windows, on two axes if there are two
        others = [name for name in long if name != axis]
        if others:
            slide = slide >> window(others[0], 2, name=f"{w}b")
            return (
                slide >> linear(f"{w} {w}b -> {f'n{number}=2'}")
                if draw(st.booleans())
                else slide >> reduce(how, f"{w} {w}b")
            )
    channels = [a.name for a in array if a.name != axis and not a.name.startswith("w")]
    consumed = draw(st.lists(st.sampled_from(channels), max_size=1)) if channels else []
    per = [name for name in channels if name not in consumed][: draw(st.integers(0, 1))]
    order = draw(st.permutations([w, *consumed]))
    return slide >> linear(f"{' '.join(order)} -> n{number}=2", bias=draw(st.booleans()), per=" ".join(per))
