"""`@diagram("y m, x m -> y m")`: a Python function of wires becomes a typed block.

The signature names the axes that the block works on; all others are woven around it, and come out in front.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, overload

from nbkit.language import ops
from nbkit.language.axes import Array, Token, parse_spec
from nbkit.language.diagram import Diagram, Wire
from nbkit.language.errors import ArityError, DiagramTypeError, Mismatch, ParseError
from nbkit.language.functions import Fn
from nbkit.language.parts import Block
from nbkit.language.sizes import NAME, check_name
from nbkit.language.trace import Builder, Traced, count, trace


@dataclass(frozen=True, repr=False)
class Traceable(Fn):
    """A Python function of wires with a signature: a typed block."""

    signature: str
    function: Callable[..., Any]
    name: str

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        return builder.apply(Block(self.body(builder, wires)), self.name, wires)

    def body(
        self,
        builder: Builder,
        wires: tuple[Traced, ...],
        arrays: tuple[Array, ...] | None = None,
        default: str = "",  # a traced function always has a name
    ) -> Diagram:
        self._check(builder, wires, self.name, arrays)
        traced = trace(self.name, self._run, builder, wires, arrays)
        return replace(traced, wires=self._label(traced.wires))

    def inside(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        self._check(builder, wires)
        builder.wires[:] = self._label(tuple(builder.wires))
        return self._run(builder, wires)

    def _label(self, wires: tuple[Wire, ...]) -> tuple[Wire, ...]:
        """Input wires carry the function's parameter names."""
        names = [name.strip("_") for name in inspect.signature(self.function).parameters][: self.takes()]
        labels = [name if NAME.match(name) else "" for name in names]
        return (
            *(replace(w, name=label) for w, label in zip(wires, labels, strict=False)),
            *wires[len(labels) :],
        )

    def _check(
        self,
        builder: Builder,
        wires: tuple[Traced, ...],
        called: str = "",
        arrays: tuple[Array, ...] | None = None,
    ) -> None:
        """The arrays that go in must have the axes that the signature names."""
        if len(wires) != self.takes():
            left = self.signature.partition("->")[0].strip()
            raise ArityError(
                f"{self.name} takes {count(self.takes())} ({left}), got {len(wires)}",
                path=builder.path(),
                partial=builder.partial(wires),
            )
        given = tuple(wire.type for wire in wires) if arrays is None else arrays
        for number, (array, bundle) in enumerate(zip(given, parse_spec(self.signature).ins, strict=True)):
            try:
                ops.check_tokens(array, bundle, number if len(wires) > 1 else None)
            except Mismatch as error:
                raise builder.explain(error, called, wires) from None

    def _run(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        """Runs the function and brings its results to the signature's order, woven axes in front."""
        spec = parse_spec(self.signature)
        results = self.function(*wires)
        outs = results if isinstance(results, tuple) else (results,)
        if not all(isinstance(out, Traced) for out in outs):
            found = ", ".join(type(out).__name__ for out in outs)
            raise self._broken(builder, f"promises wires, but the function returned {found}")
        if len(outs) != len(spec.outs):
            raise self._broken(
                builder, f"promises {count(len(spec.outs))}, but the function returned {len(outs)}"
            )
        if any(out.builder is not builder for out in outs):
            raise self._broken(
                builder, "is that of this block, but the function returned a wire of another block"
            )
        pairs = zip(outs, spec.outs, strict=True)
        return tuple(self._conform(builder, out, bundle) for out, bundle in pairs)

    def _conform(self, builder: Builder, out: Traced, bundle: tuple[Token, ...]) -> Traced:
        promised = tuple(token.name for token in bundle)
        for token in bundle:
            if token.name not in out.type or token.size not in (None, out.type[token.name].size):
                raise self._broken(builder, f"promises axis '{token}', but the result is  {out.type}")
        order = (*(axis.name for axis in out.type.without(promised)), *promised)
        if out.type.names == order:
            return out
        return builder.apply(ops.Transpose(" ".join(order)), "layout", (out,))[0]

    def _broken(self, builder: Builder, what: str) -> DiagramTypeError:
        return DiagramTypeError(
            f"in {' → '.join(builder.path())}\n  the signature {self.signature!r} {what}\n"
            "  bring the signature and the return statement of the function together",
            path=builder.path(),
        )

    def domain(self) -> tuple[Array, ...]:
        return tuple(ops.tokens_domain(bundle) for bundle in parse_spec(self.signature).ins)

    def takes(self) -> int:
        return len(parse_spec(self.signature).ins)

    def __repr__(self) -> str:
        return self.name


@overload
def diagram(signature: str) -> Callable[[Callable[..., Any]], Fn]: ...
@overload
def diagram(signature: str, function: Callable[..., Any]) -> Fn: ...
def diagram(
    signature: str, function: Callable[..., Any] | None = None
) -> Fn | Callable[[Callable[..., Any]], Fn]:
    """Makes a Python function of wires a typed block; all axes that the signature does not name are woven
    around it.

    >>> from nbkit import diagram, einsum, softmax, scale
    >>> @diagram("y k, x k, x k -> y k")
    ... def attention(q, k, v):
    ...     weights = einsum("y k, x k -> y x")(q, k) >> scale("k**(-1/2)") >> softmax("x")
    ...     return einsum("y x, x k -> y k")(weights, v)
    >>> print(attention.on("h y k, h x k, h x k"))
    attention: R[h y k], R[h x k], R[h x k] -> R[h y k]
    """
    if not isinstance(signature, str):
        raise ParseError('a diagram needs a signature: @diagram("x m -> x m")')
    wanted = len(parse_spec(signature).ins)

    def wrap(traced: Callable[..., Any]) -> Fn:
        fn = Traceable(signature, traced, check_name(traced.__name__.strip("_"), "block"))
        try:
            inspect.signature(traced).bind(*range(wanted))
        except TypeError:
            raise ArityError(
                f"{fn.name}: the signature {signature!r} takes {count(wanted)}, "
                f"but the function has parameters {inspect.signature(traced)}"
            ) from None
        for attribute in (
            "__doc__",
            "__module__",
            "__name__",
            "__qualname__",
        ):  # for help, editors and doctests
            object.__setattr__(fn, attribute, getattr(traced, attribute))
        object.__setattr__(fn, "__wrapped__", traced)
        return fn

    return wrap if function is None else wrap(function)
