"""What goes into a module: wires with one axis for each dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sympy import Integer, Symbol

from nbkit.build.importing.atoms import fresh
from nbkit.build.importing.batch import ASKED_FOR
from nbkit.build.importing.cells import Value, Wire
from nbkit.language.errors import DiagramError
from nbkit.language.sizes import symbol

if TYPE_CHECKING:
    from torch import Tensor, fx

    from nbkit.build.importing.reader import Reader
    from nbkit.language.axes import Token


def input_value(r: Reader, node: fx.Node, fake: Tensor, tokens: tuple[Token, ...] | None) -> Value:
    """An input of the module, one axis for each dimension, with the names that the user gave."""
    if tokens is not None and len(tokens) != fake.dim():
        shown = " ".join(map(str, tokens))
        sizes = tuple(int(r.hint(r.size(n))) for n in fake.shape)
        raise DiagramError(
            f"from_torch: axes '{shown}' name {len(tokens)} dimensions, but input '{node.name}' has "
            f"{fake.dim()}, of sizes {sizes}; give one axis for each"
        )
    dims = []
    for place, size in enumerate(fake.shape):
        token = tokens[place] if tokens is not None else None
        expression = r.size(size)
        if token is not None and isinstance(expression, Symbol) and expression.name != token.name:
            r.symbols[expression] = symbol(token.name)
            expression = symbol(token.name)
        if token is not None and token.size is not None and token.size != expression:
            raise DiagramError(
                f"from_torch: axis '{token}' of input '{node.name}' has size {expression} "
                f"in the example; write {token.name}={expression}, or '{token.name}' to leave it open"
            )
        atom = fresh(expression)
        if token is not None:
            atom.hint(token.name, ASKED_FOR)
        elif place == 0 and fake.dim() > 1:
            atom.hint("b", 2)
        elif place == 1 and fake.dim() == (3 if fake.is_floating_point() else 2):
            atom.hint("x", 2)
        dims.append((atom,))
    bound = None if fake.is_floating_point() else Integer(2**31 - 1)
    wire = Wire(tuple(a for dim in dims for a in dim), bound, node.name)
    value = Value(wire, tuple(dims))
    r.inputs.append(value)
    return value
