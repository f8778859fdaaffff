"""A training run that is alive: it trains in a background thread and obeys from any thread."""

from __future__ import annotations

import copy
import itertools
import json
import math
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

from torch import nn
from torch.random import fork_rng

from nbkit.language import Diagram
from nbkit.record import Branch, Policy, Record, Recorder
from nbkit.train.describe import check_task, describe, rebuilt, recipe_of
from nbkit.train.edit import Edit, carry
from nbkit.train.engine import Engine
from nbkit.train.errors import Failure, SessionError, TrainingFailedError
from nbkit.train.events import Event, Run, State
from nbkit.train.history import History
from nbkit.train.publish import Publisher
from nbkit.train.recipe import Recipe, check, check_knobs
from nbkit.train.state import restore
from nbkit.train.stepper import Stepper
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
        self._follow()

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
        self.diagram, self.model, self.task, self.recipe = (
            diagram,
            stepper.model,
            stepper.task,
            stepper.recipe,
        )
        self._stepper, self._tree, self._keeper = stepper, tree, Keeper(tree, branch)
        self._left: dict[int, _Left] = {}  # branches that it trained before
        self._whole = whole  # after a rewind: all of the branch that it stands on …
        self._reached = reached  # … and how far that went
        knobs = {**self.recipe.knobs(), **stepper.knobs()}
        self._engine = Engine(stepper, self.name, knobs, self._keeper)
        self._publisher = Publisher(self)
        self._token = branch
        tree.joined(branch)
        weakref.finalize(self, _ended, self._engine, tree, branch).atexit = False
        _alive.add(self)

    # ---- controls

    def play(self) -> Self:
        """Train until something stops it, and return at once. After a failure: try the same step again."""
        self._branch_off()
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
        self._branch_off()
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
        self._branch_off()
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
        self._branch_off()
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
        if branch is not None and branch != self.branch:
            self._climb(branch)
        self._check_step("rewind", step)
        if step == self.step_count and self.failure is None and branch is None:
            return self
        at, data = self._tree.nearest(self.branch, step)
        if self._whole is None:
            self._whole, self._reached = self.history, self.step_count
        lengths = self._engine.rewind(step, at, data)
        self._stepper.history = self._whole.cut(lengths)
        self._replay(at, step)
        return self

    def _climb(self, branch: int) -> None:
        """Stand on another branch of this run, which this session has trained before."""
        if branch not in self._left:
            known = ", ".join(map(str, sorted({*self._left, self.branch})))
            msg = f"{self.name}: rewind() knows the branches {known}, which this session has trained"
            raise ValueError(f"{msg}, not {branch!r}.")
        self._leave()
        self._whole, self._reached, stepper, self.diagram = self._left[branch]
        self._engine.stepper, self._stepper, self.model = stepper, stepper, stepper.model
        self._keeper.branch = branch

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
        self._check_step("fork", step)
        if step == self.step_count and self.state != "running":
            self._keeper.take(self._stepper)  # where it stands: no step needs to be made again
        at, data = self._tree.nearest(self.branch, step)
        stepper = Stepper(copy.deepcopy(self.model), self.task, self.recipe, self.seed, History())
        lengths = restore(stepper, data)
        stepper.history = (self._whole or self.history).cut(lengths)
        other = object.__new__(type(self))
        other.seed = self.seed
        other.name = name if name is not None else f"{self.name} from {step}{_told(knobs)}"
        branch = self._tree.grow(other.name, self.branch, step, knobs=stepper.knobs(), changed=knobs)
        other._begin(self.diagram, stepper, self._tree, branch)
        other._replay(at, step)
        other._follow()
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
        if not isinstance(self.diagram, Diagram):
            msg = f"{self.name}: edit() changes diagrams, but this session trains a module. Train a diagram."
            raise SessionError(msg)
        self.pause()
        _, module = _build(diagram, self.seed if seed is None else seed)
        after = Stepper(module, self.task, self.recipe, self.seed, self.history.cut(self.history.lengths()))
        edit = carry(self._stepper, self.diagram, after, diagram)
        after.go_on(self._stepper)
        parent, step = self.branch, self.step_count
        self._leave()
        name = f"{self._tree.branches[parent].name} from {step}, edited"
        facts = {"knobs": after.knobs(), "diagram": json.loads(diagram.json()), "edit": str(edit)}
        self._engine.stepper = self._stepper = after
        self.diagram, self.model = diagram, module
        self._keeper.branch = self._tree.grow(name, parent, step, **facts)
        self._follow()
        self._engine.log("edit", **{k: list(v) for k, v in asdict(edit).items()})
        return edit

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
    def history(self) -> History:
        """What was measured on the way to where the session stands."""
        return self._stepper.history

    @property
    def branch(self) -> int:
        """The number of the branch that it trains; the run itself is 1."""
        return self._keeper.branch

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

    def _check_step(self, place: str, step: object) -> None:
        furthest = self._reach()
        floor, other = self._tree.floor(self.branch)
        if isinstance(step, int) and 0 <= step < floor:
            msg = (
                f"{self.name}: {place}() cannot go to step {step}, since the diagram was changed at step "
                f"{floor}. Before that it is another model: rewind({step}, branch={other})."
            )
            raise ValueError(msg)
        if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step <= furthest:
            msg = (
                f"{self.name}: {place}() goes to a step from 0 to {furthest}, where the run has been, not to "
            )
            raise ValueError(f"{msg}{step!r}.")

    def _leave(self) -> None:
        """Note how far the branch went on which it stands: it goes to another one."""
        whole = self.history if self._whole is None else self._whole
        self._left[self.branch] = _Left(whole, self._reach(), self._stepper, self.diagram)
        self._whole = None

    def _reach(self) -> int:
        """The last step of the branch that it stands on."""
        return self.step_count if self._whole is None else self._reached

    def _branch_off(self) -> None:
        """After a rewind: what comes is a branch of its own, since its steps may differ from those before."""
        if self._whole is None:
            return
        step, parent = self.step_count, self.branch
        self._leave()
        name = f"{self._tree.branches[parent].name} from {step}"
        self._keeper.branch = self._tree.grow(name, parent, step, knobs=self._stepper.knobs())
        self._follow()

    def _replay(self, at: int, step: int) -> None:
        """Make the steps again that lead from a kept state to where the run has been: in its own thread,
        since the number of threads that torch may use is a thread's own, and sums depend on it.
        """
        if step > at:
            self._engine.replay(step)
            self._engine.wait(step)
            self._engine.replayed()
            self._raise_failure()

    def _follow(self) -> None:
        """From here on, what is measured belongs to the branch."""
        self._keeper.move(self.branch, self.step_count)
        self._tree.follow(self.branch, self.history, self.history.before(self.step_count))

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


class _Left(NamedTuple):
    """A branch that a session trained before: all it measured, how far it went, and with what."""

    whole: History
    reached: int
    stepper: Stepper
    diagram: Buildable | None


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
