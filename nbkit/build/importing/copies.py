"""Copies of one part: where neighbouring calls do the same to corresponding axes, those axes get one name."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from nbkit.build.importing.atoms import Atom, merge
from nbkit.build.importing.cells import Cell
from nbkit.build.importing.tree import items_of, runs_of


def unify_copies(cells: Sequence[Cell], depth: int = 0) -> None:
    """Gives corresponding axes of equal neighbours the same name, all levels down."""
    for run in runs_of(items_of(cells, depth)):
        for before, after in pairwise(run):
            pairs = matched(before.cells, after.cells, depth + 1)
            for left, right in pairs or ():
                merge(left.name, right.name)
        for item in run:
            if not item.single:
                unify_copies(item.cells, depth + 1)


def matched(left: Sequence[Cell], right: Sequence[Cell], depth: int) -> list[tuple[Atom, Atom]] | None:
    """Which axes correspond, if the cells of two calls do the same; else None."""
    if len(left) != len(right):
        return None
    wires: dict[int, int] = {}
    pairs: list[tuple[Atom, Atom]] = []
    for a, b in zip(left, right, strict=True):
        if (
            a.kind != b.kind
            or _plain(a) != _plain(b)
            or len(a.ins) != len(b.ins)
            or len(a.outs) != len(b.outs)
        ):
            return None
        if [s.name for s in a.stack[depth:]] != [s.name for s in b.stack[depth:]]:
            return None
        if {n: tuple(c.signature) for n, c in a.weights.items()}.keys() != b.weights.keys():
            return None
        for v, w in zip(a.ins, b.ins, strict=True):
            if wires.setdefault(id(v), id(w)) != id(w):
                return None
        for v, w in zip(a.outs, b.outs, strict=True):
            wires[id(v)] = id(w)
        for role, mine in a.axes.items():
            theirs = b.axes.get(role, [])
            if [x.size for x in mine] != [y.size for y in theirs]:
                return None
            pairs += zip(mine, theirs, strict=True)
    return pairs


def _plain(cell: Cell) -> dict[str, object]:
    return {k: v for k, v in cell.settings.items() if isinstance(v, str | int | float | None) and k != "key"}
