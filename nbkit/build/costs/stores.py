"""Where arrays lie in memory: storages, the views of them that wires are, and which of them are alive.

Renaming, reordering, splitting, merging, slicing, sliding windows over and repeating an array makes no new
one: such a wire is a view of the storage behind it. (torch copies where a merge meets dimensions that are not
neighbours, or where a window is merged or multiplied op by op; fused kernels do not.)
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr, Integer

from nbkit.language.axes import Array

INDEX = 8  # bytes of an index


@dataclass(eq=False)
class Storage:
    """An array in memory: its bytes, whether autograd keeps it, and how many live wires look at it."""

    size: Expr
    kept: bool = False
    users: int = 0


@dataclass(frozen=True, eq=False)
class View:
    """What a wire is: a storage, the bytes that are read when all of the wire is, and whether gradients flow
    back through it.
    """

    storage: Storage
    read: Expr
    wants: bool


def fresh(array: Array, itemsize: int, *, wants: bool) -> View:
    """A new array."""
    size = array.numel * (itemsize if array.bound is None else INDEX)
    return View(Storage(size), size, wants and array.bound is None)


class Alive:
    """The storages that some later operation, or the result, still needs."""

    def __init__(self) -> None:
        self.total: Expr = Integer(0)

    def hold(self, view: View) -> None:
        """One more wire looks at the storage."""
        if not view.storage.users:
            self.total = self.total + view.storage.size
        view.storage.users += 1

    def release(self, view: View) -> None:
        """One wire less."""
        view.storage.users -= 1
        if not view.storage.users:
            self.total = self.total - view.storage.size
