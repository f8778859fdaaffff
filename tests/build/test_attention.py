"""Attention and transformers against torch's own: outputs and gradients in float64, weights copied."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nbkit import DiagramError, Fn, diagram, dropout, einsum, mask, rename, scale, skip, softmax
from nbkit.build import build_torch
from nbkit.components import attention, causal_attention, multi_head_attention, transformer_block
from tests.build.oracles import assert_same, copy, randn

both = pytest.mark.parametrize("peepholes", [True, False])


@both
@pytest.mark.parametrize(
    ("axes", "to_torch", "from_torch"),
    [
        ("{} k=8", (0, 1, 2), (0, 1, 2)),  # B y k
        ("h=3 {} k=8", (0, 1, 2, 3), (0, 1, 2, 3)),  # B h y k
        ("{} h=3 k=8", (0, 2, 1, 3), (0, 1, 2, 3)),  # heads woven behind; the result has them in front
        ("k=8 {} h=3", (0, 3, 2, 1), (0, 1, 2, 3)),
        ("g=2 {} h=3 k=8", (0, 1, 3, 2, 4), (0, 1, 2, 3, 4)),
    ],
)
@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_torch_attention(
    axes: str, to_torch: tuple[int, ...], from_torch: tuple[int, ...], causal: bool, peepholes: bool
) -> None:
    sizes = {"y": 5, "x": 5 if causal else 7}
    spec = ", ".join(axes.format(f"{a}={sizes[a]}") for a in "yxx")
    net = build_torch((causal_attention if causal else attention).on(spec), peepholes=peepholes)
    assert ("scaled_dot_product_attention" in net.plan) == peepholes
    shapes = [
        (2, *(int(part.partition("=")[2]) for part in axes.format(f"{a}={sizes[a]}").split())) for a in "yxx"
    ]
    inputs = tuple(randn(*shape, seed=i) for i, shape in enumerate(shapes))

    def reference(*xs: torch.Tensor) -> torch.Tensor:
        q, k, v = (x.permute(to_torch) for x in xs)
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal).permute(from_torch)

    assert_same(net, reference, inputs)


@both
def test_sizes_may_be_read_off_the_inputs(peepholes: bool) -> None:
    net = attention.on("h y k, h x k, h x k").torch(peepholes=peepholes)
    assert "q.shape[-1] ** -0.5" in net.code
    for y, x, k in ((3, 4, 5), (6, 2, 7)):
        q, key, v = randn(2, 3, y, k), randn(2, 3, x, k, seed=1), randn(2, 3, x, k, seed=2)
        assert_same(net, F.scaled_dot_product_attention, (q, key, v))


def weighed(relation: str) -> Fn:
    @diagram("y k, x k, x k -> y k")
    def masked(q: Any, k: Any, v: Any) -> Any:
        weights = einsum("y k, x k -> y x")(q, k) >> scale("1/2") >> mask(relation) >> softmax("x")
        return einsum("y x, x k -> y k")(weights, v)

    return masked


@both
@pytest.mark.parametrize(
    ("relation", "where"),
    [
        ("x <= y", lambda y, x: x <= y),
        ("y >= x", lambda y, x: x <= y),
        ("x <= y and y - x < 3", lambda y, x: (x <= y) & (y - x < 3)),
        ("abs(x - y) <= 1", lambda y, x: (x - y).abs() <= 1),
        ("x != 2", lambda y, x: (x != 2) & (y >= 0)),
    ],
)
def test_masks(relation: str, where: Any, peepholes: bool) -> None:
    net = build_torch(weighed(relation).on("h y=6 k, h x=6 k, h x=6 k"), peepholes=peepholes)
    assert ("is_causal=True" in net.code) == (peepholes and relation in ("x <= y", "y >= x"))
    allowed = where(torch.arange(6)[:, None], torch.arange(6)[None, :])
    inputs = tuple(randn(2, 3, 6, 4, seed=i) for i in range(3))
    assert_same(net, F.scaled_dot_product_attention, inputs, attn_mask=allowed, scale=0.5)


@both
def test_a_mask_may_speak_of_heads(peepholes: bool) -> None:
    net = build_torch(weighed("x <= y + h").on("h=3 y=5 k=4, h=3 x=6 k=4, h=3 x=6 k=4"), peepholes=peepholes)
    h, y, x = torch.meshgrid(torch.arange(3), torch.arange(5), torch.arange(6), indexing="ij")
    inputs = (randn(2, 3, 5, 4), randn(2, 3, 6, 4, seed=1), randn(2, 3, 6, 4, seed=2))
    assert_same(net, F.scaled_dot_product_attention, inputs, attn_mask=x <= y + h, scale=0.5)


@both
def test_a_mask_that_hides_everything_is_explained(peepholes: bool) -> None:
    net = build_torch(weighed("x < y").on("y=4 k=2, x=4 k=2, x=4 k=2"), peepholes=peepholes)
    with pytest.raises(DiagramError) as caught:
        net(torch.zeros(4, 2), torch.zeros(4, 2), torch.zeros(4, 2))
    assert str(caught.value) == (
        "mask 'x < y' leaves nothing to attend to at y=0: the softmax over x would be 0/0\n"
        '  let every position see at least one other, as in mask("x <= y")'
    )


def test_a_mask_is_made_once_and_not_in_inference_mode_only() -> None:
    net = build_torch(weighed("abs(x - y) <= 1").on("y=5 k=2, x=5 k=2, x=5 k=2"), peepholes=False)
    inputs = tuple(torch.randn(5, 2) for _ in range(3))
    with torch.inference_mode():
        expected = net(*inputs)
    leaves = tuple(x.clone().requires_grad_() for x in inputs)
    out = net(*leaves)
    out.sum().backward()
    torch.testing.assert_close(out.detach(), expected.clone())


@both
@pytest.mark.parametrize("shared", ["h", "g", "h g"])
def test_keys_and_values_may_lack_an_axis(shared: str, peepholes: bool) -> None:
    """Grouped and multi-query attention: queries have heads that keys and values do not have."""
    sizes = {"h": 3, "g": 2}
    kept = [a for a in "hg" if a not in shared.split()]
    key = " ".join([*(f"{a}={sizes[a]}" for a in kept), "x=6 k=4"])
    net = build_torch(attention.on(f"h=3 g=2 y=5 k=4, {key}, {key}"), peepholes=peepholes)
    assert ("scaled_dot_product_attention" in net.plan) == peepholes
    shape = [sizes[a] for a in kept]

    def reference(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        def spread(t: torch.Tensor) -> torch.Tensor:
            return t.reshape(2, *(sizes[a] if a in kept else 1 for a in "hg"), 6, 4).expand(2, 3, 2, 6, 4)

        return F.scaled_dot_product_attention(q, spread(k), spread(v))

    inputs = (randn(2, 3, 2, 5, 4), randn(2, *shape, 6, 4, seed=1), randn(2, *shape, 6, 4, seed=2))
    assert_same(net, reference, inputs)


@both
def test_attention_over_an_image(peepholes: bool) -> None:
    """Queries and keys over image axes: both are flattened for the kernel and unfolded again."""
    net = build_torch(attention.on("y:2=3 k=4, x:2=2 k=4, x:2=2 k=4"), peepholes=peepholes)
    assert ("scaled_dot_product_attention" in net.plan) == peepholes

    def reference(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(*(t.flatten(1, 2) for t in (q, k, v))).view(2, 3, 3, 4)

    assert_same(net, reference, (randn(2, 3, 3, 4), randn(2, 2, 2, 4, seed=1), randn(2, 2, 2, 4, seed=2)))


@both
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_attention_is_torch_multi_head_attention(
    cross: bool, causal: bool, peepholes: bool
) -> None:
    m, h, y, x = 12, 3, 5, 5 if causal else 7
    net = build_torch(
        multi_head_attention(h, causal=causal).on(f"y={y} m={m}, x={x} m={m}"), peepholes=peepholes
    ).double()
    theirs = nn.MultiheadAttention(m, h, batch_first=True, dtype=torch.float64)
    nn.init.normal_(theirs.in_proj_bias), nn.init.normal_(theirs.out_proj.bias)
    rows = dict(zip("QKV", theirs.in_proj_weight.chunk(3), strict=True))
    biases = dict(zip("QKV", theirs.in_proj_bias.chunk(3), strict=True))
    copy(
        {
            **{f"{n}.weight": rows[n] for n in "QKV"},
            **{f"{n}.bias": biases[n] for n in "QKV"},
            "O.weight": theirs.out_proj.weight,
            "O.bias": theirs.out_proj.bias,
        },
        net,
    )
    hidden = torch.ones(y, x, dtype=torch.bool).triu(1) if causal else None

    def reference(q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
        return theirs(q, kv, kv, attn_mask=hidden, need_weights=False)[0]

    query, keys = randn(2, y, m), randn(2, x, m, seed=1)
    assert_same(
        net,
        reference,
        (query, keys),
        [(net.O.weight, theirs.out_proj.weight), (net.O.bias, theirs.out_proj.bias)],
    )
    for number, name in enumerate("QKV"):
        weight = net.get_parameter(f"{name}.weight")
        mine = torch.autograd.grad(net(query, keys).square().sum(), weight)[0]
        right = torch.autograd.grad(reference(query, keys).square().sum(), theirs.in_proj_weight)[0]
        torch.testing.assert_close(mine, right.chunk(3)[number], rtol=1e-9, atol=1e-10)


@both
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_transformer_block_is_torch_encoder_layer(activation: str, peepholes: bool) -> None:
    m, h, f = 16, 4, 24
    d = transformer_block(heads=h, hidden=f, activation=activation).on(f"x m={m}")
    net = build_torch(d, peepholes=peepholes).double()
    theirs = nn.TransformerEncoderLayer(
        m, h, f, dropout=0.0, activation=activation, batch_first=True, norm_first=True, dtype=torch.float64
    )
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    attend = theirs.self_attn
    table = {
        "norm.weight": theirs.norm1.weight, "norm.bias": theirs.norm1.bias,
        "norm_2.weight": theirs.norm2.weight, "norm_2.bias": theirs.norm2.bias,
        "mlp.up.weight": theirs.linear1.weight, "mlp.up.bias": theirs.linear1.bias,
        "mlp.down.weight": theirs.linear2.weight, "mlp.down.bias": theirs.linear2.bias,
        "multi_head_attention.O.weight": attend.out_proj.weight,
        "multi_head_attention.O.bias": attend.out_proj.bias,
    }  # fmt: skip
    packed = {
        f"multi_head_attention.{n}.{kind}": part
        for kind, whole in (("weight", attend.in_proj_weight), ("bias", attend.in_proj_bias))
        for n, part in zip("QKV", whole.chunk(3), strict=True)
    }
    copy(table | packed, net)
    assert_same(net, theirs, (randn(2, 5, m),), [(net.get_parameter(n), p) for n, p in table.items()])


def test_a_wire_that_is_used_elsewhere_is_computed() -> None:
    @diagram("y k, x k, x k -> y k, y x")
    def looked_at(q: Any, k: Any, v: Any) -> Any:
        weights = einsum("y k, x k -> y x")(q, k) >> softmax("x")
        return einsum("y x, x k -> y k")(weights, v), weights

    net = build_torch(looked_at.on("y=3 k=2, x=4 k=2, x=4 k=2"))
    assert "scaled_dot_product_attention" not in net.plan
    out, weights = net(*(torch.randn(n, 2) for n in (3, 4, 4)))
    assert out.shape == (3, 2)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3))


def test_dropout_inside_attention_is_the_kernels() -> None:
    @diagram("y k, x k, x k -> y k")
    def dropped(q: Any, k: Any, v: Any) -> Any:
        weights = einsum("y k, x k -> y x")(q, k) >> softmax("x") >> dropout(0.5)
        return einsum("y x, x k -> y k")(weights, v)

    d = dropped.on("y=40 k=2, x=50 k=2, x=50 k=2")
    fused, plain = build_torch(d), build_torch(d, peepholes=False)
    assert "dropout_p=0.5 if self.training else 0.0" in fused.code
    inputs = (torch.zeros(64, 40, 2), torch.zeros(64, 50, 2), torch.ones(64, 50, 2))
    for net in (fused, plain):
        out = net(*inputs)  # each output is the sum of 50 weights of 2/50 or 0
        assert abs(out.mean().item() - 1) < 0.02
        assert abs(out.var().item() - 1 / 50) < 0.005
        torch.testing.assert_close(net.eval()(*inputs), torch.ones(64, 40, 2))


@pytest.mark.parametrize(
    "build",
    [
        lambda: (rename(x="y"), skip) >> einsum("y k, x k -> y x") >> softmax("y"),  # over the wrong axis
        lambda: (rename(x="y"), skip) >> einsum("y k, x k -> y x") >> softmax("x y"),
        lambda: (
            (rename(x="y"), skip) >> einsum("y k, x k -> y x") >> mask("x <= y", fill="0") >> softmax("x")
        ),
        lambda: (
            (rename(x="y"), skip)
            >> einsum("y k, x k -> y x")
            >> mask("x <= y")
            >> scale("-1")
            >> softmax("x")
        ),
    ],
)
def test_what_only_looks_like_attention_is_left_alone(build: Any) -> None:
    fn = ((skip >> build()), skip) >> einsum("y x, x k -> y k")
    assert "scaled_dot_product_attention" not in build_torch(fn.on("x=4 k=3")).plan
