"""The torch modules that hold weights: torch's own where it has one, and how each is made.

Initialisation is torch's, except for tables (embeddings, positions): normal with standard deviation 1/√m for
rows of m numbers, so that a row has length about 1 and logits keep their scale when the table is shared with
the map back to the vocabulary (torch's own standard deviation of 1 would give logits of size √m). A shared
weight is initialised as its first user's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from nbkit.build import runtime
from nbkit.build.weights import Weights, kernel_crop


class GroupedLinear(nn.Module):
    """A linear map of its own for each group: "… g i -> … g o". weight (g, o, i), bias (g, o)."""

    def __init__(self, groups: int, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(groups, outputs)) if bias else None
        bound = inputs**-0.5  # what nn.Linear's own initialisation comes to
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return runtime.grouped(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        groups, outputs, inputs = self.weight.shape
        return f"groups={groups}, in_features={inputs}, out_features={outputs}, bias={self.bias is not None}"


class TransposedLinear(nn.Module):
    """A linear map whose weight is another's, transposed. weight (in, out), bias (out)."""

    def __init__(self, weight: nn.Parameter, *, bias: bool) -> None:
        super().__init__()
        self.weight = weight
        self.bias = nn.Parameter(torch.empty(weight.shape[1])) if bias else None
        if self.bias is not None:
            nn.init.uniform_(self.bias, -(weight.shape[0] ** -0.5), weight.shape[0] ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight.t(), self.bias)

    def extra_repr(self) -> str:
        inputs, outputs = self.weight.shape
        return f"in_features={inputs}, out_features={outputs}, bias={self.bias is not None}"


class TurnedLinear(nn.Module):
    """The transpose of a grouped map or a convolution, whose own weight it holds: "… g o -> … g i".

    `first` says how the weight lies: (g, o, i) of a grouped map, (g·o, i…) of a convolution, (g·i, o…) of a
    transposed one. `groups` is 0 where the input has no axis of groups.
    """

    def __init__(self, weight: nn.Parameter, first: str, groups: int) -> None:
        super().__init__()
        self.weight, self.first, self.groups = weight, first, groups

    def forward(self, x: Tensor) -> Tensor:
        matrix: Tensor = self.weight
        if self.first != "Grouped":
            matrix = matrix.reshape(self.groups or 1, -1, matrix.shape[1:].numel())
        if self.first != "ConvTranspose":
            matrix = matrix.transpose(1, 2)
        if not self.groups:
            return functional.linear(x, matrix[0])
        return torch.einsum("...gi,goi->...go", x, matrix)

    def extra_repr(self) -> str:
        return f"{self.first}, weight={tuple(self.weight.shape)}"


class Positions(nn.Module):
    """A learned vector for each position. weight (x, m)."""

    def __init__(self, positions: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(positions, features))

    def forward(self) -> Tensor:
        return self.weight

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.weight.shape))


class Parameter(nn.Module):
    """A learned array, or a fixed one (a buffer). weight: the axes of the array."""

    weight: Tensor

    def __init__(self, shape: tuple[int, ...], *, trainable: bool = True) -> None:
        super().__init__()
        self.shape = shape
        if trainable:
            self.weight = nn.Parameter(torch.empty(shape))
        else:
            self.register_buffer("weight", torch.empty(shape))

    def forward(self) -> Tensor:
        return self.weight if self.weight.shape == self.shape else self.weight.view(self.shape)

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.weight.shape))


class Affine(nn.Module):
    """A weight and a bias after a normalisation, over axes of their own. weight, bias (per)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def extra_repr(self) -> str:
        return str(self.weight.shape[0])


class GroupNorm(nn.GroupNorm):
    """`torch.nn.GroupNorm`, also of groups of one number (torch refuses; what is left is the bias)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class _AnyImage(nn.modules.batchnorm._BatchNorm):
    """Batch norm with right gradients also for a single image, and where images are one pixel high or wide.

    torch 2.13 on a CPU gives silently wrong gradients there when the tensors' strides can be read both as
    channels first and as channels last; with the image flattened to one axis there is only one reading.
    """

    def _check_input_dim(self, x: Tensor) -> None:
        """The generated code gives the dimensions that are wanted, or all image dimensions as one."""

    def forward(self, x: Tensor) -> Tensor:
        if 1 in (x.shape[0], *x.shape[2:]):
            return super().forward(x.flatten(2)).reshape(x.shape)
        return super().forward(x)


class BatchNorm2d(_AnyImage, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`; see `_AnyImage`."""


class BatchNorm3d(_AnyImage, nn.BatchNorm3d):
    """`torch.nn.BatchNorm3d`; see `_AnyImage`."""


Shapes = dict[str, tuple[int, ...]]


def _linear(_held: Weights, shapes: Shapes) -> nn.Module:
    outputs, inputs = shapes["weight"]
    return nn.Linear(inputs, outputs, bias="bias" in shapes)


def _grouped(_held: Weights, shapes: Shapes) -> nn.Module:
    groups, outputs, inputs = shapes["weight"]
    return GroupedLinear(groups, inputs, outputs, bias="bias" in shapes)


def _conv(held: Weights, shapes: Shapes) -> nn.Module:
    outputs, inputs, *kernel = shapes["weight"]
    ranks = held.ranks
    each = [w for w, rank in zip(held.windows, ranks, strict=True) for _ in range(rank)]
    groups = int(held.groups)
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[held.spatial - 1]
    module: nn.Module = kind(
        inputs * groups,
        outputs,
        tuple(kernel),  # type: ignore[arg-type]  # as many numbers as dimensions
        stride=tuple(w.stride for w in each),  # type: ignore[arg-type]
        padding=tuple(w.pads()[0] if w.pads()[0] == w.pads()[1] else 0 for w in each),  # type: ignore[arg-type]
        dilation=tuple(w.dilation for w in each),  # type: ignore[arg-type]
        groups=groups,
        bias="bias" in shapes,
    )
    return module


def _conv_transpose(held: Weights, shapes: Shapes) -> nn.Module:
    inputs, outputs, *kernel = shapes["weight"]
    groups = int(held.groups)
    each = [f for f, rank in zip(held.folds, held.ranks, strict=True) for _ in range(rank)]
    crops = [kernel_crop(fold, size) for fold, size in zip(each, kernel, strict=True)]
    kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[held.spatial - 1]
    module: nn.Module = kind(
        inputs,
        outputs * groups,
        tuple(kernel),  # type: ignore[arg-type]  # as many numbers as dimensions
        stride=tuple(fold.stride for fold in each),  # type: ignore[arg-type]
        padding=tuple(crop or 0 for crop, _ in crops),  # type: ignore[arg-type]
        output_padding=tuple(more for _, more in crops),  # type: ignore[arg-type]
        groups=groups,
        bias=False,
        dilation=tuple(fold.dilation for fold in each),  # type: ignore[arg-type]
    )
    return module


def _parameter(held: Weights, shapes: Shapes) -> nn.Module:
    module = Parameter(shapes["weight"], trainable=not held.buffer)
    with torch.no_grad():
        if held.init == "normal":
            last = math.prod(int(axis.numel) for axis in held.cols)
            nn.init.normal_(module.weight, std=last**-0.5)
        else:
            nn.init.constant_(module.weight, float(held.init == "ones"))
    return module


def _group_norm(held: Weights, shapes: Shapes) -> nn.Module:
    (channels,) = shapes["weight"]
    return GroupNorm(int(held.groups), channels, eps=held.eps)


def _affine(_held: Weights, shapes: Shapes) -> nn.Module:
    (features,) = shapes["weight"]
    return Affine(features)


def _embedding(_held: Weights, shapes: Shapes) -> nn.Module:
    vocabulary, features = shapes["weight"]
    module = nn.Embedding(vocabulary, features)
    nn.init.normal_(module.weight, std=features**-0.5)
    return module


def _positions(_held: Weights, shapes: Shapes) -> nn.Module:
    module = Positions(*shapes["weight"])
    nn.init.normal_(module.weight, std=shapes["weight"][1] ** -0.5)
    return module


def _layer_norm(held: Weights, shapes: Shapes) -> nn.Module:
    return nn.LayerNorm(shapes["weight"], eps=held.eps)


def _rms_norm(held: Weights, shapes: Shapes) -> nn.Module:
    return nn.RMSNorm(shapes["weight"], eps=held.eps)


def _batch_norm(held: Weights, shapes: Shapes) -> nn.Module:
    kind = {2: BatchNorm2d, 3: BatchNorm3d}.get(held.spatial, nn.BatchNorm1d)
    channels = 1
    for axis in held.rows:
        channels *= int(axis.numel)
    return kind(channels, eps=held.eps, affine="weight" in shapes)


MAKERS: dict[str, Callable[[Weights, Shapes], nn.Module]] = {
    "Linear": _linear,
    "Grouped": _grouped,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Embedding": _embedding,
    "Positions": _positions,
    "Parameter": _parameter,
    "GroupNorm": _group_norm,
    "Affine": _affine,
    "LayerNorm": _layer_norm,
    "RMSNorm": _rms_norm,
    "BatchNorm": _batch_norm,
}
