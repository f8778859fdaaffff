"""Running generated source, and comparing it with the module that `torch()` builds."""

from __future__ import annotations

import linecache
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nbkit import Diagram
from nbkit.build import build_torch
from nbkit.build.source import source_lines
from nbkit.components import catalogue

SIZES = {"b": 2, "c": 4, "f": 6, "h": 2, "k": 4, "m": 8, "v": 11, "x": 8, "y": 5}
RULES = "E,F,I,UP,B,SIM,N"


def bound(name: str) -> Diagram:
    """A diagram of the catalogue, all sizes small numbers."""
    diagram = catalogue()[name]()
    return diagram.at(**{size: SIZES.get(size, 6) for size in diagram.free()})


def namespace(text: str) -> dict[str, Any]:
    """What a program defines."""
    linecache.cache["<source>"] = (len(text), None, text.splitlines(keepends=True), "<source>")
    scope: dict[str, Any] = {"__name__": "generated"}
    exec(compile(text, "<source>", "exec"), scope)  # noqa: S102  # what the test is about
    return scope


def model(diagram: Diagram, **sizes: int) -> nn.Module:
    """The module that the source of a diagram defines."""
    program = source_lines(diagram, **sizes)
    made: nn.Module = namespace(str(program))[program.name]()
    return made


def batches(diagram: Diagram) -> list[tuple[int, ...]]:
    """The leading dimensions that the source says it takes."""
    one = "At most one batch dimension" in diagram.source()
    return [(), (3,)] if one else [(), (3,), (2, 3)]


def inputs(diagram: Diagram, batch: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    """Random inputs of a diagram whose sizes are all bound."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for array in diagram.inputs:
        shape = (*batch, *(int(axis.size) for axis in array for _ in range(axis.rank)))
        if array.bound is not None:
            found.append(torch.randint(int(array.bound), shape, generator=generator))
        else:
            found.append(torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_())
    return found


def assert_same(diagram: Diagram) -> None:
    """The source of a diagram has the keys, shapes, outputs and gradients of `torch()`."""
    net, mine = build_torch(diagram, seed=1).double(), model(diagram).double()
    state = net.state_dict()
    assert list(state) == list(mine.state_dict()), diagram.source()
    assert [v.shape for v in state.values()] == [v.shape for v in mine.state_dict().values()]
    mine.load_state_dict(state)
    assert [name for name, _ in net.named_parameters()] == [name for name, _ in mine.named_parameters()]
    assert [p.requires_grad for p in net.parameters()] == [p.requires_grad for p in mine.parameters()]
    for batch in batches(diagram):
        for training in (True, False):
            net.train(training), mine.train(training)
            results = []
            for module in (net, mine):
                torch.manual_seed(0)
                leaves = inputs(diagram, batch)
                try:
                    results.append(_results(module, leaves))
                except ValueError as error:
                    if "more than 1 value per channel" not in str(error):
                        raise
                    results.append([torch.zeros(())])  # torch refuses such a batch norm; so must the source
            for found, expected in zip(results[1], results[0], strict=True):
                torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10, equal_nan=True)
    for name, buffer in net.named_buffers():
        torch.testing.assert_close(dict(mine.named_buffers())[name], buffer)


def _results(net: nn.Module, leaves: list[Tensor]) -> list[Tensor]:
    """Outputs, and all gradients of a scalar made of them."""
    outs = net(*leaves)
    outs = outs if isinstance(outs, tuple) else (outs,)
    real = [out for out in outs if out.requires_grad]
    wanted = [x for x in (*leaves, *net.parameters()) if x.requires_grad]
    if not real or not wanted:
        return [out.detach() for out in outs]
    scalar = sum(
        (out * torch.linspace(0.5, 1.5, out.numel(), dtype=out.dtype).view(out.shape)).sum() for out in real
    )
    gradients = torch.autograd.grad(scalar, wanted, allow_unused=True, materialize_grads=True)
    return [*(out.detach() for out in outs), *gradients]


def ruff(folder: Path, *command: str) -> str:
    """What ruff says of the programs in a folder; nothing if they are clean."""
    program = Path(sys.executable).parent / "ruff"
    done = subprocess.run(
        [program, *command, "--isolated", "--line-length", "100", "--target-version", "py311", str(folder)],
        capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr
