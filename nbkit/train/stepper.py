"""The mathematics of a training run: one update at a time, in the caller's thread, without threads or locks.

A metric labelled s belongs to the weights after s updates. Step number s runs the model on a batch, records
the training loss (and, when an evaluation is due, the other training metrics, from that same output),
updates, and then, when an evaluation is due, runs the test set on the new weights, labelled s + 1.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nbkit.train.errors import NonFiniteLossError
from nbkit.train.randomness import Randomness
from nbkit.train.recipe import evaluation_period, make_optimizer

if TYPE_CHECKING:
    from torch import Tensor

    from nbkit.tasks import Task
    from nbkit.train.history import History
    from nbkit.train.recipe import Recipe

CHUNK = 16384  # examples of the test set that are evaluated at once: bounds the memory
KEPT_PARAMETERS = 10_000_000  # the largest model of which a copy is kept at evaluations
DIVERGED = 100.0  # times the first test loss: beyond it, weights are not worth keeping
SMALL_STEP = 5e7  # examples per step × parameters, below which a second thread costs more than it brings


class Stepper:
    """A model, its optimizer and its data; `step()` makes one update and records what it measured.

    Batches are shuffled by a generator of this object, and a model that draws random numbers (dropout) draws
    its own; see `Randomness`.
    """

    def __init__(self, model: nn.Module, task: Task, recipe: Recipe, seed: int, history: History) -> None:
        self.model = model
        self.task = task
        self.recipe, self.seed = recipe, seed
        self.history = history
        self.count = 0
        self.latest: dict[str, float] = {}
        self.batch_size = recipe.batch_size
        self._asked = recipe.eval_every
        self.eval_every = self._period()
        parameters = [p for p in model.parameters() if p.requires_grad]
        if not parameters:
            msg = (
                "Session: the model must have at least one parameter that requires a gradient, but has none. "
                "Add a layer with weights, or unfreeze one with requires_grad_(True)."
            )
            raise ValueError(msg)
        self.optimizer = make_optimizer(recipe, parameters)
        self._lr = recipe.lr
        self.parameters = sum(p.numel() for p in parameters)
        self._batches = torch.Generator().manual_seed(seed)
        self._unshuffled = self._batches.get_state()
        self.order: Tensor | None = None  # of the training examples, in this pass over them
        self._position = 0
        self._random = Randomness(seed)
        self._evaluated = -1
        self._diverged = math.inf
        self._copies: list[Tensor] = []
        self.kept: int | None = None  # the step whose weights `restore` puts back

    def step(self) -> None:
        """Make one update.

        Raises
        ------
        NonFiniteLossError
            If the loss is NaN or infinite; no weight has changed then.
        """
        step = self.count
        if step == 0:
            self.evaluate()
        inputs, targets = self._batch()
        self.optimizer.zero_grad()
        with self._random.lent():
            output = self.model(inputs)
        self._random.settle()
        loss = self.task.loss(output, targets)
        value = loss.item()
        if not math.isfinite(value):
            raise NonFiniteLossError(f"the loss is {value}.")
        if self.recipe.schedule != "constant" or self.recipe.warmup:
            for group in self.optimizer.param_groups:
                group["lr"] = self._lr * self.recipe.factor(step)
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
        self.optimizer.step()
        self.count = step + 1
        self._record("train/loss", step, value)
        if step % self.eval_every == 0:
            with torch.no_grad():
                for name, metric in self.task.metrics(output, targets).items():
                    self._record(f"train/{name}", step, metric.item())
        if self.count % self.eval_every == 0:
            self.evaluate()

    def evaluate(self) -> None:
        """Measure loss and metrics on the test set in eval mode, unless done for these weights already."""
        if self._evaluated == self.count:
            return
        training = [module for module in self.model.modules() if module.training]
        self.model.eval()
        try:
            with torch.no_grad(), self._random.lent():
                totals = self._test_totals()
        finally:
            for module in training:
                module.training = True
        for name, total in totals.items():
            self._record(f"test/{name}", self.count, total / len(self.task.test[1]))
        self._evaluated = self.count
        if self.count == 0:
            self._diverged = DIVERGED * abs(self.latest["test/loss"])
        if self.latest["test/loss"] <= self._diverged and self.parameters <= KEPT_PARAMETERS:
            self._keep()

    def restore(self) -> None:
        """Put the weights, buffers and optimizer state of step `kept` back."""
        now = self._tensors()
        if len(now) > len(self._copies):  # the optimizer had no state yet when they were kept
            self.optimizer.state.clear()
        with torch.no_grad():
            for tensor, copy in zip(now, self._copies, strict=False):
                tensor.copy_(copy)

    def set(self, knob: str, value: Any) -> None:
        """Give a knob of the optimizer or of the data a new, already checked value; an equal one changes
        nothing.
        """
        if self.knobs().get(knob, ...) == value:
            return
        if knob == "batch_size":
            self.batch_size, self.order = value, None
            self.eval_every = self._period()
        elif knob == "eval_every":
            self._asked = value
            self.eval_every = self._period()
        else:
            if knob == "lr":
                self._lr = value
            for group in self.optimizer.param_groups:
                group[knob] = value

    def knobs(self) -> dict[str, Any]:
        """The knobs of the optimizer and of the data, as they are."""
        group = self.optimizer.param_groups[0]
        names = [n for n in ("weight_decay", "betas", "momentum") if n in self.recipe.knobs()]
        return {
            "lr": self._lr,
            **{name: group[name] for name in names},
            "batch_size": self.batch_size,
            "eval_every": self._asked,
        }

    def plain(self) -> dict[str, Any]:
        """What `state.capture` saves beside tensors: plain values, exactly."""
        shuffled = self._batches.get_state()
        return {
            "count": self.count,
            "lr": self._lr,
            "batch_size": self.batch_size,
            "eval_every": self._asked,
            "position": self._position,
            "batches": None if torch.equal(shuffled, self._unshuffled) else bytes(shuffled.tolist()).hex(),
            "random": self._random.plain(),
            "latest": self.latest,
            "evaluated": self._evaluated,
            "diverged": self._diverged if math.isfinite(self._diverged) else None,
            "lengths": self.history.lengths(),
        }

    def go_on(self, before: Stepper) -> None:
        """Go on in the data, the knobs and the random numbers where another run stands."""
        for knob, value in before.knobs().items():
            self.set(knob, value)
        self.count, self.latest = before.count, dict(before.latest)
        self.order, self._position = before.order, before._position
        self._batches.set_state(before._batches.get_state())
        self._random = before._random
        self._diverged = before._diverged

    def put(self, run: dict[str, Any], order: Tensor | None) -> None:
        """Put back what `plain` gave; `order` are the shuffled examples."""
        self.count, self.latest, self._lr = run["count"], dict(run["latest"]), run["lr"]
        self.batch_size, self._asked = run["batch_size"], run["eval_every"]
        self.eval_every = self._period()
        self.order, self._position = order, run["position"]
        self._batches.set_state(
            self._unshuffled
            if run["batches"] is None
            else torch.frombuffer(bytearray.fromhex(run["batches"]), dtype=torch.uint8)
        )
        self._random.put(run["random"])
        self._copies, self.kept = [], None  # of tensors that the optimizer no longer has
        self._evaluated = run["evaluated"]
        self._diverged = math.inf if run["diverged"] is None else run["diverged"]

    def threads(self) -> int:
        """Threads for one torch operation: the recipe's, or one if a step is small, or torch's less one."""
        if self.recipe.threads is not None:
            return self.recipe.threads
        batch = self.batch_size or len(self.task.train[1])
        return 1 if batch * self.parameters < SMALL_STEP else max(torch.get_num_threads() - 1, 1)

    def _tensors(self) -> list[Tensor]:
        state = [t for s in self.optimizer.state.values() for t in s.values() if isinstance(t, torch.Tensor)]
        return [*self.model.parameters(), *self.model.buffers(), *state]

    def _keep(self) -> None:
        now = self._tensors()
        if len(now) != len(self._copies):
            self._copies = [torch.empty_like(tensor) for tensor in now]
        with torch.no_grad():
            for tensor, copy in zip(now, self._copies, strict=True):
                copy.copy_(tensor)
        self.kept = self.count

    def _record(self, name: str, step: int, value: float) -> None:
        self.latest[name] = value
        self.history.append(name, step, value)

    def _batch(self) -> tuple[Tensor, Tensor]:
        inputs, targets = self.task.train
        size = self.batch_size
        if size is None or size >= len(targets):
            return inputs, targets
        if self.order is None or self._position + size > len(targets):  # a last, smaller batch is left out
            self.order = torch.randperm(len(targets), generator=self._batches)
            self._position = 0
        chosen = self.order[self._position : self._position + size]
        self._position += size
        return inputs[chosen], targets[chosen]

    def _test_totals(self) -> dict[str, float]:
        inputs, targets = self.task.test
        totals: dict[str, float] = {}
        for start in range(0, len(targets), CHUNK):
            target = targets[start : start + CHUNK]
            output = self.model(inputs[start : start + CHUNK])
            measured = {"loss": self.task.loss(output, target), **self.task.metrics(output, target)}
            for name, metric in measured.items():
                totals[name] = totals.get(name, 0.0) + metric.item() * len(target)
        return totals

    def _period(self) -> int:
        if self._asked is not None:
            return self._asked
        train, test = len(self.task.train[1]), len(self.task.test[1])
        return evaluation_period(min(self.batch_size or train, train), test)


def use_threads(count: int) -> None:
    """Give this thread `count` threads for a torch operation, and leave what new threads get as it was."""
    usual = torch.get_num_threads()
    if count == usual:
        return
    torch.set_num_threads(count)
    helper = threading.Thread(target=torch.set_num_threads, args=(usual,))
    helper.start()
    helper.join()
