"""Axes, arrays and the texts that stand for them: `x`, `c=64`, `x:2=32`, `R[x m=64]`, `N(97)[x]`.

An axis has a name, a size and a rank (2 for an image axis: one double wire that stands for height and width).
Axes are matched by name and size, never by position. A strided axis keeps its name and changes its size (`x`
to `x/2`), so names in one array are distinct. An array is an ordered stack of axes over the reals, or over
the naturals below a bound (token indices). (V. Abbott, Neural Circuit Diagrams, TMLR 2024, sections 2.1 and
2.2.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from sympy import Expr, Integer

from nbkit.language.errors import ParseError
from nbkit.language.sizes import (
    canonical,
    check_name,
    format_size,
    is_possible,
    parse_size,
    substitute,
    symbol,
)

MOST_AXES = 24
Sizes = Mapping[str, Expr] | Callable[[str], Expr]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: `name`, `size` (elements along each of its `rank` tensor dimensions)."""

    name: str
    size: Expr
    rank: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", canonical(self.size))

    def __str__(self) -> str:
        return _show(self.name, self.rank, self.size)

    @property
    def numel(self) -> Expr:
        """Elements along the axis: size to the power of the rank."""
        return self.size**self.rank

    def bind(self, sizes: Sizes) -> Axis:
        """The axis with sizes put in for names."""
        return replace(self, size=substitute(self.size, sizes))


@dataclass(frozen=True, slots=True)
class Array:
    """The type of a wire bundle: axes in order, over the reals or over the naturals below `bound`."""

    axes: tuple[Axis, ...]
    bound: Expr | None = None

    def __post_init__(self) -> None:
        _check_distinct(self.axes)
        if len(self.axes) > MOST_AXES:
            raise ParseError(f"an array has at most {MOST_AXES} axes; this one has {len(self.axes)}")
        if self.bound is not None and not is_possible(self.bound):
            raise ParseError(
                f"indices below {format_size(self.bound)} do not exist; the bound is a positive integer"
            )

    def __str__(self) -> str:
        letter = "R" if self.bound is None else f"N({format_size(self.bound)})"
        return f"{letter}[{' '.join(map(str, self.axes))}]"

    def __iter__(self) -> Iterator[Axis]:
        return iter(self.axes)

    def __contains__(self, name: str) -> bool:
        return any(axis.name == name for axis in self.axes)

    def __getitem__(self, name: str) -> Axis:
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The axes' names, in order."""
        return tuple(axis.name for axis in self.axes)

    @property
    def numel(self) -> Expr:
        """Elements of the array: the product over its axes."""
        total: Expr = Integer(1)
        for axis in self.axes:
            total = total * axis.numel
        return total

    def without(self, names: Iterable[str]) -> tuple[Axis, ...]:
        """The axes that are not named, in order."""
        gone = set(names)
        return tuple(axis for axis in self.axes if axis.name not in gone)

    def bind(self, sizes: Sizes) -> Array:
        """The array with sizes put in for names."""
        bound = None if self.bound is None else substitute(self.bound, sizes)
        return Array(tuple(axis.bind(sizes) for axis in self.axes), bound)

    def free(self) -> set[str]:
        """Names of the sizes that are not known yet."""
        sizes = [axis.size for axis in self.axes] + ([] if self.bound is None else [self.bound])
        return {str(s) for size in sizes for s in size.free_symbols}


@dataclass(frozen=True, slots=True)
class Token:
    """An axis as written in a specification: rank and size may be left open."""

    name: str
    rank: int | None = None
    size: Expr | None = None

    def __str__(self) -> str:
        return _show(self.name, self.rank, self.size)

    def axis(self) -> Axis:
        """The axis meant: an open rank is 1, an open size is the name itself."""
        return Axis(self.name, symbol(self.name) if self.size is None else self.size, self.rank or 1)


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed `a b, c -> d e`: bundles of tokens on both sides."""

    ins: tuple[tuple[Token, ...], ...]
    outs: tuple[tuple[Token, ...], ...]

    def __str__(self) -> str:
        sides = [", ".join(" ".join(map(str, bundle)) for bundle in side) for side in (self.ins, self.outs)]
        return " -> ".join(sides).strip()


def _show(name: str, rank: int | None, size: Expr | None) -> str:
    shown = name if rank in (None, 1) else f"{name}:{rank}"
    return shown if size is None or size == symbol(name) else f"{shown}={format_size(size)}"


def _check_distinct(axes: Iterable[Axis | Token]) -> None:
    axes = tuple(axes)
    names = [axis.name for axis in axes]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ParseError(
            f"array [{' '.join(map(str, axes[:MOST_AXES]))}] names axis '{twice}' twice; "
            "axes of one array need distinct names (rename one of them)"
        )


_TOKEN = re.compile(r"([^\s:=]+)(?::([0-9]))?(?:=(\S+))?\Z")
_ARRAY = re.compile(r"\s*(?:R|N\((?P<bound>[^\[\]]+)\))\[(?P<axes>[^\[\]]*)\]\s*\Z")


@lru_cache(maxsize=4096)
def parse_token(text: str) -> Token:
    """`c`, `x:2`, `c=64`, `w:2=3`."""
    match = _TOKEN.match(text)
    if match is None:
        raise ParseError(
            f"{text[:60]!r} is not an axis; write name, name:rank, name=size or name:rank=size (c, x:2, c=64)"
        )
    name, rank, size = match.groups()
    check_name(name)
    if rank is not None and rank not in "123":
        raise ParseError(f"axis '{name}' has rank {rank}; 1, 2 (image) and 3 (volume) are possible")
    expression = None if size is None else parse_size(size)
    if expression is not None and not is_possible(expression):
        raise ParseError(f"axis '{name}' has size {format_size(expression)}; a size is a positive integer")
    return Token(name, None if rank is None else int(rank), expression)


@lru_cache(maxsize=4096)
def parse_bundle(text: str) -> tuple[Token, ...]:
    """The axes of one array: `y k`, `x:2 c=64`."""
    tokens = tuple(parse_token(part) for part in text.split())
    _check_distinct(tokens)
    return tokens


def parse_names(text: str) -> tuple[str, ...]:
    """Names of axes, without ranks and sizes: `y x`."""
    names = tuple(check_name(part) for part in text.split())
    _check_distinct(Token(name) for name in names)
    return names


@lru_cache(maxsize=4096)
def parse_spec(text: str) -> Spec:
    """`y k, x k -> y x`: arrays on both sides of the arrow, separated by commas."""
    left, arrow, right = text.partition("->")
    if not arrow or "->" in right:
        raise ParseError(f"specification {text[:80]!r} needs exactly one '->', as in \"y k, x k -> y x\"")
    return Spec(
        tuple(parse_bundle(part) for part in left.split(",")),
        tuple(parse_bundle(part) for part in right.split(",")),
    )


@lru_cache(maxsize=4096)
def parse_array(text: str) -> Array:
    """`x m=64` (reals), `R[x m=64]` (the same), `N(97)[x]` (naturals below 97).

    >>> print(parse_array("x m=64"))
    R[x m=64]
    """
    match = _ARRAY.match(text)
    if match is None:
        if "[" in text or "]" in text:
            raise ParseError(f'{text[:80]!r} is not an array; write "x m=64", "R[x m=64]" or "N(97)[x]"')
        return Array(tuple(token.axis() for token in parse_bundle(text)))
    bound = match["bound"]
    axes = tuple(token.axis() for token in parse_bundle(match["axes"]))
    return Array(axes, None if bound is None else parse_size(bound))


def parse_arrays(text: str) -> tuple[Array, ...]:
    """Arrays separated by commas: `y m, x m`."""
    if not isinstance(text, str):
        raise ParseError(f'expected a text such as "x m=64", found {type(text).__name__}')
    return tuple(parse_array(part) for part in text.split(","))
