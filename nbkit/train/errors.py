"""What can be wrong with a training run, and how it is said: place, expectation, finding, remedy."""

from __future__ import annotations

from dataclasses import dataclass


class RecipeError(ValueError):
    """A recipe or a knob was given a value that makes no sense; `knob` is its name."""

    def __init__(self, place: str, knob: str, expected: str, found: object, remedy: str) -> None:
        super().__init__(f"{place}: {knob} must be {expected}, but is {found!r}. {remedy}")
        self.knob = knob


class SessionError(RuntimeError):
    """A session was asked for something that its state does not allow."""


class SessionClosedError(SessionError):
    """A closed session was asked to train."""


class TrainingFailedError(SessionError):
    """Training stopped by itself while somebody was waiting for it; `failure` says why."""

    def __init__(self, name: str, failure: Failure) -> None:
        super().__init__(f"{name}: {failure}")
        self.failure = failure


class NonFiniteLossError(ArithmeticError):
    """The loss of a step is NaN or infinite; raised before the step changes a weight."""


class SnapshotError(SessionError):
    """A saved state is damaged, or belongs to another model or optimizer."""


@dataclass(frozen=True)
class Failure:
    """Why a session stopped by itself.

    Parameters
    ----------
    step
        Number of updates that the weights had received; the failing step changed none of them.
    message
        What went wrong, in one line.
    remedy
        What to do about it.
    traceback
        The Python traceback as text.
    """

    step: int
    message: str
    remedy: str
    traceback: str

    def __str__(self) -> str:
        return f"training stopped at step {self.step}: {self.message} {self.remedy}"


for _class in (
    RecipeError,
    SessionError,
    SessionClosedError,
    TrainingFailedError,
    NonFiniteLossError,
    SnapshotError,
    Failure,
):
    _class.__module__ = "nbkit"
