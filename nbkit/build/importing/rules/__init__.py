"""What is done with each aten operation: one small function each, registered by name on import."""

from nbkit.build.importing.rules import (
    attention,
    convolution,
    linear,
    masking,
    norms,
    opaque,
    pieces,
    pointwise,
    recurrent,
    reductions,
    views,
)

__all__ = [
    "attention",
    "convolution",
    "linear",
    "masking",
    "norms",
    "opaque",
    "pieces",
    "pointwise",
    "recurrent",
    "reductions",
    "views",
]
