"""`Cost` is a diagram's bill, `Entry` one line of it, `Cut` what is alive between two ops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from sympy import Add, Expr, Integer, Max

from nbkit.language.errors import BindingError, nearest
from nbkit.language.sizes import is_count, substitute

Number: TypeAlias = int | Expr


@dataclass(frozen=True)
class Entry:
    """The cost of the node at `path`; the inside of a repetition is at `path.*`, times its count.

    `bytes` are moved in one forward pass, `memory` is what autograd keeps for the backward pass, in bytes.
    """

    path: str
    op: str
    params: Number = 0
    flops: Number = 0
    bytes: Number = 0
    memory: Number = 0


@dataclass(frozen=True)
class Cut:
    """A meridian: bytes of all arrays that are alive after the node at `path` ("": before the first)."""

    path: str
    live: Number


@dataclass(frozen=True)
class Cost:
    """The cost of a diagram, node by node.

    >>> from nbkit import linear
    >>> cost = linear("m -> n").on("x m").cost()
    >>> cost.params, cost.flops, cost.memory
    (m*n + n, 2*m*n*x, 4*m*x)
    >>> cost.at(m=64, n=32, x=10).flops
    40960
    """

    entries: tuple[Entry, ...]
    free: tuple[str, ...] = ()  # sizes of the diagram that are still open
    cuts: tuple[Cut, ...] = ()
    itemsize: int = 4  # bytes of a real number

    @property
    def params(self) -> Number:
        """Learned numbers."""
        return total(entry.params for entry in self.entries)

    @property
    def flops(self) -> Number:
        """Floating-point operations of one forward pass, 2 per multiply–add."""
        return total(entry.flops for entry in self.entries)

    @property
    def bytes(self) -> Number:
        """Bytes read and written in one forward pass, weights included."""
        return total(entry.bytes for entry in self.entries)

    @property
    def memory(self) -> Number:
        """Bytes of activations that autograd keeps from the forward pass for the backward pass."""
        return total(entry.memory for entry in self.entries)

    @property
    def peak(self) -> Number:
        """The largest cut: bytes of arrays that are alive together in a forward pass without gradients."""
        return largest(cut.live for cut in self.cuts)

    def at(self, **sizes: int) -> Cost:
        """The cost with sizes given; numbers are plain integers once every size is.

        `BindingError` for unknown names and for sizes that are no positive integers.
        """
        for name, value in sizes.items():
            if name not in self.free:
                free = f"free sizes {', '.join(self.free)}" if self.free else "no free sizes"
                hint = nearest(name, self.free)
                raise BindingError(f"there is no size {name} to set; the diagram has {free}. {hint}".strip())
            if not (is_count(value) and value >= 1):
                raise BindingError(f"{name}={value!r} is not a size; sizes are positive integers")
        values = {name: Integer(value) for name, value in sizes.items()}

        def put(number: Number) -> Number:
            return number if isinstance(number, int) else plain(substitute(number, values))

        left = tuple(name for name in self.free if name not in sizes)
        entries = tuple(
            replace(e, params=put(e.params), flops=put(e.flops), bytes=put(e.bytes), memory=put(e.memory))
            for e in self.entries
        )
        cuts = tuple(Cut(cut.path, put(cut.live)) for cut in self.cuts)
        return Cost(entries, left, cuts, self.itemsize)

    def by_path(self) -> dict[str, Entry]:
        """Every path, blocks included, with the total of what lies below it."""
        below: dict[str, list[Entry]] = {}
        names: dict[str, str] = {}
        for entry in self.entries:
            parts = entry.path.split(".")
            for depth in range(1, len(parts) + 1):
                below.setdefault(".".join(parts[:depth]), []).append(entry)
            names[entry.path] = entry.op
        return {
            path: Entry(
                path,
                names.get(path, ""),
                total(e.params for e in entries),
                total(e.flops for e in entries),
                total(e.bytes for e in entries),
                total(e.memory for e in entries),
            )
            for path, entries in below.items()
        }

    def table(self) -> str:
        """The account as text, a line for every path; what costs nothing is left out."""
        from nbkit.build.costs.table import text

        return text(self)

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        from nbkit.build.costs.table import html

        return html(self)


def total(numbers: Iterable[Number]) -> Number:
    """The sum of sizes: a Python integer if it is one."""
    known = 0
    rest: Expr = Integer(0)
    for number in numbers:
        if isinstance(number, int):
            known += number
        else:
            rest = rest + number
    return plain(rest + known)


def plain(number: Expr) -> Number:
    """A Python integer where a size is one."""
    return int(number) if number.is_Integer else number


def largest(numbers: Iterable[Number]) -> Number:
    """The largest of sizes. What another one certainly exceeds (by positive terms only) is dropped; if more
    than one is left, they stand in a Max.
    """
    unique = dict.fromkeys(_expr(number) for number in numbers)
    left: list[Expr] = []
    for size in unique:
        if any(_exceeds(other, size) for other in left):
            continue
        left = [other for other in left if not _exceeds(size, other)] + [size]
    if len(left) <= 1:
        return plain(left[0]) if left else 0
    return Max(*left, evaluate=False)


def _exceeds(one: Expr, other: Expr) -> bool:
    """Whether one ≥ other for all positive sizes, seen from the signs of the terms of their difference."""
    difference = (one - other).expand()
    return all(term.is_nonnegative for term in Add.make_args(difference))


def _expr(number: Number) -> Expr:
    return Integer(number) if isinstance(number, int) else number
