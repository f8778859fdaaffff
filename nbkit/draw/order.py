"""The order in which the axes of an array are drawn after a step, following that in which they went in.

New axes stand where the first that ended was; what a glyph spans is brought together before it.
"""

from __future__ import annotations

from nbkit.draw.lanes import FRAMES, PRODUCTS, Bundle, by_role, closed, ends, targets, woven
from nbkit.draw.steps import Step
from nbkit.language import ops
from nbkit.language.axes import Array, parse_spec

_SPANNING = frozenset({"linear", "merge", "mask", "norm", "softmax", "conv", "fold", "torch"})  # side by side


def out_lanes(step: Step, ins: list[Bundle]) -> list[tuple[str, ...]]:
    """The drawing order of the axes that come out, following the order in which they went in."""
    arrays = [value.array for value in step.outs]
    if step.glyph == "copy":
        return [ins[0].lanes] * len(arrays)
    if step.glyph in FRAMES:
        by_value = {id(b.value): b.lanes for b in ins}
        return [_framed(by_value[id(v)], array) for v, array in zip(step.ins, arrays, strict=True)]
    if isinstance(step.op, ops.TopK):
        lanes = tuple(step.op.name if lane == step.op.axis else lane for lane in ins[0].lanes)
        return [closed(lanes, array) for array in arrays]
    if len(arrays) != 1 or not ins or step.glyph == "cuboid":
        return [by_role(array) for array in arrays]
    (array,) = arrays
    order = list(_order(step, ins, array))
    return [closed(tuple(n for n in dict.fromkeys(order) if n in array), array)]


def _framed(lanes: tuple[str, ...], array: Array) -> tuple[str, ...]:
    """The lanes of an array that enters or leaves a loop: the axis of a scan ends or begins there, on top."""
    made = [name for name in array.names if name not in lanes]
    return closed((*made, *(name for name in lanes if name in array)), array)


def _order(step: Step, ins: list[Bundle], array: Array) -> list[str]:
    op, lanes = step.op, ins[0].lanes
    if isinstance(op, ops.Rename):
        spec = parse_spec(op.spec)
        table = {a.name: b.name for a, b in zip(spec.ins[0], spec.outs[0], strict=True)}
        return [table.get(lane, lane) for lane in lanes]
    if isinstance(op, ops.Transpose):
        moved = op.axes.split()
        wanted = iter(moved)
        return [next(wanted) if lane in moved else lane for lane in lanes]
    if len(ins) == 1:
        order = _replaced(step, lanes, array)
        if isinstance(op, ops.Expand):  # a new image axis runs below the one that it may be merged with
            fresh = [n for n in order if n not in lanes and array[n].rank > 1]
            like = [n for n in order if n in lanes and n in array and array[n].rank > 1]
            kept = [n for n in order if n not in fresh]
            at = kept.index(like[-1]) + 1 if like else len(kept)
            return [*kept[:at], *fresh, *kept[at:]]
        if not isinstance(op, ops.Window):
            return order
        made = [op.name] if step.linear is None else [n for n in order if n not in lanes]
        kept = [n for n in order if n not in made]
        at = kept.index(op.axis) + 1  # the window or the channels run directly below the axis it slides over
        return [*kept[:at], *made, *kept[at:]]
    if step.glyph not in PRODUCTS:  # a box may make axes that none of its arrays has
        return [*(lane for bundle in ins for lane in bundle.lanes), *by_role(array)]
    if isinstance(op, ops.Gather | ops.Scatter):
        upper, lower = ([n for n in bundle.lanes if n not in ends(step, bundle)] for bundle in ins)
        made = [op.axis] if isinstance(op, ops.Scatter) else []  # where the indices were
        first, last = (made, []) if ins[0].value is step.ins[1] else ([], made)
        return [*(n for n in upper if n not in lower), *first, *lower, *last]
    shared = set.intersection(
        *(set(b.lanes) for b in ins)
    )  # a diagonalised axis runs on the last operand's wire
    kept = [lane for bundle in ins[:-1] for lane in bundle.lanes if lane not in shared]
    return [*kept, *ins[-1].lanes]


def _replaced(step: Step, lanes: tuple[str, ...], array: Array) -> list[str]:
    """Lanes of a unary op: new axes stand where the first axis that ended was."""
    remaking = isinstance(step.op, ops.Linear | ops.Merge | ops.Split | ops.Torch)
    remade = set(targets(step)) if remaking else set()
    remade -= set(woven(step))
    kept = [lane for lane in lanes if lane in array and lane not in remade]
    new = [name for name in by_role(array) if name not in kept and name in array]
    if isinstance(step.op, ops.Split):  # from the slowest axis to the fastest
        new = [t.name for t in parse_spec(step.op.spec).outs[0]]
    gone = [lane for lane in lanes if lane not in kept]
    if not gone:
        return [*kept, *new]
    first = new[0] if len(new) == 1 and new[0] in gone else gone[0]
    at = sum(lane in kept for lane in lanes[: lanes.index(first)])
    return [*kept[:at], *new, *kept[at:]]


def contiguous(step: Step, lanes: tuple[str, ...]) -> tuple[str, ...]:
    """The lanes with those that the glyph spans brought together, at the first of them."""
    batch = isinstance(step.op, ops.Norm) and step.op.how == "batch"  # its wires bend to the circle
    spanned = targets(step) if step.glyph in _SPANNING and not batch else ()
    held = [i for i, lane in enumerate(lanes) if lane in spanned]
    together = [lanes[i] for i in held]
    if step.glyph in ("merge", "fold"):  # from the slowest axis to the fastest
        together = [lane for lane in spanned if lane in lanes]
    if not held or (held == list(range(held[0], held[-1] + 1)) and together == [lanes[i] for i in held]):
        return lanes
    rest = [lane for lane in lanes if lane not in spanned]
    return (*rest[: held[0]], *together, *rest[held[0] :])
