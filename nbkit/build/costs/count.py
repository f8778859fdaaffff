"""Counting: one walk through a diagram, in the order in which it computes.

Parts are entered with the storages that come in, so that an array that two parts keep is counted once.
Of a repetition, the first copy is walked, and one of the others for all of them; of a scan, the first and one
of the other positions. What lies in a repetition is entered at `path.*`, times its count.
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr, Integer

from nbkit.build.costs.flops import flops
from nbkit.build.costs.kept import kept
from nbkit.build.costs.model import Cost, Cut, Entry, plain
from nbkit.build.costs.stores import INDEX, Alive, Storage, View, fresh
from nbkit.build.weights import Keys, Weights, weights
from nbkit.language import ops
from nbkit.language.axes import Array
from nbkit.language.diagram import Diagram, Node
from nbkit.language.parts import Repeat, Scan, Stages
from nbkit.language.sizes import canonical

_VIEWS = (
    ops.Rename,
    ops.Transpose,
    ops.Split,
    ops.Merge,
    ops.Slice,
    ops.Window,
    ops.Expand,
    ops.StopGradient,
)
_ADDED = ("params", "flops", "bytes", "memory")


def cost(diagram: Diagram, *, itemsize: int = 4) -> Cost:
    """Parameters, FLOPs, bytes moved and memory of a diagram; `itemsize` is the bytes of a real number."""
    walk = _Walk(itemsize)
    given = [fresh(array, itemsize, wants=True) for array in diagram.inputs]
    walk.scope(diagram, given, "", Integer(1), Integer(1))
    entries = tuple(
        Entry(path, op, *(plain(sums[name]) for name in _ADDED)) for path, (op, sums) in walk.found.items()
    )
    cuts = tuple(Cut(path, plain(live)) for path, live in walk.cuts)
    return Cost(entries, diagram.free(), cuts, itemsize)


class _Walk:
    """Goes through the scopes of a diagram and adds up."""

    def __init__(self, itemsize: int) -> None:
        self.itemsize = itemsize
        self.keys = Keys()
        self.alive = Alive()
        self.found: dict[str, tuple[str, dict[str, Expr]]] = {}
        self.cuts: dict[tuple[str, Expr], None] = {}
        self.masks: set[tuple[object, ...]] = set()  # a mask is made once for all who hide the same

    def scope(
        self,
        diagram: Diagram,
        given: Sequence[View],
        prefix: str,
        copies: Expr,
        times: Expr,
        done: Sequence[View] = (),
    ) -> list[View]:
        """Walks one diagram; gives what its outputs are, held once more for the caller.

        Its weights count `copies` times (0: they have been counted), all else `times` times. `done` are views
        that the caller holds and needs no longer once the diagram has its inputs.
        """
        at: dict[int, View] = {}
        last = {wire: node.id for node in diagram.nodes for wire in node.ins} | dict.fromkeys(
            diagram.outs, ""
        )

        def make(wire: int, view: View) -> None:
            at[wire] = view
            self.alive.hold(view)

        for wire, view in zip(diagram.ins, given, strict=True):
            make(wire, view)
        for view in done:
            self.alive.release(view)
        if not prefix:
            self.cuts["", self.alive.total] = None
        for wire in diagram.ins:
            if wire not in last:
                self.alive.release(at[wire])
        for node in diagram.nodes:
            used = [at[w] for w in dict.fromkeys(node.ins) if last[w] == node.id]
            if node.op.insides():
                outs = self.part(
                    node.op, [at[w] for w in node.ins], f"{prefix}{node.id}", copies, times, used
                )
                at.update(zip(node.outs, outs, strict=True))
            else:
                for wire, view in zip(
                    node.outs, self.op(diagram, node, at, prefix, copies, times), strict=True
                ):
                    make(wire, view)
                for view in used:
                    self.alive.release(view)
                self.cuts[f"{prefix}{node.id}", self.alive.total] = None
            for wire in node.outs:
                if wire not in last:
                    self.alive.release(at[wire])
        outs = [at[w] for w in diagram.outs]
        for view in outs:
            self.alive.hold(view)
        for wire in dict.fromkeys(diagram.outs):
            self.alive.release(at[wire])
        return outs

    def part(
        self, op: ops.Op, ins: list[View], path: str, copies: Expr, times: Expr, used: list[View]
    ) -> list[View]:
        """Walks a part; gives its outputs, held for the caller, and lets go of inputs that are used up."""
        match op:
            case Repeat(body=body, n=n, tied=tied):
                inner = f"{path}.*."
                outs = self.scope(body, ins, inner, copies if tied else copies * n, times, used)
                if n > 1:
                    outs = self.scope(body, outs, inner, Integer(0), times * (n - 1), outs)
                return outs
            case Stages(carry=carry):
                running, further, kept_ = ins[:carry], ins[carry:], list[View]()
                free = list(used)
                for view in running:
                    self.alive.hold(view)
                for segment, body in op.insides():
                    count = len(body.ins) - carry
                    outs = self.scope(
                        body, [*running, *further[:count]], f"{path}{segment}", copies, times, running
                    )
                    running, further = outs[:carry], further[count:]
                    kept_ += outs[carry:]
                for view in free:
                    self.alive.release(view)
                return [*running, *kept_]
            case Scan():
                return self.scan(op, ins, path, copies, times, used)
        ((segment, body),) = op.insides()
        return self.scope(body, ins, f"{path}{segment}", copies, times, used)

    def scan(
        self, op: Scan, ins: list[View], path: str, copies: Expr, times: Expr, used: list[View]
    ) -> list[View]:
        """The first position, then one of the others for all of them; elements are views of the sequences."""
        body, states, inner = op.body, op.states, f"{path}.*."
        whole = ins[states:]
        elements = [
            View(view.storage, fresh(array, self.itemsize, wants=False).read, view.wants)
            for view, array in zip(whole, body.inputs[states:], strict=True)
        ]
        steps = canonical(whole[0].read / elements[0].read)
        running = ins[:states]
        for view in running:
            self.alive.hold(view)
        made: list[View] = []
        for position, (own, often) in enumerate(((copies, times), (Integer(0), times * (steps - 1)))):
            if often == 0:
                break
            outs = self.scope(body, [*running, *elements], inner, own, often, running)
            running = outs[:states]
            if position == 0:
                made = [
                    View(Storage(view.storage.size * steps), view.read * steps, view.wants)
                    for view in outs[states:]
                ]
                for view in made:
                    self.alive.hold(view)
            for view in outs[states:]:
                self.alive.release(view)
        for view in used:
            self.alive.release(view)
        return [*running, *made]

    def op(
        self, diagram: Diagram, node: Node, at: dict[int, View], prefix: str, copies: Expr, times: Expr
    ) -> list[View]:
        """Enters one op; gives what it makes."""
        op, path = node.op, f"{prefix}{node.id}"
        ins = [at[w] for w in node.ins]
        held = weights(diagram, node)
        params = _params(held, self.keys.claim(path, held), copies) if held and copies != 0 else Integer(0)
        wants = not isinstance(op, ops.StopGradient) and (
            _trained(op, held) or (op.reads and any(view.wants for view in ins))
        )
        if isinstance(op, _VIEWS):
            arrays = [diagram.wires[w].type for w in (*node.ins, *node.outs)]
            outs = [_view(op, ins[0], *arrays, wants=wants)]
            bytes_: Expr = Integer(0)
        else:
            outs = [fresh(diagram.wires[w].type, self.itemsize, wants=wants) for w in node.outs]
            if isinstance(op, ops.Parameter | ops.Positions):  # the weight itself, where it lies
                outs = [View(Storage(Integer(0)), view.read, view.wants) for view in outs]
            bytes_ = self.moved(op, ins, outs, held)
        memory: Expr = Integer(0)
        if any(view.wants for view in outs):
            here = at | dict(zip(node.outs, outs, strict=True))
            what = kept(op, diagram, node, tuple(view.wants for view in ins))
            for wire in what.wires:
                storage = here[wire].storage
                if not storage.kept:
                    storage.kept = True
                    memory = memory + storage.size
            memory = memory + what.reals * self.itemsize + what.indices * INDEX
            if what.mask and what.mask not in self.masks:
                self.masks.add(what.mask)
                memory = memory + what.flags
        self.enter(path, str(op), params, flops(op, diagram, node) * times, bytes_ * times, memory * times)
        return outs

    def moved(self, op: ops.Op, ins: list[View], outs: list[View], held: Weights | None) -> Expr:
        """Bytes read and written by one application; of a table, only the rows looked up are read."""
        written = sum((view.read for view in outs), Integer(0))
        if isinstance(op, ops.Parameter | ops.Positions):
            return Integer(0)  # the weight itself, where it lies
        if isinstance(op, ops.Embed | ops.Gather):
            return ins[-1].read + 2 * written
        read = sum((view.read for view in ins), Integer(0)) if op.reads else Integer(0)
        if held is not None:
            read = read + sum((held.numel(name) for name in held.shapes), Integer(0)) * self.itemsize
        return read + written

    def enter(self, path: str, op: str, *costs: Expr) -> None:
        """Adds to the line of a path."""
        _, sums = self.found.setdefault(path, (op, dict.fromkeys(_ADDED, Integer(0))))
        for name, number in zip(_ADDED, costs, strict=True):
            sums[name] = sums[name] + number


def _view(op: ops.Op, source: View, before: Array, after: Array, *, wants: bool) -> View:
    """A view of a storage: of a slice less is read, of what is repeated no more."""
    share = after.numel / before.numel if isinstance(op, ops.Slice) else Integer(1)
    return View(source.storage, canonical(source.read * share), wants)


def _trained(op: ops.Op, held: Weights | None) -> bool:
    """Whether the op has weights that are trained."""
    if isinstance(op, ops.Linear | ops.Embed):
        return not op.frozen
    if isinstance(op, ops.Parameter):
        return op.trainable
    return isinstance(op, ops.Torch) or bool(held is not None and held.shapes)


def _params(held: Weights, sharing: str, copies: Expr) -> Expr:
    total: Expr = Integer(0)
    if held.buffer:  # no parameter of the module
        return total
    for name in held.shapes:
        if name != "weight" or not held.key:
            total += held.numel(name) * copies
        elif sharing == "own":
            total += held.numel(name)
    return total
