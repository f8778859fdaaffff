"""From a diagram to lines: one walk over its nodes, blocks and repetitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sympy import Integer

from nbkit.draw.notation.formulas import Formula, Operand, Site, formula, indices
from nbkit.draw.notation.joining import Pending, called, joined, joins, kernel, notes, users_of
from nbkit.draw.notation.lines import Equation, Group, Line, Loop, View, same, viewed
from nbkit.draw.notation.symbols import Scope, Weights, fresh
from nbkit.draw.notation.terms import Index, Opaque, Step, Wire
from nbkit.language.axes import Array, Axis
from nbkit.language.diagram import Diagram, Node
from nbkit.language.ops.base import Composite
from nbkit.language.parts import Block, Repeat, Scan, Stages

_COUNTERS = "λμνκιρτ"


class Writer:
    """The lines of a diagram."""

    def __init__(self, diagram: Diagram, *, fused: bool, depth: int | None) -> None:
        self.diagram, self.fused, self.depth = diagram, fused, depth
        self.weights = Weights(diagram)
        bodies = (body for _, node in diagram.walk() for _, body in node.op.insides())
        axes = {axis.name for part in (diagram, *bodies) for wire in part.wires for axis in wire.type}
        self.counters = [letter for letter in _COUNTERS if letter not in axes] or ["λ"]

    def whole(self) -> tuple[tuple[Line, ...], list[View], list[View]]:
        """All lines, and how inputs and outputs are written."""
        diagram = self.diagram
        scope = Scope("", "", (), 0, 0, frozenset())
        views: dict[int, View] = {}
        for w in diagram.ins:
            symbol, scope = fresh(scope, diagram.wires[w].name or "x", Wire("", w))
            views[w] = viewed(symbol, diagram.wires[w].type)
        inputs = [views[w] for w in diagram.ins]
        lines = self.part(diagram, views, {}, scope)
        return tuple(lines), inputs, [views[w] for w in diagram.outs]

    def part(
        self, part: Diagram, views: dict[int, View], wanted: Mapping[int, View], scope: Scope
    ) -> list[Line]:
        """The lines of a part whose inputs are in `views`; wires in `wanted` are to be written like that."""
        lines: list[Line] = []
        pending: dict[int, Pending] = {}  # wires that join the line of their only user
        users, makers = users_of(part), {w: node for node in part.nodes for w in node.outs}
        for node in part.nodes:
            if isinstance(node.op, Composite) and not self.closed(scope):
                made, outs, scope = self.composite(part, node, views, wanted, scope)
                lines += made
                views.update(zip(node.outs, outs, strict=True))
                continue
            ins = tuple(
                joined(part.wires[w].type, pending[w].term)
                if w in pending
                else Operand(views[w].array, views[w].at)
                for w in node.ins
            )
            types = tuple(part.wires[w].type for w in node.outs)
            site = Site(ins, types, self.weights.maker(node, scope), kernel(node, makers, users))
            formulas = self.formulas(node, site)
            before = [pending[w] for w in node.ins if w in pending]
            title = called(node) or next((p.title for p in before), "")
            if self.fused and joins(part, node, users, formulas[0].right):
                note = notes(*(p.note for p in before), formulas[0].note)
                pending[node.outs[0]] = Pending(formulas[0].right, note, title)
                continue
            for w, told in zip(node.outs, formulas, strict=True):
                if w in wanted:
                    view = wanted[w]
                else:
                    symbol, scope = fresh(scope, part.wires[w].name or title, Wire(scope.path, w))
                    view = viewed(symbol, part.wires[w].type)
                views[w] = view
                left = view.at({**indices(part.wires[w].type), **told.left})
                note = notes(*(p.note for p in before), told.note)
                lines.append(Equation(left, told.right, note, f"{scope.path}{node.id}"))
        return lines

    def closed(self, scope: Scope) -> bool:
        return self.depth is not None and scope.depth >= self.depth

    def formulas(self, node: Node, site: Site) -> list[Formula]:
        """What a node says; a closed block is a function."""
        found = formula(node.op, site)
        if not isinstance(node.op, Composite):
            return found
        name = node.op.insides()[0][1].name
        return [
            replace(f, right=replace(f.right, name=name)) if isinstance(f.right, Opaque) else f for f in found
        ]

    def composite(
        self,
        part: Diagram,
        node: Node,
        views: Mapping[int, View],
        wanted: Mapping[int, View],
        scope: Scope,
    ) -> tuple[list[Line], list[View], Scope]:
        """The lines of a block or repetition, and how its outputs are written."""
        ins = [views[w] for w in node.ins]
        path, op = f"{scope.path}{node.id}", node.op
        if isinstance(op, Block):
            outs: list[View] = []
            for w in node.outs:
                if w not in wanted:
                    name = part.wires[w].name or called(node)
                    symbol, scope = fresh(scope, name, Wire(scope.path, w))
                outs.append(wanted[w] if w in wanted else viewed(symbol, part.wires[w].type))
            inner = replace(scope, path=f"{path}.", module=f"{scope.module}{node.id}.", depth=scope.depth + 1)
            lines = self.inside(op.body, ins, outs, inner)
            bare = len(lines) == 1 and isinstance(lines[0], Equation)
            return lines if bare else [Group(op.body.name, tuple(lines), path)], outs, scope
        lines, outs, scope = self.repeated(node, ins, scope)
        for i, w in enumerate(node.outs):
            if w in wanted:
                lines.append(same(wanted[w], outs[i], path))
                outs[i] = wanted[w]
        return lines, outs, scope

    def inside(self, body: Diagram, ins: Sequence[View], outs: Sequence[View], scope: Scope) -> list[Line]:
        """The lines of a body between given views."""
        views = dict(zip(body.ins, ins, strict=True))
        wanted: dict[int, View] = {}
        for w, view in zip(body.outs, outs, strict=True):
            if w not in views:
                wanted.setdefault(w, view)
        lines = self.part(body, views, wanted, scope)
        return lines + [
            same(view, views[w], scope.path.rstrip("."))
            for w, view in zip(body.outs, outs, strict=True)
            if views[w] != view
        ]

    def repeated(self, node: Node, ins: list[View], scope: Scope) -> tuple[list[Line], list[View], Scope]:
        """The lines of a part that is applied again and again."""
        path, op = f"{scope.path}{node.id}", node.op
        (_, body), *_ = node.op.insides()
        carry = {"repeat": len(ins), "scan": getattr(op, "states", 0)}.get(op.kind, getattr(op, "carry", 0))
        symbols = []
        for i in range(carry):
            symbol, scope = fresh(scope, body.wires[body.ins[i]].name or "h", Wire(path, -1 - i))
            symbols.append(symbol)
        types = body.inputs[:carry]

        def carried(step: Step, arrays: Sequence[Array] = types) -> list[View]:
            return [viewed(s, array, step) for s, array in zip(symbols, arrays, strict=True)]

        def given(step: Step) -> list[Line]:
            return [same(view, ins[i], path) for i, view in enumerate(carried(step))]

        depth = scope.depth + 1
        if isinstance(op, Stages):
            return self.stages(node, op, ins, carried, given, scope)
        if isinstance(op, Repeat):
            letter = self.counters[min(scope.counters, len(self.counters) - 1)]
            count = Index(Axis(letter, Integer(op.n)))
            inner = Scope(
                f"{path}.*.",
                f"{scope.module}{node.id}{'.' if op.tied else '.*.'}",
                scope.loops if op.tied else (*scope.loops, count),
                scope.counters + 1,
                depth,
                scope.taken,
            )
            before, after = Step(count, Integer(-1)), Step(count, Integer(0))
            lines = self.inside(body, carried(before), carried(after), inner)
            loop = Loop(body.name, count, 1, False, not op.tied, tuple(lines), path)
            return [*given(Step(None, Integer(0))), loop], carried(Step(None, Integer(op.n))), scope
        if not isinstance(op, Scan):
            raise TypeError(f"{op.kind} is no repetition that is known here")
        axis = ins[op.states].array[op.over]
        hidden = any(op.over in wire.type for wire in body.wires)
        count = Index(axis, 2 if hidden else 0)
        first, last = Step(None, Integer(0)), Step(None, axis.size)
        before, after = Step(count, Integer(0)), Step(count, Integer(1))
        if op.reverse:
            first, last, before, after = last, first, after, before
        elements = [
            replace(
                view,
                array=array,
                slots=tuple(count if slot == op.over else slot for slot in view.slots),
            )
            for view, array in zip(ins[op.states :], body.inputs[op.states :], strict=True)
        ]
        outs: list[View] = []
        for w in node.outs[op.states :]:
            symbol, scope = fresh(scope, "", Wire(scope.path, w))
            array = body.outputs[op.states + len(outs)]
            outs.append(View(symbol, Array((axis, *array.axes), array.bound), (op.over, *array.names)))
        inner = Scope(
            f"{path}.*.", f"{scope.module}{node.id}.", scope.loops, scope.counters, depth, scope.taken
        )
        made = [replace(v, array=Array(v.array.axes[1:]), slots=(count, *v.slots[1:])) for v in outs]
        lines = self.inside(body, [*carried(before), *elements], [*carried(after), *made], inner)
        loop = Loop(body.name, count, 0, op.reverse, False, tuple(lines), path)
        return [*given(first), loop], [*carried(last), *outs], scope

    def stages(
        self,
        node: Node,
        op: Stages,
        ins: list[View],
        carried: Callable[[Step, Sequence[Array]], list[View]],
        given: Callable[[Step], list[Line]],
        scope: Scope,
    ) -> tuple[list[Line], list[View], Scope]:
        """The lines of copies that differ in size: each copy in a brace of its own."""
        path, sign = f"{scope.path}{node.id}", -1 if op.down else 1
        title = "" if op.body.name == "stages" else f"{op.body.name}, "
        number = op.first - sign
        lines = given(Step(None, Integer(number)))
        running, further = carried(Step(None, Integer(number)), op.body.inputs[: op.carry]), ins[op.carry :]
        kept: list[View] = []
        for i, body in enumerate(op.bodies):
            number += sign
            count = len(body.ins) - op.carry
            outs = carried(Step(None, Integer(number)), body.outputs[: op.carry])
            for array in body.outputs[op.carry :]:
                wire = node.outs[op.carry + len(kept)]
                symbol, scope = fresh(scope, "c", Wire(scope.path, wire))
                kept.append(viewed(symbol, array))
                outs.append(kept[-1])
            inner = Scope(
                f"{path}.{i}.",
                f"{scope.module}{node.id}.{i}.",
                scope.loops,
                scope.counters,
                scope.depth + 1,
                scope.taken,
            )
            made = self.inside(body, [*running, *further[:count]], outs, inner)
            lines.append(Group(f"{title}λ = {number}", tuple(made), f"{path}.{i}"))
            running, further = outs[: op.carry], further[count:]
        return lines, [*running, *kept], scope
