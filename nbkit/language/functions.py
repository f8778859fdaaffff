"""Functions of the language, and how they combine.

A `Fn` is a diagram that does not know its arrays yet: it can be woven over any axes that it does not mention.

    f >> g     then                      f * g      side by side (binds tighter than >>)
    (f, g)     a Python tuple: fan-out   f + g      pointwise sum of two maps of one input (residual: skip + f)
    f ** n     n copies with fresh weights, drawn in parentheses
    @diagram("y k, x k, x k -> y k")     a traced Python function as a typed block

`fn.on("x m=64")` applies it to fresh inputs and gives a typed `Diagram`; inside a traced function `fn(wire, …)`
applies it to wires, which support `+`, `*`, `>>`, `w["x", 0]` and `w.rename(x="y")`.
A size that a specification leaves open is looked up by name: first on the op's own input, then among the sizes that
the name has had in this block, then in the enclosing ones; if nobody knows it, it is a free size of that name.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, overload

from sympy import Expr, Integer

from nbkit.language import ops
from nbkit.language.axes import Array, parse_array, parse_arrays, parse_spec
from nbkit.language.diagram import Block, Diagram, Node, Repeat, Wire, free_name
from nbkit.language.errors import (
    ArityError,
    BindingError,
    DiagramError,
    DiagramTypeError,
    Mismatch,
    ParseError,
)
from nbkit.language.ops import Op
from nbkit.language.sizes import check_name, format_size, symbol

_HERE = __name__.rpartition(".")[0]
_MOST_COPIES = 10_000


class Traced:
    """A wire of a diagram that is being built."""

    __slots__ = ("builder", "number")

    def __init__(self, builder: Builder, number: int) -> None:
        self.builder, self.number = builder, number

    @property
    def type(self) -> Array:
        return self.builder.wires[self.number].type

    def __repr__(self) -> str:
        return f"<wire {self.type}>"

    def __add__(self, other: Traced) -> Traced:
        return _one(Apply(ops.Add())(self, other))

    def __mul__(self, other: Traced) -> Traced:
        return _one(Apply(ops.Multiply())(self, other))

    def __rshift__(self, fn: Fn | tuple[Any, ...]) -> Traced | tuple[Traced, ...]:
        return as_fn(fn)(self)

    def __getitem__(self, at: tuple[str, int | slice]) -> Traced:
        axis, where = at
        if isinstance(where, int):
            return _one(Apply(ops.Slice(axis, where, None, drop=True))(self))
        if where.step not in (None, 1):
            raise DiagramError(f"slices have no step here, got {where.step}; use window(…) for strides")
        return _one(Apply(ops.Slice(axis, where.start or 0, where.stop))(self))

    def rename(self, **names: str) -> Traced:
        return _one(rename(**names)(self))


def _one(wires: Traced | tuple[Traced, ...]) -> Traced:
    assert isinstance(wires, Traced)
    return wires


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
        self.roots = dict(
            enumerate(roots if roots is not None else self.ins)
        )  # wire -> outermost input behind it

    def path(self) -> tuple[str, ...]:
        return (*(self.parent.path() if self.parent else ()), self.name)

    def inputs(self) -> tuple[Traced, ...]:
        return tuple(Traced(self, i) for i in self.ins)

    def size(self, name: str, arrays: tuple[Array, ...]) -> Expr:
        """The size behind a name, seen from an op on `arrays` (rule in the module docstring)."""
        for array in arrays:
            if name in array:
                return array[name].size
        seen = dict.fromkeys(axis.size for wire in self.wires for axis in wire.type if axis.name == name)
        if len(seen) > 1:
            shown = " and ".join(format_size(s) for s in seen)
            raise Mismatch(
                f"the size of axis '{name}' is ambiguous: it has been {shown} here", f"say which: {name}=…"
            )
        if seen:
            return next(iter(seen))
        return self.parent.size(name, ()) if self.parent else symbol(name)

    def apply(self, op: Op, name: str, wires: tuple[Traced, ...], where: str) -> tuple[Traced, ...]:
        for wire in wires:
            if not isinstance(wire, Traced):
                raise DiagramError(
                    f'{op} was applied to {type(wire).__name__}; it takes wires: use fn.on("x m=64") to start from axes'
                )
            if wire.builder is not self:
                raise DiagramError(
                    f"{op} in {self.name} was given a wire of {wire.builder.name}; pass it in as an argument instead"
                )
        arrays = tuple(wire.type for wire in wires)
        try:
            wanted = op.takes()
            if wanted is not None and wanted != len(wires):
                raise ArityError(
                    f"{op} takes {wanted} array{'s' * (wanted != 1)}, got {len(wires)}{where}",
                    path=self.path(),
                )
            op = op.resolve(lambda size: self.size(size, arrays))
            outs = op.infer(arrays)
        except ParseError as error:
            raise type(error)(f"{error}\n  in {' → '.join((*self.path(), str(op)))}{where}") from None
        except Mismatch as error:
            raise self._explain(error, op, wires, where) from None
        first = len(self.wires)
        root = self.roots[wires[0].number] if wires else 0
        node = Node(
            free_name(name, self.taken),
            op,
            tuple(w.number for w in wires),
            tuple(range(first, first + len(outs))),
        )
        self.taken.add(node.id)
        self.nodes.append(node)
        for number, array in zip(node.outs, outs, strict=True):
            self.wires.append(Wire(array))
            self.maker[number] = node
            self.roots[number] = root
        return tuple(Traced(self, number) for number in node.outs)

    def _explain(self, error: Mismatch, op: Op, wires: tuple[Traced, ...], where: str) -> DiagramTypeError:
        place = " → ".join((*self.path(), str(op)))
        lines = [f"in {place}{where}", f"  {error.fact}"]
        if error.missing is not None:
            lines.append(f"      {self._chain(wires[error.wire].number)} ──✗ {op}")
        if error.hint:
            lines.append(f"  {error.hint}")
        failure = DiagramTypeError(
            "\n".join(lines),
            path=(*self.path(), str(op)),
            partial=(self.finish(wires), wires[error.wire].number if wires else None),
        )
        if error.missing is not None and wires:
            failure.missing = (error.missing, self.roots[wires[error.wire].number])
        return failure

    def _chain(self, number: int) -> str:
        """How the wire came to be: `x m ──▶ linear[m -> f] ──▶ gelu ──▶ R[x f]`."""
        steps: list[str] = [str(self.wires[number].type)]
        while (node := self.maker.get(number)) is not None:
            steps.append(str(node.op))
            number = node.ins[0] if node.ins else -1
        if len(steps) > 6:
            steps[5:] = ["…"]
        if number >= 0 and len(steps) > 1:
            steps.append(" ".join(map(str, self.wires[number].type.axes)) or "scalar")
        return " ──▶ ".join(reversed(steps))

    def finish(self, outs: tuple[Traced, ...]) -> Diagram:
        return Diagram(
            self.name, tuple(self.wires), self.ins, tuple(w.number for w in outs), tuple(self.nodes)
        )


class Fn:
    """A function of the language: see the module docstring. Immutable; combine, apply to wires, or `.on(…)`."""

    name: str = ""

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        """Adds the function's nodes to the builder's diagram. Subclasses define it."""
        raise DiagramError(f"{type(self).__name__} cannot be applied")

    def domain(self) -> tuple[Array, ...]:
        """The smallest inputs it takes; axes may be missing, `diagram()` finds them."""
        return (Array(()),)

    def takes(self) -> int | None:
        """How many arrays it takes; None for any number."""
        return 1

    def __call__(self, *wires: Traced) -> Traced | tuple[Traced, ...]:
        if not wires or not all(isinstance(w, Traced) for w in wires):
            raise DiagramError(
                f'{self} is applied to wires inside a traced function; to start from axes use .on("x m=64")'
            )
        outs = self.apply(wires[0].builder, wires)
        return outs[0] if len(outs) == 1 else outs

    def on(self, inputs: str, **sizes: int) -> Diagram:
        """The diagram of this function on inputs: `model.on("x m=64")`, `embed("v -> m").on("N(97)[x=3]")`.

        Arrays are separated by commas. Keyword sizes bind free sizes. `DiagramTypeError` where the parts do not fit.
        """
        diagram = self._build(parse_arrays(inputs))
        return diagram.at(**sizes) if sizes else diagram

    def _build(self, arrays: tuple[Array, ...]) -> Diagram:
        wanted = self.takes()
        if wanted is not None and wanted != len(arrays):
            shown = ", ".join(" ".join(a.names) for a in self.domain())
            raise ArityError(
                f"{self.name or self} takes {wanted} array{'s' * (wanted != 1)} ({shown}), got {len(arrays)}"
            )
        builder = Builder(self.name or "diagram", tuple(Wire(array) for array in arrays))
        return builder.finish(self.apply(builder, builder.inputs()))

    def diagram(self) -> Diagram:
        """The diagram on the smallest inputs that fit: axes that an op misses are added to the input behind it."""
        arrays = list(self.domain())
        for _ in range(100):
            try:
                return self._build(tuple(arrays))
            except DiagramTypeError as error:
                if error.missing is None:
                    raise
                axis, root = error.missing
                if axis in arrays[root]:
                    raise
                arrays[root] = Array((*arrays[root].axes, *parse_array(axis).axes), arrays[root].bound)
        raise DiagramError(f'no inputs were found on which {self} is well typed; give them: .on("x m")')

    def named(self, name: str) -> Fn:
        """The same function as a block of that name."""
        return Named(self, check_name(name, "block"))

    def __rshift__(self, other: Fn | tuple[Any, ...]) -> Fn:
        return Then(self, as_fn(other))

    def __rrshift__(self, other: tuple[Any, ...]) -> Fn:
        return Then(as_fn(other), self)

    def __mul__(self, other: Fn | tuple[Any, ...]) -> Fn:
        return Beside(self, as_fn(other))

    def __rmul__(self, other: tuple[Any, ...]) -> Fn:
        return Beside(as_fn(other), self)

    def __add__(self, other: Fn | tuple[Any, ...]) -> Fn:
        return Sum(self, as_fn(other))

    def __radd__(self, other: tuple[Any, ...]) -> Fn:
        return Sum(as_fn(other), self)

    def __pow__(self, n: int) -> Fn:
        return repeat(self, n)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.diagram()._repr_mimebundle_()


def as_fn(value: Fn | tuple[Any, ...]) -> Fn:
    """A function, or a tuple of functions as fan-out."""
    if isinstance(value, Fn):
        return value
    if isinstance(value, tuple):
        return Fan(tuple(as_fn(part) for part in value))
    raise DiagramError(
        f"expected a function of the language or a tuple of them, found {type(value).__name__} {str(value)[:60]!r}"
    )


@dataclass(frozen=True, repr=False)
class Apply(Fn):
    """One op."""

    op: Op
    name: str = ""
    where: str = ""

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        return builder.apply(
            self.op, self.name or _default_name(self.op), wires, f"   {self.where}" if self.where else ""
        )

    def domain(self) -> tuple[Array, ...]:
        return self.op.domain()

    def takes(self) -> int | None:
        return self.op.takes()

    def __repr__(self) -> str:
        return _call(self.op, self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Apply) and (self.op, self.name) == (other.op, other.name)

    def __hash__(self) -> int:
        return hash((self.op, self.name))

    @property
    def T(self) -> Fn:
        """The transpose of a linear map: axes in and out change places (fresh weights unless it has a key)."""
        if not isinstance(self.op, ops.Linear):
            raise DiagramError(f"only a linear map has a transpose, not {self.op}")
        spec = parse_spec(self.op.spec)
        return replace(
            self, op=replace(self.op, spec=str(replace(spec, ins=spec.outs, outs=spec.ins)), bias=False)
        )


def _default_name(op: Op) -> str:
    return (
        op.function if isinstance(op, ops.Elementwise) else op.how if isinstance(op, ops.Reduce) else op.kind
    )


def _call(op: Op, name: str) -> str:
    arguments = op.arguments()
    shown = []
    if isinstance(op, ops.Elementwise):
        return op.function
    first = next(iter(arguments), None)
    for key, value in arguments.items():
        shown.append(repr(value) if key == first else f"{key}={value!r}")
    if name:
        shown.append(f"name={name!r}")
    return f"{op.kind}({', '.join(shown)})"


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
    first: Fn
    second: Fn

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        return self.second.apply(builder, self.first.apply(builder, wires))

    def domain(self) -> tuple[Array, ...]:
        return self.second.domain() if isinstance(self.first, Skip) else self.first.domain()

    def takes(self) -> int | None:
        return self.second.takes() if isinstance(self.first, Skip) else self.first.takes()

    def __repr__(self) -> str:
        return f"{self.first!r} >> {self.second!r}"


@dataclass(frozen=True, repr=False)
class Beside(Fn):
    first: Fn
    second: Fn

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        left = _count(self.first)
        right = (
            len(wires) - left
            if self.second.takes() is None and not isinstance(self.second, Skip)
            else _count(self.second)
        )
        if left + right != len(wires):
            raise ArityError(f"{self!r} takes {left + right} arrays, got {len(wires)}", path=builder.path())
        return (*self.first.apply(builder, wires[:left]), *self.second.apply(builder, wires[left:]))

    def domain(self) -> tuple[Array, ...]:
        return (*self.first.domain(), *self.second.domain())

    def takes(self) -> int | None:
        return _count(self.first) + _count(self.second)

    def __repr__(self) -> str:
        return " * ".join(
            f"({f!r})" if isinstance(f, Then | Sum) else repr(f) for f in (self.first, self.second)
        )


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
                    f"{part!r} takes {wanted} array{'s' * (wanted != 1)}, got {len(wires)}",
                    path=builder.path(),
                )
        return tuple(out for part in self.parts for out in part.apply(builder, wires))

    def domain(self) -> tuple[Array, ...]:
        domains = [part.domain() for part in self.parts if not isinstance(part, Skip)] or [(Array(()),)]
        joined = []
        for arrays in zip(*domains, strict=False):
            axes = {axis.name: axis for array in arrays for axis in array}
            joined.append(
                Array(tuple(axes.values()), next((a.bound for a in arrays if a.bound is not None), None))
            )
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
        branches = Fan((self.left, self.right)).apply(builder, wires)
        name = "residual" if isinstance(self.left, Skip) or isinstance(self.right, Skip) else "add"
        return builder.apply(ops.Add(), name, branches, "")

    def domain(self) -> tuple[Array, ...]:
        return Fan((self.left, self.right)).domain()

    def takes(self) -> int | None:
        return Fan((self.left, self.right)).takes()

    def __repr__(self) -> str:
        return f"({self.left!r} + {self.right!r})"


@dataclass(frozen=True, repr=False)
class Named(Fn):
    """A function as a block of its own."""

    inner: Fn
    name: str

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        body = trace(self.name, self.inner.apply, builder, wires)
        return builder.apply(Block(body), self.name, wires, "")

    def _build(self, arrays: tuple[Array, ...]) -> Diagram:
        return replace(self.inner._build(arrays), name=self.name)

    def domain(self) -> tuple[Array, ...]:
        return self.inner.domain()

    def takes(self) -> int | None:
        return self.inner.takes()

    def __repr__(self) -> str:
        return f"block({self.name!r}, {self.inner!r})"


def trace(
    name: str,
    apply: Callable[[Builder, tuple[Traced, ...]], tuple[Traced, ...]],
    parent: Builder,
    wires: tuple[Traced, ...],
) -> Diagram:
    """The body of a block: what `apply` does to fresh inputs of the wires' types."""
    inputs = tuple(Wire(wire.type) for wire in wires)
    inner = Builder(name, inputs, parent, tuple(parent.roots[wire.number] for wire in wires))
    return inner.finish(apply(inner, inner.inputs()))


@dataclass(frozen=True, repr=False)
class Copies(Fn):
    """n copies in a row."""

    inner: Fn
    n: int
    tied: bool = False

    @property
    def name(self) -> str:  # type: ignore[override]  # a read-only name is a name
        return ""

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        inner = self.inner.inner if isinstance(self.inner, Named) else self.inner
        body = trace(self.inner.name or "repeat", inner.apply, builder, wires)
        return builder.apply(Repeat(body, self.n, self.tied), self.inner.name or "repeat", wires, "")

    def domain(self) -> tuple[Array, ...]:
        return self.inner.domain()

    def takes(self) -> int | None:
        return self.inner.takes()

    def __repr__(self) -> str:
        inner = f"({self.inner!r})" if isinstance(self.inner, Then | Beside) else repr(self.inner)
        return f"repeat({self.inner!r}, {self.n}, tied=True)" if self.tied else f"{inner} ** {self.n}"


@dataclass(frozen=True, repr=False)
class Traceable(Fn):
    """A Python function of wires with a signature: a typed block."""

    signature: str
    function: Callable[..., Any]
    name: str

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        self._check(wires, builder.path())
        body = trace(self.name, self._run, builder, wires)
        return builder.apply(Block(replace(body, wires=self._label(body.wires))), self.name, wires, "")

    def _build(self, arrays: tuple[Array, ...]) -> Diagram:
        spec = parse_spec(self.signature)
        if len(arrays) != len(spec.ins):
            raise ArityError(
                f"{self.name} takes {len(spec.ins)} arrays ({self.signature.partition('->')[0].strip()}), got {len(arrays)}"
            )
        builder = Builder(self.name, self._label(tuple(Wire(array) for array in arrays)))
        return builder.finish(self._run(builder, builder.inputs()))

    def _label(self, wires: tuple[Wire, ...]) -> tuple[Wire, ...]:
        """Input wires carry the function's parameter names."""
        names = list(inspect.signature(self.function).parameters)
        return tuple(
            replace(w, name=names[i]) if i < min(len(names), self.takes()) else w for i, w in enumerate(wires)
        )

    def _check(self, wires: tuple[Traced, ...], path: tuple[str, ...]) -> None:
        spec = parse_spec(self.signature)
        if len(wires) != len(spec.ins):
            left = self.signature.partition("->")[0].strip()
            raise ArityError(
                f"{self.name} takes {len(spec.ins)} arrays ({left}), got {len(wires)}", path=path
            )

    def _run(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        """Runs the function and brings its results to the signature's order, woven axes in front."""
        spec = parse_spec(self.signature)
        for number, (wire, bundle) in enumerate(zip(wires, spec.ins, strict=True)):
            try:
                ops.check_tokens(wire.type, bundle, number)
            except Mismatch as error:
                raise builder._explain(error, _Signature(self.name), wires, "") from None
        results = self.function(*wires)
        outs = results if isinstance(results, tuple) else (results,)
        if len(outs) != len(spec.outs) or not all(isinstance(out, Traced) for out in outs):
            raise DiagramTypeError(
                f"in {' → '.join(builder.path())}\n  the signature {self.signature!r} promises {len(spec.outs)} array(s), "
                f"but the function returned {len(outs)} of type {', '.join(sorted({type(o).__name__ for o in outs}))}",
                path=builder.path(),
            )
        return tuple(
            self._conform(builder, out, tuple(t.name for t in bundle))
            for out, bundle in zip(outs, spec.outs, strict=True)
        )

    def _conform(self, builder: Builder, out: Traced, promised: tuple[str, ...]) -> Traced:
        missing = [name for name in promised if name not in out.type]
        if missing:
            raise DiagramTypeError(
                f"in {' → '.join(builder.path())}\n  the signature {self.signature!r} promises axis '{missing[0]}', but the result is  {out.type}",
                path=builder.path(),
            )
        order = (*(axis.name for axis in out.type.without(promised)), *promised)
        return (
            out
            if out.type.names == order
            else builder.apply(ops.Transpose(" ".join(order)), "transpose", (out,), "")[0]
        )

    def domain(self) -> tuple[Array, ...]:
        return tuple(ops.tokens_domain(bundle) for bundle in parse_spec(self.signature).ins)

    def takes(self) -> int:
        return len(parse_spec(self.signature).ins)

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class _Signature(Op):
    """Stands for a traced block in an error about its own inputs."""

    name: str = ""

    def __str__(self) -> str:
        return self.name


@overload
def diagram(signature: str) -> Callable[[Callable[..., Any]], Fn]: ...
@overload
def diagram(signature: str, function: Callable[..., Any]) -> Fn: ...
def diagram(signature: str, function: Callable[..., Any] | None = None) -> Any:
    """Makes a Python function of wires a typed block; all axes that the signature does not name are woven around it.

    >>> from nbkit import diagram, einsum, softmax, scale
    >>> @diagram("y k, x k, x k -> y k")
    ... def attention(q, k, v):
    ...     weights = einsum("y k, x k -> y x")(q, k) >> scale("k**(-1/2)") >> softmax("x")
    ...     return einsum("y x, x k -> y k")(weights, v)
    >>> print(attention.on("h y k, h x k, h x k"))
    attention: R[h y k], R[h x k], R[h x k] -> R[h y k]
    """
    parse_spec(signature)

    def wrap(traced: Callable[..., Any]) -> Fn:
        fn = Traceable(signature, traced, check_name(traced.__name__.strip("_"), "block"))
        object.__setattr__(fn, "__doc__", traced.__doc__)
        return fn

    return wrap if function is None else wrap(function)


def block(name: str, fn: Fn | tuple[Any, ...]) -> Fn:
    """`fn` as a block called `name`: drawn on a plate of its own, and a submodule of that name."""
    return as_fn(fn).named(name)


def repeat(fn: Fn | tuple[Any, ...], n: int, tied: bool = False) -> Fn:
    """n copies of `fn` in a row; with `tied` they share their weights. The same as `fn ** n` when not tied."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= _MOST_COPIES:
        raise DiagramError(f"a part is repeated between 1 and {_MOST_COPIES} times, not {n!r}")
    return Copies(as_fn(fn), n, tied)


def _make(op: Op, name: str = "") -> Apply:
    return Apply(op, check_name(name, "node") if name else "", _caller())


def _caller() -> str:
    """`file.py:14` of the nearest frame outside the language."""
    frame = sys._getframe(2)
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith(_HERE):
        frame = frame.f_back  # type: ignore[assignment]  # ends at None
    if frame is None:
        return ""
    return f"{frame.f_code.co_filename.replace(chr(92), '/').rpartition('/')[2]}:{frame.f_lineno}"


skip: Fn = Skip()
relu, gelu, tanh, sigmoid, silu, square, exp = (
    Apply(ops.Elementwise(f)) for f in ("relu", "gelu", "tanh", "sigmoid", "silu", "square", "exp")
)
add: Fn = Apply(ops.Add())
multiply: Fn = Apply(ops.Multiply())


def elementwise(function: str, name: str = "") -> Apply:
    """A named scalar function of every element: relu, gelu, tanh, sigmoid, silu, square, exp, abs, neg."""
    return _make(ops.Elementwise(function), name)


def einsum(spec: str, name: str = "") -> Apply:
    """Sum of products over named axes: `einsum("y k, x k -> y x")`."""
    parse_spec(spec)
    return _make(ops.Einsum(spec), name)


def linear(spec: str, name: str = "", *, bias: bool = True, per: str = "", key: str = "") -> Apply:
    """Learned affine map of the named axes: `linear("m -> h k", "Q", bias=False)`."""
    parse_spec(spec)
    return _make(ops.Linear(spec, bias, per, key), name)


def embed(spec: str, name: str = "", *, key: str = "") -> Apply:
    """Learned table look-up: `embed("v -> m")` on indices below v."""
    parse_spec(spec)
    return _make(ops.Embed(spec, key), name)


def positions(spec: str, name: str = "", *, key: str = "") -> Apply:
    """Learned vector for each position: `positions("x -> m")`."""
    parse_spec(spec)
    return _make(ops.Positions(spec, key), name)


def scale(factor: str | int, name: str = "") -> Apply:
    """Multiplication by a number that may depend on sizes: `scale("k**(-1/2)")`."""
    return _make(ops.Scale(str(factor)), name)


def reduce(how: str, axes: str, name: str = "") -> Apply:
    """`reduce("mean", "x")`: sum, mean or max over axes."""
    return _make(ops.Reduce(how, axes), name)


def total(axes: str) -> Apply:
    """Sum over axes."""
    return _make(ops.Reduce("sum", axes))


def mean(axes: str) -> Apply:
    """Mean over axes."""
    return _make(ops.Reduce("mean", axes))


def maximum(axes: str) -> Apply:
    """Maximum over axes."""
    return _make(ops.Reduce("max", axes))


def softmax(axes: str, name: str = "") -> Apply:
    """Softmax over the named axes together."""
    return _make(ops.Softmax(axes), name)


def norm(axes: str, name: str = "", *, eps: float = 1e-5, affine: bool = True) -> Apply:
    """Layer normalisation over axes (Ba et al. 2016), with learned weight and bias."""
    return _make(ops.Norm(axes, "layer", "", eps, affine), name)


def rms_norm(axes: str, name: str = "", *, eps: float = 1e-5, affine: bool = True) -> Apply:
    """Root-mean-square normalisation over axes (Zhang & Sennrich 2019), with learned weight."""
    return _make(ops.Norm(axes, "rms", "", eps, affine), name)


def batch_norm(per: str, over: str = "", name: str = "", *, eps: float = 1e-5, affine: bool = True) -> Apply:
    """Batch normalisation per channel (Ioffe & Szegedy 2015); `over` names the batch axis where it is drawn."""
    return _make(ops.Norm(over, "batch", per, eps, affine), name)


def mask(relation: str, name: str = "", *, fill: str = "-inf") -> Apply:
    """Keeps elements whose indices satisfy a relation: `mask("x <= y")` is the causal mask."""
    return _make(ops.Mask(relation, fill), name)


def dropout(p: float = 0.1, name: str = "") -> Apply:
    """Zeroes elements with probability p in training."""
    return _make(ops.Dropout(float(p)), name)


def merge(*axes: str, name: str = "") -> Apply:
    """Axes become one: `merge("x y -> f")`; `merge("x", "w")` merges w into x."""
    spec = axes[0] if len(axes) == 1 else f"{' '.join(axes)} -> {axes[0]}"
    parse_spec(spec)
    return _make(ops.Merge(spec), name)


def split(spec: str, name: str = "") -> Apply:
    """One axis becomes several: `split("f -> h k=64")`."""
    parse_spec(spec)
    return _make(ops.Split(spec), name)


def concat(axis: str, name: str = "") -> Apply:
    """Arrays one after the other along an axis."""
    return _make(ops.Concat(check_name(axis)), name)


def slice_(axis: str, start: int = 0, stop: int | None = None, name: str = "") -> Apply:
    """Positions start…stop−1 of an axis (`nbkit.slice`)."""
    return _make(ops.Slice(axis, start, stop), name)


def index(axis: str, position: int, name: str = "") -> Apply:
    """One position of an axis, which ends: `index("x", -1)`."""
    return _make(ops.Slice(axis, position, None, drop=True), name)


def rename(spec: str = "", name: str = "", /, **names: str) -> Apply:
    """New names for axes: `rename(x="y")`."""
    text = spec or f"{' '.join(names)} -> {' '.join(names.values())}"
    parse_spec(text)
    return _make(ops.Rename(text), name)


def transpose(axes: str, name: str = "") -> Apply:
    """The named axes in this order."""
    return _make(ops.Transpose(axes), name)


def window(
    axis: str = "x",
    size: int = 3,
    stride: int = 1,
    *,
    dilation: int = 1,
    padding: int | str = "same",
    name: str = "w",
    fill: str = "0",
) -> Apply:
    """Sliding windows over an axis: x becomes window positions, `name` runs inside the window."""
    return _make(ops.Window(axis, size, stride, dilation, str(padding), name, fill))
