"""Height and width as one image axis of rank 2 (a double wire), where everything treats both alike.

The two windows of a square convolution become one window over the image; so do the two folds of a transposed
one and the two merges of an up-sampling. Where anything tells the two axes apart (a flattening into patches,
a kernel that is not square), they stay two.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from nbkit.build.importing.atoms import Atom, Name
from nbkit.build.importing.cells import Cell, Wire
from nbkit.build.importing.tidy import Readers

Pairs = dict[Name, Name]  # the first axis of an image → the second one
_PAIRED = {"window": ("axis", "name"), "fold": ("axis", "name"), "merge": ("old", "new")}
_WHOLE = ("linear", "reduce", "norm", "einsum", "parameter", "expand", "constant", "softmax")


def as_images(
    cells: list[Cell], inputs: Sequence[Wire], outputs: Sequence[Wire], orders: list[tuple[Atom, ...]]
) -> list[Cell]:
    """The cells with image axes of rank 2, if all of them can be; else the cells as they are."""
    pairs = _pairs(cells)
    wires = list({id(w): w for c in cells for w in (*c.ins, *c.outs)}.values())
    wires += [w for w in inputs if all(w is not other for other in wires)]
    twins = _twins(cells, pairs, outputs)
    if not pairs or twins is None:
        return cells
    between = {id(cell.outs[0]) for cell, _ in twins}
    gone = {id(second) for _, second in twins}
    alike = all(_alike(w.atoms, pairs) for w in wires if id(w) not in between)
    regular = all(_regular(c, pairs) for c in cells if id(c) not in gone and c.kind not in _PAIRED)
    ordered = all(_adjacent(order, pairs) for order in orders) and all(
        _adjacent(w.atoms, pairs) for w in inputs
    )
    if not (alike and regular and ordered):
        return cells
    seconds = set(pairs.values())
    for root in pairs:
        inside = root.hints.most_common(1)[:1] and root.hints.most_common(1)[0][0].startswith("w")
        root.hints["w" if inside else "x"] += 100
    for first, second in twins:
        first.outs = list(second.outs)
    for wire in wires:
        wire.atoms = _single(wire.atoms, pairs, seconds)
    for cell in cells:
        cell.axes = {role: list(_single(atoms, pairs, seconds)) for role, atoms in cell.axes.items()}
    orders[:] = [_single(order, pairs, seconds) for order in orders]
    return [c for c in cells if id(c) not in gone]


def _root(atom: Atom) -> Name:
    return atom.name.root()


def _pairs(cells: Sequence[Cell]) -> Pairs:
    """The axes that neighbouring windows, folds and merges work on: the first and the second of an image."""
    found: Pairs = {}
    for before, after in pairwise(cells):
        if before.kind == after.kind and before.kind in _PAIRED and before.outs[0] is after.ins[0]:
            for role in _PAIRED[before.kind]:
                for one, other in zip(before.axes[role], after.axes[role], strict=False):
                    found[_root(one)] = _root(other)
    return {one: other for one, other in found.items() if other not in found and one is not other}


def _twins(cells: Sequence[Cell], pairs: Pairs, outputs: Sequence[Wire]) -> list[tuple[Cell, Cell]] | None:
    """Cells on the first axes with those on the second right behind; None if one has no other."""
    readers = Readers(cells, outputs)
    found: list[tuple[Cell, Cell]] = []
    taken: set[int] = set()
    for cell in cells:
        if cell.kind not in _PAIRED or id(cell) in taken:
            continue
        rows = [cell.axes[role] for role in _PAIRED[cell.kind]]
        if not any(_root(a) in pairs or _root(a) in pairs.values() for row in rows for a in row):
            continue
        other = readers.only(cell.outs[0])
        if other is None or other.kind != cell.kind or other.settings != cell.settings:
            return None
        for role in _PAIRED[cell.kind]:
            one, two = cell.axes[role], other.axes[role]
            if [a.size for a in one] != [a.size for a in two]:
                return None
            if any(pairs.get(_root(a)) is not _root(b) for a, b in zip(one, two, strict=True)):
                return None
        found.append((cell, other))
        taken |= {id(cell), id(other)}
    return found


def _alike(atoms: Sequence[Atom], pairs: Pairs) -> bool:
    """Both axes of each image, of one size, or neither."""
    sizes = {_root(a): a.size for a in atoms}
    return all(sizes.get(one) == sizes.get(other) for one, other in pairs.items())


def _adjacent(atoms: Sequence[Atom], pairs: Pairs) -> bool:
    """The second axis of an image right behind the first."""
    roots = [_root(a) for a in atoms]
    for place, root in enumerate(roots):
        if root in pairs and roots[place + 1 : place + 2] != [pairs[root]]:
            return False
    return _alike(atoms, pairs)


def _regular(cell: Cell, pairs: Pairs) -> bool:
    """An operation that works on both axes of an image alike, or on neither."""
    every = set(pairs) | set(pairs.values())
    for atoms in cell.axes.values():
        if any(_root(a) in every for a in atoms) and (
            cell.kind not in _WHOLE or not _alike(atoms, pairs) or not _adjacent(atoms, pairs)
        ):
            return False
    return True


def _single(atoms: Sequence[Atom], pairs: Pairs, seconds: set[Name]) -> tuple[Atom, ...]:
    """The atoms with one of rank 2 for each image."""
    kept = []
    for atom in atoms:
        if _root(atom) in pairs:
            atom.rank = 2
        if _root(atom) not in seconds:
            kept.append(atom)
    return tuple(kept)
