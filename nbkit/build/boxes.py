"""Torch boxes: which torch module stands behind a name, in this process.

A diagram stores a box's name, types and settings, never code, so a file from a stranger can ask for nothing
but what the running process has registered. Names that begin with `aten.` need no registration: they are
torch's own operations, limited to those that torch marks as functions of their arguments alone (tags core or
pointwise), with literal settings.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nbkit.language.errors import DiagramError, nearest
from nbkit.language.functions import Apply, Fn
from nbkit.language.ops import Torch
from nbkit.language.sizes import NAME

if TYPE_CHECKING:
    from torch import nn

Factory = Callable[..., Any]
_factories: dict[str, Factory] = {}


def box(factory: Factory, spec: str, name: str = "", settings: str = "") -> Fn:
    """A torch module as one opaque box of a diagram: `box(MyLayer, "x m -> x n=8")`.

    `factory` is a class or function that makes the module; it is called once for each node (and for each copy
    of a repetition), with `settings`: the text of literal arguments such as "8, bias=False". The axes of
    `spec` are the last dimensions of what the module is given and gives, in that order; all others (batches,
    then woven axes) come in front, the same on every input and output. The factory is registered in this
    process under `name` (its own name, if none is given), and a stored diagram finds it there again.
    `DiagramError` if it has no name, or `settings` are no literals.

    >>> from torch import nn
    >>> net = box(nn.Linear, "m -> n=2", settings="3, 2").on("x m=3").torch(seed=0)
    >>> [name for name, _ in net.named_parameters()]
    ['Linear.weight', 'Linear.bias']
    """
    name = name or _own_name(factory)
    op = Torch(name, spec, settings)
    arguments(op, f"box {name}")
    register(name, factory)
    last = name.rpartition(".")[2]
    return Apply(op, last if NAME.match(last) else "box", _caller())


def register(name: str, factory: Factory) -> None:
    """Makes `factory` known as the box called `name`; a cell that is run again puts its new one in place."""
    if isinstance(factory, type) or not hasattr(factory, "state_dict"):
        if not callable(factory):
            raise DiagramError(
                f"box '{name}' wants something that makes a module, found {type(factory).__name__}"
            )
        _factories[name] = factory
        return
    raise DiagramError(
        f"box '{name}' wants something that makes a module, found a module ({type(factory).__name__}); "
        "every copy of the box needs one of its own: give the class, or lambda: …"
    )


def find(name: str, place: str) -> Factory:
    """The factory behind a name; `DiagramError` (of the node at `place`) if this process knows none."""
    if name.startswith("aten."):
        return _aten(name, place)
    if name not in _factories:
        hint = nearest(name, _factories)
        raise DiagramError(
            f"the box at {place} is called '{name}', and no such box is known in this process "
            f"(known: {', '.join(sorted(_factories)) or 'none'}){'; ' * bool(hint)}{hint}\n"
            f'  run the cell that defines it, or register it: nk.box(factory, spec, name="{name}")'
        )
    return _factories[name]


def make(op: Torch, place: str) -> nn.Module:
    """The module of a box."""
    from torch import nn

    factory = find(op.name, place)
    positional, named = arguments(op, f"the box at {place}")
    module = factory(*positional, **named)
    if not isinstance(module, nn.Module):
        raise DiagramError(
            f"the box at {place} is made by '{op.name}', which gave {type(module).__name__} "
            "where a torch.nn.Module was expected\n  give a class of modules, or a function that returns one"
        )
    return module


def arguments(op: Torch, place: str) -> tuple[list[Any], dict[str, Any]]:
    """The literal arguments that a box's settings stand for; nothing is evaluated."""
    try:
        call = ast.parse(f"f({op.settings})", mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            names = [keyword.arg for keyword in call.keywords]
            values = [ast.literal_eval(keyword.value) for keyword in call.keywords]
            named = {name: value for name, value in zip(names, values, strict=True) if name is not None}
            if len(named) == len(names):
                return [ast.literal_eval(argument) for argument in call.args], named
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # all that reading can raise
        pass
    raise DiagramError(
        f"{place} has settings {op.settings[:80]!r}, which are no literal arguments; "
        'write them as in a call: settings="8, bias=False"'
    )


def _own_name(factory: Factory) -> str:
    """`GRUCell` for a class or function of that name."""
    name = str(getattr(factory, "__name__", ""))
    if not NAME.match(name):
        raise DiagramError(
            f"box needs a name for {name or type(factory).__name__}: "
            'box(factory, "x m -> x n", name="mixer"); stored diagrams find it by that name'
        )
    return name


def _caller() -> str:
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename.replace(chr(92), '/').rpartition('/')[2]}:{frame.f_lineno}"


def _aten(name: str, place: str) -> Factory:
    """One of torch's own operations as a module without weights: `aten.cumsum.default`."""
    import torch
    from torch import nn

    parts = name.split(".")
    packet = getattr(torch.ops.aten, parts[1], None) if len(parts) in (2, 3) and parts[1][:1] != "_" else None
    overload = parts[2] if len(parts) == 3 else "default"
    found = getattr(packet, overload, None) if packet is not None else None
    if not isinstance(found, torch._ops.OpOverload) or not _is_plain(found):
        raise DiagramError(
            f"the box at {place} is called '{name}', which is none of torch's plain operations "
            "(those with the tag core or pointwise, which write to none of their arguments)"
        )

    operation: Callable[..., Any] = found
    names = {argument.name: str(argument.type) for argument in found._schema.arguments}

    class Aten(nn.Module):
        """An operation of torch; settings are told by name, or follow the tensors."""

        def __init__(self, *positional: Any, **named: Any) -> None:
            super().__init__()
            self.positional, self.named = positional, named

        def forward(self, *inputs: Any) -> Any:
            left = [argument for argument in names if argument not in self.named]
            given = ([list(inputs)] if "List[Tensor]" in names[left[0]] else [*inputs]) + [*self.positional]
            return operation(**dict(zip(left, given, strict=False)), **self.named)

        def extra_repr(self) -> str:
            return name

    return Aten


def _is_plain(overload: Any) -> bool:
    import torch

    plain = {torch.Tag.core, torch.Tag.pointwise} & set(overload.tags)
    return bool(plain) and not overload._schema.is_mutable


def known() -> Mapping[str, Factory]:
    """The boxes of this process, by name."""
    return dict(_factories)
