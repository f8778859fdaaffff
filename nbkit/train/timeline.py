"""Where a session stands in its run: on which branch, at which step, and how it gets to another place.

Going back puts the last state that was kept before the step back and makes the steps from there again, in the
session's own thread: the number of threads that torch may use is a thread's own, and sums depend on it.
Training on from an earlier step begins a new branch, so nothing that was measured is lost.
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from nbkit.language import Diagram
from nbkit.train.edit import Edit, carry
from nbkit.train.errors import SessionError, TrainingFailedError
from nbkit.train.history import History
from nbkit.train.state import restore
from nbkit.train.stepper import Stepper

if TYPE_CHECKING:
    from torch import nn

    from nbkit.train.engine import Engine
    from nbkit.train.tree import Keeper, Tree


class _Left(NamedTuple):
    """A branch that was trained before: all it measured, how far it went, and with what."""

    whole: History
    reached: int
    stepper: Stepper
    diagram: Any


class Timeline:
    """The place of a session in its run. After a rewind, `whole` is all that its branch has measured."""

    def __init__(
        self, diagram: Any, engine: Engine, *, whole: History | None = None, reached: int = 0
    ) -> None:
        self.diagram, self.engine = diagram, engine
        self.whole, self._reached = whole, reached
        self._left: dict[int, _Left] = {}

    @property
    def stepper(self) -> Stepper:
        """The model, its optimizer and its data, as they stand."""
        return self.engine.stepper

    @property
    def keeper(self) -> Keeper:
        """What keeps states."""
        return self.engine.keeper

    @property
    def tree(self) -> Tree:
        """The branches of the run."""
        return self.keeper.tree

    @property
    def branch(self) -> int:
        """The number of the branch."""
        return self.keeper.branch

    @property
    def all(self) -> History:
        """All that the branch has measured, also beyond where the session stands."""
        return self.stepper.history if self.whole is None else self.whole

    def reach(self) -> int:
        """The last step of the branch."""
        return self.stepper.count if self.whole is None else self._reached

    def check(self, place: str, step: object) -> None:
        """`ValueError` unless the run has been at the step, on this branch or on those that it came from."""
        furthest, name = self.reach(), self.engine.name
        if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step <= furthest:
            msg = f"{name}: {place}() goes to a step from 0 to {furthest}, where the run has been"
            raise ValueError(f"{msg}, not to {step!r}.")
        floor, other = self.tree.floor(self.branch)
        if step < floor:
            msg = (
                f"{name}: {place}() cannot go to step {step}, since the diagram was changed at step {floor}. "
                f"Before that it is another model: rewind({step}, branch={other})."
            )
            raise ValueError(msg)

    def rewind(self, step: int, branch: int | None) -> None:
        """Stand at exactly this step; see `Session.rewind`. The session is paused."""
        if branch is not None and branch != self.branch:
            self._climb(branch)
        self.check("rewind", step)
        if step == self.stepper.count and self.engine.failure is None and branch is None:
            return
        at, data = self.tree.nearest(self.branch, step)
        if self.whole is None:
            self.whole, self._reached = self.stepper.history, self.stepper.count
        lengths = self.engine.rewind(step, at, data)
        self.stepper.history = self.whole.cut(lengths)
        self.replay(at, step)

    def replay(self, at: int, step: int) -> None:
        """Make the steps again that lead from a kept state to where the run has been."""
        if step > at:
            self.engine.replay(step)
            self.engine.wait(step)
            self.engine.replayed()
            if self.engine.failure is not None:
                raise TrainingFailedError(self.engine.name, self.engine.failure)

    def copy(self, step: int) -> tuple[Stepper, int]:
        """A copy of everything that trains, as it was at the last state kept up to a step; and that step."""
        before = self.stepper
        if step == before.count and self.engine.state != "running":
            self.keeper.take(before)  # where it stands: no step needs to be made again
        at, data = self.tree.nearest(self.branch, step)
        stepper = Stepper(copy.deepcopy(before.model), before.task, before.recipe, before.seed, History())
        lengths = restore(stepper, data)
        stepper.history = self.all.cut(lengths)
        return stepper, at

    def go_on(self) -> None:
        """After a rewind: what comes is a branch of its own, since its steps may differ from those before."""
        if self.whole is None:
            return
        step, parent = self.stepper.count, self.branch
        self._leave()
        name = f"{self.tree.branches[parent].name} from {step}"
        self.keeper.branch = self.tree.grow(name, parent, step, knobs=self.stepper.knobs())
        self.follow()

    def edit(self, diagram: Diagram, module: nn.Module) -> Edit:
        """Train a changed diagram on; see `Session.edit`. The session is paused."""
        old = self.diagram
        if not isinstance(old, Diagram):
            msg = f"{self.engine.name}: edit() changes diagrams, but this session trains a module."
            raise SessionError(f"{msg} Train a diagram.")
        before = self.stepper
        history = before.history.cut(before.history.lengths())
        after = Stepper(module, before.task, before.recipe, before.seed, history)
        edit = carry(before, old, after, diagram)
        after.go_on(before)
        parent, step = self.branch, before.count
        self._leave()
        name = f"{self.tree.branches[parent].name} from {step}, edited"
        facts = {"knobs": after.knobs(), "diagram": json.loads(diagram.json()), "edit": str(edit)}
        self.engine.stepper, self.diagram = after, diagram
        self.keeper.branch = self.tree.grow(name, parent, step, **facts)
        self.follow()
        self.engine.log("edit", **{what: list(names) for what, names in asdict(edit).items()})
        return edit

    def follow(self) -> None:
        """From here on, what is measured belongs to the branch."""
        step, history = self.stepper.count, self.stepper.history
        self.keeper.move(self.branch, step)
        self.tree.follow(self.branch, history, history.before(step))

    def _leave(self) -> None:
        """Note how far the branch went: the session goes to another one."""
        self._left[self.branch] = _Left(self.all, self.reach(), self.stepper, self.diagram)
        self.whole = None

    def _climb(self, branch: int) -> None:
        """Stand on another branch of this run, which this session has trained before."""
        if branch not in self._left:
            known = ", ".join(map(str, sorted({*self._left, self.branch})))
            msg = f"{self.engine.name}: rewind() knows the branches {known}, which this session has trained"
            raise ValueError(f"{msg}, not {branch!r}.")
        self._leave()
        self.whole, self._reached, self.engine.stepper, self.diagram = self._left[branch]
        self.keeper.branch = branch
