"""From a diagram to a plan: the steps of one forward pass, some of them several ops that one kernel computes.

A peephole looks at a few neighbouring ops and replaces them by a kernel that computes the same; it never
fires when a wire between them is used anywhere else. All of them can be switched off, and both plans agree.
A plan is plain data and needs no torch; `str(plan)` is what tests and readers look at:

    attention
      einsum + scale + softmax + einsum_2 => scaled_dot_product_attention
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from nbkit.build.weights import fold_chain, weights, window_chain
from nbkit.language import ops
from nbkit.language.axes import parse_spec
from nbkit.language.diagram import Diagram, Node
from nbkit.language.ops import Op
from nbkit.language.sizes import parse_size


@dataclass(frozen=True)
class Attention:
    """softmax over `keys` of the scaled and masked product of queries and keys, times values.

    `query` is the axis that only queries have; `contracted`, `keys` and `values` are the axes k, x and k of
    `"y k, x k, x k -> y k"`; everything else is woven and may be missing on some of the three.
    """

    query: str
    keys: tuple[str, ...]
    contracted: tuple[str, ...]
    values: tuple[str, ...]
    factors: tuple[str, ...] = ()
    relations: tuple[str, ...] = ()
    dropout: float = 0.0

    def __str__(self) -> str:
        return "scaled_dot_product_attention"


@dataclass(frozen=True)
class Convolution:
    """Windows, then a linear map that consumes them (and the channels)."""

    windows: tuple[ops.Window, ...]
    linear: ops.Linear
    spatial: int

    def __str__(self) -> str:
        return f"conv{self.spatial}d"


@dataclass(frozen=True)
class TransposedConvolution:
    """A linear map that makes windows, then folds that add them up."""

    linear: ops.Linear
    folds: tuple[ops.Fold, ...]
    spatial: int

    def __str__(self) -> str:
        return f"conv_transpose{self.spatial}d"


@dataclass(frozen=True)
class Upsampling:
    """Each element of an axis `factor` times: a new axis, merged behind it."""

    axis: str
    factor: int
    name: str

    def __str__(self) -> str:
        return "interpolate"


@dataclass(frozen=True)
class GroupNorm:
    """Normalisation in groups; `channels` are the axes that are one for the kernel (or one that is split)."""

    norm: ops.Norm
    channels: tuple[str, ...]
    merged: str = ""

    def __str__(self) -> str:
        return "group_norm"


@dataclass(frozen=True)
class Pool:
    """Windows, then their maximum or mean."""

    windows: tuple[ops.Window, ...]
    how: str
    spatial: int

    def __str__(self) -> str:
        return f"{'avg' if self.how == 'mean' else self.how}_pool{self.spatial}d"


@dataclass(frozen=True)
class Step:
    """One step: the nodes that it computes (the last gives it its name and outputs) and their inputs."""

    op: Op | Attention | Convolution | TransposedConvolution | Upsampling | GroupNorm | Pool
    nodes: tuple[Node, ...]
    ins: tuple[int, ...]

    @property
    def node(self) -> Node:
        return self.nodes[-1]

    @property
    def outs(self) -> tuple[int, ...]:
        return self.node.outs

    def __str__(self) -> str:
        return f"{' + '.join(node.id for node in self.nodes)} => {self.op}"


@dataclass(frozen=True)
class Plan:
    """The steps of one diagram's forward pass, in order."""

    diagram: Diagram
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return "\n  ".join((self.diagram.name, *map(str, self.steps)))


def plan(diagram: Diagram, *, peepholes: bool = True) -> Plan:
    """The plan of a diagram; without peepholes, one step a node."""
    fused: dict[str, Step] = {}  # by the id of the last node
    covered: set[str] = set()
    if peepholes:
        view = _View(diagram)
        for node in diagram.nodes:
            step = view.fuse(node)
            if step is not None and not covered & {n.id for n in step.nodes}:
                fused[step.node.id] = step
                covered |= {n.id for n in step.nodes}
    steps = []
    for node in diagram.nodes:
        if node.id in fused:
            steps.append(fused[node.id])
        elif node.id not in covered:
            steps.append(Step(node.op, (node,), node.ins))
    return Plan(diagram, tuple(steps))


class _View:
    """A diagram with who makes and who reads each wire."""

    def __init__(self, diagram: Diagram) -> None:
        self.diagram = diagram
        self.makers = diagram.makers
        self.readers: dict[int, Node] = {wire: node for node in diagram.nodes for wire in node.ins}
        self.uses = Counter([*(wire for node in diagram.nodes for wire in node.ins), *diagram.outs])

    def names(self, wire: int) -> tuple[str, ...]:
        return self.diagram.wires[wire].type.names

    def rank(self, wire: int, name: str) -> int:
        return self.diagram.wires[wire].type[name].rank

    def only_between(self, nodes: list[Node]) -> bool:
        """True if what these nodes make is read exactly once."""
        return all(self.uses[wire] == 1 for node in nodes for wire in node.outs)

    def fuse(self, node: Node) -> Step | None:
        match node.op:
            case ops.Softmax() as op:
                return self.attention(node, op)
            case ops.Linear() as op:
                held = weights(self.diagram, node)
                if held is not None and held.module == "ConvTranspose":
                    produced = [token.name for token in parse_spec(op.spec).outs[0]]
                    folds = fold_chain(self.diagram, node.outs[0], produced, op.per.split())
                    return Step(TransposedConvolution(op, held.folds, held.spatial), (node, *folds), node.ins)
                if held is None or held.module != "Conv" or any(w.fill != "0" for w in held.windows):
                    return None
                consumed = [token.name for token in parse_spec(op.spec).ins[0]]
                chain = window_chain(self.diagram, node.ins[0], consumed, op.per.split())
                if not self.only_between(list(chain)):
                    return None
                return Step(Convolution(held.windows, op, held.spatial), (*chain, node), chain[0].ins)
            case ops.Reduce(how="max" | "mean") as op:
                return self.pool(node, op)
            case ops.Merge() as op:
                return self.upsampling(node, op)
            case ops.Norm() as op:
                held = weights(self.diagram, node)
                return self.groups(node, op) if held is not None and held.module == "GroupNorm" else None
        return None

    def upsampling(self, node: Node, op: ops.Merge) -> Step | None:
        before = self.makers.get(node.ins[0])
        if before is None or not isinstance(before.op, ops.Expand) or not self.only_between([before]):
            return None
        spec, array = parse_spec(op.spec), self.diagram.wires[node.ins[0]].type
        names = tuple(token.name for token in spec.ins[0])
        added = set(array.names) - set(self.names(before.ins[0]))
        if len(names) != 2 or added != {names[1]} or array.bound is not None:
            return None
        factor = array[names[1]].size
        if not factor.is_Integer or array[names[0]].rank > 3:
            return None
        return Step(Upsampling(names[0], int(factor), spec.outs[0][0].name), (before, node), before.ins)

    def groups(self, node: Node, op: ops.Norm) -> Step:
        """A norm within groups of channels, with the split and the merge around it if they are there."""
        channels = tuple(op.per.split())
        before, after = self.makers.get(node.ins[0]), self.readers.get(node.outs[0])
        if (
            before is not None
            and after is not None
            and isinstance(before.op, ops.Split)
            and isinstance(after.op, ops.Merge)
            and self.only_between([before, node])
        ):
            split, merge = parse_spec(before.op.spec), parse_spec(after.op.spec)
            apart, together = (tuple(t.name for t in side[0]) for side in (split.outs, merge.ins))
            old, new = split.ins[0][0].name, merge.outs[0][0].name
            if apart == together == channels and self.rank(before.ins[0], old) == 1:
                return Step(GroupNorm(op, (old,), new), (before, node, after), before.ins)
        return Step(GroupNorm(op, channels), (node,), node.ins)

    def pool(self, node: Node, op: ops.Reduce) -> Step | None:
        axes = op.axes.split()
        chain = window_chain(self.diagram, node.ins[0], axes)
        windows = tuple(n.op for n in chain if isinstance(n.op, ops.Window))
        if (
            not windows
            or {w.name for w in windows} != set(axes)
            or len({w.fill for w in windows}) > 1
            or (op.how == "mean" and any(w.dilation > 1 for w in windows))
            or not self.only_between(list(chain))
        ):
            return None
        spatial = sum(self.rank(n.ins[0], w.axis) for n, w in zip(chain, windows, strict=True))
        return Step(Pool(windows, op.how, spatial), (*chain, node), chain[0].ins)

    def attention(self, softmax: Node, op: ops.Softmax) -> Step | None:
        above: list[Node] = []
        factors: list[str] = []
        relations: list[str] = []
        node: Node | None = self.makers.get(softmax.ins[0])
        while node is not None and not isinstance(node.op, ops.Einsum):
            if isinstance(node.op, ops.Scale):
                factors.append(node.op.factor)
            elif isinstance(node.op, ops.Mask) and node.op.fill == "-inf":
                if not all(parse_size(factor).is_positive for factor in factors):
                    return None  # a negative factor would turn −inf around
                relations.append(node.op.relation)
            else:
                return None
            above.insert(0, node)
            node = self.makers.get(node.ins[0])
        if node is None or len(node.ins) != 2:
            return None
        scores, dropout = node, 0.0
        below: list[Node] = []
        (wire,) = softmax.outs
        reader = self.readers.get(wire)
        if reader is not None and isinstance(reader.op, ops.Dropout) and self.uses[wire] == 1:
            below, dropout = [reader], reader.op.p
            (wire,) = reader.outs
            reader = self.readers.get(wire)
        if reader is None or not isinstance(reader.op, ops.Einsum) or len(reader.ins) != 2:
            return None
        if not self.only_between([scores, *above, softmax, *below]):
            return None
        (value,) = (w for w in reader.ins if w != wire)
        found = self._axes(op.axes.split(), scores, value, reader.outs[0])
        if found is None:
            return None
        query, key, (y, contracted, values) = found
        if relations and (self.rank(query, y) > 1 or len(op.axes.split()) > 1):
            return None
        return Step(
            Attention(
                y,
                tuple(op.axes.split()),
                contracted,
                values,
                tuple(factors[::-1]),
                tuple(relations[::-1]),
                dropout,
            ),
            (scores, *above, softmax, *below, reader),
            (query, key, value),
        )

    def _axes(
        self, keys: list[str], scores: Node, value: int, out: int
    ) -> tuple[int, int, tuple[str, tuple[str, ...], tuple[str, ...]]] | None:
        """Which operand is the query, and the roles of the axes; None if this is not attention."""
        left, right = scores.ins
        query, key = (left, right) if set(keys) <= set(self.names(right)) else (right, left)
        q, k, v, s, o = (set(self.names(w)) for w in (query, key, value, scores.outs[0], out))
        x = set(keys)
        contracted = tuple(name for name in self.names(query) if name in k and name not in s)
        values = tuple(name for name in self.names(value) if name not in s)
        woven = s - x
        candidates = [name for name in self.names(scores.outs[0]) if name in q - k - v - x]
        fits = (
            x <= k - q
            and x <= v
            and not x & o
            and contracted
            and values
            and candidates
            and (q | k) <= s | set(contracted)
            and woven <= o
            and set(values) <= o
        )
        return (query, key, (candidates[-1], contracted, values)) if fits else None
