"""What a graph is read into: cells (operations to be) on wires, and the three kinds of tensors that they
meet.

A `Value` runs along a wire; its dimensions may also have axes that the wire lacks, over which it is constant
(what `expand` makes). A `Weight` is a parameter of the module, perhaps seen through views. A `Const` is known
at import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nbkit.build.importing.atoms import Atom, Dims, flat, keep_apart, same

if TYPE_CHECKING:
    from sympy import Expr


@dataclass(frozen=True)
class Scope:
    """A module's call: `key` is unique, `name` is what the parent calls it (`layers.0`), `kind` its class."""

    key: str
    name: str
    kind: str


Stack = tuple[Scope, ...]


@dataclass(eq=False)
class Wire:
    """An array on its way: its axes in no particular order, and the bound of its indices if it holds any."""

    atoms: tuple[Atom, ...]
    bound: Expr | None = None
    name: str = ""

    def __post_init__(self) -> None:
        keep_apart(self.atoms)

    def has(self, atom: Atom) -> bool:
        """True if the array has the axis."""
        return any(same(atom, mine) for mine in self.atoms)


@dataclass(frozen=True)
class Carry:
    """Where a learned array comes from: a tensor of the module, seen through views, or a constant."""

    source: str
    tensor: Tensor
    steps: tuple[Callable[[Tensor], Tensor], ...] = ()
    signature: tuple[object, ...] = ()  # tells apart two ways of seeing one tensor
    layout: str = ""  # "transposed": as a transposed convolution holds it

    def then(self, what: object, step: Callable[[Tensor], Tensor]) -> Carry:
        """The same, seen through one more view; `what` says which."""
        return replace(self, steps=(*self.steps, step), signature=(*self.signature, what))

    def read(self) -> Tensor:
        """The numbers as they are now, detached."""
        found = self.tensor.detach()
        for step in self.steps:
            found = step(found)
        return found

    @property
    def trainable(self) -> bool:
        return bool(self.tensor.requires_grad)

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for two carries of the same numbers."""
        return (self.source, *self.signature)


@dataclass(frozen=True)
class Value:
    """A tensor that is computed: a wire, and which axes each dimension is made of."""

    wire: Wire
    dims: Dims

    @property
    def sizes(self) -> tuple[Expr, ...]:
        from nbkit.build.importing.atoms import product

        return tuple(product(dim) for dim in self.dims)

    def virtual(self) -> tuple[Atom, ...]:
        """The axes that the wire lacks."""
        return tuple(atom for atom in flat(self.dims) if not self.wire.has(atom))


@dataclass(frozen=True)
class Weight:
    """A parameter of the module."""

    carry: Carry
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Const:
    """A tensor known at import; `order` is the place in the graph where it was made.

    `sizes` are its sizes; where one is open, `tensor` is what it was for the example.
    """

    tensor: Tensor
    order: int
    stack: Stack
    sizes: tuple[Expr, ...]
    source: str = ""
    label: str = ""
    depends: bool = False  # its numbers were computed from an open size

    @property
    def open(self) -> bool:
        return any(not size.is_Integer for size in self.sizes)


@dataclass(eq=False)
class Cell:
    """An operation to be. `axes` are the atoms of its specification by role, `weights` what it carries."""

    kind: str
    ins: list[Wire]
    outs: list[Wire]
    axes: dict[str, list[Atom]]
    settings: dict[str, Any]
    weights: dict[str, Carry]
    stack: Stack
    order: tuple[float, ...]
    name: str = ""
    copied: bool = field(default=False)  # shared by a key that a rewrite gave


class Unsuitable(Exception):  # not an error of the user's: the call becomes an opaque box
    """A rule cannot express this call."""


def is_tensor(x: object) -> bool:
    """True for the three kinds of tensors."""
    return isinstance(x, Value | Weight | Const)


def numbers_of(t: Tensor) -> tuple[object, ...]:
    """Equal for two constants that hold the same numbers, whatever dimensions of size 1 they have."""
    flat = settled(t).detach().cpu().contiguous()
    shape = tuple(n for n in flat.shape if n != 1)
    raw = flat.view(torch.uint8) if flat.dim() and flat.dtype is not torch.bool else flat.to(torch.uint8)
    return (shape, str(flat.dtype), raw.numpy().tobytes())


def settled(t: Tensor) -> Tensor:
    """A constant without the dimensions along which it does not change (they become 1)."""
    for dim in range(t.dim()):
        if t.shape[dim] > 1:
            first = t.narrow(dim, 0, 1)
            if bool((t == first).all()) or (t.is_floating_point() and torch.equal(t, first.expand_as(t))):
                t = first
    return t


Settings = Mapping[str, Any]


def same_numbers(x: Any, found: Const) -> bool:
    """True if `x` is a constant that holds the same numbers."""
    if not isinstance(x, Const) or x.tensor.dtype != found.tensor.dtype or found.tensor.numel() > 1 << 20:
        return False
    return numbers_of(x.tensor) == numbers_of(found.tensor)


def seen(x: Const, found: Const) -> Const:
    """A constant that is another one, seen through views: it is made where that one is."""
    return replace(x, tensor=found.tensor, sizes=found.sizes)
