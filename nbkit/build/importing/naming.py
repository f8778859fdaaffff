"""Letters for axes: what each was seen to be (heads, channels, positions, features), without two of a name
meeting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from nbkit.build.importing.atoms import Name, same
from nbkit.build.importing.cells import Cell, Wire

_OTHERS = ("n", "p", "q", "r", "s", "t", "u", "d", "e", "a", "l")
_NEXT = {
    "x": ("x", "y", "z"), "y": ("y", "z"), "m": ("m", "f", "n"), "f": ("f", "n", "p"), "c": ("c", "d", "n"),
    "h": ("h", "g"), "k": ("k", "d"), "i": ("i", "y"), "j": ("j", "x"), "g": ("g", "n"), "b": ("b",),
    "o": ("o", "n"), "v": ("v",), "w": ("w", "u"), "wi": ("wi",), "wj": ("wj",),
}  # fmt: skip


def look_for_roles(cells: Sequence[Cell], inputs: Sequence[Wire], outputs: Sequence[Wire]) -> None:
    """Votes for letters, from how axes are used: attention, hidden units, vocabularies, classes."""
    makers = {id(wire): cell for cell in cells for wire in cell.outs}
    _attention(cells, makers)
    rows = {c.settings["rows"] for c in cells if c.kind == "embed" and any(c.ins[0] is w for w in inputs)}
    streams = _streams(cells)
    given = {a.name.root() for wire in inputs for a in wire.atoms}
    for cell in cells:
        if cell.kind != "linear":
            continue
        for atom in cell.axes["outs"]:
            if atom.size.is_Integer and int(atom.size) in rows and atom.name.root() not in streams:
                atom.hint("v", 5)
            elif any(w.has(atom) for w in outputs) and atom.name.root() not in {*streams, *given}:
                atom.hint("o", 2)
        for atom in (*cell.axes["ins"], *cell.axes["outs"]):
            root = atom.name.root()
            if root not in {*streams, *given} and _top(root) == "m":
                root.hints["f"] += root.hints.pop("m")


def _streams(cells: Sequence[Cell]) -> set[Name]:
    """The features of residual streams: those of sums, else those that most wires have."""
    sums: Counter[Name] = Counter()
    votes: Counter[Name] = Counter()
    for cell in cells:
        for wire in cell.outs:
            features = {a.name.root() for a in wire.atoms if _top(a.name.root()) == "m"}
            votes.update(features)
            if cell.kind == "add":
                sums.update(features)
    first = votes.most_common(1)
    return {name for name, n in sums.items() if n > 1} or {name for name, n in first if n > 3}


def _top(name: Name) -> str:
    votes = name.hints.most_common(1)
    return votes[0][0] if votes else ""


def _attention(cells: Sequence[Cell], makers: dict[int, Cell]) -> None:
    for cell in cells:
        if cell.kind != "softmax":
            continue
        above: Cell | None = makers.get(id(cell.ins[0]))
        while above is not None and above.kind in ("scale", "mask", "add", "dropout", "elementwise"):
            above = makers.get(id(above.ins[0]))
        if above is None or above.kind != "einsum" or len(above.ins) != 2:
            continue
        keys = cell.axes["axes"]
        left, right = above.ins
        queries = [a for a in above.axes["out"] if left.has(a) and not right.has(a)]
        for atom in above.axes["out"]:
            if any(same(atom, key) for key in keys):
                atom.hint("x", 4)
        for atom in queries:
            atom.hint(*(("y", 2) if atom is queries[-1] else ("g", 4)))
        for atom in above.axes["sum"]:
            atom.hint("k", 4)
        for below in (c for c in cells if c.kind == "einsum" and any(_from(w, cell, makers) for w in c.ins)):
            for atom in below.axes["out"]:
                if not any(same(atom, a) for a in above.axes["out"]):
                    atom.hint("k", 4)
        woven = [a for a in above.axes["out"] if left.has(a) and right.has(a)]
        if woven:
            woven[-1].hint("h", 4)


def _from(wire: Wire, softmax: Cell, makers: dict[int, Cell]) -> bool:
    maker = makers.get(id(wire))
    while maker is not None and maker.kind in ("dropout", "mask"):
        maker = makers.get(id(maker.ins[0]))
    return maker is softmax


def choose(wires: Iterable[Wire], inputs: Sequence[Wire]) -> dict[Name, str]:
    """A letter for each name: by votes, different from all that it meets."""
    count: Counter[Name] = Counter()
    order: dict[Name, None] = {}
    for wire in wires:
        for atom in wire.atoms:
            count[atom.name.root()] += 1
            order.setdefault(atom.name.root())
    asked = {a.name.root() for wire in inputs for a in wire.atoms}

    def weight(name: Name) -> tuple[int, int]:
        votes = name.hints.most_common(1)
        return (votes[0][1] if votes else 0, count[name])

    chosen: dict[Name, str] = {}
    for name in sorted(order, key=weight, reverse=True):
        taken = {chosen[other.root()] for other in name.apart if other.root() in chosen}
        wanted = [letter for letter, _ in name.hints.most_common()] or (["x"] if name in asked else ["n"])
        chosen[name] = _free(wanted, taken)
    return chosen


def _free(wanted: Sequence[str], taken: set[str]) -> str:
    options = [*wanted, *(other for letter in wanted for other in _NEXT.get(letter, ())), *_OTHERS]
    for option in options:
        if option not in taken:
            return option
    number = 2
    while f"{wanted[0]}{number}" in taken:
        number += 1
    return f"{wanted[0]}{number}"
