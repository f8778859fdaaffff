"""What generated code calls: torch's own functions, and a few small ones where torch has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # its usual name

from nbkit.build import pullbacks
from nbkit.language import relations
from nbkit.language.errors import DiagramError

_MOST_MASKS = 64
_broadcast: Callable[..., torch.Size] = torch.broadcast_shapes
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


def pile(parts: Sequence[Tensor], dim: int) -> Tensor:
    """The results of a scan, one for each position; some may lack the leading batch dimensions of others."""
    if len({part.shape for part in parts}) > 1:
        parts = torch.broadcast_tensors(*parts)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return torch.stack(tuple(parts), dim)


def overlap(x: Tensor, stride: int, dilation: int, before: int, after: int) -> Tensor:
    """Windows added up: "… i j" to "… n", with so many elements cut off (or zeros added, if negative)."""
    *lead, places, size = x.shape
    full = (places - 1) * stride + dilation * (size - 1) + 1
    columns = x.reshape(-1, places, size).transpose(1, 2)
    y = F.fold(columns, (1, full), (1, size), dilation=(1, dilation), stride=(1, stride))
    return F.pad(y.reshape(*lead, full), (-before, -after))


def take(x: Tensor, index: Tensor, fresh: int, rest: int) -> Tensor:
    """Elements by index: x "… n *rest" and index "… *fresh" give "… *fresh *rest"."""
    new, tail = index.shape[index.dim() - fresh :], x.shape[x.dim() - rest :]
    table = x.reshape(*x.shape[: x.dim() - rest], prod(tail))
    lead = index.shape[: index.dim() - fresh]
    flat = index.reshape(*lead, prod(new))
    if not lead:  # the same indices for all
        found = table.index_select(-2, flat)
    elif table.dim() == 2:  # the same table for all
        found = table.index_select(0, flat.flatten()).view(*flat.shape, table.shape[-1])
    else:
        lead = _broadcast(lead, table.shape[:-2])
        table = table.expand(*lead, *table.shape[-2:])
        found = table.gather(-2, flat.unsqueeze(-1).expand(*lead, flat.shape[-1], table.shape[-1]))
    return found.reshape(*found.shape[:-2], *new, *tail)


def collect(x: Tensor, index: Tensor, n: int, how: str, rest: int) -> Tensor:
    """Elements brought to where an index points: x "… e *rest", index "… e", result "… n *rest".

    Sum, mean or max of those that meet; 0 where none comes.
    """
    tail = x.shape[x.dim() - rest :]
    flat = x.reshape(*x.shape[: x.dim() - rest], prod(tail))
    counts = index.new_zeros(*index.shape[:-1], n).scatter_add(-1, index, torch.ones_like(index))
    lead = _broadcast(index.shape[:-1], flat.shape[:-2])
    flat = flat.expand(*lead, *flat.shape[-2:])
    where = index.unsqueeze(-1).expand(flat.shape)
    if how == "max":
        least = flat.new_full((*lead, n, flat.shape[-1]), -inf)
        y = least.scatter_reduce(-2, where, flat, "amax").masked_fill(counts.unsqueeze(-1) == 0, 0.0)
    else:
        y = flat.new_zeros(*lead, n, flat.shape[-1]).scatter_add(-2, where, flat)
        if how == "mean":
            y = y / counts.clamp(min=1).unsqueeze(-1)
    return y.reshape(*lead, n, *tail)


def boxed(
    module: Callable[..., Any],
    inputs: tuple[Tensor, ...],
    targets: tuple[int, ...],
    shapes: tuple[tuple[int, ...], ...],
    place: str,
    spec: str,
) -> Any:
    """What a torch box gives, checked: the dimensions that are woven in front, then those of `shapes`.

    `targets` counts the dimensions of each input that are the box's own. `DiagramError` for other shapes.
    """
    pairs = list(zip(inputs, targets, strict=True))
    lead = _broadcast(*(x.shape[: x.dim() - n] for x, n in pairs))
    inputs = tuple(x.expand(*lead, *x.shape[x.dim() - n :]) for x, n in pairs)
    found = module(*inputs)
    results = found if isinstance(found, tuple | list) else (found,)
    wanted = [(*lead, *shape) for shape in shapes]
    given = [tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__ for y in results]
    if given != wanted:
        took, expected, got = (
            ", ".join(map(str, side)) for side in ([tuple(x.shape) for x in inputs], wanted, given)
        )
        raise DiagramError(
            f"the box at {place} is {spec}: it took {took}, expected to give {expected}, found {got}\n"
            "  the axes of its specification are the last dimensions, in that order; all others are in front"
        )
    return found if len(shapes) > 1 else results[0]


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
    "F": F, "allowed": allowed, "boxed": boxed, "check_stride": check_stride, "collect": collect,
    "forbidden": forbidden, "grouped": grouped, "inf": inf, "join": join, "overlap": overlap, "pile": pile,
    "rows": rows, "spatial": spatial, "take": take, "torch": torch, **pullbacks.WORDS,
}  # fmt: skip
