"""What a picture shows of each part of a diagram, and which lines of a program belong to it.

A picture's elements carry the paths of what they stand for; a line of a program carries the paths of what it
computes. Where a part is folded, or drawn within another glyph, its lines belong to the nearest part that is
drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# An element of the picture that says which part it shows, and its attributes.
_ELEMENT = re.compile(r"<(?:path|rect|circle|g)\b[^>]*?\sdata-(?:node|block)=\"[^>]*>")
_ATTRIBUTE = re.compile(r'\s([\w-]+)="([^"]*)"')
_PATH = re.compile(r"[\w.*]+\Z")  # of names, numbers and stars; nothing else is linked


@dataclass(frozen=True)
class Drawn:
    """An element of the picture: the attribute that finds it, its colour, and the class of its role."""

    attribute: str  # node | block
    path: str
    fill: str = ""
    role: str = ""

    @property
    def selector(self) -> str:
        """The CSS selector of the part's elements."""
        return f'[data-{self.attribute}="{self.path}"]'


def drawn(svg: str) -> dict[str, Drawn]:
    """What a picture shows, by path; a part that has a glyph and lies in another has its own."""
    found: dict[str, Drawn] = {}
    others: dict[str, Drawn] = {}
    for element in _ELEMENT.findall(svg):
        given = dict(_ATTRIBUTE.findall(element))
        attribute = "block" if "data-block" in given else "node"
        path = given.get(f"data-{attribute}", "")
        if not _PATH.match(path):
            continue
        roles = [name for name in given.get("class", "").split() if name.startswith("f-")]
        fill = given.get("fill", "none")
        plate = fill != "none" and bool(roles) and roles[0] != "f-ink"  # bars and dots are ink, and no ground
        part = Drawn(attribute, path, *((fill, roles[0]) if plate else ("", "")))
        if path not in found or (part.fill and not found[path].fill):
            found[path] = part
        also = given.get("data-also", "")
        if _PATH.match(also):
            others[also] = part
    return {**others, **found}


def shown(path: str, parts: dict[str, Drawn]) -> list[str]:
    """What a part is in the picture: itself, or what is drawn of it, or the nearest drawn part around it."""
    if not path or path in parts:
        return [path] if path else []
    inside = [other for other in parts if other.startswith(f"{path}.")]
    return inside or around(path, parts)[:1]


def around(path: str, parts: dict[str, Drawn]) -> list[str]:
    """The drawn parts around a path, and itself, innermost first."""
    found = []
    while path:
        found += [path] if path in parts else []
        path = path.rpartition(".")[0].removesuffix(".*")
    return found


def colour(paths: Iterable[str], parts: dict[str, Drawn]) -> Drawn | None:
    """The innermost coloured part that all paths lie in; that of the first, if they have none in common."""
    chains = []
    for path in paths:
        inside = [other for other in shown(path, parts) if other.startswith(f"{path}.")]
        one = len({parts[other].selector for other in inside}) == 1  # a block that is drawn as one glyph
        chains.append(inside[:one] + around(path, parts))
    common = [p for p in chains[0] if all(p in chain for chain in chains)] if chains else []
    for path in (*common, *(chains[0] if chains else ())):
        if parts[path].fill:
            return parts[path]
    return None
