"""Tracing: how applying functions to wires becomes a diagram.

A `Traced` is a wire of a diagram that is being built; a `Builder` collects the nodes of one diagram (one
block) while its function runs, and says where and how two parts do not fit. A size that a specification
leaves open is looked up by name: first on the op's own input, then among the sizes that the name has had in
this block, then in the enclosing ones; if nobody knows it, it is a free size of that name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbkit.language import ops
from nbkit.language.axes import Array
from nbkit.language.diagram import DEEPEST, Diagram, Node, Wire, free_name
from nbkit.language.errors import ArityError, DiagramError, DiagramTypeError, Mismatch, ParseError
from nbkit.language.sizes import format_size, symbol

if TYPE_CHECKING:
    from sympy import Expr

    from nbkit.language.functions import Fn

Application = Callable[["Builder", tuple["Traced", ...]], tuple["Traced", ...]]
_LONGEST_CHAIN = 6


class Traced:
    """A wire of a diagram that is being built; supports `+`, `*`, `>>`, `w["x", 0]`, `w["x", 1:5]`,
    `w.rename(x="y")`.
    """

    __slots__ = ("builder", "number")

    def __init__(self, builder: Builder, number: int) -> None:
        self.builder, self.number = builder, number

    @property
    def type(self) -> Array:
        """The array on the wire."""
        return self.builder.wires[self.number].type

    def __repr__(self) -> str:
        return f"<wire {self.type}>"

    def __add__(self, other: Traced) -> Traced:
        return self._apply(ops.Add(), other)

    def __mul__(self, other: Traced) -> Traced:
        return self._apply(ops.Multiply(), other)

    def __rshift__(self, fn: Fn | tuple[Any, ...]) -> Any:
        from nbkit.language.functions import as_fn

        return as_fn(fn)(self)

    def __getitem__(self, at: tuple[str, int | slice]) -> Traced:
        match at:
            case (str(axis), bool()):
                pass
            case (str(axis), int(position)):
                return self._apply(ops.Slice(axis, position, drop=True))
            case (str(axis), slice(start=None | int() as start, stop=None | int() as stop, step=None | 1)):
                return self._apply(ops.Slice(axis, start or 0, stop))
        raise DiagramError(
            f'a wire is indexed by an axis and a position or range, as in w["x", 0] or w["x", 1:5]; '
            f"found {repr(at)[:60]}"
        )

    def rename(self, **names: str) -> Traced:
        """The wire with new names for axes: `w.rename(x="y")`."""
        return self._apply(ops.Rename(f"{' '.join(names)} -> {' '.join(names.values())}"))

    def _apply(self, op: ops.Op, *others: Traced) -> Traced:
        return self.builder.apply(op, op.kind, (self, *others))[0]


class Builder:
    """Collects the nodes of one diagram while its function runs."""

    def __init__(
        self,
        name: str,
        inputs: tuple[Wire, ...],
        parent: Builder | None = None,
        roots: tuple[int, ...] | None = None,
    ) -> None:
        self.name, self.parent = name, parent
        self.wires = list(inputs)
        self.ins = tuple(range(len(inputs)))
        self.nodes: list[Node] = []
        self.taken: set[str] = set()
        self.maker: dict[int, Node] = {}
        self.vocabularies: dict[str, list[Expr]] = {}
        self.roots = dict(enumerate(self.ins if roots is None else roots))  # wire: outermost input behind it

    def path(self) -> tuple[str, ...]:
        """Names of the enclosing blocks and of this one."""
        return (*(self.parent.path() if self.parent else ()), self.name)

    def inputs(self) -> tuple[Traced, ...]:
        """The wires that come in."""
        return tuple(Traced(self, i) for i in self.ins)

    def size(self, name: str, arrays: tuple[Array, ...]) -> Expr:
        """The size behind a name, seen from an op on `arrays` (rule in the module docstring)."""
        for array in arrays:
            if name in array:
                return array[name].size
        seen = dict.fromkeys(axis.size for wire in self.wires for axis in wire.type if axis.name == name)
        seen |= dict.fromkeys(self.vocabularies.get(name, ()))
        if len(seen) > 1:
            shown = " and ".join(format_size(s) for s in seen)
            raise Mismatch(
                f"the size of axis '{name}' is ambiguous: it has been {shown} in {self.name}",
                f"say which: {name}=…",
            )
        if seen:
            return next(iter(seen))
        return self.parent.size(name, ()) if self.parent else symbol(name)

    def apply(
        self, op: ops.Op, name: str, wires: tuple[Traced, ...], where: str = "", called: str = ""
    ) -> tuple[Traced, ...]:
        """Adds a node; `where` is the source line and `called` the op's name in errors."""
        called = called or str(op)
        for wire in wires:
            if not isinstance(wire, Traced):
                raise DiagramError(
                    f"{called} was applied to {type(wire).__name__}; it takes wires: "
                    'use fn.on("x m=64") to start from axes'
                )
            if wire.builder is not self:
                raise DiagramError(
                    f"{called} in {self.name} was given a wire of {wire.builder.name}; "
                    "pass it in as an argument instead"
                )
        arrays = tuple(wire.type for wire in wires)
        wanted = op.takes()
        if wanted is not None and wanted != len(wires):
            raise ArityError(
                f"{called} takes {count(wanted)}, got {len(wires)}{_at(where)}",
                path=(*self.path(), called),
                partial=self.partial(wires),
            )
        try:
            op = op.resolve(lambda size: self.size(size, arrays))
            outs = op.infer(arrays)
        except ParseError as error:
            place = " → ".join((*self.path(), called))
            raise DiagramTypeError(
                f"in {place}{_at(where)}\n  {error}", path=(*self.path(), called)
            ) from None
        except Mismatch as error:
            raise self.explain(error, called, wires, where) from None
        first = len(self.wires)
        root = self.roots[wires[0].number] if wires else 0
        numbers = tuple(range(first, first + len(outs)))
        node = Node(free_name(name, self.taken), op, tuple(w.number for w in wires), numbers)
        self.taken.add(node.id)
        self.nodes.append(node)
        if isinstance(op, ops.Embed) and arrays[0].bound is not None:
            self._know(op.vocabulary, arrays[0].bound)
        for number, array in zip(numbers, outs, strict=True):
            self.wires.append(Wire(array))
            self.maker[number] = node
            self.roots[number] = root
        return tuple(Traced(self, number) for number in numbers)

    def _know(self, vocabulary: str, size: Expr) -> None:
        """Vocabularies are known in the enclosing blocks too: an embedding is often a block of its own."""
        self.vocabularies.setdefault(vocabulary, []).append(size)
        if self.parent:
            self.parent._know(vocabulary, size)

    def explain(
        self, error: Mismatch, called: str, wires: tuple[Traced, ...], where: str = ""
    ) -> DiagramTypeError:
        """The error that a person reads: the place, the fact, how the wires came to be, the remedy."""
        path = (*self.path(), called) if called else self.path()
        wrong = wires[error.wire].number
        lines = [f"in {' → '.join(path)}{_at(where)}", f"  {error.fact}"]
        if error.missing is not None:
            lines.append(f"      {self._chain(wrong)} ──✗ {path[-1]}")
        elif len(wires) > 1:
            lines += [f"      input {i + 1}   {self._chain(w.number)}" for i, w in enumerate(wires)]
        if error.hint:
            lines.append(f"  {error.hint}")
        failure = DiagramTypeError("\n".join(lines), path=path, partial=(self.finish(wires), (wrong,)))
        if error.missing is not None:
            failure.missing = (error.missing, self.roots[wrong])
        return failure

    def partial(self, wires: tuple[Traced, ...]) -> tuple[Diagram, tuple[int, ...]]:
        """What an error shows: the diagram so far, and these wires as the wrong ones."""
        return self.finish(wires), tuple(dict.fromkeys(wire.number for wire in wires))

    def _chain(self, number: int) -> str:
        """How the wire came to be: `x m ──▶ linear[m -> f] ──▶ gelu ──▶ R[x f]`."""
        steps = [str(self.wires[number].type)]
        while (node := self.maker.get(number)) is not None:
            steps.append(str(node.op))
            number = node.ins[0]
        if len(steps) > _LONGEST_CHAIN:
            steps[_LONGEST_CHAIN - 1 :] = ["…"]
        if len(steps) > 1:
            steps.append(" ".join(map(str, self.wires[number].type)) or "scalar")
        return " ──▶ ".join(reversed(steps))

    def finish(self, outs: tuple[Traced, ...]) -> Diagram:
        """The diagram built so far, with these wires coming out."""
        return Diagram(
            self.name, tuple(self.wires), self.ins, tuple(w.number for w in outs), tuple(self.nodes)
        )


def trace(
    name: str,
    apply: Application,
    parent: Builder,
    wires: tuple[Traced, ...],
    arrays: tuple[Array, ...] | None = None,
) -> Diagram:
    """The body of a block: what `apply` does to fresh inputs of the wires' types (or of types `arrays`)."""
    if len(parent.path()) > DEEPEST:
        raise DiagramError(
            f"{name} stands in {DEEPEST} blocks that are nested in each other; no more are allowed"
        )
    inputs = tuple(Wire(a) for a in (arrays if arrays is not None else (wire.type for wire in wires)))
    inner = Builder(name, inputs, parent, tuple(parent.roots[wire.number] for wire in wires))
    return inner.finish(apply(inner, inner.inputs()))


def count(arrays: int) -> str:
    """`1 array`, `3 arrays`."""
    return f"{arrays} array{'s' * (arrays != 1)}"


def _at(where: str) -> str:
    return f"   {where}" if where else ""
