"""From a diagram to classes: one for each block that differs in more than sizes, parts before wholes."""

from __future__ import annotations

from nbkit.build.batches import Batches, batches, inside
from nbkit.build.names import attributes, check_names
from nbkit.build.plan import plan
from nbkit.build.source.boxes import Boxed, boxed
from nbkit.build.source.classes import Class, Made, class_name, doc
from nbkit.build.source.constructors import SETTINGS, constructor, conv_sizes, needed
from nbkit.build.source.dressing import Dressed
from nbkit.build.source.helpers import HELPERS
from nbkit.build.source.inline import Statement, inlined, shortened
from nbkit.build.source.parameters import Names, Size, parameters
from nbkit.build.source.ties import Place, Ties, deeper, tie
from nbkit.build.weights import Weights, weights
from nbkit.language import ops
from nbkit.language.diagram import Diagram, Node
from nbkit.language.parts import Repeat, Stages

_TAKEN = {*HELPERS, "F", "None", "True", "False"}


class Part:
    """What is known of a diagram before its class is written: its parts, its weights, its forward."""

    def __init__(self, diagram: Diagram, place: Place) -> None:
        check_names(diagram)
        self.diagram = diagram
        self.place = place
        self.attributes = attributes(diagram)
        self.parts: dict[str, list[Made]] = {}
        self.held: dict[str, Weights] = {}
        self.boxes: dict[str, Boxed] = {}
        self.forward: Dressed

    def sizes(self) -> tuple[Names, Names]:
        """The names of the sizes that the class takes, and of those that only its one convolution makes."""
        spoken = self.forward.spoken()
        if len(self.held) == 1 and not self.parts and not self.boxes and not spoken:
            (held,) = self.held.values()
            if held.module == "Conv" and (names := conv_sizes(held))[0]:
                return names
        found: list[Size] = []
        for node in self.diagram.nodes:
            found += needed(self.held[node.id]) if node.id in self.held else []
            for made in self.parts.get(node.id, ()):
                found += [size for _, size in made.takes if size[0] not in SETTINGS]
        return parameters(self.diagram, [*found, *spoken], self.attributes.values()), {}


class Writer:
    """Writes the classes of a diagram and of all its parts."""

    def __init__(self, ties: Ties) -> None:
        self.ties = ties
        self.classes: dict[str, Class] = {}
        self.imports: set[str] = set()

    def write(
        self, diagram: Diagram, prefix: str = "", place: Place = (), given: Batches | None = None
    ) -> Made:
        """The class of a diagram; `prefix` begins the paths of its nodes, `place` is that of its module."""
        part, fronts = Part(diagram, place), batches(diagram, given)
        for node in diagram.nodes:
            at, bodies = (*place, part.attributes[node.id]), node.op.insides()
            fed = inside(node.op, tuple(fronts[wire] for wire in node.ins)) if bodies else ()
            for number, ((segment, body), mine) in enumerate(zip(bodies, fed, strict=True)):
                made = self.write(body, f"{prefix}{node.id}{segment}", deeper(node.op, at, number), mine)
                part.parts.setdefault(node.id, []).append(made)
            if isinstance(node.op, ops.Torch) and not node.op.name.startswith("aten."):
                part.boxes[node.id] = box = boxed(node.op, f"{prefix}{node.id}")
                self.imports |= {box.imported} - {""}
            elif not bodies and (learned := weights(diagram, node)) is not None:
                part.held[node.id] = learned
        part.forward = forward = Dressed(diagram, part.attributes, part.held, prefix, batches=fronts)
        for step in plan(diagram).steps:
            forward.write(step)
        forward.done()
        names, made_names = part.sizes()
        takes = tuple((name, size) for each in (names, made_names) for size, name in each.items())
        inner = [made for copies in part.parts.values() for made in copies]
        one_batch = forward.one_batch or any(made.one_batch for made in inner)
        lent = tuple(
            dict.fromkeys([*(b.given for b in part.boxes.values()), *(g for m in inner for g in m.given)])
        )
        lent = tuple(name for name in lent if name)
        text = Class(
            class_name(diagram.name),
            (*lent, *(name if prefix else f"{name}={size[1]}" for name, size in takes)),
            doc(diagram, names, made_names or names, one_batch=one_batch, whole=not prefix),
            tuple(self.init(part, names, made_names)),
            tuple(forward.inputs),
            tuple(shortened(inlined(forward.named(names)), forward.fresh)),
        )
        return Made(self.keep(text, prefix), takes, one_batch, lent)

    def init(self, part: Part, names: Names, made_names: Names) -> list[Statement]:
        """The statements of `__init__`: sizes that the forward reads, parts and weights, ties."""
        kept = [names[size] for size in part.forward.spoken() if size in names]
        some = [kept[start : start + 4] for start in range(0, len(kept), 4)]
        lines = [Statement(f"{', '.join(f'self.{n}' for n in each)} = {', '.join(each)}") for each in some]
        if part.forward.keeps_like:  # it says which kind of numbers new arrays have
            lines.append(Statement('self.register_buffer("like", torch.empty(0), persistent=False)'))
        for node in part.diagram.nodes:
            attribute = part.attributes[node.id]
            if node.id in part.parts:
                calls = [made.call(names) for made in part.parts[node.id]]
                lines.append(Statement(f"self.{attribute} = {_copies(node, calls)}", nodes=(node.id,)))
            elif node.id in part.boxes:
                lines.append(Statement(f"self.{attribute} = {part.boxes[node.id].call}", nodes=(node.id,)))
            elif node.id in part.held:
                codes = constructor(
                    attribute,
                    part.held[node.id],
                    names,
                    made=made_names or names,
                    transposed=(*part.place, attribute) in self.ties.transposed,
                    turned=self.ties.turned.get((*part.place, attribute), ""),
                    norm=part.forward.norms.get(node.id, ""),
                )
                lines += [Statement(code, nodes=(node.id,)) for code in codes]
        return [*lines, *(Statement(c) for users in self.ties.within(part.place) for c in tie(users))]

    def keep(self, text: Class, prefix: str) -> str:
        """The name of the class, which is a new one unless one of the same text is there."""
        wanted, number = text.name, 1
        while text.name in self.classes or text.name in _TAKEN:
            same = self.classes.get(text.name)
            if same is not None and same.key() == text.key():
                same.prefixes.append(prefix)
                return text.name
            number += 1
            text.name = f"{wanted}{number}"
        text.prefixes.append(prefix)
        self.classes[text.name] = text
        return text.name


def _copies(node: Node, calls: list[str]) -> str:
    """What makes a block, or the list of the copies of a repetition."""
    if isinstance(node.op, Stages):
        return f"nn.ModuleList([{', '.join(calls)}])"
    if isinstance(node.op, Repeat) and not node.op.tied:
        return f"nn.ModuleList({calls[0]} for _ in range({int(node.op.n)}))"
    return calls[0]
