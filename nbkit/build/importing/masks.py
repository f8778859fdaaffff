"""Which relation of indices a boolean matrix is: causal, banded, blocks of neighbours."""

from __future__ import annotations

from torch import Tensor, arange


def relation_of(kept: Tensor) -> str | None:
    """A relation of x (columns) and y (rows) that holds exactly where the matrix does; None if none is found.

    >>> import torch
    >>> relation_of(torch.ones(4, 4).tril().bool())
    'x <= y'
    >>> relation_of(torch.ones(5, 5).tril().triu(-1).bool())
    'x <= y and y < x + 2'
    """
    rows, cols = kept.shape
    distance = arange(cols)[None, :] - arange(rows)[:, None]  # x − y
    inside = distance[kept]
    if inside.numel() == 0:
        return None
    low, high = int(inside.min()), int(inside.max())
    if not bool((kept == ((distance >= low) & (distance <= high))).all()):
        return None
    parts = []
    if high < cols - 1:
        parts.append("x <= y" if high == 0 else f"x <= y + {high}" if high > 0 else f"x + {-high} <= y")
    if low > 1 - rows:
        parts.append("y <= x" if low == 0 else f"y < x + {1 - low}" if low < 0 else f"y + {low} <= x")
    return " and ".join(parts) or None
