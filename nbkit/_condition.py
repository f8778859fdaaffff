"""A stop condition that a person types, such as `test/accuracy>0.99` (issue 2, point 10).

The grammar is a metric's name, a comparison and a number. It is matched, never evaluated.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_GRAMMAR = re.compile(r"\s*(?P<metric>[A-Za-z_][\w/.-]*)\s*(?P<comparison>>=|<=|>|<)\s*(?P<number>\S+)\s*")


class ConditionError(ValueError):
    """A stop condition that cannot be read, or that asks for a metric which the run does not have."""


@dataclass(frozen=True)
class Condition:
    """A metric compared with a number.

    Examples
    --------
    >>> until = Condition.parse("test/accuracy > 0.99")
    >>> until.holds({"test/accuracy": 0.995})
    True
    """

    metric: str
    comparison: str
    number: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition; raises `ConditionError` with the grammar and an example if that fails."""
        match = _GRAMMAR.fullmatch(text)
        number = _number(match["number"]) if match else math.nan
        if match is None or math.isnan(number):
            msg = (
                f"{text!r} is not a stop condition. Write a metric, one of > >= < <=, and a number, "
                'for example "test/accuracy>0.99".'
            )
            raise ConditionError(msg)
        return cls(match["metric"], match["comparison"], number)

    def holds(self, metrics: Mapping[str, float]) -> bool:
        """Say whether the metrics of a step meet the condition; false where the metric is NaN.

        Raises
        ------
        ConditionError
            If the run has no such metric.
        """
        if self.metric not in metrics:
            msg = f"no metric is called {self.metric!r}. There are: {', '.join(sorted(metrics))}"
            raise ConditionError(msg)
        return COMPARISONS[self.comparison](metrics[self.metric], self.number)

    def __str__(self) -> str:
        return f"{self.metric}{self.comparison}{self.number:g}"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
