"""Calls that no rule expresses: opaque boxes.

A box that is called `aten.…` is made again from a stored diagram in any process (see `nbkit.build.boxes`).
Where torch does not mark the operation as a plain one, or its arguments are no literals, the box is known to
this process alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sympy import Expr, Integer
from torch import Tensor, fx, nn

from nbkit.build import boxes
from nbkit.build.importing.atoms import Atom, fresh, keep_apart, same
from nbkit.build.importing.cells import Cell, Const, Unsuitable, Value, Wire, is_tensor
from nbkit.build.importing.graphs import bind, leaves
from nbkit.build.importing.lowering import Letters, array_of
from nbkit.build.importing.reader import Reader
from nbkit.language.errors import ParseError
from nbkit.language.ops.base import LONGEST_SETTING
from nbkit.language.sizes import check_name


@dataclass(frozen=True)
class Slot:
    """The place of a tensor that runs along a wire, in the arguments of a call."""

    number: int


def box(r: Reader, node: fx.Node, args: Any, named: Any, reason: str) -> Any:
    """An opaque box for a call, with all axes as its targets."""
    target: Any = node.target
    if not hasattr(target, "_schema"):
        raise Unsuitable(f"{target} ({reason})")
    bound = bind(target, args, named)
    names = {a.name: "x" if a.name in ("self", "input") else a.name for a in target._schema.arguments}
    tensors = [x for x in leaves(list(bound.values())) if is_tensor(x)]
    near = next((t.wire for t in tensors if isinstance(t, Value)), None)
    values: list[Value] = []
    settings = {name: _slotted(r, bound[mine], values, near) for name, mine in names.items()}
    fakes = node.meta["val"]
    fakes = list(fakes) if isinstance(fakes, tuple | list) else [fakes]
    if not values or not all(isinstance(f, Tensor) for f in fakes):
        raise Unsuitable(f"{target} has no tensor to work on, or gives none ({reason})")
    plain = (
        len(values) == 1 == len(fakes)
        and torch.Tag.pointwise in target.tags
        and values[0].wire.bound is None
        and fakes[0].is_floating_point()
        and not values[0].virtual()
    )
    results = [Value(Wire(values[0].wire.atoms), values[0].dims)] if plain else _results(r, values, fakes)
    name, text = _named(target, settings, r)
    r.cells.append(
        Cell(
            "torch", [v.wire for v in values], [v.wire for v in results],
            {} if plain else {"all": [a for v in (*values, *results) for dim in v.dims for a in dim]},
            {"box": name, "text": text, "spec": _spec([] if plain else values, [] if plain else results)},
            {}, r.stack, r.order, _label(target),
        )
    )  # fmt: skip
    return results if isinstance(node.meta["val"], tuple | list) else results[0]


def _slotted(r: Reader, x: Any, values: list[Value], near: Wire | None) -> Any:
    """An argument with its tensors as slots; constants that are no real numbers stay as they are."""
    if isinstance(x, tuple | list):
        return [_slotted(r, part, values, near) for part in x]
    if isinstance(x, Const) and x.open:
        raise Unsuitable("a constant whose size is open")
    if isinstance(x, Const) and x.depends:
        raise Unsuitable("a number that is computed from an open size")
    if isinstance(x, Const) and not x.tensor.is_floating_point():
        return x.tensor
    if not is_tensor(x):
        return x
    values.append(_separate(r, r.value(x, near)))
    return Slot(len(values) - 1)


def _label(target: Any) -> str:
    """A node's id for a call."""
    text = re.sub(r"[^A-Za-z0-9_]", "_", target._schema.name.rpartition("::")[2]).strip("_")[:36]
    try:
        return check_name(text, "node")
    except ParseError:
        return f"{text}_" if text[:1].isalpha() else "box"


def _separate(r: Reader, value: Value) -> Value:
    """The value with one real axis for each dimension."""
    for place in range(len(value.dims)):
        value, _ = r.whole(value, place)
    return value


def _results(r: Reader, values: Sequence[Value], fakes: Sequence[Tensor]) -> list[Value]:
    """What comes out: dimensions that have the place and size of one that went in keep its name."""
    model = next((v for v in values if v.wire.bound is None), values[0])
    found = []
    for fake in fakes:
        atoms: list[Atom] = []
        for place, n in enumerate(fake.shape):
            size = r.size(n)
            kept = model.dims[place][0] if place < len(model.dims) and len(model.dims) == fake.dim() else None
            reuse = kept is not None and kept.size == size and not any(same(kept, a) for a in atoms)
            atoms.append(kept if reuse and kept is not None else fresh(size))
        keep_apart(atoms)
        whole = not (fake.is_floating_point() or fake.dtype is torch.bool)
        found.append(
            Value(Wire(tuple(atoms), Integer(2**31 - 1) if whole else None), tuple((a,) for a in atoms))
        )
    return found


def _spec(values: Sequence[Value], results: Sequence[Value]) -> Any:
    def text(letters: Letters, bounds: Sequence[Expr | None]) -> str:
        found = [*bounds, *(v.wire.bound for v in results)] if values else []
        arrays = [
            str(array_of([a for dim in v.dims for a in dim], bound, letters))
            for v, bound in zip((*values, *results), found, strict=True)
        ]
        return f"{', '.join(arrays[: len(values)])} -> {', '.join(arrays[len(values) :])}"

    return text


def _named(target: Any, settings: dict[str, Any], r: Reader) -> tuple[str, str]:
    """The box's name and settings: torch's own operation, or one that is registered in this process."""
    name = str(target)
    literals = {key: value for key, value in settings.items() if not _slots(value)}
    text = ", ".join(f"{key}={value!r}" for key, value in literals.items())
    literal = all(_is_literal(value) for value in literals.values()) and len(text) <= LONGEST_SETTING
    lists = sum(isinstance(value, list) for key, value in settings.items() if key not in literals)
    simple = lists == 0 or (lists == 1 and len(settings) - len(literals) == 1 and _only_slots(settings))
    plain = {torch.Tag.core, torch.Tag.pointwise} & set(target.tags) and not target._schema.is_mutable
    if literal and simple and plain and name.startswith("aten."):
        return name, text
    local = f"process.{_label(target)}.n{r.order[0]:g}"

    class Call(nn.Module):
        def forward(self, *inputs: Tensor) -> Any:
            return target(**{key: _filled(value, inputs) for key, value in settings.items()})

    boxes.register(local, Call)
    return local, ""


def _filled(x: Any, inputs: Sequence[Tensor]) -> Any:
    if isinstance(x, list):
        return [_filled(part, inputs) for part in x]
    if isinstance(x, Slot):
        return inputs[x.number]
    return int(x) if isinstance(x, Expr) else x


def _slots(x: Any) -> list[Slot]:
    return [leaf for leaf in leaves(x) if isinstance(leaf, Slot)]


def _only_slots(settings: dict[str, Any]) -> bool:
    return all(
        all(isinstance(leaf, Slot) for leaf in leaves(value)) for value in settings.values() if _slots(value)
    )


def _is_literal(value: Any) -> bool:
    if isinstance(value, Tensor):
        return False
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError):
        return False
