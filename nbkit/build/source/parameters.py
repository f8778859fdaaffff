"""The sizes that a class takes: `MultiHeadAttention(m, h, k)`.

A class takes the size of each axis that its weights, its reshapes or its parts need, under the axis's name.
An axis that has several sizes in one class is `c_in` where it comes in, `c_out` where it goes out and `c_mid`
between. Where there are more than three, the numbers are written out: they are what that class is about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from nbkit.build.names import TAKEN_BY_CODE, TAKEN_BY_MODULES, identifier
from nbkit.language.axes import Axis
from nbkit.language.diagram import Diagram

Size = tuple[str, int]  # an axis, and how long it is
MOST = 3
Names = dict[Size, str]
AMBIGUOUS = frozenset("lIO")  # letters that look like digits


def sizes_of(axes: Iterable[Axis]) -> list[Size]:
    """The sizes of those axes that have one."""
    return [(axis.name, int(axis.size)) for axis in axes if axis.size.is_Integer]


def parameters(diagram: Diagram, needs: Iterable[Size], attributes: Collection[str]) -> Names:
    """The names under which a class takes its sizes, those of its inputs first."""
    wanted = list(dict.fromkeys(needs))
    ins, outs = ([s for array in side for s in sizes_of(array)] for side in (diagram.inputs, diagram.outputs))
    wanted.sort(key=lambda size: ins.index(size) if size in ins else len(ins))
    taken = {*TAKEN_BY_CODE, *TAKEN_BY_MODULES, *attributes, *AMBIGUOUS}
    names: Names = {}
    for size in wanted:
        several = [other for other in wanted if other[0] == size[0]]
        if len(several) <= MOST:
            names[size] = identifier(f"{size[0].lower()}{_suffix(size, several, ins, outs)}", taken)
            taken.add(names[size])
    return names


def _suffix(size: Size, several: list[Size], ins: list[Size], outs: list[Size]) -> str:
    """What tells the sizes of one axis apart."""
    if len(several) == 1 or (size in ins and size in outs):
        return ""
    if size in ins or size in outs:
        return "_in" if size in ins else "_out"
    between = [other for other in several if other not in ins and other not in outs]
    return "_mid" if len(between) == 1 else f"_{between.index(size) + 1}"


def product(axes: Iterable[Axis], names: Names) -> str:
    """Python text of the number of elements over axes, `h * k`."""
    number, factors = 1, []
    for axis in axes:
        name = names.get((axis.name, int(axis.size)))
        if name is None:
            number *= int(axis.numel)
        else:
            factors.append(name if axis.rank == 1 else f"{name}**{axis.rank}")
    return " * ".join([*([str(number)] if number > 1 or not factors else []), *factors])
