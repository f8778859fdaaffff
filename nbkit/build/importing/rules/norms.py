"""Normalisations: layer, RMS, group, instance and batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sympy import Integer

from nbkit.build.importing.atoms import Atom, flat
from nbkit.build.importing.cells import Carry, Unsuitable, Value, Weight
from nbkit.build.importing.reader import Reader, rule
from nbkit.build.importing.rules.pointwise import joined


def normed(
    r: Reader, value: Value, atoms: Sequence[Atom], how: str, eps: float, weight: Any, bias: Any,
    per: Sequence[Atom] = (),
) -> Value:  # fmt: skip
    """A norm over axes, with a learned affine map where the module has one."""
    held: dict[str, Carry] = {}
    for name, given in (("weight", weight), ("bias", bias)):
        if isinstance(given, Weight):
            held[name] = given.carry
        elif given is not None:
            raise Unsuitable("a norm with weights that are computed")
    whole = {"layer": {"weight", "bias"}, "rms": {"weight"}}[how]
    value = r.solid(value, [*atoms, *per])
    affine = set(held) == whole
    if held and not affine:
        if set(held) != {"weight"}:
            raise Unsuitable("a norm with a bias alone")
        plain = normed(r, value, atoms, how, eps, None, None, per)
        scale = r.parameter(held["weight"], weight.shape, plain.wire)
        return joined(r, "multiply", [plain, scale])
    wire = r.cell(
        "norm", [value.wire], value.wire.atoms, {"axes": list(atoms), "per": list(per)}, held if affine else
        {}, how=how, eps=float(eps), affine=affine,
    )  # fmt: skip
    return replace(value, wire=wire)


@rule("layer_norm", "native_layer_norm")
def _layer_norm(
    r: Reader, normalized_shape: Sequence[Any], weight: Any, bias: Any, eps: float, x: Any, **_: Any,
) -> Value:  # fmt: skip
    value = r.value(x)
    dims = value.dims[len(value.dims) - len(normalized_shape) :]
    for atom in flat(dims):
        atom.hint("m")
    return normed(r, value, list(flat(dims)), "layer", eps, weight, bias)


@rule("rms_norm")
def _rms_norm(r: Reader, normalized_shape: Sequence[Any], weight: Any, eps: float | None, x: Any) -> Value:
    value = r.value(x)
    if eps is None:
        eps = 1.1920928955078125e-07  # torch's default, the machine epsilon of float32
    return normed(
        r, value, list(flat(value.dims[len(value.dims) - len(normalized_shape) :])), "rms", eps, weight, None
    )


@rule("group_norm")
def _group_norm(r: Reader, num_groups: int, weight: Any, bias: Any, eps: float, x: Any, **_: Any) -> Value:
    value = r.value(x)
    value, channel = r.whole(value, 1)
    value, (g, c) = r.split(value, channel, (Integer(num_groups), channel.size / num_groups))
    g.hint("g", 3)
    c.hint("c", 3)
    over = [c, *flat(value.dims[2:])]
    return normed(r, value, over, "layer", eps, weight, bias, per=[g, c])


@rule("instance_norm")
def _instance_norm(
    r: Reader, x: Any, weight: Any, bias: Any, running_mean: Any, eps: float, **_: Any
) -> Value:
    if running_mean is not None:
        raise Unsuitable("an instance norm with running averages")
    value, channel = r.whole(r.value(x), 1)
    over = list(flat(value.dims[2:]))
    per = [channel.hint("c", 3)] if weight is not None else []
    return normed(r, value, over, "layer", eps, weight, bias, per=per)


@rule("batch_norm", "cudnn_batch_norm", "native_batch_norm", "_native_batch_norm_legit")
def _batch_norm(
    r: Reader, weight: Any, bias: Any, running_mean: Any, running_var: Any, eps: float, x: Any,
    momentum: float = 0.1, **_: Any,
) -> Value:  # fmt: skip
    value = r.value(x)
    affine = weight is not None
    if momentum != 0.1:
        r.notes.append(f"batch norms keep their averages with momentum 0.1 (the module: {momentum:g})")
    buffers = (running_mean, running_var)
    if affine != (bias is not None) or any(b is None or not b.source for b in buffers):
        raise Unsuitable("a batch norm without running averages, or with half its weights")
    value, channel = r.whole(value, 1)
    value = r.solid(value)
    channel.hint("c", 3)
    held = {"weight": weight.carry, "bias": bias.carry} if affine else {}
    held |= {
        name: Carry(b.source, r.exported.buffers.get(b.source, b.tensor))
        for name, b in (("running_mean", running_mean), ("running_var", running_var))
    }
    wire = r.cell(
        "norm", [value.wire], value.wire.atoms, {"axes": [], "per": [channel]}, held,
        how="batch", eps=float(eps), affine=affine,
    )  # fmt: skip
    return replace(value, wire=wire)
