"""The numbers a session has measured: one growing pair of arrays (steps, values) per metric.

One thread writes, any number of threads read, and nobody locks: elements once written never change, growing
makes new arrays and leaves the old ones alone, and a reader takes the length before it takes the arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Steps = npt.NDArray[np.int64]
Values = npt.NDArray[np.float32]
Cursor = Mapping[str, int]


class Delta(NamedTuple):
    """What is new since a cursor: `points[name] = (steps, values)`, and the next cursor."""

    points: dict[str, tuple[Steps, Values]]
    cursor: Cursor


class Series:
    """One metric: the step numbers at which it was measured, ascending, and its values."""

    def __init__(self, capacity: int = 256) -> None:
        self._arrays = (np.empty(capacity, np.int64), np.empty(capacity, np.float32))
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, step: int, value: float) -> None:
        """Add one point; amortised constant time, because the arrays double."""
        n = self._length
        steps, values = self._arrays
        if n == len(steps):
            steps, values = np.resize(steps, 2 * n), np.resize(values, 2 * n)
            self._arrays = (steps, values)
        steps[n] = step
        values[n] = value
        self._length = n + 1

    def read(self, start: int = 0) -> tuple[Steps, Values]:
        """Copies of the points from number `start` on."""
        n = self._length
        steps, values = self._arrays
        return steps[start:n].copy(), values[start:n].copy()


class History(Mapping[str, tuple[Steps, Values]]):
    """All metrics of a session by name: `history["train/loss"]` gives (steps, values), both copies.

    A metric at step s belongs to the weights after s updates.

    Examples
    --------
    >>> history = History()
    >>> history.append("train/loss", 0, 2.5); history.append("train/loss", 1, 2.25)
    >>> history["train/loss"]
    (array([0, 1]), array([2.5 , 2.25], dtype=float32))
    >>> points, cursor = history.since(None)
    >>> history.append("train/loss", 2, 2.0)
    >>> history.since(cursor).points
    {'train/loss': (array([2]), array([2.], dtype=float32))}
    """

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}

    @classmethod
    def of(cls, points: Mapping[str, tuple[Steps, Values]]) -> History:
        """A history of points that are there already."""
        history = cls()
        for name, (steps, values) in points.items():
            series = history._series[name] = Series(max(len(steps), 1))
            for step, value in zip(steps, values, strict=True):
                series.append(int(step), float(value))
        return history

    def append(self, name: str, step: int, value: float) -> None:
        """Add one point. Only the thread that trains may call this."""
        series = self._series.get(name)
        if series is None:
            series = Series()
            series.append(step, value)
            self._series = {**self._series, name: series}  # readers may be iterating over the old dictionary
        else:
            series.append(step, value)

    def lengths(self) -> dict[str, int]:
        """How many points each metric has."""
        return {name: len(series) for name, series in self._series.items()}

    def before(self, step: int) -> dict[str, int]:
        """How many points each metric has before a step."""
        return {name: int(np.searchsorted(self[name][0], step)) for name in self._series}

    def cut(self, lengths: Mapping[str, int]) -> History:
        """A new history with the first points of each metric, as many as `lengths` says."""
        points = {name: self[name] for name in lengths}
        return History.of({name: (points[name][0][:n], points[name][1][:n]) for name, n in lengths.items()})

    def since(self, cursor: Cursor | None) -> Delta:
        """The points that came after those which `cursor` stands for; `None` stands for none.

        The cost is that of copying the new points. Names without new points are left out.
        """
        seen = cursor or {}
        points: dict[str, tuple[Steps, Values]] = {}
        reached = dict(seen)
        for name, series in self._series.items():
            start = seen.get(name, 0)
            if len(series) > start:
                points[name] = series.read(start)
                reached[name] = start + len(points[name][0])
        return Delta(points, reached)

    def __getitem__(self, name: str) -> tuple[Steps, Values]:
        series = self._series.get(name)
        if series is None:
            known = ", ".join(map(repr, self._series)) or "nothing yet"
            msg = f"History: {name!r} has not been measured; measured are: {known}."
            raise KeyError(msg)
        return series.read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)

    def __repr__(self) -> str:
        return "History(" + ", ".join(f"{name}: {len(s)} points" for name, s in self._series.items()) + ")"
