"""Diagram → flow: what is drawn, in which order, before any coordinates.

The nested diagram becomes a flat list of steps. Expanded blocks and repetitions contribute an `enter` and a
`leave` step around their contents, copying becomes a step of its own (so each value has exactly one
consumer), a window followed by the linear map that consumes it becomes one convolution, and a scale that
follows a contraction rides on the contraction's arrow, as in Abbott's figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nbkit.draw.steps import Flow, Fold, Nothing, Region, Step, Value, contraction, describe
from nbkit.language import ops
from nbkit.language.axes import parse_spec
from nbkit.language.diagram import Diagram, Node
from nbkit.language.ops import Op
from nbkit.language.parts import Block, Repeat

_NOTHING = Nothing()
_PLATES = {"attention": "attention", "mlp": "ffn", "residual": "residual"}


def flow(diagram: Diagram, fold: Fold) -> Flow:
    """The steps of a diagram."""
    build = _Flattener(fold)
    inputs = [Value(diagram.wires[i].type, f"{i}", diagram.wires[i].name) for i in diagram.ins]
    outs = build.body(diagram, dict(zip(diagram.ins, inputs, strict=True)), "", None, 0)
    _tag(build.steps)
    steps, outputs = _copies(inputs, build.steps, outs)
    return Flow(inputs, outputs, _hosts(_ride(steps)))


class _Flattener:
    def __init__(self, fold: Fold) -> None:
        self.fold = fold
        self.steps: list[Step] = []

    def step(
        self, glyph: str, path: str, op: Op, ins: list[Value], outs: list[Value], region: Region | None
    ) -> Step:
        step = Step(glyph, path, op, ins, outs, region, region)
        self.steps.append(step)
        return step

    def body(
        self, part: Diagram, at: dict[int, Value], prefix: str, region: Region | None, depth: int
    ) -> list[Value]:
        """Adds the steps of a diagram whose wires in `at` are there; gives the values that come out."""
        users: dict[int, int] = {}
        for wire in (*(w for node in part.nodes for w in node.ins), *part.outs):
            users[wire] = users.get(wire, 0) + 1
        fused: set[str] = set()
        for position, node in enumerate(part.nodes):
            if node.id in fused:
                continue
            path = f"{prefix}{node.id}"
            ins = [at[w] for w in node.ins]
            follower = _convolution(part, position, users) if self.fold.conv == "collapsed" else None
            if follower is not None:
                outs = self.outs(part, follower, prefix)
                slides, maps = (node, follower) if isinstance(node.op, ops.Window) else (follower, node)
                step = self.step("conv", f"{prefix}{slides.id}", slides.op, ins, outs, region)
                step.linear = maps.op if isinstance(maps.op, ops.Linear) else None
                step.also = f"{prefix}{maps.id}"
                fused.add(follower.id)
                at.update(zip(follower.outs, outs, strict=True))
            elif isinstance(node.op, Block | Repeat):
                made = self.part(self.outs(part, node, prefix), node.op, path, ins, region, depth)
                at.update(zip(node.outs, made, strict=True))
            elif _moves_nothing(node):
                at[node.outs[0]] = ins[0]  # a change of layout moves no wire
            else:
                outs = self.outs(part, node, prefix)
                self.step(node.op.kind, path, node.op, ins if node.op.reads else [], outs, region)
                at.update(zip(node.outs, outs, strict=True))
        return [at[w] for w in part.outs]

    def outs(self, part: Diagram, node: Node, prefix: str) -> list[Value]:
        return [Value(part.wires[w].type, f"{prefix}{w}", part.wires[w].name) for w in node.outs]

    def part(
        self,
        outs: list[Value],
        op: Block | Repeat,
        path: str,
        ins: list[Value],
        region: Region | None,
        depth: int,
    ) -> list[Value]:
        """A block or a repetition: closed (making `outs`), or opened between an `enter` and a `leave`."""
        name = op.body.name
        title = str(self.fold.style.get(path, {}).get("title", name.replace("_", " ")))
        plate = Region(path, "plate", title, region, fill=_fill(name, depth), tip=describe(op))
        if isinstance(op, Repeat) and self.fold.unroll:
            for i in range(op.n):
                inner = replace(plate, path=f"{path}.{i}", title=f"{title} {i}")
                ins = self.opened(op.body, ins, f"{path}.{i}.", inner, region, depth + 1)
            return ins
        if self.fold.closed(path, depth):
            step = self.step("cuboid", path, op, ins, outs, region)
            step.title, step.count = title, f"×{op.n}" if isinstance(op, Repeat) else ""
            return outs
        bare = name == "repeat"  # a repetition of something without a name is no level of its own
        deeper = depth if bare else depth + 1
        if isinstance(op, Repeat) and op.n > 1:
            inner = Region(path, "repeat", "" if bare else title, region, count=str(op.n), tip=describe(op))
            return self.opened(op.body, ins, f"{path}.*.", inner, region, deeper)
        prefix = f"{path}.*." if isinstance(op, Repeat) else f"{path}."
        if isinstance(op, Repeat) and bare:
            return self.body(op.body, dict(zip(op.body.ins, ins, strict=True)), prefix, region, deeper)
        return self.opened(op.body, ins, prefix, plate, region, deeper)

    def single(self, body: Diagram) -> bool:
        """Whether a body is drawn as one glyph: one op, or one convolution."""
        drawn = [n for n in body.nodes if not _moves_nothing(n)]
        if len(drawn) == 2 and self.fold.conv == "collapsed":
            return body.nodes[0] is drawn[0] and _convolution(body, 0, {drawn[0].outs[0]: 1}) is drawn[1]
        return len(drawn) == 1 and not isinstance(drawn[0].op, Block | Repeat)

    def opened(
        self, body: Diagram, ins: list[Value], prefix: str, inner: Region, outer: Region | None, depth: int
    ) -> list[Value]:
        if inner.kind == "plate" and self.single(body):  # a frame around one glyph says nothing
            return self.body(body, dict(zip(body.ins, ins, strict=True)), prefix, outer, depth)
        given = [Value(v.array, f"{prefix}{w}") for v, w in zip(ins, body.ins, strict=True)]
        enter = self.step("enter", inner.path, _NOTHING, ins, given, outer)
        made = self.body(body, dict(zip(body.ins, given, strict=True)), prefix, inner, depth)
        outs = [Value(v.array, f"{prefix}out{i}") for i, v in enumerate(made)]
        leave = self.step("leave", inner.path, _NOTHING, made, outs, inner)
        enter.frame = leave.frame = enter.out_region = inner
        leave.out_region = outer
        return outs


def _moves_nothing(node: Node) -> bool:
    """A change of layout at the end of a block: axes have names, so no wire moves."""
    return isinstance(node.op, ops.Transpose) and node.id.startswith("layout")


def _fill(name: str, depth: int) -> str:
    for key, fill in _PLATES.items():
        if key in name:
            return "mha" if key == "attention" and "multi" in name else fill
    for key in ("norm", "conv", "pool", "embed"):
        if key in name:
            return key
    return ("region", "inner", "outer")[depth % 3]


def _convolution(part: Diagram, position: int, users: Mapping[int, int]) -> Node | None:
    """What makes a convolution of the node at `position`, if it directly follows and nothing else does.

    After a window, the linear map that consumes it; after a linear map that makes windows, their fold.
    """
    node = part.nodes[position]
    if not isinstance(node.op, ops.Window | ops.Linear) or users.get(node.outs[0], 0) != 1:
        return None
    follower = next((n for n in part.nodes[position + 1 :] if node.outs[0] in n.ins), None)
    if follower is None:
        return None
    slides, maps = (node.op, follower.op) if isinstance(node.op, ops.Window) else (follower.op, node.op)
    if not isinstance(slides, ops.Window if slides is node.op else ops.Fold) or not isinstance(
        maps, ops.Linear
    ):
        return None
    spec = parse_spec(maps.spec)
    takes, gives = ({t.name for t in side} for side in (spec.ins[0], spec.outs[0]))
    inner, outer = (takes, gives) if slides is node.op else (gives, takes)  # with the window, without it
    channels = 1 if len(inner) == 2 or not maps.per else 0
    plain = slides.name in inner and slides.axis not in inner | outer and len(inner) <= 2
    return follower if plain and len(outer) == channels else None


def _tag(steps: list[Step]) -> None:
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


def _copies(inputs: list[Value], steps: list[Step], outputs: list[Value]) -> tuple[list[Step], list[Value]]:
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
        outs = [Value(value.array, value.wire) for _ in where]
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


def _ride(steps: list[Step]) -> list[Step]:
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


def _hosts(steps: list[Step]) -> list[Step]:
    """A step without inputs stands beside the maker of the other operand of whoever uses it."""
    for step in steps:
        if not step.ins and step.outs and step.outs[0].user is not None:
            others = [v for v in step.outs[0].user.ins if v is not step.outs[0] and v.maker is not None]
            step.host = others[0].maker if others else None
    return steps
