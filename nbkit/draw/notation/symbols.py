"""The letters of arrays and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import chain, count
from math import prod

from sympy import Integer

from nbkit.draw.notation.latex import letters, word
from nbkit.draw.notation.terms import Index, Place, Ref, Symbol, Weight, Wire
from nbkit.language.axes import Axis
from nbkit.language.diagram import Diagram, Node

Side = tuple[Axis, ...]

_FREE = "ABCDFGHJKMNPQRSTUVXYZLOIE"
_BOLD = {"γ": r"\boldsymbol{\gamma}", "β": r"\boldsymbol{\beta}"}
_LONGEST_KEY = 8  # longer keys give way to the name of the node


@dataclass(frozen=True)
class Scope:
    """Where a part stands: its path in the diagram and in the module, loops around it, letters in use."""

    path: str
    module: str
    loops: tuple[Index, ...]  # whose copies have weights of their own
    counters: int
    depth: int
    taken: frozenset[str]


def fresh(scope: Scope, name: str, source: Wire) -> tuple[Symbol, Scope]:
    """A symbol for a wire called `name`, or the next free letter."""
    wanted = letters(name.upper()) if len(name) == 1 and name.isascii() else word(name)
    options = [*[wanted] * bool(name), *_FREE]
    marked = (f"{o}{mark}" for mark in ("", "'", "''") for o in options)
    numbered = (f"{options[0]}_{{{n}}}" for n in count(1))
    letter = next(o for o in chain(marked, numbered) if o not in scope.taken)
    return Symbol(letter, source), replace(scope, taken=scope.taken | {letter})


class Weights:
    """The symbols of what a diagram learns."""

    def __init__(self, diagram: Diagram) -> None:
        self.above = _titles(diagram)
        self.keys: dict[str, tuple[str, Weight]] = {}
        self.titles: dict[str, str] = {}  # what stands above shared weights

    def maker(
        self, node: Node, scope: Scope
    ) -> Callable[[str, str, Side, Side], Callable[[Iterable[Place]], Ref]]:
        """What makes the symbols of a node's weights."""
        key = str(getattr(node.op, "key", ""))

        def weight(letter: str, name: str, rows: Side, cols: Side) -> Callable[[Iterable[Place]], Ref]:
            mine = Weight(f"{scope.module}{node.id}", name, rows, cols, key if name == "weight" else "")
            letter, first = self.keys.setdefault(mine.key, (letter, mine)) if mine.key else (letter, mine)
            marks = [] if mine.key else [word(i.axis.name) for i in scope.loops]
            own = self.above[f"{scope.path}{node.id}"]
            short = word(key, "mathrm") if len(key) <= _LONGEST_KEY else ""
            title = self.titles.setdefault(mine.key, short or own) if mine.key else own
            bold = _BOLD.get(letter, rf"\mathbf{{{letter}}}")
            symbol = Symbol(bold, first, r",\,".join([title] * bool(title) + marks))
            turned = first is not mine and _turned(first, mine)

            def at(places: Iterable[Place]) -> Ref:
                found = tuple(places)
                return Ref(symbol, found[len(rows) :] + found[: len(rows)] if turned else found)

            return at

        return weight


def _turned(first: Weight, mine: Weight) -> bool:
    """Whether a shared weight is used with its sides swapped."""
    sides = [[axis.name for axis in side] for side in (mine.rows, mine.cols)]
    theirs = [[axis.name for axis in side] for side in (first.cols, first.rows)]
    if sides == theirs and sides[0] != sides[1]:
        return True
    numbers = [prod([a.numel for a in side], start=Integer(1)) for side in (mine.rows, mine.cols)]
    return numbers != [prod([a.numel for a in side], start=Integer(1)) for side in (first.rows, first.cols)]


def _titles(diagram: Diagram) -> dict[str, str]:
    """What stands above the weights of each node: its name, more of its path where that is not clear, or a
    number.
    """
    named: dict[str, str] = {}
    nameless: dict[str, list[str]] = {}
    taken: set[str] = set()
    for path, node in diagram.walk():
        if not node.op.learned:
            continue
        parts = [part for part in path.split(".") if part != "*"]
        last = parts[-1]
        if last == node.op.kind or last.startswith(f"{node.op.kind}_"):
            nameless.setdefault(node.op.kind, []).append(path)
            continue
        title = next((t for n in range(1, len(parts) + 1) if (t := ".".join(parts[-n:])) not in taken), path)
        taken.add(title)
        named[path] = ".".join(word(part, "mathrm") for part in title.split("."))
    for paths in nameless.values():
        for i, path in enumerate(paths):
            named[path] = f"({i + 1})" if len(paths) > 1 else ""
    return named
