"""The forward as an engineer would write it: the compiler's own lines, in plainer dress.

Every op is written by the same functions that write the compiled forward (`nbkit.build.emit`); what differs
is how sizes, reshapes, masks and calls of kernels are said, and a few ops that read better in another way.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from nbkit.build.emit.parts import shape_of
from nbkit.build.forward import Dim, Forward, Value
from nbkit.build.names import identifier
from nbkit.build.plan import Step
from nbkit.build.source.helpers import HELPERS
from nbkit.build.source.inline import Statement
from nbkit.build.source.parameters import AMBIGUOUS, Names, Size
from nbkit.language import ops, relations
from nbkit.language.axes import Array
from nbkit.language.diagram import Node
from nbkit.language.parts import Scan

if TYPE_CHECKING:
    from sympy import Expr

_SIZE = re.compile(r"\bSIZE_(\d+)_")
_SYMBOLS: dict[type[ast.cmpop], str] = {
    ast.LtE: "<=", ast.Lt: "<", ast.GtE: ">=", ast.Gt: ">", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
_OPPOSITE = {"<=": ">", "<": ">=", ">=": "<", ">": "<=", "==": "!=", "!=": "=="}


@dataclass
class Dressed(Forward):
    """A forward whose sizes are the class's own (`self.h`), whose variables are lower-case."""

    way: ClassVar[str] = "source"
    needs: list[Size] = field(default_factory=list)  # sizes that were asked for
    statements: list[Statement] = field(default_factory=list)
    own: set[str] = field(default_factory=set)  # variables that the diagram names
    norms: dict[str, str] = field(default_factory=dict)  # which batch norm a node is
    one_batch: bool = False  # whether some kernel takes no more than one batch dimension
    nodes: tuple[str, ...] = ()  # those that are being written

    def fresh(self, wanted: str) -> str:
        self.taken |= {*HELPERS, *AMBIGUOUS, "nn", "math"}
        name = identifier(wanted.lower(), self.taken)
        self.taken.add(name)
        return name

    def variable(self, step: Step, number: int = 0) -> str:
        op, wire = step.node.op, step.outs[number]
        inner = op.body.wires[op.body.outs[number]].name if isinstance(op, Scan) else ""
        if isinstance(op, Scan) and number < op.states:
            inner = op.body.wires[op.body.ins[number]].name or inner
        if inner and not self.diagram.wires[wire].name:
            return self.fresh(inner)
        name = super().variable(step, number)
        if self.diagram.wires[step.outs[number]].name:
            self.own.add(name)
        return name

    def line(self, code: str, comment: str = "") -> None:
        if code.startswith("check_stride("):
            return
        code = re.sub(r"(?<![\w.])inf\b", "torch.inf", code)
        target = re.match(r"(\w+) = ", code)
        named = target is not None and target[1] in self.own
        self.statements.append(Statement(code, comment, self.nodes, named))

    def write(self, step: Step) -> None:
        """Writes the lines of one step."""
        from nbkit.build.source.plainer import plainly

        self.nodes = tuple(node.id for node in step.nodes)
        plainly(step.op, self, step)

    def done(self) -> None:
        """Writes the `return`."""
        self.nodes = ()
        results = ", ".join(self.conformed(wire) for wire in self.diagram.outs)
        self.line(f"return {results}", ", ".join(shape_of(self, wire) for wire in self.diagram.outs))

    # -- how things are said -----------------------------------------------------------------------------

    def axis(self, array: Array, name: str) -> str:
        size = array[name].size
        if not size.is_Integer:
            return self.size(size)
        key = (name, int(size))
        if key not in self.needs:
            self.needs.append(key)
        return f"SIZE_{self.needs.index(key)}_"  # named at the end; variables are lower-case

    def spoken(self) -> list[Size]:
        """The sizes that the text speaks of."""
        text = " ".join(statement.code for statement in self.statements)
        return [self.needs[int(number)] for number in dict.fromkeys(_SIZE.findall(text))]

    def named(self, names: Names) -> list[Statement]:
        """The statements, sizes called by the class's attributes; numbers where they have no name."""

        def name(match: re.Match[str]) -> str:
            size = self.needs[int(match[1])]
            return f"self.{names[size]}" if size in names else str(size[1])

        return [replace(s, code=_SIZE.sub(name, s.code)) for s in self.statements]

    def unflatten(self, text: str, at: int, sizes: Sequence[str]) -> str:
        if len(sizes) < 2:
            return super().unflatten(text, at, sizes)
        return f"{primary(text)}.unflatten({at}, ({', '.join(sizes)}))"

    def images(self, kernel: str, text: str, n: int, *settings: str, plain: bool) -> str:
        if kernel == "F.interpolate":
            factor = settings[1].removesuffix(".0")
            return text + "".join(f".repeat_interleave({factor}, {-place})" for place in range(n, 0, -1))
        if kernel.startswith("self."):
            node = self.node(kernel.removeprefix("self."))
            if isinstance(node.op, ops.Norm):
                self.norms[node.id] = self.norm(node.op, node.ins[0], n)
                return f"{kernel}({text})"
        else:
            kernel, settings = kernel.replace("torch.", "F."), _pool(settings)
        if plain:
            self.one_batch = True
            return f"{kernel}({', '.join((text, *settings))})"
        if any("=" in setting for setting in settings):  # in their places, as the helper hands them on
            settings = tuple(setting.partition("=")[2] or setting for setting in settings)
        return f"spatial({', '.join((kernel, text, str(n), *settings))})"

    def node(self, attribute: str) -> Node:
        """The node whose submodule has this name."""
        return next(node for node in self.diagram.nodes if self.attributes[node.id] == attribute)

    def norm(self, op: ops.Norm, wire: int, n: int) -> str:
        """The norm of images of n dimensions; a flat one where they are known to be one pixel wide."""
        if op.how != "batch":
            return f"GroupNorm{n}d" if n else "VectorGroupNorm"
        image = self.type(wire).without((*op.per.split(), *op.axes.split()))
        return f"BatchNormFlat {n}" if n > 1 and any(axis.size == 1 for axis in image) else f"BatchNorm{n}d"

    def rows(self, kernel: str, text: str) -> str:
        self.norms[self.nodes[-1]] = "VectorBatchNorm"
        return f"{kernel}({text})"

    def letters(self, order: Sequence[Dim]) -> dict[Dim, str]:
        own = {dim: dim[0] for dim in order if len(dim[0]) == 1 and dim[0].isascii() and dim[1] == 0}
        return own if len(own) == len(order) else super().letters(order)

    def joined(self, wires: Sequence[int], texts: Sequence[str], place: int) -> str:
        return super().joined(wires, texts, place).replace(",),", ")," if len(texts) > 1 else ",),")

    def causal(self, queries: Expr, keys: Expr) -> bool:
        return True  # torch aligns its causal mask to the upper left, as "x <= y" says

    def mask(
        self,
        which: str,
        texts: Sequence[str],
        order: Sequence[Dim],
        shapes: Sequence[Value],
        over: Sequence[str],
    ) -> Value:
        names = {}
        for place, dim in enumerate(order):
            name = names[dim[0]] = self.fresh(dim[0])
            self.own.add(name)
            later = len(order) - place - 1
            column = f"[:{', None' * later}]" if later else ""
            extent = self.extent(dim, *shapes)
            self.line(f"{name} = torch.arange({extent}, device={shapes[0].text}.device){column}")
        parts = [part for text in texts for part in comparisons(text, names)]
        hide = which == "forbidden"
        if len(parts) == 1:
            left, symbol, right = parts[0]
            code = f"{left} {_OPPOSITE[symbol] if hide else symbol} {right}"
        else:
            both = " & ".join(f"({' '.join(part)})" for part in parts)
            code = f"~({both})" if hide else both
        return self.let("hidden" if hide else "mask", code, order, batched=False)


def _pool(settings: tuple[str, ...]) -> tuple[str, ...]:
    """Settings of a pool, those that torch would choose anyway left out."""
    size, stride, padding, *dilation = settings
    if dilation == ["1"]:
        dilation = []
    if dilation:
        return (size, f"stride={stride}", f"padding={padding}", f"dilation={dilation[0]}")
    if padding != "0":
        return (size, f"stride={stride}", f"padding={padding}")
    return (size,) if stride == size else (size, f"stride={stride}")


def comparisons(relation: str, names: dict[str, str]) -> list[tuple[str, str, str]]:
    """The comparisons of a relation, chains taken apart, over the variables that hold the indices."""
    found = []
    for part in relations.parse_relation(relation):
        sides = [part.left, *part.comparators]
        for left, op, right in zip(sides, part.ops, sides[1:], strict=False):
            found.append((_renamed(left, names), _SYMBOLS[type(op)], _renamed(right, names)))
    return found


def _renamed(side: ast.expr, names: dict[str, str]) -> str:
    tree = ast.parse(ast.unparse(side), mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
    return ast.unparse(tree)


def primary(text: str) -> str:
    """The text in brackets, unless it binds tighter than a method call."""
    expression = ast.parse(text, mode="eval").body
    plain = isinstance(expression, ast.Call | ast.Attribute | ast.Subscript | ast.Name)
    return text if plain else f"({text})"
