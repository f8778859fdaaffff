"""A changed diagram takes over from a trained one: every weight whose operation is the same goes on.

What counts is the path: an operation at the same path with the same settings and types keeps its weights and
what the optimizer knows of them. At the same path with other sizes, the numbers that both have are kept (the
corner that fits), and the optimizer begins anew. Everything else is new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nbkit.language import Diagram
    from nbkit.train.stepper import Stepper


@dataclass(frozen=True)
class Edit:
    """What became of the weights: names of those kept, resized, new and gone.

    `str(edit)` says it in words.
    """

    kept: tuple[str, ...]
    resized: tuple[str, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]

    def __str__(self) -> str:
        sides = (("kept", self.kept), ("resized", self.resized), ("new", self.new), ("gone", self.gone))
        return "; ".join(f"{len(names)} {what}{_listed(names, what)}" for what, names in sides if names)


def _listed(names: tuple[str, ...], what: str) -> str:
    if what == "kept":
        return ""
    return f" ({', '.join(names[:4])}{', …' if len(names) > 4 else ''})"


def carry(before: Stepper, old: Diagram, after: Stepper, new: Diagram) -> Edit:
    """Give the weights, buffers and optimizer state of one run to another one with a changed diagram."""
    operations = _operations(old), _operations(new)
    theirs, mine = _tensors(before.model), _tensors(after.model)
    parameters = {id(p) for p in before.model.parameters()}
    kept: list[str] = []
    resized: list[str] = []
    fresh: list[str] = []
    with torch.no_grad():
        for name, tensor in mine.items():
            other = theirs.get(name)
            path = name.rpartition(".")[0]
            was, now = (found.get(path) for found in operations)
            if other is None or (was is None) != (now is None) or (was and now and was[0] != now[0]):
                fresh.append(name)
            elif was == now and other.shape == tensor.shape and other.dtype == tensor.dtype:
                tensor.copy_(other)
                kept.append(name)
                if id(other) in parameters and (state := before.optimizer.state.get(other)):
                    after.optimizer.state[tensor] = {k: _copied(v) for k, v in state.items()}
            elif other.dim() == tensor.dim():
                corner = tuple(slice(0, min(a, b)) for a, b in zip(other.shape, tensor.shape, strict=True))
                tensor[corner].copy_(other[corner])
                resized.append(name)
            else:
                fresh.append(name)
    gone = tuple(name for name in theirs if name not in mine)
    return Edit(tuple(kept), tuple(resized), tuple(fresh), gone)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def _operations(diagram: Diagram) -> dict[str, tuple[str, str]]:
    """The kind of each operation by its path, and its settings and types."""
    flat = diagram.expanded()
    return {
        node.id: (node.op.kind, f"{node.op!r} {[str(flat.wires[w].type) for w in (*node.ins, *node.outs)]}")
        for node in flat.nodes
    }
