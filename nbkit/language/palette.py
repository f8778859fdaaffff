"""Short constructors of the operations: `linear("m -> f")`, `softmax("x")`, `window("x", 3)`.

Each gives a function of the language that knows the source line it was made on, for errors. Settings are
checked here and now; whether they fit the arrays is checked where the function is applied.
"""

from __future__ import annotations

import sys
from typing import Any

from nbkit.language.functions import Apply, Fn
from nbkit.language.ops import make_op
from nbkit.language.sizes import check_name

_HERE = __name__.partition(".")[0]


def _make(kind: str, node: str = "", /, **settings: Any) -> Apply:
    return Apply(make_op(kind, settings), check_name(node, "node") if node else "", _caller())


def _caller() -> str:
    """`file.py:14` of the nearest frame outside nbkit: the user's own line, also for library components."""
    frame = sys._getframe(2)
    while str(frame.f_globals.get("__name__", "")).partition(".")[0] == _HERE:
        if frame.f_back is None:
            return ""
        frame = frame.f_back
    return f"{frame.f_code.co_filename.replace(chr(92), '/').rpartition('/')[2]}:{frame.f_lineno}"


relu, gelu, tanh, sigmoid, silu, square, exp = (
    Apply(make_op("elementwise", {"function": function}))
    for function in ("relu", "gelu", "tanh", "sigmoid", "silu", "square", "exp")
)
add: Fn = Apply(make_op("add", {}))
multiply: Fn = Apply(make_op("multiply", {}))
stop_gradient: Fn = Apply(make_op("stop_gradient", {}))


def elementwise(function: str, name: str = "") -> Apply:
    """A scalar function of every element, by name: relu, gelu, tanh, sigmoid, silu, exp, sin, log, sqrt …"""
    return _make("elementwise", name, function=function)


def einsum(spec: str, name: str = "") -> Apply:
    """Sum of products over named axes: `einsum("y k, x k -> y x")`."""
    return _make("einsum", name, spec=spec)


def linear(
    spec: str, name: str = "", *, bias: bool = True, per: str = "", key: str = "", frozen: bool = False
) -> Apply:
    """Learned affine map of the named axes: `linear("m -> h k", "Q", bias=False)`.

    `per` names axes with weights of their own (groups, heads); equal `key`s share one weight; a `frozen` map
    is not trained.
    """
    return _make("linear", name, spec=spec, bias=bias, per=per, key=key, frozen=frozen)


def embed(spec: str, name: str = "", *, key: str = "", frozen: bool = False) -> Apply:
    """Learned table look-up: `embed("v -> m")` on indices below v."""
    return _make("embed", name, spec=spec, key=key, frozen=frozen)


def positions(spec: str, name: str = "", *, key: str = "") -> Apply:
    """Learned vector for each position: `positions("x -> m")`."""
    return _make("positions", name, spec=spec, key=key)


def scale(factor: str | int, name: str = "") -> Apply:
    """Multiplication by a number that may depend on sizes: `scale("k**(-1/2)")`."""
    return _make("scale", name, factor=str(factor))


def reduce(how: str, axes: str, name: str = "") -> Apply:
    """`reduce("mean", "x")`: sum, mean, max, min, prod or logsumexp over axes."""
    return _make("reduce", name, how=how, axes=axes)


def total(axes: str, name: str = "") -> Apply:
    """Sum over axes."""
    return _make("reduce", name, how="sum", axes=axes)


def mean(axes: str, name: str = "") -> Apply:
    """Mean over axes."""
    return _make("reduce", name, how="mean", axes=axes)


def maximum(axes: str, name: str = "") -> Apply:
    """Maximum over axes."""
    return _make("reduce", name, how="max", axes=axes)


def softmax(axes: str, name: str = "") -> Apply:
    """Softmax over the named axes together."""
    return _make("softmax", name, axes=axes)


def norm(
    axes: str, name: str = "", *, per: str = "", eps: float = 1e-5, affine: bool = True, key: str = ""
) -> Apply:
    """Layer normalisation over axes (Ba et al. 2016, arXiv 1607.06450), with learned weight and bias.

    Weights are over the same axes, or over `per`: `norm("c x", per="g c")` within groups g is group norm (Wu
    & He 2018, arXiv 1803.08494).
    """
    return _make("norm", name, axes=axes, how="layer", per=per, eps=eps, affine=affine, key=key)


def rms_norm(axes: str, name: str = "", *, eps: float = 1e-5, affine: bool = True, key: str = "") -> Apply:
    """Root-mean-square normalisation over axes (Zhang & Sennrich 2019, arXiv 1910.07467), with learned
    weight.
    """
    return _make("norm", name, axes=axes, how="rms", eps=eps, affine=affine, key=key)


def batch_norm(
    per: str, over: str = "", name: str = "", *, eps: float = 1e-5, affine: bool = True, key: str = ""
) -> Apply:
    """Batch normalisation per channel (Ioffe & Szegedy 2015, arXiv 1502.03167).

    `over` names the batch axis where it is drawn.
    """
    return _make("norm", name, axes=over, how="batch", per=per, eps=eps, affine=affine, key=key)


def mask(relation: str, name: str = "", *, fill: str = "-inf") -> Apply:
    """Keeps elements whose indices satisfy a relation: `mask("x <= y")` is the causal mask."""
    return _make("mask", name, relation=relation, fill=fill)


def dropout(p: float = 0.1, name: str = "") -> Apply:
    """Zeroes elements with probability p in training (Srivastava et al. 2014)."""
    return _make("dropout", name, p=p)


def merge(*axes: str, name: str = "") -> Apply:
    """Axes become one: `merge("x y -> f")`; `merge("x", "w")` merges w into x."""
    return _make(
        "merge", name, spec=axes[0] if len(axes) == 1 else f"{' '.join(axes)} -> {' '.join(axes[:1])}"
    )


def split(spec: str, name: str = "") -> Apply:
    """One axis becomes several: `split("f -> h k=64")`."""
    return _make("split", name, spec=spec)


def concat(axis: str, name: str = "") -> Apply:
    """Arrays one after the other along an axis."""
    return _make("concat", name, axis=axis)


def slice_(axis: str, start: int = 0, stop: int | None = None, name: str = "") -> Apply:
    """Positions start…stop-1 of an axis (`nbkit.slice`)."""
    return _make("slice", name, axis=axis, start=start, stop=stop)


def index(axis: str, position: int, name: str = "") -> Apply:
    """One position of an axis, which ends: `index("x", -1)`."""
    return _make("slice", name, axis=axis, start=position, drop=True)


def rename(spec: str = "", name: str = "", /, **names: str) -> Apply:
    """New names for axes: `rename(x="y")`."""
    return _make("rename", name, spec=spec or f"{' '.join(names)} -> {' '.join(names.values())}")


def transpose(axes: str, name: str = "") -> Apply:
    """The named axes in this order."""
    return _make("transpose", name, axes=axes)


def window(
    axis: str = "x",
    size: int = 3,
    stride: int = 1,
    *,
    dilation: int = 1,
    padding: int | str = "same",
    name: str = "w",
    fill: str = "0",
) -> Apply:
    """Sliding windows over an axis: x becomes window positions, and a new axis `name` runs inside them."""
    return _make(
        "window",
        axis=axis,
        size=size,
        stride=stride,
        dilation=dilation,
        padding=str(padding),
        name=name,
        fill=fill,
    )


def fold(
    axis: str = "x",
    name: str = "w",
    stride: int = 1,
    *,
    dilation: int = 1,
    padding: int | str = "same",
    extra: int = 0,
) -> Apply:
    """Overlapping windows added up, the adjoint of `window`: axes x and w become x.

    A transposed convolution is `linear("c -> w=2 c=n") >> fold("x", "w", 2)`.
    """
    return _make(
        "fold", axis=axis, name=name, stride=stride, dilation=dilation, padding=str(padding), extra=extra
    )


def expand(axes: str, name: str = "") -> Apply:
    """New axes along which the array is the same everywhere: `expand("w=2")`."""
    return _make("expand", name, axes=axes)


def gather(axis: str = "n", name: str = "") -> Apply:
    """Elements of an axis by index: `gather("n")` takes R[n m] and N(n)[e] and gives R[e m]."""
    return _make("gather", name, axis=axis)


def scatter(axis: str = "n", over: str = "e", how: str = "sum", name: str = "") -> Apply:
    """Elements collected by index: `scatter("n", "e")` takes R[e m] and N(n)[e] and gives R[n m].

    `how`: "sum", "mean" or "max" of those that point to one place.
    """
    return _make("scatter", name, axis=axis, over=over, how=how)


def topk(axis: str = "e", k: int = 1, places: str = "j", name: str = "") -> Apply:
    """The k largest along an axis, and their indices: `topk("e", 2)` gives R[j=2] and N(e)[j=2]."""
    return _make("topk", name, axis=axis, k=k, name=places)


def one_hot(axis: str = "v", name: str = "") -> Apply:
    """Indices as unit vectors: N(v)[x] becomes R[x v]."""
    return _make("one_hot", name, axis=axis)


def indices(axis: str = "x", name: str = "") -> Apply:
    """The positions of an axis, 0 … x-1, as indices N(x)[x]; the values of its input are not read."""
    return _make("indices", name, axis=axis)


def parameter(
    axes: str, name: str = "", *, init: str = "normal", trainable: bool = True, key: str = ""
) -> Apply:
    """A learned array, or a fixed one when not `trainable`; the values of its input are not read."""
    return _make("parameter", name, axes=axes, init=init, trainable=trainable, key=key)


def constant(value: float, axes: str = "", name: str = "") -> Apply:
    """An array that is one number everywhere; the values of its input are not read."""
    return _make("constant", name, value=value, axes=axes)


def cast(to: str, name: str = "") -> Apply:
    """Indices as real numbers, `cast("R")`, or real numbers as indices below a bound, `cast("N(v)")`."""
    return _make("cast", name, to=to)


def pullback(
    of: str, name: str = "", *, how: str = "", axes: str = "", per: str = "", eps: float = 1e-5
) -> Apply:
    """The gradient at a function's argument, from a value of the forward pass and the gradient at its result:
    `pullback("softmax", axes="x")` on (p, dy).
    """
    return _make("pullback", name, of=of, how=how, axes=axes, per=per, eps=eps)
