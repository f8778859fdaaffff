"""Convolutions, transposed convolutions, pools, up-sampling, padding: windows and linear maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sympy import Integer, floor

from nbkit.build.importing.atoms import Atom, fresh, product, same
from nbkit.build.importing.cells import Unsuitable, Value, Weight
from nbkit.build.importing.reader import Reader, rule
from nbkit.build.importing.rules.pointwise import joined
from nbkit.build.importing.rules.reductions import reduced

PLACES = {1: ("x",), 2: ("i", "j"), 3: ("i", "j", "z")}
WINDOWS = {1: ("w",), 2: ("wi", "wj"), 3: ("wi", "wj", "wz")}


def each(setting: Any, n: int) -> list[int]:
    """A setting for each image dimension."""
    listed = list(setting) if isinstance(setting, tuple | list) else [setting]
    return [int(s) for s in (listed * n if len(listed) == 1 else listed)]


def windowed(
    r: Reader, value: Value, at: int, size: int, stride: int, dilation: int, padding: tuple[int, int],
    letters: tuple[str, str], fill: str = "0",
) -> tuple[Value, Atom]:  # fmt: skip
    """Windows over one dimension; the value without the window's axis among its dimensions, and that axis."""
    value, atom = r.whole(value, at)
    atom.hint(letters[0], 3)
    reach = dilation * (size - 1)
    out_size = floor((atom.size + sum(padding) - reach - 1) / Integer(stride)) + 1
    total = reach if reach % 2 == 0 else max(reach + 1 - stride, 0)
    ends = (total // 2, total - total // 2)
    if padding == ends and r.hint(atom.size / stride) == r.hint(out_size):
        text, out_size = "same", atom.size / stride
    else:
        text = _numbers(padding)
    moved, inside = atom.resized(out_size), fresh(size).hint(letters[1], 3)
    out = [p for a in value.wire.atoms for p in ((moved, inside) if same(a, atom) else (a,))]
    wire = r.cell(
        "window", [value.wire], out, {"axis": [atom], "name": [inside]},
        size=size, stride=stride, dilation=dilation, padding=text, fill=fill,
    )  # fmt: skip
    return Value(wire, (*value.dims[:at], (moved,), *value.dims[at + 1 :])), inside


def _numbers(padding: tuple[int, int]) -> str:
    return str(padding[0]) if padding[0] == padding[1] else f"{padding[0]},{padding[1]}"


def grouped(
    r: Reader, value: Value, at: int, groups: int
) -> tuple[Value, tuple[Atom, ...], tuple[Atom, ...]]:
    """The channels taken apart into groups: (the value, the group's axis, the channels within)."""
    value, channel = r.whole(value, at)
    if groups == 1:
        return value, (), (channel.hint("c", 3),)
    if channel.size == groups:
        return value, (channel.hint("c", 3),), ()
    value, (g, c) = r.split(value, channel, (Integer(groups), channel.size / groups))
    return value, (g.hint("g", 3),), (c.hint("c", 3),)


@rule("conv1d", "conv2d", "conv3d", "convolution")
def _conv(
    r: Reader, weight: Any, bias: Any, x: Any, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1, transposed: bool = False, **named: Any,
) -> Value:  # fmt: skip
    value = r.value(x)
    if not isinstance(weight, Weight) or not isinstance(bias, Weight | None):
        raise Unsuitable("a convolution with a weight that is computed")
    n = len(weight.shape) - 2
    if transposed:
        extra = named.get("output_padding", 0)
        return _conv_transpose(r, weight, bias, value, stride, padding, extra, groups, dilation)
    first = len(value.dims) - n
    outside, _, *kernel = weight.shape
    strides, dilations = each(stride, n), each(dilation, n)
    if isinstance(padding, str):
        total = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        pads = [(t // 2, t - t // 2) if padding == "same" else (0, 0) for t in total]
    else:
        pads = [(p, p) for p in each(padding, n)]
    value, per, inside = grouped(r, value, first - 1, groups)
    windows = []
    for i in range(n):
        letters = (PLACES[n][i], WINDOWS[n][i])
        value, w = windowed(r, value, first + i, kernel[i], strides[i], dilations[i], pads[i], letters)
        windows.append(w)
    made = Integer(outside) / groups
    produced = () if per and made == 1 else (fresh(made).hint("c", 3),)
    consumed = [*windows, *inside]
    weights = {"weight": weight.carry} | ({} if bias is None else {"bias": bias.carry})
    out = [a for a in value.wire.atoms if not any(same(a, b) for b in consumed)]
    wire = r.cell(
        "linear", [value.wire], [*out, *produced], {"ins": consumed, "outs": list(produced), "per":
        list(per)}, weights, bias=bias is not None,
    )  # fmt: skip
    channels = (*per, *produced)
    return Value(wire, (*value.dims[: first - 1], channels, *value.dims[first:]))


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(
    r: Reader, weight: Any, bias: Any, x: Any, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Value:  # fmt: skip
    value = r.value(x)
    if not isinstance(weight, Weight) or not isinstance(bias, Weight | None):
        raise Unsuitable("a transposed convolution with a weight that is computed")
    n = len(weight.shape) - 2
    first = len(value.dims) - n
    _, outside, *kernel = weight.shape
    value, per, inside = grouped(r, value, first - 1, groups)
    if not inside:
        inside = (fresh(1),)
        wire = r.cell("expand", [value.wire], [*value.wire.atoms, *inside], {"axes": inside})
        value = replace(value, wire=wire)
    made = fresh(outside).hint("c", 3)
    windows = [fresh(k).hint(WINDOWS[n][i], 3) for i, k in enumerate(kernel)]
    out = [a for a in value.wire.atoms if not any(same(a, b) for b in inside)]
    wire = r.cell(
        "linear", [value.wire], [*out, *windows, made],
        {"ins": inside, "outs": [*windows, made], "per": per},
        {"weight": replace(weight.carry, layout="transposed")}, bias=False,
    )  # fmt: skip
    value = Value(wire, (*value.dims[: first - 1], (*per, made), *value.dims[first:]))
    for i, (s, p, e, d) in enumerate(
        zip(each(stride, n), each(padding, n), each(output_padding, n), each(dilation, n), strict=True)
    ):
        value, atom = r.whole(value, first + i)
        atom.hint(PLACES[n][i], 3)
        moved = atom.resized((atom.size - 1) * s + d * (kernel[i] - 1) + 1 - 2 * p + e)
        text = (
            "same" if moved.size == atom.size * s and p == 0 == e and d * (kernel[i] - 1) + 1 == s else str(p)
        )
        gone = (atom, windows[i])
        out = [a for a in value.wire.atoms if not any(same(a, b) for b in gone)]
        wire = r.cell(
            "fold", [value.wire], [*out, moved], {"axis": [atom], "name": [windows[i]]},
            stride=s, dilation=d, padding=text, extra=e if text != "same" else 0,
        )  # fmt: skip
        value = Value(wire, (*value.dims[: first + i], (moved,), *value.dims[first + i + 1 :]))
    if bias is None:
        return value
    shift = r.parameter(bias.carry, bias.shape, value.wire)
    wide = replace(shift, dims=(*shift.dims, *((),) * n))
    return joined(r, "add", [value, wide])


@rule("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d")
def _pool(
    r: Reader, x: Any, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: Any = None,
) -> Value:  # fmt: skip
    name = str(r.node.target) if r.node is not None else ""
    how = "max" if "max" in name else "mean"
    n = int(name.partition("pool")[2][0])
    value = r.value(x)
    kernel, pads = each(kernel_size, n), each(padding, n)
    strides = each(stride, n) if stride not in ((), [], None) else kernel
    odd = how == "mean" and not count_include_pad and any(pads)
    if ceil_mode or odd or divisor_override is not None:
        raise Unsuitable("a pool that counts its border differently")
    first = len(value.dims) - n
    windows = []
    for i, (k, s, d, p) in enumerate(zip(kernel, strides, each(dilation, n), pads, strict=True)):
        letters = (PLACES[n][i], WINDOWS[n][i])
        fill = "-inf" if how == "max" else "0"
        value, w = windowed(r, value, first + i, k, s, d, (p, p), letters, fill)
        windows.append(w)
    value.dims[first - 1][0].hint("c", 1) if value.dims[first - 1] else None
    out = [a for a in value.wire.atoms if not any(same(a, w) for w in windows)]
    return replace(value, wire=r.cell("reduce", [value.wire], out, {"axes": windows}, how=how))


@rule("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool2d")
def _adaptive(r: Reader, x: Any, output_size: Any) -> Any:
    value = r.value(x)
    name = str(r.node.target) if r.node is not None else ""
    how = "max" if "max" in name else "mean"
    n = int(name.partition("pool")[2][0])
    places = list(range(len(value.dims) - n, len(value.dims)))
    wanted = each(output_size, n)
    if how == "max":
        raise Unsuitable("a pool that also gives places")
    if all(size == 1 for size in wanted):
        return reduced(r, value, how, places, keepdim=True)
    for d, size in zip(places, wanted, strict=True):
        whole = value.sizes[d]
        if whole == size:
            continue
        rest = whole / size
        if not rest.is_integer:
            raise Unsuitable("an adaptive pool whose windows differ")
        value, atom = r.whole(value, d)
        value, (kept, gone) = r.split(value, atom, (Integer(size), rest))
        out = [a for a in value.wire.atoms if not same(a, gone)]
        wire = r.cell("reduce", [value.wire], out, {"axes": [gone]}, how=how)
        value = Value(wire, (*value.dims[:d], (kept,), *value.dims[d + 1 :]))
    return value


@rule("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d")
def _upsample(r: Reader, x: Any, **_: Any) -> Value:
    value = r.value(x)
    n = int(str(r.node.target).partition("nearest")[2][0]) if r.node is not None else 2
    wanted = r.node.meta["val"].shape[-n:] if r.node is not None else ()
    dims = list(value.dims)
    for d, size in zip(range(len(dims) - n, len(dims)), wanted, strict=True):
        times = r.size(size) / product(dims[d])
        if not times.is_integer:
            raise Unsuitable("an up-sampling by a broken factor")
        if times != 1:
            dims[d] = (*dims[d], fresh(times))
    value = r.solid(replace(value, dims=tuple(dims)))
    for d in range(len(dims) - n, len(dims)):
        value = r.whole(value, d)[0]
    return value


@rule("pad", "constant_pad_nd")
def _pad(r: Reader, x: Any, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Value:
    found = r.value(x)
    if mode != "constant" or value not in (None, 0, 0.0) or any(p < 0 for p in pad):
        raise Unsuitable("a padding with something else than zeros")
    for i in range(len(pad) // 2):
        before, after = int(pad[2 * i]), int(pad[2 * i + 1])
        if (before, after) == (0, 0):
            continue
        at = len(found.dims) - 1 - i
        found, w = windowed(r, found, at, 1, 1, 1, (before, after), ("x", "w"))
        found = r.index(replace(found, dims=(*found.dims, (w,))), w, 0)
        found = replace(found, dims=found.dims[:-1])
    return found
