"""The thread that trains, and its controls.

One background daemon thread makes the steps. Between two steps it looks at a handful of variables behind one
lock; every control, from any thread, changes those variables and wakes it. The thread knows the engine but no
session: dropping the last reference to a session ends its thread.
"""

from __future__ import annotations

import atexit
import math
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from nbkit.train.errors import Failure, NonFiniteLossError, SessionClosedError, SessionError
from nbkit.train.events import Event, Run, State
from nbkit.train.state import restore
from nbkit.train.stepper import KEPT_PARAMETERS, Stepper, use_threads
from nbkit.train.tree import Keeper
from nbkit.train.until import Metrics

LONGEST = 3600.0  # seconds; a longer wait than some platforms can express is cut into such pieces
POLL = 0.1  # seconds; waits are cut into such pieces so that an interrupt is noticed on every platform


class Engine:
    """Runs a stepper in a background thread."""

    def __init__(self, stepper: Stepper, name: str, knobs: dict[str, Any], keeper: Keeper) -> None:
        self.stepper, self.keeper = stepper, keeper
        self.name = name
        self.state: State = "paused"
        self.failure: Failure | None = None
        self.events: tuple[Event, ...] = ()
        self.knobs = knobs  # as asked for; replaced, never changed
        self.revision = 0  # grows with every change of state, knob or events
        self.changed: Callable[[], object] = _nothing
        self._lock = threading.Condition()
        self._target = 0.0  # steps are made while the count is below
        self._busy = False  # a step is being made
        self._turns = 0  # steps begun
        self._replaying = False  # on the way back to where the run has been before
        self._trained = 0.0  # seconds in state "running", without the present stretch
        self._since = math.nan  # time.monotonic() at the beginning of that stretch
        self._pending: dict[str, Any] = {}
        self._run: Run | None = None
        self._due = 0.0
        self._closing = False
        self.thread: threading.Thread | None = None
        _engines.add(self)

    @property
    def elapsed(self) -> float:
        """Seconds spent in the state `"running"`."""
        with self._lock:
            return self._trained + (time.monotonic() - self._since if self.state == "running" else 0.0)

    # ---- controls, for any thread

    def play(self) -> None:
        """Train until something stops it."""
        with self._lock:
            if self._run is None:  # else it trains already, and the caller of run() decides when to stop
                self._start(math.inf, "play")

    def step(self, n: int) -> float:
        """Train for n more steps and then pause; gives the step count that this will lead to."""
        with self._lock:
            begun = self.stepper.count + self._busy
            waiting = self._target if self._target < math.inf else 0.0
            self._start(max(begun, waiting) + n, "step", n=n)
            return self._target

    def run(self, request: Run) -> None:
        """Train until the request is fulfilled, or somebody or something else stops it."""
        with self._lock:
            if self._run is not None:
                msg = (
                    f"{self.name}: run() is already under way in another thread, and only one can decide "
                    "when to stop. Wait for it, or pause the session first."
                )
                raise SessionError(msg)
            request.target += self.stepper.count + self._busy
            self._start(request.target, "run")
            self._run = request
        while True:
            with self._lock:
                if not request.active:
                    break
                self._lock.wait(POLL)
        if request.error is not None:
            raise request.error

    def pause(self, timeout: float | None) -> None:
        """Stop before the next step and wait until the step under way has ended."""
        with self._lock:
            if self.state == "running" and self._target > 0:
                self._log("pause")
            self._halt()
            if threading.current_thread() is self.thread:
                return  # called from inside a step, e.g. by the model: the loop stops when that step ends
            turn, end = self._turns, math.inf if timeout is None else time.monotonic() + timeout
            while self._busy and self._turns == turn:
                if time.monotonic() > end:
                    msg = (
                        f"{self.name}: pause() waited {timeout:g} s for step {self.stepper.count} to end, "
                        "and it has not. The session will pause when it does; pause(timeout=…) waits longer."
                    )
                    raise TimeoutError(msg)
                self._lock.wait(POLL)
            if not self._busy:
                self._settle()

    def set(self, knobs: dict[str, Any]) -> None:
        """Change knobs before the next step; the values are already checked."""
        with self._lock:
            self._check_open("set")
            self.knobs = {**self.knobs, **knobs}
            self._pending.update(knobs)
            if not self._busy:
                self._settle()
            self._lock.notify_all()
            self._tell()

    def recover(self) -> None:
        """Put the weights of the last evaluation back; see `Session.recover`."""
        with self._lock:
            self._check_open("recover")
            if self.state == "running":
                msg = f"{self.name}: recover() came while training runs. Call pause() first."
                raise SessionError(msg)
            if self.stepper.kept is None:
                msg = (
                    f"{self.name}: recover() has no earlier weights to go back to: they are kept at "
                    f"evaluations, for models of at most {KEPT_PARAMETERS} parameters. Make a new Session."
                )
                raise SessionError(msg)
            self.stepper.restore()
            self._log("recover", weights_of=self.stepper.kept)
            self.failure = None
            if self.state == "failed":
                self.state = "paused"
            self._tell()

    def rewind(self, to: int, at: int, data: bytes) -> dict[str, int]:
        """Put the state of step `at` back on the way to step `to`; gives how many points there were then.

        Raises
        ------
        SnapshotError
            If the state does not fit; then nothing has changed.
        """
        with self._lock:
            self._check_open("rewind")
            if self._busy or self.state == "running":
                msg = f"{self.name}: rewind() came while training runs. Call pause() first."
                raise SessionError(msg)
            self._pending = {}
            lengths = restore(self.stepper, data)
            self.knobs = {**self.knobs, **self.stepper.knobs()}
            self.failure = None
            if self.state in ("failed", "finished"):
                self.state = "paused"
            self._log("rewind", to=to, state_of=at)
            self._tell()
            return lengths

    def replay(self, target: int) -> None:
        """Train again to a step where the run has been before."""
        with self._lock:
            self._replaying = True
            self._start(target, "replay")

    def replayed(self) -> None:
        """The run is where it was to go back to."""
        with self._lock:
            self._replaying = False
            self._turn_again()

    def close(self, timeout: float | None) -> None:
        """End the thread: ask it to, and wait for it unless this is that thread or the timeout is 0."""
        with self._lock:
            self._closing = True
            self._halt()
            if self.thread is None:
                self._settle()
            self._lock.notify_all()
            thread = self.thread
        if thread is not None and thread is not threading.current_thread() and timeout != 0:
            thread.join(timeout)

    def wait(self, target: float) -> None:
        """Wait until the count has reached the target, or training has stopped."""
        if threading.current_thread() is self.thread:
            return
        with self._lock:
            # the last step counts as soon as the weights have changed, but it may still be evaluating them
            while self.state == "running" and self.stepper.count < target + self._busy:
                self._lock.wait(POLL)

    def log(self, kind: str, **detail: Any) -> None:
        """Note an event."""
        with self._lock:
            self._log(kind, **detail)
            self._tell()

    # ---- with the lock held

    def _start(self, target: float, kind: str, **detail: Any) -> None:
        self._check_open(kind)
        limit = self.knobs["max_steps"]
        if limit is not None and self.stepper.count >= limit:
            msg = (
                f"{self.name}: {kind}() finds training finished, since step {self.stepper.count} has reached "
                f"max_steps={limit}. Raise the limit with session.set(max_steps=…), or None for no limit."
            )
            raise SessionError(msg)
        self._target, self._due = target, 0.0
        if self.state != "running" or kind != "play":
            self._log(kind, **detail)
        if self.state != "running":
            self._since = time.monotonic()
            self.keeper.started(self.stepper.count)
        self.state, self.failure = "running", None
        if self.thread is None:
            self.thread = threading.Thread(target=self._work, name=f"nbkit training {self.name}", daemon=True)
            self.thread.start()
        self._lock.notify_all()
        self._tell()

    def _check_open(self, kind: str) -> None:
        if self._closing:
            msg = f"{self.name}: {kind}() came after close(). Make a new Session to train on."
            raise SessionClosedError(msg)

    def _halt(self) -> None:
        self._target = 0.0
        self._end_run()
        self._lock.notify_all()

    def _end_run(self, error: BaseException | None = None) -> None:
        if self._run is not None:
            self._run.error, self._run.active, self._run = error, False, None

    def _apply(self) -> None:
        for knob, value in self._pending.items():
            if knob not in ("speed", "max_steps"):
                self.stepper.set(knob, value)
        if self._pending:
            self._log("set", **self._pending)
            self.keeper.tree.change(self.keeper.branch, self.stepper.count, self._pending)
            self._pending = {}

    def _turn_again(self) -> None:
        """On the way back: turn the knobs that were turned here then."""
        turned = self.keeper.tree.changes(self.keeper.branch, self.stepper.count)
        for knob in sorted(turned.keys() - {"speed", "max_steps"}):
            value = turned[knob]
            self.stepper.set(knob, tuple(value) if isinstance(value, list) else value)
        self.knobs = {**self.knobs, **self.stepper.knobs()}

    def _log(self, kind: str, **detail: Any) -> None:
        event = Event(self.stepper.count, kind, MappingProxyType(detail), time.time())
        self.events = (*self.events, event)
        self.keeper.tree.event(self.keeper.branch, event)

    def _tell(self) -> None:
        self.revision += 1
        self.changed()

    def _settle(self) -> bool:
        """Between two steps: carry out what was asked for; says whether to make another step."""
        self._apply()
        if self._run is not None and time.monotonic() >= self._run.deadline:
            self._halt()
        limit = self.knobs["max_steps"]
        before = self.state
        if self._closing:
            self.state = "closed"
        elif self.state == "running" and limit is not None and self.stepper.count >= limit:
            self.state = "finished"
        elif self.state == "running":
            self.state = "running" if self.stepper.count < self._target else "paused"
        elif self.state == "finished" and (limit is None or self.stepper.count < limit):
            self.state = "paused"  # the limit was raised
        if self.state != before:
            if before == "running":
                self._trained += time.monotonic() - self._since
            if self.state in ("finished", "closed"):
                self._log(self.state)
            self._halt()
            self._tell()
        return self.state == "running"

    # ---- the thread

    def _work(self) -> None:
        use_threads(self.stepper.threads())
        while self._wait_for_turn():
            try:
                if self._replaying:
                    self._turn_again()
                elif self.keeper.due(self.stepper.count):
                    self.keeper.take(self.stepper)
                self.stepper.step()
                limit = self.knobs["max_steps"]
                if limit is not None and self.stepper.count >= limit:
                    self.stepper.evaluate()
            except BaseException as error:  # noqa: BLE001  the thread's outermost boundary: it must be seen
                self._fail(error)
            else:
                self._judge()

    def _wait_for_turn(self) -> bool:
        with self._lock:
            self._busy = False
            while True:
                go = self._settle()
                if self._closing:
                    return False
                delay = self._delay() if go else None
                if delay == 0.0:
                    break
                self._lock.wait(delay)
            self._busy = True
            self._turns += 1
            return True

    def _delay(self) -> float:
        """Seconds to wait, for the sake of `speed`, before the next step or before looking again."""
        speed: float | None = self.knobs["speed"]
        if speed is None:
            return 0.0
        period, now = 1 / speed, time.monotonic()
        if now < self._due:
            deadline = math.inf if self._run is None else self._run.deadline
            return min(self._due - now, period, max(deadline - now, 0.001), LONGEST)
        self._due = period + (self._due if now - self._due < period else now)  # no hurry after a long step
        return 0.0

    def _judge(self) -> None:
        """After a step: has the run under way got what it wanted?"""
        run = self._run
        if run is None or run.until is None:
            return
        error: BaseException | None = None
        try:
            over = bool(run.until(Metrics(self.stepper.latest)))
        except BaseException as caught:  # noqa: BLE001  the condition is the caller's; run() raises it there
            error, over = caught, True
        if over:
            with self._lock:
                if self._run is run:
                    self._target = 0.0
                    self._busy = False
                    self._end_run(error)
                    self._settle()

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, NonFiniteLossError):
            message = str(error)
            kept = self.stepper.kept
            remedy = "This step changed no weight. Lower the learning rate, session.set(lr=…), and play()."
            if kept is not None:
                remedy += f" If that fails, too: session.recover() goes back to the weights of step {kept}."
        else:
            message = f"{type(error).__name__}: {error}"
            remedy = "Correct the model or the task and make a new Session; play() tries the same step again."
        text = "".join(traceback.format_exception(error))
        with self._lock:
            if self._closing:
                return
            self._busy = False
            self.failure = Failure(self.stepper.count, message, remedy, text)
            self._trained += time.monotonic() - self._since
            self.state = "failed"
            self._log("failed", message=message)
            self._halt()
            self._tell()


def _nothing() -> None:
    return None


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """End all threads before Python ends: a thread inside torch at that moment can crash the process."""
    engines = list(_engines)
    for engine in engines:
        engine.close(timeout=0)
    for engine in engines:
        engine.close(timeout=5)
