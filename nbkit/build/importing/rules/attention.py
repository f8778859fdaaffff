"""Scaled dot-product attention: the fused call written out, so that the picture shows the pattern."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nbkit.build.importing.atoms import product
from nbkit.build.importing.cells import Const, Scope, Unsuitable, Value
from nbkit.build.importing.reader import Reader, rule
from nbkit.build.importing.rules.linear import contracted
from nbkit.build.importing.rules.masking import keeping
from nbkit.build.importing.rules.pointwise import added, exact, scaled


@rule("scaled_dot_product_attention")
def _attention(
    r: Reader, query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Value:  # fmt: skip
    q, k, v = (r.value(t) for t in (query, key, value))
    outside = r.stack
    key_ = f"{outside[-1].key if outside else ''}/attention{r.order}"
    r.stack = (*outside, Scope(key_, "attention", "Attention"))
    try:
        return _written_out(r, q, k, v, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    finally:
        r.stack = outside


def _written_out(
    r: Reader, q: Value, k: Value, v: Value, attn_mask: Any, dropout_p: float, is_causal: bool,
    scale: float | None, enable_gqa: bool,
) -> Value:  # fmt: skip
    rank = len(q.dims)
    if enable_gqa:
        k, v = (_shared_heads(t, q.sizes[-3]) for t in (k, v))
    width = product(q.dims[-1])
    batch = [("batch", i) for i in range(-rank, -2)]
    slots = [[*batch, "y", "k"], [*batch[rank - len(k.dims) :], "x", "k"]]
    settle = [*batch, "k", "x", "y"]
    scores = contracted(r, [q, k], slots, [*batch, "y", "x"], settle, name="scores")
    for atom in q.dims[-1]:
        atom.hint("k", 3)
    for atom in v.dims[-1]:
        atom.hint("k", 3)
    if not (width.is_Integer or scale is not None):
        raise Unsuitable("attention over an open width")
    scores = scaled(r, scores, f"{width}**(-1/2)" if scale is None else exact(scale) or scale)
    if is_causal:
        scores, y = r.whole(scores, rank - 2)
        scores, x = r.whole(scores, rank - 1)
        axes = {"y": [y], "x": [x]}
        wire = r.cell("mask", [scores.wire], scores.wire.atoms, axes, relation="x <= y", fill="-inf")
        scores = replace(scores, wire=wire)
    if isinstance(attn_mask, Const):
        if attn_mask.tensor.dtype.is_floating_point:
            scores = added(r, scores, attn_mask)
        else:
            scores = keeping(r, scores, attn_mask, "-inf")
    elif attn_mask is not None:
        scores = added(r, scores, attn_mask)
    weights = replace(
        scores, wire=r.cell("softmax", [scores.wire], scores.wire.atoms, {"axes": scores.dims[-1]})
    )
    if dropout_p:
        weights = r.like("dropout", weights, p=float(dropout_p))
    slots = [[*batch, "y", "x"], [*batch[rank - len(v.dims) :], "x", "k"]]
    return contracted(r, [weights, v], slots, [*batch, "y", "k"], [*batch, "x", "y", "k"], name="mix")


def _shared_heads(t: Value, heads: Any) -> Value:
    """Keys or values of which several queries' heads share one."""
    from nbkit.build.importing.atoms import fresh

    times = heads / product(t.dims[-3])
    if times == 1:
        return t
    return replace(t, dims=(*t.dims[:-3], (*t.dims[-3], fresh(times).hint("g", 3)), *t.dims[-2:]))
