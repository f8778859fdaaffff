"""Diagram → flow: what is drawn, in which order, before any coordinates.

The nested diagram becomes a flat list of steps. Expanded blocks and repetitions contribute an `enter` and a `leave`
step around their contents, copying becomes a step of its own (so each value has exactly one consumer), a window
followed by the linear map that consumes it becomes one convolution, and a scale that follows a contraction rides on
the contraction's arrow, as in Abbott's figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nbkit.language import ops
from nbkit.language.axes import Array, parse_spec
from nbkit.language.diagram import Block, Diagram, Node, Repeat
from nbkit.language.ops import Op


@dataclass(frozen=True)
class Region:
    """A part of the picture with a frame: a plate (block) or a pair of parentheses (repetition)."""

    path: str
    kind: str  # "plate" | "repeat"
    title: str
    depth: int
    parent: Region | None = None
    count: str = ""
    fill: str = ""

    def chain(self) -> tuple[Region, ...]:
        """The region and those around it, outermost first."""
        return (*(self.parent.chain() if self.parent else ()), self)


@dataclass(eq=False, repr=False)
class Value:
    """An array between two steps."""

    array: Array
    wire: str
    label: str = ""
    maker: Step | None = None
    user: Step | None = None


@dataclass(eq=False, repr=False)
class Step:
    """One thing to draw: `glyph` says how; `extra` holds what only that glyph needs."""

    glyph: str
    path: str
    op: Op
    ins: list[Value]
    outs: list[Value]
    region: Region | None  # where its inputs and its own picture lie
    out_region: Region | None  # where its outputs lie
    host: Step | None = None  # a step without inputs stands in the column of its host, below it
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False, repr=False)
class Flow:
    name: str
    inputs: list[Value]
    outputs: list[Value]
    steps: list[Step]


@dataclass(frozen=True)
class Fold:
    """Which parts are drawn closed: `depth` levels of blocks are open (None: all), `style` may say otherwise by path."""

    depth: int | None = None
    unroll: bool = False
    conv: str = "collapsed"
    style: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def closed(self, path: str, depth: int) -> bool:
        looks = self.style.get(path, {})
        if isinstance(looks.get("fold"), bool):
            return bool(looks["fold"])
        return self.depth is not None and depth >= self.depth


class Nothing(Op):
    """The op of steps that only structure the picture: copies, frames, crossings."""

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        return ins


_NOTHING = Nothing()
_PLATES = {"attention": "attention", "mlp": "ffn", "residual": "residual"}


def flow(diagram: Diagram, fold: Fold) -> Flow:
    """The steps of a diagram."""
    build = _Flattener(fold)
    inputs = [
        build.value(w.type, f"{i}", w.name)
        for i, w in zip(diagram.ins, (diagram.wires[i] for i in diagram.ins), strict=True)
    ]
    outs = build.body(diagram, dict(zip(diagram.ins, inputs, strict=True)), "", None, 0)
    steps, outputs = _copies(inputs, build.steps, outs)
    return Flow(diagram.name, inputs, outputs, _hosts(_ride(steps)))


class _Flattener:
    def __init__(self, fold: Fold) -> None:
        self.fold = fold
        self.steps: list[Step] = []

    def value(self, array: Array, wire: str, label: str = "") -> Value:
        return Value(array, wire, label)

    def step(
        self,
        glyph: str,
        path: str,
        op: Op,
        ins: list[Value],
        outs: list[Value],
        region: Region | None,
        **extra: Any,
    ) -> Step:
        step = Step(glyph, path, op, ins, outs, region, region, extra=extra)
        self.steps.append(step)
        return step

    def body(
        self, part: Diagram, at: dict[int, Value], prefix: str, region: Region | None, depth: int
    ) -> list[Value]:
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
                self.step(
                    "conv",
                    path,
                    node.op,
                    ins,
                    outs,
                    region,
                    linear=follower.op,
                    linear_path=f"{prefix}{follower.id}",
                )
                fused.add(follower.id)
                at.update(zip(follower.outs, outs, strict=True))
            elif isinstance(node.op, Block | Repeat):
                at.update(zip(node.outs, self.part(part, node, ins, prefix, region, depth), strict=True))
            elif _moves_nothing(node):
                at[node.outs[0]] = ins[0]  # a change of layout moves no wire
            else:
                outs = self.outs(part, node, prefix)
                reads = [] if isinstance(node.op, ops.Positions) else ins
                self.step(node.op.kind, path, node.op, reads, outs, region)
                at.update(zip(node.outs, outs, strict=True))
        return [at[w] for w in part.outs]

    def outs(self, part: Diagram, node: Node, prefix: str) -> list[Value]:
        return [self.value(part.wires[w].type, f"{prefix}{w}", part.wires[w].name) for w in node.outs]

    def part(
        self, whole: Diagram, node: Node, ins: list[Value], prefix: str, region: Region | None, depth: int
    ) -> list[Value]:
        """A block or a repetition: closed, or opened between an `enter` and a `leave`."""
        op, path = node.op, f"{prefix}{node.id}"
        assert isinstance(op, Block | Repeat)
        looks = self.fold.style.get(path, {})
        title = str(looks.get("title", op.body.name.replace("_", " ")))
        repeats = isinstance(op, Repeat)
        if repeats and self.fold.unroll and isinstance(op, Repeat):
            values = ins
            for i in range(op.n):
                inner = Region(
                    f"{path}.{i}", "plate", f"{title} {i}", depth, region, fill=_fill(op.body.name, depth)
                )
                values = self.opened(op.body, values, f"{path}.{i}.", inner, region, depth + 1)
            return values
        if self.fold.closed(path, depth):
            outs = self.outs(whole, node, prefix)
            count = f"×{op.n}" if isinstance(op, Repeat) else ""
            self.step("cuboid", path, op, ins, outs, region, title=title, count=count)
            return outs
        if isinstance(op, Repeat) and op.n > 1:
            inner = Region(path, "repeat", title, depth, region, count=str(op.n))
            return self.opened(
                op.body, ins, f"{path}.*.", inner, region, depth if op.body.name == "repeat" else depth + 1
            )
        return self.opened(
            op.body,
            ins,
            f"{path}.",
            Region(path, "plate", title, depth, region, fill=_fill(op.body.name, depth)),
            region,
            depth + 1,
        )

    def single(self, body: Diagram) -> bool:
        """Whether a body is drawn as one glyph: one op, or one convolution."""
        drawn = [n for n in body.nodes if not _moves_nothing(n)]
        if len(drawn) == 2 and self.fold.conv == "collapsed":
            return body.nodes[0] is drawn[0] and _convolution(body, 0, {drawn[0].outs[0]: 1}) is drawn[1]
        return len(drawn) == 1 and not isinstance(drawn[0].op, Block | Repeat)

    def opened(
        self, body: Diagram, ins: list[Value], prefix: str, inner: Region, outer: Region | None, depth: int
    ) -> list[Value]:
        given = [self.value(v.array, f"{prefix}{w}", "") for v, w in zip(ins, body.ins, strict=True)]
        if inner.kind == "plate" and self.single(body):  # a frame around one glyph says nothing
            return self.body(body, dict(zip(body.ins, ins, strict=True)), prefix, outer, depth)
        enter = self.step("enter", inner.path, _NOTHING, ins, given, outer, frame=inner)
        enter.out_region = inner
        made = self.body(body, dict(zip(body.ins, given, strict=True)), prefix, inner, depth)
        outs = [self.value(v.array, f"{prefix}out{i}", "") for i, v in enumerate(made)]
        leave = self.step("leave", inner.path, _NOTHING, made, outs, inner, frame=inner)
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
    """The linear map that directly consumes the window made by the node at `position`, if there is one."""
    node = part.nodes[position]
    if not isinstance(node.op, ops.Window) or users.get(node.outs[0], 0) != 1:
        return None
    for follower in part.nodes[position + 1 :]:
        if node.outs[0] in follower.ins:
            if not isinstance(follower.op, ops.Linear):
                return None
            spec = parse_spec(follower.op.spec)
            read = {t.name for t in spec.ins[0]}
            plain = (
                node.op.name in read
                and node.op.axis not in read
                and len(read) == 2
                and len(spec.outs[0]) == 1
                and not follower.op.per
            )
            return follower if plain else None
    return None


def _copies(inputs: list[Value], steps: list[Step], outputs: list[Value]) -> tuple[list[Step], list[Value]]:
    """Every value gets one user: copies are made before the first of several, and values without a user end in a dot."""
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
            if step is None:
                outputs[i] = out
            else:
                step.ins[i] = out

    def discard(values: list[Value], region: Region | None) -> None:
        result.extend(
            Step("discard", v.wire, _NOTHING, [v], [], region, region) for v in values if id(v) not in uses
        )

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


def contraction(step: Step) -> bool:
    """Whether an einsum step sums over an axis of two operands (so that an arrow leaves the cup)."""
    if not isinstance(step.op, ops.Einsum) or len(step.ins) != 2:
        return False
    spec = parse_spec(step.op.spec)
    first, second = ({t.name for t in bundle} for bundle in spec.ins)
    return bool((first & second) - {t.name for t in spec.outs[0]})


def _ride(steps: list[Step]) -> list[Step]:
    """A scale right after a contraction is drawn on the arrow that leaves the cup."""
    kept = []
    for step in steps:
        maker = step.ins[0].maker if step.ins else None
        if (
            isinstance(step.op, ops.Scale)
            and maker is not None
            and maker.region == step.region
            and contraction(maker)
        ):
            maker.extra["scale"] = step.op.factor
            maker.extra["scale_path"] = step.path
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
