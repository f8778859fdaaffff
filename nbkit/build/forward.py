"""The text of one `forward`, line by line: variables, dimensions, sizes and shape comments.

The order of a tensor's dimensions is the compiler's own affair. Every value knows which axis each of its
dimensions is; an op leaves whatever order its kernel produces, values are aligned by name where two meet, and
only the inputs and outputs of a block are brought to the order of their types. Leading dimensions that no
axis names (batches) may be there or not: dimensions are counted from the end throughout. An axis of rank 2 is
two dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_letters
from typing import ClassVar

from sympy import Add, Expr, Integer, Mul, Pow, Rational, Symbol, ceiling, floor, solve

from nbkit.build.batches import Source
from nbkit.build.names import TAKEN_BY_CODE, identifier
from nbkit.build.plan import Step
from nbkit.build.weights import Weights
from nbkit.language.axes import Array, Axis
from nbkit.language.diagram import Diagram
from nbkit.language.errors import BindingError, DiagramError
from nbkit.language.sizes import format_size

Dim = tuple[str, int]  # an axis and which of its `rank` dimensions
LONGEST_LINE = 88
WIDEST = 48  # shape comments stand in one column, unless a line is longer than this


@dataclass(frozen=True)
class Value:
    """A tensor in generated code: its variable, what its dimensions are, whether batches may precede."""

    text: str
    dims: tuple[Dim, ...]
    batched: bool = True

    def at(self, dim: Dim) -> int:
        """The dimension's index, counted from the end."""
        return self.dims.index(dim) - len(self.dims)


@dataclass
class Forward:
    """The forward that is being written."""

    way: ClassVar[str] = "torch"  # the method of a diagram that writes this
    diagram: Diagram
    attributes: dict[str, str]
    weights: dict[str, Weights]
    prefix: str = ""
    lines: list[tuple[str, str]] = field(default_factory=list)  # code, comment
    values: dict[int, Value] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    batches: Mapping[int, Source] = field(default_factory=dict)  # which batches stand in front of each wire
    keeps_like: bool = False  # whether the module keeps an empty tensor that says its kind of numbers

    def __post_init__(self) -> None:
        self.taken = set(TAKEN_BY_CODE)
        for number, wire in enumerate(self.diagram.ins, start=1):
            default = "x" if len(self.diagram.ins) == 1 else f"x_{number}"
            name = self.fresh(self.diagram.wires[wire].name or default)
            if wire not in self.values:
                self.values[wire] = Value(name, dims(self.diagram.wires[wire].type))
        self.inputs = [self.values[wire].text for wire in self.diagram.ins]

    def fresh(self, wanted: str) -> str:
        """A variable of that name, or of the nearest free one."""
        name = identifier(wanted, self.taken)
        self.taken.add(name)
        return name

    def variable(self, step: Step, number: int = 0) -> str:
        """The variable of a step's output: the wire's own name, else the node's."""
        wire = step.outs[number]
        return self.fresh(self.diagram.wires[wire].name or step.node.id)

    def value(self, wire: int) -> Value:
        """The value of a wire."""
        return self.values[wire]

    def type(self, wire: int) -> Array:
        """The type of a wire."""
        return self.diagram.wires[wire].type

    def line(self, code: str, comment: str = "") -> None:
        """One line of the forward."""
        self.lines.append((code, comment))

    def assign(self, step: Step, code: str, order: Sequence[Dim], *, batched: bool, number: int = 0) -> None:
        """One line that computes an output, with its shape beside it."""
        name = self.variable(step, number)
        self.line(f"{name} = {code}", shape(order))
        self.values[step.outs[number]] = Value(name, tuple(order), batched)

    def let(self, name: str, code: str, order: Sequence[Dim], *, batched: bool) -> Value:
        """One line for a value between two wires."""
        name = self.fresh(name)
        self.line(f"{name} = {code}", shape(order))
        return Value(name, tuple(order), batched)

    def module(self, step: Step) -> str:
        """The submodule that belongs to a step."""
        return f"self.{self.attributes[step.node.id]}"

    def like(self) -> str:
        """A tensor whose kind of numbers and device new ones have: an input, or one that the module keeps."""
        for wire, text in zip(self.diagram.ins, self.inputs, strict=True):
            if self.type(wire).bound is None:
                return text
        self.keeps_like = True
        return "self.like"

    def joined(self, wires: Sequence[int], texts: Sequence[str], place: int) -> str:
        """Arrays one after the other; not all of them may have the same batches in front."""
        alike = len({self.batches.get(wire, wire) for wire in wires}) == 1
        return f"{'torch.cat' if alike else 'join'}(({', '.join(texts)},), {place})"

    def letters(self, order: Sequence[Dim]) -> dict[Dim, str]:
        """The letters of dimensions in an einsum."""
        if len(order) > len(ascii_letters):
            raise DiagramError(f"an einsum over more than {len(ascii_letters)} dimensions cannot be compiled")
        return dict(zip(order, ascii_letters, strict=False))

    # -- sizes -------------------------------------------------------------------------------------------

    def extent(self, dim: Dim, *values: Value) -> str:
        """The size of a dimension, read off one of the values that have it."""
        for value in values:
            if dim in value.dims:
                return f"{value.text}.shape[{value.at(dim)}]"
        raise KeyError(dim)

    def size(self, size: Expr) -> str:
        """Python text of an integer size: a number where it is bound, else read off shapes at run time."""
        return _python(size, self.read, integer=True)

    def axis(self, array: Array, name: str) -> str:
        """Python text of the size of an axis."""
        return self.size(array[name].size)

    def number(self, factor: Expr) -> str:
        """Python text of a real factor."""
        return repr(float(factor)) if factor.is_number else _python(factor, self.read, integer=False)

    def read(self, size: Expr) -> str | None:
        """Where a size can be read: the shape of some value so far; for a name, an equation in one."""
        known = [
            (axis.size, f"{value.text}.shape[{value.at((axis.name, 0))}]")
            for wire, value in self.values.items()
            for axis in self.type(wire)
        ]
        for other, text in known:
            if other == size:
                return text
        if not isinstance(size, Symbol):
            return None
        seen = Symbol("seen", positive=True, integer=True)
        for other, text in known:
            if other.free_symbols == {size} and not other.has(floor, ceiling):
                found = [s for s in solve(other - seen, size) if s.is_real is not False]
                if len(found) == 1:
                    here = {seen: text}
                    return _python(found[0], here.get, integer=True)
        raise BindingError(
            f"{size} is unbound, and no wire in {self.diagram.name} shows it at run time; "
            f"give it: d.{self.way}({size}=…)"
        )

    # -- dimensions --------------------------------------------------------------------------------------

    def arrange(self, value: Value, order: Sequence[Dim]) -> str:
        """The value with its dimensions in this order (a view)."""
        return value.text + permutation(value.dims, tuple(order))

    def trailing(self, value: Value, tail: Sequence[Dim]) -> tuple[str, list[Dim]]:
        """The value with these dimensions last; the others come back as a list."""
        rest = [dim for dim in value.dims if dim not in tail]
        return self.arrange(value, [*rest, *tail]), rest

    def aligned(self, value: Value, order: Sequence[Dim]) -> str:
        """The value with these dimensions, size 1 where it lacks one, ready to be broadcast."""
        present = [dim for dim in order if dim in value.dims]
        text = self.arrange(value, present)
        inside = False
        missing: list[int] = []
        for place, dim in enumerate(order):
            inside = inside or dim in present
            if dim not in present and (inside or value.batched):
                missing.append(place - len(order))
        for place in reversed(missing):
            text += f".unsqueeze({place})"
        return text

    def unflatten(self, text: str, at: int, sizes: Sequence[str]) -> str:
        """One dimension taken apart (nothing to do for one)."""
        if len(sizes) == 1:
            return text
        if not sizes:
            return f"{text}.squeeze({at})"
        return f"torch.unflatten({text}, {at}, ({', '.join(sizes)}))"

    def flatten(self, text: str, count: int, *, behind: int = 0) -> str:
        """The `count` dimensions before the last `behind` become one; none become one of size 1."""
        if count == 1:
            return text
        if count == 0:
            return f"{text}.unsqueeze({-behind - 1})"
        return f"{text}.flatten({-count - behind}{f', {-behind - 1}' if behind else ''})"

    # -- kernels that know only some of the dimensions ---------------------------------------------------

    def images(self, kernel: str, text: str, n: int, *settings: str, plain: bool) -> str:
        """A call of a kernel for "batch channel *image*"; `plain` if nothing named precedes the channel."""
        return f"spatial({', '.join((kernel, text, str(n), *settings))})"

    def rows(self, kernel: str, text: str) -> str:
        """A call of a kernel for "batch channel"."""
        return f"rows({kernel}, {text})"

    def mask(
        self,
        which: str,
        texts: Sequence[str],
        order: Sequence[Dim],
        shapes: Sequence[Value],
        over: Sequence[str],
    ) -> Value:
        """The mask over some dimensions: elements `allowed` or `forbidden` by relations, which were printed
        from their syntax trees. Sizes are read off `shapes`.
        """
        first = shapes[0]
        places = [first.at(dim) for dim in order] if set(order) <= set(first.dims) else []
        if len(places) > 1 and places == list(range(-len(places), 0)):
            sizes = f"{first.text}.shape[{places[0]}:]"
        else:
            sizes = sequence([self.extent(dim, *shapes) for dim in order])
        names = sequence([repr(name) for name, _ in order])
        listed, axes = (sequence([repr(item) for item in items]) for items in (texts, over))
        code = f"{which}({listed}, {names}, {sizes}, {first.text}.device, {axes})"
        return Value(code, tuple(order), batched=False)

    def causal(self, queries: Expr, keys: Expr) -> bool:
        """Whether the kernel's own causal mask will do for so many queries and keys."""
        return bool(queries == keys)

    # -- the whole ---------------------------------------------------------------------------------------

    def conformed(self, wire: int) -> str:
        """The value in the order of its type, as it enters or leaves a block."""
        return self.arrange(self.value(wire), dims(self.type(wire)))

    def finish(self) -> str:
        """The whole text."""
        inputs, outputs = (", ".join(map(str, side)) for side in (self.diagram.inputs, self.diagram.outputs))
        results = ", ".join(self.conformed(wire) for wire in self.diagram.outs)
        lines = [f"def forward(self, {', '.join(self.inputs)}):", f"    # {inputs} -> {outputs}"]
        short = [len(code) for code, comment in self.lines if comment and len(code) <= WIDEST]
        column = max(short, default=0)
        for code, comment in (*self.lines, (f"return {results}", "")):
            *first, last = _wrapped(f"    {code}")
            lines += first
            width = column + 4 if not first else 0
            lines.append(f"{last:<{width}}  # {comment}" if comment else last)
        return "\n".join(lines) + "\n"


def _wrapped(line: str) -> list[str]:
    """A long line `a = f(b, c)` on three lines."""
    opening = line.find("(")
    depth = 0
    for place, letter in enumerate(line[opening:], start=opening):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and place < len(line) - 1:
            return [line]  # the first call is not the whole of the right side
    if len(line) <= LONGEST_LINE or opening < 0:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    return [line[: opening + 1], f"{indent}    {line[opening + 1 : -1]}", f"{indent})"]


def sequence(items: Sequence[str]) -> str:
    """The text of a tuple."""
    return f"({', '.join(items)}{',' * (len(items) == 1)})"


def dims(axes: Iterable[Axis]) -> tuple[Dim, ...]:
    """The dimensions of axes in order: one per rank."""
    return tuple((axis.name, i) for axis in axes for i in range(axis.rank))


def shape(order: Sequence[Dim]) -> str:
    """`h y k`; an image axis is `x:2`."""
    shown: list[str] = []
    for place, (name, i) in enumerate(order):
        follows = place > 0 and i > 0 and order[place - 1] == (name, i - 1)
        if follows:
            shown[-1] = f"{name}:{i + 1}"
        else:
            shown.append(name if i == 0 else f"{name}.{i}")
    return " ".join(shown) or "scalar"


def permutation(old: tuple[Dim, ...], new: tuple[Dim, ...]) -> str:
    """The method call that brings dimensions from one order to another; empty if they are in it."""
    if old == new:
        return ""
    n = len(old)
    differing = [i for i in range(n) if old[i] != new[i]]
    if len(differing) == 2:
        i, j = (place - n for place in differing)
        return f".transpose({i}, {j})"
    for dim in new:  # one dimension moves, the others keep their order
        if [d for d in old if d != dim] == [d for d in new if d != dim]:
            return f".movedim({old.index(dim) - n}, {new.index(dim) - n})"
    moved = [dim for i, dim in enumerate(new) if old[i] != dim]
    source = ", ".join(str(old.index(dim) - n) for dim in moved)
    target = ", ".join(str(new.index(dim) - n) for dim in moved)
    return f".movedim(({source}), ({target}))"


def _python(size: Expr, read: Callable[[Expr], str | None], *, integer: bool) -> str:
    """A size expression as Python text; `read` gives the text of parts that can be read off shapes."""

    def text(e: Expr) -> str:
        if not e.is_number and (seen := read(e)) is not None:
            return seen
        match e:
            case Integer():
                return str(int(e))
            case Rational():
                return f"({int(e.p)} / {int(e.q)})"
            case Add() | Mul() if integer and (parts := e.together().as_numer_denom())[1] != 1:
                return f"({text(parts[0])} // {text(parts[1])})"
            case Add():
                return f"({' + '.join(map(text, e.args))})"
            case Mul():
                return f"({' * '.join(map(text, e.args))})"
            case Pow():
                base, exponent = e.args
                power = str(int(exponent)) if exponent.is_Integer else repr(float(exponent))
                return f"({text(base)} ** {power})"
            case floor():
                top, bottom = e.args[0].together().as_numer_denom()
                return f"({text(top)} // {text(bottom)})"
            case ceiling():
                top, bottom = e.args[0].together().as_numer_denom()
                return f"(-(-{text(top)} // {text(bottom)}))"
        raise BindingError(f"size {format_size(e)} cannot be computed at run time; bind its names")

    return text(size)
