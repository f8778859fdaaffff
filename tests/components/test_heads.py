"""Grouped, multi-query and cross attention against torch's own: outputs and gradients in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nbkit import ParseError
from nbkit.build import build_torch
from nbkit.components import cross_attention, grouped_query_attention, multi_query_attention
from tests.build.oracles import assert_same, randn

both = pytest.mark.parametrize("peepholes", [True, False])


def heads(x: Tensor, weight: Tensor, count: int) -> Tensor:
    """`… x m` to `… count x k`."""
    return F.linear(x, weight).unflatten(-1, (count, -1)).transpose(-2, -3)


@both
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("count", "groups"), [(8, 2), (4, 4), (4, 1)])
def test_grouped_queries_are_torch_enable_gqa(count: int, groups: int, causal: bool, peepholes: bool) -> None:
    x_size = 5 if causal else 7
    d = grouped_query_attention(count, groups, causal=causal).on(f"y=5 m=16, x={x_size} m=16")
    net = build_torch(d, seed=0, peepholes=peepholes).double()
    weights = [net.get_parameter(f"{name}.weight") for name in "QKVO"]

    def reference(y: Tensor, x: Tensor) -> Tensor:
        q, k, v = (
            heads(a, w, n) for a, w, n in zip((y, x, x), weights, (count, groups, groups), strict=False)
        )
        out = F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
        return F.linear(out.transpose(-2, -3).flatten(-2), weights[3])

    inputs = (randn(3, 5, 16), randn(3, x_size, 16, seed=1))
    assert_same(net, reference, inputs, [(w, w) for w in weights])


@both
def test_multi_query_attention_has_one_head_of_keys(peepholes: bool) -> None:
    net = build_torch(multi_query_attention(4).on("y m=16, x m=16"), seed=0, peepholes=peepholes).double()
    weights = [net.get_parameter(f"{name}.weight") for name in "QKVO"]
    assert [tuple(w.shape) for w in weights] == [(16, 16), (4, 16), (4, 16), (16, 16)]

    def reference(y: Tensor, x: Tensor) -> Tensor:
        q, k, v = (heads(a, w, n) for a, w, n in zip((y, x, x), weights, (4, 1, 1), strict=False))
        out = torch.softmax(q @ k.transpose(-1, -2) / 2, -1) @ v
        return F.linear(out.transpose(-2, -3).flatten(-2), weights[3])

    assert_same(net, reference, (randn(3, 5, 16), randn(3, 7, 16, seed=1)), [(w, w) for w in weights])


@both
def test_cross_attention_is_torch_attention_with_other_features(peepholes: bool) -> None:
    net = build_torch(cross_attention(4).on("y m=16, x n=6"), seed=0, peepholes=peepholes).double()
    right = torch.nn.MultiheadAttention(16, 4, kdim=6, vdim=6, batch_first=True, dtype=torch.float64)
    pairs = []
    with torch.no_grad():
        for name, theirs in zip(
            "QKV", (right.q_proj_weight, right.k_proj_weight, right.v_proj_weight), strict=True
        ):
            theirs.copy_(net.get_parameter(f"{name}.weight"))
            pairs.append((net.get_parameter(f"{name}.weight"), theirs))
        right.in_proj_bias.copy_(torch.cat([net.get_parameter(f"{name}.bias") for name in "QKV"]))
        right.out_proj.load_state_dict(net.get_submodule("O").state_dict())

    def reference(y: Tensor, x: Tensor) -> Tensor:
        return right(y, x, x, need_weights=False)[0]

    assert_same(net, reference, (randn(3, 5, 16), randn(3, 7, 6, seed=1)), pairs)


def test_heads_that_cannot_be_shared() -> None:
    with pytest.raises(ParseError) as caught:
        grouped_query_attention(6, 4)
    assert str(caught.value) == (
        "grouped_query_attention: 4 groups cannot share 6 heads equally; choose a divisor"
    )
