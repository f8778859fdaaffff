"""Axis sizes: positive integer expressions in named sizes (`64`, `x/2`, `4*m`, `floor((x+1)/2)`), held by
sympy.

sympy simplifies, compares and substitutes; text becomes an expression through a small grammar of our own,
because `sympy.sympify` evaluates its argument as Python and must never see a text from a file, a widget or a
stranger. The grammar is Python's own expression syntax restricted to integers, names, `+ - * / // **`,
parentheses and the functions floor, ceiling and sqrt; `format_size` prints text that parses back to the same
expression. Texts, exponents and numbers are bounded, so that no text takes long to read.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

import sympy
from sympy import Expr, Integer, Rational, Symbol

from nbkit.language.errors import ParseError

NAME = re.compile(r"[A-Za-zα-ωΑ-Ω][A-Za-z0-9_α-ωΑ-Ω]*\Z")
LONGEST_NAME = 40
LONGEST_SIZE = 200
_LARGEST_EXPONENT = 16
_EXPONENT = f"an exponent must be a number of at most {_LARGEST_EXPONENT}"
_MOST_BITS = 256
_MOST_TERMS = 64
_FUNCTIONS: dict[str, Callable[[Expr], Expr]] = {
    "floor": sympy.floor,
    "ceiling": sympy.ceiling,
    "sqrt": sympy.sqrt,
}
_RESERVED = {*_FUNCTIONS, "abs"}  # they would read as functions in sizes and relations
_BINARY: dict[type[ast.operator], Callable[[Expr, Expr], Expr]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: sympy.floor(a / b),
}


def check_name(name: object, what: str = "axis") -> str:
    """The name itself if it is one (a letter, then letters, digits, `_`; at most 40), else `ParseError`.

    Names appear in listings and in generated code, so Python's keywords are refused; axes and sizes cannot be
    called floor, ceiling, sqrt or abs either.

    >>> check_name("heads")
    'heads'
    """
    if not (isinstance(name, str) and len(name) <= LONGEST_NAME and NAME.match(name)):
        raise ParseError(
            f"{what} name {repr(name)[:60]} is not a name: use a letter, then letters, digits or _ "
            f"(at most {LONGEST_NAME})"
        )
    if keyword.iskeyword(name) or (what in ("axis", "size") and name in _RESERVED):
        kind = "a Python keyword" if keyword.iskeyword(name) else "a function of the size language"
        raise ParseError(f"{what} name '{name}' is {kind}; choose another name, for example '{name}_'")
    return name


def is_count(value: object) -> bool:
    """Whether a value is an integer, and not True or False, which Python counts among them."""
    return isinstance(value, int) and not isinstance(value, bool)


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
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # all that the parser can raise
        raise _refused(text, "it is not an arithmetic expression") from None
    return canonical(_evaluate(tree.body, text))


def _evaluate(node: ast.expr, text: str) -> Expr:
    match node:
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            return _bounded(Integer(value), text)
        case ast.Name(id=name):
            return symbol(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, text)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _bounded(_power(_evaluate(left, text), _evaluate(right, text), text), text)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
            return _bounded(_BINARY[type(operator)](_evaluate(left, text), _evaluate(right, text)), text)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return _bounded(_FUNCTIONS[name](_evaluate(argument, text)), text)
    raise _refused(text, f"{ast.unparse(node)[:60]!r} is not part of it")


def _power(base: Expr, exponent: Expr, text: str) -> Expr:
    if not _is_exponent(exponent):
        raise _refused(text, _EXPONENT)
    if _bits(base) * abs(exponent) > _MOST_BITS:
        raise _refused(text, "its numbers grow too large")
    return base**exponent


def _is_exponent(exponent: Expr) -> bool:
    return (
        isinstance(exponent, Rational)
        and abs(exponent) <= _LARGEST_EXPONENT
        and exponent.q <= _LARGEST_EXPONENT
    )


def _bits(expression: Expr) -> int:
    """Length of the longest number in an expression."""
    numbers = expression.atoms(Rational)
    return max((max(abs(n.p).bit_length(), n.q.bit_length()) for n in numbers), default=1)


def _bounded(expression: Expr, text: str) -> Expr:
    if expression.has(sympy.zoo, sympy.nan, sympy.oo, -sympy.oo):
        raise _refused(text, "it divides by zero")
    if expression.has(sympy.I):
        raise _refused(text, "it is not a real number")
    if _bits(expression) > _MOST_BITS:
        raise _refused(text, "its numbers grow too large")
    if not all(_is_exponent(power.exp) for power in expression.atoms(sympy.Pow)):
        raise _refused(text, _EXPONENT)
    return expression


def _refused(text: str, why: str) -> ParseError:
    return ParseError(
        f"size {text[:60]!r} is refused: {why}. A size is made of integers, names, + - * / // **, "
        "parentheses, floor, ceiling and sqrt; nothing else is ever evaluated"
    )


@lru_cache(maxsize=4096)
def canonical(size: Expr) -> Expr:
    """The one form in which equal sizes are equal: products multiplied out, common factors cancelled.

    >>> x, h = symbol("x"), symbol("h")
    >>> canonical(2 * h * (x + 1)) == canonical((2 * x + 2) * h)
    True
    """
    if size.is_Atom:
        return size
    if size.has(
        sympy.floor, sympy.ceiling
    ):  # sympy takes integers out of them, and may see more in what is left
        for _ in range(4):
            size, before = _rebuilt(size), size
            if size == before:
                break
    if not _has_product_of_sums(size) or _terms(size) > _MOST_TERMS:
        return size
    divides_by_sum = any(power.exp.is_negative and power.base.is_Add for power in size.atoms(sympy.Pow))
    return sympy.expand(sympy.cancel(size) if size.is_Mul and divides_by_sum else size)


def _rebuilt(size: Expr) -> Expr:
    return size.func(*(_rebuilt(part) for part in size.args)) if size.args else size


def _has_product_of_sums(size: Expr) -> bool:
    if (size.is_Mul and any(part.is_Add for part in size.args)) or (size.is_Pow and size.base.is_Add):
        return True
    return any(_has_product_of_sums(part) for part in size.args)


def _terms(size: Expr) -> int:
    """A bound on the number of terms after multiplying out."""
    match size:
        case sympy.Add():
            return sum(_terms(part) for part in size.args)
        case sympy.Mul():
            product = 1
            for part in size.args:
                product *= _terms(part)
            return product
        case sympy.Pow():
            return int(_terms(size.base) ** min(max(abs(size.exp), 1), 64)) if size.exp.is_Rational else 1
    return max((_terms(part) for part in size.args), default=1)


@lru_cache(maxsize=4096)
def format_size(size: Expr) -> str:
    """The text of a size, without blanks; `parse_size(format_size(s)) == s`."""
    return str(size).replace(" ", "")


def substitute(size: Expr, values: Mapping[str, Expr] | Callable[[str], Expr]) -> Expr:
    """The size with names replaced by what `values` says of them (a mapping, or a function of the name)."""
    if not size.free_symbols:
        return size
    look = values if callable(values) else (lambda name: values.get(name, symbol(name)))
    return canonical(size.xreplace({s: look(s.name) for s in size.free_symbols if isinstance(s, Symbol)}))


def is_possible(size: Expr) -> bool:
    """False for a number that is no positive integer (0, -1, 15/2, √2); True where that is still open."""
    return not (size.is_number and not (size.is_Integer and size > 0))
