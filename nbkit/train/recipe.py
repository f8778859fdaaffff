"""How to train: optimizer, its knobs, batches, when to evaluate and when to stop.

A recipe is validated when it is made; the same checks guard `Session.set` while training runs.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from nbkit.train.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor
    from torch.optim import Optimizer

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("constant", "cosine", "linear")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a session trains.

    Parameters
    ----------
    optimizer
        `"adamw"` (Loshchilov & Hutter 2019, arXiv 1711.05101), `"adam"` (Kingma & Ba 2015, arXiv 1412.6980)
        or `"sgd"`, as in `torch.optim`.
    lr
        Learning rate, > 0.
    weight_decay
        ≥ 0. Decoupled from the gradient for `"adamw"`, an L2 penalty for the others, as in torch.
    betas
        Decay rates of Adam's running means of the gradient and of its square, each in [0, 1).
    momentum
        Momentum of `"sgd"`, in [0, 1).
    schedule
        What becomes of the learning rate: `"constant"`, `"cosine"` (half a wave, Loshchilov & Hutter 2017,
        arXiv 1608.03983) or `"linear"`, both down to 0 at step `horizon`.
    warmup
        Steps over which the learning rate grows linearly to its value before that.
    horizon
        Step at which a schedule has come down; needed unless it is constant.
    batch_size
        Examples per step; `None` takes the whole training set in every step, without copying it.
    eval_every
        Steps between two evaluations on the test set, which also records the other training metrics than the
        loss. `None` takes the smallest number of 10, 20, 50, 100, … at which evaluating costs at most a tenth
        of the time, counting a training step as three forward passes. It is not measured: equal seeds give
        equal runs.
    max_steps
        Training finishes after this many steps; `None`: never by itself.
    speed
        Most steps per second, to watch slowly; `None`: as fast as it goes.
    threads
        Threads that one torch operation may use, for this session only. `None`: one if a step is small
        (examples per step × parameters < 5 · 10⁷), else one fewer than torch would take, so that a core is
        left to the notebook and the browser. Measured on 2 cores: an MLP 2-32-32-1 on 512 points takes 0.42
        ms a step on one thread and 1.0 ms on two. An MLP 128-256-97 on 4704 points takes 17 ms and 10 ms
        while the machine is idle, but 33 ms and 100 to 190 ms while another process keeps one core busy,
        since each thread waits for the other.

    Raises
    ------
    RecipeError
        If a value makes no sense; the message says which, why and what to do.

    Examples
    --------
    >>> Recipe(lr=1e-3, weight_decay=1.0).optimizer
    'adamw'
    >>> Recipe(lr=-1.0)
    Traceback (most recent call last):
        ...
    nbkit.RecipeError: Recipe: lr must be a finite number > 0, but is -1.0. Usual are 1e-4 … 1e-2.
    """

    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.0
    schedule: str = "constant"
    warmup: int = 0
    horizon: int | None = None
    batch_size: int | None = None
    eval_every: int | None = None
    max_steps: int | None = None
    speed: float | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            known = " ".join(map(repr, OPTIMIZERS))
            near = difflib.get_close_matches(str(self.optimizer).lower(), OPTIMIZERS, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}?" if near else "Take one of these names."
            raise RecipeError("Recipe", "optimizer", f"one of {known}", self.optimizer, hint)
        if self.schedule not in SCHEDULES:
            known = " ".join(map(repr, SCHEDULES))
            raise RecipeError(
                "Recipe", "schedule", f"one of {known}", self.schedule, "Take one of these names."
            )
        if self.schedule != "constant" and (self.horizon is None or not self.horizon > self.warmup):
            remedy = "A schedule needs to know when to have come down."
            raise RecipeError("Recipe", "horizon", "a step after the warm-up", self.horizon, remedy)
        for field in fields(self):
            if field.name in _CHECKS:
                object.__setattr__(self, field.name, check("Recipe", field.name, getattr(self, field.name)))

    def factor(self, step: int) -> float:
        """What the schedule multiplies the learning rate of a step by.

        >>> recipe = Recipe(schedule="linear", warmup=2, horizon=6)
        >>> [recipe.factor(step) for step in range(8)]
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
        """
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.schedule == "constant" or self.horizon is None:
            return 1.0
        left = max(self.horizon - step, 0) / (self.horizon - self.warmup)
        return left if self.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2

    def knobs(self) -> dict[str, Any]:
        """What can be set while training runs, by name: those knobs that this optimizer has."""
        names = ["lr", "weight_decay", "momentum" if self.optimizer == "sgd" else "betas"]
        return {
            name: getattr(self, name) for name in [*names, "batch_size", "eval_every", "max_steps", "speed"]
        }


def check(place: str, knob: str, value: Any) -> Any:
    """Give `value` back, in the knob's type, if it makes sense for it; raise `RecipeError` if not."""
    accepts, expected, remedy = _CHECKS[knob]
    ok, clean = accepts(value)
    if not ok:
        raise RecipeError(place, knob, expected, value, remedy)
    return clean


def check_knobs(knobs: Mapping[str, Any], known: Mapping[str, Any], optimizer: str) -> dict[str, Any]:
    """The given knobs in their types, if this optimizer has them all and they make sense."""
    for name in knobs:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}?" if near else "Take one of these."
            names = " ".join(known)
            raise RecipeError(
                "Session.set", "the knob", f"one of {names} (optimizer {optimizer!r})", name, hint
            )
    return {name: check("Session.set", name, value) for name, value in knobs.items()}


def make_optimizer(recipe: Recipe, parameters: Iterable[Tensor]) -> Optimizer:
    """The torch optimizer of a recipe, fused: for small models that takes a third of the time."""
    import torch

    weights = list(parameters)
    fused = all(w.is_floating_point() and w.device.type in ("cpu", "cuda") for w in weights)
    common: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "fused": fused}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(weights, momentum=recipe.momentum, **common)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(weights, betas=recipe.betas, **common)


def evaluation_period(batch: int, test: int) -> int:
    """The smallest of 10, 20, 50, 100, … steps at which evaluating takes at most a tenth of the time.

    Examples
    --------
    >>> evaluation_period(batch=4704, test=4705), evaluation_period(batch=32, test=5000)
    (10, 1000)
    """
    least = 10 * test / (3 * batch)
    power = 10
    while True:
        for factor in (1, 2, 5):
            if factor * power >= least:
                return factor * power
        power *= 10


def _number(value: Any) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number else math.nan


def _positive(value: Any) -> tuple[bool, Any]:
    number = _number(value)
    return math.isfinite(number) and number > 0, number


def _non_negative(value: Any) -> tuple[bool, Any]:
    number = _number(value)
    return math.isfinite(number) and number >= 0, number


def _decay(value: Any) -> tuple[bool, Any]:
    number = _number(value)
    return 0 <= number < 1, number


def _decays(value: Any) -> tuple[bool, Any]:
    pair = isinstance(value, (tuple, list)) and len(value) == 2 and all(_decay(v)[0] for v in value)
    return pair, tuple(map(float, value)) if pair else None


def _count(value: Any) -> tuple[bool, Any]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1, value


def _natural(value: Any) -> tuple[bool, Any]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0, value


def _seed(value: Any) -> tuple[bool, Any]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32, value


def _or_none(accepts: Callable[[Any], tuple[bool, Any]]) -> Callable[[Any], tuple[bool, Any]]:
    return lambda value: (True, None) if value is None else accepts(value)


_CHECKS: dict[str, tuple[Callable[[Any], tuple[bool, Any]], str, str]] = {
    "lr": (_positive, "a finite number > 0", "Usual are 1e-4 … 1e-2."),
    "weight_decay": (_non_negative, "a finite number ≥ 0", "0 switches it off."),
    "betas": (_decays, "two numbers in [0, 1)", "Usual is (0.9, 0.999)."),
    "momentum": (_decay, "a number in [0, 1)", "Usual are 0 and 0.9."),
    "warmup": (_natural, "an integer ≥ 0", "0 starts at the full learning rate."),
    "horizon": (_or_none(_count), "an integer ≥ 1, or None", "None suits a constant learning rate only."),
    "batch_size": (_or_none(_count), "an integer ≥ 1, or None", "None takes the whole training set."),
    "eval_every": (_or_none(_count), "an integer ≥ 1, or None", "None chooses by the sizes of the data."),
    "max_steps": (_or_none(_count), "an integer ≥ 1, or None", "None trains until it is stopped."),
    "speed": (_or_none(_positive), "a finite number of steps per second > 0, or None", "None is full speed."),
    "threads": (_or_none(_count), "an integer ≥ 1, or None", "None chooses by the size of a step."),
    # not knobs, but arguments of Session's methods
    "seed": (_seed, "an integer from 0 to 4294967295", "Usual is seed=0."),
    "n": (_count, "an integer ≥ 1", "It counts the steps to make."),
    "steps": (_or_none(_count), "an integer ≥ 1, or None", "None sets no limit."),
    "seconds": (_or_none(_positive), "a finite number > 0, or None", "None sets no limit."),
    "hz": (_positive, "a finite number > 0", "It is the most calls a second; usual is 20."),
}
