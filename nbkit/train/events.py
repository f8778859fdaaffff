"""What can be said about a session: its state, what happened to it, and what a caller of `run` waits for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from nbkit.train.until import Metrics

State = Literal["paused", "running", "failed", "finished", "closed"]


@dataclass(frozen=True)
class Event:
    """Something that happened: `kind` at `step`, at `time` (seconds since 1970), with details."""

    step: int
    kind: str
    detail: Mapping[str, Any]
    time: float


@dataclass(eq=False)
class Run:
    """A caller's request to train until something is the case; `error` is what the condition raised."""

    until: Callable[[Metrics], object] | None
    target: float
    deadline: float
    error: BaseException | None = None
    active: bool = field(default=True)
