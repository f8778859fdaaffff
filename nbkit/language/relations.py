"""Relations between indices, as masks use them: `"x <= y"`, `"x == y"`, `"y - x < 4"`, `"x <= y and y - x < 4"`.

A relation is parsed by Python's `ast` into comparisons of linear index expressions (names, integers, + - *, abs)
and nothing else; it is never evaluated as Python.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from nbkit.language.errors import ParseError
from nbkit.language.sizes import check_name

_COMPARE = {
    ast.LtE: lambda a, b: a <= b,
    ast.Lt: lambda a, b: a < b,
    ast.GtE: lambda a, b: a >= b,
    ast.Gt: lambda a, b: a > b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}
_COMBINE = {ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b}


@lru_cache(maxsize=1024)
def parse_relation(text: str) -> ast.expr:
    """The checked syntax tree of a relation, or `ParseError`."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body if len(text) <= 200 else ast.Constant(0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = ast.Constant(0)
    comparisons = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    for part in comparisons:
        if not (isinstance(part, ast.Compare) and all(type(op) in _COMPARE for op in part.ops)):
            raise _refused(text)
        for side in (part.left, *part.comparators):
            _check(side, text)
    return tree


def _check(node: ast.expr, text: str) -> None:
    match node:
        case ast.Name(id=name):
            check_name(name)
        case ast.Constant(value=int() as value) if not isinstance(value, bool) and abs(value) < 10**9:
            pass
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _check(operand, text)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _COMBINE:
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


@lru_cache(maxsize=1024)
def names(text: str) -> tuple[str, ...]:
    """The axes that a relation speaks of, sorted.

    >>> names("x <= y")
    ('x', 'y')
    """
    found = {node.id for node in ast.walk(parse_relation(text)) if isinstance(node, ast.Name)} - {"abs"}
    return tuple(sorted(found))


def holds(text: str, indices: Mapping[str, Any]) -> Any:
    """Where the relation holds; `indices` maps each axis to an integer, or to an array that broadcasts."""

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Name(id=name):
                return indices[name]
            case ast.Constant(value=number):
                return number
            case ast.UnaryOp(operand=operand):
                return -value(operand)
            case ast.BinOp(left=left, op=operator, right=right):
                return _COMBINE[type(operator)](value(left), value(right))
            case ast.Call(args=[argument]):
                return abs(value(argument))
        raise _refused(text)

    tree = parse_relation(text)
    result: Any = None
    for part in tree.values if isinstance(tree, ast.BoolOp) else [tree]:
        assert isinstance(part, ast.Compare)
        left = value(part.left)
        for operator, right_node in zip(part.ops, part.comparators, strict=True):
            right = value(right_node)
            outcome = _COMPARE[type(operator)](left, right)
            result = outcome if result is None else result & outcome
            left = right
    return result
