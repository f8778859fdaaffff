"""Layout at scale: which parts are closed so that a picture keeps to its budget of elements.

Parts are opened from the outside in, small ones first, as long as the picture is expected to stay within the
budget: so the largest of the deepest parts are the first to close. Parts of the same size on the same level
open or stay closed together, for layers that are alike should look alike. Only what is opened is looked at,
so the first picture of a deep network costs no more than that of a shallow one. Where even the closed parts
are too many, the steps in the middle become one box.
"""

from __future__ import annotations

from dataclasses import replace

from nbkit.draw.steps import Fold, opened_by
from nbkit.language.axes import Array
from nbkit.language.diagram import Diagram, Node
from nbkit.language.errors import DiagramError, nearest
from nbkit.language.ops import Transpose
from nbkit.language.ops.base import Composite
from nbkit.language.parts import Block

LIMIT = 1000  # elements of a picture that nobody asked to be larger
_FRAME, _GLYPH, _LANE = 5.0, 2.6, 1.35  # elements of a plate, a glyph with its tip, a wire of one
_SINGLE = 2  # operations that are hardly more than the box that would hide them
_LEAST = 2  # steps that are kept at both ends


class Budget:
    """Folds a diagram until its picture is expected to have at most so many elements."""

    def __init__(self, diagram: Diagram, fold: Fold) -> None:
        self.diagram, self.fold = diagram, fold
        self.spent = 0.0  # what the last picture was expected to have

    def within(self, limit: float) -> tuple[Diagram, Fold]:
        """The diagram, its middle left out where it must be, and what is closed."""
        diagram, box = shortened(self.diagram, limit)
        spent = _scope(diagram)
        shut: set[str] = {box} if box else set()
        level = _parts(diagram, "", 0)
        while level:
            groups: dict[float, list[_Part]] = {}
            forced: list[_Part] = []
            for part in level:
                if part.path in shut or self.fold.closed(part.path, part.depth):
                    continue
                if part.single or opened_by(self.fold.open, part.path):
                    forced.append(part)
                else:
                    groups.setdefault(part.cost, []).append(part)
            spent += sum(part.cost for part in forced)
            opened = list(forced)
            for cost, parts in sorted(groups.items(), key=lambda group: (group[0] * len(group[1]), group[0])):
                if spent + cost * len(parts) <= limit:
                    spent += cost * len(parts)
                    opened += parts
                else:
                    shut.update(part.path for part in parts)
            level = [inner for part in opened for inner in part.inside()]
        self.spent = spent
        return diagram, replace(self.fold, shut=frozenset(shut))


class _Part:
    """A composite op at a path; `cost` is what its inside adds to a picture, `single` that it is one glyph or
    two.
    """

    def __init__(self, path: str, op: Composite, depth: int) -> None:
        self.path, self.depth = path, depth
        segment, self.body = op.insides()[0]
        self.segment = "." if segment == "." else ".*."  # one copy stands for all
        self.cost = _scope(self.body)
        drawn = [node.op for node in self.body.nodes if not isinstance(node.op, Transpose)]
        self.single = len(drawn) <= _SINGLE and not any(isinstance(op, Composite) for op in drawn)

    def inside(self) -> list[_Part]:
        return _parts(self.body, f"{self.path}{self.segment}", self.depth + 1)


def _parts(diagram: Diagram, prefix: str, depth: int) -> list[_Part]:
    nodes = ((node, node.op) for node in diagram.nodes)
    return [_Part(f"{prefix}{node.id}", op, depth) for node, op in nodes if isinstance(op, Composite)]


def _scope(diagram: Diagram) -> float:
    """Elements that a diagram is expected to have, its parts closed."""
    ends = sum(_lanes(array) for array in (*diagram.inputs, *diagram.outputs))
    return _FRAME + 2.0 * ends + sum(_step(diagram, node) for node in diagram.nodes)


def _step(diagram: Diagram, node: Node) -> float:
    wires = (*node.ins, *node.outs)
    return _GLYPH + _LANE * sum(_lanes(diagram.wires[w].type) for w in wires)


def _lanes(array: Array) -> int:
    return len(array.axes) + 1


def shortened(diagram: Diagram, limit: float) -> tuple[Diagram, str]:
    """The diagram with so many steps in its middle put into one box that the others fit, and the box's id."""
    spent = _scope(diagram)
    if spent <= limit or len(diagram.nodes) <= 2 * _LEAST + 1:
        return diagram, ""
    costs = [_step(diagram, node) for node in diagram.nodes]
    room = max(limit - (spent - sum(costs)) - 2 * _GLYPH - 4 * _LANE, 0.0) / 2
    first, last = _fitting(costs, room), len(costs) - _fitting(costs[::-1], room)
    middle = diagram.nodes[first:last]
    if len(middle) < 2:
        return diagram, ""
    made = {w for node in middle for w in node.outs}
    later = {w for node in diagram.nodes[last:] for w in node.ins} | set(diagram.outs)
    ins = tuple(dict.fromkeys(w for node in middle for w in node.ins if w not in made))
    outs = tuple(dict.fromkeys(w for node in middle for w in node.outs if w in later))
    what = "parts" if all(isinstance(node.op, Composite) for node in middle) else "operations"
    count = sum(_operations(node) for node in middle) if what == "operations" else len(middle)
    body = Diagram(f"… {count:,} {what} …".replace(",", " "), diagram.wires, ins, outs, middle)
    box = Node(f"{middle[0].id}…{middle[-1].id}", Block(body), ins, outs)
    nodes = (*diagram.nodes[:first], box, *diagram.nodes[last:])
    return replace(diagram, nodes=nodes), box.id


def _operations(node: Node) -> int:
    if not isinstance(node.op, Composite):
        return 1
    return sum(int(body.operations) for _, body in node.op.insides()) * node.op.copies


def _fitting(costs: list[float], room: float) -> int:
    """How many of the costs fit into the room, but a few in any case."""
    for i, cost in enumerate(costs):
        room -= cost
        if room < 0:
            return max(i, _LEAST)
    return max(len(costs) - _LEAST, _LEAST)


def check_open(diagram: Diagram, patterns: tuple[str, ...]) -> None:
    """`DiagramError` unless every pattern names a part."""
    if not patterns:
        return
    paths = [path for path, node in diagram.walk() if isinstance(node.op, Composite)]
    for pattern in patterns:
        if not any(opened_by((pattern,), path) for path in paths):
            shown = pattern[:60]
            hint = nearest(shown, paths) or (
                f"its parts are {', '.join(paths[:8])}" if paths else "it has no parts"
            )
            raise DiagramError(f"{diagram.name} has no part {shown!r} to open; {hint}")
