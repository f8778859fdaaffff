"""The leading axis that nothing works on: left unnamed, so that any number of leading dimensions goes in."""

from __future__ import annotations

from collections.abc import Sequence

from nbkit.build.importing.atoms import Atom, Name, same
from nbkit.build.importing.cells import Cell, Wire

ASKED_FOR = 10_000  # votes for a letter that the user wrote
_FREE = {("einsum", "out"), ("expand", "axes"), ("constant", "axes")}  # where woven axes are listed


def without_batch(
    cells: list[Cell], inputs: Sequence[Wire], outputs: list[Wire], orders: Sequence[Sequence[Atom]]
) -> list[Cell]:
    """The cells without the batch axis, if it leads everywhere outside and nothing names it inside."""
    if not inputs or not inputs[0].atoms:
        return cells
    leading = inputs[0].atoms[0]
    root = leading.name.root()
    if root.hints.most_common(1) and root.hints.most_common(1)[0][1] >= ASKED_FOR:
        return cells
    if not all(wire.atoms and same(wire.atoms[0], leading) for wire in inputs):
        return cells
    if not all(order and same(order[0], leading) for order in orders):
        return cells
    if _worked_on(cells, root) or not _reaches(cells, inputs, outputs):
        return cells
    wires = {id(w): w for cell in cells for w in (*cell.ins, *cell.outs)} | {id(w): w for w in inputs}
    for wire in wires.values():
        wire.atoms = tuple(a for a in wire.atoms if a.name.root() is not root)
    for cell in cells:
        for role, atoms in cell.axes.items():
            cell.axes[role] = [a for a in atoms if a.name.root() is not root]
    return _without_empty(cells, outputs)


def _worked_on(cells: Sequence[Cell], root: Name) -> bool:
    return any(
        a.name.root() is root
        for cell in cells
        for role, atoms in cell.axes.items()
        if (cell.kind, role) not in _FREE
        for a in atoms
    )


def _reaches(cells: Sequence[Cell], inputs: Sequence[Wire], outputs: Sequence[Wire]) -> bool:
    """True if every output is computed from an input, and so has its batch."""
    reached = {id(w) for w in inputs}
    for cell in cells:
        if cell.kind not in ("parameter", "constant") and any(id(w) in reached for w in cell.ins):
            reached |= {id(w) for w in cell.outs}
    return all(id(w) in reached for w in outputs)


def _without_empty(cells: Sequence[Cell], outputs: list[Wire]) -> list[Cell]:
    """Expansions of which nothing is left are no cells."""
    instead: dict[int, Wire] = {}
    kept = []
    for cell in cells:
        cell.ins = [instead.get(id(w), w) for w in cell.ins]
        if cell.kind == "expand" and not cell.axes["axes"]:
            instead[id(cell.outs[0])] = cell.ins[0]
        else:
            kept.append(cell)
    outputs[:] = [instead.get(id(w), w) for w in outputs]
    return kept
