"""`from_torch`: a torch module as a diagram with the module's weights."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nbkit.build.importing import rules as _rules
from nbkit.build.importing.cells import Carry
from nbkit.build.importing.exporting import run_export, twin
from nbkit.build.importing.gathering import Gathered, chosen_outputs, gather
from nbkit.language.axes import Token, parse_bundle
from nbkit.language.diagram import Diagram
from nbkit.language.errors import DiagramError

__all__ = ["Coverage", "Imported", "from_torch"]
_ = _rules  # imported for what it registers


@dataclass(frozen=True)
class Coverage:
    """How much of a module's graph a diagram expresses; `str` says it in one line."""

    calls: int
    understood: int
    opaque: Mapping[str, int]
    export_seconds: float
    seconds: float
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        boxes = ", ".join(f"{name} ×{n}" for name, n in self.opaque.items())
        line = f"{self.understood} of {self.calls} calls understood"
        return "; ".join([line, *([f"opaque: {boxes}"] if boxes else []), *self.notes])


@dataclass(frozen=True)
class Imported:
    """A diagram that was read off a torch module: `diagram`, `coverage`, and the weights that it carries.

    The weights are the module's own: `torch()` and `state_dict()` copy what they are at that moment.
    """

    diagram: Diagram
    coverage: Coverage
    carries: Mapping[str, Carry] = field(repr=False)
    training: bool = field(default=True, repr=False)

    def __str__(self) -> str:
        return f"{self.diagram}\n{self.coverage}"

    def state_dict(self) -> dict[str, Tensor]:
        """The weights by the diagram's paths, copied now."""
        return {path: carry.read().clone() for path, carry in self.carries.items()}

    def torch(self, *, peepholes: bool = True, **sizes: int) -> Any:
        """The diagram as a torch module with the module's weights, in evaluation mode if the module was.

        `DiagramError` if a weight of the diagram has none in the module.
        """
        net = self.diagram.torch(seed=0, peepholes=peepholes, **sizes)
        state = {path: carry.read() for path, carry in self.carries.items()}
        kinds = {(t.dtype, t.device) for t in state.values() if t.is_floating_point()}
        if len(kinds) == 1:
            dtype, device = kinds.pop()
            net = net.to(device=device, dtype=dtype)
        mine = dict(net.state_dict(keep_vars=True))
        missing = [p for p in mine if p not in state and not p.endswith("num_batches_tracked")]
        if missing:
            raise DiagramError(f"from_torch: nothing was carried over for {', '.join(missing[:5])}")
        with torch.no_grad():
            for path, tensor in state.items():
                mine[path].copy_(tensor.reshape(mine[path].shape))
                if isinstance(mine[path], nn.Parameter):
                    mine[path].requires_grad_(self.carries[path].trainable)
        return net.train(self.training)

    # -- ways out, those of the diagram ------------------------------------------------------------------

    def svg(self, **options: Any) -> str:
        """The picture; see `Diagram.svg`."""
        return self.diagram.svg(**options)

    def save(self, path: str | Path, **options: Any) -> None:
        """Writes the picture to a file; see `Diagram.save`."""
        self.diagram.save(path, **options)

    def source(self, **sizes: int) -> str:
        """Stand-alone PyTorch, whose state dict is that of `state_dict()`; see `Diagram.source`."""
        return self.diagram.source(**sizes)

    def dot(self, **options: Any) -> str:
        """A graph for Graphviz; see `Diagram.dot`."""
        return self.diagram.dot(**options)

    def tikz(self, **options: Any) -> str:
        """The picture for LaTeX; see `Diagram.tikz`."""
        return self.diagram.tikz(**options)

    def equations(self, **options: Any) -> Any:
        """The diagram in index notation; see `Diagram.equations`."""
        return self.diagram.equations(**options)

    def reverse(self) -> Any:
        """The backward pass; see `Diagram.reverse`."""
        return self.diagram.reverse()

    def cost(self, *, itemsize: int = 4) -> Any:
        """Parameters, FLOPs and bytes; see `Diagram.cost`."""
        return self.diagram.cost(itemsize=itemsize)

    def listing(self) -> str:
        """The diagram as text; see `Diagram.listing`."""
        return self.diagram.listing()

    def json(self, **options: Any) -> str:
        """The diagram as JSON, without weights; see `Diagram.json`."""
        return self.diagram.json(**options)

    def __getitem__(self, path: str) -> Diagram:
        return self.diagram[path]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle = dict(self.diagram._repr_mimebundle_())
        line = f"<div style='font: 12px sans-serif; opacity: 0.75'>{escape(str(self.coverage))}</div>"
        if "text/html" in bundle:
            bundle["text/html"] += line
        elif "image/svg+xml" in bundle:
            bundle["text/html"] = bundle["image/svg+xml"] + line
        bundle["text/plain"] = str(self)
        return bundle


SINGLE = "a batch of one is an axis of its own: give an example of two or more, and any number goes in"


def from_torch(
    module: nn.Module, example: object, axes: str = "", *, output: str | int | None = None,
    check: bool = False, training: bool | None = None,
) -> Imported:  # fmt: skip
    """A torch module as a diagram with its weights: `nk.from_torch(model, torch.randn(2, 16, 64))`.

    `example` is a tensor, a tuple of arguments, or a dict of named ones. The module is not changed: a copy
    that shares its weights is exported (`torch.export`), in training mode so that dropout is in the diagram
    (`training=False` exports what it does in evaluation). Blocks and their names are those of the submodules;
    equal neighbours become one repetition. Calls that the language has no words for become opaque boxes, and
    `coverage` counts them.

    Static, taken from the example: every size but that of the leading batch, which stays unnamed (any number
    of leading dimensions goes in) where no operation works on it (give an example of two or more: torch does
    not tell a batch of one from an axis that is summed or repeated); the branches that the module's Python
    takes; what depends on sizes and constants alone (position indices, masks). `axes` names the dimensions of
    the inputs, as in "b x=16 m" (inputs separated by commas): an axis without a size stays open where torch
    can keep it open; a mask is then taken to be the relation that it is in the example, a size that divides
    there to divide always, and numbers that are computed from an open size are refused. A module that returns
    a dict gives its first tensor, or the one that `output` names.

    `check` runs the module (a copy of it) and the diagram's module on the example in evaluation mode.
    `DiagramError` if torch cannot export the module, or if the check finds a difference.

    >>> import torch
    >>> from torch import nn
    >>> import nbkit as nk
    >>> model = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 4))
    >>> imported = nk.from_torch(model, torch.randn(5, 8), check=True)
    >>> print(imported)
    sequential: R[m=8] -> R[o=4]
    3 of 3 calls understood
    """
    tokens = _tokens(axes)
    exported = run_export(module, example, tokens, training=training)
    begun = time.perf_counter()
    nodes = chosen_outputs(exported, output)
    gathered: Gathered = gather(type(module).__name__, exported, nodes, tokens)
    taken = time.perf_counter() - begun
    reader = gathered.reader
    total = reader.understood + sum(reader.opaque.values())
    notes = tuple(gathered.notes) + (() if exported.training else ("exported in evaluation mode",))
    if any(axis.name == "b" and axis.size == 1 for array in gathered.diagram.inputs for axis in array):
        notes += (SINGLE,)
    opaque = dict(sorted(Counter(reader.opaque).items()))
    coverage = Coverage(total, reader.understood, opaque, exported.seconds, taken, notes)
    imported = Imported(gathered.diagram, coverage, gathered.carries, module.training)
    if check:
        _check(module, imported, exported.args, exported.named, gathered.picks)
    return imported


def _tokens(axes: str) -> tuple[tuple[Token, ...] | None, ...]:
    if not axes:
        return ()
    return tuple(parse_bundle(part.strip()) for part in axes.split(","))


def _check(module: nn.Module, imported: Imported, args: Any, named: Any, picks: Any) -> None:
    """`DiagramError` unless the module and its diagram agree on the example, in evaluation mode."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = picks(twin(module).eval()(*args, **named))
        tensors = [x for x in (*args, *named.values()) if isinstance(x, Tensor)]
        found = imported.torch().eval()(*tensors)
    found = found if isinstance(found, tuple) else (found,)
    for number, (mine, theirs) in enumerate(zip(found, wanted, strict=True)):
        if mine.shape != theirs.shape:
            raise DiagramError(
                f"from_torch(check=True): output {number + 1} has shape {tuple(mine.shape)}, "
                f"the module gives {tuple(theirs.shape)}"
            )
        difference = float((mine - theirs).abs().max()) if mine.numel() else 0.0
        bound = 1e-4 * max(1.0, float(theirs.abs().max()))
        if not difference <= bound:
            where = first_difference(module, imported, args, named)
            raise DiagramError(
                f"from_torch(check=True): output {number + 1} differs from the module's by {difference:.3g} "
                f"(at most {bound:.3g} is rounding){where}\n"
                "  the diagram is wrong here; please report it with the module, "
                "or import its parts one by one"
            )


def first_difference(module: nn.Module, imported: Imported, args: Any, named: Any) -> str:
    """` first in 'blocks.0.attn'`: the first submodule of the same path that gives something else."""
    theirs: dict[str, Tensor] = {}
    mine: dict[str, Tensor] = {}

    def keep(into: dict[str, Tensor], path: str) -> Any:
        def hook(_module: nn.Module, _args: Any, out: Any) -> None:
            if isinstance(out, Tensor):
                into.setdefault(path, out.detach())

        return hook

    copy, net = twin(module).eval(), imported.torch().eval()
    for path, part in copy.named_modules():
        part.register_forward_hook(keep(theirs, path))
    for path, part in net.named_modules():
        part.register_forward_hook(keep(mine, path))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copy(*args, **named)
        net(*(x for x in (*args, *named.values()) if isinstance(x, Tensor)))
    for path, out in theirs.items():
        match = next((p for p in mine if p and (p == path or path.endswith(f".{p}"))), None)
        if match is None or mine[match].numel() != out.numel():
            continue
        ordered = (mine[match].flatten().sort().values, out.flatten().sort().values)
        if not torch.allclose(*ordered, rtol=1e-3, atol=1e-4):
            return f", first in '{match}'"
    return ""
