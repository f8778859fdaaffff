"""What there is to learn: examples, a loss, metrics, and the spec of one example's array.

A task is data and two functions; it knows nothing of models, optimizers or threads. torch is imported by the
functions that make tensors, never by importing this module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class OutputError(ValueError):
    """A model's output has another shape than the task's loss reads."""


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy in nats of logits against class numbers: `"b classes, b -> "`.

    Raises
    ------
    OutputError
        If `output` has not exactly one row of logits per example.
    """
    import torch.nn.functional as F

    if output.ndim != 2 or output.shape[0] != target.shape[0]:
        shape = tuple(output.shape)
        msg = (
            f"loss: the model must give one row of logits per example, shape ({target.shape[0]}, classes), "
            f"but gave {shape}. "
        )
        if output.ndim > 2:
            msg += "Reduce or slice away the other axes first, e.g. keep only the last position."
        else:
            msg += "Keep the batch axis first and end with a linear map onto the classes."
        raise OutputError(msg)
    return F.cross_entropy(output, target)


def accuracy(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Share of examples whose largest logit is the target's, as `accuracy`: `"b classes, b -> "`."""
    return {"accuracy": (output.argmax(-1) == target).float().mean()}


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """Something to learn: training and test examples, a loss, metrics.

    Parameters
    ----------
    name
        What a reader calls it, e.g. `"x + y mod 97"`.
    inputs
        The spec of one example's input in the diagram language, without the batch axis: `"N(98)[x=3]"` is
        three natural numbers below 98 along the axis `x`, `"i=8 j=8"` a real 8 × 8 array.
    classes
        Number of classes, that is, of logits which the model must give.
    train, test
        Pairs (inputs, targets) of tensors, batch axis first.
    loss
        `loss(output, target)`, a scalar tensor; the mean over the examples, so that batches can be averaged.
    metrics
        `metrics(output, target)`, scalar tensors by name, also means over the examples.
    source
        Where the task comes from.
    """

    name: str
    inputs: str
    classes: int
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    loss: Callable[[Tensor, Tensor], Tensor] = field(default=cross_entropy)
    metrics: Callable[[Tensor, Tensor], dict[str, Tensor]] = field(default=accuracy)
    source: str = ""

    def __post_init__(self) -> None:
        for part, (x, y) in (("train", self.train), ("test", self.test)):
            if len(x) != len(y) or len(x) == 0:
                msg = (
                    f"Task({self.name!r}): {part} must hold as many inputs as targets, and at least one, "
                    f"but holds {len(x)} inputs and {len(y)} targets. Check how the examples were split."
                )
                raise ValueError(msg)

    def __repr__(self) -> str:
        sizes = f"{len(self.train[1])} train, {len(self.test[1])} test"
        return f"Task({self.name!r}, inputs={self.inputs!r}, classes={self.classes}, {sizes})"


OutputError.__module__ = "nbkit"
