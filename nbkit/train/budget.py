"""How long a demonstration may train: in full on a lecturer's screen, for a moment in a test of notebooks."""

from __future__ import annotations

import os

QUICK = 2.0


def budget(seconds: float) -> float:
    """`seconds`, or at most 2 where the environment says `NBKIT_BUDGET=quick`.

    >>> budget(1.5)
    1.5
    """
    return min(seconds, QUICK) if os.environ.get("NBKIT_BUDGET") == "quick" else seconds
