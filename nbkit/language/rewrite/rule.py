"""What a rewrite rule is, the list of all of them, and how a rule says that it does not fit.

A rule is a function of an `Edit` (one scope of a diagram, see `edit.py`) and of the node at which it is asked
to work. It either changes the edit, or raises `Inapplicable` and has changed nothing that anyone keeps. Rules
keep the meaning: what comes out is the same function of what goes in, with weights that are the old ones or
are made of the old ones (`formulas.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from nbkit.language.errors import DiagramError, Mismatch, ParseError
from nbkit.language.ops import Op

if TYPE_CHECKING:
    from nbkit.language.diagram import Node
    from nbkit.language.rewrite.edit import Edit

Apply = Callable[..., None]
RULES: dict[str, Rule] = {}


class RewriteError(DiagramError):
    """A rewrite that does not apply where it was asked for. `rule` and `at` say which and where."""

    __module__ = "nbkit"

    def __init__(self, message: str, *, rule: str = "", at: str = "") -> None:
        super().__init__(message)
        self.rule, self.at = rule, at


class Inapplicable(Exception):
    """The bare fact, raised by a rule: what it needs, and what it found instead."""

    def __init__(self, needs: str, found: str) -> None:
        super().__init__(f"{needs}; {found}")
        self.needs, self.found = needs, found


@dataclass(frozen=True)
class Rule:
    """A rewrite rule: its name, what it says in one sentence, the ops that it may stand at, its inverse."""

    name: str
    sentence: str
    kinds: tuple[type[Op], ...]
    apply: Apply = field(repr=False, compare=False)
    inverse: str = ""
    listed: bool = True  # False: applies nearly everywhere, so that listing its places says nothing
    figure: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {})  # how the two sides are best drawn

    def __str__(self) -> str:
        return f"{self.name}: {self.sentence}"

    def run(self, edit: Edit, node: Node, options: Mapping[str, Any]) -> None:
        """Applies the rule; `Inapplicable` also where the node is of the wrong kind."""
        if not isinstance(node.op, self.kinds):
            wanted = " or ".join(dict.fromkeys(kind.kind for kind in self.kinds))
            raise Inapplicable(f"an op of kind {wanted}", f"{node.op}, of kind {node.op.kind}")
        known = tuple(inspect.signature(self.apply).parameters)[2:] if options else ()
        for option in options:
            if option not in known:
                allowed = f"no options but {', '.join(known)}" if known else "no options"
                raise Inapplicable(allowed, f"{option}={options[option]!r}")
        try:
            self.apply(edit, node, **options)
        except (Mismatch, ParseError) as error:  # an op that does not fit where the rule would put it
            raise Inapplicable("a place where what comes out fits together", str(error)) from None


def rule(
    name: str,
    sentence: str,
    *kinds: type[Any],
    inverse: str = "",
    listed: bool = True,
    figure: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {}),
) -> Callable[[Apply], Apply]:
    """Registers a function as the rule `name`."""

    def register(apply: Apply) -> Apply:
        RULES[name] = Rule(name, sentence, kinds, apply, inverse, listed, figure)
        return apply

    return register


Value = TypeVar("Value")
SomeOp = TypeVar("SomeOp", bound=Op)


def want(value: Value | None, needs: str, found: str) -> Value:
    """The value; `Inapplicable` where there is none."""
    if value is None:
        raise Inapplicable(needs, found)
    return value


def op_as(node: Node, kind: type[SomeOp]) -> SomeOp:
    """The node's op, whose type the rule knows."""
    if not isinstance(node.op, kind):
        raise TypeError(f"{node.op} is no {kind.__name__}")
    return node.op


def of_kind(node: Node | None, *kinds: type[Op]) -> Node | None:
    """The node, if there is one and its op is of these kinds."""
    return node if node is not None and isinstance(node.op, kinds) else None


def require(condition: object, needs: str, found: str) -> None:
    """`Inapplicable` unless the condition holds."""
    if not condition:
        raise Inapplicable(needs, found)
