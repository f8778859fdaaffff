"""Equations as lines of data: single ones, those of a block, those that hold for all values of an index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nbkit.draw.notation.formulas import indices
from nbkit.draw.notation.terms import Index, Place, Ref, Step, Symbol, Term
from nbkit.language.axes import Array


@dataclass(frozen=True)
class Equation:
    """One line: an element of an array, and what it is; `path` is the node that says so."""

    left: Ref
    right: Term
    note: str = ""
    path: str = ""


@dataclass(frozen=True)
class Group:
    """The lines of a block, in a brace."""

    title: str
    lines: tuple[Line, ...]
    path: str


@dataclass(frozen=True)
class Loop:
    """Lines that hold for every value of an index, from `first` on (or backwards).

    `own`: the copies have weights of their own.
    """

    title: str
    count: Index
    first: int
    backwards: bool
    own: bool
    lines: tuple[Line, ...]
    path: str


Line = Equation | Group | Loop


@dataclass(frozen=True)
class View:
    """How an array is written: its symbol, and for each of its indices an axis, or an index that is set."""

    symbol: Symbol
    array: Array
    slots: tuple[str | Index, ...]
    step: Step | None = None

    def at(self, places: Mapping[str, Place]) -> Ref:
        """Its element at some places."""
        found = (places[slot] if isinstance(slot, str) else slot for slot in self.slots)
        return Ref(self.symbol, tuple(found), self.step)


def viewed(symbol: Symbol, array: Array, step: Step | None = None) -> View:
    """An array that is written with the indices of all its axes."""
    return View(symbol, array, array.names, step)


def same(left: View, right: View, path: str) -> Equation:
    """An array is another one."""
    places = indices(left.array)
    return Equation(left.at(places), right.at(places), path=path)
