"""A training run that is alive: it trains in a background thread and obeys from any thread."""

from __future__ import annotations

import itertools
import math
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

from torch import nn
from torch.random import fork_rng

from nbkit.train.engine import Engine
from nbkit.train.errors import Failure, SessionError, TrainingFailedError
from nbkit.train.events import Event, Run, State
from nbkit.train.history import History
from nbkit.train.publish import Publisher
from nbkit.train.recipe import Recipe, check, check_knobs
from nbkit.train.stepper import Stepper
from nbkit.train.until import Metrics, condition

if TYPE_CHECKING:
    from nbkit.tasks import Task

_numbers = itertools.count(1)
_alive: weakref.WeakSet[Session] = weakref.WeakSet()


def alive() -> list[Session]:
    """All sessions that somebody still holds."""
    return list(_alive)


@runtime_checkable
class Buildable(Protocol):
    """What a session can make a module from; a diagram is one."""

    def torch(self, *, seed: int) -> nn.Module:
        """The module, with weights drawn from `seed`."""


class Session:
    """Train a model on a task in the background, and steer it while it trains.

    Parameters
    ----------
    model
        A diagram, which is built with `seed`, or any `torch.nn.Module`, which is trained in place.
    task
        What to learn; see `nbkit.tasks`.
    recipe
        How; see `Recipe`.
    seed
        Of the weights (if the model is a diagram), of the batches and of dropout. Equal seeds on one machine
        give equal histories. torch's global generator is left as it was; for dropout see `Stepper`.
    name
        What messages and views call it.

    Raises
    ------
    TypeError, ValueError
        If model, task or seed are no such things.

    Notes
    -----
    Every method can be called from any thread at any time. All steps are made in one background daemon
    thread, so a notebook's other cells can be executed meanwhile; a read of `session.model` while it trains
    may see a step half done, so pause before you measure it. Training ends when the session is closed or
    forgotten (when the last reference to it is dropped), and when Python ends.

    Examples
    --------
    >>> from torch import nn
    >>> from nbkit.tasks import spirals
    >>> model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    >>> session = Session(model, spirals(), Recipe(lr=0.01), name="demo")
    >>> session.step(3).step_count
    3
    >>> session.set(lr=0.02).run(steps=7)
    Session 'demo': paused at step 10, ...
    >>> steps, losses = session.history["train/loss"]
    >>> len(losses)
    10
    >>> session.close()
    """

    view_factory: ClassVar[Callable[[Session], Any] | None] = None
    """Makes the widget that shows a session; `nbkit.widgets` puts it here when it is imported."""

    def __init__(
        self,
        model: Buildable | nn.Module,
        task: Task,
        recipe: Recipe | None = None,
        *,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        self.seed = check("Session", "seed", seed)
        self.task = task
        self.recipe = recipe if recipe is not None else Recipe()
        self.name = name if name is not None else f"session {next(_numbers)}"
        self.diagram, self.model = _build(model, seed)
        self.history = History()
        self._stepper = Stepper(self.model, task, self.recipe, seed, self.history)
        self._engine = Engine(self._stepper, self.name, self.recipe.knobs())
        self._publisher = Publisher(self)
        weakref.finalize(self, self._engine.close, timeout=0).atexit = False
        _alive.add(self)

    # ---- controls

    def play(self) -> Self:
        """Train until something stops it, and return at once. After a failure: try the same step again."""
        self._engine.play()
        return self

    def pause(self, timeout: float | None = 60.0) -> Self:
        """Stop training, and return when the step under way has ended.

        Raises
        ------
        TimeoutError
            If it has not ended after `timeout` seconds (None: wait for ever). The session pauses when it
            does.
        """
        self._engine.pause(timeout)
        return self

    def step(self, n: int = 1, *, wait: bool = True) -> Self:
        """Make exactly n more steps and pause; while it plays: n more after the step under way.

        Calls add up: two threads that call `step(2)` on a paused session make four steps. With `wait`,
        returns when the steps are made or something else has stopped training.

        Raises
        ------
        TrainingFailedError
            If training failed while this call waited.
        """
        target = self._engine.step(check("Session.step", "n", n))
        if wait:
            try:
                self._engine.wait(target)
            except KeyboardInterrupt:
                self._interrupted()
            self._raise_failure()
        return self

    def run(
        self,
        until: Callable[[Metrics], object] | str | None = None,
        *,
        steps: int | None = None,
        seconds: float | None = None,
    ) -> Self:
        """Train, and return when the condition holds, the steps are made or the time is over.

        Parameters
        ----------
        until
            A function of the latest metrics (a dictionary such as `session.metrics`), called after every step
            in the training thread, or text such as `"test/accuracy > 0.99"`. Test metrics are those of the
            weights as they are then; they change at every evaluation.
        steps
            At most so many steps.
        seconds
            At most so long, in wall-clock time; the step under way is finished.

        Ctrl-C, or the notebook's interrupt button, pauses the session; `run` returns it then, too. Without
        any limit it runs until that, until `max_steps`, or until `pause()` is called elsewhere.

        Raises
        ------
        TrainingFailedError
            If training failed. The session can be inspected: `session.failure`.
        SessionError
            If another thread is in `run`, or training is finished or closed.
        """
        steps, seconds = check("Session.run", "steps", steps), check("Session.run", "seconds", seconds)
        holds = condition(until) if isinstance(until, str) else until
        if holds is not None and self._stepper.latest and holds(self.metrics):
            return self.pause()
        if threading.current_thread() is self._engine.thread:
            msg = f"{self.name}: run() was called from inside a training step. Call it from another thread."
            raise SessionError(msg)
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        try:
            self._engine.run(Run(holds, math.inf if steps is None else steps, deadline))
        except KeyboardInterrupt:
            self._interrupted()
        self._raise_failure()
        return self

    def set(self, **knobs: Any) -> Self:
        """Change knobs, e.g. `set(lr=1e-4, speed=10)`: applied between two steps, logged as an event with its
        step.

        Those of `session.knobs`: lr, weight_decay, betas or momentum, batch_size, eval_every, max_steps,
        speed.

        Raises
        ------
        RecipeError
            If a knob is unknown or its value makes no sense; then none is changed.
        """
        self._engine.set(check_knobs(knobs, self._engine.knobs, self.recipe.optimizer))
        return self

    def recover(self) -> Self:
        """Go back to the weights and the optimizer state of the last evaluation with a sane loss.

        For when training has diverged so far that a lower learning rate does not help. Sane means: finite,
        and at most 100 times the first test loss. The step count goes on; the event `recover` names the step
        of the weights.

        Raises
        ------
        SessionError
            If the session runs or is closed, or if nothing was kept: before the first step, or because the
            model has more than 10⁷ parameters (a copy takes three times the memory of the weights).
        """
        self._engine.recover()
        return self

    def close(self, timeout: float | None = 60.0) -> None:
        """End training and its thread for good; what was measured can still be read. Twice does no harm."""
        self._engine.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- what it knows

    @property
    def state(self) -> State:
        """`"paused"`, `"running"`, `"failed"`, `"finished"` (max_steps reached) or `"closed"`."""
        return self._engine.state

    @property
    def step_count(self) -> int:
        """Number of updates that the weights have received."""
        return self._stepper.count

    @property
    def elapsed(self) -> float:
        """Seconds of training so far: the time spent in the state `"running"`."""
        return self._engine.elapsed

    @property
    def metrics(self) -> Metrics:
        """Latest value of every metric: `train/loss`, `test/loss`, and `train/…`, `test/…` for the task's
        metrics.

        `train/loss` is that of the last step, before its update; the others are of the latest evaluation.
        """
        return Metrics(self._stepper.latest.copy())

    @property
    def knobs(self) -> dict[str, Any]:
        """Value of everything that `set` can change, as last asked for."""
        return dict(self._engine.knobs)

    @property
    def events(self) -> tuple[Event, ...]:
        """What happened, oldest first.

        Kinds: play, pause, step, run, set, interrupted, recover, failed, finished, closed.
        """
        return self._engine.events

    @property
    def failure(self) -> Failure | None:
        """Why training stopped by itself, or None; cleared when it goes on."""
        return self._engine.failure

    # ---- views

    def subscribe(self, callback: Callable[[Session], object], hz: float = 20) -> Callable[[], None]:
        """Have `callback(session)` called when something is new; gives the function that ends it.

        Called once at first, then promptly at every change of state, knob or events, and at most `hz` times a
        second for new steps. Calls come from one thread per session, never from the training thread, one at a
        time; while a callback is busy, news are not queued but seen at its next call
        (`session.history.since(cursor)`). One that raises is dropped, with its traceback in the log `nbkit`.
        A call under way may outlive the end.
        """
        return self._publisher.subscribe(callback, check("Session.subscribe", "hz", hz))

    def show(self) -> Any:
        """A new widget that shows and steers this session.

        Raises
        ------
        SessionError
            If no widget is at hand.
        """
        factory = type(self).view_factory
        if factory is None:
            msg = f"{self.name}: show() has no widget to show it with. Do `import nbkit.widgets` first."
            raise SessionError(msg)
        return factory(self)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        if type(self).view_factory is None:
            return {"text/plain": repr(self)}
        return self.show()._repr_mimebundle_(**options)

    def __repr__(self) -> str:
        where = f"Session {self.name!r}: {self.state} at step {self.step_count}"
        return ", ".join([where, *(f"{name} {value:.4g}" for name, value in self.metrics.items())])

    # ---- inside

    def _interrupted(self) -> None:
        self._engine.log("interrupted")
        self._engine.pause(None)

    def _raise_failure(self) -> None:
        failure = self._engine.failure
        if failure is not None:
            raise TrainingFailedError(self.name, failure)


def _build(model: object, seed: int) -> tuple[Buildable | None, nn.Module]:
    if isinstance(model, nn.Module):
        return None, model
    if isinstance(model, Buildable):
        with fork_rng(devices=[]):
            return model, model.torch(seed=seed)
    kind = type(model).__name__
    msg = f"Session: model must be a diagram or a torch.nn.Module, but is of type {kind}. "
    if hasattr(model, "on"):
        msg += "Apply it to the task's inputs first: Session(model.on(task.inputs), task)."
    else:
        msg += "Give a diagram, such as model.on(task.inputs), or a module."
    raise TypeError(msg)
