"""Reading a record: of a run that has ended, or of one that another process is still writing. Needs no torch.

r = nk.Record.open("runs/first.nbkit")
steps, losses = r["train/loss"]
r.at(500)                  what was known at step 500
r.snapshot(500)            weights and more, as numpy arrays, of the last snapshot up to there
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from nbkit.record.chunks import Steps, Values, array_from_bytes, points_from_bytes
from nbkit.record.errors import RecordError
from nbkit.record.layout import open_to_read, said

MAIN = 1
_POINTS = (
    "SELECT first, last, steps, numbers FROM metric WHERE branch = ? AND name = ? AND first <= ? ORDER BY id"
)


@dataclass(frozen=True)
class Branch:
    """The run itself, or a fork of it: what left `parent` at `step`, and with which changes."""

    number: int
    name: str
    parent: int | None
    step: int
    time: float
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Happening:
    """Something that happened at a step of a branch."""

    branch: int
    step: int
    time: float
    kind: str
    detail: Mapping[str, Any]


class Record(Mapping[str, tuple[Steps, Values]]):
    """One recorded run: its metrics by name, `record["train/loss"]` gives (steps, values).

    Every look asks the file, so a run that is still being written is seen as far as it has come. Reading
    never changes the file. Can be used from any thread.
    """

    def __init__(self, path: Path, file: sqlite3.Connection) -> None:
        self.path, self._file = path, file

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """The record in a file.

        Raises
        ------
        RecordError
            If there is none, if it is no record, if it is damaged, or if a newer nbkit wrote it.
        """
        return cls(Path(path), open_to_read(Path(path)))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- what the run is

    @property
    def facts(self) -> dict[str, Any]:
        """What the run is: diagram, task, recipe, seed, versions …"""
        rows = self._ask("SELECT name, value FROM fact ORDER BY name")
        return {name: self._json(value, f"fact {name}") for name, value in rows}

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The run itself, number 1, and its forks."""
        rows = self._ask("SELECT id, name, parent, step, time, facts FROM branch ORDER BY id")
        return tuple(
            Branch(
                number, name, parent, step, moment, MappingProxyType(self._json(facts, f"branch {number}"))
            )
            for number, name, parent, step, moment, facts in rows
        )

    def branch(self, number: int) -> Branch:
        """A branch by its number; `RecordError` if there is none."""
        known = {b.number: b for b in self.branches}
        if number not in known:
            raise RecordError(
                f"{self.path} has no branch {number}; there are {', '.join(map(str, known)) or 'none'}"
            )
        return known[number]

    def lineage(self, number: int) -> list[tuple[Branch, int]]:
        """A branch and those it came from, oldest first, each with its last step on the way to this one."""
        way: list[tuple[Branch, int]] = []
        end = np.iinfo(np.int64).max
        here: int | None = number
        while here is not None and len(way) < 10_000:
            branch = self.branch(here)
            way.insert(0, (branch, int(end)))
            end, here = min(end, branch.step), branch.parent
        return way

    # ---- metrics

    def series(self, name: str, branch: int = MAIN, *, own: bool = False) -> tuple[Steps, Values]:
        """Points of a metric along a branch, from the beginning of the run; `own`: its own points only.

        A metric at step s belongs to the weights after s updates.
        """
        parts: list[tuple[Steps, Values]] = []
        for part, end in self.lineage(branch):
            if own and part.number != branch:
                continue
            for row in self._ask(_POINTS, part.number, name, end):
                steps, values = points_from_bytes(f"{self.path}, {name}", *row)
                keep = steps < end
                parts.append((steps[keep], values[keep]))
        if not parts:
            known = ", ".join(self.names(branch)) or "nothing"
            raise KeyError(
                f"{self.path}: {name!r} was not measured on branch {branch}; measured were {known}"
            )
        return np.concatenate([s for s, _ in parts]), np.concatenate([v for _, v in parts])

    def names(self, branch: int = MAIN) -> list[str]:
        """Metrics that were measured along a branch."""
        found: set[str] = set()
        for part, _ in self.lineage(branch):
            found.update(
                name
                for (name,) in self._ask("SELECT DISTINCT name FROM metric WHERE branch = ?", part.number)
            )
        return sorted(found)

    def __getitem__(self, name: str) -> tuple[Steps, Values]:
        return self.series(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names() if self.branches else [])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def at(self, step: int, branch: int = MAIN) -> dict[str, float]:
        """The latest value of every metric at a step."""
        found: dict[str, float] = {}
        for name in self.names(branch):
            steps, values = self.series(name, branch)
            place = int(np.searchsorted(steps, step, side="right")) - 1
            if place >= 0:
                found[name] = float(values[place])
        return found

    def last(self, branch: int = MAIN) -> int:
        """The last step of which something is known."""
        ends = [
            row[0]
            for table, column in (("metric", "last"), ("event", "step"), ("snapshot", "step"))
            for row in self._ask(f"SELECT max({column}) FROM {table} WHERE branch = ?", branch)  # noqa: S608  # fixed words
            if row[0] is not None
        ]
        return max(ends, default=self.branch(branch).step)

    # ---- arrays, events, snapshots

    def measured(self, branch: int = MAIN) -> dict[str, Steps]:
        """Which arrays were measured, and at which steps."""
        rows = self._ask("SELECT name, step FROM measure WHERE branch = ? ORDER BY name, step", branch)
        found: dict[str, list[int]] = {}
        for name, step in rows:
            found.setdefault(name, []).append(step)
        return {name: np.array(steps, np.int64) for name, steps in found.items()}

    def array(self, name: str, step: int, branch: int = MAIN) -> npt.NDArray[Any]:
        """A measured array: the latest up to a step."""
        sql = (
            "SELECT dtype, shape, data FROM measure WHERE branch = ? AND name = ? AND step <= ? "
            "ORDER BY step DESC LIMIT 1"
        )
        for row in self._ask(sql, branch, name, step):
            return array_from_bytes(f"{self.path}, {name}", *row)
        known = ", ".join(f"{n} (from step {s[0]})" for n, s in self.measured(branch).items()) or "nothing"
        raise KeyError(
            f"{self.path}: no array {name!r} up to step {step} on branch {branch}; there is {known}"
        )

    def events(self, branch: int | None = None) -> tuple[Happening, ...]:
        """What happened, oldest first; on all branches if none is named."""
        sql = "SELECT branch, step, time, kind, detail FROM event WHERE ? IS NULL OR branch = ? ORDER BY id"
        return tuple(
            Happening(b, step, moment, kind, MappingProxyType(self._json(detail, f"event {kind}")))
            for b, step, moment, kind, detail in self._ask(sql, branch, branch)
        )

    def snapshots(self, branch: int = MAIN) -> Steps:
        """The steps of a branch at which snapshots are kept."""
        rows = self._ask("SELECT step FROM snapshot WHERE branch = ? ORDER BY step", branch)
        return np.array([step for (step,) in rows], np.int64)

    def nearest(self, step: int, branch: int = MAIN) -> tuple[int, int, bytes]:
        """The last snapshot up to a step, along the branch and those it came from: branch, step, bytes."""
        for part, end in reversed(self.lineage(branch)):
            sql = "SELECT step, data FROM snapshot WHERE branch = ? AND step <= ? ORDER BY step DESC LIMIT 1"
            for found, data in self._ask(sql, part.number, min(step, end)):
                return part.number, found, data
        raise RecordError(f"{self.path}: no snapshot was kept up to step {step} of branch {branch}")

    def latest(self) -> tuple[int, int, bytes]:
        """The snapshot that was taken last, on whatever branch: branch, step, bytes."""
        for row in self._ask("SELECT branch, step, data FROM snapshot ORDER BY time DESC, step DESC LIMIT 1"):
            return (int(row[0]), int(row[1]), bytes(row[2]))
        raise RecordError(f"{self.path} holds no snapshot, so no run can go on from it")

    def snapshot(self, step: int, branch: int = MAIN) -> dict[str, npt.NDArray[Any]]:
        """The arrays of the last snapshot up to a step: `model.…` are the weights by their path."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        _, found, data = self.nearest(step, branch)
        try:
            arrays: dict[str, npt.NDArray[Any]] = load(data)
        except SafetensorError as error:
            raise RecordError(f"{self.path}: the snapshot of step {found} is damaged: {error}") from None
        return arrays

    # ---- inside

    def _ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._file.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise RecordError(f"{self.path} cannot be read: {said(error)}") from None

    def _json(self, text: str, what: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise RecordError(f"{self.path}: {what} is no JSON; the record is damaged") from None

    def __repr__(self) -> str:
        count = len(self.branches)
        forks = f", {count - 1} fork{'s' * (count != 2)}" if count > 1 else ""
        return f"<Record {self.path.name}: {self.last() if count else 0} steps{forks}>"
