"""Functions of the language, and how they combine.

A `Fn` is a diagram that does not know its arrays yet: it can be woven over any axes that it does not mention.

    f >> g     then
    f * g      side by side (binds tighter than >>)
    (f, g)     a Python tuple: fan-out, every part gets all of the inputs
    f + g      pointwise sum of two maps of the same input; a residual is `skip + f`
    f ** n     n copies with fresh weights, drawn in parentheses
    @diagram("y k, x k, x k -> y k")     a traced Python function as a typed block

`fn.on("x m=64")` applies it to fresh inputs and gives a typed `Diagram`; inside a traced function `fn(wire,
…)` applies it to wires. Functions are immutable, compare by what they do, and print as the Python that makes
them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any

from nbkit.language import ops
from nbkit.language.axes import Array, Spec, parse_array, parse_arrays, parse_spec
from nbkit.language.diagram import Diagram, Wire
from nbkit.language.errors import ArityError, DiagramError, DiagramTypeError
from nbkit.language.parts import Block
from nbkit.language.sizes import check_name
from nbkit.language.trace import Builder, Traced, count, trace


class Fn(ABC):
    """A function of the language. Immutable; combine it, apply it to wires, or say `.on(…)`."""

    name: str = ""

    @abstractmethod
    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        """Adds the function's nodes to the builder's diagram."""

    def domain(self) -> tuple[Array, ...]:
        """The smallest inputs it takes; axes may be missing, `diagram()` finds them."""
        return (Array(()),)

    def takes(self) -> int | None:
        """How many arrays it takes; None for any number."""
        return 1

    def inside(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        """Adds the function's nodes to a diagram that is all its own: a named part without the plate around
        it.
        """
        return self.apply(builder, wires)

    def body(
        self,
        builder: Builder,
        wires: tuple[Traced, ...],
        arrays: tuple[Array, ...] | None = None,
        default: str = "repeat",
    ) -> Diagram:
        """The function as the inside of a block or repetition of the builder's diagram.

        It is applied to the types of the wires, or to `arrays` where those differ from what comes in;
        `default` names it if it has no name.
        """
        return trace(self.name or default, self.inside, builder, wires, arrays)

    def __call__(self, *wires: Traced) -> Any:
        """The wire that comes out of applying it to wires, or a tuple of several."""
        if not wires or not all(isinstance(w, Traced) for w in wires):
            found = ", ".join(type(w).__name__ for w in wires) or "nothing"
            raise DiagramError(
                f"{self} was applied to {found}; inside a traced function it takes wires, "
                'and to start from axes write .on("x m=64")'
            )
        outs = self.apply(wires[0].builder, wires)
        return outs[0] if len(outs) == 1 else outs

    def on(self, inputs: str, **sizes: int) -> Diagram:
        """The diagram of this function on inputs: `model.on("x m=64")`, `embed("v -> m").on("N(97)[x=3]")`.

        Arrays are separated by commas. Keyword sizes bind free sizes. `DiagramTypeError` where the parts do
        not fit.

        >>> from nbkit import linear, relu
        >>> print((linear("m -> f") >> relu).on("x m=64", f=256))
        diagram: R[x m=64] -> R[x f=256]
        """
        return self.build(parse_arrays(inputs)).at(**sizes)

    def build(self, arrays: tuple[Array, ...]) -> Diagram:
        """The diagram of this function on arrays."""
        builder = Builder(self.name or "diagram", tuple(Wire(array) for array in arrays))
        wanted = self.takes()
        if wanted is not None and wanted != len(arrays):
            shown = ", ".join(" ".join(a.names) or "any" for a in self.domain())
            raise ArityError(
                f"{self.name or self} takes {count(wanted)} ({shown}), got {len(arrays)}",
                partial=builder.partial(builder.inputs()),
            )
        return builder.finish(self.inside(builder, builder.inputs()))

    def diagram(self) -> Diagram:
        """The diagram on the smallest inputs that fit: axes that an op misses are added to the input behind
        it.
        """
        arrays = list(self.domain())
        while True:
            try:
                return self.build(tuple(arrays))
            except DiagramTypeError as error:
                if error.missing is None:
                    raise
                axis, root = error.missing
                if axis in arrays[root]:
                    raise
                arrays[root] = Array((*arrays[root].axes, *parse_array(axis).axes), arrays[root].bound)

    def named(self, name: str) -> Fn:
        """The same function as a block of that name."""
        return Named(self, check_name(name, "block"))

    @property
    def T(self) -> Fn:
        """The transpose of a linear map: axes in and out change places (fresh weights without a key)."""
        raise DiagramError(f"only a linear map has a transpose, not {self}")

    def __rshift__(self, other: Fn | tuple[Any, ...]) -> Fn:
        return Then((*_parts(Then, self), *_parts(Then, as_fn(other))))

    def __rrshift__(self, other: tuple[Any, ...]) -> Fn:
        return as_fn(other) >> self

    def __mul__(self, other: Fn | tuple[Any, ...]) -> Fn:
        return Beside((*_parts(Beside, self), *_parts(Beside, as_fn(other))))

    def __rmul__(self, other: tuple[Any, ...]) -> Fn:
        return as_fn(other) * self

    def __add__(self, other: Fn | tuple[Any, ...]) -> Fn:
        return Sum(self, as_fn(other))

    def __radd__(self, other: tuple[Any, ...]) -> Fn:
        return Sum(as_fn(other), self)

    def __pow__(self, n: int) -> Fn:
        from nbkit.language.repetition import repeat

        return repeat(self, n)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.diagram()._repr_mimebundle_()


def as_fn(value: object) -> Fn:
    """A function, or a tuple of functions as fan-out."""
    if isinstance(value, Fn):
        return value
    if isinstance(value, tuple) and value:
        return Fan(tuple(as_fn(part) for part in value))
    hint = "; give it its arguments first" if callable(value) else ""
    raise DiagramError(
        f"expected a function of the language or a tuple of them, "
        f"found {type(value).__name__} {str(value)[:60]!r}{hint}"
    )


def _parts(kind: type[Then | Beside], fn: Fn) -> tuple[Fn, ...]:
    """Chains are flat: `(f >> g) >> h` is `f >> (g >> h)`."""
    return fn.parts if isinstance(fn, kind) else (fn,)


@dataclass(frozen=True, repr=False)
class Apply(Fn):
    """One op. `where` is the source line that made it, and no part of what it is."""

    op: ops.Op
    name: str = ""
    where: str = field(default="", compare=False)

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        return builder.apply(self.op, self.name or _default_name(self.op), wires, self.where)

    def domain(self) -> tuple[Array, ...]:
        return self.op.domain()

    def takes(self) -> int | None:
        return self.op.takes()

    def __repr__(self) -> str:
        return self.op.source(self.name)

    @property
    def T(self) -> Fn:
        if not isinstance(self.op, ops.Linear):
            return super().T
        spec = parse_spec(self.op.spec)
        return replace(self, op=replace(self.op, spec=str(Spec(spec.outs, spec.ins)), bias=False))


def _default_name(op: ops.Op) -> str:
    match op:
        case ops.Elementwise():
            return op.function
        case ops.Reduce():
            return op.how
    return op.kind


@dataclass(frozen=True, repr=False)
class Skip(Fn):
    """The identity: wires that run on."""

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        return wires

    def takes(self) -> int | None:
        return None

    def __repr__(self) -> str:
        return "skip"


@dataclass(frozen=True, repr=False)
class Then(Fn):
    """One after the other."""

    parts: tuple[Fn, ...]

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        for part in self.parts:
            wires = part.apply(builder, wires)
        return wires

    def domain(self) -> tuple[Array, ...]:
        return self._first().domain()

    def takes(self) -> int | None:
        return self._first().takes()

    def _first(self) -> Fn:
        return next((part for part in self.parts if not isinstance(part, Skip)), self.parts[0])

    def __repr__(self) -> str:
        return " >> ".join(map(repr, self.parts))


@dataclass(frozen=True, repr=False)
class Beside(Fn):
    """Side by side: each part takes its own arrays (an identity takes one)."""

    parts: tuple[Fn, ...]

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        counts = [_count(part) for part in self.parts]
        if sum(counts) != len(wires):
            raise ArityError(f"{self!r} takes {count(sum(counts))}, got {len(wires)}", path=builder.path())
        outs: list[Traced] = []
        for part, taken in zip(self.parts, counts, strict=True):
            outs += part.apply(builder, wires[:taken])
            wires = wires[taken:]
        return tuple(outs)

    def domain(self) -> tuple[Array, ...]:
        return tuple(array for part in self.parts for array in part.domain())

    def takes(self) -> int | None:
        return sum(_count(part) for part in self.parts)

    def __repr__(self) -> str:
        return " * ".join(f"({part!r})" if isinstance(part, Then) else repr(part) for part in self.parts)


def _count(fn: Fn) -> int:
    wanted = fn.takes()
    return len(fn.domain()) if wanted is None else wanted


@dataclass(frozen=True, repr=False)
class Fan(Fn):
    """Fan-out: every part gets all of the inputs."""

    parts: tuple[Fn, ...]

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        for part in self.parts:
            wanted = part.takes()
            if wanted is not None and wanted != len(wires):
                raise ArityError(
                    f"{part!r} takes {count(wanted)}, got {len(wires)}; "
                    "every part of a fan-out gets all of them",
                    path=builder.path(),
                )
        return tuple(out for part in self.parts for out in part.apply(builder, wires))

    def domain(self) -> tuple[Array, ...]:
        domains = [part.domain() for part in self.parts if not isinstance(part, Skip)] or [(Array(()),)]
        joined = []
        for arrays in zip(*domains, strict=False):
            axes = {axis.name: axis for array in arrays for axis in array}
            bound = next((a.bound for a in arrays if a.bound is not None), None)
            joined.append(Array(tuple(axes.values()), bound))
        return tuple(joined)

    def takes(self) -> int | None:
        return next((n for n in (part.takes() for part in self.parts) if n is not None), None)

    def __repr__(self) -> str:
        return f"({', '.join(map(repr, self.parts))}{',' * (len(self.parts) == 1)})"


@dataclass(frozen=True, repr=False)
class Sum(Fn):
    """Pointwise sum of two maps of the same input."""

    left: Fn
    right: Fn

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        residual = isinstance(self.left, Skip) or isinstance(self.right, Skip)
        name = "residual" if residual else "add"
        results = [Fan((side,)).apply(builder, wires) for side in (self.left, self.right)]
        for side, outs in zip((self.left, self.right), results, strict=True):
            if len(outs) != 1:
                raise ArityError(
                    f"{name} (+) adds two arrays, but {side!r} gives {len(outs)}",
                    path=(*builder.path(), name),
                )
        return builder.apply(ops.Add(), name, (*results[0], *results[1]), called=f"{name} (+)")

    def domain(self) -> tuple[Array, ...]:
        return Fan((self.left, self.right)).domain()

    def takes(self) -> int | None:
        return Fan((self.left, self.right)).takes()

    def __repr__(self) -> str:
        left, right = (f"({f!r})" if isinstance(f, Then) else repr(f) for f in (self.left, self.right))
        return f"({left} + {right})"


@dataclass(frozen=True, repr=False)
class Named(Fn):
    """A function as a block of its own."""

    inner: Fn
    name: str

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        return builder.apply(Block(self.body(builder, wires)), self.name, wires)

    def inside(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        return self.inner.apply(builder, wires)

    def domain(self) -> tuple[Array, ...]:
        return self.inner.domain()

    def takes(self) -> int | None:
        return self.inner.takes()

    def __repr__(self) -> str:
        return f"block({self.name!r}, {self.inner!r})"


def block(name: str, fn: Fn | tuple[Any, ...]) -> Fn:
    """`fn` as a block called `name`: drawn on a plate of its own, and a submodule of that name."""
    return as_fn(fn).named(name)


skip: Fn = Skip()
