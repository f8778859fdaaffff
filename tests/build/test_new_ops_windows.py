"""Folds, transposed convolutions, up-sampling, uneven windows and group norms against torch, in float64."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbkit import DiagramError, Fn, expand, fold, linear, maximum, merge, norm, relu, skip, split, window
from nbkit.build import build_torch
from tests.build.oracles import assert_same, randn

both = pytest.mark.parametrize("peepholes", [True, False])
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
SETTINGS = [  # rank, kernel, stride, padding, dilation, extra, groups
    *itertools.product((1,), (1, 2, 3), (1, 2, 3), (0, 1), (1, 2), (0, 1), (1, 2)),
    *itertools.product((2,), (2, 3, 4), (1, 2), (0, 1), (1, 2), (0, 1), (1, 2)),
    (3, 2, 2, 0, 1, 0, 1), (3, 3, 2, 1, 1, 1, 2), (3, 3, 1, 1, 2, 0, 1),
]  # fmt: skip


def possible(setting: tuple[int, ...]) -> bool:
    """What torch takes: less output padding than stride or dilation; and some output."""
    _, k, stride, padding, dilation, extra, _ = setting
    return extra < max(stride, dilation) and 3 * stride + dilation * (k - 1) + 1 - 2 * padding + extra > 0


def only_weight(net: nn.Module) -> nn.Parameter:
    ((_, weight),) = net.named_parameters()
    return weight


@both
@pytest.mark.parametrize(
    ("rank", "k", "stride", "padding", "dilation", "extra", "groups"), list(filter(possible, SETTINGS))
)
def test_linear_and_fold_are_torch_transposed_convolution(
    rank: int, k: int, stride: int, padding: int, dilation: int, extra: int, groups: int, peepholes: bool
) -> None:
    n = 4 if rank < 3 else 3
    slide = fold("x", "w", stride, dilation=dilation, padding=padding, extra=extra)
    fn = linear(f"c -> w:{rank}={k} c=3", bias=False, per="g" if groups > 1 else "") >> slide
    g = f"g={groups} " if groups > 1 else ""
    d = fn.on(f"{g}c=2 x:{rank}={n}")
    net = build_torch(d, seed=0, peepholes=peepholes).double()
    assert (f"linear + fold => conv_transpose{rank}d" in net.plan) == peepholes
    weight = only_weight(net)
    assert weight.shape == (2 * groups, 3, *[k] * rank)
    assert isinstance(net.linear, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[rank - 1])

    def reference(x: Tensor) -> Tensor:
        flat = x.flatten(1, 2) if groups > 1 else x
        y = TRANSPOSED[rank](flat, weight, None, stride, padding, extra, groups, dilation)
        return y.unflatten(1, (groups, -1)) if groups > 1 else y

    x = randn(2, *([groups] if groups > 1 else []), 2, *[n] * rank)
    assert_same(net, reference, (x,), [(weight, weight)])


@both
@pytest.mark.parametrize(
    ("k", "stride"), [(1, 1), (3, 1), (2, 2), (3, 2), (4, 2), (1, 2), (5, 3), (2, 3), (4, 1)]
)
@pytest.mark.parametrize("dilation", [1, 2])
def test_a_fold_is_the_adjoint_of_its_window(k: int, stride: int, dilation: int, peepholes: bool) -> None:
    """⟨fold(u), v⟩ = ⟨u, window(v)⟩ for all u, v, and the gradient of one is the other."""
    for padding in ("same", 0, 1, "2,1"):
        try:
            windows = window("x", k, stride, dilation=dilation, padding=padding).on("c=2 x:2=12")
        except DiagramError:
            continue  # nothing fits
        take = build_torch(windows, peepholes=peepholes)
        places = int(windows.outputs[0]["x"].size)
        reach = (places - 1) * stride + dilation * (k - 1) + 1
        extra = 0 if padding == "same" else 12 + sum(map(int, f"{padding},{padding}".split(",")[:2])) - reach
        add = build_torch(
            fold("x", "w", stride, dilation=dilation, padding=padding, extra=extra).on(
                f"c=2 x:2={places} w:2={k}"
            ),
            peepholes=peepholes,
        )
        u, v = randn(3, 2, places, places, k, k, seed=1), randn(3, 2, 12, 12, seed=2)
        assert add(u).shape == v.shape
        torch.testing.assert_close((add(u) * v).sum(), (u * take(v)).sum())
        (gradient,) = torch.autograd.grad((add(u) * v).sum(), u)
        torch.testing.assert_close(gradient, take(v))


@pytest.mark.parametrize(
    ("k", "stride", "dilation", "padding"), [(3, 1, 1, 0), (2, 2, 1, 0), (3, 2, 2, 1), (4, 2, 1, 1)]
)
def test_fold_and_window_are_torch_fold_and_unfold(k: int, stride: int, dilation: int, padding: int) -> None:
    n = 9 if stride == 1 else 8
    take = build_torch(window("x", k, stride, dilation=dilation, padding=padding).on(f"c=3 x:2={n}"))
    x = randn(2, 3, n, n)
    columns = F.unfold(x, k, dilation, padding, stride)
    mine = take(x)  # b c x:2 w:2
    torch.testing.assert_close(mine.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3), columns)
    m = mine.shape[-3]
    back = n - ((m - 1) * stride + dilation * (k - 1) + 1 - 2 * padding)
    add = build_torch(
        fold("x", "w", stride, dilation=dilation, padding=padding, extra=back).on(f"c=3 x:2={m} w:2={k}")
    )
    torch.testing.assert_close(add(mine), F.fold(columns, (n, n), k, dilation, padding, stride))


@both
def test_same_padding_doubles_an_image(peepholes: bool) -> None:
    for k, more in ((2, 0), (3, 1), (4, 0)):
        net = build_torch(
            (linear(f"c -> w:2={k} c=5", bias=False) >> fold("x", "w", 2)).on("c=3 x:2"),
            seed=0,
            peepholes=peepholes,
        ).double()
        weight = only_weight(net)
        padding = (k + more - 2) // 2

        def reference(x: Tensor, weight: Tensor = weight, padding: int = padding, more: int = more) -> Tensor:
            return F.conv_transpose2d(x, weight, None, 2, padding, more)

        assert_same(net, reference, (randn(2, 3, 4, 6),), [(weight, weight)])


@both
def test_a_fold_may_crop_unevenly_and_two_folds_are_one_kernel(peepholes: bool) -> None:
    fn = (
        linear("c -> p=3 q=2 n=4", bias=False)
        >> fold("i", "p", 2, padding="2,1")
        >> fold("j", "q", 1, padding="0,1")
    )
    net = build_torch(fn.on("c=2 i=4 j=5"), seed=0, peepholes=peepholes).double()
    assert ("linear + fold + fold_2 => conv_transpose2d" in net.plan) == peepholes
    weight = only_weight(net)
    assert weight.shape == (2, 4, 3, 2)

    def reference(x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, weight, None, (2, 1))[..., 2:-1, :-1].movedim(1, 1)

    assert net.diagram.outputs[0].names == ("n", "i", "j")
    assert_same(net, reference, (randn(2, 2, 4, 5),), [(weight, weight)])


@both
def test_a_bias_per_window_element_is_no_kernel_of_torch(peepholes: bool) -> None:
    net = build_torch(
        (linear("c -> w=3 n=4") >> fold("x", "w", 2)).on("c=2 x=5"), seed=0, peepholes=peepholes
    )
    net = net.double()
    assert isinstance(net.linear, nn.Linear)
    weight, bias = net.linear.weight, net.linear.bias

    def reference(x: Tensor) -> Tensor:
        kernel = weight.view(3, 4, 2).permute(2, 1, 0)
        spread = bias.view(3, 4).t()[None].expand(x.shape[0], 4, 3)
        y = F.conv_transpose1d(x, kernel, None, 2, 1, 1)
        once = F.fold(spread[..., None].expand(-1, -1, -1, 5).flatten(1, 2), (1, 11), (1, 3), stride=(1, 2))
        return y + once[:, :, 0, 1:]

    assert_same(net, reference, (randn(2, 2, 5),), [(weight, weight), (bias, bias)])


@both
def test_what_others_read_is_not_fused(peepholes: bool) -> None:
    fn: Fn = linear("c -> w=3 n=4", bias=False) >> (fold("x", "w", 2), maximum("w"))
    net = build_torch(fn.on("c=2 x=5"), seed=0, peepholes=peepholes)
    assert isinstance(net.linear, nn.Linear)
    assert "conv_transpose" not in net.plan


@both
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("spec", ["c=3 x:{}=4", "x:{}=4 c=3", "x:{}=4", "a=2 x:{}=4 c=3"])
def test_expand_and_merge_are_nearest_upsampling(rank: int, spec: str, peepholes: bool) -> None:
    net = build_torch((expand(f"w:{rank}=3") >> merge("x w -> x")).on(spec.format(rank)), peepholes=peepholes)
    assert ("expand + merge => interpolate" in net.plan) == peepholes
    up = nn.Upsample(scale_factor=3)
    sizes = [int(a.size) for a in net.diagram.inputs[0] for _ in range(a.rank)]
    at = 1 + next(i for i, a in enumerate(net.diagram.inputs[0]) if a.name == "x")
    x = randn(2, *sizes)

    def reference(x: Tensor) -> Tensor:
        image = x.movedim(tuple(range(at, at + rank)), tuple(range(-rank, 0)))
        lead = image.shape[:-rank]
        y = up(image.reshape(-1, 1, *image.shape[-rank:]))
        return y.reshape(*lead, *y.shape[2:]).movedim(tuple(range(-rank, 0)), tuple(range(at, at + rank)))

    assert_same(net, reference, (x,))
    torch.testing.assert_close(net(x[0]), net(x)[0])


@both
def test_new_axes_come_last_and_carry_any_type(peepholes: bool) -> None:
    net = build_torch(expand("a=2 b:2=3").on("x=4"), peepholes=peepholes)
    x = randn(5, 4)
    assert_same(net, lambda x: x[..., None, None, None].expand(5, 4, 2, 3, 3), (x,))
    tokens = torch.arange(4)
    assert torch.equal(
        build_torch(expand("a=2").on("N(9)[x=4]"), peepholes=peepholes)(tokens), tokens[:, None].expand(4, 2)
    )


@both
@pytest.mark.parametrize("padding", ["2,0", "0,2", "1,3"])
def test_windows_may_reach_further_on_one_side(padding: str, peepholes: bool) -> None:
    before, after = map(int, padding.split(","))
    net = build_torch(
        (window("x", 3, padding=padding) >> linear("w c -> c=5")).on("c=2 x=7"), seed=0, peepholes=peepholes
    ).double()
    weight, bias = net.linear.weight, net.linear.bias
    reference = lambda x: F.conv1d(F.pad(x, (before, after)), weight, bias)  # noqa: E731
    assert_same(net, reference, (randn(2, 2, 7),), [(weight, weight), (bias, bias)])


@both
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_split_norm_and_merge_are_torch_group_norm(groups: int, rank: int, peepholes: bool) -> None:
    image = f" x:{rank}=4" if rank else ""
    within = "c x" if rank else "c"
    fn = split(f"c -> g={groups} c") >> norm(within, per="g c", eps=1e-3) >> merge("g c -> c")
    net = build_torch(fn.on(f"c=6{image}"), seed=0, peepholes=peepholes).double()
    assert ("split + norm + merge => group_norm" in net.plan) == peepholes
    assert isinstance(net.norm, nn.GroupNorm)
    with torch.no_grad():
        net.norm.weight.copy_(randn(6, seed=3))
        net.norm.bias.copy_(randn(6, seed=4))
    weight, bias = net.norm.weight, net.norm.bias
    reference = lambda x: F.group_norm(x, groups, weight, bias, 1e-3)  # noqa: E731
    assert_same(net, reference, (randn(3, 6, *[4] * rank),), [(weight, weight), (bias, bias)])


@both
def test_a_norm_may_have_weights_over_any_axes(peepholes: bool) -> None:
    """Instance norm, one weight a channel; and weights that no kernel has."""
    instance = build_torch(norm("x", per="c").on("x:2=4 c=3"), seed=0, peepholes=peepholes).double()
    assert ("norm => group_norm" in instance.plan) == peepholes
    weight, bias = instance.norm.weight, instance.norm.bias
    with torch.no_grad():
        weight.copy_(randn(3, seed=5))

    def reference(x: Tensor) -> Tensor:
        return F.instance_norm(x.movedim(-1, 1), weight=weight, bias=bias).movedim(1, -1)

    assert_same(instance, reference, (randn(2, 4, 4, 3),), [(weight, weight), (bias, bias)])
    odd = build_torch(norm("c a", per="a x").on("x=4 c=3 a=2"), seed=0, peepholes=peepholes).double()
    w, b = odd.norm.weight, odd.norm.bias
    with torch.no_grad():
        w.copy_(randn(8, seed=6))

    def other(x: Tensor) -> Tensor:
        y = F.layer_norm(x, (3, 2))
        return y * w.view(2, 4).t()[:, None, :] + b.view(2, 4).t()[:, None, :]

    assert_same(odd, other, (randn(2, 4, 3, 2),), [(w, w), (b, b)])


def test_upsampling_inside_a_net_trains_like_the_plain_one() -> None:
    fn = skip >> window("x", 3) >> linear("w c -> c=4") >> relu >> expand("u:2=2") >> merge("x u -> x")
    one = build_torch(fn.on("c=2 x:2"), seed=1)
    other = build_torch(fn.on("c=2 x:2"), seed=1, peepholes=False)
    x = torch.randn(2, 2, 4, 6)
    torch.testing.assert_close(one(x), other(x))
