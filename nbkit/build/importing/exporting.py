"""From a module to torch's own graph of it: `torch.export` on a copy that shares the module's weights.

The module itself is never called, switched or changed. The copy is exported in training mode, so that dropout
is in the graph, and in evaluation mode where that fails.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram, export

from nbkit.language.axes import Token
from nbkit.language.errors import DiagramError


@dataclass(frozen=True)
class Exported:
    """An exported program, what went in, and how long it took."""

    program: ExportedProgram
    examples: tuple[Tensor, ...]
    args: tuple[Any, ...]
    named: Mapping[str, Any]
    training: bool
    seconds: float
    buffers: Mapping[str, Tensor]  # the module's own, by name


def draws(program: ExportedProgram) -> bool:
    """True if the graph draws random numbers other than by dropout."""
    names = {str(node.target).split(".")[1] for node in program.graph.nodes if "aten." in str(node.target)}
    return bool(names & RANDOM)


RANDOM = frozenset(["rand", "randn", "randint", "bernoulli", "rand_like", "randn_like", "multinomial"])


def twin(module: nn.Module) -> nn.Module:
    """A copy of a module that shares its parameters and has buffers of its own."""
    memo: dict[int, Any] = {id(p): p for p in module.parameters()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return copy.deepcopy(module, memo)


def arguments(example: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the module is called with: one tensor, a tuple of arguments, or a dictionary of named ones."""
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, tuple | list):
        return tuple(example), {}
    return (example,), {}


def run_export(
    module: nn.Module,
    example: object,
    axes: Sequence[tuple[Token, ...] | None],
    *,
    training: bool | None = None,
) -> Exported:
    """The module's graph; `DiagramError` with torch's reason and a remedy if it has none.

    `axes` are the tokens of each tensor that goes in: a dimension whose size is left open may vary.
    """
    if not isinstance(module, nn.Module):
        raise DiagramError(
            f"from_torch takes a torch.nn.Module, found {type(module).__name__}; "
            "give the module itself and an example of its input: nk.from_torch(model, torch.randn(1, 16, 64))"
        )
    args, named = arguments(example)
    tensors = tuple(x for x in (*args, *named.values()) if isinstance(x, Tensor))
    if not tensors:
        raise DiagramError(
            f"from_torch({type(module).__name__}, …) needs an example input: a tensor, a tuple of arguments, "
            'or a dict of named ones such as {"input_ids": tokens}'
        )
    shapes = _dynamic(args, named, axes)
    failure: Exception | None = None
    begun = time.perf_counter()
    for mode in (True, False) if training is None else (training,):
        for strict in (False, True):
            inner = twin(module).train(mode)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    program = export(inner, args, named or None, dynamic_shapes=shapes, strict=strict)
            except Exception as error:  # noqa: BLE001  # torch.export raises what it and the module please
                failure = failure or error
            else:
                if training is None and mode and draws(program):
                    break  # noise that the module makes by hand in training: read what it does without
                taken = time.perf_counter() - begun
                return Exported(program, tensors, args, named, mode, taken, dict(module.named_buffers()))
    raise _explained(module, failure) from failure


def _dynamic(
    args: tuple[Any, ...], named: Mapping[str, Any], axes: Sequence[tuple[Token, ...] | None]
) -> Any:
    """Which dimensions torch may keep open: those whose size the user left out."""
    given = iter(axes)

    def of(x: object) -> Any:
        if not isinstance(x, Tensor):
            return None
        tokens = next(given, None)
        if tokens is None:
            return None
        return {d: torch.export.Dim.AUTO for d, token in enumerate(tokens) if token.size is None}

    positional = tuple(of(x) for x in args)
    keyword = {name: of(x) for name, x in named.items()}
    if not any((*positional, *keyword.values())):
        return None
    return keyword if named else positional


def _explained(module: nn.Module, failure: Exception | None) -> DiagramError:
    said = str(failure).strip().splitlines() or [type(failure).__name__]
    first = next((line.strip() for line in said if line.strip()), "")[:300]
    where = next((line.strip() for line in said if line.strip().startswith("File ")), "")
    remedy = (
        "rewrite the part without branches that depend on the values in a tensor (torch.where, torch.cond)"
    )
    if (
        "data-dependent" in str(failure)
        or "Could not guard" in str(failure)
        or "control flow" in str(failure)
    ):
        remedy += ",\n  or import the parts around it one by one: nk.from_torch(model.encoder, example)"
    else:
        remedy = (
            "call the module with the example first; if that works, import its parts one by one: "
            "nk.from_torch(model.encoder, example)"
        )
    return DiagramError(
        f"from_torch: torch.export cannot follow {type(module).__name__}\n"
        f"  torch said: {type(failure).__name__}: {first}\n"
        + (f"  at {where}\n" if where else "")
        + f"  {remedy}"
    )
