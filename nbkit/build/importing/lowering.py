"""From cells with names to operations of the language: one small function a kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nbkit.build.importing.atoms import Atom, Name, same
from nbkit.build.importing.cells import Cell
from nbkit.language import ops
from nbkit.language.axes import Array, Axis
from nbkit.language.ops import Op

if TYPE_CHECKING:
    from sympy import Expr


class Letters:
    """The names that were chosen for atoms."""

    def __init__(self, chosen: dict[Name, str]) -> None:
        self.chosen = chosen

    def of(self, atom: Atom) -> str:
        """The letter of one axis."""
        return self.chosen[atom.name.root()]

    def names(self, atoms: Sequence[Atom]) -> str:
        """`h k`."""
        return " ".join(map(self.of, atoms))

    def axis(self, atom: Atom) -> Axis:
        """The axis that an atom became."""
        return Axis(self.of(atom), atom.size, atom.rank)

    def tokens(self, atoms: Sequence[Atom]) -> str:
        """`h=4 k=8`."""
        return " ".join(str(self.axis(atom)) for atom in atoms)


Lower = Callable[[Cell, Letters], Op]


def _linear(c: Cell, n: Letters) -> Op:
    spec = f"{n.names(c.axes['ins'])} -> {n.tokens(c.axes['outs'])}"
    frozen = not c.weights["weight"].trainable
    return ops.Linear(
        spec, bool(c.settings["bias"]), n.names(c.axes["per"]), c.settings.get("key", ""), frozen
    )


def _embed(c: Cell, n: Letters, bound: Expr | None) -> Op:
    rows = c.settings["rows"]
    token = "v" if bound == rows else f"v={rows}"
    frozen = not c.weights["weight"].trainable
    return ops.Embed(f"{token} -> {n.tokens(c.axes['outs'])}", c.settings.get("key", ""), frozen)


def _einsum(c: Cell, n: Letters) -> Op:
    """Axes that all operands have and that come out are woven; the others are named."""
    out = c.axes["out"]
    woven = [a for a in out if all(w.has(a) for w in c.ins)]

    def named(atoms: Sequence[Atom]) -> str:
        return n.names([a for a in atoms if not any(same(a, b) for b in woven)])

    return ops.Einsum(f"{', '.join(named(w.atoms) for w in c.ins)} -> {named(out)}")


def _window(c: Cell, n: Letters) -> Op:
    s = c.settings
    (axis,), (inside,) = c.axes["axis"], c.axes["name"]
    return ops.Window(
        n.of(axis), s["size"], s["stride"], s["dilation"], s["padding"], n.of(inside), s["fill"]
    )


def _fold(c: Cell, n: Letters) -> Op:
    s = c.settings
    (axis,), (inside,) = c.axes["axis"], c.axes["name"]
    return ops.Fold(n.of(axis), n.of(inside), s["stride"], s["dilation"], s["padding"], s["extra"])


def _norm(c: Cell, n: Letters) -> Op:
    s = c.settings
    return ops.Norm(n.names(c.axes["axes"]), s["how"], n.names(c.axes["per"]), s["eps"], s["affine"])


def _slice(c: Cell, n: Letters) -> Op:
    s = c.settings
    return ops.Slice(n.of(c.axes["axis"][0]), s["start"], s.get("stop"), s.get("drop", False))


def _mask(c: Cell, n: Letters) -> Op:
    (y,), (x,) = c.axes["y"], c.axes["x"]
    letters = {"x": n.of(x), "y": n.of(y)}
    words = [letters.get(word, word) for word in c.settings["relation"].split(" ")]
    return ops.Mask(" ".join(words), c.settings["fill"])


def _regroup(c: Cell, n: Letters) -> tuple[str, str]:
    return n.names(c.axes["old"]), n.tokens(c.axes["new"])


def _parameter(c: Cell, n: Letters) -> Op:
    """A learned array; a vector for each position where its wire has the positions."""
    axes, key = c.axes["axes"], c.settings.get("key", "")
    if c.settings.get("places") and c.settings["trainable"] and c.ins[0].has(axes[0]):
        return ops.Positions(f"{n.of(axes[0])} -> {n.tokens(axes[1:])}", key)
    return ops.Parameter(n.tokens(axes), "normal", c.settings["trainable"], key)


LOWER: dict[str, Lower] = {
    "add": lambda _c, _n: ops.Add(),
    "cast": lambda c, _n: ops.Cast(c.settings["to"]),
    "concat": lambda c, n: ops.Concat(n.of(c.axes["axis"][0])),
    "constant": lambda c, n: ops.Constant(c.settings["value"], n.tokens(c.axes.get("axes", []))),
    "dropout": lambda c, _n: ops.Dropout(c.settings["p"]),
    "einsum": _einsum,
    "elementwise": lambda c, _n: ops.Elementwise(c.settings["function"]),
    "expand": lambda c, n: ops.Expand(n.tokens(c.axes["axes"])),
    "fold": _fold,
    "indices": lambda c, n: ops.Indices(n.of(c.axes["axis"][0])),
    "linear": _linear,
    "mask": _mask,
    "merge": lambda c, n: ops.Merge(" -> ".join(_regroup(c, n))),
    "multiply": lambda _c, _n: ops.Multiply(),
    "norm": _norm,
    "parameter": _parameter,
    "reduce": lambda c, n: ops.Reduce(c.settings["how"], n.names(c.axes["axes"])),
    "rename": lambda c, n: ops.Rename(f"{n.names(c.axes['old'])} -> {n.names(c.axes['new'])}"),
    "scale": lambda c, _n: ops.Scale(c.settings["factor"]),
    "slice": _slice,
    "softmax": lambda c, n: ops.Softmax(n.names(c.axes["axes"])),
    "split": lambda c, n: ops.Split(" -> ".join(_regroup(c, n))),
    "stopgradient": lambda _c, _n: ops.StopGradient(),
    "window": _window,
}

_SHOWN = {"reduce": "how", "elementwise": "function"}


def lower(cell: Cell, letters: Letters, arrays: Sequence[Array]) -> Op:
    """The operation that a cell becomes on these arrays."""
    if cell.kind == "scan":
        op: Op = cell.settings["make"](letters, arrays)
        return op
    if cell.kind == "embed":
        return _embed(cell, letters, arrays[0].bound)
    if cell.kind == "torch":
        spec = cell.settings["spec"](letters, [array.bound for array in arrays])
        return ops.Torch(cell.settings["box"], spec, cell.settings["text"])
    return LOWER[cell.kind](cell, letters)


def default_name(cell: Cell) -> str:
    """What a node is called that no module gave a name."""
    if cell.name:
        return cell.name
    return str(cell.settings[_SHOWN[cell.kind]]) if cell.kind in _SHOWN else cell.kind


def array_of(atoms: Sequence[Atom], bound: Expr | None, letters: Letters) -> Array:
    """The type of a wire with its axes in this order."""
    return Array(tuple(map(letters.axis, atoms)), bound)
