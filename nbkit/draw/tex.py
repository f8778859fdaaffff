"""Labels and titles as LaTeX: mathematics for labels, escaped text for titles, a sign for each of theirs."""

from __future__ import annotations

import re

from nbkit.draw.labels import Label, Run
from nbkit.draw.notation.latex import letters

_SIGNS = {
    "×": r"\times ", "−": "-", "·": r"\cdot ", "★": r"\bigstar ", "Σ": r"\Sigma ", "𝔼": r"\mathbb{E}",
    "Π": r"\Pi ", "ℝ": r"\mathbb{R}", "ℕ": r"\mathbb{N}", "∞": r"\infty ", "⊙": r"\odot ", "⊗": r"\otimes ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∈": r"\in ", "⌊": r"\lfloor ", "⌋": r"\rfloor ",
    "⌈": r"\lceil ", "⌉": r"\rceil ", "√": r"\surd ", "□": r"\square ", "↓": r"{\downarrow}",
    "↑": r"{\uparrow}", "→": r"{\to}", "←": r"{\gets}", "⊣": r"\dashv ", "…": r"\dots ", "′": "'",
    "➤": r"\blacktriangleright ", "•": r"\bullet ", "°": r"^{\circ}", "²": "^{2}", "³": "^{3}",
    "ᵀ": r"^{\top}", "—": r"\text{---}", "–": r"\text{--}", "∂": r"\partial ", "∇": r"\nabla ",
    "≈": r"\approx ",
    "↯": r"\nbkitdrop ", "‖": r"\Vert ", "∥": r"\Vert ", "⊕": r"\oplus ", "∘": r"\circ ", "½": r"\tfrac12 ",
}  # fmt: skip
_ESCAPED = {
    "\\": r"\backslash ", "{": r"\{", "}": r"\}", "_": r"\_", "^": r"\text{\^{}}", "#": r"\#", "$": r"\$",
    "%": r"\%", "&": r"\&", "~": r"\sim ", " ": r"\ ", "\xa0": r"\ ",
}  # fmt: skip


def mathematics(label: Label) -> str:
    r"""A label in LaTeX's math mode.

    >>> from nbkit.draw.labels import name
    >>> print(mathematics(name("x", bar=True)), mathematics(name("c_1")))
    \overline{x} c_{1}
    """
    text = ""
    for i, run in enumerate(label):
        same = i > 0 and label[i - 1].shift == run.shift
        if not run.shift:
            text += _run(run)
        elif same:
            text = f"{text[:-1]}{_run(run)}}}"
        else:
            text += f"{'' if text else '{}'}{'^' if run.shift > 0 else '_'}{{{_run(run)}}}"
    return text.strip()


def _run(run: Run) -> str:
    text = "".join(_word(part, run) for part in re.findall(r" = |[A-Za-zα-ωΑ-Ω]+|.", run.text))
    return rf"\overline{{{text.strip()}}}" if run.bar else text


def _word(part: str, run: Run) -> str:
    if part == " = ":
        return "="
    if part[0].isascii() and part.isalpha():
        if run.bold:
            return rf"\mathbf{{{part}}}"
        plain = run.italic and len(part) == 1
        return part if plain else rf"\mathit{{{part}}}" if run.italic else rf"\mathrm{{{part}}}"
    text = f"{letters(part)} " if part.isalpha() and "Α" <= part[0] <= "ω" else "".join(map(_sign, part))
    if not run.bold:
        return text
    return rf"\boldsymbol{{{text.strip()}}}" if part.isalpha() else rf"\pmb{{{text.strip()}}}"


def _sign(character: str) -> str:
    if character in _SIGNS:
        return _SIGNS[character]
    if character in _ESCAPED:
        return _ESCAPED[character]
    if character in ":=":
        return f"{{{character}}}"  # close to its neighbours
    return character if character.isascii() and character.isprintable() else _foreign(character, math=True)


def _foreign(character: str, *, math: bool) -> str:
    """A letter that every LaTeX has a glyph for; `?` for others."""
    known = "À" <= character <= "ÿ" and character not in "ÐÞðþ×÷"
    return (rf"\text{{{character}}}" if math else character) if known else "?"


def prose(text: str) -> str:
    r"""Upright words, every character escaped.

    >>> print(prose("a_b & c: 50 % ×12"))
    a\_b \& c: 50 \% $\times$12
    """
    return "".join(map(_letter, text))


_TEXT = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "^": r"\textasciicircum{}", "#": r"\#",
    "$": r"\$", "%": r"\%", "&": r"\&", "~": r"\textasciitilde{}", "<": "$<$", ">": "$>$", "|": "$|$",
    '"': "''", "…": r"\dots{}", "—": "---", "–": "--", "\xa0": "~",
}  # fmt: skip


def _letter(character: str) -> str:
    if character in _TEXT:
        return _TEXT[character]
    if character in _SIGNS:
        return f"${_SIGNS[character].strip()}$"
    if "Α" <= character <= "ω":
        return f"${letters(character)}$"
    return character if character.isascii() and character.isprintable() else _foreign(character, math=False)
