"""The forward as an engineer would write it: the compiler's own lines, in plainer dress.

Every op is written by the same functions that write the compiled forward (`nbkit.build.emit`); what differs
is how sizes, reshapes, masks and calls of kernels are said, and a few ops that read better in another way.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import TYPE_CHECKING

from nbkit.build.emit import emit
from nbkit.build.emit.parts import shape_of
from nbkit.build.forward import Dim, Forward, Value, dims
from nbkit.build.names import identifier
from nbkit.build.plan import Attention, Step
from nbkit.build.source.helpers import HELPERS
from nbkit.build.source.inline import Statement
from nbkit.build.source.parameters import AMBIGUOUS, Names, Size
from nbkit.language import ops, relations
from nbkit.language.axes import Array
from nbkit.language.parts import Repeat
from nbkit.language.sizes import parse_size

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
        self.nodes = tuple(node.id for node in step.nodes)
        dress(step.op, self, step)

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
        node = next(n for n in self.diagram.nodes if n.id == self.nodes[-1])
        if isinstance(node.op, ops.Norm):
            self.norms[node.id] = self.norm(node.op, node.ins[0], n)
            return f"{kernel}({text})"
        if not kernel.startswith("self."):  # a pool
            kernel, settings = kernel.replace("torch.", "F."), self.pool(settings)
        if plain:
            self.one_batch = True
            return f"{kernel}({', '.join((text, *settings))})"
        if any("=" in setting for setting in settings):  # in their places, as the helper hands them on
            settings = tuple(setting.partition("=")[2] or setting for setting in settings)
        return f"spatial({', '.join((kernel, text, str(n), *settings))})"

    def norm(self, op: ops.Norm, wire: int, n: int) -> str:
        """The batch norm of images of n dimensions; flat where one of them is known to be one pixel wide."""
        image = self.type(wire).without((*op.per.split(), *op.axes.split()))
        return f"BatchNormFlat {n}" if n > 1 and any(axis.size == 1 for axis in image) else f"BatchNorm{n}d"

    def pool(self, settings: tuple[str, ...]) -> tuple[str, ...]:
        """Settings of a pool, those that torch would choose anyway left out."""
        size, stride, padding, *dilation = settings
        if dilation == ["1"]:
            dilation = []
        if dilation:
            return (size, f"stride={stride}", f"padding={padding}", f"dilation={dilation[0]}")
        if padding != "0":
            return (size, f"stride={stride}", f"padding={padding}")
        return (size,) if stride == size else (size, f"stride={stride}")

    def rows(self, kernel: str, text: str) -> str:
        self.norms[self.nodes[-1]] = "BatchNorm"
        return f"{kernel}({text})"

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


@singledispatch
def dress(op: object, f: Dressed, step: Step) -> None:
    """Writes the lines of one step, as the compiler does unless it is said otherwise here."""
    emit(op, f, step)


@dress.register
def _(op: Attention, f: Dressed, step: Step) -> None:
    emit(op, f, step)
    query = step.ins[0]
    factor, features = parse_size("1"), parse_size("1")
    for text in op.factors:
        factor = factor * parse_size(text)
    for name in op.contracted:
        features = features * f.type(query)[name].numel
    last = f.statements[-1]
    if (factor**2 * features - 1).is_zero and factor.is_positive:  # the scale that torch takes by itself
        code = last.code.replace(f", scale={f.number(factor)}", "")
        f.statements[-1] = Statement(code, last.comment, last.nodes, last.named)


@dress.register
def _(_op: ops.Positions, f: Dressed, step: Step) -> None:
    (target,) = step.outs
    order = dims(f.type(target))
    code = f"{f.module(step)}.weight"
    held = f.weights[step.node.id]
    if len(order) != 2 or len(held.rows) != 1:
        sizes = [f.axis(f.type(target), name) for name, _ in order]
        code += f".view({', '.join(sizes) or '()'})"
    f.assign(step, code, order, batched=False)


@dress.register
def _(op: ops.Dropout, f: Dressed, step: Step) -> None:
    (wire,) = step.ins
    x = f.value(wire)
    f.assign(step, f"F.dropout({x.text}, {float(op.p)!r}, self.training)", x.dims, batched=x.batched)


@dress.register
def _(op: ops.Slice, f: Dressed, step: Step) -> None:
    (wire,) = step.ins
    x = f.value(wire)
    places = [place for place, dim in enumerate(x.dims) if dim[0] == op.axis]
    start = str(op.start) if op.start else ""
    what = str(op.start) if op.drop else f"{start}:{'' if op.stop is None else op.stop}"
    indices = [what if place in places else ":" for place in range(places[0], len(x.dims))]
    order = [dim for dim in x.dims if not (op.drop and dim[0] == op.axis)]
    f.assign(step, f"{x.text}[..., {', '.join(indices)}]", order, batched=x.batched)


@dress.register
def _(op: Repeat, f: Dressed, step: Step) -> None:
    users = [w for n in f.diagram.nodes for w in n.ins] + list(f.diagram.outs)
    values = [f.value(wire) for wire in step.ins]
    free = all(users.count(wire) == 1 and f.conformed(wire) == f.value(wire).text for wire in step.ins)
    if not free or len({value.text for value in values}) < len(values):
        emit(op, f, step)
        return
    both = ", ".join(value.text for value in values)  # nobody else reads them: they run through the loop
    head = f"for _ in range({int(op.n)}):" if op.tied else f"for layer in {f.module(step)}:"
    f.line(head)
    f.line(
        f"    {both} = {f.module(step) if op.tied else 'layer'}({both})",
        ", ".join(shape_of(f, wire) for wire in step.outs),
    )
    for wire, value in zip(step.outs, values, strict=True):
        f.values[wire] = Value(value.text, dims(f.type(wire)))
