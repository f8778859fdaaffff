"""Drawing GPT-2 small and a network of 10,000 operations: time, bytes and elements of the picture, folded and
unrolled, beside torchview.

Targets (A1, A3): the first picture within 100 ms, at most 50 kB where closed and 1,000 elements where open,
time and size of the unrolled picture linear in the number of layers. Each figure is the median of many runs
in one process after a first one. torchview (with Graphviz) is measured where it is installed, on a module of
the same size made of PyTorch's own encoder layers; so is the way of that module through `from_torch`. Run it
by hand on an idle machine:

    python tests/bench/draw.py            # prints one JSON line a case
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from nbkit import Diagram, Fn, block, embed, gelu, linear, norm, skip
from nbkit.components import gpt
from nbkit.draw import svg

if TYPE_CHECKING:
    from torch import nn

SIZES = {"v": 50257, "m": 768, "h": 12, "f": 3072, "x": 1024}
CASES: dict[str, dict[str, object]] = {
    "depth 0": {"depth": 0},
    "depth 1": {"depth": 1},
    "open": {},
    "open, dark": {"theme": "dark"},
}


def model(layers: int) -> Diagram:
    """GPT-2 small with so many layers."""
    return gpt(layers, heads=SIZES["h"]).on(f"N({SIZES['v']})[x={SIZES['x']}]", m=SIZES["m"])


def deep(layers: int = 48, length: int = 25) -> Diagram:
    """Distinct layers, three levels of blocks each: 48 layers of 204 operations."""

    def chain(name: str) -> Fn:
        fn = linear("m -> m") >> gelu
        for _ in range(length - 1):
            fn = fn >> (linear("m -> m") >> gelu)
        return block(name, fn)

    half = skip + (norm("m") >> block("inner", chain("left") >> chain("right")))
    layer = block("layer", block("mixing", half) >> block("mlp", half))
    fn: Fn = embed("v -> m")
    for _ in range(layers):
        fn = fn >> layer
    return (fn >> norm("m") >> linear("m -> v=50")).on("N(50)[x]", m=64)


def median(run: Callable[[], object], times: int) -> float:
    """Milliseconds, after one run that does not count."""
    run()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(seconds), 2)


def measure(
    case: str, layers: int, times: int, d: Diagram | None = None, **options: object
) -> dict[str, object]:
    """One picture."""
    d = model(layers) if d is None else d
    start = time.perf_counter()
    text = svg(d, **options)
    first = round(1e3 * (time.perf_counter() - start), 2)
    return {
        "bench": "draw",
        "case": case,
        "layers": layers,
        "first_ms": first,
        "ms": median(lambda: svg(d, **options), times),
        "bytes": len(text.encode()),
        "elements": text.count("<") - text.count("</"),
    }


def module(layers: int) -> nn.Module:
    """GPT-2 small's size in PyTorch's own layers."""
    from torch import nn

    layer = nn.TransformerEncoderLayer(SIZES["m"], SIZES["h"], SIZES["f"], batch_first=True, norm_first=True)
    return nn.Sequential(
        nn.Embedding(SIZES["v"], SIZES["m"]),
        nn.TransformerEncoder(layer, layers, enable_nested_tensor=False),
        nn.LayerNorm(SIZES["m"]),
        nn.Linear(SIZES["m"], SIZES["v"], bias=False),
    )


def torchview(layers: int, times: int) -> dict[str, object] | None:
    """The same architecture as a hand-written module through torchview and `dot`."""
    if importlib.util.find_spec("torchview") is None:
        return None
    import torch
    from torchview import draw_graph

    net = module(layers)
    tokens = torch.zeros(1, 16, dtype=torch.long)

    def run() -> bytes:
        graph = draw_graph(net, input_data=tokens, device="meta", depth=3)
        return graph.visual_graph.pipe("svg")

    text = run().decode()
    return {
        "bench": "draw",
        "case": "torchview, depth 3",
        "layers": layers,
        "ms": median(run, times),
        "bytes": len(text.encode()),
        "elements": text.count("<") - text.count("</"),
    }


def imported(layers: int, times: int) -> dict[str, object]:
    """The module of torchview's measurement, read by `from_torch` and drawn folded: once, and the drawing."""
    import torch

    import nbkit

    net, tokens = module(layers), torch.zeros(1, 16, dtype=torch.long)
    start = time.perf_counter()
    found = nbkit.from_torch(net, tokens)
    read = time.perf_counter()
    text = found.svg(depth=0)
    first = time.perf_counter()
    return {
        "bench": "draw",
        "case": "from_torch, depth 0",
        "layers": layers,
        "read_ms": round(1e3 * (read - start), 1),
        "first_ms": round(1e3 * (first - read), 2),
        "ms": median(lambda: found.svg(depth=0), times),
        "open_ms": median(found.svg, times),
        "bytes": len(text.encode()),
        "elements": text.count("<") - text.count("</"),
    }


def main() -> None:
    """Prints the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=11)
    times = parser.parse_args().times
    for case, options in CASES.items():
        print(json.dumps(measure(case, 12, times, **options)), flush=True)
    for layers in (12, 24, 48):
        case = measure("unrolled", layers, times, unroll=True)
        print(json.dumps(case), flush=True)
    big = deep()
    cases: dict[str, dict[str, object]] = {"": {}, ", one part open": {"open": "layer_3.mlp"}}
    for name, options in cases.items():
        print(
            json.dumps(measure(f"{big.operations} operations{name}", 48, times, big, **options)), flush=True
        )
    print(json.dumps(measure("one part", 1, times, big["layer_3"])), flush=True)
    print(json.dumps(measure("the same, flat", 48, times, big.expanded())), flush=True)
    print(json.dumps(imported(12, max(times // 3, 3))), flush=True)
    peer = torchview(12, max(times // 3, 3))
    print(json.dumps(peer or {"bench": "draw", "case": "torchview, depth 3", "skipped": "not installed"}))


if __name__ == "__main__":
    main()
