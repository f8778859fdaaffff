"""How much of each model the import understands, how exact it is, its cost beside torch.export and torchinfo.

For every model: calls in torch's graph, calls understood, opaque ones; nodes of the diagram; the greatest
difference between the module and `from_torch(m).torch()` in evaluation mode; seconds of bare torch.export
(the better of two), of the export inside the import, of our own part, of torchinfo's summary. By hand, on an
idle machine:

    python tests/bench/importing.py               # small models, a table
    python tests/bench/importing.py gpt2-small    # the real size: 124 million parameters
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from nbkit import from_torch
from nbkit.build.importing.exporting import arguments, twin
from tests.build.importing import hub, models
from tests.build.importing.helpers import first, shaken

Made = tuple[nn.Module, Any]


def _tokens(rows: int, length: int) -> torch.Tensor:
    return torch.randint(0, rows, (2, length))


def _image(size: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, size, size)


def _encoder() -> Made:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    return nn.TransformerEncoder(layer, 2), torch.randn(2, 7, 16)


SMALL: dict[str, Callable[[], Made]] = {
    "nn.TransformerEncoder": _encoder,
    "GPT-2 (nanoGPT)": lambda: (models.GPT2(), _tokens(101, 16)),
    "GPT-2, by hand": lambda: (models.GPT2(fused=False), _tokens(101, 16)),
    "ResNet-18": lambda: (models.ResNet18(8, 10), _image()),
    "U-Net": lambda: (models.UNet(), _image()),
    "U-Net, nearest": lambda: (models.UNet(nearest=True), _image()),
    "LSTM classifier": lambda: (models.LSTMClassifier(), _tokens(50, 9)),
    "ViT": lambda: (models.ViT(), _image(16)),
    **{f"transformers {name}": make for name, make in hub.MODELS.items()},
}
REAL: dict[str, Callable[[], Made]] = {
    "gpt2-small": lambda: (models.GPT2(50257, 1024, 12, 12, 768), _tokens(50257, 1024)[:1]),
    "resnet18": lambda: (models.ResNet18(), _image(224)),
}


def measure(make: Callable[[], Made]) -> list[str]:
    torch.manual_seed(0)
    module, example = make()
    module = shaken(module)
    args, named = arguments(example)
    bare = min(_seconds(lambda: _export(module, args, named)) for _ in range(2))
    imported = from_torch(module, example)
    coverage = imported.coverage
    with torch.no_grad():
        wanted = first(module(*args, **named))
        found = imported.torch().eval()(*args, *named.values())
    difference = float((found - wanted).abs().max())
    nodes = sum(1 for _ in imported.diagram.walk())
    return [
        str(coverage.calls),
        str(coverage.understood),
        str(sum(coverage.opaque.values())),
        str(nodes),
        f"{difference:.1e}",
        f"{bare:.2f}",
        f"{coverage.export_seconds:.2f}",
        f"{coverage.seconds:.3f}",
        f"{_torchinfo(module, args, named):.2f}",
    ]


def _export(module: nn.Module, args: Any, named: Any) -> None:
    torch.export.export(twin(module).train(), args, named or None, strict=False)


def _torchinfo(module: nn.Module, args: Any, named: Any) -> float:
    import torchinfo

    data = dict(named) if named else list(args)
    return _seconds(lambda: torchinfo.summary(twin(module), input_data=data, verbose=0))


def _seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


HEAD = (
    "model", "calls", "understood", "opaque", "nodes", "difference", "export s", "our export s",
    "our reading s", "torchinfo s",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", help=f"of the real size: {', '.join(REAL)}")
    asked = parser.parse_args().models
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(" | ".join(HEAD))
    for name, make in ({n: REAL[n] for n in asked} if asked else SMALL).items():
        print(" | ".join([name, *measure(make)]), flush=True)


if __name__ == "__main__":
    main()
