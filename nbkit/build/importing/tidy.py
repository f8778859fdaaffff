"""Rewrites on cells that bring out what was meant: packed projections unpacked, views taken into linear maps.

linear m → 3m, slice, slice, slice        three linear maps
linear m → n, split n → h k               linear m → h k
linear, rename x → y                      rename x → y, linear
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nbkit.build.importing.atoms import Atom, keep_apart, same
from nbkit.build.importing.cells import Carry, Cell, Stack, Wire

if TYPE_CHECKING:
    from torch import Tensor


class Readers:
    """Who makes and who reads each wire."""

    def __init__(self, cells: Sequence[Cell], outputs: Sequence[Wire]) -> None:
        self.maker = {id(w): cell for cell in cells for w in cell.outs}
        self.of: dict[int, list[Cell]] = {}
        for cell in cells:
            for wire in cell.ins:
                self.of.setdefault(id(wire), []).append(cell)
        self.outputs = {id(w) for w in outputs}

    def only(self, wire: Wire) -> Cell | None:
        """The one reader of a wire; None if there are others."""
        found = self.of.get(id(wire), [])
        return found[0] if len(found) == 1 and id(wire) not in self.outputs else None


def tidy(cells: list[Cell], outputs: Sequence[Wire]) -> list[Cell]:
    """The cells, rewritten until nothing changes."""
    cells = alive(cells, outputs)
    for step in (_split_into_maker, _unpacked, _split_into_maker, _renamed_before):
        changed = True
        while changed:
            cells, changed = step(cells, outputs)
            cells.sort(key=lambda cell: cell.order)
    cells = alive(cells, outputs)
    _anchored(cells)
    return cells


def _anchored(cells: Sequence[Cell]) -> None:
    """What reads no wire stands on one that its module takes anyway, not on an input of the whole."""
    made: dict[int, Stack] = {}
    for place, cell in enumerate(cells):
        if cell.kind in _SOURCES and cell.stack and not cell.settings.get("places"):
            depth = len(cell.stack)
            near = [c for c in (*cells[:place][::-1], *cells[place:]) if c.stack[:depth] == cell.stack]
            beside = [w for c in near if c.kind not in _SOURCES for w in c.ins]
            known = (w for w in beside if id(w) in made and made[id(w)][:depth] != cell.stack)
            cell.ins = [next(known, cell.ins[0])]
        for wire in cell.outs:
            made[id(wire)] = cell.stack


def alive(cells: Sequence[Cell], outputs: Sequence[Wire]) -> list[Cell]:
    """The cells that the outputs depend on."""
    needed = {id(w) for w in outputs}
    kept: list[Cell] = []
    for cell in reversed(cells):
        if any(id(w) in needed for w in cell.outs):
            kept.append(cell)
            needed.update(id(w) for w in cell.ins)
    return kept[::-1]


def _index(atoms: Sequence[Atom], atom: Atom) -> int | None:
    return next((i for i, a in enumerate(atoms) if same(a, atom)), None)


_RENAMED_BEFORE = ("linear", "scale", "dropout")
_SOURCES = ("parameter", "constant")
_WOVEN = ("add", "multiply", "elementwise", "scale", "dropout", "mask", "concat", "slice", "rename")


def _split_into_maker(cells: list[Cell], outputs: Sequence[Wire]) -> tuple[list[Cell], bool]:
    """A split of an axis that a linear map or a table makes is made by it, also past what lies between."""
    readers = Readers(cells, outputs)
    touched: set[int] = set()
    gone: set[int] = set()
    for cell in cells:
        if cell.kind != "split" or id(cell.outs[0]) in readers.outputs:
            continue
        region = _region(cell, readers)
        if region is None:
            continue
        wires, makers = region
        if any(id(w) in touched for w in wires):
            continue
        touched |= {id(w) for w in (*wires, *cell.outs)}
        gone.add(id(cell))
        (old,), new = cell.axes["old"], cell.axes["new"]
        for maker in makers:
            maker.axes["outs"] = [p for a in maker.axes["outs"] for p in (new if same(a, old) else [a])]
        for wire in wires:
            wire.atoms = tuple(p for a in wire.atoms for p in (new if same(a, old) else [a]))
            keep_apart(wire.atoms)
        for reader in readers.of.get(id(cell.outs[0]), []):
            reader.ins = [cell.ins[0] if w is cell.outs[0] else w for w in reader.ins]
    return [c for c in cells if id(c) not in gone], bool(gone)


def _region(split: Cell, readers: Readers) -> tuple[list[Wire], list[Cell]] | None:
    """The wires between a split and the maps that make its axis, if nothing else reads them."""
    (old,) = split.axes["old"]
    wires: dict[int, Wire] = {}
    inside: dict[int, Cell] = {id(split): split}
    makers: list[Cell] = []
    queue = [split.ins[0]]
    while queue:
        wire = queue.pop()
        if id(wire) in wires:
            continue
        maker = readers.maker.get(id(wire))
        if maker is None or id(wire) in readers.outputs:
            return None
        wires[id(wire)] = wire
        if maker.kind in ("linear", "embed") and _index(maker.axes["outs"], old) is not None:
            makers.append(maker)
        elif maker.kind in _WOVEN and not any(
            a.name.root() is old.name.root() for row in maker.axes.values() for a in row
        ):
            inside[id(maker)] = maker
            queue += [w for w in maker.ins if w.has(old)]
        else:
            return None
    if any(id(reader) not in inside for key in wires for reader in readers.of.get(key, [])):
        return None
    return (list(wires.values()), makers) if makers else None


def _unpacked(cells: list[Cell], outputs: Sequence[Wire]) -> tuple[list[Cell], bool]:
    """A linear map of which only parts are read becomes one map for each part."""
    readers = Readers(cells, outputs)
    alone = _alone(cells)
    gone: set[int] = set()
    made: list[Cell] = []
    for cell in cells:
        if cell.kind != "linear" or id(cell.outs[0]) in readers.outputs or cell.axes["per"]:
            continue
        (wire,) = cell.outs
        parts = readers.of.get(id(wire), [])
        if len(parts) < 2 or any(p.kind != "slice" for p in parts):
            continue
        axis = parts[0].axes["axis"][0]
        at = _index(cell.axes["outs"], axis)
        if at is None or any(not same(p.axes["axis"][0], axis) for p in parts) or not axis.size.is_Integer:
            continue
        size = int(axis.size)
        ranges = [_range(p, size) for p in parts]
        if sorted(i for start, stop in ranges for i in range(start, stop)) != list(range(size)):
            continue
        names = _roles(parts, readers)
        new: list[Cell] = []
        for number, (part, (start, stop)) in enumerate(zip(parts, ranges, strict=True)):
            kept = [] if part.settings.get("drop") else [_kept(part, axis)]
            outs = [*cell.axes["outs"][:at], *kept, *cell.axes["outs"][at + 1 :]]
            sizes = tuple(int(a.size) for a in cell.axes["outs"])
            weights = {n: _rows(c, sizes, at, start, stop) for n, c in cell.weights.items()}
            new.append(
                Cell(
                    "linear", list(cell.ins), list(part.outs),
                    {"ins": list(cell.axes["ins"]), "outs": outs, "per": []}, dict(cell.settings), weights,
                    _around(cell, alone) if names[number] else cell.stack, (*cell.order, start),
                    names[number],
                )
            )  # fmt: skip
        gone |= {id(cell), *(id(p) for p in parts)}
        made += new
    return [*(c for c in cells if id(c) not in gone), *made], bool(made)


def _range(part: Cell, size: int) -> tuple[int, int]:
    start = part.settings["start"] % size
    if part.settings.get("drop"):
        return start, start + 1
    stop = part.settings.get("stop")
    return start, size if stop is None else int(stop)


def _kept(part: Cell, axis: Atom) -> Atom:
    return next(a for a in part.outs[0].atoms if a.name.root() is axis.name.root())


def _rows(carry: Carry, sizes: tuple[int, ...], at: int, start: int, stop: int) -> Carry:
    def take(t: Tensor) -> Tensor:
        shaped = t.reshape(*sizes, *t.shape[1:])
        return shaped.narrow(at, start, stop - start).reshape(-1, *t.shape[1:])

    return carry.then(("rows", sizes, at, start, stop), take)


def _roles(parts: Sequence[Cell], readers: Readers) -> list[str]:
    """Q, K and V where three parts meet in attention."""
    found = [_role(part, readers) for part in parts]
    return found if sorted(found) == ["K", "Q", "V"] else [""] * len(parts)


def _role(cell: Cell, readers: Readers) -> str:
    (wire,) = cell.outs
    for _ in range(8):
        users = readers.of.get(id(wire), [])
        if len(users) != 1:
            return ""
        user = users[0]
        if user.kind == "einsum":
            if _after_softmax(user.ins[0], readers):
                return "V"
            return "Q" if user.ins[0] is wire else "K"
        (wire,) = user.outs
    return ""


def _after_softmax(wire: Wire, readers: Readers) -> bool:
    maker = readers.maker.get(id(wire))
    while maker is not None and maker.kind in ("dropout", "mask"):
        maker = readers.maker.get(id(maker.ins[0]))
    return maker is not None and maker.kind == "softmax"


_POINTWISE = ("scale", "elementwise", "dropout", "mask")


def _renamed_before(cells: list[Cell], outputs: Sequence[Wire]) -> tuple[list[Cell], bool]:
    """A rename of axes that a linear map does not touch is done before it."""
    readers = Readers(cells, outputs)
    alone = _alone(cells)
    gone: set[int] = set()
    moved: dict[int, Cell] = {}  # by the cell that it comes before
    for cell in cells:
        if cell.kind != "rename":
            continue
        (wire,) = cell.ins
        maker = readers.maker.get(id(wire))
        if (
            maker is None
            or readers.only(wire) is not cell
            or maker.kind not in ("linear", "scale", "dropout")
        ):
            continue
        touched = [a for atoms in maker.axes.values() for a in atoms]
        if id(maker) in moved or any(same(a, b) for a in cell.axes["old"] for b in touched):
            continue
        (source,) = maker.ins
        names = {a.name.root() for a in cell.axes["new"]}
        if any(a.name.root() in names for a in (*source.atoms, *touched)):
            continue
        pairs = list(zip(cell.axes["old"], cell.axes["new"], strict=True))
        atoms = tuple(next((n for o, n in pairs if same(o, a)), a) for a in source.atoms)
        renamed = Wire(atoms, source.bound)
        before = Cell(
            "rename", [source], [renamed], cell.axes, cell.settings, {}, _around(maker, alone),
            maker.order, cell.name,
        )  # fmt: skip
        maker.ins, maker.outs = [renamed], list(cell.outs)
        moved[id(maker)] = before
        gone.add(id(cell))
    ordered = [c for cell in cells for c in (moved.get(id(cell)), cell) if c is not None]
    return [c for c in ordered if id(c) not in gone], bool(moved)


def _alone(cells: Sequence[Cell]) -> Counter[Stack]:
    """How many cells each call has."""
    return Counter(cell.stack[:depth] for cell in cells for depth in range(1, len(cell.stack) + 1))


def _around(maker: Cell, count: Counter[Stack]) -> Stack:
    """Where a cell before this one belongs: in the same call, unless that is this cell alone."""
    stack = maker.stack
    return stack[:-1] if stack and count[stack] == 1 else stack
