"""Passes over the steps of a picture: copies, riding scales, shared weights, places for what comes from
nowhere.
"""

from __future__ import annotations

from nbkit.draw.steps import Nothing, Region, Step, Value, contraction
from nbkit.language import ops

_NOTHING = Nothing()


def tag(steps: list[Step]) -> None:
    """Numbers the weights that several plates share (or may share with what is closed)."""
    shared: dict[str, list[Step]] = {}
    for step in steps:
        if step.key:
            shared.setdefault(step.key, []).append(step)
    closed = any(step.glyph == "cuboid" for step in steps)
    for users in (u for u in shared.values() if len(u) > 1 or closed):
        number = str(1 + sum(bool(first.tag) for first, *_ in shared.values()))
        for step in users:
            step.tag = number


def copies(inputs: list[Value], steps: list[Step], outputs: list[Value]) -> tuple[list[Step], list[Value]]:
    """Gives every value one user: copies stand before the first of several, unused values end in a dot."""
    uses: dict[int, list[tuple[Step | None, int]]] = {}
    for step in steps:
        for i, value in enumerate(step.ins):
            uses.setdefault(id(value), []).append((step, i))
    for i, value in enumerate(outputs):
        uses.setdefault(id(value), []).append((None, i))
    result: list[Step] = []
    done: set[int] = set()
    outputs = list(outputs)

    def copy(value: Value, region: Region | None) -> None:
        done.add(id(value))
        where = uses[id(value)]
        outs = [Value(value.array, value.wire, "", value.shown) for _ in where]
        result.append(Step("copy", value.wire, _NOTHING, [value], outs, region, region))
        for (step, i), out in zip(where, outs, strict=True):
            (outputs if step is None else step.ins)[i] = out

    def discard(values: list[Value], region: Region | None) -> None:
        unused = [v for v in values if id(v) not in uses]
        result.extend(Step("discard", v.wire, _NOTHING, [v], [], region, region) for v in unused)

    discard(inputs, None)
    for step in steps:
        for value in list(step.ins):
            if id(value) not in done and len(uses.get(id(value), ())) > 1:
                copy(value, step.region)
        result.append(step)
        discard(step.outs, step.out_region)
    for value in list(outputs):
        if id(value) in uses and len(uses[id(value)]) > 1 and id(value) not in done:
            copy(value, None)
    for step in result:
        for value in step.ins:
            value.user = step
        for value in step.outs:
            value.maker = step
    return result, outputs


def ride(steps: list[Step]) -> list[Step]:
    """A scale right after a contraction is drawn on the arrow that leaves the cup."""
    kept = []
    for step in steps:
        maker = step.ins[0].maker if step.ins else None
        rides = maker is not None and maker.region == step.region and contraction(maker)
        if isinstance(step.op, ops.Scale) and maker is not None and rides and not maker.scale:
            maker.scale, maker.also = step.op.factor, step.path
            maker.outs = step.outs
            step.outs[0].maker = maker
        else:
            kept.append(step)
    return kept


def hosts(steps: list[Step]) -> list[Step]:
    """A step without inputs stands beside the maker of the other operand of whoever uses it, else beside the
    last step before its user in its region.
    """
    last: dict[Region | None, Step] = {}
    waiting: dict[int, list[Step]] = {}  # by user
    for step in steps:
        for source in waiting.pop(id(step), ()):
            near = source.region is not None or source.glyph == "grab"
            source.host = last.get(source.region) if near else None
        if step.ins and step.outs:
            last[step.out_region] = step
        elif step.outs and not step.ins:
            user = step.outs[0].user
            others = [v.maker for v in (user.ins if user else ()) if v is not step.outs[0]]
            beside = [m for m in others if m is not None and m.ins and m.out_region == step.region]
            if beside:
                step.host = beside[0]
            elif user is not None:
                waiting.setdefault(id(user), []).append(step)
    return steps
