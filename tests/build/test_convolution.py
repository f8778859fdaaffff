"""Convolutions, pools, batch norm and ResNet blocks against torch: outputs and gradients in float64."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbkit import DiagramError, batch_norm, linear, maximum, mean, relu, transpose, window
from nbkit.build import build_torch
from nbkit.components import avg_pool, basic_block, conv, depthwise_conv, max_pool, resnet_block
from tests.build.oracles import assert_same, copy, randn

both = pytest.mark.parametrize("peepholes", [True, False])
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVG = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
SETTINGS = [  # rank, kernel, stride, padding, dilation, groups
    *itertools.product((1,), (1, 2, 3), (1, 2), (0, 1), (1, 2), (1, 2)),
    *itertools.product((2,), (2, 3), (1, 2), (0, 1, 2), (1, 2), (1, 4)),
    (3, 2, 1, 1, 1, 1), (3, 3, 2, 1, 1, 2), (3, 2, 2, 0, 2, 1),
]  # fmt: skip


def weights(net: nn.Module) -> tuple[nn.Parameter, nn.Parameter]:
    named = dict(net.named_parameters())
    (weight,) = (p for n, p in named.items() if n.endswith("weight"))
    (bias,) = (p for n, p in named.items() if n.endswith("bias"))
    return weight, bias


@both
@pytest.mark.parametrize(("rank", "k", "stride", "padding", "dilation", "groups"), SETTINGS)
def test_conv_is_torch_conv(
    rank: int, k: int, stride: int, padding: int, dilation: int, groups: int, peepholes: bool
) -> None:
    n = 9 if rank < 3 else 6
    fn = conv(8, k, stride, padding=padding, dilation=dilation, groups=groups)
    net = build_torch(fn.on(f"c=4 x:{rank}={n}"), seed=0, peepholes=peepholes).double()
    assert (f"=> conv{rank}d" in net.plan) == peepholes
    weight, bias = weights(net)
    assert weight.shape == (8, 4 // groups, *[k] * rank)

    def reference(x: Tensor) -> Tensor:
        return CONV[rank](x, weight, bias, stride, padding, dilation, groups)

    x = randn(2, 4, *[n] * rank)
    assert_same(net, reference, (x,), [(weight, weight), (bias, bias)])


@both
@pytest.mark.parametrize(
    ("k", "stride"), [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (4, 2), (5, 3), (4, 1), (3, 3)]
)
@pytest.mark.parametrize("dilation", [1, 2])
def test_padding_same_keeps_positions(k: int, stride: int, dilation: int, peepholes: bool) -> None:
    net = build_torch(
        conv(3, k, stride, dilation=dilation).on("c=2 x=12"), seed=0, peepholes=peepholes
    ).double()
    weight, bias = weights(net)
    x = randn(2, 2, 12)
    assert net(x).shape == (2, 3, 12 // stride)

    def reference(x: Tensor) -> Tensor:
        reach = dilation * (k - 1)
        total = reach if reach % 2 == 0 else max(reach + 1 - stride, 0)
        return F.conv1d(F.pad(x, (total // 2, total - total // 2)), weight, bias, stride, 0, dilation)

    if stride == 1 and dilation * (k - 1) % 2 == 0:  # then torch knows "same" too, and pads as we do
        torch.testing.assert_close(net(x), F.conv1d(x, weight, bias, 1, "same", dilation))
    assert_same(net, reference, (x,), [(weight, weight), (bias, bias)])


@both
def test_height_and_width_may_differ_and_stay_open(peepholes: bool) -> None:
    net = build_torch(conv(3, 3, 2).on("c=2 x:2"), seed=0, peepholes=peepholes).double()
    weight, bias = weights(net)
    for shape in ((8, 6), (4, 10)):
        assert_same(net, lambda x: F.conv2d(x, weight, bias, 2, 1), (randn(2, 2, *shape),))


@both
@pytest.mark.parametrize("spec", ["x:2=6 c=4", "c=4 x:2=6"])
def test_channels_may_come_last(spec: str, peepholes: bool) -> None:
    net = build_torch((window("x", 3) >> linear("w c -> c=5")).on(spec), seed=0, peepholes=peepholes).double()
    weight, bias = weights(net)
    last = spec.endswith("c=4")

    def reference(x: Tensor) -> Tensor:
        y = F.conv2d(x.permute(0, 3, 1, 2) if last else x, weight, bias, padding=1)
        return y.permute(0, 2, 3, 1) if last else y

    assert_same(net, reference, (randn(2, 6, 6, 4) if last else randn(2, 4, 6, 6),), [(weight, weight)])


@both
def test_windows_over_two_axes_are_one_convolution(peepholes: bool) -> None:
    fn = (
        window("i", 3, 2, padding=1, name="wi")
        >> window("j", 2, 1, padding=0, name="wj")
        >> linear("wi wj c -> n=5")
    )
    net = build_torch(fn.on("c=4 i=8 j=7"), seed=0, peepholes=peepholes).double()
    assert ("=> conv2d" in net.plan) == peepholes
    weight, bias = weights(net)
    reference = lambda x: F.conv2d(x, weight, bias, (2, 1), (1, 0)).movedim(1, 3)  # noqa: E731
    assert_same(net, reference, (randn(2, 4, 8, 7),), [(weight, weight), (bias, bias)])


@both
def test_a_convolution_is_woven_over_other_axes(peepholes: bool) -> None:
    net = build_torch(
        (window("x", 3) >> linear("w c -> c=5")).on("t=3 c=4 x=6 s=2"), seed=0, peepholes=peepholes
    ).double()
    weight, bias = weights(net)

    def reference(x: Tensor) -> Tensor:
        rows = x.permute(0, 1, 4, 2, 3)
        return (
            F.conv1d(rows.flatten(0, 2), weight, bias, padding=1).view(2, 3, 2, 5, 6).permute(0, 1, 3, 4, 2)
        )

    assert_same(net, reference, (randn(2, 3, 4, 6, 2),), [(weight, weight)])


@both
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise(stride: int, peepholes: bool) -> None:
    net = build_torch(depthwise_conv(3, stride).on("c=4 x:2=6"), seed=0, peepholes=peepholes).double()
    weight, bias = weights(net)
    assert weight.shape == (4, 1, 3, 3)
    reference = lambda x: F.conv2d(x, weight, bias, stride, 1, 1, 4)  # noqa: E731
    assert_same(net, reference, (randn(2, 4, 6, 6),), [(weight, weight), (bias, bias)])


@both
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("k", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 0), (2, 1, 1), (3, 3, 0)])
def test_pools_are_torch_pools(rank: int, k: int, stride: int, padding: int, peepholes: bool) -> None:
    n = 9 if rank < 3 else 6
    x = randn(2, 3, *[n] * rank)
    net = build_torch(max_pool(k, stride, padding=padding).on(f"c=3 x:{rank}={n}"), peepholes=peepholes)
    assert (f"=> max_pool{rank}d" in net.plan) == peepholes
    assert_same(net, MAX[rank], (x,), kernel_size=k, stride=stride, padding=padding)
    net = build_torch(avg_pool(k, stride, padding=padding).on(f"c=3 x:{rank}={n}"), peepholes=peepholes)
    assert (f"=> avg_pool{rank}d" in net.plan) == peepholes
    assert_same(net, AVG[rank], (x,), kernel_size=k, stride=stride, padding=padding)


@both
def test_pools_pad_with_what_the_window_says(peepholes: bool) -> None:
    """A maximum over zeros outside is not torch's max pool, which sees −∞ there; padding may be one-sided."""
    x = -randn(2, 3, 8).detach().abs().requires_grad_()
    zeros = build_torch((window("x", 3, padding=1) >> maximum("w")).on("c=3 x=8"), peepholes=peepholes)
    assert_same(zeros, lambda x: F.max_pool1d(F.pad(x, (1, 1)), 3, 1), (x,))
    uneven = build_torch((window("x", 2, fill="-inf") >> maximum("w")).on("c=3 x=8"), peepholes=peepholes)
    assert_same(uneven, lambda x: F.max_pool1d(F.pad(x, (0, 1), value=-torch.inf), 2, 1), (x,))
    dilated = build_torch(
        (window("x", 2, 2, dilation=2, padding=0) >> mean("w")).on("c=3 x=8"), peepholes=peepholes
    )
    assert_same(dilated, lambda x: (x[..., 0:6:2] + x[..., 2:8:2]) / 2, (x,))


def test_equal_elements_share_gradients_alike() -> None:
    d = (relu >> window("x", 2, 2) >> maximum("w")).on("c=1 x:2=4")
    x = torch.zeros(1, 1, 4, 4, dtype=torch.float64) + 1
    found = []
    for peepholes in (True, False):
        leaf = x.clone().requires_grad_()
        build_torch(d, peepholes=peepholes)(leaf).sum().backward()
        found.append(leaf.grad)
    assert torch.equal(*found)


@both
def test_a_stride_that_does_not_divide_is_explained(peepholes: bool) -> None:
    net = build_torch((window("x", 3, 2) >> linear("w c -> c=5")).on("c=4 x:2"), peepholes=peepholes)
    with pytest.raises(DiagramError) as caught:
        net(torch.zeros(2, 4, 8, 7))
    assert str(caught.value) == "x/2 is not an integer for x=7 (window at window)"


@both
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("spec", "over", "shape"),
    [
        ("c=4 x:2=5", "", (3, 4, 5, 5)),
        ("c=4 x=5", "", (3, 4, 5)),
        ("c=4", "", (3, 4)),
        ("b=3 c=4 x:2=5", "b", (3, 4, 5, 5)),
        ("c=4 x:3=3", "", (3, 4, 3, 3, 3)),
    ],
)
def test_batch_norm_is_torch_batch_norm(
    spec: str, over: str, shape: tuple[int, ...], training: bool, peepholes: bool
) -> None:
    net = build_torch(batch_norm("c", over).on(spec), peepholes=peepholes).double().train(training)
    theirs = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[len(shape)](
        4
    ).double()
    assert set(net.state_dict()) == {f"norm.{name}" for name in theirs.state_dict()}
    assert isinstance(net.norm, type(theirs))
    for tensor in (theirs.weight, theirs.bias, theirs.running_mean, theirs.running_var):
        nn.init.uniform_(tensor, 0.5, 2)
    net.load_state_dict({f"norm.{k}": v for k, v in theirs.state_dict().items()})
    theirs.train(training)
    assert_same(
        net, theirs, (randn(*shape),), [(net.norm.weight, theirs.weight), (net.norm.bias, theirs.bias)]
    )
    for mine, right in zip(net.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(mine, right)


@pytest.mark.parametrize("rank", [2, 3])
def test_gradients_of_batch_norm_where_an_image_is_one_pixel_wide(rank: int) -> None:
    """torch 2.13 gets them wrong on a CPU for these strides; we must not."""
    net = build_torch(
        (transpose("c x y") >> batch_norm("c")).on(f"c=2 y=1 x:{rank - 1}=2"), peepholes=False
    ).double()

    def reference(x: Tensor) -> Tensor:
        over = [0, *range(2, x.dim())]
        centred = x - x.mean(over, keepdim=True)
        return centred / ((centred**2).mean(over, keepdim=True) + 1e-5).sqrt()

    order = (0, 1, *range(3, rank + 2), 2)
    for permutation in itertools.permutations(range(rank + 2)):
        x = randn(3, 2, 1, *[2] * (rank - 1))
        base = x.detach().permute(permutation).contiguous()
        strided = base.permute([permutation.index(i) for i in range(rank + 2)]).requires_grad_()
        assert_same(net, lambda t: reference(t).permute(order), (strided,))


def test_batch_norm_of_channels_that_come_last() -> None:
    net = build_torch(batch_norm("c").on("x=5 c=4")).double()
    theirs = nn.BatchNorm1d(4).double()
    assert_same(net, lambda x: theirs(x.transpose(1, 2)).transpose(1, 2), (randn(3, 5, 4),))


class Bottleneck(nn.Module):
    """The identity ResNet block, by hand (He et al. 2016, arXiv 1603.05027, figure 1b)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        inside = n_out // 4
        self.norm1, self.norm2, self.norm3 = (nn.BatchNorm2d(n) for n in (n_in, inside, inside))
        self.conv1 = nn.Conv2d(n_in, inside, 1, stride)
        self.conv2 = nn.Conv2d(inside, inside, 3, padding=1)
        self.conv3 = nn.Conv2d(inside, n_out, 1)
        self.skip = nn.Identity() if (n_in, stride) == (n_out, 1) else nn.Conv2d(n_in, n_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        y = self.conv2(F.relu(self.norm2(y)))
        return self.skip(x) + self.conv3(F.relu(self.norm3(y)))


@both
@pytest.mark.parametrize(("n_in", "n_out", "stride"), [(16, 16, 1), (8, 16, 1), (8, 16, 2)])
def test_resnet_block_is_the_hand_written_one(n_in: int, n_out: int, stride: int, peepholes: bool) -> None:
    net = build_torch(resnet_block(n_in, n_out, stride).on(f"c={n_in} x:2=6"), peepholes=peepholes).double()
    theirs = Bottleneck(n_in, n_out, stride).double()
    order = ["norm1", "conv1", "norm2", "conv2", "norm3", "conv3", "skip"]
    named = [(f"{part}.{n}", p) for part in order for n, p in theirs.get_submodule(part).named_parameters()]
    copy({mine: p for (mine, _), (_, p) in zip(net.named_parameters(), named, strict=True)}, net)
    pairs = [(mine, p) for mine, (_, p) in zip(net.parameters(), named, strict=True)]
    assert_same(net, theirs, (randn(3, n_in, 6, 6),), pairs)


@both
def test_basic_block_is_the_hand_written_one(peepholes: bool) -> None:
    net = build_torch(basic_block(4, 4).on("c=4 x:2=6"), peepholes=peepholes).double()
    norm1, conv1, norm2, conv2 = (
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1),
    )
    parts = nn.ModuleList((norm1, conv1, norm2, conv2)).double()
    copy(dict(zip((n for n, _ in net.named_parameters()), parts.parameters(), strict=True)), net)
    reference = lambda x: x + conv2(F.relu(norm2(conv1(F.relu(norm1(x))))))  # noqa: E731
    assert_same(
        net, reference, (randn(3, 4, 6, 6),), list(zip(net.parameters(), parts.parameters(), strict=True))
    )
