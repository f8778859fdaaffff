"""What the pages that show a session have been told, and what to tell them next: frames with back-pressure.

Requirements: a page that opens late gets everything (`full`); frames hold only what is new (`delta`), so
their size does not grow with the run; the kernel stops sending when acknowledgements stay away, and what is
new meanwhile comes in one frame later; nothing is sent before a page has asked.

No thread, no widget and no clock of its own: tests drive it step by step.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from nbkit.widgets.protocol import Delta, EventMark, Full, Segment, Status
from nbkit.widgets.snapshot import pack
from nbkit.widgets.status import marks, status_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbkit.train import Session
    from nbkit.widgets.snapshot import Curves

WINDOW = 8  # frames that may be on their way; a page acknowledges every fourth
PROBE = 0.5  # seconds between frames without acknowledgement: a busy kernel may only be slow to hear them
RATE_OVER = 2.0  # seconds over which steps per second are averaged
FULL_POINTS = 4000  # points per curve for a page that opens
SAVED_POINTS = 2000  # points per curve in a saved notebook


class Feed:
    """The frames of one widget. Any thread may call; times are seconds of any steady clock."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._cursor: Mapping[str, int] | None = None
        self._history = session.history  # which the cursor is of: a rewind gives the session another one
        self._events = 0
        self._status: dict[str, Any] = {}
        self._frame = 0
        self._acked = 0
        self._sent_at = float("-inf")
        self._clients: set[str] = set()
        self._samples: deque[tuple[float, int]] = deque()
        self._rate = 0.0

    @property
    def frame(self) -> int:
        """The number of the last frame."""
        return self._frame

    @property
    def watched(self) -> bool:
        """Whether a page has asked for frames."""
        return bool(self._clients)

    def ack(self, frame: int) -> None:
        """A page has taken in everything up to this frame."""
        with self._lock:
            self._acked = max(self._acked, min(frame, self._frame))

    def may_send(self, now: float) -> bool:
        """Whether the pages keep up with the frames, as far as we hear."""
        return self._frame - self._acked < WINDOW or now - self._sent_at >= PROBE

    def bye(self, client: str) -> None:
        """A page needs no more frames."""
        with self._lock:
            self._clients.discard(client)

    def full(self, client: str, now: float) -> tuple[Full, bytes]:
        """Everything, for a page that asked; the frames after it start from here, for all pages."""
        with self._lock:
            self._clients.add(client)
            return self._full(now)

    def _full(self, now: float) -> tuple[Full, bytes]:
        self._frame += 1
        self._acked = self._frame
        self._sent_at = now
        data, cursor, events, status = self._everything(now, FULL_POINTS)
        self._cursor, self._events, self._status = cursor, events, dict(status)
        return Full(kind="full", frame=self._frame), data

    def saved(self, now: float) -> bytes:
        """Everything, for the widget's saved state."""
        with self._lock:
            return self._everything(now, SAVED_POINTS)[0]

    def delta(self, now: float) -> tuple[Delta | Full, bytes] | None:
        """What is new since the frame before, everything after a rewind; `None` if nothing is new."""
        with self._lock:
            if self._session.history is not self._history:
                return self._full(now)
            status = self._measure(now)
            changed = {name: value for name, value in status.items() if self._status.get(name, ...) != value}
            before = self._cursor or {}
            points, cursor = self._history.since(self._cursor)
            events = self._session.events
            fresh = marks(events[self._events :])
            if not changed and not points and not fresh:
                return None
            self._frame += 1
            self._sent_at = now
            self._cursor, self._events, self._status = cursor, len(events), dict(status)
            segments, data = _segments(points, before)
            message = Delta(kind="delta", frame=self._frame, status=changed, events=fresh, segments=segments)
            return message, data

    def _everything(self, now: float, points: int) -> tuple[bytes, Mapping[str, int], int, Status]:
        status = self._measure(now)
        self._history = self._session.history
        curves, cursor = self._history.since(None)
        events = self._session.events
        recent: list[EventMark] = marks(events)[-500:]
        return pack(status, recent, curves, points), cursor, len(events), status

    def _measure(self, now: float) -> Status:
        """The session's status; while it runs, steps per second over the last moments."""
        status = status_of(self._session)
        samples = self._samples
        if status["state"] == "running":
            samples.append((now, status["step"]))
            while len(samples) > 2 and now - samples[1][0] > RATE_OVER:
                samples.popleft()
            first, span = samples[0][1], now - samples[0][0]
            if span > 0.2:
                self._rate = (status["step"] - first) / span
        else:
            samples.clear()
        if not self._rate and status["elapsed"]:  # too short to watch: the average over all
            self._rate = status["step"] / status["elapsed"]
        status["rate"] = float(f"{self._rate:.3g}")
        return status


def _segments(points: Curves, before: Mapping[str, int]) -> tuple[list[Segment], bytes]:
    """New points by name as headers and bytes; `before` says how many came earlier."""
    segments: list[Segment] = []
    body: list[bytes] = []
    for name, (steps, values) in points.items():
        n, first = len(steps), int(steps[0])
        stride = int(steps[1] - first) if n > 1 else 1
        if not np.array_equal(steps, first + stride * np.arange(n)):
            stride = 0
            body.append(steps.astype("<i4").tobytes())
        body.append(values.astype("<f4").tobytes())
        segments.append(Segment(curve=name, start=before.get(name, 0), n=n, first=first, stride=stride))
    return segments, b"".join(body)
