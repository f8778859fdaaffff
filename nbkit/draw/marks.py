"""What a shape is, whatever writes it down: outlines, rectangles, discs and words, with roles for colours.

SVG and TikZ are written from the same marks. An outline's path is given in the notation that SVG shares with
many programs: absolute `M L H V C A z` and relative `h l q` with numbers between; `y` grows downwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nbkit.draw.labels import Label


@dataclass(frozen=True, slots=True)
class Look:
    """Roles of the theme for the inside and the line (None: not painted), width and dashes of the line."""

    fill: str | None = None
    stroke: str | None = None
    width: float = 1.0
    dash: str = ""


@dataclass(frozen=True, slots=True)
class Outline:
    """A path, open or closed; with `mirror`, x is read as mirror − x."""

    d: str
    look: Look
    mirror: float | None = None


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Corners at (x0, y0) and (x1, y1), rounded by `radius`."""

    x0: float
    y0: float
    x1: float
    y1: float
    radius: float
    look: Look


@dataclass(frozen=True, slots=True)
class Disc:
    """A circle around (x, y)."""

    x: float
    y: float
    r: float
    look: Look


@dataclass(frozen=True, slots=True)
class Words:
    """A mathematical label, or upright text; `anchor` (start, middle, end) stands at x, the baseline at y."""

    text: Label | str
    x: float
    y: float
    size: float
    anchor: str
    role: str


Mark = Outline | Rectangle | Disc | Words


def mirrored(mark: Mark, width: float) -> Mark:
    """The mark with x turned into width − x; words stay as they are."""
    match mark:
        case Outline():
            return replace(mark, mirror=width)
        case Rectangle():
            return replace(mark, x0=width - mark.x1, x1=width - mark.x0)
        case Disc():
            return replace(mark, x=width - mark.x)
    return mark
