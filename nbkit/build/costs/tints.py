"""The account by path, in numbers: what a picture is tinted with."""

from __future__ import annotations

import re

from nbkit.build.costs.count import cost
from nbkit.language.diagram import Diagram
from nbkit.language.errors import BindingError, DiagramError, nearest
from nbkit.language.parts import Repeat

MEASURES = {
    "params": "parameters",
    "flops": "FLOPs",
    "bytes": "bytes moved",
    "memory": "bytes kept",
}
"""What a picture can be tinted by, and what its legend says."""


def tints(diagram: Diagram, measure: str, *, unroll: bool = False) -> tuple[dict[str, float], str]:
    """The numbers of every path that costs something, and what they count; `unroll` adds the single copies.

    `DiagramError` for an unknown measure, `BindingError` where sizes are open.
    """
    if measure not in MEASURES:
        hint = nearest(measure, MEASURES) or f"choose one of {', '.join(MEASURES)}"
        raise DiagramError(f"a picture cannot be tinted by {str(measure)[:40]!r}; {hint}")
    found: dict[str, float] = {}
    open_: set[str] = set()
    for path, entry in cost(diagram).by_path().items():
        number = getattr(entry, measure)
        if not isinstance(number, int):
            open_ |= {str(size) for size in number.free_symbols}
        elif number:
            found[path] = float(number)
    if open_:
        names = sorted(open_)
        example = ", ".join(f"{name}=64" for name in names)
        raise BindingError(
            f"the {MEASURES[measure]} of {diagram.name} are no numbers yet: size{'s' * (len(names) > 1)} "
            f"{', '.join(names)} {'are' if len(names) > 1 else 'is'} open\n"
            f'  say how large: d.svg(tint="{measure}", {example})'
        )
    if unroll:
        for path, node in diagram.walk():
            if isinstance(node.op, Repeat):
                found |= _copies(found, path, node.op.n)
    return found, MEASURES[measure]


def _copies(found: dict[str, float], path: str, n: int) -> dict[str, float]:
    """What each copy of a repetition costs: `path.0`, `path.1` … beside `path.*`, outer copies included."""
    inside = re.compile("([^.]+)".join(re.escape(part) for part in path.split("*")) + r"\.\*(\..*)?\Z")
    new: dict[str, float] = {}
    for other, value in found.items():
        if match := inside.match(other):
            rest = match.groups()[-1] or ""
            outer = other[: len(other) - len(rest) - 1]
            new.update((f"{outer}{i}{rest}", value / n) for i in range(n))
    return new
