"""Diagram → flow: what is drawn, in which order, before any coordinates.

The nested diagram becomes a flat list of steps. Expanded blocks and repetitions contribute an `enter` and a
`leave` step around their contents, copying becomes a step of its own (so each value has exactly one
consumer), a window followed by the linear map that consumes it becomes one convolution, and a scale that
follows a contraction rides on the contraction's arrow, as in Abbott's figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from nbkit.draw import labels, passes
from nbkit.draw.fusing import convolution, fill, moves_nothing, named_by
from nbkit.draw.labels import Label, Run
from nbkit.draw.lanes import POSITIONS
from nbkit.draw.loops import Families, Loop, loops, turns
from nbkit.draw.steps import Flow, Fold, Nothing, Region, Step, Value, describe
from nbkit.language import ops
from nbkit.language.diagram import Diagram, Node
from nbkit.language.ops import Op
from nbkit.language.ops.base import Composite
from nbkit.language.parts import Repeat, Scan, Stages

_NOTHING = Nothing()
_LAMBDA = Run("λ", italic=True)


def flow(diagram: Diagram, fold: Fold) -> Flow:
    """The steps of a diagram."""
    build = _Flattener(fold)
    inputs = [Value(diagram.wires[i].type, f"{i}", diagram.wires[i].name) for i in diagram.ins]
    outs = build.body(diagram, dict(zip(diagram.ins, inputs, strict=True)), _Scope("", None, 0))
    passes.tag(build.steps)
    steps, outputs = passes.copies(inputs, build.steps, outs)
    return Flow(inputs, outputs, passes.hosts(passes.ride(steps)), build.families.legend())


@dataclass(frozen=True)
class _Scope:
    """Where a body is drawn. `peers` are the same body in the other copies of the `stages` around it."""

    prefix: str
    region: Region | None
    depth: int
    stages: Stages | None = None
    peers: tuple[Diagram, ...] = ()

    def inside(self, number: int, prefix: str, region: Region | None, depth: int, copy: int = 0) -> _Scope:
        """The scope of the body (or of one copy of it) of the node with this number."""
        peers = tuple(peer.nodes[number].op.insides()[copy][1] for peer in self.peers)
        return _Scope(prefix, region, depth, self.stages, peers)


class _Flattener:
    def __init__(self, fold: Fold) -> None:
        self.fold = fold
        self.steps: list[Step] = []
        self.families = Families()

    def step(
        self, glyph: str, path: str, op: Op, ins: list[Value], outs: list[Value], region: Region | None
    ) -> Step:
        step = Step(glyph, path, op, ins, outs, region, region)
        self.steps.append(step)
        return step

    def body(self, part: Diagram, at: dict[int, Value], scope: _Scope) -> list[Value]:
        """Adds the steps of a diagram whose wires in `at` are there; gives the values that come out."""
        users: dict[int, int] = {}
        for wire in (*(w for node in part.nodes for w in node.ins), *part.outs):
            users[wire] = users.get(wire, 0) + 1
        loop = (
            {} if self.fold.unroll or scope.stages is not None else loops(part)
        )  # λ has one meaning at a time
        fused: set[str] = set()
        for position, node in enumerate(part.nodes):
            if node.id in fused:
                continue
            path = f"{scope.prefix}{node.id}"
            follower = convolution(part, position, users) if self.fold.conv == "collapsed" else None
            if follower is not None:
                outs = self.values(part, follower.outs, scope)
                slides, maps = (node, follower) if isinstance(node.op, ops.Window) else (follower, node)
                ins = [at[w] for w in node.ins]
                step = self.step("conv", f"{scope.prefix}{slides.id}", slides.op, ins, outs, scope.region)
                step.linear = maps.op if isinstance(maps.op, ops.Linear) else None
                step.also = f"{scope.prefix}{maps.id}"
                fused.add(follower.id)
                at.update(zip(follower.outs, outs, strict=True))
            elif (bent := _unit(part, node, users)) is not None:
                outs = self.values(part, bent.outs, scope)
                step = self.step("unit", f"{scope.prefix}{bent.id}", bent.op, [], outs, scope.region)
                step.also = path
                fused.add(bent.id)
                at.update(zip(bent.outs, outs, strict=True))
            elif node.id in loop:
                ins = [at[w] for w in loop[node.id].ins]
                outs = self.values(part, loop[node.id].made, scope)
                made = self.stages(node, path, loop[node.id], ins, outs, scope)
                at.update(zip(loop[node.id].made, made, strict=True))
            elif isinstance(node.op, Composite):
                outs = self.values(part, node.outs, scope)
                made = self.part(position, node, outs, [at[w] for w in node.ins], scope)
                at.update(zip(node.outs, made, strict=True))
            elif moves_nothing(node):
                at[node.outs[0]] = at[node.ins[0]]  # a change of layout moves no wire
            else:
                outs = self.values(part, node.outs, scope, scaled=isinstance(node.op, ops.Concat))
                ins = [at[w] for w in node.ins] if node.op.reads else []
                for value in outs:
                    value.shown = {**value.shown, **named_by(node.op, value.array)}
                self.step(node.op.kind, path, node.op, ins, outs, scope.region)
                at.update(zip(node.outs, outs, strict=True))
        return [at[w] for w in part.outs]

    def values(
        self, part: Diagram, wires: tuple[int, ...], scope: _Scope, *, scaled: bool = False
    ) -> list[Value]:
        """New values on these wires; inside of stages their sizes are functions of λ."""
        ends = [(part.wires[w], f"{scope.prefix}{w}", self.shown(w, scope, scaled)) for w in wires]
        return [Value(wire.type, path, wire.name, shown) for wire, path, shown in ends]

    def shown(self, wire: int, scope: _Scope, scaled: bool) -> dict[str, Label]:
        """The labels of the axes of a wire that depend on λ."""
        if scope.stages is None:
            return {}
        copies = zip(*(peer.wires[wire].type.axes for peer in scope.peers), strict=True)
        varying = [axes for axes in copies if len({axis.size for axis in axes}) > 1]
        return {axes[0].name: self.families.label(axes, scope.stages, scaled) for axes in varying}

    # -- parts ---------------------------------------------------------------------------------------------

    def part(
        self, number: int, node: Node, outs: list[Value], ins: list[Value], scope: _Scope
    ) -> list[Value]:
        """A part: closed (making `outs`), or opened between an `enter` and a `leave`."""
        op, path = node.op, f"{scope.prefix}{node.id}"
        segment, body = op.insides()[0]
        name, title = body.name, self.title(path, body)
        plate = Region(path, "plate", title, scope.region, fill=fill(name, scope.depth), tip=describe(op))
        if self.fold.closed(path, scope.depth):
            return self.closed(op, path, title, ins, outs, scope)
        if isinstance(op, Stages) or (isinstance(op, Repeat) and self.fold.unroll):
            return self.unrolled(number, op, path, plate, ins, scope)
        bare = name in ("repeat", "scan")  # a repetition of something without a name is no level of its own
        inside = scope.inside(number, f"{path}{segment}", plate, scope.depth + (not bare))
        if isinstance(op, Repeat) and op.n > 1:
            times = ((_LAMBDA, Run(" = 1")), (Run("×"), Run(str(op.n))))
            region = replace(plate, kind="repeat", title="" if bare else title, fill="", marks=times)
            return self.opened(body, ins, replace(inside, region=region), scope.region)
        if isinstance(op, Scan):
            marks, back = _along(op, ins)
            region = replace(plate, kind="scan", title="" if bare else title, fill="", marks=marks, back=back)
            return self.opened(body, ins, replace(inside, region=region), scope.region, outs)
        if bare:
            return self.body(body, _at(body, ins), replace(inside, region=scope.region))
        return self.opened(body, ins, inside, scope.region)

    def title(self, path: str, body: Diagram) -> str:
        return str(self.fold.style.get(path, {}).get("title", body.name.replace("_", " ")))

    def closed(
        self, op: Op, path: str, title: str, ins: list[Value], outs: list[Value], scope: _Scope
    ) -> list[Value]:
        """A part as one box."""
        step = self.step("cuboid", path, op, ins, outs, scope.region)
        step.title = title
        match op:
            case Repeat():
                step.count = f"×{op.n}"
            case Scan():
                step.count = f"over {op.over}"
            case Stages():
                step.count = f"λ = {op.first} … {op.last}"
        return outs

    def unrolled(
        self, number: int, op: Op, path: str, plate: Region, ins: list[Value], scope: _Scope
    ) -> list[Value]:
        """The copies of a part one after the other, each on a plate of its own."""
        if isinstance(op, Repeat):
            names = [(op.body, str(i)) for i in range(op.n)]
            carry = len(ins)
        elif isinstance(op, Stages):
            outer = scope.stages is None
            numbers = [f"λ = {at}" if outer else str(i) for i, at in enumerate(turns(op))]
            names = list(zip(op.bodies, numbers, strict=True))
            carry = op.carry
        running, further, kept = ins[:carry], ins[carry:], []
        for i, (body, name) in enumerate(names):
            inner = replace(plate, path=f"{path}.{i}", title=f"{plate.title} {name}")
            count = len(body.ins) - carry
            copy = i if isinstance(op, Stages) else 0
            within = scope.inside(number, f"{path}.{i}.", inner, scope.depth + 1, copy)
            made = self.opened(body, [*running, *further[:count]], within, scope.region)
            running, further = made[:carry], further[count:]
            kept += made[carry:]
        return [*running, *kept]

    def stages(
        self, node: Node, path: str, loop: Loop, ins: list[Value], outs: list[Value], scope: _Scope
    ) -> list[Value]:
        """Copies whose sizes are functions of λ, drawn once; memories are notes."""
        op = node.op
        if not isinstance(op, Stages):
            raise TypeError(f"{op.kind} is no λ-indexed repetition")
        body, title = op.body, self.title(path, op.body)
        if self.fold.closed(path, scope.depth):
            self.closed(op, path, title, ins, outs, scope)
            notes = [f"→ {label[0].text}" for label in loop.saved.values()]
            self.steps[-1].count = " ".join(
                [*(f"{label[0].text} →" for label in loop.loaded.values()), self.steps[-1].count, *notes]
            )
            return outs
        bare = body.name == "stages"
        marks = tuple((_LAMBDA, Run(f" = {at}")) for at in (op.first, op.last))
        region = Region(path, "stages", "" if bare else title, scope.region, marks=marks, tip=describe(op))
        self.families.learn(op)
        inside = _Scope(f"{path}.*.", region, scope.depth + (not bare), op, op.bodies)
        carry = op.carry
        given = self.values(body, body.ins, inside)
        order = [*range(carry), *(carry + q for q in loop.shared)]
        enter = self.step("enter", path, _NOTHING, ins, [given[i] for i in order], scope.region)
        enter.frame = enter.out_region = region
        for q, label in loop.loaded.items():
            self.step("load", f"{path}.*", _NOTHING, [], [given[carry + q]], region).note = label
        made = self.body(body, dict(zip(body.ins, given, strict=True)), inside)
        for j, label in loop.saved.items():
            self.step("save", f"{path}.*", _NOTHING, [made[carry + j]], [], region).note = label
        leave = self.step("leave", path, _NOTHING, made[:carry], outs, region)
        leave.frame, leave.out_region = region, scope.region
        return outs

    def single(self, body: Diagram) -> bool:
        """Whether a body is drawn as one glyph: one op, or one convolution."""
        drawn = [n for n in body.nodes if not moves_nothing(n)]
        if len(drawn) == 2 and self.fold.conv == "collapsed":
            return body.nodes[0] is drawn[0] and convolution(body, 0, {drawn[0].outs[0]: 1}) is drawn[1]
        return len(drawn) == 1 and not isinstance(drawn[0].op, Composite)

    def opened(
        self,
        body: Diagram,
        ins: list[Value],
        scope: _Scope,
        outer: Region | None,
        outs: list[Value] | None = None,
    ) -> list[Value]:
        """A body between an `enter` and a `leave`; the arrays are the same on both sides, unless `outs` are
        given.
        """
        inner, prefix = scope.region, scope.prefix
        if inner is None:
            raise TypeError("a part that is opened has a frame")
        if inner.kind == "plate" and self.single(body):  # a frame around one glyph says nothing
            return self.body(body, _at(body, ins), replace(scope, region=outer))
        if outs is None:
            given = [Value(v.array, f"{prefix}{w}", "", v.shown) for v, w in zip(ins, body.ins, strict=True)]
        else:
            given = self.values(body, body.ins, scope)
        enter = self.step("enter", inner.path, _NOTHING, ins, given, outer)
        made = self.body(body, _at(body, given), scope)
        if outs is None:
            outs = [Value(v.array, f"{prefix}out{i}", "", v.shown) for i, v in enumerate(made)]
        leave = self.step("leave", inner.path, _NOTHING, made, outs, inner)
        enter.frame = leave.frame = enter.out_region = inner
        leave.out_region = outer
        return outs


def _at(body: Diagram, values: list[Value]) -> dict[int, Value]:
    return dict(zip(body.ins, values, strict=True))


def _along(op: Scan, ins: list[Value]) -> tuple[tuple[Label, ...], Label]:
    """The marks of a scan: where its index begins and ends, and the states that are fed back."""
    axis = ins[op.states].array[op.over]
    index = labels.name(op.over)
    size = labels.expression(axis.size, frozenset({op.over}) if op.over[0] in POSITIONS else frozenset())
    ends = (*index, Run(" = 1")), (*index, Run(" = "), *size)
    names = [labels.name(op.body.wires[w].name) for w in op.body.ins[: op.states] if op.body.wires[w].name]
    back = tuple(run for i, name in enumerate(names) for run in (*((Run(", "),) if i else ()), *name))
    return ends[::-1] if op.reverse else ends, back


def _unit(part: Diagram, node: Node, users: Mapping[int, int]) -> Node | None:
    """The unit vectors of indices that only they read: together the identity, which is drawn as a bend."""
    if not isinstance(node.op, ops.Indices) or users.get(node.outs[0], 0) != 1:
        return None
    follower = next((n for n in part.nodes if node.outs[0] in n.ins), None)
    return follower if follower is not None and isinstance(follower.op, ops.OneHot) else None
