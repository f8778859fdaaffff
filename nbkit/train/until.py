"""When to stop: a session's latest metrics, and conditions on them that can be typed."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping

_RELATIONS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_PATTERN = re.compile(r"\s*([\w/.-]+?)\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


class Metrics(dict[str, float]):
    """Latest value of every metric by name; asking for one that is not measured says which are."""

    def __missing__(self, name: str) -> float:
        known = ", ".join(map(repr, self)) or "nothing yet, since no step was made"
        msg = f"metrics: {name!r} has not been measured; measured are: {known}."
        raise KeyError(msg)


def condition(text: str) -> Callable[[Mapping[str, float]], bool]:
    """A condition on metrics from text such as `"test/accuracy > 0.99"`: name, `>`, `>=`, `<` or `<=`,
    number.

    Raises
    ------
    ValueError
        If the text is none. It is matched against this grammar, never evaluated.

    Examples
    --------
    >>> condition("test/accuracy > 0.99")({"test/accuracy": 0.995})
    True
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        msg = (
            f"until: a condition must read like 'test/accuracy > 0.99' (a metric, one of > >= < <=, a "
            f"number), but is {text!r}. For anything else give a function of the metrics."
        )
        raise ValueError(msg)
    name, relation, number = match.groups()
    compare, bound = _RELATIONS[relation], float(number)
    return lambda metrics: bool(compare(metrics[name], bound))
