"""Captions: which names and sizes stand on the wires, and where (label economy)."""

from __future__ import annotations

from collections.abc import Iterable

from nbkit.draw import labels
from nbkit.draw.canvas import LABEL
from nbkit.draw.labels import Label
from nbkit.draw.lanes import NATURAL, NOTHING, POSITIONS, Bundle, Lane, targets, woven
from nbkit.language import ops

Captions = dict[Lane, Label]
_SILENT = frozenset({"enter", "leave", "copy", "cross", "add", "multiply"})  # they change no axis
_REMAKING = frozenset({"linear", "conv"})  # what they make is new, even where it is called the same


def captions(cut: list[Bundle], index: int, *, edge: bool, changes: bool = True) -> Captions:
    """The captions of one cut: all at the edges of the picture, else what the step before made or changed."""
    if not edge and not changes:
        return {}
    result: Captions = {}
    for bundle in cut:
        source = _origin(bundle) if bundle.birth == index else {}
        for lane in bundle.lanes:
            if lane == NOTHING:
                continue
            fresh = bundle.birth == index and _fresh(bundle, lane, source)
            if edge or fresh:
                known = not (index == 0 or (fresh and not source.get(lane))) or _slides(bundle, lane)
                result[id(bundle), lane] = _caption(bundle, lane, known=known)
    return result


def openers(cut: list[Bundle]) -> Captions:
    """A new row begins with the names of all of its wires."""
    lanes = ((b, lane) for b in cut for lane in b.lanes if lane != NOTHING)
    return {(id(b), lane): _caption(b, lane, known=False) for b, lane in lanes}


def widest(captions: Captions) -> float:
    """The width of the widest caption."""
    return max((labels.width(label, LABEL) for label in captions.values()), default=0.0)


def input_name(bundle: Bundle) -> Label:
    """The parameter name of an input (Q, K, V); empty where it only repeats the name of the first axis."""
    name = bundle.value.label
    if not name or name == bundle.lanes[0]:
        return ()
    return labels.name(name.upper() if len(name) == 1 else name)


def _origin(bundle: Bundle) -> dict[str, Bundle]:
    """For each lane of a new bundle, the bundle that carried an axis of that name into the step."""
    sources: Iterable[Bundle] = bundle.maker.ins if bundle.maker is not None else ()
    return {lane: source for source in sources for lane in source.lanes if lane in bundle.lanes}


def _fresh(bundle: Bundle, lane: str, source: dict[str, Bundle]) -> bool:
    """Whether the step that made the bundle made or changed this axis."""
    before = source.get(lane)
    if bundle.maker is None:
        return False
    if bundle.maker.step.glyph in _SILENT:
        return _label(before, lane) != _label(bundle, lane)
    step = bundle.maker.step
    if before is None or lane == NATURAL:
        return before is None
    return before.axis(lane) != bundle.axis(lane) or (
        step.glyph in _REMAKING and lane in {*targets(step)} - {*woven(step)}
    )


def _slides(bundle: Bundle, lane: str) -> bool:
    """Whether an axis is the inside of a window that has just been opened: its size says all (3²)."""
    step = bundle.maker.step if bundle.maker is not None else None
    return step is not None and isinstance(step.op, ops.Window) and step.op.name == lane


def _label(bundle: Bundle | None, lane: str) -> Label:
    """What an axis is called where not by its size."""
    return bundle.value.shown.get(lane, ()) if bundle is not None else ()


def _caption(bundle: Bundle, lane: str, *, known: bool) -> Label:
    bound = bundle.value.array.bound
    if lane == NATURAL and bound is not None:
        return labels.expression(bound)
    if lane in bundle.value.shown:
        return bundle.value.shown[lane]
    axis = bundle.axis(lane)
    return labels.axis_label(axis, position=axis.name[0] in POSITIONS, known=known)
