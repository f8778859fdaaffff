"""Where the ways out of a diagram live: rooms further down the house, found by name when first asked for.

The language depends on none of them; a diagram can be typed, listed and stored without torch and without
drawing.
"""

from __future__ import annotations

import importlib
from typing import Any


def room(module: str, name: str) -> Any:
    """The function `name` of a room, which is imported now if it was not before."""
    return getattr(importlib.import_module(module), name)
