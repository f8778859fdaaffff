"""Weights that are one and the same (`key=`): who shares which, and the statements that say so.

A shared weight is tied in the smallest class that holds all of its users, after they are made:
`self.logits.weight = self.embedding.tokens.weight`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nbkit.build.names import attributes
from nbkit.build.weights import Keys, Weights, weights
from nbkit.language.diagram import Diagram
from nbkit.language.errors import DiagramError
from nbkit.language.parts import Repeat, Stages

Place = tuple[str, ...]  # attributes on the way down; "*" for every copy, a number for one of several stages


@dataclass(frozen=True)
class Ties:
    """Who shares weights, by key, and whose weight is another's turned round: a table's, or that of a grouped
    map or convolution (by which of them it is).
    """

    users: dict[str, tuple[Place, ...]]
    transposed: frozenset[Place]
    turned: dict[Place, str]

    def within(self, place: Place) -> list[tuple[Place, ...]]:
        """The users, seen from a class, of each weight that is to be tied there."""
        return [
            tuple(user[len(place) :] for user in users)
            for users in self.users.values()
            if _holder(users) == place and (len(users) > 1 or "*" in users[0])
        ]


def ties(diagram: Diagram) -> Ties:
    """The ties of a diagram; `DiagramError` if weights that share a key cannot be one."""
    keys = Keys()
    users: dict[str, list[Place]] = {}
    transposed = set()
    turned: dict[Place, str] = {}
    for place, path, learned in _learned(diagram, (), ""):
        if learned.key:
            users.setdefault(learned.key, []).append(place)
            sharing = keys.claim(path, learned)
            first_path, first = keys.first[learned.key]
            same_shape = learned.shapes["weight"] == first.shapes["weight"]
            if sharing == "transposed":
                transposed.add(place)
            elif sharing == "turned":
                turned[place] = first.module
            elif not same_shape:
                raise DiagramError(
                    f"source() cannot write that {path} has the weight of {first_path} in another shape; "
                    f"torch() can build {diagram.name}"
                )
    return Ties({key: tuple(places) for key, places in users.items()}, frozenset(transposed), turned)


def _learned(diagram: Diagram, place: Place, prefix: str) -> Iterator[tuple[Place, str, Weights]]:
    names = attributes(diagram)
    for node in diagram.nodes:
        here, path = (*place, names[node.id]), f"{prefix}{names[node.id]}"
        for number, (segment, body) in enumerate(node.op.insides()):
            inner = deeper(node.op, here, number)
            yield from _learned(body, inner, f"{path}{segment}")
        if not node.op.insides() and (held := weights(diagram, node)) is not None:
            yield here, path, held


def deeper(op: object, place: Place, number: int) -> Place:
    """The place of a part of the composite at `place`."""
    if isinstance(op, Repeat) and not op.tied:
        return (*place, "*")
    return (*place, str(number)) if isinstance(op, Stages) else place


def _holder(users: tuple[Place, ...]) -> Place:
    """The class that holds all users."""
    common: list[str] = []
    for steps in zip(*(user[:-1] for user in users), strict=False):
        if len(set(steps)) > 1 or steps[0] == "*":
            break
        common.append(steps[0])
    while common and _inside_list(users[0], len(common)):
        common.pop()
    return tuple(common)


def _inside_list(place: Place, length: int) -> bool:
    """Whether the first `length` steps end at a list of modules, and not at a module."""
    return length < len(place) and (place[length] == "*" or place[length].isdecimal())


def tie(users: tuple[Place, ...]) -> list[str]:
    """The statements that make the users of a weight share it, from within their holder."""
    first = f"{_reach('self', tuple('0' if step == '*' else step for step in users[0]))}.weight"
    lines: list[str] = []
    for user in users if "*" in users[0] else users[1:]:
        owner, depth, rest = "self", 0, user
        while "*" in rest:
            at = rest.index("*")
            name = "layer" if depth == 0 else f"layer_{depth + 1}"
            lines.append(f"{'    ' * depth}for {name} in {_reach(owner, rest[:at])}:")
            owner, rest, depth = name, rest[at + 1 :], depth + 1
        lines.append(f"{'    ' * depth}{_reach(owner, rest)}.weight = {first}")
    return lines


def _reach(owner: str, steps: Place) -> str:
    return owner + "".join(f"[{step}]" if step.isdecimal() else f".{step}" for step in steps)
