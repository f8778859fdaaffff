"""What is known at import: constants are computed, views of parameters are kept as views, sizes are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from sympy import Expr, Integer, Symbol, floor
from torch import Tensor, fx
from torch.fx.node import map_aggregate
from torch.utils._sympy.functions import FloorDiv

from nbkit.build.importing.cells import Const, Value, Weight, is_tensor, same_numbers, seen
from nbkit.build.importing.desk import Desk
from nbkit.build.importing.exporting import RANDOM
from nbkit.build.importing.graphs import VIEWS_OF_WEIGHTS, concrete, hinted, leaves, said, stack_of
from nbkit.language.sizes import canonical, symbol

LARGEST_CONSTANT = 1 << 26
_FILLS = frozenset(
    ["zeros", "ones", "full", "new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like",
     "expand", "view", "reshape", "slice", "select", "narrow"]
)  # fmt: skip
_LABELS = frozenset(["cos", "sin"])


@dataclass
class Knowing(Desk):
    """A desk that knows sizes and constants."""

    symbols: dict[Symbol, Expr] = field(default_factory=dict)
    hints: dict[Expr, int] = field(default_factory=dict)
    _calls: int = 0

    def computed(self, node: fx.Node, target: Any, name: str, args: Any, named: Any) -> Any:
        """The result of a call on constants, or a view of a parameter; None for anything else."""
        tensors = [x for x in leaves((args, named)) if is_tensor(x)]
        if any(isinstance(x, Value) for x in tensors) or name in RANDOM:
            return None
        val = node.meta.get("val")
        fakes = [v for v in (val if isinstance(val, tuple | list) else (val,)) if isinstance(v, Tensor)]
        if not any(isinstance(x, Weight) for x in tensors):
            if sum(hinted(f) for f in fakes) > LARGEST_CONSTANT:
                return None
            with torch.no_grad():
                result = target(*map_aggregate(args, self._known), **map_aggregate(named, self._known))
            if isinstance(result, tuple | list):
                return [self.constant_of(r, node, fake=f) for r, f in zip(result, fakes, strict=True)]
            found = self.constant_of(result, node, fake=fakes[0] if fakes else None)
            sized = any(isinstance(x, Expr) and not x.is_Integer for x in leaves((args, named)))
            if any(isinstance(x, Const) and x.depends for x in tensors) or (sized and name not in _FILLS):
                found = replace(found, depends=True)
            return next((seen(x, found) for x in tensors if same_numbers(x, found)), found)
        if (
            name == "index"
            and isinstance(args[0], Weight)
            and not any(isinstance(x, Value | Weight) for x in tensors[1:])
        ):
            return self._viewed(args[0], target, args[1:], named, val)
        if name in VIEWS_OF_WEIGHTS and isinstance(args[0], Weight) and len(tensors) == 1:
            return self._viewed(args[0], target, args[1:], named, val)
        return None

    def _known(self, x: Any) -> Any:
        return int(self.hint(x)) if isinstance(x, Expr) else concrete(x)

    def _viewed(self, weight: Weight, target: Any, args: Any, named: Any, val: Any) -> Any:
        rest, words = map_aggregate(args, self._known), map_aggregate(named, self._known)
        what = (str(target), said(args), said(named))
        if isinstance(val, tuple | list):

            def part(i: int) -> Callable[[Tensor], Tensor]:
                return lambda t: target(t, *rest, **words)[i]

            carry = weight.carry
            return [Weight(carry.then((*what, i), part(i)), tuple(v.shape)) for i, v in enumerate(val)]
        return Weight(
            weight.carry.then(what, lambda t: target(t, *rest, **words)), tuple(map(int, val.shape))
        )

    def constant_of(
        self, tensor: Tensor, node: fx.Node, fake: Tensor | None = None, source: str = ""
    ) -> Const:
        sizes = tuple(self.size(n) for n in (tensor if fake is None else fake).shape)
        order = self._calls if node.op == "call_function" else 0
        label = node.name if node.name in _LABELS else ""
        return Const(tensor, order, stack_of(node), sizes, source, label)

    def size(self, n: Any) -> Expr:
        """A size as an expression of the language."""
        if isinstance(n, int):
            return Integer(n)
        if isinstance(n, torch.SymInt):
            found = n.node.expr
            for s in found.free_symbols:
                if s not in self.symbols:
                    self.symbols[s] = symbol(s.name)
                self.hints[self.symbols[s]] = int(n.node.shape_env.backed_var_to_val[s])
            return canonical(found.replace(FloorDiv, self._divided).xreplace(self.symbols))
        expression: Expr = n
        return expression

    def _divided(self, top: Expr, bottom: Expr) -> Expr:
        """A division that leaves no rest in the example is taken to leave none ever."""
        known = {s: self.hints.get(self.symbols.get(s, s), 1) for s in top.free_symbols | bottom.free_symbols}
        exact = (top / bottom).subs(known).is_integer
        return top / bottom if exact else floor(top / bottom)

    def hint(self, size: Expr) -> Expr:
        """What a size is in the example."""
        return size.subs(self.hints)
