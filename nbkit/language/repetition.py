"""Functions applied again and again: repeat, stages, scan.

repeat(f, n)      n copies in a row that keep the type; `tied` ones share their weights (`f ** n`: fresh ones)
stages(f, n)      n copies in a row, each typed on what the one before gave (sizes indexed by λ)
scan(f, "t")      one copy for every position of an axis, all with the same weights (a recurrence)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nbkit.language.axes import Array, parse_array
from nbkit.language.diagram import MOST_COPIES
from nbkit.language.errors import ArityError, DiagramError, DiagramTypeError, Mismatch
from nbkit.language.functions import Beside, Fan, Fn, Then, as_fn
from nbkit.language.parts import Repeat, Scan, Stages, scan_elements
from nbkit.language.sizes import check_name, is_count
from nbkit.language.trace import Builder, Traced, count


@dataclass(frozen=True, repr=False)
class Copies(Fn):
    """n copies in a row."""

    inner: Fn
    n: int
    tied: bool = False

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        body = self.inner.body(builder, wires)
        name = self.inner.name or "repeat"
        try:
            return builder.apply(Repeat(body, self.n, self.tied), name, wires, called=f"{name}(×{self.n})")
        except DiagramTypeError as error:
            if error.missing is None:
                error.partial = (body, body.outs)  # what the part became, not what it was given
            raise

    def domain(self) -> tuple[Array, ...]:
        return self.inner.domain()

    def takes(self) -> int | None:
        return self.inner.takes()

    def __repr__(self) -> str:
        if self.tied or isinstance(self.inner, Fan):
            return f"repeat({self.inner!r}, {self.n}{', tied=True' if self.tied else ''})"
        chain = isinstance(self.inner, Then | Beside | Copies)
        return f"({self.inner!r}) ** {self.n}" if chain else f"{self.inner!r} ** {self.n}"


@dataclass(frozen=True, repr=False)
class Along(Fn):
    """A recurrence along an axis."""

    inner: Fn
    over: str
    states: int = 1
    reverse: bool = False

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        name = self.inner.name or "scan"
        called = f"scan[{self.over}]({self.inner.name})" if self.inner.name else f"scan[{self.over}]"
        try:
            elements = scan_elements(tuple(wire.type for wire in wires), self.over, self.states)
        except Mismatch as error:
            raise builder.explain(error, called, wires) from None
        body = self.inner.body(builder, wires, elements, "scan")
        return builder.apply(Scan(body, self.over, self.states, self.reverse), name, wires, called=called)

    def domain(self) -> tuple[Array, ...]:
        arrays = self.inner.domain()
        axis = parse_array(self.over).axes
        return (*arrays[: self.states], *(Array((*axis, *a.axes), a.bound) for a in arrays[self.states :]))

    def takes(self) -> int | None:
        return self.inner.takes()

    def __repr__(self) -> str:
        states = f", states={self.states}" if self.states != 1 else ""
        return f"scan({self.inner!r}, {self.over!r}{states}{', reverse=True' if self.reverse else ''})"


@dataclass(frozen=True, repr=False)
class InStages(Fn):
    """n copies in a row, each typed on what the one before gave."""

    inner: Fn
    n: int
    carry: int = 1
    first: int = 1
    down: bool = False

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        name = self.inner.name or "stages"
        wanted = self.takes()
        if wanted is not None and wanted != len(wires):
            raise ArityError(
                f"{name} in {self.n} stages takes {count(wanted)} ({self.carry} carried, and the further "
                f"ones of each copy), got {len(wires)}",
                path=builder.path(),
            )
        each = (len(wires) - self.carry) // self.n
        running, bodies = tuple(wire.type for wire in wires[: self.carry]), []
        for i in range(self.n):
            further = wires[self.carry + i * each : self.carry + (i + 1) * each]
            arrays = (*running, *(wire.type for wire in further))
            body = self.inner.body(builder, (*wires[: self.carry], *further), arrays, "stages")
            if len(body.outs) < self.carry:
                raise ArityError(
                    f"{name} in {self.n} stages carries {count(self.carry)} from copy to copy, "
                    f"but gives {len(body.outs)}",
                    path=builder.path(),
                )
            running = body.outputs[: self.carry]
            bodies.append(body)
        op = Stages(tuple(bodies), self.carry, self.first, self.down)
        return builder.apply(op, name, wires, called=f"{name}(λ={op.first}…{op.last})")

    def domain(self) -> tuple[Array, ...]:
        arrays = self.inner.domain()
        return (*arrays[: self.carry], *(arrays[self.carry :] * self.n))

    def takes(self) -> int | None:
        each = self.inner.takes()
        return None if each is None else self.carry + (each - self.carry) * self.n

    def __repr__(self) -> str:
        given = {"carry": self.carry, "first": self.first, "down": self.down}
        shown = [f", {k}={v!r}" for k, v in given.items() if v != {"carry": 1, "first": 1, "down": False}[k]]
        return f"stages({self.inner!r}, {self.n}{''.join(shown)})"


def repeat(fn: Fn | tuple[Any, ...], n: int, tied: bool = False) -> Fn:
    """N copies of `fn` in a row; with `tied` they share their weights, otherwise the same as `fn ** n`."""
    if not is_count(n) or not 1 <= n <= MOST_COPIES:
        raise DiagramError(f"a part is repeated between 1 and {MOST_COPIES} times, not {n!r}")
    return Copies(as_fn(fn), n, tied)


def scan(fn: Fn | tuple[Any, ...], over: str = "t", *, states: int = 1, reverse: bool = False) -> Fn:
    """A recurrence: `fn`, with the same weights, for every position of the axis `over`.

    Takes `states` arrays that are carried on, then sequences with the axis; `fn` takes the states and one
    element of each sequence, and gives the new states and further arrays. Gives the last states, then the
    further arrays of all positions.

    >>> from nbkit import diagram, linear, tanh
    >>> @diagram("h, m -> h, h")
    ... def cell(state, x):
    ...     new = tanh(linear("h -> h", "W")(state) + linear("m -> h", "U")(x))
    ...     return new, new
    >>> print(scan(cell, "t").on("h=8, t=5 m=3"))
    diagram: R[h=8], R[t=5 m=3] -> R[h=8], R[t=5 h=8]
    """
    if not is_count(states) or states < 1:
        raise DiagramError(f"a scan carries at least one state, not {states!r}")
    return Along(as_fn(fn), check_name(over), states, reverse)


def stages(fn: Fn | tuple[Any, ...], n: int, *, carry: int = 1, first: int = 1, down: bool = False) -> Fn:
    """N copies of `fn` in a row whose sizes may change: each is typed on what the one before gave.

    The first `carry` arrays run from copy to copy. Further inputs and outputs of `fn` are those of each copy,
    in order. The copies are called λ = first, first + 1, … (first - 1, … when `down`) in pictures.

    >>> from nbkit import linear
    >>> print(stages(linear("c -> c=2*c"), 3).on("x c=8"))
    diagram: R[x c=8] -> R[x c=64]
    """
    if not is_count(n) or not 1 <= n <= MOST_COPIES:
        raise DiagramError(f"a part is repeated between 1 and {MOST_COPIES} times, not {n!r}")
    if not is_count(carry) or carry < 1 or not is_count(first):
        raise DiagramError(
            f"stages carry at least one array, and count from a whole number; found carry={carry!r}, "
            f"first={first!r}"
        )
    wanted = as_fn(fn).takes()
    if wanted is not None and wanted < carry:
        raise ArityError(f"stages cannot carry {count(carry)} through {fn!r}, which takes {wanted}")
    return InStages(as_fn(fn), n, carry, first, down)
