"""Residuals, multilayer perceptrons, embeddings: what larger components are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nbkit.language import Fn, ParseError
from nbkit.language.decorator import Traceable
from nbkit.language.functions import Named, as_fn, block, skip
from nbkit.language.palette import dropout as dropout_op
from nbkit.language.palette import elementwise, embed, linear, norm, positions, rms_norm
from nbkit.language.sizes import is_count, is_possible, parse_size


def residual(f: Fn | tuple[Fn, ...]) -> Fn:
    """A map beside which its input runs on: y = x + f(x).

    Source: He et al. 2016, "Identity Mappings in Deep Residual Networks" (arXiv 1603.05027), equation 1.

    >>> print(residual(mlp(256)).on("x m=64"))
    diagram: R[x m=64] -> R[x m=64]
    """
    return skip + as_fn(f)


def activation(name: str) -> Fn:
    """A scalar function by name: relu, gelu, tanh, sigmoid, silu, square, exp, abs, neg.

    `ParseError` names the nearest one that exists.

    >>> activation("gelu")
    gelu
    """
    return elementwise(name)


def normalisation(kind: str, axis: str = "m") -> Fn:
    """Normalisation over an axis: "layer" (Ba et al. 2016, arXiv 1607.06450) or "rms" (Zhang & Sennrich
    2019).

    layer: (x - E x) / √(Var x + ε) · w + b        rms: x / √(E x² + ε) · w

    >>> normalisation("rms")
    rms_norm('m')
    """
    if kind == "layer":
        return norm(axis)
    if kind == "rms":
        return rms_norm(axis)
    raise ParseError(
        f"normalisation knows 'layer' and 'rms', not {kind!r}; batch norm is norm_activate('batch')"
    )


def mlp(
    hidden: int | str = "4*m",
    *,
    activation: str = "gelu",
    bias: bool = True,
    dropout: float = 0.0,
    axis: str = "m",
) -> Fn:
    """The position-wise feed-forward network of a transformer: y = W₂ · g(W₁ · x + b₁) + b₂.

    Axes: m features (`axis`), f hidden units (`hidden`: a number, or an expression in sizes such as "4*m").
    Source: Vaswani et al. 2017 (arXiv 1706.03762), equation 2; g = GELU since GPT-1 (arXiv 1606.08415).

    >>> print(mlp("4*m").on("x m=64"))
    mlp: R[x m=64] -> R[x m=64]
    >>> mlp(256).on("x m=64")["up"].outputs[0]["f"].size
    256
    """
    inside = linear(f"{axis} -> f={size(hidden, 'hidden')}", "up", bias=bias) >> elementwise(activation)
    if dropout:
        inside >>= dropout_op(dropout)
    return block("mlp", inside >> linear(f"f -> {axis}", "down", bias=bias))


def perceptron(
    inputs: str, hidden: Sequence[int], outputs: str, *, activation: str = "relu", bias: bool = True
) -> Fn:
    """A multilayer perceptron from some axes to others: y = W_n · g(… g(W₁ · x + b₁) …) + b_n.

    Axes: `inputs` and `outputs` as in a specification ("i j", "c=10"); h1, h2 … hidden units (h if one
    layer).
    Source: Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating errors".

    >>> print(perceptron("i j", [128, 64], "c=10").on("i=8 j=8"))
    diagram: R[i=8 j=8] -> R[c=10]
    """
    names = ["h"] if len(hidden) == 1 else [f"h{i + 1}" for i in range(len(hidden))]
    before = inputs
    layers: list[Fn] = []
    for name, units in zip(names, hidden, strict=True):
        layers += [linear(f"{before} -> {name}={size(units, 'hidden')}", bias=bias), elementwise(activation)]
        before = name
    network: Fn = linear(f"{before} -> {outputs}", bias=bias)
    for layer in reversed(layers):
        network = layer >> network
    return network


def embedding(vocabulary: str = "v", features: str = "m", *, axis: str = "x", key: str = "") -> Fn:
    """Learned token vectors plus learned position vectors: y[x, m] = E[token[x], m] + P[x, m].

    Axes: x positions (`axis`), v vocabulary, m features; `features` may give the size, as in "m=64". With a
    `key`, a later `linear("m -> v", key=…)` shares the table.
    Source: Vaswani et al. 2017 (arXiv 1706.03762), sections 3.4 and 3.5; learned positions as in GPT (Radford
    et al. 2018).

    >>> print(embedding("v", "m=64").on("N(97)[x=3]"))
    embedding: N(97)[x=3] -> R[x=3 m=64]
    """
    return block(
        "embedding",
        embed(f"{vocabulary} -> {features}", "tokens", key=key) + positions(f"{axis} -> {features}"),
    )


def called(name: str, fn: Fn) -> Fn:
    """A block under another name: what one component is called inside another.

    >>> print(called("feed_forward", mlp("4*m")).on("x m=64"))
    feed_forward: R[x m=64] -> R[x m=64]
    """
    return replace(fn, name=name) if isinstance(fn, Named | Traceable) else fn.named(name)


def size(value: int | str, what: str) -> str:
    """The text of a size that was given as a number or as an expression; `ParseError` if it is neither.

    >>> size(64, "hidden"), size("4*m", "hidden")
    ('64', '4*m')
    """
    text = str(value).replace(" ", "")
    if isinstance(value, float | bool) or not is_possible(parse_size(text)):
        raise ParseError(f'{what} must be a positive integer, or a size such as "4*m"; found {value!r}')
    return text


def check_counts(what: str, least: int = 1, /, **numbers: int | str) -> None:
    """`ParseError` unless each number is an integer, and at least 1 (or `least`).

    >>> check_counts("conv", n=64)
    """
    for name, number in numbers.items():
        if not is_count(number) or int(number) < least:
            wanted = "a positive integer" if least == 1 else f"an integer of at least {least}"
            raise ParseError(f"{what}: {name} must be {wanted}, found {str(number)[:40]}")
