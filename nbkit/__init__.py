"""nbkit: compose neural architectures as neural circuit diagrams, train them live, watch their dynamics.

Every public name is loaded when it is first used: `import nbkit` itself imports neither torch nor plotly nor
sympy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LANGUAGE = {
    "nbkit.language": (
        "ArityError", "Array", "Axis", "BindingError", "Diagram", "DiagramError", "DiagramTypeError", "Fn",
        "ParseError", "parse",
    ),
    "nbkit.language.decorator": ("diagram",),
    "nbkit.language.functions": ("block", "skip"),
    "nbkit.language.repetition": ("repeat", "scan", "stages"),
    "nbkit.language.palette": (
        "add", "batch_norm", "cast", "concat", "constant", "dropout", "einsum", "elementwise", "embed",
        "exp", "expand", "fold", "gather", "gelu", "index", "indices", "linear", "mask", "maximum",
        "mean", "merge", "multiply", "norm", "one_hot", "parameter", "positions", "pullback", "reduce",
        "relu", "rename", "rms_norm", "scale", "scatter", "sigmoid", "silu", "softmax", "split", "square",
        "stop_gradient", "tanh", "topk", "total", "transpose", "window",
    ),
}  # fmt: skip
_WHERE: dict[str, tuple[str, str]] = {
    **{name: (module, name) for module, names in _LANGUAGE.items() for name in names},
    "slice": ("nbkit.language.palette", "slice_"),
    "RewriteError": ("nbkit.language.rewrite", "RewriteError"),
    "Rewriting": ("nbkit.language.rewrite", "Rewriting"),
    "rewrites": ("nbkit.language.rewrite", "rules"),
    "beside": ("nbkit.draw", "beside"),
    "equation": ("nbkit.draw", "equation"),
    "code": ("nbkit.views", "code"),
    "box": ("nbkit.build.boxes", "box"),
    "from_torch": ("nbkit.build.importing", "from_torch"),
    "Recipe": ("nbkit.train", "Recipe"),
    "Record": ("nbkit.record", "Record"),
    "RecordError": ("nbkit.record", "RecordError"),
    "budget": ("nbkit.train.budget", "budget"),
    "Session": ("nbkit.widgets", "Session"),
    "explore": ("nbkit.widgets", "explore"),
}
_ROOMS = ("build", "components", "draw", "language", "record", "tasks", "train", "views", "widgets")

if TYPE_CHECKING:  # for editors and type checkers; at run time `__getattr__` answers
    from nbkit.build.boxes import box as box
    from nbkit.build.importing import from_torch as from_torch
    from nbkit.draw import beside as beside
    from nbkit.draw import equation as equation
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
    from nbkit.language.decorator import diagram as diagram
    from nbkit.language.functions import block as block
    from nbkit.language.functions import skip as skip
    from nbkit.language.palette import add as add
    from nbkit.language.palette import batch_norm as batch_norm
    from nbkit.language.palette import cast as cast
    from nbkit.language.palette import concat as concat
    from nbkit.language.palette import constant as constant
    from nbkit.language.palette import dropout as dropout
    from nbkit.language.palette import einsum as einsum
    from nbkit.language.palette import elementwise as elementwise
    from nbkit.language.palette import embed as embed
    from nbkit.language.palette import exp as exp
    from nbkit.language.palette import expand as expand
    from nbkit.language.palette import fold as fold
    from nbkit.language.palette import gather as gather
    from nbkit.language.palette import gelu as gelu
    from nbkit.language.palette import index as index
    from nbkit.language.palette import indices as indices
    from nbkit.language.palette import linear as linear
    from nbkit.language.palette import mask as mask
    from nbkit.language.palette import maximum as maximum
    from nbkit.language.palette import mean as mean
    from nbkit.language.palette import merge as merge
    from nbkit.language.palette import multiply as multiply
    from nbkit.language.palette import norm as norm
    from nbkit.language.palette import one_hot as one_hot
    from nbkit.language.palette import parameter as parameter
    from nbkit.language.palette import positions as positions
    from nbkit.language.palette import pullback as pullback
    from nbkit.language.palette import reduce as reduce
    from nbkit.language.palette import relu as relu
    from nbkit.language.palette import rename as rename
    from nbkit.language.palette import rms_norm as rms_norm
    from nbkit.language.palette import scale as scale
    from nbkit.language.palette import scatter as scatter
    from nbkit.language.palette import sigmoid as sigmoid
    from nbkit.language.palette import silu as silu
    from nbkit.language.palette import slice_ as slice  # noqa: A004, F401
    from nbkit.language.palette import softmax as softmax
    from nbkit.language.palette import split as split
    from nbkit.language.palette import square as square
    from nbkit.language.palette import stop_gradient as stop_gradient
    from nbkit.language.palette import tanh as tanh
    from nbkit.language.palette import topk as topk
    from nbkit.language.palette import total as total
    from nbkit.language.palette import transpose as transpose
    from nbkit.language.palette import window as window
    from nbkit.language.repetition import repeat as repeat
    from nbkit.language.repetition import scan as scan
    from nbkit.language.repetition import stages as stages
    from nbkit.language.rewrite import RewriteError as RewriteError
    from nbkit.language.rewrite import Rewriting as Rewriting
    from nbkit.language.rewrite import rules as rewrites  # noqa: F401
    from nbkit.record import Record as Record
    from nbkit.record import RecordError as RecordError
    from nbkit.train import Recipe as Recipe
    from nbkit.train.budget import budget as budget
    from nbkit.views import code as code
    from nbkit.widgets import Session as Session
    from nbkit.widgets import explore as explore


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
