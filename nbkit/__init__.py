"""nbkit: compose neural architectures as neural circuit diagrams, train them live, watch their dynamics.

Every public name is loaded when it is first used: `import nbkit` itself imports neither torch nor plotly nor sympy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LANGUAGE = {
    "nbkit.language": (
        "ArityError", "Array", "Axis", "BindingError", "Diagram", "DiagramError", "DiagramTypeError", "Fn", "ParseError", "parse",
    ),
    "nbkit.language.functions": (
        "add", "batch_norm", "block", "concat", "diagram", "dropout", "einsum", "elementwise", "embed", "exp", "gelu", "index",
        "linear", "mask", "maximum", "mean", "merge", "multiply", "norm", "positions", "reduce", "relu", "rename", "repeat",
        "rms_norm", "scale", "sigmoid", "silu", "skip", "softmax", "split", "square", "tanh", "total", "transpose", "window",
    ),
}  # fmt: skip
_WHERE: dict[str, tuple[str, str]] = {
    **{name: (module, name) for module, names in _LANGUAGE.items() for name in names},
    "slice": ("nbkit.language.functions", "slice_"),
    "Recipe": ("nbkit.train", "Recipe"),
    "Session": ("nbkit.widgets", "Session"),
}
_ROOMS = ("build", "components", "draw", "language", "tasks", "train", "widgets")

if TYPE_CHECKING:  # for editors and type checkers; at run time `__getattr__` answers
    from nbkit.language import ArityError as ArityError
    from nbkit.language import Array as Array
    from nbkit.language import Axis as Axis
    from nbkit.language import BindingError as BindingError
    from nbkit.language import Diagram as Diagram
    from nbkit.language import DiagramError as DiagramError
    from nbkit.language import DiagramTypeError as DiagramTypeError
    from nbkit.language import Fn as Fn
    from nbkit.language import ParseError as ParseError
    from nbkit.language import parse as parse
    from nbkit.language.functions import *  # noqa: F403


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        module, attribute = _WHERE[name]
        value = getattr(importlib.import_module(module), attribute)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f"nbkit.{name}")
    raise AttributeError(f"module 'nbkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted((*_WHERE, *_ROOMS, "__version__"))
