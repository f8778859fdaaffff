"""From a diagram to a program: the generated forward of every block, and the parts that its module holds.

Three stages, of which only the last (`modules.py`) needs torch: a plan says which kernels compute which ops,
a program is that plan written as straight-line Python, and modules run it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from nbkit.build.batches import Batches, batches, inside
from nbkit.build.emit import emit
from nbkit.build.forward import Forward
from nbkit.build.names import attributes, check_names, class_name
from nbkit.build.plan import Plan, plan
from nbkit.build.weights import Weights, weights
from nbkit.language.diagram import Diagram
from nbkit.language.ops import Op, Torch
from nbkit.language.parts import Repeat, Stages


@dataclass(frozen=True)
class Part:
    """A submodule: weights, a torch box, or the program of a block, `n` times where it is repeated (once if
    `tied`); of stages, a program each.
    """

    path: str
    inside: Weights | Program | Torch | tuple[Program, ...]
    n: int | None = None
    tied: bool = False


@dataclass(frozen=True)
class Program:
    """The generated forward of one diagram, and its parts by attribute name."""

    diagram: Diagram
    plan: Plan
    name: str
    text: str
    parts: dict[str, Part]
    keeps_like: bool = False  # whether the text speaks of `self.like`

    def texts(self) -> list[str]:
        """The texts of this program and of all programs inside it, inner ones first, each once."""
        found: dict[str, None] = {}
        for part in self.parts.values():
            inner = part.inside if isinstance(part.inside, tuple) else (part.inside,)
            for each in inner:
                if isinstance(each, Program):
                    found.update(dict.fromkeys(each.texts()))
        body = "".join(f"    {line}\n" for line in self.text.splitlines())
        found[f"class {self.name}(DiagramModule):\n{body}"] = None
        return list(found)


@lru_cache(maxsize=256)
def program(diagram: Diagram, *, peepholes: bool = True) -> Program:
    """The program of a diagram; the same diagram gives the same program."""
    return _program(diagram, peepholes, "")


def _program(diagram: Diagram, peepholes: bool, prefix: str, given: Batches | None = None) -> Program:
    check_names(diagram)
    names = attributes(diagram)
    parts: dict[str, Part] = {}
    held: dict[str, Weights] = {}
    fronts = batches(diagram, given)
    for node in diagram.nodes:
        op, path = node.op, f"{prefix}{names[node.id]}"
        bodies = op.insides()
        fed = inside(op, tuple(fronts[wire] for wire in node.ins)) if bodies else ()
        made = [
            _program(body, peepholes, f"{path}{_segment(op, segment)}", mine)
            for (segment, body), mine in zip(bodies, fed, strict=True)
        ]
        if isinstance(op, Stages):
            parts[names[node.id]] = Part(path, tuple(made))
        elif isinstance(op, Repeat):
            parts[names[node.id]] = Part(path, made[0], op.n, op.tied)
        elif made:
            parts[names[node.id]] = Part(path, made[0])
        elif isinstance(op, Torch):
            parts[names[node.id]] = Part(path, op)
        elif (learned := weights(diagram, node)) is not None:
            held[node.id] = learned
            parts[names[node.id]] = Part(path, learned)
    steps = plan(diagram, peepholes=peepholes)
    forward = Forward(diagram, names, held, prefix, batches=fronts)
    for step in steps.steps:
        emit(step.op, forward, step)
    text = forward.finish()
    return Program(diagram, steps, class_name(diagram.name), text, parts, forward.keeps_like)


def _segment(op: Op, segment: str) -> str:
    """What stands between a module's name and those of its parts: copies are numbered, positions are not."""
    numbered = isinstance(op, Stages) or (isinstance(op, Repeat) and not op.tied)
    return segment if numbered else "."
