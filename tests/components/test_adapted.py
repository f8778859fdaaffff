"""Mixtures of experts and LoRA against hand-written torch: outputs and gradients in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nbkit import ParseError
from nbkit.build import build_torch
from nbkit.components import lora, mixture_of_experts
from tests.build.oracles import assert_same, randn

both = pytest.mark.parametrize("peepholes", [True, False])


def routed(weights: dict[str, Tensor], x: Tensor, k: int) -> Tensor:
    """Token by token, expert by expert, as Jiang et al. 2024 write it."""
    out = []
    for token in x.flatten(0, 1):
        top, which = (token @ weights["router"].T).topk(k)
        answer = torch.zeros_like(token)
        for gate, expert in zip(torch.softmax(top, -1), which.tolist(), strict=True):
            w1, w3, w2 = (weights[name][expert] for name in ("W1", "W3", "W2"))
            answer = answer + gate * (w2 @ (F.silu(w1 @ token) * (w3 @ token)))
        out.append(answer)
    return torch.stack(out).view_as(x)


@both
@pytest.mark.parametrize("compute", ["dense", "chosen"])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_mixture_of_experts_is_the_loop_over_tokens(compute: str, k: int, peepholes: bool) -> None:
    d = mixture_of_experts(4, k, 6, compute=compute).on("x=7 m=3")
    net = build_torch(d, seed=0, peepholes=peepholes).double()
    weights = {name: net.get_parameter(f"{name}.weight") for name in ("router", "W1", "W3", "W2")}
    assert weights["W1"].shape == (4, 6, 3)
    assert weights["W2"].shape == ((4, 3, 6))

    def reference(x: Tensor) -> Tensor:
        return routed(weights, x, k)

    assert_same(net, reference, (randn(2, 7, 3),), [(w, w) for w in weights.values()])


def test_the_dense_and_the_chosen_form_share_their_weights() -> None:
    dense, chosen = (
        mixture_of_experts(8, 2, 6, compute=c).on("x=7 m=3").torch(seed=0).double()
        for c in ("dense", "chosen")
    )
    chosen.load_state_dict(dense.state_dict())
    x = randn(2, 7, 3)
    torch.testing.assert_close(dense(x), chosen(x), rtol=0, atol=1e-12)


def test_an_unknown_way_to_compute() -> None:
    with pytest.raises(ParseError) as caught:
        mixture_of_experts(compute="sparse")
    assert str(caught.value) == "mixture_of_experts computes 'dense' or 'chosen', not 'sparse'"


@both
@pytest.mark.parametrize(
    ("spec", "inputs", "shape"),
    [("m -> n=5", "x=3 m=4", (3, 4)), ("m -> h=2 k=3", "x=3 m=4", (3, 4)), ("h k -> m=5", "h=2 k=2", (2, 2))],
)
def test_lora_is_one_map_with_a_changed_weight(spec, inputs, shape, peepholes: bool) -> None:
    net = build_torch(lora(spec, 2, 8).on(inputs), seed=0, peepholes=peepholes).double()
    w, a, b = (net.get_parameter(f"{name}.weight") for name in "WAB")
    bias = net.get_parameter("W.bias")
    assert not b.any(), "at first nothing is changed"
    assert not w.requires_grad
    assert not bias.requires_grad
    x = randn(2, *shape)
    flat = (lambda x: x) if spec.startswith("m") else (lambda x: x.flatten(-2))
    torch.testing.assert_close(net(x).flatten(-1), F.linear(flat(x), w, bias).view(net(x).shape).flatten(-1))

    with torch.no_grad():
        b.normal_()

    def reference(x: Tensor) -> Tensor:
        changed = w + 8 / 2 * b.reshape(-1, 2) @ a
        return F.linear(flat(x), changed, bias).view(net(x).shape)

    assert_same(net, reference, (x,), [(a, a), (b, b)])
