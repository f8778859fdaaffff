"""The branches of a run, and the states to which one can go back: in memory, and in a record if there is one.

A run is branch 1. Whatever trains on from an earlier step (after a rewind, or in a fork) is a branch of its
own, so nothing that was measured is ever lost or overwritten. Sessions of one run share one tree.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nbkit.record import Branch, Happening, Policy, Record, RecordError
from nbkit.train.errors import SessionError
from nbkit.train.state import capture

if TYPE_CHECKING:
    from nbkit.record import Recorder
    from nbkit.train.events import Event
    from nbkit.train.history import History
    from nbkit.train.stepper import Stepper

MEMORY = 64.0  # megabytes of states that are kept in memory, for each branch
FOREVER = 2**62


class Tree:
    """Branches and states of one run."""

    def __init__(self, recorder: Recorder | None, policy: Policy) -> None:
        self.recorder, self.policy = recorder, policy
        self.branches: dict[int, Branch] = {}
        self._states: dict[int, dict[int, bytes]] = {}
        self._memory = Policy(share=policy.share, megabytes=min(MEMORY, policy.megabytes))
        self._changes: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        self._writers: set[int] = set()
        self._lock = threading.Lock()

    def adopt(self, branches: Iterable[Branch], events: Iterable[Happening]) -> None:
        """The branches of a record that is gone on with."""
        self.branches = {branch.number: branch for branch in branches}
        for number, branch in self.branches.items():
            self.change(number, branch.step, dict(branch.facts.get("knobs", {})))
        for event in events:
            if event.kind == "set":
                self.change(event.branch, event.step, dict(event.detail))

    def joined(self, token: int) -> None:
        """A session writes to this run."""
        with self._lock:
            self._writers.add(token)

    def left(self, token: int) -> None:
        """A session writes no more; with the last one the record is closed."""
        with self._lock:
            self._writers.discard(token)
            over = not self._writers
        if over and self.recorder is not None:
            self.recorder.close()

    def grow(self, name: str, parent: int | None = None, step: int = 0, **facts: Any) -> int:
        """A new branch that leaves its parent at a step; gives its number."""
        with self._lock:
            number = len(self.branches) + 1
            branch = Branch(number, name, parent, step, time.time(), MappingProxyType(facts))
            self.branches = {**self.branches, number: branch}
            self._changes[number] = [(step, dict(facts.get("knobs", {})))]
        if self.recorder is not None:
            self.recorder.branch(number, name, parent=parent, step=step, facts=facts)
        return number

    def change(self, branch: int, step: int, knobs: dict[str, Any]) -> None:
        """Knobs that were turned before a step was made."""
        with self._lock:
            self._changes.setdefault(branch, []).append((step, knobs))

    def changes(self, branch: int, step: int) -> dict[str, Any]:
        """Knobs that were turned at a step of a branch, or there on the way to it."""
        with self._lock:
            while (here := self.branches[branch]).parent is not None and step < here.step:
                branch = here.parent
            turned = [knobs for at, knobs in self._changes.get(branch, ()) if at == step]
        return {name: value for knobs in turned for name, value in knobs.items()}

    def floor(self, branch: int) -> tuple[int, int | None]:
        """The step at which the diagram of a branch became what it is, and the branch that had another."""
        while (here := self.branches[branch]).parent is not None:
            if "diagram" in here.facts:
                return here.step, here.parent
            branch = here.parent
        return 0, None

    def put(self, branch: int, step: int, data: bytes) -> None:
        """Keep a state."""
        with self._lock:
            states = self._states.setdefault(branch, {})
            states[step] = data
            ordered = sorted(states)
            for gone in self._memory.dropped(ordered, [len(states[s]) for s in ordered]):
                del states[gone]
        if self.recorder is not None:
            self.recorder.snapshot(branch, step, data)

    def steps(self, branch: int) -> list[int]:
        """Steps of a branch of which states are kept in memory."""
        with self._lock:
            return sorted(self._states.get(branch, ()))

    def nearest(self, branch: int, step: int) -> tuple[int, bytes]:
        """The last state up to a step, along the branch and those it came from: its step, its bytes.

        Raises
        ------
        SessionError
            If none was kept.
        """
        place, end = branch, step
        while True:
            with self._lock:
                states = self._states.get(place, {})
                found = max((s for s in states if s <= end), default=None)
                if found is not None:
                    return found, states[found]
                here = self.branches[place]
            if here.parent is None:
                break
            place, end = here.parent, min(end, here.step)
        if self.recorder is not None and self.recorder.flush():
            try:
                with Record.open(self.recorder.path) as record:
                    _, found, data = record.nearest(step, branch)
                    return found, data
            except RecordError as error:
                raise SessionError(str(error)) from None
        raise SessionError(
            f"no state was kept up to step {step}; the run has not begun, or states take no room"
        )

    def event(self, branch: int, event: Event) -> None:
        """Write down what happened."""
        if self.recorder is not None:
            self.recorder.event(branch, event.step, event.time, event.kind, event.detail)

    def follow(self, branch: int, history: History, seen: Mapping[str, int] | None = None) -> None:
        """Write down what a branch measures."""
        if self.recorder is not None:
            self.recorder.follow(branch, history, seen)


class Keeper:
    """Decides, for one session, when a state is kept, and keeps it."""

    def __init__(self, tree: Tree, branch: int) -> None:
        self.tree, self.branch = tree, branch
        self._next = 0
        self._since = (0, time.perf_counter())

    def due(self, count: int) -> bool:
        """Whether the state after so many updates is to be kept."""
        return count >= self._next

    def take(self, stepper: Stepper) -> None:
        """Keep the state, and say when the next is due."""
        start = time.perf_counter()
        steps = stepper.count - self._since[0]
        pace = (start - self._since[1]) / steps if steps > 0 else 0.0
        self.tree.put(self.branch, stepper.count, capture(stepper))
        end = time.perf_counter()
        self._next = self.tree.policy.next(stepper.count, end - start, pace)
        self._since = (stepper.count, end)

    def move(self, branch: int, step: int) -> None:
        """From now on, states belong to a branch that began at a step."""
        self.branch, self._next = branch, step
        self._since = (step, time.perf_counter())

    def started(self, count: int) -> None:
        """Training goes on after a pause, which is no part of its pace."""
        self._since = (count, time.perf_counter())
