"""λ-indexed repetition: how copies whose sizes differ are drawn once.

A size that changes from copy to copy is a function of λ (c_λ, x_λ); sizes that are the same function one
step on or some times over get the same letter (c_{λ-1}, 2c_λ), and a legend says what it is. Arrays that the
copies of one loop save and those of another load again are memories, C_λ, and no wires. (Abbott 2024, figures
26 and 27.) Where neither is possible the copies are drawn one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from sympy import Expr, Rational

from nbkit.draw import labels
from nbkit.draw.labels import Label, Run
from nbkit.draw.lanes import POSITIONS
from nbkit.language.axes import Axis
from nbkit.language.diagram import Diagram, Node
from nbkit.language.parts import Stages
from nbkit.language.sizes import canonical

_LETTERS = "CDEFGH"
Sizes = dict[int, Expr]  # by λ


@dataclass(frozen=True)
class Loop:
    """Which wires of a Stages node are drawn: memories are saved and loaded, not wired.

    `carried` and `made` are the node's wires that enter and leave; `shared` gives the wire of a further input
    that is the same for every copy; `saved` and `loaded` the labels of memories, by their number.
    """

    carried: tuple[int, ...]
    made: tuple[int, ...]
    shared: Mapping[int, int] = field(default_factory=dict)
    saved: Mapping[int, Label] = field(default_factory=dict)
    loaded: Mapping[int, Label] = field(default_factory=dict)

    @property
    def ins(self) -> tuple[int, ...]:
        """The wires that enter: what is carried, then what is shared."""
        return (*self.carried, *self.shared.values())


def turns(op: Stages) -> list[int]:
    """λ of the copies."""
    return [op.first + i * (-1 if op.down else 1) for i in range(len(op.bodies))]


def loops(part: Diagram) -> dict[str, Loop]:
    """The Stages nodes of a diagram that can be drawn as loops, by id."""
    nodes = {n.id: (n, n.op) for n in part.nodes if isinstance(n.op, Stages)}
    if not nodes:
        return {}
    users: dict[int, list[str]] = {}
    for node in part.nodes:
        for wire in node.ins:
            users.setdefault(wire, []).append(node.id)
    for wire in part.outs:
        users.setdefault(wire, []).append("")
    found = {name: Loop(node.ins[: op.carry], node.outs[: op.carry]) for name, (node, op) in nodes.items()}
    letters = iter(_LETTERS)
    for name, (node, op) in nodes.items():
        for j, wires in enumerate(_further(node.outs, op, len(op.body.outs))):
            takers = {tuple(users.get(wire, ())) for wire in wires}
            if takers == {()}:
                continue  # unused
            (taker, *others) = takers
            loaded = None
            if not others and len(taker) == 1 and taker[0] in nodes:
                loaded = _loaded(op, wires, *nodes[taker[0]])
            letter = next(letters, "") if loaded else ""
            if loaded is None or not letter:
                found.pop(name, None)
                continue
            if name in found and taker[0] in found:
                q, index = loaded
                there = found[taker[0]]
                found[name] = replace(found[name], saved={**found[name].saved, j: _memory(letter, "λ")})
                found[taker[0]] = replace(there, loaded={**there.loaded, q: _memory(letter, index)})
    for name, (node, op) in nodes.items():
        for q, wires in enumerate(_further(node.ins, op, len(op.body.ins))):
            if name in found and q not in found[name].loaded:
                if len(set(wires)) == 1:
                    found[name] = replace(found[name], shared={**found[name].shared, q: wires[0]})
                else:
                    found.pop(name)
    return _consistent(found, nodes, users)


def _further(wires: tuple[int, ...], op: Stages, count: int) -> list[tuple[int, ...]]:
    """What the copies take or give beside what is carried: for each such array, the wires of all copies."""
    each = count - op.carry
    return [wires[op.carry + j :: each] for j in range(each)]


def _loaded(saver: Stages, wires: tuple[int, ...], node: Node, op: Stages) -> tuple[int, str] | None:
    """Which further input of a node loads what the copies of another saved, and the index of it in λ."""
    for q, taken in enumerate(_further(node.ins, op, len(op.body.ins))):
        if set(taken) == set(wires):
            given = dict(zip(wires, turns(saver), strict=True))
            pairs = [(here, given[wire]) for here, wire in zip(turns(op), taken, strict=True)]
            if all(a == b for a, b in pairs):
                return q, "λ"
            if len({a + b for a, b in pairs}) == 1:
                return q, f"{sum(pairs[0])}−λ"
            if len({b - a for a, b in pairs}) == 1:
                step = pairs[0][1] - pairs[0][0]
                return q, f"λ{'+' if step > 0 else '−'}{abs(step)}"
    return None


def _consistent(
    found: dict[str, Loop], nodes: Mapping[str, tuple[Node, Stages]], users: Mapping[int, list[str]]
) -> dict[str, Loop]:
    """Loops whose memories are saved and loaded by loops; the others are drawn copy by copy."""
    while True:
        bad = set()
        for name, loop in found.items():
            node, op = nodes[name]
            for j, wires in enumerate(_further(node.outs, op, len(op.body.outs))):
                takers = {taker for wire in wires for taker in users.get(wire, ())}
                if takers and (j not in loop.saved or not takers <= set(found)):
                    bad.add(name)
            makers = {other for other, (n, _) in nodes.items() if set(n.outs) & set(node.ins[op.carry :])}
            if loop.loaded and not makers <= set(found):
                bad.add(name)
        if not bad:
            return found
        found = {name: loop for name, loop in found.items() if name not in bad}


def _memory(letter: str, index: str) -> Label:
    return (Run(letter, italic=True), Run(index, italic=index == "λ", shift=-1))


class Families:
    """Sizes as functions of λ, by the name of their axis; the whole picture shares them."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Sizes]] = {}
        self.shown: dict[tuple[str, int], tuple[Axis, range]] = {}  # what the legend explains

    def learn(self, op: Stages) -> None:
        """Takes up the sizes in the copies of a part, those that occur most often first."""
        counts: dict[tuple[str, tuple[Expr, ...]], int] = {}
        for wires in zip(*(_wires(body) for body in op.bodies), strict=True):
            for axes in zip(*wires, strict=True):
                sizes = tuple(axis.size for axis in axes)
                if len(set(sizes)) > 1:
                    key = axes[0].name, sizes
                    counts[key] = counts.get(key, 0) + 1
        for (name, sizes), _ in sorted(counts.items(), key=lambda item: -item[1]):
            self.find(name, dict(zip(turns(op), sizes, strict=True)))

    def find(self, name: str, sizes: Sizes, scaled: bool = False) -> tuple[int, int, Expr]:
        """Which function a sequence of sizes is: its number, the step in λ, and how many times it.

        Where both fit, it is one step on (c_{λ+1}), or with `scaled` some times over (2c_λ).
        """
        tables = self.tables.setdefault(name, [])
        steps, times_over = [(0, False), (-1, False), (1, False)], [(0, True), (-1, True), (1, True)]
        for step, any_factor in [steps[0], *times_over, *steps] if scaled else [*steps, *times_over]:
            for number, table in enumerate(tables):
                times = _fits(table, sizes, step)
                if times is not None and (any_factor or times == 1):
                    table.update({at + step: canonical(size / times) for at, size in sizes.items()})
                    return number, step, times
        tables.append(dict(sizes))
        return len(tables) - 1, 0, Rational(1)

    def label(self, axes: tuple[Axis, ...], op: Stages, scaled: bool = False) -> Label:
        """The label of an axis whose sizes in the copies of a part are these."""
        axis, lambdas = axes[0], turns(op)
        sizes = dict(zip(lambdas, (a.size for a in axes), strict=True))
        number, step, times = self.find(axis.name, sizes, scaled)
        self.shown.setdefault((axis.name, number), (axis, range(min(lambdas), max(lambdas) + 1)))
        index = "λ" if not step else f"λ{'+' if step > 0 else '−'}{abs(step)}"
        over = Rational(1) / times
        front = (Run(str(times)),) if times != 1 and times.is_Integer else ()
        back = (
            () if times == 1 or times.is_Integer else (Run(f"/{over}" if over.is_Integer else f"·{times}"),)
        )
        return (*front, *_indexed(axis, number, index), *back)

    def legend(self) -> list[Label]:
        """A line for every function that labels mention."""
        return [
            line
            for (name, number), (axis, _) in self.shown.items()
            for line in _lines(axis, number, self.tables[name][number])
        ]


def _wires(body: Diagram) -> Iterable[tuple[Axis, ...]]:
    """The axes on all wires of a diagram and of the parts in it."""
    for wire in body.wires:
        yield wire.type.axes
    for node in body.nodes:
        for _, inside in node.op.insides():
            yield from _wires(inside)


def _fits(table: Sizes, sizes: Sizes, step: int) -> Expr | None:
    """The factor by which sizes are those of a table, `step` further on; at most one may be missing in it."""
    known = [at for at in sizes if at + step in table]
    if not known or len(known) < len(sizes) - abs(step):
        return None
    times = canonical(sizes[known[0]] / table[known[0] + step])
    if not times.is_Rational or any(canonical(times * table[at + step]) != sizes[at] for at in known):
        return None
    return times


def _indexed(axis: Axis, number: int, index: str) -> Label:
    """c_λ, x̄_λ, n_{1,λ}; further functions of the same name are primed."""
    bar, bold = axis.name[0] in POSITIONS, axis.rank > 1
    head, *tail = labels.name(axis.name + "′" * number if number else axis.name, bar=bar, bold=bold)
    old = f"{tail[0].text}," if tail else ""
    return (head, Run(f"{old}{index}", italic=index == "λ", shift=-1))


def _lines(axis: Axis, number: int, table: Sizes) -> list[Label]:
    """What a size is as a function of λ: a power or a line where it is one, else a list."""
    at = sorted(table)
    rest = at[1:]  # what is one step out of the loop may be the exception: c_0 = 1
    for known, odd in ((at, []), (rest, at[:1]), (at[:-1], at[-1:])):
        enough = len(known) > (2 if odd else 1)
        form = _form([table[i] for i in known], known[0]) if enough else None
        if form is not None:
            lines = [(*_indexed(axis, number, "λ"), Run(" = "), *form)]
            return lines + [
                (*_indexed(axis, number, str(i)), Run(" = "), *labels.expression(table[i])) for i in odd
            ]
    values: list[Run] = []
    for i in at:
        values += [*([Run(", ")] if values else []), *labels.expression(table[i])]
    return [(*_indexed(axis, number, f"{at[0]} … {at[-1]}"), Run(" = "), *values)]


def _form(values: list[Expr], first: int) -> Label | None:
    """The closed form of a geometric or arithmetic sequence that begins at λ = `first`."""
    ratios = {canonical(b / a) for a, b in pairwise(values)}
    (ratio, *others) = ratios
    if not others and ratio.is_Rational and ratio != 1:
        base, sign = (ratio, "·") if ratio.is_Integer else (1 / ratio, "/")
        if base.is_Integer:
            power = "λ" if first == 0 else f"λ{'−' if first > 0 else '+'}{abs(first)}"
            start = labels.expression(values[0])
            return (*start, Run(f"{sign}{base}"), Run(power, shift=1))
    steps = {canonical(b - a) for a, b in pairwise(values)}
    if len(steps) == 1 and len(values) > 2:
        (step,) = steps
        offset = canonical(values[0] - first * step)
        if step.is_Integer and step > 0:
            slope = (Run("λ", italic=True),) if step == 1 else (Run(str(step)), Run("λ", italic=True))
            tail = () if offset == 0 else (Run(" + "), *labels.expression(offset))
            return (*slope, *tail)
    return None
