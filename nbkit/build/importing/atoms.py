"""Axes before they have names: what the dimensions of tensors are made of while a graph is read.

A tensor's dimension is a product of atoms: `view(b, x, h·k)` makes a dimension of two atoms, and nothing
moves. Two atoms are the same axis if they have the same name and size, as everywhere in the language; names
are classes of a union-find, merged where an operation says that two axes are one, and never merged where one
array has both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from sympy import Expr, Integer

_serial = count()


@dataclass(eq=False)
class Name:
    """A name to be: `hints` count votes for letters, `apart` are the names that it must differ from."""

    hints: Counter[str] = field(default_factory=Counter)
    apart: set[Name] = field(default_factory=set)
    parent: Name | None = None

    def root(self) -> Name:
        """The name that this one became."""
        found = self
        while found.parent is not None:
            found = found.parent
        if found is not self:
            self.parent = found
        return found


@dataclass(eq=False)
class Atom:
    """An axis: a name to be, and a size."""

    name: Name
    size: Expr
    rank: int = 1  # 2 for an image axis: height and width as one
    serial: int = field(default_factory=lambda: next(_serial))

    def hint(self, letter: str, weight: int = 1) -> Atom:
        """Votes for a letter."""
        self.name.root().hints[letter] += weight
        return self

    def resized(self, size: Expr) -> Atom:
        """An axis of the same name and another size: what windows and slices leave."""
        return Atom(self.name.root(), size)


Dims = tuple[tuple[Atom, ...], ...]


def fresh(size: Expr | int, *hints: str) -> Atom:
    """A new axis, whose name is nobody else's yet."""
    atom = Atom(Name(), Integer(size) if isinstance(size, int) else size)
    for letter in hints:
        atom.hint(letter)
    return atom


def same(a: Atom, b: Atom) -> bool:
    """True if two atoms are one axis."""
    return a.name.root() is b.name.root() and a.size == b.size


def mergeable(a: Name, b: Name) -> bool:
    """True if no array has both names."""
    return a.root() is b.root() or b.root() not in {other.root() for other in a.root().apart}


def merge(a: Name, b: Name) -> bool:
    """Makes two names one; False, and nothing done, if some array has both."""
    left, right = a.root(), b.root()
    if left is right:
        return True
    if not mergeable(left, right):
        return False
    right.parent = left
    left.hints += right.hints
    left.apart |= right.apart
    for other in right.apart:
        other.root().apart.add(left)
    return True


def unify(a: Atom, b: Atom) -> bool:
    """Makes two atoms one axis; False if they have different sizes, or stand in one array."""
    return a.size == b.size and merge(a.name, b.name)


def keep_apart(atoms: Iterable[Atom]) -> None:
    """The names of these atoms must differ: they stand in one array."""
    roots = [atom.name.root() for atom in atoms]
    for i, left in enumerate(roots):
        for right in roots[i + 1 :]:
            if left is not right:
                left.apart.add(right)
                right.apart.add(left)


def product(atoms: Iterable[Atom]) -> Expr:
    """The size of a dimension."""
    total: Expr = Integer(1)
    for atom in atoms:
        total = total * atom.size
    return total


def flat(dims: Dims | Sequence[tuple[Atom, ...]]) -> Iterator[Atom]:
    """The atoms of all dimensions, in order."""
    for dim in dims:
        yield from dim


def substitute(dims: Dims, atom: Atom, parts: tuple[Atom, ...]) -> Dims:
    """Dimensions with an axis replaced by others."""
    return tuple(tuple(p for a in dim for p in (parts if same(a, atom) else (a,))) for dim in dims)
