"""Which lanes run through a step, straight where they can and bent where they must, and which end at it."""

from __future__ import annotations

from nbkit.draw.lanes import FRAMES, JOINS, NATURAL, NOTHING, PASSING, Placed, ends, targets, woven
from nbkit.draw.steps import Step
from nbkit.language import ops

LABELLED = 46.0  # room between wires for an arrow with a label
BARS = frozenset({"merge", "split"})
_BOXED = frozenset(
    {"linear", "embed", "conv", "cuboid", "slice", "softmax", "norm", "mask", "window", "fold", "one_hot"}
    | {"torch"}
)


def continues(step: Step, lane: str, other: str) -> bool:
    """Whether a link is one wire (and not two ports of a box that stand level)."""
    if step.glyph in PASSING:
        return True
    several = step.glyph == "torch" and (len(step.ins), len(step.outs)) != (1, 1)
    return step.glyph != "cuboid" and not several and lane == other and lane not in targets(step)


def link(placed: Placed) -> None:
    """Which lanes run through the step: straight where they can (`links`), bent where they must (`loose`)."""
    step, ins, outs = placed.step, placed.ins, placed.outs
    if not outs:
        return
    out = outs[0]
    if step.glyph in FRAMES:
        pairs = zip(ins, outs, strict=True)
        placed.links += [(a, lane, b, lane) for a, b in pairs for lane in a.lanes if lane in b.lanes]
    elif step.glyph == "copy":
        placed.links += [(ins[0], lane, out, lane) for lane in ins[0].lanes]
        placed.loose += [(ins[0], lane, other, lane) for other in outs[1:] for lane in ins[0].lanes]
    elif step.glyph == "rename":
        placed.links += [(ins[0], a, out, b) for a, b in zip(ins[0].lanes, out.lanes, strict=True)]
    elif step.glyph == "transpose":
        placed.loose += [(ins[0], lane, out, lane) for lane in ins[0].lanes]
    elif isinstance(step.op, ops.TopK):
        table = {step.op.axis: step.op.name}
        ports = [(lane, table.get(lane, lane)) for lane in ins[0].lanes]
        placed.links += [(ins[0], a, out, b) for a, b in ports]
        placed.loose += [(ins[0], a, other, b) for other in outs[1:] for a, b in ports]
    elif isinstance(step.op, ops.Gather | ops.Scatter):
        for bundle, found in zip(ins, (placed.loose, placed.links), strict=True):
            gone = ends(step, bundle)
            found += [(bundle, n, out, n) for n in bundle.lanes if n not in gone and n in out.lanes]
        if isinstance(step.op, ops.Scatter):
            placed.links.append((placed.operand(1), NATURAL, out, step.op.axis))
    elif step.glyph in JOINS or step.glyph == "einsum":
        widest = max(ins, key=lambda b: len(b.lanes)) if step.glyph in JOINS else ins[-1]
        for bundle in ins:
            kept = (lane for lane in bundle.lanes if lane in out.lanes)
            if step.glyph == "einsum":
                kept = (lane for lane in bundle.lanes if lane in out.lanes and lane != NOTHING)
            (placed.links if bundle is widest else placed.loose).extend((bundle, n, out, n) for n in kept)
        if step.scale and len(ins) == 2:  # the arrow and its label lie between the operands
            rest = [lane for lane in out.lanes if lane in ins[1].lanes]
            if rest and rest != list(out.lanes):
                above = ins[1].lanes.index(
                    rest[0]
                )  # contracted lanes of the lower operand, above the kept ones
                out.room[rest[0]] = LABELLED + 20.0 * above
    elif ins:
        _link_box(placed)


def _link_box(placed: Placed) -> None:
    """Lanes that pass a box, and its ports: these stand level, first to first, at a bar on average."""
    source, out, own = placed.ins[0], placed.outs[0], set(targets(placed.step)) - set(woven(placed.step))
    produced = [lane for lane in out.lanes if lane not in source.lanes or lane in own]
    ended = [lane for lane in source.lanes if lane not in out.lanes or lane in own]
    for lane in (n for n in source.lanes if n in out.lanes and n not in own):
        (placed.loose if moves(placed, lane) else placed.links).append((source, lane, out, lane))
    if placed.step.glyph in BARS:
        shift = (len(ended) - len(produced)) / 2
        for i, a in enumerate(ended):
            placed.offsets += [((source, a), (out, b), j - i + shift) for j, b in enumerate(produced)]
    elif placed.step.glyph in _BOXED:
        placed.links += [(source, a, out, b) for a, b in zip(ended, produced, strict=False)]


def moves(placed: Placed, lane: str) -> bool:
    """Whether a lane runs below one that a window makes or a reduction ends: it makes or takes room."""
    glyph, (source, *_) = placed.step.glyph, placed.ins
    own = targets(placed.step)
    if glyph not in ("reduce", "window", "fold") or lane in own:
        return False
    above = source.lanes[: source.lanes.index(lane)]
    if glyph == "fold":
        return own[-1] in above
    return any(name in own for name in (above[1:] if glyph == "reduce" else above))
