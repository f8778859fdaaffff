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
from torch import Tensor, fx
from torch.export.graph_signature import InputKind
from torch.fx.node import map_arg

from nbkit.build.importing.cells import (
    Carry,
    Unsuitable,
    Value,
    Weight,
)
from nbkit.build.importing.exporting import Exported
from nbkit.build.importing.graphs import (
    bind,
    mutates,
    needed_for,
    no_words,
    stack_of,
)
from nbkit.build.importing.inputs import input_value
from nbkit.build.importing.knowing import Knowing
from nbkit.language.axes import Token
from nbkit.language.errors import DiagramError

Rule = Callable[..., Any]
R = TypeVar("R", bound=Rule)
RULES: dict[str, Rule] = {}
LARGEST_CONSTANT = 1 << 26
_NOTHING = frozenset(
    ["_assert_tensor_metadata", "_assert_async", "_assert_scalar", "sym_constrain_range_for_size"]
)
_LABELS = frozenset(["cos", "sin"])


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
class Reader(Knowing):
    """One import: the graph, and what is known of each of its nodes."""

    exported: Exported = None  # type: ignore[assignment]  # always given
    tokens: tuple[tuple[Token, ...] | None, ...] = ()
    env: dict[fx.Node, Any] = field(default_factory=dict)
    understood: int = 0
    notes: list[str] = field(default_factory=list)
    opaque: Counter[str] = field(default_factory=Counter)
    outputs: list[Any] = field(default_factory=list)
    fallback: Rule | None = None
    phrases: dict[fx.Node, Any] = field(default_factory=dict)
    node: fx.Node | None = None

    @property
    def called(self) -> str:
        """The name of the aten function that is being read, as in `aten::rsub`."""
        schema = getattr(getattr(self.node, "target", None), "_schema", None)
        return "" if schema is None else str(schema.name)

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
                self.env[node] = self.constant_of(tensor, node, source=str(spec.target))
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
        result = self.computed(node, node.target, name, args, named)
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

    def _verify(self, result: Any, val: Any) -> None:
        """What a rule made has the sizes that torch says."""
        pairs = zip(result, val, strict=False) if isinstance(result, tuple | list) else ((result, val),)
        for mine, theirs in pairs:
            if isinstance(mine, Value) and isinstance(theirs, Tensor):
                wanted = tuple(self.size(n) for n in theirs.shape)
                if mine.sizes != wanted:
                    raise Unsuitable(f"sizes {mine.sizes} instead of {wanted}")
