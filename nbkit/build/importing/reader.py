"""Reads an exported graph call by call: what is constant is computed, what is understood becomes cells, what
is not becomes an opaque box and is counted.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from sympy import Expr, Integer, Symbol, floor
from torch import Tensor, fx
from torch.export.graph_signature import InputKind
from torch.fx.node import map_aggregate, map_arg
from torch.utils._sympy.functions import FloorDiv

from nbkit.build.importing.cells import (
    Carry,
    Const,
    Unsuitable,
    Value,
    Weight,
    is_tensor,
    same_numbers,
    seen,
)
from nbkit.build.importing.desk import Desk
from nbkit.build.importing.exporting import Exported
from nbkit.build.importing.graphs import (
    VIEWS_OF_WEIGHTS,
    bind,
    concrete,
    hinted,
    leaves,
    mutates,
    needed_for,
    no_words,
    stack_of,
)
from nbkit.build.importing.inputs import input_value
from nbkit.language.axes import Token
from nbkit.language.errors import DiagramError
from nbkit.language.sizes import canonical, symbol

Rule = Callable[..., Any]
R = TypeVar("R", bound=Rule)
RULES: dict[str, Rule] = {}
LARGEST_CONSTANT = 1 << 26
_NOTHING = frozenset(
    ["_assert_tensor_metadata", "_assert_async", "_assert_scalar", "sym_constrain_range_for_size"]
)
_LABELS = frozenset(["cos", "sin"])
_RANDOM = frozenset(["rand", "randn", "randint", "bernoulli", "rand_like", "randn_like", "multinomial"])


def rule(*names: str) -> Callable[[R], R]:
    """Registers what is done with calls of these aten operations (by their schema's argument names; `self`
    and `input` are `x`).
    """

    def register(function: R) -> R:
        for name in names:
            RULES[name] = function
        return function

    return register


@dataclass
class Reader(Desk):
    """One import: the graph, and what is known of each of its nodes."""

    exported: Exported = None  # type: ignore[assignment]  # always given; a dataclass field after defaults
    tokens: tuple[tuple[Token, ...] | None, ...] = ()
    env: dict[fx.Node, Any] = field(default_factory=dict)
    understood: int = 0
    notes: list[str] = field(default_factory=list)
    opaque: Counter[str] = field(default_factory=Counter)
    symbols: dict[Symbol, Expr] = field(default_factory=dict)
    hints: dict[Expr, int] = field(default_factory=dict)
    outputs: list[Any] = field(default_factory=list)
    fallback: Rule | None = None
    phrases: dict[fx.Node, Any] = field(default_factory=dict)
    node: fx.Node | None = None
    _calls: int = 0

    def read(self, output: list[fx.Node]) -> None:
        """Reads the graph as far as these outputs need it."""
        graph = self.exported.program.graph
        needed = needed_for(graph, output)
        inside = {node for last, phrase in self.phrases.items() for node in phrase.nodes if node is not last}
        self._inputs(graph)
        for node in graph.nodes:
            if node in needed and node not in inside and node.op == "call_function":
                self._call(node)
        self.outputs = [self.env[node] for node in output]

    # -- inputs ------------------------------------------------------------------------------------------

    def _inputs(self, graph: fx.Graph) -> None:
        program = self.exported.program
        placeholders = [node for node in graph.nodes if node.op == "placeholder"]
        tensors = {**dict(program.named_parameters()), **dict(program.named_buffers()), **program.constants}
        users = []
        for node, spec in zip(placeholders, program.graph_signature.input_specs, strict=True):
            if spec.kind is InputKind.USER_INPUT:
                users.append(node)
                continue
            tensor = tensors[spec.target]
            if spec.kind is InputKind.PARAMETER:
                self.env[node] = Weight(Carry(spec.target, tensor), tuple(tensor.shape))
            else:
                self.env[node] = self._constant(tensor, node, source=str(spec.target))
        given = iter(self.tokens)
        for node in users:
            fake = node.meta.get("val")
            if isinstance(fake, Tensor):
                self.env[node] = input_value(self, node, fake, next(given, None))
            else:
                self.env[node] = node.meta.get("val", node.args[0] if node.args else None)

    # -- calls -------------------------------------------------------------------------------------------

    def _call(self, node: fx.Node) -> None:
        self._calls += 1
        self.stack, self.order, self.node = stack_of(node), (self._calls,), node
        args = map_arg(node.args, self._look)
        named = map_arg(node.kwargs, self._look)
        self.env[node] = self._result(node, args, named)
        if isinstance(node.target, torch._ops.OpOverload) and mutates(node.target) and node.args:
            changed = node.args[0]
            if isinstance(changed, fx.Node):
                self.env[changed] = self.env[node]

    def _look(self, node: fx.Node) -> Any:
        return self.env.get(node, node)

    def _result(self, node: fx.Node, args: Any, named: Any) -> Any:
        target = node.target
        if target is operator.getitem:
            return args[0][args[1]]
        val = node.meta.get("val")
        if isinstance(val, torch.SymInt | torch.SymFloat | torch.SymBool):
            self.understood += 1
            return self.size(val) if isinstance(val, torch.SymInt) else val
        if isinstance(target, torch._ops.HigherOrderOperator):
            return self._inlined(node, args)
        name = target._schema.name.removeprefix("aten::") if hasattr(target, "_schema") else str(target)
        plain = name.removesuffix("_") if not name.startswith("_") else name
        if plain in _NOTHING:
            self.understood += 1
            return None
        if node in self.phrases:
            result = self._phrase(node, val)
            if result is not None:
                return result
            args, named = map_arg(node.args, self._look), map_arg(node.kwargs, self._look)
        before = len(self.cells)
        try:
            result = self._expressed(node, plain, args, named)
            self.understood += 1
        except Unsuitable as reason:
            self._undo(before)
            if self.fallback is None:
                raise
            try:
                result = self.fallback(self, node, args, named, str(reason))
            except Unsuitable as still:
                raise no_words(node, str(still)) from None
            self._verify(result, val)
            self.opaque[str(target)] += 1
        return result

    def _expressed(self, node: fx.Node, name: str, args: Any, named: Any) -> Any:
        result = self._computed(node, node.target, name, args, named)
        if result is None:
            if name not in RULES:
                raise Unsuitable(f"no rule for {name}")
            result = RULES[name](self, **bind(node.target, args, named))
            self._verify(result, node.meta.get("val"))
        return result

    def _undo(self, before: int) -> None:
        """Takes back the cells that were made since."""
        del self.cells[before:]
        self._splits.clear()
        self._made.clear()

    def _phrase(self, node: fx.Node, val: Any) -> Any:
        """The result of a phrase; None where it cannot be expressed: its calls are then read one by one."""
        phrase, before = self.phrases.pop(node), len(self.cells)
        try:
            result = phrase.read(self)
            self._verify(result, val)
        except Unsuitable:
            self._undo(before)
            inner = set(phrase.nodes) - {node}
            for other in node.graph.nodes:
                if other in inner:
                    self._call(other)
            self.stack, self.order, self.node = stack_of(node), (self._calls,), node
            return None
        self.understood += len(phrase.nodes)
        return result

    def _inlined(self, node: fx.Node, args: Any) -> Any:
        """Torch's wrappers around a part of the graph (no_grad, autocast): the part itself."""
        inner = next((a for a in node.args if isinstance(a, fx.Node) and a.op == "get_attr"), None)
        if inner is None or not str(node.target).startswith("wrap_with"):
            raise DiagramError(
                f"from_torch: the graph branches at {node.target}, which a diagram cannot express\n"
                "  import the branches one by one: nk.from_torch(model.encoder, example)"
            )
        part = self.exported.program.graph_module.get_submodule(str(inner.target))
        given = list(args[list(node.args).index(inner) + 1 :])
        for child in part.graph.nodes:
            if child.op == "placeholder":
                self.env[child] = given.pop(0)
            elif child.op == "call_function":
                child.meta.setdefault("nn_module_stack", node.meta.get("nn_module_stack"))
                self._call(child)
            elif child.op == "output":
                return map_arg(child.args[0], self._look)
        return None

    def _computed(self, node: fx.Node, target: Any, name: str, args: Any, named: Any) -> Any:
        """The result of a call on constants, or a view of a parameter; None for anything else."""
        tensors = [x for x in leaves((args, named)) if is_tensor(x)]
        if any(isinstance(x, Value) for x in tensors) or name in _RANDOM:
            return None
        val = node.meta.get("val")
        fakes = [v for v in (val if isinstance(val, tuple | list) else (val,)) if isinstance(v, Tensor)]
        if not any(isinstance(x, Weight) for x in tensors):
            if sum(hinted(f) for f in fakes) > LARGEST_CONSTANT:
                return None
            with torch.no_grad():
                result = target(*map_aggregate(args, self._known), **map_aggregate(named, self._known))
            if isinstance(result, tuple | list):
                return [self._constant(r, node, fake=f) for r, f in zip(result, fakes, strict=True)]
            found = self._constant(result, node, fake=fakes[0] if fakes else None)
            return next((seen(x, found) for x in tensors if same_numbers(x, found)), found)
        if name in VIEWS_OF_WEIGHTS and isinstance(args[0], Weight) and len(tensors) == 1:
            return self._viewed(args[0], target, args[1:], named, val)
        return None

    def _known(self, x: Any) -> Any:
        return int(self.hint(x)) if isinstance(x, Expr) else concrete(x)

    def _viewed(self, weight: Weight, target: Any, args: Any, named: Any, val: Any) -> Any:
        rest, words = map_aggregate(args, self._known), map_aggregate(named, self._known)
        what = (str(target), str(rest), str(words))
        if isinstance(val, tuple | list):

            def part(i: int) -> Callable[[Tensor], Tensor]:
                return lambda t: target(t, *rest, **words)[i]

            carry = weight.carry
            return [Weight(carry.then((*what, i), part(i)), tuple(v.shape)) for i, v in enumerate(val)]
        return Weight(
            weight.carry.then(what, lambda t: target(t, *rest, **words)), tuple(map(int, val.shape))
        )

    def _constant(self, tensor: Tensor, node: fx.Node, fake: Tensor | None = None, source: str = "") -> Const:
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

    def _verify(self, result: Any, val: Any) -> None:
        """What a rule made has the sizes that torch says."""
        pairs = zip(result, val, strict=False) if isinstance(result, tuple | list) else ((result, val),)
        for mine, theirs in pairs:
            if isinstance(mine, Value) and isinstance(theirs, Tensor):
                wanted = tuple(self.size(n) for n in theirs.shape)
                if mine.sizes != wanted:
                    raise Unsuitable(f"sizes {mine.sizes} instead of {wanted}")
