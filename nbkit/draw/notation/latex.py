"""Index notation as LaTeX: one function per kind of term. MathJax and amsmath both understand all of it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import singledispatch

import sympy
from sympy import Expr, Symbol

from nbkit.draw import labels
from nbkit.draw.notation.terms import (
    Affine,
    Below,
    Bracket,
    Call,
    Cases,
    Condition,
    Deviation,
    Equal,
    Fixed,
    Index,
    Lookup,
    Normal,
    Number,
    Opaque,
    Over,
    Pair,
    Place,
    Plus,
    Position,
    Ref,
    Relation,
    Softmax,
    Step,
    Term,
    Times,
    Top,
)
from nbkit.language import relations

_ROMAN = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEZHIKMNOPTYXo", strict=True))  # letters that LaTeX has no name for
_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta", "η": "eta",
    "θ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi",
    "ρ": "rho", "ς": "varsigma", "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "varphi", "χ": "chi",
    "ψ": "psi", "ω": "omega", "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi",
    "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.LtE: r"\le", ast.Lt: "<", ast.GtE: r"\ge", ast.Gt: ">", ast.Eq: "=", ast.NotEq: r"\ne",
}  # fmt: skip
_WRITTEN = {
    "abs": r"\left|{}\right|", "square": r"\left({}\right)^{{2}}", "sqrt": r"\sqrt{{{}}}",
    "rsqrt": r"\frac{{1}}{{\sqrt{{{}}}}}", "reciprocal": r"\frac{{1}}{{{}}}",
}  # fmt: skip
_NAMED = {
    "sigmoid": r"\sigma", "tanh": r"\tanh", "sin": r"\sin", "cos": r"\cos", "log": r"\log", "exp": r"\exp",
}  # fmt: skip
_SIGNS = {
    "sum": r"\sum", "prod": r"\prod", "max": r"\max", "min": r"\min", "mean": r"\operatorname*{mean}",
    "logsumexp": r"\log \sum",
}  # fmt: skip
ATOM, PRODUCT, SUM = 3, 2, 1  # how tightly a term holds together


# -- names and sizes -----------------------------------------------------------------------------------------


def letters(text: str) -> str:
    """A text as LaTeX's math mode has it: Greek by name, `_` escaped."""
    parts = [
        rf"\{_GREEK[c]} " if c in _GREEK else _ROMAN.get(c, {"_": r"\_", " ": r"\ "}.get(c, c)) for c in text
    ]
    return "".join(parts).strip()


def word(text: str, style: str = "mathit") -> str:
    r"""A name: one letter as it is, longer ones in a style of their own.

    >>> print(word("x"), word("pos"), word("d_model"), word("μ"))
    x \mathit{pos} d_{\mathit{model}} \mu
    """
    head, _, tail = text.partition("_")
    if tail and len(head) == 1:
        return rf"{letters(head)}_{{{word(tail, style)}}}"
    if len(text) > 1 and text[0].isalpha() and text[1:].isdigit():
        return rf"{letters(text[0])}_{{{text[1:]}}}"
    known = next((run.text for run in labels.name(text) if len(labels.name(text)) == 1), text)
    return letters(known) if len(known) == 1 else rf"\{style}{{{letters(text)}}}"


def size(expression: Expr, *, bars: bool = False) -> str:
    """An expression in sizes; with `bars` they are |x|, so that nobody takes them for indices."""
    names = {
        symbol: f"|{word(symbol.name)}|" if bars else word(symbol.name)
        for symbol in expression.free_symbols
        if isinstance(symbol, Symbol)
    }
    text: str = sympy.latex(expression, symbol_names=names)
    return text


def index(one: Index) -> str:
    """An index: bold where it is several numbers."""
    text = word(one.axis.name)
    return (rf"\boldsymbol{{{text}}}" if one.axis.rank > 1 else text) + "'" * one.primes


def place(one: Place) -> str:
    """A place in an array."""
    match one:
        case Index():
            return index(one)
        case Pair(parts):
            return f"({join(parts)})"
        case Fixed(position=position):
            return size(position, bars=True)
        case Lookup(ref):
            return latex(ref)[0]
        case Affine(terms, offset):
            text = " + ".join(f"{'' if factor == 1 else factor} {index(i)}".strip() for factor, i in terms)
            if offset == 0:
                return text
            minus = offset.could_extract_minus_sign()
            return f"{text} {'-' if minus else '+'} {size(-offset if minus else offset, bars=True)}"


def join(places: Iterable[Place]) -> str:
    """Several places: letters side by side, with commas where one of them is longer."""
    texts = [(place(one), isinstance(one, Index) and len(one.axis.name) == 1) for one in places]
    return (" " if all(plain for _, plain in texts) else r",\,").join(text for text, _ in texts)


def condition(one: Condition) -> str:
    """A condition."""
    match one:
        case Equal(left, right):
            return f"{place(left)} = {place(right)}"
        case Below(left, bound):
            return f"{place(left)} < {size(bound, bars=True)}"
        case Relation(text, indices):
            names = {i.axis.name: index(i) for i in indices}
            return r" \land ".join(_compare(part, names) for part in relations.parse_relation(text))


def _compare(part: ast.Compare, names: Mapping[str, str]) -> str:
    text = _side(part.left, names)
    for op, right in zip(part.ops, part.comparators, strict=True):
        text += f" {_COMPARE[type(op)]} {_side(right, names)}"
    return text


def _side(node: ast.expr, names: Mapping[str, str]) -> str:
    match node:
        case ast.Name(id=name):
            return names[name]
        case ast.UnaryOp(operand=operand):
            return f"-{_side(operand, names)}"
        case ast.BinOp(left=left, op=op, right=right):
            sign = {ast.Add: "+", ast.Sub: "-"}.get(type(op), r"\cdot")
            sides = [
                f"({_side(s, names)})" if isinstance(s, ast.BinOp) and s is not left else _side(s, names)
                for s in (left, right)
            ]
            if sign == r"\cdot" and isinstance(left, ast.BinOp):
                sides[0] = f"({sides[0]})"
            return f"{sides[0]} {sign} {sides[1]}"
        case ast.Call(args=[argument]):
            return rf"\left|{_side(argument, names)}\right|"
    return ast.unparse(node)


# -- terms: each gives its text, and how tightly that holds together ---------------------------------------


@singledispatch
def latex(term: Term) -> tuple[str, int]:
    """A term as LaTeX, and how tightly it holds together (`ATOM`, `PRODUCT` or `SUM`)."""
    raise TypeError(f"{term!r} is no term")


def bound(term: Term, level: int) -> str:
    """A term in parentheses if it does not hold together that tightly."""
    text, own = latex(term)
    return text if own >= level else rf"\left({text}\right)"


def step(one: Step | None) -> str:
    """Which of the copies: `(λ-1)`."""
    if one is None:
        return ""
    if one.count is None:
        return f"({size(one.offset, bars=True)})"
    return f"({place(Affine(((1, one.count),), one.offset))})"


@latex.register
def _(term: Ref) -> tuple[str, int]:
    above = r",\,".join(part for part in (term.symbol.above, step(term.step)) if part)
    below = join(term.places)
    letter = f"{{{term.symbol.letter}}}" if "_" in term.symbol.letter else term.symbol.letter
    return f"{letter}{f'^{{{above}}}' * bool(above)}{f'_{{{below}}}' * bool(below)}", ATOM


@latex.register
def _(term: Number) -> tuple[str, int]:
    return size(term.value), SUM if term.value.is_Add else PRODUCT if term.value.is_negative else ATOM


@latex.register
def _(term: Plus) -> tuple[str, int]:
    first, *others = term.parts
    text = bound(first, SUM)
    for part in others:
        less = isinstance(part, Call) and part.function == "neg"
        text += f" - {latex(part)[0][1:]}" if less else f" + {bound(part, SUM)}"
    return text, SUM


@latex.register
def _(term: Times) -> tuple[str, int]:
    *first, last = term.parts
    texts = [bound(part, ATOM) for part in first]
    dot = r" \cdot " if any(isinstance(part, Number) and part.value.is_Integer for part in first) else r" \, "
    return dot.join([*texts, bound(last, PRODUCT)]), PRODUCT


@latex.register
def _(term: Over) -> tuple[str, int]:
    below = join(term.indices)
    if term.where is not None:
        below = rf"{below} \,:\, {condition(term.where)}"
    sign = rf"{_SIGNS[term.how]}_{{{below}}}"
    if term.how == "logsumexp":
        return rf"{sign} \exp {bound(term.body, ATOM)}", PRODUCT
    return f"{sign} {bound(term.body, PRODUCT)}", PRODUCT


@latex.register
def _(term: Softmax) -> tuple[str, int]:
    return rf"\operatorname*{{softmax}}_{{{join(term.indices)}}} {bound(term.body, ATOM)}", PRODUCT


@latex.register
def _(term: Normal) -> tuple[str, int]:
    x = latex(term.body)[0]
    above = x if term.how == "rms" else rf"{x} - \mathbb{{E}}{_below(term.indices)} {x}"
    return rf"\frac{{{above}}}{{{_deviation(term)}}}", ATOM


@latex.register
def _(term: Deviation) -> tuple[str, int]:
    return _deviation(term), ATOM


def _deviation(term: Normal | Deviation) -> str:
    x, over = latex(term.body)[0], _below(term.indices)
    squares = rf"\mathbb{{E}}{over} {x}^2" if term.how == "rms" else rf"\mathrm{{Var}}{over} {x}"
    return rf"\sqrt{{{squares} + \varepsilon}}"


def _below(indices: Iterable[Index]) -> str:
    below = join(indices)
    return f"_{{{below}}}" if below else ""


@latex.register
def _(term: Call) -> tuple[str, int]:
    if term.function in _WRITTEN:
        return _WRITTEN[term.function].format(latex(term.body)[0]), ATOM
    if term.function == "neg":
        return f"-{bound(term.body, PRODUCT)}", PRODUCT
    return rf"{_function(term.function)}\left({latex(term.body)[0]}\right)", ATOM


@latex.register
def _(term: Cases) -> tuple[str, int]:
    rows = [rf"{latex(part)[0]} & {condition(when)}" for part, when in term.cases]
    rows.append(rf"{latex(term.otherwise)[0]} & \text{{otherwise}}")
    told = r" \\ ".join(rows)
    return rf"\begin{{cases}} {told} \end{{cases}}", ATOM


@latex.register
def _(term: Bracket) -> tuple[str, int]:
    return rf"\left[{condition(term.condition)}\right]", ATOM


@latex.register
def _(term: Position) -> tuple[str, int]:
    return index(term.place), ATOM


@latex.register
def _(term: Top) -> tuple[str, int]:
    name = "argtop" if term.where else "top"
    rank, over = index(term.rank), index(term.index)
    return rf"\operatorname*{{{name}}}_{{{over}}}{{}}^{{{rank}}} {bound(term.body, ATOM)}", PRODUCT


@latex.register
def _(term: Opaque) -> tuple[str, int]:
    arguments = ", ".join(latex(Ref(ref.symbol, (), ref.step))[0] for ref in term.arguments)
    return rf"{_function(term.name)}\left({arguments}\right)_{{{join(term.places)}}}", ATOM


def _function(name: str) -> str:
    """The name of a function; a prime stands for its derivative."""
    plain = name.rstrip("'")
    return _NAMED.get(plain, rf"\operatorname{{{letters(plain)}}}") + name[len(plain) :]
