"""The whole way from an exported graph to a diagram and what it carries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx
from torch.utils import _pytree as pytree

from nbkit.build.importing.atoms import Atom
from nbkit.build.importing.batch import without_batch
from nbkit.build.importing.cells import Carry, Cell, Value, Wire
from nbkit.build.importing.copies import unify_copies
from nbkit.build.importing.exporting import Exported
from nbkit.build.importing.frames import frame_attention
from nbkit.build.importing.images import as_images
from nbkit.build.importing.labels import snake
from nbkit.build.importing.lowering import Letters, array_of
from nbkit.build.importing.naming import choose, look_for_roles
from nbkit.build.importing.reader import Reader
from nbkit.build.importing.rules.opaque import box
from nbkit.build.importing.tidy import tidy
from nbkit.build.importing.tree import grow
from nbkit.language.axes import Token
from nbkit.language.diagram import Diagram
from nbkit.language.errors import DiagramError


@dataclass
class Gathered:
    """A diagram, what it carries, how it was read, and how to pick its outputs from the module's."""

    diagram: Diagram
    carries: dict[str, Carry]
    reader: Reader
    picks: Callable[[Any], list[Tensor]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outputs:
    """The nodes that come out, and their places in the flattened result."""

    nodes: list[fx.Node]
    places: list[int]


def chosen_outputs(exported: Exported, output: str | int | None) -> Outputs:
    """The outputs that the diagram shall have; `DiagramError` if there is none of that name."""
    program = exported.program
    (last,) = (node for node in program.graph.nodes if node.op == "output")
    flat = list(last.args[0])
    tree = program.module_call_graph[0].signature.out_spec
    offset = len(flat) - tree.num_leaves
    leaves = flat[offset:]
    shape = pytree.tree_unflatten(range(len(leaves)), tree)
    tensors = [i for i, leaf in enumerate(leaves) if isinstance(leaf, fx.Node) and _is_float(leaf)]
    if not tensors:
        raise DiagramError("from_torch: the module returns no tensor of numbers")
    named = {str(k): v for k, v in shape.items()} if isinstance(shape, Mapping) else {}
    if isinstance(output, str):
        if output not in named or not isinstance(named[output], int):
            known = ", ".join(k for k, v in named.items() if isinstance(v, int)) or "none by name"
            raise DiagramError(f"from_torch: there is no output '{output}'; the module returns {known}")
        places = [named[output]]
    elif output is not None:
        if not 0 <= output < len(leaves):
            raise DiagramError(f"from_torch: there is no output {output}; the module returns {len(leaves)}")
        places = [output]
    elif named:
        places = tensors[:1]
    else:
        places = tensors
    return Outputs([leaves[i] for i in places], places)


def _is_float(node: fx.Node) -> bool:
    val = node.meta.get("val")
    return isinstance(val, Tensor) and val.is_floating_point()


def gather(
    name: str, exported: Exported, outputs: Outputs, tokens: tuple[tuple[Token, ...] | None, ...]
) -> Gathered:
    """The diagram of an exported graph."""
    from nbkit.build.importing.patterns import recognise

    phrases = recognise(exported.program.graph)
    reader = Reader(exported=exported, tokens=tokens, fallback=box, phrases=phrases)
    reader.read(outputs.nodes)
    wires, orders = _conclude(reader)
    cells = tidy(reader.cells, wires)
    inputs = [value.wire for value in reader.inputs]
    cells = as_images(cells, inputs, wires, orders)
    frame_attention(cells, wires)
    unify_copies(cells)
    look_for_roles(cells, inputs, wires)
    cells = without_batch(cells, inputs, wires, orders)
    shared = _keys(cells)
    everything = [*inputs, *(w for cell in cells for w in (*cell.ins, *cell.outs))]
    letters = Letters(choose(list({id(w): w for w in everything}.values()), inputs))
    given = [(wire, array_of(wire.atoms, wire.bound, letters)) for wire in inputs]
    remaining = [tuple(a for a in order if wire.has(a)) for wire, order in zip(wires, orders, strict=True)]
    results = [(w, array_of(order, w.bound, letters)) for w, order in zip(wires, remaining, strict=True)]
    diagram, carries = grow(snake(name), cells, 0, given, results, letters)

    def picks(result: Any) -> list[Tensor]:
        leaves = pytree.tree_leaves(result)
        return [leaves[i] for i in outputs.places]

    return Gathered(
        diagram, carries, reader, picks, [*dict.fromkeys(reader.notes), *_copied(carries, shared)]
    )


def _conclude(reader: Reader) -> tuple[list[Wire], list[tuple[Atom, ...]]]:
    """The outputs with one real axis for each dimension."""
    wires: list[Wire] = []
    orders: list[tuple[Atom, ...]] = []
    reader.stack, reader.order = (), (1 << 30,)
    for found in reader.outputs:
        value: Value = reader.value(found)
        for place in range(len(value.dims)):
            value, _ = reader.whole(value, place)
        wires.append(value.wire)
        orders.append(tuple(a for dim in value.dims for a in dim))
    return wires, orders


def _keys(cells: list[Cell]) -> set[tuple[object, ...]]:
    """One key for all uses of one weight; which weights have one."""
    users: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        if cell.kind in ("linear", "embed", "parameter"):
            users.setdefault(cell.weights["weight"].identity, []).append(cell)
    number = 0
    for mine in users.values():
        if len(mine) > 1:
            number += 1
            for cell in mine:
                cell.settings["key"] = f"shared_{number}"
    return {identity for identity, mine in users.items() if len(mine) > 1}


def _copied(carries: dict[str, Carry], shared: set[tuple[object, ...]]) -> list[str]:
    """What to say of weights that the module has once and the diagram several times."""
    count = Counter(carry.identity for carry in carries.values() if carry.identity not in shared)
    names = dict.fromkeys(str(identity[0]) for identity, n in count.items() if n > 1)
    return [f"used more than once, carried as copies: {', '.join(names)}"] if names else []
