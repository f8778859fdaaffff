"""Fewer lines where nothing is lost: a value without a name that only the next line reads goes there.

Only values of the shape that the next line makes too, so that every line still says its one shape.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*")
LONGEST = 72
WIDEST = 88  # of a statement that stays on one line, or whose arguments are put on lines of their own
DEEPEST = 3


@dataclass(frozen=True)
class Statement:
    """A line of a method, computing `nodes`; `named` if its variable has a name in the diagram."""

    code: str
    comment: str = ""
    nodes: tuple[str, ...] = ()
    named: bool = False

    @property
    def target(self) -> str:
        """The one variable that it sets; empty if it sets none, or several."""
        match = re.match(r"(\w+) = ", self.code)
        return match[1] if match else ""

    @property
    def value(self) -> str:
        """What stands behind the `=` or the `return`."""
        return self.code.partition(" = ")[2] if self.target else self.code.removeprefix("return ")


def inlined(statements: list[Statement]) -> list[Statement]:
    """The same computation on fewer lines."""
    found = Counter(name for statement in statements for name in _NAME.findall(statement.code))
    lines: list[Statement] = []
    for statement in statements:
        lines.append(statement)
        while len(lines) > 1 and (merged := _merged(lines[-2], lines[-1], found)) is not None:
            lines[-2:] = [merged]
    return lines


def _merged(first: Statement, second: Statement, found: Counter[str]) -> Statement | None:
    """Both in one line; None if others read the first too, or if that says too much."""
    name, last = first.target, second.code.startswith("return ")
    if not name or found[name] != 2 or (first.named and not last) or not (second.target or last):
        return None  # it is written once and read once, if the next line reads it
    if name not in _NAME.findall(second.value):
        return None
    bare = second.value == name
    if first.comment != second.comment and not (last and (bare or not second.comment)):
        return None
    code = _put(second.code, name, first.value)
    if code is None or (len(code) > LONGEST and not (last and bare)):
        return None
    comment = second.comment or (first.comment if bare else "")
    return replace(second, code=code, comment=comment, nodes=(*first.nodes, *second.nodes))


def _put(code: str, name: str, value: str) -> str | None:
    """The line with a value in the variable's place; None where that would need brackets or nest too deep."""
    tree = ast.parse(f"def f():\n {code}").body[0]
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == name]
    loads = [node for node in found if isinstance(node.ctx, ast.Load)]
    if len(loads) != 1:
        return None
    (node,) = loads
    expression = ast.parse(value, mode="eval").body
    parent = parents[node]
    whole = isinstance(parent, ast.Return | ast.Assign)
    argument = isinstance(parent, ast.Call) and parent.func is not node
    primary = isinstance(expression, ast.Call | ast.Attribute | ast.Subscript | ast.Name)
    if not (primary or whole or argument):
        return None
    start = len(code.encode()[: node.col_offset - 1].decode())
    text = f"{code[:start]}{value}{code[start + len(name) :]}"
    deep = _depth(ast.parse(f"def f():\n {text}"))
    return text if deep <= DEEPEST or (whole and deep <= _depth(expression)) else None


def _depth(node: ast.AST) -> int:
    """How deep calls are nested in arguments; methods in a row are no nesting."""
    if not isinstance(node, ast.Call):
        return max((_depth(child) for child in ast.iter_child_nodes(node)), default=0)
    arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
    return max(_depth(node.func), 1 + max(map(_depth, arguments), default=0))


def shortened(statements: list[Statement], fresh: Callable[[str], str]) -> list[Statement]:
    """Statements that are too long in two: what a last method is called on gets a line of its own."""
    return [short for statement in statements for short in _short(statement, fresh)]


def _short(statement: Statement, fresh: Callable[[str], str]) -> Iterator[Statement]:
    code, start = statement.code, len(statement.code) - len(statement.value)
    if len(code) <= WIDEST or not (statement.target or code.startswith("return ")):
        yield statement
        return
    expression = ast.parse(statement.value, mode="eval").body
    match expression:
        case ast.Call(func=ast.Attribute(value=ast.Call() as inside, attr=method)):
            name = fresh("flat" if method == "unflatten" else "inner")
        case ast.BinOp(left=(ast.Call() | ast.BinOp()) as inside):
            name = fresh("left")
        case _:
            yield statement
            return
    value = statement.value.encode()[inside.col_offset : inside.end_col_offset].decode()
    yield from _short(replace(statement, code=f"{name} = {value}", comment="", named=True), fresh)
    rest = statement.value.encode()[inside.end_col_offset :].decode()
    yield replace(statement, code=f"{code[:start]}{name}{rest}")
