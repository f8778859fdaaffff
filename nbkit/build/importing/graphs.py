"""Reading torch's graphs: arguments by name, the modules that a call lies in, what the outputs need."""

from __future__ import annotations

from typing import Any

import torch
from sympy import Expr
from torch import Tensor, fx
from torch.fx.node import map_aggregate

from nbkit.build.importing.cells import Const, Scope, Stack
from nbkit.language.errors import DiagramError

VIEWS_OF_WEIGHTS = frozenset(
    ["t", "transpose", "permute", "view", "reshape", "unflatten", "flatten", "unsqueeze", "squeeze", "slice",
     "select", "contiguous", "clone", "detach", "split", "split_with_sizes", "chunk", "unbind", "alias",
     "numpy_T", "narrow", "mT", "to"]
)  # fmt: skip


def bind(target: Any, args: Any, named: Any) -> dict[str, Any]:
    """Arguments by their names in the schema, defaults included; `self` and `input` are called `x`."""
    found = {}
    for place, argument in enumerate(target._schema.arguments):
        if place < len(args):
            value = args[place]
        elif argument.name in named:
            value = named[argument.name]
        else:
            value = argument.default_value
        found["x" if argument.name in ("self", "input") else argument.name] = value
    return found


def stack_of(node: fx.Node) -> Stack:
    """The modules whose calls a node lies in, outermost first, without the whole."""
    found = []
    parent = ""
    for key, (path, kind) in list((node.meta.get("nn_module_stack") or {}).items())[1:]:
        name = path.removeprefix(f"{parent}.") if parent else path
        label = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
        found.append(Scope(key, name, label.rpartition(".")[2]))
        parent = path
    return tuple(found)


def needed_for(graph: fx.Graph, outputs: list[fx.Node]) -> set[fx.Node]:
    """The nodes that the outputs depend on, in-place changes of what they depend on included."""
    needed: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        changes = isinstance(node.target, torch._ops.OpOverload) and mutates(node.target)
        if node in outputs or node in needed or (changes and node.args and node.args[0] in needed):
            if (
                changes
                and node not in needed
                and node not in outputs
                and not any(u in needed for u in node.users)
            ):
                spec = str(node.args[0])
                if spec.startswith("b_"):
                    continue  # a counter that the module keeps for itself
            needed.add(node)
            needed.update(node.all_input_nodes)
    return needed


def mutates(target: torch._ops.OpOverload) -> bool:
    """True for a call that writes to its first argument."""
    arguments = target._schema.arguments
    return bool(arguments and arguments[0].alias_info is not None and arguments[0].alias_info.is_write)


def leaves(x: Any) -> list[Any]:
    """What nested lists hold."""
    if isinstance(x, tuple | list):
        return [leaf for part in x for leaf in leaves(part)]
    if isinstance(x, dict):
        return leaves(list(x.values()))
    return [x]


def concrete(x: Any) -> Any:
    """A constant as the tensor that it is, a size as a number."""
    if isinstance(x, Const):
        return x.tensor
    if isinstance(x, Expr):
        return int(x)
    return x


def hinted(fake: Tensor) -> int:
    """How many numbers a tensor holds for the example."""
    total = 1
    for n in fake.shape:
        total *= int(getattr(getattr(n, "node", None), "hint", n) or 1)
    return total


def no_words(node: fx.Node, reason: str) -> DiagramError:
    """The error for a call that is neither understood nor fit for a box."""
    stack = stack_of(node)
    where = f" in module '{'.'.join(scope.name for scope in stack)}'" if stack else ""
    return DiagramError(
        f"from_torch: {node.target}{where} can be no part of a diagram, not even as an opaque box: {reason}\n"
        "  give every size in axes (or none), or import the modules around it one by one"
    )


def said(x: Any) -> str:
    """Arguments as text; a constant is told by where it was made."""

    def told(a: Any) -> Any:
        return f"constant {a.order}" if isinstance(a, Const) else a

    return str(map_aggregate(x, told))
