"""Components over images against hand-written torch: vision transformers, up-sampling, U-Nets, diffusion."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbkit import Diagram
from nbkit.build import build_torch
from nbkit.components import (
    conv,
    diffusion_unet,
    group_norm,
    identity_resnet,
    image_mlp,
    time_embedding,
    timed_block,
    transposed_conv,
    unet,
    unet_stages,
    upsample,
    vision_transformer,
    visual_attention,
)
from tests.build.oracles import assert_same, randn

both = pytest.mark.parametrize("peepholes", [True, False])


def built(diagram: Diagram, peepholes: bool = True) -> nn.Module:
    """The module in float64, no weight at 0 or 1."""
    net = build_torch(diagram, seed=0, peepholes=peepholes).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.linspace(-0.1, 0.1, parameter.numel()).view(parameter.shape))
    return net


def weights(net: nn.Module) -> list[tuple[Tensor, Tensor]]:
    return [(p, p) for p in net.parameters()]


@both
def test_visual_attention_is_attention_between_convolutions(peepholes: bool) -> None:
    net = built(visual_attention(2).on("c=4 x:2=5"), peepholes)
    q, k, v, o = (net.get_submodule(name) for name in "QKVO")

    def reference(image: Tensor) -> Tensor:
        asked, keys, values = (  # b h x k
            F.conv2d(image, w.weight, w.bias, padding=1).unflatten(1, (2, 2)).flatten(3).mT for w in (q, k, v)
        )
        found = F.scaled_dot_product_attention(asked, keys, values)
        return F.conv2d(found.mT.unflatten(-1, (5, 5)).flatten(1, 2), o.weight, o.bias, padding=1)

    assert_same(net, reference, (randn(3, 4, 5, 5),), weights(net))


@both
def test_the_vision_transformer_is_torchs_encoder_on_patches(peepholes: bool) -> None:
    net = built(vision_transformer(4, 8, 2, 2, 5, 12).on("c=3 i=8 j=8"), peepholes)
    settings = {"dim_feedforward": 12, "dropout": 0.0, "batch_first": True, "dtype": torch.float64}
    layers = []
    for ours in net.get_submodule("transformer_block").children():
        theirs = nn.TransformerEncoderLayer(8, 2, activation="gelu", norm_first=True, **settings)
        with torch.no_grad():
            for i, name in enumerate("QKV"):
                projection = ours.get_submodule(f"multi_head_attention.{name}")
                theirs.self_attn.in_proj_weight.view(3, 8, 8)[i] = projection.weight
                theirs.self_attn.in_proj_bias.view(3, 8)[i] = projection.bias
        for mine, path in {
            "multi_head_attention.O": "self_attn.out_proj",
            "mlp.up": "linear1",
            "mlp.down": "linear2",
            "norm": "norm1",
            "norm_2": "norm2",
        }.items():
            theirs.get_submodule(path).load_state_dict(ours.get_submodule(mine).state_dict())
        layers.append(theirs.train())
    w = dict(net.named_parameters())

    def reference(image: Tensor) -> Tensor:
        cut = F.conv2d(image, patch, w["patches.project.bias"], stride=4).flatten(2).mT
        tokens = torch.cat([w["cls.weight"].expand(len(image), 1, 8), cut], 1)
        z = tokens + w["positions.weight"]
        for layer in layers:
            z = layer(z)
        return F.linear(
            F.layer_norm(z, (8,), w["norm.weight"], w["norm.bias"])[:, 0],
            w["classify.weight"],
            w["classify.bias"],
        )

    patch = w["patches.project.weight"].view(8, 3, 4, 4)
    names = ("cls.weight", "positions.weight", "patches.project.bias", "classify.weight")
    assert_same(net, reference, (randn(3, 3, 8, 8),), [(w[name], w[name]) for name in names])


@both
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    ("k", "stride", "padding", "extra", "dilation"),
    [(2, 2, "same", 0, 1), (3, 2, 1, 1, 1), (4, 2, 1, 0, 1), (3, 1, 0, 0, 2), (2, 3, 0, 1, 1)],
)
def test_the_transposed_convolution_is_torchs(
    rank: int, k: int, stride: int, padding: int | str, extra: int, dilation: int, peepholes: bool
) -> None:
    fn = transposed_conv(3, k, stride, padding=padding, extra=extra, dilation=dilation, rank=rank)
    net = built(fn.on("c=4 x=4" if rank == 1 else f"c=4 x:{rank}=4"), peepholes)
    kernel, bias = net.get_parameter("spread.weight"), net.get_parameter("b.weight")
    torchs = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]

    def reference(x: Tensor) -> Tensor:
        weight = kernel_of(kernel, rank, k)
        crop = 0 if padding == "same" else padding
        return torchs(x, weight, bias, stride, crop, extra, dilation=dilation)

    assert_same(net, reference, (randn(2, 4, *[4] * rank),), [(kernel, kernel), (bias, bias)])


def kernel_of(weight: Tensor, rank: int, k: int) -> Tensor:
    """Ours to torch's `in × out × window`: rows of the linear map are (w c), or the holder is torch's own."""
    if weight.dim() == 2:
        window = list(range(1, 1 + rank))
        return weight.view(*[k] * rank, 3, 4).permute(1 + rank, rank, *(i - 1 for i in window))
    return weight


@both
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_upsampling_is_torchs_nearest(rank: int, peepholes: bool) -> None:
    net = build_torch(
        upsample(3, rank=rank).on("c=2 x=4" if rank == 1 else f"c=2 x:{rank}=4"), peepholes=peepholes
    )
    assert_same(net, lambda x: F.interpolate(x, scale_factor=3, mode="nearest"), (randn(2, 2, *[4] * rank),))


class DoubleConv(nn.Sequential):
    def __init__(self, before: int, after: int) -> None:
        super().__init__(
            nn.Conv2d(before, after, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1),
            nn.ReLU(),
        )


class UNet(nn.Module):
    """Ronneberger et al. 2015 with padding, as one writes it in torch."""

    def __init__(self, channels: int, width: int, depth: int, classes: int) -> None:
        super().__init__()
        sizes = [width * 2**i for i in range(depth + 1)]
        self.down = nn.ModuleList(
            DoubleConv(a, b) for a, b in zip([channels, *sizes], sizes[:-1], strict=False)
        )
        self.middle = DoubleConv(sizes[-2], sizes[-1])
        pairs = list(zip(sizes[1:], sizes[:-1], strict=True))[::-1]
        self.grow = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs)
        self.up = nn.ModuleList(DoubleConv(a, b) for a, b in pairs)
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for layer in self.down:
            x = layer(x)
            kept.append(x)
            x = F.max_pool2d(x, 2)
        x = self.middle(x)
        for grow, layer in zip(self.grow, self.up, strict=True):
            x = layer(torch.cat([kept.pop(), grow(x)], 1))
        return self.last(x)


def fill(theirs: nn.Module, ours: nn.Module, paths: dict[str, str]) -> list[tuple[Tensor, Tensor]]:
    """Weights of our parts into theirs; which of our parameters is which of theirs."""
    pairs = []
    for their_path, our_path in paths.items():
        target, part = theirs.get_submodule(their_path), ours.get_submodule(our_path)
        if isinstance(target, DoubleConv):
            inner = {"0": "conv.linear", "2": "conv_2.linear"}
            pairs += fill(target, part, inner)
            continue
        if isinstance(target, nn.ConvTranspose2d):
            weight = part.get_parameter("spread.weight")
            shape = (target.out_channels, target.in_channels)
            if weight.dim() == 2:
                weight = weight.view(2, 2, *shape).permute(3, 2, 0, 1)
            bias = part.get_parameter("b.weight")
        else:
            weight, bias = part.get_parameter("weight"), part.get_parameter("bias")
            weight = weight.view(target.weight.shape)
        with torch.no_grad():
            target.weight.copy_(weight)
            target.bias.copy_(bias)
        pairs.append((bias, target.bias))
    return pairs


RECURSIVE = {
    "down.0": "double_conv",
    "down.1": "below.double_conv",
    "middle": "below.below.double_conv",
    "grow.0": "below.below.transposed_conv",
    "up.0": "below.double_conv_2",
    "grow.1": "below.transposed_conv",
    "up.1": "double_conv_2",
    "last": "conv.linear",
}
LOOPS = {
    "down.0": "down.0.double_conv",
    "down.1": "down.1.double_conv",
    "middle": "double_conv",
    "grow.0": "up.0.transposed_conv",
    "up.0": "up.0.double_conv",
    "grow.1": "up.1.transposed_conv",
    "up.1": "up.1.double_conv",
    "last": "conv.linear",
}


@both
@pytest.mark.parametrize(("make", "paths"), [(unet, RECURSIVE), (unet_stages, LOOPS)])
def test_both_unets_are_the_one_that_is_written_in_torch(make, paths, peepholes: bool) -> None:
    net = built(make(2, 4, 3).on("c=2 x:2=8"), peepholes)
    right = UNet(2, 4, 2, 3).double()
    pairs = fill(right, net, paths)
    assert sum(p.numel() for p in net.parameters()) == sum(p.numel() for p in right.parameters())
    assert_same(net, right, (randn(3, 2, 8, 8),), pairs)


@both
@pytest.mark.parametrize(("channels", "groups"), [(8, 2), (6, 6), (6, 1)])
def test_group_norm_is_torchs(channels: int, groups: int, peepholes: bool) -> None:
    net = built(group_norm(groups).on(f"c={channels} x:2=5"), peepholes)
    weight, bias = net.get_parameter("norm.weight"), net.get_parameter("norm.bias")

    def reference(x: Tensor) -> Tensor:
        return F.group_norm(x, groups, weight.flatten(), bias.flatten())

    assert_same(net, reference, (randn(3, channels, 5, 5),), [(weight, weight), (bias, bias)])


def embed_time(net: nn.Module, time: Tensor, half: int) -> Tensor:
    frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = time.double()[:, None] * frequency
    waves = torch.cat([angle.sin(), angle.cos()], -1)
    first, second = net.get_submodule("W1"), net.get_submodule("W2")
    return F.linear(F.silu(F.linear(waves, first.weight, first.bias)), second.weight, second.bias)


def test_the_time_embedding_is_that_of_ddpm() -> None:
    net = built(time_embedding(8).on("N(1000)[]"))
    time = torch.randint(1000, (5,))
    torch.testing.assert_close(net(time), embed_time(net, time, 4), rtol=1e-9, atol=1e-10)


def convolve(part: nn.Module, x: Tensor, stride: int = 1) -> Tensor:
    weight, bias = part.get_parameter("linear.weight"), part.get_parameter("linear.bias")
    return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2)


def normalise(part: nn.Module, x: Tensor, groups: int) -> Tensor:
    weight, bias = (part.get_parameter(f"norm.{name}").flatten() for name in ("weight", "bias"))
    return F.group_norm(x, groups, weight, bias)


def run_timed_block(net: nn.Module, x: Tensor, time: Tensor, groups: int, shortcut: str) -> Tensor:
    first, second, past = {
        "": ("conv", "conv_2", None),
        "conv": ("conv", "conv_3", "conv_2"),
    }[shortcut]
    tell = net.get_submodule("tell")
    z = convolve(net.get_submodule(first), F.silu(normalise(net.get_submodule("group_norm"), x, groups)))
    z = z + F.linear(F.silu(time), tell.weight, tell.bias)[..., None, None]
    z = convolve(net.get_submodule(second), F.silu(normalise(net.get_submodule("group_norm_2"), z, groups)))
    return z + (convolve(net.get_submodule(past), x) if past else x)


@both
@pytest.mark.parametrize("after", [4, 8])
def test_the_timed_block_is_the_hand_written_one(after: int, peepholes: bool) -> None:
    net = built(timed_block(4, after, 2).on("c=4 x:2=4, m=6"), peepholes)
    shortcut = "conv" if after != 4 else ""

    def reference(x: Tensor, time: Tensor) -> Tensor:
        return run_timed_block(net, x, time, 2, shortcut)

    assert_same(net, reference, (randn(3, 4, 4, 4), randn(3, 6, seed=1)), weights(net))


@both
def test_the_diffusion_unet_is_the_hand_written_one(peepholes: bool) -> None:
    net = built(diffusion_unet(1, 4, 8, 2, groups=2).on("c=2 x:2=8, N(1000)[]"), peepholes)
    level = net.get_submodule("level")
    below = level.get_submodule("below")
    bottom = below.get_submodule("bottom")
    heads = bottom.get_submodule("image_attention.multi_head_attention")

    def attend(x: Tensor) -> Tensor:
        tokens = normalise(bottom.get_submodule("group_norm"), x, 2).flatten(2).mT
        q, k, v = (F.linear(tokens, heads.get_parameter(f"{n}.weight"), heads.get_parameter(f"{n}.bias"))
                   for n in "QKV")  # fmt: skip
        mixed = torch.softmax(q @ k.mT / 8**0.5, -1) @ v
        out = F.linear(mixed, heads.get_parameter("O.weight"), heads.get_parameter("O.bias"))
        return x + out.mT.unflatten(-1, (4, 4))

    def reference(image: Tensor) -> Tensor:
        told = embed_time(net.get_submodule("time_embedding"), time, 4)
        x = convolve(net.get_submodule("conv"), image)
        kept = run_timed_block(level.get_submodule("timed_block"), x, told, 2, "")
        z = convolve(below.get_submodule("conv"), kept, 2)
        z = run_timed_block(bottom.get_submodule("timed_block"), z, told, 2, "conv")
        z = run_timed_block(bottom.get_submodule("timed_block_2"), attend(z), told, 2, "")
        z = convolve(below.get_submodule("conv_2"), F.interpolate(z, scale_factor=2, mode="nearest"))
        z = run_timed_block(level.get_submodule("timed_block_2"), torch.cat([kept, z], 1), told, 2, "conv")
        return convolve(net.get_submodule("conv_2"), F.silu(normalise(net.get_submodule("group_norm"), z, 2)))

    time = torch.randint(1000, (3,))
    used = [(p, p) for name, p in net.named_parameters() if not name.endswith("K.bias")]
    assert_same(lambda image: net(image, time), reference, (randn(3, 2, 8, 8),), used)


def test_the_channels_of_a_convolution_may_be_an_expression() -> None:
    assert str(conv("2*c").on("c=3 x:2=8").outputs[0]) == "R[c=6 x:2=8]"


@both
def test_the_image_mlp_is_a_sequence_of_torch_layers(peepholes: bool) -> None:
    net = built(image_mlp((6, 5), side=4, classes=3), peepholes)
    layers = [net.get_submodule(f"linear{suffix}") for suffix in ("", "_2", "_3")]

    def reference(x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in layers[:-1]:
            x = F.relu(F.linear(x, layer.weight, layer.bias))
        return F.softmax(F.linear(x, layers[-1].weight, layers[-1].bias), -1)

    assert_same(net, reference, (randn(3, 4, 4),), weights(net))


def test_the_identity_resnet_is_its_stages_in_a_row() -> None:
    """Each stage is a block that changes the channels, then blocks that change nothing: He et al. 2016."""
    net = built(identity_resnet(2, (4, 8, 16), classes=3).on("c=2 x:2=8")).eval()
    x = convolve(net.get_submodule("conv"), randn(3, 2, 8, 8))
    for stage in ("stage", "stage_2"):
        part = net.get_submodule(stage)
        x = part.get_submodule("resnet_block")(x)
        for block in part.get_submodule("resnet_block_2").children():
            x = block(x)
    x = net.get_submodule("norm_activate")(x).mean((-2, -1))
    head = net.get_submodule("linear")
    expected = F.linear(x, head.weight, head.bias)
    torch.testing.assert_close(net(randn(3, 2, 8, 8)), expected, rtol=1e-9, atol=1e-10)
