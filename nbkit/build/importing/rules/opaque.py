"""Calls that no rule expresses: opaque boxes.

A box that is called `aten.…` is made again from a stored diagram in any process (see `nbkit.build.boxes`).
Where torch does not mark the operation as a plain one, or its arguments are no literals, the box is known to
this process alone.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

import torch
from sympy import Integer
from torch import Tensor, fx, nn

from nbkit.build import boxes
from nbkit.build.importing.atoms import Atom, fresh, keep_apart, same
from nbkit.build.importing.cells import Cell, Unsuitable, Value, Wire, is_tensor
from nbkit.build.importing.graphs import bind
from nbkit.build.importing.lowering import Letters, array_of
from nbkit.build.importing.reader import Reader
from nbkit.language.ops.base import LONGEST_SETTING


def box(r: Reader, node: fx.Node, args: Any, named: Any, reason: str) -> Any:
    """An opaque box for a call, with all axes as its targets."""
    target: Any = node.target
    if not hasattr(target, "_schema"):
        raise Unsuitable(f"{target} ({reason})")
    bound = bind(target, args, named)
    names = {a.name: "x" if a.name in ("self", "input") else a.name for a in target._schema.arguments}
    given: list[Any] = []
    settings: dict[str, Any] = {}
    for name, mine in names.items():
        x = bound[mine]
        if isinstance(x, tuple | list) and x and all(is_tensor(t) for t in x):
            given += x
        elif is_tensor(x):
            given.append(x)
        else:
            settings[name] = x
    near = next((t.wire for t in given if isinstance(t, Value)), None)
    values = [_separate(r, r.value(t, near)) for t in given]
    fakes = node.meta["val"]
    fakes = list(fakes) if isinstance(fakes, tuple | list) else [fakes]
    if not all(isinstance(f, Tensor) for f in fakes):
        raise Unsuitable(f"{target} gives no tensor ({reason})")
    plain = len(values) == 1 == len(fakes) and torch.Tag.pointwise in target.tags and not values[0].virtual()
    results = [Value(Wire(values[0].wire.atoms), values[0].dims)] if plain else _results(r, values, fakes)
    name, text = _named(target, settings, given, r)
    r.cells.append(
        Cell(
            "torch", [v.wire for v in values], [v.wire for v in results],
            {} if plain else {"all": [a for v in (*values, *results) for dim in v.dims for a in dim]},
            {"box": name, "text": text, "spec": _spec([] if plain else values, [] if plain else results)},
            {}, r.stack, r.order, target._schema.name.removeprefix("aten::").strip("_"),
        )
    )  # fmt: skip
    return results if isinstance(node.meta["val"], tuple | list) else results[0]


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
    def text(letters: Letters) -> str:
        sides = [
            ", ".join(str(array_of([a for dim in v.dims for a in dim], v.wire.bound, letters)) for v in side)
            for side in (values, results)
        ]
        return " -> ".join(sides)

    return text


def _named(target: Any, settings: dict[str, Any], given: Sequence[Any], r: Reader) -> tuple[str, str]:
    """The box's name and settings: torch's own operation, or one that is registered in this process."""
    name = str(target)
    text = ", ".join(f"{key}={value!r}" for key, value in settings.items())
    literal = all(_is_literal(value) for value in settings.values()) and len(text) <= LONGEST_SETTING
    plain = {torch.Tag.core, torch.Tag.pointwise} & set(target.tags) and not target._schema.is_mutable
    if literal and plain:
        return name, text
    local = f"process.{name.replace('aten.', '')}.n{r.order[0]}"
    order = [a.name for a in target._schema.arguments if a.name not in settings]
    lists = {a.name for a in target._schema.arguments if "Tensor[]" in str(a.type)}
    counts = [len(given) if key in lists and len(order) == 1 else 1 for key in order]
    if sum(counts) != len(given):
        raise Unsuitable(f"{name} takes several lists of tensors")

    class Call(nn.Module):
        def forward(self, *inputs: Tensor) -> Any:
            left = list(inputs)
            tensors = {
                key: [left.pop(0) for _ in range(n)] if key in lists else left.pop(0)
                for key, n in zip(order, counts, strict=True)
            }
            return target(**tensors, **settings)

    boxes.register(local, Call)
    return local, ""


def _is_literal(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError):
        return False
