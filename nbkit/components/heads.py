"""Attention that shares its keys and values among heads, and attention from one array to another.

Axes: y queries, x keys and values, m and n features, h heads, g queries that share one head's keys and
values, k features of a head. What keys and values do not have is woven over the queries alone.
"""

from __future__ import annotations

from typing import Any

from nbkit.components.basic import check_counts, size
from nbkit.components.transformer import check_heads, dot_product_attention
from nbkit.language import Fn, ParseError
from nbkit.language.decorator import diagram
from nbkit.language.palette import linear
from nbkit.language.trace import Traced


def grouped_query_attention(
    heads: int = 8,
    groups: int = 2,
    head_size: int | str | None = None,
    *,
    causal: bool = False,
    bias: bool = False,
    dropout: float = 0.0,
) -> Fn:
    """Attention in which several heads of queries share the keys and values of one: Q_hg asks K_h, V_h.

    out[y] = O · [softmax_x(Q_hg y · K_h x / √k) · V_h x]_hg

    Axes: `heads` heads of queries are h = `groups` heads of keys and values times g = heads / groups queries
    of each. K and V lack the axis g: it is woven over the whole of the attention from the queries alone.
    Source: Ainslie et al. 2023, "GQA" (arXiv 2305.13245), section 2.2; used in Llama 2 and Mistral. Its
    attention is `torch.nn.functional.scaled_dot_product_attention(…, enable_gqa=True)`.

    >>> d = grouped_query_attention(8, 2).on("y m=512, x m=512")
    >>> print(d)
    grouped_query_attention: R[y m=512], R[x m=512] -> R[y m=512]
    >>> print(d["Q"].outputs[0], "asks", d["K"].outputs[0])
    R[y h=2 g=4 k=64] asks R[x h=2 k=64]
    """
    check_counts("grouped_query_attention", heads=heads, groups=groups)
    if heads % groups:
        raise ParseError(
            f"grouped_query_attention: {groups} groups cannot share {heads} heads equally; choose a divisor"
        )
    each = f"k=m/{heads}" if head_size is None else f"k={size(head_size, 'head_size')}"
    core = dot_product_attention(causal=causal, dropout=dropout)

    @diagram("y m, x m -> y m")
    def grouped_query_attention(y: Traced, x: Traced) -> Any:
        check_heads(y, heads, head_size)
        q = linear(f"m -> h={groups} g={heads // groups} {each}", "Q", bias=bias)(y)
        keys = linear(f"m -> h={groups} {each}", "K", bias=bias)(x)
        values = linear(f"m -> h={groups} {each}", "V", bias=bias)(x)
        return linear("h g k -> m", "O", bias=bias)(core(q, keys, values))

    return grouped_query_attention


def multi_query_attention(
    heads: int = 8,
    head_size: int | str | None = None,
    *,
    causal: bool = False,
    bias: bool = False,
    dropout: float = 0.0,
) -> Fn:
    """Attention in which all heads share one set of keys and values: Q_h asks K, V.

    out[y] = O · [softmax_x(Q_h y · K x / √k) · V x]_h

    Axes: h heads, of queries only; K and V lack them.
    Source: Shazeer 2019, "Fast Transformer Decoding: One Write-Head is All You Need" (arXiv 1911.02150),
    section 3.

    >>> d = multi_query_attention(8).on("y m=512, x m=512")
    >>> print(d["Q"].outputs[0], "asks", d["K"].outputs[0])
    R[y h=8 k=64] asks R[x k=64]
    """
    check_counts("multi_query_attention", heads=heads)
    each = f"k=m/{heads}" if head_size is None else f"k={size(head_size, 'head_size')}"
    core = dot_product_attention(causal=causal, dropout=dropout)

    @diagram("y m, x m -> y m")
    def multi_query_attention(y: Traced, x: Traced) -> Any:
        check_heads(y, heads, head_size)
        q = linear(f"m -> h={heads} {each}", "Q", bias=bias)(y)
        keys = linear(f"m -> {each}", "K", bias=bias)(x)
        values = linear(f"m -> {each}", "V", bias=bias)(x)
        return linear("h k -> m", "O", bias=bias)(core(q, keys, values))

    return multi_query_attention


def cross_attention(
    heads: int | str | None = None,
    head_size: int | str | None = None,
    *,
    context: str = "n",
    bias: bool = True,
    dropout: float = 0.0,
) -> Fn:
    """Multi-head attention from one array to another that has features of its own.

    out[y] = O · [attention(Q_h y, K_h x, V_h x)]_h

    Axes: y queries with m features, x keys and values with n features (`context`): text that an image asks
    about, an encoder's memory that a decoder asks about. Heads as in `multi_head_attention`.
    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.2.3; with other features as in Rombach et al.
    2022 (arXiv 2112.10752), section 3.3.

    >>> print(cross_attention(8).on("y m=320, x n=768"))
    cross_attention: R[y m=320], R[x n=768] -> R[y m=320]
    """
    shared = "h" if heads is None else f"h={size(heads, 'heads')}"
    each = "k" if heads is None else f"k=m/({heads})"
    if head_size is not None:
        each = f"k={size(head_size, 'head_size')}"
    core = dot_product_attention(dropout=dropout)

    @diagram(f"y m, x {context} -> y m")
    def cross_attention(y: Traced, x: Traced) -> Any:
        check_heads(y, heads, head_size)
        q = linear(f"m -> {shared} {each}", "Q", bias=bias)(y)
        keys = linear(f"{context} -> {shared} k", "K", bias=bias)(x)
        values = linear(f"{context} -> {shared} k", "V", bias=bias)(x)
        return linear("h k -> m", "O", bias=bias)(core(q, keys, values))

    return cross_attention
