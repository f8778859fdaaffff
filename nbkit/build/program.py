"""From a diagram to a program: the generated forward of every block, and the parts that its module holds.

Three stages, of which only the last (`modules.py`) needs torch: a plan says which kernels compute which ops,
a program is that plan written as straight-line Python, and modules run it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from nbkit.build.emit import emit
from nbkit.build.forward import Forward
from nbkit.build.names import attributes, check_names, class_name
from nbkit.build.plan import Plan, plan
from nbkit.build.weights import Weights, weights
from nbkit.language.diagram import Diagram
from nbkit.language.parts import Block, Repeat


@dataclass(frozen=True)
class Part:
    """A submodule: weights, or the program of a block, `n` times where it is repeated (once if `tied`)."""

    path: str
    inside: Weights | Program
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

    def texts(self) -> list[str]:
        """The texts of this program and of all programs inside it, inner ones first, each once."""
        found: dict[str, None] = {}
        for part in self.parts.values():
            if isinstance(part.inside, Program):
                found.update(dict.fromkeys(part.inside.texts()))
        body = "".join(f"    {line}\n" for line in self.text.splitlines())
        found[f"class {self.name}(DiagramModule):\n{body}"] = None
        return list(found)


@lru_cache(maxsize=256)
def program(diagram: Diagram, *, peepholes: bool = True) -> Program:
    """The program of a diagram; the same diagram gives the same program."""
    return _program(diagram, peepholes, "")


def _program(diagram: Diagram, peepholes: bool, prefix: str) -> Program:
    check_names(diagram)
    names = attributes(diagram)
    parts: dict[str, Part] = {}
    held: dict[str, Weights] = {}
    for node in diagram.nodes:
        path = f"{prefix}{names[node.id]}"
        if isinstance(node.op, Block):
            parts[names[node.id]] = Part(path, _program(node.op.body, peepholes, f"{path}."))
        elif isinstance(node.op, Repeat):
            deeper = f"{path}." if node.op.tied else f"{path}.*."
            body = _program(node.op.body, peepholes, deeper)
            parts[names[node.id]] = Part(path, body, node.op.n, node.op.tied)
        elif (learned := weights(diagram, node)) is not None:
            held[node.id] = learned
            parts[names[node.id]] = Part(path, learned)
    steps = plan(diagram, peepholes=peepholes)
    forward = Forward(diagram, names, held, prefix)
    for step in steps.steps:
        emit(step.op, forward, step)
    return Program(diagram, steps, class_name(diagram.name), forward.finish(), parts)
