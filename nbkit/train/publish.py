"""Telling views that a session has moved on: at a bounded rate, from a thread of its own, without work for
training.

The training thread only counts. The publisher thread looks at the counts as often as its fastest subscriber
wants while training runs, sleeps while it does not, and is woken by every change of state, knob or events. It
holds no strong reference to the session while it sleeps, so a forgotten session can be collected.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbkit.train.session import Session

_log = logging.getLogger("nbkit")


@dataclass(eq=False)
class _Subscriber:
    callback: Callable[[Session], object]
    period: float
    due: float = 0.0
    revision: int = -1
    count: int = -1


class Publisher:
    """The subscribers of one session."""

    def __init__(self, session: Session) -> None:
        self._session = weakref.ref(session)
        self._engine = session._engine
        self._subscribers: tuple[_Subscriber, ...] = ()
        self._lock = threading.RLock()
        self._wake: SimpleQueue[None] = SimpleQueue()  # unlike an Event, safe in a finalizer at any point
        self._running = False
        weakref.finalize(self, self._wake.put, None).atexit = False

    def subscribe(self, callback: Callable[[Session], object], hz: float) -> Callable[[], None]:
        """Call `callback(session)` now and when something is new, at most `hz` times a second for steps."""
        subscriber = _Subscriber(callback, 1 / hz)
        with self._lock:
            self._subscribers = (*self._subscribers, subscriber)
            self._engine.changed = partial(self._wake.put, None)
            if not self._running:
                self._running = True
                name = f"nbkit publishing {self._engine.name}"
                threading.Thread(
                    target=_work, args=(weakref.ref(self), self._wake), name=name, daemon=True
                ).start()
            self._wake.put(None)
        myself = weakref.ref(self)
        return lambda: _unsubscribe(myself, subscriber)

    def remove(self, subscriber: _Subscriber) -> None:
        """End a subscription."""
        with self._lock:
            self._subscribers = tuple(s for s in self._subscribers if s is not subscriber)
            self._wake.put(None)

    def publish(self) -> float | None:
        """Call the subscribers whose turn it is; gives seconds until the next turn, None to be woken."""
        session = self._session()
        if session is None:
            return None
        now = time.monotonic()
        for subscriber in self._subscribers:
            revision, count = self._engine.revision, self._engine.stepper.count
            urgent = revision != subscriber.revision
            if not urgent and (now < subscriber.due or count == subscriber.count):
                continue
            subscriber.revision, subscriber.count, subscriber.due = revision, count, now + subscriber.period
            try:
                subscriber.callback(session)
            except Exception:  # noqa: BLE001  a broken view must neither stop training nor the other views
                _log.exception("nbkit: a subscriber of %s failed and is dropped", self._engine.name)
                self.remove(subscriber)
        if self._engine.state != "running":
            return None
        soonest = min((s.due for s in self._subscribers), default=math.inf)
        return max(soonest - time.monotonic(), 0.001) if soonest < math.inf else None

    def over(self) -> bool:
        """Whether the thread may end: nobody listens, or the session is closed and everybody knows."""
        with self._lock:
            told = all(s.revision == self._engine.revision for s in self._subscribers)
            closed = self._engine.state == "closed" and told
            ends = closed or not self._subscribers or self._session() is None
            if ends:
                self._running = False
            return ends


def _unsubscribe(reference: weakref.ref[Publisher], subscriber: _Subscriber) -> None:
    publisher = reference()
    if publisher is not None:
        publisher.remove(subscriber)


def _work(reference: weakref.ref[Publisher], wake: SimpleQueue[None]) -> None:
    while True:
        publisher = reference()
        if publisher is None:
            return
        delay = publisher.publish()
        if publisher.over():
            return
        del publisher
        with suppress(Empty):
            wake.get(timeout=delay)
            while True:  # one look is enough for all that happened until now
                wake.get_nowait()
