"""Diagram → program: a torch module that is the diagram, and its cost symbolically.

Torch is loaded when `build_torch` or `DiagramModule` is first asked for.
"""

from typing import TYPE_CHECKING, Any

from nbkit.build.costs import Cost as Cost
from nbkit.build.costs import cost as cost
from nbkit.build.costs import tints as tints

if TYPE_CHECKING:
    from nbkit.build.modules import DiagramModule as DiagramModule
    from nbkit.build.modules import build_torch as build_torch


def __getattr__(name: str) -> Any:
    if name in ("build_torch", "DiagramModule"):
        from nbkit.build import modules

        return getattr(modules, name)
    raise AttributeError(f"module 'nbkit.build' has no attribute {name!r}")
