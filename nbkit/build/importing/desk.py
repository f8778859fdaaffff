"""Where cells are made: the moves that every rule is written in (split, merge, rename, align, expand).

Views cost nothing here: dimensions are regrouped, and only where an operation needs one axis where the tensor
has two (or two where it has one) does a split or a merge become a cell.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbkit.build.importing.atoms import (
    Atom,
    Dims,
    flat,
    fresh,
    keep_apart,
    product,
    same,
    substitute,
    unify,
)
from nbkit.build.importing.cells import (
    Carry,
    Cell,
    Const,
    Stack,
    Unsuitable,
    Value,
    Weight,
    Wire,
    numbers_of,
    settled,
)

if TYPE_CHECKING:
    from sympy import Expr


@dataclass
class Desk:
    """Collects the cells of one import; `stack` and `order` are those of the call that is being read."""

    cells: list[Cell] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)
    stack: Stack = ()
    order: tuple[float, ...] = (0,)
    _splits: dict[tuple[int, int, tuple[str, ...]], tuple[Wire, tuple[Atom, ...]]] = field(
        default_factory=dict
    )
    _made: dict[tuple[object, ...], Value] = field(default_factory=dict)

    # -- making cells ----------------------------------------------------------------------------------

    def cell(
        self,
        kind: str,
        ins: Sequence[Wire],
        out: Sequence[Atom],
        axes: Mapping[str, Sequence[Atom]] | None = None,
        weights: Mapping[str, Carry] | None = None,
        *,
        bound: Expr | None = None,
        name: str = "",
        stack: Stack | None = None,
        order: tuple[float, ...] | None = None,
        **settings: Any,
    ) -> Wire:
        """A new cell with one output."""
        wire = Wire(tuple(out), bound)
        self.cells.append(
            Cell(
                kind,
                list(ins),
                [wire],
                {role: list(atoms) for role, atoms in (axes or {}).items()},
                settings,
                dict(weights or {}),
                self.stack if stack is None else stack,
                self.order if order is None else order,
                name,
            )
        )
        return wire

    def like(self, kind: str, value: Value, **settings: Any) -> Value:
        """A cell that keeps the axes of its input."""
        return Value(self.cell(kind, [value.wire], value.wire.atoms, **settings), value.dims)

    # -- tensors of every kind ---------------------------------------------------------------------------

    def value(self, x: object, near: Wire | None = None) -> Value:
        """A tensor of any kind as a value; `near` is a wire beside which a parameter may stand."""
        if isinstance(x, Value):
            return x
        if isinstance(x, Weight):
            return self.parameter(x.carry, x.shape, near)
        if isinstance(x, Const):
            return self.constant(x, near)
        raise Unsuitable(f"{type(x).__name__} is no tensor")

    def anchor(self, near: Wire | None) -> Wire:
        """A wire to stand on for what reads none."""
        return near or self.inputs[0].wire

    def parameter(self, carry: Carry, shape: Sequence[int], near: Wire | None = None, **where: Any) -> Value:
        """A learned array, or a buffer."""
        dims: Dims = tuple((fresh(int(size)),) if size != 1 else () for size in shape)
        atoms = list(flat(dims))
        numbers = carry.then(("squeeze", len(shape)), lambda t: t.reshape([n for n in t.shape if n != 1]))
        wire = self.cell(
            "parameter", [self.anchor(near)], atoms, {"axes": atoms}, {"weight": numbers},
            **{"trainable": carry.trainable, "name": _short(carry.source), **where},
        )  # fmt: skip
        return Value(wire, dims)

    def constant(self, const: Const, near: Wire | None = None) -> Value:
        """A constant: a number where it is one, else a buffer made where the graph made it, once."""
        t = settled(const.tensor)
        if t.numel() == 1 and const.depends:
            raise Unsuitable("a number that is computed from an open size")
        if t.numel() == 1:
            dims: Dims = tuple(() if size == 1 else (fresh(size),) for size in const.sizes)
            number = float(t.reshape(()).item())
            return Value(self.cell("constant", [self.anchor(near)], [], value=number), dims)
        if const.open:
            raise Unsuitable("a constant whose size is open")
        key = (const.order, *numbers_of(const.tensor))
        if key not in self._made:
            source = const.source or f"{const.label or 'constant'}_{const.order}"
            carry = Carry(source, t if t.is_floating_point() else t.float())
            where = {"stack": const.stack, "order": (const.order,), "name": const.label or "constant"}
            shape = [n for n in t.shape if n != 1]
            self._made[key] = self.parameter(carry, shape, self.inputs[0].wire, **where)
        real = iter(self._made[key].dims)
        virtual: list[tuple[Atom, ...]] = [() if size == 1 else (fresh(size),) for size in const.sizes]
        dims = tuple(next(real) if n != 1 else theirs for n, theirs in zip(t.shape, virtual, strict=True))
        return Value(self._made[key].wire, dims)

    def solid(self, value: Value, atoms: Sequence[Atom] | None = None) -> Value:
        """The value with (these of) its missing axes made real."""
        lacking = [a for a in value.virtual() if atoms is None or any(same(a, b) for b in atoms)]
        if not lacking:
            return value
        return replace(value, wire=self.spread(value.wire, lacking))

    def spread(self, wire: Wire, atoms: Sequence[Atom]) -> Wire:
        """The wire with further axes, along which it is constant."""
        maker = next((cell for cell in reversed(self.cells) if cell.outs[0] is wire), None)
        every = [*wire.atoms, *atoms]
        if maker is not None and maker.kind == "constant":
            return self.cell("constant", maker.ins, every, {"axes": every}, **maker.settings)
        return self.cell("expand", [wire], every, {"axes": atoms}, bound=wire.bound)

    # -- dimensions --------------------------------------------------------------------------------------

    def split(self, value: Value, atom: Atom, sizes: Sequence[Expr]) -> tuple[Value, tuple[Atom, ...]]:
        """One axis taken apart, the first varying slowest."""
        if not value.wire.has(atom):
            parts = tuple(fresh(size) for size in sizes)
            return replace(value, dims=substitute(value.dims, atom, parts)), parts
        key = (id(value.wire), id(atom.name.root()), tuple(map(str, sizes)))
        if key not in self._splits:
            parts = tuple(fresh(size) for size in sizes)
            out = [p for a in value.wire.atoms for p in (parts if same(a, atom) else (a,))]
            wire = self.cell(
                "split", [value.wire], out, {"old": [atom], "new": list(parts)}, bound=value.wire.bound
            )
            self._splits[key] = wire, parts
        wire, parts = self._splits[key]
        return Value(wire, substitute(value.dims, atom, parts)), parts

    def whole(self, value: Value, dim: int) -> tuple[Value, Atom]:
        """One dimension as a single real axis: merged, or made, if need be."""
        value = self.solid(value, value.dims[dim])
        atoms = value.dims[dim]
        if len(atoms) == 1:
            return value, atoms[0]
        if not atoms:
            one = fresh(1)
            wire = self.spread(value.wire, [one])
            return Value(wire, (*value.dims[:dim], (one,), *value.dims[dim + 1 :])), one
        merged = fresh(product(atoms))
        out = [a for a in value.wire.atoms if not any(same(a, b) for b in atoms)]
        wire = self.cell(
            "merge", [value.wire], [*out, merged], {"old": list(atoms), "new": [merged]},
            bound=value.wire.bound,
        )  # fmt: skip
        return Value(wire, (*value.dims[:dim], (merged,), *value.dims[dim + 1 :])), merged

    def index(self, value: Value, atom: Atom, position: int) -> Value:
        """One position of an axis, which ends."""
        dims = substitute(value.dims, atom, ())
        if not value.wire.has(atom):
            return replace(value, dims=dims)
        out = [a for a in value.wire.atoms if not same(a, atom)]
        wire = self.cell(
            "slice", [value.wire], out, {"axis": [atom]}, start=position, drop=True, bound=value.wire.bound
        )
        return Value(wire, dims)

    def rename(self, value: Value, table: Sequence[tuple[Atom, Atom]]) -> Value:
        """Axes by other names."""
        pairs = [(old, new) for old, new in table if not same(old, new)]
        if not pairs:
            return value

        def turned(atom: Atom) -> Atom:
            return next((new for old, new in pairs if same(old, atom)), atom)

        dims = tuple(tuple(turned(a) for a in dim) for dim in value.dims)
        real = [(old, new) for old, new in pairs if value.wire.has(old)]
        if not real:
            return replace(value, dims=dims)
        axes = {"old": [old for old, _ in real], "new": [new for _, new in real]}
        out = [turned(a) for a in value.wire.atoms]
        return Value(self.cell("rename", [value.wire], out, axes, bound=value.wire.bound), dims)

    # -- alignment ---------------------------------------------------------------------------------------

    def align(
        self, values: Sequence[Value], slots: Sequence[Sequence[Hashable]], settle: Sequence[Hashable]
    ) -> tuple[list[Value], dict[Hashable, tuple[Atom, ...]]]:
        """Brings values to common axes: dimensions with the same slot become the same, different ones differ.

        Slots are settled in the order given; an axis that meets itself in a later slot gets a new name.
        """
        found = list(values)
        used: list[Atom] = []
        result: dict[Hashable, tuple[Atom, ...]] = {}
        tables: list[list[tuple[Atom, Atom]]] = [[] for _ in found]
        for slot in settle:
            places = [(v, row.index(slot)) for v, row in enumerate(slots) if slot in row]
            wide = [(v, d) for v, d in places if product(found[v].dims[d]) != 1]
            if wide:
                for v, d in places:  # sizes of 1 are broadcast: the axis ends, if it is one
                    if (v, d) not in wide:
                        found[v] = self._ended(found[v], d)
            self._refine(found, wide or [(v, d) for v, d in places if found[v].dims[d]])
            rows = [(v, found[v].dims[d]) for v, d in wide or places if found[v].dims[d]]
            targets: list[Atom] = []
            for column in zip(*(row for _, row in rows), strict=True):
                real = [a for (v, _), a in zip(rows, column, strict=True) if found[v].wire.has(a)]
                target = min(real or column, key=lambda a: a.serial)
                if any(target.name.root() is a.name.root() for a in used):
                    target = fresh(target.size)
                keep_apart([target, *used])
                for atom in column:
                    if not any(atom.name.root() is a.name.root() for a in used):
                        unify(target, atom)
                used.append(target)
                targets.append(target)
                for (v, _), atom in zip(rows, column, strict=True):
                    tables[v].append((atom, target))
            result[slot] = tuple(targets)
        renamed = [self.rename(value, table) for value, table in zip(found, tables, strict=True)]
        return renamed, result

    def _ended(self, value: Value, dim: int) -> Value:
        for atom in value.dims[dim]:
            value = self.index(value, atom, 0)
        return value

    def _refine(self, found: list[Value], places: Sequence[tuple[int, int]]) -> None:
        """Splits the axes of these dimensions until all are made of the same sizes."""
        for v, d in places:
            for atom in found[v].dims[d]:
                if atom.size == 1 and len(found[v].dims[d]) > 1:
                    found[v] = self.index(found[v], atom, 0)
        changed = True
        while changed:
            changed = False
            for v, d in places:
                for w, e in places:
                    changed = changed or self._refined(found, v, d, found[w].dims[e])

    def _refined(self, found: list[Value], v: int, d: int, other: tuple[Atom, ...]) -> bool:
        for mine, theirs in zip(found[v].dims[d], other, strict=False):
            if mine.size == theirs.size:
                continue
            rest = mine.size / theirs.size
            if rest.is_integer and rest.is_positive:
                found[v], _ = self.split(found[v], mine, (theirs.size, rest))
                return True
            if (theirs.size / mine.size).is_integer:
                return False  # the other one is split when its turn comes
            if len(found[v].dims[d]) > 1:
                found[v], _ = self.whole(found[v], d)
                return True
            return False
        if product(found[v].dims[d]) != product(other):
            raise Unsuitable(f"sizes {product(found[v].dims[d])} and {product(other)} differ")
        return False


def _short(source: str) -> str:
    """`blocks.0.cls_token` → `cls_token`."""
    last = source.rpartition(".")[2]
    return last if last[:1].isalpha() and last.isascii() and last != "weight" else ""
