"""What generated code calls: torch's own functions, and a few small ones where torch has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import torch
from torch import Tensor
from torch.nn import functional as F  # its usual name

from nbkit.language import relations
from nbkit.language.errors import DiagramError

_MOST_MASKS = 64
_masks: dict[tuple[object, ...], Tensor] = {}


def spatial(kernel: Callable[..., Tensor], x: Tensor, n: int, *settings: object) -> Tensor:
    """A kernel for "batch channel *image" with any number of leading dimensions; the image has n."""
    extra = x.dim() - n - 2
    if extra == 0:
        return kernel(x, *settings)
    if extra > 0:
        leading = x.shape[: extra + 1]
        return torch.unflatten(kernel(x.flatten(0, extra), *settings), 0, leading)
    y = kernel(x.reshape((1,) * -extra + x.shape), *settings)
    return y.reshape(y.shape[-extra:])


def rows(kernel: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A kernel for "batch channel" applied to "… channel"."""
    return kernel(x) if x.dim() == 2 else kernel(x.reshape(-1, x.shape[-1])).view(x.shape)


def grouped(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear map for each g, from i to o; weight (g, o, i), or a convolution's (g·o, i, *kernel)."""
    groups = x.shape[-2]
    weight = weight.reshape(groups, -1, x.shape[-1])
    y = torch.einsum("...gi,goi->...go", x, weight)
    return y if bias is None else y + bias.view(groups, -1)


def join(parts: Sequence[Tensor], dim: int) -> Tensor:
    """Concatenation where some parts lack the leading batch dimensions: they are repeated over them."""
    n = min(part.dim() for part in parts)
    batch = max((part.shape[: part.dim() - n] for part in parts), key=len)
    return torch.cat([part.expand(*batch, *part.shape[part.dim() - n :]) for part in parts], dim)


def check_stride(size: int, stride: int, axis: str) -> None:
    """Raises `DiagramError` unless the stride divides the size that the axis has in this call."""
    if size % stride:
        raise DiagramError(
            f"axis '{axis}' of size {size} does not divide into strides of {stride}; "
            f"give an input whose size is divisible by {stride}, or use padding=0 to drop the remainder"
        )


def allowed(
    texts: tuple[str, ...],
    names: tuple[str, ...],
    sizes: tuple[int, ...],
    device: torch.device,
    over: tuple[str, ...],
) -> Tensor:
    """Where all of the relations hold, over the axes named; made once for each size and device.

    `over` are the axes of the softmax that follows: `DiagramError` if it would find nothing allowed (0/0).
    """
    return _constant(texts, names, sizes, device, over, hide=False)


def forbidden(
    texts: tuple[str, ...],
    names: tuple[str, ...],
    sizes: tuple[int, ...],
    device: torch.device,
    over: tuple[str, ...],
) -> Tensor:
    """Where one of the relations does not hold; see `allowed`."""
    return _constant(texts, names, sizes, device, over, hide=True)


def _mask(
    texts: tuple[str, ...],
    names: tuple[str, ...],
    sizes: tuple[int, ...],
    device: torch.device,
    over: tuple[str, ...],
    *,
    hide: bool,
) -> Tensor:
    key = (texts, names, sizes, device, over, hide)
    if not torch.compiler.is_compiling() and (known := _masks.get(key)) is not None:
        return known
    with torch.inference_mode(False):
        n = len(names)
        shapes = [(1,) * i + (-1,) + (1,) * (n - i - 1) for i in range(n)]
        indices = {
            name: torch.arange(size, device="cpu").view(shape)
            for name, size, shape in zip(names, sizes, shapes, strict=True)
        }
        mask = torch.ones(sizes, dtype=torch.bool, device="cpu")
        for text in texts:
            mask = mask & relations.holds(text, indices)
        if over and not torch.compiler.is_compiling() and type(mask) is Tensor:
            _check_rows(mask, texts, names, over)
        mask = (~mask if hide else mask).to(device)
    if type(mask) is Tensor and not torch.compiler.is_compiling():  # a fake tensor (tracing) is not kept
        if len(_masks) >= _MOST_MASKS:
            _masks.clear()
        _masks[key] = mask
    return mask


# What torch.compile makes of it: nothing to trace, a constant of the compiled program.
_constant: Callable[..., Tensor] = torch.compiler.assume_constant_result(_mask)  # type: ignore[no-untyped-call]


def _check_rows(mask: Tensor, texts: tuple[str, ...], names: tuple[str, ...], over: tuple[str, ...]) -> None:
    some = mask
    for place, name in enumerate(names):
        if name in over:
            some = some.any(place, keepdim=True)
    if bool(some.all()):
        return
    first = (~some).nonzero()[0].tolist()
    where = ", ".join(f"{name}={i}" for name, i in zip(names, first, strict=True) if name not in over)
    raise DiagramError(
        f"mask '{' and '.join(texts)}' leaves nothing to attend to{' at ' + where if where else ''}: "
        f"the softmax over {' '.join(over)} would be 0/0\n"
        '  let every position see at least one other, as in mask("x <= y")'
    )


# The names that generated code may use; nothing else is in its scope.
WORDS = {
    "F": F, "allowed": allowed, "check_stride": check_stride, "forbidden": forbidden, "grouped": grouped,
    "inf": inf, "join": join, "rows": rows, "spatial": spatial, "torch": torch,
}  # fmt: skip
