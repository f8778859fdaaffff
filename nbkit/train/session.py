"""A training run that is alive: it trains in a background thread and obeys from any thread."""

from __future__ import annotations

import itertools
import math
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

from torch import nn
from torch.random import fork_rng

from nbkit.language import Diagram
from nbkit.record import Branch, Policy, Record, Recorder
from nbkit.train.describe import check_task, describe, rebuilt, recipe_of
from nbkit.train.edit import Edit
from nbkit.train.engine import Engine
from nbkit.train.errors import Failure, SessionError, TrainingFailedError
from nbkit.train.events import Event, Run, State
from nbkit.train.history import History
from nbkit.train.publish import Publisher
from nbkit.train.recipe import Recipe, check, check_knobs
from nbkit.train.state import restore
from nbkit.train.stepper import Stepper
from nbkit.train.timeline import Timeline
from nbkit.train.tree import Keeper, Tree
from nbkit.train.until import Metrics, condition

if TYPE_CHECKING:
    from nbkit.tasks import Task

FLUSH = 2.0  # seconds to wait for the disk before a call returns

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
    record
        A file, `"runs/first.nbkit"`, to write everything to while it trains: see `nbkit.Record`.
    snapshots
        How often the whole state is kept, to rewind and to fork, and how much room that may take.

    Raises
    ------
    TypeError, ValueError
        If model, task or seed are no such things.
    RecordError
        If the record cannot be made.

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
        record: Path | str | None = None,
        snapshots: Policy | None = None,
    ) -> None:
        self.seed = check("Session", "seed", seed)
        self.name = name if name is not None else f"session {next(_numbers)}"
        recipe = recipe if recipe is not None else Recipe()
        diagram, module = _build(model, seed)
        policy = snapshots or Policy()
        stepper = Stepper(module, task, recipe, seed, History())
        facts = describe(self.name, seed, diagram, module, task, recipe) if record is not None else {}
        tree = Tree(Recorder(record, facts, policy=policy) if record is not None else None, policy)
        self._begin(diagram, stepper, tree, tree.grow("main", knobs=recipe.knobs()))
        self._line.follow()

    @classmethod
    def resume(
        cls, record: Path | str, task: Task, *, model: nn.Module | None = None, name: str | None = None
    ) -> Session:
        """A session that goes on with a recorded run, from the last state that was kept.

        Data are not recorded, so `task` must be the run's own; and where the model was no diagram, an equal
        `model` must be given, whose weights are replaced. `rewind` reaches every step of the run.

        Raises
        ------
        RecordError
            If the record cannot be opened, or another session writes it.
        ValueError, SnapshotError
            If task or model are not those of the run.
        """
        path = Path(record)
        with Record.open(path) as known:
            facts, branches, events = known.facts, known.branches, known.events()
            branch, step, data = known.latest()
            whole = History.of({metric: known.series(metric, branch) for metric in known.names(branch)})
            reached = known.last(branch)
        check_task(path, facts, task)
        diagram, module = _build(rebuilt(path, facts) if model is None else model, facts["seed"])
        recipe = recipe_of(facts)
        stepper = Stepper(module, task, recipe, facts["seed"], History())
        stepper.history = whole.cut(restore(stepper, data))
        session = object.__new__(cls)
        session.seed, session.name = facts["seed"], name if name is not None else facts["name"]
        tree = Tree(Recorder(path), Policy())
        tree.adopt(branches, events)
        session._begin(diagram, stepper, tree, branch, whole, max(reached, step))
        return session

    def _begin(
        self,
        diagram: Buildable | None,
        stepper: Stepper,
        tree: Tree,
        branch: int,
        whole: History | None = None,
        reached: int = 0,
    ) -> None:
        """Set up everything that trains and tells; with `whole`, as after a rewind on a branch."""
        self.task, self.recipe, self._tree, self._token = stepper.task, stepper.recipe, tree, branch
        knobs = {**self.recipe.knobs(), **stepper.knobs()}
        self._engine = Engine(stepper, self.name, knobs, Keeper(tree, branch))
        self._line = Timeline(diagram, self._engine, whole=whole, reached=reached)
        self._publisher = Publisher(self)
        tree.joined(branch)
        weakref.finalize(self, _ended, self._engine, tree, branch).atexit = False
        _alive.add(self)

    # ---- controls

    def play(self) -> Self:
        """Train until something stops it, and return at once. After a failure: try the same step again."""
        self._line.go_on()
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
        self._flush()
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
        n = check("Session.step", "n", n)
        self._line.go_on()
        target = self._engine.step(n)
        if wait:
            try:
                self._engine.wait(target)
            except KeyboardInterrupt:
                self._interrupted()
            self._flush()
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
        self._line.go_on()
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        try:
            self._engine.run(Run(holds, math.inf if steps is None else steps, deadline))
        except KeyboardInterrupt:
            self._interrupted()
        self._flush()
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
        checked = check_knobs(knobs, self._engine.knobs, self.recipe.optimizer)
        self._line.go_on()
        self._engine.set(checked)
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

    def rewind(self, step: int, branch: int | None = None) -> Self:
        """Go back to a step where this run has been: weights, optimizer, data order and random numbers.

        The last state that was kept before it is put back, and the steps from there are made again, so that
        the session stands at exactly that step; what follows is bit by bit what followed before, unless
        something is changed; knobs are as they were when that step was made. Training on from there, or
        turning a knob, begins a branch of its own: nothing that was measured is lost. `branches` lists them;
        `branch` says on which to go back (None: on the present one, and those that it came from).

        Raises
        ------
        ValueError
            If the run has not been at that step.
        SessionError
            If no state was kept, or if the session is closed.
        """
        self.pause()
        self._line.rewind(step, branch)
        return self

    def fork(self, step: int | None = None, *, name: str | None = None, **knobs: Any) -> Session:
        """A new session that goes on from a step of this run (None: from where it stands), beside it.

        Both train on by themselves, and share one record if there is one. `knobs` are those of `set`; without
        any, the fork repeats this run bit by bit.

        Raises
        ------
        ValueError, RecipeError, SessionError
            As `rewind` and `set` do.
        """
        knobs = check_knobs(knobs, self._engine.knobs, self.recipe.optimizer)
        step = self.step_count if step is None else step
        self._line.check("fork", step)
        stepper, at = self._line.copy(step)
        other = object.__new__(type(self))
        other.seed = self.seed
        other.name = name if name is not None else f"{self.name} from {step}{_told(knobs)}"
        branch = self._tree.grow(other.name, self.branch, step, knobs=stepper.knobs(), changed=knobs)
        other._begin(self.diagram, stepper, self._tree, branch)
        other._line.replay(at, step)
        other._line.follow()
        self._engine.log("fork", branch=branch, name=other.name, at=step)
        return other.set(**knobs) if knobs else other

    def edit(self, diagram: Diagram, *, seed: int | None = None) -> Edit:
        """Train a changed diagram on: what is the same in both keeps its weights and optimizer state.

        An operation at the same path with the same settings and types goes on as it was. With other sizes, it
        keeps the numbers that both have. New weights are drawn from `seed` (None: the session's). What comes
        is a branch of its own, from the present step on.

        Returns
        -------
        Edit
            Names of the weights that were kept, resized, new or gone.

        Raises
        ------
        SessionError
            If the session trains a module that is no diagram.
        DiagramError
            If the diagram cannot be built; then nothing has changed.
        """
        self.pause()
        _, module = _build(diagram, self.seed if seed is None else seed)
        return self._line.edit(diagram, module)

    def close(self, timeout: float | None = 60.0) -> None:
        """End training and its thread for good; what was measured can still be read. Twice does no harm.

        A record is closed with the last session that writes it.
        """
        self._engine.close(timeout)
        self._flush()
        self._tree.left(self._token)

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
    def model(self) -> nn.Module:
        """What is trained."""
        return self._stepper.model

    @property
    def diagram(self) -> Buildable | None:
        """The diagram of the model; None if it was given as a module."""
        diagram: Buildable | None = self._line.diagram
        return diagram

    @property
    def _stepper(self) -> Stepper:
        return self._engine.stepper

    @property
    def history(self) -> History:
        """What was measured on the way to where the session stands."""
        return self._stepper.history

    @property
    def branch(self) -> int:
        """The number of the branch that it trains; the run itself is 1."""
        return self._line.branch

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The run itself and everything that left it: forks, and what was trained on after a rewind."""
        return tuple(self._tree.branches.values())

    @property
    def record(self) -> Path | None:
        """The file that it is recorded in."""
        return self._tree.recorder.path if self._tree.recorder is not None else None

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

    def _flush(self) -> None:
        """What was measured is on disk before anybody is told that it is done."""
        if self._tree.recorder is not None:
            self._tree.recorder.flush(FLUSH)

    def _interrupted(self) -> None:
        self._engine.log("interrupted")
        self._engine.pause(None)

    def _raise_failure(self) -> None:
        failure = self._engine.failure
        if failure is not None:
            raise TrainingFailedError(self.name, failure)


def _ended(engine: Engine, tree: Tree, token: int) -> None:
    """What happens when nobody holds a session any more."""
    engine.close(timeout=0)
    tree.left(token)


def _told(knobs: Mapping[str, Any]) -> str:
    shown = {name: f"{value:g}" if isinstance(value, float) else value for name, value in knobs.items()}
    return "".join(f", {name} {value}" for name, value in shown.items())


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
