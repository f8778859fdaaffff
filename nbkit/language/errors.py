"""What can be wrong with a diagram, and how it is said.

Errors come in two layers. An op knows only the bare fact (`Mismatch`: what it wanted, what came, the fix);
the place where the op was applied knows the path, the source line and the chain of operations that led there,
and adds them once (`DiagramTypeError`). Every message names place, expectation, finding and remedy.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from typing import Any

from nbkit.language.rooms import room


class DiagramError(ValueError):
    """Base class of everything that nbkit refuses about a diagram.

    `partial` is the diagram up to the mistake and the numbers of the wires that are wrong, where there is
    one.
    """

    partial: tuple[Any, tuple[int, ...]] | None = None

    def _repr_html_(self) -> str:
        """The diagram up to the mistake, with the wires that do not fit in red, above the message."""
        text: str = room("nbkit.draw", "explain")(self.partial, str(self))
        return text

    def _render_traceback_(self) -> list[str]:
        """What IPython prints: the picture (once, in a notebook), and the message without our own frames."""
        if self.partial is not None and (display := _notebook_display()) is not None:
            display({"text/html": room("nbkit.draw", "explain")(self.partial), "text/plain": ""}, raw=True)
            self.partial = None  # IPython asks twice: for the cell and for the message to the front end
        return [f"{type(self).__name__}: {self}"]


class DiagramTypeError(DiagramError):
    """Two parts of a diagram do not fit. `path` is the place, `partial` the diagram up to there."""

    def __init__(
        self,
        message: str,
        *,
        path: tuple[str, ...] = (),
        partial: tuple[Any, tuple[int, ...]] | None = None,
    ) -> None:
        super().__init__(message)
        self.path, self.partial = path, partial
        self.missing: tuple[str, int] | None = None  # an axis that an input of the whole diagram could supply


class ArityError(DiagramTypeError):
    """A function was given more or fewer arrays than it takes."""


class BindingError(DiagramError):
    """A size is unbound, unknown, or is no positive integer for the sizes given; `partial` shows where."""

    def __init__(self, message: str, *, partial: tuple[Any, tuple[int, ...]] | None = None) -> None:
        super().__init__(message)
        self.partial = partial


class ParseError(DiagramError):
    """A text (axis, size, relation, listing, JSON) does not belong to the language."""


class Mismatch(DiagramError):
    """The bare fact, raised by an op and wrapped by whoever applied it."""

    def __init__(self, fact: str, hint: str = "", *, missing: str | None = None, wire: int = 0) -> None:
        super().__init__(fact)
        self.fact, self.hint, self.missing, self.wire = fact, hint, missing, wire


def _notebook_display() -> Any:
    """IPython's `display` if a notebook's kernel is running us, else None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return ipython.display.display if ipython is not None and hasattr(shell, "kernel") else None


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'f'?`, or the empty string where nothing is near."""
    options = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    if not close and len(name) == 1 and all(len(option) == 1 for option in options):
        close = options[-1:]  # single letters are never near each other: offer the last axis of the wire
    return f"did you mean '{close[0]}'?" if close else ""


for _class in (DiagramError, DiagramTypeError, ArityError, BindingError, ParseError):
    _class.__module__ = "nbkit"  # tracebacks read `nbkit.DiagramTypeError: …`
