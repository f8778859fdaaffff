"""What can be wrong with the arguments of a task, and how it is said: place, expectation, finding, remedy."""

from __future__ import annotations

import math


class TaskError(ValueError):
    """A task was asked for with an argument that makes no sense; `argument` is its name."""

    def __init__(self, place: str, argument: str, expected: str, found: object, remedy: str) -> None:
        super().__init__(f"{place}: {argument} must be {expected}, but is {found!r}. {remedy}")
        self.argument = argument


def check_fraction(place: str, argument: str, value: object, remedy: str) -> float:
    """Give `value` back as a float if it lies strictly between 0 and 1; raise `TaskError` if not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise TaskError(place, argument, "a number strictly between 0 and 1", value, remedy)
    return float(value)


def check_count(place: str, argument: str, value: object, least: int, remedy: str) -> int:
    """Give `value` back if it is an integer of at least `least`; raise `TaskError` if not."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise TaskError(place, argument, f"an integer of at least {least}", value, remedy)
    return value


def check_size(place: str, argument: str, value: object, remedy: str, *, zero: bool) -> float:
    """Give `value` back as a float if it is finite and > 0 (≥ 0 if `zero`); raise `TaskError` if not."""
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise TaskError(place, argument, f"a finite number {'≥' if zero else '>'} 0", value, remedy)
    return number


def check_seed(place: str, value: object) -> int:
    """Give the seed back if it is an integer from 0 to 2³² − 1; raise `TaskError` if not."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        raise TaskError(place, "seed", "an integer from 0 to 4294967295", value, "Usual is seed=0.")
    return value


TaskError.__module__ = "nbkit"  # tracebacks read `nbkit.TaskError: …`
