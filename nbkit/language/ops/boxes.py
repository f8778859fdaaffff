"""Torch: an opaque box, for layers from research that are no array algebra.

The diagram knows its name, its types and a text of settings; what it does is known to the running process
alone (`nbkit.box` registers it there), so a diagram from a stranger cannot bring code along.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from nbkit.language.axes import Array, Axis, parse_arrays
from nbkit.language.errors import Mismatch, ParseError
from nbkit.language.ops.base import Lookup, Op, need, refused, union
from nbkit.language.sizes import NAME, format_size

LONGEST_BOX = 120


@dataclass(frozen=True)
class Torch(Op):
    """A torch module as one box: `spec` "x m -> x n", arrays on both sides as in `.on(…)`.

    The axes of the specification are its targets, the last dimensions of what the module is given, in that
    order; all other axes are woven, the first dimensions. `name` says which module: words joined by dots.
    """

    kind: ClassVar[str] = "torch"
    arity: ClassVar[int | None] = None
    learned: ClassVar[bool] = True
    name: str = "box"
    spec: str = ""
    settings: str = ""

    def __post_init__(self) -> None:
        if len(self.name) > LONGEST_BOX or not all(
            NAME.match(part.strip("_") or "_") for part in self.name.split(".")
        ):
            raise refused(self, f"has name {self.name[:60]!r}", "a box is called by words joined by dots")
        self.sides()

    def sides(self) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """The arrays of the specification."""
        left, arrow, right = self.spec.partition("->")
        if not arrow or "->" in right:
            raise ParseError(f"specification {self.spec[:80]!r} needs exactly one '->', as in \"x m -> x n\"")
        return parse_arrays(left), parse_arrays(right)

    def takes(self) -> int:
        return len(self.sides()[0])

    def domain(self) -> tuple[Array, ...]:
        return self.sides()[0]

    def free(self) -> set[str]:
        return {name for side in self.sides() for array in side for name in array.free()}

    def resolve(self, lookup: Lookup) -> Torch:
        shown = [", ".join(str(a.bind(lookup)) for a in side) for side in self.sides()]
        return replace(self, spec=" -> ".join(shown))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        takes, gives = self.sides()
        woven: list[tuple[Axis, ...]] = []
        for number, (array, wanted) in enumerate(zip(ins, takes, strict=True)):
            where = number if len(ins) > 1 else None
            need(array, wanted.names, where)
            for axis in wanted:
                if array[axis.name] != axis:
                    raise Mismatch(
                        f"wants axis '{axis}', but it is {array[axis.name]} on  {array}",
                        f"bring axis '{axis.name}' to size {format_size(axis.size)} and rank {axis.rank}",
                        wire=number,
                    )
            if (array.bound is None) != (wanted.bound is None):
                raise Mismatch(f"takes {wanted}, but the wire is  {array}", "cast it first", wire=number)
            woven.append(array.without(wanted.names))
        front = union(woven)
        for array in gives:
            twice = [axis.name for axis in front if axis.name in array]
            if twice:
                raise Mismatch(
                    f"produces axis '{twice[0]}', but a wire already carries a woven axis of that name",
                    "rename one of them",
                )
        return tuple(Array((*front, *array.axes), array.bound) for array in gives)

    def __str__(self) -> str:
        return self.name
