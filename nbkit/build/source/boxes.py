"""Torch boxes in source: modules that are imported where that is possible, else given by the caller."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from nbkit.build.boxes import arguments, find
from nbkit.build.names import TAKEN_BY_CODE, identifier
from nbkit.build.source.parameters import AMBIGUOUS
from nbkit.language.errors import DiagramError
from nbkit.language.ops import Torch


@dataclass(frozen=True)
class Boxed:
    """How a box is made: its call, the `import` that it needs, or the argument by which it is given."""

    call: str
    imported: str = ""  # the line
    given: str = ""  # the name of the argument


def boxed(op: Torch, place: str) -> Boxed:
    """How the box at a place is made."""
    factory = find(op.name, place)
    settings = literal(op, place)
    module, name = (str(getattr(factory, key, "")) for key in ("__module__", "__qualname__"))
    if _found("torch.nn", name, factory):
        return Boxed(f"nn.{name}({settings})")
    if module != "__main__" and _found(module, name, factory):
        return Boxed(f"{name}({settings})", imported=f"from {module} import {name}")
    given = identifier(op.name.rpartition(".")[2].lower(), TAKEN_BY_CODE | AMBIGUOUS)
    return Boxed(f"{given}({settings})", given=given)


def _found(module: str, name: str, factory: object) -> bool:
    """Whether `from module import name` would find it."""
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        return False
    try:
        return getattr(importlib.import_module(module), name, None) is factory
    except ImportError:
        return False


def literal(op: Torch, place: str) -> str:
    """The settings of a box, printed from their values."""
    positional, named = arguments(op, f"the box at {place}")
    return ", ".join([*map(repr, positional), *(f"{key}={value!r}" for key, value in named.items())])


def aten(op: Torch, inputs: list[str], place: str) -> str:
    """The call of one of torch's own operations, its settings by name or behind the tensors."""
    import torch

    find(op.name, place)
    positional, named = arguments(op, f"the box at {place}")
    _, packet, *overload = op.name.split(".")
    operation = getattr(getattr(torch.ops.aten, packet), overload[0] if overload else "default")
    wanted = {argument.name: str(argument.type) for argument in operation._schema.arguments}
    left = [name for name in wanted if name not in named]
    tensors = [f"[{', '.join(inputs)}]"] if "Tensor[]" in wanted[left[0]] else inputs
    given = [*tensors, *map(repr, positional)]
    if len(given) > len(left):
        raise DiagramError(
            f"the box at {place} is given {len(given)} arguments, and {op.name} takes {len(left)}"
        )
    values = dict(zip(left, given, strict=False)) | {name: repr(value) for name, value in named.items()}
    texts, by_name = [], False
    for name in wanted:
        if name in values:
            texts.append(f"{name}={values[name]}" if by_name else values[name])
        else:
            by_name = True
    return f"torch.ops.aten.{packet}.{overload[0] if overload else 'default'}({', '.join(texts)})"
