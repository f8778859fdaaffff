"""Arrows that cross the edge of a row, with names: values that go on a tape, gradients that leave."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nbkit.draw.canvas import Canvas, number
from nbkit.draw.labels import Label, Run
from nbkit.draw.labels import name as named
from nbkit.draw.labels import width as label_width
from nbkit.draw.rows import Row

NAME = 14.0  # size of the names
REACH = 20.0  # how far arrows reach beyond a row
STEP = 15.0  # how much farther where names would touch
_ASIDE = 8.0  # how far a name may stand beside its arrow


@dataclass(frozen=True)
class Arrow:
    """An arrow that crosses the edge of a row: where it leaves or enters, its name and role."""

    x: float
    y: float
    name: str
    role: str
    wires: tuple[float, ...] = ()  # levels to mark with a dot


def arrows_out(row: Row, arrows: list[Arrow], *, gradients: bool = False) -> Row:
    """Arrows from wires or bars down to below the row, their names at the ends."""
    canvas, bottom = row.canvas, row.bottom
    reach = staggered(arrows)
    lowest = bottom
    for arrow, (level, aside) in zip(arrows, reach, strict=True):
        end = bottom + REACH + STEP * level
        for y in arrow.wires:
            canvas.circle(arrow.x, y, 2.6, fill=arrow.role, stroke=None, layer="dot", what="tape")
        start = min(arrow.wires, default=arrow.y)
        shaft(canvas, arrow, start, end, "gradient" if gradients else "tape")
        label, x = label_of(arrow.name), arrow.x + aside
        canvas.math(label, x, end + 13, NAME, role=arrow.role, what="slot")
        lowest = max(lowest, end + 16)
    return replace(row, bottom=lowest)


def shaft(canvas: Canvas, arrow: Arrow, start: float, end: float, what: str) -> None:
    """A vertical line with its head at the end."""
    x, way = arrow.x, 1 if end > start else -1
    d = f"M{number(x)} {number(start)}V{number(end - 6 * way)}"
    box = (x, min(start, end), x, max(start, end))
    canvas.path(d, box, stroke=arrow.role, width=1.5, layer="wire", what=what)
    back = -way * 8.0
    head = f"M{number(x)} {number(end)}l-3.8 {number(back)} 3.8 {number(2.6 * way)} 3.8 {number(-2.6 * way)}z"
    reach = (x - 3.8, min(end, end + back), x + 3.8, max(end, end + back))
    canvas.path(head, reach, fill=arrow.role, stroke=None, layer="wire", what="head")


def label_of(name: str) -> Label:
    """`s_0` with a subscript; `∂L up` with the letter of the plate in bold and the name of the map raised."""
    for mark in ("…", ", "):
        first, _, last = name.partition(mark)
        if last:
            return (*label_of(first), Run(mark), *label_of(last))
    if not name.startswith("∂"):
        return named(name)
    letter_, _, title = name[1:].partition(" ")
    return (Run("∂"), Run(letter_, bold=True), *((Run(title, italic=True, shift=1),) if title else ()))


def staggered(arrows: list[Arrow]) -> list[tuple[int, float]]:
    """How many steps farther each arrow reaches, and how far its name stands to its side, so that names touch
    neither each other nor the arrow beside.
    """
    placed: dict[int, tuple[int, float]] = {}
    ends: list[float] = []  # right end of the last name on each level
    last = -1  # the arrow whose name is the last on the lowest level
    for i in sorted(range(len(arrows)), key=lambda i: arrows[i].x):
        half = label_width(label_of(arrows[i].name), NAME) / 2 + 2
        start = arrows[i].x - half
        over = ends[0] - start if ends else 0.0
        if 0 < over <= 2 * _ASIDE and placed[last][1] == 0.0 and _room(arrows, placed, last) >= over / 2:
            placed[last], placed[i] = (0, -over / 2), (0, over / 2)
            ends[0], last = arrows[i].x + half + over / 2, i
            continue
        level = next((k for k, end in enumerate(ends) if end <= start), len(ends))
        ends[level : level + 1] = [arrows[i].x + half]
        placed[i] = (level, 0.0)
        if level == 0:
            last = i
    return [placed[i] for i in range(len(arrows))]


def _room(arrows: list[Arrow], placed: dict[int, tuple[int, float]], at: int) -> float:
    """How far a name can move to the left before it touches the one before it."""
    half = label_width(label_of(arrows[at].name), NAME) / 2 + 2
    before = [
        arrows[i].x + aside + label_width(label_of(arrows[i].name), NAME) / 2 + 2
        for i, (level, aside) in placed.items()
        if i != at and level == 0
    ]
    return arrows[at].x - half - max(before, default=-1e9)


def slot_number(slot: str) -> int:
    """3 of `s_3`."""
    return int(slot.partition("_")[2])


def together(names: list[str]) -> str:
    """The names of several arrows that are drawn as one."""
    return names[0] if len(names) == 1 else f"{names[0]}…{names[-1]}" if len(names) > 2 else ", ".join(names)
