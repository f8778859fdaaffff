"""Relations between indices, as masks use them: `"x <= y"`, `"x == y"`, `"x <= y and y - x < 4"`.

A relation is parsed by Python's `ast` into comparisons of index expressions (names, integers, + - *, abs) and
nothing else; it is never evaluated as Python.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from nbkit.language.errors import ParseError
from nbkit.language.sizes import check_name

LONGEST_RELATION = 200
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.LtE: operator.le,
    ast.Lt: operator.lt,
    ast.GtE: operator.ge,
    ast.Gt: operator.gt,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_COMBINE: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


@lru_cache(maxsize=1024)
def parse_relation(text: str) -> tuple[ast.Compare, ...]:
    """The checked comparisons of a relation, all of which must hold, or `ParseError`."""
    if len(text) > LONGEST_RELATION:
        raise _refused(text)
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # all that the parser can raise
        raise _refused(text) from None
    parts = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    comparisons = []
    for part in parts:
        if not (isinstance(part, ast.Compare) and all(type(op) in _COMPARE for op in part.ops)):
            raise _refused(text)
        for side in (part.left, *part.comparators):
            _check(side, text)
        comparisons.append(part)
    if not _names(comparisons):
        raise _refused(text)
    return tuple(comparisons)


def _check(node: ast.expr, text: str) -> None:
    match node:
        case ast.Name(id=name):
            check_name(name)
        case ast.Constant(value=int() as value) if not isinstance(value, bool) and abs(value) < 10**9:
            pass
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _check(operand, text)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _COMBINE:
            _check(left, text)
            _check(right, text)
        case ast.Call(func=ast.Name(id="abs"), args=[argument], keywords=[]):
            _check(argument, text)
        case _:
            raise _refused(text)


def _refused(text: str) -> ParseError:
    return ParseError(
        f"relation {text[:60]!r} is refused: write comparisons of indices joined by 'and', such as "
        '"x <= y" or "x <= y and y - x < 4"; names, integers, + - * and abs may stand in it'
    )


def _names(comparisons: list[ast.Compare] | tuple[ast.Compare, ...]) -> tuple[str, ...]:
    nodes = (node for part in comparisons for node in ast.walk(part))
    return tuple(sorted({node.id for node in nodes if isinstance(node, ast.Name)} - {"abs"}))


@lru_cache(maxsize=1024)
def names(text: str) -> tuple[str, ...]:
    """The axes that a relation speaks of, sorted.

    >>> names("x <= y")
    ('x', 'y')
    """
    return _names(parse_relation(text))


def holds(text: str, indices: Mapping[str, Any]) -> Any:
    """Where the relation holds; `indices` maps each axis to an integer, or to an array that broadcasts.

    >>> holds("x <= y and y - x < 2", {"x": 1, "y": 2})
    True
    """

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Name(id=name):
                return indices[name]
            case ast.Constant(value=number):
                return number
            case ast.UnaryOp(operand=operand):
                return -value(operand)
            case ast.BinOp(left=left, op=op, right=right):
                return _COMBINE[type(op)](value(left), value(right))
            case ast.Call(args=[argument]):
                return abs(value(argument))
        raise _refused(text)

    result: Any = True
    for part in parse_relation(text):
        left = value(part.left)
        for op, comparator in zip(part.ops, part.comparators, strict=True):
            right = value(comparator)
            outcome = _COMPARE[type(op)](left, right)
            result = outcome if result is True else result & outcome
            left = right
    return result
