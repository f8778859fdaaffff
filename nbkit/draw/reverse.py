"""The picture of a backward pass: the forward row, a double dashed line, the mirrored backward row beneath.

Data flows to the right above and to the left below, so that a gradient stands near what it belongs to. Values
on the tape leave the forward row downwards (an arrow from the wire, in a
colour of its own) and enter the backward row from above, under the same name s₀, s₁ …; gradients of
parameters leave the backward row downwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from nbkit.draw.arrows import (
    NAME,
    REACH,
    STEP,
    Arrow,
    arrows_out,
    label_of,
    shaft,
    slot_number,
    staggered,
    together,
)
from nbkit.draw.backward import HUES, Drop, Grab, Slot, drawable, letters, seen, without_copies
from nbkit.draw.canvas import Canvas, Shape, data, number
from nbkit.draw.marks import Outline
from nbkit.draw.mirror import mirrored
from nbkit.draw.picture import Picture
from nbkit.draw.rows import Row
from nbkit.draw.show import layout
from nbkit.draw.themes import Theme, dressed
from nbkit.language.diagram import Diagram

_DAY = ("#0072b2", "#c44e00", "#00805e", "#a8478a", "#8a6500", "#5b4fc7", "#b3123f", "#4d6a1d")
_NIGHT = ("#56b4e9", "#ff9a4d", "#3ecf9e", "#ec9bd0", "#e8c14a", "#a9a0ff", "#ff7d9c", "#a8cf6a")
_APART = 13.0  # between arrows
_LID = 8.5  # of a closed part


Place = tuple[str, ...]  # a value of the forward pass: the names that pictures may give to its wire


class Passes(Protocol):
    """What `nbkit.language.reverse` gives."""

    source: Diagram
    forward: Diagram
    backward: Diagram
    tape: Any
    grads: Any

    def __str__(self) -> str: ...


def reverse_svg(passes: Passes, **options: Any) -> str:
    """The picture as SVG text; options are those of `nbkit.draw.svg`."""
    return reverse_picture(passes, **options).svg()


def reverse_mimebundle(passes: Passes) -> dict[str, str]:
    """What a backward pass shows of itself: HTML that follows JupyterLab's theme, SVG, text."""
    shown = reverse_picture(passes, theme="auto").svg()
    return {
        "text/plain": str(passes),
        "text/html": f'<div style="overflow-x:auto">{shown}</div>',
        "image/svg+xml": reverse_svg(passes),
    }


def reverse_picture(passes: Passes, **options: Any) -> Picture:
    """Both rows as shapes with coordinates."""
    ahead = layout(passes.source, **options)
    theme = _theme(ahead.theme)
    rows = [_with_theme(row, theme) for row in ahead.rows]
    places = [seen(passes.forward, slot.shown if slot.shown >= 0 else slot.wire) for slot in passes.tape]
    rows, names = _dropping(rows, list(dict.fromkeys(reversed(places))))  # what is read last was made first
    plates = letters(passes.source)
    drops = {
        place: Drop(grad.name, _gradient(grad.name, plates), place)
        for place, grad in enumerate(passes.grads, len(passes.backward.outs) - len(passes.grads))
    }
    shown = drawable(passes.backward, {i: names[place] for i, place in enumerate(places)}, drops)
    back = layout(shown, **options)
    width = max(row.width for row in (*rows, *back.rows))
    hidden = _hidden(shown, back)
    below = [_entering(_with_theme(row, theme), width, hidden) for row in back.rows]
    line = _line(theme, width)
    return replace(ahead, rows=(*rows, line, *below), theme=theme, description=str(passes))


def _gradient(name: str, plates: dict[str, str]) -> str:
    """What the gradient of a parameter is called: a bias is b, a weight has the letter of its plate."""
    path, _, parameter = name.rpartition(".")
    return "∂b" if parameter == "bias" else plates.get(without_copies(path), "∂W")


def _theme(theme: Theme) -> Theme:
    dark = theme.name == "dark"
    colours = {f"slot{i}": (_NIGHT if dark else _DAY)[i] for i in range(HUES)}
    night = {f"slot{i}": _NIGHT[i] for i in range(HUES)} if theme.adaptive else {}
    if theme.name == "print":
        colours = dict.fromkeys(colours, theme["ink"])
    return dressed(theme, colours, night)


def _with_theme(row: Row, theme: Theme) -> Row:
    canvas = Canvas(theme, row.canvas.wrong)
    canvas.shapes = list(row.canvas.shapes)
    return replace(row, canvas=canvas)


def _line(theme: Theme, width: float) -> Row:
    """The double dashed line between the passes."""
    canvas = Canvas(theme)
    for y in (0.0, 4.0):
        canvas.path(
            f"M0 {number(y)}H{number(width)}", (0.0, y, width, y), stroke="faint", width=1.2, dash="7.5 6",
            layer="separator", what="passes",
        )  # fmt: skip
    return Row(canvas, (), 0.0, 4.0, width)


# -- the forward row: values leave downwards ---------------------------------------------------------------


def _dropping(rows: list[Row], used: list[Place]) -> tuple[list[Row], dict[Place, Slot]]:
    """The rows with an arrow for each value that goes on the tape, and the names of these values.

    Those that can leave in fewest places choose first; they are numbered as one reads.
    """
    found: dict[Place, tuple[int, Arrow]] = {}
    taken: list[list[float]] = [[] for _ in rows]
    gaps = [gap for row in rows for gap in row.gaps]
    choice = {place: sum(bool(set(gap.wires.values()) & set(place)) for gap in gaps) for place in used}
    for place in sorted(used, key=lambda place: choice[place]):
        chosen = _place(rows, place, taken) or _closed(rows, place)
        if chosen is not None:
            found[place] = chosen
            taken[chosen[0]].append(chosen[1].x)
    last = len(rows), Arrow(0.0, 0.0, "", "")

    def reading(place: Place) -> tuple[int, float]:
        number_, arrow = found.get(place, last)
        return number_, arrow.x

    names = {place: Slot(f"s_{i}", f"slot{i % HUES}") for i, place in enumerate(sorted(used, key=reading))}
    arrows: list[list[Arrow]] = [[] for _ in rows]
    boxed: dict[tuple[int, Arrow], list[str]] = {}
    for place, (number_, arrow) in found.items():
        if arrow.wires:
            arrows[number_].append(replace(arrow, name=names[place].name, role=names[place].role))
        else:
            boxed.setdefault((number_, arrow), []).append(names[place].name)
    for (number_, arrow), inside in boxed.items():
        arrows[number_].append(replace(arrow, name=together(sorted(inside, key=slot_number)), role="ink"))
    return [arrows_out(row, mine) for row, mine in zip(rows, arrows, strict=True)], names


def _place(rows: list[Row], place: Place, taken: list[list[float]]) -> tuple[int, Arrow] | None:
    """Where the arrow crosses least: as early as the value is there, clear of letters and of other arrows."""
    best: tuple[float, int, Arrow] | None = None
    age = 0.0
    for number_, row in enumerate(rows):
        for gap in row.gaps:
            levels = [y for (bundle, _), y in gap.lanes if gap.wires.get(bundle) in place]
            if not levels:
                continue
            for x in (gap.x1 - 3.0, gap.x0 + 3.0, (gap.x0 + gap.x1) / 2, gap.x0 - 11.0, gap.x1 + 11.0):
                crossed = sum(_crosses(shape, x, min(levels), row.bottom) for shape in row.canvas.shapes)
                near = sum(abs(x - other) < _APART for other in taken[number_])
                outside = not gap.x0 <= x <= gap.x1
                price = age + 6.0 * crossed + 20.0 * near + 4.0 * outside
                if best is None or price < best[0]:
                    best = price, number_, Arrow(x, max(levels), "", "", tuple(levels))
            age += 1.0
    return None if best is None else best[1:]


def _crosses(shape: Shape, x: float, top: float, bottom: float) -> bool:
    """Whether a vertical line runs through a letter or a glyph."""
    x0, y0, x1, y1 = shape.box
    solid = shape.layer in ("label", "glyph")
    return solid and x0 - 1.5 < x < x1 + 1.5 and y0 < bottom and y1 > top


def _closed(rows: list[Row], place: Place) -> tuple[int, Arrow] | None:
    """The box of the closed part that a value is inside of."""
    parts = place[0].split(".")[:-1]
    for depth in range(len(parts), 0, -1):
        mark = data(node=".".join(parts[:depth]))
        for number_, row in enumerate(rows):
            for shape in row.canvas.shapes:
                if mark in shape.svg and shape.what == "box":
                    x0, _, x1, y1 = shape.box
                    return number_, Arrow((x0 + x1) / 2, y1, "", "")
    return None


# -- the backward row: values enter from above, gradients leave downwards ----------------------------------


def _hidden(diagram: Diagram, picture: Picture) -> dict[str, tuple[list[Grab], list[Drop]]]:
    """What enters and leaves inside of closed parts, by the path of the part."""
    texts = [shape.svg for _, shape in picture.shapes() if shape.what == "box"]
    found: dict[str, tuple[list[Grab], list[Drop]]] = {}
    closed: dict[str, bool] = {}
    for path, node in diagram.walk():
        if not isinstance(node.op, Grab | Drop):
            continue
        parts = path.split(".")
        for depth in range(1, len(parts)):
            around = ".".join(parts[:depth])
            if around not in closed:
                closed[around] = any(data(node=around) in text for text in texts)
            if closed[around]:
                grabs, drops = found.setdefault(around, ([], []))
                if isinstance(node.op, Grab):
                    grabs.append(node.op)
                else:
                    drops.append(node.op)
                break
    return found


def _entering(row: Row, width: float, hidden: dict[str, tuple[list[Grab], list[Drop]]]) -> Row:
    """The mirrored row with its arrows."""
    row = mirrored(row, width)
    grabs: list[Arrow] = []
    drops: list[Arrow] = []
    for i, shape in enumerate(row.canvas.shapes):
        x = (shape.box[0] + shape.box[2]) / 2
        inside = hidden.get(_told(shape.svg, "node")) if shape.what == "box" else None
        if inside is not None:
            names = sorted({grab.shown for grab in inside[0]}, key=slot_number)
            if names:
                role = inside[0][0].role if len(names) == 1 else "ink"
                grabs.append(Arrow(x - 8, shape.box[1] - _LID, together(names), role))
            if inside[1]:
                drops.append(Arrow(x + 8, shape.box[3], together([d.shown for d in inside[1]]), "ink"))
        elif shape.what in ("grab", "drop"):
            name, role = (_told(shape.svg, what) for what in ("tape", "hue"))
            if shape.what == "grab":
                grabs.append(Arrow(x, shape.box[1], name, role))
            else:
                drops.append(Arrow(x, shape.box[3], name, role))
            row.canvas.shapes[i] = _coloured(shape, row.canvas.theme, role)
    canvas, top = row.canvas, row.top
    highest = top
    once = {(round(arrow.x), arrow.name): arrow for arrow in grabs}
    places = dict(zip(once, staggered(list(once.values())), strict=True))
    for arrow in grabs:  # a value that is grabbed more than once has one arrow with several heads
        level, aside = places[round(arrow.x), arrow.name]
        start = min(top - 8, arrow.y - REACH) - STEP * level
        shaft(canvas, arrow, start, arrow.y, "tape")
        if arrow is once[round(arrow.x), arrow.name]:
            label, x = label_of(arrow.name), arrow.x + aside
            canvas.math(label, x, start - 4, NAME, role=arrow.role, what="slot")
        highest = min(highest, start - 18)
    return arrows_out(replace(row, top=highest), drops, gradients=True)


def _told(svg: str, what: str) -> str:
    """What the shape of a bar says of itself."""
    return svg.partition(f'data-{what}="')[2].partition('"')[0]


def _coloured(shape: Shape, theme: Theme, role: str) -> Shape:
    """A bar in the colour of its slot."""
    svg = shape.svg.replace(f'stroke="{theme["ink"]}"', f'stroke="{theme[role]}"').replace(
        "s-ink", f"s-{role}"
    )
    mark = shape.mark
    if isinstance(mark, Outline):
        mark = replace(mark, look=replace(mark.look, stroke=role))
    return replace(shape, svg=svg, mark=mark)
