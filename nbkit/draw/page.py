"""Things next to each other in a notebook: a picture and its equation, its code, or another picture.

A notebook's cell shows one thing beneath the other. A textbook sets the formula beside the figure; here both
stand in columns that wrap where the window is narrow. Text is escaped; `$…$` is left to the notebook's
MathJax, `` `…` `` and lines between ``` are code, an empty line ends a paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from nbkit.language.diagram import Diagram
from nbkit.language.errors import DiagramError
from nbkit.language.functions import Fn

_FENCE = re.compile(r"^```[a-z]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")
_SHEET = re.compile(r"<style>.*?</style>", re.DOTALL)
_ROW = "display:flex;flex-wrap:wrap;gap:1em 2.5em;align-items:center"
_COLUMN = "display:flex;flex-direction:column;gap:0.4em;min-width:0;max-width:100%"
_LISTING = "margin:0.3em 0;padding:0;background:none;line-height:1.35;white-space:pre;overflow-x:auto"


@dataclass(frozen=True)
class Beside:
    """Columns of things, shown as HTML that follows the notebook's theme."""

    columns: tuple[tuple[Any, ...], ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        columns = "".join(
            f'<div style="{_COLUMN}">{"".join(_html(thing, self.options) for thing in column)}</div>'
            for column in self.columns
        )
        return f'<div style="{_ROW}">{_once(columns)}</div>'


def beside(*things: Any, **options: Any) -> Beside:
    """Things in columns next to each other: diagrams, equations between them, tables, text.

    A tuple is one column with its things beneath each other. A string is text: `$…$` is mathematics, text in
    backticks is code. `options` are those of `nbkit.draw.svg`, for all diagrams. `DiagramError` for what
    cannot be shown as HTML.

    >>> from nbkit import softmax
    >>> shown = beside(softmax("x").on("y x"), "softmax over $x$", width=400)
    >>> shown._repr_html_().count("<svg")
    1
    """
    columns = tuple(thing if isinstance(thing, tuple) else (thing,) for thing in things)
    made = Beside(columns, dict(options))
    made._repr_html_()  # what cannot be shown is refused here, where the reader sees the call
    return made


def _once(html: str) -> str:
    """Pictures of one theme bring the same style sheet; the first one serves all."""
    seen: set[str] = set()

    def keep(sheet: re.Match[str]) -> str:
        new = sheet.group() not in seen
        seen.add(sheet.group())
        return sheet.group() if new else ""

    return _SHEET.sub(keep, html)


def _html(thing: Any, options: Mapping[str, Any]) -> str:
    if type(thing) is str:
        return _text(thing)
    if isinstance(thing, Fn):
        thing = thing.diagram()
    if isinstance(thing, Diagram) or hasattr(thing, "svg"):
        return f'<div style="overflow-x:auto">{thing.svg(**{"theme": "auto", **options})}</div>'
    for method in ("_repr_html_", "_repr_latex_", "_repr_mimebundle_"):
        shown = getattr(thing, method, lambda: None)()
        if isinstance(shown, Mapping):
            shown = shown.get("text/html")
        if shown is not None:
            return escape(str(shown), quote=False) if method == "_repr_latex_" else str(shown)
    raise DiagramError(
        f"cannot show {type(thing).__name__} {str(thing)[:60]!r} beside a diagram; "
        "it takes diagrams, functions of the language, text, and what shows itself as HTML"
    )


def _text(text: str) -> str:
    """Paragraphs, `code` and listings of a text, escaped."""
    parts = _FENCE.split(text.strip())  # prose, listing, prose, …
    shown = []
    for number, part in enumerate(parts):
        if number % 2:
            shown.append(f'<pre style="{_LISTING}">{escape(part.rstrip(), quote=False)}</pre>')
        else:
            for paragraph in filter(None, re.split(r"\n\s*\n", part.strip())):
                marked = _CODE.sub(r"<code>\1</code>", escape(paragraph, quote=False))
                shown.append(f"<div>{marked}</div>")
    return "".join(shown)
