"""Borders: how far apart arrays must be so that the frames between them have room.

Frames are rectangles: the border of a region keeps its distance not only from the array that it faces in one
cut, but whatever lies above a region lies above all that is inside it.
"""

from __future__ import annotations

from collections.abc import Callable

from nbkit.draw.lanes import Bundle, Lane
from nbkit.draw.steps import Region, chain

APART = 33.0  # from the last wire of an array to the first of the next, with a separator between them
PLATE_BELOW = 9.0
PLATE_ABOVE = 8.0
TITLE = 17.0  # of a plate, above its contents
COUNT = 14.0  # of a repetition, above and below its contents

Edges = dict[Lane, float]  # lanes, and the room that frames need beyond each


class Borders:
    """The topmost and the lowest arrays of every region, over all cuts."""

    def __init__(self, cuts: list[list[Bundle]]) -> None:
        self.tops: dict[Region, dict[Lane, Region | None]] = {}
        self.bottoms: dict[Region, dict[Lane, Region | None]] = {}
        for cut in cuts:
            tops: dict[Region, Bundle] = {}
            bottoms: dict[Region, Bundle] = {}
            for bundle in cut:
                for region in chain(bundle.region):
                    tops.setdefault(region, bundle)
                    bottoms[region] = bundle
            for region, bundle in tops.items():
                self.tops.setdefault(region, {})[id(bundle), bundle.lanes[0]] = bundle.region
            for region, bundle in bottoms.items():
                self.bottoms.setdefault(region, {})[id(bundle), bundle.lanes[-1]] = bundle.region

    def between(self, upper: Bundle, lower: Bundle) -> tuple[Edges, Edges]:
        """The lowest lanes of what ends and the topmost of what begins between two neighbours."""
        shared = len(_common(chain(upper.region), chain(lower.region)))
        above: dict[Lane, Region | None] = {(id(upper), upper.lanes[-1]): upper.region}
        below: dict[Lane, Region | None] = {(id(lower), lower.lanes[0]): lower.region}
        if len(chain(upper.region)) > shared:
            above |= self.bottoms[chain(upper.region)[shared]]
        if len(chain(lower.region)) > shared:
            below |= self.tops[chain(lower.region)[shared]]
        return _edges(above, shared, _below), _edges(below, shared, _above)


def _edges(lanes: dict[Lane, Region | None], shared: int, room: Callable[[Region], float]) -> Edges:
    return {lane: sum(room(r) for r in chain(region)[shared:]) for lane, region in lanes.items()}


def _below(region: Region) -> float:
    return PLATE_BELOW + (COUNT if region.kind == "repeat" else 0.0)


def _above(region: Region) -> float:
    return PLATE_ABOVE + (COUNT if region.kind == "repeat" else TITLE)


def _common(one: tuple[Region, ...], two: tuple[Region, ...]) -> tuple[Region, ...]:
    """The regions around both."""
    shared = 0
    while shared < min(len(one), len(two)) and one[shared] == two[shared]:
        shared += 1
    return one[:shared]
