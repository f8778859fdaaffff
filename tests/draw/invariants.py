"""What must hold of every picture; each function returns the violations that it finds, as readable lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations, pairwise
from math import cos, pi, sin

from nbkit.draw.canvas import Box, Shape
from nbkit.draw.lanes import NOTHING
from nbkit.draw.picture import Picture

TEXTS = ("label", "title", "count", "factor", "sign", "name")
SOLID = ("box", "dot", "arrow", "tag")


def overlap(one: Box, two: Box, slack: float = 1.0) -> bool:
    return (
        min(one[2], two[2]) - max(one[0], two[0]) > slack
        and min(one[3], two[3]) - max(one[1], two[1]) > slack
    )


def texts_that_overlap(picture: Picture) -> list[str]:
    """No label lies on a glyph, a dot or another label."""
    found = []
    for number, row in enumerate(picture.rows):
        texts = [s for s in row.canvas.shapes if s.what in TEXTS]
        solids = [s for s in row.canvas.shapes if s.what in SOLID]
        for one, two in combinations(texts, 2):
            if overlap(one.box, two.box):
                found.append(f"row {number}: {one.what} {_text(one)} on {two.what} {_text(two)}")
        for text in texts:
            found += [
                f"row {number}: {text.what} {_text(text)} on {solid.what} at {solid.box}"
                for solid in solids
                if overlap(text.box, solid.box)
            ]
    return found


def glyphs_that_overlap(picture: Picture) -> list[str]:
    """No two glyphs lie on each other."""
    found = []
    for number, row in enumerate(picture.rows):
        boxes = [s for s in row.canvas.shapes if s.what in ("box", "dot", "tag")]
        found += [
            f"row {number}: {a.box} on {b.box}" for a, b in combinations(boxes, 2) if overlap(a.box, b.box)
        ]
    return found


def _text(shape: Shape) -> str:
    return repr("".join(piece.split("<")[0] for piece in shape.svg.split(">")[1:]))


def lanes_too_near(picture: Picture) -> list[str]:
    """In every gap, neighbouring wires are at least 20 apart, and arrays at least 33."""
    found = []
    for number, row in enumerate(picture.rows):
        for gap in row.gaps:
            for (above, y0), (below, y1) in pairwise(gap.lanes):
                least = 20.0 if above[0] == below[0] else 33.0
                if y1 - y0 < least - 0.01:
                    found.append(f"row {number}: {above} at {y0} and {below} at {y1}")
    return found


def wires_missing_or_doubled(picture: Picture) -> list[str]:
    """In the middle of every gap each lane has exactly one wire, and no wire lies where no lane is."""
    found = []
    for number, row in enumerate(picture.rows):
        wires = [s for s in row.canvas.shapes if s.what == "wire"]
        for gap in row.gaps:
            middle = (gap.x0 + gap.x1) / 2
            lanes = {y: lane for lane, y in gap.lanes if lane[1] != NOTHING}
            crossing = [s.box for s in wires if s.box[0] < middle < s.box[2]]
            for y, lane in lanes.items():
                count = sum(abs(box[1] - y) < 0.02 and abs(box[3] - y) < 0.02 for box in crossing)
                if count != 1:
                    found.append(f"row {number}, x {middle:.0f}: {count} wires on {lane} at {y}")
            found += [
                f"row {number}, x {middle:.0f}: a wire where there is no lane: {box}"
                for box in crossing
                if not any(abs(box[1] - y) < 0.02 and abs(box[3] - y) < 0.02 for y in lanes)
            ]
    return found


def separators_astray(picture: Picture) -> list[str]:
    """In the middle of every gap there is one separator strictly between each pair of neighbouring arrays."""
    found = []
    for number, row in enumerate(picture.rows):
        lines = [s for s in row.canvas.shapes if s.what == "separator"]
        for gap in row.gaps:
            middle = (gap.x0 + gap.x1) / 2
            heights = [y for line in lines if (y := _height(line, middle)) is not None]
            for (above, y0), (below, y1) in pairwise(gap.lanes):
                between = sum(y0 + 5 < y < y1 - 5 for y in heights)
                if between != (above[0] != below[0]):
                    found.append(
                        f"row {number}, x {middle:.0f}: {between} separators between {above} and {below}"
                    )
    return found


def _height(line: Shape, x: float) -> float | None:
    points = [tuple(map(float, p.split())) for p in line.svg.split('d="M')[1].split('"')[0].split("L")]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 - 0.01 <= x <= x1 + 0.01:
            return y0 if x1 - x0 < 0.01 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return None


def strokes(shape: Shape) -> list[list[tuple[float, float]]]:
    """The lines of a wire or a separator as points, close together on curves."""
    lines: list[list[tuple[float, float]]] = []
    for command, text in re.findall(r"([MLHCAq])([^A-Zq]*)", shape.svg.split('d="')[1].split('"')[0]):
        numbers = [float(n) for n in text.split()]
        if command == "M":
            lines.append([(numbers[0], numbers[1])])
            continue
        line = lines[-1]
        (x0, y0), steps = line[-1], [i / 16 for i in range(1, 17)]
        if command == "H":
            line.append((numbers[0], y0))
        elif command == "q":  # half a wave of a ragged axis
            dx, dy, wide, _ = numbers
            line += [(x0 + dx, y0 + dy / 2), (x0 + wide, y0)]
        elif command == "L":
            line.append((numbers[0], numbers[1]))
        elif command == "C":
            xs, ys = (x0, *numbers[::2]), (y0, *numbers[1::2])
            weights = [((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3) for t in steps]
            line += [(_dot(w, xs), _dot(w, ys)) for w in weights]
        else:  # the half circle of a cup, to the right
            radius, middle = numbers[0], (y0 + numbers[6]) / 2
            line += [(x0 + radius * sin(pi * t), middle - radius * cos(pi * t)) for t in steps]
    return lines


def _dot(weights: Sequence[float], values: Sequence[float]) -> float:
    return sum(w * v for w, v in zip(weights, values, strict=True))


def enters(line: list[tuple[float, float]], box: Box, slack: float) -> bool:
    """Whether a line of points comes more than `slack` inside a box."""
    x0, y0, x1, y1 = box[0] + slack, box[1] + slack, box[2] - slack, box[3] - slack
    for (ax, ay), (bx, by) in pairwise(line):
        if min(ax, bx) >= x1 or max(ax, bx) <= x0:
            continue
        inside = [(x0 - ax) / (bx - ax), (x1 - ax) / (bx - ax)] if bx != ax else [0.0, 1.0]
        ys = [ay + min(max(t, 0.0), 1.0) * (by - ay) for t in inside]
        if min(ys) < y1 and max(ys) > y0:
            return True
    return False


def lines_through_glyphs(picture: Picture) -> list[str]:
    """Wires end at glyphs or pass them by; separators pass them by."""
    found = []
    for number, row in enumerate(picture.rows):
        boxes = [s for s in row.canvas.shapes if s.what == "box"]
        for line in (s for s in row.canvas.shapes if s.what in ("wire", "separator")):
            found += [
                f"row {number}: {line.what} {line.box} through {box.box}"
                for box in boxes
                if overlap(_grown(line.box), box.box) and any(enters(s, box.box, 2.1) for s in strokes(line))
            ]
    return found


def lines_through_texts(picture: Picture) -> list[str]:
    """No wire and no separator strikes a text out."""
    found = []
    for number, row in enumerate(picture.rows):
        texts = [s for s in row.canvas.shapes if s.what in TEXTS]
        for line in (s for s in row.canvas.shapes if s.what in ("wire", "separator")):
            found += [
                f"row {number}: {line.what} {line.box} through {text.what} {_text(text)} {text.box}"
                for text in texts
                if overlap(_grown(line.box), text.box)
                and any(enters(s, text.box, 1.0) for s in strokes(line))
            ]
    return found


def _grown(box: Box) -> Box:
    return (box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2)


def strangers(picture: Picture) -> list[str]:
    """A plate holds the wires of its block, whole, and no others."""
    found = []
    for number, row in enumerate(picture.rows):
        plates = [
            (s, s.svg.split('data-block="')[1].split('"')[0]) for s in row.canvas.shapes if s.what == "plate"
        ]
        for gap in row.gaps:
            middle = (gap.x0 + gap.x1) / 2
            for plate, path in plates:
                x0, y0, x1, y1 = plate.box
                for (array, lane), y in gap.lanes if x0 < middle < x1 else ():
                    if (y0 < y < y1) != (path in gap.inside[array]):
                        found.append(
                            f"row {number}, x {middle:.0f}: {lane} at {y} and plate {path} {plate.box}"
                        )
    return found


def outside(picture: Picture) -> list[str]:
    """Nothing reaches over the picture's edge."""
    found = []
    for row, dy in zip(picture.rows, picture.offsets(), strict=True):
        for shape in row.canvas.shapes:
            x0, y0, x1, y1 = shape.box
            if x0 < -14 or x1 > picture.width - 14 + 0.5 or y0 + dy < -0.5 or y1 + dy > picture.height + 0.5:
                found.append(f"{shape.what} {shape.box} outside {picture.width} × {picture.height}")
    return found


def violations(picture: Picture) -> list[str]:
    """All of them."""
    checks = (
        texts_that_overlap,
        glyphs_that_overlap,
        lanes_too_near,
        wires_missing_or_doubled,
        separators_astray,
        lines_through_glyphs,
        lines_through_texts,
        strangers,
        outside,
    )
    return [f"{check.__name__}: {line}" for check in checks for line in check(picture)]
