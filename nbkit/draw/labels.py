"""Mathematical labels as SVG text: italic names, upright numbers, bars, sub- and superscripts; no KaTeX, no
fonts.

A label is a short list of runs. Widths come from a table of advance widths (Times, in 1/1000 em, rounded up),
so the layout needs no browser; whatever the reader's serif font is, labels keep their places.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from xml.sax.saxutils import escape

from sympy import Expr, Pow, Symbol, cancel, fraction

from nbkit.language.axes import Axis
from nbkit.language.sizes import format_size

FONT = "'STIX Two Text','STIX','Latin Modern Roman','Cambria Math','Times New Roman',Times,serif"
SANS = "'Source Sans 3','Latin Modern Sans','Helvetica Neue',Helvetica,Arial,sans-serif"
_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η", "theta": "θ",
    "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω",
}  # fmt: skip
_NUMBERED = re.compile(r"([A-Za-z])(\d+)")
_TIMES = re.compile(r"\b(\d+)\*(?=[A-Za-zα-ω])")
_ROOT = re.compile(r"sqrt\((\w+)\)")
_PIECES = re.compile(r"\*\*\(?[-\d/]+\)?|\*|[A-Za-zα-ω]\w*|\d+|.")
SCRIPT = 0.7  # size of sub- and superscripts
_DY = {-1: -0.22, 0: 0.0, 1: 0.36}  # how far they are raised, in sizes
_LONGEST_TAIL = 8  # longer words are no subscripts
_NARROW = set("iljtf.,:;'|!()[]/ ")
_WIDE = set("mwMWGOQ∞×+−=<>≤≥➤𝔼□")

_HEIGHTS = dict.fromkeys("bdfhkl", 0.8) | {"i": 0.76, "j": 0.76, "t": 0.72}  # where a bar clears the letter


@dataclass(frozen=True)
class Run:
    """A piece of a label in one style; `shift` is the baseline: 0, +1 superscript, −1 subscript."""

    text: str
    italic: bool = False
    bold: bool = False
    bar: bool = False
    shift: int = 0

    @cached_property
    def units(self) -> float:
        """Its width at size 1."""
        return (SCRIPT if self.shift else 1.0) * sum(
            0.33 if c in _NARROW else 0.82 if c in _WIDE else 0.62 if c.isupper() else 0.52 for c in self.text
        )

    def width(self, size: float) -> float:
        return size * self.units


Label = tuple[Run, ...]


def width(label: Label, size: float) -> float:
    """Width in user units."""
    return sum(run.width(size) for run in label)


def sans_width(text: str, size: float) -> float:
    """Width of an upright title in user units."""
    return size * sum(
        0.3 if c in _NARROW else 0.9 if c in _WIDE else 0.68 if c.isupper() else 0.54 for c in text
    )


def name(text: str, *, bar: bool = False, bold: bool = False) -> Label:
    """A name: `x` italic, `c_1`, `n1` and `d_model` with subscripts, `alpha` Greek, others as they are."""
    head, _, tail = text.partition("_")
    if not tail and (match := _NUMBERED.fullmatch(text)):
        head, tail = match.groups()
    if tail and (len(_GREEK.get(head, head)) > 1 or not tail.isalnum() or len(tail) > _LONGEST_TAIL):
        head, tail = text, ""
    runs = [Run(_GREEK.get(head, head), italic=not bold, bold=bold, bar=bar)]
    if tail:
        runs.append(Run(_GREEK.get(tail, tail), italic=not tail.isdigit(), shift=-1))
    return tuple(runs)


def expression(size: Expr, positions: frozenset[str] = frozenset(), *, bold: bool = False) -> Label:
    """A size: names italic, exponents raised, products without a sign."""
    if isinstance(size, Symbol):
        return name(size.name, bar=size.name in positions, bold=bold)
    runs: list[Run] = []
    text = _TIMES.sub(r"\1", format_size(size))
    text = (
        text.replace("floor(", "⌊").replace("ceiling(", "⌈")
        if text.count("(") == 1 and text.startswith(("floor(", "ceiling("))
        else text
    )
    if text.startswith(("⌊", "⌈")):
        text = text[:-1] + ("⌋" if text[0] == "⌊" else "⌉")
    text = _ROOT.sub(r"√\1", text)
    for part in _PIECES.findall(text):
        if part.startswith("**"):
            runs.append(Run(part.strip("*()").replace("-", "−"), shift=1))
        elif part == "*":
            runs.append(Run("·"))
        elif part == "sqrt":
            runs.append(Run("√"))
        elif part[0].isalpha():
            runs.extend(name(part, bar=part in positions, bold=bold))
        else:
            runs.append(Run(part.replace("-", "−")))
    return tuple(runs)


@lru_cache(maxsize=4096)
def axis_label(axis: Axis, *, position: bool, known: bool) -> Label:
    """What stands on a wire: its name, or its size where that says more; `known` names need no repeating."""
    bold = axis.rank > 1
    own = isinstance(axis.size, Symbol) and axis.size.name == axis.name
    title = name(axis.name, bar=position, bold=bold)
    power = (Run(str(axis.rank), shift=1),) if axis.rank > 1 else ()
    if own:
        return title
    positions = frozenset({axis.name}) if position else frozenset()
    size = expression(axis.size, positions, bold=bold)
    if axis.size.is_number:
        return (*size, *power) if known else (*title, Run("="), *size, *power)
    mentions = any(s.name == axis.name for s in axis.size.free_symbols if isinstance(s, Symbol))
    return size if mentions or known else (*title, Run("="), *size)


@lru_cache(maxsize=1024)
def factor(text: str) -> Label:
    """A scale factor: `1/sqrt(k)` is k^(−1/2), as in the figures, `sqrt(2)/8` is 32^(−1/2), `16*sqrt(2)` is
    √512.
    """
    from nbkit.language.sizes import parse_size  # late: labels are also used without the parser

    value = parse_size(text)
    over, under = fraction(cancel(value**2))
    root = any(power.exp.is_Rational and not power.exp.is_Integer for power in value.atoms(Pow))
    if root and over.is_Integer and not value.could_extract_minus_sign():
        if under == 1:
            return (Run(f"×√{over}"),)
        base = under / over
        shown = expression(base)
        whole = shown if base.is_Symbol or base.is_Integer else (Run("("), *shown, Run(")"))
        return (Run("×"), *whole, Run("−1/2", shift=1))
    return (Run("×"), *expression(value))


def svg_text(
    label: Label, x: float, y: float, size: float, *, anchor: str = "middle", paint: str, bar: str
) -> str:
    """The label as an SVG text element, and paths for bars; its baseline is y.

    `paint` and `bar` are attributes for text and bars; the font family is inherited from the picture.
    """
    total = width(label, size)
    at = x - total / 2 if anchor == "middle" else x if anchor == "start" else x - total
    parts, bars = [], []
    shift = 0
    for run in label:
        step = run.width(size)
        attributes = (' font-style="italic"' if run.italic else "") + (
            ' font-weight="bold"' if run.bold else ""
        )
        if run.shift:
            attributes += f' font-size="{size * SCRIPT:g}"'
        if run.shift != shift:
            attributes += f' dy="{-size * (_DY[run.shift] - _DY[shift]):g}"'
        shift = run.shift
        text = escape(run.text)
        if attributes and text.strip() != text:
            attributes += ' xml:space="preserve"'
        parts.append(f"<tspan{attributes}>{text}</tspan>" if attributes else text)
        if run.bar:
            height = size * max(
                _HEIGHTS.get(letter, 0.56 if letter.islower() else 0.78) for letter in run.text
            )
            bars.append(f'<path d="M{at + 0.5:g} {y - height:g}h{max(step - 0.5, 3):g}"{bar}/>')
        at += step
    place = f' x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size:g}"'
    return f"<text{place}{paint}>{''.join(parts)}</text>{''.join(bars)}"
