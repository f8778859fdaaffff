"""Axis sizes: positive integer expressions in named sizes (`64`, `x/2`, `4*m`, `floor((x+1)/2)`), held by sympy.

sympy simplifies, compares and substitutes; text becomes an expression through a small grammar of our own, because
`sympy.sympify` evaluates its argument as Python and must never see a text from a file, a widget or a stranger.
The grammar is Python's own expression syntax restricted to integers, names, `+ - * / // **`, parentheses and the
functions floor, ceiling and sqrt; `format_size` prints text that parses back to the same expression.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

import sympy
from sympy import Expr, Integer, Rational, Symbol

from nbkit.language.errors import ParseError

NAME = re.compile(r"[A-Za-zα-ωΑ-Ω][A-Za-z0-9_α-ωΑ-Ω]*\Z")
LONGEST_NAME = 40
LONGEST_SIZE = 200
_LARGEST_INTEGER = 10**12
_LARGEST_EXPONENT = 16
_FUNCTIONS: dict[str, Callable[[Expr], Expr]] = {
    "floor": sympy.floor,
    "ceiling": sympy.ceiling,
    "sqrt": sympy.sqrt,
}
_BINARY: dict[type[ast.operator], Callable[[Expr, Expr], Expr]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: sympy.floor(a / b),
}


def check_name(name: object, what: str = "axis") -> str:
    """The name itself if it is one (a letter, then letters, digits, `_`; at most 40), else `ParseError`."""
    if isinstance(name, str) and len(name) <= LONGEST_NAME and NAME.match(name):
        return name
    shown = repr(name)[:60]
    raise ParseError(
        f"{what} name {shown} is not a name: use a letter, then letters, digits or _ (at most {LONGEST_NAME})"
    )


@lru_cache(maxsize=4096)
def symbol(name: str) -> Symbol:
    """The size called `name`: a positive integer that is not known yet."""
    return Symbol(check_name(name, "size"), positive=True, integer=True)


@lru_cache(maxsize=4096)
def parse_size(text: str) -> Expr:
    """The size that a text stands for.

    >>> parse_size("x/2 + 1")
    x/2 + 1
    """
    if len(text) > LONGEST_SIZE:
        raise ParseError(
            f"size {text[:40]!r}… has {len(text)} characters; at most {LONGEST_SIZE} are allowed"
        )
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _refused(text, "it is not an arithmetic expression") from None
    expression = _evaluate(tree.body, text)
    if expression.has(sympy.zoo, sympy.nan, sympy.oo):
        raise _refused(text, "it divides by zero")
    return expression


def _evaluate(node: ast.expr, text: str) -> Expr:
    match node:
        case ast.Constant(value=int() as value) if (
            not isinstance(value, bool) and abs(value) <= _LARGEST_INTEGER
        ):
            return Integer(value)
        case ast.Name(id=name):
            return symbol(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, text)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            exponent = _evaluate(right, text)
            if not (isinstance(exponent, Rational) and abs(exponent) <= _LARGEST_EXPONENT):
                raise _refused(text, f"an exponent must be a number of at most {_LARGEST_EXPONENT}")
            return _evaluate(left, text) ** exponent
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
            return _BINARY[type(operator)](_evaluate(left, text), _evaluate(right, text))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](_evaluate(argument, text))
    raise _refused(text, f"{ast.unparse(node)[:60]!r} is not part of it")


def _refused(text: str, why: str) -> ParseError:
    return ParseError(
        f"size {text[:60]!r} is refused: {why}. A size is made of integers, names, + - * / // **, "
        "parentheses, floor, ceiling and sqrt; nothing else is ever evaluated"
    )


@lru_cache(maxsize=4096)
def format_size(size: Expr) -> str:
    """The text of a size, without blanks; `parse_size(format_size(s)) == s`."""
    return str(size).replace(" ", "")


def substitute(size: Expr, values: Mapping[str, Expr] | Callable[[str], Expr]) -> Expr:
    """The size with names replaced by what `values` says of them (a mapping, or a function of the name)."""
    if not size.free_symbols:
        return size
    look = values if callable(values) else (lambda name: values.get(name, symbol(name)))
    return size.xreplace({s: look(s.name) for s in size.free_symbols if isinstance(s, Symbol)})


def is_possible(size: Expr) -> bool:
    """False for a size that is certainly no positive integer (0, -1, 15/2); True where that is still open."""
    return not (size.is_number and not (size.is_Integer and size > 0))
