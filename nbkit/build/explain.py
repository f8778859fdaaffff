"""Why inputs did not fit: asked only after something went wrong, so that a good step pays nothing.

Each input is compared with its type, sizes that are still open are read off the shapes, and the diagram is
then bound to them: the first thing that does not fit is told in the diagram's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sympy import Expr, Integer, Symbol

from nbkit.language.axes import Array
from nbkit.language.diagram import Diagram
from nbkit.language.errors import ArityError, DiagramError
from nbkit.language.sizes import format_size, substitute


def explain(diagram: Diagram, inputs: Sequence[Any]) -> DiagramError | None:
    """The error that says what is wrong with these inputs; None if they fit."""
    if len(inputs) != len(diagram.ins):
        wanted = ", ".join(map(str, diagram.inputs))
        some = f"{len(diagram.ins)} array{'s' * (len(diagram.ins) != 1)}"
        return ArityError(f"{diagram.name} takes {some} ({wanted}), got {len(inputs)}")
    known = _Known()
    for number, (tensor, array) in enumerate(zip(inputs, diagram.inputs, strict=True), start=1):
        place = f"input {number} of {diagram.name}" if len(inputs) > 1 else f"the input of {diagram.name}"
        reason = _shape(tensor, array, place, known) or _values(tensor, array, place, known)
        if reason is not None:
            return reason
    free = diagram.free()
    for sizes in known.readings():
        try:
            diagram.at(**{name: size for name, size in sizes.items() if name in free})
        except DiagramError as error:
            return error
    return None


class _Known:
    """What the inputs so far say about sizes that are still open; an image may have two sizes or three."""

    def __init__(self) -> None:
        self.sizes: dict[str, Expr] = {}  # must be the same wherever the name stands
        self.sources: dict[str, str] = {}
        self.images: dict[str, list[int]] = {}

    def add(self, name: str, size: int, place: str, rank: int) -> None:
        self.images.setdefault(name, []).append(size)
        if rank == 1:
            self.sizes.setdefault(name, Integer(size))
            self.sources.setdefault(name, place)

    def readings(self) -> list[dict[str, int]]:
        """Sizes for the whole diagram: one reading for each dimension of the images."""
        most = max((len(sizes) for sizes in self.images.values()), default=0)
        return [{n: sizes[min(i, len(sizes) - 1)] for n, sizes in self.images.items()} for i in range(most)]


def _shape(tensor: Any, array: Array, place: str, known: _Known) -> DiagramError | None:
    shape = getattr(tensor, "shape", None)
    if shape is None:
        return DiagramError(f"{place} is {array}: expected a torch tensor, found {type(tensor).__name__}")
    found = tuple(int(size) for size in shape)
    rank = sum(axis.rank for axis in array)
    if len(found) < rank:
        return DiagramError(
            f"{place} is {array}: expected a tensor of {rank} dimensions ({' '.join(array.names)}) "
            f"or more (batches in front), found shape {found}"
        )
    place_of = -rank
    for axis in array:
        for _ in range(axis.rank):
            size = found[place_of]
            wanted = substitute(axis.size, known.sizes)
            if wanted.is_Integer and size != wanted:
                source = known.sources.get(str(axis.size), "")
                return DiagramError(
                    f"{place} is {array}: axis '{axis.name}' has size {format_size(wanted)}"
                    f"{f' (from {source})' if source else ''}, "
                    f"found {size} in shape {found} (dimension {place_of})"
                )
            if isinstance(axis.size, Symbol):
                known.add(axis.size.name, size, place, axis.rank)
            place_of += 1
    return None


def _values(tensor: Any, array: Array, place: str, known: _Known) -> DiagramError | None:
    """Indices must be whole numbers below their bound; reals must not be whole numbers."""
    floating = tensor.is_floating_point()
    if array.bound is None:
        if floating or tensor.is_complex():
            return None
        return DiagramError(
            f"{place} is {array}: expected real numbers, found {tensor.dtype}; convert with .float()"
        )
    if floating or tensor.is_complex():
        return DiagramError(
            f"{place} is {array}: expected whole numbers (torch.int64), found {tensor.dtype}; "
            "convert with .long()"
        )
    bound = substitute(array.bound, known.sizes)
    if bound.is_Integer and tensor.numel() and tensor.device.type != "meta":
        wrong = (tensor < 0) | (tensor >= int(bound))
        if bool(wrong.any()):
            at = tuple(wrong.nonzero()[0].tolist())
            return DiagramError(
                f"{place} is {array}: indices are at least 0 and below {format_size(bound)}, "
                f"found {int(tensor[at])} at position {at}"
            )
    return None
