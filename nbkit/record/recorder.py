"""Writing a record: one thread owns the file, everybody else hands over and goes on.

The training thread pays for an append to a queue. Metrics are not even handed over: the thread looks at the
histories a few times a second and takes what is new. What is written is written in transactions, so a killed
process loses at most what came after the last `flush`; `Session` flushes whenever it stops.

A disk that is full, a folder that became read-only, a file that somebody deleted never stop training: the
recorder keeps what it could not write, says so in `failure`, and tries again every second.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from filelock import FileLock, Timeout

from nbkit.record.chunks import Steps, Values, array_to_bytes, steps_to_bytes
from nbkit.record.errors import RecordBusyError, RecordError
from nbkit.record.layout import create, open_to_write, said
from nbkit.record.policy import Policy

if TYPE_CHECKING:
    import numpy.typing as npt

PERIOD = 0.25  # seconds between two looks at the histories
RETRY = 1.0  # seconds until a write that failed is tried again
CHUNK = 4096  # points in a row of the file at most

Write = Callable[[sqlite3.Connection], object]


class Pulled(Protocol):
    """Metrics that grow; `nbkit.train.History` is one."""

    def since(
        self, cursor: Mapping[str, int] | None
    ) -> tuple[dict[str, tuple[Steps, Values]], Mapping[str, int]]:
        """What is new since a cursor, and the next one."""


class Recorder:
    """Writes one record. Every method can be called from any thread.

    Raises
    ------
    RecordError, RecordBusyError
        If the file cannot be made or opened; later failures are in `failure` and stop nothing.
    """

    def __init__(
        self, path: Path | str, facts: Mapping[str, Any] | None = None, *, policy: Policy | None = None
    ) -> None:
        self.path, self.policy = Path(path), policy or Policy()
        self.failure: str | None = None
        fresh = facts is not None
        if fresh and not self.path.parent.is_dir():
            raise RecordError(f"{self.path}: there is no folder {self.path.parent}. Make it first")
        self._only = FileLock(f"{self.path}-writer", timeout=0)
        try:
            self._only.acquire()
        except Timeout:
            raise RecordBusyError(
                f"{self.path} is being written by another session. Close that one, or give this one a record "
                "of its own"
            ) from None
        except OSError as error:
            raise RecordError(f"{self.path} cannot be written: {error.strerror}") from None
        try:
            self._file = create(self.path) if fresh else open_to_write(self.path)
        except RecordError:
            self._only.release()
            raise
        self._inode = self.path.stat().st_ino
        self._waiting: deque[Write] = deque()
        self._histories: dict[int, tuple[Pulled, Mapping[str, int] | None]] = {}
        self._turn = threading.Condition()
        self._asked = self._done = 0  # flushes
        self._closing = False
        for name, value in (facts or {}).items():
            self.fact(name, value)
        self._thread = threading.Thread(target=self._work, name=f"nbkit record {self.path.name}", daemon=True)
        self._thread.start()

    # ---- handing over

    def fact(self, name: str, value: Any) -> None:
        """Something about the run as a whole; a later value replaces an earlier one."""
        text = json.dumps(value, ensure_ascii=False)
        self._put(lambda file: file.execute("REPLACE INTO fact VALUES (?, ?)", (name, text)))

    def branch(
        self,
        number: int,
        name: str,
        *,
        parent: int | None = None,
        step: int = 0,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """A branch called `number`: the run itself, or what left `parent` at `step`."""
        row = (number, parent, step, name, time.time(), json.dumps(dict(facts or {}), ensure_ascii=False))
        self._put(lambda file: file.execute("REPLACE INTO branch VALUES (?, ?, ?, ?, ?, ?)", row))

    def follow(self, branch: int, history: Pulled, seen: Mapping[str, int] | None = None) -> None:
        """From now on, write what is new in the history (after the points of `seen`) to the branch."""
        with self._turn:
            self._histories[branch] = (history, seen)

    def event(self, branch: int, step: int, moment: float, kind: str, detail: Mapping[str, Any]) -> None:
        """Something that happened."""
        row = (branch, step, moment, kind, json.dumps(dict(detail), ensure_ascii=False, default=str))
        sql = "INSERT INTO event (branch, step, time, kind, detail) VALUES (?, ?, ?, ?, ?)"
        self._put(lambda file: file.execute(sql, row))

    def measure(self, branch: int, name: str, step: int, array: npt.NDArray[Any]) -> None:
        """A measured array."""
        row = (branch, name, step, *array_to_bytes(array))
        self._put(lambda file: file.execute("REPLACE INTO measure VALUES (?, ?, ?, ?, ?, ?)", row))

    def snapshot(self, branch: int, step: int, data: bytes) -> None:
        """A whole state of the run, as safetensors bytes."""
        row = (branch, step, time.time(), data)
        self._put(lambda file: self._snapshot(file, row))

    def _snapshot(self, file: sqlite3.Connection, row: tuple[int, int, float, bytes]) -> None:
        file.execute("REPLACE INTO snapshot VALUES (?, ?, ?, ?)", row)
        sql = "SELECT step, length(data) FROM snapshot WHERE branch = ? ORDER BY step"
        steps, sizes = zip(*file.execute(sql, row[:1]).fetchall(), strict=True)
        for step in self.policy.dropped(steps, sizes):
            file.execute("DELETE FROM snapshot WHERE branch = ? AND step = ?", (row[0], step))

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all that was handed over and measured so far is on disk; False if it could not be."""
        with self._turn:
            self._asked += 1
            wanted = self._asked
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._done >= wanted, timeout)
            return self._done >= wanted and self.failure is None

    def close(self, timeout: float = 10.0) -> None:
        """Write what is left, and let go of the file. Twice does no harm."""
        with self._turn:
            self._closing = True
            self._turn.notify_all()
        self._thread.join(timeout)

    def save_as(self, path: Path | str) -> Path:
        """A copy of all that has been written, as a file of its own: also of a record that was deleted."""
        target = Path(path)
        if target.exists():
            raise RecordError(f"{target} exists already; choose another name")
        done: list[str | None] = []

        def copy(file: sqlite3.Connection) -> None:
            try:
                file.execute("VACUUM INTO ?", (str(target),))
                done.append(None)
            except sqlite3.Error as error:
                done.append(said(error))

        with self._turn:
            self._waiting.append(_Alone(copy))
        self.flush()
        if done != [None]:
            raise RecordError(
                f"{target} cannot be written: {done[0] if done else self.failure or 'no answer'}"
            )
        return target

    @property
    def bytes(self) -> int:
        """Room that the record takes on disk."""
        total = 0
        for ending in ("", "-wal"):
            with contextlib.suppress(OSError):
                total += Path(f"{self.path}{ending}").stat().st_size
        return total

    def _put(self, write: Write) -> None:
        with self._turn:
            self._waiting.append(write)

    # ---- the thread

    def _work(self) -> None:
        while True:
            with self._turn:
                pause = RETRY if self.failure else PERIOD
                self._turn.wait_for(lambda: self._closing or self._asked > self._done, pause)
                asked, closing = self._asked, self._closing
            try:
                self._write()
                self.failure = self._missing()
            except sqlite3.Error as error:
                self.failure = (
                    f"{self.path} cannot be written: {said(error)}. Training goes on, and what was measured "
                    "is kept and written when that is possible again"
                )
            with self._turn:
                self._done = asked
                self._turn.notify_all()
            if closing:
                break
        with contextlib.suppress(sqlite3.Error):
            self._file.close()
        self._only.release()
        with contextlib.suppress(OSError):
            Path(f"{self.path}-writer").unlink()

    def _write(self) -> None:
        """Everything that waits, in one transaction; what fails waits on."""
        with self._turn:
            writes, histories = list(self._waiting), dict(self._histories)
        cursors = {}
        alone = [w for w in writes if isinstance(w, _Alone)]
        self._file.execute("BEGIN IMMEDIATE")
        try:
            for write in writes:
                if not isinstance(write, _Alone):
                    write(self._file)
            for branch, (history, seen) in histories.items():
                points, cursors[branch] = history.since(seen)
                for name, (steps, values) in points.items():
                    self._points(branch, name, steps, values)
            self._file.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                self._file.execute("ROLLBACK")
            raise
        for write in alone:
            write(self._file)
        with self._turn:
            for _ in writes:
                self._waiting.popleft()
            for branch, cursor in cursors.items():
                self._histories[branch] = (self._histories[branch][0], cursor)

    def _points(self, branch: int, name: str, steps: Steps, values: Values) -> None:
        sql = "INSERT INTO metric (branch, name, first, last, steps, numbers) VALUES (?, ?, ?, ?, ?, ?)"
        for start in range(0, len(steps), CHUNK):
            part, numbers = steps[start : start + CHUNK], values[start : start + CHUNK]
            row = (
                branch,
                name,
                int(part[0]),
                int(part[-1]),
                steps_to_bytes(part),
                numbers.astype("<f4").tobytes(),
            )
            self._file.execute(sql, row)

    def _missing(self) -> str | None:
        """Has somebody deleted or replaced the file?"""
        try:
            there = self.path.stat().st_ino == self._inode
        except OSError:
            there = False
        if there:
            return None
        return (
            f"{self.path} was deleted or moved while it was being written. What was recorded is still held: "
            "recorder.save_as('another.nbkit') writes it to a new file"
        )


class _Alone:
    """A write that cannot be part of a transaction."""

    def __init__(self, write: Write) -> None:
        self.write = write

    def __call__(self, file: sqlite3.Connection) -> object:
        return self.write(file)
