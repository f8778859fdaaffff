"""Paths and scopes: which diagram a path leads into, and how a change deep inside is built into the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from nbkit.language.diagram import Diagram, Node
from nbkit.language.errors import DiagramError
from nbkit.language.ops.base import Composite
from nbkit.language.parts import Block, Repeat, Stages
from nbkit.language.rewrite.edit import Scope


class NumberedCopy(Exception):
    """A path that names one copy of a repetition: the path of the repetition, and that of the copy."""


def split(diagram: Diagram, path: str) -> tuple[str, str, str]:
    """A path as scope, dot and node. Ids of an expanded diagram are paths themselves."""
    for node in diagram.nodes:
        if path == node.id:
            return "", "", path
        if path.startswith(f"{node.id}.") and isinstance(node.op, Composite):
            head = node.id if isinstance(node.op, Block) else f"{node.id}.{_index(path, node)}"
            if path == head:  # a whole copy: it stands where its repetition stands
                return "", "", node.id
            prefix, dot, last = split(node.op.insides()[0][1], path[len(head) + 1 :])
            return f"{head}{dot}{prefix}", ".", last
    raise DiagramError(f"{diagram.name} has no part '{path[:60]}'")


def _index(path: str, node: Node) -> str:
    return path[len(node.id) + 1 :].partition(".")[0]


def node_of(diagram: Diagram, name: str) -> Node:
    """The node of that id."""
    return next(node for node in diagram.nodes if node.id == name)


def within(scope: Scope, rest: str, change: Callable[[Scope], Diagram]) -> Diagram:
    """The scope's diagram with the scopes at path `rest` changed, and all around them rebuilt."""
    if not rest:
        return change(scope)
    nodes = []
    for node in scope.diagram.nodes:
        op = node.op
        if isinstance(op, Composite) and rest.startswith(f"{node.id}."):
            deeper = rest[len(node.id) + 1 :]
            if not isinstance(op, Block):
                index, _, deeper = deeper.partition(".")
                if index != "*":
                    base = f"{scope.path}{node.id}"
                    raise NumberedCopy(base, f"{base}.{index}")
            op = op.mapped(
                lambda segment, body, node=node, deeper=deeper: within(  # type: ignore[misc]  # bound now
                    _inner(scope, node, segment, body), deeper, change
                )
            )
        nodes.append(replace(node, op=op))
    return replace(scope.diagram, nodes=tuple(nodes))


def _inner(scope: Scope, node: Node, segment: str, body: Diagram) -> Scope:
    op = node.op
    own = isinstance(op, Stages) or (isinstance(op, Repeat) and not op.tied and op.n > 1)
    return Scope(body, f"{scope.path}{node.id}{segment}", scope.keys, scope.repeated or own)


def whole(diagram: Diagram) -> Scope:
    """The outermost scope."""
    return Scope(diagram, keys=key_counts(diagram))


def scopes(scope: Scope) -> Iterator[Scope]:
    """The scope and all inside it, outer before inner; the copies of a repetition count as one."""
    yield scope
    for node in scope.diagram.nodes:
        if isinstance(node.op, Composite):
            segment, body = node.op.insides()[0]
            yield from scopes(_inner(scope, node, "." if segment == "." else ".*.", body))


def key_counts(diagram: Diagram) -> Counter[str]:
    """How often each key is used, copies of a repetition counted once."""
    keys = (getattr(node.op, "key", "") for _, node in diagram.walk())
    return Counter(key for key in keys if key)
