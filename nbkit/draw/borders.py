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
BACK = 14.0  # of the arrow of a scan, below that

COUNTED = frozenset({"repeat", "scan", "stages"})  # kinds of regions
ALL = COUNTED | {"plate"}
Edges = dict[Lane, float]  # lanes, and the room that frames need beyond each


class Borders:
    """The topmost and the lowest arrays of every region, over all cuts.

    Regions of the kinds in `reach` begin one gap early and end one gap late: brackets and counts stand there.
    """

    def __init__(self, cuts: list[list[Bundle]], reach: frozenset[str]) -> None:
        self.tops: dict[Region, dict[Lane, Region | None]] = {}
        self.bottoms: dict[Region, dict[Lane, Region | None]] = {}
        self.regions: list[dict[int, Region | None]] = []  # of every array in every cut
        ids = [{id(bundle) for bundle in cut} for cut in cuts]
        for i, cut in enumerate(cuts):
            # where a row begins or ends, the frame that was left or will be entered lies in another one
            before, after = ids[max(i - 1, 0)], ids[min(i + 1, len(cuts) - 1)]
            inside = {
                id(b): _innermost(b, reach, first=id(b) not in before, last=id(b) not in after) for b in cut
            }
            self.regions.append(inside)
            tops: dict[Region, Bundle] = {}
            bottoms: dict[Region, Bundle] = {}
            for bundle in cut:
                for region in chain(inside[id(bundle)]):
                    tops.setdefault(region, bundle)
                    bottoms[region] = bundle
            for region, bundle in tops.items():
                self.tops.setdefault(region, {})[id(bundle), bundle.lanes[0]] = inside[id(bundle)]
            for region, bundle in bottoms.items():
                self.bottoms.setdefault(region, {})[id(bundle), bundle.lanes[-1]] = inside[id(bundle)]

    def between(self, cut: int, upper: Bundle, lower: Bundle) -> tuple[Edges, Edges]:
        """The lowest lanes of what ends and the topmost of what begins between two neighbours in a cut."""
        ends, begins = self.regions[cut][id(upper)], self.regions[cut][id(lower)]
        shared = len(_common(chain(ends), chain(begins)))
        above: dict[Lane, Region | None] = {(id(upper), upper.lanes[-1]): ends}
        below: dict[Lane, Region | None] = {(id(lower), lower.lanes[0]): begins}
        if len(chain(ends)) > shared:
            above |= self.bottoms[chain(ends)[shared]]
        if len(chain(begins)) > shared:
            below |= self.tops[chain(begins)[shared]]
        return _edges(above, shared, below_of), _edges(below, shared, above_of)


def _innermost(bundle: Bundle, reach: frozenset[str], *, first: bool, last: bool) -> Region | None:
    """The innermost region that an array counts for in a cut, also one that it is entering or leaving."""
    for placed, glyph, here in ((bundle.user, "enter", last), (bundle.maker, "leave", first)):
        if here and placed is not None and placed.step.glyph == glyph:
            frame = placed.step.frame
            if frame is not None and frame.kind in reach:
                return frame
    return bundle.region


def _edges(lanes: dict[Lane, Region | None], shared: int, room: Callable[[Region], float]) -> Edges:
    return {lane: sum(room(r) for r in chain(region)[shared:]) for lane, region in lanes.items()}


def below_of(region: Region) -> float:
    """The room that a frame needs below its contents."""
    return PLATE_BELOW + foot(region)


def foot(region: Region) -> float:
    """The room below the parentheses of a loop."""
    return (COUNT if region.kind in COUNTED else 0.0) + (BACK if region.kind == "scan" else 0.0)


def above_of(region: Region) -> float:
    """The room that a frame needs above its contents."""
    return PLATE_ABOVE + (COUNT if region.kind in COUNTED else TITLE)


def _common(one: tuple[Region, ...], two: tuple[Region, ...]) -> tuple[Region, ...]:
    """The regions around both."""
    shared = 0
    while shared < min(len(one), len(two)) and one[shared] == two[shared]:
        shared += 1
    return one[:shared]
