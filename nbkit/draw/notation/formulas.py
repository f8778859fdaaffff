"""What each op says in index notation: one small function per op, which gives one formula per output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Literal

from sympy import Expr, Float, Integer, oo

from nbkit.draw.notation.terms import (
    Affine,
    Below,
    Bracket,
    Call,
    Cases,
    Deviation,
    Equal,
    Fixed,
    Index,
    Lookup,
    Normal,
    Number,
    Opaque,
    Over,
    Pair,
    Place,
    Plus,
    Position,
    Ref,
    Relation,
    Softmax,
    Term,
    Times,
    Top,
)
from nbkit.language import ops, relations
from nbkit.language.axes import Array, Axis, parse_spec
from nbkit.language.ops import Op
from nbkit.language.ops.pullback import BY_RESULT
from nbkit.language.sizes import parse_size

Places = Mapping[str, Place]
_ZERO = Integer(0)
_OUTSIDE = {"0": "0 outside", "-inf": "−∞ outside"}


@dataclass(frozen=True)
class Operand:
    """An array that goes in, and the term for its element at some places (by axis name)."""

    array: Array
    at: Callable[[Places], Term]

    def ref(self, places: Places) -> Ref:
        """The element, of an array that stands in a line of its own."""
        term = self.at(places)
        if not isinstance(term, Ref):
            raise TypeError(f"{term} is no element of an array")
        return term


@dataclass(frozen=True)
class Formula:
    """The right side; on the left stand the indices of the output's axes, but for those in `left`."""

    right: Term
    left: Places = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Site:
    """One application of an op: its operands, its outputs, and its weights by letter, name and sides.

    `kernel`: axes inside windows that were made just before, or are added up just after.
    """

    ins: tuple[Operand, ...]
    outs: tuple[Array, ...]
    weight: Callable[[str, str, tuple[Axis, ...], tuple[Axis, ...]], Callable[[Iterable[Place]], Ref]]
    kernel: tuple[str, ...] = ()

    def side(self, axes: Iterable[Axis]) -> tuple[Axis, ...]:
        """One side of a weight: inside of windows last, as kernels are stored."""
        names = self.kernel
        return tuple(sorted(axes, key=lambda a: names.index(a.name) if a.name in names else -1))


def indices(array: Iterable[Axis]) -> dict[str, Place]:
    """The plain index of each axis."""
    return {axis.name: Index(axis) for axis in array}


def _bound(axes: Iterable[Axis], taken: Iterable[str]) -> dict[str, Index]:
    """Indices to sum over, with a prime where the name stands for another index outside."""
    known = set(taken)
    return {axis.name: Index(axis, int(axis.name in known)) for axis in axes}


def _shifted(name: Index, offset: Expr) -> Place:
    return name if offset == 0 else Affine(((1, name),), offset)


@singledispatch
def formula(op: Op, site: Site) -> list[Formula]:
    """The formulas of an op, one per output; an op that is not known here is written by its name."""
    return _named(op.kind, site)


def _named(name: str, site: Site) -> list[Formula]:
    arguments = tuple(operand.ref(indices(operand.array)) for operand in site.ins)
    return [Formula(Opaque(name, arguments, tuple(indices(out).values()))) for out in site.outs]


@formula.register
def _(op: ops.Einsum, site: Site) -> list[Formula]:
    (out,) = site.outs
    summed = {a.name: Index(a) for operand in site.ins for a in operand.array if a.name not in out}
    factors = tuple(operand.at(indices(operand.array)) for operand in site.ins)
    body: Term = factors[0] if len(factors) == 1 else Times(factors)
    return [Formula(Over("sum", tuple(summed.values()), body) if summed else body)]


@formula.register
def _(op: ops.Linear, site: Site) -> list[Formula]:
    (operand,), (out,) = site.ins, site.outs
    spec = parse_spec(op.spec)
    per = tuple(out[name] for name in op.per.split())
    rows = site.side(out[token.name] for token in spec.outs[0])
    cols = site.side(operand.array[token.name] for token in spec.ins[0])
    summed = _bound(cols, out.names)
    own = [Index(axis) for axis in (*per, *rows)]
    weight = site.weight("W", "weight", (*per, *rows), cols)((*own, *summed.values()))
    body: Term = Times((weight, operand.at({**indices(operand.array), **summed})))
    if summed:
        body = Over("sum", tuple(summed.values()), body)
    if op.bias:
        body = Plus((body, site.weight("b", "bias", (*per, *rows), ())(own)))
    return [Formula(body)]


@formula.register
def _(op: ops.Embed, site: Site) -> list[Formula]:
    (operand,), (out,) = site.ins, site.outs
    spec = parse_spec(op.spec)
    token = spec.ins[0][0]
    rows = (Axis(token.name, token.size or operand.array.bound or Integer(1)),)
    cols = tuple(out[t.name] for t in spec.outs[0])
    places = (Lookup(operand.ref(indices(operand.array))), *indices(cols).values())
    return [Formula(site.weight("E", "weight", rows, cols)(places))]


@formula.register
def _(op: ops.Positions, site: Site) -> list[Formula]:
    (out,) = site.outs
    rows, cols = (
        tuple(out[t.name] for t in side[0]) for side in (parse_spec(op.spec).ins, parse_spec(op.spec).outs)
    )
    return [Formula(site.weight("P", "weight", rows, cols)(indices((*rows, *cols)).values()))]


@formula.register
def _(op: ops.Parameter, site: Site) -> list[Formula]:
    (out,) = site.outs
    return [Formula(site.weight("W", "weight", out.axes, ())(indices(out).values()))]


@formula.register
def _(op: ops.Constant, site: Site) -> list[Formula]:
    return [Formula(Number(Integer(int(op.value)) if op.value == int(op.value) else Float(op.value)))]


# -- pointwise -----------------------------------------------------------------------------------------------


def _same(site: Site) -> Term:
    return site.ins[0].at(indices(site.ins[0].array))


@formula.register
def _(op: ops.Elementwise, site: Site) -> list[Formula]:
    return [Formula(Call(op.function, _same(site)))]


@formula.register
def _(op: ops.Scale, site: Site) -> list[Formula]:
    return [Formula(Times((Number(parse_size(op.factor)), _same(site))))]


@formula.register
def _(op: ops.Add, site: Site) -> list[Formula]:
    parts = tuple(operand.at(indices(operand.array)) for operand in site.ins)
    return [Formula(Times(parts) if isinstance(op, ops.Multiply) else Plus(parts))]


@formula.register
def _(op: ops.Mask, site: Site) -> list[Formula]:
    array = site.ins[0].array
    told = Relation(op.relation, tuple(Index(array[name]) for name in relations.names(op.relation)))
    return [Formula(Cases(((_same(site), told),), Number(-oo if op.fill == "-inf" else _ZERO)))]


@formula.register
def _(op: ops.Dropout, site: Site) -> list[Formula]:
    return [Formula(Call("dropout", _same(site)), note=f"p = {op.p:g}, in training")]


@formula.register
def _(op: ops.StopGradient, site: Site) -> list[Formula]:
    return [Formula(Call("sg", _same(site)), note="no gradient")]


@formula.register
def _(op: ops.Cast, site: Site) -> list[Formula]:
    return [Formula(_same(site) if op.to == "R" else Call("trunc", _same(site)))]


# -- over whole axes -----------------------------------------------------------------------------------------


def _over(array: Array, names: str) -> tuple[Index, ...]:
    return tuple(Index(array[name]) for name in names.split())


@formula.register
def _(op: ops.Reduce, site: Site) -> list[Formula]:
    return [Formula(Over(op.how, _over(site.ins[0].array, op.axes), _same(site)))]


@formula.register
def _(op: ops.Softmax, site: Site) -> list[Formula]:
    return [Formula(Softmax(_over(site.ins[0].array, op.axes), _same(site)))]


@formula.register
def _(op: ops.Norm, site: Site) -> list[Formula]:
    (operand,) = site.ins
    batch = op.how == "batch"
    weighted = _over(operand.array, op.per or op.axes)
    over = (
        tuple(Index(a) for a in operand.array if a.name not in op.per.split())
        if batch
        else _over(operand.array, op.axes)
    )
    body: Term = Normal(
        "rms" if op.how == "rms" else "layer", over, operand.ref(indices(operand.array)), op.eps
    )
    rows = tuple(i.axis for i in weighted)
    if op.affine:
        body = Times((site.weight("γ", "weight", rows, ())(weighted), body))
        if op.how != "rms":
            body = Plus((body, site.weight("β", "bias", rows, ())(weighted)))
    note = "in training, also over the batch" if batch else ""
    return [Formula(body, note=note)]


# -- moving elements -----------------------------------------------------------------------------------------


@formula.register
def _(op: ops.Merge, site: Site) -> list[Formula]:
    array = site.ins[0].array
    spec = parse_spec(op.spec)
    parts = Pair(tuple(Index(array[token.name]) for token in spec.ins[0]))
    return [Formula(_same(site), {spec.outs[0][0].name: parts})]


@formula.register
def _(op: ops.Split, site: Site) -> list[Formula]:
    (operand,), (out,) = site.ins, site.outs
    spec = parse_spec(op.spec)
    parts = Pair(tuple(Index(out[token.name]) for token in spec.outs[0]))
    return [Formula(operand.at({**indices(operand.array), spec.ins[0][0].name: parts}))]


@formula.register
def _(op: ops.Concat, site: Site) -> list[Formula]:
    (out,) = site.outs
    along, start = Index(out[op.axis]), _ZERO
    cases = []
    for operand in site.ins:
        places = {**indices(operand.array), op.axis: _shifted(along, -start)}
        start = start + operand.array[op.axis].size
        cases.append((operand.at(places), Below(along, start)))
    return [Formula(Cases(tuple(cases[:-1]), cases[-1][0]) if len(cases) > 1 else cases[0][0])]


@formula.register
def _(op: ops.Slice, site: Site) -> list[Formula]:
    (operand,), (out,) = site.ins, site.outs
    start = Integer(op.start) + (operand.array[op.axis].size if op.start < 0 else 0)
    at = Fixed(start, operand.array[op.axis].rank) if op.drop else _shifted(Index(out[op.axis]), start)
    return [Formula(operand.at({**indices(operand.array), op.axis: at}))]


@formula.register
def _(op: ops.Rename, site: Site) -> list[Formula]:
    (operand,), (out,) = site.ins, site.outs
    spec = parse_spec(op.spec)
    renamed = zip(spec.ins[0], spec.outs[0], strict=True)
    to = {old.name: Index(out[new.name]) for old, new in renamed}
    return [Formula(operand.at({**indices(operand.array), **to}))]


@formula.register(ops.Transpose)
@formula.register(ops.Expand)
def _(op: Op, site: Site) -> list[Formula]:
    return [Formula(_same(site))]


@formula.register
def _(op: ops.Window, site: Site) -> list[Formula]:
    (operand,), (out,) = site.ins, site.outs
    before, after = op.pads()
    at = Affine(((op.stride, Index(out[op.axis])), (op.dilation, Index(out[op.name]))), Integer(-before))
    found = operand.ref({**indices(operand.array), op.axis: at})
    if not before and not after:
        return [Formula(found)]
    fill: Literal["0", "-inf"] = "-inf" if op.fill == "-inf" else "0"
    return [Formula(Ref(found.symbol, found.places, found.step, fill), note=_OUTSIDE[fill])]


@formula.register
def _(op: ops.Fold, site: Site) -> list[Formula]:
    (operand,), (out,) = site.ins, site.outs
    array = operand.array
    start, inside = Index(array[op.axis], 1), Index(array[op.name])
    at = Affine(((op.stride, start), (op.dilation, inside)), Integer(-op.crops(array)[0]))
    body = operand.at({**indices(array), op.axis: start})
    return [Formula(Over("sum", (start, inside), body, Equal(at, Index(out[op.axis]))))]


# -- by index ------------------------------------------------------------------------------------------------


@formula.register
def _(op: ops.Gather, site: Site) -> list[Formula]:
    operand, index = site.ins
    found = Lookup(index.ref(indices(index.array)))
    return [Formula(operand.at({**indices(operand.array), op.axis: found}))]


@formula.register
def _(op: ops.Scatter, site: Site) -> list[Formula]:
    (operand, index), (out,) = site.ins, site.outs
    over = Index(operand.array[op.over], int(op.over == op.axis))
    found = Lookup(index.ref({**indices(index.array), op.over: over}))
    body = operand.at({**indices(operand.array), op.over: over})
    told = Over(op.how, (over,), body, Equal(found, Index(out[op.axis])))
    return [Formula(told, note="" if op.how == "sum" else "0 over nothing")]


@formula.register
def _(op: ops.TopK, site: Site) -> list[Formula]:
    (operand,), (out, _) = site.ins, site.outs
    over = Index(operand.array[op.axis], int(op.axis == op.name))
    body = operand.at({**indices(operand.array), op.axis: over})
    return [Formula(Top(over, Index(out[op.name]), body, where)) for where in (False, True)]


@formula.register
def _(op: ops.OneHot, site: Site) -> list[Formula]:
    (operand,), (out,) = site.ins, site.outs
    found = Lookup(operand.ref(indices(operand.array)))
    return [Formula(Bracket(Equal(found, Index(out[op.axis]))))]


@formula.register
def _(op: ops.Indices, site: Site) -> list[Formula]:
    return [Formula(Position(Index(site.outs[0][op.axis])))]


@formula.register
def _(op: ops.Torch, site: Site) -> list[Formula]:
    return _named(op.name.rpartition(".")[2], site)


@formula.register
def _(op: ops.Pullback, site: Site) -> list[Formula]:
    """Gradients at the argument of a function; those of reductions are written by their name."""
    value, *others = (operand.at(indices(operand.array)) for operand in site.ins)
    if op.of == "softmax":
        inner = Over("sum", _over(site.ins[0].array, op.axes), Times((value, others[0])))
        return [Formula(Times((value, Plus((others[0], Call("neg", inner))))))]
    if op.of == "elementwise":
        by_result = op.how in BY_RESULT
        note = f"{op.how} differentiated, in terms of its {'result' if by_result else 'argument'}"
        return [Formula(Times((others[0], Call(f"{op.how}'", value))), note=note)]
    if op.of == "norm":
        array = site.ins[0].array
        gone = op.per.split() if op.how == "batch" else ()
        over = tuple(i for i in _over(array, " ".join(array.names)) if i.axis.name not in gone)
        over = over if op.how == "batch" else _over(array, op.axes)
        how, x, dy = "rms" if op.how == "rms" else "layer", site.ins[0].ref(indices(array)), others[0]
        normal = Normal(how, over, x, op.eps)
        along = Times((normal, Over("mean", over, Times((dy, normal)))))
        level = () if op.how == "rms" else (Call("neg", Over("mean", over, dy)),)
        change = Plus((dy, *level, Call("neg", along)))
        return [Formula(Times((Call("reciprocal", Deviation(how, over, x, op.eps)), change)))]
    return _named(f"{op.of} {op.how}".strip() + "'", site)
