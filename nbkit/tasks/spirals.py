"""Two interleaved spirals in the plane: easy to see, hard for a small network.

K. J. Lang and M. J. Witbrock, "Learning to Tell Two Spirals Apart", 1988 Connectionist Models Summer School:
194 points, three turns; the radius grows evenly with the angle.
"""

from __future__ import annotations

import math

from nbkit.tasks.errors import check_count, check_fraction, check_seed, check_size
from nbkit.tasks.task import Task


def spirals(
    n: int = 400, turns: float = 1.75, noise: float = 0.02, seed: int = 0, test: float = 0.25
) -> Task:
    """Tell which of two interleaved spirals a point of the plane lies on.

    Parameters
    ----------
    n
        Number of points of both spirals together, train and test; at least 4. Half of them on each spiral.
    turns
        How often each spiral winds around the origin; Lang and Witbrock use 3.
    noise
        Standard deviation of the Gaussian noise on each coordinate; the spirals reach out to radius 1.
    seed
        Decides the points and which of them are held out.
    test
        Share of the points of each spiral that is held out, strictly between 0 and 1.

    Raises
    ------
    TaskError
        If n < 4, turns ≤ 0, noise < 0 (or one of them is not finite), or test is no share.

    Examples
    --------
    >>> spirals()
    Task('two spirals', inputs='d=2', classes=2, 300 train, 100 test)
    """
    check_count("spirals", "n", n, 4, "It counts the points of both spirals; 400 is enough to see them.")
    check_size("spirals", "turns", turns, "Three turns are the classic task, 1.75 the default.", zero=False)
    check_size("spirals", "noise", noise, "It is a standard deviation; 0 means none.", zero=True)
    check_fraction("spirals", "test", test, "It is the share of points held out; 0.25 is usual.")
    check_seed("spirals", seed)
    import torch

    generator = torch.Generator().manual_seed(seed)
    train, held = [], []
    for label, count in enumerate((n - n // 2, n // 2)):
        t = torch.rand(count, generator=generator).sqrt()  # radius; √ spreads points evenly along the spiral
        angle = 2 * math.pi * turns * t + math.pi * label
        points = torch.stack([t * angle.cos(), t * angle.sin()], 1)
        points += noise * torch.randn(count, 2, generator=generator)
        cut = min(max(round(test * count), 1), count - 1)
        labels = torch.full((count,), label)
        held.append((points[:cut], labels[:cut]))  # points are drawn independently: any `cut` of them will do
        train.append((points[cut:], labels[cut:]))
    return Task(
        name="two spirals",
        inputs="d=2",
        classes=2,
        train=(torch.cat([x for x, _ in train]), torch.cat([y for _, y in train])),
        test=(torch.cat([x for x, _ in held]), torch.cat([y for _, y in held])),
        source="Lang & Witbrock 1988",
    )
