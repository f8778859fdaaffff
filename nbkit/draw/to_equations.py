"""Diagrams as equations in index notation: aligned LaTeX, one line per op, blocks and repetitions in braces.

Arrays are called what their wires are called, with a capital, so that they are not taken for indices; others
get the initial of their node or the next free letter. Letters are local to the braces that they appear in.
Learned arrays are bold, with the name of their node above. What is carried through a repetition has the
number of the copy above: X^(λ). What is read at a glance joins the line of its only user: a product the scale
or scalar function behind it, a window the map that consumes it, a slice or a new name whatever reads them,
small pointwise terms each other (`fused=False` writes every op by itself). The lines are also there
as data (`equations(d).lines`), which the tests compute with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sympy import Expr, Integer

from nbkit.draw.notation import Writer
from nbkit.draw.notation.formulas import indices
from nbkit.draw.notation.latex import latex, letters, place, size
from nbkit.draw.notation.lines import Equation, Group, Line, Loop, View
from nbkit.draw.notation.terms import Fixed
from nbkit.language.axes import Axis
from nbkit.language.diagram import Diagram

_END_OF_ROW = " \\\\\n"
_MOST_ROWS = 24  # of a brace on a page
_LONGEST_DISPLAY = 4000  # characters; MathJax 3 gives up at 5120
_BEGIN, _END = "\\begin{align*}\n", "\n\\end{align*}\n"


class Equations(str):
    """LaTeX that shows itself as mathematics in a notebook.

    `lines` are the equations as data, `ins` and `outs` say how inputs and outputs are written there.
    """

    __slots__ = ("displays", "ins", "lines", "outs")
    displays: tuple[str, ...]  # pieces that MathJax accepts: it refuses longer ones
    lines: tuple[Line, ...]
    ins: tuple[View, ...]
    outs: tuple[View, ...]

    def __repr__(self) -> str:
        return str(self)  # at a prompt, lines are lines

    def _repr_latex_(self) -> str:
        return "\n\n".join(f"$$\\begin{{aligned}}\n{text}\n\\end{{aligned}}$$" for text in self.displays)


def equations(diagram: Diagram, *, fused: bool = True, depth: int | None = None) -> Equations:
    r"""The diagram as equations in index notation.

    fused: small terms join the line of their only user (see above); else each op has its own. depth: how
    many levels of blocks are written out (None: all); deeper ones are functions.

    >>> from nbkit import einsum, scale
    >>> d = (einsum("y k, x k -> y x", "scores") >> scale("k**(-1/2)")).diagram()
    >>> print(equations(d).splitlines()[-2])
    S_{y x} &= \frac{1}{\sqrt{k}} \, \sum_{k} X_{y k} \, A_{x k}
    """
    lines, ins, outs = Writer(diagram, fused=fused, depth=depth).whole()
    first, last = _declared(diagram, ins), _results(lines, outs)
    rows = [*first, *_opened(lines), *last]
    text = Equations(f"{_BEGIN}{_END_OF_ROW.join(rows)}{_END}")
    text.lines, text.ins, text.outs = lines, tuple(ins), tuple(outs)
    text.displays = tuple(_displays(rows))
    return text


def _rows(lines: Iterable[Line]) -> list[str]:
    """The rows of an aligned environment."""
    rows = []
    for line in lines:
        if isinstance(line, Equation):
            note = rf" \quad {_prose(f'({line.note})')}" if line.note else ""
            rows.append(f"{latex(line.left)[0]} &= {latex(line.right)[0]}{note}")
            continue
        inside = _END_OF_ROW.join(_rows(line.lines))
        brace = f"\\left\\{{ \\begin{{aligned}}\n{inside}\n\\end{{aligned}} \\right."
        rows.append(f"{{{_title(line)}}} & {brace}")
    return rows


def _title(line: Group | Loop) -> str:
    """What stands before a brace."""
    if isinstance(line, Group):
        return rf"\scriptstyle {_prose(line.title)}"
    if line.title in ("repeat", "scan"):
        return rf"\scriptstyle {_range(line)}"
    return rf"\substack{{{_prose(line.title)} \\ {_range(line)}}}"


def _opened(lines: Iterable[Line]) -> list[str]:
    """Rows, where a brace that is too long for a page is opened: its lines follow its title."""
    rows = []
    for line in lines:
        (row,) = _rows([line])
        if isinstance(line, Equation) or (_height(line) <= _MOST_ROWS and len(row) <= _LONGEST_DISPLAY):
            rows.append(row)
        else:
            rows += [f"&{_title(line)}\\colon", *_opened(line.lines)]
    return rows


def _height(line: Line) -> int:
    """How many equations stand in a line."""
    return 1 if isinstance(line, Equation) else sum(map(_height, line.lines))


def _displays(rows: Iterable[str]) -> list[str]:
    """The rows in pieces that MathJax accepts."""
    found: list[list[str]] = [[]]
    for row in rows:
        if sum(map(len, found[-1])) + len(row) > _LONGEST_DISPLAY:
            found.append([])
        found[-1].append(row)
    return [_END_OF_ROW.join(piece) for piece in found if piece]


def _range(loop: Loop) -> str:
    """The values of a loop's index, in their order."""
    one = place(loop.count)
    low, high = place(Fixed(Integer(loop.first))), place(Fixed(loop.count.axis.size - 1 + loop.first))
    low, high = (high, low) if loop.backwards else (low, high)
    return f"{one} = {low}" if low == high else rf"{one} = {low}, \dots, {high}"


def _declared(diagram: Diagram, ins: Iterable[View]) -> list[str]:
    """What goes in: (X_xm) ∈ ℝ^(x × m)."""
    rows = []
    for w, view in zip(diagram.ins, ins, strict=True):
        array = diagram.wires[w].type
        kind = r"\mathbb{R}" if array.bound is None else rf"\{{0, \dots, {_last(array.bound)}\}}"
        sizes = r" \times ".join(_numel(axis) for axis in array)
        told = latex(view.at(indices(array)))[0]
        whole = f"({told})" if array.axes else told
        rows.append(rf"{whole} &\in {kind}{f'^{{{sizes}}}' if sizes else ''}")
    return rows


def _last(bound: Expr) -> str:
    return size(bound - 1)


def _numel(axis: Axis) -> str:
    text = size(axis.size)
    if axis.rank == 1:
        return text
    return rf"{text}^{{{axis.rank}}}" if axis.size.is_Atom else rf"({text})^{{{axis.rank}}}"


def _results(lines: Sequence[Line], outs: Sequence[View]) -> list[str]:
    """What comes out, where that is not the last line."""
    last = lines[-1] if lines else None
    if len(outs) == 1 and isinstance(last, Equation) and last.left.symbol == outs[0].symbol:
        return []
    told = ", ".join(latex(view.at(indices(view.array)))[0] for view in outs)
    return [rf"\text{{result}} &\colon\, {told}"]


def _prose(text: str) -> str:
    """Words as text; Greek and signs as mathematics."""
    words = re.sub(
        r"[^\x00-\x7f]+", lambda found: f"${''.join(map(_sign, found[0]))}$", text.replace("_", " ")
    )
    return rf"\text{{{words}}}"


def _sign(character: str) -> str:
    return {"−": "-", "∞": r"\infty "}.get(character, letters(character) + " ")
