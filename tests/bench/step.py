"""One training step (forward and backward) of a compiled 4-layer transformer against a hand-written one.

Both do the same: pre-norm blocks, multi-head self-attention through F.scaled_dot_product_attention with
separate Q, K, V maps, GELU MLP; the weights are copied, the gradients compared first. Steps alternate, each
pair in random order; the figure is the median of the paired ratios of CPU time. Target: ≤ 1.03. By hand, on
an idle machine:

    python tests/bench/step.py            # prints one JSON line a size
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbkit import Diagram, block, diagram, einsum, gelu, linear, norm, rename, scale, skip, softmax

SIZES = {
    "toy": {"m": 64, "h": 4, "k": 16, "f": 256, "x": 16, "batch": 32},
    "small": {"m": 128, "h": 4, "k": 32, "f": 512, "x": 64, "batch": 16},
    "medium": {"m": 256, "h": 8, "k": 32, "f": 1024, "x": 128, "batch": 8},
}
LAYERS = 4


class Attention(nn.Module):
    def __init__(self, m: int, h: int, k: int) -> None:
        super().__init__()
        self.h, self.k = h, k
        self.q, self.key, self.v = (nn.Linear(m, h * k, bias=False) for _ in range(3))
        self.o = nn.Linear(h * k, m, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q = self.q(x).view(b, t, self.h, self.k).transpose(1, 2)  # b h t k
        k = self.key(x).view(b, t, self.h, self.k).transpose(1, 2)
        v = self.v(x).view(b, t, self.h, self.k).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.o(y.transpose(1, 2).reshape(b, t, self.h * self.k))


class Layer(nn.Module):
    def __init__(self, m: int, h: int, k: int, f: int) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(m), Attention(m, h, k), nn.LayerNorm(m)
        self.up, self.down = nn.Linear(m, f), nn.Linear(f, m)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self, m: int, h: int, k: int, f: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(m, h, k, f) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(m)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


def compiled(**sizes: int) -> Diagram:
    """The same transformer in the diagram language."""

    @diagram("y k, x k, x k -> y k")
    def attention(q, k, v):
        weights = einsum("y k, x k -> y x")(q, k) >> scale("k**(-1/2)") >> softmax("x")
        return einsum("y x, x k -> y k")(weights, v)

    @diagram("y m, x m -> y m")
    def multi_head(y, x):
        q = linear("m -> h k", "Q", bias=False)(y)
        k = linear("m -> h k", "K", bias=False)(x)
        v = linear("m -> h k", "V", bias=False)(x)
        return linear("h k -> m", "O", bias=False)(attention(q, k, v))

    self_attention = (rename(x="y"), skip) >> multi_head >> rename(y="x")
    mlp = block("mlp", linear("m -> f") >> gelu >> linear("f -> m"))
    layer = block("layer", (skip + (norm("m") >> self_attention)) >> (skip + (norm("m") >> mlp)))
    return (layer**LAYERS >> norm("m")).on("x m").at(**sizes)


def copy(source: nn.Module, target: nn.Module) -> None:
    """Weights of the compiled module into the hand-written one: both list them in the same order."""
    with torch.no_grad():
        for mine, theirs in zip(source.parameters(), target.parameters(), strict=True):
            theirs.copy_(mine)


def step(net: nn.Module, x: Tensor) -> float:
    """CPU seconds of one forward and backward."""
    for parameter in net.parameters():
        parameter.grad = None
    start = time.process_time()
    net(x).square().mean().backward()
    return time.process_time() - start


def measure(name: str, pairs: int, threads: int) -> dict[str, object]:
    torch.set_num_threads(threads)
    sizes = dict(SIZES[name])
    x = torch.randn(sizes.pop("batch"), sizes.pop("x"), sizes["m"])
    ours, theirs = compiled(**sizes).torch(seed=0), Transformer(**sizes)
    copy(ours, theirs)
    step(ours, x), step(theirs, x)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(pairs + 20):
        turn = [("ours", ours), ("theirs", theirs)]
        random.shuffle(turn)
        for who, net in turn:
            seconds = step(net, x)
            if number >= 20:
                times[who].append(seconds)
    ratios = sorted(a / b for a, b in zip(times["ours"], times["theirs"], strict=True))
    return {
        "bench": "step",
        "size": name,
        **SIZES[name],
        "pairs": pairs,
        "threads": threads,
        "ours_ms": round(1e3 * statistics.median(times["ours"]), 3),
        "handwritten_ms": round(1e3 * statistics.median(times["theirs"]), 3),
        "ratio": round(statistics.median(ratios), 4),
        "ratio_quartiles": [round(ratios[len(ratios) // 4], 3), round(ratios[3 * len(ratios) // 4], 3)],
        "target": 1.03,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", choices=[*SIZES, "all"], default="all")
    arguments = parser.parse_args()
    for name in SIZES if arguments.size == "all" else [arguments.size]:
        print(json.dumps(measure(name, arguments.pairs, arguments.threads)), flush=True)


if __name__ == "__main__":
    main()
