"""What a session costs beside a bare loop, and how fast the recipes grok; a JSON line per tool or variant.

python -m tests.bench.session overhead [--rounds 9]    steps/s: bare loop, session, with a view, with a record
python -m tests.bench.session publisher                CPU time of the training thread with and without a view
python -m tests.bench.session pause                    how long pause() takes while training
python -m tests.bench.session threads                  one torch thread or two, alone or beside a busy process
python -m tests.bench.session grok [--seeds 3]         the grokking recipes in plain torch modules, to > 99 %

Paired and alternating; a ratio is the median over rounds. CPU time is that of the thread that trains.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nbkit.tasks import Task, digits, modular_arithmetic, spirals
from nbkit.train import Recipe, Session, recipes


class Mlp(nn.Module):
    """Shared embedding of two tokens, merged, one hidden layer; torch's own initialisation."""

    def __init__(self, p: int, width: int = 64, hidden: int = 256, square: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(p, width)
        self.hidden, self.out = nn.Linear(2 * width, hidden), nn.Linear(hidden, p)
        self.square = square

    def forward(self, x: Tensor) -> Tensor:
        z = self.hidden(self.embed(x).flatten(1))
        return self.out(z.square() if self.square else F.relu(z))


class Transformer(nn.Module):
    """One pre-norm block, read at the last position, whose query is the only one that is computed."""

    def __init__(self, p: int, width: int = 64, heads: int = 4, every_query: bool = False) -> None:
        super().__init__()
        self.embed, self.positions = nn.Embedding(p + 1, width), nn.Parameter(torch.empty(3, width))
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        nn.init.normal_(self.positions, std=width**-0.5)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down, self.out = (
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
            nn.Linear(width, p),
        )
        self.heads, self.every_query = heads, every_query

    def forward(self, x: Tensor) -> Tensor:
        stream = self.embed(x) + self.positions
        z = self.norm1(stream)
        read = z if self.every_query else z[:, -1:]
        split = lambda linear, t: linear(t).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        mixed = F.scaled_dot_product_attention(split(self.q, read), split(self.k, z), split(self.v, z))
        mixed = self.o(mixed.transpose(1, 2).flatten(2))
        stream = (stream if self.every_query else stream[:, -1:]) + mixed
        stream = stream + self.down(F.relu(self.up(self.norm2(stream))))
        return self.out(self.norm3(stream))[:, -1]


def tanh_mlp(*widths: int) -> nn.Module:
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.Tanh()]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def cases() -> Iterator[tuple[str, Callable[[], nn.Module], Task, int]]:
    """Name, model, task, steps per round."""
    yield "spirals MLP 2-32-32-2, 300 points", lambda: tanh_mlp(2, 32, 32, 2), spirals(), 2000
    yield "digits MLP 64-64-10, 1347 images", lambda: tanh_mlp(64, 64, 10), digits(), 800
    yield "transformer p=23 width 64", lambda: Transformer(23), modular_arithmetic(23), 300
    yield "transformer p=97 width 64", lambda: Transformer(97), modular_arithmetic(fraction=0.4), 12


def bare(model: nn.Module, task: Task, steps: int, every: int, fused: bool = False) -> tuple[float, float]:
    """The loop that everybody writes: loss every step, metrics now and then. Wall and CPU ms a step."""
    (x, y), (x_test, y_test) = task.train, task.test
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, fused=fused)
    losses, measured = [], []
    wall, cpu = time.perf_counter(), time.thread_time()
    for step in range(steps):
        output = model(x)
        loss = F.cross_entropy(output, y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % every == 0:
            model.eval()
            with torch.no_grad():
                test = model(x_test)
                measured.append(
                    (F.cross_entropy(test, y_test).item(), (test.argmax(1) == y_test).float().mean().item())
                )
                measured.append(((output.argmax(1) == y).float().mean().item(),))
            model.train()
    return (time.perf_counter() - wall) / steps * 1e3, (time.thread_time() - cpu) / steps * 1e3


def in_session(
    model: nn.Module, task: Task, steps: int, every: int, view: bool, record: bool = False
) -> tuple[float, float]:
    """The same work in a session, with or without a subscriber that reads the deltas 20 times a second, and
    with or without a record on disk.
    """
    times: list[tuple[float, float]] = []

    def clock(_: Any) -> None:
        times.append((time.perf_counter(), time.thread_time()))

    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "run.nbkit" if record else None
    session = Session(model, task, Recipe(lr=1e-3, eval_every=every, threads=1), record=path)
    if view:
        cursor = None

        def read(s: Session) -> None:
            nonlocal cursor
            points, cursor = s.history.since(cursor)
            _ = {name: values.tobytes() for name, (_, values) in points.items()}

        session.subscribe(read)
    session.run(until=clock, steps=1)  # the thread starts, and everything is warm
    clock_start = len(times)
    wall = time.perf_counter()
    session.run(until=lambda _: False, steps=steps)
    wall = time.perf_counter() - wall
    cpu = times[clock_start - 1][1]
    session.run(until=clock, steps=1)
    cpu = times[-1][1] - cpu
    session.close()
    folder.cleanup()
    return wall / steps * 1e3, cpu / (steps + 1) * 1e3


def overhead(rounds: int) -> None:
    torch.set_num_threads(1)
    for name, make, task, steps in cases():
        figures: dict[str, list[tuple[float, float]]] = {
            "bare": [],
            "bare, fused AdamW": [],
            "session": [],
            "session + view": [],
            "session + view + record": [],
        }
        for _ in range(rounds):
            figures["bare"].append(bare(make(), task, steps, 10))
            figures["bare, fused AdamW"].append(bare(make(), task, steps, 10, fused=True))
            figures["session"].append(in_session(make(), task, steps, 10, view=False))
            figures["session + view"].append(in_session(make(), task, steps, 10, view=True))
            recorded = in_session(make(), task, steps, 10, view=True, record=True)
            figures["session + view + record"].append(recorded)
        for tool, pairs in figures.items():
            fused = figures["bare, fused AdamW"]
            ratios = [b[0] / p[0] for b, p in zip(figures["bare"], pairs, strict=True)]
            ratios_cpu = [b[1] / p[1] for b, p in zip(figures["bare"], pairs, strict=True)]
            ratios_fused = [b[1] / p[1] for b, p in zip(fused, pairs, strict=True)]
            tell(
                case=name, tool=tool, wall_ms=median(p[0] for p in pairs), cpu_ms=median(p[1] for p in pairs),
                speed_to_bare=median(ratios), speed_to_bare_by_cpu=median(ratios_cpu),
                speed_to_fused_by_cpu=median(ratios_fused),
            )  # fmt: skip


def publisher() -> None:
    """CPU ms that training spends more per update because somebody listens."""
    torch.set_num_threads(1)
    task, steps = spirals(), 4000
    plain, heard = [], []
    for _ in range(9):
        plain.append(in_session(tanh_mlp(2, 32, 32, 2), task, steps, 10, view=False)[1])
        heard.append(in_session(tanh_mlp(2, 32, 32, 2), task, steps, 10, view=True)[1])
    more = median(h - p for h, p in zip(heard, plain, strict=True))
    tell(
        case="spirals MLP", extra_cpu_ms_per_step=more, plain_cpu_ms=median(plain), heard_cpu_ms=median(heard)
    )


def pause() -> None:
    for name, make, task, _ in cases():
        session = Session(make(), task, Recipe(threads=1))
        taken = []
        for _ in range(30):
            session.play()
            time.sleep(0.05)
            start = time.perf_counter()
            session.pause()
            taken.append((time.perf_counter() - start) * 1e3)
        steps, _ = session.history["train/loss"]
        session.close()
        tell(case=name, pause_ms=median(taken), worst_ms=max(taken), steps=len(steps))


def threads() -> None:
    for busy in (False, True):
        with neighbour(busy):
            for name, make, task, steps in cases():
                for count in (1, 2, 1, 2):
                    torch.set_num_threads(count)
                    wall, cpu = bare(make(), task, steps, 10)
                    tell(case=name, busy_neighbour=busy, threads=count, wall_ms=wall, cpu_ms=cpu)
    torch.set_num_threads(1)


@contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    process = multiprocessing.Process(target=_spin, daemon=True) if busy else None
    if process is not None:
        process.start()
    try:
        yield
    finally:
        if process is not None:
            process.terminate()
            process.join()


def _spin() -> None:
    while True:
        pass


def grok(seeds: int) -> None:
    task_mlp, task_tf = modular_arithmetic(fraction=0.5, equals=False), modular_arithmetic(fraction=0.4)
    slower, without = (
        replace(recipes.grokking_mlp(), lr=1e-2),
        replace(recipes.grokking_mlp(), weight_decay=0.0),
    )
    variants: list[tuple[str, Callable[[], nn.Module], Task, Recipe]] = [
        ("MLP, ReLU", lambda: Mlp(97), task_mlp, recipes.grokking_mlp()),
        ("MLP, square", lambda: Mlp(97, square=True), task_mlp, recipes.grokking_mlp()),
        ("MLP, ReLU, lr 1e-2", lambda: Mlp(97), task_mlp, slower),
        ("MLP, ReLU, no weight decay", lambda: Mlp(97), task_mlp, without),
        ("transformer, last query", lambda: Transformer(97), task_tf, recipes.grokking_transformer()),
        (
            "transformer, all queries",
            lambda: Transformer(97, every_query=True),
            task_tf,
            recipes.grokking_transformer(),
        ),
    ]
    for name, make, task, recipe in variants:
        for seed in range(seeds):
            torch.manual_seed(seed)
            cpu: list[float] = []
            session = Session(make(), task, recipe, seed=seed)
            wall = time.perf_counter()
            session.run(
                until=lambda m, cpu=cpu: cpu.append(time.thread_time()) or m["test/accuracy"] > 0.99,
                steps=2500,
            )
            wall = time.perf_counter() - wall
            steps, accuracy = session.history["train/accuracy"]
            early = int(steps[(accuracy > 0.99).argmax()])
            test_steps, test = session.history["test/accuracy"]
            tell(
                case=name, seed=seed, steps=session.step_count, wall_s=wall, cpu_s=cpu[-1] - cpu[0],
                train_99_at=early, test_then=float(test[test_steps == early][0]), test=float(test[-1]),
            )  # fmt: skip
            session.close()


def median(values: Any) -> float:
    return statistics.median(list(values))


def tell(**row: Any) -> None:
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["overhead", "publisher", "pause", "threads", "grok"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    match chosen.what:
        case "overhead":
            overhead(chosen.rounds)
        case "grok":
            grok(chosen.seeds)
        case other:
            {"publisher": publisher, "pause": pause, "threads": threads}[other]()
    assert threading.active_count() == 1, threading.enumerate()
