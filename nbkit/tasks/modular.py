"""Modular arithmetic: the whole table of a binary operation mod a prime, part of it held out.

The task of Power et al. 2022, "Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets"
(arXiv 2201.02177), section 2 and appendix A.1.1.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from nbkit.tasks.errors import TaskError, check_fraction, check_seed
from nbkit.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

LARGEST_P = 113

_OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "x^2+xy+y^2": lambda a, b: a * a + a * b + b * b,
}
_SPELLINGS = {"−": "-", "×": "*", "·": "*", "x+y": "+", "x-y": "-", "x*y": "*", "x²+xy+y²": "x^2+xy+y^2"}
_TITLES = {"+": "x + y", "-": "x − y", "*": "x · y", "x^2+xy+y^2": "x² + xy + y²"}
_WORDS = {"plus": "+", "addition": "+", "minus": "-", "subtraction": "-", "times": "*", "multiplication": "*"}

OPERATIONS = tuple(_OPERATIONS)


def modular_arithmetic(
    p: int = 97, operation: str = "+", fraction: float = 0.5, seed: int = 0, equals: bool = True
) -> Task:
    """Learn the table of `operation` mod `p` from a part of its p² entries.

    Parameters
    ----------
    p
        A prime of at most 113.
    operation
        `"+"`, `"-"`, `"*"` or `"x^2+xy+y^2"` (Power et al. 2022, appendix A.1.1).
    fraction
        Share of the p² entries that is trained on, strictly between 0 and 1; the others are the test set.
    seed
        Decides which entries those are.
    equals
        True: an input is the three tokens `a b =`, with `=` the number p, so tokens are naturals below p + 1.
        False: an input is the two tokens `a b`, naturals below p.

    Raises
    ------
    TaskError
        If p is no prime ≤ 113, the operation is unknown, or fraction leaves train or test without an entry.

    Examples
    --------
    >>> task = modular_arithmetic(p=5, operation="*", fraction=0.4)
    >>> task
    Task('x · y mod 5', inputs='N(6)[x=3]', classes=5, 10 train, 15 test)
    >>> (a, b, equals), answer = task.train[0][0].tolist(), task.train[1][0].item()
    >>> equals, answer == a * b % 5
    (5, True)
    """
    place = "modular_arithmetic"
    _check_prime(place, p)
    name = _check_operation(place, operation)
    share = check_fraction(
        place, "fraction", fraction, "It is the share of the table to train on; 0.5 is half of it."
    )
    check_seed(place, seed)
    size = round(share * p * p)
    if not 0 < size < p * p:
        remedy = f"Of the {p * p} entries it leaves {size} to train on; take a share nearer to 0.5."
        raise TaskError(place, "fraction", "a share that leaves both sides an entry", fraction, remedy)

    import torch

    a, b = torch.cartesian_prod(torch.arange(p), torch.arange(p)).unbind(1)
    tokens = [a, b, torch.full_like(a, p)] if equals else [a, b]
    inputs, targets = torch.stack(tokens, 1), _OPERATIONS[name](a, b) % p
    order = torch.randperm(p * p, generator=torch.Generator().manual_seed(seed))
    train, test = order[:size], order[size:]
    return Task(
        name=f"{_TITLES[name]} mod {p}",
        inputs=f"N({p + 1})[x=3]" if equals else f"N({p})[x=2]",
        classes=p,
        train=(inputs[train], targets[train]),
        test=(inputs[test], targets[test]),
        source="Power et al. 2022, arXiv 2201.02177",
    )


def _check_prime(place: str, p: object) -> None:
    wanted = f"a prime of at most {LARGEST_P}"
    if isinstance(p, bool) or not isinstance(p, int) or p < 2:
        raise TaskError(place, "p", wanted, p, "Power et al. use p=97.")
    if p > LARGEST_P:
        remedy = f"The table has p² entries, all of them in every step; the largest p is {LARGEST_P}."
        raise TaskError(place, "p", wanted, p, remedy)
    divisor = _smallest_divisor(p)
    if divisor != p:
        primes = [q for q in range(2, LARGEST_P + 1) if _smallest_divisor(q) == q]
        near = min(primes, key=lambda q: abs(q - p))
        remedy = f"{p} = {divisor} × {p // divisor}; the nearest prime is p={near}."
        raise TaskError(place, "p", wanted, p, remedy)


def _smallest_divisor(n: int) -> int:
    return next((d for d in range(2, n) if d * d <= n and n % d == 0), n)


def _check_operation(place: str, operation: object) -> str:
    known = " ".join(repr(o) for o in OPERATIONS)
    if not isinstance(operation, str):
        raise TaskError(place, "operation", f"one of {known}", operation, "Give its name as text.")
    name = operation.replace(" ", "").lower()
    name = _SPELLINGS.get(name, name)
    if name in _OPERATIONS:
        return name
    near = difflib.get_close_matches(name, [*OPERATIONS, *_WORDS], n=1, cutoff=0.5)
    hint = f"Did you mean {_WORDS.get(near[0], near[0])!r}?" if near else "Take one of these names."
    raise TaskError(place, "operation", f"one of {known}", operation, hint)
