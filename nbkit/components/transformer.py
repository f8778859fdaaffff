"""Attention, multi-head attention, transformer blocks, GPT.

Axes: y queries, x keys and values, k features of a head, h heads, m features of the model, v vocabulary.
"""

from __future__ import annotations

from typing import Any

from sympy import Integer

from nbkit.components.basic import embedding, mlp, normalisation, residual, size
from nbkit.language import DiagramTypeError, Fn
from nbkit.language.decorator import diagram
from nbkit.language.functions import block, skip
from nbkit.language.palette import dropout as dropout_op
from nbkit.language.palette import einsum, linear, mask, rename, scale, softmax
from nbkit.language.sizes import format_size, is_count, is_possible
from nbkit.language.trace import Traced


def dot_product_attention(*, causal: bool = False, dropout: float = 0.0) -> Fn:
    """Scaled dot-product attention: softmax over x of (Q Kᵀ / √k), times V.

    out[y, k] = Σ_x softmax_x(Σ_k Q[y, k] · K[x, k] / √k) · V[x, k]

    Axes: y queries, x keys and values, k features. Every other axis (heads, batch, image axes) is woven
    around it. `causal`: a query sees no key after its own position (x ≤ y). `dropout`: share of the weights
    dropped in training.
    Source: Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762), equation 1; drawn as in
    Abbott 2024, figure 20.

    >>> print(dot_product_attention(causal=True).on("h y k, h x k, h x k"))
    attention: R[h y k], R[h x k], R[h x k] -> R[h y k]
    """
    weigh: Fn = scale("k**(-1/2)")
    if causal:
        weigh >>= mask("x <= y")
    weigh >>= softmax("x")
    if dropout:
        weigh >>= dropout_op(dropout)

    @diagram("y k, x k, x k -> y k")
    def attention(q: Traced, k: Traced, v: Traced) -> Any:
        """Scaled dot-product attention, softmax over x of (q kᵀ / √k), times v: see `dot_product_attention`.

        >>> from nbkit.components import attention
        >>> print(attention.on("h y k, h x k, h x k"))
        attention: R[h y k], R[h x k], R[h x k] -> R[h y k]
        """
        weights = einsum("y k, x k -> y x", "scores")(q, k) >> weigh
        return einsum("y x, x k -> y k", "mix")(weights, v)

    return attention


attention = dot_product_attention()
causal_attention = dot_product_attention(causal=True)


def multi_head_attention(
    heads: int | str | None = None,
    head_size: int | str | None = None,
    *,
    causal: bool = False,
    bias: bool = True,
    dropout: float = 0.0,
) -> Fn:
    """Attention in several learned subspaces at once: O · [attention(Q_h y, K_h x, V_h x)]_h.

    Axes: y queries, x keys and values, m features, h heads, k features of a head. The attention inside never
    mentions h, so it is woven over the heads. With `heads` given, k is m / h unless `head_size` says
    otherwise; with neither, h and k stay open. `bias`: of the four linear maps Q, K, V and O.
    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.2.2; drawn as in Abbott 2024, figure 21.

    >>> print(multi_head_attention(8).on("y m=512, x m=512"))
    multi_head_attention: R[y m=512], R[x m=512] -> R[y m=512]
    >>> multi_head_attention(8).on("y m=512, x m=512")["Q"].outputs[0]["k"].size
    64
    """
    if heads is None:
        shared, each = "h", "k"
    else:
        shared, each = f"h={size(heads, 'heads')}", f"k=m/({heads})"
    if head_size is not None:
        each = f"k={size(head_size, 'head_size')}"
    core = dot_product_attention(causal=causal, dropout=dropout)

    @diagram("y m, x m -> y m")
    def multi_head_attention(y: Traced, x: Traced) -> Any:
        check_heads(y, heads, head_size)
        q = linear(f"m -> {shared} {each}", "Q", bias=bias)(y)
        keys = linear(f"m -> {shared} {each}", "K", bias=bias)(x)
        values = linear(f"m -> {shared} {each}", "V", bias=bias)(x)
        return linear("h k -> m", "O", bias=bias)(core(q, keys, values))

    return multi_head_attention


def check_heads(wire: Traced, heads: int | str | None, head_size: int | str | None) -> None:
    """Heads that share the features among them must divide their number."""
    features = wire.type["m"].size
    if head_size is None and is_count(heads) and not is_possible(features / Integer(heads)):
        raise DiagramTypeError(
            f"in {' → '.join(wire.builder.path())}\n"
            f"  {heads} heads cannot share m={format_size(features)} features equally\n"
            f"  choose a number of heads that divides {format_size(features)}, or give head_size=…",
            path=wire.builder.path(),
        )


def self_attention(
    heads: int | str | None = None,
    head_size: int | str | None = None,
    *,
    causal: bool = False,
    bias: bool = True,
    dropout: float = 0.0,
) -> Fn:
    """Multi-head attention of an array to itself: the queries are a copy whose axis x is called y.

    Axes and settings are those of `multi_head_attention`.
    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.2.3.

    >>> print(self_attention(8, causal=True).on("x m=512"))
    diagram: R[x m=512] -> R[x m=512]
    """
    heads_ = multi_head_attention(heads, head_size, causal=causal, bias=bias, dropout=dropout)
    return (rename(x="y"), skip) >> heads_ >> rename(y="x")


def transformer_block(
    heads: int | str | None = None,
    head_size: int | str | None = None,
    hidden: int | str = "4*m",
    *,
    causal: bool = False,
    activation: str = "gelu",
    norm: str = "layer",
    bias: bool = True,
    dropout: float = 0.0,
) -> Fn:
    """A pre-norm transformer block: z = x + attention(norm x), then z + mlp(norm z).

    Axes: x positions, m features; inside, h heads of k features and f hidden units. `norm`: "layer" or "rms".
    Parts: `multi_head_attention.Q` … `.O`, `multi_head_attention.attention.softmax`, `mlp.up`, `mlp.down`.
    Source: Vaswani et al. 2017 (arXiv 1706.03762), figure 1; norms in front as in Xiong et al. 2020 (arXiv
    2002.04745), figure 1b. It is `torch.nn.TransformerEncoderLayer(norm_first=True)`.

    >>> print(transformer_block(heads=8).on("x m=512"))
    transformer_block: R[x m=512] -> R[x m=512]
    """
    attend: Fn = self_attention(heads, head_size, causal=causal, bias=bias, dropout=dropout)
    think: Fn = mlp(hidden, activation=activation, bias=bias, dropout=dropout)
    if dropout:
        attend, think = attend >> dropout_op(dropout), think >> dropout_op(dropout)
    return block(
        "transformer_block", residual(normalisation(norm) >> attend) >> residual(normalisation(norm) >> think)
    )


def last_position_block(
    heads: int | str | None = None,
    head_size: int | str | None = None,
    hidden: int | str = "4*m",
    *,
    activation: str = "gelu",
    norm: str = "layer",
    bias: bool = True,
) -> Fn:
    """What a `transformer_block` gives at the last position, computed there alone: the other queries are not
    asked.

    Axes: x positions, which end; y the one position that asks; m, h, k and f as in `transformer_block`. Keys
    and values are of all positions, so this is exactly `transformer_block(…) >> index("x", -1)`, for less
    work.
    Source: Vaswani et al. 2017 (arXiv 1706.03762), figure 1, with norms in front.

    >>> print(last_position_block(heads=4).on("x=3 m=64"))
    last_position_block: R[x=3 m=64] -> R[m=64]
    """
    attend = multi_head_attention(heads, head_size, bias=bias)
    think = residual(normalisation(norm) >> mlp(hidden, activation=activation, bias=bias))

    @diagram("x m -> m")
    def last_position_block(x: Traced) -> Any:
        normed = normalisation(norm)(x)
        stream, query = (wire["x", -1:].rename(x="y") for wire in (x, normed))
        return (stream + attend(query, normed) >> think)["y", 0]

    return last_position_block


def gpt(
    layers: int = 12,
    heads: int | str | None = None,
    head_size: int | str | None = None,
    hidden: int | str = "4*m",
    *,
    dropout: float = 0.0,
) -> Fn:
    """A causal language model: embedding, `layers` transformer blocks, norm, and the embedding's table once
    more.

    Axes: x positions, v vocabulary (of the input and of the logits that come out), m features. Give the sizes
    with the input: `.on("N(50257)[x=1024]", m=768)`.
    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2), section 2.3.

    >>> small = gpt(12, heads=12).on("N(50257)[x=1024]", m=768)
    >>> print(small)
    gpt: N(50257)[x=1024] -> R[x=1024 v=50257]
    >>> small.operations
    221
    """
    layer = transformer_block(heads, head_size, hidden, causal=True, dropout=dropout)
    start: Fn = embedding(key="table")
    if dropout:
        start >>= dropout_op(dropout)
    return block(
        "gpt",
        start
        >> layer**layers
        >> normalisation("layer")
        >> linear("m -> v", "logits", bias=False, key="table"),
    )
