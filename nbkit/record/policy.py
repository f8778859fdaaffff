"""When snapshots are taken, and which of them are kept: dense early, then ever wider apart, within a cap.

Rewinding to a step costs the steps from the snapshot before it, so gaps may grow with the step: with a gap of
`share` of the step, a rewind re-runs at most that share of what it rewinds over. Snapshots that cost much
time are taken less often, so that they never take more than `most` of the training time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """How often snapshots are taken, and how much room they may take.

    Parameters
    ----------
    share
        Gap between two snapshots as a share of the step (0.1: at steps 10, 11, …, 100, 110, …).
    most
        Share of the training time that snapshots may take.
    megabytes
        Room for all snapshots of a record; beyond it those are dropped that matter least (`dropped`).
    """

    share: float = 0.1
    most: float = 0.02
    megabytes: float = 500.0

    def next(self, step: int, cost: float, pace: float) -> int:
        """The step of the next snapshot after one at `step` that took `cost` seconds, at `pace` s a step.

        >>> Policy().next(100, 0.0, 1.0), Policy().next(0, 0.0, 1.0), Policy().next(100, 0.02, 0.001)
        (110, 1, 1100)
        """
        affordable = cost / (self.most * pace) if pace > 0 else 0.0
        return step + max(1, round(self.share * step), round(affordable))

    def dropped(self, steps: Sequence[int], sizes: Sequence[int]) -> list[int]:
        """Which snapshots go, so that the others fit: always the one whose absence costs the shortest re-run.

        The first and the last stay. `steps` ascend, `sizes` are their bytes.

        >>> Policy(megabytes=0.003).dropped([0, 1, 2, 10, 100], [1000] * 5)
        [2, 10]
        """
        kept = list(zip(steps, sizes, strict=True))
        gone: list[int] = []
        while sum(size for _, size in kept) > self.megabytes * 1e6 and len(kept) > 2:
            # the gap that would open, seen from its end: a rewind to there is that much longer
            widths = [(kept[i + 1][0] - kept[i - 1][0]) / kept[i + 1][0] for i in range(1, len(kept) - 1)]
            narrowest = 1 + widths.index(min(widths))
            gone.append(kept.pop(narrowest)[0])
        return gone
