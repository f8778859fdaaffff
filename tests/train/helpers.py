"""Small real models and ways to wait for a session without sleeping."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nbkit.tasks import Task, spirals
from nbkit.train import Recipe, Session

LONG = 60.0  # seconds; no test waits that long unless something is broken
TASK = spirals(n=80, seed=1)


def small_model(seed: int = 0, dropout: float = 0.0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(2, 8), nn.Tanh(), *([nn.Dropout(dropout)] if dropout else []), nn.Linear(8, 2)]
        return nn.Sequential(*layers)


def small_session(
    task: Task = TASK, *, seed: int = 0, model: nn.Module | None = None, **recipe: object
) -> Session:
    return Session(model or small_model(), task, Recipe(**{"lr": 0.01, **recipe}), seed=seed, name="test")


def wait_until(session: Session, holds: Callable[[Session], bool]) -> None:
    """Return once `holds(session)`, looked at whenever the session says that something is new."""
    seen = threading.Event()
    end = session.subscribe(lambda s: seen.set() if holds(s) else None, hz=200)
    assert seen.wait(LONG), f"never came true: {session!r}"
    end()


class Gate(nn.Module):
    """A model of which each forward pass in training mode announces itself and waits to be let through."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.entered = threading.Event()
        self.open = threading.Event()

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.entered.set()
            assert self.open.wait(LONG)
        return self.linear(x)
