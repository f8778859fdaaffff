"""From a program to torch: a tree of modules whose names are the diagram's paths.

Parameters live in torch's own modules (`holders.py`), so that state dicts and tools are the usual ones. Each
block's forward is generated text, compiled once and registered with `linecache`: tracebacks, debuggers and
profilers show it.
"""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import nn

from nbkit.build import boxes, runtime
from nbkit.build.explain import explain
from nbkit.build.holders import MAKERS, TransposedLinear, TurnedLinear
from nbkit.build.program import Part, Program, program
from nbkit.build.weights import Keys, Weights, sizes_needed
from nbkit.language.diagram import Diagram
from nbkit.language.errors import BindingError
from nbkit.language.ops import Torch


class DiagramModule(nn.Module):
    """A torch module that is a diagram; read `diagram`, `plan` and `code` (the generated forward)."""

    program: ClassVar[Program]

    @property
    def diagram(self) -> Diagram:
        """The diagram, with the sizes that it was built for."""
        return self.program.diagram

    @property
    def plan(self) -> str:
        """The steps of the forward pass, as text; `a + b => kernel` where several ops became one kernel."""
        return str(self.program.plan)

    @property
    def code(self) -> str:
        """The generated Python of this module and of all blocks inside it."""
        return "\n\n".join(self.program.texts())

    def extra_repr(self) -> str:
        inputs, outputs = (", ".join(map(str, side)) for side in (self.diagram.inputs, self.diagram.outputs))
        return f"{inputs} -> {outputs}"


class _Whole(DiagramModule):
    """The outermost module: explains, in the diagram's words, why inputs did not fit."""

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        try:
            return super().__call__(*inputs, **named)
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            reason = explain(self.diagram, inputs) if not named else None
            if reason is None:
                raise
            raise reason from error


def build_torch(
    diagram: Diagram, seed: int | None = None, *, peepholes: bool = True, **sizes: int
) -> DiagramModule:
    """A torch module that is the diagram; submodules have the diagram's paths as names.

    `sizes` bind free sizes; those that no parameter needs may stay open and are read off the inputs. `seed`
    makes the initial weights reproducible and leaves torch's generator alone. Without `peepholes` every op is
    computed by itself; weights and results are the same. `BindingError` if a parameter needs a size that is
    not given.

    >>> from nbkit import linear, relu
    >>> net = (linear("m -> f=32") >> relu >> linear("f -> n=10", "out")).on("x m=64").torch(seed=0)
    >>> net(torch.zeros(5, 3, 64)).shape
    torch.Size([5, 3, 10])
    >>> [name for name, _ in net.named_parameters()]
    ['linear.weight', 'linear.bias', 'out.weight', 'out.bias']
    """
    bound = diagram.at(**sizes)
    needed = sizes_needed(bound)
    if needed:
        missing = ", ".join(sorted(needed))
        given = f"; given {', '.join(f'{name}={value}' for name, value in sizes.items())}" if sizes else ""
        raise BindingError(
            f"{missing} {'is' if len(needed) == 1 else 'are'} unbound; "
            f"the diagram has free sizes {', '.join(bound.free())}{given}.",
            partial=(bound, tuple(i for i, w in enumerate(bound.wires) if w.type.free() & needed)),
        )
    whole = program(bound, peepholes=peepholes)
    with _seeded(seed):
        return _module(whole, _Shared(), base=_Whole)


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    if seed is None:
        yield
        return
    running = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    devices = range(torch.cuda.device_count()) if running else range(0)
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(
            seed
        )  # not torch.manual_seed: that would seed devices yet to come
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        yield


class _Shared:
    """The weights that have a key, and who holds them."""

    def __init__(self) -> None:
        self.keys = Keys()
        self.weights: dict[str, Any] = {}  # parameters, or buffers


def _module(whole: Program, shared: _Shared, base: type[DiagramModule] = DiagramModule) -> DiagramModule:
    members = {"program": whole, "forward": _compiled(whole.name, whole.text), "__module__": "nbkit.build"}
    module: DiagramModule = type(whole.name, (base,), members)()
    if whole.keeps_like:
        module.register_buffer("like", torch.empty(0), persistent=False)
    for name, part in whole.parts.items():
        module.add_module(name, _part(part, shared))
    return module


def _part(part: Part, shared: _Shared) -> nn.Module:
    if isinstance(part.inside, Weights):
        return _learned(part.path, part.inside, shared)
    if isinstance(part.inside, Torch):
        return boxes.make(part.inside, part.path)
    if isinstance(part.inside, tuple):
        return nn.ModuleList(_module(each, shared) for each in part.inside)
    if part.n is None or part.tied:
        return _module(part.inside, shared)
    inside = part.inside
    return nn.ModuleList(_module(inside, shared) for _ in range(part.n))


@lru_cache(maxsize=1024)
def _compiled(name: str, text: str) -> Callable[..., Any]:
    """The forward that a text defines; the same text is compiled once."""
    filename = f"<nbkit {name} {hashlib.sha256(text.encode()).hexdigest()[:8]}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    words, scope = {**runtime.WORDS, "__name__": runtime.__name__}, dict[str, Any]()
    exec(compile(text, filename, "exec"), words, scope)  # noqa: S102  # our own words and checked names only
    forward: Callable[..., Any] = scope["forward"]
    forward.__qualname__ = f"{name}.forward"
    return forward


def _learned(path: str, held: Weights, shared: _Shared) -> nn.Module:
    """The torch module that holds what an op learns."""
    shapes = {name: tuple(int(size) for size in shape) for name, shape in held.shapes.items()}
    sharing = shared.keys.claim(path, held)
    if sharing == "transposed":
        module: nn.Module = TransposedLinear(shared.weights[held.key], bias="bias" in shapes)
    elif sharing == "turned":
        _, first = shared.keys.first[held.key]
        groups = int(held.groups) if held.module == "Grouped" else 0
        module = TurnedLinear(shared.weights[held.key], first.module, groups)
    else:
        module = MAKERS[held.module](held, shapes)
    if sharing == "same" and held.buffer:
        module.register_buffer("weight", shared.weights[held.key])
    elif sharing == "same":
        module.register_parameter("weight", shared.weights[held.key])
    elif sharing == "own" and held.key:
        shared.weights[held.key] = module.weight
    return module.requires_grad_(False) if held.frozen else module
